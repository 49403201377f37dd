//! A state in a folder that another user owns or can write: nothing in it is believed, nothing is written through it, and
//! nothing that lies elsewhere is removed.

mod support;

use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use support::machine::{Machine, policy};

/// A user who has no rights at all.
const NOBODY: u32 = 65_534;
/// Names as palisade gives them: of a ruleset, of a set, of the draft of a set; and some of others.
const NAMES: [&str; 6] = [
    "000001.ruleset",
    "0123456789abcdef0123456789abcdef",
    ".0123456789abcdef0123456789abcdef.new",
    "change.json",
    "last-good",
    "shadow",
];

/// Gives a path to another user, the path itself if it is a link.
fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).expect("root may give away");
}

/// What whoever plants is after: each file of a folder of root's.
fn victim(machine: &Machine) -> Vec<(String, String)> {
    let entries = fs::read_dir(machine.path("victim")).expect("it is there").flatten();
    let file = |entry: fs::DirEntry| {
        let text = fs::read(entry.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (entry.file_name().to_string_lossy().into_owned(), text.expect("it is a file"))
    };
    let mut files: Vec<_> = entries.map(file).collect();
    files.sort();
    files
}

/// Makes the folders of the state the way that somebody else has planted them.
type Plant = fn(&Machine);

const PLANTED: [(&str, Plant); 7] = [
    ("lib belongs to nobody", |machine| {
        for name in ["rulesets", "sets", "pending"] {
            symlink(machine.path("victim"), machine.kept(name)).expect("a link");
            give(&machine.kept(name));
        }
        give(&machine.path("lib"));
    }),
    ("lib can be written by everyone", |machine| {
        symlink(machine.path("victim"), machine.kept("sets")).expect("a link");
        give(&machine.kept("sets"));
        fs::set_permissions(machine.path("lib"), fs::Permissions::from_mode(0o1777)).expect("root may");
    }),
    ("lib is a link of nobody's", |machine| {
        fs::remove_dir(machine.path("lib")).expect("it is empty");
        symlink(machine.path("victim"), machine.path("lib")).expect("a link");
        give(&machine.path("lib"));
    }),
    ("sets is a link of nobody's", |machine| {
        symlink(machine.path("victim"), machine.kept("sets")).expect("a link");
        give(&machine.kept("sets"));
    }),
    ("rulesets is a link of nobody's", |machine| {
        symlink(machine.path("victim"), machine.kept("rulesets")).expect("a link");
        give(&machine.kept("rulesets"));
    }),
    ("rulesets belongs to nobody, with links for drafts in it", |machine| {
        fs::create_dir(machine.kept("rulesets")).expect("a folder");
        for name in ["000001.ruleset", ".000001.ruleset.new"] {
            symlink(machine.path("victim/shadow"), machine.kept("rulesets").join(name)).expect("a link");
        }
        give(&machine.kept("rulesets"));
    }),
    ("run is a link of nobody's", |machine| {
        symlink(machine.path("victim"), machine.path("run")).expect("a link");
        give(&machine.path("run"));
    }),
];

#[test]
fn whoever_owns_a_folder_of_the_state_gets_nothing_removed_or_written_elsewhere() {
    for (what, plant) in PLANTED {
        let machine = Machine::new();
        fs::create_dir(machine.path("victim")).expect("a folder");
        NAMES.iter().for_each(|name| machine.write(&format!("victim/{name}"), &format!("root's {name}")));
        fs::create_dir(machine.path("lib")).expect("a folder");
        plant(&machine);
        let before = victim(&machine);
        assert_eq!(before.len(), NAMES.len());
        // With a set that would be kept in a file of its own.
        let addresses: String =
            (0..70_000_u32).map(|n| format!("{}\n", Ipv4Addr::from(0x0a00_0000 + 2 * n))).collect();
        machine.write("list.txt", &addresses);
        let text = format!("{}groups: {{ many: {{ file: list.txt }} }}\nblock: many\n", policy(&[80]));
        machine.write("policy.yaml", &text);

        let applied = machine.run(&["apply"]);
        let confirmed = machine.run(&["apply", "--confirm", "1h"]);
        let booted = machine.run(&["boot", "--json"]);

        assert_eq!(victim(&machine), before, "{what}");
        if what.starts_with("run") {
            assert_eq!((applied.status, confirmed.status), (Some(1), Some(1)), "without a lock nobody writes");
        } else {
            assert_eq!(applied.status, Some(0), "{what}: {}", applied.stderr);
            let said = format!("{}{}{}", applied.stderr, confirmed.stderr, booted.stderr);
            assert!(
                said.contains("nobody, who could change") || said.contains("by everyone, who could change"),
                "{said}"
            );
        }
        let json: Value = serde_json::from_str(&booted.success()).expect("JSON");
        assert_eq!(json["booted_from"], "policy", "{what}");
    }
}

#[test]
fn rulesets_in_a_folder_that_another_user_owns_are_not_loaded_at_boot() {
    let machine = Machine::new();
    machine.open(&[80, 81, 82]);
    machine.run(&["apply"]).success();
    machine.write("policy.yaml", "");
    let boot = |machine: &Machine| {
        machine.reboot();
        let done = machine.run(&["boot", "--json"]);
        serde_json::from_str::<Value>(&done.success()).expect("JSON")["booted_from"].clone()
    };
    assert_eq!(boot(&machine), "last-good", "as long as it is root's");

    chown(machine.path("lib"), Some(NOBODY), Some(NOBODY)).expect("root may give away");

    assert_eq!(boot(&machine), "lockdown");
}

#[test]
fn a_state_that_root_has_moved_elsewhere_by_a_link_is_as_good_as_any() {
    let machine = Machine::new();
    fs::create_dir(machine.path("elsewhere")).expect("a folder");
    symlink(machine.path("elsewhere"), machine.path("lib")).expect("a link");
    machine.open(&[80]);

    let done = machine.run(&["apply"]);

    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    machine.write("policy.yaml", "");
    machine.reboot();
    machine.run(&["boot"]).success();
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn of_the_files_beside_large_sets_only_those_are_removed_that_palisade_has_named() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    fs::create_dir_all(machine.kept("sets")).expect("a folder");
    for folder in ["sets", "rulesets"] {
        NAMES.iter().skip(1).for_each(|name| machine.write(&format!("lib/{folder}/{name}"), "somebody's"));
    }
    machine.write("lib/rulesets/7.ruleset", "somebody's");

    for port in 81..90 {
        machine.open(&[port]);
        machine.run(&["apply"]).success();
    }

    let names = |folder: &str| {
        let entries = fs::read_dir(machine.kept(folder)).expect("it is there").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sets"), ["change.json", "last-good", "shadow"]);
    assert_eq!(
        names("rulesets"),
        [
            ".0123456789abcdef0123456789abcdef.new",
            "000006.ruleset",
            "000007.ruleset",
            "000008.ruleset",
            "000009.ruleset",
            "000010.ruleset",
            "0123456789abcdef0123456789abcdef",
            "7.ruleset",
            "change.json",
            "last-good",
            "shadow",
        ]
    );
}
