//! `palisade check`

use super::{Desired, Report, names_as_known, reader, say};
use crate::compile::line_of_origin;
use crate::desired::{DEFAULT_PATH, compile_named};
use crate::enforce::{EnforceError, try_out};
use crate::error::Error;
use crate::machine::Machine;
use crate::names::Names;
use crate::netlink::Socket;
use crate::policy::{Problems, list};
use crate::preflight::{Remark, Topic, containers_here, diagnostics};
use crate::printable::Text;
use crate::process::journal::Stderr;
use crate::process::privileges::{Confinement, Needs, may_change_firewall, may_make_namespaces};
use crate::resolve::ssh_is_shut;
use crate::ruleset::Origin;
use crate::state::State;
use serde_json::{Value, json};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use tracing::Level;

/// Check whether the policy is valid, without changing anything.
///
/// Reads, resolves and compiles the policy, proves what it expects, and reports all problems at once. As root, it also
/// loads the result in a throw-away network namespace, to see whether the kernel accepts it, and compares the policy
/// with this machine: interfaces, networks, engines, published ports, gateways, name servers and listening sockets.
/// Without root it compares only the policy at the default path with this machine, as far as it can read the facts.
///
/// Warnings name lines that probably do not mean what they say, and do not change the exit status.
///
/// Several files are checked one after the other; all problems of all of them are reported, and at the end how many are
/// valid: `palisade check hosts/*/policy.yaml`. `-` is standard input.
///
/// Exit status: 0 the policy is valid, 1 it is not, or it does not fit this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policies to check in the place of --policy; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// The port of SSH on a machine that is not asked.
const SSH: [u16; 1] = [22];

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let files = if args.files.is_empty() { vec![path.to_owned()] } else { args.files.clone() };
    let asks_kernel = may_change_firewall() && may_make_namespaces();
    // A policy elsewhere may be for another machine, where nobody has become root to check it.
    let here = |file: &PathBuf| asks_kernel || file == Path::new(DEFAULT_PATH);
    let machine = files.iter().any(here).then(Machine::read);
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    let names = names_as_known(state);
    // Leaked on purpose: the process exits next, and freeing ten thousand services one by one takes time.
    let loaded: Vec<_> = files.iter().map(|file| ManuallyDrop::new(load(file, &names))).collect();
    let throw_away = if asks_kernel {
        let socket = Socket::open_in_new_namespace()?;
        confined.keep_net_admin("check")?;
        Some(socket)
    } else {
        confined.keep_nothing();
        None
    };
    let mut reports = Vec::new();
    for (file, loaded) in files.iter().zip(&loaded) {
        let (desired, warnings) = match &**loaded {
            Ok((desired, warnings)) => (desired, warnings),
            // The problems of a single policy are said as those of any other command.
            Err(found) if files.len() == 1 => return Err(Error::Policy(found.clone())),
            Err(found) => {
                reports.push(invalid(file, found));
                continue;
            }
        };
        let checked = Checked { path: file, desired, warnings, kernel: "not asked", remarks: Vec::new(), on: None };
        reports.push(checked.judged(throw_away.as_ref(), machine.as_ref().filter(|_| here(file)))?);
    }
    Ok(match reports.pop() {
        Some(report) if reports.is_empty() => report,
        last => together(&files, reports.into_iter().chain(last)),
    })
}

/// Loads a policy, and proves what it expects.
fn load(file: &Path, names: &Names) -> Result<(Desired, Problems), Problems> {
    compile_named(file, names).and_then(Desired::as_expected)
}

/// The report on one of several policies that is not valid. Says its problems on standard error.
fn invalid(file: &Path, found: &Problems) -> Report {
    // Nothing can be done if standard error can't be written to.
    let _ = Stderr::detect().at(Level::ERROR).write_all(found.render(Stderr::is_colored()).as_bytes());
    let text = match found.problems().len() {
        1 => format!("{} is not valid: a problem\n", file.display()),
        count => format!("{} is not valid: {count} problems\n", file.display()),
    };
    let json = json!({
        "valid": false,
        "problems": found.problems(),
        "warnings": found.warnings(),
        "notes": found.notes(),
    });
    Report { status: 1, text: text.into(), json }
}

/// The reports on several policies as one.
fn together(files: &[PathBuf], reports: impl Iterator<Item = Report>) -> Report {
    let mut status = 0;
    let mut text = Text::default();
    let mut each = Vec::new();
    for (file, report) in files.iter().zip(reports) {
        status = status.max(report.status);
        text.append(report.text);
        let mut of = json!({ "file": file.display().to_string() });
        if let (Some(of), Value::Object(fields)) = (of.as_object_mut(), report.json) {
            of.extend(fields);
        }
        each.push(of);
    }
    let valid = each.iter().filter(|of| of["valid"] == true).count();
    text.push(&summary(valid, files.len().saturating_sub(valid)));
    Report { status, text, json: json!({ "valid": status == 0, "files": each }) }
}

