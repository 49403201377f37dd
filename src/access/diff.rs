//! Who gains and who loses access when one table replaces another.

use super::asked::Asked;
use super::change::{AccessChange, Cell, SHOWN_RANGES, compared, joined, name};
use super::diff_elsewhere::Elsewhere;
use super::narrow::narrowed;
use super::opened::{Opened, Readings};
use super::region::{Region, Regions};
use super::space::{Place, Prober, Space, Target};
use super::words;
use crate::net::Version;
use crate::ruleset::{Table, TableId};
use crate::simulate::Translation;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Both versions.
const BOTH: [bool; 2] = [true; 2];
/// How many changes are printed as lines of text.
const SHOWN_LINES: usize = 100;

/// Changes as lines that begin with `access: `: the first hundred, then how many more there are.
#[must_use]
pub fn lines(changes: &[AccessChange]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().take(SHOWN_LINES).map(|change| format!("access: {change}")).collect();
    if let Some(more) = changes.len().checked_sub(SHOWN_LINES).filter(|more| *more > 0) {
        lines.push(format!("access: and {more} more changes, see --json"));
    }
    lines
}

/// Who gains and who loses access when `after` replaces `before`: to this machine and to the ports that its containers
/// publish, then to elsewhere, from this machine, its containers and through it. `None` stands for no table, which
/// restricts nobody.
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
    let narrowed = narrowed(tables);
    let tables = narrowed.as_ref().map_or(tables, <[Table; 2]>::each_ref);
    let mut changes = Comparison::new(id, tables).changes();
    changes.extend(Elsewhere::new(id, tables).changes());
    changes
}

/// Both tables, class by class.
pub(super) struct Comparison {
    pub(super) space: Space,
    /// For each place and each target: IPv4 and IPv6.
    pub(super) cells: Vec<Vec<[Cell; 2]>>,
    /// The same for the machines behind this one that answer there.
    forwards: Vec<Vec<BTreeSet<Translation>>>,
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
        let mut forwards = vec![vec![BTreeSet::new(); space.targets.len()]; space.places.len()];
        let mut family = 0;
        let regions = readings.each_ref().map(|readings| {
            let version = Version::ALL[family];
            let mut prober = Prober::new(id, version, readings);
            for (place, (cells, forwards)) in cells.iter_mut().zip(&mut forwards).enumerate() {
                for ((target, cell), forwards) in space.targets.iter().zip(cells).zip(forwards) {
                    cell[family] = compare(&mut prober, &space, place, *target, forwards);
                }
            }
            family += 1;
            prober.regions
        });
        Self { space, cells, forwards, regions }
    }

    pub(super) fn changes(&self) -> Vec<AccessChange> {
        let mut changes = Vec::new();
        for (number, place) in self.space.places.iter().enumerate() {
            let usual = self.usual(number, place);
            let mut runs: Vec<(Target, [Cell; 2], &BTreeSet<Translation>)> = Vec::new();
            for (index, target) in self.space.targets.iter().enumerate() {
                let cells = self.cells_at(number, index);
                let nothing = cells == [Cell::default(); 2];
                let as_usual = match usual {
                    None => nothing,
                    Some(usual) => cells == self.cells_at(usual, index),
                };
                let unasked = place.published.is_some() && !matches!(target, Target::Ports { .. });
                // Policy addresses never mean containers, so "unchanged for containers" is not reported beside what changes
                // for others. Nor is the fact that a published port does not answer DHCP.
                let beside = usual.and_then(|usual| self.space.places.get(usual));
                let beside_own = beside.is_none_or(|usual| usual.published.is_none());
                let beside_others = beside.is_none_or(|usual| !usual.incoming.containers);
                let no_news = nothing
                    && (place.incoming.containers && beside_others || place.published.is_some() && beside_own);
                if as_usual || unasked || no_news {
                    continue;
                }
                let Some(forwards) = self.forwards.get(number).and_then(|of| of.get(index)) else { continue };
                match runs.last_mut() {
                    Some((run, before, to))
                        if (*before, *to) == (cells, forwards) && joined(*run, *target).is_some() =>
                    {
                        *run = joined(*run, *target).unwrap_or(*run);
                    }
                    _ => runs.push((*target, cells, forwards)),
                }
            }
            let change = |(target, cells, forwards)| self.change(place, target, cells, forwards);
            changes.extend(runs.into_iter().map(change));
        }
        changes
    }

    fn cells_at(&self, place: usize, target: usize) -> [Cell; 2] {
        self.cells.get(place).and_then(|cells| cells.get(target)).copied().unwrap_or_default()
    }

    /// The place whose changes also stand for this one, unless this one differs: for a published port that of the first
    /// containers, for theirs this machine's own, for an interface the interfaces that no rule names.
    fn usual(&self, number: usize, place: &Place) -> Option<usize> {
        let before = self.space.places.get(..number)?;
        let same = |published| {
            let is_one = |other: &Place| other.published.is_some() == published && other.incoming == place.incoming;
            before.iter().position(is_one)
        };
        match &place.published {
            Some(_) => same(true).or_else(|| same(false)),
            None => (number > 0).then_some(0),
        }
    }

    /// The names of the interfaces of the containers that publish, but for the first.
    pub(super) fn behind(&self, place: &Place) -> Option<String> {
        let first = self.space.places.iter().find_map(|place| place.published.as_ref());
        let published = place.published.as_ref().filter(|published| Some(*published) != first)?;
        Some(published.names.join(", "))
    }

    fn change(
        &self,
        place: &Place,
        target: Target,
        cells: [Cell; 2],
        forwards: &BTreeSet<Translation>,
    ) -> AccessChange {
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
                parts.push(format!("{} {does}", words::shortest(&self.regions, sources, BOTH, SHOWN_RANGES)));
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
        let behind = self.behind(place);
        let publisher = match &behind {
            Some(names) => format!(", published by a container behind {names}"),
            None if published => ", published by a container".to_owned(),
            None => String::new(),
        };
        let forwarded_to: Vec<String> = forwards.iter().map(answerer).collect();
        let elsewhere = match forwarded_to.as_slice() {
            [] => String::new(),
            to => format!(" (forwarded to {})", to.join(", ")),
        };
        let text = format!("{target}{way}{publisher}: {}{elsewhere}", parts.join(", "));
        let [gains, loses, unknown] =
            [gains, loses, unknown].map(|sources| words::in_full(&self.regions, sources, BOTH));
        AccessChange {
            port,
            proto,
            gains,
            loses,
            unknown,
            by,
            published,
            behind,
            forwarded_to,
            text,
            ..AccessChange::default()
        }
    }
}

/// `192.168.122.10`, or `192.168.122.10:8443`
fn answerer(to: &Translation) -> String {
    to.port.map_or_else(|| to.address.to_string(), |port| SocketAddr::new(to.address, port).to_string())
}

fn compare(
    prober: &mut Prober<'_>,
    space: &Space,
    place: usize,
    target: Target,
    forwards: &mut BTreeSet<Translation>,
) -> Cell {
    let mut cell = Cell::default();
    for (packet, by_table) in prober.outcomes(space, place, target) {
        let [before, after] = by_table.as_slice() else { continue };
        let change = compared(&mut prober.regions, before, after);
        if change != Cell::default() {
            forwards.extend(prober.forwarded(&packet));
        }
        let regions = &mut prober.regions;
        cell.gains = regions.or(cell.gains, change.gains);
        cell.loses = regions.or(cell.loses, change.loses);
        cell.unknown = regions.or(cell.unknown, change.unknown);
    }
    cell
}
