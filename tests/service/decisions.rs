//! `POST /v1/decisions` and what is kept of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, Patient as _, Service, ask, read, until},
    service,
    wire::Answer,
};

async fn decided(service: &Service, body: &Value) -> Answer {
    Answer::of(&service.decide(body).await)
}

/// A request with more in it.
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_has_the_shape_of_the_contract() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34, "city": "Berlin"})).await;
    let answer = decided(&service, &with(ask("anna", "home"), json!({"explain": "full"}))).await;
    assert_eq!(answer.request_decision_id.get_version_num(), 7);
    assert!(answer.catalog_version > 0 && answer.errors.is_empty());
    assert!(answer.decided_at.ends_with('Z') && answer.decided_at.len() == "2026-01-01T00:00:00.000Z".len());
    assert_eq!(answer.purposes_used, ["basic", "profile_read", "profile_write", "measure"]);
    let user = &answer.user;
    assert_eq!((user.key.as_deref(), user.known), (Some("anna"), true));
    assert!(user.as_of.is_some() && user.staleness_ms.is_some_and(|ms| ms <= 2_000), "{user:?}");
    let segments = user.segments.as_deref().expect("segments");
    assert_eq!(segments.iter().map(|s| (s.key.as_str(), s.kind.as_str())).collect::<Vec<_>>(), [("adults", "dynamic")]);
    assert!(segments[0].since.is_some() && segments[0].valid_until.is_none());
    let timing = &answer.timing_us;
    assert!(timing.total >= timing.user + timing.decide + timing.assemble && timing.total < 10_000_000);

    let item = answer.item();
    assert_ne!(item.decision_id, answer.request_decision_id);
    assert_eq!((item.status.as_str(), item.no_fill_reason.as_deref()), ("filled", None));
    assert_eq!((item.campaign.as_deref(), item.creative.as_deref()), (Some("spring"), Some("spring")));
    assert_eq!((item.revision, item.format.as_deref()), (Some(1), Some("html")));
    assert_eq!((item.width, item.height), (Some(300), Some(250)));
    assert_eq!((item.reason.as_deref(), item.fallback_level.as_str()), (Some("weighted"), "personalised"));
    assert!(item.degraded.is_empty());
    assert_eq!(item.segments_matched.as_deref(), Some(&["adults".to_owned()][..]));
    let components = item.components.as_ref().expect("components");
    assert_eq!((&components["headline"], &components["cta"]), (&Some("grown".into()), &None));
    assert_eq!(item.content.as_ref().expect("content")["headline"], "Hello, grown-up");
    assert!(item.combination_id.as_ref().is_some_and(|id| id.len() == 16));
    assert!(item.crid.as_ref().is_some_and(|id| !id.is_empty()));
    let markup = item.markup.as_deref().expect("markup");
    assert!(markup.contains("Hello, grown-up") && markup.contains("Shop now"), "{markup}");
    for (url, door) in [(&item.impression_url, "i"), (&item.view_url, "v"), (&item.click_url, "c")] {
        let url = url.as_deref().expect("a URL");
        assert!(url.starts_with(&format!("{}/v1/{door}/", service.base)), "{url}");
    }
    assert!(markup.contains(item.impression_url.as_deref().expect("a URL")), "{markup}");
    assert!(item.conversion_token.as_ref().is_some_and(|token| token.len() <= 300));
    assert_eq!(answer.explanation.expect("asked for").items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rung_of_the_ladder_that_needs_no_fault() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    // (what is asked, status, level, degraded, campaign, creative, known)
    let anna = ask("anna", "home");
    let keyless = json!({"placements": [{"id": "top", "placement": "home"}]});
    let pinned = |candidates: Value| json!({"placements": [{"id": "top", "placement": "home", "candidates": candidates}], "user": {"key": "anna"}});
    let cases = [
        (anna.clone(), "personalised", &[][..], Some("spring"), Some("spring"), true),
        (ask("nobody", "home"), "personalised", &[], Some("spring"), Some("spring"), false),
        (keyless, "contextual", &[], Some("spring"), Some("spring"), false),
        (
            with(anna, json!({"consent": {"gdpr": true}})),
            "contextual",
            &["no_consent"],
            Some("spring"),
            Some("spring"),
            false,
        ),
        (pinned(json!({"campaign": "spring"})), "personalised", &[], Some("spring"), Some("spring"), true),
        (pinned(json!({"creative": "fallback"})), "default", &["pinned_ineligible"], None, None, true),
        (pinned(json!({"creative": "house"})), "default", &["pinned_ineligible"], None, None, true),
        (
            pinned(json!({"campaign": "paused"})),
            "default",
            &["pinned_ineligible"],
            Some("paused"),
            Some("fallback"),
            true,
        ),
        (pinned(json!({"campaign": "unheard-of"})), "none", &["pinned_ineligible"], None, None, true),
        (ask("anna", "wide"), "default", &[], None, Some("house"), true),
        (
            json!({"placements": [{"id": "top", "sizes": ["160x600"]}], "user": {"key": "anna"}}),
            "none",
            &[],
            None,
            None,
            true,
        ),
    ];
    for (body, level, degraded, campaign, creative, known) in cases {
        let answer = decided(&service, &body).await;
        let item = answer.item();
        // a creative that no campaign may show here has no default to fall back to
        let level = if creative.is_none() { "none" } else { level };
        assert_eq!((item.fallback_level.as_str(), answer.user.known), (level, known), "{body}");
        assert_eq!(item.degraded, degraded, "{body}");
        assert_eq!((item.campaign.as_deref(), item.creative.as_deref()), (campaign, creative), "{body}");
        assert_eq!(item.status, if creative.is_some() { "filled" } else { "no_fill" }, "{body}");
        assert_eq!(item.no_fill_reason.is_some(), creative.is_none(), "{body}");
    }
    let native = json!({"placements": [{"id": "top", "formats": ["native"], "candidates": {"creative": "spring"}, "placement": "home"}]});
    let answer = decided(&service, &native).await;
    let markup: Value = serde_json::from_str(answer.item().markup.as_deref().expect("markup")).expect("native JSON");
    assert!(markup.to_string().contains("Hello"), "{markup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanations_are_as_long_as_asked() {
    let (service, _turn) = service().await;
    let asked = |explain: &str| with(ask("nobody", "home"), json!({ "explain": explain }));
    assert!(decided(&service, &asked("none")).await.explanation.is_none());
    let summary = decided(&service, &asked("summary")).await.explanation.expect("asked for");
    let candidates = summary.items[0]["candidates"].as_array().expect("candidates").clone();
    let condition = |id: &str| {
        let found = candidates.iter().find(|candidate| candidate["campaign"] == id);
        found.unwrap_or_else(|| panic!("{id} in {candidates:?}"))["excluded"]["condition"].clone()
    };
    assert_eq!(condition("spring"), Value::Null);
    assert_eq!(condition("vip"), "targeting");
    assert_eq!(condition("once"), "placement");
    assert_eq!(condition("paused"), "status");
    assert!(summary.items[0].get("slots").is_none());
    let full = decided(&service, &asked("full")).await.explanation.expect("asked for");
    assert!(full.items[0]["slots"].as_array().is_some_and(|slots| slots.len() == 2), "{:#}", full.items[0]);
    let vip = full.items[0]["candidates"].as_array().expect("candidates").iter().find(|c| c["campaign"] == "vip");
    assert!(vip.expect("vip")["excluded"]["why"].as_str().is_some_and(|why| why.contains("vip")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_those_in_play_or_all() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34, "city": "Berlin"})).await;
    let keys = |answer: Answer| -> Vec<String> {
        answer.user.segments.expect("segments").into_iter().map(|segment| segment.key).collect()
    };
    assert_eq!(keys(decided(&service, &ask("anna", "home")).await), ["adults"]);
    let mut all = keys(decided(&service, &with(ask("anna", "home"), json!({"segments": "all"}))).await);
    all.sort();
    assert_eq!(all, ["adults", "berliners"]);
    // the request's own
    let brought = json!({"user": {"key": "anna", "segments": ["vip", "unheard-of"]}});
    let answer = decided(&service, &with(ask("anna", "home"), brought)).await;
    assert_eq!(answer.item().campaign.as_deref(), Some("vip"));
    let faults: Vec<_> = answer.errors.iter().map(|f| (f.pointer.as_str(), f.code.as_str())).collect();
    assert_eq!(faults, [("/user/segments/1", "unknown_segment")]);
    assert!(answer.errors[0].detail.contains("unheard-of"));
    // so are pinned campaigns and creatives
    let slot = |id: &str, pinned: Value| json!({"id": id, "sizes": ["300x250"], "candidates": pinned});
    let pinned = json!({"placements": [
        slot("a", json!({"campaign": "unheard-of"})), slot("b", json!({"creative": "unheard-of"})),
        slot("c", json!({"campaign": "spring"})), slot("d", json!({"creative": "spring"})),
    ]});
    let answer = service.decide(&with(ask("anna", "home"), pinned)).await;
    let faults: Vec<_> =
        answer["errors"].as_array().expect("errors").iter().map(|f| (&f["pointer"], &f["code"])).collect();
    let unknown = [("campaign", 0), ("creative", 1)]
        .map(|(kind, at)| (json!(format!("/placements/{at}/candidates/{kind}")), json!(format!("unknown_{kind}"))));
    assert_eq!(faults, unknown.each_ref().map(|(pointer, code)| (pointer, code)));
    let only = json!({"user": {"key": "anna", "segments": ["vip"], "segments_mode": "override"}});
    assert_eq!(keys(decided(&service, &with(ask("anna", "home"), only)).await), ["vip"]);
    // and its own traits
    let younger = json!({"user": {"key": "anna", "traits": {"age": 12}}});
    assert_eq!(keys(decided(&service, &with(ask("anna", "home"), younger)).await), [""; 0]);
}

