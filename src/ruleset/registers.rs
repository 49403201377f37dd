//! The contents of the registers while a rule runs.
//!
//! A rule compares bytes of registers, and an earlier expression determines what those bytes mean. [`Registers`] runs
//! the expressions of one rule in order and tracks what each register holds. The matches in this file name every
//! expression, so that adding a new one is a compile error until its effect is defined.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{CtKey, Direction, Expr, FibResult, Foreign, MapValue, MetaKey, PayloadBase, Register, Set, SetRef};
use std::collections::BTreeMap;

/// The bytes of all data registers together.
const ALL: usize = 64;

/// A property of a packet, or of its connection, that an expression loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// By `meta`.
    Meta(MetaKey),
    /// By `ct`.
    Ct(CtKey, Option<Direction>),
    /// Bytes of a header, by `payload`.
    Payload {
        /// The header that `offset` counts from.
        base: PayloadBase,
        /// Bytes from the start of that header.
        offset: u32,
        /// How many bytes.
        len: u32,
    },
    /// By `fib`, with its [`fib_flags`](super::fib_flags).
    Fib(FibResult, u32),
}

impl Field {
    /// How many bytes the field fills in its register.
    #[must_use]
    pub fn width(self) -> usize {
        let width = match self {
            Self::Meta(key) => key.width(),
            Self::Ct(key, _) => key.width(),
            Self::Payload { len, .. } => len,
            Self::Fib(result, flags) => result.len(flags),
        };
        usize::try_from(width).unwrap_or(usize::MAX)
    }
}

/// The content of some bytes of the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A field.
    Field(Field),
    /// The first bytes of a field: `(field & mask) ^ xor`.
    Masked {
        /// The field.
        field: Field,
        /// The mask, no longer than the field.
        mask: &'a [u8],
        /// The value that the masked field is xored with.
        xor: &'a [u8],
    },
    /// A value computed from these fields in another way.
    Computed(Vec<Field>),
    /// The value that a map has for a packet; `None` if the map is not known.
    Mapped(Option<&'a Set>),
    /// A constant.
    Constant(&'a [u8]),
}

impl Content<'_> {
    /// The fields that the content depends on.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Field(field) | Self::Masked { field, .. } => std::slice::from_ref(field),
            Self::Computed(fields) => fields,
            Self::Mapped(_) | Self::Constant(_) => &[],
        }
    }
}

/// A content that a read covers, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// How many of the bytes read come before it; `None` if it begins before them.
    pub before: Option<usize>,
    /// The length of the content in bytes.
    pub len: usize,
    /// The content.
    pub content: Content<'a>,
}

/// The registers of one rule.
#[derive(Clone, Debug)]
pub struct Registers<'a> {
    sets: &'a BTreeMap<String, Set>,
    /// In the order of their first slots, without overlaps.
    held: Vec<Held<'a>>,
}

#[derive(Clone, Debug)]
struct Held<'a> {
    slot: usize,
    len: usize,
    content: Content<'a>,
}

impl Held<'_> {
    /// The first slot after it.
    fn end(&self) -> usize {
        self.slot.saturating_add(self.len.div_ceil(4))
    }
}

impl<'a> Held<'a> {
    /// The part before an overwritten slot.
    fn before(&self, slot: usize) -> Option<Self> {
        let len = slot.checked_sub(self.slot)? * 4;
        let content = match self.content {
            Content::Constant(data) => Content::Constant(data.get(..len).unwrap_or(data)),
            Content::Field(_) | Content::Masked { .. } | Content::Computed(_) | Content::Mapped(_) => {
                self.content.clone()
            }
        };
        (len > 0).then_some(Self { slot: self.slot, len, content })
    }

    /// The part from a slot on, after an overwritten range.
    fn behind(self, slot: usize) -> Option<Self> {
        let gone = slot.checked_sub(self.slot)? * 4;
        let len = self.len.checked_sub(gone).filter(|len| *len > 0)?;
        let content = match self.content {
            Content::Constant(data) => Content::Constant(data.get(gone..).unwrap_or_default()),
            Content::Mapped(set) => Content::Mapped(set),
            Content::Field(_) | Content::Masked { .. } | Content::Computed(_) => {
                Content::Computed(self.content.fields().to_vec())
            }
        };
        Some(Self { slot, len, content })
    }
}

impl<'a> Registers<'a> {
    /// The registers at the beginning of a rule, in a table with these sets.
    #[must_use]
    pub const fn new(sets: &'a BTreeMap<String, Set>) -> Self {
        Self { sets, held: Vec::new() }
    }

