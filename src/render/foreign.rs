//! Other programs' expressions as nft statements, and iptables matches and targets as close to nft as possible.

use super::text::quoted;
use super::value::Kind;
use crate::ruleset::xt::{ConnectionMark, Conntrack, Match, Range, Target};
use crate::ruleset::{AddressType, Extension};

/// `XT_CONNTRACK_STATE_*`.
const STATES: [(u16, &str); 7] =
    [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "snat"), (128, "dnat"), (256, "untracked")];

/// A match of iptables.
pub(super) fn matches(extension: &Extension) -> String {
    let Some(known) = extension.as_match() else { return unknown("match", extension) };
    let not = |inverted: bool| if inverted { "!= " } else { "" };
    let of_protocol = match extension.name.as_str() {
        "udp" => "udp",
        "tcp" => "tcp",
        _ => "th",
    };
    match known {
        Match::Comment => String::new(),
        Match::Limit => "limit".to_owned(),
        Match::Conntrack(asked) => conntrack(&asked),
        Match::AddressType { source, destination, flags } => {
            let one = |field, mask: u16, inverted: bool| {
                (mask != 0).then(|| format!("fib {field} type {}{}", not(inverted), bits(mask)))
            };
            let both = [one("saddr", source, flags & 1 != 0), one("daddr", destination, flags & 2 != 0)];
            join(both.into_iter().flatten())
        }
        Match::Ports { source, destination, flags } => {
            let ports = [range(of_protocol, "sport", source), range(of_protocol, "dport", destination)];
            join(ports.into_iter().chain([flags.map(tcp_flags)]).flatten())
        }
        Match::Multiport { which, ranges, inverted } => {
            let field = ["sport", "dport", "sport or dport"].get(usize::from(which)).copied().unwrap_or_default();
            let ranges: Vec<String> = ranges.into_iter().map(|(first, last)| span(first, last)).collect();
            format!("{of_protocol} {field} {}{{ {} }}", not(inverted), ranges.join(", "))
        }
        Match::Icmp { kind: None, .. } => String::new(),
        Match::Icmp { kind: Some(kind), codes, inverted } => icmp(&extension.name, kind, codes, not(inverted)),
        Match::Mark { mark, mask, inverted } => marked("meta mark", mark, mask, not(inverted)),
        Match::HopLimit { mode, value } => {
            let sign = ["", "!= ", "< ", "> "].get(usize::from(mode)).copied().unwrap_or("? ");
            let field = if extension.name == "ttl" { "ip ttl" } else { "ip6 hoplimit" };
            format!("{field} {sign}{value}")
        }
        Match::Recent { remembers: true, .. } => "remember source".to_owned(),
        Match::Recent { hits, inverted, .. } => {
            format!("source {}seen {hits} times recently", if inverted { "not " } else { "" })
        }
        Match::RoutingHeader => "exthdr rt exists".to_owned(),
        Match::ConnectionMark { mark, mask, inverted } => marked("ct mark", mark, mask, not(inverted)),
        Match::AddressRange { source, destination } => address_ranges(extension, source, destination),
        Match::HashLimit { over } => format!("limit {}for each", if over { "over " } else { "" }),
        Match::Length { least, most, inverted } => format!("meta length {}{least}-{most}", not(inverted)),
        Match::PacketType { kind, inverted } => {
            let names = ["host", "broadcast", "multicast", "other"];
            let name = usize::try_from(kind).ok().and_then(|kind| names.get(kind)).copied().unwrap_or("?");
            format!("meta pkttype {}{name}", not(inverted))
        }
        Match::BridgePort { .. } => "port of a bridge".to_owned(),
        Match::ReversePath { loose, inverted, .. } => {
            let iif = if loose { "" } else { " . iif" };
            format!("fib saddr{iif} oif {}", if inverted { "missing" } else { "exists" })
        }
        Match::Uncertain(_) => extension.name.clone(),
    }
}

fn tcp_flags((mask, set, inverted): (u8, u8, bool)) -> String {
    let sign = if inverted { "!=" } else { "==" };
    format!("tcp flags & {mask:#x} {sign} {set:#x}")
}

