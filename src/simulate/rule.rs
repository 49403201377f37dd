//! Whether a rule matches, and its verdict: runs its expressions on a virtual machine like the kernel's.

use super::bits::{Bits, Registers};
use super::machine::{Done, End, Machine, RuleResult, truth};
use super::order::{EGRESS, INGRESS};
use super::packet::Interface;
use super::sets::{Answer, find, has_catch_all, value_len};
use super::truth::{Doubt, Truth};
use super::view::Load;
use crate::net::{IfName, protocol};
use crate::ruleset::{
    Cmp, CtKey, DynsetOp, ElementValue, Expr, Family, Hook, Limit, MetaKey, PayloadBase, Register, Reject, Rule, Set,
    SetFlags, SetRef, Verdict,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Expressions, also in forms that are not known, that give no verdict and leave the packet and its connection
/// unchanged: they can only match or not.
const ONLY_MATCH: [&str; 22] = [
    "bitwise",
    "byteorder",
    "cmp",
    "connlimit",
    "counter",
    "dynset",
    "exthdr",
    "fib",
    "hash",
    "last",
    "limit",
    "match",
    "meta",
    "numgen",
    "osf",
    "quota",
    "range",
    "rt",
    "secmark",
    "socket",
    "tunnel",
    "xfrm",
];

impl<'a> Machine<'a, '_> {
    /// `certain` says that the packet surely gets to the rule.
    pub(super) fn run(&self, rule: &'a Rule, certain: bool) -> RuleResult<'a> {
        let mut registers = Registers::new();
        let mut doubt: Option<Doubt> = None;
        for expr in &rule.exprs {
            match self.step(expr, &mut registers, certain && doubt.is_none()) {
                Done::If(Truth::True) => {}
                Done::If(Truth::False) => return RuleResult::NoMatch,
                Done::If(Truth::Doubtful(why)) => doubt = doubt.or(Some(why)),
                Done::End(End::Continue, why) => doubt = doubt.or(why),
                Done::End(end, why) => return RuleResult::Match { end, doubt: doubt.or(why) },
            }
        }
        RuleResult::Match { end: End::Continue, doubt }
    }

    /// Whether a rule wants another address or port in the headers, before it does anything: most rules of an engine do, and
    /// need not be run.
    pub(super) fn is_ruled_out(&self, rule: &Rule) -> bool {
        for (expr, next) in rule.exprs.iter().zip(rule.exprs.iter().skip(1)) {
            match (expr, next) {
                (Expr::Payload { base, offset, len, dreg }, Expr::Cmp { op: Cmp::Eq, sreg, data })
                    if dreg == sreg && usize::try_from(*len) == Ok(data.len()) =>
                {
                    let Some(bytes) = self.view.bytes(*base, *offset, *len) else { continue };
                    if bytes != data.as_slice() {
                        self.sets.hears_of(Some(bytes), data);
                        return true;
                    }
                }
                _ if only_tests(expr) => {}
                _ => return false,
            }
        }
        false
    }

    fn step(&self, expr: &'a Expr, registers: &mut Registers, certain: bool) -> Done<'a> {
        match expr {
            Expr::Meta { key, dreg } => load(self.meta(*key), *dreg, registers),
            Expr::Ct { key: CtKey::Mark, dreg, .. } if self.view.is_tracked() => {
                let mark = self.effects.borrow().ct_mark.clone();
                load(Load::Value(mark, "`ct` key 3 of the connection is not known".into()), *dreg, registers)
            }
            Expr::Ct { key, direction, dreg } => load(self.ct(*key, *direction), *dreg, registers),
            Expr::Payload { base: PayloadBase::Link, offset, len, dreg } => {
                load(self.frame(*offset, *len), *dreg, registers)
            }
            Expr::Payload { base, offset, len, dreg } => {
                load(self.view.payload(*base, *offset, *len), *dreg, registers)
            }
            Expr::Cmp { op, sreg, data } => {
                let (answer, bytes) = registers.compare(*sreg, *op, data);
                self.sets.hears_of(bytes, data);
                Done::If(registers.truth(answer))
            }
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let result = registers.load(*sreg, mask.len()).masked(mask, xor);
                registers.store(*dreg, &result);
                Done::If(Truth::True)
            }
            Expr::Lookup { set, sreg, dreg, inverted } => self.lookup(set, *sreg, *dreg, *inverted, registers),
            Expr::Dynset { set, op, sreg_key, exprs, .. } => {
                Done::If(self.dynset((set, *op), *sreg_key, registers, certain, exprs))
            }
            Expr::Fib { result, flags, dreg } => self.fib(*result, *flags, *dreg, registers),
            Expr::Verdict(Verdict::Continue) | Expr::Counter { .. } | Expr::Log(_) => Done::If(Truth::True),
            Expr::Verdict(verdict) => Done::End(End::Verdict(Cow::Borrowed(verdict)), None),
            Expr::Limit(limit) => Done::If(unhurried(*limit)),
            Expr::Reject(how) => self.refuse(*how == Reject::TcpReset),
            Expr::Foreign(expr) => self.foreign(expr, registers, certain),
            // It matches, whatever it logs and wherever to.
            Expr::Unknown { name, .. } if name == "log" => Done::If(Truth::True),
            Expr::Unknown { name, .. } if name == "reject" => self.refuse(false),
            Expr::Unknown { name, .. } => {
                let why = Doubt::from(format!("what the expression `{name}` does is not known"));
                if !ONLY_MATCH.contains(&name.as_str()) {
                    return Done::End(End::Anything(why), None);
                }
                registers.forget_from(Register::Data(0), why.clone());
                Done::If(Truth::Doubtful(why))
            }
        }
    }

    /// Refuses the packet, or drops it if its sender can't be told: only TCP has resets, and no ICMP error is sent
    /// about another.
    pub(super) fn refuse(&self, reset: bool) -> Done<'a> {
        let told = if reset { self.view.protocol() == protocol::TCP } else { !self.view.is_icmp_error() };
        if !told {
            return Done::End(End::Verdict(Cow::Owned(Verdict::Drop)), None);
        }
        let mut effects = self.effects.borrow_mut();
        if reset {
            effects.resets = true
        } else {
            effects.errors = true
        }
        Done::End(End::Reject, None)
    }

    fn meta(&self, key: MetaKey) -> Load {
        let interface = match key {
            // Elsewhere it tells the version of IP.
            MetaKey::Nfproto if self.id.family == Family::Netdev => {
                return Load::Value(Bits::known(&[Family::Netdev.number()]), Doubt::default());
            }
            MetaKey::Mark => {
                let mark = self.effects.borrow().mark.clone();
                return Load::Value(mark, "`meta` key 3 of the packet is not known".into());
            }
            MetaKey::Iif => self.view.incoming(),
            MetaKey::Oif => self.view.outgoing(),
            MetaKey::IifType | MetaKey::IifGroup | MetaKey::IifKind => {
                return self.property(key, self.view.incoming());
            }
            MetaKey::OifType | MetaKey::OifGroup | MetaKey::OifKind => {
                return self.property(key, self.view.outgoing());
            }
            MetaKey::PacketType => {
                return self
                    .packet_type()
                    .map_or_else(Load::Unknown, |kind| Load::Value(Bits::known(&[kind]), Doubt::default()));
            }
            // A forwarded packet belongs to no socket.
            MetaKey::SkUid | MetaKey::SkGid if self.view.is_forwarded() => return Load::Breaks,
            _ => return self.view.meta(key),
        };
        match (interface, self.routes) {
            (Interface::Named(name), Some(routes)) => match routes.index(name) {
                Ok(index) => Load::Value(Bits::host_u32(index, u32::MAX), Doubt::default()),
                Err(why) => Load::Unknown(why),
            },
            _ => self.view.meta(key),
        }
    }

    /// Bytes of an Ethernet header, of which the type is known.
    fn frame(&self, offset: u32, len: u32) -> Load {
        /// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`.
        const WITH_ETHERNET: [u16; 2] = [1, 772];
        let unknown = || Load::Unknown("the packet is known from its network header on".into());
        let interface = match self.view.hook() {
            Hook::Prerouting | Hook::Input | Hook::Forward | INGRESS => self.view.incoming(),
            EGRESS => self.view.outgoing(),
            _ => return unknown(),
        };
        let (Interface::Named(name), Some(routes), false) = (interface, self.routes, self.beneath) else {
            return unknown();
        };
        if !routes.properties(name).is_ok_and(|of| WITH_ETHERNET.contains(&of.hardware)) {
            return unknown();
        }
        let mut header = Bits::unknown(12);
        header.push(&Bits::known(&self.view.ether_type()));
        let slice = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
        match slice.and_then(|(offset, len)| header.slice(offset, len)) {
            Some(bits) => Load::Value(bits, "that field of the packet's frame is not known".into()),
            None => unknown(),
        }
    }

    /// A property of an interface of the packet (`nft_meta_get_eval`).
    fn property(&self, key: MetaKey, interface: &Interface) -> Load {
        let name = match interface {
            Interface::Absent => return Load::Breaks,
            Interface::Unknown => return self.view.meta(key),
            Interface::Named(name) => name,
        };
        let Some(properties) = self.routes.map(|routes| routes.properties(name)) else { return self.view.meta(key) };
        match (properties, key) {
            (Err(why), _) => Load::Unknown(why),
            (Ok(of), MetaKey::IifType | MetaKey::OifType) => {
                Load::Value(Bits::known(&of.hardware.to_ne_bytes()), Doubt::default())
            }
            (Ok(of), MetaKey::IifGroup | MetaKey::OifGroup) => {
                Load::Value(Bits::host_u32(of.group, u32::MAX), Doubt::default())
            }
            (Ok(of), _) => match of.kind {
                Some(kind) => Load::Value(Bits::known(IfName::new(&kind).bytes()), Doubt::default()),
                None => Load::Breaks,
            },
        }
    }

    fn lookup(
        &self,
        set: &'a SetRef,
        sreg: Register,
        dreg: Option<Register>,
        inverted: bool,
        registers: &mut Registers,
    ) -> Done<'a> {
        let (declared, name) = match set {
            SetRef::Anonymous(set) => (&**set, None),
            SetRef::Named(name) => match self.table.sets.get(name) {
                Some(set) => (set, Some(name)),
                None => return not_known(dreg, format!("there is no set {name}").into(), registers),
            },
        };
        let answer = self.answer(declared, name.map(String::as_str), sreg, registers);
        if inverted && (dreg.is_some() || has_catch_all(declared)) {
            return not_known(dreg, "an inverted lookup that kernels differ about".into(), registers);
        }
        match (answer, dreg) {
            (Answer::Unknown(why), _) => not_known(dreg, why, registers),
            (Answer::Absent, _) => Done::If(truth(inverted)),
            (Answer::Present(_), None) => Done::If(truth(!inverted)),
            (Answer::Present(Some(ElementValue::Verdict(Verdict::Continue))), Some(Register::Verdict)) => {
                Done::If(Truth::True)
            }
            (Answer::Present(Some(ElementValue::Verdict(verdict))), Some(Register::Verdict)) => {
                Done::End(End::Verdict(Cow::Owned(verdict)), None)
            }
            (Answer::Present(Some(ElementValue::Data(value))), Some(dreg @ Register::Data(_)))
                if value.len() == value_len(declared) =>
            {
                registers.store(dreg, &Bits::known(&value));
                Done::If(Truth::True)
            }
            (Answer::Present(_), Some(_)) => {
                not_known(dreg, "a map's value of another kind than the map's".into(), registers)
            }
        }
    }

    /// Looks up the value of a register in a set.
    pub(super) fn answer(&self, declared: &Set, name: Option<&str>, sreg: Register, registers: &Registers) -> Answer {
        let changed = name.and_then(|name| self.changed.borrow().get(&(self.id, name)).cloned());
        let empty = || name.map_or(declared.elements.is_empty(), |name| self.sets.is_empty(self.id, name, declared));
        let len = usize::try_from(declared.spec.key.len).unwrap_or(usize::MAX);
        let key = registers.load(sreg, len);
        let is_plain = declared.spec.value.is_none() && !declared.spec.flags.contains(SetFlags::INTERVAL);
        let added = changed.as_ref().and_then(Option::as_ref);
        let changes = |name| Answer::Unknown(format!("the packet itself has changed set {name}").into());
        match (key.bytes(), name) {
            (Some(key), _) if key.len() != len => Answer::Unknown("a key longer than any register".into()),
            (Some(key), Some(_)) if is_plain && added.is_some_and(|keys| keys.contains(key)) => Answer::Present(None),
            (None, Some(name)) if changed.is_some() => changes(name),
            (_, Some(name)) if changed.is_some() && !(is_plain && added.is_some()) => changes(name),
            (Some(key), Some(name)) => self.sets.find(self.id, name, declared, key),
            (Some(key), None) => find(declared, key),
            (None, _) if empty() => Answer::Absent,
            (None, _) => match registers.truth(None) {
                Truth::Doubtful(why) => Answer::Unknown(why),
                Truth::True | Truth::False => Answer::Unknown(Doubt::default()),
            },
        }
    }

    /// The key that a register holds for a set, if it is known and the set is understood.
    fn key(&self, set: &str, register: Register, registers: &Registers) -> Option<Vec<u8>> {
        let spec = &self.table.sets.get(set)?.spec;
        let understood = !spec.flags.contains(SetFlags::EXPR) && spec.unknown.is_empty();
        let len = usize::try_from(spec.key.len).ok().filter(|_| understood)?;
        registers.load(register, len).bytes().filter(|key| key.len() == len).map(<[u8]>::to_vec)
    }

    /// Assumes that the element's expressions see their first packet.
    fn dynset(
        &self,
        (set, op): (&'a str, DynsetOp),
        sreg: Register,
        registers: &Registers,
        certain: bool,
        exprs: &[Expr],
    ) -> Truth {
        let added = if op == DynsetOp::Delete { Truth::True } else { self.is_added(set, sreg, registers) };
        let is_known = certain && op != DynsetOp::Delete && added == Truth::True;
        let key = is_known.then(|| self.key(set, sreg, registers)).flatten();
        let mut changed = self.changed.borrow_mut();
        let keys = changed.entry((self.id, set)).or_insert_with(|| Some(BTreeSet::new()));
        match (keys.as_mut(), key) {
            (Some(keys), Some(key)) => drop(keys.insert(key)),
            _ => *keys = None,
        }
        drop(changed);
        if op == DynsetOp::Delete {
            return Truth::True;
        }
        match (self.of_element(set, exprs), added) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::True, added) => added,
            (doubt, _) => doubt,
        }
    }

    /// Whether the set has the element afterwards: a full one takes no other (`nft_dynset_new`).
    fn is_added(&self, name: &'a str, key: Register, registers: &Registers) -> Truth {
        let Some(set) = self.table.sets.get(name) else {
            return Truth::Doubtful(format!("there is no set {name}").into());
        };
        match self.sets.has_room(self.id, name, set) {
            Some(true) => Truth::True,
            room => match (self.answer(set, Some(name), key, registers), room) {
                (Answer::Present(_), _) => Truth::True,
                (Answer::Absent, Some(_)) => Truth::False,
                _ => Truth::Doubtful(format!("whether set {name} is full is not known").into()),
            },
        }
    }

    /// The result of the expressions of an element that is added.
    fn of_element(&self, set: &str, exprs: &[Expr]) -> Truth {
        let of_set = self.table.sets.get(set).map(|set| &set.spec);
        let mut result = match of_set {
            // If the set declares its elements' expressions, the rule need not repeat them.
            Some(spec) if exprs.is_empty() && spec.flags.contains(SetFlags::EXPR) => {
                Truth::Doubtful(format!("what the elements of set {set} do is not known").into())
            }
            _ => Truth::True,
        };
        for expr in exprs {
            let truth = match expr {
                Expr::Limit(limit) => unhurried(*limit),
                Expr::Counter { .. } => Truth::True,
                _ => Truth::Doubtful(format!("what the elements of set {set} do is not known").into()),
            };
            match truth {
                Truth::False => return Truth::False,
                Truth::Doubtful(_) if result == Truth::True => result = truth,
                Truth::True | Truth::Doubtful(_) => {}
            }
        }
        result
    }
}

