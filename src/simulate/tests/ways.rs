//! Chains of one priority, hooks of interfaces, neighbours, and sets that are full.

use super::*;
use crate::ruleset::{AddressType, Foreign};

/// br0 has two ports, mv0 is on eth0; everything is here.
struct Links;

impl Routes for Links {
    fn way(&self, _: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(Way::Local)
    }

    fn address_type(&self, _: IpAddr) -> Result<AddressType, Doubt> {
        Ok(AddressType::Unicast)
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(7)
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(match interface {
            "br0" => {
                Beneath { interfaces: of(&["port1", "port2"]), always: true, bridge: Some([Some(true), Some(false)]) }
            }
            "br1" => Beneath { bridge: Some([None; 2]), ..Beneath::default() },
            "mv0" => Beneath { interfaces: of(&["eth0"]), always: false, bridge: None },
            "vlan0" => Beneath { interfaces: of(&["eth0"]), always: true, bridge: None },
            _ => Beneath::default(),
        })
    }
}

/// The order of chains is known, and sets are full or not.
struct Known {
    order: Order,
    room: Option<bool>,
}

impl Sets for Known {
    fn find(&self, _: &TableId, _: &str, _: &Set, key: &[u8]) -> Answer {
        if key == [203, 0, 113, 9] { Answer::Present(None) } else { Answer::Absent }
    }

    fn is_empty(&self, _: &TableId, _: &str, _: &Set) -> bool {
        false
    }

    fn has_room(&self, _: &TableId, _: &str, _: &Set) -> Option<bool> {
        self.room
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.order.is_before(at, one, other)
    }
}

fn named(family: Family, name: &str) -> TableId {
    TableId { family, name: name.to_owned() }
}

fn sets_mark() -> Rule {
    rule(&[
        Expr::Foreign(Foreign::Immediate { dreg: R, data: 7_u32.to_ne_bytes().to_vec() }),
        Expr::Foreign(Foreign::SetMeta { key: MetaKey::Mark, sreg: R }),
    ])
}

fn drops_marked() -> Rule {
    rule(&[meta(MetaKey::Mark), is(&7_u32.to_ne_bytes()), says(Says::Drop)])
}

/// Follows a packet beside two tables with a chain at `input` and priority 0 each.
fn beside(first: Rule, second: Rule, sets: &dyn Sets) -> (Verdict, Option<String>) {
    let input = |rule| table(vec![("c", base(Hook::Input, 0, Policy::Accept, &[rule]))]);
    let (a, b) = ((named(Family::Ip, "a"), input(first)), (named(Family::Ip, "b"), input(second)));
    let traversal = follow([(&a.0, &a.1), (&b.0, &b.1)], sets, &Links, &ssh());
    (traversal.trace.verdict, traversal.doubt().map(ToString::to_string))
}

#[test]
fn of_two_chains_of_one_priority_the_kernels_list_says_which_is_first() {
    let chain = |table: &str| Hooked::Chain(named(Family::Ip, table), "c".to_owned());
    let listed = |list: [&str; 2]| {
        let at = At::Hook(crate::net::Version::V4, Hook::Input);
        let order = Order { lists: BTreeMap::from([(at, list.map(chain).to_vec())]), ..Order::default() };
        Known { order, room: None }
    };

    assert_eq!(beside(sets_mark(), drops_marked(), &listed(["a", "b"])).0, Verdict::Deny);
    assert_eq!(beside(sets_mark(), drops_marked(), &listed(["b", "a"])).0, Verdict::Allow);
}

#[test]
fn where_no_list_says_it_the_order_is_in_doubt_if_it_matters_and_only_then() {
    let why = "chains c of table ip a and c of table ip b have one priority, and which runs first is not known";
    let drops = || rule(&[says(Says::Drop)]);
    let rejects = || rule(&[Expr::Reject(Reject::Icmpx(IcmpxCode::PortUnreachable))]);

    assert_eq!(beside(sets_mark(), drops_marked(), &AsListed), (Verdict::Unknown, Some(why.to_owned())));
    assert_eq!(beside(sets_mark(), drops(), &AsListed), (Verdict::Deny, None));
    assert_eq!(beside(sets_mark(), rule(&[says(Says::Accept)]), &AsListed), (Verdict::Allow, None));
    assert_eq!(beside(drops(), rejects(), &AsListed).0, Verdict::Unknown);
}

#[test]
fn of_many_chains_of_one_priority_none_is_in_doubt_that_leaves_nothing_behind() {
    let input = |rule| table(vec![("c", base(Hook::Input, 0, Policy::Accept, &[rule]))]);
    let asked = |last: Rule| {
        let rules = [drops_marked(), drops_marked(), drops_marked(), drops_marked(), last];
        let tables: Vec<_> = rules
            .into_iter()
            .enumerate()
            .map(|(at, rule)| (named(Family::Ip, &at.to_string()), input(rule)))
            .collect();
        let tables = tables.iter().map(|(id, table)| (id, table));
        follow(tables, &AsListed, &Links, &ssh()).trace.verdict
    };

    assert_eq!(asked(rule(&[says(Says::Drop)])), Verdict::Deny);
    assert_eq!(asked(drops_marked()), Verdict::Allow);
    assert_eq!(asked(sets_mark()), Verdict::Unknown);
}

