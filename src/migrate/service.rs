//! What is left of the rules of one command, as services of a policy.

use super::Live;
use super::cut::{Left, Piece, Plan, Slot};
use super::report::Report;
use super::spans::{InWords, Spans};
use super::tuple::{Action, Log, PORTLESS, Tuple};
use crate::net::{IfPattern, Version, number};
use crate::policy::in_a_policy;
use crate::resolve::Containers;
use std::collections::{BTreeMap, BTreeSet};

/// Networks that Docker gives to its bridges where nobody chose others: 172.16.0.0/12, the first of them to docker0.
const DOCKERS: (u128, u128) = (0xac10_0000, 0xac1f_ffff);
const DOCKER0: (u128, u128) = (0xac11_0000, 0xac11_ffff);
/// What containers may ask for whatever a policy says: names, and addresses.
const ESSENTIAL: [Slot; 4] = [Slot::Tcp(53, 53), Slot::Udp(53, 53), Slot::Udp(67, 67), Slot::Udp(547, 547)];
/// How many bytes a comment of a policy can have.
const MAX_COMMENT: usize = 100;

/// How many places a comment names.
const MOST_PLACES: usize = 8;

/// A service, each value as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) ports: Vec<String>,
    pub(super) from: Vec<String>,
    pub(super) except: Vec<String>,
    pub(super) to: Vec<String>,
    pub(super) on: Vec<String>,
    pub(super) action: Option<&'static str>,
    pub(super) limit: bool,
    /// The machines behind this one that answer.
    pub(super) forward_to: Vec<String>,
    pub(super) log: bool,
    pub(super) comment: Option<String>,
    pub(super) places: Vec<String>,
}

impl Service {
    /// All of it but its senders, if others can join these: what is excepted, and how often each may come, is of all senders
    /// of a service.
    fn without_senders(&self) -> Option<String> {
        let Self { ports, from, except, to, on, action, limit, forward_to, log, comment, .. } = self;
        let can_be_joined = except.is_empty() && !limit && !from.iter().any(|from| from == "any");
        can_be_joined.then(|| format!("{:?}", (ports, to, on, action, forward_to, log, comment)))
    }
}

/// Services that differ by their senders alone as one, which has the name of the first.
pub(super) fn joined(services: Vec<Service>) -> Vec<Service> {
    let mut joined: Vec<Service> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for service in services {
        let key = service.without_senders();
        let first = key.as_ref().and_then(|key| known.get(key).copied()).and_then(|at| joined.get_mut(at));
        let Some(first) = first else {
            known.extend(key.map(|key| (key, joined.len())));
            joined.push(service);
            continue;
        };
        first.from.extend(service.from);
        first.places.extend(service.places);
    }
    for service in &mut joined {
        for all in [&mut service.from, &mut service.places] {
            let mut seen = BTreeSet::new();
            all.retain(|one| seen.insert(one.clone()));
        }
        if let Some(more) = service.places.len().checked_sub(MOST_PLACES).filter(|more| *more > 0) {
            service.places.truncate(MOST_PLACES);
            service.places.push(format!("and {more} more"));
        }
    }
    joined
}

/// What is known of containers, and what happens to those for whom there is no rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Bridges {
    /// Whether what no rule matches is denied.
    pub(super) default_denies: bool,
    /// The bridges of this machine with their networks; none where another machine's files are read.
    pub(super) known: Vec<(String, Version, Spans)>,
}

impl Bridges {
    /// The networks of containers, as far as the machine is asked.
    pub(super) fn of(live: Option<&Live>, default_denies: bool) -> Self {
        let known = live.into_iter().flat_map(|live| &live.bridges).map(|(name, address, length)| {
            let version = Version::of(*address);
            let rest = version.last_address().checked_shr((*length).into()).unwrap_or_default();
            let first = number(*address) & !rest;
            (name.clone(), version, Spans::from(vec![(first, first | rest)]))
        });
        Self { default_denies, known: known.collect() }
    }

