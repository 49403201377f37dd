//! What the elements of a zone decide, in the order in which firewalld asks them.
//!
//! Rich rules with a priority below zero come first, by their priority; then all that deny, then all that allow; then the
//! rich rules with a priority above zero; last, the target.

use super::definitions::{Definitions, Service, Set};
use super::ports::{Asked, protocol};
use super::zone::{Act, Item, Rich, Side, Source, Subject, Target, What, Zone};
use crate::migrate::report::Fate;
use crate::migrate::spans::Spans;
use crate::migrate::tuple::{Place, Protocol};
use crate::net::Version;
use crate::printable::printable;

/// What is decided about, over one version of IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) version: Version,
    pub(super) from: Spans,
    pub(super) to: Spans,
    pub(super) protocol: Protocol,
    pub(super) ports: Vec<(u16, u16)>,
    pub(super) sender_ports: Vec<(u16, u16)>,
}

impl Match {
    /// Everything over one version.
    pub(super) fn all(version: Version) -> Self {
        let all = Spans::all(version);
        let (ports, sender_ports) = (Vec::new(), Vec::new());
        Self { version, from: all.clone(), to: all, protocol: Protocol::Any, ports, sender_ports }
    }

    /// Whether it is about everyone who asks any address.
    pub(super) fn is_of_all(&self) -> bool {
        self.from.is_all(self.version) && self.to.is_all(self.version) && self.sender_ports.is_empty()
    }
}

/// What an element comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What it decides, of what.
    pub(super) act: Option<Act>,
    pub(super) matches: Vec<Match>,
    pub(super) log: bool,
    /// What became of it, as far as it can be said before it is cut.
    pub(super) fate: Fate,
    pub(super) why: Vec<String>,
    /// Whether it decides about so many packets only, or about something that is not known here.
    pub(super) is_unclear: bool,
}

impl Reading {
    fn decides(act: Act, matches: Vec<Match>) -> Self {
        let why = Vec::new();
        Self { act: Some(act), matches, log: false, fate: Fate::Exact, why, is_unclear: false }
    }

    fn nothing(fate: Fate, why: impl Into<String>) -> Self {
        Self { act: None, matches: Vec::new(), log: false, fate, why: vec![why.into()], is_unclear: false }
    }
}

/// In which order an element is asked.
fn stage(item: &Item, reading: &Reading) -> (u8, i32) {
    match (&item.what, reading.act) {
        (What::Rich(rich), _) if rich.priority < 0 => (0, rich.priority),
        (What::Rich(rich), _) if rich.priority > 0 => (3, rich.priority),
        (_, Some(Act::Accept)) => (2, 0),
        (_, Some(Act::Reject | Act::Drop)) | (_, None) => (1, 0),
    }
}

/// A zone with what its elements come to.
pub(super) struct Read<'a> {
    pub(super) zone: &'a Zone,
    /// Of each element.
    pub(super) readings: Vec<Reading>,
    /// The elements that decide, in order.
    pub(super) order: Vec<usize>,
}

impl<'a> Read<'a> {
    pub(super) fn new(zone: &'a Zone, definitions: &Definitions) -> Self {
        let mut readings: Vec<Reading> = zone.items.iter().map(|item| reading(zone, item, definitions)).collect();
        for reading in readings.iter_mut().filter(|reading| reading.matches.is_empty()) {
            if reading.act.is_some() && reading.fate == Fate::Tighter {
                reading.fate = Fate::NotTranslated;
            }
        }
        let mut order: Vec<usize> =
            readings.iter().enumerate().filter(|(_, reading)| reading.act.is_some()).map(|(at, _)| at).collect();
        let key = |at: &usize| zone.items.get(*at).zip(readings.get(*at)).map(|(item, read)| stage(item, read));
        order.sort_by_key(key);
        Self { zone, readings, order }
    }

    /// The elements that decide, in order: the index of each, and what it decides.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, Act, &Reading)> {
        self.order.iter().filter_map(|at| {
            let reading = self.readings.get(*at)?;
            Some((*at, reading.act?, reading))
        })
    }

    /// What happens to pings that no element decides about.
    pub(super) fn pings(&self) -> Act {
        match (self.zone.target, self.zone.is_inverted()) {
            (Target::Drop, _) => Act::Drop,
            (Target::Reject, _) | (Target::Default | Target::Accept, true) => Act::Reject,
            (Target::Default | Target::Accept, false) => Act::Accept,
        }
    }

    /// What happens to all else that no element decides about.
    pub(super) fn rest(&self) -> Act {
        match self.zone.target {
            Target::Default | Target::Reject => Act::Reject,
            Target::Accept => Act::Accept,
            Target::Drop => Act::Drop,
        }
    }
}

