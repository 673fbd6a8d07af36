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
    assert!(starter.text().contains("\"validatorUrl\": \"none\""), "nobody else is asked: {}", starter.text());

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

/// The operations of the description that know a caller, or change something: method and path.
fn operations(document: &Value) -> Vec<(Method, String)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let all = paths.flat_map(|(path, item)| item.as_object().expect("operations").iter().map(move |one| (path, one)));
    let strict = all.filter(|(path, (method, operation))| {
        path.starts_with("/v1/")
            && method.as_str() != "options"
            && (*method != "get" || operation.get("security").is_some())
    });
    let concrete = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    strict.map(|(path, (method, _))| (method.to_uppercase().parse().expect("a method"), concrete(path))).collect()
}

pub(crate) async fn no_operation_ignores_what_it_does_not_know(service: Arc<Service>) {
    let document = serde_json::to_value(tessera::http::openapi::document()).expect("JSON");
    let operations = operations(&document);
    assert!(operations.len() > 60, "{operations:?}");
    for (method, path) in operations {
        let told = send(service.request(method.clone(), &format!("{path}?zz=1"))).await;
        assert_eq!(told.faults(422), [("/zz".to_owned(), "query".to_owned())], "{method} {path}");
    }
    // an operation that has no dry run does not make a real one of it
    let user = format!("/v1/profiles/{}", service.name("u"));
    service.patch(&user, &serde_json::json!({"traits": {"age": 24}})).await;
    send(service.request(Method::DELETE, &format!("{user}?dry_run=true"))).await.faults(422);
    assert_eq!(service.get(&user).await.status, 200);
}
