//! What campaigns may bid of their own money.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::{
    catalog::campaign::Campaign,
    ids::{DecisionId, NameHash},
    values::Money,
};

/// The money of campaigns that bid by themselves.
pub trait Purses: Sync {
    /// For how many impressions a campaign may bid this per thousand now.
    fn affords(&self, campaign: &Campaign, price: Money) -> u32;
    /// Sets aside what a bid costs if it is won; whether there was as much.
    fn pay(&self, campaign: &Campaign, bid: DecisionId, price: Money) -> bool;
}

/// Nobody has any.
#[derive(Clone, Copy, Debug)]
pub struct Penniless;

impl Purses for Penniless {
    fn affords(&self, _: &Campaign, _: Money) -> u32 {
        0
    }

    fn pay(&self, _: &Campaign, _: DecisionId, _: Money) -> bool {
        false
    }
}

/// Money that is counted once, however many impressions of a request ask for it.
pub(super) struct Counted<'a> {
    purses: &'a dyn Purses,
    known: Mutex<HashMap<NameHash, u32>>,
}

impl<'a> Counted<'a> {
    pub(super) fn of(purses: &'a dyn Purses) -> Self {
        Self { purses, known: Mutex::default() }
    }
}

impl Purses for Counted<'_> {
    fn affords(&self, campaign: &Campaign, price: Money) -> u32 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(campaign.hash).or_insert_with(|| self.purses.affords(campaign, price))
    }

    fn pay(&self, campaign: &Campaign, bid: DecisionId, price: Money) -> bool {
        self.purses.pay(campaign, bid, price)
    }
}
