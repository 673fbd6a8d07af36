//! Exchanges that review combinations one by one, from publishing to what they are bid.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    feeds::{HEAD, author, row, upload},
    harness::{Patient as _, Remote, Service, folder, read, until},
    privacy::unsigned,
    turn,
};

fn review(config: &mut tessera::config::Config) {
    use tessera::config::Granularity::Combination;
    config.openrtb.crids = [("adx".to_owned(), Combination), ("strict".to_owned(), Combination)].into();
    config.openrtb.audited = vec!["strict".to_owned()];
}

/// What is bid to an exchange: the name and the markup, or why nothing is.
async fn bid(service: &Remote, exchange: &str) -> (Value, Value) {
    let asked = json!({
        "id": "r-1", "site": {"page": "https://news.example/"}, "user": {"buyeruid": "anna"}, "tmax": 5_000,
        "imp": [{"id": "1", "banner": {"format": [{"w": 120, "h": 600}]},
                 "ext": {"tessera": {"campaign": "shelf", "price": "1.50"}}}]
    });
    let path = format!("/openrtb2/bid?nbr=1&exchange={exchange}");
    let mut told = read(service.request(Method::POST, &path).json(&asked).sent().await, 200).await;
    let bid = told.pointer_mut("/seatbid/0/bid/0").map(Value::take).unwrap_or_default();
    if bid.is_null() { (told["nbr"].take(), Value::Null) } else { (bid["crid"].clone(), bid["adm"].clone()) }
}

/// Waits until this is bid.
async fn until_bid(service: &Remote, exchange: &str, wanted: &Value) {
    until("the bid", || async { bid(service, exchange).await.0 == *wanted }).await;
}

async fn listed(service: &Remote, exchange: &str, query: &str) -> Value {
    let path = format!("/v1/creatives/shelf/audits/{exchange}/combinations{query}");
    read(service.request(Method::GET, &path).sent().await, 200).await
}

async fn publish(service: &Remote, body: &Value) -> Value {
    let path = "/v1/creatives/shelf/publish";
    read(service.request(Method::POST, path).json(body).sent().await, 200).await
}

