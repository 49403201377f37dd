//! Commands that edit a policy's text where it stands.
#![allow(missing_docs)]

#[path = "support/policies.rs"]
mod policies;

use palisade::policy::edit::{Edit, edited};
use palisade::policy::{Policy, parse};
use policies::{config, policy};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};
use similar::{Algorithm, DiffTag, capture_diff_slices};

const ADDED: [&str; 2] = ["a-new-service", "198.51.100.77"];

/// A policy without its places.
fn meaning(text: &str) -> Policy {
    let parsed = parse(text, "policy.yaml");
    assert_eq!(parsed.problems, [], "{text}");
    parsed.policy.expect("it can be read")
}

/// The parts of a policy as text without their places: the groups, the services, and all else.
fn without_places(policy: &Policy) -> (Vec<String>, Vec<String>, String) {
    let plain = |debug: String| {
        let mut parts = debug.split("Span {");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('}').map_or("", |(_, rest)| rest))
    };
    let groups = policy.groups.iter().map(|group| plain(format!("{group:?}"))).collect();
    let services = policy.services.iter().map(|service| plain(format!("{service:?}"))).collect();
    let rest = Policy { groups: Vec::new(), services: Vec::new(), ..policy.clone() };
    (groups, services, plain(format!("{rest:?}")))
}

/// Puts comments between the lines of a policy and behind them.
fn commented(text: &str, at: &[(Index, bool)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (number, (index, behind)) in at.iter().enumerate() {
        let at = index.index(lines.len());
        if *behind && !lines[at].contains('#') {
            lines[at].push_str(&format!("  # [note], {number}: {{}}"));
        } else {
            let indent = " ".repeat(number % 5);
            lines.insert(at, format!("{indent}# note: {number} # ]"));
        }
    }
    lines.join("\n") + "\n"
}

/// How many lines an edit takes away and adds.
fn changed(before: &str, after: &str) -> (usize, usize) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(before), lines(after));
    let ops = capture_diff_slices(Algorithm::Myers, &old, &new);
    ops.iter()
        .filter(|op| op.tag() != DiffTag::Equal)
        .fold((0, 0), |(gone, come), op| (gone + op.old_range().len(), come + op.new_range().len()))
}

