//! Products of feeds, in what is shown.

use std::{io::BufReader, ops::ControlFlow, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Catalogue, DAY, NOW, PUBLIC_URL, SEED, answers, known, of, only};
use crate::domain::{
    audience::{activity::Event, user::UserState},
    catalog::{
        key::Kind,
        listed::{Listing, Withdrawn},
        reviewed::Frozen,
        snapshot::Snapshot,
    },
    consent::Purposes,
    creative::SlotValue,
    decision::{
        decide::decide,
        decided::{Decision, Person},
        exclusion::ComponentExclusion,
        explanation::Reason,
        goods::{PickedBy, content_crid, pages},
        learned::Learned,
        record::{Inputs, Origin},
        request::{AdRequest, Explain},
    },
    ids::NameHash,
    products::{FeedFormat, Packer, Popular, Settings, Shelf, Stock, Stocks, read},
};

/// A catalogue whose only campaign shows products of the feed `shop`, in the way that `value` asks.
fn catalogue(value: Value, campaign: Value) -> Snapshot {
    drafted(value, campaign).build()
}

fn drafted(value: Value, campaign: Value) -> Catalogue {
    let text = |default: &str| json!({"type": "text", "default": default});
    let default = json!([{"id": "default", "title": "Our shop", "link": "https://shop.example/",
        "image": {"src": "/v1/assets/shop.png", "alt": "The shop"}}]);
    let template = |size: &str, most: u32| {
        json!({"name": "Products", "format": "html", "size": size,
        "slots": {"headline": text("For you"), "products": {"type": "product", "max_items": most, "default": default}},
        "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a>{{#each products}}<a href=\"{{link}}\">{{title}}\
                   {{#if price}} {{price}}{{/if}}{{#if brand}} by {{brand}}{{/if}}</a>{{/each}}</body>"})
    };
    Catalogue::new()
        .segment("runners", json!({"trait": "runs", "eq": true}))
        .with(Kind::Feed, "shop", json!({"name": "Shop", "advertiser": "shop", "format": "csv"}))
        .both(
            "feed",
            campaign,
            json!({"templates": {"t": template("300x250", 3), "w": template("728x90", 1)},
                   "components": {"shelf": {"slot": "products", "value": value}}}),
        )
}

/// These products: those in capitals are out of stock.
fn priced(ids: &[&str], price: &str) -> Arc<Shelf> {
    let mut file = String::from("id,title,link,image_link,price,availability,brand\n");
    for id in ids {
        let availability = if id.chars().any(char::is_uppercase) { "out_of_stock" } else { "in_stock" };
        file.push_str(&format!(
            "{id},<{id}> & co,https://shop.example/{id},https://cdn.example/{id}.jpg,{price},{availability},Larkfell\n"
        ));
    }
    let (mut packer, mut pieces) = (Packer::default(), Vec::new());
    let settings = Settings { currency: None, link: &|_| Ok(()) };
    read(FeedFormat::Csv, &settings, BufReader::new(file.as_bytes()), &mut |_, item| {
        pieces.extend(packer.push(&item.expect("a product")));
        ControlFlow::Continue(())
    })
    .expect("a file");
    pieces.extend(packer.finish());
    Arc::new(Shelf::new(pieces).expect("pieces"))
}

/// The feed with these products.
fn stock(snapshot: &Snapshot, ids: &[&str], popular: &[&str], runners: &[&str]) -> Snapshot {
    let hashes = |ids: &[&str]| ids.iter().map(|id| NameHash::of(id)).collect::<Vec<_>>();
    let popular =
        Popular { overall: hashes(popular), within: [("runners".parse().expect("a key"), hashes(runners))].into() };
    let stock = Stock { generation: 1, shelf: priced(ids, "9.90 EUR"), popular: Arc::new(popular) };
    let stocks: Stocks = [("shop".parse().expect("an id"), stock)].into();
    snapshot.with_stocks(Arc::new(stocks))
}

/// Somebody who did these things so many hours ago.
fn somebody(snapshot: &Snapshot, events: &[(&str, Option<&str>, i64)]) -> UserState {
    let mut state = super::person(json!({"runs": true}), &[], &[]);
    for (name, product, hours) in events {
        let properties = product.map(|id| [("product_id".to_owned(), json!(id))].into_iter().collect());
        let event = Event {
            name: name.parse().expect("a name"),
            at: NOW.plus(-hours * 3_600_000),
            properties: properties.unwrap_or_default(),
        };
        state.absorb(&snapshot.streams, &event);
    }
    state
}

