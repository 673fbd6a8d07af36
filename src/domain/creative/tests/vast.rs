use proptest::prelude::*;
use quick_xml::{Reader, events::Event};

use super::*;

fn film() -> Value {
    json!({"duration_ms": 15_040, "files": [
        {"src": "https://cdn.example/a.mp4?q=1&r=2", "type": "video/mp4", "width": 1280, "height": 720, "bitrate_kbps": 1800},
        {"src": "https://cdn.example/a.webm", "type": "video/webm", "width": 640, "height": 360},
    ]})
}

fn document_of(vast: Value) -> TemplateDoc {
    let mut slots = slots();
    slots["film"] = json!({"type": "video", "default": film()});
    slots["clip"] = json!({"type": "video", "default": null, "optional": true});
    let doc = json!({"name": "Spot <1>", "format": "vast", "slots": slots, "vast": vast});
    serde_json::from_value(doc).expect("a template document")
}

fn whole() -> Value {
    json!({"video": "film", "title": "headline", "description": "small", "skip_after_ms": 5_000, "companions": [
        {"size": "300x250", "end_card": true, "markup":
            "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\">{{headline}}</a>]]></body>"},
        {"size": "728x90", "markup": "<p>{{offer}}{{#if badge}} {{badge}}{{/if}}{{#each products}}{{title}}{{/each}}</p>"}
    ]})
}

fn spoken(vast: Value, values: &Value, wanted: &VideoRequest) -> Option<String> {
    let template = Template::parse(&document_of(vast)).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let prepared: Vec<_> = template
        .slots()
        .iter()
        .enumerate()
        .map(|(index, slot)| {
            let value = values.get(slot.name.as_str());
            let value = value.map(|value| SlotValue::parse(&slot.spec, value).expect("a value"));
            template.prepare(index, value.as_ref().unwrap_or(&slot.default))
        })
        .collect();
    let events = VideoEvent::ALL.map(|(_, name)| format!("https://t.example/v1/p/token/{name}"));
    let spot = Spot {
        ad: "spring",
        advertiser: "shop.example",
        universal_id: "spring.00000000000000ff",
        click_pixel: "https://t.example/v1/c/token?pixel=1",
        events: &events,
        error_url: "https://t.example/v1/p/token/error?code=[ERRORCODE]",
    };
    let mut out = String::new();
    let takes = assemble_vast(&template, &prepared.iter().collect::<Vec<_>>(), &DYNAMIC, &spot, wanted, &mut out);
    assert_eq!(takes, !out.is_empty());
    takes.then_some(out)
}

fn in_version(version: VastVersion) -> VideoRequest {
    VideoRequest { version, ..VideoRequest::default() }
}

/// The paths of all elements in their order, and what stands in each: words and addresses.
fn elements(xml: &str) -> Vec<(String, String)> {
    let (mut reader, mut path, mut found) = (Reader::from_str(xml), Vec::new(), Vec::<(String, String)>::new());
    loop {
        let text = match reader.read_event().expect("well formed") {
            Event::Start(start) => {
                path.push((start.name().as_ref().to_owned(), found.len()));
                found.push((path.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("/"), String::new()));
                continue;
            }
            Event::End(_) => {
                path.pop();
                continue;
            }
            Event::Text(text) => text.xml10_content().into_owned(),
            Event::GeneralRef(name) => match &*name {
                "lt" => "<".into(),
                "gt" => ">".into(),
                "amp" => "&".into(),
                "quot" => "\"".into(),
                "apos" => "'".into(),
                other => panic!("{other:?}"),
            },
            Event::CData(text) => text.into_inner().into_owned(),
            Event::Eof => return found,
            _ => continue,
        };
        if let Some((_, at)) = path.last() {
            found[*at].1.push_str(&text);
        }
    }
}

fn lint(xml: &str) {
    let found = vastlint_core::validate(xml);
    // a finished video ad need not have what measures it, nor a mezzanine file
    let faults: Vec<_> = found.issues.iter().filter(|issue| issue.severity != vastlint_core::Severity::Info).collect();
    assert!(found.summary.is_valid(), "{faults:#?}\n{xml}");
}

