//! Webhooks as their owners write them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, schema::Type},
};

use super::{reach::Reach, target::Target};
use crate::domain::{ids::SegmentKey, violation::Violation};

/// Where to tell who enters and leaves which segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://crm.example/tessera", "segments": ["basket_abandoner", "vip"], "kinds": ["entered", "left"],
    "status": "active"
}))]
pub struct WebhookDoc {
    /// Where to.
    pub url: Target,
    /// Of which segments.
    #[serde(default)]
    #[schema(required = false)]
    pub segments: Chosen,
    /// Which kinds of transitions.
    #[serde(default = "both")]
    #[schema(required = false, min_items = 1, max_items = 2)]
    pub kinds: Vec<MoveKind>,
    /// Whether anything is delivered.
    #[serde(default)]
    #[schema(required = false)]
    pub status: WebhookStatus,
}

/// Of which segments a webhook tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Chosen {
    /// Of all that the account has, or will have.
    #[default]
    All,
    /// Of these.
    These(Vec<SegmentKey>),
}

/// A kind of transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// Somebody is in who was not.
    Entered,
    /// Somebody is out who was in.
    Left,
}

/// Whether a webhook delivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStatus {
    /// It delivers.
    #[default]
    Active,
    /// It waits, and goes on where it stood.
    Paused,
}

fn both() -> Vec<MoveKind> {
    vec![MoveKind::Entered, MoveKind::Left]
}

impl WebhookDoc {
    /// Everything that is wrong with it where webhooks reach so far; `exists` knows the segments.
    #[must_use]
    pub fn faults(&self, reach: Reach, exists: impl Fn(&SegmentKey) -> bool) -> Vec<Violation> {
        let url = self.url.check(reach).err().map(|words| Violation::new("/url", "out_of_reach", words));
        let keys = if let Chosen::These(keys) = &self.segments { &keys[..] } else { &[] };
        let unknown = keys.iter().enumerate().filter(|(_, key)| !exists(key)).map(|(at, key)| {
            Violation::new(format!("/segments/{at}"), "unknown_segment", format!("no segment is called \"{key}\""))
        });
        url.into_iter().chain(unknown).collect()
    }

    /// The same with everything once and in order.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        if let Chosen::These(keys) = &mut self.segments {
            keys.sort();
            keys.dedup();
        }
        self.kinds.sort();
        self.kinds.dedup();
        self
    }

    /// Whether transitions of a kind are told.
    #[must_use]
    pub fn tells(&self, kind: MoveKind) -> bool {
        self.kinds.contains(&kind)
    }
}

impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => out.serialize_str("all"),
            Self::These(keys) => keys.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Chosen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Keys(Vec<SegmentKey>),
        }
        match Form::deserialize(from)? {
            Form::Word(word) if word == "all" => Ok(Self::All),
            Form::Word(_) => Err(de::Error::custom("must be \"all\" or segments")),
            Form::Keys(keys) => Ok(Self::These(keys)),
        }
    }
}

impl PartialSchema for Chosen {
    fn schema() -> RefOr<Schema> {
        let all = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["all"]));
        let all = all.description(Some("All that there are, or will be."));
        let these = ArrayBuilder::new().items(Ref::from_schema_name(SegmentKey::name())).min_items(Some(1));
        let these = these.max_items(Some(100)).description(Some("Some, which must exist."));
        Schema::from(OneOfBuilder::new().item(all).item(these).default(Some("all".into())).build()).into()
    }
}

impl ToSchema for Chosen {
    fn name() -> Cow<'static, str> {
        "WebhookSegments".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((SegmentKey::name().into_owned(), SegmentKey::schema()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Option<WebhookDoc> {
        serde_json::from_value(value).ok()
    }

    #[test]
    fn what_is_left_out_is_everything() {
        let doc = read(json!({"url": "https://a.example/x"})).expect("a webhook");
        let whole =
            json!({"url": "https://a.example/x", "segments": "all", "kinds": ["entered", "left"], "status": "active"});
        assert_eq!(serde_json::to_value(&doc).expect("JSON"), whole);
        assert_eq!(read(whole), Some(doc.clone()));
        assert!(doc.tells(MoveKind::Left));
        for bad in [json!({}), json!({"url": "https://a.example", "segments": "some"}), json!({"url": "mailto:x"})] {
            assert_eq!(read(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn every_fault_is_told() {
        let doc =
            read(json!({"url": "http://10.0.0.1/", "segments": ["vip", "vpi", "a", "vip"], "kinds": ["left", "left"]}));
        let doc = doc.expect("a webhook");
        let faults = doc.faults(Reach::Loopback, |key| key.as_str() == "vip");
        let found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
        assert_eq!(
            found,
            [("/url", "out_of_reach"), ("/segments/1", "unknown_segment"), ("/segments/2", "unknown_segment")]
        );
        let doc = doc.canonical();
        let Chosen::These(keys) = &doc.segments else { panic!("segments") };
        assert_eq!(keys.iter().map(SegmentKey::as_str).collect::<Vec<_>>(), ["a", "vip", "vpi"]);
        assert_eq!(doc.kinds, [MoveKind::Left]);
        assert!(!doc.tells(MoveKind::Entered));
    }
}
