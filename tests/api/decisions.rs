//! A decision, looked at afterwards.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tokio::time::sleep;

use crate::{authoring::creative, harness::Service};

/// The bytes of the first item of a placement.
fn item(answer: &[u8], placement: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        placements: std::collections::HashMap<String, Vec<&'a RawValue>>,
    }
    let whole: Whole<'_> = serde_json::from_slice(answer).expect("an answer");
    whole.placements[placement][0].get().to_owned()
}

pub(crate) async fn a_decision_is_recorded_explained_and_made_again(service: Arc<Service>) {
    let (creative, brand, _) = creative(&service).await;
    service
        .create(&format!("/v1/creatives/{creative}/components/hello"), &json!({"slot": "headline", "value": "Hello"}))
        .await;
    let published = service.post(&format!("/v1/creatives/{creative}/publish"), &json!({})).await;
    assert_eq!(published.status, 200, "{}", published.text());
    let campaign = service.name("campaign");
    let document = json!({
        "name": "Spring", "advertiser": brand, "status": "active", "creatives": [creative],
        "landing_url": "https://shop.northwind.example/spring",
    });
    service.create(&format!("/v1/campaigns/{campaign}"), &document).await;
    let request = json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "formats": ["html"], "candidates": {"campaign": campaign}}],
        "context": {"geo": {"country": "US"}}, "explain": "full",
    });
    let answer = service.post("/v1/decisions", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let item = item(&answer.bytes, "top");
    let shown: Value = serde_json::from_str(&item).expect("an item");
    assert_eq!((&shown["status"], &shown["campaign"]), (&json!("filled"), &json!(campaign)), "{shown}");
    let path = format!("/v1/decisions/{}", shown["decision_id"].as_str().expect("an id"));

    // records are written behind the answer
    let mut record = service.get(&path).await;
    for _ in 0..200 {
        if record.status == 200 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        record = service.get(&path).await;
    }
    assert_eq!(record.status, 200, "{}", record.text());
    assert_eq!(record.json()["item"], shown);
    assert!(record.json()["inputs"]["request"].is_object());

    // a later change of the catalogue does not change the past
    service
        .put(
            &format!("/v1/campaigns/{campaign}"),
            "*",
            &json!({
                "name": "Spring", "advertiser": brand, "status": "paused", "creatives": [creative],
                "landing_url": "https://shop.northwind.example/elsewhere",
            }),
        )
        .await;
    let explanation = service.get(&format!("{path}/explanation")).await;
    assert_eq!(explanation.status, 200, "{}", explanation.text());
    assert_eq!(explanation.json()["campaign"], campaign.as_str());
    assert_eq!(explanation.json()["slots"][0]["component"], "hello");
    let replayed = service.post(&format!("{path}/replay"), &json!({})).await;
    assert_eq!((replayed.status, replayed.text()), (200, item));

    service.get("/v1/decisions/00000000-0000-7000-8000-000000000000").await.faults(404);
    service.get("/v1/decisions/yesterday").await.faults(422);
}
