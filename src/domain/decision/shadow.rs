//! What the profile changed: the same decision once more without it, and once more for each segment
//! that differs, until it is known which rule made the difference.

use std::{fmt, str::FromStr};

use crate::domain::{
    audience::{compile::SegmentIx, user::UserState, verdict::Verdict},
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{
        decide::decide,
        decided::{Decision, Item, Person, Showing},
        learned::Learned,
        request::{AdRequest, Seed},
        standing::Standing,
    },
    ids::{CampaignId, ComponentId, CreativeId, SegmentKey},
    values::Millis,
};

/// What made a decision differ from one without the profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Being in this segment, or not being in it: that alone makes the difference.
    Segment(SegmentKey),
    /// The targeting of this campaign, by no single segment.
    Campaign(CampaignId),
    /// The targeting of this component, or what it picks for the person, by no single segment.
    Component(CreativeId, ComponentId),
    /// What was learned about people like this.
    Learned,
}

/// The text names no cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is segment:, campaign: or component: with names behind it, or learned")]
pub struct NoCause;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(key) => write!(f, "segment:{key}"),
            Self::Campaign(id) => write!(f, "campaign:{id}"),
            Self::Component(creative, id) => write!(f, "component:{creative}/{id}"),
            Self::Learned => f.write_str("learned"),
        }
    }
}

impl FromStr for Cause {
    type Err = NoCause;

    fn from_str(text: &str) -> Result<Self, NoCause> {
        let named = match text.split_once(':') {
            None if text == "learned" => Some(Self::Learned),
            Some(("segment", key)) => key.parse().ok().map(Self::Segment),
            Some(("campaign", id)) => id.parse().ok().map(Self::Campaign),
            Some(("component", names)) => names
                .split_once('/')
                .and_then(|(creative, id)| Some(Self::Component(creative.parse().ok()?, id.parse().ok()?))),
            _ => None,
        };
        named.ok_or(NoCause)
    }
}

/// What a decision was made of.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The catalogue.
    pub snapshot: &'a Snapshot,
    /// What was learned.
    pub learned: &'a Learned,
    /// The request, stripped of what its purposes do not allow.
    pub request: &'a AdRequest,
    /// The person; none where nobody is known.
    pub state: Option<&'a UserState>,
    /// How current that is.
    pub standing: Standing,
    /// Whether their frequency counters could be read.
    pub counted: bool,
    /// What the request may be used for.
    pub purposes: Purposes,
    /// When.
    pub now: Millis,
    /// The seed.
    pub seed: Seed,
}

/// Segments that are tried one by one. Further ones are taken to make no difference alone.
const TRIED: usize = 32;

impl Asked<'_> {
    /// What the profile changed about what is shown, in order; nothing, where it changed nothing. What
    /// is drawn for the person is drawn the same without the profile, so that chance changes nothing.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        let Some(state) = self.state.filter(|_| self.purposes.profile_read) else { return Vec::new() };
        let known = self.decided(self.request, Some(state), &[]);
        let mut bare = UserState::default();
        bare.caps = state.caps.clone();
        let mut plain = self.request.clone();
        plain.traits = Default::default();
        plain.segments.clear();
        let nobody = self.decided(&plain, Some(&bare), &[]);
        let (Some(known), Some(nobody)) = (known, nobody) else { return Vec::new() };
        if same(&known, &nobody) {
            return Vec::new();
        }
        let mut causes: Vec<Cause> = self
            .differing(&known, &nobody)
            .filter(|(key, verdict)| {
                let other = self.decided(self.request, Some(state), &[((*key).clone(), *verdict)]);
                other.is_some_and(|other| !same(&known, &other))
            })
            .map(|(key, _)| Cause::Segment(key.clone()))
            .collect();
        if causes.is_empty() {
            let pairs = known.placements.iter().flatten().zip(nobody.placements.iter().flatten());
            causes.extend(pairs.filter(|(one, other)| !alike(one, other)).flat_map(|(one, other)| by(one, other)));
        }
        causes.sort_unstable();
        causes.dedup();
        causes
    }

    fn decided(
        &self,
        request: &AdRequest,
        state: Option<&UserState>,
        recorded: &[(SegmentKey, Verdict)],
    ) -> Option<Decision> {
        let person = Person {
            state,
            standing: self.standing,
            counted: self.counted,
            degraded: &[],
            reserved: &[],
            recorded,
            replay: None,
        };
        decide(self.snapshot, self.learned, request, &person, self.purposes, self.now, self.seed).ok()
    }

    /// Memberships that were looked at and that are others without the profile, with what they are then.
    fn differing<'a>(
        &'a self,
        known: &'a Decision,
        nobody: &'a Decision,
    ) -> impl Iterator<Item = (&'a SegmentKey, Verdict)> {
        let without = |ix: SegmentIx| nobody.evaluated.iter().find(|(of, _)| *of == ix).map(|(_, verdict)| *verdict);
        let other = move |(ix, verdict): &(SegmentIx, Verdict)| {
            // what nobody was asked about is nothing that somebody unknown is in
            let holds = without(*ix).is_some_and(|verdict| verdict.holds());
            (holds != verdict.holds()).then(|| (self.snapshot.rules.key(*ix), Verdict::constant(holds)))
        };
        known.evaluated.iter().filter_map(other).take(TRIED)
    }
}

