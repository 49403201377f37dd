//! What `explain`, `exposure`, `status` and `diff` say of what is forwarded and translated, beside real packets.

mod support;

use serde_json::{Value, json};
use std::net::SocketAddr;
use support::lab::{ANY, CLIENT, HOST, LAN, Lab};
use support::probe::{Outcome, SILENCE, Target};

const POLICY: &str = "version: 1
defaults: { outgoing: deny }
containers: { interfaces: [] }
groups: { wan: { interface: eth0 }, lan: { interface: eth1 } }
services:
  web: { ports: 443/tcp, from: any, forward_to: \"10.77.0.2:8443\" }
outgoing:
  files: { ports: 8443/tcp, from: host, to: 10.77.0.0/24 }
  shut: { action: reject, ports: 22/tcp, from: { user: 1001 }, to: any }
forward:
  internet: { ports: any, from: lan, to: wan }
nat:
  internet: { from: lan, to: wan }
  other: { from: 10.78.0.0/24, to: lan, as: 203.0.113.50 }
";

/// A lab that forwards, with somebody who listens outside and on the local network.
fn lab() -> (Lab, [support::echo::Echo; 2]) {
    let lab = Lab::new();
    lab.forward();
    let listening: Vec<SocketAddr> = ANY.map(|any| SocketAddr::new(any, 8443)).to_vec();
    let echo = [lab.lan.listen(&listening, &[]), lab.client.listen(&listening, &[])];
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    (lab, echo)
}

fn json_of(lab: &Lab, arguments: &[&str]) -> Value {
    let output = lab.palisade("policy.yaml", arguments);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr))
}

