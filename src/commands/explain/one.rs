//! One connection: its verdict, each step, why the policy denies it, and whether anybody listens.

use super::asked::{Asked, Sender, Target};
use super::{Args, CANT_TELL, DENIED, Question, in_force};
use crate::commands::Report;
use crate::commands::added::as_json;
use crate::commands::denied::who_was_denied;
use crate::commands::with_file;
use crate::compile::{Denial, line_of};
use crate::denied::{Denied, Reason, Refused, Why, in_full, suggestion, why};
use crate::error::Error;
use crate::explain::{Explanation, beyond};
use crate::machine::legacy_tables;
use crate::names::{Known, Names};
use crate::net::{self, Version, number};
use crate::netlink::routing::Routing;
use crate::netlink::{ListeningSocket, Live, LiveSets, listening_sockets};
use crate::printable::{printable, time_in_words};
use crate::ruleset::{AddressType, DynsetOp, Expr, Hook, Limit, Provenance, Table, TableId};
use crate::simulate::{
    EPHEMERAL, Effect, Interface, LeavingBy, Packet, Path, Routes, Stage, Transport, Way, follow_connection,
};
use crate::state::{State, moment};
use crate::temporary::{Entries, Entry, holds, until};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

/// What is read before this process is confined.
pub(super) struct Near {
    legacy: Vec<String>,
    /// `None` if they can't be read.
    sockets: Option<Vec<ListeningSocket>>,
}

impl Near {
    pub(super) fn read() -> Self {
        let sockets = listening_sockets();
        let sockets =
            sockets.inspect_err(|error| tracing::info!("whether anybody listens is not known: {error}")).ok();
        Self { legacy: legacy_tables(), sockets }
    }
}

/// What is known beside the kernel's rules and routes.
pub(super) struct Around<'a> {
    pub(super) near: &'a Near,
    pub(super) names: &'a Names,
    pub(super) user: Option<u32>,
}

/// The answer about one connection.
pub(super) struct Answer {
    pub(super) report: Report,
    /// `allowed: 9000/tcp from 203.0.113.9 to ...` and the reason, in two lines.
    pub(super) short: String,
    pub(super) reason: String,
    pub(super) limit: Option<Limited>,
    /// The hook at which palisade's own rules deny its first packet, if they do.
    denied: Option<Hook>,
    /// Whether anybody listens; `None` if it is not for this machine itself, or if it is not known.
    listens: Option<bool>,
}

/// A limit that a connection meets.
pub(super) struct Limited {
    /// The service.
    name: String,
    /// `6/minute`
    rate: String,
    /// How long it takes until one more connection is let in, when too many came.
    period: Duration,
    line: Option<String>,
}

impl Limited {
    /// `at most 6/minute of each address`
    pub(super) fn words(&self, source: IpAddr) -> String {
        let each = if source.is_ipv4() { "address" } else { "/64 network" };
        format!("at most {} of each {each}", self.rate)
    }
}

/// The answers about each target. Of several, the text has two lines of each.
pub(super) fn all(question: &Question<'_>, asked: &Asked, around: &Around<'_>) -> Result<Report, Error> {
    let reports = asked.targets.iter().map(|target| in_full_about(question, *target, around));
    let mut reports: Vec<(String, Report)> = reports.collect::<Result<_, Error>>()?;
    let note = asked.note.as_ref().map(|note| format!("\n{note}\n")).unwrap_or_default();
    if reports.len() == 1 {
        let (_, mut report) = reports.remove(0);
        report.text.push(&note);
        return Ok(report.with("note", json!(asked.note)));
    }
    let has = |status: u8| reports.iter().any(|(_, report)| report.status == status);
    let (verdict, status) = match (has(DENIED), has(CANT_TELL)) {
        (true, _) => ("deny", DENIED),
        (false, true) => ("unknown", CANT_TELL),
        (false, false) => ("allow", 0),
    };
    let text: String = reports.iter().map(|(short, _)| short.as_str()).collect();
    let connections: Vec<Value> = reports.into_iter().map(|(_, report)| report.json).collect();
    let text = format!("{text}\nname one of the ports to see each rule that it meets\n{note}");
    Ok(Report {
        status,
        text: text.into(),
        json: json!({ "verdict": verdict, "steps": [], "connections": connections }),
    })
}

