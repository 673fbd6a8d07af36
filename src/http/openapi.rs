//! The OpenAPI document: made of the routes themselves, and all that is checked by it.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, RefOr, Schema,
        schema::AdditionalProperties,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    etag::{self, Unless},
    health,
    problem::ProblemDocument,
    repeats,
};
use crate::{
    domain::{
        ids::{ExchangeId, FeedId, ModelKey, WriteKeyId},
        violation::Violation,
        webhook::Message,
    },
    schema::{SchemaError, Schemas},
};

/// What no route says, and the routes without a state of the application.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tessera",
        description = "Decides which creative each person sees, assembles it and counts what comes of it.\n\n\
            Send an API key as `Authorization: Bearer <key>`. Every error is a problem document (RFC 9457) whose \
            `type` is documented under `/problems`; a document with faults is answered with all of them at once. \
            Times are RFC 3339 in UTC with milliseconds, money is a decimal text with an ISO 4217 currency. Unknown \
            fields and query parameters are refused. Catalogue documents carry an `ETag`: create with \
            `If-None-Match: *`, change with `If-Match`. `?dry_run=true` checks a change and makes none.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(health::healthz, health::readyz, health::metrics, describe),
    components(schemas(ProblemDocument<'_>, Violation, ExchangeId, FeedId, ModelKey, WriteKeyId, Message)),
    tags(
        (name = "decisions", description = "What to show, why, and the same again."),
        (name = "beacons", description = "Impressions, clicks and conversions, reported by signed addresses."),
        (name = "tags", description = "Ads by an address alone, for ad servers and pages."),
        (name = "openrtb", description = "Bids for exchanges, and what they tell of their auctions."),
        (name = "events", description = "What people did."),
        (name = "profiles", description = "What is known of people."),
        (name = "segments", description = "Who belongs together, by rule or by list."),
        (name = "models", description = "What is learned of people: fifths of recency, frequency and money, and clusters."),
        (name = "advertisers", description = "Brands."),
        (name = "campaigns", description = "What is shown when, where, to whom and how often."),
        (name = "placements", description = "Slots on pages and in apps."),
        (name = "creatives", description = "Templates with what fills them: drafts and revisions."),
        (name = "components", description = "Values for the slots of a creative."),
        (name = "templates", description = "Markup with typed slots."),
        (name = "feeds", description = "Catalogues of products, filled by upload or from an address."),
        (name = "assets", description = "Images."),
        (name = "reports", description = "Segments side by side."),
        (name = "webhooks", description = "Who is told of those who enter and leave segments, by signed deliveries."),
        (name = "keys", description = "API keys."),
        (name = "operations", description = "For probes and collectors."),
    ),
    modifiers(&Key)
)]
struct Base;

/// Declares the API key.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "An API key with the scope that the operation names; `admin` stands for all but `consent`.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(key.build()));
    }
}

/// The whole document; needs no running server.
#[must_use]
pub fn document() -> openapi::OpenApi {
    let mut document = super::groups()
        .into_iter()
        .map(|(class, routes)| {
            let mut own = routes.into_openapi();
            if super::may_repeat(class) {
                own.paths.paths.iter_mut().for_each(|(path, item)| repeats::describe(path, item));
            }
            own
        })
        .fold(Base::openapi(), openapi::OpenApi::merge_from);
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    schemas.filter(|(name, _)| CLOSED.contains(&name.as_str())).for_each(|(_, schema)| close(schema));
    document
}

/// Unions whose derived descriptions leave out that they refuse unknown fields.
const CLOSED: [&str; 2] = ["ModelDoc", "FeatureKind"];

/// Says of every object of a schema that it has no other fields.
fn close(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::OneOf(union)) => union.items.iter_mut().for_each(close),
        RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            object.properties.values_mut().for_each(close);
        }
        _ => {}
    }
}

/// The document and its entity tag, made once.
static DOCUMENT: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
    let json = serde_json::to_vec(&document()).unwrap_or_default();
    let tag = format!("\"{}\"", &blake3::hash(&json).to_hex()[..16]);
    (json.into(), HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"0\"")))
});

/// Describe the API
///
/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "get_openapi", params(Unless), security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", body = Object, content_type = "application/json",
            headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The caller has it."),
    )
)]
pub(super) async fn describe(headers: HeaderMap) -> Response {
    let (json, tag) = &*DOCUMENT;
    let always = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if etag::is_known(&headers, tag) {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, [(header::CONTENT_TYPE, "application/json")], json.clone()).into_response()
}

/// Validators of the document's schemas. Rules have a parser of their own, which reports their
/// faults better.
///
/// # Errors
/// A fault of this program: a schema is none.
pub fn schemas() -> Result<Schemas, SchemaError> {
    let document = serde_json::to_value(document()).unwrap_or_default();
    Schemas::new(&document, &["RuleDoc", "TargetingDoc"])
}
