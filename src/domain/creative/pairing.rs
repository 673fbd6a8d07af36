//! Which components go together: rules compiled over indexes, for choosing slot by slot.

use std::collections::BTreeSet;

use super::documents::PairingRule;
use crate::domain::{
    ids::ComponentId,
    violation::{Violation, Violations},
};

/// A component in its slot, both by index.
pub(super) type Pick = (u16, u32);

/// Compiled pairing rules of a creative.
///
/// A choice has one entry per slot: `None` while the slot is open, else the index of a component,
/// or [`Pairing::DEFAULT`] for the slot's default, which no rule names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairing {
    pub(super) rules: Vec<Rule>,
    /// Slots of which only some choices are allowed, and these. Counting leaves them out.
    only: Option<(Vec<u16>, Vec<Vec<u32>>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// With the pick, each of these slots takes one of these components.
    Require(Pick, Vec<(u16, Vec<u32>)>),
    /// Not all of them.
    Forbid(Vec<Pick>),
    /// All of them or none.
    Group(Vec<Pick>),
}

impl Pairing {
    /// The choice of a slot's own default.
    pub const DEFAULT: u32 = u32::MAX;

    /// Compiles the rules of a creative. `find` gives the index of a component's slot and of the
    /// component itself.
    ///
    /// # Errors
    /// Unknown components, lists of the wrong length and rules that can never apply because two of
    /// their components fill the same slot; pointers are into the list of rules.
    pub fn compile(
        rules: &[PairingRule],
        find: impl Fn(&ComponentId) -> Option<(u16, u32)>,
    ) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let rules = rules.iter().enumerate().filter_map(|(at, rule)| match rule {
            PairingRule::Require(rule) => {
                let when =
                    picks(&format!("/{at}/require/if"), std::slice::from_ref(&rule.when), true, &find, &mut faults)?;
                let at = format!("/{at}/require/then");
                limits(&at, rule.then.len(), 1..=64, &mut faults);
                let then = picks(&at, &rule.then, false, &find, &mut faults)?;
                let mut slots: Vec<(u16, Vec<u32>)> = Vec::new();
                for (slot, component) in then {
                    match slots.iter_mut().find(|(known, _)| *known == slot) {
                        _ if slot == when[0].0 => {
                            faults.push(&at, "same_slot", "a component cannot ask for one that fills its own slot");
                        }
                        Some((_, components)) => components.push(component),
                        None => slots.push((slot, vec![component])),
                    }
                }
                Some(Rule::Require(when[0], slots))
            }
            PairingRule::Forbid(ids) | PairingRule::Group(ids) => {
                let forbid = matches!(rule, PairingRule::Forbid(_));
                let at = format!("/{at}/{}", if forbid { "forbid" } else { "group" });
                limits(&at, ids.len(), 2..=8, &mut faults);
                let picks = picks(&at, ids, false, &find, &mut faults)?;
                if (1..picks.len()).any(|i| picks[..i].iter().any(|(slot, _)| *slot == picks[i].0)) {
                    faults.push(&at, "same_slot", "two of these fill the same slot, so they are never together anyway");
                }
                Some(if forbid { Rule::Forbid(picks) } else { Rule::Group(picks) })
            }
        });
        let rules = rules.collect();
        faults.into_result().map(|()| Self { rules, only: None })
    }

    /// The same rules, and of the choices for some slots only these.
    #[must_use]
    pub fn with_only(&self, slots: Vec<u16>, choices: Vec<Vec<u32>>) -> Self {
        Self { rules: self.rules.clone(), only: Some((slots, choices)) }
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.only.is_none()
    }

    /// Whether no rule is broken yet. While slots are open, `false` means that no way of filling
    /// them helps against one of the rules; a full choice is legal exactly when this is `true`.
    #[must_use]
    pub fn allows(&self, chosen: &[Option<u32>]) -> bool {
        let at = |slot: &u16| chosen.get(usize::from(*slot)).copied().flatten();
        let fits = |(slots, choices): &(Vec<u16>, Vec<Vec<u32>>)| {
            let fits =
                |choice: &Vec<u32>| slots.iter().zip(choice).all(|(slot, of)| at(slot).is_none_or(|own| own == *of));
            choices.iter().any(fits)
        };
        self.rules.iter().all(|rule| rule.allows(chosen)) && self.only.as_ref().is_none_or(fits)
    }

    /// Whether any rule names a component of this slot.
    #[must_use]
    pub fn names(&self, slot: usize) -> bool {
        let only = self.only.iter().flat_map(|(slots, _)| slots);
        self.rules.iter().any(|rule| rule.names(slot)) || only.into_iter().any(|of| usize::from(*of) == slot)
    }

    /// Every component that a rule names, with its slot.
    #[must_use]
    pub fn named(&self) -> BTreeSet<(u16, u32)> {
        let all = self.rules.iter().flat_map(|rule| match rule {
            Rule::Require(when, then) => {
                let then = then.iter().flat_map(|(slot, of)| of.iter().map(|component| (*slot, *component)));
                then.chain([*when]).collect::<Vec<_>>()
            }
            Rule::Forbid(picks) | Rule::Group(picks) => picks.clone(),
        });
        all.collect()
    }

    /// Drops components that no legal choice among the candidates holds because what a rule asks
    /// for beside them is not among the candidates.
    pub fn narrow(&self, candidates: &mut [Vec<u32>]) {
        let has = |candidates: &[Vec<u32>], (slot, component): Pick| {
            candidates.get(usize::from(slot)).is_some_and(|known| known.contains(&component))
        };
        loop {
            let mut dropped: Vec<Pick> = Vec::new();
            for rule in &self.rules {
                match rule {
                    Rule::Require(when, then) => {
                        let met = |(slot, of): &(u16, Vec<u32>)| of.iter().any(|of| has(candidates, (*slot, *of)));
                        if has(candidates, *when) && !then.iter().all(met) {
                            dropped.push(*when);
                        }
                    }
                    Rule::Group(picks) if !picks.iter().all(|pick| has(candidates, *pick)) => {
                        dropped.extend(picks.iter().filter(|pick| has(candidates, **pick)));
                    }
                    Rule::Group(_) | Rule::Forbid(_) => {}
                }
            }
            if dropped.is_empty() {
                return;
            }
            for (slot, component) in dropped {
                candidates[usize::from(slot)].retain(|known| *known != component);
            }
        }
    }
}