/// The answer about one target with all that is said beside it, and the same in two lines.
fn in_full_about(question: &Question<'_>, target: Target, around: &Around<'_>) -> Result<(String, Report), Error> {
    let args = question.args;
    let packet = packet(args, target, question.routing)?;
    let packet = Packet { user: around.user, ..packet };
    let answer = about(question, packet.clone(), around)?;
    let mut report = answer.report;
    if let Some(limit) = &answer.limit {
        let over = question.desired.is_none().then(|| over(limit, &packet)).flatten();
        let mut text = format!("allowed, {}", limit.words(packet.source));
        if let Some(ago) = over {
            let left = limit.period.saturating_sub(ago);
            let _ = write!(
                text,
                "; this address came too often: it was turned away {} ago, and is let in again within {}",
                time_in_words(ago),
                time_in_words(left.max(Duration::from_secs(1)))
            );
        }
        let place = limit.line.as_ref().map(|line| format!(" ({line})")).unwrap_or_default();
        report.text.push(&format!("\n{}\n", printable(&format!("{text}{place}"))));
        report = report.with(
            "limit",
            json!({ "service": limit.name, "rate": limit.rate, "over": question.desired.is_none().then_some(over.is_some()),
                "turned_away_seconds_ago": over.map(|ago| ago.as_secs()) }),
        );
    }
    if answer.listens == Some(false) {
        report.text.push(&format!("\nnothing listens on {} here\n", target.words()));
    }
    report = report.with("listens", json!(answer.listens));
    if let Some(hook) = answer.denied {
        report = with_why(question, report, target, (&packet, hook))?;
    }
    let report = with_time(with_names(report, &packet, around.names), &packet, question.state);
    Ok((answer.short, report))
}

/// The report with the policy's reason and what lets the connection in. `hook` is where palisade's rules deny it.
fn with_why(
    question: &Question<'_>,
    mut report: Report,
    target: Target,
    (packet, hook): (&Packet, Hook),
) -> Result<Report, Error> {
    let is_own = question.routing.route_to(packet.destination)?.is_some_and(|route| route.kind == AddressType::Local);
    let towards = if is_own { Denial::Incoming } else { Denial::Forward };
    let Some(what) = target.wanted() else { return Ok(report) };
    let refused = Refused { towards, source: packet.source, what, to: Some(packet.destination) };
    let read = if question.policy.is_none() { in_force(question.state) } else { None };
    let Some(policy) = question.policy.or(read.as_ref()) else {
        report.text.push(
            "\nwhich service has it, and what lets it in, is not known: the policy that was applied is not known\n",
        );
        return Ok(report);
    };
    let why = why(policy, &refused);
    // An address of a policy never means a container's.
    let by_container = matches!(&packet.incoming, Interface::Named(name) if policy.containers.covers(name));
    // What is dropped before the services are asked, and not by `block`, has a source that can't be: the step says so.
    let is_of_policy = (hook == Hook::Prerouting) == (why.reason == Reason::Blocked);
    if by_container || !is_of_policy || matches!(why.reason, Reason::LetsIn | Reason::Limit) {
        return Ok(report);
    }
    let full = in_full(policy, &refused, &why);
    let place = match why.line {
        Some(line) => policy.place(line),
        None => format!("{}, by default", policy.file),
    };
    let lines = suggestion(policy, &refused);
    report.text.push(&format!("\n{} ({})\n", printable(&full), printable(&place)));
    let shown: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    report.text.push(&format!("\nto let it in:\n{}", crate::printable::lines(&shown)));
    let Why { name, line, .. } = why;
    let json = json!({ "service": name, "line": line, "text": full, "to_let_it_in": lines });
    Ok(report.with("why", with_file(json, line.map(|line| (policy, line)))))
}

