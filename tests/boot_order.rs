//! Booted again and again while a client hammers: nobody gets in before the rules are there.
#![allow(missing_docs)]

mod support;

use support::lab::HOST;
use support::machine::hammer::{Answers, Hammer};
use support::machine::{EARLY, Machine, Suite};

/// Attempts at each address after the boot is done.
const AFTERWARDS: u64 = 200;

/// The unit, ordered as a service like any other: behind what brings the network up.
const LATE: &str = "sed -e '/^DefaultDependencies=/d; /^Wants=network-pre/d; /^Before=/d; /^Conflicts=/d' \
    -e 's/^After=.*/After=network-online.target ssh.service/; s/^WantedBy=.*/WantedBy=multi-user.target/' \
    /usr/lib/systemd/system/palisade.service >/etc/systemd/system/palisade.service
    systemctl reenable palisade";

/// Boots while the client hammers the early listener, from before the machine is switched on until it is up and longer.
#[track_caller]
fn hammered_boot(machine: &mut Machine) -> Vec<Answers> {
    let hammer = Hammer::start(&machine.client, &HOST, EARLY);
    hammer.wait_for_tries(AFTERWARDS);
    let state = machine.boot(&[]);
    assert_eq!(state, "running", "{}\n{}", machine.run("systemctl --failed"), machine.journal());
    machine.assert_ssh_answers();
    let listens = machine.run(&format!("ss --no-header --listening --tcp 'sport = :{EARLY}'"));
    assert!(!listens.is_empty(), "there is nothing to get in to");
    hammer.wait_for_tries(AFTERWARDS);
    hammer.stop()
}

#[track_caller]
fn nobody_gets_in(suite: Suite, boots: usize) {
    let mut machine = Machine::with_palisade(suite);
    for boot in 1..=boots {
        let answers = hammered_boot(&mut machine);

        assert_eq!(answers, [Answers::default(); HOST.len()], "over IPv4 and IPv6, in boot {boot}");
        let status: serde_json::Value = serde_json::from_str(&machine.run("palisade --json status")).expect("JSON");
        let denied = status["denied"]["incoming"]["packets"].as_u64();
        assert!(denied >= Some(AFTERWARDS), "the client's packets did arrive: {status}");
        machine.power_off();
    }
}

#[track_caller]
fn everybody_gets_in(machine: &mut Machine) {
    let answers = hammered_boot(machine);

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
