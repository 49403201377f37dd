//! A policy is held against a real machine: bridges, cards, gateways, published ports and sshd, each with its control.
#![allow(missing_docs)]

mod support;

use std::net::{IpAddr, SocketAddr};
use support::echo::Echo;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::{Namespace, Output};
use support::probe::{PATIENCE, SILENCE, talks};
use support::sshd::Sshd;

const SSH: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  web: { ports: 8080/tcp, from: any }
";

/// A guest behind a bridge, whose port 80 is published as 8080 by rules like Docker's.
struct Guest {
    inside: Namespace,
    _echo: Echo,
}

impl Guest {
    /// Whether the guest reaches the client, over IPv4 and IPv6.
    fn reaches_out(&self, lab: &Lab) -> [bool; 2] {
        let _echo = lab.client.listen(&CLIENT.map(|address| SocketAddr::new(address, 4242)), &[]);
        let own: [IpAddr; 2] = ["172.20.0.2", "fd20::2"].map(|own| own.parse().expect("an address"));
        [0, 1].map(|family| {
            let to = SocketAddr::new(CLIENT[family], 4242);
            self.inside.connect(own[family], to, PATIENCE).is_ok_and(|mut stream| talks(&mut stream, PATIENCE))
        })
    }
}

fn guest(lab: &Lab, bridge: &str) -> Guest {
    let inside = Namespace::new();
    lab.forward();
    lab.host.ip(&format!("link add {bridge} type bridge"));
    lab.host.ip(&format!("address add 172.20.0.1/16 dev {bridge}"));
    lab.host.ip(&format!("address add fd20::1/64 dev {bridge} nodad"));
    lab.host.ip(&format!("link set {bridge} up"));
    lab.host.ip(&format!("link add guest0 type veth peer name eth0 netns {}", inside.path()));
    lab.host.ip(&format!("link set guest0 master {bridge} up"));
    inside.ip("address add 172.20.0.2/16 dev eth0");
    inside.ip("address add fd20::2/64 dev eth0 nodad");
    inside.ip("link set eth0 up");
    inside.ip("-4 route add default via 172.20.0.1");
    inside.ip("-6 route add default via fd20::1");
    for (family, address) in [("ip", "172.20.0.2:80"), ("ip6", "[fd20::2]:80")] {
        lab.host.nft_load(&format!(
            "table {family} nat {{ chain DOCKER {{ type nat hook prerouting priority dstnat; iifname != \"{bridge}\" tcp dport \
             8080 dnat to {address}; }}; }}"
        ));
    }
    let listening: Vec<SocketAddr> =
        ["172.20.0.2:80", "[fd20::2]:80"].map(|at| at.parse().expect("an address")).into();
    let echo = inside.listen(&listening, &[]);
    Guest { inside, _echo: echo }
}

/// Whether the client reaches the published port, over IPv4 and IPv6.
fn reached(lab: &Lab) -> [bool; 2] {
    [0, 1].map(|family| {
        let to = SocketAddr::new(HOST[family], 8080);
        lab.client.connect(CLIENT[family], to, PATIENCE).is_ok_and(|mut stream| talks(&mut stream, PATIENCE))
    })
}

fn with(lab: &Lab, policy: &str, arguments: &[&str]) -> Output {
    lab.write_policy("policy.yaml", policy);
    lab.palisade("policy.yaml", arguments)
}

