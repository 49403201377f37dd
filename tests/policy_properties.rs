//! Whatever the bytes are, nothing panics; and a valid policy means what was written.

#[path = "support/policies.rs"]
mod policies;

use palisade::facts::{Facts, ListFile};
use palisade::net::{AddressRange, Addresses, Ports};
use palisade::policy::{AddressList, Problems, Source, Sources, parse, parse_bytes};
use palisade::resolve::resolve;
use policies::{ports, range};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Runs everything behind the reading of files, rendering included.
fn run(text: &str) {
    let parsed = parse(text, "policy.yaml");
    let mut problems = parsed.problems;
    if let Some(policy) = parsed.policy {
        problems.extend(resolve(&policy, &Facts::default()).err().unwrap_or_default());
    }
    let sources = Sources(vec![Source { name: "policy.yaml".to_owned(), text: Arc::from(text) }]);
    for problem in &problems {
        if let Some(span) = problem.span {
            assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{problem:?} in {text:?}");
            // A span begins after a whole break: YAML ends lines with "\n", "\r" and "\r\n".
            let lines = text[..span.start].replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
            assert_eq!(lines, span.line as usize, "{problem:?} in {text:?}");
        }
    }
    let problems = Problems::new(problems, sources);
    let _ = (problems.render(false), problems.render(true), problems.problems());
}

/// Pieces that policies, and broken ones, are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "version: 1\n", "groups:", "services:", "block:", "defaults:", "log:", "ports:", "from:", "except:", "to:",
            "on:", "limit:", "comment:", "denied:", "file:", "interface:", "ssh:", "a:", "b:", "any", "private", "22/tcp",
            "esp/proto", "1.2.3.4", "10.0.0.0/8", "::1", "fe80::/10", "1.1.1.1-1.1.1.9", "6/minute", "off", "~", "null",
            ".nan", "0x10", "1e999", "!!int", "!x", "&a ", "*a", "<<: *a", "- ", "? ", ": ", "[", "]", "{", "}", ",", "#",
            "\"", "'", "|\n", ">\n", "---\n", "...\n", "%YAML 1.2\n", "\n", "\n  ", "\n    ", "\n      ", " ", "\t", "\r\n", "\r", "\r\r\n",
            "\u{feff}", "\u{0}", "é", "日", "\u{2028}",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes, "policy.yaml");
        run(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        run(&text);
    }

    #[test]
    fn no_mixture_of_what_policies_are_made_of_makes_it_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        run(&pieces.concat());
        run(&format!("version: 1\n{}", pieces.concat()));
    }

    #[test]
    fn no_item_of_a_list_makes_it_panic(item in "\\PC{0,30}", address in "[0-9a-f.:/%*-]{0,20}") {
        let quoted = |text: &str| serde_json::to_string(text).expect("a string");
        for item in [quoted(&item), quoted(&address)] {
            run(&format!("version: 1\nblock: [{item}, {{ interface: {item} }}]\nservices:\n  a:\n    ports: [{item}]\n    \
                from: {item}\n    to: {item}\n    on: {item}\n    limit: {item}\n    comment: {item}\n"));
        }
    }

    #[test]
    fn no_file_of_addresses_makes_it_panic(
        any in any::<String>(),
        alike in prop::collection::vec("[0-9a-f.:/, \t;#{}\"\\[\\]<é-]{0,12}|192.0.2.[0-9]{1,3}(/[0-9]{1,2})?( 198.51.100.1)?|\\{\"ip\":\"::[0-9]\"\\}|\r|\n", 0..30),
        skip in any::<bool>(),
        admits in any::<bool>(),
    ) {
        let text = any + &alike.join("\n");
        let odd = if skip { ", odd: skip" } else { "" };
        let uses = if admits { "\nservices: { web: { ports: 80/tcp, from: [{ file: list }] } }" } else { "" };
        let policy = format!("version: 1\nblock: [{{ file: list{odd} }}]{uses}\n");
        let policy = parse(&policy, "policy.yaml").policy.expect("a policy");
        let file = ListFile { source: 1, path: "list".into(), list: Ok(AddressList::of_text(1, &text)) };
        let facts = Facts { files: BTreeMap::from([("list".to_owned(), file)]), ..Facts::default() };
        let said = resolve(&policy, &facts).map_or_else(|problems| problems, |resolved| resolved.warnings);
        let policy = Source { name: "policy.yaml".to_owned(), text: Arc::from("") };
        let said = Problems::new(said, facts.sources(vec![policy]));
        let _ = (said.render(true), said.problems(), said.warnings());
    }
}

proptest! {
    #[test]
    fn a_valid_policy_resolves_to_what_was_written(
        groups in prop::collection::btree_map("g[a-zA-Z0-9_]{0,8}", prop::collection::vec(range(), 0..6), 1..5),
        services in prop::collection::btree_map(
            "s[a-zA-Z0-9_-]{0,8}",
            (prop::collection::btree_set(ports(), 1..5), prop::collection::vec(range(), 1..5)),
            0..5,
        ),
    ) {
        let list = |ranges: &[(AddressRange, String)]| {
            let items: Vec<String> = ranges.iter().map(|(_, text)| format!("\"{text}\"")).collect();
            format!("[{}]", items.join(", "))
        };
        let mut text = "version: 1\ngroups:\n".to_owned();
        for (name, ranges) in &groups {
            text.push_str(&format!("  {name}: {}\n", list(ranges)));
        }
        text.push_str("services:\n");
        for (name, (ports, from)) in &services {
            let ports: Vec<String> = ports.iter().map(Ports::to_string).collect();
            text.push_str(&format!("  {name}:\n    ports: [{}]\n    from: {}\n", ports.join(", "), list(from)));
        }
        let names: Vec<&str> = groups.keys().map(String::as_str).collect();
        text.push_str(&format!("block: [{}]\n", names.join(", ")));

        let parsed = parse(&text, "policy.yaml");
        prop_assert_eq!(&parsed.problems, &vec![]);
        let resolved = resolve(&parsed.policy.expect("a policy"), &Facts::default()).expect("no problem");
        let addresses = |ranges: &[(AddressRange, String)]| ranges.iter().map(|(range, _)| *range).collect::<Addresses>();
        let written: BTreeMap<_, _> = groups.iter().map(|(name, ranges)| (name.clone(), addresses(ranges))).collect();
        let found: BTreeMap<_, _> =
            resolved.groups.into_iter().map(|(name, group)| (name, group.addresses)).collect();
        prop_assert_eq!(found, written);
        let written: BTreeMap<String, (BTreeSet<Ports>, Addresses)> = services
            .iter()
            .map(|(name, (ports, from))| (name.clone(), (ports.clone(), addresses(from))))
            .collect();
        let found: BTreeMap<_, _> = resolved
            .services
            .into_iter()
            .map(|(name, service)| (name, (service.ports, service.from.addresses)))
            .collect();
        prop_assert_eq!(found, written);
    }
}
