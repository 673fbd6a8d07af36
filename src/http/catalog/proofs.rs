//! What a creative would show: every legal combination, rendered by the code that serves.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ReadProblems,
    combination::{Audits, CombinationItem},
    sheet::Sheet,
};
use crate::{
    domain::{
        access::Scope,
        audience::{context::Context, profile::Traits, value::Folded},
        creative::{Combinations, Intricate},
        ids::{CreativeId, SegmentKey},
        values::{Country, Format, Locale, Millis, Size},
        violation::{Violation, Violations},
    },
    engine::authoring::proof::{Persona, Proof},
    http::{
        app::App,
        auth::Caller,
        etag,
        extract::{ApiPath, ApiQuery},
        page::Limit,
        problem::Problem,
        said,
    },
};

/// What a page of ads is sent with: nothing in it runs.
pub(super) const PAGE: [(HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline' http: https:; \
         font-src http: https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(combinations)).routes(routes!(preview))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct One {
    /// The creative.
    id: CreativeId,
}

/// A choice of combinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Cover {
    /// A few in which every two components that are legal together stand together.
    Pairs,
}

/// What to look at, and for whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProofQuery {
    /// A revision; left out: the draft, as it would be published now.
    #[param(required = false, minimum = 1)]
    revision: Option<u32>,
    /// The format to render; left out: any.
    #[param(inline, required = false)]
    format: Option<Format>,
    /// The size to render; left out: every template's own.
    #[param(inline, required = false)]
    size: Option<Size>,
    /// `pairs`: instead of all combinations, a few in which every two components that are legal
    /// together stand together.
    #[param(inline, required = false)]
    cover: Option<Cover>,
    /// How many combinations at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// Where to read on: `next` of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,39}$")]
    after: Option<String>,
    /// Only what somebody would see who is in just these segments: keys with commas between.
    #[param(required = false, example = "young-buyers,members")]
    segments: Option<String>,
    /// Only what somebody would see who reads this language.
    #[param(inline, required = false)]
    language: Option<Locale>,
    /// Only what somebody would see in this country.
    #[param(inline, required = false)]
    country: Option<Country>,
    /// Only what somebody would see on this kind of device.
    #[param(required = false, example = "mobile")]
    device: Option<String>,
    /// Only what somebody with these traits would see, who is in the segments that follow from them
    /// unless `segments` names others: names with their values, with commas between.
    #[param(required = false, example = "age:24,city:Berlin")]
    traits: Option<String>,
    /// Only what would be seen where a request says this as `data.*`: likewise.
    #[param(required = false, example = "weather:rain")]
    data: Option<String>,
    /// Only what would be seen at this time; left out: now and later.
    #[param(inline, required = false)]
    at: Option<Millis>,
}

/// Combinations of a creative.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "creative": "spring-hero", "revision": 3, "count": 24, "shown": 24,
    "slots": {"headline": ["h-1", "h-2"], "offer": [null]}, "faults": [], "items": []
}))]
struct CombinationsAnswer {
    /// The creative.
    creative: CreativeId,
    /// The revision; of a draft the one that it would become.
    revision: u32,
    /// How many combinations the pairing rules allow, exactly.
    #[schema(value_type = u64)]
    count: u128,
    /// How many there are to page through: all, or those of the cover.
    #[schema(value_type = u64)]
    shown: u128,
    /// Of each slot the components that compete; `null` is the default of a slot without any.
    #[schema(value_type = BTreeMap<String, Vec<Option<String>>>)]
    slots: BTreeMap<String, Vec<Option<String>>>,
    /// What keeps the draft from being published; empty for a revision. Components, templates and
    /// rules with faults of their own are left out of the combinations.
    faults: Vec<Violation>,
    /// The combinations, each in every template asked for.
    items: Vec<CombinationItem>,
    /// Send it as `after` to read on; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What one request looks at.
struct Look {
    creative: CreativeId,
    proof: Proof,
    all: Combinations,
    cover: Option<Vec<Vec<u32>>>,
    persona: Option<Persona>,
    now: Millis,
}

impl ProofQuery {
    fn persona(&self, now: Millis) -> Result<Option<Persona>, Problem> {
        let any = self.segments.is_some() || self.language.is_some() || self.country.is_some();
        let any = any || self.traits.is_some() || self.data.is_some();
        if !any && self.device.is_none() && self.at.is_none() {
            return Ok(None);
        }
        let mut faults = Violations::new();
        let keys = self.segments.iter().flat_map(|keys| keys.split(',')).filter(|key| !key.is_empty());
        let keys = keys.filter_map(|key| match key.trim().parse::<SegmentKey>() {
            Ok(key) => Some(key),
            Err(error) => {
                faults.push("/segments", "invalid_id", format!("{key}: {error}"));
                None
            }
        });
        let segments = keys.collect();
        let pairs = faults.keep("/traits", said::pairs(self.traits.as_deref().unwrap_or_default()));
        let traits = self.traits.as_ref().and_then(|_| {
            let named = pairs?.into_iter().map(|(name, value)| (name.into(), json!(value)));
            faults.keep("/traits", Traits::parse(&Value::Object(named.collect()), now))
        });
        let data = faults.keep("/data", said::pairs(self.data.as_deref().unwrap_or_default())).unwrap_or_default();
        faults.into_result().map_err(Problem::invalid)?;
        let context = Context {
            language: self.language.clone(),
            country: self.country,
            device: self.device.as_deref().map(Folded::new),
            data,
            ..Context::default()
        };
        Ok(Some(Persona { segments, traits, context }))
    }