    /// The addresses of one version that may be those of containers.
    pub(super) fn networks(&self, version: Version) -> Spans {
        let known = self
            .known
            .iter()
            .filter(|(_, of, _)| *of == version)
            .flat_map(|(_, _, spans)| spans.as_slice().iter().copied());
        let docker = (version == Version::V4).then_some(DOCKERS);
        known.chain(docker).collect()
    }

    /// Whom to admit beside addresses: packets of containers are admitted by their interface alone.
    fn admitted(&self, from: &Spans, version: Version) -> Option<String> {
        if !from.meets(&self.networks(version)) {
            return None;
        }
        let docker0 = Spans::from(vec![DOCKER0]);
        let known = self.known.iter().find(|(_, of, spans)| *of == version && spans.covers(from));
        let bridge = match known {
            Some((name, ..)) => in_a_policy(name),
            None if version == Version::V4 && docker0.covers(from) => Some("docker0".to_owned()),
            None => None,
        };
        Some(bridge.map_or_else(|| "containers".to_owned(), |name| format!("{{ interface: {name} }}")))
    }
}

/// Whether containers are behind an interface, as far as a policy knows without being told.
pub(super) fn is_of_containers(name: &IfPattern) -> bool {
    Containers::default().interfaces.iter().any(|one| one.meets(name))
}

/// What became of the rules of one command.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) services: Vec<Service>,
    /// Ports for which nothing can be written: other protocols than TCP, UDP and those with a word.
    pub(super) lost_protocols: bool,
    /// Whom the services admit instead of containers by their addresses.
    pub(super) admitted: Option<String>,
    /// Whether it is about what containers may ask anyway.
    pub(super) is_essential: bool,
    /// Whether it holds for one version and everyone there, which leaves containers out.
    pub(super) one_version: Option<Version>,
}

/// A part of one version or of both.
struct Part<'a> {
    slots: Vec<Slot>,
    four: Option<&'a Piece>,
    six: Option<&'a Piece>,
}

impl<'a> Part<'a> {
    fn of(&self, version: Version) -> Option<&'a Piece> {
        if version == Version::V4 { self.four } else { self.six }
    }

    fn any(&self) -> Option<&'a Piece> {
        self.four.or(self.six)
    }

    fn both(&self) -> impl Iterator<Item = (Version, &'a Piece)> + '_ {
        Version::ALL.into_iter().filter_map(|version| Some((version, self.of(version)?)))
    }

    fn is_from_all(&self, version: Version) -> bool {
        self.of(version).is_some_and(|piece| piece.from.is_all(version))
    }
}

/// All runs of ports and protocols that rules tell apart, and what the default is of echo requests.
pub(super) struct Whole<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) plan: Plan,
}

impl Whole<'_> {
    /// What `any` has to hold: echo requests that the default lets in, or denies, anyway have no rule.
    fn of(&self, opens: bool) -> Vec<Slot> {
        let is_by_default =
            |slot: Slot| slot == Slot::Ping && self.plan.ping.is_some_and(|ping| (ping == Action::Allow) == opens);
        self.slots.iter().copied().filter(|slot| !is_by_default(*slot)).collect()
    }
}

/// Makes the services of one command's rules. Their names are given later.
pub(super) fn services(rules: &[(&Tuple, &Left)], whole: &Whole<'_>, bridges: &Bridges) -> Made {
    let mut made = Made::default();
    let Some((first, _)) = rules.first() else { return made };
    let opens = matches!(first.action, Action::Allow | Action::Limit);
    for part in parts(rules) {
        let essential = part.slots.iter().all(|slot| ESSENTIAL.contains(slot))
            && part.both().all(|(version, piece)| bridges.networks(version).covers(&piece.from));
        if opens && essential {
            made.is_essential = true;
            continue;
        }
        let (ports, lost) = ports(&part.slots, &whole.of(opens));
        made.lost_protocols |= lost;
        if ports.is_empty() {
            continue;
        }
        let comment = first.comment.as_deref().map(comment).filter(|comment| !comment.is_empty());
        let mut service = Service {
            ports,
            action: match first.action {
                Action::Deny => Some("deny"),
                Action::Reject => Some("reject"),
                Action::Allow | Action::Limit => None,
            },
            limit: first.action == Action::Limit,
            log: first.log != Log::No,
            comment,
            places: rules.iter().map(|(tuple, _)| tuple.place()).collect(),
            ..Service::default()
        };
        who(&mut service, &part, bridges, opens, &mut made);
        made.services.push(service);
    }
    made
}

