//! The plan that `diff` and `apply --dry-run` begin with: each port that somebody listens on, and who reaches it before and
//! afterwards, as `exposure` says it then. Needs root.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use support::lab::Lab;
use support::namespace::Output;
use support::program::palisade;
use support::terminal::OnTerminal;

/// Where a container is that publishes two ports.
const PUBLISHED: &str = "table ip nat {
    chain prerouting {
        type nat hook prerouting priority dstnat
        tcp dport 9000 dnat to 172.17.0.2:80
        tcp dport 8080 dnat to 172.17.0.3:80
    }
}";
/// The ports that processes of this machine listen on.
const HEARD: [(&str, u16); 6] =
    [("0.0.0.0", 22), ("0.0.0.0", 80), ("::", 443), ("127.0.0.1", 3306), ("0.0.0.0", 6379), ("10.77.0.1", 5432)];

/// A machine with six listeners and two published ports.
fn lab() -> (Lab, support::echo::Echo) {
    let lab = Lab::new();
    lab.forward();
    for command in ["link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up"] {
        lab.host.ip(command);
    }
    lab.host.nft_load(PUBLISHED);
    let heard = HEARD.map(|(address, port)| SocketAddr::new(address.parse().expect("an address"), port));
    let echo = lab.host.listen(&heard, &[]);
    (lab, echo)
}

/// Without what differs from run to run: the name of this process.
fn stable(text: &str) -> String {
    let name = std::fs::read_to_string("/proc/self/comm").expect("it is there");
    let width = name.trim().len();
    text.replace(name.trim(), &format!("{:width$}", "server"))
}

fn told(lab: &Lab, arguments: &[&str]) -> (Option<i32>, Value) {
    let said = lab.palisade("policy.yaml", &[arguments, &["--json"]].concat());
    (said.status, serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}{}", said.stdout, said.stderr)))
}

/// Who reaches each port, by `exposure` or by one side of a plan.
fn reached(document: &Value, field: &str) -> BTreeMap<String, Value> {
    let ports = document["ports"].as_array().expect("a list").iter();
    ports.map(|port| (format!("{} {} {}", port["port"], port["proto"], port["owner"]), port[field].clone())).collect()
}

/// What a plan says of ports that `exposure` names; of all others, that nobody reaches them.
fn of_those(plan: &Value, side: &str, exposure: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let (named, others): (BTreeMap<_, _>, _) =
        reached(plan, side).into_iter().partition(|(port, _)| exposure.contains_key(port));
    assert!(others.values().all(|who| *who == json!(["nobody"])), "{others:?}");
    named
}

/// Applies a policy, and holds its plan against what `exposure` says before and afterwards.
fn as_exposure_says(lab: &Lab, policy: &str) {
    lab.write_policy("policy.yaml", policy);
    let before = reached(&told(lab, &["exposure"]).1, "reachable_from");
    let (_, plan) = told(lab, &["diff"]);
    let plan = &plan["plan"];
    assert_eq!(of_those(plan, "before", &before), before, "{policy}");

    lab.palisade("policy.yaml", &["apply", "--force"]).success();

    let after = reached(&told(lab, &["exposure"]).1, "reachable_from");
    assert_eq!(of_those(plan, "after", &after), after, "{policy}");
}

#[test]
fn the_plan_of_the_travelling_owners_policy_names_each_port_on_one_screen() {
    let (lab, _echo) = lab();
    let policy = std::fs::read_to_string("policies/jesse.yaml").expect("it is there");
    lab.write_policy("policy.yaml", &policy);

    let said = lab.palisade("policy.yaml", &["apply", "--dry-run"]);

    assert_eq!(said.status, Some(0), "{}", said.stderr);
    let expected = "\
3 added (dashboard, group owner, ssh); 161 changes to make

closes
  80/tcp    server                   everyone → nobody
  443/tcp   server                   everyone → nobody
  5432/tcp  server                   everyone (at 10.77.0.1) → nobody (at 10.77.0.1)
  6379/tcp  server                   everyone → nobody
  8080/tcp  container 172.17.0.3:80  everyone over IPv4 → nobody

narrows
  9000/tcp  container 172.17.0.2:80  everyone over IPv4 → owner (1 address)

stays
  22/tcp    server                   everyone
  3306/tcp  server                   nobody: for this machine alone

out and through
  through any: any loses
  through any to containers: any loses
";
    assert_eq!(stable(&said.stdout), expected);
}

