//! The description of the API, as it is served.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::Value;

use crate::harness::{Service, send};

pub(crate) async fn the_description_and_the_pages_are_served(service: Arc<Service>) {
    let served = send(service.anonymous(Method::GET, "/openapi.json")).await;
    let document = serde_json::to_value(tessera::http::openapi::document()).expect("JSON");
    assert_eq!(served.json(), document);
    let etag = served.header("etag");
    let again = send(service.anonymous(Method::GET, "/openapi.json").header(header::IF_NONE_MATCH, etag)).await;
    assert_eq!(again.status, 304);

    let page = send(service.anonymous(Method::GET, "/docs/")).await;
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.text());
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let part = send(service.anonymous(Method::GET, &format!("/docs/{file}"))).await;
        assert_eq!(part.status, 200, "{file}");
        assert!(!part.bytes.is_empty());
    }
    let starter = send(service.anonymous(Method::GET, "/docs/swagger-initializer.js")).await;
    assert!(starter.text().contains("/openapi.json"), "{}", starter.text());

    // every path is served: none answers that there is no such operation
    for path in document["paths"].as_object().expect("paths").keys() {
        let concrete = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>();
        let answer = send(service.anonymous(Method::GET, &concrete.join("/"))).await;
        let lost = answer.status == 404 && {
            let problem: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
            problem["detail"].as_str().unwrap_or_default().contains("names no operation")
        };
        assert!(!lost, "{path}");
    }
}
