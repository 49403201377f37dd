//! What live rules say of each door: who gets in, by interface and IP version.

use crate::exposure::{At, Decided, Door, Grants, How, Space, Spans};
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
    /// The rules that let somebody in, for each way.
    pub(super) by: Vec<BTreeSet<Decided>>,
    /// Whether somebody is told that they are refused.
    pub(super) rejects: bool,
    /// The rules that deny somebody, for each way.
    pub(super) denied_by: Vec<BTreeSet<Decided>>,
    /// Where its destination is translated to.
    pub(super) translated: BTreeSet<Translation>,
    /// Why it can't be told of some: of whom over which version, and the rules in question.
    pub(super) unknown: BTreeMap<Doubt, ([Spans; 2], BTreeSet<Decided>)>,
}

impl Row {
    pub(super) fn nothing(ways: usize) -> Self {
        Self(vec![Default::default(); ways])
    }

    pub(super) fn everything(ways: usize) -> Self {
        Self(vec![Version::ALL.map(Spans::all); ways])
    }

    /// The row with what makes its ways alike: of each, those of the first who may be in it, too.
    pub(super) fn relaxed<'r>(&self, may_be: impl Fn(usize) -> Option<&'r [Spans; 2]>) -> Self {
        let base = self.0.first().cloned().unwrap_or_default();
        let way = |(way, both): (usize, &[Spans; 2])| {
            let Some(may_be) = may_be(way) else { return both.clone() };
            Version::ALL.map(|version| {
                let at = version as usize;
                both[at].or(&base[at].and(&may_be[at])).joined()
            })
        };
        Self(self.0.iter().enumerate().map(way).collect())
    }

    fn each(&self, other: &Self, op: impl Fn(&Spans, &Spans) -> Spans) -> Self {
        let pair = |(one, other): (&[Spans; 2], &[Spans; 2])| [op(&one[0], &other[0]), op(&one[1], &other[1])];
        Self(self.0.iter().zip(&other.0).map(pair).collect())
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.each(other, |one, other| one.minus(other).joined())
    }

    fn and(&self, other: &Self) -> Self {
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

/// What rules say of each door.
pub(super) fn rows(space: &Space, grants: &Grants) -> Vec<DoorRows> {
    space.doors.iter().enumerate().map(|(at, door)| of_door(space, grants, at, *door)).collect()
}

fn of_door(space: &Space, grants: &Grants, at: usize, door: Door) -> DoorRows {
    let ways = space.ways.len();
    let mut rows = DoorRows {
        door,
        common: Row::nothing(ways),
        special: Vec::new(),
        by: vec![BTreeSet::new(); ways],
        rejects: false,
        denied_by: vec![BTreeSet::new(); ways],
        translated: BTreeSet::new(),
        unknown: BTreeMap::new(),
    };
    for version in Version::ALL {
        let mut of_own: Vec<(Vec<IpAddr>, Row)> = Vec::new();
        for (own, of) in space.own(version).iter().enumerate() {
            let mut row = Row::nothing(ways);
            for way in 0..ways {
                let Some(grant) = grants.at(At { door: at, way, version, own }) else { continue };
                if let Some(both) = row.0.get_mut(way) {
                    both[version as usize] = grant.sources.clone();
                }
                rows.translated.extend(&grant.translated);
                for (of_way, how) in [(&mut rows.by, How::LetsIn), (&mut rows.denied_by, How::Denies)] {
                    let decided = grant.decided.iter().filter(|one| one.how == how).cloned();
                    of_way.get_mut(way).into_iter().for_each(|all| all.extend(decided.clone()));
                }
                rows.rejects |= grant.rejects;
                for (spans, why) in &grant.unknown {
                    let (both, rules) = rows.unknown.entry(why.clone()).or_default();
                    both[version as usize] = both[version as usize].or(spans).joined();
                    rules.extend(grant.decided.iter().filter(|one| one.how == How::Unknown).cloned());
                }
            }
            of_own.push((of.addresses.clone(), row));
        }
        let shared = of_own.iter().map(|(_, row)| row.clone()).reduce(|one, other| one.and(&other));
        let shared = shared.unwrap_or_else(|| Row::nothing(ways));
        for (addresses, row) in of_own {
            let more = row.minus(&shared);
            if !more.is_nothing() && !addresses.is_empty() {
                rows.special.push((addresses, more));
            }
        }
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
