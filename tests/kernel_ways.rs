//! Ways that are easily passed over, with real packets: chains of one priority, hooks of interfaces, neighbours, full
//! sets, and what iptables' matches and targets ask and do. Each attack has its control.
#![allow(missing_docs)]

mod support;

use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{Packet, Transport, Verdict, follow};
use std::io::{Seek, Write};
use std::net::IpAddr;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// What palisade says, and what came of the packet: nobody listens, so that what gets through is refused with a reset.
type Met = (Verdict, Outcome);
const PASSES: Met = (Verdict::Allow, Outcome::Refused);
const DROPPED: Met = (Verdict::Deny, Outcome::TimedOut);

struct Way<'n> {
    inside: &'n Namespace,
    from: IpAddr,
    to: IpAddr,
    on: &'static str,
}

/// Asks about a TCP connection to a port, and tries it.
fn meets(lab: &Lab, way: &Way<'_>, port: u16) -> (Verdict, Outcome, String) {
    let (said, why) = lab.host.run(|| {
        let (socket, routing) = (Socket::open().expect("a socket"), Routing::open().expect("a socket"));
        let live = socket.live().expect("the rules can be read");
        let sets = LiveSets::new(&socket, &live, None);
        let packet = Packet::to_machine(way.from, way.to, Transport::tcp(port)).coming_in_by(way.on);
        let traversal = follow(&live.ruleset.tables, &sets, &routing, &packet);
        let why = traversal.doubt().or(traversal.fades.as_ref()).map(ToString::to_string).unwrap_or_default();
        match traversal.trace.verdict {
            Verdict::Allow if traversal.fades.is_some() => (Verdict::Unknown, why),
            verdict => (verdict, why),
        }
    });
    let wait = if said == Verdict::Deny || said == Verdict::Unknown { SILENCE } else { PATIENCE };
    (said, way.inside.probe(Target::Tcp(port), way.from, way.to, wait), why)
}

fn from_client(lab: &Lab, version: usize) -> Way<'_> {
    Way { inside: &lab.client, from: CLIENT[version], to: HOST[version], on: "eth0" }
}

/// Loads rules of nft and asks about ports 80 and 81.
fn with_rules(lab: &Lab, way: &Way<'_>, rules: &str) -> [Met; 2] {
    lab.host.nft_load(&format!("flush ruleset\n{rules}"));
    [80, 81].map(|port| {
        let (said, seen, why) = meets(lab, way, port);
        eprintln!("{port}: {said:?} {why}");
        (said, seen)
    })
}

/// Loads rules of iptables and asks about ports 80 and 81.
fn with_iptables(lab: &Lab, version: usize, rules: &str) -> [Met; 2] {
    lab.host.nft_load("flush ruleset");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(rules.as_bytes()).and_then(|()| file.rewind()).expect("it is writable");
    let program = ["iptables-nft-restore", "ip6tables-nft-restore"][version];
    output(lab.host.command(program).stdin(file)).success();
    let way = from_client(lab, version);
    [80, 81].map(|port| {
        let (said, seen, why) = meets(lab, &way, port);
        eprintln!("{port}: {said:?} {why}");
        (said, seen)
    })
}

#[test]
fn of_two_chains_of_one_table_and_priority_the_later_runs_first() {
    let lab = Lab::new();
    let way = from_client(&lab, 0);
    let marks = "chain marks { type filter hook input priority 0; tcp dport 80 meta mark set 7; }";
    let drops = "chain drops { type filter hook input priority 0; meta mark 7 drop; }";
    let of = |first: &str, second: &str| {
        // nft creates the chains of one file in the order of their names.
        format!("table ip t {{\n{first}\n}}\ntable ip t {{\n{second}\n}}")
    };

    let (earlier, later) = (of(drops, marks), of(marks, drops));

    assert_eq!(with_rules(&lab, &way, &earlier), [DROPPED, PASSES], "the mark is set first");
    assert_eq!(with_rules(&lab, &way, &later), [PASSES, PASSES], "the mark is set too late");
}

#[test]
fn of_two_tables_nobody_can_tell_which_runs_first_where_the_kernel_does_not_and_where_it_matters() {
    let lab = Lab::new();
    let way = from_client(&lab, 0);
    let marks = "table ip a { chain c { type filter hook input priority 0; tcp dport 80 meta mark set 7; }; }";
    let drops = "table ip b { chain c { type filter hook input priority 0; meta mark 7 drop; }; }";
    let harmless = "table ip b { chain c { type filter hook input priority 0; tcp dport 81 counter drop; }; }";
    lab.host.nft_load(marks);
    let told = lab.host.run(|| {
        let socket = Socket::open().expect("a socket");
        socket.live().map(|live| live.tells_order()).expect("the rules can be read")
    });
    let matters = |seen| match (told, seen) {
        (true, Outcome::TimedOut) => DROPPED,
        (true, _) => PASSES,
        (false, seen) => (Verdict::Unknown, seen),
    };

    assert_eq!(with_rules(&lab, &way, &format!("{marks}\n{drops}")), [matters(Outcome::Refused), PASSES]);
    assert_eq!(with_rules(&lab, &way, &format!("{drops}\n{marks}")), [matters(Outcome::TimedOut), PASSES]);
    assert_eq!(with_rules(&lab, &way, &format!("{marks}\n{harmless}")), [PASSES, DROPPED]);
}

