//! Rules that every default-deny machine needs, whatever its policy says.

use super::Compiler;
use super::forward::CONTAINERS;
use super::statement::{Origin, when};
use crate::net::{Transport, Version, protocol};
use crate::resolve::Action;
use crate::ruleset::{Rule, Verdict, ct_state};

/// RFC 792: destination unreachable (with "fragmentation needed"), time exceeded, parameter problem.
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
/// RFC 4443: destination unreachable, packet too big, time exceeded, parameter problem.
const ICMPV6_ERRORS: [u8; 4] = [1, 2, 3, 4];
/// RFC 4861: router solicitation and advertisement, neighbour solicitation and advertisement. Not redirects: a
/// neighbour must not change a server's routes. [`origin`](super::origin) drops them earlier.
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];
/// RFC 2710 and 3810: multicast listener query, report, done, report version 2.
const MULTICAST_LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];
/// The chain for packets related to known connections.
const RELATED: &str = "related";
const DNS: u16 = 53;
const DHCP: u16 = 67;
const DHCPV6: u16 = 547;
/// RFC 8415, 7.2: where clients of DHCPv6 listen.
pub(super) const DHCPV6_CLIENT: u16 = 546;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

impl Compiler<'_> {
    /// Comes first in each chain that uses it, so that a packet of a connection costs only one comparison.
    pub(super) fn accept_replies(&self) -> Rule {
        let comment = self.says("replies", Origin::BuiltIn);
        when().ct_state(&[ct_state::ESTABLISHED]).accept().because(comment)
    }

    /// Handles packets that are related to a known connection without being part of it: an error about it, but also a
    /// redirect that quotes it, and whatever a helper expects. Only errors are accepted as related; the rest is
    /// treated like the first packet of a connection.
    pub(super) fn accept_errors(&self) -> Rule {
        let comment = self.says("errors about known connections", Origin::BuiltIn);
        when().ct_state(&[ct_state::RELATED]).jump(RELATED).because(comment)
    }

    pub(super) fn related(&mut self) {
        let rules = Version::ALL.map(|version| self.icmp_errors(version, "errors about known connections"));
        let comment = self.says("what is related to known connections", Origin::BuiltIn);
        self.chain(RELATED, comment, rules.into());
    }

    /// If the default denies: sends packets that belong to no connection and can't begin one to `invalid`.
    pub(super) fn goto_invalid(&self, incoming: Action) -> Option<Rule> {
        (incoming != Action::Allow).then(|| {
            let comment = self.says("packets that belong to no connection", Origin::BuiltIn);
            when().ct_state(&[ct_state::INVALID]).goto("invalid").because(comment)
        })
    }

    pub(super) fn accept_loopback(&self) -> Rule {
        when().iifname_is("lo").accept().because(self.says("this machine talks to itself", Origin::BuiltIn))
    }

    pub(super) fn accept_loopback_out(&self) -> Rule {
        when().oifname_is("lo").accept().because(self.says("this machine talks to itself", Origin::BuiltIn))
    }

    /// The chain for packets that belong to no connection and can't begin one. It still accepts errors that path
    /// discovery needs: they may be about a connection that this machine does not track.
    pub(super) fn invalid(&mut self) {
        let rules = vec![
            self.icmp_errors(Version::V4, "errors that path discovery needs"),
            self.icmp_errors(Version::V6, "errors that path discovery needs"),
            when().counter().drop().because(self.says("belongs to no connection", Origin::BuiltIn)),
        ];
        let comment = self.says("packets that belong to no connection", Origin::BuiltIn);
        self.chain("invalid", comment, rules);
    }

    fn icmp_errors(&self, version: Version, sentence: &str) -> Rule {
        let types: &[u8] = match version {
            Version::V4 => &ICMP_ERRORS,
            Version::V6 => &ICMPV6_ERRORS,
        };
        let comment = self.says(sentence, Origin::BuiltIn);
        when().version(version).icmp_type(version, types).accept().because(comment)
    }

    pub(super) fn ping(&self) -> Vec<Rule> {
        let line = Origin::Line(self.policy.default_lines.ping);
        let (verdict, sentence) = match self.policy.defaults.ping {
            Action::Allow => (Verdict::Accept, "ping is answered"),
            // A default that denies also denies echo requests.
            _ if self.policy.defaults.incoming != Action::Allow => return Vec::new(),
            _ => (Verdict::Drop, "ping is not answered"),
        };
        let echo = |version, number| {
            let verdict = verdict.clone();
            when().version(version).icmp_type(version, &[number]).verdict(verdict).because(self.says(sentence, line))
        };
        vec![echo(Version::V4, ECHO_REQUEST), echo(Version::V6, ECHO_REQUEST_V6)]
    }

    pub(super) fn essentials_input(&self) -> Vec<Rule> {
        if self.policy.defaults.incoming == Action::Allow {
            return Vec::new();
        }
        let mut rules = self.essentials_from_outside().to_vec();
        if self.has_containers() {
            rules.extend(self.names_and_addresses_for_containers());
        }
        rules
    }

    /// What every machine needs from its network. [`block`](super::block) lets it through, too.
    pub(super) fn essentials_from_outside(&self) -> [Rule; 5] {
        [
            self.neighbour_discovery(),
            self.multicast_listener_discovery(),
            self.group_reports(),
            when()
                .version(Version::V4)
                .udp_ports(67, 68)
                .accept()
                .because(self.says("DHCP answers", Origin::BuiltIn)),
            self.dhcpv6_answers(),
        ]
    }

    /// RFC 8415 gives the client's port and has it ask from a link-local address. The server or relay may answer from
    /// any port, and with any of its addresses.
    fn dhcpv6_answers(&self) -> Rule {
        let comment = self.says("DHCPv6 answers", Origin::BuiltIn);
        when()
            .destination_is_link_local()
            .destination_ports(Transport::Udp, &[DHCPV6_CLIENT])
            .accept()
            .because(comment)
    }

    /// Engines answer their guests' DNS and DHCP requests on this machine's end of the bridge (Podman's aardvark-dns,
    /// the dnsmasq of libvirt, LXC and Incus). A guest cannot work without the answers.
    pub(super) fn names_and_addresses_for_containers(&self) -> [Rule; 2] {
        let rule = |transport, ports: &[u16], what: &str| {
            let comment = self.says(&format!("containers ask their engine for {what}"), Origin::BuiltIn);
            when().iifname_in(CONTAINERS).destination_ports(transport, ports).accept().because(comment)
        };
        [rule(Transport::Udp, &[DNS, DHCP, DHCPV6], "names and addresses"), rule(Transport::Tcp, &[DNS], "names")]
    }

    /// The kernel counts a reset that refuses a connection as related to it.
    fn accept_resets(&self) -> Rule {
        let comment = self.says("refusals of connections", Origin::BuiltIn);
        when().ct_state(&[ct_state::RELATED]).l4proto(protocol::TCP).accept().because(comment)
    }

    pub(super) fn essentials_output(&self) -> Vec<Rule> {
        vec![
            self.accept_resets(),
            self.neighbour_discovery(),
            self.multicast_listener_discovery(),
            self.group_reports(),
            when()
                .version(Version::V4)
                .udp_ports(68, 67)
                .accept()
                .because(self.says("DHCP requests", Origin::BuiltIn)),
            when()
                .source_is_link_local()
                .destination_ports(Transport::Udp, &[DHCPV6])
                .accept()
                .because(self.says("DHCPv6 requests", Origin::BuiltIn)),
        ]
    }

    fn neighbour_discovery(&self) -> Rule {
        let comment = self.says("IPv6 neighbour discovery, from neighbours only", Origin::BuiltIn);
        when().hop_limit_is_255().icmp_type(Version::V6, &NEIGHBOUR_DISCOVERY).accept().because(comment)
    }

    /// IGMP, which is to IPv4 what multicast listener discovery is to IPv6. Queries, reports and leaves go to a group,
    /// never to one host. Not restricted to a TTL of 1, which RFC 3376 has senders write and no host check: a switch
    /// whose querier writes another would stop forwarding this machine's groups to it.
    fn group_reports(&self) -> Rule {
        let comment = self.says("IPv4 multicast group queries and reports", Origin::BuiltIn);
        when().destination_is_group().l4proto(protocol::IGMP).accept().because(comment)
    }

    /// Accepts any source: a host without an address yet reports from `::`.
    fn multicast_listener_discovery(&self) -> Rule {
        let comment = self.says("IPv6 multicast listener reports", Origin::BuiltIn);
        when().version(Version::V6).icmp_type(Version::V6, &MULTICAST_LISTENER_DISCOVERY).accept().because(comment)
    }
}
