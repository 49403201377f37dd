//! What iptables' matches ask.

use super::machine::{Machine, truth};
use super::order::INGRESS;
use super::packet::Interface;
use super::truth::{Doubt, Truth};
use super::view::{Load, View};
use crate::ruleset::xt::{Conntrack, Match};
use crate::ruleset::{AddressType, Cmp, CtKey, Extension, Hook, ct_state};
use std::net::{IpAddr, Ipv4Addr};

/// `PACKET_HOST`, `PACKET_BROADCAST` and `PACKET_MULTICAST`.
const TO_MACHINE: u8 = 0;
const BROADCAST: u8 = 1;
const MULTICAST: u8 = 2;

impl Machine<'_, '_> {
    pub(super) fn matches(&self, extension: &Extension) -> Truth {
        let view = self.view;
        let Some(asked) = extension.as_match() else {
            return Truth::Doubtful(
                format!("what the match {} of iptables tests is not known", extension.name).into(),
            );
        };
        let answer = match asked {
            // A packet that comes alone exceeds no rate.
            Match::Comment | Match::Limit => Ok(true),
            Match::Conntrack(asked) => conntrack(view, self.ct(CtKey::State, None), &asked),
            Match::AddressType { source, destination, flags } => self.address_types([
                (view.source(), source, flags & 1 != 0),
                (view.destination(), destination, flags & 2 != 0),
            ]),
            Match::Ports { source, destination, flags } => {
                let flags = flags.map_or(Some(true), |flags| has_flags(view, flags));
                all([source.holds(view.source_port()), destination.holds(view.destination_port()), flags])
                    .ok_or_else(|| "the source port, or a flag of TCP, is not known".into())
            }
            Match::Multiport { which, ranges, inverted } => one_of_ports(view, which, &ranges)
                .map(|within| within != inverted)
                .ok_or_else(|| "the source port is not known".into()),
            Match::Icmp { kind, codes, inverted } => Ok(match view.icmp() {
                None => inverted,
                Some(_) if kind.is_none() => !inverted,
                Some((found, code)) => (Some(found) == kind && (codes.0..=codes.1).contains(&code)) != inverted,
            }),
            Match::Mark { mark, mask, inverted } => {
                let masked = self.effects.borrow().mark.masked(&mask.to_ne_bytes(), &[0; 4]);
                let equal = masked.compare(Cmp::Eq, &mark.to_ne_bytes());
                equal.map(|equal| equal != inverted).ok_or_else(|| "the packet's mark is not known".into())
            }
            Match::HopLimit { mode, value } => hop_limit(view, mode, value),
            Match::Recent { remembers: true, inverted, .. } => Ok(!inverted),
            // A single packet was not seen several times recently.
            Match::Recent { hits, inverted, .. } if hits > 1 => Ok(inverted),
            Match::Recent { .. } => Err("which sources were seen recently is not known".into()),
            Match::RoutingHeader => Ok(false),
            Match::AddressRange { source, destination } => address_ranges(view, source, destination),
            Match::ConnectionMark { mark, mask, inverted } => self.has_connection_mark(mark, mask, inverted),
            // A packet that comes alone exceeds no rate.
            Match::HashLimit { over } => Ok(!over),
            Match::Length { least, most, inverted } => length(view, least, most).map(|within| within != inverted),
            Match::PacketType { kind, inverted } => {
                self.packet_type().map(|found| (u32::from(found) == kind) != inverted)
            }
            Match::BridgePort { asked, inverted } => self.bridge_port(asked, inverted),
            Match::ReversePath { loose, by_mark, local, inverted } => {
                self.reverse_path(loose, by_mark, local).map(|is_one| is_one != inverted)
            }
            Match::Uncertain(why) => Err(why.into()),
        };
        answer.map_or_else(Truth::Doubtful, truth)
    }

    /// Whether the connection's mark has this value or, if inverted, another one. Never without a connection.
    fn has_connection_mark(&self, mark: u32, mask: u32, inverted: bool) -> Result<bool, Doubt> {
        match self.view.was_looked_up() {
            None => Err("whether its connection was looked up already is not known".into()),
            Some(_) if !self.view.is_tracked() => Ok(false),
            Some(_) => {
                let masked = self.effects.borrow().ct_mark.masked(&mask.to_ne_bytes(), &[0; 4]);
                let equal = masked.compare(Cmp::Eq, &mark.to_ne_bytes());
                equal.map(|equal| equal != inverted).ok_or_else(|| "the connection's mark is not known".into())
            }
        }
    }

