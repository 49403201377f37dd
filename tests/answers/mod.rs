//! Generated tables that treat the packets of a connection differently.
#![allow(unreachable_pub, dead_code)]

pub mod range;

use crate::support::lab::LAN;
use proptest::prelude::*;
use proptest::sample::select;

/// A condition, in the words of nft.
pub const CONDITIONS: [&str; 38] = [
    "",
    "ct state new",
    "ct state new",
    "ct state established",
    "ct state established",
    "ct state invalid",
    "ct state untracked",
    "ct direction reply",
    "ct direction original",
    "ct status dnat",
    "ct status seen-reply",
    "meta l4proto tcp ct original proto-dst 8080",
    "meta l4proto tcp ct reply proto-src 80",
    "ct original ip saddr 203.0.113.9",
    "ct reply ip saddr 10.77.0.2",
    "ct original ip6 daddr 2001:db8::1",
    "tcp flags & (fin | syn | rst | ack) == syn",
    "tcp flags & (syn | ack) == (syn | ack)",
    "tcp flags & (syn | ack) == ack",
    "tcp sport { 80, 4242 }",
    "tcp sport 8080",
    "udp sport { 53, 9000 }",
    "tcp dport { 80, 22 }",
    "tcp dport 8080",
    "meta l4proto udp",
    "meta l4proto { icmp, ipv6-icmp }",
    "iifname \"eth1\"",
    "iifname \"eth0\"",
    "oifname \"eth0\"",
    "oifname \"lo\"",
    "ip saddr 10.77.0.2",
    "ip6 saddr @lan",
    "ip daddr { 203.0.113.9, 127.0.0.1 }",
    "ip6 daddr 2001:db8::9",
    "icmp type echo-reply",
    "icmpv6 type echo-request",
    "meta mark 1",
    "ct mark 5",
];
const ACTIONS: [&str; 12] = [
    "accept",
    "accept",
    "accept",
    "drop",
    "drop",
    "drop",
    "reject",
    "counter",
    "meta mark set 1",
    "ct mark set 5",
    "jump one",
    "add @seen { meta l4proto }",
];
const TRANSLATIONS: [&str; 6] = [
    "tcp dport 8080 dnat ip to LAN4:80",
    "tcp dport 8080 dnat ip6 to [LAN6]:80",
    "udp dport 9000 dnat ip to LAN4:53",
    "udp dport 9000 dnat ip6 to [LAN6]:53",
    "tcp dport 8080 fib daddr type local dnat ip to LAN4",
    "udp dport 53 dnat ip6 to [LAN6]:9000",
];

/// Hooks and priorities of chains, and whether a rule there may leave a packet untracked.
fn place() -> impl Strategy<Value = (&'static str, i32)> {
    let hook = select(vec!["prerouting", "input", "forward", "output", "postrouting"]);
    (hook, select(vec![-300, -150, -10, 0, 50, 150]))
}

type Rules = Vec<(&'static str, &'static str)>;

fn some_rules(count: usize) -> impl Strategy<Value = Rules> {
    prop::collection::vec((select(&CONDITIONS[..]), select(&ACTIONS[..])), 0..count)
}

/// A table of the inet family, as nft reads it.
pub fn rules() -> impl Strategy<Value = String> {
    let head = select(vec![
        "",
        "",
        "ct state established accept",
        "ct state new accept",
        "ct state established,related accept",
    ]);
    let base = (place(), prop::bool::weighted(0.25), head, some_rules(4));
    let untracked = prop::collection::vec((any::<bool>(), select(&CONDITIONS[16..])), 0..3);
    let nat = prop::option::weighted(0.7, prop::collection::vec(select(&TRANSLATIONS[..]), 1..4));
    let ways = any::<[bool; 3]>();
    (prop::collection::vec(base, 1..5), some_rules(3), prop::option::weighted(0.3, untracked), nat, ways).prop_map(
        |(bases, one, untracked, nat, [sends, masquerades, to_lan])| {
            let mut text = String::from("table inet t {\n    set lan { type ipv6_addr; elements = { fd77::2 }; }\n    set seen { type inet_proto; size 16; flags dynamic; }\n");
            text.push_str(&format!("    chain one {{\n{}    }}\n", lines(&one, "one", true)));
            for (at, ((hook, priority), drops, head, rules)) in bases.iter().enumerate() {
                let priority = priority + i32::try_from(at).unwrap_or_default();
                let policy = if *drops { "drop" } else { "accept" };
                let lines = lines(rules, hook, ["prerouting", "postrouting"].contains(hook));
                text.push_str(&format!(
                    "    chain b{at} {{\n        type filter hook {hook} priority {priority}; policy {policy};\n        {head}\n{lines}    }}\n"
                ));
            }
            for (hook, sent) in [("prerouting", false), ("output", true)] {
                let these = untracked.iter().flatten().filter(|(of, _)| *of == sent);
                let lines: String = these.map(|(_, words)| format!("        {words} notrack\n")).collect();
                text.push_str(&format!(
                    "    chain raw-{hook} {{\n        type filter hook {hook} priority -310;\n{lines}    }}\n"
                ));
            }
            if let Some(rules) = nat {
                let lan = |text: &str| text.replace("LAN4", &LAN[0].to_string()).replace("LAN6", &LAN[1].to_string());
                let rules: String = rules.iter().map(|rule| format!("        {}\n", lan(rule))).collect();
                let hooks: &[&str] = if sends { &["prerouting", "output"] } else { &["prerouting"] };
                for hook in hooks {
                    text.push_str(&format!("    chain nat-{hook} {{\n        type nat hook {hook} priority -100;\n{rules}    }}\n"));
                }
                if masquerades {
                    let by = if to_lan { "eth1" } else { "eth0" };
                    text.push_str(&format!("    chain nat-out {{\n        type nat hook postrouting priority 100;\n        oifname \"{by}\" masquerade\n    }}\n"));
                }
            }
            text + "}\n"
        },
    )
}

fn lines(rules: &Rules, within: &str, no_reject: bool) -> String {
    let line = |(condition, action): &(&str, &str)| {
        // A chain does not call itself, and refuses only where the kernel lets it.
        let action = match *action {
            "jump one" if within == "one" => "accept",
            "reject" if no_reject => "drop",
            other => other,
        };
        // Of what comes in no outgoing interface is known, of what is sent no incoming one.
        let leaves_too_early = condition.contains("oifname") && ["prerouting", "input"].contains(&within);
        let came_in = condition.contains("iifname") && within == "output";
        let fits = !leaves_too_early && !came_in;
        fits.then(|| format!("        {condition} {action}\n"))
    };
    rules.iter().filter_map(line).collect()
}
