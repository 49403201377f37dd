//! `exposure` tells the ports that real rules publish, as real packets find them: one port at two addresses, long
//! ranges, and ports that a map names.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use support::lab::Lab;

const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9] }
services:
  dashboard: { ports: [9000/tcp, 9001/tcp], from: trusted }
  voice: { ports: 25000/udp, from: trusted }
";

fn lab(nat: &str) -> Lab {
    let lab = Lab::new();
    lab.forward();
    lab.host.ip("address add 203.0.113.2/24 dev eth0");
    lab.host.ip("link add docker0 type bridge");
    lab.host.ip("address add 172.17.0.1/16 dev docker0");
    lab.host.ip("link set docker0 up");
    lab.host.nft_load(&format!(
        "table ip nat {{
            map ports {{ type inet_service : ipv4_addr; elements = {{ 9001 : 172.17.0.4, 9002 : 172.17.0.5 }}; }}
            chain prerouting {{ type nat hook prerouting priority dstnat; {nat}; }}
        }}"
    ));
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    lab
}

/// Port, owner, where, and who reaches it, of each port.
fn told(lab: &Lab) -> Vec<Value> {
    let said = lab.palisade("policy.yaml", &["exposure", "--json"]).success();
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let ports = said["ports"].as_array().expect("a list");
    ports.iter().map(|port| json!([port["port"], port["owner"], port["addresses"], port["reachable_from"]])).collect()
}

#[test]
fn one_port_at_two_public_addresses_that_leads_to_two_containers_is_two_rows() {
    let lab = lab("ip daddr 203.0.113.1 tcp dport 9000 dnat to 172.17.0.2:80;
         ip daddr 203.0.113.2 tcp dport 9000 dnat to 172.17.0.3:80");

    assert_eq!(
        told(&lab),
        [
            json!([9000, "172.17.0.2:80", ["203.0.113.1"], ["trusted"]]),
            json!([9000, "172.17.0.3:80", ["203.0.113.2"], ["trusted"]]),
        ]
    );
}

#[test]
fn a_published_range_of_10001_ports_is_told_as_ranges() {
    let lab = lab("udp dport 20000-30000 dnat to 172.17.0.2");
    let everywhere = json!(["0.0.0.0", "::"]);

    assert_eq!(
        told(&lab),
        [
            json!(["20000-24999", "172.17.0.2:20000-24999", everywhere, ["nobody"]]),
            json!([25000, "172.17.0.2:25000", everywhere, ["trusted"]]),
            json!(["25001-30000", "172.17.0.2:25001-30000", everywhere, ["nobody"]]),
        ]
    );
    let text = lab.palisade("policy.yaml", &["exposure"]).success();
    assert!(text.contains("20000-24999/udp  container 172.17.0.2:20000-24999  nobody\n"), "{text}");
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(told(&lab), [json!(["20000-30000", "172.17.0.2:20000-30000", everywhere, ["everyone over IPv4"]])]);
}

#[test]
fn ports_that_a_named_map_publishes_are_told() {
    let lab = lab("dnat to tcp dport map @ports");
    let everywhere = json!(["0.0.0.0", "::"]);

    assert_eq!(
        told(&lab),
        [
            json!([9001, "172.17.0.4:9001", everywhere, ["trusted"]]),
            json!([9002, "172.17.0.5:9002", everywhere, ["nobody"]]),
        ]
    );
}
