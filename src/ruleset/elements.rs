//! The elements of a set: a list, or packed addresses.

use super::{Element, ElementKey};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// From how many addresses on they are packed. Fewer are kept as a list, which is faster to use.
const MANY: usize = 256;

/// The elements of a set or map: sorted, without duplicates and, in an interval set, without overlaps.
///
/// Equality does not depend on the representation. Many addresses take 4 to 32 bytes each, and copies share memory.
#[derive(Clone, Debug)]
pub struct Elements(Form);

#[derive(Clone, Debug)]
enum Form {
    Listed(Vec<Element>),
    Packed(Arc<Packed>),
}

/// Addresses of one family, or ranges of them, in network order and without mapped values.
#[derive(Debug, PartialEq, Eq)]
struct Packed {
    width: Width,
    /// Whether each element is a first and a last address, which may be equal.
    ranges: bool,
    bytes: Vec<u8>,
}

/// The length of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    V4,
    V6,
}

impl Width {
    const fn bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// An address of either family.
pub trait Address: Copy + Eq {
    /// The address as bytes: 4 or 16.
    type Octets: AsRef<[u8]>;
    /// The bytes of the address, the most significant one first.
    fn octets(self) -> Self::Octets;
}

impl Address for Ipv4Addr {
    type Octets = [u8; 4];
    fn octets(self) -> [u8; 4] {
        Self::octets(&self)
    }
}

impl Address for Ipv6Addr {
    type Octets = [u8; 16];
    fn octets(self) -> [u8; 16] {
        Self::octets(&self)
    }
}

impl Packed {
    fn stride(&self) -> usize {
        self.width.bytes() * if self.ranges { 2 } else { 1 }
    }

    fn element(&self, bytes: &[u8]) -> Element {
        match bytes.split_at_checked(self.width.bytes()) {
            Some((first, last)) if self.ranges => Element::range(first, last),
            _ => Element::single(bytes),
        }
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let begin = index.checked_mul(self.stride())?;
        self.bytes.get(begin..begin.checked_add(self.stride())?)
    }

    /// Like [`Elements::without`]: the bytes sort like the elements.
    fn without(&self, others: &Self) -> Vec<Element> {
        let mut rest = others.bytes.chunks_exact(others.stride()).peekable();
        let missing = self.bytes.chunks_exact(self.stride()).filter(|bytes| {
            while rest.next_if(|other| other < bytes).is_some() {}
            rest.next_if_eq(bytes).is_none()
        });
        missing.map(|bytes| self.element(bytes)).collect()
    }
}

impl Elements {
    /// No element.
    #[must_use]
    pub const fn none() -> Self {
        Self(Form::Listed(Vec::new()))
    }

    /// Makes elements of sorted, disjoint intervals of addresses. Packs them if there are many.
    #[must_use]
    pub fn of_addresses<A: Address>(intervals: &[(A, A)]) -> Self {
        let Some(width) = intervals.first().filter(|_| intervals.len() >= MANY).and_then(|(first, _)| {
            match first.octets().as_ref().len() {
                4 => Some(Width::V4),
                16 => Some(Width::V6),
                _ => None,
            }
        }) else {
            let element = |(first, last): &(A, A)| Element::range(first.octets().as_ref(), last.octets().as_ref());
            return Self(Form::Listed(intervals.iter().map(element).collect()));
        };
        let ranges = intervals.iter().any(|(first, last)| first != last);
        let each = if ranges { 2 } else { 1 };
        let mut bytes = Vec::with_capacity(intervals.len().saturating_mul(width.bytes() * each));
        for (first, last) in intervals {
            bytes.extend_from_slice(first.octets().as_ref());
            if ranges {
                bytes.extend_from_slice(last.octets().as_ref());
            }
        }
        Self(Form::Packed(Arc::new(Packed { width, ranges, bytes })))
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Listed(list) => list.len(),
            Form::Packed(packed) => packed.bytes.len() / packed.stride(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements, in ascending order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Form::Listed(list) => Iter(Rest::Listed(list.iter())),
            Form::Packed(packed) => Iter(Rest::Packed(packed, packed.bytes.chunks_exact(packed.stride()))),
        }
    }

    /// The element at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Cow<'_, Element>> {
        match &self.0 {
            Form::Listed(list) => list.get(index).map(Cow::Borrowed),
            Form::Packed(packed) => packed.get(index).map(|bytes| Cow::Owned(packed.element(bytes))),
        }
    }

