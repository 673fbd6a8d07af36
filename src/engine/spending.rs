//! What campaigns that bid by themselves may spend, shared with the other replicas by the store.
//!
//! Each replica holds a lease on a part of every budget and bids within it without asking anybody. A
//! bid counts as spent until it is billed or lost, for [`Spending::HOLD`] at most; so a budget is
//! exceeded only by bids that are billed later than that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::{catalogue::Catalogue, seeds, world::World};
use crate::{
    domain::{
        catalog::{
            budget::{Budget, Spent, Wish, cost, give_back},
            campaign::Campaign,
        },
        ids::{CampaignId, DecisionId, NameHash},
        measurement::beacon::decided_at,
        openrtb::Purses,
        values::{Millis, Money},
    },
    ports::{Clock, Lease, LeaseWish, SpendStore, StoreError},
};

/// The money of campaigns. Clones share it.
#[derive(Clone)]
pub struct Spending(Arc<Shared>);

/// A campaign's purse, which bids and the ticker open one at a time.
type Shelf = Arc<Mutex<Purse>>;

struct Shared {
    store: Arc<dyn SpendStore>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    replica: u128,
    purses: RwLock<HashMap<(u32, NameHash), Shelf>>,
}

/// What this replica may bid for one campaign on one day.
#[derive(Debug, Default)]
struct Purse {
    day: i32,
    /// When bids are of that day.
    hours: Range<i64>,
    due: i64,
    unused: i64,
    /// Bids that may yet be billed, and all that were made lately, in their order.
    held: HashMap<DecisionId, i64>,
    order: VecDeque<(Instant, DecisionId, i64)>,
    /// What was bid since the store was told.
    bid: i64,
    /// What the store said, and when it was asked.
    known: Option<(Spent, Instant)>,
}

/// How a campaign's budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// The day, since 1970-01-01.
    pub day: i32,
    /// When the next day begins.
    pub resets_at: Millis,
    /// What would be spent by now if the day were spent evenly.
    pub due: i64,
    /// What is known of the spending; all replicas' bids that may yet be billed are in `held_day`.
    pub spent: Spent,
    /// How old that is, in ms.
    pub age_ms: u64,
    /// Whether this replica may bid.
    pub bids: bool,
}

impl Purse {
    fn held(&self) -> i64 {
        self.held.values().sum()
    }

    fn is_fresh(&self) -> bool {
        self.known.is_some_and(|(_, asked)| asked.elapsed() <= Spending::FRESH)
    }

    fn can_pay(&self, cost: i64) -> bool {
        self.affords(cost) > 0
    }

    /// For how many bids of this cost there is money.
    fn affords(&self, cost: i64) -> u32 {
        let bids = if self.is_fresh() { self.unused.max(0) / cost.max(1) } else { 0 };
        u32::try_from(bids).unwrap_or(u32::MAX)
    }

    /// Sets the cost of a bid aside. What is billed counts on the day of the bid, so it must be of
    /// this one.
    fn pay(&mut self, bid: DecisionId, cost: i64) -> bool {
        if !self.can_pay(cost) || !self.hours.contains(&decided_at(bid).0) {
            return false;
        }
        self.unused -= cost;
        self.bid = self.bid.saturating_add(cost);
        self.held.insert(bid, cost);
        self.order.push_back((Instant::now(), bid, cost));
        true
    }

    /// What was bid in the last seconds.
    fn recent(&self) -> i64 {
        let recent = self.order.iter().rev().take_while(|(made, ..)| made.elapsed() <= Spending::RECENT);
        recent.map(|(.., cost)| cost).sum()
    }

    /// Lets go of what can hardly be billed any more. Whether bids are left that may be.
    fn let_go(&mut self) -> bool {
        while self.order.front().is_some_and(|(made, ..)| made.elapsed() > Spending::HOLD) {
            if let Some((_, bid, _)) = self.order.pop_front() {
                self.held.remove(&bid);
            }
        }
        !self.order.is_empty()
    }

    /// Turns to the day of `now`, and lets go of what can hardly be billed any more.
    fn turn(&mut self, campaign: &Campaign, budget: &Budget, now: Millis) {
        let today = campaign.flight.day(now);
        if today.number != self.day || self.known.is_none() {
            *self = Self { day: today.number, ..Self::default() };
        }
        self.due = today.share_of(budget.daily);
        self.hours = today.hours;
        self.let_go();
    }

    /// What to ask of the store, and what was bid since it was told. What is given back is given back
    /// before: it must not be bid while the store leases it to others. It stays so where no answer comes,
    /// for the store may have heard all the same.
    fn ask(&mut self, budget: &Budget, price: i64) -> (Wish, i64) {
        let wish = Wish {
            daily: budget.daily,
            total: budget.total,
            due: self.due,
            price,
            held: self.held(),
            unused: self.unused,
            recent: self.recent(),
        };
        self.unused -= self.known.map_or(0, |(spent, _)| give_back(&wish, &spent));
        (Wish { unused: self.unused, ..wish }, std::mem::take(&mut self.bid))
    }

