//! Pure tests: encoding and decoding are inverse, and no input makes a decoder panic.

use super::nftables::decode::{self, Assembler};
use super::nftables::elements::Collector;
use super::nftables::expr;
use super::wire::attr::{self, Attributes, Message, Messages};
use super::wire::uapi::{self, NESTED, control, elem, flag};
use super::wire::write::Writer;
use super::*;
use crate::arbitrary;
use crate::ruleset::*;
use proptest::prelude::*;

/// A dump by kernel 6.18, message by message, after `nft -f` had loaded everything.nft and foreign.nft.
const DUMP: &[u8] = include_bytes!("../../tests/data/dump.bin");

fn ops(ops: Vec<Op>) -> Result<Batch, EncodeError> {
    encode(&Transaction { table: TableId::palisade(), ops }, &Handles::default(), 7)
}

fn add_table() -> Op {
    Op::AddTable { flags: TableFlags::default(), comment: None }
}

fn add_chain() -> Op {
    Op::AddChain { name: "c".to_owned(), base: None, comment: None }
}

fn add_rule(rule: Rule) -> Op {
    Op::AddRule { chain: "c".to_owned(), rule, before: None }
}

fn rule_of(expr: Expr) -> Op {
    add_rule(Rule { exprs: vec![expr], comment: None })
}

fn assemble(bytes: &[u8]) -> Table {
    let mut assembler = Assembler::new(TableId::palisade());
    for message in Messages::new(bytes) {
        assembler.accept(&message).unwrap();
    }
    assembler.finish().0.unwrap()
}

/// The rule decoded from its own encoding.
fn there_and_back(rule: &Rule) -> Rule {
    let batch = ops(vec![add_table(), add_chain(), add_rule(rule.clone())]).unwrap();
    assemble(batch.as_bytes()).chains.remove("c").unwrap().rules.remove(0)
}

fn set_there_and_back(set: &Set) -> Set {
    let name = "s".to_owned();
    let batch = ops(vec![
        add_table(),
        Op::AddSet { name: name.clone(), spec: set.spec.clone() },
        Op::AddElements { set: name, spec: set.spec.clone(), elements: set.elements.clone() },
    ]);
    assemble(batch.unwrap().as_bytes()).sets.remove("s").unwrap()
}

fn anonymous_sets(rule: &Rule) -> usize {
    rule.exprs.iter().filter(|expr| matches!(expr, Expr::Lookup { set: SetRef::Anonymous(_), .. })).count()
}

/// Passes a datagram to every decoder of kernel messages.
fn read_all(datagram: &[u8]) {
    for family in [Family::Inet, Family::Ip, Family::Netdev] {
        for name in ["palisade", "foreign", "nat", "early"] {
            let mut assembler = Assembler::new(TableId { family, name: name.to_owned() });
            for message in Messages::new(datagram) {
                let _ = assembler.accept(&message);
                let _ = (decode::table_id(&message), message.errno(), message.error_text(), message.resource());
            }
            let _ = assembler.sets_with_elements();
            let _ = assembler.finish();
        }
    }
}

#[test]
fn a_rule_of_each_expression_decodes_to_itself() {
    for rule in &arbitrary::everything().chains["everything"].rules {
        assert_eq!(there_and_back(rule), *rule);
    }
}

#[test]
fn a_set_of_each_form_decodes_to_itself() {
    for set in arbitrary::everything().sets.values() {
        if set.spec.flags.contains(SetFlags::DYNAMIC) && set.spec.size == Some(DYNAMIC_SIZE) {
            // The kernel sets this flag once a rule adds to the set.
            let told = set_there_and_back(set);
            assert_eq!((told.spec.size, told.canonical()), (None, set.canonical()));
            continue;
        }
        assert_eq!(set_there_and_back(set), *set);
    }
}

