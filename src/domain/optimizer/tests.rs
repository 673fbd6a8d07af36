use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{random::Random, *};
use crate::domain::values::Millis;

const NOW: Millis = Millis(1_770_000_000_000);

/// Not all of these together.
#[derive(Clone, Debug, Default)]
struct Forbidden(Vec<Vec<(usize, u16)>>);

impl Rules for Forbidden {
    fn allows(&self, chosen: &[Option<u16>]) -> bool {
        !self.0.iter().any(|picks| picks.iter().all(|(slot, one)| chosen[*slot] == Some(*one)))
    }

    fn names(&self, slot: usize) -> bool {
        self.0.iter().flatten().any(|pick| pick.0 == slot)
    }
}

/// Statistics after some impressions drawn from the seed, with a rate that depends on the choice.
fn seen(layout: &Layout, impressions: usize, seed: u64) -> Statistics {
    let mut statistics = Statistics::new(layout.clone());
    let mut posterior = Posterior::new(&statistics, &Settings::default());
    let mut random = Random::new(seed);
    for _ in 0..impressions {
        let choice: Vec<u16> = (0..layout.slots()).map(|slot| random.below(layout.slot(slot).len()) as u16).collect();
        let features: Vec<u16> = (0..layout.features() as u16).filter(|_| random.below(3) == 0).collect();
        let lesson = |kind| Lesson { choice: &choice, features: &features, kind, at: NOW };
        posterior.learn(&lesson(LessonKind::Shown)).expect("a lesson");
        if random.unit() < 0.02 + 0.05 * f64::from(u8::from(choice[0] == 0)) {
            posterior.learn(&lesson(LessonKind::Rewarded { value: 1.0 })).expect("a lesson");
        }
    }
    statistics.merge(&posterior.take());
    statistics
}

fn snapshot(statistics: &Statistics, settings: &Settings) -> Snapshot {
    Snapshot::new(7, 1, &Posterior::new(statistics, settings), statistics, settings)
}

fn every(space: &Space<impl Rules>, layout: &Layout) -> Vec<Vec<u16>> {
    let mut all = vec![Vec::new()];
    for slot in 0..layout.slots() {
        let options = (0..layout.slot(slot).len() as u16).chain([DEFAULT]);
        all = options.flat_map(|one| all.iter().map(move |c: &Vec<u16>| [&c[..], &[one]].concat())).collect();
    }
    all.retain(|choice| space.allows(choice));
    all
}

#[test]
fn what_is_rewarded_is_shown_and_mostly_the_best_is() {
    let layout = Layout::new(&[4, 3], 2);
    let snapshot = snapshot(&seen(&layout, 30_000, 3), &Settings::default());
    let space = Space::new(&layout, vec![vec![0, 1, 2, 3], vec![0, 1, 2]], Free).expect("a space");
    let best = (0..1_000).filter(|seed| snapshot.choose(&space, &[0], *seed).choice[0] == 0).count();
    assert!((900..1_000).contains(&best), "{best}");
    let score = snapshot.score(&[0], &[0, 1], Some(3)).expect("a score");
    assert!((0.05..0.09).contains(&score.rate), "{score:?}");
    assert!(score.interval.0 < 0.07 && 0.07 < score.interval.1, "{score:?}");
    assert_eq!(score.terms.len(), 1 + 2 + 1 + 1 + 2);
    assert_eq!(score.terms[0].term, Term::Bias);
    assert_eq!(score.terms[1].term, Term::Component { slot: 0, component: 0 });
    let bad = snapshot.score(&[0], &[4, 1], None).expect_err("no such component");
    assert_eq!(bad, LessonError::Component { slot: 0, component: 4 });
}

#[test]
fn a_new_component_is_shown_until_it_is_known() {
    let old = Layout::new(&[2, 2], 1);
    let mut statistics = seen(&old, 20_000, 5);
    let layout = Layout::new(&[3, 2], 1);
    let before = statistics.count(0, 1, Some(0));
    statistics.grow(&layout);
    assert_eq!(statistics.count(0, 1, Some(0)), before);
    assert_eq!(statistics.count(0, 2, None), Count::default());
    let snapshot = snapshot(&statistics, &Settings::default());
    let space = Space::new(&layout, vec![vec![0, 1, 2], vec![0, 1]], Free).expect("a space");
    let chosen = (0..4_000).map(|seed| snapshot.choose(&space, &[], seed));
    let launched: Vec<_> = chosen.filter(|chosen| chosen.by == By::Launch).collect();
    assert!((150..250).contains(&launched.len()), "{}", launched.len());
    assert!(launched.iter().all(|chosen| chosen.choice[0] == 2));
    let without = Space::new(&layout, vec![vec![0, 1], vec![0, 1]], Free).expect("a space");
    assert!((0..1_000).all(|seed| snapshot.choose(&without, &[], seed).by != By::Launch), "it is not there");
}