/// An answer without what differs between two decisions that are the same.
fn same(mut answer: Value) -> Value {
    answer["timing_us"].take();
    answer["user"]["as_of"].take();
    answer["user"]["staleness_ms"].take();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_is_deterministic_and_pretends() {
    let (service, _turn) = service().await;
    let pretend = |preview: Value| with(ask("anna", "home"), json!({ "preview": preview }));
    let seed = "00112233445566778899aabbccddeeff";
    let body = pretend(json!({"seed": seed, "at": "2026-05-01T12:00:00Z", "force_segments": ["vip"]}));
    let first = service.decide(&body).await;
    assert_eq!(first["decided_at"], "2026-05-01T12:00:00.000Z");
    let as_of = first["user"]["as_of"].as_str().expect("an instant");
    assert!(!as_of.starts_with("2026-05-01"), "the profile is as of now, whatever the time is taken to be: {as_of}");
    assert_eq!(first["placements"]["top"][0]["campaign"], "vip");
    assert_eq!(first["placements"]["top"][0]["reason"], "preview");
    for _ in 0..5 {
        assert_eq!(same(service.decide(&body).await), same(first.clone()));
    }
    let both = pretend(json!({"force_segments": ["adults"], "deny_segments": ["vip"]}));
    let answer = service.decide(&both).await;
    assert_eq!(answer["placements"]["top"][0]["campaign"], "spring");
    assert_eq!(answer["placements"]["top"][0]["components"]["headline"], "grown");
}

/// An answer without ids, times, tokens and timings.
fn bytes(answer: &Value) -> String {
    let mut answer = same(answer.clone());
    answer["request_decision_id"].take();
    answer["decided_at"].take();
    let item = answer["placements"]["top"][0].as_object_mut().expect("an item");
    for signed in ["decision_id", "impression_url", "view_url", "click_url", "conversion_token", "markup"] {
        item.remove(signed);
    }
    answer.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_consent_nothing_depends_on_the_person() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34, "city": "Berlin"})).await;
    service.patch("ben", &json!({"age": 9})).await;
    let signals = [
        json!({"consent": {"gdpr": true}}),
        json!({"consent": {"gdpr": true, "tcf": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}}),
        json!({"consent": {"gpp": "DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}}),
        json!({"consent": {"gpp_sid": [7]}}),
        json!({"consent": {"us_privacy": "1YYN"}}),
        json!({"consent": {"us_privacy": "rubbish"}}),
        json!({"consent": {"coppa": true}}),
        json!({"consent": {"coppa": true, "asserted": ["basic", "profile_read", "profile_write", "measure"]}}),
        json!({"consent": {"gpc": true}}),
        json!({"consent": {"tcf": "rubbish"}, "context": {"geo": {"country": "US"}}}),
        json!({"context": {"geo": {"country": "DE"}}}),
        json!({"context": {"geo": {"country": "UK"}}}),
        json!({"context": {"geo": {"country": "GP"}}}),
        json!({"context": {"geo": {"country": "GB"}}}),
    ];
    for signal in signals {
        let mut seen = Vec::new();
        for user in ["anna", "ben", "nobody"] {
            let asked = with(with(ask(user, "home"), json!({"explain": "full", "segments": "all"})), signal.clone());
            let mut answer = service.decide(&asked).await;
            let shape = Answer::of(&answer);
            assert!(!shape.user.known && shape.user.key.is_none() && shape.purposes_used.is_empty(), "{signal}");
            assert!(shape.user.segments.is_none() && shape.user.as_of.is_none(), "{signal}");
            assert_eq!(shape.item().fallback_level, "contextual", "{signal}");
            assert_eq!(shape.item().degraded, ["no_consent"], "{signal}");
            assert!(!answer.to_string().contains(user), "{signal}: {answer}");
            for item in answer["explanation"]["items"].as_array_mut().expect("items") {
                item["decision_id"].take();
            }
            seen.push(bytes(&answer));
        }
        assert!(seen.iter().all(|answer| *answer == seen[0]), "{signal}: {seen:#?}");
    }
    // where nothing forbids it, the person is known
    for signal in [json!({}), json!({"consent": {"us_privacy": "1YNN"}}), json!({"consent": {"gdpr": false}})] {
        assert!(decided(&service, &with(ask("anna", "home"), signal)).await.user.known);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asserted_consent_needs_its_scope() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let mut secrets = Vec::new();
    for (id, scopes) in
        [("plain", json!(["decide"])), ("trusted", json!(["decide", "consent"])), ("boss", json!(["admin"]))]
    {
        let made = service
            .request(Method::PUT, &format!("/v1/keys/{id}"))
            .header("if-none-match", "*")
            .json(&json!({ "scopes": scopes }))
            .sent();
        let made = read(made.await, 201).await;
        secrets.push(made["secret"].as_str().expect("a secret").to_owned());
    }
    let asserted = json!({"consent": {"gdpr": true, "asserted": ["basic", "profile_read"]}});
    let body = with(ask("anna", "home"), asserted);
    for (secret, status) in
        secrets.iter().map(String::as_str).zip([403, 200, 403]).chain([(KEY, 200), ("unknown", 401)])
    {
        let sent = service.http.post(format!("{}/v1/decisions", service.base)).bearer_auth(secret).json(&body).sent();
        let answer = read(sent.await, status).await;
        if status == 200 {
            let answer = Answer::of(&answer);
            assert!(answer.user.known);
            assert_eq!(answer.purposes_used, ["basic", "profile_read"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_hold_for_whoever_consents_to_no_more_than_that() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let body = with(ask("anna", "capped"), json!({"consent": {"gdpr": true, "asserted": ["basic"]}}));
    let first = service.decide(&body).await;
    assert_eq!(first["placements"]["top"][0]["campaign"], "once", "{first}");
    assert_eq!(first["placements"]["top"][0]["degraded"], json!(["no_consent"]));
    assert_eq!(first["user"], json!({"known": false}), "the profile stays closed");
    service.beacon(first["placements"]["top"][0]["impression_url"].as_str().expect("a URL")).await;
    let second = service.decide(&body).await;
    assert_eq!(second["placements"]["top"][0]["campaign"], Value::Null, "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_reflected_by_their_token() {
    let (service, _turn) = service().await;
    for age in [12, 40, 12, 40] {
        let changed = service.patch("anna", &json!({ "age": age })).await;
        let token = changed["consistency_token"].clone();
        let answer = decided(&service, &with(ask("anna", "home"), json!({ "consistency_token": token }))).await;
        let expected = (age >= 18).then_some("grown".to_owned());
        assert_eq!(answer.item().components.as_ref().expect("components")["headline"], expected, "{age}");
        assert!(answer.item().degraded.is_empty());
    }
    let ahead = with(ask("anna", "home"), json!({"consistency_token": "v999", "deadline_ms": 50}));
    let answer = decided(&service, &ahead).await;
    assert_eq!(answer.item().degraded, ["token_not_reached"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_is_exact_on_one_replica() {
    let (service, _turn) = service().await;
    for user in ["anna", "never-seen-1"] {
        let decisions = (0..50).map(|_| {
            let (request, body) = (service.request(Method::POST, "/v1/decisions"), ask(user, "capped"));
            tokio::spawn(async move { read(request.json(&body).sent().await, 200).await })
        });
        let mut shown = 0;
        for decision in decisions.collect::<Vec<_>>() {
            let answer = Answer::of(&decision.await.expect("no panic"));
            shown += u32::from(answer.item().campaign.as_deref() == Some("once"));
        }
        assert_eq!(shown, 1, "{user}");
    }
    // within one request too
    let twice = json!({"placements": [
        {"id": "a", "placement": "capped"}, {"id": "b", "placement": "capped", "count": 3}
    ], "user": {"key": "ben"}});
    let answer = decided(&service, &twice).await;
    let shown = answer.placements.values().flatten().filter(|item| item.campaign.as_deref() == Some("once")).count();
    assert_eq!((answer.placements["b"].len(), shown), (3, 1));
    // and nobody who may not be counted sees it
    let anonymous = json!({"placements": [{"id": "top", "placement": "capped"}]});
    assert_eq!(decided(&service, &anonymous).await.item().campaign, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_explain_and_replay_what_was_decided() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let asked = with(
        json!({"placements": [{"id": "top", "placement": "home"}, {"id": "capped", "placement": "capped", "count": 2}],
               "user": {"key": "anna", "segments": ["vip"]}, "context": {"geo": {"country": "US"}}}),
        json!({"explain": "summary"}),
    );
    let text = service.request(Method::POST, "/v1/decisions").json(&asked).sent().await;
    let text = text.text().await.expect("a body");
    let answer = Answer::of(&serde_json::from_str(&text).expect("JSON"));
    let ids: Vec<_> = answer.placements.values().flatten().map(|item| item.decision_id).collect();
    assert_eq!(ids.len(), 3);
    // what happens later does not change what was decided
    service.patch("anna", &json!({"age": 3})).await;
    let get = |path: String| service.request(Method::GET, &path).sent();
    for id in &ids {
        until("the record is written", || async { get(format!("/v1/decisions/{id}")).await.status() == 200 }).await;
        let record = read(get(format!("/v1/decisions/{id}")).await, 200).await;
        assert_eq!(record["decision_id"], id.to_string());
        assert_eq!(record["catalog_version"], answer.catalog_version);
        assert!(!record.to_string().contains("anna"), "{record:#}");
        let why = read(get(format!("/v1/decisions/{id}/explanation")).await, 200).await;
        assert_eq!(why["candidates"].as_array().map(Vec::len), Some(4), "{why:#}");
        let replay = service.request(Method::POST, &format!("/v1/decisions/{id}/replay")).sent().await;
        let replay = replay.text().await.expect("a body");
        assert!(text.contains(&replay), "not byte for byte:\n{replay}\nin\n{text}");
    }
    // not sampled, unknown, erased
    let plain = decided(&service, &ask("anna", "home")).await.item().decision_id;
    for id in [plain.to_string(), uuid::Uuid::now_v7().to_string()] {
        read(get(format!("/v1/decisions/{id}")).await, 404).await;
    }
    read(get("/v1/decisions/rubbish".into()).await, 422).await;
    let erased = service.request(Method::DELETE, "/v1/profiles/anna").sent().await;
    assert!(erased.status().is_success());
    for path in ["", "/explanation"] {
        read(get(format!("/v1/decisions/{}{path}", ids[0])).await, 410).await;
    }
    let replay = service.request(Method::POST, &format!("/v1/decisions/{}/replay", ids[0])).sent().await;
    read(replay, 410).await;
}
