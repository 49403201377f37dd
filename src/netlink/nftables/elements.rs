//! The elements of sets and maps.
//!
//! The kernel stores an interval as two elements: one at its start and one, flagged as an end, at the first value
//! after it. An interval up to the greatest value has no end. Concatenated intervals have both ends in one element.

use super::batch::Batch;
use super::problem::{Problem, is_name};
use super::{expr, verdict};
use crate::netlink::wire::attr::{Attributes, Fields, string};
use crate::netlink::wire::uapi::{NFTA_LIST_ELEM, data, elem, msg};
use crate::netlink::wire::write::{Nest, Writer};
use crate::ruleset::{
    Element, ElementKey, ElementValue, Elements, Expr, Key, MapValue, PackedView, SetFlags, SetSpec, TableId,
};
use crate::simulate::Answer;

/// A message of this length gets no more elements: an attribute's length has 16 bits, and the longest element (64
/// bytes of key, a verdict with a chain name of 255 bytes, and its end) takes less than the rest.
const FULL: usize = u16::MAX as usize - 1024;

/// The set that elements are added to or deleted from.
#[derive(Clone, Copy, Debug)]
pub(in crate::netlink) struct Destination<'a> {
    /// `NFT_MSG_NEWSETELEM` or `NFT_MSG_DELSETELEM`.
    pub kind: u8,
    /// The message's flags.
    pub flags: u16,
    /// The set's table.
    pub table: &'a TableId,
    /// The set's name.
    pub set: &'a str,
    /// The id of a set that is created in the same batch and has no name yet.
    pub id: Option<u32>,
    /// The set's specification.
    pub spec: &'a SetSpec,
}

/// Writes the elements in as many messages as they need.
pub(in crate::netlink) fn write(
    batch: &mut Batch,
    op: usize,
    to: Destination<'_>,
    elements: &Elements,
) -> Result<(), Problem> {
    if let Some(packed) = elements.packed() {
        return write_packed(batch, op, to, packed);
    }
    let mut rest = elements.iter().peekable();
    while rest.peek().is_some() {
        let mut writer = batch.begin(op, to.kind, to.flags, to.table.family.number());
        let list = open_list(&mut writer, to);
        while writer.len() < FULL
            && let Some(element) = rest.next()
        {
            // A deletion names only the key, whatever it maps to.
            let value = element.value.as_deref().filter(|_| to.kind == msg::NEWSETELEM);
            write_element(&mut writer, to.spec, &element.key, value)?;
        }
        writer.close(&list);
        writer.finish();
    }
    Ok(())
}

fn open_list(writer: &mut Writer<'_>, to: Destination<'_>) -> Nest {
    writer.text(elem::LIST_TABLE, &to.table.name);
    writer.text(elem::LIST_SET, to.set);
    if let Some(id) = to.id {
        writer.u32(elem::LIST_SET_ID, id);
    }
    writer.open(elem::LIST_ELEMENTS)
}

/// Like [`write`], directly from packed addresses: a million take 10 ms.
fn write_packed(batch: &mut Batch, op: usize, to: Destination<'_>, packed: PackedView<'_>) -> Result<(), Problem> {
    let interval = to.spec.flags.contains(SetFlags::INTERVAL);
    if packed.width != to.spec.key.len as usize || to.spec.value.is_some() || packed.ranges && !interval {
        return Err(Problem::Element);
    }
    let (start, end) = (Template::new(packed.width, 0), Template::new(packed.width, elem::INTERVAL_END));
    let each = start.bytes.len() + if interval { end.bytes.len() } else { 0 };
    let mut rest = packed.intervals().peekable();
    batch.reserve(packed.intervals().count().saturating_mul(each + 1));
    while rest.peek().is_some() {
        let mut writer = batch.begin(op, to.kind, to.flags, to.table.family.number());
        let list = open_list(&mut writer, to);
        while writer.len() < FULL
            && let Some((first, last)) = rest.next()
        {
            start.write(&mut writer, first);
            if interval && let Some(after) = successor(last) {
                end.write(&mut writer, &after);
            }
        }
        writer.close(&list);
        writer.finish();
    }
    Ok(())
}

/// An element without a value; its key comes last and is filled in.
struct Template {
    bytes: Vec<u8>,
    width: usize,
}

impl Template {
    fn new(width: usize, flags: u32) -> Self {
        let mut bytes = Vec::new();
        let mut writer = Writer::reopen(&mut bytes, 0);
        write_key(&mut writer, &vec![0; width], flags);
        Self { bytes, width }
    }

    /// Addresses need no padding.
    fn write(&self, writer: &mut Writer<'_>, key: &[u8]) {
        writer.ready_made(self.bytes.get(..self.bytes.len() - self.width).unwrap_or_default());
        writer.ready_made(key);
    }
}

