//! What `allow`, `block` and `revoke` share: they change who is in a group for a time, by the policy as it was applied.

use super::{Report, lock, writer};
use crate::access::{AccessChange, access_changes, unmet};
use crate::confirm;
use crate::desired::compile_as_applied;
use crate::enforce::load::{Loaded, ended_in_words};
use crate::enforce::temporary::{change, loaded_table};
use crate::error::Error;
use crate::lockout::sessions;
use crate::machine::{Session, operator};
use crate::net::{Ports, Version};
use crate::netlink::Socket;
use crate::policy::{Problems, Sources, list, quote};
use crate::printable::printable;
use crate::process::journal::MachineLog;
use crate::process::privileges::{Confinement, need_net_admin};
use crate::resolve::{Action, Peers, Resolved};
use crate::ruleset::{Table, TableId};
use crate::state::{Applied, Lock, State, moment};
use crate::temporary::{
    Entries, Entry, LONGEST, Left, MOST, Moment, SHORTEST, holds, period_in_words, set_name, until, with_entries,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Whose address is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of the SSH session that the command is run from.
    Me,
    /// This one.
    Address(IpAddr),
}

/// Reads `me` or an address.
pub(crate) fn whose(text: &str) -> Result<Whose, String> {
    if text == "me" {
        return Ok(Whose::Me);
    }
    let port = text.strip_suffix("/tcp").or_else(|| text.strip_suffix("/udp")).unwrap_or(text);
    if port.parse::<u16>().is_ok() {
        let port = if port == text { format!("{port}/tcp") } else { text.to_owned() };
        return Err(format!("it is no address; to open a port in the policy: palisade add {port} --from any"));
    }
    if text.contains('/') {
        return Err("addresses only: a network is a change of the policy".to_owned());
    }
    let address: IpAddr = text.parse().map_err(|_| "write `me`, or an address such as `198.51.100.20`".to_owned())?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err("it is no address that a connection comes from".to_owned());
    }
    Ok(Whose::Address(address))
}

/// Reads for how long.
pub(crate) fn for_how_long(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Ok(Duration::from_secs(time.as_secs())),
        Ok(_) => Err("a minute at least, and 30 days at most".to_owned()),
        Err(error) => Err(format!("{error}; a time is written as `90m` or `8h`")),
    }
}

/// What a change of who is in a group for a time works with, under the lock.
pub(super) struct Work<'a> {
    pub(super) state: &'a State,
    pub(super) sessions: Vec<Session>,
    pub(super) policy: Resolved,
    pub(super) now: Moment,
    /// Who is in a group for a time, as far as the policy takes them.
    pub(super) entries: Entries,
    /// The table of the policy.
    applied: Table,
    /// The table in the kernel.
    live: Table,
    sources: Sources,
    socket: Socket,
    log: MachineLog,
    by: String,
    id: TableId,
    _lock: Lock,
}

impl<'a> Work<'a> {
    pub(super) fn begin(state: &'a State, command: &'static str) -> Result<Self, Error> {
        let lock = lock(state, command)?;
        need_net_admin(command)?;
        // These need other processes, sockets and files of others, so they come before this process is confined.
        let (sessions, log, by) = (sessions::present(), MachineLog::open(), operator());
        let confined = Confinement::begin(writer(state));
        let (applied, policy, sources) = policy_as_applied(state)?;
        confined.keep_net_admin(command)?;
        let socket = Socket::open()?;
        confirm::settle(&socket, state)?;
        confirm::none_waits(state)?;
        let live = loaded_table(&socket, state)?;
        let entries = state.temporary()?;
        let id = TableId::palisade();
        let now = moment();
        Ok(Self { state, sessions, policy, now, entries, applied, live, sources, socket, log, by, id, _lock: lock })
    }

    /// The address that is meant.
    pub(super) fn address(&self, whose: Whose) -> Result<IpAddr, Error> {
        match whose {
            Whose::Address(address) => Ok(address),
            Whose::Me => match self.sessions.iter().find(|session| session.own) {
                Some(session) => Ok(session.client.to_canonical()),
                None => Err(Error::Declined(
                    "this command is not run from an SSH session: write the address in the place of `me`".to_owned(),
                )),
            },
        }
    }

    /// The live table with these in their groups.
    pub(super) fn with(&self, entries: &Entries) -> Table {
        with_entries(&self.live, entries, &self.now)
    }

