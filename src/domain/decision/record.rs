//! What is kept of a decision so that it can be explained and replayed: the inputs themselves,
//! not references to things that change.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::domain::{
    audience::{activity::Activity, caps::CapRing, profile::Traits, user::UserState, verdict::Verdict},
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{
        decide::{self, decide},
        decided::{Decision, Item, Person, Showing},
        exclusion::ComponentExclusion,
        explanation::ItemExplanation,
        goods::RecordedGoods,
        learned::Learned,
        replay::{How, Of, Replay},
        request::{AdRequest, Explain, Seed},
        standing::{Degraded, FallbackLevel, Standing},
    },
    ids::{ComponentId, DecisionId, NameHash, SegmentKey, SlotName},
    values::Millis,
};

/// Everything that went into a request's decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The request, stripped of what its purposes do not allow.
    pub request: AdRequest,
    /// What it may be used for.
    pub purposes: Purposes,
    /// Whether anybody was known.
    pub known: bool,
    /// How current the profile was.
    pub standing: Standing,
    /// Whether the person's frequency counters could be read.
    #[serde(default)]
    pub counted: bool,
    /// What getting it gave up.
    pub degraded: Vec<Degraded>,
    /// The person's traits that targeting names.
    pub traits: Traits,
    /// The person's events that targeting asks about itself, packed, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub activity: String,
    /// Every membership that was looked at, and those in other segments that targeting names.
    pub memberships: Vec<(SegmentKey, Verdict)>,
    /// The person's packed cap counters, in base64.
    pub caps: String,
    /// Capped campaigns that were being served.
    pub reserved: Vec<(NameHash, Millis)>,
    /// The seed.
    pub seed: Seed,
    /// When.
    pub decided_at: Millis,
    /// The catalogue version.
    pub catalog_version: i64,
    /// Where beacons were addressed.
    pub public_url: String,
    /// The key that signed them.
    pub signing_key: u8,
    /// Per placement and item the components that were chosen.
    pub made: Vec<Vec<Option<Made>>>,
    /// How each was chosen.
    #[serde(default)]
    pub chosen: Vec<Vec<Option<How>>>,
    /// Where an item could be filled by what others give up, whether they gave it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// The products that their components picked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goods: Vec<RecordedGoods>,
}

/// A record as it is kept: what went in, and the item as it was answered.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded<I, A> {
    /// [`Inputs`], in whichever form they are at hand.
    pub inputs: I,
    /// The item as [`write_item`](super::answer::write_item) wrote it, likewise.
    pub item: A,
}

/// Which component stood in each slot.
pub type Made = Vec<(SlotName, Option<ComponentId>)>;

/// A record cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Its cap counters cannot be read.
    #[error("the recorded cap counters cannot be read")]
    Caps,
    /// Its events cannot be read.
    #[error("the recorded events cannot be read")]
    Activity,
    /// The catalogue of its time no longer has what it names.
    #[error("the catalogue no longer has what the record names")]
    Catalogue,
    /// It holds no such decision.
    #[error("the record holds no such decision")]
    Decision,
}

/// What a decision was made of.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The catalogue.
    pub snapshot: &'a Snapshot,
    /// The request.
    pub request: &'a AdRequest,
    /// The person.
    pub person: &'a Person<'a>,
    /// What the request may be used for.
    pub purposes: Purposes,
    /// The seed.
    pub seed: Seed,
    /// Where beacons are addressed.
    pub public_url: &'a str,
    /// The key that signs them.
    pub signing_key: u8,
}

