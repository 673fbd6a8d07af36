//! What is believed: a Gaussian for each weight, from priors and statistics, and its update.

use crate::domain::{
    optimizer::{
        delays::Patience,
        layout::{Group, Layout},
        lesson::{Lesson, LessonError, LessonKind},
        random::ln,
        settings::Settings,
        shape::Shape,
        statistics::Statistics,
    },
    values::Millis,
};

/// A weight's mean and variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// Mean, on the logit scale.
    pub mean: f32,
    /// Variance.
    pub variance: f32,
}

/// What is believed about every weight, and what was seen since the statistics it was made of.
#[derive(Clone, Debug)]
pub struct Posterior {
    layout: Layout,
    beliefs: Vec<Belief>,
    /// As they were when the last news were taken.
    base: Vec<Belief>,
    /// What was counted since.
    news: Statistics,
    /// How long rewards are on their way, where that is known, and what time it is.
    patience: Option<(Patience, Millis)>,
    /// Per feature whether it tells nobody apart: it says nothing then, and what others do not account
    /// for is noted of it, for when it does.
    common: Vec<bool>,
    active: Vec<u32>,
    silent: Vec<u32>,
}

/// How likely a reward was held to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Probability of a reward.
    pub rate: f64,
    /// Variance of the reward: its own, and that of the belief in the rate.
    pub variance: f64,
}

/// Means are kept within this, far beyond any rate that can be told from 0 or 1.
const FARTHEST: f64 = 30.0;
/// Variances are kept above this, so that there is always something left to learn.
const LEAST_VARIANCE: f64 = 1e-9;
/// Rounds of fitting the spreads to the data.
const ROUNDS: usize = 8;
/// As if this many terms with the prior's spread had been seen.
const PSEUDO: f64 = 5.0;

