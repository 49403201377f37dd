//! Policies nobody would write by hand: valid ones that use every feature, and meet at every edge.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "policies/routed.rs"]
mod routed;

pub use routed::{DEFAULT_BRIDGES, Setting};

use palisade::facts::{Facts, Kernel, ListFile, ProtocolNames, ServiceNames};
use palisade::net::{AddressRange, Ports, Transport};
use palisade::policy::AddressList;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A valid policy as it is typed, with the files that it names.
#[derive(Clone)]
pub struct Written {
    /// The policy's text.
    pub text: String,
    /// The texts of the files by their names, relative to the policy.
    pub files: BTreeMap<String, String>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "\n{}", self.text)?;
        self.files.iter().try_for_each(|(name, text)| writeln!(f, "--- {name}\n{text}"))
    }
}

/// The facts of a machine that has the policy's files, and the names that generated policies use.
pub fn facts(written: &Written) -> Facts {
    let file = |(index, (name, text)): (usize, (&String, &String))| {
        let list = Ok(AddressList::of_text(index + 1, text));
        (name.clone(), ListFile { source: index + 1, path: name.into(), list })
    };
    Facts {
        services: Ok(ServiceNames::parse("ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttps 443/tcp\nhttps 443/udp\n")),
        protocols: Ok(ProtocolNames::parse("esp 50 ESP\nah 51 AH\n")),
        files: written.files.iter().enumerate().map(file).collect(),
        kernel: Kernel::NEWEST,
        ..Facts::default()
    }
}

/// How many cases to try, and which: as `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say, else so many with a seed of their
/// own. The seed is printed, so that a failure can be had again.
pub fn config(cases: u32) -> Config {
    let chosen = std::env::var_os("PROPTEST_CASES").map(|_| Config::default().cases);
    config_of(chosen.unwrap_or(cases))
}

/// So few cases of those that take many seconds each, and more only if `PROPTEST_CASES` is set.
pub fn config_of_few(cases: u32, more: u32) -> Config {
    config_of(if std::env::var_os("PROPTEST_CASES").is_some() { more } else { cases })
}

/// So many cases, whatever `PROPTEST_CASES` says.
pub fn config_of(cases: u32) -> Config {
    let defaults = Config::default();
    let seed = match defaults.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(cases),
    };
    eprintln!("{cases} cases, PROPTEST_RNG_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, max_shrink_iters: 300, ..defaults }
}

/// A range, and the text for it.
pub fn range() -> impl Strategy<Value = (AddressRange, String)> {
    // 0.0.0.0 and :: stand for no peer and are refused.
    let v4 = (1..=u32::MAX).prop_map(Ipv4Addr::from);
    let v6 = any::<u128>().prop_map(Ipv6Addr::from).prop_filter("an IPv6 address", |address| {
        address.to_ipv4_mapped().is_none() && *address != Ipv6Addr::UNSPECIFIED
    });
    ranges_of(v4.boxed(), v6.boxed())
}

/// Ranges near each other and near both ends, so that they touch, overlap and contain each other, and their texts.
pub fn crowded_range() -> impl Strategy<Value = (AddressRange, String)> {
    let v4 = prop_oneof![1_u32..6, 0x0a00_0000_u32..0x0a00_0012, u32::MAX - 5..=u32::MAX].prop_map(Ipv4Addr::from);
    let low = 0x2001_0db8_u128 << 96;
    let v6 = prop_oneof![1_u128..6, low..low + 18, u128::MAX - 5..=u128::MAX].prop_map(Ipv6Addr::from);
    ranges_of(v4.boxed(), v6.boxed())
}

fn ranges_of(
    v4: BoxedStrategy<Ipv4Addr>,
    v6: BoxedStrategy<Ipv6Addr>,
) -> impl Strategy<Value = (AddressRange, String)> {
    prop_oneof![
        v4.clone().prop_map(|a| (AddressRange::V4(a, a), a.to_string())),
        v6.clone().prop_map(|a| (AddressRange::V6(a, a), a.to_string())),
        (v4.clone(), v4.clone()).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            (AddressRange::V4(a, b), format!("{a}-{b}"))
        }),
        (v6.clone(), v6.clone()).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            (AddressRange::V6(a, b), format!("{a}-{b}"))
        }),
        (v4, 0_u8..=32).prop_map(|(a, length)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let first = u32::from(a) & mask;
            (AddressRange::V4(first.into(), (first | !mask).into()), format!("{}/{length}", Ipv4Addr::from(first)))
        }),
        (v6, 0_u8..=64).prop_map(|(a, length)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            let first = u128::from(a) & mask;
            (AddressRange::V6(first.into(), (first | !mask).into()), format!("{}/{length}", Ipv6Addr::from(first)))
        }),
    ]
}

