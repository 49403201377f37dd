//! What architecture.md promises of the source, read from the source.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that only compute: as files or as folders below `src`, by what their paths begin with.
const PURE: &[&str] = &[
    "access",
    "changes",
    "doctor",
    "explanation",
    "exposure",
    "owners",
    "policy",
    "ports",
    "printable",
    "resolve",
    "compile",
    "ruleset",
    "delta",
    "guard",
    "transaction",
    "render",
    "simulate",
    "netlink/conntrack/entry",
    "netlink/conntrack/wire",
    "netlink/encode",
    "netlink/decode",
    "netlink/expr",
];
/// The file of a pure room in which its I/O is.
const GATHERING: &[&str] = &["doctor/gather.rs"];
/// What a pure module has no use for. `std::time::Duration` is a value like any other.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
];
const LONGEST_FILE: usize = 500;

/// A source file: its path below `src` with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                let path = path.strip_prefix(&src).expect("it was found there").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// Code without comments. Text in quotes stays, which no pure module has had trouble with.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path that a file names or imports, with `use std::{a, b::c};` written out.
fn paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (start, _) in code.match_indices("std::") {
        write_out("", &code[start..], &mut paths);
    }
    paths
}

/// Adds the paths at the beginning of `rest`, each after `prefix`, and gives what comes behind them.
fn write_out<'a>(prefix: &str, rest: &'a str, paths: &mut BTreeSet<String>) -> &'a str {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '*')).unwrap_or(rest.len());
    let (path, mut rest) = rest.split_at(end);
    let path = format!("{prefix}{path}");
    if !path.ends_with("::") || !rest.starts_with('{') {
        paths.insert(path);
        return rest;
    }
    loop {
        rest = write_out(&path, rest[1..].trim_start(), paths).trim_start();
        // Past a renaming such as `as io`, to what parts or ends the list.
        let Some(next) = rest.find([',', '}']) else { return "" };
        rest = &rest[next..];
        if let Some(behind) = rest.strip_prefix('}') {
            return behind;
        }
    }
}

