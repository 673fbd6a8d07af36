//! What is decided on: 100 campaigns, 50 segments, html of about 1.5 KB with 8 slots, known people.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Side, client::Request};

const KEY: &str = "bench-admin-key-0123456789";
const PEOPLE: usize = 200;

/// An address that is free now.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address").to_string()
}

/// The requests: one placement, one of the known people each.
pub(crate) fn requests(address: &str) -> Vec<Request> {
    let body = |at: usize| {
        json!({
            "placements": [{"id": "top", "placement": "top", "sizes": ["300x250"], "formats": ["html"]}],
            "user": {"key": format!("user-{at:04}")},
            "context": {
                "url": "https://news.example/sport/today", "language": "en-US",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
                "geo": {"country": "US", "region": "NY"}, "device": {"type": "mobile", "os": "ios"}
            },
            "deadline_ms": 20
        })
    };
    (0..PEOPLE).map(|at| Request::new(address, KEY, body(at).to_string())).collect()
}

/// Bid requests of about 1.5 KB, as exchanges send them: one banner, for one of the known people each,
/// on a line that is named.
pub(crate) fn bids(address: &str) -> Vec<Request> {
    let body = |at: usize| {
        json!({
            "id": format!("80ce30c53c16e6ede735f123ef6e3236-{at:04}"), "at": 1, "tmax": 5_000, "cur": ["USD"],
            "imp": [{
                "id": "1", "tagid": "agltb3B1Yi1pbmNyDQsSBFNpdGUY7fD0FAw", "instl": 0, "secure": 0, "bidfloor": 0.5,
                "bidfloorcur": "USD", "exp": 300, "displaymanager": "gpt", "displaymanagerver": "2026.1",
                "banner": {"format": [{"w": 300, "h": 250}, {"w": 320, "h": 50}], "pos": 1, "battr": [13, 14], "api": [3, 5, 7],
                           "topframe": 0, "mimes": ["text/html", "image/jpeg", "image/png"]},
                "metric": [{"type": "viewability", "value": 0.71, "vendor": "EXCHANGE"}],
                "ext": {"gpid": "/6355419/news/sport#top", "tessera": {"campaign": "camp-002", "price": "1.50", "currency": "USD"}}
            }],
            "site": {"id": "102855", "name": "News", "domain": "news.example", "cat": ["IAB17"], "privacypolicy": 1,
                     "page": "https://news.example/sport/today", "ref": "https://search.example/?q=running",
                     "publisher": {"id": "8953", "name": "News Publishing", "domain": "news.example"},
                     "keywords": "sport,running,trail"},
            "device": {"ua": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15", "ip": "203.0.113.7",
                       "devicetype": 1, "os": "iOS", "osv": "18.1", "make": "Apple", "model": "iPhone", "language": "en", "js": 1,
                       "w": 390, "h": 844, "geo": {"country": "USA", "region": "NY", "type": 2, "utcoffset": -300}},
            "user": {"id": "55816b39711f9b5acf3b90e313ed29e51665623f", "buyeruid": format!("user-{at:04}"),
                     "data": [{"id": "6", "name": "Data Provider", "segment": [{"id": "12341318394918"}, {"id": "1234131839491234"}]}]},
            "regs": {"gdpr": 0, "us_privacy": "1YNN"}, "bcat": ["IAB25", "IAB26", "IAB7-39"], "badv": ["blocked.example"],
            "source": {"fd": 1, "tid": "ba1d1b6e-8d8c-4e6e-9c1a-27a3a8d4a7b3",
                       "schain": {"complete": 1, "ver": "1.0", "nodes": [{"asi": "exchange.example", "sid": "8953", "hp": 1}]}}
        })
    };
    let request = |at: usize| Request::post(address, KEY, "/openrtb2/bid", body(at).to_string());
    (0..PEOPLE).map(request).collect()
}

