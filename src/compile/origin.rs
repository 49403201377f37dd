//! Spoofed sources, and packets that would change this machine's routes.
//!
//! Conntrack trusts the first packet of a connection. A forged packet from this machine's port 9000 to a stranger
//! makes an entry; whatever the stranger then sends to port 9000 is a reply, and replies are accepted first. So a
//! forged packet must not make an entry. The packets of a connection were checked when it began; all others are
//! checked here:
//!
//! | source | dropped if |
//! |---|---|
//! | an address of this machine | the packet did not come in by the loopback |
//! | an address that routes to containers | it came in by another interface than the one that it routes to |
//! | a container's, without a route back to it | it would leave to the outside, or containers are closed |
//! | any without a route back by the interface that it came in by | `reverse_path` is strict |
//!
//! Containers are closed if they may send nothing out or `reverse_path` is strict.
//!
//! A bridge without an address (Docker's `isolated` networks) has no route to its containers. With
//! `bridge-nf-call-iptables` set, packets between these containers pass here and can't be told from forged ones. They
//! are let through only if containers may send freely and the destination is a private address.
//!
//! Older kernels answer some of these questions at the prerouting hook only ([`Kernel`](crate::facts::Kernel)). There
//! the checks are in a base chain of their own, after DNAT, which costs each packet of a connection one more rule.

use super::essentials::DHCPV6_CLIENT;
use super::forward::CONTAINERS;
use super::statement::{Origin, Statement, when};
use super::{Compiler, PRIORITY_AFTER_DNAT};
use crate::net::{Transport, Version};
use crate::resolve::{Action, ReversePath};
use crate::ruleset::{Hook, Policy, Rule, ct_state};

/// RFC 792.
const REDIRECT: u8 = 5;
/// RFC 4861: router advertisement.
const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 4861: redirect.
const REDIRECT_V6: u8 = 137;

/// The chain for sources that route to containers.
const CONTAINER_SOURCES: &str = "container-sources";
/// The chain for packets of containers whose sources don't route back to them.
const FORGED: &str = "forged";
/// The chain for sources that don't route back by the interface that they came in by.
const UNROUTABLE: &str = "unroutable";

