//! The expressions of a rule as nft statements.
//!
//! nft adds conditions before a statement on a header field: `ip saddr` in an inet table begins with `meta nfproto
//! ipv4`. The expressions contain these conditions. The text omits them where nft will add them again in the same
//! place, and has them elsewhere, so that the text gives the same expressions again.

#![deny(clippy::wildcard_enum_match_arm)]

use super::field::{self, Context, Header};
use super::foreign;
use super::set::anonymous;
use super::text::{duration, name, quoted};
use super::value::{Kind, rate};
use super::verdict;
use crate::net::{Version, prefix_len};
use crate::ruleset::{
    Cmp, DynsetOp, Expr, Family, Foreign, IcmpxCode, Limit, Log, MapValue, MetaKey, Nat, PayloadBase, Register,
    Reject, SetRef,
};

/// Expressions as nft statements on one line, in a rule of a table with that family.
///
/// An expression without a text form appears as `<unknown expression "quota">`, which nft refuses.
#[must_use]
pub fn expressions(family: Family, exprs: &[Expr]) -> String {
    let known = match family {
        Family::Ip => vec![Context::Nfproto(Version::V4.nfproto())],
        Family::Ip6 => vec![Context::Nfproto(Version::V6.nfproto())],
        Family::Inet | Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => Vec::new(),
    };
    let mut reader =
        Reader { family, rest: exprs, known, conditions: Vec::new(), loaded: Vec::new(), words: Vec::new() };
    while let Some((expr, rest)) = reader.rest.split_first() {
        reader.rest = rest;
        reader.read(expr);
    }
    reader.write_conditions();
    reader.forget_from(0);
    reader.words.join(" ")
}

/// The content of a register.
#[derive(Clone)]
struct Operand {
    slot: u8,
    text: String,
    kind: Kind,
    /// The length in bytes.
    len: u32,
    /// The mask and the value that it is then xored with.
    mask: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether a statement has used it.
    used: bool,
    /// The header field, if it is one.
    field: Option<(&'static Header, field::Field)>,
    /// The bytes, if it is a constant.
    data: Option<Vec<u8>>,
}

impl Operand {
    fn new(slot: u8, text: String, kind: Kind, len: u32) -> Self {
        Self { slot, text, kind, len, mask: None, used: false, field: None, data: None }
    }

