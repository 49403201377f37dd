//! Host names, looked up at a real name server, in the rules.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use std::{fs, thread};
use support::lab::{HOST, Lab};
use support::namespace::Output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};
use support::program::palisade;
use support::resolver::{Resolver, upstream};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: { dns: home.example.org } }
";
/// Where the owner is at home, one after the other.
const HOMES: [&str; 3] = ["203.0.113.70", "203.0.113.71", "2001:db8::70"];

/// A lab whose host listens on port 9000, and where the client has the owner's addresses.
fn lab() -> (Lab, support::echo::Echo) {
    let lab = Lab::new();
    lab.add_addresses(HOMES.map(address));
    let echo = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 9000)), &[]);
    lab.write_policy("policy.yaml", POLICY);
    (lab, echo)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn run(lab: &Lab, arguments: &[&str]) -> Output {
    lab.palisade("policy.yaml", arguments)
}

fn json_of(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(lab, arguments).stdout).expect("JSON")
}

/// From which of the owner's addresses port 9000 is open.
fn open(lab: &Lab) -> Vec<&'static str> {
    let is_open = |from: &&str| {
        let (inside, to) = lab.peer(address(from));
        let target = Target::Tcp(9000);
        inside.probe(target, address(from), to, SILENCE) == Outcome::Connected
            && inside.probe(target, address(from), to, PATIENCE) == Outcome::Connected
    };
    HOMES.into_iter().filter(is_open).collect()
}

/// What `status` says of the names, without ages.
fn names(lab: &Lab) -> Value {
    let mut status = json_of(lab, &["--json", "status"]);
    let mut names = status["names"].take();
    for name in names.as_array_mut().expect("a list") {
        let name = name.as_object_mut().expect("a name");
        ["looked_up_seconds_ago", "answered_seconds_ago"].iter().for_each(|age| drop(name.remove(*age)));
    }
    names
}

/// Makes everything that is known of names so much older.
fn age(lab: &Lab, seconds: u64) {
    let path = lab.kept("names.json");
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(&path).expect("names are kept")).expect("JSON");
    let older = |age: &mut Value| {
        if let Some(old) = age.as_u64() {
            *age = json!(old + seconds);
        }
    };
    for name in kept["names"].as_object_mut().expect("names").values_mut() {
        for version in ["v4", "v6"] {
            let answers = &mut name[version];
            answers["seen"].as_object_mut().expect("addresses").values_mut().for_each(older);
            ["asked", "answered"].into_iter().for_each(|age| older(&mut answers[age]));
        }
    }
    fs::write(path, kept.to_string()).expect("it can be written");
}

/// The findings of doctor about names.
fn findings(lab: &Lab) -> Vec<String> {
    let doctor = json_of(lab, &["--json", "doctor"]);
    let ids =
        doctor["findings"].as_array().expect("findings").iter().map(|finding| finding["id"].as_str().expect("an id"));
    ids.filter(|id| id.starts_with("name-")).map(str::to_owned).collect()
}

