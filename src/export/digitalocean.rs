//! DigitalOcean: the body of `POST /v2/firewalls` and `PUT /v2/firewalls/ID`, and Terraform's `digitalocean_firewall`.

use super::allowed::What;
use super::fit::{Firewall, Rule};
use super::terraform;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// What goes out if everything does.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "icmp"];
const EVERYONE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The body of one firewall; of several, an array.
pub(super) fn document(firewalls: &[Firewall], sends: bool) -> Value {
    let body = |firewall: &Firewall| {
        let inbound: Vec<Value> = firewall.rules.iter().map(inbound).collect();
        // Without rules for what goes out nothing does.
        let outbound = PROTOCOLS
            .iter()
            .filter(|_| sends)
            .map(|protocol| json!({ "protocol": protocol, "ports": "0", "destinations": { "addresses": EVERYONE } }));
        json!({ "name": firewall.name, "inbound_rules": inbound, "outbound_rules": outbound.collect::<Vec<_>>() })
    };
    match firewalls {
        [only] => body(only),
        all => all.iter().map(body).collect(),
    }
}

/// `digitalocean_firewall`, one a firewall.
pub(super) fn resources(firewalls: &[Firewall], sends: bool) -> Value {
    let body = |firewall: &Firewall| {
        let inbound: Vec<Value> = firewall
            .rules
            .iter()
            .map(|rule| terraform_rule(rule.what, "source_addresses", addresses(rule).into()))
            .collect();
        let outbound = PROTOCOLS.iter().filter(|_| sends).map(|protocol| {
            let mut rule = json!({ "protocol": protocol, "destination_addresses": EVERYONE });
            if *protocol != "icmp" {
                rule["port_range"] = "all".into();
            }
            rule
        });
        let outbound: Vec<Value> = outbound.collect();
        json!({ "name": firewall.name, "inbound_rule": inbound, "outbound_rule": outbound })
    };
    let each = firewalls.iter().map(|one| (terraform::label(&one.name), body(one)));
    json!({ "digitalocean_firewall": each.collect::<Map<_, _>>() })
}

fn inbound(rule: &Rule) -> Value {
    let (protocol, ports) = protocol(rule.what);
    let ports = ports.unwrap_or_else(|| "0".to_owned());
    json!({ "protocol": protocol, "ports": ports, "sources": { "addresses": addresses(rule) } })
}

fn terraform_rule(what: What, peers: &str, addresses: Value) -> Value {
    let (protocol, ports) = protocol(what);
    let mut rule = json!({ "protocol": protocol, peers: addresses });
    if let Some(ports) = ports {
        rule["port_range"] = if ports == "0" { "all".into() } else { ports.into() };
    }
    rule
}

/// The protocol, and its ports, if it has any: `0` is all.
fn protocol(what: What) -> (String, Option<String>) {
    match what {
        What::Ports(ports) => {
            let numbers = match (ports.first, ports.last) {
                (0 | 1, u16::MAX) => "0".to_owned(),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            (ports.transport.name().to_owned(), Some(numbers))
        }
        What::Ping | What::Icmp | What::Error(..) => ("icmp".to_owned(), None),
        // None of them comes here: Vendor::supports.
        What::Protocol(number) => (number.to_string(), None),
        What::Everything => ("any".to_owned(), None),
    }
}

/// Its networks; a single address without the length of its prefix.
fn addresses(rule: &Rule) -> Vec<String> {
    let text = |network: &IpNet| {
        if network.prefix_len() == network.max_prefix_len() {
            network.addr().to_string()
        } else {
            network.to_string()
        }
    };
    rule.networks.iter().map(text).collect()
}
