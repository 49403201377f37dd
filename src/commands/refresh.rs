//! `palisade refresh`

use super::{Report, lock, names, writer};
use crate::access::{access_changes, lines};
use crate::apart::{Limits, confine};
use crate::confirm;
use crate::desired::{Compiled, compile_as_applied, policy_as_applied};
use crate::enforce::temporary::{Expired, expire};
use crate::enforce::{load, with_present};
use crate::error::Error;
use crate::facts::names_of;
use crate::files::{MAX_CONFIGURATION, read_text_bounded};
use crate::names::{Asker, Names, Span, Trouble, answer};
use crate::netlink::{Reading, Socket};
use crate::policy::quote;
use crate::printable::{printable, time_in_words};
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::ruleset::TableId;
use crate::state::{State, StateError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{stdin, stdout};
use std::path::Path;
use std::time::Duration;

/// Look up the host names of the policy, load what has changed, and end the connections of whose time is over.
/// `palisade-refresh.timer` runs this each minute.
///
/// Works on the policy as it was applied, not on the file, which may be half edited. Each name is looked up every five
/// minutes, one that has just failed each minute, by the system's own resolver, all names within ten seconds. Only the
/// addresses that changed are loaded; connections of those that go are ended. A name that can't be looked up is a warning:
/// its addresses stay for seven days. While a change waits for confirmation, nothing is loaded.
///
/// Exit status: 0 the rules have the addresses that are known, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look up all names now, even those that were looked up within the last five minutes.
    #[arg(long)]
    now: bool,
    /// Look up the names on standard input, and do nothing else. `refresh` and `apply` run this themselves.
    #[arg(long, hide = true, conflicts_with = "now")]
    ask: bool,
    /// The time for all names together.
    #[arg(long, hide = true, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    within: Duration,
}

/// How much longer than its own deadline the process that looks up may live: the other one may read a large policy
/// before it says which names it wants.
const SLACK: Duration = Duration::from_secs(60);
/// The memory of the process that looks up, in MiB.
const MEMORY: u64 = 512;

/// What the C library reads and talks to when it looks up a name.
const RESOLVERS: [&str; 6] = ["/etc", "/lib", "/lib64", "/usr", "/run", "/var/run"];

const HOSTS: &str = "/etc/hosts";

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    if args.ask {
        return ask(args.within);
    }
    need_net_admin("refresh")?;
    // Needs another process, so it comes before this one is confined.
    let asker = asker(state, args);
    let confined = Confinement::begin(writer(state));
    let refresh = Refresh { state, now: args.now };
    let asked = refresh.ask(asker);
    let _lock = lock(state, "refresh")?;
    let change = asked.and_then(|asked| refresh.prepare(asked));
    confined.keep_net_admin("refresh")?;
    let socket = Socket::open()?;
    // Whatever is wrong with names, nobody stays in for longer than the policy says.
    let expired = expire(&socket, state)?;
    let (text, json) = match change? {
        Some(change) => refresh.load(&socket, &change)?,
        None => (String::new(), json!({ "refreshed": false })),
    };
    Ok(refresh.report(said(&expired) + &text, json).with("over", over(&expired)))
}

/// Whose time is over, in words.
fn said(expired: &Expired) -> String {
    let over = expired.over.iter().map(|entry| format!("over: {} in the group {}\n", entry.address, entry.group));
    over.collect::<String>() + &load::ended_in_words(expired.ended)
}

fn over(expired: &Expired) -> Value {
    expired.over.iter().map(|entry| json!({ "address": entry.address, "group": entry.group })).collect()
}

/// The process that looks names up.
fn ask(within: Duration) -> Result<Report, Error> {
    let failed = |source| Error::Io { what: "names are not looked up apart".to_owned(), source };
    confine(&Limits::new(within + SLACK, Some(MEMORY))).map_err(failed)?;
    let reads = RESOLVERS.iter().map(Path::new).collect();
    Confinement::begin(Needs { reads, looks_up: true, ..Needs::default() }).keep_look_ups();
    let hosts = read_text_bounded(Path::new(HOSTS), MAX_CONFIGURATION).unwrap_or_default();
    answer(&mut stdin().lock(), &mut stdout().lock(), &hosts, within).map_err(failed)?;
    Ok(Report { status: 0, text: String::new().into(), json: json!({}) })
}

/// Starts the process that looks up, if it may be needed.
fn asker(state: &State, args: &Args) -> Option<Asker> {
    // What is wrong with the file is said once it is read in earnest.
    let known = state.names().unwrap_or_default();
    let may_be_due = state.knows_names() && (args.now || known.all().is_empty() || !known.due().is_empty());
    may_be_due.then(|| names::started(args.within))?
}

/// What is to be loaded.
struct Change {
    /// The names of the policy before and after.
    names: [Names; 2],
    compiled: Compiled,
}

struct Refresh<'a> {
    state: &'a State,
    now: bool,
}

