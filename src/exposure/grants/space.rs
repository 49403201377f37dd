//! What rules tell apart besides the sources: ports and protocols, interfaces, and addresses of this machine.

use super::super::forwarded::cuts;
use super::super::{Interface, Machine};
use crate::net::{IfName, IfPattern, Transport, Version, header, number, octets, protocol};
use crate::ruleset::registers::{Content, Field, Registers};
use crate::ruleset::xt::Match;
use crate::ruleset::{CtKey, Expr, Foreign, MetaKey, PayloadBase, Rule, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name of an interface that no rule names: no interface can have it.
const NO_NAME: &str = "/";
/// Ports that palisade's own rules tell apart: those of name lookups and of DHCP.
const OWN_PORTS: [u16; 5] = [53, 67, 68, 546, 547];
/// Addresses for documentation, of which one stands for an address of this machine that no rule names.
const UNNAMED: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 201)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 201)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x201)),
    IpAddr::V6(Ipv6Addr::new(0x3fff, 0xfff, 0, 0, 0, 0, 0, 0x201)),
];

/// What connections are opened to: ports of a protocol that no rule tells apart, or a protocol without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    /// The IP protocol number; ICMP stands for echo requests of either version.
    pub protocol: u8,
    /// The first port; 0 of a protocol without ports.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Whether it stands for all protocols that no rule names.
    pub others: bool,
}

/// Interfaces that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The name of one of them, or one that stands for them.
    pub example: String,
    /// Their names; empty for all that no rule names.
    pub names: Vec<IfPattern>,
    /// Whether containers are behind them.
    pub containers: bool,
    /// The addresses of the interface, if it is one of this machine's.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Addresses of this machine, of one IP version, that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// One of them.
    pub example: IpAddr,
    /// Those that this machine has.
    pub addresses: Vec<IpAddr>,
    /// Whether it is also of all that no rule names.
    pub unnamed: bool,
}

/// All that is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Ports and protocols; the last one stands for all other protocols.
    pub doors: Vec<Door>,
    /// Interfaces; the first one stands for all that no rule names.
    pub ways: Vec<Way>,
    /// Addresses of this machine, over IPv4 and over IPv6; the first one is also of all that no rule names.
    pub own: [Vec<Own>; 2],
}

/// The first and the last address, and the mask that is applied before they are compared.
type Destinations = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// What rules test.
#[derive(Default)]
struct Tests {
    interfaces: BTreeSet<IfPattern>,
    /// Whether they know interfaces by more than their names.
    by_more: bool,
    protocols: BTreeSet<u8>,
    /// The destinations: the first and the last, under a mask if there is one.
    destinations: BTreeSet<Destinations>,
}

impl Space {
    /// What the rules of a machine tell apart.
    #[must_use]
    pub fn new(machine: &Machine<'_>) -> Self {
        let mut tests = Tests::default();
        for (_, table) in &machine.tables {
            for rule in table.chains.values().flat_map(|chain| &chain.rules) {
                tests.read(table, rule);
            }
        }
        let mut ports = cuts(machine.tables.iter().copied());
        ports.extend(OWN_PORTS.iter().flat_map(|port| [*port, port + 1]));
        Self {
            doors: doors(&ports, &tests.protocols),
            ways: ways(&machine.interfaces, &tests),
            own: Version::ALL.map(|version| own(&machine.interfaces, version, &tests)),
        }
    }

    /// The addresses of this machine of one version.
    #[must_use]
    pub fn own(&self, version: Version) -> &[Own] {
        let [four, six] = &self.own;
        if version == Version::V4 { four } else { six }
    }
}

fn doors(cuts: &BTreeSet<u16>, protocols: &BTreeSet<u8>) -> Vec<Door> {
    let mut doors = Vec::new();
    let firsts: Vec<u16> = std::iter::once(1).chain(cuts.iter().copied().filter(|cut| *cut > 1)).collect();
    let lasts: Vec<u16> = firsts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]).collect();
    for transport in [Transport::Tcp, Transport::Udp, Transport::Sctp] {
        let protocol = transport.number();
        let runs = firsts.iter().zip(&lasts);
        doors.extend(runs.map(|(first, last)| Door { protocol, first: *first, last: *last, others: false }));
    }
    let portless = |protocol: u8, others: bool| Door { protocol, first: 0, last: 0, others };
    doors.push(portless(protocol::ICMP, false));
    let is_apart = |number: &u8| {
        // No packet has number 0 as its protocol: it stands for options of IPv6.
        *number != 0
            && Transport::from_number(*number).is_none()
            && ![protocol::ICMP, protocol::ICMPV6].contains(number)
    };
    doors.extend(protocols.iter().copied().filter(is_apart).map(|number| portless(number, false)));
    let other = (1..=253).rev().filter(is_apart).find(|number| !protocols.contains(number));
    doors.extend(other.map(|number| portless(number, true)));
    doors
}

