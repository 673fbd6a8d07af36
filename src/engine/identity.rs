//! Keys that are one person, on behalf of the account that learned so; and the end of a person.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{
    people::{People, PeopleError},
    transitions::{Before, Note},
    unpack::unpack,
    world::Account,
};
use crate::{
    domain::{
        audience::user::UserState,
        ids::{NameHash, Uid, UserKey},
        values::Millis,
        violation::Violation,
    },
    ports::{Erasure, Joined, Merge, Merged, Parts, UserRow},
};

/// Two keys that are one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(example = json!({"user": "web:9f2c", "merged_into": "u-1", "merged": true, "version": 7, "consistency_token": "v7"}))]
pub struct MergeView {
    /// The key that leads to the person now.
    #[schema(value_type = String)]
    pub user: UserKey,
    /// The key that the person is kept under.
    #[schema(value_type = String)]
    pub merged_into: UserKey,
    /// Whether this is news: false where the two were one before.
    pub merged: bool,
    /// The person's version.
    pub version: i64,
    /// Send it with a decision, under either key, to have the merge reflected there.
    pub consistency_token: String,
}

impl People {
    /// Makes `from` another key of the person `into`, who need not be known yet: all that was known
    /// or will be told of it is theirs from then on. Repeating it changes nothing.
    ///
    /// # Errors
    /// The two are the same key; `from` is another key of somebody else; one of them was erased; the
    /// store's.
    pub async fn merge(&self, account: &Account, from: &UserKey, into: &UserKey) -> Result<MergeView, PeopleError> {
        self.join(account, from, into, false).await
    }

    /// The same for what anybody can say: only where nothing is known of `from` but what was shown.
    ///
    /// # Errors
    /// Those of [`People::merge`]; `from` is the key of somebody who is known.
    pub async fn claim(&self, account: &Account, from: &UserKey, into: &UserKey) -> Result<MergeView, PeopleError> {
        self.join(account, from, into, true).await
    }

    async fn join(
        &self,
        account: &Account,
        from: &UserKey,
        into: &UserKey,
        unclaimed: bool,
    ) -> Result<MergeView, PeopleError> {
        if from == into {
            let detail = "must be another key: nobody can be merged into themselves";
            return Err(PeopleError::Invalid(vec![Violation::new("/into", "same", detail)]));
        }
        let keys = |key: &UserKey| (account.uid(key), key.clone());
        let now = self.clock.now();
        let join = move |own: &Parts, other: &Parts, of| join(own, other, of, now);
        let merge = Merge { from: keys(from), into: keys(into), join: Arc::new(join), unclaimed };
        let (merged_into, merged, version) = match self.store.merge(account.number(), merge).await? {
            Merged::Done(joined) => (joined.key.clone(), true, self.tell(account, account.uid(from), *joined).await),
            Merged::Already { into, version } => (into, false, version),
            Merged::Elsewhere(key) => return Err(PeopleError::MergedElsewhere(key)),
            Merged::Erased => return Err(PeopleError::Erased),
        };
        let uid = account.uid(&merged_into);
        let consistency_token = self.changed(account, uid, version);
        Ok(MergeView { user: from.clone(), merged_into, merged, version, consistency_token })
    }

    /// Tells caches and followers of the transitions; the person's version.
    async fn tell(&self, account: &Account, from: Uid, joined: Joined) -> i64 {
        let version = joined.after.version;
        self.users.on_remote_change(account.number(), from, joined.from_version);
        // Who cannot be read is in nothing.
        let side = |row: Option<UserRow>| row.and_then(|row| unpack(row).ok()).map(Box::new);
        let other = (from, joined.other, joined.told, None);
        for (uid, before, told, after) in [other, (joined.uid, joined.before, None, Some(joined.after))] {
            let version = |side: &Option<UserRow>| side.as_ref().map_or(0, |row| row.version);
            let versions = Some((version(&before), version(&after)));
            let before = Before::Whole(side(before), told, side(after));
            let note = Note { account: account.number(), uid, at: self.clock.now(), versions, before };
            self.transitions.note(note).await;
        }
        version
    }

