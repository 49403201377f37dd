//! What is made from the table of keys says what the reader says.
#![allow(missing_docs)]

#[path = "support/policies.rs"]
mod policies;

use palisade::facts::Facts;
use palisade::policy::keys::{
    CONTAINERS, DEFAULTS, DOCTOR, EXPECTATION, FORWARD, Holds, IGNORED, LOG, NAT, OUTGOING, PEER, POLICY, SERVICE,
    Section,
};
use palisade::policy::{Parsed, parse, reference};
use palisade::resolve::resolve;
use policies::{Written, policy};
use proptest::strategy::{Strategy, ValueTree};
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
        "a peer in braces" => format!("version: 1\ngroups: {{ one: [{{ {inside} }}] }}\n"),
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
    refused("version: 1\ndoctor: { ignore: [{ id: out-of-sync, because: guarded }] }");
}

/// A policy as an editor sees it; `None` if it is no YAML.
fn value_of(path: &std::path::Path) -> Option<Value> {
    serde_saphyr::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn files_below(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

#[test]
fn the_schema_accepts_each_policy_that_palisade_accepts() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let folders = ["policies", "tests/policies", "tests/drift", "packaging"];
    let files = folders.into_iter().flat_map(files_below);
    let policies = files.filter(|file| file.extension().is_some_and(|of| of == "yaml"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in policies {
        let policy = value_of(&file).expect("YAML");
        wrong.extend(validator.iter_errors(&policy).map(|error| format!("{}: {error}", file.display())));
        count += 1;
    }
    assert_eq!((wrong, count >= 19), (Vec::<String>::new(), true), "{count}");
}

/// Mistakes of `tests/bad-policies` that a value shows by itself.
const SHOWN_BY_THE_FILE: [&str; 60] = [
    "any-in-a-group",
    "any-in-block",
    "any-in-except",
    "action-that-is-none",
    "address-that-ends-with-a-colon",
    "address-with-brackets",
    "address-with-port",
    "address-with-zone",
    "bare-port",
    "bare-port-range",
    "dns-that-is-no-name",
    "dns-where-it-shuts-out",
    "forward-from-a-host-name",
    "forward-on-a-network",
    "forward-to-a-url",
    "forward-to-ipv6-with-a-port-without-brackets",
    "forward-to-link-local",
    "forward-to-with-a-port-too-high",
    "host-name",
    "icmp-as-transport",
    "interface-in-to",
    "interface-name-too-long",
    "interface-names-of-no-interface",
    "interface-star-alone",
    "interface-with-slash",
    "interface-with-star-inside",
    "ip-protocol-300",
    "ipv4-mapped-address",
    "leading-zeros",
    "name-of-a-host-in-block",
    "nat-as-two-addresses",
    "netmask",
    "number-above-255",
    "outgoing-any-port-with-a-protocol",
    "outgoing-except-any",
    "port-0",
    "port-65536",
    "port-of-a-container-mapping",
    "port-with-letters",
    "ports-any-and-more",
    "prefix-is-no-number",
    "prefix-too-long",
    "protocol-before-port",
    "range-of-two-families",
    "rate-of-0",
    "rate-too-high",
    "rate-with-unknown-unit",
    "service-any-and-ping",
    "service-name-with-protocol",
    "short-range",
    "tcp-as-ip-protocol",
    "temporary-for-how-long",
    "temporary-outside-of-a-group",
    "the-unspecified-address",
    "three-numbers",
    "two-addresses-in-one-item",
    "unknown-transport",
    "unspecified-address-in-to",
    "url",
    "user-with-a-minus",
];

#[test]
fn the_schema_refuses_each_mistake_that_the_file_alone_shows() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies");
    let is_valid = |name: &&str| {
        let policy = value_of(&folder.join(name).join("policy.yaml"));
        policy.is_none_or(|policy| validator.is_valid(&policy))
    };
    assert_eq!(SHOWN_BY_THE_FILE.into_iter().filter(is_valid).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_schema_accepts_whatever_the_reader_accepts() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..300 {
        let Written { text, .. } = policy().new_tree(&mut runner).expect("a policy").current();
        let value: Value = serde_saphyr::from_str(&text).expect("YAML");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{text}");
    }
}

/// Each of these values at its place in a policy is accepted by schema and reader, or by neither.
#[track_caller]
fn are(accepted: bool, values: &[&str], policy: impl Fn(&str) -> String) {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let judged = |value: &&str| {
        let text = policy(value);
        let read = parse(&text, "policy.yaml").policy;
        let resolved = read.is_some_and(|read| resolve(&read, &Facts::default()).is_ok());
        let seen: Value = serde_saphyr::from_str(&text).expect("YAML");
        (value.to_string(), validator.is_valid(&seen), resolved)
    };
    let expected: Vec<_> = values.iter().map(|value| (value.to_string(), accepted, accepted)).collect();
    assert_eq!(values.iter().map(judged).collect::<Vec<_>>(), expected);
}

/// A policy with a service that has these keys.
fn service(keys: &str) -> String {
    format!("version: 1\nservices: {{ a: {{ {keys} }} }}\n")
}

#[test]
fn each_form_of_a_peer_or_a_target_is_accepted_and_its_neighbour_is_not() {
    let peer = |peer: &str| service(&format!("ports: 22/tcp, from: \"{peer}\""));
    let good = ["1.2.3.4", "255.0.0.1-255.0.0.9", "10.0.0.0/8", "::1", "1:2:3:4:5:6:7::", "64:ff9b::1.2.3.4"];
    are(true, &good, peer);
    are(true, &["fe80::/10", "any", "private", "containers"], peer);
    are(
        false,
        &["256.1.1.1", "01.2.3.4", "10.0.0.0/08", "fe80::/010", "1.2.3.0/33", "::/129", "::", "0.0.0.0", "1.2.3.4-9"],
        peer,
    );
    are(false, &["a.example.org", "::ffff:1.2.3.4"], peer);

    let target = |target: &str| service(&format!("ports: 22/tcp, from: any, forward_to: \"{target}\""));
    are(true, &["10.0.0.5", "10.0.0.5:8443", "fd00::5", "[fd00::5]:8443", "1.0.0.1:1"], target);
    are(
        false,
        &[
            "127.0.0.1",
            "10.0.0.5:0",
            "10.0.0.5:080",
            "[fd00::5]:022",
            "10.0.0.5:65536",
            "10.0.0.0/8",
            "[fd00::5]",
            "::1",
        ],
        target,
    );
    are(false, &["[::1]:22", "0.0.0.0", "host"], target);
}

#[test]
fn each_form_of_a_port_a_rate_or_a_time_is_accepted_and_its_neighbour_is_not() {
    let ports = |ports: &str| service(&format!("ports: [{ports}], from: any"));
    are(true, &["1/tcp", "22/udp", "65535/sctp", "1-65535/tcp", "50/proto", "any", "ping"], ports);
    are(
        false,
        &["0/tcp", "0022/tcp", "1-022/udp", "65536/tcp", "22/icmp", "22-/tcp", "256/proto", "6/proto", "0/proto"],
        ports,
    );
    are(false, &["any, 22/tcp", "22"], ports);

    let rate = |rate: &str| service(&format!("ports: 22/tcp, from: any, limit: {rate}"));
    are(true, &["1/second", "007/hour", "1000000/week"], rate);
    are(false, &["1000001/day", "0/hour", "6/min", "6", "-6/hour"], rate);

    let time = |time: &str| {
        let groups = format!("groups: {{ one: {{ temporary: {time} }} }}\n");
        service("ports: 22/tcp, from: one").replace("services", &format!("{groups}services"))
    };
    are(true, &["1m", "60s", "90 min", "1h 30m", "1h30m", "720h", "30d", "4w", "43200m", "2days", "1hr"], time);
    are(false, &["59s", "0m", "31d", "721h", "43201m", "5w", "12", "soon", "1m!"], time);
}
