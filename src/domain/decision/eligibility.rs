//! Whether a campaign may serve, asked condition by condition, cheapest first.

use crate::domain::{
    audience::{caps::CapRing, evaluate::Evaluator, user::UserState},
    catalog::{
        campaign::Campaign,
        creative::{Choice, Creative},
        document::{CampaignStatus, UncappedUsers},
        snapshot::{Line, Placement},
    },
    decision::{choose::Manner, exclusion::Exclusion, request::PlacementRequest},
    ids::{CampaignId, NameHash, PlacementId},
    values::{Format, Millis, Size},
};

/// How often a person saw campaigns: committed impressions, servings under way, and what this
/// request has shown so far.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Whether impressions of this person may be counted at all.
    pub countable: bool,
    /// What is kept of the person.
    pub state: Option<&'a UserState>,
    /// Servings under way, by campaign.
    pub reserved: &'a [(NameHash, Millis)],
    /// What this request has shown so far.
    pub shown: Vec<Shown>,
}

/// A campaign that this request has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub id: CampaignId,
    /// Stands for it in counters.
    pub hash: NameHash,
    /// Its exclusive group.
    pub group: Option<Box<str>>,
    /// Position of the placement in the request.
    pub placement: usize,
    /// Position of the item among all of the request.
    pub item: usize,
}

impl Seen<'_> {
    /// Impressions of a campaign after `since`, as far as they can have been by `now`.
    #[must_use]
    pub fn count(&self, campaign: NameHash, since: Millis, now: Millis) -> u32 {
        let until = now.plus(CapRing::SKEW_MS);
        let committed = self.state.map_or(0, |state| state.caps.count_between(campaign, since, until));
        let reserved = self.reserved.iter().filter(|(of, at)| *of == campaign && *at > since).count();
        let shown = self.shown.iter().filter(|shown| shown.hash == campaign).count();
        // both are small: a ring keeps 64, and a request asks for at most 500 items
        committed + (reserved + shown) as u32
    }
}

/// One item to fill.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Position of its placement in the request.
    pub placement: usize,
    /// Position of the item among the placement's.
    pub position: u8,
    /// The slot.
    pub request: &'a PlacementRequest,
    /// The registered placement it names.
    pub registered: Option<&'a PlacementId>,
    /// Formats asked for.
    pub formats: &'a [Format],
    /// Sizes asked for.
    pub sizes: &'a [Size],
    /// Whether the caller pinned this campaign: its floor, and where it may stand unless that is a
    /// registered placement, are the caller's business then.
    pub pinned: bool,
    /// Now.
    pub now: Millis,
}

impl<'a> Ask<'a> {
    /// An item of a slot, which takes what its placement does where it does not say.
    #[must_use]
    pub fn of(
        (placement, position): (usize, u8),
        request: &'a PlacementRequest,
        registered: Option<&'a Placement>,
        now: Millis,
    ) -> Self {
        let (mut formats, mut sizes) = (&*request.formats, &*request.sizes);
        if let Some(registered) = registered {
            formats = if formats.is_empty() { &registered.formats } else { formats };
            sizes = if sizes.is_empty() { &registered.sizes } else { sizes };
        }
        Self {
            placement,
            position,
            request,
            registered: request.placement.as_ref(),
            formats: if formats.is_empty() { &[Format::Html] } else { formats },
            sizes,
            pinned: request.candidate.is_some(),
            now,
        }
    }
}

