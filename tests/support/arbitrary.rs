//! Tables that hold what palisade can write: one with everything, and any.
#![allow(dead_code, unreachable_pub)]

use palisade::ruleset::*;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A set of single addresses.
pub fn addresses() -> SetSpec {
    SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default())
}

/// A set of ranges of ports.
pub fn interval_ports() -> SetSpec {
    SetSpec { key: KeyType::INET_SERVICE, flags: SetFlags::INTERVAL, ..addresses() }
}

fn anonymous(spec: SetSpec, elements: Vec<Element>) -> SetRef {
    let flags = spec.flags.with(SetFlags::CONSTANT);
    SetRef::Anonymous(Box::new(Set { spec: SetSpec { flags, ..spec }, elements: elements.into() }))
}

fn port(number: u16) -> Element {
    Element::single(&number.to_be_bytes())
}

fn ports(first: u16, last: u16) -> Element {
    Element::range(&first.to_be_bytes(), &last.to_be_bytes())
}

fn jump() -> Verdict {
    Verdict::Jump("target".to_owned())
}

fn name16(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn meta(key: MetaKey) -> Expr {
    Expr::Meta { key, dreg: Register::ONE }
}

fn ct(key: CtKey, direction: Option<Direction>) -> Expr {
    Expr::Ct { key, direction, dreg: Register::ONE }
}

fn load(base: PayloadBase, offset: u32, len: u32) -> Expr {
    Expr::Payload { base, offset, len, dreg: Register::ONE }
}

fn cmp(op: Cmp, data: &[u8]) -> Expr {
    Expr::Cmp { op, sreg: Register::ONE, data: data.to_vec() }
}

fn lookup(set: SetRef, dreg: Option<Register>, inverted: bool) -> Expr {
    Expr::Lookup { set, sreg: Register::ONE, dreg, inverted }
}

fn named(name: &str) -> SetRef {
    SetRef::Named(name.to_owned())
}

fn tcp() -> [Expr; 2] {
    [meta(MetaKey::L4proto), cmp(Cmp::Eq, &[6])]
}

fn ipv4() -> [Expr; 2] {
    [meta(MetaKey::Nfproto), cmp(Cmp::Eq, &[2])]
}

/// A rule that asks an anonymous set.
pub fn anonymous_ports() -> Rule {
    let set = anonymous(interval_ports(), vec![ports(0, 9), port(22), ports(60_000, 65_535)]);
    let mut exprs = tcp().to_vec();
    exprs.extend([load(PayloadBase::Transport, 2, 2), lookup(set, None, false)]);
    Rule { exprs, comment: Some("ports".to_owned()) }
}

/// One rule for each form of each expression, one set for each form of set.
#[expect(clippy::too_many_lines, reason = "a line for each form")]
pub fn everything() -> Table {
    let verdict = |verdict| vec![Expr::Verdict(verdict)];
    let limit = |unit, over| Limit { rate: 6, unit, burst: 3, over };
    let log = |prefix: &str, group| Expr::Log(Log { prefix: prefix.to_owned(), group });
    let state = |bits: u32| Element::single(&bits.to_ne_bytes());
    let v4 = |number: u32| Element::single(&number.to_be_bytes());
    let mut rules = vec![
        vec![meta(MetaKey::Iifname), cmp(Cmp::Eq, &name16("lo"))],
        vec![meta(MetaKey::Oifname), cmp(Cmp::Neq, b"br-")],
        vec![
            ct(CtKey::State, None),
            Expr::Bitwise {
                sreg: Register::ONE,
                dreg: Register::ONE,
                mask: 6_u32.to_ne_bytes().to_vec(),
                xor: vec![0; 4],
            },
            cmp(Cmp::Neq, &[0; 4]),
        ],
        vec![
            ct(CtKey::State, None),
            lookup(
                anonymous(
                    SetSpec { key: KeyType::CT_STATE, value: Some(MapValue::Verdict), ..addresses() },
                    vec![
                        state(1).with_verdict(Verdict::Drop),
                        state(2).with_verdict(Verdict::Accept),
                        state(4).with_verdict(Verdict::Accept),
                    ],
                ),
                Some(Register::Verdict),
                false,
            ),
        ],
        [
            &tcp()[..],
            &[
                ct(CtKey::ProtoDst, Some(Direction::Original)),
                lookup(named("services"), Some(Register::Verdict), false),
            ],
        ]
        .concat(),
        [&tcp()[..], &[load(PayloadBase::Transport, 2, 2), lookup(named("port-ranges"), None, true)]].concat(),
        [&ipv4()[..], &[load(PayloadBase::Network, 12, 4), lookup(named("trusted-v4"), None, false)]].concat(),
        vec![meta(MetaKey::Iifname), lookup(named("interfaces"), None, false)],
        [&tcp()[..], &[load(PayloadBase::Transport, 2, 2), cmp(Cmp::Gte, &[4, 0]), cmp(Cmp::Lte, &[8, 0])]].concat(),
        [
            &ipv4()[..],
            &[
                load(PayloadBase::Network, 12, 4),
                Expr::Dynset {
                    set: "seen-v4".to_owned(),
                    op: DynsetOp::Update,
                    sreg_key: Register::ONE,
                    timeout_ms: 120_000,
                    exprs: vec![Expr::Limit(limit(LimitUnit::Minute, true))],
                },
            ],
        ]
        .concat(),
        [
            &ipv4()[..],
            &[
                load(PayloadBase::Network, 12, 4),
                Expr::Dynset {
                    set: "seen-v4".to_owned(),
                    op: DynsetOp::Add,
                    sreg_key: Register::ONE,
                    timeout_ms: 0,
                    exprs: Vec::new(),
                },
            ],
        ]
        .concat(),
        vec![log("palisade denied: ", None)],
        vec![log("", Some(7))],
        vec![Expr::Counter { packets: 12, bytes: 3_456 }],
        [&tcp()[..], &[Expr::Reject(Reject::TcpReset)]].concat(),
        verdict(Verdict::Continue),
        verdict(jump()),
        verdict(Verdict::Goto("target".to_owned())),
        verdict(Verdict::Return),
        verdict(Verdict::Drop),
        verdict(Verdict::Accept),
    ];
    rules.extend(LimitUnit::ALL.map(|unit| vec![Expr::Limit(limit(unit, unit == LimitUnit::Hour))]));
    let codes =
        [IcmpxCode::NoRoute, IcmpxCode::PortUnreachable, IcmpxCode::HostUnreachable, IcmpxCode::AdminProhibited];
    rules.extend(codes.map(|code| vec![Expr::Reject(Reject::Icmpx(code))]));
    let mut rules: Vec<Rule> = rules
        .into_iter()
        .enumerate()
        .map(|(number, exprs)| Rule {
            exprs,
            comment: Some(format!("palisade: rule {number} (policy.yaml:{number})")),
        })
        .collect();
    rules.push(anonymous_ports());
    rules.push(Rule { exprs: Vec::new(), comment: None });
    rules.push(Rule { exprs: verdict(Verdict::Accept), comment: Some("é".repeat(62) + "!") });

    let sets = [
        ("empty", Set { spec: addresses(), elements: Vec::new().into() }),
        (
            "trusted-v4",
            Set {
                spec: SetSpec { size: Some(100), comment: Some("who is trusted".to_owned()), ..addresses() },
                elements: vec![v4(0), v4(0x0102_0304), v4(0xffff_ffff)].into(),
            },
        ),
        (
            "trusted-v6",
            Set {
                spec: SetSpec { key: KeyType::IPV6_ADDR, flags: SetFlags::INTERVAL, ..addresses() },
                elements: vec![
                    Element::range(&[0; 16], &[&[0; 15][..], &[7]].concat()),
                    Element::range(&[&[0; 15][..], &[8]].concat(), &[&[0; 15][..], &[9]].concat()),
                    Element::range(&[&[0xfe][..], &[0; 15]].concat(), &[0xff; 16]),
                ]
                .into(),
            },
        ),
        (
            "port-ranges",
            Set { spec: interval_ports(), elements: vec![port(22), ports(1_024, 2_047), port(65_535)].into() },
        ),
        (
            "interfaces",
            Set {
                spec: SetSpec { key: KeyType::IFNAME, flags: SetFlags::INTERVAL, ..addresses() },
                elements: vec![
                    Element::range(&name16("br-"), &[&b"br-"[..], &[0xff; 13]].concat()),
                    Element::single(&name16("lo")),
                ]
                .into(),
            },
        ),
        (
            "remembered",
            Set {
                spec: SetSpec { flags: SetFlags::TIMEOUT, timeout_ms: Some(86_400_000), ..addresses() },
                elements: vec![v4(1), v4(2)].into(),
            },
        ),
        (
            "seen-v4",
            Set {
                spec: SetSpec {
                    flags: SetFlags::TIMEOUT.with(SetFlags::DYNAMIC),
                    size: Some(65_535),
                    timeout_ms: Some(60_000),
                    ..addresses()
                },
                elements: Vec::new().into(),
            },
        ),
        (
            "services",
            Set {
                spec: SetSpec {
                    key: KeyType::INET_SERVICE,
                    value: Some(MapValue::Verdict),
                    comment: Some("ports".to_owned()),
                    ..addresses()
                },
                elements: vec![
                    port(22).with_verdict(jump()),
                    port(53).with_verdict(Verdict::Accept),
                    port(80).with_verdict(Verdict::Goto("target".to_owned())),
                    Element { key: ElementKey::CatchAll, value: None }.with_verdict(Verdict::Drop),
                ]
                .into(),
            },
        ),
        (
            "service-ranges",
            Set {
                spec: SetSpec { value: Some(MapValue::Verdict), ..interval_ports() },
                elements: vec![ports(0, 5).with_verdict(jump()), ports(6, 7).with_verdict(Verdict::Return)].into(),
            },
        ),
        (
            "ports-of-hosts",
            Set {
                spec: SetSpec { value: Some(MapValue::Data(KeyType::INET_SERVICE)), ..addresses() },
                elements: vec![Element {
                    value: Some(Box::new(ElementValue::Data(Key::from_slice(&[0, 80])))),
                    ..v4(0x0a00_0001)
                }]
                .into(),
            },
        ),
    ];
    let target = Chain { base: None, comment: Some("where jumps go".to_owned()), rules: Vec::new() };
    table_of(rules, target, sets.into_iter().map(|(name, set)| (name.to_owned(), set)).collect())
}

fn table_of(rules: Vec<Rule>, target: Chain, sets: BTreeMap<String, Set>) -> Table {
    let base = |hook, priority, policy| BaseChain {
        kind: "filter".to_owned(),
        hook,
        priority,
        policy,
        devices: Default::default(),
    };
    let input = Chain {
        base: Some(base(Hook::Input, -1, Policy::Accept)),
        comment: Some("this machine".to_owned()),
        rules: vec![Rule { exprs: vec![Expr::Verdict(jump())], comment: None }],
    };
    let forward = Chain { base: Some(base(Hook::Forward, 7, Policy::Drop)), ..Chain::default() };
    let chains = [
        ("everything", Chain { rules, ..Chain::default() }),
        ("filter-forward", forward),
        ("filter-input", input),
        ("target", target),
    ];
    Table {
        flags: TableFlags::default(),
        comment: Some("all that palisade can say".to_owned()),
        chains: chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect(),
        sets,
        others: Default::default(),
    }
}

/// Any table: a few sets and maps, and rules that use them. The kernel takes each of them.
pub fn table() -> impl Strategy<Value = Table> {
    vec(set(false), 0..5).prop_flat_map(|sets| {
        let sets: BTreeMap<_, _> = sets.into_iter().enumerate().map(|(n, set)| (format!("set-{n}"), set)).collect();
        (Just(sets.clone()), vec(rule(sets), 0..12), option::of(text(125)))
            .prop_map(|(sets, rules, comment)| table_of(rules, Chain { comment, ..Chain::default() }, sets))
    })
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    vec(prop::char::range(' ', '~'), 1..=longest).prop_map(|chars| chars.into_iter().collect())
}

fn key_type() -> impl Strategy<Value = KeyType> {
    prop::sample::select(vec![
        KeyType::IPV4_ADDR,
        KeyType::IPV6_ADDR,
        KeyType::INET_PROTO,
        KeyType::INET_SERVICE,
        KeyType::CT_STATE,
        KeyType::IFNAME,
    ])
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Drop),
        Just(Verdict::Continue),
        Just(Verdict::Return),
        Just(jump()),
        Just(Verdict::Goto("target".to_owned())),
    ]
}

