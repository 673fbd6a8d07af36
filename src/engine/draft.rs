//! Traits of a person on their way to the store, for people and for decisions.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        audience::{profile::TraitPatch, user::UserState},
        ids::{Uid, UserKey},
        values::Millis,
        violation::Violation,
    },
    ports::ProfileWrite,
};

/// A person being changed.
pub(super) struct Draft {
    /// As decisions read them.
    pub(super) state: UserState,
    /// Their traits as people read them.
    pub(super) traits: Value,
}

impl Draft {
    /// Sets and removes traits.
    ///
    /// # Errors
    /// There would be too many; nothing changed then.
    pub(super) fn apply(&mut self, patch: &TraitPatch, now: Millis) -> Result<(), Violation> {
        self.state.traits = self.state.traits.patched(patch, now)?;
        if !self.traits.is_object() {
            self.traits = Value::Object(Map::new());
        }
        let Value::Object(readable) = &mut self.traits else { return Ok(()) };
        for (name, value) in patch.iter() {
            match value {
                Some(value) => readable.insert(name.to_string(), json!({ "value": value, "set_at": now })),
                None => readable.remove(name.as_str()),
            };
        }
        Ok(())
    }

    pub(super) fn into_write(self, uid: Uid, key: UserKey, based_on: i64) -> ProfileWrite {
        ProfileWrite { uid, key, based_on, packed: self.state.encode(), traits: self.traits }
    }
}
