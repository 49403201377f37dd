//! Random policies about SSH: whom they let in and whom they shut out is a matter of chance, and of every key.

use super::dice::Dice;
use super::roads::Road;

/// A policy, the list that it may name, and the rules of others beside it.
#[derive(Clone, Debug)]
pub struct Lock {
    /// The policy in force before; `None` for no rules at all.
    pub before: Option<String>,
    /// The policy that is applied.
    pub policy: String,
    /// Its file `list`.
    pub list: String,
    /// Other programs' rules.
    pub others: Option<&'static str>,
}

/// Policies under which the session comes about.
const BEFORE: [&str; 4] = [
    "version: 1\nservices:\n  ssh: { ports: [22/tcp, 2222/tcp, 2224/tcp], from: any }\n",
    "version: 1\ndefaults: { incoming: allow }\n",
    "version: 1\nservices:\n  ssh: { ports: [22/tcp, 2222/tcp, 2224/tcp], from: any, limit: 100/minute }\nblock: 192.0.2.66\n",
    "version: 1\ndefaults: { incoming: reject, outgoing: deny }\nservices:\n  all: { ports: any, from: any }\n",
];
/// Rules of others, most of which concern some of the sessions.
const OTHERS: [&str; 8] = [
    "chain in { type filter hook input priority 0; ct state new tcp dport 22 ip saddr 198.51.100.0/24 drop; }",
    "chain in { type filter hook input priority -20; ct state new tcp dport 22 ip6 saddr 2001:db8::/64 reject; }",
    "chain in { type filter hook input priority 10; policy drop; ct state established,related accept; iifname eth1 accept; }",
    "chain raw { type filter hook prerouting priority raw; tcp dport 22 iifname eth0 notrack; }
     chain out { type filter hook output priority raw; tcp sport 22 oifname eth0 notrack; }",
    "chain raw { type filter hook prerouting priority raw; tcp dport 22 ip6 saddr 2001:db8::9 notrack; }",
    "chain out { type filter hook output priority 0; tcp flags & (syn | ack) == (syn | ack) ip daddr 203.0.113.9 drop; }",
    "chain early { type filter hook prerouting priority -350; tcp dport 2222 tcp flags & (syn | ack) == syn drop; }",
    "chain in { type filter hook input priority 0; udp dport 22 drop; ct state invalid drop; }",
];

impl Lock {
    /// The next one for sessions by this road.
    pub fn next(dice: &mut Dice, road: Road) -> Self {
        let before = (!dice.one_in(3)).then(|| (*dice.choose(&BEFORE)).to_owned());
        let list = [(); 3].map(|()| address(dice, road)).join("\n");
        let mut policy = String::from("version: 1\n");
        policy.push_str(&defaults(dice));
        if dice.one_in(3) {
            let interfaces = *dice.choose(&["[docker0]", "[docker0, \"br-*\"]", "[eth1, docker0]"]);
            let host = *dice.choose(&["allow", "deny", "deny"]);
            policy.push_str(&format!("containers: {{ interfaces: {interfaces}, host: {host} }}\n"));
        }
        let admins = [(); 2].map(|()| item(dice, road)).join(", ");
        policy.push_str(&format!("groups:\n  admins: [{admins}]\nservices:\n"));
        // Somebody always gets in: what nobody gets in by is refused for another reason.
        policy.push_str("  rescue: { ports: 22/tcp, from: 192.0.2.1 }\n");
        for name in *dice.choose(&[&["one"][..], &["one", "two"], &["one", "two", "three"]]) {
            policy.push_str(&format!("  {name}: {}\n", service(dice, road)));
        }
        if dice.one_in(2) {
            let blocked: Vec<String> = (0..*dice.choose(&[1, 1, 2])).map(|_| blocked(dice, road)).collect();
            policy.push_str(&format!("block: [{}]\n", blocked.join(", ")));
        }
        let others = dice.one_in(4).then(|| *dice.choose(&OTHERS));
        // The answers of a session that is not tracked any more are new connections: it would end before it is asked.
        let untracked = others.is_some_and(|rules| rules.contains("notrack"));
        let before = before.filter(|before| !(untracked && before.contains("outgoing: deny")));
        Self { before, policy, list, others }
    }
}

fn defaults(dice: &mut Dice) -> String {
    let incoming = *dice.choose(&["deny", "deny", "deny", "deny", "reject", "reject", "allow"]);
    let outgoing = *dice.choose(&["allow", "allow", "deny", "reject"]);
    let path = *dice.choose(&["off", "off", "strict"]);
    format!("defaults: {{ incoming: {incoming}, outgoing: {outgoing}, reverse_path: {path} }}\n")
}

