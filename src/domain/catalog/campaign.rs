//! A campaign, ready to be asked whether it may serve.

use crate::domain::{
    audience::{
        compile::{Condition, RuleSet},
        rule::Targeting,
    },
    catalog::{
        budget::Budget,
        document::{
            AdvertiserDoc, AttributionDoc, CampaignDoc, CampaignStatus, Control, GoalDoc, Rotation, UncappedUsers,
        },
        flight::Flight,
        landing,
    },
    ids::{AdvertiserId, CampaignId, CreativeId, NameHash, PlacementId},
    values::{Money, Span},
    violation::{Violation, Violations},
};

/// A campaign with its rule compiled.
#[derive(Debug)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Stands for the id in hashes and in packed state.
    pub hash: NameHash,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// Whether it serves at all.
    pub status: CampaignStatus,
    /// When it serves.
    pub flight: Flight,
    /// 1 is first.
    pub priority: u8,
    /// Share within its tier.
    pub weight: u32,
    /// Who and which requests; none for everybody.
    pub condition: Option<Condition>,
    /// Where; empty for everywhere.
    pub placements: Vec<PlacementId>,
    /// What it may show.
    pub creatives: Vec<CreativeId>,
    /// Shown when it was pinned and may not serve.
    pub default_creative: Option<CreativeId>,
    /// Where a click leads.
    pub landing_url: Box<str>,
    /// Frequency caps, all of which hold.
    pub caps: Vec<Cap>,
    /// What the caps do where impressions may not be counted.
    pub uncapped_users: UncappedUsers,
    /// Share of people who get the control.
    pub holdout: f64,
    /// What the control is.
    pub control: Control,
    /// Which experiment its people are in: another one where share or control differ; 0 without a
    /// holdout.
    pub experiment: u32,
    /// What it is for.
    pub goal: GoalDoc,
    /// For how long after a click conversions are its own.
    pub click_window: Span,
    /// For how long after a view alone; none: never.
    pub view_window: Option<Span>,
    /// How components are chosen.
    pub rotation: Rotation,
    /// At most one campaign of a group per request.
    pub exclusive_group: Option<Box<str>>,
    /// Deals of exchanges by which it may be bought.
    pub deals: Vec<Box<str>>,
    /// What it pays per thousand impressions.
    pub cpm: Option<Money>,
    /// What it may spend by bidding itself.
    pub budget: Option<Budget>,
}

/// At most so many impressions within a rolling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// 1 to 64.
    pub impressions: u32,
    /// 1 second to 90 days.
    pub per: Span,
}

