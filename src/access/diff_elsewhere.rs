//! Who gains and who loses connections to elsewhere when one table replaces another: from this machine and its
//! containers ("out"), and of others through this machine ("through").
//!
//! A connection to elsewhere has a source and a destination, and a table allows a set of pairs of them. That set is told
//! as a union of products, so that it is exact: of what others open, the sources for each set of destinations that is
//! treated alike; of what this machine and its containers open, the destinations for each set of sources.
//!
//! Interfaces are told in classes that no rule tells apart. The interfaces that no rule names speak for the others,
//! unless a class has a line of its own.

use super::asked::Asked;
use super::change::{AccessChange, Cell, Direction, SHOWN_RANGES, compared, joined, name};
use super::destinations::{Explorer, filled};
use super::opened::{Opened, Readings};
use super::region::{Region, Regions};
use super::space::{InterfaceClass, Space, Target, interfaces};
use super::value::of_containers;
use super::ways::{Opener, another, own_sources, packet, users};
use super::words;
use crate::net::Version;
use crate::ruleset::{Table, TableId};
use crate::simulate::Packet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Pairs of a source and a destination whose access changes, as products: a set of the one, and the cell of the other.
pub(super) type Products = Vec<(Region, Cell)>;

/// Who opens connections, or the interfaces that they leave by.
#[derive(Clone, Debug)]
pub(super) struct Side<T> {
    /// `host`, `containers`, `user 1001`, `eth1, eth2`; `None` for the interfaces that no rule names.
    pub(super) label: Option<String>,
    pub(super) what: T,
}

/// Senders of one kind, and interfaces of one kind that their packets leave by. The first of each speaks for the
/// others.
pub(super) struct Block {
    pub(super) direction: Direction,
    pub(super) senders: Vec<Side<Opener>>,
    pub(super) leaving: Vec<Side<String>>,
    /// For each sender, each interface and each target: the changes over IPv4 and IPv6.
    cells: Vec<[Products; 2]>,
}

/// Both tables, way by way.
pub(super) struct Elsewhere {
    /// What is asked for, each with the source port of a program that asks. What DHCP clients send from their own port
    /// needs no rule, whatever the policy says.
    pub(super) targets: Vec<(Target, Option<u16>)>,
    pub(super) blocks: Vec<Block>,
    pub(super) regions: [Regions; 2],
}

impl Elsewhere {
    pub(super) fn new(id: &TableId, tables: [&Table; 2]) -> Self {
        let mut asked = Asked::default();
        let opened = tables.map(|table| Opened::elsewhere(id, table));
        let readings = Version::ALL.map(|version| {
            let [before, after] = &opened;
            [(tables[0], before), (tables[1], after)]
                .map(|(table, opened)| Readings::new(table, opened, version, &mut asked))
        });
        let space = Space::new(&asked, &tables, []);
        let with_port = |target: &Target| (*target, space.source_ports(*target).first().copied().flatten());
        let targets: Vec<_> = space.targets.iter().map(with_port).collect();
        let mut blocks = blocks(&asked, &tables);
        for block in &mut blocks {
            let ways = block.senders.len() * block.leaving.len();
            block.cells = vec![[Vec::new(), Vec::new()]; ways * targets.len()];
        }
        let mut family = 0;
        let regions = readings.each_ref().map(|readings| {
            let mut explorer = Explorer::new(id, Version::ALL[family], readings);
            let mut place = 0;
            for block in &mut blocks {
                place = block.compare(&mut explorer, family, place, &targets);
            }
            family += 1;
            explorer.regions
        });
        Self { targets, blocks, regions }
    }
}

impl Block {
    fn new(direction: Direction, senders: Vec<Side<Opener>>, leaving: Vec<Side<String>>) -> Self {
        Self { direction, senders, leaving, cells: Vec::new() }
    }

    /// Compares both tables over one version. Returns the first number that no way of this block has.
    fn compare(
        &mut self,
        explorer: &mut Explorer<'_>,
        family: usize,
        mut place: usize,
        targets: &[(Target, Option<u16>)],
    ) -> usize {
        let mut cells = self.cells.iter_mut();
        for sender in &self.senders {
            for leaving in &self.leaving {
                for (asked, cell) in targets.iter().zip(&mut cells) {
                    let to = |address| packet(&sender.what, &leaving.what, address, *asked);
                    if let Some(of_family) = cell.get_mut(family) {
                        *of_family = products(explorer, place, &sender.what, to);
                    }
                }
                place += 1;
            }
        }
        place
    }