impl Inputs {
    /// Takes down what a decision was made of.
    #[must_use]
    pub fn take(origin: &Origin<'_>, decision: &Decision) -> Self {
        let (snapshot, person) = (origin.snapshot, origin.person);
        let mut memberships = decision.evaluated.clone();
        let looked: BTreeSet<_> = memberships.iter().map(|(ix, _)| *ix).collect();
        let named = decide::memberships(snapshot, origin.request, person, origin.purposes, decision.at);
        memberships.extend(named.into_iter().filter(|(ix, _)| !looked.contains(ix)));
        let asked = snapshot.targeted_streams();
        let state = person.state.filter(|_| origin.purposes.profile_read);
        let activity = state.map(|state| state.activity.among(|id| asked.contains(&id))).unwrap_or_default();
        let caps = person.state.filter(|_| origin.purposes.basic).map(|state| state.caps.encode());
        Self {
            request: origin.request.clone(),
            purposes: origin.purposes,
            known: state.is_some() || caps.is_some(),
            standing: person.standing,
            counted: person.counted,
            degraded: person.degraded.to_vec(),
            traits: state.map(|state| state.traits.among(snapshot.targeted_traits())).unwrap_or_default(),
            activity: STANDARD.encode(activity.as_bytes()),
            memberships: memberships
                .into_iter()
                .map(|(ix, verdict)| (snapshot.rules.key(ix).clone(), verdict))
                .collect(),
            caps: STANDARD.encode(caps.unwrap_or_default()),
            reserved: person.reserved.to_vec(),
            seed: origin.seed,
            decided_at: decision.at,
            catalog_version: decision.catalog_version,
            public_url: origin.public_url.to_owned(),
            signing_key: origin.signing_key,
            shared: decision.shared,
            goods: goods(decision),
            made: decision
                .placements
                .iter()
                .map(|items| items.iter().map(|item| item.shown.as_ref().map(made)).collect())
                .collect(),
            chosen: decision
                .placements
                .iter()
                .map(|items| {
                    items.iter().map(|item| item.shown.as_ref().map(|showing| how(snapshot, item, showing))).collect()
                })
                .collect(),
        }
    }

    /// Decides again with the catalogue of the time. Screening runs anew; what won of what may serve, and
    /// which components stand in the slots, is taken from the record. Gives the whole decision and the
    /// position of the item asked for, which alone is explained.
    ///
    /// # Errors
    /// The record or the catalogue lacks something.
    pub fn replay(&self, snapshot: &Snapshot, wanted: DecisionId) -> Result<(Decision, usize, usize), ReplayError> {
        let state = self.state()?;
        let person =
            self.person(&state, Replay { goods: Some(&self.goods), chosen: &self.chosen, shared: self.shared, wanted });
        let learned = Learned::default();
        let decided = decide(snapshot, &learned, &self.request, &person, self.purposes, self.decided_at, self.seed);
        let mut decision = decided.map_err(|_| ReplayError::Catalogue)?;
        for (at, (items, made)) in decision.placements.iter_mut().zip(&self.made).enumerate() {
            for (place, (item, made)) in items.iter_mut().zip(made).enumerate() {
                let how = self.chosen.get(at).and_then(|items| items.get(place)?.as_ref());
                pin(item, made.as_ref(), how, snapshot, self.request.explain == Explain::Full)?;
                let explained = decision.explanation.iter_mut().find(|explained| explained.decision_id == item.id);
                if let (Some(explained), Some(showing)) = (explained, &item.shown) {
                    correct(explained, showing, how);
                }
            }
        }
        let items = decision.placements.iter().enumerate();
        let found =
            items.flat_map(|(at, items)| items.iter().enumerate().map(move |(item, shown)| (at, item, shown.id)));
        let (at, item, _) = found.into_iter().find(|(.., id)| *id == wanted).ok_or(ReplayError::Decision)?;
        Ok((decision, at, item))
    }

    /// What is recorded of the person.
    pub(super) fn state(&self) -> Result<UserState, ReplayError> {
        let caps = STANDARD.decode(&self.caps).map_err(|_| ReplayError::Caps)?;
        let caps = CapRing::decode(&caps).map_err(|_| ReplayError::Caps)?;
        let activity = STANDARD.decode(&self.activity).ok().and_then(|packed| Activity::decode(&packed).ok());
        let mut state = UserState::default();
        (state.traits, state.caps) = (self.traits.clone(), caps);
        state.activity = activity.ok_or(ReplayError::Activity)?;
        Ok(state)
    }

    /// The person as they were, in no segment but those that are recorded.
    pub(super) fn person<'a>(&'a self, state: &'a UserState, replay: Replay<'a>) -> Person<'a> {
        Person {
            state: self.known.then_some(state),
            standing: self.standing,
            counted: self.counted,
            degraded: &self.degraded,
            reserved: &self.reserved,
            recorded: &self.memberships,
            replay: Some(replay),
        }
    }
}

