//! Which of the combinations that were chosen at publish may be shown to whom: creatives that can show nothing else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::domain::{
    catalog::{
        audit::AuditDoc,
        creative::{Choice, Component, Creative, Creatives},
        document::AdvertiserDoc,
        landing,
        reviewed::Combination,
    },
    creative::{Pairing, Product, SlotValue},
    ids::{AdvertiserId, CreativeId, ExchangeId, FeedId, NameHash},
    products::{Feed, Shelf, Stock, Stocks},
    values::Millis,
};

/// Which combinations may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// All that were chosen.
    Chosen,
    /// Those of them that an exchange has approved.
    Approved(ExchangeId),
}

/// Why a combination is not shown for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawn {
    /// Another revision serves, or none.
    NotServing,
    /// Its images or links have other addresses now, so that it would be another content.
    Readdressed,
    /// A product of it is not in its feed, or cannot be bought.
    OutOfStock,
    /// The feed says something else of a product of it.
    FeedChanged,
    /// A component of it is held back: it lost its segment or the host of its link since it was published.
    HeldBack,
    /// A component of it has ended, or has not begun.
    NotRunning,
    /// A product of it leads where the advertiser's links may not.
    LandingHostNotAllowed,
}

/// What it depends on.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) creatives: &'a Creatives,
    pub(super) audits: &'a BTreeMap<CreativeId, BTreeMap<ExchangeId, Arc<AuditDoc>>>,
    pub(super) advertisers: &'a BTreeMap<AdvertiserId, Arc<AdvertiserDoc>>,
    pub(super) feeds: &'a BTreeMap<FeedId, Arc<Feed>>,
    pub(super) stocks: &'a Stocks,
}

/// What creatives with combinations may show.
#[derive(Clone, Debug, Default)]
pub struct Listed(HashMap<CreativeId, Arc<Entry>>);

#[derive(Debug)]
struct Entry {
    creative: Arc<Creative>,
    audits: BTreeMap<ExchangeId, Arc<AuditDoc>>,
    /// What was looked at of feeds.
    feeds: BTreeMap<FeedId, (Arc<AdvertiserDoc>, Arc<Shelf>)>,
    /// Per combination of the creative.
    withdrawn: Vec<Option<Withdrawn>>,
    /// Per template.
    chosen: Vec<Option<Arc<Table>>>,
    approved: BTreeMap<ExchangeId, Vec<Option<Arc<Table>>>>,
}

/// The combinations of one template that may be shown.
#[derive(Debug)]
pub struct Table {
    /// The creative, with pairing rules that allow nothing else in the template.
    pub creative: Arc<Creative>,
    /// Whether each of the creative's slots stands in the template.
    inside: Vec<bool>,
    /// The components that stand in one of them.
    components: HashSet<NameHash>,
    /// Positions in [`Creative::combinations`].
    rows: Vec<usize>,
}

impl Table {
    /// Of a template of a creative those combinations that `may` be shown; none where there are none.
    fn of(creative: &Arc<Creative>, variant: usize, may: impl Fn(usize, &Combination) -> bool) -> Option<Self> {
        let mut inside = vec![false; creative.slots.len()];
        creative.variants[variant].places.iter().for_each(|place| inside[place.slot] = true);
        let own = creative.combinations.iter().enumerate();
        let own = own.filter(|(at, combination)| combination.variant == variant && may(*at, combination));
        let rows: Vec<usize> = own.map(|(at, _)| at).collect();
        let slots: Vec<usize> = (0..inside.len()).filter(|slot| inside[*slot]).collect();
        let of =
            |row: &usize| slots.iter().map(|slot| creative.combinations[*row].options[*slot]).collect::<Vec<u32>>();
        let mut choices: Vec<Vec<u32>> = rows.iter().map(of).collect();
        choices.sort_unstable();
        choices.dedup();
        let components = choices.iter().flatten().filter_map(|at| creative.components.get(*at as usize));
        let components = components.map(|component| component.hash).collect();
        let slots = slots.iter().filter_map(|slot| u16::try_from(*slot).ok()).collect();
        let pairing = creative.pairing.with_only(slots, choices);
        let creative = Arc::new(Creative { pairing, ..Creative::clone(creative) });
        (!rows.is_empty()).then_some(Self { creative, inside, components, rows })
    }