#[test]
fn propensities_match_the_draws() {
    let layout = Layout::new(&[3, 3, 2], 3);
    let rules = Forbidden(vec![vec![(0, 0), (1, 1)], vec![(1, 2), (2, 1)]]);
    let snapshot = snapshot(&seen(&layout, 1_500, 9), &Settings::default());
    let space = Space::new(&layout, vec![vec![0, 1, 2], vec![0, 1, 2], vec![0, 1]], &rules).expect("a space");
    let mut counts = std::collections::BTreeMap::<Vec<u16>, u32>::new();
    for seed in 0..100_000 {
        *counts.entry(snapshot.choose(&space, &[0, 2], seed).choice).or_default() += 1;
    }
    let mut sum = 0.0;
    for choice in every(&space, &layout) {
        let share = snapshot.propensity(&space, &[0, 2], &choice);
        let drawn = f64::from(counts.remove(&choice).unwrap_or_default()) / 100_000.0;
        let slack = 5.0 * (share * (1.0 - share) / 100_000.0).sqrt();
        assert!((drawn - share).abs() <= slack, "{choice:?}: {drawn} of {share}");
        sum += share;
    }
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!(counts.is_empty(), "illegal: {counts:?}");
}

/// What is logged of a decision is the share of 100,000 draws of the same decision that show the same:
/// where no component is new, where one is, where some are hardly ever shown, and where there are so
/// many combinations that the whole distribution is logged; all with rules.
#[test]
fn every_logged_probability_matches_the_draws() {
    const DRAWS: u64 = 100_000;
    let (small, broad, wide) = (Layout::new(&[3, 3, 2], 3), Layout::new(&[8, 3], 1), Layout::new(&[4; 4], 4));
    let rules = Forbidden(vec![vec![(0, 0), (1, 1)], vec![(1, 2), (0, 1)]]);
    let mut late = seen(&Layout::new(&[3, 2, 2], 3), 9_000, 5);
    late.grow(&small);
    let mut seldom = seen(&broad, 12_000, 8);
    // one of each slot was hardly shown of late
    for at in [2, 5, 9] {
        seldom.recently[at] = 3.0;
    }
    let states = [
        (&small, seen(&small, 9_000, 4), vec![]),
        (&small, late, vec![1]),
        (&broad, seldom, vec![0]),
        (&wide, seen(&wide, 2_000, 6), vec![1, 3]),
    ];
    let mut checked = 0;
    for (layout, statistics, features) in states {
        let snapshot = snapshot(&statistics, &Settings::default());
        let options = (0..layout.slots()).map(|slot| (0..layout.slot(slot).len() as u16).collect()).collect();
        let space = Space::new(layout, options, &rules).expect("a space");
        let mut counts = std::collections::BTreeMap::<Vec<u16>, u64>::new();
        for seed in 0..DRAWS {
            *counts.entry(snapshot.choose(&space, &features, seed).choice).or_default() += 1;
        }
        let mut likely = Likely::new(&snapshot, &space, &features, 200);
        assert_eq!(likely.mixture().is_some(), layout == &wide);
        for decision in DRAWS..DRAWS + 40 {
            let choice = snapshot.choose(&space, &features, decision).choice;
            let logged = likely.of(&snapshot, &space, &features, &choice);
            assert_eq!(likely.of(&snapshot, &space, &features, &choice), logged, "once more, from memory");
            assert!((snapshot.propensity(&space, &features, &choice) - logged).abs() < 1e-12, "{choice:?}");
            let drawn = counts.get(&choice).copied().unwrap_or_default() as f64 / DRAWS as f64;
            // of some hundred comparisons none is farther off by chance
            let slack = 4.5 * (logged * (1.0 - logged) / DRAWS as f64).sqrt() + 1.0 / DRAWS as f64;
            assert!((drawn - logged).abs() <= slack, "{choice:?}: {drawn} of {logged}");
            checked += 1;
        }
    }
    println!("{checked} logged probabilities hold in {DRAWS} draws each");
}

