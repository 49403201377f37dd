//! `palisade complete`: what the scripts of `palisade completions` ask.

use super::Report;
use super::offered::{Offer, Places, offer};
use crate::error::Error;
use crate::printable::printable;
use crate::process::privileges::{Confinement, Needs};
use clap::ValueEnum;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Print what may stand at the end of a line. For the scripts of `palisade completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that asks.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
    /// The words of the line as far as the cursor; the last may be empty.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

/// How values are printed, one a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// The value alone.
    Bash,
    /// `VALUE:HELP`, with `\:` for colons of the value.
    Zsh,
    /// `VALUE`, a tabulator, `HELP`.
    Fish,
}

/// `palisade`: the whole command line. Whatever is wrong, there is less to offer, and no error: the answer goes to the
/// user's prompt.
pub(crate) fn run(args: &Args, palisade: clap::Command) -> Result<Report, Error> {
    // Changes nothing, and is left the rights that completing paths takes.
    let _confined = Confinement::begin(Needs::default());
    let places = Arc::new(Places::of(&args.words));
    let mut palisade = with_offers(palisade, &places);
    let last = args.words.len().saturating_sub(1);
    let folder = std::env::current_dir().ok();
    let found = complete(&mut palisade, args.words.clone(), last, folder.as_deref()).unwrap_or_default();
    let found = without_options(found, args.words.last());
    let lines: Vec<String> = found.iter().filter_map(|candidate| line(args.shell, candidate)).collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(Report::ok(text, json!({ "values": lines })))
}

/// Options are offered to whoever has typed a `-`, and where nothing else can stand.
fn without_options(mut found: Vec<CompletionCandidate>, last: Option<&OsString>) -> Vec<CompletionCandidate> {
    let is_option = |candidate: &CompletionCandidate| candidate.get_value().as_bytes().starts_with(b"-");
    let asked = last.is_some_and(|word| word.as_bytes().starts_with(b"-"));
    if !asked && !found.iter().all(is_option) {
        found.retain(|candidate| !is_option(candidate));
    }
    found
}

/// The command line with what each argument offers.
fn with_offers(palisade: clap::Command, places: &Arc<Places>) -> clap::Command {
    palisade.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|argument| match offer(&name, argument.get_id().as_str()) {
            None => argument,
            Some(offer) => {
                let places = Arc::clone(places);
                argument.add(ArgValueCandidates::new(move || candidates(offer, &places)))
            }
        })
    })
}

fn candidates(offer: Offer, places: &Places) -> Vec<CompletionCandidate> {
    let values = places.values(offer).into_iter().enumerate();
    let candidate = |(order, (value, help)): (usize, (String, String))| {
        let help = Some(help).filter(|help| !help.is_empty()).map(Into::into);
        CompletionCandidate::new(value).help(help).display_order(Some(order))
    };
    values.map(candidate).collect()
}

/// A candidate as a shell wants it; `None` if a terminal could be harmed by it.
fn line(shell: Shell, candidate: &CompletionCandidate) -> Option<String> {
    let value = candidate.get_value().to_str().filter(|value| printable(value) == *value)?;
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let help = printable(help.lines().next().unwrap_or_default()).into_owned();
    Some(match shell {
        Shell::Bash => value.to_owned(),
        Shell::Zsh if help.is_empty() => value.replace(':', "\\:"),
        Shell::Zsh => format!("{}:{help}", value.replace(':', "\\:")),
        Shell::Fish if help.is_empty() => value.to_owned(),
        Shell::Fish => format!("{value}\t{help}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Arguments of which palisade knows no value.
    const FREE: [&str; 10] = [
        // It is new.
        "add name",
        // Whoever is to be blocked.
        "block who",
        "boot reading_memory",
        "boot reading_time",
        "complete words",
        // The user's own.
        "export name",
        "refresh within",
        "rollback undo",
        // To ask who was denied takes root.
        "suggest source",
        // Another machine's.
        "suggest to",
    ];

    #[test]
    fn each_argument_offers_values_or_has_none_that_palisade_knows() {
        let places = Arc::new(Places::of(&[]));
        let mut palisade = with_offers(crate::cli::Cli::command(), &places);
        palisade.build();
        let mut silent = Vec::new();
        for command in palisade.get_subcommands() {
            for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
                let name = format!("{} {}", command.get_name(), argument.get_id());
                let is_path =
                    argument.get_value_parser().type_id() == clap::builder::ValueParser::path_buf().type_id();
                let offers = argument.get::<ArgValueCandidates>().is_some();
                if !is_path && !offers && argument.get_possible_values().is_empty() {
                    silent.push(name);
                }
            }
        }
        silent.sort();
        assert_eq!(silent, FREE);
    }
}
