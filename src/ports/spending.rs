//! What campaigns spend by bidding themselves.

use super::Answer;
use crate::domain::{
    catalog::budget::{Spent, Wish},
    ids::CampaignId,
    values::Currency,
};

/// What a replica asks of a campaign's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseWish {
    /// Number of its account.
    pub account: u32,
    /// Which campaign.
    pub campaign: CampaignId,
    /// The currency of its budget.
    pub currency: Currency,
    /// The day, in the campaign's time zone, since 1970-01-01.
    pub day: i32,
    /// What is asked.
    pub wish: Wish,
    /// What was bid since the replica asked before.
    pub bid: i64,
}

/// What a replica got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How much more it may bid.
    pub granted: i64,
    /// What is known of the spending, without this replica's own.
    pub spent: Spent,
}

/// Budgets that replicas share. What is billed is counted by
/// [`OutcomeStore::record`](super::OutcomeStore::record).
pub trait SpendStore: Send + Sync {
    /// Divides budgets among the replicas that ask, one after the other. Answers in the same order.
    fn lease(&self, replica: u128, wishes: Vec<LeaseWish>) -> Answer<'_, Vec<Lease>>;
}
