//! The catalogue as authors see it.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::harness::{Service, send};

pub(crate) fn advertiser() -> Value {
    json!({"name": "Northwind", "domain": "northwind.example"})
}

/// An html template with one text slot.
pub(crate) fn template() -> Value {
    json!({
        "name": "Line", "format": "html", "size": "300x250",
        "slots": {"headline": {"type": "text", "default": "New this week"}},
        "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>",
    })
}

/// A creative with its advertiser and its template; its id and theirs.
pub(crate) async fn creative(service: &Service) -> (String, String, String) {
    let (advertiser_id, template_id) = (service.name("brand"), service.name("line"));
    let id = service.name("creative");
    service.create(&format!("/v1/advertisers/{advertiser_id}"), &advertiser()).await;
    service.create(&format!("/v1/templates/{template_id}"), &template()).await;
    let draft = json!({"name": "Spring", "advertiser": advertiser_id, "templates": [template_id]});
    service.create(&format!("/v1/creatives/{id}"), &draft).await;
    (id, advertiser_id, template_id)
}

pub(crate) async fn a_document_lives_and_dies(service: Arc<Service>) {
    let path = format!("/v1/advertisers/{}", service.name("brand"));
    assert_eq!(service.get(&path).await.status, 404);
    let created = service.create(&path, &advertiser()).await;
    assert_eq!(created.header("location"), path);
    let etag = created.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", created.json()["version"]));

    let read = service.get(&path).await;
    assert_eq!((read.status, read.header("etag")), (200, etag.as_str()));
    assert_eq!(read.json()["document"], advertiser());
    assert_eq!(read.json()["id"], path.rsplit('/').next().expect("an id"));
    let again = send(service.request(Method::GET, &path).header(header::IF_NONE_MATCH, format!("W/{etag}"))).await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));

    let changed = service.put(&path, &etag, &json!({"name": "Northwind Ltd", "domain": "northwind.example"})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_ne!(changed.header("etag"), etag);
    assert_eq!(service.get(&path).await.json()["document"]["name"], "Northwind Ltd");

    assert_eq!(service.delete(&path, changed.header("etag")).await.status, 204);
    assert_eq!(service.get(&path).await.status, 404);
    assert_eq!(service.delete(&path, changed.header("etag")).await.status, 404);
}

pub(crate) async fn a_change_names_what_it_replaces(service: Arc<Service>) {
    let path = format!("/v1/advertisers/{}", service.name("brand"));
    let plain = send(service.request(Method::PUT, &path).json(&advertiser())).await;
    plain.faults(428);
    service.put(&path, "*", &advertiser()).await.faults(412);
    service.put(&path, "\"1\"", &advertiser()).await.faults(412);
    let etag = service.create(&path, &advertiser()).await.header("etag").to_owned();
    service.put_new(&path, &advertiser()).await.faults(412);
    service.put(&path, "\"0\"", &advertiser()).await.faults(412);
    service.put(&path, &format!("W/{etag}"), &advertiser()).await.faults(412);
    service.put(&path, "12", &advertiser()).await.faults(400);
    send(service.request(Method::DELETE, &path)).await.faults(428);
    service.delete(&path, "\"0\"").await.faults(412);
    assert_eq!(service.put(&path, "*", &advertiser()).await.status, 200);
    assert_eq!(service.get(&path).await.status, 200);
}

pub(crate) async fn every_fault_is_told_at_once(service: Arc<Service>) {
    let path = format!("/v1/placements/{}", service.name("slot"));
    let document = json!({"name": "", "sizes": ["300x250", "wide"], "formats": [], "colour": "red"});
    let mut faults = service.put_new(&path, &document).await.faults(422);
    faults.sort();
    let pointers: Vec<&str> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/colour", "/formats", "/name", "/sizes/1"], "{faults:?}");

    let campaign = json!({
        "name": "Spring", "advertiser": "nobody", "status": "active", "creatives": ["none", "neither"],
        "landing_url": "https://nowhere.example/",
    });
    let faults = service.put_new(&format!("/v1/campaigns/{}", service.name("campaign")), &campaign).await.faults(422);
    let at = |pointer: &str| faults.iter().any(|(place, _)| place == pointer);
    assert!(at("/creatives/0") && at("/creatives/1"), "{faults:?}");

    let rule = json!({"name": "Odd", "rule": {"v": 1, "kind": "dynamic", "match": {"all": [
        {"trait": "age", "gte": "old"}, {"segment": "no-such-segment"}
    ]}}});
    let faults = service.put_new(&format!("/v1/segments/{}", service.name("odd")), &rule).await.faults(422);
    assert!(faults.iter().all(|(place, _)| place.starts_with("/rule/match/all/")), "{faults:?}");

    let markup = json!({"name": "Bad", "format": "html", "slots": {"x": {"type": "text", "default": "x"}},
        "markup": "<script>var x = '{{x}}';</script>"});
    let faults = service.put_new(&format!("/v1/templates/{}", service.name("bad")), &markup).await.faults(422);
    assert!(faults.iter().any(|(place, _)| place == "/markup"), "{faults:?}");
}

