//! From a draft to what serves.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    authoring::{advertiser, creative},
    harness::{Service, send},
};

pub(crate) async fn a_draft_becomes_a_revision_and_serves(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    service.create(&format!("{base}/components/hello"), &json!({"slot": "headline", "value": "Hello"})).await;
    let would = service.post(&format!("{base}/publish?dry_run=true"), &json!({})).await;
    assert_eq!((would.status, &would.json()["revision"]), (200, &json!(1)), "{}", would.text());
    let revisions = async || service.get(&format!("{base}/revisions")).await.json()["items"].clone();
    assert_eq!(revisions().await, json!([]));

    let first = service.post(&format!("{base}/publish"), &json!({})).await;
    assert_eq!((first.status, &first.json()["revision"]), (200, &json!(1)), "{}", first.text());
    service.put(&format!("{base}/components/hello"), "*", &json!({"slot": "headline", "value": "Hello again"})).await;
    assert_eq!(service.post(&format!("{base}/publish"), &json!({})).await.json()["revision"], 2);
    let serving = |all: &Value| {
        let all = all.as_array().expect("items").iter();
        all.map(|one| (one["revision"].as_u64(), one["serving"].as_bool())).collect::<Vec<_>>()
    };
    assert_eq!(serving(&revisions().await), [(Some(1), Some(false)), (Some(2), Some(true))]);

    // what was published does not change with the draft
    let old = service.get(&format!("{base}/revisions/1")).await.json();
    assert_eq!(old["document"]["components"]["hello"]["value"], "Hello");
    assert_eq!(service.post(&format!("{base}/publish"), &json!({"revision": 1})).await.json()["revision"], 1);
    assert_eq!(serving(&revisions().await), [(Some(1), Some(true)), (Some(2), Some(false))]);
    let page = service.get(&format!("{base}/revisions?limit=1")).await.json();
    assert_eq!((serving(&page["items"]).len(), &page["next"]), (1, &json!("1")));
    let page = service.get(&format!("{base}/revisions?limit=1&after=1")).await.json();
    assert_eq!((serving(&page["items"])[0].0, page.get("next")), (Some(2), None));

    assert_eq!(service.post(&format!("{base}/archive"), &json!({})).await.status, 200);
    assert_eq!(serving(&revisions().await), [(Some(1), Some(false)), (Some(2), Some(false))]);
    service.get(&format!("{base}/revisions/3")).await.faults(404);
    service.post(&format!("{base}/publish"), &json!({"revision": 9})).await.faults(404);
    service.post(&format!("{base}/publish"), &json!({"revision": 0})).await.faults(422);
    service.post("/v1/creatives/nobodys/publish", &json!({})).await.faults(404);
    service.get("/v1/creatives/nobodys/revisions").await.faults(404);
}

pub(crate) async fn only_the_draft_that_was_read_is_published(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let publish = async |etag: &str| {
        send(service.request(Method::POST, &format!("{base}/publish")).header(header::IF_MATCH, etag)).await
    };
    let read = service.get(&base).await;
    let mut draft = read.json()["document"].clone();
    draft["name"] = json!("Summer");
    let changed = service.put(&base, read.header("etag"), &draft).await;
    publish(read.header("etag")).await.faults(412);
    publish("\"0\"").await.faults(412);
    publish("7").await.faults(400);
    assert_eq!(service.get(&format!("{base}/revisions")).await.json()["items"], json!([]));
    // and there is nothing to say but which draft
    assert_eq!(publish(changed.header("etag")).await.json()["revision"], 1);
    assert_eq!(publish("*").await.json()["revision"], 2);
    let bare = send(service.request(Method::POST, &format!("{base}/publish"))).await;
    assert_eq!(bare.json()["revision"], 3);
    let nobodys = service.request(Method::POST, "/v1/creatives/nobodys/publish").header(header::IF_MATCH, "\"1\"");
    send(nobodys).await.faults(404);
}

pub(crate) async fn a_draft_that_cannot_serve_is_refused(service: Arc<Service>) {
    let (brand, line, id) = (service.name("brand"), service.name("line"), service.name("creative"));
    service.create(&format!("/v1/advertisers/{brand}"), &advertiser()).await;
    let template = json!({"name": "Bare", "format": "html", "size": "300x250", "markup": "<body>Hello</body>"});
    service.create(&format!("/v1/templates/{line}"), &template).await;
    let draft = json!({"name": "Odd", "advertiser": brand, "templates": [line],
        "pairing": [{"forbid": ["never-made", "nor-this"]}]});
    service.create(&format!("/v1/creatives/{id}"), &draft).await;
    let refused = service.post(&format!("/v1/creatives/{id}/publish"), &json!({})).await;
    assert!(!refused.faults(422).is_empty(), "{}", refused.text());
    assert_eq!(service.get(&format!("/v1/creatives/{id}/revisions")).await.json()["items"], json!([]));
}

