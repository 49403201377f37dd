//! One rule, expression by expression: which field of a packet stands in which register, and what it is compared with.

use super::reading::{Asked, ReadRule};
use super::value::{SourceTest, Test, Version, WITH_PORTS, bounds, is_prefix, names_are_understood, number};
use crate::ruleset::{
    Cmp, CtKey, Direction, ElementKey, Expr, FibResult, Foreign, MetaKey, PayloadBase, Register, Reject, Rule,
    SetFlags, SetRef, Table, Verdict, fib_flags,
};
use std::collections::BTreeMap;

/// The name of the loopback as a register has it.
const LOOPBACK: &[u8] = b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// What stands in a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    /// The first bytes of the source address, behind a mask.
    Source(Option<&'a [u8]>),
    /// The first bytes of the destination address as the sender wrote it.
    Destination,
    /// The destination port as the sender wrote it.
    Port,
    /// The source port and the destination port.
    Ports,
    Incoming,
    Outgoing,
    Protocol,
    Version,
    /// Something else that packets of one class may differ in.
    Varies,
}

/// Follows the registers of one rule.
pub(super) struct Reader<'a, 't> {
    table: &'a Table,
    version: Version,
    asked: &'t mut Asked<'a>,
    /// By the first slot: what, and how many bytes.
    registers: BTreeMap<u8, (Field<'a>, usize)>,
    /// The protocol that the rule is for.
    protocol: Option<u8>,
    /// Whether the rule is for the other version, and what follows is never asked.
    for_another: bool,
    read: ReadRule<'a>,
}

impl<'a, 't> Reader<'a, 't> {
    pub(super) fn new(table: &'a Table, version: Version, asked: &'t mut Asked<'a>) -> Self {
        let read = ReadRule {
            sources: Vec::new(),
            rest: Rule::default(),
            opaque: false,
            transport: false,
            destinations: Vec::new(),
        };
        Self { table, version, asked, registers: BTreeMap::new(), protocol: None, for_another: false, read }
    }

