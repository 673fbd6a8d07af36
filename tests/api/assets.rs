//! Images from upload to browser.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::json;

use crate::{
    harness::{Answer, Service, send},
    pictures::noise,
};

const PNG: &[u8] = include_bytes!("../../creatives/demo/assets/mark-dark.png");

async fn upload(service: &Service, path: &str, bytes: &'static [u8]) -> Answer {
    send(service.request(Method::POST, path).header(header::CONTENT_TYPE, "image/png").body(bytes)).await
}

pub(crate) async fn an_image_is_served_for_ever(service: Arc<Service>) {
    let would = upload(&service, "/v1/assets?dry_run=true", PNG).await;
    assert_eq!(would.status, 200, "{}", would.text());
    let url = would.json()["url"].as_str().expect("a URL").to_owned();
    send(service.anonymous(Method::GET, &url)).await.faults(404);

    let kept = upload(&service, "/v1/assets", PNG).await;
    assert_eq!((kept.status, kept.header("location")), (201, url.as_str()), "{}", kept.text());
    let served = send(service.anonymous(Method::GET, &url)).await;
    assert_eq!((served.status, served.header("content-type")), (200, "image/png"));
    assert!(served.bytes.starts_with(b"\x89PNG") && served.bytes != PNG, "written anew");
    assert_eq!(kept.json()["bytes"], served.bytes.len());
    assert_eq!(served.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(served.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(served.header("x-content-type-options"), "nosniff");
    let etag = served.header("etag");
    let again = send(service.anonymous(Method::GET, &url).header(header::IF_NONE_MATCH, etag)).await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
}

pub(crate) async fn only_images_are_taken(service: Arc<Service>) {
    upload(&service, "/v1/assets", b"<svg xmlns='http://www.w3.org/2000/svg'/>").await.faults(422);
    let huge = service.request(Method::POST, "/v1/assets").body(vec![0xff; (8 << 20) + 1]);
    send(huge).await.faults(413);
    let polyglot = [PNG, b"<script>alert(1)</script>"].concat();
    let kept = send(service.request(Method::POST, "/v1/assets?fit=16x8&focus=0.5,0").body(polyglot)).await;
    assert_eq!((&kept.json()["width"], &kept.json()["height"]), (&16.into(), &8.into()), "{}", kept.text());
    let served = send(service.anonymous(Method::GET, kept.header("location"))).await;
    assert!(!served.text().contains("script"));
    upload(&service, "/v1/assets?fit=9999x9999", PNG).await.faults(422);
    upload(&service, "/v1/assets?focus=2,2", PNG).await.faults(422);
    upload(&service, "/v1/assets", b"\x89PNG\r\n\x1a\n and the rest of it").await.faults(422);
    send(service.anonymous(Method::POST, "/v1/assets").body(PNG)).await.faults(401);
    for odd in ["x.png", "0f343b0931126a20f133d67c2b018a3b.svg", "0f343b0931126a20f133d67c2b018a3b.png", "%00.png"] {
        send(service.anonymous(Method::GET, &format!("/v1/assets/{odd}"))).await.faults(404);
    }
}

pub(crate) async fn images_are_listed_and_go_when_nothing_names_them(service: Arc<Service>) {
    let kept = send(service.request(Method::POST, "/v1/assets").body(noise(31, 17))).await.json();
    let (name, url) = (kept["name"].as_str().expect("a name"), kept["url"].as_str().expect("a path"));
    let mut after = String::new();
    let found = loop {
        let page = service.get(&format!("/v1/assets?limit=2{after}")).await.json();
        if let Some(found) = page["items"].as_array().expect("items").iter().find(|item| item["name"] == name) {
            break found.clone();
        }
        after = format!("&after={}", page["next"].as_str().expect("more"));
    };
    assert_eq!((&found["width"], &found["height"], &found["bytes"]), (&json!(31), &json!(17), &kept["bytes"]));

    let template = json!({"name": "Card", "format": "html", "size": "300x250", "slots": {},
        "markup": format!("<body><a href=\"{{{{click_url}}}}\"><img src=\"{url}\" alt=\"\"></a></body>")});
    let path = format!("/v1/templates/{}", service.name("card"));
    let etag = service.create(&path, &template).await.header("etag").to_owned();
    let delete = async |query: &str| send(service.request(Method::DELETE, &format!("{url}{query}"))).await;
    let refused = delete("").await;
    assert_eq!(refused.faults(409), [(String::new(), "in_use".to_owned())]);
    assert!(refused.text().contains(&path[14..]), "{}", refused.text());
    assert_eq!(service.delete(&path, &etag).await.status, 204);
    let would = delete("?dry_run=true").await;
    assert_eq!((would.status, &would.json()["name"]), (200, &json!(name)));
    assert_eq!(send(service.anonymous(Method::GET, url)).await.status, 200);
    send(service.anonymous(Method::DELETE, url)).await.faults(401);
    assert_eq!(delete("").await.status, 204);
    delete("").await.faults(404);
    send(service.anonymous(Method::GET, url)).await.faults(404);
}
