//! What is made from the table of keys says what the reader says.
#![allow(missing_docs)]

use palisade::facts::Facts;
use palisade::policy::keys::{
    CONTAINERS, DEFAULTS, DOCTOR, EXPECTATION, FORWARD, Holds, IGNORED, LOG, NAT, OUTGOING, PEER, POLICY, SERVICE,
    Section,
};
use palisade::policy::{Parsed, parse, reference};
use palisade::resolve::resolve;
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&palisade::policy::schema()).expect("the schema is JSON")
}

/// A policy in which a section stands with that inside.
fn around(section: &Section, inside: &str) -> String {
    match section.what {
        "a policy" => inside.to_owned(),
        "a service" => format!("version: 1\ngroups: {{ office: 192.0.2.1 }}\nservices: {{ one: {{ {inside} }} }}\n"),
        "a rule of `outgoing`" => {
            format!("version: 1\ndefaults: {{ outgoing: deny }}\noutgoing: {{ one: {{ {inside} }} }}\n")
        }
        "a rule of `forward`" => format!("version: 1\nforward: {{ one: {{ {inside} }} }}\n"),
        "a line of `nat`" => format!("version: 1\nnat: {{ one: {{ {inside} }} }}\n"),
        "an expectation" => format!("version: 1\nexpect: {{ {inside} }}\n"),
        "a peer in braces" if inside.starts_with("odd") => {
            format!("version: 1\nblock: [{{ file: list.txt, {inside} }}]\n")
        }
        "an ignored finding" => format!("version: 1\ndoctor: {{ ignore: [{{ {inside} }}] }}\n"),
        "a peer in braces" => format!("version: 1\nblock: [{{ {inside} }}]\n"),
        named => format!("version: 1\n{}: {{ {inside} }}\n", named.trim_matches('`')),
    }
}

const SECTIONS: [&Section; 12] = [
    &POLICY,
    &DEFAULTS,
    &SERVICE,
    &OUTGOING,
    &FORWARD,
    &NAT,
    &CONTAINERS,
    &LOG,
    &EXPECTATION,
    &DOCTOR,
    &IGNORED,
    &PEER,
];

#[test]
fn the_example_of_each_key_is_read_and_fits_the_schema() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let wrong: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(move |key| (section, key)))
        .filter_map(|(section, key)| {
            let others: Vec<String> = match section.what {
                "a policy" => vec!["version: 1\n".to_owned()],
                _ => section
                    .keys
                    .iter()
                    .filter(|key| key.required)
                    .map(|key| format!("{}: {}", key.name, key.example))
                    .collect(),
            };
            let own = format!("{}: {}", key.name, key.example);
            let needed = others.iter().filter(|other| !other.starts_with(&format!("{}:", key.name)));
            let one_of = (section.what == "an expectation" && !["allow", "deny"].contains(&key.name))
                .then(|| "deny: 22/tcp".to_owned());
            let separator = if section.what == "a policy" { "" } else { ", " };
            let inside = needed.cloned().chain(one_of).chain([own]).collect::<Vec<_>>().join(separator);
            let policy = around(section, &inside);
            let Parsed { problems, .. } = parse(&policy, "policy.yaml");
            let value: Value = serde_saphyr::from_str(&policy).expect("YAML");
            (!problems.is_empty() || !validator.is_valid(&value)).then_some(policy)
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_reader_takes_each_word_of_the_table_and_no_other() {
    let resolved = |section: &Section, key: &str, word: &str| {
        let others = section.keys.iter().filter(|other| other.required && other.name != "version");
        let others: Vec<String> = others.map(|other| format!("{}: {}, ", other.name, other.example)).collect();
        let policy = around(section, &format!("{}{key}: {word}", others.concat()));
        let read = parse(&policy, "policy.yaml").policy.expect("YAML");
        resolve(&read, &Facts::default()).is_ok()
    };
    let mut words = 0;
    for section in SECTIONS {
        for key in section.keys {
            let Holds::Word(known) = key.holds else { continue };
            if key.name == "odd" {
                continue; // It stands beside a file, which this policy has not: tests/list_files.rs
            }
            for word in ["allow", "deny", "reject", "off", "strict", "loose", "drop"] {
                assert_eq!(
                    resolved(section, key.name, word),
                    known.contains(&word),
                    "{} {}: {word}",
                    section.what,
                    key.name
                );
                words += 1;
            }
            assert!(key.default.is_some_and(|default| known.contains(&default)), "{}", key.name);
        }
    }
    assert_eq!(words, 10 * 7);
}

/// `UPDATE_GOLDEN=1` writes the page anew.
#[test]
fn the_reference_page_is_the_one_that_the_table_gives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, reference()).expect("docs/ can be written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("the page"), reference());
}

#[test]
fn the_schema_accepts_a_policy_that_uses_everything() {
    let policy: Value = serde_saphyr::from_str(include_str!("policies/everything.yaml")).expect("YAML");
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let errors: Vec<String> = validator.iter_errors(&policy).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_the_decoder_refuses() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let refused = |text: &str| {
        let policy: Value = serde_saphyr::from_str(text).expect("YAML");
        assert!(!validator.is_valid(&policy), "{text}");
    };
    refused("services: {}");
    refused("version: 2");
    refused("version: 1\nservcies: {}");
    refused("version: 1\nservices: { ssh: { ports: 22, from: any } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp, from: [] } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tpc, from: any } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp, from: any, limit: 6/min } }");
    refused("version: 1\ngroups: { any: [192.0.2.1] }");
    refused("version: 1\ngroups: { office-v4: [192.0.2.1] }");
    refused("version: 1\ndefaults: { ping: reject }");
    refused("version: 1\nblock: [{ iface: eth0 }]");
    refused("version: 1\ndoctor: { ignore: [{ id: macvlan-network }] }");
    refused("version: 1\ndoctor: { ignore: [{ id: macvlan-networks, because: guarded }] }");
}