    /// The last element.
    #[must_use]
    pub fn last(&self) -> Option<Cow<'_, Element>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The number of leading elements for which `is_before` holds. It must hold for no element after them.
    pub fn partition_point(&self, mut is_before: impl FnMut(&Element) -> bool) -> usize {
        let (mut first, mut end) = (0, self.len());
        while first < end {
            let middle = first + (end - first) / 2;
            match self.get(middle) {
                Some(element) if is_before(&element) => first = middle + 1,
                _ => end = middle,
            }
        }
        first
    }

    /// Whether the element is one of these.
    #[must_use]
    pub fn contains(&self, element: &Element) -> bool {
        let at = self.partition_point(|other| other < element);
        self.get(at).is_some_and(|found| *found == *element)
    }

    /// The elements kept as a list, which include all that map to something; empty if the elements are packed.
    #[must_use]
    pub fn listed(&self) -> &[Element] {
        match &self.0 {
            Form::Listed(list) => list,
            Form::Packed(_) => &[],
        }
    }

    /// The first and last value of each element except the catch-all.
    pub fn bounds(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let listed = self.listed().iter().filter_map(|element| element.key.bounds());
        let packed = self.packed().into_iter().flat_map(PackedView::intervals);
        listed.map(|(first, last)| (first.as_slice(), last.as_slice())).chain(packed)
    }

    /// The elements as a list.
    #[must_use]
    pub fn into_list(self) -> Vec<Element> {
        match self.0 {
            Form::Listed(list) => list,
            Form::Packed(_) => self.iter().map(Cow::into_owned).collect(),
        }
    }

    /// Sorted, without duplicates, and with ranges of one value written as that value.
    #[must_use]
    pub fn canonical(&self) -> Self {
        // Packed elements are canonical already.
        let Form::Listed(list) = &self.0 else { return self.clone() };
        let mut list = list.clone();
        for element in &mut list {
            if let ElementKey::Range(first, last) = &element.key
                && first == last
            {
                element.key = ElementKey::Single(first.clone());
            }
        }
        list.sort_unstable();
        list.dedup();
        Self(Form::Listed(list))
    }

    /// The elements that `others` lacks. Both are sorted.
    #[must_use]
    pub fn without(&self, others: &Self) -> Vec<Element> {
        if self.is_same_memory(others) {
            return Vec::new();
        }
        if let (Form::Packed(these), Form::Packed(those)) = (&self.0, &others.0)
            && (these.width, these.ranges) == (those.width, those.ranges)
        {
            return these.without(those);
        }
        let (mut rest, mut missing) = (others.iter().peekable(), Vec::new());
        for element in self.iter() {
            while rest.next_if(|other| **other < *element).is_some() {}
            if rest.peek().is_none_or(|other| **other != *element) {
                missing.push(element.into_owned());
            }
        }
        missing
    }

    /// The packed form, for callers that write or digest it without building each element.
    #[must_use]
    pub fn packed(&self) -> Option<PackedView<'_>> {
        let Form::Packed(packed) = &self.0 else { return None };
        Some(PackedView { width: packed.width.bytes(), ranges: packed.ranges, bytes: &packed.bytes })
    }

    /// Makes elements of packed bytes; `None` unless these are sorted, disjoint intervals of that width.
    #[must_use]
    pub fn from_packed(width: usize, ranges: bool, bytes: Vec<u8>) -> Option<Self> {
        let width = [Width::V4, Width::V6].into_iter().find(|known| known.bytes() == width)?;
        let packed = Packed { width, ranges, bytes };
        let (stride, width) = (packed.stride(), width.bytes());
        if packed.bytes.is_empty() || !packed.bytes.len().is_multiple_of(stride) {
            return None;
        }
        let bounds = |bytes: &[u8]| -> Option<bool> {
            let (first, last) = (bytes.get(..width)?, bytes.get(stride - width..)?);
            Some(first <= last)
        };
        let ordered = packed.bytes.chunks_exact(stride).all(|bytes| bounds(bytes) == Some(true));
        let apart = packed.bytes.chunks_exact(stride).zip(packed.bytes.chunks_exact(stride).skip(1)).all(
            |(before, after)| match (before.get(stride - width..), after.get(..width)) {
                (Some(last), Some(first)) => last < first,
                _ => false,
            },
        );
        (ordered && apart).then(|| Self(Form::Packed(Arc::new(packed))))
    }

    fn is_same_memory(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Form::Packed(a), Form::Packed(b)) if Arc::ptr_eq(a, b))
    }
}

/// Packed elements as they are in memory.
#[derive(Clone, Copy, Debug)]
pub struct PackedView<'a> {
    /// How many bytes an address has: 4 or 16.
    pub width: usize,
    /// Whether each element is a first and a last address, which may be equal; otherwise it is one address.
    pub ranges: bool,
    /// The addresses in network order, sorted.
    pub bytes: &'a [u8],
}

