//! What is said of policies that are valid, and probably do not mean what they say.
#![allow(missing_docs)]

use palisade::desired::load_and_prove;
use palisade::facts::Facts;
use palisade::names::Names;
use palisade::policy::parse;
use palisade::resolve::{resolve, ssh_is_shut};
use std::fs;

/// The warnings of a policy: where, what, and the remedy.
fn warnings(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, text).expect("the policy can be written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("the mode can be set");
    let loaded = load_and_prove(&path, &Names::default()).unwrap_or_else(|problems| panic!("{problems}"));
    let shown = |warning: palisade::policy::Problem| {
        let at = warning.line.map(|line| format!("{line}: ")).unwrap_or_default();
        format!("{at}{} | {}", warning.message, warning.help.expect("a remedy"))
    };
    loaded.warnings.warnings().into_iter().map(shown).collect()
}

/// The warnings of a policy in which SSH is open to everyone.
fn beside_ssh(text: &str) -> Vec<String> {
    warnings(&format!("version: 1\nservices:\n  ssh: {{ ports: 22/tcp, from: any }}\n{text}"))
}

#[test]
fn a_policy_that_means_what_it_says_is_not_warned_of() {
    let text = "  \
  web: { ports: 80/tcp, from: any, except: [office, 192.0.2.1], on: eth0 }
  db: { ports: 5432/tcp, from: [inner, { interface: wg0 }], on: [wg*, eth0], limit: 6/minute }
  admin: { ports: 22/tcp, from: office, log: true }
  guests: { ports: 53/udp, from: [{ interface: eth1 }], on: eth* }
groups:
  office: [203.0.113.0/24]
  inner: [office]
  blocked: [198.51.100.0/24]
block: blocked
";
    assert_eq!(beside_ssh(text), Vec::<String>::new());
}

#[test]
fn a_service_that_nobody_can_reach_is_named_with_the_reason() {
    let why = "write who may reach it, or remove the service: what no service allows is denied";
    let fewer = "name fewer in `except`, or remove the service";
    let cases = [
        ("from: empty }\ngroups: { empty: [] }", format!("nobody is in its `from` | {why}")),
        (
            "from: [10.0.0.0/8, 192.168.0.0/16], except: private }",
            format!("its `except` names everyone whom its `from` names | {fewer}"),
        ),
        (
            "from: 192.0.2.0/24, except: [192.0.2.0/25, 192.0.2.128/25] }",
            format!("its `except` names everyone whom its `from` names | {fewer}"),
        ),
        (
            "from: { interface: wg0 }, except: [{ interface: wg* }] }",
            format!("its `except` names everyone whom its `from` names | {fewer}"),
        ),
        (
            "from: any, except: [0.0.0.0/0, \"::/0\"] }",
            format!("its `except` names everyone whom its `from` names | {fewer}"),
        ),
        (
            "from: 192.0.2.1 }\nblock: 192.0.2.0/24",
            "`block` names everyone whom its `from` names | take them out of `block`, or remove the service".to_owned(),
        ),
        (
            "from: { interface: wg0 }, on: eth0 }",
            "whom its `from` names comes in by none of these interfaces | leave `on` out: an interface in `from` says by \
             which one they come in"
                .to_owned(),
        ),
    ];
    for (rest, expected) in cases {
        let found = beside_ssh(&format!("  web: {{ ports: 80/tcp, {rest}\n"));
        assert_eq!(found, [format!("4: nobody can reach the service `web`: {expected}")], "{rest}");
    }
    let met = "  web: { ports: 80/tcp, from: [192.0.2.0/24, { interface: wg0 }], except: 192.0.2.0/24 }\n";
    assert_eq!(beside_ssh(met), Vec::<String>::new());
}

