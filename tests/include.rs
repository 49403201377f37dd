//! Policies that include other files. Each folder of `tests/bad-trees` is one mistake with everything that is said about
//! it; whatever is divided into files means what it means in one.
//!
//! `UPDATE_GOLDEN=1` writes what is said into `expected.txt`.
#![allow(missing_docs)]

#[path = "support/policies.rs"]
mod policies;

use palisade::desired::{Compiled, Loaded, compile_as_applied, compile_policy, load_and_prove};
use palisade::names::Names;
use palisade::policy::Problems;
use palisade::ruleset::{Origin, Provenance, Table};
use palisade::state::State;
use policies::{Written, config, policy};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
fn every_bad_tree_gets_exactly_the_problems_that_are_expected() {
    let cases = cases();
    assert!(cases.len() >= 55, "only {} cases were found", cases.len());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        let said = problems_of(&case);
        let expected_path = case.join("expected.txt");
        if update {
            fs::write(&expected_path, &said).expect("the golden can be written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("== {}\n-- expected\n{expected}\n-- said\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-trees");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("the cases exist").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

/// The problems of a copy of the case, and again with the file and the line of each, as programs get them.
fn problems_of(case: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder for the copy");
    copy(case, folder.path());
    plant(&case.file_name().expect("a name").to_string_lossy(), folder.path());
    let problems = match load_and_prove(&folder.path().join("policy.yaml"), &Names::default()) {
        Ok(Loaded { unmet: None, .. }) => return "no problem was found\n".to_owned(),
        Ok(Loaded { unmet: Some(problems), .. }) | Err(problems) => problems,
    };
    let places = problems.problems().into_iter().map(|problem| {
        let place = problem.line.zip(problem.column).map(|(line, column)| format!(":{line}:{column}"));
        format!("{}{}\n", problem.file, place.unwrap_or_default())
    });
    let said = format!("{}\n{}", problems.render(false), places.collect::<String>());
    let here = folder.path().display();
    said.replace(&format!("{here}/"), "").replace(&here.to_string(), "FOLDER")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the case exists") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            fs::create_dir(&to).expect("it can be made");
            set_mode(&to, 0o755);
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("the copy can be made");
            set_mode(&to, 0o644);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

/// What no checkout has: modes, links, pipes, and many files.
fn plant(case: &str, folder: &Path) {
    let at = |name: &str| folder.join(name);
    match case {
        "writable-by-everyone" => set_mode(&at("a.yaml"), 0o666),
        "writable-by-its-group" => set_mode(&at("a.yaml"), 0o664),
        "folder-writable-by-everyone" => set_mode(&at("shared"), 0o777),
        "link-leads-out" => symlink("/etc/passwd", at("a.yaml")).expect("a link"),
        "folder-is-a-link-that-leads-out" => symlink("/etc", at("shared")).expect("a link"),
        "link-leads-nowhere" => symlink("nothing.yaml", at("a.yaml")).expect("a link"),
        "a-pipe" => nix::unistd::mkfifo(&at("a.yaml"), nix::sys::stat::Mode::S_IRUSR).expect("a pipe"),
        "too-many" => {
            // With the policy and all.yaml these are 66.
            let names: Vec<String> = (1..=64).map(|number| format!("{number}.yaml")).collect();
            names.iter().for_each(|name| fs::write(at(name), "version: 1\n").expect("it is writable"));
            let lines: String = names.iter().map(|name| format!("  - {name}\n")).collect();
            fs::write(at("all.yaml"), format!("version: 1\ninclude:\n{lines}")).expect("it is writable");
        }
        _ => {}
    }
}

/// A folder with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, text).expect("it is writable");
    }
    folder
}

fn compiled(folder: &Path) -> Compiled {
    compile_policy(&folder.join("policy.yaml"), &Names::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

/// The table without the origins in its comments, nor what is cut off where a file's name is long.
fn without_origins(mut table: Table) -> Table {
    let cut = |comment: &mut Option<String>| {
        if let Some(comment) = comment {
            *comment = Provenance::without_origin(comment).chars().take(60).collect();
        }
    };
    cut(&mut table.comment);
    for chain in table.chains.values_mut() {
        cut(&mut chain.comment);
        chain.rules.iter_mut().for_each(|rule| cut(&mut rule.comment));
    }
    table.sets.values_mut().for_each(|set| cut(&mut set.spec.comment));
    table
}

const IN_ONE: &str = "version: 1
groups:
  office: [192.0.2.0/24, { file: shared/office.txt }]
  all: [office, 198.51.100.7]
services:
  ssh: { ports: 22/tcp, from: all, limit: 6/minute }
  metrics: { ports: 9100/tcp, from: office }
block: [203.0.113.1, 203.0.113.2]
expect:
  - { deny: 9100/tcp, from: 198.51.100.7 }
  - { allow: 22/tcp, from: all }
";
const DIVIDED: [(&str, &str); 5] = [
    (
        "policy.yaml",
        "version: 1
include: [shared/groups.yaml, shared/monitoring.yaml]
groups:
  all: [office, 198.51.100.7]
services:
  ssh: { ports: 22/tcp, from: all, limit: 6/minute }
block: 203.0.113.1
expect: { allow: 22/tcp, from: all }
",
    ),
    ("shared/groups.yaml", "version: 1\ngroups:\n  office: [192.0.2.0/24, { file: office.txt }]\n"),
    (
        "shared/monitoring.yaml",
        "version: 1
include: [./groups.yaml, more/blocked.yaml]
services:
  metrics: { ports: 9100/tcp, from: office }
expect: { deny: 9100/tcp, from: 198.51.100.7 }
",
    ),
    ("shared/more/blocked.yaml", "version: 1\nblock: 203.0.113.2\n"),
    ("shared/office.txt", "192.0.2.200\n203.0.113.77\n"),
];

#[test]
fn a_policy_in_several_files_is_the_one_in_which_all_is_written_out() {
    let divided = compiled(tree(&DIVIDED).path());
    let in_one = compiled(tree(&[("policy.yaml", IN_ONE), DIVIDED[4]]).path());
    assert_eq!(without_origins(divided.table.clone()), without_origins(in_one.table));
    let (divided, in_one) = (divided.policy.expectations, in_one.policy.expectations);
    assert_eq!((divided.len(), in_one.len()), (2, 2));
}

#[test]
fn each_comment_names_the_file_in_which_its_line_stands() {
    let table = compiled(tree(&DIVIDED).path()).table;
    let rules = table.chains.values().flat_map(|chain| &chain.rules).filter_map(|rule| rule.comment.as_deref());
    let sets = table.sets.values().filter_map(|set| set.spec.comment.as_deref());
    let chains = table.chains.values().filter_map(|chain| chain.comment.as_deref());
    let mut named: Vec<String> = rules
        .chain(sets)
        .chain(chains)
        .filter_map(Provenance::read)
        .filter(|comment| comment.origin.line().is_some())
        .map(|comment| format!("{} ({})", comment.sentence, comment.origin))
        .collect();
    named.sort();
    named.dedup();
    let expected = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/include-comments.txt"));
    let said: String = named.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/include-comments.txt");
        fs::write(path, &said).expect("the golden can be written");
    }
    assert_eq!(said, expected.unwrap_or_default());
}

#[test]
fn a_group_that_nobody_names_is_warned_of_in_the_policy_alone() {
    let groups = "groups: { unused: 192.0.2.1 }\n";
    let policy =
        format!("version: 1\ninclude: a.yaml\n{groups}services: {{ ssh: {{ ports: 22/tcp, from: any }} }}\n");
    let shared = format!("version: 1\n{}", groups.replace("unused", "shared"));
    let found = compiled(tree(&[("policy.yaml", &policy), ("a.yaml", &shared)]).path()).warnings.warnings();
    let messages: Vec<&str> = found.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(messages, ["nothing uses the group `unused`"]);
}

#[test]
fn of_a_long_path_comments_have_the_end() {
    let name = format!("{}/{}/groups.yaml", "a".repeat(20), "b".repeat(20));
    let policy = format!("version: 1\ninclude: {name}\nservices: {{ ssh: {{ ports: 22/tcp, from: office }} }}\n");
    let folder = tree(&[("policy.yaml", &policy), (&name, "version: 1\ngroups: { office: 192.0.2.1 }\n")]);
    let table = compiled(folder.path()).table;
    let comments = table.sets.values().filter_map(|set| set.spec.comment.as_deref()).filter_map(Provenance::read);
    let of_group = comments.filter(|comment| comment.sentence == "group office").map(|comment| comment.origin);
    let expected = format!("{}/{}/groups.yaml", "a".repeat(7), "b".repeat(20));
    assert_eq!(of_group.collect::<Vec<_>>(), [Origin::Line(&expected, 2)]);
}

#[test]
fn a_file_that_two_files_include_is_read_once_and_links_within_the_folder_are_followed() {
    let folder = tree(&DIVIDED);
    let path = folder.path().join("shared/more/blocked.yaml");
    fs::rename(&path, folder.path().join("blocked.yaml")).expect("it is there");
    symlink("../../blocked.yaml", &path).expect("a link");
    let policy = compiled(folder.path()).policy;
    assert_eq!(policy.included, ["shared/groups.yaml", "shared/monitoring.yaml", "shared/more/blocked.yaml"]);
}

#[test]
fn a_policy_as_applied_is_the_same_when_its_files_have_changed_or_gone() {
    let folder = tree(&DIVIDED);
    let before = compiled(folder.path());
    let (state, run) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let state = State::new(state.path().to_owned(), run.path().to_owned());
    let gone = ["shared/groups.yaml", "shared/more/blocked.yaml"];
    gone.iter().for_each(|name| fs::remove_file(folder.path().join(name)).expect("it is there"));
    fs::write(folder.path().join("shared/monitoring.yaml"), "version: 1\nservices: {}\n").expect("it is writable");
    let after = compile_as_applied(&before.applied, &state).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(after.table, before.table);
}

#[test]
fn what_an_older_palisade_kept_of_a_policy_is_read() {
    let kept = r#"{"path":"/etc/palisade/policy.yaml","text":"version: 1\n"}"#;
    let applied: palisade::state::Applied = serde_json::from_str(kept).expect("it is read");
    assert_eq!((applied.text.as_str(), applied.included), ("version: 1\n", BTreeMap::new()));
}

/// The files that `docs/fleet.md` shows: each begins with its path.
#[test]
fn the_policy_of_the_page_about_many_hosts_is_valid_and_proves_what_it_expects() {
    let block = |block: &'static str| block.split("\n```").next()?.split_once('\n');
    let mut files: Vec<(&str, &str)> =
        include_str!("../docs/fleet.md").split("```yaml\n# ").filter_map(block).collect();
    files.remove(0);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["shared/groups.yaml", "shared/admin.yaml", "shared/blocked.yaml", "web-1.yaml"]);
    files.push(("shared/abusers.txt", "198.51.100.7\n"));
    let folder = tree(&files);
    let loaded = load_and_prove(&folder.path().join("web-1.yaml"), &Names::default());
    let Loaded { policy, unmet, .. } = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((policy.expectations.len(), unmet), (2, None));
}

/// A random policy, divided into files: each entry of `groups` and `services`, and each peer of `block`, goes where the
/// indexes say.
fn divided(written: &Written, indexes: &[Index]) -> Vec<(String, String)> {
    const FILES: [&str; 4] = ["policy.yaml", "a.yaml", "sub/b.yaml", "sub/deep/c.yaml"];
    let mut parts: [BTreeMap<&str, Vec<&str>>; 4] = Default::default();
    let (mut rest, mut section, mut count) = (String::new(), "", 0);
    for line in written.text.lines() {
        if !line.starts_with(' ') {
            section = line.split(':').next().unwrap_or_default();
        }
        let is_entry = line.starts_with(' ') && ["groups", "services"].contains(&section);
        if is_entry || section == "block" {
            let part = indexes[count % indexes.len()].index(FILES.len());
            parts[part].entry(section).or_default().push(line);
            count += 1;
        } else if !["groups", "services"].contains(&section) {
            rest.push_str(&format!("{line}\n"));
        }
    }
    let include = ["include: [a.yaml, sub/b.yaml]\n", "", "include: deep/c.yaml\n", ""];
    let mut files = Vec::new();
    for ((name, part), include) in FILES.iter().zip(parts).zip(include) {
        let mut text = if *name == "policy.yaml" { rest.clone() } else { "version: 1\n".to_owned() };
        text.push_str(include);
        for (section, lines) in part {
            let heading = if section == "block" { String::new() } else { format!("{section}:\n") };
            text.push_str(&format!("{heading}{}\n", lines.join("\n")));
        }
        files.push(((*name).to_owned(), text));
    }
    for (name, text) in &written.files {
        for folder in ["", "sub/", "sub/deep/"] {
            let is_there = |(of, text): &(String, String)| {
                of.rsplit_once('/').map_or("", |(of, _)| of) == folder.trim_end_matches('/')
                    && text.contains(&format!("{{ file: {name} }}"))
            };
            // Whoever takes it from another folder than that of the file that names it gets somebody else.
            let text = if files.iter().any(is_there) { text.as_str() } else { "198.18.0.1\n" };
            files.push((format!("{folder}{name}"), text.to_owned()));
        }
    }
    files
}

#[test]
fn however_a_policy_is_divided_into_files_it_compiles_to_the_same_table() {
    let strategy = (policy(), prop::collection::vec(any::<Index>(), 16));
    let ran = TestRunner::new(config(150)).run(&strategy, |(written, indexes)| {
        let own = |files: &[(String, String)]| {
            tree(&files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
        };
        let mut whole: Vec<(String, String)> =
            written.files.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
        whole.push(("policy.yaml".to_owned(), written.text.clone()));
        let load = |folder: &TempDir| compile_policy(&folder.path().join("policy.yaml"), &Names::default());
        let (one, several) = (load(&own(&whole)), load(&own(&divided(&written, &indexes))));
        let table = |loaded: Result<Compiled, Problems>| {
            loaded.map(|compiled| without_origins(compiled.table)).map_err(|problems| problems.render(false))
        };
        let (one, several) = (table(one), table(several));
        prop_assert!(one.is_ok(), "{:?}", one.err());
        prop_assert_eq!(one, several);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}
