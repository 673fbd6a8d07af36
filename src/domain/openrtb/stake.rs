//! Who bids for an impression, and what: the line that a bidder has chosen and priced, or campaigns
//! that bid by themselves.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{
    block::is_under,
    floors::{Floors, check_currency, micros},
    purses::Purses,
    refusal::NoBid,
    request::{BidRequest, Deal, Imp, Int, Object, inner},
    settings::Settings,
};
use crate::domain::{
    catalog::{campaign::Campaign, creative::Creative, snapshot::Snapshot},
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
    /// Whether the browser that sends the request objects to what it may be used for (`Sec-GPC`).
    pub objects: bool,
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

impl Line {
    /// The deals that a bid of this campaign may be for; a deal that is named without a line is no choice.
    fn deals<'a>(&'a self, campaign: Option<&'a Campaign>) -> Own<'a> {
        match &self.deal {
            Some(named) if self.campaign.is_some() || self.creative.is_some() => Own::Named(named),
            _ => Own::Any(campaign.map_or(&[][..], |campaign| &campaign.deals)),
        }
    }
}

/// Every price is below: what an amount can hold, in whole units.
const MOST: f64 = 9e12;

/// A decimal text or a number.
#[derive(Clone, Copy, Debug)]
struct Price(Amount);

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        let amount = if raw.starts_with('"') {
            serde_json::from_str(raw)
        } else {
            serde_json::from_str(raw).and_then(|number: f64| {
                // a price that we would have to change is none
                if number.abs() < MOST { Ok(micros(number)) } else { Err(de::Error::custom("out of range")) }
            })
        };
        amount.map(Self).map_err(de::Error::custom)
    }
}

