//! Which products of a feed a person is shown, and by which rule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    audience::user::UserState,
    catalog::{
        audit::{crid, named},
        content::Content,
        creative::{Choice, Component, Creative, Variant},
        landing,
        snapshot::Snapshot,
    },
    creative::{Choose, Fill, Picking, Product, SlotSpec, SlotValue},
    ids::{ComponentId, CreativeId, NameHash},
    products::{Feed, Popular, Stock},
    values::Millis,
};

/// By which rule a product was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PickedBy {
    /// The person looked at it in the last 30 days and did not buy it since.
    LastViewed,
    /// The person put it into the basket in the last 30 days and did not buy it since.
    Abandoned,
    /// Many people of the component's segment, whom the person is one of, looked at it.
    PopularInSegment,
    /// Many people looked at it.
    Popular,
    /// It is among the first of the feed.
    Listed,
}

/// The products that a component shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Picked {
    /// Stands for the component.
    pub component: NameHash,
    /// The products, as the value of a slot.
    pub value: SlotValue,
    /// The same as JSON.
    pub content: Content,
    /// By which rule each was picked.
    pub by: Vec<PickedBy>,
}

/// The products that a component showed, in its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedGoods {
    /// The creative.
    pub creative: CreativeId,
    /// The component.
    pub component: ComponentId,
    /// The products.
    pub products: Value,
    /// By which rule each was picked.
    pub by: Vec<PickedBy>,
}

/// How long ago a person may have looked at a product or put it into the basket, in ms: 30 days.
const LOOKBACK: i64 = 30 * 86_400_000;

/// What products are picked from.
#[derive(Clone, Copy)]
pub(super) struct Goods<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The person, where they may be known.
    pub(super) profile: Option<&'a UserState>,
    /// What was picked at the time, when a record is replayed.
    pub(super) recorded: Option<&'a [RecordedGoods]>,
    pub(super) now: Millis,
}

/// Names the content that a choice gives one of a creative's templates, with what was picked for it.
#[must_use]
pub fn content_crid(creative: &Creative, variant: &Variant, choice: &Choice, picked: &[Picked]) -> String {
    if picked.is_empty() {
        return crid(creative, variant, choice);
    }
    named(variant, |place| {
        let component = creative.chosen(place.slot, choice);
        let own = component.and_then(|component| picked.iter().find(|picked| picked.component == component.hash));
        own.map_or_else(|| place.fingerprint(creative, choice), |picked| picked.content.fingerprint())
    })
}

impl Goods<'_> {
    /// What each component of a creative that picks products shows in one of its variants; those with
    /// nothing to show are left out. `is_member` asks whether the person is in a component's segment.
    pub(super) fn of(
        &self,
        creative: &Creative,
        variant: usize,
        mut is_member: impl FnMut(&Picking) -> bool,
    ) -> Vec<Picked> {
        if !creative.picks {
            return Vec::new();
        }
        let picking = creative.components.iter().filter_map(|component| Some((component, component.picking.as_ref()?)));
        let picked = picking.filter_map(|(component, picking)| {
            let spec = spec(creative, variant, component);
            let most = picking.items.unwrap_or(u32::MAX).min(spec.max_items) as usize;
            match self.recorded {
                Some(recorded) => again(recorded, creative, component, &spec, most),
                None => {
                    let feed = self.snapshot.feeds.get(&picking.feed)?;
                    let stock = self.snapshot.stocks.get(&picking.feed)?;
                    let known = self.known(picking, feed, stock, is_member(picking));
                    let advertiser = self.snapshot.advertiser(&feed.document.advertiser)?;
                    // its hosts may have changed since the file was read
                    let leads = |product: &Product| {
                        landing::parse(product.link.as_str()).is_ok_and(|h| landing::allowed(advertiser, &h))
                    };
                    picked(component, fill(picking, stock, known, most, leads))
                }
            }
        });
        picked.collect()
    }

    /// Ids that a rule names, best first, whether they are in stock or not.
    fn known(&self, picking: &Picking, feed: &Feed, stock: &Stock, member: bool) -> Vec<(NameHash, PickedBy)> {
        let by = |ids: Vec<NameHash>, by| ids.into_iter().map(|id| (id, by)).collect();
        match (picking.choose, &picking.segment, self.profile) {
            (Choose::LastViewed, _, Some(state)) => by(viewed(state, feed, self.now), PickedBy::LastViewed),
            (Choose::Abandoned, _, Some(state)) => by(abandoned(state, feed, self.now), PickedBy::Abandoned),
            (Choose::PopularInSegment, Some(segment), Some(_)) if member => {
                by(stock.popular.within.get(segment).cloned().unwrap_or_default(), PickedBy::PopularInSegment)
            }
            (Choose::Popular, ..) => by(stock.popular.overall.clone(), PickedBy::Popular),
            _ => Vec::new(),
        }
    }
}