fn decision(snapshot: &Snapshot, request: &AdRequest, person: &Person<'_>, purposes: Purposes) -> Decision {
    decide(snapshot, &Learned::default(), request, person, purposes, NOW, SEED).expect("a valid request")
}

/// The products shown in the first item, and by which rule each.
fn shown(decision: &Decision) -> Vec<(String, PickedBy)> {
    let showing = only(decision);
    let Some(picked) = (0..showing.creative.slots.len()).find_map(|slot| showing.picked(slot)) else {
        return Vec::new();
    };
    let content: Value = serde_json::from_str(picked.content.as_json()).expect("JSON");
    let ids = content.as_array().expect("products").iter().map(|product| product["id"].as_str().expect("an id").into());
    ids.zip(picked.by.iter().copied()).collect()
}

fn ids(snapshot: &Snapshot, state: &UserState, purposes: Purposes) -> Vec<(String, PickedBy)> {
    shown(&decision(snapshot, &of(1, json!({})), &known(Some(state)), purposes))
}

fn own(expected: &[(&str, PickedBy)]) -> Vec<(String, PickedBy)> {
    expected.iter().map(|(id, by)| ((*id).to_owned(), *by)).collect()
}

const SHOP: [&str; 6] = ["a", "b", "c", "GONE", "d", "e"];

#[test]
fn what_was_looked_at_last_comes_first_then_what_many_look_at() {
    use PickedBy::{LastViewed, Listed, Popular};
    let snapshot = catalogue(json!({"feed": "shop", "choose": "last_viewed"}), json!({}));
    let snapshot = stock(&snapshot, &SHOP, &["d", "GONE", "c"], &[]);
    let seen = [
        ("product_view", Some("a"), 5),
        ("product_view", Some("b"), 3),
        ("product_view", Some("GONE"), 2),
        ("product_view", Some("unknown"), 1),
        ("product_view", Some("e"), 31 * 24),
    ];
    let state = somebody(&snapshot, &seen);
    assert_eq!(ids(&snapshot, &state, Purposes::ALL), own(&[("b", LastViewed), ("a", LastViewed), ("d", Popular)]));
    let state = somebody(&snapshot, &[&seen[..], &[("purchase", Some("b"), 1)]].concat());
    assert_eq!(ids(&snapshot, &state, Purposes::ALL), own(&[("a", LastViewed), ("d", Popular), ("c", Popular)]));
    // without the purpose of reading profiles nothing of the person is looked at
    let profiles = Purposes { profile_read: false, ..Purposes::ALL };
    assert_eq!(ids(&snapshot, &state, profiles), own(&[("d", Popular), ("c", Popular), ("a", Listed)]));
    let nobody = somebody(&snapshot, &[]);
    assert_eq!(ids(&snapshot, &nobody, Purposes::ALL), own(&[("d", Popular), ("c", Popular), ("a", Listed)]));
}

#[test]
fn what_lies_in_the_basket_is_abandoned_until_it_is_bought() {
    use PickedBy::{Abandoned, Popular};
    let snapshot = catalogue(json!({"feed": "shop", "choose": "abandoned", "fill": "none"}), json!({}));
    let snapshot = stock(&snapshot, &SHOP, &["d"], &[]);
    let basket = [("add_to_cart", Some("a"), 5), ("add_to_cart", Some("b"), 4)];
    let after = |more: &[(&str, Option<&str>, i64)]| {
        let state = somebody(&snapshot, &[&basket[..], more].concat());
        ids(&snapshot, &state, Purposes::ALL)
    };
    assert_eq!(after(&[]), own(&[("b", Abandoned), ("a", Abandoned)]));
    assert_eq!(after(&[("purchase", Some("b"), 1)]), own(&[("a", Abandoned)]));
    // bought, and put into the basket again
    assert_eq!(after(&[("purchase", Some("b"), 2), ("add_to_cart", Some("b"), 1)]).len(), 2);
    // a purchase that names no product is of the whole basket, as it was
    assert_eq!(after(&[("purchase", None, 1)]), own(&[]));
    assert_eq!(after(&[("purchase", None, 2), ("add_to_cart", Some("c"), 1)]), own(&[("c", Abandoned)]));
    let snapshot = catalogue(json!({"feed": "shop", "choose": "abandoned", "items": 1}), json!({}));
    let snapshot = stock(&snapshot, &SHOP, &["d"], &[]);
    assert_eq!(ids(&snapshot, &somebody(&snapshot, &[]), Purposes::ALL), own(&[("d", Popular)]));
}

