//! What there is to decide for a BidRequest.

use std::sync::Arc;

use jiff::tz::{Offset, TimeZone};

use super::{
    block::Blocks,
    floors::Floors,
    native,
    purses::Counted,
    refusal::NoBid,
    request::{Banner, BidRequest, Imp, Int, Text},
    settings::{Granularity, Settings},
    stake::{Asker, Terms, stake},
    surroundings::{self, Places},
    video::{self, WantedVideo},
};
use crate::domain::{
    audience::hints::Hints,
    catalog::{
        audit::{AuditDoc, revision_crid},
        creative::Creative,
        listed::Listing,
        snapshot::Snapshot,
    },
    consent::{Allowed, Rules},
    decision::request::{AdRequest, PlacementRequest, Preview, Stage},
    ids::{CreativeId, ExchangeId, UserKey},
    measurement::traffic::is_program,
    values::{Format, Size},
};

/// What there is to decide, and what the bids will need of the request.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The slots to fill, in the order of `bids`.
    pub request: Box<AdRequest>,
    /// What each bid needs of its impression.
    pub bids: Vec<Offer<'a>>,
    /// The account's own names of the person, the best first, where the purposes allow looking for them.
    pub keys: Vec<UserKey>,
    /// What a `crid` stands for.
    pub crid: Granularity,
    /// What the request may be used for.
    pub allowed: Allowed,
    /// The person's time zone.
    pub zone: Option<TimeZone>,
    /// For how long the answer is waited for, the network included, in ms.
    pub tmax: Option<u64>,
}

/// What a bid needs of its impression.
#[derive(Debug)]
pub struct Offer<'a> {
    /// The impression.
    pub imp: &'a str,
    /// What is bid.
    pub terms: Terms<'a>,
    /// The least that is taken for it.
    pub(super) floors: Floors<'a>,
    /// For how long the bid holds, in seconds: as long as ours do, or as the exchange waits if that is less.
    pub expires_s: u32,
    /// Whether all must be on https.
    pub secure: bool,
    /// Banner types that may not be shown.
    pub blocked_types: &'a [Int],
    /// What the exchange says of the creatives, where it takes only what it has approved.
    pub audits: Option<Vec<(CreativeId, Arc<AuditDoc>)>>,
    /// What its player takes, where it is one.
    pub video: Option<WantedVideo>,
}