fn icmp(name: &str, kind: u8, codes: (u8, u8), not: &str) -> String {
    let (protocol, kinds) = if name == "icmp" { ("icmp", Kind::IcmpType) } else { ("icmpv6", Kind::Icmpv6Type) };
    let code = (codes != (0, u8::MAX)).then(|| format!(" {protocol} code {}-{}", codes.0, codes.1));
    format!("{protocol} type {not}{}{}", kinds.value(&[kind]), code.unwrap_or_default())
}

fn marked(field: &str, mark: u32, mask: u32, not: &str) -> String {
    let mask = if mask == u32::MAX { String::new() } else { format!("& {mask:#x} ") };
    format!("{field} {mask}{not}{mark:#x}")
}

/// A target of iptables, in an IPv4 or an IPv6 table.
pub(super) fn target(extension: &Extension, ipv4: bool) -> String {
    match extension.as_target(ipv4) {
        None => unknown("target", extension),
        Some(Target::Continue) => extension.name.to_lowercase(),
        Some(Target::Mark { clears: u32::MAX, flips }) => format!("meta mark set {flips:#x}"),
        Some(Target::Mark { clears, flips }) => format!("meta mark set mark & {:#x} ^ {flips:#x}", !clears),
        Some(Target::Dnat { address, port }) => {
            let address = address.map_or_else(String::new, |address| address.to_string());
            match port {
                None => format!("dnat to {address}"),
                Some(port) if address.contains(':') => format!("dnat to [{address}]:{port}"),
                Some(port) => format!("dnat to {address}:{port}"),
            }
        }
        Some(Target::Snat) => if extension.name == "SNAT" { "snat" } else { "masquerade" }.to_owned(),
        Some(Target::Redirect { port: None }) => "redirect".to_owned(),
        Some(Target::Redirect { port: Some(port) }) => format!("redirect to :{port}"),
        Some(Target::Notrack) => "notrack".to_owned(),
        Some(Target::ConnectionMark(ConnectionMark::Set { clears: u32::MAX, flips })) => {
            format!("ct mark set {flips:#x}")
        }
        Some(Target::ConnectionMark(ConnectionMark::Set { clears, flips })) => {
            format!("ct mark set ct mark & {:#x} ^ {flips:#x}", !clears)
        }
        Some(Target::ConnectionMark(ConnectionMark::Save { .. })) => "ct mark set meta mark".to_owned(),
        Some(Target::ConnectionMark(ConnectionMark::Restore { .. })) => "meta mark set ct mark".to_owned(),
        Some(Target::Reject { reset: true }) => "reject with tcp reset".to_owned(),
        Some(Target::Reject { reset: false }) => "reject".to_owned(),
    }
}

/// A log with its own level or flags.
pub(super) fn log(prefix: &str, level: Option<u32>, flags: Option<u32>) -> String {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    let mut text = "log".to_owned();
    if !prefix.is_empty() {
        text.push_str(&format!(" prefix {}", quoted(prefix)));
    }
    if let Some(level) = level {
        let name = usize::try_from(level).ok().and_then(|level| LEVELS.get(level));
        text.push_str(&name.map_or_else(|| format!(" level {level}"), |name| format!(" level {name}")));
    }
    if let Some(flags) = flags.filter(|flags| *flags != 0) {
        text.push_str(&format!(" flags {flags:#x}"));
    }
    text
}

/// A reject with an ICMP or ICMPv6 error.
pub(super) fn reject(ipv6: bool, code: u8) -> String {
    const V4: [(u8, &str); 7] = [
        (0, "net-unreachable"),
        (1, "host-unreachable"),
        (2, "prot-unreachable"),
        (3, "port-unreachable"),
        (9, "net-prohibited"),
        (10, "host-prohibited"),
        (13, "admin-prohibited"),
    ];
    const V6: [(u8, &str); 6] = [
        (0, "no-route"),
        (1, "admin-prohibited"),
        (3, "addr-unreachable"),
        (4, "port-unreachable"),
        (5, "policy-fail"),
        (6, "reject-route"),
    ];
    let (protocol, names) = if ipv6 { ("icmpv6", &V6[..]) } else { ("icmp", &V4[..]) };
    let name = names.iter().find(|(number, _)| *number == code);
    name.map_or_else(
        || format!("reject with {protocol} {code}"),
        |(_, name)| format!("reject with {protocol} {name}"),
    )
}

/// Flags of a translation, with their names in nft.
const CHOICES: [(u32, &str); 3] = [(0x4, "random"), (0x10, "fully-random"), (0x8, "persistent")];

