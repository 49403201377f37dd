//! A host with two uplinks and three bridges, and everyone who may send it a frame.
//!
//! ```text
//! trusted .9, stranger .66,      203.0.113.1/24, 2001:db8::1 ┌─ docker0 172.17.0.1, fd00:17::1 ─── c1, c2
//! router .254 ─── outside ────── eth0 ── host ───────────────┼─ br-app  172.18.0.1, fd00:18::1 ─── c3
//!                 uplink ─────── eth1 ──┘ 10.77.0.1, fd77::1 └─ mybr0   172.30.0.1, fd00:30::1 ─── guest
//! ```
//!
//! Nobody but the host has an IP stack that answers: what is sent is what a test sends. Bridged frames pass the rules of
//! IP (`bridge-nf-call-iptables`), as Docker sets it; the host forwards, and looks at no reverse path by itself. The
//! policy's list of bridges names `docker0` and `br-*`; `mybr0` is one that it does not know.
#![allow(dead_code)]

pub mod craft;
pub mod denied;
pub mod forged;
pub mod needed;
pub mod real;
pub mod repairs;
pub mod rows;
pub mod who;

use super::frame::Frame;
use super::lab::Lab;
use super::namespace::{Namespace, output};
use super::tap::{OwnStack, Tap, cookie, cookie_of, mac_text, stay_on_one_processor};
use super::wire::QUIET;
use palisade::compile::compile;
use palisade::facts::{Facts, Kernel, gather};
use palisade::policy::parse;
use palisade::render;
use palisade::resolve::resolve;
use palisade::ruleset::TableId;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use who::{BR_APP, C1, C2, C3, DOCKER0, GUEST, HOST, HOST_UPLINK, LAN, MYBR0, Place, ROUTER, STRANGER, TRUSTED, Who};

/// How many packets are sent before the first is looked for.
const AT_ONCE: usize = 100;
/// Who is a port of which bridge, and by which device of the host.
const PORTS: [(Who, &str, &str); 4] =
    [(C1, "docker0", "v-c1"), (C2, "docker0", "v-c2"), (C3, "br-app", "v-c3"), (GUEST, "mybr0", "v-guest")];
/// The host's device towards a place, by which it takes a marker.
const DEVICES: [(Place, &str); 6] = [
    (Place::Outside, "eth0"),
    (Place::Uplink, "eth1"),
    (Place::C1, "docker0"),
    (Place::C2, "docker0"),
    (Place::C3, "br-app"),
    (Place::Guest, "mybr0"),
];

/// What an engine loads: published ports for everyone, masquerading over IPv4, and a port that is published to
/// 127.0.0.1 alone, by the rule of Docker before 28. The last table takes one port out of connection tracking.
pub const ENGINE: &str = r#"
table inet engine {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 127.0.0.1 tcp dport 9200 dnat ip to 172.17.0.2:9000
        fib daddr type local goto published
    }
    chain published {
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport 9010 dnat ip to 172.17.0.2:80
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport 9010 dnat ip6 to [fd00:17::2]:80
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport 7001 dnat ip to 172.17.0.2
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport 7001 dnat ip6 to fd00:17::2
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport { 9000, 9500 } dnat ip to 172.18.0.2:9000
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport { 9000, 9500 } dnat ip6 to [fd00:18::2]:9000
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport { 9700, 9701 } dnat ip to 172.30.0.2:80
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport { 9700, 9701 } dnat ip6 to [fd00:30::2]:80
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
        ip saddr 172.18.0.0/16 oifname != "br-app" masquerade
        ct status dnat ip saddr 172.18.0.2 ip daddr 172.18.0.2 masquerade
        ct status dnat ip6 saddr fd00:18::2 ip6 daddr fd00:18::2 masquerade
    }
}
table inet untracked {
    chain prerouting { type filter hook prerouting priority raw; th dport 9800 notrack; }
}
"#;

pub struct Stage {
    pub lab: Lab,
    taps: Vec<(Place, Tap)>,
    /// The host's ends: for markers from there, and to there.
    ends: Vec<(Place, Tap, Tap)>,
    stack: OwnStack,
    /// Keep the host in the groups of mDNS and VRRP, whose datagrams it hears itself.
    _groups: [UdpSocket; 2],
    /// Where the taps are, which vanishes with the last of these.
    _inside: Vec<(Place, Namespace)>,
}

/// A frame, and who sends it.
#[derive(Clone, Debug)]
pub struct Step {
    pub from: Place,
    pub frame: Frame,
}

/// Packets with a name, and where the last of them would arrive.
pub struct Case {
    pub name: String,
    pub at: Place,
    pub steps: Vec<Step>,
}

impl Case {
    pub fn new(name: impl Into<String>, at: Place, steps: impl Into<Vec<Step>>) -> Self {
        Self { name: name.into(), at, steps: steps.into() }
    }
}

