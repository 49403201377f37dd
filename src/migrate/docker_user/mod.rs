//! Rules in the chain DOCKER-USER as a policy.
//!
//! The chain sees packets behind the translation of their destination: `--dport` is a container's port, `--ctorigdstport`
//! the one that the sender asked for. So the rules are walked for each port that is published: the first that matches
//! decides, and what none decides about the engine lets in.

mod expect;
mod live;
mod published;
mod rule;
mod text;
mod walk;

pub use live::{Listing, listing};

use super::cut::{At, Left, Plan, Translated, cut, cutters, losers};
use super::names::Names;
use super::report::{Entry, Fate, Report, decided};
use super::service::{Bridges, Made, Service, Whole, joined, services};
use super::tuple::{Action, Tuple};
use super::write::{APPLY, CHECK, Document};
use super::{Imported, Live};
use crate::machine::PublishedPort;
use crate::net::{Transport, Version};
use published::Published;
use std::collections::{BTreeMap, BTreeSet};
use text::Saved;
use walk::{Owner, Walk};

/// Whose rules they are.
const CHAIN: &str = "DOCKER-USER";

/// Translates what `iptables-save`, `ip6tables-save` and `ipset save` print, one behind the other or alone.
///
/// # Errors
/// It can't be read, or there is no such chain: in words.
pub fn import(text: &str, live: Option<&Live>) -> Result<Imported, String> {
    translate(text::read(text).map_err(|(line, why)| format!("line {line}: {why}"))?, live)
}

/// Translates live rules.
///
/// # Errors
/// As [`import`].
pub fn import_live(listing: &Listing, live: Option<&Live>) -> Result<Imported, String> {
    let saved = text::read(&listing.text).map_err(|(line, why)| format!("line {line}: {why}"))?;
    translate(Saved { places: listing.places.clone(), ..saved }, live)
}

fn translate(saved: Saved, live: Option<&Live>) -> Result<Imported, String> {
    if Version::ALL.into_iter().all(|version| saved.of(version).chain("filter", CHAIN).is_none()) {
        return Err(format!("it holds no chain {CHAIN}: `iptables-save` prints it, on a machine where Docker runs"));
    }
    let walks: Vec<Walk> =
        Version::ALL.into_iter().map(|version| Walk::new(&saved, version, ports(&saved, version, live))).collect();
    if walks.iter().any(|walk| walk.is_cut_off) {
        return Err(format!("{CHAIN} and the chains that it calls have more than {} rules", walk::MOST_RULES));
    }
    Ok(translated(&saved, &walks, live))
}

/// The published ports of one version: those that rules translate, else those of the running engines, and those that rules
/// of the chain name as the sender's.
fn ports(saved: &Saved, version: Version, live: Option<&Live>) -> Vec<Published> {
    if saved.of(version).chain("filter", CHAIN).is_none() {
        return Vec::new();
    }
    let mut ports = published::translated(saved.of(version), version);
    if ports.is_empty() {
        ports = live.into_iter().flat_map(|live| &live.published).filter_map(|one| of_engine(one, version)).collect();
    }
    for (protocol, asked) in walk::named(saved, version) {
        if !ports.iter().any(|port| (port.protocol, port.asked) == (protocol, asked)) {
            let to = super::spans::Spans::all(version);
            ports.push(Published { version, protocol, asked, to, port: None, address: None });
        }
    }
    ports.sort();
    ports.dedup();
    ports
}

fn of_engine(one: &PublishedPort, version: Version) -> Option<Published> {
    use super::tuple::Protocol;
    let protocol = match Transport::from_number(one.protocol)? {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
        Transport::Sctp => Protocol::Sctp,
    };
    let is_of_this = Version::of(one.address) == version && !one.address.is_loopback();
    let number = crate::net::number(one.address);
    let to = if one.address.is_unspecified() {
        super::spans::Spans::all(version)
    } else {
        super::spans::Spans::from(vec![(number, number)])
    };
    is_of_this.then_some(Published {
        version,
        protocol,
        asked: one.port,
        to,
        port: Some(one.container_port),
        address: None,
    })
}

