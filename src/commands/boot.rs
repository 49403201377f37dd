//! `palisade boot`: the policy, or the best there is instead.

use super::{Desired, Report, loading, waiting, writer};
use crate::compile::compile;
use crate::error::Error;
use crate::lockdown::{lockdown, ssh_ports};
use crate::netlink::{Reading, Socket};
use crate::policy::Problems;
use crate::privileges::{Confinement, need_net_admin};
use crate::ruleset::{Table, TableId};
use crate::state::{Booted, Identity, Source, State};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

pub(super) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("boot")?;
    // Rules that meet another writer's are better than none.
    let lock = state.lock("boot").inspect_err(|error| tracing::error!("{error}; loading all the same"));
    let confined = Confinement::begin(writer(state));
    let policy = Desired::load_for_boot(path).map_err(|error| say_problems(&error));
    let ports = ssh_ports();
    confined.keep_net_admin("boot")?;
    let boot = Boot { socket: Socket::open()?, id: TableId::palisade(), state };

    let waits = boot.unconfirmed();
    if let Unconfirmed::Waits(left) = waits {
        let text =
            format!("nothing to do: a change waits for confirmation for another {}\n", waiting::in_words(left));
        return Ok(Report::ok(text, json!({ "booted_from": null, "why": "a change waits for confirmation" })));
    }
    let (booted, operations) = boot.best(&waits, policy.as_ref(), &ports)?;
    if let (Source::Policy, Ok(desired), Ok(_)) = (booted.from, &policy, &lock) {
        let kept = state.keep(&desired.table, path);
        let _ = kept.inspect_err(|error| tracing::error!("{error}: the ruleset to fall back on is an older one"));
    }
    let noted = state.note_boot(&booted);
    let _ = noted.inspect_err(|error| tracing::warn!("{error}: `palisade status` will not say so"));
    let text = match &booted.why {
        None => format!("loaded {}, {}\n", booted.from, path.display()),
        Some(why) => {
            tracing::error!("loaded {}, since {why}", booted.from);
            String::new()
        }
    };
    Ok(Report::ok(text, json!({ "booted_from": booted.from, "why": booted.why, "operations": operations })))
}

/// What became of a change that waited for confirmation.
enum Unconfirmed {
    /// There is none.
    None,
    /// It still waits: this is no boot, the unit was started again.
    Waits(Duration),
    /// Nobody confirmed it in time; with why that matters, and what was loaded before it, if there was a table.
    Over(String, Option<Table>),
}

struct Boot<'a> {
    socket: Socket,
    id: TableId,
    state: &'a State,
}

impl Boot<'_> {
    /// What became of the change that waited when this machine was stopped.
    fn unconfirmed(&self) -> Unconfirmed {
        let Some(change) = waiting::pending(self.state) else { return Unconfirmed::None };
        if let Some(left) = change.left() {
            return Unconfirmed::Waits(left);
        }
        let why = format!("nobody has confirmed the change to {}", change.policy.display());
        let previous = self.state.previous().inspect_err(|error| tracing::error!("{error}")).ok();
        Unconfirmed::Over(why, previous.and_then(|previous| previous.table))
    }

    /// Loads the best that can be loaded, and gives how many operations it took.
    fn best(
        &self,
        waits: &Unconfirmed,
        policy: Result<&Desired, &String>,
        ports: &BTreeSet<u16>,
    ) -> Result<(Booted, usize), Error> {
        let mut reasons = Vec::new();
        if let Unconfirmed::Over(why, previous) = waits {
            reasons.push(why.clone());
            let loaded = previous.as_ref().map(|table| self.load(table));
            let forgotten = waiting::forget(self.state, self.state.previous().ok().as_ref());
            let _ = forgotten.inspect_err(|error| tracing::error!("{error}: the next boot undoes the change again"));
            match loaded {
                Some(Ok(operations)) => {
                    return Ok((Booted { from: Source::Previous, why: Some(why.clone()) }, operations));
                }
                Some(Err(error)) => reasons.push(format!("what it replaced could not be loaded: {error}")),
                None => reasons.push("it replaced no ruleset".to_owned()),
            }
        }
        match self.policy(policy) {
            Ok(operations) => return Ok((Booted { from: Source::Policy, why: None }, operations)),
            Err(why) => reasons.push(why),
        }
        let booted = |from, reasons: &[String]| Booted { from, why: Some(reasons.join("; ")) };
        match self.last_good() {
            Ok(operations) => return Ok((booted(Source::LastGood, &reasons), operations)),
            Err(why) => reasons.push(why),
        }
        if self
            .socket
            .snapshot_reading(&self.id, Reading::ByDigest(self.state))
            .is_ok_and(|snapshot| snapshot.table.is_some())
        {
            return Ok((booted(Source::Live, &reasons), 0));
        }
        let table = compile(&lockdown(ports)).tables.remove(&self.id).unwrap_or_default();
        let operations = self.load(&table)?;
        Ok((booted(Source::Lockdown, &reasons), operations))
    }

    fn policy(&self, policy: Result<&Desired, &String>) -> Result<usize, String> {
        let desired = policy.map_err(Clone::clone)?;
        let identity = Identity::of(Some(&desired.table)).map_err(|error| error.to_string())?;
        if self.state.is_undone(&identity) {
            return Err(
                "the policy was undone and not applied since; `palisade apply` loads it all the same".to_owned()
            );
        }
        self.load(&desired.table).map_err(|error| format!("the policy could not be loaded: {error}"))
    }

    fn last_good(&self) -> Result<usize, String> {
        let (number, stored) = self.state.last_good().ok_or("no ruleset is kept to fall back on")?;
        let table = stored.table.unwrap_or_default();
        self.load(&table).map_err(|error| format!("the kept ruleset {number} could not be loaded: {error}"))
    }

    fn load(&self, table: &Table) -> Result<usize, Error> {
        Ok(loading::load(&self.socket, self.state, Some(table), false)?.operations)
    }
}

/// Says everything that is wrong with the policy, and gives it in short.
fn say_problems(error: &Error) -> String {
    let Error::Policy(problems) = error else { return error.to_string() };
    problems.for_log().for_each(|problem| tracing::error!("{problem}"));
    in_short(problems)
}

fn in_short(problems: &Problems) -> String {
    let problems = problems.problems();
    let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
    match problems.len() {
        0 | 1 => format!("the policy is not valid: {first}"),
        more => format!("the policy is not valid: {first}, and {} more", more - 1),
    }
}
