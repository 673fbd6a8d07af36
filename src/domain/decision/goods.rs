//! Which products of a feed a person is shown, and by which rule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    audience::user::UserState,
    catalog::{
        audit::crid,
        content::Content,
        creative::{Choice, Component, Creative, Variant},
        landing,
        reviewed::Frozen,
        snapshot::Snapshot,
    },
    creative::{Choose, Fill, Picking, Product, SlotSpec, SlotValue},
    ids::{ComponentId, CreativeId, NameHash},
    products::{Feed, Popular, Stock, Stocks},
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
    /// It stands in a combination that was chosen for exchanges to review.
    Reviewed,
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

impl Picked {
    /// What a combination shows that was chosen for review.
    #[must_use]
    pub fn frozen(of: &Frozen) -> Self {
        let products = if let SlotValue::Products(products) = &of.value { products.len() } else { 0 };
        let Frozen { component, value, content } = of.clone();
        Self { component, value, content, by: vec![PickedBy::Reviewed; products] }
    }
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
    crid(creative, variant, choice, |component| {
        let own = picked.iter().find(|picked| picked.component == component.hash)?;
        Some(own.content.fingerprint())
    })
}

/// Sets of products that combinations are chosen with.
const PAGES: usize = 4;

/// The products that a creative shows in one of its variants to somebody of whom nothing is known, by what feeds hold,
/// in sets of as many as its slots take: those that it would show are the first, those that come next the second.
#[must_use]
pub fn pages(creative: &Creative, variant: usize, snapshot: &Snapshot, stocks: &Stocks) -> Vec<Vec<Frozen>> {
    let picking = creative.components.iter().filter_map(|component| Some((component, component.picking.as_ref()?)));
    let sets = picking.filter_map(|(component, picking)| {
        let most = picking.items.unwrap_or(u32::MAX).min(spec(creative, variant, component).max_items) as usize;
        let stock = stocks.get(&picking.feed)?;
        let popular = if picking.choose == Choose::Popular { &stock.popular.overall[..] } else { &[] };
        let known = popular.iter().map(|id| (*id, PickedBy::Popular)).collect();
        let found = offered(snapshot, picking, stock, known, most * PAGES)?;
        let products: Vec<Product> = found.into_iter().map(|(product, _)| product).collect();
        let set = |of: &[Product]| Frozen::new(component.hash, SlotValue::Products(of.into()));
        Some(products.chunks(most.max(1)).map(set).collect::<Vec<_>>())
    });
    let sets: Vec<Vec<Frozen>> = sets.collect();
    let count = sets.iter().map(Vec::len).max().unwrap_or_default();
    let page = |number: usize| sets.iter().filter_map(|of| of.get(number).or(of.first()).cloned()).collect();
    (0..count).map(page).collect()
}

/// Products in stock that lead where they may: those known, filled up as the component asks.
fn offered(
    snapshot: &Snapshot,
    picking: &Picking,
    stock: &Stock,
    known: Vec<(NameHash, PickedBy)>,
    most: usize,
) -> Option<Vec<(Product, PickedBy)>> {
    let feed = snapshot.feeds.get(&picking.feed)?;
    let advertiser = snapshot.advertiser(&feed.document.advertiser)?;
    // its hosts may have changed since the file was read
    let leads =
        |product: &Product| landing::parse(product.link.as_str()).is_ok_and(|h| landing::allowed(advertiser, &h));
    Some(fill(picking, stock, known, most, leads))
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
                    picked(component, offered(self.snapshot, picking, stock, known, most)?)
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
