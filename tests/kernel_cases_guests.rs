//! Who is a container or a guest, of machines whose bridges and cards the policy does or doesn't name: real connections,
//! and what each command says of them. Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

/// A port that an engine publishes for what is behind a device of this name, with number 20.
macro_rules! published {
    ($device:literal) => {
        concat!(
            "table ip nat { chain DOCKER { type nat hook prerouting priority dstnat; iifname != \"",
            $device,
            "\" fib daddr type local tcp dport 8080 dnat to 172.20.0.2:80; }; }\n",
            "table ip6 nat { chain DOCKER { type nat hook prerouting priority dstnat; iifname != \"",
            $device,
            "\" fib daddr type local tcp dport 8080 dnat to [fd20::2]:80; }; }\n"
        )
    };
}

macro_rules! policy {
    ($more:literal) => {
        concat!(
            "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n  web: { ports: 8080/tcp, from: any }\n",
            $more
        )
    };
}

fn bridges_of_engines() -> Vec<Case> {
    vec![
        Case {
            name: "a bridge of Compose with a name of its own",
            machine: "forward\nbridge mybr0 20",
            rules: published!("mybr0"),
            policy: policy!("expect: [{ allow: 8080/tcp, from: any }]\n"),
            tries: "out > host 8080/tcp at mybr0:80: allowed
                    mybr0 > far 443/tcp: denied
                    out > host 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "the same bridge, named",
            machine: "forward\nbridge mybr0 20",
            rules: published!("mybr0"),
            policy: policy!(
                "containers: { interfaces: [docker0, mybr0] }\nexpect: [{ allow: 8080/tcp, from: any }]\n"
            ),
            tries: "out > host 8080/tcp at mybr0:80: allowed
                    mybr0 > far 443/tcp: allowed
                    mybr0 > host.mybr0 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a bridge of nerdctl",
            machine: "forward\nbridge nerdctl0 20",
            rules: published!("nerdctl0"),
            policy: policy!("expect: [{ allow: 8080/tcp, from: any }]\n"),
            tries: "out > host 8080/tcp at nerdctl0:80: allowed
                    nerdctl0 > far 443/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a bridge of CNI with another name",
            machine: "forward\nbridge podnet 20",
            rules: published!("podnet"),
            policy: policy!("expect: [{ allow: 8080/tcp, from: [198.51.100.7, \"2001:db8:1::7\"] }]\n"),
            tries: "out > host 8080/tcp at podnet:80: allowed
                    podnet > far 443/tcp: denied",
            ..Case::default()
        },
    ]
}

fn other_devices() -> Vec<Case> {
    vec![
        Case {
            name: "a bridge for which nobody's rules publish a port",
            machine: "forward\nbridge lan7 20",
            rules: "table inet own { chain prerouting { type nat hook prerouting priority dstnat;
                fib daddr type local meta nfproto ipv4 tcp dport 8080 dnat ip to 172.20.0.2:80
                fib daddr type local meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd20::2]:80; }; }",
            policy: policy!("expect: [{ allow: 8080/tcp, from: any }]\n"),
            tries: "out > host 8080/tcp at lan7:80: allowed
                    lan7 > far 443/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "interfaces of one parent (macvlan)",
            machine: "forward\nmacvlan mv0 20",
            rules: published!("mv0"),
            policy: policy!("expect: [{ allow: 8080/tcp, from: any }]\n"),
            tries: "out > host 8080/tcp at mv0:80: allowed
                    mv0 > far 443/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "a guest of systemd-nspawn",
            machine: "forward\nwire ve-web 20",
            rules: published!("ve-web"),
            policy: policy!("expect: [{ allow: 8080/tcp, from: any }]\n"),
            tries: "out > host 8080/tcp at ve-web:80: allowed
                    ve-web > far 443/tcp: allowed",
            ..Case::default()
        },
    ]
}

