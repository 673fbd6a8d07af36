//! Whose network a request comes from.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use super::request::RequestInfo;

/// Whether the browser that sends a request objects to what it may be used for: Global Privacy Control, or the older
/// signal of its kind, which browsers still send.
pub(super) fn objects(headers: &HeaderMap) -> bool {
    ["sec-gpc", "dnt"].iter().any(|name| headers.get(*name).is_some_and(|signal| signal == "1"))
}

/// The networks whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Believes the proxies in `networks`.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The address of the client: the other end of the connection or, behind proxies that are
    /// believed, the last address of `X-Forwarded-For` that is not one of theirs. What a client
    /// writes into that header stands before it and is never reached.
    #[must_use]
    pub fn client(&self, info: &RequestInfo, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = info.peer?.ip().to_canonical();
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        while self.0.iter().any(|network| network.contains(&client)) {
            match hops.next().map(|hop| hop.trim().parse::<IpAddr>()) {
                Some(Ok(hop)) => client = hop.to_canonical(),
                Some(Err(_)) | None => break,
            }
        }
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::http::request::RequestId;

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| {
            headers.append("x-forwarded-for", line.parse().unwrap());
        });
        let now = Instant::now();
        let peer = Some(peer.parse().unwrap());
        let info = RequestInfo { id: RequestId::new(), trace: None, arrived: now, body_by: now, expires: now, peer };
        proxies.client(&info, &headers).unwrap().to_string()
    }

    #[test]
    fn only_proxies_that_are_believed_say_who_asks() {
        assert_eq!(client("203.0.113.7:1", &["198.51.100.1"]), "203.0.113.7", "anybody can write the header");
        assert_eq!(client("10.1.2.3:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("[::ffff:10.1.2.3]:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.1.2.3:1", &["192.0.2.9, 198.51.100.1, 10.0.0.9"]), "198.51.100.1", "spoofed first entry");
        assert_eq!(client("10.1.2.3:1", &["192.0.2.9", "198.51.100.1, 2001:db8::1"]), "198.51.100.1", "several lines");
        assert_eq!(client("10.1.2.3:1", &[]), "10.1.2.3");
        assert_eq!(client("10.1.2.3:1", &["192.0.2.9, unknown, 10.0.0.9"]), "10.0.0.9", "as far as it can be read");
    }
}