#[test]
fn what_leaves_by_an_interface_passes_its_egress_hook() {
    let lab = Lab::new();
    lab.forward();
    let to_lan = Way { inside: &lab.client, from: CLIENT[0], to: LAN[0], on: "eth0" };
    let egress = |device: &str| {
        format!(
            "table netdev t {{ chain c {{ type filter hook egress device {device} priority 0; tcp dport 80 drop; }}; }}"
        )
    };

    assert_eq!(with_rules(&lab, &to_lan, &egress("eth1")), [DROPPED, PASSES]);
    assert_eq!(with_rules(&lab, &to_lan, &egress("eth0")), [PASSES, PASSES], "it leaves by the other");
}

#[test]
fn what_comes_in_by_a_bridge_passes_the_ingress_hook_of_its_port() {
    let lab = Lab::new();
    lab.host.ip("link add br0 type bridge");
    lab.host.ip("address flush dev eth1");
    lab.host.ip("link set eth1 master br0");
    lab.host.ip("link set br0 up");
    lab.host.ip(&format!("address add {}/24 dev br0", HOST_ON_LAN[0]));
    let way = Way { inside: &lab.lan, from: LAN[0], to: HOST_ON_LAN[0], on: "br0" };
    let ingress = |family: &str, device: &str| {
        format!(
            "table {family} t {{ chain c {{ type filter hook ingress device {device} priority 0; tcp dport 80 drop; }}; }}"
        )
    };
    let bridge = "table bridge t { chain c { type filter hook input priority 0; ether type 0x9999 drop; }; }";

    assert_eq!(with_rules(&lab, &way, &ingress("netdev", "eth1")), [DROPPED, PASSES]);
    assert_eq!(with_rules(&lab, &way, &ingress("inet", "eth1")), [DROPPED, PASSES]);
    assert_eq!(with_rules(&lab, &way, &ingress("netdev", "br0")), [DROPPED, PASSES]);
    assert_eq!(with_rules(&lab, &way, &ingress("netdev", "eth0")), [PASSES, PASSES], "it comes in elsewhere");
    let in_doubt = (Verdict::Unknown, Outcome::Refused);
    assert_eq!(with_rules(&lab, &way, bridge), [in_doubt, in_doubt]);
    assert_eq!(with_rules(&lab, &from_client(&lab, 0), bridge), [PASSES, PASSES], "no bridge is on the way");
}

#[test]
fn what_br_netfilter_shows_to_prerouting_comes_to_the_ingress_of_its_bridge_as_it_was_translated() {
    let lab = Lab::new();
    lab.host.ip("address flush dev eth1");
    lab.host.ip("link add br0 type bridge");
    lab.host.ip("link set eth1 master br0");
    lab.host.ip(&format!("address add {}/24 dev br0", HOST_ON_LAN[0]));
    lab.host.ip("link set br0 up");
    let way = Way { inside: &lab.lan, from: LAN[0], to: HOST_ON_LAN[0], on: "br0" };
    let rules = "table netdev t { chain c { type filter hook ingress device \"br0\" priority 0; tcp dport 80 drop; }; }
        table ip n { chain c { type nat hook prerouting priority -100; tcp dport 80 redirect to :8080; tcp dport 81 redirect to :80; }; }";
    let met = |sysctl: &str, of_bridge: &str| {
        lab.host.sysctl("net/bridge/bridge-nf-call-iptables", sysctl);
        lab.host.ip(&format!("link set br0 type bridge nf_call_iptables {of_bridge}"));
        with_rules(&lab, &way, rules)
    };

    assert_eq!(met("0", "0"), [DROPPED, PASSES]);
    assert_eq!(met("1", "0"), [PASSES, DROPPED]);
    assert_eq!(met("0", "1"), [PASSES, DROPPED]);
}

#[test]
fn what_comes_in_by_a_macvlan_may_pass_the_ingress_hook_of_its_parent() {
    let lab = Lab::new();
    lab.host.sysctl("net/ipv4/conf/all/arp_ignore", "1");
    lab.host.ip("link add mv0 link eth0 type macvlan mode bridge");
    lab.host.ip("link set mv0 up");
    lab.host.ip("address add 203.0.113.50/24 dev mv0 noprefixroute");
    let to = "203.0.113.50".parse().expect("an address");
    let way = Way { inside: &lab.client, from: CLIENT[0], to, on: "mv0" };
    let rules = "table netdev t { chain c { type filter hook ingress device eth0 priority 0; tcp dport 80 drop; }; }";

    assert_eq!(with_rules(&lab, &way, rules), [(Verdict::Unknown, Outcome::TimedOut), PASSES]);
}