pub fn ports() -> impl Strategy<Value = Ports> {
    (select(Transport::ALL.to_vec()), 1_u16.., 1_u16..).prop_map(|(transport, a, b)| Ports {
        transport,
        first: a.min(b),
        last: a.max(b),
    })
}

/// Interfaces: some that begin alike, some as long as can be, and letters that nft could take for its own grammar.
const INTERFACES: &[&str] = &[
    "eth0",
    "eth1",
    "eth10",
    "eth*",
    "e*",
    "et*",
    "eth0.100",
    "br-*",
    "br-0123456789ab",
    "fifteen-bytes-x",
    "fifteen-bytes-x*",
    "fourteen-bytes*",
    "lo",
    "wg0",
    "0",
    "1*",
    "a;b",
    "x$y",
    "#1",
    "{}",
    "@set",
    "drop",
    "any",
    "a,",
    "é0",
    "é*",
    "%s",
    "-x",
];
/// Names of groups and services: nft's own words among them, and the longest.
const NAMES: &[&str] = &[
    "a",
    "b",
    "ssh",
    "tcp",
    "ip",
    "drop",
    "accept",
    "set",
    "map",
    "fwd",
    "policy",
    "from",
    "any_",
    "services",
    "service-a",
    "input",
    "counter",
    "type",
    "A",
    "x-v5",
    "n0_-",
    "abcdefghijklmnopqrstuvwxyz-_0123",
    "filter-input",
    "lo",
    "log",
    "invalid",
];
/// Ports that meet: single ones in and at the ends of ranges, both ends of what there is.
const PORTS: &[&str] = &[
    "1",
    "2",
    "22",
    "23",
    "80",
    "443",
    "65534",
    "65535",
    "1-65535",
    "1-2",
    "20-25",
    "22-22",
    "23-30",
    "60000-61000",
    "60500-65535",
    "65534-65535",
];
const PROTOCOLS: &[&str] = &["esp", "50", "51", "1", "2", "47", "58", "255", "ah"];
const RATES: &[&str] = &["1/second", "1000000/second", "6/minute", "1/hour", "7/day", "3/week", "1000000/week"];
const COMMENTS: &[&str] = &[
    "x",
    "the trading dashboard",
    "a (b)",
    "ends like an origin (policy.yaml:3)",
    "it's $x @y {z}; #1 `d`",
    "naïve 日本 ☃",
    "~ null: [true] & *a !b %c",
    " blanks ",
    "0",
    "a hundred bytes long, which is the most that a comment may have, is this one, ending here exactly...",
];

/// A valid policy, whose containers are behind the bridges of engines. It has no section `expect`.
pub fn policy() -> impl Strategy<Value = Written> {
    policy_of(DEFAULT_BRIDGES)
}

/// A valid policy with one of these settings of containers. It has no section `expect`.
pub fn policy_of(settings: &'static [Setting]) -> impl Strategy<Value = Written> {
    let names = prop::sample::subsequence(NAMES, 0..6).prop_shuffle();
    let files = prop::collection::vec(list(), 0..3);
    (defaults(), names, files, (0..settings.len()).prop_map(|index| &settings[index]))
        .prop_flat_map(|(defaults, names, files, setting)| {
            let count = files.len();
            let names: Vec<_> = names.into_iter().filter(|name| *name != "any").collect();
            // A group may hold those before it, which is every way not to make a ring.
            let members: Vec<_> = (0..names.len()).map(|index| peers(names[..index].to_vec(), count, 0..6)).collect();
            (Just(defaults), Just(names), members, Just(files), Just(setting))
        })
        .prop_flat_map(|(defaults, names, members, files, setting)| {
            let groups: Vec<_> = names.into_iter().zip(members).collect();
            let around = routed::Around::new(setting, &defaults, &groups, files.len());
            let services = services(around.groups(), files.len());
            let block = (peers(around.groups(), files.len(), 0..5), any::<bool>()).prop_map(|(mut block, banned)| {
                block.extend(banned.then_some(Peer::Group("banned")));
                block
            });
            let block = prop::option::of(block);
            (Just(defaults), Just(groups), services, around.sections(), block, Just(files))
        })
        .prop_map(|(defaults, groups, services, (containers, rules), block, files)| {
            let mut text = format!("version: 1\n{}{containers}", defaults.text);
            let own = groups.iter().map(|(name, list)| format!("{name}: {}", listed(list)));
            section(&mut text, "groups", own.chain(routed::GROUPS.map(str::to_owned)));
            section(&mut text, "services", services.into_iter());
            text.push_str(&rules);
            if let Some(block) = block {
                text.push_str(&format!("block: {}\n", listed(&block)));
            }
            let files = files.iter().enumerate().map(|(index, lines)| {
                let lines: Vec<String> = lines.iter().map(|line| format!("  {line} # {index}\n")).collect();
                (format!("list-{index}"), format!("# a list\n\n{}", lines.concat()))
            });
            Written { text, files: files.collect() }
        })
}

