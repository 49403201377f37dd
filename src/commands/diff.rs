//! `palisade diff`

use super::{Desired, Report, reader};
use crate::access::lines;
use crate::error::Error;
use crate::netlink::{Reading, Socket};
use crate::printable::{Text, printable};
use crate::process::privileges::Confinement;
use crate::render::changes::{shown, unified};
use crate::state::State;
use anstyle::{AnsiColor, Style};
use serde_json::json;
use std::path::Path;

/// Compare the policy with the live kernel.
///
/// Lines with `-` are only in the kernel: `apply` would remove them. Lines with `+` are only in the policy: `apply`
/// would add them. Packet counts do not count as differences, and neither do policy lines that only moved. Lines with
/// `access:` name the sources that would gain or lose access.
///
/// A set of more than 65,536 addresses is compared by the digest that the table keeps of it, and by the kernel's count of
/// its elements. With --deep, each of its elements is compared, too.
///
/// Exit status: 0 they are in sync, 2 they differ, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look up each element of large sets.
    #[arg(long)]
    pub(crate) deep: bool,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let desired = Desired::load(path)?;
    confined.keep_net_admin("diff")?;
    let known = (&desired.table, state);
    let live = Socket::open()?.snapshot_reading(&desired.id, Reading::new(&known, args.deep))?.table;
    let (changes, access) = desired.differs_from(live.as_ref());
    let mut text = match live {
        None => format!("{} is not loaded: `palisade apply` loads it\n", desired.id).into(),
        Some(_) => styled(&unified(&changes, &desired.id, &desired.table, &desired.policy.file)),
    };
    lines(&access).into_iter().for_each(|line| text.push(&format!("{}\n", printable(&line))));
    let status = if changes.is_empty() { 0 } else { 2 };
    let json = json!({ "in_sync": changes.is_empty(), "changes": shown(&desired.id, &changes), "access": access });
    Ok(Report { status, text, json })
}

/// Styles a unified diff in the usual colours. `main` removes them if colours are off.
fn styled(diff: &str) -> Text {
    let mut text = Text::default();
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
    text
}