#[test]
fn who_drops_what_neighbours_ask_shuts_them_out_once_they_have_forgotten_each_other() {
    let lab = Lab::new();
    let arp = |hook: &str, operation: &str| {
        format!(
            "table arp t {{ chain c {{ type filter hook {hook} priority 0; arp operation {operation} drop; }}; }}"
        )
    };
    let nd = |hook: &str, kind: &str| {
        format!("table ip6 t {{ chain c {{ type filter hook {hook} priority 0; icmpv6 type {kind} drop; }}; }}")
    };
    let cases = [
        (0, arp("input", "request"), "requests come in"),
        (0, arp("output", "reply"), "replies leave"),
        (
            0,
            "table netdev t { chain c { type filter hook ingress device eth0 priority 0; ether type arp drop; }; }"
                .to_owned(),
            "at the interface",
        ),
        (1, nd("input", "nd-neighbor-solicit"), "solicitations come in"),
        (1, nd("output", "nd-neighbor-advert"), "advertisements leave"),
        (
            1,
            "table ip6 t { chain c { type filter hook postrouting priority 0; iifname \"eth0\" drop; }; }".to_owned(),
            "they carry an interface",
        ),
    ];
    for (version, rules, name) in cases {
        let way = from_client(&lab, version);
        assert_eq!(with_rules(&lab, &way, ""), [PASSES, PASSES], "{name}: the control");
        lab.host.nft_load(&rules);
        let (said, seen, why) = meets(&lab, &way, 80);
        assert_eq!((said, seen), (Verdict::Unknown, Outcome::Refused), "{name}: {why}");
        assert!(why.contains("nothing passes once its place on the link is forgotten"), "{name}: {why}");
        for inside in [&lab.host, &lab.client] {
            inside.ip("neigh flush all");
        }
        let seen = way.inside.probe(Target::Tcp(80), way.from, way.to, SILENCE);
        assert!(matches!(seen, Outcome::TimedOut | Outcome::Unreachable), "{name}: {seen:?}");
    }
    let other = arp("input", "reply").replace("drop", "arp saddr ip 203.0.113.77 drop");
    assert_eq!(with_rules(&lab, &from_client(&lab, 0), &other), [PASSES, PASSES], "another neighbour");
}

#[test]
fn a_full_set_takes_no_element_and_its_rule_does_not_match() {
    let lab = Lab::new();
    let way = from_client(&lab, 0);
    let rules = |elements: &str| {
        format!(
            "table ip t {{ set s {{ type ipv4_addr; size 2; flags dynamic; {elements} }}; chain c {{ type filter hook input \
             priority 0; tcp dport 80 add @s {{ ip saddr }} accept; tcp dport 80 drop; }}; }}"
        )
    };

    assert_eq!(with_rules(&lab, &way, &rules("elements = { 192.0.2.1 }")), [PASSES, PASSES]);
    assert_eq!(with_rules(&lab, &way, &rules("elements = { 192.0.2.1, 192.0.2.2 }")), [DROPPED, PASSES]);
    assert_eq!(with_rules(&lab, &way, &rules("elements = { 192.0.2.1, 203.0.113.9 }")), [PASSES, PASSES]);
}

#[test]
fn the_loopback_of_ipv6_is_reached_from_nowhere_else_though_rules_translate_to_it() {
    let lab = Lab::new();
    let way = from_client(&lab, 1);
    let dnat = |to: &str| {
        format!("table ip6 t {{ chain c {{ type nat hook prerouting priority -100; tcp dport 80 dnat to {to}; }}; }}")
    };

    let refused = (Verdict::Reject, Outcome::Unreachable);
    assert_eq!(with_rules(&lab, &way, &dnat("[2001:db8::1]:82")), [PASSES, PASSES]);
    lab.host.ip("-6 route delete default");
    assert_eq!(with_rules(&lab, &way, &dnat("[::1]:82")), [refused, PASSES]);
}

#[test]
fn a_redirection_leads_to_the_address_of_the_interface() {
    let lab = Lab::new();
    for version in [0, 1] {
        let family = ["ip", "ip6"][version];
        let way = from_client(&lab, version);
        let rules = format!(
            "table {family} t {{ chain n {{ type nat hook prerouting priority -100; tcp dport 80 redirect to :82; }}; chain c {{ \
             type filter hook input priority 0; tcp dport 82 {family} daddr {} drop; }}; }}",
            HOST[version]
        );
        assert_eq!(with_rules(&lab, &way, &rules), [DROPPED, PASSES], "{family}");
        assert_eq!(with_rules(&lab, &way, &rules.replace("drop", "accept")), [PASSES, PASSES], "{family}");
    }
}

