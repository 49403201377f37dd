//! Packets that rules translate and that follow routes.

use super::*;
use crate::net::protocol;
use crate::ruleset::{AddressType, Extension, FibResult, Foreign, Nat, ct_state, fib_flags};

/// eth0 to the world, docker0 to 172.17.0.0/16, and 203.0.113.1 and 2001:db8::1 this machine's own.
pub(super) struct Table;

impl Routes for Table {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        match asked.destination {
            own if [ip("203.0.113.1"), ip("2001:db8::1")].contains(&own) => Ok(Way::Local),
            IpAddr::V4(guest) if guest.octets()[..2] == [172, 17] => Ok(Way::Out("docker0".to_owned())),
            nowhere if nowhere == ip("192.0.2.1") => Ok(Way::Lost("this machine does not forward".into())),
            unknown if unknown == ip("192.0.2.2") => Err("the routing can't be asked".into()),
            _ => Ok(Way::Out("eth0".to_owned())),
        }
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        Ok(if address == ip("203.0.113.1") { AddressType::Local } else { AddressType::Unicast })
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        Ok(if interface == "lo" { 1 } else { 7 })
    }
}

fn nat_chain(hook: Hook, rules: &[Rule]) -> Chain {
    let mut chain = base(hook, -100, Policy::Accept, rules);
    chain.base.iter_mut().for_each(|base| base.kind = "nat".to_owned());
    chain
}

fn local() -> [Expr; 2] {
    let fib = Expr::Fib { result: FibResult::Type, flags: fib_flags::DADDR, dreg: R };
    [fib, Expr::Cmp { op: Cmp::Eq, sreg: R, data: 2_u32.to_ne_bytes().to_vec() }]
}

const UNREACHABLE: Reject = Reject::Icmpx(IcmpxCode::PortUnreachable);

/// `dnat to 172.17.0.2:80`, as nft writes it.
fn dnat() -> Vec<Expr> {
    let port = Register::Data(4);
    vec![
        Expr::Foreign(Foreign::Immediate { dreg: R, data: vec![172, 17, 0, 2] }),
        Expr::Foreign(Foreign::Immediate { dreg: port, data: vec![0, 80] }),
        Expr::Foreign(Foreign::Nat(Nat {
            destination: true,
            family: 2,
            addresses: [Some(R), None],
            ports: [Some(port), None],
            flags: 2,
        })),
    ]
}

fn tables(chains: &[(&str, Chain)]) -> (TableId, crate::ruleset::Table) {
    let chains = chains.iter().map(|(name, chain)| ((*name).to_owned(), chain.clone())).collect();
    (TableId { family: Family::Ip, name: "t".to_owned() }, crate::ruleset::Table { chains, ..Default::default() })
}

fn drops_port(port: u16) -> Rule {
    rule(&[
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: R },
        Expr::Cmp { op: Cmp::Eq, sreg: R, data: port.to_be_bytes().to_vec() },
        says(Says::Drop),
    ])
}

#[test]
fn a_translated_packet_is_forwarded_and_seen_there_as_translated() {
    let publish = rule(&[&local()[..], &dnat()].concat());
    let (id, table) = tables(&[
        ("a", nat_chain(Hook::Prerouting, &[publish])),
        ("b", base(Hook::Input, 0, Policy::Drop, &[])),
        ("c", base(Hook::Forward, 0, Policy::Accept, &[drops_port(80)])),
    ]);

    let traversal = follow([(&id, &table)], &AsListed, &Table, &ssh());
    let elsewhere = Packet { destination: ip("198.51.100.7"), ..ssh() };
    let routed = follow([(&id, &table)], &AsListed, &Table, &elsewhere);

    assert_eq!(traversal.trace.verdict, Verdict::Deny);
    assert_eq!(traversal.trace.denied_by().map(|step| step.hook), Some(Hook::Forward));
    assert_eq!(traversal.translated, Some(Translation { address: ip("172.17.0.2"), port: Some(80) }));
    assert_eq!(traversal.routed, [RoutingDecision { after: 1, way: Way::Out("docker0".to_owned()) }]);
    assert_eq!((routed.trace.verdict, routed.translated), (Verdict::Allow, None));
}

#[test]
fn the_first_chain_to_translate_has_the_say() {
    let mut later = nat_chain(Hook::Prerouting, &[rule(&[says(Says::Drop)])]);
    later.base.iter_mut().for_each(|base| base.priority = -99);
    let (id, table) = tables(&[("a", nat_chain(Hook::Prerouting, &[rule(&dnat())])), ("b", later)]);

    let traversal = follow([(&id, &table)], &AsListed, &Table, &ssh());

    assert_eq!(traversal.trace.verdict, Verdict::Allow);
}

