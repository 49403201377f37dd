//! `palisade apply`

use super::{Desired, Report, lock};
use crate::changes::changes;
use crate::delta::delta;
use crate::enforce::enforce;
use crate::error::Error;
use crate::loaded;
use crate::netlink::Socket;
use crate::privileges::keep_net_admin_alone;
use crate::render;
use crate::ruleset::Table;
use crate::state::State;
use serde_json::json;
use std::path::Path;
use std::time::SystemTime;

pub(super) fn run(path: &Path, state: &State, dry_run: bool) -> Result<Report, Error> {
    // Before the policy is read, so that of two applies at once the later one loads what is newest.
    let _lock = if dry_run { None } else { Some(lock(state, "apply")?) };
    let mut desired = Desired::load(path)?;
    keep_net_admin_alone("apply")?;
    let socket = Socket::open()?;
    desired.table.comment = desired.table.comment.map(|comment| loaded::stamp(&comment, SystemTime::now()));
    if dry_run {
        return plan(&socket, &desired);
    }
    let enforced = enforce(&socket, &desired.id, Some(&desired.table))?;
    let kept = keep(state, &desired.table, path);
    let text = match enforced.operations {
        0 => "nothing to do: the kernel already holds this policy\n".to_owned(),
        1 => "applied: 1 operation, verified\n".to_owned(),
        operations => format!("applied: {operations} operations, verified\n"),
    };
    let json = json!({
        "applied": true,
        "operations": enforced.operations,
        "attempts": enforced.attempts,
        "in_sync": true,
        "kept": kept,
    });
    Ok(Report::ok(text, json))
}

/// Keeps what the kernel holds for the next boot. That it can't be kept is no reason to give up what is in force.
fn keep(state: &State, table: &Table, policy: &Path) -> bool {
    let kept = state.keep(table, policy).and_then(|()| state.forget_boot());
    if let Err(error) = &kept {
        tracing::error!(
            "the rules are in force, but {error}: should the policy fail at the next boot, an older ruleset is loaded"
        );
    }
    kept.is_ok()
}

fn plan(socket: &Socket, desired: &Desired) -> Result<Report, Error> {
    let live = socket.snapshot(&desired.id)?.table;
    let transaction = delta(&desired.id, live.as_ref(), Some(&desired.table));
    let text = match transaction.ops.is_empty() {
        true => "# nothing to do: the kernel already holds this policy\n".to_owned(),
        false => render::transaction(&transaction),
    };
    let changes = changes(&desired.id, live.as_ref(), Some(&desired.table));
    let commands = render::commands(&transaction);
    let json = json!({ "applied": false, "in_sync": changes.is_empty(), "changes": changes, "commands": commands });
    Ok(Report::ok(text, json))
}
