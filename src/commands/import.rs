//! `palisade import`

mod read;
mod tables;

use super::exposure::published;
use super::{Report, reader};
use crate::desired::{Compiled, compile_by};
use crate::error::Error;
use crate::facts::{Facts, Kernel};
use crate::machine::{Machine, legacy_tables};
use crate::migrate::tables::Program;
use crate::migrate::{Imported, Live, docker_user, firewalld, protocol_names, ufw};
use crate::netlink::Socket;
use crate::policy::Problems;
use crate::process::journal::Stderr;
use crate::process::privileges::Confinement;
use crate::resolve::Containers;
use crate::ruleset::Table;
use crate::state::State;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::Level;

/// The name that problems of the translated policy have.
const NAME: &str = "policy.yaml";

/// What is said where another machine is meant, and no text of it is there.
const NO_TEXT: &str =
    "of another machine docker-user reads what `iptables-save` printed there: `palisade import docker-user FILE`";
/// What is said where the rules of the running kernel are asked for, and a file is named.
const LIVE_ALONE: &str =
    "nft and iptables read the live rules of this machine, and no FILE or --root: run it where the rules are loaded";
/// What is said where the kernel has no such chain.
const NO_CHAIN: &str = "no table of iptables-nft has a chain DOCKER-USER: Docker makes it where it runs with iptables, and not with \
                        its own tables of nftables";
/// What is said where rules of iptables-legacy are loaded, which the kernel does not list over netlink.
const LEGACY: &str = "iptables-legacy has rules here, which can't be read from the kernel: \
                      `(iptables-legacy-save; ip6tables-legacy-save) | palisade import docker-user -`";

/// Print the rules of another firewall as a policy.
///
/// Reads the firewall's files, or the kernel's rules, and never what its commands print, unless it is given as FILE. The policy goes
/// to standard output, with the line that each service comes from; a report goes to standard error: which rules are followed
/// exactly, which let in fewer, which had no effect, and which are left out. Nothing is changed. The policy holds expectations that
/// are made from the rules themselves; it is proved to meet them before it is printed.
///
/// `nft` and `iptables` ask the live tables of this machine, all of them together, who gets in at each port. Their report ends with who
/// gains and who loses by the policy, if anybody does.
///
/// Exit status: 0 the policy is exactly what the rules were, 2 there is something to read, 1 an error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The firewall.
    #[arg(value_enum, value_name = "FIREWALL")]
    pub(crate) firewall: Firewall,
    /// For docker-user: what `iptables-save` printed, or `-` for standard input.
    ///
    /// Without it, the kernel's own chain is read, if iptables-nft made it: that of iptables-legacy can't be. The text may hold what `ip6tables-save` and `ipset save` printed, too, one behind the other. The table nat in it says which
    /// ports of the machine are the containers'.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Read the files below this folder, as of another machine.
    ///
    /// This machine is not asked then: what containers publish, and which bridges they are behind, is not known.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    pub(crate) root: Option<PathBuf>,
}

/// A firewall whose rules can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Firewall {
    /// ufw, with ufw-docker or without.
    Ufw,
    /// firewalld: its zones, services and ipsets.
    Firewalld,
    /// Rules in the chain DOCKER-USER, which containers' published ports pass.
    DockerUser,
    /// The live tables of this machine, whoever wrote them: the access that they give.
    Nft,
    /// The same, where iptables-nft wrote them.
    Iptables,
}

