//! The outcomes for all sources at once are those that the simulator finds for each source.

use super::asked::{Asked, Asks};
use super::diff::{access_changes, lines};
use super::evaluate::OutcomeRegions;
use super::opened::{Opened, Readings};
use super::reading::Reading;
use super::region::Region;
use super::space::{Prober, Space};
use super::translations::without_translations;
use crate::compile::compile;
use crate::facts::{Facts, Kernel, ListFile, ProtocolNames, ServiceNames};
use crate::net::Version;
use crate::policies::{Written, config, policy};
use crate::policy::{AddressList, parse};
use crate::resolve::resolve;
use crate::ruleset::{Expr, Hook, Rule, Table, TableId, Verdict};
use crate::simulate::{Outcomes, Packet, Trace, simulate_table};
use crate::temporary::{Entry, Moment, with_entries};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use std::time::Duration;

/// A policy's table, with the names that generated policies use, and with somebody in the groups that theirs take addresses
/// for a time into.
pub(crate) fn compiled(written: &Written) -> Table {
    let file = |(index, (name, text)): (usize, (&String, &String))| {
        let list = Ok(AddressList::of_text(index + 1, text));
        (name.clone(), ListFile { source: index + 1, path: name.into(), list })
    };
    let facts = Facts {
        services: Ok(ServiceNames::parse("ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttps 443/tcp\nhttps 443/udp\n")),
        protocols: Ok(ProtocolNames::parse("esp 50 ESP\nah 51 AH\n")),
        files: written.files.iter().enumerate().map(file).collect(),
        kernel: Kernel::NEWEST,
        ..Facts::default()
    };
    let parsed = parse(&written.text, "policy.yaml");
    let resolved = resolve(&parsed.policy.expect("a policy"), &facts).unwrap_or_else(|all| panic!("{all:?}"));
    let now = Moment { wall: Duration::ZERO, since_start: Duration::ZERO, boot: "this".to_owned() };
    let who =
        [("visitors", "10.0.0.4"), ("visitors", "2001:db8::4"), ("banned", "10.0.0.9"), ("banned", "2001:db8::9")];
    let entry = |(group, address): (&str, &str)| {
        Entry::new(group, address.parse().expect("an address"), Duration::from_secs(3600), &now, None)
    };
    with_entries(&compile(&resolved), &who.map(entry).into_iter().collect(), &now)
}

/// Sources worth probing: both sides of every boundary of a region.
fn boundaries(prober: &Prober<'_>, outcomes: &OutcomeRegions<'_>) -> Vec<u128> {
    let regions = [outcomes.allow, outcomes.deny, outcomes.reject, outcomes.anything];
    let intervals = regions.iter().flat_map(|region| prober.regions.intervals(*region));
    let ends =
        intervals.flat_map(|&(first, last)| [first.checked_sub(1), Some(first), Some(last), last.checked_add(1)]);
    ends.flatten().filter(|at| *at <= prober.version.last_address()).collect()
}

/// Whether a packet may pass, may be dropped, refused, or come to anything.
pub(super) fn outcomes_of(trace: &Trace<'_>) -> [bool; 4] {
    [Outcomes::ALLOW, Outcomes::DENY, Outcomes::REJECT, Outcomes::ANYTHING].map(|one| trace.outcomes.contain(one))
}

/// Whether the packets that open a connection may pass, may be dropped, refused, or come to anything, if each may come to
/// what it may come to alone.
pub(super) fn opened_one_by_one(id: &TableId, table: &Table, packet: &Packet) -> [bool; 4] {
    let mut sum = [true, false, false, false];
    for (number, packet) in [Some(packet.clone()), packet.answer(), packet.third()].into_iter().enumerate() {
        let Some(packet) = packet.filter(|_| sum[0]) else { continue };
        let [allow, deny, reject, anything] = outcomes_of(&simulate_table(id, table, &packet));
        let (deny, reject) = if number > 0 { (deny || reject, false) } else { (deny, reject) };
        sum = [allow, sum[1] || deny, sum[2] || reject, sum[3] || anything];
    }
    sum
}