impl Posterior {
    /// What is believed after `statistics`, with priors whose spreads are fitted to them.
    ///
    /// The spread of each kind of term is that under which the data are most likely (MacKay's
    /// evidence framework, Neural Computation 1992), drawn towards the setting and kept within
    /// limits: without them interactions that are not seen at first are shrunk for good.
    #[must_use]
    pub fn new(statistics: &Statistics, settings: &Settings) -> Self {
        let layout = statistics.layout.clone();
        let mut beliefs = vec![Belief { mean: 0.0, variance: 1.0 }; layout.weights()];
        // what the base rate says counts as one reward, so that a wrong one is soon forgotten: terms
        // would otherwise take up what is common to all
        let total = statistics.total;
        let rate = settings.base_rate.clamp(1e-6, 1.0 - 1e-6);
        let rate = ((total.value + 1.0) / (total.shown as f64 + 1.0 / rate)).clamp(1e-6, 1.0 - 1e-6);
        let common = statistics.common();
        let features = statistics.telling(&common);
        for group in Group::ALL {
            let range = layout.group(group);
            let silent = |at: usize| match group {
                Group::Feature => common[at],
                Group::Cross => common[at / layout.components()],
                Group::Bias | Group::Main | Group::Pair => false,
            };
            let terms = || {
                let shift = statistics.shift[range.clone()].iter().zip(&statistics.pending[range.clone()]);
                let shift = shift.map(|(shift, pending)| shift + pending);
                statistics.precision[range.clone()].iter().zip(shift).enumerate().filter(|(at, _)| !silent(*at))
            };
            let start = settings.budgeted(group, layout.slots(), features);
            let centre = if group == Group::Bias { ln(rate / (1.0 - rate)) } else { 0.0 };
            let mut variance = start * start;
            if group != Group::Bias {
                let hyper = HYPER * start * start;
                let (least, most) = settings.spread_limits;
                for _ in 0..ROUNDS {
                    let (mut squares, mut known) = (PSEUDO * hyper, PSEUDO);
                    let seen = |(_, (precision, shift)): &(usize, (&f64, f64))| **precision != 0.0 || *shift != 0.0;
                    for (_, (precision, shift)) in terms().filter(seen) {
                        let total = precision + 1.0 / variance;
                        let mean = shift / total;
                        squares += mean * mean;
                        known += precision / total;
                    }
                    variance = (squares / known).clamp(start * start * least * least, start * start * most * most);
                }
            }
            let own = &mut beliefs[range.clone()];
            own.fill(Belief { mean: 0.0, variance: LEAST_VARIANCE as f32 });
            for (at, (precision, shift)) in terms() {
                let total = precision.max(0.0) + 1.0 / variance;
                own[at] = Belief {
                    mean: ((shift + centre / variance) / total).clamp(-FARTHEST, FARTHEST) as f32,
                    variance: (1.0 / total).max(LEAST_VARIANCE) as f32,
                };
            }
        }
        Self {
            base: beliefs.clone(),
            beliefs,
            news: Statistics::new(layout.clone()),
            layout,
            common,
            patience: None,
            active: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// The same, where it is known how long rewards take; see [`Self::learn`].
    #[must_use]
    pub(super) fn crediting(self, patience: Option<Patience>, now: Millis) -> Self {
        Self { patience: patience.map(|patience| (patience, now)), ..self }
    }

    /// What it is about.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is believed about each weight, in the order of the layout.
    #[must_use]
    pub fn beliefs(&self) -> &[Belief] {
        &self.beliefs
    }

    /// What is expected of a combination for a person.
    ///
    /// # Errors
    /// A choice or features that the layout does not have.
    pub fn expected(&mut self, choice: &[u16], features: &[u16]) -> Result<Expected, LessonError> {
        self.activate(choice, features)?;
        let (mean, variance) = self.score();
        Ok(expect(mean, variance))
    }

    /// Learns from one outcome, and says what had been expected.
    ///
    /// An impression counts as unrewarded: one Laplace step along the active weights (a diagonal
    /// Gaussian filter). A reward that comes later takes that back: the two likelihoods differ by the
    /// factor `exp(score)`, whose logarithm is linear, so the reward moves each active weight by its
    /// variance and no order of arrival gives another result.
    ///
    /// Until then terms of a component with a feature are credited with the reward that is expected, which
    /// runs out while the real ones come. Features such as parts of the day come in stretches, and what is
    /// shown in one would look worse for it than in all that are over. Terms that everybody shares get no
    /// credit: that what was shown a moment ago looks a little worse makes others be tried, too, while
    /// nothing is known.
    ///
    /// # Errors
    /// A choice or features that the layout does not have, or a value that is no finite number
    /// from 0 to [`Lesson::MOST_VALUE`]. Then nothing was learned.
    pub fn learn(&mut self, lesson: &Lesson<'_>) -> Result<Expected, LessonError> {
        let value = lesson.value()?;
        self.activate(lesson.choice, lesson.features)?;
        let (mean, variance) = self.score();
        match lesson.kind {
            LessonKind::Shown => {
                let waits = self.patience.as_ref();
                let left = waits.map_or(0.0, |(patience, now)| patience.left(now.since(lesson.at)));
                self.unrewarded(mean, variance, left as f32);
            }
            LessonKind::Rewarded { .. } => {
                for &at in &self.active {
                    let belief = &mut self.beliefs[at as usize];
                    let mean = f64::from(belief.mean) + value * f64::from(belief.variance);
                    belief.mean = mean.clamp(-FARTHEST, FARTHEST) as f32;
                }
                self.silent.iter().for_each(|at| self.news.shift[*at as usize] += value);
            }
        }
        self.news.tally(lesson);
        Ok(expect(mean, variance))
    }

    /// What was seen since the last time this was asked, to be added to the statistics of the epoch.
    pub fn take(&mut self) -> Statistics {
        let mut news = std::mem::replace(&mut self.news, Statistics::new(self.layout.clone()));
        let numbers = news.precision.iter_mut().zip(&mut news.shift).zip(&news.pending);
        for (((precision, shift), pending), (now, then)) in numbers.zip(self.beliefs.iter().zip(&self.base)) {
            // those that say nothing have theirs already
            if now != then {
                let (now_precision, then_precision) = (1.0 / f64::from(now.variance), 1.0 / f64::from(then.variance));
                *precision = (now_precision - then_precision).max(0.0);
                *shift = f64::from(now.mean) * now_precision - f64::from(then.mean) * then_precision - pending;
            }
        }
        self.base.copy_from_slice(&self.beliefs);
        news
    }

    /// One Laplace step for an impression without reward, of which `left` is still to come.
    fn unrewarded(&mut self, mean: f32, variance: f32, left: f32) {
        let (mean, variance) = (f64::from(mean), f64::from(variance).max(LEAST_VARIANCE));
        let mut score = mean;
        for _ in 0..6 {
            let rate = sigmoid(score);
            let step = (-rate - (score - mean) / variance) / (rate * (1.0 - rate) + 1.0 / variance);
            score += step;
            if step.abs() < 1e-6 {
                break;
            }
        }
        let rate = sigmoid(score);
        let (shift, curvature) = (((score - mean) / variance) as f32, (rate * (1.0 - rate)) as f32);
        let within = |mean: f32| mean.clamp(-FARTHEST as f32, FARTHEST as f32);
        let moved = |belief: Belief| Belief {
            mean: within(belief.mean + belief.variance * shift),
            // its precision grows by the curvature, as if the other terms were known
            variance: (belief.variance / (1.0 + curvature * belief.variance)).max(LEAST_VARIANCE as f32),
        };
        // four are divided in the time of one
        let (fours, rest) = self.active.as_chunks::<4>();
        for four in fours {
            let next = four.map(|at| self.beliefs[at as usize]).map(moved);
            four.iter().zip(next).for_each(|(at, belief)| self.beliefs[*at as usize] = belief);
        }
        rest.iter().for_each(|at| self.beliefs[*at as usize] = moved(self.beliefs[*at as usize]));
        for at in self.silent.iter().map(|at| *at as usize) {
            self.news.precision[at] += f64::from(curvature);
            self.news.shift[at] += f64::from(shift);
        }
        let (credit, cross) = (-shift * left, self.layout.group(Group::Cross).start);
        if credit > 0.0 {
            for (weights, tell) in [(&self.active, true), (&self.silent, false)] {
                for at in weights.iter().map(|at| *at as usize).filter(|at| *at >= cross) {
                    let belief = &mut self.beliefs[at];
                    if tell {
                        belief.mean = within(belief.mean + belief.variance * credit);
                    }
                    self.news.pending[at] += f64::from(credit);
                }
            }
        }
    }

    fn score(&self) -> (f32, f32) {
        // four sums: one would wait for itself at each step
        let (mut means, mut variances) = ([0.0_f32; 4], [0.0_f32; 4]);
        let mut add = |n: usize, at: u32| {
            let belief = self.beliefs[at as usize];
            means[n] += belief.mean;
            variances[n] += belief.variance;
        };
        let (fours, rest) = self.active.as_chunks::<4>();
        for four in fours {
            four.iter().enumerate().for_each(|(n, at)| add(n, *at));
        }
        rest.iter().enumerate().for_each(|(n, at)| add(n, *at));
        (means.iter().sum(), variances.iter().sum())
    }

    /// Notes which weights a choice and features name.
    fn activate(&mut self, choice: &[u16], features: &[u16]) -> Result<(), LessonError> {
        self.layout.check(choice, features)?;
        let common = |feature: &u16| self.common[usize::from(*feature)];
        let mut room = [0; Shape::MOST_SLOTS];
        let shown = shown(&self.layout, choice, &mut room);
        active(&self.layout, shown, features.iter().copied().filter(|of| !common(of)), &mut self.active);
        self.silent.clear();
        rows(&self.layout, shown, features.iter().copied().filter(common), &mut self.silent);
        Ok(())
    }
}

/// The prior of a spread's own fit: terms half as large as the setting says.
const HYPER: f64 = 0.25;

/// The components of a checked choice.
pub(super) fn shown<'a>(layout: &Layout, choice: &[u16], room: &'a mut [u32; Shape::MOST_SLOTS]) -> &'a [u32] {
    let shown = choice.iter().enumerate().filter_map(|(slot, one)| layout.component(slot, *one));
    let count = room.iter_mut().zip(shown).map(|(room, at)| *room = at as u32).count();
    &room[..count]
}