pub(crate) async fn faults_of_meaning_are_told_with_those_of_form(service: Arc<Service>) {
    let brand = service.name("brand");
    service.create(&format!("/v1/advertisers/{brand}"), &advertiser()).await;
    let document = json!({
        "name": 7, "advertiser": brand, "status": "active", "colour": "red", "creatives": ["No id!", "nowhere"],
        "landing_url": "https://elsewhere.example/", "targeting": {"trait": "age", "near": 3},
        "flight": {"start": "2026-05-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
    });
    let path = format!("/v1/campaigns/{}", service.name("campaign"));
    let faults = service.put_new(&path, &document).await.faults(422);
    let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let places = ["/name", "/colour", "/creatives/0", "/creatives/1", "/landing_url", "/flight/end"];
    assert!(places.iter().all(|place| pointers.contains(place)), "{faults:?}");
    assert!(pointers.iter().any(|pointer| pointer.starts_with("/targeting")), "{faults:?}");
    assert!(!pointers.contains(&"/advertiser"), "{faults:?}");
}

pub(crate) async fn campaigns_show_creatives_of_their_own_advertiser(service: Arc<Service>) {
    let ((own, brand, _), (other, other_brand, template)) = (creative(&service).await, creative(&service).await);
    let document = |creatives: &[&str], default: &str| {
        json!({"name": "Spring", "advertiser": brand, "status": "active", "creatives": creatives,
               "default_creative": default, "landing_url": "https://northwind.example/"})
    };
    let path = format!("/v1/campaigns/{}", service.name("campaign"));
    let foreign = |pointer: &str| (pointer.to_owned(), "other_advertiser".to_owned());
    let mut faults = service.put_new(&path, &document(&[&other, &own], &other)).await.faults(422);
    faults.sort();
    assert_eq!(faults, [foreign("/creatives/0"), foreign("/default_creative")]);
    service.create(&path, &document(&[&own], &own)).await;
    let sold = json!({"name": "Spring", "advertiser": other_brand, "templates": [template]});
    let faults = service.put(&format!("/v1/creatives/{own}"), "*", &sold).await.faults(422);
    assert_eq!(faults, [foreign("/advertiser")]);
}

pub(crate) async fn what_is_in_use_stays(service: Arc<Service>) {
    let (creative, advertiser, _) = creative(&service).await;
    let path = format!("/v1/advertisers/{advertiser}");
    let refused = service.delete(&path, "*").await;
    assert_eq!(refused.faults(409), [(String::new(), "in_use".to_owned())]);
    assert_eq!(refused.json()["errors"][0]["detail"], format!("creative/{creative} names it"));
    assert_eq!(service.get(&path).await.status, 200);
}

pub(crate) async fn a_dry_run_changes_nothing(service: Arc<Service>) {
    let path = format!("/v1/advertisers/{}", service.name("brand"));
    let dry = format!("{path}?dry_run=true");
    let would = service.put_new(&dry, &advertiser()).await;
    assert_eq!((would.status, would.header("etag")), (200, ""));
    assert_eq!(would.json()["document"], advertiser());
    assert_eq!(service.get(&path).await.status, 404);
    service.put_new(&dry, &json!({"name": "x"})).await.faults(422);

    let etag = service.create(&path, &advertiser()).await.header("etag").to_owned();
    let other = json!({"name": "Other", "domain": "other.example"});
    assert_eq!(service.put(&dry, &etag, &other).await.json()["document"], other);
    let would = service.delete(&dry, &etag).await;
    assert_eq!((would.status, &would.json()["document"]), (200, &advertiser()));
    let kept = service.get(&path).await;
    assert_eq!((kept.header("etag"), &kept.json()["document"]), (etag.as_str(), &advertiser()));

    // a typo must not make a dry run a real one
    service.put(&format!("{path}?dryrun=true"), &etag, &other).await.faults(422);
    service.put(&format!("{path}?dry_run=yes"), &etag, &other).await.faults(422);
}

pub(crate) async fn ids_are_made_where_none_is_chosen(service: Arc<Service>) {
    let would = service.post("/v1/advertisers?dry_run=true", &advertiser()).await;
    assert_eq!(would.status, 200);
    let one = service.post("/v1/advertisers", &advertiser()).await;
    let two = service.post("/v1/advertisers", &advertiser()).await;
    assert_eq!((one.status, two.status), (201, 201));
    assert_ne!(one.json()["id"], two.json()["id"]);
    assert!(one.header("location").starts_with("/v1/advertisers/northwind-"), "{}", one.header("location"));
    let read = service.get(one.header("location")).await;
    assert_eq!(read.header("etag"), one.header("etag"));
    service.post("/v1/advertisers", &json!({"name": "Northwind"})).await.faults(422);
}

pub(crate) async fn lists_come_in_pages(service: Arc<Service>) {
    let (creative, ..) = creative(&service).await;
    let base = format!("/v1/creatives/{creative}/components");
    for id in ["a-1", "a-2", "b-1"] {
        let component = json!({"slot": "headline", "value": format!("Hello from {id}")});
        service.create(&format!("{base}/{id}"), &component).await;
    }
    let ids = |page: &Value| {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let first = service.get(&format!("{base}?limit=2")).await.json();
    assert_eq!((ids(&first), first["next"].as_str()), (vec!["a-1".to_owned(), "a-2".to_owned()], Some("a-2")));
    let last = service.get(&format!("{base}?limit=2&after=a-2")).await.json();
    assert_eq!((ids(&last), last.get("next")), (vec!["b-1".to_owned()], None));
    for query in ["limit=0", "limit=501", "after=%00", "offset=3"] {
        service.get(&format!("{base}?{query}")).await.faults(422);
    }
    service.get("/v1/creatives/nobodys/components").await.faults(404);
    for kind in ["advertisers", "placements", "templates", "segments", "creatives", "campaigns"] {
        assert_eq!(service.get(&format!("/v1/{kind}")).await.status, 200, "{kind}");
    }
}

pub(crate) async fn components_live_in_their_creative(service: Arc<Service>) {
    let (creative, ..) = creative(&service).await;
    let path = format!("/v1/creatives/{creative}/components/hello");
    let component =
        json!({"slot": "headline", "value": "Hello", "targeting": {"context": "geo.country", "in": ["DE"]}});
    let created = service.create(&path, &component).await;
    assert_eq!((created.header("location"), &created.json()["id"]), (path.as_str(), &json!("hello")));
    let faults = service.put(&path, "*", &json!({"slot": "headlin", "value": "Hello"})).await.faults(422);
    assert_eq!(faults, [("/slot".to_owned(), "unknown_slot".to_owned())]);
    let made = service.post(&format!("/v1/creatives/{creative}/components"), &component).await;
    assert_eq!(made.status, 201, "{}", made.text());
    service.put_new("/v1/creatives/nope/components/a", &component).await.faults(404);
    service.put("/v1/creatives/nope/components/a", "*", &component).await.faults(404);
    service.post("/v1/creatives/nope/components", &component).await.faults(404);
    assert_eq!(service.get(made.header("location")).await.status, 200);
    assert_eq!(service.delete(&format!("/v1/creatives/{creative}"), "*").await.status, 204);
    service.get(&path).await.faults(404);
}

pub(crate) async fn only_keys_with_the_scope_may(service: Arc<Service>) {
    let id = service.name("reader");
    let made = service.create(&format!("/v1/keys/{id}"), &json!({"scopes": ["report"]})).await;
    let reader = service.with_key(made.json()["secret"].as_str().unwrap_or_else(|| panic!("{}", made.text())));
    assert_eq!(reader.get("/v1/advertisers").await.status, 200);
    let refused = reader.put_new("/v1/advertisers/mine", &advertiser()).await;
    refused.faults(403);
    assert!(refused.json()["detail"].as_str().expect("words").contains("author"), "{}", refused.text());
    service.with_key("tsk_unknown").get("/v1/advertisers").await.faults(401);
    let anonymous = send(service.anonymous(Method::GET, "/v1/advertisers")).await;
    anonymous.faults(401);
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
}

pub(crate) async fn odd_requests_are_problems(service: Arc<Service>) {
    service.get("/v1/advertisers/Not%20an%20id").await.faults(422);
    service.get("/v1/advertisers/%ff").await.faults(400);
    service.get("/v1/advertiser").await.faults(404);
    let wrong = send(service.request(Method::PATCH, "/v1/advertisers")).await;
    wrong.faults(405);
    assert!(wrong.header("allow").contains("POST"), "{}", wrong.header("allow"));
    let new = |body: &'static str, kind: &'static str| {
        let request = service.request(Method::PUT, "/v1/advertisers/odd").header(header::IF_NONE_MATCH, "*");
        send(request.header(header::CONTENT_TYPE, kind).body(body))
    };
    new("{\"name\": ", "application/json").await.faults(400);
    new("{\"name\": \"a\", \"name\": \"b\", \"domain\": \"b.example\"}", "application/json").await.faults(400);
    new("", "application/json").await.faults(400);
    new("name=a", "application/x-www-form-urlencoded").await.faults(415);
    let huge = send(
        service
            .request(Method::PUT, "/v1/advertisers/odd")
            .header(header::IF_NONE_MATCH, "*")
            .header(header::CONTENT_TYPE, "application/json")
            .body(vec![b' '; 2 << 20]),
    )
    .await;
    huge.faults(413);
    assert_eq!(service.get("/v1/advertisers/odd").await.status, 404);
}