    fn after(&self) -> Result<u128, Problem> {
        let Some(after) = &self.after else { return Ok(0) };
        let number = after.parse().ok().filter(|_| after.bytes().all(|b| b.is_ascii_digit()));
        number.ok_or_else(|| {
            let detail = "must be a number, such as `next` of the page before";
            Problem::invalid(vec![Violation::new("", "query", detail)])
        })
    }
}

async fn look(app: &App, caller: &Caller, id: CreativeId, query: &ProofQuery) -> Result<Look, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let now = query.at.unwrap_or_else(|| app.engine.clock.now());
    let persona = query.persona(now)?;
    let proof = app.engine.authoring.proof(caller.account.number(), &id, query.revision).await?;
    if let Some(persona) = &persona {
        let unknown = proof.unknown(persona).into_iter();
        let fault =
            |key: &SegmentKey| Violation::new("/segments", "unknown_segment", format!("there is no segment {key}"));
        let faults: Vec<_> = unknown.map(fault).collect();
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
    }
    let cover = query.cover;
    // counting is quick for what people write, but not for everything that can be written
    let worked = tokio::task::spawn_blocking(move || {
        let all = proof.combinations(persona.as_ref(), now)?;
        let cover = match cover {
            Some(Cover::Pairs) => Some(all.cover().ok_or(Intricate)?),
            None => None,
        };
        Ok::<_, Intricate>(Look { creative: id, proof, all, cover, persona, now })
    });
    worked.await.map_err(Problem::internal)?.map_err(|error| {
        Problem::invalid(vec![Violation::new("/creative/pairing", "too_intricate", error.to_string())])
    })
}

impl Look {
    fn shown(&self) -> u128 {
        self.cover.as_ref().map_or(self.all.count(), |cover| cover.len() as u128)
    }

    fn nth(&self, number: u128) -> Option<Vec<u32>> {
        match &self.cover {
            Some(cover) => cover.get(usize::try_from(number).ok()?).cloned(),
            None => self.all.nth(number),
        }
    }

    /// Some combinations in every template asked for, and where to read on.
    fn page(
        &self,
        app: &App,
        caller: &Caller,
        query: &ProofQuery,
    ) -> Result<(Vec<CombinationItem>, Option<String>), Problem> {
        let variants = self.proof.variants(query.format, query.size);
        if variants.is_empty() {
            let detail = "no template of the creative has this format and size";
            return Err(Problem::invalid(vec![Violation::new("/size", "no_matching_size", detail)]));
        }
        let world = app.engine.catalogue.world();
        let place = (caller.account.number(), &*world, app.engine.catalogue.public_url());
        let from = query.after()?;
        let to = self.shown().min(from.saturating_add(u128::from(query.limit.0)));
        let none = Audits::new();
        let audits = caller.account.snapshot.audits.get(&self.creative).unwrap_or(&none);
        let mut items = Vec::new();
        for chosen in (from..to).filter_map(|number| self.nth(number)) {
            let rendered = variants.iter().filter_map(|variant| self.proof.render(place, *variant, &chosen, self.now));
            items.extend(rendered.map(|rendered| CombinationItem::of(&self.proof, audits, rendered)));
        }
        Ok((items, (to < self.shown() && from < to).then(|| to.to_string())))
    }

