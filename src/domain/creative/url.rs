//! Addresses that may stand in a creative, and the links that count clicks.

use std::{fmt, str::FromStr};

use crate::domain::values::parsed;

/// Macros that ad servers around us replace, beside those of the form `${NAME}`: they stand in
/// addresses as they are.
const MACROS: [&str; 4] = ["%%CLICK_URL_UNESC%%", "%%CLICK_URL_ESC%%", "%%CLICK_URL_ESC_ESC%%", "%%CACHEBUSTER%%"];

/// The ad servers' click macros, and how often what follows is escaped: a click URL takes the next
/// one as a parameter, and one that stands escaped in an outer address is unescaped on the way.
const CLICK_MACROS: [(&str, usize); 5] = [
    ("%%CLICK_URL_UNESC%%", 1),
    ("%%CLICK_URL_ESC%%", 2),
    ("%%CLICK_URL_ESC_ESC%%", 3),
    ("${CLICK_URL}", 1),
    ("${CLICK_URL_ENC}", 2),
];

/// The longest address, in bytes: what every browser and exchange still takes.
const LONGEST: usize = 2_048;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Anything but `http://` and `https://` at the beginning.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// No host, a user name, or letters that no host name has.
    #[error("must name a host such as shop.example, without a user name (international names in their xn-- form)")]
    Host,
    /// A character that belongs in no address.
    #[error("must not hold spaces, control characters or backslashes")]
    Character,
    /// More than 2,048 bytes.
    #[error("must be at most {LONGEST} bytes long")]
    Length,
    /// Neither a known macro nor an address.
    #[error(
        "must be an ad server's click macro (%%CLICK_URL_UNESC%%, %%CLICK_URL_ESC%%, %%CLICK_URL_ESC_ESC%%, \
         ${{CLICK_URL}}, ${{CLICK_URL_ENC}}) or an http(s) address to which the click URL is appended"
    )]
    Macro,
}

/// An absolute `http` or `https` address, percent-encoded with upper-case hex so that an ad
/// server's macros (`%` and lower-case letters) cannot arise in it by chance.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebUrl(Box<str>);

impl WebUrl {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host in lower case, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = authority(&self.0).unwrap_or("");
        host_and_port(authority).map_or("", |(host, _)| host)
    }
}

impl FromStr for WebUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > LONGEST {
            return Err(UrlError::Length);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\' || is_bidi(c)) {
            return Err(UrlError::Character);
        }
        let authority = authority(text).ok_or(UrlError::Scheme)?;
        host_and_port(authority).ok_or(UrlError::Host)?;
        let head = text.len() - text.split_once("://").map_or(0, |(_, rest)| rest.len()) + authority.len();
        let mut url = text[..head].to_ascii_lowercase();
        normalise(&text[head..], &mut url);
        if url.len() > LONGEST { Err(UrlError::Length) } else { Ok(Self(url.into())) }
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({self})")
    }
}

/// Where an ad server wants clicks to pass: its own click URL stands before ours.
///
/// ```
/// use tessera::domain::creative::ClickMacro;
/// let gam: ClickMacro = "%%CLICK_URL_UNESC%%".parse()?;
/// assert_eq!(gam.link("https://t.example/c"), "%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fc");
/// assert!("javascript:alert(1)//".parse::<ClickMacro>().is_err());
/// # Ok::<(), tessera::domain::creative::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct ClickMacro(Box<str>);

impl<'de> serde::Deserialize<'de> for ClickMacro {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed(from)
    }
}

impl ClickMacro {
    /// What stands behind a click macro at the beginning of an address, or all of it.
    #[must_use]
    pub fn behind(address: &str) -> &str {
        CLICK_MACROS.iter().find_map(|(known, _)| address.strip_prefix(known)).unwrap_or(address)
    }

