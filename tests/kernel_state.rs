//! What palisade keeps, one writer at a time, and what it loads at boot whatever is left.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use support::lab::{CLIENT, HOST, Lab};
use support::machine::{Machine, mount_full, mount_read_only, policy, with_own_mounts};
use support::namespace::{Output, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// What `boot` says that it loaded, and why it was not the policy.
#[track_caller]
fn booted(done: Output) -> (String, Option<String>) {
    let json: Value = serde_json::from_str(&done.success()).expect("JSON");
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    (text("booted_from").expect("it says so"), text("why"))
}

#[track_caller]
fn boot(machine: &Machine) -> (String, Option<String>) {
    booted(machine.run(&["boot", "--json"]))
}

fn list(machine: &Machine) -> Vec<(u64, bool, bool)> {
    let json: Value = serde_json::from_str(&machine.run(&["rollback", "--list", "--json"]).success()).expect("JSON");
    let rulesets = json["rulesets"].as_array().expect("a list").iter();
    let entry = |entry: &Value| (entry["number"].as_u64(), entry["live"].as_bool(), entry["last_good"].as_bool());
    rulesets
        .map(entry)
        .map(|(number, live, good)| (number.expect("a number"), live == Some(true), good == Some(true)))
        .collect()
}

#[test]
fn each_ruleset_that_was_loaded_is_kept_and_can_be_gone_back_to() {
    let machine = Machine::new();
    assert_eq!(
        machine.run(&["rollback", "--list"]).success(),
        "no ruleset is kept yet: `palisade apply` keeps the first\n"
    );
    for port in 81..=86 {
        machine.open(&[port]);
        machine.run(&["apply"]).success();
        machine.run(&["apply"]).success();
    }
    assert_eq!(
        list(&machine),
        [(6, true, true), (5, false, false), (4, false, false), (3, false, false), (2, false, false)]
    );

    let said = machine.run(&["rollback"]).success();
    assert!(said.starts_with("rolled back to ruleset 5, loaded first at "), "{said}");
    assert_eq!(machine.rules(), Machine::rules_of(&[85]));
    machine.run(&["rollback"]).success();
    assert_eq!(machine.rules(), Machine::rules_of(&[84]));
    assert_eq!(
        list(&machine),
        [(6, false, false), (5, false, false), (4, true, true), (3, false, false), (2, false, false)]
    );
    machine.run(&["rollback", "--to", "2"]).success();
    assert_eq!(machine.rules(), Machine::rules_of(&[82]));

    let refused = machine.run(&["rollback", "--to", "1"]);
    assert_eq!(refused.status, Some(1));
    assert_eq!(refused.stderr, "error: no ruleset 1 is kept: see `palisade rollback --list`\n");
    let refused = machine.run(&["rollback"]);
    assert_eq!(refused.status, Some(1));
    assert_eq!(refused.stderr, "error: no older ruleset is kept: see `palisade rollback --list`\n");
}

#[test]
fn what_was_rolled_back_is_not_loaded_at_boot_until_it_is_applied() {
    let machine = Machine::new();
    for port in [81, 82, 83] {
        machine.open(&[port]);
        machine.run(&["apply"]).success();
    }
    machine.run(&["rollback"]).success();
    machine.run(&["rollback"]).success();

    machine.reboot();
    let undone = "the policy was undone and not applied since; `palisade apply` loads it all the same";
    assert_eq!(boot(&machine), ("last-good".to_owned(), Some(undone.to_owned())));
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));

    machine.run(&["apply"]).success();
    machine.reboot();
    assert_eq!(boot(&machine), ("policy".to_owned(), None));
    assert_eq!(machine.rules(), Machine::rules_of(&[83]));
}

