//! What `boot` loads while the policy can't be read yet, or never, and when the rules were flushed meanwhile.

mod support;

use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use support::faulty;
use support::machine::{Machine, policy, wait_until};
use support::namespace::{Output, output};

/// What `boot` says that it loaded, and why it was not the policy.
#[track_caller]
fn booted(done: Output) -> (String, Option<String>) {
    let json: Value = serde_json::from_str(&done.success()).expect("JSON");
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    (text("booted_from").unwrap_or_default(), text("why"))
}

#[track_caller]
fn boot(machine: &Machine, options: &[&str]) -> (String, Option<String>) {
    booted(machine.run(&[&["boot", "--json"], options].concat()))
}

/// `boot` of a palisade whose reader of the policy has a fault.
fn faulty_boot(machine: &Machine, fault: &str, time: &str) -> Command {
    let mut command = machine.inside.command("env");
    command.arg(format!("PALISADE_FAULT={fault}")).arg(faulty::program());
    command.arg("--policy").arg(machine.path("policy.yaml")).arg("--state-dir").arg(machine.path("lib"));
    command.arg("--run-dir").arg(machine.path("run")).args(["boot", "--json", "--reading-memory=64"]);
    command.arg(format!("--reading-time={time}"));
    command
}

/// A machine that had rules for port 80 when it was switched off, with a policy for port 81.
fn switched_off() -> Machine {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    machine.open(&[81]);
    machine.reboot();
    machine
}

/// Each fault, and why the policy is not loaded then.
const FAULTS: [(&str, &str); 8] = [
    ("panic", "palisade itself failed at it, which is a bug worth a report"),
    ("exit", "it ended with exit status 0"),
    ("sleep", "it took longer than 300ms"),
    ("spin", "it took longer than 300ms"),
    ("memory", "it needed more than 64 MiB of memory"),
    ("babble", "what came of it can't be used: a line without an end"),
    ("nonsense", "what came of it can't be used: a line that means nothing"),
    ("damage", "what came of it can't be used: it is cut off"),
];

#[test]
fn whatever_becomes_of_the_process_that_reads_the_policy_the_last_good_ruleset_is_in_force() {
    let rules = Machine::rules_of(&[80]);
    for (fault, why) in FAULTS {
        let machine = switched_off();
        let time = if why.contains("300ms") { "300ms" } else { "60s" };

        let said = booted(output(&mut faulty_boot(&machine, fault, time)));

        assert_eq!(
            said,
            ("last-good".to_owned(), Some(format!("reading the policy did not succeed: {why}"))),
            "{fault}"
        );
        assert_eq!(machine.rules(), rules, "{fault}");
        // Without the fault it is the policy.
        machine.reboot();
        assert_eq!(boot(&machine, &[]), ("policy".to_owned(), None), "{fault}");
    }
}

#[test]
fn with_nothing_kept_and_a_reader_that_fails_all_is_denied_but_ssh() {
    let machine = Machine::new();
    machine.open(&[80]);

    let (from, why) = booted(output(&mut faulty_boot(&machine, "panic", "60s")));

    let failed = "reading the policy did not succeed: palisade itself failed at it, which is a bug worth a report";
    assert_eq!((from.as_str(), why), ("lockdown", Some(format!("{failed}; no ruleset is kept to fall back on"))));
    assert!(machine.rules().contains("elements = { 22 : jump service-ssh }"), "{}", machine.rules());
}

#[test]
fn rules_are_in_force_while_the_policy_is_read_and_the_reader_ends_with_its_parent() {
    let machine = switched_off();
    let mut running = faulty_boot(&machine, "sleep", "1h").stdout(Stdio::null()).spawn().expect("it starts");

    machine.wait_for(&Machine::rules_of(&[80]));

    assert!(running.try_wait().expect("a child can be waited for").is_none(), "the policy is still being read");
    let readers = || {
        let own = machine.path("policy.yaml").display().to_string();
        let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let lines = processes.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|l| l.contains(&own)).count()
    };
    assert_eq!(readers(), 2, "the one that waits and the one that reads");
    running.kill().expect("it runs");
    running.wait().expect("it was killed");
    wait_until(|| readers() == 0);
}

