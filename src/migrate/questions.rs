//! Questions that a policy has to answer as the rules of the other firewall do: the items of `expect`.

use super::cut::Slot;
use super::spans::Spans;
use crate::net::Version;
use std::collections::BTreeMap;

/// How many runs of ports are asked about, and how many sources of each.
pub(super) const MOST_PORTS: usize = 200;
pub(super) const MOST_SOURCES: usize = 200;
/// Addresses for documentation, of which one is nobody's that a rule names.
pub(super) const OUTSIDERS: [&[u128]; 2] = [
    &[0xcb00_71fa, 0xc633_64fa, 0xc000_02fa, 0x0808_0808],
    &[0x2001_0db8_ffff_0000_0000_0000_0000_00fa, 0x2001_0db8_fffe_0000_0000_0000_0000_00fa, 0x2606_4700 << 96],
];

/// A question about a run of ports: on which interface, and whether everyone gets in.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) is_allowed: bool,
    pub(super) on: Option<String>,
    pub(super) from: Vec<String>,
}

/// The items of `expect`: each question, with the ports that it is about.
pub(super) fn items(by_question: BTreeMap<Question, Vec<String>>) -> Vec<String> {
    let item = |(question, ports): (Question, Vec<String>)| {
        let Question { is_allowed, on, from } = question;
        let key = if is_allowed { "allow" } else { "deny" };
        let on = on.map(|on| format!(", on: {on}")).unwrap_or_default();
        format!("{{ {key}: {}, from: {}{on} }}", joined(&ports), joined(&from))
    };
    by_question.into_iter().rev().map(item).collect()
}

fn joined(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// One address of a range: not the network's own, and none of those that nobody has.
pub(super) fn one_of((first, last): (u128, u128)) -> u128 {
    match first {
        0 => last,
        first if first == last => first,
        first => first + 1,
    }
}

/// One address of each range; where all but some are named, one of these, too.
pub(super) fn of_each(spans: &Spans, version: Version) -> Vec<u128> {
    let all = Spans::all(version);
    let is_inverted = spans.contains(0) && spans.contains(version.last_address());
    let others = if is_inverted { all.minus(spans) } else { Spans::default() };
    spans.as_slice().iter().chain(others.as_slice()).map(|span| one_of(*span)).collect()
}

/// An address as a policy writes it.
pub(super) fn quoted(version: Version, source: u128) -> String {
    let words = version.words(source, source);
    if version == Version::V6 { format!("\"{words}\"") } else { words }
}

/// Whether packets to one of the ports have rules of their own, whatever a policy says: DHCP, and what containers ask for.
pub(super) fn is_special(slot: Slot) -> bool {
    let has = |first: u16, last: u16, ports: &[u16]| ports.iter().any(|port| (first..=last).contains(port));
    match slot {
        Slot::Tcp(first, last) => has(first, last, &[53]),
        Slot::Udp(first, last) => has(first, last, &[53, 67, 68, 546, 547]),
        Slot::Sctp(..) | Slot::Ping | Slot::Other(_) | Slot::Rest => false,
    }
}

/// Whether a run holds a port at which clients of DHCP listen: answers are let in from everyone.
pub(super) fn is_of_dhcp(slot: Slot) -> bool {
    matches!(slot, Slot::Udp(first, last) if [68, 546].iter().any(|port| (first..=last).contains(port)))
}

/// Whether a packet can have that source: no loopback, multicast or unspecified address.
pub(super) fn is_of_somebody(version: Version, source: u128) -> bool {
    let Some(address) = version.address(source) else { return false };
    let mapped = matches!(address, std::net::IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    !address.is_loopback() && !address.is_multicast() && !address.is_unspecified() && !mapped
}
