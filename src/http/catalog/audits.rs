//! Ads for the auditors of exchanges.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
    domain::{
        access::Scope, catalog::key::Kind, creative::Intricate, ids::CreativeId, values::Format, violation::Violation,
    },
    engine::authoring::AuthoringError,
    http::{
        app::App,
        auth::Caller,
        extract::ApiPath,
        problem::{Problem, ProblemKind},
    },
};

/// For how long a content is looked for.
const PATIENCE: Duration = Duration::from_secs(1);

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
/// The ad that a `crid` of bids names, whoever it is aimed at, with every macro of the exchange as `AUDIT`: of a
/// revision in one size its first combination, or the content of one combination. Its beacons are marked as a preview's
/// and never counted; nothing in the page runs. Native ads are JSON, videos VAST. Ads of a creative that was deleted
/// are shown as before: what was bid may still be on its way. A combination that was chosen for review is found in
/// whatever revision it was chosen of, and stays byte for byte the same for as long as no key for signatures is
/// replaced. Other contents are looked for in the revision that serves and in the draft: in each among its first
/// 300,000 combinations, and for a second in all. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/audit/{crid}", tag = "creatives", operation_id = "render_audit",
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
    if crid.contains(char::is_control) {
        return Err(unknown(&id, &crid));
    }
    if let Some(kept) = authoring.kept_ad(account, &id, &crid).await? {
        let (format, markup) =
            kept.render(account, &app.engine.catalogue.world().tokens, app.engine.catalogue.public_url());
        return Ok(shown(format, &markup));
    }
    let serving = caller.account.snapshot.creatives.get(&id).map(|creative| Some(creative.revision));
    let revisions: Vec<Option<u32>> = match revision(&id, &crid) {
        Some(revision) => vec![Some(revision), None],
        None if is_content(&crid) => serving.into_iter().chain([None]).collect(),
        None => Vec::new(),
    };
    let (world, now) = (app.engine.catalogue.world(), app.engine.clock.now());
    let until = Instant::now() + PATIENCE;
    let mut rendered = None;
    for revision in revisions {
        let proof = match revision {
            Some(revision) => authoring.bid_revision(account, &id, revision).await,
            None => authoring.proof(account, &id, None).await,
        };
        let proof = match proof {
            // what cannot be shown any more, or not yet, is not it
            Err(AuthoringError::NotFound(key)) if key.kind == Kind::Revision => continue,
            Err(AuthoringError::Invalid(_)) => continue,
            proof => proof?,
        };
        let (wanted, place) = (crid.clone(), Arc::clone(&world));
        let public_url = app.engine.catalogue.public_url().to_owned();
        let looked = tokio::task::spawn_blocking(move || {
            let place = (account, &*place, &*public_url);
            let ad = proof.ad(&wanted, place, now, until)?;
            Ok::<_, Intricate>(ad.and_then(|ad| {
                let format = proof.creative.variants[ad.variant.0].shape.0;
                Some((format, proof.render(place, ad.variant, &ad.chosen, now)?.assembled.markup))
            }))
        });
        let found = looked.await.map_err(Problem::internal)?.map_err(|error| {
            Problem::invalid(vec![Violation::new("/creative/pairing", "too_intricate", error.to_string())])
        })?;
        rendered = found;
        if rendered.is_some() || Instant::now() > until {
            break;
        }
    }
    let Some((format, markup)) = rendered else {
        return Err(unknown(&id, &crid));
    };
    Ok(shown(format, &markup))
}

fn unknown(id: &CreativeId, crid: &str) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("creative {id} has no ad {crid}"))
}

fn shown(format: Format, markup: &str) -> Response {
    let markup = without_macros(markup, format);
    match format {
        Format::Html => (PAGE, markup).into_response(),
        Format::Native => ([(header::CONTENT_TYPE, "application/json")], markup).into_response(),
        Format::Vast => ([(header::CONTENT_TYPE, "application/xml")], markup).into_response(),
    }
}

/// The revision that a `crid` names, if it names one of the creative's.
fn revision(id: &CreativeId, crid: &str) -> Option<u32> {
    let (number, size) = crid.strip_prefix(id.as_str())?.strip_prefix('.')?.split_once('.')?;
    number.parse().ok().filter(|number| *number > 0 && !size.is_empty())
}

/// Markup with `AUDIT` in the place of every macro that it may hold: those of OpenRTB, such as
/// `${AUCTION_PRICE}` (2.6, section 4.4), of the ad servers that embed tags, such as `${CLICK_URL}` and
/// `%%CLICK_URL_ESC%%`, and of VAST, such as `[ERRORCODE]`.
fn without_macros(markup: &str, format: Format) -> String {
    let kinds: &[(&str, &str)] = match format {
        Format::Vast => &[("${", "}"), ("%%", "%%"), ("[", "]")],
        Format::Html | Format::Native => &[("${", "}"), ("%%", "%%")],
    };
    let (mut filled, mut rest) = (String::with_capacity(markup.len()), markup);
    while let Some(at) = rest.find(['$', '%', '[']) {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let named = kinds.iter().find_map(|(head, tail)| {
            let (name, after) = rest.strip_prefix(head)?.split_once(tail)?;
            is_macro(name).then_some(after)
        });
        match named {
            Some(after) => {
                filled.push_str("AUDIT");
                rest = after;
            }
            None => {
                filled.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

/// Whether a macro has this name, of those that we leave to others or that authors write for them.
fn is_macro(name: &str) -> bool {
    const KNOWN: [&str; 11] = [
        "AUCTION_",
        "CACHEBUST",
        "CLICK_URL",
        "CONTENTPLAYHEAD",
        "ERRORCODE",
        "GDPR",
        "GPP",
        "MEDIAPLAYHEAD",
        "TIMESTAMP",
        "US_PRIVACY",
        "ASSETURI",
    ];
    KNOWN.iter().any(|known| name.starts_with(known))
        && name.bytes().all(|b| b.is_ascii_uppercase() || b":_".contains(&b) || b.is_ascii_digit())
}

/// Whether a `crid` names a content.
fn is_content(crid: &str) -> bool {
    crid.len() == 32 && crid.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_filled_in_and_nothing_else() {
        let html = |markup| without_macros(markup, Format::Html);
        assert_eq!(
            html("a?p=${AUCTION_PRICE}&b=${AUCTION_PRICE:B64}&c=${cost} ${AUCTION_ ${AUCTION_ID}${"),
            "a?p=AUDIT&b=AUDIT&c=${cost} ${AUCTION_ AUDIT${"
        );
        assert_eq!(html("plain"), "plain");
        assert_eq!(
            html(
                "%%CLICK_URL_ESC_ESC%%https%3A%2F%2F ${CLICK_URL_ENC} %%CACHEBUSTER%% 50%% [ERRORCODE] ${GDPR_CONSENT_7}"
            ),
            "AUDIThttps%3A%2F%2F AUDIT AUDIT 50%% [ERRORCODE] AUDIT"
        );
        assert_eq!(
            without_macros("e?code=[ERRORCODE]&c=[CACHEBUSTING] <![CDATA[a]]> [SALE]", Format::Vast),
            "e?code=AUDIT&c=AUDIT <![CDATA[a]]> [SALE]"
        );
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