impl PairingRule {
    /// Every component that it names.
    pub fn names(&self) -> impl Iterator<Item = &ComponentId> {
        let (when, others) = match self {
            Self::Require(rule) => (Some(&rule.when), &rule.then),
            Self::Forbid(all) | Self::Group(all) => (None, all),
        };
        when.into_iter().chain(others)
    }

    /// What it asks: the component that asks, whether others are forbidden, and those; the same in whatever order it
    /// names them.
    #[must_use]
    pub fn asks(&self) -> (Option<&ComponentId>, bool, BTreeSet<&ComponentId>) {
        match self {
            Self::Require(rule) => (Some(&rule.when), false, rule.then.iter().collect()),
            Self::Forbid(all) => (None, true, all.iter().collect()),
            Self::Group(all) => (None, false, all.iter().collect()),
        }
    }
}

impl Rule {
    fn allows(&self, chosen: &[Option<u32>]) -> bool {
        let at = |slot: u16| chosen.get(usize::from(slot)).copied().flatten();
        match self {
            Self::Require((slot, component), then) => {
                at(*slot) != Some(*component)
                    || then.iter().all(|(slot, components)| at(*slot).is_none_or(|chosen| components.contains(&chosen)))
            }
            Self::Forbid(picks) => !picks.iter().all(|&(slot, component)| at(slot) == Some(component)),
            Self::Group(picks) => {
                let some = picks.iter().any(|&(slot, component)| at(slot) == Some(component));
                !some || picks.iter().all(|&(slot, component)| at(slot).is_none_or(|chosen| chosen == component))
            }
        }
    }

    fn names(&self, slot: usize) -> bool {
        self.slots().any(|named| named == slot)
    }

    /// The slots that it names, each once.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        let (when, then, picks) = match self {
            Self::Require((when, _), then) => (Some(*when), &then[..], &[][..]),
            Self::Forbid(picks) | Self::Group(picks) => (None, &[][..], &picks[..]),
        };
        let named =
            when.into_iter().chain(then.iter().map(|(slot, _)| *slot)).chain(picks.iter().map(|(slot, _)| *slot));
        named.map(usize::from)
    }
}

fn limits(at: &str, length: usize, allowed: std::ops::RangeInclusive<usize>, faults: &mut Violations) {
    if !allowed.contains(&length) {
        let (least, most) = (allowed.start(), allowed.end());
        faults.push(at, "out_of_range", format!("must name {least} to {most} components, not {length}"));
    }
}