    /// The changes at a target, of a sender by an interface.
    pub(super) fn at(
        &self,
        targets: usize,
        (sender, leaving): (usize, usize),
        target: usize,
    ) -> Option<&[Products; 2]> {
        self.cells.get((sender * self.leaving.len() + leaving) * targets + target)
    }

    /// Whether a line about others tells what changes there, so that it needs none of its own.
    pub(super) fn is_told(&self, targets: usize, (sender, leaving): (usize, usize), target: usize) -> bool {
        let at = |way| self.at(targets, way, target);
        let (here, usual) = (at((sender, leaving)), at((0, 0)));
        match (sender, leaving) {
            (0, 0) => here.is_none_or(|here| here.iter().all(Vec::is_empty)),
            (0, _) | (_, 0) => here == usual,
            // The lines that are nearest: of its sender, and of its interface.
            _ => {
                let near = [at((sender, 0)), at((0, leaving))].into_iter().filter(|near| *near != usual);
                let near: Vec<_> = near.collect();
                if near.is_empty() { here == usual } else { near.into_iter().all(|near| here == near) }
            }
        }
    }
}

fn blocks(asked: &Asked<'_>, tables: &[&Table]) -> Vec<Block> {
    let senders = interfaces(&asked.incoming, tables, []);
    let leaving = interfaces(&asked.outgoing, tables, []);
    let named: BTreeSet<u32> = tables.iter().flat_map(|table| users(table)).collect();
    let user = |label, user| Side { label: Some(label), what: Opener::User(user) };
    let of_host: Vec<Side<Opener>> = another(&named)
        .map(|other| user("host".to_owned(), other))
        .into_iter()
        .chain(named.iter().map(|number| user(format!("user {number}"), *number)))
        .collect();
    let of_containers = sides(&senders, true, Opener::behind);
    let of_others = sides(&senders, false, Opener::behind);
    let out = |containers| sides(&leaving, containers, |class| class.example.clone());
    let mut blocks = Vec::new();
    for (direction, senders) in
        [(Direction::Out, of_host), (Direction::Out, of_containers), (Direction::Through, of_others)]
    {
        blocks.extend([false, true].map(|containers| Block::new(direction, senders.clone(), out(containers))));
    }
    blocks
}

/// The classes of interfaces that containers are behind, or are not. Of those of containers, the one with the most names
/// comes first.
fn sides<T>(classes: &[InterfaceClass], containers: bool, what: impl Fn(&InterfaceClass) -> T) -> Vec<Side<T>> {
    let mut classes: Vec<&InterfaceClass> = classes.iter().filter(|class| class.containers == containers).collect();
    if containers {
        classes.sort_by_key(|class| std::cmp::Reverse(class.names.len()));
    }
    let side = |(index, class): (usize, &InterfaceClass)| {
        let names = Some(class.names.join(", ")).filter(|names| !names.is_empty());
        let label = if containers && index == 0 { Some("containers".to_owned()) } else { names };
        Side { label, what: what(class) }
    };
    classes.into_iter().enumerate().map(side).collect()
}

/// The changes of one way and one target, over one version.
fn products(explorer: &mut Explorer<'_>, place: usize, opener: &Opener, to: impl Fn(IpAddr) -> Packet) -> Products {
    let classes = explorer.classes(place, Region::ALL, to);
    let (version, regions) = (explorer.version, &mut explorer.regions);
    let mut changes: Products = Vec::new();
    for class in &classes {
        let [before, after] = class.outcomes.as_slice() else { continue };
        changes.push((class.destinations, compared(regions, before, after)));
    }
    let sources = match opener {
        Opener::By { containers: false, .. } => {
            let mut by_sources = together(regions, changes);
            by_sources
                .iter_mut()
                .for_each(|(destinations, _)| *destinations = filled(regions, version, *destinations));
            return by_sources;
        }
        Opener::By { containers: true, .. } => regions.of(of_containers(version).to_vec()),
        Opener::User(_) => own_sources(regions, version),
    };
    let mut by_destinations = turned(regions, &changes, sources);
    for region in
        by_destinations.iter_mut().flat_map(|(_, cell)| [&mut cell.gains, &mut cell.loses, &mut cell.unknown])
    {
        *region = filled(regions, version, *region);
    }
    let mut by_destinations = together(regions, by_destinations);
    // Sources that nobody has are told with the others where that is shorter.
    let nobody = regions.minus(Region::ALL, sources);
    for (key, _) in &mut by_destinations {
        let wide = regions.or(*key, nobody);
        if regions.intervals(wide).len() <= regions.intervals(*key).len() {
            *key = wide;
        }
    }
    by_destinations
}

