//! The lines of `nat`.

use super::peers::Resolver;
use super::places::{Place, Role};
use super::rules::{errors, needed};
use super::{Group, Nat, value, values};
use crate::net::{AddressRange, IfPattern, Version};
use crate::policy::{self, Diagnostic, Fault, Policy, Text, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub(super) fn resolve<'a>(
    policy: &'a Policy,
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Nat> {
    let mut lines = BTreeMap::new();
    let mut meant: Vec<Meant<'_>> = Vec::new();
    for typed in &policy.nat {
        let before = errors(problems);
        let nat = line(typed, resolver, problems);
        if errors(problems) == before {
            // Problems of these lists were reported already.
            let (any, _, from) = resolver.meant(&typed.from, Place::NatFrom, &mut Vec::new());
            let (_, _, to) = resolver.meant(&typed.to, Place::NatTo, &mut Vec::new());
            let line = Meant { typed, any, from, to: to.interfaces, source: nat.source };
            line.translates_something(problems);
            meant.push(line);
        }
        lines.insert(typed.name.value.clone(), nat);
    }
    for (at, one) in meant.iter().enumerate() {
        for other in meant.iter().skip(at + 1).filter(|other| other.source != one.source) {
            if let Some(example) = one.meets(other) {
                let (first, second) = (one.typed.name.span, other.typed.name.span);
                let message =
                    format!("what {example} has two translations, lines {} and {}", first.line, second.line);
                problems.push(
                    Diagnostic::at(second, message)
                        .note(first, "the other line")
                        .help("give them the same `as`, or sources or interfaces of their own"),
                );
            }
        }
    }
    lines
}

fn line<'a>(typed: &'a policy::Nat, resolver: &mut Resolver<'a>, problems: &mut Vec<Diagnostic>) -> Nat {
    let name = &typed.name;
    if let Err(fault) = values::rule_name(&name.value) {
        problems.push(fault.at(name.span));
    }
    needed(&typed.from, name, "from", "write whose packets: `from: { interface: eth1 }`", problems);
    let help = "`to` is the interface that it leaves by: `to: { interface: eth0 }`";
    needed(&typed.to, name, "to", help, problems);
    Nat {
        line: name.span.into(),
        from: resolver.peers(&typed.from, Role::At(Place::NatFrom), problems),
        to: resolver.peers(&typed.to, Role::At(Place::NatTo), problems),
        source: value(&typed.source, problems, source),
        comment: value(&typed.comment, problems, |text| values::comment(&text.value)),
    }
}

/// Reads `as`.
fn source(text: &Text) -> Result<IpAddr, Fault> {
    let typed = text.value.as_str();
    let fault = |why: &str| Fault::new(format!("{} can't be the source: {why}", quote(typed)));
    match typed.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_loopback() || address.is_multicast() => {
            Err(fault("no answer would come back to it").help("write an address of this machine"))
        }
        Ok(address) => Ok(address),
        Err(_) if typed.contains('/') => Err(fault("it is a network, and networks are not translated to networks")
            .help("write one address, or leave `as` out: an address of the outgoing interface")),
        Err(_) => Err(fault("it is no address").help(
            "leave `as` out: each packet gets an address of the interface that it leaves by; a fixed one is `as: 203.0.113.7`",
        )),
    }
}

/// A line with its groups expanded.
struct Meant<'a> {
    typed: &'a policy::Nat,
    any: bool,
    from: Group,
    to: BTreeSet<IfPattern>,
    source: Option<IpAddr>,
}

impl Meant<'_> {
    /// Whether sources that are named by interface, or as `any`, are translated over this version.
    fn translates_everything_over(&self, version: Version) -> bool {
        self.source.is_none_or(|source| source.is_ipv4()) == (version == Version::V4)
    }

    /// The addresses that are translated by address.
    fn ranges(&self) -> Vec<AddressRange> {
        let fits = |range: &AddressRange| match (range, self.source) {
            (AddressRange::V4(..), Some(source)) => source.is_ipv4(),
            (AddressRange::V6(..), Some(source)) => source.is_ipv6(),
            (_, None) => true,
        };
        self.from.addresses.ranges().filter(fits).collect()
    }

    fn translates_something(&self, problems: &mut Vec<Diagnostic>) {
        if let Some(source) = self.source
            && !self.any
            && self.from.interfaces.is_empty()
            && self.ranges().is_empty()
        {
            let version = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            let span = self.typed.source.here().map_or(self.typed.name.span, |text| text.span);
            problems.push(
                Diagnostic::at(span, format!("`as` is an {version} address, and `from` names none of {version}"))
                    .help("write an address of the family that `from` names"),
            );
        }
    }

    /// Describes a packet that both lines translate, if there may be one.
    fn meets(&self, other: &Self) -> Option<String> {
        let by = self.to.iter().find_map(|one| {
            let met = other.to.iter().find(|other| one.meets(other))?;
            Some(if one.wildcard { met } else { one })
        })?;
        let overlap = |a: AddressRange, b: AddressRange| match (a, b) {
            (AddressRange::V4(a, b), AddressRange::V4(c, d)) => {
                (a <= d && c <= b).then(|| IpAddr::V4(a.max(c)).to_string())
            }
            (AddressRange::V6(a, b), AddressRange::V6(c, d)) => {
                (a <= d && c <= b).then(|| IpAddr::V6(a.max(c)).to_string())
            }
            _ => None,
        };
        let (ours, theirs) = (self.ranges(), other.ranges());
        let address = ours.iter().find_map(|a| theirs.iter().find_map(|b| overlap(*a, *b)));
        let by_interface = |one: &Self| one.any || !one.from.interfaces.is_empty();
        let of_version =
            |range: &AddressRange, version| matches!(range, AddressRange::V4(..)) == (version == Version::V4);
        // An interface may bring any source.
        let mixed = |one: &Self, ranges: &[AddressRange]| {
            Version::ALL.into_iter().any(|version| {
                by_interface(one)
                    && one.translates_everything_over(version)
                    && ranges.iter().any(|range| of_version(range, version))
            })
        };
        let interfaces_meet = self.any
            || other.any
            || self.from.interfaces.iter().any(|a| other.from.interfaces.iter().any(|b| a.meets(b)));
        let everything = by_interface(self)
            && by_interface(other)
            && interfaces_meet
            && Version::ALL
                .into_iter()
                .any(|version| self.translates_everything_over(version) && other.translates_everything_over(version));
        if let Some(address) = address {
            return Some(format!("{address} sends by {by}"));
        }
        (everything || mixed(self, &theirs) || mixed(other, &ours)).then(|| format!("leaves by {by}"))
    }
}
