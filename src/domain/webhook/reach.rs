//! Which addresses may be spoken to, so that nobody uses the service to reach what only it can.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far webhooks may reach. Link-local addresses, which clouds serve their machines' credentials
/// on, and those that belong to no single host are never spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The public internet, over TLS.
    #[default]
    Public,
    /// This machine as well, with or without TLS.
    Loopback,
    /// Private networks as well, with or without TLS.
    Private,
}

/// Where an address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    Public,
    Loopback,
    Private,
    Nowhere,
}

impl Reach {
    /// Whether an address may be spoken to; without TLS only on this machine and in private networks.
    #[must_use]
    pub fn admits(self, address: IpAddr, secure: bool) -> bool {
        match lies(address) {
            Lies::Public => secure,
            Lies::Loopback => self >= Self::Loopback,
            Lies::Private => self >= Self::Private,
            Lies::Nowhere => false,
        }
    }
}

fn lies(address: IpAddr) -> Lies {
    match address {
        IpAddr::V4(address) => lies_v4(address),
        IpAddr::V6(address) => lies_v6(address),
    }
}

/// The registry of special addresses (IANA, RFC 6890), and the metadata services of clouds.
fn lies_v4(address: Ipv4Addr) -> Lies {
    match address.octets() {
        [127, ..] => Lies::Loopback,
        [100, 100, 100, 200] => Lies::Nowhere,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Lies::Private,
        [0 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Lies::Nowhere,
        _ => Lies::Public,
    }
}

fn lies_v6(address: Ipv6Addr) -> Lies {
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        lies_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Lies::Loopback,
        // IPv4 written as IPv6, and behind a translator
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Lies::Nowhere,
        [0xfc00..=0xfdff, ..] => Lies::Private,
        // tunnels to IPv4, protocols and documentation within what is global
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => Lies::Nowhere,
        [0x2000..=0x3fff, ..] => Lies::Public,
        _ => Lies::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_within_reach_is_spoken_to() {
        let admitted = |text: &str| {
            let address: IpAddr = text.parse().expect("an address");
            let by =
                |secure| [Reach::Public, Reach::Loopback, Reach::Private].map(|reach| reach.admits(address, secure));
            (by(true), by(false))
        };
        for public in
            ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "198.20.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert_eq!(admitted(public), ([true; 3], [false; 3]), "{public}");
        }
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admitted(own), ([false, true, true], [false, true, true]), "{own}");
        }
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert_eq!(admitted(private), ([false, false, true], [false, false, true]), "{private}");
        }
        for never in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a9fe:a9fe",
            "::7f00:1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
            "4000::1",
        ] {
            assert_eq!(admitted(never), ([false; 3], [false; 3]), "{never}");
        }
    }
}
