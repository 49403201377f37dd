//! The meaning of rules that translate the destination of packets.

#![deny(clippy::wildcard_enum_match_arm)]

use super::registers::{Content, Field, Part, Registers};
use super::xt::{Match, Target};
use super::{Cmp, CtKey, Expr, Extension, Family, Foreign, MetaKey, PayloadBase, Register, Rule, Set, SetRef};
use crate::net::{Version, address, header};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The transport protocols of the iptables matches `tcp` and `udp`.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A rule that translates destinations: the packets it matches, as far as they are known, and the new destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dnat<'a> {
    /// The IP protocols that it names; empty if it names none.
    pub protocols: BTreeSet<u8>,
    /// The ranges of destination ports that it names, as first and last port.
    pub ports: Vec<(u16, u16)>,
    /// The destination address that it names, or the leading bytes of it.
    pub destination: Option<&'a [u8]>,
    /// Destination addresses, each with a range of destination ports, that a map names together.
    pub together: Vec<(&'a [u8], (u16, u16))>,
    /// The new address; `None` if it is not constant in the rule.
    pub address: Option<IpAddr>,
    /// The new port; `None` if the port stays, or is not constant in the rule.
    pub port: Option<u16>,
}

/// Reads a rule of a table with this family and these sets; `None` for a rule that translates no destination.
#[must_use]
pub fn dnat<'a>(family: Family, sets: &'a BTreeMap<String, Set>, rule: &'a Rule) -> Option<Dnat<'a>> {
    rule.exprs.iter().any(|expr| translates(family, expr)).then(|| matched(family, sets, rule))
}

/// Like [`dnat`], also for a rule that translates nothing itself, such as one that jumps to a chain that does.
#[must_use]
pub fn matched<'a>(family: Family, sets: &'a BTreeMap<String, Set>, rule: &'a Rule) -> Dnat<'a> {
    let mut reader = Reader { family, registers: Registers::new(sets), read: Dnat::default(), low: None };
    for expr in &rule.exprs {
        reader.expr(expr);
        reader.registers.run(expr);
    }
    reader.read.ports.extend(reader.low.map(|low| (low, u16::MAX)));
    reader.read
}

/// The only address that a rule gives connections as their source; `None` if it gives none, or one of several.
#[must_use]
pub fn snat(rule: &Rule) -> Option<IpAddr> {
    let constant = |register: Register| {
        rule.exprs.iter().rev().find_map(|expr| {
            let Expr::Foreign(Foreign::Immediate { dreg, data }) = expr else { return None };
            address(data).filter(|_| *dreg == register)
        })
    };
    rule.exprs.iter().find_map(|expr| {
        let Expr::Foreign(Foreign::Nat(nat)) = expr else { return None };
        let [first, last] = nat.addresses;
        let one = !nat.destination && (last.is_none() || last == first);
        first.filter(|_| one).and_then(constant)
    })
}

fn translates(family: Family, expr: &Expr) -> bool {
    let Expr::Foreign(expr) = expr else { return false };
    if let Foreign::Nat(nat) = expr {
        return nat.destination;
    }
    if let Foreign::Target(target) = expr {
        return matches!(target.as_target(family == Family::Ip), Some(Target::Dnat { .. }))
            || ["DNAT", "REDIRECT"].contains(&target.name.as_str());
    }
    matches!(expr, Foreign::Redirect { .. })
}

/// A field of interest that a register holds.
enum Named {
    Protocol,
    Destination,
    Port,
}

struct Reader<'a> {
    family: Family,
    registers: Registers<'a>,
    read: Dnat<'a>,
    /// The lower bound of a range of ports whose upper bound has not come yet.
    low: Option<u16>,
}

