//! Creatives as documents of IAB Tech Lab's Dynamic Content Ads 1.0.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
};

use axum::{
    Json,
    extract::{Request, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    LARGEST, ReadProblems, WriteProblems, author,
    uploads::{ComponentFault, ComponentsTaken, Upload, UploadQuery},
};
use crate::{
    domain::{
        access::Scope,
        catalog::{
            document::AdvertiserDoc,
            key::{DocumentKey, Kind},
        },
        creative::{
            ComponentDoc, CreativeDoc, Exported, Imported, ImportedAsset, PairingRule, RequireRule, TemplateDoc,
            WebUrl, export, import,
        },
        ids::{ComponentId, CreativeId, SlotName, TemplateId},
        violation::Violation,
    },
    engine::authoring::{Along, Authoring, AuthoringError, Expect},
    http::{
        app::App,
        auth::Caller,
        body,
        etag::MaybeMatch,
        extract::{ApiPath, ApiQuery},
        page::DryRun,
        problem::{Problem, ProblemKind},
        rows::ImportMode,
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
/// JSON. Importing the document into the same creative changes nothing. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{creative}/dynamic-content", tag = "components", operation_id = "export_dynamic_content",
    params(Of), security(("key" = [])),
    responses((status = 200, description = "The document.", body = DynamicContentDoc), ReadProblems)
)]
async fn write(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Of { creative: id }): ApiPath<Of>,
) -> Result<Json<Value>, Problem> {
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
    let draft = Exported {
        id: &id,
        creative: &creative,
        version: draft.version,
        advertiser: &advertiser.domain,
        templates: &templates,
        components: &components,
    };
    Ok(Json(export(draft)))
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

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// What becomes of assets of which some are refused: the others are taken, or nothing is.
    #[serde(default)]
    #[param(inline, required = false, default = "valid_only")]
    mode: ImportMode,
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
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
/// named by where they stand, `line` counts them. Sending the same again is safe. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{creative}/dynamic-content", tag = "components", operation_id = "import_dynamic_content",
    params(Of, ImportQuery, MaybeMatch), security(("key" = [])), request_body = DynamicContentDoc,
    responses((status = 200, description = "What became of its assets.", body = DynamicTaken), WriteProblems)
)]
async fn take(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Of { creative }): ApiPath<Of>,
    ApiQuery(query): ApiQuery<ImportQuery>,
    MaybeMatch(expect): MaybeMatch,
    request: Request,
) -> Result<Json<DynamicTaken>, Problem> {
    caller.must(Scope::Author)?;
    let (named, base) = settings(&query)?;
    let bytes = body::read_json(request, 4 * LARGEST).await?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("line {}, column {}: {error}", error.line(), error.column());
        Problem::new(ProblemKind::MalformedJson, detail)
    })?;
    let asked = UploadQuery { mode: query.mode, dry_run: query.dry_run };
    let mut upload = Upload::of(&app, &caller, creative.clone(), asked, expect);
    let (slots, mut way) = upload.begin(false).await?;
    let slots = slots.iter().filter_map(|(name, specs)| Some((name.clone(), specs.first()?.kind))).collect();
    let Imported { assets, pairing } = import(&document, &slots, &named, base.as_ref()).map_err(Problem::invalid)?;
    for (line, asset) in (1..).zip(&assets) {
        upload.hold(line, asset.component.clone(), &mut way).await?;
    }
    let mut components = upload.close(way, |fault| pointer(&assets, fault)).await?;
    for fault in &mut components.errors {
        fault.pointer = pointer(&assets, fault);
    }
    let refused = |line: u64| components.errors.iter().any(|fault| fault.line == line);
    let lines = (1..).zip(&assets).filter(|(line, _)| refused(*line));
    let lost: Vec<Value> = lines.filter_map(|(_, asset)| asset.component.as_ref().ok()?.get("id").cloned()).collect();
    let sound = |rule: &PairingRule| named_in(rule).all(|id| !lost.contains(&json!(id)));
    let rules: Vec<PairingRule> = pairing.into_iter().filter(sound).collect();
    let (added, version) = pair(&app, &caller, &creative, rules, query.dry_run).await?;
    components.version = version.or(components.version);
    Ok(Json(DynamicTaken { components, pairing_rules: added }))
}

fn settings(query: &ImportQuery) -> Result<(BTreeMap<String, SlotName>, Option<WebUrl>), Problem> {
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

fn named_in(rule: &PairingRule) -> Box<dyn Iterator<Item = &ComponentId> + '_> {
    match rule {
        PairingRule::Require(rule) => Box::new(std::iter::once(&rule.when).chain(&rule.then)),
        PairingRule::Forbid(all) | PairingRule::Group(all) => Box::new(all.iter()),
    }
}

/// Whether two rules ask the same, in whatever order they name components.
fn same(one: &PairingRule, other: &PairingRule) -> bool {
    fn when(rule: &PairingRule) -> Option<&ComponentId> {
        if let PairingRule::Require(RequireRule { when, .. }) = rule { Some(when) } else { None }
    }
    fn all(rule: &PairingRule) -> BTreeSet<&ComponentId> {
        named_in(rule).collect()
    }
    discriminant(one) == discriminant(other) && when(one) == when(other) && all(one) == all(other)
}

/// Adds the rules that a creative does not have; how many, and the version that has them.
async fn pair(
    app: &App,
    caller: &Caller,
    id: &CreativeId,
    rules: Vec<PairingRule>,
    dry_run: bool,
) -> Result<(usize, Option<i64>), Problem> {
    const TRIES: usize = 3;
    let (authoring, author) = (&app.engine.authoring, author(caller, DryRun { dry_run }));
    let key = DocumentKey::new(Kind::Creative, id.as_str());
    for _ in 0..TRIES {
        let row = authoring.get(author.account, key.clone()).await?;
        let mut draft: CreativeDoc = serde_json::from_value(row.body).map_err(Problem::internal)?;
        let known = draft.pairing.len();
        let new = |rule: &&PairingRule| !draft.pairing.iter().any(|known| same(known, rule));
        let more: Vec<PairingRule> = rules.iter().filter(new).cloned().collect();
        draft.pairing.extend(more);
        let added = draft.pairing.len() - known;
        if added == 0 || dry_run {
            return Ok((added, None));
        }
        let bytes = serde_json::to_vec(&draft).map_err(Problem::internal)?;
        match authoring.put(&author, key.clone(), Expect::Version(row.version), &bytes, Along::default()).await {
            Ok(written) => return Ok((added, Some(written.version))),
            // somebody else wrote it meanwhile
            Err(AuthoringError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AuthoringError::Contended.into())
}
