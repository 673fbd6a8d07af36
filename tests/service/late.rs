//! Bids whose components are chosen when they are rendered.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{Patient as _, Service, read, until},
    lint::lint,
    service, turn,
};

fn request(more: &Value) -> Value {
    let mut request = json!({
        "id": "r-1", "site": {"page": "https://news.example/"}, "user": {"buyeruid": "anna"}, "tmax": 5_000,
        "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]},
                 "ext": {"tessera": {"campaign": "spring", "price": "1.50", "click_macro": "${CLICK_URL}"}}}]
    });
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

/// A bid that is rendered late.
async fn bid(service: &Service, more: &Value) -> Value {
    ask(service, &request(more)).await
}

async fn ask(service: &Service, asked: &Value) -> Value {
    let sent = service.request(Method::POST, "/openrtb2/bid?render=late").json(asked).sent().await;
    let mut answer = read(sent, 200).await;
    lint(asked.to_string().as_bytes(), answer.to_string().as_bytes());
    answer["seatbid"][0]["bid"][0].take()
}

/// The address of a bid's frame, as an exchange leaves it.
fn frame(bid: &Value, click: &str) -> String {
    let markup = bid["adm"].as_str().expect("markup");
    let (_, rest) = markup.split_once("src=\"").expect("a frame");
    rest.split_once('"').expect("an end").0.replace("${CLICK_URL_ENC}", click)
}

