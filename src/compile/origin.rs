//! Packets whose source is not theirs, and packets that would change this machine's routes.
//!
//! Conntrack believes the first packet of a connection: an entry from this machine's port 9000 to a stranger, made by a
//! forged packet, makes replies of what the stranger sends to port 9000, and replies are accepted first. So who forges a
//! source must not make an entry. Only packets that belong to no connection yet are asked.

use super::Compiler;
use super::forward::CONTAINERS;
use super::statement::{Origin, Version, when};
use crate::ruleset::Rule;
use crate::ruleset::address_type::{LOCAL, MULTICAST};

/// RFC 792.
const REDIRECT: u8 = 5;
/// RFC 4861: router advertisement.
const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 4861: redirect.
const REDIRECT_V6: u8 = 137;

impl Compiler<'_> {
    /// For filter-input, behind what comes by the loopback. What this machine sends to a group or to all of a network it
    /// hears itself, by the interface that it left by (mDNS, VRRP); so only what is sent to one of its addresses is asked.
    pub(super) fn own_address_comes_in(&self) -> Rule {
        let comment = self.says("nobody else has an address of this machine", Origin::BuiltIn);
        when().source_type(LOCAL).destination_type(LOCAL).counter().drop().because(comment)
    }

    /// For filter-forward. What this machine sends to a group passes there where it routes multicast. A link-local address is
    /// one of an interface: the first rule would ask the port of a bridge instead of the bridge.
    pub(super) fn own_address_passes(&self) -> [Rule; 2] {
        let comment = || self.says("nobody else has an address of this machine", Origin::BuiltIn);
        [
            when().source_type(LOCAL).destination_type_is_not(MULTICAST).counter().drop().because(comment()),
            when().source_is_link_local().source_type_here(LOCAL).counter().drop().because(comment()),
        ]
    }

    /// For filter-input: asked of all but TCP, which never carries any of it.
    pub(super) fn guard_routes(&mut self) -> Rule {
        let redirect = |version, number| {
            let comment = self.says("this machine's routes are not a neighbour's to change", Origin::BuiltIn);
            when().version(version).icmp_type(version, &[number]).counter().drop().because(comment)
        };
        let mut rules = vec![redirect(Version::V4, REDIRECT), redirect(Version::V6, REDIRECT_V6)];
        if self.has_containers() {
            let comment = || self.says("containers are no routers", Origin::BuiltIn);
            let from_containers = [
                when().version(Version::V6).icmp_type(Version::V6, &[ROUTER_ADVERTISEMENT]),
                when().udp_ports(67, 68),
                when().udp_ports(547, 546),
            ];
            let drop =
                from_containers.map(|statement| statement.iifname_in(CONTAINERS).counter().drop().because(comment()));
            rules.extend(drop);
        }
        let comment = self.says("what would change routes and addresses", Origin::BuiltIn);
        self.chain("routes", comment.clone(), rules);
        when().l4proto_is_not(6).jump("routes").because(comment)
    }
}