#[test]
fn status_numbers_and_counts_the_rules_of_every_section_and_what_was_forwarded() {
    let (lab, _echo) = lab();
    let of = |one: &Value| {
        let keys = ["number", "name", "ports", "packets", "line", "action"];
        let mut of = keys.map(|key| one[key].clone()).to_vec();
        of.push(one["forwarded"]["packets"].clone());
        Value::from(of)
    };
    let status = || {
        let status = json_of(&lab, &["status", "--json"]);
        let section = |name: &str| status[name].as_array().expect("a list").iter().map(of).collect::<Vec<_>>();
        json!([section("services"), section("outgoing"), section("forward"), section("nat")])
    };
    let expected = |web: u32, files: u32, internet: u32| {
        json!([
            [[1, "web", ["443/tcp"], web, 6, null, web]],
            [[2, "files", ["8443/tcp"], files, 8, null, null], [3, "shut", ["22/tcp"], 0, 9, "reject", null]],
            [[4, "internet", ["any"], internet, 11, null, null]],
            [[5, "internet", null, internet, 13, null, null], [6, "other", null, 0, 14, null, null]],
        ])
    };
    assert_eq!(status(), expected(0, 0, 0));

    let connects = |inside: &support::namespace::Namespace, from, to, port| {
        assert_eq!(inside.probe(Target::Tcp(port), from, to, SILENCE), Outcome::Connected);
    };
    connects(&lab.client, CLIENT[0], HOST[0], 443);
    connects(&lab.host, support::lab::HOST_ON_LAN[0], LAN[0], 8443);
    for _ in 0..2 {
        connects(&lab.lan, LAN[0], CLIENT[0], 8443);
    }

    assert_eq!(status(), expected(1, 1, 2));
    let text = lab.palisade("policy.yaml", &["status"]).stdout;
    let squeezed = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines: Vec<String> = squeezed.filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect();
    let without_bytes: Vec<String> = lines
        .iter()
        .map(|line| {
            line.split(' ').enumerate().filter(|(at, _)| *at != 3).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        without_bytes,
        [
            "1 web 1 443/tcp from anyone (1 forwarded)",
            "2 files 1 8443/tcp",
            "3 shut 0 22/tcp (reject)",
            "4 internet 2 any",
            "5 internet 2",
            "6 other 0",
        ]
    );
}

/// The lines of `explain` about translations, and the verdict before them.
fn explained(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let output = lab.palisade("policy.yaml", arguments);
    let lines = output.stdout.lines().enumerate();
    let told = lines.filter(|(at, line)| *at == 0 || line.contains(" becomes ") || line.starts_with("routing: out"));
    let told: Vec<String> = told.map(|(_, line)| line.trim().to_owned()).collect();
    if told.is_empty() { vec![output.stderr] } else { told }
}

#[test]
fn explain_tells_new_sources_and_destinations_with_their_lines_and_takes_another_interface() {
    let (lab, _echo) = lab();

    assert_eq!(
        explained(&lab, &["explain", "443/tcp", "--from", "203.0.113.9", "--to", "203.0.113.1"]),
        [
            "allowed: 443/tcp from 203.0.113.9 to 203.0.113.1, coming in by eth0",
            "inet palisade nat.web: web: to where it is answered (policy.yaml:6) -> destination becomes 10.77.0.2:8443",
            "routing: out by eth1",
            "routing: out by eth0",
            "routing: out by eth1",
        ]
    );
    assert_eq!(
        explained(&lab, &["explain", "8443/tcp", "--from", "10.77.0.2", "--to", "203.0.113.9"]),
        [
            "allowed: 8443/tcp from 10.77.0.2 to 203.0.113.9, coming in by eth1",
            "routing: out by eth0",
            "inet palisade nat-postrouting: internet: sources from lan (policy.yaml:13) -> source becomes 203.0.113.1",
            "routing: out by eth1",
            "routing: out by eth0",
        ]
    );
    let by = |out: &[&str]| {
        let asked = ["explain", "8443/tcp", "--from", "host", "--to", "10.77.0.2"];
        explained(&lab, &[&asked[..], out].concat())
    };
    let allowed = "allowed: 8443/tcp from 10.77.0.1 to 10.77.0.2, sent by this machine";
    assert_eq!(by(&[]), [allowed, "routing: out by eth1", "routing: out by eth1"]);
    let allowed = format!("{allowed}, leaving by eth0");
    assert_eq!(by(&["--out", "eth0"]), [allowed.as_str(), "routing: out by eth0", "routing: out by eth0"]);
    assert_eq!(
        explained(&lab, &["explain", "443/tcp", "--from", "203.0.113.9", "--to", "203.0.113.1", "--out", "eth1"]),
        ["error: 203.0.113.1 is an address of this machine, so it leaves by no interface: omit --out\n"]
    );
}

#[test]
fn exposure_and_diff_name_the_machine_that_answers_a_forwarded_port() {
    let (lab, _echo) = lab();

    let exposure = json_of(&lab, &["exposure", "--json"]);
    let forwards: Vec<&Value> =
        exposure["ports"].as_array().expect("a list").iter().filter(|row| row["kind"] == "forward").collect();
    let of = |row: &&Value| json!([row["port"], row["proto"], row["owner"], row["reachable_from"]]);
    assert_eq!(
        Value::from(forwards.iter().map(of).collect::<Vec<_>>()),
        json!([[443, "tcp", "10.77.0.2:8443", ["everyone"]]])
    );

    lab.write_policy("policy.yaml", &POLICY.replace("from: any, forward_to", "from: 203.0.113.0/24, forward_to"));
    let said = lab.palisade("policy.yaml", &["diff"]).stdout;
    let access: Vec<&str> = said.lines().filter(|line| line.starts_with("access: ")).collect();
    assert_eq!(
        access,
        ["access: 443/tcp: 0.0.0.0-203.0.112.255, 203.0.114.0-255.255.255.255 loses (forwarded to 10.77.0.2:8443)"]
    );
    lab.write_policy("policy.yaml", &POLICY.replace("ports: any, from: lan", "ports: 443/tcp, from: lan"));
    let said = json_of(&lab, &["diff", "--json"]);
    let ports: Vec<&Value> = said["access"].as_array().expect("a list").iter().collect();
    assert_eq!(
        ports.first().map(|change| (*change).clone()),
        Some(json!({
            "direction": "through", "from": "eth1", "to": "eth0", "port": "1-442", "proto": "tcp", "gains": [],
            "loses": ["any"],
        }))
    );
}