fn section(text: &mut String, name: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.map(|entry| format!("  {entry}\n")).collect();
    if !entries.is_empty() {
        text.push_str(&format!("{name}:\n{}", entries.concat()));
    }
}

/// The sections `defaults` and `log`.
#[derive(Clone, Debug)]
struct Defaults {
    text: String,
    /// Whether what this machine opens is denied.
    keeps_in: bool,
    /// Whether what passes through it is denied.
    keeps_apart: bool,
}

fn defaults() -> impl Strategy<Value = Defaults> {
    let verdict = || prop::option::of(select(vec!["allow", "deny", "reject"]));
    let ping = prop::option::of(select(vec!["allow", "deny"]));
    let denied = prop::option::of(select([&["off"], RATES].concat()));
    let path = prop::option::of(select(vec!["off", "strict"]));
    (verdict(), verdict(), verdict(), ping, path, denied).prop_map(
        |(incoming, outgoing, forward, ping, path, denied)| {
            let of = [("incoming", incoming), ("outgoing", outgoing), ("forward", forward), ("ping", ping)];
            let mut text = String::new();
            let given = of.into_iter().chain([("reverse_path", path)]);
            let given = given.filter_map(|(key, word)| Some(format!("{key}: {}", word?)));
            section(&mut text, "defaults", given);
            text.extend(denied.map(|rate| format!("log: {{ denied: {rate} }}\n")));
            let keeps_in = outgoing.is_some_and(|word| word != "allow");
            Defaults { text, keeps_in, keeps_apart: forward != Some("allow") }
        },
    )
}

/// An address, network or range as text.
fn address() -> impl Strategy<Value = String> {
    let edge = select(vec![
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "0.0.0.0-255.255.255.255",
        "0.0.0.0-0.0.0.9",
        "255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "10.0.0.3/32",
        "2001:db8::3/128",
        "fe80::/10",
        "224.0.0.0/4",
    ]);
    prop_oneof![
        6 => crowded_range().prop_map(|(_, text)| text),
        2 => range().prop_map(|(_, text)| text),
        1 => edge.prop_map(str::to_owned),
    ]
}

/// The lines of a file. A file that names everyone of an IP version is refused.
fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(address(), 0..8).prop_map(|addresses| {
        let mut lines = Vec::new();
        for address in addresses {
            lines.push(address);
            if AddressList::of_text(0, &lines.join("\n")).names_everyone() {
                lines.pop();
            }
        }
        lines
    })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON, and JSON is YAML")
}

/// One peer as it is typed.
#[derive(Clone, Debug)]
enum Peer {
    /// An address, or a file.
    Address(String),
    Group(&'static str),
    Interface(&'static str),
}

impl Peer {
    fn text(&self) -> String {
        match self {
            Self::Address(text) => text.clone(),
            Self::Group(name) => (*name).to_owned(),
            Self::Interface(name) => format!("{{ interface: {} }}", quoted(name)),
        }
    }
}

fn listed(peers: &[Peer]) -> String {
    format!("[{}]", peers.iter().map(Peer::text).collect::<Vec<_>>().join(", "))
}

/// A list of peers.
fn peers(groups: Vec<&'static str>, files: usize, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Peer>> {
    let groups = [groups, vec!["private"]].concat();
    let peer = prop_oneof![
        5 => address().prop_map(|text| Peer::Address(quoted(&text))),
        3 => select(groups).prop_map(Peer::Group),
        1 => select(INTERFACES).prop_map(Peer::Interface),
        1 => any::<Index>().prop_map(move |index| Peer::Address(match files {
            0 => "192.0.2.1".to_owned(),
            files => format!("{{ file: list-{} }}", index.index(files)),
        })),
    ];
    prop::collection::vec(peer, count)
}

/// Ports, or other protocols, or echo requests.
fn port() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (select(PORTS), select(vec!["tcp", "udp", "sctp"])).prop_map(|(port, name)| format!("{port}/{name}")),
        2 => ports().prop_map(|ports| ports.to_string()),
        2 => select(PROTOCOLS).prop_map(|name| format!("{name}/proto")),
        2 => select(vec!["ssh", "domain", "https"]).prop_map(str::to_owned),
        1 => Just("ping".to_owned()),
    ]
}

