//! Interfaces as rules see them, and those that a packet passes beneath (rtnetlink).

use super::links::Link;
use super::route::Routing;
use crate::netlink::wire::error::NetlinkError;
use crate::simulate::{Beneath, Prerouted, Properties};

impl Routing {
    pub(super) fn interfaces_beneath(&self, interface: &str) -> Result<Beneath, NetlinkError> {
        Ok(beneath(&self.links_without_addresses()?, interface, self.prerouted))
    }

    /// An interface as rules ask for it; `None` if it is gone.
    pub(super) fn properties_of(&self, interface: &str) -> Result<Option<Properties>, NetlinkError> {
        let found = self.links()?.into_iter().find(|link| link.name == interface);
        Ok(found.map(|Link { hardware, group, kind, addresses, .. }| {
            let addresses = addresses.into_iter().map(|(address, _)| address).collect();
            Properties { hardware, group, kind, addresses }
        }))
    }
}

/// `everywhere` says whether br_netfilter takes the frames of all bridges through prerouting.
fn beneath(all: &[Link], interface: &str, everywhere: Prerouted) -> Beneath {
    let Some(link) = all.iter().find(|link| link.name == interface) else { return Beneath::default() };
    let is_port = |other: &&Link| other.master.as_deref() == Some(interface);
    let ports = || all.iter().filter(is_port).map(|link| link.name.clone()).collect();
    let lower = || link.lower.iter().cloned().collect();
    match link.kind.as_deref() {
        Some("bridge") => {
            let [v4, v6] = link.prerouted;
            let [all_v4, all_v6] = everywhere;
            let prerouted = [if v4 { Some(true) } else { all_v4 }, if v6 { Some(true) } else { all_v6 }];
            Beneath { interfaces: ports(), always: true, bridge: Some(prerouted) }
        }
        Some("bond" | "team") => Beneath { interfaces: ports(), always: true, bridge: None },
        Some("vlan") => Beneath { interfaces: lower(), always: true, bridge: None },
        // Between two of one parent, packets don't pass the parent.
        Some("macvlan" | "macvtap" | "ipvlan" | "ipvtap") => {
            Beneath { interfaces: lower(), always: false, bridge: None }
        }
        _ => Beneath::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_passes_a_port_of_its_bridge_and_the_parent_of_its_macvlan_but_nothing_beneath_a_tunnel() {
        let link = |name: &str, kind: Option<&str>, master: Option<&str>, lower: Option<&str>| Link {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            master: master.map(str::to_owned),
            lower: lower.map(str::to_owned),
            ..Link::default()
        };
        let all = [
            link("eth0", None, Some("br0"), None),
            link("veth1", Some("veth"), Some("br0"), None),
            Link { prerouted: [true, false], ..link("br0", Some("bridge"), None, None) },
            link("mv0", Some("macvlan"), None, Some("eth0")),
            link("vx0", Some("vxlan"), None, Some("eth0")),
        ];
        let found = |name| {
            let Beneath { interfaces, always, bridge } = beneath(&all, name, [Some(false), None]);
            (interfaces.join(" "), always, bridge)
        };

        assert_eq!(found("br0"), ("eth0 veth1".to_owned(), true, Some([Some(true), None])));
        assert_eq!(found("mv0"), ("eth0".to_owned(), false, None));
        assert_eq!(found("vx0"), (String::new(), true, None));
        assert_eq!(found("eth0"), (String::new(), true, None));
    }
}
