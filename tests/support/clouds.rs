//! What cloud firewalls make of a document, read by an own model of each vendor that takes nothing which it does not know.
#![allow(dead_code, missing_docs, unreachable_pub)]

use ipnet::IpNet;
use palisade::net::Transport;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// What a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lets {
    Ports(Transport, u16, u16),
    /// ICMP of IPv4 or IPv6, of a type, or of any.
    Icmp(bool, Option<u8>),
    Protocol(u8),
    All,
}

/// All that comes in, rule by rule and network by network, sorted; and what goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    pub lets_in: Vec<(Lets, IpNet)>,
    pub lets_out: Out,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Out {
    #[default]
    Everything,
    Nothing,
}

impl Firewall {
    /// Whether it lets a connection in.
    pub fn allows(&self, source: IpAddr, to: &Lets) -> bool {
        self.lets_in.iter().any(|(lets, net)| net.contains(&source) && lets.covers(to))
    }
}

impl Lets {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Ports(a, first, last), Self::Ports(b, from, to)) => a == b && first <= from && to <= last,
            (Self::Icmp(a, None), Self::Icmp(b, _)) => a == b,
            (a, b) => a == b,
        }
    }
}

/// Reads a document in a format of `palisade export`.
pub fn read(format: &str, document: &Value) -> Firewall {
    let mut all = Vec::new();
    let outs = match format {
        "hetzner" => hetzner(document, &mut all),
        "digitalocean" => digitalocean(document, &mut all),
        "aws" => aws(document, &mut all),
        "terraform-hetzner" => terraform_hetzner(document, &mut all),
        "terraform-digitalocean" => terraform_digitalocean(document, &mut all),
        "terraform-aws" => terraform_aws(document, &mut all),
        other => panic!("no format {other}"),
    };
    all.sort();
    assert!(outs.windows(2).all(|pair| pair[0] == pair[1]), "each firewall lets the same out: {outs:?}");
    Firewall { lets_in: all, lets_out: outs[0] }
}

type All = Vec<(Lets, IpNet)>;

/// The fields of an object, each taken once; whatever is left is unknown.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(value: &Value) -> Self {
        Self(value.as_object().unwrap_or_else(|| panic!("no object: {value}")).clone())
    }

    fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or_else(|| panic!("no {key} in {:?}", self.0))
    }

    fn text(&mut self, key: &str) -> String {
        self.take(key).as_str().unwrap_or_else(|| panic!("{key} is no text")).to_owned()
    }

    fn list(&mut self, key: &str) -> Vec<Value> {
        self.take(key).as_array().unwrap_or_else(|| panic!("{key} is no list")).clone()
    }

    fn end(self) {
        assert_eq!(self.0, Map::new(), "unknown fields");
    }
}

/// A network without host bits, in its shortest form.
fn network(text: &str) -> IpNet {
    let net: IpNet = text.parse().unwrap_or_else(|_| panic!("{text} is no network"));
    assert_eq!((net.trunc(), net.to_string().as_str()), (net, text));
    net
}

fn texts(values: &[Value]) -> Vec<&str> {
    values.iter().map(|value| value.as_str().expect("a text")).collect()
}

fn range(text: &str) -> (u16, u16) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().unwrap_or_else(|_| panic!("{text} is no port"));
    let range = (number(first), number(last));
    assert!(0 < range.0 && range.0 <= range.1, "{text}");
    range
}

fn transport(name: &str) -> Transport {
    Transport::ALL.into_iter().find(|transport| transport.name() == name).unwrap_or_else(|| panic!("{name}"))
}

fn hetzner(document: &Value, all: &mut All) -> Vec<Out> {
    match document {
        Value::Array(rules) => vec![hetzner_rules(rules, all)],
        Value::Object(each) => each.values().map(|one| hetzner_rules(one.as_array().expect("a list"), all)).collect(),
        other => panic!("{other}"),
    }
}

fn hetzner_rules(rules: &[Value], all: &mut All) -> Out {
    assert!(rules.len() <= 50);
    let (mut effective, mut out) = (0, Out::Everything);
    for rule in rules {
        let mut fields = Fields::of(rule);
        let description = fields.text("description");
        assert!(description.chars().count() <= 255);
        let protocol = fields.text("protocol");
        let is_in = match fields.text("direction").as_str() {
            "in" => true,
            "out" => false,
            other => panic!("{other}"),
        };
        let networks = fields.list(if is_in { "source_ips" } else { "destination_ips" });
        assert!((1..=100).contains(&networks.len()));
        effective += networks.len();
        let port = matches!(protocol.as_str(), "tcp" | "udp").then(|| range(&fields.text("port")));
        fields.end();
        if !is_in {
            // One rule for what goes out denies all else.
            assert_eq!((texts(&networks), port, protocol.as_str()), (vec!["192.0.2.1/32"], Some((9, 9)), "udp"));
            out = Out::Nothing;
            continue;
        }
        for net in texts(&networks).into_iter().map(network) {
            let six = matches!(net, IpNet::V6(_));
            all.push(match (protocol.as_str(), port) {
                ("icmp", _) => (Lets::Icmp(six, None), net),
                ("esp", _) => (Lets::Protocol(50), net),
                ("gre", _) => (Lets::Protocol(47), net),
                (name @ ("tcp" | "udp"), Some((first, last))) => (Lets::Ports(transport(name), first, last), net),
                (other, _) => panic!("{other}"),
            });
        }
    }
    assert!(effective <= 500, "{effective} effective rules");
    out
}

