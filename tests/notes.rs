//! What `check` notes of policies that mean what they say, and may surprise.
#![allow(missing_docs)]

use palisade::desired::load_and_prove;
use palisade::names::Names;
use std::fs;

/// The notes of a policy: where, what, and the help; and that nothing is warned of.
fn notes(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, format!("version: 1\n{text}")).expect("the policy can be written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("the mode can be set");
    let loaded = load_and_prove(&path, &Names::default()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings.warnings(), [], "{text}");
    let shown = |note: palisade::policy::Problem| {
        format!("{}: {} | {}", note.line.expect("a line"), note.message, note.help.expect("a help"))
    };
    loaded.warnings.notes().into_iter().map(shown).collect()
}

const NAMES: &str = "outgoing: { names: { ports: 53/udp, from: host, to: 9.9.9.9 } }\n";

#[test]
fn that_containers_send_freely_is_noted_where_this_machine_may_not_and_nobody_said_it_is_meant() {
    let said = "2: this is about this machine alone: its containers open everything | write `containers: { outgoing: deny }` to \
                restrict them, or `allow` to say that it is meant";
    for (text, expected) in [
        ("", vec![said]),
        ("containers: { outgoing: allow }\n", vec![]),
        ("containers: { outgoing: reject }\n", vec![]),
        ("containers: { interfaces: [] }\n", vec![]),
    ] {
        assert_eq!(notes(&format!("defaults: {{ outgoing: deny }}\n{text}{NAMES}")), expected, "{text}");
    }
    let denied = "outgoing:\n  names: { ports: 53/udp, from: host, to: 9.9.9.9 }\n  smtp: { action: deny, ports: 25/tcp, from: \
                  containers, to: any }\n";
    assert_eq!(notes(&format!("defaults: {{ outgoing: deny }}\n{denied}")), Vec::<String>::new());
}

#[test]
fn a_line_of_nat_that_nothing_lets_through_is_noted() {
    let help = "`nat` allows nothing: write in `forward` who may open what, or in `outgoing` for containers";
    let said = [format!("2: nothing lets through what `lan` translates | {help}")];
    let lan = |from: &str, rest: &str| {
        notes(&format!("nat: {{ lan: {{ from: {from}, to: {{ interface: eth0 }} }} }}\n{rest}"))
    };
    let apart = "containers: { interfaces: [] }\n";
    let forward =
        |from: &str, to: &str| format!("{apart}forward: {{ a: {{ ports: any, from: {from}, to: {to} }} }}\n");
    let lets = |rest: &str| lan("10.77.0.0/24", rest).is_empty();

    assert_eq!(lan("10.77.0.0/24", apart), said);
    assert_eq!(lan("{ interface: eth1 }", apart), said);
    assert_eq!(lan("{ interface: eth1 }", ""), said, "no container is behind eth1");
    assert_eq!(lan("{ interface: br-app }", "containers: { outgoing: deny }\n"), said);
    assert_eq!(lan("10.77.0.0/24", &forward("10.78.0.0/24", "any")), said);
    assert_eq!(lan("10.77.0.0/24", &forward("any", "{ interface: eth1 }")), said);
    assert_eq!(lan("10.77.0.0/24", &forward("any", "any").replace("{ ports", "{ action: deny, ports")), said);

    assert_eq!(lan("{ interface: br-app }", ""), Vec::<String>::new(), "containers send freely");
    assert!(lets(&format!("{apart}defaults: {{ forward: allow }}\n")));
    assert!(lets(&forward("10.77.0.9", "any")));
    assert!(lets(&forward("any", "198.51.100.7")), "it may leave by eth0");
    assert!(lets(&forward("{ interface: eth1 }", "{ interface: \"eth*\" }")));
    assert!(lets(&format!("{apart}services: {{ web: {{ ports: 80/tcp, from: any, forward_to: 10.77.0.2 }} }}\n")));
}

#[test]
fn an_allowance_that_a_denial_swallows_whole_is_noted() {
    let help = "name in its `except` for whom the denial does not hold, or remove one of the two";
    let said = |line: u32| vec![format!("{line}: `a` allows nothing: `d` denies all of it | {help}")];
    let none = Vec::<String>::new();
    let service =
        |a: &str, d: &str| notes(&format!("services:\n  a: {{ ports: {a} }}\n  d: {{ action: deny, ports: {d} }}\n"));
    assert_eq!(service("80/tcp, from: 192.0.2.1", "[79-81/tcp], from: 192.0.2.0/24"), said(3));
    assert_eq!(service("80/tcp, from: any", "any, from: any"), said(3));
    assert_eq!(service("80/tcp, from: any", "80/tcp, from: 192.0.2.0/24"), none);
    assert_eq!(service("80-82/tcp, from: any", "80-81/tcp, from: any"), none);
    assert_eq!(service("80/tcp, from: any", "80/udp, from: any"), none);
    assert_eq!(service("80/tcp, from: any", "80/tcp, from: any, except: 192.0.2.1"), none);
    assert_eq!(service("80/tcp, from: any", "80/tcp, from: any, on: eth0"), none);
    assert_eq!(service("80/tcp, from: any, on: eth0", "80/tcp, from: any, on: \"eth*\""), said(3));
    assert_eq!(service("80/tcp, from: any", "80/tcp, from: any, to: 192.0.2.1"), none);
    assert_eq!(service("[80/tcp, ping], from: any", "80/tcp, from: any"), none);

    let forward = |a: &str, d: &str| {
        notes(&format!("forward:\n  a: {{ ports: 80/tcp, {a} }}\n  d: {{ action: reject, ports: any, {d} }}\n"))
    };
    assert_eq!(forward("from: { interface: eth1 }, to: 192.0.2.7", "from: any, to: 192.0.2.0/24"), said(3));
    assert_eq!(forward("from: { interface: eth1 }, to: any", "from: any, to: 192.0.2.0/24"), none);
    assert_eq!(forward("from: any, to: any", "from: { interface: eth1 }, to: any"), none);

    let outgoing = |a: &str, d: &str| {
        notes(&format!(
            "containers: {{ outgoing: deny }}\ndefaults: {{ outgoing: deny }}\noutgoing:\n  a: {{ ports: 80/tcp, to: any, from: {a} }}\n  \
             d: {{ action: deny, ports: 1-1000/tcp, to: any, from: {d} }}\n  names: {{ ports: 53/udp, from: host, to: any }}\n"
        ))
    };
    assert_eq!(outgoing("{ user: 5 }", "host"), said(5));
    assert_eq!(outgoing("{ interface: br-app }", "containers"), said(5));
    assert_eq!(outgoing("host", "{ user: 5 }"), none);
    assert_eq!(outgoing("[{ user: 5 }, containers]", "host"), none);
}
