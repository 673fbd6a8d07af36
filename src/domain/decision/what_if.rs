//! What a draft of the catalogue would change: recorded decisions, each made anew twice, with the
//! catalogue as it is and with the draft; by the same person, time, seed and learned state.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::{
    audience::activity::StreamId,
    catalog::snapshot::Snapshot,
    decision::{
        decide::decide,
        decided::{Decision, Item, Showing},
        learned::Learned,
        record::Inputs,
        replay::Replay,
        request::{AdRequest, Explain, Stage},
    },
    ids::{CampaignId, ComponentId, CreativeId, DecisionId, NameHash, PlacementId, SegmentKey, SlotName},
    values::Millis,
};

/// What records hold of people that were made with a catalogue.
#[derive(Clone, Debug, Default)]
pub struct Held {
    segments: BTreeSet<SegmentKey>,
    traits: BTreeSet<NameHash>,
    streams: BTreeSet<StreamId>,
}

impl Held {
    /// Everything that its targeting names.
    #[must_use]
    pub fn by(catalogue: &Snapshot) -> Self {
        Self {
            segments: catalogue.targeted_segments().iter().map(|ix| catalogue.rules.key(*ix).clone()).collect(),
            traits: catalogue.targeted_traits().clone(),
            streams: catalogue.targeted_streams().clone(),
        }
    }
}

/// Why a recorded decision cannot be made anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// Nobody saw it: a preview.
    Preview,
    /// It only filled in what an earlier one had left open.
    Rest,
    /// It cannot be read.
    Unreadable,
    /// Its catalogue cannot be had, or too many others were looked at already.
    Catalogue,
    /// It names a placement that is not registered any more.
    Placement,
    /// Targeting names traits of which it holds nothing.
    Traits,
    /// Targeting asks about events of which it holds nothing.
    Events,
    /// Targeting names these segments, of which it holds nothing.
    Segments(Vec<SegmentKey>),
}

/// What differs, the most important alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something is shown instead of nothing.
    Filled,
    /// Nothing is shown instead of something.
    Unfilled,
    /// Another campaign is shown.
    Campaign,
    /// Another creative of the campaign.
    Creative,
    /// Other components of the creative.
    Components,
    /// The same components as they are in another revision.
    Revision,
}

/// What an item shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Shown {
    /// The campaign; left out for a house creative.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub campaign: Option<CampaignId>,
    /// The creative.
    #[schema(value_type = String)]
    pub creative: CreativeId,
    /// Its revision.
    pub revision: u32,
    /// The component in each slot; null for the slot's own default.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub components: BTreeMap<SlotName, Option<ComponentId>>,
}

/// An item, made twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The recorded decision.
    pub decision: DecisionId,
    /// When it was made.
    pub at: Millis,
    /// What is shown by the catalogue as it is.
    pub before: Option<Shown>,
    /// What would be by the draft.
    pub after: Option<Shown>,
}

impl Compared {
    /// What differs; none where nothing does.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let (before, after) = match (&self.before, &self.after) {
            (None, None) => return None,
            (None, Some(_)) => return Some(Change::Filled),
            (Some(_), None) => return Some(Change::Unfilled),
            (Some(before), Some(after)) => (before, after),
        };
        if before.campaign != after.campaign {
            Some(Change::Campaign)
        } else if before.creative != after.creative {
            Some(Change::Creative)
        } else if before.components != after.components {
            Some(Change::Components)
        } else {
            (before.revision != after.revision).then_some(Change::Revision)
        }
    }
}

/// Two catalogues to decide by.
#[derive(Clone, Copy, Debug)]
pub struct WhatIf<'a> {
    /// The one that serves.
    pub now: &'a Snapshot,
    /// The one that would.
    pub draft: &'a Snapshot,
    /// What was learned.
    pub learned: &'a Learned,
    /// Campaigns of the draft. Where only those with money may be shown, these are taken to have some.
    pub drafted: &'a [CampaignId],
}