fn service(dice: &mut Dice, road: Road) -> String {
    let own = format!("{}/tcp", road.port);
    let ports =
        *dice.choose(&[&own, &own, &own, "[22/tcp, 2222/tcp]", "20-25/tcp", "2200-2300/tcp", "any", "22/udp"]);
    let mut text = format!("{{ ports: {ports}, from: {}", from(dice, road));
    if dice.one_in(4) {
        text.push_str(&format!(", except: [{}]", item(dice, road)));
    }
    if dice.one_in(6) {
        let to =
            ["203.0.113.1", "\"2001:db8::1\"", "10.77.0.0/24", "172.17.0.1", "\"fd00::/8\"", "\"2001:db8::/32\""];
        text.push_str(&format!(", to: {}", dice.choose(&to)));
    }
    if dice.one_in(5) {
        text.push_str(&format!(", on: {}", dice.choose(&["eth0", "eth1", "docker0", "[eth0, eth1]", "\"e*\""])));
    }
    match () {
        () if dice.one_in(8) => text.push_str(", action: deny"),
        () if dice.one_in(12) => text.push_str(", action: reject"),
        () if dice.one_in(8) => {
            let target = *dice.choose(&["10.77.0.2", "\"10.77.0.2:22\"", "[10.77.0.2, \"fd77::2\"]", "\"fd77::2\""]);
            text.push_str(&format!(", forward_to: {target}"));
        }
        () if dice.one_in(5) => text.push_str(", limit: 60/minute"),
        () => {}
    }
    if dice.one_in(6) {
        text.push_str(", log: true");
    }
    text + " }"
}

fn from(dice: &mut Dice, road: Road) -> String {
    match dice.choose(&[0, 0, 0, 1, 1, 2]) {
        0 => format!("[{}]", item(dice, road)),
        1 => "any".to_owned(),
        _ => format!("[{}, {}]", item(dice, road), item(dice, road)),
    }
}

/// One of a list of peers.
fn item(dice: &mut Dice, road: Road) -> String {
    let word = ["admins", "private", "containers", "{ file: list }", "{ interface: eth0 }", "{ interface: eth1 }"];
    if dice.one_in(3) { (*dice.choose(&word)).to_owned() } else { format!("\"{}\"", address(dice, road)) }
}

/// The operator's address, one that contains it, or another.
fn address(dice: &mut Dice, road: Road) -> String {
    let around: &[&str] = match road.seen {
        "203.0.113.9" => &["203.0.113.0/24", "203.0.113.8/29", "203.0.112.0-203.0.113.9"],
        "198.51.100.7" => &["198.51.100.0/24", "198.51.100.4/30", "198.51.0.0-198.51.100.7"],
        "10.77.0.2" => &["10.0.0.0/8", "10.77.0.0/30"],
        "172.17.0.2" => &["172.16.0.0/12", "172.17.0.0/16"],
        "2001:db8::9" => &["2001:db8::/64", "2001:db8::8/125"],
        "2001:db8:5::7" => &["2001:db8:5::/48", "2001:db8::-2001:db8:5::7"],
        "fe80::9" => &["fe80::/10", "fe80::/64"],
        _ => &["fc00::/7", "fd00::/16"],
    };
    let elsewhere = [
        "192.0.2.9",
        "203.0.113.66",
        "2001:db8::66",
        "203.0.113.9",
        "fe80::9",
        "10.0.0.0/8",
        "2001:db8:9::/48",
        "198.51.100.8",
    ];
    match dice.choose(&[0, 0, 1, 2, 2]) {
        0 => road.seen.to_owned(),
        1 => (*dice.choose(around)).to_owned(),
        _ => (*dice.choose(&elsewhere)).to_owned(),
    }
}

/// One of those who are blocked: strangers, the gateways, everyone of no public address, or the operator.
fn blocked(dice: &mut Dice, road: Road) -> String {
    let all = [
        "\"203.0.113.66\"",
        "\"2001:db8::66\"",
        "\"fe80::/10\"",
        "\"203.0.113.9\"",
        "\"172.16.0.0/12\"",
        "\"10.0.0.0/8\"",
        "private",
        "{ file: list }",
        "admins",
    ];
    if dice.one_in(4) { format!("\"{}\"", address(dice, road)) } else { (*dice.choose(&all)).to_owned() }
}
