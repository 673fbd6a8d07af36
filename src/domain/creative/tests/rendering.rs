use super::*;

#[test]
fn each_context_escapes_for_itself() {
    let hostile = r#"</p>"><script>alert('1')&amp;"#;
    let text = "&lt;/p&gt;&#34;&gt;&lt;script&gt;alert(&#39;1&#39;)&amp;amp;";
    for (markup, expected) in [
        ("<p>{{headline}}</p>", format!("<p>{text}</p>")),
        ("<title>{{headline}}</title>", format!("<title>{text}</title>")),
        ("<img alt=\"{{headline}}\">", format!("<img alt=\"{text}\">")),
        ("<img alt='{{headline}}'>", format!("<img alt='{text}'>")),
        (
            "<a href=\"https://x.example/s?q={{headline}}\">x</a>",
            "<a href=\"https://x.example/s?q=%3C%2Fp%3E%22%3E%3Cscript%3Ealert%28%271%27%29%26amp%3B\">x</a>".to_owned(),
        ),
        (
            "<script type=\"application/json\">{\"t\": {{headline}}}</script>",
            "<script type=\"application/json\">{\"t\": \"\\u003C/p\\u003E\\\"\\u003E\\u003Cscript\\u003Ealert('1')\\u0026amp;\"}</script>".to_owned(),
        ),
    ] {
        assert_eq!(rendered(markup, &json!({"headline": hostile})), expected);
    }
}

#[test]
fn every_type_stands_where_it_fits() {
    for (markup, expected) in [
        (
            "<p>{{offer}} {{offer.amount}} {{offer.currency}} {{progress}} {{small}}</p>",
            "<p>€19.90 19.90 EUR 42 While stocks last</p>",
        ),
        ("<a href=\"{{target}}\">x</a>", "<a href=\"https://shop.example/shoes?a=1&amp;b=2\">x</a>"),
        ("<img src=\"{{ hero.src }}\" alt='{{hero.alt}}'>", "<img src=\"https://cdn.example/hero.png\" alt='A shoe'>"),
        (
            "<img srcset=\"{{hero.src}} 1x, https://x.example/b.png 2x\">",
            "<img srcset=\"https://cdn.example/hero.png 1x, https://x.example/b.png 2x\">",
        ),
        (
            "<img srcset=\"/b.png 320w,{{hero.src}} 640w\">",
            "<img srcset=\"/b.png 320w,https://cdn.example/hero.png 640w\">",
        ),
        (
            "<p style=\"color:{{accent}};width:{{progress}}%;--x: {{progress}}px\">x</p>",
            "<p style=\"color:#e63946;width:42%;--x: 42px\">x</p>",
        ),
        (
            "<p style=\"background:linear-gradient(90deg, {{accent}} 0%, #fff)\">x</p>",
            "<p style=\"background:linear-gradient(90deg, #e63946 0%, #fff)\">x</p>",
        ),
        (
            "<p style=\"background-image:url({{hero.src}})\">x</p>",
            "<p style=\"background-image:url(https://cdn.example/hero.png)\">x</p>",
        ),
        (
            "<p style=\"background-image:url('{{hero.src}}')\">x</p>",
            "<p style=\"background-image:url('https://cdn.example/hero.png')\">x</p>",
        ),
        ("<svg><circle r=\"4\" fill=\"{{accent}}\"/></svg>", "<svg><circle r=\"4\" fill=\"#e63946\"/></svg>"),
        ("<a href=\"https://x.example/{{headline}}/y\">x</a>", "<a href=\"https://x.example/Run%20further/y\">x</a>"),
        (
            "<script type=\"application/json\">[{{hero}},{{offer}},{{progress}},{{hero.src}},{{click_url}}]</script>",
            "<script type=\"application/json\">[{\"alt\":\"A shoe\",\"height\":250,\"src\":\"https://cdn.example/hero.png\",\"width\":300},\
             {\"amount\":\"19.90\",\"currency\":\"EUR\"},42,\"https://cdn.example/hero.png\",\
             \"%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fv1%2Fc%2Ftoken\"]</script>",
        ),
    ] {
        assert_eq!(rendered(markup, &json!({})), expected, "{markup}");
    }
}

#[test]
fn decisions_fill_in_their_own_names() {
    let markup = "<body data-v=\"{{view_url}}\"><a href=\"{{click_url}}\" title=\"{{decision_id}}\">x</a>\
                  <a href='{{landing_url}}'>y</a><img src=\"https://x.example/p?r={{cachebuster}}\"><img src=\"{{impression_url}}\"></body>";
    assert_eq!(
        render(&template(markup), &json!({})),
        "<body data-v=\"https://t.example/v1/v/token\"><a href=\"%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fv1%2Fc%2Ftoken\" \
         title=\"0190a5e2-7c1d-7f00-8000-000000000000\">x</a><a href='https://shop.example/?a=1&amp;b=2'>y</a>\
         <img src=\"https://x.example/p?r=123\"><img src=\"https://t.example/v1/i/token\"></body>"
    );
}

