//! Gathers the facts. All I/O of `doctor` is here.
//!
//! It takes three steps, each with fewer rights than the one before: [`Surroundings`] are read with all rights,
//! [`Installation`] from files that a confined process may read, and [`Live`] asks the kernel for rules and routes.

use super::{Enabled, Examined, Facts, Host, Kernel, Loaded, PolicyState};
use crate::compile::compile;
use crate::delta::changes;
use crate::desired::{load_and_prove, missing};
use crate::enforce::with_present;
use crate::enforce::{EnforceError, enforce};
use crate::error::Error;
use crate::files::{MAX_CONFIGURATION, MAX_POLICY, read_text_bounded, read_trusted};
use crate::machine::{
    Flush, Gap, Gaps, Machine, UnitState, drop_in_runs, flushes, loaded_legacy_tables, systemd_runs, unit_commands,
    unit_state,
};
use crate::names::Names;
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, NetlinkError, Reading, Socket};
use crate::policy::{Problem, Problems};
use crate::resolve::Resolved;
use crate::ruleset::{Ruleset, Table, TableId};
use crate::simulate::{AsListed, Sets};
use crate::state::{Identity, State, StateError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const UFW: &str = "/etc/ufw/ufw.conf";
/// Where ufw is installed, depending on the release.
const UFW_PROGRAMS: [&str; 3] = ["/usr/sbin/ufw", "/usr/lib/ufw/ufw-init", "/lib/ufw/ufw-init"];
const NFTABLES_SERVICE: &str = "nftables.service";

/// Facts that need more rights than reading rules does: engines' processes and sockets, and other firewalls.
#[derive(Debug)]
pub struct Surroundings {
    legacy: Vec<String>,
    enabled: Enabled,
    flush: Option<Flush>,
    flush_is_mended: bool,
    machine: Machine,
    gaps: Gaps,
}

impl Surroundings {
    /// Reads them, before the process gives up any right.
    #[must_use]
    pub fn read() -> Self {
        let mut gaps = Gaps::default();
        let legacy = gaps.or_nothing(loaded_legacy_tables().map_err(|why| Gap {
            what: "the iptables-legacy rules".to_owned(),
            why,
            help: "run palisade as root: `sudo palisade doctor`".to_owned(),
        }));
        let ufw = gaps.or_nothing(ufw());
        let firewalld = unit_state("firewalld.service") == UnitState::Enabled;
        let flush = gaps.or_nothing(flush().map_err(|why| {
            Gap {
                what: "what nftables.service loads at boot".to_owned(),
                why,
                help: "make that file readable, or, if nothing is to be loaded from it, `systemctl disable nftables`"
                    .to_owned(),
            }
        }));
        let flush_is_mended = drop_in_runs(NFTABLES_SERVICE, "palisade.conf", "/usr/sbin/palisade boot --missing");
        let machine = Machine::read();
        machine.gaps.iter().for_each(|gap| gaps.add(gap.clone()));
        let enabled = Enabled { ufw, firewalld };
        Self { legacy, enabled, flush, flush_is_mended, machine, gaps }
    }

    /// What was read of the machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// Whether ufw is started at boot.
fn ufw() -> Result<bool, Gap> {
    match read_text_bounded(Path::new(UFW), MAX_CONFIGURATION) {
        Ok(text) => Ok(is_enabled(&text) && UFW_PROGRAMS.iter().any(|program| Path::new(program).exists())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Gap {
            what: "whether ufw comes at boot".to_owned(),
            why: format!("{UFW} can't be read: {error}"),
            help: "`ufw status`".to_owned(),
        }),
    }
}

/// Parses `ENABLED=yes` as ufw does.
fn is_enabled(text: &str) -> bool {
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("enabled")
            .then(|| value.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
    };
    text.lines().filter_map(value).next_back().unwrap_or(false)
}

/// The line with which `nftables.service` flushes the rules of all programs at boot; `None` if it does not, or is not
/// enabled.
fn flush() -> Result<Option<Flush>, String> {
    if unit_state(NFTABLES_SERVICE) != UnitState::Enabled {
        return Ok(None);
    }
    for command in unit_commands(NFTABLES_SERVICE) {
        let mut words = command.split_whitespace();
        let file = words.by_ref().find(|word| ["-f", "--file"].contains(word)).and_then(|_| words.next());
        if let Some(file) = file
            && let Some(found) = flushes(Path::new(file))?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Palisade's own files, and a network namespace for trying its rules.
#[derive(Debug)]
pub struct Installation {
    path: String,
    policy: PolicyState,
    warnings: Vec<Problem>,
    table: Option<Table>,
    undone: bool,
    waits: Result<Option<Duration>, Gap>,
    boot: Option<UnitState>,
    refresh: Option<UnitState>,
    names: Option<Gap>,
    throw_away: Result<Socket, NetlinkError>,
}

impl Installation {
    /// Reads them. Needs the right to create a namespace.
    #[must_use]
    pub fn read(path: &Path, state: &State) -> Self {
        let (names, unread) = match state.names() {
            Ok(names) => (names, None),
            Err(error) => (Names::default(), Some(unread(&error))),
        };
        let (policy, warnings, table) = policy(path, &names, state);
        let throw_away = Socket::open_in_new_namespace();
        let waits = state.pending().map(|change| change.and_then(|change| change.left()));
        let waits = waits.map_err(|error| Gap {
            what: "whether a change waits for confirmation".to_owned(),
            why: error.to_string(),
            help: "`palisade status`, and look at that file".to_owned(),
        });
        let identity = table.as_ref().and_then(|table| Identity::of(Some(table)).ok());
        let undone = identity.is_some_and(|identity| state.is_undone(&identity));
        let boot = systemd_runs().then(|| unit_state("palisade.service"));
        let refresh = systemd_runs().then(|| unit_state("palisade-refresh.timer"));
        let path = path.display().to_string();
        Self { path, policy, warnings, table, undone, waits, boot, refresh, names: unread, throw_away }
    }
}

fn unread(error: &StateError) -> Gap {
    Gap {
        what: "the addresses of host names".to_owned(),
        why: error.to_string(),
        help: "`palisade refresh --now`".to_owned(),
    }
}

/// The policy, or what is wrong with it, its warnings, and its table if it has one.
fn policy(path: &Path, names: &Names, state: &State) -> (PolicyState, Vec<Problem>, Option<Table>) {
    let (refusal, problems) = match load_and_prove(path, names) {
        Ok(loaded) => {
            let table = with_present(state, &loaded.table, Some(&loaded.applied.limits()));
            let policy = match &loaded.unmet {
                Some(problems) => invalid(problems),
                None => PolicyState::Valid(Box::new(loaded.policy)),
            };
            return (policy, loaded.warnings.warnings(), Some(table));
        }
        Err(problems) => (read_trusted(path, MAX_POLICY).err(), problems),
    };
    let state = match refusal {
        Some(refusal) if refusal.writable => PolicyState::Writable { message: refusal.message, help: refusal.help },
        Some(_) if !path.exists() => PolicyState::Missing { help: missing(path).help },
        _ => invalid(&problems),
    };
    (state, Vec::new(), None)
}

fn invalid(problems: &Problems) -> PolicyState {
    let problems = problems.problems();
    let first = problems.first();
    let at = first.and_then(|first| first.line.map(|line| format!("{}:{line}", first.file)));
    let message = first.map(|first| first.message.clone()).unwrap_or_default();
    let help = first.and_then(|first| first.help.clone());
    PolicyState::Invalid { problems: problems.len(), message, at, help }
}

/// This machine, and access to its live rules and routes.
#[derive(Debug)]
pub struct Live {
    host: Host,
    socket: Socket,
    routing: Routing,
    table: Option<Arc<Table>>,
}

impl Live {
    /// Tries the rules in the throw-away namespace, and reads the loaded table and the interfaces. Needs only
    /// `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// The kernel's rules or interfaces can't be read.
    pub fn ask(surroundings: Surroundings, installation: Installation, state: &State) -> Result<Self, Error> {
        let Surroundings { legacy, enabled, flush, flush_is_mended, machine, mut gaps } = surroundings;
        let Installation { path, policy, warnings, table, undone, waits, boot, refresh, names, throw_away } =
            installation;
        names.into_iter().for_each(|gap| gaps.add(gap));
        let waits = gaps.or_nothing(waits);
        let kernel = trial(throw_away, table.as_ref()).unwrap_or_else(|gap| {
            gaps.add(gap);
            Kernel::Takes
        });
        let (socket, routing) = (Socket::open()?, Routing::open()?);
        let loaded = loaded(&socket, state, table.as_ref())?;
        let host = Host {
            policy,
            warnings,
            path,
            kernel,
            loaded,
            undone,
            waits,
            boot,
            refresh,
            enabled,
            flush,
            flush_is_mended,
            legacy,
            docker: machine.docker.clone(),
            engines: machine.engines.clone(),
            sysctls: machine.sysctls,
            links: routing.topology()?,
            machine,
            gaps,
        };
        Ok(Self { host, socket, routing, table: table.map(Arc::new) })
    }

    /// All findings, from the live rules, but those that the policy ignores or that `ignored` names.
    ///
    /// # Errors
    /// The rules can't be read, or others keep changing them.
    pub fn examine(&self, ignored: &[String]) -> Result<Examined, NetlinkError> {
        let examined = self.socket.ask_live(|live| {
            let sets = LiveSets::new(&self.socket, live, None);
            Examined::new(&self.facts(&live.ruleset, &sets), ignored)
        });
        match examined {
            // Without nf_tables there are no rules.
            Err(NetlinkError::NoNfTables) => Ok(Examined::new(&self.facts(&Ruleset::default(), &AsListed), ignored)),
            examined => examined,
        }
    }

    fn facts<'f>(&'f self, rules: &'f Ruleset, sets: &'f dyn Sets) -> Facts<'f> {
        let facts = Facts::new(&self.host, rules, sets, &self.routing);
        match &self.table {
            Some(table) => facts.with_table(Arc::clone(table)),
            None => facts,
        }
    }
}

/// Whether the kernel accepts the policy's table, or without one, that of the default policy.
fn trial(throw_away: Result<Socket, NetlinkError>, table: Option<&Table>) -> Result<Kernel, Gap> {
    let table = table.cloned().unwrap_or_else(|| compile(&Resolved::default()));
    let tried = throw_away
        .map_err(EnforceError::from)
        .and_then(|socket| enforce(&socket, &TableId::palisade(), Some(&table), Reading::ByDigest(&table)));
    match tried {
        Ok(_) => Ok(Kernel::Takes),
        Err(EnforceError::Refused { object, origin, why }) => {
            let at = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
            Ok(Kernel::Refuses(format!("the kernel refuses {object}{at}: {why}")))
        }
        Err(EnforceError::Netlink(error @ NetlinkError::NoNfTables)) => Ok(Kernel::Refuses(error.to_string())),
        Err(error) => Err(Gap {
            what: "whether this kernel takes the policy's rules".to_owned(),
            why: error.to_string(),
            help: "run it with all rights, outside of a container: `sudo palisade doctor`".to_owned(),
        }),
    }
}

fn loaded(socket: &Socket, state: &State, desired: Option<&Table>) -> Result<Loaded, Error> {
    let id = TableId::palisade();
    let nothing = Table::default();
    let live = match socket.snapshot_reading(&id, Reading::ByDigest(&(desired.unwrap_or(&nothing), state))) {
        Err(NetlinkError::NoNfTables) => None,
        snapshot => snapshot?.table,
    };
    Ok(match (live, desired) {
        (None, _) => Loaded::Nothing,
        (Some(_), None) => Loaded::Something,
        (Some(live), Some(desired)) => match changes(&id, Some(&live), Some(desired)).len() {
            0 => Loaded::Policy,
            places => Loaded::Differs(places),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::is_enabled;

    #[test]
    fn ufw_is_enabled_where_its_file_says_so() {
        assert!(is_enabled("# comment\nENABLED=yes\nLOGLEVEL=low\n") && is_enabled("enabled = \"YES\"\n"));
        assert!(!is_enabled("") && !is_enabled("ENABLED=no\n") && !is_enabled("#ENABLED=yes\n"));
    }
}
