//! Where deliveries go.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::reach::Reach;
use crate::domain::values::parsed;

/// Why a text is no address to deliver to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another scheme.
    #[error("must begin with https://")]
    Scheme,
    /// No host, a user name, a bad port, or letters that no host name has.
    #[error("must name a host such as hooks.example, without a user name (international names in their xn-- form)")]
    Host,
    /// A character that belongs in no address, or a fragment.
    #[error("must hold only the characters of an address, without a fragment")]
    Character,
    /// More than 2,048 bytes.
    #[error("must be at most 2048 bytes long")]
    Length,
}

/// An `http` or `https` address that deliveries are posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Arc<str>,
    /// Of `url`: where what stands between `://` and the path ends.
    authority: std::ops::Range<usize>,
    port: Option<u16>,
}

impl Target {
    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("https")
    }

    /// Host and port as the address has them: the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[self.authority.clone()]
    }

    /// The host: a name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => authority.split(':').next().unwrap_or(authority),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        match &self.url[self.authority.end..] {
            path if path.starts_with('/') => path.into(),
            query => format!("/{query}").into(),
        }
    }

    /// What can be said of it before its name is looked up; then each address is asked for again.
    ///
    /// # Errors
    /// In words, when it lies out of reach.
    pub fn check(&self, reach: Reach) -> Result<(), &'static str> {
        if !self.is_secure() && reach < Reach::Loopback {
            return Err("must begin with https://");
        }
        match self.host().parse::<IpAddr>() {
            Ok(address) if !reach.admits(address, self.is_secure()) => {
                Err("must not lead to this machine or into a private network")
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > 2_048 {
            return Err(TargetError::Length);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b)) {
            return Err(TargetError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return Err(TargetError::Scheme);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let port = port(authority).ok_or(TargetError::Host)?;
        let start = scheme.len() + 3;
        let url = format!("{scheme}://{}{path}", authority.to_ascii_lowercase());
        Ok(Self { url: url.into(), authority: start..start + authority.len(), port })
    }
}

/// The port that an authority names, if any; `None` where it is no authority.
fn port(authority: &str) -> Option<Option<u16>> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => {
            rest[..rest.find(']')?].parse::<std::net::Ipv6Addr>().ok()?;
            authority.find(']')? + 1
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        inner && (1..=63).contains(&label.len())
    };
    // a name may end in a dot: that of the root
    let named = host.strip_suffix('.').unwrap_or(host).split('.').all(label) && host.len() <= 253;
    if !host.starts_with('[') && !named {
        return None;
    }
    match port.strip_prefix(':') {
        None => port.is_empty().then_some(None),
        Some(digits) => {
            let number = digits.parse::<u16>().ok().filter(|port| *port > 0);
            number.filter(|_| digits.bytes().all(|b| b.is_ascii_digit())).map(Some)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.url)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed(from)
    }
}

impl PartialSchema for Target {
    fn schema() -> RefOr<Schema> {
        let words = "An https address; http only to addresses that the operators allow.";
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[Hh][Tt][Tt][Pp][Ss]?://"));
        schema.max_length(Some(2_048)).description(Some(words)).build().into()
    }
}

impl ToSchema for Target {
    fn name() -> Cow<'static, str> {
        "WebhookUrl".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_is_taken_apart() {
        let one = target("HTTPS://Hooks.Example:8443/In?x=1");
        assert_eq!(one.as_str(), "https://hooks.example:8443/In?x=1");
        assert_eq!((one.host(), one.port(), one.authority()), ("hooks.example", 8443, "hooks.example:8443"));
        assert_eq!((one.path().as_ref(), one.is_secure()), ("/In?x=1", true));
        let six = target("http://[::1]?a");
        assert_eq!((six.host(), six.port(), six.path().as_ref()), ("::1", 80, "/?a"));
        assert_eq!((target("https://a.example").path().as_ref(), target("https://a.example").port()), ("/", 443));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("ftp://a.example", TargetError::Scheme),
            ("a.example", TargetError::Scheme),
            ("https://", TargetError::Host),
            ("https:///x", TargetError::Host),
            ("https://user@a.example", TargetError::Host),
            ("https://user:pass@a.example", TargetError::Host),
            ("https://a..example", TargetError::Host),
            ("https://a.example:0", TargetError::Host),
            ("https://a.example:+5", TargetError::Host),
            ("https://a.example:99999", TargetError::Host),
            ("https://[::1", TargetError::Host),
            ("https://[1.2.3.4]", TargetError::Host),
            ("https://a.example\\@b.example", TargetError::Character),
            ("https://a.example/ x", TargetError::Character),
            ("https://a.example/\r\nx: y", TargetError::Character),
            ("https://a.example/#x", TargetError::Character),
            ("https://bücher.example", TargetError::Character),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
        let long = format!("https://a.example/{}", "x".repeat(2_048));
        assert_eq!(long.parse::<Target>(), Err(TargetError::Length));
    }

    #[test]
    fn what_can_be_told_without_a_look_up_is() {
        let reaches = |text: &str| {
            [Reach::Public, Reach::Loopback, Reach::Private].map(|reach| target(text).check(reach).is_ok())
        };
        assert_eq!(reaches("https://a.example"), [true; 3]);
        assert_eq!(reaches("http://a.example"), [false, true, true], "where its name leads is seen later");
        assert_eq!(reaches("http://127.0.0.1:9000"), [false, true, true]);
        assert_eq!(reaches("https://[::1]/"), [false, true, true]);
        assert_eq!(reaches("https://10.1.2.3/"), [false, false, true]);
        assert_eq!(reaches("https://169.254.169.254/latest"), [false; 3]);
        assert_eq!(reaches("http://8.8.8.8/"), [false; 3]);
    }
}
