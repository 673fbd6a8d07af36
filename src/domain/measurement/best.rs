//! Which arm is best, for one group of arms or many, and when that may be said.

use serde::{Deserialize, Serialize};

use crate::domain::measurement::{
    numbers::{Beta, Random},
    rate::{Count, Interval, Thinned, shrink},
    sequence::{ERROR, log_evidence},
};

/// Draws of all arms' rates for the probability to be best: its standard error is below 0.008.
const DRAWS: u32 = 4_000;
/// Successes of two arms together below which their ratio is not near normal.
const FEWEST: f64 = 20.0;
/// The smallest relative difference that more impressions are asked for.
const WORTH_FINDING: f64 = 0.05;
/// The least rate that is assumed when more impressions are asked for.
const RAREST: f64 = 1e-6;

/// An arm among the others of its group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArmStanding {
    /// The rate after shrinkage towards the arms' mean: 0 to 1, or what an impression earns.
    pub rate: f64,
    /// Where the rate lies with a probability of 95%.
    pub interval: Interval,
    /// Probability that no other arm of the group has a higher rate.
    pub probability_best: f64,
}

impl ArmStanding {
    /// The same where a success stands for so much.
    pub(super) fn scaled(self, piece: f64) -> Self {
        let interval = Interval { low: self.interval.low * piece, high: self.interval.high * piece };
        Self { rate: self.rate * piece, interval, ..self }
    }
}

/// What may be said of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum BestVerdict {
    /// One arm is better than every other.
    Best {
        /// Its position among the arms.
        arm: usize,
    },
    /// Too early to tell.
    NotEnoughData {
        /// About how many more impressions of the group, spread evenly over its arms, would show the
        /// difference that is believed now, or one of 5% if that is larger.
        more_impressions: u64,
    },
    /// There is nothing to compare: fewer than two arms.
    NoRival,
}

impl std::fmt::Display for BestVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Best { .. } => f.write_str("best"),
            Self::NotEnoughData { more_impressions } => {
                write!(f, "not enough data: about {more_impressions} more impressions")
            }
            Self::NoRival => f.write_str("nothing to compare with"),
        }
    }
}

/// A group's arms and what may be said of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Judgement {
    /// One for each arm, in their order.
    pub arms: Vec<ArmStanding>,
    /// Whether there is a best one.
    pub verdict: BestVerdict,
}

/// Judges groups of arms that are reported together: one group for a campaign's combinations, or one
/// for each segment.
///
/// Estimates are shrunk within each group. An arm is called the best only if it beats each rival,
/// which needs no correction for the number of arms (Hung and Fithian, "Rank verification for
/// exponential families", Annals of Statistics 2019), by evidence that may be looked at at any time.
/// Over the groups the share of false ones among the named is kept at 5% by e-BH (Wang and Ramdas,
/// JRSS B 2022); unlike Benjamini and Hochberg's it holds for segments that share people.
/// `dispersion` is as in [`Count::rate`]; the same seed gives the same answer.
#[must_use]
pub fn judge(groups: &[Vec<Count>], dispersion: f64, seed: u64) -> Vec<Judgement> {
    let leads: Vec<Option<Lead>> = groups.iter().map(|arms| Lead::of(arms, dispersion)).collect();
    let mut evidence: Vec<f64> = leads.iter().flatten().map(|lead| lead.evidence).collect();
    evidence.sort_by(|a, b| b.total_cmp(a));
    let bar = |named: usize| (evidence.len() as f64 / (ERROR * named as f64)).ln();
    let named = (1..=evidence.len()).rev().find(|&named| evidence[named - 1] >= bar(named)).unwrap_or(0);
    let judged = |(arms, (lead, at)): (&Vec<Count>, (&Option<Lead>, u64))| {
        let beliefs = shrink(arms, dispersion);
        let verdict = match lead {
            None => BestVerdict::NoRival,
            Some(lead) if named > 0 && lead.evidence >= bar(named) => BestVerdict::Best { arm: lead.arm },
            Some(_) => {
                let needed = bar((named + 1).min(evidence.len()));
                BestVerdict::NotEnoughData { more_impressions: more(arms, &beliefs, dispersion, needed) }
            }
        };
        Judgement { arms: standings(&beliefs, seed ^ at), verdict }
    };
    groups.iter().zip(leads.iter().zip(0..)).map(judged).collect()
}

/// The arm with the highest rate and the least evidence with which it beats another.
struct Lead {
    arm: usize,
    evidence: f64,
}

impl Lead {
    fn of(arms: &[Count], dispersion: f64) -> Option<Self> {
        let arms: Vec<Thinned> = arms.iter().map(|arm| arm.thinned(dispersion)).collect();
        if arms.len() < 2 {
            return None;
        }
        let (arm, leader) = arms.iter().enumerate().max_by(|(_, a), (_, b)| rate(a).total_cmp(&rate(b)))?;
        let rivals = arms.iter().enumerate().filter(|(at, _)| *at != arm).map(|(_, rival)| beats(leader, rival));
        Some(Self { arm, evidence: rivals.fold(f64::INFINITY, f64::min) })
    }
}

/// Half a success more, so that there is a ratio.
fn rate(arm: &Thinned) -> f64 {
    (arm.successes + 0.5) / (arm.trials + 1.0)
}

/// Logarithm of the evidence that the leader is better than the rival.
fn beats(leader: &Thinned, rival: &Thinned) -> f64 {
    if leader.trials == 0.0 || rival.trials == 0.0 || leader.successes + rival.successes < FEWEST {
        return f64::NEG_INFINITY;
    }
    let doubt = |arm: &Thinned| (1.0 - rate(arm)) / (arm.successes + 0.5);
    log_evidence((rate(leader) / rate(rival)).ln(), 1.0 / (doubt(leader) + doubt(rival)))
}

