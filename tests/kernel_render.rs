//! Stock nft reads what palisade prints, and builds from it the expressions that were printed.
//!
//! Every nft runs in a network namespace of its own. `PALISADE_NFT` names further nft commands to try, separated by
//! colons.

mod statements;
mod support;

use palisade::netlink::Socket;
use palisade::render;
use palisade::ruleset::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a shell script in a new network namespace with `input`; what it printed, or `None` when it failed.
fn in_namespace(script: &str, input: &str) -> Result<String, String> {
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))) }
}

/// The nft commands to try.
fn nfts() -> Vec<String> {
    let more = std::env::var("PALISADE_NFT").unwrap_or_default();
    let all = ["nft"].into_iter().chain(more.split(':')).filter(|nft| !nft.is_empty());
    all.map(str::to_owned).collect()
}

#[test]
fn nft_builds_from_each_rule_the_expressions_that_were_printed() {
    let table = statements::table();
    let text = render::table(&TableId::palisade(), &table);
    for nft in nfts() {
        let built = in_namespace(&format!("{nft} --debug=netlink -f - 2>&1"), &text).unwrap();
        for (chain, wanted) in &table.chains {
            let wanted: Vec<String> = wanted.rules.iter().map(|rule| trace(&rule.exprs)).collect();
            assert_eq!(rules_built(&built, chain), wanted, "{nft}, chain {chain}");
        }
    }
}

#[test]
fn nft_lists_what_it_read_in_the_words_that_it_was_given() {
    let text = render::table(&TableId::palisade(), &statements::table());
    for nft in nfts() {
        let listed = in_namespace(&format!("{nft} -f - && {nft} list table inet palisade"), &text).unwrap();
        assert_eq!(normal(&listed), normal(&text), "{nft}");
    }
}

/// What other programs write, in the words in which nft lists it.
const OF_OTHERS: &str = "table inet t {
 chain c {
  fib saddr . iif oif exists accept
  fib saddr . iif oif missing drop
  fib daddr oif exists accept
  fib saddr . iif oif != 0 accept
  tcp flags == syn accept
  tcp flags syn accept
  tcp flags syn / syn,ack accept
  tcp flags != syn accept
  tcp flags & syn == syn drop
  tcp flags fin,syn / fin,syn drop
 }
 chain n {
  type nat hook prerouting priority 0;
  tcp dport 1 dnat to :80
  tcp dport 3 dnat ip6 to [2001:db8::1]:80
  ip daddr 10.0.0.1 tcp dport 4 dnat to :81
  tcp dport 5 dnat ip to 10.0.0.2:82
  tcp dport 6 redirect to :83
 }
}
";

/// The same of concatenations, of which palisade says all conditions that nft leaves out.
const CONCATENATED: &str =
    "meta nfproto ipv4 meta l4proto tcp ip saddr . tcp dport { 10.0.0.1-10.0.0.9 . 80-90, 10.1.0.0/16 . 22 } accept
meta nfproto ipv6 meta l4proto tcp ip6 saddr . tcp dport { 2001:db8::/64 . 80-90 } accept";

#[test]
fn what_others_wrote_is_said_in_the_words_in_which_nft_lists_it() {
    let inside = support::namespace::Namespace::new();
    inside.nft_load(OF_OTHERS);
    let live = inside.run(|| Socket::open().and_then(|socket| socket.live())).expect("the rules can be read");
    let (id, table) = live.ruleset.tables.first_key_value().expect("there is one table");

    for (name, chain) in &table.chains {
        let listed =
            support::namespace::output(inside.command("nft").args(["list", "chain", "inet", "t", name])).success();
        let listed: Vec<&str> = listed.lines().map(str::trim).collect();
        let ends = ["table", "chain", "type", "}"];
        let listed: Vec<&str> =
            listed.into_iter().filter(|line| !ends.iter().any(|end| line.starts_with(end))).collect();
        let said: Vec<String> = chain.rules.iter().map(|rule| render::rule(id.family, rule)).collect();
        assert_eq!(said, listed, "chain {name}");
    }
    inside.nft_load(&format!("flush ruleset\ntable inet t {{\nchain c {{\n{CONCATENATED}\n}}\n}}"));
    let live = inside.run(|| Socket::open().and_then(|socket| socket.live())).expect("the rules can be read");
    let rules = live.ruleset.tables.values().flat_map(|table| table.chains.values()).flat_map(|chain| &chain.rules);
    let said: Vec<String> = rules.map(|rule| render::rule(Family::Inet, rule)).collect();
    assert_eq!(said.join("\n"), CONCATENATED);
}

/// The rules of a chain in what `nft --debug=netlink` printed, one expression a line.
fn rules_built(debug: &str, chain: &str) -> Vec<String> {
    let mut rules = Vec::new();
    let mut inside = false;
    for line in debug.lines() {
        if line.starts_with("  [ ") {
            if let (true, Some(rule)) = (inside, rules.last_mut()) {
                *rule = format!("{rule}{}\n", line.trim());
            }
        } else if !line.trim().is_empty() {
            inside = line.trim() == format!("inet palisade {chain}");
            rules.extend(inside.then(String::new));
        }
    }
    rules
}

/// Expressions as `nft --debug=netlink` prints them.
fn trace(exprs: &[Expr]) -> String {
    exprs.iter().map(|expr| format!("[ {} ]\n", trace_one(expr))).collect()
}

