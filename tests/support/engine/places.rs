//! Where the names of rows are beside a running engine.

use super::{Container, Engine};
use crate::support::lab::{ANY, CLIENT, HOST, LAN, LOOPBACK, Lab, OUT};
use crate::support::namespace::Namespace;
use crate::support::probe::PATIENCE;
use crate::support::rows::{Places, Probe};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Where the names of rows are: it changes when containers do.
pub struct EnginePlaces<'lab> {
    lab: &'lab Lab,
    containers: BTreeMap<&'static str, Container>,
}

impl<'lab> EnginePlaces<'lab> {
    /// Those of a lab and these containers of its engine, all of which run.
    #[track_caller]
    pub fn new(lab: &'lab Lab, engine: &Engine, containers: &[&'static str]) -> Self {
        let containers = engine.containers(containers);
        let since = Instant::now();
        for inside in containers.iter().map(|container| &container.inside).chain([&lab.host]) {
            // Until nobody else is known to have it, an IPv6 address is not used.
            while !inside.ip("-6 address show tentative").is_empty() {
                assert!(since.elapsed() < PATIENCE, "an address stays tentative");
                thread::sleep(Duration::from_millis(50));
            }
        }
        Self { lab, containers: containers.into_iter().map(|container| (container.name, container)).collect() }
    }
}

impl Places for EnginePlaces<'_> {
    fn of(&self, probe: &Probe) -> Option<(&Namespace, IpAddr, IpAddr)> {
        let family = usize::from(probe.six);
        let of_family =
            |addresses: &[IpAddr]| addresses.iter().copied().find(|address| address.is_ipv6() == probe.six);
        let (inside, from) = match probe.from.as_str() {
            "trusted" => (&self.lab.client, CLIENT[family]),
            "out" => (&self.lab.client, OUT[family]),
            "neighbour" => (&self.lab.lan, LAN[family]),
            "host" => (&self.lab.host, ANY[family]),
            name => {
                let container = self.containers.get(name)?;
                (&container.inside, of_family(&container.addresses)?)
            }
        };
        let to = match probe.to.as_str() {
            "host" => HOST[family],
            "loopback" => LOOPBACK[family],
            "outside" => CLIENT[family],
            name => match name.strip_prefix("gateway:") {
                Some(name) => of_family(&self.containers.get(name)?.gateways)?,
                None => of_family(&self.containers.get(name)?.addresses)?,
            },
        };
        Some((inside, from, to))
    }

    fn name_server(&self, from: &str) -> Option<IpAddr> {
        self.containers.get(from)?.name_server
    }
}
