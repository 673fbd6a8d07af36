//! The catalogue over HTTP: one implementation for documents of every kind.

mod audits;
mod combination;
mod diff;
mod dynamic;
mod form;
mod kinds;
mod naming;
mod proofs;
mod publishing;
mod reviews;
mod sheet;
mod table;
mod uploads;

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, schema::Type},
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    app::App,
    auth::Caller,
    etag::{self, Precondition},
    page::{DryRun, Page, PageQuery},
    problem::Problem,
};
use crate::{
    domain::{
        access::Scope,
        audience::{
            lint::never,
            rule::{SegmentRule, Targeting},
        },
        catalog::key::{DocumentKey, Kind},
        ids::CreativeId,
        values::Millis,
        violation::Violation,
    },
    engine::{
        DocumentRow,
        authoring::{Along, Author, Authoring, AuthoringError, Expect},
        insight::Insight,
    },
    problems,
};

/// Every route of the catalogue.
pub fn routes() -> OpenApiRouter<App> {
    kinds::routes()
        .merge(publishing::routes())
        .merge(reviews::routes())
        .merge(proofs::routes())
        .merge(uploads::routes())
        .merge(dynamic::routes())
        .merge(diff::routes())
        .merge(audits::routes())
}

/// Largest document, in bytes.
const LARGEST: usize = Authoring::LARGEST;

problems!(pub(super) ReadProblems = [
    BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable
]);
problems!(pub(super) CreateProblems = [
    BadRequest, MalformedJson, Unauthorized, Forbidden, NotFound, RequestTimeout, PayloadTooLarge, UnsupportedMediaType,
    Invalid, Overloaded, StoreUnavailable
]);
problems!(pub(super) WriteProblems = [
    BadRequest, MalformedJson, Unauthorized, Forbidden, NotFound, RequestTimeout, PreconditionFailed, PayloadTooLarge,
    UnsupportedMediaType, Invalid, PreconditionRequired, Overloaded, StoreUnavailable
]);
problems!(pub(super) DeleteProblems = [
    BadRequest, Unauthorized, Forbidden, NotFound, Conflict, PreconditionFailed, Invalid, PreconditionRequired,
    Overloaded, StoreUnavailable
]);

/// A document of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Resource<T> {
    /// Its id.
    id: String,
    /// The catalogue version that wrote it: its ETag. In a dry run, the one that it would get.
    version: i64,
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<Millis>,
    /// The document, with every default filled in.
    document: T,
    /// What its author should look at, though it can be used; of segments that were just written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lint: Vec<Violation>,
}

// Described by hand, because a derived description would repeat that of the document.
impl<T: ToSchema> PartialSchema for Resource<T> {
    fn schema() -> RefOr<Schema> {
        let text = |words: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(words));
        let version = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let version =
            version.description(Some("The catalogue version that wrote it; its ETag. In a dry run, a guess."));
        let lint = ArrayBuilder::new().items(Ref::from_schema_name(Violation::name())).description(Some(
            "What its author should look at, though it can be used; of segments that were just written.",
        ));
        ObjectBuilder::new()
            .property("id", text("Its id."))
            .property("version", version)
            .property("changed_at", Ref::from_schema_name(Millis::name()))
            .property("document", Ref::from_schema_name(T::name()))
            .property("lint", lint)
            .required("id")
            .required("version")
            .required("document")
            .build()
            .into()
    }
}

impl<T: ToSchema> ToSchema for Resource<T> {
    fn name() -> Cow<'static, str> {
        let name = T::name();
        name.strip_suffix("Doc").unwrap_or(&name).to_owned().into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Millis::name().into_owned(), Millis::schema()));
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// Where documents of a kind live: in an account, or in one of its creatives.
#[derive(Debug, Clone)]
pub(super) struct Place {
    kind: Kind,
    creative: Option<CreativeId>,
}

impl Place {
    fn new(kind: Kind, creative: Option<CreativeId>) -> Self {
        Self { kind, creative }
    }

