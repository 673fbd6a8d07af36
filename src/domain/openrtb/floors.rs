//! The least that an exchange takes, and in which currencies.

use super::{
    refusal::NoBid,
    request::{BidRequest, DurFloor, Imp, Text},
    surroundings::said,
};
use crate::domain::values::{Amount, Money};

/// The floors of an impression, where a deal has none of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors<'a>(pub(super) &'a Imp<'a>);

impl<'a> Floors<'a> {
    /// Whether a price is enough for some bid on the impression: how long the video of it is, is not known yet.
    pub(super) fn open(self, price: Money) -> Result<(), NoBid> {
        let Imp { bidfloor, bidfloorcur, .. } = self.0;
        let lowest = self
            .of_durations()
            .filter_map(|of| of.bidfloor)
            .fold(*bidfloor, |least, floor| Some(least.unwrap_or_default().min(floor)));
        meets(price, lowest, bidfloorcur.as_ref())
    }

    /// Whether a price is enough for a bid on a deal or none, with a video of so many seconds if it is one: the floor
    /// of its length goes before that of the impression, and it must pay enough for every second.
    pub(super) fn meet(self, price: Money, deal: Option<&str>, seconds: Option<u32>) -> Result<(), NoBid> {
        let Imp { pmp, video, bidfloor, bidfloorcur, .. } = self.0;
        let deals = pmp.as_ref().and_then(|pmp| pmp.deals.as_deref()).unwrap_or_default();
        let own = |id| deals.iter().any(|deal| deal.id.as_deref() == Some(id) && deal.bidfloor.is_some());
        if deal.is_some_and(own) {
            return Ok(());
        }
        let holds = |of: &&DurFloor<'_>| {
            let seconds = seconds.map(i64::from);
            seconds.is_some_and(|seconds| {
                of.mindur.is_none_or(|least| seconds >= least.0) && of.maxdur.is_none_or(|most| seconds <= most.0)
            })
        };
        let floor = self.of_durations().find(holds).map_or(*bidfloor, |of| of.bidfloor.or(*bidfloor));
        let each = video.as_ref().and_then(|video| video.mincpmpersec).zip(seconds);
        let all = each.map(|(each, seconds)| each * f64::from(seconds));
        meets(price, floor, bidfloorcur.as_ref()).and_then(|()| meets(price, all, bidfloorcur.as_ref()))
    }

    fn of_durations(self) -> impl Iterator<Item = &'a DurFloor<'a>> {
        self.0.video.iter().filter_map(|video| video.durfloors.as_deref()).flatten().map(|of| &**of)
    }
}

/// Whether the exchange takes the currency of a price that is one.
pub(super) fn check_currency(request: &BidRequest<'_>, price: Money) -> Result<(), NoBid> {
    let taken = request.cur.as_deref().filter(|all| !all.is_empty());
    let takes = |code: &str| taken.map_or(code == "USD", |all| all.iter().any(|cur| cur.eq_ignore_ascii_case(code)));
    if takes(price.currency.as_str()) && price.amount.micros() > 0 { Ok(()) } else { Err(NoBid::Currency) }
}

/// Whether a price is no less than a floor. Amounts of another currency cannot be compared, so they never are.
pub(super) fn meets(price: Money, floor: Option<f64>, currency: Option<&Text<'_>>) -> Result<(), NoBid> {
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
