//! `apply --confirm`: what nobody confirms is undone, whatever dies before.

mod support;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use support::machine::{Machine, mount_read_only, wait_until, with_own_mounts};
use support::namespace::{Output, output};
use support::program::palisade;

/// Rules of SSH alone, and of SSH and HTTP.
fn both() -> (String, String) {
    (Machine::rules_of(&[]), Machine::rules_of(&[80]))
}

/// A machine on which SSH alone is open, with a policy that would open HTTP too.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    machine.open(&[80]);
    machine
}

#[track_caller]
fn refused(done: Output) -> String {
    assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""));
    done.stderr
}

#[test]
fn what_nobody_confirms_is_undone_though_the_session_is_killed() {
    let (old, new) = both();
    let machine = machine();
    let mut command = machine.ssh_command(&["apply", "--confirm", "5s"]);
    // A shell that stays after the apply, as a user's does; all of its processes are killed as when a connection is cut.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut session = command.spawn().expect("it starts");
    let mut said = String::new();
    let mut stdout = BufReader::new(session.stdout.take().expect("it was piped"));
    stdout.read_line(&mut said).expect("it says so");
    assert!(said.starts_with("applied: "), "{said}");
    assert_eq!(machine.rules(), new);
    let status = machine.run(&["status"]).success();
    assert!(status.contains("unless `palisade confirm` comes from a new connection\n"), "{status}");
    let group = Pid::from_raw(i32::try_from(session.id()).expect("a process id"));
    let _ = killpg(group, Signal::SIGHUP);
    let _ = killpg(group, Signal::SIGKILL);
    session.wait().expect("it was started");

    machine.wait_for(&old);
    wait_until(|| !machine.waits());
    machine.reboot();
    let booted: Value = serde_json::from_str(&machine.run(&["boot", "--json"]).success()).expect("JSON");
    assert_eq!(booted["booted_from"], "last-good", "the policy was undone");
    assert_eq!(machine.rules(), old);
    assert_eq!(machine.ssh(&["apply", "--quiet"]).status, Some(0));
    assert_eq!(machine.rules(), new);
}

#[test]
fn what_a_new_connection_confirms_stays_and_is_kept() {
    let (_, new) = both();
    let machine = machine();
    let said = machine.ssh(&["apply", "--confirm", "5s"]).success();
    let (first, rest) = said.split_once('\n').expect("two lines");
    assert!(first.starts_with("applied: ") && first.ends_with(" verified"), "{said}");
    assert_eq!(
        rest,
        "It is undone in 5s unless you confirm it: open a NEW connection to this machine, and run `palisade confirm` \
         there. `palisade rollback` undoes it now.\n"
    );
    // Of the ticks that process times are told in, one has passed at least.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let said = machine.ssh(&["confirm"]).success();
    assert_eq!(said, format!("confirmed: {} stays\n", machine.path("policy.yaml").display()));
    assert!(!machine.waits());

    wait_until(|| !machine.is_watched());
    assert_eq!(machine.rules(), new);
    machine.write("policy.yaml", "");
    machine.reboot();
    machine.run(&["boot"]).success();
    assert_eq!(machine.rules(), new, "it is the last good one");
    assert_eq!(refused(machine.ssh(&["confirm"])), "error: no change waits for confirmation\n");
}

