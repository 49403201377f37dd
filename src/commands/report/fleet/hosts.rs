//! The answers of hosts: a file of JSON each, as `palisade_info` returns it.

use crate::error::Error;
use crate::files::read_text_bounded;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// How large an answer may be, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// How many hosts there may be.
const MOST_HOSTS: usize = 10_000;

/// A host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Host {
    /// The name of its file, without `.json`.
    pub(super) name: String,
    /// What it has answered, or why that is not known.
    pub(super) told: Result<Value, String>,
}

/// How it is with a host. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It did not answer, or not what can be understood.
    Unknown,
    /// Nothing restricts who reaches it.
    NotLoaded,
    /// Its policy has problems, and what is loaded is an older one.
    Invalid,
    /// The kernel does not do what the policy says.
    Differs,
    /// A change is undone unless it is confirmed.
    Waits,
    /// The kernel does what the policy says.
    InSync,
}

impl State {
    /// In words, which follow a number of hosts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "not known",
            Self::NotLoaded => "not loaded",
            Self::Invalid => "policy not valid",
            Self::Differs => "not as the policy says",
            Self::Waits => "waiting for confirmation",
            Self::InSync => "as the policy says",
        }
    }
}

impl Host {
    /// What it has answered to a command, unless that was not asked.
    pub(super) fn answer(&self, command: &str) -> Option<&Value> {
        self.told.as_ref().ok()?.get(command).filter(|answer| answer.is_object())
    }

    /// How it is with it, and why that is not known, or what is wrong.
    pub(super) fn state(&self) -> (State, String) {
        let told = match &self.told {
            Ok(told) => told,
            Err(why) => return (State::Unknown, why.clone()),
        };
        let Some(status) = self.answer("status") else {
            let message = told.get("msg").and_then(Value::as_str).unwrap_or("its status was not asked");
            return (State::Unknown, message.to_owned());
        };
        if let Some(error) = status.get("error").and_then(Value::as_str) {
            return (State::Unknown, error.to_owned());
        }
        let says = |field: &str| status.get(field).and_then(Value::as_bool);
        let nothing = String::new;
        match (says("active"), says("in_sync"), says("policy_valid")) {
            (Some(false), ..) => (State::NotLoaded, nothing()),
            (Some(true), _, Some(false)) => (State::Invalid, self.problem()),
            (Some(true), ..) if status.get("undone_in").is_some_and(Value::is_u64) => (State::Waits, nothing()),
            (Some(true), Some(false), Some(true)) => (State::Differs, nothing()),
            (Some(true), Some(true), Some(true)) => (State::InSync, nothing()),
            _ => (State::Unknown, "its palisade answers otherwise than this one: another version".to_owned()),
        }
    }

    /// The first problem of its policy.
    fn problem(&self) -> String {
        let problem = self.answer("diff").and_then(|diff| diff.pointer("/problems/0"));
        let field = |name: &str| problem.and_then(|problem| problem.get(name));
        let file = field("file").and_then(Value::as_str).map(|file| format!("{file}:")).unwrap_or_default();
        let line = field("line").and_then(Value::as_u64).map(|line| format!("{line}: ")).unwrap_or_default();
        let message = field("message").and_then(Value::as_str).unwrap_or_default();
        format!("{file}{line}{message}")
    }

    /// The version of its palisade.
    pub(super) fn version(&self) -> &str {
        self.told.as_ref().ok().and_then(|told| told.get("version")?.as_str()).unwrap_or_default()
    }
}

/// The hosts whose answers are in a folder, by name.
///
/// # Errors
/// The folder can't be read, or holds none.
pub(super) fn hosts(folder: &Path) -> Result<Vec<Host>, Error> {
    let unreadable = |source| Error::Io { what: format!("can't read {}", folder.display()), source };
    let mut hosts = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
        let Some(name) = name.filter(|name| !name.starts_with('.')) else { continue };
        if hosts.len() == MOST_HOSTS {
            return Err(Error::Declined(format!("{} has more than {MOST_HOSTS} answers", folder.display())));
        }
        hosts.push(Host { name: name.to_owned(), told: answer(&path) });
    }
    if hosts.is_empty() {
        let folder = folder.display();
        return Err(Error::Declined(format!(
            "{folder} holds no answers: the play `palisade.palisade.gather` of the Ansible collection writes one for each host, \
             NAME.json"
        )));
    }
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(hosts)
}

fn answer(path: &Path) -> Result<Value, String> {
    let text = read_text_bounded(path, MOST_BYTES).map_err(|error| format!("its answer can't be read: {error}"))?;
    let told: Value = serde_json::from_str(&text).map_err(|error| format!("its answer is no JSON: {error}"))?;
    if told.is_object() { Ok(told) } else { Err("its answer is no JSON object".to_owned()) }
}