/// How long ago an address was turned away by a limit, if that is less than it takes until one more is let in. Of IPv6, the
/// limit counts networks.
fn over(limit: &Limited, packet: &Packet) -> Option<Duration> {
    let Transport::Ports { protocol, destination, .. } = packet.transport else { return None };
    let shift = if packet.source.is_ipv4() { 0 } else { 64 };
    let network = |address: IpAddr| (Version::of(address), number(address) >> shift);
    let is_it = |denied: &&Denied| {
        denied.towards == Denial::Incoming
            && network(denied.source) == network(packet.source)
            && (denied.port.transport.number(), denied.port.first) == (protocol, destination)
    };
    let who = who_was_denied().inspect_err(|error| tracing::info!("{error}")).ok().flatten()?;
    let last = who.iter().filter(is_it).map(|denied| denied.ago).min()?;
    (last < limit.period).then_some(last)
}

/// The verdict on a connection by the rules.
pub(super) fn about(question: &Question<'_>, packet: Packet, around: &Around<'_>) -> Result<Answer, Error> {
    let args = question.args;
    let routing = question.routing;
    let routes = leaving_by(args.out.as_deref(), routing, &packet)?;
    let packet = args.out.as_deref().map_or(packet.clone(), |name| packet.leaving_by(name));
    let routes: &dyn Routes = routes.as_ref().map_or(routing, |routes| routes);
    if packet.user.is_some() && packet.path != Path::FromMachine {
        return Err(Error::Declined("only this machine's own connections have a user: pass --from host".to_owned()));
    }
    // Asks for set elements while the rules are the ones that were read.
    Ok(question.socket.ask_live(|live| {
        let ask = |packet: &Packet| explained(question, routes, live, packet, around.near);
        match ask(&packet) {
            // If rules look at the source port, tries one that no rule names: most clients use such a port.
            answer if answer.report.status == CANT_TELL => {
                Some(ask(&from_a_port(&packet))).filter(|other| other.report.status != CANT_TELL).unwrap_or(answer)
            }
            answer => answer,
        }
    })?)
}

fn explained(question: &Question<'_>, routes: &dyn Routes, live: &Live, packet: &Packet, near: &Near) -> Answer {
    let planned = question.desired.map(|desired| (&desired.id, &desired.table));
    let others = live.ruleset.tables.iter().filter(|(id, _)| planned.is_none_or(|(ours, _)| ours != *id));
    let tables: Vec<(&TableId, &Table)> = others.chain(planned).collect();
    let sets = LiveSets::new(question.socket, live, planned);
    let explanation = Explanation {
        connection: in_words(packet),
        packets: follow_connection(tables.iter().copied(), &sets, routes, packet),
        beyond: beyond(&near.legacy),
        tables,
    };
    let mut text = explanation.text();
    if explanation.tables.iter().all(|(id, _)| **id != TableId::palisade()) {
        text.push_str("\npalisade itself is not loaded: `palisade apply` loads the policy\n");
    }
    let short = text.split_inclusive('\n').take(2).collect();
    let report = Report { status: explanation.status(), text: text.into(), json: explanation.json() };
    Answer {
        short,
        reason: explanation.reason(),
        limit: (report.status == 0).then(|| limit(&explanation)).flatten(),
        denied: denied_by_us(&explanation, packet).filter(|_| report.status == DENIED),
        listens: listens(&explanation, packet, near),
        report,
    }
}

/// The hook at which palisade's own rules deny the first packet of what comes in.
fn denied_by_us(explanation: &Explanation<'_>, packet: &Packet) -> Option<Hook> {
    let (stage, traversal) = explanation.packets.decisive();
    let by = traversal.trace.denied_by().filter(|_| traversal.astray().is_none());
    let by = by.filter(|step| *step.table == TableId::palisade());
    by.filter(|_| packet.path != Path::FromMachine && stage == Stage::First).map(|step| step.hook)
}

