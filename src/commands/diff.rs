//! `palisade diff`

use super::{Desired, Report};
use crate::changes::{changes, unified};
use crate::error::Error;
use crate::netlink::Socket;
use crate::privileges::keep_net_admin_alone;
use serde_json::json;
use std::path::Path;

pub(super) fn run(path: &Path) -> Result<Report, Error> {
    let desired = Desired::load(path)?;
    keep_net_admin_alone("diff")?;
    let live = Socket::open()?.snapshot(&desired.id)?.table;
    let changes = changes(&desired.id, live.as_ref(), Some(&desired.table));
    let text = match live {
        None => format!("{} is not loaded: `palisade apply` loads it\n", desired.id),
        Some(_) => unified(&changes, &desired.id, &desired.table, &desired.policy.file),
    };
    let status = if changes.is_empty() { 0 } else { 2 };
    Ok(Report { status, text, json: json!({ "in_sync": changes.is_empty(), "changes": changes }) })
}
