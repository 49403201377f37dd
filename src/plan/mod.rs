//! What an `apply` would do, in people's words: which lines of the policy change, and for each port that somebody listens
//! on, or that a container publishes, who reaches it before and afterwards.
//!
//! Who reaches a port is what `exposure` says of the live rules, and of the same rules with the desired table in place of
//! palisade's own. Who gains and who loses is what the comparison of access says of the two tables.

mod lines;
mod words;

pub use lines::Lines;
pub use words::headline;

use crate::access::AccessChange;
use crate::exposure::{Listings, Purpose, Row, Told, protocol};
use serde::Serialize;

/// All that a plan is made from.
pub struct Given<'g> {
    /// Which lines of the policy change.
    pub lines: Lines,
    /// How many operations the transaction has.
    pub operations: usize,
    /// Who gains and who loses access.
    pub access: &'g [AccessChange],
    /// Who reaches which port now, and with the desired table; else why it is not known who listens.
    pub exposure: Result<[Exposed; 2], String>,
    /// The SSH session that the command is run from, in words, and whether it could connect again.
    pub sessions: Vec<(String, bool)>,
}

/// The rows of `exposure`, and the contents of the groups and lists that they mention.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// The rows.
    pub rows: Vec<Row>,
    /// The contents.
    pub listings: Listings,
}

/// What an `apply` would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which lines of the policy change.
    pub lines: Lines,
    /// How many operations the transaction has.
    pub operations: usize,
    /// The ports that somebody listens on, or why they are not known.
    pub ports: Result<Vec<PortPlan>, String>,
    /// What comes in at ports that nobody listens on, and is let in from now on.
    pub unheard: Vec<String>,
    /// What leaves this machine or goes through it, and who gains and loses there.
    pub elsewhere: Vec<String>,
    /// As [`Given::sessions`].
    pub sessions: Vec<(String, bool)>,
}

/// What becomes of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Nobody reaches it any more.
    Closes,
    /// Some who reached it no longer do.
    Narrows,
    /// Some gain it, and others lose it.
    Changes,
    /// Some reach it who did not.
    Opens,
    /// It can't be told.
    Unknown,
    /// Nobody gains or loses it.
    Stays,
}

/// A port, and who reaches it before and afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// What becomes of it.
    pub fate: Fate,
    /// `9000/tcp`
    pub port: String,
    /// `container dashboard`
    pub owner: String,
    /// Who reaches it before, and afterwards.
    pub who: [String; 2],
    /// Who gains and who loses it, in short: ` by eth1: 203.0.113.9 gains`.
    pub said: Vec<String>,
    /// The row, for programs.
    pub row: Row,
    /// Who reaches it before, and afterwards, for programs.
    pub reachable_from: [Vec<String>; 2],
    /// Who gains it.
    pub gains: Vec<String>,
    /// Who loses it.
    pub loses: Vec<String>,
}

impl Plan {
    /// The plan that follows from what is given.
    #[must_use]
    pub fn new(given: Given<'_>) -> Self {
        let Given { lines, operations, access, exposure, sessions } = given;
        let ports = exposure.map(|[before, after]| ports(&before, &after, access));
        let heard = |change: &AccessChange| ports.iter().flatten().any(|port| is_about(change, &port.row));
        let (elsewhere, incoming): (Vec<&AccessChange>, Vec<_>) =
            access.iter().partition(|change| change.direction.is_some());
        let unheard =
            incoming.into_iter().filter(|change| !(change.gains.is_empty() || is_one(change) && heard(change)));
        Self {
            unheard: unheard.map(ToString::to_string).collect(),
            elsewhere: elsewhere.into_iter().map(ToString::to_string).collect(),
            lines,
            operations,
            ports,
            sessions,
        }
    }

    /// Whether somebody loses a port that somebody listens on, or it can't be told.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        let takes = |port: &PortPlan| !port.loses.is_empty() || matches!(port.fate, Fate::Closes | Fate::Unknown);
        self.ports.as_ref().map_or(self.operations > 0, |ports| ports.iter().any(takes))
    }
}

