//! Who is let in or blocked for a time: what is refused and said, what drift is, and what a lower limit does.

mod support;
mod temporary;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade::enforce::temporary::expire;
use palisade::netlink::Socket;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::dice::Dice;
use temporary::{Server, untimed};

const SEVERAL: &str = "version: 1
groups:
  owner: [1.1.1.1, { temporary: 12h }]
  staff: [{ temporary: 8h }, 192.0.2.0/24]
  everybody: [owner, staff]
  attackers: [{ temporary: 7d }, 198.51.100.66]
services:
  ssh: { ports: 22/tcp, from: everybody }
  dashboard: { ports: [9000/tcp, 9001/udp], from: owner }
  wiki: { ports: 443/tcp, from: staff }
forward:
  lan: { ports: [22/tcp, ping], from: staff, to: { interface: eth1 } }
block: attackers
expect:
  - { deny: 9000/tcp, from: 203.0.113.0/24 }
";

#[test]
fn each_refusal_says_why_and_what_to_do() {
    let server = Server::new(SEVERAL);
    let refused = |arguments: &[&str], text: &str| {
        let said = server.palisade(arguments);
        assert_ne!(said.status, Some(0), "{arguments:?}: {}", said.stdout);
        assert!(said.stderr.contains(text), "{arguments:?}: {}", said.stderr);
    };
    refused(&["allow", "0.0.0.0/0"], "addresses only: a network is a change of the policy");
    refused(&["allow", "10.0.0.0/8"], "addresses only: a network is a change of the policy");
    refused(&["allow", "0.0.0.0"], "it is no address that a connection comes from");
    refused(&["allow", "you"], "write `me`, or an address such as `198.51.100.20`");
    refused(&["allow", "198.51.100.20", "--for", "30s"], "a minute at least, and 30 days at most");
    refused(
        &["allow", "me", "--to", "wiki"],
        "this command is not run from an SSH session: write the address in the place of `me`",
    );
    refused(
        &["allow", "198.51.100.20"],
        "error: several groups take addresses for a time: `owner` and `staff`; say which, by `--group` or by the service, `--to`\n",
    );
    refused(
        &["allow", "198.51.100.20", "--to", "wikki"],
        "error: the policy has neither a service nor a rule of `forward` `wikki`\n",
    );
    refused(
        &["allow", "198.51.100.20", "--group", "attackers"],
        "error: the group `attackers` is blocked: `palisade block` adds to it\n",
    );
    refused(
        &["block", "198.51.100.20", "--group", "owner"],
        "error: the group `owner` is not blocked: `palisade allow` adds to it\n",
    );
    refused(
        &["allow", "198.51.100.20", "--group", "everybody"],
        "error: the group `everybody` takes nobody for a time: `owner` and `staff` does\n",
    );
    refused(
        &["allow", "198.51.100.20", "--group", "owner", "--to", "wiki"],
        "error: the group `owner` opens nothing of that\n",
    );
    let said = server.palisade(&["allow", "203.0.113.20", "--to", "dashboard"]);
    assert_eq!(said.status, Some(1));
    assert!(said.stderr.contains("203.0.113.20 is expected not to reach 9000/tcp"), "{}", said.stderr);
    assert!(
        said.stderr.ends_with(
            "error: 203.0.113.20 is not let in, since the policy would not be as it expects to be: nothing was changed\n"
        ),
        "{}",
        said.stderr
    );
    assert_eq!((server.entries(), server.addresses()), (Vec::new(), Vec::new()));
}

