//! The findings, one file each: the texts and the check.

mod boot_unit_disabled;
mod bridge_frames_denied;
mod bridge_netfilter_off;
mod container_network_unstable;
mod containers_send_freely;
mod direct_routing;
mod docker_iptables_off;
mod docker_user_rules;
mod engine_drops_forward;
mod firewalld_active;
mod forwarding_off;
mod guests_not_named;
mod hairpin_missing;
mod ipv6_untranslated;
mod kernel_refuses;
mod known_drops;
mod legacy_iptables;
mod libvirt_refuses;
mod loopback_ports_leak;
mod macvlan_network;
mod name_rotates;
mod name_stale;
mod name_unknown;
mod nftables_service_flushes;
mod not_examined;
mod not_loaded;
mod not_this_machine;
mod other_firewall_drops;
mod out_of_sync;
mod policy_invalid;
mod policy_missing;
mod policy_undone;
mod policy_warning;
mod policy_writable;
mod refresh_not_running;
mod target_unroutable;
mod ufw_active;
mod waits_for_confirmation;
mod way_out_is_containers;

use super::Check::{Each, One, Tried};
use super::{Check, Kind};

/// All findings. Of two equally bad ones, the one listed first is printed first.
pub const FINDINGS: &[(Kind, Check)] = &[
    (policy_missing::FINDING, One(policy_missing::check)),
    (policy_invalid::FINDING, One(policy_invalid::check)),
    (policy_writable::FINDING, One(policy_writable::check)),
    (policy_warning::FINDING, Each(policy_warning::check)),
    (not_this_machine::FINDING, Each(not_this_machine::check)),
    (kernel_refuses::FINDING, One(kernel_refuses::check)),
    (not_loaded::FINDING, One(not_loaded::check)),
    (out_of_sync::FINDING, One(out_of_sync::check)),
    (policy_undone::FINDING, One(policy_undone::check)),
    (boot_unit_disabled::FINDING, One(boot_unit_disabled::check)),
    (refresh_not_running::FINDING, One(refresh_not_running::check)),
    (name_unknown::FINDING, Each(name_unknown::check)),
    (name_stale::FINDING, Each(name_stale::check)),
    (name_rotates::FINDING, Each(name_rotates::check)),
    (waits_for_confirmation::FINDING, One(waits_for_confirmation::check)),
    (ufw_active::FINDING, One(ufw_active::check)),
    (firewalld_active::FINDING, One(firewalld_active::check)),
    (other_firewall_drops::FINDING, Each(other_firewall_drops::check)),
    (known_drops::FINDING, Each(known_drops::check)),
    (nftables_service_flushes::FINDING, One(nftables_service_flushes::check)),
    (legacy_iptables::FINDING, One(legacy_iptables::check)),
    (docker_user_rules::FINDING, One(docker_user_rules::check)),
    (docker_iptables_off::FINDING, One(docker_iptables_off::check)),
    (macvlan_network::FINDING, One(macvlan_network::check)),
    (forwarding_off::FINDING, One(forwarding_off::check)),
    (bridge_netfilter_off::FINDING, One(bridge_netfilter_off::check)),
    (direct_routing::FINDING, One(direct_routing::check)),
    (loopback_ports_leak::FINDING, One(loopback_ports_leak::check)),
    (
        way_out_is_containers::FINDING,
        Tried { is_wrong: way_out_is_containers::is_wrong, check: way_out_is_containers::check },
    ),
    (guests_not_named::FINDING, Tried { is_wrong: guests_not_named::is_wrong, check: guests_not_named::check }),
    (target_unroutable::FINDING, Each(target_unroutable::check)),
    (engine_drops_forward::FINDING, One(engine_drops_forward::check)),
    (libvirt_refuses::FINDING, One(libvirt_refuses::check)),
    (
        bridge_frames_denied::FINDING,
        Tried { is_wrong: bridge_frames_denied::is_wrong, check: bridge_frames_denied::check },
    ),
    (ipv6_untranslated::FINDING, Tried { is_wrong: ipv6_untranslated::is_wrong, check: ipv6_untranslated::check }),
    (container_network_unstable::FINDING, One(container_network_unstable::check)),
    (hairpin_missing::FINDING, Tried { is_wrong: hairpin_missing::is_wrong, check: hairpin_missing::check }),
    (
        containers_send_freely::FINDING,
        Tried { is_wrong: containers_send_freely::is_wrong, check: containers_send_freely::check },
    ),
    (not_examined::FINDING, Each(not_examined::check)),
];
