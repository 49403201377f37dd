//! Random rulesets, as people write them: one table of the family inet, or one for each IP version.

use palisade::ruleset::{
    BaseChain, Chain, Cmp, CtKey, Element, Expr, Family, Hook, IcmpxCode, KeyType, Limit, LimitUnit, MetaKey,
    PayloadBase, Policy, Register, Reject, Rule, Set, SetFlags, SetRef, SetSpec, Table, TableId, Verdict,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;

const R: Register = Register::ONE;

/// A part of a rule that packets have to match.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// By the interface: its name, whether it is a beginning, and whether it is any other.
    Interface(&'static str, bool, bool),
    /// From a network: its address, the length of its prefix, and whether from any other.
    From(&'static str, u8, bool),
    /// From a set, by its name.
    FromSet(&'static str, bool),
    /// To an address of this machine.
    To(&'static str),
    /// Ports of a protocol.
    Ports(u8, Vec<(u16, u16)>),
    /// A protocol.
    Protocol(u8),
    New,
    Limit,
}

/// A rule: its tests and its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Line(pub(crate) Vec<Test>, pub(crate) End);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Accept,
    Drop,
    Reject,
    Jump,
    Return,
}

/// A ruleset: the lines of the chain for what comes in, those of one that it calls, and whether the policy is to drop.
#[derive(Clone, Debug)]
pub(crate) struct Ruleset {
    pub(crate) input: Vec<Line>,
    pub(crate) called: Vec<Line>,
    pub(crate) drops: bool,
}

/// The sets that rules name.
const SETS: [(&str, &[&str]); 3] = [
    ("office", &["198.51.100.0/28", "203.0.113.66/32"]),
    ("bad", &["203.0.113.0/25", "192.0.2.9/32", "10.0.0.0/8"]),
    ("six", &["2001:db8:5::/48", "2001:db8::66/128"]),
];

fn test(limits: bool) -> impl Strategy<Value = Test> {
    let networks = vec![
        ("198.51.100.0", 24),
        ("198.51.100.7", 32),
        ("10.0.0.0", 8),
        ("203.0.113.64", 26),
        ("2001:db8::", 32),
        ("2001:db8::66", 128),
        ("fe80::", 10),
    ];
    let ports = vec![
        vec![(22, 22)],
        vec![(80, 80), (443, 443)],
        vec![(8000, 8100)],
        vec![(1, 1023)],
        vec![(53, 53)],
        vec![(1024, 65_535)],
    ];
    let inverted = || prop::bool::weighted(0.15);
    prop_oneof![
        3 => (select(vec![("eth0", false), ("eth1", false), ("wg0", false), ("eth", true)]), inverted())
            .prop_map(|((name, wide), inverted)| Test::Interface(name, wide, inverted)),
        4 => (select(networks), inverted()).prop_map(|((at, bits), inverted)| Test::From(at, bits, inverted)),
        2 => (select(vec!["office", "bad", "six"]), inverted()).prop_map(|(name, inverted)| Test::FromSet(name, inverted)),
        1 => select(vec!["203.0.113.1", "10.77.0.1", "2001:db8::1"]).prop_map(Test::To),
        8 => (select(vec![6, 6, 17]), select(ports)).prop_map(|(protocol, ports)| Test::Ports(protocol, ports)),
        1 => select(vec![47, 50, 6, 17]).prop_map(Test::Protocol),
        1 => Just(Test::New),
        u32::from(limits) => Just(Test::Limit),
    ]
}

fn line(limits: bool, ends: Vec<End>) -> impl Strategy<Value = Line> {
    (prop::collection::vec(test(limits), 0..4), select(ends)).prop_map(|(tests, end)| Line(tests, end))
}

/// Any ruleset; with `limits`, some rules hold for a rate only.
pub(crate) fn ruleset(limits: bool) -> impl Strategy<Value = Ruleset> {
    use End::{Accept, Drop, Jump, Reject, Return};
    let input = line(limits, vec![Accept, Accept, Accept, Accept, Drop, Drop, Reject, Jump]);
    let called = line(limits, vec![Accept, Accept, Drop, Return]);
    let lines = prop::collection::vec(input, 1..9);
    (lines, prop::collection::vec(called, 1..4), prop::bool::weighted(0.8))
        .prop_map(|(input, called, drops)| Ruleset { input, called, drops })
}

fn load(key: MetaKey) -> Expr {
    Expr::Meta { key, dreg: R }
}

fn equal(inverted: bool, data: &[u8]) -> Expr {
    Expr::Cmp { op: if inverted { Cmp::Neq } else { Cmp::Eq }, sreg: R, data: data.to_vec() }
}

fn octets(address: &str) -> Vec<u8> {
    match address.parse().expect("an address") {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}

fn header(six: bool, source: bool) -> Vec<Expr> {
    let (offset, len) = match (six, source) {
        (false, true) => (12, 4),
        (false, false) => (16, 4),
        (true, true) => (8, 16),
        (true, false) => (24, 16),
    };
    let version = if six { 10 } else { 2 };
    let address = Expr::Payload { base: PayloadBase::Network, offset, len, dreg: R };
    vec![load(MetaKey::Nfproto), equal(false, &[version]), address]
}

/// The first and the last address of a network.
fn bounds(address: &[u8], bits: u8) -> (Vec<u8>, Vec<u8>) {
    let mask = mask(address.len(), bits);
    let first: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    let last = first.iter().zip(&mask).map(|(byte, mask)| byte | !mask).collect();
    (first, last)
}

fn mask(len: usize, bits: u8) -> Vec<u8> {
    let bit = |at: usize| u8::from(at < usize::from(bits));
    (0..len).map(|byte| (0..8).fold(0, |all, at| all << 1 | bit(byte * 8 + at))).collect()
}

fn exprs(test: &Test) -> Vec<Expr> {
    match test {
        Test::Interface(name, wide, inverted) => {
            let mut data = name.as_bytes().to_vec();
            if !wide {
                data.resize(16, 0);
            }
            vec![load(MetaKey::Iifname), equal(*inverted, &data)]
        }
        Test::From(address, bits, inverted) => {
            let bytes = octets(address);
            let mut exprs = header(bytes.len() == 16, true);
            if usize::from(*bits) < bytes.len() * 8 {
                let (mask, xor) = (mask(bytes.len(), *bits), vec![0; bytes.len()]);
                exprs.push(Expr::Bitwise { sreg: R, dreg: R, mask, xor });
            }
            exprs.push(equal(*inverted, &bounds(&bytes, *bits).0));
            exprs
        }
        Test::FromSet(name, inverted) => {
            let mut exprs = header(*name == "six", true);
            let set = SetRef::Named((*name).to_owned());
            exprs.push(Expr::Lookup { set, sreg: R, dreg: None, inverted: *inverted });
            exprs
        }
        Test::To(address) => {
            let bytes = octets(address);
            let mut exprs = header(bytes.len() == 16, false);
            exprs.push(equal(false, &bytes));
            exprs
        }
        Test::Ports(protocol, ports) => {
            let mut exprs = vec![load(MetaKey::L4proto), equal(false, &[*protocol])];
            exprs.push(Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: R });
            let elements: Vec<Element> =
                ports.iter().map(|(first, last)| Element::range(&first.to_be_bytes(), &last.to_be_bytes())).collect();
            let spec = SetSpec::new(KeyType::INET_SERVICE, SetFlags::INTERVAL);
            let set = SetRef::Anonymous(Box::new(Set { spec, elements: elements.into() }));
            exprs.push(Expr::Lookup { set, sreg: R, dreg: None, inverted: false });
            exprs
        }
        Test::Protocol(number) => vec![load(MetaKey::L4proto), equal(false, &[*number])],
        Test::New => {
            let state = Expr::Ct { key: CtKey::State, direction: None, dreg: R };
            let mask = 8_u32.to_ne_bytes().to_vec();
            vec![state, Expr::Bitwise { sreg: R, dreg: R, mask, xor: vec![0; 4] }, equal(true, &[0; 4])]
        }
        Test::Limit => vec![Expr::Limit(Limit { rate: 5, unit: LimitUnit::Minute, burst: 5, over: false })],
    }
}

impl Line {
    fn rule(&self) -> Rule {
        let mut all: Vec<Expr> = self.0.iter().flat_map(exprs).collect();
        all.push(match self.1 {
            End::Accept => Expr::Verdict(Verdict::Accept),
            End::Drop => Expr::Verdict(Verdict::Drop),
            End::Reject => Expr::Reject(Reject::Icmpx(IcmpxCode::PortUnreachable)),
            End::Jump => Expr::Verdict(Verdict::Jump("called".to_owned())),
            End::Return => Expr::Verdict(Verdict::Return),
        });
        Rule { exprs: all, comment: None }
    }
}

impl Ruleset {
    /// The same, where all packets keep to each rate.
    pub(crate) fn without_limits(&self) -> Self {
        let lines = |lines: &[Line]| -> Vec<Line> {
            let other = |test: &&Test| !matches!(test, Test::Limit);
            lines.iter().map(|line| Line(line.0.iter().filter(other).cloned().collect(), line.1)).collect()
        };
        Self { input: lines(&self.input), called: lines(&self.called), drops: self.drops }
    }

    /// The table.
    pub(crate) fn table(&self) -> (TableId, Table) {
        let mut table = Table::default();
        for (name, members) in SETS {
            let key = if name == "six" { KeyType::IPV6_ADDR } else { KeyType::IPV4_ADDR };
            let mut elements: Vec<Element> = members
                .iter()
                .map(|member| {
                    let (address, bits) = member.split_once('/').expect("a network");
                    let (first, last) = bounds(&octets(address), bits.parse().expect("a number"));
                    Element::range(&first, &last)
                })
                .collect();
            elements.sort();
            let spec = SetSpec::new(key, SetFlags::INTERVAL);
            table.sets.insert(name.to_owned(), Set { spec, elements: elements.into() });
        }
        let policy = if self.drops { Policy::Drop } else { Policy::Accept };
        let base =
            BaseChain { kind: "filter".into(), hook: Hook::Input, priority: 0, policy, devices: Default::default() };
        let replies = Expr::Ct { key: CtKey::State, direction: None, dreg: R };
        let known = vec![
            replies,
            Expr::Bitwise { sreg: R, dreg: R, mask: 6_u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
            equal(true, &[0; 4]),
            Expr::Verdict(Verdict::Accept),
        ];
        let icmp6 = vec![load(MetaKey::L4proto), equal(false, &[58]), Expr::Verdict(Verdict::Accept)];
        let mut rules: Vec<Rule> = [known, icmp6].map(|exprs| Rule { exprs, comment: None }).into();
        rules.extend(self.input.iter().map(Line::rule));
        table.chains.insert("input".to_owned(), Chain { base: Some(base), comment: None, rules });
        let rules = self.called.iter().map(Line::rule).collect();
        table.chains.insert("called".to_owned(), Chain { base: None, comment: None, rules });
        (TableId { family: Family::Inet, name: "filter".to_owned() }, table)
    }
}
