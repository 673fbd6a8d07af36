//! What is looked at before publishing is what is shown after.

use std::collections::BTreeSet;

use jiff::tz::TimeZoneDatabase;

use proptest::{prelude::*, sample::subsequence, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use super::{Catalogue, DAY, NOW, SEED, known, of, template};
use crate::domain::{
    audience::context::{Context, LocalTime},
    catalog::{creative::Creative, document::Rotation, key::Kind, snapshot::Snapshot},
    consent::Purposes,
    creative::{Combinations, Pairing},
    decision::{
        choose::{Manner, choose, eligible},
        coverage::{Cell, Circumstances, Serving, changes, serving, stretches},
        decide::decide,
        learned::Learned,
        proof::options,
        rotation::Sticky,
    },
    values::{Country, Format, Millis},
};

/// A creative of two slots with four components each, under some rules.
fn paired(pairing: Value) -> Snapshot {
    let components = ["headline", "cta"].iter().flat_map(|slot| {
        (0..4).map(move |n| (format!("{slot}-{n}"), json!({"slot": slot, "value": format!("{slot} {n}")})))
    });
    let components: Value = components.collect::<serde_json::Map<_, _>>().into();
    Catalogue::new().creative("ad", json!({"components": components, "pairing": pairing})).build()
}

fn rules() -> impl Strategy<Value = Value> {
    let rule = (0..3, 0..4, 0..4, 0..4).prop_map(|(kind, a, b, c)| match kind {
        0 => json!({"forbid": [format!("headline-{a}"), format!("cta-{b}")]}),
        1 => json!({"group": [format!("headline-{a}"), format!("cta-{b}")]}),
        _ => json!({"require": {"if": format!("headline-{a}"), "then": [format!("cta-{b}"), format!("cta-{c}")]}}),
    });
    proptest::collection::vec(rule, 0..6).prop_map(Value::from)
}

fn people() -> impl Iterator<Item = Sticky> {
    (1_u128..).map(|n| Sticky(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// A million decisions where code is optimised, in which no pairing rule is ever broken; without
/// defaults, each is one of the combinations that were counted.
#[test]
fn no_decision_breaks_a_pairing_rule() {
    const CREATIVES: usize = 50;
    let each = if cfg!(debug_assertions) { 1_000 } else { 20_000 };
    let mut runner = TestRunner::deterministic();
    let (mut whole, mut seen) = (0, 0);
    for _ in 0..CREATIVES {
        let pairing = rules().new_tree(&mut runner).expect("rules").current();
        let snapshot = paired(pairing.clone());
        let creative: &Creative = &snapshot.creatives["ad"];
        let all = Combinations::of(&creative.pairing, &options(creative, NOW)).expect("few");
        let counted: BTreeSet<Vec<u32>> = (0..all.count()).filter_map(|n| all.nth(n)).collect();
        for sticky in people().take(each) {
            let manner = Manner {
                sticky,
                rotation: Rotation::Even,
                control: None,
                language: None,
                languages: None,
                video: None,
                native: None,
                now: NOW,
            };
            let chosen = choose(creative, &manner, &eligible(creative, &manner, |_| true));
            let slots = creative.slots.iter().zip(&chosen.choice);
            let picks: Vec<u32> =
                slots.map(|(slot, at)| at.map_or(Pairing::DEFAULT, |at| slot.candidates[usize::from(at)])).collect();
            let full: Vec<_> = picks.iter().copied().map(Some).collect();
            assert!(creative.pairing.allows(&full), "{pairing} {picks:?}");
            seen += 1;
            if !picks.contains(&Pairing::DEFAULT) {
                assert!(counted.contains(&picks), "{pairing} {picks:?}");
                whole += 1;
            }
        }
    }
    assert!(seen == CREATIVES * each && whole > seen / 4, "{whole} of {seen}");
}

fn flights() -> impl Strategy<Value = Value> {
    const HOUR: i64 = 3_600_000;
    let at = |quarter: i64| Millis(NOW.0 + quarter * HOUR / 4);
    let ends = (proptest::option::of(-40_i64..280), proptest::option::of(1_i64..300));
    let part = (0_u32..24, 0_u32..24, subsequence(vec!["mon", "tue", "wed"], 0..=3)).prop_filter_map(
        "empty",
        |(from, to, days)| {
            (from != to).then(|| json!({"days": days, "from": format!("{from:02}:15"), "to": format!("{to:02}:15")}))
        },
    );
    let zones = proptest::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]);
    (ends, proptest::collection::vec(part, 0..3), zones).prop_map(move |((start, length), parts, zone)| {
        let mut flight = json!({"time_zone": zone, "dayparts": parts});
        if let Some(start) = start {
            flight["start"] = json!(at(start));
        }
        if let Some(length) = length {
            flight["end"] = json!(at(start.unwrap_or(0) + length));
        }
        flight
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every quarter of an hour of three days is asked by itself.
    #[test]
    fn coverage_is_what_asking_at_every_instant_says(
        lines in proptest::collection::vec((flights(), 1_u8..4, proptest::bool::ANY), 1..4),
    ) {
        let mut catalogue = Catalogue::new().segment("vip", Value::Null);
        for (at, (flight, priority, targeted)) in lines.into_iter().enumerate() {
            let mut patch = json!({"flight": flight, "priority": priority});
            if targeted {
                patch["targeting"] = json!({"segment": "vip"});
            }
            catalogue = catalogue.both(&format!("ad-{at}"), patch, json!({}));
        }
        let snapshot = catalogue.build();
        let to = NOW.plus(3 * DAY);
        let beside = Circumstances::default();
        let changes = changes(&snapshot, &beside.zone, NOW, to);
        for segment in [None, snapshot.rules.ix(&"vip".parse().expect("a key"))] {
            let cell = Cell {
                placement: "top".parse().expect("an id"), format: Format::Html, size: "300x250".parse().ok(), language: None, segment,
            };
            let found = stretches(&snapshot, &cell, &beside, &changes, to);
            prop_assert_eq!((found[0].from, found[found.len() - 1].to), (NOW, to));
            prop_assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from));
            for quarter in 0..3 * 96 {
                let now = NOW.plus(quarter * 900_000);
                let stretch = found.iter().find(|stretch| (stretch.from..stretch.to).contains(&now)).expect("a stretch");
                let found = serving(&snapshot, &cell, &beside, now);
                prop_assert!(found.serving != Serving::Nothing, "there is a house creative");
                prop_assert_eq!(&stretch.found, &found, "{}", now);
            }
        }
    }

    /// Each size, language, segment and hour of a day and a half in its zone is decided for thirty people.
    #[test]
    fn coverage_is_what_people_get(
        lines in proptest::collection::vec((aims(), aims(), 1_u8..3, locales(), 0..3_usize), 1..4), country in countries(),
    ) {
        let zone = TimeZoneDatabase::bundled().get("Europe/Berlin").expect("a zone");
        let mut catalogue = Catalogue::new().segment("vip", Value::Null).with(Kind::Placement, "bare",
            json!({"name": "Bare", "sizes": ["300x250", "728x90"], "formats": ["html"]}));
        for (at, (aim, own, priority, locale, sizes)) in lines.into_iter().enumerate() {
            let mut component = json!({"slot": "headline", "value": "Now", "flight": {"end": NOW.plus(20 * HOUR)}});
            let mut patch = json!({"priority": priority, "placements": ["bare"]});
            let set = |of: &mut Value, name: &str, value: Value| {
                if !value.is_null() {
                    of[name] = value;
                }
            };
            set(&mut patch, "targeting", aim);
            set(&mut component, "targeting", own);
            set(&mut component, "locale", locale);
            let template = |size: &str| (size.to_owned(), template(json!({"format": "html", "size": size})));
            let templates: Value = ["300x250", "728x90"][sizes / 2..=sizes.div_ceil(2).min(1)].iter().map(|size| template(size)).collect();
            catalogue = catalogue.both(&format!("ad-{at}"), patch, json!({"templates": templates, "components": {"c": component}}));
        }
        let snapshot = catalogue.build();
        let context = Context { country, ..Context::default() };
        let beside = Circumstances { context, zone: zone.clone() };
        let to = NOW.plus(36 * HOUR);
        let changes = changes(&snapshot, &zone, NOW, to);
        for size in ["300x250", "728x90"] {
            for language in [None, "de-CH".parse().ok(), "en".parse().ok()] {
                for segment in [None, snapshot.rules.ix(&"vip".parse().expect("a key"))] {
                    let cell = Cell { placement: "bare".parse().expect("an id"), format: Format::Html,
                        size: size.parse().ok(), language: language.clone(), segment };
                    let found = stretches(&snapshot, &cell, &beside, &changes, to);
                    for hour in 0..36 {
                        let now = NOW.plus(hour * HOUR + HOUR / 2);
                        let told = &found.iter().find(|one| (one.from..one.to).contains(&now)).expect("a stretch").found;
                        let (mut shown, mut bare) = (BTreeSet::new(), BTreeSet::new());
                        for person in 1..=30 {
                            let forced = segment.iter().map(|_| "vip").collect::<Vec<_>>();
                            let mut request = of(person, json!({"preview": {"force_segments": forced},
                                "placements": [{"id": "a", "placement": "bare", "sizes": [size], "formats": ["html"]}]}));
                            request.context = Context { language: language.clone(), local: LocalTime::of(now, &zone), ..beside.context.clone() };
                            let decision = decide(&snapshot, &Learned::default(), &request, &known(None), Purposes::ALL, now, SEED);
                            let decision = decision.expect("a decision");
                            let Some(showing) = &decision.placements[0][0].shown else { continue };
                            let id = showing.creative.id.clone();
                            if showing.choice.iter().all(Option::is_none) {
                                bare.insert(id.clone());
                            }
                            shown.insert((showing.campaign.as_ref().map(|campaign| campaign.id.clone()), id));
                        }
                        let expected: BTreeSet<_> = match &told.serving {
                            Serving::Campaigns(all) => all.iter().flat_map(|(campaign, creatives)| {
                                creatives.iter().map(|creative| (Some(campaign.clone()), creative.clone()))
                            }).collect(),
                            Serving::House(id) => [(None, id.clone())].into(),
                            Serving::Nothing => BTreeSet::new(),
                        };
                        prop_assert_eq!(&shown, &expected, "{} {:?} {}", size, language, now);
                        prop_assert_eq!(bare.iter().collect::<Vec<_>>(), told.only_defaults.iter().collect::<Vec<_>>(), "{}", now);
                    }
                }
            }
        }
    }
}

const HOUR: i64 = 3_600_000;

fn aims() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        Value::Null,
        Value::Null,
        json!({"segment": "vip"}),
        json!({"context": "hour", "gte": 18}),
        json!({"not": {"context": "daypart", "eq": "night"}}),
        json!({"context": "weekday", "eq": "tuesday"}),
        json!({"context": "geo.country", "eq": "DE"}),
        json!({"any": [{"segment": "vip"}, {"context": "hour", "lt": 9}]}),
    ])
}

