//! Why a policy denies, in full, and what is suggested, for each kind of reason.

use super::{Refused, Wanted, in_full, suggestion, why};
use crate::compile::Denial;
use crate::facts::Facts;
use crate::net::Transport;
use crate::policy::parse;
use crate::resolve::{Resolved, resolve};
use std::net::IpAddr;

const POLICY: &str = "version: 1
groups:
  trusted: [203.0.113.9, 203.0.113.10, \"2001:db8::9\"]
  office: [192.0.2.0/24]
  bad: [198.51.100.13, 198.51.100.64/26]
  guests: [{ temporary: 12h }]
block: [bad]
services:
  dashboard: { ports: 9000/tcp, from: trusted }
  files: { ports: 445/tcp, from: [trusted, office, 198.51.100.7], except: 203.0.113.10 }
  visit: { ports: 8080/tcp, from: guests }
  closed: { ports: 23/tcp, action: deny, from: any, except: [trusted, \"2001:db8::7\"] }
  ssh: { ports: 22/tcp, from: any, limit: 6/minute }
  first: { ports: 7000/tcp, from: 198.51.100.20 }
  second: { ports: 7000/tcp, from: 192.0.2.0/24, except: 192.0.2.5 }
  inside: { ports: 81/tcp, from: any, on: eth1 }
  web: { ports: 8443/tcp, from: [trusted, 198.51.100.7], forward_to: 10.0.0.5 }
forward:
  lan: { ports: 443/tcp, from: trusted, to: 10.0.0.0/24 }
";

fn policy() -> Resolved {
    resolved(POLICY)
}

fn resolved(text: &str) -> Resolved {
    let parsed = parse(text, "policy.yaml");
    assert_eq!(parsed.problems, []);
    resolve(&parsed.policy.expect("a policy"), &Facts::default()).unwrap_or_else(|all| panic!("{all:?}"))
}

fn refused(source: &str, port: u16) -> Refused {
    let source: IpAddr = source.parse().expect("an address");
    Refused { towards: Denial::Incoming, source, what: Wanted::Port(Transport::Tcp, port), to: None }
}

/// The reason, and the lines.
fn said(refused: &Refused) -> (String, String) {
    let policy = policy();
    (in_full(&policy, refused, &why(&policy, refused)), suggestion(&policy, refused))
}

fn both(full: &str, lines: &str) -> (String, String) {
    (full.to_owned(), lines.to_owned())
}

#[test]
fn who_is_not_in_from_is_told_whom_the_service_admits_and_gets_a_line_of_their_own() {
    assert_eq!(
        said(&refused("198.51.100.9", 9000)),
        both(
            "dashboard admits trusted (3 addresses); 198.51.100.9 is not among them",
            "services:\n  tcp-9000:\n    ports: 9000/tcp\n    from: 198.51.100.9\n\
             # the same by a command:\n#   palisade add 9000/tcp --from 198.51.100.9 --name tcp-9000\n\
             # or into the group trusted, which opens dashboard, files, web, lan:\n\
             #   palisade group add trusted 198.51.100.9\n"
        )
    );
    assert_eq!(
        said(&refused("2001:db8::66", 8080)),
        both(
            "visit admits guests; 2001:db8::66 is not among them",
            "services:\n  tcp-8080:\n    ports: 8080/tcp\n    from: \"2001:db8::66\"\n\
             # the same by a command:\n#   palisade add 8080/tcp --from 2001:db8::66 --name tcp-8080\n\
             # or for a time, without a change of the policy:\n#   palisade allow 2001:db8::66 --group guests\n"
        )
    );
    assert_eq!(
        said(&refused("198.51.100.9", 445)).0,
        "files admits office (1 network), trusted (3 addresses), 198.51.100.7; 198.51.100.9 is not among them"
    );
}

#[test]
fn where_a_second_service_would_contradict_the_first_its_whole_list_is_printed() {
    assert_eq!(
        said(&refused("198.51.100.9", 8443)),
        both(
            "web admits trusted (3 addresses), 198.51.100.7; 198.51.100.9 is not among them",
            "# its whole `from` with the address in it:\nservices:\n  web:\n    from: [trusted, 198.51.100.7, 198.51.100.9]\n"
        )
    );
    assert_eq!(
        said(&refused("198.51.100.9", 23)),
        both(
            "closed denies 198.51.100.9 on purpose",
            "# the service `closed` denies on purpose; this excepts the address:\n\
             services:\n  closed:\n    except: [trusted, \"2001:db8::7\", 198.51.100.9]\n"
        )
    );
}

#[test]
fn of_several_services_the_one_that_comes_closest_is_named() {
    assert_eq!(said(&refused("192.0.2.5", 7000)).0, "192.0.2.5 is in `except` of second");
    assert_eq!(
        said(&refused("192.0.2.5", 7001)).0,
        "no service has 7001/tcp",
        "a service of another port is none of those"
    );
}

#[test]
fn an_exception_a_limit_an_interface_and_a_port_that_nobody_has_each_have_their_remedy() {
    let new = |port: u16, source: &str| {
        format!(
            "services:\n  tcp-{port}:\n    ports: {port}/tcp\n    from: {source}\n\
             # the same by a command:\n#   palisade add {port}/tcp --from {source} --name tcp-{port}\n"
        )
    };
    assert_eq!(
        said(&refused("203.0.113.10", 445)),
        both("203.0.113.10 is in `except` of files", &new(445, "203.0.113.10"))
    );
    assert_eq!(
        said(&refused("203.0.113.9", 22)),
        both(
            "more often than the limit of the service `ssh` allows",
            "# it is let in, but came more often than 6/minute; this lets everyone come twice as often:\n\
             services:\n  ssh:\n    limit: 12/minute\n"
        )
    );
    assert_eq!(
        said(&refused("203.0.113.9", 81)),
        both("it came in by another interface than `on` of the service `inside` says", &new(81, "203.0.113.9"))
    );
    assert_eq!(said(&refused("203.0.113.9", 7)), both("no service has 7/tcp", &new(7, "203.0.113.9")));
    assert_eq!(said(&refused("203.0.113.9", 9000)).1, "# the policy lets it in as it is now:\n#   palisade apply\n");
}

#[test]
fn a_group_that_blocks_nobody_else_is_not_left_empty() {
    let policy = resolved(&POLICY.replace("198.51.100.13, 198.51.100.64/26", "198.51.100.13"));

    assert_eq!(
        suggestion(&policy, &refused("198.51.100.13", 9000)),
        "# `block` has it by the group bad, which has nobody else: take the group out of `block`\n#   palisade edit\n"
    );
}

#[test]
fn who_is_blocked_is_taken_out_of_the_group_if_the_group_has_that_address_alone() {
    assert_eq!(
        said(&refused("198.51.100.13", 9000)),
        both(
            "198.51.100.13 is in `block` by the group bad",
            "# `block` has it by the group bad:\n#   palisade group remove bad 198.51.100.13\n\
             # if the group has it from a file or another group, take it out there\n"
        )
    );
    assert_eq!(
        said(&refused("198.51.100.70", 9000)).1,
        "# `block` has 198.51.100.64/26 by the group bad: change the group in an editor\n#   palisade edit\n"
    );
}

#[test]
fn on_the_way_through_the_line_has_the_real_destination_or_asks_for_it() {
    let forward = Refused { towards: Denial::Forward, ..refused("198.51.100.9", 443) };
    assert_eq!(
        said(&Refused { to: Some(IpAddr::from([10, 0, 0, 5])), ..forward }),
        both(
            "lan admits trusted (3 addresses); 198.51.100.9 is not among them",
            "forward:\n  tcp-443:\n    ports: 443/tcp\n    from: 198.51.100.9\n    to: 10.0.0.5\n\
             # or into the group trusted, which opens dashboard, files, web, lan:\n\
             #   palisade group add trusted 198.51.100.9\n"
        )
    );
    assert_eq!(
        said(&Refused { what: Wanted::Port(Transport::Udp, 53), ..forward }),
        both(
            "no rule of `forward` has 53/udp",
            "# which address behind this machine it asked for is not remembered: name it\n\
             #   palisade suggest 198.51.100.9 53/udp --to ADDR\n"
        )
    );
}

#[test]
fn pings_and_other_protocols_have_their_own_words() {
    let about = |what| said(&Refused { what, ..refused("198.51.100.9", 0) });

    assert_eq!(
        about(Wanted::Protocol(50)),
        both(
            "no service has 50/proto",
            "services:\n  proto-50:\n    ports: 50/proto\n    from: 198.51.100.9\n\
             # the same by a command:\n#   palisade add 50/proto --from 198.51.100.9 --name proto-50\n"
        )
    );
    assert_eq!(
        about(Wanted::Ping),
        both(
            "no service has ping",
            "services:\n  ping:\n    ports: ping\n    from: 198.51.100.9\n\
             # the same by a command:\n#   palisade add ping --from 198.51.100.9 --name ping\n"
        )
    );
}
