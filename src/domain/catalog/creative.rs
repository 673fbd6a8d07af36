//! A published creative, ready to be chosen from and assembled.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{
    audience::compile::Condition,
    catalog::{content::Content, index::Shape, reviewed::Combination},
    creative::{Pairing, Picking, Prepared, Template, Video},
    ids::{AdvertiserId, ComponentId, CreativeId, NameHash, SlotName, TemplateId},
    values::{Locale, Millis},
};

/// One immutable revision of a creative.
#[derive(Clone, Debug)]
pub struct Creative {
    /// Its id.
    pub id: CreativeId,
    /// The revision.
    pub revision: u32,
    /// Stands for id and revision in hashes.
    pub hash: u64,
    /// Stands for the id in hashes, whatever the revision.
    pub lasting: NameHash,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// The advertiser's root domain.
    pub domain: Box<str>,
    /// What the advertiser advertises, and the taxonomy that says so.
    pub categories: (u16, Vec<Box<str>>),
    /// AdCOM's creative attributes that it has.
    pub attributes: Vec<u16>,
    /// Every slot of its templates, by name.
    pub slots: Arc<[Slot]>,
    /// Its components, by id.
    pub components: Arc<[Component]>,
    /// Its templates, one per size and format.
    pub variants: Arc<[Variant]>,
    /// Which components go together.
    pub pairing: Pairing,
    /// The slot whose value is where a click leads.
    pub landing_slot: Option<usize>,
    /// Whether any component picks products from a feed.
    pub picks: bool,
    /// Those of its combinations that exchanges review one by one.
    pub combinations: Arc<[Combination]>,
}

/// A slot of any of the templates.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: SlotName,
    /// Positions of the components that may fill it.
    pub candidates: Vec<u32>,
}

/// A component that may be chosen.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its id.
    pub id: ComponentId,
    /// Stands for the id in hashes.
    pub hash: NameHash,
    /// Position of its slot.
    pub slot: usize,
    /// Share within its slot.
    pub weight: u32,
    /// Its language; none for every language.
    pub locale: Option<Locale>,
    /// First instant.
    pub start: Option<Millis>,
    /// The instant after the last.
    pub end: Option<Millis>,
    /// Whether it may be chosen at all.
    pub active: bool,
    /// Whether it would be active, had it not lost its segment or the host of its click since it was published.
    pub held: bool,
    /// To whom; none for everybody.
    pub condition: Option<Box<Condition>>,
    /// Its value as JSON.
    pub content: Content,
    /// A hash of its value.
    pub fingerprint: u64,
    /// Its value, where it is the address a click leads to.
    pub landing: Option<Box<str>>,
    /// Its value, where every decision picks products from a feed.
    pub picking: Option<Box<Picking>>,
    /// Its value, where it is a video.
    pub video: Option<Box<Video>>,
}

/// The creative in one size and format.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The template's id.
    pub id: TemplateId,
    /// What it renders.
    pub shape: Shape,
    /// The template.
    pub template: Arc<Template>,
    /// Whether it may show something that is not loaded into a safe page.
    pub insecure: bool,
    /// What may stand in each slot of the template, in its order.
    pub places: Vec<Place>,
}

/// What may stand in one slot of one template, escaped for it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Position of the slot in [`Creative::slots`].
    pub slot: usize,
    /// The slot's default.
    pub default: Prepared,
    /// The default as JSON.
    pub default_content: Content,
    /// A hash of the default.
    pub default_fingerprint: u64,
    /// The default, where it is the address a click leads to.
    pub default_landing: Option<Box<str>>,
    /// The components, in the order of [`Slot::candidates`].
    pub prepared: Vec<Prepared>,
    /// Values that are others here than in the creative's first template with the slot, by their
    /// positions in [`Slot::candidates`]: pictures in another size.
    pub resized: BTreeMap<u16, Content>,
}

/// The most components of a slot: a choice holds their positions in 16 bits.
pub const MOST_OF_A_SLOT: usize = 65_000;

/// One choice per slot of [`Creative::slots`]: a position in [`Slot::candidates`], or the default.
pub type Choice = [Option<u16>];

/// Published creatives by id.
pub type Creatives = BTreeMap<CreativeId, Arc<Creative>>;