#[test]
fn rules_too_intricate_to_list_are_kept_all_the_same() {
    let layout = Layout::new(&[8; 4], 1);
    let chain: Vec<_> = (0..3).flat_map(|slot| (0..8).map(move |one| vec![(slot, one), (slot + 1, 7 - one)])).collect();
    let rules = Forbidden(chain);
    let snapshot = snapshot(&seen(&layout, 3_000, 2), &Settings::default());
    let space = Space::new(&layout, vec![(0..8).collect(); 4], &rules).expect("a space");
    assert!(!space.is_complete());
    let mut found = std::collections::BTreeMap::<Vec<u16>, u32>::new();
    for seed in 0..3_000 {
        let choice = snapshot.choose(&space, &[0], seed).choice;
        assert!(space.allows(&choice), "{choice:?}");
        *found.entry(choice).or_default() += 1;
    }
    for (choice, count) in found.iter().filter(|(_, count)| **count > 30) {
        let share = snapshot.propensity(&space, &[0], choice);
        let drawn = f64::from(*count) / 3_000.0;
        assert!((drawn - share).abs() <= 5.0 * (share / 3_000.0).sqrt(), "{choice:?}: {drawn} of {share}");
    }
    let sum: f64 = found.keys().map(|choice| snapshot.propensity(&space, &[0], choice)).sum();
    assert!((0.95..=1.0 + 1e-9).contains(&sum), "{sum}");
}

#[test]
fn where_nothing_is_legal_nothing_is_chosen() {
    let layout = Layout::new(&[1, 1], 0);
    let rules = Forbidden(vec![vec![(0, 0), (1, 0)]]);
    assert_eq!(Space::new(&layout, vec![vec![0], vec![0]], &rules).err(), Some(NoLegalCombination));
    let default = Space::new(&layout, vec![vec![0], vec![]], &rules).expect("with a default");
    let snapshot = snapshot(&Statistics::new(layout), &Settings::default());
    assert_eq!(snapshot.choose(&default, &[], 1).choice, [0, DEFAULT]);
    assert!((snapshot.propensity(&default, &[], &[0, DEFAULT]) - 1.0).abs() < 1e-12);
    assert_eq!(snapshot.propensity(&default, &[], &[DEFAULT, DEFAULT]), 0.0);
}

#[test]
fn bad_lessons_are_refused_and_teach_nothing() {
    let layout = Layout::new(&[2, 2], 2);
    let mut posterior = Posterior::new(&Statistics::new(layout), &Settings::default());
    let before = posterior.beliefs().to_vec();
    let mut learn = |choice: &[u16], features: &[u16], kind| {
        posterior.learn(&Lesson { choice, features, kind, at: NOW }).expect_err("a refusal")
    };
    let reward = |value| LessonKind::Rewarded { value };
    assert!(matches!(learn(&[0, 0], &[], reward(f64::NAN)), LessonError::Value(value) if value.is_nan()));
    assert_eq!(learn(&[0, 0], &[], reward(-1.0)), LessonError::Value(-1.0));
    assert_eq!(learn(&[0, 0], &[], reward(f64::INFINITY)), LessonError::Value(f64::INFINITY));
    assert_eq!(learn(&[0], &[], LessonKind::Shown), LessonError::Slots { expected: 2, found: 1 });
    assert_eq!(learn(&[0, 2], &[], LessonKind::Shown), LessonError::Component { slot: 1, component: 2 });
    assert_eq!(learn(&[0, 0], &[2], LessonKind::Shown), LessonError::Feature(2));
    assert_eq!(learn(&[0, 0], &[1, 1], LessonKind::Shown), LessonError::Feature(1));
    assert_eq!(posterior.beliefs(), before);
}

#[test]
fn the_order_of_rewards_changes_nothing() {
    let layout = Layout::new(&[2, 2], 1);
    let learned = |early: bool| {
        let mut posterior = Posterior::new(&Statistics::new(layout.clone()), &Settings::default());
        let mut learn = |kind| {
            posterior.learn(&Lesson { choice: &[0, 1], features: &[0], kind, at: NOW }).expect("a lesson");
        };
        let reward = LessonKind::Rewarded { value: 1.0 };
        if early {
            learn(reward);
        }
        (0..20).for_each(|_| learn(LessonKind::Shown));
        if !early {
            learn(reward);
        }
        posterior.beliefs()[1].mean
    };
    // a conversion before its impression; the two orders differ only by where the curvature is taken
    assert!((learned(true) - learned(false)).abs() < 0.05, "{} {}", learned(true), learned(false));
}

