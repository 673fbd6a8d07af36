//! From the body as it travels to what the core decides on, with every fault at once.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::wire::{
    ConsentWire, ContextWire, DecisionRequest, GeoWire, PlacementWire, PreviewWire, PurposeName, SegmentsListed,
    VideoWire,
};
use crate::{
    domain::{
        audience::{
            context::{Context, host},
            profile::Traits,
            value::{Folded, Position, Scalar},
        },
        consent::{Purposes, Reading, Relayed, Rules, Signals, read},
        creative::VideoRequest,
        decision::{
            decide::unknown_placement,
            request::{AdRequest, Candidate, PlacementRequest, Preview},
        },
        ids::{PlacementId, UserKey},
        values::{Country, Millis},
        violation::{Violation, Violations, token},
    },
    engine::{consistency::Consistency, enrichment::Enrichment},
};

/// A body, parsed.
#[derive(Debug)]
pub struct Parsed {
    /// What is asked for.
    pub request: AdRequest,
    /// Whoever is looking.
    pub key: Option<UserKey>,
    /// What the request may be used for.
    pub purposes: Purposes,
    /// Whether it asserts consent, which needs a scope.
    pub asserts: bool,
    /// The person's time zone.
    pub zone: Option<TimeZone>,
    /// What the decision has to reflect.
    pub consistency: Option<Consistency>,
}

/// Reads a body. `now` is when its traits count as set; `rules` say how its privacy signals are read,
/// `enrichment` what its user agent and address tell where it does not say, `registered` which placements
/// there are.
///
/// # Errors
/// Every fault, with its pointer.
pub fn parse(
    wire: DecisionRequest,
    now: Millis,
    rules: Rules,
    enrichment: &Enrichment,
    registered: impl Fn(&PlacementId) -> bool,
) -> Result<Parsed, Vec<Violation>> {
    let mut faults = Violations::new();
    if !(1..=50).contains(&wire.placements.len()) {
        faults.push("/placements", "length", "must be 1 to 50 placements");
    }
    let first = wire.placements.iter().take(50).enumerate();
    for (at, placement) in first {
        if wire.placements[..at].iter().any(|other| other.id == placement.id) {
            faults.push(format!("/placements/{at}/id"), "duplicate", "must be unique in the request");
        }
    }
    let mut placements: Vec<PlacementRequest> = Vec::with_capacity(wire.placements.len().min(50));
    for (at, placement) in wire.placements.into_iter().take(50).enumerate() {
        if let Some(id) = placement.placement.as_ref().filter(|id| !registered(id)) {
            faults.extend_under(&format!("/placements/{at}"), [unknown_placement(id)]);
        }
        if let Some(placement) = faults.keep(&format!("/placements/{at}"), parse_placement(placement)) {
            placements.push(placement);
        }
    }
    let user = wire.user.unwrap_or_default();
    let traits = user.traits.map(|traits| Traits::parse(&traits, now));
    let traits = traits.and_then(|traits| faults.keep("/user/traits", traits)).unwrap_or_default();
    if user.segments.len() > 200 {
        faults.push("/user/segments", "length", "must be at most 200 segments");
    }
    let context = wire.context.unwrap_or_default();
    let address = context.ip.as_deref().and_then(|ip| ip.parse().ok());
    let hints = enrichment.find(context.user_agent.as_deref(), address);
    let zone = context.time_zone.as_deref().and_then(crate::domain::audience::value::zone);
    if zone.is_none() && context.time_zone.is_some() {
        faults.push("/context/time_zone", "unknown_time_zone", "must be an IANA time zone such as America/New_York");
    }
    let mut context = faults.keep("/context", parse_context(context)).unwrap_or_default();
    let consent = wire.consent.unwrap_or_default();
    check_consent(&consent, &mut faults);
    if wire.deadline_ms.is_some_and(|ms| !(1..=60_000).contains(&ms)) {
        faults.push("/deadline_ms", "range", "must be 1 to 60000");
    }
    if wire.max_staleness_ms.is_some_and(|ms| ms > 86_400_000) {
        faults.push("/max_staleness_ms", "range", "must be at most 86400000");
    }
    let consistency = wire.consistency_token.as_deref().map(str::parse::<Consistency>);
    if let Some(Err(error)) = consistency {
        faults.push("/consistency_token", "pattern", error.to_string());
    }
    let preview = wire.preview.map(parse_preview);
    let preview = preview.and_then(|preview| faults.keep("/preview", preview));
    faults.into_result()?;
    let found = context.fill(hints);
    let reading = allowed(&consent, context.country, rules);
    context.blur(reading.allowed.purposes.profile_read, reading.allowed.precise_geo);
    Ok(Parsed {
        request: AdRequest {
            placements,
            person: None,
            traits,
            segments: user.segments,
            segments_mode: user.segments_mode,
            context,
            all_segments: wire.segments == SegmentsListed::All,
            explain: wire.explain,
            preview,
            relayed: Relayed::of(&reading),
        },
        key: user.key,
        purposes: reading.allowed.purposes,
        asserts: consent.asserted.is_some(),
        zone: zone.or(found),
        consistency: consistency.and_then(Result::ok),
    })
}

