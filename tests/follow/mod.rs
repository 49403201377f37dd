//! Generated rules: tables of nft, and rules of iptables with its own matches and targets.
#![allow(unreachable_pub)]

use crate::support::lab::LAN;
use proptest::prelude::*;
use proptest::sample::select;

/// A condition, in the words of nft. `4` and `6` begin those of one family.
const CONDITIONS: [&str; 62] = [
    "",
    "",
    "tcp dport 80",
    "tcp dport { 22, 8080 }",
    "udp dport 53",
    "th dport 80-443",
    "th dport != 22",
    "meta l4proto udp",
    "meta l4proto { tcp, icmp }",
    "iifname \"eth0\"",
    "iifname != \"eth0\"",
    "iif lo",
    "oifname \"eth1\"",
    "ct state new",
    "ct state established,related",
    "ct status dnat",
    "meta l4proto tcp ct original proto-dst 8080",
    "meta mark 1",
    "meta mark & 2 == 2",
    "ct mark 5",
    "fib daddr type local",
    "fib daddr type != local",
    "fib saddr type local",
    "fib saddr type { unicast, anycast }",
    "fib daddr type { unicast, broadcast }",
    "fib saddr . iif oif missing",
    "fib saddr . iif oif exists",
    "fib daddr . iif oif exists",
    "fib saddr oif exists",
    "fib saddr oifname \"eth1\"",
    "fib saddr oifname != \"eth0\"",
    "fib daddr oifname { \"eth0\", \"lo\" }",
    "limit rate 100000/second burst 100000 packets",
    "4ip saddr 203.0.113.0/27",
    "4ip daddr @hosts",
    "4ip saddr . th dport @pairs",
    "6ip6 saddr 2001:db8::9",
    "6ip6 daddr @hosts6",
    "4ip ttl 64",
    "4ip ttl < 64",
    "6ip6 hoplimit 255",
    "6ip6 hoplimit 1-63",
    "ct state invalid",
    "ct state untracked",
    "ct direction reply",
    "ct status seen-reply",
    "meta l4proto udp ct original proto-dst 22-443",
    "4icmp type echo-request",
    "6icmpv6 type { echo-request, nd-neighbor-solicit }",
    "tcp flags & (syn | ack) == syn",
    "meta protocol ip",
    "sctp dport 22-80",
    "meta iifgroup 0",
    "meta iiftype ether",
    "meta iiftype != loopback",
    "meta iifkind \"veth\"",
    "meta pkttype host",
    "meta pkttype { broadcast, multicast }",
    "4ip saddr . th dport { 203.0.113.0-203.0.113.20 . 22-80, 10.77.0.0/24 . 443 }",
    "6ip6 daddr . th dport { 2001:db8::/126 . 22-8080 }",
    "tcp flags syn / fin,syn,rst,ack",
    "tcp flags == syn",
];
const ACTIONS: [&str; 20] = [
    "accept",
    "accept",
    "drop",
    "drop",
    "reject",
    "counter",
    "meta mark set 1",
    "meta mark set meta mark | 2",
    "ct mark set 5",
    "jump one",
    "goto one",
    "jump two",
    "return",
    "log",
    "meta nftrace set 1",
    "tcp dport vmap { 22 : accept, 80 : drop, 443-8080 : jump two }",
    "th dport vmap @verdicts",
    "counter accept",
    "notrack",
    "ct mark set meta mark",
];
const TRANSLATIONS: [&str; 8] = [
    "4tcp dport 8080 dnat IPto LAN4:80",
    "4udp dport 9000 dnat IPto LAN4:53",
    "4tcp dport 443 dnat IPto LAN4",
    "tcp dport 8080 redirect to :80",
    "udp dport 9000 redirect",
    "6tcp dport 8080 dnat IPto [LAN6]:80",
    "6tcp dport 443 fib daddr type local dnat IPto LAN6",
    "4iifname \"eth0\" tcp dport { 22, 9000 } dnat IPto tcp dport map { 22 : LAN4, 9000 : LAN4 }",
];
const SETS: &str = "
    set hosts { type ipv4_addr; elements = { 203.0.113.1, 10.77.0.2 }; }
    set hosts6 { type ipv6_addr; flags interval; elements = { 2001:db8::/126, fd77::2 }; }
    set pairs { type ipv4_addr . inet_service; flags interval; elements = { 203.0.113.64/26 . 80-443, 10.77.0.2 . 22 }; }
    map verdicts { type inet_service : verdict; flags interval; elements = { 22 : accept, 50-60 : drop, 8080 : jump two, 9000 : return }; }
