//! Creatives as documents of IAB Tech Lab's Dynamic Content Ads 1.0.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer, LARGEST, ReadProblems, WriteProblems,
    uploads::{ComponentFault, ComponentsTaken, Upload},
};
use crate::{
    domain::{
        access::Scope,
        catalog::{
            document::AdvertiserDoc,
            key::{DocumentKey, Kind},
        },
        creative::{
            ComponentDoc, CreativeDoc, Exported, Imported, ImportedAsset, SlotType, TemplateDoc, WebUrl, export, import,
        },
        ids::{ComponentId, CreativeId, SlotName, TemplateId},
        violation::Violation,
    },
    engine::authoring::{Authoring, Paired, Pairs},
    http::{
        app::App,
        auth::Caller,
        body,
        etag::MaybeMatch,
        extract::{ApiPath, ApiQuery},
        problem::{Problem, ProblemKind},
        rows::ImportQuery,
        said::listed,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(write, take))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Of {
    /// The creative.
    creative: CreativeId,
}

/// A document of Dynamic Content Ads 1.0. What is sent need not have all of this, and may have more.
#[derive(ToSchema)]
#[schema(as = DynamicContentAd, example = json!({"ad": {
    "id": "spring", "name": "Spring shoes", "advertiser": "northwind.example", "version": "7",
    "adUnits": [{"id": "hero-300x250", "name": "Hero", "size": "300x250"}], "assetGroups": [],
    "creativeComponents": [{"id": 1, "name": "headline", "assetType": "Text", "adUnit": ["hero-300x250"], "assets": [
        {"id": "h-1", "name": "Run further", "source": "Run further", "sourceType": "Embedded", "fallback": "0",
         "target": "segment:runners", "attributes": {"weight": 60}}
    ]}]
}}))]
#[expect(dead_code, reason = "it describes documents that are read and written elsewhere")]
struct DynamicContentDoc {
    /// The ad: `adUnits` are templates, `creativeComponents` slots, their `assets` components, and assets that share
    /// one of `assetGroupIds` are shown together.
    #[schema(value_type = Object)]
    ad: Value,
}

/// Export a creative's draft
///
/// As a document of IAB Tech Lab's Dynamic Content Ads 1.0. What that standard has no word for (weights, languages,
/// flights) stands in the assets' `attributes`; a `target` is `segment:` with a segment's key, or a targeting rule as
/// JSON. A component that shows nothing or whose slot no template has is left out. Importing the document into the same
/// creative changes nothing: the ad's `tessera` says that it is one of ours, which is read as it stands. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{creative}/dynamic-content", tag = "components", operation_id = "export_dynamic_content",
    params(Of), security(("key" = [])),
    responses((status = 200, description = "The document.", body = DynamicContentDoc), ReadProblems)
)]
async fn write(State(app): State<App>, caller: Caller, ApiPath(Of { creative: id }): ApiPath<Of>) -> Answer {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let (authoring, account) = (&app.engine.authoring, caller.account.number());
    let draft = authoring.get(account, DocumentKey::new(Kind::Creative, id.as_str())).await?;
    let creative: CreativeDoc = serde_json::from_value(draft.body).map_err(Problem::internal)?;
    let advertiser = authoring.get(account, DocumentKey::new(Kind::Advertiser, creative.advertiser.as_str())).await?;
    let advertiser: AdvertiserDoc = serde_json::from_value(advertiser.body).map_err(Problem::internal)?;
    let mut templates: Vec<(TemplateId, TemplateDoc)> = Vec::with_capacity(creative.templates.len());
    for template in &creative.templates {
        let row = authoring.get(account, DocumentKey::new(Kind::Template, template.as_str())).await?;
        templates.push((template.clone(), serde_json::from_value(row.body).map_err(Problem::internal)?));
    }
    let components = components(authoring, account, &id).await?;
    // megabytes of it take a while
    let written = move || {
        let document = export(Exported {
            id: &id,
            creative: &creative,
            version: draft.version,
            advertiser: &advertiser.domain,
            templates: &templates,
            components: &components,
        });
        serde_json::to_vec(&document)
    };
    let written = tokio::task::spawn_blocking(written).await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], written).into_response())
}

async fn components(
    authoring: &Authoring,
    account: u32,
    creative: &CreativeId,
) -> Result<BTreeMap<ComponentId, ComponentDoc>, Problem> {
    const PAGE: u32 = 1_000;
    let prefix = format!("{creative}/");
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let rows = authoring.list(account, Kind::Component, prefix.clone(), after.take(), PAGE).await?.rows;
        let is_last = rows.len() < PAGE as usize;
        after = rows.last().map(|row| row.key.id.clone());
        for row in rows {
            let id = row.key.id[prefix.len()..].parse().map_err(Problem::internal)?;
            found.insert(id, serde_json::from_value(row.body).map_err(Problem::internal)?);
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// How to read a document; beside it an [`ImportQuery`] says how to take it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReadQuery {
    /// Which slots creative components are that no slot is called like: `name:slot` with commas between.
    #[param(example = "Background 1:hero,CTA:cta")]
    slots: Option<String>,
    /// Where relative addresses begin.
    #[param(example = "https://cdn.northwind.example/ads/")]
    base: Option<String>,
}

/// What became of a document's assets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "rows": 40, "created": 40, "replaced": 0, "unchanged": 0, "rejected": 0, "version": 57, "pairing_rules": 2
}))]
struct DynamicTaken {
    #[serde(flatten)]
    components: ComponentsTaken,
    /// Pairing rules that the creative did not have before.
    pairing_rules: usize,
    /// Why pairing rules were not added, of the first 10,000 faults, each where the document asks for the rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pairing_errors: Vec<Violation>,
}

