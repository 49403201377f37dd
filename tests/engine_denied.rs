//! `denied` beside a real Docker and a real Podman: whoever is refused a published port is listed by the port of the host.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::net::IpAddr;
use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::{Lab, OUT};
use support::machine::wait_until;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const NAMED: &str = "203.0.113.9";

/// 9000 is published from port 80 of a container, and 9002 from port 22.
const POLICY: &str = "version: 1
services:
  dashboard: { ports: 9000/tcp, from: 203.0.113.9 }
";

fn probe(lab: &Lab, from: IpAddr, port: u16, wait: std::time::Duration) -> Outcome {
    let (inside, host) = lab.peer(from);
    inside.probe(Target::Tcp(port), from, host, wait)
}

#[track_caller]
fn a_refused_source_is_listed_by_the_ports_of_the_host(setting: Setting) {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    let named: IpAddr = NAMED.parse().expect("an address");
    lab.add_addresses([named]);
    let engine = Engine::start(&lab, setting);
    engine.run_container("dashboard", "-p 9000:80", "80");
    engine.run_container("other", "-p 9002:22", "22");
    lab.write_policy("policy.yaml", POLICY);
    let said = |arguments: &[&str]| lab.palisade("policy.yaml", arguments);
    // Once their programs listen: without palisade both are open to everyone.
    for port in [9000, 9002] {
        wait_until(|| probe(&lab, OUT[0], port, PATIENCE) == Outcome::Connected);
    }
    lab.palisade("policy.yaml", &["apply"]).success();

    assert_eq!(probe(&lab, named, 9000, PATIENCE), Outcome::Connected);
    for port in [9000, 9002] {
        assert_eq!(probe(&lab, OUT[0], port, SILENCE), Outcome::TimedOut, "{port}");
    }

    let listed: Value = serde_json::from_str(&said(&["denied", "--json"]).success()).expect("JSON");
    let rows = listed["denied"].as_array().expect("a list").iter();
    let mut rows: Vec<Value> = rows
        .map(|row| json!([row["direction"], row["source"], row["protocol"], row["port"], row["service"], row["why"]]))
        .collect();
    rows.sort_by_key(ToString::to_string);
    let out = OUT[0].to_string();
    assert_eq!(
        rows,
        [
            json!(["incoming", out, "tcp", 9000, "dashboard", "not in `from` of the service `dashboard`"]),
            json!(["incoming", out, "tcp", 9002, null, "no service is about this port"]),
        ]
    );

    // What is suggested opens the host's port, and with it the container answers.
    let suggested = said(&["suggest", &out, "9002/tcp"]).success();
    assert!(suggested.contains("\n    ports: 9002/tcp\n    from: "), "{suggested}");
    lab.write_policy("policy.yaml", &format!("{POLICY}  tcp-9002: {{ ports: 9002/tcp, from: {out} }}\n"));
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(probe(&lab, OUT[0], 9002, PATIENCE), Outcome::Connected);
}

#[test]
fn beside_docker_with_its_proxy() {
    a_refused_source_is_listed_by_the_ports_of_the_host(Setting::docker("sid", true));
}

#[test]
fn beside_docker_without_its_proxy() {
    a_refused_source_is_listed_by_the_ports_of_the_host(Setting::docker("trixie", false));
}

#[test]
fn beside_podman() {
    a_refused_source_is_listed_by_the_ports_of_the_host(Setting::podman());
}