/// What a run has printed, without how long ago a name was looked up.
fn said(output: Output) -> String {
    let text = output.success();
    let line = |line: &str| match line.split_once("; looked up") {
        Some((before, _)) => format!("{before}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_new_address_gets_in_with_the_next_refresh_and_the_old_one_until_no_answer_has_named_it_for_an_hour() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    assert_eq!(open(&lab), [HOMES[0]]);
    assert_eq!(said(run(&lab, &["refresh"])), "", "nothing is due");
    drop(resolver);

    let _resolver = Resolver::of_home(&lab, &HOMES[1..]);
    assert_eq!(
        said(run(&lab, &["refresh", "--now"])),
        "access: 9000/tcp: 203.0.113.71 (home.example.org), 2001:db8::70 (home.example.org) gains
applied: 4 operations, verified
names
  home.example.org  203.0.113.70, 203.0.113.71, 2001:db8::70
"
    );
    assert_eq!(open(&lab), HOMES);
    assert_eq!(run(&lab, &["diff"]).success(), "");
    for arguments in [&["--json", "diff"][..], &["--json", "apply", "--dry-run"], &["--json", "apply"]] {
        let names = &json_of(&lab, arguments)["names"];
        assert_eq!(names[0]["name"], "home.example.org", "{arguments:?}");
        assert_eq!(names[0]["addresses"], json!(["203.0.113.70", "203.0.113.71", "2001:db8::70"]), "{arguments:?}");
    }

    age(&lab, HOUR);
    let explained = run(&lab, &["explain", "9000/tcp", "--from", HOMES[0]]).success();
    assert!(explained.contains("\n203.0.113.70 is home.example.org, looked up 1h"), "{explained}");
    assert_eq!(
        said(run(&lab, &["refresh"])),
        "access: 9000/tcp: 203.0.113.70 (home.example.org) loses
applied: 1 operation, verified
"
    );
    assert_eq!(open(&lab), HOMES[1..]);
    assert_eq!(run(&lab, &["diff"]).success(), "");
}

#[test]
fn connections_from_an_address_that_goes_are_ended_and_those_from_one_that_stays_go_on() {
    let (lab, _echo) = lab();
    lab.write_policy(
        "policy.yaml",
        &POLICY.replace("9000", "[9000/tcp, 9001").replace("/tcp, from: { dns", "/tcp], from: { dns"),
    );
    let to = SocketAddr::new(HOST[0], 9001);
    let _downloads = lab.host.offer_downloads(&[to], &[]);
    let resolver = Resolver::of_home(&lab, &HOMES[..2]);
    run(&lab, &["apply"]).success();
    let [mut goes, mut stays] = [HOMES[0], HOMES[1]].map(|from| lab.client.download(address(from), to));
    drop(resolver);
    let _resolver = Resolver::of_home(&lab, &[HOMES[1]]);
    age(&lab, HOUR);

    assert_eq!(
        said(run(&lab, &["refresh"])),
        "access: 9000-9001/tcp: 203.0.113.70 (home.example.org) loses
applied: 1 operation, verified
ended 1 connection that lost its access
"
    );
    assert_eq!(goes.stops_within(PATIENCE), Ok(()));
    assert!(stays.goes_on());
}

/// Names of all kinds, sorted.
const KINDS: [&str; 12] = [
    "both.example.org",
    "broken.broken.example",
    "chain.example.org",
    "four.example.org",
    "half.broken.example",
    "hosts.example.org",
    "loopback.example.org",
    "many.example.org",
    "nowhere.example.org",
    "private.example.org",
    "search.example.org",
    "silent.silent.example",
];

/// The elements of all sets of addresses in the rules.
fn elements(lab: &Lab) -> BTreeSet<IpAddr> {
    let listed = lab.host.nft_list();
    let sets = listed.split("set all-v").skip(1).filter_map(|set| set.split_once("elements = {")?.1.split_once('}'));
    sets.flat_map(|(elements, _)| elements.split(',')).map(|element| address(element.trim())).collect()
}

#[test]
fn each_answer_of_a_name_server_leaves_what_it_should_in_the_rules_and_in_what_status_says() {
    let (lab, _echo) = lab();
    upstream(&lab);
    let many: String = (0..200).map(|last| format!("198.51.100.{last} many.example.org\n")).collect();
    let records = format!(
        "{many}203.0.113.70 both.example.org\n2001:db8::70 both.example.org\n192.0.2.4 four.example.org
192.0.2.5 half.broken.example\n127.0.0.1 loopback.example.org\n192.0.2.6 end.example.org
10.0.0.9 private.example.org\n192.0.2.66 search.example.org.searched.example\n"
    );
    let chain = ["--cname=chain.example.org,middle.example.org", "--cname=middle.example.org,end.example.org"];
    let _resolver = Resolver::new(&lab, &chain, &records);
    lab.hosts("192.0.2.7 hosts.example.org\n2001:db8::7 Hosts.example.org\n");
    let members: Vec<String> = KINDS.iter().map(|name| format!("{{ dns: {name} }}")).collect();
    let policy = format!(
        "version: 1\ngroups: {{ all: [{}] }}\nservices: {{ web: {{ ports: 9000/tcp, from: all }} }}\n",
        members.join(", ")
    );
    lab.write_policy("policy.yaml", &policy);

    run(&lab, &["apply", "--force"]).success();
    let taken: Vec<String> = (0..64).map(|last| format!("198.51.100.{last}")).collect();
    let (gone, none, useless, tell) = (
        "the name does not exist",
        "it has no address",
        "the answer names no address that a peer can have",
        "no name server answered, or none could tell",
    );
    let name = |name: &str, addresses: Value, over: [Option<&str>; 2], ignored: &[&str], left_out: u64| {
        json!({
            "name": name, "addresses": addresses, "failure_over_ipv4": over[0], "failure_over_ipv6": over[1],
            "ignored": ignored, "left_out": left_out,
        })
    };
    let expected = json!([
        name(KINDS[0], json!(["203.0.113.70", "2001:db8::70"]), [None, None], &[], 0),
        name(KINDS[1], json!([]), [Some(tell), Some(tell)], &[], 0),
        name(KINDS[2], json!(["192.0.2.6"]), [None, Some(gone)], &[], 0),
        name(KINDS[3], json!(["192.0.2.4"]), [None, Some(none)], &[], 0),
        name(KINDS[4], json!(["192.0.2.5"]), [None, Some(tell)], &[], 0),
        name(KINDS[5], json!(["192.0.2.7", "2001:db8::7"]), [None, None], &[], 0),
        name(KINDS[6], json!([]), [Some(useless), Some(none)], &["127.0.0.1"], 0),
        name(KINDS[7], json!(taken), [None, Some(none)], &[], 136),
        name(KINDS[8], json!([]), [Some(gone), Some(gone)], &[], 0),
        name(KINDS[9], json!(["10.0.0.9"]), [None, Some(none)], &[], 0),
        name(KINDS[10], json!([]), [Some(gone), Some(gone)], &[], 0),
        name(KINDS[11], json!([]), [Some(tell), Some(tell)], &[], 0),
    ]);
    assert_eq!(names(&lab), expected);
    let known =
        expected.as_array().expect("a list").iter().flat_map(|name| name["addresses"].as_array().expect("a list"));
    let known: BTreeSet<IpAddr> = known.map(|text| address(text.as_str().expect("a text"))).collect();
    assert_eq!(elements(&lab), known);
    assert_eq!(findings(&lab), ["name-unknown"; 5]);
}

#[test]
fn names_that_are_not_answered_in_time_keep_no_other_from_being_looked_up() {
    let (lab, _echo) = lab();
    upstream(&lab);
    let _resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    let silent: String = (0..100).map(|number| format!("{{ dns: a{number}.silent.example }}, ")).collect();
    lab.write_policy("policy.yaml", &POLICY.replace("{ dns", &format!("[{silent}{{ dns")).replace("org }", "org }]"));
    run(&lab, &["apply"]).success();
    // The resolver is more patient than palisade.
    lab.name_servers("nameserver 127.0.0.1\noptions timeout:30\n");
    age(&lab, HOUR / 2);

    run(&lab, &["refresh", "--within", "500ms"]).success();
    let late = json!("there was no answer in time");
    let over = |name: &Value| json!([name["failure_over_ipv4"], name["failure_over_ipv6"]]);
    let of: Vec<Value> = names(&lab).as_array().expect("a list").iter().map(over).collect();
    let mut expected = vec![json!([late, late]); 101];
    expected[100] = json!([null, "it has no address"]);
    assert_eq!(of, expected);
    assert_eq!(open(&lab), [HOMES[0]]);
}

#[test]
fn a_name_of_which_every_answer_names_another_address_is_found_and_networks_mend_it() {
    let (lab, _echo) = lab();
    for round in 0..=12 {
        let _resolver = Resolver::of_home(&lab, &[&format!("198.51.100.{round}")]);
        run(&lab, if round == 0 { &["apply"] } else { &["refresh", "--now"] }).success();
        assert_eq!(findings(&lab), vec!["name-rotates".to_owned(); usize::from(round == 12)], "{round}");
    }
    lab.write_policy("policy.yaml", &POLICY.replace("{ dns: home.example.org }", "198.51.100.0/24"));
    run(&lab, &["apply"]).success();
    assert_eq!(findings(&lab), [""; 0]);
}

#[test]
fn a_resolver_that_is_gone_changes_nothing_for_seven_days_and_doctor_says_so_after_an_hour() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0], HOMES[2]]);
    run(&lab, &["apply"]).success();
    drop(resolver);

    assert_eq!(said(run(&lab, &["refresh", "--now"])), "names\n  home.example.org  203.0.113.70, 2001:db8::70\n");
    assert_eq!((open(&lab), findings(&lab)), (vec![HOMES[0], HOMES[2]], vec![]));
    age(&lab, HOUR);
    let done = run(&lab, &["refresh"]);
    assert!(done.stderr.contains("`home.example.org` has the addresses of 1h"), "{}", done.stderr);
    assert_eq!((open(&lab), findings(&lab)), (vec![HOMES[0], HOMES[2]], vec!["name-stale".to_owned()]));
    age(&lab, 7 * DAY);
    assert_eq!(
        said(run(&lab, &["refresh"])).lines().next(),
        Some("access: 9000/tcp: 203.0.113.70 (home.example.org), 2001:db8::70 (home.example.org) loses")
    );
    assert_eq!((open(&lab), findings(&lab)), (vec![], vec!["name-unknown".to_owned()]));

    let _resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["refresh", "--now"]).success();
    assert_eq!((open(&lab), findings(&lab)), (vec![HOMES[0]], vec![]));
}

