//! What an address reaches here.

use super::asked::Target;
use super::one::{Answer, Around, about, packet};
use super::{CANT_TELL, DENIED, MOST_MESSAGES, Question};
use crate::commands::Report;
use crate::commands::exposure::{Found, Kernel};
use crate::denied::services_about;
use crate::error::Error;
use crate::exposure::{Purpose, Row, open_ports, target_words};
use crate::net::{Transport, protocol};
use crate::printable::printable;
use crate::resolve::port_runs;
use crate::simulate::Packet;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

/// How many ports are asked about.
const MOST: usize = 1024;

/// How many denied ports are named.
const SHOWN: usize = 12;

/// A port to ask about: at which of this machine's addresses (`None` is the one towards the sender), and whose it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    protocol: u8,
    port: u16,
    /// The last port of a range that nothing tells apart.
    last: u16,
    at: Option<IpAddr>,
}

pub(super) fn report(
    question: &Question<'_>,
    from: IpAddr,
    found: &Found,
    around: &Around<'_>,
) -> Result<Report, Error> {
    let planned = question.desired.map(|desired| (&desired.id, &desired.table));
    let rows = question.socket.ask_live(|live| {
        let kernel = Kernel { socket: question.socket, routing: question.routing, live, planned };
        kernel.on_machine(found, MOST_MESSAGES, open_ports)
    })??;
    let (ports, others) = ports(question, from, &rows);
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut reached: Vec<Value> = Vec::new();
    let (mut denied, mut unknown) = (BTreeSet::new(), 0_usize);
    for (port, owners) in &ports {
        let target = target_of(port);
        let answer = ask(question, target, port.at, around)?;
        match answer.report.status {
            DENIED => {
                denied.insert(port.words());
            }
            status => {
                unknown += usize::from(status == CANT_TELL);
                let line = Line { target, port, owners, answer: &answer, from };
                lines.push(line.write(question, &mut reached));
            }
        }
    }
    let allowed = reached.len() - unknown;
    let (verdict, status) = match (allowed, unknown) {
        (0, 0) => ("deny", DENIED),
        (0, _) => ("unknown", CANT_TELL),
        _ => ("allow", 0),
    };
    let heading =
        if reached.is_empty() { format!("{from} reaches nothing here\n") } else { format!("{from} reaches\n") };
    let width = lines.iter().map(|(port, _)| port.len()).max().unwrap_or_default();
    let mut text = heading;
    for (port, notes) in &lines {
        let _ = writeln!(text, "  {port:width$}  {}", printable(notes));
    }
    if !denied.is_empty() {
        let named: Vec<&str> = denied.iter().map(String::as_str).take(SHOWN).collect();
        let more = denied.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(text, "denied: {}{more}", named.join(", "));
    }
    if others > 0 {
        let _ = writeln!(text, "not asked about: {others} more ports");
    }
    let rest = rest(question, &ports, around)?;
    let rest = rest.map(|(port, answer)| {
        let word = if answer.report.status == 0 { "allowed" } else { "denied" };
        let _ = writeln!(text, "every other port, such as {port}/tcp: {word}, {}", printable(&answer.reason));
        json!({ "such_as": format!("{port}/tcp"), "verdict": answer.report.json["verdict"], "reason": answer.reason })
    });
    let json =
        json!({ "verdict": verdict, "steps": [], "from": from, "reaches": reached, "denied": denied, "rest": rest });
    Ok(Report { status, text: text.into(), json })
}

impl Port {
    /// `9000/tcp`, `60000-61000/udp`
    fn words(&self) -> String {
        let words = target_words(self.protocol, self.port);
        match words.split_once('/') {
            Some((first, name)) if self.last != self.port => format!("{first}-{}/{name}", self.last),
            _ => words,
        }
    }
}

fn target_of(port: &Port) -> Target {
    match port.protocol {
        protocol::ICMP => Target::Ping,
        number if Transport::from_number(number).is_some() => Target::Port { protocol: number, port: port.port },
        number => Target::Protocol(number),
    }
}

fn ask(question: &Question<'_>, target: Target, at: Option<IpAddr>, around: &Around<'_>) -> Result<Answer, Error> {
    let packet = packet(question.args, target, question.routing)?;
    let destination = at.filter(|_| question.args.to.is_none()).unwrap_or(packet.destination);
    about(question, Packet { destination, ..packet }, around)
}

