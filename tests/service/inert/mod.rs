//! No value of an author, a feed or a page runs as script, wherever a template lets it stand: uploaded,
//! served and opened in a real browser. The same values written without escaping show that it would tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    browser::{chromium, probed},
    events::send,
    harness::{Patient as _, Service, read, until},
    turn,
};

const PROBE: &str = include_str!("probe.html");

/// Every kind of place that a template offers, by its name.
const PLACES: [(&str, &str); 20] = [
    ("text", "<p>{{words}}</p>"),
    ("attribute", "<b title=\"{{words}}\" data-x=\"{{words}}\" class=\"{{words}}\">x</b>"),
    ("attribute in single quotes", "<b aria-label='{{words}}'>x</b>"),
    ("legal text", "<small>{{small}}</small>"),
    ("alt text", "<img src=\"https://cdn.example/a.png\" alt=\"{{hero.alt}}\">"),
    ("link", "<a href=\"{{target}}\">x</a>"),
    ("link to an address around it", "<a href='{{address}}'>{{address}}</a>"),
    ("path of an address", "<a href=\"https://x.example/{{words}}/p\">x</a>"),
    ("query of an address", "<a href=\"https://x.example/?q={{words}}&amp;z=1\">x</a>"),
    ("picture", "<img src=\"{{picture.src}}\" alt=\"x\">"),
    ("film", "<video src=\"{{target}}\" poster=\"{{picture.src}}\"></video>"),
    ("list of pictures", "<img srcset=\"{{picture.src}} 1x, {{picture.src}} 2x\" alt=\"x\">"),
    ("colour", "<p style=\"color:{{accent}};--c:{{accent}}\">x</p>"),
    ("picture in a style", "<p style=\"background:url({{picture.src}}),url('{{picture.src}}')\">x</p>"),
    ("colour of a drawing", "<svg><rect fill=\"{{accent}}\"/></svg>"),
    (
        "JSON",
        "<script type=\"application/json\">{\"a\":{{words}},\"b\":[{{hero}},{{goods}}],\"c\":{{target}}}</script>",
    ),
    ("condition", "{{#if badge}}<i title=\"{{badge}}\">{{badge}}</i>{{/if}}"),
    (
        "product",
        "{{#each goods}}<a href=\"{{link}}\" title=\"{{id}}\">{{title}} {{id}}{{#if brand}} {{brand}}{{/if}}{{#if description}} {{description}}{{/if}}</a>{{/each}}",
    ),
    ("picture of a product", "{{#each goods}}<img src=\"{{image.src}}\" alt='{{image.alt}}'>{{/each}}"),
    ("colour in a loop", "{{#each goods}}<u style='color:{{accent}}'>{{words}}</u>{{/each}}"),
];

/// The values, with what runs them still to be put in for `RUN`.
fn corpus() -> Vec<String> {
    let spelled = |line: &str| {
        let mut text = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('\\') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let named = [("\\t", '\t'), ("\\n", '\n'), ("\\0", '\0'), ("\\x01", '\u{1}'), ("\\", '\\')];
            let coded = rest.strip_prefix("\\u{").and_then(|code| code.split_once('}'));
            let (c, behind) = match coded {
                Some((code, behind)) => {
                    (u32::from_str_radix(code, 16).ok().and_then(char::from_u32).expect("a character"), behind)
                }
                None => named
                    .iter()
                    .find_map(|(written, c)| rest.strip_prefix(written).map(|behind| (*c, behind)))
                    .expect("a backslash"),
            };
            text.push(c);
            rest = behind;
        }
        text + rest
    };
    include_str!("corpus.txt").lines().map(spelled).collect()
}

/// A value that says its number to the page on top when it runs, from frames of any origin. Without
/// quotes, spaces and slashes, so that it stands in any place.
fn armed(payload: &str, number: usize) -> String {
    payload.replace("RUN", &format!("top.postMessage({number},String.fromCharCode(42))"))
}