impl Ask<'_> {
    /// The variant of a creative that would be shown: with a video that the player takes where it is one, and with
    /// all that a native answer must have.
    #[must_use]
    pub fn variant(&self, creative: &Creative) -> Option<(usize, Option<Size>)> {
        let (video, native) = (self.request.video.as_ref(), self.request.native.as_ref());
        let fits = |variant| creative.may_play(variant, video) && creative.may_answer(variant, native);
        let mut formats = self.request.open_formats(creative, self.formats);
        let mut found = creative.variant(&formats, self.sizes)?;
        while !fits(found.0) {
            let (unfit, _) = creative.variants[found.0].shape;
            formats.to_mut().retain(|format| *format != unfit);
            found = creative.variant(&formats, self.sizes)?;
        }
        Some(found)
    }

    /// A manner of choosing, among what this slot takes in a variant.
    #[must_use]
    pub fn manner<'m>(&'m self, variant: usize, manner: Manner<'m>) -> Manner<'m> {
        let native = self.request.native.as_ref().map(|wanted| (wanted, variant));
        let (video, languages) = (self.request.video.as_ref(), self.request.languages.as_deref());
        Manner { video, native, languages, ..manner }
    }

    /// Whether the player takes what a choice shows, which for all but videos it does.
    #[must_use]
    pub fn plays(&self, creative: &Creative, variant: usize, choice: &Choice) -> bool {
        let video = creative.video(variant, choice).zip(self.request.video.as_ref());
        video.is_none_or(|((video, _), wanted)| wanted.takes(video))
    }
}

/// The first condition that keeps a campaign from serving; `None` when it may.
pub fn screen(line: &Line, ask: &Ask<'_>, evaluator: &mut Evaluator<'_>, seen: &Seen<'_>) -> Option<Exclusion> {
    let campaign = &*line.campaign;
    if campaign.status != CampaignStatus::Active {
        return Some(Exclusion::Status { status: campaign.status });
    }
    let spends = |at: usize| {
        let funds = ask.request.funds.get(at);
        funds
            .is_none_or(|funds| seen.shown.iter().filter(|shown| shown.hash == campaign.hash).count() < *funds as usize)
    };
    if ask.request.among.as_ref().is_some_and(|among| !among.binary_search(&campaign.hash).is_ok_and(spends)) {
        return Some(Exclusion::NotBidding);
    }
    if let Some(grounded) = campaign.flight.grounded(ask.now) {
        return Some(grounded.into());
    }
    let elsewhere = ask.registered.map_or(!ask.pinned, |id| !campaign.placements.contains(id));
    if elsewhere && !campaign.placements.is_empty() {
        return Some(Exclusion::Placement);
    }
    let mut fitting = line.creatives.iter().filter(|creative| ask.variant(creative).is_some()).peekable();
    if fitting.peek().is_none() {
        return Some(Exclusion::NoMatchingSize);
    }
    if fitting.all(|creative| ask.request.blocked_creatives.contains(&creative.id)) {
        return Some(Exclusion::BlockedCreative);
    }
    if let Some(floor) = ask.request.floor.filter(|_| !ask.pinned) {
        let meets = campaign.cpm.is_some_and(|cpm| cpm.currency == floor.currency && cpm.amount >= floor.amount);
        if !meets {
            return Some(Exclusion::BelowFloor);
        }
    }
    if campaign.condition.as_ref().is_some_and(|condition| !evaluator.condition(condition).holds()) {
        return Some(Exclusion::Targeting { why: None });
    }
    capped(campaign, ask.now, seen).or_else(|| beside(campaign, ask.placement, seen))
}

fn capped(campaign: &Campaign, now: Millis, seen: &Seen<'_>) -> Option<Exclusion> {
    if campaign.caps.is_empty() {
        return None;
    }
    if !seen.countable {
        return (campaign.uncapped_users == UncappedUsers::Skip).then_some(Exclusion::NotCountable);
    }
    campaign.caps.iter().find_map(|cap| {
        let counted = seen.count(campaign.hash, now.plus(-cap.per.millis()), now);
        (counted >= cap.impressions).then(|| Exclusion::capped(cap, counted))
    })
}

/// Whether what the request shows already forbids the campaign.
fn beside(campaign: &Campaign, placement: usize, seen: &Seen<'_>) -> Option<Exclusion> {
    seen.shown.iter().find_map(|shown| {
        if shown.hash == campaign.hash {
            (shown.placement == placement).then_some(Exclusion::AlreadyShown)
        } else if campaign.exclusive_group.is_some() && shown.group == campaign.exclusive_group {
            Some(Exclusion::ExclusiveGroup { shown: shown.id.clone() })
        } else {
            None
        }
    })
}
