//! Settings of all bridges.

use crate::files::sysctl;
use crate::simulate::Prerouted;

/// Whether br_netfilter takes the frames of all bridges through prerouting, in the network namespace of the calling
/// thread. Without the module there is no such setting.
pub(super) fn prerouted() -> Prerouted {
    ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"]
        .map(|name| sysctl(name).ok().map(|on| on == Some(true)))
}