fn terraform(document: &Value, kind: &str) -> Map<String, Value> {
    let mut fields = Fields::of(document);
    let head = fields.list("//");
    assert!(texts(&head).iter().all(|line| !line.is_empty()));
    let mut resources = Fields::of(&fields.take("resource"));
    fields.end();
    let resources_of = Fields::of(&resources.take(kind)).0;
    resources.end();
    let is_label = |label: &String| {
        label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    assert!(resources_of.keys().all(is_label));
    resources_of
}

fn terraform_hetzner(document: &Value, all: &mut All) -> Vec<Out> {
    let each = terraform(document, "hcloud_firewall").into_iter().map(|(_, body)| {
        let mut fields = Fields::of(&body);
        fields.text("name");
        let rules = fields.list("rule");
        fields.end();
        hetzner_rules(&rules, all)
    });
    each.collect()
}

fn digitalocean_peer(text: &str) -> IpNet {
    text.parse::<IpAddr>().map_or_else(|_| network(text), IpNet::from)
}

fn digitalocean_rule(protocol: &str, ports: Option<&str>, peers: &[Value], all: &mut All) {
    assert!((1..=1000).contains(&peers.len()));
    for net in texts(peers).into_iter().map(digitalocean_peer) {
        let six = matches!(net, IpNet::V6(_));
        all.push(match (protocol, ports) {
            ("icmp", None | Some("0")) => (Lets::Icmp(six, None), net),
            (name @ ("tcp" | "udp"), Some("0" | "all")) => (Lets::Ports(transport(name), 1, u16::MAX), net),
            (name @ ("tcp" | "udp"), Some(ports)) => {
                let (first, last) = range(ports);
                (Lets::Ports(transport(name), first, last), net)
            }
            other => panic!("{other:?}"),
        });
    }
}

fn digitalocean_out(outbound: &All) -> Out {
    if outbound.is_empty() {
        return Out::Nothing;
    }
    let everyone = ["0.0.0.0/0", "::/0"].map(network);
    let of = |four: Lets, six: Lets| [(four, everyone[0]), (six, everyone[1])];
    let tcp = Lets::Ports(Transport::Tcp, 1, u16::MAX);
    let udp = Lets::Ports(Transport::Udp, 1, u16::MAX);
    let icmp = of(Lets::Icmp(false, None), Lets::Icmp(true, None));
    assert_eq!(*outbound, [of(tcp.clone(), tcp), of(udp.clone(), udp), icmp].concat());
    Out::Everything
}

fn digitalocean(document: &Value, all: &mut All) -> Vec<Out> {
    let bodies = document.as_array().cloned().unwrap_or_else(|| vec![document.clone()]);
    let read = |body: &Value| {
        let mut fields = Fields::of(body);
        fields.text("name");
        let (inbound, outbound) = (fields.list("inbound_rules"), fields.list("outbound_rules"));
        fields.end();
        assert!(inbound.len() + outbound.len() <= 50);
        let mut out = Vec::new();
        for (rules, peers, into) in [(inbound, "sources", &mut *all), (outbound, "destinations", &mut out)] {
            for rule in rules {
                let mut fields = Fields::of(&rule);
                let (protocol, ports) = (fields.text("protocol"), fields.text("ports"));
                let mut peers = Fields::of(&fields.take(peers));
                fields.end();
                digitalocean_rule(&protocol, Some(&ports), &peers.list("addresses"), into);
                peers.end();
            }
        }
        digitalocean_out(&out)
    };
    bodies.iter().map(read).collect()
}

fn terraform_digitalocean(document: &Value, all: &mut All) -> Vec<Out> {
    let each = terraform(document, "digitalocean_firewall").into_iter().map(|(_, body)| {
        let mut fields = Fields::of(&body);
        fields.text("name");
        let (inbound, outbound) = (fields.list("inbound_rule"), fields.list("outbound_rule"));
        fields.end();
        let mut out = Vec::new();
        for (rules, peers, into) in
            [(inbound, "source_addresses", &mut *all), (outbound, "destination_addresses", &mut out)]
        {
            for rule in rules {
                let mut fields = Fields::of(&rule);
                let protocol = fields.text("protocol");
                let ports = (protocol != "icmp").then(|| fields.text("port_range"));
                digitalocean_rule(&protocol, ports.as_deref(), &fields.list(peers), into);
                fields.end();
            }
        }
        digitalocean_out(&out)
    });
    each.collect()
}

/// What AWS lets in by a protocol and its numbers. By another number than those of TCP, UDP and ICMP all ports are open.
fn aws_lets(protocol: &str, numbers: Option<(i64, i64)>, net: IpNet) -> (Lets, IpNet) {
    let six = matches!(net, IpNet::V6(_));
    let port = |number: i64| u16::try_from(number).expect("a port");
    let lets = match (protocol, numbers) {
        (name @ ("tcp" | "udp"), Some((first, last))) => Lets::Ports(transport(name), port(first), port(last)),
        ("icmp" | "icmpv6", Some((kind, -1))) => {
            assert_eq!(protocol == "icmpv6", six);
            Lets::Icmp(six, (kind >= 0).then(|| u8::try_from(kind).expect("a type")))
        }
        ("-1", None) => Lets::All,
        ("132", None) => Lets::Ports(Transport::Sctp, 1, u16::MAX),
        (number, None) => Lets::Protocol(number.parse().expect("a number")),
        other => panic!("{other:?}"),
    };
    (lets, net)
}

/// Each group's number of rules of each family.
fn aws_fits(lets: &[(Lets, IpNet)]) {
    let v4 = lets.iter().filter(|(_, net)| matches!(net, IpNet::V4(_))).count();
    assert!(v4 <= 60 && lets.len() - v4 <= 60);
}

fn aws_out(out: &[(Lets, IpNet)]) -> Out {
    if out.is_empty() {
        return Out::Nothing;
    }
    assert_eq!(out, ["0.0.0.0/0", "::/0"].map(|net| (Lets::All, network(net))));
    Out::Everything
}

fn is_taken_by_aws(description: &str) -> bool {
    description.len() <= 255
        && description.chars().all(|c| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c))
}

