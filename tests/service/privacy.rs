//! Bids, tags and late frames over HTTP, each for two people: without consent they differ in nothing, and nobody is
//! looked for.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cluster,
    harness::{Patient as _, Service, read},
    lint::lint,
    places,
    signals::{CONSENTING, NO_PROFILES},
    turn,
};

/// Our number on the Global Vendor List.
const VENDOR: u16 = 733;

/// A service with a grown-up and a child, and a token for each, who may see one campaign at most once a day.
async fn service() -> (Service, [String; 2], tokio::sync::SemaphorePermit<'static>) {
    let turn = turn(1).await;
    let database = cluster().await.database().await;
    let service = Service::start(&database, |config| {
        config.privacy.vendor_id = Some(VENDOR);
        config.openrtb.contextual_without_consent = true;
    })
    .await;
    let mut tokens = Vec::new();
    for (user, age) in [("anna", 34), ("ben", 9)] {
        service.patch(user, &json!({"age": age, "city": "Berlin"})).await;
        let made = service.request(Method::POST, &format!("/v1/profiles/{user}/token"));
        let made: Value = read(made.json(&json!({"ttl_seconds": 600})).sent().await, 200).await;
        tokens.push(made["user_token"].as_str().expect("a token").to_owned());
    }
    let campaign = json!({
        "name": "Capped", "advertiser": "northwind", "status": "active", "creatives": ["spring"],
        "landing_url": "https://northwind.example/", "frequency_caps": [{"impressions": 1, "per": "P1D"}]
    });
    service.put("/v1/campaigns/one-a-day", &campaign).await;
    (service, tokens.try_into().expect("two"), turn)
}

/// How often people were looked for, in memory or in the store.
async fn reads(service: &Service) -> u64 {
    let text = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    let counts = text.lines().filter(|line| line.starts_with("tessera_user_"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// A text without our signed tokens.
pub(crate) fn unsigned(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/v1/").map(|at| at + 4) {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_/".contains(c));
    }
    out + rest
}

/// What an exchange hears of a bid for somebody, but for its ids; and the bid.
async fn bid(service: &Service, query: &str, user: &str, campaign: &str, more: &Value) -> (String, Value) {
    let mut asked = json!({
        "id": "r-1", "site": {"page": "https://news.example/"}, "tmax": 5_000,
        "user": {"buyeruid": user}, "device": {"geo": {"country": "USA"}},
        "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]},
                 "ext": {"tessera": {"campaign": campaign, "price": "1.50"}}}]
    });
    for (name, members) in more.as_object().expect("an object") {
        let own = asked.as_object_mut().expect("an object").entry(name).or_insert_with(|| json!({}));
        own.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    }
    let sent = service.request(Method::POST, &format!("/openrtb2/bid?nbr=1{query}")).json(&asked).sent().await;
    let mut answer = read(sent, 200).await;
    if !answer["seatbid"].is_array() {
        return (answer.to_string(), Value::Null);
    }
    lint(asked.to_string().as_bytes(), answer.to_string().as_bytes());
    let bid = answer["seatbid"][0]["bid"][0].clone();
    (answer["bidid"], answer["seatbid"][0]["bid"][0]["id"]) = (Value::Null, Value::Null);
    (unsigned(&answer.to_string()), bid)
}

/// What a browser gets at an address, without our tokens.
pub(crate) async fn load(service: &Service, url: &str, header: &str) -> String {
    let asked = service.http.get(url);
    let answer = if header.is_empty() { asked } else { asked.header(header, "1") }.sent().await;
    assert_eq!(answer.status().as_u16(), 200, "{url}");
    unsigned(&answer.text().await.expect("a body"))
}

