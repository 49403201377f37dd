//! A change that waits for confirmation, on a machine that systemd runs: a timer undoes it, or the next boot does.
#![allow(missing_docs)]

mod support;

use std::time::Instant;
use support::lab::{CLIENT, HOST, without_live, without_time};
use support::nspawn::{EARLY, Machine, Suite};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// Cuts off everyone but the early listener's clients, by a typing error in the one address that SSH is open to: nobody could
/// confirm it. Without any service for SSH `apply` refuses it, whether it waits for confirmation or not.
const LOCKS_OUT: &str =
    "version: 1\nservices:\n  early: { ports: 4444/tcp, from: any }\n  ssh: { ports: 22/tcp, from: 192.0.2.9 }\n";
const TIMERS: &str =
    "systemctl list-timers --all --no-legend 'palisade-undo-*'; systemctl list-units --failed --no-legend";

/// A machine that runs with the packaged policy, to which the other one is then applied for so long; with what was loaded
/// before.
#[track_caller]
fn machine_with_a_waiting_change(suite: Suite, time: &str) -> (Machine, Vec<String>) {
    let mut machine = Machine::with_palisade(suite);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    let before = apply_for(&machine, time);
    (machine, before)
}

#[track_caller]
fn apply_for(machine: &Machine, time: &str) -> Vec<String> {
    let before = rules(machine);
    machine.write("/etc/palisade/policy.yaml", LOCKS_OUT);
    let said = machine.run(&format!("palisade apply --confirm {time}"));
    assert!(said.contains("unless you confirm it"), "{said}");
    assert_eq!(probe(machine, 22), Outcome::TimedOut);
    before
}

/// The rules that are loaded, without counts and the time of loading. A chain that went and came back stands elsewhere.
#[track_caller]
fn rules(machine: &Machine) -> Vec<String> {
    let listing = without_live(&without_time(&machine.run("nft --stateless list ruleset")));
    let mut chains: Vec<String> =
        listing.split("\n\n").map(|chain| chain.trim_end_matches(['\n', '}']).to_owned()).collect();
    chains.sort();
    chains
}

fn probe(machine: &Machine, port: u16) -> Outcome {
    machine.client.probe(Target::Tcp(port), CLIENT[0], HOST[0], SILENCE)
}

#[track_caller]
fn systemd_undoes_it(suite: Suite) {
    let (machine, before) = machine_with_a_waiting_change(suite, "5s");
    assert!(machine.run(TIMERS).contains("palisade-undo-"), "{}", machine.run(TIMERS));

    let since = Instant::now();
    while rules(&machine) != before {
        let now = rules(&machine);
        assert!(since.elapsed() < PATIENCE * 4, "{now:#?}\nand not\n{before:#?}");
    }

    machine.assert_ssh_answers();
    let since = Instant::now();
    while !machine.run(TIMERS).is_empty() {
        assert!(since.elapsed() < PATIENCE, "{}", machine.run(TIMERS));
    }
}

#[test]
fn systemd_undoes_what_nobody_confirms_on_debian_12() {
    systemd_undoes_it(Suite::Bookworm);
}

#[test]
fn systemd_undoes_what_nobody_confirms_on_debian_13() {
    systemd_undoes_it(Suite::Trixie);
}

#[test]
fn what_is_confirmed_stays() {
    let (machine, before) = machine_with_a_waiting_change(Suite::Bookworm, "1h");

    machine.run("palisade confirm");

    assert!(rules(&machine) != before, "undone although it was confirmed");
    assert_eq!(machine.run(TIMERS), "");
}

#[test]
fn what_waits_is_left_alone_when_the_unit_is_restarted() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.boot(&[]);
    // A container's own, which systemd-nspawn mounts over the kernel's, is not in the /proc that a hardened unit gets.
    machine.run("umount /proc/sys/kernel/random/boot_id");
    let before = apply_for(&machine, "1h");

    machine.run("systemctl restart palisade");

    assert!(rules(&machine) != before, "undone by the unit");
    machine.run("palisade rollback");
    assert_eq!(rules(&machine), before);
}

#[test]
fn a_boot_does_not_load_what_nobody_confirmed() {
    let (mut machine, _) = machine_with_a_waiting_change(Suite::Bookworm, "1h");
    machine.power_off();

    machine.boot(&[]);

    machine.assert_ssh_answers();
    assert_eq!(probe(&machine, EARLY), Outcome::TimedOut);
    machine.wait_for_console("loaded the ruleset that was in force before a change that nobody confirmed, since ");
    assert_eq!(machine.run(TIMERS), "");
}