fn outcomes_are(
    said: &Prober<'_>,
    outcomes: &OutcomeRegions<'_>,
    packet: &Packet,
    table: &Table,
    source: u128,
    answers_count: bool,
) -> Result<bool, TestCaseError> {
    let Some(source_address) = said.version.address(source) else { return Ok(true) };
    let asked = Packet { source: source_address, ..packet.clone() };
    let id = TableId::palisade();
    let within = |region: Region| said.regions.contains(region, source);
    // The packet is asked about as it is translated.
    let table = &without_translations(table);
    let one_by_one = opened_one_by_one(&id, table, &asked);
    let at_once = [outcomes.allow, outcomes.deny, outcomes.reject, outcomes.anything].map(within);
    // Hiding the source may add possible outcomes, but never removes one.
    let open = at_once[3] || one_by_one.iter().zip(at_once).all(|(one, all)| !one || all);
    prop_assert!(open, "{asked:?}: {one_by_one:?} one by one, {at_once:?} at once");
    // Which container answers is not told from others. Of who gets no first packet through, none is asked.
    let first = outcomes_of(&simulate_table(&id, table, &asked));
    Ok(one_by_one == at_once || answers_count && packet.translated.is_some() && first[0])
}

fn agrees(table: &Table, asked: &[(Index, Index, Vec<u128>)], exactly: bool) -> Result<(), TestCaseError> {
    let id = TableId::palisade();
    for version in Version::ALL {
        let mut asks = Asked::default();
        let opened = Opened::new(&id, table);
        let readings = Readings::new(table, &opened, version, &mut asks);
        let space = Space::new(&asks, &[table], []);
        let mut prober = Prober::new(&id, version, [&readings]);
        for (place, target, sources) in asked {
            let (place, target) = (place.index(space.places.len()), target.get(&space.targets));
            for (packet, by_table) in prober.outcomes(&space, place, *target) {
                let packet = prober.as_forwarded(0, &space.places[place], &packet);
                let outcomes = &by_table[0];
                let mut points = boundaries(&prober, outcomes);
                points.extend(
                    sources.iter().map(|source| if version == Version::V4 { source & 0xffff_ffff } else { *source }),
                );
                for source in points {
                    let same = outcomes_are(&prober, outcomes, &packet, table, source, readings.answer.is_some())?;
                    prop_assert!(same || !exactly, "not exact at {source:x}: {packet:?} {outcomes:?}");
                }
            }
        }
    }
    Ok(())
}

/// Any table, with the rules of chain `everything` in each base chain, so that packets meet them at every hook.
fn any_table() -> impl Strategy<Value = Table> {
    crate::arbitrary::table().prop_map(|mut table| {
        let rules = table.chains.get("everything").map(|chain| chain.rules.clone()).unwrap_or_default();
        let target = Rule { exprs: vec![Expr::Counter { packets: 0, bytes: 0 }], comment: None };
        for (name, chain) in &mut table.chains {
            match &mut chain.base {
                Some(base) => {
                    if name == "filter-forward" {
                        base.hook = Hook::Prerouting;
                    }
                    chain.rules.clone_from(&rules);
                }
                None if name == "target" => chain.rules.push(target.clone()),
                None => {}
            }
        }
        table
    })
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn what_is_said_of_all_sources_of_a_policy_is_what_is_said_of_each(
        written in policy(),
        asked in prop::collection::vec((any::<Index>(), any::<Index>(), prop::collection::vec(any::<u128>(), 4)), 30),
    ) {
        agrees(&compiled(&written), &asked, true)?;
    }

    #[test]
    fn nothing_is_guessed_of_any_table(
        table in any_table(),
        asked in prop::collection::vec((any::<Index>(), any::<Index>(), prop::collection::vec(any::<u128>(), 4)), 30),
    ) {
        agrees(&table, &asked, false)?;
    }
}

#[test]
fn every_rule_of_a_policy_is_understood() {
    let written = Written { text: "version: 1\nservices: { a: { ports: [1-3/tcp, 50/proto], from: [10.0.0.0/8, { interface: eth* }], to: 10.0.0.1, limit: 1/hour } }".to_owned(), files: Default::default() };
    let table = compiled(&written);
    for version in Version::ALL {
        let reading = Reading::new(&table, version, Asks::First, &mut Asked::default());
        for (name, chain) in &reading.chains {
            for (index, rule) in chain.rules.iter().enumerate() {
                assert!(!rule.opaque, "{name} {index} {:?}", table.chains[*name].rules[index]);
            }
        }
    }
}

