//! Rulesets after the forms of well-known programs and their test suites: several base chains of one priority, marks that
//! one chain writes and another reads, two translations, egress, lower devices, full sets, ARP, netdev and bridges.
#![allow(unreachable_pub)]

use crate::answers::CONDITIONS;
use crate::support::lab::{HOST, LAN};
use proptest::prelude::*;
use proptest::sample::select;

/// A rule's condition and what it does.
type Line = (&'static str, &'static str);

const ACTIONS: [&str; 16] = [
    "accept",
    "accept",
    "drop",
    "reject",
    "counter",
    "meta mark set 1",
    "meta mark set 2",
    "meta mark set meta mark | 4",
    "ct mark set 5",
    "ct mark set meta mark",
    "meta mark set ct mark",
    "meta mark 1 drop",
    "meta mark 2 accept",
    "meta mark & 4 == 4 drop",
    "ct mark 5 drop",
    "ct state new ct mark 5 accept",
];
const PLAIN: [&str; 12] = [
    "",
    "tcp dport 80",
    "tcp dport { 22, 8080 }",
    "udp dport 53",
    "tcp sport 80",
    "udp sport { 53, 9000 }",
    "ip saddr 10.77.0.2",
    "ip6 saddr fd77::2",
    "ip daddr 203.0.113.9",
    "icmp type echo-request",
    "icmpv6 type echo-reply",
    "meta protocol ip tcp flags & (syn | ack) == syn",
];
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
const TRANSLATIONS: [&str; 10] = [
    "tcp dport 8080 dnat ip to LAN4:80",
    "tcp dport 8080 dnat ip6 to [LAN6]:80",
    "udp dport 9000 dnat ip to LAN4:53",
    "udp dport 9000 dnat ip6 to [LAN6]:53",
    "tcp dport 8080 redirect to :22",
    "tcp dport 80 redirect to :4242",
    "udp dport 53 redirect to :9000",
    "iifname \"eth0\" tcp dport 8080 dnat ip to HOST4:22",
    "meta mark 1 tcp dport 8080 dnat ip6 to [LAN6]",
    "tcp dport 80 ip daddr HOST4 accept",
];
const SOURCES: [&str; 6] = [
    "oifname \"eth0\" masquerade",
    "oifname \"br1\" masquerade",
    "oifname \"br1\" masquerade random",
    "oifname \"br1\" ip saddr 203.0.113.9 snat ip to 10.77.0.1",
    "oifname \"eth0\" ip6 saddr fd77::2 snat ip6 to 2001:db8::1",
    "oifname \"br1\" ct status dnat masquerade",
];
const ARP: [&str; 6] = [
    "arp operation request drop",
    "arp operation reply drop",
    "arp saddr ip 203.0.113.9 drop",
    "arp daddr ip 10.77.0.1 drop",
    "arp saddr ip 192.0.2.99 drop",
    "arp htype 1 accept",
];

/// A ruleset of some forms, as nft reads it.
pub fn rulesets() -> impl Strategy<Value = String> {
    let form = prop_oneof![
        3 => one_priority(),
        3 => two_tables(),
        3 => translations(),
        2 => at_a_device(),
        2 => sets(),
        1 => arp(),
        1 => bridge(),
        1 => untracked(),
    ];
    prop::collection::vec(form, 1..4).prop_map(|forms| {
        let named = |(index, form): (usize, String)| form.replace("TABLE", &format!("t{index}"));
        let text: String = forms.into_iter().enumerate().map(named).collect();
        let words = [("LAN4", LAN[0]), ("LAN6", LAN[1]), ("HOST4", HOST[0])];
        words.iter().fold(text, |text, (word, address)| text.replace(word, &address.to_string()))
    })
}

fn some_lines(count: usize) -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec((select(&CONDITIONS[..]), select(&ACTIONS[..])), 1..count)
}

/// The rules of a chain at a hook, without those that the kernel or nft would not take there.
fn lines(rules: &[Line], hook: &str) -> String {
    let line = |(condition, action): &Line| {
        let condition = condition.replace("@lan", "fd77::2").replace("eth1", "br1");
        let action =
            if *action == "reject" && ["prerouting", "postrouting"].contains(&hook) { "drop" } else { action };
        let leaves_too_early = condition.contains("oifname") && ["prerouting", "input"].contains(&hook);
        let came_in = condition.contains("iifname") && hook == "output";
        let one_state = !(condition.contains("ct state") && action.contains("ct state"));
        (!leaves_too_early && !came_in && one_state).then(|| format!("{condition} {action}; "))
    };
    rules.iter().filter_map(line).collect()
}

fn head(hook: &str, priority: i32, drops: bool) -> String {
    let policy = if drops { "drop" } else { "accept" };
    let established = if drops { "ct state established,related accept; " } else { "" };
    // What neighbours need is decided elsewhere.
    let neighbours = if drops { "icmpv6 type { 133-136 } accept; " } else { "" };
    format!("type filter hook {hook} priority {priority}; policy {policy}; {neighbours}{established}")
}

/// Chains of one table, hook and priority.
fn one_priority() -> impl Strategy<Value = String> {
    let place = (select(&HOOKS[..]), select(vec![-300, -150, 0, 50]));
    let chain = (some_lines(4), prop::bool::weighted(0.15));
    (place, prop::collection::vec(chain, 2..4)).prop_map(|((hook, priority), chains)| {
        let chains: String = chains
            .iter()
            .enumerate()
            .map(|(at, (rules, drops))| {
                format!("    chain c{at} {{ {}{} }}\n", head(hook, priority, *drops), lines(rules, hook))
            })
            .collect();
        format!("table inet TABLE {{\n{chains}}}\n")
    })
}