fn translated(saved: &Saved, walks: &[Walk], live: Option<&Live>) -> Imported {
    let plan = Plan { default: Action::Deny, ping: None };
    let untouched = Translated::default();
    let all: Vec<&Tuple> = walks.iter().flat_map(|walk| &walk.tuples).collect();
    let slots = untouched.slots(&all);
    let left: Vec<Vec<Option<Left>>> =
        walks.iter().map(|walk| cut(&walk.tuples.iter().collect::<Vec<_>>(), &slots, &untouched, plan)).collect();
    let whole = Whole { slots: &slots, plan };
    let bridges = Bridges::of(live, true);
    let mut report = Report::default();
    let mut names = Names::default();
    let (mut made_all, mut one_version) = (Vec::new(), None);
    let work = Work { walks, left: &left };
    for owner in work.owners() {
        let mut made = services(&work.left(owner), &whole, &bridges);
        one_version = one_version.or(made.one_version);
        let (fate, why) = work.fate(owner, &made);
        for service in &mut made.services {
            service.name = work.name(owner, &mut names, service);
            service.places.dedup();
        }
        if let Some((rule, place)) = work.named(owner) {
            report.rules.push(Entry { fate, rule, places: vec![place], why });
        }
        made_all.append(&mut made.services);
    }
    notes(saved, walks, (one_version, live), &mut report);
    let document = Document {
        firewall: CHAIN,
        head: head(),
        services: joined(made_all),
        expect: expect::expectations(walks),
        ..Document::default()
    };
    Imported { policy: document.text(), report }
}

fn head() -> Vec<String> {
    vec![
        "Written by `palisade import docker-user`. It is of the ports that containers publish and of no others: what this machine".to_owned(),
        "itself is asked for, ssh above all, stands in the policy that `palisade init` prints. Put these services into it, and then:".to_owned(),
        CHECK.to_owned(),
        APPLY.to_owned(),
    ]
}

/// What is said once.
fn notes(saved: &Saved, walks: &[Walk], (one_version, live): (Option<Version>, Option<&Live>), report: &mut Report) {
    for version in Version::ALL {
        if !saved.of(version).is_there {
            let program = if version == Version::V4 { "iptables-save" } else { "ip6tables-save" };
            let text = if saved.places.is_empty() {
                format!(
                    "nothing is known of {version}, and the policy lets nobody in over it: add what `{program}` prints"
                )
            } else {
                format!("the kernel has no chain {CHAIN} of {version}, and the policy lets nobody in over it")
            };
            report.note(None, text);
        }
    }
    if let Some(version) = one_version {
        super::service::of_one_version(version, report);
    }
    let has_none =
        Version::ALL.into_iter().all(|version| published::translated(saved.of(version), version).is_empty());
    if saved.places.is_empty() && has_none && live.is_some_and(|live| !live.published.is_empty()) {
        let text = "the text has no table nat: the ports are those that containers publish on this machine now";
        report.note(None, text);
    }
    let opened: BTreeSet<usize> = walks.iter().flat_map(Walk::about_what_containers_open).collect();
    if !opened.is_empty() {
        let lines: Vec<String> = opened.iter().map(|line| saved.place(*line)).collect();
        report.note(
            Some(lines.join(", ")),
            "denies what containers open to elsewhere, too, and the policy does not: `containers: { outgoing: deny }`, and \
             what they may open in `outgoing`",
        );
    }
    for walk in walks {
        for (line, text) in &walk.in_engines_chains {
            report.rules.push(Entry {
                fate: Fate::NotTranslated,
                rule: text.clone(),
                places: vec![saved.place(*line)],
                why: vec!["it stands in the engine's own chain, and is lost when the daemon starts".to_owned()],
            });
        }
    }
}

/// All that is known when services are made.
struct Work<'a> {
    walks: &'a [Walk],
    left: &'a [Vec<Option<Left>>],
}