    pub(super) fn rule(mut self, rule: &'a Rule) -> ReadRule<'a> {
        for expr in &rule.exprs {
            if !self.expr(expr) {
                self.read.rest.exprs.push(expr.clone());
            }
            if self.for_another
                || matches!(expr, Expr::Verdict(verdict) if *verdict != Verdict::Continue)
                || matches!(expr, Expr::Reject(_) | Expr::Foreign(Foreign::Reject { .. }))
            {
                break;
            }
        }
        self.read.transport |= self.read.opaque;
        self.read
    }

    /// Reads an expression; whether it asks for the source alone, and so is no part of the rest.
    #[expect(clippy::too_many_lines)]
    fn expr(&mut self, expr: &'a Expr) -> bool {
        match expr {
            Expr::Meta { key, dreg } => {
                let (field, len) = match key {
                    MetaKey::Iifname => (Some(Field::Incoming), 16),
                    MetaKey::Oifname => (Some(Field::Outgoing), 16),
                    MetaKey::L4proto => (Some(Field::Protocol), 1),
                    MetaKey::Nfproto => (Some(Field::Version), 1),
                    MetaKey::Other(_) => (None, 4),
                };
                self.store(*dreg, field, len);
            }
            Expr::Ct { key, direction, dreg } => {
                let original = *direction == Some(Direction::Original);
                let (field, len) = match key {
                    CtKey::State | CtKey::Status => (None, 4),
                    CtKey::ProtoDst if original => (Some(Field::Port), 2),
                    CtKey::DstIp if original && self.version == Version::V4 => (Some(Field::Destination), 4),
                    CtKey::DstIp6 if original && self.version == Version::V6 => (Some(Field::Destination), 16),
                    // Of the other version: there is none, and the rule does not match.
                    CtKey::DstIp | CtKey::DstIp6 if original => (None, 16),
                    CtKey::ProtoDst | CtKey::DstIp | CtKey::DstIp6 | CtKey::Other(_) => (Some(Field::Varies), 16),
                };
                self.store(*dreg, field, len);
            }
            Expr::Payload { base, offset, len, dreg } => {
                let field = self.payload(*base, *offset, *len);
                self.store(*dreg, field, usize::try_from(*len).unwrap_or(usize::MAX));
            }
            Expr::Fib { result, flags, dreg } => {
                let of_source = flags & (fib_flags::SADDR | fib_flags::PRESENT) == fib_flags::SADDR;
                let field = match result {
                    // The simulator takes a source for one that routes back by where it came in.
                    FibResult::OifName if of_source => Some(Field::Incoming),
                    FibResult::Oif if of_source => Some(Field::Varies),
                    // What it takes the addresses for depends on the hook, and on whether they come by the loopback.
                    FibResult::Oif | FibResult::OifName | FibResult::Type => {
                        self.asked.incoming.push(Test::Begins(Cmp::Eq, LOOPBACK));
                        None
                    }
                };
                self.store(*dreg, field, usize::try_from(result.len(*flags)).unwrap_or(usize::MAX));
            }
            Expr::Cmp { op, sreg, data } => return self.compare(*op, *sreg, data),
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let field = match self.load(*sreg, mask.len()) {
                    Some((Field::Source(None), len)) if len == mask.len() && xor.iter().all(|byte| *byte == 0) => {
                        Some(Field::Source(Some(mask)))
                    }
                    // The simulator knows the version, and that it does not know what becomes of the source.
                    None | Some((Field::Source(_) | Field::Version, _)) => None,
                    Some(_) => Some(Field::Varies),
                };
                self.store(*dreg, field, mask.len());
            }
            Expr::Lookup { set, sreg, dreg, inverted } => return self.lookup(set, *sreg, *dreg, *inverted),
            Expr::Reject(Reject::TcpReset) => self.read.transport = true,
            Expr::Unknown { .. } => self.registers.clear(),
            Expr::Foreign(Foreign::Log { .. }) => {}
            // Whether it is answered by a reset depends on the protocol.
            Expr::Foreign(Foreign::Reject { .. }) => self.read.transport = true,
            // No rule of palisade has one: what such a rule asks is not looked into.
            Expr::Foreign(_) => {
                self.read.opaque = true;
                self.registers.clear();
            }
            Expr::Dynset { .. }
            | Expr::Verdict(_)
            | Expr::Counter { .. }
            | Expr::Limit(_)
            | Expr::Log(_)
            | Expr::Reject(Reject::Icmpx(_)) => {}
        }
        false
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, len: u32) -> Option<Field<'a>> {
        let bytes = u32::try_from(self.version.len()).unwrap_or_default();
        let overlaps = |begin: u32, size: u32| offset < begin + size && begin < offset.saturating_add(len);
        match base {
            PayloadBase::Network if offset == self.version.source() && len <= bytes => Some(Field::Source(None)),
            PayloadBase::Network if offset == self.version.destination() && len <= bytes => Some(Field::Destination),
            PayloadBase::Network => {
                let varies = overlaps(self.version.destination(), bytes) || overlaps(self.version.protocol(), 1);
                varies.then_some(Field::Varies)
            }
            PayloadBase::Transport => {
                self.read.transport = true;
                match (offset, len) {
                    (2, 2) => Some(Field::Port),
                    (0, 4) => Some(Field::Ports),
                    _ if self.protocol.is_some_and(|number| !WITH_PORTS.contains(&number)) => None,
                    // What stands behind the ports is never known.
                    _ => overlaps(0, 4).then_some(Field::Varies),
                }
            }
            PayloadBase::Link | PayloadBase::Other(_) => None,
        }
    }

    fn store(&mut self, register: Register, field: Option<Field<'a>>, len: usize) {
        let Register::Data(slot) = register else { return };
        if matches!(field, Some(Field::Port | Field::Ports | Field::Protocol)) {
            self.read.transport = true;
        }
        let slots = |slot: u8, len: usize| usize::from(slot)..usize::from(slot).saturating_add(len.div_ceil(4));
        let new = slots(slot, len);
        self.registers.retain(|&other, (_, len)| {
            let old = slots(other, *len);
            old.end <= new.start || new.end <= old.start
        });
        if let Some(field) = field {
            self.registers.insert(slot, (field, len));
        }
    }

