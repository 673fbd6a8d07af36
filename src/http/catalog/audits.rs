//! Ads for the auditors of exchanges.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ReadProblems, proofs::PAGE};
use crate::{
    domain::{access::Scope, ids::CreativeId, values::Format, violation::Violation},
    engine::authoring::AuthoringError,
    http::{
        app::App,
        auth::Caller,
        extract::ApiPath,
        problem::{Problem, ProblemKind},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(render))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Ad {
    /// The creative.
    id: CreativeId,
    /// The ad, as bids name it.
    #[param(example = "spring.3.300x250")]
    crid: String,
}

/// Show an ad as an auditor sees it
///
/// The ad that a `crid` of bids names, whoever it is aimed at, with every macro of the exchange as
/// `AUDIT`: of a revision in one size its first combination, or the content of one combination. Its
/// beacons are marked as a preview's and never counted; nothing in the page runs. Native ads are
/// JSON, videos VAST. Contents are looked for in the revision that serves, or else in the draft, among its first
/// 300,000 combinations. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/audit/{crid}/render", tag = "creatives", operation_id = "render_audit",
    params(Ad), security(("key" = [])),
    responses(
        (status = 200, description = "The ad.", content(
            (String = "text/html"), (serde_json::Value = "application/json"), (String = "application/xml")
        )),
        ReadProblems
    )
)]
async fn render(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Ad { id, crid }): ApiPath<Ad>,
) -> Result<Response, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let (account, authoring) = (caller.account.number(), &app.engine.authoring);
    let named = revision(&id, &crid);
    let serving = caller.account.snapshot.creatives.get(&id).map(|creative| creative.revision);
    let proof = match authoring.proof(account, &id, named.or(serving)).await {
        // what the draft would become can be looked at before it is published
        Err(AuthoringError::NotFound(_)) if named.is_some() => authoring.proof(account, &id, None).await?,
        proof => proof?,
    };
    let wanted = crid.clone();
    // quick for a revision, a second at most for a content
    let (proof, found) = tokio::task::spawn_blocking(move || {
        let found = proof.ad(&wanted);
        (proof, found)
    })
    .await
    .map_err(Problem::internal)?;
    let found = found.map_err(|error| {
        Problem::invalid(vec![Violation::new("/creative/pairing", "too_intricate", error.to_string())])
    })?;
    let (world, now) = (app.engine.catalogue.world(), app.engine.clock.now());
    let place = (account, &*world, app.engine.catalogue.public_url());
    let rendered = found.and_then(|ad| Some((ad.variant.0, proof.render(place, ad.variant, &ad.chosen, now)?)));
    let Some((variant, rendered)) = rendered else {
        return Err(Problem::new(ProblemKind::NotFound, format!("creative {id} has no ad {crid}")));
    };
    let markup = without_macros(&rendered.assembled.markup);
    Ok(match proof.creative.variants[variant].shape.0 {
        Format::Html => (PAGE, markup).into_response(),
        Format::Native => ([(header::CONTENT_TYPE, "application/json")], markup).into_response(),
        Format::Vast => ([(header::CONTENT_TYPE, "application/xml")], markup).into_response(),
    })
}

/// The revision that a `crid` names, if it names one of the creative's.
fn revision(id: &CreativeId, crid: &str) -> Option<u32> {
    let (number, size) = crid.strip_prefix(id.as_str())?.strip_prefix('.')?.split_once('.')?;
    number.parse().ok().filter(|number| *number > 0 && !size.is_empty())
}

/// Markup with `AUDIT` in the place of every macro of OpenRTB, such as `${AUCTION_PRICE}` (2.6,
/// section 4.4).
fn without_macros(markup: &str) -> String {
    const HEAD: &str = "${";
    let (mut filled, mut rest) = (String::with_capacity(markup.len()), markup);
    while let Some(at) = rest.find(HEAD) {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[HEAD.len()..].split_once('}').map(|(name, _)| name);
        let word = |name: &&str| {
            name.starts_with("AUCTION_")
                && name.bytes().all(|b| b.is_ascii_uppercase() || b":_".contains(&b) || b.is_ascii_digit())
        };
        let end = match name.filter(word) {
            Some(name) => {
                filled.push_str("AUDIT");
                HEAD.len() + name.len() + 1
            }
            None => {
                filled.push_str(HEAD);
                HEAD.len()
            }
        };
        rest = &rest[end..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_of_the_auction_are_filled_in_and_nothing_else() {
        assert_eq!(
            without_macros("a?p=${AUCTION_PRICE}&b=${AUCTION_PRICE:B64}&c=${cost} ${AUCTION_ ${AUCTION_ID}${"),
            "a?p=AUDIT&b=AUDIT&c=${cost} ${AUCTION_ AUDIT${"
        );
        assert_eq!(without_macros("plain"), "plain");
    }

    #[test]
    fn a_name_tells_the_revision_of_its_own_creative_only() {
        let of = |id: &str, crid: &str| revision(&id.parse().expect("an id"), crid);
        assert_eq!(of("spring", "spring.3.300x250"), Some(3));
        assert_eq!(of("spring.3", "spring.3.12.native"), Some(12));
        for other in ["spring.3", "autumn.3.300x250", "spring.0.1x1", "spring.x.1x1", "eeba27ddddb6ad07"] {
            assert_eq!(of("spring", other), None, "{other}");
        }
    }
}