/// The weights of all terms of what is shown and of checked features.
pub(super) fn active(layout: &Layout, shown: &[u32], features: impl Iterator<Item = u16>, into: &mut Vec<u32>) {
    into.clear();
    into.push(0);
    let main = layout.group(Group::Main).start as u32;
    let components = layout.components() as u32;
    into.extend(shown.iter().map(|at| main + at));
    if layout.paired() {
        let pair = layout.group(Group::Pair).start as u32;
        for (n, first) in shown.iter().enumerate() {
            into.extend(shown[n + 1..].iter().map(|second| pair + first * components + second));
        }
    }
    rows(layout, shown, features, into);
}

/// The weights of features, alone and with what is shown.
fn rows(layout: &Layout, shown: &[u32], features: impl Iterator<Item = u16>, into: &mut Vec<u32>) {
    let (feature, cross) = (layout.group(Group::Feature).start as u32, layout.group(Group::Cross).start as u32);
    let components = layout.components() as u32;
    for one in features {
        into.push(feature + u32::from(one));
        let row = cross + u32::from(one) * components;
        into.extend(shown.iter().map(|at| row + at));
    }
}

fn expect(mean: f32, variance: f32) -> Expected {
    let rate = sigmoid(mean.into());
    let own = rate * (1.0 - rate);
    Expected { rate, variance: own + own * own * f64::from(variance) }
}

/// The rate of a score.
pub(super) fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}
