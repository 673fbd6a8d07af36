//! What happened after a decision.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{CampaignId, CreativeId, DecisionId, EventName, Uid},
    measurement::attribution::{Credit, Terms},
    values::{Currency, Millis, Span},
};

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The creative was rendered.
    Impression,
    /// The creative was in view.
    Viewable,
    /// Somebody clicked.
    Click,
    /// Somebody did what the campaign is for.
    Conversion,
    /// A bid won its auction.
    Win,
    /// A bid is to be paid for.
    Billing,
    /// A bid lost its auction.
    Loss,
    /// A video began.
    Start,
    /// A quarter of a video was played.
    FirstQuartile,
    /// Half of it.
    Midpoint,
    /// Three quarters of it.
    ThirdQuartile,
    /// All of it.
    Complete,
    /// A player could not show a video.
    Error,
}

impl OutcomeKind {
    /// Every kind, by its number in tokens and in the store.
    pub const ALL: [Self; 13] = [
        Self::Impression,
        Self::Viewable,
        Self::Click,
        Self::Conversion,
        Self::Win,
        Self::Billing,
        Self::Loss,
        Self::Start,
        Self::FirstQuartile,
        Self::Midpoint,
        Self::ThirdQuartile,
        Self::Complete,
        Self::Error,
    ];

    /// What players tell of a video, in the order of their tokens.
    pub const OF_VIDEO: [Self; 6] =
        [Self::Start, Self::FirstQuartile, Self::Midpoint, Self::ThirdQuartile, Self::Complete, Self::Error];

    /// The kind's number in tokens and in the store.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Impression => 0,
            Self::Viewable => 1,
            Self::Click => 2,
            Self::Conversion => 3,
            Self::Win => 4,
            Self::Billing => 5,
            Self::Loss => 6,
            Self::Start => 7,
            Self::FirstQuartile => 8,
            Self::Midpoint => 9,
            Self::ThirdQuartile => 10,
            Self::Complete => 11,
            Self::Error => 12,
        }
    }

    /// Whether an exchange tells it of a bid.
    #[must_use]
    pub fn is_of_auctions(self) -> bool {
        matches!(self, Self::Win | Self::Billing | Self::Loss)
    }

    /// Whether reports and what is learned count it: it is about what people did, and neither about an
    /// auction nor about how far a player came.
    #[must_use]
    pub fn is_of_people(self) -> bool {
        matches!(self, Self::Impression | Self::Viewable | Self::Click | Self::Conversion)
    }
}

/// Why a beacon does not count as a person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// The user agent says that it is a program.
    KnownProgram,
    /// The network sends more than people can.
    ImpossibleRate,
    /// The same beacon came before.
    Replay,
}

impl Invalid {
    /// Every reason, by its number in the store.
    pub const ALL: [Self; 3] = [Self::KnownProgram, Self::ImpossibleRate, Self::Replay];

    /// The reason's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::KnownProgram => 0,
            Self::ImpossibleRate => 1,
            Self::Replay => 2,
        }
    }
}

/// One outcome as reported, verified but not yet known to be new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Number of the account it belongs to.
    pub account: u32,
    /// The decision it is attributed to.
    pub decision: DecisionId,
    /// What happened.
    pub kind: OutcomeKind,
    /// Tells conversions apart, see [`discriminator`]; zero for the other kinds, which count once
    /// per decision.
    pub discriminator: u128,
    /// Whether the discriminator counts once in the whole account, whatever the decision.
    pub across_decisions: bool,
    /// When the server learned of it.
    pub at: Millis,
    /// The campaign that was shown; none for a house creative.
    pub campaign: Option<CampaignId>,
    /// The creative that was shown.
    pub creative: CreativeId,
    /// Its revision.
    pub revision: u32,
    /// Which combination of components was shown.
    pub combination: u64,
    /// Who, only where the purposes of the decision allow counting towards frequency caps.
    pub person: Option<Uid>,
    /// Whether they allow counting outcomes per person.
    #[serde(default = "yes")]
    pub measured: bool,
    /// The longest window of the campaign's frequency caps; an impression is counted towards
    /// them when there is one and a person.
    pub cap_window: Option<Span>,
    /// Value of a conversion, or price of a bid per thousand impressions, in millionths of the
    /// sender's currency unit.
    pub value_micros: Option<i64>,
    /// What a conversion was, where the sender says so.
    #[serde(default)]
    pub goal: Option<EventName>,
    /// Why it does not count, if it does not: it is kept and counted apart.
    #[serde(default)]
    pub invalid: Option<Invalid>,
    /// Whether a browser told of it, by a pixel or a click.
    #[serde(default)]
    pub by_pixel: bool,
    /// What was shown, packed ([`Exposure::pack`](super::exposure::Exposure::pack)); none where nothing is learned from it.
    #[serde(default)]
    pub exposure: Option<Box<[u8]>>,
    /// By what a conversion is judged: its campaign's terms when it came.
    #[serde(default, skip_serializing_if = "Terms::is_usual")]
    pub terms: Terms,
    /// What it takes from the campaign's budget.
    #[serde(default)]
    pub charge: Option<Charge>,
}

impl Outcome {
    /// Whose it is, where the purposes of the decision allow keeping that.
    #[must_use]
    pub fn measured_person(&self) -> Option<Uid> {
        self.person.filter(|_| self.measured)
    }
}

fn yes() -> bool {
    true
}

/// What a billed impression takes from its campaign's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Billionths of the currency's unit.
    pub cost: i64,
    /// The currency.
    pub currency: Currency,
    /// The day of the bid in the campaign's time zone, since 1970-01-01.
    pub day: i32,
}

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Committed, and counted for the first time.
    New,
    /// The same, of a conversion: what it is to the campaign.
    Credited(Credit),
    /// It was counted before.
    Duplicate,
    /// A conversion after its campaign's windows: it counts for nothing.
    Late,
}

impl Recorded {
    /// Whether there is one outcome more.
    #[must_use]
    pub fn is_new(self) -> bool {
        matches!(self, Self::New | Self::Credited(_))
    }
}

/// What makes two reports of an outcome the same one: nothing more than the decision and the kind,
/// but for conversions the campaign, the goal and the sender's order number, or without one the
/// goal. A goal that was left out is that of the campaign as it was told.
#[must_use]
pub fn discriminator(kind: OutcomeKind, goal: &str, order: Option<&str>, campaign: Option<&CampaignId>) -> u128 {
    if kind != OutcomeKind::Conversion {
        return 0;
    }
    let mut hash = blake3::Hasher::new();
    for part in [goal, order.unwrap_or_default(), campaign.map_or("", CampaignId::as_str)] {
        // lengths first, so that parts cannot run into each other
        hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let mut head = [0; 16];
    head.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    u128::from_le_bytes(head)
}
