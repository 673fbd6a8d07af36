//! Who bids for an impression, and what: the line that a bidder has chosen and priced, or campaigns
//! that bid by themselves.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    purses::Purses,
    refusal::NoBid,
    request::{BidRequest, Deal, Imp, Int, Object, Text, inner},
    settings::Settings,
    surroundings::said,
};
use crate::domain::{
    catalog::{creative::Creative, snapshot::Snapshot},
    creative::ClickMacro,
    decision::{decided::Showing, request::Candidate},
    ids::{CampaignId, CreativeId, ExchangeId, NameHash},
    values::{Amount, Currency, Money},
};

/// Who asks, and how.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The exchange, if it says so.
    pub exchange: Option<&'a ExchangeId>,
    /// Whether components may be chosen when what was bid is rendered.
    pub late: bool,
    /// The money of campaigns that bid by themselves.
    pub purses: &'a dyn Purses,
}

/// What a bidder has chosen and priced: `imp.ext.tessera`, or where adapters of Prebid Server put
/// what is meant for a bidder.
#[derive(Debug, Default, Deserialize)]
struct Line {
    campaign: Option<CampaignId>,
    creative: Option<CreativeId>,
    price: Option<Price>,
    currency: Option<Currency>,
    deal: Option<String>,
    click_macro: Option<ClickMacro>,
}

/// A decimal text or a number.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Price {
    Exact(Amount),
    Number(f64),
}

impl Price {
    fn amount(self) -> Amount {
        match self {
            Self::Exact(amount) => amount,
            Self::Number(number) => micros(number),
        }
    }
}

/// A number of a currency's units to the millionth; out of range it is the nearest in range.
fn micros(number: f64) -> Amount {
    Amount::from_micros((number * 1e6).round() as i64)
}

/// What is bid.
#[derive(Debug)]
pub enum Terms<'a> {
    /// What the bidder says, of the line that it names.
    Named {
        /// Per thousand impressions.
        price: Money,
        /// The deal that it is for.
        deal: Option<&'a str>,
    },
    /// The price of whichever of these campaigns is chosen, and the deal that it is for.
    Open(Vec<(NameHash, Option<&'a str>)>),
}

impl<'a> Terms<'a> {
    /// What is bid for what is shown: the price and the deal.
    pub(super) fn of(&self, showing: &Showing) -> Option<(Money, Option<&'a str>)> {
        match self {
            Self::Named { price, deal } => Some((*price, *deal)),
            Self::Open(all) => {
                let campaign = showing.campaign.as_ref()?;
                let (_, deal) = all.iter().find(|(hash, _)| *hash == campaign.hash)?;
                Some((campaign.cpm?, *deal))
            }
        }
    }
}

/// Who bids for an impression.
pub(super) struct Stake<'a, 's> {
    /// The bidder's choice.
    pub(super) candidate: Option<Candidate>,
    /// Without one, the campaigns to choose among.
    pub(super) among: Option<Vec<NameHash>>,
    pub(super) terms: Terms<'a>,
    /// What may be shown.
    pub(super) shown: Vec<&'s Creative>,
    pub(super) click_macro: Option<ClickMacro>,
}

/// Finds out who bids.
///
/// # Errors
/// Nobody does.
pub(super) fn stake<'a, 's>(
    request: &BidRequest<'_>,
    imp: &'a Imp<'a>,
    snapshot: &'s Snapshot,
    settings: &Settings,
    asker: Asker<'_>,
) -> Result<Stake<'a, 's>, NoBid> {
    let line = line(imp)?.unwrap_or_default();
    let candidate = match (&line.campaign, &line.creative) {
        (Some(campaign), None) => Candidate::Campaign(campaign.clone()),
        (None, Some(creative)) => Candidate::Creative(creative.clone()),
        (None, None) if !snapshot.payers.is_empty() => {
            return open(request, imp, snapshot, settings, asker, line.click_macro);
        }
        _ => return Err(NoBid::Line),
    };
    let at = match &candidate {
        Candidate::Campaign(id) => Some(snapshot.line(id).ok_or(NoBid::Line)?),
        Candidate::Creative(id) => snapshot.lines.iter().position(|line| line.campaign.creatives.contains(id)),
    };
    let campaign = at.map(|at| &*snapshot.lines[at].campaign);
    let own = campaign.and_then(|campaign| campaign.cpm);
    let price = match (line.price, own) {
        (Some(price), _) => {
            Money { amount: price.amount(), currency: line.currency.unwrap_or(const { Currency::USD }) }
        }
        (None, Some(own)) => own,
        (None, None) => return Err(NoBid::Currency),
    };
    check_price(request, imp, price)?;
    let deals = campaign.map_or(&[][..], |campaign| &campaign.deals);
    let deal = deal(imp, line.deal.as_deref(), deals, price, settings)?;
    let shown: Vec<_> = candidates(snapshot, &candidate, at).collect();
    if shown.is_empty() {
        return Err(NoBid::Line);
    }
    let terms = Terms::Named { price, deal };
    Ok(Stake { candidate: Some(candidate), among: None, terms, shown, click_macro: line.click_macro })
}

/// The campaigns that may bid by themselves here and now.
fn open<'a, 's>(
    request: &BidRequest<'_>,
    imp: &'a Imp<'a>,
    snapshot: &'s Snapshot,
    settings: &Settings,
    asker: Asker<'_>,
    click_macro: Option<ClickMacro>,
) -> Result<Stake<'a, 's>, NoBid> {
    let (mut payers, mut shown, mut reason) = (Vec::new(), Vec::new(), None);
    for line in snapshot.payers.iter().map(|at| &snapshot.lines[*at]) {
        let campaign = &*line.campaign;
        let Some(price) = campaign.cpm else { continue };
        let deal = match check_price(request, imp, price) {
            _ if !asker.purses.can_pay(campaign, price) => Err(NoBid::Budget),
            Ok(()) => deal(imp, None, &campaign.deals, price, settings),
            Err(why) => Err(why),
        };
        match deal {
            Ok(deal) => {
                payers.push((campaign.hash, deal));
                shown.extend(line.creatives.iter().map(|creative| &**creative));
            }
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    if payers.is_empty() {
        return Err(reason.unwrap_or(NoBid::Budget));
    }
    if shown.is_empty() {
        return Err(NoBid::NoFill);
    }
    payers.sort_unstable();
    let among = payers.iter().map(|(hash, _)| *hash).collect();
    Ok(Stake { candidate: None, among: Some(among), terms: Terms::Open(payers), shown, click_macro })
}

/// What the bidder says of the impression.
///
/// # Errors
/// It says something that cannot be read: nobody knows what it is to pay for, so that nobody does.
fn line(imp: &Imp<'_>) -> Result<Option<Line>, NoBid> {
    fn said<'a>(ext: Option<&'a RawValue>, name: &str) -> Option<&'a RawValue> {
        inner(ext, name).filter(|said| said.get() != "null")
    }
    // what adapters of Prebid Server put there is meant for any bidder, and for us where it names a line
    let named = |bidder: &&RawValue| ["campaign", "creative"].iter().any(|name| said(Some(bidder), name).is_some());
    let own = said(imp.ext, "tessera").or_else(|| said(imp.ext, "bidder").filter(named));
    let own = own.or_else(|| said(said(said(imp.ext, "prebid"), "bidder"), "tessera"));
    own.map(|own| serde_json::from_str(own.get()).map_err(|_| NoBid::Line)).transpose()
}

/// The creatives that a line may show, its default among them.
fn candidates<'s>(
    snapshot: &'s Snapshot,
    candidate: &Candidate,
    line: Option<usize>,
) -> impl Iterator<Item = &'s Creative> {
    let line = line.map(|at| &snapshot.lines[at]);
    let (all, one) = match candidate {
        Candidate::Campaign(_) => (line.map_or(&[][..], |line| &line.creatives), None),
        Candidate::Creative(id) => (&[][..], snapshot.creatives.get(id)),
    };
    let default = line.and_then(|line| line.default.as_ref());
    all.iter().chain(one).chain(default).map(|creative| &**creative)
}

