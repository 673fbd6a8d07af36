//! How many components a creative takes: no more than can be published.

use std::collections::BTreeMap;

use super::{Authoring, AuthoringError, workspace::Workspace};
use crate::domain::{
    catalog::{
        creative::MOST_OF_A_SLOT,
        key::{DocumentKey, Kind},
    },
    creative::ComponentDoc,
    ids::{CreativeId, SlotName},
    violation::Violation,
};

/// How many components a creative has for each slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    slots: BTreeMap<String, u64>,
    all: u64,
}

impl Room {
    fn of(filled: Vec<(String, u64)>) -> Self {
        Self { all: filled.iter().map(|(_, count)| count).sum(), slots: filled.into_iter().collect() }
    }

    /// Takes the room for one more component of a slot.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn take(&mut self, slot: &SlotName) -> Result<(), Violation> {
        let filled = self.slots.entry(slot.to_string()).or_default();
        if self.all >= u64::from(Authoring::MANY) {
            let detail = format!("a creative has at most {} components, and this one has them", Authoring::MANY);
            return Err(Violation::new("", "too_many", detail));
        }
        if *filled >= MOST_OF_A_SLOT as u64 {
            let detail = format!("a slot has at most {MOST_OF_A_SLOT} components, and {slot} has them");
            return Err(Violation::new("/slot", "too_many", detail));
        }
        (*filled, self.all) = (*filled + 1, self.all + 1);
        Ok(())
    }

    /// Notes that a component is of another slot now.
    pub(super) fn moved(&mut self, from: &str, to: &SlotName) {
        if from != to.as_str() {
            self.slots.entry(from.to_owned()).and_modify(|filled| *filled = filled.saturating_sub(1));
            *self.slots.entry(to.to_string()).or_default() += 1;
        }
    }
}

impl Workspace {
    /// Whether a creative is at the version that its author saw, if they told.
    pub(super) fn is_at(&self, creative: &CreativeId, seen: Option<i64>) -> Result<(), AuthoringError> {
        let found = self.documents.get(&DocumentKey::new(Kind::Creative, creative.as_str()));
        let current = found.and_then(|found| Some(found.as_ref()?.0));
        if seen.is_some() && seen != current { Err(AuthoringError::Stale { current }) } else { Ok(()) }
    }
}

impl Authoring {
    /// The room of a creative.
    pub(super) async fn room(&self, account: u32, creative: &CreativeId) -> Result<Room, AuthoringError> {
        Ok(Room::of(self.store.filled_slots(account, creative.clone()).await?))
    }

    /// Whether a component may be put into its creative: that is as its author saw it, and takes it.
    pub(super) async fn joins(
        &self,
        account: u32,
        work: &Workspace,
        key: &DocumentKey,
        (current, seen): (Option<i64>, Option<i64>),
    ) -> Result<(), AuthoringError> {
        let creative = key.id.split('/').next().and_then(|id| id.parse::<CreativeId>().ok());
        let Some(creative) = creative.filter(|_| key.kind == Kind::Component) else { return Ok(()) };
        work.is_at(&creative, seen)?;
        match work.typed::<ComponentDoc>(Kind::Component, &key.id).filter(|_| current.is_none()) {
            Some(doc) => {
                let room = self.room(account, &creative).await?.take(&doc.slot);
                room.map_err(|fault| AuthoringError::Invalid(vec![fault]))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creative_takes_what_can_be_published() {
        let slot = |name: &str| name.parse::<SlotName>().expect("a name");
        let mut room = Room::of(vec![("a".into(), MOST_OF_A_SLOT as u64 - 1), ("b".into(), 34_999)]);
        assert_eq!(room.take(&slot("a")), Ok(()));
        assert_eq!(room.take(&slot("a")).map_err(|fault| fault.pointer), Err("/slot".to_owned()));
        room.moved("a", &slot("b"));
        assert_eq!(room.take(&slot("a")), Ok(()), "the last");
        assert_eq!(room.take(&slot("b")).map_err(|fault| fault.pointer), Err(String::new()));
    }
}