/// The limit of the service that admits the first packet.
fn limit(explanation: &Explanation<'_>) -> Option<Limited> {
    let own = TableId::palisade();
    let (_, table) = explanation.tables.iter().find(|(id, _)| **id == own)?;
    let admits = |step: &&crate::simulate::Step<'_>| *step.table == own && step.effect == Effect::Accept;
    let steps = explanation.packets.first.trace.steps.iter().filter(admits);
    let name_of =
        |chain: &str| line_of(chain).filter(|(section, _)| *section == "service").map(|(_, name)| name.to_owned());
    let (name, chain) = steps.filter_map(|step| Some((name_of(step.chain)?, step.chain))).next()?;
    table.chains.get(chain)?.rules.iter().find_map(|rule| {
        let limit = rule.exprs.iter().find_map(|expr| match expr {
            Expr::Dynset { op: DynsetOp::Update, exprs, .. } => exprs.iter().find_map(|expr| match expr {
                Expr::Limit(limit) => Some(limit),
                _ => None,
            }),
            _ => None,
        })?;
        let Limit { rate, unit, .. } = limit;
        let origin = rule.comment.as_deref().and_then(Provenance::read).map(|says| says.origin.to_string());
        Some(Limited {
            name: name.clone(),
            rate: format!("{rate}/{}", unit.name()),
            period: Duration::from_secs(unit.seconds()).checked_div(u32::try_from(*rate).ok()?)?,
            line: origin,
        })
    })
}

/// Whether a socket of this machine receives it; `None` if it does not get as far as to this machine's own sockets.
fn listens(explanation: &Explanation<'_>, packet: &Packet, near: &Near) -> Option<bool> {
    let first = &explanation.packets.first;
    let gets_there =
        first.end() == Some(&Way::Local) || first.trace.steps.iter().any(|step| step.hook == Hook::Input);
    let Transport::Ports { protocol, destination, .. } = packet.transport else { return None };
    let sockets = near.sockets.as_ref().filter(|_| gets_there && is_told(protocol))?;
    let address = first.translated.map_or(packet.destination, |to| to.address);
    let port = first.translated.and_then(|to| to.port).unwrap_or(destination);
    let interface = match &packet.incoming {
        Interface::Named(name) => Some(name.as_str()),
        Interface::Absent | Interface::Unknown => None,
    };
    Some(sockets.iter().any(|socket| socket.receives((protocol, port), address, interface)))
}

/// Whether the kernel is asked for the sockets of a protocol.
fn is_told(protocol: u8) -> bool {
    [net::protocol::TCP, net::protocol::UDP].contains(&protocol)
}

/// The report with the groups that the sender is in for a time.
fn with_time(mut report: Report, packet: &Packet, state: &State) -> Report {
    let (entries, now) = (state.temporary(), moment());
    if let Err(error) = &entries {
        report.text.push(&format!("\nwho is let in or blocked for a time is not known: {error}\n"));
    }
    let of_sender = entries.iter().flat_map(Entries::iter).filter(|entry| entry.address == packet.source);
    let of_sender: Vec<&Entry> = of_sender.collect();
    let table = if of_sender.is_empty() { None } else { state.in_force().and_then(|kept| kept.table) };
    let holds = |entry: &Entry| table.as_ref().is_some_and(|table| holds(table, entry));
    for entry in &of_sender {
        let end = until(entry, &now, holds(entry));
        report.text.push(&format!("\n{} is in the group {} {end}\n", entry.address, entry.group));
    }
    let listed: Vec<_> = of_sender.into_iter().map(|entry| as_json(entry, &now, holds(entry))).collect();
    report.with("temporary", json!(listed))
}

/// The report with the names that the two ends have.
fn with_names(mut report: Report, packet: &Packet, names: &Names) -> Report {
    let mut known = Vec::new();
    for address in [packet.source, packet.destination] {
        for name in names.of(address) {
            let asked = names.get(name).and_then(Known::asked).unwrap_or_default();
            let ago = time_in_words(Duration::from_secs(asked));
            report.text.push(&format!("\n{address} is {}, looked up {ago} ago\n", printable(name)));
            known.push(json!({ "address": address, "name": name, "looked_up_seconds_ago": asked }));
        }
    }
    report.with("names", json!(known))
}