/// A set of any form; an anonymous one is constant and without what only named ones have.
pub fn set(anonymous: bool) -> impl Strategy<Value = Set> {
    let value = prop_oneof![
        3 => Just(None),
        2 => Just(Some(MapValue::Verdict)),
        if anonymous { 0 } else { 1 } => Just(Some(MapValue::Data(KeyType::INET_SERVICE))),
    ];
    let timeout = option::of((3_600_u64..1_000_000).prop_map(|seconds| seconds * 1000));
    let parts = (key_type(), value, any::<bool>(), timeout, option::of(text(125)));
    parts.prop_flat_map(move |(key, value, interval, timeout_ms, comment)| {
        let mut flags = if interval { SetFlags::INTERVAL } else { SetFlags::default() };
        let mut spec = SetSpec { key, value, ..addresses() };
        if anonymous {
            flags = flags.with(SetFlags::CONSTANT);
        } else {
            (spec.comment, spec.timeout_ms) = (comment, timeout_ms);
            if timeout_ms.is_some() {
                flags = flags.with(SetFlags::TIMEOUT);
            }
        }
        let spec = SetSpec { flags, ..spec };
        elements(&spec).prop_map(move |elements| Set { spec: spec.clone(), elements: elements.into() })
    })
}

/// Elements of a set: not none, sorted, intervals that may touch and reach both ends.
fn elements(spec: &SetSpec) -> impl Strategy<Value = Vec<Element>> + use<> {
    let (len, interval, value) = (spec.key.len as usize, spec.flags.contains(SetFlags::INTERVAL), spec.value);
    let value = move || -> BoxedStrategy<Option<Box<ElementValue>>> {
        match value {
            None => Just(None).boxed(),
            Some(MapValue::Verdict) => verdict().prop_map(|v| Some(Box::new(ElementValue::Verdict(v)))).boxed(),
            Some(_) => any::<[u8; 2]>().prop_map(|d| Some(Box::new(ElementValue::Data(Key::from_slice(&d))))).boxed(),
        }
    };
    let byte = || prop_oneof![2 => Just(0_u8), 2 => Just(255), 1 => 0_u8..4, 2 => any::<u8>()];
    let bounds = btree_set(vec(byte(), len), 1..24);
    let everything_else = prop::bool::weighted(0.1);
    (bounds, vec((any::<bool>(), value()), 24), everything_else, value()).prop_map(
        move |(bounds, choices, rest, other)| {
            let bounds: Vec<Vec<u8>> = bounds.into_iter().collect();
            let mut elements = Vec::new();
            let mut at = 0;
            for (ranged, value) in choices {
                let Some(first) = bounds.get(at) else { break };
                let last = bounds.get(at + 1).filter(|_| interval && ranged);
                at += if last.is_some() { 2 } else { 1 };
                elements.push(Element { value, ..Element::range(first, last.unwrap_or(first)) });
            }
            if rest {
                elements.push(Element { key: ElementKey::CatchAll, value: other });
            }
            elements
        },
    )
}

