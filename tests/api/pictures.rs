//! Pictures of components: in every size, and as they are.

use std::sync::Arc;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    authoring::{advertiser, creative},
    harness::{Answer, Service, send},
};

const BOUNDARY: &str = "a-boundary-of-forms";

/// A PNG that does not get smaller, in whatever colours.
pub(crate) fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let picture = RgbImage::from_fn(width, height, |_, _| {
        let [red, green, blue, _] = next();
        Rgb([red, green, blue])
    });
    let mut out = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut out, ImageFormat::Png).expect("encoded");
    out.into_inner()
}

async fn form(service: &Service, path: &str, fields: &[(&str, &str)], image: &[u8]) -> Answer {
    form_if(service, path, None, fields, image).await
}

async fn form_if(service: &Service, path: &str, tag: Option<&str>, fields: &[(&str, &str)], image: &[u8]) -> Answer {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    let head = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png";
    body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").into_bytes());
    body.extend(image);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    let request = service.request(Method::POST, path);
    let request = request.header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
    let request = tag.into_iter().fold(request, |request, tag| request.header(header::IF_MATCH, tag));
    send(request.body(body)).await
}

/// An html template of a size with a picture of the same size, after what else its slot says.
fn with_hero((width, height): (u32, u32), more: Value) -> Value {
    let mut hero = json!({"type": "image", "width": width, "height": height,
        "default": {"src": "https://northwind.example/hero.png", "alt": "A shoe"}});
    hero.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    json!({"name": "Picture", "format": "html", "size": format!("{width}x{height}"), "slots": {"hero": hero},
        "markup": "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\"></a></body>"})
}

/// A creative of these templates; its id and its advertiser.
async fn of_templates(service: &Service, templates: &[Value]) -> (String, String) {
    let (brand, id) = (service.name("brand"), service.name("creative"));
    service.create(&format!("/v1/advertisers/{brand}"), &advertiser()).await;
    let mut names = Vec::new();
    for template in templates {
        names.push(service.name("picture"));
        service.create(&format!("/v1/templates/{}", names.last().expect("a name")), template).await;
    }
    let draft = json!({"name": "Spring", "advertiser": brand, "templates": names});
    service.create(&format!("/v1/creatives/{id}"), &draft).await;
    (id, brand)
}

pub(crate) async fn one_upload_fills_the_slot_in_every_size(service: Arc<Service>) {
    let sizes = [(300, 250), (728, 90)];
    let (id, brand) = of_templates(&service, &sizes.map(|size| with_hero(size, json!({})))).await;
    let base = format!("/v1/creatives/{id}");
    // more than axum's own limit on bodies
    let picture = noise(1_000, 900);
    assert!(picture.len() > 5 << 19, "{}", picture.len());
    let fields = [("slot", "hero"), ("alt", "Noise"), ("id", "noise"), ("focus", "0.5,0.2")];
    let made = form(&service, &format!("{base}/components"), &fields, &picture).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let value = made.json()["document"]["value"].clone();
    assert_eq!((&value["width"], &value["renditions"][0]["width"]), (&json!(300), &json!(728)), "{value}");
    let read = service.get(&format!("{base}/components/noise")).await;
    let again = service.put(&format!("{base}/components/noise"), read.header("etag"), &read.json()["document"]).await;
    assert_eq!(again.status, 200, "{}", again.text());

    assert_eq!(service.post(&format!("{base}/publish"), &json!({})).await.status, 200);
    let line = service.name("campaign");
    let campaign = json!({"name": "It", "advertiser": brand, "status": "active", "creatives": [id], "landing_url": "https://northwind.example/"});
    service.create(&format!("/v1/campaigns/{line}"), &campaign).await;
    let mut crids = Vec::new();
    for (width, height) in sizes {
        let ask = json!({"placements": [{"id": "a", "sizes": [format!("{width}x{height}")], "candidates": {"campaign": line}}]});
        let item = service.post("/v1/decisions", &ask).await.json()["placements"]["a"][0].clone();
        let hero = &item["content"]["hero"];
        assert_eq!((&hero["width"], &hero["height"]), (&json!(width), &json!(height)), "{item}");
        let src = hero["src"].as_str().expect("an address");
        assert!(item["markup"].as_str().expect("markup").contains(src), "{item}");
        let path = &src[src.find("/v1/assets/").expect("ours")..];
        let served = send(service.anonymous(Method::GET, path)).await;
        let shown = image::load_from_memory(&served.bytes).expect("an image");
        assert_eq!((shown.width(), shown.height()), (width, height));
        crids.push((item["crid"].clone(), item["components"].clone()));
    }
    assert_ne!(crids[0].0, crids[1].0);
    assert_eq!(crids[0].1, crids[1].1);

    // a template in a size that no file has is no longer served
    let tall = service.name("picture");
    service.create(&format!("/v1/templates/{tall}"), &with_hero((160, 600), json!({}))).await;
    let mut draft = service.get(&base).await.json()["document"].clone();
    draft["templates"].as_array_mut().expect("a list").push(json!(tall));
    assert_eq!(service.put(&base, "*", &draft).await.status, 200);
    let refused = service.post(&format!("{base}/publish"), &json!({})).await.faults(422);
    assert!(refused.contains(&("/components/noise/value/renditions".into(), "image_size".into())), "{refused:?}");

    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>";
    let refused = form(&service, &format!("{base}/components"), &fields, svg).await;
    assert_eq!(refused.faults(422), [("/image".to_owned(), "svg_refused".to_owned())]);
    let small = form(&service, &format!("{base}/components"), &fields, &noise(40, 40)).await;
    assert_eq!(small.faults(422), [("/image".to_owned(), "too_small".to_owned())]);
    form(&service, &format!("{base}/components"), &fields, &vec![0; (8 << 20) + 1]).await.faults(413);
}

