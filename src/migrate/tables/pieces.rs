//! Who gets in by which interface, as the senders of services.

use super::rows::{Row, is_all};
use crate::exposure::{Space, Spans, Way};
use crate::migrate::service::{Service, written};
use crate::migrate::spans::InWords;
use crate::net::Version;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Senders that one service can name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    from: [Spans; 2],
    /// Interfaces for which it does not hold.
    except: Vec<String>,
    /// The only interfaces for which it does.
    on: Vec<String>,
    /// Interfaces of containers that get in beside the addresses.
    containers: Vec<String>,
    /// The addresses of this machine that it holds for.
    to: Vec<IpAddr>,
    /// The ways that it is about, by index.
    pub(super) ways: BTreeSet<usize>,
}

/// The pieces that a row falls into.
pub(super) fn pieces(row: &Row, space: &Space, to: &[IpAddr]) -> Vec<Piece> {
    let Some((base, _)) = row.0.split_first() else { return Vec::new() };
    let of = |containers: bool| {
        let ways = space.ways.iter().zip(&row.0).enumerate().skip(1);
        ways.filter(move |(_, (way, _))| way.containers == containers)
    };
    let mut first = Piece { from: base.clone(), to: to.to_vec(), ways: BTreeSet::from([0]), ..Piece::default() };
    let mut pieces: Vec<Piece> = Vec::new();
    let lacks = |both: &[Spans; 2]| !(both[0].covers(&base[0]) && both[1].covers(&base[1]));
    // An exception for all interfaces whose names begin alike is one for each of them.
    let excepted = |one: &Way| of(false).any(|(_, (way, both))| lacks(both) && covers(way, one));
    for (at, (way, both)) in of(false) {
        let lacks = lacks(both) || excepted(way);
        let more = [both[0].minus(&base[0]).joined(), both[1].minus(&base[1]).joined()];
        let from = match () {
            () if lacks => {
                first.except.extend(names(way));
                both.clone()
            }
            () if is_all(both) && !is_all(base) => both.clone(),
            () => more,
        };
        if from.iter().all(Spans::is_empty) {
            if !lacks {
                first.ways.insert(at);
            }
            continue;
        }
        match pieces.iter_mut().find(|piece| piece.from == from) {
            Some(piece) => {
                piece.on.extend(names(way));
                piece.ways.insert(at);
            }
            None => {
                let ways = BTreeSet::from([at]);
                pieces.push(Piece { from, on: names(way), to: to.to_vec(), ways, ..Piece::default() });
            }
        }
    }
    for piece in &mut pieces {
        let on: Vec<&Way> = piece.ways.iter().filter_map(|at| space.ways.get(*at)).collect();
        let others = space.ways.iter().enumerate().skip(1).filter(|(at, _)| !piece.ways.contains(at));
        let others: Vec<&Way> =
            others.map(|(_, way)| way).filter(|one| on.iter().any(|way| covers(way, one))).collect();
        piece.except.extend(others.into_iter().flat_map(names));
    }
    let is_any = first.is_any();
    for (at, (way, both)) in of(true) {
        match (is_any, gets_in(way, both)) {
            (true, false) => first.except.extend(names(way)),
            (false, true) => {
                first.containers.extend(names(way));
                first.ways.insert(at);
            }
            (true, true) | (false, false) => {}
        }
    }
    if !(first.from.iter().all(Spans::is_empty) && first.containers.is_empty()) {
        pieces.insert(0, first);
    }
    pieces
}

/// Whether the names of a way are those of another, too.
fn covers(way: &Way, other: &Way) -> bool {
    way != other
        && way.names.iter().any(|name| name.wildcard && other.names.iter().any(|one| name.covers_all_of(one)))
}

/// Whether all containers behind an interface get in.
pub(super) fn gets_in(way: &Way, both: &[Spans; 2]) -> bool {
    let networks = Version::ALL.map(|version| way.networks(version));
    let is_known = networks.iter().any(|spans| !spans.is_empty());
    if is_known { networks.iter().zip(both).all(|(network, spans)| spans.covers(network)) } else { is_all(both) }
}

/// Whether some of the containers behind an interface get in, and others do not.
pub(super) fn is_split(way: &Way, both: &[Spans; 2]) -> bool {
    let networks = Version::ALL.map(|version| way.networks(version));
    way.containers && !gets_in(way, both) && networks.iter().zip(both).any(|(network, spans)| spans.meets(network))
}

fn names(way: &Way) -> Vec<String> {
    way.names.iter().map(written).collect()
}

impl Piece {
    /// Whether it is everyone, containers included.
    fn is_any(&self) -> bool {
        let all = Version::ALL.map(|version| most(&self.from[version as usize], version).0);
        // An address says the version, and leaves no container out.
        let of_version = |version: Version| self.to.iter().all(|to| Version::of(*to) == version);
        all == [true, true]
            || !self.to.is_empty()
                && Version::ALL.into_iter().any(|version| of_version(version) && all[version as usize])
    }

    /// The senders, as a service has them.
    pub(super) fn put(&self, service: &mut Service) {
        let interface = |name: &String| format!("{{ interface: {name} }}");
        service.from.extend(self.containers.iter().map(interface));
        for version in Version::ALL {
            let spans = &self.from[version as usize];
            let (is_most, except) = most(spans, version);
            service.except.extend(except.words(version));
            if is_most && !self.is_any() {
                service.from.extend(Spans::all(version).words(version));
            } else if !is_most {
                service.from.extend(spans.words(version));
            }
        }
        if self.is_any() {
            service.from.insert(0, "any".to_owned());
        }
        service.except.extend(self.except.iter().map(interface));
        service.on.extend(self.on.iter().cloned());
        for to in &self.to {
            service.to.push(if to.is_ipv6() { format!("\"{to}\"") } else { to.to_string() });
        }
    }

    /// The versions of which all are meant, where those of the other one are not.
    pub(super) fn one_version(&self) -> Option<Version> {
        let all = Version::ALL.map(|version| most(&self.from[version as usize], version).0);
        (!self.is_any() && self.on.is_empty())
            .then(|| Version::ALL.into_iter().find(|version| all[*version as usize]))?
    }
}

/// Whether these are all addresses of a version but some, and which.
pub(super) fn most(spans: &Spans, version: Version) -> (bool, Spans) {
    let is_most = spans.contains(0) && spans.contains(version.last_address());
    if is_most { (true, Spans::all(version).minus(spans).joined()) } else { (false, Spans::default()) }
}