/// The address of the frame that was bid.
pub(crate) fn frame(bid: &Value) -> String {
    let markup = bid["adm"].as_str().expect("markup");
    let (_, rest) = markup.split_once("src=\"").unwrap_or_else(|| panic!("no frame: {markup}"));
    rest.split_once('"').expect("an end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_on_the_wire_depends_on_the_person_without_consent_and_nobody_is_looked_for() {
    let (service, [anna, ben], _turn) = service().await;
    let forbidding = [
        json!({"regs": {"gdpr": 1}}),
        json!({"regs": {"ext": {"gdpr": 1}}, "user": {"ext": {"consent": "CQjunk"}}}),
        json!({"regs": {"gpp_sid": [7]}}),
        json!({"regs": {"ext": {"gpp_sid": ["7"]}}}),
        json!({"regs": {"us_privacy": "1YYN"}}),
        json!({"regs": {"ext": {"us_privacy": 1}}}),
        json!({"regs": {"coppa": 1, "gdpr": 1}, "user": {"consent": CONSENTING}}),
        json!({"regs": {"ext": {"gpc": "1"}}}),
        json!({"device": {"dnt": 1}}),
        json!({"device": {"lmt": 1}, "user": {"consent": CONSENTING}}),
        json!({"device": {"geo": {"country": "DEU"}}}),
    ];
    let of_tags = [
        ("gdpr=1", ""),
        ("gdpr=1&gdpr_consent=CQjunk", ""),
        ("us_privacy=1YYN", ""),
        ("gpp=junk", ""),
        ("coppa=1", ""),
        ("cb=1", "dnt"),
        ("cb=1", "sec-gpc"),
    ];
    let before = reads(&service).await;
    let mut frames = Vec::new();
    for _ in 0..8 {
        for signals in &forbidding {
            let first = bid(&service, "", "anna", "spring", signals).await;
            let second = bid(&service, "", "ben", "spring", signals).await;
            assert!(first.1.is_object() && !first.0.contains("grown-up"), "{signals}: {}", first.0);
            assert_eq!(first.0, second.0, "{signals}");
            let first = bid(&service, "&render=late", "anna", "spring", signals).await.1;
            let second = bid(&service, "&render=late", "ben", "spring", signals).await.1;
            let shown = load(&service, &frame(&first), "").await;
            assert!(shown.contains("Hello"), "{signals}: {shown}");
            assert_eq!(shown, load(&service, &frame(&second), "").await, "{signals}");
        }
        for (query, header) in of_tags {
            let tag = |token: &str| {
                format!("{}/v1/tags/default/c/spring.html?{query}&size=300x250&user_token={token}", service.base)
            };
            let shown = load(&service, &tag(&anna), header).await;
            assert!(shown.contains("Hello") && !shown.contains("grown-up"), "{query} {header}: {shown}");
            assert_eq!(shown, load(&service, &tag(&ben), header).await, "{query} {header}");
        }
    }
    assert_eq!(reads(&service).await, before, "nobody was looked for");
    // the same people where nothing forbids it: everything differs
    let first = bid(&service, "", "anna", "spring", &json!({})).await;
    assert_ne!(first.0, bid(&service, "", "ben", "spring", &json!({})).await.0);
    for user in ["anna", "ben"] {
        frames.push(frame(&bid(&service, "&render=late", user, "spring", &json!({})).await.1));
    }
    // a browser that objects by now is heard, by either of its signals
    for header in ["dnt", "sec-gpc"] {
        let shown = load(&service, &frames[0], header).await;
        assert!(!shown.contains("grown-up"), "{header}: {shown}");
    }
    assert!(load(&service, &frames[0], "").await.contains("grown-up"));
    assert!(!load(&service, &frames[1], "").await.contains("grown-up"));
    let tag = format!("{}/v1/tags/default/c/spring.html?size=300x250&user_token={anna}", service.base);
    assert!(load(&service, &tag, "").await.contains("grown-up"));
    assert!(reads(&service).await > before);
}

/// A city is too near to somebody who has not consented, whoever says it: the request or the network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_consent_nobody_is_in_a_city() {
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let places = folder.path().join("city.mmdb");
    std::fs::write(&places, places::database([127, 0, 0])).expect("a file");
    let service = Service::start(&database, |config| {
        config.privacy.vendor_id = Some(VENDOR);
        config.openrtb.contextual_without_consent = true;
        config.geo.database = Some(places);
    })
    .await;
    service.put("/v1/placements/cities", &json!({"name": "Cities", "sizes": ["300x250"], "formats": ["html"]})).await;
    for (name, condition) in [
        ("city", json!({"context": "geo.city", "eq": "Berlin"})),
        ("region", json!({"context": "geo.region", "eq": "BE"})),
    ] {
        let campaign = json!({
            "name": name, "advertiser": "northwind", "status": "active", "creatives": ["fallback"], "placements": ["cities"],
            "landing_url": format!("https://northwind.example/{name}"), "targeting": condition,
            "priority": if name == "city" { 1 } else { 2 }
        });
        service.put(&format!("/v1/campaigns/{name}"), &campaign).await;
    }
    let consented = format!("gdpr=1&gdpr_consent={CONSENTING}");
    for (query, header, expected) in
        [(&*consented, "", "city"), ("cb=1", "", "region"), ("gdpr=1", "", "region"), (&consented, "sec-gpc", "region")]
    {
        let url = format!("{}/v1/tags/default/cities.html?{query}", service.base);
        let asked = service.http.get(url);
        let asked = if header.is_empty() { asked } else { asked.header(header, "1") };
        let shown = asked.sent().await.text().await.expect("a body");
        let link = shown.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link").to_owned();
        let led = service.http.get(link).sent().await;
        let to = led.headers()["location"].to_str().expect("ASCII").to_owned();
        assert!(to.ends_with(expected), "{query} {header}: {to}");
    }
    for (signals, expected) in [
        (json!({"gdpr": true, "tcf": CONSENTING}), "city"),
        (json!({"gdpr": true}), "region"),
        (json!({"gpc": true}), "region"),
    ] {
        for geo in [json!({"country": "DE", "region": "BE", "city": "Berlin"}), json!({})] {
            let body = json!({"placements": [{"id": "top", "placement": "cities"}], "consent": signals,
                              "context": {"geo": geo, "ip": "127.0.0.9"}});
            let item = service.decide(&body).await["placements"]["top"][0].take();
            assert_eq!(item["campaign"], expected, "{body}");
        }
    }
    for device in
        [json!({"geo": {"country": "DEU", "region": "BE", "city": "Berlin"}}), json!({"geo": {}, "ip": "127.0.0.9"})]
    {
        let more = |consent: Value| json!({"regs": {"gdpr": 1}, "user": consent, "device": device});
        let (told, some) = bid(&service, "", "anna", "city", &more(json!({"consent": CONSENTING}))).await;
        assert!(some.is_object(), "{told}");
        let (told, none) = bid(&service, "", "anna", "city", &more(json!({}))).await;
        assert!(none.is_null(), "{told}");
        assert!(bid(&service, "", "anna", "region", &more(json!({}))).await.1.is_object());
    }
}

