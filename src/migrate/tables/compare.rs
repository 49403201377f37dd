//! Who gains and who loses, once the policy is in the place of the tables.

use super::rows::{DoorRows, is_of_dhcp, slot};
use super::sentences::{Plan, bypasses};
use crate::exposure::{At, Door, Grants, Machine, Space, Spans, somewhere};
use crate::migrate::cut::Slot;
use crate::migrate::report::Report;
use crate::migrate::service::{ports, written};
use crate::migrate::spans::InWords;
use crate::net::Version;
use std::collections::BTreeMap;

/// How many ranges of sources a line names.
const MOST_RANGES: usize = 8;
/// What palisade lets in, whatever a policy says.
const DHCP: &str =
    "answers of DHCP are let in, as palisade always does: who else sends to 68/udp or to 546/udp gains that";
const ESSENTIAL: &str =
    "containers may always ask this machine for names and addresses (53/tcp, 53/udp, 67/udp, 547/udp)";

/// Those of one version who gain, and those who lose.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    gains: [Spans; 2],
    loses: [Spans; 2],
}

/// Notes each change of access. What is closed on purpose was said.
pub(super) fn compare(
    machine: &Machine<'_>,
    (space, plan, rows): (&Space, &Plan, &[DoorRows]),
    before: &Grants,
    after: &Grants,
    report: &mut Report,
) {
    let somewhere = Version::ALL.map(|version| somewhere(version, machine));
    let mut by_change: BTreeMap<(Option<usize>, Change), Vec<Slot>> = BTreeMap::new();
    let (mut of_dhcp, mut of_containers) = (false, false);
    let is_said = |number: usize| rows.get(number).is_some_and(|of| !plan.is_open() && bypasses(space, of));
    for (number, door) in space.doors.iter().enumerate().filter(|(number, _)| !is_said(*number)) {
        let changes: Vec<Change> =
            (0..space.ways.len()).map(|way| changed(space, (before, after), (number, way), &somewhere)).collect();
        let is_same =
            changes.iter().zip(&space.ways).all(|(change, way)| way.containers || Some(change) == changes.first());
        for (way, change) in changes.iter().enumerate() {
            let of_way = space.ways.get(way);
            let is_of_containers = of_way.is_some_and(|way| way.containers);
            if *change == Change::default() || is_same && way > 0 && !is_of_containers {
                continue;
            }
            let only_gains = change.loses.iter().all(Spans::is_empty);
            if only_gains && is_of_dhcp(*door) && !plan.is_open() {
                of_dhcp = true;
            } else if only_gains && is_of_containers && is_essential(*door) {
                of_containers = true;
            } else {
                let by = Some(way).filter(|_| !is_same || is_of_containers);
                by_change.entry((by, change.clone())).or_default().push(slot(*door));
            }
        }
    }
    let all: Vec<Slot> = space.doors.iter().map(|door| slot(*door)).collect();
    for ((way, change), slots) in by_change {
        report.note(None, line(space, ("", way), &change, &slots, &all));
    }
    if of_dhcp {
        report.remark(DHCP);
    }
    if of_containers {
        report.remark(ESSENTIAL);
    }
}

/// The same of what this machine opens to elsewhere.
pub(super) fn compare_sent(
    machine: &Machine<'_>,
    space: &Space,
    before: &Grants,
    after: &Grants,
    report: &mut Report,
) {
    let somewhere = Version::ALL.map(|version| somewhere(version, machine));
    let mut by_change: BTreeMap<(usize, Change), Vec<Slot>> = BTreeMap::new();
    for (number, door) in space.doors.iter().enumerate() {
        for (way, _) in space.ways.iter().enumerate().filter(|(_, way)| !way.containers) {
            let change = changed(space, (before, after), (number, way), &somewhere);
            let is_dhcp = [Slot::Udp(67, 67), Slot::Udp(547, 547)].contains(&slot(*door));
            if change != Change::default() && !(is_dhcp && change.loses.iter().all(Spans::is_empty)) {
                by_change.entry((way, change)).or_default().push(slot(*door));
            }
        }
    }
    let all: Vec<Slot> = space.doors.iter().map(|door| slot(*door)).collect();
    for ((way, change), slots) in by_change {
        report.note(None, line(space, ("out ", Some(way)), &change, &slots, &all));
    }
}

fn is_essential(door: Door) -> bool {
    [Slot::Tcp(53, 53), Slot::Udp(53, 53), Slot::Udp(67, 67), Slot::Udp(547, 547)].contains(&slot(door))
}

/// What changes at a door for those who come by a way, at any address of this machine.
fn changed(
    space: &Space,
    (before, after): (&Grants, &Grants),
    (door, way): (usize, usize),
    somewhere: &[Spans; 2],
) -> Change {
    let mut change = Change::default();
    for version in Version::ALL {
        let at = version as usize;
        let mut who = somewhere[at].clone();
        if let Some(way) = space.ways.get(way).filter(|way| way.containers) {
            who = who.and(&way.networks(version));
        }
        for own in 0..space.own(version).len() {
            let at_own = At { door, way, version, own };
            let (Some(before), Some(after)) = (before.at(at_own), after.at(at_own)) else { continue };
            // What can't be told before and after is no change.
            let known = before.unknown.iter().fold(before.sources.clone(), |all, (spans, _)| all.or(spans));
            let unknown = after.unknown.iter().fold(Spans::default(), |all, (spans, _)| all.or(spans));
            let gains = after.sources.minus(&before.sources).or(&unknown.minus(&known)).and(&who);
            let loses = before.sources.minus(&after.sources).and(&who);
            change.gains[at] = change.gains[at].or(&gains).joined();
            change.loses[at] = change.loses[at].or(&loses).joined();
        }
    }
    // Whoever can be there is everyone.
    for (spans, version) in change.gains.iter_mut().chain(&mut change.loses).zip(Version::ALL.into_iter().cycle()) {
        if spans.covers(&somewhere[version as usize]) {
            *spans = Spans::all(version);
        }
    }
    change
}

fn line(space: &Space, (out, way): (&str, Option<usize>), change: &Change, slots: &[Slot], all: &[Slot]) -> String {
    let by = match way.and_then(|way| space.ways.get(way)) {
        None => String::new(),
        Some(way) if way.names.is_empty() => " by other interfaces".to_owned(),
        Some(way) => format!(" by {}", way.names.iter().map(written).collect::<Vec<_>>().join(", ")),
    };
    let (mut words, others) = ports(slots, all);
    if others {
        words.push("other protocols".to_owned());
    }
    let parts = [("gains", &change.gains), ("loses", &change.loses)];
    let parts = parts.into_iter().filter(|(_, both)| !both.iter().all(Spans::is_empty));
    let parts: Vec<String> = parts.map(|(does, both)| format!("{} {does}", who(both))).collect();
    format!("access: {out}{}{by}: {}", words.join(", "), parts.join(", "))
}

/// `any`, `198.51.100.0/24`, the first of many ranges.
pub(super) fn who(both: &[Spans; 2]) -> String {
    if super::rows::is_all(both) {
        return "any".to_owned();
    }
    let words = Version::ALL.into_iter().flat_map(|version| both[version as usize].words(version));
    let words: Vec<String> = words.map(|words| words.trim_matches('"').to_owned()).collect();
    let more = words.len().saturating_sub(MOST_RANGES);
    let shown: Vec<String> = words.into_iter().take(MOST_RANGES).collect();
    let more = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
