//! SIGKILL at any instant: the kernel holds the one policy or the other, and the next command works.
//!
//! `PALISADE_SEED` makes the instants come again, as far as this machine is as fast.

mod support;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::dice::Dice;
use support::machine::{Machine, policy, wait_until};
use support::namespace::output;

fn start(command: &mut Command) -> Child {
    // A group of its own, so that the shell that stands for sshd dies with palisade.
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// Kills it after that time, unless it has ended; whether it succeeded before.
fn kill_after(mut child: Child, time: Duration) -> bool {
    thread::sleep(time);
    let _ = killpg(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGKILL);
    child.wait().expect("it was started").success()
}

/// How long a command takes, which the instants are drawn from.
fn duration(mut run: impl FnMut()) -> Duration {
    run();
    let begun = Instant::now();
    (0..3).for_each(|_| run());
    begun.elapsed() / 2
}

/// Ports enough for an apply to take its time, in the same lines of the policy.
fn many(from: u16) -> String {
    policy(&(0..200).map(|n| from + 2 * n).collect::<Vec<_>>())
}

fn kill_applies(runs: usize) {
    let mut dice = Dice::new();
    let machine = Machine::new();
    let policies = [many(10_000), many(20_000)];
    let apply = |index: usize, killed: &mut dyn FnMut(Child)| {
        machine.write("policy.yaml", &policies[index]);
        killed(start(&mut machine.command("policy.yaml", &["apply"])));
    };
    let rules = [0, 1].map(|index| {
        machine.inside.nft_load("flush ruleset");
        apply(index, &mut |mut child| assert!(child.wait().expect("it was started").success()));
        machine.rules()
    });
    let mut turn = 0;
    let takes = duration(|| {
        turn += 1;
        apply(turn % 2, &mut |mut child| assert!(child.wait().expect("it was started").success()));
    });
    // How often the old rules, the new ones, and an apply that had ended were seen.
    let (mut old, mut new, mut ended) = (0, 0, 0);
    let mut holds = turn % 2;
    for run in 0..runs {
        let next = 1 - holds;
        apply(next, &mut |child| ended += usize::from(kill_after(child, dice.time_below(takes))));
        let live = machine.rules();
        match rules.iter().position(|rules| *rules == live) {
            Some(found) if found == next => new += 1,
            Some(_) => old += 1,
            None => panic!("after run {run} it is neither of the two:\n{live}"),
        }
        if run % 10 == 9 {
            // The next one, which nobody kills.
            apply(next, &mut |mut child| assert!(child.wait().expect("it was started").success(), "run {run}"));
            assert!(machine.rules() == rules[next], "after run {run}");
            assert_eq!(machine.run(&["diff"]).success(), "");
            machine.write("policy.yaml", "");
            assert!(machine.run(&["boot", "--json"]).success().contains("\"last-good\""));
            assert!(machine.rules() == rules[next], "after run {run}: what is kept is what was loaded");
        }
        holds = rules.iter().position(|rules| *rules == machine.rules()).expect("one of the two");
    }
    eprintln!(
        "{runs} applies killed within {takes:?}: {old} left the old rules, {new} the new; {ended} had ended before"
    );
    assert!(old > 0 && new > 0, "the instants were no good");
}

/// What becomes of one change: applied, perhaps confirmed, and each of the two killed at some instant or not at all.
fn kill_a_confirmation(rules: &[String; 2], kills: [Option<Duration>; 2], confirms: bool) -> &'static str {
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    machine.open(&[80]);
    let [killed_apply, killed_confirm] = kills;
    let after = |time: Option<Duration>| time.unwrap_or(Duration::from_secs(60));
    let run = |arguments: &[&str], kill: Option<Duration>| match kill {
        None => machine.ssh(arguments).status == Some(0),
        Some(_) => kill_after(start(&mut machine.ssh_command(arguments)), after(kill)),
    };
    // Killed in its last instants it has loaded the change all the same, which may then be confirmed.
    run(&["apply", "--confirm", "5s"], killed_apply);
    let begun = machine.waits();
    let confirmed = confirms && {
        thread::sleep(Duration::from_millis(30));
        run(&["confirm"], killed_confirm)
    };
    // Without a watcher it is settled, or nobody had come so far as to change a rule.
    wait_until(|| !machine.is_watched());
    let live = machine.rules();
    assert!(rules.contains(&live), "neither of the two:\n{live}");
    let restored = live == rules[0];
    if confirmed {
        assert!(!restored, "what was confirmed stays");
    } else if !confirms {
        assert!(restored, "what nobody confirmed is undone");
    }
    // What holds now holds after a reboot, unless nothing had been written down yet: then this is the policy's first load.
    // Beside other load a change may have been undone before it was looked at.
    let begun = begun || machine.kept("undone").exists();
    machine.reboot();
    let booted = machine.run(&["boot", "--json"]).success();
    assert!(machine.rules() == if begun { live } else { rules[1].clone() }, "{booted}");
    machine.open(&[80]);
    machine.run(&["apply"]).success();
    assert!(machine.rules() == rules[1], "the next apply works");
    match (confirmed, restored) {
        (true, _) => "confirmed",
        (false, true) => "restored",
        (false, false) => "confirmed by a process that was killed then",
    }
}

