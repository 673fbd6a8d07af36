//! What campaigns may bid of their own money.

use crate::domain::{catalog::campaign::Campaign, ids::DecisionId, values::Money};

/// The money of campaigns that bid by themselves.
pub trait Purses: Sync {
    /// Whether a campaign may bid this per thousand impressions now.
    fn can_pay(&self, campaign: &Campaign, price: Money) -> bool;
    /// Sets aside what a bid costs if it is won; whether there was as much.
    fn pay(&self, campaign: &Campaign, bid: DecisionId, price: Money) -> bool;
}

/// Nobody has any.
#[derive(Clone, Copy, Debug)]
pub struct Penniless;

impl Purses for Penniless {
    fn can_pay(&self, _: &Campaign, _: Money) -> bool {
        false
    }

    fn pay(&self, _: &Campaign, _: DecisionId, _: Money) -> bool {
        false
    }
}
