//! Where the names of rows are in a replay, which has its containers' stand-ins by other names.

use super::lab::{ANY, LOOPBACK};
use super::namespace::Namespace;
use super::replay::Replay;
use super::rows::{Places, Probe, What};
use std::net::IpAddr;

/// Containers of the rows and their stand-ins.
const STAND_INS: [(&str, &str); 11] = [
    ("same", "w1"),
    ("other", "map"),
    ("inner", "w2"),
    ("datagram", "udp"),
    ("user", "u1"),
    ("user-unpublished", "u2"),
    ("six", "six"),
    ("six-unpublished", "seven"),
    ("address", "hip"),
    ("unpublished", "w0"),
    ("later", "new"),
];

/// The host's addresses in the containers' networks.
const GATEWAYS: [(&str, &str, &str); 3] =
    [("same", "172.17.0.1", ""), ("user", "172.18.0.1", ""), ("six", "172.19.0.1", "fd00:6::1")];

impl Replay {
    fn who(&self, name: &str, six: bool) -> Option<(&Namespace, IpAddr)> {
        let place = match name {
            "neighbour" => "lan",
            "loopback" => return Some((&self.lab.host, LOOPBACK[usize::from(six)])),
            "outside" => "trusted",
            "trusted" | "out" | "host" => name,
            name => {
                let name = STAND_INS.iter().find(|(container, _)| *container == name)?.1;
                return self.stand_in(name, six);
            }
        };
        Some(if six { self.place(&format!("{place}6")) } else { self.place(place) })
    }
}

impl Places for Replay {
    fn of(&self, probe: &Probe) -> Option<(&Namespace, IpAddr, IpAddr)> {
        // There is no engine, and no name server of one.
        if probe.what == What::Resolve {
            return None;
        }
        let (inside, from) = self.who(&probe.from, probe.six)?;
        let to = match probe.to.strip_prefix("gateway:") {
            Some(name) => {
                let (_, v4, v6) = GATEWAYS.iter().find(|(container, ..)| *container == name)?;
                (if probe.six { v6 } else { v4 }).parse().ok()?
            }
            None => self.who(&probe.to, probe.six)?.1,
        };
        // As seen from the host itself, the kernel chooses.
        Some((inside, if probe.from == "host" { ANY[usize::from(probe.six)] } else { from }, to))
    }

    fn name_server(&self, _: &str) -> Option<IpAddr> {
        None
    }
}
