//! Random policies whose names and addresses meet a machine's.

use super::drawn::{CLUSTER, Drawn};
use crate::support::dice::Dice;
use std::fmt::Write as _;

const PORTS: [&str; 12] = [
    "22/tcp",
    "80/tcp",
    "[80/tcp, 443/tcp]",
    "443/tcp",
    "5432/tcp",
    "8080/tcp",
    "[8080/tcp, 9000/udp]",
    "53/udp",
    "[53/udp, 53/tcp]",
    "9000/udp",
    "4242/udp",
    "22-443/tcp",
];

/// Who and where policies may name on a machine.
struct Words<'m> {
    machine: &'m Drawn,
    /// Networks and addresses.
    addresses: Vec<String>,
    /// Names of interfaces with somebody behind them.
    interfaces: Vec<String>,
}

impl<'m> Words<'m> {
    fn new(machine: &'m Drawn) -> Self {
        let fixed = [
            "203.0.113.9",
            "2001:db8::9",
            "203.0.113.66",
            "2001:db8::66",
            "203.0.113.64/26",
            "198.51.100.0/24",
            "2001:db8::/48",
            "10.77.0.0/24",
            "fd77::/64",
            "10.77.0.2",
            "203.0.0.0/8",
            "10.0.0.0/8",
        ];
        let mut addresses: Vec<String> = fixed.map(str::to_owned).into();
        for net in &machine.nets {
            addresses.extend(net.other.map(|other| other.to_string()));
            addresses.extend([format!("{}/24", net.own[0]), format!("{}/64", net.own[1])].map(|net| network(&net)));
        }
        addresses.extend(CLUSTER.concat().into_iter().map(str::to_owned));
        let interfaces = ["eth0", "eth1"].into_iter().chain(machine.nets.iter().map(|net| net.name));
        Self { machine, addresses, interfaces: interfaces.map(str::to_owned).collect() }
    }

    fn address(&self, dice: &mut Dice) -> String {
        format!("\"{}\"", dice.pick(&self.addresses))
    }

    fn interface(&self, dice: &mut Dice) -> String {
        format!("{{ interface: {} }}", dice.pick(&self.interfaces))
    }

    /// Peers of a service, or of what it excepts.
    fn peers(&self, dice: &mut Dice) -> String {
        let count = 1 + dice.below(3);
        let one = |dice: &mut Dice| match dice.below(10) {
            0..=3 => self.address(dice),
            4 => "trusted".to_owned(),
            5 => "near".to_owned(),
            6 => "containers".to_owned(),
            7 => "private".to_owned(),
            8 => "mixed".to_owned(),
            _ => self.interface(dice),
        };
        let peers: Vec<String> = (0..count).map(|_| one(dice)).collect();
        format!("[{}]", peers.join(", "))
    }

    fn any_or_peers(&self, dice: &mut Dice) -> String {
        if dice.chance(45) { "any".to_owned() } else { self.peers(dice) }
    }
}

/// The network of an address with a prefix of whole groups.
fn network(text: &str) -> String {
    let parsed: ipnet::IpNet = text.parse().expect("an address with a prefix");
    parsed.trunc().to_string()
}

/// The text of a policy, which may be refused.
pub fn policy(dice: &mut Dice, machine: &Drawn) -> String {
    let words = Words::new(machine);
    let mut text = String::from("version: 1\n");
    text.push_str(&defaults(dice));
    let _ = writeln!(
        text,
        "groups: {{ trusted: [203.0.113.9, \"2001:db8::9\"], near: [{{ interface: eth1 }}], mixed: [{}, {}, {}] }}",
        words.address(dice),
        words.address(dice),
        words.interface(dice)
    );
    text.push_str(&containers(dice, &words));
    let services: Vec<String> = (0..1 + dice.below(6)).map(|index| service(dice, &words, index)).collect();
    let _ = writeln!(text, "services:\n{}", services.concat().trim_end_matches('\n'));
    for section in ["outgoing", "forward"] {
        let count = [0, 0, 1, 2, 3][dice.below(5)];
        let rules: Vec<String> = (0..count).map(|index| routed(dice, &words, section, index)).collect();
        if !rules.is_empty() {
            let _ = writeln!(text, "{section}:\n{}", rules.concat().trim_end_matches('\n'));
        }
    }
    if dice.chance(25) {
        let from = if dice.chance(50) { words.interface(dice) } else { "containers".to_owned() };
        let _ = writeln!(text, "nat: {{ out: {{ from: {from}, to: {{ interface: eth{} }} }} }}", dice.below(2));
    }
    if dice.chance(40) {
        let count = 1 + dice.below(3);
        let of = ["172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16", "\"fe80::/10\"", "\"fd00::/8\"", "100.64.0.0/10"];
        let blocked: Vec<String> = (0..count)
            .map(|_| if dice.chance(60) { dice.pick(&of).to_owned() } else { words.address(dice) })
            .collect();
        let _ = writeln!(text, "block: [{}]", blocked.join(", "));
    }
    text
}