    fn text(&self) -> String {
        match &self.mask {
            None => self.text.clone(),
            Some((mask, xor)) if is_zero(xor) => format!("{} & {}", self.text, self.kind.mask(mask)),
            Some((mask, xor)) => format!("({} & {}) ^ {}", self.text, self.kind.mask(mask), self.kind.value(xor)),
        }
    }
}

/// Walks a rule's expressions.
struct Reader<'a> {
    family: Family,
    rest: &'a [Expr],
    /// What nft will know about the packet at this point of the text.
    known: Vec<Context>,
    /// Conditions that have been read but not written, since the next statement may imply them.
    conditions: Vec<Context>,
    loaded: Vec<Operand>,
    words: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, expr: &Expr) {
        if let Some(condition) = self.condition(expr) {
            self.conditions.push(condition);
            self.rest = self.rest.get(1..).unwrap_or_default();
            return;
        }
        if let Expr::Payload { base, offset, len, dreg } = expr {
            return self.payload(*base, *offset, *len, *dreg);
        }
        self.write_conditions();
        match expr {
            Expr::Meta { key, dreg } => {
                let (text, kind, len) = field::meta(*key);
                self.load(*dreg, text, kind, len);
            }
            Expr::Ct { key, direction, dreg } => {
                let (text, kind, len) = field::ct(*key, *direction);
                self.load(*dreg, text, kind, len);
            }
            Expr::Payload { .. } => {}
            Expr::Cmp { op, sreg, data } => self.cmp(*op, *sreg, data),
            Expr::Bitwise { sreg, dreg, mask, xor } => self.bitwise(*sreg, *dreg, mask, xor),
            Expr::Lookup { set, sreg, dreg, inverted } => self.lookup(set, *sreg, *dreg, *inverted),
            Expr::Dynset { set, op, sreg_key, timeout_ms, exprs } => {
                let op = match op {
                    DynsetOp::Add => "add",
                    DynsetOp::Update => "update",
                    DynsetOp::Delete => "delete",
                };
                let mut element = vec![self.key(*sreg_key).0];
                if *timeout_ms > 0 {
                    element.push(format!("timeout {}", duration(*timeout_ms)));
                }
                if !exprs.is_empty() {
                    element.push(expressions(Family::Inet, exprs));
                }
                self.words.push(format!("{op} @{} {{ {} }}", name(set), element.join(" ")));
            }
            Expr::Fib { result, flags, dreg } => {
                let (text, kind) = field::fib(*result, *flags);
                self.load(*dreg, text, kind, result.len(*flags));
            }
            Expr::Verdict(value) => self.words.push(verdict(value)),
            Expr::Counter { packets: 0, bytes: 0 } => self.words.push("counter".to_owned()),
            Expr::Counter { packets, bytes } => {
                self.words.push(format!("counter packets {packets} bytes {bytes}"));
            }
            Expr::Limit(value) => self.words.push(limit(*value)),
            Expr::Log(value) => self.words.push(log(value)),
            Expr::Reject(value) => self.words.push(reject(*value).to_owned()),
            Expr::Foreign(other) => self.foreign(other),
            Expr::Unknown { name, .. } => {
                self.words.push(format!("<unknown expression {}>", quoted(name)));
                // An unknown expression may have written any register.
                self.loaded.clear();
            }
        }
    }

    /// The condition that this expression and the next form, if nft may have added it.
    fn condition(&self, expr: &Expr) -> Option<Context> {
        let (Expr::Meta { key, dreg: Register::ONE }, Some(Expr::Cmp { op: Cmp::Eq, sreg: Register::ONE, data })) =
            (expr, self.rest.first())
        else {
            return None;
        };
        match (key, data.as_slice()) {
            (MetaKey::Nfproto, &[nfproto]) => Some(Context::Nfproto(nfproto)),
            (MetaKey::L4proto, &[l4proto]) => Some(Context::L4proto(l4proto)),
            _ => None,
        }
    }

    fn write_conditions(&mut self) {
        let conditions = std::mem::take(&mut self.conditions);
        self.write(&conditions);
        self.known.extend(conditions);
    }

    fn write(&mut self, conditions: &[Context]) {
        self.words.extend(conditions.iter().map(|condition| match *condition {
            Context::Nfproto(nfproto) => format!("meta nfproto {}", Kind::Nfproto.value(&[nfproto])),
            Context::L4proto(l4proto) => format!("meta l4proto {}", Kind::Protocol.value(&[l4proto])),
        }));
    }

    /// Writes only the conditions that a statement on this header does not imply.
    fn write_conditions_before(&mut self, header: &Header) {
        let conditions = std::mem::take(&mut self.conditions);
        let before = self.known.len();
        for written in 0..=conditions.len() {
            let (explicit, implied) = conditions.split_at(written);
            self.known.truncate(before);
            self.known.extend(explicit);
            if header.implied(&self.known) == implied {
                self.write(explicit);
                self.known.extend(implied);
                return;
            }
        }
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, len: u32, dreg: Register) {
        let known: Vec<Context> = self.known.iter().chain(&self.conditions).copied().collect();
        let header = Header::at(base, &known);
        let compared = match self.rest.first() {
            Some(Expr::Cmp { op, sreg, data }) if *sreg == dreg && data.len() as u64 == u64::from(len) => {
                Some((*op, data))
            }
            _ => None,
        };
        if let Some(header) = header
            && let Some(field) = header.field(offset)
            && (field.len == len
                || field.kind.is_address() && len < field.len && matches!(compared, Some((Cmp::Eq | Cmp::Neq, _))))
        {
            self.write_conditions_before(header);
            self.load(dreg, header.name_of(field), field.kind, len);
            if let (Register::Data(_), Some(operand)) = (dreg, self.loaded.last_mut()) {
                operand.field = Some((header, field));
            }
        } else if let Some(header) = header
            && let Some(fields) = header.neighbours(offset, len)
            && let Some((Cmp::Eq, data)) = compared
        {
            self.write_conditions_before(header);
            let mut rest = data.as_slice();
            for field in fields {
                let (value, after) = rest.split_at_checked(field.len as usize).unwrap_or((rest, &[]));
                self.words.push(format!("{} {}", header.name_of(field), field.kind.value(value)));
                rest = after;
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        } else {
            self.write_conditions();
            let text = field::raw(base, offset, len)
                .unwrap_or_else(|| format!("<unknown payload base {}, {offset}, {len}>", base.number()));
            self.load(dreg, text, Kind::Bytes, len);
        }
    }

    fn load(&mut self, dreg: Register, text: String, kind: Kind, len: u32) {
        match dreg {
            Register::Verdict => self.words.push(format!("<{text} as a verdict>")),
            Register::Data(slot) => {
                self.forget_from(slot);
                self.loaded.push(Operand::new(slot, text, kind, len));
            }
        }
    }

    /// nft fills registers in order, so a load begins a new statement for this slot and later ones.
    fn forget_from(&mut self, slot: u8) {
        for operand in self.loaded.iter().filter(|operand| operand.slot >= slot && !operand.used) {
            self.words.push(format!("<unused {}>", operand.text()));
        }
        self.loaded.retain(|operand| operand.slot < slot);
    }

    /// The operand in a register, which counts as used from now on.
    fn operand(&mut self, register: Register) -> Operand {
        let found = match register {
            Register::Data(slot) => self.loaded.iter_mut().find(|operand| operand.slot == slot),
            Register::Verdict => None,
        };
        match found {
            Some(operand) => {
                operand.used = true;
                operand.clone()
            }
            None => Operand::new(0, format!("<register {}>", register.number()), Kind::Bytes, 4),
        }
    }

    /// The key that begins in a register. It is a concatenation if the following registers were loaded for it.
    fn key(&mut self, register: Register) -> (String, Kind) {
        let first = self.operand(register);
        let (mut text, mut kind) = (first.text(), first.kind);
        let mut last = first;
        while let Some(next) = self
            .loaded
            .iter_mut()
            .find(|next| !next.used && u64::from(next.slot) == u64::from(last.slot) + u64::from(last.len.div_ceil(4)))
        {
            next.used = true;
            last = next.clone();
            text = format!("{text} . {}", last.text());
            kind = Kind::Bytes;
        }
        (text, kind)
    }

    fn foreign(&mut self, expr: &Foreign) {
        match expr {
            Foreign::Immediate { dreg, data } => {
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.load(*dreg, Kind::Bytes.value(data), Kind::Bytes, len);
                if let (Register::Data(_), Some(loaded)) = (dreg, self.loaded.last_mut()) {
                    loaded.data = Some(data.clone());
                }
            }
            Foreign::SetMeta { key, sreg } => {
                let (text, kind, _) = field::meta(*key);
                let value = self.constant(*sreg, kind);
                self.words.push(format!("{text} set {value}"));
            }
            Foreign::SetCt { key, direction, sreg } => {
                let (text, kind, _) = field::ct(*key, *direction);
                let value = self.constant(*sreg, kind);
                self.words.push(format!("{text} set {value}"));
            }
            Foreign::Range { inverted, sreg, first, last } => {
                let operand = self.operand(*sreg);
                let not = if *inverted { "!= " } else { "" };
                self.words.push(format!("{} {not}{}", operand.text(), operand.kind.range(first, last)));
            }
            Foreign::Nat(nat) => self.nat(nat),
            Foreign::Masquerade { ports, flags } => self.translate("masquerade", *ports, *flags),
            Foreign::Redirect { ports, flags } => self.translate("redirect", *ports, *flags),
            Foreign::Reject { kind: 1, .. } => self.words.push("reject with tcp reset".to_owned()),
            Foreign::Reject { code, .. } => {
                let ipv6 = self.known.contains(&Context::Nfproto(Version::V6.nfproto()));
                self.words.push(foreign::reject(ipv6, *code));
            }
            Foreign::Log { prefix, level, flags } => self.words.push(foreign::log(prefix, *level, *flags)),
            Foreign::Object { kind, name } => self.words.push(foreign::object(*kind, name)),
            Foreign::ObjectMap { set, sreg } => {
                let (key, kind) = self.key(*sreg);
                let (of, set) = match set {
                    SetRef::Named(set) => ("object name", format!("@{}", name(set))),
                    SetRef::Anonymous(set) => {
                        let of = match set.spec.value {
                            Some(MapValue::Object(kind)) => foreign::object_statement(kind),
                            _ => "object name",
                        };
                        (of, anonymous(set, kind))
                    }
                };
                self.words.push(format!("{of} {key} map {set}"));
            }
            Foreign::SetPayload { base, offset, len, sreg, .. } => {
                self.set_payload(*base, *offset, *len, *sreg);
            }
            Foreign::Notrack => self.words.push("notrack".to_owned()),
            Foreign::Match(extension) => self.words.push(foreign::matches(extension)),
            Foreign::Target(extension) => {
                self.words.push(foreign::target(extension, self.family == Family::Ip));
            }
        }
        self.words.retain(|word| !word.is_empty());
    }

    fn set_payload(&mut self, base: PayloadBase, offset: u32, len: u32, sreg: Register) {
        let known: Vec<Context> = self.known.clone();
        let field = Header::at(base, &known)
            .and_then(|header| Some((header, header.field(offset)?)))
            .filter(|(_, field)| field.len == len);
        let (text, kind) = match field {
            Some((header, field)) => (header.name_of(field), field.kind),
            None => (field::raw(base, offset, len).unwrap_or_default(), Kind::Bytes),
        };
        let value = self.constant(sreg, kind);
        self.words.push(format!("{text} set {value}"));
    }

    fn nat(&mut self, nat: &Nat) {
        const V4: u32 = Version::V4.nfproto() as u32;
        const V6: u32 = Version::V6.nfproto() as u32;
        let (kind, family) = match nat.family {
            V4 => (Kind::Ipv4, " ip"),
            V6 => (Kind::Ipv6, " ip6"),
            // Ports alone are translated for both.
            _ => (Kind::Bytes, ""),
        };
        let (address, port) = (self.span(nat.addresses, kind), self.span(nat.ports, Kind::Number));
        let to = match (address, port) {
            (Some(address), Some(port)) if kind == Kind::Ipv6 => format!(" to [{address}]:{port}"),
            (address, Some(port)) => format!(" to {}:{port}", address.unwrap_or_default()),
            (Some(address), None) => format!(" to {address}"),
            (None, None) => String::new(),
        };
        let family = if self.family == Family::Inet { family } else { "" };
        let verb = if nat.destination { "dnat" } else { "snat" };
        self.words.push(format!("{verb}{family}{to}{}", foreign::choices(nat.flags)));
    }

    fn translate(&mut self, verb: &str, ports: [Option<Register>; 2], flags: u32) {
        let to = self.span(ports, Kind::Number).map(|ports| format!(" to :{ports}"));
        self.words.push(format!("{verb}{}{}", to.unwrap_or_default(), foreign::choices(flags)));
    }

    /// A range between two registers, or the value of one if both are the same.
    fn span(&mut self, [first, last]: [Option<Register>; 2], kind: Kind) -> Option<String> {
        let text = self.constant(first?, kind);
        match last.filter(|_| first != last) {
            Some(last) => Some(format!("{text}-{}", self.constant(last, kind))),
            None => Some(text),
        }
    }

    /// The value of a register; a constant is written as that kind.
    fn constant(&mut self, register: Register, kind: Kind) -> String {
        let operand = self.operand(register);
        operand.data.as_ref().map_or_else(|| operand.text(), |data| kind.value(data))
    }

    fn cmp(&mut self, op: Cmp, sreg: Register, data: &[u8]) {
        let operand = self.operand(sreg);
        let kind = operand.kind;
        let (text, sign) = (&operand.text, sign(op));
        let equality = matches!(op, Cmp::Eq | Cmp::Neq);
        let full_len = if kind == Kind::Ipv4 { 4 } else { 16 };
        let statement = if let Some((mask, xor)) = &operand.mask {
            let mask_only = is_zero(xor);
            let network =
                prefix_len(mask).filter(|_| mask_only && equality && kind.is_address() && data.len() == full_len);
            let flags = kind.flags(mask).filter(|_| mask_only && op == Cmp::Neq && is_zero(data));
            let among = kind.flags_among(data, mask).filter(|_| mask_only && equality);
            match (network, flags.or_else(|| among.map(|among| format!("{sign}{among}")))) {
                (Some(len), _) => format!("{text} {sign}{}", kind.network(data, len)),
                (None, Some(flags)) => format!("{text} {flags}"),
                (None, None) => {
                    let sign = if op == Cmp::Eq { "== " } else { sign };
                    format!("{} {sign}{}", operand.text(), kind.value(data))
                }
            }
        } else if kind.is_address() && equality && data.len() < full_len {
            format!("{text} {sign}{}", kind.network(data, data.len() as u32 * 8))
        } else if let (Cmp::Gte, Some(Expr::Cmp { op: Cmp::Lte, sreg: same, data: last })) = (op, self.rest.first())
            && *same == sreg
        {
            self.rest = self.rest.get(1..).unwrap_or_default();
            format!("{text} {}-{}", kind.value(data), kind.value(last))
        } else {
            // Without an operator nft would take a flag to mean "this one, whatever the others".
            let sign = if kind == Kind::TcpFlags && op == Cmp::Eq { "== " } else { sign };
            format!("{text} {sign}{}", kind.value(data))
        };
        self.words.push(statement);
        if let (Cmp::Eq, Some((header, field))) = (op, operand.field) {
            self.known.extend(header.learned(field, data));
        }
    }

    fn bitwise(&mut self, sreg: Register, dreg: Register, mask: &[u8], xor: &[u8]) {
        let operand = self.operand(sreg);
        let text = if operand.mask.is_some() { format!("({})", operand.text()) } else { operand.text };
        self.load(dreg, text, operand.kind, operand.len);
        if let (Register::Data(_), Some(loaded)) = (dreg, self.loaded.last_mut()) {
            loaded.mask = Some((mask.to_vec(), xor.to_vec()));
        }
    }

    fn lookup(&mut self, set: &SetRef, sreg: Register, dreg: Option<Register>, inverted: bool) {
        let (key, kind) = self.key(sreg);
        let set = match set {
            SetRef::Named(set) => format!("@{}", name(set)),
            SetRef::Anonymous(set) => anonymous(set, kind),
        };
        let not = if inverted { "!= " } else { "" };
        match dreg {
            None => self.words.push(format!("{key} {not}{set}")),
            Some(Register::Verdict) => self.words.push(format!("{key} {not}vmap {set}")),
            Some(dreg) => self.load(dreg, format!("{key} {not}map {set}"), Kind::Bytes, 4),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The operator before a comparison's value. nft omits "equal".
const fn sign(op: Cmp) -> &'static str {
    match op {
        Cmp::Eq => "",
        Cmp::Neq => "!= ",
        Cmp::Lt => "< ",
        Cmp::Lte => "<= ",
        Cmp::Gt => "> ",
        Cmp::Gte => ">= ",
    }
}

fn limit(limit: Limit) -> String {
    let over = if limit.over { "over " } else { "" };
    format!("limit rate {over}{} burst {} packets", rate(limit.rate, limit.unit), limit.burst)
}

fn log(log: &Log) -> String {
    let mut words = vec!["log".to_owned()];
    if !log.prefix.is_empty() {
        words.push(format!("prefix {}", quoted(&log.prefix)));
    }
    if let Some(group) = log.group {
        words.push(format!("group {group}"));
    }
    words.join(" ")
}

const fn reject(reject: Reject) -> &'static str {
    match reject {
        Reject::TcpReset => "reject with tcp reset",
        Reject::Icmpx(IcmpxCode::NoRoute) => "reject with icmpx no-route",
        Reject::Icmpx(IcmpxCode::PortUnreachable) => "reject with icmpx port-unreachable",
        Reject::Icmpx(IcmpxCode::HostUnreachable) => "reject with icmpx host-unreachable",
        Reject::Icmpx(IcmpxCode::AdminProhibited) => "reject with icmpx admin-prohibited",
    }
}
