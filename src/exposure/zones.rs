//! Which sources are behind which interface, cut into parts at the addresses in rules.

use super::Interface;
use crate::net::{Version, number};
use crate::ruleset::AddressType;
use crate::simulate::{Asked, Routes, Way, is_link_local};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Preferred example sources: addresses for documentation, which belong to nobody.
const EXAMPLES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x5a, 0, 0, 0, 0, 0x66)),
];

/// From the first to the last, both included.
pub(super) type Interval = (u128, u128);

/// All addresses.
pub(super) const EVERYONE: Interval = (0, u128::MAX);

/// Sources that no address in a rule tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) interval: Interval,
    /// One of them that can be behind the interface.
    pub(super) source: IpAddr,
}

pub(super) fn interval(network: IpNet) -> Interval {
    (number(network.network()), number(network.broadcast()))
}

pub(super) fn network(address: IpAddr, prefix: u8) -> Option<IpNet> {
    match address {
        IpAddr::V4(address) => Ipv4Net::new(address, prefix).ok().map(|network| IpNet::V4(network.trunc())),
        IpAddr::V6(address) => Ipv6Net::new(address, prefix).ok().map(|network| IpNet::V6(network.trunc())),
    }
}

/// The sources that no packet from elsewhere has.
pub(super) fn nowhere(version: Version) -> Vec<Interval> {
    match version {
        Version::V4 => vec![(0, 0x00ff_ffff), (0x7f00_0000, 0x7fff_ffff), (0xe000_0000, 0xffff_ffff)],
        Version::V6 => vec![(0, 1), (0xff << 120, u128::MAX)],
    }
}

/// The networks of an interface, except link-local ones.
pub(super) fn networks(interface: &Interface, version: Version) -> impl Iterator<Item = IpNet> {
    let of_family = interface.addresses.iter().filter(move |(address, _)| Version::of(*address) == version);
    let routed = of_family.filter(|(address, _)| !is_link_local(*address));
    routed.filter_map(|(address, prefix)| network(*address, *prefix))
}

impl Part {
    /// Those of `alike`, of which its example is one, and the rest before and behind them.
    pub(super) fn split(&self, alike: Interval) -> (Interval, [Option<Interval>; 2]) {
        let (begin, end) = self.interval;
        let (first, last) = (begin.max(alike.0), end.min(alike.1));
        let before = first.checked_sub(1).filter(|before| begin <= *before).map(|before| (begin, before));
        let behind = last.checked_add(1).filter(|behind| *behind <= end).map(|behind| (behind, end));
        ((first, last), [before, behind])
    }
}

/// An interval cut into pieces, each of which begins at its first number or at a cut.
pub(super) fn cut((begin, end): Interval, cuts: &BTreeSet<u128>) -> impl Iterator<Item = Interval> {
    let within = begin.checked_add(1).filter(|after| *after <= end);
    let within = within.into_iter().flat_map(move |after| cuts.range(after..=end).copied());
    let firsts: Vec<u128> = std::iter::once(begin).chain(within).collect();
    let lasts: Vec<u128> = firsts.iter().skip(1).map(|next| next - 1).chain([end]).collect();
    firsts.into_iter().zip(lasts)
}

/// The sources that may be behind an interface, cut into parts at `cuts`.
///
/// Behind a container interface are the sources of its networks. Behind any other are all sources except those that
/// the kernel's routing expects elsewhere; with `near`, only its neighbours.
pub(super) fn parts(
    interface: &Interface,
    all: &[Interface],
    version: Version,
    near: bool,
    cuts: &BTreeSet<u128>,
    routes: &dyn Routes,
) -> Vec<Part> {
    let whole: Vec<Interval> = if interface.containers || near {
        networks(interface, version).map(interval).collect()
    } else {
        vec![(0, version.last_address())]
    };
    let mut others: Vec<Interval> = nowhere(version);
    if !interface.containers {
        let containers = all.iter().filter(|other| other.containers);
        others.extend(containers.flat_map(|other| networks(other, version)).map(interval));
    }
    let mut bounds: BTreeSet<u128> = cuts.clone();
    // Rules that ask for the way back to a source tell the networks of interfaces apart.
    let connected = all.iter().flat_map(|one| networks(one, version)).map(interval);
    bounds.extend(connected.flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten());
    bounds.extend(others.iter().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten());
    if version == Version::V6 {
        bounds.extend([0xfe80 << 112, 0xfec0 << 112]);
    }
    let mut parts = Vec::new();
    for (first, last) in whole.into_iter().flat_map(|interval| cut(interval, &bounds)) {
        if !others.iter().any(|(from, to)| *from <= first && last <= *to) {
            parts.extend(part(interface, all, version, (first, last), routes));
        }
    }
    parts
}

/// The sources of an interval, if one of them may be behind the interface.
pub(super) fn part(
    interface: &Interface,
    all: &[Interface],
    version: Version,
    interval: Interval,
    routes: &dyn Routes,
) -> Option<Part> {
    let is_own =
        |source: &IpAddr| all.iter().flat_map(|other| &other.addresses).any(|(address, _)| address == source);
    let mut sources = candidates(interface, version, interval).into_iter();
    let source = sources.find(|source| !is_own(source) && may_come(interface, all, *source, routes))?;
    Some(Part { interval, source })
}

/// Addresses of an interval that may be a host's: an example, neighbours, those at its ends and in its middle.
fn candidates(interface: &Interface, version: Version, (first, last): Interval) -> Vec<IpAddr> {
    let examples = EXAMPLES.into_iter().filter(|example| Version::of(*example) == version).map(number);
    let neighbours = networks(interface, version).map(interval).flat_map(|(begin, end)| {
        let (begin, end) = (begin.max(first), end.min(last));
        // The first address of a network names the network itself, the last is its broadcast.
        [begin.saturating_add(66), begin.saturating_add(1), begin.saturating_add(2), end.saturating_sub(1), begin]
    });
    // The first ones of a link are no host's either: an engine's bridge has `fe80::1`, and a router answers to
    // `fe80::` itself.
    let inside = first.saturating_add(66);
    let ends = [inside, first.saturating_add(1), first, last.saturating_sub(1), last, first + (last - first) / 2];
    let all = examples.chain(neighbours).chain(ends);
    all.filter(|at| (first..=last).contains(at)).filter_map(|at| version.address(at)).collect()
}

/// Whether the kernel lets this source in by the interface at all.
fn may_come(interface: &Interface, all: &[Interface], source: IpAddr, routes: &dyn Routes) -> bool {
    // A machine that routes IPv6 answers to the first address of each of its networks, too.
    if matches!(routes.address_type(source), Ok(AddressType::Local | AddressType::Anycast)) {
        return false;
    }
    let local = is_link_local(source);
    let fits = |address: &IpAddr| address.is_ipv6() == source.is_ipv6() && is_link_local(*address) == local;
    let of = |one: &Interface| one.addresses.iter().map(|(address, _)| *address).find(|address| fits(address));
    let destination = of(interface).or_else(|| all.iter().filter(|_| !local).find_map(of));
    let Some(destination) = destination else { return false };
    let asked = Asked { source, destination, incoming: Some(&interface.name), mark: 0 };
    // If it can't be told here, following the packet gives the same doubt.
    !matches!(routes.way(&asked), Ok(Way::Lost(_) | Way::Refused(_)))
}
