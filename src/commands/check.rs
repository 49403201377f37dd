//! `palisade check`

use super::{Desired, Report, reader};
use crate::enforce::{EnforceError, try_out};
use crate::error::Error;
use crate::netlink::Socket;
use crate::process::privileges::{Confinement, Needs, may_change_firewall, may_make_namespaces};
use crate::ruleset::Origin;
use crate::state::State;
use serde_json::json;
use std::mem::ManuallyDrop;
use std::path::Path;

/// Check whether the policy is valid, without changing anything.
///
/// Reads, resolves and compiles the policy, proves what it expects, and reports all problems at once. As root, it also
/// loads the result in a throw-away network namespace, to see whether the kernel accepts it.
///
/// Exit status: 0 the policy is valid, 1 it is not.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    // Leaked on purpose: the process exits next, and freeing ten thousand services one by one takes time.
    let loaded = ManuallyDrop::new(Desired::load_as_expected(path)?);
    let (desired, warnings) = &*loaded;
    let file = path.display();
    if !may_change_firewall() || !may_make_namespaces() {
        confined.keep_nothing();
        let text = format!("{file} is valid; the kernel was not asked, which needs root\n");
        return Ok(Report::ok(
            text,
            json!({ "valid": true, "problems": [], "warnings": warnings, "kernel": "not asked" }),
        ));
    }
    let socket = Socket::open_in_new_namespace()?;
    confined.keep_net_admin("check")?;
    match try_out(&socket, &desired.id, &desired.table) {
        Ok(()) => {
            let text = format!("{file} is valid, and the kernel accepts it\n");
            Ok(Report::ok(text, json!({ "valid": true, "problems": [], "warnings": warnings, "kernel": "accepted" })))
        }
        Err(EnforceError::Refused { object, origin, why }) => {
            let message = format!("the kernel would refuse {object}: {why}");
            let line = origin.as_deref().and_then(|origin| Origin::read(origin).line());
            let at = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
            let problem = json!({
                "message": message,
                "file": file.to_string(),
                "line": line,
                "column": null,
                "help": null,
            });
            let json = json!({ "valid": false, "problems": [problem], "warnings": warnings, "kernel": "refused" });
            Ok(Report { status: 1, text: format!("{file} is not valid: {message}{at}\n").into(), json })
        }
        Err(error) => Err(error.into()),
    }
}
