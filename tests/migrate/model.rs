//! What ufw does: the first rule of the IP version that matches decides, else the default. Nothing of palisade.
#![allow(unreachable_pub)]

use super::ufw::Rule;
use std::net::IpAddr;

/// A packet that opens a connection to this machine.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub sender_port: u16,
    pub destination: IpAddr,
    /// `tcp`, `udp`, `esp` or another name.
    pub protocol: &'static str,
    pub port: u16,
    pub interface: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Limit,
    Deny,
    Reject,
}

/// The first rule that matches, by its place, and what it says.
pub fn verdict(rules: &[Rule], packet: &Packet, default: Verdict) -> (Option<usize>, Verdict) {
    match rules.iter().position(|rule| matches(rule, packet)) {
        None => (None, default),
        Some(at) => {
            let verdict = match rules[at].action {
                "allow" => Verdict::Allow,
                "limit" => Verdict::Limit,
                "deny" => Verdict::Deny,
                _ => Verdict::Reject,
            };
            (Some(at), verdict)
        }
    }
}

pub fn matches(rule: &Rule, packet: &Packet) -> bool {
    let has_ports = rule.ports != "any" || rule.sender_ports != "any";
    let is_protocol = match rule.protocol {
        "any" if has_ports => ["tcp", "udp"].contains(&packet.protocol),
        "any" => true,
        one => one == packet.protocol,
    };
    let is_interface = match rule.place.strip_prefix("in_") {
        None => true,
        Some(name) => {
            name.strip_suffix('+').map_or(name == packet.interface, |begin| packet.interface.starts_with(begin))
        }
    };
    rule.six == packet.source.is_ipv6()
        && is_protocol
        && has(&rule.ports, packet.port)
        && has(&rule.sender_ports, packet.sender_port)
        && is_interface
        && holds(&rule.from, packet.source)
        && holds(&rule.to, packet.destination)
}

fn has(ports: &str, port: u16) -> bool {
    ports == "any"
        || ports.split(',').any(|item| {
            let (first, last) = item.split_once(':').unwrap_or((item, item));
            (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
        })
}

fn holds(network: &str, address: IpAddr) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, if address.is_ipv4() { "32" } else { "128" }));
    let length: u32 = length.parse().unwrap();
    match (base.parse().unwrap(), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let bits = u64::from(u32::from(base) ^ u32::from(address));
            bits >> (32 - length) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let bits = u128::from(base) ^ u128::from(address);
            bits.checked_shr(128 - length).unwrap_or_default() == 0
        }
        _ => false,
    }
}
