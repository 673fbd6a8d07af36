//! Products in few bytes, found by their id.

use std::sync::Arc;

use super::item::Item;
use crate::domain::{
    creative::{Image, Product},
    ids::NameHash,
    values::{Amount, Money},
};

/// The first byte of every piece.
const FORMAT: u8 = 1;

/// Gathers products into pieces of some hundred kilobytes.
#[derive(Default)]
pub struct Packer {
    piece: Vec<u8>,
}

impl Packer {
    /// A piece is given out when it has so many bytes.
    const PIECE: usize = 256 << 10;

    /// Takes a product; a piece when that filled one. What cannot be bought is left out, so that
    /// nothing can show it.
    pub fn push(&mut self, item: &Item) -> Option<Vec<u8>> {
        if item.available {
            if self.piece.is_empty() {
                self.piece.push(FORMAT);
            }
            put(&mut self.piece, &item.product);
        }
        (self.piece.len() >= Self::PIECE).then(|| std::mem::take(&mut self.piece))
    }

    /// The last piece, if there is anything in it.
    #[must_use]
    pub fn finish(self) -> Option<Vec<u8>> {
        Some(self.piece).filter(|piece| !piece.is_empty())
    }
}

/// The products of a feed that can be bought. A product takes 16 bytes beside its own texts.
#[derive(Debug, Default)]
pub struct Shelf {
    pieces: Vec<Arc<[u8]>>,
    /// Sorted by what stands for the id: the piece and where in it.
    index: Box<[(u64, u32, u32)]>,
    /// The first products of the feed.
    first: Vec<u64>,
}

impl Shelf {
    /// Products at the head of the feed that are shown when nothing else is known.
    const FIRST: usize = 64;

    /// A shelf of packed pieces; `None` where they cannot be read.
    #[must_use]
    pub fn new(pieces: Vec<Vec<u8>>) -> Option<Self> {
        let (mut index, mut first) = (Vec::new(), Vec::new());
        for (number, piece) in (0_u32..).zip(&pieces) {
            let mut from = Cursor { bytes: piece, at: 1 };
            if piece.first() != Some(&FORMAT) {
                return None;
            }
            while from.at < piece.len() {
                let at = u32::try_from(from.at).ok()?;
                let hash = NameHash::of(skip(&mut from)?).0;
                if first.len() < Self::FIRST {
                    first.push(hash);
                }
                index.push((hash, number, at));
            }
        }
        index.sort_unstable();
        // of an id that stands there twice the first counts
        index.dedup_by_key(|entry| entry.0);
        Some(Self { pieces: pieces.into_iter().map(Arc::from).collect(), index: index.into(), first })
    }

    /// The product that an id stands for.
    #[must_use]
    pub fn get(&self, id: NameHash) -> Option<Product> {
        let found = self.index.binary_search_by_key(&id.0, |entry| entry.0).ok()?;
        let (_, piece, at) = self.index[found];
        take(&mut Cursor { bytes: &self.pieces[piece as usize], at: at as usize })
    }

    /// Whether a product is there.
    #[must_use]
    pub fn has(&self, id: NameHash) -> bool {
        self.index.binary_search_by_key(&id.0, |entry| entry.0).is_ok()
    }

    /// The first products of the feed, in its order.
    pub fn first(&self) -> impl Iterator<Item = NameHash> {
        self.first.iter().map(|hash| NameHash(*hash))
    }

    /// How many products there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes on the heap, without the allocator's own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum::<usize>() + size_of_val(&*self.index)
    }
}

fn put(out: &mut Vec<u8>, product: &Product) {
    let mut text = |text: &str| {
        // every text was held to far less than 64 KiB
        let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    };
    text(&product.id);
    text(&product.title);
    text(product.link.as_str());
    text(&product.image.src);
    text(product.brand.as_deref().unwrap_or_default());
    text(product.description.as_deref().unwrap_or_default());
    for price in [&product.price, &product.sale_price] {
        match price {
            None => out.push(0),
            Some(money) => {
                out.push(1);
                out.extend_from_slice(&money.amount.micros().to_le_bytes());
                out.extend_from_slice(money.currency.as_str().as_bytes());
            }
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.take(2)?;
        std::str::from_utf8(self.take(usize::from(u16::from_le_bytes([length[0], length[1]])))?).ok()
    }

    fn money(&mut self) -> Option<Option<Money>> {
        if self.take(1)? == [0] {
            return Some(None);
        }
        let mut micros = [0; 8];
        micros.copy_from_slice(self.take(8)?);
        let currency = std::str::from_utf8(self.take(3)?).ok()?.parse().ok()?;
        Some(Some(Money { amount: Amount::from_micros(i64::from_le_bytes(micros)), currency }))
    }
}

/// Goes past a product; gives its id.
fn skip<'a>(from: &mut Cursor<'a>) -> Option<&'a str> {
    let id = from.text()?;
    for _ in 0..5 {
        from.text()?;
    }
    from.money()?;
    from.money()?;
    Some(id)
}

fn take(from: &mut Cursor<'_>) -> Option<Product> {
    let (id, title) = (from.text()?, from.text()?);
    let (link, src) = (from.text()?.parse().ok()?, from.text()?);
    let some = |text: &str| (!text.is_empty()).then(|| text.into());
    let (brand, description) = (some(from.text()?), some(from.text()?));
    Some(Product {
        id: id.into(),
        title: title.into(),
        link,
        image: Image { src: src.into(), alt: title.into(), width: None, height: None },
        price: from.money()?,
        sale_price: from.money()?,
        brand,
        description,
    })
}
