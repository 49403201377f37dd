//! What watches a machine by itself: palisade-check.timer, which tells the journal, and palisade-metrics.timer, which tells
//! node_exporter.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use support::nspawn::{Machine, Suite};

/// How long a timer may take that waits for a second or five.
const FIRES: Duration = Duration::from_secs(40);
const FOLDER: &str = "/var/lib/prometheus/node-exporter";
const FILE: &str = "/var/lib/prometheus/node-exporter/palisade.prom";
/// The timer as it is, but for how long it waits.
const SOON: &str =
    "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitActiveSec=1h\nRandomizedDelaySec=0\nAccuracySec=1s\n";

#[track_caller]
fn wait_until(machine: &Machine, what: &str, command: &str) {
    let begun = Instant::now();
    while machine.shell(command).status != Some(0) {
        assert!(begun.elapsed() < FIRES, "{what}: {}", machine.run("journalctl --boot --no-pager | tail -n 40"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The lines that a unit has said in its last run, each with its priority, and its exit status.
fn last_run(machine: &Machine, unit: &str) -> (Vec<String>, String) {
    machine.run("journalctl --sync");
    let invocation = machine.run(&format!("systemctl show --value --property InvocationID {unit}"));
    let said = machine.run(&format!(
        "journalctl --output json --output-fields PRIORITY,MESSAGE --no-pager _SYSTEMD_INVOCATION_ID={}",
        invocation.trim()
    ));
    let line = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("an entry of the journal");
        format!("{} {}", entry["PRIORITY"].as_str().unwrap_or("none"), entry["MESSAGE"].as_str().unwrap_or("none"))
    };
    let status = machine.run(&format!("systemctl show --value --property ExecMainStatus {unit}"));
    (said.lines().map(line).collect(), status.trim().to_owned())
}

/// Runs the check, whatever comes of it.
fn check(machine: &Machine) -> (Vec<String>, String) {
    machine.shell("systemctl start palisade-check");
    last_run(machine, "palisade-check")
}

#[track_caller]
fn the_check_tells_the_journal_what_has_changed(suite: Suite) {
    let mut machine = Machine::with_palisade(suite);
    machine.write("/etc/systemd/system/palisade-check.timer.d/soon.conf", SOON);
    machine.chroot("systemctl enable palisade-check.timer");
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    let healthy = || (vec!["6 healthy: nothing on this machine works against the policy".to_owned()], "0".to_owned());

    wait_until(&machine, "the timer", "test -e /run/palisade/checked.json");
    wait_until(&machine, "its end", "[ \"$(systemctl is-active palisade-check)\" = inactive ]");
    assert_eq!(last_run(&machine, "palisade-check"), healthy());
    let installed = machine.read("/usr/lib/systemd/system/palisade-check.timer");
    assert!(installed.contains("\nOnUnitActiveSec=1h\nRandomizedDelaySec=5min\n"), "{installed}");

    // Somebody changes a rule.
    machine.run("nft flush chain inet palisade default-incoming");
    let (said, status) = check(&machine);
    let begin = "3 error[out-of-sync]: the kernel differs from the policy in ";
    assert!(said[0].starts_with(begin) && said[0].ends_with("`palisade apply` makes the kernel match"), "{said:?}");
    for line in [
        "3 access: 1-21/tcp, published by a container: any loses",
        "3 --- kernel: table inet palisade",
        "3 +++ policy: policy.yaml",
        "3 +counter drop comment \"palisade: what else comes in is denied (policy.yaml, by default)\"",
    ] {
        assert!(said.iter().any(|said| said == line), "{line}: {said:#?}");
    }
    assert_eq!((said.last().map(String::as_str), status.as_str()), (Some("6 1 finding"), "2"));
    assert_eq!(machine.shell("systemctl is-system-running").stdout, "degraded\n");
    assert!(machine.run("palisade metrics").contains("palisade_doctor_findings{severity=\"error\"} 1\n"));
    machine.run("palisade apply");
    assert_eq!(check(&machine), healthy());

    // The policy is broken: its rules stay.
    let policy = machine.read("/etc/palisade/policy.yaml");
    machine.write("/etc/palisade/policy.yaml", "version: 1\nservices: [\n");
    let (said, status) = check(&machine);
    assert!(said[0].starts_with("3 error[policy-invalid]: "), "{said:?}");
    assert_eq!((said.last().map(String::as_str), status.as_str()), (Some("6 1 finding"), "2"));
    machine.write("/etc/palisade/policy.yaml", &policy);

    // It can't tell.
    machine.run("rm /run/palisade/checked.json && mkdir /run/palisade/checked.json");
    let (said, status) = check(&machine);
    let error = "3 error: can't write /run/palisade/checked.json: ";
    assert!(said.last().is_some_and(|last| last.starts_with(error)), "{said:?}");
    assert_eq!(status, "1");
}

#[test]
fn on_debian_12_the_check_tells_the_journal_what_has_changed() {
    the_check_tells_the_journal_what_has_changed(Suite::Bookworm);
}

#[test]
fn on_debian_13_the_check_tells_the_journal_what_has_changed() {
    the_check_tells_the_journal_what_has_changed(Suite::Trixie);
}

#[track_caller]
fn the_metrics_are_written_and_go_with_the_rules(suite: Suite) {
    let mut machine = Machine::with_palisade(suite);
    machine.chroot(&format!("mkdir -p {FOLDER} && systemctl enable palisade-metrics.timer"));
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());

    wait_until(&machine, "the timer", &format!("test -e {FILE}"));
    let told = machine.read(FILE);
    for line in [
        "palisade_info{version=\"0.1.0\",policy=\"/etc/palisade/policy.yaml\"} 1",
        "palisade_active 1",
        "palisade_in_sync 1",
        "palisade_boot_source{source=\"policy\"} 1",
        "palisade_service_admitted_packets_total{service=\"ssh\"} 0",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    let about = fs::metadata(machine.path(FILE)).expect("it is there");
    assert_eq!((about.mode() & 0o7777, about.uid()), (0o644, 0));
    wait_until(&machine, "its end", "[ \"$(systemctl is-active palisade-metrics)\" = inactive ]");
    assert_eq!(last_run(&machine, "palisade-metrics"), (vec![], "0".to_owned()), "twice a minute it would be noise");
    machine.assert_ssh_answers();
    machine.run("systemctl start palisade-metrics");
    assert!(machine.read(FILE).contains("palisade_service_admitted_packets_total{service=\"ssh\"} 2\n"));

    machine.run("systemctl stop palisade-metrics.timer && palisade disable --yes");
    assert_eq!(machine.run(&format!("ls -A {FOLDER}")), "");
    machine.run("systemctl start palisade-metrics");
    assert!(machine.read(FILE).contains("\npalisade_active 0\n"));
    machine.run("dpkg --remove palisade");
    assert_eq!(machine.run(&format!("ls -A {FOLDER}")), "");
}

#[test]
fn on_debian_12_the_metrics_are_written_and_go_with_the_rules() {
    the_metrics_are_written_and_go_with_the_rules(Suite::Bookworm);
}

#[test]
fn on_debian_13_the_metrics_are_written_and_go_with_the_rules() {
    the_metrics_are_written_and_go_with_the_rules(Suite::Trixie);
}

#[test]
fn a_machine_without_node_exporter_is_told_what_to_install() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    assert_eq!(machine.shell("systemctl start palisade-metrics").status, Some(1));
    let (said, status) = last_run(&machine, "palisade-metrics");
    let error = "3 error: there is no folder /var/lib/prometheus/node-exporter: on Debian and Ubuntu `apt-get install \
                 prometheus-node-exporter` brings";
    assert!(said[0].starts_with(error), "{said:?}");
    assert_eq!(status, "1");
}
