//! A ruleset in a file: one line of JSON that describes it, the messages that create the table, and the policy that it
//! was made from as JSON.

use super::{Applied, StateError, large};
use crate::netlink::{from_bytes, to_bytes};
use crate::ruleset::{Table, TableId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// The maximum size of a stored ruleset, in bytes: five times that of a million addresses.
pub const MAX_STORED: u64 = 512 << 20;
/// The format that this version writes.
const FORMAT: u32 = 2;
/// The formats that it reads. In the first one no policy follows the messages.
const READABLE: std::ops::RangeInclusive<u32> = 1..=FORMAT;
/// The maximum length of the first line, in bytes.
const MAX_HEADER: usize = 16 << 10;

/// Identifies a ruleset: equal for tables with the same canonical form, regardless of counters, load time, the policy
/// lines of their rules, and who is in a group for a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity(String);

impl Identity {
    /// The identity of a table; `None` stands for no table.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] if palisade can't create something in the table.
    pub fn of(table: Option<&Table>) -> Result<Self, StateError> {
        let canonical = table.map(|table| table.without_timed().canonical());
        Ok(Self(digest(&messages(canonical.as_ref())?)))
    }
}

/// A stored ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its description, from the first line.
    pub about: About,
    /// The table; `None` stands for a kernel without it.
    pub table: Option<Table>,
    /// Its policy; `None` if it was read from the kernel, or kept by a version that kept no policies.
    pub applied: Option<Applied>,
}

/// A kept ruleset that can be loaded again. Its table is not optional, so a missing table can't be mistaken for "no
/// table".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its description.
    pub about: About,
    /// The table.
    pub table: Table,
    /// Its policy, if it was kept.
    pub applied: Option<Applied>,
}

/// The description of a stored ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The format of the file.
    format: u32,
    /// The version of palisade that wrote it.
    pub palisade: String,
    /// When it was written, by the wall clock: `2026-11-22T15:04:05Z`.
    pub saved: String,
    /// The path of its policy; `None` for a ruleset read from the kernel.
    pub policy: Option<String>,
    /// The number of the ruleset that was the last good one before it.
    pub before: Option<u32>,
    /// Its identity.
    pub identity: Identity,
    /// SHA-256 of everything after the first line, in hexadecimal.
    digest: String,
    /// How many bytes the policy has, which follows the messages; 0 if there is none.
    #[serde(default)]
    policy_bytes: usize,
}

impl About {
    /// The same description, with the number of the last good ruleset before it.
    #[must_use]
    pub(super) fn after(self, before: Option<u32>) -> Self {
        Self { before, ..self }
    }

    /// The same description, but of the policy that another one names.
    #[must_use]
    pub(super) fn with_policy_of(self, other: &Self) -> Self {
        Self { policy: other.policy.clone(), ..self }
    }
}

impl Stored {
    /// A ruleset to be stored. Who is in a group for a time is no part of it.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] if palisade can't create something in the table.
    pub fn new(table: Option<&Table>, applied: Option<&Applied>) -> Result<Self, StateError> {
        let about = About {
            format: FORMAT,
            palisade: env!("CARGO_PKG_VERSION").to_owned(),
            saved: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            policy: applied.map(|applied| applied.path.display().to_string()),
            before: None,
            identity: Identity::of(table)?,
            digest: String::new(),
            policy_bytes: 0,
        };
        Ok(Self { about, table: table.map(Table::without_timed), applied: applied.cloned() })
    }

    /// Encodes the file.
    ///
    /// # Errors
    /// [`StateError::Unstorable`] if palisade can't create something in the table.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let json = |error: serde_json::Error| StateError::Unstorable(error.to_string());
        let mut rest = messages(self.table.as_ref())?;
        let policy = self.applied.as_ref().map(serde_json::to_vec).transpose().map_err(json)?.unwrap_or_default();
        rest.extend_from_slice(&policy);
        let about = About { format: FORMAT, digest: digest(&rest), policy_bytes: policy.len(), ..self.about.clone() };
        let mut bytes = serde_json::to_vec(&about).map_err(json)?;
        bytes.push(b'\n');
        bytes.extend(rest);
        Ok(bytes)
    }

    /// Encodes the ruleset and its large sets, each part preceded by its length: for another process, not for a file.
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

    /// Decodes the output of [`Self::to_whole`].
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
        if rest.is_empty() { Ok(stored) } else { Err("there is something after it") }
    }

    /// Decodes a file.
    ///
    /// # Errors
    /// In words, what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let (about, messages, applied) = parts(bytes)?;
        let table = match messages {
            [] => None,
            messages => Some(from_bytes(&TableId::palisade(), messages).ok_or("it holds no table of palisade's")?),
        };
        Ok(Self { about, table, applied })
    }
}

/// The description, the messages and the policy of a file.
///
/// # Errors
/// In words, what is wrong with them.
pub(super) fn parts(bytes: &[u8]) -> Result<(About, &[u8], Option<Applied>), &'static str> {
    let (about, rest) = About::from_bytes(bytes)?;
    let length = rest.len().checked_sub(about.policy_bytes).ok_or("it is cut off")?;
    let (messages, policy) = rest.split_at_checked(length).ok_or("it is cut off")?;
    let applied = match policy {
        [] => None,
        policy => Some(serde_json::from_slice(policy).map_err(|_| "its policy is not what palisade writes")?),
    };
    Ok((about, messages, applied))
}

impl About {
    /// Decodes the first line of a file, checks the digest of the rest, and returns both.
    ///
    /// # Errors
    /// In words, what is wrong with them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let begin = bytes.get(..MAX_HEADER.min(bytes.len())).unwrap_or_default();
        let end = begin.iter().position(|&byte| byte == b'\n').ok_or("its first line has no end")?;
        let about: Self = serde_json::from_slice(bytes.get(..end).unwrap_or_default())
            .map_err(|_| "its first line is not what palisade writes")?;
        if !READABLE.contains(&about.format) {
            return Err("another version of palisade has written it, in a form that this one does not know");
        }
        let messages = bytes.get(end + 1..).unwrap_or_default();
        if digest(messages) != about.digest {
            return Err("its digest is wrong: it was changed, or not written to the end");
        }
        Ok((about, messages))
    }
}

/// The messages that create the table. Large sets are stored separately; the messages hold their digests.
fn messages(table: Option<&Table>) -> Result<Vec<u8>, StateError> {
    let messages = table.map(|table| to_bytes(&TableId::palisade(), &table.without_large())).transpose();
    messages.map(Option::unwrap_or_default).map_err(|problem| StateError::Unstorable(problem.to_string()))
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
