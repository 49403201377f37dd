//! Which addresses packets are drawn from, and which of them can be senders.

use crate::support::lab::{HOST, HOST_ON_LAN, LOOPBACK};
use crate::support::wire::Side;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who else is on the local network.
pub(super) const NEIGHBOURS: [[&str; 2]; 3] =
    [["10.77.0.2", "fd77::2"], ["10.77.0.3", "fd77::3"], ["10.77.0.200", "fd77::c8"]];

/// What a limit counts the connections of an address by: the address, or the IPv6 network of 64 bits that it is in.
pub(super) fn limited_as(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// The ends of what a word of a policy stands for, if that is addresses.
pub(super) fn ends(word: &str) -> Vec<IpAddr> {
    if let Some((first, last)) = word.split_once('-') {
        return [first, last].iter().filter_map(|text| text.parse().ok()).collect();
    }
    let (address, length) = word.split_once('/').unwrap_or((word, "128"));
    match (address.parse(), length.parse::<u32>()) {
        (Ok(IpAddr::V4(first)), Ok(length)) => {
            let within = u32::MAX.checked_shr(length).unwrap_or(0);
            vec![first.into(), Ipv4Addr::from(u32::from(first) | within).into()]
        }
        (Ok(IpAddr::V6(first)), Ok(length)) => {
            let within = u128::MAX.checked_shr(length).unwrap_or(0);
            vec![first.into(), Ipv6Addr::from(u128::from(first) | within).into()]
        }
        _ => Vec::new(),
    }
}

/// An address and those next to it.
pub(super) fn around(address: IpAddr) -> [IpAddr; 3] {
    match address {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            [number.saturating_sub(1), number, number.saturating_add(1)].map(|number| Ipv4Addr::from(number).into())
        }
        IpAddr::V6(address) => {
            let number = u128::from(address);
            [number.saturating_sub(1), number, number.saturating_add(1)].map(|number| Ipv6Addr::from(number).into())
        }
    }
}

/// One address for all of the host and of its local network.
pub(super) fn inside(address: IpAddr) -> Option<IpAddr> {
    let own = is_neighbour(address) || [HOST, HOST_ON_LAN, LOOPBACK].concat().contains(&address);
    own.then(|| HOST[usize::from(address.is_ipv6())])
}

/// Whether a sender is who `simulate/fib.rs` takes it for: no address of the host comes from elsewhere, and what is sent to it
/// goes back to where it is.
pub(super) fn is_real(side: Side, from: IpAddr) -> bool {
    match side {
        Side::Client => inside(from).is_none(),
        Side::Lan => is_neighbour(from),
        Side::Host => true,
    }
}

pub(super) fn is_neighbour(address: IpAddr) -> bool {
    NEIGHBOURS.iter().flatten().any(|text| text.parse() == Ok(address))
}

/// Whether a packet of that sender gets as far as the rules, and an answer to it back: it comes from outside.
pub(super) fn may_send(address: IpAddr) -> bool {
    if [HOST, HOST_ON_LAN].concat().contains(&address) {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let on_lan = [a, b, c] == [10, 77, 0];
            let of_network = [a, b, c] == [203, 0, 113] && (d == 0 || d == 255);
            !(a == 0 || a == 127 || a >= 224 || a == 169 && b == 254 || on_lan || of_network)
        }
        IpAddr::V6(v6) => {
            let [first, second, third, fourth, ..] = v6.segments();
            let on_lan = [first, second, third, fourth] == [0xfd77, 0, 0, 0];
            // Of the addresses below ::/16 some stand for IPv4, or for nobody.
            !(first == 0 || first >= 0xfe80 || v6.segments() == [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0] || on_lan)
        }
    }
}
