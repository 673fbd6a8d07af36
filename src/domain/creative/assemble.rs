//! Puts the chosen values into a template: one pass over what was escaped beforehand.

use serde::Serialize;

use super::{
    escape,
    field::Builtin,
    html::{Condition, Node},
    prepared::{Item, Prepared},
    template::{Program, Template},
};

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

/// Appends the Native 1.2 answer that a `native` template makes of the values chosen for its slots,
/// in the order of [`Template::slots`]; a slot without one shows its default. `wrapper` puts it under
/// `native`, as some exchanges ask. Nothing for an `html` template.
///
/// The JSON holds no `<`, `>` or `&`, so that it is inert where a page prints it into a script.
pub fn assemble_native(
    template: &Template,
    chosen: &[&Prepared],
    dynamic: &Dynamic<'_>,
    wrapper: bool,
    out: &mut String,
) {
    let Program::Native(native) = &template.program else { return };
    out.push_str(if wrapper { "{\"native\":{\"ver\":\"1.2\",\"assets\":[" } else { "{\"ver\":\"1.2\",\"assets\":[" });
    let mut first = true;
    for asset in &native.assets {
        let prepared = chosen.get(asset.slot).copied().or_else(|| template.default_of(asset.slot));
        if let Some(json) = prepared.and_then(|prepared| prepared.places.get(asset.place)) {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            out.push_str(json);
        }
    }
    out.push_str("],\"link\":");
    escape::json(&Link { url: escape::link(dynamic.click_url) }, out);
    out.push_str(",\"eventtrackers\":");
    let trackers = [(1, dynamic.impression_url), (2, dynamic.view_url)].map(|(event, url)| EventTracker {
        event,
        method: 1,
        url: escape::link(url),
    });
    escape::json(&trackers, out);
    out.push_str(if wrapper { "}}" } else { "}" });
}

#[derive(Serialize)]
struct Link<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct EventTracker<'a> {
    /// 1 impression, 2 viewable (MRC, half of it for a second).
    event: u8,
    /// 1 a pixel.
    method: u8,
    url: &'a str,
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