#[test]
fn a_translation_in_doubt_leaves_all_in_doubt() {
    let (id, table) =
        tables(&[("a", nat_chain(Hook::Prerouting, &[rule(&[vec![unknown("quota")], dnat()].concat())]))]);

    let traversal = follow([(&id, &table)], &AsListed, &Table, &ssh());

    assert_eq!(traversal.trace.verdict, Verdict::Unknown);
    assert_eq!(traversal.doubt().map(|why| &**why), Some("what the expression `quota` does is not known"));
}

#[test]
fn where_the_routing_loses_a_packet_no_rule_is_asked_and_where_it_can_not_be_asked_nobody_can_tell() {
    let (id, table) = tables(&[("a", base(Hook::Forward, 0, Policy::Accept, &[]))]);
    let to = |address: &str| {
        let packet = Packet { destination: ip(address), ..ssh() };
        follow([(&id, &table)], &AsListed, &Table, &packet)
    };

    assert_eq!((to("192.0.2.1").trace.verdict, to("192.0.2.1").trace.steps.len()), (Verdict::Deny, 0));
    assert_eq!(to("192.0.2.2").trace.verdict, Verdict::Unknown);
    assert_eq!(to("192.0.2.2").doubt().map(|why| &**why), Some("the routing can't be asked"));
}

#[test]
fn what_this_machine_sends_to_itself_passes_output_and_input() {
    let packet = Packet::from_machine(ip("203.0.113.1"), ip("203.0.113.1"), Transport::tcp(22));
    let (id, table) = tables(&[
        ("a", base(Hook::Output, 0, Policy::Accept, &[])),
        ("b", base(Hook::Input, 0, Policy::Drop, &[])),
        ("c", base(Hook::Forward, 0, Policy::Drop, &[])),
    ]);

    let traversal = follow([(&id, &table)], &AsListed, &Table, &packet);

    let hooks: Vec<Hook> = traversal.trace.steps.iter().map(|step| step.hook).collect();
    assert_eq!((traversal.trace.verdict, hooks), (Verdict::Deny, vec![Hook::Output, Hook::Input]));
}

#[test]
fn a_mark_is_seen_by_later_rules_and_is_in_doubt_after_a_rule_in_doubt() {
    let set = |value: u32| {
        vec![
            Expr::Foreign(Foreign::Immediate { dreg: R, data: value.to_ne_bytes().to_vec() }),
            Expr::Foreign(Foreign::SetMeta { key: MetaKey::Mark, sreg: R }),
        ]
    };
    let drop_marked = rule(&[
        Expr::Meta { key: MetaKey::Mark, dreg: R },
        Expr::Cmp { op: Cmp::Eq, sreg: R, data: 7_u32.to_ne_bytes().to_vec() },
        says(Says::Drop),
    ]);
    let verdict = |first: &[Expr]| {
        let (id, table) = tables(&[
            ("a", base(Hook::Prerouting, -300, Policy::Accept, &[rule(first)])),
            ("b", base(Hook::Input, 0, Policy::Accept, std::slice::from_ref(&drop_marked))),
        ]);
        follow([(&id, &table)], &AsListed, &Table, &ssh()).trace.verdict
    };

    assert_eq!(verdict(&set(7)), Verdict::Deny);
    assert_eq!(verdict(&set(8)), Verdict::Allow);
    assert_eq!(verdict(&[]), Verdict::Allow);
    assert_eq!(verdict(&[vec![unknown("quota")], set(8)].concat()), Verdict::Unknown);
}

#[test]
fn a_match_of_iptables_that_is_not_known_leads_both_ways_and_a_target_anywhere() {
    let extension = |name: &str| Extension { name: name.to_owned(), revision: 0, info: vec![0; 64] };
    let verdict = |exprs: &[Expr]| {
        let (id, table) = tables(&[("b", base(Hook::Input, 0, Policy::Accept, &[rule(exprs)]))]);
        follow([(&id, &table)], &AsListed, &Table, &ssh()).trace.verdict
    };

    assert_eq!(verdict(&[Expr::Foreign(Foreign::Match(extension("owner"))), says(Says::Drop)]), Verdict::Unknown);
    assert_eq!(verdict(&[Expr::Foreign(Foreign::Match(extension("owner"))), says(Says::Accept)]), Verdict::Allow);
    assert_eq!(verdict(&[Expr::Foreign(Foreign::Match(extension("comment"))), says(Says::Drop)]), Verdict::Deny);
    assert_eq!(verdict(&[Expr::Foreign(Foreign::Target(extension("TPROXY")))]), Verdict::Unknown);
    assert_eq!(verdict(&[Expr::Foreign(Foreign::Target(extension("LOG")))]), Verdict::Allow);
}