fn template() -> Value {
    let places: String = PLACES.iter().map(|(_, place)| place.replace("#{{!}}", "")).collect();
    let text = |longest: u32| json!({"type": "text", "max_length": longest, "default": "fine"});
    let image = json!({"type": "image", "default": {"src": "https://cdn.example/fine.png", "alt": "fine"}});
    let product = json!([{"id": "fine", "title": "fine", "link": "https://northwind.example/fine",
        "image": {"src": "https://cdn.example/fine.png", "alt": "fine"}}]);
    json!({"name": "Everywhere", "format": "html", "size": "300x600",
        "markup": format!("<!doctype html><html lang=\"{{{{words}}}}\"><head><title>{{{{words}}}}</title></head>\
            <body><a href=\"{{{{click_url}}}}\">x</a>{places}</body></html>"),
        "slots": {"words": text(500), "small": {"type": "legal", "default": "fine"}, "hero": image, "picture": image,
            "badge": {"type": "text", "optional": true, "default": null}, "accent": {"type": "color", "default": "red"},
            "target": {"type": "url", "default": "https://northwind.example/"},
            "address": {"type": "url", "default": "https://northwind.example/"},
            "goods": {"type": "product", "default": product}}})
}

/// What an author makes of a payload for each slot.
fn values(payload: &str) -> [(&'static str, Value); 9] {
    let bare: String = payload.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\\').collect();
    let around = format!("https://northwind.example/{bare}?{bare}#{bare}");
    let product = json!([{"id": payload, "title": payload, "brand": payload, "description": payload, "link": around,
        "image": {"src": around, "alt": payload}}]);
    [
        ("words", json!(payload)),
        ("small", json!(payload)),
        ("badge", json!(payload)),
        ("hero", json!({"src": around, "alt": payload})),
        ("picture", json!({"src": payload, "alt": "x"})),
        ("target", json!(payload)),
        ("address", json!(around)),
        ("accent", json!(payload)),
        ("goods", product),
    ]
}

/// Everything that was uploaded, by slot: how much of it was taken.
async fn author(service: &Service, payloads: &[String]) -> BTreeMap<String, u64> {
    // some payloads are addresses of this host
    let brand =
        json!({"name": "Hostile", "domain": "northwind.example", "landing_hosts": ["northwind.example", "x.example"]});
    service.put("/v1/advertisers/hostile", &brand).await;
    service.put("/v1/templates/everywhere", &template()).await;
    let card = json!({"name": "Card", "format": "native",
        "slots": {"words": {"type": "text", "max_length": 500, "default": "fine"}, "hero": template()["slots"]["hero"]},
        "native": {"assets": [{"id": 1, "required": true, "kind": "title", "slot": "words"},
            {"id": 2, "kind": "main_image", "slot": "hero"}]}});
    service.put("/v1/templates/everywhere-card", &card).await;
    let feed = json!({"name": "Shop", "advertiser": "hostile", "format": "json"});
    service.put("/v1/feeds/shop", &feed).await;
    for (creative, templates) in [("hostile", &["everywhere", "everywhere-card"][..]), ("shop", &["everywhere"])] {
        let body = json!({"name": "Hostile", "advertiser": "hostile", "templates": templates});
        service.put(&format!("/v1/creatives/{creative}"), &body).await;
        let placement = json!({"name": creative, "sizes": ["300x600"], "formats": ["html", "native"]});
        service.put(&format!("/v1/placements/{creative}"), &placement).await;
    }
    let mut taken = BTreeMap::new();
    let mut of_slot = BTreeMap::<_, String>::new();
    for (number, payload) in payloads.iter().enumerate() {
        let aim = json!({"any": [{"context": "keywords", "has_any": [format!("p{number}")]},
            {"context": "device.type", "eq": format!("p{number}")}]});
        for (slot, value) in values(payload) {
            let row = json!({"id": format!("{slot}-{number}"), "slot": slot, "value": value, "targeting": aim});
            of_slot.entry(slot).or_default().push_str(&format!("{row}\n"));
        }
    }
    for (slot, rows) in of_slot {
        let upload = service.request(Method::POST, "/v1/creatives/hostile/components?mode=valid_only");
        let upload = upload.header(header::CONTENT_TYPE, "application/x-ndjson").body(rows);
        let answer = read(upload.sent().await, 200).await;
        assert_eq!(answer["rows"], payloads.len(), "{answer}");
        taken.insert(slot.to_owned(), answer["created"].as_u64().expect("a count"));
    }
    let rows: Vec<Value> = (0..)
        .zip(payloads)
        .map(|(number, payload)| {
            let [.., (_, address), _, (_, product)] = values(payload);
            json!({"id": format!("p{number}"), "title": payload, "description": payload, "brand": payload, "link": address,
                "image_link": product[0]["image"]["src"], "price": "1.00 EUR", "availability": "in_stock"})
        })
        .collect();
    let filled = service.request(Method::POST, "/v1/feeds/shop/items?mode=valid_only").json(&rows).sent().await;
    let filled = read(filled, 200).await;
    taken.insert("product.* of a feed".into(), filled["items"].as_u64().expect("a count"));
    let picked = json!({"slot": "goods", "value": {"feed": "shop", "choose": "last_viewed"}});
    service.put("/v1/creatives/shop/components/seen", &picked).await;
    for creative in ["hostile", "shop"] {
        let publish = service.request(Method::POST, &format!("/v1/creatives/{creative}/publish")).json(&json!({}));
        read(publish.sent().await, 200).await;
        let campaign = json!({"name": creative, "advertiser": "hostile", "status": "active", "creatives": [creative],
            "landing_url": "https://northwind.example/", "placements": [creative]});
        service.put(&format!("/v1/campaigns/{creative}"), &campaign).await;
    }
    taken
}

/// What the service answers: documents, addresses of documents and JSON, each with its number.
#[derive(Default)]
struct Served {
    markups: Vec<(usize, String)>,
    addresses: Vec<(usize, String)>,
    values: Vec<(usize, Value)>,
}

async fn served(service: &Service, payloads: &[String]) -> Served {
    let mut all = Served::default();
    let views: Vec<_> = (0..payloads.len())
        .map(|n| json!({"user": format!("u-{n}"), "type": "product_view", "properties": {"product_id": format!("p{n}")}}))
        .collect();
    send(service, &json!(views)).await;
    let shown = async |user: String, placement: Value| {
        let mut body = crate::harness::ask(&user, "hostile");
        body["placements"][0].as_object_mut().expect("one").extend(placement.as_object().expect("an object").clone());
        service.decide(&body).await["placements"]["top"][0].take()
    };
    until("products of the feed are shown", || async {
        shown("u-0".into(), json!({"placement": "shop"})).await["content"]["goods"][0]["id"] == "p0"
    })
    .await;
    for (number, payload) in payloads.iter().enumerate() {
        let keyword = format!("p{number}");
        for asked in [
            json!({"keywords": [keyword], "formats": ["html"]}),
            json!({"keywords": [keyword], "formats": ["native"]}),
            json!({"placement": "shop", "formats": ["html"]}),
        ] {
            let item = shown(format!("u-{number}"), asked.clone()).await;
            assert_eq!(item["status"], "filled", "{item}");
            let markup = item["markup"].as_str().expect("markup").to_owned();
            all.values.push((number, item["content"].clone()));
            match item["format"].as_str() {
                Some("native") => all.values.push((number, serde_json::from_str(&markup).expect("JSON"))),
                _ => all.markups.push((number, markup)),
            }
        }
        // the same documents by other ways
        if number % 4 > 0 {
            continue;
        }
        let tag = |kind: &str| {
            let url = format!("{}/v1/tags/default/hostile.{kind}", service.base);
            let mut url = reqwest::Url::parse(&url).expect("an address");
            url.query_pairs_mut()
                .append_pair("kw", &keyword)
                .append_pair("timeout_ms", "2500")
                .append_pair("click", payload)
                .append_pair("backup", payload);
            url.to_string()
        };
        all.addresses.push((number, tag("html")));
        // a script in a page of somebody else
        let loader = tag("js").replace('&', "&amp;").replace('"', "%22").replace('\'', "%27");
        all.markups.push((number, format!("<!doctype html><body><script src=\"{loader}\"></script>")));
        let sheet = format!("/v1/creatives/hostile/preview?limit=1&device={keyword}");
        let sheet = service.request(Method::GET, &sheet).sent().await;
        assert_eq!(sheet.status(), 200);
        all.markups.push((number, sheet.text().await.expect("a page")));
    }
    all
}

/// Some markup as it would be without escaping.
fn careless(markup: &str, payload: &str) -> String {
    let mut document = String::from("<!doctype html><body>");
    let mut rest = markup;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").expect("an end");
        document.push_str(before);
        document.push_str(if name.starts_with(['#', '/']) { "" } else { payload });
        rest = behind;
    }
    document + rest
}

