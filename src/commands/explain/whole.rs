//! A connection from many sources at once: a network, a group, everyone, containers.

use super::asked::{Asked, Sender, Target, group_of};
use super::{CANT_TELL, DENIED, MOST_MESSAGES, Question};
use crate::commands::Report;
use crate::commands::exposure::{Found, Kernel};
use crate::error::Error;
use crate::exposure::{Judged, JudgedPart, Sources, Whole, judge};
use crate::net::Addresses;
use crate::printable::printable;
use crate::simulate::Routes as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many ranges of addresses a line names.
const SHOWN: usize = 4;

pub(super) fn report(
    question: &Question<'_>,
    asked: &Asked,
    sender: &Sender,
    found: &Found,
) -> Result<Report, Error> {
    let args = question.args;
    if args.out.is_some() || args.user.is_some() {
        return Err(Error::Declined(
            "--out and --user need a single address: `--from ADDR` or `--from host`".to_owned(),
        ));
    }
    if let Some(on) = &args.on {
        question.routing.index(on).map_err(|why| Error::Declined(why.into_owned()))?;
    }
    let (mut addresses, mut interfaces) = (Addresses::default(), BTreeSet::new());
    let name = match sender {
        Sender::Any => "any".to_owned(),
        Sender::Containers => "containers".to_owned(),
        Sender::Range(range, words) => {
            addresses = std::iter::once(*range).collect();
            words.clone()
        }
        Sender::Group(name) => {
            (addresses, interfaces) = group_of(name, question.policy)?;
            name.clone()
        }
        Sender::Host | Sender::Address(_) => return Err(Error::Declined("pass one address".to_owned())),
    };
    let sources = match sender {
        Sender::Any => Sources::Any,
        Sender::Containers => Sources::Containers,
        // An address of a policy never means a container's.
        _ => Sources::Listed {
            addresses: &addresses,
            interfaces: &interfaces,
            containers: matches!(sender, Sender::Range(..)),
        },
    };
    let planned = question.desired.map(|desired| (&desired.id, &desired.table));
    let judged: Vec<(Target, Vec<JudgedPart>)> = question.socket.ask_live(|live| {
        let kernel = Kernel { socket: question.socket, routing: question.routing, live, planned };
        kernel.on_machine(found, MOST_MESSAGES, |machine| {
            let one = |target: &Target| {
                let (protocol, port) = target.numbers();
                let whole = Whole { sources, protocol, port, to: args.to, on: args.on.as_deref() };
                (*target, judge(machine, &whole))
            };
            asked.targets.iter().map(one).collect()
        })
    })??;
    written(&name, &judged, asked, question.in_json)
}

/// The answer. Only programs are told each part: there may be a hundred thousand.
fn written(name: &str, judged: &[(Target, Vec<JudgedPart>)], asked: &Asked, in_json: bool) -> Result<Report, Error> {
    let mut text = String::new();
    let mut connections: Vec<Value> = Vec::new();
    let mut statuses = BTreeSet::new();
    for (target, parts) in judged {
        if parts.is_empty() {
            return Err(Error::Declined(nobody(name)));
        }
        let (status, sentence) = sentence(parts);
        let _ = writeln!(text, "{}", printable(&format!("{} from {name}: {sentence}", target.words())));
        whys(parts, &mut text);
        statuses.insert(status);
        let mut connection = Map::from_iter([
            ("asked".to_owned(), target.words().into()),
            ("verdict".to_owned(), verdict_of(status).into()),
        ]);
        if in_json {
            connection.insert("parts".to_owned(), parts.iter().map(part_json).collect());
        }
        connections.push(connection.into());
    }
    if let Some(note) = &asked.note {
        let _ = writeln!(text, "{note}");
    }
    let status = if statuses.contains(&DENIED) {
        DENIED
    } else if statuses.contains(&CANT_TELL) {
        CANT_TELL
    } else {
        0
    };
    if let Some(example) = example(judged) {
        let _ = write!(text, "\neach rule that one of them meets:\n  {example}\n");
    }
    let parts = match connections.as_slice() {
        [one] => one.get("parts").cloned(),
        _ => None,
    };
    let json = json!({ "verdict": verdict_of(status), "steps": [], "from": name, "note": asked.note });
    let report = Report { status, text: text.into(), json };
    // `json!` would copy them.
    Ok(report.with("parts", parts.into()).with("connections", connections.into()))
}

const fn verdict_of(status: u8) -> &'static str {
    match status {
        0 => "allow",
        DENIED => "deny",
        _ => "unknown",
    }
}

