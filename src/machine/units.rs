//! What systemd does at boot, read from its folders by its own rules. Runs no program and asks no service.

use crate::files::{MAX_CONFIGURATION, read_text_bounded};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Where units are, highest priority first.
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Suffixes of the folders beside a target whose links are started with it.
const WANTED: [&str; 3] = ["wants", "requires", "upholds"];

/// Whether a unit is started at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// No unit has that name.
    Missing,
    /// It exists, but nothing starts it.
    Disabled,
    /// A target, or another unit, starts it.
    Enabled,
    /// It can't be started at all.
    Masked,
}

/// Whether systemd booted this machine.
#[must_use]
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// What systemd does with a unit at boot, for example `palisade.service`.
#[must_use]
pub fn unit_state(name: &str) -> UnitState {
    state_in(&FOLDERS.map(Path::new), name)
}

/// Whether the drop-in of that name is in effect for a unit and runs `command` after each start of it.
#[must_use]
pub fn drop_in_runs(unit: &str, name: &str, command: &str) -> bool {
    drop_in_of(&FOLDERS.map(Path::new), unit, name, command)
}

fn drop_in_of(folders: &[&Path], unit: &str, name: &str, command: &str) -> bool {
    let Some(path) = find(folders, &format!("{unit}.d/{name}")) else { return false };
    let text = read_text_bounded(&path, MAX_CONFIGURATION).unwrap_or_default();
    // Prefixes such as `-` before a program say how to run it.
    let run = text.lines().filter_map(|line| line.trim().strip_prefix("ExecStartPost="));
    run.map(|line| line.trim_start_matches(['-', '@', ':', '+', '!'])).any(|line| line == command)
}

/// The commands that a unit runs, one per line; empty if the unit does not exist.
#[must_use]
pub fn unit_commands(name: &str) -> Vec<String> {
    let Some(path) = find(&FOLDERS.map(Path::new), name) else { return Vec::new() };
    let text = read_text_bounded(&path, MAX_CONFIGURATION).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")).map(str::to_owned).collect()
}

fn find(folders: &[&Path], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| path.symlink_metadata().is_ok())
}

fn state_in(folders: &[&Path], name: &str) -> UnitState {
    let Some(path) = find(folders, name) else { return UnitState::Missing };
    let masked = fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/null"))
        || fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == 0);
    if masked {
        return UnitState::Masked;
    }
    let starts = |folder: PathBuf| {
        let is_wanted = folder.extension().and_then(OsStr::to_str).is_some_and(|kind| WANTED.contains(&kind));
        is_wanted && folder.join(name).symlink_metadata().is_ok()
    };
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let enabled = entries.map(|entry| entry.path()).any(starts);
    if enabled { UnitState::Enabled } else { UnitState::Disabled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_unit_is_enabled_by_a_link_beside_what_starts_it_and_masked_by_one_to_nothing() {
        let scratch = tempfile::tempdir().expect("a folder for a test");
        let [etc, lib] = ["etc", "lib"].map(|name| scratch.path().join(name));
        for folder in [etc.join("sysinit.target.wants"), etc.join("palisade.service.d"), lib.clone()] {
            fs::create_dir_all(folder).expect("a folder in a fresh one");
        }
        let state = |name| state_in(&[&etc, &lib], name);
        assert_eq!(state("a.service"), UnitState::Missing);
        fs::write(lib.join("a.service"), "[Unit]\n").expect("a file in a fresh folder");
        assert_eq!(state("a.service"), UnitState::Disabled);
        symlink(lib.join("a.service"), etc.join("sysinit.target.wants/a.service")).expect("a link");
        assert_eq!(state("a.service"), UnitState::Enabled);
        symlink("/dev/null", etc.join("a.service")).expect("a link");
        assert_eq!(state("a.service"), UnitState::Masked);
    }

    #[test]
    fn a_drop_in_is_in_effect_unless_one_of_that_name_in_a_folder_that_wins_says_otherwise() {
        let scratch = tempfile::tempdir().expect("a folder for a test");
        let [etc, lib] = ["etc", "lib"].map(|name| scratch.path().join(name));
        for folder in [&etc, &lib] {
            fs::create_dir_all(folder.join("a.service.d")).expect("a folder in a fresh one");
        }
        let runs = || drop_in_of(&[&etc, &lib], "a.service", "b.conf", "/bin/c d");
        assert!(!runs(), "there is none");
        fs::write(lib.join("a.service.d/b.conf"), "[Service]\nExecStartPost=-/bin/c d\n").expect("a file");
        assert!(runs());
        fs::write(etc.join("a.service.d/b.conf"), "[Service]\n# ExecStartPost=-/bin/c d\n").expect("a file");
        assert!(!runs(), "it is overridden");
        fs::remove_file(etc.join("a.service.d/b.conf")).expect("it was there");
        symlink("/dev/null", etc.join("a.service.d/b.conf")).expect("a link");
        assert!(!runs(), "it is masked");
    }
}