#[test]
fn a_broken_policy_at_boot_loads_the_last_good_ruleset_and_says_so() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    machine.write("policy.yaml", "version: 1\nservices: { ssh: { ports: 22, from: anny } }\n");
    machine.reboot();

    let done = machine.run(&["boot"]);

    assert_eq!((done.status, done.stdout.as_str()), (Some(0), ""));
    let why = "the policy is not valid: the port `22` does not say of which protocol, and 1 more";
    let said = done.stderr.replace(&machine.path("policy.yaml").display().to_string(), "policy.yaml");
    let expected = format!(
        "\
ERROR the port `22` does not say of which protocol
 --> policy.yaml:2:27
  |
2 | services: {{ ssh: {{ ports: 22, from: anny }} }}
  |                           ^^
  |
  = help: write `22/tcp` or `22/udp`, or both as two items
ERROR there is no group `anny`
 --> policy.yaml:2:37
  |
2 | services: {{ ssh: {{ ports: 22, from: anny }} }}
  |                                     ^^^^
  |
  = help: did you mean `any`?
ERROR loaded the last good ruleset, since {why}
"
    );
    assert_eq!(said, expected);
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
    let status = machine.run(&["status"]).success();
    assert!(status.contains(&format!("\nloaded at boot: the last good ruleset, since {why}\n")), "{status}");

    machine.open(&[81]);
    machine.run(&["apply"]).success();
    let status: Value = serde_json::from_str(&machine.run(&["status", "--json"]).success()).expect("JSON");
    assert_eq!(status["booted"], Value::Null);
}

#[test]
fn a_policy_that_is_gone_at_boot_is_as_one_that_is_broken() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    fs::remove_file(machine.path("policy.yaml")).expect("it is there");
    machine.reboot();

    let (from, why) = boot(&machine);

    assert_eq!(from, "last-good");
    let missing = format!("the policy is not valid: {} does not exist", machine.path("policy.yaml").display());
    assert_eq!(why, Some(missing));
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn a_damaged_ruleset_at_boot_is_passed_over_for_the_one_before() {
    let machine = Machine::new();
    for port in [80, 81] {
        machine.open(&[port]);
        machine.run(&["apply"]).success();
    }
    machine.write("policy.yaml", "");
    let newest = machine.kept("rulesets/000002.ruleset");
    let whole = fs::read(&newest).expect("it is there");
    fs::write(&newest, &whole[..whole.len() - 1]).expect("root may");
    machine.reboot();

    assert_eq!(boot(&machine).0, "last-good");
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn with_nothing_to_fall_back_on_all_is_denied_but_ssh() {
    let lab = Lab::new();
    let (from, why) = booted(lab.palisade("missing.yaml", &["boot", "--json"]));
    assert_eq!(from, "lockdown");
    let why = why.expect("it was not the policy");
    assert!(why.ends_with("missing.yaml does not exist; no ruleset is kept to fall back on"), "{why}");

    let listening: Vec<SocketAddr> = [22, 9000].map(|port| SocketAddr::new(HOST[0], port)).to_vec();
    let _echo = lab.host.listen(&listening, &listening);
    assert_eq!(lab.client.probe(Target::Tcp(22), CLIENT[0], HOST[0], PATIENCE), Outcome::Connected);
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], SILENCE), Outcome::TimedOut);
    assert_eq!(lab.client.probe(Target::Udp(22), CLIENT[0], HOST[0], SILENCE), Outcome::TimedOut);
    lab.assert_host_reaches_out();
    let status = lab.palisade("missing.yaml", &["status"]).success();
    assert!(status.contains("\nloaded at boot: a lockdown: all that comes in is denied but SSH, since "), "{status}");

    // Started again, with rules that somebody may have mended by hand: they stay.
    lab.host.nft_load("add element inet palisade services-tcp { 9000 : jump service-ssh }");
    assert_eq!(booted(lab.palisade("missing.yaml", &["boot", "--json"])).0, "live");
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], PATIENCE), Outcome::Connected);
}

#[test]
fn the_policy_at_boot_is_loaded_and_kept() {
    let machine = Machine::new();
    machine.open(&[80]);
    let done = machine.run(&["boot"]);
    let said = format!("loaded the policy, {}\n", machine.path("policy.yaml").display());
    assert_eq!((done.status, done.stdout, done.stderr), (Some(0), said, String::new()));
    assert_eq!(list(&machine), [(1, true, true)]);
    assert!(!machine.run(&["status"]).success().contains("loaded at boot"));
}

