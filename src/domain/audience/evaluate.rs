//! The answer of compiled conditions for one person, one request and one instant.

use std::borrow::Cow;

use jiff::tz::TimeZone;

use super::{
    compile::{Check, Condition, Group, RuleSet, SegmentIx, Share, TraitCheck},
    context::Context,
    node::ContextCondition,
    predicate::Test,
    profile::{Trait, Traits},
    rule::Zone,
    user::UserState,
    value::{View, zone},
    verdict::Verdict,
};
use crate::domain::{
    ids::{NameHash, Uid},
    values::Millis,
};

/// What is known of the person. Everything may be missing: then conditions on it are false.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserView<'a> {
    /// Who they are, for samples. `None` without a key or without consent.
    pub uid: Option<Uid>,
    /// What is kept of them.
    pub state: Option<&'a UserState>,
    /// Traits that came with the request; each goes before the one kept.
    pub request_traits: Option<&'a Traits>,
    /// Segments decided elsewhere: given in the request, forced by a preview, or recorded. They
    /// go before rules and lists.
    pub forced: &'a [(SegmentIx, Verdict)],
    /// Whether `forced` is all there is: the person is in no other segment.
    pub only_forced: bool,
}

impl<'a> UserView<'a> {
    /// The trait called `name`.
    #[must_use]
    pub fn held(&self, name: NameHash) -> Option<&'a Trait> {
        let given = self.request_traits.and_then(|traits| traits.get(name));
        given.or_else(|| self.state.and_then(|state| state.traits.get(name)))
    }
}

/// Evaluates conditions, each segment at most once.
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) user: UserView<'a>,
    pub(super) context: &'a Context,
    pub(super) now: Millis,
    thorough: bool,
    /// Per segment, one more than its place in `evaluated`; 0 when it was not asked yet.
    places: Vec<u32>,
    evaluated: Vec<(SegmentIx, Verdict)>,
}

impl<'a> Evaluator<'a> {
    /// An evaluator at `now`. It stops at the first condition that settles the answer, so
    /// [`Verdict::valid_until`] may be earlier than it could be.
    #[must_use]
    pub fn new(rules: &'a RuleSet, user: UserView<'a>, context: &'a Context, now: Millis) -> Self {
        let (places, evaluated) = (vec![0; rules.len()], Vec::with_capacity(32));
        Self { rules, user, context, now, thorough: false, places, evaluated }
    }

    /// Asks every condition even when the answer is settled, for the longest stretch that can be
    /// told.
    #[must_use]
    pub fn thorough(mut self) -> Self {
        self.thorough = true;
        self
    }

    /// Whether the person is in a segment.
    ///
    /// # Panics
    /// When `ix` is of another, larger set of rules.
    pub fn segment(&mut self, ix: SegmentIx) -> Verdict {
        if let Some(place) = self.places[ix.0 as usize].checked_sub(1) {
            return self.evaluated[place as usize].1;
        }
        let verdict = match self.forced(ix) {
            Some(verdict) => verdict,
            None => self.member(ix),
        };
        self.evaluated.push((ix, verdict));
        self.places[ix.0 as usize] = self.evaluated.len() as u32;
        verdict
    }

    /// Whether a targeting rule holds. It must be bound to this evaluator's rules.
    pub fn condition(&mut self, condition: &Condition) -> Verdict {
        self.check(&condition.check, &TimeZone::UTC)
    }

    /// Every segment asked so far, directly or by a rule, in the order in which they were settled.
    #[must_use]
    pub fn evaluated(&self) -> &[(SegmentIx, Verdict)] {
        &self.evaluated
    }

    pub(super) fn forced(&self, ix: SegmentIx) -> Option<Verdict> {
        let given = self.user.forced.iter().find(|(forced, _)| *forced == ix).map(|(_, verdict)| *verdict);
        given.or(self.user.only_forced.then_some(Verdict::NEVER))
    }

