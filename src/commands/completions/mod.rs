//! `palisade completions`

use super::Report;
use crate::error::Error;
use clap_complete::Shell;
use serde_json::json;

/// Print the completion script for a shell.
///
/// The scripts for bash, zsh and fish ask palisade for each value: ports and services of the policy, groups, interfaces,
/// addresses, kept rulesets. They see only what the user may read. The package installs them; without it:
///
/// bash: `source <(palisade completions bash)` in ~/.bashrc
///
/// zsh: `source <(palisade completions zsh)` in ~/.zshrc, after compinit
///
/// fish: `palisade completions fish >~/.config/fish/completions/palisade.fish`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `palisade`: the whole command line.
pub(crate) fn run(args: &Args, mut palisade: clap::Command) -> Result<Report, Error> {
    let script = match args.shell {
        Shell::Bash => include_str!("palisade.bash").to_owned(),
        Shell::Zsh => include_str!("palisade.zsh").to_owned(),
        Shell::Fish => include_str!("palisade.fish").to_owned(),
        // Without values.
        other => {
            let mut script = Vec::new();
            clap_complete::generate(other, &mut palisade, "palisade", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
    };
    let json = json!({ "shell": args.shell.to_string(), "completions": &script });
    Ok(Report::ok(script, json))
}