fn ways(interfaces: &[Interface], tests: &Tests) -> Vec<Way> {
    let mut candidates: Vec<(String, Option<IfPattern>, Option<&Interface>)> = vec![(NO_NAME.to_owned(), None, None)];
    for pattern in &tests.interfaces {
        let example = if pattern.wildcard { pattern.name.clone() + NO_NAME } else { pattern.name.clone() };
        if !interfaces.iter().any(|one| one.name == example) {
            candidates.push((example, Some(pattern.clone()), None));
        }
    }
    for one in interfaces {
        let pattern = IfPattern { name: one.name.clone(), wildcard: false };
        candidates.push((one.name.clone(), Some(pattern), Some(one)));
    }
    let mut classes: BTreeMap<(Vec<bool>, Option<String>), usize> = BTreeMap::new();
    let mut ways: Vec<Way> = Vec::new();
    for (example, pattern, real) in candidates.into_iter().filter(|(example, ..)| example != "lo") {
        let covered = tests.interfaces.iter().map(|test| test.covers(&example)).collect();
        let containers = real.is_some_and(|real| real.containers);
        let apart = real.filter(|real| real.containers || tests.by_more).map(|real| real.name.clone());
        let at = *classes.entry((covered, apart)).or_insert(ways.len());
        if at == ways.len() {
            let addresses = real.map(|real| real.addresses.clone()).unwrap_or_default();
            ways.push(Way { example, names: Vec::new(), containers, addresses });
        }
        if let (Some(way), Some(pattern)) = (ways.get_mut(at).filter(|_| at > 0), pattern)
            && !way.names.iter().any(|name| name.covers_all_of(&pattern))
        {
            way.names.push(pattern);
        }
    }
    ways
}

fn own(interfaces: &[Interface], version: Version, tests: &Tests) -> Vec<Own> {
    let answers = |address: IpAddr| -> Vec<bool> {
        tests
            .destinations
            .iter()
            .map(|(first, last, mask)| is_within(address, first, last, mask.as_deref()))
            .collect()
    };
    let unnamed = UNNAMED.into_iter().filter(|one| Version::of(*one) == version);
    let mut all: Vec<(Vec<bool>, Own)> = Vec::new();
    // One that no rule names, if there is such a one.
    let first = unnamed.min_by_key(|one| answers(*one).iter().filter(|is| **is).count());
    all.extend(first.map(|one| (answers(one), Own { example: one, addresses: Vec::new(), unnamed: true })));
    let addresses = interfaces.iter().filter(|one| !one.containers).flat_map(|one| &one.addresses);
    for (address, _) in addresses {
        if Version::of(*address) != version || crate::simulate::is_link_local(*address) {
            continue;
        }
        let here = answers(*address);
        match all.iter_mut().find(|(other, _)| *other == here) {
            Some((_, own)) if own.addresses.contains(address) => {}
            Some((_, own)) => {
                if own.addresses.is_empty() {
                    own.example = *address;
                }
                own.addresses.push(*address);
            }
            None => all.push((here, Own { example: *address, addresses: vec![*address], unnamed: false })),
        }
    }
    all.into_iter().map(|(_, own)| own).collect()
}

/// Whether an address is among those that a rule tests for; never if it is of the other IP version.
fn is_within(address: IpAddr, first: &[u8], last: &[u8], mask: Option<&[u8]>) -> bool {
    let mut bytes = octets(address);
    if first.len() > bytes.len() || mask.is_none() && bytes.len() == 16 && first.len() == 4 {
        return false;
    }
    bytes.truncate(first.len());
    if let Some(mask) = mask {
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
    }
    first <= bytes.as_slice() && bytes.as_slice() <= last
}