    /// Whether each address is of one of the types in a mask of `1 << RTN_*` or, if inverted, of none of them.
    fn address_types(&self, asked: [(Option<IpAddr>, u16, bool); 2]) -> Result<bool, Doubt> {
        for (address, mask, inverted) in asked.into_iter().filter(|(_, mask, _)| *mask != 0) {
            let (Some(routes), Some(address)) = (self.routes, address) else {
                return Err("what an address is to this machine is not known".into());
            };
            let kind = routes.address_type(address)?;
            let is_one = mask.checked_shr(kind.number()).unwrap_or_default() & 1 == 1;
            if is_one == inverted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The `PACKET_*` type of the packet, if its frame is addressed as its destination is.
    pub(super) fn packet_type(&self) -> Result<u8, Doubt> {
        let unknown = || Doubt::from("to whom the packet's frame is addressed is not known");
        let destination = self.view.destination().ok_or_else(unknown)?;
        let comes_in = matches!(self.view.hook(), Hook::Prerouting | Hook::Input | Hook::Forward | INGRESS);
        match destination {
            _ if !comes_in => Err(unknown()),
            address if address.is_multicast() => Ok(MULTICAST),
            IpAddr::V4(Ipv4Addr::BROADCAST) => Ok(BROADCAST),
            IpAddr::V6(_) => Ok(TO_MACHINE),
            address => match self.routes.ok_or_else(unknown)?.address_type(address)? {
                AddressType::Broadcast => Ok(BROADCAST),
                _ => Ok(TO_MACHINE),
            },
        }
    }

    /// `physdev_mt` of a packet that has not come through a bridge.
    fn bridge_port(&self, asked: u8, inverted: u8) -> Result<bool, Doubt> {
        let unknown = || Doubt::from("whether the packet has come through a bridge is not known");
        let bridged = match self.view.incoming() {
            Interface::Absent => false,
            Interface::Unknown => return Err(unknown()),
            Interface::Named(name) if name == "lo" => false,
            Interface::Named(name) => self.routes.ok_or_else(unknown)?.beneath(name)?.bridge.is_some(),
        };
        if bridged {
            return Err("which port of the bridge the packet has come through is not known".into());
        }
        Ok(asked & !inverted == 0)
    }

    /// `rpfilter_mt` of `ipt_rpfilter` and `ip6t_rpfilter`. Routing rules that match a source are not followed.
    fn reverse_path(&self, loose: bool, by_mark: bool, local: bool) -> Result<bool, Doubt> {
        let unknown = || Doubt::from("which way leads back to the packet's source is not known");
        let (Some(routes), Some(source)) = (self.routes, self.view.source()) else { return Err(unknown()) };
        let incoming = match self.view.incoming() {
            Interface::Named(name) => name,
            Interface::Unknown | Interface::Absent => return Err(unknown()),
        };
        let marked = self.effects.borrow().mark.compare(Cmp::Eq, &[0; 4]) != Some(true);
        match source {
            _ if incoming == "lo" => return Ok(true),
            IpAddr::V6(address) if address.is_unspecified() => return Ok(true),
            address if address.is_unspecified() || super::is_link_local(address) => return Err(unknown()),
            _ if by_mark && marked => return Err(unknown()),
            _ => {}
        }
        match routes.leads(source)? {
            Some(interface) if loose || interface == *incoming => Ok(true),
            // IPv6 looks for any way by the incoming interface, not for the best one.
            Some(_) if source.is_ipv6() => Err(unknown()),
            Some(_) => Ok(false),
            None if local && routes.address_type(source)? == AddressType::Local => Err(unknown()),
            None => Ok(false),
        }
    }
}

/// One end of a connection: the first and the last address, and whether the match is inverted.
type AddressRange = Option<([u8; 16], [u8; 16], bool)>;

fn address_ranges(view: &View<'_>, source: AddressRange, destination: AddressRange) -> Result<bool, Doubt> {
    for (address, range) in [(view.source(), source), (view.destination(), destination)] {
        let Some((first, last, inverted)) = range else { continue };
        let address = address.ok_or("an address of the packet is not known")?;
        let octets = crate::net::octets(address);
        let within = |bound: &[u8; 16]| bound.get(..octets.len()).map(|bound| octets.as_slice().cmp(bound));
        let is_one = within(&first).is_some_and(std::cmp::Ordering::is_ge)
            && within(&last).is_some_and(std::cmp::Ordering::is_le);
        if is_one == inverted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the length lies between these; known only if every or no packet's does.
fn length(view: &View<'_>, least: u16, most: u16) -> Result<bool, Doubt> {
    let shortest = view.shortest();
    match (least, most) {
        (least, u16::MAX) if least <= shortest => Ok(true),
        (least, most) if most < shortest || least > most => Ok(false),
        _ => Err("the packet's length is not known".into()),
    }
}

/// Whether those flags of TCP that are in `mask` equal `set`.
fn has_flags(view: &View<'_>, (mask, set, inverted): (u8, u8, bool)) -> Option<bool> {
    let (flags, known) = view.tcp_flags();
    (mask & !known == 0).then_some((flags & mask == set) != inverted)
}

/// Whether the source port, the destination port or either is within these ranges; `None` if a port that would decide
/// is unknown or missing.
fn one_of_ports(view: &View<'_>, which: u8, ranges: &[(u16, u16)]) -> Option<bool> {
    let ports = [view.source_port(), view.destination_port()];
    let looked_at = match which {
        0 => ports.get(..1),
        1 => ports.get(1..),
        _ => ports.get(..),
    };
    let within = |port: u16| ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
    let answers: Vec<Option<bool>> = looked_at.unwrap_or_default().iter().map(|port| port.map(within)).collect();
    match answers.contains(&Some(true)) {
        true => Some(true),
        false if answers.contains(&None) => None,
        false => Some(false),
    }
}

/// Evaluates the match in the order of the kernel's `conntrack_mt`.
fn conntrack(view: &View<'_>, state: Load, asked: &Conntrack) -> Result<bool, Doubt> {
    let state = number(state)?.unwrap_or(ct_state::INVALID);
    let tracked = !matches!(state, ct_state::INVALID | ct_state::UNTRACKED);
    let status = |mask: u32| match view.ct(CtKey::Status, None) {
        Load::Value(bits, why) => {
            let some = bits.masked(&mask.to_ne_bytes(), &[0; 4]).compare(Cmp::Neq, &[0; 4]);
            some.ok_or(why)
        }
        Load::Breaks => Ok(false),
        Load::Unknown(why) => Err(why),
    };
    if let Some((mask, inverted)) = asked.state {
        const TRANSLATED: [(u16, u32); 2] = [(64, 0x10), (128, 0x20)];
        let bit = if state == ct_state::UNTRACKED { 256 } else { state };
        let mut is_one = u32::from(mask) & bit != 0;
        for (_, of_status) in TRANSLATED.iter().filter(|(bit, _)| mask & bit != 0 && tracked) {
            is_one = is_one || status(*of_status)?;
        }
        if is_one == inverted {
            return Ok(false);
        }
    }
    if !tracked {
        return Ok(asked.state.is_some());
    }
    if let Some(reply) = asked.reply
        && number(view.ct(CtKey::Direction, None))? != Some(u32::from(reply))
    {
        return Ok(false);
    }
    if let Some((protocol, inverted)) = asked.protocol
        && (number(view.ct(CtKey::Protocol, None))? == Some(protocol.into())) == inverted
    {
        return Ok(false);
    }
    if let Some(range) = asked.port {
        let port = number(view.ct(CtKey::ProtoDst, Some(crate::ruleset::Direction::Original)))?;
        let port = port.and_then(|port| u16::try_from(port).ok()).map(u16::from_be);
        match range.holds(port) {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => return Err("the port of the connection is not known".into()),
        }
    }
    if let Some((mask, inverted)) = asked.status
        && status(mask.into())? == inverted
    {
        return Ok(false);
    }
    Ok(true)
}

/// A number of 1, 2 or 4 bytes as they are in memory; `None` if there is no connection.
fn number(load: Load) -> Result<Option<u32>, Doubt> {
    match load {
        Load::Breaks => Ok(None),
        Load::Unknown(why) => Err(why),
        Load::Value(bits, why) => match bits.bytes() {
            Some(&[one]) => Ok(Some(one.into())),
            Some(&[one, two]) => Ok(Some(u16::from_ne_bytes([one, two]).into())),
            Some(&[one, two, three, four]) => Ok(Some(u32::from_ne_bytes([one, two, three, four]))),
            _ => Err(why),
        },
    }
}

/// Ternary "and": false if one is false, else `None` if one is unknown.
fn all(answers: [Option<bool>; 3]) -> Option<bool> {
    match answers {
        answers if answers.contains(&Some(false)) => Some(false),
        answers if answers.contains(&None) => None,
        _ => Some(true),
    }
}

fn hop_limit(view: &View<'_>, mode: u8, value: u8) -> Result<bool, Doubt> {
    match (view.hop_limit(), mode) {
        (Some(limit), 0) => Ok(limit == value),
        (Some(limit), 1) => Ok(limit != value),
        (Some(limit), 2) => Ok(limit < value),
        (Some(limit), 3) => Ok(limit > value),
        _ => Err("the packet's hop limit is not known".into()),
    }
}