/// The same pairs, with the sources of `all` in the place of the destinations.
fn turned(regions: &mut Regions, changes: &Products, all: Region) -> Products {
    let told: BTreeSet<Region> =
        changes.iter().flat_map(|(_, cell)| [cell.gains, cell.loses, cell.unknown]).collect();
    let mut atoms = vec![all];
    for region in told {
        let halves = |atom: Region| [regions.and(atom, region), regions.minus(atom, region)];
        atoms = atoms.into_iter().flat_map(halves).filter(|atom| *atom != Region::NONE).collect();
    }
    let mut turned = Vec::new();
    for atom in atoms {
        let mut cell = Cell::default();
        for (destinations, of) in changes {
            let sums = [(&mut cell.gains, of.gains), (&mut cell.loses, of.loses), (&mut cell.unknown, of.unknown)];
            for (sum, sources) in sums {
                if regions.minus(atom, sources) == Region::NONE {
                    *sum = regions.or(*sum, *destinations);
                }
            }
        }
        turned.push((atom, cell));
    }
    turned
}

/// One product for each cell, without those in which nothing changes.
fn together(regions: &mut Regions, products: Products) -> Products {
    let mut by_cell: BTreeMap<Cell, Region> = BTreeMap::new();
    for (key, cell) in products {
        if cell != Cell::default() {
            let known = by_cell.entry(cell).or_default();
            *known = regions.or(*known, key);
        }
    }
    let mut products: Products = by_cell.into_iter().map(|(cell, key)| (key, cell)).collect();
    products.sort_by_key(|(key, cell)| (regions.intervals(*key).first().copied(), *cell));
    products
}

/// Changes that one line tells: for these keys, of one version or both.
struct Part {
    keys: [Region; 2],
    cells: [Cell; 2],
    of: [bool; 2],
}

/// The changes of both versions in as few parts as tell them exactly.
fn parts([v4, v6]: &[Products; 2]) -> Vec<Part> {
    let mut rest = v6.clone();
    let mut parts = Vec::new();
    for (key, cell) in v4 {
        let is_alike = |(other, of): &(Region, Cell)| {
            [*key, *other] == [Region::ALL; 2]
                || cell == of && [cell.gains, cell.loses, cell.unknown].iter().all(is_plain)
        };
        let (other, of, both) = match rest.iter().position(is_alike) {
            Some(at) => {
                let (other, of) = rest.remove(at);
                (other, of, true)
            }
            None => (Region::NONE, Cell::default(), false),
        };
        parts.push(Part { keys: [*key, other], cells: [*cell, of], of: [true, both] });
    }
    let alone = |(key, cell)| Part { keys: [Region::NONE, key], cells: [Cell::default(), cell], of: [false, true] };
    parts.extend(rest.into_iter().map(alone));
    if parts.is_empty() {
        parts.push(Part { keys: [Region::ALL; 2], cells: [Cell::default(); 2], of: [true; 2] });
    }
    parts
}

/// Whether a region is nobody or everyone, and so means the same over both versions.
fn is_plain(region: &Region) -> bool {
    [Region::NONE, Region::ALL].contains(region)
}

impl Elsewhere {
    pub(super) fn changes(&self) -> Vec<AccessChange> {
        let mut changes = Vec::new();
        for block in &self.blocks {
            for sender in 0..block.senders.len() {
                for leaving in 0..block.leaving.len() {
                    changes.extend(self.changes_of(block, (sender, leaving)));
                }
            }
        }
        changes
    }