impl Compiler<'_> {
    /// Adds the chains that the rules below jump to and, on older kernels, the base chain with the checks.
    pub(super) fn origins(&mut self) {
        if self.has_containers() {
            self.container_sources();
            self.forged();
        }
        if self.is_strict() {
            self.unroutable();
        }
        self.ask_early();
    }

    fn is_strict(&self) -> bool {
        self.policy.defaults.reverse_path == ReversePath::Strict
    }

    fn ask_early(&mut self) {
        let kernel = self.policy.kernel;
        let mut rules = Vec::new();
        if self.has_containers() && !kernel.routes_at_all_hooks {
            rules.push(self.goes_to_containers_elsewhere());
        }
        if !kernel.return_path_at_all_hooks {
            if self.has_containers() {
                rules.push(self.does_not_route_back(when().iifname_in(CONTAINERS)));
            }
            if self.is_strict() {
                rules.push(self.has_no_way_back());
            }
        }
        let leaves = self.leaves_for_the_outside(when().iifname_in(CONTAINERS));
        if let Some(leaves) = leaves.filter(|_| self.has_containers() && !kernel.routes_at_all_hooks) {
            let comment = self.says("a published port is asked for where it goes", Origin::BuiltIn);
            rules.extend([when().destination_was_translated().accept().because(comment), leaves]);
        }
        if !rules.is_empty() {
            rules.splice(0..0, [self.accept_replies(), self.accept_loopback()]);
            let comment = "sources, as this kernel can be asked for them";
            let priority = PRIORITY_AFTER_DNAT;
            self.base_chain("filter-sources", Hook::Prerouting, priority, Policy::Accept, comment, rules);
        }
    }

    /// For filter-input, after loopback traffic. This machine receives its own multicasts and broadcasts by the
    /// interface that they left by (mDNS, VRRP), so only packets to one of its addresses are checked.
    pub(super) fn check_sources_of_input(&self) -> Vec<Rule> {
        let kernel = self.policy.kernel;
        let mut rules = vec![self.own_address(when().source_is_own().destination_is_own())];
        rules.extend(self.loopback_addresses());
        if self.has_containers() && kernel.routes_at_all_hooks {
            rules.push(self.goes_to_containers_elsewhere());
        }
        if self.is_strict() && kernel.return_path_at_all_hooks {
            rules.push(self.has_no_way_back());
        }
        rules
    }

    /// For filter-forward, before everything that is accepted. If this machine routes multicast, its own packets to a
    /// multicast group pass there. Link-local addresses belong to one interface, and the first rule looks for them on
    /// the port of a bridge, not on the bridge.
    ///
    /// Packets to this machine pass there only in a frame to another's hardware address. Such a packet would make an
    /// entry, and after a forged reply the next one would be accepted as a packet of a connection.
    ///
    /// What is sent to this machine never passes there either, but as a frame to another's hardware address: with an entry
    /// of that, and a forged answer, its next packet would be one of a connection.
    pub(super) fn check_own_in_forward(&self) -> [Rule; 4] {
        let comment = || self.says("what is for this machine does not pass through it", Origin::BuiltIn);
        [
            self.own_address(when().source_is_own().destination_is_no_group()),
            self.own_address(when().source_is_own_of_link()),
            when().destination_is_own().counter().drop().because(comment()),
            when().destination_is_own_of_link().counter().drop().because(comment()),
        ]
    }

    /// For filter-forward, after the rules for what containers send.
    pub(super) fn check_others_in_forward(&self) -> Vec<Rule> {
        let kernel = self.policy.kernel;
        let mut rules = Vec::new();
        if self.has_containers() && kernel.routes_at_all_hooks {
            let comment = self.says("a container's address comes from its bridge alone", Origin::BuiltIn);
            rules.push(self.routes_to_containers().counter().drop().because(comment));
        }
        if self.is_strict() && kernel.return_path_at_all_hooks {
            rules.push(self.has_no_way_back());
        }
        rules
    }

    /// For from-containers, before everything else.
    pub(super) fn check_sources_of_containers(&self) -> Option<Rule> {
        self.policy.kernel.return_path_at_all_hooks.then(|| self.does_not_route_back(when()))
    }

    /// For from-containers, before packets to containers are accepted.
    pub(super) fn check_destinations_of_containers(&self) -> Vec<Rule> {
        let Some(leaves) = self.leaves_for_the_outside(when().oifname_in(CONTAINERS)) else { return Vec::new() };
        if !self.policy.kernel.routes_at_all_hooks {
            return Vec::new();
        }
        // Without `iif` the kernel looks for link-local addresses on the bridge's port.
        let link_local = self.says("to another container of the same bridge", Origin::BuiltIn);
        vec![when().oifname_in(CONTAINERS).destination_is_on_the_link().accept().because(link_local), leaves]
    }

    /// For containers that may send nothing out. A frame to another container's hardware address goes to that
    /// container, whatever its destination address, and makes an entry that would accept the next packet to that
    /// address.
    fn leaves_for_the_outside(&self, statement: Statement) -> Option<Rule> {
        (self.policy.containers.outgoing != Action::Allow).then(|| {
            let comment = self.says("to the outside, although a container is handed it", Origin::BuiltIn);
            statement
                .ct_state(&[ct_state::NEW, ct_state::RELATED])
                .destination_is_unicast()
                .destination_routes_elsewhere(&self.policy.containers.interfaces)
                .goto("default-containers")
                .because(comment)
        })
    }

    fn own_address(&self, statement: Statement) -> Rule {
        let comment = self.says("nobody else has an address of this machine", Origin::BuiltIn);
        statement.counter().drop().because(comment)
    }

    /// With `route_localnet` on, packets from the wire can be for 127.0.0.0/8. Sources are checked by
    /// [`own_address`](Self::own_address) and, for multicasts and broadcasts, by
    /// [`guard_routes`](Self::guard_routes). No kernel routes `::1`.
    fn loopback_addresses(&self) -> [Rule; 2] {
        let comment = || self.says("this machine's loopback is not for others", Origin::BuiltIn);
        [
            when().ct_state(&[ct_state::NEW]).original_destination_is_loopback().counter().drop().because(comment()),
            when()
                .ct_state(&[ct_state::INVALID, ct_state::UNTRACKED, ct_state::RELATED])
                .destination_is_loopback()
                .counter()
                .drop()
                .because(comment()),
        ]
    }

    fn routes_to_containers(&self) -> Statement {
        when().source_routes_to(&self.policy.containers.interfaces)
    }

    fn goes_to_containers_elsewhere(&self) -> Rule {
        let comment = self.says("sources that are containers' addresses", Origin::BuiltIn);
        self.routes_to_containers().jump(CONTAINER_SOURCES).because(comment)
    }

    fn container_sources(&mut self) {
        let comment = self.says("a container's address comes from its bridge alone", Origin::BuiltIn);
        let mut rules = vec![when().iifname_not_in(CONTAINERS).counter().drop().because(comment)];
        let comment = self.says("no container has another's address", Origin::BuiltIn);
        rules.push(when().no_return_path().counter().drop().because(comment));
        let comment = self.says("sources that are containers' addresses", Origin::BuiltIn);
        self.chain(CONTAINER_SOURCES, comment, rules);
    }

    /// Whether to drop every packet of a container whose source does not route back to it.
    fn containers_are_closed(&self) -> bool {
        self.policy.containers.outgoing != Action::Allow || self.is_strict()
    }

    /// Checks only packets that make an entry: neighbour discovery is not tracked, and its sources may be `::`.
    fn does_not_route_back(&self, statement: Statement) -> Rule {
        let comment = self.says("a container's source that does not route back to it", Origin::BuiltIn);
        let states = [ct_state::NEW, ct_state::RELATED];
        statement.ct_state(&states).no_return_path().jump(FORGED).because(comment)
    }

    fn forged(&mut self) {
        let link_local = self.says("an address of the link, which is routed nowhere", Origin::BuiltIn);
        let mut rules = vec![when().source_is_link_local().go_back().because(link_local)];
        if self.containers_are_closed() {
            let comment = self.says("not this container's address", Origin::BuiltIn);
            rules.push(when().counter().drop().because(comment));
        } else {
            // At the prerouting hook the outgoing interface is not known yet.
            if self.policy.kernel.return_path_at_all_hooks {
                let comment = self.says("nothing goes out with another's address", Origin::BuiltIn);
                rules.push(when().oifname_not_in(CONTAINERS).counter().drop().because(comment));
            }
            // A bridge also carries packets for other destinations if the frame is for another container.
            rules.extend(Version::ALL.map(|version| {
                let comment = self.says("nothing goes out with another's address", Origin::BuiltIn);
                when().destination_is_public(version).counter().drop().because(comment)
            }));
            if self.policy.kernel.routes_at_all_hooks {
                let comment = self.says("no container has another's address", Origin::BuiltIn);
                rules.push(self.routes_to_containers().counter().drop().because(comment));
            }
        }
        let comment = self.says("a container's source that does not route back to it", Origin::BuiltIn);
        self.chain(FORGED, comment, rules);
    }

    fn has_no_way_back(&self) -> Rule {
        let line = Origin::Line(self.policy.default_lines.reverse_path);
        let comment = self.says("sources that don't route back by where they came in", line);
        when().no_return_path().jump(UNROUTABLE).because(comment)
    }

    /// Excepts this machine's own addresses: other rules check them, and its packets to a multicast group come back
    /// to it. Also excepts hosts without an address yet, and servers that assign one: they have no route.
    fn unroutable(&mut self) {
        let line = Origin::Line(self.policy.default_lines.reverse_path);
        let own = self.says("what this machine sends to all", Origin::BuiltIn);
        let nobody = self.says("has no address yet", Origin::BuiltIn);
        let link_local = self.says("an address of the link", Origin::BuiltIn);
        let dhcp = || self.says("DHCP answers", Origin::BuiltIn);
        let comment = self.says("routes back by another interface", line);
        let rules = vec![
            when().source_is_own().go_back().because(own),
            when().source_is_unspecified().go_back().because(nobody),
            when().source_is_link_local().go_back().because(link_local),
            when().version(Version::V4).udp_ports(67, 68).go_back().because(dhcp()),
            when()
                .destination_is_link_local()
                .destination_ports(Transport::Udp, &[DHCPV6_CLIENT])
                .go_back()
                .because(dhcp()),
            when().counter().drop().because(comment),
        ];
        let comment = self.says("sources that don't route back by where they came in", line);
        self.chain(UNROUTABLE, comment, rules);
    }

    /// For filter-input. Skips TCP, which never carries such packets.
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
                when().version(Version::V6).destination_ports(Transport::Udp, &[DHCPV6_CLIENT]),
            ];
            let drop =
                from_containers.map(|statement| statement.iifname_in(CONTAINERS).counter().drop().because(comment()));
            rules.extend(drop);
        }
        let comment = self.says("this machine's loopback is not for others", Origin::BuiltIn);
        // A loopback address is an own address, too. Matching both tells the analysis that no real sender has it.
        rules.push(when().source_is_own().source_is_loopback().counter().drop().because(comment));
        let comment = self.says("what would change routes and addresses", Origin::BuiltIn);
        self.chain("routes", comment.clone(), rules);
        when().l4proto_is_not(6).jump("routes").because(comment)
    }
}
