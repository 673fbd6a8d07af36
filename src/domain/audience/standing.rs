//! What followers were told of one person's memberships, and when to look at the person again
//! because time alone may change one of them. Decisions never depend on it.

use super::{
    codec::{CodecError, Unpack, put_varint},
    compile::{RuleSet, SegmentIx, SegmentKind},
    context::Context,
    evaluate::{Evaluator, UserView},
    transition::Transition,
    user::UserState,
};
use crate::domain::{
    ids::{NameHash, Uid},
    values::Millis,
};

/// What was told of a person's dynamic segments. Static ones are told as their lists change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Segments that the person is told to be in, sorted.
    inside: Vec<NameHash>,
    /// Segments where the person stands otherwise than told, each since when, sorted.
    waiting: Vec<(NameHash, Millis)>,
}

/// What one look at a person found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is to be told.
    pub moved: Vec<Transition>,
    /// When to look again, if nothing else changes; `None`: time alone changes nothing.
    pub again: Option<Millis>,
}

impl Standing {
    /// The version of the packed form.
    const FORMAT: u8 = 1;

    /// A person of whom everything that holds at `at` counts as told.
    #[must_use]
    pub fn of(uid: Uid, state: Option<&UserState>, rules: &RuleSet, at: Millis) -> Self {
        let context = Context::default();
        let mut evaluator = Evaluator::new(rules, view(uid, state), &context, at);
        let held = dynamic(rules).filter(|_| state.is_some());
        let mut inside: Vec<_> = held.filter(|ix| evaluator.segment(*ix).holds()).map(|ix| rules.hash(ix)).collect();
        inside.sort_unstable();
        Self { inside, waiting: Vec::new() }
    }

    /// Takes back what was taken for told: of segments that the person moved in, what they were before is
    /// what was told.
    pub fn take_back(&mut self, moved: &[Transition], rules: &RuleSet) {
        for one in moved {
            let name = rules.hash(one.segment);
            match (self.inside.binary_search(&name), one.entered) {
                (Ok(place), true) => drop(self.inside.remove(place)),
                (Err(place), false) => self.inside.insert(place, name),
                _ => {}
            }
        }
    }

    /// Looks at the person as they are at `at`: what differs from what was told, and has for as long
    /// as the segment's rule asks (`enter_hold`, `exit_hold`), is told. Without a state it is nobody,
    /// who is in nothing. Segments that are gone are forgotten.
    pub fn look(&mut self, uid: Uid, state: Option<&UserState>, rules: &RuleSet, at: Millis) -> Look {
        let context = Context::default();
        let mut evaluator = Evaluator::new(rules, view(uid, state), &context, at);
        let (mut inside, mut waiting, mut moved, mut again) = (Vec::new(), Vec::new(), Vec::new(), Millis::NEVER);
        for segment in dynamic(rules) {
            let (name, verdict) = (rules.hash(segment), evaluator.segment(segment));
            // nobody is in anything before there is anything to know of them
            let holds = state.is_some() && verdict.holds();
            let mut told = self.inside.binary_search(&name).is_ok();
            if let (Some(_), Some(until)) = (state, verdict.valid_until()) {
                again = again.min(until);
            }
            if holds != told {
                let since = self.waiting.binary_search_by_key(&name, |one| one.0);
                let since = since.map_or(at, |place| self.waiting[place].1);
                let hold = if holds { rules.holds(segment).enter } else { rules.holds(segment).exit };
                // who is gone is told to be gone at once
                let due = if state.is_some() { Millis(since.0.saturating_add(hold.millis())) } else { at };
                if due <= at {
                    told = holds;
                    moved.push(Transition { segment, entered: holds });
                } else {
                    waiting.push((name, since));
                    again = again.min(due);
                }
            }
            if told {
                inside.push(name);
            }
        }
        inside.sort_unstable();
        waiting.sort_unstable();
        *self = Self { inside, waiting };
        Look { moved, again: (again != Millis::NEVER).then_some(again) }
    }