#[test]
fn the_connection_that_applied_cannot_confirm_and_a_console_can() {
    let machine = machine();
    let palisade = palisade();
    let script = format!(
        "run() {{ {palisade} --policy {p}/policy.yaml --state-dir {p}/lib --run-dir {p}/run \"$@\"; }}\n\
         run apply --confirm 1h --quiet && run confirm; exit $?",
        p = machine.path("").display()
    );
    let done = output(machine.inside.command(&machine.path("sshd").display().to_string()).args(["-c", &script]));
    assert_eq!(done.status, Some(1));
    assert_eq!(
        done.stderr,
        "error: not confirmed: this connection was there before the change, and does not show that a new one gets in: \
         open a new SSH connection and run `palisade confirm` there\n"
    );
    assert!(machine.waits());

    // A shell whose connection is gone, as one in tmux. Nothing is above it in its namespace of processes.
    let alone = |variable: &str| {
        let mut command = machine.inside.command("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "env", "-i", variable]).arg(palisade);
        command.arg("--state-dir").arg(machine.path("lib")).arg("--run-dir").arg(machine.path("run")).arg("confirm");
        output(&mut command)
    };
    let said = refused(alone("SSH_CONNECTION=203.0.113.9 50000 203.0.113.1 22"));
    assert!(said.starts_with("error: not confirmed: this shell has outlived the connection"), "{said}");
    assert!(alone("TERM=linux").success().starts_with("confirmed: "));
}

#[test]
fn while_a_change_waits_no_other_is_made_and_rollback_undoes_it_at_once() {
    let (old, new) = both();
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    machine.open(&[81]);
    for arguments in [&["apply"][..], &["apply", "--confirm", "5s"]] {
        let said = refused(machine.ssh(arguments));
        assert!(said.starts_with("error: a change waits for confirmation for another "), "{said}");
        assert!(said.ends_with(": `palisade confirm` or `palisade rollback` first\n"), "{said}");
    }
    // The unit started again is no boot.
    let said = machine.run(&["boot"]).success();
    assert!(said.starts_with("nothing to do: a change waits for confirmation for another "), "{said}");
    assert_eq!(machine.rules(), new);

    let said = machine.ssh(&["rollback"]).success();
    let path = machine.path("policy.yaml").display().to_string();
    assert_eq!(said, format!("undone: {path} was not confirmed; the ruleset from before it is in force\n"));
    assert_eq!(machine.rules(), old);
    assert_eq!(refused(machine.ssh(&["confirm"])), "error: no change waits for confirmation\n");
    machine.ssh(&["apply"]).success();
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
}

#[test]
fn a_first_change_that_is_undone_leaves_no_table() {
    let machine = Machine::new();
    machine.open(&[]);
    machine.ssh(&["apply", "--confirm", "5s"]).success();
    assert_ne!(machine.rules(), "");
    machine.wait_for("");
    wait_until(|| !machine.waits());
}

#[test]
fn what_somebody_had_changed_by_hand_is_what_a_change_is_undone_to() {
    let machine = machine();
    machine.inside.nft_load("add element inet palisade services-tcp { 4242 : jump service-ssh }");
    let by_hand = machine.rules();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    assert_ne!(machine.rules(), by_hand);
    machine.ssh(&["rollback"]).success();
    assert_eq!(machine.rules(), by_hand);

    machine.inside.nft_load("add counter inet palisade hits");
    let said = refused(machine.ssh(&["apply", "--confirm", "1h"]));
    assert_eq!(said, "error: the ruleset can't be kept: counter hits of a form that this version does not know\n");
    assert!(!machine.waits());
}

#[test]
fn a_reboot_before_the_confirmation_loads_what_was_there_before() {
    let (old, _) = both();
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    machine.reboot();

    let done = machine.run(&["boot"]);

    let path = machine.path("policy.yaml").display().to_string();
    let what = "the ruleset that was in force before a change that nobody confirmed";
    assert_eq!(done.stderr, format!("ERROR loaded {what}, since nobody has confirmed the change to {path}\n"));
    assert_eq!((done.status, machine.rules()), (Some(0), old.clone()));
    machine.reboot();
    let done = machine.run(&["boot"]);
    assert!(
        done.stderr.starts_with("ERROR loaded the last good ruleset, since the policy was undone"),
        "{}",
        done.stderr
    );
    assert_eq!((done.status, machine.rules()), (Some(0), old));
}

#[test]
fn a_first_change_that_a_reboot_cuts_short_leaves_a_lockdown() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    machine.reboot();
    let booted: Value = serde_json::from_str(&machine.run(&["boot", "--json"]).success()).expect("JSON");
    assert_eq!(booted["booted_from"], "lockdown");
}

#[test]
fn whoever_writes_next_undoes_what_nobody_was_left_to_undo() {
    let (old, _) = both();
    for arguments in [&["apply"][..], &["confirm"], &["rollback"], &["disable", "--yes"]] {
        let machine = machine();
        machine.ssh(&["apply", "--confirm", "1h"]).success();
        // As if the watcher had been killed and the time were over.
        let path = machine.kept("pending/change.json");
        let mut change: Value = serde_json::from_str(&fs::read_to_string(&path).expect("it waits")).expect("JSON");
        let deadline = change["deadline_ms"].as_u64().expect("a number");
        change["deadline_ms"] = (deadline - 3_600_000).into();
        change["id"] = "nobodys".into();
        fs::write(&path, change.to_string()).expect("scratch is writable");
        machine.open(&[81]);

        let done = machine.ssh(arguments);

        assert!(!machine.waits(), "{arguments:?}");
        let rules = machine.rules();
        match arguments[0] {
            "apply" => assert_eq!((done.status, rules), (Some(0), Machine::rules_of(&[81]))),
            "confirm" => {
                assert_eq!((done.status, rules), (Some(1), old.clone()));
                assert!(done.stderr.ends_with("error: too late: the change is undone\n"), "{}", done.stderr);
            }
            "rollback" => assert_eq!((done.status, rules), (Some(0), old.clone())),
            _ => assert_eq!((done.status, rules.as_str()), (Some(0), "")),
        }
    }
}

