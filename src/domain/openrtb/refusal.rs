//! Why a request gets no bid, or no answer at all.

/// Why a request is refused with 400 (OpenRTB 2.6 section 2.4), as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Not JSON, or in a coding that cannot be read.
    Json,
    /// Another JSON type than the field has.
    Type,
    /// No id of the request.
    Id,
    /// No impression.
    Imp,
    /// An impression without an id, or with that of another.
    ImpId,
    /// An impression without banner, video, audio or native.
    Media,
    /// A player that plays nothing.
    Mimes,
    /// More than one of site, app and dooh.
    Distribution,
    /// `gdpr` is neither 0 nor 1.
    Gdpr,
    /// A size, time or bitrate below zero.
    Negative,
    /// A deal without an id.
    Deal,
    /// A metric without a type or a value.
    Metric,
    /// A format that is neither a size nor a ratio, or both.
    Format,
    /// A native request that cannot be answered, or asks for more than 64 assets.
    Native,
}

impl Refusal {
    /// Every reason with its name.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Json, "json"),
        (Self::Type, "type"),
        (Self::Id, "id"),
        (Self::Imp, "imp"),
        (Self::ImpId, "imp_id"),
        (Self::Media, "media"),
        (Self::Mimes, "mimes"),
        (Self::Distribution, "distribution"),
        (Self::Gdpr, "gdpr"),
        (Self::Negative, "negative"),
        (Self::Deal, "deal"),
        (Self::Metric, "metric"),
        (Self::Format, "format"),
        (Self::Native, "native"),
    ];
}

/// Why there is no bid, by the numbers of OpenRTB's list 5.24 and, from 500 on, our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoBid {
    /// There is not enough time.
    Time,
    /// Whoever looks is a program that visits pages and says so.
    Crawler,
    /// Those who would bid have been seen by the person often enough.
    Capped,
    /// Those who would bid are for people of whom more is known.
    Unmatched,
    /// Nothing in the request that we could fill: no page, app or screen, no size, or media that we do
    /// not have.
    Nothing,
    /// Consent forbids to choose any ad.
    Consent,
    /// No such campaign or creative, or what the bidder says of its line cannot be read; or no line is named, and no
    /// campaign bids by itself.
    Line,
    /// There is no price: neither does the bidder say one nor has the campaign a `cpm`, or it is not above zero. Or it
    /// is in a currency that the exchange does not take, or has no floor in.
    Currency,
    /// The price is below the floor.
    Floor,
    /// The auction is private, and none of its deals is ours; or our seat may not bid.
    Deal,
    /// The advertiser, its categories or the creative's attributes are blocked.
    Blocked,
    /// The exchange takes only what it has approved, and has approved nothing that would be shown.
    Audit,
    /// No campaign that could bid its own price, named or not, has the money now.
    Budget,
    /// Nothing to show was found.
    NoFill,
    /// The markup is not what the impression takes: it lacks required assets, is not all on https,
    /// or is of a blocked type.
    Markup,
}

impl NoBid {
    /// Every reason with its name in metrics.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Time, "time"),
        (Self::Crawler, "crawler"),
        (Self::Capped, "capped"),
        (Self::Unmatched, "unmatched"),
        (Self::Nothing, "nothing"),
        (Self::Consent, "consent"),
        (Self::Line, "line"),
        (Self::Currency, "currency"),
        (Self::Floor, "floor"),
        (Self::Deal, "deal"),
        (Self::Blocked, "blocked"),
        (Self::Audit, "audit"),
        (Self::Budget, "budget"),
        (Self::NoFill, "no_fill"),
        (Self::Markup, "markup"),
    ];

    /// The number of `nbr`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Crawler => 3,
            Self::Unmatched => 8,
            Self::Capped => 9,
            Self::Time => 15,
            Self::Nothing => 500,
            Self::Consent => 501,
            Self::Line => 502,
            Self::Currency => 503,
            Self::Floor => 504,
            Self::Deal => 505,
            Self::Blocked => 506,
            Self::NoFill => 507,
            Self::Markup => 508,
            Self::Audit => 509,
            Self::Budget => 510,
        }
    }
}
