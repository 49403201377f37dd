//! What architecture.md promises of the source, read from the source.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a pure module has no use for. `std::time::Duration` is a value like any other.
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "caps",
    "landlock",
    "nix",
    "procfs",
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
    sources_below("src")
}

fn sources_below(folder: &str) -> Vec<Source> {
    let src = root().join(folder);
    let mut folders = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be read") {
            let path: PathBuf = entry.expect("it can be read").path();
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
    ["std::", "caps::", "landlock::", "nix::", "procfs::"]
        .into_iter()
        .flat_map(|root| paths_from(code, root))
        .collect()
}

/// Every path that begins so.
fn paths_from(code: &str, root: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (start, _) in code.match_indices(root) {
        if !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            write_out("", &code[start..], &mut paths);
        }
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
    let rooms = rooms();
    let pure = |path: &str| rooms.iter().any(|room| room.only_computes(path));
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

/// An empty table in the place of one that is missing would be an open firewall, loaded without a word. The compiler alone
/// begins with an empty one.
#[test]
fn nothing_that_is_enforced_falls_back_to_an_empty_one() {
    let enforcing = ["apart/", "confirm/", "desired.rs", "enforce/", "state/"];
    let commands = ["apply", "boot", "confirm", "disable", "rollback"].map(|name| format!("commands/{name}.rs"));
    let enforces = |path: &str| {
        !is_test(path)
            && (enforcing.iter().any(|room| path.starts_with(room)) || commands.iter().any(|one| one == path))
    };
    let ways = ["or_default()", "::default()", "Elements::none()", "or_else(Table", "or_else(Elements"];
    let enforced = ["table", "Table", "ruleset", "Ruleset", "elements", "Elements", "compile", "chains", "rules"];

    let mut found = Vec::new();
    for Source { path, text } in sources().into_iter().filter(|source| enforces(&source.path)) {
        let code = code(text.split("\n#[cfg(test)]").next().unwrap_or_default());
        for statement in code.split(|c: char| ";{}".contains(c)) {
            let words: Vec<&str> = statement.split(|c: char| !c.is_alphanumeric()).collect();
            if ways.iter().any(|way| statement.contains(way)) && enforced.iter().any(|word| words.contains(word)) {
                found.push(format!("src/{path}: {}", statement.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }

    assert_eq!(found, Vec::<String>::new());
}

/// A directory server may be asked, or a name server, over a network that is not up when the rules are loaded at boot. The
/// process that looks up host names alone asks, and that one loads nothing.
#[test]
fn nothing_asks_the_c_library_for_a_name() {
    let asking = ["User::from_", "Group::from_", "to_socket_addrs", "ToSocketAddrs", "getpw", "getgr", "getaddrinfo"];
    let mut found = Vec::new();
    for Source { path, text } in sources() {
        let code = code(&text);
        found.extend(asking.iter().filter(|name| code.contains(**name)).map(|name| format!("src/{path}: {name}")));
    }

    assert_eq!(found, ["src/names/ask.rs: getaddrinfo"]);
}

/// What is printed passes `printable` on its way, in `main`: words of others are in it. `rollback` says one word that is its
/// own, `prompt` asks questions that were made printable, and the processes that read the policy for `boot` and look up names for
/// `refresh` answer by a pipe. `denied --follow` goes on until it is interrupted; its lines are addresses, and made printable.
#[test]
fn nothing_is_printed_past_what_makes_it_printable() {
    let places = [
        "main.rs",
        "process/journal.rs",
        "process/progress.rs",
        "commands/rollback.rs",
        "commands/prompt.rs",
        "commands/boot.rs",
        "commands/refresh.rs",
        "commands/denied.rs",
    ];
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
    let waiting =
        ["state/pending.rs", "state/clock.rs", "confirm/undoer.rs", "confirm/mod.rs", "commands/rollback.rs"];
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
fn no_file_is_longer_than_it_should_be() {
    let files = ["src", "tests"].into_iter().flat_map(sources_below);
    let lengths = files.map(|source| (source.text.lines().count(), source.path));

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

/// The files that lie beside the rooms' folders.
const LOOSE: [&str; 5] = ["cli.rs", "desired.rs", "error.rs", "lib.rs", "main.rs"];

/// A row of docs/architecture.md's table.
struct Room {
    floor: usize,
    name: String,
    does_io: bool,
    /// The parts of a room with I/O that only compute.
    pure_parts: Vec<String>,
}

impl Room {
    /// Whether that file, or the folder that it lies in, is of this room and only computes.
    fn only_computes(&self, path: &str) -> bool {
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(['/', '.']));
        if self.does_io {
            self.pure_parts.iter().any(|part| below(&format!("{}/{part}", self.name)))
        } else {
            below(&self.name)
        }
    }
}

fn architecture() -> String {
    fs::read_to_string(root().join("docs/architecture.md")).expect("it is there")
}

/// The words of a text that stand in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rooms() -> Vec<Room> {
    let row = |line: &str| {
        let [_, floor, name, io, _, _] = line.split('|').collect::<Vec<_>>().try_into().ok()?;
        let [name] = quoted(name).try_into().ok()?;
        let does_io = match io.trim() {
            "no" => false,
            io => io.starts_with("yes").then_some(true)?,
        };
        Some(Room { floor: floor.trim().parse().ok()?, name, does_io, pure_parts: quoted(io) })
    };
    architecture().lines().filter_map(row).collect()
}

/// The module that a file is, from the crate's root.
fn module(path: &str) -> Vec<&str> {
    let mut names: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    names.pop_if(|last| *last == "mod");
    names
}

fn is_test(path: &str) -> bool {
    path.contains("tests")
}

/// What each file imports from the crate: modules, the file's own aside. Unit tests may look anywhere.
fn imports() -> Vec<(String, BTreeSet<String>)> {
    let sources: Vec<Source> = sources().into_iter().filter(|source| !is_test(&source.path)).collect();
    let modules: BTreeSet<String> = sources.iter().map(|source| module(&source.path).join("::")).collect();
    let of = |Source { path, text }: &Source| {
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let own = module(path);
        let mut found = BTreeSet::new();
        for root in ["crate::", "palisade::", "super::", "self::"] {
            for named in paths_from(&code(text), root) {
                let absolute = absolute(&own, &named);
                let longest = (1..=absolute.len()).rev().map(|length| absolute[..length].join("::"));
                found.extend(longest.filter(|module| modules.contains(module)).take(1));
            }
        }
        found.remove(&own.join("::"));
        (path.clone(), found)
    };
    sources.iter().map(of).collect()
}

/// A path from the crate's root, as a module names it.
fn absolute<'a>(own: &[&'a str], named: &'a str) -> Vec<&'a str> {
    let names: Vec<&str> = named.split("::").filter(|name| !name.is_empty()).collect();
    let ups = names.iter().take_while(|name| **name == "super").count();
    let above = match names.first() {
        Some(&("super" | "self")) => &own[..own.len().saturating_sub(ups)],
        _ => &[],
    };
    let below = names.iter().copied().skip(ups.max(1)).filter(|name| *name != "self");
    above.iter().copied().chain(below).collect()
}

fn room_of(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn the_rooms_of_the_architecture_are_those_of_the_source() {
    let named: BTreeSet<String> = rooms().into_iter().map(|room| room.name).collect();
    let there: BTreeSet<String> =
        sources().iter().map(|source| module(&source.path)[0].to_owned()).filter(|name| name != "lib").collect();

    assert_eq!(named, there);
}

#[test]
fn nothing_lies_beside_the_rooms_but_what_has_a_name() {
    let loose: BTreeSet<String> =
        sources().into_iter().map(|source| source.path).filter(|path| !path.contains('/')).collect();

    assert_eq!(loose, BTreeSet::from(LOOSE.map(str::to_owned)));
}

#[test]
fn rooms_import_only_from_lower_floors() {
    let floors: std::collections::BTreeMap<String, usize> =
        rooms().into_iter().map(|room| (room.name, room.floor)).collect();
    let mut upward = Vec::new();
    for (path, imported) in imports() {
        let own = room_of(module(&path)[0]).to_owned();
        for other in imported.iter().map(|module| room_of(module)).collect::<BTreeSet<_>>() {
            if own != other && own != "lib" && floors.get(other) >= floors.get(&own) {
                upward.push(format!("src/{path} of floor {:?} imports {other} of {:?}", floors[&own], floors[other]));
            }
        }
    }

    assert_eq!(upward, Vec::<String>::new());
}

/// A file may name the module that it is a part of, whose types its parts share.
#[test]
fn files_import_each_other_in_no_circle() {
    let mut left: Vec<(String, BTreeSet<String>)> = imports()
        .into_iter()
        .filter(|(path, _)| path != "lib.rs" && path != "main.rs")
        .map(|(path, imported)| {
            let own = module(&path).join("::");
            let is_above = |other: &String| own.starts_with(&format!("{other}::"));
            let imported = imported.into_iter().filter(|other| !is_above(other)).collect();
            (own, imported)
        })
        .collect();
    // Whoever imports nothing that is left is in no circle.
    loop {
        let names: BTreeSet<String> = left.iter().map(|(name, _)| name.clone()).collect();
        let before = left.len();
        left.retain(|(_, imported)| imported.iter().any(|other| names.contains(other)));
        if left.len() == before {
            break;
        }
    }

    assert_eq!(left, []);
}

#[test]
fn rooms_with_io_do_some_and_their_pure_parts_are_there() {
    let (sources, imports, rooms) = (sources(), imports(), rooms());
    let with_io = |name: &str| rooms.iter().any(|room| room.name == name && room.does_io);
    let mut wrong = Vec::new();
    for room in rooms.iter().filter(|room| room.does_io) {
        let own = |path: &str| module(path)[0] == room.name && !is_test(path);
        let names_it = sources.iter().any(|source| own(&source.path) && !impure(&code(&source.text)).is_empty());
        let has_it_done = imports.iter().any(|(path, imported)| {
            own(path) && imported.iter().any(|other| room_of(other) != room.name && with_io(room_of(other)))
        });
        if !names_it && !has_it_done {
            wrong.push(format!("{} does no I/O", room.name));
        }
        let alone = |part: &&String| {
            let part = Room { pure_parts: vec![(*part).clone()], name: room.name.clone(), ..*room };
            !sources.iter().any(|source| part.only_computes(&source.path))
        };
        wrong.extend(room.pure_parts.iter().filter(alone).map(|part| format!("{}/{part} is not there", room.name)));
    }

    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_of_the_ten_invariants_has_a_test_that_is_there() {
    let architecture = architecture();
    let invariants = architecture.split("## Invariants").nth(1).expect("they are listed");
    let words = quoted(&invariants[invariants.find("\n1. ").expect("they are counted")..]);
    let pairs: Vec<(&String, &String)> =
        words.iter().zip(words.iter().skip(1)).filter(|(file, _)| file.ends_with(".rs")).collect();
    let missing = |(file, name): &&(&String, &String)| {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        !text.contains(&format!("fn {name}("))
    };

    assert_eq!(pairs.iter().filter(missing).collect::<Vec<_>>(), Vec::<&(&String, &String)>::new());
    assert_eq!(pairs.len(), 10);
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
