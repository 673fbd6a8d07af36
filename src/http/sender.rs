//! Who sends a beacon: a person's browser, or something that does not count.

use std::{net::IpAddr, sync::PoisonError};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use super::{app::App, problem::Problem, request::RequestInfo};
use crate::domain::{
    measurement::{
        outcome::{Invalid, OutcomeKind},
        traffic::{Prefix, judged},
    },
    values::Millis,
};

/// Where a beacon comes from; an extractor.
pub(super) struct Sender {
    headers: HeaderMap,
    info: RequestInfo,
}

impl Sender {
    /// Why what it sends does not count, if it does not. Networks of one's own are servers', which
    /// report for many people.
    pub(super) fn invalid(&self, app: &App, kind: OutcomeKind, now: Millis) -> Option<Invalid> {
        let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let public = app.proxies.client(&self.info, &self.headers).filter(|address| is_public(*address));
        let too_fast = public.is_some_and(|address| {
            let mut pace = app.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.seen(Prefix::of(address), kind, now)
        });
        judged(agent, too_fast, false)
    }
}

impl FromRequestParts<App> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let info = RequestInfo::from_request_parts(parts, app).await?;
        let mut headers = HeaderMap::new();
        for name in [header::USER_AGENT, HeaderName::from_static("x-forwarded-for")] {
            parts.headers.get_all(&name).iter().for_each(|value| {
                headers.append(&name, value.clone());
            });
        }
        Ok(Self { headers, info })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !(address.is_private() || address.is_loopback() || address.is_link_local()),
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_networks_have_a_pace() {
        for (address, public) in [
            ("203.0.113.7", true),
            ("10.1.2.3", false),
            ("127.0.0.1", false),
            ("::ffff:192.168.0.1", false),
            ("2001:db8::1", true),
            ("fd00::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_public(address.parse().expect("an address")), public, "{address}");
        }
    }
}
