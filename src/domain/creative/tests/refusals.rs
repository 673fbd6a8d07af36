use super::*;

/// Code and place of each fault.
fn faults(markup: &str) -> Vec<(&'static str, String)> {
    let faults = Template::parse(&document(markup)).expect_err(markup);
    faults
        .into_iter()
        .map(|fault| {
            assert_eq!(fault.pointer, "/markup");
            let place =
                fault.detail.split(": ").next().expect("a place").replace("line ", "").replace(", column ", ":");
            (fault.code, place)
        })
        .collect()
}

#[track_caller]
fn refused(markup: &str, code: &str, place: &str) {
    let found = faults(markup);
    assert!(found.iter().any(|(c, p)| *c == code && p == place), "{markup}: {found:?}");
}

#[test]
fn slots_where_nothing_is_safe() {
    for (markup, code, place) in [
        ("<script>var a={{headline}}</script>", "slot_in_script", "1:15"),
        ("<script type=\"module\">{{headline}}</script>", "slot_in_script", "1:23"),
        ("<b onclick='f({{headline}})'>x</b>", "slot_in_event_handler", "1:15"),
        ("<b ONCLICK=\"{{headline}}\">x</b>", "slot_in_event_handler", "1:13"),
        ("<{{headline}}>", "slot_in_tag_name", "1:2"),
        ("<p>x</{{headline}}>", "slot_in_tag_name", "1:7"),
        ("<b {{headline}}=1>x</b>", "slot_in_attribute_name", "1:4"),
        ("<b data-{{headline}}=\"1\">x</b>", "slot_in_attribute_name", "1:9"),
        ("<b\n title={{headline}}>x</b>", "slot_unquoted", "2:8"),
        ("<b title=a{{headline}}>x</b>", "slot_unquoted", "1:11"),
        ("<a href={{target}}>x</a>", "slot_unquoted", "1:9"),
        ("<!-- {{headline}} -->", "slot_in_comment", "1:6"),
        ("<!{{headline}}>", "slot_in_comment", "1:3"),
        ("<?{{headline}}>", "slot_in_comment", "1:3"),
        ("<!doctype {{headline}}>", "slot_misplaced", "1:11"),
        ("<a href=\"/x\" href=\"{{target}}\">x</a>", "duplicate_attribute", "1:14"),
        ("<a href=\"/x\" href=\"{{target}}\">x</a>", "slot_misplaced", "1:20"),
        ("<div title=\"{{headline}}", "unfinished_markup", "1:25"),
        ("<style>a{color:{{accent}}}</style>", "slot_in_style_element", "1:16"),
        ("<script src=\"{{target}}\"></script>", "slot_in_url", "1:14"),
        ("<iframe src=\"{{target}}\"></iframe>", "slot_in_url", "1:14"),
        ("<iframe srcdoc='{{headline}}'></iframe>", "slot_in_srcdoc", "1:17"),
        ("<object data=\"{{target}}\"></object>", "slot_in_url", "1:15"),
        ("<embed src=\"{{target}}\">", "slot_in_url", "1:13"),
        ("<link rel=\"stylesheet\" href=\"{{target}}\">", "slot_in_url", "1:30"),
        ("<link rel=\"stylesheet\" href=\"https://x.example/a.css\">", "link_refused", "1:1"),
        ("<p>x</p><link rel=preconnect href=\"https://x.example\">", "link_refused", "1:9"),
        ("<link rel=import href=\"/v1/assets/a.html\">", "link_refused", "1:1"),
        ("<link rel=\"icon stylesheet\" href=\"/v1/assets/a\">", "link_refused", "1:1"),
        ("<link rel=icon href=\"https://x.example/a.png\">", "link_refused", "1:1"),
        ("<link href=\"/v1/assets/a.png\">", "link_refused", "1:1"),
        ("<style>\n@import url(https://x.example/a.css);</style>", "import_refused", "2:1"),
        ("<style>/* a */ @IMPORT 'a.css';</style>", "import_refused", "1:16"),
        ("<style>a{b:c} @\\69mport \"//x.example\";</style>", "import_refused", "1:15"),
        ("<base href=\"{{target}}\">", "slot_in_url", "1:13"),
        ("<meta name=\"x\" content=\"{{headline}}\">", "slot_in_attribute", "1:25"),
        ("<a target=\"{{headline}}\">x</a>", "slot_in_attribute", "1:12"),
        ("<svg><style>{{headline}}</style></svg>", "slot_in_style_element", "1:13"),
        ("<math><mi>{{headline}}</mi></math>", "element_refused", "1:1"),
        ("<noscript>{{headline}}</noscript>", "element_refused", "1:1"),
        ("<textarea>{{headline}}</textarea>", "element_refused", "1:1"),
        ("<svg><a href=\"{{target}}\">x</a></svg>", "slot_in_url", "1:15"),
        ("<p>a &{{headline}}</p>", "slot_after_ampersand", "1:7"),
        ("<p title=\"&#{{headline}}\">x</p>", "slot_after_ampersand", "1:13"),
        ("<title>a </ti{{headline}}</title>", "slot_misplaced", "1:14"),
        ("<p x=\"\">ü</p x=\"{{headline}}\">", "slot_misplaced", "1:17"),
    ] {
        refused(markup, code, place);
    }
}

