//! Every kind of statement that palisade compiles: its nft text, and the expressions that nft builds from it in an inet
//! table.
#![allow(unreachable_pub)]

use palisade::ruleset::*;

pub fn nfproto(nfproto: u8) -> [Expr; 2] {
    condition(MetaKey::Nfproto, nfproto)
}

pub fn l4proto(l4proto: u8) -> [Expr; 2] {
    condition(MetaKey::L4proto, l4proto)
}

fn condition(key: MetaKey, value: u8) -> [Expr; 2] {
    [meta(key), eq(&[value])]
}

pub fn meta(key: MetaKey) -> Expr {
    Expr::Meta { key, dreg: Register::ONE }
}

pub fn original(key: CtKey) -> Expr {
    Expr::Ct { key, direction: Some(Direction::Original), dreg: Register::ONE }
}

pub fn ct(key: CtKey) -> Expr {
    Expr::Ct { key, direction: None, dreg: Register::ONE }
}

pub fn network(offset: u32, len: u32) -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset, len, dreg: Register::ONE }
}

pub fn transport(offset: u32, len: u32) -> Expr {
    Expr::Payload { base: PayloadBase::Transport, offset, len, dreg: Register::ONE }
}

pub fn eq(data: &[u8]) -> Expr {
    cmp(Cmp::Eq, data)
}

pub fn cmp(op: Cmp, data: &[u8]) -> Expr {
    Expr::Cmp { op, sreg: Register::ONE, data: data.to_vec() }
}

pub fn and(mask: &[u8]) -> Expr {
    Expr::Bitwise { sreg: Register::ONE, dreg: Register::ONE, mask: mask.to_vec(), xor: vec![0; mask.len()] }
}

pub fn in_set(name: &str) -> Expr {
    lookup(SetRef::Named(name.to_owned()), None)
}

pub fn vmap(name: &str) -> Expr {
    lookup(SetRef::Named(name.to_owned()), Some(Register::Verdict))
}

pub fn in_these(key: KeyType, flags: SetFlags, elements: Vec<Element>) -> Expr {
    let set = Set { spec: SetSpec { flags: SetFlags::CONSTANT.with(flags), ..spec(key) }, elements: elements.into() };
    let dreg = set.elements.iter().any(|element| element.value.is_some()).then_some(Register::Verdict);
    let value = dreg.map(|_| MapValue::Verdict);
    let set = Set { spec: SetSpec { value, ..set.spec }, ..set };
    lookup(SetRef::Anonymous(Box::new(set)), dreg)
}

fn lookup(set: SetRef, dreg: Option<Register>) -> Expr {
    Expr::Lookup { set, sreg: Register::ONE, dreg, inverted: false }
}

pub fn spec(key: KeyType) -> SetSpec {
    SetSpec::new(key, SetFlags::default())
}