fn locales() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![Value::Null, json!("de"), json!("de-CH"), json!("en")])
}

fn countries() -> impl Strategy<Value = Option<Country>> {
    proptest::sample::select(vec![None, "DE".parse().ok(), "FR".parse().ok()])
}

#[test]
fn an_evening_campaign_without_a_flight_serves_in_the_evening() {
    let aim = json!({"targeting": {"context": "hour", "gte": 18}});
    let snapshot = Catalogue::new().both("late", aim, json!({})).build();
    let cell = Cell {
        placement: "top".parse().expect("an id"),
        format: Format::Html,
        size: "300x250".parse().ok(),
        language: None,
        segment: None,
    };
    let zone = TimeZoneDatabase::bundled().get("America/New_York").expect("a zone");
    let (beside, to) = (Circumstances { zone, ..Circumstances::default() }, NOW.plus(2 * DAY));
    let changes = changes(&snapshot, &beside.zone, NOW, to);
    // at 7 in the morning in New York; from 18 to 24 on both days
    let served: Vec<_> = stretches(&snapshot, &cell, &beside, &changes, to)
        .into_iter()
        .filter(|one| matches!(one.found.serving, Serving::Campaigns(_)))
        .map(|one| ((one.from.0 - NOW.0) / HOUR, (one.to.0 - NOW.0) / HOUR))
        .collect();
    assert_eq!(served, [(11, 17), (35, 41)]);
}