impl Tests {
    fn read(&mut self, table: &Table, rule: &Rule) {
        let mut registers = Registers::new(&table.sets);
        for expr in &rule.exprs {
            match expr {
                Expr::Cmp { sreg, data, .. } => {
                    for part in registers.read(*sreg, data.len()) {
                        let slice = data.get(part.before.unwrap_or(usize::MAX)..).unwrap_or_default();
                        self.test(&part.content, slice, slice);
                    }
                }
                Expr::Foreign(Foreign::Range { sreg, first, last, .. }) => {
                    for part in registers.read(*sreg, first.len()) {
                        self.test(&part.content, first, last);
                    }
                }
                Expr::Foreign(Foreign::Match(extension)) => self.extension(extension.as_match().as_ref()),
                Expr::Lookup { set, sreg, .. } => {
                    let Some((set, _)) = registers.set(set) else { continue };
                    let len = usize::try_from(set.spec.key.len).unwrap_or(usize::MAX);
                    for part in registers.read(*sreg, len) {
                        let from = part.before.unwrap_or(usize::MAX);
                        let to = from.saturating_add(part.len.max(1)).min(len);
                        for (first, last) in set.elements.bounds() {
                            let slice = |bytes: &'_ [u8]| bytes.get(from..to).unwrap_or_default().to_vec();
                            self.test(&part.content, &slice(first), &slice(last));
                        }
                    }
                }
                Expr::Meta { key, .. } => self.by_more |= is_of_more(*key),
                _ => {}
            }
            registers.run(expr);
        }
    }

    fn extension(&mut self, read: Option<&Match>) {
        if let Some(Match::AddressRange { destination: Some((first, last, _)), .. }) = read {
            for version in Version::ALL {
                let len = version.address_len();
                let part = |bytes: &[u8; 16]| bytes.get(..len).unwrap_or_default().to_vec();
                self.destinations.insert((part(first), part(last), None));
            }
        }
    }

    fn test(&mut self, content: &Content<'_>, first: &[u8], last: &[u8]) {
        if first.is_empty() {
            return;
        }
        let mask = match content {
            Content::Masked { mask, .. } => Some(mask.to_vec()),
            Content::Field(_) | Content::Computed(_) | Content::Mapped(_) | Content::Constant(_) => None,
        };
        for field in content.fields() {
            match field {
                Field::Meta(MetaKey::Iifname | MetaKey::Oifname) => self.interfaces.extend(pattern(first, last)),
                Field::Meta(MetaKey::L4proto) => self.protocol(first, last),
                Field::Payload { base: PayloadBase::Network, offset, len } => {
                    if Version::ALL.iter().any(|version| version.protocol().offset == *offset && *len == 1) {
                        self.protocol(first, last);
                    }
                    let places = [header::ipv4::DESTINATION, header::ipv6::DESTINATION];
                    if places.iter().any(|place| place.begins(*offset, *len)) {
                        self.destinations.insert((first.to_vec(), last.to_vec(), mask.clone()));
                    }
                }
                Field::Ct(CtKey::DstIp | CtKey::DstIp6 | CtKey::Dst, _) => {
                    self.destinations.insert((first.to_vec(), last.to_vec(), mask.clone()));
                }
                Field::Meta(_) | Field::Ct(..) | Field::Payload { .. } | Field::Fib(..) => {}
            }
        }
    }

    fn protocol(&mut self, first: &[u8], last: &[u8]) {
        if let (Some(first), Some(last)) = (first.first(), last.first())
            && last.saturating_sub(*first) < 16
        {
            self.protocols.extend(*first..=*last);
        }
    }
}

/// The interfaces that a comparison with these bytes means.
fn pattern(first: &[u8], last: &[u8]) -> Option<IfPattern> {
    let name = IfName::text(first);
    let ends = |bytes: &[u8]| bytes.contains(&0) || bytes.len() >= IfName::LOOPBACK.bytes().len();
    let wildcard = first != last || !ends(first);
    (!name.is_empty()).then_some(IfPattern { name, wildcard })
}

/// Whether a property of packets tells interfaces apart by more than their names.
fn is_of_more(key: MetaKey) -> bool {
    matches!(
        key,
        MetaKey::Iif
            | MetaKey::Oif
            | MetaKey::IifType
            | MetaKey::OifType
            | MetaKey::IifGroup
            | MetaKey::OifGroup
            | MetaKey::IifKind
            | MetaKey::OifKind
            | MetaKey::Sdif
            | MetaKey::Sdifname
    )
}

impl Way {
    /// The addresses of one version that may come in by interfaces of containers.
    #[must_use]
    pub fn networks(&self, version: Version) -> crate::net::Intervals<u128> {
        let of_version = self.addresses.iter().filter(|(address, _)| Version::of(*address) == version);
        let spans = of_version.map(|(address, prefix)| {
            let rest = version.last_address().checked_shr((*prefix).into()).unwrap_or_default();
            let first = number(*address) & !rest;
            (first, first | rest)
        });
        spans.collect()
    }
}