#[test]
fn interfaces_are_known_by_their_type_group_and_kind() {
    let lab = Lab::new();
    let way = from_client(&lab, 0);
    lab.host.ip("link set eth0 group 7");
    let rules = |asks: &str| {
        format!("table ip t {{ chain c {{ type filter hook input priority 0; tcp dport 80 {asks} drop; }}; }}")
    };
    for (asks, met) in [
        ("meta iiftype ether", DROPPED),
        ("meta iiftype loopback", PASSES),
        ("meta iifgroup 7", DROPPED),
        ("meta iifgroup 8", PASSES),
        ("meta iifkind veth", DROPPED),
        ("meta iifkind dummy", PASSES),
        ("meta pkttype host", DROPPED),
        ("meta pkttype broadcast", PASSES),
        ("ip dscp set cs3 counter", DROPPED),
        ("ip saddr . tcp dport { 203.0.113.0-203.0.113.9 . 80-90 }", DROPPED),
        ("ip saddr . tcp dport { 203.0.113.0-203.0.113.8 . 80-90 }", PASSES),
    ] {
        assert_eq!(with_rules(&lab, &way, &rules(asks)), [met, PASSES], "{asks}");
    }
}

#[test]
fn matches_and_targets_of_iptables_do_what_is_said_of_them() {
    let lab = Lab::new();
    let filter = |rule: &str| format!("*filter\n:INPUT ACCEPT\n-A INPUT -p tcp --dport 80 {rule}\nCOMMIT\n");
    let range = [
        [
            "-m iprange --src-range 203.0.113.5-203.0.113.9 -j DROP",
            "-m iprange --src-range 2001:db8::5-2001:db8::9 -j DROP",
        ],
        [
            "-m iprange --src-range 203.0.113.5-203.0.113.8 -j DROP",
            "-m iprange --src-range 2001:db8::5-2001:db8::8 -j DROP",
        ],
    ];
    for version in [0, 1] {
        assert_eq!(with_iptables(&lab, version, &filter(range[0][version])), [DROPPED, PASSES]);
        assert_eq!(with_iptables(&lab, version, &filter(range[1][version])), [PASSES, PASSES]);
        for (rule, met) in [
            ("-m hashlimit --hashlimit-upto 5/sec --hashlimit-mode srcip --hashlimit-name a -j DROP", DROPPED),
            ("-m hashlimit --hashlimit-above 5/sec --hashlimit-mode srcip --hashlimit-name b -j DROP", PASSES),
            ("-m pkttype --pkt-type unicast -j DROP", DROPPED),
            ("-m pkttype --pkt-type multicast -j DROP", PASSES),
            ("-m physdev --physdev-is-bridged -j DROP", PASSES),
            ("-m physdev ! --physdev-is-bridged -j DROP", DROPPED),
            ("-m length --length 40:65535 -j DROP", DROPPED),
            ("-m length --length 0:39 -j DROP", PASSES),
        ] {
            assert_eq!(with_iptables(&lab, version, &filter(rule)), [met, PASSES], "{version} {rule}");
        }
        let marked = "*mangle\n-A PREROUTING -p tcp --dport 80 -j CONNMARK --set-mark 5\n-A INPUT -j CONNMARK \
                      --restore-mark\nCOMMIT\n*filter\n-A INPUT -m mark --mark 5 -j DROP\nCOMMIT\n";
        assert_eq!(with_iptables(&lab, version, marked), [DROPPED, PASSES]);
        let by_connection = marked.replace("-m mark --mark", "-m connmark --mark");
        assert_eq!(with_iptables(&lab, version, &by_connection), [DROPPED, PASSES]);
        let untracked = "*raw\n-A PREROUTING -p tcp --dport 80 -j CT --notrack\nCOMMIT\n*filter\n-A INPUT -p tcp -m conntrack \
                         --ctstate UNTRACKED -j DROP\nCOMMIT\n";
        assert_eq!(with_iptables(&lab, version, untracked), [DROPPED, PASSES]);
        let redirected = "*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 82\nCOMMIT\n*filter\n-A INPUT -p tcp \
                          --dport 82 -j DROP\nCOMMIT\n";
        assert_eq!(with_iptables(&lab, version, redirected), [DROPPED, PASSES]);
        let reverse = "*raw\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n";
        assert_eq!(with_iptables(&lab, version, reverse), [PASSES, PASSES]);
    }
    let elsewhere = "*raw\n-A PREROUTING -p tcp --dport 80 -m rpfilter -j DROP\nCOMMIT\n";
    assert_eq!(with_iptables(&lab, 0, elsewhere), [DROPPED, PASSES]);
}
