//! Shared parts of the proofs of expectations: which sources and targets are meant, and a packet's path in words.

use super::region::{Interval, Region, Regions};
use super::space::Target;
use crate::net::{AddressRange, Version, number};
use crate::resolve::Expectation;
use crate::ruleset::provenance::without_prefix;
use crate::simulate::{Effect, Packet, Step, Trace, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Preferred example sources: addresses for documentation, which belong to nobody.
const EXAMPLES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66)),
];

/// Sources whose packets are not treated as expected.
pub(super) struct Counterexample {
    /// A packet that stands for theirs; its own source is ignored.
    pub(super) packet: Packet,
    pub(super) target: Target,
    pub(super) sources: Region,
}

/// Whether an expectation is about a target.
pub(super) fn is_meant(expectation: &Expectation, target: Target) -> bool {
    if expectation.all {
        return true;
    }
    match target {
        Target::Ports { protocol, first, .. } => expectation
            .ports
            .iter()
            .any(|ports| ports.transport.number() == protocol && (ports.first..=ports.last).contains(&first)),
        Target::Protocol(number) => expectation.protocols.contains(&number),
        Target::Ping => expectation.ping,
        Target::OtherProtocols(_) => false,
    }
}

/// The loopback's addresses: no packet comes in with them.
pub(super) const fn loopback(version: Version) -> Interval {
    match version {
        Version::V4 => (0x7f00_0000, 0x7fff_ffff),
        Version::V6 => (1, 1),
    }
}

pub(super) fn interval(version: Version, range: AddressRange) -> Option<Interval> {
    let (first, last): (IpAddr, IpAddr) = match range {
        AddressRange::V4(first, last) if version == Version::V4 => (first.into(), last.into()),
        AddressRange::V6(first, last) if version == Version::V6 => (first.into(), last.into()),
        _ => return None,
    };
    Some((number(first), number(last)))
}

/// One of the sources: a documentation address, or the first that could be a host's.
pub(super) fn an_example(version: Version, regions: &Regions, sources: Region) -> Option<IpAddr> {
    let known = EXAMPLES.into_iter().filter(|address| address.is_ipv4() == (version == Version::V4));
    let mut known = known.filter(|address| regions.contains(sources, number(*address)));
    // No host has an address in 0.0.0.0/8.
    let ordinary = regions.intervals(sources).iter().find(|(_, last)| *last > 0x00ff_ffff);
    let ordinary = ordinary.map(|&(first, _)| if version == Version::V4 { first.max(0x0100_0000) } else { first });
    let first = ordinary.or_else(|| regions.intervals(sources).first().map(|&(first, _)| first));
    known.next().or_else(|| version.address(first?))
}

/// A verdict as the end of a sentence about a connection.
pub(super) const fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "is allowed",
        Verdict::Deny => "is denied",
        Verdict::Reject => "is rejected",
        Verdict::Unknown => "may be either",
    }
}

/// The steps of the packets in words, one per line.
pub(super) fn path(opened: &[(Packet, Trace<'_>)]) -> Vec<String> {
    let passes = opened.last().is_none_or(|(_, trace)| trace.verdict == Verdict::Allow);
    let mut path = Vec::new();
    for ((_, trace), heading) in opened.iter().zip([None, Some("the answer:"), Some("what follows the answer:")]) {
        // If all packets pass, only the path of the first is of interest.
        if heading.is_none() || !passes {
            path.extend(heading.map(str::to_owned));
            // The policy of a base chain that lets a packet on to the next one decides nothing.
            let decides = |(index, step): &(usize, &Step<'_>)| {
                step.rule.is_some() || step.effect != Effect::Accept || index + 1 == trace.steps.len()
            };
            path.extend(trace.steps.iter().enumerate().filter(decides).map(|(_, step)| self::step(step)));
        }
    }
    path
}

fn step(step: &Step<'_>) -> String {
    let sentence = match step.comment() {
        Some(comment) => without_prefix(comment).to_owned(),
        None => step.text(),
    };
    let effect = match step.effect {
        Effect::Continue => "goes on".to_owned(),
        Effect::Jump(chain) | Effect::Goto(chain) => format!("to {chain}"),
        Effect::Return => "back".to_owned(),
        Effect::Accept => "accepted".to_owned(),
        Effect::Drop => "dropped".to_owned(),
        Effect::Reject => "rejected".to_owned(),
        Effect::Translate(_) => "its destination is translated".to_owned(),
        Effect::TranslateSource => "its source is translated".to_owned(),
        Effect::Unknown => "unknown".to_owned(),
    };
    format!("{}: {sentence}: {effect}", step.chain)
}
