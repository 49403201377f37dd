//! The command line as typed. The help texts are the manual: `palisade man` prints them as manual pages.

use crate::commands::{
    Report, add, allow, apply, block, boot, check, complete, completions, confirm, denied, diff, disable, doctor,
    edit, explain, export, exposure, group, import, init, man, metrics, refresh, remove, report, revoke, rollback,
    schema, show, status, suggest,
};
use crate::desired::DEFAULT_PATH;
use crate::error::Error;
use crate::printable::command_word;
use crate::process::called::Called;
use crate::state::State;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The firewall of a Linux server that runs containers.
///
/// One YAML policy says who may reach which port, what this machine and its containers may open, and what passes through
/// it. Palisade compiles it to nftables, loads it into the kernel in one transaction, and shows at any time how the
/// kernel differs from the policy. A service's line applies both to a process on this machine and to a port that a
/// container publishes. Palisade changes only `table inet palisade`.
///
/// Start with `palisade check` and `palisade apply --dry-run`. Then run `palisade apply --confirm 60s`: it is undone
/// after a minute unless you run `palisade confirm` from a new connection.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    propagate_version = true,
    max_term_width = 80,
    after_long_help = "Files:\n  /etc/palisade/policy.yaml   the policy; refused if anyone but root can write it or a folder above it\n  \
        /var/lib/palisade/          the last five good rulesets, a change that waits for confirmation, host names, \
        and who is let in or blocked for a time\n  \
        /run/palisade/lock          held by the command that is changing the rules\n\n\
        Exit status: 0 is success, 1 an error. `diff` exits with 2 if the kernel differs, `status` with 3 if nothing is \
        loaded, `explain` with 2 if the connection is denied and with 3 if it can't tell, `doctor` with 2 if there \
        are findings, `export` with 2 if something was left out, `import` with 2 if its report has to be read."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Common {
    /// The policy to read.
    ///
    /// It names other files relative to its own folder. It is refused if anyone but root can write it or a folder above
    /// it, because whoever can write it can open this machine.
    #[arg(long, global = true, value_name = "FILE", default_value = crate::desired::DEFAULT_PATH)]
    pub policy: PathBuf,
    /// The folder for what must survive a reboot: the last good rulesets, and a change that waits for confirmation.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::state::DEFAULT_STATE, hide_short_help = true)]
    pub state_dir: PathBuf,
    /// The folder for the lock that allows only one change at a time.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::state::DEFAULT_RUN, hide_short_help = true)]
    pub run_dir: PathBuf,
    /// Print exactly one JSON document on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour the output.
    ///
    /// `auto` uses colours on a terminal unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Report progress on standard error; twice for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The commands that read the policy of `--policy`, or change it.
const OF_A_POLICY: [&str; 15] = [
    "add", "apply", "boot", "check", "diff", "doctor", "edit", "explain", "export", "group", "metrics", "remove",
    "report", "show", "status",
];

impl Common {
    /// The options that commands which palisade prints repeat; `None` if those are about the same policy without them, or
    /// if the policy's name can't be copied.
    #[must_use]
    pub fn called(&self) -> Option<Called> {
        let path = Some(&self.policy).filter(|path| **path != Path::new(DEFAULT_PATH))?;
        let word = command_word(path.to_str()?)?;
        Some(Called { options: format!("--policy {word}"), commands: &OF_A_POLICY })
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands. The help of each is in the file of the command, with its arguments.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "what is said here would take the place of the command's own help")]
pub enum Command {
    Check(check::Args),
    Show(show::Args),
    Diff(diff::Args),
    Apply(apply::Args),
    Confirm(confirm::Args),
    Rollback(rollback::Args),
    Refresh(refresh::Args),
    Allow(allow::Args),
    Block(block::Args),
    Revoke(revoke::Args),
    Init(init::Args),
    Import(import::Args),
    Edit(edit::Args),
    Add(add::Args),
    Remove(remove::Args),
    Group(group::Args),
    Status(status::Args),
    Denied(denied::Args),
    Suggest(suggest::Args),
    Explain(explain::Args),
    Exposure(exposure::Args),
    Export(export::Args),
    Doctor(doctor::Args),
    Report(report::Args),
    Metrics(metrics::Args),
    Disable(disable::Args),
    Boot(boot::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Complete(complete::Args),
    Man(man::Args),
}

impl Command {
    /// Whether what it prints is what it is run for: `--quiet` leaves it.
    #[must_use]
    pub fn prints_a_document(&self) -> bool {
        match self {
            Self::Show(_)
            | Self::Export(_)
            | Self::Init(_)
            | Self::Import(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Suggest(_) => true,
            Self::Report(args) => args.prints_a_page(),
            Self::Metrics(args) => args.textfile.is_none(),
            _ => false,
        }
    }

    /// Whether what it prints is kept as a file.
    #[must_use]
    pub fn prints_a_file(&self) -> bool {
        self.prints_a_document() && !matches!(self, Self::Suggest(_))
    }
}

/// What palisade has for a verb of ufw, firewalld, terraform or systemctl.
#[must_use]
pub fn hint(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "enable" | "start" => {
            "`palisade apply` loads the policy, and `systemctl enable palisade` does so at each boot"
        }
        "stop" | "reset" | "flush" => {
            "`palisade disable` removes the rules; `systemctl disable palisade` keeps them away at boot"
        }
        "reload" | "restart" | "load" | "sync" => "`palisade apply` makes the kernel match the policy",
        "plan" => "`palisade apply --dry-run` tells what would change; `palisade diff` compares",
        "validate" | "verify" | "test" | "lint" => "`palisade check` checks the policy",
        "deny" | "reject" => {
            "what no service allows is denied; to block an address: `palisade block ADDR`, or `block` in the policy"
        }
        "open" | "add-port" | "add-service" => "to open a port: `palisade add 22/tcp --from any`",
        "close" | "delete" | "remove-port" | "remove-service" | "rm" => {
            "to remove a service: `palisade remove SERVICE`"
        }
        "limit" => "write `limit: 6/minute` in the service",
        "logging" | "log" => "write `log: { denied: 10/minute }` in the policy, or `log: true` in a service",
        "default" => "write `defaults: { incoming: deny }` in the policy",
        "route" => "write a rule in `forward` of the policy",
        "list" | "ls" | "rules" | "list-all" => {
            "`palisade status` lists the services, `palisade exposure` the open ports"
        }
        "blocked" | "drops" => "`palisade denied` lists who was turned away",
        "undo" | "revert" => "`palisade rollback` goes back to the ruleset before",
        "keep" | "commit" => "`palisade confirm` keeps what `palisade apply --confirm` has loaded",
        "ban" => "`palisade block ADDR` blocks an address for a time",
        "unban" | "unblock" => "`palisade revoke ADDR` takes a block back",
        "fmt" | "format" => "a policy may have any form; `palisade check` checks it",
        "version" => "`palisade --version`",
        _ => return None,
    })
}

/// Runs a command.
///
/// # Errors
/// [`Error`], for which `main` exits with status 1.
pub fn run(cli: &Cli) -> Result<Report, Error> {
    let policy = &cli.common.policy;
    let state = State::new(cli.common.state_dir.clone(), cli.common.run_dir.clone());
    match &cli.command {
        Command::Check(args) => check::run(policy, &state, args),
        Command::Show(args) => show::run(policy, &state, args),
        Command::Diff(args) => diff::run(policy, &state, args),
        Command::Apply(args) => apply::run(policy, &state, args),
        Command::Confirm(_) => confirm::run(&state),
        Command::Rollback(args) => rollback::run(&state, args),
        Command::Refresh(args) => refresh::run(&state, args),
        Command::Allow(args) => allow::run(&state, args),
        Command::Block(args) => block::run(&state, args),
        Command::Revoke(args) => revoke::run(&state, args),
        Command::Init(_) => init::run(&state),
        Command::Import(args) => import::run(&state, args),
        Command::Edit(_) => edit::run(policy, &state),
        Command::Add(args) => add::run(policy, &state, args),
        Command::Remove(args) => remove::run(policy, &state, args),
        Command::Group(args) => group::run(policy, &state, args),
        Command::Status(_) => status::run(policy, &state),
        Command::Denied(args) => denied::run(&state, args),
        Command::Suggest(args) => suggest::run(&state, args),
        Command::Explain(args) => explain::run(policy, &state, args, cli.common.json),
        Command::Exposure(_) => exposure::run(&state),
        Command::Export(args) => export::run(policy, &state, args),
        Command::Doctor(args) => doctor::run(args, policy, &state),
        Command::Report(args) => report::run(policy, &state, args),
        Command::Metrics(args) => metrics::run(policy, &state, args),
        Command::Disable(args) => disable::run(&state, args),
        Command::Boot(args) => boot::run(policy, &state, args),
        Command::Schema(_) => schema::run(),
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Complete(args) => complete::run(args, Cli::command()),
        Command::Man(args) => man::run(args, Cli::command()),
    }
}

/// An error as `--json` prints it.
#[must_use]
pub fn error_json(command: &Command, error: &Error) -> Value {
    match (command, error) {
        (Command::Check(_), Error::Policy(found)) => {
            json!({ "valid": false, "problems": found.problems(), "warnings": found.warnings(), "notes": found.notes() })
        }
        (_, Error::Policy(found) | Error::Misfit(found) | Error::Unexpected { problems: found, .. }) => {
            json!({ "error": error.to_string(), "problems": found.problems(), "warnings": found.warnings(), "notes": found.notes() })
        }
        _ => json!({ "error": error.to_string() }),
    }
}
