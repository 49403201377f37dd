//! Booted again and again while a client hammers: nobody gets in before the rules are there.
#![allow(missing_docs)]

mod support;

use support::lab::HOST;
use support::nspawn::hammer::{Answers, Hammer};
use support::nspawn::{EARLY, Machine, Suite};

/// Attempts at each address after the boot is done.
const AFTERWARDS: u64 = 200;

/// The unit, ordered as a service like any other: behind what brings the network up.
const LATE: &str = "sed -e '/^DefaultDependencies=/d; /^Wants=network-pre/d; /^Before=/d; /^Conflicts=/d' \
    -e 's/^After=.*/After=network-online.target ssh.service/; s/^WantedBy=.*/WantedBy=multi-user.target/' \
    /usr/lib/systemd/system/palisade.service >/etc/systemd/system/palisade.service
    systemctl reenable palisade";

/// What a client hears that nobody answers, over IPv4 and IPv6.
const NOBODY: [Answers; 2] = [Answers { accepted: 0, refused: 0 }; 2];

/// A hammered boot: how it ended, and what the client got.
struct Boot {
    state: String,
    answers: Vec<Answers>,
}

/// Boots while the client hammers the early listener, from before the machine is switched on until it is up and longer.
#[track_caller]
fn hammered_boot(machine: &mut Machine) -> Boot {
    let hammer = Hammer::start(&machine.client, &HOST, EARLY);
    hammer.wait_for_tries(AFTERWARDS);
    let state = machine.boot(&[]);
    machine.assert_ssh_answers();
    let listens = machine.run(&format!("ss --no-header --listening --tcp 'sport = :{EARLY}'"));
    assert!(!listens.is_empty(), "there is nothing to get in to");
    hammer.wait_for_tries(AFTERWARDS);
    Boot { state, answers: hammer.stop() }
}

/// Fails unless the client's packets have arrived, and were denied.
#[track_caller]
fn assert_denied(machine: &Machine) {
    let status: serde_json::Value = serde_json::from_str(&machine.run("palisade --json status")).expect("JSON");
    let denied = status["denied"]["incoming"]["packets"].as_u64();
    assert!(denied >= Some(AFTERWARDS), "{status}");
}

#[track_caller]
fn nobody_gets_in(suite: Suite, boots: usize) {
    let mut machine = Machine::with_palisade(suite);
    for boot in 1..=boots {
        let Boot { state, answers } = hammered_boot(&mut machine);

        assert_eq!(answers, NOBODY, "over IPv4 and IPv6, in boot {boot}:\n{}", machine.journal());
        assert_eq!(state, "running", "{}\n{}", machine.run("systemctl --failed"), machine.journal());
        assert_denied(&machine);
        machine.power_off();
    }
}

#[track_caller]
fn everybody_gets_in(machine: &mut Machine) {
    let Boot { answers, .. } = hammered_boot(machine);

    assert!(answers.iter().all(|address| address.accepted > 0), "over IPv4 and IPv6: {answers:?}");
}

#[test]
fn nobody_gets_in_during_two_boots_of_debian_12() {
    nobody_gets_in(Suite::Bookworm, 2);
}

#[test]
#[ignore = "long"]
fn nobody_gets_in_during_twenty_boots_of_debian_12() {
    nobody_gets_in(Suite::Bookworm, 20);
}

#[test]
#[ignore = "long"]
fn nobody_gets_in_during_twenty_boots_of_debian_13() {
    nobody_gets_in(Suite::Trixie, 20);
}

#[test]
fn nobody_gets_in_where_the_unit_cannot_be_hardened() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    let impossible = "[Service]\nReadWritePaths=/nowhere\n";
    machine.write("/etc/systemd/system/palisade.service.d/impossible.conf", impossible);

    let Boot { state, answers } = hammered_boot(&mut machine);

    assert_eq!(answers, NOBODY, "{}", machine.journal());
    assert_eq!(state, "degraded", "it is not hushed up");
    machine.wait_for_console("loaded the policy, /etc/palisade/policy.yaml");
    assert_denied(&machine);
}

#[test]
fn with_the_unit_disabled_the_same_client_gets_in() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.chroot("systemctl disable palisade");

    everybody_gets_in(&mut machine);
    let status = machine.shell("palisade status").status;

    assert_eq!(status, Some(3), "nothing is loaded");
}

#[test]
fn with_the_unit_ordered_late_the_same_client_gets_in_before_the_rules_do() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.chroot(LATE);

    everybody_gets_in(&mut machine);
    let status = machine.shell("palisade status").status;

    assert_eq!(status, Some(0), "the rules are loaded in the end");
}