#[test]
fn every_version_is_sound() {
    for (version, name, _) in VastVersion::ALL {
        let bare = json!({"video": "film"});
        for vast in [whole(), bare] {
            let xml = spoken(vast, &json!({}), &in_version(version)).expect("a video");
            let head = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><VAST version=\"{name}\"");
            assert!(xml.starts_with(&head), "{xml}");
            lint(&xml);
        }
        let mut nothing = String::new();
        empty_vast(version, "https://t.example/v1/p/none?code=[ERRORCODE]", &mut nothing);
        assert_eq!(nothing.contains("[ERRORCODE]"), version > VastVersion::V2, "{nothing}");
        lint(&nothing);
    }
}

#[test]
fn elements_stand_in_the_order_of_the_schema() {
    let of = |version| {
        let xml = spoken(whole(), &json!({}), &in_version(version)).expect("a video");
        elements(&xml).into_iter().map(|(path, _)| path.replace("VAST/Ad/InLine/", "")).collect::<Vec<_>>()
    };
    let under = |all: &[String], parent: &str| {
        let inner = all.iter().filter_map(|path| path.strip_prefix(parent).map(str::to_owned));
        inner.filter(|name| !name.contains('/')).collect::<Vec<_>>().join(" ")
    };
    let two = of(VastVersion::V2);
    assert_eq!(under(&two, ""), "VAST AdSystem AdTitle Description Error Impression Creatives");
    assert_eq!(under(&two, "Creatives/Creative/"), "Linear CompanionAds");
    assert_eq!(under(&two, "Creatives/Creative/Linear/"), "Duration TrackingEvents VideoClicks MediaFiles");
    assert_eq!(under(&two, "Creatives/Creative/Linear/VideoClicks/"), "ClickThrough ClickTracking");
    assert_eq!(
        under(&of(VastVersion::V3), ""),
        "VAST AdSystem AdTitle Description Advertiser Error Impression Creatives"
    );
    let four = of(VastVersion::V42);
    assert_eq!(
        under(&four, ""),
        "VAST AdSystem Error Impression ViewableImpression AdServingId AdTitle Advertiser Creatives Description"
    );
    assert_eq!(under(&four, "Creatives/Creative/"), "CompanionAds Linear UniversalAdId");
    assert_eq!(under(&four, "Creatives/Creative/Linear/"), "TrackingEvents Duration MediaFiles VideoClicks");
    assert_eq!(under(&four, "Creatives/Creative/Linear/VideoClicks/"), "ClickTracking ClickThrough");
    let companion = "Creatives/Creative/CompanionAds/Companion/";
    assert_eq!(under(&four, companion), ["HTMLResource CompanionClickThrough"; 2].join(" "));
    assert!(!of(VastVersion::V4).iter().any(|path| path == "AdServingId"));
}

#[test]
fn a_document_says_what_was_chosen() {
    let values = json!({"headline": "Shoes <&> \"socks\"", "badge": "New"});
    let xml = spoken(whole(), &values, &VideoRequest::default()).expect("a video");
    let all = elements(&xml);
    let texts =
        |end: &str| all.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, text)| &**text).collect::<Vec<_>>();
    assert_eq!(texts("/AdTitle"), ["Shoes <&> \"socks\""]);
    assert_eq!(texts("/Duration"), ["00:00:15.040"]);
    assert_eq!(texts("/MediaFile"), ["https://cdn.example/a.mp4?q=1&r=2", "https://cdn.example/a.webm"]);
    assert_eq!(texts("/Impression"), [DYNAMIC.impression_url]);
    assert_eq!(texts("/ViewableImpression/Viewable"), [DYNAMIC.view_url]);
    assert_eq!(texts("/VideoClicks/ClickThrough"), [DYNAMIC.click_url]);
    assert_eq!(texts("/VideoClicks/ClickTracking"), ["https://t.example/v1/c/token?pixel=1"]);
    assert_eq!(texts("/InLine/Error"), ["https://t.example/v1/p/token/error?code=[ERRORCODE]"]);
    assert_eq!(texts("/Tracking").len(), 5);
    assert_eq!(texts("/UniversalAdId"), ["spring.00000000000000ff"]);
    let companions = texts("/HTMLResource");
    assert!(companions[0].contains("Shoes &lt;&amp;&gt; &#34;socks&#34;</a>]]></body>"), "{}", companions[0]);
    assert!(companions[1].starts_with("<p>€19.90 New") && companions[1].ends_with("Shoe a</p>"), "{}", companions[1]);
    for counted in [DYNAMIC.impression_url, DYNAMIC.view_url] {
        assert!(
            companions.iter().all(|markup| !markup.contains(counted)),
            "the video counts, not what stands beside it"
        );
    }
    assert!(xml.contains("skipoffset=\"00:00:05\"") && xml.contains("renderingMode=\"end-card\""), "{xml}");
    let named = spoken(json!({"video": "film"}), &json!({}), &VideoRequest::default()).expect("a video");
    assert!(named.contains("<AdTitle>Spot &lt;1&gt;</AdTitle>"), "{named}");
}

