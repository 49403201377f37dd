//! Services without a listener, listeners that nobody reaches, and SSH that nobody would reach.

use super::{Preflight, Remark, Topic, Weight, some};
use crate::machine::Listener;
use crate::net::{IfPattern, Ports, Transport, protocol};
use crate::resolve::{Action, Peers, Service, admit_ssh};
use std::collections::{BTreeMap, BTreeSet};

/// The ports of DHCP clients, which every machine's rules admit the answers to.
const DHCP: [u16; 2] = [68, 546];
/// Where the ports begin that the kernel gives to sockets that ask for none.
const LOWEST_EPHEMERAL: u16 = 32_768;

impl Preflight<'_> {
    /// The remarks on ports.
    pub(super) fn ports(&self) -> Vec<Remark> {
        let mut remarks: Vec<Remark> = self.ssh().into_iter().collect();
        if let Some(listeners) = &self.machine.listeners {
            remarks.extend(self.unnamed_listeners(listeners));
            remarks.extend(self.idle_services(listeners));
        }
        remarks
    }

    /// A refusal if no source at all reaches an SSH server of this machine.
    fn ssh(&self) -> Option<Remark> {
        let ports = &self.machine.ssh_ports;
        let reached = |port: &u16| {
            let here = |service: &&Service| service.action == Action::Allow && service.forward_to.is_none();
            let mut services = self.policy.services.values().filter(here);
            services.any(|service| names(service, protocol::TCP, *port) && self.admits(service))
        };
        let shut = !ports.is_empty() && self.policy.defaults.incoming != Action::Allow && !ports.iter().any(reached);
        shut.then(|| {
            let listed = some(ports.iter().map(|port| format!("{port}/tcp")));
            let port = ports.first().copied().unwrap_or(22);
            Remark::new(
                Topic::Ports,
                Weight::Refusal,
                self.policy.default_lines.incoming,
                format!("nobody could reach this machine by SSH: sshd listens on {listed}, and no service lets anybody in there"),
                admit_ssh(self.policy, port),
            )
        })
    }

    /// Whether a service admits anybody by an interface that is there.
    fn admits(&self, service: &Service) -> bool {
        let is_there = |interfaces: &BTreeSet<IfPattern>| {
            let carries = |pattern: &IfPattern| {
                self.links().iter().any(|link| link.master.is_none() && pattern.covers(&link.name))
            };
            // Without knowing the interfaces, any may be there.
            self.machine.links.is_none() && !interfaces.is_empty() || interfaces.iter().any(carries)
        };
        let on = service.on.is_empty() || is_there(&service.on);
        let Peers { any, groups, addresses, interfaces, .. } = &service.from;
        let of_groups = || groups.keys().filter_map(|name| self.policy.groups.get(name));
        let from = *any
            || !addresses.is_empty()
            || is_there(interfaces)
            || of_groups().any(|group| !group.addresses.is_empty() || is_there(&group.interfaces));
        on && from
    }

    fn unnamed_listeners(&self, listeners: &[Listener]) -> Option<Remark> {
        if self.policy.defaults.incoming == Action::Allow {
            return None;
        }
        let mut unnamed: BTreeMap<Ports, String> = BTreeMap::new();
        for Listener { socket, process } in listeners.iter().filter(|listener| is_for_others(listener)) {
            let named = self.policy.services.values().any(|service| names(service, socket.protocol, socket.port));
            if !named && !self.machine.ssh_ports.contains(&socket.port) {
                let by = process.as_ref().map(|holder| format!(" ({})", holder.name)).unwrap_or_default();
                let Some(transport) = Transport::from_number(socket.protocol) else { continue };
                let port = Ports { transport, first: socket.port, last: socket.port };
                unnamed.entry(port).or_insert_with(|| format!("{port}{by}"));
            }
        }
        (!unnamed.is_empty()).then(|| {
            let message = format!(
                "nobody outside reaches {}: somebody listens there, no service names it, and the default denies",
                some(unnamed.into_values())
            );
            let help = "name in a service what others are to reach";
            Remark::new(Topic::Ports, Weight::Note, self.policy.default_lines.incoming, message, help)
        })
    }

    /// Services that allow, and of which no port is listened on, published or forwarded. Whether a port is published is known from the rules.
    fn idle_services(&self, listeners: &[Listener]) -> Vec<Remark> {
        let Some(beside) = self.beside else { return Vec::new() };
        let published = super::published(beside.tables.iter().copied());
        let translated: BTreeSet<(u8, u16)> = published.iter().map(|port| (port.protocol, port.port)).collect();
        let heard = |ports: &Ports| {
            let number = ports.transport.number();
            let among = |protocol: u8, port: u16| protocol == number && (ports.first..=ports.last).contains(&port);
            listeners.iter().any(|listener| among(listener.socket.protocol, listener.socket.port))
                || translated.iter().any(|&(protocol, port)| among(protocol, port))
        };
        // A socket of SCTP is not listed.
        let is_known = |ports: &Ports| ports.transport != Transport::Sctp;
        let idle = self.policy.services.iter().filter(|(_, service)| {
            service.action == Action::Allow
                && service.forward_to.is_none()
                && !service.ports.is_empty()
                && service.protocols.is_empty()
                && service.ports.iter().all(|ports| is_known(ports) && !heard(ports))
        });
        let remark = |(name, service): (&String, &Service)| {
            let ports = some(service.ports.iter().map(ToString::to_string));
            let message = format!("service {name} is open, and nothing listens on {ports} now, nor is it published");
            Remark::new(
                Topic::Ports,
                Weight::Note,
                Some(service.line),
                message,
                "start what it is for, or remove the service",
            )
        };
        idle.map(remark).collect()
    }
}

/// Whether a socket is there for others: not of the loopback, not a DHCP client's, not one of a client over UDP.
fn is_for_others(listener: &Listener) -> bool {
    let socket = &listener.socket;
    let for_itself =
        socket.protocol == protocol::UDP && (DHCP.contains(&socket.port) || socket.port >= LOWEST_EPHEMERAL);
    !socket.address.is_loopback() && socket.interface.as_deref() != Some("lo") && !for_itself
}

fn names(service: &Service, protocol: u8, port: u16) -> bool {
    let is_among = |ports: &Ports| ports.transport.number() == protocol && (ports.first..=ports.last).contains(&port);
    service.all || service.ports.iter().any(is_among)
}
