//! Expressions, one by one.

use super::*;

#[test]
fn interfaces_are_names_of_sixteen_bytes_and_empty_where_there_is_none() {
    let on = |name: &str| [meta(MetaKey::Iifname), is(&name16(name))];
    let out = |name: &str| [meta(MetaKey::Oifname), is(&name16(name))];

    assert_eq!(matches(&on("eth0"), &ssh()), Some(true));
    assert_eq!(matches(&on("eth"), &ssh()), Some(false));
    assert_eq!(matches(&[meta(MetaKey::Iifname), is(b"eth")], &ssh()), Some(true));
    assert_eq!(matches(&out(""), &ssh()), Some(true));
    assert_eq!(matches(&out("docker0"), &published()), Some(true));
    assert_eq!(matches_at(Hook::Prerouting, 0, &out(""), &published()), Some(true));
    let somewhere = Packet { incoming: Interface::Unknown, ..ssh() };
    assert_eq!(matches(&on("eth0"), &somewhere), None);
}

#[test]
fn protocols_are_those_of_the_packet() {
    let v6 = Packet::to_machine(ip("2001:db8::9"), ip("2001:db8::1"), Transport::echo_request(ip("::1")));
    let nfproto = |number| [meta(MetaKey::Nfproto), is(&[number])];
    let l4proto = |number| [meta(MetaKey::L4proto), is(&[number])];

    assert_eq!([2, 10].map(|number| matches(&nfproto(number), &ssh())), [Some(true), Some(false)]);
    assert_eq!([2, 10].map(|number| matches(&nfproto(number), &v6)), [Some(false), Some(true)]);
    assert_eq!([6, 17].map(|number| matches(&l4proto(number), &ssh())), [Some(true), Some(false)]);
    assert_eq!([1, 58].map(|number| matches(&l4proto(number), &v6)), [Some(false), Some(true)]);
    assert_eq!(matches(&[meta(MetaKey::Mark), is(&[0; 4])], &ssh()), None);
}

#[test]
fn headers_are_read_where_they_are_known() {
    let network = |offset, data: &[u8]| {
        let len = u32::try_from(data.len()).expect("it is short");
        matches(&[payload(PayloadBase::Network, offset, len), is(data)], &Packet { hop_limit: Some(64), ..ssh() })
    };

    assert_eq!(network(12, &[203, 0, 113, 9]), Some(true));
    assert_eq!(network(16, &[203, 0, 113, 2]), Some(false));
    assert_eq!(network(8, &[64, 6]), Some(true));
    // The source port is unknown; the destination port follows it.
    assert_eq!(network(20, &[0, 1]), None);
    assert_eq!(network(20, &[0, 1, 0, 22]), None);
    assert_eq!(network(20, &[0, 1, 0, 23]), Some(false));
    assert_eq!(network(40, &[0]), None);
    let link = [payload(PayloadBase::Link, 0, 6), is(&[0; 6])];
    assert_eq!(matches(&link, &ssh()), None);
    let endless = [payload(PayloadBase::Transport, u32::MAX, u32::MAX), is(&[])];
    assert_eq!(matches(&endless, &ssh()), None);
}

#[test]
fn only_the_first_packet_of_a_tcp_connection_is_known_to_be_a_syn() {
    let syn = [payload(PayloadBase::Transport, 13, 1), masked(&[0x3f]), is(&[0x02])];

    assert_eq!(matches(&syn, &ssh()), Some(true));
    assert_eq!(matches(&syn, &ssh().in_state(State::Established)), None);
}

fn masked(mask: &[u8]) -> Expr {
    Expr::Bitwise { sreg: R, dreg: R, mask: mask.to_vec(), xor: vec![0; mask.len()] }
}

#[test]
fn a_mask_and_an_xor_are_applied_in_that_order() {
    let exprs = |data: u8| {
        let bitwise = Expr::Bitwise { sreg: R, dreg: R, mask: vec![0xf0, 0xff], xor: vec![0x01, 0x00] };
        [dport(), bitwise, is(&[data, 0x16])]
    };

    assert_eq!(matches(&exprs(0x01), &ssh()), Some(true));
    assert_eq!(matches(&exprs(0x00), &ssh()), Some(false));
}