pub fn ifname(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

pub fn wildcard(stem: &str) -> Element {
    let mut last = [0xff; 16];
    last[..stem.len()].copy_from_slice(stem.as_bytes());
    Element::range(&ifname(stem), &last)
}

pub fn verdict(verdict: Verdict) -> Expr {
    Expr::Verdict(verdict)
}

pub fn bytes_of(numbers: &[u8]) -> Vec<Element> {
    numbers.iter().map(|number| Element::single(&[*number])).collect()
}

const COUNTER: Expr = Expr::Counter { packets: 0, bytes: 0 };
const ACCEPT: Expr = Expr::Verdict(Verdict::Accept);
pub const PLAIN: SetFlags = SetFlags(0);

/// nft text and expressions, of each statement that palisade compiles.
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a line for each statement")]
pub fn statements() -> Vec<(&'static str, Vec<Expr>)> {
    let state = |bit: u32, verdict| Element::single(&bit.to_ne_bytes()).with_verdict(verdict);
    let link_local: [u8; 16] = 0xfe80_u128.rotate_right(16).to_be_bytes();
    let ten_bits: [u8; 16] = (u128::MAX << 118).to_be_bytes();
    let dnat = 0x20_u32.to_ne_bytes();
    let jump = |chain: &str| verdict(Verdict::Jump(chain.to_owned()));
    let join = |parts: &[&[Expr]]| parts.concat();
    let asked = |result, flags| Expr::Fib { result, flags, dreg: Register::ONE };
    let back = fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT;
    let kind = |kind: AddressType| Element::single(&kind.number().to_ne_bytes());
    let per_minute = |rate, burst, over| Limit { rate, unit: LimitUnit::Minute, burst, over };
    vec![
        ("ct state vmap { invalid : goto invalid, established : accept, related : accept }",
            vec![ct(CtKey::State), in_these(KeyType::CT_STATE, PLAIN, vec![
                state(1, Verdict::Goto("invalid".to_owned())), state(2, Verdict::Accept), state(4, Verdict::Accept),
            ])]),
        ("iifname \"lo\" accept", vec![meta(MetaKey::Iifname), eq(&ifname("lo")), ACCEPT]),
        ("iifname \"br-*\" accept", vec![meta(MetaKey::Iifname), eq(b"br-"), ACCEPT]),
        ("oifname != \"eth0\" accept", vec![meta(MetaKey::Oifname), cmp(Cmp::Neq, &ifname("eth0")), ACCEPT]),
        ("iifname @lan-if accept", vec![meta(MetaKey::Iifname), in_set("lan-if"), ACCEPT]),
        ("iifname { \"br-*\", \"docker0\" } accept",
            vec![meta(MetaKey::Iifname), in_these(KeyType::IFNAME, SetFlags::INTERVAL,
                vec![wildcard("br-"), Element::single(&ifname("docker0"))]), ACCEPT]),
        ("iifname \"br-*\" oifname \"br-*\" accept",
            vec![meta(MetaKey::Iifname), eq(b"br-"), meta(MetaKey::Oifname), eq(b"br-"), ACCEPT]),
        ("meta l4proto tcp ct original proto-dst vmap @services-tcp",
            join(&[&l4proto(6), &[original(CtKey::ProtoDst), vmap("services-tcp")]])),
        ("meta l4proto vmap @services-proto", vec![meta(MetaKey::L4proto), vmap("services-proto")]),
        ("ip saddr @trusted-v4 counter accept",
            join(&[&nfproto(2), &[network(12, 4), in_set("trusted-v4"), COUNTER, ACCEPT]])),
        ("ip6 saddr @x-v6 counter accept",
            join(&[&nfproto(10), &[network(8, 16), in_set("x-v6"), COUNTER, ACCEPT]])),
        ("ip saddr 10.0.0.0/8 accept", join(&[&nfproto(2), &[network(12, 1), eq(&[10]), ACCEPT]])),
        ("ip saddr 10.0.0.0/9 accept",
            join(&[&nfproto(2), &[network(12, 4), and(&[255, 128, 0, 0]), eq(&[10, 0, 0, 0]), ACCEPT]])),
        ("ip daddr != 10.0.0.1 accept", join(&[&nfproto(2), &[network(16, 4), cmp(Cmp::Neq, &[10, 0, 0, 1]), ACCEPT]])),
        ("ct original ip daddr @s.to-v4 accept", vec![original(CtKey::DstIp), in_set("s.to-v4"), ACCEPT]),
        ("ct original ip6 daddr @s.to-v6 accept", vec![original(CtKey::DstIp6), in_set("s.to-v6"), ACCEPT]),
        ("ip saddr @trusted-v4 ct original ip daddr @s.to-v4 accept",
            join(&[&nfproto(2), &[network(12, 4), in_set("trusted-v4"), original(CtKey::DstIp), in_set("s.to-v4"),
                ACCEPT]])),
        ("ct status dnat jump published",
            vec![ct(CtKey::Status), and(&dnat), cmp(Cmp::Neq, &[0; 4]), jump("published")]),
        ("ct status & dnat == 0x0 drop",
            vec![ct(CtKey::Status), and(&dnat), eq(&[0; 4]), verdict(Verdict::Drop)]),
        ("update @ssh.limit-v4 { ip saddr limit rate over 6/minute burst 6 packets } return",
            join(&[&nfproto(2), &[network(12, 4), Expr::Dynset {
                set: "ssh.limit-v4".to_owned(), op: DynsetOp::Update, sreg_key: Register::ONE, timeout_ms: 0,
                exprs: vec![Expr::Limit(per_minute(6, 6, true))],
            }, verdict(Verdict::Return)]])),
        ("icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
            join(&[&nfproto(2), &l4proto(1),
                &[transport(0, 1), in_these(KeyType::ICMP_TYPE, PLAIN, bytes_of(&[3, 11, 12])), ACCEPT]])),
        ("icmp type echo-request accept",
            join(&[&nfproto(2), &l4proto(1), &[transport(0, 1), eq(&[8]), ACCEPT]])),
        ("ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert } accept",
            join(&[&nfproto(10), &[network(7, 1), eq(&[255])], &l4proto(58),
                &[transport(0, 1), in_these(KeyType::ICMPV6_TYPE, PLAIN, bytes_of(&[133, 134])), ACCEPT]])),
        ("ip6 saddr fe80::/10 icmpv6 type { mld-listener-query, mld-listener-report } accept",
            join(&[&nfproto(10), &[network(8, 16), and(&ten_bits), eq(&link_local)], &l4proto(58),
                &[transport(0, 1), in_these(KeyType::ICMPV6_TYPE, PLAIN, bytes_of(&[130, 131])), ACCEPT]])),
        ("udp sport 67 udp dport 68 accept",
            join(&[&l4proto(17), &[transport(0, 4), eq(&[0, 67, 0, 68]), ACCEPT]])),
        ("meta nfproto ipv6 udp sport 547 udp dport 546 accept",
            join(&[&nfproto(10), &l4proto(17), &[transport(0, 4), eq(&[2, 35, 2, 34]), ACCEPT]])),
        ("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
            join(&[&nfproto(10), &[network(8, 16), and(&ten_bits), eq(&link_local)], &l4proto(17),
                &[transport(0, 4), eq(&[2, 35, 2, 34]), ACCEPT]])),
        ("tcp dport 22 accept", join(&[&l4proto(6), &[transport(2, 2), eq(&[0, 22]), ACCEPT]])),
        ("fib saddr type { local, anycast } fib daddr type != multicast counter drop",
            vec![asked(FibResult::Type, fib_flags::SADDR),
                in_these(KeyType::FIB_ADDRTYPE, PLAIN, vec![kind(AddressType::Local), kind(AddressType::Anycast)]),
                asked(FibResult::Type, fib_flags::DADDR), cmp(Cmp::Neq, &AddressType::Multicast.number().to_ne_bytes()),
                COUNTER, verdict(Verdict::Drop)]),
        ("meta nfproto ipv6 fib daddr . iif type local drop",
            join(&[&nfproto(10), &[asked(FibResult::Type, fib_flags::DADDR | fib_flags::IIF),
                eq(&AddressType::Local.number().to_ne_bytes()), verdict(Verdict::Drop)]])),
        ("fib saddr . iif oif missing jump published",
            vec![asked(FibResult::Oif, back), eq(&[0]), jump("published")]),
        ("fib daddr . iif oif exists accept",
            vec![asked(FibResult::Oif, fib_flags::DADDR | fib_flags::IIF | fib_flags::PRESENT), eq(&[1]), ACCEPT]),
        ("fib saddr oifname { \"br-*\", \"docker0\" } drop",
            vec![asked(FibResult::OifName, fib_flags::SADDR), in_these(KeyType::IFNAME, SetFlags::INTERVAL,
                vec![wildcard("br-"), Element::single(&ifname("docker0"))]), verdict(Verdict::Drop)]),
        ("meta nfproto ipv4 counter accept", join(&[&nfproto(2), &[COUNTER, ACCEPT]])),
        ("limit rate 10/minute burst 5 packets log prefix \"palisade denied: \"",
            vec![Expr::Limit(per_minute(10, 5, false)),
                Expr::Log(Log { prefix: "palisade denied: ".to_owned(), group: None })]),
        ("limit rate 10/minute burst 7 packets log prefix \"palisade denied: \" group 3",
            vec![Expr::Limit(per_minute(10, 7, false)),
                Expr::Log(Log { prefix: "palisade denied: ".to_owned(), group: Some(3) })]),
        ("meta l4proto tcp reject with tcp reset", join(&[&l4proto(6), &[Expr::Reject(Reject::TcpReset)]])),
        ("reject with icmpx port-unreachable", vec![Expr::Reject(Reject::Icmpx(IcmpxCode::PortUnreachable))]),
        ("reject with icmpx admin-prohibited", vec![Expr::Reject(Reject::Icmpx(IcmpxCode::AdminProhibited))]),
        ("counter drop", vec![COUNTER, verdict(Verdict::Drop)]),
        ("jump published", vec![jump("published")]),
        ("goto published", vec![verdict(Verdict::Goto("published".to_owned()))]),
        ("continue", vec![verdict(Verdict::Continue)]),
    ]
}

/// `table inet palisade` with all that the statements name, and the statements as the rules of `filter-input`.
#[expect(clippy::too_many_lines, reason = "a set for each that a statement names")]
pub fn table() -> Table {
    let set = |spec: SetSpec, elements: Vec<Element>| Set { spec, elements: elements.into() };
    let interval = |key| SetSpec { flags: SetFlags::INTERVAL, ..spec(key) };
    let map = |key| SetSpec { value: Some(MapValue::Verdict), ..spec(key) };
    let goto = |chain: &str| Verdict::Goto(chain.to_owned());
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let sets = [
        ("lan-if", set(interval(KeyType::IFNAME), vec![wildcard("br-"), Element::single(&ifname("docker0"))])),
        (
            "services-proto",
            set(
                map(KeyType::INET_PROTO),
                vec![
                    Element::single(&[6]).with_verdict(Verdict::Accept),
                    Element::single(&[99]).with_verdict(goto("published")),
                ],
            ),
        ),
        (
            "services-tcp",
            set(
                SetSpec {
                    flags: SetFlags::INTERVAL,
                    comment: Some("Ports of services".to_owned()),
                    ..map(KeyType::INET_SERVICE)
                },
                vec![
                    Element::single(&[0, 22]).with_verdict(goto("service-ssh")),
                    Element::range(&[0, 80], &[0, 90]).with_verdict(Verdict::Drop),
                ],
            ),
        ),
        (
            "ssh.limit-v4",
            set(
                SetSpec {
                    flags: SetFlags::DYNAMIC.with(SetFlags::TIMEOUT),
                    size: Some(65_535),
                    timeout_ms: Some(90_000),
                    ..spec(KeyType::IPV4_ADDR)
                },
                Vec::new(),
            ),
        ),
        (
            "s.to-v4",
            set(
                interval(KeyType::IPV4_ADDR),
                vec![
                    Element::range(&[10, 0, 0, 0], &[10, 255, 255, 255]),
                    Element::range(&[192, 0, 2, 1], &[192, 0, 2, 6]),
                ],
            ),
        ),
        (
            "s.to-v6",
            set(interval(KeyType::IPV6_ADDR), vec![Element::range(&v6("2001:db8::"), &v6("2001:db8::ffff"))]),
        ),
        ("trusted-v4", set(spec(KeyType::IPV4_ADDR), vec![Element::single(&[203, 0, 113, 9])])),
        ("x-v6", set(spec(KeyType::IPV6_ADDR), Vec::new())),
    ];
    let rule = |(_, exprs): (&str, Vec<Expr>)| Rule { exprs, comment: None };
    let input = Chain {
        base: Some(BaseChain {
            kind: "filter".to_owned(),
            hook: Hook::Input,
            priority: -1,
            policy: Policy::Drop,
            devices: Default::default(),
        }),
        comment: Some("What reaches this machine".to_owned()),
        rules: statements().into_iter().map(rule).collect(),
    };
    let commented = |text: &str| Rule { exprs: vec![ACCEPT], comment: Some(text.to_owned()) };
    let short = |rules| Chain { base: None, comment: None, rules };
    let chains = [
        ("filter-input", input),
        ("invalid", short(vec![Rule { exprs: vec![verdict(Verdict::Drop)], comment: None }])),
        ("published", short(Vec::new())),
        ("service-ssh", short(vec![commented("palisade: anyone may use ssh (policy.yaml:4)")])),
    ];
    Table {
        comment: Some("palisade".to_owned()),
        sets: sets.into_iter().map(|(name, set)| (name.to_owned(), set)).collect(),
        chains: chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect(),
        ..Table::default()
    }
}