#[test]
fn old_statistics_fade_and_a_clock_that_goes_back_does_not_raise_them() {
    let epoch = Epoch::of(NOW);
    assert_eq!(epoch.weight(NOW), 1.0);
    assert_eq!(epoch.weight(NOW.plus(-90 * 86_400_000)), 1.0);
    assert!((epoch.weight(NOW.plus(HALF_LIFE_MS)) - 0.5).abs() < 1e-9);
    assert!((epoch.weight(NOW.plus(10 * HALF_LIFE_MS)) - 1.0 / 1_024.0).abs() < 1e-9);
    assert!(epoch.weight(Millis(i64::MAX)) >= 0.0);
    let row = seen(&Layout::new(&[2, 2], 1), 1_000, 1);
    let mut faded = row.clone();
    faded.fade(epoch, NOW.plus(-90 * 86_400_000));
    assert_eq!(faded, row);
    faded.fade(epoch, NOW.plus(HALF_LIFE_MS));
    assert!((faded.precision[0] / row.precision[0] - 0.5).abs() < 1e-9);
    assert_eq!(faded.total(), row.total(), "what was counted stays");
    let mut news = Statistics::new(row.layout.clone());
    news.total.shown = 2_000;
    faded.follow(&news);
    assert!((faded.recently[0] / row.recently[0] - 0.5).abs() < 1e-9 && (faded.recent / row.recent - 0.5).abs() < 1e-9);
    faded.forget();
    assert!((faded.precision[0] / row.precision[0] - 0.05).abs() < 1e-9);
}

#[test]
fn the_same_statistics_give_the_same_snapshot() {
    let layout = Layout::new(&[3, 3], 2);
    let bytes = seen(&layout, 2_000, 4).encode();
    let draw = || {
        let statistics = Statistics::decode(&bytes).expect("own bytes");
        let snapshot = snapshot(&statistics, &Settings::default());
        let space = Space::new(&layout, vec![vec![0, 1, 2]; 2], Free).expect("a space");
        (0..500).map(|seed| snapshot.choose(&space, &[1], seed)).collect::<Vec<_>>()
    };
    assert_eq!(draw(), draw());
}

fn layouts() -> impl Strategy<Value = Layout> {
    (proptest::collection::vec(1_u16..4, 1..4), 0_u16..4).prop_map(|(sizes, features)| Layout::new(&sizes, features))
}

