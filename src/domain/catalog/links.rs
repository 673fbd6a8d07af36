//! Links of a creative that do not go through its click URL: their hosts must be the advertiser's too.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    creative::{Creative, Variant},
    document::{AdvertiserDoc, RevisionDoc},
    landing,
};
use crate::domain::{
    creative::{ClickMacro, WebUrl},
    violation::{Violation, Violations, token},
};

/// Links that lead to a host that is none of the advertiser's: those written out in the markup of
/// templates, and the values of slots that are addresses of links. What a feed's products link to is
/// checked when they are read.
#[must_use]
pub fn refused(creative: &Creative, doc: &RevisionDoc, advertiser: &AdvertiserDoc) -> Vec<Violation> {
    let (mut found, mut told) = (Violations::new(), BTreeSet::new());
    for variant in creative.variants.iter() {
        let template = format!("/templates/{}", token(variant.id.as_str()));
        for (pointer, detail) in written(variant, advertiser) {
            found.push(format!("{template}{pointer}"), "landing_host_not_allowed", detail);
        }
        for (_, place) in variant.places.iter().enumerate().filter(|(at, _)| variant.template.follows(*at)) {
            let slot = &creative.slots[place.slot];
            let default = doc.templates.get(&variant.id).and_then(|doc| doc.slots.get(&slot.name));
            let default = default
                .map(|default| (format!("{template}/slots/{}/default", token(slot.name.as_str())), &default.default));
            let components = slot.candidates.iter().filter_map(|of| {
                let id = &creative.components[*of as usize].id;
                Some((format!("/components/{}/value", token(id.as_str())), &doc.components.get(id)?.value))
            });
            for (pointer, value) in default.into_iter().chain(components) {
                for (within, detail) in strange(value, advertiser) {
                    let pointer = format!("{pointer}{within}");
                    if told.insert(pointer.clone()) {
                        found.push(pointer, "landing_host_not_allowed", detail);
                    }
                }
            }
        }
    }
    found.into_vec()
}

/// The same of what one combination shows, as its author sees it: the value of each place.
#[must_use]
pub fn lint(variant: &Variant, shown: &[Value], advertiser: &AdvertiserDoc) -> Vec<Violation> {
    let values = shown.iter().enumerate().filter(|(at, _)| variant.template.follows(*at));
    let values = values.flat_map(|(_, value)| strange(value, advertiser));
    let all = written(variant, advertiser).chain(values);
    all.map(|(_, detail)| Violation::new("/markup", "landing_host", detail)).collect()
}

/// Links written out in the markup that lead elsewhere: pointers into the template, and why.
fn written(variant: &Variant, advertiser: &AdvertiserDoc) -> impl Iterator<Item = (String, String)> {
    variant.template.links().filter_map(|(pointer, at, address)| {
        let host = host(address).filter(|host| !landing::allowed(advertiser, host))?;
        Some((pointer, format!("{at}: {}", landing::refusal(advertiser, &host))))
    })
}

/// Addresses in a value, of a `url` or a `product` slot, that lead elsewhere: pointers into it, and why.
fn strange(value: &Value, advertiser: &AdvertiserDoc) -> Vec<(String, String)> {
    let products = value.as_array().into_iter().flatten().enumerate();
    let links = products.filter_map(|(at, product)| Some((format!("/{at}/link"), product.get("link")?.as_str()?)));
    let all = value.as_str().map(|url| (String::new(), url)).into_iter().chain(links);
    let refused = all.filter_map(|(pointer, url)| {
        let url: WebUrl = url.parse().ok()?;
        (!landing::allowed(advertiser, url.host())).then(|| (pointer, landing::refusal(advertiser, url.host())))
    });
    refused.collect()
}

/// The host that a browser would go to from an address in markup, of which only the beginning may be
/// given; none for paths, mail and telephones. An ad server's macro before it does not hide it.
fn host(address: &str) -> Option<String> {
    // what browsers leave out and put right (WHATWG URL, "basic URL parser")
    let plain = |text: &str| -> String {
        let text = text.trim_start_matches(|c: char| c <= ' ');
        text.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).map(|c| if c == '\\' { '/' } else { c }).collect()
    };
    let mut text = plain(ClickMacro::behind(&plain(address)));
    while !text.contains("://") && text.contains("%25") {
        text = text.replace("%25", "%");
    }
    let lower = text.to_ascii_lowercase().replace("%3a", ":").replace("%2f", "/");
    let web = ["https:", "http:"].iter().find_map(|scheme| lower.strip_prefix(scheme));
    let rest = match web {
        Some(rest) => rest.trim_start_matches('/'),
        None => lower.strip_prefix("//")?,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?.trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_one_that_a_browser_goes_to() {
        for (address, expected) in [
            ("https://Shop.example/a", Some("shop.example")),
            (" ht\ntps:\\\\shop.example:8080\\x", Some("shop.example")),
            ("https:shop.example", Some("shop.example")),
            ("https://good.example@shop.example?x", Some("shop.example")),
            ("//shop.example.", Some("shop.example")),
            ("%%CLICK_URL_UNESC%%https://shop.example/", Some("shop.example")),
            ("${CLICK_URL}https%3A%2F%2Fshop.example%2Fx", Some("shop.example")),
            ("%%CLICK_URL_ESC%%https%253A%252F%252Fshop.example%252F", Some("shop.example")),
            ("/v1/x", None),
            ("#top", None),
            ("mailto:a@shop.example", None),
            ("tel:+49", None),
            ("", None),
        ] {
            assert_eq!(host(address).as_deref(), expected, "{address}");
        }
    }
}
