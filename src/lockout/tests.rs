//! Refusals, and the changes that they name.

use super::*;
use crate::compile::compile;
use crate::facts::Facts;
use crate::machine::{Listener, Machine};
use crate::net::protocol;
use crate::netlink::{ListeningSocket, RoutedLink};
use crate::policy::parse;
use crate::resolve::resolve;
use crate::ruleset::AddressType;
use crate::simulate::{Asked, Doubt, JustLoaded, Routes, Way};
use std::net::IpAddr;

fn resolved(policy: &str) -> Resolved {
    let policy = parse(policy, "policy.yaml").policy.expect("a policy");
    resolve(&policy, &Facts::default()).expect("a valid one")
}

fn compiled(policy: &str) -> Table {
    compile(&resolved(policy))
}

fn session(client: &str, server: &str, interface: Option<&str>) -> Session {
    Session {
        client: client.parse().expect("an address"),
        client_port: 50_123,
        server: server.parse().expect("a socket address"),
        own: true,
        user: None,
        interface: interface.map(str::to_owned),
        asked: None,
    }
}

fn check(policy: &str, sessions: &[Session]) -> Result<(), Lockouts> {
    let policy = resolved(policy);
    let (id, table) = (TableId::palisade(), compile(&policy));
    Candidate { id: &id, table: &table, policy: Some(&policy), beside: None }.check(sessions)
}

fn refusal(policy: &str, sessions: &[Session]) -> String {
    check(policy, sessions).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_policy_without_ssh_is_refused_with_the_line_to_add() {
    let policy = "version: 1\ndefaults:\n  incoming: deny\nservices:\n  web: { ports: 80/tcp, from: any }\n";

    assert_eq!(
        refusal(policy, &[session("203.0.113.9", "203.0.113.1:22", Some("eth0"))]),
        "\
this policy would lock you out: nothing was changed, the old rules are in force

your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.
Denied by: what else comes in is denied (policy.yaml:3)
To let it in, add to `services` in the policy:

    ssh: { ports: 22/tcp, from: 203.0.113.9 }

To load it all the same: palisade apply --force"
    );
}

#[test]
fn every_session_of_the_operator_that_is_locked_out_is_named() {
    let policy = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 203.0.113.9 }\nblock: 198.51.100.0/24\n";
    let other = Session { own: false, ..session("198.51.100.8", "203.0.113.1:22", Some("eth0")) };
    let sessions = [
        session("203.0.113.9", "203.0.113.1:22", None),
        session("2001:db8::9", "[2001:db8::1]:2222", None),
        other,
        session("198.51.100.7", "203.0.113.1:22", Some("eth0")),
    ];

    let refusal = refusal(policy, &sessions);

    assert!(!refusal.contains("from 203.0.113.9"), "{refusal}");
    assert!(!refusal.contains("198.51.100.8"), "another's is not held against the operator: {refusal}");
    assert!(refusal.contains("your SSH session from 2001:db8::9 to port 2222 could"), "{refusal}");
    assert!(refusal.contains("\n    ssh-2: { ports: 2222/tcp, from: \"2001:db8::9\" }\n"), "{refusal}");
    let blocked = "Denied by: blocked: from those listed (policy.yaml:4)
To let it in, take 198.51.100.7, or what it is a part of, out of `block`, and add to `services` in the policy:

    ssh-2: { ports: 22/tcp, from: 198.51.100.7 }
";
    assert!(refusal.contains(blocked), "{refusal}");
}

/// The remedy of the only session that is refused.
fn remedy(policy: &str, session: &Session) -> Remedy {
    let Lockouts(mut lockouts) = check(policy, std::slice::from_ref(session)).expect_err("a lockout");
    lockouts.pop().expect("a session").remedy
}

