//! Feeds of products: filled, shown on every replica, and fetched from elsewhere.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    events::send,
    harness::{Patient as _, Remote, Service, ask, read, until},
    service, turn,
};

pub(crate) const HEAD: &str = "id,title,link,image_link,price,availability\n";

pub(crate) fn row(id: &str, price: &str, availability: &str) -> String {
    format!(
        "{id},Product {id},https://shop.northwind.example/{id},https://cdn.example/{id}.jpg,{price},{availability}\n"
    )
}

/// A feed, and a campaign that shows its products: what the person looked at last, then what many do.
pub(crate) async fn author(service: &Service, feed: Value) {
    let default = json!([{"id": "shop", "title": "All of our shop", "link": "https://northwind.example/",
        "image": {"src": "https://cdn.example/shop.jpg", "alt": "The shop"}}]);
    let markup = "<body><a href=\"{{click_url}}\">Look</a>{{#each products}}<a href=\"{{link}}\">{{title}}{{#if price}} \
                  {{price}}{{/if}}</a>{{/each}}</body>";
    let mut document = json!({"name": "Shop", "advertiser": "northwind", "format": "csv"});
    document.as_object_mut().expect("an object").extend(feed.as_object().expect("an object").clone());
    service.put("/v1/feeds/shop", &document).await;
    let template = json!({"name": "Shelf", "format": "html", "size": "120x600", "markup": markup,
        "slots": {"products": {"type": "product", "max_items": 3, "default": default}}});
    service.put("/v1/templates/shelf", &template).await;
    let creative =
        json!({"name": "Shelf", "advertiser": "northwind", "templates": ["shelf"], "landing_slot": "products"});
    service.put("/v1/creatives/shelf", &creative).await;
    let component = json!({"slot": "products", "value": {"feed": "shop", "choose": "last_viewed"}});
    service.put("/v1/creatives/shelf/components/seen", &component).await;
    let published = service.request(Method::POST, "/v1/creatives/shelf/publish").json(&json!({})).sent().await;
    read(published, 200).await;
    service.put("/v1/placements/tall", &json!({"name": "Tall", "sizes": ["120x600"], "formats": ["html"]})).await;
    let campaign = json!({"name": "Shelf", "advertiser": "northwind", "status": "active", "creatives": ["shelf"],
        "landing_url": "https://northwind.example/shelf", "placements": ["tall"]});
    service.put("/v1/campaigns/shelf", &campaign).await;
}

pub(crate) async fn upload(service: &Remote, query: &str, file: String, status: u16) -> Value {
    let request = service.request(Method::POST, &format!("/v1/feeds/shop/items{query}"));
    read(request.header("content-type", "text/csv").body(file).sent().await, status).await
}

async fn status(service: &Remote) -> Value {
    read(service.request(Method::GET, "/v1/feeds/shop/status").sent().await, 200).await
}

async fn markup(service: &Remote, user: &str) -> String {
    // a replica that has not heard of the placement yet has none
    service.item(user, "tall").await["markup"].as_str().unwrap_or_default().to_owned()
}

