//! Signals of consent, and requests that are drawn at random.

use serde_json::{Value, json};

/// Consents to purposes 1 to 11 and special feature 1, for vendors 2 and 733, all disclosed.
pub(crate) const CONSENTING: &str = "CQlJDjAQlJDjAEsABBDECWFv___gAAAAAAAAFuwAgABALdAAAAA.IFuwAYAAgW6";
/// The same without purpose 4.
pub(crate) const NO_PROFILES: &str = "CQlJDjAQlJDjAEsABBDECWFv_-_gAAAAAAAAFuwAgABALdAAAAA.IFuwAYAAgW6";
/// The same without purpose 1.
pub(crate) const NO_STORAGE: &str = "CQlJDjAQlJDjAEsABBDECWFv_3_gAAAAAAAAFuwAgABALdAAAAA.IFuwAYAAgW6";

/// Numbers that are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    /// What looks like a consent string and is none.
    pub(crate) fn junk(&mut self) -> String {
        (0..self.below(60)).map(|_| self.of(&["A", "C", "Q", "u", "_", ".", "~", "!"])).collect()
    }

    /// What a bid request says that forbids all use of the person.
    pub(crate) fn forbidding(&mut self) -> Value {
        let junk = self.junk();
        match self.below(13) {
            0 => json!({"regs": {"gdpr": 1}}),
            1 => json!({"regs": {"ext": {"gdpr": 1}}, "user": {"ext": {"consent": junk}}}),
            2 => json!({"regs": {"gdpr": 1}, "user": {"consent": NO_STORAGE}}),
            3 => json!({"regs": {"gdpr": 1}, "user": {"consent": format!("CQ{junk}")}}),
            4 => json!({"regs": {"gpp": junk, "gpp_sid": [self.of(&[2, 5, 6, 7, 8, 24])]}}),
            5 => json!({"regs": {"us_privacy": self.of(&["1YYN", "1YYY", "1", "junk"])}}),
            6 => json!({"regs": {"coppa": 1, "gdpr": 1}, "user": {"consent": CONSENTING}}),
            7 => json!({"regs": {"ext": {"gpc": "1"}}}),
            8 => json!({"device": {"dnt": 1}}),
            9 => json!({"device": {"lmt": 1}, "user": {"consent": CONSENTING}}),
            10 => json!({"regs": {"ext": {"us_privacy": "1NYN"}}}),
            11 => json!({"regs": {"ext": {"gpp_sid": ["7"]}}}),
            _ => json!({"device": {"geo": {"country": self.of(&["DEU", "GBR", "FRA", "NOR"])}}}),
        }
    }
}

/// A JSON merge patch (RFC 7396).
pub(crate) fn merge(into: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        into.clone_from(change);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in change {
        let members = into.as_object_mut().expect("an object");
        match value {
            Value::Null => drop(members.remove(name)),
            value => merge(members.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}
