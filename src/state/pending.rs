//! A change that waits for confirmation.

use super::clock::{boot_id, since_start};
use super::stored::Stored;
use super::{MAX_SMALL, State, StateError, files, read_json, to_json};
use crate::machine::Caller;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CHANGE: &str = "change.json";
/// The name of [`CHANGE`] after confirmation, until its ruleset is kept.
const CONFIRMED: &str = "confirmed.json";
/// In the folder that a reboot empties: the id of a settled change whose file could not be removed from the disk.
const SETTLED: &str = "settled";
const PREVIOUS: &str = "previous.ruleset";
const DESIRED: &str = "desired.ruleset";

/// A change that is undone unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its unique id.
    pub id: String,
    /// The boot that its times count from.
    boot: String,
    /// When it is undone, in milliseconds since boot.
    deadline_ms: u64,
    /// When the kernel held it, in milliseconds since boot; `None` while it is being loaded.
    loaded_ms: Option<u64>,
    /// The path of the policy that it loads.
    pub policy: PathBuf,
    /// Where it was applied from.
    pub caller: Caller,
    /// Who undoes it.
    pub keeper: Keeper,
}

/// Who undoes a change that nobody confirms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    /// A transient systemd timer, by its unit name.
    Systemd(String),
    /// A palisade process.
    Watcher,
}

impl Change {
    /// A change with an id from [`Change::next_id`] that begins now and must be confirmed within `time`.
    #[must_use]
    pub fn new(id: String, time: Duration, policy: &Path, caller: Caller) -> Self {
        let now = since_start();
        Self {
            id,
            boot: boot_id(),
            deadline_ms: milliseconds(now.saturating_add(time)),
            loaded_ms: None,
            policy: policy.to_owned(),
            caller,
            keeper: Keeper::Watcher,
        }
    }

    /// A unique id for the next change.
    #[must_use]
    pub fn next_id() -> String {
        format!("{:x}-{:x}", since_start().as_nanos(), std::process::id())
    }

    /// Whether it began before the last reboot.
    #[must_use]
    pub fn is_of_another_boot(&self) -> bool {
        self.boot != boot_id()
    }

    /// When it is undone, as time since boot.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// When the kernel held it, as time since boot; `None` while it is being loaded, or if loading was cut short.
    #[must_use]
    pub fn loaded(&self) -> Option<Duration> {
        self.loaded_ms.map(Duration::from_millis)
    }

    /// How much time is left to confirm it; `None` if none is.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        if self.is_of_another_boot() {
            return None;
        }
        self.deadline().checked_sub(since_start()).filter(|left| !left.is_zero())
    }
}

impl State {
    fn pending_folder(&self) -> PathBuf {
        self.folder.join("pending")
    }

    /// The change that waits for confirmation.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn pending(&self) -> Result<Option<Change>, StateError> {
        let change: Option<Change> = read_json(self.pending_folder().join(CHANGE))?;
        let settled = files::read(&self.run.join(SETTLED), MAX_SMALL).ok().flatten();
        Ok(change.filter(|change| settled.as_deref() != Some(change.id.as_bytes())))
    }

    /// Notes that a change is settled although its file can't be removed. The note lasts until the next reboot.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn note_settled(&self, change: &Change) -> Result<(), StateError> {
        files::write(&self.run, SETTLED, change.id.as_bytes())
    }

    /// Saves a change that is about to begin, with the rulesets that it replaces and loads.
    ///
    /// # Errors
    /// A file that can't be written, a table that can't be stored.
    pub fn begin(&self, change: &Change, previous: &Stored, desired: &Stored) -> Result<(), StateError> {
        let folder = self.pending_folder();
        let desired = Stored { about: desired.about.clone().after(self.last_good_number()), ..desired.clone() };
        self.make_folder()?;
        [previous, &desired]
            .into_iter()
            .filter_map(|stored| stored.table.as_ref())
            .try_for_each(|t| self.write_sets(t))?;
        files::write(&folder, PREVIOUS, &previous.to_bytes()?)?;
        files::write(&folder, DESIRED, &desired.to_bytes()?)?;
        // Last: the change exists once this file does.
        self.write_change(change)
    }

    /// Writes a change's file again.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn write_change(&self, change: &Change) -> Result<(), StateError> {
        files::write(&self.pending_folder(), CHANGE, &to_json(change)?)
    }

    /// Notes that the kernel holds the change from now on.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn note_loaded(&self, change: &Change) -> Result<(), StateError> {
        self.write_change(&Change { loaded_ms: Some(milliseconds(since_start())), ..change.clone() })
    }

    /// The ruleset before the change.
    ///
    /// # Errors
    /// The ruleset can't be read or used.
    pub fn previous(&self) -> Result<Stored, StateError> {
        self.waiting(PREVIOUS)
    }

    /// The ruleset that the change loads.
    ///
    /// # Errors
    /// The ruleset can't be read or used.
    pub fn desired(&self) -> Result<Stored, StateError> {
        self.waiting(DESIRED)
    }

    /// The ruleset files of the waiting change.
    pub(super) fn pending_rulesets(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let folder = self.pending_folder();
        let there = [PREVIOUS, DESIRED].into_iter().filter(|name| files::exists(&folder, name));
        there.map(|name| folder.join(name)).collect::<Vec<_>>().into_iter()
    }

    fn waiting(&self, name: &str) -> Result<Stored, StateError> {
        let path = self.pending_folder().join(name);
        let missing = || StateError::Read(format!("{} does not exist", path.display()));
        self.stored(path.clone())?.ok_or_else(missing)
    }

    /// Confirms the change: its ruleset becomes the last good one.
    ///
    /// # Errors
    /// A file can't be written. Then the change is as before, or the next command that writes completes the
    /// confirmation.
    pub fn confirm(&self) -> Result<(), StateError> {
        // From here on nobody undoes it, even if this process is killed.
        files::rename(&self.pending_folder(), CHANGE, CONFIRMED)?;
        self.finish_confirmation()
    }

    /// Keeps the ruleset of a confirmed change, also after the confirming process was killed.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn finish_confirmation(&self) -> Result<(), StateError> {
        let folder = self.pending_folder();
        if !files::exists(&folder, CONFIRMED) {
            return Ok(());
        }
        let last = self.last_good_number();
        if files::exists(&folder, DESIRED) {
            let stored = self.desired()?;
            let identity = &stored.about.identity;
            if last.and_then(|number| self.kept(number).ok()).is_none_or(|kept| kept.about.identity != *identity) {
                self.add(|kept, name| files::move_to(&folder, DESIRED, kept, name), stored.about.before)?;
            }
            self.forgive(identity)?;
        } else if let Some(newest) = self.newest() {
            // It was moved already.
            self.keep_again(newest, &self.kept(newest)?.about.identity)?;
        }
        self.forget_boot()?;
        files::remove(&folder, CONFIRMED)?;
        self.drop_pending()
    }

    /// Forgets the change that waits.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn drop_pending(&self) -> Result<(), StateError> {
        let folder = self.pending_folder();
        [CHANGE, PREVIOUS, DESIRED].into_iter().try_for_each(|name| files::remove(&folder, name))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