/// What is bid.
#[derive(Debug)]
pub enum Terms<'a> {
    /// What the bidder says, of the line that it names.
    Named {
        /// Per thousand impressions.
        price: Money,
        /// The deals that it may be for.
        deals: Deals<'a>,
    },
    /// The bidder's price; without one that of whichever of these campaigns is chosen, of its own money where it has a
    /// budget. And the deals that it may be for.
    Among(Option<Money>, Vec<(NameHash, Deals<'a>)>),
}

/// What a bid may be for, the best first: a deal, or none in the open auction. Never empty. Which of them takes its
/// price depends on what is shown.
pub(super) type Deals<'a> = Vec<Option<&'a str>>;

impl<'a> Terms<'a> {
    /// What is bid for what is shown: the price, and the deals that it may be for.
    pub(super) fn of(&self, showing: &Showing) -> Option<(Money, &[Option<&'a str>])> {
        match self {
            Self::Named { price, deals } => Some((*price, deals)),
            Self::Among(price, all) => {
                let campaign = showing.campaign.as_ref()?;
                let (_, deals) = all.iter().find(|(hash, _)| *hash == campaign.hash)?;
                Some((price.or(campaign.cpm)?, deals))
            }
        }
    }

    /// Whether campaigns are chosen among at the bidder's price.
    pub(super) fn priced(&self) -> bool {
        matches!(self, Self::Among(Some(_), _))
    }

    /// Whether a campaign pays for it of its own money.
    pub(super) fn spend(&self, campaign: &Campaign) -> bool {
        matches!(self, Self::Among(None, _)) && campaign.budget.is_some()
    }
}

/// Who bids for an impression.
pub(super) struct Stake<'a, 's> {
    /// The bidder's choice.
    pub(super) candidate: Option<Candidate>,
    /// Where they bid their own price, or not all of them may bid, the campaigns to choose among.
    pub(super) among: Option<Vec<NameHash>>,
    /// For how many impressions each has the money, where that is not enough for all of the request.
    pub(super) funds: Vec<u32>,
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
    let named;
    let (candidate, lines) = match (&line.campaign, &line.creative) {
        (Some(campaign), None) => {
            named = [snapshot.line(campaign).ok_or(NoBid::Line)?];
            (Some(Candidate::Campaign(campaign.clone())), &named[..])
        }
        (None, Some(creative)) => (Some(Candidate::Creative(creative.clone())), snapshot.listing(creative)),
        (None, None) if !snapshot.payers.is_empty() => (None, &*snapshot.payers),
        _ => return Err(NoBid::Line),
    };
    let price = line.price.filter(|_| candidate.is_some());
    let price =
        price.map(|price| Money { amount: price.0, currency: line.currency.unwrap_or(const { Currency::USD }) });
    let (candidate, price) = match (candidate, price) {
        (Some(candidate), Some(price)) if lines.len() < 2 => (candidate, price),
        (candidate, _) => return among(request, imp, snapshot, settings, asker, line, (candidate, price, lines)),
    };
    check_currency(request, price)?;
    let at = lines.first().copied();
    let shown: Vec<_> = candidates(snapshot, Some(&candidate), at).collect();
    if shown.is_empty() {
        return Err(NoBid::Line);
    }
    let campaign = at.map(|at| &*snapshot.lines[at].campaign);
    let terms = Terms::Named { price, deals: deals(imp, line.deals(campaign), price, &shown, settings)? };
    let click_macro = line.click_macro;
    Ok(Stake { candidate: Some(candidate), among: None, funds: Vec::new(), terms, shown, click_macro })
}

/// Those of some lines that may bid here and now: the bidder's price, or that of the campaign, of its money where it
/// has a budget. `candidate` is the bidder's choice, if these are its lines.
fn among<'a, 's>(
    request: &BidRequest<'_>,
    imp: &'a Imp<'a>,
    snapshot: &'s Snapshot,
    settings: &Settings,
    asker: Asker<'_>,
    said: Line,
    (candidate, named, lines): (Option<Candidate>, Option<Money>, &[usize]),
) -> Result<Stake<'a, 's>, NoBid> {
    let (mut payers, mut shown, mut reason) = (Vec::new(), Vec::new(), None);
    let wanted = request.biddable().len();
    for at in lines {
        let campaign = &*snapshot.lines[*at].campaign;
        let Some(price) = named.or(campaign.cpm) else { continue };
        let before = shown.len();
        shown.extend(candidates(snapshot, candidate.as_ref(), Some(*at)));
        let pays = named.is_none() && campaign.budget.is_some();
        let funds = if pays { asker.purses.affords(campaign, price) } else { u32::MAX };
        let deals = match check_currency(request, price) {
            _ if funds == 0 => Err(NoBid::Budget),
            Ok(()) => deals(imp, said.deals(Some(campaign)), price, &shown[before..], settings),
            Err(why) => Err(why),
        };
        match deals {
            Ok(deals) => payers.push((campaign.hash, deals, funds)),
            Err(why) => {
                shown.truncate(before);
                // what keeps those back who have money says more
                reason = reason.filter(|reason| *reason != NoBid::Budget).or(Some(why));
            }
        }
    }
    if payers.is_empty() {
        // a line that is named and has no price bids nothing
        return Err(reason.unwrap_or(if candidate.is_some() { NoBid::Currency } else { NoBid::Budget }));
    }
    if shown.is_empty() {
        return Err(if candidate.is_some() { NoBid::Line } else { NoBid::NoFill });
    }
    if candidate.is_some() {
        // all lines of a creative show the same one
        let mut known = HashSet::new();
        shown.retain(|creative| known.insert(&creative.id));
    }
    payers.sort_unstable();
    let some = named.is_none() || payers.len() < lines.len();
    let among = some.then(|| payers.iter().map(|(hash, ..)| *hash).collect());
    let short = payers.iter().any(|(.., funds)| (*funds as usize) < wanted);
    let funds = if short { payers.iter().map(|(.., funds)| *funds).collect() } else { Vec::new() };
    let terms = Terms::Among(named, payers.into_iter().map(|(hash, deals, _)| (hash, deals)).collect());
    Ok(Stake { candidate, among, funds, terms, shown, click_macro: said.click_macro })
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

/// The creatives that a line may show: where the bidder has chosen it, its default among them.
fn candidates<'s>(
    snapshot: &'s Snapshot,
    candidate: Option<&Candidate>,
    line: Option<usize>,
) -> impl Iterator<Item = &'s Creative> {
    let line = line.map(|at| &snapshot.lines[at]);
    let (all, one) = match candidate {
        Some(Candidate::Creative(id)) => (&[][..], snapshot.creatives.get(id)),
        _ => (line.map_or(&[][..], |line| &line.creatives), None),
    };
    let default = line.filter(|_| candidate.is_some()).and_then(|line| line.default.as_ref());
    all.iter().chain(one).chain(default).map(|creative| &**creative)
}

/// The deals of whoever bids.
#[derive(Clone, Copy)]
enum Own<'a> {
    /// The one that the bidder names, or it is no bid.
    Named(&'a str),
    /// Any of the campaign's.
    Any(&'a [Box<str>]),
}

/// The deals that a bid may be for, where the price may be enough: what a deal says of the floor goes before what the
/// impression says. A deal is only for the seats and the advertisers that it lists.
fn deals<'a>(
    imp: &'a Imp<'a>,
    own: Own<'_>,
    price: Money,
    shown: &[&Creative],
    settings: &Settings,
) -> Result<Deals<'a>, NoBid> {
    let ours = |deal: &&Object<Deal<'_>>| {
        let id = deal.id.as_deref().unwrap_or_default();
        let seats = deal.wseat.as_deref().unwrap_or_default();
        let domains = deal.wadomain.as_deref().unwrap_or_default();
        let listed = |creative: &&Creative| domains.iter().any(|domain| is_under(&creative.domain, domain));
        let named = match own {
            Own::Named(named) => named == id,
            Own::Any(own) => own.iter().any(|own| **own == *id),
        };
        named
            && (seats.is_empty() || seats.iter().any(|seat| **seat == *settings.seat))
            && (domains.is_empty() || shown.iter().all(listed))
    };
    let none = matches!(own, Own::Any([]));
    let offered = imp.pmp.as_ref().and_then(|pmp| pmp.deals.as_deref()).filter(|_| !none).unwrap_or_default();
    let offered = offered.iter().filter(ours).map(|deal| Some(&**deal));
    let is_private = imp.pmp.as_ref().is_some_and(|pmp| pmp.private_auction == Some(Int(1)));
    let is_open = !is_private && !matches!(own, Own::Named(_));
    let (mut open, mut reason) = (Vec::new(), None);
    for deal in offered.chain(is_open.then_some(None)) {
        match Floors(imp).open(price, deal) {
            Ok(()) => open.push(deal.and_then(|deal| deal.id.as_deref())),
            // the first deal's, or the open auction's own, which comes last
            Err(why) => reason = Some(reason.filter(|_| !is_open).unwrap_or(why)),
        }
    }
    if open.is_empty() { Err(reason.unwrap_or(NoBid::Deal)) } else { Ok(open) }
}