    /// The contents of the `len` bytes from a register on, in order. Bytes that no part covers are unknown.
    #[must_use]
    pub fn read(&self, register: Register, len: usize) -> Vec<Part<'a>> {
        let Register::Data(slot) = register else { return Vec::new() };
        let begin = usize::from(slot);
        let end = begin.saturating_add(len.div_ceil(4));
        let read = self.held.iter().filter(|held| begin < held.end() && held.slot < end);
        read.map(|held| Part {
            before: held.slot.checked_sub(begin).map(|slots| slots * 4),
            len: held.len,
            content: held.content.clone(),
        })
        .collect()
    }

    /// The set of a lookup, and its name if it has one; `None` for a set that the table does not have.
    #[must_use]
    pub fn set(&self, set: &'a SetRef) -> Option<(&'a Set, Option<&'a str>)> {
        match set {
            SetRef::Anonymous(set) => Some((set, None)),
            SetRef::Named(name) => self.sets.get(name).map(|set| (set, Some(name.as_str()))),
        }
    }

    /// Forgets all contents.
    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// Applies the writes of an expression.
    pub fn run(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Meta { key, dreg } => self.load(*dreg, Field::Meta(*key)),
            Expr::Ct { key, direction, dreg } => self.load(*dreg, Field::Ct(*key, *direction)),
            Expr::Payload { base, offset, len, dreg } => {
                self.load(*dreg, Field::Payload { base: *base, offset: *offset, len: *len });
            }
            Expr::Fib { result, flags, dreg } => self.load(*dreg, Field::Fib(*result, *flags)),
            Expr::Bitwise { sreg, dreg, mask, xor } => self.bitwise(*sreg, *dreg, mask, xor),
            Expr::Lookup { set, dreg: Some(dreg), .. } => {
                let set = self.set(set).map(|(set, _)| set);
                let len = match set.and_then(|set| set.spec.value.as_ref()) {
                    Some(MapValue::Data(value)) => usize::try_from(value.len).unwrap_or(ALL),
                    Some(MapValue::Verdict | MapValue::Object(_)) | None => ALL,
                };
                self.write(*dreg, len, Content::Mapped(set));
            }
            Expr::Foreign(expr) => self.run_foreign(expr),
            Expr::Unknown { .. } => self.forget(),
            Expr::Cmp { .. }
            | Expr::Lookup { dreg: None, .. }
            | Expr::Dynset { .. }
            | Expr::Verdict(_)
            | Expr::Counter { .. }
            | Expr::Limit(_)
            | Expr::Log(_)
            | Expr::Reject(_) => {}
        }
    }

    fn run_foreign(&mut self, expr: &'a Foreign) {
        match expr {
            Foreign::Immediate { dreg, data } => self.write(*dreg, data.len(), Content::Constant(data)),
            Foreign::SetMeta { .. }
            | Foreign::SetCt { .. }
            | Foreign::Range { .. }
            | Foreign::Nat(_)
            | Foreign::Masquerade { .. }
            | Foreign::Redirect { .. }
            | Foreign::Reject { .. }
            | Foreign::Log { .. }
            | Foreign::Object { .. }
            | Foreign::ObjectMap { .. }
            | Foreign::SetPayload { .. }
            | Foreign::Notrack
            | Foreign::Match(_)
            | Foreign::Target(_) => {}
        }
    }

    fn load(&mut self, register: Register, field: Field) {
        self.write(register, field.width(), Content::Field(field));
    }

    fn bitwise(&mut self, sreg: Register, dreg: Register, mask: &'a [u8], xor: &'a [u8]) {
        let read = self.read(sreg, mask.len());
        let content = match read.as_slice() {
            [Part { before: Some(0), len, content: Content::Field(field) }] if mask.len() <= *len => {
                Content::Masked { field: *field, mask, xor }
            }
            parts => Content::Computed(fields(parts)),
        };
        self.write(dreg, mask.len(), content);
    }

    fn write(&mut self, register: Register, len: usize, content: Content<'a>) {
        let Register::Data(slot) = register else { return };
        let new = Held { slot: usize::from(slot), len, content };
        let overlaps = |old: &Held<'_>| new.slot < old.end() && old.slot < new.end();
        let overwritten: Vec<Held<'a>> = self.held.extract_if(.., |old| overlaps(old)).collect();
        for old in overwritten {
            self.held.extend(old.before(new.slot));
            self.held.extend(old.behind(new.end()));
        }
        self.held.push(new);
        self.held.sort_by_key(|held| held.slot);
    }
}