#[test]
fn addresses_have_one_slot_behind_a_fixed_host() {
    for (value, code) in [
        ("{{target}}{{headline}}", "slot_in_url"),
        ("https://x.example/{{headline}}/{{small}}", "two_slots_in_url"),
        ("https://{{headline}}/", "slot_in_url_host"),
        ("https://x.example{{headline}}", "slot_in_url_host"),
        ("//{{headline}}", "slot_in_url_host"),
        ("/{{headline}}", "slot_in_url_host"),
        ("javascript:{{headline}}", "slot_in_url_host"),
        ("java{{headline}}", "slot_in_url_host"),
        ("{{headline}}", "slot_type"),
        ("{{hero.src}}", "slot_type"),
        ("{{impression_url}}", "slot_type"),
        ("https://x.example/?c={{click_url}}", "slot_type"),
    ] {
        let found = faults(&format!("<a href=\"{value}\">x</a>"));
        assert!(found.iter().any(|(found, _)| *found == code), "{value}: {found:?}");
    }
    refused("<img src=\"{{headline}}\">", "slot_type", "1:11");
    refused("<img src=\"{{click_url}}\">", "slot_type", "1:11");
    for srcset in [
        "{{hero.src}}x",
        "https://x.example/{{hero.src}} 1x",
        "{{hero.src}} 1y",
        "a {{hero.src}}",
        "{{hero.src}}{{hero.src}}",
        "{{hero.src}} 1x {{hero.src}}",
        "javascript:x, {{hero.src}}",
        "{{hero.src}}, javascript:x 2x",
    ] {
        let found = faults(&format!("<img srcset=\"{srcset}\">"));
        assert!(found.iter().any(|(found, _)| *found == "slot_in_srcset"), "{srcset}: {found:?}");
    }
}

#[test]
fn css_takes_typed_values_only() {
    for (style, code) in [
        ("{{headline}}", "slot_in_css"),
        ("{{accent}}:red", "slot_in_css"),
        ("color:{{headline}}", "slot_type"),
        ("color:{{target}}", "slot_type"),
        ("color:{{accent}}px", "slot_type"),
        ("width:{{progress}}foo", "slot_in_css"),
        ("width:1{{progress}}", "slot_in_css"),
        ("width:-{{progress}}px", "slot_in_css"),
        ("color:#{{progress}}", "slot_in_css"),
        ("content:'{{headline}}'", "slot_in_css"),
        ("color:red/*{{accent}}*/", "slot_in_css"),
        ("background:url({{target}})", "slot_type"),
        ("background:url(https://x.example/{{hero.src}})", "slot_in_css"),
        ("background:url('x{{hero.src}}')", "slot_in_css"),
        ("background:url(x {{accent}}", "slot_in_css"),
        ("background:{{hero.src}}", "slot_type"),
        ("color:\\{{accent}}", "slot_in_css"),
        ("color:{{accent}}{{accent}}", "slot_in_css"),
        ("color:{{accent}}(1)", "slot_in_css"),
        ("color:{ {{accent}} }", "slot_in_css"),
    ] {
        let found = faults(&format!("<p style=\"{style}\">x</p>"));
        assert!(found.iter().any(|(found, _)| *found == code), "{style}: {found:?}");
    }
}

#[test]
fn json_slots_are_whole_values() {
    for json in [
        "{\"a\": \"{{headline}}\"}",
        "{ {{headline}}: 1}",
        "[1{{progress}}]",
        "{{headline}}{{small}}",
        "// {{headline}}",
        "[\"a\\\"{{headline}}\"]",
    ] {
        let found = faults(&format!("<script type=\"application/json\">{json}</script>"));
        assert!(found.iter().any(|(found, _)| *found == "slot_in_json"), "{json}: {found:?}");
    }
    refused("<script type=\"application/json\">{\"a\"}</script>", "json_invalid", "1:1");
    refused("<script type=\"application/json\">[{{#if badge}}1{{/if}}]</script>", "slot_in_json", "1:34");
}

