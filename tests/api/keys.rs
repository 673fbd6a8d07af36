//! API keys from their making to their end.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Service, send};

pub(crate) async fn a_key_opens_what_its_scopes_say_until_it_is_revoked(service: Arc<Service>) {
    let id = service.name("key");
    let path = format!("/v1/keys/{id}");
    let put = async |scopes| send(service.request(Method::PUT, &path).json(&json!({ "scopes": scopes }))).await;
    let secret = async |scopes| {
        let made = put(scopes).await;
        made.json()["secret"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned()
    };
    let first = secret(json!(["report"])).await;
    let holder = service.with_key(&first);
    assert_eq!(holder.get("/v1/campaigns").await.status, 200);
    holder.get("/v1/keys").await.faults(403);

    let kept = service.get(&path).await;
    assert_eq!((kept.status, &kept.json()["scopes"]), (200, &json!(["report"])));
    assert!(!kept.text().contains(&first) && !service.get("/v1/keys").await.text().contains("tsk_"));

    let second = secret(json!(["events", "decide", "events"])).await;
    holder.get("/v1/campaigns").await.faults(401);
    service.with_key(&second).get("/v1/campaigns").await.faults(403);
    assert_eq!(service.get(&path).await.json()["scopes"], json!(["decide", "events"]));

    assert_eq!(send(service.request(Method::DELETE, &path)).await.status, 204);
    service.with_key(&second).get("/v1/campaigns").await.faults(401);
    send(service.request(Method::DELETE, &path)).await.faults(404);
    service.get(&path).await.faults(404);

    put(json!([])).await.faults(422);
    put(json!(["everything"])).await.faults(422);
}

pub(crate) async fn a_key_cannot_revoke_itself(service: Arc<Service>) {
    let path = format!("/v1/keys/{}", service.name("key"));
    let made = send(service.request(Method::PUT, &path).json(&json!({"scopes": ["admin"]}))).await.json();
    let holder = service.with_key(made["secret"].as_str().expect("a secret"));
    send(holder.request(Method::DELETE, &path)).await.faults(409);
    assert_eq!(send(service.request(Method::DELETE, &path)).await.status, 204);
}
