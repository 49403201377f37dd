//! A machine with a client outside, a network beside it, containers behind bridges and perhaps a VPN; what is forwarded and
//! translated there, and what other programs have loaded.

use crate::support::dice::Dice;
use crate::support::echo::Echo;
use crate::support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use crate::support::namespace::{Namespace, output};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

/// What everybody answers.
pub const TCP: [u16; 6] = [22, 80, 443, 5432, 8080, 8443];
pub const UDP: [u16; 3] = [53, 4242, 9000];
/// Addresses of the client besides its own.
const ALIASES: [&str; 4] = ["203.0.113.66", "2001:db8::66", "198.51.100.7", "2001:db8:7::7"];
/// Addresses of services in a cluster, which translate to others.
pub const CLUSTER: [[&str; 2]; 2] = [["10.43.0.1", "fd43::1"], ["10.43.0.10", "fd43::10"]];
/// Names of bridges. The default of `containers` knows all but these: mybr0, dmz.
const BRIDGES: [&str; 8] = ["docker0", "br-0123456789ab", "mybr0", "cni0", "nerdctl0", "lxdbr0", "virbr0", "dmz"];
const VPNS: [&str; 4] = ["wg0", "tailscale0", "tun0", "vnet0"];
/// Networks behind bridges, and addresses of the host there.
const NETWORKS: [[&str; 2]; 5] = [
    ["172.17.0", "fd17::"],
    ["172.30.1", "fd30:1::"],
    ["10.88.0", "fd88::"],
    ["192.168.122", "2001:db8:122::"],
    ["192.0.2", "fd09::"],
];
/// Tables of other programs. `BR` is a bridge.
const OTHERS: [&str; 12] = [
    "table inet o1 { chain c { type filter hook input priority 0; tcp dport 443 drop; }; }",
    "table inet o2 { chain c { type filter hook forward priority -5; tcp dport 80 drop; udp dport 53 reject; }; }",
    "table inet o3 { chain c { type filter hook output priority 0; udp dport 4242 reject; tcp sport 5432 drop; }; }",
    "table ip o4 { chain c { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname \"BR\" accept; oifname \"BR\" ct status dnat accept; }; }",
    "table ip6 o5 { chain c { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname \"BR\" accept; oifname \"BR\" ct status dnat accept; }; }",
    "table inet o6 { chain c { type filter hook prerouting priority -150; ip saddr 203.0.113.66 tcp dport != 22 drop; ip6 saddr 2001:db8::66 drop; }; }",
    "table inet o7 { chain c { type filter hook input priority -10; tcp dport 5432 accept; udp dport 53 accept; }; }",
    "table inet o8 { chain c { type filter hook postrouting priority 50; oifname \"eth1\" tcp dport 443 drop; }; }",
    "table inet o9 { chain c { type filter hook prerouting priority -300; iifname \"BR\" tcp sport 80 counter; tcp flags syn / fin,syn,rst,ack tcp dport 5432 drop; }; }",
    "table inet oa { chain c { type filter hook input priority 5; ct state established,related accept; meta l4proto tcp ct state new tcp dport { 22, 80, 8080 } accept; meta l4proto tcp drop; }; }",
    "table inet ob { chain c { type filter hook prerouting priority -145; tcp dport 80 meta mark set 7; }; chain d { type filter hook input priority 1; meta mark 7 ip saddr 10.77.0.2 reject with tcp reset; }; }",
    "table inet oc { set bans { type ipv4_addr; elements = { 198.51.100.7, 10.77.0.2 }; }; chain c { type filter hook input priority -1; ip saddr @bans tcp dport { 22, 443 } reject; }; }",
];
/// What is left untracked.
const UNTRACKED: [&str; 4] = ["udp PORT 53", "tcp PORT 80", "tcp PORT 443", "udp PORT { 53, 4242 }"];

/// A network behind the machine, with one other in it.
#[derive(Clone, Debug)]
pub struct Net {
    pub name: &'static str,
    /// The machine's addresses, and the other's.
    pub own: [IpAddr; 2],
    pub other: [IpAddr; 2],
    pub bridge: bool,
}

/// A machine, as it is to be.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub nets: Vec<Net>,
    pub forwards: [bool; 2],
    /// The tables of others.
    pub rules: String,
}