pub(crate) async fn pictures_are_what_they_are(service: Arc<Service>) {
    let (id, _) = of_templates(&service, &[with_hero((64, 32), json!({"max_bytes": 5_000}))]).await;
    let path = format!("/v1/creatives/{id}/components");
    let upload = async |fit: &str, bytes: Vec<u8>| {
        let kept = send(service.request(Method::POST, &format!("/v1/assets?fit={fit}")).body(bytes)).await;
        kept.json()["url"].as_str().unwrap_or_else(|| panic!("{}", kept.text())).to_owned()
    };
    let plain = DynamicImage::ImageRgb8(RgbImage::from_pixel(100, 100, Rgb([9, 90, 200])));
    let mut written = std::io::Cursor::new(Vec::new());
    plain.write_to(&mut written, ImageFormat::Png).expect("encoded");
    let (fits, odd) = (upload("64x32", written.get_ref().clone()).await, upload("32x32", written.into_inner()).await);
    let heavy = upload("64x32", noise(64, 32)).await;
    let gone = "/v1/assets/00000000000000000000000000000000.png";
    let put = async |name: &str, value: Value| {
        service.put_new(&format!("{path}/{name}"), &json!({"slot": "hero", "value": value})).await
    };
    let fault = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());

    let made = put("fits", json!({"src": fits, "alt": "Blue"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["document"]["value"], json!({"src": fits, "alt": "Blue", "width": 64, "height": 32}));
    assert_eq!(put("a", json!({"src": gone, "alt": "x"})).await.faults(422), [fault("/value/src", "unknown_asset")]);
    assert_eq!(put("b", json!({"src": odd, "alt": "x"})).await.faults(422), [fault("/value/width", "image_size")]);
    let lie = put("c", json!({"src": odd, "alt": "x", "width": 64, "height": 32})).await;
    assert_eq!(lie.faults(422), [fault("/value/width", "image_size")]);
    assert_eq!(put("d", json!({"src": heavy, "alt": "x"})).await.faults(422), [fault("/value/src", "too_large")]);
    let posted = service.post(&path, &json!({"slot": "hero", "value": {"src": gone, "alt": "x"}})).await;
    assert_eq!(posted.faults(422), [fault("/value/src", "unknown_asset")]);

    // a table: the same, by line and column
    let table = format!(
        "id,slot,value.src,value.alt\nt-1,hero,{fits},Blue\nt-2,hero,{gone},x\nt-3,hero,{odd},x\nt-4,hero,{heavy},x\n"
    );
    let taken =
        send(service.request(Method::POST, &path).header(header::CONTENT_TYPE, "text/csv").body(table)).await.json();
    let told: Vec<_> =
        taken["errors"].as_array().expect("errors").iter().map(|one| (&one["line"], &one["column"])).collect();
    let expected =
        [(3, "value.src"), (4, "value.width"), (5, "value.src")].map(|(line, column)| (json!(line), json!(column)));
    assert_eq!(told, expected.iter().map(|(line, column)| (line, column)).collect::<Vec<_>>(), "{taken}");
    assert_eq!(service.get(&format!("{path}/t-1")).await.json()["document"]["value"]["width"], 64);
}

pub(crate) async fn markup_names_images_of_ours(service: Arc<Service>) {
    let kept = send(service.request(Method::POST, "/v1/assets").body(noise(20, 10))).await.json();
    let url = kept["url"].as_str().expect("a path").to_owned();
    let template = |src: &str, alt: &str| {
        json!({"name": "Mark", "format": "html", "size": "300x250", "slots": {},
            "markup": format!("<body><a href=\"{{{{click_url}}}}\">\n<img src=\"{src}\"{alt}></a></body>")})
    };
    let path = format!("/v1/templates/{}", service.name("mark"));
    let wordless = service.put_new(&path, &template(&url, "")).await;
    assert_eq!(wordless.faults(422), [("/markup".to_owned(), "alt_missing".to_owned())]);
    let words = wordless.json()["errors"][0]["detail"].as_str().expect("words").to_owned();
    assert!(words.starts_with("line 2, column 1: give this <img> an alt"), "{words}");
    let gone = template("/v1/assets/00000000000000000000000000000000.png", " alt=\"\"");
    assert_eq!(service.put_new(&path, &gone).await.faults(422), [("/markup".to_owned(), "unknown_asset".to_owned())]);
    let (id, _) = of_templates(&service, &[template(&url, " alt=\"\"")]).await;
    let shown = service.get(&format!("/v1/creatives/{id}/combinations")).await.json();
    let markup = shown["items"][0]["markup"].as_str().unwrap_or_else(|| panic!("{shown}"));
    assert!(markup.contains(&format!("{url}\"")) && !markup.contains(&format!("src=\"{url}")), "{markup}");
}

pub(crate) async fn an_upload_is_for_the_draft_that_was_read(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let (base, path) = (format!("/v1/creatives/{id}"), format!("/v1/creatives/{id}/components"));
    let stale = service.get(&base).await.header("etag").to_owned();
    let mut draft = service.get(&base).await.json()["document"].clone();
    draft["name"] = json!("Summer");
    let fresh = service.put(&base, &stale, &draft).await.header("etag").to_owned();
    let rows = "id,slot,value\nt-1,headline,Hello\n";
    let one = json!({"slot": "headline", "value": "Hello"});
    for (tag, status) in [(&stale, 412), (&fresh, 201)] {
        let json = service.request(Method::POST, &path).header(header::IF_MATCH, tag).json(&one);
        assert_eq!(send(json).await.status, status, "{tag}");
        let table = service.request(Method::POST, &path).header(header::IF_MATCH, tag);
        let table = send(table.header(header::CONTENT_TYPE, "text/csv").body(rows)).await;
        assert_eq!(table.status, if status == 412 { 412 } else { 200 }, "{}", table.text());
        let list = service.request(Method::POST, &path).header(header::IF_MATCH, tag);
        let list = send(list.json(&json!([{"id": "l-1", "slot": "headline", "value": "Hello"}]))).await;
        assert_eq!(list.status, if status == 412 { 412 } else { 200 }, "{}", list.text());
    }
    let picture = noise(8, 8);
    let refused = form_if(&service, &path, Some(&stale), &[("slot", "headline"), ("alt", "x")], &picture).await;
    refused.faults(412);
    assert_eq!(service.get(&path).await.json()["items"].as_array().map(Vec::len), Some(3));
}

pub(crate) async fn every_bad_row_is_named_in_the_whole_file(service: Arc<Service>) {
    let (id, ..) = creative(&service).await;
    let path = format!("/v1/creatives/{id}/components");
    // an id twice, with more than a batch between, and more bad rows than a page of faults
    let row = |n: usize| match n {
        2_400 => "h-5,headline,Again\n".to_owned(),
        n if n % 10 == 3 => format!("h-{n},nowhere,Hello\n"),
        n => format!("h-{n},headline,Hello {n}\n"),
    };
    let table: String = std::iter::once("id,slot,value\n".to_owned()).chain((0..2_500).map(row)).collect();
    for query in ["?dry_run=true", ""] {
        let request = service.request(Method::POST, &format!("{path}{query}"));
        let taken = send(request.header(header::CONTENT_TYPE, "text/csv").body(table.clone())).await.json();
        assert_eq!((&taken["created"], &taken["rejected"]), (&json!(2_249), &json!(251)), "{query}");
        let errors = taken["errors"].as_array().expect("errors");
        let again: Vec<_> = errors.iter().filter(|fault| fault["code"] == "duplicate_id").collect();
        assert_eq!((errors.len(), again.len(), &again[0]["line"]), (251, 1, &json!(2_402)));
        assert_eq!(again[0]["detail"], "line 7 has this id");
    }
    let long = service.request(Method::POST, &path).header("idempotency-key", service.name("long"));
    let refused = send(long.header(header::CONTENT_TYPE, "text/csv").body(vec![b'\n'; (32 << 20) + 1])).await;
    refused.faults(413);
    assert!(refused.json()["detail"].as_str().expect("words").contains("Idempotency-Key"), "{}", refused.text());
}
