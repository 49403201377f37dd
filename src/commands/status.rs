//! `palisade status`

use super::{Desired, Report, reader};
use crate::compile::drops_blocked;
use crate::delta::changes;
use crate::enforce::stamp;
use crate::error::Error;
use crate::netlink::{Reading, Socket};
use crate::printable::time_in_words;
use crate::process::privileges::Confinement;
use crate::resolve::{Service, lockdown};
use crate::ruleset::{Expr, Rule, Table, TableId, Verdict};
use crate::state::{Booted, Identity, Source, State};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Packets and bytes counted by rules since they were loaded. Of an established connection only the first packet is
/// counted; the others match the first rule.
#[derive(Clone, Copy, Default, Serialize)]
struct Count {
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ServiceStatus {
    number: usize,
    name: String,
    /// As the policy writes them; empty if the policy can't be read.
    ports: Vec<String>,
    #[serde(flatten)]
    admitted: Count,
    line: Option<u32>,
}

/// Show what is loaded, since when, whether it is in sync, and how much it has allowed and denied.
///
/// Exit status: 0 palisade is active, 3 it is not, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let desired = Desired::load(path);
    confined.keep_net_admin("status")?;
    let id = TableId::palisade();
    let nothing = Table::default();
    let known = (desired.as_ref().map_or(&nothing, |desired| &desired.table), state);
    let Some(live) = Socket::open()?.snapshot_reading(&id, Reading::ByDigest(&known))?.table else {
        let json = json!({ "active": false, "in_sync": false, "services": [], "denied": {} });
        return Ok(Report { status: 3, text: "not active: `palisade apply` loads the policy\n".into(), json });
    };
    let in_sync = desired.as_ref().is_ok_and(|desired| changes(&id, Some(&live), Some(&desired.table)).is_empty());
    let services = services(&live, desired.as_ref().ok());
    let denied = denied(&live);
    let (file, since) = live.comment.as_deref().map_or((None, None), stamp::read);

    // A policy applied over a lockdown changes only the rules that differ: the table keeps the lockdown's comment.
    let policy = (file == Some(lockdown::FILE)).then(|| policy_of(&live, state)).flatten();
    let file = policy.as_deref().or(file);
    let mut text = format!("active, loaded from {}", file.unwrap_or("an unknown policy"));
    if let Some(since) = since {
        let _ = write!(text, " at {since}");
    }
    text.push_str(match (&desired, in_sync) {
        (Err(_), _) => "; the policy has problems, see `palisade check`\n",
        (Ok(_), true) => "; in sync with the policy\n",
        (Ok(_), false) => "; differs from the policy, see `palisade diff`\n",
    });
    let booted = state.booted();
    let unlike = |booted: &&Booted| booted.from != Source::Policy || booted.why.is_some();
    if let Some(booted) = booted.as_ref().filter(unlike) {
        let _ = writeln!(text, "loaded at boot: {}", booted.from.with(booted.why.as_deref().unwrap_or_default()));
    }
    let pending = state.pending().ok().flatten().and_then(|change| change.left());
    if let Some(left) = pending {
        let left = time_in_words(left);
        let _ = writeln!(text, "undone in {left} unless `palisade confirm` comes from a new connection");
    }
    text.push_str(&table_of(&services, &denied));
    let json = json!({
        "active": true,
        "in_sync": in_sync,
        "policy_valid": desired.is_ok(),
        "file": file,
        "since": since,
        "booted": booted,
        "undone_in": pending.map(|left| left.as_secs()),
        "services": services,
        "denied": denied,
    });
    Ok(Report::ok(text, json))
}

/// The file name of the policy, if the live table is the last good ruleset.
fn policy_of(live: &Table, state: &State) -> Option<String> {
    let (_, kept) = state.last_good()?;
    let path =
        kept.about.policy.filter(|_| Identity::of(Some(live)).is_ok_and(|live| live == kept.about.identity))?;
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}

fn services(live: &Table, desired: Option<&Desired>) -> Vec<ServiceStatus> {
    let names = live.chains.keys().filter_map(|chain| chain.strip_prefix("service-"));
    let status = |(index, name): (usize, &str)| {
        let service = desired.and_then(|desired| desired.policy.services.get(name));
        let chains = [format!("service-{name}"), format!("admit-{name}")];
        let rules = chains.iter().filter_map(|chain| live.chains.get(chain)).flat_map(|chain| &chain.rules);
        ServiceStatus {
            number: index + 1,
            name: name.to_owned(),
            ports: service.map(ports).unwrap_or_default(),
            admitted: counted(rules.filter(|rule| accepts(rule))),
            line: service.map(|service| service.line),
        }
    };
    names.enumerate().map(status).collect()
}

fn ports(service: &Service) -> Vec<String> {
    let ports = service.ports.iter().map(ToString::to_string);
    ports.chain(service.protocols.iter().map(|number| format!("{number}/proto"))).collect()
}

/// The counters of each of palisade's denying chains.
fn denied(live: &Table) -> BTreeMap<&'static str, Count> {
    let chains = [
        ("incoming", "default-incoming"),
        ("containers", "default-containers"),
        ("forward", "default-forward"),
        ("outgoing", "default-outgoing"),
        ("invalid", "invalid"),
    ];
    let count = |chain: &str| live.chains.get(chain).map(|chain| counted(&chain.rules));
    let blocked = live.chains.iter().filter(|(name, _)| drops_blocked(name)).flat_map(|(_, chain)| &chain.rules);
    let blocked = live.chains.contains_key("filter-prerouting").then(|| ("blocked", counted(blocked)));
    chains.into_iter().filter_map(|(name, chain)| Some((name, count(chain)?))).chain(blocked).collect()
}

fn accepts(rule: &Rule) -> bool {
    rule.exprs.last() == Some(&Expr::Verdict(Verdict::Accept))
}

fn counted<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Count {
    let mut count = Count::default();
    for expr in rules.into_iter().flat_map(|rule| &rule.exprs) {
        if let Expr::Counter { packets, bytes } = expr {
            count.packets = count.packets.saturating_add(*packets);
            count.bytes = count.bytes.saturating_add(*bytes);
        }
    }
    count
}

fn table_of(services: &[ServiceStatus], denied: &BTreeMap<&'static str, Count>) -> String {
    let mut text = String::new();
    let names = services.iter().map(|service| service.name.as_str()).chain(denied.keys().copied()).chain(["service"]);
    let width = names.map(str::len).max().unwrap_or(0);
    if !services.is_empty() {
        let _ = writeln!(text, "\n{:>4}  {:width$}  {:>12}  {:>12}  ports", "", "service", "connections", "bytes");
        for ServiceStatus { number, name, ports, admitted, .. } in services {
            let Count { packets, bytes } = admitted;
            let _ = writeln!(text, "{number:>4}  {name:width$}  {packets:>12}  {bytes:>12}  {}", ports.join(" "));
        }
    }
    let _ = writeln!(text, "\n{:>4}  {:width$}  {:>12}  {:>12}", "", "denied", "packets", "bytes");
    for (name, Count { packets, bytes }) in denied {
        let _ = writeln!(text, "{:>4}  {name:width$}  {packets:>12}  {bytes:>12}", "");
    }
    text
}
