//! An account as a folder, out and in again.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    cluster,
    harness::{Patient as _, Service, folder},
};

async fn run(url: &str, data: &Path, arguments: [&str; 2]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
    command.args(arguments).env("DATABASE_URL", url).env("TESSERA_DATA", data).output().await.expect("it runs")
}

/// Every file below a folder, by its path.
fn files(folder: &Path, below: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, below, into);
        } else {
            let name = path.strip_prefix(below).expect("below").display().to_string();
            into.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_comes_in_and_goes_out_the_same() {
    let (folder, mut both) = (folder(), Vec::new());
    for place in ["first", "second"] {
        let url = cluster().await.database().await;
        let (out, data) = (folder.path().join(place), folder.path().join(format!("{place}-data")));
        // the demo first; then what came of it, beside what is there already
        let from = if place == "first" {
            concat!(env!("CARGO_MANIFEST_DIR"), "/creatives/demo").to_owned()
        } else {
            folder.path().join("first").display().to_string()
        };
        let ran = run(&url, &data, ["import", &from]).await;
        assert!(ran.status.success(), "{ran:?}");
        let ran = run(&url, &data, ["export", &out.display().to_string()]).await;
        assert!(ran.status.success(), "{ran:?}");
        let again = run(&url, &data, ["export", &out.display().to_string()]).await;
        assert!(!again.status.success(), "a folder that is not empty is left alone");
        let mut found = BTreeMap::new();
        files(&out, &out, &mut found);
        assert!(found.keys().any(|path| path.starts_with("assets/")), "{:?}", found.keys());
        both.push(found);
    }
    assert_eq!(both[0].keys().collect::<Vec<_>>(), both[1].keys().collect::<Vec<_>>());
    assert!(both[0] == both[1], "byte for byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_is_what_served_where_it_was_exported() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/creatives/demo");
    let (folder, mut seen) = (folder(), Vec::new());
    let out = folder.path().join("out").display().to_string();
    let (first, second) = (cluster().await.database().await, cluster().await.database().await);
    let data = |place: &str| folder.path().join(place);
    let done = async |url: &str, place: &str, arguments: [&str; 2]| {
        let ran = run(url, &data(place), arguments).await;
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    done(&first, "first", ["import", demo]).await;
    {
        let service = Service::start(&first, |_| {}).await;
        let post = async |path: &str, body: Value| {
            let answer = service.request(Method::POST, path).json(&body).sent().await;
            assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
        };
        // one was archived, one rolled back and edited since, one never published
        post("/v1/creatives/trail-film/archive", json!({})).await;
        let headline = json!({"slot": "headline", "value": "Worn through? Sent back."});
        let path = "/v1/creatives/repair-for-life/components/headline";
        let edit = service.request(Method::PUT, path).header("if-match", "*").json(&headline).sent().await;
        assert_eq!(edit.status(), 200);
        post("/v1/creatives/repair-for-life/publish", json!({})).await;
        post("/v1/creatives/repair-for-life/publish", json!({"revision": 1})).await;
        let draft = json!({"name": "Later", "advertiser": "larkfell", "templates": ["larkfell-300x250"]});
        service.put("/v1/creatives/later", &draft).await;
        done(&first, "first-out", ["export", &out]).await;
        // nothing changes where the same serves already
        assert!(done(&first, "first-in", ["import", &out]).await.contains("0 documents"));
        seen.push(serving(&service).await);
    }
    done(&second, "second", ["import", &out]).await;
    let service = Service::start(&second, |_| {}).await;
    seen.push(serving(&service).await);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].len(), 3, "{seen:#?}");
    assert!(!seen[0]["repair-for-life"].to_string().contains("Sent back"));
    let draft = service.request(Method::GET, "/v1/creatives/repair-for-life/components/headline").sent().await;
    assert!(draft.text().await.expect("a body").contains("Worn through? Sent back."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_is_held_against_the_gate_and_told() {
    let (url, folder) = (cluster().await.database().await, folder());
    let (bundle, data) = (folder.path().join("bundle"), folder.path().join("data"));
    let write = |path: &str, document: Value| {
        let file = bundle.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, document.to_string()).expect("written");
    };
    let run_on = async |url: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
        let ran = command.args(arguments).env("DATABASE_URL", url).env("TESSERA_DATA", &data).output().await;
        let ran = ran.expect("it runs");
        let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{arguments:?}: {told}");
        told
    };
    let run = async |arguments: &[&str]| run_on(&url, arguments).await;
    write("advertisers/brand.json", json!({"name": "Brand", "domain": "brand.example"}));
    let template = |link: &str| {
        let markup =
            format!("<body><a href=\"{{{{click_url}}}}\">{{{{line}}}}</a> <a href=\"{link}\">Terms</a></body>");
        json!({"name": "Line", "format": "html", "size": "300x250", "markup": markup,
            "slots": {"line": {"type": "text", "default": "Hello"}}})
    };
    write("templates/line.json", template("https://brand.example/terms"));
    let creative = json!({"name": "Ad", "advertiser": "brand", "templates": ["line"]});
    write("creatives/ad/creative.json", creative.clone());
    // what serves names a segment that is nowhere, and leads where the gate lets nobody lead any more
    let component = json!({"slot": "line", "value": "For you", "targeting": {"segment": "nowhere"}});
    let picking = json!({"status": "published", "creative": creative, "components": {"own": component},
        "templates": {"line": template("https://elsewhere.example/terms")}});
    write("creatives/ad/serving.json", picking);
    let path = bundle.display().to_string();
    for arguments in [&["import", &path, "--dry-run"][..], &["import", &path], &["import", &path]] {
        let told = run(arguments).await;
        for warning in ["/components/own/targeting/segment", "landing_host_not_allowed"] {
            let said = told.lines().any(|line| line.starts_with("warning: creative/ad: ") && line.contains(warning));
            assert!(said, "{arguments:?}: {warning}: {told}");
        }
    }
    // it serves, and what is left out of it is told
    let told = run(&["doctor"]).await;
    assert!(told.contains("publication/ad serves, with a part held back: /components/own/targeting"), "{told}");
    assert!(!told.contains("is left out"), "{told}");

    // a draft that serves and would not pass again goes out, and comes in elsewhere, as what serves
    let elsewhere = template("https://elsewhere.example/terms");
    write("templates/line.json", elsewhere.clone());
    write(
        "creatives/ad/serving.json",
        json!({"status": "published", "creative": creative, "components": {}, "templates": {"line": elsewhere}}),
    );
    assert!(run(&["import", &path]).await.contains("published 1 creatives"));
    let out = folder.path().join("out").display().to_string();
    run(&["export", &out]).await;
    let told = run_on(&cluster().await.database().await, &["import", &out]).await;
    assert!(told.contains("published 1 creatives") && told.contains("landing_host_not_allowed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_along_wherever_they_are_named() {
    let (url, folder) = (cluster().await.database().await, folder());
    let (bundle, out) = (folder.path().join("bundle"), folder.path().join("out"));
    let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/creatives/demo/assets"));
    let write = |path: &str, bytes: &[u8]| {
        let file = bundle.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, bytes).expect("written");
    };
    for name in ["mark-dark.png", "mark-light.png", "shoe.webp"] {
        write(&format!("assets/{name}"), &fs::read(demo.join(name)).expect("an image"));
    }
    write("advertisers/brand.json", b"{\"name\": \"Brand\", \"domain\": \"brand.example\"}");
    let template = json!({"name": "Card", "format": "html", "size": "300x250",
        "slots": {"hero": {"type": "image", "default": {"src": "assets/shoe.webp", "alt": "A shoe"}}}});
    write("templates/stamp.json", template.to_string().as_bytes());
    let markup = "<body><a href=\"{{click_url}}\"><img src=\"assets/mark-dark.png\" alt=\"Brand\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\"></a></body>";
    write("templates/stamp.html", markup.as_bytes());
    let creative = json!({"name": "Card", "advertiser": "brand", "templates": ["stamp"]});
    write("creatives/stamp/creative.json", creative.to_string().as_bytes());
    let side = |at: &str, name: &str| {
        let bytes = fs::read(demo.join(name)).expect("an image");
        let size = image::load_from_memory(&bytes).expect("an image");
        json!(if at == "width" { size.width() } else { size.height() })
    };
    let light = json!({"src": "assets/mark-light.png", "width": side("width", "mark-light.png"), "height": side("height", "mark-light.png")});
    let hero = json!({"slot": "hero", "value": {"src": "assets/shoe.webp", "alt": "A shoe", "renditions": [light]}});
    write("creatives/stamp/components/shoe.json", hero.to_string().as_bytes());
    let import = async |from: &Path, data: &str| {
        run(&url, &folder.path().join(data), ["import", &from.display().to_string()]).await
    };
    let ran = import(&bundle, "one").await;
    assert!(ran.status.success(), "{ran:?}");
    let ran = run(&url, &folder.path().join("two"), ["export", &out.display().to_string()]).await;
    assert!(ran.status.success(), "{ran:?}");
    let mut found = BTreeMap::new();
    files(&out, &out, &mut found);
    assert_eq!(found.keys().filter(|path| path.starts_with("assets/")).count(), 3, "{:?}", found.keys());
    let markup = String::from_utf8_lossy(&found["templates/stamp.html"]).into_owned();
    assert!(markup.contains("<img src=\"assets/") && !markup.contains("/v1/assets/"), "{markup}");
    let again = import(&out, "three").await;
    assert!(String::from_utf8_lossy(&again.stdout).contains(" 0 documents"), "{again:?}");
    // an image that is nowhere is a fault
    write(
        "templates/stamp.html",
        b"<body><img src=\"/v1/assets/00000000000000000000000000000000.png\" alt=\"\">{{hero.alt}}</body>",
    );
    let ran = import(&bundle, "four").await;
    let told = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(!ran.status.success() && told.contains("0000.png"), "{told}");
}

/// What each creative that can be shown shows: its components.
async fn serving(service: &Service) -> BTreeMap<String, Value> {
    let mut serving = BTreeMap::new();
    for creative in ["repair-for-life", "trail-film", "later", "larkfell-house", "next-horizon"] {
        let path = format!("/v1/creatives/{creative}/revisions");
        let revisions = service.request(Method::GET, &path).sent().await.json::<Value>().await.expect("JSON");
        let items = revisions["items"].as_array().cloned().unwrap_or_default();
        let Some(current) = items.iter().find(|item| item["serving"] == true) else { continue };
        let path = format!("{path}/{}", current["revision"]);
        let revision = service.request(Method::GET, &path).sent().await.json::<Value>().await.expect("JSON");
        serving.insert(creative.to_owned(), json!([revision["components"], revision["templates"]]));
    }
    serving
}

#[tokio::test(flavor = "multi_thread")]
async fn the_people_of_the_demo_see_different_creatives() {
    let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/creatives/demo"));
    let (url, folder) = (cluster().await.database().await, folder());
    let ran = run(&url, &folder.path().join("data"), ["import", &demo.display().to_string()]).await;
    assert!(ran.status.success(), "{ran:?}");
    let service = Service::start(&url, |_| {}).await;
    let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for person in ["young-buyer", "abandoner", "traveller", "unknown"] {
        let request = fs::read(demo.join(format!("requests/{person}.json"))).expect("a request");
        let answer = service.decide(&serde_json::from_slice(&request).expect("JSON")).await;
        let placements = answer["placements"].as_object().expect("placements").clone();
        for (place, items) in placements {
            let item = &items[0];
            assert_eq!(item["status"], "filled", "{person}: {item:#}");
            assert_eq!(item["fallback_level"], "personalised", "{person}: {item:#}");
            seen.entry(place).or_default().push(item["components"].clone());
        }
    }
    assert_eq!(seen.len(), 5);
    for (place, components) in seen {
        let all = components.iter().enumerate();
        assert!(all.clone().all(|(at, one)| !components[..at].contains(one)), "{place}: {components:#?}");
    }
    let ready = service.request(Method::GET, "/readyz").send().await.expect("an answer");
    assert_eq!(ready.status(), 200);

    // somebody fills a basket, and then nothing happens any more
    let event = json!({"user": "left", "type": "add_to_cart", "properties": {"cart_id": "c-1"}});
    let sent = service.request(Method::POST, "/v1/events").json(&event).sent().await;
    assert_eq!(sent.status(), 200);
    let added = jiff::Timestamp::now();
    let mut moves = Vec::new();
    for minutes in [0, 29, 31, 7 * 24 * 60 - 1, 7 * 24 * 60 + 31] {
        let at = added.saturating_add(jiff::SignedDuration::from_mins(minutes)).expect("a time");
        let answer = service.request(Method::GET, &format!("/v1/profiles/left/segments?at={at}")).sent().await;
        let answer: Value = answer.json().await.expect("JSON");
        let segments = answer["segments"].as_array().expect("segments");
        moves.push(segments.iter().any(|segment| segment["key"] == "potential-re-engagement"));
    }
    assert_eq!(moves, [false, false, true, true, false], "after half an hour, until it is seven days ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_when_people_do_not_fit() {
    let (url, folder) = (cluster().await.database().await, folder());
    let (bundle, data) = (folder.path().join("bundle"), folder.path().join("data"));
    let write = |path: &str, text: &str| {
        let file = bundle.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("written");
    };
    let brand = "{\"name\": \"Late\", \"domain\": \"late.example\"}";
    write("advertisers/late.json", brand);
    let rule = serde_json::json!({"v": 1, "kind": "dynamic", "match": {"event": "bought",
        "sum": {"of": "value", "is": {"gte": 100}}, "in": {"last": "P30D"}}});
    write("segments/spenders.json", &format!("{{\"name\": \"Spenders\", \"rule\": {rule}}}"));
    write(
        "profiles.ndjson",
        "{\"user\": \"ida\", \"traits\": {\"age\": 40}, \"lists\": [\"no-such\"]}\n\
         {\"user\": \"ole\", \"traits\": {\"Bad Name\": 1}, \"lists\": [\"spenders\"]}\n",
    );
    let event = "{\"id\": \"e-1\", \"user\": \"ida\", \"type\": \"bought\", \"ago\": \"PT1H\", \"properties\": ";
    write("events.ndjson", &format!("{event}{{\"value\": [120]}}}}\n"));
    let path = bundle.display().to_string();
    let command = |dry: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
        command.args(["import", &path]).args(dry.then_some("--dry-run"));
        command.env("DATABASE_URL", &url).env("TESSERA_DATA", &data);
        async move { command.output().await.expect("it runs") }
    };
    for dry in [true, false] {
        let ran = command(dry).await;
        assert!(!ran.status.success(), "{ran:?}");
        let told = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
        for fault in ["/0/lists/0", "/1/lists/0", "/1/traits/Bad Name", "events.ndjson", "/0/properties/value"] {
            assert!(told.contains(fault), "{fault}: {told}");
        }
    }
    let service = Service::start(&url, |_| {}).await;
    for gone in ["/v1/advertisers/late", "/v1/segments/spenders", "/v1/profiles/ida"] {
        let answer = service.request(Method::GET, gone).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{gone}");
    }
    // with that mended, all of it comes
    write("profiles.ndjson", "{\"user\": \"ida\", \"traits\": {\"age\": 40}}\n");
    write("events.ndjson", &format!("{event}{{\"value\": 120}}}}\n"));
    for (documents, events) in [(" 2 documents", " 1 events"), (" 0 documents", " 0 events")] {
        let ran = command(false).await;
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(told.contains(documents) && told.contains(events), "done again nothing is doubled: {ran:?}");
    }
    let known = service.request(Method::GET, "/v1/profiles/ida").send().await.expect("an answer");
    assert_eq!(known.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_bundle_that_was_cut_off_is_loaded_to_its_end() {
    let (url, folder, data) = (cluster().await.database().await, folder(), folder());
    let write = |path: &str, text: &str| {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("written");
    };
    write("advertisers/late.json", "{\"name\": \"Late\", \"domain\": \"late.example\"}");
    write("profiles.ndjson", "{\"user\": \"ida\", \"traits\": {\"age\": 40}}\n");
    // its documents were committed, and then the process ended
    let mark = data.path().join("bundle.unfinished");
    fs::write(&mark, "").expect("a mark");
    let bundle = folder.path().to_owned();
    let service = Service::start_in(data, &url, |config| config.store.bundle = Some(bundle)).await;
    let status = async |path: &str| service.request(Method::GET, path).send().await.expect("an answer").status();
    assert_eq!(status("/v1/profiles/ida").await, 200);
    assert_eq!(status("/v1/advertisers/late").await, 404, "documents that were changed since are left alone");
    assert!(!mark.exists());
}
