//! A file with one address, network or range a line, read line by line: nothing of its text is kept but the lines that are
//! wrong.

use super::address;
use super::diagnostic::{Diagnostic, Span, quote};
use super::fault::Fault;
use super::lines::{is_break, lines};
use super::name::is_name;
use crate::net::{AddressRange, Addresses, Intervals};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How many problems of one file are shown.
const MAX_PROBLEMS: usize = 20;

/// What a file of addresses says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    /// The addresses.
    pub addresses: Addresses,
    /// What is wrong: the first 20 lines, and how many more there are.
    pub problems: Vec<Diagnostic>,
    /// The lines that are wrong, which the problems' spans count in.
    pub wrong: String,
}

impl AddressList {
    /// What a text says that spans call `source`.
    #[must_use]
    pub fn of_text(source: usize, text: &str) -> Self {
        let mut reader = ListReader::new(source);
        reader.lines(text);
        reader.finish()
    }
}

/// Reads lines of a file of addresses.
#[derive(Debug, Default)]
pub struct ListReader {
    source: usize,
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
    line: u32,
    problems: Vec<Diagnostic>,
    wrong: String,
    /// How many wrong lines there are beyond those shown.
    more: usize,
}

impl ListReader {
    /// For the file that spans call `source`.
    #[must_use]
    pub fn new(source: usize) -> Self {
        Self { source, ..Self::default() }
    }

    /// How many lines have been taken.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.line
    }

    /// Takes the next lines, which end where a policy's do, the last with or without its end.
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

    /// What the lines said.
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