fn is_unsafe(code: &str) -> bool {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

fn impure(code: &str) -> Vec<String> {
    let named = paths(code);
    let bad = |path: &String| {
        IMPURE.iter().any(|impure| {
            path.strip_prefix(impure).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                // An import of everything, or of a module whose every item is then within reach.
                || impure.starts_with(path.trim_end_matches('*')) && path.ends_with('*')
        }) || path == "std::time"
    };
    named.into_iter().filter(bad).collect()
}

#[test]
fn pure_modules_do_no_io_and_nothing_unsafe() {
    let pure = |path: &str| {
        !GATHERING.contains(&path)
            && PURE.iter().any(|room| {
                let rest = path.strip_prefix(room);
                rest.is_some_and(|rest| rest.starts_with(['/', '.', '_']))
            })
    };
    let mut broken = Vec::new();
    for Source { path, text } in sources().into_iter().filter(|source| pure(&source.path)) {
        let code = code(&text);
        broken.extend(impure(&code).into_iter().map(|named| format!("src/{path} is pure, but names {named}")));
        // What writes netlink messages calls libnftnl, which is unsafe and still only computes.
        if is_unsafe(&code) && !path.starts_with("netlink/") {
            broken.push(format!("src/{path} is pure, but has `unsafe` in it"));
        }
    }

    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn unsafe_code_stands_in_netlink_alone() {
    let elsewhere = |source: &Source| !source.path.starts_with("netlink/") && is_unsafe(&code(&source.text));

    let found: Vec<String> = sources().into_iter().filter(elsewhere).map(|source| source.path).collect();

    assert_eq!(found, Vec::<String>::new());
}

/// A directory server may be asked, or a name server, over a network that is not up when the rules are loaded at boot.
#[test]
fn nothing_asks_the_c_library_for_a_name() {
    let asking = ["User::from_", "Group::from_", "to_socket_addrs", "ToSocketAddrs", "getpw", "getgr", "getaddrinfo"];
    let mut found = Vec::new();
    for Source { path, text } in sources() {
        let code = code(&text);
        found.extend(asking.iter().filter(|name| code.contains(**name)).map(|name| format!("src/{path}: {name}")));
    }

    assert_eq!(found, Vec::<String>::new());
}

/// What is printed passes `printable` on its way, in `main`: words of others are in it. `rollback` says one word that is its
/// own, `disable` asks a question of its own, and the process that reads the policy for `boot` answers it by a pipe.
#[test]
fn nothing_is_printed_past_what_makes_it_printable() {
    let places =
        ["main.rs", "journal.rs", "progress.rs", "commands/rollback.rs", "commands/disable.rs", "commands/boot.rs"];
    let printing = ["println!", "print!", "stdout()", "stderr()"];
    let mut found = Vec::new();
    for Source { path, text } in sources() {
        if !places.contains(&path.as_str()) && !path.contains("tests") {
            let code = code(&text);
            found.extend(
                printing.iter().filter(|name| code.contains(**name)).map(|name| format!("src/{path}: {name}")),
            );
        }
    }

    assert_eq!(found, Vec::<String>::new());
}

/// The wall clock is set by people and by servers: what waits, waits by a clock that nobody sets. `humantime` is how the
/// wall clock is written for people, in files that say when they were made.
#[test]
fn no_deadline_is_told_by_the_wall_clock() {
    let waiting = ["state/pending.rs", "state/clock.rs", "keeper.rs", "commands/waiting.rs", "commands/rollback.rs"];
    let wall =
        ["SystemTime", "CLOCK_REALTIME", "on-calendar", "humantime::parse_rfc3339", "humantime::format_rfc3339"];
    let (mut found, mut read) = (Vec::new(), Vec::new());
    for Source { path, text } in sources().into_iter().filter(|source| waiting.contains(&source.path.as_str())) {
        let code = code(&text);
        found.extend(wall.iter().filter(|name| code.contains(**name)).map(|name| format!("src/{path}: {name}")));
        read.push(path);
    }

    assert_eq!(found, Vec::<String>::new());
    assert_eq!(read.len(), waiting.len(), "only {read:?} are there");
}

#[test]
fn no_source_file_is_longer_than_it_should_be() {
    let lengths = sources().into_iter().map(|source| (source.text.lines().count(), source.path));

    let found: Vec<(usize, String)> = lengths.filter(|(lines, _)| *lines > LONGEST_FILE).collect();

    assert_eq!(found, Vec::<(usize, String)>::new());
}

#[test]
fn every_dependency_has_a_row_in_the_readme() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let mut dependencies = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            dependencies.insert(name.trim().to_owned());
        }
    }

    let in_a_row =
        |name: &str| readme.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
    let missing: Vec<String> = dependencies.into_iter().filter(|name| !in_a_row(name)).collect();

    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_reader_of_paths_sees_through_groups_and_comments() {
    let text = "use std::{collections::BTreeMap, env as e, net::{IpAddr, UdpSocket}, time::{Duration, Instant}};\n\
                // std::fs is spoken of here\n fn f() { std::process::exit(1); unsafely() }\n use std::fmt;";

    let found = impure(&code(text));

    assert_eq!(found, ["std::env", "std::net::UdpSocket", "std::process::exit", "std::time::Instant"]);
    assert!(!is_unsafe(&code(text)));
    assert!(is_unsafe("fn f() { unsafe { g() } }"));
    assert_eq!(impure("use std::net::*; use std::time;"), ["std::net::*", "std::time"]);
}

#[test]
fn each_file_that_contributors_are_sent_to_is_there() {
    let text = include_str!("../CONTRIBUTING.md");
    let rooms = ["src/", "tests/", "docs/", "scripts/", "packaging/", "policies/"];
    let words = text.split(|c: char| c.is_whitespace() || "`()".contains(c));
    let paths = words.map(|word| word.trim_end_matches([',', ';', ':', '.']));
    let missing: Vec<&str> = paths
        .filter(|path| rooms.iter().any(|room| path.starts_with(room)))
        .filter(|path| !root().join(path).exists())
        .collect();

    assert_eq!(missing, Vec::<&str>::new());
}
