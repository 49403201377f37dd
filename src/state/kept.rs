//! The rulesets that were good, and those that were undone.

use super::stored::{About, Identity, Kept, MAX_STORED, Stored, parts};
use super::{Applied, State, StateError, files, read_json, to_json};
use crate::ruleset::Table;
use std::path::{Path, PathBuf};

/// How many rulesets are kept.
const KEPT: usize = 5;
/// How many undone rulesets are remembered.
const REMEMBERED: usize = 16;
const LAST_GOOD: &str = "last-good";
const UNDONE: &str = "undone";

/// A kept ruleset in a list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number: the higher, the newer.
    pub number: u32,
    /// Its description, or why it can't be used.
    pub about: Result<About, String>,
    /// Whether it is the last good one.
    pub last_good: bool,
}

impl State {
    fn rulesets(&self) -> PathBuf {
        self.folder.join("rulesets")
    }

    /// The file of a kept ruleset.
    pub(super) fn file_of(&self, number: u32) -> PathBuf {
        self.rulesets().join(file_name(number))
    }

    /// Keeps a table that the kernel holds and that needs no confirmation any more, with its policy: it becomes the
    /// last good one, which boot falls back on, and no longer counts as undone. No change waits after that. Writes
    /// nothing if it is both already. If only the policy differs, it takes the place of the one before.
    ///
    /// # Errors
    /// A file that can't be written, a table that can't be stored.
    pub fn keep(&self, table: &Table, policy: &Applied) -> Result<(), StateError> {
        let stored = Stored::new(Some(table), Some(policy))?;
        let identity = stored.about.identity.clone();
        let last = self.last_good_number();
        let file = |number: u32| self.with_policy(&self.file_of(number)).ok().flatten();
        let before = last.and_then(|number| file(number).map(|(about, policy)| (number, about, policy)));
        match before.filter(|(_, about, _)| about.identity == identity) {
            Some((.., before)) if before.as_ref() == Some(policy) => {}
            Some((number, about, _)) => {
                let about = about.with_policy_of(&stored.about);
                let bytes = Stored { about, ..stored }.to_bytes()?;
                files::write(&self.rulesets(), &file_name(number), &bytes)?;
            }
            None => {
                self.write_sets(table)?;
                let bytes = Stored { about: stored.about.after(last), ..stored }.to_bytes()?;
                self.add(|folder, name| files::write(folder, name, &bytes), last)?;
            }
        }
        self.forgive(&identity)?;
        // An undone change whose file could not be removed would be undone again after a reboot.
        self.drop_pending()
    }

    /// Adds a file, written by `write`, to the kept ones, makes it the last good one, and drops the oldest.
    pub(super) fn add(
        &self,
        write: impl FnOnce(&Path, &str) -> Result<(), StateError>,
        before: Option<u32>,
    ) -> Result<(), StateError> {
        let number = self.newest().unwrap_or_default().saturating_add(1);
        self.make_folder()?;
        write(&self.rulesets(), &file_name(number))?;
        self.set_last_good(number)?;
        let mut numbers = self.numbers();
        // Never drop the rollback target.
        numbers.retain(|&kept| kept != number && Some(kept) != before);
        for old in numbers.into_iter().skip(KEPT - 1 - usize::from(before.is_some())) {
            files::remove(&self.rulesets(), &file_name(old))?;
        }
        self.drop_unused_sets()
    }

    /// The files of all rulesets that are kept or wait.
    pub(super) fn all_rulesets(&self) -> Vec<PathBuf> {
        let kept = self.numbers().into_iter().map(|number| self.rulesets().join(file_name(number)));
        kept.chain(self.pending_rulesets()).collect()
    }

