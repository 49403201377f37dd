//! Rulesets as the kernel gave them: `NAME.nft` or `NAME.rules` is what was loaded, `NAME.bin` what the kernel then listed.
//! `tests/kernel_import_tables.rs` writes and compares them.

use super::dump::{folder, tables_of};
use palisade::exposure::{Interface, Machine};
use palisade::ruleset::{AddressType, Table, TableId};
use palisade::simulate::{AsListed, Asked, Beneath, Doubt, Properties, Routes, Way};
use std::fs;
use std::net::IpAddr;
use std::rc::Rc;

/// The names of the recorded rulesets.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".bin").map(str::to_owned)).collect();
    names.sort();
    names
}

/// A ruleset.
pub(crate) struct Recorded {
    pub(crate) tables: Vec<(TableId, Table)>,
    /// Whether `import iptables` is meant.
    pub(crate) is_iptables: bool,
    /// Whether containers are behind docker0.
    pub(crate) has_containers: bool,
    /// Whether the machine forwards packets.
    pub(crate) forwards: bool,
}

impl Recorded {
    /// Reads `NAME.bin`: each table as a number of bytes, and then its messages.
    pub(crate) fn read(name: &str) -> Self {
        let bytes = fs::read(folder().join(format!("{name}.bin"))).expect("it was recorded");
        let is_iptables = folder().join(format!("{name}.rules")).exists();
        Self {
            tables: tables_of(&bytes),
            is_iptables,
            has_containers: name.contains("docker"),
            forwards: name.contains("router"),
        }
    }
}

/// Interfaces of a machine that is data.
struct Plain;

impl Routes for Plain {
    fn way(&self, _: &Asked<'_>) -> Result<Way, Doubt> {
        Err("the rules alone are asked".into())
    }

    fn address_type(&self, _: IpAddr) -> Result<AddressType, Doubt> {
        Err("the rules alone are asked".into())
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        let all = ["lo", "eth0", "eth1", "docker0"];
        let at = all.iter().position(|name| *name == interface).ok_or("there is no such interface")?;
        Ok(u32::try_from(at).expect("there are few") + 1)
    }

    fn beneath(&self, _: &str) -> Result<Beneath, Doubt> {
        Ok(Beneath::default())
    }

    fn properties(&self, _: &str) -> Result<Properties, Doubt> {
        Ok(Properties { hardware: 1, ..Properties::default() })
    }
}

/// Asks a machine that has a ruleset: 203.0.113.1 on eth0, 10.77.0.1 on eth1, and of some 172.17.0.1 on docker0.
pub(crate) fn with_machine<T>(recorded: &Recorded, ask: impl FnOnce(&Machine<'_>) -> T) -> T {
    let interface = |name: &str, addresses: &[(&str, u8)]| Interface {
        name: name.to_owned(),
        containers: name == "docker0",
        addresses: addresses.iter().map(|(one, prefix)| (one.parse().expect("an address"), *prefix)).collect(),
    };
    let mut interfaces = vec![
        interface("eth0", &[("203.0.113.1", 24), ("2001:db8::1", 64)]),
        interface("eth1", &[("10.77.0.1", 24), ("fd77::1", 64)]),
    ];
    if recorded.has_containers {
        interfaces.push(interface("docker0", &[("172.17.0.1", 16)]));
    }
    let tables = &recorded.tables;
    ask(&Machine {
        tables: tables.iter().map(|(id, table)| (id, table)).collect(),
        sets: &AsListed,
        elements: Box::new(|id, name| {
            let table = tables.iter().find(|(of, _)| of == id).map(|(_, table)| table)?;
            let set =
                table.sets.get(name).filter(|set| !set.spec.flags.contains(palisade::ruleset::SetFlags::DYNAMIC))?;
            Some(Rc::new(set.elements.clone()))
        }),
        routes: &Plain,
        interfaces,
        listeners: Vec::new(),
        published: Vec::new(),
        ports_listed: true,
        beyond: None,
    })
}
