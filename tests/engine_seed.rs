//! The case that palisade is for, end to end: the guide's ufw commands, a dashboard in Docker that is open all the same, the import
//! that says so and closes it, and the same policy for two clouds.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::net::IpAddr;
use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::{HOST, Lab, OUT};
use support::machine::wait_until;
use support::namespace::output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};
use support::program::palisade;

/// Who may see the dashboard.
const THREE: [&str; 3] = ["203.0.113.9", "203.0.113.20", "203.0.113.40"];

/// What is meant.
const MEANT: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, 203.0.113.20, 203.0.113.40] }
";

fn probe(lab: &Lab, from: IpAddr, port: u16, wait: std::time::Duration) -> Outcome {
    let (inside, host) = lab.peer(from);
    inside.probe(Target::Tcp(port), from, host, wait)
}

/// The TCP rules for what comes in of a cloud's document: the port, and who.
fn tcp_rules(rules: &Value, port: &str, sources: &str) -> Vec<Value> {
    let rules = rules.as_array().expect("a list").iter();
    let of_tcp = rules.filter(|rule| rule["protocol"] == "tcp" && rule["direction"] != "out");
    of_tcp.map(|rule| json!([rule[port], rule.pointer(sources)])).collect()
}

#[test]
fn the_dashboard_that_ufw_does_not_close_is_closed_by_the_policy_that_its_rules_become() {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    lab.add_addresses(THREE.map(|address| address.parse().expect("an address")));
    let engine = Engine::start(&lab, Setting::docker("sid", true).with_ufw());
    let _ssh = lab.host.listen(&HOST.map(|address| (address, 22).into()), &[]);
    engine.run_container("dashboard", "-p 9000:9000", "9000");
    engine.enable_ufw();
    for from in THREE {
        engine.ufw(&["allow", "from", from, "to", "any", "port", "9000", "proto", "tcp"]);
    }
    // ufw says that it is denied, and it is open.
    wait_until(|| probe(&lab, OUT[0], 9000, PATIENCE) == Outcome::Connected);

    let imported = output(engine.command(palisade()).args(["--color", "never", "import", "ufw"]));
    assert_eq!(imported.status, Some(2), "{imported:?}");
    let open = "9000/tcp";
    let said = imported.stderr.lines().any(|line| line.contains(open) && line.contains("dashboard"));
    assert!(said, "{}", imported.stderr);

    // It means what is meant.
    for (name, text) in [("meant.yaml", MEANT), ("policy.yaml", &imported.stdout)] {
        lab.write_policy(name, text);
    }
    let path = |name: &str| lab.policy(name).display().to_string();
    let differs = lab.palisade("policy.yaml", &["--json", "diff", &path("meant.yaml"), &path("policy.yaml")]);
    let differs: Value = serde_json::from_str(&differs.stdout).expect("JSON");
    assert_eq!(differs["access"], json!([]), "{}", imported.stdout);

    engine.ufw(&["disable"]);
    lab.palisade("policy.yaml", &["apply"]).success();
    for from in THREE {
        assert_eq!(probe(&lab, from.parse().expect("an address"), 9000, PATIENCE), Outcome::Connected, "{from}");
    }
    assert_eq!(probe(&lab, OUT[0], 9000, SILENCE), Outcome::TimedOut);
    assert_eq!(probe(&lab, OUT[1], 9000, SILENCE), Outcome::TimedOut);
    for out in OUT {
        assert_eq!(probe(&lab, out, 22, PATIENCE), Outcome::Connected, "{out}");
    }

    let export = |vendor: &str| -> Value {
        serde_json::from_str(&lab.palisade("policy.yaml", &["export", vendor]).stdout).expect("JSON")
    };
    let three = json!(THREE.map(|address| format!("{address}/32")));
    let (hetzner, ocean) = (export("hetzner"), export("digitalocean"));
    assert_eq!(
        tcp_rules(&hetzner, "port", "/source_ips"),
        [json!(["9000", three]), json!(["22", ["0.0.0.0/0", "::/0"]])],
        "{hetzner}"
    );
    let inbound = ocean.get("inbound_rules").expect("rules");
    assert_eq!(
        tcp_rules(inbound, "ports", "/sources/addresses"),
        [json!(["9000", THREE]), json!(["22", ["0.0.0.0/0", "::/0"]])],
        "{ocean}"
    );
}
