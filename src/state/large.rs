//! Large sets, each in a file of its own that several rulesets can share: `sets/DIGEST` is one byte for the width of an
//! address, one that says whether addresses come in pairs of first and last, and the addresses.

use super::{MAX_STORED, State, StateError, files};
use crate::netlink::Known;
use crate::ruleset::{Digest, Elements, Table};
use std::collections::BTreeSet;
use std::path::PathBuf;

impl State {
    fn sets(&self) -> PathBuf {
        self.folder.join("sets")
    }

    /// Writes those of a table that are not there yet.
    pub(super) fn write_sets(&self, table: &Table) -> Result<(), StateError> {
        for (name, digest) in table.manifest() {
            let elements = table.sets.get(name).map(|set| &set.elements);
            if let Some(packed) = elements.and_then(Elements::packed)
                && !self.sets().join(&digest.sum).exists()
            {
                let mut bytes = Vec::with_capacity(packed.bytes.len() + 2);
                bytes.extend([u8::try_from(packed.width).unwrap_or_default(), u8::from(packed.ranges)]);
                bytes.extend_from_slice(packed.bytes);
                files::write(&self.sets(), &digest.sum, &bytes)?;
            }
        }
        Ok(())
    }

    /// Gives a table that was read without its large sets what is in them.
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
        let elements = match bytes.as_slice() {
            [width, ranges @ (0 | 1), addresses @ ..] => {
                Elements::from_packed((*width).into(), *ranges == 1, addresses.to_vec())
            }
            _ => None,
        };
        let elements = elements.ok_or_else(|| damaged("it is not what palisade writes"))?;
        match Digest::of(&elements).as_ref() == Some(digest) {
            true => Ok(elements),
            false => Err(damaged("its digest is wrong: it was changed, or not written to the end")),
        }
    }

    /// Removes those that no ruleset names any more.
    pub(super) fn drop_unused_sets(&self) -> Result<(), StateError> {
        let Ok(files) = std::fs::read_dir(self.sets()) else { return Ok(()) };
        let mut used = BTreeSet::new();
        for path in self.all_rulesets() {
            // What can't be read names nothing that could be read.
            if let Ok(Some(stored)) = self.stored_without_sets(path)
                && let Some(table) = &stored.table
            {
                used.extend(table.manifest().into_values().map(|digest| digest.sum));
            }
        }
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| !used.contains(name)).try_for_each(|name| files::remove(&self.sets(), &name))
    }
}

impl Known for State {
    fn elements(&self, digest: &Digest) -> Option<Elements> {
        self.set(digest).ok()
    }
}
