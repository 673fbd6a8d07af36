//! Thousands of bids over HTTP, each for two people of whom everything differs: without consent they are the same to
//! the byte, and nobody is looked for.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tessera::config::{MappedSegment, Matching};

use crate::{
    cluster,
    consent::{RULES, reads},
    events::send,
    harness::{Patient as _, Service, ask, read, until},
    in_one_day,
    privacy::{frame, load, unsigned},
    signals::{CONSENTING, Dice, merge},
    turn,
    video::template,
};

/// Pairs of requests without consent.
const PAIRS: usize = 2_500;

/// What is bid on, and how each of them says of the person: by traits, events, lists, caps.
const KINDS: [&str; 9] =
    ["banner", "native", "video", "capped", "listed", "standalone", "deal", "late banner", "late standalone"];

fn imp(id: usize, kind: &str) -> Value {
    let banner = json!({"banner": {"format": [{"w": 300, "h": 250}]}});
    let native = json!({"ver": "1.2", "assets": [{"id": 7, "required": 1, "title": {"len": 90}}]}).to_string();
    let line = |of: &str| json!({"ext": {"tessera": {"campaign": of, "price": "1.50"}}});
    let (media, rest) = match kind {
        "native" => (json!({"native": {"request": native, "ver": "1.2"}}), line("spring")),
        "video" => {
            (json!({"video": {"mimes": ["video/mp4"], "protocols": [2, 3, 7], "w": 640, "h": 360}}), line("spot"))
        }
        "capped" => (banner, line("one-a-day")),
        "listed" => (banner, line("members")),
        "standalone" | "late standalone" => (json!({"banner": {"w": 160, "h": 600}}), json!({})),
        "deal" => {
            (json!({"banner": {"w": 120, "h": 600}}), json!({"pmp": {"private_auction": 1, "deals": [{"id": "d-1"}]}}))
        }
        _ => (banner, line("spring")),
    };
    let mut imp = json!({"id": id.to_string(), "bidfloor": 0.5});
    merge(&mut imp, &media);
    merge(&mut imp, &rest);
    imp
}

/// One of two people, as exchanges tell of them.
fn person(is_first: bool) -> Value {
    let of = |first: Value, second: Value| if is_first { first } else { second };
    json!({
        "user": {
            "id": of(json!("x-1"), json!("y-2")), "buyeruid": of(json!("anna"), json!("ben")),
            "yob": of(json!(1990), json!(2016)), "gender": of(json!("F"), json!("M")),
            "keywords": of(json!("running"), json!("dolls")),
            "eids": [{"source": "ids.example", "uids": [{"id": of(json!("a"), json!("b"))}]}],
            "data": [{"id": "p", "segment": [{"id": of(json!("x1"), json!("x2"))}]}]
        },
        "device": {"ifa": of(json!("5f2d"), json!("77aa"))}
    })
}

/// Signals that allow everything.
fn allowing(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"regs": {"gdpr": 1}, "user": {"consent": CONSENTING}}),
        1 => {
            json!({"regs": {"gpp": format!("DBABMA~{CONSENTING}"), "gpp_sid": [2]}, "device": {"geo": {"country": "FRA"}}})
        }
        2 => json!({"regs": {"us_privacy": "1YNN"}}),
        _ => json!({}),
    }
}

/// All that is told of a request for somebody, but for ids and our tokens: the answer, and what each late frame shows.
/// None where there is no bid.
async fn told(service: &Service, kind: &str, asked: &Value) -> Option<String> {
    let late = if kind.starts_with("late") { "&render=late" } else { "" };
    let sent = service.request(Method::POST, &format!("/openrtb2/bid?nbr=1&exchange=adx{late}")).json(asked);
    let mut answer = read(sent.sent().await, 200).await;
    let mut shown = String::new();
    if let Some(bids) = answer.pointer_mut("/seatbid/0/bid").and_then(Value::as_array_mut) {
        for bid in bids {
            bid["id"] = Value::Null;
            if !late.is_empty() {
                shown += &load(service, &frame(bid), "").await;
            }
        }
        answer["bidid"] = Value::Null;
        return Some(unsigned(&answer.to_string()) + &shown);
    }
    assert!(answer["nbr"].is_u64(), "{answer}");
    Some(answer.to_string()).filter(|text| !text.contains("\"nbr\":501"))
}

