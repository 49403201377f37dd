//! Makes the kernel hold a table: desired, snapshot, delta, commit, verify.

pub mod load;
mod present;
pub mod revoke;
pub mod stamp;
pub mod temporary;

pub use present::with_present;

use crate::delta::{changes, cost, delta, replacement};
use crate::netlink::{CommitError, NetlinkError, Reading, Snapshot, Socket, Watch, encode};
use crate::process::progress::{doing, in_thousands};
use crate::render;
use crate::ruleset::{Op, Provenance, Table, TableFlags, TableId, Transaction};
use crate::state::StateError;
use std::time::{Duration, Instant};

/// How long to recompute a transaction while others keep changing the ruleset.
///
/// On the first attempt nobody else may change the ruleset between snapshot and commit. After that a [`Watch`] tells
/// changes of other tables from changes of this one, and only the time from its answer to the commit must be
/// undisturbed: that succeeds within 25 attempts against a program that commits 16,000 times a second
/// (`tests/kernel_contention.rs`). It can't succeed against a program that keeps changing this very table.
const PATIENCE: Duration = Duration::from_secs(10);

/// The result of enforcing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Operations sent, counting each element as one; 0 if the kernel already held the table.
    pub operations: usize,
    /// How often the transaction was computed.
    pub attempts: u32,
    /// What the kernel held before the first operation was sent; `None` if the table did not exist.
    pub before: Option<Table>,
}

/// Why the kernel does not hold the table.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel refused an operation, and therefore the whole transaction.
    #[error("the kernel refused {object}{}: {why}; nothing was changed, the old rules are in force", .origin.as_ref().map(|o| format!(" ({o})")).unwrap_or_default())]
    Refused {
        /// The operation's object, in words.
        object: String,
        /// The policy line behind it.
        origin: Option<String>,
        /// The kernel's answer, in words.
        why: String,
    },
    /// The change exceeds what may be sent at once.
    #[error(transparent)]
    TooBig(CommitError),
    /// Others changed the ruleset between snapshot and commit each time, or undid our commit.
    #[error("another program keeps changing the firewall: gave up after {attempts} attempts, {}", if *.committed { "and what was loaded was changed at once by someone else; see `palisade diff`" } else { "nothing was changed" })]
    Contended {
        /// The number of attempts.
        attempts: u32,
        /// Whether a commit succeeded, but could not be verified.
        committed: bool,
    },
    /// Another program's socket owns the table, and the kernel lets nobody else change it.
    #[error(
        "another program has made {0} its own (`flags owner`), and the kernel lets nobody else change it: nothing was changed; `nft list {0}` names that program, and when it ends the table goes with it"
    )]
    Owned(TableId),
    /// The state has to be written before the kernel is changed, and can't be.
    #[error("{0}: nothing was changed")]
    State(StateError),
    /// The kernel accepted the transaction but holds a different table: a bug in palisade or in the kernel.
    #[error("the kernel took the rules and holds others:\n{0}")]
    Unverified(String),
}

impl EnforceError {
    /// Whether the rules may have changed despite the error.
    #[must_use]
    pub const fn has_changed_rules(&self) -> bool {
        matches!(self, Self::Unverified(_) | Self::Contended { committed: true, .. })
    }
}

/// Makes the kernel hold `desired` (`None`: no such table) and verifies it. `reading` says how to read large sets.
///
/// # Errors
/// [`EnforceError`]; unless it says otherwise, the old rules are in force.
pub fn enforce(
    socket: &Socket,
    id: &TableId,
    desired: Option<&Table>,
    reading: Reading<'_>,
) -> Result<Enforced, EnforceError> {
    enforce_within(PATIENCE, socket, id, desired, reading)
}

/// Like [`enforce`], but replaces a different table as a whole: none of its rules and comments are left.
///
/// # Errors
/// As [`enforce`].
pub fn replace(
    socket: &Socket,
    id: &TableId,
    desired: Option<&Table>,
    reading: Reading<'_>,
) -> Result<Enforced, EnforceError> {
    enforce_by(true, PATIENCE, socket, id, desired, reading)
}

