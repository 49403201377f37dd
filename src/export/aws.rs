//! Security groups of AWS: the `IpPermissions` of `aws ec2 authorize-security-group-ingress` and `-egress`, and Terraform's
//! `aws_security_group` with a rule for each network, as its provider wants it.

use super::allowed::What;
use super::fit::{Firewall, Rule};
use super::terraform;
use crate::net::{Transport, Version, protocol};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// Every protocol.
const ALL: &str = "-1";
/// The most characters of a description.
const MAX_DESCRIPTION: usize = 255;

/// For each group its `ingress` and `egress`: what `--ip-permissions` takes.
pub(super) fn document(firewalls: &[Firewall], sends: bool) -> Value {
    let each = firewalls.iter().map(|one| {
        let egress = if sends {
            json!([{
                "IpProtocol": ALL,
                "IpRanges": [{ "CidrIp": "0.0.0.0/0" }],
                "Ipv6Ranges": [{ "CidrIpv6": "::/0" }],
            }])
        } else {
            json!([])
        };
        let ingress: Vec<Value> = one.rules.iter().flat_map(permissions).collect();
        (one.name.clone(), json!({ "ingress": ingress, "egress": egress }))
    });
    each.collect::<Map<_, _>>().into()
}

/// A rule, for each family that it has networks of and that it is said otherwise for.
fn permissions(rule: &Rule) -> Vec<Value> {
    let description = description(rule);
    let of = |versions: &[Version]| {
        let (protocol, range) = said(rule.what, versions.first().copied().unwrap_or(Version::V4));
        let mut fields = Map::new();
        fields.insert("IpProtocol".to_owned(), protocol.into());
        if let Some((from, to)) = range {
            fields.insert("FromPort".to_owned(), from.into());
            fields.insert("ToPort".to_owned(), to.into());
        }
        for version in versions {
            let (list, key) = match version {
                Version::V4 => ("IpRanges", "CidrIp"),
                Version::V6 => ("Ipv6Ranges", "CidrIpv6"),
            };
            let networks =
                over(rule, *version).map(|net| json!({ key: net.to_string(), "Description": description }));
            let networks: Vec<Value> = networks.collect();
            if !networks.is_empty() {
                fields.insert(list.to_owned(), networks.into());
            }
        }
        Value::from(fields)
    };
    let versions: Vec<Version> =
        Version::ALL.into_iter().filter(|version| over(rule, *version).next().is_some()).collect();
    match versions.as_slice() {
        [v4, v6] if said(rule.what, *v4) != said(rule.what, *v6) => vec![of(&[*v4]), of(&[*v6])],
        all => vec![of(all)],
    }
}

/// The security groups, and a rule for each network.
pub(super) fn resources(firewalls: &[Firewall], sends: bool) -> Value {
    let (mut groups, mut ingress, mut egress) = (Map::new(), Map::new(), Map::new());
    for firewall in firewalls {
        let label = terraform::label(&firewall.name);
        let id = format!("${{aws_security_group.{label}.id}}");
        groups.insert(label.clone(), json!({ "name": firewall.name, "description": "Made by palisade export" }));
        for rule in &firewall.rules {
            for network in &rule.networks {
                let (protocol, range) = said(rule.what, version(network));
                let mut fields = json!({
                    "security_group_id": id,
                    cidr(network): network.to_string(),
                    "ip_protocol": protocol,
                    "description": terraform::without_templates(&description(rule)),
                });
                if let Some((from, to)) = range {
                    fields["from_port"] = from.into();
                    fields["to_port"] = to.into();
                }
                let name = format!("{label}-{}-{}-{network}", rule.service, short(rule.what));
                insert(&mut ingress, terraform::label(&name), fields);
            }
        }
        // The provider takes away the rule by which a new group lets everything out.
        for (family, key, network) in [("v4", "cidr_ipv4", "0.0.0.0/0"), ("v6", "cidr_ipv6", "::/0")] {
            if sends {
                let fields = json!({ "security_group_id": id, key: network, "ip_protocol": ALL });
                egress.insert(format!("{label}-{family}"), fields);
            }
        }
    }
    let mut all = Map::new();
    all.insert("aws_security_group".to_owned(), groups.into());
    let rules = [("aws_vpc_security_group_ingress_rule", ingress), ("aws_vpc_security_group_egress_rule", egress)];
    all.extend(
        rules.into_iter().filter(|(_, rules)| !rules.is_empty()).map(|(name, of)| (name.to_owned(), of.into())),
    );
    all.into()
}

/// Adds a resource; the second of a label gets another one.
fn insert(resources: &mut Map<String, Value>, label: String, fields: Value) {
    let mut free = label.clone();
    let mut number = 2;
    while resources.contains_key(&free) {
        free = format!("{label}_{number}");
        number += 1;
    }
    resources.insert(free, fields);
}

fn over(rule: &Rule, family: Version) -> impl Iterator<Item = &IpNet> {
    rule.networks.iter().filter(move |network| version(network) == family)
}

const fn version(network: &IpNet) -> Version {
    match network {
        IpNet::V4(_) => Version::V4,
        IpNet::V6(_) => Version::V6,
    }
}

const fn cidr(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => "cidr_ipv4",
        IpNet::V6(_) => "cidr_ipv6",
    }
}

/// The protocol over a family, with the first and the last port, or the type and the code of ICMP, of which -1 is every one.
fn said(what: What, version: Version) -> (String, Option<(i32, i32)>) {
    let icmp = match version {
        Version::V4 => "icmp",
        Version::V6 => "icmpv6",
    };
    match what {
        What::Ports(ports) => match ports.transport {
            Transport::Tcp | Transport::Udp => {
                (ports.transport.name().to_owned(), Some((ports.first.into(), ports.last.into())))
            }
            Transport::Sctp => (protocol::SCTP.to_string(), None),
        },
        What::Ping => (icmp.to_owned(), Some((if version == Version::V4 { 8 } else { 128 }, -1))),
        What::Icmp => (icmp.to_owned(), Some((-1, -1))),
        What::Error(_, number) => (icmp.to_owned(), Some((number.into(), -1))),
        What::Protocol(number) => (number.to_string(), None),
        What::Everything => (ALL.to_owned(), None),
    }
}

/// What a rule is about, within the label of a resource.
fn short(what: What) -> String {
    match what {
        What::Ports(ports) if ports.first == ports.last => format!("{}-{}", ports.transport.name(), ports.first),
        What::Ports(ports) => format!("{}-{}-{}", ports.transport.name(), ports.first, ports.last),
        What::Ping => "ping".to_owned(),
        What::Icmp => "icmp".to_owned(),
        What::Error(_, number) => number.to_string(),
        What::Protocol(number) => format!("proto-{number}"),
        What::Everything => "all".to_owned(),
    }
}

/// The service and its comment, in the characters that AWS takes.
fn description(rule: &Rule) -> String {
    let taken = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    rule.description().chars().map(|c| if taken(c) { c } else { '_' }).take(MAX_DESCRIPTION).collect()
}