#[test]
fn the_line_that_is_named_lets_the_session_in_and_nobody_else() {
    let policies = [
        "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n",
        "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 192.0.2.7 }\n",
        "version: 1\ndefaults: { incoming: reject }\nservices:\n  ssh: { ports: 2222/tcp, from: containers }\n",
    ];
    let sessions = [
        (session("203.0.113.9", "203.0.113.1:22", Some("eth0")), "22/tcp: 203.0.113.9 gains"),
        (session("2001:db8::9", "[2001:db8::1]:22", Some("eth0")), "22/tcp: 2001:db8::9 gains"),
    ];
    let id = TableId::palisade();
    for policy in policies {
        for (session, gains) in &sessions {
            let Remedy::Changes { changes, beside, .. } = remedy(policy, session) else { panic!("no change") };
            let [Change::Service(line)] = &changes[..] else { panic!("{changes:?}") };
            let after = format!("{policy}  {line}\n");

            assert_eq!((check(&after, std::slice::from_ref(session)), beside), (Ok(()), vec![]));
            let changes = crate::access::access_changes(&id, Some(&compiled(policy)), Some(&compiled(&after)));
            // Who comes from an address by an interface of containers is one of them.
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            assert_eq!(changes, [*gains], "{policy}{line}");
        }
    }
}

#[test]
fn each_change_that_is_needed_is_named_and_no_other() {
    let outside = session("203.0.113.9", "203.0.113.1:22", Some("eth0"));
    let neighbour = session("fe80::9", "[fe80::1]:22", Some("eth0"));
    let container = session("172.17.0.2", "172.17.0.1:22", Some("docker0"));
    let ssh = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n";
    let cases = [
        (
            "version: 1\n".to_owned(),
            &outside,
            "add to the policy:\n\n  services:\n    ssh: { ports: 22/tcp, from: 203.0.113.9 }\n",
        ),
        (
            format!("{ssh}  no: {{ ports: 22/tcp, from: 203.0.113.0/24, action: deny }}\n"),
            &outside,
            "add 203.0.113.9 to `except` of the service no (line 4).\n",
        ),
        (
            format!("{ssh}block: 203.0.113.0/24\n"),
            &outside,
            "take 203.0.113.9, or what it is a part of, out of `block`.\n",
        ),
        (
            format!("{ssh}groups: {{ bad: [192.0.2.0/24, 203.0.113.9] }}\nblock: bad\n"),
            &outside,
            "take 203.0.113.9, or what it is a part of, out of `block`.\n",
        ),
        (
            format!("{ssh}block: {{ interface: eth0 }}\n"),
            &neighbour,
            "take eth0, or what it is a part of, out of `block`.\n\nThat changes more than the session's own access:\n  \
             22/tcp by eth0: any gains\n  ping by eth0: any gains\n  out any from host to eth0: any gains\n  \
             out any from containers to eth0: any gains\n",
        ),
        (
            "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n".to_owned(),
            &neighbour,
            "add to `services` in the policy:\n\n    ssh: { ports: 22/tcp, from: \"fe80::9\", on: eth0 }\n",
        ),
        (
            "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n".to_owned(),
            &container,
            "add to `services` in the policy:\n\n    ssh: { ports: 22/tcp, from: containers }\n\n\
             That changes more than the session's own access:\n  22/tcp from containers: any gains\n",
        ),
    ];

    for (policy, session, words) in cases {
        assert_eq!(remedy(&policy, session).to_string(), format!("To let it in, {words}"), "{policy}");
    }
}

#[test]
fn a_session_that_a_service_denies_is_told_of_the_service_and_not_advised_to_be_allowed_by_another() {
    let ssh = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n";
    for rest in ["action: deny }", "action: reject }", "action: deny, log: true }", "action: reject, log: true }"] {
        let policy = format!("{ssh}  shut: {{ ports: any, from: 203.0.113.0/24, {rest}\n");

        assert_eq!(
            refusal(&policy, &[session("203.0.113.9", "203.0.113.1:22", Some("eth0"))]),
            "\
this policy would lock you out: nothing was changed, the old rules are in force

your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.
Denied by: shut from those listed (policy.yaml:4)
To let it in, add 203.0.113.9 to `except` of the service shut (line 4).

To load it all the same: palisade apply --force"
        );
        let after = policy.replace(", action", ", except: 203.0.113.9, action");
        assert_eq!(refusal(&after, &[session("203.0.113.9", "203.0.113.1:22", Some("eth0"))]), "");
    }
}

/// Leads everything to this machine, or from it by eth0.
struct Uplink;

impl Routes for Uplink {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(if asked.incoming.is_some() { Way::Local } else { Way::Out("eth0".to_owned()) })
    }

    fn address_type(&self, _: IpAddr) -> Result<AddressType, Doubt> {
        Ok(AddressType::Unicast)
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(1)
    }
}

