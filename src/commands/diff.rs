//! `palisade diff`

use super::exposure::Found;
use super::planned::planned;
use super::pull_request::{Difference, annotated};
use super::{Desired, Report, added, names, names_as_known, reader};
use crate::access::AccessChange;
use crate::delta::{Change, delta};
use crate::desired::{STDIN, compile_named};
use crate::error::Error;
use crate::names::Names;
use crate::netlink::{Reading, Socket};
use crate::plan::{Lines, Plan, headline};
use crate::policy::Problems;
use crate::printable::{Text, printable};
use crate::process::privileges::{Confinement, need_net_admin};
use crate::render::changes::{shown, unified};
use crate::state::State;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compare the policy with the live kernel, or two policies.
///
/// Begins with what `apply` would do: which lines of the policy are added, changed and removed, and which ports that
/// somebody listens on, or that a container publishes, close, narrow, open or stay, each with who reaches it before and
/// afterwards. Then it shows the rules.
///
/// Lines with `-` are only in the kernel: `apply` would remove them. Lines with `+` are only in the policy: `apply`
/// would add them. Packet counts do not count as differences, and neither do policy lines that only moved. Lines with
/// `access:` name the sources that would gain or lose access. Who is let in or blocked for a time is intended as the
/// policy is.
///
/// A set of more than 65,536 addresses is compared by the digest that the table keeps of it, and by the kernel's count of
/// its elements; where the kernel does not count them (before 6.16), it is read up to 131,072, and a warning says so of more.
/// With --deep, each of its elements is compared, too.
///
/// `palisade diff OLD NEW` compares two files instead, as if the kernel held OLD: it asks no kernel and needs no
/// privileges. `-` is standard input: `git show main:policy.yaml | palisade diff - policy.yaml`. What depends on the
/// machine, such as the names of services and the release of the kernel, is taken from the one that it runs on.
///
/// Exit status: 0 they are in sync, 2 they differ, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policy before, in the place of the kernel; `-` is standard input.
    #[arg(requires = "new", conflicts_with = "deep")]
    pub(crate) old: Option<PathBuf>,
    /// The policy after, in the place of --policy; `-` is standard input.
    pub(crate) new: Option<PathBuf>,
    /// The form of the output: `markdown` for a comment on a pull request, `github` for annotations in a workflow.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Look up each element of large sets.
    #[arg(long)]
    pub(crate) deep: bool,
}

/// How `diff` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A unified diff.
    Text,
    /// Markdown.
    Markdown,
    /// Workflow commands of GitHub.
    Github,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    // Who listens is asked before this process is confined.
    let known = args.old.is_none().then(Found::read);
    let confined = Confinement::begin(reader(state));
    if let (Some(old), Some(new)) = (&args.old, &args.new) {
        let names = names_as_known(state);
        return match two(old, new, &names, confined) {
            Ok((desired, difference)) => Ok(report(&desired, new, args.format, &difference)),
            Err(found) if args.format == Format::Github => Ok(refused(&found)),
            Err(found) => Err(Error::Policy(found)),
        };
    }
    need_net_admin("diff")?;
    let desired = Desired::load(path, state)?.with_temporary(state);
    confined.keep_net_admin("diff")?;
    let socket = Socket::open()?;
    let reading = (&desired.table, state);
    let live = socket.snapshot_reading(&desired.id, Reading::new(&reading, args.deep))?.table;
    let (changes, access) = desired.differs_from(live.as_ref());
    let operations = delta(&desired.id, live.as_ref(), Some(&desired.table)).ops.len();
    let plan = (!changes.is_empty())
        .then(|| {
            known.map(|known| {
                planned(&socket, &known, &desired, live.as_ref(), (&changes, &access, operations), Vec::new())
            })
        })
        .flatten();
    let first = plan.as_ref().map(Plan::text).unwrap_or_default();
    let text = match live {
        None => format!("{} is not loaded: `palisade apply` loads it\n", desired.id),
        Some(_) => {
            let sides = [format!("kernel: {}", desired.id), format!("policy: {}", desired.policy.file)];
            unified(&changes, &desired.id, &desired.table, sides.each_ref().map(String::as_str))
        }
    };
    Ok(report(&desired, path, args.format, &Differs { first, changes, access, text, plan }))
}