/// What the component's slot takes in a variant; any number where that has no such slot.
fn spec(creative: &Creative, variant: usize, component: &Component) -> SlotSpec {
    let name = creative.slots[component.slot].name.as_str();
    let of = |at: usize| {
        let template = &creative.variants.get(at)?.template;
        Some(template.slots()[template.slot_index(name)?].spec.clone())
    };
    of(variant).or_else(|| (0..creative.variants.len()).find_map(of)).unwrap_or_else(SlotSpec::products)
}

/// Those in stock among the ones known that lead where they may, filled up as the component asks.
fn fill(
    picking: &Picking,
    stock: &Stock,
    known: Vec<(NameHash, PickedBy)>,
    most: usize,
    leads: impl Fn(&Product) -> bool,
) -> Vec<(Product, PickedBy)> {
    let mut seen: Vec<NameHash> = Vec::new();
    let mut found = Vec::new();
    let filling = (picking.fill == Fill::Popular).then(|| {
        let popular = stock.popular.overall.iter().map(|id| (*id, PickedBy::Popular));
        popular.chain(stock.shelf.first().map(|id| (id, PickedBy::Listed)))
    });
    for (id, by) in known.into_iter().chain(filling.into_iter().flatten()) {
        if found.len() == most {
            break;
        }
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        found.extend(stock.shelf.get(id).filter(&leads).map(|product| (product, by)));
    }
    found
}

fn picked(component: &Component, found: Vec<(Product, PickedBy)>) -> Option<Picked> {
    let (products, by): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    if products.is_empty() {
        return None;
    }
    let value = SlotValue::Products(products.into());
    Some(Picked { component: component.hash, content: Content::new(&value.content()), value, by })
}

/// What was recorded of a component.
fn again(
    recorded: &[RecordedGoods],
    creative: &Creative,
    component: &Component,
    spec: &SlotSpec,
    most: usize,
) -> Option<Picked> {
    let goods = recorded.iter().find(|goods| goods.creative == creative.id && goods.component == component.id)?;
    let products: Vec<Value> = goods.products.as_array()?.iter().take(most).cloned().collect();
    let value = SlotValue::parse(spec, &Value::Array(products)).ok()?;
    let by = goods.by.iter().copied().take(most).collect();
    Some(Picked { component: component.hash, content: Content::new(&value.content()), value, by })
}

/// Products that the person looked at and did not buy since, the last first.
fn viewed(state: &UserState, feed: &Feed, now: Millis) -> Vec<NameHash> {
    let streams = &feed.streams;
    let bought = state.activity.latest_by_key(streams.bought.id());
    open(&state.activity.latest_by_key(streams.viewed.id()), &bought, &[], now)
}

/// Products that the person put into the basket and did not buy since, the last first. A purchase
/// that names no product is of all that was in the basket.
fn abandoned(state: &UserState, feed: &Feed, now: Millis) -> Vec<NameHash> {
    let streams = &feed.streams;
    let activity = &state.activity;
    let named = activity.times(streams.bought.id());
    let mut whole = activity.times(streams.orders.id());
    whole.retain(|at| !named.contains(at));
    let bought = activity.latest_by_key(streams.bought.id());
    open(&activity.latest_by_key(streams.basket.id()), &bought, &whole, now)
}

fn open(touched: &[(NameHash, Millis)], bought: &[(NameHash, Millis)], whole: &[Millis], now: Millis) -> Vec<NameHash> {
    let lasts = |(id, at): &&(NameHash, Millis)| {
        let recent = *at <= now && now.since(*at) < LOOKBACK;
        let own = bought.iter().any(|(other, then)| other == id && then >= at);
        recent && !own && !whole.iter().any(|then| then >= at)
    };
    touched.iter().filter(lasts).map(|(id, _)| *id).collect()
}

/// The products that a person looked at lately, for counting what is popular.
#[must_use]
pub fn looked_at(state: &UserState, feed: &Feed, now: Millis) -> Vec<NameHash> {
    let viewed = state.activity.latest_by_key(feed.streams.viewed.id());
    let recent = |at: Millis| at <= now && now.since(at) < Popular::LOOKBACK;
    viewed.into_iter().filter(|(_, at)| recent(*at)).map(|(id, _)| id).collect()
}
