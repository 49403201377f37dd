//! The plan of an `apply`, for the commands that show it.

use super::exposure::{Found, Kernel};
use super::prompt::is_person;
use super::{Desired, Report};
use crate::access::AccessChange;
use crate::delta::{Change, delta};
use crate::error::Error;
use crate::lockout::Lockouts;
use crate::machine::Session;
use crate::netlink::routing::Routing;
use crate::netlink::{Reading, Socket};
use crate::plan::{Given, Lines, Plan};
use crate::printable::Text;
use crate::process::progress::doing;
use crate::render;
use crate::render::changes::shown;
use crate::ruleset::{Table, Transaction};
use crate::state::State;
use serde_json::json;
use tracing::Level;

/// The plan of replacing the live table with the desired one, whose differences are known.
pub(super) fn planned(
    socket: &Socket,
    found: &Result<Found, Error>,
    desired: &Desired,
    live: Option<&Table>,
    (changes, access, operations): (&[Change], &[AccessChange], usize),
    sessions: Vec<(String, bool)>,
) -> Plan {
    let _doing = doing("asking who reaches which port");
    let exposure = found.as_ref().map_err(ToString::to_string).and_then(|found| {
        let routing = Routing::open().map_err(|error| error.to_string())?;
        let both = socket.ask_live(|live| {
            let kernel = Kernel { socket, routing: &routing, live, planned: None };
            let after = Kernel { planned: Some((&desired.id, &desired.table)), ..kernel };
            Ok::<_, Error>([kernel.exposed(found)?, after.exposed(found)?])
        });
        both.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    });
    let mut plan =
        Plan::new(Given { lines: Lines::new(live, &desired.table, changes), operations, access, exposure, sessions });
    let lines = plan.unheard.iter_mut().chain(&mut plan.elsewhere);
    lines.for_each(|line| *line = desired.beside_addresses(line));
    plan
}

/// The exit status of a dry run that would be refused.
const REFUSED: u8 = 4;

/// Whether a plan is shown beside what is done: somebody sits at a terminal, or wants to hear everything.
pub(super) fn is_shown() -> bool {
    is_person() || tracing::enabled!(Level::INFO)
}

/// A plan with its transaction.
pub(super) struct Shown {
    /// `None` if nothing changes.
    plan: Option<Plan>,
    transaction: Transaction,
    changes: Vec<Change>,
    access: Vec<AccessChange>,
}

impl Shown {
    /// Compares the live table with the desired one.
    pub(super) fn new(
        (socket, state): (&Socket, &State),
        desired: &Desired,
        found: &Result<Found, Error>,
        sessions: Vec<(String, bool)>,
        deep: bool,
    ) -> Result<Self, Error> {
        let reading = (&desired.table, state);
        let live = socket.snapshot_reading(&desired.id, Reading::new(&reading, deep))?.table;
        let transaction = delta(&desired.id, live.as_ref(), Some(&desired.table));
        let (changes, access) = desired.differs_from(live.as_ref());
        let operations = transaction.ops.len();
        let plan = (operations > 0)
            .then(|| planned(socket, found, desired, live.as_ref(), (&changes, &access, operations), sessions));
        Ok(Self { plan, transaction, changes, access })
    }

    /// Fails if the kernel's table has changed since this plan was made.
    pub(super) fn still_holds(
        &self,
        (socket, state): (&Socket, &State),
        desired: &Desired,
        deep: bool,
    ) -> Result<(), Error> {
        let reading = (&desired.table, state);
        let live = socket.snapshot_reading(&desired.id, Reading::new(&reading, deep))?.table;
        if delta(&desired.id, live.as_ref(), Some(&desired.table)).ops == self.transaction.ops {
            return Ok(());
        }
        let why = "not applied: somebody has changed the rules since you were asked; apply again to see the new plan";
        Err(Error::Declined(why.to_owned()))
    }

    /// The plan, if somebody loses a port that somebody listens on.
    pub(super) fn takes_away(&self) -> Option<String> {
        self.plan.as_ref().filter(|plan| plan.takes_away()).map(Plan::text)
    }

    /// A report of what was done; with the plan before it, unless somebody has read that already.
    pub(super) fn before(&self, report: Report, is_read: bool) -> Report {
        let Some(plan) = &self.plan else { return report };
        let mut text = Text::default();
        if !is_read {
            text.push(&format!("{}\n", plan.text()));
        }
        text.push(report.text.as_str());
        Report { text, ..report }.with("plan", plan.json())
    }

    /// The report of a dry run.
    pub(super) fn report(&self, desired: &Desired, refused: &[Error], nft: bool) -> Report {
        let mut text = match &self.plan {
            None => "nothing to do: the kernel already holds this policy\n".to_owned(),
            Some(plan) => plan.text(),
        };
        if self.plan.is_some() && (nft || tracing::enabled!(Level::INFO)) {
            text.push_str(&format!("\n{}", render::transaction(&self.transaction)));
            text.extend(desired.access_lines(&self.access).iter().map(|line| format!("# {line}\n")));
        }
        let refused: Vec<String> = refused.iter().map(|error| error.in_full(false)).collect();
        for words in &refused {
            text.push_str(&format!("\n`palisade apply` would refuse this:\n{words}\n"));
        }
        let json = json!({
            "applied": false,
            "in_sync": self.changes.is_empty(),
            "changes": shown(&desired.id, &self.changes),
            "access": self.access,
            "commands": render::commands(&self.transaction),
            "refused": refused,
        });
        let status = if refused.is_empty() { 0 } else { REFUSED };
        let report = Report { status, text: text.into(), json };
        match &self.plan {
            Some(plan) => report.with("plan", plan.json()),
            None => report,
        }
    }
}

/// The SSH sessions that this command is run from, in words, each with whether it could connect again.
pub(super) fn own_sessions(present: &[Session], kept: &Result<(), Lockouts>) -> Vec<(String, bool)> {
    let locked_out = |session: &Session| match kept {
        Ok(()) => false,
        Err(Lockouts(lockouts)) => lockouts.iter().any(|lockout| lockout.session == *session),
    };
    let own = present.iter().filter(|session| session.own);
    own.map(|session| (session.to_string(), !locked_out(session))).collect()
}
