//! What happens to connections that no service speaks of, by each of the defaults, and what `to`, `on` and `block` narrow.

mod support;

use std::net::SocketAddr;
use support::lab::{CLIENT, HOST, Lab};
use support::matrix::Matrix;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, talks};

/// Applies this text to a fresh host, on whose ports of the rows something listens, and fails unless the rows hold, as
/// they didn't before.
#[track_caller]
fn assert_holds(policy: &str, rows: &str) {
    assert_holds_when(&["apply"], policy, rows);
}

/// As [`assert_holds`], once that command has applied it.
#[track_caller]
fn assert_holds_when(applied: &[&str], policy: &str, rows: &str) {
    let lab = Lab::new();
    let matrix = Matrix::new(rows);
    let _echo = matrix.listen(&lab);
    matrix.assert_open(&lab);
    lab.write_policy("policy.yaml", policy);

    lab.palisade("policy.yaml", applied).success();
    lab.forget_neighbours();

    matrix.assert_holds(&lab);
}

#[test]
fn a_policy_without_services_denies_all_but_ping() {
    // SSH is shut to everyone by it, which is refused unless it is meant.
    assert_holds_when(
        &["apply", "--force"],
        "version: 1",
        "
        allowed ping                  from 203.0.113.66 10.77.0.2 2001:db8::9 fd77::2
        denied  others/tcp others/udp from 203.0.113.66 10.77.0.2 2001:db8::9 fd77::2
        ",
    );
}

#[test]
fn incoming_reject_says_so_at_once() {
    assert_holds(
        "version: 1
defaults: { incoming: reject }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: 1.1.1.1 }",
        "
        allowed  22/tcp                from 1.1.1.1 203.0.113.66 2001:db8::9
        allowed  9000/tcp              from 1.1.1.1
        rejected 9000/tcp              from 203.0.113.66 2001:db8::9
        rejected others/tcp others/udp from 203.0.113.66 2001:db8::9
        ",
    );
}

#[test]
fn incoming_allow_lets_in_all_but_the_blocked() {
    assert_holds(
        "version: 1
defaults: { incoming: allow }
block: [203.0.113.66, '2001:db8:7::/48']",
        "
        allowed others/tcp others/udp 22/tcp ping from 1.1.1.1 203.0.113.65 10.77.0.2 2001:db8::9
        denied  22/tcp 9000/tcp 53/udp ping       from 203.0.113.66 2001:db8:7::1
        ",
    );
}

#[test]
fn ping_deny_leaves_echo_requests_unanswered_and_services_as_they_are() {
    assert_holds(
        "version: 1
defaults: { ping: deny }
services:
  ssh: { ports: 22/tcp, from: any }",
        "
        denied  ping   from 203.0.113.66 10.77.0.2 2001:db8::9 fd77::2
        allowed 22/tcp from 203.0.113.66 10.77.0.2 2001:db8::9 fd77::2
        ",
    );
}

#[test]
fn a_service_on_an_interface_or_to_an_address_is_denied_elsewhere() {
    assert_holds(
        "version: 1
services:
  metrics: { ports: 9100/tcp, from: any, on: eth1 }
  intranet: { ports: 8443/tcp, from: any, to: [10.77.0.1, 'fd77::1'] }
  relay: { ports: 2525/tcp, from: { interface: eth* } , except: { interface: eth0 } }",
        "
        allowed 9100/tcp 8443/tcp 2525/tcp from 10.77.0.2 fd77::2
        denied  9100/tcp 8443/tcp 2525/tcp from 1.1.1.1 203.0.113.66 2001:db8::9
        ",
    );
}

/// How TCP, UDP and ping from the host to the client fare, over IPv4 and then IPv6, and a connection of the client to
/// the host's port 22 beside them.
fn outgoing(default: &str, wait: std::time::Duration) -> Vec<Outcome> {
    let lab = Lab::new();
    let outside = CLIENT.map(|address| SocketAddr::new(address, 53));
    let inside = HOST.map(|address| SocketAddr::new(address, 22));
    let _echo = (lab.client.listen(&outside, &outside), lab.host.listen(&inside, &[]));
    lab.assert_host_reaches_out();
    lab.write_policy(
        "policy.yaml",
        &format!(
            "version: 1\ndefaults: {{ outgoing: {default} }}\nservices:\n  ssh: {{ ports: 22/tcp, from: any }}\n"
        ),
    );

    lab.palisade("policy.yaml", applied).success();
    lab.forget_neighbours();

    for (from, to) in CLIENT.into_iter().zip(inside) {
        let mut ssh = lab.client.connect(from, to, PATIENCE).expect("a service is answered whatever the default");
        assert!(talks(&mut ssh, PATIENCE));
    }
    let targets = [Target::Tcp(53), Target::Udp(53), Target::Ping];
    let pairs = HOST.into_iter().zip(CLIENT);
    pairs.flat_map(|(from, to)| targets.map(|target| lab.host.probe(target, from, to, wait))).collect()
}

#[test]
fn outgoing_allow_lets_the_host_open_connections() {
    assert_eq!(outgoing("allow", PATIENCE), [Outcome::Connected; 6]);
}

#[test]
fn outgoing_deny_keeps_the_host_from_opening_connections_but_not_from_answering() {
    let denied = [Outcome::TimedOut, Outcome::NotPermitted, Outcome::TimedOut];

    assert_eq!(outgoing("deny", SILENCE), [denied, denied].concat());
}

#[test]
fn outgoing_reject_tells_the_hosts_own_programs_at_once() {
    let rejected = [Outcome::Refused, Outcome::NotPermitted, Outcome::TimedOut];

    assert_eq!(outgoing("reject", PATIENCE), [rejected, rejected].concat());
}
