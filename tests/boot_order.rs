//! Booted again and again while a client hammers: nobody gets in before the rules are there.
#![allow(missing_docs)]

mod support;

use support::nspawn::hammer::{Boot, NOBODY, assert_denied, hammered_boot};
use support::nspawn::{Machine, Suite};

/// The unit, ordered as a service like any other: behind what brings the network up.
const LATE: &str = "sed -e '/^DefaultDependencies=/d; /^Wants=network-pre/d; /^Before=/d; /^Conflicts=/d' \
    -e 's/^After=.*/After=network-online.target ssh.service/; s/^WantedBy=.*/WantedBy=multi-user.target/' \
    /usr/lib/systemd/system/palisade.service >/etc/systemd/system/palisade.service
    systemctl reenable palisade";

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