/// The picks of all `ids`; `None` with a fault for each that is unknown. `single` names the id at
/// `at` itself.
fn picks(
    at: &str,
    ids: &[ComponentId],
    single: bool,
    find: &impl Fn(&ComponentId) -> Option<Pick>,
    faults: &mut Violations,
) -> Option<Vec<Pick>> {
    let found = ids.iter().enumerate().filter_map(|(index, id)| {
        let pick = find(id);
        if pick.is_none() {
            let at = if single { at.to_owned() } else { format!("{at}/{index}") };
            faults.push(at, "unknown_component", format!("the creative has no component {id}"));
        }
        pick
    });
    let found: Vec<_> = found.collect();
    (found.len() == ids.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Component `s-c` is component `c` of slot `s`; there are 4 slots of 3 components.
    fn find(id: &ComponentId) -> Option<Pick> {
        let (slot, component) = id.as_str().split_once('-')?;
        let (slot, component) = (slot.parse().ok()?, component.parse().ok()?);
        (slot < 4 && component < 3).then_some((slot, component))
    }

    fn compile(rules: serde_json::Value) -> Result<Pairing, Vec<(String, &'static str)>> {
        let rules: Vec<PairingRule> = serde_json::from_value(rules).expect("rules");
        Pairing::compile(&rules, find).map_err(|faults| faults.into_iter().map(|f| (f.pointer, f.code)).collect())
    }

    /// The meaning of the rules, as the documents put it, for a full choice.
    fn legal(rules: &[PairingRule], chosen: &[u32]) -> bool {
        let has = |id: &ComponentId| find(id).is_some_and(|(slot, component)| chosen[usize::from(slot)] == component);
        rules.iter().all(|rule| match rule {
            PairingRule::Require(rule) => {
                !has(&rule.when)
                    || rule.then.iter().all(|one| {
                        let slot = find(one).map(|(slot, _)| slot);
                        rule.then.iter().any(|other| find(other).map(|(slot, _)| slot) == slot && has(other))
                    })
            }
            PairingRule::Forbid(ids) => !ids.iter().all(has),
            PairingRule::Group(ids) => ids.iter().all(has) || !ids.iter().any(has),
        })
    }

    fn every_choice() -> Vec<Vec<u32>> {
        let options = [0, 1, 2, Pairing::DEFAULT];
        (0..256).map(|n| (0..4).map(|slot| options[n >> (2 * slot) & 3]).collect()).collect()
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(
            compile(
                json!([{"forbid": ["0-0", "9-0"]}, {"require": {"if": "9-9", "then": ["1-0"]}}, {"group": ["0-0", "0-1"]},
                           {"require": {"if": "0-0", "then": ["0-1"]}}, {"forbid": ["0-0"]}])
            ),
            Err(vec![
                ("/0/forbid/1".into(), "unknown_component"),
                ("/1/require/if".into(), "unknown_component"),
                ("/2/group".into(), "same_slot"),
                ("/3/require/then".into(), "same_slot"),
                ("/4/forbid".into(), "out_of_range"),
            ])
        );
    }

    #[test]
    fn an_offer_keeps_its_legal_text() {
        let pairing = compile(json!([{"group": ["0-1", "1-1"]}, {"forbid": ["0-0", "2-0"]}])).expect("rules");
        assert!(pairing.allows(&[Some(1), None, None, None]));
        assert!(!pairing.allows(&[Some(1), Some(0), None, None]));
        assert!(!pairing.allows(&[Some(1), Some(Pairing::DEFAULT), None, None]));
        assert!(!pairing.allows(&[Some(0), None, Some(0), None]));
    }

    fn ids(slots: Vec<usize>, components: Vec<u32>) -> Vec<ComponentId> {
        slots.into_iter().zip(components).map(|(s, c)| format!("{s}-{c}").parse().expect("an id")).collect()
    }

    fn rule() -> impl Strategy<Value = PairingRule> {
        let slots = proptest::sample::subsequence(vec![0_usize, 1, 2, 3], 2..=4);
        (0..3, slots, proptest::collection::vec(0_u32..3, 4), 0_u32..3).prop_map(|(kind, slots, components, extra)| {
            let mut ids = ids(slots, components);
            match kind {
                0 => PairingRule::Forbid(ids),
                1 => PairingRule::Group(ids),
                _ => {
                    let when = ids.remove(0);
                    let slot = ids[0].as_str().split_once('-').expect("an id").0.to_owned();
                    ids.push(format!("{slot}-{extra}").parse().expect("an id"));
                    PairingRule::Require(super::super::documents::RequireRule { when, then: ids })
                }
            }
        })
    }

    proptest! {
        #[test]
        fn full_choices_mean_what_the_rules_say(rules in proptest::collection::vec(rule(), 0..6)) {
            let pairing = Pairing::compile(&rules, find).expect("rules");
            for choice in every_choice() {
                let full: Vec<_> = choice.iter().copied().map(Some).collect();
                prop_assert_eq!(pairing.allows(&full), legal(&rules, &choice));
            }
        }

        #[test]
        fn a_partial_choice_that_can_be_completed_is_allowed(
            rules in proptest::collection::vec(rule(), 0..6),
            partial in proptest::collection::vec(proptest::option::of(0_u32..3), 4),
        ) {
            let pairing = Pairing::compile(&rules, find).expect("rules");
            let fits = |choice: &Vec<u32>| partial.iter().zip(choice).all(|(open, c)| open.is_none_or(|open| open == *c));
            let completable = every_choice().iter().any(|choice| fits(choice) && legal(&rules, choice));
            prop_assert!(pairing.allows(&partial) || !completable);
        }

        #[test]
        fn narrowing_loses_no_legal_choice(
            rules in proptest::collection::vec(rule(), 0..8),
            candidates in proptest::collection::vec(proptest::sample::subsequence(vec![0_u32, 1, 2], 0..=3), 4),
        ) {
            let pairing = Pairing::compile(&rules, find).expect("rules");
            let mut narrowed = candidates.clone();
            pairing.narrow(&mut narrowed);
            let within = |choice: &Vec<u32>, of: &[Vec<u32>]| {
                choice.iter().zip(of).all(|(c, of)| *c == Pairing::DEFAULT || of.contains(c))
            };
            for choice in every_choice().iter().filter(|choice| legal(&rules, choice) && within(choice, &candidates)) {
                prop_assert!(within(choice, &narrowed), "{choice:?}");
            }
        }
    }
}
