//! Doors with the same senders, as sentences of a policy.

use super::pieces::{Piece, gets_in, pieces};
use super::place;
use super::rows::{AtOwn, DoorRows, Row, slot};
use crate::exposure::{Decided, Space, Spans};
use crate::migrate::cut::Slot;
use crate::migrate::service::ports;
use crate::net::Version;
use crate::simulate::Translation;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Ports, and who may or may not reach them.
#[derive(Clone, Debug)]
pub(super) struct Sentence {
    pub(super) ports: Vec<String>,
    pub(super) action: Option<&'static str>,
    pub(super) pieces: Vec<Piece>,
    /// The machines behind this one that answer.
    pub(super) forward_to: Vec<String>,
    /// The rules that it comes from, for each way.
    by: Vec<BTreeSet<Decided>>,
}

impl Sentence {
    /// Where the rules of a piece stand.
    pub(super) fn places(&self, piece: &Piece) -> Vec<String> {
        let by = piece.ways.iter().filter_map(|way| self.by.get(*way)).flatten().collect::<BTreeSet<_>>();
        let rules = by.into_iter().filter(|one| one.rule.is_some());
        rules.map(|one| place(&one.table, &one.chain, one.rule)).collect()
    }
}

/// What a policy says of all doors at once.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `incoming`: `deny`, `reject` or `allow`.
    pub(super) incoming: &'static str,
    /// `ping`: `allow` or `deny`.
    pub(super) ping: &'static str,
    /// Whether containers reach every port.
    pub(super) host: bool,
    /// Whom all doors let in, if one does not say otherwise.
    rest: Row,
    /// The rules by which they do.
    rest_by: Vec<BTreeSet<Decided>>,
    /// Whom all doors of some addresses of this machine shut out.
    pub(super) shut: Vec<AtOwn>,
}

impl Plan {
    pub(super) fn of(space: &Space, rows: &[DoorRows], shut: Vec<AtOwn>) -> Self {
        let is_container = |way: usize| space.ways.get(way).is_some_and(|way| way.containers);
        let lets_containers_in = |row: &Row| {
            let ways = space.ways.iter().zip(&row.0).filter(|(way, _)| way.containers);
            ways.into_iter().all(|(way, both)| gets_in(way, both))
        };
        let nothing = Row::nothing(space.ways.len());
        let of_rest = rows.last();
        let rest = of_rest.map_or_else(|| nothing.clone(), |of| of.common.clone());
        let is_open = of_rest.is_some_and(|of| of.is_alike_but(&shut))
            && rest.is_everything(|way| !is_container(way))
            && lets_containers_in(&rest);
        let pings = |of: &&DoorRows| slot(of.door) == Slot::Ping;
        let ping = rows.iter().find(pings).is_some_and(|of| {
            of.is_alike_but(&shut)
                && of.common.is_everything(|way| !is_container(way))
                && lets_containers_in(&of.common)
        });
        let closed = |of: &&DoorRows| of.common.is_nothing() && of.special.is_empty() && of.unknown.is_empty();
        let rejects = rows.iter().filter(closed).filter(|of| of.rejects).count();
        let incoming = match () {
            () if is_open => "allow",
            () if rejects * 2 > rows.iter().filter(closed).count() => "reject",
            () => "deny",
        };
        let has_containers = space.ways.iter().any(|way| way.containers);
        let host = has_containers && !is_open && rows.iter().all(|of| lets_containers_in(&of.common));
        let rest_by = of_rest.map(|of| of.by.clone()).unwrap_or_default();
        Self { incoming, ping: if ping { "allow" } else { "deny" }, host, rest, rest_by, shut }
    }

    pub(super) fn is_open(&self) -> bool {
        self.incoming == "allow"
    }
}

/// Whether a door leads to containers, and everyone gets to them by every interface.
pub(super) fn bypasses(space: &Space, of: &DoorRows) -> bool {
    let is_container = |way: usize| space.ways.get(way).is_some_and(|way| way.containers);
    let is_open = |version: Version| {
        let mut outside = of.common.0.iter().enumerate().filter(|(way, _)| !is_container(*way));
        outside.all(|(_, both)| both[version as usize].is_all(version))
    };
    !of.translated.is_empty()
        && of.translated.iter().all(|to| {
            let (at, version) = (crate::net::number(to.address), Version::of(to.address));
            let mut containers = space.ways.iter().filter(|way| way.containers);
            containers.any(|way| way.networks(version).contains(at)) && is_open(version)
        })
}

