//! Facts about this machine that give a policy its meaning: names of services and protocols, and the files that the
//! policy names.

mod kernel;
mod lists;
mod names;

pub use kernel::Kernel;
pub use names::{ProtocolNames, ServiceNames};

use crate::files::{MAX_POLICY, Refusal, read_trusted, users_by_name};
use crate::names::{Names, Span};
use crate::policy::{AddressList, Diagnostic, Policy, Source, Sources, decode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The services database.
const SERVICES: &str = "/etc/services";
/// The protocols database.
const PROTOCOLS: &str = "/etc/protocols";

/// The facts that a policy depends on. Only those that it needs are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The services database, or why it could not be read.
    pub services: Result<ServiceNames, Refusal>,
    /// The protocols database, or why it could not be read.
    pub protocols: Result<ProtocolNames, Refusal>,
    /// The numbers of this machine's users by name (passwd(5)); empty if the policy names no user.
    pub users: BTreeMap<String, u32>,
    /// The files that the policy names, by path as written there.
    pub files: BTreeMap<String, ListFile>,
    /// What is known of the host names of the policy, each of which is there.
    pub names: Names,
    /// Which forms of `fib` the kernel supports.
    pub kernel: Kernel,
}

/// A file with one address, network or range per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// Its index among the [`Sources`].
    pub source: usize,
    /// Its path, joined to the policy's folder.
    pub path: PathBuf,
    /// Its addresses, or why it could not be read.
    pub list: Result<AddressList, Refusal>,
}

impl Default for Facts {
    /// A machine without names or files, and with the newest kernel.
    fn default() -> Self {
        Self {
            services: Ok(ServiceNames::default()),
            protocols: Ok(ProtocolNames::default()),
            users: BTreeMap::new(),
            files: BTreeMap::new(),
            names: Names::default(),
            kernel: Kernel::default(),
        }
    }
}

/// Reads the facts that a policy needs. `folder` is the base of its relative paths, `names` what is known of host names.
#[must_use]
pub fn gather(policy: &Policy, folder: &Path, names: &Names) -> Facts {
    let names = names.only(&names_of(policy));
    let mut facts = Facts { kernel: Kernel::running(), names, ..Facts::default() };
    if policy.ports().any(|port| names_a_service(&port.value)) {
        facts.services = read_text(Path::new(SERVICES), MAX_POLICY).map(|text| ServiceNames::parse(&text));
    }
    // A protocol in the place of a service is told from an unknown word.
    let may_be_protocol = |port: &str| names_a_protocol(port) || facts.names_no_service(port);
    if policy.ports().any(|port| may_be_protocol(&port.value)) {
        facts.protocols = read_text(Path::new(PROTOCOLS), MAX_POLICY).map(|text| ProtocolNames::parse(&text));
    }
    if policy.users().next().is_some() {
        facts.users = users_by_name();
    }
    for path in policy.files() {
        if !facts.files.contains_key(&path.value) {
            let full = folder.join(&path.value);
            let source = facts.files.len() + 1;
            let list = lists::read(&full, source);
            facts.files.insert(path.value.clone(), ListFile { source, path: full, list });
        }
    }
    facts
}

/// Reads the facts that one item of `ports` needs.
#[must_use]
pub fn gather_for_ports(item: &str) -> Facts {
    let mut facts = Facts::default();
    if names_a_service(item) {
        facts.services = read_text(Path::new(SERVICES), MAX_POLICY).map(|text| ServiceNames::parse(&text));
        // A protocol in the place of a service is told from an unknown word.
        facts.protocols = read_text(Path::new(PROTOCOLS), MAX_POLICY).map(|text| ProtocolNames::parse(&text));
    }
    if names_a_protocol(item) {
        facts.protocols = read_text(Path::new(PROTOCOLS), MAX_POLICY).map(|text| ProtocolNames::parse(&text));
    }
    facts
}

/// The host names of a policy, and for how long the addresses of each count that answers no longer name.
#[must_use]
pub fn names_of(policy: &Policy) -> BTreeMap<String, Span> {
    let span = |is_destination| if is_destination { Span::Day } else { Span::Hour };
    policy.host_names().into_iter().map(|(name, is_destination)| (name, span(is_destination))).collect()
}

impl Facts {
    /// Whether an item of `ports` is a word in the place of a service's name, and no service has it.
    fn names_no_service(&self, port: &str) -> bool {
        names_a_service(port) && self.services.as_ref().is_ok_and(|services| services.get(port).is_none())
    }

    /// The policy's text and the faulty lines of the list files, in the order of the indexes that spans use.
    #[must_use]
    pub fn sources(&self, policy: Source) -> Sources {
        let mut files: Vec<(usize, Source)> = self
            .files
            .values()
            .map(|file| {
                let text = file.list.as_ref().map_or("", |list| &list.wrong).into();
                (file.source, Source { name: file.path.display().to_string(), text })
            })
            .collect();
        files.sort_by_key(|&(source, _)| source);
        Sources(std::iter::once(policy).chain(files.into_iter().map(|(_, source)| source)).collect())
    }
}

/// The names of services that a policy's ports have.
pub fn service_names(policy: &Policy) -> impl Iterator<Item = &str> {
    let ports = policy.ports().map(|port| port.value.as_str()).filter(|port| names_a_service(port));
    ports.map(|port| port.split('/').next().unwrap_or(port))
}

/// The names of protocols that a policy's ports have.
pub fn protocol_names(policy: &Policy) -> impl Iterator<Item = &str> {
    let ports = policy.ports().map(|port| port.value.as_str()).filter(|port| names_a_protocol(port));
    ports.map(|port| port.split('/').next().unwrap_or(port))
}

/// Whether the part of a port before the slash is a service name.
fn names_a_service(port: &str) -> bool {
    let (name, protocol) = port.split_once('/').unwrap_or((port, ""));
    // These two are words of the language.
    !matches!(port, "any" | "ping") && protocol != "proto" && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether the part of a port before the slash is a protocol name.
fn names_a_protocol(port: &str) -> bool {
    port.split_once('/')
        .is_some_and(|(name, kind)| kind == "proto" && !name.starts_with(|c: char| c.is_ascii_digit()))
}

fn read_text(path: &Path, max_bytes: u64) -> Result<Arc<str>, Refusal> {
    let bytes = read_trusted(path, max_bytes)?;
    decode(&bytes, &path.display().to_string()).map(Arc::from).map_err(|problem| undecodable(*problem))
}

/// Makes one sentence of the diagnostic for text that is not UTF-8.
fn undecodable(problem: Diagnostic) -> Refusal {
    Refusal {
        message: match problem.span {
            Some(span) => format!("{} in line {}", problem.message, span.line),
            None => problem.message,
        },
        help: problem.help,
        missing: false,
        writable: false,
    }
}
