//! The door for browsers: who may send what, and the script in a real browser.

use std::{path::Path, process::Command};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    harness::{Patient as _, Service, ask, folder, read, until},
    places,
    signals::CONSENTING,
    turn,
};

const ORIGIN: &str = "https://shop.northwind.example";
const VISITOR: &str = "0123456789abcdef0123456789abcdef";

async fn with_key(service: &Service, origin: &str) {
    let key = json!({"name": "Web", "origins": [origin], "events": ["viewed", "emptied"], "per_minute": 20});
    service.put("/v1/write-keys/web", &key).await;
}

fn page(event: &str) -> Value {
    json!({"visitor": VISITOR, "events": [{"id": event, "type": "viewed"}]})
}

async fn post(service: &Service, key: &str, origin: Option<&str>, body: &Value) -> Response {
    let request = service.http.post(format!("{}/v1/e?key={key}", service.base)).header("content-type", "text/plain");
    let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
    request.body(body.to_string()).sent().await
}

async fn kept(database: &str) -> i64 {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    sqlx::query_scalar("select count(*) from event").fetch_one(&mut connection).await.expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_key_opens_what_it_says_and_no_more() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    with_key(&service, ORIGIN).await;
    let answer = post(&service, "default.web", Some(ORIGIN), &page("1")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], ORIGIN);
    let answer = read(answer, 200).await;
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1), &json!(0)));
    // the token makes a decision know the visitor
    let mut body = ask(&format!("web:{VISITOR}"), "home");
    body["consistency_token"] = answer["consistency_token"].clone();
    assert_eq!(service.decide(&body).await["user"]["known"], true);
    // repeats, also of a server's own id, count for themselves
    read(post(&service, "default.web", Some(ORIGIN), &page("1")).await, 200).await;
    assert_eq!(kept(&database).await, 1);
    let server =
        service.request(Method::POST, "/v1/events").json(&json!({"id": "2", "user": "anna", "type": "viewed"}));
    read(post(&service, "default.web", Some(ORIGIN), &page("2")).await, 200).await;
    assert_eq!(read(server.sent().await, 200).await["accepted"], 1);
    assert_eq!(kept(&database).await, 3);

    for (key, origin) in [
        ("default.web", None),
        ("default.web", Some("https://evil.example")),
        ("default.web", Some("https://shop.northwind.example.evil.example")),
        ("default.other", Some(ORIGIN)),
        ("other.web", Some(ORIGIN)),
        ("web", Some(ORIGIN)),
    ] {
        read(post(&service, key, origin, &page("3")).await, 403).await;
    }
    let of_type =
        json!({"visitor": VISITOR, "events": [{"id": "4", "type": "purchase"}, {"id": "5", "type": "emptied"}]});
    let answer = read(post(&service, "default.web", Some(ORIGIN), &of_type).await, 200).await;
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1), &json!(1)));
    for wrong in [
        json!({"visitor": "anna", "events": [{"id": "6", "type": "viewed"}]}),
        json!({"user": "anna", "events": [{"id": "6", "type": "viewed"}]}),
        json!({"user_token": "AQ", "events": [{"id": "6", "type": "viewed"}]}),
        json!({"events": [{"id": "6", "type": "viewed"}]}),
        json!({"visitor": VISITOR, "events": []}),
    ] {
        read(post(&service, "default.web", Some(ORIGIN), &wrong).await, 422).await;
    }
    assert_eq!(kept(&database).await, 4);

    let preflight = |origin: &str| {
        let request = service.http.request(Method::OPTIONS, format!("{}/v1/e?key=default.web", service.base));
        request.header("origin", origin).header("access-control-request-method", "POST")
    };
    let allowed = preflight(ORIGIN).sent().await;
    assert_eq!(
        (allowed.status().as_u16(), &allowed.headers()["access-control-allow-methods"]),
        (204, &"POST".parse().expect("a value"))
    );
    assert_eq!(preflight("https://evil.example").sent().await.status(), 403);
    let mut limited = 0;
    for event in 0..20 {
        limited +=
            u32::from(post(&service, "default.web", Some(ORIGIN), &page(&event.to_string())).await.status() == 429);
    }
    assert!(limited > 5, "{limited}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_without_consent() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    with_key(&service, ORIGIN).await;
    for consent in [
        json!({"gdpr": true}),
        json!({"tcf": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}),
        json!({"gpp": "DBABMA~CPXxRfA"}),
        json!({"gpp_sid": [7]}),
        json!({"us_privacy": "1YYN"}),
        json!({"gpc": true}),
    ] {
        let mut body = page("1");
        body["consent"] = consent;
        let answer = read(post(&service, "default.web", Some(ORIGIN), &body).await, 200).await;
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(0), &json!(1)), "{body}");
    }
    let pixel = |more: &str| {
        let url = format!("{}/v1/e.gif?key=default.web&type=viewed&id=9&visitor={VISITOR}{more}", service.base);
        service.http.get(url).header("referer", format!("{ORIGIN}/shoes?x=1"))
    };
    let refused = pixel("&gdpr=1").sent().await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["tessera-event"]),
        (200, &"refused".parse().expect("a value"))
    );
    assert_eq!(pixel("").header("sec-gpc", "1").sent().await.headers()["tessera-event"], "refused");
    assert_eq!(kept(&database).await, 0);
    let url = format!("{}/v1/e.gif?key=default.web&type=viewed&id=9&visitor={VISITOR}", service.base);
    service.http.head(url).header("referer", ORIGIN).sent().await;
    assert_eq!(kept(&database).await, 0);
    let accepted = pixel("&gdpr=0").sent().await;
    assert_eq!(accepted.headers()["tessera-event"], "accepted");
    assert!(accepted.bytes().await.expect("a body").starts_with(b"GIF89a"));
    assert_eq!(kept(&database).await, 1);
    // what ad servers add: numbers against caches, and macros that nobody expanded
    let bare = format!("{}/v1/e.gif?key=default.web&type=viewed&visitor={VISITOR}&cb=123", service.base);
    for (more, became) in [("", "accepted"), ("", "accepted"), ("&gdpr=${GDPR}", "refused"), ("&type=2", "refused")] {
        let told = service.http.get(format!("{bare}{more}")).header("referer", ORIGIN).sent().await;
        assert_eq!(
            (told.status().as_u16(), &told.headers()["tessera-event"]),
            (200, &became.parse().expect("a value"))
        );
        assert!(told.bytes().await.expect("a body").starts_with(b"GIF89a"));
    }
    assert_eq!(kept(&database).await, 3);
    let elsewhere =
        service.http.get(format!("{}/v1/e.gif?key=default.web&type=viewed&id=10&visitor={VISITOR}", service.base));
    assert_eq!(elsewhere.sent().await.headers()["tessera-event"], "refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_tells_which_law_applies() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let folder = folder();
    let places = folder.path().join("city.mmdb");
    std::fs::write(&places, places::database([127, 0, 0])).expect("a file");
    let service = Service::start(&database, |config| config.geo.database = Some(places)).await;
    with_key(&service, ORIGIN).await;
    // somebody in Germany who has said nothing
    let answer = read(post(&service, "default.web", Some(ORIGIN), &page("1")).await, 200).await;
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(0), &json!(1)));
    let token = service.request(Method::POST, "/v1/profiles/anna/token").json(&json!({"ttl_seconds": 60})).sent().await;
    let token = read(token, 200).await["user_token"].as_str().expect("a token").to_owned();
    let get = async |path: &str| {
        let request = service.http.get(format!("{}{path}", service.base)).header("referer", format!("{ORIGIN}/"));
        request.sent().await.headers().clone()
    };
    let pixel = format!("/v1/e.gif?key=default.web&type=viewed&id=9&visitor={VISITOR}");
    let sync = format!("/v1/sync.gif?account=default&user_token={token}&source=ids.example&id=a1");
    assert_eq!(get(&pixel).await["tessera-event"], "refused");
    assert_eq!(get(&sync).await["tessera-sync"], "refused");
    assert_eq!(kept(&database).await, 0);
    // whoever says that it does not apply is believed
    assert_eq!(get(&format!("{pixel}&gdpr=0")).await["tessera-event"], "accepted");
    for section in ["2", "6,7", "7_junk", "2_6"] {
        let more = format!("&gdpr=0&gpp=DBABTA~1YNN&gpp_sid={section}");
        assert_eq!(get(&format!("{pixel}{more}")).await["tessera-event"], "refused", "{section}");
        assert_eq!(get(&format!("{sync}{more}")).await["tessera-sync"], "refused", "{section}");
    }
    // the sections that apply say it, whatever else is said
    assert_eq!(get(&format!("{pixel}&gpp=DBABTA~1YNN&gpp_sid=6")).await["tessera-event"], "accepted");
    assert_eq!(get(&format!("{sync}&gdpr=0")).await["tessera-sync"], "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_token_names_whom_the_server_knows() {
    let (service, _turn) = crate::service().await;
    with_key(&service, ORIGIN).await;
    let made = service.request(Method::POST, "/v1/profiles/anna/token").json(&json!({"ttl_seconds": 60})).sent().await;
    let token = read(made, 200).await["user_token"].clone();
    assert!(!token.as_str().expect("a token").contains("anna"));
    let body = json!({"user_token": token, "visitor": VISITOR, "events": [{"id": "1", "type": "viewed"}]});
    assert_eq!(read(post(&service, "default.web", Some(ORIGIN), &body).await, 200).await["accepted"], 1);
    assert_eq!(service.decide(&ask("anna", "home")).await["user"]["known"], true);
    assert_eq!(service.decide(&ask(&format!("web:{VISITOR}"), "home")).await["user"]["known"], false);
    let made =
        service.request(Method::POST, "/v1/profiles/anna/token").json(&json!({"ttl_seconds": 9_999_999})).sent().await;
    read(made, 422).await;
}