#[test]
fn on_a_disk_that_is_full_or_read_only_the_rules_are_loaded_and_the_loss_is_told() {
    let machine = Machine::new();
    with_own_mounts(|| {
        let (full, read_only) = (machine.path("full"), machine.path("read-only"));
        mount_full(&full, 0);
        fs::create_dir(&read_only).expect("a folder");
        mount_read_only(&read_only);
        let states = [
            (full.clone(), "No space left on device (os error 28)"),
            (read_only.clone(), "Read-only file system (os error 30)"),
            // As before /var is mounted.
            (read_only.join("var/lib/palisade"), "Read-only file system (os error 30)"),
        ];
        for (port, (state, why)) in (80..).zip(states) {
            machine.open(&[port]);
            let state = state.display().to_string();
            let done = machine.run(&["apply", "--state-dir", &state]);

            assert_eq!(done.status, Some(0));
            assert!(done.stdout.starts_with("applied: "), "{}", done.stdout);
            assert!(done.stderr.starts_with("ERROR the rules are in force, but can't write "), "{}", done.stderr);
            let end = format!("{why}: should the policy fail at the next boot, an older ruleset is loaded\n");
            assert!(done.stderr.ends_with(&end), "{}", done.stderr);
            assert_eq!(machine.rules(), Machine::rules_of(&[port]));

            let done = machine.run(&["apply", "--confirm", "1h", "--state-dir", &state]);
            assert_eq!(
                (done.status, done.stdout.as_str()),
                (Some(0), "nothing to do: the kernel already holds this policy\n")
            );
            machine.open(&[port, 443]);
            let refused = machine.run(&["apply", "--confirm", "1h", "--state-dir", &state]);
            assert_eq!(refused.status, Some(1));
            assert!(refused.stderr.starts_with("error: can't write "), "{}", refused.stderr);
            assert_eq!(machine.rules(), Machine::rules_of(&[port]), "what can't be undone is not begun");

            machine.open(&[port]);
            assert_eq!(booted(machine.run(&["boot", "--json", "--state-dir", &state])), ("policy".to_owned(), None));
            machine.write("policy.yaml", "");
            machine.inside.nft_load("delete table inet palisade");
            assert_eq!(booted(machine.run(&["boot", "--json", "--state-dir", &state])).0, "lockdown");
            machine.inside.nft_load("delete table inet palisade");
        }
        let left = output(Command::new("find").arg(&full).args(["-type", "f"])).success();
        assert_eq!(left, format!("{}\n", full.join("filling").display()), "no half of a file");
    });
}

#[test]
fn without_a_place_for_the_lock_nothing_is_applied_and_boot_loads_all_the_same() {
    let machine = Machine::new();
    with_own_mounts(|| {
        machine.open(&[80]);
        let read_only = machine.path("read-only");
        fs::create_dir(&read_only).expect("a folder");
        mount_read_only(&read_only);
        let run = read_only.join("run").display().to_string();

        let refused = machine.run(&["apply", "--run-dir", &run]);

        assert_eq!(refused.status, Some(1));
        let why = "without which two writers could meet: Read-only file system (os error 30)";
        assert_eq!(refused.stderr, format!("error: can't lock {run}/lock, {why}\n"));
        assert_eq!(machine.rules(), "");
        let done = machine.run(&["boot", "--json", "--run-dir", &run]);
        assert!(done.stderr.contains("loading all the same"), "{}", done.stderr);
        assert_eq!(booted(done).0, "policy");
        assert_eq!(machine.rules(), Machine::rules_of(&[80]));
    });
}

#[test]
fn rulesets_that_another_user_could_have_written_are_not_loaded() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    machine.write("policy.yaml", "");
    chown(machine.kept("rulesets/000001.ruleset"), Some(65_534), None).expect("root may give away");
    machine.reboot();

    assert_eq!(boot(&machine).0, "lockdown");
}