impl Stage {
    /// Without a rule but those of [`QUIET`]. The calling thread stays on one processor from then on.
    pub fn new() -> Self {
        stay_on_one_processor();
        let lab = Lab::new();
        lab.host.nft_load(QUIET);
        lab.forward();
        let mut inside = vec![(Place::Outside, lab.client.clone()), (Place::Uplink, lab.lan.clone())];
        for (namespace, device, who) in [
            (&lab.client, "eth0", TRUSTED),
            (&lab.lan, "eth0", LAN),
            (&lab.host, "eth0", HOST),
            (&lab.host, "eth1", HOST_UPLINK),
        ] {
            namespace.ip(&format!("link set {device} address {}", mac_text(who.mac)));
            // The one that the kernel has made is of the link address before.
            namespace.ip(&format!("address replace {}/64 dev {device} nodad", who.link_local()));
        }
        inside.extend(bridges(&lab.host));
        silence(&lab, &inside);
        let (mut taps, mut ends) = (Vec::new(), Vec::new());
        for (place, namespace) in &inside {
            taps.push((*place, Tap::new(namespace, "eth0", false)));
            let device = DEVICES.iter().find(|(of, _)| of == place).expect("each has one").1;
            let port = PORTS.iter().find(|(who, ..)| who.place == *place).map_or(device, |(.., port)| port);
            ends.push((*place, Tap::new(&lab.host, device, true), Tap::new(&lab.host, port, true)));
        }
        let stack = OwnStack::new(&lab.host);
        let groups = lab.host.run(join_groups);
        Self { lab, taps, ends, stack, _groups: groups, _inside: inside }
    }

    /// Has the host forget all connections that it tracks.
    pub fn forget(&self) {
        output(self.lab.host.command("conntrack").arg("-F")).success();
    }

    /// Loads what this policy says.
    #[track_caller]
    pub fn apply(&self, policy: &str) {
        self.lab.write_policy("policy.yaml", policy);
        self.lab.palisade("policy.yaml", &["apply"]).success();
    }

    /// Loads what this policy says to a kernel that can be asked for less.
    #[track_caller]
    pub fn load_as_for(&self, kernel: Kernel, policy: &str) {
        let parsed = parse(policy, "policy.yaml").policy.expect("it has no problems");
        let facts = Facts { kernel, ..gather(&parsed, Path::new("/"), &palisade::names::Names::default()) };
        let table = compile(&resolve(&parsed, &facts).expect("it has a meaning"));
        let text = render::table(&TableId::palisade(), &table);
        self.lab.host.nft_load(&format!("add table inet palisade\ndelete table inet palisade\n{text}"));
    }

    /// Takes palisade's table away, if it is there.
    pub fn without_palisade(&self) {
        self.lab.host.nft_load("add table inet palisade\ndelete table inet palisade\n");
    }

    /// Sends each of these once the frames of the one before have arrived, and gives the places where the last one did.
    pub fn play(&self, steps: &[Step]) -> BTreeSet<Place> {
        self.play_all(&[steps]).remove(0)
    }

    /// The names of those whose last packet has arrived where it would.
    pub fn arrivals<'a>(&self, cases: &'a [Case]) -> BTreeSet<&'a str> {
        self.forget();
        let steps: Vec<_> = cases.iter().map(|case| case.steps.as_slice()).collect();
        let places = self.play_all(&steps);
        let arrived = cases.iter().zip(&places).filter(|(case, places)| places.contains(&case.at));
        arrived.map(|(case, _)| case.name.as_str()).collect()
    }

    /// The same for many, whose first steps are taken before any's second one.
    pub fn play_all(&self, all: &[&[Step]]) -> Vec<BTreeSet<Place>> {
        all.chunks(AT_ONCE).flat_map(|chunk| self.play_some(chunk)).collect()
    }

    fn play_some(&self, some: &[&[Step]]) -> Vec<BTreeSet<Place>> {
        // Packets are numbered by who they belong to, and by how many follow them.
        const STEPS: usize = 16;
        let number = |index: usize, left: usize| u32::try_from(index * STEPS + left).expect("there are not so many");
        let most = some.iter().map(|steps| steps.len()).max().unwrap_or(0);
        assert!(most <= STEPS, "{most} steps");
        let mut found = BTreeSet::new();
        for left in (0..most).rev() {
            for (index, steps) in some.iter().enumerate() {
                if let Some(step) = steps.iter().rev().nth(left) {
                    self.send(step, number(index, left));
                }
            }
            self.wait();
            found = self.found();
        }
        let places = |index| found.iter().filter(move |(of, _)| *of == number(index, 0)).map(|(_, place)| *place);
        (0..some.len()).map(|index| places(index).collect()).collect()
    }

    fn send(&self, step: &Step, number: u32) {
        for bytes in step.frame.bytes(cookie_of(number)) {
            match self.taps.iter().find(|(place, _)| *place == step.from) {
                Some((_, tap)) => tap.send(&bytes),
                None => self.stack.send(step.frame.packet().destination, &bytes[14..]),
            }
        }
    }

    /// Until whatever was sent has come out.
    fn wait(&self) {
        for ((place, tap), (_, end, _)) in self.taps.iter().zip(&self.ends) {
            tap.send_marker(place.host().mac, *mac_of(*place));
            end.await_marker();
        }
        for (place, _, port) in &self.ends {
            port.send_marker(*mac_of(*place), place.host().mac);
        }
    }

    fn found(&self) -> BTreeSet<(u32, Place)> {
        let mut found = BTreeSet::new();
        for (place, tap) in &self.taps {
            let frames = tap.until_marker();
            found.extend(frames.iter().filter_map(|frame| Some((cookie(frame)?, *place))));
        }
        let received = self.stack.received();
        found.extend(received.iter().filter_map(|(message, _)| Some((cookie(message)?, Place::Host))));
        found
    }
}

