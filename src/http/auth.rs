//! Who calls: the API key of a request, and the account that it opens.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header::AUTHORIZATION, request::Parts},
};

use super::problem::{Problem, ProblemKind};
use crate::{
    domain::access::Scope,
    engine::{
        Engine,
        world::{Account, Principal, World},
    },
};

/// A caller whose key is known, with the account that the key opens; an extractor.
#[derive(Clone)]
pub struct Caller {
    /// Everything as it was when the request came: what it is answered from.
    pub world: Arc<World>,
    /// The key and what it may do.
    pub principal: Arc<Principal>,
    /// The account, with its catalogue of that moment.
    pub account: Arc<Account>,
}

impl Caller {
    /// Whoever has this API key.
    ///
    /// # Errors
    /// 401.
    pub fn of(engine: &Engine, key: &str) -> Result<Self, Problem> {
        let unknown = || Problem::new(ProblemKind::Unauthorized, "The API key is unknown or revoked.");
        let (world, now) = (engine.catalogue.world(), engine.clock.now());
        let principal = Arc::clone(world.principal(key, now).ok_or_else(unknown)?);
        let account = Arc::clone(world.account(principal.account).ok_or_else(unknown)?);
        Ok(Self { world, principal, account })
    }

    /// Refuses callers whose key lacks a scope.
    ///
    /// # Errors
    /// 403, naming the scope.
    pub fn must(&self, scope: Scope) -> Result<(), Problem> {
        self.must_one(&[scope])
    }

    /// Refuses callers whose key has none of some scopes.
    ///
    /// # Errors
    /// 403, naming the scopes.
    pub fn must_one(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.principal.may(*scope)) {
            return Ok(());
        }
        let names = scopes.iter().filter_map(|scope| serde_json::to_value(scope).ok()?.as_str().map(str::to_owned));
        let names = names.collect::<Vec<_>>().join(" or ");
        Err(Problem::new(ProblemKind::Forbidden, format!("The API key lacks the scope {names}.")))
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Engine>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        const MISSING: &str = "Send an API key: Authorization: Bearer <key>.";
        let refused = |detail| Problem::new(ProblemKind::Unauthorized, detail);
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(|| refused(MISSING))?;
        let header = header.to_str().map_err(|_| refused(MISSING))?;
        let (scheme, key) = header.split_once(' ').ok_or_else(|| refused(MISSING))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused(MISSING));
        }
        Self::of(&Arc::<Engine>::from_ref(state), key.trim())
    }
}
