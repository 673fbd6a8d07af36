//! Videos as players, ad servers and exchanges get them.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    harness::{KEY, Patient as _, Service, ask, read},
    lint::lint,
    turn,
};

fn film(name: &str, seconds: u32) -> Value {
    json!({"duration_ms": seconds * 1_000, "files": [
        {"src": format!("https://cdn.northwind.example/{name}.mp4"), "type": "video/mp4", "width": 1280, "height": 720,
         "bitrate_kbps": 1500}
    ]})
}

pub(crate) fn template() -> Value {
    json!({
        "name": "Spot", "format": "vast",
        "slots": {"film": {"type": "video", "default": film("walk", 15)}, "headline": {"type": "text", "default": "Hello"}},
        "vast": {"video": "film", "title": "headline", "companions": [
            {"size": "300x250", "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"}
        ]}
    })
}

/// A service with a spot: adults get a longer film and words of their own.
async fn with_spot() -> (Service, tokio::sync::SemaphorePermit<'static>) {
    let turn = turn(1).await;
    let service = Service::start(&crate::cluster().await.database().await, |_| {}).await;
    service.put("/v1/templates/spot", &template()).await;
    service.put("/v1/creatives/spot", &json!({"name": "Spot", "advertiser": "northwind", "templates": ["spot"]})).await;
    for (id, slot, value) in [("grown", "headline", json!("Hello, grown-up")), ("long", "film", film("run", 30))] {
        let component = json!({"slot": slot, "value": value, "targeting": {"segment": "adults"}});
        service.put(&format!("/v1/creatives/spot/components/{id}"), &component).await;
    }
    let publish = service.request(Method::POST, "/v1/creatives/spot/publish").json(&json!({}));
    read(publish.sent().await, 200).await;
    for placement in ["show", "empty"] {
        let document = json!({"name": placement, "formats": ["vast"]});
        service.put(&format!("/v1/placements/{placement}"), &document).await;
    }
    let campaign = json!({
        "name": "Spot", "advertiser": "northwind", "status": "active", "creatives": ["spot"], "placements": ["show"],
        "landing_url": "https://northwind.example/spot"
    });
    service.put("/v1/campaigns/spot", &campaign).await;
    service.patch("anna", &json!({"age": 34})).await;
    (service, turn)
}

/// What stands between the CDATA marks of an element with this beginning, each time.
fn addresses(vast: &str, element: &str) -> Vec<String> {
    let head = format!("<{element}><![CDATA[");
    vast.split(&head).skip(1).map(|rest| rest.split("]]>").next().expect("an end").to_owned()).collect()
}

fn sound(vast: &str) {
    let found = vastlint_core::validate(vast);
    assert!(found.summary.is_valid(), "{:#?}\n{vast}", found.issues);
}

/// Bids, at which linters have looked.
async fn bids(service: &Service, asked: &Value) -> Value {
    let sent = service.request(Method::POST, "/openrtb2/bid").json(asked).sent().await;
    let answer = read(sent, 200).await;
    lint(asked.to_string().as_bytes(), answer.to_string().as_bytes());
    answer
}

