//! Why a campaign or a component was not shown: the first condition that failed.

use serde::{Deserialize, Serialize};

use crate::domain::{
    catalog::{campaign::Cap, document::CampaignStatus, flight::Grounded},
    ids::CampaignId,
    values::{Millis, Span},
};

/// The first condition that failed. In the order in which campaigns are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Exclusion {
    /// It is not active.
    Status {
        /// What it is instead.
        status: CampaignStatus,
    },
    /// It does not bid by itself here, or has no money to bid with now.
    NotBidding,
    /// Its flight begins later.
    NotStarted {
        /// When.
        start: Millis,
    },
    /// Its flight is over.
    Ended {
        /// Since when.
        end: Millis,
    },
    /// It does not serve at this hour.
    OutsideDayparts,
    /// It does not serve on this placement.
    Placement,
    /// None of its published creatives has a template for the formats and sizes asked for, with a video that
    /// the player takes, or all that a native answer must have.
    NoMatchingSize,
    /// The request blocks every creative that would fit.
    BlockedCreative,
    /// It pays less than the request's floor, or in another currency.
    BelowFloor,
    /// The person or the request does not meet its targeting.
    Targeting {
        /// The part that failed, in words; only in full explanations.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The person has seen it often enough.
    FrequencyCap {
        /// How often at most.
        impressions: u32,
        /// Within which window.
        per: Span,
        /// How often they have seen it, servings under way included.
        counted: u32,
    },
    /// It has frequency caps and the person's impressions may not be counted, or how many they
    /// have seen could not be read.
    NotCountable,
    /// Another campaign of its group is shown in the same request.
    ExclusiveGroup {
        /// Which.
        shown: CampaignId,
    },
    /// It is shown in the same placement already.
    AlreadyShown,
    /// It may serve, but nothing that its pairing rules let stand together is a video that the player takes.
    NothingPlays,
    /// It may serve, but a higher tier can.
    LowerPriority {
        /// The tier that serves.
        serving: u8,
    },
    /// It may serve, but another campaign of its tier drew the lot.
    Rotation {
        /// Which.
        chosen: CampaignId,
    },
    /// The caller pinned another campaign or creative.
    NotPinned,
}

impl From<Grounded> for Exclusion {
    fn from(grounded: Grounded) -> Self {
        match grounded {
            Grounded::NotStarted { start } => Self::NotStarted { start },
            Grounded::Ended { end } => Self::Ended { end },
            Grounded::OutsideDayparts => Self::OutsideDayparts,
        }
    }
}

impl Exclusion {
    /// A cap that is reached.
    #[must_use]
    pub fn capped(cap: &Cap, counted: u32) -> Self {
        Self::FrequencyCap { impressions: cap.impressions, per: cap.per, counted }
    }
}

/// Why a component was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum ComponentExclusion {
    /// It is paused.
    Paused,
    /// It is held back: since it was published, its targeting has come to name what there is no more, or its
    /// click to lead to a host that is not the advertiser's.
    HeldBack,
    /// Its flight begins later.
    NotStarted {
        /// When.
        start: Millis,
    },
    /// Its flight is over.
    Ended {
        /// Since when.
        end: Millis,
    },
    /// The person or the request does not meet its targeting.
    Targeting {
        /// The part that failed, in words; only in full explanations.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// It is in a language that does not serve the reader.
    Locale,
    /// There is no product for the person in the feed that it picks from.
    NoProducts,
    /// It is a video that the player does not take: too long or short, or of no type that it plays.
    Video,
    /// It is longer, or of another size, than an asset that the native impression requires.
    Native,
    /// The person is in the campaign's control, which shows no targeted components.
    Control,
    /// A pairing rule forbids it beside what other slots show, a component in a closer language
    /// serves the reader, or it lost the draw.
    NotChosen,
}
