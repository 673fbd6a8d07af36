//! What exchanges say of a creative's ads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    catalog::creative::{Choice, Component, Creative, Variant},
    ids::NameHash,
    values::{Format, Size},
    violation::{Violation, Violations, token},
};

/// What an exchange's audit says of an ad: AdCOM 1.0, list "Audit Status Codes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum AuditStatus {
    /// 1: it is waiting.
    Pending,
    /// 2: it may serve until the audit is done.
    PreApproved,
    /// 3: it may serve.
    Approved,
    /// 4: it may not.
    Denied,
    /// 5: it was changed and must be sent again.
    Changed,
    /// 6: the approval has run out.
    Expired,
}

/// What is known of the audit of one ad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditState {
    /// By its number in AdCOM 1.0: 1 pending, 2 pre-approved, 3 approved, 4 denied, 5 changed and to
    /// be sent again, 6 expired. With 2 and 3 it may serve.
    #[schema(value_type = u8, minimum = 1, maximum = 6)]
    pub status: AuditStatus,
    /// What the exchange said of it, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub feedback: Vec<String>,
}

/// What one exchange says of the ads of one creative, by the `crid` that bids name them by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"crids": {
    "spring.3.300x250": {"status": 3}, "spring.3.728x90": {"status": 4, "feedback": ["The logo is cut off."]}
}}))]
pub struct AuditDoc {
    /// Per `crid`: of a revision in one size (`creative.revision.WIDTHxHEIGHT`, or `.native` or `.vast`), or of a
    /// combination's content, as the setting `openrtb.crid` has bids name it.
    pub crids: BTreeMap<String, AuditState>,
}

impl AuditStatus {
    /// Whether the exchange lets it serve.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, Self::PreApproved | Self::Approved)
    }
}

impl TryFrom<u8> for AuditStatus {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Ok(match number {
            1 => Self::Pending,
            2 => Self::PreApproved,
            3 => Self::Approved,
            4 => Self::Denied,
            5 => Self::Changed,
            6 => Self::Expired,
            _ => return Err("must be a number of AdCOM's list of audit states, 1 to 6"),
        })
    }
}

impl From<AuditStatus> for u8 {
    fn from(status: AuditStatus) -> Self {
        match status {
            AuditStatus::Pending => 1,
            AuditStatus::PreApproved => 2,
            AuditStatus::Approved => 3,
            AuditStatus::Denied => 4,
            AuditStatus::Changed => 5,
            AuditStatus::Expired => 6,
        }
    }
}

impl AuditDoc {
    /// The longest name of an ad, in bytes: a creative's id, a revision and a size fit.
    const LONGEST: usize = 128;

    /// Everything that its form does not say.
    ///
    /// # Errors
    /// Names that no bid can have.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        for crid in self.crids.keys() {
            let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            if crid.is_empty() || crid.len() > Self::LONGEST || !crid.bytes().all(sound) {
                let detail = "must be a crid as bids name it: letters a to z, digits, and . _ -";
                faults.push(format!("/crids/{}", token(crid)), "invalid_crid", detail);
            }
        }
        faults.into_result()
    }

    /// Whether the exchange lets an ad serve.
    #[must_use]
    pub fn serves(&self, crid: &str) -> bool {
        self.crids.get(crid).is_some_and(|state| state.status.serves())
    }
}

/// The `crid` of a creative's revision in a format and, for html, a size.
#[must_use]
pub fn revision_crid(creative: &Creative, format: Format, size: Option<Size>) -> String {
    let (id, revision) = (&creative.id, creative.revision);
    match (format, size) {
        (Format::Vast, _) => format!("{id}.{revision}.vast"),
        (_, Some(size)) => format!("{id}.{revision}.{size}"),
        (_, None) => format!("{id}.{revision}.native"),
    }
}

/// Names the content that a choice gives one of a creative's templates: the same for the same values in the same
/// template. `picked` has hashes of what stands in the place of components that pick products.
#[must_use]
pub fn crid(
    creative: &Creative,
    variant: &Variant,
    choice: &Choice,
    picked: impl Fn(&Component) -> Option<u64>,
) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&NameHash::of(variant.id.as_str()).0.to_le_bytes());
    hash.update(&variant.template.fingerprint().to_le_bytes());
    for place in &variant.places {
        let own = creative.chosen(place.slot, choice).and_then(&picked);
        hash.update(&own.unwrap_or_else(|| place.fingerprint(creative, choice)).to_le_bytes());
    }
    hash.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_the_numbers_of_adcom() {
        let doc: AuditDoc = serde_json::from_value(json!({"crids": {
            "a.1.300x250": {"status": 1}, "b": {"status": 2}, "c": {"status": 3}, "d": {"status": 4},
            "e": {"status": 5}, "f": {"status": 6, "feedback": ["Old"]}
        }}))
        .expect("a document");
        let served: Vec<&str> = doc.crids.keys().map(String::as_str).filter(|crid| doc.serves(crid)).collect();
        assert_eq!(served, ["b", "c"]);
        assert!(!doc.serves("never-audited"));
        assert_eq!(serde_json::to_value(&doc).expect("JSON")["crids"]["f"], json!({"status": 6, "feedback": ["Old"]}));
        for wrong in [json!(0), json!(7), json!("3"), json!(256)] {
            assert!(serde_json::from_value::<AuditState>(json!({"status": wrong})).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_name_that_no_bid_has_is_told() {
        let states =
            |crids: serde_json::Value| serde_json::from_value::<AuditDoc>(json!({"crids": crids})).expect("a document");
        assert_eq!(states(json!({"spring.1.native": {"status": 3}})).check(), Ok(()));
        let faults = states(json!({"": {"status": 3}, "A/b": {"status": 3}, "ok": {"status": 1}})).check();
        let told: Vec<String> = faults.expect_err("faults").into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(told, ["/crids/", "/crids/A~1b"]);
    }
}