fn same(one: &Decision, other: &Decision) -> bool {
    let (mut left, mut right) = (one.placements.iter().flatten(), other.placements.iter().flatten());
    left.by_ref().zip(right.by_ref()).all(|(one, other)| alike(one, other))
}

/// Whether two items show the same.
fn alike(one: &Item, other: &Item) -> bool {
    match (&one.shown, &other.shown) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            campaign(one) == campaign(other)
                && one.creative.id == other.creative.id
                && (0..one.creative.slots.len()).all(|slot| within(one, other, slot))
        }
        _ => false,
    }
}

fn campaign(showing: &Showing) -> Option<&CampaignId> {
    showing.campaign.as_ref().map(|campaign| &campaign.id)
}

/// Whether both show the same in a slot of the creative that they share.
fn within(one: &Showing, other: &Showing, slot: usize) -> bool {
    one.choice.get(slot) == other.choice.get(slot)
        && one.picked(slot).map(|picked| &picked.content) == other.picked(slot).map(|picked| &picked.content)
}

/// By what two items differ, if by no segment: the targeting of what is shown, else of what is not.
fn by(one: &Item, other: &Item) -> Vec<Cause> {
    let targeted = |item: &Item| {
        let campaign = item.shown.as_ref()?.campaign.as_ref()?;
        campaign.condition.is_some().then(|| Cause::Campaign(campaign.id.clone()))
    };
    let (Some(shown), Some(instead)) = (&one.shown, &other.shown) else {
        return targeted(one).or_else(|| targeted(other)).into_iter().collect();
    };
    if campaign(shown) != campaign(instead) || shown.creative.id != instead.creative.id {
        return vec![targeted(one).or_else(|| targeted(other)).unwrap_or(Cause::Learned)];
    }
    let slots = (0..shown.creative.slots.len()).filter(|slot| !within(shown, instead, *slot));
    let of = |showing: &Showing, slot: usize| {
        let component = showing.creative.chosen(slot, &showing.choice)?;
        let own = component.condition.is_some() || showing.picked(slot).is_some();
        own.then(|| Cause::Component(showing.creative.id.clone(), component.id.clone()))
    };
    slots.map(|slot| of(shown, slot).or_else(|| of(instead, slot)).unwrap_or(Cause::Learned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_as_they_are_written() {
        let key = "vip".parse().expect("a key");
        let (creative, component) = ("spring".parse().expect("an id"), "h-2".parse().expect("an id"));
        let all = [
            (Cause::Segment(key), "segment:vip"),
            (Cause::Campaign("spring".parse().expect("an id")), "campaign:spring"),
            (Cause::Component(creative, component), "component:spring/h-2"),
            (Cause::Learned, "learned"),
        ];
        for (cause, text) in all {
            assert_eq!(cause.to_string(), text);
            assert_eq!(text.parse(), Ok(cause));
        }
        for odd in ["", "vip", "segment:", "segment:VIP!", "component:spring", "learned:x"] {
            assert_eq!(odd.parse::<Cause>(), Err(NoCause), "{odd}");
        }
    }
}
