//! Addresses that no sandbox reaches, as on Cloudflare: the host, and what answers only those who are on the same link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The metadata service of a cloud's virtual machines over IPv6 (AWS); over IPv4 it has a link-local address.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether a sandbox may connect to this address: not to loopback, link-local, multicast, unspecified or reserved ones, in no notation that
/// IPv6 has for them, and to none of the host's own.
pub(super) fn is_reachable(address: IpAddr) -> bool {
    let is_public = match address {
        IpAddr::V4(address) => is_routed(address),
        IpAddr::V6(address) => {
            let is_special = address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address == METADATA_V6;
            !is_special && embedded_v4(address).is_none_or(|inner| is_routed(inner) && !is_of_host(inner.into()))
        }
    };
    is_public && !is_of_host(address)
}

fn is_routed(address: Ipv4Addr) -> bool {
    let reserved = address.octets()[0] == 0 || address.octets()[0] >= 240;
    !(reserved || address.is_loopback() || address.is_link_local() || address.is_multicast())
}

/// The IPv4 address inside an IPv4-mapped, IPv4-compatible (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC 3056) one.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [first, second, third, ..] = address.segments();
    let from_end = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let mapped_or_compatible = address.segments()[..5] == [0; 5] && matches!(address.segments()[5], 0 | 0xffff);
    if nat64 || mapped_or_compatible {
        Some(from_end())
    } else if first == 0x2002 {
        let ([a, b], [c, d]) = (second.to_be_bytes(), third.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        None
    }
}

/// Whether the address belongs to an interface of the host, on which its other programs listen: only such addresses can be bound.
fn is_of_host(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_its_links_are_unreachable_in_every_notation() {
        for address in [
            "127.0.0.1",
            "127.255.0.3",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(!is_reachable(address.parse().unwrap()), "{address}");
        }
        for address in ["192.0.2.1", "10.255.254.3", "2001:db8::1", "64:ff9b::c000:201", "2002:c000:201::1"] {
            assert!(is_reachable(address.parse().unwrap()), "{address}");
        }
    }
}
