//! Places in the text as the YAML reader reports them, the place of the file, and the reader's bounds.

use super::diagnostic::Span;
use super::lines::{floor, lines};
use serde_saphyr::Location;
use std::path::PathBuf;

/// How deep lists and mappings may be nested. A policy needs five levels.
pub(super) const MAX_DEPTH: usize = 32;
/// How many nodes a file may have after its aliases are expanded.
pub(super) const MAX_NODES: usize = 300_000;

/// Converts a location of the reader; `text` is what it read.
pub(super) fn span_of(location: Location, text: &str) -> Span {
    let offset = location.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
    let start = offset.unwrap_or_else(|| offset_of(location, text));
    let length = location.span().byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let start = floor(text, start);
    let end = floor(text, start.saturating_add(length)).max(start);
    let line = u32::try_from(location.line()).unwrap_or(u32::MAX).max(1);
    Span { source: 0, start, end, line }
}

/// Converts a line and a column to a byte offset, for problems that the reader reports without one.
fn offset_of(location: Location, text: &str) -> usize {
    let line = usize::try_from(location.line()).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(usize::MAX).saturating_sub(1);
    let before: usize = lines(text).take(line).map(str::len).sum();
    let line = lines(text).nth(line).unwrap_or("");
    before + line.char_indices().nth(column).map_or(line.trim_end().len(), |(at, _)| at)
}

/// The file that is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The index that its spans use; 0 is the policy itself.
    pub(super) source: usize,
    /// Its folder, relative to that of the policy.
    pub(super) folder: PathBuf,
}

impl Place {
    /// What errors call the file.
    pub(super) const fn what(&self) -> &'static str {
        if self.source == 0 { "the policy" } else { "this file" }
    }
}