/// Each port of the rows, before and afterwards.
fn ports(before: &Exposed, after: &Exposed, access: &[AccessChange]) -> Vec<PortPlan> {
    let gone = before.rows.iter().filter(|row| !after.rows.iter().any(|other| meets(row, other)));
    let gone = gone.map(|row| port(row, (&[row], before), (&[], after), access));
    let there = after.rows.iter().map(|row| {
        let was: Vec<&Row> = before.rows.iter().filter(|other| meets(row, other)).collect();
        port(row, (&was, before), (&[row], after), access)
    });
    let mut ports: Vec<PortPlan> = gone.chain(there).collect();
    ports.sort_by_key(|port| (port.fate, port.row.port, port.row.protocol));
    ports
}

/// Whether two rows are about the same port of the same owner.
fn meets(one: &Row, other: &Row) -> bool {
    let same = |row: &Row| (row.protocol, row.purpose, row.interface.clone(), row.bound.clone());
    // A range of ports has its owner named by its first.
    let owner = one.owner == other.owner || one.port != one.last || other.port != other.last;
    same(one) == same(other) && owner && one.port <= other.last && other.port <= one.last
}

fn port(row: &Row, was: (&[&Row], &Exposed), is: (&[&Row], &Exposed), access: &[AccessChange]) -> PortPlan {
    let of_row = about(access, row);
    let told = Told::new(row, &Listings::default());
    let distinct = |names: Vec<Vec<String>>| {
        let mut distinct: Vec<String> = Vec::new();
        names.into_iter().flatten().for_each(|name| {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        });
        distinct
    };
    let who = [was, is].map(|(rows, exposed)| {
        let all = rows.iter().map(|row| vec![Told::new(row, &exposed.listings).who]).collect();
        let all = distinct(all);
        if all.is_empty() { "nobody".to_owned() } else { all.join("; ") }
    });
    let reachable_from = [was, is].map(|(rows, exposed)| {
        let all = rows.iter().map(|row| crate::exposure::reachable_from(row, &exposed.listings)).collect();
        let all = distinct(all);
        if all.is_empty() { vec!["nobody".to_owned()] } else { all }
    });
    let gains = distinct(of_row.iter().map(|change| change.gains.clone()).collect());
    let loses = distinct(of_row.iter().map(|change| change.loses.clone()).collect());
    let said = of_row.iter().map(|change| {
        let text = change.to_string();
        text.find([' ', ':']).and_then(|at| text.get(at..)).unwrap_or_default().to_owned()
    });
    let fate = fate(&of_row, was.0, is.0);
    PortPlan {
        fate,
        said: if fate == Fate::Stays { Vec::new() } else { said.collect() },
        port: told.port,
        owner: told.owner,
        who,
        row: row.clone(),
        reachable_from,
        gains,
        loses,
    }
}

fn fate(access: &[&AccessChange], was: &[&Row], is: &[&Row]) -> Fate {
    let unknown = |row: &&Row| row.reach.iter().flatten().any(|reach| !reach.unknown.is_empty());
    let nobody = |rows: &[&Row]| rows.iter().all(|row| row.admitted.is_empty());
    if was.iter().any(unknown) || is.iter().any(unknown) || access.iter().any(|change| !change.unknown.is_empty()) {
        return Fate::Unknown;
    }
    match (nobody(was), nobody(is)) {
        (true, true) => return Fate::Stays,
        (false, true) => return Fate::Closes,
        (true, false) => return Fate::Opens,
        (false, false) => {}
    }
    let gains = access.iter().any(|change| !change.gains.is_empty());
    let loses = access.iter().any(|change| !change.loses.is_empty());
    match (gains, loses) {
        (true, true) => Fate::Changes,
        (true, false) => Fate::Opens,
        (false, true) => Fate::Narrows,
        (false, false) => Fate::Stays,
    }
}

/// The changes of access to the port of a row. What is said of this machine's own ports holds for those that containers
/// publish as well, unless more is said of these.
fn about<'a>(access: &'a [AccessChange], row: &Row) -> Vec<&'a AccessChange> {
    let of_row: Vec<&AccessChange> = access.iter().filter(|change| is_about(change, row)).collect();
    let is_own = row.purpose != Purpose::Container || of_row.iter().all(|change| !change.published);
    of_row.into_iter().filter(|change| change.published != is_own).collect()
}

/// Whether a change of access may be about the port of a row.
fn is_about(change: &AccessChange, row: &Row) -> bool {
    let ports = change.ports().is_some_and(|(first, last)| first <= row.last && row.port <= last);
    change.direction.is_none() && change.proto == protocol(row) && ports
}

/// Whether it is about a single port.
fn is_one(change: &AccessChange) -> bool {
    change.ports().is_some_and(|(first, last)| first == last)
}