impl Firewall {
    /// Whose live rules are meant, if any.
    const fn program(self) -> Option<Program> {
        match self {
            Self::Nft => Some(Program::Nft),
            Self::Iptables => Some(Program::Iptables),
            Self::Ufw | Self::Firewalld | Self::DockerUser => None,
        }
    }
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    let root = args.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let live = args.root.is_none().then(live);
    let confined = Confinement::begin(reader(state));
    if args.firewall == Firewall::DockerUser && args.file.is_none() && args.root.is_none() {
        let listing = chain(confined)?;
        let imported = docker_user::import_live(&listing, live.as_ref()).map_err(Error::Declined)?;
        proved(&imported)?;
        return Ok(report(&imported));
    }
    if let Some(program) = args.firewall.program() {
        let live = live.filter(|_| args.file.is_none()).ok_or_else(|| Error::Declined(LIVE_ALONE.to_owned()))?;
        return tables::of_kernel(program, live, confined).map(|imported| report(&imported));
    }
    let (place, imported) = match (args.firewall, &args.file) {
        (Firewall::Ufw, None) => (&root, ufw::import(&ufw::Installation { live, ..read::of_ufw(&root)? })),
        (Firewall::Firewalld, None) => {
            (&root, firewalld::import(&firewalld::Installation { live, ..read::of_firewalld(&root)? }))
        }
        (Firewall::DockerUser, Some(file)) => (file, docker_user::import(&read::text(file)?, live.as_ref())),
        (Firewall::DockerUser, None) => return Err(Error::Declined(NO_TEXT.to_owned())),
        (Firewall::Nft | Firewall::Iptables, _) => return Err(Error::Declined(LIVE_ALONE.to_owned())),
        (Firewall::Ufw | Firewall::Firewalld, Some(file)) => {
            let file = file.display();
            return Err(Error::Declined(format!(
                "{file}: only docker-user is read from one file (`--root DIR` reads files below a folder)"
            )));
        }
    };
    let imported = imported.map_err(|why| Error::Declined(format!("{}: {why}", place.display())))?;
    proved(&imported)?;
    confined.keep_nothing();
    Ok(report(&imported))
}

/// The live chain, and what it calls.
fn chain(confined: Confinement<'_>) -> Result<docker_user::Listing, Error> {
    let legacy = legacy_tables();
    confined.keep_net_admin("import")?;
    let live = Socket::open()?.live()?;
    let why = if legacy.is_empty() { NO_CHAIN } else { LEGACY };
    docker_user::listing(&live.ruleset).ok_or_else(|| Error::Declined(why.to_owned()))
}

/// Prints the report; the policy is the command's answer.
fn report(imported: &Imported) -> Report {
    let status = if imported.report.needs_reading() { 2 } else { 0 };
    let text = imported.report.text();
    if tracing::enabled!(Level::WARN) {
        // Nothing can be done if standard error can't be written to.
        let _ = Stderr::detect().at(Level::WARN).write_all(shown(text.as_str()).as_bytes());
    }
    let mut json = imported.report.json();
    if let Some(fields) = json.as_object_mut() {
        fields.insert("policy".to_owned(), json!(imported.policy));
    }
    Report { status, text: imported.policy.as_str().into(), json }
}

/// The text as standard error takes it.
fn shown(text: &str) -> String {
    if Stderr::is_colored() { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() }
}

/// Has the policy read, compiled and proved: what can't be loaded is not printed.
fn proved(imported: &Imported) -> Result<(), Error> {
    table_of(&imported.policy).map(|_| ())
}

/// The table of a policy, if it can be loaded and is what it expects to be.
fn table_of(policy: &str) -> Result<Table, Error> {
    // Files can't be read any more where the live rules were asked for.
    let facts = Facts { protocols: Ok(protocol_names()), kernel: Kernel::running(), ..Facts::default() };
    let compiled: Compiled =
        compile_by(policy.as_bytes(), Path::new(NAME), facts).map_err(|problems| wrong(&problems))?;
    match compiled.unmet() {
        Some(problems) => Err(wrong(&problems)),
        None => Ok(compiled.table),
    }
}

/// A translation that is not what the rules were.
fn wrong(problems: &Problems) -> Error {
    Error::Declined(format!(
        "the translation is wrong, and is not printed: this is a fault of palisade, please report it with the lines below\n{}",
        problems.render(false).trim_end()
    ))
}

/// What containers are there.
fn live() -> Live {
    let machine = Machine::read();
    for gap in machine.gaps.iter() {
        tracing::warn!("{} can't be read: {}", gap.what, gap.why);
    }
    let containers = Containers::default();
    let links = machine.links.unwrap_or_default();
    let bridges = links.iter().filter(|link| containers.covers(&link.name));
    let networks =
        bridges.flat_map(|link| link.networks.iter().map(|(address, bits)| (link.name.clone(), *address, *bits)));
    Live { published: published(), bridges: networks.collect() }
}