/// The machines behind this one that answer at a door; `None` if this machine or a container does, and empty if a service can't
/// say it.
pub(super) fn forwarded(space: &Space, of: &DoorRows) -> Option<Vec<String>> {
    let is_near = |address: IpAddr| {
        let at = crate::net::number(address);
        let version = Version::of(address);
        let is_own = space.own(version).iter().any(|own| own.example == address || own.addresses.contains(&address));
        let is_own = is_own || space.ways.iter().flat_map(|way| &way.addresses).any(|(own, _)| *own == address);
        is_own || space.ways.iter().any(|way| way.containers && way.networks(version).contains(at))
    };
    let far: Vec<_> = of.translated.iter().filter(|to| !is_near(to.address)).collect();
    if far.is_empty() {
        return None;
    }
    let is_one = Version::ALL
        .into_iter()
        .all(|version| of.translated.iter().filter(|to| Version::of(to.address) == version).count() <= 1);
    let can_be_said = is_one && far.len() == of.translated.len() && of.door.first == of.door.last;
    let target = |to: &Translation| match (to.address, to.port) {
        (IpAddr::V4(address), None) => address.to_string(),
        (IpAddr::V6(address), None) => format!("\"{address}\""),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("\"[{address}]:{port}\""),
    };
    Some(if can_be_said { far.into_iter().map(target).collect() } else { Vec::new() })
}

/// The sentences for all doors. Those that lead to other machines are left out unless `forwards`.
pub(super) fn all_sentences(space: &Space, rows: &[DoorRows], plan: &Plan, forwards: bool) -> Vec<Sentence> {
    let is_far = |of: &DoorRows| forwarded(space, of).is_some();
    let near: Vec<DoorRows> = rows.iter().map(|of| if is_far(of) { of.of_ways(false) } else { of.clone() }).collect();
    let far: Vec<DoorRows> = rows.iter().filter(|of| is_far(of)).map(|of| of.of_ways(true)).collect();
    let mut sentences = sentences(space, &near, plan);
    for of in far.iter().filter(|_| forwards && !plan.is_open()) {
        let Some(to) = forwarded(space, of).filter(|to| !to.is_empty()) else { continue };
        let mut work = Work { space, plan, rest: None, groups: Vec::new() };
        work.add((&of.common, &[]), (None, &of.by), &[slot(of.door)]);
        sentences.extend(work.groups.into_iter().map(|group| {
            let (ports, _) = ports(&group.slots, &[]);
            Sentence { ports, action: None, pieces: group.pieces, forward_to: to.clone(), by: group.by }
        }));
    }
    sentences
}

/// The sentences for all doors.
fn sentences(space: &Space, rows: &[DoorRows], plan: &Plan) -> Vec<Sentence> {
    let all: Vec<Slot> = rows.iter().map(|of| slot(of.door)).collect();
    let mut work = Work { space, plan, rest: rows.last(), groups: Vec::new() };
    if !plan.is_open() {
        let common = without_host(&plan.rest, space, plan);
        work.add((&common, &[]), (None, &plan.rest_by), &all);
        for (to, row) in work.rest.into_iter().flat_map(|rest| &rest.special) {
            work.add((&without_host(row, space, plan), to), (None, &plan.rest_by), &all);
        }
    }
    let denied_by = work.rest.map(|rest| rest.denied_by.clone()).unwrap_or_default();
    for shut in &plan.shut {
        work.add((&shut.row, &shut.own.addresses), (Some("deny"), &denied_by), &all);
    }
    let is_said = |of: &&DoorRows| match slot(of.door) {
        Slot::Rest => true,
        Slot::Ping if plan.ping == "allow" && !plan.is_open() => true,
        _ => !plan.is_open() && bypasses(space, of),
    };
    for of in rows.iter().filter(|of| !is_said(of)) {
        work.allow(of);
        let is_by_default = slot(of.door) == Slot::Ping && plan.ping == "deny" && plan.is_open();
        if !(is_by_default && of.common.is_nothing()) {
            work.deny(of);
        }
    }
    let sentence = |group: Group| {
        let (ports, _) = ports(&group.slots, &all);
        Sentence { ports, action: group.action, pieces: group.pieces, forward_to: Vec::new(), by: group.by }
    };
    work.groups.into_iter().map(sentence).filter(|sentence| !sentence.ports.is_empty()).collect()
}

/// What is said of the addresses that this machine has now, and not of those that it may get: of protocols that no rule names,
/// a policy can't take away some of them at one address.
pub(super) fn only_now(rows: &[DoorRows], plan: &Plan) -> Option<String> {
    let rest = rows.last().filter(|_| !plan.is_open())?;
    let is_unnamed = |to: &[IpAddr]| rest.each.iter().any(|here| here.own.unnamed && here.own.addresses == to);
    let addresses = rest.special.iter().map(|(to, _)| to).filter(|to| is_unnamed(to)).flatten();
    let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| {
        format!(
            "other protocols: some who get in at each address that no rule names do so at those that this machine has now: \
             put what it gets later beside {} in `to`",
            addresses.join(", ")
        )
    })
}

