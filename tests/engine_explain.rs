//! `explain` beside a real Docker and a real ufw: whose rule it is that denies.
#![allow(missing_docs)]

mod support;

use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::{HOST, Lab, OUT};
use support::namespace::output;
use support::program::palisade;

/// 4444 is a port of the host that ufw knows nothing of.
const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: 203.0.113.9 }
  open: { ports: 4444/tcp, from: any }
";

#[test]
fn a_published_port_that_is_not_allowed_is_denied_by_the_policy_and_an_allowed_one_by_ufw() {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    let engine = Engine::start(&lab, Setting::docker("sid", true).with_ufw());
    engine.run_container("same", "-p 9000:9000", "9000");
    lab.write_policy("policy.yaml", POLICY);
    let explain = |port: &str, by: &str| {
        let (from, to) = (OUT[0].to_string(), HOST[0].to_string());
        let asked = ["explain", port, "--from", &from, "--to", &to, "--on", "eth0"];
        let said = output(engine.command(palisade()).args(asked));
        let lines: Vec<&str> = said.stdout.lines().collect();
        let connection = format!(": {port} from {from} to {to}, coming in by eth0");
        let verdict = lines.first().and_then(|line| line.strip_suffix(&connection)).map(str::to_owned);
        let reason = lines.get(1).map(|line| line.trim().to_owned()).unwrap_or_default();
        assert!(reason.starts_with(by), "{}", said.stdout);
        (verdict, said.status)
    };
    let answer = |word: &str, status| (Some(word.to_owned()), Some(status));

    assert_eq!(explain("9000/tcp", "no table denies it"), answer("allowed", 0));
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(
        explain("9000/tcp", "by palisade: what else comes in is denied (policy.yaml, by default)"),
        answer("denied", 2)
    );
    assert_eq!(explain("4444/tcp", "no table denies it"), answer("allowed", 0));
    engine.enable_ufw();
    assert_eq!(explain("4444/tcp", "dropped by ufw"), answer("denied", 2));
    assert_eq!(explain("9000/tcp", "by palisade: "), answer("denied", 2));
}
