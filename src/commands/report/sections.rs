//! The sections of the page, from what other commands compute.

use crate::commands::Desired;
use crate::commands::denied::{NOT_KNOWN, row, said};
use crate::commands::names;
use crate::commands::status::{NOT_ACTIVE, Status};
use crate::compile::Denial;
use crate::denied::Denied;
use crate::doctor::{Examined, Finding};
use crate::error::Error;
use crate::explain::owner_of;
use crate::exposure::{Listings, Told, doubts};
use crate::netlink::NetlinkError;
use crate::picture::{Block, Picture, Section, of_policy};
use crate::plan::Exposed;
use crate::render;
use crate::resolve::Resolved;
use crate::ruleset::Ruleset;
use crate::simulate::{Listed, Point, Sets, base_chains};
use std::path::Path;

/// How many of those who were denied are listed.
const MOST_DENIED: usize = 200;
/// How many ports are listed.
const MOST_PORTS: usize = 500;

/// What other commands answer.
pub(super) struct Answers {
    pub(super) exposed: Result<Exposed, Error>,
    pub(super) examined: Result<Examined, Error>,
    pub(super) denied: Result<Option<Vec<Denied>>, Error>,
    /// The policy that the present rules were made from.
    pub(super) applied: Option<Resolved>,
    pub(super) status: Result<Option<Status>, Error>,
    /// The policy as it is now.
    pub(super) desired: Result<Desired, Error>,
    pub(super) way: Result<Vec<Block>, NetlinkError>,
}

impl Answers {
    pub(super) fn sections(&self, path: &Path) -> Vec<Section> {
        let section = |id, title, blocks| Section { id, title, blocks };
        let way = self.way.as_ref().map_or_else(|error| vec![unknown(error)], Clone::clone);
        vec![
            section("map", "Who reaches what", self.map(path)),
            section("ports", "Open ports", self.ports()),
            section("findings", "What works against the policy", self.findings()),
            section("denied", "Denied within a day", self.denied()),
            section("status", "Status", self.status()),
            section("way", "The way of a packet", way),
        ]
    }

    fn map(&self, path: &Path) -> Vec<Block> {
        let loaded = self.status.as_ref().ok().and_then(|status| status.as_ref()?.policy.as_ref());
        let (policy, said) = match (loaded, &self.desired) {
            (Some(policy), _) => (Some(policy), Block::Words("By the policy that is loaded.".to_owned())),
            (None, Ok(desired)) => {
                let said = format!("By {}, which is not loaded, or not known to be.", path.display());
                (Some(&desired.policy), Block::Words(said))
            }
            (None, Err(error)) => {
                (None, Block::Unknown(format!("whom the policy means: {error}; `palisade check` says why")))
            }
        };
        let picture = policy.map(of_policy).unwrap_or_default();
        let picture = match &self.exposed {
            Ok(Exposed { rows, listings }) => picture.with_listeners(policy, rows, listings),
            Err(_) => picture,
        };
        let mut blocks = vec![said];
        blocks.extend((picture != Picture::default()).then_some(Block::Map(picture)));
        blocks
    }

    fn ports(&self) -> Vec<Block> {
        let Exposed { rows, listings } = match &self.exposed {
            Ok(exposed) => exposed,
            Err(error) => return vec![unknown(error)],
        };
        if rows.is_empty() {
            return vec![Block::Words("Nobody listens on this machine.".to_owned())];
        }
        let told = |row| told(row, listings);
        let cells = rows.iter().take(MOST_PORTS).map(told).collect();
        let mut blocks = vec![Block::Table(vec!["port", "owner", "reachable from"], cells)];
        blocks.extend(more(rows.len(), MOST_PORTS, "palisade exposure"));
        blocks.extend(doubts(rows).into_iter().map(|why| Block::Unknown(why.to_string())));
        blocks
    }

    fn findings(&self) -> Vec<Block> {
        let Examined { findings, ignored } = match &self.examined {
            Ok(examined) => examined,
            Err(error) => return vec![unknown(error)],
        };
        let block = |Finding { id, severity, message, help }: &Finding| Block::Finding {
            severity: severity.name(),
            id: (*id).to_owned(),
            message: message.clone(),
            help: help.clone(),
        };
        let mut blocks: Vec<Block> = findings.iter().map(block).collect();
        if findings.is_empty() {
            blocks.push(Block::Words("Nothing on this machine works against the policy.".to_owned()));
        }
        let because = |(finding, why): &(Finding, String)| Block::Words(format!("Ignored, {}: {why}", finding.id));
        blocks.extend(ignored.iter().map(because));
        blocks
    }