#[test]
fn a_chain_at_the_priority_of_the_lookup_of_connections_may_come_before_it() {
    let drops_new = rule(&[ct(CtKey::State, None), is(&8_u32.to_ne_bytes()), says(Says::Drop)]);
    let id = named(Family::Ip, "a");
    let asked = |list: &[Hooked]| {
        let table =
            table(vec![("c", base(Hook::Prerouting, -200, Policy::Accept, std::slice::from_ref(&drops_new)))]);
        let at = At::Hook(crate::net::Version::V4, Hook::Prerouting);
        let order = Order { lists: BTreeMap::from([(at, list.to_vec())]), ..Order::default() };
        follow([(&id, &table)], &Known { order, room: None }, &Links, &ssh()).trace.verdict
    };
    let chain = Hooked::Chain(id.clone(), "c".to_owned());

    assert_eq!(asked(&[Hooked::Conntrack, chain.clone()]), Verdict::Deny);
    assert_eq!(asked(&[chain, Hooked::Conntrack]), Verdict::Allow);
    assert_eq!(asked(&[]), Verdict::Unknown);
}

/// The verdict on a packet that comes in by an interface, beside a chain of another that drops all.
fn by(interface: &str, hook: u32, device: &str) -> Verdict {
    let mut chain = base(Hook::from_number(hook), 0, Policy::Drop, &[]);
    chain.base.iter_mut().for_each(|base| base.devices = [device.to_owned()].into());
    let (id, table) = (named(Family::Netdev, "t"), table(vec![("c", chain)]));
    follow([(&id, &table)], &AsListed, &Links, &ssh().coming_in_by(interface)).trace.verdict
}

#[test]
fn a_packet_passes_the_hook_of_its_interface_and_of_one_beneath_it() {
    assert_eq!(by("eth0", 0, "eth0"), Verdict::Deny);
    assert_eq!(by("eth0", 0, "eth1"), Verdict::Allow);
    assert_eq!(by("vlan0", 0, "eth0"), Verdict::Deny);
    assert_eq!(by("br0", 0, "br0"), Verdict::Deny);
    assert_eq!(by("br0", 0, "port1"), Verdict::Unknown, "it may come in by the other port");
    assert_eq!(by("mv0", 0, "eth0"), Verdict::Unknown, "its sender may be beside it on eth0");
    assert_eq!(by("eth0", 1, "eth0"), Verdict::Allow, "it does not leave");
}

#[test]
fn what_br_netfilter_shows_has_passed_prerouting_when_its_bridge_hands_it_up() {
    let mut at_ingress = base(Hook::from_number(0), 0, Policy::Accept, &[drops_marked()]);
    at_ingress
        .base
        .iter_mut()
        .for_each(|base| base.devices = ["br0".to_owned(), "br1".to_owned(), "eth0".to_owned()].into());
    let ingress = (named(Family::Netdev, "a"), table(vec![("c", at_ingress)]));
    let marks = table(vec![("c", base(Hook::Prerouting, -300, Policy::Accept, &[sets_mark()]))]);
    let marks = (named(Family::Inet, "b"), marks);
    let asked = |interface: &str, from: &str, to: &str| {
        let packet = Packet::to_machine(ip(from), ip(to), Transport::tcp(22)).coming_in_by(interface);
        let traversal = follow([&ingress, &marks].map(|(id, table)| (id, table)), &AsListed, &Links, &packet);
        (traversal.trace.verdict, traversal.doubt().map(ToString::to_string))
    };
    let why = "whether br_netfilter takes frames of br1 through prerouting is not known";

    assert_eq!(asked("br0", "203.0.113.9", "203.0.113.1"), (Verdict::Deny, None));
    assert_eq!(asked("br0", "2001:db8::9", "2001:db8::1"), (Verdict::Allow, None), "it is off for IPv6");
    assert_eq!(asked("eth0", "203.0.113.9", "203.0.113.1"), (Verdict::Allow, None), "it is no bridge");
    assert_eq!(asked("br1", "203.0.113.9", "203.0.113.1"), (Verdict::Unknown, Some(why.to_owned())));
}

#[test]
fn a_table_of_bridges_is_in_doubt_where_a_bridge_is_on_the_way() {
    let drops = rule(&[unknown("payload"), says(Says::Drop)]);
    let id = named(Family::Bridge, "t");
    let asked = |interface: &str, rule: &Rule| {
        let table = table(vec![("c", base(Hook::Input, 0, Policy::Accept, std::slice::from_ref(rule)))]);
        follow([(&id, &table)], &AsListed, &Links, &ssh().coming_in_by(interface)).trace.verdict
    };

    assert_eq!(asked("br0", &drops), Verdict::Unknown);
    assert_eq!(asked("eth0", &drops), Verdict::Allow);
    assert_eq!(asked("br0", &rule(&[says(Says::Accept)])), Verdict::Allow);
}

