//! One rule, expression by expression: which fields of a packet it tests, and what it compares them with.

#![deny(clippy::wildcard_enum_match_arm)]

use super::asked::{Asked, Asks, ReadRule};
use super::value::{SourceTest, Test, WITH_PORTS, bounds, meets_containers, names_are_understood, number};
use crate::net::header::{self, Place};
use crate::net::{IfName, Version, is_prefix};
use crate::ruleset::registers;
use crate::ruleset::registers::{Content, Part, Registers};
use crate::ruleset::{
    Cmp, CtKey, Direction, ElementKey, Expr, FibResult, Foreign, MapValue, MetaKey, PayloadBase, Register, Reject,
    Rule, SetFlags, SetRef, Table, Verdict, fib_flags,
};

/// The loopback's name as it stands in a register.
const LOOPBACK: &[u8] = IfName::LOOPBACK.bytes();

/// The content of a register, if packets of one class may differ in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    /// The leading bytes of the source address, masked if there is a mask.
    Source(Option<&'a [u8]>),
    /// The leading bytes of an answer's source.
    Answerer,
    /// The leading bytes of the destination address as the sender wrote it, masked if there is a mask.
    Destination(Option<&'a [u8]>),
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
    version: Version,
    asks: Asks,
    asked: &'t mut Asked<'a>,
    registers: Registers<'a>,
    /// The protocol that the rule is for.
    protocol: Option<u8>,
    /// Whether the rule is for the other IP version, so that its remaining expressions are never evaluated.
    for_another: bool,
    read: ReadRule<'a>,
}

impl<'a, 't> Reader<'a, 't> {
    pub(super) fn new(table: &'a Table, version: Version, asks: Asks, asked: &'t mut Asked<'a>) -> Self {
        let read = ReadRule {
            sources: Vec::new(),
            rest: Rule::default(),
            opaque: false,
            transport: false,
            destinations: Vec::new(),
            answerers: 0,
            meets_containers: true,
        };
        let registers = Registers::new(&table.sets);
        Self { version, asks, asked, registers, protocol: None, for_another: false, read }
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

    /// Reads an expression. Returns whether it tests only the source, and so is left out of [`ReadRule::rest`].
    fn expr(&mut self, expr: &'a Expr) -> bool {
        let asks_source = match expr {
            Expr::Meta { key, .. } => self.loads(registers::Field::Meta(*key)),
            Expr::Ct { key, direction, .. } => self.loads(registers::Field::Ct(*key, *direction)),
            Expr::Payload { base, offset, len, .. } => {
                self.loads(registers::Field::Payload { base: *base, offset: *offset, len: *len })
            }
            Expr::Fib { result, flags, .. } => self.loads(registers::Field::Fib(*result, *flags)),
            Expr::Cmp { op, sreg, data } => self.compare(*op, *sreg, data),
            Expr::Lookup { set, sreg, dreg, inverted } => self.lookup(set, *sreg, dreg.is_some(), *inverted),
            Expr::Reject(Reject::TcpReset) => self.asks_transport(),
            Expr::Foreign(foreign) => self.foreign(foreign),
            Expr::Bitwise { .. }
            | Expr::Dynset { .. }
            | Expr::Verdict(_)
            | Expr::Counter { .. }
            | Expr::Limit(_)
            | Expr::Log(_)
            | Expr::Reject(Reject::Icmpx(_))
            | Expr::Unknown { .. } => false,
        };
        self.registers.run(expr);
        asks_source
    }

    fn foreign(&mut self, expr: &'a Foreign) -> bool {
        match expr {
            Foreign::Log { .. } => false,
            Foreign::Object { kind, .. } if Foreign::object_goes_on(*kind) => false,
            // The rule ends where the map leads to none.
            Foreign::ObjectMap { set, sreg } if self.leads_to_what_goes_on(set) => {
                self.lookup(set, *sreg, false, false)
            }
            // The protocol decides whether it answers with a TCP reset.
            Foreign::Reject { .. } => self.asks_transport(),
            // No rule of palisade has one, so such a rule is not analysed.
            Foreign::Immediate { .. }
            | Foreign::SetMeta { .. }
            | Foreign::SetCt { .. }
            | Foreign::Range { .. }
            | Foreign::Nat(_)
            | Foreign::Masquerade { .. }
            | Foreign::Redirect { .. }
            | Foreign::Object { .. }
            | Foreign::ObjectMap { .. }
            | Foreign::SetPayload { .. }
            | Foreign::Notrack
            | Foreign::Match(_)
            | Foreign::Target(_) => {
                self.read.opaque = true;
                false
            }
        }
    }

    /// Whether a map leads to objects that let every packet go on with its rule.
    fn leads_to_what_goes_on(&self, map: &'a SetRef) -> bool {
        let value = self.registers.set(map).and_then(|(map, _)| map.spec.value);
        matches!(value, Some(MapValue::Object(kind)) if Foreign::object_goes_on(kind))
    }

    fn asks_answerer(&mut self, test: &SourceTest<'_>) {
        let elements_change =
            matches!(test, SourceTest::In { set, .. } if set.spec.flags.contains(SetFlags::DYNAMIC));
        self.read.answerers += 1;
        self.read.meets_containers &= elements_change || meets_containers(test, self.version);
    }

    fn asks_transport(&mut self) -> bool {
        self.read.transport = true;
        false
    }

    fn loads(&mut self, field: registers::Field) -> bool {
        use registers::Field as Loaded;
        let of_transport = matches!(field, Loaded::Payload { base: PayloadBase::Transport, .. })
            || matches!(self.field(field), Some(Field::Port | Field::Ports | Field::Protocol));
        self.read.transport |= of_transport;
        // The simulator decides the type of an address by the hook, and by whether the packet comes in by the
        // loopback.
        if matches!(field, Loaded::Fib(..)) && self.field(field).is_none() {
            self.asked.incoming.push(Test::Begins(Cmp::Eq, LOOPBACK));
        }
        false
    }

    /// How a field differs among the packets of one class; `None` if it is the same for all of them, or if the
    /// simulator reports it as unknown.
    fn field(&self, field: registers::Field) -> Option<Field<'a>> {
        use registers::Field as Loaded;
        match field {
            // An answer comes in by the interface that its connection's first packet left by, and leaves by the one
            // that it came in by.
            Loaded::Meta(MetaKey::Iifname) if self.asks == Asks::Answer => Some(Field::Outgoing),
            Loaded::Meta(MetaKey::Oifname) if self.asks == Asks::Answer => Some(Field::Incoming),
            Loaded::Meta(key) => of_meta(key),
            Loaded::Ct(key, direction) => self.of_connection(key, direction == Some(Direction::Original)),
            Loaded::Payload { base, offset, len } => self.of_header(base, offset, len),
            Loaded::Fib(result, flags) => {
                let of_source = flags & (fib_flags::SADDR | fib_flags::PRESENT) == fib_flags::SADDR;
                match result {
                    // The simulator assumes that a source routes back by the interface that it came in by.
                    FibResult::OifName if of_source && self.asks == Asks::Answer => Some(Field::Outgoing),
                    FibResult::OifName if of_source => Some(Field::Incoming),
                    FibResult::Oif if of_source => Some(Field::Varies),
                    FibResult::Oif | FibResult::OifName | FibResult::Type => None,
                }
            }
        }
    }

    fn of_connection(&self, key: CtKey, original: bool) -> Option<Field<'a>> {
        match key {
            CtKey::State | CtKey::Status => None,
            CtKey::ProtoDst if original => Some(Field::Port),
            CtKey::DstIp | CtKey::DstIp6 if original => {
                let of_version = (key == CtKey::DstIp) == (self.version == Version::V4);
                // There is no address of the other version, so the rule does not match.
                of_version.then_some(Field::Destination(None))
            }
            CtKey::ProtoDst
            | CtKey::DstIp
            | CtKey::DstIp6
            | CtKey::Direction
            | CtKey::Mark
            | CtKey::SecMark
            | CtKey::Expiration
            | CtKey::Helper
            | CtKey::L3proto
            | CtKey::Src
            | CtKey::Dst
            | CtKey::Protocol
            | CtKey::ProtoSrc
            | CtKey::Labels
            | CtKey::Packets
            | CtKey::Bytes
            | CtKey::AveragePacket
            | CtKey::Zone
            | CtKey::EventMask
            | CtKey::SrcIp
            | CtKey::SrcIp6
            | CtKey::Id
            | CtKey::Other(_) => Some(Field::Varies),
        }
    }

    fn of_header(&self, base: PayloadBase, offset: u32, len: u32) -> Option<Field<'a>> {
        let (source, destination) = (self.version.source(), self.version.destination());
        match base {
            _ if self.asks == Asks::Answer => self.of_answer(base, offset, len),
            PayloadBase::Network if source.begins(offset, len) => Some(Field::Source(None)),
            PayloadBase::Network if destination.begins(offset, len) => Some(Field::Destination(None)),
            PayloadBase::Network => {
                let varies = destination.overlaps(offset, len) || self.version.protocol().overlaps(offset, len);
                varies.then_some(Field::Varies)
            }
            PayloadBase::Transport => match (Place { offset, len }) {
                header::ports::DESTINATION => Some(Field::Port),
                header::ports::BOTH => Some(Field::Ports),
                _ if self.protocol.is_some_and(|number| !WITH_PORTS.contains(&number)) => None,
                // The bytes after the ports are never known.
                _ => header::ports::BOTH.overlaps(offset, len).then_some(Field::Varies),
            },
            PayloadBase::Link | PayloadBase::Inner | PayloadBase::Other(_) => None,
        }
    }

    /// As [`Self::of_header`], for an answer, whose destination is the client.
    fn of_answer(&self, base: PayloadBase, offset: u32, len: u32) -> Option<Field<'a>> {
        let (source, destination) = (self.version.source(), self.version.destination());
        match base {
            PayloadBase::Network if source.begins(offset, len) => Some(Field::Answerer),
            PayloadBase::Network if destination.begins(offset, len) => Some(Field::Source(None)),
            PayloadBase::Network => {
                let fields = [source, destination, self.version.protocol()];
                fields.iter().any(|field| field.overlaps(offset, len)).then_some(Field::Varies)
            }
            PayloadBase::Transport if self.protocol.is_some_and(|number| !WITH_PORTS.contains(&number)) => None,
            PayloadBase::Transport => match (Place { offset, len }) {
                header::ports::SOURCE => Some(Field::Port),
                _ => header::ports::BOTH.overlaps(offset, len).then_some(Field::Varies),
            },
            PayloadBase::Link | PayloadBase::Inner | PayloadBase::Other(_) => None,
        }
    }

    fn content(&self, content: &Content<'a>) -> Option<Field<'a>> {
        // The simulator knows the version, and reports whatever is computed from a source as unknown.
        let varies = |field: Option<Field<'a>>| match field {
            None | Some(Field::Source(_) | Field::Version) => None,
            Some(_) => Some(Field::Varies),
        };
        match content {
            Content::Field(field) => self.field(*field),
            Content::Masked { field, mask, xor } => match self.field(*field) {
                Some(Field::Source(None)) if field.width() == mask.len() && xor.iter().all(|byte| *byte == 0) => {
                    Some(Field::Source(Some(mask)))
                }
                Some(Field::Destination(None))
                    if field.width() == mask.len() && xor.iter().all(|byte| *byte == 0) && is_prefix(mask) =>
                {
                    Some(Field::Destination(Some(mask)))
                }
                field => varies(field),
            },
            Content::Computed(fields) => fields.iter().find_map(|field| varies(self.field(*field))),
            Content::Mapped(set) => set.is_none_or(|set| !set.elements.is_empty()).then_some(Field::Varies),
            Content::Constant(_) => None,
        }
    }

    /// The field that is read from a register; [`Field::Varies`] unless it is one field from its first byte on.
    fn load(&self, register: Register, len: usize) -> Option<(Field<'a>, usize)> {
        let known = |part: &Part<'a>| {
            let field = self.content(&part.content)?;
            // The source is hidden from the simulator at any offset.
            let elsewhere = matches!(field, Field::Source(_)) && part.before != Some(0);
            (!elsewhere).then_some((part.before, field, part.len))
        };
        let parts = self.registers.read(register, len);
        let mut read = parts.iter().filter_map(known);
        match (read.next(), read.next()) {
            (None, _) => None,
            (Some((Some(0), field, size)), None) if len <= size => Some((field, size)),
            (Some((_, Field::Source(_), _)), None) => None,
            _ => Some((Field::Varies, len)),
        }
    }

    fn compare(&mut self, op: Cmp, register: Register, data: &'a [u8]) -> bool {
        let Some((field, len)) = self.load(register, data.len()) else { return false };
        let whole = len == data.len();
        match field {
            Field::Source(mask) => {
                let understood =
                    mask.is_none() || matches!(op, Cmp::Eq | Cmp::Neq) && whole && mask.is_none_or(is_prefix);
                if understood {
                    self.read.sources.push(SourceTest::Begins { op, data, mask });
                }
                return understood;
            }
            Field::Destination(None) => self.read.destinations.push(Test::Begins(op, data)),
            Field::Destination(Some(mask)) if whole && matches!(op, Cmp::Eq | Cmp::Neq) => {
                self.read.destinations.push(Test::Within { data, mask });
            }
            Field::Answerer => {
                self.read.destinations.push(Test::Begins(op, data));
                self.asks_answerer(&SourceTest::Begins { op, data, mask: None });
            }
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
            Field::Destination(Some(_))
            | Field::Port
            | Field::Ports
            | Field::Incoming
            | Field::Outgoing
            | Field::Protocol
            | Field::Varies => self.read.opaque = true,
        }
        false
    }

    fn lookup(&mut self, set: &'a SetRef, register: Register, maps: bool, inverted: bool) -> bool {
        let Some((set, name)) = self.registers.set(set) else { return false };
        let key_len = usize::try_from(set.spec.key.len).unwrap_or(usize::MAX);
        let Some((field, len)) = self.load(register, key_len) else { return false };
        let plain = !set.spec.flags.contains(SetFlags::CONCAT)
            && !set.spec.flags.contains(SetFlags::EXPR)
            && set.spec.unknown.is_empty();
        let catch_all = set.elements.last().is_some_and(|element| element.key == ElementKey::CatchAll);
        match field {
            Field::Source(mask) => {
                let understood = mask.is_none() && !maps && plain && len == key_len && !(inverted && catch_all);
                if understood {
                    self.read.sources.push(SourceTest::In { set, name, inverted });
                }
                return understood;
            }
            Field::Version => {}
            // The set is empty, so no lookup finds anything.
            _ if set.elements.is_empty() => {}
            _ if !plain || len != key_len => self.read.opaque = true,
            Field::Destination(None) => self.read.destinations.push(Test::In(set)),
            Field::Answerer => {
                self.read.destinations.push(Test::In(set));
                self.asks_answerer(&SourceTest::In { set, name, inverted });
            }
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
            Field::Destination(Some(_)) | Field::Ports | Field::Incoming | Field::Outgoing | Field::Varies => {
                self.read.opaque = true
            }
        }
        false
    }
}

