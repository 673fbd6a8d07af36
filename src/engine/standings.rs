//! From what is noted of a person to what followers are told of them, and when to look again.

use std::sync::Arc;

use super::unpack::unpack;
use crate::{
    domain::{
        audience::{
            caps::CapRing,
            compile::{RuleSet, SegmentIx},
            standing::{Standing, dynamic, listed, until},
            transition::{Transition, transitions},
            user::{Listed, Lists, UserState},
        },
        ids::{NameHash, SegmentKey, Uid},
        values::{Millis, Span},
    },
    ports::{CrowdRow, StandingRow, StandingStep, TransitionRow},
};

/// A change to a person that is durable.
#[derive(Debug, Clone)]
pub struct Note {
    /// Number of the account.
    pub account: u32,
    /// Who.
    pub uid: Uid,
    /// When.
    pub at: Millis,
    /// The version of their profile before and after, where that is what changed.
    pub versions: Option<(i64, i64)>,
    /// What they were before.
    pub before: Before,
}

impl Note {
    /// The packed profile of somebody was written: of one version and then of another, `(before, after)` each.
    #[must_use]
    pub fn written(
        account: u32,
        uid: Uid,
        at: Millis,
        versions: (i64, i64),
        (before, after): (Vec<u8>, Vec<u8>),
    ) -> Self {
        Self { account, uid, at, versions: Some(versions), before: Before::Packed(before, after) }
    }

    /// About how much memory it takes.
    pub(super) fn kib(&self) -> u32 {
        let state = |side: &Option<Box<UserState>>| side.as_ref().map_or(0, |state| state.heap_bytes());
        let bytes = match &self.before {
            Before::Packed(before, after) => before.len() + after.len(),
            Before::Listed { .. } => 0,
            Before::Erased(before, told) => before.heap_bytes() + told.as_ref().map_or(0, Vec::len),
            Before::Whole(before, told, after) => state(before) + state(after) + told.as_ref().map_or(0, Vec::len),
        };
        u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX)
    }
}

/// What a person was before a change.
#[derive(Debug, Clone)]
pub enum Before {
    /// Their packed profile before and after; their lists stayed as they were.
    Packed(Vec<u8>, Vec<u8>),
    /// Whether they were on one list, and until when. Told is what that did to `others`; the list
    /// itself is told already.
    Listed {
        /// The list.
        list: SegmentKey,
        /// What they were on it.
        was: Option<Option<Millis>>,
        /// The segments that rest on it.
        others: Arc<[SegmentKey]>,
    },
    /// All of them, and what was told of them, if that was kept: they are erased.
    Erased(Box<UserState>, Option<Vec<u8>>),
    /// All of them before, what was told of them, if that was kept and is gone now, and all of them after; none: nobody.
    Whole(Option<Box<UserState>>, Option<Vec<u8>>, Option<Box<UserState>>),
}

/// What the store has of a person.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What is kept of them; none: nothing, or nothing any more.
    pub person: Option<CrowdRow>,
    /// What was told of them; none: time alone moves them nowhere, so nothing is kept of it.
    pub standing: Option<StandingRow>,
}

/// For how long a row is kept that time alone moves nowhere any more, in milliseconds.
const LATE: i64 = 300_000;
/// Instants looked at for one person at a time: one who is due again at once is left for later.
const LOOKS: usize = 64;