#[test]
fn a_policy_whose_expectations_cannot_be_proved_is_loaded_and_that_is_an_error() {
    let machine = switched_off();

    let done = output(&mut faulty_boot(&machine, "proof", "60s"));

    let unproved = "ERROR the policy is loaded, and nobody knows whether it is as expected: proving what it expects did not \
                    succeed: it ended with exit status 0\n";
    // Kernels differ in whether they have Landlock, which is told first.
    let said: String =
        done.stderr.lines().filter(|line| !line.starts_with(" INFO")).map(|l| format!("{l}\n")).collect();
    assert_eq!(said, unproved);
    assert_eq!(booted(done), ("policy".to_owned(), None));
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
    // It is what the next boot falls back on.
    machine.reboot();
    assert_eq!(booted(output(&mut faulty_boot(&machine, "panic", "60s"))).0, "last-good");
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
}

#[test]
fn expectations_that_are_not_met_at_boot_are_a_warning() {
    let machine = Machine::new();
    let text = format!("{}expect:\n  - {{ deny: 22/tcp, from: any }}\n", policy(&[80]));
    machine.write("policy.yaml", &text);

    let done = machine.run(&["boot", "--json"]);

    let first = done.stderr.lines().next().unwrap_or_default().trim_start();
    assert_eq!(first, "WARN the policy is loaded although it is not as expected");
    assert_eq!(booted(done), ("policy".to_owned(), None));
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

/// What made the renderer of problems panic once.
#[test]
fn a_policy_of_24_bytes_that_made_palisade_panic_leaves_the_last_good_ruleset_in_force() {
    let machine = switched_off();
    machine.write("policy.yaml", "version: 1\nblock: >\r\r\r\n");

    assert_eq!(boot(&machine, &[]).0, "last-good");
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn a_restart_of_the_unit_keeps_newer_rules_in_force_until_the_policy_is_read() {
    let machine = switched_off();
    machine.run(&["boot"]).success();
    let newer = Machine::rules_of(&[81]);
    // As after an apply that could not be kept.
    fs::remove_file(machine.kept("rulesets/000002.ruleset")).expect("it was kept");
    machine.open(&[82]);
    let mut running = faulty_boot(&machine, "sleep", "1h").stdout(Stdio::null()).spawn().expect("it starts");
    let reads = || {
        let children = format!("/proc/{0}/task/{0}/children", running.id());
        fs::read_to_string(children).is_ok_and(|children| !children.is_empty())
    };
    wait_until(reads);

    assert_eq!(machine.rules(), newer);
    running.kill().expect("it runs");
    running.wait().expect("it was killed");
    assert_eq!(machine.rules(), newer);
}

#[test]
fn rules_that_were_flushed_while_a_change_waits_are_those_of_the_change_and_undoing_it_still_works() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    machine.open(&[81]);
    machine.run(&["apply", "--confirm", "1h"]).success();
    // A restart of the unit, and what runs after nftables.service has flushed.
    for options in [&[][..], &["--missing"]] {
        machine.inside.nft_load("flush ruleset");
        assert_eq!(machine.rules(), "");

        let (from, why) = boot(&machine, options);

        assert_eq!(from, "waiting");
        assert_eq!(why.as_deref(), Some("palisade's rules were gone while a change waits for confirmation"));
        assert_eq!(machine.rules(), Machine::rules_of(&[81]));
        let (from, why) = boot(&machine, options);
        assert_eq!(from, "", "{why:?}");
    }

    machine.run(&["rollback"]).success();
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn rules_that_were_flushed_while_a_change_was_being_loaded_are_those_before_it() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    machine.open(&[81]);
    machine.run(&["apply", "--confirm", "1h"]).success();
    let change = machine.kept("pending/change.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&change).expect("it waits")).expect("JSON");
    json["loaded_ms"] = Value::Null;
    fs::write(&change, format!("{json}\n")).expect("root may");
    machine.inside.nft_load("flush ruleset");

    assert_eq!(boot(&machine, &[]).0, "previous");
    assert_eq!(machine.rules(), Machine::rules_of(&[80]));
}

#[test]
fn what_brings_flushed_rules_back_loads_no_policy_that_was_not_applied_and_nothing_that_was_lifted() {
    let machine = Machine::new();
    machine.open(&[80]);
    let nothing = |machine: &Machine, why: &str| {
        assert_eq!(boot(machine, &["--missing"]), (String::new(), Some(why.to_owned())));
    };
    let never = "no rules of palisade's were in force since this machine was started";
    nothing(&machine, never);
    assert_eq!(machine.rules(), "");

    machine.run(&["apply"]).success();
    let rules = machine.rules();
    nothing(&machine, "the rules are loaded");
    machine.open(&[81]);
    machine.inside.nft_load("flush ruleset");
    assert_eq!(
        boot(&machine, &["--missing"]),
        ("last-good".to_owned(), Some("palisade's rules were gone".to_owned()))
    );
    assert_eq!(machine.rules(), rules);
    assert!(!machine.run(&["status"]).success().contains("loaded at boot"));

    machine.run(&["disable", "--yes"]).success();
    nothing(&machine, never);
    assert_eq!(machine.rules(), "");

    // Where nothing could be kept, the policy is what there is.
    machine.run(&["apply"]).success();
    fs::remove_dir_all(machine.path("lib")).expect("it was kept");
    machine.inside.nft_load("flush ruleset");
    assert_eq!(boot(&machine, &["--missing"]), ("policy".to_owned(), None));
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
}

/// A list that a download broke, or emptied, costs neither the edits of the policy made since nor what was blocked.
#[test]
fn a_list_that_is_broken_at_boot_is_taken_as_it_was_applied_and_the_rest_from_the_policy_of_today() {
    let broken = [
        ("<!DOCTYPE html>\n<html>429 Too Many Requests</html>\n", "can't be used"),
        ("192.0.2.300\n", "can't be used"),
        ("0.0.0.0/0\n", "can't be used"),
        ("# nothing today\n", "is empty"),
    ];
    for (text, why) in broken {
        let machine = Machine::new();
        let blocks = |ports: &[u16]| format!("{}block: [{{ file: list.txt }}]\n", policy(ports));
        machine.write("list.txt", "192.0.2.7\n198.51.100.0/24\n");
        machine.write("policy.yaml", &blocks(&[81]));
        machine.run(&["apply"]).success();
        let expected = machine.rules();
        machine.write("policy.yaml", &blocks(&[80]));
        machine.run(&["apply"]).success();
        machine.write("policy.yaml", &blocks(&[81]));
        machine.write("list.txt", text);
        machine.reboot();

        let file = machine.path("list.txt");
        let why = format!(
            "the file `{}` {why}: in its place are the addresses of the last `palisade apply`",
            file.display()
        );
        assert_eq!(boot(&machine, &[]), ("policy".to_owned(), Some(why.clone())), "{text}");
        assert_eq!(machine.rules(), expected, "{text}");
        let status = machine.run(&["status"]).stdout;
        assert!(status.contains(&format!("loaded at boot: the policy, but {why}\n")), "{status}");
    }
}

#[test]
fn a_list_that_was_emptied_is_applied_by_force_alone_and_then_stays_empty() {
    let machine = Machine::new();
    machine.write("list.txt", "192.0.2.7\n198.51.100.0/24\n");
    machine.write("policy.yaml", &format!("{}block: [{{ file: list.txt }}]\n", policy(&[80])));
    machine.run(&["apply"]).success();
    machine.write("list.txt", "");

    let refused = machine.run(&["apply"]);

    let file = machine.path("list.txt");
    let why = format!(
        "error: the file `{}` is empty, and held 2 addresses and networks when it was last applied: fill it again, or, if \
         that is meant, `palisade apply --force`",
        file.display()
    );
    assert_eq!(refused.status, Some(1));
    assert_eq!(refused.stderr.lines().last(), Some(why.as_str()));
    machine.run(&["apply", "--force"]).success();
    machine.run(&["apply"]).success();
    let empty = machine.rules();
    machine.reboot();
    assert_eq!(boot(&machine, &[]), ("policy".to_owned(), None));
    assert_eq!(machine.rules(), empty);
}
