//! From what was chosen to markup: signs the beacons and renders the template.

use std::borrow::Cow;

use crate::domain::{
    catalog::{
        content::Content,
        creative::{Creative, Place, Variant},
    },
    consent::{Purposes, Relayed},
    creative::{
        Dynamic, Prepared, SlotValue, Spot, VideoEvent, VideoRequest, assemble_html, assemble_native,
        assemble_native_for, assemble_vast,
    },
    decision::{
        decided::{Item, Showing},
        explanation::Reason,
        goods::content_crid,
        late,
        request::{AdRequest, PlacementRequest},
    },
    ids::{ComponentId, SlotName, Uid},
    measurement::beacon::{Claim, TokenKeys},
    values::Format,
};

/// Whose decision it is, and how its beacons are signed and addressed.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    /// Number of the account.
    pub account: u32,
    /// Signs.
    pub keys: &'a TokenKeys,
    /// Where this service is reached, without a final slash.
    pub public_url: &'a str,
}

/// An item as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The markup: a document for an iframe, native JSON, or VAST; empty where what was chosen does not
    /// fit the assets asked for.
    pub markup: String,
    /// Fired when it is rendered.
    pub impression_url: String,
    /// Fired when it is in view.
    pub view_url: String,
    /// Followed on a click.
    pub click_url: String,
    /// Names the decision in conversions.
    pub conversion_token: String,
    /// Names the combination: the same for the same revision and choice.
    pub combination: u64,
}

/// Signs and renders an item.
#[must_use]
pub fn assemble(
    item: &Item,
    showing: &Showing,
    request: &AdRequest,
    placement: &PlacementRequest,
    purposes: Purposes,
    issuer: Issuer<'_>,
) -> Assembled {
    let mut made = unrelayed((item, showing), (request, placement, purposes), issuer);
    match &request.relayed {
        Some(relayed) => relayed.fill_in(&mut made.markup),
        None => Relayed::default().fill_in(&mut made.markup),
    }
    made
}

/// The same for those who look at an ad that nobody asked for, with the macros of consent as they stand.
#[must_use]
pub fn assemble_unasked(item: &Item, showing: &Showing, issuer: Issuer<'_>) -> Assembled {
    let nobody = (&AdRequest::default(), &PlacementRequest::default(), Purposes::default());
    unrelayed((item, showing), nobody, issuer)
}

fn unrelayed(
    (item, showing): (&Item, &Showing),
    (request, placement, purposes): (&AdRequest, &PlacementRequest, Purposes),
    issuer: Issuer<'_>,
) -> Assembled {
    if showing.deferred.is_some() {
        let issued = (issuer.account, issuer.keys, issuer.public_url);
        return Assembled {
            markup: late::frame((item, showing), request, placement, purposes, issued),
            impression_url: String::new(),
            view_url: String::new(),
            click_url: String::new(),
            conversion_token: String::new(),
            combination: combination(showing),
        };
    }
    let creative = &*showing.creative;
    let variant = &creative.variants[showing.variant];
    let combination = combination(showing);
    let landing = landing(showing, variant);
    let person = request.person.filter(|_| purposes.basic);
    let claim = claim(item, showing, combination, person, issuer.account);
    let claim = Claim { measured: purposes.measure, ..claim };
    let tokens = issuer.keys.sign(&claim, &landing);
    let address = |kind: &str, token: &str| [issuer.public_url, kind, token].concat();
    let click_url = address("/v1/c/", &tokens.click);
    let impression_url = address("/v1/i/", &tokens.impression);
    let view_url = address("/v1/v/", &tokens.viewable);
    let link = placement.click_macro.as_ref().map(|prefix| prefix.link(&click_url));
    let decision_id = item.id.to_string();
    let dynamic = Dynamic {
        click_url: link.as_deref().unwrap_or(&click_url),
        impression_url: &impression_url,
        view_url: &view_url,
        landing_url: &landing,
        decision_id: &decision_id,
        cachebuster: &decision_id[24..],
    };
    let picked = prepare(showing, variant);
    let filled = |(at, place)| picked.get(at).and_then(Option::as_ref).unwrap_or_else(|| filling(showing, place));
    let chosen: Vec<&Prepared> = variant.places.iter().enumerate().map(filled).collect();
    // a document makes its own room
    let mut markup = String::with_capacity(if variant.shape.0 == Format::Html { 0 } else { 2_048 });
    match variant.shape.0 {
        Format::Html => assemble_html(&variant.template, &chosen, &dynamic, &mut markup),
        Format::Native => match &placement.native {
            Some(wanted) => {
                assemble_native_for(&variant.template, &chosen, &dynamic, wanted, &mut markup);
            }
            None => assemble_native(&variant.template, &chosen, &dynamic, false, &mut markup),
        },
        Format::Vast => {
            let usual = VideoRequest::default();
            let wanted = placement.video.as_ref().unwrap_or(&usual);
            let told = Told::of(&claim, &click_url, showing, issuer);
            assemble_vast(&variant.template, &chosen, &dynamic, &told.spot(creative), wanted, &mut markup);
        }
    }
    Assembled { markup, impression_url, view_url, click_url, conversion_token: tokens.conversion, combination }
}

