//! A policy of several files in the kernel: the comments of its rules name the file of each line, commands work on it as it
//! was applied when a file has changed since, and a boot with a broken file loads the last good ruleset.
#![allow(missing_docs)]

mod support;

use palisade::ruleset::{Origin, Provenance};
use serde_json::{Value, json};
use std::fs;
use support::lab::{CLIENT, HOST, Lab};
use support::machine::Machine;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const POLICY: &str = "version: 1
include: [shared/groups.yaml, shared/services.yaml]
containers: { interfaces: [] }
services:
  ssh: { ports: 22/tcp, from: any }
";
const GROUPS: &str = "version: 1\ngroups:\n  owner: [198.51.100.1, { temporary: 12h }]\n";
const SERVICES: &str = "version: 1
services:
  # Not for everyone.
  dashboard: { ports: 9000/tcp, from: owner }
";

fn lab() -> Lab {
    let lab = Lab::new();
    fs::create_dir(lab.policy("shared")).expect("scratch is writable");
    lab.write_policy("policy.yaml", POLICY);
    lab.write_policy("shared/groups.yaml", GROUPS);
    lab.write_policy("shared/services.yaml", SERVICES);
    lab
}

fn json_of(lab: &Lab, arguments: &[&str]) -> Value {
    let done = lab.palisade("policy.yaml", &[arguments, &["--json"]].concat());
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

#[test]
fn rules_and_answers_name_the_file_in_which_a_line_stands() {
    let lab = lab();
    lab.palisade("policy.yaml", &["apply"]).success();

    let listed = lab.host.nft_list();
    let comments = listed.split("comment \"").skip(1).filter_map(|rest| Provenance::read(rest.split('"').next()?));
    let mut files: Vec<String> = comments
        .filter(|comment| matches!(comment.origin, Origin::Line(..)))
        .map(|comment| comment.origin.to_string())
        .collect();
    files.sort();
    files.dedup();
    assert_eq!(files, ["policy.yaml:5", "shared/groups.yaml:3", "shared/services.yaml:4"]);

    let client = CLIENT[0].to_string();
    let explained = lab.palisade("policy.yaml", &["explain", "9000/tcp", "--from", &client]);
    let said = "\ndashboard admits owner (1 address); 203.0.113.9 is not among them (shared/services.yaml:4)\n\n";
    assert!(explained.stdout.contains(said), "{}", explained.stdout);
    let why = &json_of(&lab, &["explain", "9000/tcp", "--from", &client])["why"];
    assert_eq!(json!([why["line"], why["file"]]), json!([4, "shared/services.yaml"]));
    let who = lab.palisade("policy.yaml", &["explain", "9000/tcp"]).stdout;
    assert!(who.contains("the service dashboard has 9000/tcp (shared/services.yaml:4)"), "{who}");

    let _echo = lab.host.listen(&[(HOST[0], 9000).into()], &[]);
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], SILENCE), Outcome::TimedOut);
    let denied = lab.palisade("policy.yaml", &["denied"]).success();
    assert!(denied.contains("not in `from` of the service `dashboard` (shared/services.yaml:4)\n"), "{denied}");
    let denied = &json_of(&lab, &["denied"])["denied"][0];
    assert_eq!(json!([denied["line"], denied["file"]]), json!([4, "shared/services.yaml"]));
    let services = &json_of(&lab, &["status"])["services"];
    let place = |name: &str| {
        let of = services.as_array().into_iter().flatten().find(|service| service["name"] == name);
        of.map(|service| json!([service["line"], service["file"]]))
    };
    assert_eq!(place("dashboard"), Some(json!([4, "shared/services.yaml"])));
    assert_eq!(place("ssh"), Some(json!([5, null])));
}

#[test]
fn the_policy_as_applied_is_whole_when_an_included_file_has_changed_or_gone() {
    let lab = lab();
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).status, Some(0));

    lab.write_policy("shared/services.yaml", &SERVICES.replace("9000/tcp", "9001/tcp"));
    let diff = lab.palisade("policy.yaml", &["diff"]);
    assert_eq!(diff.status, Some(2));
    assert!(
        diff.stdout.ends_with("access: 9000/tcp: 198.51.100.1 loses\naccess: 9001/tcp: 198.51.100.1 gains\n"),
        "{}",
        diff.stdout
    );
    assert_eq!(json_of(&lab, &["status"])["in_sync"], json!(false));

    let _echo = lab.host.listen(&[(HOST[0], 9000).into(), (HOST[0], 9001).into()], &[]);
    let client = CLIENT[0].to_string();
    for missing in [false, true] {
        if missing {
            fs::remove_file(lab.policy("shared/groups.yaml")).expect("it is there");
        }
        lab.palisade("policy.yaml", &["allow", &client, "--for", "5m", "--to", "dashboard"]).success();
        let tries = |port, wait| lab.client.probe(Target::Tcp(port), CLIENT[0], HOST[0], wait);
        assert_eq!(tries(9000, PATIENCE), Outcome::Connected);
        assert_eq!(tries(9001, SILENCE), Outcome::TimedOut);
        lab.palisade("policy.yaml", &["revoke", &client]).success();
        assert_eq!(tries(9000, SILENCE), Outcome::TimedOut);
    }
    lab.palisade("policy.yaml", &["refresh"]).success();
}

#[test]
fn a_boot_with_a_broken_included_file_loads_the_last_good_ruleset() {
    let machine = Machine::new();
    fs::create_dir(machine.path("shared")).expect("scratch is writable");
    for (name, text) in [("policy.yaml", POLICY), ("shared/groups.yaml", GROUPS), ("shared/services.yaml", SERVICES)]
    {
        machine.write(name, text);
    }
    machine.run(&["apply"]).success();
    let rules = machine.rules();
    machine.reboot();
    let booted = |machine: &Machine| {
        let json: Value = serde_json::from_str(&machine.run(&["boot", "--json"]).success()).expect("JSON");
        json!([json["booted_from"], json["why"]])
    };
    assert_eq!(booted(&machine), json!(["policy", null]));
    assert_eq!(machine.rules(), rules);

    machine.write("shared/groups.yaml", "version: 1\ngroups: [\n");
    machine.reboot();

    let why = "the policy is not valid: the bracket `[` is never closed";
    assert_eq!(booted(&machine), json!(["last-good", why]));
    assert_eq!(machine.rules(), rules);
}
