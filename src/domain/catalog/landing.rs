//! Where a click may lead: absolute http(s) addresses on the advertiser's own hosts.

use crate::domain::catalog::document::AdvertiserDoc;

/// The longest landing URL, in bytes.
pub const LONGEST: usize = 2_000;

/// Reads an address and gives its host in lower case.
///
/// Only printable ASCII passes, so that the address is a legal header value; no user info, so
/// that what looks like the host is the host.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(url: &str) -> Result<String, &'static str> {
    const SCHEME: &str = "must be an http or https URL";
    if url.is_empty() || url.len() > LONGEST {
        return Err("must be 1 to 2000 bytes long");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return Err("must be percent-encoded: no spaces, quotes, backslashes, angle or curly brackets");
    }
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        url.get(..scheme.len()).filter(|head| head.eq_ignore_ascii_case(scheme)).map(|_| &url[scheme.len()..])
    });
    let rest = rest.ok_or(SCHEME)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host,
        Some(_) => return Err("must have a host name and a port from 1 to 65535, without user info"),
        None => authority,
    };
    if valid_host(host) { Ok(host.to_ascii_lowercase()) } else { Err("must have a host name, without user info") }
}

/// Whether a text is a host name: labels of letters, digits and inner hyphens, joined by dots.
#[must_use]
pub fn valid_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// Whether clicks of an advertiser may lead to a host.
#[must_use]
pub fn allowed(advertiser: &AdvertiserDoc, host: &str) -> bool {
    hosts(advertiser).any(|own| {
        let own = own.to_ascii_lowercase();
        host == own || host.strip_suffix(&own).is_some_and(|rest| rest.ends_with('.'))
    })
}

/// Why they may not, in words for the author.
#[must_use]
pub fn refusal(advertiser: &AdvertiserDoc, host: &str) -> String {
    let known: Vec<_> = hosts(advertiser).collect();
    format!("{host} is none of the advertiser's landing hosts ({})", known.join(", "))
}

/// The hosts that clicks may lead to, with those below them.
pub fn hosts(advertiser: &AdvertiserDoc) -> impl Iterator<Item = &str> {
    let own = advertiser.landing_hosts.is_empty().then_some(advertiser.domain.as_str());
    advertiser.landing_hosts.iter().map(String::as_str).chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertiser(hosts: &[&str]) -> AdvertiserDoc {
        AdvertiserDoc {
            name: "A".into(),
            domain: "Shop.example".into(),
            landing_hosts: hosts.iter().map(|h| (*h).into()).collect(),
            categories: Vec::new(),
            cattax: 1,
        }
    }

    #[test]
    fn the_host_is_what_a_browser_would_visit() {
        assert_eq!(parse("https://Shop.example:8443/a?b=c#d").as_deref(), Ok("shop.example"));
        assert_eq!(parse("HTTP://shop.example").as_deref(), Ok("shop.example"));
        for bad in [
            "",
            "shop.example",
            "//shop.example",
            "ftp://shop.example",
            "javascript:alert(1)",
            "https://",
            "https:///path",
            "https://user@shop.example/",
            "https://shop.example@evil.example/",
            "https://evil.example\\@shop.example/",
            "https://shop.example:99999/",
            "https://shop.example:0/",
            "https://sh op.example/",
            "https://shop.example/\u{e4}",
            "https://shop..example/",
            "https://-a.example/",
            "https://[::1]/",
            "https://shop.example/\r\nX: y",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subdomains_belong_to_their_domain() {
        assert!(allowed(&advertiser(&[]), "shop.example"));
        assert!(allowed(&advertiser(&[]), "www.shop.example"));
        assert!(!allowed(&advertiser(&[]), "notshop.example"));
        assert!(!allowed(&advertiser(&["www.shop.example"]), "shop.example"));
    }
}