    /// What is read from a register; [`Field::Varies`] where it is not one field from its beginning.
    fn load(&self, register: Register, len: usize) -> Option<(Field<'a>, usize)> {
        let Register::Data(slot) = register else { return None };
        let begin = usize::from(slot);
        let end = begin.saturating_add(len.div_ceil(4));
        let within = |&(other, (field, size)): &(&u8, &(Field<'a>, usize))| {
            let other = usize::from(*other);
            begin < other + size.div_ceil(4) && other < end && !matches!(field, Field::Source(_) if other != begin)
        };
        let mut read = self.registers.iter().filter(within);
        match (read.next(), read.next()) {
            (None, _) => None,
            (Some((other, (field, size))), None) if *other == slot && len <= *size => Some((*field, *size)),
            // The source is hidden from the simulator wherever it stands.
            (Some((_, (Field::Source(_), _))), None) => None,
            _ => Some((Field::Varies, len)),
        }
    }

    fn compare(&mut self, op: Cmp, register: Register, data: &'a [u8]) -> bool {
        let Some((field, len)) = self.load(register, data.len()) else { return false };
        let whole = len == data.len();
        match field {
            Field::Source(mask) => {
                let understood = mask.is_none() || matches!(op, Cmp::Eq | Cmp::Neq) && whole && is_prefix(mask);
                if understood {
                    self.read.sources.push(SourceTest::Begins { op, data, mask });
                }
                return understood;
            }
            Field::Destination => self.read.destinations.push(Test::Begins(op, data)),
            Field::Port if whole => {
                let port = u32::try_from(number(data)).unwrap_or_default();
                self.asked.ports.entry(self.protocol).or_default().extend([port, port + 1]);
            }
            Field::Ports if whole && matches!(op, Cmp::Eq | Cmp::Neq) => {
                let (source, port) = (number(&data[..2]), number(&data[2..]));
                let (source, port) =
                    (u16::try_from(source).unwrap_or_default(), u16::try_from(port).unwrap_or_default());
                self.asked.ports.entry(self.protocol).or_default().extend([u32::from(port), u32::from(port) + 1]);
                self.asked.pairs.insert((source, port));
            }
            Field::Incoming if matches!(op, Cmp::Eq | Cmp::Neq) => self.asked.incoming.push(Test::Begins(op, data)),
            Field::Outgoing if matches!(op, Cmp::Eq | Cmp::Neq) => self.asked.outgoing.push(Test::Begins(op, data)),
            Field::Version => self.for_another |= op == Cmp::Eq && data != [self.version.nfproto()],
            Field::Protocol if matches!(op, Cmp::Eq | Cmp::Neq) => {
                self.asked.protocols.extend(data.first());
                if op == Cmp::Eq {
                    self.protocol = data.first().copied();
                }
            }
            _ => self.read.opaque = true,
        }
        false
    }

    fn lookup(&mut self, set: &'a SetRef, register: Register, dreg: Option<Register>, inverted: bool) -> bool {
        let (set, name) = match set {
            SetRef::Anonymous(set) => (&**set, None),
            SetRef::Named(name) => match self.table.sets.get(name) {
                Some(set) => (set, Some(name.as_str())),
                None => return false,
            },
        };
        let key_len = usize::try_from(set.spec.key.len).unwrap_or(usize::MAX);
        let field = self.load(register, key_len);
        if let Some(dreg) = dreg {
            self.store(dreg, (!set.elements.is_empty()).then_some(Field::Varies), 16);
        }
        let Some((field, len)) = field else { return false };
        let plain = !set.spec.flags.contains(SetFlags::CONCAT)
            && !set.spec.flags.contains(SetFlags::EXPR)
            && set.spec.unknown.is_empty();
        let catch_all = set.elements.last().is_some_and(|element| element.key == ElementKey::CatchAll);
        match field {
            Field::Source(mask) => {
                let understood =
                    mask.is_none() && dreg.is_none() && plain && len == key_len && !(inverted && catch_all);
                if understood {
                    self.read.sources.push(SourceTest::In { set, name, inverted });
                }
                return understood;
            }
            Field::Version => {}
            // Nothing is in it, whatever is asked for.
            _ if set.elements.is_empty() => {}
            _ if !plain || len != key_len => self.read.opaque = true,
            Field::Destination => self.read.destinations.push(Test::In(set)),
            Field::Port => {
                let ends = bounds(set).flat_map(|(first, last)| [number(first), number(last) + 1]);
                let ends = ends.map(|end| u32::try_from(end).unwrap_or(u32::MAX));
                self.asked.ports.entry(self.protocol).or_default().extend(ends);
            }
            Field::Incoming if names_are_understood(set) => self.asked.incoming.push(Test::In(set)),
            Field::Outgoing if names_are_understood(set) => self.asked.outgoing.push(Test::In(set)),
            Field::Protocol => {
                let named = bounds(set).flat_map(|(first, last)| {
                    first.first().copied().unwrap_or_default()..=last.first().copied().unwrap_or_default()
                });
                self.asked.protocols.extend(named);
            }
            Field::Ports | Field::Incoming | Field::Outgoing | Field::Varies => self.read.opaque = true,
        }
        false
    }
}