    /// The changes of one way: runs of ports in which the same changes, or all targets together.
    fn changes_of(&self, block: &Block, way: (usize, usize)) -> Vec<AccessChange> {
        let count = self.targets.len();
        let mut runs: Vec<(Target, &[Products; 2])> = Vec::new();
        let mut told = 0;
        for (index, (target, _)) in self.targets.iter().enumerate() {
            let Some(cells) = block.at(count, way, index).filter(|_| !block.is_told(count, way, index)) else {
                continue;
            };
            told += 1;
            match runs.last_mut() {
                Some((run, before)) if *before == cells && joined(*run, *target).is_some() => {
                    *run = joined(*run, *target).unwrap_or(*run);
                }
                _ => runs.push((*target, cells)),
            }
        }
        let mut runs: Vec<(Option<Target>, &[Products; 2])> =
            runs.into_iter().map(|(target, cells)| (Some(target), cells)).collect();
        if let [(_, first), rest @ ..] = runs.as_slice()
            && told == count
            && rest.iter().all(|(_, other)| other == first)
        {
            runs = vec![(None, first)];
        }
        let change =
            |(target, cells)| parts(cells).into_iter().map(move |part| self.change(block, way, target, &part));
        runs.into_iter().flat_map(change).collect()
    }

    fn change(&self, block: &Block, way: (usize, usize), target: Option<Target>, part: &Part) -> AccessChange {
        let is_out = block.direction == Direction::Out;
        let from = block.senders.get(way.0).and_then(|side| side.label.clone());
        let to = block.leaving.get(way.1).and_then(|side| side.label.clone());
        let named = part.keys.iter().zip(part.of).any(|(key, counts)| counts && *key != Region::ALL);
        // Where the keys name a version, it needs no name among those who gain.
        let of = if named { part.of } else { [true; 2] };
        let keys = if named { words::in_full(&self.regions, part.keys, part.of) } else { Vec::new() };
        let shown = named.then(|| words::shortest(&self.regions, part.keys, part.of, SHOWN_RANGES));
        let mut said = Vec::new();
        let of_part = |region: fn(&Cell) -> Region| part.cells.each_ref().map(region);
        let all = [of_part(|cell| cell.gains), of_part(|cell| cell.loses), of_part(|cell| cell.unknown)];
        for (them, does) in all.into_iter().zip(["gains", "loses", "can't be told"]) {
            if them != [Region::NONE; 2] {
                said.push(format!("{} {does}", words::shortest(&self.regions, them, of, SHOWN_RANGES)));
            }
        }
        if said.is_empty() {
            said.push(if is_out { "nothing changes" } else { "nobody gains or loses" }.to_owned());
        }
        let (port, proto) = target.map_or((None, "any".to_owned()), name);
        let what = target.map_or("any".to_owned(), |target| target.to_string());
        let (whose, where_to) = if is_out { (shown, None) } else { (None, shown) };
        let (way, from_words, to_words) = (
            if is_out { "out" } else { "through" },
            place("from", whose, from.as_deref()),
            place("to", where_to, to.as_deref()),
        );
        let text = format!("{way} {what}{from_words}{to_words}: {}", said.join(", "));
        let in_full = |them: [Region; 2]| {
            if them == [Region::NONE; 2] { Vec::new() } else { words::in_full(&self.regions, them, of) }
        };
        let [gains, loses, unknown] = all.map(in_full);
        let (sources, destinations) = if is_out { (keys, Vec::new()) } else { (Vec::new(), keys) };
        let direction = Some(block.direction);
        let change =
            AccessChange { direction, from, to, sources, destinations, port, proto, ..AccessChange::default() };
        AccessChange { gains, loses, unknown, text, ..change }
    }
}

/// ` from wg0`, ` to 10.0.0.5`, ` to 10.0.0.5 by eth1`; empty for addresses and interfaces that nothing names.
fn place(word: &str, addresses: Option<String>, interfaces: Option<&str>) -> String {
    match (addresses, interfaces) {
        (Some(addresses), Some(interfaces)) => format!(" {word} {addresses} by {interfaces}"),
        (Some(only), None) => format!(" {word} {only}"),
        (None, Some(only)) => format!(" {word} {only}"),
        (None, None) => String::new(),
    }
}
