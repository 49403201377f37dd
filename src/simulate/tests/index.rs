//! Long chains, of whose rules only some are looked at.

use super::*;
use proptest::prelude::*;

/// One thing that a rule asks for.
fn condition() -> impl Strategy<Value = Vec<Expr>> {
    let interface = (any::<bool>(), 0..5_usize).prop_map(|(incoming, form)| {
        let data = match form {
            0 => name16("eth0"),
            1 => name16("docker0"),
            2 => b"eth0\0".to_vec(),
            3 => b"eth".to_vec(),
            _ => name16(""),
        };
        vec![meta(if incoming { MetaKey::Iifname } else { MetaKey::Oifname }), is(&data)]
    });
    let address = (any::<bool>(), 1..=4_u32, 0..4_u8).prop_map(|(source, len, last)| {
        let data = [203, 0, 113, last];
        let offset = if source { 12 } else { 16 };
        vec![payload(PayloadBase::Network, offset, len), is(&data[..len as usize])]
    });
    let port = (any::<bool>(), 0..4_u8).prop_map(|(source, port)| {
        vec![payload(PayloadBase::Transport, if source { 0 } else { 2 }, 2), is(&[0, port])]
    });
    let other = prop_oneof![
        Just(vec![meta(MetaKey::Iifname), is_not_lo()]),
        Just(vec![unknown("match")]),
        Just(vec![Expr::Counter { packets: 0, bytes: 0 }]),
        Just(vec![dport(), is_not(&[0, 2])]),
    ];
    prop_oneof![2 => interface, 3 => address, 3 => port, 1 => other]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let verdict = prop_oneof![Just(Says::Accept), Just(Says::Drop), Just(Says::Continue), Just(Says::Continue)];
    let one = (prop::collection::vec(condition(), 0..4), verdict);
    let one = one.prop_map(|(conditions, verdict)| rule(&[conditions.concat(), vec![says(verdict)]].concat()));
    prop::collection::vec(one, 16..60)
}

fn packet() -> impl Strategy<Value = Packet> {
    let interface = prop_oneof![Just("eth0"), Just("docker0"), Just("eth1")];
    let known = prop::option::weighted(0.9, interface);
    (known.clone(), known, 0..4_u8, 0..4_u8, 0..4_u16, prop::option::of(0..4_u16)).prop_map(
        |(incoming, outgoing, source, destination, port, sent_from)| {
            let at = |last| IpAddr::from([203, 0, 113, last]);
            let transport =
                Transport::Ports { protocol: crate::net::protocol::TCP, source: sent_from, destination: port };
            let named =
                |name: Option<&str>| name.map_or(Interface::Unknown, |name| Interface::Named(name.to_owned()));
            let packet = Packet::through(at(source), at(destination), transport);
            Packet { incoming: named(incoming), outgoing: named(outgoing), ..packet }
        },
    )
}

/// The outcomes, and the rules that match or may match, in order.
fn met(table: &Table, packet: &Packet) -> (Outcomes, Vec<Rule>) {
    let id = TableId::palisade();
    let trace = simulate_table(&id, table, packet);
    let of_steps = trace.steps.iter().filter(|step| !matches!(step.effect, Effect::Jump(_)));
    (trace.outcomes, of_steps.filter_map(|step| step.rule.map(|(_, rule)| rule.clone())).collect())
}

proptest! {
    #[test]
    fn a_long_chain_does_what_its_rules_do_in_short_chains_that_are_walked_through(
        rules in rules(),
        packets in prop::collection::vec(packet(), 8),
    ) {
        let long = table(vec![("base", base(Hook::Forward, 0, Policy::Accept, &rules))]);
        let parts: Vec<(String, Chain)> =
            rules.chunks(10).enumerate().map(|(index, rules)| (format!("part{index}"), chain(rules))).collect();
        let jumps: Vec<Rule> = parts.iter().map(|(name, _)| rule(&[jump(name)])).collect();
        let mut short = table(vec![("base", base(Hook::Forward, 0, Policy::Accept, &jumps))]);
        short.chains.extend(parts);

        for packet in &packets {
            prop_assert_eq!(met(&long, packet), met(&short, packet), "{:?}", packet);
        }
    }
}