impl Refresh<'_> {
    /// The names of the policy as it was applied.
    fn wanted(&self) -> BTreeMap<String, Span> {
        let applied = self.state.last_good_policy();
        let policy = applied.and_then(|applied| policy_as_applied(&applied));
        policy.as_ref().map(names_of).unwrap_or_default()
    }

    /// Looks up the names that are due. `None` if there are none.
    fn ask(&self, asker: Option<Asker>) -> Result<Option<Names>, Error> {
        let (Some(asker), known) = (asker, self.state.names()) else { return Ok(None) };
        let damaged = known.as_ref().err().map(ToString::to_string);
        let mut names = known.unwrap_or_default().only(&self.wanted());
        let due = if self.now || damaged.is_some() { names.all() } else { names.due() };
        if due.is_empty() {
            return Ok(None);
        }
        asker.ask(&due, &mut names);
        // What was known is lost: only a whole answer takes its place.
        match damaged.filter(|_| names.iter().any(|(_, known)| known.nobody().is_some())) {
            Some(why) => {
                Err(Error::Declined(format!("{why}; not all names can be looked up now: nothing was changed")))
            }
            None => Ok(Some(names)),
        }
    }

    /// What there is to load: the names before and after, and the rules; `None` if there is nothing.
    fn prepare(&self, asked: Option<Names>) -> Result<Option<Change>, Error> {
        let Some(names) = self.learn(asked)? else { return Ok(None) };
        if !self.state.is_in_force() {
            self.state.note_refreshed();
            return Ok(None);
        }
        if let Some(left) = confirm::pending(self.state).and_then(|change| change.left()) {
            let left = time_in_words(left);
            tracing::info!("a change waits for confirmation for another {left}: nothing is loaded until then");
            return Ok(None);
        }
        let Some(applied) = self.state.last_good_policy() else { return Ok(None) };
        let compiled = compile_as_applied(&applied, self.state).map_err(Error::Policy)?;
        Ok(Some(Change { names, compiled }))
    }

    /// Writes down what was asked. Returns what was known before, and what is now; `None` if the rules in force have the
    /// addresses that are known.
    fn learn(&self, asked: Option<Names>) -> Result<Option<[Names; 2]>, Error> {
        // Somebody else may have applied a policy with other names while these were looked up.
        let wanted = self.wanted();
        if wanted.is_empty() {
            self.state.note_refreshed();
            return Ok(None);
        }
        let before = match self.state.names() {
            Err(StateError::Damaged { .. }) if asked.is_some() => Names::default(),
            before => before?,
        };
        let after = asked.clone().unwrap_or_default().beside(&before);
        let names = [before.only(&wanted), after.only(&wanted)];
        let is_news = !names[1].has_addresses_of(&names[0]);
        if is_news {
            // Before the file: whoever finds it newer than the rules has to load it, even if this process is killed.
            self.state.note_unrefreshed();
        }
        if asked.is_some() {
            self.state.keep_names(&after)?;
            warn(&names[1]);
        }
        Ok((is_news || self.state.is_unrefreshed()).then_some(names))
    }

    /// Loads the rules with the addresses that are known. Says what it did.
    fn load(&self, socket: &Socket, change: &Change) -> Result<(String, Value), Error> {
        let Change { names: [before, after], compiled } = change;
        if let Some(problems) = compiled.unmet() {
            let problems = problems.render(false);
            tracing::warn!("the addresses that names have now break what the policy expects\n{problems}");
        }
        let id = TableId::palisade();
        let table = with_present(self.state, &compiled.table, Some(&compiled.applied.limits()));
        let live = socket.snapshot_reading(&id, Reading::ByDigest(&(&table, self.state)))?.table;
        let access = access_changes(&id, live.as_ref(), Some(&table));
        let loaded = load::load(socket, self.state, Some(&compiled.table), false)?;
        self.state.note_refreshed();
        let named = after.clone().and_addresses_of(before);
        let line = |line: String| format!("{}\n", printable(&named.beside_addresses(&line)));
        let mut text: String = lines(&access).into_iter().map(line).collect();
        if loaded.operations > 0 {
            text.push_str(&loaded.in_words());
        }
        let json = json!({
            "refreshed": loaded.operations > 0,
            "operations": loaded.operations,
            "connections_ended": loaded.ended,
            "access": access,
        });
        Ok((text, json))
    }

    /// What is said of the names. The timer's run says nothing unless something has changed.
    fn report(&self, mut text: String, json: Value) -> Report {
        let names = self.state.names().unwrap_or_default().only(&self.wanted());
        if self.now {
            text.push_str(names::table(&names).trim_start());
        }
        Report::ok(text, json).with("names", names::json(&names))
    }
}

/// Warns of names that mean nobody, or that have the addresses of an hour ago or more.
fn warn(names: &Names) {
    for (name, known) in names.iter() {
        let name = quote(name);
        match known.trouble() {
            Some(Trouble::Stale(failure, since)) => {
                let since = time_in_words(Duration::from_secs(since));
                tracing::warn!("{name} has the addresses of {since} ago: {failure}");
            }
            Some(Trouble::Unknown(_) | Trouble::Over(_)) => {
                tracing::warn!("{name} means nobody: {}", known.nobody().unwrap_or_default());
            }
            Some(Trouble::Rotates) | None => {}
        }
    }
}