/// What notes of a person, or none where time alone passed, come to at `now`; none: nothing is to be
/// told nor kept.
pub(super) fn advance(
    rules: &RuleSet,
    account: u32,
    uid: Uid,
    notes: &[Note],
    known: Option<&Known>,
    now: Millis,
) -> Option<StandingStep> {
    let person = known.and_then(|known| known.person.as_ref());
    let row = known.and_then(|known| known.standing.as_ref());
    let mut told = Told { rules, account, uid, erased: false, rows: Vec::new() };
    let lists = lists(notes, person);
    let noted = || notes.iter().zip(&lists);
    for (note, lists) in noted() {
        told.erased |= matches!(note.before, Before::Erased(..));
        // who moves in a list is told of it with that, and a profile that is written changes no list
        if !matches!(note.before, Before::Listed { .. } | Before::Packed(..))
            && let Some((before, after)) = sides(note, lists, person)
        {
            let moved = transitions(uid, before.as_ref(), after.as_ref(), rules, listed(rules), note.at);
            told.add(moved, note.at);
        }
    }
    let at = notes.iter().map(|note| note.at).max().unwrap_or(now);
    let state = person.and_then(|person| unpack(person.row.clone()).ok());
    let mut walk = Walk { uid, rules, told, again: None };
    let kept = match row.and_then(|row| Some((row, Standing::decode(&row.packed).ok()?))) {
        Some((row, mut standing)) => {
            walk.again = Some(row.due);
            for (note, lists) in noted() {
                let Some((before, after)) = sides(note, lists, person) else { continue };
                let (before, after) = (before.as_ref(), after.as_ref());
                if note.versions.is_some_and(|(_, version)| version <= row.base) {
                    // what changed before the row began, it never saw
                    let moved = transitions(uid, before, after, rules, dynamic(rules), note.at);
                    walk.told.add(moved, note.at);
                } else if let Before::Listed { others, .. } = &note.before
                    && note.at <= row.made
                {
                    // it may have begun with the lists as they were by then, as if that had been told
                    let others = others.iter().filter_map(|key| rules.ix(key));
                    standing.take_back(&transitions(uid, before, after, rules, others, note.at), rules);
                }
            }
            walk.pass(&mut standing, state.as_ref(), at);
            let same = walk.told.rows.is_empty() && standing.encode() == row.packed;
            // an earlier look does no harm, a write for every event would
            if same && at < row.due && walk.again.is_none_or(|again| row.due <= again) {
                return None;
            }
            standing
        }
        None if timeless(rules, uid, notes, state.as_ref()) => {
            for (note, lists) in noted() {
                if let (Before::Listed { others, .. }, Some((before, after))) =
                    (&note.before, sides(note, lists, person))
                {
                    let others = others.iter().filter_map(|key| rules.ix(key));
                    let moved = transitions(uid, before.as_ref(), after.as_ref(), rules, others, note.at);
                    walk.told.add(moved, note.at);
                }
            }
            Standing::default()
        }
        None => {
            let mut standing = None;
            for (note, lists) in noted() {
                let Some((before, after)) = sides(note, lists, person) else { continue };
                let kept = match &note.before {
                    Before::Erased(_, Some(told)) | Before::Whole(_, Some(told), _) => Standing::decode(told).ok(),
                    _ => None,
                };
                let of = || kept.unwrap_or_else(|| Standing::of(uid, before.as_ref(), rules, note.at));
                let standing = standing.get_or_insert_with(of);
                walk.again = None;
                walk.look(standing, after.as_ref(), note.at);
            }
            standing?
        }
    };
    let Walk { told, again, .. } = walk;
    // another replica may be about to tell what this row has told already
    let late = row.filter(|_| person.is_some() && !notes.is_empty()).map(|_| Millis(at.0 + LATE));
    let kept = again.or(late).map(|due| (kept.encode(), due));
    let seen = row.map(|row| row.version);
    let first = notes.first().and_then(|note| note.versions).map_or(0, |(base, _)| base);
    let base = row.map_or(first, |row| row.base);
    (seen.is_some() || kept.is_some() || !told.rows.is_empty()).then_some(StandingStep {
        account,
        uid,
        seen,
        base,
        kept,
        told: told.rows,
    })
}

/// What is to be told.
struct Told<'a> {
    rules: &'a RuleSet,
    account: u32,
    uid: Uid,
    erased: bool,
    rows: Vec<TransitionRow>,
}

impl Told<'_> {
    fn add(&mut self, moved: Vec<Transition>, at: Millis) {
        let (rules, account, uid, erased) = (self.rules, self.account, self.uid, self.erased);
        self.rows.extend(moved.into_iter().map(|one| {
            let segment = rules.key(one.segment).clone();
            TransitionRow { account, segment, uid, entered: one.entered, at, erased }
        }));
    }
}

/// Looks at a person at one instant after the other.
struct Walk<'a> {
    uid: Uid,
    rules: &'a RuleSet,
    told: Told<'a>,
    /// When to look next.
    again: Option<Millis>,
}

impl Walk<'_> {
    fn look(&mut self, standing: &mut Standing, state: Option<&UserState>, at: Millis) {
        let look = standing.look(self.uid, state, self.rules, at);
        self.told.add(look.moved, at);
        // always later than this look
        self.again = look.again.map(|again| again.max(Millis(at.0 + 1)));
    }

    /// Looks at every instant up to `at` at which time alone may have changed something, so that
    /// what it changed is told as of then, and at `at` itself.
    fn pass(&mut self, standing: &mut Standing, state: Option<&UserState>, at: Millis) {
        for _ in 0..LOOKS {
            let Some(due) = self.again.filter(|due| *due < at) else { break };
            self.look(standing, state, due);
        }
        self.look(standing, state, at);
    }
}

