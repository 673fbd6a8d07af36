//! What was seen, in numbers that add up in any order.
//!
//! The store keeps one [`Statistics`] per creative and the [`Epoch`] that it was last added to in; whichever
//! replica takes outcomes adds to it in its transaction, each outcome once. The numbers for learning are the natural parameters
//! of the likelihood (precision, and precision times mean), so that priors and forgetting are
//! applied when they are read and cost nothing to change.

use crate::domain::{optimizer::layout::Layout, values::Millis};

/// A stretch of time whose statistics fade together, in milliseconds.
pub const EPOCH_MS: i64 = 3_600_000;
/// After this long, what was learned weighs half.
pub const HALF_LIFE_MS: i64 = 30 * 86_400_000;
/// 2 to the power of -1 / epochs in a half-life.
const FADE: f64 = 0.999_037_758_833_783_4;
/// 2 to the power of -1 / 2,000: after so many impressions, those of before count half as recent.
const RECENT_FADE: f64 = 0.999_653_486_459_409_3;

/// Number of an hour since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The one that a time lies in.
    #[must_use]
    pub fn of(at: Millis) -> Self {
        Self(at.0.div_euclid(EPOCH_MS))
    }

    /// How much it weighs when the time is `now`: 1 while it lasts, and for times to come, so that
    /// a clock that goes backwards neither fades nor raises anything.
    #[must_use]
    pub fn weight(self, now: Millis) -> f64 {
        power(FADE, Self::of(now).0.saturating_sub(self.0).clamp(0, 1 << 20).unsigned_abs())
    }
}

/// The share of impressions above which a feature tells nobody apart.
const COMMON: f64 = 0.99;
/// The same where fewer than [`FEW`] impressions lack it: features get their numbers only after the first people who
/// have them, and so few say nothing of what is different without.
const MOSTLY: f64 = 0.9;
/// Impressions that are too few to be told apart by.
const FEW: f64 = 300.0;

/// The same to the last bit wherever it is worked out.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut power, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    power
}

/// What was counted about a component, for everybody or for those with a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Impressions.
    pub shown: u64,
    /// Rewards: clicks or conversions, as the campaign's goal has it.
    pub rewarded: u64,
    /// The sum of the rewards' values.
    pub value: f64,
}

impl Count {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.shown = self.shown.saturating_add(other.shown);
        self.rewarded = self.rewarded.saturating_add(other.rewarded);
        self.value = finite(self.value + other.value);
    }
}

/// What was seen of one creative.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    pub(super) layout: Layout,
    /// Per weight the precision of the likelihood.
    pub(super) precision: Vec<f64>,
    /// Per weight the precision times the mean.
    pub(super) shift: Vec<f64>,
    /// Per weight the part of the same that rewards still on their way are held to be worth.
    pub(super) pending: Vec<f64>,
    /// The creative as a whole.
    pub(super) total: Count,
    /// Active features, summed over impressions.
    pub(super) active: u64,
    /// Per component; then per feature, per component.
    pub(super) counts: Vec<Count>,
    /// Impressions of late, those of 2,000 before by half; of the creative, and per component.
    pub(super) recent: f64,
    pub(super) recently: Vec<f64>,
}