/// An element without a value.
pub(in crate::netlink) fn write_key(writer: &mut Writer<'_>, key: &[u8], flags: u32) {
    let element = writer.open(NFTA_LIST_ELEM);
    if flags != 0 {
        writer.u32(elem::FLAGS, flags);
    }
    let nest = writer.open(elem::KEY);
    writer.bytes(data::VALUE, key);
    writer.close(&nest);
    writer.close(&element);
}

/// How many kernel elements these make.
pub(in crate::netlink) fn count(spec: &SetSpec, elements: &Elements) -> u32 {
    let ends = if spec.flags.contains(SetFlags::INTERVAL) {
        elements.bounds().filter(|(_, last)| last.iter().any(|&byte| byte != u8::MAX)).count()
    } else {
        0
    };
    u32::try_from(elements.len() + ends).unwrap_or(u32::MAX)
}

fn write_element(
    writer: &mut Writer<'_>,
    spec: &SetSpec,
    key: &ElementKey,
    value: Option<&ElementValue>,
) -> Result<(), Problem> {
    let fits = |key: &Key| key.len() == spec.key.len as usize && !key.is_empty() && key.len() <= data::MAX_LEN;
    let interval = spec.flags.contains(SetFlags::INTERVAL);
    match key {
        ElementKey::CatchAll => write_one(writer, spec, None, elem::CATCHALL, value),
        ElementKey::Single(key) if !interval && fits(key) => write_one(writer, spec, Some(key), 0, value),
        ElementKey::Single(first) | ElementKey::Range(first, _) if interval && fits(first) => {
            let (_, last) = key.bounds().ok_or(Problem::Element)?;
            if !fits(last) || last < first {
                return Err(Problem::Element);
            }
            write_one(writer, spec, Some(first), 0, value)?;
            if let Some(after) = successor(last) {
                write_one(writer, spec, Some(&after), elem::INTERVAL_END, None)?;
            }
            Ok(())
        }
        _ => Err(Problem::Element),
    }
}

fn write_one(
    writer: &mut Writer<'_>,
    spec: &SetSpec,
    key: Option<&Key>,
    flags: u32,
    value: Option<&ElementValue>,
) -> Result<(), Problem> {
    let nest = writer.open(NFTA_LIST_ELEM);
    if flags != 0 {
        writer.u32(elem::FLAGS, flags);
    }
    if let Some(key) = key {
        let nest = writer.open(elem::KEY);
        writer.bytes(data::VALUE, key);
        writer.close(&nest);
    }
    match (value, spec.value) {
        (None, _) => {}
        (Some(ElementValue::Expires(milliseconds)), None) if spec.flags.contains(SetFlags::TIMEOUT) => {
            // The kernel takes 0 for no timeout.
            writer.u64(elem::TIMEOUT, (*milliseconds).max(1));
        }
        (Some(ElementValue::Object(name)), Some(MapValue::Object(_))) if is_name(name) => {
            writer.text(elem::OBJREF, name);
        }
        (Some(ElementValue::Verdict(verdict)), Some(MapValue::Verdict))
            if verdict::parts(verdict).1.is_none_or(is_name) =>
        {
            let nest = writer.open(elem::DATA);
            verdict::write(writer, verdict);
            writer.close(&nest);
        }
        (Some(ElementValue::Data(value)), Some(MapValue::Data(kind)))
            if value.len() == kind.len as usize && value.len() <= data::MAX_LEN =>
        {
            let nest = writer.open(elem::DATA);
            writer.bytes(data::VALUE, value);
            writer.close(&nest);
        }
        _ => return Err(Problem::Element),
    }
    writer.close(&nest);
    Ok(())
}

/// The next value, as big-endian bytes; `None` after the greatest.
pub(in crate::netlink) fn successor(key: &[u8]) -> Option<Key> {
    step(key, u8::MAX, 0, |byte| byte.wrapping_add(1))
}

/// The value before, as big-endian bytes; `None` before zero.
fn predecessor(key: &[u8]) -> Option<Key> {
    step(key, 0, u8::MAX, |byte| byte.wrapping_sub(1))
}

fn step(key: &[u8], limit: u8, wrapped: u8, change: impl Fn(u8) -> u8) -> Option<Key> {
    let at = key.iter().rposition(|&byte| byte != limit)?;
    Some(
        key.iter()
            .enumerate()
            .map(|(index, &byte)| match index.cmp(&at) {
                std::cmp::Ordering::Less => byte,
                std::cmp::Ordering::Equal => change(byte),
                std::cmp::Ordering::Greater => wrapped,
            })
            .collect(),
    )
}

/// The start or end of an interval. An end sorts before a start at the same value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    End,
    Start(Option<Box<ElementValue>>),
}

/// Collects the kernel's elements, in any order, into the elements of a set.
#[derive(Debug, Default)]
pub(in crate::netlink) struct Collector {
    interval: bool,
    /// Whether the set declares expressions for its elements.
    stateful: bool,
    /// Whether the elements run out, and come from no packet.
    timed: bool,
    elements: Vec<Element>,
    edges: Vec<(Key, Edge)>,
}

