//! What live rules say of each door: who gets in, by interface and IP version.

use crate::exposure::{At, Decided, Door, Grant, Grants, How, Own, Space, Spans};
use crate::migrate::cut::Slot;
use crate::net::{Version, protocol};
use crate::simulate::{Doubt, Translation};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who gets in by each way, over IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row(pub(super) Vec<[Spans; 2]>);

/// All that is known of a door.
#[derive(Clone, Debug)]
pub(super) struct DoorRows {
    pub(super) door: Door,
    /// Who gets in whatever address of this machine they ask for.
    pub(super) common: Row,
    /// Who else does at some addresses.
    pub(super) special: Vec<(Vec<IpAddr>, Row)>,
    /// Who gets in at each address of this machine, over one IP version.
    pub(super) each: Vec<AtOwn>,
    /// The rules that let somebody in, for each way.
    pub(super) by: Vec<BTreeSet<Decided>>,
    /// Whether somebody is told that they are refused.
    pub(super) rejects: bool,
    /// The rules that deny somebody, for each way.
    pub(super) denied_by: Vec<BTreeSet<Decided>>,
    /// Where its destination is translated to.
    pub(super) translated: BTreeSet<Translation>,
    /// By which ways it is.
    pub(super) translated_by_way: BTreeSet<usize>,
    /// The rules that translate it.
    pub(super) translated_by: BTreeSet<Decided>,
    /// Why it can't be told of some: of whom over which version, and the rules in question.
    pub(super) unknown: BTreeMap<Doubt, ([Spans; 2], BTreeSet<Decided>)>,
}

impl DoorRows {
    /// Whether the same get in at each address of this machine.
    pub(super) fn is_alike(&self) -> bool {
        self.is_alike_but(&[])
    }

    /// The same, but for those who are shut out of some of them.
    pub(super) fn is_alike_but(&self, shut: &[AtOwn]) -> bool {
        self.each.iter().all(|here| {
            let nobody = Row::nothing(self.common.0.len());
            let shut = shut.iter().find(|shut| shut.own == here.own).map_or(&nobody, |shut| &shut.row);
            let expected = self.common.minus(shut);
            let ways = expected.0.iter().zip(&here.row.0);
            ways.into_iter().all(|(common, row)| common[here.version as usize] == row[here.version as usize])
        })
    }

    /// The door for the ways by which it is translated, or for the others.
    pub(super) fn of_ways(&self, translated: bool) -> Self {
        let mut part = self.clone();
        let each = part.each.iter_mut().map(|here| &mut here.row);
        let special = part.special.iter_mut().map(|(_, row)| row);
        for row in each.chain(special).chain([&mut part.common]) {
            for (_, both) in
                row.0.iter_mut().enumerate().filter(|(way, _)| self.translated_by_way.contains(way) != translated)
            {
                *both = Default::default();
            }
        }
        part.special.retain(|(_, row)| !row.is_nothing());
        if !translated {
            part.translated.clear();
        }
        part
    }

    fn take(&mut self, grant: &Grant, (way, version): (usize, Version)) {
        self.translated.extend(&grant.translated);
        if !grant.translated.is_empty() {
            self.translated_by_way.insert(way);
        }
        self.rejects |= grant.rejects;
        self.translated_by.extend(grant.decided.iter().filter(|one| one.how == How::Translates).cloned());
        for (of_way, how) in [(&mut self.by, How::LetsIn), (&mut self.denied_by, How::Denies)] {
            let decided = grant.decided.iter().filter(|one| one.how == how).cloned();
            of_way.get_mut(way).into_iter().for_each(|all| all.extend(decided.clone()));
        }
        for (spans, why) in &grant.unknown {
            let (both, rules) = self.unknown.entry(why.clone()).or_default();
            both[version as usize] = both[version as usize].or(spans).joined();
            rules.extend(grant.decided.iter().filter(|one| one.how == How::Unknown).cloned());
        }
    }
}

/// Who gets in at addresses of this machine that rules do not tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtOwn {
    pub(super) version: Version,
    pub(super) own: Own,
    pub(super) row: Row,
}

impl Row {
    pub(super) fn nothing(ways: usize) -> Self {
        Self(vec![Default::default(); ways])
    }

    pub(super) fn everything(ways: usize) -> Self {
        Self(vec![Version::ALL.map(Spans::all); ways])
    }

    /// The row with more of those who may be in it, where that is less to say: everyone, or the same by all ways.
    pub(super) fn relaxed(&self, may_be: &Self) -> Self {
        let (Some(base), Some(at_most)) = (self.0.first(), may_be.0.first()) else { return self.clone() };
        let whole = may_be.is_everything(|_| true);
        let way = |(both, may_be): (&[Spans; 2], &[Spans; 2])| {
            Version::ALL.map(|version| {
                let at = version as usize;
                let is_less = whole || !both[at].is_empty();
                if is_less && at_most[at].is_all(version) && may_be[at].is_all(version) {
                    return Spans::all(version);
                }
                both[at].or(&base[at].and(&may_be[at])).joined()
            })
        };
        Self(self.0.iter().zip(&may_be.0).map(way).collect())
    }

    fn each(&self, other: &Self, op: impl Fn(&Spans, &Spans) -> Spans) -> Self {
        let pair = |(one, other): (&[Spans; 2], &[Spans; 2])| [op(&one[0], &other[0]), op(&one[1], &other[1])];
        Self(self.0.iter().zip(&other.0).map(pair).collect())
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.each(other, |one, other| one.minus(other).joined())
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        self.each(other, |one, other| one.or(other).joined())
    }