impl WhatIf<'_> {
    /// The items of a recorded request, of one registered placement where one is named. `held` is of
    /// the catalogue that the record was made with.
    ///
    /// # Errors
    /// What keeps them from being made anew.
    pub fn compare(
        &self,
        inputs: &Inputs,
        held: &Held,
        placement: Option<&PlacementId>,
    ) -> Result<Vec<Compared>, Unfit> {
        if inputs.request.preview.is_some() {
            return Err(Unfit::Preview);
        }
        if inputs.request.placements.iter().any(|placement| matches!(placement.stage, Stage::Rest(_))) {
            return Err(Unfit::Rest);
        }
        for catalogue in [self.now, self.draft] {
            if !catalogue.targeted_traits().is_subset(&held.traits) {
                return Err(Unfit::Traits);
            }
            if !catalogue.targeted_streams().is_subset(&held.streams) {
                return Err(Unfit::Events);
            }
        }
        let mut request = AdRequest { explain: Explain::None, all_segments: false, ..inputs.request.clone() };
        let before = self.decided(self.now, inputs, &request)?;
        for place in &mut request.placements {
            if let Some(among) = &mut place.among {
                among.extend(self.drafted.iter().map(|id| NameHash::of(id.as_str())));
                among.sort_unstable();
                among.dedup();
            }
        }
        let after = self.decided(self.draft, inputs, &request)?;
        let mut missing = BTreeSet::new();
        for (catalogue, decision) in [(self.now, &before), (self.draft, &after)] {
            let targeted = decision.evaluated.iter().filter(|(ix, _)| catalogue.targeted_segments().contains(ix));
            let looked = targeted.map(|(ix, _)| catalogue.rules.key(*ix));
            let known = |key: &SegmentKey| {
                let recorded = inputs.memberships.iter().any(|(of, _)| of == key);
                recorded || held.segments.contains(key) || inputs.request.segments.contains(key)
            };
            missing.extend(looked.filter(|key| !known(key)).cloned());
        }
        if !missing.is_empty() {
            return Err(Unfit::Segments(missing.into_iter().collect()));
        }
        let placements = inputs.request.placements.iter().zip(before.placements.iter().zip(&after.placements));
        let wanted = placements.filter(|(asked, _)| placement.is_none() || asked.placement.as_ref() == placement);
        let pairs = wanted.flat_map(|(_, (before, after))| before.iter().zip(after));
        let compared = |(before, after): (&Item, &Item)| Compared {
            decision: before.id,
            at: inputs.decided_at,
            before: before.shown.as_ref().map(shown),
            after: after.shown.as_ref().map(shown),
        };
        Ok(pairs.map(compared).collect())
    }

    fn decided(&self, catalogue: &Snapshot, inputs: &Inputs, request: &AdRequest) -> Result<Decision, Unfit> {
        let state = inputs.state().map_err(|_| Unfit::Unreadable)?;
        let person = inputs.person(&state, Replay::NOTHING);
        let decided =
            decide(catalogue, self.learned, request, &person, inputs.purposes, inputs.decided_at, inputs.seed);
        decided.map_err(|_| Unfit::Placement)
    }
}

fn shown(showing: &Showing) -> Shown {
    let creative = &showing.creative;
    let slots = creative.slots.iter().enumerate();
    let component = |at| creative.chosen(at, &showing.choice).map(|component| component.id.clone());
    Shown {
        campaign: showing.campaign.as_ref().map(|campaign| campaign.id.clone()),
        creative: creative.id.clone(),
        revision: creative.revision,
        components: slots.map(|(at, slot)| (slot.name.clone(), component(at))).collect(),
    }
}

/// How many items changed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items that were made twice.
    pub decisions: u64,
    changes: [u64; 6],
}

impl Tally {
    /// Counts an item.
    pub fn count(&mut self, change: Option<Change>) {
        self.decisions += 1;
        if let Some(change) = change {
            self.changes[change as usize] += 1;
        }
    }

    /// Items that changed so.
    #[must_use]
    pub fn of(&self, change: Change) -> u64 {
        self.changes[change as usize]
    }

    /// Items that changed.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changes.iter().sum()
    }
}