    /// Who gains and who loses access if these are in their groups in the place of those who are.
    pub(super) fn access(&self, after: &Entries) -> Vec<AccessChange> {
        access_changes(&self.id, Some(&self.with(&self.entries)), Some(&self.with(after)))
    }

    /// Fails if the policy's expectations are not met with these in their groups.
    pub(super) fn as_expected(&self, after: &Entries, what: &str) -> Result<(), Error> {
        let table = with_entries(&self.applied, after, &self.now);
        let unmet = unmet(&self.id, &table, &self.policy.expectations);
        if unmet.is_empty() {
            return Ok(());
        }
        let what = format!("{what}, since the policy would not be as it expects to be");
        Err(Error::Unexpected { what, problems: Problems::new(unmet, self.sources.clone()) })
    }

    /// Fails if the session that this command is run from could not connect again, and can now.
    pub(super) fn keeps_session(&self, after: &Entries, what: &str, remedy: &str) -> Result<(), Error> {
        let check = |entries: &Entries, sessions: &[Session]| {
            sessions::check(&self.socket, (&self.id, &self.with(entries)), None, sessions)
        };
        let own: Vec<Session> = self.sessions.iter().filter(|session| session.own).cloned().collect();
        match check(after, &self.sessions) {
            Err(lockouts) if check(&self.entries, &own).is_ok() => {
                Err(Error::Declined(lockouts.of_temporary(what, remedy)))
            }
            _ => Ok(()),
        }
    }

    /// Makes state and kernel hold these, and notes it in the machine's log.
    pub(super) fn finish(&self, after: &Entries, said: &str) -> Result<Loaded, Error> {
        let loaded = change(&self.socket, self.state, &self.live, [&self.entries, after])?;
        self.log.note(&format!("{} {said}", self.by));
        Ok(loaded)
    }

    /// An entry that begins now.
    pub(super) fn entry(&self, group: &str, address: IpAddr, time: Duration) -> Entry {
        Entry::new(group, address, time, &self.now, Some(self.by.clone()))
    }

    /// Fails if the loaded rules do not ask for whoever is in that group for a time, or if it is full.
    pub(super) fn takes(&self, group: &str, address: IpAddr) -> Result<(), Error> {
        let version = Version::of(address);
        if !self.live.sets.contains_key(&set_name(group, version)) {
            let why = format!("the rules that are loaded take nobody into the group {}", quote(group));
            return Err(Error::Declined(format!("{why}: `palisade apply` loads the policy")));
        }
        if self.entries.get(group, address).is_none() && !self.entries.has_room(group, version) {
            let why = format!("the group {} has {MOST} addresses for a time, which is the most", quote(group));
            return Err(Error::Declined(format!("{why}: `palisade allow --list` shows them")));
        }
        Ok(())
    }
}

/// The table of the policy as it was applied, the policy, and its text.
pub(super) fn policy_as_applied(state: &State) -> Result<(Table, Resolved, Sources), Error> {
    let unknown = |why: &str| Error::Declined(format!("{why}: `palisade apply` loads and keeps it"));
    let kept = state.in_force().ok_or_else(|| unknown("no policy was applied yet"))?;
    let applied: Applied = kept
        .applied
        .ok_or_else(|| unknown("the policy was applied by a version of palisade that kept only its rules"))?;
    let table = kept.table.ok_or_else(|| unknown("no policy was applied yet"))?;
    let compiled = compile_as_applied(&applied, state).map_err(Error::Policy)?;
    Ok((table, compiled.policy, compiled.warnings.sources))
}

/// What a group opens, or shuts.
pub(super) struct Effect {
    /// The service or rule; `block` for what is blocked.
    pub(super) name: String,
    /// Its ports.
    pub(super) ports: String,
}

/// What whoever is in a group for a time may reach.
pub(super) fn opens(policy: &Resolved, group: &str) -> Vec<Effect> {
    let names = |from: &Peers| names_for_a_time(policy, from).any(|name| name == group);
    let services = policy.services.iter().filter(|(_, one)| one.action == Action::Allow && names(&one.from));
    let services = services.map(|(name, one)| effect(name, (&one.ports, &one.protocols), (one.ping, one.all)));
    let rules = policy.forward.iter().filter(|(_, one)| one.action == Action::Allow && names(&one.from));
    let rules = rules.map(|(name, one)| effect(name, (&one.ports, &one.protocols), (one.ping, one.all)));
    services.chain(rules).collect()
}

