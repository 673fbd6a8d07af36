//! What exchanges do not want to see: advertisers and categories, or all but some of these.

use std::{cell::RefCell, collections::BTreeMap};

use super::{
    request::{BidRequest, Text},
    settings::{Settings, Taxonomy},
};
use crate::domain::{catalog::creative::Creative, ids::AdvertiserId};

/// What a request blocks.
pub(super) struct Blocks<'a> {
    cattax: i64,
    categories: &'a [Text<'a>],
    /// The only ones that are taken; none: all.
    allowed: &'a [Text<'a>],
    domains: &'a [Text<'a>],
    /// The taxonomy of the categories, where it is known.
    taxonomy: Option<&'a Taxonomy>,
    /// The advertisers that were asked about, and whether they are blocked: these lists may be long.
    known: RefCell<BTreeMap<&'a AdvertiserId, bool>>,
}

impl<'a> Blocks<'a> {
    pub(super) fn of(request: &'a BidRequest<'a>, settings: &'a Settings) -> Self {
        let cattax = request.cattax.map_or(CONTENT_1, |of| of.0);
        Self {
            cattax,
            categories: request.bcat.as_deref().unwrap_or_default(),
            allowed: request.acat.as_deref().unwrap_or_default(),
            domains: request.badv.as_deref().unwrap_or_default(),
            taxonomy: settings.taxonomies.get(&cattax),
            known: RefCell::default(),
        }
    }

    /// Whether a creative is blocked.
    pub(super) fn block(&self, creative: &'a Creative) -> bool {
        if self.domains.is_empty() && self.categories.is_empty() && self.allowed.is_empty() {
            return false;
        }
        *self.known.borrow_mut().entry(&creative.advertiser).or_insert_with(|| {
            self.domains.iter().any(|of| is_under(&creative.domain, of)) || self.block_categories(&creative.categories)
        })
    }

    /// Whether categories are blocked, or not all of them allowed. They are too where nobody can tell: those of another
    /// taxonomy cannot be compared, the numbers of newer ones do not say what they are part of, and what has none is
    /// of none that is allowed.
    fn block_categories(&self, (cattax, categories): &(u16, Vec<Box<str>>)) -> bool {
        if self.categories.is_empty() && self.allowed.is_empty() {
            return false;
        }
        if categories.is_empty() {
            return !self.allowed.is_empty();
        }
        let knows = |own: &str| self.cattax == CONTENT_1 || self.taxonomy.is_some_and(|taxonomy| taxonomy.knows(own));
        let within = |own: &str, all: &[Text<'_>]| {
            all.iter().any(|of| match self.taxonomy {
                _ if self.cattax == CONTENT_1 => is_part(own, of),
                taxonomy => taxonomy.is_some_and(|taxonomy| taxonomy.is_within(own, of)),
            })
        };
        let is_out = |own: &str| {
            !knows(own) || within(own, self.categories) || !self.allowed.is_empty() && !within(own, self.allowed)
        };
        i64::from(*cattax) != self.cattax || categories.iter().any(|own| is_out(own))
    }
}

/// IAB Content Taxonomy 1.0, whose ids say what they are part of (AdCOM's list of category taxonomies).
const CONTENT_1: i64 = 1;

/// Whether a domain is another or below it.
pub(super) fn is_under(domain: &str, of: &str) -> bool {
    let of = of.trim().trim_start_matches('.');
    let Some(at) = domain.len().checked_sub(of.len()).filter(|_| !of.is_empty()) else { return false };
    domain.is_char_boundary(at)
        && domain[at..].eq_ignore_ascii_case(of)
        && (at == 0 || domain.as_bytes()[at - 1] == b'.')
}

/// Whether a category is another or part of it: `IAB7-39` is part of `IAB7`.
fn is_part(category: &str, of: &str) -> bool {
    let head = category.get(..of.len()).is_some_and(|head| head.eq_ignore_ascii_case(of));
    head && !of.is_empty() && matches!(category.as_bytes().get(of.len()), None | Some(b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_blocked() {
        let table =
            Taxonomy::read("Unique ID\tParent ID\tName\n52\t\tCars\n53\t52\tVans\n54\t53\tSmall vans\n60\t\tPets\n");
        let table = table.expect("a taxonomy");
        let blocks = |cattax: i64, taxonomy, of: &str, own: (u16, &[&str])| {
            let categories = if of.is_empty() { "[]".to_owned() } else { format!("[\"{of}\"]") };
            let categories: Vec<Text<'_>> = serde_json::from_str(&categories).expect("texts");
            let own = (own.0, own.1.iter().map(|of| (*of).into()).collect());
            let told = |blocked: &[Text<'_>], allowed: &[Text<'_>]| {
                let known = RefCell::default();
                let blocks = Blocks { cattax, categories: blocked, allowed, domains: &[], taxonomy, known };
                blocks.block_categories(&own)
            };
            (told(&categories, &[]), told(&[], &categories))
        };
        // what is blocked where these are, and where only these are allowed
        let (both, neither) = ((true, true), (false, false));
        let (blocked, allowed) = ((true, false), (false, true));
        let known = Some(&table);
        for (told, cattax, taxonomy, of, own) in [
            (both, 7, None, "52", (7, &["60"][..])),
            (both, 7, None, "52", (1, &["IAB1"])),
            (neither, 7, None, "", (7, &["60"])),
            (allowed, 7, None, "52", (7, &[])),
            (blocked, 7, known, "52", (7, &["54"])),
            (both, 7, known, "52", (7, &["60", "52"])),
            (allowed, 7, known, "54", (7, &["52"])),
            (allowed, 7, known, "52", (7, &["60"])),
            (both, 7, known, "52", (7, &["999"])),
            (allowed, 7, known, "999", (7, &["60"])),
            (blocked, 1, None, "IAB7", (1, &["IAB7-39"])),
            (both, 1, None, "IAB7", (1, &["IAB7-39", "IAB8"])),
            (allowed, 1, None, "IAB7", (1, &["IAB8"])),
        ] {
            assert_eq!(blocks(cattax, taxonomy, of, own), told, "{cattax} {of} {own:?}");
        }
    }

    #[test]
    fn parents_block_their_children() {
        assert!(is_part("IAB7-39", "IAB7") && is_part("iab7", "IAB7") && is_part("IAB7-39", "IAB7-39"));
        assert!(!is_part("IAB7", "IAB7-39") && !is_part("IAB17", "IAB1") && !is_part("IAB7", ""));
        assert!(is_under("shop.example", "shop.example") && is_under("a.Shop.example", "shop.EXAMPLE"));
        assert!(!is_under("myshop.example", "shop.example") && !is_under("example", "shop.example"));
        assert!(!is_under("shop.example", "") && is_under("shop.example", ".example"));
    }
}
