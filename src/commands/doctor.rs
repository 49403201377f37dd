//! `palisade doctor`

use super::{Report, reader};
use crate::compile::compile;
use crate::confirm::in_words;
use crate::delta::changes;
use crate::desired::{load_and_prove, missing};
use crate::doctor::{Enabled, Facts, Finding, Kernel, Loaded, PolicyState, Severity, Sysctls, Unexamined, examine};
use crate::enforce::{EnforceError, enforce};
use crate::error::Error;
use crate::files::{MAX_CONFIGURATION, MAX_POLICY, read_text_bounded, read_trusted};
use crate::machine::{
    Flush, UnitState, docker_options, drop_in_runs, flushes, loaded_legacy_tables, networks, systemd_runs,
    unit_commands, unit_state,
};
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, NetlinkError, Reading, Socket};
use crate::policy::Problems;
use crate::printable::Text;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::resolve::Resolved;
use crate::ruleset::{Ruleset, Table, TableId};
use crate::simulate::AsListed;
use crate::state::State;
use anstyle::{AnsiColor, Style};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// How often the rules are read and looked at before giving up, when others keep changing them meanwhile.
const ATTEMPTS: u32 = 20;
const UFW: &str = "/etc/ufw/ufw.conf";
/// Where ufw is, in one release or another.
const UFW_PROGRAMS: [&str; 3] = ["/usr/sbin/ufw", "/usr/lib/ufw/ufw-init", "/lib/ufw/ufw-init"];

pub(super) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("doctor")?;
    let mut unexamined = Vec::new();
    let mut said = |what: &str, why: String, help: &str| {
        unexamined.push(Unexamined { what: what.to_owned(), why, help: help.to_owned() });
    };

    // Whatever takes more rights than to look at rules comes first: processes and sockets of engines, then files and a
    // namespace.
    let legacy = loaded_legacy_tables().unwrap_or_else(|why| {
        said("the rules of the older iptables", why, AS_ROOT);
        Vec::new()
    });
    let ufw = match read_text_bounded(Path::new(UFW), MAX_CONFIGURATION) {
        Ok(text) => is_enabled(&text) && UFW_PROGRAMS.iter().any(|program| Path::new(program).exists()),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            said("whether ufw comes at boot", format!("{UFW} can't be read: {error}"), "`ufw status`");
            false
        }
    };
    let sysctls = sysctls(&mut said);
    let firewalld = unit_state("firewalld.service") == UnitState::Enabled;
    let flush = flush().unwrap_or_else(|why| {
        said("what nftables.service loads at boot", why, "`systemctl cat nftables` names the file");
        None
    });
    let flush_is_mended = drop_in_runs("nftables.service", "palisade.conf", "/usr/sbin/palisade boot --missing");
    let docker = docker_options().unwrap_or_else(|why| {
        said("the options of Docker's daemon", why, "mend that file, or run palisade where it can be read");
        None
    });
    let engines = networks::engines(docker.is_some(), &mut said);
    let confined = Confinement::begin(Needs { namespace: true, ..reader(state) });
    let policy = Policy::load(path);
    let table = policy.table.clone().unwrap_or_else(|| compile(&Resolved::default()));
    let throw_away = Socket::open_in_new_namespace();
    let waits = state.pending().map(|change| change.and_then(|change| change.left()).map(in_words));
    let waits = waits.unwrap_or_else(|error| {
        said(
            "whether a change waits for confirmation",
            error.to_string(),
            "`palisade status`, and look at that file",
        );
        None
    });
    let boot = systemd_runs().then(|| unit_state("palisade.service"));

    confined.keep_net_admin("doctor")?;
    let kernel = match throw_away
        .map_err(EnforceError::from)
        .and_then(|socket| enforce(&socket, &TableId::palisade(), Some(&table), Reading::ByDigest(&table)))
    {
        Ok(_) => Kernel::Takes,
        Err(EnforceError::Refused { object, origin, why }) => {
            let at = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
            Kernel::Refuses(format!("the kernel refuses {object}{at}: {why}"))
        }
        Err(EnforceError::Netlink(error @ NetlinkError::NoNfTables)) => Kernel::Refuses(error.to_string()),
        Err(error) => {
            said(
                "whether this kernel takes the policy's rules",
                error.to_string(),
                "`palisade check` as root, outside of a container",
            );
            Kernel::Takes
        }
    };
    let socket = Socket::open()?;
    let routing = Routing::open()?;
    let loaded = loaded(&socket, state, policy.table.as_ref())?;
    let path = path.display().to_string();
    let facts = Facts {
        policy: policy.state(),
        path: &path,
        rules: &Ruleset::default(),
        sets: &AsListed,
        routes: &routing,
        links: routing.topology()?,
        legacy,
        sysctls,
        boot,
        enabled: Enabled { ufw, firewalld },
        flush,
        flush_is_mended,
        docker,
        engines,
        kernel,
        loaded,
        waits,
        unexamined,
    };
    for _ in 0..ATTEMPTS {
        let live = match socket.live() {
            Err(NetlinkError::NoNfTables) => return Ok(report(&examine(&facts))),
            live => live?,
        };
        let sets = LiveSets::new(&socket, &live, None);
        let findings = examine(&Facts { rules: &live.ruleset, sets: &sets, ..facts.clone() });
        // What the sets were asked belongs to the rules that were read.
        if socket.generation()? == live.genid {
            return Ok(report(&findings));
        }
    }
    Err(NetlinkError::Busy(ATTEMPTS).into())
}

