//! Ids for documents whose authors chose none.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::catalog::key::Kind;

/// An id made of the document's name, as far as it has one, and 40 random bits.
pub(super) fn generate(kind: Kind, document: &[u8]) -> String {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let name = document.get("name").and_then(Value::as_str).unwrap_or_default();
    // the low bits of a UUIDv7 are random
    #[expect(clippy::disallowed_methods, reason = "an id that its author left to us")]
    let random = Uuid::now_v7().as_u128() as u64 & 0xff_ffff_ffff;
    format!("{}-{random:010x}", slug(name).unwrap_or_else(|| kind.as_str().to_owned()))
}

/// Up to 40 small letters, digits and hyphens that begin with a letter.
fn slug(name: &str) -> Option<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(40);
    let slug = slug.trim_matches(|c: char| c == '-' || c.is_ascii_digit());
    slug.starts_with(|c: char| c.is_ascii_lowercase()).then(|| slug.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::authoring::document::check_id;

    #[test]
    fn every_name_makes_an_id_of_every_kind() {
        let names = ["Spring Sale!", "", "2026 spring", "—", "Ünïcode", &"long name ".repeat(30), "42", "a\u{0}b"];
        for kind in [Kind::Advertiser, Kind::Segment, Kind::Template, Kind::Creative, Kind::Placement, Kind::Campaign] {
            for name in names {
                let id = generate(kind, serde_json::json!({ "name": name }).to_string().as_bytes());
                assert!(check_id(kind, &id).is_ok(), "{id}");
            }
            assert!(generate(kind, b"no json").starts_with(kind.as_str()));
        }
        assert!(generate(Kind::Campaign, br#"{"name": "Spring Sale!"}"#).starts_with("spring-sale-"));
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| generate(Kind::Campaign, b"{}")).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
