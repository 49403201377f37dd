//! The zones of firewalld as a policy.
//!
//! ```text
//! zones/*.xml ─ zone, definitions ─► elements ─ decisions ─► what each decides, in firewalld's order
//!             ─ dispatch ─► one list of rules, zone after zone ─ translate ─► services, and what became of each element
//!             ─ expect ─► what has to be true of the policy
//! ```

mod conf;
mod decisions;
mod definitions;
mod dispatch;
mod expect;
mod others;
mod ports;
mod translate;
mod xml;
mod zone;

use super::report::Report;
use super::{Imported, Live};
use definitions::Definitions;
use std::collections::{BTreeMap, BTreeSet};
use zone::Zone;

/// Files that are read where they are there. Their paths are relative to the root.
pub const FILES: [&str; 2] = ["etc/firewalld/firewalld.conf", "etc/firewalld/direct.xml"];
/// Folders of whose files those that end in `.xml` are read. What stands in the first replaces what is shipped.
pub const FOLDERS: [&str; 2] = ["etc/firewalld", "usr/lib/firewalld"];
/// The folders in these.
pub const KINDS: [&str; 4] = ["services", "ipsets", "zones", "policies"];

/// What was read of an installation.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// The files by their paths, relative to the root.
    pub files: BTreeMap<String, String>,
    /// Folders in `zones`, which firewalld reads and this does not.
    pub folders: BTreeSet<String>,
    /// Whether NetworkManager is installed there.
    pub has_network_manager: bool,
    /// The machine that they are of, where it is this one.
    pub live: Option<Live>,
}

/// What the files say.
struct Sources {
    conf: conf::Conf,
    definitions: Definitions,
    /// By their names.
    zones: Vec<Zone>,
    /// Policies and direct rules.
    others: Report,
}

/// Translates an installation.
///
/// # Errors
/// There is none, or firewalld itself could not use it: in words, each file with its line.
pub fn import(installation: &Installation) -> Result<Imported, String> {
    let sources = read(installation)?;
    let default = sources.zones.iter().position(|zone| zone.name == sources.conf.default_zone);
    let default = default.ok_or_else(|| {
        let name = crate::printable::printable(&sources.conf.default_zone).to_string();
        format!(
            "no file defines the default zone {name}: copy /usr/lib/firewalld, too, if this is the copy of a machine"
        )
    })?;
    Ok(translate::translated(installation, &sources, default))
}

/// Reads the files, each kind of which a file in `/etc` replaces the shipped one.
fn read(installation: &Installation) -> Result<Sources, String> {
    let [conf, direct] = FILES;
    let is_there = installation.files.keys().any(|path| path.starts_with("etc/firewalld/"));
    if !is_there {
        return Err("etc/firewalld is not there: no firewalld is installed below this root".to_owned());
    }
    let mut sources = Sources {
        conf: conf::read(installation.files.get(conf).map(String::as_str).unwrap_or_default()),
        definitions: Definitions::default(),
        zones: Vec::new(),
        others: Report::default(),
    };
    let mut faults = Vec::new();
    for kind in KINDS {
        let mut named: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for folder in FOLDERS.into_iter().rev() {
            let begin = format!("{folder}/{kind}/");
            for (path, text) in &installation.files {
                let name = path.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(".xml"));
                if let Some(name) = name.filter(|name| !name.contains('/')) {
                    named.insert(name, (path, text));
                }
            }
        }
        for (name, (path, text)) in named {
            if let Err(fault) = sources.take(kind, name, path, text) {
                faults.push(format!("{path}:{}: {}", fault.line, fault.why));
            }
        }
    }
    if let Some(text) = installation.files.get(direct)
        && let Err(fault) = others::direct("direct.xml", text, &mut sources.others)
    {
        faults.push(format!("{direct}:{}: {}", fault.line, fault.why));
    }
    if faults.is_empty() {
        return Ok(sources);
    }
    let said =
        "firewalld can't use these files either, and then falls back to the zones that are shipped: mend them first";
    Err(format!("{said}\n  {}", faults.join("\n  ")))
}

impl Sources {
    fn take(&mut self, kind: &str, name: &str, path: &str, text: &str) -> Result<(), xml::Fault> {
        let shipped = path.starts_with("usr/");
        let short = path.strip_prefix("etc/firewalld/").map_or_else(|| format!("/{path}"), str::to_owned);
        match kind {
            "services" => self.definitions.service(name, text),
            "ipsets" => self.definitions.set(name, text),
            "zones" => {
                self.zones.push(Zone::read(name, &short, text)?);
                Ok(())
            }
            _ => others::policy(name, &short, shipped, text, &mut self.others),
        }
    }
}
