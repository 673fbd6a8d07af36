//! API keys from their making to their end.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::json;

use crate::harness::{Answer, Service, send};

fn secret(answer: &Answer) -> String {
    answer.json()["secret"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

pub(crate) async fn a_key_opens_what_its_scopes_say_until_it_is_revoked(service: Arc<Service>) {
    let path = format!("/v1/keys/{}", service.name("key"));
    let made = service.create(&path, &json!({"scopes": ["report"]})).await;
    assert_eq!(made.header("location"), path);
    let first = secret(&made);
    let holder = service.with_key(&first);
    assert_eq!(holder.get("/v1/campaigns").await.status, 200);
    holder.get("/v1/keys").await.faults(403);

    let kept = service.get(&path).await;
    assert_eq!((kept.status, &kept.json()["scopes"]), (200, &json!(["report"])));
    assert_eq!(kept.header("etag"), made.header("etag"));
    assert!(!kept.text().contains(&first) && !service.get("/v1/keys").await.text().contains("tsk_"));
    let known = service.request(Method::GET, &path).header(header::IF_NONE_MATCH, kept.header("etag"));
    assert_eq!(send(known).await.status, 304);

    // other scopes, the same secret
    let changed = service.put(&path, kept.header("etag"), &json!({"scopes": ["events", "decide", "events"]})).await;
    assert_eq!((changed.status, changed.json().get("secret")), (200, None), "{}", changed.text());
    holder.get("/v1/campaigns").await.faults(403);
    assert_eq!(service.get(&path).await.json()["scopes"], json!(["decide", "events"]));
    assert_eq!(service.put(&path, "*", &json!({"scopes": ["report"]})).await.status, 200);
    assert_eq!(holder.get("/v1/campaigns").await.status, 200);

    service.put(&path, "*", &json!({"scopes": []})).await.faults(422);
    service.put(&path, "*", &json!({"scopes": ["everything"]})).await.faults(422);
    assert_eq!(service.delete(&path, "*").await.status, 204);
    holder.get("/v1/campaigns").await.faults(401);
    service.delete(&path, "*").await.faults(404);
    service.get(&path).await.faults(404);
}

pub(crate) async fn no_key_is_destroyed_by_mistake(service: Arc<Service>) {
    let path = format!("/v1/keys/{}", service.name("key"));
    let dry = format!("{path}?dry_run=true");
    let scopes = json!({"scopes": ["report"]});
    let would = service.put_new(&dry, &scopes).await;
    assert_eq!((would.status, would.json().get("secret")), (200, None), "{}", would.text());
    service.get(&path).await.faults(404);
    service.put(&path, "*", &scopes).await.faults(412);

    let made = service.create(&path, &scopes).await;
    let (etag, holder) = (made.header("etag").to_owned(), service.with_key(&secret(&made)));
    service.put_new(&path, &scopes).await.faults(412);
    service.put(&path, "\"0\"", &scopes).await.faults(412);
    send(service.request(Method::PUT, &path).json(&scopes)).await.faults(428);
    send(service.request(Method::DELETE, &path)).await.faults(428);
    service.delete(&path, "\"0\"").await.faults(412);
    let would = service.put(&dry, &etag, &json!({"scopes": ["decide"]})).await;
    assert_eq!(would.json()["scopes"], json!(["decide"]));
    assert_eq!(service.delete(&dry, &etag).await.json()["scopes"], json!(["report"]));
    assert_eq!(service.get(&path).await.header("etag"), etag);
    assert_eq!(holder.get("/v1/campaigns").await.status, 200);

    // the tag of a key that is gone is not that of another one of its name
    assert_eq!(service.delete(&path, &etag).await.status, 204);
    assert_ne!(service.create(&path, &scopes).await.header("etag"), etag);
}

pub(crate) async fn a_secret_is_replaced_without_a_gap(service: Arc<Service>) {
    let path = format!("/v1/keys/{}", service.name("key"));
    let made = service.create(&path, &json!({"scopes": ["report"]})).await;
    let opens = async |secret: &str| service.with_key(secret).get("/v1/campaigns").await.status;
    let rotate = async |query: &str| send(service.request(Method::POST, &format!("{path}/rotate{query}"))).await;
    let first = secret(&made);
    let rotated = rotate("").await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let second = secret(&rotated);
    assert_eq!((opens(&first).await, opens(&second).await), (200, 200));
    let key = service.get(&path).await;
    assert_eq!(key.header("etag"), rotated.header("etag"));
    assert_ne!(key.header("etag"), made.header("etag"));
    assert_eq!(key.json()["old_secret_until"], rotated.json()["old_secret_until"]);
    assert!(key.json()["old_secret_until"].is_string(), "{}", key.text());

    // at most two, and no overlap where none is wanted
    let third = secret(&rotate("?overlap_hours=1").await);
    assert_eq!((opens(&first).await, opens(&second).await, opens(&third).await), (401, 200, 200));
    let last = rotate("?overlap_hours=0").await;
    assert_eq!(last.json().get("old_secret_until"), None);
    assert_eq!((opens(&second).await, opens(&third).await, opens(&secret(&last)).await), (401, 401, 200));
    // other scopes leave both as they are
    let again = secret(&rotate("").await);
    service.put(&path, "*", &json!({"scopes": ["report", "decide"]})).await;
    assert_eq!((opens(&secret(&last)).await, opens(&again).await), (200, 200));
    rotate("?overlap_hours=721").await.faults(422);
    send(service.request(Method::POST, "/v1/keys/nobodys/rotate")).await.faults(404);
}

pub(crate) async fn a_key_cannot_revoke_itself(service: Arc<Service>) {
    let path = format!("/v1/keys/{}", service.name("key"));
    let holder = service.with_key(&secret(&service.create(&path, &json!({"scopes": ["admin"]})).await));
    holder.delete(&path, "*").await.faults(409);
    assert_eq!(service.delete(&path, "*").await.status, 204);
}