#[test]
fn players_get_what_they_take() {
    let wanted = VideoRequest {
        mimes: vec!["video/webm".into()],
        skippable: false,
        companions: false,
        namespace: false,
        ..VideoRequest::default()
    };
    let xml = spoken(whole(), &json!({}), &wanted).expect("a video");
    assert!(!xml.contains("a.mp4") && xml.contains("a.webm"), "{xml}");
    assert!(!xml.contains("skipoffset") && !xml.contains("Companion") && !xml.contains("http:"), "{xml}");
    let short = VideoRequest { max_duration_ms: Some(15_000), ..VideoRequest::default() };
    assert_eq!(spoken(whole(), &json!({}), &short), None);
    let two = spoken(whole(), &json!({}), &in_version(VastVersion::V2)).expect("a video");
    assert!(!two.contains("skipoffset") && !two.contains("renderingMode") && !two.contains("xmlns"), "{two}");
}

#[test]
fn what_cannot_be_played_is_refused() {
    let faults = |vast: Value| {
        let faults = Template::parse(&document_of(vast)).expect_err("faults");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect::<Vec<_>>()
    };
    let companion = |markup: &str| json!({"video": "film", "companions": [{"size": "300x250", "markup": markup}]});
    let expected = [
        ("/vast/video", "slot_type"),
        ("/vast/title", "unknown_slot"),
        ("/vast/description", "slot_type"),
        ("/vast/skip_after_ms", "out_of_range"),
        ("/vast/companions/0/markup", "unknown_slot"),
    ];
    let odd = json!({"video": "headline", "title": "nothing", "description": "hero", "skip_after_ms": 3_600_001,
        "companions": [{"size": "300x250", "markup": "{{nothing}}"}]});
    assert_eq!(faults(odd), expected.map(|(at, code)| (at.to_owned(), code)));
    assert_eq!(faults(json!({"video": "clip"})), [("/vast/video".into(), "slot_unguarded")]);
    for counted in ["<img src=\"{{impression_url}}\">", "<i data-view=\"{{view_url}}\"></i>"] {
        assert_eq!(
            faults(companion(counted)),
            [("/vast/companions/0/markup".into(), "beacon_in_companion")],
            "{counted}"
        );
    }
    let mut doc = document_of(json!({"video": "film"}));
    (doc.size, doc.markup) = ("300x250".parse().ok(), Some("x".into()));
    let faults = Template::parse(&doc).expect_err("faults");
    assert_eq!(faults[0].pointer, "/vast");
    doc.markup = None;
    assert_eq!(Template::parse(&doc).expect_err("faults")[0].pointer, "/size");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is said, it is read back as it was, and adds no element.
    #[test]
    fn no_text_leaves_its_element(text in "[^\\p{Cc}\\p{Bidi_Control}\u{feff}]{1,40}", version in 0..5_usize) {
        prop_assume!(!text.trim().is_empty());
        let version = VastVersion::ALL[version].0;
        let plain = elements(&spoken(whole(), &json!({}), &in_version(version)).expect("a video"));
        let xml = spoken(whole(), &json!({"headline": text, "badge": text}), &in_version(version)).expect("a video");
        let said = elements(&xml);
        let paths = |all: &[(String, String)]| all.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        prop_assert_eq!(paths(&plain), paths(&said));
        let title = &said.iter().find(|(path, _)| path.ends_with("/AdTitle")).expect("a title").1;
        prop_assert_eq!(title, &text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"));
    }
}