/// The pieces of each version that a run of ports has.
type Pieces<'a> = [Vec<&'a Piece>; 2];

/// Joins the runs of ports that have the same pieces, and of these the pieces of both versions that go together.
fn parts<'a>(rules: &[(&Tuple, &'a Left)]) -> Vec<Part<'a>> {
    let mut by_slot: BTreeMap<Slot, Pieces<'a>> = BTreeMap::new();
    for (tuple, left) in rules {
        for (pieces, slots) in &left.by_pieces {
            for slot in slots {
                let [four, six] = by_slot.entry(*slot).or_default();
                let all = if tuple.version == Version::V4 { four } else { six };
                all.extend(pieces);
            }
        }
    }
    let mut by_pieces: Vec<(Pieces<'a>, Vec<Slot>)> = Vec::new();
    for (slot, pieces) in by_slot {
        match by_pieces.iter_mut().find(|(other, _)| *other == pieces) {
            Some((_, slots)) => slots.push(slot),
            None => by_pieces.push((pieces, vec![slot])),
        }
    }
    by_pieces.into_iter().flat_map(|(pieces, slots)| paired(pieces, &slots)).collect()
}

fn paired<'a>([four, six]: Pieces<'a>, slots: &[Slot]) -> Vec<Part<'a>> {
    let of_one = |piece: &'a Piece| Part { slots: slots.to_vec(), four: Some(piece), six: None };
    let mut parts: Vec<Part<'_>> = four.into_iter().map(of_one).collect();
    for piece in six {
        let fits = |part: &&mut Part<'_>| {
            part.four.filter(|_| part.six.is_none()).is_some_and(|other| {
                other.on == piece.on
                    && other.except_interfaces == piece.except_interfaces
                    && other.from.is_all(Version::V4) == piece.from.is_all(Version::V6)
            })
        };
        match parts.iter_mut().find(fits) {
            Some(part) => part.six = Some(piece),
            None => parts.push(Part { slots: slots.to_vec(), four: None, six: Some(piece) }),
        }
    }
    parts
}

/// The version of a part, IPv4 if it is of both.
fn version_of(part: &Part<'_>) -> Version {
    if part.four.is_some() { Version::V4 } else { Version::V6 }
}

/// Writes `from`, `except`, `to` and `on` of a service.
fn who(service: &mut Service, part: &Part<'_>, bridges: &Bridges, opens: bool, made: &mut Made) {
    let Some(piece) = part.any() else { return };
    let is_one = part.four.is_none() || part.six.is_none();
    let behind_bridge = piece.on.as_ref().is_some_and(is_of_containers);
    let all = part.both().all(|(version, _)| part.is_from_all(version));
    // An interface says enough, and means containers, too.
    // `to` says the version as well, and leaves no container out.
    let by_destination =
        behind_bridge || !piece.to.is_all(version_of(part)) || service.limit && !bridges.default_denies;
    let by_interface = piece.on.as_ref().filter(|_| all && !is_one && service.ports == ["any"]);
    if let Some(name) = by_interface {
        service.from.push(format!("{{ interface: {} }}", written(name)));
    } else {
        service.on = piece.on.iter().map(written).collect();
        if all && (!is_one || by_destination) {
            service.from.push("any".to_owned());
        } else {
            for (version, piece) in part.both() {
                let may_be = piece.on.is_none() || behind_bridge;
                let admitted = bridges.admitted(&piece.from, version);
                let admitted = admitted.filter(|_| opens && may_be && !piece.from.is_all(version));
                if let Some(admitted) = admitted.filter(|admitted| !service.from.contains(admitted)) {
                    service.from.push(admitted.clone());
                    made.admitted = Some(admitted);
                }
            }
            service.from.extend(part.both().flat_map(|(version, piece)| piece.from.words(version)));
            let version = part.both().map(|(version, _)| version).next().filter(|_| all && opens);
            made.one_version = version.or(made.one_version);
        }
    }
    service.except = part.both().flat_map(|(version, piece)| piece.except.words(version)).collect();
    let interfaces = piece.except_interfaces.iter().map(|name| format!("{{ interface: {} }}", written(name)));
    service.except.extend(interfaces);
    let is_everywhere = part.both().all(|(version, piece)| piece.to.is_all(version));
    let says_version = is_one && service.from == ["any"];
    if !is_everywhere || says_version {
        service.to = part.both().flat_map(|(version, piece)| piece.to.words(version)).collect();
    }
}