proptest! {
    #[test]
    fn any_rule_decodes_to_itself(rule in arbitrary::rule(Default::default())) {
        // Before the kernel numbers them, all anonymous sets of a batch share one name.
        prop_assume!(anonymous_sets(&rule) <= 1);
        prop_assert_eq!(there_and_back(&rule), rule);
    }

    #[test]
    fn any_set_decodes_to_itself(set in arbitrary::set(false)) {
        prop_assert_eq!(set_there_and_back(&set), set);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..512),
        kind in 0_u8..26,
        flags in any::<u16>(),
    ) {
        read_all(&bytes);
        let mut message = Vec::new();
        let writer = Writer::begin(&mut message, kind, flags, 1, 0);
        writer.finish();
        message.extend_from_slice(&bytes);
        let len = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&len.to_ne_bytes());
        read_all(&message);
        let _ = attr::comment(&bytes, 0);
        let _ = expr::decode_list(&bytes);
        let _ = expr::decode(&bytes);
        let error = Message { kind: control::ERROR, flags, seq: 0, payload: &bytes };
        let _ = (error.errno(), error.error_text());
    }

    #[test]
    fn no_change_of_a_real_dump_makes_the_decoder_panic(
        changes in prop::collection::vec((0..DUMP.len(), any::<u8>()), 1..40),
        end in 0..DUMP.len(),
        cut in any::<bool>(),
    ) {
        let mut dump = DUMP.to_vec();
        for (at, byte) in changes {
            dump[at] = byte;
        }
        read_all(if cut { &dump[..end] } else { &dump });
    }

    #[test]
    fn no_change_of_an_expression_makes_the_decoder_panic(
        rule in arbitrary::rule(Default::default()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = ops(vec![add_table(), add_chain(), add_rule(rule)]).unwrap().as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}

#[test]
fn a_real_dump_decodes_to_what_was_loaded() {
    let mut table = arbitrary::everything();
    // What nft can't print: a rule without expressions, and an element's age.
    table.chains.get_mut("everything").unwrap().rules.retain(|rule| !rule.exprs.is_empty());
    table.sets.get_mut("remembered").unwrap().elements = Elements::none();
    assert_eq!(assemble(DUMP), table);
}

/// A list of elements as the kernel writes it: one-byte keys, and whether each ends an interval.
fn list(edges: &[(u8, bool)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::reopen(&mut bytes, 0);
    for &(key, end) in edges {
        let nest = writer.open(uapi::NFTA_LIST_ELEM);
        writer.u32(elem::FLAGS, u32::from(end));
        let nested = writer.open(elem::KEY);
        writer.bytes(uapi::data::VALUE, &[key]);
        writer.close(&nested);
        writer.close(&nest);
    }
    bytes
}

fn collect(edges: &[(u8, bool)]) -> Vec<Element> {
    let mut collector = Collector::new(&arbitrary::interval_ports());
    collector.add_list(&list(edges)).unwrap();
    collector.finish()
}

#[test]
fn an_end_at_zero_that_nothing_starts_before_is_nothing() {
    assert_eq!(collect(&[(0, true), (5, false), (9, true)]), [Element::range(&[5], &[8])]);
}

#[test]
fn an_element_with_expressions_that_its_set_does_not_ask_for_is_unknown() {
    let mut bytes = Vec::new();
    let mut writer = Writer::reopen(&mut bytes, 0);
    let nest = writer.open(uapi::NFTA_LIST_ELEM);
    let nested = writer.open(elem::KEY);
    writer.bytes(uapi::data::VALUE, &[5]);
    writer.close(&nested);
    writer.bytes(elem::EXPR, b"limit");
    writer.close(&nest);
    let element = bytes[4..].to_vec();
    let decoded = |flags| {
        let mut collector = Collector::new(&SetSpec { flags, ..arbitrary::interval_ports() });
        collector.add_list(&bytes).unwrap();
        collector.finish()
    };

    let value = Some(Box::new(ElementValue::Unknown(element)));
    assert_eq!(decoded(SetFlags::default()), [Element { value, ..Element::single(&[5]) }]);
    assert_eq!(decoded(SetFlags::EXPR), [Element::single(&[5])]);
}

#[test]
fn a_dynset_within_a_dynset_is_not_followed_however_deep_it_goes() {
    let mut bytes = Vec::new();
    while bytes.len() < 60_000 {
        let mut outer = Vec::new();
        let mut writer = Writer::reopen(&mut outer, 0);
        writer.text(uapi::expr::NAME, "dynset");
        writer.bytes(uapi::expr::DATA | NESTED, &[&[0, 0, 7, 0][..], &bytes].concat());
        bytes = outer;
        let inner = u16::try_from(bytes.len() - 16).unwrap();
        bytes[16..18].copy_from_slice(&inner.to_ne_bytes());
    }
    assert!(matches!(super::nftables::expr::decode(&bytes), Expr::Unknown { name, .. } if name == "dynset"));
}

#[test]
fn intervals_that_touch_stay_two_in_whatever_order_they_come() {
    let expected = [Element::range(&[0], &[4]), Element::single(&[5]), Element::range(&[6], &[255])];
    assert_eq!(collect(&[(0, false), (5, true), (5, false), (6, true), (6, false)]), expected);
    assert_eq!(collect(&[(6, false), (5, false), (6, true), (0, false), (5, true)]), expected);
}

#[test]
fn a_start_without_an_end_runs_to_the_next_start_or_to_the_greatest_value() {
    let expected = [Element::range(&[3], &[6]), Element::range(&[7], &[255])];
    assert_eq!(collect(&[(3, false), (7, false)]), expected);
}

#[test]
fn each_element_list_keeps_below_what_its_length_can_say() {
    let name = "n".repeat(255);
    let elements: Vec<_> = (0..2_000_u16)
        .map(|n| Element::single(&(n * 2).to_be_bytes()).with_verdict(Verdict::Jump(name.clone())))
        .collect();
    let spec = SetSpec { value: Some(MapValue::Verdict), ..arbitrary::interval_ports() };
    let op = Op::AddElements { set: "s".to_owned(), spec, elements: elements.into() };
    let batch = ops(vec![op]).unwrap();
    let lists: Vec<_> = Messages::new(batch.as_bytes()).filter(|message| message.kind == 10 << 8 | 12).collect();
    assert!(lists.len() > 5);
    for list in lists {
        assert!(list.payload.len() < 65_535);
        assert!(Attributes::new(list.attributes().unwrap()).all(|attribute| attribute.is_ok()));
        assert_eq!(batch.op(list.seq), Some(0));
    }
}

#[test]
fn a_batch_begins_with_its_generation_and_asks_for_one_acknowledgement() {
    let batch = ops(vec![add_table(), add_chain(), rule_of(Expr::Verdict(Verdict::Drop))]).unwrap();
    let messages: Vec<_> = Messages::new(batch.as_bytes()).collect();
    let summary: Vec<_> =
        messages.iter().map(|message| (message.kind, message.flags & flag::ACK != 0, message.seq)).collect();
    let table = 10 << 8;
    assert_eq!(
        summary,
        [(16, false, 0), (table, false, 1), (table | 3, false, 2), (table | 6, true, 3), (17, false, 4)]
    );
    // nlmsg_len 28, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST; res_id 10; NFNL_BATCH_GENID 7.
    assert_eq!(
        batch.as_bytes()[..28],
        [28, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 8, 0, 1, 0, 0, 0, 0, 7]
    );
    assert_eq!((0..5).map(|seq| batch.op(seq)).collect::<Vec<_>>(), [None, Some(0), Some(1), Some(2), None]);
}

#[test]
fn what_cannot_be_written_is_an_error_that_names_the_operation() {
    let unknown = Expr::Unknown { name: "quota".to_owned(), attributes: Vec::new() };
    let cmp = |data| Expr::Cmp { op: Cmp::Eq, sreg: Register::ONE, data };
    let spec = arbitrary::addresses();
    let elements = |key: &[u8]| Op::AddElements {
        set: "s".to_owned(),
        spec: spec.clone(),
        elements: vec![Element::single(key)].into(),
    };
    let comment = |text: &str| add_rule(Rule { exprs: Vec::new(), comment: Some(text.to_owned()) });
    let no_such_rule = Problem::NoSuchRule { chain: "c".to_owned(), index: 3 };
    let long = "x".repeat(126);
    let cases = [
        (rule_of(unknown), Problem::Unknown("expression `quota`".to_owned())),
        (rule_of(cmp(vec![0; 65])), Problem::DataLength(65)),
        (rule_of(cmp(Vec::new())), Problem::DataLength(0)),
        (
            rule_of(Expr::Bitwise { sreg: Register::ONE, dreg: Register::ONE, mask: vec![0; 4], xor: vec![0; 2] }),
            Problem::DataLength(2),
        ),
        (rule_of(Expr::Log(Log { prefix: "x".repeat(128), group: None })), Problem::LogPrefix(128)),
        (rule_of(Expr::Verdict(Verdict::Jump("a\0b".to_owned()))), Problem::Name("a\0b".to_owned())),
        (
            add_rule(Rule { exprs: vec![Expr::Verdict(Verdict::Drop); 129], comment: None }),
            Problem::TooManyExpressions(129),
        ),
        (comment(&long), Problem::Comment(long.clone())),
        (comment("a\0"), Problem::Comment("a\0".to_owned())),
        (elements(&[1, 2]), Problem::Element),
        (Op::DeleteSet { name: String::new() }, Problem::Name(String::new())),
        (Op::DeleteRule { chain: "c".to_owned(), index: 3, rule: Rule::default() }, no_such_rule.clone()),
        (Op::AddRule { chain: "c".to_owned(), rule: Rule::default(), before: Some(3) }, no_such_rule),
    ];
    for (op, problem) in cases {
        assert_eq!(ops(vec![add_table(), op]).unwrap_err(), EncodeError { op: 1, problem });
    }
}

/// The attributes of one expression, as in a dump.
type Dumped<'a> = &'a [(u16, &'a [u8])];

/// One dumped expression, decoded, and the bytes of its attributes.
fn dumped(name: &str, attributes: Dumped) -> (Expr, Vec<u8>) {
    let mut data = Vec::new();
    let mut writer = Writer::reopen(&mut data, 0);
    attributes.iter().for_each(|&(kind, payload)| writer.bytes(kind, payload));
    let mut bytes = Vec::new();
    let mut writer = Writer::reopen(&mut bytes, 0);
    writer.text(uapi::expr::NAME, name);
    writer.bytes(uapi::expr::DATA | NESTED, &data);
    (expr::decode(&bytes), data)
}

#[test]
fn what_the_kernel_adds_by_itself_is_not_a_difference() {
    let log = Expr::Log(Log { prefix: "x".to_owned(), group: None });
    // `log prefix "x"`: dumped with level 4 and, by other kernels, flags 0
    assert_eq!(dumped("log", &[(2, b"x\0"), (5, &[0, 0, 0, 4])]).0, log);
    assert_eq!(dumped("log", &[(2, b"x\0"), (5, &[0, 0, 0, 4]), (6, &[0; 4])]).0, log);
    // NFT_REG32_00 and NFT_REG_1 are the same register: `meta l4proto`
    let meta = Expr::Meta { key: MetaKey::L4proto, dreg: Register::ONE };
    assert_eq!(dumped("meta", &[(2, &[0, 0, 0, 16]), (1, &[0, 0, 0, 1])]).0, meta);
    assert_eq!(dumped("meta", &[(2, &[0, 0, 0, 16]), (1, &[0, 0, 0, 8])]).0, meta);
    // `@s`, with flags 0
    let lookup =
        Expr::Lookup { set: SetRef::Named("s".to_owned()), sreg: Register::ONE, dreg: None, inverted: false };
    assert_eq!(dumped("lookup", &[(1, b"s\0"), (2, &[0, 0, 0, 1]), (5, &[0; 4])]).0, lookup);
}

#[test]
fn a_form_that_is_not_understood_to_the_last_attribute_is_unknown() {
    let one: &[u8] = &[0, 0, 0, 1];
    let cases: [(&str, Dumped); 6] = [
        ("log", &[(1, &[0, 2]), (3, &[0, 0, 0, 100])]), // group 2 snaplen 100
        ("lookup", &[(1, b"s\0"), (2, one), (5, &[0, 0, 0, 2])]), // an unknown flag
        ("lookup", &[(1, b"s\0"), (2, one), (9, one)]), // an unknown attribute
        ("limit", &[(1, &[0, 0, 0, 0, 0, 0, 0, 5]), (2, &[0, 0, 0, 0, 0, 0, 0, 2]), (3, one)]), // per two seconds
        ("counter", &[(1, one)]),                       // malformed
        ("quota", &[(1, one)]),
    ];
    for (name, attributes) in cases {
        let (expr, attributes) = dumped(name, attributes);
        assert_eq!(expr, Expr::Unknown { name: name.to_owned(), attributes });
    }
}

#[test]
fn what_only_other_programs_write_is_kept_whole() {
    let one: &[u8] = &[0, 0, 0, 1];
    let two: &[u8] = &[0, 0, 0, 2];
    let is = |name: &str, attributes: Dumped, expected: Foreign| {
        assert_eq!(dumped(name, attributes).0, Expr::Foreign(expected), "{name}");
    };
    // meta mark set
    is("meta", &[(2, &[0, 0, 0, 3]), (3, one)], Foreign::SetMeta { key: MetaKey::Mark, sreg: Register::ONE });
    // log level debug
    let log = Foreign::Log { prefix: "x".to_owned(), level: Some(7), flags: None };
    is("log", &[(2, b"x\0"), (5, &[0, 0, 0, 7])], log);
    // reject with icmp port-unreachable
    is("reject", &[(1, &[0; 4]), (2, &[3])], Foreign::Reject { kind: 0, code: 3 });
    // dnat ip to reg 1 : reg 2
    let nat = Nat {
        destination: true,
        family: 2,
        addresses: [Some(Register::ONE), None],
        ports: [Some(Register::Data(4)), None],
        flags: 2,
    };
    is("nat", &[(1, one), (2, two), (3, one), (5, two), (7, two)], Foreign::Nat(nat));
    // an iptables comment
    let comment = Extension { name: "comment".to_owned(), revision: 0, info: vec![7; 3] };
    is("match", &[(1, b"comment\0"), (2, &[0; 4]), (3, &[7; 3])], Foreign::Match(comment));
}

#[test]
fn what_fib_is_asked_is_read_whole_and_an_answer_of_the_future_is_unknown() {
    let one: &[u8] = &[0, 0, 0, 1];
    let three: &[u8] = &[0, 0, 0, 3];
    let is = |attributes: Dumped, result, flags| {
        assert_eq!(dumped("fib", attributes).0, Expr::Fib { result, flags, dreg: Register::ONE });
    };
    // fib daddr type
    is(&[(1, one), (2, three), (3, &[0, 0, 0, 2])], FibResult::Type, fib_flags::DADDR);
    // fib saddr . iif oif missing
    let back = fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT;
    is(&[(1, one), (2, one), (3, &[0, 0, 0, 41])], FibResult::Oif, back);
    // fib saddr oifname
    is(&[(1, one), (2, &[0, 0, 0, 2]), (3, one)], FibResult::OifName, fib_flags::SADDR);
    // an unknown result, an unknown attribute, no flags
    let unknown: [Dumped; 3] =
        [&[(1, one), (2, &[0, 0, 0, 4]), (3, one)], &[(1, one), (2, one), (3, one), (4, one)], &[(1, one), (2, one)]];
    for attributes in unknown {
        let (expr, attributes) = dumped("fib", attributes);
        assert_eq!(expr, Expr::Unknown { name: "fib".to_owned(), attributes });
    }
}