    /// Makes a kept ruleset the last good one; it no longer counts as undone.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn keep_again(&self, number: u32, identity: &Identity) -> Result<(), StateError> {
        self.set_last_good(number)?;
        self.forgive(identity)
    }

    /// Makes a kept ruleset the last good one; needs no file if it is the newest.
    fn set_last_good(&self, number: u32) -> Result<(), StateError> {
        if self.newest() == Some(number) {
            return files::remove(&self.folder, LAST_GOOD);
        }
        files::write(&self.folder, LAST_GOOD, format!("{number}\n").as_bytes())
    }

    /// The numbers of the rulesets that are kept, newest first.
    fn numbers(&self) -> Vec<u32> {
        Self::numbers_in(files::names(&self.rulesets()))
    }

    fn numbers_in(names: Vec<String>) -> Vec<u32> {
        let number = |name: &str| name.strip_suffix(".ruleset").and_then(|number| number.parse().ok());
        // Accept one spelling of a number only: another would name another file.
        let named = |name: String| number(&name).filter(|&number| file_name(number) == name);
        let mut numbers: Vec<u32> = names.into_iter().filter_map(named).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    }

    /// The number of the ruleset that was kept last.
    pub(super) fn newest(&self) -> Option<u32> {
        self.numbers().first().copied()
    }

    /// The number of the last good ruleset: from its file, else the newest.
    #[must_use]
    pub fn last_good_number(&self) -> Option<u32> {
        let numbers = self.numbers();
        let said = files::read(&self.folder.join(LAST_GOOD), super::MAX_SMALL).ok().flatten();
        let said = said.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok());
        said.filter(|number| numbers.contains(number)).or_else(|| numbers.first().copied())
    }

    /// The last good ruleset that can be used, and its number; warns of each unusable one that is skipped.
    #[must_use]
    pub fn last_good(&self) -> Option<(u32, Kept)> {
        let first = self.last_good_number()?;
        let older = self.numbers().into_iter().filter(|&number| number != first);
        std::iter::once(first).chain(older).find_map(|number| match self.kept(number) {
            Ok(kept) => Some((number, kept)),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        })
    }

    /// A kept ruleset.
    ///
    /// # Errors
    /// [`StateError::NoSuch`], or what is wrong with it.
    pub fn kept(&self, number: u32) -> Result<Kept, StateError> {
        let path = self.rulesets().join(file_name(number));
        let Stored { about, table, applied } = self.stored(path.clone())?.ok_or(StateError::NoSuch(number))?;
        let table = table.ok_or(StateError::Damaged { path, why: "it holds no table" })?;
        Ok(Kept { about, table, applied })
    }

    /// The number of the rollback target: the ruleset that was the last good one before the current one.
    #[must_use]
    pub fn before_last_good(&self) -> Option<u32> {
        let last = self.last_good_number()?;
        let numbers = self.numbers();
        let said = self.about(last).ok().and_then(|about| about.before).filter(|number| numbers.contains(number));
        said.or_else(|| numbers.into_iter().find(|&number| number < last))
    }

    /// All that are kept, newest first.
    ///
    /// # Errors
    /// Their folder can't be trusted or read.
    pub fn list(&self) -> Result<Vec<Entry>, StateError> {
        let numbers = Self::numbers_in(files::all_names(&self.rulesets())?);
        let last = self.last_good_number();
        let entry = |number| Entry {
            number,
            about: self.about(number).map_err(|error| error.to_string()),
            last_good: Some(number) == last,
        };
        Ok(numbers.into_iter().map(entry).collect())
    }

    fn about(&self, number: u32) -> Result<About, StateError> {
        let path = self.rulesets().join(file_name(number));
        let bytes = files::read(&path, MAX_STORED)?.ok_or(StateError::NoSuch(number))?;
        About::from_bytes(&bytes).map(|(about, _)| about).map_err(|why| StateError::Damaged { path, why })
    }

    /// The description and the policy of a stored ruleset; `None` if the file does not exist.
    pub(super) fn with_policy(&self, path: &Path) -> Result<Option<(About, Option<Applied>)>, StateError> {
        let Some(bytes) = files::read(path, MAX_STORED)? else { return Ok(None) };
        let damaged = |why| StateError::Damaged { path: path.to_owned(), why };
        parts(&bytes).map(|(about, _, applied)| Some((about, applied))).map_err(damaged)
    }

    /// Reads a stored ruleset; `None` if the file does not exist.
    pub(super) fn stored(&self, path: PathBuf) -> Result<Option<Stored>, StateError> {
        let mut stored = self.stored_without_sets(path)?;
        if let Some(table) = stored.as_mut().and_then(|stored| stored.table.as_mut()) {
            self.read_sets(table)?;
        }
        Ok(stored)
    }

    /// Reads a stored ruleset with its large sets left empty.
    pub(super) fn stored_without_sets(&self, path: PathBuf) -> Result<Option<Stored>, StateError> {
        let Some(bytes) = files::read(&path, MAX_STORED)? else { return Ok(None) };
        Stored::from_bytes(&bytes).map(Some).map_err(|why| StateError::Damaged { path, why })
    }

    /// Whether the ruleset was undone and not loaded on purpose since. An unreadable list counts as empty.
    #[must_use]
    pub fn is_undone(&self, identity: &Identity) -> bool {
        self.undone().contains(identity)
    }

    fn undone(&self) -> Vec<Identity> {
        match read_json(self.folder.join(UNDONE)) {
            Ok(undone) => undone.unwrap_or_default(),
            Err(error) => {
                tracing::warn!("{error}");
                Vec::new()
            }
        }
    }

    /// Remembers that a ruleset was undone, so that boot does not load it even if the policy still asks for it.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn remember_undone(&self, identity: &Identity) -> Result<(), StateError> {
        let mut undone = self.undone();
        if undone.contains(identity) {
            return Ok(());
        }
        undone.push(identity.clone());
        let surplus = undone.len().saturating_sub(REMEMBERED);
        files::write(&self.folder, UNDONE, &to_json(&undone.split_off(surplus))?)
    }

    pub(super) fn forgive(&self, identity: &Identity) -> Result<(), StateError> {
        let mut undone = self.undone();
        if !undone.contains(identity) {
            return Ok(());
        }
        undone.retain(|other| other != identity);
        if undone.is_empty() {
            return files::remove(&self.folder, UNDONE);
        }
        files::write(&self.folder, UNDONE, &to_json(&undone)?)
    }
}

fn file_name(number: u32) -> String {
    format!("{number:06}.ruleset")
}