#[test]
fn blocks_keep_their_context() {
    for (markup, code, place) in [
        ("<b {{#if badge}}title=\"x\"{{/if}}>x</b>", "slot_in_attribute_name", "1:4"),
        ("<b title=\"{{#if badge}}x{{/if}}\">x</b>", "block_not_between_tags", "1:11"),
        ("<title>{{#if badge}}x{{/if}}</title>", "block_not_between_tags", "1:8"),
        ("{{#if badge}}<p>{{/if}}</p>", "block_changes_context", "1:14"),
        ("{{#if badge}}<p>{{else}}</p>{{/if}}", "block_changes_context", "1:14"),
        ("<p>{{#if badge}}</p><p>{{/if}}</p>", "block_changes_context", "1:17"),
        ("{{#if badge}}<style>{{else}}</style>{{/if}}", "slot_in_style_element", "1:21"),
        ("{{#if badge}}<script type=\"application/json\">{{/if}}1</script>", "slot_in_json", "1:46"),
        ("<{{#if badge}}b{{/if}}>", "slot_in_tag_name", "1:2"),
        ("a <{{#if badge}}{{/if}}b>", "slot_in_tag_name", "1:4"),
        ("{{#if badge}}<!--{{/if}}-->", "slot_in_comment", "1:18"),
        ("{{#if badge}}&am{{/if}}p;", "slot_after_ampersand", "1:17"),
        ("{{#each products}}<p>{{/each}}", "block_changes_context", "1:19"),
        ("{{#if badge}}x", "unclosed_block", "1:1"),
        ("{{#if badge}}{{impression_url}}{{/if}}", "impression_in_block", "1:14"),
    ] {
        refused(markup, code, place);
    }
}

#[test]
fn names_are_known_and_values_there() {
    let detail = |markup: &str| Template::parse(&document(markup)).expect_err(markup).remove(0).detail;
    assert_eq!(detail("<p>\n{{headlin}}</p>"), "line 2, column 1: there is no slot headlin; did you mean headline?");
    assert_eq!(detail("{{click_ur}}"), "line 1, column 1: there is no slot click_ur; did you mean click_url?");
    assert_eq!(detail("{{zzzzzzzz}}"), "line 1, column 1: there is no slot zzzzzzzz");
    refused("{{headline.src}}", "unknown_field", "1:1");
    refused("{{hero}}", "slot_type", "1:1");
    refused("{{products}}", "slot_type", "1:1");
    refused("{{title}}", "unknown_slot", "1:1");
    refused("{{badge}}", "slot_unguarded", "1:1");
    refused("{{#if badge}}x{{else}}{{badge}}{{/if}}", "slot_unguarded", "1:23");
    refused("{{#each products}}{{price}}{{/each}}", "slot_unguarded", "1:19");
    refused("{{#each extras}}x{{/each}}", "slot_unguarded", "1:1");
    refused("{{#each headline}}x{{/each}}", "slot_type", "1:1");
    refused("{{#if headline}}x{{/if}}", "condition_always_true", "1:1");
    refused("{{#each products}}{{#if title}}x{{/if}}{{/each}}", "condition_always_true", "1:19");
}

