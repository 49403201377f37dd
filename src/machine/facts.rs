//! The facts that a policy is held against, as one value.

use super::networks::engines;
use super::processes::Process;
use super::resolvers::resolvers;
use super::sessions::serves_ssh;
use super::{DockerOptions, Engine, Gap, Gaps, Listener, Sysctls, docker_options, listeners, ssh_ports};
use crate::net::protocol;
use crate::netlink::RoutedLink;
use crate::netlink::routing::Routing;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What this machine is, as far as it could be read. A fact that could not be read has an entry in `gaps`, and its
/// field is `None` or looks as if nothing were there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The interfaces, with the networks and gateways behind them; `None` if unknown.
    pub links: Option<Vec<RoutedLink>>,
    /// The name servers that it asks over the network.
    pub resolvers: BTreeSet<IpAddr>,
    /// The sysctls.
    pub sysctls: Sysctls,
    /// The sockets that it listens on; `None` if unknown.
    pub listeners: Option<Vec<Listener>>,
    /// The ports other than those of the loopback at which an SSH server listens.
    pub ssh_ports: BTreeSet<u16>,
    /// How Docker's daemon was started; `None` if it does not run.
    pub docker: Option<DockerOptions>,
    /// The container engines, as they describe themselves.
    pub engines: Vec<Engine>,
    /// What could not be read, and why.
    pub gaps: Gaps,
}

impl Machine {
    /// Reads the facts of the network namespace of this process. Without root it reads those that need none.
    ///
    /// Call it before the process is confined: it asks engines over their sockets, and looks at processes.
    #[must_use]
    pub fn read() -> Self {
        let mut gaps = Gaps::default();
        let unknown = |what: &str, why: String, help: &str| Gap { what: what.to_owned(), why, help: help.to_owned() };
        let links = Routing::open().and_then(|routing| routing.topology());
        let links = links.map(Some).map_err(|error| {
            unknown("the interfaces of this machine and its routes", error.to_string(), "`ip route`")
        });
        let listeners = listeners()
            .map(Some)
            .map_err(|error| unknown("the sockets that this machine listens on", error.to_string(), "`ss -lntu`"));
        let docker = docker_options().map_err(|why| {
            unknown("the options of Docker's daemon", why, "mend that file, or run palisade where it can be read")
        });
        let (links, listeners) = (gaps.or_nothing(links), gaps.or_nothing(listeners));
        let docker = gaps.or_nothing(docker);
        Self {
            links,
            resolvers: resolvers(&mut gaps),
            sysctls: Sysctls::read(&mut gaps),
            ssh_ports: listeners.as_deref().map(ssh_ports_among).unwrap_or_default(),
            listeners,
            engines: engines(docker.is_some(), &mut gaps),
            docker,
            gaps,
        }
    }
}

/// The ports of SSH servers: of root's own `sshd`, and those that its configuration names, whose socket systemd may
/// hold.
fn ssh_ports_among(listeners: &[Listener]) -> BTreeSet<u16> {
    let configured = ssh_ports();
    let is_ssh = |listener: &&Listener| {
        let by_server = || {
            let process = listener.process.as_ref().and_then(|holder| Process::open(holder.pid));
            process.is_some_and(|process| serves_ssh(&process))
        };
        let socket = &listener.socket;
        let from_outside = socket.protocol == protocol::TCP && !socket.address.is_loopback();
        from_outside && (configured.contains(&socket.port) || by_server())
    };
    listeners.iter().filter(is_ssh).map(|listener| listener.socket.port).collect()
}