fn kill_confirmations(runs: usize, at_once: usize) {
    let mut dice = Dice::new();
    let rules = [Machine::rules_of(&[]), Machine::rules_of(&[80])];
    let machine = Machine::new();
    machine.open(&[]);
    // As slow as it is among so many.
    let takes = duration(|| drop(machine.run(&["apply"]))) * u32::try_from(at_once.div_ceil(2)).expect("a few") * 3;
    let mut plans = (0..runs).map(|run| {
        let (apply, confirm) = (dice.time_below(takes), dice.time_below(takes / 2));
        match run % 4 {
            0 => ([Some(apply), None], false),
            1 => ([Some(apply), None], true),
            2 => ([None, Some(confirm)], true),
            _ => ([Some(apply), Some(confirm)], true),
        }
    });
    let mut ends = std::collections::BTreeMap::new();
    loop {
        let batch: Vec<_> = plans.by_ref().take(at_once).collect();
        if batch.is_empty() {
            break;
        }
        thread::scope(|scope| {
            let threads: Vec<_> = batch
                .into_iter()
                .map(|(kills, confirms)| {
                    let rules = &rules;
                    scope.spawn(move || kill_a_confirmation(rules, kills, confirms))
                })
                .collect();
            for thread in threads {
                let end = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                *ends.entry(end).or_insert(0) += 1;
            }
        });
    }
    eprintln!("{runs} changes, their processes killed within {takes:?}: {ends:?}");
}

#[test]
fn an_apply_that_is_killed_leaves_the_old_rules_or_the_new_and_the_next_one_works() {
    kill_applies(60);
}

#[test]
#[ignore = "takes minutes"]
fn two_thousand_applies_that_are_killed_leave_the_old_rules_or_the_new() {
    kill_applies(2_000);
}

#[test]
fn a_change_whose_processes_are_killed_ends_confirmed_or_restored() {
    kill_confirmations(16, 16);
}

#[test]
#[ignore = "takes minutes"]
fn five_hundred_changes_whose_processes_are_killed_end_confirmed_or_restored() {
    kill_confirmations(500, 20);
}

#[test]
fn a_writer_that_is_killed_leaves_nothing_that_grows() {
    let machine = Machine::new();
    machine.open(&[80]);
    let takes = duration(|| drop(machine.run(&["apply"])));
    let mut dice = Dice::new();
    for port in 81..101 {
        machine.open(&[port]);
        kill_after(start(&mut machine.command("policy.yaml", &["apply"])), dice.time_below(takes));
    }
    machine.open(&[102]);
    output(&mut machine.command("policy.yaml", &["apply"])).success();
    let kept = fs::read_dir(machine.kept("rulesets")).expect("a folder").count();
    assert!(kept <= 6, "five rulesets, and one that was not written to its end: {kept}");
}
