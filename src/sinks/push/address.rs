//! Addresses of push services, which a browser names: public ones alone, so
//! that nobody has the server send requests into its own network (SSRF).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Longest URL; those of the services in use have less than half.
pub(super) const LONGEST_ENDPOINT: usize = 2048;

/// Reason an endpoint is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("endpoint must be a URL of at most {LONGEST_ENDPOINT} characters")]
    NotUrl,
    #[error("endpoint must be an https:// URL without user and password")]
    Scheme,
    #[error(
        "endpoint must be on a public host; name a push service of your own network in [push] services"
    )]
    Private,
}

/// Checks the URL of a browser's subscription. `services` are hosts, with a
/// port if it is not 443, which may be private, and on this machine without
/// TLS.
pub(super) fn endpoint(text: &str, services: &[String]) -> Result<Url, EndpointError> {
    if text.len() > LONGEST_ENDPOINT {
        return Err(EndpointError::NotUrl);
    }
    let url = Url::parse(text).map_err(|_| EndpointError::NotUrl)?;
    let listed = is_listed(&url, services);
    let scheme = match url.scheme() {
        "https" => true,
        "http" => listed && watchtower_base::url::is_loopback(&url),
        _ => false,
    };
    if !scheme || !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::Scheme);
    }
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        // Its addresses are checked when they are used.
        Some(Host::Domain(_)) => !watchtower_base::url::is_loopback(&url),
        None => return Err(EndpointError::NotUrl),
    };
    match public || listed {
        true => Ok(url),
        false => Err(EndpointError::Private),
    }
}

/// True if the host of a URL is one of these.
pub(super) fn is_listed(url: &Url, services: &[String]) -> bool {
    let host = url.host_str().unwrap_or_default();
    let named = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    services.iter().any(|one| one.eq_ignore_ascii_case(&named))
}

/// Resolver that knows the public addresses of a name only.
#[derive(Debug)]
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|one| is_public(one.ip())).collect();
            if public.is_empty() {
                return Err("host has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// True for an address that is reached over the Internet (IANA's registries of
/// special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let parts = address.segments();
            let within = |high: u16, low: u16| {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_public_v4(Ipv4Addr::new(a, b, c, d))
            };
            match parts {
                // NAT64 and 6to4 lead to an IPv4 address.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
                [0x2002, high, low, ..] => within(high, low),
                _ => is_global_v6(address),
            }
        }
    }
}

/// Global unicast is 2000::/3, less documentation and Teredo.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    parts[0] & 0xe000 == 0x2000
        && parts[..2] != [0x2001, 0xdb8]
        && parts[..2] != [0x2001, 0]
        && parts[0] != 0x3fff
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol = [a, b, c] == [192, 0, 0];
    let benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || shared
        || protocol
        || benchmark
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_others() {
        for (text, expected) in [
            ("8.8.8.8", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("2600:1901:0:38d7::", true),
            ("64:ff9b::8.8.8.8", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.31.255.255", false),
            ("192.168.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.19.0.1", false),
            ("192.0.0.8", false),
            ("203.0.113.5", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("64:ff9b::10.0.0.1", false),
            ("2002:a00:1::", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn endpoints_are_https_and_public_unless_listed() {
        use EndpointError::{NotUrl, Private, Scheme};
        let services = ["127.0.0.1:9000", "ntfy.lan", "[::1]:9000"].map(str::to_owned);
        for (text, expected) in [
            ("https://fcm.googleapis.com/fcm/send/x", None),
            ("https://8.8.8.8/x", None),
            ("https://ntfy.lan/x", None),
            ("https://127.0.0.1:9000/x", None),
            ("http://127.0.0.1:9000/x", None),
            ("http://[::1]:9000/x", None),
            ("https://[::ffff:10.0.0.1]/x", Some(Private)),
            ("https://127.0.0.1:9001/x", Some(Private)),
            ("https://localhost/x", Some(Private)),
            ("https://0x7f.1/x", Some(Private)),
            ("https://2130706433/x", Some(Private)),
            ("https://169.254.169.254/latest", Some(Private)),
            ("http://127.0.0.1:9001/x", Some(Scheme)),
            ("http://ntfy.lan/x", Some(Scheme)),
            ("http://fcm.googleapis.com/x", Some(Scheme)),
            ("file:///etc/passwd", Some(Scheme)),
            ("https://me:secret@fcm.googleapis.com/x", Some(Scheme)),
            ("no URL", Some(NotUrl)),
        ] {
            assert_eq!(endpoint(text, &services).err(), expected, "{text}");
        }
        let long = format!("https://push.example.net/{}", "x".repeat(LONGEST_ENDPOINT));
        assert_eq!(endpoint(&long, &[]).err(), Some(NotUrl));
    }

    #[tokio::test]
    async fn name_of_this_machine_has_no_public_address() {
        let name: Name = "localhost".parse().unwrap();
        let error = PublicResolver.resolve(name).await.err().unwrap();
        assert_eq!(error.to_string(), "host has no public address");
    }
}
