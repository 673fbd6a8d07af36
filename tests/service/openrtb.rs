//! `POST /openrtb2/bid` as exchanges see it.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    cluster,
    harness::{KEY, Patient as _, Service, read},
    lint::lint,
    places, service,
    signals::merge,
    turn,
};

fn request(price: &str) -> Value {
    json!({
        "id": "r-1", "site": {"page": "https://news.example/"}, "user": {"buyeruid": "anna"}, "tmax": 5_000,
        "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]}, "bidfloor": 1.0,
                 "ext": {"tessera": {"campaign": "spring", "price": price}}}]
    })
}

/// Asks, and has a linter look at what is bid.
async fn ask(service: &Service, path: &str, body: &Value) -> Response {
    let answer = service.request(Method::POST, path).json(body).sent().await;
    if answer.status().as_u16() != 200 || !path.starts_with("/openrtb2/bid") {
        return answer;
    }
    let bytes = answer.bytes().await.expect("a body");
    if bytes.windows(9).any(|part| part == b"\"seatbid\"") {
        lint(body.to_string().as_bytes(), &bytes);
    }
    axum::http::Response::new(bytes).into()
}

async fn metric(service: &Service, line: &str) -> u64 {
    let text = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    let found = text.lines().find_map(|of| of.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bid_is_made_for_the_person() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let answer = read(ask(&service, "/openrtb2/bid", &request("1.50")).await, 200).await;
    assert_eq!((&answer["id"], &answer["cur"]), (&json!("r-1"), &json!("USD")));
    let bid = &answer["seatbid"][0]["bid"][0];
    assert_eq!(bid["price"], json!(1.5));
    assert_eq!((&bid["w"], &bid["h"], &bid["mtype"]), (&json!(300), &json!(250), &json!(1)));
    assert!(bid["adm"].as_str().expect("markup").contains("Hello, grown-up"), "{bid}");
    assert_eq!(bid["crid"], "spring.1.300x250");
    // the child of the same house
    service.patch("ben", &json!({"age": 9})).await;
    let mut asked = request("1.50");
    asked["user"]["buyeruid"] = json!("ben");
    let answer = read(ask(&service, "/openrtb2/bid", &asked).await, 200).await;
    assert!(!answer.to_string().contains("grown-up"), "{answer}");
    // and whoever opted out, also where their browser alone says so
    for (signal, value, hears) in [("sec-gpc", "1", true), ("dnt", "1", true), ("dnt", "0", false)] {
        let objecting = service.request(Method::POST, "/openrtb2/bid").header(signal, value).json(&request("1.50"));
        let answer = read(objecting.sent().await, 200).await;
        lint(request("1.50").to_string().as_bytes(), answer.to_string().as_bytes());
        assert_eq!(answer.to_string().contains("grown-up"), !hears, "{signal} {value}: {answer}");
        let used = answer["ext"]["tessera"]["purposes_used"].as_array().expect("purposes");
        assert_eq!(used.is_empty(), hears, "{signal} {value}: {answer}");
    }
    asked = request("1.50");
    asked["regs"] = json!({"us_privacy": "1YYN"});
    let answer = read(ask(&service, "/openrtb2/bid", &asked).await, 200).await;
    assert!(!answer.to_string().contains("grown-up"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transport_is_what_exchanges_expect() {
    let (service, _turn) = service().await;
    // text/plain, a key in the address, the version echoed
    let path = format!("{}/openrtb2/bid", service.base);
    let sent = service.http.post(format!("{path}?key={KEY}")).header("content-type", "text/plain");
    let sent = sent.header("x-openrtb-version", "2.6").body(request("1.50").to_string()).sent().await;
    assert_eq!(sent.status().as_u16(), 200);
    assert_eq!(sent.headers()["x-openrtb-version"], "2.6");
    for (key, status) in [("nobody", 401), ("", 401)] {
        let sent = service.http.post(format!("{path}?key={key}")).body(request("1.50").to_string()).sent().await;
        assert_eq!(sent.status().as_u16(), status, "{key}");
    }
    // no bid: 204 with nothing, or why
    let low = request("0.50");
    let none = ask(&service, "/openrtb2/bid", &low).await;
    assert_eq!((none.status().as_u16(), none.bytes().await.expect("a body").len()), (204, 0));
    // what else stands in the address is the exchange's own
    let why = read(ask(&service, "/openrtb2/bid?nbr=1&dc=eu&v=", &low).await, 200).await;
    assert_eq!(why, json!({"id": "r-1", "nbr": 504}));
    // refused: 400 with nothing, counted
    for _ in 0..3 {
        let refused = ask(&service, "/openrtb2/bid", &json!({"id": "r", "imp": []})).await;
        assert_eq!((refused.status().as_u16(), refused.bytes().await.expect("a body").len()), (400, 0));
    }
    assert_eq!(metric(&service, "tessera_bid_refusals_total{reason=\"imp\"}").await, 3);
    assert_eq!(metric(&service, "tessera_bids_total{reason=\"floor\"}").await, 2);
    assert_eq!(metric(&service, "tessera_bids_total{reason=\"bid\"}").await, 1);
    // gzip both ways
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(request("1.50").to_string().as_bytes()).expect("memory");
    let sent = service.request(Method::POST, "/openrtb2/bid").header("content-encoding", "gzip");
    let sent = sent.header("accept-encoding", "br, GZIP;q=0.5").body(zipped.finish().expect("memory")).sent().await;
    assert_eq!(sent.status().as_u16(), 200);
    assert_eq!(sent.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&sent.bytes().await.expect("a body")[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["id"], "r-1");
    let broken = service.request(Method::POST, "/openrtb2/bid").header("content-encoding", "gzip").body("{}").sent();
    assert_eq!(broken.await.status().as_u16(), 400);
}

/// The golden requests that must be refused, each with the reason that counts it.
fn refused() -> Vec<(String, String, Vec<u8>)> {
    let (cases, told) = (include_str!("../openrtb/refused.json"), include_str!("../openrtb/refused.expected.json"));
    let group: Value = serde_json::from_str(cases).expect("JSON");
    let told: Value = serde_json::from_str(told).expect("JSON");
    let cases = group["cases"].as_array().expect("cases").iter();
    let body = |case: &Value| match case["raw"].as_str() {
        Some(raw) => raw.to_owned(),
        None => {
            let mut request = group["base"].clone();
            merge(&mut request, &case["change"]);
            request.to_string()
        }
    };
    let all = cases.map(|case| {
        let what = case["what"].as_str().expect("what it is").to_owned();
        let reason = told[&what]["refused"].as_str().unwrap_or_else(|| panic!("{what} is refused")).to_owned();
        (what, reason, body(case).into_bytes())
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_malformed_request_is_refused_without_a_word_and_counted_by_its_reason() {
    let (service, _turn) = service().await;
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for (what, reason, body) in refused() {
        let asked = service.request(Method::POST, "/openrtb2/bid").header("content-type", "application/json");
        let answer = asked.header("x-openrtb-version", "2.6").body(body).sent().await;
        assert_eq!(answer.status().as_u16(), 400, "{what}");
        assert_eq!(answer.headers()["x-openrtb-version"], "2.6", "{what}");
        assert_eq!(answer.bytes().await.expect("a body").len(), 0, "{what}");
        *counts.entry(reason).or_default() += 1;
    }
    let all = tessera::domain::openrtb::Refusal::ALL.map(|(_, name)| name);
    for name in all {
        let count = counts.get(name).copied().unwrap_or_default();
        assert!(count >= 3, "{name}: {count} cases");
        let line = format!("tessera_bid_refusals_total{{reason=\"{name}\"}}");
        assert_eq!(metric(&service, &line).await, count, "{name}");
    }
    assert_eq!(counts.len(), all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_odd_is_answered() {
    let (service, _turn) = service().await;
    let odd = [
        ("a consent string of nothing", json!({"regs": {"gdpr": 0}, "user": {"consent": ""}})),
        ("one that is junk", json!({"regs": {"gdpr": 0}, "user": {"consent": "!!!\u{1f}\u{1f600}"}})),
        (
            "one that is junk in its older place",
            json!({"regs": {"ext": {"gdpr": 0}}, "user": {"ext": {"consent": "CP~"}}}),
        ),
        ("one of 20 KB", json!({"regs": {"gdpr": 0}, "user": {"consent": "C".repeat(20_000)}})),
        ("a GPP string that is none", json!({"regs": {"gpp": "~~~~", "gpp_sid": [7]}})),
        ("sections that there are not", json!({"regs": {"gpp": "DBAA", "gpp_sid": [-1, 999]}})),
        ("a US string that is none", json!({"regs": {"us_privacy": "yes"}})),
        ("eids that are a text", json!({"user": {"eids": "no"}})),
        ("eids that are numbers", json!({"user": {"eids": [1, 2]}})),
        ("eids without ids", json!({"user": {"eids": [{"source": "ids.example"}, {"uids": [{}]}]}})),
        ("an id that is a number", json!({"user": {"eids": [{"source": "ids.example", "uids": [{"id": 7}]}]}})),
        ("an address of a private network", json!({"device": {"ip": "10.0.0.1"}})),
        ("an address that is none", json!({"device": {"ip": "300.1.2.3", "ipv6": "::g"}})),
        ("one that is empty", json!({"device": {"ip": "", "ipv6": ""}})),
        ("members that nobody knows", json!({"zebra": {"x": [1]}, "at": 99, "user": {"stripes": 7}})),
    ];
    for (what, change) in odd {
        let mut asked = request("1.50");
        merge(&mut asked, &change);
        let answer = ask(&service, "/openrtb2/bid", &asked).await;
        let status = answer.status().as_u16();
        assert_eq!(status, 200, "{what}: {}", answer.text().await.expect("a body"));
    }
    // where the string must hold, one that does not is a bid for nobody, not a fault
    for consent in [json!(""), json!("junk"), json!("C".repeat(20_000))] {
        let mut asked = request("1.50");
        merge(&mut asked, &json!({"regs": {"gdpr": 1}, "user": {"consent": consent}}));
        assert_eq!(ask(&service, "/openrtb2/bid", &asked).await.status().as_u16(), 204);
    }
    let text = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    let refused = text.lines().filter(|line| line.starts_with("tessera_bid_refusals_total"));
    assert!(refused.clone().count() > 0 && refused.clone().all(|line| line.ends_with(" 0")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_tries_again_is_billed_once() {
    let (service, _turn) = service().await;
    let answer = read(ask(&service, "/openrtb2/bid", &request("1.50")).await, 200).await;
    let bid = answer["seatbid"][0]["bid"][0].clone();
    let told = |name: &str, price: &str| {
        let url = bid[name].as_str().expect("a URL").replace("${AUCTION_PRICE}", price);
        url.replace("${AUCTION_CURRENCY}", "USD")
    };
    assert_eq!(service.beacon(&told("burl", "1.23")).await, (200, "recorded".into()));
    for price in ["1.23", "1.24", "", "AUDIT", "$%7BAUCTION_PRICE%7D", "1", "2", "3", "4", "5"] {
        assert_eq!(service.beacon(&told("burl", price)).await, (200, "duplicate".into()), "{price}");
    }
    assert_eq!(service.beacon(&told("nurl", "AUDIT")).await, (200, "recorded".into()));
    assert_eq!(service.beacon(&told("lurl", "")).await, (200, "recorded".into()));
    // a token opens one kind only
    let crossed = told("nurl", "1").replace("/v1/w/", "/v1/b/");
    assert_eq!(service.beacon(&crossed).await, (200, "invalid".into()));
    // what is only tried out is never billed
    let mut test = request("1.50");
    test["test"] = json!(1);
    let answer = read(ask(&service, "/openrtb2/bid", &test).await, 200).await;
    let burl = answer["seatbid"][0]["bid"][0]["burl"].as_str().expect("a URL").to_owned();
    assert_eq!(service.beacon(&burl).await, (200, "unknown".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_still_be_seen_uses_up_a_cap() {
    let (service, _turn) = service().await;
    let campaign = json!({
        "name": "Capped", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "frequency_caps": [{"impressions": 1, "per": "P1D"}]
    });
    service.put("/v1/campaigns/one-a-day", &campaign).await;
    let bid = async |more: Value| {
        let mut asked = request("1.50");
        asked["imp"][0]["ext"]["tessera"]["campaign"] = json!("one-a-day");
        merge(&mut asked, &more);
        let mut answer = read(ask(&service, "/openrtb2/bid?nbr=1", &asked).await, 200).await;
        match answer["nbr"].as_u64() {
            Some(why) => Err(why),
            None => Ok(answer["seatbid"][0]["bid"][0].take()),
        }
    };
    let tell = async |bid: &Value, name: &str| {
        let url = bid[name].as_str().expect("an address").to_owned();
        assert_eq!(service.beacon(&url).await, (200, "recorded".into()));
    };
    let first = bid(json!({})).await.expect("a bid");
    assert_eq!(bid(json!({})).await, Err(9), "its auction is under way");
    tell(&first, "lurl").await;
    let second = bid(json!({})).await.expect("the first lost");
    // what is not bid after all holds nothing: its markup is not what the impression takes
    tell(&second, "lurl").await;
    assert_eq!(
        bid(json!({"imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}], "btype": [2]},
        "ext": {"tessera": {"campaign": "one-a-day", "price": "1.50"}}}]}))
        .await,
        Err(508)
    );
    let third = bid(json!({})).await.expect("nothing is reserved");
    tell(&third, "nurl").await;
    let adm = third["adm"].as_str().expect("markup");
    let at = adm.find("/v1/i/").expect("an impression");
    let path = adm[at..].split('"').next().expect("its end");
    assert_eq!(service.beacon(&format!("{}{path}", service.base)).await, (200, "recorded".into()));
    assert_eq!(bid(json!({})).await, Err(9), "it was seen");
    tell(&third, "lurl").await;
    assert_eq!(bid(json!({})).await, Err(9), "whatever is said of the auction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_tries_again_elsewhere_is_billed_once() {
    let _turn = turn(2).await;
    let database = cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let answer = read(ask(&a, "/openrtb2/bid", &request("1.50")).await, 200).await;
    let burl = answer["seatbid"][0]["bid"][0]["burl"].as_str().expect("a URL").to_owned();
    let there = burl.replace(&a.base, &b.base);
    let mut tries = tokio::task::JoinSet::new();
    for at in 0..10 {
        let (replica, url) = if at % 2 == 0 { (&a, &burl) } else { (&b, &there) };
        let (remote, url) = (replica.remote.clone(), url.clone());
        tries.spawn(async move { remote.beacon(&url).await });
    }
    let told = tries.join_all().await;
    let recorded = told.iter().filter(|(_, outcome)| outcome == "recorded").count();
    assert_eq!(recorded, 1, "{told:?}");
    assert!(
        told.iter().all(|(status, outcome)| *status == 200 && (outcome == "recorded" || outcome == "duplicate")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creative_that_no_campaign_lists_is_bid_for_its_advertiser() {
    let (service, _turn) = service().await;
    let mut asked = request("1.50");
    asked["imp"][0]["banner"] = json!({"w": 728, "h": 90});
    asked["imp"][0]["ext"]["tessera"] = json!({"creative": "house", "price": "1.50"});
    let answer = read(ask(&service, "/openrtb2/bid", &asked).await, 200).await;
    assert_eq!(answer["seatbid"][0]["bid"][0]["cid"], "northwind", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_others_lead_to_the_person() {
    let _turn = turn(1).await;
    let sources = |config: &mut tessera::config::Config| config.openrtb.eid_sources = vec!["ids.example".into()];
    let service = Service::start(&cluster().await.database().await, sources).await;
    service.patch("anna", &json!({"age": 34})).await;
    let markup = async |id: &str| {
        let mut asked = request("1.50");
        asked["user"] = json!({"eids": [{"source": "ids.example", "uids": [{"id": id}]}]});
        let answer = read(ask(&service, "/openrtb2/bid", &asked).await, 200).await;
        answer["seatbid"][0]["bid"][0]["adm"].as_str().expect("markup").to_owned()
    };
    assert!(!markup("a1").await.contains("grown-up"));
    let several = async |user: Value| {
        let mut asked = request("1.50");
        asked["user"] = user;
        let answer = read(ask(&service, "/openrtb2/bid", &asked).await, 200).await;
        answer["seatbid"][0]["bid"][0]["adm"].as_str().expect("markup").contains("grown-up")
    };
    let told = json!({"user": "anna", "source": "IDS.example", "id": "a1"});
    let told = read(ask(&service, "/v1/sync", &told).await, 200).await;
    assert_eq!((&told["user"], &told["merged_into"]), (&json!("eid:ids.example:a1"), &json!("anna")));
    assert!(markup("a1").await.contains("grown-up"));
    // of several names the first one that is known
    let eids = json!([{"source": "other.example", "uids": [{"id": "a1"}]},
        {"source": "ids.example", "uids": [{"id": "nobody"}, {"id": "a1"}]}]);
    assert!(several(json!({"buyeruid": "nobody", "eids": eids})).await);
    service.patch("child", &json!({"age": 9})).await;
    assert!(!several(json!({"buyeruid": "child", "eids": eids})).await, "the exchange's own name goes first");
    assert!(
        !several(json!({"buyeruid": "nobody", "eids": [{"source": "other.example", "uids": [{"id": "a1"}]}]})).await
    );
    read(ask(&service, "/v1/sync", &json!({"user": "anna", "source": "", "id": "a1"})).await, 422).await;
    read(ask(&service, "/v1/sync", &json!({"user": "ben", "source": "ids.example", "id": "a1"})).await, 409).await;
    // by pixel: whom a token names, where nothing forbids it
    let token = read(ask(&service, "/v1/profiles/anna/token", &json!({"ttl_seconds": 60})).await, 200).await;
    let token = token["user_token"].as_str().expect("a token").to_owned();
    let pixel = async |token: &str, more: &str| {
        let path = format!("/v1/sync.gif?account=default&user_token={token}&source=ids.example&id=a2{more}");
        let answer = service.http.get(format!("{}{path}", service.base)).sent().await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "image/gif");
        answer.headers()["tessera-sync"].to_str().expect("ASCII").to_owned()
    };
    for (token, more) in [("junk", ""), (&*token, "&gdpr=1"), (&*token, "&us_privacy=1YYN"), (&*token, "&gpp=junk")] {
        assert_eq!(pixel(token, more).await, "refused", "{more}");
    }
    assert!(!markup("a2").await.contains("grown-up"));
    assert_eq!(pixel(&token, "&cachebuster=7").await, "accepted");
    assert!(markup("a2").await.contains("grown-up"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchanges_own_id_leads_to_the_visitor_whom_its_pixel_named() {
    let _turn = turn(1).await;
    let service = Service::start(&cluster().await.database().await, |_| {}).await;
    let (visitor, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    service.patch(&format!("web:{visitor}"), &json!({"age": 34})).await;
    let greets = async |exchange: &str, buyer: &str| {
        let mut asked = request("1.50");
        asked["user"] = json!({ "buyeruid": buyer });
        let answer = read(ask(&service, &format!("/openrtb2/bid?exchange={exchange}"), &asked).await, 200).await;
        answer["seatbid"][0]["bid"][0]["adm"].as_str().expect("markup").contains("grown-up")
    };
    let pixel = async |more: &str| {
        let id = if more.contains("id=") { "" } else { "&id=b1" };
        let path = format!("/v1/sync.gif?account=default&source=adx{id}&{more}");
        let answer = service.http.get(format!("{}{path}", service.base)).sent().await;
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].as_bytes()), (200, &b"image/gif"[..]));
        answer.headers()["tessera-sync"].to_str().expect("ASCII").to_owned()
    };
    let named = format!("visitor={visitor}");
    for refused in [
        "",
        "visitor=anna",
        "visitor=",
        &format!("{named}&gpc=1"),
        &format!("{named}&gpc=%24%7BGPC%7D"),
        &format!("{named}&user_token=junk"),
    ] {
        assert_eq!(pixel(refused).await, "refused", "{refused}");
    }
    assert!(!greets("adx", "b1").await);
    assert_eq!(pixel(&format!("{named}&gpc=0")).await, "accepted");
    assert_eq!(pixel(&named).await, "accepted", "again");
    assert_eq!(pixel(&format!("visitor={other}")).await, "refused", "it is somebody's");
    assert!(greets("adx", "b1").await);
    assert!(!greets("other", "b1").await, "another exchange calls somebody else so");
    // who is known by an id cannot be taken by whoever makes up a visitor; who was only counted can
    service.patch("eid:adx:b2", &json!({"age": 34})).await;
    assert_eq!(pixel(&format!("visitor={other}&id=b2")).await, "refused");
    assert!(greets("adx", "b2").await);
    // the account's own name goes first
    service.patch("b1", &json!({"age": 9})).await;
    assert!(!greets("adx", "b1").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_law_of_a_page_that_asks_itself_is_that_of_its_reader() {
    let _turn = turn(1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("city.mmdb");
    std::fs::write(&file, places::database([127, 0, 0])).expect("a file");
    let service = Service::start(&cluster().await.database().await, |config| {
        config.openrtb.origins = vec!["https://news.example".into()];
        config.geo.database = Some(file);
    })
    .await;
    service.patch("b1", &json!({"age": 34})).await;
    let greets = async |origin: &str, regs: Value| {
        let mut asked = request("1.50");
        asked["user"] = json!({"buyeruid": "b1"});
        asked["regs"] = regs;
        let sent = service.request(Method::POST, "/openrtb2/bid").header("origin", origin).json(&asked);
        let answer = sent.sent().await;
        (answer.status().as_u16(), answer.text().await.expect("a body").contains("grown-up"))
    };
    // an exchange says where people are; a page that asks itself is where its reader is, in Germany
    assert_eq!(greets("https://exchange.example", json!({})).await, (200, true));
    assert_eq!(greets("https://news.example", json!({})).await, (204, false));
    assert_eq!(greets("https://news.example", json!({"gdpr": 0})).await, (200, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_the_settings_name_ask_for_bids_themselves() {
    let _turn = turn(1).await;
    let origins = |config: &mut tessera::config::Config| config.openrtb.origins = vec!["https://news.example".into()];
    let service = Service::start(&cluster().await.database().await, origins).await;
    let url = format!("{}/openrtb2/bid?key={KEY}", service.base);
    for (origin, may) in [("https://news.example", true), ("https://news.example.evil", false), ("null", false)] {
        let preflight = service.http.request(Method::OPTIONS, &url).header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "POST").sent().await;
        assert_eq!(preflight.status().as_u16(), if may { 204 } else { 403 }, "{origin}");
        let mut answers = vec![preflight];
        let texts = [
            request("1.50").to_string(),
            "{}".to_owned(),
            json!({"id": "1", "imp": [{"id": "1", "banner": {}}]}).to_string(),
        ];
        for (text, status) in texts.into_iter().zip([200, 400, 204]) {
            // as Prebid.js sends it: no preflight comes before plain text
            let sent = service.http.post(&url).header("origin", origin).header("content-type", "text/plain");
            let answer = sent.body(text).sent().await;
            assert_eq!(answer.status().as_u16(), status, "{origin}");
            answers.push(answer);
        }
        for answer in answers {
            let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
            assert_eq!(said("access-control-allow-origin"), may.then(|| origin.to_owned()), "{origin}");
            assert_eq!(said("access-control-allow-credentials"), may.then(|| "true".to_owned()), "{origin}");
            assert_eq!(said("vary"), may.then(|| "origin".to_owned()), "{origin}");
        }
    }
}