pub(crate) async fn going_back_is_refused_only_where_nothing_can_be_shown(service: Arc<Service>) {
    let (id, brand, template) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let read = async |path: &str| {
        let read = service.get(path).await;
        (read.json()["document"].clone(), read.header("etag").to_owned())
    };
    let change = async |path: &str, members: Value| {
        let (mut document, etag) = read(path).await;
        members.as_object().into_iter().flatten().for_each(|(name, value)| document[name] = value.clone());
        let answer = service.put(path, &etag, &document).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let owner = format!("/v1/advertisers/{brand}");
    change(&owner, json!({"landing_hosts": ["northwind.example", "old.example"]})).await;
    let url = json!({"type": "url", "default": "https://northwind.example/"});
    let slots = json!({"headline": {"type": "text", "default": "New"}, "to": url, "more": url});
    let markup = "<body><a href=\"{{click_url}}\">{{headline}}</a> <a href=\"{{more}}\">more</a> {{to}}</body>";
    change(&format!("/v1/templates/{template}"), json!({"slots": slots, "markup": markup})).await;
    change(&base, json!({"landing_slot": "to", "pairing": [{"forbid": ["plain", "more"]}]})).await;
    let list = service.name("list");
    service.create(&format!("/v1/segments/{list}"), &json!({"name": "L", "rule": {"v": 1, "kind": "static"}})).await;
    let components = json!([
        {"id": "aimed", "slot": "headline", "value": "For you", "targeting": {"segment": list}},
        {"id": "plain", "slot": "headline", "value": "For all"},
        {"id": "to", "slot": "to", "value": "https://old.example/landing"},
        {"id": "more", "slot": "more", "value": "https://old.example/more"},
    ]);
    assert_eq!(service.post(&format!("{base}/components"), &components).await.json()["created"], 4);
    let publish = async |body: &Value| service.post(&format!("{base}/publish"), body).await;
    let first = publish(&json!({})).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let line = service.name("campaign");
    let campaign = json!({"name": "It", "advertiser": brand, "status": "active", "creatives": [id], "landing_url": "https://northwind.example/"});
    service.create(&format!("/v1/campaigns/{line}"), &campaign).await;

    // the second revision does without all this, and it goes: nothing holds it any more
    for gone in ["aimed", "to", "more"] {
        assert_eq!(service.delete(&format!("{base}/components/{gone}"), "*").await.status, 204);
    }
    change(&base, json!({"pairing": []})).await;
    assert_eq!(publish(&json!({})).await.json()["revision"], 2);
    assert_eq!(service.delete(&format!("/v1/segments/{list}"), "*").await.status, 204);
    change(&owner, json!({"landing_hosts": ["northwind.example"]})).await;

    let back = publish(&json!({"revision": 1})).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let warnings = back.json()["warnings"].clone();
    let told = |pointer: &str, code: &str| {
        let mut all = warnings.as_array().into_iter().flatten();
        assert!(all.any(|one| one["pointer"] == pointer && one["code"] == code), "{pointer} {code}: {warnings:#}");
    };
    told("/components/aimed/targeting/segment", "unknown_segment");
    told("/components/to/value", "landing_host_not_allowed");
    told("/components/more/value", "landing_host_not_allowed");
    told("/creative/pairing", "unsatisfiable");
    let ask = json!({"placements": [{"id": "a", "sizes": ["300x250"], "candidates": {"campaign": line}}],
        "user": {"key": "u-1", "segments": [list]}});
    let item = service.post("/v1/decisions", &ask).await.json()["placements"]["a"][0].clone();
    assert_eq!((&item["status"], &item["revision"]), (&json!("filled"), &json!(1)), "{item:#}");
    assert_eq!(item["content"]["to"], "https://northwind.example/", "what leads elsewhere is not shown");
    assert_ne!(item["components"]["headline"], "aimed");

    // an ad without an owner cannot be made
    let (id, brand, _) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let publish = async |body: &Value| service.post(&format!("{base}/publish"), body).await;
    assert_eq!(publish(&json!({})).await.status, 200);
    let heir = service.name("brand");
    service.create(&format!("/v1/advertisers/{heir}"), &advertiser()).await;
    change(&base, json!({"advertiser": heir})).await;
    assert_eq!(publish(&json!({})).await.json()["revision"], 2);
    assert_eq!(service.delete(&format!("/v1/advertisers/{brand}"), "*").await.status, 204);
    let refused = publish(&json!({"revision": 1})).await.faults(422);
    assert_eq!(refused, [("/creative/advertiser".to_owned(), "unknown_advertiser".to_owned())]);
}
