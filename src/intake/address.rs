//! Which client a request comes from, if no keys tell.

use core::net::IpAddr;

use crate::base::{FNV_BASIS, HeaderBlock, fnv1a};

/// The header in which Envoy's edge says where a request comes from. It overwrites what the client sent. It does
/// not do that for `x-forwarded-for`, to which `envoy/single.yaml` adds nothing at all.
const EXTERNAL_ADDRESS: &str = "x-envoy-external-address";

/// A provider gives one customer at least this much of an IPv6 address.
const NETWORK_BYTES: usize = 8;

/// A hash of the client's address; of an IPv6 address, only its network counts. `None` if it is not known.
pub(super) fn address_hash(headers: &HeaderBlock) -> Option<u64> {
    let address: IpAddr = headers.get(EXTERNAL_ADDRESS)?.parse().ok()?;
    Some(match address.to_canonical() {
        IpAddr::V4(address) => fnv1a(FNV_BASIS, &address.octets()),
        IpAddr::V6(address) => fnv1a(FNV_BASIS, address.octets().get(..NETWORK_BYTES)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(value: &str) -> Option<u64> {
        address_hash(&HeaderBlock::of(&[("x-forwarded-for", "198.51.100.1"), (EXTERNAL_ADDRESS, value)]))
    }

    #[test]
    fn an_address_is_one_client_and_so_is_an_ipv6_network() {
        for (one, other, is_same) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            assert!(hash(one).is_some() && hash(other).is_some());
            assert_eq!(hash(one) == hash(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_address_is_unknown() {
        for wrong in ["", "unknown", "192.0.2.7:80", "192.0.2.7, 192.0.2.8", "192.0.2", "[::1]"] {
            assert_eq!(hash(wrong), None, "{wrong:?}");
        }
        assert_eq!(address_hash(&HeaderBlock::of(&[("x-forwarded-for", "192.0.2.7")])), None);
    }
}