impl Collector {
    /// An empty collector for a set.
    pub(in crate::netlink) fn new(spec: &SetSpec) -> Self {
        let interval = spec.flags.contains(SetFlags::INTERVAL) && !spec.flags.contains(SetFlags::CONCAT);
        Self {
            interval,
            stateful: spec.flags.contains(SetFlags::EXPR),
            timed: spec.is_timed() && spec.value.is_none(),
            ..Self::default()
        }
    }

    /// Adds the elements of one `NFTA_SET_ELEM_LIST_ELEMENTS`; `None` if they are malformed.
    pub(in crate::netlink) fn add_list(&mut self, list: &[u8]) -> Option<()> {
        for attribute in Attributes::new(list) {
            let (_, element) = attribute.ok()?;
            self.add(element)?;
        }
        Some(())
    }

    fn add(&mut self, element: &[u8]) -> Option<()> {
        let fields = Fields::<{ elem::END }>::read(element)?;
        let flags = fields.get(elem::FLAGS).map_or(Some(0), |_| fields.u32(elem::FLAGS))?;
        let expressions = fields.get(elem::EXPR).or(fields.get(elem::EXPRESSIONS)).is_some();
        let value = if expressions && !self.stateful {
            Some(Box::new(ElementValue::Unknown(element.to_vec())))
        } else if self.timed && fields.get(elem::EXPIRATION).is_some() {
            Some(Box::new(ElementValue::Expires(fields.u64(elem::EXPIRATION)?)))
        } else {
            read_value(&fields)?
        };
        if flags & elem::CATCHALL != 0 {
            self.elements.push(Element { key: ElementKey::CatchAll, value });
            return Some(());
        }
        let first = read_key(fields.get(elem::KEY)?)?;
        if self.interval {
            let edge = if flags & elem::INTERVAL_END == 0 { Edge::Start(value) } else { Edge::End };
            self.edges.push((first, edge));
            return Some(());
        }
        let key = match fields.get(elem::KEY_END) {
            Some(last) => range(first, read_key(last)?),
            None => ElementKey::Single(first),
        };
        self.elements.push(Element { key, value });
        Some(())
    }

    /// The elements, sorted. An end without a start before it (nft writes one at zero) is ignored; a start without an
    /// end extends to the next start, or to the greatest value.
    pub(in crate::netlink) fn finish(mut self) -> Vec<Element> {
        self.edges.sort_unstable();
        let mut open: Option<(Key, Option<Box<ElementValue>>)> = None;
        for (at, edge) in self.edges {
            if let Some((first, value)) = open.take()
                && let Some(last) = predecessor(&at)
                && first <= last
            {
                self.elements.push(Element { key: range(first, last), value });
            }
            if let Edge::Start(value) = edge {
                open = Some((at, value));
            }
        }
        if let Some((first, value)) = open {
            let last = Key::from_elem(u8::MAX, first.len());
            self.elements.push(Element { key: range(first, last), value });
        }
        self.elements.sort_unstable();
        self.elements.dedup();
        self.elements
    }
}

fn range(first: Key, last: Key) -> ElementKey {
    if first == last { ElementKey::Single(first) } else { ElementKey::Range(first, last) }
}

/// The answer to a lookup in the first element of a list; `None` if it is malformed.
///
/// An element with a counter is an ordinary element; other expressions in it make the answer unknown.
pub(in crate::netlink) fn found(list: &[u8]) -> Option<Answer> {
    let (_, element) = Attributes::new(list).next()?.ok()?;
    let fields = Fields::<{ elem::END }>::read(element)?;
    if expr::of_element(&fields).iter().any(|expr| !matches!(expr, Expr::Counter { .. })) {
        return Some(Answer::Unknown("an element with expressions that are not understood".into()));
    }
    Some(Answer::Present(read_value(&fields)?.map(|value| *value)))
}

fn read_key(bytes: &[u8]) -> Option<Key> {
    Fields::<{ data::END }>::read(bytes)?.get(data::VALUE).map(Key::from_slice)
}

fn read_value(fields: &Fields<'_, { elem::END }>) -> Option<Option<Box<ElementValue>>> {
    let value = match (fields.get(elem::DATA), fields.get(elem::OBJREF)) {
        (Some(bytes), _) => {
            let loaded = Fields::<{ data::END }>::read(bytes)?;
            match loaded.get(data::VERDICT) {
                Some(verdict) => ElementValue::Verdict(verdict::decode(verdict)?),
                None => ElementValue::Data(Key::from_slice(loaded.get(data::VALUE)?)),
            }
        }
        (None, Some(name)) => ElementValue::Object(string(name)),
        (None, None) => return Some(None),
    };
    Some(Some(Box::new(value)))
}
