//! Where rules tell sources apart by numbers that stand in them.
//!
//! Between two such numbers one source stands for all. What a rule asks of the source in a form that is not understood is
//! taken out of the rule, and something nobody can tell is put in its place: both ways are followed then.

use crate::ruleset::{
    Cmp, CtKey, Direction, ElementValue, Expr, Family, Foreign, Hook, MetaKey, PayloadBase, Register, Rule, Set,
    SetRef, Table, TableId, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of `ct` that load the source of a tuple, IPv4's or IPv6's among them.
const CT_SOURCE: [CtKey; 3] = [CtKey::Other(8), CtKey::Other(19), CtKey::Other(21)];
/// Keys of `ct` that load the destination of a tuple.
const CT_DESTINATION: [CtKey; 3] = [CtKey::Other(9), CtKey::DstIp, CtKey::DstIp6];
/// `NFT_META_PROTOCOL`.
const META_PROTOCOL: MetaKey = MetaKey::Other(1);

/// A table as packets of one IP version meet it, and the sources at which what it does may change.
pub(super) struct Understood {
    pub(super) table: Table,
    /// The first numbers of what may be another class.
    pub(super) cuts: BTreeSet<u128>,
    /// The source ports that rules name.
    pub(super) ports: BTreeSet<u16>,
}

/// Reads a table for packets of one version.
pub(super) fn understand(id: &TableId, table: &Table, six: bool) -> Understood {
    let (asked, answered) = (reachable(table, false), reachable(table, true));
    let mut understood = Understood { table: table.clone(), cuts: BTreeSet::new(), ports: BTreeSet::new() };
    for (name, chain) in &mut understood.table.chains {
        // Where neither a packet nor its answer comes, or only to be given another source.
        if !asked.contains(name.as_str()) && !answered.contains(name.as_str()) {
            continue;
        }
        for rule in &mut chain.rules {
            let mut reader = Reader {
                six,
                declared: &table.sets,
                answers: answered.contains(name.as_str()),
                registers: BTreeMap::new(),
                cuts: &mut understood.cuts,
                ports: &mut understood.ports,
            };
            if id.family == if six { Family::Ip } else { Family::Ip6 } {
                continue;
            }
            reader.rule(rule);
        }
    }
    understood
}

/// The chains that base chains lead to: those that a packet comes to, or those that its answer does. What only chooses
/// another source has no say in whether it passes.
fn reachable(table: &Table, answers: bool) -> BTreeSet<&str> {
    let begins = |hook: Hook| if answers { matches!(hook, Hook::Output | Hook::Postrouting) } else { true };
    let bases = table.chains.iter().filter(|(_, chain)| {
        chain.base.as_ref().is_some_and(|base| {
            begins(base.hook) && !(base.kind == "nat" && matches!(base.hook, Hook::Postrouting | Hook::Input))
        })
    });
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&str> = bases.map(|(name, _)| name.as_str()).collect();
    while let Some(name) = waiting.pop() {
        if !found.insert(name) {
            continue;
        }
        let rules = table.chains.get(name).into_iter().flat_map(|chain| &chain.rules);
        for expr in rules.flat_map(|rule| &rule.exprs) {
            match expr {
                Expr::Verdict(Verdict::Jump(target) | Verdict::Goto(target)) => waiting.push(target),
                Expr::Lookup { set: SetRef::Anonymous(set), dreg: Some(Register::Verdict), .. } => {
                    waiting.extend(targets(set));
                }
                // Its elements are not listed: any chain may be among them.
                Expr::Lookup { set: SetRef::Named(_), dreg: Some(Register::Verdict), .. } => {
                    waiting.extend(
                        table.chains.iter().filter(|(_, chain)| chain.base.is_none()).map(|(name, _)| name.as_str()),
                    );
                }
                _ => {}
            }
        }
    }
    found
}

fn targets(map: &Set) -> impl Iterator<Item = &str> {
    map.elements.listed().iter().filter_map(|element| match element.value.as_deref() {
        Some(ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) => Some(chain.as_str()),
        _ => None,
    })
}

/// What stands in a register.
#[derive(Clone, PartialEq, Eq)]
enum Field {
    /// The client's address from its first byte on, behind a mask; maybe with something behind it.
    Client(Option<Vec<u8>>),
    /// `NFPROTO_*`, or the Ethernet type.
    Version,
    /// The source port, maybe with the destination port behind it.
    SourcePort,
}

struct Reader<'r> {
    six: bool,
    declared: &'r BTreeMap<String, Set>,
    /// Whether answers come here, whose destination is the client.
    answers: bool,
    /// By the first slot: what, and how many bytes.
    registers: BTreeMap<u8, (Field, usize)>,
    cuts: &'r mut BTreeSet<u128>,
    ports: &'r mut BTreeSet<u16>,
}