fn rules(layout: &Layout) -> impl Strategy<Value = Forbidden> + use<> {
    let sizes: Vec<usize> = (0..layout.slots()).map(|slot| layout.slot(slot).len()).collect();
    let pick = (0..sizes.len()).prop_flat_map(move |slot| (Just(slot), 0..sizes[slot] as u16));
    proptest::collection::vec(proptest::collection::vec(pick, 2..4), 0..4).prop_map(Forbidden)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn probabilities_add_up_and_choices_are_legal(
        (layout, rules) in layouts().prop_flat_map(|layout| (Just(layout.clone()), rules(&layout))),
        seed in any::<u64>(),
        drop in any::<u16>(),
        impressions in 0_usize..400,
    ) {
        let settings = Settings { members: 16, ..Settings::default() };
        let snapshot = snapshot(&seen(&layout, impressions, seed), &settings);
        let mut options: Vec<Vec<u16>> =
            (0..layout.slots()).map(|slot| (0..layout.slot(slot).len() as u16).collect()).collect();
        options[0].retain(|one| drop >> one & 1 == 0);
        let Ok(space) = Space::new(&layout, options, &rules) else { return Ok(()) };
        let features: Vec<u16> = (0..layout.features() as u16).step_by(2).collect();
        let all = every(&space, &layout);
        prop_assert_eq!(all.len() as f64, space.count());
        let sum: f64 = all.iter().map(|choice| snapshot.propensity(&space, &features, choice)).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
        for at in 0..200 {
            let chosen = snapshot.choose(&space, &features, seed ^ at);
            prop_assert!(all.contains(&chosen.choice), "{:?}", chosen);
            prop_assert!(snapshot.propensity(&space, &features, &chosen.choice) > 0.0);
        }
    }

    #[test]
    fn sums_are_the_same_in_any_order(one in layouts(), other in layouts(), seed in any::<u64>()) {
        let (a, b) = (seen(&one, 200, seed), seen(&other, 200, !seed));
        let (mut left, mut right) = (a.clone(), b.clone());
        left.merge(&b);
        right.merge(&a);
        prop_assert_eq!(&left.layout, &right.layout);
        prop_assert_eq!(&left.counts, &right.counts);
        prop_assert_eq!(left.total(), right.total());
        for (x, y) in left.precision.iter().zip(&right.precision).chain(left.shift.iter().zip(&right.shift)) {
            prop_assert!((x - y).abs() <= 1e-9 * x.abs().max(1.0));
        }
    }

    #[test]
    fn bytes_come_back_as_they_were(layout in layouts(), seed in any::<u64>()) {
        let mut statistics = seen(&layout, 200, seed);
        prop_assert_eq!(statistics.encode()[0], 2, "what has no credit can be read by those who know of none");
        let weights = statistics.pending.len();
        statistics.pending[seed as usize % weights] = 0.5;
        let bytes = statistics.encode();
        let read = Statistics::decode(&bytes).expect("own bytes");
        prop_assert_eq!(&read.pending, &statistics.pending);
        prop_assert_eq!(read.encode(), bytes.clone());
        prop_assert_eq!(Statistics::decode(&[&bytes[..], &[0]].concat()), Err(NotStatistics::Broken));
        for end in 0..bytes.len() {
            prop_assert_eq!(Statistics::decode(&bytes[..end]), Err(NotStatistics::Broken));
        }
    }

    #[test]
    fn rubbish_is_refused_or_sound(
        layout in layouts(), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = seen(&layout, 50, 1).encode();
        for (at, with) in flips {
            let at = at % bytes.len();
            bytes[at] ^= with;
        }
        if let Ok(read) = Statistics::decode(&bytes) {
            prop_assert!(read.is_sound());
        }
    }

    #[test]
    fn noise_is_no_statistics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Statistics::decode(&bytes) {
            prop_assert!(read.is_sound());
        }
    }

    #[test]
    fn numbers_stay_finite(
        values in proptest::collection::vec(0.0..=Lesson::MOST_VALUE, 0..60), shown in 0_usize..2_000,
    ) {
        let layout = Layout::new(&[2, 2], 1);
        let mut known = Statistics::new(layout.clone());
        let mut posterior = Posterior::new(&known, &Settings::default());
        let learn = |posterior: &mut Posterior, kind| {
            posterior.learn(&Lesson { choice: &[0, 1], features: &[0], kind, at: NOW }).expect("a lesson");
        };
        for value in values {
            learn(&mut posterior, LessonKind::Rewarded { value });
        }
        for _ in 0..shown {
            learn(&mut posterior, LessonKind::Shown);
        }
        known.merge(&posterior.take());
        prop_assert!(known.is_sound());
        let posterior = Posterior::new(&known, &Settings::default());
        let sound = |belief: &Belief| belief.mean.is_finite() && belief.variance.is_finite() && belief.variance > 0.0;
        prop_assert!(posterior.beliefs().iter().all(sound));
        let snapshot = Snapshot::new(1, 1, &posterior, &known, &Settings::default());
        let space = Space::new(&layout, vec![vec![0, 1], vec![0, 1]], Free).expect("a space");
        prop_assert!(space.allows(&snapshot.choose(&space, &[0], 3).choice));
    }
}

/// The end of a packed mixture.
fn packed_members(mixture: &Mixture) -> Vec<u8> {
    let head = Mixture { members: Vec::new(), ..mixture.clone() }.pack().expect("short").len() - 1;
    mixture.pack().expect("short")[head..].to_vec()
}

