//! What the expressions of other programs do, iptables' targets among them.

use super::bits::{Bits, Registers};
use super::fib::is_link_local;
use super::machine::{Done, End, Machine};
use super::packet::{Interface, Translation};
use super::sets::Answer;
use super::truth::{Doubt, Truth};
use super::view::Load;
use crate::net::Version;
use crate::ruleset::xt::{ConnectionMark, Target};
use crate::ruleset::{
    Cmp, CtKey, Direction, Extension, Family, Foreign, Hook, MapValue, MetaKey, Nat, Register, SetRef, ct_state,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flags of `NF_NAT_RANGE_*` that change nothing if there is one address and one port.
const NAT_CHOICES: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10;
/// `NFT_REJECT_TCP_RST`.
const TCP_RESET: u32 = 1;

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
            Foreign::SetMeta { .. } | Foreign::Log { .. } => Done::If(Truth::True),
            Foreign::SetCt { key: CtKey::Mark, sreg, .. } => {
                self.mark_connection(registers.load(*sreg, 4), certain);
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
            Foreign::Redirect { ports, flags } => {
                let port = ports[0].map(|register| registers.load(register, 2));
                match port.as_ref().map(|bits| bits.bytes().and_then(|bytes| bytes.try_into().ok())) {
                    None => self.redirect(None),
                    Some(Some(port)) if (ports[1].is_none() || ports[0] == ports[1]) && flags & !NAT_CHOICES == 0 => {
                        self.redirect(Some(u16::from_be_bytes(port)))
                    }
                    _ => anything("to which of several ports it redirects is not known"),
                }
            }
            Foreign::Reject { kind, .. } => self.refuse(*kind == TCP_RESET),
            Foreign::Object { kind, name } => object(*kind, name),
            Foreign::ObjectMap { set, sreg } => self.object_of_map(set, *sreg, registers),
            Foreign::SetPayload { base, offset, len, .. } => {
                if self.view.is_unread(*base, *offset, *len) {
                    Done::If(Truth::True)
                } else {
                    anything("what it makes of the packet's headers is not known")
                }
            }
            Foreign::Notrack => self.leave_untracked(certain),
            Foreign::Match(extension) => Done::If(self.matches(extension)),
            Foreign::Target(extension) => self.target(extension, certain),
        }
    }

    fn leave_untracked(&self, certain: bool) -> Done<'a> {
        match self.view.was_looked_up() {
            // It comes too late for a packet that has a connection.
            Some(true) if self.view.is_tracked() => Done::If(Truth::True),
            Some(_) if certain && self.routes.is_some() => {
                let mut effects = self.effects.borrow_mut();
                effects.changes += usize::from(!effects.untracked);
                effects.untracked = true;
                Done::If(Truth::True)
            }
            _ => anything("whether the connection is tracked is not known"),
        }
    }

    /// A field of the packet's connection. Before the connection is looked up, the packet has a state only if a rule has
    /// left it untracked (`nft_ct_get_eval`).
    pub(super) fn ct(&self, key: CtKey, direction: Option<Direction>) -> Load {
        let is_left = self.view.was_looked_up() == Some(false) && self.effects.borrow().untracked;
        if key == CtKey::State && is_left {
            return Load::Value(Bits::host_u32(ct_state::UNTRACKED, u32::MAX), Doubt::default());
        }
        self.view.ct(key, direction)
    }

    /// The object that a map leads to (`nft_objref_map_eval`).
    fn object_of_map(&self, set: &'a SetRef, sreg: Register, registers: &Registers) -> Done<'a> {
        let (declared, name) = match set {
            SetRef::Anonymous(set) => (&**set, None),
            SetRef::Named(name) => match self.table.sets.get(name) {
                Some(set) => (set, Some(name.as_str())),
                None => return anything_of(format!("there is no map {name}")),
            },
        };
        let Some(MapValue::Object(kind)) = declared.spec.value else {
            return anything("a map of objects that is none");
        };
        match (self.answer(declared, name, sreg, registers), object(kind, "an object")) {
            (Answer::Absent, _) => Done::If(Truth::False),
            (Answer::Present(_), done) => done,
            // Whether there is one, and what it does.
            (Answer::Unknown(why), Done::If(_)) => Done::If(Truth::Doubtful(why)),
            (Answer::Unknown(_), end) => end,
        }
    }

    /// Sends the packet to this machine: to the only address of the interface that it comes in by, or over the
    /// loopback if this machine sends it (`nf_nat_redirect`).
    fn redirect(&self, port: Option<u16>) -> Done<'a> {
        let unknown = || anything("to which address it redirects is not known");
        let Some(routes) = self.routes else { return anything("translations are not followed here") };
        let version = self.view.version();
        if self.view.hook() == Hook::Output {
            let loopback = match version {
                Version::V4 => Ipv4Addr::LOCALHOST.into(),
                Version::V6 => Ipv6Addr::LOCALHOST.into(),
            };
            return self.translate(Some(loopback), port);
        }
        let Interface::Named(interface) = self.view.incoming() else { return unknown() };
        let Ok(properties) = routes.properties(interface) else { return unknown() };
        let of_version =
            |address: &&IpAddr| address.is_ipv4() == (version == Version::V4) && !is_link_local(**address);
        let mut addresses = properties.addresses.iter().filter(of_version);
        match (addresses.next(), addresses.next()) {
            (Some(address), None) => self.translate(Some(*address), port),
            _ => unknown(),
        }
    }

    fn connection_mark(&self, target: ConnectionMark, certain: bool) -> Done<'a> {
        let looked_up = self.view.was_looked_up();
        if looked_up.is_some() && !self.view.is_tracked() {
            return Done::If(Truth::True);
        }
        let certain = certain && looked_up.is_some();
        let (mark, ct_mark) = (self.effects.borrow().mark.clone(), self.effects.borrow().ct_mark.clone());
        let joined = |to: &Bits, clears: u32, from: &Bits, takes: u32| {
            let from = from.masked(&takes.to_ne_bytes(), &[0; 4]);
            match from.bytes() {
                Some(flips) => to.masked(&(!clears).to_ne_bytes(), flips),
                None => Bits::unknown(4),
            }
        };
        let (mark, ct_mark) = match target {
            ConnectionMark::Set { clears, flips } => {
                (mark, ct_mark.masked(&(!clears).to_ne_bytes(), &flips.to_ne_bytes()))
            }
            ConnectionMark::Save { clears, takes } => {
                let ct_mark = joined(&ct_mark, clears, &mark, takes);
                (mark, ct_mark)
            }
            ConnectionMark::Restore { clears, takes } => (joined(&mark, clears, &ct_mark, takes), ct_mark),
        };
        if matches!(target, ConnectionMark::Restore { .. }) {
            self.mark(mark, certain);
        } else {
            self.mark_connection(ct_mark, certain);
        }
        Done::If(Truth::True)
    }

    /// Before conntrack has looked it up, a packet has no connection that could be marked (`nft_ct_set_eval`).
    fn mark_connection(&self, mark: Bits, certain: bool) {
        let looked_up = self.view.was_looked_up();
        if looked_up.is_none() || self.view.is_tracked() {
            let certain = certain && looked_up.is_some();
            self.effects.borrow_mut().set_ct_mark(if certain { mark } else { Bits::unknown(4) });
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
            Some(Target::ConnectionMark(target)) => self.connection_mark(target, certain),
            Some(Target::Notrack) => self.leave_untracked(certain),
            Some(Target::Redirect { port }) => self.redirect(port),
            Some(Target::Dnat { address, port }) => self.translate(address, port),
            Some(Target::Snat) => self.translate_source(),
            Some(Target::Reject { reset }) => self.refuse(reset),
        }
    }
}

/// What an object of that `NFT_OBJECT_*` type does.
fn object<'a>(kind: u32, name: &str) -> Done<'a> {
    const QUOTA: u32 = 2;
    const LIMIT: u32 = 4;
    const CONNLIMIT: u32 = 5;
    match kind {
        kind if Foreign::object_goes_on(kind) => Done::If(Truth::True),
        QUOTA | LIMIT | CONNLIMIT => Done::If(Truth::Doubtful(format!("what {name} says is not known").into())),
        // An expectation and a proxy for SYN packets may drop the packet, or keep it.
        _ => anything_of(format!("what {name} does with the packet is not known")),
    }
}

fn anything<'a>(why: &'static str) -> Done<'a> {
    Done::End(End::Anything(why.into()), None)
}

fn anything_of<'a>(why: String) -> Done<'a> {
    Done::End(End::Anything(why.into()), None)
}