/// A load, the register it goes to, and what it loads.
fn any_load() -> impl Strategy<Value = (Expr, Register, KeyType)> {
    let register = prop::sample::select(vec![0, 1, 3, 4, 5, 8, 9, 12]).prop_map(Register::Data);
    let loads = prop_oneof![
        Just((meta(MetaKey::Iifname), KeyType::IFNAME)),
        Just((meta(MetaKey::Oifname), KeyType::IFNAME)),
        Just((meta(MetaKey::Nfproto), KeyType::INET_PROTO)),
        Just((meta(MetaKey::L4proto), KeyType::INET_PROTO)),
        Just((meta(MetaKey::Mark), KeyType::CT_STATE)),
        Just((ct(CtKey::State, None), KeyType::CT_STATE)),
        Just((ct(CtKey::Status, None), KeyType::CT_STATE)),
        Just((ct(CtKey::Mark, None), KeyType::CT_STATE)),
        Just((ct(CtKey::ProtoDst, Some(Direction::Original)), KeyType::INET_SERVICE)),
        Just((ct(CtKey::ProtoDst, Some(Direction::Reply)), KeyType::INET_SERVICE)),
        Just((ct(CtKey::DstIp, Some(Direction::Original)), KeyType::IPV4_ADDR)),
        Just((ct(CtKey::DstIp6, Some(Direction::Reply)), KeyType::IPV6_ADDR)),
        (0_u32..3, 0_u32..100, key_type())
            .prop_map(|(base, offset, key)| (load(PayloadBase::from_number(base), offset, key.len), key)),
    ];
    (loads, register).prop_map(|((mut expr, key), register)| {
        if let Expr::Meta { dreg, .. } | Expr::Ct { dreg, .. } | Expr::Payload { dreg, .. } = &mut expr {
            *dreg = register;
        }
        (expr, register, key)
    })
}