    /// The link to write into an `href`: the macro and the percent-encoded `click_url`; encoded once
    /// more behind a macro that is itself encoded, and twice more behind one that is so twice.
    #[must_use]
    pub fn link(&self, click_url: &str) -> String {
        let times = CLICK_MACROS.iter().find(|(known, _)| self.0.ends_with(known)).map_or(1, |(_, times)| *times);
        let escaped = (0..times).fold(click_url.to_owned(), |inner, _| {
            let mut outer = String::with_capacity(2 * inner.len());
            percent_encode(&inner, &mut outer);
            outer
        });
        format!("{}{escaped}", self.0)
    }

    /// The macro as it stands within the query of another address: the encoded one of its server, or
    /// the prefix percent-encoded.
    #[must_use]
    pub fn encoded(&self) -> String {
        match &*self.0 {
            "%%CLICK_URL_UNESC%%" => "%%CLICK_URL_ESC%%".to_owned(),
            "${CLICK_URL}" => "${CLICK_URL_ENC}".to_owned(),
            own if CLICK_MACROS.iter().any(|(known, _)| *known == own) => own.to_owned(),
            prefix => {
                let mut out = String::with_capacity(2 * prefix.len());
                percent_encode(prefix, &mut out);
                out
            }
        }
    }
}

impl FromStr for ClickMacro {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if CLICK_MACROS.iter().any(|(known, _)| *known == text) {
            return Ok(Self(text.into()));
        }
        text.parse::<WebUrl>().map(|prefix| Self(prefix.0)).map_err(|_| UrlError::Macro)
    }
}

/// The macro that a text begins with: one of [`MACROS`], or the name of one of OpenRTB's, IAB
/// Europe's or an ad server's between `${` and `}`, such as `${AUCTION_PRICE:B64}`.
fn leading_macro(text: &str) -> Option<&str> {
    if let Some(known) = MACROS.iter().find(|known| text.starts_with(**known)) {
        return Some(known);
    }
    let name = text.strip_prefix("${")?;
    let end = name.find('}').filter(|end| (1..=40).contains(end))?;
    let sound = name[..end].bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_:".contains(&b));
    sound.then(|| &text[..end + 3])
}

/// Whether a link may be followed: `http(s)`, our own assets, or an ad server's click macro.
pub(super) fn is_safe(url: &str) -> bool {
    let head = |prefix: &str| url.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    head("https://")
        || head("http://")
        || url.starts_with("/v1/assets/")
        || CLICK_MACROS.iter().any(|(known, _)| url.starts_with(known))
}

/// Unicode's `Bidi_Control` characters, which can make a text read as another.
#[must_use]
pub fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes every byte but RFC 3986's unreserved ones as `%XX`.
pub fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => percent(byte, out),
        }
    }
}

/// Writes one byte as `%XX`.
pub(super) fn percent(byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
}

/// What stands between `://` and the path, when the scheme is `http` or `https`.
fn authority(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    web.then(|| rest.split(['/', '?', '#']).next().unwrap_or(""))
}

fn host_and_port(authority: &str) -> Option<(&str, &str)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let numeric = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let numeric = numeric.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok());
    let host_fits = !host.is_empty() && !host.starts_with('.') && !host.contains("..") && host.len() <= 260;
    (host_fits && (named || numeric) && port_fits).then_some((host, port))
}

