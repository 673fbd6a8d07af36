//! Tags as ad servers and browsers see them.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    browser::{chromium, serve, visit, visit_for},
    harness::{Patient as _, Service, read},
    service, turn,
};

async fn tag(service: &Service, path: &str) -> Response {
    service.http.get(format!("{}/v1/tags/{path}", service.base)).sent().await
}

async fn shown(service: &Service, path: &str) -> String {
    let answer = tag(service, path).await;
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    assert_eq!(status, 200, "{path}: {text}");
    text
}

/// A placement for which there is nothing.
async fn with_nothing(service: &Service) {
    let placement = json!({"name": "Nothing", "sizes": ["970x250"], "formats": ["html"]});
    service.put("/v1/placements/nothing", &placement).await;
}

async fn token(service: &Service, user: &str) -> String {
    let made = service.request(Method::POST, &format!("/v1/profiles/{user}/token"));
    let made: Value = read(made.json(&json!({"ttl_seconds": 3_600})).sent().await, 200).await;
    made["user_token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_shows_the_person_whom_a_token_names_their_ad() {
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let token = token(&service, "anna").await;
    let own = format!("default/home.html?user_token={token}&size=300x250&cb=1");
    let answer = tag(&service, &own).await;
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["tessera-purposes-used"], "basic, profile_read, profile_write, measure");
    let refused = tag(&service, &format!("{own}&gdpr=1")).await;
    assert_eq!(refused.headers()["tessera-purposes-used"], "none");
    let policy = answer.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox allow-scripts"), "{policy}");
    let text = answer.text().await.expect("a body");
    assert!(text.contains("Hello, grown-up") && text.contains("data-size=\"300x250\""), "{text}");
    // its impression counts, once
    let at = text.find("/v1/i/").expect("a pixel");
    let path = text[at..].split('"').next().expect("an end");
    assert_eq!(service.beacon(&format!("{}{path}", service.base)).await, (200, "recorded".into()));
    assert_eq!(service.beacon(&format!("{}{path}", service.base)).await, (200, "duplicate".into()));
    let script = service.http.get(format!("{}{path}?js=1", service.base)).sent().await;
    assert_eq!(
        (&script.headers()["content-type"], &script.headers()["tessera-outcome"]),
        (&"text/javascript; charset=utf-8".parse().expect("a value"), &"duplicate".parse().expect("a value"))
    );
    assert_eq!(script.text().await.expect("a script"), "");
    // clicks pass the ad server first; macros that nobody expanded are left out
    let passed = shown(&service, &format!("{own}&click=https%3A%2F%2Fad.example%2Fc%3Fu%3D")).await;
    assert!(passed.contains("href=\"https://ad.example/c?u=http%3A%2F%2F127.0.0.1"), "{passed}");
    let plain = shown(&service, &format!("{own}&click=%25%25CLICK_URL_ESC%25%25&kw=shoes")).await;
    assert!(!plain.contains("CLICK_URL") && plain.contains("href=\"http"), "{plain}");

    // without a name, with one that anybody can write, and where the person does not allow it
    for more in ["", "&user=anna", "&user_key=anna", "&user_token=anna", "&visitor=anna"] {
        let text = shown(&service, &format!("default/home.html?size=300x250{more}")).await;
        assert!(text.contains("Hello") && !text.contains("grown-up"), "{more}: {text}");
    }
    for forbids in
        ["&gdpr=1", "&gdpr=%24%7BGDPR%7D", "&us_privacy=1YYN", "&gpp=junk", "&gpp_sid=7", "&gdpr_consent=junk"]
    {
        let text = shown(&service, &format!("{own}{forbids}")).await;
        assert!(text.contains("Hello") && !text.contains("grown-up"), "{forbids}: {text}");
    }
    let asked = service.http.get(format!("{}/v1/tags/{own}", service.base)).header("sec-gpc", "1");
    assert!(!asked.sent().await.text().await.expect("a body").contains("grown-up"));

    // pinned, with sizes of its own
    let pinned = shown(&service, &format!("default/c/spring.html?user_token={token}")).await;
    assert!(pinned.contains("Hello, grown-up") && pinned.contains("data-size=\"300x250\""), "{pinned}");
    // nothing to show is an empty document; what there is not is a problem
    with_nothing(&service).await;
    let nothing = shown(&service, "default/nothing.html").await;
    assert!(nothing.contains("data-size=\"\"") && !nothing.contains("<img"), "{nothing}");
    let backup = "backup=https%3A%2F%2Fcdn.example%2Fb.png%3Fa%3D1%26b%3D2";
    let image = "<img src=\"https://cdn.example/b.png?a=1&amp;b=2\" alt=\"\" width=\"970\" height=\"250\">";
    for path in ["nothing.html", "unheard-of.html", "c/unheard-of.html"] {
        let instead = shown(&service, &format!("default/{path}?{backup}&size=970x250")).await;
        assert!(instead.contains(image) && instead.contains("data-size=\"\""), "{path}: {instead}");
        assert!(shown(&service, &format!("default/home.html?{backup}")).await.contains("Hello"), "an ad goes first");
    }
    let beside = shown(&service, &format!("default/nothing.html?{backup}&shadow=1")).await;
    assert!(!beside.contains("<img"), "{beside}");
    for missing in
        ["default/unheard-of.html", "nobody/home.html", "default/home.gif", "default/c/home.html", "default/home"]
    {
        read(tag(&service, missing).await, 404).await;
    }
    // who only looks sees nothing
    let head = service.http.head(format!("{}/v1/tags/{own}", service.base)).sent().await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["cache-control"]),
        (200, &"no-store".parse().expect("a value"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_knows_the_browser_by_its_user_agent() {
    let (service, _turn) = service().await;
    service.put("/v1/placements/foxes", &json!({"name": "Foxes", "sizes": ["300x250"], "formats": ["html"]})).await;
    let foxes = json!({
        "name": "Foxes", "advertiser": "northwind", "status": "active", "creatives": ["spring"],
        "landing_url": "https://northwind.example/foxes", "placements": ["foxes"],
        "targeting": {"all": [{"context": "device.browser", "eq": "firefox"}, {"context": "device.type", "eq": "desktop"}]}
    });
    service.put("/v1/campaigns/foxes", &foxes).await;
    let shows = async |agent: &str| {
        let asked =
            service.http.get(format!("{}/v1/tags/default/foxes.html", service.base)).header("user-agent", agent);
        asked.sent().await.text().await.expect("a body").contains("Shop now")
    };
    assert!(shows("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0").await);
    assert!(!shows("Mozilla/5.0 (Android 15; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0").await);
    assert!(!shows("curl/8").await);
    // what the caller says goes before
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
    for (device, status) in [(json!({}), "filled"), (json!({"browser": "Chrome"}), "no_fill")] {
        let mut body = crate::harness::ask("anna", "foxes");
        body["context"]["user_agent"] = json!(agent);
        body["context"]["device"] = device;
        assert_eq!(service.decide(&body).await["placements"]["top"][0]["status"], status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loader_hands_on_what_the_visitor_said() {
    let Some(browser) = chromium() else {
        eprintln!("no chromium: the loader was not tried");
        return;
    };
    let (service, _turn) = service().await;
    service.patch("anna", &json!({"age": 34})).await;
    let token = token(&service, "anna").await;
    let tcf = |data: &str| format!("window.__tcfapi = function (c, v, done) {{ {data} }};");
    let gpp = |data: &str| format!("window.__gpp = function (c, done) {{ {data} }};");
    let refuses = "done({gdprApplies: true, tcString: 'CPno', eventStatus: 'tcloaded'}, true)";
    let denies = "done({gdprApplies: false, eventStatus: 'tcloaded'}, true)";
    let nowhere = "done({pingData: {signalStatus: 'ready', gppString: '', applicableSections: [-1]}}, true)";
    let elsewhere =
        "done({pingData: {signalStatus: 'ready', gppString: 'DBABTA~1YNN', applicableSections: [6]}}, true)";
    for (page, more, expected, personal) in [
        (String::new(), "", vec![], true),
        (tcf(refuses), "", vec![("gdpr", "1"), ("gdpr_consent", "CPno")], false),
        (tcf(&format!("setTimeout(function () {{ {refuses} }}, 300)")), "", vec![("gdpr_consent", "CPno")], false),
        (tcf("done({gdprApplies: true, eventStatus: 'cmpuishown'}, true)"), "", vec![("gdpr", "1")], false),
        (tcf(denies), "", vec![("gdpr", "0")], true),
        // one that does not answer in time, or fails, is a no
        (tcf(""), "", vec![("gdpr", "1")], false),
        (tcf("throw 1"), "", vec![("gdpr", "1")], false),
        // what the ad server says goes before; what it did not expand says nothing
        (tcf(refuses), "&amp;gdpr=0", vec![("gdpr", "0")], true),
        (tcf(refuses), "&amp;gdpr=${GDPR}&amp;gdpr_consent=${GDPR_CONSENT_733}", vec![("gdpr_consent", "CPno")], false),
        (
            gpp("done({pingData: {signalStatus: 'ready', gppString: 'DBABTA~1YYN', applicableSections: [6]}}, true)"),
            "",
            vec![("gpp", "DBABTA~1YYN"), ("gpp_sid", "6")],
            false,
        ),
        (gpp(elsewhere), "", vec![("gpp_sid", "6")], true),
        (gpp("done({pingData: {signalStatus: 'not ready', gppString: 'DBABTA~1YNN'}}, true)"), "", vec![], false),
        // older ones do not say whether they are ready: what they say tells
        (gpp("done({gppString: '', applicableSections: []}, true)"), "", vec![("gpp", "-")], false),
        (gpp("done({gppString: 'DBABTA~1YNN', applicableSections: [6]}, true)"), "", vec![("gpp_sid", "6")], true),
        ("window.__uspapi = function (c, v, done) { done({uspString: '1YYN'}, true) };".into(), "", vec![], false),
        ("window.__uspapi = function (c, v, done) { done({uspString: '1YNN'}, false) };".into(), "", vec![], false),
        ("window.__uspapi = function (c, v, done) { done({}, true) };".into(), "", vec![], false),
        // a no to the one platform is not undone by the other, whichever answers first
        (tcf(refuses) + &gpp(nowhere), "", vec![("gdpr", "1"), ("gpp_sid", "-1,2")], false),
        (gpp(nowhere) + &tcf(&format!("setTimeout(function () {{ {refuses} }}, 300)")), "", vec![("gdpr", "1")], false),
        (tcf("") + &gpp(elsewhere), "", vec![("gdpr", "1"), ("gpp_sid", "6,2")], false),
        (tcf(refuses), "&amp;gpp=DBABTA~1YNN&amp;gpp_sid=6", vec![("gpp_sid", "6,2")], false),
        (tcf(denies) + &gpp(elsewhere), "", vec![("gdpr", "0"), ("gpp_sid", "6")], true),
        (
            "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true});".into(),
            "",
            vec![("gpc", "1")],
            false,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let html = format!(
            "<!doctype html><body><script>{page}</script><script src=\"{}/v1/tags/default/home.js?timeout_ms=10000\
             &amp;user_token={token}{more}\"></script>",
            service.base
        );
        tokio::spawn(serve(listener, html));
        // the browser's own time stands still for no frame that a timer opens
        let shown = visit_for(browser, url, 9_000).await;
        let src = shown.split("<iframe").nth(1).and_then(|frame| frame.split(" src=\"").nth(1)?.split('"').next());
        let src = src.unwrap_or_else(|| panic!("{page} {more}: {shown}")).replace("&amp;", "&");
        let asked = reqwest::Url::parse(&src).expect("an address");
        for (name, value) in expected {
            assert!(asked.query_pairs().any(|(n, v)| n == name && v == value), "{page} {more}: {name} in {src}");
        }
        let text = service.http.get(asked).sent().await.text().await.expect("a body");
        assert_eq!(text.contains("Hello, grown-up"), personal, "{page} {more}: {src}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loader_shows_the_ad_or_the_backup_image_in_a_browser() {
    let Some(browser) = chromium() else {
        eprintln!("no chromium: the loader was not tried");
        return;
    };
    let _turn = turn(1).await;
    let service = Service::start(&crate::cluster().await.database().await, |_| {}).await;
    with_nothing(&service).await;
    let loader = tag(&service, "default/home.js?cb=7").await;
    assert_eq!(loader.headers()["cache-control"], "public, max-age=3600");
    assert!(loader.text().await.expect("a script").len() < 3_000);
    for (name, has_ad) in [("home", true), ("c/spring", true), ("nothing", false), ("unknown", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let backup = "https://backup.example/b.png";
        let html = format!(
            "<!doctype html><body><script src=\"{}/v1/tags/default/{name}.js?timeout_ms=10000&amp;backup={backup}\"></script>",
            service.base
        );
        tokio::spawn(serve(listener, html));
        let shown = visit_for(browser, url, 12_000).await;
        // word of the ad came, through its policy, before the time was over
        assert_eq!(shown.contains("<iframe"), has_ad, "{name}: {shown}");
        assert_eq!(shown.contains("width=\"300\"") && shown.contains("height=\"250\""), has_ad, "{name}: {shown}");
        assert_eq!(shown.contains(&format!("src=\"{backup}\"")), !has_ad, "{name}: {shown}");
    }
    // the tag of the documentation, where nothing answers at its address
    let page = include_str!("../../docs/tags.md");
    let tag = page.find("<script src=\"https://ads.example").map(|at| &page[at..]).expect("a tag");
    let tag = &tag[..tag.find("</script>").expect("an end") + 9];
    assert!(tag.len() > 200 && tag.contains("onerror="), "{tag}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let html = format!("<!doctype html><body>{}", tag.replace("https://ads.example", "http://127.0.0.1:1"));
    tokio::spawn(serve(listener, html));
    let shown = visit(browser, url).await;
    assert!(shown.contains("<img src=\"https://cdn.example/backup.png\""), "{shown}");
}