/// Chains of one hook and priority in two tables, the later of which may be of one IP version.
fn two_tables() -> impl Strategy<Value = String> {
    let place = (select(&HOOKS[..]), select(vec![-300, -200, -150, -100, 0, 100]));
    (place, some_lines(4), some_lines(4), any::<bool>()).prop_map(|((hook, priority), one, other, swapped)| {
        let table = |name: &str, rules: &[Line]| {
            format!("table inet {name} {{ chain c {{ {}{} }}; }}\n", head(hook, priority, false), lines(rules, hook))
        };
        let (first, second) = (table("TABLEa", &one), table("TABLEb", &other));
        if swapped { second + &first } else { first + &second }
    })
}

/// What a table translates: its rules for destinations, one for sources, the priority, and whether what the machine
/// itself sends passes the rules.
type Translated = (Vec<&'static str>, Option<&'static str>, i32, bool);

/// One or two tables that translate, at one priority or two.
fn translations() -> impl Strategy<Value = String> {
    let rules = || prop::collection::vec(select(&TRANSLATIONS[..]), 1..4);
    let sources = || prop::option::weighted(0.6, select(&SOURCES[..]));
    let table = || (rules(), sources(), select(vec![-101, -100, -100, -99]), any::<bool>());
    (table(), prop::option::weighted(0.4, table())).prop_map(|(one, other)| {
        let table = |(name, (rules, source, priority, sends)): (&str, Translated)| {
            let rules: String = rules.iter().map(|rule| format!("{rule}; ")).collect();
            let sent: String = rules.replace("iifname \"eth0\" ", "");
            let sent = if sends {
                format!("    chain out {{ type nat hook output priority {priority}; {sent} }}\n")
            } else {
                String::new()
            };
            let source = source.map(|rule| {
                format!("    chain post {{ type nat hook postrouting priority {}; {rule}; }}\n", priority + 200)
            });
            format!(
                "table inet {name} {{\n    chain pre {{ type nat hook prerouting priority {priority}; {rules} }}\n{sent}{}}}\n",
                source.unwrap_or_default()
            )
        };
        [Some(("TABLEa", one)), other.map(|other| ("TABLEb", other))].into_iter().flatten().map(table).collect()
    })
}

/// Chains at a device, beneath another or not, for what comes in or goes out.
fn at_a_device() -> impl Strategy<Value = String> {
    let rule = (select(&PLAIN[1..]), select(vec!["drop", "drop", "accept", "counter", "meta mark set 1"]));
    let place = (select(vec!["ingress", "egress"]), select(vec!["eth0", "eth1", "br1"]), select(vec![-500, 0, 10]));
    (place, prop::collection::vec(rule, 1..4)).prop_map(|((hook, device, priority), rules)| {
        let lines: String = rules.iter().map(|(condition, action)| format!("{condition} {action}; ")).collect();
        format!(
            "table netdev TABLE {{ chain c {{ type filter hook {hook} device \"{device}\" priority {priority}; {lines} }}; }}\n"
        )
    })
}

/// Sets that rules add to: full ones, and one with room.
fn sets() -> impl Strategy<Value = String> {
    let acts = || select(vec!["accept", "drop", "counter", "meta mark set 1"]);
    (select(&HOOKS[..4]), select(&PLAIN[..6]), acts(), acts(), any::<[bool; 2]>()).prop_map(
        |(hook, condition, one, other, [updates, has_room])| {
            let add = if updates { "update" } else { "add" };
            let size = if has_room { 65_535 } else { 2 };
            format!(
                "table inet TABLE {{
    set full4 {{ type ipv4_addr; size {size}; flags dynamic; elements = {{ 192.0.2.1, 10.77.0.2 }}; }}
    set full6 {{ type ipv6_addr; size {size}; flags dynamic; elements = {{ 2001:db8:1::1, 2001:db8::9 }}; }}
    chain c {{ type filter hook {hook} priority -20; {condition} meta l4proto {{ tcp, udp }} {add} @full4 {{ ip saddr }} {one}; icmpv6 type echo-request {add} @full6 {{ ip6 saddr }} {other}; meta l4proto tcp {add} @full6 {{ ip6 saddr }} {other}; }};
}}
"
            )
        },
    )
}

fn arp() -> impl Strategy<Value = String> {
    let rules = prop::collection::vec(select(&ARP[..]), 1..3);
    (select(vec!["input", "output"]), rules).prop_map(|(hook, rules)| {
        format!("table arp TABLE {{ chain c {{ type filter hook {hook} priority 0; {}; }}; }}\n", rules.join("; "))
    })
}

fn bridge() -> impl Strategy<Value = String> {
    let rule = (select(&PLAIN[1..]), select(vec!["drop", "accept", "counter"]));
    let place = (select(&HOOKS[..]), select(vec![-300, -200, 0]));
    (place, prop::collection::vec(rule, 1..3)).prop_map(|((hook, priority), rules)| {
        let lines: String = rules.iter().map(|(condition, action)| format!("{condition} {action}; ")).collect();
        format!("table bridge TABLE {{ chain c {{ type filter hook {hook} priority {priority}; {lines} }}; }}\n")
    })
}

fn untracked() -> impl Strategy<Value = String> {
    let places = vec![("prerouting", -300), ("output", -300), ("prerouting", -201)];
    (select(places), select(&PLAIN[1..])).prop_map(|((hook, priority), condition)| {
        format!(
            "table inet TABLE {{ chain c {{ type filter hook {hook} priority {priority}; {condition} notrack; }}; chain d {{ type filter hook input priority 10; ct state untracked counter; ct state invalid drop; }}; }}\n"
        )
    })
}