/// How a packet's property differs among the packets of one class.
fn of_meta<'a>(key: MetaKey) -> Option<Field<'a>> {
    match key {
        MetaKey::Iifname => Some(Field::Incoming),
        MetaKey::Oifname => Some(Field::Outgoing),
        MetaKey::L4proto => Some(Field::Protocol),
        MetaKey::Nfproto => Some(Field::Version),
        // Decided by the IP version, or reported as unknown by the simulator.
        MetaKey::Len
        | MetaKey::Protocol
        | MetaKey::Priority
        | MetaKey::Mark
        | MetaKey::Iif
        | MetaKey::Oif
        | MetaKey::IifType
        | MetaKey::OifType
        | MetaKey::SkUid
        | MetaKey::SkGid
        | MetaKey::Trace
        | MetaKey::RtClassId
        | MetaKey::SecMark
        | MetaKey::BridgeIifname
        | MetaKey::BridgeOifname
        | MetaKey::PacketType
        | MetaKey::Cpu
        | MetaKey::IifGroup
        | MetaKey::OifGroup
        | MetaKey::CGroup
        | MetaKey::Random
        | MetaKey::SecPath
        | MetaKey::IifKind
        | MetaKey::OifKind
        | MetaKey::BridgeIifVlan
        | MetaKey::BridgeIifVlanProtocol
        | MetaKey::TimeNs
        | MetaKey::TimeDay
        | MetaKey::TimeHour
        | MetaKey::Sdif
        | MetaKey::Sdifname
        | MetaKey::BridgeRoute
        | MetaKey::Other(_) => None,
    }
}