/// Whether the notes are of uploads alone, and rest on nothing that time changes: then only the
/// segments that rest on the lists need to be asked.
fn timeless(rules: &RuleSet, uid: Uid, notes: &[Note], state: Option<&UserState>) -> bool {
    !notes.is_empty()
        && notes.iter().all(|note| match &note.before {
            Before::Listed { others, was, .. } => {
                was.flatten().is_none()
                    && others.iter().filter_map(|key| rules.ix(key)).all(|ix| still(rules, uid, ix, state, note.at))
            }
            _ => false,
        })
}

/// Whether time alone never changes a membership, nor when it is told.
fn still(rules: &RuleSet, uid: Uid, ix: SegmentIx, state: Option<&UserState>, at: Millis) -> bool {
    let instant = |hold: Span| hold == Span::default();
    instant(rules.holds(ix).enter) && instant(rules.holds(ix).exit) && until(uid, state, rules, ix, at).is_none()
}

/// The lists before and after each note: those of now, with what is noted of them undone from the last one on.
fn lists(notes: &[Note], now: Option<&CrowdRow>) -> Vec<[Lists; 2]> {
    let mut lists = Lists::new(now.iter().flat_map(|now| now.row.lists.iter().copied()));
    let undone = notes.iter().rev().map(|note| {
        let after = lists.clone();
        if let Before::Listed { list, was, .. } = &note.before {
            let list = NameHash::of(list.as_str());
            let own = was.map(|until| Listed::from((list, until)));
            lists = Lists::new(after.iter().filter(|other| other.list != list).chain(own));
        }
        [lists.clone(), after]
    });
    let mut undone: Vec<_> = undone.collect();
    undone.reverse();
    undone
}