/// Whether an expression may stay as it is.
enum Reads {
    Understood,
    /// Whether it matches, nobody can tell.
    NotUnderstood,
    /// What it does, nobody can tell.
    Anything,
    /// The rule is for the other version, and what follows is never asked.
    ForAnother,
}

impl Reader<'_> {
    fn rule(&mut self, rule: &mut Rule) {
        let unknown = |name: &str| Expr::Unknown { name: name.to_owned(), attributes: Vec::new() };
        for expr in &mut rule.exprs {
            match self.expr(expr) {
                Reads::Understood => {}
                Reads::NotUnderstood => {
                    *expr = unknown("match");
                    self.registers.clear();
                }
                Reads::Anything => {
                    *expr = unknown("source");
                    return;
                }
                Reads::ForAnother => return,
            }
        }
    }

    fn expr(&mut self, expr: &Expr) -> Reads {
        match expr {
            Expr::Meta { key: MetaKey::Nfproto | META_PROTOCOL, dreg } => self.store(*dreg, Some(Field::Version), 2),
            Expr::Meta { dreg, .. } => self.store(*dreg, None, 16),
            Expr::Ct { key, direction, dreg } => return self.ct(*key, *direction, *dreg),
            Expr::Payload { base, offset, len, dreg } => return self.payload(*base, *offset, *len, *dreg),
            Expr::Cmp { op, sreg, data } => return self.compare(*op, *sreg, data),
            Expr::Bitwise { sreg, dreg, mask, xor } => return self.mask(*sreg, *dreg, mask, xor),
            Expr::Lookup { set, sreg, dreg, .. } => return self.lookup(set, *sreg, *dreg),
            Expr::Foreign(Foreign::Range { sreg, first, last, .. }) => match self.load(*sreg, first.len()) {
                None | Some((_, Field::Version)) => {}
                Some((0, Field::Client(None))) => {
                    self.cut(first);
                    self.cut_behind(last);
                }
                Some((0, Field::SourcePort)) => self.name_ports(first, last),
                Some(_) => return Reads::NotUnderstood,
            },
            Expr::Foreign(Foreign::Immediate { dreg, data }) => self.store(*dreg, None, data.len()),
            Expr::Fib { result, flags, dreg } => self.store(*dreg, None, result.len(*flags) as usize),
            Expr::Foreign(Foreign::SetMeta { sreg, .. } | Foreign::SetCt { sreg, .. })
                if self.load(*sreg, 4).is_some() =>
            {
                return Reads::Anything;
            }
            Expr::Foreign(Foreign::Nat(nat)) => {
                let registers = nat.addresses.iter().chain(&nat.ports).flatten();
                if registers.into_iter().any(|register| self.load(*register, 4).is_some()) {
                    return Reads::Anything;
                }
            }
            Expr::Foreign(Foreign::Match(extension)) => {
                use crate::ruleset::xt::Match;
                match extension.as_match() {
                    Some(Match::Ports { source, .. }) if (source.first, source.last) != (0, u16::MAX) => {
                        self.ports.extend([source.first, source.last]);
                    }
                    Some(Match::Multiport { which: 0 | 2, ranges, .. }) => {
                        self.ports.extend(ranges.iter().flat_map(|(first, last)| [*first, *last]));
                    }
                    _ => {}
                }
            }
            Expr::Unknown { .. } => self.registers.clear(),
            _ => {}
        }
        Reads::Understood
    }

    fn len(&self) -> usize {
        if self.six { 16 } else { 4 }
    }

    fn ct(&mut self, key: CtKey, direction: Option<Direction>, dreg: Register) -> Reads {
        let original = direction != Some(Direction::Reply);
        let source = CT_SOURCE.contains(&key);
        if source == original && (source || CT_DESTINATION.contains(&key)) {
            let of_six = match key {
                CtKey::Other(19) | CtKey::DstIp => Some(false),
                CtKey::Other(21) | CtKey::DstIp6 => Some(true),
                _ => None,
            };
            // Of the other version there is none, and the rule does not match.
            let field = of_six.is_none_or(|six| six == self.six).then_some(Field::Client(None));
            self.store(dreg, field, self.len());
        } else {
            self.store(dreg, None, 16);
        }
        Reads::Understood
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, len: u32, dreg: Register) -> Reads {
        let (Ok(begin), Ok(bytes)) = (usize::try_from(offset), usize::try_from(len)) else {
            return Reads::Understood;
        };
        if base == PayloadBase::Transport {
            self.store(dreg, (begin == 0 && bytes >= 2).then_some(Field::SourcePort), bytes);
            return Reads::Understood;
        }
        if base != PayloadBase::Network {
            self.store(dreg, None, bytes);
            return Reads::Understood;
        }
        let source = if self.six { 8 } else { 12 };
        let clients = if self.answers { vec![source, source + self.len()] } else { vec![source] };
        let overlaps = |at: &&usize| begin < **at + self.len() && **at < begin.saturating_add(bytes);
        match clients.iter().find(overlaps) {
            None => self.store(dreg, None, bytes),
            Some(at) if *at == begin => self.store(dreg, Some(Field::Client(None)), bytes),
            Some(_) => return Reads::NotUnderstood,
        }
        Reads::Understood
    }

    fn store(&mut self, register: Register, field: Option<Field>, len: usize) {
        let Register::Data(slot) = register else { return };
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

    /// What is read, and how many bytes stand before it; `None` where it says nothing of the source. A part of the source
    /// from elsewhere than its beginning is [`usize::MAX`] away.
    fn load(&self, register: Register, len: usize) -> Option<(usize, Field)> {
        let Register::Data(slot) = register else { return None };
        let begin = usize::from(slot);
        let end = begin.saturating_add(len.div_ceil(4));
        let read = self.registers.iter().find(|(other, (_, size))| {
            let other = usize::from(**other);
            begin < other + size.div_ceil(4) && other < end
        });
        let (other, (field, _)) = read?;
        let before = usize::from(*other).checked_sub(begin).map_or(usize::MAX, |slots| slots * 4);
        Some((before, field.clone()))
    }

    fn compare(&mut self, op: Cmp, register: Register, data: &[u8]) -> Reads {
        match self.load(register, data.len()) {
            None => Reads::Understood,
            Some((0, Field::Version)) => {
                let ours: &[&[u8]] = if self.six { &[&[10], &[0x86, 0xdd]] } else { &[&[2], &[0x08, 0x00]] };
                if op == Cmp::Eq && !ours.contains(&data) { Reads::ForAnother } else { Reads::Understood }
            }
            Some((0, Field::SourcePort)) => {
                self.name_ports(data, data);
                Reads::Understood
            }
            Some((0, Field::Client(None))) => {
                self.cut(data);
                self.cut_behind(data);
                Reads::Understood
            }
            Some((0, Field::Client(Some(mask)))) if is_prefix(&mask) && matches!(op, Cmp::Eq | Cmp::Neq) => {
                self.cut(data);
                let last: Vec<u8> = data
                    .iter()
                    .zip(mask.iter().chain(std::iter::repeat(&0)))
                    .map(|(data, mask)| data | !mask)
                    .collect();
                self.cut_behind(&last);
                Reads::Understood
            }
            Some(_) => Reads::NotUnderstood,
        }
    }

    fn mask(&mut self, sreg: Register, dreg: Register, mask: &[u8], xor: &[u8]) -> Reads {
        let field = match self.load(sreg, mask.len()) {
            None | Some((_, Field::Version)) => None,
            Some((0, Field::Client(None))) if mask.len() <= self.len() && xor.iter().all(|byte| *byte == 0) => {
                Some(Field::Client(Some(mask.to_vec())))
            }
            Some(_) => return Reads::NotUnderstood,
        };
        self.store(dreg, field, mask.len());
        Reads::Understood
    }

    fn lookup(&mut self, set: &SetRef, sreg: Register, dreg: Option<Register>) -> Reads {
        let (spec, elements) = match set {
            SetRef::Anonymous(set) => (&set.spec, Some(&set.elements)),
            SetRef::Named(name) => match self.declared.get(name) {
                Some(set) => (&set.spec, None),
                None => return Reads::NotUnderstood,
            },
        };
        let len = usize::try_from(spec.key.len).unwrap_or(usize::MAX);
        let read = self.load(sreg, len);
        if let Some(dreg) = dreg {
            self.store(dreg, None, 64);
        }
        match (read, elements) {
            (None | Some((_, Field::Version)), _) => {}
            (Some((before, Field::SourcePort)), Some(elements)) if before != usize::MAX => {
                for (first, last) in elements.bounds() {
                    let part = |key: &[u8]| key.get(before..).unwrap_or_default().to_vec();
                    self.name_ports(&part(first), &part(last));
                }
            }
            // The simulator does not know it, and says so.
            (Some((_, Field::SourcePort)), _) => {}
            (Some((before, Field::Client(mask))), Some(elements)) if before != usize::MAX && mask.is_none() => {
                for (first, last) in elements.bounds() {
                    self.cut(first.get(before..).unwrap_or_default());
                    self.cut_behind(last.get(before..).unwrap_or_default());
                }
            }
            // The whole address is in the key: whether that is in the set is a question of its own.
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

    /// An address from its first bytes on, what follows filled up.
    fn number(&self, bytes: &[u8], fill: u8) -> u128 {
        let filled = bytes.iter().copied().chain(std::iter::repeat(fill)).take(self.len());
        filled.fold(0, |number, byte| number << 8 | u128::from(byte))
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

/// Whether the bits that are set come first.
fn is_prefix(mask: &[u8]) -> bool {
    let bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.is_sorted_by(|a, b| a >= b)
}
