//! A ruleset in a file: one line of JSON that says what it is, and behind it the messages that make the table.

use super::{StateError, large};
use crate::netlink::{from_bytes, to_bytes};
use crate::ruleset::{Table, TableId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::SystemTime;

/// How many bytes a stored ruleset may have: five times what a million addresses take.
pub const MAX_STORED: u64 = 512 << 20;
/// The form that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// How many bytes the first line may have.
const MAX_HEADER: usize = 16 << 10;

/// What tells one ruleset from another: equal for tables that are the same in their canonical form, whatever has been
/// counted, whenever they were loaded, and on whatever line of the policy their rules stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity(String);

impl Identity {
    /// The identity of a table; `None` is no table at all.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] when the table holds what palisade can't make.
    pub fn of(table: Option<&Table>) -> Result<Self, StateError> {
        let canonical = table.map(Table::canonical);
        Ok(Self(digest(&messages(canonical.as_ref())?)))
    }
}

/// A ruleset as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What the first line says.
    pub about: About,
    /// The table; `None` is the state without one.
    pub table: Option<Table>,
}

/// A ruleset that can be loaded again: it always has its table, so that none is ever loaded in the place of one that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is known of it.
    pub about: About,
    /// The table.
    pub table: Table,
}

/// What is known of a stored ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The form of the file.
    format: u32,
    /// The version of palisade that wrote it.
    pub palisade: String,
    /// When it was written, by the wall clock: `2026-11-22T15:04:05Z`.
    pub saved: String,
    /// The policy that it comes from, by its path; `None` for what was found in the kernel.
    pub policy: Option<String>,
    /// The number of the ruleset that was the last good one until then.
    pub before: Option<u32>,
    /// Which ruleset it is.
    pub identity: Identity,
    /// SHA-256 of what follows the first line, in hexadecimal.
    digest: String,
}

impl About {
    /// The same, kept after the ruleset of that number.
    #[must_use]
    pub(super) fn after(self, before: Option<u32>) -> Self {
        Self { before, ..self }
    }
}

impl Stored {
    /// A ruleset to be kept.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] when the table holds what palisade can't make.
    pub fn new(table: Option<&Table>, policy: Option<&Path>) -> Result<Self, StateError> {
        let about = About {
            format: FORMAT,
            palisade: env!("CARGO_PKG_VERSION").to_owned(),
            saved: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            policy: policy.map(|path| path.display().to_string()),
            before: None,
            identity: Identity::of(table)?,
            digest: String::new(),
        };
        Ok(Self { about, table: table.cloned() })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] when the table holds what palisade can't make.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let messages = messages(self.table.as_ref())?;
        let about = About { digest: digest(&messages), ..self.about.clone() };
        let mut bytes = serde_json::to_vec(&about).map_err(|error| StateError::Unstorable(error.to_string()))?;
        bytes.push(b'\n');
        bytes.extend(messages);
        Ok(bytes)
    }

    /// The same with its large sets behind it, each part with its length before it: for another process, not for a file.
    ///
    /// # Errors
    /// As [`Self::to_bytes`].
    pub fn to_whole(&self) -> Result<Vec<u8>, StateError> {
        let mut parts = vec![self.to_bytes()?];
        for name in self.table.iter().flat_map(|table| table.manifest().into_keys()) {
            let packed = self.table.as_ref().and_then(|table| table.sets.get(name)?.elements.packed());
            let packed =
                packed.ok_or_else(|| StateError::Unstorable(format!("the elements of {name} are not known")))?;
            parts.push(large::to_bytes(&packed));
        }
        let with_length = |part: Vec<u8>| [(part.len() as u64).to_le_bytes().to_vec(), part].concat();
        Ok(parts.into_iter().flat_map(with_length).collect())
    }

    /// Reads what [`Self::to_whole`] has written.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_whole(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = bytes;
        let mut part = || {
            let (length, behind) = rest.split_first_chunk().ok_or("it is not what palisade writes")?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "a part is too long")?;
            let (part, behind) = behind.split_at_checked(length).ok_or("it is cut off")?;
            rest = behind;
            Ok::<_, &'static str>(part)
        };
        let mut stored = Self::from_bytes(part()?)?;
        if let Some(table) = &mut stored.table {
            let missing: Vec<_> =
                table.manifest().into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
            for (name, digest) in missing {
                let elements = large::from_bytes(part()?, &digest)?;
                if let Some(set) = table.sets.get_mut(&name) {
                    set.elements = elements;
                }
            }
        }
        if rest.is_empty() { Ok(stored) } else { Err("something stands behind it") }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// In words, what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let (about, messages) = About::from_bytes(bytes)?;
        let table = match messages {
            [] => None,
            messages => Some(from_bytes(&TableId::palisade(), messages).ok_or("it holds no table of palisade's")?),
        };
        Ok(Self { about, table })
    }
}

impl About {
    /// Reads the first line of a file's bytes, makes sure that the others are those that were written, and gives them too.
    ///
    /// # Errors
    /// In words, what is wrong with them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let begin = bytes.get(..MAX_HEADER.min(bytes.len())).unwrap_or_default();
        let end = begin.iter().position(|&byte| byte == b'\n').ok_or("its first line has no end")?;
        let about: Self = serde_json::from_slice(bytes.get(..end).unwrap_or_default())
            .map_err(|_| "its first line is not what palisade writes")?;
        if about.format != FORMAT {
            return Err("another version of palisade has written it, in a form that this one does not know");
        }
        let messages = bytes.get(end + 1..).unwrap_or_default();
        if digest(messages) != about.digest {
            return Err("its digest is wrong: it was changed, or not written to the end");
        }
        Ok((about, messages))
    }
}

/// Large sets are kept elsewhere; their digests are among the rules.
fn messages(table: Option<&Table>) -> Result<Vec<u8>, StateError> {
    let messages = table.map(|table| to_bytes(&TableId::palisade(), &table.without_large())).transpose();
    messages.map(Option::unwrap_or_default).map_err(|problem| StateError::Unstorable(problem.to_string()))
}

/// SHA-256 in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
