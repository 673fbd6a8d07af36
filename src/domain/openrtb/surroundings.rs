//! What a BidRequest says of the person, the place and the law, in our words.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    country::country,
    request::{BidRequest, Data, Device, Geo, Int, Members, Object, Regs, Text, member},
    settings::Settings,
};
use crate::domain::{
    audience::{
        context::{Context, host},
        hints::system,
        value::{Folded, Position, Scalar},
    },
    consent::{Allowed, Relayed, Rules, Signals, read},
    ids::{ExchangeId, SegmentKey, UserKey},
    values::{Country, Locale},
};

/// What a text of a request is, where it is not empty: exchanges write empty ones for absent ones.
pub(super) fn said<'a>(text: Option<&'a Text<'_>>) -> Option<&'a str> {
    text.map(|text| &**text).filter(|text| !text.is_empty())
}

/// Where the device is, then where the person lives.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    countries: [Option<Country>; 2],
    /// Without one in another country than the first: where somebody is would be made of two places.
    geos: [Option<&'a Geo<'a>>; 2],
}

impl<'a> Places<'a> {
    pub(super) fn of(request: &'a BidRequest<'a>) -> Self {
        let here = request.device.as_ref().and_then(|device| device.geo.as_deref());
        let home = request.user.as_ref().and_then(|user| user.geo.as_deref());
        let countries = [here, home].map(|geo| country(said(geo?.country.as_ref())?));
        let differ = matches!(countries, [Some(here), Some(home)] if here != home);
        Self { countries, geos: [here, home.filter(|_| !differ)] }
    }

    /// The first that is said.
    fn find<T>(self, of: impl FnMut(&'a Geo<'a>) -> Option<T>) -> Option<T> {
        self.geos.into_iter().flatten().find_map(of)
    }
}

/// Privacy signals, in an `ext` where 2.5 has them. What else stands there is as if it were absent where
/// its type is another one; of these that would let a person be used who said no, so it is remembered.
#[derive(Default)]
struct Told<'a> {
    members: Members<'a>,
    /// Whether there is something that cannot be read.
    is_unreadable: bool,
}

impl<'a> Told<'a> {
    fn of(ext: Option<&'a RawValue>) -> Self {
        let Some(text) = ext.map(RawValue::get) else { return Self::default() };
        let members = serde_json::from_str(text);
        // some languages write an empty object as an empty list
        let is_unreadable = members.is_err() && serde_json::from_str::<[(); 0]>(text).is_err();
        Self { members: members.unwrap_or_default(), is_unreadable }
    }

    /// A signal in the place that 2.6 has for it.
    fn newer<T: Deserialize<'a>>(&mut self, raw: Option<&'a RawValue>) -> Option<T> {
        let read = serde_json::from_str(raw?.get()).ok();
        self.is_unreadable |= read.is_none();
        read
    }

    /// A member as it stands.
    fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null")
    }

    /// A member, unless 2.6 has `said` it in its own place.
    fn unless<T: Deserialize<'a>>(&mut self, said: bool, name: &str) -> Option<T> {
        let raw = self.raw(name).filter(|_| !said)?;
        let read = serde_json::from_str(raw).ok();
        self.is_unreadable |= read.is_none();
        read
    }
}