/// Serves one page, whatever is asked for.
pub(crate) async fn serve(listener: TcpListener, html: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let html = html.clone();
        tokio::spawn(async move {
            let mut head = [0; 8_192];
            let _read = stream.read(&mut head).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{html}",
                html.len()
            );
            let _gone = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// The browser of this machine, if there is one.
pub(crate) fn chromium() -> Option<&'static str> {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let found = found.into_iter().find(|path| Path::new(path).exists());
    // where every check must run, one that did not is a failure
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "no chromium: what is served cannot be opened");
    found
}

/// Opens a page in a browser until it has come to rest, and answers what it shows then.
pub(crate) async fn visit(browser: &'static str, url: String) -> String {
    visit_for(browser, url, 4_000).await
}

/// The same for a page that needs so many milliseconds of its own time.
pub(crate) async fn visit_for(browser: &'static str, url: String, ms: u32) -> String {
    let profile = folder();
    tokio::task::spawn_blocking(move || {
        let output = Command::new(browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            // nothing is anywhere but here
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
            // how long loading may take on any machine, and how long the page may run then by its own clock
            .args(["--timeout=120000".to_owned(), format!("--virtual-time-budget={ms}"), "--dump-dom".to_owned()])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .output()
            .expect("the browser ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
    .await
    .expect("no panic")
}

/// What a page of ours finds out about `/documents.json` in a browser, within a minute of its own time:
/// it ends with `RESULT`, JSON and `END`.
pub(crate) async fn probed(browser: &'static str, page: &'static str, documents: &Value) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let documents = documents.to_string();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let documents = documents.clone();
            tokio::spawn(async move {
                let mut head = [0; 8_192];
                let count = stream.read(&mut head).await.unwrap_or(0);
                let (status, kind, body) = match head[..count].split(|byte| *byte == b' ').nth(1) {
                    Some(b"/") => ("200 OK", "text/html; charset=utf-8", page),
                    Some(b"/documents.json") => ("200 OK", "application/json", &*documents),
                    _ => ("404 Not Found", "text/plain", ""),
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _gone = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let shown = visit_for(browser, url, 60_000).await;
    server.abort();
    let told = shown.split_once("RESULT").and_then(|(_, rest)| rest.split_once("END"));
    let (told, _) = told.unwrap_or_else(|| panic!("the probe did not finish: {}", &shown[..shown.len().min(2_000)]));
    let told = told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&told).expect("the probe's JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_works_in_a_browser_on_a_page_of_another_origin() {
    let Some(browser) = chromium() else {
        eprintln!("no chromium: the script was not tried");
        return;
    };
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |config| config.privacy.vendor_id = Some(733)).await;
    let script =
        service.http.get(format!("{}/v1/tessera.js", service.base)).sent().await.text().await.expect("a script");
    assert!(script.len() < 3_000, "{} bytes", script.len());
    assert!(script.contains("vendor = 733"), "{script}");
    let tcf = |purpose: bool, vendor: u32, status: &str| {
        let data = json!({
            "gdprApplies": true, "tcString": CONSENTING, "eventStatus": status,
            "purpose": {"consents": {"1": purpose}}, "vendor": {"consents": {vendor.to_string(): true}}
        });
        format!("done({data}, true)")
    };
    let asks = |calls: &str| format!("window.__tcfapi = function (c, v, done) {{ {calls} }};");
    let gpp = |text: &str, opted_out: &str| {
        let data = json!({"pingData": {
            "signalStatus": "ready", "gppString": text, "applicableSections": [6],
            "parsedSections": {"uspv1": {"Version": 1, "OptOutSale": opted_out}}
        }});
        format!("window.__gpp = function (c, done) {{ done({data}, true) }};")
    };
    let nowhere = "window.__gpp = function (c, done) {\
        done({pingData: {signalStatus: 'ready', gppString: '', applicableSections: [-1]}}, true) };";
    let answered = tcf(true, 733, "useractioncomplete");
    let late = format!(
        "done({{gdprApplies: true, eventStatus: 'cmpuishown'}}, true); setTimeout(function () {{ {answered} }}, 1500)"
    );
    let made = service.request(Method::POST, "/v1/profiles/anna/token").json(&json!({"ttl_seconds": 600})).sent().await;
    let token = read(made, 200).await["user_token"].as_str().expect("a token").to_owned();
    let signed_in = format!(" data-user-token=\"{token}\"");
    let refuses = asks("done({gdprApplies: true, tcString: 'CPno', eventStatus: 'tcloaded'}, true)");
    for ((consent, expected, names), more) in [
        (String::new(), 2, true),
        (asks("done({gdprApplies: false, eventStatus: 'tcloaded'}, true)"), 4, true),
        (asks("done({gdprApplies: true, tcString: 'CP', eventStatus: 'tcloaded'}, true)"), 4, false),
        (asks(&tcf(false, 733, "tcloaded")), 4, false),
        (asks(&tcf(true, 734, "tcloaded")), 4, false),
        (asks(&tcf(true, 733, "tcloaded")), 6, true),
        // who takes their time is heard all the same
        (asks(&late), 8, true),
        (asks(""), 8, false),
        // what it does not read the server does
        (
            "window.__gpp = function (c, done) { done({gppString: 'DB', applicableSections: [7]}, true) };".into(),
            8,
            true,
        ),
        (gpp("DBABTA~1YNN", "N"), 10, true),
        (gpp("DBABTA~1YYN", "Y"), 10, false),
        ("window.__uspapi = function (c, v, done) { done({uspString: '1YNN'}, true) };".into(), 12, true),
        ("window.__uspapi = function (c, v, done) { done({uspString: '1YYN'}, true) };".into(), 12, false),
        // one that fails, or says nothing, is a no
        ("window.__uspapi = function (c, v, done) { done({uspString: '1YNN'}, false) };".into(), 12, false),
        ("window.__uspapi = function (c, v, done) { done({}, true) };".into(), 12, false),
        (
            "window.__gpp = function (c, done) { done({gppString: '', applicableSections: []}, true) };".into(),
            12,
            false,
        ),
        // a no to one platform is not undone by another
        (asks(&tcf(false, 733, "tcloaded")) + nowhere, 12, false),
        (asks("") + nowhere, 12, false),
        (asks("done({gdprApplies: false, eventStatus: 'tcloaded'}, true)") + nowhere, 14, true),
    ]
    .map(|row| (row, ""))
    .into_iter()
    // nor for somebody whom the page names
    .chain([((refuses + nowhere, 14, false), &*signed_in), ((nowhere.into(), 16, false), &*signed_in)])
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let port = listener.local_addr().expect("an address").port();
        let html = format!(
            "<!doctype html><script>{consent}</script><script src=\"{}/v1/tessera.js\" data-key=\"default.web\"{more}></script>\
             <body><script>tessera.track('viewed', {{sku: 'shoe-7'}}); tessera.track('emptied');\
             setTimeout(function () {{ document.body.textContent = JSON.stringify(tessera.user()) }}, 2000)</script>",
            service.base
        );
        tokio::spawn(serve(listener, html));
        let origin = format!("http://127.0.0.1:{port}");
        let key = json!({"name": "Web", "origins": [origin], "events": ["viewed", "emptied"], "per_minute": 1000});
        let written = service.request(Method::PUT, "/v1/write-keys/web");
        let written =
            if expected == 2 { written.header("if-none-match", "*") } else { written.header("if-match", "*") };
        assert!(written.json(&key).sent().await.status().is_success());
        let shown = visit(browser, format!("{origin}/")).await;
        until("the page's events are there", || async { kept(&database).await >= expected }).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(kept(&database).await, expected, "{consent}: {shown}");
        assert_eq!(shown.contains("visitor"), names, "{consent}: {shown}");
        // the same page under another name is another origin
        if consent.is_empty() {
            visit(browser, format!("http://localhost:{port}/")).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            assert_eq!(kept(&database).await, expected, "another origin");
        }
    }
}
