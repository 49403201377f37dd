//! A file of addresses, one entry per line. It is read line by line; only lines to be shown are kept as text.

use super::diagnostic::{Diagnostic, Span};
use super::entry::{self, Entry, Form};
use super::fault::Fault;
use super::lines::{is_break, lines};
use crate::net::{AddressRange, Addresses, Intervals};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How many problems of one file are shown.
const MAX_PROBLEMS: usize = 20;
/// How many lines of one kind are named by their numbers.
const MAX_NUMBERS: usize = 5;

/// The content of an address file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    /// The addresses.
    pub addresses: Addresses,
    /// The problems of the odd lines: those of the first 20, then the number of further ones.
    pub problems: Vec<Diagnostic>,
    /// The lines that can't be read.
    pub odd: Noted,
    /// The lines with a network that has bits set after its prefix. The network is among the addresses.
    pub masked: Noted,
    /// The lines with two columns. The range between them is among the addresses.
    pub columns: Noted,
    /// The form of a file that is no list, and its first such line.
    pub form: Option<(Form, Span)>,
    /// The text of the lines that are shown. All spans count in it.
    pub wrong: String,
}

/// Lines of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The numbers of the first few.
    pub numbers: Vec<u32>,
    /// How many there are.
    pub count: usize,
    /// The first one: its place, and what it says.
    pub first: Option<(Span, String)>,
}

impl Noted {
    fn add(&mut self, line: u32) {
        self.count += 1;
        if self.numbers.len() < MAX_NUMBERS {
            self.numbers.push(line);
        }
    }
}

impl std::fmt::Display for Noted {
    /// `line 4`, `lines 4 and 7`, `lines 1, 2, 3, 4, 5 and 12 more`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
        let more = self.count.saturating_sub(self.numbers.len());
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        match parts.as_slice() {
            [] => write!(f, "no line"),
            [one] => write!(f, "line {one}"),
            [most @ .., last] => write!(f, "lines {} and {last}", most.join(", ")),
        }
    }
}

impl AddressList {
    /// Reads a whole text; spans name it by the index `source`.
    #[must_use]
    pub fn of_text(source: usize, text: &str) -> Self {
        let mut reader = ListReader::new(source);
        reader.lines(text);
        reader.finish()
    }

    /// Whether the addresses are all there are of IPv4, or of IPv6.
    #[must_use]
    pub fn names_everyone(&self) -> bool {
        let v4 =
            self.addresses.v4.as_slice().iter().map(|(first, last)| (first.to_bits().into(), last.to_bits().into()));
        let v6 = self.addresses.v6.as_slice().iter().map(|(first, last)| (first.to_bits(), last.to_bits()));
        covers(v4, u32::MAX.into()) || covers(v6, u128::MAX)
    }
}

/// Whether sorted intervals leave no gap between 0 and `end`. Adjacent ones are not merged: two halves are two.
fn covers(intervals: impl Iterator<Item = (u128, u128)>, end: u128) -> bool {
    let mut expected = Some(0_u128);
    for (first, last) in intervals {
        if expected != Some(first) {
            return false;
        }
        if last == end {
            return true;
        }
        expected = last.checked_add(1);
    }
    false
}

/// Reads an address file line by line.
#[derive(Debug, Default)]
pub struct ListReader {
    list: AddressList,
    source: usize,
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
    line: u32,
    /// How many lines say something.
    said: usize,
    /// How many lines are of the form that is no list, and the form and the place of the first.
    other: usize,
    form: Option<(Form, Span)>,
}

impl ListReader {
    /// A reader for the file that spans name by the index `source`.
    #[must_use]
    pub fn new(source: usize) -> Self {
        Self { source, ..Self::default() }
    }

    /// How many lines have been read.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.line
    }

    /// Reads the next lines. Lines end as in a policy; the last needs no line break.
    pub fn lines(&mut self, text: &str) {
        lines(text).for_each(|line| self.line(line));
    }

    fn line(&mut self, line: &str) {
        self.line = self.line.saturating_add(1);
        let (item, entry) = entry::read(line);
        self.said += usize::from(entry != Entry::Nothing);
        match entry {
            Entry::Nothing => {}
            Entry::Range(range) => self.range(range),
            Entry::Masked(network) => {
                self.range(network);
                let first = self.list.masked.count == 0;
                self.list.masked.add(self.line);
                if first {
                    self.list.masked.first = Some((self.keep(line, item), item.to_owned()));
                }
            }
            Entry::Columns(range) => {
                self.range(range);
                let first = self.list.columns.count == 0;
                self.list.columns.add(self.line);
                if first {
                    self.list.columns.first = Some((self.keep(line, item), item.to_owned()));
                }
            }
            Entry::Odd(fault, form) => self.odd(line, item, fault, form),
        }
    }

    fn range(&mut self, range: AddressRange) {
        match range {
            AddressRange::V4(first, last) => self.v4.push((first, last)),
            AddressRange::V6(first, last) => self.v6.push((first, last)),
        }
    }

    fn odd(&mut self, line: &str, item: &str, fault: Fault, form: Option<Form>) {
        self.list.odd.add(self.line);
        self.other += usize::from(form.is_some());
        let count = self.list.odd.count;
        // The header of a CSV file has no address in it.
        let is_first = self.form.is_none()
            || matches!((&self.form, form), (Some((Form::Csv(None), _)), Some(Form::Csv(Some(_)))));
        if count > MAX_PROBLEMS + 1 && (form.is_none() || !is_first) {
            return;
        }
        let span = self.keep(line, item);
        if let Some(form) = form.filter(|_| is_first) {
            let place = self.form.map_or(span, |(_, first)| first);
            self.form = Some((form, place));
        }
        if count == 1 {
            self.list.odd.first = Some((span, item.to_owned()));
        }
        if count <= MAX_PROBLEMS {
            self.list.problems.push(fault.at(span));
        } else if count == MAX_PROBLEMS + 1 {
            self.list.problems.push(Diagnostic::at(span, ""));
        }
    }

    /// Keeps the text of a line to be shown, and returns the place of the item in it.
    fn keep(&mut self, line: &str, item: &str) -> Span {
        let wrong = &mut self.list.wrong;
        let start = wrong.len() + line.find(item).unwrap_or(0);
        wrong.push_str(line);
        if !line.ends_with(is_break) {
            wrong.push('\n');
        }
        Span { source: self.source, start, end: start + item.len(), line: self.line }
    }

    /// Returns what has been read.
    #[must_use]
    pub fn finish(mut self) -> AddressList {
        let more = self.list.odd.count.saturating_sub(MAX_PROBLEMS);
        if let Some(last) = self.list.problems.last_mut().filter(|_| more > 0) {
            last.message = match more {
                1 => "one more line of this file is wrong".to_owned(),
                more => format!("{more} more lines of this file are wrong; this is the first of them"),
            };
        }
        // One odd line does not make another form of a long list.
        self.list.form = self.form.filter(|_| 2 * self.other > self.said);
        self.list.addresses = Addresses { v4: Intervals::from(self.v4), v6: Intervals::from(self.v6) };
        self.list
    }
}
