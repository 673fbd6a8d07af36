//! The least that an exchange takes, and in which currencies.

use super::{
    refusal::NoBid,
    request::{BidRequest, Deal, DurFloor, Imp, Object, Text},
    surroundings::said,
};
use crate::domain::values::{Amount, Money};

/// The floors of an impression, where a deal has none of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors<'a>(pub(super) &'a Imp<'a>);

impl<'a> Floors<'a> {
    /// Whether a price is enough for some bid on a deal or none: how long the video of it is, is not known yet.
    pub(super) fn open(self, price: Money, deal: Option<&'a Deal<'a>>) -> Result<(), NoBid> {
        if self.0.video.is_none() {
            return self.judge(price, deal, |said| said.after(None));
        }
        let own = deal.map(Least::of_deal).filter(Least::is_said);
        own.unwrap_or_else(|| self.of_impression()).meet(price, Least::lowest)
    }

    /// Whether a price is enough for a bid on a deal or none, with a video of so many seconds if it is one.
    fn meet(self, price: Money, deal: Option<&str>, seconds: Option<u32>) -> Result<(), NoBid> {
        let deals = self.0.pmp.as_ref().and_then(|pmp| pmp.deals.as_deref()).unwrap_or_default();
        let deal = deal.and_then(|id| deals.iter().find(|deal| deal.id.as_deref() == Some(id)));
        self.judge(price, deal.map(|deal| &**deal), |said| said.after(seconds))
    }

    /// The first of some deals, or of none, for which a price is enough with such a video.
    ///
    /// # Errors
    /// It is for none of them; why it is not for the last.
    pub(super) fn first<'d>(
        self,
        price: Money,
        deals: &[Option<&'d str>],
        seconds: Option<u32>,
    ) -> Result<Option<&'d str>, NoBid> {
        let mut reason = NoBid::Deal;
        for deal in deals {
            match self.meet(price, *deal, seconds) {
                Ok(()) => return Ok(*deal),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    /// Whether a price is enough for what a deal says, or the impression where that says nothing.
    fn judge(
        self,
        price: Money,
        deal: Option<&'a Deal<'a>>,
        least: impl Fn(&Least<'_>) -> Option<f64>,
    ) -> Result<(), NoBid> {
        let own = deal.map(Least::of_deal).filter(|own| least(own).is_some());
        own.unwrap_or_else(|| self.of_impression()).meet(price, least)
    }

    fn of_impression(self) -> Least<'a> {
        let Imp { video, bidfloor, bidfloorcur, .. } = self.0;
        let lengths = video.as_ref().and_then(|video| video.durfloors.as_deref()).unwrap_or_default();
        let second = video.as_ref().and_then(|video| video.mincpmpersec);
        Least { any: *bidfloor, lengths, second, currency: bidfloorcur.as_ref() }
    }
}

/// What a deal or an impression says of the least.
struct Least<'a> {
    /// Where no other is for the length.
    any: Option<f64>,
    /// For videos of some lengths, which go before that.
    lengths: &'a [Object<DurFloor<'a>>],
    /// What every second of a video must bring beside that.
    second: Option<f64>,
    currency: Option<&'a Text<'a>>,
}

impl<'a> Least<'a> {
    fn of_deal(deal: &'a Deal<'a>) -> Self {
        let Deal { bidfloor, durfloors, mincpmpersec, bidfloorcur, .. } = deal;
        let lengths = durfloors.as_deref().unwrap_or_default();
        Self { any: *bidfloor, lengths, second: *mincpmpersec, currency: bidfloorcur.as_ref() }
    }

    fn is_said(&self) -> bool {
        self.any.is_some() || !self.lengths.is_empty() || self.second.is_some()
    }

    /// The least for any length.
    fn lowest(&self) -> Option<f64> {
        let floors = self.lengths.iter().filter_map(|of| of.bidfloor);
        floors.fold(self.any, |least, floor| Some(least.unwrap_or_default().min(floor)))
    }

    /// The least for a video of so many seconds; none where it says nothing of that.
    fn after(&self, seconds: Option<u32>) -> Option<f64> {
        let holds = |of: &&Object<DurFloor<'_>>| {
            let seconds = seconds.map(i64::from);
            seconds.is_some_and(|seconds| {
                of.mindur.is_none_or(|least| seconds >= least.0) && of.maxdur.is_none_or(|most| seconds <= most.0)
            })
        };
        let floor = self.lengths.iter().find(holds).and_then(|of| of.bidfloor).or(self.any);
        let all = self.second.zip(seconds).map(|(each, seconds)| each * f64::from(seconds));
        [floor, all].into_iter().flatten().reduce(f64::max)
    }

    fn meet(&self, price: Money, least: impl Fn(&Self) -> Option<f64>) -> Result<(), NoBid> {
        meets(price, least(self), self.currency)
    }
}

/// Whether the exchange takes the currency of a price that is one.
pub(super) fn check_currency(request: &BidRequest<'_>, price: Money) -> Result<(), NoBid> {
    let taken = request.cur.as_deref().filter(|all| !all.is_empty());
    let takes = |code: &str| taken.map_or(code == "USD", |all| all.iter().any(|cur| cur.eq_ignore_ascii_case(code)));
    if takes(price.currency.as_str()) && price.amount.micros() > 0 { Ok(()) } else { Err(NoBid::Currency) }
}

/// Whether a price is no less than a floor. Amounts of another currency cannot be compared, so they never are.
fn meets(price: Money, floor: Option<f64>, currency: Option<&Text<'_>>) -> Result<(), NoBid> {
    let Some(floor) = floor.filter(|floor| *floor > 0.0) else { return Ok(()) };
    if !said(currency).unwrap_or("USD").eq_ignore_ascii_case(price.currency.as_str()) {
        return Err(NoBid::Currency);
    }
    if price.amount >= micros(floor) { Ok(()) } else { Err(NoBid::Floor) }
}

/// A number of a currency's units to the millionth; out of range it is the nearest in range.
pub(super) fn micros(number: f64) -> Amount {
    Amount::from_micros((number * 1e6).round() as i64)
}