#[test]
fn the_boot_asks_nobody_and_loads_the_addresses_that_are_known() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    drop(resolver);
    let _resolver = Resolver::of_home(&lab, &[HOMES[1]]);
    lab.host.nft_load("flush ruleset");

    run(&lab, &["boot"]).success();
    assert_eq!(open(&lab), [HOMES[0]]);
    assert_eq!(run(&lab, &["diff"]).success(), "");
    age(&lab, HOUR);
    run(&lab, &["refresh"]).success();
    assert_eq!(open(&lab), [HOMES[1]]);
}

#[test]
fn a_boot_after_a_week_without_a_look_up_lets_nobody_in_by_name() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    drop(resolver);
    age(&lab, 7 * DAY);
    lab.host.nft_load("flush ruleset");

    run(&lab, &["boot"]).success();
    assert_eq!(open(&lab), [""; 0]);
    assert_eq!(run(&lab, &["diff"]).success(), "");
}

#[test]
fn a_file_of_names_that_is_damaged_lets_nobody_in_or_out_until_all_names_are_looked_up_anew() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    drop(resolver);
    fs::write(lab.kept("names.json"), "{}").expect("it can be written");
    let why = "names.json can't be used: it is not what palisade writes; `palisade refresh --now` makes it anew";
    for command in ["apply", "diff", "refresh"] {
        let done = run(&lab, &[command]);
        assert!(done.status == Some(1) && done.stderr.contains(why), "{command}: {}", done.stderr);
    }
    lab.host.nft_load("flush ruleset");
    let booted = run(&lab, &["boot"]);
    assert!(
        booted.stderr.contains(why) && booted.stderr.contains("loaded the last good ruleset"),
        "{}",
        booted.stderr
    );
    assert_eq!(open(&lab), [HOMES[0]]);

    let _resolver = Resolver::of_home(&lab, &[HOMES[1]]);
    run(&lab, &["refresh"]).success();
    assert_eq!(open(&lab), [HOMES[1]]);
    assert_eq!(run(&lab, &["diff"]).success(), "");
}

