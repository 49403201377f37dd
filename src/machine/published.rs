//! The ports that containers publish, as their engines report them.

use super::engines::{EngineError, EngineKind, get};
use crate::net::protocol;
use crate::printable::printable;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A port of this machine behind which a container listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port on this machine.
    pub port: u16,
    /// The address of this machine that it is published on; the unspecified address means all of that family.
    pub address: IpAddr,
    /// The container's name.
    pub container: String,
    /// The port that the container listens on.
    pub container_port: u16,
    /// The container's engine.
    pub engine: EngineKind,
}

/// The ports that an engine publishes.
///
/// # Errors
///
/// [`EngineError`], if the engine can't be asked.
pub fn published_ports(kind: EngineKind, socket: &Path) -> Result<Vec<PublishedPort>, EngineError> {
    get(socket, "/containers/json").map(|answer| read(kind, &answer))
}

/// Reads the list of running containers, and skips what it does not understand.
pub(super) fn read(engine: EngineKind, answer: &Value) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for container in answer.as_array().into_iter().flatten() {
        let name = container["Names"].as_array().and_then(|names| names.first()?.as_str());
        let name = name.or_else(|| container["Id"].as_str()?.get(..12)).unwrap_or("?").trim_start_matches('/');
        for port in container["Ports"].as_array().into_iter().flatten() {
            let number =
                |key: &str| port[key].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
            let protocol = match port["Type"].as_str() {
                Some("udp") => protocol::UDP,
                Some("sctp") => protocol::SCTP,
                _ => protocol::TCP,
            };
            let (Some(public), Some(private)) = (number("PublicPort"), number("PrivatePort")) else { continue };
            let addresses = match port["IP"].as_str().unwrap_or_default() {
                "" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
                address => address.parse().into_iter().collect(),
            };
            ports.extend(addresses.into_iter().map(|address| PublishedPort {
                protocol,
                port: public,
                address,
                container: printable(name).into_owned(),
                container_port: private,
                engine,
            }));
        }
    }
    ports.sort();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_published_port_has_its_container_and_the_address_it_is_published_at() {
        let answer = json!([
            { "Names": ["/dashboard"], "Ports": [
                { "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 9010, "Type": "tcp" },
                { "IP": "::", "PrivatePort": 80, "PublicPort": 9010, "Type": "tcp" },
                { "PrivatePort": 443, "Type": "tcp" },
            ] },
            { "Id": "0123456789abcdef", "Ports": [{ "IP": "", "PrivatePort": 53, "PublicPort": 53, "Type": "udp" }] },
            { "Names": [], "Ports": [{ "IP": "nowhere", "PrivatePort": 1, "PublicPort": 70000, "Type": "tcp" }] },
            7,
        ]);

        let read: Vec<String> = read(EngineKind::Docker, &answer)
            .into_iter()
            .map(|port| {
                format!("{} {}:{} {}:{}", port.protocol, port.address, port.port, port.container, port.container_port)
            })
            .collect();

        assert_eq!(
            read,
            [
                "6 0.0.0.0:9010 dashboard:80",
                "6 :::9010 dashboard:80",
                "17 0.0.0.0:53 0123456789ab:53",
                "17 :::53 0123456789ab:53",
            ]
        );
        assert_eq!(super::read(EngineKind::Docker, &json!({ "message": "no" })), []);
    }
}
