//! Sets, maps and their elements.

use super::text::{duration, name, quoted};
use super::value::{Kind, type_name};
use super::verdict;
use crate::ruleset::{Element, ElementKey, ElementValue, Elements, KeyType, MapValue, Set, SetFlags, SetSpec};

/// nft's noun for a set with this definition: `set` or `map`.
pub(super) fn noun(spec: &SetSpec) -> &'static str {
    if spec.value.is_some() { "map" } else { "set" }
}

/// A set or map without its elements, on one line: `set lan-if { type ifname; flags interval; }`.
#[must_use]
pub fn set_header(set_name: &str, spec: &SetSpec) -> String {
    format!("{} {} {{ {}; }}", noun(spec), name(set_name), properties(spec).join("; "))
}

/// An element as nft writes it: `192.0.2.0/24`, `22 : goto service-ssh`, `"br-*"`, `*`, `192.0.2.1 timeout 8h`.
///
/// A range of addresses that is exactly one network is written as a prefix. Bytes of a type without a text form, or
/// not of the type's length, are written as one hexadecimal number.
#[must_use]
pub fn element(spec: &SetSpec, element: &Element) -> String {
    element_as(Kind::of(spec.key), spec, element)
}

/// Like [`element`], with keys of the given kind, for sets whose type does not tell it.
pub(super) fn element_as(kind: Kind, spec: &SetSpec, element: &Element) -> String {
    let fields = spec.key.fields();
    let key = match (&element.key, &fields) {
        (ElementKey::CatchAll, _) => "*".to_owned(),
        (ElementKey::Single(key), Some(fields)) => concatenated(fields, key, key),
        (ElementKey::Range(first, last), Some(fields)) => concatenated(fields, first, last),
        (ElementKey::Single(key), None) => kind.value(key),
        (ElementKey::Range(first, last), None) => kind.range(first, last),
    };
    let value = match element.value.as_deref() {
        None => return key,
        Some(ElementValue::Verdict(value)) => verdict(value),
        Some(ElementValue::Object(object)) => quoted(object),
        Some(ElementValue::Expires(milliseconds)) => {
            return format!("{key} timeout {}", duration(milliseconds.div_ceil(1000).saturating_mul(1000)));
        }
        Some(ElementValue::Unknown(_)) => return format!("{key} <unknown expressions>"),
        Some(ElementValue::Data(data)) => match spec.value {
            Some(MapValue::Data(of)) => Kind::of(of).value(data),
            _ => Kind::Bytes.value(data),
        },
    };
    format!("{key} : {value}")
}

/// A key of several fields, or a range of each: `10.0.0.1-10.0.0.9 . 80-90`.
fn concatenated(fields: &[KeyType], first: &[u8], last: &[u8]) -> String {
    let mut at = 0_usize;
    let texts = fields.iter().map(|field| {
        let len = usize::try_from(field.len).unwrap_or_default();
        let part = |key: &[u8]| key.get(at..at.saturating_add(len)).unwrap_or_default().to_vec();
        let (kind, first, last) = (Kind::of(*field), part(first), part(last));
        at = at.saturating_add(len.next_multiple_of(4));
        if first == last { kind.value(&first) } else { kind.range(&first, &last) }
    });
    texts.collect::<Vec<_>>().join(" . ")
}

/// An anonymous set as written in a rule. `operand` is the kind of the key in the rule.
pub(super) fn anonymous(set: &Set, operand: Kind) -> String {
    let kind = match Kind::of(set.spec.key) {
        Kind::Bytes => operand,
        own => own,
    };
    let elements: Vec<String> = set.elements.iter().map(|one| element_as(kind, &set.spec, &one)).collect();
    if elements.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", elements.join(", ")) }
}