    /// Erases a person under every key.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase(&self, account: &Account, key: &UserKey) -> Result<Erasure, PeopleError> {
        // what cannot be read must not keep anybody from being erased
        let before = self.state(account, key).await.ok();
        let erased = self.store.erase(account.number(), account.uid(key)).await?;
        for uid in &erased.uids {
            self.users.on_erased(account.number(), *uid);
            self.rendered.on_erased(account.number(), *uid);
        }
        if let Some((uid, before)) = before {
            let before = Before::Erased(Box::new(before), erased.told.clone());
            let note = Note { account: account.number(), uid, at: self.clock.now(), versions: None, before };
            self.transitions.note(note).await;
        }
        Ok(erased)
    }
}

/// The person who has what is kept of both at `now`; none when one of them cannot be read.
fn join(own: &Parts, other: &Parts, of: Uid, now: Millis) -> Option<Parts> {
    let read = |row: &UserRow| -> Option<UserState> { unpack(row.clone()).ok() };
    let (mut person, mut theirs) = (read(&own.row)?, read(&other.row)?);
    [&mut person, &mut theirs].into_iter().for_each(|person| person.caps.forget_ahead(now));
    person.merge(&theirs, of);
    let mut traits = own.traits.as_object()?.clone();
    for (name, value) in other.traits.as_object()? {
        let hash = NameHash::of(name);
        let taken = theirs.traits.get(hash);
        if taken.is_some() && person.traits.get(hash) == taken {
            traits.insert(name.clone(), value.clone());
        }
    }
    let caps = if person.caps.is_empty() { Vec::new() } else { person.caps.encode() };
    let row = UserRow {
        version: own.row.version,
        packed: person.encode(),
        caps,
        lists: person.lists.iter().collect(),
        merged_into: None,
    };
    Some(Parts { row, traits: Value::Object(traits) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::audience::{caps::CapRing, profile::Traits, user::Lists};

    const NOW: Millis = Millis(3);

    fn parts(traits: &Value, at: i64, lists: &[u64]) -> Parts {
        let parsed = Traits::parse(traits, Millis(at)).expect("traits");
        let state = UserState::new(1, parsed, Lists::default(), CapRing::default());
        let readable = traits.as_object().expect("an object").iter();
        let readable = readable.map(|(name, value)| (name.clone(), json!({"value": value, "set_at": Millis(at)})));
        let lists = lists.iter().map(|list| (NameHash(*list), None).into()).collect();
        let row = UserRow { version: 1, packed: state.encode(), caps: vec![], lists, merged_into: None };
        Parts { row, traits: Value::Object(readable.collect()) }
    }

    #[test]
    fn traits_are_the_same_for_people_and_for_decisions() {
        let own = parts(&json!({"age": 30}), 1, &[1]);
        let other = parts(&json!({"age": 31, "city": "Berlin"}), 2, &[1, 2]);
        let joined = join(&own, &other, Uid(2), NOW).expect("readable");
        let state = unpack(joined.row.clone()).expect("readable");
        assert_eq!(joined.traits["age"], json!({"value": 31, "set_at": Millis(2)}));
        let back = join(&other, &own, Uid(2), NOW).expect("readable");
        assert_eq!(back.traits["age"], json!({"value": 31, "set_at": Millis(2)}));
        assert_eq!(joined.traits["city"], json!({"value": "Berlin", "set_at": Millis(2)}));
        assert_eq!(state.traits.iter().len(), 2);
        assert_eq!(joined.row.lists, [(NameHash(1), None).into(), (NameHash(2), None).into()]);
        let broken = Parts { row: UserRow { packed: vec![255], ..other.row.clone() }, ..other };
        assert_eq!(join(&own, &broken, Uid(2), NOW), None, "nobody is joined whom nobody can read");
    }
}