    fn member(&mut self, ix: SegmentIx) -> Verdict {
        let segment = self.rules.segment(ix);
        match &segment.rule {
            Some((check, zone)) => {
                let zone = self.zone(zone);
                self.check(check, &zone)
            }
            None => match self.user.state.and_then(|state| state.lists.expiry(segment.list)) {
                None => Verdict::NEVER,
                Some(Millis::NEVER) => Verdict::ALWAYS,
                Some(expiry) => !Verdict::from(expiry, self.now),
            },
        }
    }

    pub(super) fn zone(&self, of: &'a Zone) -> Cow<'a, TimeZone> {
        match of {
            Zone::Named(named) => Cow::Borrowed(named),
            Zone::Profile => {
                let held = self.user.held(NameHash::of("tz")).map(|held| held.value.view());
                let own = if let Some(View::Text(name)) = held { zone(name) } else { None };
                Cow::Owned(own.unwrap_or(TimeZone::UTC))
            }
        }
    }

    pub(super) fn check(&mut self, check: &Check, zone: &TimeZone) -> Verdict {
        match check {
            Check::All(group) => self.group(group, zone, true),
            Check::Any(group) => self.group(group, zone, false),
            Check::Not(check) => !self.check(check, zone),
            Check::Trait(check) => self.held(check, zone),
            Check::Context(condition) => self.circumstance(condition),
            Check::Segment(ix) => self.segment(*ix),
            Check::Sample(share) => match self.user.uid {
                Some(uid) => Verdict::constant((share.from..share.to).contains(&share.bucket(uid))),
                None => Verdict::NEVER,
            },
        }
    }

    /// The conjunction (`all`) or disjunction of a group.
    fn group(&mut self, group: &Group, zone: &TimeZone, all: bool) -> Verdict {
        let mut whole = Verdict::constant(all);
        for (at, &child) in group.order.iter().enumerate() {
            let verdict = self.check(&group.children[usize::from(child)], zone);
            whole = match (at, all) {
                (0, _) => verdict,
                (_, true) => whole.and(verdict),
                (_, false) => whole.or(verdict),
            };
            if whole.holds != all && !self.thorough {
                break;
            }
        }
        whole
    }

    fn held(&self, check: &TraitCheck, zone: &TimeZone) -> Verdict {
        let Some(held) = self.user.held(check.hash) else {
            let unknown = |test: &Test| *test == Test::Exists(false);
            return Verdict::constant(check.max_age.is_none() && check.tests.iter().all(unknown));
        };
        let mut whole = match check.max_age {
            Some(age) => !Verdict::from(held.set_at.plus(age.millis()), self.now),
            None => Verdict::ALWAYS,
        };
        for test in &check.tests {
            if !whole.holds && !self.thorough {
                break;
            }
            whole = whole.and(test.verdict(Some(held.value.view()), self.now, zone));
        }
        // A clock that is ahead elsewhere must not make `since` lie in the future.
        whole.not_before(held.set_at.min(self.now))
    }

    fn circumstance(&self, condition: &ContextCondition) -> Verdict {
        let value = self.context.view(&condition.path);
        let holds = condition.tests.iter().all(|test| test.verdict(value, self.now, &TimeZone::UTC).holds);
        match self.context.local.filter(|_| condition.path.moves()) {
            Some(local) => Verdict { holds, since: Some(local.since), valid_until: Some(local.until) },
            None => Verdict::constant(holds),
        }
    }
}

impl Share {
    /// Which of 10,000 equal parts of everyone `uid` falls into. Stable for good: two rounds of
    /// the SplitMix64 finaliser over the two halves of the id, begun with the salt.
    pub(super) fn bucket(&self, uid: Uid) -> u16 {
        let mix = |word: u64| {
            let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let mixed = mix(mix(self.salt.0 ^ (uid.0 >> 64) as u64) ^ uid.0 as u64);
        ((u128::from(mixed) * 10_000) >> 64) as u16
    }
}
