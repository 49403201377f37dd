//! Remedies that change the policy are written into it as they are printed, and the machine is examined again.

use super::tests::{base, healthy, link, rule, ruleset};
use super::*;
use crate::access::access_changes;
use crate::compile::compile;
use crate::facts::Facts as PolicyFacts;
use crate::net::protocol;
use crate::netlink::RoutedLink;
use crate::policy::parse;
use crate::resolve::{Resolved, resolve};
use crate::ruleset::{
    AddressType, Chain, Cmp, Expr, Family, Foreign, Hook, MetaKey, Nat, PayloadBase, Policy, Register, TableId,
    Verdict,
};
use crate::simulate::{AsListed, Asked, Doubt, Way};
use std::net::IpAddr;

const SSH: &str = "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n";

/// Pods are behind cbr0, 10.0.0.1 is this machine, and everyone else is behind eth0.
struct Node;

impl Routes for Node {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(match asked.destination {
            IpAddr::V4(address) if address.octets() == [10, 0, 0, 1] => Way::Local,
            IpAddr::V4(address) if address.octets()[..2] == [10, 42] => Way::Out("cbr0".to_owned()),
            _ => Way::Out("eth0".to_owned()),
        })
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        let own = address == IpAddr::from([10, 0, 0, 1]);
        Ok(if own { AddressType::Local } else { AddressType::Unicast })
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(1)
    }
}

