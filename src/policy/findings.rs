//! The identifiers of doctor's findings, which a policy may name. A test of `doctor` compares them with its findings.

/// The loaded table differs from the policy.
pub const OUT_OF_SYNC: &str = "out-of-sync";

/// Those that no policy may ignore: what is not in force, or not all of it, is not healthy, whatever it says itself.
pub const NEVER_IGNORED: [&str; 6] =
    ["kernel-refuses", "not-loaded", OUT_OF_SYNC, "policy-invalid", "policy-missing", "policy-undone"];

/// All of them, sorted.
pub const FINDING_IDS: &[&str] = &[
    "boot-unit-disabled",
    "bridge-frames-denied",
    "bridge-netfilter-off",
    "container-network-unstable",
    "containers-send-freely",
    "direct-routing",
    "docker-iptables-off",
    "docker-user-rules",
    "engine-drops-forward",
    "firewalld-active",
    "forwarding-off",
    "guests-not-named",
    "hairpin-missing",
    "ipv6-untranslated",
    "kernel-refuses",
    "known-drops",
    "legacy-iptables",
    "libvirt-refuses",
    "loopback-ports-leak",
    "macvlan-network",
    "name-rotates",
    "name-stale",
    "name-unknown",
    "nftables-service-flushes",
    "not-examined",
    "not-loaded",
    "not-this-machine",
    "other-firewall-drops",
    "out-of-sync",
    "policy-invalid",
    "policy-missing",
    "policy-undone",
    "policy-warning",
    "policy-writable",
    "refresh-not-running",
    "target-unroutable",
    "ufw-active",
    "waits-for-confirmation",
    "way-out-is-containers",
];