#[test]
fn markup_that_executes_or_confuses() {
    for (markup, code, place) in [
        ("<p>x</p>\n<script>alert(1)</script>", "script_refused", "2:1"),
        ("<script src=\"https://x.example/a.js\" type=\"application/json\"></script>", "script_refused", "1:1"),
        ("<b onload=\"x\">x</b>", "event_handler_refused", "1:4"),
        ("<b  OnLoad>x</b>", "event_handler_refused", "1:5"),
        ("<a href=\"java&#9;script:x\">x</a>", "url_scheme_refused", "1:4"),
        ("<a href=\" javascript:x\">x</a>", "url_scheme_refused", "1:4"),
        ("<base href=\"/\">", "element_refused", "1:1"),
        ("<object></object>", "element_refused", "1:1"),
        ("<embed>", "element_refused", "1:1"),
        ("<iframe></iframe>", "element_refused", "1:1"),
        ("<form></form>", "element_refused", "1:1"),
        ("<svg><animate></animate></svg>", "element_refused", "1:6"),
        ("<svg><foreignObject></foreignObject></svg>", "element_refused", "1:6"),
        ("<svg><title>x</title></svg>", "element_refused", "1:6"),
        ("<meta http-equiv=\"Refresh\" content=\"0\">", "meta_refused", "1:7"),
        ("<p>x", "", ""),
        ("<div>x", "unclosed_element", "1:1"),
        ("{{headline}}<div>x", "unclosed_element", "1:13"),
        ("<b><i>x</b></i>", "mismatched_tag", "1:8"),
        ("</b>", "mismatched_tag", "1:1"),
        ("<p title=\"x", "unfinished_markup", "1:12"),
        ("<!-- x", "unfinished_markup", "1:7"),
        ("<svg><![CDATA[x]]></svg>", "unfinished_markup", ""),
        ("<style>x", "unclosed_element", "1:1"),
    ] {
        if code.is_empty() {
            template(markup);
        } else if place.is_empty() {
            assert!(faults(markup).iter().any(|(found, _)| *found == code), "{markup}");
        } else {
            refused(markup, code, place);
        }
    }
}

#[test]
fn places_are_right_behind_everything_that_shifts_them() {
    refused(
        "<p>ü &amp; ü{{headline}}</p>\r\n<p title='{{small}}'>\t<b x=\"&lt;\" onclick=\"\">x</b></p>",
        "event_handler_refused",
        "2:35",
    );
    refused("<p>{{headline}} ü\n {{headline}}<embed></p>", "element_refused", "2:14");
}

#[test]
fn no_author_can_forge_the_place_of_a_slot() {
    // the slot's true place is a comment; whatever else the markup says does not matter
    let found = faults("<!--{{headline}}--><p title=\"zq0000000000000000x00000 qz\">x</p>");
    assert_eq!(found, [("slot_in_comment", "1:5".to_owned())]);
}

#[test]
fn the_document_itself() {
    let refuse = |doc: Value| {
        let doc: TemplateDoc = serde_json::from_value(doc).expect("a document");
        let faults = Template::parse(&doc).expect_err("faults");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect::<Vec<_>>()
    };
    let one = |pointer: &str, code| vec![(pointer.to_owned(), code)];
    assert_eq!(refuse(json!({"name": "x", "format": "html"})), one("/markup", "required"));
    assert_eq!(refuse(json!({"name": "x", "format": "native", "markup": "x"})), one("/native", "required"));
    assert_eq!(refuse(json!({"name": " ", "format": "html", "markup": "x"})), one("/name", "out_of_range"));
    assert_eq!(
        refuse(
            json!({"name": "x", "format": "html", "markup": "{{a}}", "slots": {"a": {"type": "text", "default": 1}}})
        ),
        one("/slots/a/default", "not_a_text")
    );
    assert_eq!(
        refuse(
            json!({"name": "x", "format": "html", "markup": "", "slots": {"click_url": {"type": "text", "default": "x"}}})
        ),
        one("/slots/click_url", "slot_name_reserved")
    );
    assert_eq!(
        refuse(
            json!({"name": "x", "format": "html", "markup": "", "slots": {"a.b": {"type": "text", "default": "x"}}})
        ),
        one("/slots/a.b", "slot_name")
    );
    let large = "x".repeat(256 * 1024 + 1);
    assert_eq!(refuse(json!({"name": "x", "format": "html", "markup": large})), one("/markup", "markup_too_large"));
    assert_eq!(
        refuse(json!({"name": "x", "format": "html", "markup": "{{decision_id}}".repeat(1002)})),
        one("/markup", "markup_too_large")
    );
}

#[test]
fn every_fault_is_told_at_once() {
    let codes: Vec<_> =
        faults("<b onclick=\"\">{{nope}}</b><!--{{headline}}-->").into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["event_handler_refused", "unknown_slot", "slot_in_comment"]);
}

#[test]
fn deep_markup_is_read_without_harm() {
    let deep = format!("<p style=\"width:{}{{{{progress}}}}\">x</p>", "(".repeat(50_000));
    assert!(faults(&deep).iter().any(|(code, _)| *code == "slot_in_css"));
    let json = format!("<script type=\"application/json\">{}{{{{progress}}}}</script>", "[".repeat(50_000));
    assert!(faults(&json).iter().any(|(code, _)| *code == "slot_in_json"));
    template(&format!("{}x{}", "<div>".repeat(10_000), "</div>".repeat(10_000)));
}
