//! `palisade doctor`

use super::{Report, reader};
use crate::doctor::gather::{Installation, Live, Surroundings};
use crate::doctor::{Examined, Finding, Severity};
use crate::error::Error;
use crate::policy::FINDING_IDS;
use crate::printable::{Text, printable};
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::state::State;
use anstyle::{AnsiColor, Style};
use serde_json::json;
use std::path::Path;

/// Find what on this machine works against the policy, with the meaning of each finding and its remedy.
///
/// Examines what other firewalls drop, what container engines leave open, sysctls, interfaces, the boot, the policy, and
/// whether the policy is loaded. Changes nothing, and runs no other program. Anything that could not be examined is a
/// finding, too. A note does not count: palisade's rules close what it names, or nothing has to be done. Findings that the
/// policy ignores (`doctor: { ignore: [...] }`) are listed with the reason, and do not count either.
///
/// Exit status: 0 healthy, 2 findings, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Don't count findings with this identifier, which `doctor` prints in brackets. Can be repeated.
    #[arg(long, value_name = "ID", value_parser = clap::builder::PossibleValuesParser::new(FINDING_IDS), hide_possible_values = true)]
    ignore: Vec<String>,
}

pub(crate) fn run(args: &Args, path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("doctor")?;
    let surroundings = Surroundings::read();
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    let installation = Installation::read(path, state);
    confined.keep_net_admin("doctor")?;
    let live = Live::ask(surroundings, installation, state)?;
    Ok(report(&live.examine(&args.ignore)?))
}

fn report(examined: &Examined) -> Report {
    let Examined { findings, ignored } = examined;
    let json_of = |(finding, because): &(Finding, String)| {
        let Finding { id, severity, message, help } = finding;
        json!({ "id": id, "severity": severity, "message": message, "help": help, "because": because })
    };
    let json = json!({ "findings": findings, "ignored": ignored.iter().map(json_of).collect::<Vec<_>>() });
    let mut text = Text::default();
    findings.iter().for_each(|finding| add(finding, &mut text));
    for (finding, because) in ignored {
        text.push(&format!("ignored[{}]: {}\n", finding.id, printable(because)));
    }
    let notes = findings.iter().filter(|finding| finding.severity == Severity::Note).count();
    let count = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let mut end = match findings.len() - notes {
        0 => "healthy: nothing on this machine works against the policy".to_owned(),
        wrong => count(wrong, "finding"),
    };
    if notes > 0 {
        end.push_str(&format!(", {}", count(notes, "note")));
    }
    text.push(&(end + "\n"));
    Report { status: if examined.is_healthy() { 0 } else { 2 }, text, json }
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
