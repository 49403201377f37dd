//! Why a policy is not exported.

use super::fit::TooMany;
use super::vendor::{MOST_FIREWALLS, Vendor};

/// Why a policy is not exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is none that the vendor takes.
    #[error(
        "{0:?} can't be the name of a firewall: letters, digits, `.` and `-`, two to a hundred, a letter or digit first; \
         none of AWS begins with `sg-`"
    )]
    Name(String),
    /// The policy tells interfaces apart, and which one the cloud's firewall stands before is not known.
    #[error(
        "the policy names interfaces, and which one the cloud firewall stands before is not known: say it with --public \
         eth0"
    )]
    WhichInterface,
    /// The interface belongs to containers.
    #[error("{0} is an interface of containers (`containers.interfaces`): name the public one with --public")]
    OfContainers(String),
    /// The list is longer than the vendor takes.
    #[error("{}", said(*.vendor, .too_many, *.blocks))]
    TooMany {
        /// The vendor.
        vendor: Vendor,
        /// How long it is.
        too_many: Box<TooMany>,
        /// Whether a part of it comes of `block`.
        blocks: bool,
    },
}

fn said(vendor: Vendor, too_many: &TooMany, blocks: bool) -> String {
    let TooMany { counts, most, costliest: (service, networks) } = too_many;
    let mut text = format!(
        "the policy needs {}: {MOST_FIREWALLS} firewalls of {} hold {} each. The service {service} takes most, {networks} \
         networks: give it whole networks, or fewer exceptions",
        counts.join(" and "),
        vendor.name(),
        most.join(" and "),
    );
    if blocks {
        text.push_str(", or leave `block` to this machine: --leave-block-to-host");
    }
    text
}
