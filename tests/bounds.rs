//! What a short policy could multiply to more than a machine has: what just fits, and what is said of one more.
#![allow(missing_docs)]

use palisade::compile::compile;
use palisade::facts::{Facts, ListFile, names_of};
use palisade::names::Names;
use palisade::policy::{AddressList, Problems, Source, Sources, parse};
use palisade::resolve::{Resolved, resolve};
use std::path::PathBuf;
use std::sync::Arc;

/// What a policy means whose file `list.txt` has so many addresses, or what is said of it.
fn resolved(policy: &str, listed: u32) -> Result<Resolved, String> {
    let parsed = parse(policy, "policy.yaml");
    assert_eq!(parsed.problems, []);
    let mut facts = Facts::default();
    let list: String = (0..listed).map(|at| format!("10.{}.{}.{}\n", at >> 16, at >> 8 & 255, at & 255)).collect();
    let list = Ok(AddressList::of_text(1, &list));
    let read = parsed.policy.expect("it has no problems");
    facts.names = Names::default().only(&names_of(&read));
    facts.files.insert("list.txt".to_owned(), ListFile { source: 1, path: PathBuf::from("list.txt"), list });
    resolve(&read, &facts).map_err(|problems| {
        let sources = Sources(vec![Source { name: "policy.yaml".to_owned(), text: Arc::from(policy) }]);
        Problems::new(problems, sources).render(false)
    })
}

/// How many chains and rules a policy comes to beside those of an empty one.
fn size(policy: &str) -> (usize, usize) {
    let size = |policy: &str| {
        let resolved = resolved(policy, 0).expect("it fits");
        let table = compile(&resolved);
        (table.chains.len(), table.chains.values().map(|chain| chain.rules.len()).sum::<usize>())
    };
    let (with, without) = (size(policy), size("version: 1\n"));
    (with.0 - without.0, with.1 - without.1)
}

/// Services whose ranges of ports lie in each other: as many rules for shared ports as the square of them, but two.
fn nested(count: u16) -> String {
    let service = |at: u16| format!("  s{at}: {{ ports: {}-{}/tcp, from: any }}\n", at + 1, 65_535 - at);
    format!("version: 1\nservices:\n{}", (0..count).map(service).collect::<String>())
}

#[test]
fn as_many_rules_for_shared_ports_as_fit_are_made() {
    // 256 * 256 - 2, and two for a port of two more.
    let policy = nested(256) + "  u1: { ports: 1/udp, from: any }\n  u2: { ports: 1/udp, from: any }\n";

    // A chain a run, but for the first and the last, which are of one service; a chain and a rule a service; the rules
    // that ask three maps, for this machine, for published ports and by a packet's own port; and for the last a chain
    // and the rules that lead there, for what is not tracked and for what containers call elsewhere.
    assert_eq!(size(&policy), (511 - 2 + 1 + 258 + 1, 65_536 + 258 + 3 * 3 + 2));
}

#[test]
fn one_more_rule_for_shared_ports_is_refused_at_the_service_that_needs_it() {
    let policy = nested(256)
        + "  u1: { ports: 1/udp, from: any }\n  u2: { ports: 1/udp, from: any }\n  u3: { ports: 1/udp, from: any }\n  u4: { ports: 2/udp, from: any }\n";

    assert_eq!(
        resolved(&policy, 0).expect_err("too many"),
        "\
error: with the service `u3` more than 65536 rules are needed for shared ports
   --> policy.yaml:261:3
    |
261 |   u3: { ports: 1/udp, from: any }
    |   ^^ each run of ports that several services share takes a rule for each of them
    |
    = help: let fewer ranges of ports lie in each other, or make one service of several
"
    );
}

#[test]
fn thousands_of_ranges_in_each_other_are_refused_before_a_rule_is_made() {
    let said = resolved(&nested(3_000), 0).expect_err("too many");

    assert_eq!(
        said.lines().next(),
        Some("error: with the service `s256` more than 65536 rules are needed for shared ports")
    );
}

/// Rules of a section whose ranges of ports lie in each other.
fn nested_rules(section: &str, defaults: &str, count: u16, keys: &str) -> String {
    let rule = |at: u16| format!("  s{at}: {{ ports: {}-{}/tcp, {keys} }}\n", at + 1, 65_535 - at);
    format!("version: 1\n{defaults}{section}:\n{}", (0..count).map(rule).collect::<String>())
}

#[test]
fn ranges_in_each_other_of_rules_are_refused_as_those_of_services_are() {
    let sections = [
        ("outgoing", "defaults: { outgoing: deny }\n", "from: host, to: any"),
        ("forward", "", "from: { interface: eth1 }, to: { interface: eth0 }"),
    ];
    for (section, defaults, keys) in sections {
        let fits = resolved(&nested_rules(section, defaults, 256, keys), 0);
        assert_eq!(fits.map(|resolved| resolved.outgoing.len() + resolved.forward.len()), Ok(256));

        let many = resolved(&nested_rules(section, defaults, 3_000, keys), 0);
        let said = many.map(|resolved| resolved.file).expect_err("too many");

        let expected =
            format!("error: with the rule `s256` of `{section}` more than 65536 rules are needed for shared ports\n");
        let help = "    = help: let fewer ranges of ports lie in each other, or make one rule of several\n";
        assert!(said.starts_with(&expected) && said.ends_with(help), "{said}");
    }
}

#[test]
fn more_host_names_than_can_be_looked_up_are_refused() {
    let policy = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("{{ dns: h{at}.example.org }}")).collect();
        format!("version: 1\nservices: {{ ssh: {{ ports: 22/tcp, from: [{}] }} }}\n", names.join(", "))
    };

    assert_eq!(resolved(&policy(256), 0).map(|resolved| resolved.services.len()), Ok(1));
    assert_eq!(
        resolved(&policy(257), 0).expect_err("too many"),
        "\
error: the policy has more than 256 host names
 |
 = help: write networks, or name files of addresses: `{ file: PATH }`
"
    );
}

#[test]
fn thousands_of_ranges_of_one_service_are_one_run() {
    let ranges: String = (1..3_000).map(|first| format!("    - {first}-{}/tcp\n", 65_535 - first)).collect();

    assert_eq!(
        size(&format!("version: 1\nservices:\n  s:\n    from: any\n    ports:\n{ranges}")),
        (1 + 1, 1 + 3 + 2)
    );
}

#[test]
fn a_list_that_is_named_too_often_is_refused_where_it_is_too_much() {
    let groups: String = (0..65).map(|at| format!("  g{at:02}: [shared]\n")).collect();
    let block: Vec<String> = (0..65).map(|at| format!("g{at:02}")).collect();
    let policy =
        format!("version: 1\ngroups:\n  shared: [{{ file: list.txt }}]\n{groups}block: [{}]\n", block.join(", "));

    // Each group counts its addresses, itself and the one in it: 65 times 129,055 just fits.
    assert_eq!(resolved(&policy, 129_053).map(|resolved| resolved.groups.len()), Ok(65));
    assert_eq!(
        resolved(&policy, 129_054).expect_err("too many"),
        "\
error: with this all lists together have more than 8388608 members
  --> policy.yaml:68:3
   |
68 |   g64: [shared]
   |   ^^^
   |
   = help: a group's members count wherever it is used: use long lists in fewer places
"
    );
}