";

/// A rule of a table of that family, or nothing where the words are of another.
fn fits(family: &str, words: &str) -> Option<String> {
    let (of, words) = match words.strip_prefix('4').or(words.strip_prefix('6')) {
        Some(rest) => (&words[..1], rest),
        None => ("", words),
    };
    let own = match family {
        "ip" => "4",
        "ip6" => "6",
        _ => of,
    };
    let ip = match (family, of) {
        ("inet", "4") => "ip ",
        ("inet", "6") => "ip6 ",
        _ => "",
    };
    let lan = |text: &str| text.replace("LAN4", &LAN[0].to_string()).replace("LAN6", &LAN[1].to_string());
    (of.is_empty() || of == own).then(|| lan(&words.replace("IP", ip)))
}

/// Whether nft takes it: a rule speaks of one protocol, and of one family.
fn agree(line: &str) -> bool {
    let words = || line.split_whitespace();
    let one_of = |names: &[&str]| names.iter().filter(|name| words().any(|word| word == **name)).count() < 2;
    one_of(&["tcp", "udp", "sctp", "icmp", "icmpv6", "{"])
        && one_of(&["ip", "ip6"])
        && one_of(&["icmp", "ip6"])
        && one_of(&["icmpv6", "ip"])
        && !(words().any(|word| word == "l4proto") && words().any(|word| word == "th"))
}

fn table(index: usize) -> impl Strategy<Value = String> {
    let conditions = || prop::collection::vec(select(&CONDITIONS[..]), 1..3);
    let rules = |count| prop::collection::vec((conditions(), select(&ACTIONS[..])), 0..count);
    let hook = select(vec!["prerouting", "input", "forward", "output"]);
    let base = (hook, select(vec![-300, -200, -150, -100, 0, 0, 0, 50]), prop::bool::weighted(0.15), rules(6));
    let family = select(vec!["ip", "ip6", "inet", "inet"]);
    let nat = prop::option::weighted(0.6, prop::collection::vec(select(&TRANSLATIONS[..]), 1..3));
    (family, prop::collection::vec(base, 1..4), rules(3), rules(3), nat).prop_map(
        move |(family, bases, one, two, nat)| {
            let sends = bases.iter().any(|(hook, ..)| *hook == "output");
            let body = |rules: &[(Vec<&str>, &str)], within: &str, sends: bool| -> String {
                let rule = |(conditions, action): &(Vec<&str>, &str)| {
                    let conditions: Option<Vec<String>> = conditions.iter().map(|words| fits(family, words)).collect();
                    // Called chains call none that could call them.
                    let action = if within != "base" && action.contains("one") { "accept" } else { action };
                    let calls = action.contains("two") || action.contains("@verdicts");
                    let action = if within == "two" && calls { "counter" } else { action };
                    let line = format!("{} {action}", conditions?.join(" "));
                    // Of what this machine sends the kernel can't be asked where it leads.
                    let asks = line.contains("fib ") && line.contains(" oif");
                    (agree(&line) && !(asks && sends)).then(|| format!("        {line}\n"))
                };
                rules.iter().filter_map(rule).collect()
            };
            let mut text = format!("table {family} t{index} {{{SETS}\n    chain two {{\n{}    }}\n", body(&two, "two", sends));
            text.push_str(&format!("    chain one {{\n{}    }}\n", body(&one, "one", sends)));
            for (at, (hook, priority, drops, rules)) in bases.iter().enumerate() {
                let policy = if *drops { "drop" } else { "accept" };
                text.push_str(&format!(
                    "    chain b{at} {{\n        type filter hook {hook} priority {priority}; policy {policy};\n        ct state established accept\n{}    }}\n",
                    body(rules, "base", *hook == "output")
                ));
            }
            if let Some(rules) = &nat {
                let rules: Vec<String> = rules.iter().filter_map(|words| fits(family, words)).collect();
                text.push_str(&format!(
                    "    chain nat {{\n        type nat hook prerouting priority {};\n        {}\n    }}\n",
                    -100 + i32::try_from(index / 2).unwrap_or_default(),
                    rules.join("\n        ")
                ));
            }
            text + "}\n"
        },
    )
}

