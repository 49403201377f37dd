//! Where rules tell sources apart by addresses written in them.
//!
//! Between two such addresses, one source stands for all. A test of the source in a form that is not understood is
//! replaced by an expression whose result is unknown, so that both ways are followed.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::net::{Version, header, is_prefix};
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::registers::{self, Content, Registers};
use crate::ruleset::{
    BaseChain, Cmp, CtKey, Direction, Expr, Extension, Family, Foreign, Hook, MetaKey, PayloadBase, Register, Rule,
    SetRef, Table, TableId,
};
use std::collections::{BTreeMap, BTreeSet};

/// The first addresses of the classes into which a comparison with these bytes divides the sources.
pub(super) type Compared = BTreeMap<Vec<u8>, BTreeSet<u128>>;

/// A table as packets of one IP version meet it, and the sources at which its verdict may change.
pub(super) struct Understood {
    pub(super) table: Table,
    /// The first address of each possible class, by anything but comparisons with one network.
    pub(super) cuts: BTreeSet<u128>,
    /// The same by such comparisons: for the bytes that the client's address is compared with.
    pub(super) compared: Compared,
    /// The source ports that rules name.
    pub(super) ports: BTreeSet<u16>,
}

/// Reads a table for packets of one version.
pub(super) fn understand(id: &TableId, table: &Table, version: Version) -> Understood {
    let (asked, answered) = (reachable(table, false), reachable(table, true));
    let mut understood =
        Understood { table: table.clone(), cuts: BTreeSet::new(), compared: Compared::new(), ports: BTreeSet::new() };
    let of_another = match version {
        Version::V4 => Family::Ip6,
        Version::V6 => Family::Ip,
    };
    if id.family == of_another {
        return understood;
    }
    for (name, chain) in &table.chains {
        // No packet and no answer gets here, or only to have its source translated.
        if !asked.contains(name.as_str()) && !answered.contains(name.as_str()) {
            continue;
        }
        let read = |rule| {
            Reader {
                version,
                answers: answered.contains(name.as_str()),
                registers: Registers::new(&table.sets),
                cuts: &mut understood.cuts,
                compared: &mut understood.compared,
                ports: &mut understood.ports,
            }
            .rule(rule)
        };
        let rules = chain.rules.iter().map(read).collect();
        if let Some(chain) = understood.table.chains.get_mut(name) {
            chain.rules = rules;
        }
    }
    understood
}

/// The chains that base chains lead to: for a packet, or with `answers` for the answer to it. Chains that only
/// translate sources are left out: they do not decide whether it passes.
fn reachable(table: &Table, answers: bool) -> BTreeSet<&str> {
    // An answer leaves this machine or passes through it, and its connection was translated before.
    let of_answers = |base: &BaseChain| base.hook != Hook::Input && base.kind != "nat";
    let bases = table.chains.iter().filter(|(_, chain)| {
        chain.base.as_ref().is_some_and(|base| {
            let translates_sources = base.kind == "nat" && matches!(base.hook, Hook::Postrouting | Hook::Input);
            !translates_sources && (!answers || of_answers(base))
        })
    });
    // The elements of named maps are not listed.
    Graph::new(table, NamedMaps::Unlisted).reachable(bases.map(|(name, _)| name.as_str()))
}

/// What a register holds about a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    /// The client's address from its first byte on, masked if there is a mask; other bytes may follow.
    Client(Option<&'a [u8]>),
    /// `NFPROTO_*`, or the Ethernet type.
    Version,
    /// The source port; the destination port may follow.
    SourcePort,
    /// Something else that depends on the client.
    Tangled,
}

struct Reader<'a, 'r> {
    version: Version,
    /// Whether answers get here; the client is their destination.
    answers: bool,
    registers: Registers<'a>,
    cuts: &'r mut BTreeSet<u128>,
    compared: &'r mut Compared,
    ports: &'r mut BTreeSet<u16>,
}

/// Whether an expression may stay as it is.
enum Reads {
    Understood,
    /// Whether it matches is unknown.
    NotUnderstood,
    /// What it does is unknown.
    Anything,
    /// The rule is for the other IP version, so its remaining expressions are never evaluated.
    ForAnother,
}