#[test]
fn members_of_a_segment_see_what_is_popular_there() {
    use PickedBy::{Popular, PopularInSegment};
    let value = json!({"feed": "shop", "choose": "popular_in_segment", "segment": "runners", "items": 2});
    let snapshot = stock(&catalogue(value, json!({})), &SHOP, &["d", "e"], &["c", "GONE"]);
    let runner = somebody(&snapshot, &[]);
    assert_eq!(ids(&snapshot, &runner, Purposes::ALL), own(&[("c", PopularInSegment), ("d", Popular)]));
    let other = super::person(json!({"runs": false}), &[], &[]);
    assert_eq!(ids(&snapshot, &other, Purposes::ALL), own(&[("d", Popular), ("e", Popular)]));
    let profiles = Purposes { profile_read: false, ..Purposes::ALL };
    assert_eq!(ids(&snapshot, &runner, profiles), own(&[("d", Popular), ("e", Popular)]));
}

#[test]
fn without_a_product_the_default_is_shown() {
    let value = json!({"feed": "shop", "choose": "last_viewed", "fill": "none"});
    let empty = catalogue(value, json!({}));
    for snapshot in [empty.clone(), stock(&empty, &["GONE"], &["GONE"], &[]), stock(&empty, &SHOP, &["a"], &[])] {
        let request = of(1, json!({"explain": "full"}));
        let state = somebody(&snapshot, &[("product_view", Some("GONE"), 1)]);
        let decided = decision(&snapshot, &request, &known(Some(&state)), Purposes::ALL);
        assert_eq!((shown(&decided), only(&decided).reason), (Vec::new(), Reason::Default));
        let slot = &decided.explanation[0].slots[1];
        assert_eq!(slot.components[0].excluded, Some(ComponentExclusion::NoProducts));
        let answer = answers(&snapshot, &request, &decided, Purposes::ALL).remove(0);
        assert!(
            answer.contains("Our shop") && answer.contains(&format!("{PUBLIC_URL}/v1/assets/shop.png")),
            "{answer}"
        );
    }
}