    /// Whether a component stands in one of the combinations, or where they say nothing.
    #[must_use]
    pub fn offers(&self, component: &Component) -> bool {
        if self.inside[component.slot] {
            self.components.contains(&component.hash)
        } else {
            component.picking.is_none()
        }
    }

    /// The combinations of a choice: one, or several that show other products.
    pub fn of_choice<'a>(&'a self, choice: &'a Choice) -> impl Iterator<Item = &'a Combination> {
        let creative = &self.creative;
        let same = move |of: &&Combination| {
            let mut slots = (0..self.inside.len()).filter(|slot| self.inside[*slot]);
            slots.all(|slot| {
                let own = choice.get(slot).copied().flatten();
                own.and_then(|at| creative.slots[slot].candidates.get(usize::from(at))).copied()
                    == Some(of.options[slot]).filter(|option| *option != Pairing::DEFAULT)
            })
        };
        self.rows.iter().map(|row| &creative.combinations[*row]).filter(same)
    }
}

impl Entry {
    fn tables(&self, may: impl Fn(usize, &Combination) -> bool) -> Vec<Option<Arc<Table>>> {
        let variants = 0..self.creative.variants.len();
        variants.map(|variant| Table::of(&self.creative, variant, &may).map(Arc::new)).collect()
    }
}

impl Listed {
    /// What of a creative's template may be shown; none where nothing may.
    #[must_use]
    pub fn of(&self, creative: &CreativeId, listing: &Listing, variant: usize) -> Option<&Arc<Table>> {
        let entry = self.0.get(creative)?;
        let tables = match listing {
            Listing::Chosen => &entry.chosen,
            Listing::Approved(exchange) => entry.approved.get(exchange)?,
        };
        tables.get(variant)?.as_ref()
    }

    /// The same whatever feeds hold by now: for decisions that are made again.
    #[must_use]
    pub fn ever(&self, creative: &CreativeId, listing: &Listing, variant: usize) -> Option<Arc<Table>> {
        let entry = self.0.get(creative)?;
        let serves = |combination: &Combination| match listing {
            Listing::Chosen => true,
            Listing::Approved(exchange) => {
                entry.audits.get(exchange).is_some_and(|audit| audit.serves(&combination.crid))
            }
        };
        Table::of(&entry.creative, variant, |_, combination| serves(combination)).map(Arc::new)
    }

    /// Whether a combination of the creative that serves is shown for now, and why not.
    #[must_use]
    pub fn withdrawn(&self, creative: &Creative, crid: &str, now: Millis) -> Option<Withdrawn> {
        let at = creative.combinations.iter().position(|of| *of.crid == *crid);
        let Some((entry, at)) = self.0.get(&creative.id).zip(at) else { return Some(Withdrawn::Readdressed) };
        let of_feeds = entry.withdrawn.get(at).copied().flatten();
        of_feeds.or_else(|| rests(creative, &creative.combinations[at], now))
    }