/// The sentences so far.
struct Work<'w> {
    space: &'w Space,
    plan: &'w Plan,
    /// What is said of protocols that no rule names, and so of all doors together.
    rest: Option<&'w DoorRows>,
    groups: Vec<Group>,
}

impl Work<'_> {
    /// Whom a door lets in beside those whom all doors do.
    fn allow(&mut self, of: &DoorRows) {
        let (space, plan) = (self.space, self.plan);
        let rest =
            if plan.is_open() { Row::everything(space.ways.len()) } else { with_host(&plan.rest, space, plan) };
        let pairs = of.by.iter().zip(&plan.rest_by);
        let by: Vec<BTreeSet<Decided>> = pairs.map(|(by, rest)| by.difference(rest).cloned().collect()).collect();
        let common = with_host(&of.common, space, plan);
        let more = common.minus(&rest);
        let slots = [slot(of.door)];
        if !more.is_nothing() {
            self.add((&more.relaxed(&common), &[]), (None, &by), &slots);
        }
        for (to, row) in &of.special {
            let rest_there = self.rest.into_iter().flat_map(|rest| &rest.special).find(|(other, _)| other == to);
            let rest_there = rest_there.map_or_else(|| rest.clone(), |(_, row)| rest.or(row));
            self.add((&without_host(&row.minus(&rest_there), space, plan), to), (None, &by), &slots);
        }
    }

    /// Whom a door denies of those whom all doors let in.
    fn deny(&mut self, of: &DoorRows) {
        let (space, plan) = (self.space, self.plan);
        let Some(rest) = self.rest else { return };
        let action = Some(if of.rejects { "reject" } else { "deny" });
        let slots = [slot(of.door)];
        let nothing = Row::nothing(space.ways.len());
        let mut everywhere = nothing.clone();
        let open = |rest: &AtOwn| if plan.is_open() { Row::everything(space.ways.len()) } else { rest.row.clone() };
        let denied = |here: &AtOwn, rest: &AtOwn, also: &Row| {
            let others = with_host(&here.row, space, plan).others(rest.version);
            let nobody = Row::nothing(space.ways.len());
            let shut = plan.shut.iter().find(|shut| shut.own == here.own).map_or(&nobody, |shut| &shut.row);
            let said = with_host(&open(rest).or(also), space, plan).minus(shut);
            Some(others.clone()).filter(|_| !said.and(&others).is_nothing())
        };
        for (here, rest) in of.each.iter().zip(&rest.each).filter(|(here, _)| here.own.unnamed) {
            everywhere = denied(here, rest, &nothing).map_or(everywhere.clone(), |denied| everywhere.or(&denied));
        }
        self.add((&everywhere, &[]), (action, &of.denied_by), &slots);
        for (here, rest) in of.each.iter().zip(&rest.each).filter(|(here, _)| !here.own.unnamed) {
            let Some(denied) = denied(here, rest, &of.common) else { continue };
            if !denied.minus(&everywhere).is_nothing() {
                self.add((&denied, &here.own.addresses), (action, &of.denied_by), &slots);
            }
        }
    }

    fn add(
        &mut self,
        (row, to): (&Row, &[IpAddr]),
        (action, by): (Option<&'static str>, &[BTreeSet<Decided>]),
        slots: &[Slot],
    ) {
        let pieces = if row.is_nothing() { Vec::new() } else { pieces(row, self.space, to) };
        if pieces.is_empty() {
            return;
        }
        let is_it = |other: &&mut Group| other.pieces == pieces && other.action == action && other.by == by;
        match self.groups.iter_mut().find(is_it) {
            Some(other) => other.slots.extend(slots),
            None => self.groups.push(Group { pieces, action, by: by.to_vec(), slots: slots.to_vec() }),
        }
    }
}

/// Doors with the same senders, by the same rules.
struct Group {
    pieces: Vec<Piece>,
    action: Option<&'static str>,
    by: Vec<BTreeSet<Decided>>,
    slots: Vec<Slot>,
}

/// A row in which all containers get in, where a setting lets them.
fn with_host(row: &Row, space: &Space, plan: &Plan) -> Row {
    let mut row = row.clone();
    let ways = space.ways.iter().zip(&mut row.0).filter(|(way, _)| way.containers && plan.host);
    ways.for_each(|(_, both)| *both = Version::ALL.map(Spans::all));
    row
}

/// A row that says nothing of containers, where a setting lets them in.
fn without_host(row: &Row, space: &Space, plan: &Plan) -> Row {
    let mut row = row.clone();
    let base = row.0.first().cloned().unwrap_or_default();
    let ways = space.ways.iter().zip(&mut row.0).filter(|(way, _)| way.containers && plan.host);
    ways.for_each(|(_, both)| *both = if super::rows::is_all(&base) { base.clone() } else { Default::default() });
    row
}
