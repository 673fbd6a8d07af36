//! Places for those who follow something as it happens: each account has so many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How many follow, by account. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Followers(Arc<Mutex<HashMap<u32, usize>>>);

/// A place that is taken until it is dropped.
#[must_use]
pub struct Follower {
    of: Followers,
    account: u32,
}

impl Followers {
    /// A place, if the account has one left of `most`.
    pub(super) fn enter(&self, account: u32, most: usize) -> Option<Follower> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(account).or_default();
        (*count < most).then(|| {
            *count += 1;
            Follower { of: self.clone(), account }
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.account) {
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_its_holder_is_gone() {
        let places = Followers::default();
        let (one, two) = (places.enter(1, 2), places.enter(1, 2));
        assert!(one.is_some() && two.is_some() && places.enter(1, 2).is_none());
        assert!(places.enter(2, 2).is_some(), "another account has its own");
        drop(one);
        assert!(places.enter(1, 2).is_some());
    }
}
