//! nft text of the intermediate form: by hand in, whole text out.

mod statements;

use palisade::render;
use palisade::ruleset::{Op, Transaction, *};
use statements::*;

#[test]
fn each_statement_that_palisade_compiles_has_its_nft_text() {
    for (text, exprs) in statements() {
        assert_eq!(render::expressions(Family::Inet, &exprs), text);
    }
}

/// A condition is left out only where nft would put it back in the same place.
#[test]
fn a_condition_that_the_next_statement_does_not_imply_is_written() {
    let udp_from = [nfproto(2).as_slice(), &[network(12, 4), eq(&[10, 0, 0, 1])]].concat();
    let dport = [transport(2, 2), eq(&[0, 53])];
    let cases = [
        (
            Family::Inet,
            [&l4proto(17), udp_from.as_slice(), &dport].concat(),
            "meta l4proto udp ip saddr 10.0.0.1 udp dport 53",
        ),
        (
            Family::Inet,
            [l4proto(17).as_slice(), &nfproto(2), &dport].concat(),
            "meta l4proto udp meta nfproto ipv4 udp dport 53",
        ),
        (
            Family::Inet,
            [l4proto(1).as_slice(), &[transport(0, 1), eq(&[8])]].concat(),
            "meta l4proto icmp icmp type echo-request",
        ),
        (Family::Inet, [nfproto(2).as_slice(), &nfproto(2)].concat(), "meta nfproto ipv4 meta nfproto ipv4"),
        (Family::Inet, dport.to_vec(), "th dport 53"),
        (Family::Inet, vec![network(12, 4), eq(&[10, 0, 0, 1])], "@nh,96,32 0x0a000001"),
        (Family::Ip, vec![network(12, 4), eq(&[10, 0, 0, 1])], "ip saddr 10.0.0.1"),
        (
            Family::Inet,
            [nfproto(2).as_slice(), &[network(9, 1), eq(&[6])], &dport].concat(),
            "ip protocol tcp tcp dport 53",
        ),
    ];
    let original = [original(CtKey::DstIp), in_set("a"), network(12, 4), in_set("b")];
    let late = (
        Family::Inet,
        [nfproto(2).as_slice(), &original].concat(),
        "meta nfproto ipv4 ct original ip daddr @a ip saddr @b",
    );
    for (family, exprs, text) in cases.into_iter().chain([late]) {
        assert_eq!(render::expressions(family, &exprs), text);
    }
}

#[test]
fn what_somebody_else_wrote_is_shown_as_nearly_as_nft_can_say_it() {
    let slot = |slot| Register::Data(slot);
    let quota = Expr::Unknown { name: "quota\u{1b}[2J".to_owned(), attributes: vec![1, 2] };
    let concatenated = [
        Expr::Payload { base: PayloadBase::Network, offset: 8, len: 16, dreg: slot(0) },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: slot(4) },
        in_set("pairs"),
    ];
    let one = Register::ONE;
    let mark = 1_u32.to_ne_bytes();
    let xor = Expr::Bitwise { sreg: one, dreg: one, mask: mark.to_vec(), xor: mark.to_vec() };
    let cases = [
        (vec![quota, eq(&[1])], "<unknown expression \"quota\\u{1b}[2J\"> <register 1> 0x01"),
        (
            [nfproto(10).as_slice(), &l4proto(6), &concatenated].concat(),
            "meta nfproto ipv6 meta l4proto tcp ip6 saddr . tcp dport @pairs",
        ),
        (vec![meta(MetaKey::Mark), eq(&mark)], "meta mark 0x1"),
        (vec![meta(MetaKey::Mark), xor, eq(&mark)], "(meta mark & 0x1) ^ 0x1 == 0x1"),
        (vec![meta(MetaKey::Other(99)), eq(&mark)], "<unknown meta key 99> 0x01000000"),
        (vec![meta(MetaKey::Iifname), meta(MetaKey::Oifname)], "<unused iifname> <unused oifname>"),
        (vec![verdict(Verdict::Other(-7))], "<unknown verdict -7>"),
        (vec![vmap("a b")], "<register 1> vmap @\"a b\""),
        (vec![ct(CtKey::State), and(&6_u32.to_ne_bytes()), cmp(Cmp::Neq, &[0; 4])], "ct state established,related"),
        (
            [l4proto(6).as_slice(), &[transport(2, 2), cmp(Cmp::Gte, &[0, 80]), cmp(Cmp::Lte, &[0, 90])]].concat(),
            "tcp dport 80-90",
        ),
        (vec![Expr::Counter { packets: 5, bytes: 7 }], "counter packets 5 bytes 7"),
        (vec![Expr::Cmp { op: Cmp::Eq, sreg: Register::Verdict, data: vec![] }], "<register 0> 0x0"),
    ];
    for (exprs, text) in cases {
        assert_eq!(render::expressions(Family::Inet, &exprs), text);
    }
}