async fn text(answer: Response) -> String {
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("a body")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_shows_each_person_their_film_and_tells_of_it() {
    let (service, _turn) = with_spot().await;
    let item = service.item("anna", "show").await;
    assert_eq!((&item["status"], &item["format"]), (&json!("filled"), &json!("vast")), "{item:#}");
    assert_eq!(item["components"], json!({"film": "long", "headline": "grown"}));
    let vast = item["markup"].as_str().expect("markup");
    sound(vast);
    assert!(
        vast.contains("version=\"4.2\"") && vast.contains("/run.mp4") && vast.contains("Hello, grown-up"),
        "{vast}"
    );
    // each event at its own address, once
    let one = |element: &str| addresses(vast, element).remove(0);
    assert_eq!(one("Impression"), item["impression_url"]);
    let events = ["start", "firstQuartile", "midpoint", "thirdQuartile", "complete"];
    let mut doors: Vec<_> = events.iter().map(|event| one(&format!("Tracking event=\"{event}\""))).collect();
    doors.extend([
        one("Impression"),
        one("Viewable"),
        one("ClickTracking"),
        one("Error").replace("[ERRORCODE]", "405"),
    ]);
    for door in &doors {
        assert_eq!(service.beacon(door).await, (200, "recorded".into()), "{door}");
        assert_eq!(service.beacon(door).await, (200, "duplicate".into()), "{door}");
    }
    // and at no other
    let swapped = doors[0].replace("/start", "/complete");
    assert_eq!(service.beacon(&swapped).await, (200, "invalid".into()));
    assert_eq!(service.beacon(&doors[0].replace("/start", "/rewind")).await, (200, "invalid".into()));
    let through = service.http.get(one("ClickThrough")).sent().await;
    assert_eq!(
        (through.status().as_u16(), &through.headers()["tessera-outcome"]),
        (302, &"duplicate".parse().expect("a value"))
    );
    assert_eq!(through.headers()["location"], "https://northwind.example/spot");
    let metrics = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    assert!(metrics.contains("tessera_player_errors_total{reason=\"405\"} 2"), "{metrics}");

    let report = service.request(Method::GET, "/v1/campaigns/spot/playback").sent().await;
    let report = read(report, 200).await;
    let expected = json!({"creative": "spot", "impressions": 1, "viewables": 1, "clicks": 1, "starts": 1,
        "first_quartiles": 1, "midpoints": 1, "third_quartiles": 1, "completes": 1, "errors": 1, "completion_rate": 1.0});
    assert_eq!(report, json!({"campaign": "spot", "creatives": [expected]}));
    let before = service.request(Method::GET, "/v1/campaigns/spot/playback?from=2026-01-01&to=2026-01-02").sent().await;
    assert_eq!(read(before, 200).await["creatives"], json!([]));
    let odd = service.request(Method::GET, "/v1/campaigns/spot/playback?from=2026-01-02&to=2026-01-01").sent().await;
    assert_eq!(read(odd, 422).await["errors"][0]["pointer"], "/to");
    read(service.request(Method::GET, "/v1/campaigns/unheard-of/playback").sent().await, 404).await;

    // others, and those whose player takes no more than 20 seconds
    let item = service.item("ben", "show").await;
    assert!(item["markup"].as_str().expect("markup").contains("/walk.mp4"), "{item:#}");
    let mut short = ask("anna", "show");
    short["placements"][0]["video"] = json!({"version": "3.0", "max_duration_ms": 20_000, "mimes": ["Video/MP4"]});
    short["explain"] = json!("full");
    let decided = service.decide(&short).await;
    let vast = decided["placements"]["top"][0]["markup"].as_str().expect("markup");
    assert!(
        vast.contains("version=\"3.0\"") && vast.contains("/walk.mp4") && vast.contains("Hello, grown-up"),
        "{vast}"
    );
    assert!(decided["explanation"].to_string().contains("\"condition\":\"video\""), "{decided:#}");
    short["placements"][0]["video"] = json!({"max_duration_ms": 5_000});
    let decided = service.decide(&short).await;
    assert_eq!(decided["placements"]["top"][0]["status"], "no_fill", "{decided:#}");
    short["placements"][0]["video"] = json!({"version": "9", "max_duration_ms": 5_000});
    let refused = service.request(Method::POST, "/v1/decisions").json(&short).sent().await;
    let problem = read(refused, 422).await;
    assert_eq!(problem["errors"][0]["pointer"], "/placements/0/video/version", "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_answers_players_in_their_version() {
    let (service, _turn) = with_spot().await;
    let tag = async |path: &str| service.http.get(format!("{}/v1/tags/default/{path}", service.base)).sent().await;
    for (v, version) in [("", "4.2"), ("?v=2", "2.0"), ("?v=3.0", "3.0"), ("?v=4.1", "4.1"), ("?v=%5Bv%5D", "4.2")] {
        for tagged in ["show.xml", "c/spot.xml"] {
            let vast = text(tag(&format!("{tagged}{v}")).await).await;
            assert!(
                vast.contains(&format!("<VAST version=\"{version}\"")) && vast.contains("/walk.mp4"),
                "{v}: {vast}"
            );
            sound(&vast);
        }
    }
    let made = service.request(Method::POST, "/v1/profiles/anna/token").json(&json!({"ttl_seconds": 60}));
    let token = read(made.sent().await, 200).await["user_token"].as_str().expect("a token").to_owned();
    let own = text(tag(&format!("show.xml?user_token={token}&click=https%3A%2F%2Fad.example%2Fc%3Fu%3D")).await).await;
    assert!(own.contains("/run.mp4") && own.contains("Hello, grown-up"), "{own}");
    assert!(addresses(&own, "ClickThrough")[0].starts_with("https://ad.example/c?u=http%3A%2F%2F127.0.0.1"), "{own}");
    assert!(!text(tag(&format!("show.xml?user_token={token}&gdpr=1")).await).await.contains("/run.mp4"));
    // scripts of any page may read it
    let asked =
        service.http.get(format!("{}/v1/tags/default/show.xml", service.base)).header("origin", "https://tv.example");
    let answer = asked.sent().await;
    assert_eq!(answer.headers()["content-type"], "application/xml; charset=utf-8");
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://tv.example");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    // nothing to show, and where players say so
    for path in
        ["empty.xml", "home.xml", "show.xml?max_duration_ms=1000", "unheard-of.xml", "c/unheard-of.xml?shadow=1"]
    {
        let vast = text(tag(path).await).await;
        sound(&vast);
        assert!(!vast.contains("<Ad"), "{vast}");
        let told = addresses(&vast, "Error").remove(0).replace("[ERRORCODE]", "303");
        assert_eq!(service.beacon(&told).await, (200, "unknown".into()));
    }
    let metrics = service.request(Method::GET, "/metrics").sent().await.text().await.expect("metrics");
    assert!(metrics.contains("tessera_player_errors_total{reason=\"303\"} 5"), "{metrics}");
    assert!(text(tag("unheard-of.xml?v=2").await).await.contains("<VAST version=\"2.0\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_hear_of_every_fault_and_see_what_they_made() {
    let (service, _turn) = with_spot().await;
    let mut broken = template();
    broken["slots"]["film"]["default"] =
        json!({"duration_ms": 0, "files": [{"src": "http://a.example/a.mp4", "type": "x"}]});
    broken["vast"]["title"] = json!("nothing");
    let put = service.request(Method::PUT, "/v1/templates/broken").header("if-none-match", "*").json(&broken);
    let problem = read(put.sent().await, 422).await;
    let pointers: Vec<_> =
        problem["errors"].as_array().expect("errors").iter().map(|fault| &fault["pointer"]).collect();
    let file = "/slots/film/default/files/0";
    for at in [
        "/vast/title".into(),
        "/slots/film/default/duration_ms".into(),
        format!("{file}/src"),
        format!("{file}/type"),
        format!("{file}/width"),
    ] {
        assert!(pointers.contains(&&json!(at)), "{at}: {problem:#}");
    }
    // the same is asked of components
    let component = json!({"slot": "film", "value": {"duration_ms": 1_000, "files": []}});
    let put =
        service.request(Method::PUT, "/v1/creatives/spot/components/odd").header("if-none-match", "*").json(&component);
    let problem = read(put.sent().await, 422).await;
    assert_eq!(
        (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
        (&json!("/value/files"), &json!("media_file_required"))
    );
    // an auditor sees the document that serves
    let bid = json!({
        "id": "v", "site": {"page": "https://tv.example/"}, "imp": [{"id": "1", "secure": 0,
            "video": {"mimes": ["video/mp4"], "protocols": [2, 3, 5, 6, 13]}, "ext": {"tessera": {"campaign": "spot", "price": 9}}}]
    });
    let mut answer = bids(&service, &bid).await;
    let bid = answer["seatbid"][0]["bid"][0].take();
    assert_eq!((&bid["mtype"], &bid["protocol"], &bid["dur"]), (&json!(2), &json!(13), &json!(15)), "{bid:#}");
    let crid = bid["crid"].as_str().expect("a crid");
    let audit = format!("{}/v1/creatives/spot/audit/{crid}", service.base);
    let audit = service.http.get(audit).bearer_auth(KEY).sent().await;
    assert_eq!(audit.headers()["content-type"], "application/xml");
    sound(&text(audit).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_gets_bids_of_every_kind_in_every_version() {
    let (service, _turn) = with_spot().await;
    let card = json!({"name": "Card", "format": "native", "slots": {"headline": {"type": "text", "default": "Hello"}},
        "native": {"assets": [{"id": 1, "required": true, "kind": "title", "slot": "headline"}]}});
    service.put("/v1/templates/note", &card).await;
    service.put("/v1/creatives/note", &json!({"name": "Card", "advertiser": "northwind", "templates": ["note"]})).await;
    let publish = service.request(Method::POST, "/v1/creatives/note/publish").json(&json!({}));
    read(publish.sent().await, 200).await;
    let native = json!({"ver": "1.2", "assets": [{"id": 7, "required": 1, "title": {"len": 90}}]}).to_string();
    let line = |line: Value| json!({"tessera": {"price": "1.50", line["kind"].as_str().expect("a kind"): line["id"]}});
    let (spring, spot, card) = (
        line(json!({"kind": "campaign", "id": "spring"})),
        line(json!({"kind": "campaign", "id": "spot"})),
        line(json!({"kind": "creative", "id": "note"})),
    );
    for (asked, answered, version) in [(2, 2, "2.0"), (3, 3, "3.0"), (7, 7, "4.0"), (11, 11, "4.1"), (13, 13, "4.2")] {
        let request = json!({"id": "r-1", "site": {"page": "https://tv.example/"}, "user": {"buyeruid": "anna"}, "imp": [
            {"id": "film", "secure": 0, "ext": spot, "video": {"mimes": ["video/mp4"], "protocols": [asked]}},
            {"id": "box", "banner": {"format": [{"w": 300, "h": 250}]}, "ext": spring},
            {"id": "card", "native": {"request": native, "ver": "1.2"}, "ext": card}]});
        let answer = bids(&service, &request).await;
        let bids = answer["seatbid"][0]["bid"].as_array().expect("bids");
        let kinds: Vec<_> = bids.iter().map(|bid| (bid["impid"].as_str(), bid["mtype"].as_u64())).collect();
        assert_eq!(kinds, [(Some("film"), Some(2)), (Some("box"), Some(1)), (Some("card"), Some(4))], "{answer}");
        assert_eq!(bids[0]["protocol"], answered);
        let film = bids[0]["adm"].as_str().expect("markup");
        assert!(film.contains(&format!("<VAST version=\"{version}\"")), "{film}");
        assert!(bids[1]["adm"].as_str().is_some_and(|adm| adm.contains("grown-up")), "{answer}");
        let card: Value = serde_json::from_str(bids[2]["adm"].as_str().expect("markup")).expect("JSON");
        assert_eq!((&card["assets"][0]["id"], &card["assets"][0]["title"]["text"]), (&json!(7), &json!("Hello")));
    }
}