fn resolved(policy: &str) -> Resolved {
    let parsed = parse(policy, "policy.yaml");
    assert_eq!(parsed.problems, [], "{policy}");
    resolve(&parsed.policy.expect("YAML"), &PolicyFacts::default()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What is found on a machine with that policy.
fn found(policy: &str, rules: &Ruleset, change: impl Fn(&mut Host)) -> Vec<Finding> {
    let mut host = healthy(&resolved(policy));
    host.docker = None;
    change(&mut host);
    examined(&host, rules)
}

fn examined(host: &Host, rules: &Ruleset) -> Vec<Finding> {
    let findings = examine(&Facts::new(host, rules, &AsListed, &Node));
    findings.into_iter().filter(|finding| finding.severity != Severity::Note).collect()
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id).collect()
}

/// The parts of a text in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The lines of a remedy that belong in a policy.
fn lines(finding: &Finding) -> Vec<&str> {
    let keys = ["containers:", "services:", "defaults:", "doctor:"];
    quoted(&finding.help).into_iter().filter(|part| keys.iter().any(|key| part.starts_with(key))).collect()
}

fn without_ignoring(finding: &Finding) -> Vec<&str> {
    lines(finding).into_iter().filter(|line| !line.starts_with("doctor:")).collect()
}

#[test]
fn the_line_for_a_bridge_of_guests_mends_the_finding_and_shuts_nothing() {
    let bridge = |host: &mut Host| host.links.push(link("cbr0", "bridge"));
    let finding = found(SSH, &Ruleset::default(), bridge).remove(0);

    let line = "containers: { interfaces: [\"br-*\", cbr0, \"cni-podman*\", cni0, docker0, docker_gwbridge, \"incusbr*\", \
                \"lxcbr*\", \"lxdbr*\", nerdctl0, \"podman*\", \"ve-*\", \"virbr*\", \"vz-*\"] }";
    assert_eq!(without_ignoring(&finding), [line]);
    let policy = format!("{SSH}{line}\n");
    assert_eq!(found(&policy, &Ruleset::default(), bridge), []);
    let [before, after] = [SSH, policy.as_str()].map(|policy| compile(&resolved(policy)));
    let changes = access_changes(&TableId::palisade(), Some(&before), Some(&after));
    let lost: Vec<String> =
        changes.iter().filter(|change| !change.loses.is_empty()).map(ToString::to_string).collect();
    // Guests answer no request of this machine for an address.
    assert_eq!(lost, ["68/udp by cbr0: 0.0.0.0/0 loses", "546/udp by cbr0: ::/0 loses"]);
}

#[test]
fn a_network_that_is_cut_off_is_named_once_whether_guests_are_beside_it_or_not() {
    let network =
        |name: &str, kind: &str| RoutedLink { networks: [([10, 9, 0, 0].into(), 24)].into(), ..link(name, kind) };
    let beside = |guests: bool| {
        let found = found(SSH, &Ruleset::default(), |host| {
            host.engines.clear();
            host.links = vec![RoutedLink { is_way_out: true, ..network("eth0", "") }, network("eth1", "")];
            if guests {
                host.links.push(network("wg0", "wireguard"));
            }
            host.machine.links = Some(host.links.clone());
            host.machine.sysctls = host.sysctls;
        });
        found.into_iter().map(|finding| (finding.id, finding.message)).collect::<Vec<_>>()
    };
    let cards = "this machine forwards, and the policy cuts off what is behind eth1: `forward: deny` stops what comes from there, \
                 and what goes there";
    let guests = "the policy does not name wg0, and stops what is forwarded from it and to it (`forward: deny`): its guests reach \
                  this machine alone";

    assert_eq!(beside(false), [("not-this-machine", cards.to_owned())]);
    assert_eq!(beside(true), [("not-this-machine", cards.to_owned()), ("guests-not-named", guests.to_owned())]);
}

#[test]
fn a_line_that_would_shut_what_is_open_to_addresses_is_not_given() {
    let policy = "version: 1\nservices: { registry: { ports: 5000/tcp, from: 10.42.0.0/16 } }\n";
    let finding = found(policy, &Ruleset::default(), |host| host.links.push(link("cbr0", "bridge"))).remove(0);

    assert!(finding.help.starts_with("no line is known that helps: "), "{}", finding.help);
    assert!(finding.help.contains("would change who reaches this machine (5000/tcp "), "{}", finding.help);
}

#[test]
fn an_interface_of_a_vpn_is_never_advised_to_be_one_of_containers() {
    let policy = "version: 1\nservices: { db: { ports: 5432/tcp, from: 10.8.0.0/24 } }\n";
    for (name, kind) in [("wg0", "wireguard"), ("tailscale0", "tun")] {
        let vpn = |host: &mut Host| host.links.push(link(name, kind));
        let finding = found(policy, &Ruleset::default(), vpn).remove(0);

        assert_eq!((finding.id, without_ignoring(&finding)), ("guests-not-named", Vec::new()));
        // What remains is to say that it is meant.
        let ignoring = format!("{policy}{}\n", lines(&finding)[0]);
        let mut host = healthy(&resolved(&ignoring));
        vpn(&mut host);
        let rules = Ruleset::default();
        let facts = Facts::new(&host, &rules, &AsListed, &Node);
        let examined = Examined::new(&facts, &[]);
        assert_eq!((examined.findings.as_slice(), examined.ignored.len()), (&[][..], 1));
    }
}

/// A bridge with two ports that is the way to the outside, whose frames are forwarded packets.
fn public_bridge(host: &mut Host) {
    host.links.retain(|link| link.name != "eth0");
    host.links.push(RoutedLink { is_way_out: true, ..link("br-lan", "bridge") });
    for port in ["eth0", "vnet3"] {
        host.links.push(RoutedLink { master: Some("br-lan".to_owned()), has_network: false, ..link(port, "tun") });
    }
    host.sysctls.bridge_calls_iptables = Some(true);
}

#[test]
fn the_remedies_for_a_public_bridge_with_virtual_machines_go_in_no_circle() {
    let finding = found(SSH, &Ruleset::default(), public_bridge).remove(0);
    let line = "containers: { interfaces: [\"cni-podman*\", cni0, docker0, docker_gwbridge, \"incusbr*\", \"lxcbr*\", \"lxdbr*\", \
                nerdctl0, \"podman*\", \"ve-*\", \"virbr*\", \"vz-*\"] }";
    assert_eq!((finding.id, without_ignoring(&finding)), ("way-out-is-containers", vec![line]));
    let policy = format!("{SSH}{line}\n");

    let next = found(&policy, &Ruleset::default(), public_bridge);
    assert_eq!(ids(&next), ["guests-not-named"]);
    assert_eq!(quoted(&next[0].help)[0], "sysctl -w net.bridge.bridge-nf-call-iptables=0");
    let mended = found(&policy, &Ruleset::default(), |host| {
        public_bridge(host);
        host.sysctls.bridge_calls_iptables = Some(false);
    });
    assert_eq!(mended, []);

    // Docker would set the sysctl again: there is no remedy, and none is given.
    let beside_docker = found(&policy, &Ruleset::default(), |host| {
        public_bridge(host);
        host.docker = healthy(&Resolved::default()).docker;
    });
    assert_eq!(ids(&beside_docker), ["guests-not-named"]);
    assert!(!beside_docker[0].help.contains("sysctl -w"), "{}", beside_docker[0].help);
    assert_eq!(without_ignoring(&beside_docker[0]), Vec::<&str>::new());
}

/// `ip daddr TO meta l4proto PROTOCOL dport PORT`
fn service(to: [u8; 4], protocol: u8, port: u16) -> Vec<Expr> {
    let one = Register::ONE;
    let equal = |load: Expr, data: &[u8]| [load, Expr::Cmp { op: Cmp::Eq, sreg: one, data: data.to_vec() }];
    let parts = [
        equal(Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, dreg: one }, &to),
        equal(Expr::Meta { key: MetaKey::L4proto, dreg: one }, &[protocol]),
        equal(Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: one }, &port.to_be_bytes()),
    ];
    parts.into_iter().flatten().collect()
}

