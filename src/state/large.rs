//! Large sets, each in a separate file that several rulesets can share. `sets/DIGEST` holds one byte with the width
//! of an address, one that says whether addresses come in pairs of first and last, and the addresses.

use super::{MAX_STORED, State, StateError, files};
use crate::netlink::Known;
use crate::ruleset::{Digest, Elements, PackedView, Table};
use std::collections::BTreeSet;
use std::path::PathBuf;

impl State {
    fn sets(&self) -> PathBuf {
        self.folder.join("sets")
    }

    /// Writes those sets of a table that are not stored yet.
    pub(super) fn write_sets(&self, table: &Table) -> Result<(), StateError> {
        for (name, digest) in table.manifest() {
            let elements = table.sets.get(name).map(|set| &set.elements);
            if let Some(packed) = elements.and_then(Elements::packed)
                && !files::exists(&self.sets(), &digest.sum)
            {
                files::write(&self.sets(), &digest.sum, &to_bytes(&packed))?;
            }
        }
        Ok(())
    }

    /// Fills in the large sets of a table that was read without them.
    pub(super) fn read_sets(&self, table: &mut Table) -> Result<(), StateError> {
        let missing: Vec<_> = table.manifest().into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
        for (name, digest) in missing {
            let elements = self.set(&digest)?;
            if let Some(set) = table.sets.get_mut(&name) {
                set.elements = elements;
            }
        }
        Ok(())
    }

    fn set(&self, digest: &Digest) -> Result<Elements, StateError> {
        let path = self.sets().join(&digest.sum);
        let damaged = |why| StateError::Damaged { path: path.clone(), why };
        let bytes = files::read(&path, MAX_STORED)?.ok_or_else(|| damaged("it is missing"))?;
        from_bytes(&bytes, digest).map_err(damaged)
    }

    /// Removes the sets that no ruleset names any more.
    pub(super) fn drop_unused_sets(&self) -> Result<(), StateError> {
        let names = files::names(&self.sets());
        let mut used = BTreeSet::new();
        for path in self.all_rulesets() {
            // An unreadable ruleset names no set that could still be needed.
            if let Ok(Some(stored)) = self.stored_without_sets(path)
                && let Some(table) = &stored.table
            {
                used.extend(table.manifest().into_values().map(|digest| digest.sum));
            }
        }
        let unused = |name: &String| sum_of(name).is_some_and(|sum| !used.contains(sum));
        names.into_iter().filter(unused).try_for_each(|name| files::remove(&self.sets(), &name))
    }
}

/// A set as the bytes of its file.
pub(super) fn to_bytes(packed: &PackedView<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed.bytes.len() + 2);
    bytes.extend([u8::try_from(packed.width).unwrap_or_default(), u8::from(packed.ranges)]);
    bytes.extend_from_slice(packed.bytes);
    bytes
}

/// Decodes a set file and checks its digest; the error says what is wrong with the file.
pub(super) fn from_bytes(bytes: &[u8], digest: &Digest) -> Result<Elements, &'static str> {
    let elements = match bytes {
        [width, ranges @ (0 | 1), addresses @ ..] => {
            Elements::from_packed((*width).into(), *ranges == 1, addresses.to_vec())
        }
        _ => None,
    };
    let elements = elements.ok_or("it is not what palisade writes")?;
    if Digest::of(&elements).as_ref() == Some(digest) {
        Ok(elements)
    } else {
        Err("its digest is wrong: it was changed, or not written to the end")
    }
}

/// The digest in the name of a set file or of its draft. Other files are not palisade's to remove.
fn sum_of(name: &str) -> Option<&str> {
    let sum = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new")).unwrap_or(name);
    Digest::is_sum(sum).then_some(sum)
}

impl Known for State {
    fn elements(&self, digest: &Digest) -> Option<Elements> {
        self.set(digest).ok()
    }
}
