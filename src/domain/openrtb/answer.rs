//! BidResponses: OpenRTB 2.6 section 4.2.

use std::{borrow::Cow, cmp::Reverse};

use super::{
    plan::{IFRAME, Offer, Plan},
    purses::Purses,
    refusal::NoBid,
    settings::{Granularity, Settings},
    video::SKIPPABLE,
};
use crate::domain::{
    catalog::audit::revision_crid,
    creative::is_insecure,
    decision::{
        assemble::{Assembled, Issuer, claim, contents, crid},
        decided::{Decision, Item, Missed, Showing},
        explanation::Reason,
    },
    ids::{DecisionId, Uid},
    measurement::beacon::Claim,
    values::{Currency, Format, Json, Money},
};

/// The bids of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bids {
    /// As they are sent.
    pub json: Vec<u8>,
    /// Which of the items that were decided they are.
    pub made: Vec<DecisionId>,
}

/// Writes the bids of a decision. `counted` is whose frequency caps the impressions will count towards: their
/// notices end what is reserved of these.
///
/// All bids of an answer are in one currency: that of the first. Bids in another are left out.
///
/// # Errors
/// Nothing that was decided is a bid.
pub fn answer(
    plan: &Plan<'_>,
    decision: &Decision,
    assembled: &[Vec<Option<Assembled>>],
    issuer: Issuer<'_>,
    settings: &Settings,
    purses: &dyn Purses,
    counted: Option<Uid>,
) -> Result<Bids, NoBid> {
    let (mut all_made, mut reason, mut currency) = (Vec::new(), None, None);
    let markup: usize = assembled.iter().flatten().flatten().map(|made| made.markup.len() * 2).sum();
    let mut json = Json::with_capacity(1_024 + 1_536 * plan.bids.len() + markup);
    json.raw("{\"id\":").text(plan.id).raw(",\"bidid\":\"").plain(decision.id).raw("\",\"seatbid\":[{\"seat\":");
    json.text(&settings.seat).raw(",\"bid\":[");
    for ((offer, items), made) in plan.bids.iter().zip(&decision.placements).zip(assembled) {
        let bid = items.first().zip(made.first()).ok_or(NoBid::NoFill).and_then(|(item, made)| {
            let showing = item.shown.as_ref().ok_or(match item.missed {
                Some(Missed::Capped) => NoBid::Capped,
                Some(Missed::Unmatched) => NoBid::Unmatched,
                // what else there is was not approved
                None if offer.audits.is_some() => NoBid::Audit,
                None => NoBid::NoFill,
            })?;
            let made = made.as_ref().ok_or(NoBid::NoFill)?;
            check(offer, showing, made)?;
            let crid = match plan.crid {
                Granularity::Combination => crid(showing),
                Granularity::Creative => revision_crid(&showing.creative, showing.format(), showing.size),
            };
            let own = |(id, _): &&(_, _)| *id == showing.creative.id;
            if offer.audits.as_ref().is_some_and(|all| !all.iter().filter(own).any(|(_, doc)| doc.serves(&crid))) {
                return Err(NoBid::Audit);
            }
            let (price, deals) = offer.terms.of(showing).ok_or(NoBid::NoFill)?;
            let seconds = showing.creative.video(showing.variant, &showing.choice).map(|(video, _)| video.seconds());
            let deal = offer.floors.first(price, deals, seconds)?;
            if currency.is_some_and(|currency| currency != price.currency) {
                return Err(NoBid::Currency);
            }
            let tried = showing.reason == Reason::Preview;
            let payer = showing.campaign.as_ref().filter(|campaign| offer.terms.spend(campaign));
            if payer.is_some_and(|campaign| !tried && !purses.pay(campaign, item.id, price)) {
                return Err(NoBid::Budget);
            }
            Ok(Bid { offer, item, showing, made, crid, price, deal, issuer, counted })
        });
        match bid {
            Ok(bid) => {
                currency = Some(bid.price.currency);
                if !all_made.is_empty() {
                    json.raw(",");
                }
                all_made.push(bid.item.id);
                bid.write(&mut json);
            }
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    if all_made.is_empty() {
        return Err(reason.unwrap_or(NoBid::NoFill));
    }
    let currency = currency.unwrap_or(Currency::USD);
    json.raw("]}],\"cur\":\"").raw(currency.as_str()).raw("\",\"ext\":{\"tessera\":{\"purposes_used\":[");
    json.each(plan.allowed.purposes.names(), |json, name| {
        json.raw("\"").raw(name).raw("\"");
    });
    json.raw("]}}}");
    Ok(Bids { json: json.into_bytes(), made: all_made })
}

/// Whether markup is what the impression takes.
fn check(offer: &Offer<'_>, showing: &Showing, made: &Assembled) -> Result<(), NoBid> {
    const BANNER: i64 = 2;
    const SCRIPT: i64 = 3;
    let insecure = offer.secure && is_insecure(&made.markup);
    let html = showing.format() == Format::Html;
    let blocked =
        |kind: i64, tag: &str| html && offer.blocked_types.iter().any(|of| of.0 == kind) && made.markup.contains(tag);
    // a template's islands of data are no scripts
    let count = |tag: &str| made.markup.matches(tag).count();
    let runs = || count("<script") > count("<script type=\"application/json\"");
    let blocked = blocked(BANNER, "") || blocked(SCRIPT, "<script") && runs() || blocked(IFRAME, "<iframe");
    if made.markup.is_empty() || insecure || blocked { Err(NoBid::Markup) } else { Ok(()) }
}

struct Bid<'a> {
    offer: &'a Offer<'a>,
    item: &'a Item,
    showing: &'a Showing,
    made: &'a Assembled,
    crid: String,
    price: Money,
    deal: Option<&'a str>,
    issuer: Issuer<'a>,
    counted: Option<Uid>,
}

impl Bid<'_> {
    fn write(&self, json: &mut Json) {
        let (creative, made) = (&*self.showing.creative, self.made);
        let video = self.video();
        json.raw("{\"id\":\"").plain(self.item.id).raw("\",\"impid\":").text(self.offer.imp);
        json.raw(",\"price\":").plain(self.price.amount).raw(",\"adm\":").text(&made.markup);
        json.raw(",\"adid\":").text(creative.id.as_str());
        json.raw(",\"adomain\":[").text(&creative.domain).raw("]");
        json.raw(",\"cid\":").text(self.collection());
        json.raw(",\"crid\":").text(&self.crid);
        if let Some(image) = self.image() {
            json.raw(",\"iurl\":").text(image);
        }
        let (cattax, categories) = &creative.categories;
        if !categories.is_empty() {
            json.raw(",\"cat\":[").each(categories, |json, of| {
                json.text(of);
            });
            json.raw("],\"cattax\":").value(cattax);
        }
        let attributes = self.attributes();
        if !attributes.is_empty() {
            json.raw(",\"attr\":").value(&attributes);
        }
        let played = video.as_ref().map(|(_, width, height)| (*width, *height));
        let shown = self.showing.size.map(|size| (u32::from(size.width), u32::from(size.height)));
        if let Some((width, height)) = shown.or(played) {
            json.raw(",\"w\":").value(&width).raw(",\"h\":").value(&height);
        }
        json.raw(match self.showing.format() {
            Format::Html => ",\"mtype\":1",
            Format::Native => ",\"mtype\":4",
            Format::Vast => ",\"mtype\":2",
        });
        if let (Some((seconds, ..)), Some(wanted)) = (video, &self.offer.video) {
            json.raw(",\"dur\":").value(&seconds).raw(",\"protocol\":").value(&wanted.request.version.protocol());
        }
        if let Some(deal) = self.deal {
            json.raw(",\"dealid\":").text(deal);
        }
        self.notices(json);
        json.raw(",\"exp\":").value(&self.offer.expires_s);
        json.raw(",\"ext\":{\"tessera\":{");
        if self.showing.deferred.is_none() {
            json.raw("\"combination_id\":\"").plain(format_args!("{:016x}", made.combination)).raw("\",");
        }
        json.raw("\"fallback_level\":").value(&self.item.fallback).raw("}}}");
    }

    /// Of a video its length in seconds, and the player's size; that of the largest file where the player
    /// does not say.
    fn video(&self) -> Option<(u32, u32, u32)> {
        let (video, _) = self.showing.creative.video(self.showing.variant, &self.showing.choice)?;
        let wanted = self.offer.video.as_ref()?;
        let (width, height) = match wanted.size {
            Some(size) => size,
            None => video.largest(&wanted.request).map(|file| (file.width, file.height))?,
        };
        Some((video.seconds(), width, height))
    }

    /// The creative's attributes, and that it can be skipped where the player was told how.
    fn attributes(&self) -> Cow<'_, [u16]> {
        let own = &self.showing.creative.attributes;
        let skips = self.showing.format() == Format::Vast && self.made.markup.contains(" skipoffset=\"");
        if skips && !own.contains(&SKIPPABLE) {
            Cow::Owned([own, &[SKIPPABLE][..]].concat())
        } else {
            Cow::Borrowed(own)
        }
    }

    /// Where the exchange tells that the bid won, is to be paid or lost: the macros are its own.
    fn notices(&self, json: &mut Json) {
        // auctions are counted per bid, never per person: who it is says whose reservation they end
        let capped = self.showing.campaign.as_ref().is_some_and(|campaign| !campaign.caps.is_empty());
        let counted = self.counted.filter(|_| capped && self.showing.deferred.is_none());
        let claim = claim(self.item, self.showing, self.made.combination, counted, self.issuer.account);
        let budgeted = self.showing.campaign.as_ref().is_some_and(|campaign| self.offer.terms.spend(campaign));
        let claim = Claim { price: Some(self.price), budgeted, ..claim };
        let tokens = self.issuer.keys.sign_notices(&claim);
        let price = "?p=${AUCTION_PRICE}&c=${AUCTION_CURRENCY}";
        for (name, path, token, reason) in [
            ("nurl", "/v1/w/", &tokens[0], ""),
            ("burl", "/v1/b/", &tokens[1], ""),
            ("lurl", "/v1/l/", &tokens[2], "&r=${AUCTION_LOSS}"),
        ] {
            // an address of ours needs no escape in JSON
            json.raw(",\"").raw(name).raw("\":\"").raw(self.issuer.public_url).raw(path).raw(token);
            json.raw(price).raw(reason).raw("\"");
        }
    }

    /// An image that represents the ad, for whoever reviews it (OpenRTB 2.6 section 4.2.3, `iurl`): the largest that
    /// stands in it, or in the companions of a video, by its own width and height; a logo or an icon only where
    /// there is nothing else. None that is not on https, where all must be.
    fn image(&self) -> Option<&str> {
        let all =
            contents(self.showing).flat_map(|(slot, _, content)| content.images().iter().map(move |of| (slot, of)));
        let all = all.filter(|(_, image)| !self.offer.secure || image.src.starts_with("https:"));
        let best = all.min_by_key(|(slot, image)| {
            let mark = ["logo", "icon"].iter().any(|mark| slot.as_str().contains(mark));
            (mark, Reverse(image.area))
        });
        best.map(|(_, image)| &*image.src)
    }

    /// What the creative is one of (`cid`): its campaign; where the bidder has named a creative that no campaign
    /// lists, its advertiser, because exchanges group by it whose ads they review together.
    fn collection(&self) -> &str {
        let campaign = self.showing.campaign.as_ref().map(|campaign| campaign.id.as_str());
        campaign.unwrap_or_else(|| self.showing.creative.advertiser.as_str())
    }
}
