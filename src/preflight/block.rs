//! Sources that this machine needs and that `block` drops.

use super::{Preflight, Remark, Topic, Weight};
use crate::net::{Addresses, Version, number, protocol};
use crate::netlink::RoutedLink;
use crate::resolve::Line;
use crate::ruleset::{Hook, TableId};
use crate::simulate::{Packet, State, Transport, simulate_table};
use std::net::{IpAddr, Ipv4Addr};

/// The metadata service of cloud providers.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// The port of name servers, and one of those that this machine asks them from.
const DNS: u16 = 53;
const ASKING: u16 = 50_123;
/// RFC 4861: a neighbour advertisement.
const NEIGHBOUR: Transport = Transport::Icmp { kind: 136, code: 0 };

/// A range that the policy blocks, in words, and its line.
struct Blocked {
    range: String,
    line: Option<Line>,
}

impl Preflight<'_> {
    /// A remark for each gateway, name server and network of this machine whose packets `block` drops. The compiled
    /// rules are asked, so that what they except is not remarked on.
    pub(super) fn block(&self) -> Vec<Remark> {
        if self.policy.block.is_empty() {
            return Vec::new();
        }
        let mut remarks = Vec::new();
        for link in self.links().iter().filter(|link| link.name != "lo" && link.master.is_none()) {
            remarks.extend(link.gateways.iter().filter_map(|gateway| self.gateway(*gateway, link)));
            remarks.extend(link.networks.iter().filter_map(|network| self.network(*network, link)));
        }
        remarks.extend(self.machine.resolvers.iter().filter_map(|resolver| self.resolver(*resolver)));
        remarks.extend(self.metadata());
        remarks
    }

    fn gateway(&self, gateway: IpAddr, link: &RoutedLink) -> Option<Remark> {
        let blocked = self.covering(gateway, gateway)?;
        let answers = Transport::Ports { protocol: protocol::UDP, source: Some(DNS), destination: ASKING };
        let neighbour = gateway.is_ipv6() && self.drops(gateway, link, NEIGHBOUR);
        let weight = if link.is_way_out { Weight::Refusal } else { Weight::Warning };
        let lost = if neighbour {
            "this machine does not find it any more, and sends nothing over IPv6".to_owned()
        } else if self.drops(gateway, link, answers) {
            "all that it sends itself is dropped: answers to this machine, and errors that tell the size of packets"
                .to_owned()
        } else {
            return None;
        };
        let message = format!("`block` covers {gateway}, a gateway of {} ({}): {lost}", link.name, blocked.range);
        Some(Remark::new(Topic::Block, weight, blocked.line, message, take_out(&gateway.to_string())))
    }

    fn resolver(&self, resolver: IpAddr) -> Option<Remark> {
        let blocked = self.covering(resolver, resolver)?;
        let link = self.towards(resolver)?;
        let answer = Transport::Ports { protocol: protocol::UDP, source: Some(DNS), destination: ASKING };
        let message = format!(
            "`block` covers {resolver}, a name server that this machine asks ({}): its answers are dropped, and no name is found",
            blocked.range
        );
        self.drops(resolver, link, answer).then(|| {
            Remark::new(Topic::Block, Weight::Refusal, blocked.line, message, take_out(&resolver.to_string()))
        })
    }

    fn network(&self, (address, prefix): (IpAddr, u8), link: &RoutedLink) -> Option<Remark> {
        let version = Version::of(address);
        let rest = u128::MAX.checked_shr(u32::from(prefix) + 128 - u32::from(version.address_bits()));
        let first = number(address);
        let last = version.address(first | rest.unwrap_or_default())?;
        let blocked = self.covering(address, last)?;
        let own = |host: &IpAddr| link.addresses.iter().any(|(own, _)| own == host);
        let host =
            (first..=number(last)).skip(1).take(3).filter_map(|host| version.address(host)).find(|host| !own(host));
        let host = host.unwrap_or(address);
        let message = format!(
            "`block` covers {} ({}), a network of {}: this machine drops all that comes from there, answers too",
            version.words(first, number(last)),
            blocked.range,
            link.name
        );
        let help = take_out(&version.words(first, number(last)));
        self.drops(host, link, Transport::tcp(443))
            .then(|| Remark::new(Topic::Block, Weight::Warning, blocked.line, message, help))
    }

    fn metadata(&self) -> Option<Remark> {
        let blocked = self.covering(METADATA, METADATA)?;
        let link = self.towards(METADATA)?;
        let message = format!(
            "`block` covers {METADATA} ({}): where this machine is of a cloud, that is the service that tells it its addresses, \
             names and keys",
            blocked.range
        );
        let help = format!("{}, unless no cloud's agent asks there", take_out(&METADATA.to_string()));
        self.drops(METADATA, link, Transport::tcp(ASKING))
            .then(|| Remark::new(Topic::Block, Weight::Warning, blocked.line, message, help))
    }

    /// The interface that leads to an address: that of its network, or the way out.
    fn towards(&self, address: IpAddr) -> Option<&RoutedLink> {
        let routed = self.beside.and_then(|beside| beside.routes.leads(address).ok().flatten());
        routed.and_then(|name| self.link(&name)).or_else(|| self.way_out())
    }

    /// Whether the rules drop a packet before connection tracking, and answers with it.
    fn drops(&self, source: IpAddr, link: &RoutedLink, transport: Transport) -> bool {
        let version = Version::of(source);
        let own = link.addresses.iter().map(|(own, _)| *own).find(|own| Version::of(*own) == version);
        let nobody = if source.is_ipv4() {
            IpAddr::from([192, 0, 2, 1])
        } else {
            IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        };
        let packet = Packet::to_machine(source, own.unwrap_or(nobody), transport);
        let packet = match transport {
            Transport::Ports { .. } => packet.in_state(State::Reply),
            Transport::Icmp { .. } | Transport::Other(_) | Transport::Arp { .. } => packet,
        };
        let id = TableId::palisade();
        let trace = simulate_table(&id, self.table, &packet.coming_in_by(link.name.as_str()));
        trace.outcomes.never_pass() && trace.denied_by().is_some_and(|step| step.hook == Hook::Prerouting)
    }

    /// The item of `block` that contains all of these addresses.
    fn covering(&self, first: IpAddr, last: IpAddr) -> Option<Blocked> {
        let block = &self.policy.block;
        let of_groups = block
            .groups
            .iter()
            .filter_map(|(name, line)| Some((&self.policy.groups.get(name)?.addresses, Some(*line))));
        of_groups.chain([(&block.addresses, block.line)]).find_map(|(addresses, line)| {
            let range = containing(addresses, first, last)?;
            Some(Blocked { range, line })
        })
    }
}

fn take_out(what: &str) -> String {
    format!("take {what}, or what it is a part of, out of `block`")
}

/// The interval that contains a whole range, in words.
fn containing(addresses: &Addresses, first: IpAddr, last: IpAddr) -> Option<String> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (from, to) = around(addresses.v4.as_slice(), first, last)?;
            Some(Version::V4.words(number(from.into()), number(to.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (from, to) = around(addresses.v6.as_slice(), first, last)?;
            Some(Version::V6.words(number(from.into()), number(to.into())))
        }
        _ => None,
    }
}

/// The one of sorted intervals that contains a whole range.
fn around<T: Copy + Ord>(intervals: &[(T, T)], first: T, last: T) -> Option<(T, T)> {
    let at = intervals.partition_point(|&(_, end)| end < first);
    intervals.get(at).copied().filter(|&(from, to)| from <= first && last <= to)
}