    /// What the ids of all documents of the place start with in the catalogue.
    fn prefix(&self) -> String {
        self.creative.as_ref().map(|creative| format!("{creative}/")).unwrap_or_default()
    }

    fn key(&self, id: &str) -> DocumentKey {
        DocumentKey::new(self.kind, format!("{}{id}", self.prefix()))
    }

    fn url(&self, id: &str) -> String {
        match &self.creative {
            Some(creative) if self.kind == Kind::Audit => format!("/v1/creatives/{creative}/audits/{id}"),
            Some(creative) => format!("/v1/creatives/{creative}/{}s/{id}", self.kind),
            None => format!("/v1/{}s/{id}", self.kind),
        }
    }
}

/// A caller at work on documents of one place.
struct Desk<'a> {
    authoring: &'a Authoring,
    insight: &'a Insight,
    caller: &'a Caller,
    place: Place,
}

type Answer = Result<Response, Problem>;

impl<'a> Desk<'a> {
    /// For those who may look.
    fn reading(app: &'a App, caller: &'a Caller, place: Place) -> Result<Self, Problem> {
        caller.must_one(&[Scope::Author, Scope::Report])?;
        Ok(Self { authoring: &app.engine.authoring, insight: &app.engine.insight, caller, place })
    }

    /// For those who may change.
    fn writing(app: &'a App, caller: &'a Caller, place: Place) -> Result<Self, Problem> {
        caller.must(Scope::Author)?;
        Ok(Self { authoring: &app.engine.authoring, insight: &app.engine.insight, caller, place })
    }

    fn account(&self) -> u32 {
        self.caller.account.number()
    }

    fn author(&self, dry_run: DryRun) -> Author {
        author(self.caller, dry_run)
    }

    /// Refuses places in a creative that is not there.
    async fn exists(&self) -> Result<(), Problem> {
        if let Some(creative) = &self.place.creative {
            self.authoring.get(self.account(), DocumentKey::new(Kind::Creative, creative.as_str())).await?;
        }
        Ok(())
    }

    async fn list(&self, query: PageQuery) -> Answer {
        let prefix = self.place.prefix();
        self.exists().await?;
        let after = query.after.map(|after| format!("{prefix}{}", String::from(after)));
        let limit = query.limit.and_one();
        let found = self.authoring.list(self.account(), self.place.kind, prefix.clone(), after, limit).await?;
        let id = |row: &DocumentRow| row.key.id[prefix.len()..].to_owned();
        Ok(Json(Page::of(found.rows, query.limit, id, |row| self.resource(row))).into_response())
    }

