//! What the expressions of other programs do, iptables' matches and targets among them.

use super::bits::{Bits, Registers};
use super::machine::{Done, End, Machine, truth};
use super::packet::Translation;
use super::truth::{Doubt, Truth};
use super::view::{Load, View};
use crate::ruleset::xt::{Conntrack, Match, Target};
use crate::ruleset::{Cmp, CtKey, Extension, Family, Foreign, MetaKey, Nat, Register, ct_state};
use std::net::IpAddr;

/// Flags of `NF_NAT_RANGE_*` that change nothing if there is one address and one port.
const NAT_CHOICES: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10;
/// `NFT_REJECT_TCP_RST`.
const TCP_RESET: u32 = 1;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;
/// The TCP flags of a connection's first packet: SYN alone, among all flags but those of congestion control.
const SYN: u8 = 0x02;
const PLAIN_FLAGS: u8 = 0x3f;

impl<'a> Machine<'a, '_> {
    /// `certain` says that the packet surely gets to this expression.
    pub(super) fn foreign(&self, expr: &'a Foreign, registers: &mut Registers, certain: bool) -> Done<'a> {
        match expr {
            Foreign::Immediate { dreg, data } => {
                registers.store(*dreg, &Bits::known(data));
                Done::If(Truth::True)
            }
            Foreign::SetMeta { key: MetaKey::Mark, sreg } => {
                self.mark(registers.load(*sreg, 4), certain);
                Done::If(Truth::True)
            }
            // Rules can't read any known value from what these set.
            Foreign::SetMeta { .. } | Foreign::Log { .. } | Foreign::Object { kind: COUNTER, .. } => {
                Done::If(Truth::True)
            }
            Foreign::SetCt { key: CtKey::Mark, sreg, .. } => {
                let mark = if certain { registers.load(*sreg, 4) } else { Bits::unknown(4) };
                self.effects.borrow_mut().set_ct_mark(mark);
                Done::If(Truth::True)
            }
            Foreign::SetCt { key: CtKey::Zone, .. } => anything("connections of another zone are not known"),
            Foreign::SetCt { .. } => Done::If(Truth::True),
            Foreign::Range { inverted, sreg, first, last } => {
                let value = registers.load(*sreg, first.len());
                let within = match (value.compare(Cmp::Gte, first), value.compare(Cmp::Lte, last)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                Done::If(registers.truth(within.map(|within| within != *inverted)))
            }
            Foreign::Nat(nat) => self.nat(nat, registers),
            Foreign::Masquerade { .. } => self.translate_source(),
            Foreign::Redirect { .. } => anything("to which address it redirects is not known"),
            Foreign::Reject { kind, .. } => self.refuse(*kind == TCP_RESET),
            Foreign::Object { name, .. } => {
                Done::If(Truth::Doubtful(format!("what {name} says is not known").into()))
            }
            // It comes too late for a connection that has been looked up.
            Foreign::Notrack if self.view.was_looked_up() == Some(true) => Done::If(Truth::True),
            Foreign::Notrack if certain && self.routes.is_some() && self.view.was_looked_up().is_some() => {
                self.effects.borrow_mut().untracked = true;
                Done::If(Truth::True)
            }
            Foreign::Notrack => anything("whether the connection is tracked is not known"),
            Foreign::Match(extension) => Done::If(self.matches(extension)),
            Foreign::Target(extension) => self.target(extension, certain),
        }
    }

    fn mark(&self, mark: Bits, certain: bool) {
        let mark = if certain { mark } else { Bits::unknown(4) };
        self.effects.borrow_mut().set_mark(mark);
    }

    fn nat(&self, nat: &Nat, registers: &Registers) -> Done<'a> {
        let version = self.view.version();
        if nat.family != u32::from(version.nfproto()) {
            // An expression for the other family does nothing.
            return if nat.family == 1 { anything("how it translates is not known") } else { Done::If(Truth::True) };
        }
        if !nat.destination {
            return self.translate_source();
        }
        let address = nat.addresses[0].map(|register| registers.load(register, version.address_len()));
        let port = nat.ports[0].map(|register| registers.load(register, 2));
        let of_several = |registers: [Option<Register>; 2]| match registers {
            [first, Some(last)] => first != Some(last),
            _ => false,
        };
        let address = match address {
            None => Some(None),
            Some(bits) => bits.bytes().and_then(crate::net::address).map(Some),
        };
        let port = match port {
            None => Some(None),
            Some(bits) => bits.bytes().and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes).map(Some),
        };
        match (address, port) {
            _ if of_several(nat.addresses) || of_several(nat.ports) || nat.flags & !NAT_CHOICES != 0 => {
                anything("to which of several addresses it translates is not known")
            }
            (Some(address), Some(port)) => self.translate(address, port),
            _ => anything("to which address it translates is not known"),
        }
    }

    fn translate(&self, address: Option<IpAddr>, port: Option<u16>) -> Done<'a> {
        if self.routes.is_none() {
            return anything("translations are not followed here");
        }
        let Some(address) = address.or_else(|| self.view.destination()) else {
            return anything("to which address it translates is not known");
        };
        Done::End(End::Translate(Translation { address, port }), None)
    }

    fn translate_source(&self) -> Done<'a> {
        match self.routes {
            Some(_) if !self.view.may_share_a_source() => anything(
                "another connection may have the address that its source is translated to, and its protocol has no ports",
            ),
            Some(_) => Done::End(End::TranslateSource, None),
            None => anything("translations are not followed here"),
        }
    }

    fn target(&self, extension: &Extension, certain: bool) -> Done<'a> {
        let ipv4 = self.id.family == Family::Ip;
        match extension.as_target(ipv4) {
            None => anything_of(format!("what the target {} of iptables does is not known", extension.name)),
            Some(Target::Continue) => Done::If(Truth::True),
            Some(Target::Mark { clears, flips }) => {
                let mark = self.effects.borrow().mark.masked(&(!clears).to_ne_bytes(), &flips.to_ne_bytes());
                self.mark(mark, certain);
                Done::If(Truth::True)
            }
            Some(Target::Dnat { address, port }) => self.translate(address, port),
            Some(Target::Snat) => self.translate_source(),
            Some(Target::Reject { reset }) => self.refuse(reset),
        }
    }

    fn matches(&self, extension: &Extension) -> Truth {
        let view = self.view;
        let Some(asked) = extension.as_match() else {
            return Truth::Doubtful(
                format!("what the match {} of iptables asks is not known", extension.name).into(),
            );
        };
        let answer = match asked {
            // A packet that comes alone exceeds no rate.
            Match::Comment | Match::Limit => Ok(true),
            Match::Conntrack(asked) => conntrack(view, &asked),
            Match::AddressType { source, destination, flags } => self.address_types([
                (view.source(), source, flags & 1 != 0),
                (view.destination(), destination, flags & 2 != 0),
            ]),
            Match::Ports { source, destination, flags } => {
                let flags = flags.map_or(Some(true), |flags| first_flags(view, flags));
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
            Match::HopLimit { mode, value } => match (view.hop_limit(), mode) {
                (Some(limit), 0) => Ok(limit == value),
                (Some(limit), 1) => Ok(limit != value),
                (Some(limit), 2) => Ok(limit < value),
                (Some(limit), 3) => Ok(limit > value),
                _ => Err("the packet's hop limit is not known".into()),
            },
            Match::Recent { remembers: true, inverted, .. } => Ok(!inverted),
            // A packet that comes alone was not seen several times recently.
            Match::Recent { hits, inverted, .. } if hits > 1 => Ok(inverted),
            Match::Recent { .. } => Err("which sources were seen of late is not known".into()),
            Match::RoutingHeader => Ok(false),
        };
        answer.map_or_else(Truth::Doubtful, truth)
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
}

/// Whether those flags of a connection's first packet that are in `mask` equal `set`.
fn first_flags(view: &View<'_>, (mask, set, inverted): (u8, u8, bool)) -> Option<bool> {
    let known = view.is_first() && mask & !PLAIN_FLAGS == 0;
    known.then_some((SYN & mask == set) != inverted)
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
fn conntrack(view: &View<'_>, asked: &Conntrack) -> Result<bool, Doubt> {
    let state = number(view.ct(CtKey::State, None))?.unwrap_or(ct_state::INVALID);
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

fn anything<'a>(why: &'static str) -> Done<'a> {
    Done::End(End::Anything(why.into()), None)
}

fn anything_of<'a>(why: String) -> Done<'a> {
    Done::End(End::Anything(why.into()), None)
}
