//! What marketers do: upload, look, publish, go back.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    authoring::{advertiser, creative},
    harness::{Answer, Service, documented, masked, send, tour},
};

async fn upload(service: &Service, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    send(service.request(Method::POST, path).header(header::CONTENT_TYPE, kind).body(body)).await
}

/// The script of the documentation, against this service.
pub(crate) async fn the_tour_does_what_it_says(service: Arc<Service>) {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(said) = tour(&service, "docs/tour-marketer.sh", &folder.path().join("sheet.html")).await else { return };
    assert_eq!(masked(&said), masked(&documented("docs/tour-marketer.md")), "{said}");
    let decisions: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let revisions =
        decisions.iter().filter(|line: &&Value| line["status"] == "filled").map(|line| line["revision"].as_u64());
    assert_eq!(revisions.collect::<Vec<_>>(), [Some(1), Some(2), Some(1)], "{said}");
    assert!(decisions.contains(&json!({"status": 412, "detail": decisions.iter().find(|line| line["status"] == 412).expect("refused")["detail"]})));
}

pub(crate) async fn combinations_are_what_decisions_show(service: Arc<Service>) {
    let (id, brand, template) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let two = json!({"name": "Two", "format": "html", "size": "300x250", "markup": "<body><a href=\"{{click_url}}\">{{headline}} {{cta}}</a></body>",
        "slots": {"headline": {"type": "text", "default": "New"}, "cta": {"type": "text", "default": "Go"}}});
    let read = service.get(&format!("/v1/templates/{template}")).await;
    assert_eq!(service.put(&format!("/v1/templates/{template}"), read.header("etag"), &two).await.status, 200);
    let many: Vec<Value> = (0..3)
        .flat_map(|n| {
            ["headline", "cta"]
                .map(|slot| json!({"id": format!("{slot}-{n}"), "slot": slot, "value": format!("{slot} {n}")}))
        })
        .collect();
    let taken = service.post(&format!("{base}/components"), &json!(many)).await;
    assert_eq!((&taken.json()["created"], &taken.json()["rejected"]), (&json!(6), &json!(0)), "{}", taken.text());
    let read = service.get(&base).await;
    let mut draft = read.json()["document"].clone();
    draft["pairing"] = json!([{"forbid": ["headline-0", "cta-0"]}]);
    assert_eq!(service.put(&base, read.header("etag"), &draft).await.status, 200);

    let all = service.get(&format!("{base}/combinations")).await.json();
    assert_eq!((&all["count"], &all["revision"]), (&json!(8), &json!(1)), "{all}");
    let items = all["items"].as_array().expect("items").clone();
    assert_eq!(items.len(), 8);
    assert!(items.iter().all(|item| item["components"] != json!({"headline": "headline-0", "cta": "cta-0"})));
    let first = service.get(&format!("{base}/combinations?limit=5")).await.json();
    let rest = service
        .get(&format!("{base}/combinations?limit=5&after={}", first["next"].as_str().expect("more")))
        .await
        .json();
    let paged: Vec<&Value> = first["items"].as_array().into_iter().chain(rest["items"].as_array()).flatten().collect();
    assert_eq!(
        paged.iter().map(|item| &item["combination_id"]).collect::<Vec<_>>(),
        items.iter().map(|item| &item["combination_id"]).collect::<Vec<_>>()
    );
    assert!(rest.get("next").is_none());
    let cover = service.get(&format!("{base}/combinations?cover=pairs")).await.json();
    assert_eq!(cover["shown"], 8, "every pair of two slots is a combination");

    let sheet = service.get(&format!("{base}/preview")).await;
    assert_eq!((sheet.status, sheet.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(sheet.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(sheet.text().matches("<iframe sandbox=\"\"").count(), 8);
    assert!(sheet.text().contains("&lt;a href=&quot;"));

    service.post(&format!("{base}/publish"), &json!({})).await;
    let campaign = json!({"name": "It", "advertiser": brand, "status": "active", "creatives": [id], "landing_url": "https://northwind.example/"});
    let line = service.name("campaign");
    service.create(&format!("/v1/campaigns/{line}"), &campaign).await;
    for n in 0..20 {
        let ask = json!({"placements": [{"id": "a", "sizes": ["300x250"], "candidates": {"campaign": line}}], "user": {"key": format!("u-{n}")}});
        let item = service.post("/v1/decisions", &ask).await.json()["placements"]["a"][0].clone();
        let known =
            items.iter().find(|known| known["combination_id"] == item["combination_id"]).expect("a legal combination");
        assert_eq!(
            (&known["crid"], &known["components"], &known["content"]),
            (&item["crid"], &item["components"], &item["content"])
        );
    }
    service.get(&format!("{base}/combinations?size=1x1")).await.faults(422);
    let rainy = json!([{"id": "rain", "slot": "cta", "value": "Stay dry",
        "targeting": {"all": [{"trait": "age", "gte": 18}, {"context": "data.weather", "eq": "rain"}]}}]);
    assert_eq!(service.post(&format!("{base}/components"), &rainy).await.json()["created"], 1);
    for (who, seen) in [
        ("traits=age:24&data=weather:rain", true),
        ("traits=age:17&data=weather:rain", false),
        ("traits=age:24", false),
    ] {
        let shown = service.get(&format!("{base}/combinations?{who}")).await.json();
        let ctas = shown["slots"]["cta"].as_array().expect("components");
        assert_eq!(ctas.contains(&json!("rain")), seen, "{who}: {shown}");
    }
    service.get(&format!("{base}/combinations?traits=24")).await.faults(422);
    service.get(&format!("{base}/combinations?segments=nobody-made-it")).await.faults(422);
    service.get(&format!("{base}/combinations?revision=7")).await.faults(404);
    service.get("/v1/creatives/nobodys/combinations").await.faults(404);
}

pub(crate) async fn many_components_are_taken_and_no_edit_is_lost(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let path = format!("/v1/creatives/{id}/components");
    let row = |n: usize| match n {
        17 => format!("h-{n},nowhere,Hello,100\n"),
        1_500 => format!("h-{n},headline,Hello,heavy\n"),
        2_999 => "H 9,headline,Hello,100\n".to_owned(),
        n => format!("h-{n},headline,Hello {n},100\n"),
    };
    let table: String = std::iter::once("id,slot,value,weight\n".to_owned()).chain((0..3_000).map(row)).collect();
    let would = upload(&service, &format!("{path}?mode=all_or_nothing"), "text/csv", table.clone()).await;
    assert_eq!(would.faults(422).len(), 3, "{}", would.text());
    assert_eq!(service.get(&path).await.json()["items"], json!([]));
    let dry = upload(&service, &format!("{path}?dry_run=true"), "text/csv", table.clone()).await.json();
    assert_eq!((&dry["created"], &dry["rejected"], dry.get("version")), (&json!(2_997), &json!(3), dry.get("version")));
    assert_eq!(service.get(&path).await.json()["items"], json!([]));
    let taken = upload(&service, &path, "text/csv", table.clone()).await.json();
    assert_eq!(
        (&taken["rows"], &taken["created"], &taken["rejected"]),
        (&json!(3_000), &json!(2_997), &json!(3)),
        "{taken}"
    );
    let told: Vec<_> = taken["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|fault| (fault["line"].as_u64(), fault["column"].as_str()))
        .collect();
    assert_eq!(told, [(Some(19), Some("slot")), (Some(1_502), Some("weight")), (Some(3_001), Some("id"))]);
    let again = upload(&service, &path, "text/csv", table).await.json();
    assert_eq!((&again["unchanged"], &again["created"], again.get("version")), (&json!(2_997), &json!(0), None));

    // another's edit is not overwritten by accident, and can be on purpose
    let line =
        |value: &str, version: &Value| json!([{"id": "h-1", "slot": "headline", "value": value, "version": version}]);
    let seen = service.get(&format!("{path}/h-1")).await.json()["version"].clone();
    assert_eq!(service.post(&path, &line("Mine", &seen)).await.json()["replaced"], 1);
    let late = service.post(&path, &line("Theirs", &seen)).await.json();
    assert_eq!((&late["rejected"], &late["errors"][0]["code"]), (&json!(1), &json!("exists")), "{late}");
    assert_eq!(service.post(&path, &line("Theirs", &Value::Null)).await.json()["rejected"], 1);
    let forced = service.request(Method::POST, &path).header(header::IF_MATCH, "*").json(&line("Theirs", &Value::Null));
    assert_eq!(send(forced).await.json()["replaced"], 1);
    upload(&service, &path, "text/plain", "id").await.faults(415);
    upload(&service, &path, "text/csv", "id,slot,colour\n").await.faults(422);
    upload(&service, "/v1/creatives/nobodys/components", "text/csv", "id,slot,value\n").await.faults(404);
}

pub(crate) async fn dynamic_content_comes_and_goes(service: Arc<Service>) {
    let (id, brand, template) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let markup =
        "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\">{{headline}}</a></body>";
    let two = json!({"name": "Two", "format": "html", "size": "300x250", "markup": markup, "slots": {
        "headline": {"type": "text", "default": "New", "max_length": 30},
        "hero": {"type": "image", "default": {"src": "https://cdn.example/default.png", "alt": "A shoe"}}
    }});
    let read = service.get(&format!("/v1/templates/{template}")).await;
    assert_eq!(service.put(&format!("/v1/templates/{template}"), read.header("etag"), &two).await.status, 200);
    let asset = |name: &str, source: &str, more: Value| {
        let mut asset = json!({"id": "23543", "name": name, "source": source, "sourceType": "URL", "fallback": "0"});
        asset.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        asset
    };
    let document = json!({"ad": {
        "id": "115", "name": "Another tool's", "advertiser": "x.example", "version": [{"versionNumber": 1.0}],
        "adUnits": [{"id": "2000", "name": "medium rectangle", "size": "300x250"}],
        "creativeComponents": [
            {"id": 1, "name": "Background 1", "assetType": "image", "adUnit": ["2000"], "assets": [
                asset("Sunny", "'//cdn.example/sunny.jpg'", json!({"target": "DISPGR:Sunny", "assetGroupIds": ["1"]})),
                asset("Local", "local.jpg", json!({}))
            ]},
            {"id": 2, "name": "Headline", "assetType": "Text", "adUnit": ["2000"], "assets": [
                asset("Sunny", "Run in the sun", json!({"assetGroupIds": ["1"], "attributes": {"locale": "en"}})),
                asset("Long", &"too long ".repeat(9), json!({})),
                asset("For nobody", "Hello", json!({"target": "segment:never-made"}))
            ]}
        ]
    }});
    let path = format!("{base}/dynamic-content?slots=Background%201:hero");
    let faults = service.post(&format!("{path}&mode=all_or_nothing"), &document).await.faults(422);
    let at = |part: usize, asset: usize, end: &str| format!("/ad/creativeComponents/{part}/assets/{asset}/{end}");
    let expected =
        [(at(0, 1, "source"), "relative"), (at(1, 1, "source"), "too_long"), (at(1, 2, "target"), "unknown_segment")];
    assert_eq!(faults, expected.clone().map(|(at, code)| (at, code.to_owned())));
    let dry = service.post(&format!("{path}&dry_run=true"), &document).await.json();
    assert_eq!((&dry["created"], &dry["pairing_rules"]), (&json!(2), &json!(1)), "{dry}");
    assert_eq!(service.get(&format!("{base}/components")).await.json()["items"], json!([]));
    let taken = service.post(&path, &document).await.json();
    assert_eq!((&taken["rows"], &taken["created"], &taken["rejected"]), (&json!(5), &json!(2), &json!(3)), "{taken}");
    let told = taken["errors"].as_array().expect("errors").iter();
    let told: Vec<_> = told.map(|fault| (fault["pointer"].as_str(), fault["code"].as_str())).collect();
    assert_eq!(told, expected.each_ref().map(|(at, code)| (Some(&**at), Some(*code))));
    let sunny = service.get(&format!("{base}/components/hero-sunny")).await.json()["document"].clone();
    assert_eq!(sunny["targeting"], json!({"context": "data.target", "eq": "DISPGR:Sunny"}));
    assert_eq!(sunny["value"], json!({"src": "https://cdn.example/sunny.jpg", "alt": "Sunny"}));
    let draft = service.get(&base).await.json();
    assert_eq!(draft["document"]["pairing"], json!([{"group": ["hero-sunny", "headline-sunny"]}]));
    assert_eq!(draft["version"], taken["version"], "the version has the components and their rules");
    let first = service.get(&format!("{base}/components/hero-sunny")).await.json();
    assert_eq!(first["version"], taken["version"], "they were written together");
    // again it changes nothing, and neither does what is exported
    let fewer = service.post(&path, &document).await.json();
    assert_eq!((&fewer["unchanged"], &fewer["pairing_rules"]), (&json!(2), &json!(0)), "{fewer}");
    let exported = service.get(&format!("{base}/dynamic-content")).await;
    assert_eq!(exported.status, 200, "{}", exported.text());
    let ad = exported.json()["ad"].clone();
    let domain = service.get(&format!("/v1/advertisers/{brand}")).await.json()["document"]["domain"].clone();
    assert_eq!((&ad["id"], &ad["advertiser"]), (&json!(id), &domain));
    assert_eq!(ad["creativeComponents"].as_array().map(Vec::len), Some(2));
    let back = service.post(&format!("{base}/dynamic-content"), &exported.json()).await.json();
    assert_eq!(
        (&back["unchanged"], &back["rejected"], &back["pairing_rules"]),
        (&json!(2), &json!(0), &json!(0)),
        "{back}"
    );
    // an ad server says whom it means
    let published = service.post(&format!("{base}/publish"), &json!({})).await;
    assert!(published.status == 200 || published.status == 201, "{}", published.text());
    let shows = async |data: Value| {
        let body = json!({"placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"creative": id}}],
                          "context": {"language": "en", "data": data}});
        service.post("/v1/decisions", &body).await.json()["placements"]["top"][0]["components"].clone()
    };
    assert_eq!(shows(json!({"target": "DISPGR:Sunny"})).await["hero"], "hero-sunny");
    assert_eq!(shows(json!({"target": "DISPGR:Cloudy"})).await["hero"], Value::Null);
    // somebody's edit is not lost
    let mut other = document.clone();
    other["ad"]["creativeComponents"][1]["assets"][0]["source"] = json!("Run in the rain");
    let kept = service.post(&path, &other).await.json();
    assert!(kept["errors"].as_array().expect("errors").iter().any(|fault| fault["code"] == "exists"), "{kept}");
    let forced = service.request(Method::POST, &path).header(header::IF_MATCH, "*").json(&other);
    assert_eq!(send(forced).await.json()["replaced"], 1);
    let post = async |path: String, body: Value| service.post(&path, &body).await;
    post(path.clone(), json!({"ad": {}})).await.faults(422);
    post(format!("{base}/dynamic-content?slots=x"), document.clone()).await.faults(422);
    post(format!("{base}/dynamic-content?base=ftp://x.example"), document.clone()).await.faults(422);
    post("/v1/creatives/nobodys/dynamic-content".into(), document).await.faults(404);
    service.get("/v1/creatives/nobodys/dynamic-content").await.faults(404);
}

pub(crate) async fn an_import_adds_only_pairing_that_can_be_published(service: Arc<Service>) {
    let (id, _, _) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let path = format!("{base}/dynamic-content?slots=Line:headline");
    let draft = async || service.get(&base).await.json();
    let document = |source: &str, pairing: Value| {
        json!({"ad": {"tessera": {"pairing": pairing}, "creativeComponents": [
            {"id": 1, "name": "Line", "assets": [
                {"id": "h-1", "name": "h-1", "source": "Run", "assetGroupIds": ["g"]},
                {"id": "h-2", "name": "h-2", "source": "Run further"}
            ]},
            {"id": 2, "name": "No such slot", "assets": [{"id": "n-1", "source": source, "assetGroupIds": ["g"]}]}
        ]}})
    };
    let rules =
        json!([{"forbid": ["h-1", "n-1"]}, {"forbid": ["h-1", "h-2"]}, {"odd": 1}, {"forbid": ["h-1", "gone"]}]);
    let asked = document("x", rules.clone());
    let own = |at: usize, end: &str| format!("/ad/tessera/pairing/{at}{end}");
    let group = "/ad/creativeComponents/0/assets/0/assetGroupIds".to_owned();
    let expected = [
        (group, "refused_component"),
        (own(0, ""), "refused_component"),
        (own(1, "/forbid"), "same_slot"),
        (own(2, ""), "unreadable"),
        (own(3, "/forbid/1"), "unknown_component"),
    ];
    let expected = expected.map(|(at, code)| (at, code.to_owned()));
    let told = |answer: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let faults = answer["pairing_errors"].as_array().expect("faults").iter();
        faults.map(|fault| (text(&fault["pointer"]), text(&fault["code"]))).collect::<Vec<_>>()
    };
    let dry = service.post(&format!("{path}&dry_run=true"), &asked).await.json();
    assert_eq!(told(&dry), expected, "{dry}");
    let mut whole = service.post(&format!("{path}&mode=all_or_nothing"), &asked).await.faults(422);
    assert_eq!(whole.remove(0), ("/ad/creativeComponents/1/assets/0".to_owned(), "unknown_slot".to_owned()));
    assert_eq!(whole, expected);
    // a rule alone keeps all from being taken
    let mut sound = asked.clone();
    sound["ad"]["creativeComponents"].as_array_mut().expect("parts").pop();
    sound["ad"]["tessera"]["pairing"] = json!([{"odd": 1}]);
    let whole = service.post(&format!("{path}&mode=all_or_nothing"), &sound).await.faults(422);
    assert_eq!(whole, [(own(0, ""), "unreadable".to_owned())]);
    assert_eq!(service.get(&format!("{base}/components")).await.json()["items"], json!([]));
    let taken = service.post(&path, &asked).await.json();
    assert_eq!((&taken["created"], &taken["pairing_rules"]), (&json!(2), &json!(0)), "{taken}");
    assert_eq!(told(&taken), expected);
    assert_eq!(draft().await["document"].get("pairing"), None);
    // components of an earlier commit count, in a dry run as well
    let asset = |at: usize| json!({"id": format!("m-{at}"), "source": "Run"});
    let mut many = sound;
    many["ad"]["creativeComponents"][0]["assets"] = (0..1_001).map(asset).collect();
    many["ad"]["tessera"]["pairing"] = json!([{"forbid": ["m-0", "m-1000"]}]);
    let dry = service.post(&format!("{path}&dry_run=true"), &many).await.json();
    assert_eq!(told(&dry), [(own(0, "/forbid"), "same_slot".to_owned())], "{dry}");
}

pub(crate) async fn an_import_grows_no_draft_past_what_a_put_takes(service: Arc<Service>) {
    let (id, _, template) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let read = service.get(&format!("/v1/templates/{template}")).await;
    let mut two = read.json()["document"].clone();
    two["slots"]["legal"] = json!({"type": "text", "default": "Terms apply"});
    two["markup"] = json!("<body><a href=\"{{click_url}}\">{{headline}} {{legal}}</a></body>");
    assert_eq!(service.put(&format!("/v1/templates/{template}"), read.header("etag"), &two).await.status, 200);
    let name = |slot: &str, at: usize| format!("{slot}-{at:03}-{}", "x".repeat(40));
    let assets = |slot: &str, count: usize| {
        let asset = |at| json!({"id": name(slot, at), "source": "Run"});
        json!({"id": 1, "name": slot, "assets": (0..count).map(asset).collect::<Vec<_>>()})
    };
    let all: Vec<String> = (0..64).map(|at| name("legal", at)).collect();
    // 3.4 kB each
    let rules = |count: usize| -> Vec<Value> {
        (0..count).map(|at| json!({"require": {"if": name("headline", at), "then": all}})).collect()
    };
    let document = |count: usize| {
        json!({"ad": {"tessera": {"pairing": rules(count)},
                      "creativeComponents": [assets("headline", count), assets("legal", 64)]}})
    };
    let path = format!("{base}/dynamic-content");
    let taken = service.post(&path, &document(200)).await.json();
    assert_eq!((&taken["created"], &taken["pairing_rules"]), (&json!(264), &json!(200)), "{taken}");
    let before = service.get(&base).await;
    let mut draft = before.json()["document"].clone();
    draft["pairing"] = json!(rules(400));
    let put = service.put(&base, before.header("etag"), &draft).await;
    for mode in ["", "?dry_run=true", "?mode=all_or_nothing"] {
        let refused = service.post(&format!("{path}{mode}"), &document(400)).await;
        assert_eq!(refused.faults(413), put.faults(413));
        assert_eq!(refused.json()["type"], put.json()["type"]);
        assert_eq!(service.get(&format!("{base}/components/{}", name("headline", 300))).await.status, 404);
    }
    assert_eq!(service.get(&base).await.json(), before.json());
}

pub(crate) async fn a_post_with_a_key_is_done_once(service: Arc<Service>) {
    let post = async |key: &str, body: &Value| {
        send(service.request(Method::POST, "/v1/advertisers").header("idempotency-key", key).json(body)).await
    };
    let first = post("a-key", &advertiser()).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let again = post("a-key", &advertiser()).await;
    assert_eq!((again.status, again.text(), again.header("location")), (201, first.text(), first.header("location")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = post("a-key", &json!({"name": "Other", "domain": "other.example"})).await;
    assert_eq!(other.faults(422), [(String::new(), "key_reused".to_owned())]);
    assert_ne!(post("another-key", &advertiser()).await.json()["id"], first.json()["id"]);
    let bad = post("bad", &json!({"name": 1})).await;
    assert_eq!((bad.status, post("bad", &json!({"name": 1})).await.status), (422, 422));
    post(&"k".repeat(256), &advertiser()).await.faults(422);
    // all at once: one does it, the others are told to wait or get its answer
    let race = json!({"name": "Race", "domain": "race.example"});
    let many = (0..8).map(|_| post("a-race", &race));
    let mut made = std::collections::BTreeSet::new();
    for answer in futures(many).await {
        match answer.status {
            201 => drop(made.insert(answer.json()["id"].to_string())),
            status => assert_eq!(status, 409, "{}", answer.text()),
        }
    }
    assert_eq!(made.len(), 1);
    // an answer is for the API key that got it, and a secret for nobody afterwards
    let path = format!("/v1/keys/{}", service.name("key"));
    let secret = service.create(&path, &json!({"scopes": ["decide"]})).await.json()["secret"].clone();
    let weak = service.with_key(secret.as_str().expect("a secret"));
    let (path, posted) = (format!("{path}/rotate"), advertiser());
    for (target, body) in [("/v1/advertisers", &posted), (&path, &json!({}))] {
        let sent = |of: &Service| of.request(Method::POST, target).header("idempotency-key", "a-key").json(body);
        let (ours, theirs) = (send(sent(&service)).await, send(sent(&weak)).await);
        assert_eq!((ours.status / 100, theirs.status), (2, 403), "{target}: {}", theirs.text());
    }
    let rotate = async || send(service.request(Method::POST, &path).header("idempotency-key", "again")).await.json();
    assert_ne!(rotate().await["secret"], rotate().await["secret"]);
}

/// Awaits all.
async fn futures<F: Future<Output = Answer>>(all: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                done.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

pub(crate) async fn publishing_tells_what_to_look_at(service: Arc<Service>) {
    let (id, brand, _) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let components = json!([
        {"id": "old", "slot": "headline", "value": "Old", "flight": {"end": "2020-01-01T00:00:00Z"}},
        {"id": "same", "slot": "headline", "value": "Hello"}, {"id": "same-again", "slot": "headline", "value": "Hello"}]);
    assert_eq!(service.post(&format!("{base}/components"), &components).await.json()["created"], 3);
    let (place, line) = (service.name("place"), service.name("campaign"));
    service
        .create(&format!("/v1/placements/{place}"), &json!({"name": "Tall", "sizes": ["160x600"], "formats": ["html"]}))
        .await;
    let campaign = json!({"name": "It", "advertiser": brand, "status": "active", "creatives": [id], "placements": [place],
        "landing_url": "https://northwind.example/"});
    let made = service.create(&format!("/v1/campaigns/{line}"), &campaign).await;
    assert_eq!(made.json()["lint"][0]["code"], "unpublished_creative", "{}", made.text());
    let mut nobody = campaign.clone();
    nobody["targeting"] = json!({"all": [{"trait": "age", "lt": 18}, {"trait": "age", "gte": 65}]});
    let changed = service.put(&format!("/v1/campaigns/{line}"), made.header("etag"), &nobody).await;
    let lint = changed.json()["lint"][1].clone();
    assert_eq!((&lint["pointer"], &lint["code"]), (&json!("/targeting"), &json!("never_true")), "{}", changed.text());
    assert_eq!(service.put(&format!("/v1/campaigns/{line}"), changed.header("etag"), &campaign).await.status, 200);
    let refused = service.post(&format!("{base}/publish"), &json!({})).await;
    assert_eq!(refused.faults(422), [("/creative/templates".to_owned(), "size_mismatch".to_owned())]);
    let looked = service.get(&format!("{base}/combinations")).await.json();
    assert_eq!(looked["faults"], refused.json()["errors"], "{looked}");
    let cells = service.get(&format!("/v1/coverage?placement={place}")).await.json();
    assert_eq!((&cells["uncovered"], &cells["cells"][0]["status"]), (&json!(1), &json!("uncovered")), "{cells}");
    let read = service.get(&format!("/v1/placements/{place}")).await;
    let wider = json!({"name": "Any", "sizes": ["160x600", "300x250"], "formats": ["html"]});
    assert_eq!(service.put(&format!("/v1/placements/{place}"), read.header("etag"), &wider).await.status, 200);
    let published = service.post(&format!("{base}/publish"), &json!({})).await.json();
    let codes: Vec<_> =
        published["warnings"].as_array().expect("warnings").iter().filter_map(|fault| fault["code"].as_str()).collect();
    assert_eq!(codes, ["expired_component", "same_component"], "{published}");
    let cells = service.get(&format!("/v1/coverage?placement={place}&time_zone=Europe/Berlin&data=a:1")).await.json();
    assert_eq!(cells["cells"][1]["status"], "covered", "{cells}");
    for wrong in ["time_zone=Mars", "data=a", "country=Germany"] {
        let asked = service.get(&format!("/v1/coverage?{wrong}")).await;
        assert!(matches!(asked.status, 400 | 422), "{wrong}: {}", asked.text());
    }
    let archived = service.post(&format!("{base}/archive"), &json!({})).await.json();
    assert_eq!(archived["warnings"][0]["code"], "archived_in_use", "{archived}");
    service.get("/v1/coverage?placement=nowhere").await.faults(422);
    service.get("/v1/coverage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").await.faults(422);
}

pub(crate) async fn an_auditor_sees_macros_and_no_values(service: Arc<Service>) {
    let [brand, template, id] = ["brand", "template", "creative"].map(|kind| service.name(kind));
    let advertiser = json!({"name": "It", "domain": "northwind.example"});
    service.create(&format!("/v1/advertisers/{brand}"), &advertiser).await;
    let markup = "<a href=\"{{click_url}}\"><img src=\"https://pixel.example/?g=${GDPR}&c=${GDPR_CONSENT_755}&p=${AUCTION_PRICE}\" alt=\"\"></a>";
    let body = json!({"name": "It", "format": "html", "size": "300x250", "slots": {}, "markup": markup});
    service.create(&format!("/v1/templates/{template}"), &body).await;
    let body = json!({"name": "It", "advertiser": brand, "templates": [template]});
    service.create(&format!("/v1/creatives/{id}"), &body).await;
    let published = service.post(&format!("/v1/creatives/{id}/publish"), &json!({})).await;
    assert_eq!(published.status, 200, "{}", published.text());
    let shown = service.get(&format!("/v1/creatives/{id}/audit/{id}.1.300x250")).await;
    assert!(shown.text().contains("?g=AUDIT&c=AUDIT&p=AUDIT"), "{}", shown.text());
}

pub(crate) async fn exchanges_say_what_they_approve(service: Arc<Service>) {
    let (id, brand, _) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    assert_eq!(service.post(&format!("{base}/publish"), &json!({})).await.status, 200);
    let campaign = json!({"name": "It", "advertiser": brand, "status": "active", "creatives": [id], "landing_url": "https://northwind.example/"});
    let line = service.name("campaign");
    service.create(&format!("/v1/campaigns/{line}"), &campaign).await;
    let items = service.get(&format!("{base}/combinations?revision=1")).await.json()["items"].clone();
    let (crid, size) =
        (items[0]["revision_crid"].as_str().expect("a name"), items[0]["size"].as_str().expect("a size"));
    assert_eq!((crid, items[0].get("audit")), (format!("{id}.1.{size}").as_str(), None));

    let (width, height) = size.split_once('x').expect("two sides");
    let format = json!({"w": width.parse::<u16>().expect("a width"), "h": height.parse::<u16>().expect("a height")});
    let ask = json!({"id": "r", "site": {"page": "https://news.example/"}, "tmax": 5_000, "imp": [
        {"id": "1", "banner": {"format": [format]}, "ext": {"tessera": {"campaign": line, "price": "1.50"}}}]});
    let bid = async |exchange: &str| {
        let told = service.post(&format!("/openrtb2/bid?nbr=1{exchange}"), &ask).await.json();
        (told["seatbid"][0]["bid"][0]["crid"].clone(), told["nbr"].clone())
    };
    let until = async |wanted: (Value, Value)| {
        for _ in 0..100 {
            if bid("&exchange=strict").await == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(bid("&exchange=strict").await, wanted);
    };
    until((Value::Null, json!(509))).await;
    assert_eq!(bid("").await, (json!(crid), Value::Null));
    assert_eq!(bid("&exchange=lenient").await, (json!(crid), Value::Null));

    let audit = format!("{base}/audits/strict");
    let created = service.create(&audit, &json!({"crids": {crid: {"status": 1}}})).await;
    assert_eq!(created.header("location"), audit);
    service.put(&audit, "\"1\"", &json!({"crids": {}})).await.faults(412);
    let wrong = json!({"crids": {crid: {"status": 7}, "A B": {"status": 3}}});
    assert!(!service.put(&audit, created.header("etag"), &wrong).await.faults(422).is_empty());
    let approved = json!({"crids": {crid: {"status": 3, "feedback": ["Fine."]}}});
    let written = service.put(&audit, created.header("etag"), &approved).await;
    assert_eq!(
        (written.status, service.get(&audit).await.json()["document"].clone()),
        (200, approved),
        "{}",
        written.text()
    );
    assert_eq!(service.get(&format!("{base}/audits")).await.json()["items"][0]["id"], "strict");
    until((json!(crid), Value::Null)).await;
    let seen = service.get(&format!("{base}/combinations?revision=1")).await.json();
    assert_eq!(seen["items"][0]["audit"], json!({"strict": {"status": 3, "feedback": ["Fine."]}}));
    service.put_new("/v1/creatives/nobodys/audits/strict", &json!({"crids": {}})).await.faults(404);

    for name in [crid, items[0]["crid"].as_str().expect("a name")] {
        let shown = service.get(&format!("{base}/audit/{name}")).await;
        assert_eq!((shown.status, shown.header("content-type")), (200, "text/html; charset=utf-8"), "{}", shown.text());
        assert!(shown.header("content-security-policy").contains("sandbox"));
    }
    service.get(&format!("{base}/audit/{id}.9.{size}")).await.faults(404);
    service.get(&format!("{base}/audit/0123456789abcdef")).await.faults(404);
    service.get(&format!("{base}/audit/{crid}%00")).await.faults(404);
    service.get(&format!("{base}/audit/{}", "0a".repeat(16))).await.faults(404);

    // what was served an hour ago is shown as it was, whatever was published since
    let component = format!("{base}/components/h");
    let old = service.create(&component, &json!({"slot": "headline", "value": "Out of date"})).await;
    assert_eq!(service.post(&format!("{base}/publish"), &json!({})).await.status, 200);
    let served = service.get(&format!("{base}/combinations?revision=2")).await.json()["items"][0].clone();
    let new = json!({"slot": "headline", "value": "Up to date"});
    assert_eq!(service.put(&component, old.header("etag"), &new).await.status, 200);
    assert_eq!(service.post(&format!("{base}/publish"), &json!({})).await.status, 200);
    let shown = service.get(&format!("{base}/audit/{}", served["revision_crid"].as_str().expect("a name"))).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert!(shown.text().contains("Out of date"), "{}", shown.text());
    // a content that was not chosen for review is looked for in what serves alone
    let content = served["crid"].as_str().expect("a name");
    service.get(&format!("{base}/audit/{content}")).await.faults(404);

    assert_eq!(service.delete(&audit, written.header("etag")).await.status, 204);
    until((Value::Null, json!(509))).await;
}

pub(crate) async fn a_faulty_draft_can_be_looked_at(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let components = json!([{"id": "fine", "slot": "headline", "value": "Fine"}, {"id": "long", "slot": "headline", "value": "Long words"},
        {"id": "away", "slot": "headline", "value": "Gone"}]);
    assert_eq!(service.post(&format!("{base}/components"), &components).await.json()["created"], 3);
    // a stricter template makes a fault of what was taken
    let read = service.get(&base).await;
    let template = read.json()["document"]["templates"][0].as_str().expect("an id").to_owned();
    let path = format!("/v1/templates/{template}");
    let read = service.get(&path).await;
    let mut strict = read.json()["document"].clone();
    strict["slots"]["headline"] = json!({"type": "text", "max_length": 5, "default": "Words"});
    strict["markup"] =
        json!("<body><a href=\"{{click_url}}\">{{headline}}</a> <a href=\"https://elsewhere.example/\">x</a></body>");
    assert_eq!(service.put(&path, read.header("etag"), &strict).await.status, 200);
    let refused = service.post(&format!("{base}/publish"), &json!({})).await;
    assert_eq!(refused.faults(422), [("/components/long/value".to_owned(), "too_long".to_owned())]);

    let looked = service.get(&format!("{base}/combinations")).await;
    assert_eq!(looked.status, 200, "{}", looked.text());
    let found = looked.json();
    let codes: Vec<_> = found["faults"].as_array().expect("faults").iter().map(|fault| &fault["code"]).collect();
    assert_eq!(codes, ["too_long", "landing_host_not_allowed"], "{found}");
    assert_eq!(found["slots"]["headline"], json!(["away", "fine"]));
    let lint = found["items"][0]["lint"].as_array().expect("lint");
    assert!(lint.iter().any(|fault| fault["code"] == "landing_host"), "{lint:?}");
    let sheet = service.get(&format!("{base}/preview?limit=1")).await;
    let page = sheet.text();
    assert_eq!(sheet.status, 200, "{page}");
    assert!(page.contains("It cannot be published") && page.contains("/components/long/value"), "{page}");
    assert!(page.contains("<a rel=\"next\" href=\"?limit=1&amp;after=1\">"), "{page}");
}

pub(crate) async fn what_was_looked_at_is_what_is_published(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let base = format!("/v1/creatives/{id}");
    let one = |value: &str| json!([{"id": "h-1", "slot": "headline", "value": value}]);
    assert_eq!(service.post(&format!("{base}/components"), &one("Mine")).await.json()["created"], 1);
    let tag = service.get(&format!("{base}/preview")).await.header("etag").to_owned();
    assert_eq!(service.get(&format!("{base}/combinations?cover=pairs")).await.header("etag"), tag);
    let publish = async |tag: &str| {
        let path = format!("{base}/publish");
        send(service.request(Method::POST, &path).header(header::IF_MATCH, tag).json(&json!({}))).await
    };
    // a colleague changes a component meanwhile, which the creative's own tag does not tell
    let own = service.get(&base).await.header("etag").to_owned();
    let other = service.request(Method::POST, &format!("{base}/components")).header(header::IF_MATCH, "*");
    assert_eq!(send(other.json(&one("Theirs"))).await.json()["replaced"], 1);
    publish(&tag).await.faults(412);
    publish("\"draft-0123456789abcdef\"").await.faults(412);
    publish("\"draft-x\"").await.faults(412);
    let fresh = service.get(&format!("{base}/preview")).await.header("etag").to_owned();
    assert_ne!(fresh, tag);
    assert_eq!(publish(&fresh).await.json()["revision"], 1);
    assert_eq!(publish(&own).await.json()["revision"], 2);
    assert!(!service.get(&format!("{base}/preview?revision=1")).await.headers.contains_key("etag"));
}

pub(crate) async fn coverage_tells_who_never_serves(service: Arc<Service>) {
    let (id, brand, _) = creative(&service).await;
    service.post(&format!("/v1/creatives/{id}/publish"), &json!({})).await;
    let place = service.name("place");
    let placement = json!({"name": "Here", "sizes": ["300x250"], "formats": ["html"]});
    service.create(&format!("/v1/placements/{place}"), &placement).await;
    let [first, second, german] = ["first", "second", "german"].map(|kind| service.name(kind));
    for (line, more) in [
        (&first, json!({"priority": 1})),
        (&second, json!({"priority": 2})),
        (&german, json!({"priority": 1, "targeting": {"context": "geo.country", "eq": "DE"}})),
    ] {
        let mut campaign = json!({"name": line, "advertiser": brand, "status": "active", "creatives": [id],
            "placements": [place], "landing_url": "https://northwind.example/"});
        campaign.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        service.create(&format!("/v1/campaigns/{line}"), &campaign).await;
    }
    let warned = async |more: &str| -> Vec<(String, bool)> {
        let cells = service.get(&format!("/v1/coverage?placement={place}{more}")).await.json();
        let warnings = cells["warnings"].as_array().expect("warnings").iter();
        // other campaigns of the account serve elsewhere
        let own = |fault: &&Value| {
            let detail = fault["detail"].as_str().expect("words");
            [&first, &second, &german].iter().any(|line| detail.starts_with(&format!("campaign {line} ")))
        };
        warnings
            .filter(own)
            .map(|fault| {
                let detail = fault["detail"].as_str().expect("words");
                (fault["code"].as_str().expect("a code").to_owned(), detail.contains(&*second))
            })
            .collect()
    };
    assert_eq!(warned("").await, [("serves_nowhere".to_owned(), false), ("shadowed".to_owned(), true)]);
    assert_eq!(warned("&country=DE").await, [("shadowed".to_owned(), true)]);
}
