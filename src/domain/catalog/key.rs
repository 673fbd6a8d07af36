//! How the documents of a catalogue are named.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The kinds of documents that an account's catalogue is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A brand.
    Advertiser,
    /// What is learned of people.
    Model,
    /// A segment and its rule.
    Segment,
    /// A catalogue of products.
    Feed,
    /// Markup with typed slots.
    Template,
    /// A creative's draft.
    Creative,
    /// A component of a creative's draft; its id is `creative/component`.
    Component,
    /// What was published of a creative at one time, immutable; its id is `creative/number`.
    Revision,
    /// Which revision of a creative serves; its id is the creative's.
    Publication,
    /// What an exchange says of a creative's ads; its id is `creative/exchange`.
    Audit,
    /// A slot on a page or in an app.
    Placement,
    /// A campaign.
    Campaign,
    /// What web pages carry to send events.
    WriteKey,
}

impl Kind {
    /// Every kind, such that a document refers only to kinds before its own.
    pub const ALL: [Self; 13] = [
        Self::Advertiser,
        Self::Model,
        Self::Segment,
        Self::Feed,
        Self::Template,
        Self::Creative,
        Self::Component,
        Self::Revision,
        Self::Publication,
        Self::Audit,
        Self::Placement,
        Self::Campaign,
        Self::WriteKey,
    ];

    /// The kind's name in the store and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advertiser => "advertiser",
            Self::Model => "model",
            Self::Segment => "segment",
            Self::Feed => "feed",
            Self::Template => "template",
            Self::Creative => "creative",
            Self::Component => "component",
            Self::Revision => "revision",
            Self::Publication => "publication",
            Self::Audit => "audit",
            Self::Placement => "placement",
            Self::Campaign => "campaign",
            Self::WriteKey => "write_key",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of document")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.into()))
    }
}

/// The name of a document within its account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentKey {
    /// What it is.
    pub kind: Kind,
    /// Its id, unique per account and kind.
    pub id: String,
}

impl DocumentKey {
    /// The document `id` of a kind.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}
