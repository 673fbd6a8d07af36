//! What a campaign may spend by bidding itself, and how much of that may be bid now.
//!
//! Sums are whole billionths of the currency's unit. A price of so many millionths per thousand
//! impressions costs so many billionths for one, so that nothing is ever rounded.

use serde::{Deserialize, Serialize};

use crate::domain::{
    values::{Amount, Currency, Money},
    violation::Violations,
};

/// What a campaign may spend by bidding itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"daily": "50.00", "total": "1000.00", "currency": "USD"}))]
pub struct BudgetDoc {
    /// The most on a day of the flight's time zone, spent evenly over the hours in which it serves.
    pub daily: Amount,
    /// The most at all; none: until the flight ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Amount>,
    /// The currency of both, and of `cpm`.
    pub currency: Currency,
}

/// A budget, in billionths of its currency's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most on a day.
    pub daily: i64,
    /// The most at all.
    pub total: Option<i64>,
    /// The currency.
    pub currency: Currency,
}

/// The largest budget, in units of its currency.
const MOST: i64 = 9_000_000_000;

impl Budget {
    /// Reads a budget beside the price of its campaign.
    pub(super) fn parse(doc: &BudgetDoc, cpm: Option<Money>, faults: &mut Violations) -> Self {
        let mut check = |pointer: &str, amount: Amount| {
            if !(1..=MOST * 1_000_000).contains(&amount.micros()) {
                faults.push(pointer, "range", format!("must be above zero and at most {MOST}"));
            }
            amount.micros().saturating_mul(1_000)
        };
        let daily = check("/budget/daily", doc.daily);
        let total = doc.total.map(|total| check("/budget/total", total));
        match cpm {
            None => faults.push("/budget", "needs_cpm", "needs a cpm, the price that is bid"),
            Some(cpm) if cpm.currency != doc.currency => {
                faults.push("/budget/currency", "other_currency", format!("must be that of cpm, {}", cpm.currency));
            }
            Some(_) => {}
        }
        Self { daily, total, currency: doc.currency }
    }
}

/// What one impression costs at a price per thousand.
#[must_use]
pub fn cost(price: Amount) -> i64 {
    price.micros()
}

/// What a replica asks of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The most on a day.
    pub daily: i64,
    /// The most at all.
    pub total: Option<i64>,
    /// What would be spent by now if the day were spent evenly.
    pub due: i64,
    /// What one impression costs.
    pub price: i64,
    /// What it has bid that may yet be billed.
    pub held: i64,
    /// What it may bid already.
    pub unused: i64,
    /// What it has bid in the last seconds, won or not.
    pub recent: i64,
}

/// What is known of a budget's spending, wherever it was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// On the day.
    pub day: i64,
    /// At all.
    pub total: i64,
    /// Impressions of the day.
    pub impressions: i64,
    /// What was bid on the day, won or not.
    pub bid: i64,
    /// What others may bid and have bid on the day.
    pub held_day: i64,
    /// The same of all days.
    pub held_total: i64,
    /// How many replicas have bid lately, at least the one that asks.
    pub replicas: i64,
}

impl Spent {
    /// How much of what is bid comes to be billed, in millionths; all of it until enough was bid to
    /// tell.
    #[must_use]
    pub fn won(&self, outstanding: i64, price: i64) -> i64 {
        const MILLION: i128 = 1_000_000;
        let settled = i128::from(self.bid) - i128::from(outstanding);
        if settled < i128::from(price) * 200 {
            return 1_000_000;
        }
        // between a thousandth and all
        (i128::from(self.day) * MILLION / settled).clamp(MILLION / 1_000, MILLION) as i64
    }
}

/// Of what is there, the part that a replica may keep for bids that nothing told of yet.
const AT_HAND: i64 = 16;

/// How much more a replica may bid.
///
/// Never less than nothing: while it asks it goes on bidding, so what it may bid already cannot be
/// taken from it. That it gives back of itself, before it asks: see [`give_back`].
#[must_use]
pub fn grant(wish: &Wish, spent: &Spent) -> i64 {
    balance(wish, spent).max(0)
}

/// How much of what it may bid a replica gives back before it asks again, by what it knew last.
#[must_use]
pub fn give_back(wish: &Wish, spent: &Spent) -> i64 {
    balance(wish, spent).min(0).saturating_neg()
}