/// Each payload at the first place, and some that leave most places at each, numbered by both.
fn planted(payloads: &[String]) -> Vec<(usize, String)> {
    let breaking = ["'\"--></title></style></script><script>RUN</script>", "javascript:RUN"];
    let cases = PLACES.iter().enumerate().flat_map(|(place, (_, markup))| {
        let tried =
            move |(_, payload): &(usize, &String)| matches!(place, 0 | 1 | 5) || breaking.contains(&payload.as_str());
        payloads.iter().enumerate().filter(tried).map(move |(number, payload)| (place, number, *markup, payload))
    });
    let made = cases.map(|(place, number, markup, payload)| {
        let number = 1_000 * place + number;
        (number, careless(markup, &armed(payload, number)))
    });
    made.collect()
}

/// What a browser finds.
#[derive(Debug)]
struct Found {
    opened: u64,
    ran: BTreeSet<usize>,
    odd: Value,
}

/// Has a browser open all of it on one page of another origin.
async fn probe(browser: &'static str, all: &Served) -> Found {
    let documents = json!({"markups": all.markups, "addresses": all.addresses, "values": all.values});
    let told = probed(browser, PROBE, &documents).await;
    let ran = told["ran"].as_array().expect("numbers").iter();
    Found {
        opened: told["opened"].as_u64().expect("a count"),
        ran: ran.map(|number| number.as_u64().expect("a number") as usize).collect(),
        odd: told["odd"].clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_runs_in_any_place_of_a_template() {
    let Some(browser) = chromium() else {
        return eprintln!("no chromium: hostile values were not tried in a browser");
    };
    let payloads = corpus();
    assert!(payloads.len() >= 60);
    // without escaping it would be seen
    let began = Instant::now();
    let markups = planted(&payloads);
    let all = markups.len() as u64;
    let found = probe(browser, &Served { markups, ..Served::default() }).await;
    assert_eq!(found.opened, all);
    for (place, (name, _)) in PLACES.iter().enumerate() {
        assert!(found.ran.iter().any(|number| number / 1_000 == place), "what runs in {name} is not noticed");
    }
    let dangerous: BTreeSet<_> = found.ran.iter().map(|number| number % 1_000).collect();
    println!(
        "without escaping {} of {} payloads run somewhere; {:?}",
        dangerous.len(),
        payloads.len(),
        began.elapsed()
    );
    assert!(dangerous.len() >= 60, "{dangerous:?}");

    let _turn = turn(1).await;
    let service = Service::start(&crate::cluster().await.database().await, |_| {}).await;
    let armed: Vec<_> = payloads.iter().enumerate().map(|(number, payload)| armed(payload, number)).collect();
    let taken = author(&service, &armed).await;
    println!("taken of {} by slot: {taken:?}", armed.len());
    assert!(["words", "goods", "hero", "product.* of a feed"].iter().all(|slot| taken[*slot] >= 100), "{taken:?}");
    assert!(["accent", "target", "picture"].iter().all(|slot| taken[*slot] < 10), "{taken:?}");
    let served = served(&service, &armed).await;
    let all = served.markups.len() + served.addresses.len() + served.values.len();
    let found = probe(browser, &served).await;
    assert_eq!((found.opened, found.ran, found.odd), (all as u64, BTreeSet::new(), json!([])));
    println!("{all} documents served, 0 run anything; {:?}", began.elapsed());
    service.server.shutdown().await;
}
