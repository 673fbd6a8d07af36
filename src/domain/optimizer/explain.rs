//! Why a combination scored as it did.

use crate::domain::optimizer::{
    layout::Group,
    lesson::LessonError,
    posterior::{active, shown, sigmoid},
    shape::Shape,
    snapshot::Snapshot,
};

/// One term of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// What all scores share.
    Bias,
    /// A component.
    Component {
        /// Its slot.
        slot: usize,
        /// Its number.
        component: u16,
    },
    /// Two components together.
    Pair {
        /// The first one's slot and number.
        first: (usize, u16),
        /// The second one's.
        second: (usize, u16),
    },
    /// A feature, whatever is shown.
    Feature {
        /// Its number.
        feature: u16,
    },
    /// A component for a feature.
    Cross {
        /// The feature's number.
        feature: u16,
        /// The component's slot.
        slot: usize,
        /// Its number.
        component: u16,
    },
}

/// A term and what is believed about it, on the logit scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// The term.
    pub term: Term,
    /// Posterior mean.
    pub mean: f64,
    /// Posterior standard deviation.
    pub deviation: f64,
}

/// The score of a combination for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The posterior mean on the logit scale.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// The rate at the mean.
    pub rate: f64,
    /// The rates between which the true one lies with a probability of 95%.
    pub interval: (f64, f64),
    /// The score by the member that chose, without the terms that do not depend on what is shown.
    pub sampled: Option<f64>,
    /// Every term, the largest first.
    pub terms: Vec<Contribution>,
}

impl Snapshot {
    /// What is believed about a combination for a person with these features, and by which terms;
    /// `member` for what it scored in the draw that chose.
    ///
    /// # Errors
    /// A choice or features that this snapshot does not know.
    pub fn score(&self, features: &[u16], choice: &[u16], member: Option<usize>) -> Result<Score, LessonError> {
        self.layout.check(choice, features)?;
        let mut weights = Vec::new();
        let mut room = [0; Shape::MOST_SLOTS];
        active(&self.layout, shown(&self.layout, choice, &mut room), features.iter().copied(), &mut weights);
        let contribution = |at: &u32| {
            let belief = self.beliefs[*at as usize];
            let (mean, deviation) = (belief.mean.into(), f64::from(belief.variance).sqrt());
            Contribution { term: self.term(*at as usize), mean, deviation }
        };
        let mut terms: Vec<_> = weights.iter().map(contribution).collect();
        let mean: f64 = terms.iter().map(|term| term.mean).sum();
        let deviation = terms.iter().map(|term| term.deviation * term.deviation).sum::<f64>().sqrt();
        terms.sort_by(|a, b| b.mean.abs().total_cmp(&a.mean.abs()).then(a.term.cmp(&b.term)));
        let sampled = member.filter(|member| *member < self.members()).map(|member| self.sampled(member, &weights));
        let bound = |z: f64| sigmoid(mean + z * deviation);
        Ok(Score { mean, deviation, rate: sigmoid(mean), interval: (bound(-1.96), bound(1.96)), sampled, terms })
    }

    fn sampled(&self, member: usize, weights: &[u32]) -> f64 {
        let member = self.member(member);
        let tables = [(Group::Main, member.mains), (Group::Pair, member.pairs), (Group::Cross, member.crosses)];
        let drawn = |at: usize| {
            tables.iter().find_map(|(group, table)| {
                let range = self.layout.group(*group);
                range.contains(&at).then(|| f64::from(table[at - range.start]))
            })
        };
        weights.iter().filter_map(|at| drawn(*at as usize)).sum()
    }

    fn term(&self, at: usize) -> Term {
        let within = |group: Group| {
            let range = self.layout.group(group);
            range.contains(&at).then(|| at - range.start)
        };
        let components = self.layout.components().max(1);
        if let Some(at) = within(Group::Main) {
            let (slot, component) = self.layout.place(at);
            return Term::Component { slot, component };
        }
        if let Some(at) = within(Group::Pair) {
            return Term::Pair {
                first: self.layout.place(at / components),
                second: self.layout.place(at % components),
            };
        }
        if let Some(at) = within(Group::Feature) {
            return Term::Feature { feature: at as u16 };
        }
        if let Some(at) = within(Group::Cross) {
            let (slot, component) = self.layout.place(at % components);
            return Term::Cross { feature: (at / components) as u16, slot, component };
        }
        Term::Bias
    }
}
