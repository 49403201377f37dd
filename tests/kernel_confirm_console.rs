//! `apply --confirm` at the console: the same terminal asks, while the time runs.
#![allow(missing_docs)]

mod support;

use support::machine::{Machine, wait_until};
use support::terminal::OnTerminal;

/// A machine on which SSH alone is open, with a policy that opens HTTP too, and what this is applied with for a while.
fn applied(time: &str) -> (Machine, OnTerminal) {
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    machine.open(&[80]);
    let command = machine.command("policy.yaml", &["--color", "never", "apply", "--confirm", time]);
    let mut terminal = OnTerminal::begin(command);
    terminal.read_until("[y/n] ");
    (machine, terminal)
}

/// What the terminal shows until somebody answers.
const ASKED: &str = "1 changed (ssh); 1 change to make

opens, where nobody listens yet
  80/tcp: any gains

applied: 1 operation, verified
It is undone in TIME
Keep it? It is undone in TIME[y/n] ";

#[test]
fn yes_at_the_console_keeps_the_change_and_no_undoes_it_at_once() {
    let (machine, mut terminal) = applied("1h");
    terminal.type_in("what?\n");
    terminal.read_until("y keeps the change, n undoes it: ");
    terminal.type_in("y\n");
    let kept = terminal.end();
    let (other, mut terminal) = applied("1h");
    terminal.type_in("n\n");
    let undone = terminal.end();

    let policy = machine.path("policy.yaml");
    assert_eq!((kept.status, kept.stdout), (Some(0), format!("confirmed: {} stays\n", policy.display())));
    assert_eq!(kept.stderr, format!("{ASKED}what?\ny keeps the change, n undoes it: y\n"));
    assert_eq!((undone.status, undone.stdout.as_str()), (Some(1), ""));
    let why = "error: undone, since you did not want it: the ruleset from before the change is in force";
    assert_eq!(undone.stderr, format!("{ASKED}n\n\n{why}"));
    assert_eq!((machine.rules(), other.rules()), (Machine::rules_of(&[80]), Machine::rules_of(&[])));
    assert!(!machine.waits() && !other.waits());
    wait_until(|| !machine.is_watched() && !other.is_watched());
}

#[test]
fn without_an_answer_the_change_is_undone_and_the_command_says_so() {
    let (machine, terminal) = applied("5s");

    let done = terminal.end();

    assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""));
    let why = "error: undone, since nobody kept it in time: the ruleset from before the change is in force";
    assert_eq!(done.stderr, format!("{ASKED}\n{why}"));
    assert_eq!(machine.rules(), Machine::rules_of(&[]));
}

#[test]
fn who_confirms_or_undoes_elsewhere_ends_the_question() {
    let (machine, terminal) = applied("1h");
    machine.ssh(&["confirm"]).success();
    let kept = terminal.end();
    let (other, terminal) = applied("1h");
    other.ssh(&["rollback"]).success();
    let undone = terminal.end();

    let policy = machine.path("policy.yaml");
    assert_eq!((kept.status, kept.stdout), (Some(0), format!("confirmed: {} stays\n", policy.display())));
    assert_eq!((undone.status, undone.stdout.as_str()), (Some(1), ""));
    assert_eq!(other.rules(), Machine::rules_of(&[]));
}

#[test]
fn over_ssh_the_console_asks_nothing_and_a_terminal_that_ends_leaves_the_change_waiting() {
    let machine = Machine::new();
    machine.open(&[80]);
    let over_ssh = OnTerminal::begin(machine.ssh_command(&["--color", "never", "apply", "--confirm", "1h"])).end();
    machine.run(&["rollback"]).success();
    let (other, mut terminal) = applied("1h");
    // The end of what is typed.
    terminal.type_in("\u{4}");
    let done = terminal.end();

    assert_eq!(over_ssh.status, Some(0), "{over_ssh:?}");
    assert!(!over_ssh.stderr.contains("Keep it?"), "{over_ssh:?}");
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("It is undone in "), "{done:?}");
    assert!(other.waits());
    other.run(&["rollback"]).success();
}
