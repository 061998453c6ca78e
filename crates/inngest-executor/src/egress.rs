//! Which addresses may be called.
//!
//! Names are checked at the moment of connecting, by the addresses that they have then; so a name that changes its address after a
//! check gains nothing.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Which addresses may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Whether addresses of this machine and of private networks may be.
    pub allow_private: bool,
    /// What may be called all the same.
    pub allowed: Vec<AllowedAddress>,
}

/// An exception from the rule about private addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedAddress {
    /// A host name, in lower case, whatever its addresses.
    Host(String),
    /// All addresses that begin with these bits.
    Network {
        /// The first address.
        base: IpAddr,
        /// How many bits count.
        bits: u8,
    },
}

/// Text that is neither a host name, an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host name, an address or a network such as `10.0.0.0/8`")]
pub struct InvalidAddress(String);

impl FromStr for AllowedAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        let invalid = || InvalidAddress(text.chars().take(64).collect());
        if let Ok(base) = text.parse::<IpAddr>() {
            return Ok(Self::Network {
                base,
                bits: width(base),
            });
        }
        if let Some((base, bits)) = text.split_once('/') {
            let base: IpAddr = base.parse().map_err(|_| invalid())?;
            let bits: u8 = bits.parse().map_err(|_| invalid())?;
            return if bits <= width(base) {
                Ok(Self::Network { base, bits })
            } else {
                Err(invalid())
            };
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) => Ok(Self::Host(name)),
            _ => Err(invalid()),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A URL or address that may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("only http and https URLs can be called, not `{0}`")]
    Scheme(String),
    #[error("the URL cannot be read: {0}")]
    Malformed(String),
    #[error("the address policy of this server does not allow calls to `{0}`")]
    Address(String),
}

impl EgressPolicy {
    /// Everything may be called, as on a machine of one's own.
    pub fn allow_all() -> Self {
        Self {
            allow_private: true,
            allowed: Vec::new(),
        }
    }

    /// Only public addresses may be called.
    pub fn public_only() -> Self {
        Self::default()
    }

    /// Reads a URL and checks what can be checked before its name is looked up.
    pub(crate) fn check_url(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text).map_err(|error| Refused::Malformed(error.to_string()))?;
        self.check(&url)?;
        Ok(url)
    }

    pub(crate) fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let address = match url.host() {
            None => return Err(Refused::Malformed("no host".to_owned())),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if self.allows(address) {
            Ok(())
        } else {
            Err(Refused::Address(address.to_string()))
        }
    }

    fn allows_host(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| matches!(allowed, AllowedAddress::Host(host) if host.eq_ignore_ascii_case(name)))
    }

    /// Whether this address may be called.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.allow_private
            || is_public(address)
            || self.allowed.iter().any(|allowed| match allowed {
                AllowedAddress::Host(_) => false,
                AllowedAddress::Network { base, bits } => is_within(address, *base, *bits),
            })
    }
}

fn is_within(address: IpAddr, base: IpAddr, bits: u8) -> bool {
    match (address.to_canonical(), base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let shift = 32 - u32::from(bits);
            address.to_bits().checked_shr(shift) == base.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let shift = 128 - u32::from(bits);
            address.to_bits().checked_shr(shift) == base.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that carry one of the older kind are judged by that.
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        return is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    // Only 2000::/3 is given out; of that, documentation and tunnels are not public.
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8))
        && segments[0] != 0x3fff
}

/// Looks names up and keeps only the addresses that may be called.
pub(crate) struct CheckingResolver {
    policy: EgressPolicy,
}

impl CheckingResolver {
    pub(crate) fn new(policy: EgressPolicy) -> Self {
        Self { policy }
    }
}

impl Resolve for CheckingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let is_named = policy.allows_host(name);
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| is_named || policy.allows(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(Refused::Address(name.to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for CheckingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckingResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> EgressPolicy {
        EgressPolicy {
            allow_private: false,
            allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let strict = EgressPolicy::public_only();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0/",
            "http://10.1.2.3/",
            "http://172.31.0.1/",
            "http://192.168.0.1/",
            "http://169.254.169.254/",
            "http://100.64.0.1/",
            "http://198.18.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::1]/",
            "http://[::]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[2001:db8::1]/",
            "http://[2001::1]/",
            "http://[ff02::1]/",
        ] {
            assert!(
                matches!(strict.check_url(url), Err(Refused::Address(_))),
                "{url}"
            );
            assert!(EgressPolicy::allow_all().check_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://1.1.1.1/",
            "https://[2606:4700:4700::1111]/",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
            "http://shop.test/",
        ] {
            assert!(strict.check_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn only_web_urls_can_be_called() {
        for url in [
            "ftp://1.1.1.1/",
            "file:///etc/passwd",
            "ws://1.1.1.1/",
            "data:,a",
        ] {
            assert!(
                matches!(
                    EgressPolicy::allow_all().check_url(url),
                    Err(Refused::Scheme(_))
                ),
                "{url}"
            );
        }
        for url in ["", "shop", "http://"] {
            assert!(
                matches!(
                    EgressPolicy::allow_all().check_url(url),
                    Err(Refused::Malformed(_))
                ),
                "{url}"
            );
        }
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let policy = policy(&[
            "10.0.0.0/8",
            "127.0.0.1",
            "fd00::/8",
            "Shop.internal",
            "::/0",
        ]);
        assert!(
            policy.allows("10.9.9.9".parse().unwrap())
                && policy.allows("127.0.0.1".parse().unwrap())
        );
        assert!(
            policy.allows("fd00::1".parse().unwrap())
                && policy.allows("::ffff:10.0.0.1".parse().unwrap())
        );
        assert!(
            !policy.allows("127.0.0.2".parse().unwrap())
                && !policy.allows("192.168.0.1".parse().unwrap())
        );
        assert!(policy.allows_host("shop.internal") && !policy.allows_host("internal"));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "a b", "http://a"] {
            assert!(bad.parse::<AllowedAddress>().is_err(), "{bad}");
        }
    }
}