/// Reads the privacy signals, the places of 2.6 before those of 2.5.
pub(super) fn consent(
    request: &BidRequest<'_>,
    places: Places<'_>,
    rules: Rules,
    found: Option<Country>,
    objects: bool,
) -> (Allowed, Option<Relayed>) {
    let none = Regs::default();
    let regs = request.regs.as_deref().unwrap_or(&none);
    let user = request.user.as_deref();
    let device = request.device.as_deref();
    let mut older = Told::of(regs.ext);
    // a number or a text that is neither 0 nor 1 is no reason to take the GDPR lightly
    let gdpr = regs.gdpr.map(|gdpr| gdpr == Int(1)).or_else(|| older.raw("gdpr").map(|raw| raw != "0"));
    let (us, platform): (Option<Text<'_>>, Option<Text<'_>>) = (older.newer(regs.us_privacy), older.newer(regs.gpp));
    let (of_us, of_platform) = (said(us.as_ref()), said(platform.as_ref()));
    let older_us: Option<Text<'_>> = older.unless(of_us.is_some(), "us_privacy");
    let older_gpp: Option<Text<'_>> = older.unless(of_platform.is_some(), "gpp");
    let sections: Option<Vec<Int>> = older.newer(regs.gpp_sid);
    let sections = sections.as_ref().filter(|sections| !sections.is_empty());
    let older_sections: Option<Vec<Int>> = older.unless(sections.is_some(), "gpp_sid");
    let sections = sections.or(older_sections.as_ref()).map(Vec::as_slice).unwrap_or_default();
    let sections: Vec<i32> = sections.iter().map(|Int(id)| i32::try_from(*id).unwrap_or(i32::MAX)).collect();
    let gpc = older.raw("gpc").is_some_and(|raw| !matches!(raw, "\"0\"" | "0" | "false" | "\"\""));
    let mut own = Told::of(user.and_then(|user| user.ext));
    let tcf: Option<Text<'_>> = own.newer(user.and_then(|user| user.consent));
    let of_tcf = said(tcf.as_ref());
    let older_tcf: Option<Text<'_>> = own.unless(of_tcf.is_some(), "consent");
    // a string that cannot be read is one that consents to nothing
    let junk = (own.is_unreadable && of_tcf.is_none()).then_some("");
    // whoever lives under the GDPR is not taken out of it by where the device is, nor the other way round
    let [here, home] = places.countries;
    let here = here.or(found);
    let law = [here, home].into_iter().flatten().find(|country| country.gdpr_applies());
    let is_set = |of: Option<Int>| of.is_some_and(|Int(number)| number != 0);
    let signals = Signals {
        gdpr,
        tcf: of_tcf.or(junk).or(said(older_tcf.as_ref())),
        us_privacy: of_us.or(said(older_us.as_ref())),
        gpp: of_platform.or(said(older_gpp.as_ref())),
        gpp_sid: &sections,
        coppa: is_set(regs.coppa),
        opted_out: objects
            || gpc
            || older.is_unreadable
            || device.is_some_and(|device| is_set(device.dnt) || is_set(device.lmt)),
        country: law.or(here).or(home),
        asserted: None,
    };
    let reading = read(&signals, rules);
    (reading.allowed, Relayed::of(&reading))
}

/// Where, on what, about what.
pub(super) fn context(request: &BidRequest<'_>, places: Places<'_>) -> Context {
    let device: Option<&Device<'_>> = request.device.as_deref();
    let folded = |text: Option<&Text<'_>>| said(text).filter(|text| text.len() <= 128).map(Folded::new);
    let site = request.site.as_deref().or(request.dooh.as_deref());
    let app = request.app.as_deref();
    let domain = site
        .and_then(|site| said(site.page.as_ref()).and_then(host).or_else(|| said(site.domain.as_ref()).and_then(host)));
    let keywords = said(site.and_then(|site| site.keywords.as_ref()).or(app.and_then(|app| app.keywords.as_ref())));
    let listed = site.and_then(|site| site.kwarray.as_ref()).or(app.and_then(|app| app.kwarray.as_ref()));
    let words = keywords.unwrap_or_default().split(',').chain(listed.into_iter().flatten().map(|word| &**word));
    let words = words.map(str::trim).filter(|word| (1..=128).contains(&word.len()));
    let mut data = BTreeMap::new();
    if let Some(bundle) = app.and_then(|app| said(app.bundle.as_ref())).filter(|bundle| bundle.len() <= 1_024) {
        data.insert("bundle".into(), Scalar::Text(bundle.into()));
    }
    Context {
        country: places.countries.into_iter().flatten().next(),
        region: places.find(|geo| folded(geo.region.as_ref())),
        city: places.find(|geo| folded(geo.city.as_ref())),
        position: places.find(|geo| Position::new(geo.lat?, geo.lon?)),
        device: device.and_then(|device| device.devicetype).and_then(device_type).map(Folded::new),
        os: device.and_then(|device| folded(device.os.as_ref())).map(|os| Folded::new(system(os.as_str()))),
        browser: None,
        language: device
            .and_then(|device| said(device.langb.as_ref()).or(said(device.language.as_ref()))?.parse().ok()),
        domain: domain.map(Folded::new),
        keywords: words.take(64).map(Folded::new).collect(),
        data,
        local: None,
    }
}

/// The user agent and the address of the device, for looking up what else is known of it.
#[must_use]
pub fn device<'a>(request: &'a BidRequest<'_>) -> (Option<&'a str>, Option<IpAddr>) {
    let Some(device) = request.device.as_deref() else { return (None, None) };
    let text = |raw: &'a RawValue| serde_json::from_str::<Text<'_>>(raw.get()).ok();
    let address = [device.ip, device.ipv6].into_iter().flatten().find_map(|ip| text(ip)?.parse().ok());
    (said(device.ua.as_ref()), address)
}

/// The languages of what may be shown, as far as it has one; none: all.
pub(super) fn languages(request: &BidRequest<'_>) -> Option<Vec<Locale>> {
    let all = [&request.wlang, &request.wlangb].into_iter().flatten().flatten();
    let mut all = all.filter(|language| !language.is_empty()).peekable();
    all.peek()?;
    Some(all.filter_map(|language| language.parse().ok()).collect())
}

