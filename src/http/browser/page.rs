//! What pages send, and how much of it is kept.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{
        audience::activity::Event,
        catalog::document::WriteKeyDoc,
        consent::{Reading, Rules, Signals, read},
        ids::{EventId, EventName, UserKey},
        measurement::{moment::happened, user_token},
        values::{Country, Millis},
        violation::Violation,
    },
    engine::{
        EventRow, Ingested,
        ingest::Ingest,
        world::{Account, World},
    },
    http::{
        app::App,
        client,
        problem::{Problem, ProblemKind},
        request::RequestInfo,
    },
    schema::object,
};

/// The most events in a request of a page.
const MOST: usize = 100;
/// Stands before the ids that the script gives, so that no page names somebody whom a server knows.
const VISITOR: &str = "web:";

/// What a page saw somebody do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "visitor": "0123456789abcdef0123456789abcdef",
    "events": [{"id": "a1", "type": "product_viewed", "properties": {"sku": "shoe-7"}}], "consent": {}
}))]
pub(super) struct PageEvents {
    /// Whom the page's server has signed in.
    #[serde(default)]
    pub(super) user_token: Option<String>,
    /// The first-party id that the script keeps: 32 hexadecimal digits. Ignored with a `user_token`.
    #[serde(default)]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) visitor: Option<String>,
    /// What they did.
    #[serde(deserialize_with = "object::each")]
    #[schema(min_items = 1, max_items = 100)]
    pub(super) events: Vec<PageEvent>,
    /// The privacy signals of the page.
    #[serde(default, deserialize_with = "object::plain")]
    pub(super) consent: PageConsent,
}

/// One thing that somebody did.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "a1", "type": "product_viewed", "properties": {"sku": "shoe-7"}}))]
pub(super) struct PageEvent {
    /// The page's id of the event: it counts once for this person.
    #[schema(min_length = 1, max_length = 64)]
    pub(super) id: String,
    /// What they did, one of the types of the write key.
    #[serde(rename = "type")]
    pub(super) kind: EventName,
    /// When, by the browser's clock.
    #[serde(default)]
    pub(super) at: Option<Millis>,
    /// When it was sent, by the same clock.
    #[serde(default)]
    pub(super) sent_at: Option<Millis>,
    /// What is known of it.
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

/// The privacy signals of a page. Where they do not allow keeping what people do, nothing is kept.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"us_privacy": "1YNN"}))]
pub(in crate::http) struct PageConsent {
    /// Whether the GDPR applies.
    #[serde(default)]
    pub(in crate::http) gdpr: Option<bool>,
    /// An IAB TCF string (2.2 or 2.3).
    #[serde(default)]
    pub(in crate::http) tcf: Option<String>,
    /// An IAB GPP string.
    #[serde(default)]
    pub(in crate::http) gpp: Option<String>,
    /// The GPP sections that apply.
    #[serde(default)]
    pub(in crate::http) gpp_sid: Vec<i32>,
    /// An IAB US privacy string.
    #[serde(default)]
    pub(in crate::http) us_privacy: Option<String>,
    /// Whether the browser says that the person opted out.
    #[serde(default)]
    pub(in crate::http) gpc: bool,
    /// Whether the children's privacy rule (COPPA) applies.
    #[serde(default)]
    pub(in crate::http) coppa: bool,
}

impl PageConsent {
    /// The signals in an address: empty ones are as if they were not there, a `gdpr`, a `coppa` or a `gpc` that
    /// cannot be read is taken for `1`, and a section that cannot be read is one that forbids.
    pub(in crate::http) fn told(
        gdpr: Option<String>,
        tcf: Option<String>,
        (gpp, gpp_sid): (Option<String>, Option<&str>),
        us_privacy: Option<String>,
        coppa: Option<String>,
        gpc: Option<String>,
    ) -> Self {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let gdpr = gdpr.map(|gdpr| gdpr != "0");
        let is_set = |text: Option<String>| said(text).is_some_and(|text| text != "0");
        let (coppa, gpc) = (is_set(coppa), is_set(gpc));
        let section = |id: &str| id.trim().parse().unwrap_or(i32::MAX);
        let sections = gpp_sid.filter(|ids| !ids.is_empty()).map(|ids| ids.split([',', '_']).map(section).collect());
        let gpp_sid = sections.unwrap_or_default();
        Self { gdpr, tcf: said(tcf), gpp: said(gpp), gpp_sid, us_privacy: said(us_privacy), gpc, coppa }
    }

    /// What they and the browser's own come to, for somebody in a country.
    pub(in crate::http) fn reading(&self, headers: &HeaderMap, rules: Rules, country: Option<Country>) -> Reading<'_> {
        let signals = Signals {
            gdpr: self.gdpr,
            tcf: self.tcf.as_deref(),
            us_privacy: self.us_privacy.as_deref(),
            gpp: self.gpp.as_deref(),
            gpp_sid: &self.gpp_sid,
            coppa: self.coppa,
            opted_out: self.gpc || client::objects(headers),
            country,
            ..Signals::default()
        };
        read(&signals, rules)
    }

