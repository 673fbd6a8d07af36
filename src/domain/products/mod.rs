//! Catalogues of products: how their rows are read, kept in little memory and found again.
//!
//! [`read()`] takes a file row by row and gives an [`Item`] or what is wrong with each. Those that can
//! be bought are packed ([`Packer`]) into pieces that a [`Shelf`] finds them in by their id;
//! [`Popular`] says which of them many people look at.

mod csv;
mod document;
mod item;
mod json;
mod packed;
mod popular;
mod read;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod xml;

pub use document::{FeedDoc, FeedFormat, FeedStreams};
pub use item::{Item, Settings};
pub use packed::{Packer, Shelf};
pub use popular::{Popular, Tally};
pub use read::read;
pub use sink::Unreadable;

use std::{collections::BTreeMap, sync::Arc};

use super::ids::FeedId;

/// A feed of the catalogue.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What its owner wrote.
    pub document: FeedDoc,
    /// What must be remembered of people where creatives show its products.
    pub streams: FeedStreams,
}

impl From<FeedDoc> for Feed {
    fn from(document: FeedDoc) -> Self {
        Self { streams: document.streams(), document }
    }
}

/// What a feed holds at one time, as a whole.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// Which upload it is of; grows with each.
    pub generation: i64,
    /// The products that can be bought.
    pub shelf: Arc<Shelf>,
    /// Those of them that many people look at.
    pub popular: Arc<Popular>,
}

/// The stock of each feed.
pub type Stocks = BTreeMap<FeedId, Stock>;