    /// The same for another catalogue, or for other products in its feeds; what did not change is taken over.
    #[must_use]
    pub(super) fn evolve(&self, by: Known<'_>) -> Self {
        let with = by.creatives.values().filter(|creative| !creative.combinations.is_empty());
        let none = BTreeMap::new();
        let entry = |creative: &Arc<Creative>| {
            let audits = by.audits.get(&creative.id).unwrap_or(&none);
            let feeds: BTreeMap<FeedId, (Arc<AdvertiserDoc>, Arc<Shelf>)> = creative
                .pickings()
                .filter_map(|picking| {
                    let (advertiser, stock) = look(by, &picking.feed)?;
                    Some((picking.feed.clone(), (Arc::clone(advertiser), Arc::clone(&stock.shelf))))
                })
                .collect();
            let same = |known: &&Arc<Entry>| {
                let audited = known.audits.iter().zip(audits).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1));
                let fed = known
                    .feeds
                    .iter()
                    .zip(&feeds)
                    .all(|((id, a), (other, b))| id == other && Arc::ptr_eq(&a.0, &b.0) && Arc::ptr_eq(&a.1, &b.1));
                Arc::ptr_eq(&known.creative, creative)
                    && (known.audits.len(), known.feeds.len()) == (audits.len(), feeds.len())
                    && audited
                    && fed
            };
            if let Some(known) = self.0.get(&creative.id).filter(same) {
                return Arc::clone(known);
            }
            let withdrawn: Vec<_> = creative.combinations.iter().map(|of| judge(creative, of, by)).collect();
            let mut entry = Entry {
                creative: Arc::clone(creative),
                audits: audits.clone(),
                feeds,
                withdrawn,
                chosen: Vec::new(),
                approved: BTreeMap::new(),
            };
            let shows = |at: usize| entry.withdrawn[at].is_none();
            let chosen = entry.tables(|at, _| shows(at));
            let of = |audit: &Arc<AuditDoc>| entry.tables(|at, of| shows(at) && audit.serves(&of.crid));
            let approved = audits.iter().map(|(exchange, audit)| (exchange.clone(), of(audit))).collect();
            (entry.chosen, entry.approved) = (chosen, approved);
            Arc::new(entry)
        };
        Self(with.map(|creative| (creative.id.clone(), entry(creative))).collect())
    }
}

/// What a feed holds, and whose it is.
fn look<'a>(by: Known<'a>, feed: &FeedId) -> Option<(&'a Arc<AdvertiserDoc>, &'a Stock)> {
    let advertiser = by.advertisers.get(&by.feeds.get(feed)?.document.advertiser)?;
    Some((advertiser, by.stocks.get(feed)?))
}

/// Why a combination is not shown by its components, whoever looks.
fn rests(creative: &Creative, combination: &Combination, now: Millis) -> Option<Withdrawn> {
    let mut shown = combination.options.iter().filter_map(|at| creative.components.get(*at as usize));
    shown.find_map(|component| {
        let runs = component.start.is_none_or(|start| now >= start) && component.end.is_none_or(|end| now < end);
        if component.active { (!runs).then_some(Withdrawn::NotRunning) } else { Some(Withdrawn::HeldBack) }
    })
}

/// Why a combination is not shown by what feeds hold.
fn judge(creative: &Creative, combination: &Combination, by: Known<'_>) -> Option<Withdrawn> {
    let products = combination.frozen.iter().flat_map(|frozen| {
        let component = creative.components.iter().find(|component| component.hash == frozen.component);
        let picking = component.and_then(|component| component.picking.as_deref());
        let from = picking.and_then(|picking| look(by, &picking.feed));
        let products = if let SlotValue::Products(products) = &frozen.value { &products[..] } else { &[] };
        products.iter().map(move |product| (from, product))
    });
    products.into_iter().find_map(|(from, product): (Option<(&Arc<AdvertiserDoc>, &Stock)>, &Product)| {
        let Some((advertiser, stock)) = from else { return Some(Withdrawn::OutOfStock) };
        match stock.shelf.get(NameHash::of(&product.id)) {
            None => Some(Withdrawn::OutOfStock),
            Some(now) if now != *product => Some(Withdrawn::FeedChanged),
            Some(_) => {
                let leads = landing::parse(product.link.as_str()).is_ok_and(|host| landing::allowed(advertiser, &host));
                (!leads).then_some(Withdrawn::LandingHostNotAllowed)
            }
        }
    })
}
