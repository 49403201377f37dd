//! Hetzner Cloud: the bare array that `hcloud firewall replace-rules --rules-file` reads, and Terraform's `hcloud_firewall`.

use super::allowed::What;
use super::fit::{Firewall, Rule};
use super::terraform;
use crate::net::Transport;
use serde_json::{Map, Value, json};

/// One array; of several firewalls, an object with the array of each.
pub(super) fn document(firewalls: &[Firewall], sends: bool) -> Value {
    match firewalls {
        [only] => rules(only, sends).into(),
        all => all.iter().map(|one| (one.name.clone(), rules(one, sends).into())).collect::<Map<_, _>>().into(),
    }
}

/// `hcloud_firewall`, one a firewall.
pub(super) fn resources(firewalls: &[Firewall], sends: bool) -> Value {
    let each = firewalls.iter().map(|one| {
        let rules = rules(one, sends).into_iter().map(terraform::escaped).collect::<Vec<_>>();
        (terraform::label(&one.name), json!({ "name": one.name, "rule": rules }))
    });
    json!({ "hcloud_firewall": each.collect::<Map<_, _>>() })
}

fn rules(firewall: &Firewall, sends: bool) -> Vec<Value> {
    let mut all: Vec<Value> = firewall.rules.iter().map(rule).collect();
    if !sends {
        // Without a rule for what goes out everything does; with one, all else is denied. Nobody has this address.
        all.push(json!({
            "description": "outgoing: nothing",
            "direction": "out",
            "protocol": "udp",
            "port": "9",
            "destination_ips": ["192.0.2.1/32"],
        }));
    }
    all
}

fn rule(rule: &Rule) -> Value {
    let networks: Vec<String> = rule.networks.iter().map(ToString::to_string).collect();
    let mut fields = Map::new();
    fields.insert("description".to_owned(), rule.description().into());
    fields.insert("direction".to_owned(), "in".into());
    let protocol = match rule.what {
        What::Ports(ports) => {
            let port = if ports.first == ports.last {
                ports.first.to_string()
            } else {
                format!("{}-{}", ports.first, ports.last)
            };
            fields.insert("port".to_owned(), port.into());
            match ports.transport {
                Transport::Tcp | Transport::Udp | Transport::Sctp => ports.transport.name().to_owned(),
            }
        }
        What::Ping | What::Icmp | What::Error(..) => "icmp".to_owned(),
        What::Protocol(47) => "gre".to_owned(),
        What::Protocol(50) => "esp".to_owned(),
        // None of them comes here: Vendor::supports.
        What::Protocol(number) => number.to_string(),
        What::Everything => "any".to_owned(),
    };
    fields.insert("protocol".to_owned(), protocol.into());
    fields.insert("source_ips".to_owned(), networks.into());
    fields.into()
}