#[test]
fn who_may_already_or_is_blocked_anyway_is_told_so_and_nothing_happens() {
    let server = Server::new(SEVERAL);
    let nothing = |arguments: &[&str]| server.palisade(arguments).success();
    assert_eq!(
        nothing(&["allow", "1.1.1.1", "--to", "dashboard"]),
        "nothing to do: 1.1.1.1 may reach all of that already\n"
    );
    assert_eq!(
        nothing(&["allow", "198.51.100.66", "--group", "owner"]),
        "nothing to do: 198.51.100.66 is blocked, and stays so: `block` beats every service\n"
    );
    assert_eq!(nothing(&["block", "198.51.100.66"]), "nothing to do: 198.51.100.66 is blocked already\n");
    assert_eq!(
        nothing(&["revoke", "198.51.100.20"]),
        "nothing to do: 198.51.100.20 is not let in or blocked for a time\n"
    );
    assert_eq!(nothing(&["revoke", "--all"]), "nothing to do: nobody is let in or blocked for a time\n");
    assert_eq!((server.entries(), server.addresses()), (Vec::new(), Vec::new()));
}

#[test]
fn a_group_around_another_lets_in_whom_that_takes_and_a_second_time_renews() {
    let server = Server::new(SEVERAL);
    let allow = || untimed(&server.palisade(&["allow", "198.51.100.20", "--to", "lan"]).success());
    assert_eq!(
        allow(),
        "access: 22/tcp: 198.51.100.20 gains, until TIME\n\
         access: 443/tcp: 198.51.100.20 gains, until TIME\n\
         access: through 22/tcp to any but 198.51.100.66 by eth1: 198.51.100.20 gains, until TIME\n\
         access: through ping to any but 198.51.100.66 by eth1: 198.51.100.20 gains, until TIME\n\
         allowed: 198.51.100.20 is in the group staff until TIME\n"
    );
    server.pass("198.51.100.20", Duration::from_secs(3600));
    assert_eq!(allow(), "allowed again: 198.51.100.20 is in the group staff until TIME\n");
    assert_eq!(server.addresses_of("staff"), ["198.51.100.20"]);
    assert_eq!(server.palisade(&["diff"]).status, Some(0));
}

#[test]
fn an_element_that_no_entry_knows_is_drift_and_so_is_one_that_is_missing_or_lives_longer() {
    let server = Server::new(SEVERAL);
    server.palisade(&["allow", "198.51.100.20", "--group", "owner", "--for", "1h"]).success();
    let nft = |text: &str| server.lab.host.nft_load(text);
    let set = "inet palisade owner.temporary-v4";
    let cases = [
        (format!("add element {set} {{ 203.0.113.66 timeout 2h }}"), "-element 203.0.113.66 timeout "),
        (format!("add element {set} {{ 203.0.113.66 }}"), "-element 203.0.113.66\n"),
        (format!("delete element {set} {{ 198.51.100.20 }}"), "+element 198.51.100.20 timeout "),
        (
            format!("delete element {set} {{ 198.51.100.20 }}\nadd element {set} {{ 198.51.100.20 timeout 3h }}"),
            "-element 198.51.100.20 timeout ",
        ),
    ];
    for (tamper, shown) in cases {
        nft(&tamper);
        let diff = server.palisade(&["diff"]);
        assert_eq!(diff.status, Some(2), "{tamper}");
        assert!(diff.stdout.contains(shown), "{tamper}:\n{}", diff.stdout);
        server.palisade(&["apply"]).success();
        let diff = server.palisade(&["diff"]);
        assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""), "{tamper}");
        assert_eq!(server.addresses(), ["198.51.100.20"], "{tamper}");
    }
}

