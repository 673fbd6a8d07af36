//! Without consent nothing about a person reaches the answer, and with it everything does.

use std::{sync::Arc, time::Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tessera::{
    domain::{consent::Rules, decision::answer::write_item, values::Json},
    engine::{
        deadline::Deadline,
        decider::{Call, Decided},
        enrichment::Enrichment,
        users::Freshness,
    },
    http::decisions::parse::parse,
};

use crate::{
    cluster,
    harness::{PATIENCE, Patient as _, Service, read, until},
    signals::{CONSENTING, Dice, NO_PROFILES, NO_STORAGE},
    turn,
};

/// Our number on the Global Vendor List.
pub(crate) const RULES: Rules = Rules { vendor_id: Some(733), gdpr_by_default: false };

/// Consents to everything but purpose 7.
const NO_MEASURE: &str = "CQlJDjAQlJDjAEsABBDECWFv__3gAAAAAAAAFuwAgABALdAAAAA.IFuwAYAAgW6";

/// A request for anything, from anywhere.
fn request(dice: &mut Dice) -> Value {
    let mut user = json!({});
    if dice.below(3) == 0 {
        user["traits"] = json!({"age": dice.below(80)});
    }
    if dice.below(3) == 0 {
        user["segments"] = json!([dice.of(&["vip", "adults"])]);
        user["segments_mode"] = json!(dice.of(&["merge", "override"]));
    }
    let mut slot = json!({"id": "top", "placement": dice.of(&["home", "home", "capped", "wide"])});
    if dice.below(4) == 0 {
        slot["candidates"] = json!({"campaign": dice.of(&["spring", "vip", "once", "paused"])});
    }
    json!({
        "placements": [slot], "user": user,
        "context": {
            "language": dice.of(&["de-DE", "en", "fr-CH"]), "device": {"type": dice.of(&["mobile", "desktop"])},
            "geo": {"region": dice.of(&["BE", "NY"]), "city": "Berlin", "lat": dice.below(90), "lon": dice.below(90)}
        },
        "preview": {"at": "2026-05-01T12:00:00Z", "seed": format!("{:032x}", dice.below(u64::MAX))}
    })
}

/// Signals that forbid profiles.
fn forbidding(dice: &mut Dice) -> (Value, &'static str) {
    let junk = dice.junk();
    let consent = match dice.below(10) {
        0 => json!({"gdpr": true}),
        1 => json!({"gdpr": true, "tcf": format!("CQ{junk}")}),
        2 => json!({"gdpr": true, "tcf": NO_STORAGE}),
        3 => json!({"tcf": junk}),
        4 => json!({"gpp": junk, "gpp_sid": [dice.of(&[2, 5, 6, 7, 8, 24])]}),
        5 => json!({"us_privacy": dice.of(&["1YYN", "1YYY", "1", "junk", ""])}),
        6 => json!({"coppa": true, "tcf": CONSENTING}),
        7 => json!({"gpc": true}),
        8 => json!({"gpp": format!("DBABTA~1Y{}N", dice.of(&["Y", "X", ""]))}),
        _ => return (json!({}), dice.of(&["DE", "GB", "FR", "NO"])),
    };
    (consent, "US")
}

/// Decides a request for somebody, as the route does, and gives what their answer is made of.
async fn decide(service: &Service, body: &Value, key: &str) -> (Decided, String) {
    let engine = service.server.engine();
    let mut body = body.clone();
    body["user"]["key"] = json!(key);
    let parsed = parse(
        serde_json::from_value(body).expect("a request"),
        engine.clock.now(),
        RULES,
        &Enrichment::default(),
        |_| true,
    )
    .expect("sound");
    let world = engine.catalogue.world();
    let account = Arc::clone(world.named("default").expect("the account"));
    let rules = Arc::clone(&account.snapshot.rules);
    let call = Call {
        world,
        account,
        key: parsed.key,
        request: Box::new(parsed.request),
        purposes: parsed.purposes,
        zone: parsed.zone,
        deadline: Deadline::starting(Instant::now().into(), PATIENCE),
        freshness: Freshness::default(),
        consistency: None,
    };
    let decided = engine.decider.decide(call, Instant::now()).await.expect("registered placements");
    let mut json = Json::default();
    for (items, assembled) in decided.decision.placements.iter().zip(&decided.assembled) {
        for (item, made) in items.iter().zip(assembled) {
            write_item(&mut json, item, made.as_ref(), &rules);
        }
    }
    (decided, json.into_text())
}

/// How often people were looked for, in memory or in the store.
pub(crate) async fn reads(service: &Service) -> u64 {
    let text = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    let counts = text.lines().filter(|line| line.starts_with("tessera_user_"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

async fn service() -> (Service, tokio::sync::SemaphorePermit<'static>) {
    let turn = turn(1).await;
    let database = cluster().await.database().await;
    (Service::start(&database, |config| config.privacy.vendor_id = RULES.vendor_id).await, turn)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_without_consent_do_not_depend_on_the_person() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34, "city": "Berlin"})).await;
    service.patch("ben", &json!({"age": 9})).await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let before = reads(&service).await;
    for _ in 0..10_000 {
        let mut body = request(&mut dice);
        let (consent, country) = forbidding(&mut dice);
        (body["consent"], body["context"]["geo"]["country"]) = (consent, json!(country));
        let (first, anna) = decide(&service, &body, "anna").await;
        let (second, ben) = decide(&service, &body, "ben").await;
        // with one seed and one time even ids and tokens are the same, as nothing of the person is in them
        assert_eq!(anna, ben, "{body:#}");
        for decided in [first, second] {
            let segments = decided.decision.segments(&decided.account.snapshot.rules);
            assert!(!decided.user.known && decided.as_of.is_none() && segments.is_empty(), "{body:#}");
        }
    }
    assert_eq!(reads(&service).await, before, "nobody was looked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_with_consent_depend_on_segments() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    service.patch("ben", &json!({"age": 9})).await;
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut differed = 0;
    for _ in 0..10_000 {
        let mut body = request(&mut dice);
        body["placements"][0]["placement"] = json!("home");
        let allowing = [
            (json!({"gdpr": true, "tcf": CONSENTING}), "DE"),
            (json!({"tcf": CONSENTING}), "US"),
            (json!({"gpp": format!("DBABMA~{CONSENTING}"), "gpp_sid": [2]}), "FR"),
            (json!({"gpp": "DBABTA~1YNN", "gpp_sid": [6]}), "US"),
            (json!({"us_privacy": "1YNN"}), "US"),
            (json!({}), "US"),
        ];
        let (consent, country) = dice.of(&allowing);
        (body["consent"], body["context"]["geo"]["country"]) = (consent, json!(country));
        let (first, anna) = decide(&service, &body, "anna").await;
        let (second, ben) = decide(&service, &body, "ben").await;
        assert!(first.user.known && second.user.known, "{body:#}");
        let shown = |text: &str| serde_json::from_str::<Value>(text).expect("an item")["components"].clone();
        let held = |decided: &Decided| {
            decided.decision.segments(&decided.account.snapshot.rules).iter().map(|(ix, _)| *ix).collect::<Vec<_>>()
        };
        let same = held(&first) == held(&second);
        assert_eq!(same, shown(&anna) == shown(&ben), "{body:#}\n{anna}\n{ben}");
        differed += u32::from(!same);
    }
    assert!(differed > 1_000, "{differed} of 10,000 pairs differed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_strings_are_read_for_our_vendor() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let ask = |consent: Value| {
        let body =
            json!({"placements": [{"id": "top", "placement": "home"}], "user": {"key": "anna"}, "consent": consent});
        let service = &service;
        async move { service.decide(&body).await }
    };
    let all = ask(json!({"gdpr": true, "tcf": CONSENTING})).await;
    assert_eq!(all["purposes_used"], json!(["basic", "profile_read", "profile_write", "measure"]));
    assert_eq!(all["placements"]["top"][0]["components"]["headline"], "grown");
    let some = ask(json!({"gdpr": true, "tcf": NO_PROFILES})).await;
    assert_eq!(some["purposes_used"], json!(["basic", "profile_write", "measure"]));
    assert_eq!(some["placements"]["top"][0]["components"]["headline"], Value::Null);
    assert_eq!(some["placements"]["top"][0]["degraded"], json!(["no_consent"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_nobodys_where_measuring_is_not_allowed() {
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let service = Service::start(&database, |config| config.privacy.vendor_id = RULES.vendor_id).await;
    for name in ["h0", "h1", "h2"] {
        let path = format!("/v1/creatives/fallback/components/{name}");
        service.put(&path, &json!({"slot": "headline", "value": name})).await;
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    let campaign = json!({
        "name": "Learning", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized", "holdout": 0.01, "goal": "click",
        "frequency_caps": [{"impressions": 64, "per": "P1D"}]
    });
    service.put("/v1/campaigns/learning", &campaign).await;
    let live = async |user: &str, tcf: &str| {
        let body = json!({
            "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
            "user": {"key": user}, "context": {"geo": {"country": "DE"}}, "consent": {"gdpr": true, "tcf": tcf}
        });
        let item = service.decide(&body).await["placements"]["top"][0].take();
        for url in ["impression_url", "click_url"] {
            assert_eq!(service.beacon(item[url].as_str().expect("an address")).await.1, "recorded", "{item}");
        }
        let conversion = json!({"token": item["conversion_token"]});
        read(service.request(Method::POST, "/v1/conversions").json(&conversion).sent().await, 200).await;
    };
    let connection = tokio::sync::Mutex::new(PgConnection::connect(&database).await.expect("a connection"));
    let count = async |what: &'static str| {
        let count = sqlx::query_scalar::<_, i64>(what);
        count.fetch_one(&mut *connection.lock().await).await.expect("a count")
    };
    // the control is not logged: one in a hundred
    until("what was chosen is logged", async || {
        for person in 0..4 {
            live(&format!("anna-{person}"), CONSENTING).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        count("select count(*) from decision_log where person is not null").await > 0
            && count("select count(*) from experiment_unit").await == 4
    })
    .await;
    assert_eq!(count("select count(distinct person) from outcome").await, 4);
    assert_eq!(count("select count(*) from outcome where person is null").await, 0);
    assert_eq!(count("select count(*) from decision_log where person is null").await, 0);
    for person in 0..4 {
        live(&format!("ben-{person}"), NO_MEASURE).await;
    }
    until("what was chosen for them is logged", async || {
        count("select count(*) from decision_log where person is null").await > 0
    })
    .await;
    assert_eq!(count("select count(*) from outcome where person is null and exposure is null").await, 12);
    until("it is learned", async || count("select count(*) from lesson").await == 0).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for table in ["outcome", "decision_log", "experiment_unit"] {
        let known = format!("select count(distinct person) from {table}");
        assert!(count(known.leak()).await <= 4, "{table}");
    }
    // caps are another purpose
    assert_eq!(count("select count(*) from profile where caps <> ''").await, 8);
}