/// The definition of a set, one property per item.
pub(super) fn properties(spec: &SetSpec) -> Vec<String> {
    let mut lines = vec![match value_type(spec) {
        Some(value) => format!("type {} : {value}", key_type(spec.key)),
        None => format!("type {}", key_type(spec.key)),
    }];
    if let Some(size) = spec.size {
        lines.push(format!("size {size}"));
    }
    let flags = flags(spec.flags);
    if !flags.is_empty() {
        lines.push(format!("flags {}", flags.join(",")));
    }
    if let Some(timeout) = spec.timeout_ms {
        lines.push(format!("timeout {}", duration(timeout)));
    }
    if let Some(comment) = &spec.comment {
        lines.push(format!("comment {}", quoted(comment)));
    }
    if !spec.unknown.is_empty() {
        lines.push(format!("<unknown attributes of {} bytes>", spec.unknown.len()));
    }
    lines
}

/// nft's name for the type of a key.
pub(super) fn key_type(key: KeyType) -> String {
    let named = |key: KeyType| type_name(key).map(str::to_owned);
    let fields = || key.fields()?.into_iter().map(named).collect::<Option<Vec<_>>>();
    let known = named(key).or_else(|| fields().map(|fields| fields.join(" . ")));
    known.unwrap_or_else(|| format!("<unknown type {}>", key.number))
}

/// nft's name for the type of a map's values.
pub(super) fn value_type(spec: &SetSpec) -> Option<String> {
    Some(match spec.value? {
        MapValue::Verdict => "verdict".to_owned(),
        MapValue::Data(of) => key_type(of),
        MapValue::Object(_) => object_type(spec),
    })
}

/// nft's name for the kind of objects that a map leads to.
fn object_type(spec: &SetSpec) -> String {
    match spec.value {
        Some(MapValue::Object(1)) => "counter".to_owned(),
        Some(MapValue::Object(2)) => "quota".to_owned(),
        Some(MapValue::Object(3)) => "ct helper".to_owned(),
        Some(MapValue::Object(4)) => "limit".to_owned(),
        Some(MapValue::Object(7)) => "ct timeout".to_owned(),
        Some(MapValue::Object(8)) => "secmark".to_owned(),
        Some(MapValue::Object(9)) => "ct expectation".to_owned(),
        Some(MapValue::Object(10)) => "synproxy".to_owned(),
        Some(MapValue::Object(number)) => format!("<unknown object type {number}>"),
        _ => "object".to_owned(),
    }
}

const FLAG_NAMES: [(SetFlags, &str); 4] = [
    (SetFlags::CONSTANT, "constant"),
    (SetFlags::DYNAMIC, "dynamic"),
    (SetFlags::INTERVAL, "interval"),
    (SetFlags::TIMEOUT, "timeout"),
];
/// Flags that follow from the form of a set.
const IMPLIED_FLAGS: [SetFlags; 5] =
    [SetFlags::ANONYMOUS, SetFlags::MAP, SetFlags::OBJECT, SetFlags::CONCAT, SetFlags::EXPR];

/// The flags that nft can't express.
pub(super) fn unknown_flags(flags: SetFlags) -> SetFlags {
    let known = FLAG_NAMES.into_iter().map(|(flag, _)| flag).chain(IMPLIED_FLAGS);
    known.fold(flags, SetFlags::without)
}

/// The flags that nft writes, without those that follow from the form.
pub(super) fn flags(flags: SetFlags) -> Vec<String> {
    let names = FLAG_NAMES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| (*name).to_owned());
    let rest = unknown_flags(flags);
    let rest = (rest != SetFlags::default()).then(|| format!("<unknown flags {:#x}>", rest.0));
    names.chain(rest).collect()
}

/// Elements in braces: on one line if they fit, otherwise one per line, indented by `indent`.
pub(super) fn braced(spec: &SetSpec, elements: &Elements, indent: &str) -> String {
    const WIDTH: usize = 90;
    let texts: Vec<String> = elements.iter().map(|one| element(spec, &one)).collect();
    if texts.iter().map(|text| text.len() + 2).sum::<usize>() <= WIDTH {
        format!("{{ {} }}", texts.join(", "))
    } else {
        format!("{{\n{indent}\t{}\n{indent}}}", texts.join(&format!(",\n{indent}\t")))
    }
}