#[test]
fn a_full_set_takes_no_element_but_has_those_that_it_has() {
    let adds = rule(&[
        payload(PayloadBase::Network, 12, 4),
        Expr::Dynset { set: "s".to_owned(), op: DynsetOp::Add, sreg_key: R, timeout_ms: 0, exprs: Vec::new() },
        says(Says::Drop),
    ]);
    let set = Set { spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::DYNAMIC), elements: Vec::new().into() };
    let mut table = table(vec![("c", base(Hook::Input, 0, Policy::Accept, &[adds]))]);
    table.sets.insert("s".to_owned(), set);
    let id = named(Family::Ip, "t");
    let asked = |room, source: &str| {
        let packet = Packet { source: ip(source), ..ssh() };
        let sets = Known { order: Order::default(), room };
        follow([(&id, &table)], &sets, &Links, &packet).trace.verdict
    };

    assert_eq!(asked(Some(true), "203.0.113.8"), Verdict::Deny);
    assert_eq!(asked(Some(false), "203.0.113.8"), Verdict::Allow);
    assert_eq!(asked(Some(false), "203.0.113.9"), Verdict::Deny, "it is in the set");
    assert_eq!(asked(None, "203.0.113.9"), Verdict::Deny);
    assert_eq!(asked(None, "203.0.113.8"), Verdict::Unknown);
}

#[test]
fn an_object_with_a_verdict_of_its_own_is_no_match() {
    let asked = |kind| {
        let object = rule(&[Expr::Foreign(Foreign::Object { kind, name: "o".to_owned() })]);
        let table = table(vec![("c", base(Hook::Input, 0, Policy::Accept, &[object]))]);
        simulate_table(&named(Family::Ip, "t"), &table, &ssh()).verdict
    };

    // Counter, quota, helper; expectation, synproxy.
    assert_eq!([1, 2, 3].map(asked), [Verdict::Allow; 3]);
    assert_eq!([9, 10].map(asked), [Verdict::Unknown; 2]);
}

#[test]
fn whoever_drops_what_neighbours_ask_lets_nothing_pass_for_long() {
    let asked = |family: Family, hook: Hook, rules: &[Rule], from: &str, to: &str| {
        let (id, table) = (named(family, "t"), table(vec![("c", base(hook, 0, Policy::Accept, rules))]));
        let packet = Packet::to_machine(ip(from), ip(to), Transport::tcp(22)).coming_in_by("eth0");
        let traversal = follow([(&id, &table)], &AsListed, &Links, &packet);
        (traversal.trace.verdict, traversal.fades.map(|why| why.to_string()))
    };
    let operation = |number: u8| rule(&[payload(PayloadBase::Network, 6, 2), is(&[0, number]), says(Says::Drop)]);
    let icmp = |kind: u8| {
        let udp = [meta(MetaKey::L4proto), is(&[58])];
        rule(&[&udp[..], &[payload(PayloadBase::Transport, 0, 1), is(&[kind]), says(Says::Drop)]].concat())
    };
    let why = |text: &str| Some(format!("chain c of {text}: nothing passes once its place on the link is forgotten"));
    let v4 = |hook, number| asked(Family::Arp, hook, &[operation(number)], "203.0.113.9", "203.0.113.1");
    let v6 = |kind| asked(Family::Inet, Hook::Input, &[icmp(kind)], "2001:db8::9", "2001:db8::1");

    // `NF_ARP_IN` and `NF_ARP_OUT` have the numbers of other hooks.
    let requests = why("table arp t drops ARP requests from 203.0.113.9");
    let replies = why("table arp t drops ARP replies to 203.0.113.9");
    assert_eq!(v4(Hook::Prerouting, 1), (Verdict::Allow, requests));
    assert_eq!(v4(Hook::Input, 2), (Verdict::Allow, replies));
    assert_eq!(v4(Hook::Prerouting, 9), (Verdict::Allow, None));
    let solicitations = why("table inet t drops neighbour solicitations from 2001:db8::9");
    assert_eq!(v6(135), (Verdict::Allow, solicitations));
    assert_eq!(v6(128), (Verdict::Allow, None));
    let from_eth0 = rule(&[meta(MetaKey::Iifname), is(&name16("eth0")), says(Says::Drop)]);
    let leaving = |hook| asked(Family::Inet, hook, std::slice::from_ref(&from_eth0), "2001:db8::9", "2001:db8::1");
    let advertisements = why("table inet t drops neighbour advertisements to 2001:db8::9");
    assert_eq!(leaving(Hook::Postrouting), (Verdict::Allow, advertisements));
    assert_eq!(leaving(Hook::Output), (Verdict::Allow, None));
}

#[test]
fn no_address_of_the_loopback_comes_in_from_elsewhere() {
    let asked = |source: &str, interface: &str| {
        let packet = Packet::to_machine(ip(source), ip("2001:db8::1"), Transport::tcp(22));
        follow([], &AsListed, &Links, &packet.coming_in_by(interface)).trace.verdict
    };

    assert_eq!(asked("::1", "eth0"), Verdict::Deny);
    assert_eq!(asked("::1", "lo"), Verdict::Allow);
    assert_eq!(asked("2001:db8::9", "eth0"), Verdict::Allow);
}
