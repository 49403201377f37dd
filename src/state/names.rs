//! `names.json`: what is known of the host names of policies, with the instant at which it was written, from which the
//! ages in it count.

use super::{State, StateError, files, moment, to_json};
use crate::names::{Names, Stamp};
use crate::temporary::Moment;
use serde::{Deserialize, Serialize};

const NAMES: &str = "names.json";
/// In the folder that a reboot empties.
const UNREFRESHED: &str = "unrefreshed";
/// The maximum size, in bytes: that of 256 names with 128 addresses each is a fifth.
const MAX_NAMES: u64 = 8 << 20;
/// The format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    written: Stamp,
    names: Names,
}

impl State {
    /// What is known of host names; nothing if none was ever looked up.
    ///
    /// # Errors
    /// The file can't be read, or is not what palisade writes.
    pub fn names(&self) -> Result<Names, StateError> {
        let path = self.folder.join(NAMES);
        let Some(bytes) = files::read(&path, MAX_NAMES)? else { return Ok(Names::default()) };
        let read = serde_json::from_slice(&bytes).ok().filter(|read: &Written| read.version == VERSION);
        let why = "it is not what palisade writes; `palisade refresh --now` makes it anew";
        let Written { written, names, .. } = read.ok_or(StateError::Damaged { path, why })?;
        Ok(names.after(now().since(&written)))
    }

    /// Whether anything was ever kept of host names.
    #[must_use]
    pub fn knows_names(&self) -> bool {
        files::exists(&self.folder, NAMES)
    }

    /// Keeps what is known of host names.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn keep_names(&self, names: &Names) -> Result<(), StateError> {
        self.make_folder()?;
        let bytes = to_json(&Written { version: VERSION, written: now(), names: names.clone() })?;
        files::write(&self.folder, NAMES, &bytes)
    }

    /// Notes that rules are about to be loaded which may have other addresses of host names than are known by now: those
    /// of a kept ruleset, for example. The next `refresh` sees to it. If this fails, only the note is lost.
    pub fn note_unrefreshed(&self) {
        if !self.is_unrefreshed()
            && let Err(error) = files::write(&self.run, UNREFRESHED, b"")
        {
            tracing::warn!("{error}: host names may keep the addresses that they have in the rules");
        }
    }

    /// Notes that the rules in force have the addresses that are known.
    pub fn note_refreshed(&self) {
        if let Err(error) = files::remove(&self.run, UNREFRESHED) {
            tracing::debug!("{error}: the next refresh compares the rules once more");
        }
    }

    /// Whether the rules in force may have other addresses of host names than are known.
    #[must_use]
    pub fn is_unrefreshed(&self) -> bool {
        files::exists(&self.run, UNREFRESHED)
    }
}

fn now() -> Stamp {
    let Moment { wall, since_start, boot } = moment();
    Stamp { boot, up: since_start.as_secs(), clock: wall.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Failure, Span};
    use crate::net::Version;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn state(folder: &Path) -> State {
        State::new(folder.join("state"), folder.join("run"))
    }

    fn kept() -> Names {
        let name = "home.example.org";
        let mut names = Names::default().only(&BTreeMap::from([(name.to_owned(), Span::Day)]));
        names.learn(name, Version::V4, Ok(vec!["192.0.2.1".parse().expect("an address")]));
        names.learn(name, Version::V6, Err(Failure::NoAddress));
        names
    }

    #[test]
    fn names_are_read_as_they_were_kept_and_their_ages_count_from_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = state(folder.path());
        assert_eq!(state.names().expect("there is none"), Names::default());
        state.keep_names(&kept()).expect("it can be written");

        let path = folder.path().join("state").join(NAMES);
        let mut written: Written = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
        written.written.up -= 1_000_000.min(written.written.up);
        let later = now().since(&written.written);
        std::fs::write(&path, serde_json::to_vec(&written).expect("JSON")).expect("it can be written");
        let read = state.names().expect("it can be read");
        let age = read.get("home.example.org").and_then(|known| known.asked()).expect("it was asked");
        assert!((later..later + 60).contains(&age), "{age} {later}");
        assert_eq!(read, kept().after(age));
    }

    #[test]
    fn rules_count_as_unrefreshed_from_one_note_to_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = state(folder.path());
        state.make_folders();
        assert!(!state.knows_names() && !state.is_unrefreshed());
        state.keep_names(&kept()).expect("it can be written");
        assert!(state.knows_names());
        state.note_unrefreshed();
        assert!(state.is_unrefreshed());
        state.note_refreshed();
        assert!(!state.is_unrefreshed());
    }

    #[test]
    fn a_file_that_palisade_did_not_write_is_said_to_be_damaged_and_is_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = state(folder.path());
        state.keep_names(&kept()).expect("it can be written");
        let path = folder.path().join("state").join(NAMES);
        for text in ["", "{}", "[]", r#"{"version":2,"written":{"boot":"","up":0,"clock":0},"names":{}}"#] {
            std::fs::write(&path, text).expect("it can be written");
            let error = state.names().expect_err(text).to_string();
            let said = "can't be used: it is not what palisade writes; `palisade refresh --now` makes it anew";
            assert_eq!(error, format!("{} {said}", path.display()));
        }
    }
}