/// Tables of nft, as it reads them.
pub fn written() -> impl Strategy<Value = String> {
    (table(0), prop::option::of(table(1)), prop::option::of(table(2)))
        .prop_map(|(first, second, third)| [Some(first), second, third].into_iter().flatten().collect())
}

/// What iptables is told. `4` and `6` begin what one of the two understands.
const MATCHES: [&str; 42] = [
    "",
    "",
    "-p tcp --dport 80",
    "-p tcp --dport 22:80",
    "-p tcp ! --dport 22",
    "-p tcp --syn",
    "-p udp --dport 53",
    "-p udp -m multiport --dports 22,53,8000:9000",
    "-p tcp -m multiport ! --dports 22,80",
    "-p tcp -m multiport --ports 443,8080",
    "-i eth0",
    "! -i eth0",
    "-i eth+",
    "-i lo",
    "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID",
    "-m conntrack --ctstate UNTRACKED",
    "-m conntrack --ctstate DNAT",
    "-m conntrack --ctstatus SEEN_REPLY",
    "-p tcp -m conntrack --ctorigdstport 8080",
    "-m conntrack --ctdir ORIGINAL",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --dst-type LOCAL",
    "-m comment --comment \"nothing\"",
    "-m mark --mark 1",
    "-m mark ! --mark 0x2/0x2",
    "4-s 203.0.113.0/27",
    "4-m iprange --src-range 203.0.113.0-203.0.113.9",
    "4-m iprange ! --dst-range 203.0.113.1-203.0.113.1",
    "6-m iprange --src-range 2001:db8::-2001:db8::9",
    "-m hashlimit --hashlimit-name h --hashlimit-mode srcip --hashlimit-upto 10000/sec --hashlimit-burst 10000",
    "-m hashlimit --hashlimit-name i --hashlimit-mode srcip --hashlimit-above 10000/sec --hashlimit-burst 10000",
    "-m physdev --physdev-is-bridged",
    "-m physdev ! --physdev-is-bridged",
    "-m length --length 0:27",
    "-m connmark ! --mark 5",
    "-m connmark --mark 1/3",
    // Of these nothing is understood.
    "-m length --length 28:60",
    "-m statistic --mode nth --every 3 --packet 0",
    "4-p icmp -m icmp --icmp-type 8",
    "6-p ipv6-icmp -m icmp6 --icmpv6-type 128",
];
const TARGETS: [&str; 19] = [
    "-j ACCEPT",
    "-j ACCEPT",
    "-j DROP",
    "-j DROP",
    "-j REJECT",
    "-p tcp -j REJECT --reject-with tcp-reset",
    "-j LOG --log-prefix \"x \"",
    "-j RETURN",
    "-j one",
    "-g one",
    "-j two",
    "",
    "-m limit --limit 1000/s --limit-burst 10000 -j ACCEPT",
    "-j MARK --set-mark 1",
    "-j MARK --or-mark 2",
    "-j CONNMARK --set-mark 5",
    "-j CONNMARK --save-mark",
    "-j CONNMARK --restore-mark",
    "4-m ttl --ttl-lt 65 -j ACCEPT",
];
const NATS: [&str; 10] = [
    "-p tcp --dport 8080 -j DNAT --to-destination LANP:80",
    "-p udp --dport 9000 -j DNAT --to-destination LANP:53",
    "-p tcp --dport 443 -j DNAT --to-destination LAN",
    "-m addrtype --dst-type LOCAL -p tcp --dport 9000 -j DNAT --to-destination LANP:22",
    "! -i eth1 -p tcp -m multiport --dports 53,80 -j DNAT --to-destination LAN",
    "-i eth1 -j RETURN",
    "-p udp --dport 22 -j ACCEPT",
    "-p tcp --dport 8080 -j REDIRECT --to-ports 80",
    "-p udp -j REDIRECT",
    "",
];