impl Campaign {
    /// Reads a campaign.
    ///
    /// # Errors
    /// Everything in it that a decision could trip over, with pointers.
    pub fn compile(
        id: CampaignId,
        doc: &CampaignDoc,
        advertiser: Option<&AdvertiserDoc>,
        rules: &RuleSet,
    ) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let flight = faults.keep("/flight", Flight::parse(&doc.flight));
        let condition = doc.targeting.as_ref().and_then(|targeting| {
            let bound = Targeting::parse(&targeting.0).and_then(|node| rules.bind(&node));
            faults.keep("/targeting", bound)
        });
        let caps = doc.frequency_caps.iter().enumerate().map(|(at, cap)| {
            let per = cap.per.millis();
            if !(1_000..=90 * 86_400_000).contains(&per) || per % 1_000 != 0 {
                faults.push(format!("/frequency_caps/{at}/per"), "range", "must be whole seconds from PT1S to P90D");
            }
            if !(1..=64).contains(&cap.impressions) {
                faults.push(format!("/frequency_caps/{at}/impressions"), "range", "must be 1 to 64");
            }
            Cap { impressions: cap.impressions.into(), per: cap.per }
        });
        let caps = caps.collect();
        check_ranges(doc, &mut faults);
        let budget = doc.budget.as_ref().map(|budget| Budget::parse(budget, doc.cpm, &mut faults));
        match (advertiser, landing::parse(&doc.landing_url)) {
            (_, Err(detail)) => faults.push("/landing_url", "invalid_url", detail),
            (None, Ok(_)) => faults.push("/advertiser", "unknown_advertiser", "no such advertiser"),
            (Some(advertiser), Ok(host)) if !landing::allowed(advertiser, &host) => {
                faults.push("/landing_url", "landing_host_not_allowed", landing::refusal(advertiser, &host));
            }
            _ => {}
        }
        faults.into_result()?;
        let days = |days: u8| Span::from_millis(i64::from(days) * 86_400_000);
        Ok(Self {
            hash: NameHash::of(id.as_str()),
            id,
            advertiser: doc.advertiser.clone(),
            status: doc.status,
            // both stand when there are no faults
            flight: flight.unwrap_or_default(),
            condition,
            priority: doc.priority,
            weight: doc.weight,
            placements: doc.placements.clone(),
            creatives: doc.creatives.clone(),
            default_creative: doc.default_creative.clone(),
            landing_url: doc.landing_url.as_str().into(),
            caps,
            uncapped_users: doc.uncapped_users,
            holdout: doc.holdout,
            control: doc.control,
            experiment: experiment(doc.holdout, doc.control),
            click_window: days(doc.attribution.click_days),
            view_window: doc.attribution.view_days.map(days),
            goal: doc.goal.clone(),
            rotation: doc.rotation,
            exclusive_group: doc.exclusive_group.as_deref().map(Into::into),
            deals: doc.deals.iter().map(|deal| deal.as_str().into()).collect(),
            cpm: doc.cpm,
            budget,
        })
    }

    /// The longest window of its caps; none without caps.
    #[must_use]
    pub fn cap_window(&self) -> Option<Span> {
        self.caps.iter().map(|cap| cap.per).max()
    }

    /// After how long, in ms, nothing that comes of a decision is its own any more.
    #[must_use]
    pub fn longest_ms(&self) -> i64 {
        self.click_window.millis().max(self.view_window.map_or(0, Span::millis))
    }
}

/// The number of an experiment, small enough for four bytes of a token.
fn experiment(holdout: f64, control: Control) -> u32 {
    let control = match control {
        Control::Default => "default",
        Control::Even => "even",
    };
    if holdout > 0.0 { (NameHash::of(&format!("{holdout}/{control}")).0 as u32 >> 4).max(1) } else { 0 }
}

/// The most that a conversion is usually worth, in millionths.
const MOST_USUAL: i64 = 1_000_000_000_000_000;

fn check_ranges(doc: &CampaignDoc, faults: &mut Violations) {
    let mut range = |pointer, fits: bool, detail| {
        if !fits {
            faults.push(pointer, "range", detail);
        }
    };
    range("/name", (1..=200).contains(&doc.name.chars().count()), "must be 1 to 200 characters");
    range("/priority", (1..=16).contains(&doc.priority), "must be 1 to 16");
    range("/weight", (1..=10_000).contains(&doc.weight), "must be 1 to 10000");
    range("/holdout", (0.0..=0.9).contains(&doc.holdout), "must be 0 to 0.9");
    if let GoalDoc::Value(value) = &doc.goal {
        let fits = (1..=MOST_USUAL).contains(&value.usual.amount.micros());
        range("/goal/value/usual/amount", fits, "must be above 0 and at most 1000000000");
    }
    let AttributionDoc { click_days, view_days } = doc.attribution;
    range("/attribution/click_days", (1..=90).contains(&click_days), "must be 1 to 90");
    let views = view_days.is_none_or(|days| (1..=30).contains(&days));
    range("/attribution/view_days", views, "must be 1 to 30");
    range("/creatives", (1..=64).contains(&doc.creatives.len()), "must name 1 to 64 creatives");
    range("/placements", doc.placements.len() <= 1_000, "must name at most 1000 placements");
    range("/frequency_caps", doc.frequency_caps.len() <= 4, "must be at most 4");
    let group = doc.exclusive_group.as_deref().is_none_or(|group| (1..=64).contains(&group.len()));
    range("/exclusive_group", group, "must be 1 to 64 bytes");
    let deals = doc.deals.len() <= 64 && doc.deals.iter().all(|deal| (1..=256).contains(&deal.len()));
    range("/deals", deals, "must be at most 64 of 1 to 256 bytes each");
    range("/cpm", doc.cpm.is_none_or(|cpm| cpm.amount.micros() > 0), "must be above zero");
}
