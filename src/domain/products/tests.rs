//! Files in, products out.

use std::{io::BufReader, ops::ControlFlow};

use proptest::prelude::*;
use serde_json::json;

use super::{FeedDoc, FeedFormat, Item, Packer, Popular, Settings, Shelf, Tally, Unreadable, read};
use crate::domain::{
    creative::SlotValue,
    ids::{NameHash, SegmentKey},
    violation::Violation,
    webhook::Reach,
};

type Rows = Vec<(u64, Result<Item, Vec<Violation>>)>;

fn rows(format: FeedFormat, text: &[u8]) -> Result<Rows, Unreadable> {
    let link = |url: &str| match url.contains("//shop.example/") {
        true => Ok(()),
        false => Err("is not the shop's".to_owned()),
    };
    let settings = Settings { currency: "EUR".parse().ok(), link: &link };
    let mut rows = Vec::new();
    // small pieces, so that rows lie across them
    let source = BufReader::with_capacity(7, text);
    read(format, &settings, source, &mut |line, row| {
        rows.push((line, row));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn items(format: FeedFormat, text: &str) -> Vec<Item> {
    let rows = rows(format, text.as_bytes()).expect("a file");
    rows.into_iter().map(|(line, row)| row.unwrap_or_else(|faults| panic!("{line}: {faults:?}"))).collect()
}

/// Where rows are faulty: the line, the column and the rule.
fn faults(format: FeedFormat, text: &str) -> Vec<(u64, String, &'static str)> {
    let rows = rows(format, text.as_bytes()).expect("a file");
    let faulty = rows.into_iter().filter_map(|(line, row)| Some((line, row.err()?)));
    faulty.flat_map(|(line, faults)| faults.into_iter().map(move |f| (line, f.pointer, f.code))).collect()
}

const CSV: &str = "\u{feff}id,Title,link,image link,price,sale_price,availability,brand,colour\r\n\
    s-1,\"Shoe, \"\"fast\"\"\",https://shop.example/s-1,https://cdn.example/1.jpg,129.90 EUR,99,in stock,Larkfell,red\r\n\
    \r\n\
    s-2,\"Two\nlines\",https://shop.example/s-2,https://cdn.example/2.jpg,EUR 5,,out_of_stock,,\r\n";

#[test]
fn the_same_products_in_every_format() {
    let tsv = "id\ttitle\tlink\timage_link\tprice\tsale_price\tavailability\tbrand\n\
        s-1\tShoe, \"fast\"\thttps://shop.example/s-1\thttps://cdn.example/1.jpg\t129.90\t99 EUR\tin_stock\tLarkfell\n\
        s-2\tTwo lines\thttps://shop.example/s-2\thttps://cdn.example/2.jpg\t5\t\tout of stock\t\n";
    let array = json!([
        {"id": "s-1", "title": "Shoe, \"fast\"", "link": "https://shop.example/s-1", "image_link": "https://cdn.example/1.jpg",
         "price": {"amount": "129.90", "currency": "EUR"}, "sale_price": 99, "availability": true, "brand": "Larkfell",
         "more": {"a": ["}", "]"]}},
        {"id": "s-2", "title": "Two lines", "link": "https://shop.example/s-2", "image_link": "https://cdn.example/2.jpg",
         "price": "5", "availability": "out_of_stock", "brand": null},
    ]);
    let lines = array.as_array().expect("two").iter().map(|row| format!("{row}\n")).collect::<String>();
    let rss = "<?xml version=\"1.0\"?>\n<rss version=\"2.0\" xmlns:g=\"http://base.google.com/ns/1.0\"><channel>\n\
        <title>A shop</title><link>https://shop.example</link>\n\
        <item><title>ignored</title><g:title>Shoe, &quot;fast&quot;</g:title><g:id>s-1</g:id>\n\
        <link>https://shop.example/s-1</link><g:image_link><![CDATA[https://cdn.example/1.jpg]]></g:image_link>\n\
        <g:price>129.90 EUR</g:price><g:sale_price>99 EUR</g:sale_price><g:availability>in_stock</g:availability>\n\
        <g:shipping><g:price>3 EUR</g:price></g:shipping><g:brand>Lark&#102;ell</g:brand></item>\n\
        <item><g:id>s-2</g:id><title>Two\nlines</title><link>https://shop.example/s-2</link>\n\
        <g:image_link>https://cdn.example/2.jpg</g:image_link><g:price>5 EUR</g:price>\n\
        <g:availability>out of stock</g:availability></item></channel></rss>";
    let atom = "<feed xmlns=\"http://www.w3.org/2005/Atom\" xmlns:g=\"http://base.google.com/ns/1.0\"><title>A shop</title>\
        <entry><g:id>s-1</g:id><title>Shoe, \"fast\"</title><link href=\"https://shop.example/s-1\"/>\
        <g:image_link>https://cdn.example/1.jpg</g:image_link><g:price>129.90 EUR</g:price>\
        <g:sale_price>99.00 EUR</g:sale_price><g:availability>in stock</g:availability><g:brand>Larkfell</g:brand></entry>\
        <entry><id>s-2</id><title>Two lines</title><link rel=\"self\" href=\"https://elsewhere.example/\"/>\
        <link rel=\"alternate\" href=\"https://shop.example/s-2\"></link>\
        <g:image_link>https://cdn.example/2.jpg</g:image_link><g:price>5.00 EUR</g:price>\
        <g:availability>out_of_stock</g:availability></entry></feed>";
    let expected = items(FeedFormat::Csv, CSV);
    assert_eq!(expected.iter().map(|item| item.available).collect::<Vec<_>>(), [true, false]);
    let first = &expected[0].product;
    assert_eq!((&*first.title, first.brand.as_deref()), ("Shoe, \"fast\"", Some("Larkfell")));
    assert_eq!(first.price.map(|price| price.to_string()).as_deref(), Some("€129.90"));
    assert_eq!(&*expected[1].product.title, "Two lines");
    for (format, text) in [
        (FeedFormat::Tsv, tsv),
        (FeedFormat::Json, &array.to_string()),
        (FeedFormat::Json, &lines),
        (FeedFormat::GoogleXml, rss),
        (FeedFormat::GoogleXml, atom),
    ] {
        assert_eq!(items(format, text), expected, "{text}");
    }
}

#[test]
fn faults_are_told_by_line_and_column() {
    let head = "id,title,link,image_link,price,availability\n";
    let file = format!(
        "{head}a,A,https://shop.example/a,https://cdn.example/a,1 EUR,in_stock\n\
         b,,ftp://shop.example/b,javascript:x,one EUR,soon\n\
         c,C\n\
         d,D,https://evil.example/d,https://cdn.example/d,-1,\n\
         e,\"E,https://shop.example/e"
    );
    let found = faults(FeedFormat::Csv, &file);
    let found: Vec<_> = found.iter().map(|(line, at, code)| (*line, at.as_str(), *code)).collect();
    assert_eq!(
        found,
        [
            (3, "/title", "required"),
            (3, "/link", "not_a_url"),
            (3, "/image_link", "not_a_url"),
            (3, "/price", "not_a_price"),
            (3, "/availability", "unknown_availability"),
            (4, "", "columns"),
            (5, "/link", "landing_host_not_allowed"),
            (5, "/price", "not_a_price"),
            (5, "/availability", "unknown_availability"),
            (6, "", "malformed_csv"),
        ]
    );
    let found = faults(FeedFormat::Json, "[{\"id\": [1]},\n{\"id\": \"b\" \"c\"}, {\"id\": \"c\"}]");
    let found: Vec<_> = found.iter().map(|(line, at, code)| (*line, at.as_str(), *code)).collect();
    assert_eq!(found[..2], [(1, "/id", "wrong_type"), (2, "", "malformed_json")]);
    assert_eq!(found[2..], [(2, "/title", "required"), (2, "/link", "required"), (2, "/image_link", "required")]);
}

#[test]
fn an_empty_availability_is_none_in_every_format() {
    let xml = |availability: &str| {
        format!(
            "<rss xmlns:g=\"http://base.google.com/ns/1.0\"><channel><item><g:id>a</g:id><title>A</title>\
             <link>https://shop.example/a</link><g:image_link>https://cdn.example/a</g:image_link>{availability}\
             </item></channel></rss>"
        )
    };
    let json = |availability: serde_json::Value| {
        json!({"id": "a", "title": "A", "link": "https://shop.example/a", "image_link": "https://cdn.example/a",
               "price": null, "availability": availability})
        .to_string()
    };
    for (format, text) in [
        (FeedFormat::GoogleXml, xml("<g:availability></g:availability>")),
        (FeedFormat::GoogleXml, xml("<g:availability/>")),
        (FeedFormat::GoogleXml, xml("<availability> </availability>")),
        (FeedFormat::Json, json(json!(null))),
        (FeedFormat::Json, json(json!(""))),
    ] {
        assert_eq!(faults(format, &text), [(1, "/availability".to_owned(), "unknown_availability")], "{text}");
    }
    assert!(items(FeedFormat::GoogleXml, &xml("")).remove(0).available);
    assert!(
        items(FeedFormat::GoogleXml, &xml("<g:brand/><g:availability>in_stock</g:availability>")).remove(0).available
    );
}

#[test]
fn files_that_cannot_be_read_on_say_where() {
    let error = |format, text: &[u8]| rows(format, text).expect_err("unreadable").to_string();
    assert_eq!(
        error(FeedFormat::Csv, b"id,name\n"),
        "the first row must name the columns id, title, link and image_link; it lacks title, link, image_link"
    );
    assert!(matches!(rows(FeedFormat::Csv, b""), Err(Unreadable::Columns(_))));
    assert!(error(FeedFormat::Json, b"id,name").contains("array of objects"));
    assert!(error(FeedFormat::Json, b"[\n{\"id\": \"a\"").contains("line 2"));
    for cut in [&b"[{\"id\": \"a\"}"[..], b"[{\"id\": \"a\"},\n", b" ["] {
        assert!(error(FeedFormat::Json, cut).contains("never closed"));
    }
    assert!(error(FeedFormat::GoogleXml, b"<html><body>").contains("RSS 2.0 or Atom"));
    assert!(error(FeedFormat::GoogleXml, b"<rss><channel><item>").contains("too early"));
    let bomb = b"<!DOCTYPE rss [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><rss><channel/></rss>";
    assert!(error(FeedFormat::GoogleXml, bomb).contains("DOCTYPE"));
    assert!(
        error(FeedFormat::GoogleXml, b"<rss><channel><item><g:id>&x;</g:id></item></channel></rss>").contains("&x;")
    );
    let mut long = b"id,title,link,image_link\n\"".to_vec();
    long.extend(vec![b'x'; 300 << 10]);
    assert!(matches!(rows(FeedFormat::Csv, &long), Err(Unreadable::TooLong { line: 2 })));
    let mut long = b"[{\"id\": \"".to_vec();
    long.extend(vec![b'\n'; 300 << 10]);
    assert!(matches!(rows(FeedFormat::Json, &long), Err(Unreadable::TooLong { line: 1 })));
    let mut long = b"<rss><channel>\n<item><g:id>".to_vec();
    long.extend(vec![b'x'; 300 << 10]);
    assert!(matches!(rows(FeedFormat::GoogleXml, &long), Err(Unreadable::TooLong { line: 2 })));
}

#[test]
fn what_nobody_sees_is_taken_out_of_texts() {
    let file = "id,title,link,image_link,description\n\
        a,\"A \u{202e}\u{0}\t shoe\",https://shop.example/a,https://cdn.example/a,\" \u{7} \"\n";
    let item = items(FeedFormat::Csv, file).remove(0);
    assert_eq!((&*item.product.title, item.product.description), ("A shoe", None));
    assert!(item.available, "a file without the column says nothing against it");
}

fn shelf(items: &[Item]) -> Shelf {
    let mut packer = Packer::default();
    let mut pieces: Vec<_> = items.iter().filter_map(|item| packer.push(item)).collect();
    pieces.extend(packer.finish());
    Shelf::new(pieces).expect("own pieces")
}

#[test]
fn feeds_are_checked() {
    let feed = |more: serde_json::Value| {
        let mut document = json!({"name": "Shop", "advertiser": "shop", "format": "csv"});
        document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value::<FeedDoc>(document).expect("a feed")
    };
    assert_eq!(feed(json!({})).check(Reach::Public), Ok(()));
    let bad = feed(json!({"url": "https://127.0.0.1/feed", "every_minutes": 1, "same": ""}));
    let pointers: Vec<_> = bad.check(Reach::Public).expect_err("faults").into_iter().map(|f| f.pointer).collect();
    assert_eq!(pointers, ["/every_minutes", "/same", "/url"]);
    assert_eq!(feed(json!({"url": "http://127.0.0.1/feed"})).check(Reach::Loopback), Ok(()));
    let (one, other) = (feed(json!({})), feed(json!({"currency": "EUR"})));
    let reading = one.reading(&["shop.example"]);
    assert_eq!(reading, feed(json!({"name": "Other"})).reading(&["shop.example"]));
    assert_ne!(reading, one.reading(&["shop.example", "b.example"]), "rows of these hosts were refused");
    assert_ne!(reading, other.reading(&["shop.example"]));
    let ids: std::collections::BTreeSet<_> = feed(json!({})).streams().all().map(|stream| stream.id()).into();
    assert_eq!(ids.len(), 4);
}

#[test]
fn what_many_people_look_at_comes_first() {
    let items = items(
        FeedFormat::Csv,
        "id,title,link,image_link,availability\n\
         a,A,https://shop.example/a,https://cdn.example/a,in_stock\n\
         b,B,https://shop.example/b,https://cdn.example/b,in_stock\n\
         c,C,https://shop.example/c,https://cdn.example/c,out_of_stock\n",
    );
    let [a, b, c] = ["a", "b", "c"].map(NameHash::of);
    let runners: SegmentKey = "runners".parse().expect("a key");
    let mut tally = Tally::default();
    tally.add(&[a, c], [&runners].into_iter());
    tally.add(&[b, c], [].into_iter());
    tally.add(&[b, c], [].into_iter());
    let popular = tally.popular(&shelf(&items));
    let expected = Popular { overall: vec![b, a], within: [(runners, vec![a])].into() };
    assert_eq!(popular, expected, "what cannot be bought is not popular");
}

fn any_item() -> impl Strategy<Value = Item> {
    let text = || "[a-zA-Z0-9äöü<>&\"' ]{1,40}".prop_filter("not blank", |text| !text.trim().is_empty());
    let price = || prop::option::of((0_i64..1_000_000_000, prop::sample::select(vec!["EUR", "USD", "JPY"])));
    (text(), text(), price(), price(), any::<bool>(), prop::option::of(text())).prop_map(
        |(id, title, price, sale_price, available, brand)| {
            let money = |price: Option<(i64, &str)>| {
                price.map(|(cents, currency)| format!("{}.{:02} {currency}", cents / 100, cents % 100))
            };
            let row = json!({
                "id": id, "title": title, "link": "https://shop.example/x?a=1", "image_link": "http://cdn.example/ä.jpg",
                "price": money(price), "sale_price": money(sale_price), "brand": brand, "availability": available,
            });
            items(FeedFormat::Json, &row.to_string()).remove(0)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_shelf_holds_what_can_be_bought_and_nothing_else(items in prop::collection::vec(any_item(), 0..12)) {
        let shelf = shelf(&items);
        for item in &items {
            let first = items.iter().find(|other| other.product.id == item.product.id && other.available);
            let found = shelf.get(NameHash::of(&item.product.id));
            prop_assert_eq!(found.as_ref(), first.map(|item| &item.product));
        }
        prop_assert!(shelf.first().all(|id| shelf.has(id)));
    }

    #[test]
    fn products_are_values_of_slots(item in any_item()) {
        let value = SlotValue::Products([item.product].into());
        let spec = crate::domain::creative::SlotSpec::products();
        prop_assert_eq!(SlotValue::parse(&spec, &value.content()), Ok(value));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..300) {
        for format in [FeedFormat::Csv, FeedFormat::Tsv, FeedFormat::Json, FeedFormat::GoogleXml] {
            let mut text = match format {
                FeedFormat::Json => b"[{\"id\": \"a\", \"title\": \"b\"}]".to_vec(),
                FeedFormat::GoogleXml => b"<rss><channel><item><g:id>a</g:id></item></channel></rss>".to_vec(),
                _ => CSV.as_bytes().to_vec(),
            };
            let at = at.min(text.len());
            text.splice(at..at, bytes.iter().copied());
            let _ = rows(format, &text);
            let _ = rows(format, &bytes);
            let _ = Shelf::new(vec![bytes.clone()]);
        }
    }
}
