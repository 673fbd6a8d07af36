//! Names of things as types, so that a campaign's name cannot be passed where a creative's is meant.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::values::parsed;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty or too long.
    #[error("{kind} must be 1 to {max} bytes long, not {len}")]
    Length {
        /// What the text should have named.
        kind: &'static str,
        /// The longest allowed, in bytes.
        max: usize,
        /// What it was, in bytes.
        len: usize,
    },
    /// A character that this kind of id does not allow.
    #[error("{kind} must match {pattern}: the character at byte {at} does not")]
    Character {
        /// What the text should have named.
        kind: &'static str,
        /// The rule in words of a regular expression.
        pattern: &'static str,
        /// Byte offset of the first character that breaks it.
        at: usize,
    },
}

/// Declares a cheap-to-clone textual id with a checked constructor.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $pattern:literal, $max:literal, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > $max {
                    return Err(IdError::Length { kind: $kind, max: $max, len: text.len() });
                }
                let first: fn(char) -> bool = $first;
                let rest: fn(char) -> bool = $rest;
                match text.char_indices().find(|&(at, c)| !(if at == 0 { first(c) } else { rest(c) })) {
                    Some((at, _)) => Err(IdError::Character { kind: $kind, pattern: $pattern, at }),
                    None => Ok(Self(text.into())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                parsed(from)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .build()
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        id!($(#[$doc])* $name, $kind, "^[a-z0-9][a-z0-9._-]{0,63}$", 64,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'));
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        id!($(#[$doc])* $name, $kind, "^[a-z][a-z0-9_.:-]{0,63}$", 64,
            |c| c.is_ascii_lowercase(),
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '-'));
    };
}

id!(/// What an ad server calls the line under which it serves: a number with most.
    LineItemId, "a line item", "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", 64,
    |c| c.is_ascii_alphanumeric(),
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'));
slug!(/// The tenant: owner of keys, profiles, segments, placements and advertisers.
    AccountId, "an account id");
slug!(/// A brand within an account.
    AdvertiserId, "an advertiser id");
slug!(/// A campaign.
    CampaignId, "a campaign id");
slug!(/// A creative: templates and the components that fill them.
    CreativeId, "a creative id");
slug!(/// A template: markup with typed slots.
    TemplateId, "a template id");
slug!(/// A component (variant) within its creative.
    ComponentId, "a component id");
slug!(/// An exchange, as the account names it.
    ExchangeId, "an exchange id");
slug!(/// A slot on a page or in an app.
    PlacementId, "a placement id");
slug!(/// A write key: what web pages carry to send events.
    WriteKeyId, "a write key id");
slug!(/// A feed: a catalogue of products.
    FeedId, "a feed id");
slug!(/// A webhook: whom to tell who enters and leaves segments.
    WebhookId, "a webhook id");
slug!(/// An API key's public part.
    KeyId, "a key id");
name!(/// A segment, static or dynamic.
    SegmentKey, "a segment key");
name!(/// A model of people: cut points or clusters.
    ModelKey, "a model key");
name!(/// A trait of a person.
    TraitName, "a trait name");
name!(/// A type of event.
    EventName, "an event name");
name!(/// A slot of a template.
    SlotName, "a slot name");
id!(/// The account's own name of a person, as the caller knows it: 1 to 256 bytes without controls.
    UserKey, "a user key", "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,256}$", 256,
    |c| !c.is_control(), |c| !c.is_control());

/// A person as the store and the caches know them: the first 128 bits of SHA-256 over the
/// account's secret and the [`UserKey`], so that no readable name leaves the profile's own row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u128);

impl Uid {
    /// The person behind `key` in the account that holds `secret`.
    #[must_use]
    pub fn of(secret: &[u8; 32], key: &UserKey) -> Self {
        let digest = Sha256::new().chain_update(secret).chain_update(key.as_str()).finalize();
        let mut half = [0_u8; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// The store's form.
    #[must_use]
    pub fn as_uuid(self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0)
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.as_uuid().simple())
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        uuid::Uuid::deserialize(from).map(Self::from)
    }
}

impl From<uuid::Uuid> for Uid {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.as_u128())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({:032x})", self.0)
    }
}

/// A stable 64-bit stand-in for a name in packed profiles and compiled rules, where comparing
/// texts would cost too much: the first 8 bytes of the name's BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameHash(pub u64);

impl NameHash {
    /// The stand-in for `name`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut head = [0_u8; 8];
        head.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..8]);
        Self(u64::from_le_bytes(head))
    }
}

/// An event of an account: the first 128 bits of SHA-256 over the account and the id that its
/// sender gave it, or the whole item as it was received where they gave none, so that sending the
/// same thing twice counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u128);

impl EventId {
    /// The longest id that a sender may give, in bytes.
    pub const LONGEST: usize = 128;

    /// The event that its sender calls `id`.
    #[must_use]
    pub fn given(account: u32, id: &str) -> Self {
        Self::hashed(account, 1, id.as_bytes())
    }

    /// The event that was received as `item`.
    #[must_use]
    pub fn of_item(account: u32, item: &[u8]) -> Self {
        Self::hashed(account, 0, item)
    }

    fn hashed(account: u32, kind: u8, text: &[u8]) -> Self {
        let head = account.to_be_bytes();
        let digest = Sha256::new().chain_update(head).chain_update([kind]).chain_update(text).finalize();
        let mut half = [0_u8; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// The store's form.
    #[must_use]
    pub fn as_uuid(self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0)
    }
}

/// One decision about one item. A UUIDv7 whose random bits come from the decision's seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct DecisionId(pub uuid::Uuid);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecisionId({})", self.0)
    }
}

impl FromStr for DecisionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_and_names_follow_their_patterns() {
        assert!("spring-2026.v1".parse::<CampaignId>().is_ok());
        assert!("0-first".parse::<CampaignId>().is_ok());
        assert!("0-first".parse::<SegmentKey>().is_err());
        assert!("Spring".parse::<CampaignId>().is_err());
        assert_eq!("".parse::<CampaignId>(), Err(IdError::Length { kind: "a campaign id", max: 64, len: 0 }));
        assert!("a".repeat(65).parse::<CampaignId>().is_err());
        assert!("geo:de_berlin.x-1".parse::<SegmentKey>().is_ok());
    }

    #[test]
    fn user_keys_are_any_text_without_controls() {
        assert!("Jörg Müller/1".parse::<UserKey>().is_ok());
        assert!("a\nb".parse::<UserKey>().is_err());
        assert!("x".repeat(257).parse::<UserKey>().is_err());
    }

    #[test]
    fn an_event_differs_between_accounts_and_from_items_without_an_id() {
        let given = EventId::given(1, "order-1");
        assert_eq!(given, EventId::given(1, "order-1"));
        let others = [EventId::given(2, "order-1"), EventId::given(1, "order-2"), EventId::of_item(1, b"order-1")];
        assert!(!others.contains(&given));
    }

    #[test]
    fn a_person_differs_between_accounts() {
        let key: UserKey = "u-1".parse().expect("a key");
        assert_ne!(Uid::of(&[1; 32], &key), Uid::of(&[2; 32], &key));
        assert_eq!(Uid::of(&[1; 32], &key), Uid::of(&[1; 32], &key));
    }
}