/// What was picked for the components of what is shown. Of picks for several places the longest holds
/// the others.
fn goods(decision: &Decision) -> Vec<RecordedGoods> {
    let mut goods: Vec<RecordedGoods> = Vec::new();
    for showing in decision.placements.iter().flatten().filter_map(|item| item.shown.as_ref()) {
        for picked in &showing.picked {
            let components = &showing.creative.components;
            let Some(component) = components.iter().find(|component| component.hash == picked.component) else {
                continue;
            };
            let (creative, component) = (&showing.creative.id, &component.id);
            let new = || RecordedGoods {
                creative: creative.clone(),
                component: component.clone(),
                products: picked.value.content(),
                by: picked.by.clone(),
            };
            match goods.iter_mut().find(|known| known.creative == *creative && known.component == *component) {
                Some(known) if known.by.len() >= picked.by.len() => {}
                Some(known) => *known = new(),
                None => goods.push(new()),
            }
        }
    }
    goods
}

fn made(showing: &Showing) -> Made {
    let creative = &showing.creative;
    let slots = creative.slots.iter().enumerate();
    slots.map(|(at, slot)| (slot.name.clone(), creative.chosen(at, &showing.choice).map(|c| c.id.clone()))).collect()
}

fn how(snapshot: &Snapshot, item: &Item, showing: &Showing) -> How {
    How {
        of: Some(Of {
            campaign: showing.campaign.as_ref().map(|campaign| campaign.id.clone()),
            creative: showing.creative.id.clone(),
            fallback: item.fallback == FallbackLevel::Default,
        }),
        reason: showing.reason,
        matched: showing.matched.iter().map(|ix| snapshot.rules.key(*ix).clone()).collect(),
        exposure: showing.exposure.clone(),
        optimizer: showing.thought.as_ref().and_then(|thought| thought.reasoning(showing)),
    }
}

/// Says of a replayed item what is known of it: what was learned has changed since.
fn correct(explained: &mut ItemExplanation, showing: &Showing, how: Option<&How>) {
    let Some(how) = how else { return };
    explained.reason = Some(how.reason);
    explained.optimizer = how.optimizer.clone();
    for slot in &mut explained.slots {
        let at = showing.creative.slots.iter().position(|known| known.name == slot.slot);
        let chosen = at.and_then(|at| showing.creative.chosen(at, &showing.choice)).map(|component| &component.id);
        slot.component = chosen.cloned();
        for component in &mut slot.components {
            let is = chosen == Some(&component.component);
            let was = component.excluded.take();
            component.excluded = if is { None } else { was.or(Some(ComponentExclusion::NotChosen)) };
        }
    }
}

/// Puts the recorded components into an item's slots.
fn pin(
    item: &mut Item,
    made: Option<&Made>,
    how: Option<&How>,
    snapshot: &Snapshot,
    full: bool,
) -> Result<(), ReplayError> {
    let (showing, made) = match (&mut item.shown, made) {
        (Some(showing), Some(made)) => (showing, made),
        (None, None) => return Ok(()),
        _ => return Err(ReplayError::Catalogue),
    };
    if let Some(how) = how {
        (showing.reason, showing.exposure) = (how.reason, how.exposure.clone());
        showing.propensity = if full { how.optimizer.as_ref().and_then(|why| why.propensity) } else { None };
        showing.matched = how.matched.iter().filter_map(|key| snapshot.rules.ix(key)).collect();
    }
    let creative = &showing.creative;
    for (name, component) in made {
        let slot = creative.slots.iter().position(|slot| slot.name == *name).ok_or(ReplayError::Catalogue)?;
        let at = match component {
            None => None,
            Some(id) => {
                let candidates = creative.slots[slot].candidates.iter();
                let at = candidates.map(|at| &creative.components[*at as usize].id).position(|known| known == id);
                Some(u16::try_from(at.ok_or(ReplayError::Catalogue)?).map_err(|_| ReplayError::Catalogue)?)
            }
        };
        showing.choice[slot] = at;
    }
    Ok(())
}