/// Whether an expression does nothing but load or test: a rule that does not match anyway need not be run for it.
pub(super) const fn only_tests(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Meta { .. }
            | Expr::Ct { .. }
            | Expr::Payload { .. }
            | Expr::Cmp { .. }
            | Expr::Bitwise { .. }
            | Expr::Fib { .. }
            | Expr::Lookup { dreg: None, .. }
    )
}

/// The result of a lookup that is unknown: its verdict or, without one, whether it matches and what it stores.
fn not_known<'a>(dreg: Option<Register>, why: Doubt, registers: &mut Registers) -> Done<'a> {
    if dreg == Some(Register::Verdict) {
        return Done::End(End::Anything(why), None);
    }
    dreg.into_iter().for_each(|dreg| registers.forget_from(dreg, why.clone()));
    Done::If(Truth::Doubtful(why))
}

/// The result of a limit for a packet that comes alone.
const fn unhurried(limit: Limit) -> Truth {
    truth(!limit.over)
}

fn load<'a>(load: Load, dreg: Register, registers: &mut Registers) -> Done<'a> {
    match load {
        Load::Breaks => Done::If(Truth::False),
        Load::Value(bits, why) => {
            registers.store(dreg, &bits);
            registers.because(why);
            Done::If(Truth::True)
        }
        Load::Unknown(why) => {
            registers.forget_from(dreg, why.clone());
            Done::If(Truth::Doubtful(why))
        }
    }
}
