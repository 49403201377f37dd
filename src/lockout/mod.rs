//! Tells whether a policy would lock its operator out.
//!
//! It asks the compiled rules, not the policy's text: they must pass the first packet of a new connection like the
//! session's, the answer to it and what follows, and lead it to the SSH server. Other tables can drop them, too, see
//! [`Beside`].

mod beside;
mod outer;
mod refusal;
mod remedy;
pub mod sessions;
#[cfg(test)]
mod tests;

pub use beside::{Beside, Dropped};
pub use refusal::{Lockout, Lockouts};
pub use remedy::{Change, Remedy};

use crate::compile::is_behind_a_rule;
use crate::machine::Session;
use crate::net::IfName;
use crate::resolve::Resolved;
use crate::ruleset::{Expr, KeyType, MetaKey, Set, SetRef, Table, TableId, dnat, provenance::without_prefix};
use crate::simulate::{
    Effect, Interface, Packet, Step, Trace, Translation, Transport, Verdict, open_through_table, simulate_table,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Rules that are to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The table's name.
    pub id: &'a TableId,
    /// The table.
    pub table: &'a Table,
    /// The policy that it is compiled from; `None` for a kept ruleset. Without it no change is named that would let a
    /// session in.
    pub policy: Option<&'a Resolved>,
    /// The tables of all programs, this one in place of palisade's; `None` if they can't be read.
    pub beside: Option<&'a Beside<'a>>,
}

impl Candidate<'_> {
    /// Fails if the session that this process is run from could not connect again.
    ///
    /// For other people's sessions it logs a warning with the rule, but names no change to let them in: whether to is
    /// the operator's decision. If it can't be told, it warns and does not fail.
    ///
    /// # Errors
    /// This process's own sessions that could not connect again, with the rules that deny them and what to change.
    pub fn check(&self, sessions: &[Session]) -> Result<(), Lockouts> {
        let mut lockouts = Vec::new();
        for session in sessions {
            match self.lockout(session) {
                Some(lockout) if session.own => lockouts.push(lockout),
                Some(lockout) => lockout.warn(),
                None => {}
            }
        }
        if lockouts.is_empty() { Ok(()) } else { Err(Lockouts(lockouts)) }
    }

    /// The changes of the policy that let a session in that these rules deny; `None` if those that were tried do not,
    /// or if the policy is not known.
    #[must_use]
    pub fn changes_for(&self, session: &Session) -> Option<Vec<Change>> {
        self.policy.and_then(|policy| remedy::changes(self, policy, session)).map(|(changes, _)| changes)
    }

    /// Why a session could not connect again, if that is certain.
    fn lockout(&self, session: &Session) -> Option<Lockout> {
        match next(self.id, self.table, session) {
            Next::Denied(trace) => {
                let denying = denial(&trace).or_else(|| trace.denied_by());
                let denied_by = denying.map_or_else(|| "rules that can't be followed".to_owned(), sentence);
                return Some(self.refused(session, denied_by));
            }
            Next::Led(to, by) => return Some(self.refused(session, format!("sent to {to} instead: {by}"))),
            Next::Untold(trace) => {
                let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt);
                tracing::warn!("{session}: can't tell whether it could connect again: {doubt}");
            }
            Next::LetIn => {}
        }
        let beside = self.beside?;
        let dropped = beside.drops(session);
        if let (None, Some(doubt)) = (&dropped, beside.doubt(session)) {
            tracing::info!("{session}: can't tell what the tables of others do to it: {doubt}");
        }
        dropped.map(|dropped| Lockout {
            session: session.clone(),
            denied_by: dropped.by,
            remedy: Remedy::Elsewhere(dropped.remedy),
        })
    }

    /// A session that these rules deny, with the change that lets it in. Other people's get no remedy.
    fn refused(&self, session: &Session, denied_by: String) -> Lockout {
        let policy = self.policy.filter(|_| session.own);
        let remedy = policy.map_or(Remedy::NotAsked, |policy| remedy::find(self, policy, session));
        Lockout { session: session.clone(), denied_by, remedy }
    }
}

/// What becomes of a new connection like a session's.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// The rules let it in.
    LetIn,
    /// They deny it.
    Denied(Trace<'a>),
    /// They send it to another address or port than the SSH server's, by this rule.
    Led(SocketAddr, String),
    /// It can't be told.
    Untold(Trace<'a>),
}

impl Next<'_> {
    /// Whether the session certainly can't connect again.
    fn is_lockout(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Led(..))
    }
}

