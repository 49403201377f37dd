//! `diff OLD NEW` says of two files, without a right and without the kernel, what `diff` says of NEW while the kernel holds
//! OLD.
#![allow(missing_docs)]

mod support;

use palisade::compile::compile;
use palisade::delta::changes;
use palisade::desired::load;
use palisade::enforce::enforce;
use palisade::names::Names;
use palisade::netlink::{Reading, Socket};
use palisade::render::changes::{shown, unified};
use palisade::ruleset::{Table, TableId};
use proptest::prop_assert_eq;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::namespace::{Namespace, Output, output};
use support::policies::{Written, config_of, policy};
use support::program::palisade;
use tempfile::TempDir;

const OLD: &str = "version: 1
groups: { trusted: [1.1.1.1] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
block: 203.0.113.66
";
const NEW: &str = "version: 1
groups: { trusted: [1.1.1.1, 198.51.100.0/24] }
services:
  dashboard: { ports: 9000/tcp, from: trusted, log: true }
  ssh: { ports: 22/tcp, from: any }
outgoing:
  smtp: { action: deny, ports: 25/tcp, from: host, to: any }
";

/// A user who is in no file.
const NOBODY: &str = "4242";

/// A folder in which palisade accepts policies, since only root may write there and above, and which everybody may read.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("palisade-diff-").tempdir_in("/run").expect("/run is writable");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it was made here");
    folder
}

/// Writes a policy with its files into a folder of their own.
fn written(folder: &Path, policy: &Written) -> PathBuf {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).expect("it is writable");
    for (name, text) in &policy.files {
        fs::write(folder.join(name), text).expect("it is writable");
    }
    let path = folder.join("policy.yaml");
    fs::write(&path, &policy.text).expect("it is writable");
    path
}

/// As this user nobody may do anything; the program is run where no rule of anyone is.
fn as_nobody(arguments: &[&str], files: [&Path; 2]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"]);
    command.arg(palisade()).arg("diff").args(arguments).args(files).stdin(Stdio::null());
    output(&mut command)
}

fn document(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr))
}

/// The first line, and the rules; not who listens on this machine, nor the two lines that name the sides.
fn body(output: &Output) -> Vec<&str> {
    let rules = output.stdout.lines().skip_while(|line| !line.starts_with("--- "));
    let rules = rules.filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ "));
    output.stdout.lines().take(1).chain(rules).collect()
}

/// The difference from the kernel's table is that from the compiled one, word for word. Who gains and loses access follows
/// from the tables, which are equal.
fn agree(cases: u32) {
    let (inside, folder) = (Namespace::new(), folder());
    let socket = inside.run(Socket::open).expect("a socket");
    let id = TableId::palisade();
    let outcome = TestRunner::new(config_of(cases)).run(&(policy(), policy()), |(old, new)| {
        let [old, new] = [("old", &old), ("new", &new)].map(|(name, policy)| {
            let path = written(&folder.path().join(name), policy);
            load(&path, &Names::default()).map(|resolved| compile(&resolved)).map_err(|problems| problems.to_string())
        });
        let (old, new) = (old.map_err(TestCaseError::fail)?, new.map_err(TestCaseError::fail)?);
        enforce(&socket, &id, None, Reading::ByDigest(&())).expect("nothing is in its way");
        enforce(&socket, &id, Some(&old), Reading::ByDigest(&())).expect("it is a good one");
        let live = socket.snapshot(&id).expect("it can be read").table.expect("it was loaded");

        let said = |before: &Table| {
            let changes = changes(&id, Some(before), Some(&new));
            let text = unified(&changes, &id, &new, ["one", "the other"]);
            (text, serde_json::to_value(shown(&id, &changes)).expect("it is JSON"))
        };
        prop_assert_eq!(said(&live), said(&old));
        prop_assert_eq!(live.canonical(), old.canonical());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn two_files_differ_as_the_second_does_from_a_kernel_that_holds_the_first() {
    agree(30);
}

#[test]
#[ignore = "three hundred pairs"]
fn each_of_three_hundred_pairs_of_files_differs_as_beside_a_kernel() {
    agree(300);
}

#[test]
fn who_has_no_right_is_told_of_two_files_what_root_is_told_of_the_second_beside_the_kernel() {
    let (inside, folder) = (Namespace::new(), folder());
    let write = |name: &str, text: &str| {
        written(&folder.path().join(name), &Written { text: text.to_owned(), files: BTreeMap::new() })
    };
    let [old, new] = [("old", OLD), ("new", NEW)].map(|(name, text)| write(name, text));
    let beside = |policy: &Path, arguments: &[&str]| {
        let mut command = inside.command(palisade());
        for (option, name) in [("--state-dir", "state"), ("--run-dir", "run")] {
            command.arg(option).arg(folder.path().join(name));
        }
        output(command.arg("--policy").arg(policy).args(arguments))
    };
    beside(&old, &["apply", "--force"]).success();

    let (text, alone) = (beside(&new, &["diff"]), as_nobody(&[], [&old, &new]));
    assert_eq!((alone.status, &alone.stderr, body(&alone)), (text.status, &text.stderr, body(&text)));
    assert!(text.stdout.contains("access: 9000/tcp: 198.51.100.0/24 gains"), "{}", text.stdout);
    let (json, alone) = (beside(&new, &["diff", "--json"]), as_nobody(&["--json"], [&old, &new]));
    let mut beside_a_kernel = document(&json);
    let plan = beside_a_kernel.as_object_mut().and_then(|fields| fields.remove("plan"));
    assert_eq!((alone.status, document(&alone)), (Some(2), beside_a_kernel));
    assert_eq!(
        plan.expect("a plan")["lines"],
        json!({
            "added": ["outgoing smtp"], "changed": ["dashboard", "group trusted"], "removed": []
        })
    );
    let same = as_nobody(&[], [&old, &old]);
    assert_eq!((same.status, same.stdout.as_str(), same.stderr.as_str()), (Some(0), "", ""));
}