const AS_ROOT: &str = "run palisade as root: `sudo palisade doctor`";

/// The policy, or what is wrong with it, with what it is borrowed from.
struct Policy {
    resolved: Option<Resolved>,
    table: Option<Table>,
    wrong: Option<PolicyState<'static>>,
}

impl Policy {
    fn load(path: &Path) -> Self {
        let (wrong, problems) = match load_and_prove(path) {
            Ok(loaded) => {
                let wrong = loaded.unmet.as_ref().map(invalid);
                return Self { resolved: Some(loaded.policy), table: Some(loaded.table), wrong };
            }
            Err(problems) => (read_trusted(path, MAX_POLICY).err(), problems),
        };
        let wrong = match wrong {
            Some(refusal) if refusal.writable => {
                PolicyState::Writable { message: refusal.message, help: refusal.help }
            }
            Some(_) if !path.exists() => PolicyState::Missing { help: missing(path).help },
            _ => invalid(&problems),
        };
        Self { resolved: None, table: None, wrong: Some(wrong) }
    }

    fn state(&self) -> PolicyState<'_> {
        match (&self.wrong, &self.resolved) {
            (Some(wrong), _) => wrong.clone(),
            (None, Some(policy)) => PolicyState::Valid(policy),
            (None, None) => PolicyState::Missing { help: None },
        }
    }
}

fn invalid(problems: &Problems) -> PolicyState<'static> {
    let problems = problems.problems();
    let first = problems.first();
    let at = first.and_then(|first| first.line.map(|line| format!("{}:{line}", first.file)));
    let message = first.map(|first| first.message.clone()).unwrap_or_default();
    PolicyState::Invalid { problems: problems.len(), message, at }
}

/// `ENABLED=yes`, as ufw itself reads it.
fn is_enabled(text: &str) -> bool {
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("enabled")
            .then(|| value.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
    };
    text.lines().filter_map(value).next_back().unwrap_or(false)
}

/// Where what nftables.service loads at boot flushes the rules of everyone.
fn flush() -> Result<Option<Flush>, String> {
    if unit_state("nftables.service") != UnitState::Enabled {
        return Ok(None);
    }
    for command in unit_commands("nftables.service") {
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

fn sysctls(said: &mut impl FnMut(&str, String, &str)) -> Sysctls {
    let mut read = |name: &str| match fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))) {
        Ok(text) => Some(text.trim() != "0"),
        // Without IPv6, or while no bridge's frames meet iptables, there is no such file.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            said(&format!("the sysctl {name}"), error.to_string(), &format!("`sysctl {name}`"));
            None
        }
    };
    Sysctls {
        forwards_v4: read("net.ipv4.ip_forward"),
        forwards_v6: read("net.ipv6.conf.all.forwarding"),
        bridge_calls_iptables: read("net.bridge.bridge-nf-call-iptables"),
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

fn report(findings: &[Finding]) -> Report {
    let json = json!({ "findings": findings });
    if findings.is_empty() {
        return Report::ok("healthy: nothing on this machine works against the policy\n", json);
    }
    let mut text = Text::default();
    findings.iter().for_each(|finding| add(finding, &mut text));
    text.push(&match findings.len() {
        1 => "1 finding\n".to_owned(),
        count => format!("{count} findings\n"),
    });
    Report { status: 2, text, json }
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

#[cfg(test)]
mod tests {
    use super::is_enabled;

    #[test]
    fn ufw_is_enabled_where_its_file_says_so() {
        assert!(is_enabled("# comment\nENABLED=yes\nLOGLEVEL=low\n") && is_enabled("enabled = \"YES\"\n"));
        assert!(!is_enabled("") && !is_enabled("ENABLED=no\n") && !is_enabled("#ENABLED=yes\n"));
    }
}
