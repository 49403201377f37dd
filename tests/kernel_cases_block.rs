//! Whom `block` keeps out, of machines whose own networks it covers: real connections, and what each command says of them.
//! Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

/// A port that an engine publishes, behind a bridge.
const PUBLISHED: &str = "
table inet engine {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname != \"docker0\" fib daddr type local meta nfproto ipv4 tcp dport 8080 dnat ip to 172.17.0.2:80
        iifname != \"docker0\" fib daddr type local meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd17::2]:80
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade
        ip6 saddr fd17::/64 oifname != \"docker0\" masquerade
    }
}
";

/// What most rows are about: SSH and a published port that are open to anyone.
const BLOCK: Case = Case {
    name: "",
    machine: "forward\nbridge docker0 17",
    rules: PUBLISHED,
    foreign: "",
    files: &[],
    then: &[],
    policy: "",
    tries: "",
    asks: "",
};

macro_rules! policy {
    ($more:literal) => {
        concat!(
            "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n  web: { ports: 8080/tcp, from: any }\n",
            $more
        )
    };
}

/// What is left alone, and more.
macro_rules! spared_and {
    ($more:literal) => {
        concat!(
            "out > host 8080/tcp at docker0:80: allowed\ndocker0 > far 443/tcp: allowed\n",
            "docker0 > host.docker0 22/tcp: allowed\nhost > docker0 80/tcp: allowed\n",
            $more
        )
    };
}

#[test]
fn a_list_that_covers_this_machines_own_networks_leaves_containers_and_the_network_alone() {
    let cases = [
        Case {
            name: "bogons cover the containers' networks and the local one",
            policy: policy!(
                "block: [172.16.0.0/12, 10.0.0.0/8, \"fc00::/7\"]\nexpect: [{ allow: 8080/tcp, from: [198.51.100.7, \"2001:db8:1::7\"] }]\n"
            ),
            tries: spared_and!(
                "lan > hostlan 22/tcp: denied
                                  host > lan 443/tcp: denied"
            ),
            ..BLOCK
        },
        Case {
            name: "the containers' networks by two groups",
            policy: policy!(
                "groups: { inner: [172.17.0.0/16, \"fd17::/64\"], outer: [inner, 192.0.2.1] }\nblock: outer\n"
            ),
            tries: spared_and!(""),
            ..BLOCK
        },
        Case {
            name: "a file of bogons",
            files: &[(
                "bogons.txt",
                "# bogons\n172.16.0.0/12 ; private\n127.0.0.0/8\n203.0.113.66\nfc00::/7\n::1\n2001:db8::66\n",
            )],
            policy: policy!("block: { file: bogons.txt }\n"),
            tries: "far > host 8080/tcp at docker0:80: allowed
                    docker0 > host.docker0 22/tcp: allowed
                    host > lo 22/tcp: allowed
                    out > host 8080/tcp at docker0:80: denied",
            ..BLOCK
        },
        Case {
            name: "this machine's own addresses",
            policy: policy!("block: [203.0.113.1, 10.77.0.1, 127.0.0.0/8, \"2001:db8::1\", \"fd77::1\", \"::1\"]\n"),
            tries: "out > host 22/tcp: allowed
                    host > host 22/tcp: allowed
                    host > lo 22/tcp: allowed
                    host > far 443/tcp: allowed",
            ..BLOCK
        },
    ];
    hold("block-own", &cases);
}

#[test]
fn who_is_blocked_is_neither_let_in_nor_heard_when_this_machine_asks_him() {
    let cases = [
        Case {
            name: "a stranger",
            policy: policy!(
                "block: [203.0.113.66, \"2001:db8::66\"]\nexpect: [{ deny: [22/tcp, 8080/tcp], from: [203.0.113.66, \"2001:db8::66\"] }]\n"
            ),
            tries: "out > host 22/tcp: denied
                    out > host 8080/tcp at docker0:80: denied
                    out > host ping: denied
                    host > out 443/tcp: denied
                    docker0 > out 443/udp: denied
                    far > host 22/tcp: allowed
                    host > far 443/tcp: allowed",
            ..BLOCK
        },
        Case {
            name: "a stranger, where everything may come in",
            policy: "version: 1\ndefaults: { incoming: allow }\nblock: [203.0.113.64/26, \"2001:db8::66\"]\n",
            tries: "out > host 22/tcp: denied
                    out > host 8080/tcp at docker0:80: denied
                    host > out 443/tcp: denied
                    far > host 23/tcp: allowed",
            ..BLOCK
        },
        Case {
            name: "an interface",
            policy: policy!("block: { interface: eth1 }\n"),
            tries: "lan > hostlan 22/tcp: denied
                    lan > host 8080/tcp at docker0:80: denied
                    host > lan 443/tcp: denied
                    out > host 22/tcp: allowed
                    docker0 > far 443/tcp: allowed",
            ..BLOCK
        },
        Case {
            name: "containers, by name",
            policy: policy!("block: containers\n"),
            tries: "docker0 > host.docker0 22/tcp: denied
                    out > host 22/tcp: allowed
                    out > host 8080/tcp at docker0:80: denied",
            ..BLOCK
        },
        Case {
            name: "the other networks behind a router",
            policy: policy!("defaults: { forward: allow }\nblock: [10.77.0.0/24, \"fd77::/64\"]\n"),
            tries: "lan > far 443/tcp: denied
                    far > lan 443/tcp: denied
                    far > host 22/tcp: allowed",
            ..BLOCK
        },
    ];
    hold("block-strangers", &cases);
}

#[test]
fn what_this_machine_needs_and_block_covers_is_refused_and_found_all_the_same() {
    let cases = [
        Case {
            name: "a gateway of the link",
            machine: "in client address add fe80::99/64 dev eth0 nodad
                      -6 route replace default via fe80::99 dev eth0",
            rules: "",
            policy: policy!("block: \"fe80::/10\"\n"),
            tries: "far6 > host6 22/tcp: allowed
                    host6 > far6 443/tcp: allowed
                    host6 > far6 ping: allowed",
            ..BLOCK
        },
        Case {
            name: "the gateway's network",
            policy: policy!("block: [203.0.113.0/24, \"2001:db8::/64\"]\n"),
            tries: "far > host 22/tcp: allowed
                    host > far 443/tcp: allowed
                    docker0 > far 443/tcp: allowed
                    client > host 22/tcp: denied
                    host > client 443/tcp: denied",
            ..BLOCK
        },
        Case {
            name: "name servers",
            machine: "resolver 203.0.113.66\nresolver 2001:db8::66",
            rules: "",
            policy: policy!("block: [203.0.113.66, \"2001:db8::66\"]\n"),
            tries: "host > out 53/udp: denied
                    host > far 53/udp: allowed",
            ..BLOCK
        },
        Case {
            name: "a name server that has a network of the list, over one IP version",
            machine: "resolver 203.0.113.66\nresolver 2001:db8::66",
            rules: "",
            policy: policy!("block: \"2001:db8::60/124\"\n"),
            tries: "host4 > out4 53/udp: allowed
                    host6 > out6 53/udp: denied",
            ..BLOCK
        },
        Case {
            name: "the service of a cloud",
            machine: "",
            rules: "",
            policy: policy!("block: 169.254.0.0/16\n"),
            tries: "host4 > client=169.254.169.254 80/tcp: denied
                    host > far 80/tcp: allowed",
            ..BLOCK
        },
    ];
    hold("block-needed", &cases);
}