/// A load and what tests it.
fn matching(sets: BTreeMap<String, Set>) -> impl Strategy<Value = Vec<Expr>> {
    any_load().prop_flat_map(move |(load, register, key)| {
        let len = key.len as usize;
        let ops = vec![Cmp::Eq, Cmp::Neq, Cmp::Lt, Cmp::Lte, Cmp::Gt, Cmp::Gte];
        let cmp = (prop::sample::select(ops), vec(any::<u8>(), len))
            .prop_map(move |(op, data)| vec![Expr::Cmp { op, sreg: register, data }]);
        let masked = (vec(any::<u8>(), len), vec(any::<u8>(), len), vec(any::<u8>(), len)).prop_map(
            move |(mask, xor, data)| {
                vec![
                    Expr::Bitwise { sreg: register, dreg: register, mask, xor },
                    Expr::Cmp { op: Cmp::Neq, sreg: register, data },
                ]
            },
        );
        let ask = move |reference: SetRef, value: Option<MapValue>, inverted: bool| {
            let dreg = value.map(|value| if value == MapValue::Verdict { Register::Verdict } else { Register::ONE });
            vec![Expr::Lookup { set: reference, sreg: register, dreg, inverted: inverted && value.is_none() }]
        };
        let fitting: Vec<_> = sets
            .iter()
            .filter(|(_, set)| set.spec.key.len == key.len)
            .map(|(name, set)| (name.clone(), set.spec.value))
            .collect();
        let anonymous =
            (set(true).prop_filter("another length", move |set| set.spec.key.len == key.len), any::<bool>())
                .prop_map(move |(set, inverted)| {
                    let value = set.spec.value;
                    ask(SetRef::Anonymous(Box::new(set)), value, inverted)
                });
        let tests = if fitting.is_empty() {
            prop_oneof![cmp, masked, anonymous].boxed()
        } else {
            let named = (prop::sample::select(fitting), any::<bool>())
                .prop_map(move |((name, value), inverted)| ask(SetRef::Named(name), value, inverted));
            prop_oneof![cmp, masked, anonymous, named].boxed()
        };
        tests.prop_map(move |tests| [vec![load.clone()], tests].concat())
    })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    (1_u64..10_000, prop::sample::select(LimitUnit::ALL.to_vec()), 1_u32..1_000, any::<bool>())
        .prop_map(|(rate, unit, burst, over)| Limit { rate, unit, burst, over })
}

fn statement() -> impl Strategy<Value = Expr> {
    let codes =
        vec![IcmpxCode::NoRoute, IcmpxCode::PortUnreachable, IcmpxCode::HostUnreachable, IcmpxCode::AdminProhibited];
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(packets, bytes)| Expr::Counter { packets, bytes }),
        any_limit().prop_map(Expr::Limit),
        (text(127), option::of(any::<u16>())).prop_map(|(prefix, group)| Expr::Log(Log { prefix, group })),
        Just(Expr::Reject(Reject::TcpReset)),
        prop::sample::select(codes).prop_map(|code| Expr::Reject(Reject::Icmpx(code))),
        verdict().prop_map(Expr::Verdict),
    ]
}

pub fn rule(sets: BTreeMap<String, Set>) -> impl Strategy<Value = Rule> {
    (vec(matching(sets), 0..4), vec(statement(), 0..3), option::of(text(125)))
        .prop_map(|(matches, statements, comment)| Rule { exprs: [matches.concat(), statements].concat(), comment })
}