#[test]
fn an_element_is_written_as_nft_reads_it() {
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let of = |key| spec(key);
    let verdicts = SetSpec { value: Some(MapValue::Verdict), ..spec(KeyType::INET_SERVICE) };
    let catch_all = Element { key: ElementKey::CatchAll, value: None }.with_verdict(Verdict::Return);
    let cases = [
        (of(KeyType::IPV4_ADDR), Element::single(&[192, 0, 2, 1]), "192.0.2.1"),
        (of(KeyType::IPV4_ADDR), Element::range(&[10, 0, 0, 4], &[10, 0, 0, 7]), "10.0.0.4/30"),
        (of(KeyType::IPV4_ADDR), Element::range(&[10, 0, 0, 5], &[10, 0, 0, 8]), "10.0.0.5-10.0.0.8"),
        (of(KeyType::IPV4_ADDR), Element::range(&[0; 4], &[255; 4]), "0.0.0.0/0"),
        (of(KeyType::IPV4_ADDR), Element::single(&[1, 2]), "0x0102"),
        (
            of(KeyType::IPV6_ADDR),
            Element::range(&v6("fe80::"), &v6("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            "fe80::/10",
        ),
        (of(KeyType::INET_PROTO), Element::single(&[17]), "udp"),
        (of(KeyType::INET_PROTO), Element::single(&[47]), "47"),
        (of(KeyType::IFNAME), Element::single(&ifname("eth0")), "\"eth0\""),
        (of(KeyType::IFNAME), Element::single(&ifname("odd*")), "\"odd\\*\""),
        (of(KeyType::IFNAME), wildcard("br-"), "\"br-*\""),
        (
            verdicts.clone(),
            Element::range(&[0, 80], &[0, 90]).with_verdict(Verdict::Jump("web".to_owned())),
            "80-90 : jump web",
        ),
        (verdicts, catch_all, "* : return"),
        (of(KeyType { number: 777, len: 3 }), Element::single(&[1, 2, 3]), "0x010203"),
    ];
    for (spec, element, text) in cases {
        assert_eq!(render::element(&spec, &element), text);
    }
}

#[test]
fn a_table_is_laid_out_as_nft_lists_it() {
    let mut table = table();
    table.chains.get_mut("filter-input").unwrap().rules.truncate(2);
    table.others.insert("counter hits".to_owned());
    table.sets.retain(|name, _| ["services-tcp", "ssh.limit-v4"].contains(&name.as_str()));
    table.sets.insert(
        "many-v4".to_owned(),
        Set {
            spec: spec(KeyType::IPV4_ADDR),
            elements: (0..9).map(|last| Element::single(&[192, 0, 2, last])).collect(),
        },
    );
    assert_eq!(render::table(&TableId::palisade(), &table), include_str!("render/table.nft"));
}

#[test]
fn a_table_as_json_holds_the_same_texts() {
    let mut table = table();
    table.chains.get_mut("filter-input").unwrap().rules.truncate(2);
    table.chains.retain(|name, _| ["filter-input", "service-ssh"].contains(&name.as_str()));
    table.sets.retain(|name, _| ["services-tcp", "s.to-v4", "ssh.limit-v4"].contains(&name.as_str()));
    let json = serde_json::to_string_pretty(&render::json::table(&TableId::palisade(), &table)).unwrap();
    assert_eq!(json + "\n", include_str!("render/table.json"));
}

#[test]
fn a_transaction_reads_as_nft_commands() {
    let base = table().chains["filter-input"].base.clone().unwrap();
    let rule = Rule { exprs: vec![verdict(Verdict::Accept)], comment: Some("why".to_owned()) };
    let verdicts = SetSpec { value: Some(MapValue::Verdict), ..spec(KeyType::INET_SERVICE) };
    let port = vec![Element::single(&[0, 22]).with_verdict(Verdict::Accept)];
    let name = |name: &str| name.to_owned();
    let ops = vec![
        Op::AddTable { flags: TableFlags::default(), comment: Some(name("palisade")) },
        Op::AddTable { flags: TableFlags::DORMANT, comment: None },
        Op::AddTable { flags: TableFlags::default(), comment: None },
        Op::AddChain { name: name("service-ssh"), base: None, comment: None },
        Op::AddChain { name: name("filter-input"), base: Some(base.clone()), comment: Some(name("In")) },
        Op::SetPolicy { name: name("filter-input"), base },
        Op::AddSet { name: name("services-tcp"), spec: verdicts.clone() },
        Op::DeleteRule { chain: name("filter-input"), index: 3, rule: rule.clone() },
        Op::DeleteElements { set: name("services-tcp"), spec: verdicts.clone(), elements: port.clone().into() },
        Op::AddElements { set: name("services-tcp"), spec: verdicts, elements: port.into() },
        Op::AddRule { chain: name("filter-input"), rule: rule.clone(), before: Some(2) },
        Op::AddRule { chain: name("filter-input"), rule, before: None },
        Op::DeleteChain { name: name("old") },
        Op::DeleteSet { name: name("old-v4") },
        Op::DeleteTable,
    ];
    let transaction = Transaction { table: TableId::palisade(), ops };
    assert_eq!(render::transaction(&transaction), include_str!("render/transaction.nft"));
}

#[test]
fn a_priority_is_named_only_where_nft_1_0_6_takes_the_name() {
    let header = |family, hook, priority| {
        let base =
            BaseChain { kind: "nat".to_owned(), hook, priority, policy: Policy::Accept, devices: Default::default() };
        render::chain_header(family, "c", Some(&base), None)
    };
    let cases = [
        (Family::Inet, Hook::Prerouting, -100, "prerouting priority dstnat"),
        (Family::Inet, Hook::Output, -100, "output priority -100"),
        (Family::Inet, Hook::Prerouting, -295, "prerouting priority raw + 5"),
        (Family::Ip, Hook::Postrouting, 99, "postrouting priority srcnat - 1"),
        (Family::Inet, Hook::Input, i32::MIN, "input priority -2147483648"),
        (Family::Netdev, Hook::Prerouting, 0, "ingress priority 0"),
    ];
    for (family, hook, number, text) in cases {
        assert_eq!(header(family, hook, number), format!("chain c {{ type nat hook {text}; policy accept; }}"));
    }
}