#[test]
fn a_port_that_is_published_behind_a_device_which_no_line_names_is_not_said_to_be_open() {
    hold("guests-published", &[bridges_of_engines(), other_devices()].concat());
}

/// A database for private networks, from which containers are to be kept.
const DATABASE: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  db: { ports: 5432/tcp, from: private }
expect: [{ deny: 5432/tcp, from: containers }]
";

#[test]
fn what_is_open_to_private_networks_is_not_said_to_be_shut_to_containers_that_no_line_names() {
    let cases = [
        Case {
            name: "behind a bridge without a name in the policy",
            machine: "forward\nbridge mybr0 20",
            rules: published!("mybr0"),
            policy: DATABASE,
            tries: "mybr0 > host.mybr0 5432/tcp: allowed
                    lan > hostlan 5432/tcp: allowed
                    out > host 5432/tcp: denied",
            ..Case::default()
        },
        Case {
            name: "behind docker0",
            machine: "forward\nbridge docker0 20",
            rules: published!("docker0"),
            policy: DATABASE,
            tries: "docker0 > host.docker0 5432/tcp: denied
                    lan > hostlan 5432/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "behind a bridge that the policy names",
            machine: "forward\nbridge mybr0 20",
            rules: published!("mybr0"),
            policy: concat!(
                "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n  db: { ports: 5432/tcp, from: private }\n",
                "containers: { interfaces: mybr0 }\nexpect: [{ deny: 5432/tcp, from: containers }]\n"
            ),
            tries: "mybr0 > host.mybr0 5432/tcp: denied
                    mybr0 > host 5432/tcp: denied
                    lan > hostlan 5432/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "behind a wire of systemd-nspawn, and one with a name of its own",
            machine: "forward\nwire ve-web 20\nwire guest0 21",
            rules: "",
            policy: DATABASE,
            tries: "ve-web > host.ve-web 5432/tcp: denied
                    guest0 > host.guest0 5432/tcp: allowed",
            ..Case::default()
        },
    ];
    hold("guests-private", &cases);
}

#[test]
fn a_network_that_is_cut_off_is_named() {
    let cases = [
        Case {
            name: "a router with two cards",
            machine: "forward",
            policy: policy!(""),
            tries: "lan > far 443/tcp: denied
                    lan > far 53/udp: denied
                    lan > far ping: denied
                    lan > hostlan 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a router with two cards that may",
            machine: "forward",
            policy: policy!("defaults: { forward: allow }\n"),
            tries: "lan > far 443/tcp: allowed
                    lan > far 53/udp: allowed
                    far > lan 443/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "a router with three cards, of which one is reached by a route",
            machine:
                "forward\nwire dmz0 20\nroute add 10.99.0.0/16 via 172.20.0.2\n-6 route add fd99::/64 via fd20::2
                      in dmz0 address add 10.99.0.9/32 dev eth0\nin dmz0 address add fd99::9/128 dev eth0 nodad",
            policy: policy!("defaults: { forward: reject }\n"),
            tries: "dmz0 > far 443/tcp: rejected
                    far > dmz0=10.99.0.9 443/tcp: rejected
                    far > dmz0=fd99::9 443/tcp: rejected
                    dmz0 > host.dmz0 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "IPv6 alone is forwarded",
            machine: "sysctl net/ipv6/conf/all/forwarding 1",
            policy: policy!(""),
            tries: "lan6 > far6 443/tcp: denied
                    lan6 > hostlan6 22/tcp: allowed",
            ..Case::default()
        },
        Case {
            name: "virtual machines behind a bridge that nobody names",
            machine: "forward\nbridge vmbr1 20",
            policy: policy!("groups: { vms: [{ interface: vmbr1 }] }\n"),
            tries: "vmbr1 > far 443/tcp: denied
                    vmbr1 > host.vmbr1 22/tcp: allowed",
            ..Case::default()
        },
    ];
    hold("guests-cut-off", &cases);
}