/// Why containers get in.
pub(super) fn admits(admitted: &str) -> String {
    format!(
        "an address never admits a container, so `{admitted}` is in `from`: every container behind such a bridge gets in"
    )
}

/// Says that containers are not in all addresses of one version.
pub(super) fn of_one_version(version: Version, report: &mut Report) {
    let all = if version == Version::V4 { "0.0.0.0/0" } else { "::/0" };
    report.note(
        None,
        format!(
            "containers are in `any` and not in `{all}`: add `containers` where they ask such a port over {version}"
        ),
    );
}

/// An interface's name as YAML.
pub(super) fn written(name: &IfPattern) -> String {
    if name.wildcard {
        return format!("\"{name}\"");
    }
    in_a_policy(&name.name).unwrap_or_else(|| format!("\"{}\"", name.name))
}

/// Ports as a policy writes them, and whether there are protocols that it has no word for. `whole` is what `any` holds.
pub(super) fn ports(slots: &[Slot], whole: &[Slot]) -> (Vec<String>, bool) {
    if !whole.is_empty() && whole.iter().all(|slot| slots.contains(slot)) {
        return (vec!["any".to_owned()], false);
    }
    let mut runs: BTreeMap<&str, Vec<(u16, u16)>> = BTreeMap::new();
    let mut others = Vec::new();
    let mut rest = false;
    for slot in slots {
        match slot {
            Slot::Tcp(first, last) => runs.entry("tcp").or_default().push((*first, *last)),
            Slot::Udp(first, last) => runs.entry("udp").or_default().push((*first, *last)),
            Slot::Sctp(first, last) => runs.entry("sctp").or_default().push((*first, *last)),
            Slot::Ping => others.push("ping".to_owned()),
            Slot::Other(number) => others.push(protocol(*number)),
            Slot::Rest => rest = true,
        }
    }
    for all in runs.values_mut() {
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let touches = u32::from(next.0) <= u32::from(kept.1) + 1;
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
    }
    let mut written: Vec<String> = Vec::new();
    for name in ["tcp", "udp", "sctp"] {
        written.extend(runs.remove(name).unwrap_or_default().into_iter().map(|(first, last)| {
            if first == last { format!("{first}/{name}") } else { format!("{first}-{last}/{name}") }
        }));
    }
    written.extend(others);
    (written, rest)
}

/// A protocol as a policy writes it.
fn protocol(number: u8) -> String {
    let name = PORTLESS.into_iter().find(|(_, other)| *other == number).map(|(name, _)| name);
    match name {
        // `ipv6` is a name of the protocol that carries IPv6 in IPv4; the number says so to everyone.
        Some(name) if name != "ipv6" => format!("{name}/proto"),
        _ => format!("{number}/proto"),
    }
}

/// A comment as a policy can have it.
pub(super) fn comment(text: &str) -> String {
    let plain = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        c if crate::printable::is_invisible(c) => ' ',
        c => c,
    };
    let mut short = String::new();
    for c in text.chars().map(plain) {
        if short.len() + c.len_utf8() > MAX_COMMENT {
            break;
        }
        short.push(c);
    }
    short.trim().to_owned()
}