/// Each component that may be shown gets the least share of the decisions in which it may, however
/// little is thought of it: also beside ones that are new, that are gone, and that were liked once.
#[test]
fn every_component_keeps_the_least_share_of_decisions_where_it_may_be_shown() {
    let settings = Settings::default();
    let layout = Layout::new(&[8, 8, 2], 1);
    let mut lore = Lore::new(layout.clone());
    let rewards = Rewards { varied: 1.0, longest_ms: 3_600_000 };
    let mut random = Random::new(3);
    let mut shown = vec![vec![0_u32; 8], vec![0; 8], vec![0; 2]];
    let (mut decided, mut version) = (0_u32, 0);
    // a day at 20 decisions a minute; the first of each slot is liked, then the second, and the last
    // of the first slot is only eligible for one in fifty
    for minute in 0..1_440_i64 {
        let now = NOW.plus(minute * 60_000);
        version += 1;
        let snapshot =
            Snapshot::new(7, version, &Posterior::new(&lore.statistics, &settings), &lore.statistics, &settings);
        let mut told = Vec::new();
        for at in 0..20 {
            let narrow = random.below(50) == 0;
            // the last of the second slot was deleted after the first hour
            let options =
                vec![(0..7 + u16::from(narrow)).collect(), (0..8 - u16::from(minute > 60)).collect(), vec![0, 1]];
            let space = Space::new(&layout, options, Free).expect("a space");
            let choice = snapshot.choose(&space, &[], (minute * 20 + at) as u64).choice;
            if minute >= 960 {
                decided += 1;
                choice.iter().zip(&mut shown).for_each(|(one, of)| of[usize::from(*one)] += 1);
            }
            let liked = u16::from(minute > 360);
            let hits = choice.iter().filter(|one| **one == liked).count();
            let rate = [0.02, 0.1, 0.2, 0.4][hits];
            told.push((choice, random.unit() < rate, now));
        }
        let lessons = told.iter().flat_map(|(choice, rewarded, at)| {
            let lesson = |kind| Lesson { choice, features: &[], kind, at: *at };
            let reward = rewarded.then(|| lesson(LessonKind::Rewarded { value: 1.0 }));
            [lesson(LessonKind::Shown)].into_iter().chain(reward)
        });
        lore.learn(lessons, &settings, &rewards, now);
    }
    let share = |slot: usize, one: usize| f64::from(shown[slot][one]) / f64::from(decided);
    println!("{shown:?} of {decided}");
    assert!(share(0, 1) > 0.5, "what is liked now is shown most");
    for (slot, ones) in [(0, 0..7), (1, 0..7), (2, 0..2)] {
        for one in ones {
            // 9,600 decisions: a standard deviation of 0.0007
            assert!(share(slot, one) > 0.005 - 2.5 * 0.0007, "{slot} {one}: {}", share(slot, one));
        }
    }
    assert_eq!(shown[1][7], 0, "it is gone");
}

#[test]
fn a_mixture_is_what_choosing_does() {
    let layout = Layout::new(&[3, 3, 2], 3);
    let rules = Forbidden(vec![vec![(0, 0), (1, 1)], vec![(1, 2), (0, 1)]]);
    // the third of the first slot is new, so that there are launches
    let mut statistics = seen(&Layout::new(&[2, 3, 2], 3), 9_000, 9);
    statistics.grow(&layout);
    let snapshot = snapshot(&statistics, &Settings::default());
    let space = Space::new(&layout, vec![vec![0, 1, 2], vec![0, 1, 2], vec![0, 1]], &rules).expect("a space");
    let mixture = snapshot.mixture(&space, &[0, 2]);
    assert_eq!(mixture.pins, [Pins { share: 0.05, of: vec![(0, 2)] }]);
    // as they were packed before there were several sets of pins
    let older = [[0xa0, 0x9c, 0x01, 0xd0, 0x86, 0x03, 1, 0, 2].as_slice(), &packed_members(&mixture)].concat();
    assert_eq!(Mixture::unpack(&older).as_ref(), Some(&mixture));
    let packed = mixture.pack().expect("it is short");
    assert!(packed.len() < 300, "{}", packed.len());
    assert_eq!(Mixture::unpack(&packed).as_ref(), Some(&mixture));
    let (mut sum, mut shown) = (0.0, vec![vec![0.0; 3], vec![0.0; 3], vec![0.0; 2]]);
    for choice in every(&space, &layout) {
        let share = mixture.propensity(&space, &choice);
        assert!((share - snapshot.propensity(&space, &[0, 2], &choice)).abs() < 1e-12, "{choice:?}");
        choice.iter().zip(&mut shown).for_each(|(one, slot)| slot[usize::from(*one)] += share);
        sum += share;
    }
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    let design = mixture.design(&space).expect("a design");
    for (of, expected) in design.shown().concat().iter().zip(shown.concat()) {
        assert!((of - expected).abs() < 1e-9, "{of} {expected}");
    }
    // what it is weighed to is what is asked for, over all that may be shown
    let target = space.shares(|slot, one| f64::from(1 + one) + slot as f64).expect("weights");
    let weights = design.weights(&target).expect("covered");
    let mut seen = vec![vec![0.0; 3], vec![0.0; 3], vec![0.0; 2]];
    for choice in every(&space, &layout) {
        let weight = mixture.propensity(&space, &choice) * weights.of(&choice).expect("a weight");
        choice.iter().zip(&mut seen).for_each(|(one, slot)| slot[usize::from(*one)] += weight);
    }
    for (of, expected) in seen.concat().iter().zip(target.concat()) {
        assert!((of - expected).abs() < 1e-3, "{of} {expected}");
    }
}

