//! The sysctls that decide whether parts of a policy take effect.

use super::{Gap, Gaps};

/// The sysctls that matter; `None` for one that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_v6: Option<bool>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_calls_iptables: Option<bool>,
}

impl Sysctls {
    /// Reads them. One that can't be read is a gap, and `None`.
    #[must_use]
    pub fn read(gaps: &mut Gaps) -> Self {
        let mut read = |name| gaps.or_nothing(sysctl(name));
        Self {
            forwards_v4: read("net.ipv4.ip_forward"),
            forwards_v6: read("net.ipv6.conf.all.forwarding"),
            bridge_calls_iptables: read("net.bridge.bridge-nf-call-iptables"),
        }
    }

    /// Whether this machine forwards packets of either IP version.
    #[must_use]
    pub fn forward(&self) -> bool {
        self.forwards_v4 == Some(true) || self.forwards_v6 == Some(true)
    }
}

/// Whether a sysctl is on; `None` if it does not exist.
fn sysctl(name: &str) -> Result<Option<bool>, Gap> {
    crate::files::sysctl(name).map_err(|error| Gap {
        what: format!("the sysctl {name}"),
        why: error.to_string(),
        help: format!("`sysctl {name}`"),
    })
}