/// Makes the host's bridges and who is on them, whose places it gives.
fn bridges(host: &Namespace) -> Vec<(Place, Namespace)> {
    let bridge = |arguments: &str| output(host.command("bridge").args(arguments.split_whitespace())).success();
    for (name, who) in [("docker0", DOCKER0), ("br-app", BR_APP), ("mybr0", MYBR0)] {
        host.ip(&format!("link add {name} address {} type bridge", mac_text(who.mac)));
        host.ip(&format!("address add {}/16 dev {name}", who.addresses[0]));
        host.ip(&format!("address add {}/64 dev {name} nodad", who.addresses[1]));
        host.ip(&format!("link set {name} up"));
    }
    let places = PORTS.map(|(who, name, port)| {
        let container = Namespace::new();
        host.ip(&format!("link add {port} type veth peer name eth0 netns {}", container.path()));
        host.ip(&format!("link set {port} master {name} up"));
        container.ip(&format!("link set eth0 address {} up", mac_text(who.mac)));
        bridge(&format!("fdb replace {} dev {port} master static", mac_text(who.mac)));
        (who.place, container)
    });
    // So that a container reaches itself by the port that it publishes.
    bridge("link set dev v-c3 hairpin on");
    places.into()
}

/// Those of mDNS and VRRP, at the calling thread's eth0.
fn join_groups() -> [UdpSocket; 2] {
    let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a socket");
    let eth0 = nix::net::if_::if_nametoindex("eth0").expect("the host has it");
    for (last, last_v6) in [(18, 0x12), (251, 0xfb)] {
        let (group, group_v6) = (Ipv4Addr::new(224, 0, 0, last), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, last_v6));
        v4.join_multicast_v4(&group, &Ipv4Addr::new(203, 0, 113, 1)).expect("a group");
        v6.join_multicast_v6(&group_v6, eth0).expect("a group");
    }
    [v4, v6]
}

/// Whose link address a place's marker has.
fn mac_of(place: Place) -> &'static [u8; 6] {
    match place {
        Place::Host | Place::Outside => &TRUSTED.mac,
        Place::Uplink => &LAN.mac,
        Place::C1 => &C1.mac,
        Place::C2 => &C2.mac,
        Place::C3 => &C3.mac,
        Place::Guest => &GUEST.mac,
    }
}

/// Has everyone but the host say nothing by themselves, and the host know them without asking.
fn silence(lab: &Lab, inside: &[(Place, Namespace)]) {
    for (_, namespace) in inside {
        namespace.nft_load(
            "table inet mute { chain nothing { type filter hook prerouting priority -400; policy drop; };\n}\n",
        );
    }
    let known = [
        (TRUSTED, "eth0"),
        (STRANGER, "eth0"),
        (ROUTER, "eth0"),
        (LAN, "eth1"),
        (C1, "docker0"),
        (C2, "docker0"),
        (C3, "br-app"),
        (GUEST, "mybr0"),
    ];
    for (who, device) in known {
        for address in [who.addresses[0], who.addresses[1], who.link_local()] {
            let mac = mac_text(who.mac);
            lab.host.ip(&format!("neighbour replace {address} lladdr {mac} dev {device} nud permanent"));
        }
    }
    lab.host.ip(&format!("-4 route replace default via {}", ROUTER.addresses[0]));
    lab.host.ip("-6 route delete default");
    lab.host.ip(&format!("-6 route add default via {} dev eth0", ROUTER.addresses[1]));
    for of in ["all", "default", "eth0", "eth1", "docker0", "br-app", "mybr0"] {
        lab.host.sysctl(&format!("net/ipv4/conf/{of}/rp_filter"), "0");
        lab.host.sysctl(&format!("net/ipv4/conf/{of}/route_localnet"), "1");
    }
    for name in ["iptables", "ip6tables", "arptables"] {
        lab.host.sysctl(&format!("net/bridge/bridge-nf-call-{name}"), "1");
    }
    lab.host.sysctl("net/ipv6/icmp/ratemask", "0");
}
