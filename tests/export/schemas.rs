//! What the vendors publish of their documents, as JSON Schema written by hand, with no argument beside those that
//! Terraform's providers have.

use serde_json::{Value, json};

/// A network: an address and the length of its prefix.
const NETWORK: &str = r"^[0-9a-f.:]+/[0-9]{1,3}$";
const PORTS: &str = r"^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$";
/// DigitalOcean's own pattern.
const NAME: &str = r"^[a-zA-Z0-9][a-zA-Z0-9\.-]+$";

/// The schema of a format.
pub(crate) fn of(format: &str) -> Value {
    match format {
        "hetzner" => {
            json!({ "oneOf": [hetzner_rules(), { "type": "object", "additionalProperties": hetzner_rules() }] })
        }
        "digitalocean" => {
            json!({ "oneOf": [digitalocean(), { "type": "array", "minItems": 2, "items": digitalocean() }] })
        }
        "aws" => json!({
            "type": "object",
            "additionalProperties": object(&["ingress", "egress"], &[], json!({
                "ingress": { "type": "array", "items": permission() },
                "egress": { "type": "array", "items": permission() },
            })),
        }),
        "terraform-hetzner" => terraform(&json!({ "hcloud_firewall": of_each(object(&["name"], &["rule"], json!({
            "name": { "type": "string", "maxLength": 128 }, "rule": hetzner_rules(),
        })))})),
        "terraform-digitalocean" => terraform(&json!({ "digitalocean_firewall": of_each(object(
            &["name", "inbound_rule", "outbound_rule"], &[], json!({
                "name": { "type": "string", "pattern": NAME },
                "inbound_rule": { "type": "array", "items": terraform_rule("source_addresses") },
                "outbound_rule": { "type": "array", "items": terraform_rule("destination_addresses") },
            }),
        ))})),
        "terraform-aws" => terraform(&json!({
            "aws_security_group": of_each(object(&["name", "description"], &[], json!({
                "name": text(), "description": text(),
            }))),
            "aws_vpc_security_group_ingress_rule": of_each(security_group_rule()),
            "aws_vpc_security_group_egress_rule": of_each(security_group_rule()),
        })),
        other => panic!("no format {other}"),
    }
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 255 })
}

/// An object that needs some fields, may have others, and no more.
fn object(needs: &[&str], may: &[&str], properties: Value) -> Value {
    let known = properties.as_object().expect("properties").len();
    assert!(needs.len() + may.len() == known, "{properties}");
    json!({ "type": "object", "required": needs, "properties": properties, "additionalProperties": false })
}

fn of_each(resource: Value) -> Value {
    json!({ "type": "object", "minProperties": 1, "additionalProperties": resource })
}

fn terraform(resources: &Value) -> Value {
    object(
        &["//", "resource"],
        &[],
        json!({
            "//": { "type": "array", "items": { "type": "string" } },
            "resource": { "type": "object", "properties": resources, "additionalProperties": false },
        }),
    )
}

fn hetzner_rules() -> Value {
    let networks = json!({ "type": "array", "minItems": 1, "maxItems": 100, "items": { "pattern": NETWORK } });
    let rule = object(
        &["description", "direction", "protocol"],
        &["port", "source_ips", "destination_ips"],
        json!({
            "description": text(),
            "direction": { "enum": ["in", "out"] },
            "protocol": { "enum": ["tcp", "udp", "icmp", "esp", "gre"] },
            "port": { "type": "string", "pattern": PORTS },
            "source_ips": networks,
            "destination_ips": networks,
        }),
    );
    let has_ports = json!({ "properties": { "protocol": { "enum": ["tcp", "udp"] } } });
    let comes_in = json!({ "properties": { "direction": { "const": "in" } } });
    let needs = |field: &str| json!({ "required": [field] });
    let rule = json!({
        "allOf": [
            rule,
            { "if": has_ports, "then": needs("port"), "else": { "not": needs("port") } },
            { "if": comes_in, "then": needs("source_ips"), "else": needs("destination_ips") },
        ],
    });
    json!({ "type": "array", "maxItems": 50, "items": rule })
}

fn digitalocean() -> Value {
    let rule = |peers: &str| {
        let addresses = json!({ "type": "array", "minItems": 1, "maxItems": 1000, "items": { "type": "string" } });
        object(
            &["protocol", "ports", peers],
            &[],
            json!({
                "protocol": { "enum": ["tcp", "udp", "icmp"] },
                "ports": { "type": "string", "pattern": format!("{PORTS}|^0$") },
                peers: object(&["addresses"], &[], json!({ "addresses": addresses })),
            }),
        )
    };
    object(
        &["name", "inbound_rules", "outbound_rules"],
        &[],
        json!({
            "name": { "type": "string", "pattern": NAME },
            "inbound_rules": { "type": "array", "items": rule("sources") },
            "outbound_rules": { "type": "array", "items": rule("destinations") },
        }),
    )
}

/// `inbound_rule` and `outbound_rule` of `digitalocean_firewall`.
fn terraform_rule(peers: &str) -> Value {
    let rule = object(
        &["protocol", peers],
        &["port_range"],
        json!({
            "protocol": { "enum": ["tcp", "udp", "icmp"] },
            "port_range": { "type": "string", "pattern": format!("{PORTS}|^all$") },
            peers: { "type": "array", "minItems": 1, "items": { "type": "string" } },
        }),
    );
    let is_icmp = json!({ "properties": { "protocol": { "const": "icmp" } } });
    let range = json!({ "required": ["port_range"] });
    json!({ "allOf": [rule, { "if": is_icmp, "then": { "not": range }, "else": range }] })
}

/// `IpPermission` of the EC2 API.
fn permission() -> Value {
    let range = |cidr: &str| {
        let range = object(&[cidr], &["Description"], json!({ cidr: { "pattern": NETWORK }, "Description": text() }));
        json!({ "type": "array", "minItems": 1, "items": range })
    };
    object(
        &["IpProtocol"],
        &["FromPort", "ToPort", "IpRanges", "Ipv6Ranges"],
        json!({
            "IpProtocol": text(),
            "FromPort": { "type": "integer" },
            "ToPort": { "type": "integer" },
            "IpRanges": range("CidrIp"),
            "Ipv6Ranges": range("CidrIpv6"),
        }),
    )
}

/// `aws_vpc_security_group_ingress_rule` and `..._egress_rule`.
fn security_group_rule() -> Value {
    let rule = object(
        &["security_group_id", "ip_protocol"],
        &["cidr_ipv4", "cidr_ipv6", "from_port", "to_port", "description"],
        json!({
            "security_group_id": { "pattern": r"^\$\{aws_security_group\.[A-Za-z_][A-Za-z0-9_-]*\.id\}$" },
            "ip_protocol": text(),
            "cidr_ipv4": { "pattern": NETWORK },
            "cidr_ipv6": { "pattern": NETWORK },
            "from_port": { "type": "integer" },
            "to_port": { "type": "integer" },
            "description": text(),
        }),
    );
    json!({ "allOf": [rule, { "oneOf": [{ "required": ["cidr_ipv4"] }, { "required": ["cidr_ipv6"] }] }] })
}
