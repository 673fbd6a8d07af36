//! What exchanges do not want to see: advertisers, categories and attributes.

use super::request::{BidRequest, Int, Text};
use crate::domain::catalog::creative::Creative;

/// What a request blocks.
pub(super) struct Blocks<'a> {
    cattax: i64,
    categories: &'a [Text<'a>],
    domains: &'a [Text<'a>],
}

impl<'a> Blocks<'a> {
    pub(super) fn of(request: &'a BidRequest<'a>) -> Self {
        Self {
            cattax: request.cattax.map_or(1, |of| of.0),
            categories: request.bcat.as_deref().unwrap_or_default(),
            domains: request.badv.as_deref().unwrap_or_default(),
        }
    }

    /// Whether a creative is blocked here, or in an impression by its `attributes`.
    pub(super) fn block(&self, creative: &Creative, attributes: &[Int]) -> bool {
        let (cattax, categories) = &creative.categories;
        let same = i64::from(*cattax) == self.cattax;
        attributes.iter().any(|of| creative.attributes.iter().any(|own| i64::from(*own) == of.0))
            || self.domains.iter().any(|of| is_under(&creative.domain, of))
            || same && self.categories.iter().any(|of| categories.iter().any(|own| is_part(own, of)))
    }
}

/// Whether a domain is another or below it.
fn is_under(domain: &str, of: &str) -> bool {
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
    fn parents_block_their_children() {
        assert!(is_part("IAB7-39", "IAB7") && is_part("iab7", "IAB7") && is_part("IAB7-39", "IAB7-39"));
        assert!(!is_part("IAB7", "IAB7-39") && !is_part("IAB17", "IAB1") && !is_part("IAB7", ""));
        assert!(is_under("shop.example", "shop.example") && is_under("a.Shop.example", "shop.EXAMPLE"));
        assert!(!is_under("myshop.example", "shop.example") && !is_under("example", "shop.example"));
        assert!(!is_under("shop.example", "") && is_under("shop.example", ".example"));
    }
}