fn aws(document: &Value, all: &mut All) -> Vec<Out> {
    let mut outs = Vec::new();
    for group in Fields::of(document).0.values() {
        let mut fields = Fields::of(group);
        let (mut lets, mut out) = (Vec::new(), Vec::new());
        for (key, into) in [("ingress", &mut lets), ("egress", &mut out)] {
            for permission in fields.list(key) {
                let mut fields = Fields::of(&permission);
                let protocol = fields.text("IpProtocol");
                let number = |value: Value| value.as_i64().expect("a number");
                let numbers = fields.0.remove("FromPort").map(|from| (number(from), number(fields.take("ToPort"))));
                for (list, cidr) in [("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")] {
                    for range in fields.0.remove(list).iter().flat_map(|list| list.as_array().expect("a list")) {
                        let mut range = Fields::of(range);
                        let described = range.0.remove("Description");
                        assert!(described.is_none_or(|text| is_taken_by_aws(text.as_str().expect("a text"))));
                        into.push(aws_lets(&protocol, numbers, network(&range.text(cidr))));
                        range.end();
                    }
                }
                fields.end();
            }
        }
        fields.end();
        aws_fits(&lets);
        all.extend(lets);
        outs.push(aws_out(&out));
    }
    outs
}

fn terraform_aws(document: &Value, all: &mut All) -> Vec<Out> {
    let mut fields = Fields::of(document);
    fields.list("//");
    let mut resources = Fields::of(&fields.take("resource"));
    fields.end();
    let groups = Fields::of(&resources.take("aws_security_group")).0;
    let mut rules = |kind: &str| {
        let kind = format!("aws_vpc_security_group_{kind}_rule");
        resources.0.remove(&kind).map_or_else(Map::new, |rules| Fields::of(&rules).0)
    };
    let (ingress, egress) = (rules("ingress"), rules("egress"));
    resources.end();
    let mut outs = Vec::new();
    for label in groups.keys() {
        let of_group = |rules: &Map<String, Value>| {
            let id = format!("${{aws_security_group.{label}.id}}");
            let of: Vec<_> = rules.values().filter(|rule| rule["security_group_id"] == id.as_str()).collect();
            of.into_iter().map(aws_rule).collect::<Vec<_>>()
        };
        let lets = of_group(&ingress);
        aws_fits(&lets);
        all.extend(lets);
        outs.push(aws_out(&of_group(&egress)));
    }
    outs
}

fn aws_rule(rule: &Value) -> (Lets, IpNet) {
    let mut fields = Fields::of(rule);
    fields.text("security_group_id");
    let described = fields.0.remove("description");
    // A template's beginning is doubled.
    let plain = |text: &Value| text.as_str().expect("a text").replace("$${", "${").replace("%%{", "%{");
    assert!(described.is_none_or(|text| is_taken_by_aws(&plain(&text))));
    let cidr = fields.0.remove("cidr_ipv4").or_else(|| fields.0.remove("cidr_ipv6")).expect("a network");
    let number = |value: Value| value.as_i64().expect("a number");
    let numbers = fields.0.remove("from_port").map(|from| (number(from), number(fields.take("to_port"))));
    let protocol = fields.text("ip_protocol");
    fields.end();
    aws_lets(&protocol, numbers, network(cidr.as_str().expect("a text")))
}