#[test]
fn a_confirmation_that_was_killed_half_way_is_finished_by_whoever_writes_next() {
    let (_, new) = both();
    for moved in [false, true] {
        let machine = machine();
        machine.ssh(&["apply", "--confirm", "1h"]).success();
        let pending = machine.kept("pending");
        fs::rename(pending.join("change.json"), pending.join("confirmed.json")).expect("it waits");
        if moved {
            fs::rename(pending.join("desired.ruleset"), machine.kept("rulesets/000002.ruleset")).expect("it waits");
        }
        machine.write("policy.yaml", "");
        machine.reboot();
        let booted: Value = serde_json::from_str(&machine.run(&["boot", "--json"]).success()).expect("JSON");
        assert_eq!(booted["booted_from"], "last-good");
        assert_eq!(machine.rules(), new);
        assert_eq!(fs::read_dir(&pending).expect("a folder").count(), 0);
    }
}

#[test]
fn disable_takes_a_change_that_waits_along() {
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "5s"]).success();
    machine.ssh(&["disable", "--yes"]).success();
    assert!(!machine.waits());
    wait_until(|| !machine.is_watched());
    assert_eq!(machine.rules(), "", "nobody brings back what it had replaced");
}

#[test]
fn the_watcher_ends_when_there_is_nothing_left_to_watch() {
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    let change = fs::read_to_string(machine.kept("pending/change.json")).expect("it waits");
    assert!(change.contains("\"keeper\":\"watcher\""), "{change}");
    assert!(machine.is_watched());
    machine.ssh(&["rollback"]).success();
    wait_until(|| !machine.is_watched());
}

#[test]
fn a_time_that_is_no_time_or_too_short_or_too_long_is_refused() {
    let machine = machine();
    let wrong = [("soon", "expected number at 0"), ("4s", "5 seconds at least"), ("2days", "5 seconds at least")];
    for (time, why) in wrong {
        let said = refused(machine.run(&["apply", "--confirm", time]));
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(machine.rules(), Machine::rules_of(&[]));
}

#[test]
fn a_change_that_the_kernel_already_holds_needs_no_confirmation() {
    let machine = machine();
    machine.run(&["apply"]).success();
    let said = machine.ssh(&["apply", "--confirm", "5s"]).success();
    assert_eq!(said, "nothing to do: the kernel already holds this policy\n");
    assert!(!machine.waits());
}

#[test]
fn on_a_disk_that_has_become_read_only_a_change_is_undone_once_and_again_by_a_reboot() {
    let (old, new) = both();
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    with_own_mounts(|| {
        mount_read_only(&machine.path("lib"));
        let done = machine.ssh(&["rollback"]);
        assert_eq!((done.status, machine.rules()), (Some(0), old.clone()));
        assert!(done.stderr.starts_with("ERROR the change is undone, but can't write "), "{}", done.stderr);
        machine.ssh(&["apply"]).success();
        assert_eq!(machine.rules(), new);
        assert_eq!(refused(machine.ssh(&["confirm"])), "error: no change waits for confirmation\n");
        assert_eq!(machine.rules(), new, "what was undone once is not undone again");
    });
    machine.reboot();
    machine.run(&["boot"]).success();
    assert_eq!(machine.rules(), old);
}

#[test]
fn a_damaged_note_of_a_change_does_not_bar_the_way() {
    let machine = machine();
    machine.ssh(&["apply", "--confirm", "1h"]).success();
    fs::write(machine.kept("pending/change.json"), "garbage").expect("scratch is writable");
    machine.open(&[81]);
    let done = machine.ssh(&["apply"]);
    assert!(done.stderr.contains("change.json can't be used: it is not what palisade writes"), "{}", done.stderr);
    assert_eq!((done.status, machine.rules()), (Some(0), Machine::rules_of(&[81])));
    assert!(!machine.waits());
}

/// A time namespace moves the clocks that count from the machine's start. The wall clock has none, and is not asked:
/// `structure.rs` holds that.
#[test]
fn the_time_that_a_machine_sleeps_counts_as_time_to_confirm_in() {
    let machine = Machine::new();
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    let before = machine.rules();
    let later = |clock: &str, arguments: &[&str]| {
        let mut command = machine.inside.command("unshare");
        command.args(["--time", clock, "7200", "--fork", "--", palisade(), "--state-dir"]);
        output(command.arg(machine.path("lib")).arg("--run-dir").arg(machine.path("run")).args(arguments))
    };
    machine.open(&[81]);
    machine.run(&["apply", "--confirm", "1h"]).success();

    // As after two hours of sleep, of which the monotonic clock knows nothing.
    let nobody = format!("ERROR nobody has confirmed the change to {}", machine.path("policy.yaml").display());
    let said = refused(later("--boottime", &["confirm"]));
    assert_eq!(said, format!("{nobody}: it is undone first\nerror: too late: the change is undone\n"));
    assert_eq!(machine.rules(), before);
    machine.run(&["apply", "--confirm", "1h"]).success();
    assert!(later("--monotonic", &["confirm"]).success().starts_with("confirmed: "));
    assert_eq!(machine.rules(), Machine::rules_of(&[81]));
}