/// The person before and after the change; `None` when what is kept of them is gone or cannot be read.
fn sides(note: &Note, lists: &[Lists; 2], now: Option<&CrowdRow>) -> Option<(Option<UserState>, Option<UserState>)> {
    let state = |packed: &[u8], lists: &Lists| UserState::decode(packed, 0, lists.clone(), CapRing::default()).ok();
    let [lists_before, lists_after] = lists;
    match &note.before {
        Before::Whole(before, _, after) => {
            let side = |side: &Option<Box<UserState>>| side.as_deref().cloned();
            Some((side(before), side(after)))
        }
        Before::Packed(before, after) => {
            now?;
            let nobody = before.is_empty() && lists_before.iter().len() == 0;
            let was = if nobody { None } else { Some(state(before, lists_before)?) };
            Some((was, Some(state(after, lists_after)?)))
        }
        Before::Listed { .. } => {
            let now = unpack(now?.row.clone()).ok()?;
            let side = |lists: &Lists| {
                let mut state = now.clone();
                state.lists = lists.clone();
                Some(state)
            };
            Some((side(lists_before), side(lists_after)))
        }
        Before::Erased(before, _) => Some((Some((**before).clone()), None)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::audience::{activity::Event, rule::SegmentRule},
        ports::UserRow,
    };

    const MINUTE: i64 = 60_000;
    const WHO: Uid = Uid(7);

    fn rules() -> RuleSet {
        let rule = |node| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let left = json!({"sequence": {"start": {"event": "add_to_cart"},
            "then": [{"not": "purchase", "within": "PT30M"}], "lookback": "P1D"}});
        RuleSet::build(&[("left-behind".parse().expect("a key"), rule(left))]).0
    }

    fn packed(rules: &RuleSet, events: &[(&str, i64)]) -> Vec<u8> {
        let mut state = UserState::default();
        for (name, minute) in events {
            let (name, at) = (name.parse().expect("a name"), Millis(minute * MINUTE));
            state.absorb(rules.streams(), &Event { name, at, properties: serde_json::Map::new() });
        }
        state.encode()
    }

    fn known(packed: Vec<u8>, standing: Option<StandingRow>) -> Known {
        let row = UserRow { packed, ..UserRow::default() };
        Known { person: Some(CrowdRow { uid: WHO, key: None, row }), standing }
    }

    fn kept(step: &StandingStep) -> StandingRow {
        let (packed, due) = step.kept.clone().expect("kept");
        StandingRow {
            account: 1,
            uid: WHO,
            version: step.seen.unwrap_or(0) + 1,
            base: step.base,
            packed,
            due,
            made: Millis(0),
        }
    }

    fn note(before: Vec<u8>, after: Vec<u8>, minute: i64) -> Note {
        Note::written(1, WHO, Millis(minute * MINUTE), (1, 2), (before, after))
    }

    fn told(step: &StandingStep) -> Vec<(bool, i64)> {
        step.told.iter().map(|row| (row.entered, row.at.0 / MINUTE)).collect()
    }

    #[test]
    fn a_basket_left_behind_is_told_when_its_grace_ends_and_when_it_is_forgotten() {
        let rules = rules();
        let look = |notes: &[Note], known: &Known, minute: i64| {
            advance(&rules, 1, WHO, notes, Some(known), Millis(minute * MINUTE))
        };
        let (none, filled) = (Vec::new(), packed(&rules, &[("add_to_cart", 0)]));
        let first = look(&[note(none, filled.clone(), 0)], &known(filled.clone(), None), 0).expect("a step");
        assert_eq!((told(&first), first.seen), (vec![], None));
        let row = kept(&first);
        assert_eq!(row.due, Millis(30 * MINUTE));

        // looked at late: told as of when it was so
        let second = look(&[], &known(filled.clone(), Some(row.clone())), 33).expect("a step");
        assert_eq!((told(&second), second.seen), (vec![(true, 30)], Some(1)));
        let row = kept(&second);
        assert_eq!(row.due, Millis(24 * 60 * MINUTE));

        // something else happens: nothing is told, and nothing is written for it
        let note_of = |after: Vec<u8>, minute| [note(filled.clone(), after, minute)];
        assert_eq!(look(&note_of(filled.clone(), 40), &known(filled.clone(), Some(row.clone())), 40), None);

        let last = look(&[], &known(filled.clone(), Some(row.clone())), 24 * 60 + 1).expect("a step");
        assert_eq!((told(&last), last.kept), (vec![(false, 24 * 60)], None), "time moves them nowhere any more");

        // nobody looked for two days: both are told, each as of its time
        let both = look(&[], &known(filled.clone(), Some(kept(&first))), 48 * 60).expect("a step");
        assert_eq!(told(&both), [(true, 30), (false, 24 * 60)]);

        // bought after all
        let bought = packed(&rules, &[("add_to_cart", 0), ("purchase", 50)]);
        let step = look(&note_of(bought.clone(), 50), &known(bought, Some(row)), 50).expect("a step");
        assert!(step.told.iter().all(|row| !row.entered || row.at == Millis(30 * MINUTE)), "{step:?}");
    }

    #[test]
    fn what_was_told_of_the_erased_is_told_to_be_over() {
        let rules = rules();
        let filled = packed(&rules, &[("add_to_cart", 0)]);
        let state = UserState::decode(&filled, 0, Lists::default(), CapRing::default()).expect("a person");
        let at = Millis(31 * MINUTE);
        let note =
            Note { account: 1, uid: WHO, at, versions: None, before: Before::Erased(Box::new(state.clone()), None) };
        let step = advance(&rules, 1, WHO, &[note], None, at).expect("a step");
        assert_eq!((told(&step), step.kept.is_none(), step.told[0].erased), (vec![(false, 31)], true, true));

        // in nothing any more, which was not told yet
        let mut standing = Standing::default();
        standing.look(WHO, Some(&state), &rules, at);
        let at = Millis(40 * 24 * 60 * MINUTE);
        let before = |told| Note {
            account: 1,
            uid: WHO,
            at,
            versions: None,
            before: Before::Erased(Box::new(state.clone()), told),
        };
        assert_eq!(advance(&rules, 1, WHO, &[before(None)], None, at).map(|step| told(&step)), None);
        let step = advance(&rules, 1, WHO, &[before(Some(standing.encode()))], None, at).expect("a step");
        assert_eq!(told(&step), [(false, 40 * 24 * 60)]);
    }

    /// Somebody of whom one note tells what they did and another what moved them in the list `crm`, both taken at once or
    /// one after the other; what followers are told of whoever is listed and has not bought.
    fn listed_and_told(together: bool, was: Option<Option<Millis>>) -> Vec<bool> {
        let crm: SegmentKey = "crm".parse().expect("a key");
        let bought = json!({"not": {"event": "purchase", "count": {"gte": 1}, "in": {"ever": true}}});
        let viewed = json!({"event": "view", "count": {"gte": 1}, "in": {"last": "PT1H"}});
        let rule = |rule| SegmentRule::parse(&rule).expect("a rule");
        let dynamic = |node| rule(json!({"v": 1, "kind": "dynamic", "match": node}));
        let fresh: SegmentKey = "fresh".parse().expect("a key");
        let rules = RuleSet::build(&[
            (crm.clone(), rule(json!({"v": 1, "kind": "static"}))),
            (fresh.clone(), dynamic(json!({"all": [{"list": "crm"}, bought]}))),
            ("viewers".parse().expect("a key"), dynamic(viewed)),
        ])
        .0;
        let seen = packed(&rules, &[("view", 0)]);
        let mut of = known(seen.clone(), None);
        if was.is_none() {
            of.person.as_mut().expect("a person").row.lists = vec![(NameHash::of("crm"), None).into()];
        }
        let before = Before::Listed { list: crm, was, others: [fresh.clone()].into() };
        let listed = Note { account: 1, uid: WHO, at: Millis(MINUTE), versions: None, before };
        let notes = [note(Vec::new(), seen, 1), listed];
        let mut all = Vec::new();
        // taken one after the other, the list was changed before the first was
        for notes in notes.chunks(if together { 2 } else { 1 }) {
            let step = advance(&rules, 1, WHO, notes, Some(&of), Millis(MINUTE)).expect("a step");
            of.standing = Some(StandingRow { made: Millis(2 * MINUTE), ..kept(&step) });
            all.extend(step.told.iter().filter(|row| row.segment == fresh).map(|row| row.entered));
        }
        all
    }

    #[test]
    fn who_is_listed_and_told_of_at_once_is_told_to_have_moved() {
        assert_eq!((listed_and_told(true, None), listed_and_told(false, None)), (vec![true], vec![true]));
        let left = Some(None);
        assert_eq!((listed_and_told(true, left), listed_and_told(false, left)), (vec![false], vec![false]));
    }

    #[test]
    fn what_was_told_of_a_key_that_was_merged_is_told_to_be_over() {
        let rules = rules();
        let filled = packed(&rules, &[("add_to_cart", 0)]);
        let state = UserState::decode(&filled, 0, Lists::default(), CapRing::default()).expect("a person");
        let mut standing = Standing::default();
        standing.look(WHO, Some(&state), &rules, Millis(31 * MINUTE));
        // in nothing any more when they are merged, which was not told yet
        let at = Millis(48 * 60 * MINUTE);
        let merged = |kept| {
            let before = Before::Whole(Some(Box::new(state.clone())), kept, None);
            let note = Note { account: 1, uid: WHO, at, versions: Some((1, 0)), before };
            advance(&rules, 1, WHO, &[note], None, at).map(|step| told(&step))
        };
        assert_eq!((merged(None), merged(Some(standing.encode()))), (None, Some(vec![(false, 48 * 60)])));
    }

    #[test]
    fn two_replicas_that_tell_in_another_order_tell_everything_once() {
        let rules = {
            let rule = |node| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
            let viewed = json!({"event": "view", "count": {"gte": 1}, "in": {"last": "PT1H"}});
            let bought = json!({"not": {"event": "purchase", "count": {"gte": 1}, "in": {"ever": true}}});
            let both = json!({"all": [viewed, bought]});
            RuleSet::build(&[("viewers".parse().expect("a key"), rule(both))]).0
        };
        let (none, first) = (Vec::new(), packed(&rules, &[("view", 0)]));
        let second = packed(&rules, &[("view", 0), ("view", 1)]);
        let written = |versions, before: &Vec<u8>, after: &Vec<u8>| {
            [Note::written(1, WHO, Millis(MINUTE), versions, (before.clone(), after.clone()))]
        };
        let look = |notes: &[Note], known: &Known| advance(&rules, 1, WHO, notes, Some(known), Millis(MINUTE));
        // the later event is told of first, and finds them inside
        let later = look(&written((1, 2), &first, &second), &known(second.clone(), None)).expect("a step");
        assert_eq!((told(&later), later.base), (vec![], 1));
        let row = kept(&later);
        let earlier = look(&written((0, 1), &none, &first), &known(second.clone(), Some(row.clone()))).expect("a step");
        assert_eq!(told(&earlier), [(true, 1)]);

        // time moves them nowhere any more, and what is told of late was told already
        let bought = packed(&rules, &[("view", 0), ("view", 1), ("purchase", 1)]);
        let last = look(&written((2, 3), &second, &bought), &known(bought.clone(), Some(row))).expect("a step");
        assert_eq!(told(&last), [(false, 1)]);
        let row = kept(&last);
        assert_eq!(row.due, Millis(MINUTE + LATE));
        assert_eq!(look(&written((1, 2), &first, &second), &known(bought.clone(), Some(row.clone()))), None);
        let gone =
            advance(&rules, 1, WHO, &[], Some(&known(bought, Some(row))), Millis(MINUTE + LATE)).expect("a step");
        assert_eq!((told(&gone), gone.kept), (vec![], None));
    }
}
