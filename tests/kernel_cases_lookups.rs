//! Which port a connection is asked for, where rules of others take it out of connection tracking or lead it elsewhere:
//! real connections, and what each command says of them. Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

const UNTRACKED: &str = "
table inet names {
    chain prerouting { type filter hook prerouting priority raw; th dport 53 notrack; }
    chain output { type filter hook output priority raw; th sport 53 notrack; }
}
";

macro_rules! policy {
    ($more:literal) => {
        concat!("version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n", $more)
    };
}

/// A denial beats what containers need of their engine.
fn denied_to_containers() -> Case {
    Case {
        name: "denied to a network of containers, who would ask their engine",
        machine: PODS,
        rules: UNTRACKED,
        policy: policy!("  no: { ports: [53/udp, 53/tcp], from: [172.17.0.0/16, \"fd17::/64\"], action: deny }\n"),
        tries: "cni0 > host 53/udp: denied
            cni0 > host 53/tcp: denied
            br-pods > host 53/udp: allowed
            br-pods > host 53/tcp: allowed",
        ..Case::default()
    }
}

#[test]
fn a_name_server_that_is_not_tracked_is_asked_by_its_own_port() {
    let cases = [
        Case {
            name: "open to anyone",
            rules: UNTRACKED,
            policy: policy!(
                "  names: { ports: [53/udp, 53/tcp], from: any }\nexpect: [{ allow: [53/udp, 53/tcp], from: any }]\n"
            ),
            tries: "out > host 53/udp: allowed
                    out > host 53/tcp: allowed
                    lan > hostlan 53/udp: allowed",
            ..Case::default()
        },
        Case {
            name: "open to some, over UDP alone",
            rules: UNTRACKED,
            policy: policy!("  names: { ports: 53/udp, from: [203.0.113.9, \"2001:db8::9\"] }\n"),
            tries: "client > host 53/udp: allowed
                    client > host 53/tcp: denied
                    out > host 53/udp: denied",
            ..Case::default()
        },
        Case {
            name: "open at one address",
            rules: UNTRACKED,
            policy: policy!("  names: { ports: [53/udp, 53/tcp], from: any, to: [10.77.0.1, \"fd77::1\"] }\n"),
            tries: "lan > hostlan 53/udp: allowed
                    lan > hostlan 53/tcp: allowed
                    out > host 53/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "taken out by iptables' table raw of one IP version",
            rules:
                "table ip raw { chain PREROUTING { type filter hook prerouting priority raw; udp dport 53 notrack; }
                                   chain OUTPUT { type filter hook output priority raw; udp sport 53 notrack; }; }",
            policy: policy!("  names: { ports: 53/udp, from: any, except: [203.0.113.66, \"2001:db8::66\"] }\n"),
            tries: "far > host 53/udp: allowed
                    out > host 53/udp: denied",
            ..Case::default()
        },
        Case {
            name: "what this machine asks is not tracked either",
            rules: "table inet names {
                        chain prerouting { type filter hook prerouting priority raw; udp sport 53 notrack; }
                        chain output { type filter hook output priority raw; udp dport 53 notrack; }
                    }",
            policy: policy!("  names: { ports: 53/tcp, from: any }\n"),
            tries: "out > host 53/tcp: allowed
                    host > far 53/udp: denied
                    host > far 53/tcp: allowed",
            ..Case::default()
        },
        denied_to_containers(),
    ];
    hold("lookups-untracked", &cases);
}

/// The services of a cluster as kube-proxy translates them.
const CLUSTER: &str = "
table inet kube {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 10.43.0.1 tcp dport 443 dnat ip to 203.0.113.1:6443
        ip6 daddr fd43::1 tcp dport 443 dnat ip6 to [2001:db8::1]:6443
        ip daddr 10.43.0.10 udp dport 53 dnat ip to 172.18.0.2:5353
        ip6 daddr fd43::10 udp dport 53 dnat ip6 to [fd18::2]:5353
    }
}
";
const PODS: &str = "forward\nbridge cni0 17\nbridge br-pods 18";