/// The rules' verdict on a new connection like the session's. If the interface is unknown, only a verdict that is the
/// same on every interface but the loopback is certain.
pub(crate) fn next<'a>(id: &'a TableId, table: &'a Table, session: &Session) -> Next<'a> {
    let (client, server) = (session.client, session.server);
    let asked = session.asked_for();
    let translated = session.asked.map(|_| Translation { address: server.ip(), port: Some(server.port()) });
    let packet = Packet::to_machine(client, asked.ip(), Transport::tcp(asked.port()));
    let packet = Packet { translated, ..packet };
    let on = |interface: Interface| opened(id, table, &Packet { incoming: interface, ..packet.clone() }, session);
    match &session.interface {
        Some(name) => on(Interface::Named(name.clone())),
        // A connection from a loopback address, or from the machine to itself, uses the loopback.
        None if client.is_loopback() || client == server.ip() => on(Interface::Named("lo".to_owned())),
        None => {
            let unknown = on(Interface::Unknown);
            if matches!(unknown, Next::LetIn | Next::Led(..)) {
                return unknown;
            }
            let all: Vec<_> = telling_apart(table).into_iter().map(|name| on(Interface::Named(name))).collect();
            if all.iter().all(Next::is_lockout) { all.into_iter().next().unwrap_or(unknown) } else { unknown }
        }
    }
}

/// The rules' verdict on the first packet, its answer and what follows it: that of the first which does not pass. The
/// first has to be led to the session's server.
fn opened<'a>(id: &'a TableId, table: &'a Table, packet: &Packet, session: &Session) -> Next<'a> {
    let mut opened = open_through_table(id, table, packet);
    let led = opened.first().and_then(|(_, first)| led(first, session));
    let trace = opened.pop().map_or_else(|| simulate_table(id, table, packet), |(_, trace)| trace);
    match led {
        _ if trace.outcomes.never_pass() => Next::Denied(trace),
        Some((to, by)) => Next::Led(to, by),
        None if trace.verdict == Verdict::Allow => Next::LetIn,
        None => Next::Untold(trace),
    }
}

/// Where a rule of the table certainly sends the first packet, if that is not where the session's server listens.
fn led(first: &Trace<'_>, session: &Session) -> Option<(SocketAddr, String)> {
    let translation = |step: &Step<'_>| {
        let (_, rule) = step.rule.filter(|_| step.certain)?;
        let no_sets = BTreeMap::new();
        let to = dnat(step.table.family, &no_sets, rule)?;
        let port = to.port.unwrap_or(session.asked_for().port());
        Some((SocketAddr::new(to.address?, port), sentence(step)))
    };
    first.steps.iter().find_map(translation).filter(|(to, _)| *to != session.server)
}

/// Interface names, one for each way in which the rules can tell interfaces apart: first one that no rule names, then
/// those that rules name or that begin a range, except the loopback.
fn telling_apart(table: &Table) -> Vec<String> {
    let mut named: BTreeSet<String> = BTreeSet::new();
    let of_set = |set: &Set| -> Vec<String> {
        let names = set.elements.bounds().map(|(first, _)| IfName::text(first));
        if set.spec.key == KeyType::IFNAME { names.collect() } else { Vec::new() }
    };
    named.extend(table.sets.values().flat_map(of_set));
    for rule in table.chains.values().flat_map(|chain| &chain.rules) {
        let by_interface = rule.exprs.iter().any(|expr| matches!(expr, Expr::Meta { key: MetaKey::Iifname, .. }));
        for expr in rule.exprs.iter().filter(|_| by_interface) {
            match expr {
                Expr::Cmp { data, .. } => {
                    named.insert(IfName::text(data));
                }
                Expr::Lookup { set: SetRef::Anonymous(set), .. } => named.extend(of_set(set)),
                _ => {}
            }
        }
    }
    named.remove("lo");
    // No interface can have this name.
    std::iter::once("/".to_owned()).chain(named).collect()
}

/// The comment of a step, with its policy line; its text if it has no comment.
fn sentence(step: &Step<'_>) -> String {
    match step.comment() {
        Some(comment) => without_prefix(comment).to_owned(),
        None => format!("`{}` of chain {}", step.text(), step.chain),
    }
}

/// The step by which a service denies: it drops, or leads to the chains that log and refuse.
fn denial<'t, 'a>(trace: &'t Trace<'a>) -> Option<&'t Step<'a>> {
    let last = trace.denied_by()?;
    let by_service = is_of_service(last) || is_behind_a_rule(last.chain) || last.chain == "refused";
    let denies = |step: &&Step<'a>| is_of_service(step) && matches!(step.effect, Effect::Goto(_) | Effect::Drop);
    trace.steps.iter().rev().find(denies).filter(|_| by_service)
}

/// Whether a step is in the chain of a service.
fn is_of_service(step: &Step<'_>) -> bool {
    step.chain.strip_prefix("service-").is_some_and(|name| !name.contains('.'))
}