impl Work<'_> {
    fn owners(&self) -> BTreeSet<Owner> {
        let lines = self.walks.iter().flat_map(|walk| walk.lines.keys().map(|line| Owner::Line(*line)));
        lines.chain([Owner::End]).collect()
    }

    /// The rules of an owner: the version, the index in its list, and the rule.
    fn tuples(&self, owner: Owner) -> impl Iterator<Item = (usize, usize, &Tuple)> {
        self.walks.iter().enumerate().flat_map(move |(version, walk)| {
            let own = walk.owners.iter().zip(&walk.tuples).enumerate().filter(move |(_, (of, _))| **of == owner);
            own.map(move |(at, (_, tuple))| (version, at, tuple))
        })
    }

    fn left(&self, owner: Owner) -> Vec<(&Tuple, &Left)> {
        let left =
            |(version, at, tuple): (usize, usize, _)| Some((tuple, self.left.get(version)?.get(at)?.as_ref()?));
        self.tuples(owner).filter_map(left).collect()
    }

    fn name(&self, owner: Owner, names: &mut Names, service: &Service) -> String {
        match self.tuples(owner).next() {
            Some((_, _, tuple)) => names.name(service, tuple),
            None => names.free("published"),
        }
    }

    /// A rule as it is written, and where.
    fn named(&self, owner: Owner) -> Option<(String, String)> {
        let Owner::Line(line) = owner else { return None };
        let text = self.walks.iter().find_map(|walk| walk.lines.get(&line)).map(|said| said.text.clone());
        Some((text?, self.place(owner)))
    }

    fn place(&self, owner: Owner) -> String {
        self.walks.first().map(|walk| walk.place(owner)).unwrap_or_default()
    }

    /// The places of these rules.
    fn places(&self, rules: BTreeSet<At>) -> BTreeMap<Owner, String> {
        let owners = rules.into_iter().filter_map(|(version, at)| self.walks.get(version)?.owners.get(at).copied());
        owners.map(|owner| (owner, self.place(owner))).collect()
    }

    fn own(&self, owner: Owner) -> BTreeSet<At> {
        self.tuples(owner).map(|(version, at, _)| (version, at)).collect()
    }

    /// The places of rules that lose something to one.
    fn cut_by(&self, owner: Owner) -> Vec<String> {
        let mut places = self.places(losers(self.left, &self.own(owner)));
        places.remove(&owner);
        places.into_values().collect()
    }

    /// The places of rules that decide before one.
    fn cutters(&self, owner: Owner) -> Vec<String> {
        self.places(cutters(self.left, &self.own(owner))).into_values().collect()
    }

    /// What became of a rule, and why.
    fn fate(&self, owner: Owner, made: &Made) -> (Fate, Vec<String>) {
        if let Owner::Line(line) = owner
            && let Some((fate, why)) = self.walks.iter().find_map(|walk| walk.lines.get(&line)?.fate.clone())
        {
            return (fate, vec![why]);
        }
        let Some((_, _, first)) = self.tuples(owner).next() else {
            let is_left_out = self.walks.iter().any(|walk| !walk.refused.is_empty());
            let but = if is_left_out { " but those that are left out" } else { "" };
            return (Fate::NoEffect, vec![format!("no published port is behind it{but}")]);
        };
        let opens = first.action == Action::Allow;
        let cutters = self.cutters(owner);
        let mut why = Vec::new();
        if !opens {
            let cut = self.cut_by(owner);
            why.push(if cut.is_empty() {
                "the default denies it".to_owned()
            } else {
                format!("taken out of what {} {}", cut.join(", "), if cut.len() == 1 { "lets in" } else { "let in" })
            });
            return (if made.services.is_empty() && cut.is_empty() { Fate::NoEffect } else { Fate::Exact }, why);
        }
        if made.services.is_empty() {
            return (Fate::NoEffect, vec![format!("{} about all of it", decided(&cutters))]);
        }
        if !cutters.is_empty() {
            why.push(format!("without what {} before it", decided(&cutters)));
        }
        let mut fate = Fate::Exact;
        if self.left(owner).iter().any(|(_, left)| left.is_tighter) {
            fate = Fate::Tighter;
            why.push(
                "cut further than it has to be: what earlier rules leave of it falls into too many parts".to_owned(),
            );
        }
        if let Some(admitted) = &made.admitted {
            fate = Fate::Wider;
            why.push(super::service::admits(admitted));
        }
        (fate, why)
    }
}