#[test]
fn an_edit_changes_what_was_meant_and_no_other_line_whatever_the_policy() {
    let comments = prop::collection::vec((any::<Index>(), any::<bool>()), 0..12);
    let outcome =
        TestRunner::new(config(100)).run(&(policy(), comments, any::<Index>()), |(written, comments, which)| {
            let text = commented(&written.text, &comments);
            let (groups, services, rest) = without_places(&meaning(&text));
            let made =
                |edit| edited(&text, &edit).map_err(|problem| TestCaseError::fail(format!("{problem:?}\n{text}")));

            let [name, peer] = ADDED;
            let ports = ["9000/tcp".to_owned(), "9000-9001/udp".to_owned()];
            let from = ["203.0.113.9".to_owned(), "{ interface: eth7 }".to_owned(), "2001:db8::9".to_owned()];
            let after = made(Edit::AddService { name, ports: &ports, from: &from })?;
            let (of_groups, of_services, of_rest) = without_places(&meaning(&after));
            prop_assert_eq!((&of_groups, &of_services[..services.len()], &of_rest), (&groups, &services[..], &rest));
            prop_assert_eq!(of_services.len(), services.len() + 1);
            prop_assert!(matches!(changed(&text, &after), (0, 1 | 3)), "{}{}", text, after);

            let back = edited(&after, &Edit::RemoveService { name }).expect("it is there");
            let (of_groups, of_services, of_rest) = without_places(&meaning(&back));
            prop_assert_eq!((&of_groups, &of_services, &of_rest), (&groups, &services, &rest));
            prop_assert!(matches!(changed(&text, &back), (0, 0 | 2)), "{}{}", text, back);

            let policy = meaning(&text);
            if policy.groups.is_empty() {
                return Ok(());
            }
            let chosen = which.index(policy.groups.len());
            let group = policy.groups[chosen].name.value.as_str();
            let after = made(Edit::AddPeer { group, peer, make: false })?;
            let (mut of_groups, of_services, of_rest) = without_places(&meaning(&after));
            let one = of_groups.remove(chosen);
            prop_assert!(one.contains(peer), "{}", one);
            let mut others = groups.clone();
            others.remove(chosen);
            prop_assert_eq!((&of_groups, &of_services, &of_rest), (&others, &services, &rest));
            prop_assert_eq!(changed(&text, &after), (1, 1));
            let Ok(back) = edited(&after, &Edit::RemovePeer { group, peer }) else {
                return Ok(());
            };
            prop_assert_eq!(without_places(&meaning(&back)).1, services);
            prop_assert!(!back.contains(peer));
            Ok(())
        });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The lines of a text that differ, as a unified diff has them.
fn diff(before: &str, edit: &Edit<'_>) -> Result<String, String> {
    let after = edited(before, edit).map_err(|problem| match problem.help {
        Some(help) => format!("{}: {help}", problem.message),
        None => problem.message,
    })?;
    let diff = similar::TextDiff::from_lines(before, &after);
    Ok(diff
        .unified_diff()
        .context_radius(0)
        .to_string()
        .lines()
        .filter(|line| !line.starts_with("@@"))
        .map(|line| format!("{line}\n"))
        .collect())
}

const FORMS: &str = "\
# This machine.
version: 1
groups:
  trusted:   # who may
    - 1.1.1.1   # home
    # the office
    - 1.1.1.2
  one: 203.0.113.1    # alone
  many: [
    1.1.1.1,  # a
    1.1.1.2,  # b
    1.1.1.3   # c
  ]
  short: [ 1.1.1.1, \"2001:db8::1\" , 1.1.1.3 ]
services:
  # The shell.
  ssh:
    ports: 22/tcp  # standard
    from: any
  # The web.
  web:
      ports: [80/tcp, 443/tcp]
      from:
        - any
  # not:
  #   ports: 1/tcp
block: 203.0.113.66";

#[test]
fn each_form_of_a_list_and_a_section_is_edited_in_its_own_style() {
    let add = |group, peer| diff(FORMS, &Edit::AddPeer { group, peer, make: true });
    let remove = |group, peer| diff(FORMS, &Edit::RemovePeer { group, peer });
    let ports = ["9000/tcp".to_owned()];
    let from = ["trusted".to_owned(), "one".to_owned()];
    let done = [
        add("trusted", "2001:db8::9"),
        add("one", "1.1.1.9"),
        add("many", "{ dns: example.org }"),
        add("short", "1.1.1.9"),
        add("fresh", "1.1.1.9"),
        remove("trusted", "1.1.1.1"),
        remove("many", "1.1.1.1"),
        remove("many", "1.1.1.3"),
        remove("short", "2001:db8::1"),
        remove("short", "1.1.1.3"),
        diff(FORMS, &Edit::AddService { name: "dashboard", ports: &ports, from: &from }),
        diff(FORMS, &Edit::RemoveService { name: "ssh" }),
    ];
    let expected = [
        "+    - \"2001:db8::9\"\n",
        "-  one: 203.0.113.1    # alone\n+  one: [203.0.113.1, 1.1.1.9]    # alone\n",
        "-    1.1.1.3   # c\n+    1.1.1.3, { dns: example.org }   # c\n",
        "-  short: [ 1.1.1.1, \"2001:db8::1\" , 1.1.1.3 ]\n+  short: [ 1.1.1.1, \"2001:db8::1\" , 1.1.1.3, 1.1.1.9 ]\n",
        "+  fresh: [1.1.1.9]\n",
        "-    - 1.1.1.1   # home\n",
        "-    1.1.1.1,  # a\n",
        "-    1.1.1.3   # c\n+   # c\n",
        "-  short: [ 1.1.1.1, \"2001:db8::1\" , 1.1.1.3 ]\n+  short: [ 1.1.1.1, 1.1.1.3 ]\n",
        "-  short: [ 1.1.1.1, \"2001:db8::1\" , 1.1.1.3 ]\n+  short: [ 1.1.1.1, \"2001:db8::1\"  ]\n",
        "+  dashboard:\n+      ports: 9000/tcp\n+      from: [trusted, one]\n",
        "-  ssh:\n-    ports: 22/tcp  # standard\n-    from: any\n",
    ];
    assert_eq!(done, expected.map(|text| Ok(text.to_owned())));
}

#[test]
fn what_an_edit_can_not_do_it_says() {
    let aliases = "version: 1\ngroups:\n  a: &x [1.1.1.1, 1.1.1.2]\n  b: *x\n";
    let peer = |text, group, peer| diff(text, &Edit::RemovePeer { group, peer });
    let add = |group, peer| diff(FORMS, &Edit::AddPeer { group, peer, make: false });
    let done = [
        peer(aliases, "b", "1.1.1.1"),
        peer(aliases, "a", "1.1.1.1"),
        peer(FORMS, "one", "203.0.113.1"),
        peer(FORMS, "many", "1.1.1.4"),
        add("trustd", "1.1.1.9"),
        add("trusted", "1.1.1.1"),
        add("trusted", "a\nb"),
        diff(FORMS, &Edit::RemoveService { name: "wbe" }),
    ];
    let expected = [
        "this is written in a form in which a command can't change it: change it in an editor: `palisade edit`",
        "this is written in a form in which a command can't change it: change it in an editor: `palisade edit`",
        "`203.0.113.1` is all that the group `one` names: a group names at least one peer: remove the group, and where it \
         is used",
        "the group `many` does not name `1.1.1.4`: did you mean `1.1.1.1`?",
        "there is no group `trustd`: did you mean `trusted`?; `--new` makes a new group",
        "the group `trusted` names `1.1.1.1` already",
        "`a\\u{a}b` can't stand in a policy",
        "there is no service `wbe`: did you mean `web`?",
    ];
    assert_eq!(done, expected.map(|text| Err(text.to_owned())));
}
