//! What keeps parts of a creative from ever being shown, or a click from counting, though the
//! creative can be published.

use std::collections::HashMap;

use super::{
    creative::Creative,
    document::{CampaignStatus, RevisionDoc},
    gate::Surroundings,
};
use crate::domain::{
    audience::{lint::never, rule::Targeting},
    creative::{Combinations, ComponentStatus, Pairing},
    values::{Format, Millis},
    violation::{Violation, Violations, token},
};

/// Components of a slot of which what works can be learned.
pub const MOST_LEARNED: usize = 1_024;

/// What an author should look at, with pointers into the revision.
#[must_use]
pub fn warnings(creative: &Creative, doc: &RevisionDoc, beside: &Surroundings, now: Millis) -> Vec<Violation> {
    let mut found = Violations::new();
    dead(creative, &mut found);
    alike(doc, now, &mut found);
    gaps(creative, now, &mut found);
    for slot in creative.slots.iter().filter(|slot| slot.candidates.len() > MOST_LEARNED) {
        let (name, count, most) = (&slot.name, slot.candidates.len(), MOST_LEARNED);
        let detail =
            format!("slot {name} has {count} components; where rotation is optimized, {most} of them are shown");
        found.push("/components", "too_many_components", detail);
    }
    for (at, variant) in creative.variants.iter().enumerate() {
        if variant.shape.0 == Format::Html && !variant.template.counts_clicks() {
            let detail = format!("template {} has no {{{{click_url}}}}, so no click on it is counted", variant.id);
            found.push(format!("/creative/templates/{at}"), "missing_click_url", detail);
        }
    }
    for unfit in beside.unfit(creative, now) {
        found.push("/creative/templates", "size_mismatch", unfit.detail());
    }
    if beside.showing(&creative.id).all(|(_, campaign)| campaign.status == CampaignStatus::Archived) {
        found.push("", "in_no_campaign", "no campaign shows it yet");
    }
    found.into_vec()
}

/// Components that the pairing rules never allow, and slots that they leave to the defaults.
fn dead(creative: &Creative, found: &mut Violations) {
    let candidates: Vec<Vec<u32>> =
        creative.slots.iter().map(|slot| slot.candidates.iter().copied().chain([Pairing::DEFAULT]).collect()).collect();
    let filled: Vec<Vec<u32>> = creative
        .slots
        .iter()
        .map(|slot| if slot.candidates.is_empty() { vec![Pairing::DEFAULT] } else { slot.candidates.clone() })
        .collect();
    if creative.pairing.is_empty() {
        return;
    }
    let possible = |options: &[Vec<u32>]| Combinations::possible(&creative.pairing, options);
    let (Ok(ever), Ok(whole)) = (possible(&candidates), possible(&filled)) else {
        let detail = "the pairing rules hang together in too many ways to tell which components they leave";
        return found.push("/creative/pairing", "too_intricate", detail);
    };
    for (at, component) in creative.components.iter().enumerate() {
        let pointer = format!("/components/{}", token(component.id.as_str()));
        if !ever[component.slot].contains(&(at as u32)) {
            found.push(pointer, "dead_component", format!("the pairing rules never allow component {}", component.id));
        } else if !whole[component.slot].contains(&(at as u32)) {
            let detail =
                format!("the pairing rules allow component {} only beside the default of another slot", component.id);
            found.push(pointer, "only_beside_defaults", detail);
        }
    }
}

/// Components that can never be shown by themselves, and those that say the same as another.
fn alike(doc: &RevisionDoc, now: Millis, found: &mut Violations) {
    let mut seen = HashMap::new();
    for (id, component) in &doc.components {
        let pointer = format!("/components/{}", token(id.as_str()));
        if component.status == ComponentStatus::Paused {
            continue;
        }
        if component.flight.and_then(|flight| flight.end).is_some_and(|end| end <= now) {
            found.push(&pointer, "expired_component", format!("the flight of component {id} is over"));
            continue;
        }
        let node = component.targeting.as_ref().and_then(|targeting| Targeting::parse(targeting).ok());
        if node.is_some_and(|node| never(&node)) {
            found.push(
                format!("{pointer}/targeting"),
                "never_true",
                format!("nobody can ever meet the targeting of {id}"),
            );
        }
        let shown = (
            component.slot.as_str(),
            component.value.to_string(),
            component.targeting.as_ref().map(ToString::to_string),
            component.locale.as_ref().map(|locale| locale.as_str()),
        );
        if let Some(first) = seen.insert(shown, id) {
            found.push(
                pointer,
                "same_component",
                format!("component {id} shows the same to the same people as {first}"),
            );
        }
    }
}

