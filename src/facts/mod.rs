//! What has to be known about this machine to understand a policy: names of services and protocols, and the files that
//! the policy names.

mod kernel;
mod lists;
mod names;

pub use kernel::Kernel;
pub use names::{ProtocolNames, ServiceNames};

use crate::files::{MAX_POLICY, Refusal, read_trusted};
use crate::policy::{AddressList, Diagnostic, Policy, Source, Sources, decode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the names of services are kept.
const SERVICES: &str = "/etc/services";
/// Where the names of IP protocols are kept.
const PROTOCOLS: &str = "/etc/protocols";

/// What a policy needs to know about this machine. Only what it needs is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The services database, or why it could not be read.
    pub services: Result<ServiceNames, Refusal>,
    /// The protocols database, or why it could not be read.
    pub protocols: Result<ProtocolNames, Refusal>,
    /// The files that the policy names, by the path as it was typed.
    pub files: BTreeMap<String, ListFile>,
    /// What the kernel can be asked.
    pub kernel: Kernel,
}

/// A file with one address, network or range a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// Its index among the [`Sources`].
    pub source: usize,
    /// Its path, the policy's folder included.
    pub path: PathBuf,
    /// What it says, or why it could not be read.
    pub list: Result<AddressList, Refusal>,
}

impl Default for Facts {
    /// A machine without any names or files, and with the newest kernel.
    fn default() -> Self {
        Self {
            services: Ok(ServiceNames::default()),
            protocols: Ok(ProtocolNames::default()),
            files: BTreeMap::new(),
            kernel: Kernel::default(),
        }
    }
}

/// Reads what a policy needs; `folder` is the one that its relative paths begin in.
#[must_use]
pub fn gather(policy: &Policy, folder: &Path) -> Facts {
    let mut facts = Facts { kernel: Kernel::running(), ..Facts::default() };
    if policy.ports().any(|port| names_a_service(&port.value)) {
        facts.services = read_text(Path::new(SERVICES), MAX_POLICY).map(|text| ServiceNames::parse(&text));
    }
    if policy.ports().any(|port| names_a_protocol(&port.value)) {
        facts.protocols = read_text(Path::new(PROTOCOLS), MAX_POLICY).map(|text| ProtocolNames::parse(&text));
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

impl Facts {
    /// The policy's text and what is wrong in the files that could be read, in the order that spans count them.
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

/// Whether what stands before the slash of a port has to be looked up as a service.
fn names_a_service(port: &str) -> bool {
    let (name, protocol) = port.split_once('/').unwrap_or((port, ""));
    protocol != "proto" && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether what stands before the slash of a port has to be looked up as a protocol.
fn names_a_protocol(port: &str) -> bool {
    port.split_once('/')
        .is_some_and(|(name, kind)| kind == "proto" && !name.starts_with(|c: char| c.is_ascii_digit()))
}

fn read_text(path: &Path, max_bytes: u64) -> Result<Arc<str>, Refusal> {
    let bytes = read_trusted(path, max_bytes)?;
    decode(&bytes, &path.display().to_string()).map(Arc::from).map_err(|problem| undecodable(*problem))
}

/// A text that is not UTF-8 as one sentence.
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