fn check_consent(consent: &ConsentWire, faults: &mut Violations) {
    for (pointer, text, most) in [
        ("/consent/tcf", &consent.tcf, 8_192),
        ("/consent/gpp", &consent.gpp, 8_192),
        ("/consent/us_privacy", &consent.us_privacy, 64),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > most) {
            faults.push(pointer, "length", format!("must be at most {most} bytes"));
        }
    }
    let asserted = consent.asserted.as_ref().map_or(0, Vec::len);
    for (pointer, len, most) in [("/consent/gpp_sid", consent.gpp_sid.len(), 32), ("/consent/asserted", asserted, 4)] {
        if len > most {
            faults.push(pointer, "length", format!("must be at most {most} long"));
        }
    }
}

fn allowed(consent: &ConsentWire, country: Option<Country>, rules: Rules) -> Reading<'_> {
    let asserted = consent.asserted.as_ref().map(|asserted| {
        let has = |purpose| asserted.contains(&purpose);
        Purposes {
            basic: has(PurposeName::Basic),
            profile_read: has(PurposeName::ProfileRead),
            profile_write: has(PurposeName::ProfileWrite),
            measure: has(PurposeName::Measure),
        }
    });
    let signals = Signals {
        gdpr: consent.gdpr,
        tcf: consent.tcf.as_deref(),
        us_privacy: consent.us_privacy.as_deref(),
        gpp: consent.gpp.as_deref(),
        gpp_sid: &consent.gpp_sid,
        coppa: consent.coppa,
        opted_out: consent.gpc,
        country,
        asserted,
    };
    read(&signals, rules)
}