/// Whether the exchange takes the currency, and the price meets the floor. Amounts of another
/// currency cannot be compared, so they never do.
fn check_price(request: &BidRequest<'_>, imp: &Imp<'_>, price: Money) -> Result<(), NoBid> {
    let taken = request.cur.as_deref().filter(|all| !all.is_empty());
    let takes = |code: &str| taken.map_or(code == "USD", |all| all.iter().any(|cur| cur.eq_ignore_ascii_case(code)));
    if !takes(price.currency.as_str()) || price.amount.micros() <= 0 {
        return Err(NoBid::Currency);
    }
    meets(price, imp.bidfloor, imp.bidfloorcur.as_ref())
}

fn meets(price: Money, floor: Option<f64>, currency: Option<&Text<'_>>) -> Result<(), NoBid> {
    let Some(floor) = floor.filter(|floor| *floor > 0.0) else { return Ok(()) };
    if !said(currency).unwrap_or("USD").eq_ignore_ascii_case(price.currency.as_str()) {
        return Err(NoBid::Currency);
    }
    if price.amount >= micros(floor) { Ok(()) } else { Err(NoBid::Floor) }
}

/// The deal that a bid is for: one of the impression's that the line or its campaign names.
fn deal<'a>(
    imp: &'a Imp<'a>,
    named: Option<&str>,
    own: &[Box<str>],
    price: Money,
    settings: &Settings,
) -> Result<Option<&'a str>, NoBid> {
    let Some(pmp) = &imp.pmp else { return Ok(None) };
    let ours = |deal: &&Object<Deal<'_>>| {
        let id = deal.id.as_deref().unwrap_or_default();
        let seats = deal.wseat.as_deref().unwrap_or_default();
        (named == Some(id) || own.iter().any(|own| **own == *id))
            && (seats.is_empty() || seats.iter().any(|seat| **seat == *settings.seat))
            && meets(price, deal.bidfloor, deal.bidfloorcur.as_ref()).is_ok()
    };
    let found = pmp.deals.as_deref().unwrap_or_default().iter().find(ours);
    match found {
        Some(deal) => Ok(deal.id.as_deref()),
        None if pmp.private_auction == Some(Int(1)) => Err(NoBid::Deal),
        None => Ok(None),
    }
}