/// Like [`enforce`], but after `patience` it begins no commit except the first.
///
/// # Errors
/// As [`enforce`].
pub fn enforce_within(
    patience: Duration,
    socket: &Socket,
    id: &TableId,
    desired: Option<&Table>,
    reading: Reading<'_>,
) -> Result<Enforced, EnforceError> {
    enforce_by(false, patience, socket, id, desired, reading)
}

fn enforce_by(
    mut whole: bool,
    patience: Duration,
    socket: &Socket,
    id: &TableId,
    desired: Option<&Table>,
    reading: Reading<'_>,
) -> Result<Enforced, EnforceError> {
    let (mut operations, mut committed, mut before, mut watch) = (0, None, None, None);
    let mut attempts = Attempts { begun: Instant::now(), patience, made: 0 };
    let (mut late, wanted) = (false, desired);
    while !late {
        // Read a commit back however long it took: at boot it waits while the kernel loads modules.
        late = attempts.next_is_late();
        let Some(snapshot) = read(socket, id, reading, watch.as_ref())? else {
            tracing::debug!("another program changed the firewall while it was read: reading anew");
            watch = watch.or_else(|| listen(socket, id));
            continue;
        };
        let desired = wanted.map(|table| table.later(attempts.begun.elapsed()));
        let desired = desired.as_deref();
        let mut transaction = delta(id, snapshot.table.as_ref(), desired);
        if transaction.ops.is_empty() {
            return Ok(Enforced { operations, attempts: attempts.made, before: before.unwrap_or(snapshot.table) });
        }
        if snapshot.table.as_ref().is_some_and(|table| table.flags.contains(TableFlags::OWNER)) {
            return Err(EnforceError::Owned(id.clone()));
        }
        let replaceable = desired.filter(|_| snapshot.table.is_some());
        if let (true, Some(desired)) = (whole, replaceable) {
            transaction = replacement(id, desired);
        }
        let outcome = match committed {
            // Nobody committed between ours and this snapshot, so the difference is our own.
            Some(genid) if snapshot.genid.wrapping_sub(genid) == 1 => Err(unverified(id, &snapshot, desired)),
            _ if late => break,
            _ => commit(socket, &transaction, &snapshot, watch.as_ref(), &mut attempts),
        };
        match outcome {
            Ok(Some(genid)) => {
                operations += cost(&transaction.ops);
                committed = Some(genid);
                before.get_or_insert(snapshot.table);
            }
            Ok(None) => {
                tracing::info!("another program changed the firewall meanwhile: computing anew");
                watch = watch.or_else(|| listen(socket, id));
            }
            Err(error @ (EnforceError::Refused { .. } | EnforceError::Unverified(_)))
                if replaceable.is_some() && !whole && !late =>
            {
                tracing::warn!("{error}; trying to replace {id} as a whole, which loses its counters");
                (committed, whole) = (None, true);
            }
            Err(error) => return Err(error),
        }
    }
    Err(EnforceError::Contended { attempts: attempts.made, committed: operations > 0 })
}

/// The number of attempts, and their time limit.
struct Attempts {
    begun: Instant,
    patience: Duration,
    made: u32,
}

impl Attempts {
    /// Counts an attempt and returns whether it is late. The first never is.
    fn next_is_late(&mut self) -> bool {
        self.made += 1;
        self.made > 1 && self.begun.elapsed() >= self.patience
    }
}

/// Watches other programs' changes. Without a watch, any of their changes counts as a change of this table.
fn listen<'a>(socket: &'a Socket, id: &'a TableId) -> Option<Watch<'a>> {
    socket.watch(id).inspect_err(|error| tracing::debug!("the kernel does not tell what others change: {error}")).ok()
}

/// Reads the table once. `None` if the ruleset changed meanwhile; with a watch, if this table changed.
fn read(
    socket: &Socket,
    id: &TableId,
    reading: Reading<'_>,
    watch: Option<&Watch<'_>>,
) -> Result<Option<Snapshot>, NetlinkError> {
    watch.map_or_else(|| socket.try_snapshot(id, reading), |watch| watch.try_snapshot(reading))
}

