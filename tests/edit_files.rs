//! `add`, `remove` and `group`: what they show, what they write, and what they refuse.
#![allow(missing_docs)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const POLICY: &str = "\
# The machine in the cellar.
version: 1
groups:
  trusted: [1.1.1.1]   # at home
services:
  ssh: { ports: 22/tcp, from: any }
expect:
  - { deny: 9000/tcp, from: 203.0.113.66 }
";

/// A folder with a policy that its owner and a group may read, behind a link.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("there is a place for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is this user's");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, POLICY).expect("it is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is this user's");
    symlink("policy.yaml", folder.path().join("link.yaml")).expect("it is writable");
    folder
}

/// The exit status, both outputs and the file afterwards.
fn run(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["--policy", "link.yaml"]).args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    let done = command.output().expect("palisade was built");
    let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
    let after = fs::read_to_string(folder.path().join("policy.yaml")).expect("it is there");
    (done.status.code(), text(done.stdout), text(done.stderr), after)
}

#[test]
fn each_edit_shows_its_lines_and_who_gains_and_loses_by_them_and_keeps_comments_mode_and_link() {
    let folder = folder();
    let with_service = POLICY.replace("any }\n", "any }\n  dashboard: { ports: 9000/tcp, from: trusted }\n");
    let with_peer = with_service.replace("[1.1.1.1]", "[1.1.1.1, 203.0.113.9]");

    let add = run(&folder, &["add", "9000/tcp", "--from", "trusted", "--name", "dashboard", "--yes"]);
    let said = "\
--- link.yaml
+++ link.yaml
@@ -5,4 +5,5 @@
 services:
   ssh: { ports: 22/tcp, from: any }
+  dashboard: { ports: 9000/tcp, from: trusted }
 expect:
   - { deny: 9000/tcp, from: 203.0.113.66 }
access: 9000/tcp: 1.1.1.1 gains
link.yaml is written; `palisade --policy link.yaml apply` loads it
";
    assert_eq!(add, (Some(0), said.to_owned(), String::new(), with_service.clone()));

    let group = run(&folder, &["group", "add", "trusted", "203.0.113.9", "--yes"]);
    let said = "\
--- link.yaml
+++ link.yaml
@@ -2,5 +2,5 @@
 version: 1
 groups:
-  trusted: [1.1.1.1]   # at home
+  trusted: [1.1.1.1, 203.0.113.9]   # at home
 services:
   ssh: { ports: 22/tcp, from: any }
access: 9000/tcp: 203.0.113.9 gains
link.yaml is written; `palisade --policy link.yaml apply` loads it
";
    assert_eq!(group, (Some(0), said.to_owned(), String::new(), with_peer));

    let back = run(&folder, &["group", "remove", "trusted", "203.0.113.9", "--yes", "-q"]);
    assert_eq!((back.0, back.2, back.3), (Some(0), String::new(), with_service));
    let remove = run(&folder, &["remove", "dashboard", "--yes"]);
    assert_eq!((remove.0, remove.3.as_str()), (Some(0), POLICY), "{}", remove.2);

    let about = fs::metadata(folder.path().join("policy.yaml")).expect("it is there");
    assert_eq!(about.mode() & 0o7777, 0o640);
    assert!(fs::symlink_metadata(folder.path().join("link.yaml")).expect("it is there").is_symlink());
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .expect("it can be read")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["link.yaml", "policy.yaml"]);
}

#[test]
fn what_would_not_be_valid_or_is_not_agreed_to_changes_nothing() {
    let folder = folder();
    let refused = |arguments: &[&str]| {
        let (status, stdout, stderr, after) = run(&folder, arguments);
        assert_eq!((status, stdout.as_str(), after.as_str()), (Some(1), "", POLICY), "{arguments:?}: {stderr}");
        stderr
            .lines()
            .filter(|line| line.starts_with("error: ") || line.contains("= help: "))
            .map(|line| format!("{}\n", line.trim()))
            .collect::<String>()
    };
    let said = [
        refused(&["add", "9000/tcp", "--from", "trusted"]),
        refused(&["add", "9000", "--from", "trusted", "--yes", "--name", "x"]),
        refused(&["add", "9000/tcp", "--from", "203.0.113.0/24", "--yes"]),
        refused(&["remove", "sssh", "--yes"]),
    ];
    let expected = [
        "error: not written: pass --yes when stdin is not a terminal\n",
        "error: the port `9000` does not say of which protocol\n\
         = help: write `9000/tcp` or `9000/udp`, or both as two items\n\
         error: palisade refuses the policy as it would be then: nothing was changed\n",
        "= help: remove it, or name it in the `from` of a service, in a rule or in `block`\n\
         error: 203.0.113.66 is expected not to reach 9000/tcp, and is allowed\n\
         error: palisade refuses the policy as it would be then: nothing was changed\n",
        "error: there is no service `sssh`\n= help: did you mean `ssh`?\n",
    ];
    assert_eq!(said, expected.map(str::to_owned));
}

#[test]
fn a_command_that_is_advised_is_about_the_policy_that_was_asked_about() {
    let folder = folder();
    let aliases = "version: 1\ngroups:\n  a: &x [1.1.1.1, 1.1.1.2]\n  b: *x\n";
    fs::write(folder.path().join("policy.yaml"), aliases).expect("it is writable");
    let removal = ["group", "remove", "b", "1.1.1.1", "--yes"];

    let (status, stdout, stderr, after) = run(&folder, &removal);
    let (_, json, ..) = run(&folder, &[&removal[..], &["--json"]].concat());

    let said = "\
error: this is written in a form in which a command can't change it
 --> link.yaml:2:1
  |
2 | groups:
  | ^^^^^^
  |
  = help: change it in an editor: `palisade --policy link.yaml edit`
";
    assert_eq!((status, stdout.as_str(), stderr.as_str(), after.as_str()), (Some(1), "", said, aliases));
    let document: serde_json::Value = serde_json::from_str(&json).expect("one document");
    assert_eq!(document["problems"][0]["help"], "change it in an editor: `palisade --policy link.yaml edit`");
}