async fn rendered(service: &Remote, crid: &str) -> (u16, String) {
    let answer = service.request(Method::GET, &format!("/v1/creatives/shelf/audit/{crid}")).sent().await;
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

fn file(price: &str) -> String {
    let rows = ["s-1", "s-2", "s-3", "s-4"].map(|id| row(id, if id == "s-1" { price } else { "5 EUR" }, "in_stock"));
    HEAD.to_owned() + &rows.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_is_bid_what_it_approved_as_it_approved_it() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    // published before any exchange wanted to review combinations
    let before = Service::start(&database, |_| {}).await;
    author(&before, json!({})).await;
    assert_eq!(publish(&before, &json!({})).await["combinations"], 0);
    before.server.shutdown().await;
    let url = "https://ads.example";
    let tune = |config: &mut tessera::config::Config| {
        review(config);
        config.http.public_url = Some(url.to_owned());
    };
    let (a, b) = (Service::start(&database, tune).await, Service::start(&database, tune).await);
    assert_eq!(
        listed(&a, "adx", "").await,
        json!({"creative": "shelf", "exchange": "adx", "revision": 2, "items": []})
    );
    assert_eq!(bid(&a, "adx").await.0, 509);
    // it gets them when it serves again; nothing was in the feed
    assert_eq!(publish(&a, &json!({"revision": 2})).await["combinations"], 1);
    until_bid(&b, "adx", &listed(&a, "adx", "").await["items"][0]["crid"]).await;

    // published at once, before any replica has the feed in memory
    upload(&a, "", file("129.90 EUR"), 200).await;
    let published = publish(&a, &json!({})).await;
    assert_eq!((&published["revision"], &published["combinations"]), (&json!(3), &json!(3)));
    for replica in [&a, &b] {
        let whole = || async {
            listed(replica, "strict", "").await["items"]
                .as_array()
                .is_some_and(|items| items.len() == 3 && items.iter().all(|item| item.get("withdrawn").is_none()))
        };
        until("the feed is in memory", whole).await;
    }
    let items = listed(&b, "strict", "").await["items"].clone();
    let wanted = items[1]["crid"].clone();
    let crid = wanted.as_str().expect("a name");
    let ids: Vec<_> =
        items[1]["products"]["products"].as_array().expect("products").iter().map(|of| &of["id"]).collect();
    assert_eq!(ids, ["s-1", "s-2", "s-3"]);
    let mut told = items[1].clone();
    told.as_object_mut().expect("an object").remove("products");
    assert_eq!(
        told,
        json!({"crid": crid, "template": "shelf", "format": "html", "size": "120x600",
        "components": {"products": "seen"}, "bid": false,
        "render_url": format!("{url}/v1/creatives/shelf/audit/{crid}")})
    );
    assert_eq!(items[0]["components"], json!({"products": null}));
    let page = listed(&a, "strict", "?limit=2&revision=3").await;
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next"]), (Some(2), &json!("2")));
    assert_eq!(listed(&a, "strict", "?after=2").await["items"], json!([items[2]]));
    let old = listed(&a, "strict", "?revision=2").await;
    assert_eq!((&old["items"][0]["withdrawn"], &old["items"][0]["bid"]), (&json!("not_serving"), &json!(false)));
    for (path, status) in [("?revision=9", 404), ("?revision=9&limit=1", 404), ("?revision=0", 422)] {
        let path = format!("/v1/creatives/shelf/audits/strict/combinations{path}");
        read(a.request(Method::GET, &path).sent().await, status).await;
    }

    // whoever approves nothing is bid all of these; whoever approves first nothing, then what they approved
    let names: Vec<Value> = items.as_array().expect("items").iter().map(|item| item["crid"].clone()).collect();
    assert!(names.contains(&bid(&a, "adx").await.0));
    assert_eq!(bid(&b, "strict").await.0, 509);
    a.put("/v1/creatives/shelf/audits/strict", &json!({"crids": {crid: {"status": 3}}})).await;
    for replica in [&a, &b] {
        until_bid(replica, "strict", &wanted).await;
        assert!(bid(replica, "strict").await.1.as_str().is_some_and(|markup| markup.contains("€129.90")));
    }
    let item = listed(&a, "strict", "").await["items"][1].clone();
    assert_eq!((&item["audit"], &item["bid"]), (&json!({"status": 3}), &json!(true)));
    assert_eq!(listed(&a, "adx", "").await["items"][1].get("audit"), None);
    let (status, shown) = rendered(&a, crid).await;
    assert!(status == 200 && shown.contains("€129.90") && shown.contains("Product s-3"), "{status} {shown}");

    // another price: what was approved is withdrawn, and comes back with its price
    upload(&b, "", file("99.00 EUR"), 200).await;
    for replica in [&a, &b] {
        until_bid(replica, "strict", &json!(509)).await;
        assert!(![&wanted, &json!(509)].contains(&&bid(replica, "adx").await.0), "another one of those chosen");
    }
    let item = listed(&a, "strict", "").await["items"][1].clone();
    assert_eq!(
        (&item["withdrawn"], &item["bid"], &item["audit"]["status"]),
        (&json!("feed_changed"), &json!(false), &json!(3))
    );
    upload(&b, "", file("129.90 EUR"), 200).await;
    until_bid(&a, "strict", &wanted).await;
    upload(&b, "", file("99.00 EUR"), 200).await;
    for replica in [&a, &b] {
        until_bid(replica, "strict", &json!(509)).await;
    }

    // whatever is published since, its auditor sees the same, on every replica and after a restart
    for revision in 4..9 {
        assert_eq!(publish(&a, &json!({})).await["revision"], revision);
    }
    assert_ne!(listed(&a, "strict", "").await["items"][1]["crid"], wanted);
    let data = folder();
    b.server.shutdown().await;
    let b = Service::start_in(data, &database, tune).await;
    for replica in [&a, &b] {
        assert_eq!(bid(replica, "strict").await.0, 509);
        assert_eq!(rendered(replica, crid).await, (200, shown.clone()));
    }
    assert_eq!(rendered(&a, &"0a".repeat(16)).await.0, 404);
    // served again, it is what it was
    upload(&a, "", file("129.90 EUR"), 200).await;
    assert_eq!(publish(&a, &json!({"revision": 3})).await["combinations"], 3);
    for replica in [&a, &b] {
        until_bid(replica, "strict", &wanted).await;
    }
    a.server.shutdown().await;
    b.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_bid_is_shown_to_auditors_though_its_creative_is_deleted() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, review).await;
    let png = include_bytes!("../../creatives/demo/assets/mark-dark.png").to_vec();
    let image = service.request(Method::POST, "/v1/assets").body(png).sent().await.text().await.expect("a body");
    let image: Value = serde_json::from_str(&image).expect("JSON");
    let image = image["url"].as_str().expect("a path").to_owned();
    let template = json!({
        "name": "Still", "format": "html", "size": "160x600", "slots": {"headline": {"type": "text", "default": "Spring"}},
        "markup": format!("<body><a href=\"{{{{click_url}}}}\">{{{{headline}}}}<img src=\"{image}\" alt=\"\"></a></body>")
    });
    service.put("/v1/templates/still", &template).await;
    let creative = json!({"name": "Still", "advertiser": "northwind", "templates": ["still"]});
    let make = async |headline: &str| {
        service.put("/v1/creatives/still", &creative).await;
        let component = json!({"slot": "headline", "value": headline, "targeting": {"segment": "adults"}});
        service.put("/v1/creatives/still/components/h", &component).await;
        let published = service.request(Method::POST, "/v1/creatives/still/publish").json(&json!({}));
        read(published.sent().await, 200).await["revision"].clone()
    };
    let delete = async |path: &str, status| {
        read(service.request(Method::DELETE, path).header("if-match", "*").sent().await, status).await;
    };
    let shown = async |crid: &str| {
        let answer = service.request(Method::GET, &format!("/v1/creatives/still/audit/{crid}")).sent().await;
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    assert_eq!(make("Once").await, 1);
    let path = "/v1/creatives/still/audits/adx/combinations";
    let items = read(service.request(Method::GET, path).sent().await, 200).await["items"].clone();
    let mut crids: Vec<_> = items.as_array().expect("items").iter().filter_map(|item| item["crid"].as_str()).collect();
    assert_eq!(crids.len(), 2);
    crids.push("still.1.160x600");
    let mut before = Vec::new();
    for crid in &crids {
        before.push(shown(crid).await);
        assert!(before.last().is_some_and(|(status, text)| *status == 200 && text.contains(&image)), "{before:?}");
    }
    assert!(before.iter().any(|(_, text)| text.contains("Once")));
    // the beacons of a revision's ad hold the time
    let all_as_before = async || {
        for (crid, (_, before)) in crids.iter().zip(&before) {
            let (status, text) = shown(crid).await;
            assert_eq!((status, unsigned(&text)), (200, unsigned(before)), "{crid}");
        }
    };
    delete("/v1/creatives/still", 204).await;
    for gone in ["/v1/creatives/still", "/v1/creatives/still/revisions", "/v1/creatives/still/revisions/1"] {
        read(service.request(Method::GET, gone).sent().await, 404).await;
    }
    all_as_before().await;
    // what it was made of may go, but for its images
    delete("/v1/templates/still", 204).await;
    delete(&image, 409).await;
    all_as_before().await;
    for never in ["still.2.160x600", "still.1.300x250", "spring.1.300x250"] {
        assert_eq!(shown(never).await.0, 404, "{never}");
    }
    // another creative of the same name has numbers of its own
    service.put("/v1/templates/still", &template).await;
    assert_eq!(make("Again").await, 2);
    let listed = read(service.request(Method::GET, "/v1/creatives/still/revisions?limit=1").sent().await, 200).await;
    assert_eq!((&listed["items"][0]["revision"], listed["items"].as_array().map(Vec::len)), (&json!(2), Some(1)));
    all_as_before().await;
    assert!(shown("still.2.160x600").await.1.contains("Again"));
    // four days later its images may go
    delete("/v1/creatives/still", 204).await;
    delete("/v1/templates/still", 204).await;
    delete(&image, 409).await;
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    let later = "update document set ended_at = ended_at - 4 * 86400000 - 1000 where kind = 'revision'";
    sqlx::query(later).execute(&mut connection).await.expect("later");
    delete(&image, 204).await;
    service.server.shutdown().await;
}