fn reading(zone: &Zone, item: &Item, definitions: &Definitions) -> Reading {
    match &item.what {
        What::Asked(asked) => accepted(asked, definitions),
        What::IcmpBlock(name) => {
            let act = if zone.is_inverted() { Act::Accept } else { Act::Reject };
            icmp(act, name, &Version::ALL.map(Match::all))
        }
        What::Inversion => Reading::nothing(Fate::Exact, "of ICMP, a policy knows pings"),
        What::Forward => {
            let text = "what passes through this machine is denied; name it in `forward` where it routes";
            // From one interface to another of the zone, or of a source to another.
            let is_of_several = zone.bindings.len() > 1;
            Reading::nothing(if is_of_several { Fate::Tighter } else { Fate::NoEffect }, text)
        }
        What::Masquerade => Reading::nothing(
            Fate::NotTranslated,
            "to keep it: `nat: { out: { from: any, to: { interface: NAME } } }`, with the name of the zone's interface",
        ),
        What::ForwardPort { asked, port, address } => {
            let why = match (port, address) {
                (_, Some(address)) => format!(
                    "to keep it: a service for {asked} with `forward_to: {address}{}`; everyone in the zone reached it",
                    port.as_ref().map(|port| format!(":{port}")).unwrap_or_default()
                ),
                (Some(port), None) => format!(
                    "who asked for {asked} was answered at port {port}, everyone in the zone; a policy goes by the port that \
                     is asked for: a service for {asked} is right once something else redirects it"
                ),
                (None, None) => "it says neither a port nor an address".to_owned(),
            };
            Reading::nothing(Fate::NotTranslated, why)
        }
        What::Rich(rich) => of_rich(rich, definitions),
        What::Ignored(why) => Reading::nothing(Fate::NotTranslated, format!("firewalld passes over it, too: {why}")),
        What::Unknown => Reading::nothing(Fate::NotTranslated, "it is not known here"),
    }
}

/// A service, a port or a protocol that a zone lets in.
fn accepted(asked: &Asked, definitions: &Definitions) -> Reading {
    let mut read = Reading::decides(Act::Accept, Vec::new());
    for version in Version::ALL {
        about(asked, &Match::all(version), definitions, &mut read);
    }
    without_senders(&mut read);
    read
}

/// Leaves out what lets in by the port of the sender, who chooses it.
fn without_senders(read: &mut Reading) {
    let before = read.matches.len();
    read.matches.retain(|one| one.sender_ports.is_empty());
    if read.matches.len() < before {
        read.is_unclear = true;
        read.fate = if read.matches.is_empty() { Fate::NotTranslated } else { Fate::Tighter };
        read.why.push("who sends chooses the sender's port: what it lets in by that is left out".to_owned());
    }
}

/// Says that some of what is asked for can't be followed.
fn lose(read: &mut Reading, why: String) {
    if !read.why.contains(&why) {
        read.why.push(why);
    }
    read.is_unclear = true;
    read.fate = if read.act == Some(Act::Accept) { Fate::Tighter } else { Fate::NotTranslated };
}

/// Adds what is asked for to what a rule is about.
fn about(asked: &Asked, all: &Match, definitions: &Definitions, read: &mut Reading) {
    match asked {
        Asked::Port(protocol, ports) => {
            read.matches.push(Match { protocol: *protocol, ports: vec![*ports], ..all.clone() });
        }
        Asked::SenderPort(protocol, ports) => {
            read.matches.push(Match { protocol: *protocol, sender_ports: vec![*ports], ..all.clone() });
            if read.act != Some(Act::Accept) {
                lose(read, "who sends chooses the sender's port: it denies every sender's port".to_owned());
                read.fate = Fate::Tighter;
            }
        }
        Asked::Protocol(name) => match protocol(name, all.version) {
            Ok(protocol) => read.matches.extend(protocol.map(|protocol| Match { protocol, ..all.clone() })),
            Err(why) => lose(read, why),
        },
        Asked::Wordless(name) => lose(read, format!("a policy has no word for the ports of {name}")),
        Asked::Service(name) => match definitions.parts(name) {
            Ok(parts) => parts.into_iter().for_each(|part| about_part(part, all, definitions, read)),
            Err(missing) => {
                let missing = printable(&missing).to_string();
                lose(read, format!("no file defines the service {missing}: copy /usr/lib/firewalld, too"));
            }
        },
    }
}

/// Adds what a service is answered at, or one that it contains.
fn about_part(part: &Service, all: &Match, definitions: &Definitions, read: &mut Reading) {
    let [four, six] = &part.destinations;
    let to = if all.version == Version::V4 { four } else { six };
    if to.is_none() && (four.is_some() || six.is_some()) {
        return;
    }
    let to = to.as_ref().map_or_else(|| all.to.clone(), |place| place.spans.clone());
    let narrower = Match { to, ..all.clone() };
    for asked in &part.asked {
        about(asked, &narrower, definitions, read);
    }
    if !part.helpers.is_empty() && read.act == Some(Act::Accept) {
        let helpers = part.helpers.join(", ");
        let helpers = printable(&helpers);
        lose(read, format!("connections that its own announce ({helpers}) are denied: name their ports"));
    }
}

