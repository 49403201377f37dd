//! The policy that a ruleset was made from, as it was applied: kept in the ruleset's own file, so that one is never
//! there without the other. Commands that change what is in force between two applies work on it, and never on the
//! file that somebody may be editing.

use super::lists::digest_of;
use super::stored::Stored;
use super::{Lists, State, StateError};
use crate::net::Addresses;
use crate::temporary::Limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A policy with what it depended on when it was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The absolute path of its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The texts of the files that it includes, by path relative to its folder.
    #[serde(default)]
    pub included: BTreeMap<String, String>,
    /// The lines of services(5) that it needs.
    #[serde(default)]
    pub services: String,
    /// The lines of protocols(5) that it needs.
    #[serde(default)]
    pub protocols: String,
    /// The numbers of the users that it names.
    #[serde(default)]
    pub users: BTreeMap<String, u32>,
    /// For how many seconds at most its groups take addresses.
    #[serde(default)]
    pub temporary: BTreeMap<String, u64>,
    /// The digests of the addresses of its files, by absolute path.
    #[serde(default)]
    pub lists: BTreeMap<PathBuf, String>,
}

impl Applied {
    /// The same policy, with the digests of the addresses of its files.
    #[must_use]
    pub fn with_lists(self, lists: &Lists) -> Self {
        Self { lists: lists.iter().map(|(path, addresses)| (path.clone(), digest_of(addresses))).collect(), ..self }
    }
}

impl Applied {
    /// Its text, and those of the files that it includes.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.text].into_iter().chain(self.included.values()).map(String::as_str)
    }

    /// For how long at most its groups take addresses.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.temporary.iter().map(|(group, seconds)| (group.clone(), Duration::from_secs(*seconds))).collect()
    }
}

impl State {
    /// The policy of the last good ruleset, without reading its table, which may be large.
    #[must_use]
    pub fn last_good_policy(&self) -> Option<Applied> {
        self.with_policy(&self.file_of(self.last_good_number()?)).ok().flatten()?.1
    }

    /// The ruleset that is in force as far as this state knows, and its policy: the change that waits for
    /// confirmation, if it was loaded, else the last good one. `None` if there is none.
    #[must_use]
    pub fn in_force(&self) -> Option<Stored> {
        let waits =
            self.pending().ok().flatten().filter(|change| change.loaded().is_some() && change.left().is_some());
        if let Some(desired) = waits.and_then(|_| self.desired().ok()) {
            return Some(desired);
        }
        let (_, kept) = self.last_good()?;
        Some(Stored { about: kept.about, table: Some(kept.table), applied: kept.applied })
    }

    /// The addresses of a file as they were when that policy was applied. `None` if they are no longer kept.
    ///
    /// # Errors
    /// They can't be read, or were changed.
    pub fn list_of(&self, applied: &Applied, path: &Path) -> Result<Option<Addresses>, StateError> {
        applied.lists.get(path).map_or(Ok(None), |sum| self.addresses_of(sum))
    }

    /// The digests of the lists that a kept ruleset's policy names.
    pub(super) fn lists_of_rulesets(&self) -> BTreeSet<String> {
        let applied = |path: PathBuf| self.with_policy(&path).ok().flatten()?.1;
        self.all_rulesets().into_iter().filter_map(applied).flat_map(|applied| applied.lists.into_values()).collect()
    }
}
