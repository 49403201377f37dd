//! Names that no packet carries, where a policy takes them for interfaces: real connections, and what each command says
//! of them. Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

macro_rules! policy {
    ($more:literal) => {
        concat!("version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n", $more)
    };
}

#[test]
fn what_yaml_reads_as_true_or_false_is_no_interface() {
    let tries = "out > host 9000/tcp: allowed";
    let cases = [
        Case {
            name: "on: true",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: true }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "on: no",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: no }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "on: [eth0, Off]",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: [eth0, Off] }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "from: { interface: y }",
            policy: policy!("  api: { ports: 9000/tcp, from: { interface: y } }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "containers: { interfaces: [docker0, yes] }",
            policy: policy!("containers: { interfaces: [docker0, yes] }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "expect: on: false",
            policy: policy!("expect: [{ allow: 22/tcp, from: any, on: false }]\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "on: null",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: ~ }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "on: eth0@if7",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: eth0@if7 }\n"),
            tries,
            ..Case::default()
        },
        Case {
            name: "on: eth0:1",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: \"eth0:1\" }\n"),
            tries,
            ..Case::default()
        },
    ];
    hold("names-refused", &cases);
}

#[test]
fn an_interface_by_which_nothing_comes_in_is_named_with_what_carries_the_packets() {
    let cases = [
        Case {
            name: "another name of eth0",
            machine: "link property add dev eth0 altname enp9s0",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: enp9s0 }\n"),
            tries: "out > host 9000/tcp: denied
                    out > host 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a typing error",
            policy: policy!("  api: { ports: 9000/tcp, from: { interface: eht0 } }\n"),
            tries: "out > host 9000/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "a port of a bridge",
            machine: "link add br0 type bridge\naddress flush dev eth1\nlink set eth1 master br0\nlink set br0 up
                      address add 10.77.0.1/24 dev br0\naddress add fd77::1/64 dev br0 nodad",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: eth1 }\n  web: { ports: 9001/tcp, from: any, on: br0 }\n"),
            tries: "lan > hostlan 9000/tcp: denied
                    lan > hostlan 9001/tcp: allowed
                    out > host 9001/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "the parent of a macvlan, and the macvlan",
            machine: "sysctl net/ipv4/conf/all/arp_ignore 1\nlink add mv1 link eth1 type macvlan mode bridge\nlink set mv1 up
                      address add 10.77.0.50/24 dev mv1 noprefixroute\naddress add fd77::50/64 dev mv1 nodad noprefixroute
                      route add 10.77.0.2/32 dev mv1 src 10.77.0.50\n-6 route add fd77::2/128 dev mv1 src fd77::50",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: eth1 }\n  web: { ports: 9001/tcp, from: any, on: mv1 }\n"),
            tries: "lan > host=10.77.0.50 9000/tcp: denied
                    lan > host=fd77::50 9000/tcp: denied
                    lan > host=10.77.0.50 9001/tcp: allowed
                    lan > host=fd77::50 9001/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "another name, among those who are blocked and those who are containers",
            machine: "link property add dev eth1 altname lan0\nlink property add dev eth0 altname wan0",
            policy: policy!("block: { interface: lan0 }\ncontainers: { interfaces: [docker0, wan0] }\n"),
            tries: "lan > hostlan 22/tcp: allowed
                    out > host 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "names that carry packets",
            policy: policy!("  api: { ports: 9000/tcp, from: any, on: eth0 }\n  web: { ports: 9001/tcp, from: any, on: [\"eth*\", \"wg*\"] }\n"),
            tries: "out > host 9000/tcp: allowed
                    lan > hostlan 9000/tcp: denied
                    lan > hostlan 9001/tcp: allowed",
            ..Case::default()
        },
    ];
    hold("names-warned", &cases);
}
