//! Each folder of `tests/lists` has a file in the form of a published list. What is blocked by it, and what is said
//! of it, strictly and with `odd: skip`, stands beside it.
//!
//! `UPDATE_GOLDEN=1` writes what is said into `expected.txt`.
#![allow(missing_docs)]

use palisade::desired::{Loaded, load_and_prove};
use palisade::names::Names;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SSH: &str = "services: { ssh: { ports: 22/tcp, from: any } }\n";

/// A folder with a policy and a list that only this user can write.
fn folder(policy: &str, list: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("policy.yaml", policy), ("list.txt", list)] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the file can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("the mode can be set");
    }
    folder
}

/// Who is blocked, if anybody is, and what is said.
fn said(folder: &TempDir) -> String {
    let name = |text: String| text.replace(&folder.path().display().to_string(), "FOLDER");
    match load_and_prove(&folder.path().join("policy.yaml"), &Names::default()) {
        Ok(Loaded { policy, warnings, .. }) => {
            let ranges: Vec<String> = policy.block.addresses.ranges().map(|range| format!("{range:?}")).collect();
            name(format!("blocks {}\n{}", ranges.join(" "), warnings.render(false)))
        }
        Err(problems) => name(problems.render(false)),
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lists");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

#[test]
fn each_form_of_published_lists_is_read_or_named_as_what_it_is() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 25, "{} cases", cases.len());
    for case in cases {
        let list = fs::read_to_string(case.join("list.txt")).expect("a list");
        let mut all = String::new();
        for peer in ["{ file: list.txt }", "{ file: list.txt, odd: skip }"] {
            let folder = folder(&format!("version: 1\n{SSH}block: [{peer}]\n"), &list);
            write!(all, "== {peer}\n{}\n", said(&folder)).expect("text");
        }
        let path = case.join("expected.txt");
        if update {
            fs::write(&path, &all).expect("the golden can be written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if all != expected {
            wrong.push(format!("== {}\n-- expected\n{expected}\n-- said\n{all}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where somebody is let in, or kept from it, nothing is left out and nothing is guessed.
#[test]
fn what_is_guessed_or_left_out_admits_nobody() {
    let uses = [
        ("from", "services: { web: { ports: 80/tcp, from: [PEER] } }\n"),
        ("except", "services: { web: { ports: 80/tcp, from: any, except: [PEER] } }\n"),
        (
            "a group in a group of from, and in block",
            "groups: { inner: [PEER], outer: [inner] }\nservices: { web: { ports: 80/tcp, from: outer } }\nblock: [inner]\n",
        ),
    ];
    let (skip, plain) = ("{ file: list.txt, odd: skip }", "{ file: list.txt }");
    let lists = [
        (skip, "192.0.2.1\n", "`odd: skip` can't stand where `list.txt` decides who gets in"),
        (plain, "192.0.2.7/24\n", "`192.0.2.7/24` is not a network: bits are set after its prefix"),
        (plain, "192.0.2.1 192.0.2.9\n", "there are two addresses on this line: `192.0.2.1 192.0.2.9`"),
    ];
    for (what, policy) in uses {
        for (peer, list, problem) in lists {
            let folder = folder(&format!("version: 1\n{}", policy.replace("PEER", peer)), list);
            let problems =
                load_and_prove(&folder.path().join("policy.yaml"), &Names::default()).map(drop).expect_err(what);
            let problems: Vec<String> = problems.problems().into_iter().map(|problem| problem.message).collect();
            assert_eq!(problems, [problem], "{what}, {list:?}");
        }
        let folder = folder(&format!("version: 1\n{}", policy.replace("PEER", plain)), "192.0.2.1 ; a remark\n");
        assert!(load_and_prove(&folder.path().join("policy.yaml"), &Names::default()).is_ok(), "{what}");
    }
}

#[test]
fn odd_is_one_of_two_words_and_stands_beside_a_file() {
    let problems = |peer: &str| -> Vec<String> {
        let folder = folder(&format!("version: 1\n{SSH}block: [{peer}]\n"), "192.0.2.1\n");
        let found = load_and_prove(&folder.path().join("policy.yaml"), &Names::default());
        found
            .map_or_else(|problems| problems.problems(), |_| Vec::new())
            .into_iter()
            .map(|found| found.message)
            .collect()
    };
    assert_eq!(problems("{ file: list.txt, odd: error }"), Vec::<String>::new());
    assert_eq!(problems("{ file: list.txt, odd: skip }"), Vec::<String>::new());
    assert_eq!(problems("{ file: list.txt, odd: drop }"), ["`odd` can't be `drop`"]);
    assert_eq!(
        problems("{ odd: skip }"),
        ["a peer in braces is one interface, one file, one user, one host name or one time"]
    );
    assert_eq!(
        problems("{ interface: eth0, odd: skip }"),
        ["a peer in braces is one interface, one file, one user, one host name or one time"]
    );
}

/// The remedy of a file of another form is a command: it makes a list that is read strictly.
#[test]
fn the_command_that_is_named_makes_a_list_of_what_is_none() {
    let expected = [
        ("abuse-ch-csv", vec!["192.0.2.7", "198.51.100.1"]),
        ("maxmind-csv", vec!["192.0.2.0/24", "2001:db8::/32"]),
        ("html-error-page", vec!["203.0.113.9"]),
        ("json-document", vec!["192.0.2.7", "2001:db8::/32"]),
    ];
    for (case, lines) in expected {
        let list = fs::read_to_string(format!("{}/tests/lists/{case}/list.txt", env!("CARGO_MANIFEST_DIR")));
        let folder = folder(&format!("version: 1\n{SSH}block: [{{ file: list.txt }}]\n"), &list.expect("a list"));
        let problems =
            load_and_prove(&folder.path().join("policy.yaml"), &Names::default()).expect_err(case).problems();
        let help = problems.first().and_then(|problem| problem.help.clone()).expect("a remedy");
        let command = help.split('`').rfind(|part| part.contains(" > ")).expect("a command");

        assert!(Command::new("sh").args(["-c", command]).status().expect("a shell").success(), "{command}");

        let made = fs::read_to_string(folder.path().join("list.txt.list")).expect("a list");
        assert_eq!(made.lines().collect::<Vec<_>>(), lines, "{command}");
    }
}