fn parse_placement(wire: PlacementWire) -> Result<PlacementRequest, Vec<Violation>> {
    let mut faults = Violations::new();
    if !(1..=64).contains(&wire.id.len()) || wire.id.chars().any(char::is_control) {
        faults.push("/id", "length", "must be 1 to 64 bytes without controls");
    }
    let count = wire.count.unwrap_or(1);
    if !(1..=10).contains(&count) {
        faults.push("/count", "range", "must be 1 to 10");
    }
    for (pointer, len, most) in [
        ("/sizes", wire.sizes.len(), 32),
        ("/formats", wire.formats.len(), 3),
        ("/keywords", wire.keywords.len(), 64),
        ("/blocked_creatives", wire.blocked_creatives.len(), 200),
    ] {
        if len > most {
            faults.push(pointer, "length", format!("must be at most {most} long"));
        }
    }
    for (at, keyword) in wire.keywords.iter().take(64).enumerate().filter(|(_, keyword)| keyword.len() > 128) {
        faults.push(format!("/keywords/{at}"), "length", format!("must be at most 128 bytes, not {}", keyword.len()));
    }
    if wire.floor.is_some_and(|floor| floor.cpm.micros() < 0) {
        faults.push("/floor/cpm", "range", "must not be negative");
    }
    let click_macro = wire.click_macro.map(|text| text.parse());
    let click_macro =
        click_macro.transpose().map_err(|error| vec![Violation::new("", "invalid_macro", format!("{error}"))]);
    let click_macro = faults.keep("/click_macro", click_macro).flatten();
    let candidate = match wire.candidates {
        None => None,
        Some(both) => match (both.campaign, both.creative) {
            (Some(campaign), None) => Some(Candidate::Campaign(campaign)),
            (None, Some(creative)) => Some(Candidate::Creative(creative)),
            _ => {
                faults.push("/candidates", "one_of", "must name either a campaign or a creative");
                None
            }
        },
    };
    let video = wire.video.and_then(|video| faults.keep("/video", parse_video(video)));
    faults.into_result()?;
    Ok(PlacementRequest {
        id: wire.id,
        placement: wire.placement,
        sizes: wire.sizes,
        formats: wire.formats,
        count,
        keywords: wire.keywords,
        click_macro,
        candidate,
        blocked_creatives: wire.blocked_creatives,
        floor: wire.floor.map(Into::into),
        video,
        ..PlacementRequest::default()
    })
}

fn parse_video(wire: VideoWire) -> Result<VideoRequest, Vec<Violation>> {
    let mut faults = Violations::new();
    for (pointer, ms) in [("/min_duration_ms", wire.min_duration_ms), ("/max_duration_ms", wire.max_duration_ms)] {
        if ms.is_some_and(|ms| !(1..=3_600_000).contains(&ms)) {
            faults.push(pointer, "range", "must be 1 to 3600000");
        }
    }
    if wire.mimes.len() > 32 || wire.mimes.iter().any(|mime| mime.len() > 128) {
        faults.push("/mimes", "length", "must be at most 32 types of at most 128 bytes");
    }
    faults.into_result()?;
    Ok(VideoRequest {
        version: wire.version,
        min_duration_ms: wire.min_duration_ms,
        max_duration_ms: wire.max_duration_ms,
        mimes: wire.mimes.iter().map(|mime| mime.to_ascii_lowercase()).collect(),
        ..VideoRequest::default()
    })
}

fn parse_context(wire: ContextWire) -> Result<Context, Vec<Violation>> {
    let mut faults = Violations::new();
    let device = wire.device.unwrap_or_default();
    let geo = wire.geo.unwrap_or_default();
    for (pointer, text, most) in [
        ("/url", &wire.url, 4_096),
        ("/referrer", &wire.referrer, 4_096),
        ("/ip", &wire.ip, 64),
        ("/user_agent", &wire.user_agent, 2_048),
        ("/geo/region", &geo.region, 64),
        ("/geo/city", &geo.city, 128),
        ("/device/type", &device.kind, 32),
        ("/device/os", &device.os, 32),
        ("/device/browser", &device.browser, 32),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > most) {
            faults.push(pointer, "length", format!("must be at most {most} bytes"));
        }
    }
    if wire.ip.as_ref().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
        faults.push("/ip", "invalid_ip", "must be an IPv4 or IPv6 address");
    }
    let position = faults.keep("/geo", parse_position(&geo)).flatten();
    if wire.data.len() > 32 {
        faults.push("/data", "length", "must be at most 32 values");
    }
    let mut data = std::collections::BTreeMap::new();
    for (name, value) in wire.data.into_iter().take(32) {
        let scalar = match value {
            Value::Bool(yes) => Some(Scalar::Bool(yes)),
            Value::Number(number) => number.as_f64().map(Scalar::Number),
            Value::String(text) if text.len() <= 1_024 => Some(Scalar::Text(text.into())),
            _ => None,
        };
        match scalar.filter(|_| (1..=64).contains(&name.len())) {
            Some(scalar) => drop(data.insert(name.into(), scalar)),
            None => {
                let pointer = format!("/data/{}", token(&name));
                faults.push(pointer, "invalid_value", "must be a text of at most 1024 bytes, a number, or yes or no");
            }
        }
    }
    faults.into_result()?;
    let folded = |text: Option<String>| text.map(|text| Folded::new(&text));
    Ok(Context {
        country: geo.country.filter(|country| country.exists()),
        region: folded(geo.region),
        city: folded(geo.city),
        position,
        device: folded(device.kind),
        os: folded(device.os),
        browser: folded(device.browser),
        language: wire.language,
        domain: wire.url.as_deref().and_then(host).map(Folded::new),
        keywords: Vec::new(),
        data,
        local: None,
    })
}