impl<'a> Reader<'a, '_> {
    /// The rule, with unknown expressions in the place of those that are not understood.
    fn rule(mut self, rule: &'a Rule) -> Rule {
        let unknown = |name: &str| Expr::Unknown { name: name.to_owned(), attributes: Vec::new() };
        let mut understood = rule.clone();
        for (expr, of_copy) in rule.exprs.iter().zip(&mut understood.exprs) {
            match self.expr(expr) {
                Reads::Understood => self.registers.run(expr),
                Reads::NotUnderstood => {
                    *of_copy = unknown("match");
                    self.registers.forget();
                }
                Reads::Anything => {
                    *of_copy = unknown("source");
                    break;
                }
                Reads::ForAnother => break,
            }
        }
        understood
    }

    fn expr(&mut self, expr: &'a Expr) -> Reads {
        match expr {
            Expr::Payload { base, offset, len, .. } => {
                match self.field(registers::Field::Payload { base: *base, offset: *offset, len: *len }) {
                    Some(Field::Tangled) => Reads::NotUnderstood,
                    Some(Field::Client(_) | Field::Version | Field::SourcePort) | None => Reads::Understood,
                }
            }
            Expr::Cmp { op, sreg, data } => self.compare(*op, *sreg, data),
            Expr::Bitwise { sreg, mask, xor, .. } => self.mask(*sreg, mask, xor),
            Expr::Lookup { set, sreg, .. } => self.lookup(set, *sreg),
            Expr::Foreign(expr) => self.foreign(expr),
            // They load nothing about the client, or a field of a tuple, which the comparison checks; or they end the
            // rule; or the simulator reports them as unknown.
            Expr::Meta { .. }
            | Expr::Ct { .. }
            | Expr::Fib { .. }
            | Expr::Dynset { .. }
            | Expr::Verdict(_)
            | Expr::Counter { .. }
            | Expr::Limit(_)
            | Expr::Log(_)
            | Expr::Reject(_)
            | Expr::Unknown { .. } => Reads::Understood,
        }
    }

    fn foreign(&mut self, expr: &'a Foreign) -> Reads {
        match expr {
            Foreign::Range { sreg, first, last, .. } => self.range(*sreg, first, last),
            Foreign::ObjectMap { set, sreg } => self.lookup(set, *sreg),
            Foreign::SetMeta { sreg, .. } | Foreign::SetCt { sreg, .. } | Foreign::SetPayload { sreg, .. } => {
                self.uses([*sreg])
            }
            Foreign::Nat(nat) => self.uses(nat.addresses.into_iter().chain(nat.ports).flatten()),
            Foreign::Match(extension) => {
                self.extension(extension);
                Reads::Understood
            }
            Foreign::Immediate { .. }
            | Foreign::Masquerade { .. }
            | Foreign::Redirect { .. }
            | Foreign::Reject { .. }
            | Foreign::Log { .. }
            | Foreign::Object { .. }
            | Foreign::Notrack
            | Foreign::Target(_) => Reads::Understood,
        }
    }

    /// Checks the registers of a value that later rules see or that packets are sent to.
    fn uses(&self, registers: impl IntoIterator<Item = Register>) -> Reads {
        if registers.into_iter().any(|register| self.load(register, 4).is_some()) {
            Reads::Anything
        } else {
            Reads::Understood
        }
    }

    fn extension(&mut self, extension: &Extension) {
        let bounds = extension.as_match().map(|read| read.source_bounds()).unwrap_or_default();
        self.ports.extend(bounds.ports.iter().flat_map(|(first, last)| [*first, *last]));
        let len = self.len();
        for (first, last) in &bounds.addresses {
            self.cut(first.get(..len).unwrap_or_default());
            self.cut_behind(last.get(..len).unwrap_or_default());
        }
    }

    fn len(&self) -> usize {
        self.version.address_len()
    }

    /// How a field depends on the client; `None` if it is the same for all clients.
    fn field(&self, field: registers::Field) -> Option<Field<'a>> {
        match field {
            registers::Field::Meta(key) => of_meta(key),
            registers::Field::Fib(..) => None,
            registers::Field::Ct(key, direction) => self.of_connection(key, direction),
            registers::Field::Payload { base, offset, len } => self.of_header(base, offset, len),
        }
    }

    fn of_connection(&self, key: CtKey, direction: Option<Direction>) -> Option<Field<'a>> {
        let of_reply = direction == Some(Direction::Reply);
        // There is no address of the other version, so the rule does not match.
        let is_clients = match key {
            CtKey::Src => !of_reply,
            CtKey::SrcIp => !of_reply && self.version == Version::V4,
            CtKey::SrcIp6 => !of_reply && self.version == Version::V6,
            CtKey::Dst => of_reply,
            CtKey::DstIp => of_reply && self.version == Version::V4,
            CtKey::DstIp6 => of_reply && self.version == Version::V6,
            CtKey::State
            | CtKey::Direction
            | CtKey::Status
            | CtKey::Mark
            | CtKey::SecMark
            | CtKey::Expiration
            | CtKey::Helper
            | CtKey::L3proto
            | CtKey::Protocol
            | CtKey::ProtoSrc
            | CtKey::ProtoDst
            | CtKey::Labels
            | CtKey::Packets
            | CtKey::Bytes
            | CtKey::AveragePacket
            | CtKey::Zone
            | CtKey::EventMask
            | CtKey::Id
            | CtKey::Other(_) => false,
        };
        is_clients.then_some(Field::Client(None))
    }

    fn of_header(&self, base: PayloadBase, offset: u32, len: u32) -> Option<Field<'a>> {
        match base {
            PayloadBase::Transport => (offset == header::ports::SOURCE.offset && len >= header::ports::SOURCE.len)
                .then_some(Field::SourcePort),
            PayloadBase::Network => {
                let destination = self.answers.then_some(self.version.destination());
                let mut clients = [self.version.source()].into_iter().chain(destination);
                match clients.find(|client| client.overlaps(offset, len))? {
                    client if client.offset == offset => Some(Field::Client(None)),
                    _ => Some(Field::Tangled),
                }
            }
            PayloadBase::Link | PayloadBase::Inner | PayloadBase::Other(_) => None,
        }
    }

    fn content(&self, content: &Content<'a>) -> Option<Field<'a>> {
        let of_client = |field| match field {
            Field::Version => None,
            Field::Client(_) | Field::SourcePort | Field::Tangled => Some(Field::Tangled),
        };
        match content {
            Content::Field(field) => self.field(*field),
            Content::Masked { field, mask, xor } => match self.field(*field)? {
                Field::Client(None) if mask.len() <= self.len() && xor.iter().all(|byte| *byte == 0) => {
                    Some(Field::Client(Some(mask)))
                }
                field @ (Field::Client(_) | Field::Version | Field::SourcePort | Field::Tangled) => of_client(field),
            },
            Content::Computed(fields) => fields.iter().find_map(|field| of_client(self.field(*field)?)),
            Content::Mapped(_) | Content::Constant(_) => None,
        }
    }

    /// What is read and how many bytes come before it; `None` if that does not depend on the client. A part that
    /// begins inside the field counts as [`usize::MAX`] bytes away.
    fn load(&self, register: Register, len: usize) -> Option<(usize, Field<'a>)> {
        let parts = self.registers.read(register, len);
        parts.iter().find_map(|part| Some((part.before.unwrap_or(usize::MAX), self.content(&part.content)?)))
    }

    fn range(&mut self, register: Register, first: &[u8], last: &[u8]) -> Reads {
        match self.load(register, first.len()) {
            None | Some((_, Field::Version)) => {}
            Some((0, Field::Client(None))) => {
                self.cut(first);
                self.cut_behind(last);
            }
            Some((0, Field::SourcePort)) => self.name_ports(first, last),
            Some(_) => return Reads::NotUnderstood,
        }
        Reads::Understood
    }

    fn compare(&mut self, op: Cmp, register: Register, data: &[u8]) -> Reads {
        match self.load(register, data.len()) {
            None => Reads::Understood,
            Some((0, Field::Version)) => {
                let ours = data == [self.version.nfproto()] || data == self.version.ether_type();
                if op == Cmp::Eq && !ours { Reads::ForAnother } else { Reads::Understood }
            }
            Some((0, Field::SourcePort)) => {
                self.name_ports(data, data);
                Reads::Understood
            }
            Some((0, Field::Client(None))) => {
                self.compares(data, data);
                Reads::Understood
            }
            Some((0, Field::Client(Some(mask)))) if is_prefix(mask) && matches!(op, Cmp::Eq | Cmp::Neq) => {
                let last: Vec<u8> = data
                    .iter()
                    .zip(mask.iter().chain(std::iter::repeat(&0)))
                    .map(|(data, mask)| data | !mask)
                    .collect();
                self.compares(data, &last);
                Reads::Understood
            }
            Some(_) => Reads::NotUnderstood,
        }
    }

    fn mask(&self, register: Register, mask: &[u8], xor: &[u8]) -> Reads {
        match self.load(register, mask.len()) {
            None | Some((_, Field::Version)) => Reads::Understood,
            Some((0, Field::Client(None))) if mask.len() <= self.len() && xor.iter().all(|byte| *byte == 0) => {
                Reads::Understood
            }
            Some(_) => Reads::NotUnderstood,
        }
    }

    fn lookup(&mut self, set: &'a SetRef, register: Register) -> Reads {
        let Some((set, name)) = self.registers.set(set) else { return Reads::NotUnderstood };
        let len = usize::try_from(set.spec.key.len).unwrap_or(usize::MAX);
        // The elements of a named set are not listed.
        let listed = name.is_none().then_some(&set.elements);
        match (self.load(register, len), listed) {
            (None | Some((_, Field::Version)), _) => {}
            (Some((before, Field::SourcePort)), Some(elements)) if before != usize::MAX => {
                for (first, last) in elements.bounds() {
                    let part = |key: &[u8]| key.get(before..).unwrap_or_default().to_vec();
                    self.name_ports(&part(first), &part(last));
                }
            }
            // The simulator reports it as unknown.
            (Some((_, Field::SourcePort)), _) => {}
            (Some((before, Field::Client(None))), Some(elements)) if before != usize::MAX => {
                for (first, last) in elements.bounds() {
                    self.cut(first.get(before..).unwrap_or_default());
                    self.cut_behind(last.get(before..).unwrap_or_default());
                }
            }
            // The key holds the whole address: `ask` branches on whether the set holds the key.
            (Some((before, Field::Client(None))), None)
                if before != usize::MAX && len - before.min(len) >= self.len() => {}
            (Some(_), _) => return Reads::NotUnderstood,
        }
        Reads::Understood
    }

    fn name_ports(&mut self, first: &[u8], last: &[u8]) {
        for bytes in [first, last] {
            self.ports.extend(bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)));
        }
    }

    /// An address as a number: its leading bytes, then `fill`.
    fn number(&self, bytes: &[u8], fill: u8) -> u128 {
        let filled = bytes.iter().copied().chain(std::iter::repeat(fill)).take(self.len());
        filled.fold(0, |number, byte| number << 8 | u128::from(byte))
    }

    /// The client's address is compared with these bytes, which stand for those up to `last`.
    fn compares(&mut self, data: &[u8], last: &[u8]) {
        let (first, last) = (self.number(data, 0), self.number(last, u8::MAX));
        let cuts = [Some(first), last.checked_add(1)].into_iter().flatten();
        self.compared.entry(data.to_vec()).or_default().extend(cuts);
    }

    fn cut(&mut self, first: &[u8]) {
        let first = self.number(first, 0);
        self.cuts.insert(first);
    }

    fn cut_behind(&mut self, last: &[u8]) {
        let last = self.number(last, u8::MAX);
        self.cuts.extend(last.checked_add(1));
    }
}

/// How a packet's property depends on the client.
fn of_meta<'a>(key: MetaKey) -> Option<Field<'a>> {
    match key {
        MetaKey::Nfproto | MetaKey::Protocol => Some(Field::Version),
        // The same for all clients of a place, or reported as unknown by the simulator.
        MetaKey::Len
        | MetaKey::Priority
        | MetaKey::Mark
        | MetaKey::Iifname
        | MetaKey::Oifname
        | MetaKey::L4proto
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