/// Import assets into a creative's draft
///
/// From a document of IAB Tech Lab's Dynamic Content Ads 1.0, each asset as a component of the slot that its creative
/// component is called like. It is read for what it means, as the documents in use deviate from the standard's schema:
/// one thing for a list of one, numbers for texts, quotes and no scheme in addresses, ids that are not unique.
///
/// A `target` of `segment:` and a key, or of a targeting rule as JSON, becomes the component's targeting; any other one
/// is compared with `data.target` in the context of a request, by which an ad server says whom it means. The
/// `fallback` of others is taken with the least weight, and what the slot shows by default is left to the template.
/// Images and films must have addresses.
///
/// A component that exists and is another one is refused unless `If-Match: *` says to replace it; refused assets are
/// named by where they stand, `line` counts them, at most 100,000. A pairing rule is added only where it could be
/// published: one that names a refused asset, or a component that the creative has not, is told in `pairing_errors`.
/// A draft that would be larger with them than a PUT takes, 1 MiB, is refused: the commit with the rules is not made.
///
/// Assets are written 1,000 in a commit and the pairing rules in that of the last, with `mode=all_or_nothing` all in
/// one: then nothing changes unless every asset and rule can be taken. `If-Match` with the ETag of the creative has
/// nothing changed where its draft is another one by now; should that change between commits, the last one is not made.
/// Sending the same again is safe. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{creative}/dynamic-content", tag = "components", operation_id = "import_dynamic_content",
    params(Of, ImportQuery, ReadQuery, MaybeMatch), security(("key" = [])), request_body = DynamicContentDoc,
    responses((status = 200, description = "What became of its assets.", body = DynamicTaken), WriteProblems)
)]
async fn take(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Of { creative }): ApiPath<Of>,
    ApiQuery(query): ApiQuery<ImportQuery>,
    ApiQuery(reading): ApiQuery<ReadQuery>,
    MaybeMatch(expect): MaybeMatch,
    request: Request,
) -> Result<Json<DynamicTaken>, Problem> {
    caller.must(Scope::Author)?;
    let (named, base) = settings(&reading)?;
    let bytes = body::read_json(request, 4 * LARGEST).await?;
    let mut upload = Upload::of(&app, &caller, creative.clone(), query, expect);
    let (slots, mut way) = upload.begin(false).await?;
    let slots = slots.iter().filter_map(|(name, specs)| Some((name.clone(), specs.first()?.kind))).collect();
    // megabytes of it take a while
    let read = tokio::task::spawn_blocking(move || read(&bytes, &slots, &named, base.as_ref()));
    let Imported { assets, pairing } = read.await.map_err(Problem::internal)??;
    for (line, asset) in (1..).zip(&assets) {
        upload.hold(line, asset.component.clone(), &mut way).await?;
    }
    way.upload.pairs = Some(Pairs {
        rules: pairing.iter().map(|rule| rule.rule.clone()).collect(),
        sent: assets.iter().map(|asset| asset.id.clone()).collect(),
    });
    upload.take(&mut way).await?;
    let Paired { added, refused } = way.upload.paired;
    let faults = refused.into_iter().flat_map(|(at, faults)| faults.into_iter().map(move |fault| (at, fault)));
    let faults = faults.map(|(at, fault)| Violation { pointer: pairing[at].pointer(&fault.pointer), ..fault });
    let pairing_errors: Vec<Violation> = faults.take(Upload::TOLD).collect();
    let mut components = upload.close(|fault| pointer(&assets, fault), &pairing_errors)?;
    for fault in &mut components.errors {
        fault.pointer = pointer(&assets, fault);
    }
    Ok(Json(DynamicTaken { components, pairing_rules: added, pairing_errors }))
}

fn read(
    bytes: &[u8],
    slots: &BTreeMap<SlotName, SlotType>,
    named: &BTreeMap<String, SlotName>,
    base: Option<&WebUrl>,
) -> Result<Imported, Problem> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| {
        let detail = format!("line {}, column {}: {error}", error.line(), error.column());
        Problem::new(ProblemKind::MalformedJson, detail)
    })?;
    import(&document, slots, named, base).map_err(Problem::invalid)
}

fn settings(query: &ReadQuery) -> Result<(BTreeMap<String, SlotName>, Option<WebUrl>), Problem> {
    let fault = |pointer, detail: String| Problem::invalid(vec![Violation::new(pointer, "pattern", detail)]);
    let mut named = BTreeMap::new();
    for pair in listed(query.slots.as_deref()) {
        let (name, slot) =
            pair.rsplit_once(':').ok_or_else(|| fault("/slots", format!("{pair}: must be name:slot")))?;
        named.insert(name.to_owned(), slot.parse().map_err(|error| fault("/slots", format!("{pair}: {error}")))?);
    }
    let base = query.base.as_deref().map(str::parse).transpose().map_err(|error| fault("/base", format!("{error}")))?;
    Ok((named, base))
}

/// Where in the document a fault of an asset stands.
fn pointer(assets: &[ImportedAsset], fault: &ComponentFault) -> String {
    let asset = usize::try_from(fault.line).ok().and_then(|line| assets.get(line.checked_sub(1)?));
    match asset {
        Some(asset) if !fault.pointer.starts_with(&asset.pointer) => asset.pointer(&fault.pointer),
        _ => fault.pointer.clone(),
    }
}