/// The lists `ports` of services and rules, or nothing but `any`.
fn port_list() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        8 => prop::collection::vec(port(), 1..5),
        1 => Just(vec!["any".to_owned()]),
    ]
}

/// Lists of interfaces.
fn interfaces() -> impl Strategy<Value = String> {
    let on = prop::collection::vec(select(INTERFACES).prop_filter("says nothing", |name| *name != "any"), 1..4);
    on.prop_map(|names| format!("[{}]", names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")))
}

/// Services as they are typed: some forward, each its own ports, so that no two of them meet.
fn services(groups: Vec<&'static str>, files: usize) -> impl Strategy<Value = Vec<String>> {
    let target = prop::option::weighted(0.15, (select(routed::TARGETS), any::<bool>(), any::<bool>()));
    let named = prop::sample::subsequence(NAMES, 0..8);
    let forwards = prop::collection::vec(target, NAMES.len());
    (named, forwards).prop_flat_map(move |(names, forwards)| {
        let any_forwards = forwards.iter().take(names.len()).any(Option::is_some);
        let services: Vec<_> = names
            .iter()
            .zip(forwards)
            .enumerate()
            .map(|(index, (name, target))| {
                let target = target.map(|(target, port, udp)| routed::Forward::new(index, target, port, udp));
                service(name, groups.clone(), files, any_forwards, target)
            })
            .collect();
        services
    })
}

fn service(
    name: &'static str,
    groups: Vec<&'static str>,
    files: usize,
    beside_forwards: bool,
    forward: Option<routed::Forward>,
) -> impl Strategy<Value = String> {
    let from = prop_oneof![
        1 => Just("any".to_owned()),
        3 => peers(groups.clone(), files, 1..6).prop_map(|list| listed(&list)),
    ];
    let except = prop::option::of(peers(groups, files, 0..4).prop_map(|list| listed(&list)));
    // No target may be an address that services say is this machine's.
    let own = if beside_forwards { select(routed::OWN).prop_map(str::to_owned).boxed() } else { address().boxed() };
    let to = prop::collection::vec(own.prop_map(|text| quoted(&text)), 1..4);
    let to = prop::option::of(to.prop_map(|to| format!("[{}]", to.join(", "))));
    let limit = prop::option::of(select(RATES));
    let comment = prop::option::of(select(COMMENTS));
    let action = prop::option::weighted(0.25, select(vec!["allow", "deny", "reject"]));
    let from = (from, any::<bool>());
    (port_list(), from, except, (to, prop::option::of(interfaces())), limit, any::<bool>(), comment, action).prop_map(
        move |(mut ports, (from, visit), except, (to, on), limit, log, comment, action)| {
            let action = action.filter(|_| forward.is_none());
            let denies = action.is_some_and(|action| action != "allow");
            let from = routed::with_visitors(from, visit && !denies);
            if let Some(forward) = &forward {
                ports = forward.ports();
            } else if beside_forwards && !denies {
                ports.retain(|port| !routed::Forward::may_meet(port));
                ports.extend(ports.is_empty().then(|| "22/tcp".to_owned()));
            }
            let given = [
                ("except", except),
                ("to", to),
                ("on", on),
                ("limit", limit.filter(|_| !denies).map(str::to_owned)),
                ("action", action.map(str::to_owned)),
                ("forward_to", forward.as_ref().map(routed::Forward::target)),
                ("log", log.then(|| "true".to_owned())),
                ("comment", comment.map(quoted)),
            ];
            format!("{name}: {{ ports: [{}], from: {from}{} }}", ports.join(", "), keys(given))
        },
    )
}

/// `, KEY: VALUE` for each key that is given.
fn keys<const N: usize>(given: [(&str, Option<String>); N]) -> String {
    given.into_iter().filter_map(|(key, value)| Some(format!(", {key}: {}", value?))).collect()
}
