//! The JSON of the commands that need no kernel, beside `docs/json.md`.
#![allow(missing_docs)]

mod json_page;

use json_page::{INVALID, NEW, OLD, Page, Seen, UNMET, WITHOUT_KERNEL};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Files of ufw that make a report with a bit of everything.
const UFW: [(&str, &str); 3] = [
    (
        "etc/default/ufw",
        "IPV6=no\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\n",
    ),
    ("etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n"),
    (
        "etc/ufw/user.rules",
        "### RULES ###\n### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 22 -j DROP\n\
         ### tuple ### allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 80 -j ACCEPT\n",
    ),
];

#[test]
fn each_document_that_needs_no_kernel_has_the_fields_of_the_page_and_no_other() {
    let folder = TempDir::new().expect("there is a place for temporary files");
    // Whatever the umask.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
    for (name, text) in [("old", OLD), ("new", NEW), ("edited", NEW), ("invalid", INVALID), ("unmet", UNMET)] {
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
    }
    let root = folder.path().join("ufw");
    for (path, text) in UFW {
        let file = root.join(path);
        fs::create_dir_all(file.parent().expect("it has one")).expect("the folder is writable");
        fs::write(&file, text).expect("the folder is writable");
        for path in file.ancestors().take_while(|path| path.starts_with(&root)) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is this user's");
        }
    }
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
    let mine =
        ["add", "changes", "completions", "errors", "group", "import", "init", "man", "remove", "usage-errors"];
    let is_mine = |row: &&str| row.split(' ').next().is_some_and(|table| mine.contains(&table));
    let unseen: Vec<&str> = page.unseen(&seen).into_iter().filter(is_mine).collect();
    assert_eq!(unseen, Vec::<&str>::new());
}