impl Statistics {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let (weights, counts) = (layout.weights(), (layout.features() + 1) * layout.components());
        Self {
            precision: vec![0.0; weights],
            shift: vec![0.0; weights],
            pending: vec![0.0; weights],
            counts: vec![Count::default(); counts],
            recently: vec![0.0; layout.components()],
            layout,
            ..Self::default()
        }
    }

    /// What it is about.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What was counted about the creative as a whole.
    #[must_use]
    pub fn total(&self) -> Count {
        self.total
    }

    /// What was counted about a component of a slot, for everybody or for those with a feature.
    /// Nothing where there is no such component or feature.
    #[must_use]
    pub fn count(&self, slot: usize, component: u16, feature: Option<u16>) -> Count {
        let row = feature.map_or(0, |feature| usize::from(feature) + 1);
        let known = slot < self.layout.slots() && row <= self.layout.features();
        let component = known.then(|| self.layout.component(slot, component)).flatten();
        component.map_or_else(Count::default, |component| self.counts[row * self.layout.components() + component])
    }

    /// Features that were active per impression, on average, of those that tell people apart; at least 1.
    #[must_use]
    pub fn features_per_impression(&self) -> f64 {
        self.telling(&self.common())
    }

    /// The same, where it is known which features do not.
    pub(super) fn telling(&self, common: &[bool]) -> f64 {
        let common = common.iter().filter(|common| **common).count();
        (self.active as f64 / self.total.shown.max(1) as f64 - common as f64).max(1.0)
    }

    /// Per feature whether nearly everybody who was shown the creative has it. It tells nobody apart then,
    /// and what it would say of a component the component's own term says already.
    #[must_use]
    pub fn common(&self) -> Vec<bool> {
        let components = self.layout.components();
        let mut rows = self.counts.chunks_exact(components.max(1)).map(|row| row.iter().map(|count| count.shown).sum());
        let all: u64 = rows.next().unwrap_or_default();
        // an impression counts once for each component of it
        let few = FEW * all as f64 / self.total.shown.max(1) as f64;
        let common = |shown: u64| {
            let (shown, all) = (shown as f64, all as f64);
            shown > COMMON * all || all - shown < few && shown > MOSTLY * all
        };
        let mut common: Vec<bool> = rows.map(common).collect();
        common.resize(self.layout.features(), false);
        common
    }

    /// Makes room for what `layout` has more.
    pub fn grow(&mut self, layout: &Layout) {
        self.fit(&self.layout.joined(layout));
    }

    /// Takes on a layout: makes room for what it has more, and forgets what it has no longer.
    pub fn fit(&mut self, layout: &Layout) {
        if *layout == self.layout {
            return;
        }
        let (total, active, recent) = (self.total, self.active, self.recent);
        let mut fitted = Self { total, active, recent, ..Self::new(layout.clone()) };
        for (there, here) in layout.moved(&self.layout) {
            fitted.precision[here] = self.precision[there];
            fitted.shift[here] = self.shift[there];
            fitted.pending[here] = self.pending[there];
        }
        let (old, new) = (self.layout.components(), layout.components());
        let rows = self.layout.features().min(layout.features()) + 1;
        for (there, recently) in self.recently.iter().enumerate() {
            let Some(here) = layout.place_of(&self.layout, there) else { continue };
            fitted.recently[here] = *recently;
            (0..rows).for_each(|row| fitted.counts[row * new + here] = self.counts[row * old + there]);
        }
        *self = fitted;
    }

    /// Adds what another saw. In whatever order many are added, the sum is the same but for the
    /// rounding of the last bits.
    pub fn merge(&mut self, other: &Self) {
        self.grow(&other.layout);
        let widened;
        let other = if other.layout == self.layout {
            other
        } else {
            let mut copy = other.clone();
            copy.grow(&self.layout);
            widened = copy;
            &widened
        };
        self.total.add(&other.total);
        self.active = self.active.saturating_add(other.active);
        self.recent = finite(self.recent + other.recent);
        let numbers = [
            (&mut self.precision, &other.precision),
            (&mut self.shift, &other.shift),
            (&mut self.pending, &other.pending),
            (&mut self.recently, &other.recently),
        ];
        for (sums, more) in numbers {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = finite(*sum + more));
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, more)| sum.add(more));
    }

    /// Lets the time pass from an epoch to now: what was learned weighs less. What was counted stays.
    pub fn fade(&mut self, from: Epoch, now: Millis) {
        self.weigh(from.weight(now));
    }

    /// Adds what was seen next: what was shown before is less recent then.
    pub fn follow(&mut self, news: &Self) {
        let recent = power(RECENT_FADE, news.total.shown);
        self.recently.iter_mut().chain([&mut self.recent]).for_each(|number| *number *= recent);
        self.merge(news);
    }

    /// Lets credit for rewards on their way run out: `left` of it, 0 to 1, stays.
    pub(super) fn settle(&mut self, left: f64) {
        // less than this moves nothing, and would be kept for ever
        let some = |credit: f64| if credit < 1e-9 { 0.0 } else { credit };
        self.pending.iter_mut().for_each(|pending| *pending = some(*pending * left));
    }

    /// Forgets most of what was learned, and nothing that was counted.
    pub fn forget(&mut self) {
        self.weigh(KEPT);
    }

    fn weigh(&mut self, weight: f64) {
        let numbers = self.precision.iter_mut().chain(&mut self.shift).chain(&mut self.pending);
        numbers.for_each(|number| *number *= weight);
    }

    /// Whether every number is finite and no precision negative.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let numbers = self.shift.iter().chain(&self.pending).all(|shift| shift.is_finite())
            && self.precision.iter().all(|precision| precision.is_finite() && *precision >= 0.0)
            && self.recently.iter().chain([&self.recent]).all(|recently| recently.is_finite() && *recently >= 0.0);
        numbers && self.counts.iter().chain([&self.total]).all(|count| count.value.is_finite() && count.value >= 0.0)
    }
}

/// How much what was learned weighs after it was seen to be no longer true.
const KEPT: f64 = 0.1;

impl serde::Serialize for Epoch {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(out)
    }
}

impl<'de> serde::Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        i64::deserialize(from).map(Self)
    }
}

/// Sums stay numbers, however large what is added.
pub(super) fn finite(number: f64) -> f64 {
    number.clamp(-1e30, 1e30)
}
