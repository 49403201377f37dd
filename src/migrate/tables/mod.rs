//! The access that live tables give, as a policy.
//!
//! ```text
//! tables ─ taken ─► those that are nobody's program's ─ exposure::grants ─► who gets in at each door
//!        ─ rows, pieces, sentences ─► services ─ write ─► the policy
//!        ─ expect ─► what has to be true of it
//! the policy ─ compile ─ exposure::grants ─ compare ─► who gains and who loses
//! ```

mod compare;
mod expect;
mod nat;
mod outgoing;
mod pieces;
mod report;
mod rows;
mod sentences;
mod taken;

use super::names::Names;
use super::report::Report;
use super::service::Service;
use super::spans::InWords;
use super::write::{APPLY, CHECK, Document};
use super::{Imported, published};
use crate::exposure::{Machine, Space, Spans, grants, grants_out};
use crate::machine::{EngineKind, PublishedPort};
use crate::net::Version;
use crate::ruleset::{Hook, Table, TableId};
use outgoing::Outgoing;
use rows::DoorRows;
use sentences::{Plan, Sentence};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use taken::Taken;

/// What is said of a router whose rules let everything through.
const FORWARDS: &str = "no rule denies what passes through this machine, and the policy does: `defaults: { forward: allow }` if it is a router";

/// A rule by its table, its chain and its index.
type Of = (TableId, String, usize);

/// Whose rules are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Those of nft: all tables.
    Nft,
    /// Those of iptables-nft: all tables, of which one has to be of iptables.
    Iptables,
}

/// What is read.
pub struct Input<'m> {
    /// The machine with its tables, whose sets have their elements, except those that packets fill.
    pub machine: &'m Machine<'m>,
    /// Whose rules are meant.
    pub program: Program,
    /// Whether the machine forwards packets.
    pub forwards: bool,
    /// Compiles a policy; the error is in words.
    pub compile: &'m dyn Fn(&str) -> Result<Table, String>,
}

/// Translates live tables.
///
/// # Errors
/// There are none to translate, or the policy that was made of them is wrong: in words.
pub fn import(input: &Input<'_>) -> Result<Imported, String> {
    let machine = input.machine;
    let taken = Taken::of(machine, input.program)?;
    let theirs = taken.machine(machine);
    let space = Space::new(&theirs);
    let before = grants(&theirs, &space);
    let (rows, shut) = rows::rows(&space, &before);
    let plan = Plan::of(&space, &rows, shut);
    let work = Work { input, taken: &taken, space: &space, rows: &rows, plan: &plan };
    let outgoing = outgoing::outgoing(&theirs, &taken, &space);
    // A port forward may meet a service that is answered here, which a policy can't say.
    let (made, ours) = match work.made(outgoing.as_ref(), true) {
        Ok(made) => made,
        Err(_) if rows.iter().any(|of| sentences::forwarded(&space, of).is_some()) => {
            work.made(outgoing.as_ref(), false)?
        }
        Err(why) => return Err(why),
    };
    let Imported { policy, mut report } = made;
    let (after, sent) = taken.beside(machine, &ours, |loaded| {
        (grants(loaded, &space), outgoing.as_ref().map(|of| grants_out(loaded, &of.space)))
    });
    compare::compare(&theirs, (&space, &plan, &rows), &before, &after, &mut report);
    if let (Some(of), Some(sent)) = (&outgoing, &sent) {
        compare::compare_sent(&theirs, &of.space, &of.before, sent, &mut report);
    }
    Ok(Imported { policy, report })
}

/// All that is known when the policy is written.
struct Work<'w> {
    input: &'w Input<'w>,
    taken: &'w Taken,
    space: &'w Space,
    rows: &'w [DoorRows],
    plan: &'w Plan,
}

impl Work<'_> {
    /// The policy and the report so far, and the policy's table.
    fn made(&self, outgoing: Option<&Outgoing>, forwards: bool) -> Result<(Imported, Table), String> {
        let Self { input, taken, space, rows, plan } = *self;
        let mut report = Report::default();
        let sentences = sentences::all_sentences(space, rows, plan, forwards);
        let has_containers = space.ways.iter().any(|way| way.containers);
        let services = services(&sentences, has_containers, &mut report);
        let nat = nat::nat(taken);
        let mut said = nat.rules.clone();
        if forwards && !plan.is_open() {
            let far = rows.iter().filter(|of| sentences::forwarded(space, of).is_some_and(|to| !to.is_empty()));
            let by = far.flat_map(|of| &of.translated_by);
            said.extend(by.filter_map(|one| Some((one.table.clone(), one.chain.clone(), one.rule?))));
        }
        report::rules(taken, space, (rows, outgoing), &said, &mut report);
        if input.forwards && !taken.tables.iter().any(|(_, table)| outgoing::filters(table, Hook::Forward)) {
            report.note(None, FORWARDS);
        }
        if let Some(note) = sentences::only_now(rows, plan) {
            report.note(None, note);
        }
        let published = published_there(input.machine, space, rows, plan);
        published::closed_now("the rules", &services, &published, &mut report);
        let expect = expect::expectations(space, rows, plan);
        let mut document = document(input.program, plan, services, taken, expect);
        if let Some(outgoing) = outgoing {
            document.defaults.push(("outgoing", outgoing.default.to_owned()));
            document.outgoing = outgoing.rules.clone();
        }
        document.nat = nat.lines;
        let policy = document.text();
        let table = (input.compile)(&policy)?;
        Ok((Imported { policy, report }, table))
    }
}