impl Drawn {
    pub fn new(dice: &mut Dice) -> Self {
        let count = 1 + dice.below(3);
        let names = dice.some(&BRIDGES, count);
        let mut nets: Vec<Net> = names
            .iter()
            .zip(dice.some(&NETWORKS, count))
            .map(|(name, [v4, v6])| {
                let at = |end: u8| [format!("{v4}.{end}"), format!("{v6}{end}")].map(|text| address(&text));
                Net { name, own: at(1), other: at(2), bridge: true }
            })
            .collect();
        if dice.chance(50) {
            let at = |end: u8| [format!("100.64.0.{end}"), format!("fd64::{end}")].map(|text| address(&text));
            nets.push(Net { name: dice.pick(&VPNS), own: at(1), other: at(2), bridge: false });
        }
        let forwards = [dice.chance(85), dice.chance(80)];
        let rules = rules(dice, &nets);
        Self { nets, forwards, rules }
    }

    pub fn bridges(&self) -> impl Iterator<Item = &Net> {
        self.nets.iter().filter(|net| net.bridge)
    }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The rules of other programs.
fn rules(dice: &mut Dice, nets: &[Net]) -> String {
    let bridges: Vec<&Net> = nets.iter().filter(|net| net.bridge).collect();
    let mut text = String::new();
    if dice.chance(75) {
        text.push_str(&published(dice, &bridges));
    }
    if dice.chance(35) {
        let to = dice.pick(&bridges);
        for (family, name) in ["ip", "ip6"].into_iter().enumerate() {
            let [api, dns] = [CLUSTER[0][family], CLUSTER[1][family]];
            let lines = format!(
                "{name} daddr {dns} udp dport 53 dnat to {}; {name} daddr {dns} tcp dport 443 dnat to {}; {name} daddr {api} tcp dport 443 dnat to {};",
                end(to.other[family], 53),
                end(to.other[family], 80),
                end(HOST_ON_LAN[family], 22)
            );
            let _ = writeln!(
                text,
                "table {name} kube {{ chain pre {{ type nat hook prerouting priority -101; {lines} }}; chain out {{ type nat hook output priority -101; {lines} }}; }}"
            );
        }
    }
    if dice.chance(30) {
        let what = dice.pick(&UNTRACKED);
        let (to, from) = (what.replace("PORT", "dport"), what.replace("PORT", "sport"));
        let _ = writeln!(
            text,
            "table inet raw {{ chain pre {{ type filter hook prerouting priority -300; {to} notrack; }}; chain out {{ type filter hook output priority -300; {from} notrack; }}; }}"
        );
    }
    let count = [0, 0, 1, 1, 2, 3][dice.below(6)];
    for table in dice.some(&OTHERS, count) {
        let _ = writeln!(text, "{}", table.replace("BR", dice.pick(&bridges).name));
    }
    text
}

/// An address with a port, as nft writes it.
fn end(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

/// Published ports, as Docker writes them.
fn published(dice: &mut Dice, bridges: &[&Net]) -> String {
    let mut text = String::new();
    let (tcp, udp) = (dice.pick(bridges), dice.pick(bridges));
    let (to_80, excepts, local, masquerades) = (dice.chance(70), dice.chance(85), dice.chance(60), dice.chance(85));
    let only = dice.chance(25);
    for (family, name) in ["ip", "ip6"].into_iter().enumerate() {
        if family == 1 && dice.chance(30) {
            continue;
        }
        let but = |net: &Net| if excepts { format!("iifname != \"{}\" ", net.name) } else { String::new() };
        let at = if only { format!("{name} daddr {} ", HOST[family]) } else { String::new() };
        let port = if to_80 { 80 } else { 8080 };
        let lines = format!(
            "{}{at}tcp dport 8080 dnat to {}; {}udp dport 9000 dnat to {};",
            but(tcp),
            end(tcp.other[family], port),
            but(udp),
            end(udp.other[family], 53)
        );
        let sent = if local {
            let loopback = ["127.0.0.0/8", "::1"][family];
            let lines = lines.replace(&but(tcp), "").replace(&but(udp), "");
            format!(
                "chain OUTPUT {{ type nat hook output priority -100; {name} daddr != {loopback} fib daddr type local jump SENT; }}; chain SENT {{ {lines} }};"
            )
        } else {
            String::new()
        };
        let mut masks = String::new();
        for net in bridges.iter().filter(|_| masquerades) {
            let network = format!("{}/{}", net.own[family], [24, 64][family]);
            let _ = write!(masks, "{name} saddr {network} oifname != \"{}\" masquerade; ", net.name);
        }
        let _ = writeln!(
            text,
            "table {name} nat {{ chain DOCKER {{ {lines} }}; chain PREROUTING {{ type nat hook prerouting priority -100; fib daddr type local jump DOCKER; }}; {sent} chain POSTROUTING {{ type nat hook postrouting priority 100; {masks} }}; }}"
        );
    }
    text
}

/// Somebody who opens connections, and answers them.
pub struct Who {
    pub inside: Namespace,
    pub addresses: Vec<[IpAddr; 2]>,
    /// The interface of the machine that they come in by; `None` for itself.
    pub by: Option<&'static str>,
}

/// The machine, built.
pub struct Built {
    pub lab: Lab,
    pub who: Vec<Who>,
    _echoes: Vec<Echo>,
}

impl Built {
    pub fn new(drawn: &Drawn) -> Self {
        let lab = Lab::new();
        for (name, on) in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].iter().zip(drawn.forwards) {
            lab.host.sysctl(name, if on { "1" } else { "0" });
        }
        lab.add_addresses(ALIASES.map(address));
        let aliases = [[address(ALIASES[0]), address(ALIASES[1])], [address(ALIASES[2]), address(ALIASES[3])]];
        let mut who = vec![
            Who { inside: lab.client.clone(), addresses: vec![CLIENT, aliases[0], aliases[1]], by: Some("eth0") },
            Who { inside: lab.lan.clone(), addresses: vec![LAN], by: Some("eth1") },
        ];
        for (index, net) in drawn.nets.iter().enumerate() {
            let inside = Namespace::new();
            attach(&lab.host, net, index, &inside);
            who.push(Who { inside, addresses: vec![net.other], by: Some(net.name) });
        }
        let own = [HOST, HOST_ON_LAN].into_iter().chain(drawn.nets.iter().map(|net| net.own));
        who.push(Who { inside: lab.host.clone(), addresses: own.collect(), by: None });
        let everywhere = |ports: &[u16]| {
            ports.iter().flat_map(|port| ANY.map(|any| SocketAddr::new(any, *port))).collect::<Vec<_>>()
        };
        let echo = |one: &Who| {
            // A datagram's answer comes from the address that it was sent to.
            let own = one.addresses.iter().flatten();
            let datagrams: Vec<_> = own.flat_map(|own| UDP.map(|port| SocketAddr::new(*own, port))).collect();
            one.inside.listen(&everywhere(&TCP), &datagrams)
        };
        let echoes = who.iter().map(echo).collect();
        Self { lab, who, _echoes: echoes }
    }
}

/// Joins somebody to the machine, behind a bridge or not.
fn attach(host: &Namespace, net: &Net, index: usize, inside: &Namespace) {
    let Net { name, own, other, bridge } = net;
    let port = format!("port{index}");
    let mut lines = String::new();
    if *bridge {
        let _ = writeln!(
            lines,
            "link add {name} type bridge\nlink add {port} type veth peer name eth0 netns {}",
            inside.path()
        );
        let _ = writeln!(lines, "link set {port} master {name} up");
    } else {
        let _ = writeln!(lines, "link add {name} type veth peer name eth0 netns {}", inside.path());
    }
    let _ = writeln!(
        lines,
        "address add {}/24 dev {name}\naddress add {}/64 dev {name} nodad\nlink set {name} up",
        own[0], own[1]
    );
    batch(host, &lines);
    batch(
        inside,
        &format!(
            "address add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad\nlink set eth0 up\nroute add default via {}\nroute add default via {}\n",
            other[0], other[1], own[0], own[1]
        ),
    );
}

/// Runs many lines of `ip` at once.
fn batch(inside: &Namespace, lines: &str) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(lines.as_bytes()).expect("it is writable");
    output(inside.command("ip").args(["-batch", &file.path().display().to_string()]).stdout(Stdio::null())).success();
}
