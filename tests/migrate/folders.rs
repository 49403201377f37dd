//! Whole installations, each in a folder: `NAME.d/etc/...`, and beside it what becomes of it.

use super::loaded;
use palisade::migrate::ufw::{FILES, Installation, import};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate")
}

/// The installation below a root.
pub(crate) fn installation(root: &Path) -> Installation {
    let mut installation = Installation::default();
    for path in FILES {
        let full = root.join(path);
        let Ok(text) = fs::read_to_string(&full) else { continue };
        let mode = fs::metadata(&full).expect("it was read").permissions().mode();
        if mode & 0o111 != 0 {
            installation.executable.insert(path.to_owned());
        }
        installation.files.insert(path.to_owned(), text);
    }
    installation
}

/// The names of the folders.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".d").map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn each_installation_becomes_the_policy_and_the_report_beside_it() {
    let mut wrong = Vec::new();
    for name in names() {
        let path = folder().join(format!("{name}.txt"));
        let made = import(&installation(&folder().join(format!("{name}.d")))).expect("ufw could use it");
        let exit = if made.report.needs_reading() { 2 } else { 0 };
        let report = anstream::adapter::strip_str(made.report.text().as_str()).to_string();
        let problems = loaded(&made.policy).err().unwrap_or_default();
        let now = format!("{}--- exit status {exit}\n{report}{problems}", made.policy);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it can be written");
        }
        if fs::read_to_string(&path).unwrap_or_default() != now || !problems.is_empty() {
            wrong.push(format!("{name}:\n{now}"));
        }
    }

    assert_eq!(names().len(), 21);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
