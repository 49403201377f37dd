//! What host names mean in a policy, by what is known of them.
#![allow(missing_docs)]

use palisade::access::unmet;
use palisade::compile::compile;
use palisade::facts::{Facts, names_of};
use palisade::names::{Failure, Names};
use palisade::net::Version;
use palisade::policy::{Severity, parse};
use palisade::resolve::{Resolved, resolve};
use palisade::ruleset::{Table, TableId};
use std::net::IpAddr;

fn resolved(text: &str, known: &[(&str, Result<&[&str], Failure>)]) -> Resolved {
    let parsed = parse(text, "policy.yaml");
    assert_eq!(parsed.problems, [], "{text}");
    let policy = parsed.policy.expect("a policy");
    let mut names = Names::default().only(&names_of(&policy));
    for (name, outcome) in known {
        let outcome =
            outcome.map(|texts| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<IpAddr>>());
        for version in Version::ALL {
            let of = |addresses: &Vec<IpAddr>| {
                addresses.iter().copied().filter(|one| Version::of(*one) == version).collect()
            };
            names.learn(name, version, outcome.as_ref().map(of).map_err(|failure| *failure));
        }
    }
    resolve(&policy, &Facts { names, ..Facts::default() }).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn table(text: &str, known: &[(&str, Result<&[&str], Failure>)]) -> Table {
    compile(&resolved(text, known))
}

/// What is noted of a policy, and nothing is warned of.
fn notes(text: &str, known: &[(&str, Result<&[&str], Failure>)]) -> Vec<String> {
    let resolved = resolved(text, known);
    let said = resolved.warnings.iter().map(|said| {
        assert_eq!(said.severity, Severity::Note, "{said:?}");
        format!("{}: {}", said.span.expect("a place").line, said.message)
    });
    said.collect()
}

const POLICY: &str = "version: 1
defaults: { outgoing: deny, forward: deny }
groups: { owner: [192.0.2.1, HOME], all: owner }
services: { web: { ports: 443/tcp, from: all }, ssh: { ports: 22/tcp, from: [192.0.2.9, HOME] } }
outgoing: { mirror: { ports: 443/tcp, from: host, to: [192.0.2.8, MIRROR] } }
forward: { lan: { ports: 443/tcp, from: [192.0.2.7, HOME], to: [10.0.0.1, MIRROR] } }
expect: [{ allow: 443/tcp, from: owner }, { deny: 22/tcp, from: 192.0.2.1 }]
";

fn with(home: &str, mirror: &str) -> String {
    POLICY.replace("HOME", home).replace("MIRROR", mirror)
}

const HOME: &str = "{ dns: home.example.org }";
const MIRROR: &str = "{ dns: mirror.example.org }";

#[test]
fn the_rules_of_names_are_those_of_their_addresses() {
    let known: [(&str, Result<&[&str], Failure>); 2] = [
        ("home.example.org", Ok(&["198.51.100.20", "2001:db8::20"])),
        ("mirror.example.org", Ok(&["198.51.100.1", "198.51.100.2"])),
    ];
    let by_name = table(&with(HOME, MIRROR), &known);
    assert_eq!(by_name, table(&with("198.51.100.20, \"2001:db8::20\"", "198.51.100.1, 198.51.100.2"), &[]));
    assert_eq!(by_name, table(&with("{ dns: HOME.Example.Org. }", MIRROR), &known));
}

#[test]
fn names_of_which_nothing_is_known_mean_nobody_and_nowhere() {
    assert_eq!(
        table(&with(HOME, MIRROR), &[]),
        table(
            &with("192.0.2.1", "10.0.0.1")
                .replace("[192.0.2.9, 192.0.2.1]", "192.0.2.9")
                .replace("[192.0.2.8, 10.0.0.1]", "192.0.2.8")
                .replace("[192.0.2.7, 192.0.2.1]", "192.0.2.7"),
            &[]
        )
    );
}

#[test]
fn what_only_names_of_which_nothing_is_known_may_do_nobody_may_do() {
    let text = "version: 1
defaults: { outgoing: deny, forward: deny }
services: { web: { ports: 443/tcp, from: { dns: home.example.org } } }
outgoing: { mirror: { ports: 443/tcp, from: host, to: { dns: home.example.org } } }
forward: { lan: { ports: 443/tcp, from: any, to: { dns: home.example.org } }, out: { ports: 80/tcp, from: { dns: home.example.org }, to: any } }
";
    let table = table(text, &[]);
    let shut = "version: 1
expect:
  - { deny: 443/tcp, from: any }
  - { deny: 443/tcp, from: host, to: any }
  - { deny: [80/tcp, 443/tcp], from: any, to: any, on: eth0 }
";
    let expected = resolved(shut, &[]).expectations;
    assert_eq!(unmet(&TableId::palisade(), &table, &expected), []);
}

#[test]
fn names_that_mean_nobody_and_expectations_of_nobody_are_noted() {
    let text = "version: 1
groups: { owner: { dns: home.example.org } }
services: { ssh: { ports: 22/tcp, from: any }, web: { ports: 443/tcp, from: owner } }
expect:
  - { allow: 443/tcp, from: owner }
  - { deny: 443/tcp, from: 192.0.2.66 }
  - { deny: 25/tcp, from: any, to: { dns: Mail.example.org } }
";
    let expectations = |known: &[(&str, Result<&[&str], Failure>)]| resolved(text, known).expectations.len();
    assert_eq!(
        notes(text, &[]),
        [
            "5: nobody is known yet whom this expectation means: nothing is proved",
            "7: nobody is known yet whom this expectation means: nothing is proved",
            "2: `home.example.org` means nobody: it has not been looked up yet",
            "7: `Mail.example.org` means nobody: it has not been looked up yet",
        ]
    );
    assert_eq!(expectations(&[]), 1);
    let known: [(&str, Result<&[&str], Failure>); 2] =
        [("home.example.org", Ok(&["192.0.2.1"])), ("mail.example.org", Err(Failure::NoSuchName))];
    assert_eq!(
        notes(text, &known),
        [
            "7: nobody is known yet whom this expectation means: nothing is proved",
            "7: `Mail.example.org` means nobody: no look-up has given an address, the last because the name does not exist",
        ]
    );
    assert_eq!(expectations(&known), 2);
}

#[test]
fn what_a_name_and_another_service_allow_today_is_no_reason_to_call_one_of_them_needless() {
    let text = "version: 1
services:
  all: { ports: 443/tcp, from: 192.0.2.0/24 }
  home: { ports: 443/tcp, from: { dns: home.example.org } }
";
    assert_eq!(notes(text, &[("home.example.org", Ok(&["192.0.2.1"]))]), [""; 0]);
}

#[test]
fn addresses_that_no_answer_names_any_more_count_for_a_day_where_the_name_stands_in_to() {
    let text = "version: 1
defaults: { outgoing: deny }
groups: { both: { dns: both.example.org }, to: [{ dns: to.example.org }, both] }
services: { web: { ports: 443/tcp, from: [both, { dns: from.example.org }] } }
outgoing: { out: { ports: 443/tcp, from: host, to: to } }
";
    let parsed = parse(text, "policy.yaml").policy.expect("a policy");
    let spans: Vec<_> = names_of(&parsed).into_iter().map(|(name, span)| format!("{name}: {span:?}")).collect();
    assert_eq!(spans, ["both.example.org: Day", "from.example.org: Hour", "to.example.org: Day"]);
}

#[test]
fn a_policy_has_256_host_names_at_most() {
    let of = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("{{ dns: n{number}.example.org }}")).collect();
        let text = format!("version: 1\nservices: {{ web: {{ ports: 443/tcp, from: [{}] }} }}\n", names.join(", "));
        let policy = parse(&text, "policy.yaml").policy.expect("a policy");
        let names = Names::default().only(&names_of(&policy));
        resolve(&policy, &Facts { names, ..Facts::default() }).map(drop).map_err(|problems| problems.len())
    };
    assert_eq!((of(256), of(257)), (Ok(()), Err(1)));
}