/// Times at which a slot with components has none in flight.
fn gaps(creative: &Creative, now: Millis, found: &mut Violations) {
    for slot in creative.slots.iter() {
        let flights = slot.candidates.iter().map(|at| &creative.components[*at as usize]).filter(|one| one.active);
        let mut flights: Vec<(Millis, Millis)> = flights
            .map(|one| (one.start.unwrap_or(now), one.end.unwrap_or(Millis::NEVER)))
            .filter(|(_, end)| *end > now)
            .collect();
        flights.sort_unstable();
        let mut covered = now;
        for (start, end) in flights {
            if start > covered {
                let detail = format!("between {covered} and {start} no component of slot {} is in flight", slot.name);
                found.push("/components", "flight_gap", detail);
            }
            covered = covered.max(end);
        }
        if covered > now && covered < Millis::NEVER {
            let detail = format!("from {covered} on no component of slot {} is in flight", slot.name);
            found.push("/components", "flight_ends", detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        audience::compile::RuleSet,
        catalog::{compile::Source, document::AdvertiserDoc, templates::Templates},
    };

    const NOW: Millis = Millis(1_790_000_000_000);
    const DAY: i64 = 86_400_000;

    fn advertiser() -> AdvertiserDoc {
        serde_json::from_value(json!({"name": "Shop", "domain": "shop.example"})).expect("an advertiser")
    }

    /// A creative of one template, changed by `patch`.
    fn revision(slots: Value, markup: &str, components: Value, pairing: Value) -> (Creative, RevisionDoc) {
        let body = format!("<body><a href=\"{{{{click_url}}}}\">x</a>{markup}</body>");
        let doc: RevisionDoc =
            serde_json::from_value(json!({"revision": 1, "published_at": NOW, "components": components,
            "templates": {"t": {"name": "T", "format": "html", "size": "300x250", "slots": slots, "markup": body}},
            "creative": {"name": "C", "advertiser": "shop", "templates": ["t"], "pairing": pairing}}))
            .expect("a revision");
        let creative = Creative::compile(Source {
            id: "c".parse().expect("an id"),
            doc: &doc,
            advertiser: Some(&advertiser()),
            rules: &RuleSet::default(),
            public_url: "https://t.example",
            known: &mut Templates::default(),
        });
        (creative.expect("a creative"), doc)
    }

    /// Two text slots with two components each.
    fn paired(pairing: Value) -> (Creative, RevisionDoc) {
        let text = json!({"type": "text", "default": "-"});
        let component = |slot: &str, n: u8| json!({"slot": slot, "value": format!("{slot} {n}")});
        let components = json!({"a-0": component("a", 0), "a-1": component("a", 1), "b-0": component("b", 0), "b-1": component("b", 1)});
        revision(json!({"a": text, "b": text}), "{{a}} {{b}}", components, pairing)
    }

    /// A campaign that shows `c` and `d`, and a placement, with some members changed, with what `d` is drafted as.
    fn around(campaign: Value, placement: Value, d: Option<&str>) -> Surroundings {
        let with = |mut doc: Value, members: Value| {
            members.as_object().into_iter().flatten().for_each(|(name, value)| doc[name] = value.clone());
            doc
        };
        let shown = json!({"name": "K", "advertiser": "shop", "status": "active", "creatives": ["c", "d"],
            "placements": ["p"], "landing_url": "https://shop.example/"});
        let campaign = serde_json::from_value(with(shown, campaign)).expect("a campaign");
        let sizes = json!({"name": "P", "sizes": ["300x250", "160x600"], "formats": ["html"]});
        let placement = serde_json::from_value(with(sizes, placement)).expect("a placement");
        let d = d.map(|size| ("d".parse().expect("an id"), vec![(Format::Html, size.parse().ok())]));
        Surroundings::new(
            [("shop".parse().expect("an id"), advertiser())].into(),
            vec![("k".into(), campaign)],
            [("p".parse().expect("an id"), placement)].into(),
            d.into_iter().collect(),
        )
    }

    fn beside() -> Surroundings {
        around(json!({}), json!({}), None)
    }

    fn told(found: Vec<Violation>) -> Vec<(String, &'static str)> {
        found.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn warned((creative, doc): &(Creative, RevisionDoc)) -> Vec<(String, &'static str)> {
        told(warnings(creative, doc, &beside(), NOW))
    }

    fn refused((creative, doc): &(Creative, RevisionDoc), beside: &Surroundings) -> Vec<(String, &'static str)> {
        told(beside.refusals(creative, doc, NOW))
    }

    #[test]
    fn components_that_the_rules_leave_out_are_told() {
        let dead = paired(json!([{"forbid": ["a-0", "b-0"]}, {"group": ["a-0", "b-0"]}]));
        assert_eq!(
            warned(&dead),
            [("/components/a-0".to_owned(), "dead_component"), ("/components/b-0".to_owned(), "dead_component")]
        );
        let beside_default = paired(json!([{"forbid": ["a-0", "b-0"]}, {"forbid": ["a-0", "b-1"]}]));
        assert_eq!(warned(&beside_default), [("/components/a-0".to_owned(), "only_beside_defaults")]);
        assert_eq!(warned(&paired(json!([{"forbid": ["a-0", "b-0"]}]))), []);
    }

    #[test]
    fn rules_that_leave_nothing_whole_are_refused() {
        let all = json!([{"forbid": ["a-0", "b-0"]}, {"forbid": ["a-0", "b-1"]}, {"forbid": ["a-1", "b-0"]},
            {"forbid": ["a-1", "b-1"]}]);
        assert_eq!(refused(&paired(all.clone()), &beside()), [("/creative/pairing".to_owned(), "unsatisfiable")]);
        let mut three = all;
        three.as_array_mut().expect("rules").pop();
        let (creative, doc) = paired(three);
        assert_eq!(beside().refusals(&creative, &doc, NOW), []);
        // what is over cannot be shown whole either
        let (mut gone, doc) = (creative, doc);
        std::sync::Arc::make_mut(&mut gone.components)[1].end = Some(NOW);
        assert_eq!(told(beside().refusals(&gone, &doc, NOW)), [("/creative/pairing".to_owned(), "unsatisfiable")]);
    }

    #[test]
    fn sizes_that_nothing_of_a_campaign_covers_are_refused() {
        let ad = paired(json!([]));
        assert_eq!(refused(&ad, &beside()), [], "one of the placement's sizes is enough");
        let tall = json!({"sizes": ["160x600"]});
        let mismatch = [("/creative/templates".to_owned(), "size_mismatch")];
        assert_eq!(refused(&ad, &around(json!({}), tall.clone(), None)), mismatch);
        // another creative of the campaign is there for it
        let shared = around(json!({}), tall.clone(), Some("160x600"));
        assert_eq!(refused(&ad, &shared), []);
        assert_eq!(told(warnings(&ad.0, &ad.1, &shared, NOW)), mismatch);
        let over = around(json!({"flight": {"end": NOW}}), tall.clone(), None);
        assert_eq!(refused(&ad, &over), []);
        let elsewhere = json!({"creatives": ["d"]});
        assert_eq!(refused(&ad, &around(elsewhere.clone(), tall, None)), []);
        let house = json!({"sizes": ["160x600"], "house_creative": "c"});
        assert_eq!(refused(&ad, &around(elsewhere, house, None)), mismatch);
    }

    #[test]
    fn every_link_leads_to_the_advertiser() {
        let url = |url: &str| json!({"type": "url", "default": url});
        let product = |link: &str| {
            json!([{"id": "1", "title": "One", "link": "https://shop.example/1", "image": {"src": "https://cdn.example/1.png", "alt": "1"}},
                {"id": "2", "title": "Two", "link": link, "image": {"src": "https://cdn.example/2.png", "alt": "2"}}])
        };
        let slots = json!({"to": url("https://shop.example/"), "film": url("https://cdn.example/f.mp4"),
            "goods": {"type": "product", "default": product("https://evil.example/2")}});
        let markup = "<a href=\"{{to}}\">x</a><video src=\"{{film}}\"></video>\n<a href=\"https://elsewhere.example/?a=1\">y</a>\
            {{#each goods}}<a href=\"{{link}}\">{{title}}</a>{{/each}}<a href=\"https://www.shop.example/{{to}}\">z</a>";
        let components = json!({"fine": {"slot": "to", "value": "https://www.shop.example/x"},
            "away": {"slot": "to", "value": "https://evil.example/"}, "film": {"slot": "film", "value": "https://cdn.example/g.mp4"},
            "goods": {"slot": "goods", "value": product("https://shop.example.evil.example/")}});
        let ad = revision(slots, markup, components, json!([]));
        let refused = beside().refusals(&ad.0, &ad.1, NOW);
        assert!(refused.iter().all(|fault| fault.code == "landing_host_not_allowed"), "{refused:?}");
        let pointers: Vec<_> = refused.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/templates/t/markup",
                "/templates/t/slots/goods/default/1/link",
                "/components/goods/value/1/link",
                "/components/away/value",
            ]
        );
        assert!(refused[0].detail.starts_with("line 2, column 4: elsewhere.example"), "{}", refused[0].detail);
    }

    #[test]
    fn gaps_and_aims_at_nobody_are_told() {
        let part = |from: Option<i64>, to: Option<i64>| {
            let mut flight = json!({});
            for (name, days) in [("start", from), ("end", to)] {
                if let Some(days) = days {
                    flight[name] = json!(NOW.plus(days * DAY));
                }
            }
            flight
        };
        let components = json!({"one": {"slot": "a", "value": "1", "flight": part(None, Some(2))},
            "two": {"slot": "a", "value": "2", "flight": part(Some(3), Some(5))},
            "gone": {"slot": "a", "value": "3", "flight": part(None, Some(-1))},
            "nobody": {"slot": "b", "value": "4", "targeting": {"all": [{"trait": "age", "lt": 18}, {"trait": "age", "gte": 65}]}}});
        let text = json!({"type": "text", "default": "-"});
        let found = warned(&revision(json!({"a": text, "b": text}), "{{a}} {{b}}", components, json!([])));
        for expected in [
            ("/components/gone", "expired_component"),
            ("/components/nobody/targeting", "never_true"),
            ("/components", "flight_gap"),
            ("/components", "flight_ends"),
        ] {
            assert!(found.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} in {found:?}");
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
