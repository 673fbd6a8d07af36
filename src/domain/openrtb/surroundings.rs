//! What a BidRequest says of the person, the place and the law, in our words.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    country::country,
    request::{BidRequest, Data, Device, Geo, Int, Object, Regs, Text, member},
    settings::Settings,
};
use crate::domain::{
    audience::{
        context::{Context, host},
        value::{Folded, Position, Scalar},
    },
    consent::{Allowed, Relayed, Rules, Signals, read},
    ids::{SegmentKey, UserKey},
    values::Country,
};

/// What a text of a request is, where it is not empty: exchanges write empty ones for absent ones.
pub(super) fn said<'a>(text: Option<&'a Text<'_>>) -> Option<&'a str> {
    text.map(|text| &**text).filter(|text| !text.is_empty())
}

fn geo<'a>(request: &'a BidRequest<'a>) -> Option<&'a Geo<'a>> {
    let of_device = request.device.as_ref().and_then(|device| device.geo.as_deref());
    of_device.or_else(|| request.user.as_ref().and_then(|user| user.geo.as_deref()))
}

/// Reads the privacy signals, the places of 2.6 before those of 2.5.
pub(super) fn consent(request: &BidRequest<'_>, rules: Rules, found: Option<Country>) -> (Allowed, Option<Relayed>) {
    let none = Regs::default();
    let regs = request.regs.as_deref().unwrap_or(&none);
    let user = request.user.as_deref();
    let device = request.device.as_deref();
    // a number or a text that is neither 0 nor 1 is no reason to take the GDPR lightly
    let older = member::<&RawValue>(regs.ext, "gdpr").filter(|raw| raw.get() != "null");
    let gdpr = regs.gdpr.map(|gdpr| gdpr == Int(1)).or(older.map(|raw| raw.get() != "0"));
    let text = |name| member::<String>(regs.ext, name).filter(|text| !text.is_empty());
    let (us_privacy, gpp) = (text("us_privacy"), text("gpp"));
    let older_consent: Option<String> = user.and_then(|user| member(user.ext, "consent"));
    let sections: Vec<i32> = match &regs.gpp_sid {
        Some(sections) => sections.iter().map(|Int(id)| i32::try_from(*id).unwrap_or(i32::MAX)).collect(),
        None => member::<Vec<i32>>(regs.ext, "gpp_sid").unwrap_or_default(),
    };
    let gpc = member::<&RawValue>(regs.ext, "gpc").is_some_and(|raw| matches!(raw.get(), "\"1\"" | "1" | "true"));
    let is_set = |of: Option<Int>| of == Some(Int(1));
    let signals = Signals {
        gdpr,
        tcf: said(user.and_then(|user| user.consent.as_ref())).or(older_consent.as_deref().filter(|t| !t.is_empty())),
        us_privacy: said(regs.us_privacy.as_ref()).or(us_privacy.as_deref()),
        gpp: said(regs.gpp.as_ref()).or(gpp.as_deref()),
        gpp_sid: &sections,
        coppa: is_set(regs.coppa),
        opted_out: gpc || device.is_some_and(|device| is_set(device.dnt) || is_set(device.lmt)),
        country: geo(request).and_then(|geo| country(said(geo.country.as_ref())?)).or(found),
        asserted: None,
    };
    let reading = read(&signals, rules);
    (reading.allowed, Relayed::of(&reading))
}

/// Where, on what, about what: as precise as is allowed.
pub(super) fn context(request: &BidRequest<'_>, allowed: Allowed) -> Context {
    let device: Option<&Device<'_>> = request.device.as_deref();
    let geo = geo(request);
    let folded = |text: Option<&Text<'_>>| said(text).filter(|text| text.len() <= 128).map(Folded::new);
    let site = request.site.as_deref().or(request.dooh.as_deref());
    let app = request.app.as_deref();
    let personal = allowed.purposes.profile_read;
    let position = geo.filter(|_| personal).and_then(|geo| Position::new(geo.lat?, geo.lon?));
    let domain = site
        .and_then(|site| said(site.page.as_ref()).and_then(host).or_else(|| said(site.domain.as_ref()).and_then(host)));
    let keywords = said(site.and_then(|site| site.keywords.as_ref()).or(app.and_then(|app| app.keywords.as_ref())));
    let words = keywords.unwrap_or_default().split(',').map(str::trim).filter(|word| (1..=128).contains(&word.len()));
    let mut data = std::collections::BTreeMap::new();
    if let Some(bundle) = app.and_then(|app| said(app.bundle.as_ref())).filter(|bundle| bundle.len() <= 1_024) {
        data.insert("bundle".into(), Scalar::Text(bundle.into()));
    }
    Context {
        country: geo.and_then(|geo| country(said(geo.country.as_ref())?)),
        region: folded(geo.and_then(|geo| geo.region.as_ref())),
        city: folded(geo.and_then(|geo| geo.city.as_ref()).filter(|_| personal)),
        position: if allowed.precise_geo { position } else { position.map(Position::coarse) },
        device: device.and_then(|device| device.devicetype).and_then(device_type).map(Folded::new),
        os: folded(device.and_then(|device| device.os.as_ref())),
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
    let address = [&device.ip, &device.ipv6].into_iter().find_map(|ip| said(ip.as_ref())?.parse().ok());
    (said(device.ua.as_ref()), address)
}

/// The person's offset from UTC, in minutes.
pub(super) fn offset(request: &BidRequest<'_>) -> Option<i32> {
    let minutes = geo(request)?.utcoffset?.0;
    i32::try_from(minutes).ok().filter(|minutes| minutes.abs() <= 14 * 60)
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

/// The account's own names of the person: what the exchange knows the buyer calls them, then ids of
/// the sources that the settings name.
pub(super) fn people(request: &BidRequest<'_>, settings: &Settings) -> Vec<UserKey> {
    let Some(user) = request.user.as_deref() else { return Vec::new() };
    let mut keys: Vec<UserKey> = said(user.buyeruid.as_ref()).and_then(|own| own.parse().ok()).into_iter().collect();
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
                own.id == id
                    && own.segtax == segtax
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