async fn load(service: &Service, url: &str) -> (u16, String) {
    let answer = service.http.get(url).sent().await;
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frame_shows_is_chosen_when_it_is_loaded() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 9})).await;
    let bid = bid(&service, &json!({})).await;
    let markup = bid["adm"].as_str().expect("markup");
    assert!(markup.starts_with("<iframe src=\"http") && markup.len() < 1_200, "{markup}");
    assert!(markup.contains("width=\"300\" height=\"250\""), "{markup}");
    assert_eq!((&bid["crid"], &bid["w"], &bid["mtype"]), (&json!("spring.1.300x250"), &json!(300), &json!(1)));
    assert_eq!(bid["ext"]["tessera"]["combination_id"], Value::Null);
    // who is looking stands nowhere to be read
    let url = frame(&bid, "https%3A%2F%2Fad.example%2Fc%3Fu%3D");
    let token = url.split("/v1/late/").nth(1).and_then(|rest| rest.split('?').next()).expect("a token");
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
    assert!(!bytes.windows(4).any(|part| part == b"anna" || part == b"news"), "sealed");
    // she has grown since the bid
    service.patch("anna", &json!({"age": 34})).await;
    let (status, shown) = load(&service, &url).await;
    assert_eq!(status, 200);
    assert!(shown.contains("Hello, grown-up") && !shown.contains("anna"), "{shown}");
    assert!(shown.contains("href=\"https://ad.example/c?u=http%3A%2F%2F"), "clicks pass the ad server: {shown}");
    // loaded again it is the same, whatever happens meanwhile
    service.patch("anna", &json!({"age": 9})).await;
    assert_eq!(load(&service, &url).await, (200, shown.clone()));
    // it is the bid's decision that goes on
    let pixel = shown.split('"').find(|part| part.contains("/v1/i/")).expect("a pixel");
    assert_eq!(service.beacon(pixel).await, (200, "recorded".into()));
    assert_eq!(service.beacon(pixel).await, (200, "duplicate".into()));
    let billed = bid["burl"].as_str().expect("an address");
    assert_eq!(service.beacon(billed).await, (200, "recorded".into()));
    let begun = bid["id"].as_str().expect("an id").parse::<uuid::Uuid>().expect("a UUID");
    let body = URL_SAFE_NO_PAD.decode(pixel.split("/v1/i/").nth(1).expect("a token")).expect("base64");
    assert!(body.windows(16).any(|part| part == begun.as_bytes()), "the pixel is of the same decision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_opens_for_what_was_bid_alone() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let url = frame(&bid(&service, &json!({})).await, "");
    let head = service.http.head(&url).sent().await;
    assert_eq!(head.status().as_u16(), 200);
    assert_eq!(head.headers()["cache-control"], "no-store");
    let policy = head.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(policy.contains("sandbox"), "{policy}");
    // changed or made up
    let (before, token) = url.split_once("/v1/late/").expect("a token");
    let token = token.split('?').next().expect("a token");
    let flipped = format!("{}{}", &token[..token.len() - 2], if token.ends_with("AA") { "BB" } else { "AA" });
    for other in [flipped.as_str(), "AQ", "x", &token[..20]] {
        assert_eq!(load(&service, &format!("{before}/v1/late/{other}")).await.0, 404, "{other}");
    }
    // consent is that of the bid, and what the browser says now
    let opted_out = frame(&bid(&service, &json!({"regs": {"us_privacy": "1YYN"}})).await, "");
    assert!(!load(&service, &opted_out).await.1.contains("grown-up"));
    let fresh = frame(&bid(&service, &json!({})).await, "");
    let withdrawn = service.http.get(&fresh).header("sec-gpc", "1").sent().await.text().await.expect("a body");
    assert!(withdrawn.contains("Hello") && !withdrawn.contains("grown-up"), "{withdrawn}");
    // what is only tried out is never counted
    let tried = load(&service, &frame(&bid(&service, &json!({"test": 1})).await, "")).await.1;
    let pixel = tried.split('"').find(|part| part.contains("/v1/i/")).expect("a pixel");
    assert_eq!(service.beacon(pixel).await, (200, "unknown".into()));
    // an exchange that blocks frames gets the whole, and so does a native impression
    let mut blocked = request(&json!({}));
    blocked["imp"][0]["banner"]["btype"] = json!([4]);
    let whole = ask(&service, &blocked).await["adm"].take();
    assert!(whole.as_str().expect("markup").contains("Hello, grown-up"), "{whole}");
    let sent = service.request(Method::POST, "/openrtb2/bid?render=soon").json(&request(&json!({}))).sent().await;
    assert_eq!(sent.status().as_u16(), 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_bid_is_shown_also_when_it_changes() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let capped = json!({"imp": [{"id": "1", "banner": {"w": 300, "h": 250},
        "ext": {"tessera": {"campaign": "once", "price": "1.50"}}}]});
    // two bids, of which none has shown anything yet: the cap of one impression holds neither back
    let (first, second) = (bid(&service, &capped).await, bid(&service, &capped).await);
    let shown = load(&service, &frame(&first, "")).await.1;
    assert!(shown.contains("/v1/c/"), "{shown}");
    let third = service.request(Method::POST, "/openrtb2/bid?render=late").json(&request(&capped)).sent().await;
    assert_eq!(third.status().as_u16(), 204, "the cap is full once it is shown");
    // a second win is shown all the same: it is paid for
    assert!(load(&service, &frame(&second, "")).await.1.contains("/v1/c/"));
    // another revision is published before the frame is loaded
    let old = bid(&service, &json!({})).await;
    let changed = json!({"slot": "headline", "value": "A newer greeting", "targeting": {"segment": "adults"}});
    let path = "/v1/creatives/spring/components/grown";
    let tag = service.request(Method::GET, path).sent().await.headers()["etag"].clone();
    let put = service.request(Method::PUT, path).header("if-match", tag).json(&changed).sent().await;
    assert_eq!(put.status().as_u16(), 200);
    let publish = service.request(Method::POST, "/v1/creatives/spring/publish").json(&json!({})).sent().await;
    read(publish, 200).await;
    let new = bid(&service, &json!({})).await;
    assert_eq!((&old["crid"], &new["crid"]), (&json!("spring.1.300x250"), &json!("spring.2.300x250")));
    assert!(load(&service, &frame(&old, "")).await.1.contains("Hello, grown-up"));
    assert!(load(&service, &frame(&new, "")).await.1.contains("A newer greeting"));
    // the campaign shows another creative by then: what was bid is paid for
    let edited = bid(&service, &json!({})).await;
    let path = "/v1/campaigns/spring";
    let mut campaign = read(service.request(Method::GET, path).sent().await, 200).await["document"].take();
    campaign["creatives"] = json!(["fallback"]);
    let put = service.request(Method::PUT, path).header("if-match", "*").json(&campaign).sent().await;
    read(put, 200).await;
    let shown = load(&service, &frame(&edited, "")).await.1;
    assert!(shown.contains("A newer greeting") && shown.contains("/v1/i/"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn products_of_now_are_shown_in_a_revision_of_then() {
    let (service, _turn) = service().await;
    crate::feeds::author(&service, json!({})).await;
    let rows = crate::feeds::row("s-1", "5.00 EUR", "in_stock");
    crate::feeds::upload(&service, "", format!("{}{rows}", crate::feeds::HEAD), 200).await;
    until("the product is shown", || async { crate::feeds::products(&service, "anna").await == ["s-1"] }).await;
    let wanted = json!({"imp": [{"id": "1", "banner": {"w": 120, "h": 600},
        "ext": {"tessera": {"campaign": "shelf", "price": "1.50"}}}]});
    let old = bid(&service, &wanted).await;
    let publish = service.request(Method::POST, "/v1/creatives/shelf/publish").json(&json!({}));
    read(publish.sent().await, 200).await;
    assert_ne!(bid(&service, &wanted).await["crid"], old["crid"]);
    let shown = load(&service, &frame(&old, "")).await.1;
    assert!(shown.contains("Product s-1"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_shows_the_same_on_another_replica() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    a.patch("anna", &json!({"age": 34})).await;
    let url = frame(&bid(&a, &json!({})).await, "");
    let (_, shown) = load(&a, &url).await;
    assert!(shown.contains("Hello, grown-up"), "{shown}");
    let kept = tokio::sync::Mutex::new(PgConnection::connect(&database).await.expect("a connection"));
    until("it is kept", || async {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from late_shown");
        count.fetch_one(&mut *kept.lock().await).await.expect("a count") == 1
    })
    .await;
    // she is another by now, which the other replica knows
    a.patch("anna", &json!({"age": 9})).await;
    let grown = async || b.item("anna", "home").await["components"]["headline"] == "grown";
    until("the other replica sees it", || async { !grown().await }).await;
    assert_eq!(load(&b, &url.replace(&a.base, &b.base)).await, (200, shown));
    // what nobody has loaded is chosen there
    let fresh = frame(&bid(&a, &json!({})).await, "").replace(&a.base, &b.base);
    assert!(!load(&b, &fresh).await.1.contains("grown-up"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rendered_goes_with_the_person() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    a.patch("anna", &json!({"age": 34})).await;
    let url = frame(&bid(&a, &json!({})).await, "");
    let there = url.replace(&a.base, &b.base);
    assert!(load(&a, &url).await.1.contains("Hello, grown-up"));
    let kept = tokio::sync::Mutex::new(PgConnection::connect(&database).await.expect("a connection"));
    let count = async || {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from late_shown");
        count.fetch_one(&mut *kept.lock().await).await.expect("a count")
    };
    until("it is kept", async || count().await == 1).await;
    assert!(load(&b, &there).await.1.contains("Hello, grown-up"));
    read(a.request(Method::DELETE, "/v1/profiles/anna").sent().await, 200).await;
    assert_eq!(count().await, 0);
    assert!(!load(&a, &url).await.1.contains("grown-up"), "not from memory");
    until("the other replica hears of it", async || !load(&b, &there).await.1.contains("grown-up")).await;
    // nor is what is rendered afterwards kept
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_objects_is_shown_nothing_of_what_was_chosen_for_them() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let url = frame(&bid(&service, &json!({})).await, "");
    let objecting = async |url: &str| {
        let answer = service.http.get(url).header("sec-gpc", "1").sent().await;
        answer.text().await.expect("a body")
    };
    assert!(load(&service, &url).await.1.contains("Hello, grown-up"));
    assert!(!objecting(&url).await.contains("grown-up"));
    // and what they see is not for those who do not object
    let fresh = frame(&bid(&service, &json!({})).await, "");
    assert!(!objecting(&fresh).await.contains("grown-up"));
    assert!(load(&service, &fresh).await.1.contains("Hello, grown-up"));
}