    /// Whether what the person does may be kept, as far as their network tells the country.
    pub(super) fn allows(&self, app: &App, headers: &HeaderMap, info: &RequestInfo) -> bool {
        let country = app.enrichment.find(None, app.proxies.client(info, headers)).country;
        let purposes = self.reading(headers, app.consent, country).allowed.purposes;
        purposes.basic && purposes.profile_write
    }
}

/// What became of a page's events.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"accepted": 1, "refused": 0}))]
pub(super) struct PageAnswer {
    /// Kept, now or before.
    pub(super) accepted: u64,
    /// Not kept: without consent, of a type that the key does not allow, or with a fault.
    pub(super) refused: u64,
    /// Send it with a decision to have these events reflected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consistency_token: Option<String>,
}

/// A write key in use, and the page that uses it.
pub(super) struct Opened<'a> {
    account: &'a Account,
    id: &'a str,
    doc: &'a WriteKeyDoc,
}

fn refused(detail: &str) -> Problem {
    Problem::new(ProblemKind::Forbidden, detail)
}

/// The origin of the page: browsers say it themselves, and pixels by the address of their page.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    text(header::ORIGIN).or_else(|| {
        let referer = text(header::REFERER)?;
        let host = referer.find("://")? + 3;
        Some(&referer[..referer[host..].find('/').map_or(referer.len(), |end| host + end)])
    })
}

/// Opens the door for a page, or says why not.
pub(super) fn open<'a>(world: &'a World, key: &'a str, origin: Option<&str>) -> Result<Opened<'a>, Problem> {
    let unknown = || refused("The write key is unknown.");
    let (account, id) = key.split_once('.').ok_or_else(unknown)?;
    let account = world.named(account).ok_or_else(unknown)?;
    let doc = account.snapshot.write_keys.get(id).ok_or_else(unknown)?;
    let allowed = origin.is_some_and(|origin| doc.origins.iter().any(|allowed| allowed.as_str() == origin));
    if !allowed {
        return Err(refused("The write key does not allow pages of this origin."));
    }
    Ok(Opened { account, id, doc })
}

/// Keeps what a page saw, as far as it may be kept.
pub(super) async fn keep(
    app: &App,
    headers: &HeaderMap,
    info: &RequestInfo,
    key: &str,
    page: PageEvents,
) -> Result<PageAnswer, Problem> {
    let world = app.engine.catalogue.world();
    let Opened { account, id, doc } = open(&world, key, origin(headers))?;
    let count = page.events.len();
    if !(1..=MOST).contains(&count) {
        let detail = format!("must be 1 to {MOST} events");
        return Err(Problem::invalid(vec![Violation::new("/events", "length", detail)]));
    }
    if !app.pages.take(account.number(), id, app.proxies.client(info, headers), count as u32, doc.per_minute) {
        return Err(Problem::new(ProblemKind::TooManyRequests, "This network sends too many events with this key."));
    }
    let received = app.engine.clock.now();
    let mut answer = PageAnswer { refused: count as u64, ..PageAnswer::default() };
    if !page.consent.allows(app, headers, info) {
        app.engine.ingest.count_refused(count as u64);
        return Ok(answer);
    }
    let user = user(account, &page, received)?;
    let uid = account.uid(&user);
    let streamed = app.engine.ingest.streamed(account.number()).await?;
    let row = |item: PageEvent| {
        let fits = doc.events.contains(&item.kind) && (1..=64).contains(&item.id.len());
        let (at, late) = happened(received, item.at, item.sent_at).ok().filter(|_| fits)?;
        let event = Event { name: item.kind, at, properties: item.properties };
        if !Ingest::check_amounts(&streamed, &event).is_empty() {
            return None;
        }
        // under a name of its own: no page takes the id of an event that a server will send
        let event_id = EventId::given(account.number(), &format!("web {id} {user} {}", item.id));
        Some(EventRow { id: event_id, uid, key: user.clone(), event, received_at: received, late })
    };
    let rows: Vec<EventRow> = page.events.into_iter().filter_map(row).collect();
    if !rows.is_empty() {
        let report = app.engine.ingest.ingest(account.number(), rows).await?;
        answer.accepted = report.became.iter().filter(|became| **became != Ingested::Erased).count() as u64;
        answer.consistency_token = report.reached.map(|reached| reached.token().to_string());
    }
    answer.refused = count as u64 - answer.accepted;
    Ok(answer)
}

/// The person whom the script's first-party id names; none where it is not 32 hexadecimal digits.
pub(in crate::http) fn visitor(id: &str) -> Option<UserKey> {
    let sound = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    format!("{VISITOR}{id}").parse().ok().filter(|_| sound)
}

fn user(account: &Account, page: &PageEvents, now: Millis) -> Result<UserKey, Problem> {
    let fault = |pointer, detail: &str| Problem::invalid(vec![Violation::new(pointer, "invalid", detail)]);
    match (&page.user_token, &page.visitor) {
        (Some(token), _) => user_token::verify(&account.row.secret, token, now)
            .ok_or_else(|| fault("/user_token", "must be a user token of this account that is not over")),
        (None, Some(id)) => visitor(id).ok_or_else(|| fault("/visitor", "must be 32 hexadecimal digits")),
        (None, None) => Err(fault("", "must name the person by a user_token or a visitor")),
    }
}
