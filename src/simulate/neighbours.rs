//! Neighbour resolution, by ARP and by neighbour discovery: without a neighbour's link-layer address, no packet gets
//! to it. A table that drops the requests or the replies shuts out everyone on the link once the remembered addresses
//! have expired.

use super::packet::{Packet, State, Transport};
use super::packet_run::PacketRun;
use super::routes::{Routes, Way};
use super::trace::{Effect, Outcomes};
use super::truth::Doubt;
use crate::render;
use crate::ruleset::Hook;
use std::net::{IpAddr, Ipv6Addr};

/// `NF_ARP_OUT`, of tables of the family `arp`.
const ARP_OUT: Hook = Hook::Input;
/// `ARPOP_REQUEST` and `ARPOP_REPLY`.
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// ICMPv6 neighbour solicitation and advertisement (RFC 4861).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Neighbour discovery ignores packets that a router has forwarded.
const HOP_LIMIT: u8 = 255;

impl Packet {
    /// Whether the kernel itself sends such packets, for neighbour discovery (`ndisc_alloc_skb` in net/ipv6/ndisc.c).
    pub(super) const fn is_neighbour_discovery(&self) -> bool {
        self.source.is_ipv6() && matches!(self.transport, Transport::Icmp { kind: SOLICITATION | ADVERTISEMENT, .. })
    }
}

impl PacketRun<'_, '_> {
    /// Why a connection that the packet opens can't last: rules that certainly drop how this machine and the neighbour
    /// that it comes from, or goes to, find each other on the link. `None` if they find each other, or if it is in doubt.
    pub(super) fn keeps_neighbours_apart(
        &self,
        routes: &dyn Routes,
        packet: &Packet,
        end: Option<&Way>,
    ) -> Option<Doubt> {
        let from = match &packet.incoming {
            super::Interface::Named(name) if name != "lo" => {
                self.is_kept_apart(routes, (name, packet.source), packet.destination)
            }
            _ => None,
        };
        let to = || match end {
            Some(Way::Out(name)) => {
                let to = packet.translated.map_or(packet.destination, |to| to.address);
                self.is_kept_apart(routes, (name, to), packet.source)
            }
            _ => None,
        };
        from.or_else(to)
    }

    /// Why this machine and the neighbour on the way to an address can't find each other.
    fn is_kept_apart(
        &self,
        routes: &dyn Routes,
        (interface, address): (&str, IpAddr),
        this: IpAddr,
    ) -> Option<Doubt> {
        if address.is_ipv4() && !self.hooks.judge_arp {
            return None;
        }
        let neighbour = routes.next_hop(address).ok()?;
        let own = routes.source_towards(neighbour).unwrap_or(this);
        let (question, answer) = match own {
            IpAddr::V4(_) => (Transport::Arp { operation: REQUEST }, Transport::Arp { operation: REPLY }),
            IpAddr::V6(_) => (icmp(SOLICITATION), icmp(ADVERTISEMENT)),
        };
        let tries = [
            (neighbour, asked(own), question, true),
            (own, neighbour, answer, false),
            (own, asked(neighbour), question, false),
            (neighbour, own, answer, true),
        ];
        tries.into_iter().find_map(|(from, to, transport, comes_in)| {
            let packet = Packet::to_machine(from, to, transport).in_state(State::Untracked);
            let packet = Packet { hop_limit: Some(HOP_LIMIT), ..packet };
            let by = self.drops_on_link(&packet, interface, comes_in)?;
            let what = match (from, transport == question) {
                (IpAddr::V4(_), true) => "ARP requests",
                (IpAddr::V4(_), false) => "ARP replies",
                (IpAddr::V6(_), true) => "neighbour solicitations",
                (IpAddr::V6(_), false) => "neighbour advertisements",
            };
            let way = if comes_in { format!("from {from}") } else { format!("to {neighbour}") };
            Some(format!("{by} drops {what} {way}: nothing passes once its place on the link is forgotten").into())
        })
    }

    /// The chain that certainly drops a packet between this machine and a neighbour.
    fn drops_on_link(&self, packet: &Packet, interface: &str, comes_in: bool) -> Option<String> {
        let mut run = self.another();
        let arp = matches!(packet.transport, Transport::Arp { .. });
        if comes_in {
            let packet = packet.clone().coming_in_by(interface);
            // `NF_ARP_IN` has the number of prerouting.
            run.come_in(&packet);
            if !arp {
                run.pass(Hook::Input, &packet);
            }
        } else {
            let packet = Packet::from_machine(packet.source, packet.destination, packet.transport)
                .in_state(packet.state)
                .leaving_by(interface);
            let packet = Packet { hop_limit: Some(HOP_LIMIT), ..packet };
            let hooks: &[Hook] = if arp { &[ARP_OUT] } else { &[Hook::Output, Hook::Postrouting] };
            hooks.iter().for_each(|hook| run.pass(*hook, &packet));
            run.leave(&packet);
        }
        if run.outcomes == Outcomes::ALLOW || !run.outcomes.never_pass() {
            return None;
        }
        let denies = |step: &&super::Step<'_>| matches!(step.effect, Effect::Drop | Effect::Reject);
        let step = run.steps.iter().rev().find(denies)?;
        Some(format!("chain {} of {}", step.chain, render::table_title(step.table)))
    }
}

/// The destination of a request for an address: the address itself for ARP, which is broadcast, and its
/// solicited-node multicast address for neighbour discovery (RFC 4291, 2.7.1).
fn asked(for_whom: IpAddr) -> IpAddr {
    match for_whom {
        IpAddr::V4(_) => for_whom,
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let low = (u16::from(b) << 8) | u16::from(c);
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low).into()
        }
    }
}

const fn icmp(kind: u8) -> Transport {
    Transport::Icmp { kind, code: 0 }
}