#[test]
fn a_rollback_has_the_addresses_of_then_until_the_next_refresh() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    drop(resolver);
    let _resolver = Resolver::of_home(&lab, &[HOMES[1]]);
    age(&lab, HOUR);
    run(&lab, &["refresh"]).success();
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    run(&lab, &["apply"]).success();
    assert_eq!(open(&lab), [""; 0]);

    run(&lab, &["rollback"]).success();
    assert_eq!(open(&lab), [HOMES[0]]);
    run(&lab, &["refresh"]).success();
    assert_eq!(open(&lab), [HOMES[1]]);
}

#[test]
fn refresh_works_on_the_policy_as_it_was_applied_and_loads_nothing_while_a_change_waits() {
    let (lab, _echo) = lab();
    let resolver = Resolver::of_home(&lab, &[HOMES[0]]);
    run(&lab, &["apply"]).success();
    drop(resolver);
    let resolver = Resolver::of_home(&lab, &HOMES[..2]);
    lab.write_policy("policy.yaml", &POLICY.replace("dashboard:", "edited:").replace("9000", "9001"));
    run(&lab, &["refresh", "--now"]).success();
    assert_eq!(open(&lab), HOMES[..2]);

    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    run(&lab, &["apply", "--confirm", "1h"]).success();
    drop(resolver);
    let _resolver = Resolver::of_home(&lab, &HOMES);
    run(&lab, &["refresh", "--now"]).success();
    assert_eq!(open(&lab), [""; 0]);
    run(&lab, &["rollback"]).success();
    assert_eq!(open(&lab), HOMES[..2]);
    run(&lab, &["refresh"]).success();
    assert_eq!(open(&lab), HOMES);
}