fn effect(name: &str, (ports, protocols): (&BTreeSet<Ports>, &BTreeSet<u8>), (ping, all): (bool, bool)) -> Effect {
    let ports = ports.iter().map(ToString::to_string);
    let protocols = protocols.iter().map(|number| format!("{number}/proto"));
    let words = ports.chain(protocols).chain(ping.then(|| "ping".to_owned())).chain(all.then(|| "any".to_owned()));
    Effect { name: name.to_owned(), ports: words.collect::<Vec<_>>().join(", ") }
}

/// Whether `block` names a group.
pub(super) fn blocks(policy: &Resolved, group: &str) -> bool {
    names_for_a_time(policy, &policy.block).any(|name| name == group)
}

/// The groups that take addresses for a time among those that a list names.
fn names_for_a_time<'p>(policy: &'p Resolved, peers: &'p Peers) -> impl Iterator<Item = &'p str> {
    let groups = peers.groups.keys().filter_map(|name| policy.groups.get(name));
    groups.flat_map(|group| group.temporary.keys().map(String::as_str))
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) to: Option<&'a str>,
    pub(super) group: Option<&'a str>,
}

/// The one group that is meant among those that take addresses for a time, to be let in (`allow`) or blocked.
pub(super) fn group_of(policy: &Resolved, asked: &Asked<'_>, allow: bool) -> Result<String, Error> {
    let meant = |effect: &Effect| asked.to.is_none_or(|to| effect.name == to);
    let fits = |name: &&str| {
        if allow { !blocks(policy, name) && opens(policy, name).iter().any(meant) } else { blocks(policy, name) }
    };
    let all = policy.temporary();
    if let Some(to) = asked.to
        && !policy.services.contains_key(to)
        && !policy.forward.contains_key(to)
    {
        return Err(Error::Declined(format!(
            "the policy has neither a service nor a rule of `forward` {}",
            quote(to)
        )));
    }
    let candidates: Vec<&str> = all.keys().copied().filter(fits).collect();
    if let Some(group) = asked.group {
        let is_one = candidates.contains(&group);
        let refused = || Error::Declined(not_this_group(policy, group, asked, allow, &candidates));
        return is_one.then(|| group.to_owned()).ok_or_else(refused);
    }
    match candidates.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Error::Declined(no_group(asked, allow))),
        several => {
            let groups = list(several.iter().copied());
            let how =
                if allow { "say which, by `--group` or by the service, `--to`" } else { "say which: `--group`" };
            Err(Error::Declined(format!("several groups take addresses for a time: {groups}; {how}")))
        }
    }
}

fn no_group(asked: &Asked<'_>, allow: bool) -> String {
    let whose = match (allow, asked.to) {
        (true, Some(to)) => format!("no group in `from` of {} takes addresses for a time", quote(to)),
        (true, None) => "no group that a service or a rule of `forward` names takes addresses for a time".to_owned(),
        (false, _) => "no group that `block` names takes addresses for a time".to_owned(),
    };
    format!("{whose}: add `{{ temporary: 12h }}` to one in the policy, and `palisade apply` it")
}

fn not_this_group(policy: &Resolved, group: &str, asked: &Asked<'_>, allow: bool, candidates: &[&str]) -> String {
    let name = quote(group);
    let why = if !policy.temporary().contains_key(group) {
        return format!("the group {name} takes nobody for a time: {}", others(asked, allow, candidates));
    } else if allow && blocks(policy, group) {
        "is blocked: `palisade block` adds to it"
    } else if allow {
        "opens nothing of that"
    } else {
        "is not blocked: `palisade allow` adds to it"
    };
    format!("the group {name} {why}")
}

fn others(asked: &Asked<'_>, allow: bool, candidates: &[&str]) -> String {
    match candidates {
        [] => no_group(asked, allow),
        some => format!("{} does", list(some.iter().copied())),
    }
}

/// The changes of access as `apply` tells them, each with the end of the time.
pub(super) fn access_lines(changes: &[AccessChange], end: &str) -> String {
    let end = if end.is_empty() { String::new() } else { format!(", {end}") };
    crate::access::lines(changes).iter().map(|line| format!("{}{end}\n", printable(line))).collect()
}