/// Purposes 1 and 2 without 4: a person's caps may be asked, and are all that is handed on of what is kept of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_caps_may_be_asked_nothing_else_makes_a_difference() {
    let (service, _, _turn) = service().await;
    let some = json!({"regs": {"gdpr": 1}, "user": {"consent": NO_PROFILES}});
    for _ in 0..40 {
        let (first, second) =
            (bid(&service, "", "anna", "spring", &some).await, bid(&service, "", "ben", "spring", &some).await);
        assert!(first.1.is_object() && !first.0.contains("grown-up"), "{}", first.0);
        assert_eq!(first.0, second.0);
        let (first, second) = (
            bid(&service, "&render=late", "anna", "spring", &some).await,
            bid(&service, "&render=late", "ben", "spring", &some).await,
        );
        assert_eq!(load(&service, &frame(&first.1), "").await, load(&service, &frame(&second.1), "").await);
    }
    let (told, capped) = bid(&service, "", "anna", "one-a-day", &some).await;
    assert!(capped.is_object(), "{told}");
    let markup = capped["adm"].as_str().expect("markup");
    let path = markup[markup.find("/v1/i/").expect("an impression")..].split('"').next().expect("an end");
    assert_eq!(service.beacon(&format!("{}{path}", service.base)).await, (200, "recorded".into()));
    assert_eq!(bid(&service, "", "anna", "one-a-day", &some).await.0, json!({"id": "r-1", "nbr": 9}).to_string());
    assert!(bid(&service, "", "ben", "one-a-day", &some).await.1.is_object(), "he has not seen it");
}