#[test]
fn a_translation_to_where_it_goes_anyway_is_none() {
    let is_translated = rule(&[
        ct(CtKey::Status, None),
        Expr::Bitwise { sreg: R, dreg: R, mask: 0x20_u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        is_not(&[0; 4]),
        says(Says::Drop),
    ]);
    let (id, table) = tables(&[
        ("a", nat_chain(Hook::Prerouting, &[rule(&dnat())])),
        ("b", base(Hook::Forward, 0, Policy::Accept, &[is_translated])),
    ]);
    let to = |port| {
        let packet = Packet { destination: ip("172.17.0.2"), transport: Transport::tcp(port), ..ssh() };
        follow([(&id, &table)], &AsListed, &Table, &packet).trace.verdict
    };

    assert_eq!((to(80), to(22)), (Verdict::Allow, Verdict::Deny));
}

#[test]
fn what_this_machine_sends_to_itself_is_translated_at_output_or_not_at_all() {
    let packet = Packet::from_machine(ip("203.0.113.1"), ip("203.0.113.1"), Transport::tcp(22));
    let at = |hook| {
        let (id, table) = tables(&[("a", nat_chain(hook, &[rule(&dnat())]))]);
        follow([(&id, &table)], &AsListed, &Table, &packet).translated.is_some()
    };

    assert_eq!((at(Hook::Prerouting), at(Hook::Output)), (false, true));
}

#[test]
fn a_refusal_passes_the_rules_as_what_it_is() {
    let icmp = [meta(MetaKey::L4proto), is(&[protocol::ICMP]), says(Says::Drop)];
    let verdict = |with: Reject| {
        let (id, table) = tables(&[
            ("a", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(with)])])),
            ("b", base(Hook::Output, 0, Policy::Accept, &[rule(&icmp)])),
        ]);
        follow([(&id, &table)], &AsListed, &Table, &ssh()).trace.verdict
    };

    assert_eq!(verdict(Reject::TcpReset), Verdict::Reject);
    assert_eq!(verdict(UNREACHABLE), Verdict::Deny);
}

#[test]
fn a_refusal_of_what_is_left_untracked_belongs_to_no_connection() {
    let of_none = [ct(CtKey::State, None), is(&ct_state::INVALID.to_ne_bytes()), says(Says::Drop)];
    let verdict = |untracked: bool| {
        let raw = if untracked { vec![rule(&[Expr::Foreign(Foreign::Notrack)])] } else { Vec::new() };
        let (id, table) = tables(&[
            ("a", base(Hook::Prerouting, -300, Policy::Accept, &raw)),
            ("b", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(UNREACHABLE)])])),
            ("c", base(Hook::Output, 0, Policy::Accept, &[rule(&of_none)])),
        ]);
        follow([(&id, &table)], &AsListed, &Table, &ssh()).trace.verdict
    };

    assert_eq!([false, true].map(verdict), [Verdict::Reject, Verdict::Deny]);
}

#[test]
fn what_a_rule_leaves_untracked_is_so_for_those_behind_it_and_before_the_lookup() {
    let untracked = rule(&[ct(CtKey::State, None), is(&ct_state::UNTRACKED.to_ne_bytes()), says(Says::Drop)]);
    let notrack = rule(&[Expr::Foreign(Foreign::Notrack)]);
    let verdict = |rules: [&Rule; 2]| {
        let (id, table) = tables(&[("a", base(Hook::Prerouting, -300, Policy::Accept, &rules.map(Clone::clone)))]);
        follow([(&id, &table)], &AsListed, &Table, &ssh()).trace.verdict
    };

    assert_eq!([verdict([&notrack, &untracked]), verdict([&untracked, &notrack])], [Verdict::Deny, Verdict::Allow]);
}