/// Where a player tells of a video.
struct Told {
    click_pixel: String,
    events: [String; 5],
    error_url: String,
    universal_id: String,
}

impl Told {
    fn of(claim: &Claim, click_url: &str, showing: &Showing, issuer: Issuer<'_>) -> Self {
        let tokens = issuer.keys.sign_video(claim);
        let address = |at: usize, event: &str| format!("{}/v1/p/{}/{event}", issuer.public_url, tokens[at]);
        let creative = &showing.creative;
        let video = creative.video(showing.variant, &showing.choice).map_or(0, |(_, fingerprint)| fingerprint);
        Self {
            click_pixel: format!("{click_url}?pixel=1"),
            events: std::array::from_fn(|at| address(at, VideoEvent::ALL[at].1)),
            error_url: address(5, "error?code=[ERRORCODE]"),
            universal_id: format!("{}.{video:016x}", creative.id),
        }
    }

    fn spot<'a>(&'a self, creative: &'a Creative) -> Spot<'a> {
        Spot {
            ad: creative.id.as_str(),
            advertiser: &creative.domain,
            universal_id: &self.universal_id,
            click_pixel: &self.click_pixel,
            events: &self.events,
            error_url: &self.error_url,
        }
    }
}

/// What the tokens of an item say, where outcomes may be counted per person.
#[must_use]
pub fn claim(item: &Item, showing: &Showing, combination: u64, person: Option<Uid>, account: u32) -> Claim {
    let campaign = showing.campaign.as_deref();
    Claim {
        account,
        decision: item.id,
        campaign: campaign.map(|campaign| campaign.id.clone()),
        creative: showing.creative.id.clone(),
        revision: showing.creative.revision,
        combination,
        person,
        measured: true,
        cap_window: campaign.and_then(|campaign| campaign.cap_window()),
        preview: showing.reason == Reason::Preview,
        exposure: showing.exposure.as_ref().map(|exposure| exposure.pack().into()),
        price: None,
        budgeted: false,
    }
}

/// Names the content shown: the same for the same resolved values in the same template.
#[must_use]
pub fn crid(showing: &Showing) -> String {
    let creative = &*showing.creative;
    content_crid(creative, &creative.variants[showing.variant], &showing.choice, &showing.picked)
}

/// What stands in each slot of the template shown: the slot, the component (none for the
/// default) and the value as JSON.
pub fn contents(showing: &Showing) -> impl Iterator<Item = (&SlotName, Option<&ComponentId>, &Content)> {
    let creative = &*showing.creative;
    creative.variants[showing.variant].places.iter().map(move |place| {
        let component = creative.chosen(place.slot, &showing.choice);
        let picked = showing.picked(place.slot).map(|picked| &picked.content);
        let value = picked.unwrap_or_else(|| place.content(creative, &showing.choice));
        (&creative.slots[place.slot].name, component.map(|component| &component.id), value)
    })
}

/// The products that were picked, escaped for each place of the template; nothing where none were.
fn prepare(showing: &Showing, variant: &Variant) -> Vec<Option<Prepared>> {
    if showing.picked.is_empty() {
        return Vec::new();
    }
    let places = variant.places.iter().enumerate();
    places.map(|(at, place)| Some(variant.template.prepare(at, &showing.picked(place.slot)?.value))).collect()
}

fn filling<'a>(showing: &'a Showing, place: &'a Place) -> &'a Prepared {
    let at = showing.choice.get(place.slot).copied().flatten();
    at.and_then(|at| place.prepared.get(usize::from(at))).unwrap_or(&place.default)
}

/// Where a click leads: the value of the landing slot, the campaign's address, or for a house
/// creative the advertiser's domain.
fn landing<'a>(showing: &'a Showing, variant: &'a Variant) -> Cow<'a, str> {
    let creative: &Creative = &showing.creative;
    let own = creative.landing_slot.and_then(|slot| {
        if let Some(SlotValue::Products(products)) = showing.picked(slot).map(|picked| &picked.value) {
            return products.first().map(|product| product.link.as_str());
        }
        let component = creative.chosen(slot, &showing.choice).and_then(|component| component.landing.as_deref());
        component.or_else(|| variant.places.iter().find(|place| place.slot == slot)?.default_landing.as_deref())
    });
    match (own, &showing.campaign) {
        (Some(own), _) => own.into(),
        (None, Some(campaign)) => (&*campaign.landing_url).into(),
        (None, None) => format!("https://{}/", creative.domain).into(),
    }
}

fn combination(showing: &Showing) -> u64 {
    let creative = &*showing.creative;
    let mut hash = blake3::Hasher::new();
    hash.update(&creative.hash.to_le_bytes());
    for slot in 0..creative.slots.len() {
        let component = creative.chosen(slot, &showing.choice);
        hash.update(&component.map_or(0, |component| component.hash.0).to_le_bytes());
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_le_bytes(head)
}