/// Why nobody can be meant.
fn nobody(name: &str) -> String {
    match name {
        "containers" => "this machine has no interface of containers with an address: nobody can be meant".to_owned(),
        name => format!(
            "nobody with an address of {name} can open a connection here, by the interfaces and routes of this machine"
        ),
    }
}

/// The exit status for these parts, and the verdicts: `203.0.113.9 is allowed, the rest is denied`.
fn sentence(parts: &[JudgedPart]) -> (u8, String) {
    let of = |is: fn(&Judged) -> bool| parts.iter().filter(|part| is(&part.verdict)).collect::<Vec<_>>();
    let allowed = of(|verdict| *verdict == Judged::Allowed);
    let denied = of(|verdict| *verdict == Judged::Denied);
    let unknown = of(|verdict| matches!(verdict, Judged::Unknown(_)));
    let status = match (denied.len(), unknown.len()) {
        (0, 0) => 0,
        (0, _) => CANT_TELL,
        _ => DENIED,
    };
    let mut kinds = [(allowed, "allowed"), (denied, "denied"), (unknown, "can't be told")];
    if let Some((_, verdict)) = kinds.iter().find(|(of, _)| of.len() == parts.len()) {
        let words =
            if *verdict == "can't be told" { "it can't be told".to_owned() } else { format!("all are {verdict}") };
        return (status, words);
    }
    // The one with most parts is the rest.
    kinds.sort_by_key(|(of, _)| of.len());
    let words = |of: &[&JudgedPart], verdict: &str| {
        let ranges = ranges(of);
        let ranges_in_short = in_short(&ranges);
        match (verdict, ranges.len()) {
            ("can't be told", _) => format!("for {ranges_in_short} it can't be told"),
            (_, 1) => format!("{ranges_in_short} is {verdict}"),
            (_, _) => format!("{ranges_in_short} are {verdict}"),
        }
    };
    let named: Vec<String> =
        kinds[..2].iter().filter(|(of, _)| !of.is_empty()).map(|(of, verdict)| words(of, verdict)).collect();
    let rest = match kinds[2].1 {
        "can't be told" => "for the rest it can't be told".to_owned(),
        verdict => format!("the rest is {verdict}"),
    };
    (status, format!("{}, {rest}", named.join(", ")))
}

/// Why it can't be told for some, once each.
fn whys(parts: &[JudgedPart], text: &mut String) {
    let whys: BTreeSet<&str> = parts
        .iter()
        .filter_map(|part| match &part.verdict {
            Judged::Unknown(why) => Some(why.as_ref()),
            Judged::Allowed | Judged::Denied => None,
        })
        .collect();
    for why in whys {
        let _ = writeln!(text, "  can't tell: {}", printable(why));
    }
}

/// The addresses of these parts, each with its interface where only there it is so.
fn ranges(parts: &[&JudgedPart]) -> Vec<String> {
    let (mut ranges, mut known) = (Vec::new(), BTreeSet::new());
    for part in parts {
        let words = part.version.words(part.interval.0, part.interval.1);
        let words = if part.containers { format!("{words} (containers of {})", part.by) } else { words };
        if known.insert(words.clone()) {
            ranges.push(words);
        }
    }
    ranges
}

fn in_short(ranges: &[String]) -> String {
    match ranges.get(..SHOWN).filter(|_| ranges.len() > SHOWN + 1) {
        Some(shown) => format!("{} and {} more", shown.join(", "), ranges.len() - SHOWN),
        None => ranges.join(", "),
    }
}

/// The question about one address of the part that the fewest are alike.
fn example(judged: &[(Target, Vec<JudgedPart>)]) -> Option<String> {
    let (target, parts) = judged.first()?;
    let denied = parts.iter().find(|part| part.verdict == Judged::Denied);
    let part = denied.or_else(|| parts.first())?;
    let (first, last) = part.interval;
    // The first address of a network is the network's own, and the next one often a router's.
    let one = first.saturating_add(9).min(last);
    let address = part.version.address(one)?;
    Some(format!("palisade explain {} --from {address}", target.words()))
}

fn part_json(part: &JudgedPart) -> Value {
    let (verdict, why) = match &part.verdict {
        Judged::Allowed => ("allow", None),
        Judged::Denied => ("deny", None),
        Judged::Unknown(why) => ("unknown", Some(why.as_ref())),
    };
    json!({ "from": part.version.words(part.interval.0, part.interval.1), "by": part.by, "verdict": verdict, "why": why })
}
