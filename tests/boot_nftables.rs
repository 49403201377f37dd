//! Beside nftables.service, which flushes the rules of everyone: palisade's are in force again when systemctl comes back.
#![allow(missing_docs)]

mod support;

use support::faulty;
use support::lab::{without_live, without_time};
use support::nspawn::hammer::{Boot, NOBODY, assert_denied, hammered, hammered_boot};
use support::nspawn::{Machine, Suite};

const DROP_IN: &str = "/usr/lib/systemd/system/nftables.service.d/palisade.conf";
/// What makes nftables.service flush once more, at a time that `Before` and `After` say.
const AGAIN: &str = "/etc/systemd/system/again.service";

/// One that has booted with Debian's nftables.service enabled too, and is off.
#[track_caller]
fn machine(suite: Suite) -> Machine {
    let mut machine = Machine::with_palisade(suite);
    machine.chroot("systemctl enable nftables");
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    machine.power_off();
    machine
}

fn again(machine: &Machine, order: &str, commands: &[&str]) {
    let commands: String = commands.iter().map(|command| format!("ExecStart={command}\n")).collect();
    machine.write(
        AGAIN,
        &format!(
            "[Unit]\nDefaultDependencies=no\n{order}\n[Service]\nType=oneshot\n{commands}[Install]\n\
             WantedBy=sysinit.target\n"
        ),
    );
    machine.chroot("systemctl enable again");
}

/// The tables that are there, palisade's rules whole.
fn rules(machine: &Machine) -> (String, String) {
    let palisade = without_live(&without_time(&machine.shell("nft --stateless list table inet palisade").stdout));
    (machine.run("nft list tables"), palisade)
}

#[track_caller]
fn assert_nobody_got_in(machine: &Machine, Boot { state, answers }: &Boot, when: &str) {
    let journal = machine.run("journalctl --boot --unit palisade --unit nftables --unit again --no-pager");
    assert_eq!(answers.as_slice(), NOBODY, "{when}: {journal}");
    assert_eq!(state, "running", "{when}: {journal}");
    assert_denied(machine);
    assert_eq!(machine.run("nft list tables"), "table inet filter\ntable inet palisade\n", "{when}: {journal}");
}

/// Both units have an order, and the drop-in is understood.
#[test]
fn the_order_beside_nftables_service_is_no_circle() {
    for suite in Suite::ALL {
        let machine = Machine::with_palisade(suite);
        machine.chroot("systemctl enable nftables");

        let said = machine.chroot(
            "systemd-analyze verify --man=no default.target palisade.service palisade-unhardened.service nftables.service 2>&1 |
                grep -iE 'palisade|nftables|cycle' || true",
        );

        assert_eq!(said, "", "{suite}");
    }
}

/// Before palisade.service, while it reads the policy, and after it.
#[track_caller]
fn nobody_gets_in_whenever_it_flushes_at_boot(suite: Suite) {
    let mut machine = machine(suite);

    let boot = hammered_boot(&mut machine);
    assert_nobody_got_in(&machine, &boot, "before");
    machine.power_off();

    again(
        &machine,
        "After=palisade.service\nBefore=network-pre.target",
        &["/usr/bin/systemctl restart nftables", "/usr/bin/systemctl reload nftables"],
    );
    let boot = hammered_boot(&mut machine);
    assert_nobody_got_in(&machine, &boot, "after");
    machine.power_off();

    // While the policy is read, for eight seconds, it flushes.
    machine.copy(&faulty::program(), "/usr/local/sbin/faulty");
    let start =
        "Environment=PALISADE_FAULT=sleep\nExecStart=\nExecStart=/usr/local/sbin/faulty boot --reading-time=8s";
    machine.write("/etc/systemd/system/palisade.service.d/test.conf", &format!("[Service]\n{start}\n"));
    again(
        &machine,
        "After=nftables.service\nBefore=network-pre.target",
        &[
            "/bin/sh -c 'until nft list table inet palisade; do sleep 0.01; done'",
            "/usr/bin/systemctl restart nftables",
            "/bin/sh -c 'nft list table inet palisade >/run/during; systemctl show --property ActiveState palisade >>/run/during'",
        ],
    );
    let boot = hammered_boot(&mut machine);
    assert_nobody_got_in(&machine, &boot, "during");
    let during = machine.run("cat /run/during");
    assert!(during.contains("chain service-ssh") && during.ends_with("ActiveState=activating\n"), "{during}");
}

#[test]
fn nobody_gets_in_whenever_it_flushes_at_boot_of_debian_12() {
    nobody_gets_in_whenever_it_flushes_at_boot(Suite::Bookworm);
}

#[test]
fn nobody_gets_in_whenever_it_flushes_at_boot_of_debian_13() {
    nobody_gets_in_whenever_it_flushes_at_boot(Suite::Trixie);
}

#[test]
fn without_the_drop_in_the_same_client_gets_in_after_it_has_flushed() {
    let mut machine = machine(Suite::Bookworm);
    machine.chroot(&format!("rm {DROP_IN}"));
    again(&machine, "After=palisade.service", &["/usr/bin/systemctl restart nftables"]);

    let Boot { answers, .. } = hammered_boot(&mut machine);

    assert!(answers.iter().all(|address| address.accepted > 0), "over IPv4 and IPv6: {answers:?}");
}

#[track_caller]
fn the_rules_are_back_when_systemctl_is(suite: Suite) {
    let mut machine = machine(suite);
    machine.boot(&[]);
    let both = rules(&machine);
    assert!(both.1.contains("chain service-ssh"));
    // What was edited and not applied stays so.
    machine.write("/etc/palisade/policy.yaml", "version: 1\ndefaults: { incoming: allow }\n");
    for verb in ["restart", "reload", "stop", "start", "try-restart", "reload-or-restart"] {
        machine.run(&format!("systemctl {verb} nftables"));

        let (tables, palisade) = rules(&machine);
        assert_eq!(palisade, both.1, "after systemctl {verb} nftables");
        assert_eq!(tables.contains("table inet filter"), verb != "stop", "after systemctl {verb} nftables: {tables}");
        assert_eq!(hammered(&machine), NOBODY, "after systemctl {verb} nftables");
        machine.assert_ssh_answers();
    }
    let failed = machine.run("systemctl list-units --failed --no-legend");
    assert_eq!(failed, "");

    // What was lifted on purpose stays lifted.
    machine.run("palisade disable --yes && systemctl restart nftables");
    assert_eq!(machine.run("nft list tables"), "table inet filter\n");
    assert!(hammered(&machine).iter().all(|address| address.accepted > 0), "without rules they get in");
}

#[test]
fn the_rules_are_back_when_systemctl_is_on_debian_12() {
    the_rules_are_back_when_systemctl_is(Suite::Bookworm);
}

#[test]
fn the_rules_are_back_when_systemctl_is_on_debian_13() {
    the_rules_are_back_when_systemctl_is(Suite::Trixie);
}
