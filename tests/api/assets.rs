//! Images from upload to browser.

use std::sync::Arc;

use reqwest::{Method, header};

use crate::harness::{Answer, Service, send};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and the rest of it";

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
    assert_eq!(served.bytes, PNG);
    assert_eq!(served.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(served.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(served.header("x-content-type-options"), "nosniff");
    let etag = served.header("etag");
    let again = send(service.anonymous(Method::GET, &url).header(header::IF_NONE_MATCH, etag)).await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
}

pub(crate) async fn only_images_are_taken(service: Arc<Service>) {
    upload(&service, "/v1/assets", b"<svg xmlns='http://www.w3.org/2000/svg'/>").await.faults(422);
    let huge = service.request(Method::POST, "/v1/assets").body(vec![0xff; (2 << 20) + 1]);
    send(huge).await.faults(413);
    send(service.anonymous(Method::POST, "/v1/assets").body(PNG)).await.faults(401);
    for odd in ["x.png", "0f343b0931126a20f133d67c2b018a3b.svg", "0f343b0931126a20f133d67c2b018a3b.png", "%00.png"] {
        send(service.anonymous(Method::GET, &format!("/v1/assets/{odd}"))).await.faults(404);
    }
}
