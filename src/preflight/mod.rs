//! Compares a policy with the machine that it is for, before it is applied.
//!
//! A policy may be valid and prove all that it expects, and still do something else on a given machine: an engine's
//! bridge has a name that no line names, a block list contains the gateway, an interface is spelled wrong. Each
//! [`Remark`] follows from the facts in [`Machine`] and, where rules decide, from the compiled rules themselves.

mod block;
mod bridges;
mod expected;
mod here;
mod kept;
mod names;
mod ports;
mod published;
#[cfg(test)]
mod tests;

pub use bridges::{containers_here, containers_line, is_named, with_containers};
pub use here::{remarks_here, remarks_on_kept};
pub use names::some;
pub use published::{Published, published};

use crate::lockout::Beside;
use crate::machine::Machine;
use crate::netlink::RoutedLink;
use crate::policy::{Diagnostic, Problems, Sources, Span};
use crate::printable::printable;
use crate::resolve::{Line, Resolved};
use crate::ruleset::Table;
use std::collections::BTreeSet;

/// A policy, and the machine that it is held against.
#[derive(Debug)]
pub struct Preflight<'a> {
    /// The policy.
    pub policy: &'a Resolved,
    /// Its table.
    pub table: &'a Table,
    /// The machine.
    pub machine: &'a Machine,
    /// The tables of all programs, the policy's in place of palisade's; `None` if they can't be read.
    pub beside: Option<&'a Beside<'a>>,
}

/// Something about which the policy and the machine disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub topic: Topic,
    /// How bad it is.
    pub weight: Weight,
    /// The policy's line, if there is one.
    pub line: Option<Line>,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// What to write or do instead.
    pub help: String,
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Containers behind an interface that the policy does not name.
    Bridge,
    /// Networks whose packets this machine forwards, and the policy denies.
    CutOff,
    /// A port that leads to another address.
    Published,
    /// A connection that the policy expects to be open, or shut.
    Expected,
    /// Something that this machine needs, in `block`.
    Block,
    /// Services, and sockets that listen.
    Ports,
    /// An interface's name.
    Name,
    /// A fact that could not be read.
    Unknown,
}

/// The weight of a remark, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// What the policy says or proves is not so on this machine. `check` fails; `apply` refuses unless it is forced.
    Error,
    /// It would probably cut this machine off. `check` warns; `apply` refuses unless it is forced.
    Refusal,
    /// It does probably not what its author wants. `check` and `apply` warn.
    Warning,
    /// Worth knowing when a policy is written. Only `check` says it.
    Note,
}

impl Remark {
    /// Makes a remark. Its texts contain names that others chose: terminal controls are made printable.
    fn new(
        topic: Topic,
        weight: Weight,
        line: Option<Line>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let shown = |text: String| printable(&text).into_owned();
        Self { topic, weight, line, message: shown(message.into()), help: shown(help.into()) }
    }
}

/// Remarks as problems and warnings, with the lines of these texts.
#[must_use]
pub fn diagnostics<'r>(remarks: impl IntoIterator<Item = &'r Remark>, sources: &Sources) -> Problems {
    let lines: Vec<Vec<Span>> = (0..sources.0.len()).map(|source| sources.lines(source).collect()).collect();
    let at = |line: Line| lines.get(line.source)?.get(usize::try_from(line.number).ok()?.checked_sub(1)?).copied();
    let diagnostic = |Remark { weight, line, message, help, .. }: &Remark| {
        let place = line.and_then(at);
        let told = place.map_or_else(|| Diagnostic::general(message), |span| Diagnostic::at(span, message));
        let told = if help.is_empty() { told } else { told.help(help) };
        if *weight == Weight::Error { told } else { told.warning() }
    };
    Problems::new(remarks.into_iter().map(diagnostic).collect(), sources.clone())
}

impl Preflight<'_> {
    /// All remarks, worst first.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        self.remarks_but_on_networks_of(&BTreeSet::new())
    }

    /// All remarks, worst first. The networks behind these interfaces are not named as cut off.
    #[must_use]
    pub fn remarks_but_on_networks_of(&self, interfaces: &BTreeSet<String>) -> Vec<Remark> {
        let mut remarks = self.bridges(interfaces);
        let published = self.published();
        let lines: BTreeSet<Option<Line>> = published.iter().map(|remark| remark.line).collect();
        remarks.extend(published);
        remarks.extend(self.expected().into_iter().filter(|remark| !lines.contains(&remark.line)));
        remarks.extend(self.block());
        remarks.extend(self.ports());
        remarks.extend(self.names());
        let unknown = |gap: &crate::machine::Gap| {
            let message = format!("the policy is not held against {}: {}", gap.what, gap.why);
            Remark::new(Topic::Unknown, Weight::Note, None, message, &gap.help)
        };
        remarks.extend(self.machine.gaps.iter().map(unknown));
        remarks.sort_by_key(|remark| remark.weight);
        remarks
    }

    /// The interfaces; none if they are unknown, which is a gap.
    fn links(&self) -> &[RoutedLink] {
        self.machine.links.as_deref().unwrap_or_default()
    }

    fn link(&self, name: &str) -> Option<&RoutedLink> {
        self.links().iter().find(|link| link.name == name)
    }

    /// The interface of the default route.
    fn way_out(&self) -> Option<&RoutedLink> {
        self.links().iter().find(|link| link.is_way_out && link.master.is_none())
    }
}
