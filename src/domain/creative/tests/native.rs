use super::*;

fn native(assets: Value) -> TemplateDoc {
    let doc = json!({"name": "Native", "format": "native", "slots": slots(), "native": {"assets": assets}});
    serde_json::from_value(doc).expect("a template document")
}

fn assets() -> Value {
    json!([
        {"id": 1, "required": true, "kind": "title", "slot": "headline"},
        {"id": 2, "kind": "main_image", "slot": "hero"},
        {"id": 3, "kind": "icon", "slot": "hero"},
        {"id": 4, "kind": "desc", "slot": "badge"},
        {"id": 5, "kind": "price", "slot": "offer"},
        {"id": 6, "kind": "display_url", "slot": "target"},
        {"id": 7, "kind": "rating", "slot": "progress"},
    ])
}

fn answer(values: &Value, wrapper: bool) -> String {
    let template = Template::parse(&native(assets())).expect("a template");
    let prepared: Vec<_> = template
        .slots()
        .iter()
        .enumerate()
        .map(|(index, slot)| {
            let value =
                values.get(slot.name.as_str()).map(|value| SlotValue::parse(&slot.spec, value).expect("a value"));
            template.prepare(index, value.as_ref().unwrap_or(&slot.default))
        })
        .collect();
    let mut out = String::new();
    assemble_native(&template, &prepared.iter().collect::<Vec<_>>(), &DYNAMIC, wrapper, &mut out);
    out
}

#[test]
fn the_answer_is_native_1_2() {
    let json: Value = serde_json::from_str(&answer(&json!({"badge": "New"}), false)).expect("json");
    assert_eq!(
        json,
        json!({
            "ver": "1.2",
            "assets": [
                {"id": 1, "required": 1, "title": {"text": "Run further", "len": 11}},
                {"id": 2, "img": {"type": 3, "url": "https://cdn.example/hero.png", "w": 300, "h": 250}},
                {"id": 3, "img": {"type": 1, "url": "https://cdn.example/hero.png", "w": 300, "h": 250}},
                {"id": 4, "data": {"type": 2, "len": 3, "value": "New"}},
                {"id": 5, "data": {"type": 6, "len": 6, "value": "€19.90"}},
                {"id": 6, "data": {"type": 11, "len": 34, "value": "https://shop.example/shoes?a=1&b=2"}},
                {"id": 7, "data": {"type": 3, "len": 2, "value": "42"}},
            ],
            "link": {"url": DYNAMIC.click_url},
            "eventtrackers": [
                {"event": 1, "method": 1, "url": DYNAMIC.impression_url},
                {"event": 2, "method": 1, "url": DYNAMIC.view_url},
            ],
        })
    );
    let wrapped: Value = serde_json::from_str(&answer(&json!({"badge": "New"}), true)).expect("json");
    assert_eq!(wrapped, json!({"native": json}));
}

#[test]
fn hostile_text_reads_back_equal_and_inert() {
    let hostile = "\"},{\\ </script><!-- ${x} %%Y%% \u{2028}&]]>";
    let out = answer(&json!({"headline": hostile}), false);
    assert!(!out.contains(['<', '>', '&', '\u{2028}']), "{out}");
    let json: Value = serde_json::from_str(&out).expect("json");
    assert_eq!(json["assets"][0]["title"]["text"], hostile);
    assert_eq!(json["assets"].as_array().map(Vec::len), Some(6), "the absent asset is left out");
}

#[test]
fn bad_assets_are_refused() {
    let refuse = |assets| {
        let faults = Template::parse(&native(assets)).expect_err("faults");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect::<Vec<_>>()
    };
    assert_eq!(refuse(json!([])), [("/native/assets".to_owned(), "out_of_range")]);
    assert_eq!(
        refuse(json!([
            {"id": 1, "kind": "title", "slot": "hero"},
            {"id": 1, "kind": "title", "slot": "headline"},
            {"id": 3, "kind": "title", "slot": "nope"},
            {"id": 4, "required": true, "kind": "desc", "slot": "badge"},
        ])),
        [
            ("/native/assets/0/slot".to_owned(), "slot_type"),
            ("/native/assets/1/id".to_owned(), "duplicate"),
            ("/native/assets/2/slot".to_owned(), "unknown_slot"),
            ("/native/assets/3/slot".to_owned(), "slot_unguarded"),
        ]
    );
}