/// The person's offset from UTC, in minutes.
pub(super) fn offset(places: Places<'_>) -> Option<i32> {
    places.find(|geo| i32::try_from(geo.utcoffset?.0).ok().filter(|minutes| minutes.abs() <= 14 * 60))
}

/// AdCOM's list of device types, as targeting names them.
fn device_type(kind: Int) -> Option<&'static str> {
    Some(match kind.0 {
        1 | 4 => "mobile",
        2 => "desktop",
        3 | 6 | 7 => "tv",
        5 => "tablet",
        8 => "screen",
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Eid {
    source: String,
    uids: Vec<Uid>,
}

#[derive(Deserialize)]
struct Uid {
    id: String,
}

/// The most names that are looked up for one request.
const NAMES: usize = 4;

/// The account's own names of the person: what the exchange knows the buyer calls them, as it is and
/// as an id that the exchange has given them, then ids of the sources that the settings name.
pub(super) fn people(request: &BidRequest<'_>, settings: &Settings, exchange: Option<&ExchangeId>) -> Vec<UserKey> {
    let Some(user) = request.user.as_deref() else { return Vec::new() };
    let buyer = said(user.buyeruid.as_ref());
    let theirs = exchange.and_then(|exchange| eid_key(exchange.as_str(), buyer?));
    let mut keys: Vec<UserKey> = buyer.and_then(|own| own.parse().ok()).into_iter().chain(theirs).collect();
    if settings.eid_sources.is_empty() {
        return keys;
    }
    let listed = user.eids.map(RawValue::get).and_then(|eids| serde_json::from_str::<Vec<&RawValue>>(eids).ok());
    let listed = listed.or_else(|| member(user.ext, "eids")).unwrap_or_default();
    let eids: Vec<Eid> = listed.into_iter().filter_map(|eid| serde_json::from_str(eid.get()).ok()).collect();
    for source in &settings.eid_sources {
        let of_source = eids.iter().filter(|eid| eid.source.eq_ignore_ascii_case(source));
        keys.extend(of_source.flat_map(|eid| eid.uids.iter().filter_map(|uid| eid_key(&eid.source, &uid.id))));
    }
    keys.truncate(NAMES);
    keys
}

/// The key of the person whom a source calls by an id; none where one of them is empty or too long.
#[must_use]
pub fn eid_key(source: &str, id: &str) -> Option<UserKey> {
    let fits = (1..=100).contains(&source.len()) && (1..=150).contains(&id.len());
    format!("eid:{}:{id}", source.to_ascii_lowercase()).parse().ok().filter(|_| fits)
}

/// The segments of data providers that stand for ours.
pub(super) fn segments(request: &BidRequest<'_>, settings: &Settings) -> Vec<SegmentKey> {
    let data = request.user.as_ref().and_then(|user| user.data.as_deref()).unwrap_or_default();
    if settings.segments.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<SegmentKey> = Vec::new();
    for data in data.iter().take(64) {
        let data: &Object<Data<'_>> = data;
        let segtax: Option<i64> = member(data.ext, "segtax");
        let named = [said(data.id.as_ref()), said(data.name.as_ref())];
        for segment in data.segment.as_deref().unwrap_or_default().iter().take(256) {
            let Some(id) = said(segment.id.as_ref()) else { continue };
            let same = settings.segments.iter().filter(|own| {
                own.is(segtax, id, &settings.taxonomies)
                    && own.data.as_deref().is_none_or(|data| named.contains(&Some(data)))
            });
            for own in same {
                if !found.contains(&own.segment) {
                    found.push(own.segment.clone());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::consent::Purposes;

    fn allowed(regs: Value, user: Value) -> Allowed {
        let text = json!({"id": "1", "regs": regs, "user": user, "device": {"geo": {"country": "USA"}}}).to_string();
        let request: BidRequest<'_> = serde_json::from_str(&text).expect("a request");
        let rules = Rules { vendor_id: Some(733), gdpr_by_default: false };
        consent(&request, Places::of(&request), rules, None, false).0
    }

    #[test]
    fn what_cannot_be_read_is_a_no() {
        for regs in [
            json!({"ext": {"gpp_sid": ["7"]}}),
            json!({"ext": {"gpp_sid": [7, null]}}),
            json!({"ext": {"gpp_sid": 7}}),
            json!({"ext": {"gpp_sid": "7"}}),
            json!({"gpp": "DBABTA~1YNN", "ext": {"gpp_sid": ["6"]}}),
            json!({"gpp": "DBABTA~1YNN", "gpp_sid": [], "ext": {"gpp_sid": [7]}}),
            json!({"gpp_sid": [], "ext": {"gpp_sid": [7]}}),
            json!({"ext": {"us_privacy": 1}}),
            json!({"ext": {"us_privacy": ["1YNN"]}}),
            json!({"ext": {"gpp": {"a": 1}}}),
            json!({"ext": {"gpp": false}}),
            json!({"ext": {"gpc": "yes"}}),
            json!({"ext": {"gpc": 2}}),
            json!({"ext": "us_privacy=1YYN"}),
            json!({"ext": [{"gpc": 1}]}),
            json!({"coppa": 2}),
            json!({"us_privacy": 1}),
            json!({"us_privacy": [], "ext": {"us_privacy": "1YNN"}}),
            json!({"gpp": 7}),
            json!({"gpp": "DBABTA~1YNN", "gpp_sid": 6}),
            json!({"gpp": "DBABTA~1YNN", "gpp_sid": ["6"], "ext": {"gpp_sid": [6]}}),
        ] {
            let found = allowed(regs.clone(), json!({}));
            assert_eq!((found.purposes, found.selection), (Purposes::NONE, true), "{regs}");
        }
        for user in [
            json!({"ext": {"consent": 7}}),
            json!({"ext": {"consent": ["CQ"]}}),
            json!({"ext": "consent"}),
            json!({"consent": 7}),
            json!({"consent": {"a": 1}, "ext": {"consent": "CQ"}}),
        ] {
            assert_eq!(allowed(json!({}), user.clone()), Allowed::NOTHING, "{user}");
            assert_eq!(allowed(json!({"gdpr": 0}), user), Allowed::EVERYTHING);
        }
    }

    #[test]
    fn either_country_brings_its_law() {
        let may = |device: &str, user: &str, found: Option<&str>| {
            let geo = |country: &str| json!({"geo": {"country": country}});
            let text = json!({"id": "1", "device": geo(device), "user": geo(user)}).to_string();
            let request: BidRequest<'_> = serde_json::from_str(&text).expect("a request");
            let found = found.map(|code| code.parse().expect("a country"));
            let rules = Rules { vendor_id: Some(733), gdpr_by_default: false };
            consent(&request, Places::of(&request), rules, found, false).0 == Allowed::EVERYTHING
        };
        assert!(may("USA", "USA", Some("DE")) && may("", "USA", None) && may("?", "", Some("US")));
        for (device, user, found) in [
            ("USA", "DEU", None),
            ("DEU", "USA", None),
            ("", "DEU", Some("US")),
            ("?", "USA", Some("DE")),
            ("", "", Some("DE")),
        ] {
            assert!(!may(device, user, found), "{device} {user} {found:?}");
        }
    }

    #[test]
    fn a_place_is_made_of_one_country() {
        let place = |device: Value, user: Value| {
            let text = json!({"id": "1", "device": {"geo": device}, "user": {"geo": user}}).to_string();
            let request: BidRequest<'_> = serde_json::from_str(&text).expect("a request");
            let places = Places::of(&request);
            let of = context(&request, places);
            let text = |text: Option<Folded>| text.map(|text| text.as_str().to_owned());
            (of.country.map(|country| country.to_string()), text(of.region), text(of.city), offset(places))
        };
        let some = |text: &str| Some(text.to_owned());
        let home = json!({"country": "DEU", "region": "BE", "city": "Berlin", "utcoffset": 60});
        let berlin = (some("DE"), some("be"), some("berlin"), Some(60));
        assert_eq!(place(json!({}), home.clone()), berlin);
        assert_eq!(place(json!({"country": "?", "utcoffset": 9_000}), home.clone()), berlin);
        let hamburg = (some("DE"), some("be"), some("hamburg"), Some(120));
        assert_eq!(place(json!({"city": "Hamburg", "utcoffset": 120}), home.clone()), hamburg);
        assert_eq!(place(json!({"country": "USA", "utcoffset": -300}), home), (some("US"), None, None, Some(-300)));
    }

    #[test]
    fn what_says_nothing_forbids_nothing() {
        for regs in [
            json!({"ext": {}}),
            json!({"ext": []}),
            json!({"ext": null}),
            json!({"gpp_sid": [], "ext": {"gpp_sid": []}}),
            json!({"ext": {"gpp_sid": null, "us_privacy": null, "gpp": "", "gpc": "0", "dsa": ["x"]}}),
            json!({"gpp": "DBABTA~1YNN", "gpp_sid": [6], "ext": {"gpp": 1, "gpp_sid": "no"}}),
            json!({"us_privacy": "1YNN", "ext": {"us_privacy": 1}}),
            json!({"gpp": "DBABTA~1YNN", "gpp_sid": [], "ext": {"gpp_sid": [6.0]}}),
        ] {
            assert_eq!(allowed(regs.clone(), json!({"ext": {"eids": 7}})), Allowed::EVERYTHING, "{regs}");
        }
    }
}
