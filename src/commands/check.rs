//! `palisade check`

use super::{Desired, Report, reader, say};
use crate::desired::DEFAULT_PATH;
use crate::enforce::{EnforceError, try_out};
use crate::error::Error;
use crate::machine::Machine;
use crate::netlink::Socket;
use crate::policy::{Problems, list};
use crate::preflight::{Remark, containers_here, diagnostics};
use crate::process::privileges::{Confinement, Needs, may_change_firewall, may_make_namespaces};
use crate::resolve::ssh_is_shut;
use crate::ruleset::Origin;
use crate::state::State;
use serde_json::json;
use std::mem::ManuallyDrop;
use std::path::Path;

/// Check whether the policy is valid, without changing anything.
///
/// Reads, resolves and compiles the policy, proves what it expects, and reports all problems at once. As root, it also
/// loads the result in a throw-away network namespace, to see whether the kernel accepts it, and compares the policy
/// with this machine: interfaces, networks, engines, published ports, gateways, name servers and listening sockets.
/// Without root it compares only the policy at the default path with this machine, as far as it can read the facts.
///
/// Warnings name lines that probably do not mean what they say, and do not change the exit status.
///
/// Exit status: 0 the policy is valid, 1 it is not, or it does not fit this machine.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// The port of SSH on a machine that is not asked.
const SSH: [u16; 1] = [22];

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    let asks_kernel = may_change_firewall() && may_make_namespaces();
    // A policy elsewhere may be for another machine, where nobody has become root to check it.
    let machine = (asks_kernel || path == Path::new(DEFAULT_PATH)).then(Machine::read);
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    // Leaked on purpose: the process exits next, and freeing ten thousand services one by one takes time.
    let loaded = ManuallyDrop::new(Desired::load_as_expected(path)?);
    let (desired, warnings) = &*loaded;
    // A machine that is not asked has an SSH server, as far as anyone knows.
    let shut = machine.is_none().then(|| ssh_is_shut(&desired.policy, &SSH.into())).flatten();
    let shut = Problems::new(shut.into_iter().collect(), warnings.sources.clone());
    say(&shut);
    let warnings = &shut.and(warnings);
    let mut checked = Checked { path, desired, warnings, kernel: "not asked", remarks: Vec::new(), on: None };
    if !asks_kernel {
        confined.keep_nothing();
        checked.remarks = machine.map(|machine| desired.remarks(None, &machine)).unwrap_or_default();
        return Ok(checked.report("is valid; the kernel was not asked, which needs root"));
    }
    let throw_away = Socket::open_in_new_namespace()?;
    confined.keep_net_admin("check")?;
    match try_out(&throw_away, &desired.id, &desired.table) {
        Ok(()) => {
            checked.kernel = "accepted";
            if let Some(machine) = &machine {
                checked.remarks = desired.remarks(Socket::open().ok().as_ref(), machine);
                checked.on = machine.links.as_deref().map(|links| containers_here(&desired.policy, links));
            }
            Ok(checked.report("is valid, and the kernel accepts it"))
        }
        Err(EnforceError::Refused { object, origin, why }) => {
            let file = path.display();
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
            let warnings = warnings.warnings();
            let json = json!({ "valid": false, "problems": [problem], "warnings": warnings, "kernel": "refused" });
            Ok(Report { status: 1, text: format!("{file} is not valid: {message}{at}\n").into(), json })
        }
        Err(error) => Err(error.into()),
    }
}

/// A policy that is valid by itself, and what was found out besides.
struct Checked<'a> {
    path: &'a Path,
    desired: &'a Desired,
    warnings: &'a Problems,
    kernel: &'static str,
    remarks: Vec<Remark>,
    /// The interfaces of containers on this machine; `None` if the expectations were not proved here.
    on: Option<Vec<&'a str>>,
}

impl Checked<'_> {
    /// The report: `is valid, and ...`, and how far its expectations are proved. Remarks are said as `check` says
    /// problems and warnings.
    fn report(&self, verdict: &str) -> Report {
        let file = self.path.display();
        let found = diagnostics(&self.remarks, &self.warnings.sources);
        let warnings = self.warnings.clone().and(&found).warnings();
        let problems = found.problems();
        say(&found);
        let proof = self.proof().map(|proof| format!("{proof}\n")).unwrap_or_default();
        let (status, text) = match problems.len() {
            0 => (0, format!("{file} {verdict}\n{proof}")),
            1 => (1, format!("{file} is valid, and does not fit this machine: a problem\n")),
            count => (1, format!("{file} is valid, and does not fit this machine: {count} problems\n")),
        };
        let fits = problems.is_empty();
        let json = json!({ "valid": fits, "problems": problems, "warnings": warnings, "kernel": self.kernel });
        Report { status, text: text.into(), json }
    }

    /// What the proof of the expectations rests on; `None` if there are none.
    fn proof(&self) -> Option<String> {
        let what = match self.desired.policy.expectations.len() {
            0 => return None,
            1 => "its expectation is proved".to_owned(),
            count => format!("its {count} expectations are proved"),
        };
        Some(match &self.on {
            None => format!("{what}, assuming that containers are behind the interfaces that `containers` names"),
            Some(on) if on.is_empty() => format!("{what} on this machine, which has no interface of containers now"),
            Some(on) => {
                let (names, they) =
                    (list(on.iter().copied()).replace('`', ""), if on.len() == 1 { "it is" } else { "they are" });
                format!("{what} on this machine, with {names} as {they}")
            }
        })
    }
}