#[test]
fn all_of_twenty_addresses_of_which_each_answer_names_four_are_let_out_to() {
    let (lab, _echo) = lab();
    lab.write_policy(
        "policy.yaml",
        "version: 1
defaults: { outgoing: deny }
services: { ssh: { ports: 22/tcp, from: any } }
outgoing: { mirror: { ports: 443/tcp, from: host, to: { dns: home.example.org } } }
",
    );
    for round in 0..5 {
        let some: Vec<String> = (0..4).map(|at| format!("198.51.100.{}", round * 4 + at)).collect();
        let _resolver = Resolver::of_home(&lab, &some.iter().map(String::as_str).collect::<Vec<_>>());
        run(&lab, if round == 0 { &["apply"] } else { &["refresh"] }).success();
        age(&lab, HOUR * 2);
    }
    let all: Vec<String> = (0..20).map(|last| format!("198.51.100.{last}")).collect();
    let mut known: Vec<String> = names(&lab)[0]["addresses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|text| text.as_str().expect("text").to_owned())
        .collect();
    known.sort_by_key(|text| address(text));
    assert_eq!(known, all);
    assert_eq!(run(&lab, &["diff"]).success(), "");
    assert_eq!(findings(&lab), [""; 0]);
}

#[test]
fn a_refresh_that_is_killed_leaves_the_next_one_to_load_what_it_has_learned() {
    killed(12);
}

#[test]
#[ignore = "takes minutes"]
fn refreshes_that_are_killed_500_times_leave_the_next_one_to_load_what_they_have_learned() {
    killed(500);
}

/// Kills so many refreshes, each a little later than the one before, the last when a whole one is at its end.
fn killed(times: u32) {
    let (lab, _echo) = lab();
    let resolvers = [HOMES[0], HOMES[1]];
    let mut resolver = Resolver::of_home(&lab, &[resolvers[0]]);
    run(&lab, &["apply"]).success();
    let begun = Instant::now();
    run(&lab, &["refresh", "--now"]).success();
    let whole = begun.elapsed();
    for round in 0..times {
        drop(resolver);
        resolver = Resolver::of_home(&lab, &[resolvers[usize::from(round % 2 == 0)]]);
        age(&lab, HOUR);
        let mut command = lab.in_its_own_state(palisade());
        command.arg("--policy").arg(lab.policy("policy.yaml")).args(["refresh", "--now"]);
        let mut child = command.spawn().expect("palisade can be started");
        thread::sleep(whole * round / times);
        child.kill().expect("it was started");
        child.wait().expect("it was started");
        run(&lab, &["refresh"]).success();
        assert_eq!(run(&lab, &["diff"]).success(), "", "{round}");
    }
}