/// Adds an address to a group for a time.
pub(super) fn add(
    state: &State,
    allow: bool,
    whose: Whose,
    asked: &Asked<'_>,
    time: Option<Duration>,
) -> Result<Report, Error> {
    let command = if allow { "allow" } else { "block" };
    let work = Work::begin(state, command)?;
    let address = work.address(whose)?;
    let group = group_of(&work.policy, asked, allow)?;
    work.takes(&group, address)?;
    let most = work.policy.temporary().get(group.as_str()).map_or(SHORTEST, |of| of.most);
    let entry = work.entry(&group, address, time.map_or(most, |time| time.min(most)));
    if time.is_some_and(|time| time > most) {
        tracing::warn!("the group {} takes addresses for {} at most", quote(&group), period_in_words(most));
    }
    let renews = work.entries.get(&group, address).is_some();
    let mut after = work.entries.clone();
    after.add(entry.clone());
    let changes = work.access(&after);
    if changes.is_empty() && !renews {
        return Ok(nothing_changes(&work, address, allow));
    }
    let refused = format!("{address} is not {}", if allow { "let in" } else { "blocked" });
    work.as_expected(&after, &refused)?;
    if !allow {
        work.keeps_session(&after, &format!("blocking {address}"), "Block it in the policy if you mean it")?;
    }
    let end = until(&entry, &work.now, false);
    let done = if allow { "allowed" } else { "blocked" };
    let loaded = work.finish(&after, &format!("{done} {address} in the group {group}, {end}"))?;
    Ok(added(&work, &entry, &changes, (done, renews), loaded))
}

fn added(
    work: &Work<'_>,
    entry: &Entry,
    changes: &[AccessChange],
    (done, renews): (&str, bool),
    loaded: Loaded,
) -> Report {
    let Entry { group, address, .. } = entry;
    let end = until(entry, &work.now, false);
    let again = if renews { " again" } else { "" };
    let mut text = access_lines(changes, &end);
    text.push_str(&format!("{done}{again}: {address} is in the group {group} {end}\n"));
    text.push_str(&ended_in_words(loaded.ended));
    if address.is_ipv6() && done == "allowed" {
        text.push_str(
            "Many clients change their IPv6 address within a day: then only the next `palisade allow` lets them in\n",
        );
    }
    let json = json!({
        done: true,
        "address": address,
        "group": group,
        "until": rfc3339(entry.end),
        "seconds": entry.end.saturating_sub(entry.begin),
        "renewed": renews,
        "access": changes,
        "operations": loaded.operations,
        "connections_ended": loaded.ended,
    });
    Report::ok(text, json)
}

/// Entries for programs, see [`as_json`].
pub(super) fn list_as_json(entries: &Entries, table: &Table) -> Vec<Value> {
    let now = moment();
    entries.iter().map(|entry| as_json(entry, &now, holds(table, entry))).collect()
}

/// An entry for programs. One that holds while no clock tells how much is left has that much at most.
pub(super) fn as_json(entry: &Entry, now: &Moment, holds: bool) -> Value {
    let left = match entry.left(now) {
        Left::Time(left) => Some(left.as_secs()),
        Left::Over => Some(0),
        Left::Unknown(most) => holds.then_some(most.as_secs()),
    };
    json!({
        "address": entry.address,
        "group": entry.group,
        "since": rfc3339(entry.begin),
        "until": rfc3339(entry.end),
        "seconds_left": left,
        "by": entry.by,
    })
}

/// A time in seconds since 1970, for programs.
fn rfc3339(seconds: u64) -> Value {
    // The last second that can be written.
    let time = Duration::from_secs(seconds.min(253_402_300_799));
    let time = std::time::UNIX_EPOCH.checked_add(time);
    time.map_or(Value::Null, |time| humantime::format_rfc3339_seconds(time).to_string().into())
}

/// The report on an address that nothing changes for.
fn nothing_changes(work: &Work<'_>, address: IpAddr, allow: bool) -> Report {
    let is_blocked = is_blocked(&work.policy, &work.entries, address);
    let why = match (allow, is_blocked) {
        (true, true) => "is blocked, and stays so: `block` beats every service",
        (true, false) => "may reach all of that already",
        (false, true) => "is blocked already",
        (false, false) => "can reach nothing as it is",
    };
    let json = json!({ if allow { "allowed" } else { "blocked" }: false, "address": address, "why": why });
    Report::ok(format!("nothing to do: {address} {why}\n"), json)
}

/// Whether `block` names an address, or a group that it is in for a time.
fn is_blocked(policy: &Resolved, entries: &Entries, address: IpAddr) -> bool {
    let groups = || policy.block.groups.keys().filter_map(|name| policy.groups.get(name));
    policy.block.addresses.contains(address)
        || groups().any(|group| group.addresses.contains(address))
        || entries.iter().any(|entry| entry.address == address && blocks(policy, &entry.group))
}
