//! A file with one address, network or range per line. It is read line by line; only wrong lines are kept as text.

use super::address;
use super::diagnostic::{Diagnostic, Span, quote};
use super::fault::Fault;
use super::lines::{is_break, lines};
use super::name::is_name;
use crate::net::{AddressRange, Addresses, Intervals};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How many problems of one file are shown.
const MAX_PROBLEMS: usize = 20;

/// The content of an address file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    /// The addresses.
    pub addresses: Addresses,
    /// The problems: the first 20 wrong lines, then the number of further ones.
    pub problems: Vec<Diagnostic>,
    /// The text of the wrong lines. The spans of the problems count in it.
    pub wrong: String,
}

impl AddressList {
    /// Reads a whole text; spans name it by the index `source`.
    #[must_use]
    pub fn of_text(source: usize, text: &str) -> Self {
        let mut reader = ListReader::new(source);
        reader.lines(text);
        reader.finish()
    }
}

/// Reads an address file line by line.
#[derive(Debug, Default)]
pub struct ListReader {
    source: usize,
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
    line: u32,
    problems: Vec<Diagnostic>,
    wrong: String,
    /// How many wrong lines exist beyond those shown.
    more: usize,
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
        let content = line.split('#').next().unwrap_or("");
        let item = content.trim();
        if item.is_empty() {
            return;
        }
        match read(item) {
            Ok(AddressRange::V4(first, last)) => self.v4.push((first, last)),
            Ok(AddressRange::V6(first, last)) => self.v6.push((first, last)),
            Err(fault) => self.wrong(line, content, item, fault),
        }
    }

    fn wrong(&mut self, line: &str, content: &str, item: &str, fault: Fault) {
        if self.problems.len() > MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        let start = self.wrong.len() + content.len() - content.trim_start().len();
        self.wrong.push_str(line);
        if !line.ends_with(is_break) {
            self.wrong.push('\n');
        }
        let span = Span { source: self.source, start, end: start + item.len(), line: self.line };
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(fault.at(span));
        } else {
            self.more = 1;
            self.problems.push(Diagnostic::at(span, ""));
        }
    }

    /// Returns what has been read.
    #[must_use]
    pub fn finish(mut self) -> AddressList {
        if let Some(last) = self.problems.last_mut().filter(|_| self.more > 0) {
            last.message = match self.more {
                1 => "one more line of this file is wrong".to_owned(),
                more => format!("{more} more lines of this file are wrong, of which this is the first"),
            };
        }
        let addresses = Addresses { v4: Intervals::from(self.v4), v6: Intervals::from(self.v6) };
        AddressList { addresses, problems: self.problems, wrong: self.wrong }
    }
}

fn read(item: &str) -> Result<AddressRange, Fault> {
    if is_name(item) {
        return Err(Fault::new(format!("{} is not an address", quote(item)))
            .help("a file holds one address, network or range a line; comments begin with `#`"));
    }
    address::range(item)
}
