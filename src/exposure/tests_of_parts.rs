//! Where sources are cut into parts.

use super::tests::{is, machine, other, source};
use super::{Rules, probed, probed_by, rows};
use crate::machine::Listener;
use crate::net::{Version, protocol};
use crate::netlink::ListeningSocket;
use crate::ruleset::{Cmp, Expr, Hook, PayloadBase, Register, Table, TableId, Verdict};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

/// Networks with bounds in common, and a length that is no whole byte.
const NETWORKS: [([u8; 4], u32); 8] = [
    ([203, 0, 113, 0], 24),
    ([203, 0, 113, 66], 32),
    ([10, 77, 0, 2], 32),
    ([10, 77, 0, 0], 20),
    ([172, 17, 0, 2], 32),
    ([172, 17, 16, 0], 20),
    ([172, 0, 0, 0], 8),
    ([198, 51, 100, 0], 24),
];

/// `ip saddr 10.77.0.0/20 accept`, or `daddr`, which is the client's in an answer, for one port or for all. Of whole bytes it
/// may load no more than those.
fn rule() -> impl Strategy<Value = Vec<Expr>> {
    (0..NETWORKS.len(), any::<[bool; 4]>(), prop::option::of(22_u16..24)).prop_map(
        |(network, [is_source, is_not, accepts, is_masked], port)| {
            let (address, length) = NETWORKS[network];
            let mask = u32::MAX << (32 - length);
            let mut exprs = Vec::new();
            if let Some(port) = port {
                exprs.push(Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: Register::ONE });
                exprs.push(is(&port.to_be_bytes()));
            }
            let Expr::Payload { base, len, dreg, .. } = source(4) else { unreachable!() };
            let (sreg, mask) = (dreg, mask.to_be_bytes().to_vec());
            let (op, offset) = (if is_not { Cmp::Neq } else { Cmp::Eq }, if is_source { 12 } else { 16 });
            if is_masked || length % 8 != 0 {
                exprs.push(Expr::Payload { base, offset, len, dreg });
                exprs.push(Expr::Bitwise { sreg, dreg, mask, xor: vec![0; 4] });
                exprs.push(Expr::Cmp { op, sreg, data: address.to_vec() });
            } else {
                exprs.push(Expr::Payload { base, offset, len: length / 8, dreg });
                exprs.push(Expr::Cmp { op, sreg, data: address[..length as usize / 8].to_vec() });
            }
            exprs.push(Expr::Verdict(if accepts { Verdict::Accept } else { Verdict::Drop }));
            exprs
        },
    )
}

fn tables() -> impl Strategy<Value = Vec<(TableId, Table)>> {
    let hooks = [(Hook::Prerouting, -150), (Hook::Input, 0), (Hook::Output, 0), (Hook::Postrouting, 50)];
    // Long chains are not walked through.
    let rules = prop_oneof![prop::collection::vec(rule(), 1..5), prop::collection::vec(rule(), 16..30)];
    let table = (0..hooks.len(), rules).prop_map(move |(hook, rules)| {
        let (hook, priority) = hooks[hook];
        other(hook, "filter", priority, rules, Vec::new())
    });
    prop::collection::vec(table, 1..4).prop_map(|tables| {
        let named = |(index, (id, table)): (usize, (TableId, Table))| {
            (TableId { name: format!("{}{index}", id.name), ..id }, table)
        };
        tables.into_iter().enumerate().map(named).collect()
    })
}

fn listens(port: u16) -> Listener {
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let socket = ListeningSocket { protocol: protocol::TCP, port, address, both: false, interface: None, inode: 1 };
    Listener { socket, process: None }
}

proptest! {
    #[test]
    fn who_reaches_a_port_is_the_same_as_if_sources_were_cut_at_each_address_that_any_rule_names(tables in tables()) {
        let machine = machine(&tables, vec![listens(22), listens(23)], Vec::new());
        let everywhere = |version: Version| {
            let rules = Rules::new(&machine.tables, version);
            Rules { cuts: rules.all_cuts(), ..rules }
        };

        let wanted = probed_by(&machine, rows::rows(&machine), everywhere);

        prop_assert_eq!(probed(&machine, rows::rows(&machine)), wanted);
    }
}