/// The routing, if connections leave by the interface of `--out`.
fn leaving_by<'r>(out: Option<&str>, routing: &'r Routing, packet: &Packet) -> Result<Option<LeavingBy<'r>>, Error> {
    let Some(name) = out else { return Ok(None) };
    routing.index(name).map_err(|why| Error::Declined(why.into_owned()))?;
    let stays = routing.route_to(packet.destination)?.is_some_and(|route| route.kind == AddressType::Local);
    if stays {
        let message =
            format!("{} is an address of this machine, so it leaves by no interface: omit --out", packet.destination);
        return Err(Error::Declined(message));
    }
    Ok(Some(LeavingBy { routes: routing, opener: packet.source, interface: name.to_owned() }))
}

/// The connection's first packet. Fields that were not given come from the routes.
pub(super) fn packet(args: &Args, target: Target, routing: &Routing) -> Result<Packet, Error> {
    let Args { from, to, on, .. } = args;
    let unsaid = |what: &str| Error::Declined(what.to_owned());
    let from = match (from, to) {
        (Some(Sender::Address(address)), _) => address,
        (Some(Sender::Host), Some(to)) => &routing
            .source_towards(*to)?
            .ok_or_else(|| Error::Declined(format!("no route leads to {to}: this machine can't ask for it")))?,
        _ => return Err(unsaid("pass --to ADDRESS, the address that this machine asks for")),
    };
    let route = routing.route_to(*from)?;
    let own = route.as_ref().is_some_and(|route| route.kind == AddressType::Local);
    let to = match to {
        Some(to) if to.is_ipv4() != from.is_ipv4() => {
            return Err(Error::Declined(format!("{from} and {to} are of different IP versions")));
        }
        Some(to) => *to,
        None if own => *from,
        None => routing.source_towards(*from)?.ok_or_else(|| {
            Error::Declined(format!("no route leads back to {from}: pass --to ADDRESS, the address that it asks for"))
        })?,
    };
    let transport = match target {
        Target::Port { protocol, port } => Transport::Ports { protocol, source: None, destination: port },
        Target::Protocol(number) => Transport::Other(number),
        Target::Ping => Transport::echo_request(to),
    };
    let packet = Packet::to_machine(*from, to, transport);
    match on {
        Some(name) => {
            routing.index(name).map_err(|why| Error::Declined(why.into_owned()))?;
            Ok(packet.coming_in_by(name.as_str()))
        }
        None if own => Ok(Packet { path: Path::FromMachine, incoming: Interface::Absent, ..packet }),
        None => {
            let interface = route.and_then(|route| route.interface);
            let interface = interface.ok_or_else(|| unsaid("pass --on IFACE, the interface that it comes in by"))?;
            Ok(packet.coming_in_by(interface))
        }
    }
}

fn from_a_port(packet: &Packet) -> Packet {
    let transport = match packet.transport {
        Transport::Ports { protocol, destination, .. } => {
            Transport::Ports { protocol, source: Some(EPHEMERAL), destination }
        }
        other => other,
    };
    Packet { transport, ..packet.clone() }
}

fn in_words(packet: &Packet) -> String {
    let target = match packet.transport {
        Transport::Ports { protocol, destination, .. } => {
            let name = net::Transport::from_number(protocol).map_or("sctp", net::Transport::name);
            format!("{destination}/{name}")
        }
        Transport::Other(number) => format!("{number}/proto"),
        _ => "ping".to_owned(),
    };
    let by = match &packet.incoming {
        Interface::Named(name) => format!(", coming in by {name}"),
        _ => ", sent by this machine".to_owned(),
    };
    let out = match &packet.outgoing {
        Interface::Named(name) => format!(", leaving by {name}"),
        _ => String::new(),
    };
    let port = match packet.transport {
        Transport::Ports { source: Some(port), .. } => format!(" port {port}"),
        _ => String::new(),
    };
    format!("{target} from {}{port} to {}{by}{out}", packet.source, packet.destination)
}