    /// The ETag of a draft.
    fn tag(&self) -> Option<[(HeaderName, HeaderValue); 1]> {
        self.proof.tag.map(|tag| [(header::ETAG, etag::draft_tag(tag))])
    }

    fn slots(&self) -> BTreeMap<String, Vec<Option<String>>> {
        let creative = &self.proof.creative;
        let id = |option: &u32| creative.components.get(*option as usize).map(|component| component.id.to_string());
        let options = self.proof.options(self.persona.as_ref(), self.now);
        let slots = creative.slots.iter().zip(&options);
        slots.map(|(slot, options)| (slot.name.to_string(), options.iter().map(id).collect())).collect()
    }
}

/// List a creative's combinations
///
/// Every choice of one component per slot that the pairing rules allow, counted exactly without
/// listing them, rendered page by page by the code that serves, with what its author should look
/// at. `cover=pairs` gives a few in which every legal pair stands. With segments, traits, `data`, a
/// language, a country, a device or a time: only what such a person would see. A slot shows its default only
/// where no component of it may be shown; where the rules leave no component for a slot beside a
/// choice, its default serves there too, which is not listed: publishing warns of components that
/// stand only so. With what exchanges say of each. A draft that could not be published is shown as
/// far as it goes, with its faults. The ETag of a draft is of its templates and components too:
/// send it as `If-Match` to publish what was looked at and nothing else. Changes nothing and counts
/// nothing. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/combinations", tag = "creatives", operation_id = "list_combinations",
    params(One, ProofQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = CombinationsAnswer, headers(
        ("ETag" = String, description = "Of a draft: it with its templates and components.")
    )), ReadProblems)
)]
async fn combinations(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(query): ApiQuery<ProofQuery>,
) -> Result<Response, Problem> {
    let look = look(&app, &caller, id, &query).await?;
    let (items, next) = look.page(&app, &caller, &query)?;
    let answer = CombinationsAnswer {
        creative: look.creative.clone(),
        revision: look.proof.doc.revision,
        count: look.all.count(),
        shown: look.shown(),
        slots: look.slots(),
        faults: look.proof.faults.clone(),
        items,
        next,
    };
    Ok((look.tag(), Json(answer)).into_response())
}

/// Preview a creative on one page
///
/// A contact sheet: the combinations of `GET .../combinations` side by side, each in a sandboxed
/// frame that runs no script, with what it is made of and what to look at; above them what keeps a
/// draft from being published. The same parameters and ETag. Needs a key with the scope `author` or
/// `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/preview", tag = "creatives", operation_id = "preview_creative",
    params(One, ProofQuery), security(("key" = [])),
    responses((status = 200, description = "A page for people.", body = String, content_type = "text/html", headers(
        ("ETag" = String, description = "Of a draft: it with its templates and components.")
    )), ReadProblems)
)]
async fn preview(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(query): ApiQuery<ProofQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let look = look(&app, &caller, id, &query).await?;
    let (items, next) = look.page(&app, &caller, &query)?;
    let draft = if query.revision.is_none() { "draft of " } else { "" };
    let title = format!("{}, {draft}revision {}", look.creative, look.proof.doc.revision);
    let sheet = Sheet {
        title: &title,
        count: look.all.count(),
        shown: look.shown(),
        faults: &look.proof.faults,
        items: &items,
        next: next.map(|after| further(raw.as_deref().unwrap_or_default(), &after)),
    };
    Ok((look.tag(), PAGE, sheet.page()).into_response())
}

/// The same query from another combination on.
fn further(query: &str, after: &str) -> String {
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    kept.map(|pair| format!("{pair}&")).collect::<String>() + "after=" + after
}