    fn denied(&self) -> Vec<Block> {
        let who = match &self.denied {
            Ok(Some(who)) => who,
            Ok(None) => return vec![Block::Words(capital(NOT_KNOWN.trim_end()))],
            Err(error) => return vec![unknown(error)],
        };
        if who.is_empty() {
            return vec![Block::Words("Nobody was denied within a day, as far as this is remembered.".to_owned())];
        }
        let mut blocks = Vec::new();
        for (towards, heading) in
            [(Denial::Incoming, None), (Denial::Forward, Some("On the way through this machine"))]
        {
            let of_these = who.iter().filter(|denied| denied.towards == towards).take(MOST_DENIED);
            let cells =
                |denied: &Denied| row(denied).into_iter().chain([said(denied, self.applied.as_ref())]).collect();
            let rows: Vec<Vec<String>> = of_these.map(cells).collect();
            if !rows.is_empty() {
                blocks.extend(heading.map(|heading| Block::Heading(heading.to_owned())));
                blocks.push(Block::Table(vec!["who", "port", "packets", "last", "why"], rows));
            }
        }
        blocks.extend(more(who.len(), MOST_DENIED, "palisade denied"));
        blocks
    }

    fn status(&self) -> Vec<Block> {
        let Status { text, lines, denied, .. } = match &self.status {
            Ok(Some(status)) => status,
            Ok(None) => return vec![Block::Words(capital(NOT_ACTIVE.trim_end()))],
            Err(error) => return vec![unknown(error)],
        };
        let mut blocks: Vec<Block> = text.lines().map(|line| Block::Words(capital(line))).collect();
        let cells = lines.cells();
        if !cells.is_empty() {
            blocks.push(Block::Table(vec!["section", "line", "what it says", "connections", "bytes"], cells));
        }
        let counted = denied
            .iter()
            .map(|(name, count)| vec![(*name).to_owned(), count.packets.to_string(), count.bytes.to_string()]);
        blocks.push(Block::Table(vec!["denied", "packets", "bytes"], counted.collect()));
        let names = self.desired.as_ref().map(|desired| names::table(&desired.policy.names)).unwrap_or_default();
        blocks.extend((!names.trim().is_empty()).then(|| Block::Lines(names.trim_matches('\n').to_owned())));
        blocks
    }
}

fn told(row: &crate::exposure::Row, listings: &Listings) -> Vec<String> {
    let Told { port, owner, who } = Told::new(row, listings);
    vec![port, owner, who]
}

fn unknown(error: &impl std::fmt::Display) -> Block {
    Block::Unknown(error.to_string())
}

/// That there are more than are listed.
fn more(count: usize, most: usize, command: &str) -> Option<Block> {
    let more = count.checked_sub(most).filter(|more| *more > 0)?;
    Some(Block::Words(format!("And {more} more: `{command}` lists all.")))
}

/// A sentence with a capital letter and a full stop.
fn capital(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", rest.as_str())
}

/// Every base chain, in the order in which packets pass them.
pub(super) fn way(rules: &Ruleset, sets: &dyn Sets) -> Vec<Block> {
    let mut blocks = vec![Block::Words(
        "To this machine: ingress, prerouting, input. Through it, and so to its containers: ingress, prerouting, forward, \
         postrouting, egress. From it: output, postrouting, egress. At each of them the chains run from the first to the last. \
         An accept ends one chain, a drop is final."
            .to_owned(),
    )];
    let points = base_chains(rules, sets);
    if points.is_empty() {
        blocks.push(Block::Words("No table has a base chain.".to_owned()));
    }
    let is_certain = points.values().flatten().all(|listed| listed.is_certain);
    for (point, chains) in points {
        blocks.push(Block::Heading(title(point)));
        let cells = chains.iter().zip(1..).map(|(listed, number)| cells(listed, number, rules)).collect();
        blocks.push(Block::Table(vec!["", "table", "chain", "of", "type", "priority", "policy", "rules"], cells));
    }
    if !is_certain {
        blocks.push(Block::Unknown(
            "which of the chains of one priority runs first, where a question mark stands: this kernel does not tell"
                .to_owned(),
        ));
    }
    blocks
}

fn cells(listed: &Listed<'_>, number: usize, rules: &Ruleset) -> Vec<String> {
    let Listed { id, name, chain, base, is_certain } = listed;
    let owner = owner_of(id, name, rules.tables.get(*id)).unwrap_or_default();
    let devices: Vec<&str> = base.devices.iter().map(String::as_str).collect();
    let at = if devices.is_empty() { String::new() } else { format!(", {}", devices.join(", ")) };
    vec![
        if *is_certain { number.to_string() } else { format!("{number} ?") },
        format!("{} {}", id.family, id.name),
        (*name).to_owned(),
        owner.to_owned(),
        format!("{}{at}", base.kind),
        render::priority(id.family, base.hook, base.priority),
        base.policy.to_string(),
        chain.rules.len().to_string(),
    ]
}

fn title(point: Point) -> String {
    match point {
        Point::Ingress => "ingress: where a packet comes in by an interface".to_owned(),
        Point::Prerouting => "prerouting: before the routing decides".to_owned(),
        Point::Input => "input: to this machine".to_owned(),
        Point::Forward => "forward: through this machine, to containers too".to_owned(),
        Point::Output => "output: from this machine".to_owned(),
        Point::Postrouting => "postrouting: before a packet leaves".to_owned(),
        Point::Egress => "egress: where a packet leaves by an interface".to_owned(),
        Point::Beside(family, hook) => {
            format!("{} of the family {family}, beside that way", render::hook_name(family, hook))
        }
    }
}
