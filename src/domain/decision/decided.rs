//! A decision as it leaves the core: items, what each shows and why.

use std::sync::Arc;

use crate::domain::{
    audience::{
        compile::{RuleSet, SegmentIx},
        user::UserState,
        verdict::Verdict,
    },
    catalog::{campaign::Campaign, creative::Creative},
    decision::{
        explanation::{ItemExplanation, Reason},
        goods::Picked,
        learned::Thought,
        replay::Replay,
        standing::{Degraded, FallbackLevel, Standing},
    },
    ids::{DecisionId, NameHash, SegmentKey},
    measurement::exposure::Exposure,
    values::{Format, Millis, Size},
};

/// What is known of the person when the decision is made.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Their state; none when nobody is known.
    pub state: Option<&'a UserState>,
    /// How current that is.
    pub standing: Standing,
    /// Whether their frequency counters could be read. Without the purpose of reading profiles
    /// these are all there is of the state, and the standing is contextual all the same.
    pub counted: bool,
    /// What getting it gave up.
    pub degraded: &'a [Degraded],
    /// Capped campaigns being served to them right now.
    pub reserved: &'a [(NameHash, Millis)],
    /// Memberships decided before, when a record is replayed: they go before every rule.
    pub recorded: &'a [(SegmentKey, Verdict)],
    /// What was shown before, when a record is replayed; none: it is chosen now.
    pub replay: Option<Replay<'a>>,
}

impl Person<'_> {
    /// Nobody: no key, no consent.
    #[must_use]
    pub fn nobody(degraded: &[Degraded]) -> Person<'_> {
        Person {
            state: None,
            standing: Standing::Contextual,
            counted: false,
            degraded,
            reserved: &[],
            recorded: &[],
            replay: None,
        }
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// The request's own id.
    pub id: DecisionId,
    /// When.
    pub at: Millis,
    /// The catalogue version.
    pub catalog_version: i64,
    /// Per placement of the request, in its order, the items.
    pub placements: Vec<Vec<Item>>,
    /// Every membership that was looked at, held or not: those in play, or all of them where the request asked so.
    pub evaluated: Vec<(SegmentIx, Verdict)>,
    /// Per item why, where the request asked.
    pub explanation: Vec<ItemExplanation>,
    /// Where an item could be filled by what others give up, whether they gave it up.
    pub shared: Option<bool>,
}

impl Decision {
    /// Those of the segments looked at that the person is in, by name.
    #[must_use]
    pub fn segments(&self, rules: &RuleSet) -> Vec<(SegmentIx, Verdict)> {
        let mut held: Vec<_> = self.evaluated.iter().filter(|(_, verdict)| verdict.holds()).copied().collect();
        held.sort_by_key(|(ix, _)| rules.key(*ix));
        held
    }
}

/// One item of a placement.
#[derive(Debug)]
pub struct Item {
    /// Its id.
    pub id: DecisionId,
    /// What is shown; none: no fill.
    pub shown: Option<Showing>,
    /// How far down the fallback ladder it is.
    pub fallback: FallbackLevel,
    /// What was given up.
    pub degraded: Vec<Degraded>,
    /// Of an item without a fill, what alone kept back somebody who was to bid for it.
    pub missed: Option<Missed>,
}

/// What alone kept a campaign back that was chosen for an item, or that bids by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The person has seen it often enough.
    Capped,
    /// It is for people of whom more is known.
    Unmatched,
}

/// A creative with a component for every slot.
#[derive(Debug)]
pub struct Showing {
    /// Of which campaign; none for a house creative.
    pub campaign: Option<Arc<Campaign>>,
    /// The creative.
    pub creative: Arc<Creative>,
    /// Position among the creative's variants.
    pub variant: usize,
    /// The size it is shown in; none for formats without one.
    pub size: Option<Size>,
    /// Per slot of the creative what stands in it.
    pub choice: Vec<Option<u16>>,
    /// Why this combination.
    pub reason: Reason,
    /// Segments that the campaign's or a shown component's targeting names and the person is in.
    pub matched: Vec<SegmentIx>,
    /// What its tokens say of it; none where nothing is counted about it.
    pub exposure: Option<Exposure>,
    /// The probability with which it was chosen, where what was learned chose and the request wants
    /// everything explained.
    pub propensity: Option<f64>,
    /// How it was chosen, where what was learned chose.
    pub thought: Option<Thought>,
    /// What those of the creative's components show that pick products from feeds.
    pub picked: Vec<Picked>,
    /// Where components are chosen when it is rendered: the version of the catalogue to choose from.
    pub deferred: Option<i64>,
}

impl Showing {
    /// A creative with all its defaults.
    #[must_use]
    pub fn of_defaults(
        campaign: Option<Arc<Campaign>>,
        creative: Arc<Creative>,
        variant: usize,
        size: Option<Size>,
    ) -> Self {
        Self {
            choice: vec![None; creative.slots.len()],
            campaign,
            creative,
            variant,
            size,
            reason: Reason::Default,
            matched: Vec::new(),
            exposure: None,
            propensity: None,
            thought: None,
            picked: Vec::new(),
            deferred: None,
        }
    }

    /// The products picked for what stands in a slot.
    #[must_use]
    pub fn picked(&self, slot: usize) -> Option<&Picked> {
        if self.picked.is_empty() {
            return None;
        }
        let component = self.creative.chosen(slot, &self.choice)?;
        self.picked.iter().find(|picked| picked.component == component.hash)
    }
}

impl Showing {
    /// What kind of markup it is.
    #[must_use]
    pub fn format(&self) -> Format {
        self.creative.variants[self.variant].shape.0
    }
}
