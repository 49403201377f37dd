//! Each finding of `doctor` has a test that plants it, applies its remedy as it is printed, and finds it gone.
#![allow(missing_docs)]

use palisade::doctor::FINDINGS;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The finding, the file of its test, and the test. One line each, in the order of the identifiers.
const TESTS: &[(&str, &str, &str)] = &[
    (
        "boot-unit-disabled",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    (
        "bridge-frames-denied",
        "kernel_remedies_routing",
        "a_line_that_is_advised_for_what_is_forwarded_mends_its_finding",
    ),
    ("bridge-netfilter-off", "kernel_remedies_machine", "a_daemon_is_set_as_advised"),
    (
        "container-network-unstable",
        "kernel_remedies_routing",
        "a_target_that_is_this_machine_and_a_bridge_without_a_name_that_stays_are_found",
    ),
    (
        "containers-send-freely",
        "kernel_remedies_routing",
        "a_line_that_is_advised_for_what_is_forwarded_mends_its_finding",
    ),
    ("direct-routing", "kernel_remedies_machine", "what_an_engine_leaves_open_is_closed_as_advised"),
    ("docker-iptables-off", "kernel_remedies_machine", "a_daemon_is_set_as_advised"),
    ("docker-user-rules", "kernel_remedies", "a_chain_for_users_is_emptied_as_advised"),
    (
        "engine-drops-forward",
        "kernel_remedies_routing",
        "what_docker_drops_of_what_is_forwarded_passes_again_as_advised",
    ),
    (
        "firewalld-active",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    ("forwarding-off", "kernel_remedies", "an_engine_forwards_again_as_advised"),
    (
        "guests-not-named",
        "kernel_remedies",
        "a_line_that_is_advised_for_the_policy_mends_the_finding_and_nobody_loses_access",
    ),
    ("hairpin-missing", "kernel_remedies_routing", "a_line_that_is_advised_for_what_is_forwarded_mends_its_finding"),
    (
        "ipv6-untranslated",
        "kernel_remedies_routing",
        "a_line_that_is_advised_for_what_is_forwarded_mends_its_finding",
    ),
    ("kernel-refuses", "kernel_remedies_machine", "a_module_that_is_missing_is_loaded_as_advised"),
    (
        "known-drops",
        "kernel_remedies",
        "programs_that_ban_are_notes_and_nothing_is_advised_that_would_delete_their_tables",
    ),
    (
        "legacy-iptables",
        "kernel_remedies_machine",
        "rules_of_iptables_legacy_are_seen_after_what_is_advised_and_a_reboot",
    ),
    (
        "libvirt-refuses",
        "kernel_remedies_routing",
        "what_libvirt_refuses_of_what_is_forwarded_passes_once_its_network_is_open",
    ),
    ("loopback-ports-leak", "kernel_remedies_machine", "what_an_engine_leaves_open_is_closed_as_advised"),
    ("macvlan-network", "kernel_remedies_machine", "guests_on_the_wire_are_taken_away_or_ignored_as_advised"),
    (
        "name-rotates",
        "kernel_host_names",
        "a_name_of_which_every_answer_names_another_address_is_found_and_networks_mend_it",
    ),
    (
        "name-stale",
        "kernel_host_names",
        "a_resolver_that_is_gone_changes_nothing_for_seven_days_and_doctor_says_so_after_an_hour",
    ),
    (
        "name-unknown",
        "kernel_host_names",
        "a_resolver_that_is_gone_changes_nothing_for_seven_days_and_doctor_says_so_after_an_hour",
    ),
    (
        "nftables-service-flushes",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    ("not-examined", "kernel_remedies_machine", "what_could_not_be_looked_at_is_looked_at_as_advised"),
    ("not-loaded", "kernel_remedies", "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing"),
    (
        "not-this-machine",
        "kernel_remedies_policy",
        "a_policy_that_does_not_fit_the_machine_is_mended_by_the_line_that_is_advised",
    ),
    ("other-firewall-drops", "kernel_remedies_machine", "drops_of_iptables_are_taken_out_one_by_one_as_advised"),
    ("out-of-sync", "kernel_remedies", "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing"),
    ("policy-invalid", "kernel_remedies_policy", "an_invalid_policy_is_mended_by_what_is_said_of_its_first_problem"),
    ("policy-missing", "kernel_remedies_policy", "a_missing_policy_is_written_by_the_command_that_is_advised"),
    (
        "policy-undone",
        "kernel_remedies",
        "after_an_undone_change_the_policy_is_called_undone_and_applying_it_is_not_advised",
    ),
    ("policy-warning", "kernel_remedies_policy", "what_is_warned_of_is_mended_as_advised"),
    (
        "policy-writable",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    ("ufw-active", "engine_doctor", "beside_ufw_and_after_it_was_disabled"),
    (
        "waits-for-confirmation",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    (
        "refresh-not-running",
        "kernel_remedies",
        "a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing",
    ),
    (
        "target-unroutable",
        "kernel_remedies_routing",
        "a_target_that_is_this_machine_and_a_bridge_without_a_name_that_stays_are_found",
    ),
    (
        "way-out-is-containers",
        "kernel_remedies",
        "a_line_that_is_advised_for_the_policy_mends_the_finding_and_nobody_loses_access",
    ),
];

#[test]
fn every_finding_has_a_test_that_applies_its_remedy() {
    let named: BTreeSet<&str> = TESTS.iter().map(|(id, ..)| *id).collect();
    let findings: BTreeSet<&str> = FINDINGS.iter().map(|(kind, _)| kind.id).collect();
    assert_eq!(named, findings, "a row of TESTS is missing, or is about no finding");

    for (id, file, test) in TESTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{file}.rs"));
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "tests/{file}.rs has no test {test}");
        assert!(source.contains(&format!("\"{id}\"")), "tests/{file}.rs does not name {id}");
    }
}
