//! Holds a ruleset that was kept against this machine. Its policy is gone; what its rules show of it is enough to know
//! which interfaces they name, whom they block, and whether anybody comes in by SSH.

use super::{Preflight, Remark, Topic, Weight, some};
use crate::access::unmet;
use crate::net::{AddressRange, Addresses, IfName, IfPattern, Ports, Transport, address};
use crate::policy::Span;
use crate::resolve::{Action, Expectation, Group, Line, Resolved};
use crate::ruleset::provenance::Origin;
use crate::ruleset::{Expr, KeyType, Provenance, Rule, Set, SetRef, Table, TableId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The set of the interfaces of containers.
const CONTAINERS: &str = "containers-if";
/// The chain that drops blocked sources.
const BLOCKED: &str = "filter-prerouting";
/// The chain of the last word on what is forwarded.
const LAST_WORD: &str = "default-forward";

impl Preflight<'_> {
    /// The remarks on a ruleset by its rules alone, worst first: bridges that it does not name, networks that it cuts
    /// off, what this machine needs and it blocks, and SSH that nobody reaches. The policy is what [`as_shown`] says.
    pub(super) fn remarks_on_rules(&self) -> Vec<Remark> {
        let mut remarks = self.bridges(&BTreeSet::new());
        // Which networks rules of `forward` let pass is not read from them.
        let has_rules = self.table.chains.keys().any(|chain| chain.starts_with("forward-"));
        remarks.retain(|remark| !(has_rules && remark.topic == Topic::CutOff));
        remarks.extend(self.block());
        remarks.extend(self.ssh_by_rules());
        remarks.sort_by_key(|remark| remark.weight);
        // No line of a policy mends a ruleset of the past.
        remarks.into_iter().map(|remark| Remark { line: None, help: String::new(), ..remark }).collect()
    }

    fn ssh_by_rules(&self) -> Option<Remark> {
        let ports = &self.machine.ssh_ports;
        let is_shut = |port: &u16| {
            let ports = [Ports { transport: Transport::Tcp, first: *port, last: *port }].into();
            let nobody = Expectation {
                span: Span::default(),
                allow: false,
                ports,
                protocols: BTreeSet::new(),
                ping: false,
                all: false,
                any: true,
                addresses: Arc::default(),
                interfaces: BTreeSet::new(),
                on: BTreeSet::new(),
                elsewhere: None,
            };
            unmet(&TableId::palisade(), self.table, &[nobody]).is_empty()
        };
        let listed = some(ports.iter().map(|port| format!("{port}/tcp")));
        (!ports.is_empty() && ports.iter().all(is_shut)).then(|| {
            let message = format!(
                "nobody could reach this machine by SSH: sshd listens on {listed}, and this ruleset lets nobody in there"
            );
            Remark::new(Topic::Ports, Weight::Refusal, None, message, "")
        })
    }
}

/// As much of a policy as the table shows that was compiled from it: the interfaces of containers, all others that
/// rules name, whom they block, and the default for what is forwarded.
pub(super) fn as_shown(table: &Table) -> Resolved {
    let mut policy = Resolved::default();
    policy.containers.interfaces = table.sets.get(CONTAINERS).map(interfaces).unwrap_or_default();
    let named = table.sets.values().flat_map(interfaces).collect();
    policy.groups.insert(String::new(), Group { interfaces: named, ..Group::default() });
    policy.block.addresses = blocked(table);
    let last_word = table.chains.get(LAST_WORD).and_then(|chain| chain.rules.last());
    policy.defaults.forward = if last_word.is_some() { Action::Deny } else { Action::Allow };
    let origin = last_word.and_then(|rule| Provenance::read(rule.comment.as_deref()?)).map(|comment| comment.origin);
    policy.default_lines.forward =
        if let Some(Origin::Line(_, line)) = origin { Some(Line::of_policy(line)) } else { None };
    policy
}

/// The interfaces in a set of names.
fn interfaces(set: &Set) -> BTreeSet<IfPattern> {
    let names = set.elements.bounds().filter(|_| set.spec.key == KeyType::IFNAME);
    let pattern = |(first, last): (&[u8], &[u8])| IfPattern { name: IfName::text(first), wildcard: first != last };
    names.map(pattern).collect()
}

/// The addresses in the sets that are looked up before connections are tracked.
fn blocked(table: &Table) -> Addresses {
    let sets = table.chains.get(BLOCKED).into_iter().flat_map(|chain| &chain.rules).flat_map(looked_up);
    let ranges = sets.filter_map(|name| table.sets.get(name)).flat_map(|set| set.elements.bounds());
    let range = |(first, last): (&[u8], &[u8])| match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some(AddressRange::V4(first, last)),
        (IpAddr::V6(first), IpAddr::V6(last)) => Some(AddressRange::V6(first, last)),
        _ => None,
    };
    ranges.filter_map(range).collect()
}

/// The sets with names that a rule looks something up in.
fn looked_up(rule: &Rule) -> impl Iterator<Item = &String> {
    rule.exprs.iter().filter_map(|expr| match expr {
        Expr::Lookup { set: SetRef::Named(name), .. } => Some(name),
        _ => None,
    })
}