/// A service with a line of every kind, and two people of whom all that is kept differs.
async fn service() -> (Service, tokio::sync::SemaphorePermit<'static>) {
    let turn = turn(1).await;
    let service = Service::start(&cluster().await.database().await, |config| {
        config.privacy.vendor_id = RULES.vendor_id;
        config.openrtb.contextual_without_consent = true;
        config.openrtb.eid_sources = vec!["ids.example".into()];
        let (id, segment) = ("x1".into(), "bought".into());
        config.openrtb.segments =
            vec![MappedSegment { segtax: None, data: None, id, segment, matching: Matching::Exact }];
    })
    .await;
    let (viewed, bought) =
        (json!({"event": "viewed", "count": {"gte": 1}, "in": {"last": "P7D"}}), json!({"trait": "never", "eq": 1}));
    for (name, condition) in [("viewers", viewed), ("bought", bought)] {
        let rule = json!({"v": 1, "kind": "dynamic", "match": condition});
        service.put(&format!("/v1/segments/{name}"), &json!({"name": name, "rule": rule})).await;
    }
    let text = |default: &str| json!({"type": "text", "default": default});
    for (name, size) in [("tall", "160x600"), ("slim", "120x600")] {
        let markup = "<body><a href=\"{{click_url}}\">{{headline}}</a><p>{{cta}}</p></body>";
        let template = json!({"name": name, "format": "html", "size": size, "markup": markup,
            "slots": {"headline": text("Hello"), "cta": text("Shop now")}});
        service.put(&format!("/v1/templates/{name}"), &template).await;
    }
    service.put("/v1/templates/spot", &template()).await;
    for name in ["tall", "slim", "spot"] {
        let creative = json!({"name": name, "advertiser": "northwind", "templates": [name]});
        service.put(&format!("/v1/creatives/{name}"), &creative).await;
    }
    for (creative, id, slot, segment) in [
        ("spring", "member", "cta", "vip"),
        ("tall", "viewer", "headline", "viewers"),
        ("tall", "buyer", "cta", "bought"),
        ("slim", "grown", "headline", "adults"),
        ("spot", "viewer", "headline", "viewers"),
    ] {
        let component = json!({"slot": slot, "value": format!("For {segment}"), "targeting": {"segment": segment}});
        service.put(&format!("/v1/creatives/{creative}/components/{id}"), &component).await;
    }
    for creative in ["spring", "tall", "slim", "spot"] {
        let path = format!("/v1/creatives/{creative}/publish");
        read(service.request(Method::POST, &path).json(&json!({})).sent().await, 200).await;
    }
    let rich = json!({"cpm": {"amount": "2.00", "currency": "USD"}, "budget": {"daily": "1000000", "currency": "USD"}});
    let dealt = json!({"deals": ["d-1"]});
    for (id, creative, more) in [
        ("one-a-day", "spring", json!({"frequency_caps": [{"impressions": 1, "per": "P1D"}]})),
        ("members", "spring", json!({"targeting": {"segment": "vip"}})),
        ("spot", "spot", json!({})),
        ("self", "tall", rich.clone()),
        ("dealt", "slim", json!({"cpm": rich["cpm"], "budget": rich["budget"], "deals": dealt["deals"]})),
    ] {
        let mut campaign = json!({"name": id, "advertiser": "northwind", "status": "active", "creatives": [creative],
            "landing_url": format!("https://northwind.example/{id}")});
        merge(&mut campaign, &more);
        service.put(&format!("/v1/campaigns/{id}"), &campaign).await;
    }
    until("events count", async || {
        let status = service.request(Method::GET, "/v1/segments/viewers/status").sent().await;
        read(status, 200).await["state"] == "live"
    })
    .await;
    service.patch("anna", &json!({"age": 34, "city": "Berlin"})).await;
    service.patch("ben", &json!({"age": 9})).await;
    let add = json!({"add": ["anna"]});
    read(service.request(Method::POST, "/v1/segments/vip/members").json(&add).sent().await, 200).await;
    send(&service, &json!({"id": "v-1", "user": "anna", "type": "viewed"})).await;
    let mut seen = ask("anna", "home");
    seen["placements"][0]["candidates"] = json!({"campaign": "one-a-day"});
    let item = service.decide(&seen).await["placements"]["top"][0].take();
    assert_eq!(service.beacon(item["impression_url"].as_str().expect("an address")).await.1, "recorded");
    (service, turn)
}