#[test]
fn a_service_that_another_one_makes_needless_is_named_with_it() {
    let found = beside_ssh("  office: { ports: 22/tcp, from: 192.0.2.0/24, limit: 6/minute }\n");
    assert_eq!(
        found,
        [
            "4: the service `office` allows nothing that `ssh` does not allow anyway | remove `office`, or narrow `ssh`: what \
          one service allows no other one takes back"
        ]
    );
    for narrower in ["limit: 6/minute", "except: 192.0.2.1", "on: eth0", "to: 192.0.2.1"] {
        let text = format!(
            "  wide: {{ ports: 1-100/udp, from: any, {narrower} }}\n  one: {{ ports: 53/udp, from: 192.0.2.0/24 }}\n"
        );
        assert_eq!(beside_ssh(&text), Vec::<String>::new(), "{narrower}");
    }
    let twins = beside_ssh("  a: { ports: 80/tcp, from: 192.0.2.1 }\n  b: { ports: 80/tcp, from: 192.0.2.1 }\n");
    assert_eq!(twins.len(), 1);
    assert!(twins[0].starts_with("5: the service `b` allows nothing that `a`"), "{twins:?}");
}

#[test]
fn a_group_that_nothing_uses_is_named_and_one_that_only_an_expectation_uses_is_not() {
    let text = "groups: { a: [b], b: [192.0.2.1], c: [192.0.2.2] }\nexpect: [{ deny: 80/tcp, from: c }]\n";
    let remedy = "remove it, or name it in the `from` of a service, in a rule or in `block`";
    assert_eq!(
        beside_ssh(text),
        [format!("4: nothing uses the group `a` | {remedy}"), format!("4: nothing uses the group `b` | {remedy}")]
    );
}

#[test]
fn an_address_that_is_admitted_and_blocked_is_named_once_for_each_group() {
    let text = "  web: { ports: 80/tcp, from: office }\n  db: { ports: 5432/tcp, from: office }\n\
                groups: { office: [staff, \"2001:db8::/32\"], staff: [203.0.113.64/26, 203.0.113.66, 203.0.113.67] }\n\
                block: [203.0.113.66, 198.51.100.0/24]\n";
    assert_eq!(
        beside_ssh(text),
        [
            "4: 203.0.113.66 is in the group `office` and in `block`: `web` does not admit it | take it out of one of the two"
        ]
    );
}

#[test]
fn a_machine_that_may_send_nothing_is_warned_of() {
    let found = beside_ssh("defaults: { outgoing: reject }\n");
    assert_eq!(
        found,
        ["4: this machine may open no connection: it can't look up names, fetch updates or tell the time | write \
          `defaults: { outgoing: allow }` if that is not meant"]
    );
}

#[test]
fn a_machine_that_no_rule_lets_ask_for_names_is_warned_of_and_one_that_asks_is_not() {
    let with = |rules: &str| beside_ssh(&format!("defaults: {{ outgoing: deny }}\noutgoing: {{ {rules} }}\n"));
    let warning = "4: this machine can't look up names: no rule of `outgoing` lets it ask port 53 or 853 | write `outgoing: { names: \
                   { ports: [53/udp, 53/tcp], from: host, to: any } }`, with your name servers in the place of `any` if they stay the \
                   same";
    for rules in
        ["web: { ports: 443/tcp, from: host, to: any }", "mail: { ports: 25/tcp, from: { user: root }, to: any }"]
    {
        assert_eq!(with(rules), [warning], "{rules}");
    }
    for rules in [
        "names: { ports: 53/udp, from: host, to: 9.9.9.9 }",
        "names: { ports: 1-1000/tcp, from: { user: root }, to: any }",
        "names: { ports: 853/tcp, from: resolvers, to: 9.9.9.9 }",
        "all: { ports: any, from: host, to: 192.0.2.0/24 }",
    ] {
        let groups = if rules.contains("resolvers") { "groups: { resolvers: [{ user: root }] }\n" } else { "" };
        let text = format!("{groups}defaults: {{ outgoing: deny }}\noutgoing: {{ {rules} }}\n");
        assert_eq!(beside_ssh(&text), Vec::<String>::new(), "{rules}");
    }
}

