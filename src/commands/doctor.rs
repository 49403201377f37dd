//! `palisade doctor`

use super::{Report, reader};
use crate::doctor::gather::{Installation, Live, Surroundings};
use crate::doctor::{Finding, Severity};
use crate::error::Error;
use crate::printable::Text;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::state::State;
use anstyle::{AnsiColor, Style};
use serde_json::json;
use std::path::Path;

/// Find what on this machine works against the policy, with the meaning of each finding and its remedy.
///
/// Examines what other firewalls drop, what container engines leave open, sysctls, interfaces, the boot, the policy, and
/// whether the policy is loaded. Changes nothing, and runs no other program. Anything that could not be examined is a
/// finding, too.
///
/// Exit status: 0 healthy, 2 findings, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("doctor")?;
    let surroundings = Surroundings::read();
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    let installation = Installation::read(path, state);
    confined.keep_net_admin("doctor")?;
    let live = Live::ask(surroundings, installation, state)?;
    Ok(report(&live.examine()?))
}

fn report(findings: &[Finding]) -> Report {
    let json = json!({ "findings": findings });
    if findings.is_empty() {
        return Report::ok("healthy: nothing on this machine works against the policy\n", json);
    }
    let mut text = Text::default();
    findings.iter().for_each(|finding| add(finding, &mut text));
    text.push(&match findings.len() {
        1 => "1 finding\n".to_owned(),
        count => format!("{count} findings\n"),
    });
    Report { status: 2, text, json }
}

fn add(finding: &Finding, text: &mut Text) {
    let style = match finding.severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Note => Style::new().bold(),
    };
    let Finding { id, message, help, severity } = finding;
    text.push_styled(style, &format!("{}[{id}]", severity.name()));
    text.push(&format!(": {message}\n  = help: {help}\n\n"));
}