/// Finds out what to decide. `hints` stand in for what the request does not say of the device.
///
/// # Errors
/// There is nothing to bid on.
pub fn plan<'a>(
    request: &'a BidRequest<'a>,
    snapshot: &Snapshot,
    settings: &Settings,
    rules: Rules,
    asker: Asker<'_>,
    hints: Hints,
) -> Result<Plan<'a>, NoBid> {
    if request.site.is_none() && request.app.is_none() && request.dooh.is_none() {
        return Err(NoBid::Nothing);
    }
    let tmax = request.tmax.map(|tmax| tmax.0.unsigned_abs()).filter(|tmax| *tmax > 0);
    if tmax.is_some_and(|tmax| tmax <= settings.network_ms) {
        return Err(NoBid::Time);
    }
    let names = |seats: &Option<Vec<Text<'_>>>| {
        seats.as_deref().filter(|seats| !seats.is_empty()).map(|all| all.iter().any(|seat| **seat == *settings.seat))
    };
    let agent = || request.device.as_ref()?.ua.as_deref();
    if hints.client.as_ref().map_or_else(|| agent().is_some_and(is_program), |client| client.program) {
        return Err(NoBid::Crawler);
    }
    if names(&request.wseat) == Some(false) || names(&request.bseat) == Some(true) {
        return Err(NoBid::Deal);
    }
    let places = Places::of(request);
    let (allowed, relayed) = surroundings::consent(request, places, rules, hints.country, asker.objects);
    if !allowed.selection && !settings.contextual_without_consent {
        return Err(NoBid::Consent);
    }
    let blocks = Blocks::of(request, settings);
    let counted = Counted::of(asker.purses);
    let asker = if request.biddable().len() > 1 { Asker { purses: &counted, ..asker } } else { asker };
    let (mut placements, mut bids, mut reason) = (Vec::new(), Vec::new(), None);
    for imp in request.biddable() {
        match offer(request, imp, snapshot, settings, &blocks, asker) {
            Ok((placement, offer)) => {
                placements.push(placement);
                bids.push(offer);
            }
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    if bids.is_empty() {
        return Err(reason.unwrap_or(NoBid::Nothing));
    }
    let purposes = allowed.purposes;
    let mut context = surroundings::context(request, places);
    let found = context.fill(hints);
    let offset = surroundings::offset(places).and_then(|minutes| Offset::from_seconds(minutes * 60).ok());
    context.blur(purposes.profile_read, allowed.precise_geo);
    let person = purposes.basic || purposes.profile_read;
    let is_test = request.test == Some(Int(1));
    Ok(Plan {
        id: request.id.as_deref().unwrap_or_default(),
        request: Box::new(AdRequest {
            placements,
            segments: if purposes.profile_read { surroundings::segments(request, settings) } else { Vec::new() },
            context,
            // decided, but neither counted nor learned from
            preview: is_test.then(Preview::default),
            relayed,
            ..AdRequest::default()
        }),
        bids,
        crid: settings.granularity(asker.exchange),
        keys: if person { surroundings::people(request, settings, asker.exchange) } else { Vec::new() },
        allowed,
        zone: offset.map(TimeZone::fixed).or(found),
        tmax,
    })
}

fn offer<'a, 's>(
    request: &'a BidRequest<'a>,
    imp: &'a Imp<'a>,
    snapshot: &'s Snapshot,
    settings: &Settings,
    blocks: &Blocks<'s>,
    asker: Asker<'_>,
) -> Result<(PlacementRequest, Offer<'a>), NoBid> {
    let html = imp.banner.as_ref().filter(|banner| takes_html(banner));
    let sizes = html.map(|banner| sizes(request, imp, banner)).unwrap_or_default();
    let native = imp.native.as_ref().and_then(|native| native::parse(native.request).ok());
    let video = imp.video.as_ref().and_then(|player| video::wanted(imp, player));
    let mut formats = Vec::new();
    formats.extend((!sizes.is_empty()).then_some(Format::Html));
    formats.extend(native.is_some().then_some(Format::Native));
    formats.extend(video.is_some().then_some(Format::Vast));
    if formats.is_empty() {
        return Err(NoBid::Nothing);
    }
    let stake = stake(request, imp, snapshot, settings, asker)?;
    let crid = settings.granularity(asker.exchange);
    let attributes = [
        (Format::Html, imp.banner.as_ref().and_then(|banner| banner.battr.as_deref())),
        (Format::Native, imp.native.as_ref().and_then(|native| native.battr.as_deref())),
        (Format::Vast, imp.video.as_ref().and_then(|player| player.battr.as_deref())),
    ];
    let numbers = |all: &[Int]| all.iter().filter_map(|of| u16::try_from(of.0).ok()).collect::<Vec<_>>();
    let attributes = attributes.into_iter().filter_map(|(format, all)| Some((format, numbers(all?))));
    let asked = PlacementRequest {
        blocked_attributes: attributes.filter(|(_, all)| !all.is_empty()).collect(),
        ..PlacementRequest::default()
    };
    let fits = |creative: &Creative, formats: &[Format]| creative.variant(formats, &sizes);
    let (mut blocked, mut free): (Vec<_>, Vec<_>) = stake.shown.into_iter().partition(|creative| {
        let open = asked.open_formats(creative, &formats);
        blocks.block(creative) || open.len() < formats.len() && fits(creative, &open).is_none()
    });
    if free.is_empty() {
        return Err(NoBid::Blocked);
    }
    let auditor = asker.exchange.filter(|exchange| settings.audited.contains(exchange));
    let audits = auditor.map(|exchange| audits(snapshot, exchange, &free));
    let listing = (crid == Granularity::Combination)
        .then(|| auditor.map_or(Listing::Chosen, |exchange| Listing::Approved(exchange.clone())));
    if audits.is_some() || listing.is_some() {
        let (approved, other): (Vec<_>, Vec<_>) = free.into_iter().partition(|creative| {
            let Some((at, size)) = fits(creative, &asked.open_formats(creative, &formats)) else { return false };
            match &listing {
                Some(listing) => snapshot.listed.of(&creative.id, listing, at).is_some(),
                None => {
                    let crid = revision_crid(creative, creative.variants[at].shape.0, size);
                    let mut of = audits.iter().flatten().filter(|(id, _)| *id == creative.id);
                    of.any(|(_, doc)| doc.serves(&crid))
                }
            }
        });
        (free, blocked) = (approved, [blocked, other].concat());
    }
    if free.is_empty() {
        return Err(NoBid::Audit);
    }
    let imp_id = imp.id.as_deref().unwrap_or_default();
    let blocked_types = imp.banner.as_ref().and_then(|banner| banner.btype.as_deref()).unwrap_or_default();
    let languages = surroundings::languages(request);
    // a frame stands for what comes later: a crid that names the content cannot wait for it, and what is rendered
    // later does not know the languages that are taken
    let late =
        asker.late && crid == Granularity::Creative && !blocked_types.contains(&Int(IFRAME)) && languages.is_none();
    let secure = imp.secure == Some(Int(1));
    let placement = PlacementRequest {
        id: imp_id.to_owned(),
        sizes,
        formats,
        click_macro: stake.click_macro,
        candidate: stake.candidate,
        among: stake.among,
        funds: stake.funds,
        priced: stake.terms.priced(),
        listing,
        blocked_creatives: blocked.into_iter().map(|creative| creative.id.clone()).collect(),
        native,
        video: video.as_ref().map(|video| video.request.clone()),
        languages,
        secure,
        stage: if late { Stage::Offer } else { Stage::Whole },
        ..asked
    };
    let expires_s = imp.exp.and_then(|exp| u32::try_from(exp.0).ok()).filter(|exp| *exp > 0);
    let expires_s = expires_s.map_or(settings.expires_s, |exp| exp.min(settings.expires_s));
    let (terms, floors) = (stake.terms, Floors(imp));
    Ok((placement, Offer { imp: imp_id, expires_s, terms, floors, secure, blocked_types, audits, video }))
}

/// What an exchange says of creatives, of which it may say nothing.
fn audits(snapshot: &Snapshot, exchange: &ExchangeId, of: &[&Creative]) -> Vec<(CreativeId, Arc<AuditDoc>)> {
    let said =
        |creative: &&Creative| Some((creative.id.clone(), snapshot.audits.get(&creative.id)?.get(exchange)?.clone()));
    of.iter().filter_map(said).collect()
}

/// Whether a banner takes documents, which it does where it does not say what it takes.
fn takes_html(banner: &Banner<'_>) -> bool {
    let mimes = banner.mimes.as_deref().unwrap_or_default();
    mimes.is_empty() || mimes.iter().any(|mime| mime.trim().eq_ignore_ascii_case("text/html"))
}

/// The banner type that is a frame (AdCOM's list of creative subtypes).
pub(super) const IFRAME: i64 = 4;

/// The sizes that a banner takes; of an interstitial without any, the whole screen.
fn sizes(request: &BidRequest<'_>, imp: &Imp<'_>, banner: &Banner<'_>) -> Vec<Size> {
    let size = |w: Option<Int>, h: Option<Int>| {
        let side = |of: Option<Int>| u16::try_from(of?.0).ok().filter(|side| (1..10_000).contains(side));
        Some(Size { width: side(w)?, height: side(h)? })
    };
    let formats = banner.format.as_deref().unwrap_or_default();
    let all = formats.iter().map(|format| size(format.w, format.h)).chain([size(banner.w, banner.h)]);
    let mut sizes: Vec<Size> = Vec::new();
    for size in all.flatten() {
        if !sizes.contains(&size) && sizes.len() < 32 {
            sizes.push(size);
        }
    }
    if sizes.is_empty() && imp.instl == Some(Int(1)) {
        let screen = request.device.as_ref().and_then(|device| size(device.w, device.h));
        sizes.push(screen.unwrap_or(Size { width: 320, height: 480 }));
    }
    sizes
}
