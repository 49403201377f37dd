//! Dumps of the kernel, as they are recorded.

use palisade::netlink::read_everything;
use palisade::ruleset::{Table, TableId};
use std::path::{Path, PathBuf};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate/tables")
}

/// The tables of a dump: each as a number of bytes, and then its messages.
pub(crate) fn tables_of(mut rest: &[u8]) -> Vec<(TableId, Table)> {
    let mut tables = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (one, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
        tables.extend(read_everything(one));
        rest = behind;
    }
    tables
}
