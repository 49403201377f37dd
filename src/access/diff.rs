//! Who gains and who loses access when one table replaces another.

use super::asked::Asked;
use super::narrow::narrowed;
use super::opened::{Opened, Readings};
use super::region::{Region, Regions};
use super::space::{Place, Prober, Space, Target};
use super::words;
use crate::net::{Transport, Version};
use crate::ruleset::{Table, TableId};
use serde::Serialize;
use std::fmt;

/// How many ranges of sources a line of text names.
const SHOWN_RANGES: usize = 8;
/// How many changes are printed as lines of text.
const SHOWN_LINES: usize = 100;

/// Sources whose access to some ports changes.
///
/// Displayed as `9000/tcp: 203.0.113.0/24 gains, 1.1.1.3 loses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessChange {
    /// `9000`, or `"8000-8010"`; `None` for what has no ports.
    pub port: Option<Port>,
    /// `tcp`, `udp`, `sctp`; `icmp` for echo requests; the number of another IP protocol, `other` for all that no
    /// rule names.
    pub proto: String,
    /// Who may open connections that were denied: networks, ranges and addresses, or `any`.
    pub gains: Vec<String>,
    /// Who may no longer open them.
    pub loses: Vec<String>,
    /// Sources for which it can't be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// The incoming interfaces that the change is limited to, if others differ: `eth1`, `br-*`, `containers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether the change is about ports that containers publish, instead of this machine's own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// The change as a line of text.
    #[serde(skip)]
    text: String,
}

/// A port or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Port {
    /// A single port.
    One(u16),
    /// `8000-8010`.
    Range(String),
}

impl fmt::Display for AccessChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Changes as lines that begin with `access: `: the first hundred, then how many more there are.
#[must_use]
pub fn lines(changes: &[AccessChange]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().take(SHOWN_LINES).map(|change| format!("access: {change}")).collect();
    if let Some(more) = changes.len().checked_sub(SHOWN_LINES).filter(|more| *more > 0) {
        lines.push(format!("access: and {more} more changes, see --json"));
    }
    lines
}

/// Who gains and who loses access to this machine, and to the ports that its containers publish, when `after`
/// replaces `before`. `None` stands for no table, which restricts nobody.
///
/// Exact for all sources, ports and interfaces except the loopback. The addresses of this machine are not told apart:
/// a source that reaches a port at any of them, and did not before, has gained it.
#[must_use]
pub fn access_changes(id: &TableId, before: Option<&Table>, after: Option<&Table>) -> Vec<AccessChange> {
    let nothing = Table::default();
    let tables = [before.unwrap_or(&nothing), after.unwrap_or(&nothing)];
    if tables[0] == tables[1] {
        return Vec::new();
    }
    match narrowed(tables) {
        Some([before, after]) => Comparison::new(id, [&before, &after]).changes(),
        None => Comparison::new(id, tables).changes(),
    }
}

/// The sources of one version whose access changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) gains: Region,
    pub(super) loses: Region,
    pub(super) unknown: Region,
}

/// Both tables, class by class.
pub(super) struct Comparison {
    pub(super) space: Space,
    /// For each place and each target: IPv4 and IPv6.
    pub(super) cells: Vec<Vec<[Cell; 2]>>,
    pub(super) regions: [Regions; 2],
}

impl Comparison {
    pub(super) fn new(id: &TableId, tables: [&Table; 2]) -> Self {
        let mut asked = Asked::default();
        let opened = Opened::both(id, tables);
        let readings = Version::ALL.map(|version| {
            let [before, after] = &opened;
            [(tables[0], before), (tables[1], after)]
                .map(|(table, opened)| Readings::new(table, opened, version, &mut asked))
        });
        let space = Space::new(&asked, &tables, []);
        let mut cells = vec![vec![[Cell::default(); 2]; space.targets.len()]; space.places.len()];
        let mut family = 0;
        let regions = readings.each_ref().map(|readings| {
            let version = Version::ALL[family];
            let mut prober = Prober::new(id, version, readings);
            for (place, cells) in cells.iter_mut().enumerate() {
                for (target, cell) in space.targets.iter().zip(cells) {
                    cell[family] = compare(&mut prober, &space, place, *target);
                }
            }
            family += 1;
            prober.regions
        });
        Self { space, cells, regions }
    }

    pub(super) fn changes(&self) -> Vec<AccessChange> {
        let mut changes = Vec::new();
        for (number, place) in self.space.places.iter().enumerate() {
            let usual = self.usual(number, place);
            let mut runs: Vec<(Target, [Cell; 2])> = Vec::new();
            for (index, target) in self.space.targets.iter().enumerate() {
                let cells = self.cells_at(number, index);
                let nothing = cells == [Cell::default(); 2];
                let as_usual = match usual {
                    None => nothing,
                    Some(usual) => cells == self.cells_at(usual, index),
                };
                let unasked = place.published.is_some() && !matches!(target, Target::Ports { .. });
                // Policy addresses never mean containers, so "unchanged for containers" is not reported. Nor is the
                // fact that a published port does not answer DHCP.
                let no_news = nothing && (place.incoming.containers || place.published.is_some());
                if as_usual || unasked || no_news {
                    continue;
                }
                match runs.last_mut() {
                    Some((run, before)) if *before == cells && joined(*run, *target).is_some() => {
                        *run = joined(*run, *target).unwrap_or(*run);
                    }
                    _ => runs.push((*target, cells)),
                }
            }
            changes.extend(runs.into_iter().map(|(target, cells)| self.change(place, target, cells)));
        }
        changes
    }