/// What `check --json` says: whether it is valid, the problems and the warnings with their lines.
fn checked(lab: &Lab, policy: &str) -> (bool, Vec<String>, Vec<String>) {
    let said = with(lab, policy, &["check", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let texts = |name: &str| {
        let one = |found: &serde_json::Value| {
            format!("{}: {}", found["line"], found["message"].as_str().expect("a message"))
        };
        said[name].as_array().expect("a list").iter().map(one).collect::<Vec<_>>()
    };
    (said["valid"] == true, texts("problems"), texts("warnings"))
}

/// Without the notes, which are about sockets and services.
fn without_notes(warnings: Vec<String>) -> Vec<String> {
    warnings.into_iter().filter(|text| !text.contains("nothing listens on")).collect()
}

#[test]
fn an_engines_bridge_that_no_line_names_is_refused_until_the_line_that_is_given_is_there() {
    for bridge in ["mybr0", "app", "net-web", "dmz.7"] {
        let lab = Lab::new();
        let guest = guest(&lab, bridge);
        assert_eq!(reached(&lab), [true; 2], "before anything is loaded");
        assert_eq!(guest.reaches_out(&lab), [true; 2], "before anything is loaded");
        let problem = format!(
            "null: the policy does not name {bridge} (the bridge of a port that Docker publishes): its containers count as \
             anybody with their addresses, so that `from: private` lets them in and `from: containers` does not, and what is \
             forwarded for them is denied"
        );
        let (valid, problems, _) = checked(&lab, SSH);
        assert_eq!((valid, problems), (false, vec![problem.clone()]));

        let refused = with(&lab, SSH, &["apply"]);
        let begin = format!("error: {}\n", problem.strip_prefix("null: ").expect("it begins so"));
        assert_eq!(refused.status, Some(1));
        assert!(refused.stderr.starts_with(&begin), "{}", refused.stderr);
        assert!(refused.stderr.ends_with(
            "nothing was changed, the old rules are in force\nTo load it all the same: palisade apply --force\n"
        ));
        assert!(!lab.host.nft_list().contains("palisade"));

        let line = refused.stderr.split("write `").nth(1).and_then(|rest| rest.split('`').next()).expect("a line");
        let named = format!("{SSH}{line}\nexpect: [{{ allow: 8080/tcp, from: any }}]\n");
        let proved = format!("its expectation is proved on this machine, with {bridge} as it is\n");
        let check = with(&lab, &named, &["check"]).success();
        assert!(check.ends_with(&proved), "{check}");
        assert!(with(&lab, &named, &["apply"]).success().starts_with("applied: "));
        assert_eq!(reached(&lab), [true; 2]);
        assert_eq!(guest.reaches_out(&lab), [true; 2]);

        let forced = with(&lab, SSH, &["apply", "--force"]);
        assert!(forced.stderr.starts_with("warning: the policy does not name "), "{}", forced.stderr);
        forced.success();
        // What waits to be refused takes its time: once is enough.
        if bridge == "mybr0" {
            assert_eq!(guest.reaches_out(&lab), [false; 2]);
        }
    }
}

#[test]
fn what_is_expected_of_a_published_port_is_not_proved_where_the_guests_answers_are_blocked() {
    let lab = Lab::new();
    let _guest = guest(&lab, "mybr0");
    for (block, family) in [("172.20.0.0/16", 0), ("\"fd20::/64\"", 1)] {
        let policy = |more: &str| {
            format!(
                "{SSH}groups: {{ guests: [{{ interface: mybr0 }}] }}\ndefaults: {{ forward: allow }}\n{more}expect: [{{ allow: 8080/tcp, from: [203.0.113.9, \"2001:db8::9\"] }}]\n"
            )
        };
        let group = "  api: { ports: 9/tcp, from: guests }\n";
        let policy = |more: &str| policy(more).replace("groups:", &format!("{group}groups:"));
        let (valid, problems, _) = checked(&lab, &policy(""));
        assert_eq!((valid, problems), (true, Vec::new()));
        let blocked = policy(&format!("block: {block}\n"));
        let (valid, problems, _) = checked(&lab, &blocked);
        assert!(!valid && problems.len() == 1, "{problems:?}");
        assert!(
            problems[0].contains("8080/tcp is expected to be open from")
                && problems[0].contains("its answer is stopped"),
            "{problems:?}"
        );

        with(&lab, &policy(""), &["apply"]).success();
        assert_eq!(reached(&lab), [true; 2]);
        with(&lab, &blocked, &["apply", "--force"]).success();
        let mut expected = [true; 2];
        expected[family] = false;
        assert_eq!(reached(&lab), expected);
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    }
}

#[test]
fn what_is_expected_is_not_proved_where_another_table_or_a_route_stands_against_it() {
    let lab = Lab::new();
    let _echo = lab.host.listen(&HOST.map(|own| SocketAddr::new(own, 22)), &[]);
    let opens = || {
        [0, 1].map(|family| {
            let to = SocketAddr::new(HOST[family], 22);
            lab.client.connect(CLIENT[family], to, SILENCE).is_ok_and(|mut stream| talks(&mut stream, SILENCE))
        })
    };
    let policy = |expects: &str| format!("{SSH}defaults: {{ forward: allow }}\nexpect: [{expects}]\n");
    for (family, (rule, sentence)) in [
        ("ip saddr 203.0.113.9 drop", "22/tcp of 203.0.113.1 is expected to be open from 203.0.113.9 by eth0, and on this machine it is not: dropped by chain c of table inet x, not by palisade: `ip saddr 203.0.113.9 drop`"),
        ("ip6 saddr 2001:db8::9 drop", "22/tcp of 2001:db8::1 is expected to be open from 2001:db8::9 by eth0, and on this machine it is not: dropped by chain c of table inet x, not by palisade: `ip6 saddr 2001:db8::9 drop`"),
    ]
    .into_iter()
    .enumerate()
    {
        let expects = policy("{ allow: 22/tcp, from: [203.0.113.9, \"2001:db8::9\"] }");
        assert_eq!(checked(&lab, &expects).1, Vec::<String>::new());
        with(&lab, &expects, &["apply"]).success();
        assert_eq!(opens(), [true; 2]);
        lab.host.nft_load(&format!("table inet x {{ chain c {{ type filter hook input priority 5; {rule}; }}; }}"));
        assert_eq!(checked(&lab, &expects).1, [format!("6: {sentence}")]);
        assert!(with(&lab, &expects, &["apply"]).stderr.starts_with(&format!("error: {sentence}\n")));
        assert_eq!(opens(), [family == 1, family == 0]);
        lab.host.nft_load("delete table inet x");
    }
    // It does not forward.
    let across = policy("{ allow: 80/tcp, from: 10.77.0.2, to: 203.0.113.9 }");
    let (valid, problems, _) = checked(&lab, &across);
    assert!(!valid && problems.len() == 1, "{problems:?}");
    lab.forward();
    assert_eq!(checked(&lab, &across).1, Vec::<String>::new());
}

#[test]
fn an_expectation_of_which_it_can_not_be_told_is_a_warning_and_not_called_proved() {
    let lab = Lab::new();
    let both =
        format!("{SSH}expect: [{{ allow: 22/tcp, from: 203.0.113.9 }}, {{ deny: 23/tcp, from: 203.0.113.9 }}]\n");
    let said = || {
        let (valid, problems, warnings) = checked(&lab, &both);
        assert!(valid && problems.is_empty(), "{problems:?}");
        let proof = with(&lab, &both, &["check"]).stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        (
            without_notes(warnings).into_iter().filter(|said| said.contains("expected to be")).collect::<Vec<_>>(),
            proof,
        )
    };

    assert_eq!(
        said(),
        (
            Vec::new(),
            vec![
                "its 2 expectations are proved on this machine, which has no interface of containers now".to_owned()
            ]
        )
    );
    // Half of the packets of one port get lost.
    lab.host.nft_load(
        "table inet x { chain c { type filter hook input priority 5; tcp dport 22 numgen random mod 2 0 drop; }; }",
    );
    let (warnings, proof) = said();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(
        warning.starts_with(
            "5: 22/tcp of 203.0.113.1 is expected to be open from 203.0.113.9 by eth0, and whether it is on this machine \
             can't be told: "
        ),
        "{warning}"
    );
    assert_eq!(
        proof,
        [
            "1 of its 2 expectations are proved; of the other 1 it can't be told on this machine, which has no interface of \
          containers now"
        ]
    );
}

#[test]
fn a_router_with_two_cards_is_told_what_it_cuts_off() {
    let cut_off = |name: &str| {
        format!(
            "null: this machine forwards, and the policy cuts off what is behind {name}: `forward: deny` stops what comes from \
             there, and what goes there"
        )
    };
    let lab = Lab::new();
    assert_eq!(without_notes(checked(&lab, SSH).2), Vec::<String>::new(), "it does not forward");
    let _echo = lab.client.listen(&CLIENT.map(|address| SocketAddr::new(address, 4242)), &[]);
    let across = || {
        [0, 1].map(|family| {
            let to = SocketAddr::new(CLIENT[family], 4242);
            lab.lan.connect(LAN[family], to, PATIENCE).is_ok_and(|mut stream| talks(&mut stream, PATIENCE))
        })
    };
    lab.forward();
    assert_eq!(across(), [true; 2], "before anything is loaded");

    assert_eq!(without_notes(checked(&lab, SSH).2), [cut_off("eth1")]);
    let applied = with(&lab, SSH, &["apply"]);
    assert!(applied.stderr.starts_with("warning: this machine forwards, and"), "{}", applied.stderr);
    applied.success();
    assert_eq!(across(), [false; 2]);

    let allowed = format!("{SSH}defaults: {{ forward: allow }}\n");
    assert_eq!(without_notes(checked(&lab, &allowed).2), Vec::<String>::new());
    assert_eq!(with(&lab, &allowed, &["apply"]).stderr, "");
    assert_eq!(across(), [true; 2]);

    lab.host.ip("link add ve-web type veth peer name host0");
    lab.host.ip("address add 10.9.0.1/28 dev ve-web");
    lab.host.ip("link set ve-web up");
    lab.host.ip("link add wires type veth peer name host1");
    lab.host.ip("address add fd07::1/64 dev wires nodad");
    lab.host.ip("link set wires up");
    // Those that systemd-nspawn names so are containers' by default.
    assert_eq!(without_notes(checked(&lab, SSH).2), [cut_off("eth1 and wires")]);
}

#[test]
fn a_blocked_gateway_or_name_server_is_refused() {
    let lab = Lab::new();
    lab.name_servers("nameserver 9.9.9.9\nnameserver 2001:db8::9\n");
    lab.host.ip("-6 route replace default via fe80::99 dev eth0");
    for (block, words) in [
        ("203.0.113.9", "`block` covers 203.0.113.9, a gateway of eth0 (203.0.113.9)"),
        ("[203.0.0.0/8, 198.51.100.1]", "`block` covers 203.0.113.9, a gateway of eth0 (203.0.0.0/8)"),
        ("\"fe80::/10\"", "`block` covers fe80::99, a gateway of eth0 (fe80::/10)"),
        ("9.0.0.0/8", "`block` covers 9.9.9.9, a name server that this machine asks (9.0.0.0/8)"),
        ("\"2001:db8::9\"", "`block` covers 2001:db8::9, a name server that this machine asks (2001:db8::9)"),
    ] {
        let policy = format!("{SSH}block: {block}\n");
        let (valid, problems, warnings) = checked(&lab, &policy);
        assert_eq!((valid, problems), (true, Vec::new()));
        assert!(warnings.iter().any(|warning| warning.starts_with(&format!("5: {words}"))), "{warnings:?}");
        let refused = with(&lab, &policy, &["apply"]);
        assert!(
            refused.status == Some(1) && refused.stderr.contains(&format!("error: {words}")),
            "{}",
            refused.stderr
        );
        assert!(!lab.host.nft_list().contains("palisade"));
        with(&lab, &policy, &["apply", "--force"]).success();
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    }
    for fits in ["198.51.100.0/24", "\"2001:db8:1::/48\"", "[192.0.2.7, 9.9.9.8]"] {
        with(&lab, &format!("{SSH}block: {fits}\n"), &["apply"]).success();
    }
}

#[test]
fn an_interface_by_whose_name_nothing_comes_in_is_warned_of_with_the_name_that_carries_it() {
    let lab = Lab::new();
    lab.host.ip("link property add dev eth0 altname enp9s0");
    lab.host.ip("link add br0 type bridge");
    lab.host.ip("link add port0 type veth peer name port1");
    lab.host.ip("link set port0 master br0");
    for (name, why) in [
        ("enp9s0", "it is another name of eth0, and rules see packets under the first"),
        ("port0", "it is a port of the bridge br0, and its packets come in by that"),
        ("eht0", "this machine has no such interface now"),
        ("ens18", "this machine has no such interface now"),
    ] {
        let policy = format!("{SSH}  api: {{ ports: 9/tcp, from: any, on: {name} }}\n");
        let warning = format!("5: service api (`on`) names `{name}`, by which no packet comes in: {why}");
        let (valid, problems, warnings) = checked(&lab, &policy);
        assert_eq!((valid, problems, without_notes(warnings)), (true, Vec::new(), vec![warning]));
    }
    let policy = format!("{SSH}  api: {{ ports: 9/tcp, from: any, on: [eth0, br0, \"wg*\"] }}\n");
    assert_eq!(without_notes(checked(&lab, &policy).2), Vec::<String>::new());
}

#[test]
fn from_the_console_ssh_is_not_shut_to_everyone_and_a_stranger_at_port_22_counts_for_nothing() {
    for port in [22, 2222] {
        let served = Sshd::new(port);
        let lab = &served.lab;
        let shut = "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n";
        let message = format!(
            "nobody could reach this machine by SSH: sshd listens on {port}/tcp, and no service lets anybody in there"
        );
        // Whoever connects and never logs in is no session, and is not let in by a remedy.
        let strangers: Vec<_> = HOST_ON_LAN
            .into_iter()
            .zip(LAN)
            .map(|(to, from)| lab.lan.connect(from, SocketAddr::new(to, port), PATIENCE).expect("sshd listens"))
            .collect();
        assert!(checked(lab, shut).2.contains(&format!("null: {message}")));
        let refused = with(lab, shut, &["apply"]);
        assert!(
            refused.status == Some(1) && refused.stderr.starts_with(&format!("error: {message}\n")),
            "{}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("10.77.0.2") && !refused.stderr.contains("fd77::2"), "{}", refused.stderr);
        assert!(!lab.host.nft_list().contains("palisade"));

        let open = format!("{shut}  ssh: {{ ports: {port}/tcp, from: 192.0.2.1 }}\n");
        for block in ["", "block: [10.77.0.2, \"fd77::2\"]\n"] {
            let applied = with(lab, &format!("{open}{block}"), &["apply"]);
            assert_eq!(applied.stderr, "", "{block}");
            applied.success();
        }
        let forced = with(lab, shut, &["apply", "--force"]);
        assert!(forced.stderr.starts_with(&format!("warning: {message}\n")), "{}", forced.stderr);
        forced.success();
        drop(strangers);
    }
}

#[test]
fn what_apply_refuses_on_this_machine_is_loaded_at_boot() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    let _guest = guest(lab, "mybr0");
    lab.name_servers("nameserver 198.51.100.53\n");
    let policy = "version: 1
services:
  web: { ports: 8080/tcp, from: any }
block: [203.0.113.9, 198.51.100.53]
";
    let refused = with(lab, policy, &["apply", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&refused.stdout).expect("JSON");
    let problems = said["problems"].as_array().expect("a list");
    let message = |problem: &serde_json::Value| problem["message"].as_str().expect("a message").to_owned();
    let mut reasons: Vec<String> = problems.iter().map(message).collect();
    reasons.sort_unstable();
    let begins = [
        "`block` covers 198.51.100.53, a name server that this machine asks",
        "`block` covers 203.0.113.9, a gateway of eth0",
        "nobody could reach this machine by SSH",
        "the policy does not name mybr0 (the bridge of a port that Docker publishes)",
    ];
    assert_eq!((refused.status, reasons.len()), (Some(1), begins.len()), "{reasons:?}");
    for (reason, begin) in reasons.iter().zip(begins) {
        assert!(reason.starts_with(begin), "{reason}");
    }
    assert!(!lab.host.nft_list().contains("palisade"));

    let booted: serde_json::Value =
        serde_json::from_str(&lab.palisade("policy.yaml", &["boot", "--json"]).success()).expect("JSON");

    assert_eq!((&booted["booted_from"], &booted["why"]), (&serde_json::json!("policy"), &serde_json::Value::Null));
    lab.palisade("policy.yaml", &["diff"]).success();
    let ssh = SocketAddr::new(HOST_ON_LAN[0], 22);
    assert!(lab.lan.connect(LAN[0], ssh, SILENCE).is_err(), "the policy is in force: nobody reaches sshd");
}