/// Tests whether the kernel accepts a table, in an empty network namespace that nobody else uses; nothing is read
/// back.
///
/// # Errors
/// As [`enforce`].
pub fn try_out(socket: &Socket, id: &TableId, desired: &Table) -> Result<(), EnforceError> {
    let unread = EnforceError::Contended { attempts: 1, committed: false };
    let Some(snapshot) = socket.try_snapshot(id, Reading::ByDigest(desired))? else { return Err(unread) };
    let transaction = delta(id, snapshot.table.as_ref(), Some(desired));
    let mut once = Attempts { begun: Instant::now(), patience: Duration::ZERO, made: 1 };
    commit(socket, &transaction, &snapshot, None, &mut once)?.map(drop).ok_or(unread)
}

/// Commits a transaction and returns the generation that it replaced; `None` if the ruleset changed since the
/// snapshot. With a watch, changes of other tables do not matter.
fn commit(
    socket: &Socket,
    transaction: &Transaction,
    snapshot: &Snapshot,
    watch: Option<&Watch<'_>>,
    attempts: &mut Attempts,
) -> Result<Option<u32>, EnforceError> {
    let operations = cost(&transaction.ops);
    let mut genid = snapshot.genid;
    tracing::debug!(genid, operations, "committing");
    let _doing = doing(format!("loading {} rules and elements", in_thousands(operations)));
    let mut batch = encode(transaction, &snapshot.handles, genid)
        .map_err(|error| refused(transaction, Some(error.op), error.problem.to_string()))?;
    loop {
        match socket.commit(&batch) {
            Ok(()) => return Ok(Some(genid)),
            Err(CommitError::Stale) => match watch.map(Watch::untouched).transpose()?.flatten() {
                Some(current) if !attempts.next_is_late() => genid = current,
                _ => return Ok(None),
            },
            Err(CommitError::Netlink(error)) => return Err(error.into()),
            Err(error @ CommitError::TooBig { .. }) => return Err(EnforceError::TooBig(error)),
            Err(CommitError::Refused { op, errno, text }) => {
                let text = text.map(|text| format!(" ({text})")).unwrap_or_default();
                return Err(refused(transaction, op, format!("{}{text}", errno.desc())));
            }
        }
        batch.set_generation(genid);
    }
}

fn refused(transaction: &Transaction, op: Option<usize>, why: String) -> EnforceError {
    let op = op.and_then(|op| transaction.ops.get(op));
    let object = op.map_or_else(|| "the transaction as a whole".to_owned(), |op| describe(&transaction.table, op));
    EnforceError::Refused { object, origin: op.and_then(origin), why }
}

/// An operation's object in words; for a rule with its text.
fn describe(id: &TableId, op: &Op) -> String {
    match op {
        Op::AddTable { .. } | Op::DeleteTable => id.to_string(),
        Op::AddChain { name, .. } | Op::SetPolicy { name, .. } | Op::DeleteChain { name } => format!("chain {name}"),
        Op::AddSet { name, .. } | Op::DeleteSet { name } => format!("set {name}"),
        Op::AddElements { set, elements, .. } | Op::DeleteElements { set, elements, .. } => {
            format!("{} elements of set {set}", elements.len())
        }
        Op::AddRule { chain, rule, .. } | Op::DeleteRule { chain, rule, .. } => {
            format!("the rule `{}` of chain {chain}", render::expressions(id.family, &rule.exprs))
        }
    }
}

/// The policy line in an operation's comment.
fn origin(op: &Op) -> Option<String> {
    let comment = match op {
        Op::AddTable { comment, .. } | Op::AddChain { comment, .. } => comment.as_ref(),
        Op::AddSet { spec, .. } | Op::AddElements { spec, .. } | Op::DeleteElements { spec, .. } => {
            spec.comment.as_ref()
        }
        Op::AddRule { rule, .. } | Op::DeleteRule { rule, .. } => rule.comment.as_ref(),
        Op::DeleteTable | Op::SetPolicy { .. } | Op::DeleteChain { .. } | Op::DeleteSet { .. } => None,
    };
    Provenance::read(comment?).map(|provenance| provenance.origin.to_string())
}

fn unverified(id: &TableId, snapshot: &Snapshot, desired: Option<&Table>) -> EnforceError {
    let changes = changes(id, snapshot.table.as_ref(), desired);
    let shown = render::changes::shown(id, &changes);
    let lines = shown.iter().map(|change| format!("  {} {}: {}", change.object, change.name, change.text));
    EnforceError::Unverified(lines.collect::<Vec<_>>().join("\n"))
}