#[test]
fn what_is_believed_is_chosen_without_luck() {
    let layout = Layout::new(&[4, 4, 3], 2);
    let snapshot = snapshot(&seen(&layout, 20_000, 3), &Settings::default());
    let space = Space::new(&layout, vec![(0..4).collect(), (0..4).collect(), (0..3).collect()], Free).expect("a space");
    let mean = |choice: &Vec<u16>| snapshot.score(&[1], choice, None).expect("a score").mean;
    let best = every(&space, &layout).into_iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).expect("some");
    assert_eq!(snapshot.believed().best(&space, &[1], 0), best);
}

#[test]
fn fewer_draws_are_the_first_of_more_and_take_little() {
    let layout = Layout::new(&[8; 5], 84);
    let statistics = seen(&layout, 500, 3);
    let some = |members: usize| snapshot(&statistics, &Settings { members, ..Settings::default() });
    let (all, few) = (some(64), some(4));
    assert_eq!(all.id(), few.id());
    assert!(all.bytes() > 1_200_000 && few.bytes() < 130_000, "{} {}", all.bytes(), few.bytes());
    let space = Space::new(&layout, vec![(0..8).collect(); 5], Free).expect("a space");
    for member in 0..4 {
        assert_eq!(all.best(&space, &[1, 9], member), few.best(&space, &[1, 9], member));
    }
    // chosen a quarter of the time each, but for the floor and what was hardly shown
    let chosen: BTreeSet<_> = (0..400).map(|seed| few.choose(&space, &[1, 9], seed).choice).collect();
    for choice in &chosen {
        let known = few.propensity(&space, &[1, 9], choice);
        let wins = (0..4).filter(|member| few.best(&space, &[1, 9], *member) == *choice).count();
        assert!(known > 0.0 && (known - wins as f64 * 0.25 * 0.93).abs() < 0.01, "{known} {wins}");
    }
}

#[test]
fn evaluation_covers_at_8_to_the_5() {
    use crate::domain::measurement::evaluate::{Basis, Evaluator, Logged, Weight};
    const RUNS: u64 = 20;
    const ROWS: u64 = 5_000;
    let layout = Layout::new(&[8; 5], 0);
    let space = Space::new(&layout, vec![(0..8).collect(); 5], Free).expect("a space");
    // what each component adds to the rate
    let adds = |slot: usize, one: u16| 0.02 * f64::from((usize::from(one) * 5 + slot * 3) as u32 % 8) / 7.0;
    let mut held = 0;
    for run in 0..RUNS {
        let snapshot = snapshot(&seen(&layout, 4_000, run), &Settings::default());
        let mixture = Mixture::unpack(&snapshot.mixture(&space, &[]).pack().expect("short")).expect("a mixture");
        let target = space.shares(|slot, one| 1.0 + 100.0 * adds(slot, one)).expect("weights");
        let truth: f64 = target
            .iter()
            .enumerate()
            .flat_map(|(slot, shares)| {
                shares.iter().enumerate().map(move |(one, share)| share * adds(slot, one as u16))
            })
            .sum();
        let weights = mixture.design(&space).expect("a design").weights(&target).expect("covered");
        let mut evaluator = Evaluator::new(Basis::AssumingTheAdditiveModel);
        let mut luck = Random::new(run ^ 77);
        for seed in 0..ROWS {
            let choice = snapshot.choose(&space, &[], seed + run * ROWS).choice;
            let rate: f64 = choice.iter().enumerate().map(|(slot, one)| adds(slot, *one)).sum();
            let reward = f64::from(u8::from(luck.unit() < rate));
            let weight = Weight::Slots { weights: &weights, choice: &choice };
            evaluator.push(&Logged { person: None, weight, reward }).expect("a row");
        }
        let found = evaluator.finish().expect("enough");
        held += u32::from(found.interval.low <= truth && truth <= found.interval.high);
    }
    println!("intervals of {RUNS} that hold the truth at 8^5: {held}");
    assert!(f64::from(held) >= 0.9 * RUNS as f64, "{held}");
}

proptest! {
    #[test]
    fn rubbish_is_no_mixture(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(mixture) = Mixture::unpack(&bytes) {
            prop_assert!(mixture.pack().is_some_and(|packed| Mixture::unpack(&packed) == Some(mixture)));
        }
    }
}