fn defaults(dice: &mut Dice) -> String {
    let verdicts = ["allow", "deny", "reject"];
    let mut given = Vec::new();
    let mut say = |dice: &mut Dice, key: &str, percent, of: &[&str]| {
        if dice.chance(percent) {
            given.push(format!("{key}: {}", dice.pick(of)));
        }
    };
    say(dice, "incoming", 30, &verdicts);
    say(dice, "outgoing", 30, &verdicts);
    say(dice, "forward", 45, &verdicts);
    say(dice, "ping", 40, &["allow", "deny"]);
    say(dice, "reverse_path", 20, &["strict"]);
    format!("defaults: {{ {} }}\n", given.join(", "))
}

fn containers(dice: &mut Dice, words: &Words<'_>) -> String {
    let mut given = Vec::new();
    if dice.chance(65) {
        let bridges: Vec<&str> = words.machine.bridges().map(|net| net.name).collect();
        let count = if dice.chance(75) { bridges.len() } else { dice.below(bridges.len() + 1) };
        given.push(format!("interfaces: [{}]", dice.some(&bridges, count).join(", ")));
    }
    if dice.chance(35) {
        given.push(format!("outgoing: {}", dice.pick(&["allow", "deny", "reject"])));
    }
    if dice.chance(20) {
        given.push("host: allow".to_owned());
    }
    if given.is_empty() { String::new() } else { format!("containers: {{ {} }}\n", given.join(", ")) }
}

fn service(dice: &mut Dice, words: &Words<'_>, index: usize) -> String {
    let mut text = format!("  s{index}: {{ ports: {}, from: {}", dice.pick(&PORTS), words.any_or_peers(dice));
    if dice.chance(25) {
        let _ = write!(text, ", except: {}", words.peers(dice));
    }
    if dice.chance(15) {
        let own = ["[203.0.113.1, \"2001:db8::1\"]", "10.77.0.1", "\"fd77::1\""];
        let _ = write!(text, ", to: {}", dice.pick(&own));
    }
    if dice.chance(15) {
        let _ = write!(text, ", on: {}", dice.pick(&words.interfaces));
    }
    if dice.chance(20) {
        let _ = write!(text, ", action: {}", dice.pick(&["deny", "reject"]));
    }
    text.push_str(" }\n");
    if dice.chance(12) && index == 0 {
        let (port, to) = dice.pick(&[
            ("8443/tcp", "[\"10.77.0.2:443\", \"[fd77::2]:443\"]"),
            ("8443/tcp", "10.77.0.2"),
            ("9000/udp", "\"10.77.0.2:53\""),
        ]);
        let _ =
            writeln!(text, "  forwarded: {{ ports: {port}, from: {}, forward_to: {to} }}", words.any_or_peers(dice));
    }
    text
}

/// A rule of `outgoing` or `forward`.
fn routed(dice: &mut Dice, words: &Words<'_>, section: &str, index: usize) -> String {
    let ports = if dice.chance(35) { "any".to_owned() } else { dice.pick(&PORTS).to_owned() };
    let from = match (section, dice.below(4)) {
        ("outgoing", 0) => "host".to_owned(),
        ("outgoing", 1) => "[host, containers]".to_owned(),
        ("outgoing", _) => "containers".to_owned(),
        (_, 0) => "any".to_owned(),
        (_, 1) => words.interface(dice),
        _ => words.address(dice),
    };
    let to = match dice.below(4) {
        0 | 1 => "any".to_owned(),
        2 => words.interface(dice),
        _ => words.address(dice),
    };
    let mut text = format!("  r{index}: {{ ports: {ports}, from: {from}, to: {to}");
    if dice.chance(35) {
        let _ = write!(text, ", action: {}", dice.pick(&["deny", "reject"]));
    }
    text.push_str(" }\n");
    text
}