/// The `NF_NAT_RANGE_*` flags that nft can't express.
pub(super) fn unknown_choices(flags: u32) -> u32 {
    // The registers tell whether addresses and ports are translated.
    const FOLLOWS: u32 = 0x1 | 0x2;
    CHOICES.iter().fold(flags & !FOLLOWS, |rest, (bit, _)| rest & !bit)
}

/// How a translation chooses among addresses and ports, and the unknown `NF_NAT_RANGE_*` flags.
pub(super) fn choices(flags: u32) -> String {
    let names = CHOICES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned());
    let rest = unknown_choices(flags);
    let names: Vec<String> = names.chain((rest != 0).then(|| format!("<unknown flags {rest:#x}>"))).collect();
    if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) }
}

/// A reference to a named object.
pub(super) fn object(kind: u32, object: &str) -> String {
    format!("{} {}", object_statement(kind), quoted(object))
}

/// The words before the name of an object of that `NFT_OBJECT_*` type, or before the map that leads to it.
pub(super) fn object_statement(kind: u32) -> &'static str {
    const KINDS: [&str; 11] = [
        "object",
        "counter name",
        "quota name",
        "ct helper set",
        "limit name",
        "connlimit name",
        "tunnel name",
        "ct timeout set",
        "meta secmark set",
        "ct expectation set",
        "synproxy name",
    ];
    KINDS.get(usize::try_from(kind).unwrap_or_default()).copied().unwrap_or("object")
}

/// A range of addresses of one end of a connection.
type AddressRange = Option<([u8; 16], [u8; 16], bool)>;

/// `iprange`, whose structure does not tell the version of IP: only IPv4 leaves all but the first four bytes empty.
fn address_ranges(extension: &Extension, source: AddressRange, destination: AddressRange) -> String {
    let ipv4 = extension.info.chunks(16).take(4).all(|address| address.iter().skip(4).all(|byte| *byte == 0));
    let (name, kind, len) = if ipv4 { ("ip", Kind::Ipv4, 4) } else { ("ip6", Kind::Ipv6, 16) };
    let one = |field: &str, range: AddressRange| {
        let (first, last, inverted) = range?;
        let not = if inverted { "!= " } else { "" };
        let of = |address: [u8; 16]| kind.value(address.get(..len).unwrap_or_default());
        Some(format!("{name} {field} {not}{}-{}", of(first), of(last)))
    };
    join([one("saddr", source), one("daddr", destination)].into_iter().flatten())
}

fn unknown(kind: &str, extension: &Extension) -> String {
    format!("<unknown iptables {kind} {}>", quoted(&extension.name))
}

fn conntrack(asked: &Conntrack) -> String {
    let not = |inverted: bool| if inverted { "!= " } else { "" };
    let state = asked.state.map(|(mask, inverted)| {
        let names: Vec<_> = STATES.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
        format!("ct state {}{}", not(inverted), names.join(","))
    });
    let status = asked.status.map(|(mask, inverted)| {
        let text = Kind::CtStatus.flags(&u32::from(mask).to_ne_bytes()).unwrap_or_else(|| format!("{mask:#x}"));
        format!("ct status {}{text}", not(inverted))
    });
    let direction = asked.reply.map(|reply| format!("ct direction {}", if reply { "reply" } else { "original" }));
    let protocol = asked.protocol.map(|(number, inverted)| {
        let number = u8::try_from(number).unwrap_or_default();
        format!("ct protocol {}{}", not(inverted), Kind::Protocol.value(&[number]))
    });
    let port =
        asked.port.map(|port| format!("ct original proto-dst {}{}", not(port.inverted), span(port.first, port.last)));
    join([state, status, direction, protocol, port].into_iter().flatten())
}

fn range(protocol: &str, field: &str, range: Range) -> Option<String> {
    let asked = (range.first, range.last) != (0, u16::MAX) || range.inverted;
    let not = if range.inverted { "!= " } else { "" };
    asked.then(|| format!("{protocol} {field} {not}{}", span(range.first, range.last)))
}

fn span(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// nft's names for the bits of a mask of `1 << RTN_*`.
fn bits(mask: u16) -> String {
    let names = (0..16).filter(|bit| mask & (1 << bit) != 0);
    let names: Vec<String> = names.map(|number| AddressType::from_number(number).to_string()).collect();
    names.join(",")
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}