/// The ids of the products shown to somebody.
pub(crate) async fn products(service: &Remote, user: &str) -> Vec<String> {
    let item = service.item(user, "tall").await;
    let shown = item["content"]["products"].as_array().expect("products").clone();
    shown.iter().map(|product| product["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn products_are_shown_by_every_replica_and_change() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    author(&a, json!({})).await;
    assert!(markup(&a, "anna").await.contains("All of our shop"), "never blank");
    let file = |price: &str| {
        let rows =
            [row("s-1", price, "in_stock"), row("s-2", "5 EUR", "in_stock"), row("s-3", "1 EUR", "out_of_stock")];
        format!("{HEAD}{}{}", rows.concat(), row("s-4", "7 EUR", "preorder"))
    };
    let filled = upload(&a, "", file("129.90 EUR"), 200).await;
    assert_eq!(filled, json!({"rows": 4, "items": 4, "available": 3, "rejected": 0}));
    for replica in [&a, &b] {
        let took =
            until("the products are shown", || async { markup(replica, "anna").await.contains("€129.90") }).await;
        println!("a feed was shown {took:?} after its upload was answered");
    }
    assert_eq!(products(&b, "anna").await, ["s-1", "s-2", "s-4"]);
    // what somebody looked at comes first, on either replica
    for product in ["s-3", "s-4"] {
        let event = json!({"user": "anna", "type": "product_view", "properties": {"product_id": product}});
        send(&a, &event).await;
    }
    for replica in [&a, &b] {
        until("the last view counts", || async { products(replica, "anna").await == ["s-4", "s-1", "s-2"] }).await;
    }
    // what most people look at fills up
    for user in ["u-1", "u-2"] {
        let event = json!({"user": user, "type": "product_view", "properties": {"product_id": "s-2"}});
        send(&a, &event).await;
    }
    until("what is popular fills up", || async { products(&b, "anna").await == ["s-4", "s-2", "s-1"] }).await;
    assert_eq!(products(&b, "nobody").await, ["s-2", "s-4", "s-1"]);
    // a click leads to the first product
    let item = a.item("anna", "tall").await;
    let click = a.http.get(item["click_url"].as_str().expect("a link")).sent().await;
    assert_eq!(click.headers()["location"], "https://shop.northwind.example/s-4");
    // another price
    upload(&a, "", file("99.00 EUR"), 200).await;
    let took =
        until("the other replica shows the price", || async { markup(&b, "anna").await.contains("€99.00") }).await;
    println!("a price was shown by the other replica {took:?} after its upload was answered");
    // said why, and again
    let mut body = ask("anna", "tall");
    body["explain"] = json!("full");
    let decided = a.decide(&body).await;
    let item = &decided["placements"]["top"][0];
    let id = item["decision_id"].as_str().expect("an id").to_owned();
    let explained = &decided["explanation"];
    let told = explained.to_string();
    assert!(
        told.contains(r#"{"by":"last_viewed","id":"s-4"}"#) && told.contains(r#"{"by":"popular","id":"s-2"}"#),
        "{told}"
    );
    upload(&a, "", format!("{HEAD}{}", row("z", "1 EUR", "in_stock")), 200).await;
    until("all is new", || async { products(&a, "anna").await == ["z"] }).await;
    let path = format!("/v1/decisions/{id}/replay");
    until("the record is kept", || async { a.request(Method::POST, &path).sent().await.status() == 200 }).await;
    let again = read(a.request(Method::POST, &path).sent().await, 200).await;
    assert_eq!(&again, item, "what was shown then");
    // what is named cannot be deleted
    let deletion = a.request(Method::DELETE, "/v1/feeds/shop").header("if-match", "*").sent().await;
    assert_eq!(deletion.status(), 409);
    for replica in [a, b] {
        replica.server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_refused_are_named_and_leave_nothing() {
    let (service, _turn) = service().await;
    author(&service, json!({"currency": "EUR"})).await;
    let good = row("s-1", "5", "in_stock");
    upload(&service, "", format!("{HEAD}{good}"), 200).await;
    let bad = format!(
        "{HEAD}{}{}x,,https://evil.example/x,cdn,1\n{}",
        row("s-2", "5", "in_stock"),
        row("s-3", "five", "some day"),
        row("s-2", "6", "in_stock")
    );
    let refused = upload(&service, "", bad.clone(), 422).await;
    let faults: Vec<_> =
        refused["errors"].as_array().expect("faults").iter().map(|f| (&f["pointer"], &f["code"])).collect();
    let told = json!([
        ["/3/price", "not_a_price"],
        ["/3/availability", "unknown_availability"],
        ["/4", "columns"],
        ["/5/id", "duplicate_id"]
    ]);
    assert_eq!(json!(faults), told, "{refused}");
    assert_eq!(refused["detail"], "3 rows cannot be taken, so nothing was changed.");
    assert_eq!(status(&service).await["items"], 1);
    let same = upload(&service, "?dry_run=true", bad.clone(), 422).await;
    assert_eq!(same["errors"], refused["errors"], "a dry run refuses what would be refused");
    let would = upload(&service, "?mode=valid_only&dry_run=true", bad.clone(), 200).await;
    assert_eq!((&would["rows"], &would["items"], &would["rejected"]), (&json!(4), &json!(1), &json!(3)));
    assert_eq!(would["errors"][0]["line"], 3);
    assert_eq!(status(&service).await["items"], 1, "a dry run changes nothing");
    let unreadable = upload(&service, "", "id;title\n".into(), 422).await;
    assert!(unreadable["errors"][0]["detail"].as_str().expect("words").contains("image_link"), "{unreadable}");
    upload(&service, "", HEAD.into(), 422).await;
    // a body that breaks off
    let address = service.base.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "POST /v1/feeds/shop/items HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 9000\r\n\r\n{HEAD}{}",
        crate::harness::KEY,
        row("s-9", "1", "in_stock")
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = status(&service).await;
    assert_eq!((&before["items"], &before["source"]), (&json!(1), &json!("upload")));
    let taken = upload(&service, "?mode=valid_only", bad, 200).await;
    assert_eq!(taken["items"], 1);
    until("it is shown", || async { products(&service, "anna").await == ["s-2"] }).await;
    let status = status(&service).await;
    assert_eq!((&status["rejected"], &status["in_memory"]), (&json!(3), &json!(true)), "{status}");
    service.server.shutdown().await;
}

/// Somebody else's server with one file, and the requests that it saw.
struct Shop {
    url: String,
    file: Arc<Mutex<(String, String)>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    /// A server whose file is at `/feed`; `/away` leads to a cloud's metadata, `/moved` to the file,
    /// and of `/slow` nothing ever comes.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shop = Self { url, file: Arc::default(), seen: Arc::default() };
        let (file, seen) = (Arc::clone(&shop.file), Arc::clone(&shop.seen));
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let mut stream = listener.accept().await.expect("a caller").0;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut piece = [0; 1024];
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(count) => request.extend_from_slice(&piece[..count]),
                    }
                }
                let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let (tag, body) = file.lock().expect("a lock").clone();
                if request.starts_with("get /slow") {
                    seen.lock().expect("a lock").push(request);
                    held.push(stream);
                    continue;
                }
                let answer = if request.starts_with("get /away") {
                    "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"
                        .to_owned()
                } else if request.starts_with("get /moved") {
                    "HTTP/1.1 301 Moved\r\nlocation: /feed\r\ncontent-length: 0\r\n\r\n".to_owned()
                } else if request.contains(&format!("if-none-match: \"{tag}\"")) {
                    "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
                } else {
                    format!("HTTP/1.1 200 OK\r\netag: \"{tag}\"\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                };
                seen.lock().expect("a lock").push(request);
                // whoever asked may have left
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        shop
    }

    fn has(&self, tag: &str, body: String) {
        *self.file.lock().expect("a lock") = (tag.to_owned(), body);
    }

    fn count(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

async fn fetch(service: &Remote) {
    let asked = service.request(Method::POST, "/v1/feeds/shop/fetch").sent().await;
    assert_eq!(asked.status(), 202);
}

/// Says where links of the advertiser may lead.
async fn advertise(service: &Remote, hosts: &[&str]) {
    let document = json!({"name": "Northwind", "domain": "northwind.example", "landing_hosts": hosts});
    let put = service.request(Method::PUT, "/v1/advertisers/northwind").header("if-match", "*").json(&document);
    read(put.sent().await, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_fetched_when_it_is_due_by_one_replica_and_only_what_is_new() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let shop = Shop::start().await;
    let google = |price: &str| {
        format!(
            "<rss version=\"2.0\" xmlns:g=\"http://base.google.com/ns/1.0\"><channel><item><g:id>s-1</g:id>\
             <title>Shoe &amp; sock</title><link>https://outlet.example/s-1</link><g:image_link>https://cdn.example/1</g:image_link>\
             <g:price>{price}</g:price><g:availability>in_stock</g:availability></item><item><g:id>s-2</g:id></item></channel></rss>"
        )
    };
    shop.has("one", google("5.00 EUR"));
    let feed = json!({"format": "google_xml", "url": format!("{}/moved", shop.url), "every_minutes": 60});
    advertise(&a, &["northwind.example", "outlet.example"]).await;
    author(&a, feed).await;
    for replica in [&a, &b] {
        until("it is shown", || async { markup(replica, "anna").await.contains("Shoe &amp; sock €5.00") }).await;
    }
    let fetched = status(&b).await;
    assert_eq!((&fetched["source"], &fetched["items"], &fetched["rejected"]), (&json!("url"), &json!(1), &json!(1)));
    assert_eq!(fetched["errors"][0]["pointer"], "/title", "{fetched}");
    assert!(fetched["next_fetch_at"].is_string() && fetched.get("last_error").is_none(), "{fetched}");
    assert_eq!(shop.count(), 2, "one replica fetched it, by way of a redirection");
    // nothing new: what was wrong with its rows still is
    fetch(&b).await;
    until("it asks again", || async { shop.count() == 4 }).await;
    assert!(shop.seen.lock().expect("a lock")[3].contains("if-none-match: \"one\""));
    until("that is noted", || async { status(&a).await["fetched_at"] != fetched["fetched_at"] }).await;
    let unchanged = status(&a).await;
    assert_eq!((&unchanged["generation"], &unchanged["errors"]), (&fetched["generation"], &fetched["errors"]));
    // something new
    shop.has("two", google("4.00 EUR"));
    fetch(&a).await;
    for replica in [&a, &b] {
        until("the price changes", || async { markup(replica, "anna").await.contains("€4.00") }).await;
    }
    // the advertiser's links lead elsewhere: products of before are not shown, and all is read anew
    let before = shop.count();
    advertise(&a, &["northwind.example"]).await;
    assert!(markup(&a, "anna").await.contains("All of our shop"), "none leads where it may");
    until("it is fetched", || async { shop.count() > before }).await;
    assert!(!shop.seen.lock().expect("a lock")[before].contains("if-none-match"), "as a file never seen");
    until("no row is left", || async { status(&a).await["last_error"].is_string() }).await;
    advertise(&a, &["northwind.example", "outlet.example"]).await;
    until("all is well again", || async { status(&a).await["last_error"].is_null() }).await;
    assert!(markup(&a, "anna").await.contains("€4.00"));
    // what cannot be taken is told, and what was shown stays
    shop.has("three", "<html>Service unavailable</html>".into());
    fetch(&a).await;
    until("it is told", || async { status(&a).await["last_error"].is_string() }).await;
    assert!(markup(&a, "anna").await.contains("€4.00"));
    for replica in [a, b] {
        replica.server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_long_keeps_nobody_else_waiting() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, shop) = (Service::start(&database, |_| {}).await, Shop::start().await);
    shop.has("one", format!("{HEAD}{}", row("s-1", "5 EUR", "in_stock")));
    author(&a, json!({"url": format!("{}/feed", shop.url)})).await;
    until("it is shown", || async { products(&a, "anna").await == ["s-1"] }).await;
    // two uploads that do not end leave the fetches alone
    let endless = async || {
        let mut stream = TcpStream::connect(a.base.trim_start_matches("http://")).await.expect("a connection");
        let head = format!(
            "POST /v1/feeds/shop/items HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: text/csv\r\n\
             content-length: 9000\r\n\r\n{HEAD}",
            crate::harness::KEY
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        stream
    };
    let busy = async || {
        let more = a.request(Method::POST, "/v1/feeds/shop/items").header("content-type", "text/csv").body(HEAD);
        more.send().await.expect("an answer").status() != 422
    };
    let mut uploads = vec![endless().await, endless().await];
    for _ in 0..50 {
        if busy().await {
            break;
        }
        // one of them may have met the probe in its place
        uploads.push(endless().await);
    }
    assert!(busy().await, "both are read");
    shop.has("two", format!("{HEAD}{}", row("s-2", "5 EUR", "in_stock")));
    fetch(&a).await;
    until("the fetched file is shown", || async { products(&a, "anna").await == ["s-2"] }).await;
    drop(uploads);
    // a replica that stops in the middle of a fetch leaves it to the others
    let path = "/v1/feeds/shop";
    let mut feed = read(a.request(Method::GET, path).sent().await, 200).await["document"].take();
    feed["url"] = json!(format!("{}/slow", shop.url));
    let before = shop.count();
    read(a.request(Method::PUT, path).header("if-match", "*").json(&feed).sent().await, 200).await;
    until("it is being fetched", || async { shop.count() > before }).await;
    a.server.shutdown().await;
    let b = Service::start(&database, |_| {}).await;
    until("another fetches it", || async { shop.count() > before + 1 }).await;
    b.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_reach_nothing_that_only_the_service_can() {
    let (service, _turn) = service().await;
    let feed = |url: &str| json!({"name": "Shop", "advertiser": "northwind", "format": "csv", "url": url});
    for url in ["http://169.254.169.254/latest", "http://10.0.0.1/feed", "https://[fd00:ec2::254]/x", "http://0.0.0.0/"]
    {
        let request = service.request(Method::PUT, "/v1/feeds/shop").header("if-none-match", "*").json(&feed(url));
        let refused = read(request.sent().await, 422).await;
        assert_eq!(
            (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
            (&json!("/url"), &json!("out_of_reach")),
            "{url}"
        );
    }
    let scheme =
        service.request(Method::PUT, "/v1/feeds/shop").header("if-none-match", "*").json(&feed("file:///etc/passwd"));
    assert_eq!(read(scheme.sent().await, 422).await["errors"][0]["pointer"], "/url");
    let shop = Shop::start().await;
    service.put("/v1/feeds/shop", &feed(&format!("{}/away", shop.url))).await;
    until("it is refused", || async { status(&service).await["last_error"].is_string() }).await;
    let told = status(&service).await;
    assert!(told["last_error"].as_str().expect("words").contains("not allowed"), "{told}");
    assert_eq!(shop.count(), 1);
    service.server.shutdown().await;
}