    fn cells_at(&self, place: usize, target: usize) -> [Cell; 2] {
        self.cells.get(place).and_then(|cells| cells.get(target)).copied().unwrap_or_default()
    }

    /// The place whose changes also stand for this one, unless this one differs: for a published port this machine's
    /// own, for an interface the interfaces that no rule names.
    fn usual(&self, number: usize, place: &Place) -> Option<usize> {
        let same = |other: &Place| other.published.is_none() && other.incoming == place.incoming;
        match &place.published {
            Some(_) => self.space.places.iter().position(same),
            None => (number > 0).then_some(0),
        }
    }

    fn change(&self, place: &Place, target: Target, cells: [Cell; 2]) -> AccessChange {
        let [gains, loses, unknown] =
            [cells.map(|cell| cell.gains), cells.map(|cell| cell.loses), cells.map(|cell| cell.unknown)];
        let (port, proto) = name(target);
        let names = place.incoming.names.join(", ");
        let only = self.space.places.iter().filter(|other| other.published.is_none() && other.incoming.containers);
        let by = if place.incoming.containers && only.count() == 1 {
            Some("containers".to_owned())
        } else {
            Some(names).filter(|names| !names.is_empty())
        };
        let mut parts = Vec::new();
        for (sources, does) in [(gains, "gains"), (loses, "loses"), (unknown, "can't be told")] {
            if sources != [Region::NONE; 2] {
                parts.push(format!("{} {does}", self.in_short(sources)));
            }
        }
        if parts.is_empty() {
            parts.push("nobody gains or loses".to_owned());
        }
        let way = match (&by, place.incoming.containers) {
            (Some(by), true) if by == "containers" => " from containers".to_owned(),
            (Some(by), _) => format!(" by {by}"),
            (None, _) => String::new(),
        };
        let published = place.published.is_some();
        let behind = if published { ", published by a container" } else { "" };
        let text = format!("{target}{way}{behind}: {}", parts.join(", "));
        let [gains, loses, unknown] = [gains, loses, unknown].map(|sources| self.in_full(sources));
        AccessChange { port, proto, gains, loses, unknown, by, published, text }
    }

    fn in_full(&self, sources: [Region; 2]) -> Vec<String> {
        if sources == [Region::ALL; 2] {
            return vec!["any".to_owned()];
        }
        let of = Version::ALL.into_iter().zip(&self.regions).zip(sources);
        of.flat_map(|((version, regions), sources)| words::ranges(version, regions, sources)).collect()
    }

    /// The sources or, if that list is shorter, all but the others.
    fn in_short(&self, sources: [Region; 2]) -> String {
        let them = self.in_full(sources);
        let of = Version::ALL.into_iter().zip(&self.regions).zip(sources);
        let others: Vec<String> =
            of.flat_map(|((version, regions), sources)| words::ranges_outside(version, regions, sources)).collect();
        if others.len() < them.len() && !others.is_empty() {
            format!("any but {}", words::in_short(&others, SHOWN_RANGES))
        } else {
            words::in_short(&them, SHOWN_RANGES)
        }
    }
}

fn compare(prober: &mut Prober<'_>, space: &Space, place: usize, target: Target) -> Cell {
    let mut cell = Cell::default();
    for (_, by_table) in prober.outcomes(space, place, target) {
        let [before, after] = by_table.as_slice() else { continue };
        let regions = &mut prober.regions;
        if before == after && before.passes(regions) == before.may_pass(regions) {
            continue;
        }
        let (passed, passes) = (before.passes(regions), after.passes(regions));
        let (could, can) = (before.may_pass(regions), after.may_pass(regions));
        let gains = regions.minus(passes, could);
        let loses = regions.minus(passed, can);
        // Unknown are the sources whose access is uncertain before or after.
        let doubtful_before = regions.minus(could, passed);
        let doubtful_after = regions.minus(can, passes);
        let unknown = regions.or(doubtful_before, doubtful_after);
        cell.gains = regions.or(cell.gains, gains);
        cell.loses = regions.or(cell.loses, loses);
        cell.unknown = regions.or(cell.unknown, unknown);
    }
    cell
}

/// Joins two runs of ports if the second begins right after the first.
fn joined(a: Target, b: Target) -> Option<Target> {
    match (a, b) {
        (Target::Ports { protocol, first, last }, Target::Ports { protocol: other, first: next, last: end })
            if protocol == other && last.checked_add(1) == Some(next) =>
        {
            Some(Target::Ports { protocol, first, last: end })
        }
        _ => None,
    }
}

fn name(target: Target) -> (Option<Port>, String) {
    match target {
        Target::Ports { protocol, first, last } => {
            let name = Transport::from_number(protocol).map_or("sctp", Transport::name);
            let port = if first == last { Port::One(first) } else { Port::Range(format!("{first}-{last}")) };
            (Some(port), name.to_owned())
        }
        Target::Ping => (None, "icmp".to_owned()),
        Target::Protocol(number) => (None, number.to_string()),
        Target::OtherProtocols(_) => (None, "other".to_owned()),
    }
}

impl fmt::Display for Target {
    /// `9000/tcp`, `60000-61000/udp`, `ping`, `50/proto`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, name(*self)) {
            (Self::Ping, _) => f.write_str("ping"),
            (Self::OtherProtocols(_), _) => f.write_str("other protocols"),
            (_, (Some(Port::One(port)), proto)) => write!(f, "{port}/{proto}"),
            (_, (Some(Port::Range(ports)), proto)) => write!(f, "{ports}/{proto}"),
            (_, (None, number)) => write!(f, "{number}/proto"),
        }
    }
}