fn parse_position(geo: &GeoWire) -> Result<Option<Position>, Vec<Violation>> {
    match (geo.lat, geo.lon) {
        (None, None) => Ok(None),
        (Some(lat), Some(lon)) => Position::new(lat, lon)
            .map(Some)
            .ok_or_else(|| vec![Violation::new("", "range", "lat must be -90 to 90 and lon -180 to 180")]),
        _ => Err(vec![Violation::new("", "together", "lat and lon go together")]),
    }
}

fn parse_preview(wire: PreviewWire) -> Result<Preview, Vec<Violation>> {
    let mut faults = Violations::new();
    for (pointer, len) in [("/force_segments", wire.force_segments.len()), ("/deny_segments", wire.deny_segments.len())]
    {
        if len > 200 {
            faults.push(pointer, "length", "must be at most 200 segments");
        }
    }
    let seed = wire.seed.map(|seed| seed.parse()).transpose();
    let seed = seed.map_err(|error| vec![Violation::new("", "pattern", format!("{error}"))]);
    let seed = faults.keep("/seed", seed).flatten();
    faults.into_result()?;
    Ok(Preview { force_segments: wire.force_segments, deny_segments: wire.deny_segments, at: wire.at, seed })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::enrichment::places;

    fn faults(body: Value) -> Vec<String> {
        let wire = serde_json::from_value(body).expect("the types of the body");
        let faults = parse(wire, Millis(0), Rules::default(), &Enrichment::default(), |id| id.as_str() == "top")
            .expect_err("refused");
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let pointers = faults(json!({
            "placements": [
                {"id": "", "count": 0, "click_macro": "javascript:1//", "candidates": {}},
                {"id": "b", "keywords": ["x".repeat(200)], "placement": "nope"},
                {"id": "b", "candidates": {"campaign": "c", "creative": "d"}}
            ],
            "user": {"traits": {"Bad Name": 1}},
            "context": {"ip": "1.2.3", "geo": {"lat": 91.0, "lon": 0.0}, "time_zone": "Mars/Olympus", "data": {"x": []}},
            "consent": {
                "tcf": "C".repeat(8_193), "gpp_sid": vec![2; 33], "us_privacy": "1".repeat(65), "asserted": vec!["basic"; 5]
            },
            "deadline_ms": 0, "consistency_token": "x", "preview": {"seed": "abc"}
        }));
        assert_eq!(
            pointers,
            [
                "/placements/2/id",
                "/placements/0/id",
                "/placements/0/count",
                "/placements/0/click_macro",
                "/placements/0/candidates",
                "/placements/1/placement",
                "/placements/1/keywords/0",
                "/placements/2/candidates",
                "/user/traits/Bad Name",
                "/context/time_zone",
                "/context/ip",
                "/context/geo",
                "/context/data/x",
                "/consent/tcf",
                "/consent/us_privacy",
                "/consent/gpp_sid",
                "/consent/asserted",
                "/deadline_ms",
                "/consistency_token",
                "/preview/seed"
            ]
        );
        assert_eq!(faults(json!({"placements": []})), ["/placements"]);
        let many: Vec<_> = (0..1_000).map(|n| json!({"id": n.to_string()})).collect();
        assert_eq!(faults(json!({ "placements": many })), ["/placements"]);
    }

    #[test]
    fn no_list_is_a_record() {
        let whole = json!({
            "placements": [{"id": "a", "candidates": {"campaign": "c"}, "floor": {"cpm": "1.00", "currency": "USD"}, "video": {}}],
            "user": {"key": "u"}, "context": {"geo": {"country": "US"}, "device": {"type": "tv"}}, "consent": {},
            "preview": {}
        });
        assert!(serde_json::from_value::<DecisionRequest>(whole.clone()).is_ok());
        for record in [
            "/placements/0",
            "/placements/0/candidates",
            "/placements/0/floor",
            "/placements/0/video",
            "/user",
            "/context",
            "/context/geo",
            "/context/device",
            "/consent",
            "/preview",
        ] {
            for list in [json!([]), json!([null]), json!([null, null]), json!(["a"]), json!([1])] {
                let mut body = whole.clone();
                *body.pointer_mut(record).expect("a record") = list;
                let read = serde_json::from_str::<DecisionRequest>(&body.to_string());
                assert!(read.is_err(), "{record}: {body}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_allows_nothing() {
        let purposes = |consent: Value, country: &str| {
            let body =
                json!({"placements": [{"id": "a"}], "consent": consent, "context": {"geo": {"country": country}}});
            let parsed = parse(
                serde_json::from_value(body).expect("a body"),
                Millis(0),
                Rules::default(),
                &Enrichment::default(),
                |_| true,
            )
            .expect("a request");
            (parsed.purposes, parsed.request.context.country.map(|country| country.to_string()))
        };
        let at = |country: &str| Some(country.to_owned());
        assert_eq!(purposes(json!({"tcf": "garbage"}), "US"), (Purposes::NONE, at("US")));
        assert_eq!(purposes(json!({"tcf": ""}), "US"), (Purposes::NONE, at("US")));
        assert_eq!(purposes(json!({"tcf": "garbage", "gdpr": false}), "US"), (Purposes::ALL, at("US")));
        assert_eq!(purposes(json!({}), "uk"), (Purposes::NONE, at("GB")));
        assert_eq!(purposes(json!({}), "RE"), (Purposes::NONE, at("RE")));
        assert_eq!(purposes(json!({}), "XX"), (Purposes::ALL, None), "as if no country were given");
    }

    #[test]
    fn the_time_is_that_of_the_address_only_in_the_country_that_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("city.mmdb");
        std::fs::write(&file, places::database([203, 0, 113])).expect("a file");
        let enrichment = Enrichment::open(Some(&file)).expect("a database");
        let zone = |more: Value| {
            let mut context = json!({"ip": "203.0.113.77"});
            let own = more.as_object().expect("members").clone();
            context.as_object_mut().expect("members").extend(own);
            let body = json!({"placements": [{"id": "a"}], "context": context});
            let wire = serde_json::from_value(body).expect("a body");
            let parsed = parse(wire, Millis(0), Rules::default(), &enrichment, |_| true).expect("a request");
            parsed.zone.and_then(|zone| zone.iana_name().map(str::to_owned))
        };
        let at = |name: &str| Some(name.to_owned());
        assert_eq!(zone(json!({})), at("Europe/Berlin"));
        assert_eq!(zone(json!({"geo": {"country": "DE"}})), at("Europe/Berlin"));
        assert_eq!(zone(json!({"geo": {"country": "US"}})), None);
        let said = json!({"geo": {"country": "US"}, "time_zone": "America/New_York"});
        assert_eq!(zone(said), at("America/New_York"));
    }

    #[test]
    fn the_host_of_a_page() {
        assert_eq!(host("https://user@News.example:8080/a?b"), Some("News.example"));
        assert_eq!(host("news.example/a"), Some("news.example"));
        assert_eq!(host("https:///a"), None);
    }
}