#[test]
fn a_pods_call_to_a_cluster_is_asked_by_what_it_reaches() {
    let pods = Case { machine: PODS, rules: CLUSTER, ..Case::default() };
    let cases = [
        Case {
            name: "the API by its own port, for containers",
            policy: policy!("  api: { ports: 6443/tcp, from: containers }\n"),
            tries: "cni0 > host=10.43.0.1 443/tcp at host:6443: allowed
                    cni0 > host=fd43::1 443/tcp at host:6443: allowed
                    out > host=10.43.0.1 443/tcp at host:6443: denied
                    out > host=fd43::1 443/tcp at host:6443: denied
                    out > host 6443/tcp: denied",
            ..pods
        },
        Case {
            name: "the API by the port of the cluster's address",
            policy: policy!("  api: { ports: 443/tcp, from: containers }\n"),
            tries: "cni0 > host=10.43.0.1 443/tcp at host:6443: denied
                    cni0 > host=fd43::1 443/tcp at host:6443: denied",
            ..pods
        },
        Case {
            name: "the cluster's name server, which is a pod",
            policy: policy!(""),
            tries: "cni0 > br-pods=10.43.0.10 53/udp at br-pods:5353: allowed
                    cni0 > br-pods=fd43::10 53/udp at br-pods:5353: allowed
                    br-pods > br-pods 5353/udp: allowed",
            ..pods
        },
        Case {
            name: "the same, where containers may open nothing outside",
            policy: policy!("containers: { outgoing: deny }\n"),
            tries: "cni0 > br-pods=10.43.0.10 53/udp at br-pods:5353: allowed
                    cni0 > br-pods=fd43::10 53/udp at br-pods:5353: allowed
                    cni0 > far 443/tcp: denied",
            ..pods
        },
        Case {
            name: "the name server, called from outside",
            policy: policy!("  names: { ports: 5353/udp, from: any }\n"),
            tries: "out > br-pods=10.43.0.10 53/udp at br-pods:5353: denied
                    out > br-pods=fd43::10 53/udp at br-pods:5353: denied",
            ..pods
        },
    ];
    hold("lookups-cluster", &cases);
}

#[test]
fn what_is_led_to_another_port_is_asked_by_the_one_that_was_meant_from_outside_and_by_the_one_that_it_reaches_from_within()
 {
    let cases = [
        Case {
            name: "a proxy that is in the containers' way",
            machine: "forward\nbridge docker0 17",
            rules: "table inet proxy { chain prerouting { type nat hook prerouting priority dstnat;
                iifname \"docker0\" tcp dport 80 redirect to :3128; }; }",
            policy: policy!("  proxy: { ports: 3128/tcp, from: containers }\n"),
            tries: "docker0 > far 80/tcp at host:3128: allowed
                    docker0 > far 443/tcp: allowed
                    out > host 3128/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "the same proxy, which no service names",
            machine: "forward\nbridge docker0 17",
            rules: "table inet proxy { chain prerouting { type nat hook prerouting priority dstnat;
                iifname \"docker0\" tcp dport 80 redirect to :3128; }; }",
            policy: policy!("  web: { ports: 80/tcp, from: any }\n"),
            tries: "docker0 > far 80/tcp at host:3128: denied
                    docker0 > far 443/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a port that leads to another of this machine",
            rules: "table inet front { chain prerouting { type nat hook prerouting priority dstnat;
                fib daddr type local tcp dport { 8443, 9443 } redirect to :6443; }; }",
            policy: policy!("  front: { ports: 8443/tcp, from: any }\n"),
            tries: "out > host 8443/tcp at host:6443: allowed
                    out > host 9443/tcp at host:6443: denied
                    out > host 6443/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "a published port, called by this machine's own address",
            machine: "forward\nbridge docker0 17\nbridge br-app 18",
            rules: PUBLISHED,
            policy: policy!("  web: { ports: 8080/tcp, from: [any, containers] }\n"),
            tries: "out > host 8080/tcp at docker0:80: allowed
                    br-app > host 8080/tcp at docker0:80: allowed
                    br-app > host.br-app 8080/tcp at docker0:80: allowed
                    host > host 8080/tcp at docker0:80: allowed",
            ..Case::default()
        },
        Case {
            name: "a published port for some, called by this machine's own address",
            machine: "forward\nbridge docker0 17\nbridge br-app 18",
            rules: PUBLISHED,
            policy: policy!(
                "  web: { ports: 8080/tcp, from: [203.0.113.9, \"2001:db8::9\"] }\n  inner: { ports: 80/tcp, from: any }\n"
            ),
            tries: "client > host 8080/tcp at docker0:80: allowed
                    out > host 8080/tcp at docker0:80: denied
                    br-app > host 8080/tcp at docker0:80: denied
                    host > host 8080/tcp at docker0:80: allowed",
            ..Case::default()
        },
    ];
    hold("lookups-translated", &cases);
}

const PUBLISHED: &str = "
table inet engine {
    chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local goto published; }
    chain output { type nat hook output priority -100; fib daddr type local goto published; }
    chain published {
        meta nfproto ipv4 tcp dport 8080 dnat ip to 172.17.0.2:80
        meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd17::2]:80
    }
}
";