#[expect(clippy::too_many_lines, reason = "one arm for each expression")]
fn trace_one(expr: &Expr) -> String {
    match expr {
        Expr::Meta { key, dreg } => {
            let key = match key {
                MetaKey::Iifname => "iifname",
                MetaKey::Oifname => "oifname",
                MetaKey::Nfproto => "nfproto",
                MetaKey::L4proto => "l4proto",
                _ => panic!("palisade compiles no other key"),
            };
            format!("meta load {key} => reg {}", dreg.number())
        }
        Expr::Ct { key, direction, dreg } => {
            let key = match key {
                CtKey::State => "state",
                CtKey::Status => "status",
                CtKey::DstIp => "dst_ip",
                CtKey::DstIp6 => "dst_ip6",
                CtKey::ProtoDst => "proto_dst",
                _ => panic!("palisade compiles no other key"),
            };
            let direction = direction.map_or("", |_| " , dir original");
            format!("ct load {key} => reg {}{direction}", dreg.number())
        }
        Expr::Payload { base, offset, len, dreg } => {
            let base = if *base == PayloadBase::Network { "network" } else { "transport" };
            format!("payload load {len}b @ {base} header + {offset} => reg {}", dreg.number())
        }
        Expr::Cmp { op, sreg, data } => {
            let op = if *op == Cmp::Eq { "eq" } else { "neq" };
            format!("cmp {op} reg {} {}", sreg.number(), words(data))
        }
        Expr::Bitwise { sreg, dreg, mask, xor } => {
            let (sreg, dreg) = (sreg.number(), dreg.number());
            format!("bitwise reg {dreg} = ( reg {sreg} & {} ) ^ {}", words(mask), words(xor))
        }
        Expr::Lookup { set, sreg, dreg, inverted } => {
            let set = match set {
                SetRef::Named(name) => name,
                SetRef::Anonymous(set) if set.spec.value.is_some() => "__map%d",
                SetRef::Anonymous(_) => "__set%d",
            };
            let dreg = dreg.map_or(String::new(), |dreg| format!(" dreg {}", dreg.number()));
            let inverted = if *inverted { " 0x1" } else { "" };
            format!("lookup reg {} set {set}{dreg}{inverted}", sreg.number())
        }
        Expr::Dynset { set, sreg_key, exprs, .. } => {
            let inner: Vec<String> = exprs.iter().map(|expr| format!("[ {} ]", trace_one(expr))).collect();
            format!("dynset update reg_key {} set {set} expr {}", sreg_key.number(), inner.join(" "))
        }
        Expr::Fib { result, flags, dreg } => {
            let fields: Vec<&str> = [(1, "saddr"), (2, "daddr"), (8, "iif")]
                .into_iter()
                .filter_map(|(bit, name)| (flags & bit != 0).then_some(name))
                .collect();
            let result = match result {
                FibResult::Oif => "oif",
                FibResult::OifName => "oifname",
                FibResult::Type => "type",
            };
            let present = if flags & fib_flags::PRESENT != 0 { " present" } else { "" };
            format!("fib {} {result}{present} => reg {}", fields.join(" . "), dreg.number())
        }
        Expr::Verdict(Verdict::Jump(chain)) => format!("immediate reg 0 jump -> {chain}"),
        Expr::Verdict(Verdict::Goto(chain)) => format!("immediate reg 0 goto -> {chain}"),
        Expr::Verdict(verdict) => format!("immediate reg 0 {}", render::verdict(verdict)),
        Expr::Counter { packets, bytes } => format!("counter pkts {packets} bytes {bytes}"),
        Expr::Limit(limit) => {
            let (unit, over) = (limit.unit.name(), u8::from(limit.over));
            format!("limit rate {}/{unit} burst {} type packets flags {over:#x}", limit.rate, limit.burst)
        }
        Expr::Log(log) => {
            let group = log.group.map_or(String::new(), |group| format!(" group {group} snaplen 0 qthreshold 0"));
            format!("log prefix {}{group}", log.prefix)
        }
        Expr::Reject(Reject::TcpReset) => "reject type 1 code 0".to_owned(),
        Expr::Reject(Reject::Icmpx(code)) => format!("reject type 2 code {}", *code as u8),
        Expr::Foreign(_) | Expr::Unknown { .. } => panic!("palisade compiles no such expression"),
    }
}

/// Bytes as libnftnl prints a register: 32-bit words in this machine's byte order, the last one filled with zeros.
fn words(bytes: &[u8]) -> String {
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        format!("{:#010x}", u32::from_ne_bytes(word))
    };
    bytes.chunks(4).map(word).collect::<Vec<_>>().join(" ")
}

/// A listing without what nft writes as it pleases: indentation, line breaks in a set, the order of a hash set's
/// elements, and what it leaves out because it is its default.
fn normal(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match lines.last_mut() {
            Some(open) if open.starts_with("elements = {") && !open.ends_with('}') => {
                *open = format!("{open} {line}")
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.iter().map(|line| sorted_elements(&defaults_left_out(line))).collect()
}

fn defaults_left_out(line: &str) -> String {
    line.replace(" packets 0 bytes 0", "")
        .replace(" burst 5 packets", "")
        .replace("reject with icmpx port-unreachable", "reject")
        .replace("ct status & dnat == 0x0", "ct status ! dnat")
}

fn sorted_elements(line: &str) -> String {
    match (line.split_once("{ "), line.rsplit_once(" }")) {
        (Some((before, _)), Some((_, after))) => {
            let inner = &line[before.len() + 2..line.len() - after.len() - 2];
            let mut elements: Vec<&str> = inner.split(", ").map(str::trim).collect();
            elements.sort_unstable();
            format!("{before}{{ {} }}{after}", elements.join(", "))
        }
        _ => line.to_owned(),
    }
}
