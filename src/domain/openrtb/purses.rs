//! What campaigns may bid of their own money.

use crate::domain::{catalog::campaign::Campaign, ids::DecisionId, values::Money};

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
