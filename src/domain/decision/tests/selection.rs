//! Which campaign wins: the index against asking everybody, weights, caps, groups, and consent.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use super::{
    Catalogue, DAY, NOW, SEED, answers, campaigns, decided, known, of, person,
    random::{self, Dice},
    reasons, request, winner,
};
use crate::domain::{
    catalog::{document::CampaignStatus, snapshot::Snapshot},
    consent::Purposes,
    decision::{
        decide::{check_explained, decide},
        decided::{Decision, Person},
        eligibility::{Ask, Seen, screen},
        exclusion::Exclusion,
        request::{AdRequest, Explain, Seed},
        rotation::{Scope, Sticky},
        standing::{FallbackLevel, Standing},
    },
    ids::{DecisionId, NameHash},
};

/// A small catalogue and one of which the index has to find the few among many.
fn size(dice: &mut Dice) -> u64 {
    if dice.one_in(2) { dice.below(12) } else { 40 + dice.below(120) }
}

fn same_choice(one: &Decision, other: &Decision) -> bool {
    let told = |decision: &Decision| format!("{:?}", shown(decision));
    told(one) == told(other)
}

/// Everything but ids.
fn shown(decision: &Decision) -> Vec<impl std::fmt::Debug + PartialEq> {
    let items = decision.placements.iter().flatten();
    items
        .map(|item| {
            let showing = item.shown.as_ref().map(|showing| {
                let campaign = showing.campaign.as_ref().map(|campaign| campaign.id.clone());
                (campaign, showing.creative.id.clone(), showing.variant, showing.choice.clone(), showing.reason)
            });
            (showing, item.fallback, item.degraded.clone())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The explanation asks every campaign without the index, so what it finds must be what the
    /// index found: the only campaign that nothing excludes is the one shown, of the first tier
    /// with an eligible one, with the least draw there.
    #[test]
    fn the_index_loses_nobody_and_everybody_has_one_reason(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let count = size(&mut dice);
        let snapshot = random::catalogue(&mut dice, count).build();
        for _ in 0..4 {
            let mut asked = random::ask(&mut dice, count);
            asked.preview = None;
            let somebody = random::somebody(&mut dice, count);
            let person = Person { reserved: &somebody.reserved, standing: somebody.standing, counted: somebody.standing != Standing::Contextual, ..known(somebody.state.as_ref()) };
            let quiet = decided(&snapshot, &asked, &person);
            asked.explain = *[Explain::Summary, Explain::Full].get(dice.below(2) as usize).expect("a level");
            let told = decided(&snapshot, &asked, &person);
            prop_assert!(same_choice(&quiet, &told));
            let items = told.placements.iter().flatten().zip(&told.explanation);
            for (number, (item, explanation)) in items.enumerate() {
                let showing = item.shown.as_ref().filter(|_| item.fallback < FallbackLevel::Default);
                let won = showing.and_then(|showing| showing.campaign.as_ref());
                prop_assert_eq!(explanation.candidates.len(), snapshot.lines.len());
                let free: Vec<_> = explanation.candidates.iter().filter(|c| c.excluded.is_none()).map(|c| &c.campaign).collect();
                prop_assert_eq!(free, won.iter().map(|campaign| &campaign.id).collect::<Vec<_>>());
                let placement = asked.placements.iter().position(|p| p.id == explanation.placement).expect("a placement");
                if asked.placements[placement].candidate.is_some() {
                    continue;
                }
                let eligible = |excluded: &Option<Exclusion>| {
                    matches!(excluded, None | Some(Exclusion::Rotation { .. } | Exclusion::LowerPriority { .. }))
                };
                let eligible: Vec<_> = explanation.candidates.iter().filter(|c| eligible(&c.excluded)).collect();
                prop_assert_eq!(eligible.is_empty(), won.is_none(), "item {}", number);
                let first = eligible.iter().map(|candidate| candidate.tier).min();
                prop_assert_eq!(won.map(|campaign| campaign.priority), first);
                if let Some(uid) = asked.person {
                    let draw = |id: &crate::domain::ids::CampaignId| {
                        let campaign = &snapshot.lines[snapshot.line(id).expect("a line")].campaign;
                        Sticky(uid.0).draw(Scope::CAMPAIGN, campaign.hash.0, campaign.weight)
                    };
                    let tier = eligible.iter().filter(|candidate| Some(candidate.tier) == first);
                    let least = tier.min_by(|a, b| draw(&a.campaign).total_cmp(&draw(&b.campaign))).map(|c| &c.campaign);
                    prop_assert_eq!(won.map(|campaign| &campaign.id), least);
                }
            }
        }
    }

    #[test]
    fn what_is_shown_keeps_every_promise(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let count = size(&mut dice);
        let snapshot = random::catalogue(&mut dice, count).build();
        for _ in 0..4 {
            let asked = random::ask(&mut dice, count);
            let somebody = random::somebody(&mut dice, count);
            let person = Person { reserved: &somebody.reserved, standing: somebody.standing, counted: somebody.standing != Standing::Contextual, ..known(somebody.state.as_ref()) };
            let decision = decided(&snapshot, &asked, &person);
            let mut before: Vec<(usize, &crate::domain::catalog::campaign::Campaign)> = Vec::new();
            for (at, (items, placement)) in decision.placements.iter().zip(&asked.placements).enumerate() {
                prop_assert_eq!(items.len(), usize::from(placement.count));
                for item in items {
                    let Some(showing) = &item.shown else {
                        prop_assert_eq!(item.fallback, FallbackLevel::None);
                        continue;
                    };
                    prop_assert!(!placement.blocked_creatives.contains(&showing.creative.id));
                    let (_, size) = showing.creative.variants[showing.variant].shape;
                    let registered = placement.placement.as_ref().map(|id| &snapshot.placements[id]);
                    let sizes = if placement.sizes.is_empty() { registered.map_or(&[][..], |r| &r.sizes) } else { &placement.sizes };
                    prop_assert!(size.is_none_or(|size| sizes.contains(&size)));
                    prop_assert!(showing.size.is_none_or(|size| sizes.contains(&size)));
                    let slots = &showing.creative.slots;
                    let choice: Vec<_> = (0..slots.len()).map(|slot| {
                        let chosen = showing.creative.chosen(slot, &showing.choice).map(|chosen| &chosen.id);
                        let at = chosen.and_then(|id| showing.creative.components.iter().position(|c| c.id == *id));
                        Some(at.map_or(crate::domain::creative::Pairing::DEFAULT, |at| at as u32))
                    }).collect();
                    prop_assert!(showing.creative.pairing.allows(&choice), "an illegal combination");
                    let Some(campaign) = &showing.campaign else { continue };
                    if item.fallback == FallbackLevel::Default {
                        continue;
                    }
                    prop_assert_eq!(campaign.status, CampaignStatus::Active);
                    prop_assert_eq!(campaign.flight.grounded(NOW), None);
                    prop_assert!(campaign.creatives.contains(&showing.creative.id));
                    let there = placement.placement.as_ref().map(|id| campaign.placements.contains(id));
                    let there = there.unwrap_or(placement.candidate.is_some());
                    prop_assert!(campaign.placements.is_empty() || there);
                    if let (Some(floor), None) = (placement.floor, &placement.candidate) {
                        let cpm = campaign.cpm.expect("a price");
                        prop_assert!(cpm.currency == floor.currency && cpm.amount >= floor.amount);
                    }
                    for cap in &campaign.caps {
                        let since = NOW.plus(-cap.per.millis());
                        let seen = somebody.state.as_ref().map_or(0, |s| s.caps.count_since(campaign.hash, since)) as usize;
                        let soon = somebody.reserved.iter().filter(|(of, at)| *of == campaign.hash && *at > since).count();
                        let here = before.iter().filter(|(_, shown)| shown.hash == campaign.hash).count();
                        let counted = asked.person.is_some() && somebody.standing != Standing::Contextual;
                        let serves = campaign.uncapped_users == crate::domain::catalog::document::UncappedUsers::Serve;
                        let below = seen + soon + here < cap.impressions as usize;
                        prop_assert!((counted && below) || (!counted && serves));
                    }
                    for (other, shown) in &before {
                        prop_assert!(shown.id != campaign.id || *other != at, "twice in a placement");
                        let group = campaign.exclusive_group.is_some() && campaign.exclusive_group == shown.exclusive_group;
                        prop_assert!(!group || shown.id == campaign.id, "two of a group");
                    }
                    before.push((at, campaign));
                }
                // what a fallback shows of a campaign counts too, but was not chosen
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes_and_a_seed_moves_only_names(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let snapshot = random::catalogue(&mut dice, 20).build();
        let mut asked = random::ask(&mut dice, 20);
        asked.person = asked.person.or(of(3, json!({})).person);
        let somebody = random::somebody(&mut dice, 20);
        let person = known(somebody.state.as_ref());
        let decide = |seed| decide(&snapshot, &crate::domain::decision::learned::Learned::default(), &asked, &person, Purposes::ALL, NOW, seed).expect("a request");
        let (one, again, other) = (decide(SEED), decide(SEED), decide(Seed([9; 16])));
        prop_assert_eq!(format!("{one:?}"), format!("{again:?}"));
        let bytes = |decision| answers(&snapshot, &asked, decision, Purposes::ALL);
        prop_assert_eq!(bytes(&one), bytes(&again));
        prop_assert!(same_choice(&one, &other));
        let ids = |decision: &Decision| -> HashSet<DecisionId> { decision.placements.iter().flatten().map(|i| i.id).collect() };
        prop_assert!(ids(&one).is_disjoint(&ids(&other)));
        prop_assert_eq!(ids(&one).len(), one.placements.iter().flatten().count());
    }

    /// Without consent nothing about the person reaches the answer: neither their profile nor what
    /// the request says of them.
    #[test]
    fn without_consent_the_answer_does_not_depend_on_the_person(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let snapshot = random::catalogue(&mut dice, 40).build();
        let asked = AdRequest { preview: None, ..random::ask(&mut dice, 40) };
        let somebody = random::somebody(&mut dice, 40);
        let told = |asked: &AdRequest, person: &Person<'_>| {
            let decision = decide(&snapshot, &crate::domain::decision::learned::Learned::default(), asked, person, Purposes::NONE, NOW, SEED).expect("a request");
            (answers(&snapshot, asked, &decision, Purposes::NONE), decision.segments(&snapshot.rules))
        };
        let nobody = AdRequest { person: None, traits: Default::default(), segments: Vec::new(), ..asked.clone() };
        let standing = Standing::Contextual;
        let bare = told(&nobody, &Person { standing, counted: false, ..known(None) });
        let profiled = Person { standing, reserved: &somebody.reserved, ..known(somebody.state.as_ref()) };
        prop_assert_eq!(told(&asked, &profiled), bare);
    }
}

#[test]
fn campaigns_that_ended_since_are_asked_when_a_preview_looks_back() {
    let end = NOW.plus(-DAY);
    let snapshot = Catalogue::new().both("past", json!({"flight": {"end": end}}), json!({})).build();
    assert_eq!(winner(&snapshot, &request(json!({}))), "-");
    let then = decide(
        &snapshot,
        &crate::domain::decision::learned::Learned::default(),
        &request(json!({})),
        &known(None),
        Purposes::ALL,
        end.plus(-1),
        SEED,
    )
    .expect("a request");
    assert_eq!(campaigns(&then), ["past"]);
}

#[test]
fn the_first_tier_with_an_eligible_campaign_serves() {
    let snapshot = Catalogue::new()
        .both("low", json!({"priority": 9, "weight": 10_000}), json!({}))
        .both("high", json!({"priority": 2, "weight": 1}), json!({}))
        .both("higher", json!({"priority": 1, "targeting": {"context": "geo.country", "eq": "FR"}}), json!({}))
        .build();
    assert_eq!(winner(&snapshot, &request(json!({}))), "high");
    assert_eq!(winner(&snapshot, &request(json!({"context": {"country": "FR"}}))), "higher");
    let told = decided(&snapshot, &request(json!({"explain": "summary"})), &known(None));
    assert_eq!(
        reasons(&told.explanation[0]),
        [
            ("higher".into(), "targeting".into()),
            ("high".into(), String::new()),
            ("low".into(), "lower_priority".into())
        ]
    );
}

const PEOPLE: u128 = 4_000;

fn shares(snapshot: &Snapshot) -> Vec<String> {
    (0..PEOPLE).map(|n| winner(snapshot, &of(n, json!({})))).collect()
}

#[test]
fn campaigns_of_a_tier_share_people_by_weight_and_moving_a_weight_moves_few() {
    let with = |weight: u32| {
        Catalogue::new()
            .both("a", json!({"weight": 100}), json!({}))
            .both("b", json!({"weight": weight}), json!({}))
            .build()
    };
    let (before, after) = (shares(&with(300)), shares(&with(360)));
    let share = before.iter().filter(|id| *id == "b").count() as f64 / PEOPLE as f64;
    assert!((share - 0.75).abs() < 5.0 * (0.75 * 0.25 / PEOPLE as f64).sqrt(), "{share}");
    let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    // 300 of 400 becomes 360 of 460: 3.3 % of all people
    assert!((60..200).contains(&moved.len()), "{}", moved.len());
    assert!(moved.iter().all(|(_, to)| *to == "b"), "nobody leaves the campaign that gained");
}

#[test]
fn one_request_keeps_to_caps_groups_and_one_campaign_per_placement() {
    let capped = |cap: u32| json!({"frequency_caps": [{"impressions": cap, "per": "P1D"}]});
    let snapshot = Catalogue::new()
        .both("a", capped(2), json!({}))
        .both("b", json!({"priority": 9, "exclusive_group": "g"}), json!({}))
        .both("c", json!({"priority": 10, "exclusive_group": "g"}), json!({}))
        .build();
    let thrice = json!({"placements": [{"id": "x", "placement": "top", "count": 3}, {"id": "y", "placement": "top", "count": 2},
        {"id": "z", "placement": "top"}], "explain": "summary"});
    let state = person(json!({}), &[], &[]);
    let decision = decided(&snapshot, &of(1, thrice.clone()), &known(Some(&state)));
    assert_eq!(campaigns(&decision), ["a", "b", "-", "a", "b", "b"], "a twice in all, c never beside b");
    let told = |item: usize| {
        let all = reasons(&decision.explanation[item]);
        all.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>()
    };
    assert_eq!(told(2), ["already_shown", "already_shown", "exclusive_group"]);
    assert_eq!(told(5), ["frequency_cap", "", "exclusive_group"]);
    let seen = person(json!({}), &[], &[("a", DAY - 1)]);
    assert_eq!(
        campaigns(&decided(&snapshot, &of(1, thrice.clone()), &known(Some(&seen)))),
        ["a", "b", "-", "b", "-", "b"]
    );
    let passed = person(json!({}), &[], &[("a", DAY)]);
    assert_eq!(campaigns(&decided(&snapshot, &of(1, thrice.clone()), &known(Some(&passed)))), campaigns(&decision));
    let reserved = [(NameHash::of("a"), NOW), (NameHash::of("a"), NOW.plus(-10))];
    let under_way = Person { reserved: &reserved, ..known(Some(&state)) };
    assert_eq!(campaigns(&decided(&snapshot, &of(1, thrice), &under_way)), ["b", "-", "-", "b", "-", "b"]);
}

#[test]
fn capped_campaigns_serve_people_who_cannot_be_counted_only_where_they_say_so() {
    let cap = json!([{"impressions": 1, "per": "P1D"}]);
    let snapshot = Catalogue::new()
        .both("skips", json!({"frequency_caps": cap}), json!({}))
        .both("serves", json!({"priority": 9, "frequency_caps": cap, "uncapped_users": "serve"}), json!({}))
        .build();
    let asked = json!({"explain": "summary"});
    let state = person(json!({}), &[], &[]);
    let shown = |request: &AdRequest, person: &Person<'_>, purposes| {
        let decision = decide(
            &snapshot,
            &crate::domain::decision::learned::Learned::default(),
            request,
            person,
            purposes,
            NOW,
            SEED,
        )
        .expect("a request");
        let reason = reasons(&decision.explanation[0]).remove(0).1;
        (campaigns(&decision)[0].to_owned(), reason)
    };
    let uncountable = ("serves".to_owned(), "not_countable".to_owned());
    assert_eq!(shown(&of(1, asked.clone()), &known(Some(&state)), Purposes::ALL).0, "skips");
    assert_eq!(
        shown(&of(1, asked.clone()), &known(None), Purposes::ALL).0,
        "skips",
        "a person whom the store does not know"
    );
    assert_eq!(shown(&request(asked.clone()), &known(None), Purposes::ALL), uncountable, "nobody named");
    assert_eq!(shown(&of(1, asked.clone()), &known(Some(&state)), Purposes::NONE), uncountable, "no consent");
    let basic = Purposes { basic: true, ..Purposes::NONE };
    let counters = Person { standing: Standing::Contextual, ..known(Some(&state)) };
    assert_eq!(shown(&of(1, asked.clone()), &counters, basic).0, "skips", "counters alone are enough");
    let seen = person(json!({}), &[], &[("skips", 0), ("serves", 0)]);
    let over = Person { standing: Standing::Contextual, ..known(Some(&seen)) };
    assert_eq!(shown(&of(1, asked.clone()), &over, basic).0, "-", "and are enforced");
    let unread = Person { standing: Standing::Contextual, counted: false, ..known(None) };
    assert_eq!(shown(&of(1, asked), &unread, Purposes::ALL), uncountable, "the counters could not be read");
}

#[test]
fn blocks_floors_sizes_and_placements_exclude() {
    let dollars = json!({"cpm": {"amount": "2.00", "currency": "USD"}});
    let snapshot = Catalogue::new()
        .both("rich", dollars.clone(), json!({}))
        .both("euros", json!({"priority": 9, "cpm": {"amount": "9.00", "currency": "EUR"}}), json!({}))
        .both("poor", json!({"priority": 10, "cpm": {"amount": "1.999999", "currency": "USD"}}), json!({}))
        .both("free", json!({"priority": 11}), json!({}))
        .both("elsewhere", json!({"priority": 12, "placements": ["top"]}), json!({}))
        .build();
    let told = |placement: serde_json::Value| {
        let decision =
            decided(&snapshot, &request(json!({"placements": [placement], "explain": "summary"})), &known(None));
        reasons(&decision.explanation[0]).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>()
    };
    let floor = json!({"amount": "2", "currency": "USD"});
    let below = "below_floor";
    assert_eq!(told(json!({"id": "a", "sizes": ["300x250"], "floor": floor})), ["", below, below, below, "placement"]);
    assert_eq!(
        told(json!({"id": "a", "sizes": ["300x250"], "blocked_creatives": ["rich", "euros"]})),
        ["blocked_creative", "blocked_creative", "", "lower_priority", "placement"]
    );
    assert_eq!(told(json!({"id": "a", "placement": "top", "sizes": ["728x90"]})), vec!["no_matching_size"; 5]);
    assert_eq!(told(json!({"id": "a", "placement": "top", "formats": ["native"]})), vec!["no_matching_size"; 5]);
    assert_eq!(told(json!({"id": "a", "sizes": ["728x90"]}))[4], "placement");
}

#[test]
fn screening_is_what_the_explanation_tells() {
    let snapshot = Catalogue::new().both("a", json!({"status": "paused"}), json!({})).build();
    let asked = request(json!({"explain": "summary"}));
    let ask = Ask {
        placement: 0,
        position: 0,
        request: &asked.placements[0],
        registered: None,
        formats: &[],
        sizes: &[],
        pinned: false,
        now: NOW,
    };
    let seen = Seen { countable: false, state: None, reserved: &[], shown: Vec::new() };
    let mut evaluator =
        crate::domain::audience::evaluate::Evaluator::new(&snapshot.rules, Default::default(), &asked.context, NOW);
    let found = screen(&snapshot.lines[0], &ask, &mut evaluator, &seen);
    assert_eq!(found, Some(Exclusion::Status { status: CampaignStatus::Paused }));
    assert_eq!(decided(&snapshot, &asked, &known(None)).explanation[0].candidates[0].excluded, found);
}

#[test]
fn every_unknown_placement_is_named() {
    let asked = request(
        json!({"placements": [{"id": "a", "placement": "nope"}, {"id": "b", "placement": "top"}, {"id": "c", "placement": "never"}]}),
    );
    let snapshot = Catalogue::new().build();
    let faults = decide(
        &snapshot,
        &crate::domain::decision::learned::Learned::default(),
        &asked,
        &known(None),
        Purposes::ALL,
        NOW,
        SEED,
    )
    .expect_err("two faults");
    let pointers: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
    assert_eq!(
        pointers,
        [("/placements/0/placement", "unknown_placement"), ("/placements/2/placement", "unknown_placement")]
    );
}

#[test]
fn an_explanation_has_a_sane_size() {
    let many = (0..500).fold(Catalogue::new().creative("c", json!({})), |all, number| {
        all.campaign(&format!("c-{number}"), json!({"creatives": ["c"]}))
    });
    let snapshot = many.build();
    let asked = |explain: &str, count: usize| {
        let placements: Vec<_> = (0..count).map(|at| json!({"id": at.to_string(), "count": 10})).collect();
        check_explained(&snapshot, &request(json!({"placements": placements, "explain": explain})))
    };
    assert_eq!(asked("full", 40), Ok(()));
    assert_eq!(asked("none", 50), Ok(()));
    let faults = asked("summary", 41).expect_err("205,000 campaigns");
    assert_eq!((faults.len(), faults[0].pointer.as_str(), faults[0].code), (1, "/explain", "too_much"));
}