#[test]
fn exchanges_that_review_combinations_get_products_as_they_were_chosen() {
    let shop = |snapshot: &Snapshot, ids: &[&str]| stock(snapshot, ids, &["d", "c"], &[]);
    let draft = drafted(json!({"feed": "shop", "choose": "last_viewed"}), json!({}));
    let before = shop(&draft.clone().build(), &SHOP);
    let draft = draft.reviewed("feed", 50, |creative, at| pages(creative, at, &before, &before.stocks));
    let snapshot = shop(&draft.clone().build(), &SHOP);
    let creative = &snapshot.creatives["feed"];
    // of the first template its default, what nobody in particular would see, and what comes next
    let shelves: Vec<String> = creative.combinations[..3].iter().map(|of| shelf(&of.frozen)).collect();
    assert_eq!(shelves, ["", "dca", "be"]);
    let fan = somebody(&snapshot, &[("product_view", Some("b"), 3)]);
    let of = |snapshot: &Snapshot, listing: Value| {
        let ask = json!({"placements": [{"id": "a", "placement": "top", "listing": listing}]});
        let decided = decision(snapshot, &of(1, ask), &known(Some(&fan)), Purposes::ALL);
        let products = shown(&decided);
        assert!(products.iter().all(|(_, by)| (*by == PickedBy::Reviewed) != listing.is_null()));
        let showing = only(&decided);
        let variant = &showing.creative.variants[showing.variant];
        let crid = content_crid(&showing.creative, variant, &showing.choice, &showing.picked);
        (products.into_iter().map(|(id, _)| id).collect::<String>(), crid)
    };
    assert_eq!(of(&snapshot, Value::Null).0, "bdc", "others are shown what is theirs");
    let (products, crid) = of(&snapshot, json!("chosen"));
    assert!(["dca", "be"].contains(&&*products), "{products}");
    assert!(creative.combinations.iter().any(|of| *of.crid == *crid));
    // an exchange has approved the second set alone
    let second = creative.combinations[2].crid.to_string();
    let audit = json!({"crids": {second.clone(): {"status": 3}}});
    let audited = draft.with(Kind::Audit, "feed/strict", audit).build();
    let strict = json!({"approved": "strict"});
    assert_eq!(of(&shop(&audited, &SHOP), strict.clone()), ("be".to_owned(), second.clone()));
    // the feed has one of them no more, or says something else of it: until it says the same, nothing of it is shown
    let why = |snapshot: &Snapshot| {
        let creative = &snapshot.creatives["feed"];
        snapshot.listed.withdrawn(creative, &second, NOW)
    };
    for ids in [["a", "b", "c", "d"].as_slice(), &["a", "b", "c", "d", "E"]] {
        let changed = shop(&audited, ids);
        assert_eq!(why(&changed), Some(Withdrawn::OutOfStock));
        assert!(changed.listed.of(&creative.id, &Listing::Approved("strict".parse().expect("an id")), 0).is_none());
        assert_eq!(of(&changed, json!("chosen")).0, "dca");
    }
    let held = &audited.with_stocks(Arc::clone(&snapshot.stocks)).stocks["shop"];
    let dearer = Stock { shelf: priced(&SHOP, "8.90 EUR"), ..held.clone() };
    let dearer = audited.with_stocks(Arc::new([("shop".parse().expect("an id"), dearer)].into()));
    assert_eq!((why(&dearer), of(&dearer, json!("chosen")).0), (Some(Withdrawn::FeedChanged), String::new()));
    let back = shop(&dearer, &SHOP);
    assert_eq!((why(&back), of(&back, strict).0), (None, "be".to_owned()));
    assert_eq!(why(&audited), Some(Withdrawn::OutOfStock), "nobody knows what the feed holds");
}

/// The ids of frozen products.
fn shelf(frozen: &[Frozen]) -> String {
    let ids = |frozen: &Frozen| match &frozen.value {
        SlotValue::Products(products) => products.iter().map(|product| &*product.id).collect::<String>(),
        _ => String::new(),
    };
    frozen.iter().map(ids).collect()
}

#[test]
fn products_are_escaped_and_named_in_the_answer_and_its_explanation() {
    let snapshot = catalogue(json!({"feed": "shop", "choose": "last_viewed"}), json!({}));
    let snapshot = stock(&snapshot, &SHOP, &[], &[]);
    let state = somebody(&snapshot, &[("product_view", Some("b"), 1)]);
    let request = of(1, json!({"explain": "full"}));
    let decided = decision(&snapshot, &request, &known(Some(&state)), Purposes::ALL);
    let answer: Value = serde_json::from_str(&answers(&snapshot, &request, &decided, Purposes::ALL)[0]).expect("JSON");
    let markup = answer["markup"].as_str().expect("markup");
    let link = "<a href=\"https://shop.example/b\">&lt;b&gt; &amp; co €9.90 by Larkfell</a>";
    assert!(markup.contains(link), "{markup}");
    assert_eq!(
        (&answer["components"]["products"], &answer["content"]["products"][0]["id"]),
        (&json!("shelf"), &json!("b"))
    );
    let told = serde_json::to_value(&decided.explanation[0].slots[1].products).expect("JSON");
    assert_eq!(
        told,
        json!([{"id": "b", "by": "last_viewed"}, {"id": "a", "by": "listed"}, {"id": "c", "by": "listed"}])
    );
}