/// All fields that these contents depend on, each once.
fn fields(parts: &[Part<'_>]) -> Vec<Field> {
    let mut found = Vec::new();
    for field in parts.iter().flat_map(|part| part.content.fields()) {
        if !found.contains(field) {
            found.push(*field);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Field = Field::Payload { base: PayloadBase::Network, offset: 12, len: 4 };

    fn load(slot: u8) -> Expr {
        Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: Register::Data(slot) }
    }

    fn meta(key: MetaKey, slot: u8) -> Expr {
        Expr::Meta { key, dreg: Register::Data(slot) }
    }

    fn mask(sreg: u8, dreg: u8, bytes: usize) -> Expr {
        Expr::Bitwise {
            sreg: Register::Data(sreg),
            dreg: Register::Data(dreg),
            mask: vec![0xff; bytes],
            xor: vec![0; bytes],
        }
    }

    /// Runs the expressions, then reads from slot 1 on: for each part, the bytes before it, its length and its
    /// content.
    fn held(exprs: &[Expr], len: usize) -> Vec<String> {
        let sets = BTreeMap::new();
        let mut registers = Registers::new(&sets);
        exprs.iter().for_each(|expr| registers.run(expr));
        let parts = registers.read(Register::Data(1), len);
        parts.iter().map(|part| format!("{:?} {} {:?}", part.before, part.len, part.content)).collect()
    }

    fn part(before: Option<usize>, len: usize, content: &Content<'_>) -> String {
        format!("{before:?} {len} {content:?}")
    }

    #[test]
    fn a_concatenation_is_read_as_its_parts_and_a_register_from_its_middle_as_one_that_begins_before() {
        let source = |before| part(before, 4, &Content::Field(SOURCE));
        let name = |before| part(before, 16, &Content::Field(Field::Meta(MetaKey::Iifname)));
        assert_eq!(held(&[load(1), meta(MetaKey::Iifname, 2)], 20), [source(Some(0)), name(Some(4))]);
        assert_eq!(held(&[meta(MetaKey::Iifname, 0)], 4), [name(None)]);
        assert_eq!(held(&[load(0), load(2)], 4), [""; 0]);
    }

    #[test]
    fn what_is_overwritten_is_gone_and_what_is_left_of_a_field_behind_it_depends_on_that_field() {
        let mark = || meta(MetaKey::Mark, 1);
        let is_mark = part(Some(0), 4, &Content::Field(Field::Meta(MetaKey::Mark)));
        let name = Field::Meta(MetaKey::Iifname);
        assert_eq!(held(&[load(1), load(2), mark()], 4), std::slice::from_ref(&is_mark));
        assert_eq!(
            held(&[meta(MetaKey::Iifname, 1), mark()], 8),
            [is_mark.clone(), part(Some(4), 12, &Content::Computed(vec![name]))]
        );
        assert_eq!(held(&[meta(MetaKey::Iifname, 0), load(2), mark()], 4), [is_mark]);
        assert_eq!(held(&[meta(MetaKey::Iifname, 1), load(2)], 4), [part(Some(0), 4, &Content::Field(name))]);
        let unknown = Expr::Unknown { name: "numgen".to_owned(), attributes: Vec::new() };
        assert_eq!(held(&[load(1), unknown], 4), [""; 0]);
    }

    #[test]
    fn a_mask_keeps_the_field_that_it_lies_on_and_a_mask_of_a_mask_keeps_what_it_depends_on() {
        let masked = |bytes: &'static [u8], xor: &'static [u8]| Content::Masked { field: SOURCE, mask: bytes, xor };
        let first = part(Some(0), 3, &masked(&[0xff; 3], &[0; 3]));
        assert_eq!(held(&[load(5), mask(5, 1, 3)], 4), [first]);
        let computed = |fields: &[Field], len| part(Some(0), len, &Content::Computed(fields.to_vec()));
        assert_eq!(held(&[load(5), mask(5, 6, 4), mask(6, 1, 4)], 4), [computed(&[SOURCE], 4)]);
        let both = [SOURCE, Field::Meta(MetaKey::Mark)];
        let exprs = [load(5), meta(MetaKey::Mark, 6), mask(5, 1, 8), mask(1, 1, 8)];
        assert_eq!(held(&exprs, 4), [computed(&both, 8)]);
    }
}