#[test]
fn conntrack_knows_a_published_port_by_both_its_numbers() {
    let port = |direction, number: u16| {
        let key = if direction == Direction::Original { CtKey::ProtoDst } else { CtKey::ProtoSrc };
        matches(&[ct(key, Some(direction)), is(&number.to_be_bytes())], &published())
    };
    let dnat = [ct(CtKey::Status, None), masked(&0x20_u32.to_ne_bytes()), is_not(&[0; 4])];
    let to = |address: [u8; 4]| [ct(CtKey::DstIp, Some(Direction::Original)), is(&address)];

    assert_eq!(port(Direction::Original, 9000), Some(true));
    assert_eq!(port(Direction::Original, 80), Some(false));
    assert_eq!(port(Direction::Reply, 80), Some(true));
    assert_eq!(matches(&dnat, &published()), Some(true));
    assert_eq!(matches(&dnat, &ssh()), Some(false));
    assert_eq!(matches(&to([203, 0, 113, 1]), &published()), Some(true));
    // An IPv6 address of an IPv4 connection breaks the rule.
    assert_eq!(matches(&[ct(CtKey::DstIp6, Some(Direction::Original)), is_not(&[0; 16])], &published()), Some(false));
}

#[test]
fn the_destination_is_translated_after_dstnat() {
    let at = |priority, port: u16| {
        matches_at(Hook::Prerouting, priority, &[dport(), is(&port.to_be_bytes())], &published())
    };

    assert_eq!([(-300, 9000), (-150, 9000), (-99, 80)].map(|(at_, port)| at(at_, port)), [Some(true); 3]);
    assert_eq!(matches(&[dport(), is(&80_u16.to_be_bytes())], &published()), Some(true));
}

#[test]
fn states_are_bits_and_there_is_no_connection_before_conntrack() {
    let state = |bit: u32, packet: &Packet| matches(&[ct(CtKey::State, None), is(&bit.to_ne_bytes())], packet);
    let raw =
        |key, data: &[u8], packet: &Packet| matches_at(Hook::Prerouting, -300, &[ct(key, None), is(data)], packet);
    let all = [
        (State::Invalid, 1),
        (State::Established, 2),
        (State::Reply, 2),
        (State::Related, 4),
        (State::New, 8),
        (State::Untracked, 64),
    ];

    for (of, bit) in all {
        assert_eq!(state(bit, &ssh().in_state(of)), Some(true), "{of:?}");
        assert_eq!(state(bit ^ 0xff, &ssh().in_state(of)), Some(false), "{of:?}");
    }
    assert_eq!(raw(CtKey::State, &1_u32.to_ne_bytes(), &ssh()), Some(true));
    assert_eq!(raw(CtKey::Status, &[0; 4], &ssh()), Some(false));
    assert_eq!(raw(CtKey::State, &8_u32.to_ne_bytes(), &ssh().coming_in_by("lo")), Some(true));
    let untracked = ssh().in_state(State::Untracked);
    assert_eq!(matches(&[ct(CtKey::Status, None), is_not(&[9; 4])], &untracked), Some(false));
    let related = ssh().in_state(State::Related);
    assert_eq!(matches(&[ct(CtKey::ProtoDst, Some(Direction::Original)), is(&[0, 22])], &related), None);
}

#[test]
fn neighbour_discovery_is_untracked_and_an_answer_to_nothing_invalid() {
    let first = |address: &str, kind| State::of_first(ip(address), Transport::Icmp { kind, code: 0 });

    assert_eq!([8, 0, 3].map(|kind| first("1.1.1.1", kind)), [State::New, State::Invalid, State::Invalid]);
    assert_eq!([128, 135, 143].map(|kind| first("::1", kind)), [State::New, State::Untracked, State::Untracked]);
    assert_eq!([129, 137].map(|kind| first("::1", kind)), [State::Invalid; 2]);
}

