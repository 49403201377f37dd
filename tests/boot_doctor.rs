//! `doctor` on booted machines: silent on a healthy one, and what it says of units that are not as they should be.
#![allow(missing_docs)]

mod support;

use support::nspawn::{Machine, Suite};
use support::planted::Said;

#[track_caller]
fn doctor(machine: &Machine) -> Said {
    Said::by(|arguments| machine.shell(&format!("palisade {}", arguments.join(" "))))
}

#[track_caller]
fn tells_a_healthy_machine_from_others(suite: Suite) {
    let mut machine = Machine::with_palisade(suite);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.journal());
    doctor(&machine).is_healthy();

    let gone = "table inet palisade is gone: palisade restricts nothing now\n";
    let again = "the next boot loads the policy again; so that it does not: systemctl disable palisade.service\n";
    assert_eq!(machine.run("palisade disable --yes"), format!("{gone}{again}"));
    machine.run("palisade apply");

    machine.run("systemctl disable palisade");
    assert_eq!(machine.run("palisade disable --yes"), gone);
    machine.run("palisade apply");
    doctor(&machine).is_one("boot-unit-disabled", &["palisade.service is not enabled"]);
    machine.run("systemctl mask palisade");
    doctor(&machine).is_one("boot-unit-disabled", &["palisade.service is masked"]);
    // As its help says.
    machine.run("systemctl unmask palisade && systemctl enable palisade");
    doctor(&machine).is_healthy();

    // Debian's own unit and file.
    machine.run("systemctl enable nftables");
    doctor(&machine).is_one(
        "nftables-service-flushes",
        &["/etc/nftables.conf:3 flushes", "gone until its drop-in has loaded them again"],
    );
    machine.run("systemctl disable nftables");
    doctor(&machine).is_healthy();

    machine.run("chmod o+w /etc/palisade");
    doctor(&machine).is_one("policy-writable", &["the folder /etc/palisade can be written by everyone"]);
    machine.run("chmod o-w /etc/palisade && rm -r /etc/palisade");
    doctor(&machine).is_one("policy-missing", &["/etc/palisade/policy.yaml does not exist"]);
}

#[test]
fn on_debian_12() {
    tells_a_healthy_machine_from_others(Suite::Bookworm);
}

#[test]
fn on_debian_13() {
    tells_a_healthy_machine_from_others(Suite::Trixie);
}