    async fn read(&self, id: &str, headers: &HeaderMap) -> Answer {
        let row = self.authoring.get(self.account(), self.place.key(id)).await?;
        let tag = etag::tag(row.version);
        if etag::is_known(headers, &tag) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
        }
        Ok(([(header::ETAG, tag)], Json(self.resource(row))).into_response())
    }

    async fn create(&self, dry_run: DryRun, document: &[u8]) -> Answer {
        let id = naming::generate(self.place.kind, document);
        self.write(&id, Precondition(Expect::Absent), dry_run, document).await
    }

    async fn write(&self, id: &str, expect: Precondition, dry_run: DryRun, document: &[u8]) -> Answer {
        self.write_along(id, expect, dry_run, document, Along::default()).await
    }

    async fn write_along(
        &self,
        id: &str,
        expect: Precondition,
        dry_run: DryRun,
        document: &[u8],
        along: Along<'_>,
    ) -> Answer {
        self.exists().await?;
        let key = self.place.key(id);
        let written = self.authoring.put(&self.author(dry_run), key, expect.0, document, along).await?;
        let created = written.created;
        let resource = Resource {
            id: id.to_owned(),
            version: written.version,
            changed_at: None,
            lint: self.lint(id, &written.body).await,
            document: written.body,
        };
        let tag = [(header::ETAG, etag::tag(written.version))];
        Ok(match (dry_run.dry_run, created) {
            (true, _) => Json(resource).into_response(),
            (false, false) => (tag, Json(resource)).into_response(),
            (false, true) => {
                let url = HeaderValue::from_str(&self.place.url(id)).map_err(Problem::internal)?;
                (StatusCode::CREATED, tag, [(header::LOCATION, url)], Json(resource)).into_response()
            }
        })
    }

    async fn delete(&self, id: &str, expect: Precondition, dry_run: DryRun) -> Answer {
        let (expect, key) = (expect.existing()?, self.place.key(id));
        match self.authoring.delete(&self.author(dry_run), key.clone(), expect).await {
            Err(AuthoringError::Stale { current: None }) => Err(AuthoringError::NotFound(key).into()),
            Err(error) => Err(error.into()),
            Ok(()) if dry_run.dry_run => {
                Ok(Json(self.resource(self.authoring.get(self.account(), key).await?)).into_response())
            }
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        }
    }

    async fn lint(&self, id: &str, document: &Value) -> Vec<Violation> {
        if self.place.kind == Kind::Campaign {
            let mut found = self.unpublished(document);
            let aim = document.get("targeting").and_then(|targeting| Targeting::parse(targeting).ok());
            if aim.is_some_and(|node| never(&node)) {
                let detail = "nobody can ever meet this, so the campaign never serves";
                found.push(Violation::new("/targeting", "never_true", detail));
            }
            return found;
        }
        let rule = document.get("rule").filter(|_| self.place.kind == Kind::Segment);
        let Some(rule) = rule.and_then(|rule| SegmentRule::parse(rule).ok()) else { return Vec::new() };
        let found = self.insight.lint(&self.caller.account, id.parse().ok().as_ref(), &rule).await;
        found.into_iter().map(|found| found.under("/rule")).collect()
    }

    /// Creatives of a campaign that cannot be shown, because they are not published.
    fn unpublished(&self, campaign: &Value) -> Vec<Violation> {
        let listed = campaign["creatives"].as_array().into_iter().flatten().enumerate();
        let listed = listed.map(|(at, id)| (format!("/creatives/{at}"), id));
        let default = campaign.get("default_creative").map(|id| ("/default_creative".to_owned(), id));
        let live = &self.caller.account.snapshot.creatives;
        let away =
            listed.chain(default).filter_map(|(pointer, id)| Some((pointer, id.as_str()?.parse::<CreativeId>().ok()?)));
        let away = away.filter(|(_, id)| !live.contains_key(id));
        away.map(|(pointer, id)| {
            Violation::new(
                pointer,
                "unpublished_creative",
                format!("creative {id} is not published, so it is not shown"),
            )
        })
        .collect()
    }

    fn resource(&self, row: DocumentRow) -> Resource<Value> {
        let id = row.key.id[self.place.prefix().len()..].to_owned();
        Resource { id, version: row.version, changed_at: Some(row.changed_at), document: row.body, lint: Vec::new() }
    }
}

/// The caller as the author of a change.
fn author(caller: &Caller, dry_run: DryRun) -> Author {
    Author { account: caller.account.number(), by: caller.principal.key.to_string(), dry_run: dry_run.dry_run }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_name_documents_and_addresses() {
        let campaigns = Place::new(Kind::Campaign, None);
        assert_eq!(campaigns.key("spring").to_string(), "campaign/spring");
        assert_eq!(campaigns.url("spring"), "/v1/campaigns/spring");
        let components = Place::new(Kind::Component, "hero".parse().ok());
        assert_eq!(components.key("h-1").to_string(), "component/hero/h-1");
        let audits = Place::new(Kind::Audit, "hero".parse().ok());
        assert_eq!(
            (audits.key("x").to_string(), audits.url("x")),
            ("audit/hero/x".into(), "/v1/creatives/hero/audits/x".into())
        );
        assert_eq!(components.url("h-1"), "/v1/creatives/hero/components/h-1");
    }
}