/// A proof does not ask the routing, so what `fib` answers must open nothing by itself.
#[test]
fn no_access_is_proved_by_a_rule_that_accepts_what_fib_answers() {
    for (word, strict) in [("deny", "off"), ("deny", "strict"), ("reject", "off")] {
        let text = format!(
            "version: 1\ndefaults: {{ reverse_path: {strict} }}\ncontainers: {{ interfaces: br-*, host: allow, outgoing: {word} }}\nservices: {{ a: {{ ports: 80/tcp, from: [containers, 192.0.2.0/24] }} }}\n"
        );
        let table = compiled(&Written { text, files: Default::default() });
        let asks = |rule: &Rule| rule.exprs.iter().any(|expr| matches!(expr, Expr::Fib { .. }));
        let accepts = |rule: &Rule| rule.exprs.contains(&Expr::Verdict(Verdict::Accept));
        let mut without = table.clone();
        without.chains.values_mut().for_each(|chain| chain.rules.retain(|rule| !(asks(rule) && accepts(rule))));

        assert_ne!(table, without);
        assert_eq!(lines(&access_changes(&TableId::palisade(), Some(&table), Some(&without))), [""; 0]);
    }
}

fn said(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let table = |text: &str| compiled(&Written { text: format!("version: 1\n{text}"), files: Default::default() });
    let (before, after) = (before.map(table), after.map(table));
    lines(&access_changes(&TableId::palisade(), before.as_ref(), after.as_ref()))
}

#[test]
fn who_gains_and_who_loses_is_said_in_ranges() {
    let dashboard = |from: &str| format!("services: {{ dashboard: {{ ports: 9000/tcp, from: [{from}] }} }}\n");

    let lines =
        said(Some(&dashboard("1.1.1.1, 1.1.1.2, 1.1.1.3")), Some(&dashboard("1.1.1.1, 1.1.1.2, 203.0.113.0/24")));

    assert_eq!(lines, ["access: 9000/tcp: 203.0.113.0/24 gains, 1.1.1.3 loses"]);
}

#[test]
fn interfaces_and_containers_are_named_where_it_matters() {
    let before = "services: { a: { ports: 80/tcp, from: any } }\n";
    let after = "services: { b: { ports: 8000-8010/tcp, from: { interface: eth1 } }, c: { ports: 5432/tcp, from: containers } }\nblock: 192.0.2.0/24\n";

    assert_eq!(
        said(Some(before), Some(after)),
        [
            "access: 80/tcp: any loses",
            "access: ping: 192.0.2.0/24 loses",
            "access: 5432/tcp from containers: any gains",
            "access: 8000-8010/tcp by eth1: any but 192.0.2.0/24 gains",
            "access: out any from host: 192.0.2.0/24 loses",
            "access: out any from containers: 192.0.2.0/24 loses",
        ]
    );
}

#[test]
fn without_a_table_nobody_was_restricted() {
    let one = "containers: { interfaces: [] }\ndefaults: { ping: deny }\nservices: { a: { ports: 22/tcp, from: any }, b: { ports: 9000/tcp, from: 1.1.1.1-1.1.1.3 } }\n";

    assert_eq!(
        said(None, Some(one)),
        [
            "access: 1-21/tcp: any loses",
            "access: 23-8999/tcp: any loses",
            "access: 9000/tcp: any but 1.1.1.1-1.1.1.3 loses",
            "access: 9001-65535/tcp: any loses",
            "access: 1-65535/udp: any loses",
            "access: 1-65535/sctp: any loses",
            "access: ping: any loses",
            "access: 2/proto: any loses",
            "access: other protocols: any loses",
            "access: through any: any loses",
        ]
    );
}

#[test]
fn the_machine_that_a_port_is_forwarded_to_is_another_one_than_this() {
    let containers = "containers: { interfaces: [lxdbr0, dmz]";
    let before = format!(
        "{containers} }}
services: {{ web: {{ ports: 8443/tcp, from: any, forward_to: 10.77.0.2 }} }}
outgoing: {{ none: {{ ports: any, from: containers, to: any, action: deny }} }}
"
    );
    let after = format!("{containers}, host: allow }}\n");

    let lines = said(Some(&before), Some(&after));

    let of_port: Vec<&String> = lines.iter().filter(|line| line.starts_with("access: 8443/tcp")).collect();
    assert_eq!(
        of_port,
        [
            "access: 8443/tcp: 0.0.0.0/0 loses (forwarded to 10.77.0.2)",
            "access: 8443/tcp from containers: ::/0 gains",
        ]
    );
}