/// Rules of iptables, as `iptables-restore` reads them, and of ip6tables.
pub fn restored() -> impl Strategy<Value = [String; 2]> {
    let rule = || (prop::collection::vec(select(&MATCHES[..]), 1..3), select(&TARGETS[..]));
    let rules = || prop::collection::vec(rule(), 0..5);
    let filter = (rules(), rules(), rules(), rules(), rules(), any::<[bool; 2]>());
    let nat = prop::option::weighted(0.7, prop::collection::vec(select(&NATS[..]), 1..4));
    let family = (filter, prop::option::of((rules(), rules())), nat, any::<bool>());
    (family.clone(), family).prop_map(|(v4, v6)| [(v4, 0), (v6, 1)].map(|(of, family)| table_of_iptables(of, family)))
}

type Rules = Vec<(Vec<&'static str>, &'static str)>;
type OfIptables =
    ((Rules, Rules, Rules, Rules, Rules, [bool; 2]), Option<(Rules, Rules)>, Option<Vec<&'static str>>, bool);

/// Whether iptables takes a rule in a chain: each option once; called chains call none that could call them; marks are
/// of the mangle table.
fn fits_iptables(chain: &str, line: &str, marks: bool) -> bool {
    let once = [
        "-p ",
        "-i ",
        "-s ",
        "-m mark",
        "-m addrtype",
        "-m conntrack",
        "-m multiport",
        "-m comment",
        "-m iprange",
        "-m length",
        "-m connmark",
        "-m physdev",
        "-m hashlimit",
    ];
    once.iter().all(|option| line.matches(option).count() < 2)
        && !(chain == "OUTPUT" && line.contains("-i "))
        && !(chain == "one" && line.contains(" one") || chain == "two" && line.contains("-j two"))
        && !(chain == "two" && line.contains(" one"))
        && (marks || !line.contains("MARK"))
        && !(marks && ["REJECT", " one", " two"].iter().any(|word| line.contains(word)))
}

fn table_of_iptables(of: OfIptables, family: usize) -> String {
    let ((one, two, input, forward, output, drops), mangle, nat, masquerades) = of;
    let own = |words: &'static str| match words.strip_prefix(['4', '6']) {
        Some(rest) => words.starts_with(['4', '6'][family]).then_some(rest),
        None => Some(words),
    };
    let line = |chain: &str, (matches, target): &(Vec<&'static str>, &'static str), marks: bool| {
        let words: Option<Vec<&str>> = matches.iter().chain([target]).map(|words| own(words)).collect();
        let line = words?.join(" ");
        fits_iptables(chain, &line, marks).then(|| format!("-A {chain} {line}\n"))
    };
    let lines = |chain: &str, rules: &Rules, marks: bool| -> String {
        rules.iter().filter_map(|rule| line(chain, rule, marks)).collect()
    };
    let policy = |drop: bool| if drop { "DROP" } else { "ACCEPT" };
    let mut text = format!(
        "*filter\n:INPUT {} [0:0]\n:FORWARD {} [0:0]\n:OUTPUT ACCEPT [0:0]\n:one - [0:0]\n:two - [0:0]\n",
        policy(drops[0]),
        policy(drops[1])
    );
    for (chain, rules) in
        [("INPUT", &input), ("FORWARD", &forward), ("OUTPUT", &output), ("one", &one), ("two", &two)]
    {
        text.push_str(&lines(chain, rules, false));
    }
    text.push_str("COMMIT\n");
    if let Some((prerouting, forward)) = mangle {
        let rules = [lines("PREROUTING", &prerouting, true), lines("FORWARD", &forward, true)].concat();
        text.push_str(&format!("*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n{rules}COMMIT\n"));
    }
    if let Some(rules) = nat {
        let lan = LAN[family].to_string();
        let with_port = if family == 1 { format!("[{lan}]") } else { lan.clone() };
        let rules: String = rules
            .iter()
            .map(|rule| format!("-A PREROUTING {}\n", rule.replace("LANP", &with_port).replace("LAN", &lan)))
            .collect();
        let masquerade = if masquerades { "-A POSTROUTING -o eth0 -j MASQUERADE\n" } else { "" };
        text.push_str(&format!(
            "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{rules}{masquerade}COMMIT\n"
        ));
    }
    text
}
