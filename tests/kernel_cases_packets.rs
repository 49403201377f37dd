//! What every machine needs of real networks, and limits by those who can't be told apart: real packets, each with its
//! control. Needs root.
#![allow(missing_docs)]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use support::attack::craft::{Speech, message, send};
use support::attack::who::{FAR, HOST, HOST_UPLINK, LAN, Place, ROUTER, STRANGER, TRUSTED, Who};
use support::attack::{Case, Stage, Step};
use support::frame::Shape;
use support::frames::{Body, Written};

fn parse(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// What a network sends, whether it is let in by a policy that opens nothing, and what `explain` is asked of it.
struct Sent {
    name: &'static str,
    step: Step,
    let_in: bool,
    asked: Option<[String; 4]>,
}

/// A datagram, about which `explain` is asked, too.
fn datagram(name: &'static str, who: Who, from: (IpAddr, u16), to: (IpAddr, u16), let_in: bool) -> Sent {
    let interface = if who.place == Place::Uplink { "eth1" } else { "eth0" };
    let asked = [format!("{}/udp", to.1), from.0.to_string(), to.0.to_string(), interface.to_owned()];
    // Nobody can say from which port, which is what DHCP is known by.
    let asked = (to.1 != 68).then_some(asked);
    Sent { name, step: send(who, Speech::Udp.first(from, to)), let_in, asked }
}

/// A message to a group, with the option that routers look at.
fn group(name: &'static str, who: Who, packet: Written, option: &[u8], let_in: bool) -> Sent {
    let step = send(who, Written { hop_limit: 1, ..packet }).shaped(Shape::Options(option.to_vec()));
    Sent { name, step, let_in, asked: None }
}

fn of_networks() -> Vec<Sent> {
    let igmp = |who: Who, to: &str| Written::new(who.address(false), parse(to), Body::Other(2));
    let mld = |kind: u8, to: &str| message(ROUTER.link_local(), parse(to), kind, 0, vec![0; 20]);
    let client = (HOST.link_local(), 546);
    let of_uplink = (HOST_UPLINK.link_local(), 546);
    let alert = [0x94, 4, 0, 0];
    vec![
        datagram("DHCPv6 as RFC 8415 has it", ROUTER, (ROUTER.link_local(), 547), client, true),
        datagram("DHCPv6 from a global address", FAR, (FAR.address(true), 547), client, true),
        datagram("DHCPv6 from another port", ROUTER, (ROUTER.link_local(), 32_768), client, true),
        datagram("DHCPv6 from a global address and another port", LAN, (LAN.address(true), 1_547), of_uplink, true),
        datagram(
            "DHCPv6 to an address past the link",
            ROUTER,
            (ROUTER.address(true), 547),
            (HOST.address(true), 546),
            false,
        ),
        datagram(
            "another port at the address of the link",
            ROUTER,
            (ROUTER.link_local(), 547),
            (HOST.link_local(), 547),
            false,
        ),
        datagram("DHCP from the server", LAN, (LAN.address(false), 67), (HOST_UPLINK.address(false), 68), true),
        datagram("DHCP from another port", LAN, (LAN.address(false), 1067), (HOST_UPLINK.address(false), 68), false),
        group("a query of IGMPv2", LAN, igmp(LAN, "224.0.0.1"), &alert, true),
        group("a query of IGMPv3, without the option", LAN, igmp(LAN, "224.0.0.1"), &[0, 0, 0, 0], true),
        group("a query of IGMPv2 at eth0", TRUSTED, igmp(TRUSTED, "224.0.0.1"), &alert, true),
        group("IGMP to one host", LAN, igmp(LAN, "10.77.0.1"), &alert, false),
        group("a query of MLD", ROUTER, mld(130, "ff02::1"), &[0], true),
        group("a report of MLDv1", ROUTER, mld(131, "ff02::1"), &[0], true),
        group("a report of MLDv2", ROUTER, mld(143, "ff02::1"), &[0], true),
    ]
}

#[test]
fn answers_of_dhcp_and_words_about_groups_come_in_as_networks_send_them() {
    let sent = of_networks();
    let cases: Vec<Case> = sent.iter().map(|one| Case::new(one.name, Place::Host, [one.step.clone()])).collect();
    let let_in: BTreeSet<&str> = sent.iter().filter(|one| one.let_in).map(|one| one.name).collect();
    let stage = Stage::new();

    assert_eq!(stage.arrivals(&cases), sent.iter().map(|one| one.name).collect());

    for policy in
        ["version: 1\n", "version: 1\nblock: [\"fe80::/10\", \"2001:db8::/29\", 10.0.0.0/8, 203.0.113.0/24]\n"]
    {
        stage.lab.write_policy("policy.yaml", policy);
        stage.lab.palisade("policy.yaml", &["apply", "--force"]).success();
        assert_eq!(stage.arrivals(&cases), let_in, "{policy}");
        for one in &sent {
            let Some([port, from, to, on]) = &one.asked else { continue };
            let done = stage
                .lab
                .palisade("policy.yaml", &["explain", port, "--from", from, "--to", to, "--on", on, "--json"]);
            let said: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
            let reason = said["reason"].as_str().unwrap_or_default();
            // A datagram that was let in is answered by nobody: what becomes of an answer is another question.
            let agrees = said["verdict"] == if one.let_in { "allow" } else { "deny" };
            assert!(agrees, "{}: {} {reason}", one.name, said["verdict"]);
        }
    }
}

/// Who connects how often, and how many of these are let in by `limit: 3/day`.
struct Limited {
    name: &'static str,
    sources: fn(u16) -> String,
    count: u16,
    each: u16,
    admitted: usize,
}

const LIMITED: [Limited; 8] = [
    Limited {
        name: "eight addresses of one /64",
        sources: |n| format!("2001:db9::{n:x}"),
        count: 8,
        each: 1,
        admitted: 3,
    },
    Limited {
        name: "eight that differ in all of the last 64 bits",
        sources: |n| format!("2001:db9:0:1:{0:x}:{0:x}:{0:x}:{0:x}", n + 1),
        count: 8,
        each: 1,
        admitted: 3,
    },
    Limited {
        name: "two networks of one provider",
        sources: |n| format!("2001:db9:1:{n:x}::7"),
        count: 2,
        each: 5,
        admitted: 6,
    },
    Limited { name: "eight networks", sources: |n| format!("2001:db9:2:{n:x}::7"), count: 8, each: 1, admitted: 8 },
    Limited {
        name: "networks that differ in the last bit of the prefix",
        sources: |n| format!("2001:db9:3:{:x}::1", 0xfffe + n),
        count: 2,
        each: 4,
        admitted: 6,
    },
    Limited { name: "one address of IPv4", sources: |_| "198.51.100.7".to_owned(), count: 1, each: 8, admitted: 3 },
    Limited {
        name: "eight addresses of one network of IPv4",
        sources: |n| format!("198.51.100.{}", n + 20),
        count: 8,
        each: 1,
        admitted: 8,
    },
    Limited {
        name: "two addresses of IPv4",
        sources: |n| format!("198.51.100.{}", n + 40),
        count: 2,
        each: 5,
        admitted: 6,
    },
];

#[test]
fn ipv6_is_limited_by_networks_of_one_host_and_ipv4_by_addresses() {
    let stage = Stage::new();
    let admitted = |row: &Limited| {
        let tries: Vec<Vec<Step>> = (0..row.count)
            .flat_map(|number| {
                let source = parse(&(row.sources)(number));
                let to = HOST.address(source.is_ipv6());
                (0..row.each)
                    .map(move |port| vec![send(STRANGER, Speech::Tcp.first((source, 2000 + port), (to, 22)))])
            })
            .collect();
        let all: Vec<&[Step]> = tries.iter().map(Vec::as_slice).collect();
        stage.play_all(&all).iter().filter(|places| places.contains(&Place::Host)).count()
    };
    let seen = || LIMITED.iter().map(|row| (row.name, admitted(row))).collect::<Vec<_>>();
    let all: Vec<_> = LIMITED.iter().map(|row| (row.name, usize::from(row.count * row.each))).collect();
    assert_eq!(seen(), all);

    for action in ["", "defaults: { incoming: reject }\n"] {
        stage.apply(&format!(
            "version: 1\n{action}services: {{ ssh: {{ ports: 22/tcp, from: any, limit: 3/day }} }}\n"
        ));
        stage.forget();
        assert_eq!(seen(), LIMITED.iter().map(|row| (row.name, row.admitted)).collect::<Vec<_>>(), "{action}");
        stage.without_palisade();
    }
}