#[test]
fn a_control_that_knows_nobody_is_not_shown_what_is_personal() {
    let control = json!({"holdout": 0.9, "control": "even"});
    let personal = catalogue(json!({"feed": "shop", "choose": "last_viewed"}), control.clone());
    let personal = stock(&personal, &SHOP, &[], &[]);
    let state = somebody(&personal, &[("product_view", Some("b"), 1)]);
    let held_out = |snapshot: &Snapshot| {
        let decided = (1..50).map(|n| decision(snapshot, &of(n, json!({})), &known(Some(&state)), Purposes::ALL));
        let held_out: Vec<_> =
            decided.filter(|made| only(made).reason == Reason::Holdout).map(|made| shown(&made)).collect();
        assert!(held_out.len() > 20);
        held_out
    };
    assert!(held_out(&personal).iter().all(Vec::is_empty));
    let popular =
        stock(&catalogue(json!({"feed": "shop", "choose": "popular", "items": 1}), control), &SHOP, &["c"], &[]);
    assert!(held_out(&popular).iter().all(|products| *products == own(&[("c", PickedBy::Popular)])));
}

#[test]
fn only_feeds_that_are_shown_are_remembered_for() {
    let snapshot = Catalogue::new()
        .with(Kind::Feed, "shop", json!({"name": "Shop", "advertiser": "shop", "format": "csv"}))
        .build();
    assert!(snapshot.streams.is_empty() && snapshot.shown_feeds.is_empty());
    let snapshot = catalogue(json!({"feed": "shop", "choose": "popular"}), json!({}));
    assert_eq!((snapshot.streams.len(), snapshot.shown_feeds.len()), (4, 1));
    let later = snapshot.evolve(2, vec![], PUBLIC_URL, NOW.plus(DAY));
    assert_eq!((later.streams.len(), later.shown_feeds.len()), (4, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_out_of_stock_is_never_shown_and_a_replay_shows_the_same(
        stocked in prop::collection::vec(any::<bool>(), 8),
        popular in prop::collection::vec(0_usize..8, 0..6),
        done in prop::collection::vec((0_usize..3, 0_usize..8, 0_i64..900), 0..20),
        choose in prop::sample::select(vec!["last_viewed", "abandoned", "popular", "popular_in_segment"]),
        fill in prop::sample::select(vec!["popular", "none"]),
        reads in any::<bool>(),
    ) {
        let names: Vec<String> =
            stocked.iter().enumerate().map(|(at, stocked)| if *stocked { format!("p{at}") } else { format!("P{at}") }).collect();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        let popular: Vec<&str> = popular.iter().map(|at| ids[*at]).collect();
        let mut value = json!({"feed": "shop", "choose": choose, "fill": fill});
        if choose == "popular_in_segment" {
            value["segment"] = json!("runners");
        }
        let snapshot = stock(&catalogue(value, json!({})), &ids, &popular, &popular);
        let events: Vec<_> = done
            .iter()
            .map(|(what, which, hours)| (["product_view", "add_to_cart", "purchase"][*what], Some(ids[*which]), *hours))
            .collect();
        let state = somebody(&snapshot, &events);
        let person = known(Some(&state));
        let purposes = if reads { Purposes::ALL } else { Purposes { profile_read: false, ..Purposes::ALL } };
        let mut request = of(7, json!({"placements": [
            {"id": "a", "placement": "top"}, {"id": "b", "sizes": ["728x90"], "formats": ["html"]}]}));
        request.explain = Explain::Full;
        let made = decision(&snapshot, &request, &person, purposes);
        let original = answers(&snapshot, &request, &made, purposes);
        for answer in &original {
            prop_assert!(!answer.contains("shop.example/P"), "{}", answer);
            prop_assert!(answer.contains("shop.example/p") || answer.contains("Our shop"), "never blank: {}", answer);
        }
        let origin = Origin { snapshot: &snapshot, request: &request, person: &person, purposes, seed: SEED, public_url: PUBLIC_URL, signing_key: 1 };
        let inputs = serde_json::to_string(&Inputs::take(&origin, &made)).expect("JSON");
        let inputs: Inputs = serde_json::from_str(&inputs).expect("a record");
        // by then the feed may hold anything else
        let later = stock(&snapshot, &["other"], &["other"], &[]);
        for (at, item) in made.placements.iter().flatten().enumerate() {
            let (again, placement, _) = inputs.replay(&later, item.id).expect("a replay");
            prop_assert_eq!(placement, at);
            prop_assert_eq!(&answers(&later, &inputs.request, &again, purposes)[at], &original[at]);
            prop_assert_eq!(&again.explanation[..], &made.explanation[at..=at], "what is wanted, and no other");
        }
    }
}
