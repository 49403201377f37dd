//! The findings about what a policy forwards: each is found by one wrong fact, and its line mends it.

use super::tests::{base, healthy, link, rule, ruleset};
use super::*;
use crate::facts::Facts as PolicyFacts;
use crate::netlink::RoutedLink;
use crate::policy::parse;
use crate::resolve::{Resolved, resolve};
use crate::ruleset::{AddressType, Chain, Expr, Family, Hook, Policy, Verdict};
use crate::simulate::{AsListed, Asked, Doubt, Way};
use std::net::IpAddr;

/// The local network is behind eth1, and nothing leads to 192.0.2.0/24.
struct Lan;

impl Routes for Lan {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(match asked.destination {
            IpAddr::V4(address) if address.octets()[..2] == [192, 0] => Way::Lost("no route leads there".into()),
            IpAddr::V4(address) if address.octets()[0] == 10 => Way::Out("eth1".to_owned()),
            _ => Way::Out("eth0".to_owned()),
        })
    }

    fn address_type(&self, _: IpAddr) -> Result<AddressType, Doubt> {
        Ok(AddressType::Unicast)
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(1)
    }
}

fn resolved(policy: &str) -> Resolved {
    let parsed = parse(&format!("version: 1\n{policy}"), "policy.yaml");
    assert_eq!(parsed.problems, [], "{policy}");
    resolve(&parsed.policy.expect("YAML"), &PolicyFacts::default()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What is found on a machine with that policy, whose local network is behind eth1.
fn found(policy: &str, rules: &Ruleset, change: impl Fn(&mut Host)) -> Vec<Finding> {
    let mut host = healthy(&resolved(policy));
    host.sysctls.forwards_v6 = Some(true);
    for link in host.links.iter_mut().filter(|link| link.name == "eth1") {
        link.networks =
            [("10.77.0.0", 24), ("fd77::", 64)].map(|(at, len)| (at.parse().expect("an address"), len)).into();
    }
    change(&mut host);
    examine(&Facts::new(&host, rules, &AsListed, &Lan))
}

fn bridge(host: &mut Host) {
    host.sysctls.bridge_calls_iptables = Some(true);
    host.links.push(link("home", "bridge"));
    for port in ["lan1", "lan2"] {
        host.links.push(RoutedLink { master: Some("home".to_owned()), has_network: false, ..link(port, "") });
    }
}

fn drops(chain: &'static str) -> Ruleset {
    let jump = rule([Expr::Verdict(Verdict::Jump(chain.to_owned()))]);
    let forward = base("filter", Hook::Forward, 0, Policy::Drop, vec![jump]);
    ruleset(Family::Ip, "filter", [("FORWARD", forward), (chain, Chain::default())])
}

const SAID: &str = "services: { ssh: { ports: 22/tcp, from: any } }\n";
const LAN: &str = "forward:\n  lan: { ports: any, from: { interface: eth1 }, to: any }\n";
const HOME: &str = "forward:\n  home: { ports: any, from: { interface: home }, to: { interface: eth0 } }\n";
const WEB: &str = "services:\n  web: { ports: 443/tcp, from: any, forward_to: 10.77.0.2 }\n";

/// The finding, the policy, the rules of others, and the wrong fact.
type Case = (&'static str, String, Ruleset, fn(&mut Host));

fn cases() -> Vec<Case> {
    let none = Ruleset::default;
    let nat = "nat:\n  lan: { from: { interface: eth1 }, to: { interface: eth0 } }\n";
    let db = "services: { db: { ports: 5432/tcp, from: { interface: br-0123456789ab } } }\n".to_owned();
    let out =
        "defaults: { outgoing: deny }\noutgoing: { names: { ports: 53/udp, from: host, to: any } }\n".to_owned();
    vec![
        ("engine-drops-forward", LAN.to_owned(), drops("DOCKER"), |_| {}),
        ("bridge-frames-denied", HOME.to_owned(), none(), bridge),
        (
            "hairpin-missing",
            format!("{WEB}nat:\n  x: {{ from: 10.99.0.0/24, to: {{ interface: eth0 }} }}\n"),
            none(),
            |_| {},
        ),
        ("target-unroutable", WEB.replace("10.77.0.2", "192.0.2.9"), none(), |_| {}),
        ("ipv6-untranslated", format!("{LAN}{nat}"), none(), |_| {}),
        ("container-network-unstable", db, none(), |_| {}),
        ("containers-send-freely", out, none(), |_| {}),
        ("forwarding-off", LAN.to_owned(), none(), |host| {
            (host.sysctls.forwards_v4, host.docker) = (Some(false), None);
        }),
        ("forwarding-off", LAN.replace("to: any", "to: \"fd88::/64\""), none(), |host| {
            host.sysctls.forwards_v6 = Some(false);
        }),
    ]
}

/// The kinds that are tried here.
pub(super) fn tried() -> Vec<&'static str> {
    cases().into_iter().map(|(id, ..)| id).chain(["libvirt-refuses"]).collect()
}

#[test]
fn each_wrong_fact_about_what_is_forwarded_is_one_finding() {
    for (id, policy, rules, change) in cases() {
        let ids: Vec<&str> = found(&policy, &rules, change).iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [id], "{policy}");
    }
}

#[test]
fn nothing_is_found_where_the_fact_is_right() {
    for (policy, rules) in [
        (SAID.to_owned(), drops("DOCKER")),
        (format!("{LAN}nat:\n  lan: {{ from: [{{ interface: eth1 }}, \"fd77::/64\"], to: {{ interface: eth0 }} }}\n"), Ruleset::default()),
        (format!("{WEB}nat:\n  lan: {{ from: 10.77.0.0/24, to: {{ interface: eth1 }} }}\n"), Ruleset::default()),
        (SAID.replace("any }", "{ interface: br-app } }"), Ruleset::default()),
        ("defaults: { outgoing: deny }\ncontainers: { outgoing: allow }\noutgoing: { a: { ports: any, from: host, to: any } }\n".to_owned(), Ruleset::default()),
    ] {
        assert_eq!(found(&policy, &rules, |_| {}), [], "{policy}");
    }
}

#[test]
fn a_line_that_is_advised_mends_its_finding_and_brings_no_other() {
    for (id, section) in
        [("bridge-frames-denied", "forward:\n"), ("hairpin-missing", "nat:\n"), ("ipv6-untranslated", "nat:\n")]
    {
        let (_, policy, rules, change) = cases().into_iter().find(|(one, ..)| *one == id).expect("a case");
        let finding = found(&policy, &rules, change).remove(0);
        let line = finding.help.split('`').find(|part| part.contains(": {")).expect("a line");

        let mended = policy.replace(section, &format!("{section}  {line}\n"));

        assert_ne!(mended, policy, "{}", finding.help);
        assert_eq!(found(&mended, &rules, change), [], "{mended}");
    }
}

#[test]
fn libvirt_refuses_what_is_forwarded_to_its_networks_alone() {
    let reject = rule([Expr::Verdict(Verdict::Drop)]);
    let jump = rule([Expr::Verdict(Verdict::Jump("LIBVIRT_FWI".to_owned()))]);
    let forward = base("filter", Hook::Forward, 0, Policy::Accept, vec![jump]);
    let rules = || {
        ruleset(
            Family::Ip,
            "filter",
            [
                ("FORWARD", forward.clone()),
                ("LIBVIRT_FWI", Chain { rules: vec![reject.clone()], ..Chain::default() }),
            ],
        )
    };
    let guests = |host: &mut Host| {
        let network = ("192.168.122.0".parse().expect("an address"), 24);
        host.links.push(RoutedLink { networks: [network].into(), ..link("virbr0", "bridge") });
    };
    let hairpin =
        "nat:\n  x: { from: any, to: { interface: virbr0 } }\n  y: { from: any, to: { interface: eth1 } }\n";
    let ids = |target: &str| -> Vec<&str> {
        found(&format!("{}{hairpin}", WEB.replace("10.77.0.2", target)), &rules(), guests)
            .iter()
            .map(|one| one.id)
            .collect()
    };

    assert_eq!(ids("192.168.122.10"), ["libvirt-refuses"]);
    assert_eq!(ids("10.77.0.2"), Vec::<&str>::new());
}