impl<'a> Reader<'a> {
    fn expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Cmp { op: Cmp::Eq, sreg, data } => match self.named(*sreg, data.len()) {
                Some(Named::Protocol) => self.read.protocols.extend(data.first()),
                Some(Named::Destination) => self.read.destination = Some(data),
                Some(Named::Port) => self.ports(data, data),
                None => {}
            },
            // nft writes a range as two comparisons, `dport >= 8000` and `dport <= 8010`.
            Expr::Cmp { op: op @ (Cmp::Gte | Cmp::Lte), sreg, data } => {
                if let (Some(Named::Port), Some(port)) = (self.named(*sreg, data.len()), number(data)) {
                    if *op == Cmp::Gte {
                        self.low = Some(port);
                    } else {
                        self.read.ports.push((self.low.take().unwrap_or_default(), port));
                    }
                }
            }
            Expr::Lookup { set, sreg, dreg: None, inverted: false } => {
                // A named set's elements are not listed with other programs' rules.
                if let Some((set, None)) = self.registers.set(set)
                    && let Some(Named::Port) = self.named(*sreg, 2)
                {
                    set.elements.bounds().for_each(|(first, last)| self.ports(first, last));
                }
            }
            // As in `dnat to tcp dport map @ports`.
            Expr::Lookup { set, sreg, dreg: Some(_), inverted: false } => self.map(set, *sreg),
            Expr::Foreign(expr) => self.foreign(expr),
            Expr::Meta { .. }
            | Expr::Ct { .. }
            | Expr::Payload { .. }
            | Expr::Cmp { .. }
            | Expr::Bitwise { .. }
            | Expr::Lookup { .. }
            | Expr::Dynset { .. }
            | Expr::Fib { .. }
            | Expr::Verdict(_)
            | Expr::Counter { .. }
            | Expr::Limit(_)
            | Expr::Log(_)
            | Expr::Reject(_)
            | Expr::Unknown { .. } => {}
        }
    }

    fn foreign(&mut self, expr: &'a Foreign) {
        match expr {
            Foreign::Range { inverted: false, sreg, first, last } => {
                if let Some(Named::Port) = self.named(*sreg, first.len()) {
                    self.ports(first, last);
                }
            }
            Foreign::Nat(nat) if nat.destination => {
                self.read.address = nat.addresses[0].and_then(|register| address(self.constant(register)?));
                self.read.port = nat.ports[0].and_then(|register| number(self.constant(register)?));
            }
            Foreign::Match(extension) => self.extension(extension),
            Foreign::Target(target) => {
                if let Some(Target::Dnat { address, port }) = target.as_target(self.family != Family::Ip6) {
                    (self.read.address, self.read.port) = (address, port);
                }
            }
            Foreign::Range { .. }
            | Foreign::Nat(_)
            | Foreign::Immediate { .. }
            | Foreign::SetMeta { .. }
            | Foreign::SetCt { .. }
            | Foreign::Masquerade { .. }
            | Foreign::Redirect { .. }
            | Foreign::Reject { .. }
            | Foreign::Log { .. }
            | Foreign::Object { .. }
            | Foreign::ObjectMap { .. }
            | Foreign::SetPayload { .. }
            | Foreign::Notrack => {}
        }
    }

    fn extension(&mut self, extension: &Extension) {
        let asked = extension.as_match();
        if let Some(Match::Ports { destination, .. }) = asked {
            if !destination.inverted {
                self.read.protocols.insert(if extension.name == "udp" { UDP } else { TCP });
                let (first, last) = (destination.first, destination.last);
                self.read.ports.extend(((first, last) != (0, u16::MAX)).then_some((first, last)));
            }
        } else if let Some(Match::Multiport { which: 1 | 2, ranges, inverted: false }) = asked {
            self.read.ports.extend(ranges);
        }
    }

    /// The ports that a map has as keys, alone or behind a destination address; none if its elements are not listed.
    fn map(&mut self, set: &'a SetRef, sreg: Register) {
        let Some((set, _)) = self.registers.set(set) else { return };
        let len = usize::try_from(set.spec.key.len).unwrap_or_default();
        if let Some(Named::Port) = self.named(sreg, len) {
            set.elements.bounds().for_each(|(first, last)| self.ports(first, last));
            return;
        }
        let places: Vec<(Named, usize, usize)> = self
            .registers
            .read(sreg, len)
            .iter()
            .filter_map(|part| Some((self.named_by(&part.content)?, part.before?, part.len)))
            .collect();
        let at = |wanted: fn(&Named) -> bool| places.iter().find(|(named, ..)| wanted(named));
        let Some((_, port, _)) = at(|named| matches!(named, Named::Port)) else { return };
        let destination = at(|named| matches!(named, Named::Destination));
        for (first, last) in set.elements.bounds() {
            let of = |bytes: &[u8]| number(bytes.get(*port..)?);
            let Some(ports) = of(first).zip(of(last)) else { continue };
            let to = destination.and_then(|(_, begin, len)| {
                let [one, other] = [first, last].map(|bytes| bytes.get(*begin..begin + len));
                one.filter(|_| one == other)
            });
            match to {
                Some(to) => self.read.together.push((to, ports)),
                None => self.read.ports.push(ports),
            }
        }
    }

    fn ports(&mut self, first: &[u8], last: &[u8]) {
        self.read.ports.extend(number(first).zip(number(last)));
    }

    /// The field that a register holds, if that is exactly one field and starts where the register does.
    fn named(&self, register: Register, len: usize) -> Option<Named> {
        let read = self.registers.read(register, len);
        let [Part { before: Some(0), content, .. }] = read.as_slice() else { return None };
        self.named_by(content)
    }

    fn named_by(&self, content: &Content<'_>) -> Option<Named> {
        let Content::Field(field) = content else { return None };
        match *field {
            Field::Meta(MetaKey::L4proto) => Some(Named::Protocol),
            Field::Ct(CtKey::ProtoDst, _) => Some(Named::Port),
            Field::Payload { base: PayloadBase::Transport, offset, len } => {
                (header::ports::DESTINATION == header::Place { offset, len }).then_some(Named::Port)
            }
            Field::Payload { base: PayloadBase::Network, offset, len } => self.of_header(offset, len),
            Field::Meta(_) | Field::Ct(..) | Field::Payload { .. } | Field::Fib(..) => None,
        }
    }

    /// In a table for both IP versions, an address field tells the version, but a protocol field does not.
    fn of_header(&self, offset: u32, len: u32) -> Option<Named> {
        let versions = [(Version::V4, Family::Ip), (Version::V6, Family::Ip6)];
        versions.into_iter().find_map(|(version, family)| {
            if self.family == family && version.protocol() == (header::Place { offset, len }) {
                return Some(Named::Protocol);
            }
            let may_be = self.family == family || self.family == Family::Inet;
            (may_be && version.destination().begins(offset, len)).then_some(Named::Destination)
        })
    }

    fn constant(&self, register: Register) -> Option<&'a [u8]> {
        match self.registers.read(register, 1).as_slice() {
            [Part { before: Some(0), content: Content::Constant(data), .. }] => Some(data),
            _ => None,
        }
    }
}

/// A port from its first two bytes.
fn number(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