#[test]
fn what_a_plan_says_is_what_exposure_says_before_and_afterwards() {
    let (lab, _echo) = lab();
    let jesse = std::fs::read_to_string("policies/jesse.yaml").expect("it is there");
    as_exposure_says(&lab, &jesse);
    as_exposure_says(
        &lab,
        "version: 1
groups: { trusted: [203.0.113.9, \"2001:db8::9\"], bad: 198.51.100.0/24 }
services:
  ssh: { ports: 22/tcp, from: any }
  web: { ports: [80/tcp, 443/tcp, 8080/tcp], from: any, except: bad }
  data: { ports: 5432/tcp, from: { interface: eth1 } }
  elsewhere: { ports: 2222/tcp, from: trusted, forward_to: \"10.77.0.2:22\" }
block: [192.0.2.0/24]
",
    );
    as_exposure_says(&lab, "version: 1\ndefaults: { incoming: allow }\n");
}

/// What `apply` says on a terminal where somebody answers so.
fn on_a_terminal(lab: &Lab, answer: &str, arguments: &str) -> (bool, String) {
    let policy = lab.policy("policy.yaml");
    let folder = policy.parent().expect("it is in a folder").display();
    let policy = policy.display();
    let palisade = palisade();
    let line = format!(
        "{palisade} --state-dir {folder}/state --run-dir {folder}/run --policy {policy} apply --force {arguments}"
    );
    let mut command = lab.host.command("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "dumb");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("script is there");
    // Held until the end: at the end of its input `script` would end the terminal.
    let mut input = child.stdin.take().expect("it was piped");
    input.write_all(answer.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it was started");
    drop(input);
    (done.status.success(), String::from_utf8_lossy(&done.stdout).replace('\r', ""))
}

#[test]
fn on_a_terminal_apply_asks_before_somebody_loses_a_port_and_not_otherwise() {
    let (lab, _echo) = lab();
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    let closes = "\ncloses\n  80/tcp    server ";

    let (applied, said) = on_a_terminal(&lab, "n\n", "");
    assert!(!applied && stable(&said).contains(closes) && said.ends_with("error: not applied\n"), "{said}");
    assert!(said.contains("\nApply this? [y/N] "), "{said}");
    assert!(!lab.host.nft_list().contains("table inet palisade"));

    let (applied, said) = on_a_terminal(&lab, "y\n", "");
    assert!(applied && stable(&said).contains(closes) && said.contains("applied: "), "{said}");

    lab.write_policy("policy.yaml", "version: 1\nservices: { all: { ports: any, from: any } }\n");
    let (applied, said) = on_a_terminal(&lab, "", "");
    assert!(applied && !said.contains("[y/N]") && said.contains("\nopens\n  80/tcp "), "{said}");

    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    let (applied, said) = on_a_terminal(&lab, "", "--yes");
    assert!(applied && !said.contains("[y/N]") && stable(&said).contains(closes), "{said}");
}

/// What `apply` says and does on a terminal where somebody agrees to the plan, after others have done `meanwhile`.
fn agreed_to(lab: &Lab, meanwhile: &str) -> Output {
    let mut command = lab.in_its_own_state(palisade());
    command.arg("--policy").arg(lab.policy("policy.yaml")).args(["--color", "never", "apply", "--force"]);
    let mut terminal = OnTerminal::begin(command);
    terminal.read_until("Apply this? [y/N] ");
    lab.host.nft_load(meanwhile);
    terminal.type_in("y\n");
    let done = terminal.end();
    let after = done.stderr.rsplit("Apply this? [y/N] ").next().map(str::to_owned);
    Output { stderr: after.unwrap_or_default(), ..done }
}

#[test]
fn a_plan_that_somebody_agreed_to_is_not_applied_if_others_have_changed_the_rules_since_it_was_shown() {
    let (lab, _echo) = lab();
    lab.write_policy("policy.yaml", "version: 1\nservices: { all: { ports: any, from: any } }\n");
    lab.palisade("policy.yaml", &["apply"]).success();
    let before = lab.host.nft_list();
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");

    let refused = agreed_to(&lab, "add chain inet palisade stranger");
    let listed = lab.host.nft_list();
    let applied = agreed_to(&lab, "add table ip elsewhere");

    let why = "not applied: somebody has changed the rules since you were asked; apply again to see the new plan";
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(1), ""));
    assert_eq!(refused.stderr, format!("y\nerror: {why}"));
    assert_eq!(listed.lines().filter(|line| !before.contains(line)).collect::<Vec<_>>(), ["\tchain stranger {"]);
    // Tables of others are no part of the plan.
    assert_eq!((applied.status, applied.stderr.as_str()), (Some(0), "y"));
    assert!(applied.stdout.starts_with("applied: ") && applied.stdout.ends_with(" operations, verified\n"));
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).success(), "");
}
