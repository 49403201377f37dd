//! Booted and hammered while the policy can't be read: palisade's own mistakes, and policies that take too long, end a
//! process that no rule depends on.
#![allow(missing_docs)]

mod support;

use std::fmt::Write;
use support::faulty;
use support::lab::{without_live, without_time};
use support::nspawn::hammer::{Boot, NOBODY, assert_denied, hammered, hammered_boot};
use support::nspawn::{Machine, Suite};

const POLICY: &str = "/etc/palisade/policy.yaml";
/// Makes the unit run another palisade, or the same with less time.
const DROP_IN: &str = "/etc/systemd/system/palisade.service.d/test.conf";

/// One that has booted with the packaged policy, which does not let the early listener's clients in, and is off.
#[track_caller]
fn machine_with_a_last_good_ruleset() -> Machine {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    machine.power_off();
    machine
}

/// Has the unit, hardened as ever, run a palisade whose reader has that fault, and has five seconds and 100 MiB.
fn plant(machine: &Machine, fault: &str) {
    machine.copy(&faulty::program(), "/usr/local/sbin/faulty");
    let start = "/usr/local/sbin/faulty boot --reading-time=5s --reading-memory=100";
    machine
        .write(DROP_IN, &format!("[Service]\nEnvironment=PALISADE_FAULT={fault}\nExecStart=\nExecStart={start}\n"));
}

#[track_caller]
fn assert_nobody_got_in(machine: &Machine, boot: &Boot, said: &str) {
    let journal = machine.journal();
    assert_eq!(boot.answers, NOBODY, "{journal}");
    assert_eq!(boot.state, "running", "{journal}");
    assert!(journal.contains(said), "the journal does not say {said:?}:\n{journal}");
    assert_denied(machine);
}

#[test]
fn nobody_gets_in_while_the_reader_panics_takes_for_ever_or_takes_all_memory() {
    let mut machine = machine_with_a_last_good_ruleset();
    let faults = [
        ("panic", "palisade itself failed at it"),
        ("sleep", "it took longer than 5s"),
        ("memory", "it needed more than 100 MiB of memory"),
    ];
    for (fault, why) in faults {
        plant(&machine, fault);

        let boot = hammered_boot(&mut machine);

        let said = format!("loaded the last good ruleset, since reading the policy did not succeed: {why}");
        assert_nobody_got_in(&machine, &boot, &said);
        machine.power_off();
    }
}

#[test]
fn where_palisade_itself_panics_and_no_other_process_does_the_same_client_gets_in() {
    let mut machine = machine_with_a_last_good_ruleset();
    plant(&machine, "boot");
    machine.chroot("cp /usr/local/sbin/faulty /usr/sbin/palisade");
    let both = "/etc/systemd/system/palisade-unhardened.service.d/test.conf";
    machine.write(both, "[Service]\nEnvironment=PALISADE_FAULT=boot\n");

    let Boot { state, answers } = hammered_boot(&mut machine);

    assert!(answers.iter().all(|address| address.accepted > 0), "over IPv4 and IPv6: {answers:?}");
    assert_eq!(state, "degraded");
}

/// What made the renderer of problems panic once.
#[test]
fn nobody_gets_in_with_a_policy_of_24_bytes_that_made_palisade_panic() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.write(POLICY, "version: 1\nblock: >\r\r\r\n");

    let boot = hammered_boot(&mut machine);

    assert_nobody_got_in(&machine, &boot, "loaded the last good ruleset, since ");
}

/// A policy that is compiled in a second and whose expectations take minutes.
fn policy_that_takes_minutes_to_prove() -> String {
    let mut text = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n".to_owned();
    let mut number = 1_u32;
    let mut next = |below: u32| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (number >> 8) % below
    };
    for service in 0..400 {
        let first = 5000 + next(50_000);
        let sources: Vec<String> = (0..20).map(|_| format!("10.{}.{}.0/24", next(256), next(256))).collect();
        let (last, sources) = (first + 1 + next(4000), sources.join(", "));
        writeln!(text, "  s{service}: {{ ports: {first}-{last}/tcp, from: [{sources}] }}").expect("room");
    }
    text.push_str("expect:\n");
    for source in 0..5000 {
        let (high, low) = (source / 250, source % 250);
        writeln!(text, "  - {{ deny: 5000-65535/tcp, from: 11.0.{high}.{low} }}").expect("room");
    }
    text
}

#[test]
fn a_policy_whose_proof_takes_longer_than_there_is_time_is_in_force_before_anybody_gets_in() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.write(POLICY, &policy_that_takes_minutes_to_prove());
    machine.write(DROP_IN, "[Service]\nExecStart=\nExecStart=/usr/sbin/palisade boot --reading-time=10s\n");

    let boot = hammered_boot(&mut machine);

    assert_nobody_got_in(&machine, &boot, "loaded the policy, /etc/palisade/policy.yaml");
    let unproved =
        "nobody knows whether it is as expected: proving what it expects did not succeed: it took longer than 10s";
    assert!(machine.journal().contains(unproved), "{}", machine.journal());
    assert!(machine.run("nft list chain inet palisade service-s399").contains("policy.yaml:"));
}

#[test]
fn where_the_unit_cannot_be_hardened_and_the_reader_panics_nobody_gets_in_either() {
    let mut machine = machine_with_a_last_good_ruleset();
    plant(&machine, "panic");
    machine.chroot("cp /usr/local/sbin/faulty /usr/sbin/palisade");
    machine.write("/etc/systemd/system/palisade.service.d/impossible.conf", "[Service]\nReadWritePaths=/nowhere\n");
    let other = "/etc/systemd/system/palisade-unhardened.service.d/test.conf";
    machine.write(other, "[Service]\nEnvironment=PALISADE_FAULT=panic\n");

    let boot = hammered_boot(&mut machine);

    assert_eq!(boot.answers, NOBODY, "{}", machine.journal());
    assert_eq!(boot.state, "degraded", "it is not hushed up");
    machine.wait_for_console(
        "loaded the last good ruleset, since reading the policy did not succeed: palisade itself failed",
    );
    assert_denied(&machine);
}

#[test]
fn a_table_that_is_gone_while_a_change_waits_comes_back_with_the_unit_and_the_change_can_be_undone() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.boot(&[]);
    // As tests/boot_confirm.rs says.
    machine.run("umount /proc/sys/kernel/random/boot_id");
    let rules = |machine: &Machine| without_live(&without_time(&machine.run("nft --stateless list ruleset")));
    let before = rules(&machine);
    machine.write(
        POLICY,
        "version: 1\nservices: { ssh: { ports: 22/tcp, from: any }, web: { ports: 80/tcp, from: any } }\n",
    );
    machine.run("palisade apply --confirm 1h");
    let changed = rules(&machine);
    assert_ne!(changed, before);
    machine.run("nft flush ruleset");
    assert!(hammered(&machine).iter().all(|address| address.accepted > 0), "without rules they get in");

    machine.run("systemctl restart palisade");

    assert_eq!(hammered(&machine), NOBODY);
    assert!(rules(&machine).contains("chain service-web"), "the rules of the change");
    machine.run("palisade rollback");
    assert!(!rules(&machine).contains("chain service-web"));
    assert_eq!(hammered(&machine), NOBODY);
}