/// Impressions until the evidence reaches `needed`, to two digits, if the two best arms' rates are
/// what is believed now.
fn more(arms: &[Count], beliefs: &[Beta], dispersion: f64, needed: f64) -> u64 {
    let (first, second) = beliefs.iter().fold((RAREST, RAREST), |(first, second), belief| {
        let mean = belief.mean();
        if mean > first { (mean, first) } else { (first, second.max(mean)) }
    });
    let ratio = (first / second).max(1.0 + WORTH_FINDING);
    let by = Count { trials: 1, successes: 0 }.thinned(dispersion).trials;
    let seen = arms.iter().map(|arm| arm.trials).min().unwrap_or(0) as f64;
    let reached = |more: f64| {
        let trials = (seen + more / arms.len() as f64) * by;
        let low = Thinned { trials, successes: trials * first / ratio };
        beats(&Thinned { trials, successes: trials * first }, &low) >= needed
    };
    let (mut low, mut high) = (0.0, 1_000.0);
    while !reached(high) && high < 1e15 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..10 {
        let middle = 0.5 * (low + high);
        if reached(middle) { high = middle } else { low = middle }
    }
    let unit = 10_f64.powf(high.log10().floor() - 1.0).max(1.0);
    ((high / unit).ceil() * unit) as u64
}

fn standings(beliefs: &[Beta], seed: u64) -> Vec<ArmStanding> {
    let mut random = Random::new(seed);
    let mut wins = vec![0_u32; beliefs.len()];
    for _ in 0..DRAWS {
        let drawn = beliefs.iter().map(|belief| belief.draw(&mut random)).enumerate();
        if let Some((best, _)) = drawn.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
            wins[best] += 1;
        }
    }
    let standing = |(belief, wins): (&Beta, u32)| ArmStanding {
        rate: belief.mean(),
        interval: belief.interval(),
        probability_best: f64::from(wins) / f64::from(DRAWS),
    };
    beliefs.iter().zip(wins).map(standing).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arms(counts: &[(u64, u64)]) -> Vec<Count> {
        counts.iter().map(|&(trials, successes)| Count { trials, successes }).collect()
    }

    #[test]
    fn the_clearly_best_is_named_and_a_lucky_one_is_not() {
        let judged = judge(
            &[
                arms(&[(50_000, 1_000), (50_000, 1_500), (50_000, 900)]),
                arms(&[(200, 9), (200, 3), (200, 4)]),
                arms(&[(10, 1)]),
            ],
            1.0,
            7,
        );
        assert_eq!(judged[0].verdict, BestVerdict::Best { arm: 1 });
        assert!(judged[0].arms[1].probability_best > 0.999);
        let BestVerdict::NotEnoughData { more_impressions } = judged[1].verdict else { panic!("{:?}", judged[1]) };
        assert!((1_000..2_000_000).contains(&more_impressions), "{more_impressions}");
        assert!(judged[1].arms[0].probability_best < 0.9, "{:?}", judged[1]);
        assert_eq!(judged[2].verdict, BestVerdict::NoRival);
        assert!(judged[1].verdict.to_string().starts_with("not enough data: about "));
    }

    #[test]
    fn what_is_asked_for_is_enough() {
        let now = arms(&[(20_000, 430), (20_000, 400)]);
        let judged = judge(std::slice::from_ref(&now), 1.0, 1);
        let BestVerdict::NotEnoughData { more_impressions } = judged[0].verdict else { panic!("{judged:?}") };
        let later = |share: f64| {
            let trials = 20_000 + (share * more_impressions as f64 / 2.0) as u64;
            let rate = |at: usize| judged[0].arms[at].rate;
            let ratio = (rate(0) / rate(1)).max(1.05);
            let best = (trials as f64 * rate(0)) as u64;
            judge(&[arms(&[(trials, best), (trials, (best as f64 / ratio) as u64)])], 1.0, 1)[0].verdict
        };
        assert_eq!(later(1.05), BestVerdict::Best { arm: 0 }, "{more_impressions}");
        assert_ne!(later(0.7), BestVerdict::Best { arm: 0 }, "{more_impressions}");
    }

    #[test]
    fn forty_segments_of_nothing_but_luck_have_no_winner() {
        let mut random = Random::new(5);
        let mut named = 0;
        for run in 0..8 {
            let luck = |random: &mut Random| Count { trials: 4_000, successes: random.gamma(80.0) as u64 };
            let groups: Vec<Vec<Count>> = (0..40).map(|_| (0..6).map(|_| luck(&mut random)).collect()).collect();
            let judged = judge(&groups[..], 1.0, run);
            named += judged.iter().filter(|group| matches!(group.verdict, BestVerdict::Best { .. })).count();
        }
        assert!(named <= 1, "{named} false winners in 320 groups");
    }

    #[test]
    fn correlated_impressions_are_worth_less() {
        let group = [arms(&[(50_000, 1_000), (50_000, 1_200)])];
        assert_eq!(judge(&group, 1.0, 1)[0].verdict, BestVerdict::Best { arm: 1 });
        assert_ne!(judge(&group, 5.0, 1)[0].verdict, BestVerdict::Best { arm: 1 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn probabilities_add_up(counts in prop::collection::vec((0_u64..100_000, 0_u64..3_000), 2..5), seed: u64) {
            let group = [arms(&counts)];
            let judged = judge(&group, 1.0, seed);
            prop_assert!((judged[0].arms.iter().map(|arm| arm.probability_best).sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert_eq!(&judged, &judge(&group, 1.0, seed));
        }
    }
}