#[test]
fn a_refusal_leaves_by_where_its_sender_routes_to_and_not_by_where_it_came_in() {
    let out = [meta(MetaKey::Oifname), is(&name16("docker0")), says(Says::Drop)];
    let (id, table) = tables(&[
        ("a", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(Reject::TcpReset)])])),
        ("b", base(Hook::Output, 0, Policy::Accept, &[rule(&out)])),
    ]);
    let of = |source| {
        let packet = Packet { source: ip(source), ..ssh().coming_in_by("eth0") };
        follow([(&id, &table)], &AsListed, &Table, &packet).trace.verdict
    };

    assert_eq!(
        ["198.51.100.7", "172.17.0.2", "203.0.113.1"].map(of),
        [Verdict::Reject, Verdict::Deny, Verdict::Unknown]
    );
}

/// For a packet from the loopback, newer kernels say that its source routes there, older ones that it routes nowhere.
#[test]
fn what_kernels_answer_differently_is_not_known() {
    let flags = fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT;
    let missing = [Expr::Fib { result: FibResult::Oif, flags, dreg: R }, is(&[0]), says(Says::Drop)];
    let (id, table) = tables(&[("a", base(Hook::Input, 0, Policy::Accept, &[rule(&missing)]))]);
    let of = |source, interface: &str, state| {
        let packet = Packet { source: ip(source), state, ..ssh().coming_in_by(interface) };
        follow([(&id, &table)], &AsListed, &Table, &packet).trace.verdict
    };

    assert_eq!(of("203.0.113.1", "lo", State::New), Verdict::Unknown);
    let states = [State::New, State::Established, State::Invalid];
    assert_eq!(states.map(|state| of("172.17.0.2", "eth0", state)), [Verdict::Deny, Verdict::Unknown, Verdict::Deny]);
    assert_eq!(states.map(|state| of("198.51.100.7", "eth0", state)), [Verdict::Allow; 3]);
}

#[test]
fn a_link_local_sender_is_on_the_link_that_its_packet_came_in_by() {
    let comes_from = |name: &str| {
        let fib = Expr::Fib { result: FibResult::OifName, flags: fib_flags::SADDR, dreg: R };
        rule(&[fib, is(&name16(name)), says(Says::Drop)])
    };
    let of = |hook, name| {
        let (id, table) = tables(&[("a", base(hook, 0, Policy::Accept, &[comes_from(name)]))]);
        let id = TableId { family: Family::Ip6, ..id };
        let packet = Packet { source: ip("fe80::7"), destination: ip("2001:db8::1"), ..ssh().coming_in_by("eth0") };
        follow([(&id, &table)], &AsListed, &Table, &packet).trace.verdict
    };

    let hooks = [Hook::Prerouting, Hook::Input];
    assert_eq!(hooks.map(|hook| of(hook, "eth0")), [Verdict::Deny; 2]);
    assert_eq!(hooks.map(|hook| of(hook, "docker0")), [Verdict::Allow; 2]);
}

#[test]
fn no_error_is_sent_about_an_error() {
    let (id, table) = tables(&[("a", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(UNREACHABLE)])]))]);
    let of = |kind, state| {
        let packet = Packet { transport: Transport::Icmp { kind, code: 0 }, state, ..ssh() };
        follow([(&id, &table)], &AsListed, &Table, &packet).trace.verdict
    };

    assert_eq!((of(8, State::New), of(11, State::Related)), (Verdict::Reject, Verdict::Deny));
}

#[test]
fn who_forwards_counts_the_hops_before_the_rules_are_asked() {
    let last = rule(&[payload(PayloadBase::Network, 8, 1), is(&[63]), says(Says::Drop)]);
    let (id, table) = tables(&[
        ("a", base(Hook::Prerouting, 0, Policy::Accept, std::slice::from_ref(&last))),
        ("b", base(Hook::Forward, 0, Policy::Accept, &[last])),
    ]);
    let packet = Packet { hop_limit: Some(64), destination: ip("172.17.0.2"), ..ssh() };

    let traversal = follow([(&id, &table)], &AsListed, &Table, &packet);

    assert_eq!(traversal.trace.denied_by().map(|step| step.hook), Some(Hook::Forward));
}

#[test]
fn a_connection_whose_first_packet_nobody_receives_is_followed_no_further() {
    let (id, table) = tables(&[("a", base(Hook::Input, 0, Policy::Accept, &[]))]);
    let hooks = Hooks::new([(&id, &table)]);

    let whole = follow_connection_while(&hooks, &AsListed, &Table, &ssh(), |_| true);
    let begun = follow_connection_while(&hooks, &AsListed, &Table, &ssh(), |_| false);

    assert!(whole.answer.is_some() && whole.third.is_some());
    assert_eq!(begun, Connection { answer: None, third: None, later: None, ends: None, first: whole.first });
}