/// A request of a kind, but for the person and what may be known of them.
fn request(dice: &mut Dice, kind: &str) -> Value {
    let mut imps = vec![imp(0, kind)];
    // what is shown once to one of them is not shown beside itself
    if !kind.starts_with("late") && dice.below(3) == 0 {
        imps.push(imp(1, dice.of(&["banner", "native", "video"])));
    }
    json!({
        "id": "r-1", "tmax": 5_000, "imp": imps, "test": dice.below(2),
        "site": {"page": dice.of(&["https://news.example/sport", "https://shop.example/"]), "keywords": "shoes"},
        "device": {
            "ip": "203.0.113.77", "devicetype": dice.below(8), "language": dice.of(&["en", "de"]),
            "geo": {"country": "USA", "city": "Berlin", "zip": "10115", "lat": 52.51, "lon": 13.4, "utcoffset": 60}
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_bids_without_consent_do_not_depend_on_the_person_and_with_it_they_do() {
    // purses are filled anew each day
    in_one_day().await;
    let (service, _turn) = service().await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let standalone = request(&mut dice, "standalone");
    until("there is money to bid", async || {
        told(&service, "", &standalone).await.is_some_and(|text| text.contains("seatbid"))
    })
    .await;
    // with consent first: what is read of them then is in memory, and would be found there
    let mut differed = BTreeMap::new();
    for _ in 0..40 {
        for kind in KINDS {
            let mut asked = request(&mut dice, kind);
            merge(&mut asked, &allowing(&mut dice));
            let mut texts = Vec::new();
            for is_first in [true, false] {
                let mut asked = asked.clone();
                merge(&mut asked, &person(is_first));
                texts.push(told(&service, kind, &asked).await.expect("consent"));
            }
            *differed.entry(kind).or_insert(0) += u32::from(texts[0] != texts[1]);
        }
    }
    // who has been bid what may be seen once has had it for ten seconds, and money comes with time
    let least = |kind: &str| if kind == "capped" { 1 } else { 10 };
    let alike: Vec<_> = KINDS.iter().filter(|kind| differed[**kind] < least(kind)).collect();
    assert!(alike.is_empty(), "of 40 pairs of each kind so many differed: {differed:?}");

    let before = reads(&service).await;
    let mut bids = BTreeMap::new();
    for pair in 0..PAIRS {
        let kind = KINDS[pair % KINDS.len()];
        let mut asked = request(&mut dice, kind);
        merge(&mut asked, &dice.forbidding());
        let mut texts = Vec::new();
        for is_first in [true, false] {
            let mut asked = asked.clone();
            merge(&mut asked, &person(is_first));
            texts.push(told(&service, kind, &asked).await);
        }
        assert_eq!(texts[0], texts[1], "{kind}: {asked:#}");
        let text = texts[0].as_deref().unwrap_or_default();
        assert!(!["grown-up", "For "].iter().any(|own| text.contains(own)), "{kind}: {text}");
        *bids.entry(kind).or_insert(0) += usize::from(text.contains("seatbid"));
    }
    assert_eq!(reads(&service).await, before, "nobody was looked for");
    // lines for members are for nobody then, nor are those that may be seen once; there are bids of all else
    for kind in KINDS {
        let is_bid = bids[kind] > PAIRS / KINDS.len() / 2;
        assert_eq!(is_bid, !matches!(kind, "capped" | "listed"), "bids by kind: {bids:?}");
    }
}
