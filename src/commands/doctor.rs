//! `palisade doctor`

use super::{Desired, Report, lock, reader, writer};
use crate::doctor::gather::{Installation, Live, Surroundings};
use crate::doctor::{Examined, Finding, Severity};
use crate::error::Error;
use crate::netlink::{Reading, Socket};
use crate::policy::{FINDING_IDS, OUT_OF_SYNC};
use crate::printable::{Text, printable};
use crate::process::journal::Stderr;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::render::changes::unified;
use crate::state::{Checked, State, moment};
use anstyle::{AnsiColor, Style};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tracing::Level;
use tracing::level_filters::LevelFilter;

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
    /// Say it as the journal wants it: a line each on standard error, with the priority of the finding.
    ///
    /// If the kernel differs from the policy, the lines of `diff` follow. How much was found is kept for `metrics`.
    /// palisade-check.timer runs this once an hour.
    #[arg(long)]
    journal: bool,
}

/// How many lines of `diff` are told.
const MOST_LINES: usize = 40;

pub(crate) fn run(args: &Args, path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("doctor")?;
    let surroundings = Surroundings::read();
    let needs = if args.journal { writer(state) } else { reader(state) };
    let confined = Confinement::begin(Needs { namespace: true, ..needs });
    let installation = Installation::read(path, state);
    // Without a policy that is valid there is nothing to compare: a finding says so.
    let desired =
        if args.journal { Desired::load(path, state).ok().map(|one| one.with_temporary(state)) } else { None };
    confined.keep_net_admin("doctor")?;
    let live = Live::ask(surroundings, installation, state)?;
    let examined = live.examine(&args.ignore)?;
    if !args.journal {
        return Ok(report(&examined));
    }
    examined.findings.iter().for_each(say);
    if let Some(desired) = desired.filter(|_| examined.findings.iter().any(|found| found.id == OUT_OF_SYNC)) {
        say_differences(&desired, state)?;
    }
    keep(&examined, state)?;
    Ok(Report { text: summary(&examined).into(), ..report(&examined) })
}

/// A finding in one line. Notes are said as warnings are: only `--quiet` leaves them out.
fn say(finding: &Finding) {
    let Finding { id, severity, message, help } = finding;
    let (asked, level) = match severity {
        Severity::Error => (Level::ERROR, Level::ERROR),
        Severity::Warning => (Level::WARN, Level::WARN),
        Severity::Note => (Level::WARN, Level::INFO),
    };
    say_line(asked, level, &format!("{}[{id}]: {message}; {help}", severity.name()));
}

fn say_line(asked: Level, level: Level, line: &str) {
    if LevelFilter::current() >= asked {
        // Nothing can be done if standard error can't be written to.
        let _ = Stderr::detect().at(level).write_all(format!("{}\n", printable(line)).as_bytes());
    }
}

/// Where the kernel differs from the policy, as `diff` says it.
fn say_differences(desired: &Desired, state: &State) -> Result<(), Error> {
    let reading = (&desired.table, state);
    let live = Socket::open()?.snapshot_reading(&desired.id, Reading::ByDigest(&reading))?.table;
    let (changes, access) = desired.differs_from(live.as_ref());
    let sides = [format!("kernel: {}", desired.id), format!("policy: {}", desired.policy.file)];
    let rules = unified(&changes, &desired.id, &desired.table, sides.each_ref().map(String::as_str));
    let lines: Vec<String> =
        desired.access_lines(&access).into_iter().chain(rules.lines().map(str::to_owned)).collect();
    lines.iter().take(MOST_LINES).for_each(|line| say_line(Level::ERROR, Level::ERROR, line));
    if let Some(more) = lines.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        say_line(Level::ERROR, Level::ERROR, &format!("and {more} lines more: `palisade diff` shows all"));
    }
    Ok(())
}

/// Keeps how much was found.
fn keep(examined: &Examined, state: &State) -> Result<(), Error> {
    let of = |severity| examined.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let _lock = lock(state, "doctor")?;
    state.note_checked(&Checked {
        at: moment().wall.as_secs(),
        errors: of(Severity::Error),
        warnings: of(Severity::Warning),
        notes: of(Severity::Note),
        ignored: examined.ignored.len() as u64,
    })?;
    Ok(())
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
    text.push(&summary(examined));
    Report { status: if examined.is_healthy() { 0 } else { 2 }, text, json }
}

/// How much was found, in a line.
fn summary(examined: &Examined) -> String {
    let Examined { findings, ignored } = examined;
    let notes = findings.iter().filter(|finding| finding.severity == Severity::Note).count();
    let count = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let mut line = match findings.len() - notes {
        0 => "healthy: nothing on this machine works against the policy".to_owned(),
        wrong => count(wrong, "finding"),
    };
    if notes > 0 {
        line.push_str(&format!(", {}", count(notes, "note")));
    }
    if !ignored.is_empty() {
        line.push_str(&format!(", {} ignored", ignored.len()));
    }
    line + "\n"
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