#[test]
fn until_when_an_address_is_let_in_stands_beside_it_in_what_would_change() {
    let server = Server::new(SEVERAL);
    server.palisade(&["allow", "198.51.100.20", "--group", "staff", "--for", "1h"]).success();
    server.lab.host.nft_load("delete element inet palisade staff.temporary-v4 { 198.51.100.20 }");
    let lines = |text: &str| -> Vec<String> {
        let lines =
            text.lines().map(|line| line.trim_start_matches("# ")).filter(|line| line.starts_with("access: "));
        let untimed = |line: &str| {
            let (before, end) = line.split_once("(until ").expect("until when");
            let (_, behind) = end.split_once(" UTC)").expect("a time of day");
            format!("{before}(until TIME){behind}")
        };
        lines.map(untimed).collect()
    };
    let expected = [
        "access: 22/tcp: 198.51.100.20 (until TIME) gains",
        "access: 443/tcp: 198.51.100.20 (until TIME) gains",
        "access: through 22/tcp to any but 198.51.100.66 by eth1: 198.51.100.20 (until TIME) gains",
        "access: through ping to any but 198.51.100.66 by eth1: 198.51.100.20 (until TIME) gains",
    ];
    assert_eq!(lines(&server.palisade(&["diff"]).stdout), expected);
    assert_eq!(lines(&server.palisade(&["apply", "--dry-run", "--nft"]).stdout), expected);
    let plan = server.palisade(&["apply", "--dry-run"]).stdout;
    assert!(plan.contains("  through 22/tcp to any but 198.51.100.66 by eth1: 198.51.100.20 (until "), "{plan}");
    let json: serde_json::Value = serde_json::from_str(&server.palisade(&["--json", "diff"]).stdout).unwrap();
    let of = &json["temporary"][0];
    assert_eq!((&of["address"], &of["group"]), (&"198.51.100.20".into(), &"staff".into()));
}

#[test]
fn a_lower_limit_cuts_the_time_and_a_group_that_takes_nobody_ends_it_and_apply_says_so() {
    let server = Server::new(SEVERAL);
    server.palisade(&["allow", "198.51.100.20", "--group", "owner"]).success();
    server.palisade(&["allow", "198.51.100.21", "--group", "owner", "--for", "1h"]).success();

    let said = server.apply(&SEVERAL.replace("12h", "2h"));
    assert_eq!(
        untimed(&said),
        "applied: 3 operations, verified\n198.51.100.20 is in the group owner until TIME now\n"
    );
    assert_eq!(server.palisade(&["diff"]).status, Some(0));
    let seconds = |entry: &serde_json::Value| entry["end"].as_u64().unwrap() - entry["begin"].as_u64().unwrap();
    assert_eq!(server.entries().iter().map(seconds).collect::<Vec<_>>(), [7200, 3600]);

    let said = server.apply(&SEVERAL.replace("[1.1.1.1, { temporary: 12h }]", "1.1.1.1"));
    assert!(
        said.ends_with(
            "198.51.100.20 is no longer in the group owner, which takes nobody for a time now\n\
             198.51.100.21 is no longer in the group owner, which takes nobody for a time now\n"
        ),
        "{said}"
    );
    assert_eq!(server.entries(), Vec::<serde_json::Value>::new());
    // It does not come back with the line.
    server.apply(SEVERAL);
    assert_eq!(server.addresses(), Vec::<String>::new());
}

#[test]
fn a_rollback_and_an_undone_change_keep_who_is_in() {
    let server = Server::new(SEVERAL);
    server.palisade(&["allow", "198.51.100.20", "--group", "owner"]).success();
    server.apply(&SEVERAL.replace("443/tcp", "8443/tcp"));
    server.palisade(&["rollback"]).success();
    assert_eq!(server.addresses(), ["198.51.100.20"]);
    let list = server.palisade(&["rollback", "--list"]).success();
    assert!(list.lines().next_back().unwrap().ends_with("live, last good"), "{list}");
    // For a while without the group.
    server.lab.write_policy("policy.yaml", &SEVERAL.replace("[1.1.1.1, { temporary: 12h }]", "1.1.1.1"));
    server.palisade(&["apply", "--confirm", "1h"]).success();
    assert_eq!(server.addresses(), Vec::<String>::new());
    let refused = server.palisade(&["allow", "198.51.100.21", "--to", "wiki"]);
    assert!(refused.stderr.starts_with("error: a change waits for confirmation"), "{}", refused.stderr);
    server.palisade(&["rollback"]).success();
    assert_eq!(server.addresses(), ["198.51.100.20"]);
}