#[test]
fn a_lock_of_a_process_that_was_killed_is_in_nobodys_way() {
    let machine = Machine::new();
    machine.open(&[80]);
    fs::create_dir(machine.path("run")).expect("a folder");
    machine.write("run/lock", "4194305, palisade apply, since 2026-11-22T15:04:05Z\n");
    let done = machine.run(&["apply"]);
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_second_writer_waits_for_the_first_and_says_for_whom_and_who_reads_does_not_wait() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    let lock = fs::File::open(machine.path("run/lock")).expect("an apply has made it");
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).expect("nobody has it");
    machine.write("run/lock", "42, palisade apply, since 2026-11-22T15:04:05Z\n");
    for arguments in
        [&["status"][..], &["diff"], &["show"], &["check"], &["apply", "--dry-run"], &["rollback", "--list"]]
    {
        machine.run(arguments).success();
    }

    let mut second = machine.command("policy.yaml", &["apply"]);
    let mut second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(second.stderr.take().expect("it was piped"));
    std::io::BufRead::read_line(&mut stderr, &mut said).expect("it says so");
    // Written while it waits: it loads this one.
    machine.open(&[81]);
    drop(lock);
    assert!(second.wait().expect("it was started").success());

    assert_eq!(
        said.replace(" WARN", "WARN"),
        "WARN waiting for another palisade (42, palisade apply, since 2026-11-22T15:04:05Z)\n"
    );
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
}

/// Sets a flag when it goes.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn of_eight_applies_at_once_beside_a_foreign_writer_the_last_one_wins_whole_and_no_update_is_lost() {
    let machine = Machine::new();
    machine.inside.nft_load("table ip other { set numbers { type inet_service; }; }");
    let names: Vec<String> = (1..=8).map(|n| format!("policy-{n}.yaml")).collect();
    for (port, name) in (8001..).zip(&names) {
        machine.write(name, &policy(&[port]));
    }
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        // When this thread fails, too: the scope waits for the other one.
        let stop = OnDrop(&done);
        let foreign = scope.spawn(|| {
            let mut written = 0_u16;
            while !done.load(Ordering::Relaxed) {
                written += 1;
                machine.inside.nft_load(&format!("add element ip other numbers {{ {written} }}"));
            }
            written
        });
        for _ in 0..4 {
            let start = |name: &String| {
                let mut command = machine.command(name, &["apply", "--quiet"]);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
            };
            let running: Vec<_> = names.iter().map(start).collect();
            for child in running {
                let ended = child.wait_with_output().expect("it was started");
                assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
            }
            let kept: Value =
                serde_json::from_str(&machine.run(&["rollback", "--list", "--json"]).success()).expect("JSON");
            let last = &kept["rulesets"][0];
            assert_eq!((&last["live"], &last["last_good"]), (&json!(true), &json!(true)));
            let last = last["policy"].as_str().expect("a path");
            let name = names.iter().find(|name| last.ends_with(name.as_str())).expect("one of the eight");
            assert_eq!(output(&mut machine.command(name, &["diff"])).success(), "");
        }
        drop(stop);
        foreign.join().expect("the foreign writer goes on")
    });
    let listed = machine.inside.nft_list();
    let numbers: Vec<_> = (1..=written).map(|number| number.to_string()).collect();
    let elements: String =
        listed.split("elements = {").nth(1).expect("numbers").chars().take_while(|c| *c != '}').collect();
    let elements: Vec<_> = elements.split(',').map(str::trim).collect();
    assert_eq!(elements, numbers);
}

#[test]
fn a_policy_that_replaces_a_lockdown_is_what_status_names() {
    let machine = Machine::new();
    assert_eq!(boot(&machine).0, "lockdown");
    assert!(machine.run(&["status"]).success().starts_with("active, loaded from lockdown at "));
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    assert!(machine.run(&["status"]).success().starts_with("active, loaded from policy.yaml at "));
}

#[test]
fn a_boot_before_the_disk_can_be_written_is_no_trouble_when_nothing_is_to_be_written() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply", "--confirm", "1h"]).success();
    machine.run(&["rollback"]).success();
    machine.run(&["apply"]).success();
    with_own_mounts(|| {
        machine.reboot();
        mount_read_only(&machine.path("lib"));
        let done = machine.run(&["boot", "--json"]);
        assert_eq!(done.stderr, "");
        assert_eq!(booted(done), ("policy".to_owned(), None));
    });
}