    /// Everyone who is not in it, of one version.
    pub(super) fn others(&self, of: Version) -> Self {
        let mut others = Self::everything(self.0.len()).minus(self);
        for both in &mut others.0 {
            both.iter_mut()
                .zip(Version::ALL)
                .filter(|(_, version)| *version != of)
                .for_each(|(all, _)| *all = Spans::default());
        }
        others
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        self.each(other, |one, other| one.and(other).joined())
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.0.iter().flatten().all(Spans::is_empty)
    }

    /// Whether everyone gets in by each of these ways.
    pub(super) fn is_everything(&self, ways: impl Fn(usize) -> bool) -> bool {
        let all = |both: &[Spans; 2]| is_all(both);
        self.0.iter().enumerate().filter(|(way, _)| ways(*way)).all(|(_, both)| all(both))
    }
}

/// Whether these are all sources of both versions.
pub(super) fn is_all([four, six]: &[Spans; 2]) -> bool {
    four.is_all(Version::V4) && six.is_all(Version::V6)
}

/// What rules say of each door, and whom they shut out of some addresses of this machine.
pub(super) fn rows(space: &Space, grants: &Grants) -> (Vec<DoorRows>, Vec<AtOwn>) {
    let doors: Vec<DoorRows> =
        space.doors.iter().enumerate().map(|(at, door)| asked(space, grants, (at, *door))).collect();
    let shut = shut(&doors);
    (doors.into_iter().map(|of| together(of, &shut)).collect(), shut)
}

/// The addresses of this machine that rules name, each with those of whom all doors but its own let in. Empty where one of its
/// doors lets in somebody of them.
fn shut(doors: &[DoorRows]) -> Vec<AtOwn> {
    let Some(rest) = doors.last() else { return Vec::new() };
    let mut all = Vec::new();
    for (number, here) in rest.each.iter().enumerate().filter(|(_, here)| !here.own.unnamed) {
        let usual = rest.each.iter().find(|other| other.own.unnamed && other.version == here.version);
        let lacks = usual.map(|usual| usual.row.minus(&here.row)).filter(|lacks| !lacks.is_nothing());
        let Some(lacks) = lacks else { continue };
        let mut rows = doors.iter().filter_map(|of| of.each.get(number));
        if rows.all(|of_door| of_door.row.and(&lacks).is_nothing()) {
            all.push(AtOwn { row: lacks, ..here.clone() });
        }
    }
    all
}

/// What was said of a door at each address.
fn asked(space: &Space, grants: &Grants, (at, door): (usize, Door)) -> DoorRows {
    let ways = space.ways.len();
    let mut rows = DoorRows {
        door,
        common: Row::nothing(ways),
        special: Vec::new(),
        each: Vec::new(),
        by: vec![BTreeSet::new(); ways],
        rejects: false,
        denied_by: vec![BTreeSet::new(); ways],
        translated: BTreeSet::new(),
        translated_by_way: BTreeSet::new(),
        translated_by: BTreeSet::new(),
        unknown: BTreeMap::new(),
    };
    for version in Version::ALL {
        for (own, of) in space.own(version).iter().enumerate() {
            let mut row = Row::nothing(ways);
            for way in 0..ways {
                let Some(grant) = grants.at(At { door: at, way, version, own }) else { continue };
                if let Some(both) = row.0.get_mut(way) {
                    both[version as usize] = grant.sources.clone();
                }
                rows.take(grant, (way, version));
            }
            rows.each.push(AtOwn { version, own: of.clone(), row });
        }
    }
    rows
}

/// The door with what is so at each address, and what at some.
fn together(mut rows: DoorRows, shut: &[AtOwn]) -> DoorRows {
    for version in Version::ALL {
        let here = || rows.each.iter().filter(|here| here.version == version);
        // Of protocols that no rule names a policy can't deny some: it lets in whoever gets in at each address.
        let is_shut = |here: &AtOwn| shut.iter().any(|shut| shut.own == here.own);
        let counts = |here: &&AtOwn| here.own.unnamed || rows.door.others && !is_shut(here);
        let shared = here().filter(counts).map(|here| here.row.clone()).reduce(|one, other| one.and(&other));
        let shared = shared.unwrap_or_else(|| Row::nothing(rows.common.0.len()));
        let special = here().filter_map(|here| {
            let more = here.row.minus(&shared);
            (!more.is_nothing() && !here.own.addresses.is_empty()).then(|| (here.own.addresses.clone(), more))
        });
        let special: Vec<_> = special.collect();
        rows.special.extend(special);
        for (both, of_version) in rows.common.0.iter_mut().zip(shared.0) {
            both[version as usize] = of_version[version as usize].clone();
        }
    }
    rows
}

/// A door as the parts of a policy have it.
pub(super) const fn slot(door: Door) -> Slot {
    match door.protocol {
        protocol::TCP => Slot::Tcp(door.first, door.last),
        protocol::UDP => Slot::Udp(door.first, door.last),
        protocol::SCTP => Slot::Sctp(door.first, door.last),
        protocol::ICMP => Slot::Ping,
        _ if door.others => Slot::Rest,
        number => Slot::Other(number),
    }
}

/// Whether it is of ports at which palisade's own rules let answers of DHCP in.
pub(super) fn is_of_dhcp(door: Door) -> bool {
    door.protocol == protocol::UDP && [68, 546].iter().any(|port| (door.first..=door.last).contains(port))
}