/// How many policies are valid: `12 files are valid, 1 is not`.
fn summary(valid: usize, invalid: usize) -> String {
    let (files, are) = if valid == 1 { ("file", "is") } else { ("files", "are") };
    match invalid {
        0 => format!("{valid} {files} {are} valid\n"),
        1 => format!("{valid} {files} {are} valid, 1 is not\n"),
        invalid => format!("{valid} {files} {are} valid, {invalid} are not\n"),
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

impl<'a> Checked<'a> {
    /// Has the kernel try the policy out, if it can be asked, and holds it against the machine, if it is for this one.
    fn judged(mut self, throw_away: Option<&Socket>, machine: Option<&'a Machine>) -> Result<Report, Error> {
        // A machine that is not asked has an SSH server, as far as anyone knows.
        let shut = machine.is_none().then(|| ssh_is_shut(&self.desired.policy, &SSH.into())).flatten();
        let shut = Problems::new(shut.into_iter().collect(), self.warnings.sources.clone());
        say(&shut);
        let warnings = shut.and(self.warnings);
        let Some(throw_away) = throw_away else {
            self.remarks = machine.map(|machine| self.desired.remarks(None, machine)).unwrap_or_default();
            return Ok(self.report(&warnings, "is valid; the kernel was not asked, which needs root"));
        };
        match try_out(throw_away, &self.desired.id, &self.desired.table) {
            Ok(()) => {
                self.kernel = "accepted";
                if let Some(machine) = machine {
                    self.remarks = self.desired.remarks(Socket::open().ok().as_ref(), machine);
                    let policy = &self.desired.policy;
                    self.on = machine.links.as_deref().map(|links| containers_here(policy, links));
                }
                Ok(self.report(&warnings, "is valid, and the kernel accepts it"))
            }
            Err(EnforceError::Refused { object, origin, why }) => {
                Ok(self.refused(&warnings, &format!("the kernel would refuse {object}: {why}"), origin))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The report on a policy that the kernel refuses.
    fn refused(&self, warnings: &Problems, message: &str, origin: Option<String>) -> Report {
        let file = self.path.display();
        let policy = &self.desired.policy;
        let line = origin.as_deref().and_then(|origin| line_of_origin(policy, Origin::read(origin)));
        let at = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
        let problem = json!({
            "message": message,
            "file": line.map_or_else(|| file.to_string(), |line| policy.path_of(&file.to_string(), line)),
            "line": line,
            "column": null,
            "help": null,
        });
        let json = json!({
            "valid": false,
            "problems": [problem],
            "warnings": warnings.warnings(),
            "notes": warnings.notes(),
            "kernel": "refused",
        });
        Report { status: 1, text: format!("{file} is not valid: {message}{at}\n").into(), json }
    }

    /// The report: `is valid, and ...`, and how far its expectations are proved. Remarks are said as `check` says
    /// problems and warnings.
    fn report(&self, warnings: &Problems, verdict: &str) -> Report {
        let file = self.path.display();
        let found = diagnostics(&self.remarks, &warnings.sources);
        let all = warnings.clone().and(&found);
        let problems = found.problems();
        say(&found);
        let proof = self.proof().map(|proof| format!("{proof}\n")).unwrap_or_default();
        let (status, text) = match problems.len() {
            0 => (0, format!("{file} {verdict}\n{proof}")),
            1 => (1, format!("{file} is valid, and does not fit this machine: a problem\n")),
            count => (1, format!("{file} is valid, and does not fit this machine: {count} problems\n")),
        };
        let fits = problems.is_empty();
        let json = json!({
            "valid": fits,
            "problems": problems,
            "warnings": all.warnings(),
            "notes": all.notes(),
            "kernel": self.kernel,
        });
        Report { status, text: text.into(), json }
    }

    /// What the proof of the expectations rests on; `None` if there are none.
    fn proof(&self) -> Option<String> {
        let is_unknown = |remark: &&Remark| remark.topic == Topic::Expected;
        let unknown = self.remarks.iter().filter(is_unknown).count();
        let what = match (self.desired.policy.expectations.len(), unknown) {
            (0, _) => return None,
            (1, 0) => "its expectation is proved".to_owned(),
            (count, 0) => format!("its {count} expectations are proved"),
            (1, _) => return Some("whether its expectation holds on this machine can't be told".to_owned()),
            (count, unknown) => format!(
                "{} of its {count} expectations are proved; of the other {unknown} it can't be told",
                count.saturating_sub(unknown)
            ),
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