    /// The packed form: equal ones have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::FORMAT];
        put_varint(&mut out, self.inside.len() as u64);
        for name in &self.inside {
            out.extend_from_slice(&name.0.to_le_bytes());
        }
        for (name, since) in &self.waiting {
            out.extend_from_slice(&name.0.to_le_bytes());
            out.extend_from_slice(&since.0.to_le_bytes());
        }
        out
    }

    /// What [`Standing::encode`] packed.
    ///
    /// # Errors
    /// When the bytes are of another version or break its form.
    pub fn decode(packed: &[u8]) -> Result<Self, CodecError> {
        let mut from = Unpack(packed);
        match from.byte()? {
            Self::FORMAT => {}
            other => return Err(CodecError::Version(other)),
        }
        let mut standing = Self::default();
        for _ in 0..from.count(8)? {
            standing.inside.push(NameHash(from.word()?));
        }
        while !from.is_empty() {
            standing.waiting.push((NameHash(from.word()?), Millis(from.word()?.cast_signed())));
        }
        let sorted = standing.inside.is_sorted() && standing.waiting.is_sorted_by_key(|one| one.0);
        if sorted { Ok(standing) } else { Err(CodecError::Malformed("names are out of order")) }
    }
}

/// Until when a person who stays as they are at `at` stands as they do to one segment, if time alone
/// may change that.
#[must_use]
pub fn until(uid: Uid, state: Option<&UserState>, rules: &RuleSet, segment: SegmentIx, at: Millis) -> Option<Millis> {
    Evaluator::new(rules, view(uid, state), &Context::default(), at).segment(segment).valid_until()
}

fn view(uid: Uid, state: Option<&UserState>) -> UserView<'_> {
    UserView { uid: Some(uid), state, ..UserView::default() }
}

/// The segments whose members are found by a rule.
pub fn dynamic(rules: &RuleSet) -> impl Iterator<Item = SegmentIx> {
    rules.all().filter(|ix| rules.kind(*ix) == SegmentKind::Dynamic)
}

