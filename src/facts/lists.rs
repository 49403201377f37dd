//! Files of addresses, read line by line: of a million lines no text is kept.

use super::trusted::{MAX_LIST, Refusal, Trusted};
use super::undecodable;
use crate::policy::{Span, decode, not_utf8, quote};
use crate::progress::doing;
use crate::resolve::{AddressList, ListReader};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// Reads a file of addresses that spans call `source`.
pub(super) fn read(path: &Path, source: usize) -> Result<AddressList, Refusal> {
    let _doing = doing(format!("reading {}", quote(&path.display().to_string())));
    let trusted = Trusted::open(path, MAX_LIST)?;
    let mut reader = BufReader::with_capacity(BUFFER, trusted.reader());
    let (mut list, mut line, mut before, mut bytes) = (ListReader::new(source), Vec::new(), 0_u32, 0);
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(list.finish()),
            Ok(read) => bytes += read as u64,
            Err(error) => return Err(trusted.unreadable(&error)),
        }
        trusted.check_size(bytes)?;
        list.line(text(&line, before, path)?);
        before = before.saturating_add(1);
    }
}

/// A line's text, with so many lines before it; of the first line without a byte order mark.
fn text<'a>(line: &'a [u8], before: u32, path: &Path) -> Result<&'a str, Refusal> {
    let name = || path.display().to_string();
    match std::str::from_utf8(line) {
        Ok(text) if before > 0 => Ok(text),
        Err(error) if before > 0 => {
            let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
            let span = Span { line: before.saturating_add(1), ..Span::default() };
            Err(undecodable(not_utf8(&name(), byte, span)))
        }
        // The first line tells whether the whole file is UTF-16.
        _ => decode(line, &name()).map_err(|problem| undecodable(*problem)),
    }
}
