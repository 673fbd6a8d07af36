//! What exchanges say was paid, and what it takes from budgets.

use super::app::App;
use crate::domain::{
    catalog::budget::cost,
    measurement::{
        beacon::{Claim, decided_at},
        outcome::Charge,
    },
    values::{Amount, Currency, Money},
};

/// What an exchange says was paid.
#[derive(Debug)]
pub(super) struct Told {
    /// Per thousand impressions, as it came.
    pub(super) price: Option<String>,
    /// In which currency.
    pub(super) currency: Option<Currency>,
}

impl Told {
    /// What a bid is paid with: what is said, and where that cannot be read or is more, what was bid.
    pub(super) fn paid(&self, bid: Money) -> Money {
        let same = self.currency.is_none_or(|currency| currency == bid.currency);
        let said = self.price.as_deref().filter(|_| same).and_then(price);
        Money { amount: said.map_or(bid.amount, |said| said.min(bid.amount)), ..bid }
    }
}

/// A price above zero; digits beyond the millionth are cut off, but never to nothing.
fn price(text: &str) -> Option<Amount> {
    let cut = text.find('.').and_then(|point| text.get(..point + 7));
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let amount: Amount = cut.unwrap_or(text).parse().ok().filter(|_| digits)?;
    let any = text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    any.then(|| amount.max(Amount::from_micros(1)))
}

/// What a billed impression takes from the budget of its campaign. What a bidder has bid for a line
/// that it named is the bidder's own affair.
pub(super) fn charge(app: &App, claim: &Claim, paid: Money) -> Option<Charge> {
    if !claim.budgeted {
        return None;
    }
    let world = app.engine.catalogue.world();
    let snapshot = &world.account(claim.account)?.snapshot;
    let campaign = &snapshot.lines[snapshot.line(claim.campaign.as_ref()?)?].campaign;
    let budget = campaign.budget.filter(|budget| budget.currency == paid.currency)?;
    let day = campaign.flight.day(decided_at(claim.decision)).number;
    Some(Charge { cost: cost(paid.amount), currency: budget.currency, day })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_and_never_above_the_bid() {
        let bid = Money { amount: Amount::from_micros(2_000_000), currency: Currency::USD };
        let paid = |text: &str, currency: &str| {
            let told = Told { price: Some(text.into()), currency: currency.parse().ok() };
            told.paid(bid).amount.micros()
        };
        assert_eq!(
            (paid("1.5", "USD"), paid("1.5", ""), paid("2", "USD"), paid("7", "USD")),
            (1_500_000, 1_500_000, 2_000_000, 2_000_000)
        );
        assert_eq!((paid("0.00000009", "USD"), paid("1.23456789", "USD")), (1, 1_234_567));
        for unknown in [
            "",
            "AUDIT",
            "0",
            "0.0",
            "-1",
            "1e3",
            "+1",
            "1.",
            ".5",
            "${AUCTION_PRICE}",
            "99999999999999999999",
            "1.2.3",
            "\u{661}",
        ] {
            assert_eq!(paid(unknown, "USD"), 2_000_000, "{unknown}");
        }
        assert_eq!(paid("1.5", "EUR"), 2_000_000, "another currency says nothing of ours");
        assert_eq!(Told { price: None, currency: None }.paid(bid), bid);
    }
}