/// What is published behind doors that are closed now, by the names that the engines have for it or by its addresses.
fn published_there(machine: &Machine<'_>, space: &Space, rows: &[DoorRows], plan: &Plan) -> Vec<PublishedPort> {
    let mut all = Vec::new();
    for of in rows.iter().filter(|of| !plan.is_open() && sentences::bypasses(space, of)) {
        let door = of.door;
        let is_there =
            |one: &&PublishedPort| one.protocol == door.protocol && (door.first..=door.last).contains(&one.port);
        let known: Vec<PublishedPort> = machine.published.iter().filter(is_there).cloned().collect();
        if known.is_empty() {
            all.extend(of.translated.iter().map(|to| PublishedPort {
                protocol: door.protocol,
                port: door.first,
                address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                container: to.address.to_string(),
                container_port: to.port.unwrap_or(door.first),
                engine: EngineKind::Docker,
            }));
        }
        all.extend(known);
    }
    all
}

/// The services of all sentences.
fn services(sentences: &[Sentence], has_containers: bool, report: &mut Report) -> Vec<Service> {
    let mut names = Names::default();
    let mut all = Vec::new();
    let mut one_version = None;
    for sentence in sentences {
        for piece in &sentence.pieces {
            let mut service = Service {
                ports: sentence.ports.clone(),
                action: sentence.action,
                places: sentence.places(piece),
                forward_to: sentence.forward_to.clone(),
                ..Service::default()
            };
            piece.put(&mut service);
            let otherwise = match (service.on.first(), service.from.first().map(String::as_str)) {
                (Some(on), _) => format!("all-{}", on.trim_matches('"')),
                (None, Some("any" | "\"0.0.0.0/0\"" | "\"::/0\"") | None) => "everything".to_owned(),
                (None, Some(from)) => format!("from-{}", from.trim_matches(['"', '{', '}', ' '])),
            };
            service.name = names.of_ports(&service, &otherwise);
            if service.action.is_none() {
                one_version = one_version.or(piece.one_version());
            }
            all.push(service);
        }
    }
    if let Some(version) = one_version.filter(|_| has_containers) {
        super::service::of_one_version(version, report);
    }
    super::service::joined(all)
}

fn document(program: Program, plan: &Plan, services: Vec<Service>, taken: &Taken, expect: Vec<String>) -> Document {
    let mut defaults = vec![("incoming", plan.incoming.to_owned())];
    defaults.push(("ping", plan.ping.to_owned()));
    Document {
        firewall: command(program),
        head: head(program),
        defaults,
        host: plan.host.then_some("allow"),
        named: named(&services, taken),
        services,
        expect,
        ..Document::default()
    }
}

const fn command(program: Program) -> &'static str {
    match program {
        Program::Nft => "nft",
        Program::Iptables => "iptables",
    }
}

fn head(program: Program) -> Vec<String> {
    vec![
        format!(
            "Written by `palisade import {}`: the access that the live tables give. Read it, and then:",
            command(program)
        ),
        CHECK.to_owned(),
        "  palisade apply --dry-run".to_owned(),
        APPLY.to_owned(),
    ]
}

/// Names for lists of senders: those of sets, then for lists that stand in several services.
fn named(services: &[Service], taken: &Taken) -> Vec<(String, Vec<String>)> {
    let mut names = Names::default();
    let mut named: Vec<(String, Vec<String>)> = Vec::new();
    for (name, set) in taken.tables.iter().flat_map(|(_, table)| &table.sets) {
        let members: Vec<String> =
            Version::ALL.into_iter().flat_map(|version| addresses(set, version).words(version)).collect();
        let is_used = services.iter().any(|service| {
            [&service.from, &service.except].iter().any(|list| members.iter().all(|member| list.contains(member)))
        });
        if !members.is_empty() && is_used && !named.iter().any(|(_, other)| *other == members) {
            named.push((names.free(name), members));
        }
    }
    let mut counts: BTreeMap<&Vec<String>, usize> = BTreeMap::new();
    for service in services.iter().filter(|service| service.from.len() > 1) {
        *counts.entry(&service.from).or_default() += 1;
    }
    for (members, count) in counts {
        let is_named = named.iter().any(|(_, of)| of.iter().any(|one| members.contains(one)));
        if count > 1 && !is_named && !members.iter().any(|one| one == "any") {
            named.push((names.free("sources"), members.clone()));
        }
    }
    named.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    named
}

/// The addresses of a plain set of one version.
fn addresses(set: &crate::ruleset::Set, version: Version) -> Spans {
    let is_plain =
        set.spec.value.is_none() && set.spec.key.number == crate::ruleset::KeyType::address(version).number;
    let bounds = set.elements.bounds().filter(|_| is_plain);
    let numbers = bounds.filter_map(|(first, last)| Some((crate::net::address(first)?, crate::net::address(last)?)));
    numbers.map(|(first, last)| (crate::net::number(first), crate::net::number(last))).collect::<Spans>().joined()
}

/// Addresses of both versions as a policy names them, and those that have to be taken out of these.
fn addresses_in_words(both: &[Spans; 2]) -> (Vec<String>, Vec<String>) {
    let parts = Version::ALL.map(|version| (version, pieces::most(&both[version as usize], version)));
    let but = parts.iter().flat_map(|(version, (_, but))| but.words(*version)).collect();
    if parts.iter().all(|(_, (is_most, _))| *is_most) {
        return (vec!["any".to_owned()], but);
    }
    let words = parts.iter().flat_map(|(version, (is_most, _))| {
        if *is_most { Spans::all(*version).words(*version) } else { both[*version as usize].words(*version) }
    });
    (words.collect(), but)
}

/// Where a rule stands: `inet filter input 5`, or `inet filter input` for the policy of a chain.
fn place(id: &TableId, chain: &str, rule: Option<usize>) -> String {
    let number = rule.map(|at| format!(" {}", at + 1)).unwrap_or_default();
    crate::printable::printable(&format!("{} {} {chain}{number}", id.family, id.name)).into_owned()
}