#[test]
fn an_impression_is_counted_where_the_author_forgot() {
    let pixel = "<img src=\"https://t.example/v1/i/token\" width=\"1\" height=\"1\" alt=\"\" style=\"position:absolute;left:-9999px\">";
    let out = |markup: &str| render(&template(markup), &json!({}));
    assert_eq!(out("<html><body><p>x</p></body></html>"), format!("<html><body><p>x</p>{pixel}</body></html>"));
    assert_eq!(out("<p>x</p>"), format!("<p>x</p>{pixel}"));
    assert_eq!(
        out("<body><!-- </body> --><p title=\"</body>\">x</p></BODY>\n"),
        format!("<body><!-- </body> --><p title=\"</body>\">x</p>{pixel}</BODY>\n")
    );
}

#[test]
fn conditionals_ask_for_optional_values() {
    let markup = "<p>{{#if badge}}<b>{{badge}}</b>{{else}}<i>none</i>{{/if}}</p>";
    assert_eq!(rendered(markup, &json!({})), "<p><i>none</i></p>");
    assert_eq!(rendered(markup, &json!({"badge": "New"})), "<p><b>New</b></p>");
    assert_eq!(rendered(markup, &json!({"badge": null})), "<p><i>none</i></p>");
}

#[test]
fn products_repeat_the_body() {
    let markup = "{{#each products}}<a href=\"{{link}}\"><img src=\"{{image.src}}\" alt=\"{{image.alt}}\">{{title}} {{headline}}\
                  {{#if sale_price}}<s>{{#if price}}{{price}}{{/if}}</s>{{sale_price}}{{else}}{{#if price}}{{price.amount}}{{/if}}{{/if}}</a>{{/each}}";
    let mut sale = product("b");
    sale["sale_price"] = json!({"amount": "15", "currency": "USD"});
    let mut free = product("c");
    free.as_object_mut().expect("an object").remove("price");
    assert_eq!(
        rendered(markup, &json!({"products": [product("a"), sale, free], "headline": "<b>"})),
        "<a href=\"https://shop.example/a\"><img src=\"/v1/assets/ab12.webp\" alt=\"A shoe\">Shoe a &lt;b&gt;20.00</a>\
         <a href=\"https://shop.example/b\"><img src=\"/v1/assets/ab12.webp\" alt=\"A shoe\">Shoe b &lt;b&gt;<s>$20.00</s>$15.00</a>\
         <a href=\"https://shop.example/c\"><img src=\"/v1/assets/ab12.webp\" alt=\"A shoe\">Shoe c &lt;b&gt;</a>"
    );
    let optional = "{{#if extras}}{{#each extras}}<p>{{title}}</p>{{/each}}{{else}}<p>none</p>{{/if}}";
    assert_eq!(rendered(optional, &json!({})), "<p>none</p>");
    assert_eq!(rendered(optional, &json!({"extras": [product("a"), product("b")]})), "<p>Shoe a</p><p>Shoe b</p>");
    assert_eq!(
        rendered(
            "<ul>{{#each products}}<li>x{{/each}}</ul>".replace("<li>x", "<li>x</li>").as_str(),
            &json!({"products": [product("a"), product("b")]})
        ),
        "<ul><li>x</li><li>x</li></ul>"
    );
}

#[test]
fn a_slot_without_a_choice_shows_its_default() {
    let template = template("<p>{{headline}}{{accent}}</p>");
    let mut out = String::new();
    assemble_html(&template, &[], &DYNAMIC, &mut out);
    assert!(out.starts_with("<p>Run further#e63946</p>"), "{out}");
}

#[test]
fn content_names_the_values() {
    let template = template("<p>{{headline}}</p>");
    let values = template.slots().iter().map(|slot| (&slot.name, &slot.default));
    let json = Value::Object(content(values));
    assert_eq!(json["headline"], "Run further");
    assert_eq!(json["badge"], Value::Null);
    assert_eq!(json["hero"]["src"], "https://cdn.example/hero.png");
    assert_eq!(json["products"][0]["price"], json!({"amount": "20.00", "currency": "USD"}));
}

#[test]
fn documents_keep_their_shape() {
    let doc = document("<p>{{headline}}</p>");
    let json = serde_json::to_value(&doc).expect("json");
    assert_eq!(serde_json::from_value::<TemplateDoc>(json.clone()).expect("a document"), doc);
    assert!(json.get("native").is_none());
    let component: ComponentDoc =
        serde_json::from_value(json!({"slot": "headline", "value": "x"})).expect("a component");
    assert_eq!((component.weight, component.status), (100, ComponentStatus::Active));
    let rules =
        json!([{"require": {"if": "comp-a", "then": ["comp-b"]}}, {"forbid": ["a", "b"]}, {"group": ["a", "b"]}]);
    let parsed: Vec<PairingRule> = serde_json::from_value(rules.clone()).expect("rules");
    assert_eq!(serde_json::to_value(parsed).expect("json"), rules);
    assert!(serde_json::from_value::<ComponentDoc>(json!({"slot": "headline", "value": "x", "wieght": 1})).is_err());
}