    /// Takes what the store answers.
    fn take(&mut self, lease: &Lease, asked: Instant) {
        self.unused = self.unused.saturating_add(lease.granted);
        self.known = Some((lease.spent, asked));
    }
}

impl Spending {
    /// How long a bid counts as spent when nobody says what became of it.
    pub const HOLD: Duration = Duration::from_secs(60);
    /// What the store said longer ago is not bid by.
    pub const FRESH: Duration = Duration::from_secs(60);
    /// What was bid within this shows what a replica needs.
    const RECENT: Duration = Duration::from_secs(5);
    /// How often the store is asked.
    const EVERY: Duration = Duration::from_secs(1);

    /// Budgets kept in `store`. Run [`Spending::follow`] as a background task.
    #[must_use]
    pub fn new(store: Arc<dyn SpendStore>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) -> Self {
        let replica = u128::from_be_bytes(seeds::draw().0);
        Self(Arc::new(Shared { store, catalogue, clock, replica, purses: RwLock::default() }))
    }

    /// The money of one account's campaigns.
    #[must_use]
    pub fn of(&self, account: u32) -> Till<'_> {
        Till { spending: self, account }
    }

    /// A bid was billed or lost: it is no longer held.
    pub fn settle(&self, account: u32, campaign: &CampaignId, bid: DecisionId) {
        if let Some(purse) = self.purse(account, NameHash::of(campaign.as_str())) {
            purse.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&bid);
        }
    }

    /// How a campaign's budget stands, as far as this replica knows; none before it was asked about.
    #[must_use]
    pub fn state(&self, account: u32, campaign: &Campaign) -> Option<BudgetState> {
        let purse = self.purse(account, campaign.hash)?;
        let purse = purse.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut spent, asked) = purse.known?;
        spent.held_day += purse.held() + purse.unused;
        let price = campaign.cpm.map_or(i64::MAX, |cpm| cost(cpm.amount));
        Some(BudgetState {
            day: purse.day,
            resets_at: Millis(purse.hours.end),
            due: purse.due,
            spent,
            age_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
            bids: purse.is_fresh() && purse.unused >= price,
        })
    }

    /// Asks the store again and again, until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        while stop.run_until_cancelled(time::sleep(Self::EVERY)).await.is_some() {
            if let Err(error) = self.ask().await {
                tracing::warn!(%error, "budgets cannot be read; bids of our own end when this lasts");
            }
        }
    }

    fn purse(&self, account: u32, campaign: NameHash) -> Option<Shelf> {
        self.0.purses.read().unwrap_or_else(PoisonError::into_inner).get(&(account, campaign)).cloned()
    }

    /// Asks the store once, for every campaign that has a budget.
    async fn ask(&self) -> Result<(), StoreError> {
        let world = self.0.catalogue.world();
        let purses = self.purses(&world);
        if purses.is_empty() {
            return Ok(());
        }
        let now = self.0.clock.now();
        let (mut asked, mut wishes) = (Vec::new(), Vec::new());
        for (account, campaign, purse) in purses {
            let (Some(budget), Some(cpm)) = (campaign.budget, campaign.cpm) else { continue };
            let mut open = purse.lock().unwrap_or_else(PoisonError::into_inner);
            open.turn(&campaign, &budget, now);
            let (wish, bid) = open.ask(&budget, cost(cpm.amount));
            let (currency, day) = (budget.currency, open.day);
            drop(open);
            wishes.push(LeaseWish { account, campaign: campaign.id.clone(), currency, day, wish, bid });
            asked.push((purse, day, bid));
        }
        let at = Instant::now();
        let leases = self.0.store.lease(self.0.replica, wishes).await;
        let leases = match leases {
            Ok(leases) => leases,
            Err(error) => {
                for (purse, day, bid) in asked {
                    let mut open = purse.lock().unwrap_or_else(PoisonError::into_inner);
                    open.bid += if open.day == day { bid } else { 0 };
                }
                return Err(error);
            }
        };
        for ((purse, day, _), lease) in asked.into_iter().zip(leases) {
            let mut open = purse.lock().unwrap_or_else(PoisonError::into_inner);
            if open.day == day {
                open.take(&lease, at);
            }
        }
        Ok(())
    }

    /// The purses of all campaigns that have a budget. Those of others are closed once none of their bids
    /// may be billed, so that a campaign that is paused and goes on knows what it has bid.
    fn purses(&self, world: &World) -> Vec<(u32, Arc<Campaign>, Shelf)> {
        let mut all = self.0.purses.write().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for account in world.accounts() {
            let snapshot = &account.snapshot;
            for campaign in snapshot.payers.iter().map(|at| &snapshot.lines[*at].campaign) {
                let purse = Arc::clone(all.entry((account.number(), campaign.hash)).or_default());
                found.push((account.number(), Arc::clone(campaign), purse));
            }
        }
        if all.len() > found.len() {
            let open: HashSet<_> = found.iter().map(|(of, campaign, _)| (*of, campaign.hash)).collect();
            let may_be_billed = |purse: &Shelf| purse.lock().unwrap_or_else(PoisonError::into_inner).let_go();
            all.retain(|key, purse| open.contains(key) || may_be_billed(purse));
        }
        found
    }
}