/// How much more a replica should have at hand, or less.
///
/// What was spent and what may come to be billed never exceeds the budget, over all replicas, when
/// each is asked after the other. Within that the pace counts of what may come only the part that,
/// as the day has shown, does. No replica keeps much more than it has bid lately, so that what there
/// is goes to those whose auctions there are.
fn balance(wish: &Wish, spent: &Spent) -> i64 {
    let own = wish.held.saturating_add(wish.unused);
    let held = spent.held_day.saturating_add(own);
    let hard_day = wish.daily.saturating_sub(spent.day).saturating_sub(held);
    let hard_total = wish.total.map_or(i64::MAX, |total| {
        total.saturating_sub(spent.total).saturating_sub(spent.held_total).saturating_sub(own)
    });
    let coming = (i128::from(held) * i128::from(spent.won(held, wish.price)) / 1_000_000) as i64;
    let soft = wish.due.saturating_sub(spent.day).saturating_sub(coming);
    let room = hard_day.min(hard_total).min(soft);
    let price = wish.price.max(1);
    let keep = wish.recent.saturating_add(price).max(room.saturating_add(wish.unused) / AT_HAND);
    let more = keep.saturating_sub(wish.unused);
    if room < 0 || more < 0 {
        return room.min(more).max(-wish.unused);
    }
    let share = (room / spent.replicas.max(1)).max(price).min(more);
    // whole impressions, so that no remainder lies where it cannot be spent
    if share > room { 0 } else { share / price * price }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WISH: Wish =
        Wish { daily: 100_000, total: None, due: 100_000, price: 1_000, held: 0, unused: 0, recent: 100_000 };

    #[test]
    fn a_budget_is_shared_evenly_and_never_exceeded() {
        let alone = Spent { replicas: 1, ..Spent::default() };
        assert_eq!(balance(&WISH, &alone), 100_000);
        assert_eq!(balance(&WISH, &Spent { replicas: 3, ..alone }), 33_000, "whole impressions");
        assert_eq!(balance(&WISH, &Spent { day: 99_500, ..alone }), 0, "less than one is left");
        assert_eq!(balance(&WISH, &Spent { day: 98_500, replicas: 9, ..alone }), 1_000, "the last one is not divided");
        assert_eq!(balance(&Wish { total: Some(50_000), ..WISH }, &Spent { total: 40_000, ..alone }), 10_000);
        assert_eq!(balance(&Wish { due: 20_000, ..WISH }, &alone), 20_000, "and no faster than the day goes by");
        assert_eq!(balance(&Wish { held: 70_000, ..WISH }, &Spent { held_day: 20_000, ..alone }), 10_000);
        // a budget that was cut takes back what is not bid yet, and no more
        assert_eq!(balance(&Wish { daily: 10_000, held: 5_000, unused: 30_000, ..WISH }, &alone), -25_000);
        assert_eq!(balance(&Wish { daily: 10_000, held: 50_000, unused: 3_000, ..WISH }, &alone), -3_000);
    }

    #[test]
    fn the_pace_counts_on_what_is_won() {
        // of 1,000,000 that were bid, 10,000 were billed: one in a hundred
        let spent = Spent { day: 10_000, bid: 1_000_000, replicas: 1, ..Spent::default() };
        assert_eq!(spent.won(0, 1_000), 10_000);
        assert_eq!(spent.won(900_000, 1_000), 1_000_000, "too little is settled to tell");
        let wish = Wish { daily: 10_000_000, due: 20_000, held: 500_000, ..WISH };
        assert_eq!(balance(&wish, &spent), 0, "of what is out, 10,000 will come, more than is due");
        let fewer = Wish { held: 300_000, ..wish };
        assert!(balance(&fewer, &spent) > 0);
    }

    #[test]
    fn who_does_not_bid_keeps_little() {
        let alone = Spent { replicas: 1, ..Spent::default() };
        let idle = Wish { recent: 0, ..WISH };
        assert_eq!(balance(&idle, &alone), 6_000, "a sixteenth, in whole impressions");
        assert_eq!(balance(&Wish { unused: 50_000, ..idle }, &alone), 6_250 - 50_000);
        assert_eq!(
            balance(&Wish { due: 9_000, unused: 6_000, ..idle }, &alone),
            -5_000,
            "less is left: one impression"
        );
        assert_eq!(balance(&Wish { due: 9_000, unused: 1_000, ..idle }, &alone), 0);
        assert_eq!(balance(&Wish { unused: 30_000, recent: 20_000, ..WISH }, &alone), -9_000);
        assert_eq!(
            balance(&Wish { due: -5_000, unused: 6_000, ..idle }, &alone),
            -6_000,
            "and nothing where nothing is due"
        );
    }

    /// A day of `seconds`, `replicas` that ask each second, one of which has all the auctions. One bid in
    /// `rate` wins and is billed at once; of the others nobody hears, so they are held for a minute.
    /// Returns what was billed.
    fn day(seconds: i64, replicas: usize, rate: i64, daily: i64) -> i64 {
        const PRICE: i64 = 1_000;
        let (mut spent, mut bids) = (Spent::default(), 0);
        let (mut unused, mut last) = (vec![0_i64; replicas], vec![Spent::default(); replicas]);
        let mut made: std::collections::VecDeque<(i64, i64)> = std::collections::VecDeque::new();
        for second in 0..seconds {
            if made.front().is_some_and(|_| made.len() > 60) {
                made.pop_front();
            }
            let held: i64 = made.iter().map(|(lost, _)| lost).sum();
            for at in 0..replicas {
                let recent = if at == 0 { made.iter().rev().take(5).map(|(_, bid)| bid).sum() } else { 0 };
                let others: i64 = unused.iter().sum::<i64>() - unused[at] + if at == 0 { 0 } else { held };
                let known = Spent { held_day: others, held_total: others, replicas: 1 + i64::from(at > 0), ..spent };
                let due = daily * (second + 1) / seconds;
                let held = if at == 0 { held } else { 0 };
                let wish = Wish { daily, total: None, due, price: PRICE, held, unused: unused[at], recent };
                let back = give_back(&wish, &last[at]);
                let wish = Wish { unused: wish.unused - back, ..wish };
                unused[at] += grant(&wish, &known) - back;
                last[at] = known;
            }
            // more auctions than money
            let count = unused[0] / PRICE;
            let won = (1..=count).filter(|of| (bids + of) % rate == 0).count() as i64 * PRICE;
            (bids, spent.bid) = (bids + count, spent.bid + count * PRICE);
            unused[0] -= count * PRICE;
            made.push_back((count * PRICE - won, count * PRICE));
            (spent.day, spent.total) = (spent.day + won, spent.total + won);
            assert!(spent.day <= daily, "{} of {daily}", spent.day);
        }
        spent.day
    }

    #[test]
    fn replicas_without_auctions_hold_nothing_back() {
        for (replicas, rate) in [(2, 1), (2, 10), (2, 50), (4, 1), (4, 10), (4, 50)] {
            let daily = 5_000_000;
            let billed = day(86_400, replicas, rate, daily);
            assert!(billed * 100 >= daily * 95, "{billed} by {replicas} replicas that win one in {rate}");
        }
    }

    /// What a replica has, what it knew last, what it is asking, and what is written down of it.
    #[derive(Clone, Copy, Default)]
    struct Replica {
        held: i64,
        unused: i64,
        last: Spent,
        asking: Option<Wish>,
        granted: Option<(i64, Spent)>,
        booked: i64,
    }

    proptest! {
        /// Replicas that ask in any order, and go on bidding, winning and losing meanwhile; some answers are
        /// lost. Whatever is bid wins at last.
        #[test]
        fn no_more_is_billed_than_there_is(
            steps in prop::collection::vec((0..3_usize, 0..7_u8, 0..40_i64), 1..300),
            budgets in prop::collection::vec(1_000..60_000_i64, 3),
            total in prop::option::of(1_000..60_000_i64),
        ) {
            let mut spent = Spent { replicas: 3, ..Spent::default() };
            let mut replicas = [Replica::default(); 3];
            // that a budget is cut can take back nothing that is spent or bid
            let daily = budgets[0];
            for (at, what, count) in steps {
                let amount = count * WISH.price;
                let others = (0..3).filter(|other| *other != at).map(|other| replicas[other].booked).sum::<i64>();
                let one = &mut replicas[at];
                match what {
                    // asks
                    0 if one.asking.is_none() && one.granted.is_none() => {
                        let due = budgets[count as usize % budgets.len()];
                        let wish = Wish { daily, total, due, held: one.held, unused: one.unused, ..WISH };
                        let wish = Wish { recent: amount, ..wish };
                        one.unused -= give_back(&wish, &one.last);
                        prop_assert!(one.unused >= 0);
                        one.asking = Some(Wish { unused: one.unused, ..wish });
                    }
                    // the store commits
                    1 => if let Some(wish) = one.asking.take() {
                        let known = Spent { held_day: others, held_total: others, ..spent };
                        let granted = grant(&wish, &known);
                        one.booked = wish.held + wish.unused + granted;
                        one.granted = Some((granted, known));
                    },
                    // its answer comes, or is lost
                    2 => if let Some((granted, known)) = one.granted.take() {
                        (one.unused, one.last) = (one.unused + granted, known);
                    },
                    3 => {
                        one.granted = None;
                        // the call may not even have got there
                        one.asking = one.asking.filter(|_| count % 2 == 0);
                    }
                    4 => {
                        let bid = amount.min(one.unused);
                        (one.held, one.unused) = (one.held + bid, one.unused - bid);
                        spent.bid += bid;
                    }
                    5 => {
                        let won = amount.min(one.held);
                        one.held -= won;
                        (spent.day, spent.total) = (spent.day + won, spent.total + won);
                    }
                    _ => one.held -= amount.min(one.held),
                }
                let out: i64 = replicas.iter().map(|of| of.held + of.unused).sum();
                prop_assert!(spent.day + out <= daily && total.is_none_or(|total| spent.total + out <= total));
            }
        }
    }
}
