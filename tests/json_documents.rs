//! The JSON of the commands that need no kernel, beside `docs/json.md`.
#![allow(missing_docs)]

mod json_page;

use json_page::{INCLUDED, INVALID, NEW, OLD, Page, Seen, UNMET, WITHOUT_KERNEL, write_ufw};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

#[test]
fn each_document_that_needs_no_kernel_has_the_fields_of_the_page_and_no_other() {
    let folder = TempDir::new().expect("there is a place for temporary files");
    // Whatever the umask.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
    let texts =
        [("old", OLD), ("new", NEW), ("edited", NEW), ("included", INCLUDED), ("invalid", INVALID), ("unmet", UNMET)];
    for (name, text) in texts {
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
    }
    write_ufw(&folder.path().join("ufw"));
    let (page, mut seen) = (Page::read(), Seen::default());
    for line in WITHOUT_KERNEL.into_iter().chain(["man pages", "import ufw --root ufw"]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.arg("--json").args(line.split(' ')).current_dir(folder.path()).stdin(Stdio::null());
        command.arg("--state-dir").arg(folder.path().join("state"));
        command.arg("--run-dir").arg(folder.path().join("run"));
        let done = command.output().expect("palisade was built");
        let document = line.split(' ').next().unwrap_or_default();
        seen.take(&page, document, &String::from_utf8_lossy(&done.stdout));
    }

    assert_eq!(seen.wrong, Default::default());
    // The others are in `kernel_json`.
    let mine = [
        "add",
        "changes",
        "completions",
        "errors",
        "export",
        "group",
        "import",
        "init",
        "man",
        "remove",
        "usage-errors",
    ];
    let is_mine = |row: &&str| row.split(' ').next().is_some_and(|table| mine.contains(&table));
    let unseen: Vec<&str> = page.unseen(&seen).into_iter().filter(is_mine).collect();
    assert_eq!(unseen, Vec::<&str>::new());
}