/// How a policy differs from what there is.
struct Differs {
    /// What the change means, for people; empty without a change.
    first: String,
    changes: Vec<Change>,
    access: Vec<AccessChange>,
    /// In the terms of nft.
    text: String,
    /// The same for programs; `None` without a kernel, or without a change.
    plan: Option<Plan>,
}

/// Compares two files. The second is what is desired.
fn two(old: &Path, new: &Path, names: &Names, confined: Confinement<'_>) -> Result<(Desired, Differs), Problems> {
    let both = if old == new && old == Path::new(STDIN) {
        let problem = crate::policy::Diagnostic::general("standard input can be one of two policies only");
        Err(Problems::new(
            vec![problem.help("name a file in the place of one `-`")],
            crate::policy::Sources::default(),
        ))
    } else {
        compile_named(old, names).and_then(|old| Ok((old, compile_named(new, names)?)))
    };
    confined.keep_nothing();
    let (before, after) = both?;
    let desired = Desired::from(after);
    let (changes, access) = desired.differs_from(Some(&before.table));
    let operations = delta(&desired.id, Some(&before.table), Some(&desired.table)).ops.len();
    let lines = Lines::new(Some(&before.table), &desired.table, &changes);
    let sides = [old, new].map(|path| format!("policy: {}", printable(&path.display().to_string())));
    let text = unified(&changes, &desired.id, &desired.table, sides.each_ref().map(String::as_str));
    let first = if changes.is_empty() { String::new() } else { headline(&lines, operations) };
    Ok((desired, Differs { first, changes, access, text, plan: None }))
}

fn report(desired: &Desired, path: &Path, format: Format, differs: &Differs) -> Report {
    let Differs { first, changes, access, text, plan } = differs;
    let status = if changes.is_empty() { 0 } else { 2 };
    let shown = shown(&desired.id, changes);
    let file = path.display().to_string();
    let difference = Difference { access, changes: &shown, unified: text, policy: &desired.policy, file: &file };
    let text = match format {
        Format::Markdown => difference.markdown().into(),
        Format::Github => difference.annotations().into(),
        Format::Text => {
            let mut styled = Text::default();
            if !first.is_empty() {
                styled.push(&format!("{first}\n"));
            }
            if text.starts_with("--- ") {
                push_styled(&mut styled, text)
            } else {
                styled.push(text)
            }
            desired.access_lines(access).iter().for_each(|line| styled.push(&format!("{line}\n")));
            styled
        }
    };
    let json = json!({
        "in_sync": changes.is_empty(),
        "changes": shown,
        "access": access,
        "names": names::json(&desired.policy.names),
        "temporary": added::list_as_json(&desired.temporary, &desired.table),
    });
    let report = Report { status, text, json };
    match plan {
        Some(plan) => report.with("plan", plan.json()),
        None => report,
    }
}

/// What is said in a workflow of a policy that is not valid.
fn refused(found: &Problems) -> Report {
    let json = json!({ "error": "the policy is not valid", "problems": found.problems(), "warnings": found.warnings(), "notes": found.notes() });
    Report { status: 1, text: annotated(found).into(), json }
}

/// Adds a unified diff in the usual colours. `main` removes them if colours are off.
fn push_styled(text: &mut Text, diff: &str) {
    for line in diff.lines() {
        let style = match line.as_bytes() {
            [b'-', b'-', ..] | [b'+', b'+', ..] => Style::new().bold(),
            [b'-', ..] => AnsiColor::Red.on_default(),
            [b'+', ..] => AnsiColor::Green.on_default(),
            _ => AnsiColor::Cyan.on_default(),
        };
        text.push_styled(style, line);
        text.push("\n");
    }
}
