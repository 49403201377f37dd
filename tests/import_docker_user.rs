//! `palisade import docker-user`: each idiom as it was found becomes the policy beside it.
#![allow(missing_docs)]

#[path = "support/policies.rs"]
mod policies;

use palisade::desired::{Loaded, compile_bytes};
use palisade::machine::{EngineKind, PublishedPort};
use palisade::migrate::docker_user::import;
use palisade::migrate::{Fate, Live};
use palisade::names::Names;
use policies::config_of;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is wrong with a policy, if anything is.
fn wrong(policy: &str) -> String {
    match compile_bytes(policy.as_bytes(), Path::new("policy.yaml"), &Names::default()) {
        Err(problems) => problems.render(false),
        Ok(compiled) => Loaded::from(compiled).unmet.map(|problems| problems.render(false)).unwrap_or_default(),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate/docker-user")
}

/// The names of the texts.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".rules").map(str::to_owned)).collect();
    names.sort();
    names
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.rules"))).expect("it can be read")
}

#[test]
fn each_idiom_becomes_the_policy_and_the_report_beside_it() {
    let mut different = Vec::new();
    for name in names() {
        let path = folder().join(format!("{name}.txt"));
        let made = import(&text(&name), None).expect("it can be read");
        let exit = if made.report.needs_reading() { 2 } else { 0 };
        let report = anstream::adapter::strip_str(made.report.text().as_str()).to_string();
        let problems = wrong(&made.policy);
        let now = format!("{}--- exit status {exit}\n{report}{problems}", made.policy);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it can be written");
        }
        if fs::read_to_string(&path).unwrap_or_default() != now || !problems.is_empty() {
            different.push(format!("{name}:\n{now}"));
        }
    }

    assert_eq!(names().len(), 17);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Where the text has no table nat, the engines of the machine say which port of it is a container's.
#[test]
fn more_rules_than_are_walked_are_an_error_and_none_of_them_is_passed_over() {
    let head = "*filter\n:DOCKER-USER - [0:0]\n";
    let rules: String =
        (0..10_001).map(|n| format!("-A DOCKER-USER -s 10.{}.{}.1 -j DROP\n", n / 256, n % 256)).collect();
    let error = import(&format!("{head}{rules}COMMIT\n"), None).expect_err("it is too long");
    assert_eq!(error, "DOCKER-USER and the chains that it calls have more than 10000 rules");
}

#[test]
fn engines_name_the_ports_that_a_text_without_translations_does_not() {
    let text = "*filter\n:DOCKER-USER - [0:0]\n\
                -A DOCKER-USER -s 203.0.113.9/32 -p tcp -m tcp --dport 80 -j RETURN\n\
                -A DOCKER-USER -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n";
    let published = |port: u16, container_port: u16| PublishedPort {
        protocol: 6,
        port,
        address: "0.0.0.0".parse().expect("an address"),
        container: "web".to_owned(),
        container_port,
        engine: EngineKind::Docker,
    };
    let live = Live { published: vec![published(8080, 80), published(9000, 9000)], bridges: Vec::new() };

    let made = import(text, Some(&live)).expect("it can be read");

    let services = made.policy.split("\nservices:\n").nth(1).and_then(|text| text.split("\n\n# ").next());
    let expected = "  port-8080:  # line 3
    ports: 8080/tcp
    from: 203.0.113.9

  port-9000:  # the end of DOCKER-USER
    ports: 9000/tcp
    from: \"0.0.0.0/0\"";
    assert_eq!((services, wrong(&made.policy).as_str()), (Some(expected), ""));
    let fates = |live: Option<&Live>| {
        let made = import(text, live).expect("it can be read");
        made.report.rules.iter().map(|entry| entry.fate).collect::<Vec<Fate>>()
    };
    assert_eq!(fates(Some(&live)), [Fate::Exact, Fate::NoEffect]);
    assert_eq!(fates(None), [Fate::NotTranslated, Fate::NotTranslated]);
}

/// Words at the edges of what rules may have.
const WORDS: [&str; 24] = [
    "!",
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "-m",
    "-j",
    "-g",
    "--dport",
    "--dports",
    "--ctorigdstport",
    "--ctstate",
    "RETURN",
    "DOCKER-USER",
    "0.0.0.0/0",
    "::/0",
    "1:",
    ":65535",
    "0",
    "\"",
    "lo",
    "docker+",
    "*nat",
];

fn try_changes(count: u32) {
    let word = prop_oneof![6 => select(WORDS.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}"];
    let changes = prop::collection::vec((any::<Index>(), word), 1..6);
    let all = names();
    let outcome = TestRunner::new(config_of(count)).run(&(any::<Index>(), changes), |(name, changes)| {
        let text = text(&all[name.index(all.len())]);
        let mut words: Vec<&str> = text.split(' ').collect();
        for (at, word) in &changes {
            let at = at.index(words.len());
            words[at] = word;
        }
        let text = words.join(" ");
        if let Ok(made) = import(&text, None) {
            let why = wrong(&made.policy);
            prop_assert!(why.is_empty(), "{why}\n{}\n{text}", made.policy);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_stands_in_the_text_the_policy_is_valid_and_what_it_expects() {
    try_changes(500);
}

#[test]
#[ignore = "takes many minutes"]
fn whatever_stands_in_the_text_often() {
    try_changes(20_000);
}

struct Done {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str], input: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["import", "docker-user"]).args(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("palisade was built");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
    Done { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

#[test]
fn the_text_is_a_file_or_standard_input_and_what_is_wrong_with_it_is_said() {
    let path = folder().join("both-versions.rules");
    let golden = fs::read_to_string(folder().join("both-versions.txt")).expect("it can be read");
    let (policy, report) = golden.split_once("--- exit status 2\n").expect("it has both");
    for done in [run(&[&path.display().to_string()], ""), run(&["-"], &text("both-versions"))] {
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (Some(2), policy, report));
    }

    let rows = [
        (
            "*filter\n",
            "error: -: it holds no chain DOCKER-USER: `iptables-save` prints it, on a machine where Docker runs\n",
        ),
        ("-A DOCKER-USER -m comment --comment \"x -j DROP\n", "error: -: line 1: a quotation mark is not closed\n"),
        ("create a hash:ip\nadd a one\n", "error: -: line 2: `one` is no IPv4 address\n"),
    ];
    for (input, said) in rows {
        let done = run(&["-"], input);
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (Some(1), "", said));
    }
    let done = run(&["--root", "/tmp"], "");
    let said = "error: of another machine docker-user reads what `iptables-save` printed there: `palisade import docker-user FILE`\n";
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (Some(1), "", said));
    let done = run(&["/nonexistent"], "");
    assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""));
    assert_eq!(done.stderr, "error: /nonexistent can't be read: No such file or directory (os error 2)\n");
}