#[test]
fn rules_of_others_that_keep_the_session_out_even_with_the_changes_are_named_beside_them() {
    let session = session("203.0.113.9", "203.0.113.1:22", Some("eth0"));
    let policy = resolved("version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n");
    let [id, theirs] = [TableId::palisade(), TableId { name: "others".to_owned(), ..TableId::palisade() }];
    let table = compile(&policy);
    let said = |ssh: &str| {
        let others = compiled(&format!("version: 1\nservices:\n  ssh: {{ ports: 22/tcp, from: {ssh} }}\n"));
        let tables = vec![(&theirs, &others), (&id, &table)];
        let beside = Beside { tables, sets: &JustLoaded, routes: &Uplink };
        let candidate = Candidate { id: &id, table: &table, policy: Some(&policy), beside: Some(&beside) };
        let Lockouts(mut refused) = candidate.check(std::slice::from_ref(&session)).expect_err("a lockout");
        refused.pop().expect("a session").remedy.to_string()
    };
    let line = "To let it in, add to `services` in the policy:\n\n    ssh: { ports: 22/tcp, from: 203.0.113.9 }\n";

    assert_eq!(said("any"), line);
    let others = "dropped by chain default-incoming of table inet others, not by palisade: `drop`";
    assert_eq!(
        said("192.0.2.7"),
        format!(
            "{line}\nEven with that it could not connect again.\nDenied by: {others}\n\
             No line of the policy would let it in: `nft list table inet others` shows all of it.\n"
        )
    );
}

#[test]
fn a_port_forward_that_takes_the_port_from_the_ssh_server_is_a_lockout() {
    let session = session("203.0.113.9", "203.0.113.1:22", Some("eth0"));
    let ssh = "version: 1\nservices:\n  vm: { ports: 22/tcp, from: any, forward_to: 10.77.0.2 }\n";
    let elsewhere = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n  vm: { ports: 23/tcp, from: any, forward_to: \"10.77.0.2:22\" }\n";

    let refusal = refusal(ssh, std::slice::from_ref(&session));

    let expected = "Denied by: sent to 10.77.0.2:22 instead: vm: to where it is answered (policy.yaml:3)
To let it in, take 22/tcp out of the service vm, which forwards it (line 3), and add to `services` in the policy:

    ssh: { ports: 22/tcp, from: 203.0.113.9, on: eth0 }
";
    assert!(refusal.contains(expected), "{refusal}");
    assert_eq!(check(elsewhere, &[session]), Ok(()));
}

#[test]
fn a_port_that_a_service_forwards_elsewhere_is_answered_at_the_address_of_the_session() {
    let session = session("203.0.113.9", "203.0.113.1:2224", Some("eth0"));
    let policy = "version: 1
services:
  vm: { ports: 2224/tcp, from: containers, to: 192.0.2.0/24, forward_to: 10.77.0.2 }
";

    let words = remedy(policy, &session).to_string();

    let line = "ssh: { ports: 2224/tcp, from: 203.0.113.9, on: eth0, to: 203.0.113.1 }";
    assert_eq!(words, format!("To let it in, add to `services` in the policy:\n\n    {line}\n"));
    assert_eq!(check(&format!("{policy}  {line}\n"), &[session]), Ok(()));
}

#[test]
fn without_an_interface_only_what_all_of_them_say_is_certain() {
    let lan = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: { interface: eth1 } }\n";
    let verdict = |policy: &str, client: &str, server: &str, interface| {
        let table = compiled(policy);
        match next(&TableId::palisade(), &table, &session(client, server, interface)) {
            Next::LetIn => "in",
            Next::Denied(_) | Next::Led(..) => "out",
            Next::Untold(_) => "untold",
        }
    };
    let of_lan = |interface| verdict(lan, "203.0.113.9", "203.0.113.1:22", interface);

    assert_eq!([Some("eth0"), Some("eth1"), None].map(of_lan), ["out", "in", "untold"]);
    assert_eq!(verdict("version: 1\n", "203.0.113.9", "127.0.0.1:22", None), "out");
    assert_eq!(verdict("version: 1\n", "127.0.0.1", "127.0.0.1:22", None), "in");
}

