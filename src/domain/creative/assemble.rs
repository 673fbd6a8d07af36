//! Puts the chosen values into a template: one pass over what was escaped beforehand.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    escape,
    field::Builtin,
    html::{Condition, Html, Node},
    native_request::NativeRequest,
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

/// Appends a companion of a video; `parts` are the values of all slots as this companion shows them.
pub(super) fn assemble_companion(
    template: &Template,
    html: &Html,
    parts: &[&Prepared],
    dynamic: &Dynamic<'_>,
    out: &mut String,
) {
    out.reserve(html.literals * 2);
    Assembly { template, chosen: parts, dynamic, out }.nodes(&html.nodes, None);
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
            out.push_str(&format!("{{\"id\":{},{}", asset.id, &json[1..]));
        }
    }
    out.push(']');
    let both = [(1, false, dynamic.impression_url), (2, false, dynamic.view_url)];
    write_tail(dynamic, "eventtrackers", &both, out);
    if wrapper {
        out.push('}');
    }
}

/// Appends the answer to `wanted` that a `native` template makes of the values chosen for its
/// slots; false, and nothing, where it lacks a required asset within its bounds, or has none at all.
pub fn assemble_native_for(
    template: &Template,
    chosen: &[&Prepared],
    dynamic: &Dynamic<'_>,
    wanted: &NativeRequest,
    out: &mut String,
) -> bool {
    let Program::Native(native) = &template.program else { return false };
    let start = out.len();
    out.push_str(if wanted.wrapped {
        "{\"native\":{\"ver\":\"1.2\",\"assets\":["
    } else {
        "{\"ver\":\"1.2\",\"assets\":["
    });
    let mut first = true;
    for asset in &wanted.assets {
        let json = native.fills(&asset.kind).find_map(|own| {
            let prepared = chosen.get(own.slot).copied().or_else(|| template.default_of(own.slot))?;
            prepared.places.get(own.place).filter(|json| asset.kind.fits(json))
        });
        match json {
            Some(json) => {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                out.push_str(&format!("{{\"id\":{},{}", asset.id, &json[1..]));
            }
            None if asset.required => {
                out.truncate(start);
                return false;
            }
            None => {}
        }
    }
    if first {
        out.truncate(start);
        return false;
    }
    out.push(']');
    native_tail(dynamic, wanted, out);
    if wanted.wrapped {
        out.push('}');
    }
    true
}

/// Appends the link and those trackers that `wanted` takes, and closes the answer.
fn native_tail(dynamic: &Dynamic<'_>, wanted: &NativeRequest, out: &mut String) {
    let impression = (1, false, dynamic.impression_url);
    if !wanted.event_trackers {
        return write_tail(dynamic, "imptrackers", &[impression], out);
    }
    // where both are taken, a pixel asks less of the page
    let offered = [
        (wanted.impression_pixel, impression),
        (wanted.impression_script && !wanted.impression_pixel, (1, true, dynamic.impression_url)),
        (wanted.view_pixel, (2, false, dynamic.view_url)),
        (wanted.view_script && !wanted.view_pixel, (2, true, dynamic.view_url)),
    ];
    let offered: Vec<_> = offered.into_iter().filter_map(|(takes, tracker)| takes.then_some(tracker)).collect();
    write_tail(dynamic, "eventtrackers", &offered, out);
}

/// Trackers are the event, whether it is told by a script, and the address.
fn write_tail(dynamic: &Dynamic<'_>, name: &str, trackers: &[(u8, bool, &str)], out: &mut String) {
    out.push_str(",\"link\":");
    escape::json(&Link { url: escape::link(dynamic.click_url) }, out);
    out.push_str(&format!(",\"{name}\":"));
    if name == "imptrackers" {
        escape::json(&trackers.iter().map(|(.., url)| escape::link(url)).collect::<Vec<_>>(), out);
    } else {
        let trackers = trackers.iter().map(|(event, script, url)| EventTracker {
            event: *event,
            method: if *script { 2 } else { 1 },
            url: if *script { format!("{url}?js=1").into() } else { escape::link(url).into() },
        });
        escape::json(&trackers.collect::<Vec<_>>(), out);
    }
    out.push('}');
}

#[derive(Serialize)]
struct Link<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct EventTracker<'a> {
    /// 1 impression, 2 viewable (MRC, half of it for a second).
    event: u8,
    /// 1 a pixel, 2 a script.
    method: u8,
    url: Cow<'a, str>,
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
                        Condition::Has(part) => item.is_some_and(|item| item.has[*part as usize]),
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