impl<'a> PackedView<'a> {
    /// The first and last address of each element.
    pub fn intervals(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let stride = self.width * if self.ranges { 2 } else { 1 };
        self.bytes
            .chunks_exact(stride)
            .filter_map(move |bytes| Some((bytes.get(..self.width)?, bytes.get(stride - self.width..)?)))
    }

    /// Splits the elements into at most `parts` parts of about the same length.
    pub fn parts(self, parts: usize) -> impl Iterator<Item = Self> {
        let stride = self.width * if self.ranges { 2 } else { 1 };
        let each = (self.bytes.len() / stride).div_ceil(parts.max(1)).max(1);
        self.bytes.chunks(each * stride).map(move |bytes| Self { bytes, ..self })
    }
}

/// Iterates over the elements of a set.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Rest<'a>);

#[derive(Clone, Debug)]
enum Rest<'a> {
    Listed(std::slice::Iter<'a, Element>),
    Packed(&'a Packed, std::slice::ChunksExact<'a, u8>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Cow<'a, Element>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Rest::Listed(rest) => rest.next().map(Cow::Borrowed),
            Rest::Packed(packed, rest) => rest.next().map(|bytes| Cow::Owned(packed.element(bytes))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Rest::Listed(rest) => rest.size_hint(),
            Rest::Packed(_, rest) => rest.size_hint(),
        }
    }
}

impl<'a> IntoIterator for &'a Elements {
    type Item = Cow<'a, Element>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Default for Elements {
    fn default() -> Self {
        Self::none()
    }
}

impl From<Vec<Element>> for Elements {
    fn from(list: Vec<Element>) -> Self {
        Self(Form::Listed(list))
    }
}

impl FromIterator<Element> for Elements {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Self {
        Self(Form::Listed(elements.into_iter().collect()))
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Listed(a), Form::Listed(b)) => a == b,
            (Form::Packed(a), Form::Packed(b)) if a.ranges == b.ranges => Arc::ptr_eq(a, b) || a == b,
            _ => self.len() == other.len() && self.iter().eq(other.iter()),
        }
    }
}

impl Eq for Elements {}

impl PartialOrd for Elements {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Elements {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_same_memory(other) { Ordering::Equal } else { self.iter().cmp(other.iter()) }
    }
}

impl Hash for Elements {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|element| element.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ranges: bool) -> (Elements, Elements) {
        let intervals: Vec<(Ipv4Addr, Ipv4Addr)> = (0..1_000_u32)
            .map(|n| (n * 10, n * 10 + u32::from(ranges && n % 3 == 0)))
            .map(|(first, last)| (first.into(), last.into()))
            .collect();
        let listed = intervals.iter().map(|(first, last)| Element::range(&first.octets(), &last.octets())).collect();
        (Elements::of_addresses(&intervals), listed)
    }

    #[test]
    fn packed_or_listed_they_are_the_same() {
        for ranges in [false, true] {
            let (packed, listed) = addresses(ranges);
            assert!(packed.packed().is_some() && listed.packed().is_none());
            assert_eq!((&packed, packed.cmp(&listed)), (&listed, Ordering::Equal));
            assert_eq!((packed.len(), packed.last()), (listed.len(), listed.last()));
            assert_eq!(packed.clone().into_list(), listed.clone().into_list());
            assert_eq!(packed.canonical(), listed.canonical());
            for at in [0, 1, 500, 999, 1_000] {
                assert_eq!(packed.get(at), listed.get(at));
            }
            let one = Element::single(&[0, 0, 0, 10]);
            assert!(
                packed.contains(&one) && listed.contains(&one) && !packed.contains(&Element::single(&[1, 0, 0, 0]))
            );
            assert_eq!((packed.without(&listed), listed.without(&packed)), (Vec::new(), Vec::new()));
            let fewer: Elements = listed.iter().filter(|element| **element != one).map(Cow::into_owned).collect();
            assert_eq!((packed.without(&fewer), fewer.without(&packed)), (vec![one], Vec::new()));
        }
    }

    #[test]
    fn bytes_that_are_no_sorted_intervals_are_refused() {
        for ranges in [false, true] {
            let (packed, _) = addresses(ranges);
            let view = packed.packed().expect("there are many");
            let bytes = view.bytes.to_vec();
            assert_eq!(Elements::from_packed(4, ranges, bytes.clone()), Some(packed.clone()));
            let mut swapped = bytes.clone();
            swapped.swap(3, 11);
            for bad in [bytes[1..].to_vec(), Vec::new(), swapped, bytes.repeat(2)] {
                assert_eq!(Elements::from_packed(4, ranges, bad), None);
            }
            assert_eq!(Elements::from_packed(5, ranges, bytes), None);
        }
    }
}