#[test]
fn a_state_that_is_damaged_lets_nobody_in_and_out_until_it_is_removed() {
    let server = Server::new(SEVERAL);
    server.palisade(&["block", "203.0.113.66"]).success();
    server.palisade(&["allow", "198.51.100.20", "--group", "owner"]).success();
    let path = server.damage();

    for arguments in [&["apply"][..], &["boot"], &["rollback"]] {
        server.lab.write_policy("policy.yaml", &SEVERAL.replace("443/tcp", "8443/tcp"));
        let done = server.palisade(arguments);
        assert_eq!(done.status, Some(0), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains("stays as it is in the kernel"), "{arguments:?}: {}", done.stderr);
        let held = ["attackers", "owner"].map(|group| server.addresses_of(group));
        assert_eq!(held, [["203.0.113.66"], ["198.51.100.20"]], "{arguments:?}");
    }
    server.lab.write_policy("policy.yaml", SEVERAL);
    let diff = server.palisade(&["diff"]);
    assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""));
    for arguments in [&["allow", "198.51.100.21", "--group", "owner"][..], &["revoke", "--all"]] {
        let refused = server.palisade(arguments);
        let expected = format!("error: {path} can't be used: it is not what palisade writes\n");
        assert_eq!((refused.status, refused.stderr), (Some(1), expected));
    }
    assert!(server.palisade(&["status"]).success().contains("who is let in or blocked for a time is not known: "));

    server.remove();
    server.palisade(&["apply"]).success();
    assert_eq!(["attackers", "owner"].map(|group| server.addresses_of(group)), [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn a_thousand_entries_cost_little_and_one_more_is_refused() {
    let server = Server::new(SEVERAL);
    server.fill("owner", 1024);
    server.palisade(&["apply"]).success();
    assert_eq!(server.addresses().len(), 1024);
    let said = server.palisade(&["allow", "198.51.100.20", "--group", "owner"]);
    assert_eq!(
        said.stderr,
        "error: the group `owner` has 1024 addresses for a time, which is the most: `palisade allow --list` shows them\n"
    );
    let begun = Instant::now();
    let operations = server.inside(|state| expire(&Socket::open().unwrap(), state).unwrap().operations);
    eprintln!("refreshing 1,024 entries with nothing to do took {:?}", begun.elapsed());
    assert_eq!(operations, 0);
    let said = server.palisade(&["revoke", "10.1.0.7", "--json"]).success();
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    // Added, deleted: the kernel may have forgotten it by then.
    assert_eq!(json["operations"], 2);
}

fn kill_allows_and_revokes(runs: usize) {
    let server = Server::new(SEVERAL);
    let mut dice = Dice::new();
    let takes = {
        let begun = Instant::now();
        server.palisade(&["allow", "198.51.100.20", "--group", "owner"]).success();
        begun.elapsed()
    };
    let commands: [&[&str]; 3] = [
        &["allow", "198.51.100.20", "--group", "owner"],
        &["allow", "198.51.100.21", "--group", "owner", "--for", "1h"],
        &["revoke", "--all"],
    ];
    let mut ended = 0;
    for run in 0..runs {
        let mut command = server.lab.in_its_own_state(env!("CARGO_BIN_EXE_palisade"));
        command.arg("--policy").arg(server.lab.policy("policy.yaml")).args(*dice.choose(&commands));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(dice.time_below(takes));
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).expect("it was started");
        ended += usize::from(child.wait().expect("it was started").success());
        server.inside(|state| expire(&Socket::open().unwrap(), state).unwrap());
        let entries: Vec<String> =
            server.entries().iter().map(|entry| entry["address"].as_str().unwrap().to_owned()).collect();
        assert_eq!(server.addresses(), entries, "after run {run}");
    }
    assert_eq!(server.palisade(&["diff"]).status, Some(0));
    eprintln!("{runs} commands killed within {takes:?}, {ended} had ended before");
}

#[test]
fn a_command_that_is_killed_leaves_state_and_kernel_as_one_or_the_next_refresh_makes_them_so() {
    kill_allows_and_revokes(15);
}

#[test]
#[ignore = "takes minutes"]
fn a_command_that_is_killed_leaves_state_and_kernel_as_one_500_times() {
    kill_allows_and_revokes(500);
}