#[test]
fn a_group_that_only_a_rule_or_a_translation_names_is_used() {
    let text = "defaults: { outgoing: deny, forward: deny }
groups: { a: [192.0.2.1], b: [{ interface: eth1 }], c: [{ interface: eth2 }], d: [198.51.100.0/24], e: [{ interface: eth3 }] }
outgoing: { out: { ports: any, from: host, to: a } }
forward: { on: { ports: any, from: b, to: c, except: d } }
nat: { on: { from: e, to: { interface: eth0 } } }
";
    assert_eq!(beside_ssh(text), Vec::<String>::new());
}

#[test]
fn a_rule_that_another_one_makes_needless_is_named_with_it() {
    let with = |outgoing: &str, forward: &str| {
        let names = "names: { ports: 53/udp, from: host, to: any }";
        beside_ssh(&format!(
            "defaults: {{ outgoing: deny, forward: deny }}\noutgoing: {{ {names}{outgoing} }}\nforward: {{ {forward} }}\n"
        ))
    };
    let needless = [
        "6: the rule `one` allows nothing that `all` does not allow anyway | remove `one`, or narrow `all`: what one rule allows \
         no other rule that allows takes back",
    ];
    let wide = "all: { ports: any, from: { interface: eth1 }, to: any }";
    let one = "one: { ports: [443/tcp, ping], from: { interface: eth1 }, to: 192.0.2.0/24 }";
    assert_eq!(with("", &format!("{wide}, {one}")), needless);
    let user = ", one: { ports: 53/udp, from: { user: root }, to: 9.9.9.9 }";
    assert_eq!(with(user, "").len(), 1);
    for narrower in [
        "all: { ports: any, from: { interface: eth1 }, to: 192.0.2.128/25 }",
        "all: { ports: any, from: { interface: eth2 }, to: any }",
        "all: { ports: any, from: { interface: eth1 }, to: any, except: 10.0.0.1 }",
        "all: { ports: any, from: { interface: eth1 }, to: any, on: eth7 }",
        "all: { ports: 443/tcp, from: { interface: eth1 }, to: any }",
        "all: { ports: any, from: { interface: eth1 }, to: any, action: reject }",
    ] {
        assert_eq!(with("", &format!("{narrower}, {one}")), Vec::<String>::new(), "{narrower}");
    }
}

#[test]
fn ssh_that_nobody_can_reach_is_warned_of() {
    let shut = |text: &str, ports: &[u16]| {
        let policy = parse(&format!("version: 1\n{text}\n"), "policy.yaml").policy.expect("a policy");
        let policy = resolve(&policy, &Facts::default()).expect("no problem");
        let warning = ssh_is_shut(&policy, &ports.iter().copied().collect());
        warning.map(|warning| format!("{} | {}", warning.message, warning.help.expect("a remedy")))
    };
    let warning = "SSH can be reached by nobody: no service allows 22/tcp | add `services: { ssh: { ports: 22/tcp, from: any } }`, with \
                   your addresses in the place of `any` if they stay the same";
    for text in [
        "",
        "services: { admin: { ports: 22/udp, from: any } }",
        "services: { admin: { ports: 22/tcp, from: 192.0.2.1, except: 192.0.2.1 } }",
    ] {
        assert_eq!(shut(text, &[22]).as_deref(), Some(warning), "{text}");
    }
    // The line that is named takes no name that a service has.
    let taken = shut("services: { ssh: { ports: 22/udp, from: any }, ssh-2: { ports: 1/udp, from: any } }", &[22]);
    assert!(taken.is_some_and(|said| said.contains("add `services: { ssh-3: { ports: 22/tcp, from: any } }`")));
    assert!(shut("", &[22, 2222]).is_some_and(|said| said.contains("no service allows 22/tcp or 2222/tcp")));
    for open in ["services: { many: { ports: 1-1000/tcp, from: 192.0.2.1 } }", "defaults: { incoming: allow }"] {
        assert_eq!(shut(open, &[22, 2222]), None, "{open}");
    }
    assert_eq!(shut("", &[]), None);
}