/// The segments whose members are listed.
pub fn listed(rules: &RuleSet) -> impl Iterator<Item = SegmentIx> {
    rules.all().filter(|ix| rules.kind(*ix) == SegmentKind::Static)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::{activity::Event, rule::SegmentRule};

    const MINUTE: i64 = 60_000;
    const WHO: Uid = Uid(1);

    fn rules(rules: &[(&str, Value)]) -> RuleSet {
        let parsed = rules.iter().map(|(key, rule)| {
            (key.parse().expect("a key"), SegmentRule::parse(rule).unwrap_or_else(|faults| panic!("{faults:?}")))
        });
        let (rules, refused) = RuleSet::build(&parsed.collect::<Vec<_>>());
        assert_eq!(refused, []);
        rules
    }

    /// Whoever viewed something in the last hour.
    fn viewers(enter: Option<&str>, exit: Option<&str>) -> RuleSet {
        let node = json!({"event": "view", "count": {"gte": 1}, "in": {"last": "PT1H"}});
        let mut rule = json!({"v": 1, "kind": "dynamic", "match": node});
        for (name, hold) in [("enter_hold", enter), ("exit_hold", exit)] {
            if let Some(hold) = hold {
                rule[name] = json!(hold);
            }
        }
        rules(&[("viewers", rule)])
    }

    fn person(rules: &RuleSet, viewed: &[i64]) -> UserState {
        let mut state = UserState::default();
        for minute in viewed {
            let at = Millis(minute * MINUTE);
            let event = Event { name: "view".parse().expect("a name"), at, properties: serde_json::Map::new() };
            state.absorb(rules.streams(), &event);
        }
        state
    }

    /// What is told of somebody who is looked at at some minutes, and when they are looked at next.
    fn looks(rules: &RuleSet, viewed: &[i64], minutes: &[i64]) -> Vec<(Vec<bool>, Option<i64>)> {
        let (state, mut standing) = (person(rules, viewed), Standing::default());
        let look = |minute: &i64| {
            let look = standing.look(WHO, Some(&state), rules, Millis(minute * MINUTE));
            assert_eq!(Standing::decode(&standing.encode()), Ok(standing.clone()));
            let moved = look.moved.iter().map(|one| one.entered).collect();
            (moved, look.again.map(|again| again.0 / MINUTE))
        };
        minutes.iter().map(look).collect()
    }

    #[test]
    fn time_alone_ends_a_membership_and_that_is_told_once() {
        let told = looks(&viewers(None, None), &[0], &[0, 30, 60, 61]);
        assert_eq!(told, [(vec![true], Some(60)), (vec![], Some(60)), (vec![false], None), (vec![], None)]);
    }

    #[test]
    fn what_did_not_last_is_never_told() {
        let damped = viewers(Some("PT10M"), Some("PT20M"));
        let told = looks(&damped, &[0], &[0, 9, 10, 60, 79, 80]);
        let waits = |until| (vec![], Some(until));
        assert_eq!(told, [waits(10), waits(10), (vec![true], Some(60)), waits(80), waits(80), (vec![false], None)]);

        // out again before it was told that they are in
        let brief = viewers(Some("PT2H"), None);
        assert_eq!(looks(&brief, &[0], &[0, 60, 120]), [waits(60), (vec![], None), (vec![], None)]);
    }

    #[test]
    fn who_comes_back_before_they_are_told_to_have_left_never_left() {
        let damped = viewers(None, Some("PT20M"));
        let (old, mut standing) = (person(&damped, &[0]), Standing::default());
        let mut look = |state: Option<&UserState>, minute: i64| {
            let look = standing.look(WHO, state, &damped, Millis(minute * MINUTE));
            look.moved.iter().map(|one| one.entered).collect::<Vec<_>>()
        };
        assert_eq!(look(Some(&old), 0), [true]);
        assert_eq!(look(Some(&old), 70), [false; 0]);
        let back = person(&damped, &[0, 75]);
        assert_eq!(look(Some(&back), 75), [false; 0]);
        assert_eq!(look(Some(&back), 95), [false; 0]);
        assert_eq!(look(None, 96), [false], "who is gone is out at once");
    }

    #[test]
    fn segments_that_are_gone_are_forgotten_and_listed_ones_are_not_asked() {
        let both = rules(&[
            ("crm", json!({"v": 1, "kind": "static"})),
            ("strangers", json!({"v": 1, "kind": "dynamic", "match": {"not": {"list": "crm"}}})),
        ]);
        let state = UserState::default();
        let mut standing = Standing::of(WHO, Some(&state), &both, Millis(0));
        assert_eq!(standing.inside, [NameHash::of("strangers")]);
        assert_eq!(listed(&both).map(|ix| both.key(ix).to_string()).collect::<Vec<_>>(), ["crm"]);
        let look = standing.look(WHO, Some(&state), &rules(&[]), Millis(0));
        assert_eq!((look.moved, standing), (vec![], Standing::default()));
        assert_eq!(Standing::of(WHO, None, &both, Millis(0)), Standing::default(), "nobody is in nothing");
    }

    #[test]
    fn packed_bytes_that_break_the_form_are_refused() {
        assert_eq!(Standing::decode(&[]), Err(CodecError::Truncated));
        assert_eq!(Standing::decode(&[9]), Err(CodecError::Version(9)));
        assert_eq!(Standing::decode(&[1, 2, 0]), Err(CodecError::Truncated));
        let upside_down = Standing { inside: vec![NameHash(2), NameHash(1)], waiting: vec![] };
        assert!(matches!(Standing::decode(&upside_down.encode()), Err(CodecError::Malformed(_))));
    }

    proptest! {
        /// Whoever follows what is told knows, at every look without holds, who is in; and looking
        /// only when due, a minute of which nothing is told changes nothing.
        #[test]
        fn followers_know_who_is_in(viewed in prop::collection::vec(0_i64..200, 0..6)) {
            let plain = viewers(None, None);
            let state = person(&plain, &viewed);
            let segment = plain.all().next().expect("a segment");
            let (mut standing, mut known, mut due) = (Standing::default(), false, Some(0));
            // everything has happened by then
            for minute in 200..400_i64 {
                let now = Millis(minute * MINUTE);
                if due.is_some_and(|due| due <= minute) {
                    let look = standing.look(WHO, Some(&state), &plain, now);
                    for moved in look.moved {
                        prop_assert_ne!(moved.entered, known, "told twice");
                        known = moved.entered;
                    }
                    due = look.again.map(|again| (again.0 + MINUTE - 1) / MINUTE);
                }
                let user = view(WHO, Some(&state));
                let holds = Evaluator::new(&plain, user, &Context::default(), now).segment(segment).holds();
                prop_assert_eq!(known, holds, "minute {}", minute);
            }
        }
    }
}