/// Impressions that a tenth of people respond to, one a second with rewards after ten minutes, first without a feature
/// and then with it: what is believed at last of the feature with what is shown mostly, and with what is shown seldom.
fn at_the_end_of(calm: i64, stretch: i64) -> (f32, f32) {
    let layout = Layout::new(&[2], 1);
    let cross = layout.group(Group::Cross).start;
    let mut lore = Lore::new(layout);
    let (settings, rewards) = (Settings::default(), Rewards { varied: 1.0, longest_ms: 3_600_000 });
    let at = |second: i64| Millis(1_770_000_000_000 + second * 1_000);
    let features = |second: i64| if second < calm { &[][..] } else { &[0][..] };
    let choice = |second: i64| if second / 10 % 4 == 0 { &[1_u16][..] } else { &[0][..] };
    for minute in (0..calm + stretch).step_by(60) {
        let lesson =
            |second: i64, kind| Lesson { choice: choice(second), features: features(second), kind, at: at(second) };
        let shown = (minute..minute + 60).map(|second| lesson(second, LessonKind::Shown));
        let due = (minute - 600..minute - 540).filter(|second| *second >= 0 && second % 10 == 3);
        let due = due.map(|second| lesson(second, LessonKind::Rewarded { value: 1.0 }));
        lore.learn(shown.chain(due).collect::<Vec<_>>(), &settings, &rewards, at(minute + 60));
    }
    assert!(lore.statistics.is_sound());
    let posterior = Posterior::new(&lore.statistics, &settings);
    (posterior.beliefs()[cross].mean, posterior.beliefs()[cross + 1].mean)
}

#[test]
fn what_is_shown_just_now_looks_no_worse_while_rewards_are_on_their_way() {
    // five minutes after the feature came up none of its rewards can be there
    let (mostly, seldom) = at_the_end_of(30_000, 300);
    assert!((mostly - seldom).abs() < 0.05, "{mostly} {seldom}");
    // and long after they came it makes no difference to what is shown
    let (mostly, seldom) = at_the_end_of(30_000, 30_000);
    assert!((mostly - seldom).abs() < 0.1, "{mostly} {seldom}");
}

#[test]
fn what_everybody_has_tells_nobody_apart_until_somebody_has_not() {
    let layout = Layout::new(&[2], 1);
    let cross = layout.group(Group::Cross).start;
    let settings = Settings::default();
    let lesson = |features, kind| Lesson { choice: &[0], features, kind, at: Millis(0) };
    let mut all = Statistics::new(layout);
    let mut learn = |lessons: &[(&'static [u16], LessonKind)]| {
        let mut posterior = Posterior::new(&all, &settings);
        lessons.iter().for_each(|(features, kind)| assert!(posterior.learn(&lesson(*features, *kind)).is_ok()));
        all.follow(&posterior.take());
        let belief = Posterior::new(&all, &settings).beliefs()[cross];
        (all.common()[0], belief.mean, belief.variance)
    };
    let (everybody, shown) = (&[0][..], LessonKind::Shown);
    learn(&[(everybody, shown)]);
    let (common, mean, variance) = learn(&vec![(everybody, shown); 2_000]);
    assert!(common && mean == 0.0 && variance < 1e-6);
    // others come and look alike; only then come the rewards of those before
    let (common, before, _) = learn(&vec![(&[][..], shown); 2_000]);
    let (_, after, _) = learn(&vec![(everybody, LessonKind::Rewarded { value: 1.0 }); 40]);
    assert!(!common && before < 0.0 && after < 2.0, "{before} {after}");
}

#[test]
fn who_came_before_a_feature_had_its_number_are_too_few_to_be_told_apart() {
    // in one impression of so many, the second slot shows a component and not its default
    for one_of in [1, 2, 10] {
        let common = |without: u64, with: u64| {
            let mut all = Statistics::new(Layout::new(&[2, 2], 1));
            let shown = |shown| Count { shown, ..Count::default() };
            all.total.shown = with + without;
            for (row, count) in [(0, with + without), (1, with)] {
                all.counts[row * 4] = shown(count);
                all.counts[row * 4 + 2] = shown(count / one_of);
            }
            all.common()[0]
        };
        assert!(!common(0, 0), "nobody was shown anything");
        assert!(common(10, 1_500) && common(100, 1_500) && common(290, 5_000));
        assert!(!common(310, 5_000), "these can be told apart, one of {one_of}");
        assert!(!common(100, 500), "a group that is small only because it is early");
        assert!(common(310, 50_000) && !common(1_000, 50_000));
    }
}
