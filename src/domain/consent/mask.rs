//! Addresses cut down to a network, before anything looks at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of an address: 24 bits of IPv4, 56 of IPv6. An IPv4 address written as IPv6 is one
/// of IPv4.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    keep(address, if address.is_ipv4() { 24 } else { 56 })
}

/// The first `bits` of an address, with zeros behind them.
#[must_use]
pub fn keep(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_keep_their_first_bits() {
        for (address, cut) in [
            ("198.51.100.200", "198.51.100.0"),
            ("255.255.255.255", "255.255.255.0"),
            ("::ffff:198.51.100.200", "198.51.100.0"),
            ("2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::"),
            ("::1", "::"),
        ] {
            let cut: IpAddr = cut.parse().expect("an address");
            assert_eq!(network(address.parse().expect("an address")), cut);
            assert_eq!(network(cut), cut, "twice is once");
        }
        let address: IpAddr = "198.51.100.200".parse().expect("an address");
        assert_eq!((keep(address, 0).to_string(), keep(address, 32)), ("0.0.0.0".to_owned(), address));
    }
}
