//! The command line as it is typed. The help texts are the manual: `palisade man` prints them as manual pages.

use crate::apart::Limits;
use crate::net::Transport;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The firewall of a Linux server that runs containers.
///
/// One YAML policy says who may reach which port. Palisade compiles it to nftables, loads it into the kernel in one
/// transaction, and tells at any time how the kernel differs from the policy. A service's line holds for a process of
/// this machine and for a port published by a container alike. Palisade touches `table inet palisade` and nothing else.
///
/// Begin with `palisade check`, look at `palisade apply --dry-run`, then `palisade apply --confirm 60s`: unless `palisade confirm`
/// is said within a minute from a new connection, the change is undone.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_long_help = "Files:\n  /etc/palisade/policy.yaml   the policy; refused when anyone but root could write it or a folder above it\n  \
        /var/lib/palisade/          the last five rulesets that were good, a change that waits for confirmation\n  \
        /run/palisade/lock          one change at a time\n\n\
        Exit status: 0 is success, 1 an error; `diff` exits with 2 when the kernel differs, `status` with 3 when nothing \
        is loaded; `explain` with 2 when the connection is denied, with 3 when it can't tell; `doctor` with 2 when \
        there are findings."
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
pub struct Common {
    /// The policy to read.
    ///
    /// Files that it names are relative to it. It is refused when anyone but root could write it or a folder above it,
    /// since who can write it can open this machine.
    #[arg(long, global = true, value_name = "FILE", default_value = crate::desired::DEFAULT_PATH)]
    pub policy: PathBuf,
    /// Where palisade keeps what must outlive a reboot: the rulesets that were good, a change that waits.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::state::DEFAULT_STATE, hide_short_help = true)]
    pub state_dir: PathBuf,
    /// Where palisade keeps the lock that lets one change at a time through.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::state::DEFAULT_RUN, hide_short_help = true)]
    pub run_dir: PathBuf,
    /// Print one JSON document on standard output, and nothing else there.
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour what is printed.
    ///
    /// `auto` colours on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Say on standard error what is being done; twice for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether the policy is valid; changes nothing.
    ///
    /// Reads, resolves and compiles the policy and reports all its problems at once. Run as root it also has the kernel
    /// accept the result in a throw-away network namespace.
    ///
    /// Exit status: 0 valid, 1 not.
    Check,
    /// Print the compiled ruleset.
    ///
    /// Needs no privilege. Each rule carries the policy line that it comes from.
    Show {
        /// How to print it: `nft` loads with `nft -f`, `json` is for programs.
        #[arg(long, value_enum, default_value_t = Format::Nft)]
        format: Format,
    },
    /// Compare the policy with the live kernel.
    ///
    /// Lines with `-` stand in the kernel and not in the policy, lines with `+` in the policy and not in the kernel:
    /// what `apply` would remove and add. Packet counts are no difference, nor are policy lines that merely moved.
    ///
    /// A set of more than 65,536 addresses is compared by the digest that the table keeps beside it, and by how many
    /// elements the kernel counts; with --deep each of its elements, too.
    ///
    /// Exit status: 0 in sync, 2 differs, 1 error.
    Diff {
        /// Look up each element of large sets.
        #[arg(long)]
        deep: bool,
    },
    /// Make the kernel match the policy.
    ///
    /// Sends the least change as one transaction that is carried out whole or not at all, made against the ruleset it
    /// was computed from, and reads it back to verify. What does not change keeps its counters; applying again changes
    /// nothing. Connections whose source or port loses its access end; all others go on.
    ///
    /// Exit status: 0 the kernel holds the policy, 1 it does not, and unless the error says otherwise the old rules are
    /// in force.
    Apply {
        /// Print the transaction as nft commands, and send nothing.
        #[arg(long)]
        dry_run: bool,
        /// Apply a policy under which the SSH session that this is run from could not connect again.
        ///
        /// Without it such a policy is refused: a new connection like the session's is tried on the compiled rules, and on
        /// those of all other tables. Others who are logged in and could not connect again are named in a warning.
        #[arg(long)]
        force: bool,
        /// Undo it after TIME (`90s`, `5m`) unless `palisade confirm` comes from a new connection.
        ///
        /// For a change that could cut you off. Whatever happens to the session, to palisade or to the machine, what was
        /// loaded before is in force again when the time is over. TIME is 5 seconds at least and a day at most.
        #[arg(long, value_name = "TIME", value_parser = confirmation_time, conflicts_with = "dry_run")]
        confirm: Option<Duration>,
        /// Look up each element of large sets before, as `diff --deep` does.
        #[arg(long)]
        deep: bool,
    },
    /// Keep what `apply --confirm` has loaded.
    ///
    /// What was applied over SSH is confirmed over a new SSH connection, which shows that one still gets in, or from the
    /// console.
    ///
    /// Exit status: 0 it stays, 1 it does not, or nothing waits for confirmation.
    Confirm,
    /// Go back to what was loaded before.
    ///
    /// While a change waits for confirmation: to what it has replaced. Else to the last but one of the rulesets that are
    /// kept, or to the one that is named. The policy stays as it is, and is not loaded at boot until it is applied or
    /// changed.
    ///
    /// Exit status: 0 the kernel holds the older ruleset, 1 it does not.
    Rollback {
        /// List the last five rulesets that were loaded and kept, newest first, and change nothing.
        #[arg(long, conflicts_with_all = ["to", "undo"])]
        list: bool,
        /// The ruleset's number in the list.
        #[arg(long, value_name = "NUMBER")]
        to: Option<u32>,
        /// Go back to a ruleset under which the SSH session that this is run from could not connect again.
        ///
        /// Without it such a ruleset is refused, as `apply` refuses such a policy. A change that waits for confirmation
        /// is undone whatever becomes of sessions.
        #[arg(long, conflicts_with_all = ["list", "undo"])]
        force: bool,
        /// Undo that change, unless it is settled: for timers.
        #[arg(long, value_name = "ID", hide = true, conflicts_with = "to")]
        undo: Option<String>,
        /// Wait until the change's time is over.
        #[arg(long, hide = true, requires = "undo")]
        watch: bool,
    },
    /// Say what is loaded, since when, whether it is in sync, and what it has let in and denied.
    ///
    /// Exit status: 0 active, 3 not active, 1 error.
    Status,
    /// Say what would happen to a connection, and each rule that it meets.
    ///
    /// Asks the live kernel: the rules of all tables, whoever loaded them, what is in their sets, and the routes. Of a port
    /// that a container publishes name the port that the outside sees. Where something can't be told, what and why is
    /// said instead of a verdict.
    ///
    /// Exit status: 0 allowed, 2 denied or rejected, 3 can't tell, 1 error.
    Explain {
        /// What is asked for: a port as `22/tcp`, `53/udp` or `5060/sctp`, or `ping`.
        #[arg(value_name = "PORT/PROTO", value_parser = target)]
        target: Target,
        /// Who asks.
        #[arg(long, value_name = "ADDR")]
        from: IpAddr,
        /// Which address is asked for: this machine's own towards the asking one unless it is said.
        #[arg(long, value_name = "ADDR")]
        to: Option<IpAddr>,
        /// The interface that it comes in by: the one that the route back leaves by unless it is said.
        #[arg(long, value_name = "IFACE")]
        on: Option<String>,
        /// As it would be with the policy applied.
        #[arg(long)]
        planned: bool,
    },
    /// Say which ports are listened on, whose they are, and who can reach them.
    ///
    /// Tells every TCP and UDP socket that takes what comes, with its process, and every port that a container publishes,
    /// with its container; each with who reaches it by the live rules of all tables: everyone, groups of the policy,
    /// addresses, containers, nobody. Containers are told by their engine, or else by the rules. Where it can't be told who
    /// reaches a port, it says `unknown`, and why. No policy is read.
    ///
    /// Exit status: 0 it was told, 1 error.
    Exposure,
    /// Say what on this machine works against the policy, what each finding means, and what mends it.
    ///
    /// Looks at other firewalls and what they drop, at container engines and what they leave open, at sysctls and interfaces,
    /// at the boot, and at the policy and whether it is loaded. Changes nothing, and runs no other program. What could not be
    /// looked at is a finding, too.
    ///
    /// Exit status: 0 healthy, 2 findings, 1 error.
    Doctor,
    /// Remove palisade's table, and with it every restriction that it enforces.
    ///
    /// Asks first. What other firewalls and container engines have loaded stays as it is.
    Disable {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Load what protects this machine, whatever state it is in: what `palisade.service` runs at boot.
    ///
    /// Where no rules of palisade's are loaded, loads at once what was in force: the last good ruleset, or a lockdown that
    /// denies all that comes in but SSH. Then the policy takes its place, which another process reads that has a minute and
    /// half of the memory: where it is missing, not valid, takes more, is refused by the kernel, or was undone because nobody
    /// confirmed it, the last good ruleset stays. What the policy expects and is not so is a warning. Says on standard error
    /// what was loaded if not the policy; `status` says it too.
    ///
    /// Exit status: 0 one of them is loaded, 1 none.
    Boot {
        /// Only bring back what was in force since the machine was started and is gone, without reading the policy: what
        /// `nftables.service` is made to run after it has flushed everything.
        #[arg(long)]
        missing: bool,
        /// Read the policy, and say on standard output what it means: for `boot` itself.
        #[arg(long, hide = true, conflicts_with = "missing")]
        read: bool,
        /// What the reading may take.
        #[command(flatten)]
        limits: ReadingLimits,
    },
    /// Print the JSON Schema of the policy, for editors.
    ///
    /// With `# yaml-language-server: $schema=FILE` as a policy's first line, editors complete and check as one types.
    Schema,
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a folder.
    Man {
        /// The folder, which is made if it is not there.
        dir: PathBuf,
    },
}

/// What reading the policy may take at boot.
#[derive(Clone, Copy, Debug, Args)]
pub struct ReadingLimits {
    /// How long it may take.
    #[arg(long, hide = true, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
    reading_time: Duration,
    /// How many MiB of memory it may take: half of what there is, and 2048 at most, unless it is said.
    #[arg(long, hide = true, value_name = "MIB")]
    reading_memory: Option<u64>,
}

impl From<&ReadingLimits> for Limits {
    fn from(said: &ReadingLimits) -> Self {
        Self::new(said.reading_time, said.reading_memory)
    }
}

/// How `show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What `nft -f` loads.
    Nft,
    /// One JSON document.
    Json,
}

/// What a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A port.
    Port {
        /// The IP protocol number.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// An echo.
    Ping,
}

/// What `explain` is asked about.
fn target(text: &str) -> Result<Target, String> {
    const FORM: &str = "a port is written as `22/tcp`, `53/udp` or `5060/sctp`, an echo request as `ping`";
    if text == "ping" {
        return Ok(Target::Ping);
    }
    let (port, name) = text.split_once('/').ok_or(FORM)?;
    let transport = Transport::ALL.into_iter().find(|transport| transport.name() == name).ok_or(FORM)?;
    match port.parse() {
        Ok(port @ 1..) => Ok(Target::Port { protocol: transport.number(), port }),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

/// The time that a change may wait for confirmation.
fn confirmation_time(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(5)..=Duration::from_secs(24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        Ok(_) => Err("5 seconds at least, and a day at most".to_owned()),
        Err(error) => Err(format!("{error}; a time is written as `90s` or `5m`")),
    }
}