/// The service as a process, with everything loaded.
pub(crate) fn start(folder: &Path) -> Side {
    let bundle = folder.join("bundle");
    write_bundle(&bundle);
    let address = free_address();
    let log = fs::File::create(folder.join("log")).expect("a log");
    let child = Command::new(env!("CARGO_BIN_EXE_tessera"))
        .env("TESSERA_BIND", &address)
        .env("TESSERA_DATA", folder.join("data"))
        .env("TESSERA_ADMIN_KEY", KEY)
        .env("TESSERA_STORE__BUNDLE", &bundle)
        .env("TESSERA_LOG", "warn")
        .env_remove("DATABASE_URL")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the service");
    let side = Side::ready(child, address);
    // listening comes before the bundle is loaded; an answer comes after
    let until = Instant::now() + Duration::from_secs(120);
    while !ready(&side.address) {
        assert!(Instant::now() < until, "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
    side
}

fn ready(address: &str) -> bool {
    get(address, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Nanoseconds spent on each step of decisions since the service began.
pub(crate) fn steps(address: &str) -> BTreeMap<String, u64> {
    let metrics = get(address, "/metrics").expect("metrics");
    let lines =
        metrics.lines().filter_map(|line| line.strip_prefix("tessera_decision_steps_nanoseconds_total{step=\""));
    lines
        .map(|line| {
            let (step, spent) = line.split_once("\"} ").expect("a step and its time");
            (step.to_owned(), spent.parse().expect("a whole number"))
        })
        .collect()
}

fn get(address: &str, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn write_bundle(folder: &Path) {
    let write = |path: String, document: Value| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, document.to_string()).expect("a file");
    };
    write("bundle.json".into(), json!({"name": "bench"}));
    write("advertisers/brand.json".into(), json!({"name": "Brand", "domain": "brand.example"}));
    for at in 0..50 {
        let rule = match at % 3 {
            0 => {
                json!({"all": [{"trait": "age", "gte": 18 + at, "lt": 40 + at}, {"trait": "country", "in": ["US", "CA"]}]})
            }
            1 => json!({"trait": "interests", "has_any": [format!("interest-{at}"), "running"]}),
            _ => json!({"any": [{"trait": "orders", "gte": at}, {"not": {"trait": "vip", "eq": true}}]}),
        };
        write(
            format!("segments/seg-{at}.json"),
            json!({"name": at.to_string(), "rule": {"v": 1, "kind": "dynamic", "match": rule}}),
        );
    }
    let slots = ["headline", "body", "cta", "badge", "legal", "color", "image", "price"];
    write(
        "templates/banner.json".into(),
        json!({
            "name": "Banner", "format": "html", "size": "300x250", "markup": markup(),
            "slots": {
                "headline": {"type": "text", "default": "Made for the trail"}, "body": {"type": "text", "default": "Light and fast."},
                "cta": {"type": "text", "default": "Shop now"}, "badge": {"type": "text", "default": "New"},
                "legal": {"type": "legal", "default": "While stocks last."}, "color": {"type": "color", "default": "#0a7d5a"},
                "image": {"type": "image", "default": {"src": "https://cdn.brand.example/hero.webp", "alt": "A shoe"}},
                "price": {"type": "price", "default": {"amount": "89.90", "currency": "USD"}}
            }
        }),
    );
    write(
        "creatives/hero/creative.json".into(),
        json!({"name": "Hero", "advertiser": "brand", "templates": ["banner"]}),
    );
    for slot in &slots[..5] {
        for at in 0..4 {
            write(
                format!("creatives/hero/components/{slot}-{at}.json"),
                json!({
                    "slot": slot, "value": format!("{slot} number {at} for you"), "targeting": {"segment": format!("seg-{}", at * 7)}
                }),
            );
        }
    }
    write(
        "placements/top.json".into(),
        json!({"name": "Top", "sizes": ["300x250"], "formats": ["html"], "house_creative": "hero"}),
    );
    for at in 0..100 {
        let targeting = match at % 4 {
            0 => json!({"segment": format!("seg-{}", at / 2)}),
            1 => {
                json!({"all": [{"context": "geo.country", "in": ["US", "CA"]}, {"segment": format!("seg-{}", at / 2)}]})
            }
            2 => json!({"context": "device.type", "eq": "mobile"}),
            _ => json!({"all": [{"context": "geo.country", "in": ["DE", "FR"]}, {"trait": "age", "gte": 30}]}),
        };
        write(
            format!("campaigns/camp-{at:03}.json"),
            json!({
                "name": at.to_string(), "advertiser": "brand", "status": "active", "creatives": ["hero"],
                "landing_url": format!("https://www.brand.example/{at}"), "targeting": targeting, "priority": 4 + at % 3,
                "frequency_caps": if at % 10 == 0 { json!([{"impressions": 60, "per": "P1D"}]) } else { json!([]) }
            }),
        );
    }
    let people: Vec<String> = (0..PEOPLE)
        .map(|at| {
            json!({"user": format!("user-{at:04}"), "traits": {
                "age": 18 + at % 50, "country": "US", "orders": at % 20, "vip": at % 7 == 0, "city": "New York",
                "interests": ["running", format!("interest-{}", at % 50)], "income_band": "c1", "spend": 120.5,
                "birthday": "1995-05-17", "home": {"lat": 40.7, "lon": -74.0}, "email_opt_in": true, "plan": "plus"
            }})
            .to_string()
        })
        .collect();
    fs::write(folder.join("profiles.ndjson"), people.join("\n")).expect("people");
}

fn markup() -> String {
    let style = ".ad{position:relative;width:300px;height:250px;overflow:hidden;font:16px/1.3 system-ui,sans-serif}\
        .ad img{position:absolute;inset:0;width:100%;height:100%;object-fit:cover}.copy{position:absolute;left:16px;bottom:16px}\
        .cta{display:inline-block;padding:8px 14px;border-radius:6px;color:#fff;text-decoration:none;font-weight:600}\
        .badge{position:absolute;top:12px;right:12px;background:#fff;border-radius:99px;padding:2px 10px;font-size:12px}\
        .legal{font-size:9px;opacity:.8}@media (prefers-reduced-motion:no-preference){.cta{transition:transform .2s}}";
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Ad</title><style>{style}</style></head>\
         <body><a class=\"ad\" href=\"{{{{click_url}}}}\"><img src=\"{{{{image.src}}}}\" alt=\"{{{{image.alt}}}}\">\
         <span class=\"badge\">{{{{badge}}}}</span><span class=\"copy\"><b>{{{{headline}}}}</b> {{{{body}}}} {{{{price}}}} \
         <span class=\"cta\" style=\"background:{{{{color}}}}\">{{{{cta}}}}</span><small class=\"legal\">{{{{legal}}}}</small>\
         </span></a></body></html>"
    )
}