#[test]
fn a_lookup_matches_what_is_in_the_set_and_an_inverted_one_what_is_not() {
    let asks = |elements, inverted| matches(&[dport(), lookup(ports(elements), None, inverted)], &ssh());
    let range = || vec![Element::range(&[0, 20], &[0, 25])];
    let rest = || vec![Element { key: ElementKey::CatchAll, value: None }];

    assert_eq!([false, true].map(|inverted| asks(range(), inverted)), [Some(true), Some(false)]);
    assert_eq!([false, true].map(|inverted| asks(Vec::new(), inverted)), [Some(false), Some(true)]);
    assert_eq!([false, true].map(|inverted| asks(rest(), inverted)), [Some(true), None]);
}

#[test]
fn a_key_that_is_not_known_is_in_no_empty_set() {
    let sport = payload(PayloadBase::Transport, 0, 2);
    let asks = |elements| matches(&[sport.clone(), lookup(ports(elements), None, false)], &ssh());

    assert_eq!(asks(Vec::new()), Some(false));
    assert_eq!(asks(vec![Element::single(&[0, 22])]), None);
}

#[test]
fn a_map_gives_a_value_to_a_register_or_a_verdict() {
    let value = Some(Box::new(ElementValue::Data(Key::from_slice(&[7]))));
    let mut data = ports(vec![Element { value, ..Element::single(&[0, 22]) }]);
    data.spec.value = Some(MapValue::Data(KeyType::INET_PROTO));
    let mut verdicts = ports(vec![
        Element::single(&[0, 22]).with_verdict(Says::Return),
        Element::single(&[0, 23]).with_verdict(Says::Continue),
    ]);
    verdicts.spec.value = Some(MapValue::Verdict);
    let asks = |port, set: &Set, dreg, end: &[Expr]| {
        let packet = Packet { transport: Transport::tcp(port), ..ssh() };
        matches(&[&[dport(), lookup(set.clone(), Some(dreg), false)], end].concat(), &packet)
    };

    assert_eq!(
        asks(
            22,
            &data,
            Register::Data(4),
            &[Expr::Cmp { op: Cmp::Eq, sreg: Register::Data(4), data: vec![7, 0, 0, 0] }]
        ),
        Some(true)
    );
    assert_eq!(asks(24, &data, R, &[]), Some(false));
    assert_eq!(asks(22, &verdicts, Register::Verdict, &[]), Some(false));
    assert_eq!(asks(23, &verdicts, Register::Verdict, &[]), Some(true));
    assert_eq!(asks(24, &verdicts, Register::Verdict, &[]), Some(false));
    // A verdict is no value for a register.
    assert_eq!(asks(22, &verdicts, R, &[]), None);
}

#[test]
fn one_unhurried_packet_keeps_to_every_rate() {
    let limit = |over| Expr::Limit(Limit { rate: 1, unit: LimitUnit::Week, burst: 1, over });
    let spec = SetSpec::new(KeyType::INET_SERVICE, SetFlags::DYNAMIC);
    let seen = |over| {
        let dynset = Expr::Dynset {
            set: "seen".to_owned(),
            op: DynsetOp::Update,
            sreg_key: R,
            timeout_ms: 0,
            exprs: vec![limit(over)],
        };
        let drops = rule(&[dport(), dynset, says(Says::Drop)]);
        let set = Set { spec: spec.clone(), elements: Vec::new().into() };
        Table {
            sets: BTreeMap::from([("seen".to_owned(), set)]),
            ..table(vec![("base", base(Hook::Input, 0, Policy::Accept, &[drops]))])
        }
    };

    assert_eq!([false, true].map(|over| matches(&[limit(over)], &ssh())), [Some(true), Some(false)]);
    assert_eq!([false, true].map(|over| verdict(&seen(over), &ssh())), [Verdict::Deny, Verdict::Allow]);
}

#[test]
fn counters_and_logs_let_a_packet_go_on() {
    let log = Expr::Log(Log { prefix: "seen: ".to_owned(), group: None });

    assert_eq!(matches(&[Expr::Counter { packets: 7, bytes: 7 }, log, says(Says::Continue)], &ssh()), Some(true));
}