/// What kube-proxy makes of cluster DNS, answered by a pod.
fn cluster() -> Ruleset {
    let one = Register::ONE;
    let two = Register::Data(4);
    let immediate = |dreg, data: &[u8]| Expr::Foreign(Foreign::Immediate { dreg, data: data.to_vec() });
    let nat = Nat { destination: true, family: 2, addresses: [Some(one), None], ports: [Some(two), None], flags: 3 };
    let jump = |to: &str| Expr::Verdict(Verdict::Jump(to.to_owned()));
    let mut dns = service([10, 43, 0, 10], protocol::UDP, 53);
    dns.push(jump("KUBE-SEP-DNS"));
    let endpoint = [
        Expr::Meta { key: MetaKey::L4proto, dreg: one },
        Expr::Cmp { op: Cmp::Eq, sreg: one, data: vec![protocol::UDP] },
        immediate(one, &[10, 42, 0, 5]),
        immediate(two, &53_u16.to_be_bytes()),
        Expr::Foreign(Foreign::Nat(nat)),
    ];
    let prerouting = base("nat", Hook::Prerouting, -100, Policy::Accept, vec![rule([jump("KUBE-SERVICES")])]);
    let chain = |exprs: Vec<Expr>| Chain { rules: vec![rule(exprs)], ..Chain::default() };
    ruleset(
        Family::Ip,
        "nat",
        [("PREROUTING", prerouting), ("KUBE-SERVICES", chain(dns)), ("KUBE-SEP-DNS", chain(endpoint.into()))],
    )
}

#[test]
fn a_line_is_given_to_a_node_of_kubernetes_only_if_calls_within_the_cluster_get_through() {
    let bridge = |host: &mut Host| host.links.push(link("cbr0", "bridge"));
    let finding = found(SSH, &cluster(), bridge).remove(0);
    let id = TableId::palisade();
    let policy = without_ignoring(&finding).iter().fold(SSH.to_owned(), |policy, line| format!("{policy}{line}\n"));
    let policy = if finding.help.starts_with("no line is known that helps") { None } else { Some(policy) };

    // The rules decide whether there is a line. If there is, a pod's call gets through by it.
    match policy {
        None => assert!(
            finding
                .help
                .contains("would leave calls within the cluster without an answer (from cbr0 to 10.43.0.10:53/udp)"),
            "{}",
            finding.help
        ),
        Some(policy) => {
            let table = compile(&resolved(&policy));
            let rules = cluster();
            let tables = rules.tables.iter().chain([(&id, &table)]);
            let transport =
                crate::simulate::Transport::Ports { protocol: protocol::UDP, source: None, destination: 53 };
            let call = crate::simulate::Packet::to_machine([10, 42, 0, 7].into(), [10, 43, 0, 10].into(), transport)
                .coming_in_by("cbr0");
            let traversal = crate::simulate::follow(tables, &AsListed, &Node, &call);
            assert_eq!(traversal.trace.verdict, crate::simulate::Verdict::Allow);
        }
    }
}

#[test]
fn a_policy_that_was_undone_is_called_that_and_never_advised_to_be_applied_as_it_is() {
    for loaded in [Loaded::Differs(3), Loaded::Policy] {
        let found = found(SSH, &Ruleset::default(), |host| (host.loaded, host.undone) = (loaded, true));
        assert_eq!(ids(&found), ["policy-undone"]);
        assert!(found[0].help.starts_with("edit it first: "), "{}", found[0].help);
    }
    let found = found(SSH, &Ruleset::default(), |host| (host.loaded, host.undone) = (Loaded::Nothing, true));
    assert_eq!(ids(&found), ["not-loaded", "policy-undone"]);
    assert_eq!(found[0].help, "`palisade boot` loads the last good ruleset");
}