/// The money of one account's campaigns.
pub struct Till<'a> {
    spending: &'a Spending,
    account: u32,
}

impl Purses for Till<'_> {
    fn affords(&self, campaign: &Campaign, price: Money) -> u32 {
        let Some(purse) = self.spending.purse(self.account, campaign.hash) else { return 0 };
        purse.lock().unwrap_or_else(PoisonError::into_inner).affords(cost(price.amount))
    }

    fn pay(&self, campaign: &Campaign, bid: DecisionId, price: Money) -> bool {
        let Some(purse) = self.spending.purse(self.account, campaign.hash) else { return false };
        purse.lock().unwrap_or_else(PoisonError::into_inner).pay(bid, cost(price.amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{catalog::budget::grant, values::Currency};

    /// The `number`th bid of a millisecond.
    fn bid(at: i64, number: u128) -> DecisionId {
        DecisionId(uuid::Uuid::from_u128((at as u128) << 80 | number))
    }

    fn purse(unused: i64) -> Purse {
        Purse { unused, hours: 0..1_000, known: Some((Spent::default(), Instant::now())), ..Purse::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_too_long_ago_is_not_bid_by() {
        let mut purse = purse(100);
        time::advance(Spending::FRESH).await;
        assert!(purse.can_pay(10) && purse.pay(bid(5, 1), 10));
        time::advance(Duration::from_millis(1)).await;
        assert!(!purse.can_pay(10) && !purse.pay(bid(5, 2), 10));
        purse.known = Some((Spent::default(), Instant::now()));
        assert!(purse.pay(bid(5, 2), 10));
        purse.known = None;
        assert!(!purse.can_pay(10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_not_bid_while_the_store_is_asked() {
        const BUDGET: Budget = Budget { daily: 6, total: None, currency: Currency::USD };
        let alone = Spent { replicas: 1, ..Spent::default() };
        let mut first = Purse { due: 6, known: Some((alone, Instant::now())), ..purse(6) };
        let (wish, _) = first.ask(&BUDGET, 1);
        assert_eq!((wish.unused, first.unused), (1, 1), "nothing was bid lately: one impression is kept");
        // while the store hears of it and leases what was given back to another
        let bids = (1..=6).filter(|number| first.pay(bid(5, *number), 1)).count();
        assert_eq!(bids, 1);
        let granted = grant(&wish, &alone);
        let booked = wish.held + wish.unused + granted;
        let other = Wish { held: 0, unused: 0, recent: 6, ..wish };
        let theirs = grant(&other, &Spent { held_day: booked, held_total: booked, ..alone });
        assert_eq!((granted, theirs), (0, 5));
        // its answer is lost, so it knows nothing else when it asks again
        let (wish, _) = first.ask(&BUDGET, 1);
        assert_eq!(wish.held + wish.unused + theirs, 6, "never more than there is");
        // less is due than it has: nothing can be taken from it in the answer
        let spent = Spent { held_day: theirs, held_total: theirs, day: 3, ..alone };
        let lease = Lease { granted: grant(&wish, &spent), spent };
        first.take(&lease, Instant::now());
        assert_eq!((lease.granted, first.unused), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn bids_are_held_until_they_are_settled_or_old() {
        let campaign: Campaign = {
            let doc = serde_json::json!({"name": "A", "advertiser": "n", "status": "active", "creatives": ["c"],
                "landing_url": "https://n.example/", "cpm": {"amount": "1", "currency": "USD"},
                "budget": {"daily": "1", "currency": "USD"}});
            let brand =
                serde_json::from_value(serde_json::json!({"name": "N", "domain": "n.example"})).expect("a brand");
            let doc = serde_json::from_value(doc).expect("a campaign");
            let rules = crate::domain::catalog::snapshot::Snapshot::empty().rules;
            Campaign::compile("a".parse().expect("an id"), &doc, Some(&brand), &rules).expect("a campaign")
        };
        let budget = campaign.budget.expect("a budget");
        let mut purse = purse(25);
        assert!(purse.pay(bid(5, 1), 10) && purse.pay(bid(6, 2), 10));
        assert!(!purse.pay(bid(7, 3), 10), "only 5 are left");
        assert!(!purse.pay(bid(1_000, 4), 5), "a bid of the next day is not of this day's money");
        assert_eq!((purse.unused, purse.held(), purse.bid), (5, 20, 20));
        purse.held.remove(&bid(5, 1));
        assert_eq!(purse.held(), 10);
        time::advance(Spending::HOLD).await;
        purse.turn(&campaign, &budget, Millis(500));
        assert_eq!((purse.held(), purse.hours.clone(), purse.unused), (10, 0..86_400_000, 5));
        time::advance(Duration::from_millis(1)).await;
        purse.turn(&campaign, &budget, Millis(43_200_000));
        assert_eq!((purse.held(), purse.due), (0, 500_000_000), "half of the day, half of the budget");
        purse.turn(&campaign, &budget, Millis(86_400_000));
        assert_eq!((purse.day, purse.unused, purse.known), (1, 0, None), "another day, another lease");
    }
}
