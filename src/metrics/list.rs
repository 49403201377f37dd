//! The metrics. The order is that of the text and of the manual.

use super::Kind::{Counter, Gauge};
use super::{Family, Kind, Metric};

const fn family<const N: usize>(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str; N],
    help: &'static str,
    left_out: Option<&'static str>,
) -> Family<N> {
    Family { name, kind, help, labels, left_out }
}

/// Version of palisade and path of the policy, always 1.
pub const INFO: Family<2> = family(
    Gauge,
    "palisade_info",
    &["version", "policy"],
    "Version of palisade and path of the policy, always 1.",
    None,
);
/// Whether palisade's table is loaded.
pub const ACTIVE: Family<0> = family(Gauge, "palisade_active", &[], "Whether palisade's table is loaded.", None);
/// Whether the kernel's table is what the policy says.
pub const IN_SYNC: Family<0> = family(
    Gauge,
    "palisade_in_sync",
    &[],
    "Whether the kernel's table is what the policy says.",
    Some("if the policy has problems: there is nothing to compare with"),
);
/// Whether the policy's file can be compiled.
pub const POLICY_VALID: Family<0> = family(
    Gauge,
    "palisade_policy_valid",
    &[],
    "Whether the policy's file can be compiled.",
    Some("if what is kept of host names can't be read"),
);
/// When the rules were loaded.
pub const LOADED: Family<0> = family(
    Gauge,
    "palisade_loaded_timestamp_seconds",
    &[],
    "When the rules were loaded.",
    Some("if nothing is loaded, or the table does not say when"),
);
/// Whether a change waits for confirmation, and is undone otherwise.
pub const CONFIRMATION_PENDING: Family<0> = family(
    Gauge,
    "palisade_confirmation_pending",
    &[],
    "Whether a change waits for confirmation, and is undone otherwise.",
    Some("if that can't be read"),
);
/// What the last boot loaded, 1 for the one: the policy, or what was loaded instead of it.
pub const BOOT_SOURCE: Family<1> = family(
    Gauge,
    "palisade_boot_source",
    &["source"],
    "What the last boot loaded, 1 for the one: the policy, or what was loaded instead of it.",
    Some("if nothing was loaded at boot, or something was loaded since"),
);
/// Packets that opened connections a service admitted, not those of the connections themselves.
pub const SERVICE_ADMITTED_PACKETS: Family<1> = family(
    Counter,
    "palisade_service_admitted_packets_total",
    &["service"],
    "Packets that opened connections a service admitted, not those of the connections themselves.",
    Some("of services that deny, and if nothing is loaded"),
);
/// Bytes of the packets that opened connections a service admitted.
pub const SERVICE_ADMITTED_BYTES: Family<1> = family(
    Counter,
    "palisade_service_admitted_bytes_total",
    &["service"],
    "Bytes of the packets that opened connections a service admitted.",
    Some("as the packets"),
);
/// Packets that a service did not admit since they exceeded its limit.
pub const SERVICE_LIMITED_PACKETS: Family<1> = family(
    Counter,
    "palisade_service_limited_packets_total",
    &["service"],
    "Packets that a service did not admit since they exceeded its limit.",
    Some("of services without a limit"),
);
/// Bytes of the packets that exceeded the limit of a service.
pub const SERVICE_LIMITED_BYTES: Family<1> = family(
    Counter,
    "palisade_service_limited_bytes_total",
    &["service"],
    "Bytes of the packets that exceeded the limit of a service.",
    Some("as the packets"),
);
/// Packets that a service with the action deny or reject denied.
pub const SERVICE_DENIED_PACKETS: Family<1> = family(
    Counter,
    "palisade_service_denied_packets_total",
    &["service"],
    "Packets that a service with the action deny or reject denied.",
    Some("of services that allow"),
);
/// Bytes of the packets that a service denied.
pub const SERVICE_DENIED_BYTES: Family<1> = family(
    Counter,
    "palisade_service_denied_bytes_total",
    &["service"],
    "Bytes of the packets that a service denied.",
    Some("as the packets"),
);
/// Packets that opened connections sent to the machine behind this one that answers for a service.
pub const SERVICE_FORWARDED_PACKETS: Family<1> = family(
    Counter,
    "palisade_service_forwarded_packets_total",
    &["service"],
    "Packets that opened connections sent to the machine behind this one that answers for a service.",
    Some("of services without `forward_to`"),
);
/// Bytes of the packets that opened connections sent to the machine that answers for a service.
pub const SERVICE_FORWARDED_BYTES: Family<1> = family(
    Counter,
    "palisade_service_forwarded_bytes_total",
    &["service"],
    "Bytes of the packets that opened connections sent to the machine that answers for a service.",
    Some("as the packets"),
);
/// Packets that opened connections and met a rule of outgoing, forward or nat, whatever its action.
pub const RULE_PACKETS: Family<2> = family(
    Counter,
    "palisade_rule_packets_total",
    &["section", "rule"],
    "Packets that opened connections and met a rule of outgoing, forward or nat, whatever its action.",
    Some("if the policy has no such rules"),
);
/// Bytes of the packets that opened connections and met a rule of outgoing, forward or nat.
pub const RULE_BYTES: Family<2> = family(
    Counter,
    "palisade_rule_bytes_total",
    &["section", "rule"],
    "Bytes of the packets that opened connections and met a rule of outgoing, forward or nat.",
    Some("as the packets"),
);
/// Packets that a default, block, or the rule on packets of no connection denied.
pub const DENIED_PACKETS: Family<1> = family(
    Counter,
    "palisade_denied_packets_total",
    &["direction"],
    "Packets that a default, block, or the rule on packets of no connection denied.",
    Some("of a direction in which nothing is denied"),
);
/// Bytes of the packets that a default, block, or the rule on packets of no connection denied.
pub const DENIED_BYTES: Family<1> = family(
    Counter,
    "palisade_denied_bytes_total",
    &["direction"],
    "Bytes of the packets that a default, block, or the rule on packets of no connection denied.",
    Some("as the packets"),
);
/// Addresses, networks and ranges in a set of palisade's table, those of IPv4 and IPv6 together.
pub const SET_ELEMENTS: Family<1> = family(
    Gauge,
    "palisade_set_elements",
    &["set"],
    "Addresses, networks and ranges in a set of palisade's table, those of IPv4 and IPv6 together.",
    Some("of sets that packets fill, and if nothing is loaded"),
);
/// When a look-up of a host name of the policy last gave an address, 0 if none ever did.
pub const NAME_LAST_SUCCESS: Family<1> = family(
    Gauge,
    "palisade_name_last_success_timestamp_seconds",
    &["host"],
    "When a look-up of a host name of the policy last gave an address, 0 if none ever did.",
    Some("if the policy has problems, or names no hosts"),
);
/// Addresses that a host name of the policy stands for, 0 if it means nobody.
pub const NAME_ADDRESSES: Family<1> = family(
    Gauge,
    "palisade_name_addresses",
    &["host"],
    "Addresses that a host name of the policy stands for, 0 if it means nobody.",
    Some("as the time of the last success"),
);
/// Findings of the last run of palisade-check.service, by severity; those that the policy ignores are counted as ignored.
pub const DOCTOR_FINDINGS: Family<1> = family(
    Gauge,
    "palisade_doctor_findings",
    &["severity"],
    "Findings of the last run of palisade-check.service, by severity; those that the policy ignores are counted as ignored.",
    Some("if palisade-check.service has not run since the last boot"),
);
/// When palisade-check.service last ran to its end.
pub const DOCTOR_RUN: Family<0> = family(
    Gauge,
    "palisade_doctor_run_timestamp_seconds",
    &[],
    "When palisade-check.service last ran to its end.",
    Some("as the findings"),
);
/// When these metrics were read.
pub const WRITTEN: Family<0> =
    family(Gauge, "palisade_metrics_written_timestamp_seconds", &[], "When these metrics were read.", None);

/// All of them.
pub const METRICS: &[Metric] = &[
    INFO.metric(),
    ACTIVE.metric(),
    IN_SYNC.metric(),
    POLICY_VALID.metric(),
    LOADED.metric(),
    CONFIRMATION_PENDING.metric(),
    BOOT_SOURCE.metric(),
    SERVICE_ADMITTED_PACKETS.metric(),
    SERVICE_ADMITTED_BYTES.metric(),
    SERVICE_LIMITED_PACKETS.metric(),
    SERVICE_LIMITED_BYTES.metric(),
    SERVICE_DENIED_PACKETS.metric(),
    SERVICE_DENIED_BYTES.metric(),
    SERVICE_FORWARDED_PACKETS.metric(),
    SERVICE_FORWARDED_BYTES.metric(),
    RULE_PACKETS.metric(),
    RULE_BYTES.metric(),
    DENIED_PACKETS.metric(),
    DENIED_BYTES.metric(),
    SET_ELEMENTS.metric(),
    NAME_LAST_SUCCESS.metric(),
    NAME_ADDRESSES.metric(),
    DOCTOR_FINDINGS.metric(),
    DOCTOR_RUN.metric(),
    WRITTEN.metric(),
];
