//! Puts the chosen values into a template: one pass over what was escaped beforehand.

use super::{
    escape,
    field::Builtin,
    html::{Condition, Node},
    template::{Program, Template},
};

/// A value escaped for every place in which its slot stands in one template. Made by
/// [`Template::prepare`]; belongs to that template and slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Whether there is a value.
    pub(super) present: bool,
    pub(super) places: Box<[Box<str>]>,
    pub(super) items: Box<[Item]>,
}

/// A product escaped for every place in its loop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) price: bool,
    pub(super) sale_price: bool,
    pub(super) places: Box<[Box<str>]>,
}

/// What every decision fills in itself.
#[derive(Debug, Clone, Copy)]
pub struct Dynamic<'a> {
    /// The link that counts a click and leads to the landing page: our signed click URL, behind the
    /// ad server's macro where there is one ([`super::ClickMacro::link`]).
    pub click_url: &'a str,
    /// The signed URL of the impression pixel.
    pub impression_url: &'a str,
    /// The signed URL of the viewable pixel.
    pub view_url: &'a str,
    /// The landing page itself.
    pub landing_url: &'a str,
    /// The item's decision id.
    pub decision_id: &'a str,
    /// Anything that differs from decision to decision.
    pub cachebuster: &'a str,
}

impl Dynamic<'_> {
    pub(super) fn get(&self, builtin: Builtin) -> &str {
        match builtin {
            Builtin::ClickUrl => self.click_url,
            Builtin::ImpressionUrl => self.impression_url,
            Builtin::ViewUrl => self.view_url,
            Builtin::LandingUrl => self.landing_url,
            Builtin::DecisionId => self.decision_id,
            Builtin::Cachebuster => self.cachebuster,
        }
    }
}

/// Appends the document that an `html` template makes of the values chosen for its slots, in the
/// order of [`Template::slots`]; a slot without one shows its default. Nothing for a `native`
/// template.
pub fn assemble_html(template: &Template, chosen: &[&Prepared], dynamic: &Dynamic<'_>, out: &mut String) {
    let Program::Html(html) = &template.program else { return };
    out.reserve(html.literals * 2);
    Assembly { template, chosen, dynamic, out }.nodes(&html.nodes, None);
}

struct Assembly<'a, 'o> {
    template: &'a Template,
    chosen: &'a [&'a Prepared],
    dynamic: &'a Dynamic<'a>,
    out: &'o mut String,
}

impl<'a> Assembly<'a, '_> {
    fn prepared(&self, slot: u16) -> Option<&'a Prepared> {
        let slot = usize::from(slot);
        self.chosen.get(slot).copied().or_else(|| self.template.default_of(slot))
    }

    fn nodes(&mut self, nodes: &[Node], item: Option<&Item>) {
        for node in nodes {
            match node {
                Node::Literal(text) => self.out.push_str(text),
                Node::Slot(slot, place) => {
                    let text = self.prepared(*slot).and_then(|value| value.places.get(usize::from(*place)));
                    self.out.push_str(text.map_or("", |text| text));
                }
                Node::Item(place) => {
                    let text = item.and_then(|item| item.places.get(usize::from(*place)));
                    self.out.push_str(text.map_or("", |text| text));
                }
                Node::Builtin(builtin, escaper) => escape::push(*escaper, self.dynamic.get(*builtin), self.out),
                Node::If(condition, yes, no) => {
                    let holds = match condition {
                        Condition::Slot(slot) => self.prepared(*slot).is_some_and(|value| value.present),
                        Condition::Price => item.is_some_and(|item| item.price),
                        Condition::SalePrice => item.is_some_and(|item| item.sale_price),
                    };
                    self.nodes(if holds { yes } else { no }, item);
                }
                Node::Each(slot, body) => {
                    for item in self.prepared(*slot).map_or(&[][..], |value| &value.items) {
                        self.nodes(body, Some(item));
                    }
                }
            }
        }
    }
}