/// Percent-encodes what may not stand in an address and nothing else; escapes that are there stay,
/// in upper case, and so do the ad servers' macros.
fn normalise(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let used = if let Some(known) = leading_macro(rest) {
            out.push_str(known);
            known.len()
        } else if first == '%' && bytes.len() > 2 && bytes[1].is_ascii_hexdigit() && bytes[2].is_ascii_hexdigit() {
            out.push_str(&rest[..3].to_ascii_uppercase());
            3
        } else if first.is_ascii_alphanumeric() || "-._~:/?#[]@!$&()*+,;=".contains(first) {
            out.push(first);
            1
        } else {
            let end = first.len_utf8();
            rest[..end].bytes().for_each(|byte| percent(byte, out));
            end
        };
        rest = &rest[used..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for (text, url) in [
            ("HTTPS://Shop.Example/A b".replace(' ', "%20").as_str(), "https://shop.example/A%20b"),
            ("https://x.example/ü\"<'{|", "https://x.example/%C3%BC%22%3C%27%7B%7C"),
            ("https://x.example/%2f%zz%", "https://x.example/%2F%25zz%25"),
            (
                "https://x.example?r=%%CACHEBUSTER%%&c=${CLICK_URL_ENC}",
                "https://x.example?r=%%CACHEBUSTER%%&c=${CLICK_URL_ENC}",
            ),
        ] {
            let parsed: WebUrl = text.parse().expect(text);
            assert_eq!(parsed.as_str(), url);
            assert_eq!(parsed.as_str().parse::<WebUrl>().expect(url), parsed, "normalising twice changes nothing");
        }
        assert_eq!("https://Shop.Example:8443/x".parse::<WebUrl>().expect("a url").host(), "shop.example");
        assert_eq!("http://[::1]:80/".parse::<WebUrl>().expect("a url").host(), "[::1]");
    }

    #[test]
    fn other_schemes_and_disguises_are_refused() {
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt://x.example/%0aalert(1)",
            "data:text/html,x",
            "vbscript:x",
            "//x.example/",
            "/x",
            "https:x.example",
            "https:///x",
            "https://user@x.example/",
            "https://x.example:99999/",
            "https://x.example:x/",
            " https://x.example",
            "https://x.example/a b",
            "https://x.example\\@y.example/",
            "https://x.example/\u{202e}",
            "java\tscript:x",
            "https://ü.example/",
            "https://",
            "https://.",
            "https://a..b/",
            "https://x.example/\0",
            "",
        ] {
            assert!(bad.parse::<WebUrl>().is_err(), "{bad:?}");
        }
        assert_eq!(format!("https://x.example/{}", "a".repeat(2_048)).parse::<WebUrl>(), Err(UrlError::Length));
        assert_eq!(format!("https://x.example/{}", "ü".repeat(1_000)).parse::<WebUrl>(), Err(UrlError::Length));
    }

    #[test]
    fn click_macros_come_first_and_ours_is_encoded() {
        let link = |text: &str| text.parse::<ClickMacro>().expect(text).link("https://t.example/v1/c/a_b-c?x=1");
        assert_eq!(link("${CLICK_URL}"), "${CLICK_URL}https%3A%2F%2Ft.example%2Fv1%2Fc%2Fa_b-c%3Fx%3D1");
        assert_eq!(
            link("https://ad.example/c?m=${CLICK_URL_ENC}&u="),
            "https://ad.example/c?m=${CLICK_URL_ENC}&u=https%3A%2F%2Ft.example%2Fv1%2Fc%2Fa_b-c%3Fx%3D1"
        );
        let link = |text: &str| text.parse::<ClickMacro>().expect(text).link("https://t.example/c?x=1");
        let (twice, thrice) = (
            "https%253A%252F%252Ft.example%252Fc%253Fx%253D1",
            "https%25253A%25252F%25252Ft.example%25252Fc%25253Fx%25253D1",
        );
        assert_eq!(link("%%CLICK_URL_ESC%%"), format!("%%CLICK_URL_ESC%%{twice}"));
        assert_eq!(link("${CLICK_URL_ENC}"), format!("${{CLICK_URL_ENC}}{twice}"));
        assert_eq!(link("%%CLICK_URL_ESC_ESC%%"), format!("%%CLICK_URL_ESC_ESC%%{thrice}"));
        let outer = "https://ad.example/c?u=%%CLICK_URL_ESC%%";
        assert_eq!(link(outer), format!("{outer}{twice}"), "the macro ends an address of the caller's own");
        for bad in ["javascript:%%CLICK_URL_UNESC%%", "%%CLICK_URL%%", "%%CLICK_URL_UNESC%%\"onclick=", "", "x"] {
            assert!(bad.parse::<ClickMacro>().is_err(), "{bad}");
        }
    }
}
