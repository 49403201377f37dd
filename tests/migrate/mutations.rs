//! Whatever stands in ufw's files, they are refused, or become a policy that is valid and is what it expects to be.

use super::folders::{folder, installation, names};
use super::loaded;
use super::policies::config_of;
use palisade::migrate::ufw::import;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

/// Words at the edges of what ufw's files may have.
const WORDS: [&str; 32] = [
    "any",
    "0.0.0.0/0",
    "::/0",
    "0",
    "1",
    "65535",
    "65536",
    "1:65535",
    "22,22",
    "10.0.0.0/0",
    "255.255.255.255",
    "ffff::/16",
    "::ffff:1.2.3.4",
    "::1",
    "172.17.0.2",
    "in",
    "out",
    "in_",
    "in_+",
    "in_docker0",
    "in_a!out_b",
    "out_a=b",
    "in_on",
    "route:allow",
    "limit_log-all",
    "esp",
    "comment=",
    "comment=22275c0a1b5b",
    "comment=e2809d23",
    "### tuple ###",
    "any%20",
    "-",
];

/// A change: which file, line and word, and what stands there then.
fn changes() -> impl Strategy<Value = Vec<(Index, Index, Index, String)>> {
    let word = prop_oneof![4 => select(WORDS.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}"];
    prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>(), word), 1..6)
}

/// A text with one word exchanged, and the lines that the kernel gets of a rule taken away where they no longer fit: so
/// that the changed rule counts.
fn changed(text: &str, line: Index, at: Index, word: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return word.to_owned();
    }
    let line = line.index(lines.len());
    let mut words: Vec<&str> = lines[line].split(' ').collect();
    let at = at.index(words.len());
    words[at] = word;
    let new = words.join(" ");
    if let Some(tuple) = new.strip_prefix("### tuple ### ") {
        let is_six = tuple.contains("::");
        let end = lines.iter().skip(line + 1).position(|next| !next.starts_with("-A"));
        let end = end.map_or(lines.len(), |end| line + 1 + end);
        lines.splice(line + 1..end, super::ufw::kernel_lines(tuple, is_six));
    }
    lines[line] = new;
    lines.join("\n") + "\n"
}

fn try_changes(count: u32) {
    let all = names();
    let made = (any::<Index>(), changes());
    let outcome = TestRunner::new(config_of(count)).run(&made, |(name, changes)| {
        let mut installation = installation(&folder().join(format!("{}.d", name.get(&all))));
        for (file, line, at, word) in changes {
            let paths: Vec<String> = installation.files.keys().cloned().collect();
            let text = installation.files.get_mut(file.get(&paths)).expect("it is there");
            *text = changed(text, line, at, &word);
        }
        if let Ok(made) = import(&installation) {
            let why = loaded(&made.policy).err();
            prop_assert!(why.is_none(), "{}\n{}\n{:#?}", why.unwrap_or_default(), made.policy, installation.files);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_stands_in_the_files_the_policy_is_valid_and_what_it_expects() {
    try_changes(1_000);
}

#[test]
#[ignore = "takes many minutes"]
fn whatever_stands_in_the_files_often() {
    try_changes(50_000);
}
