//! No route leads to a port forward's target.

use crate::doctor::routed::targets;
use crate::doctor::words::place;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::simulate::{Asked, Way};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const FINDING: Kind = Kind {
    id: "target-unroutable",
    severity: Severity::Warning,
    what: "a service is forwarded to an address to which no route leads, or which is this machine's own",
    why: "nobody answers for the service",
    remedy: "the address of the machine that answers, in `forward_to`; `ip route get ADDRESS` says where packets to it go",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(policy) = facts.host.policy.valid() else { return Vec::new() };
    let finding = |target: crate::doctor::routed::Target<'_>| {
        let source: IpAddr = match target.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let asked = Asked { source, destination: target.address, incoming: None, mark: 0 };
        let (address, service) = (target.address, target.service);
        let (why, help) = match facts.routes.way(&asked) {
            Ok(Way::Local) => (
                "is an address of this machine",
                "remove `forward_to`: a service that this machine answers has none".to_owned(),
            ),
            Ok(Way::Lost(_) | Way::Refused(_)) => (
                "is where no route of this machine leads",
                format!(
                    "write the address of the machine that answers, or add a route; `ip route get {address}` asks again"
                ),
            ),
            _ => return None,
        };
        let at = place(facts, policy, target.line);
        Some(FINDING.found(format!("{address}, to which {service} is forwarded, {why} ({at})"), help))
    };
    targets(policy).filter_map(finding).collect()
}
