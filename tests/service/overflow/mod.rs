//! Text fits: what the demo and the library would show is laid out in a real browser, each combination
//! in its size, and measured. Texts that do not fit show that it would tell.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    browser::{chromium, probed},
    harness::{Patient as _, Service, folder, read},
    turn,
};

const PROBE: &str = include_str!("probe.html");

/// A document with its name and its size.
type Sheet = (String, u64, u64, String);

/// What a creative would show: a few combinations in which every pair stands, in each of its sizes.
async fn sheets(service: &Service, creative: &str) -> Vec<Sheet> {
    let path = format!("/v1/creatives/{creative}/combinations?cover=pairs&limit=500");
    let page = read(service.request(Method::GET, &path).sent().await, 200).await;
    assert!(page.get("next").is_none(), "{creative} has more than a page");
    let sheet = |item: &Value| {
        let size = item["size"].as_str().unwrap_or("300x250");
        let (width, height) = size.split_once('x').expect("two sides");
        let name = format!("{creative} {size} {}", item["components"]);
        let markup = item["markup"].as_str().expect("markup").to_owned();
        (name, width.parse().expect("a width"), height.parse().expect("a height"), markup)
    };
    let items = page["items"].as_array().expect("items").iter();
    items.filter(|item| item["format"] == "html").map(sheet).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_of_the_demo_and_the_library_is_cut_off() {
    let Some(browser) = chromium() else {
        return eprintln!("no chromium: texts were not laid out in a browser");
    };
    let line = "A line that goes on and on until it is far wider than the banner that it stands in";
    let planted = [
        format!("<body style=\"margin:0\"><p style=\"white-space:nowrap\">{line}</p>"),
        format!(
            "<body style=\"margin:0\"><div style=\"width:300px;overflow:hidden\"><b style=\"white-space:nowrap\">{line}</b></div>"
        ),
        format!(
            "<body style=\"margin:0\"><div style=\"height:250px;overflow:hidden;font-size:40px\">{line}, {line}</div>"
        ),
        "<body style=\"margin:0\"><p>Short".to_owned(),
    ];
    let planted: Vec<Sheet> =
        planted.into_iter().enumerate().map(|(at, markup)| (format!("planted-{at}"), 300, 250, markup)).collect();
    let told = probed(browser, PROBE, &json!(planted)).await;
    assert_eq!(told["laid"], 4, "{told}");
    let over: Vec<&str> = told["over"].as_array().expect("texts").iter().filter_map(Value::as_str).collect();
    for at in 0..3 {
        assert!(over.iter().any(|text| text.starts_with(&format!("planted-{at}: "))), "{at} in {over:?}");
    }
    assert!(!over.iter().any(|text| text.starts_with("planted-3")), "{over:?}");

    let _turn = turn(1).await;
    let (database, data) = (crate::cluster().await.database().await, folder());
    for bundle in ["demo", "library"] {
        let from = format!("{}/creatives/{bundle}", env!("CARGO_MANIFEST_DIR"));
        let ran = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .args(["import", &from])
            .env("DATABASE_URL", &database)
            .env("TESSERA_DATA", data.path())
            .output();
        let ran = ran.await.expect("it runs");
        assert!(ran.status.success(), "{ran:?}");
    }
    let service = Service::start(&database, |_| {}).await;
    let listed = async |kind: &str| -> Vec<Value> {
        let page = read(service.request(Method::GET, &format!("/v1/{kind}?limit=500")).sent().await, 200).await;
        page["items"].as_array().expect("items").clone()
    };
    // a template alone is complete
    for template in listed("templates").await.iter().filter(|template| template["document"]["format"] == "html") {
        let id = template["id"].as_str().expect("an id");
        let body = json!({"name": "Alone", "advertiser": "northwind", "templates": [id]});
        service.put(&format!("/v1/creatives/alone-{id}"), &body).await;
    }
    let mut all = Vec::new();
    for creative in listed("creatives").await {
        all.extend(sheets(&service, creative["id"].as_str().expect("an id")).await);
    }
    let told = probed(browser, PROBE, &json!(all)).await;
    assert_eq!((told["laid"].as_u64(), &told["over"]), (Some(all.len() as u64), &json!([])));
    println!("{} combinations laid out in their sizes, 0 texts cut", all.len());
    assert!(all.len() > 30, "{}", all.len());
    service.server.shutdown().await;
}