/// What is said of a type of ICMP.
fn icmp(act: Act, name: &str, all: &[Match]) -> Reading {
    if name == "echo-request" {
        let pings = all.iter().map(|one| Match { protocol: Protocol::Ping, ..one.clone() });
        return Reading::decides(act, pings.collect());
    }
    Reading::nothing(
        Fate::NoEffect,
        "errors about own connections and neighbour discovery are always let in, and of the rest of ICMP pings alone",
    )
}

/// What a rich rule decides.
fn of_rich(rich: &Rich, definitions: &Definitions) -> Reading {
    if let Subject::Other(name) = rich.subject {
        return Reading::nothing(Fate::NotTranslated, format!("{name} is left out"));
    }
    let act = match (rich.act, &rich.subject) {
        (None, Subject::IcmpBlock(_)) => Act::Reject,
        (Some(act), _) => act,
        (None, _) => {
            let what = if rich.log { "a log" } else { rich.also.first().copied().unwrap_or("it") };
            return Reading::nothing(Fate::NotTranslated, format!("{what} alone lets nobody in and denies nobody"));
        }
    };
    if act == Act::Accept && rich.is_limited {
        let why =
            "all senders share its rate, and a policy's `limit` is for each: left out; a service with `limit` may do";
        let mut read = Reading::nothing(Fate::NotTranslated, why);
        read.is_unclear = true;
        return read;
    }
    let all = match sides(rich, definitions) {
        Ok(all) => all,
        Err((fate, why)) => {
            let mut read = Reading::nothing(fate, why);
            read.is_unclear = fate == Fate::NotTranslated;
            if act != Act::Accept && fate == Fate::NotTranslated {
                read.why.push("the policy is more open by it: it does not deny what this rule denies".to_owned());
            }
            return read;
        }
    };
    let mut read = match &rich.subject {
        Subject::IcmpBlock(name) | Subject::IcmpType(name) => icmp(act, name, &all),
        Subject::All | Subject::Other(_) => Reading::decides(act, all),
        Subject::Asked(asked) => {
            let mut read = Reading::decides(act, Vec::new());
            all.iter().for_each(|one| about(asked, one, definitions, &mut read));
            read
        }
    };
    if act == Act::Accept {
        without_senders(&mut read);
    } else if read.fate == Fate::NotTranslated {
        read.why.push("the policy is more open by it: it does not deny what this rule denies".to_owned());
    } else if rich.is_limited {
        (read.fate, read.is_unclear) = (Fate::Tighter, true);
        read.why.push("it denied so many in a time, and the policy denies all".to_owned());
    }
    read.log = rich.log;
    read.why.extend(rich.also.iter().map(|also| format!("{also} is left out")));
    read
}

/// Whose packets to whom a rule is about, over each version. `Err` is what became of it then.
fn sides(rich: &Rich, definitions: &Definitions) -> Result<Vec<Match>, (Fate, String)> {
    let mut all = Vec::new();
    for version in Version::ALL {
        if rich.family.is_some_and(|family| family != version) {
            continue;
        }
        let mut one = Match::all(version);
        let mut is_of_this = true;
        for (side, spans) in [(&rich.from, &mut one.from), (&rich.to, &mut one.to)] {
            let Some(side) = side else { continue };
            match addresses(side, version, definitions).map_err(|why| (Fate::NotTranslated, why))? {
                Some(named) => *spans = named,
                None => is_of_this = false,
            }
        }
        if is_of_this {
            all.push(one);
        }
    }
    if all.is_empty() {
        return Err((Fate::NoEffect, "its family and its addresses exclude each other".to_owned()));
    }
    Ok(all)
}

/// The addresses of one version that a side of a rule names; `None`: it is about the other version.
fn addresses(side: &Side, version: Version, definitions: &Definitions) -> Result<Option<Spans>, String> {
    let spans = spans_of(&side.source, version, definitions)?;
    Ok(spans.map(|spans| if side.is_inverted { Spans::all(version).minus(&spans) } else { spans }))
}

/// The addresses of one version; `None`: all are of the other version. `Err` is why they are not known.
pub(super) fn spans_of(
    source: &Source,
    version: Version,
    definitions: &Definitions,
) -> Result<Option<Spans>, String> {
    match source {
        Source::Address(text) => Ok(Place::read(text, version).map(|place| place.spans)),
        Source::Mac(_) => Err("a policy has no word for hardware addresses".to_owned()),
        Source::Set(name) => match definitions.sets.get(name) {
            None => Err(format!("no file defines the ipset {}", printable(name))),
            Some(Set::Other(why)) => Err(format!("the ipset {} can't be taken over: {why}", printable(name))),
            Some(Set::Addresses(of, spans)) => Ok((*of == version).then(|| spans.clone())),
        },
    }
}
