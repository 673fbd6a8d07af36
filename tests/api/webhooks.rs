//! Webhooks as their owners see them.

use std::sync::Arc;

use serde_json::json;

use crate::harness::Service;

pub(crate) async fn a_dry_run_changes_no_webhook(service: Arc<Service>) {
    let path = format!("/v1/webhooks/{}", service.name("hook"));
    let dry = format!("{path}?dry_run=true");
    let document = json!({"url": "https://crm.example/in"});
    let would = service.put_new(&dry, &document).await;
    assert_eq!((would.status, would.header("etag")), (200, ""), "{}", would.text());
    assert_eq!(would.json()["document"]["url"], document["url"]);
    assert!(would.json().get("secret").is_none(), "{}", would.text());
    service.get(&path).await.faults(404);
    service.put_new(&dry, &json!({"url": document["url"], "segments": ["never-made"]})).await.faults(422);
    service.put(&dry, "*", &document).await.faults(412);
    service.delete(&dry, "*").await.faults(404);

    let etag = service.create(&path, &document).await.header("etag").to_owned();
    service.put_new(&dry, &document).await.faults(412);
    service.put(&dry, "\"0\"", &document).await.faults(412);
    let paused = json!({"url": "https://crm.example/other", "status": "paused"});
    let would = service.put(&dry, &etag, &paused).await.json();
    assert_eq!((&would["state"], &would["document"]["url"]), (&json!("paused"), &paused["url"]), "{would}");
    service.delete(&dry, "\"0\"").await.faults(412);
    assert_eq!(service.delete(&dry, &etag).await.json()["document"]["url"], document["url"]);
    let kept = service.get(&path).await;
    assert_eq!((kept.header("etag"), &kept.json()["document"]["url"]), (etag.as_str(), &document["url"]));
}
