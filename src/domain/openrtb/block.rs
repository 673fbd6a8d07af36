//! What exchanges do not want to see: advertisers, categories and attributes.

use super::{
    request::{BidRequest, Text},
    settings::{Settings, Taxonomy},
};
use crate::domain::catalog::creative::Creative;

/// What a request blocks.
pub(super) struct Blocks<'a> {
    cattax: i64,
    categories: &'a [Text<'a>],
    domains: &'a [Text<'a>],
    /// The taxonomy of the categories, where it is known.
    taxonomy: Option<&'a Taxonomy>,
}

impl<'a> Blocks<'a> {
    pub(super) fn of(request: &'a BidRequest<'a>, settings: &'a Settings) -> Self {
        let cattax = request.cattax.map_or(CONTENT_1, |of| of.0);
        Self {
            cattax,
            categories: request.bcat.as_deref().unwrap_or_default(),
            domains: request.badv.as_deref().unwrap_or_default(),
            taxonomy: settings.taxonomies.get(&cattax),
        }
    }

    /// Whether a creative is blocked.
    pub(super) fn block(&self, creative: &Creative) -> bool {
        self.domains.iter().any(|of| is_under(&creative.domain, of)) || self.block_categories(&creative.categories)
    }

    /// Whether categories are blocked, which they are too where nobody can tell: those of another taxonomy
    /// cannot be compared, and the numbers of newer ones do not say what they are part of.
    fn block_categories(&self, (cattax, categories): &(u16, Vec<Box<str>>)) -> bool {
        if self.categories.is_empty() || categories.is_empty() {
            return false;
        }
        if i64::from(*cattax) != self.cattax {
            return true;
        }
        match self.taxonomy {
            _ if self.cattax == CONTENT_1 => {
                self.categories.iter().any(|of| categories.iter().any(|own| is_part(own, of)))
            }
            Some(taxonomy) => categories
                .iter()
                .any(|own| !taxonomy.knows(own) || self.categories.iter().any(|of| taxonomy.is_within(own, of))),
            None => true,
        }
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
            Blocks { cattax, categories: &categories, domains: &[], taxonomy }.block_categories(&own)
        };
        assert!(blocks(7, None, "52", (7, &["60"])) && blocks(7, None, "52", (1, &["IAB1"])));
        assert!(!blocks(7, None, "", (7, &["60"])) && !blocks(7, None, "52", (7, &[])));
        let known = Some(&table);
        assert!(blocks(7, known, "52", (7, &["54"])) && blocks(7, known, "52", (7, &["60", "52"])));
        assert!(!blocks(7, known, "54", (7, &["52"])) && !blocks(7, known, "52", (7, &["60"])));
        assert!(blocks(7, known, "52", (7, &["999"])) && !blocks(7, known, "999", (7, &["60"])));
        assert!(blocks(1, None, "IAB7", (1, &["IAB7-39"])) && !blocks(1, None, "IAB7", (1, &["IAB8"])));
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