/// The ports that somebody listens on, that containers publish or that services have, each with its owners, and how many
/// more there are than are asked about. Of a range that no service and no rule tells apart, the first port is asked about.
fn ports(question: &Question<'_>, from: IpAddr, rows: &[Row]) -> (BTreeMap<Port, BTreeSet<String>>, usize) {
    let mut ports: BTreeMap<Port, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let owner = match row.purpose {
            Purpose::Process => row.owner.clone(),
            Purpose::Container if row.owner.is_empty() => "a container".to_owned(),
            Purpose::Container => format!("container {}", row.owner),
            Purpose::Forwarded => "forwarded".to_owned(),
        };
        for (address, both) in &row.bound {
            let is_of = address.is_ipv4() == from.is_ipv4() || *both && from.is_ipv4();
            if !is_of || address.is_loopback() && !from.is_loopback() || address.is_multicast() {
                continue;
            }
            let at = Some(*address).filter(|address| !address.is_unspecified());
            let port = Port { protocol: row.protocol, port: row.port, last: row.last, at };
            ports.entry(port).or_default().insert(owner.clone());
        }
    }
    let listened: BTreeSet<(u8, u16)> = ports.keys().map(|port| (port.protocol, port.port)).collect();
    let mut add = |protocol: u8, port: u16, last: u16, owner: &str| {
        if !listened.contains(&(protocol, port)) || last != port {
            ports.entry(Port { protocol, port, last, at: None }).or_default().insert(owner.to_owned());
        }
    };
    add(protocol::ICMP, 0, 0, "this machine");
    if let Some(policy) = question.policy {
        for transport in Transport::ALL {
            let services = policy.services.iter().map(|(name, service)| (name.as_str(), service));
            port_runs(services, transport, |first, last, _| {
                add(
                    transport.number(),
                    first,
                    last,
                    if first == last { "nothing listens" } else { "whoever listens" },
                );
            });
        }
        let numbers = policy.services.values().flat_map(|service| &service.protocols);
        numbers.for_each(|number| add(*number, 0, 0, "this machine"));
    }
    let others = ports.len().saturating_sub(MOST);
    (ports.into_iter().take(MOST).collect(), others)
}

/// What happens to a port that nobody has.
fn rest(
    question: &Question<'_>,
    ports: &BTreeMap<Port, BTreeSet<String>>,
    around: &Around<'_>,
) -> Result<Option<(u16, Answer)>, Error> {
    let has = |port: u16| {
        let in_policy = question.policy.is_some_and(|policy| {
            let mut all = policy.services.values().flat_map(|service| &service.ports);
            all.any(|ports| ports.transport == Transport::Tcp && (ports.first..=ports.last).contains(&port))
        });
        in_policy || ports.keys().any(|one| (one.protocol, one.port) == (protocol::TCP, port))
    };
    let Some(port) = (1..=61_007).rev().find(|port| !has(*port)) else { return Ok(None) };
    let answer = ask(question, Target::Port { protocol: protocol::TCP, port }, None, around)?;
    Ok(Some((port, answer)))
}

/// A port that the address reaches, or perhaps does.
struct Line<'l> {
    target: Target,
    port: &'l Port,
    owners: &'l BTreeSet<String>,
    answer: &'l Answer,
    from: IpAddr,
}

impl Line<'_> {
    /// The port, and what is said of it. Adds the same for programs.
    fn write(&self, question: &Question<'_>, reached: &mut Vec<Value>) -> (String, String) {
        let Self { target, port, owners, answer, from } = self;
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        let services: Vec<(&str, String)> = question
            .policy
            .zip(target.wanted())
            .map(|(policy, wanted)| {
                let about = services_about(policy, wanted).into_iter();
                about.map(|(name, service)| (name, policy.place(service.line))).collect()
            })
            .unwrap_or_default();
        let mut notes: Vec<String> = vec![owners.join(", ")];
        notes.extend(port.at.map(|at| format!("at {at}")));
        notes.extend(services.iter().map(|(name, place)| format!("service {name} ({place})")));
        notes.extend(answer.limit.as_ref().map(|limit| limit.words(*from)));
        notes.extend((answer.report.status == CANT_TELL).then(|| format!("can't tell: {}", answer.reason)));
        reached.push(json!({
            "port": port.words(),
            "at": port.at,
            "owners": owners,
            "services": services.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "verdict": answer.report.json["verdict"],
        }));
        (port.words(), notes.join(", "))
    }
}
