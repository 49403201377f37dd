//! Reads files of addresses line by line, so that the text of a million lines is never in memory at once.

use super::undecodable;
use crate::files::{MAX_LIST, Refusal, Trusted};
use crate::policy::{AddressList, ListReader, Span, decode, not_utf8, number_at, quote};
use crate::process::progress::doing;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How much is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// Reads a file of addresses. Spans refer to it by `source`.
pub(super) fn read(path: &Path, source: usize) -> Result<AddressList, Refusal> {
    let _doing = doing(format!("reading {}", quote(&path.display().to_string())));
    let trusted = Trusted::open(path, MAX_LIST)?;
    let mut reader = BufReader::with_capacity(BUFFER, trusted.reader());
    let (mut list, mut lines, mut bytes) = (ListReader::new(source), Vec::new(), 0);
    loop {
        lines.clear();
        // Never cuts a line: a carriage return either ends a line itself or stands before the line feed.
        match reader.read_until(b'\n', &mut lines) {
            Ok(0) => return Ok(list.finish()),
            Ok(read) => bytes += read as u64,
            Err(error) => return Err(trusted.unreadable(&error)),
        }
        trusted.check_size(bytes)?;
        list.lines(text(&lines, list.count(), path)?);
    }
}

/// Decodes lines as UTF-8, and drops the byte order mark of the first one. `before` is the number of lines before
/// them.
fn text<'a>(lines: &'a [u8], before: u32, path: &Path) -> Result<&'a str, Refusal> {
    let name = || path.display().to_string();
    match std::str::from_utf8(lines) {
        Ok(text) if before > 0 => Ok(text),
        Err(error) if before > 0 => {
            let valid =
                lines.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or("");
            let byte = lines.get(valid.len()).copied().unwrap_or_default();
            let line = before.saturating_add(number_at(valid, valid.len()));
            let span = Span { line, ..Span::default() };
            Err(undecodable(not_utf8(&name(), byte, span)))
        }
        // The first line tells whether the whole file is UTF-16.
        _ => decode(lines, &name()).map_err(|problem| undecodable(*problem)),
    }
}