/// A machine with an interface of that kind, on which somebody listens at these UDP ports.
fn machine(kind: &str, ports: &[(u16, u64)]) -> Machine {
    let link = RoutedLink { name: "wg0".to_owned(), kind: Some(kind.to_owned()), ..RoutedLink::default() };
    let socket = |&(port, inode): &(u16, u64)| ListeningSocket {
        protocol: protocol::UDP,
        port,
        address: std::net::Ipv6Addr::UNSPECIFIED.into(),
        both: true,
        interface: None,
        inode,
    };
    let listeners = ports.iter().map(|port| Listener { socket: socket(port), process: None }).collect();
    Machine { links: Some(vec![link]), listeners: Some(listeners), ..Machine::default() }
}

#[test]
fn of_a_session_by_a_tunnel_the_outer_path_is_tried_as_well() {
    let session = session("10.8.0.2", "10.8.0.1:22", Some("wg0"));
    let open = "version: 1\nservices:\n  wireguard: { ports: 51820/udp, from: any }\n";
    let shut = "version: 1\nservices:\n  wireguard: { ports: 51820/udp, from: 192.0.2.1 }\n";
    let said = |machine: &Machine, [before, after]: [&str; 2]| {
        let id = TableId::palisade();
        let changes = crate::access::access_changes(&id, Some(&compiled(before)), Some(&compiled(after)));
        outer::of_tunnel(&session, machine, &changes)
    };
    let inside =
        "your SSH session from 10.8.0.2 to port 22 by wg0 comes by a tunnel, and is tried inside of it alone: ";
    let kernel = machine("wireguard", &[(53, 7), (51820, 0)]);

    let may_be_shut = said(&kernel, [open, shut]).unwrap_or_default();

    assert!(
        may_be_shut.starts_with(&format!("{inside}the tunnel itself may not get in again (51820/udp: ")),
        "{may_be_shut}"
    );
    assert_eq!(said(&kernel, [open, open]), None);
    assert_eq!(said(&machine("wireguard", &[(53, 7), (51821, 0)]), [open, shut]), None);
    assert!(said(&machine("tun", &[(51820, 9)]), [open, shut]).is_some());
    let unknown = format!("{inside}can't tell whether the tunnel's own packets get in again");
    assert_eq!(said(&machine("tun", &[]), [open, shut]), Some(unknown));
    assert_eq!(said(&machine("veth", &[(51820, 0)]), [open, shut]), None);
}

#[test]
fn outgoing_that_turns_to_deny_is_warned_of_once() {
    let (free, shut) = ("version: 1\n", "version: 1\ndefaults: { outgoing: deny }\n");
    let ldap = "version: 1\ndefaults: { outgoing: deny }\noutgoing:\n  users: { ports: [88/tcp, 389/tcp, 636/tcp], from: host, to: any }\n";
    let warned = |before: Option<&str>, after: &str| {
        let (before, policy) = (before.map(compiled), resolved(after));
        outer::of_directory(&TableId::palisade(), before.as_ref(), &policy, &compile(&policy)).is_some()
    };

    assert_eq!([None, Some(free), Some(shut)].map(|before| warned(before, shut)), [true, true, false]);
    assert_eq!([warned(Some(free), ldap), warned(Some(shut), free)], [false, false]);
}

#[test]
fn a_session_of_a_container_is_let_in_as_one() {
    let sessions = [session("172.17.0.2", "172.17.0.1:22", Some("docker0"))];

    let refusal = refusal("version: 1\n", &sessions);

    assert!(refusal.contains("\n    ssh: { ports: 22/tcp, from: containers }\n"), "{refusal}");
}

#[test]
fn an_interface_has_no_name_that_a_terminal_would_obey() {
    let sessions = [session("203.0.113.9", "203.0.113.1:22", Some("\u{1b}[2J\n\u{202e}"))];

    let refusal = refusal("version: 1\n", &sessions);

    let named =
        "your SSH session from 203.0.113.9 to port 22 by \\u{1b}[2J\\u{a}\\u{202e} could not connect again.\n";
    assert!(refusal.contains(named), "{refusal}");
    assert!(!refusal.contains(|c| crate::printable::is_invisible(c) && c != '\n'), "{refusal}");
}
