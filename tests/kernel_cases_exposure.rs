//! The rows of `exposure`, where one port leads to several places: real connections, and what each command says of them.
//! Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

const MACHINE: &str = "forward\nbridge docker0 17\nbridge br-app 18
    address add 203.0.113.2/24 dev eth0\naddress add 2001:db8::2/64 dev eth0 nodad";
const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9, \"2001:db8::9\"] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: [9000/tcp, 9001/tcp], from: trusted }
  voice: { ports: 25000/udp, from: trusted }
";
/// One port, of this machine at one address and of a container at the other.
const BY_ADDRESS: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  own: { ports: 9000/tcp, from: any, to: [203.0.113.1, \"2001:db8::1\"] }
  its: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"], to: [203.0.113.2, \"2001:db8::2\"] }
";
/// As an engine does that keeps ports in a map.
const MAPPED: &str = "table ip engine { map ports { type inet_service : ipv4_addr . inet_service; elements = { 9001 : 172.17.0.2 . 80, 9002 : 172.18.0.2 . 80 }; };
      chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local dnat to tcp dport map @ports; }; }
    table ip6 engine { map ports { type inet_service : ipv6_addr . inet_service; elements = { 9001 : fd17::2 . 80, 9002 : fd18::2 . 80 }; };
      chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local dnat to tcp dport map @ports; }; }";

macro_rules! nat {
    ($rules:literal) => {
        concat!(
            "table inet engine { chain prerouting { type nat hook prerouting priority dstnat;\n",
            $rules,
            "\n}; }"
        )
    };
}

#[test]
fn each_port_is_told_where_it_leads_and_whom_it_admits() {
    let published = Case { machine: MACHINE, policy: POLICY, ..Case::default() };
    let cases = [
        Case {
            name: "one port at two addresses, two containers",
            rules: nat!(
                "ip daddr 203.0.113.1 tcp dport 9000 dnat ip to 172.17.0.2:80
                 ip daddr 203.0.113.2 tcp dport 9000 dnat ip to 172.18.0.2:80
                 ip6 daddr 2001:db8::1 tcp dport 9000 dnat ip6 to [fd17::2]:80
                 ip6 daddr 2001:db8::2 tcp dport 9000 dnat ip6 to [fd18::2]:80"
            ),
            tries: "client > host 9000/tcp at docker0:80: allowed
                    client > host=203.0.113.2 9000/tcp at br-app:80: allowed
                    client > host=2001:db8::2 9000/tcp at br-app:80: allowed
                    out > host 9000/tcp at docker0:80: denied
                    out > host=203.0.113.2 9000/tcp at br-app:80: denied",
            ..published
        },
        Case {
            name: "a range of 10,001 ports, in which a service names one",
            rules: nat!(
                "fib daddr type local meta nfproto ipv4 udp dport 20000-30000 dnat ip to 172.17.0.2
                 fib daddr type local meta nfproto ipv6 udp dport 20000-30000 dnat ip6 to fd17::2"
            ),
            tries: "client > host 25000/udp at docker0: allowed
                    out > host 25000/udp at docker0: denied
                    client > host 20000/udp at docker0: denied
                    client > host 30000/udp at docker0: denied",
            ..published
        },
        Case {
            name: "one IP version alone",
            rules: nat!("fib daddr type local meta nfproto ipv6 tcp dport 9000 dnat ip6 to [fd17::2]:80"),
            tries: "client6 > host6 9000/tcp at docker0:80: allowed
                    out6 > host6 9000/tcp at docker0:80: denied",
            ..published
        },
        Case {
            name: "a port of this machine at one address, and a container's at the other",
            rules: nat!(
                "ip daddr 203.0.113.2 tcp dport 9000 dnat ip to 172.17.0.2:80
                 ip6 daddr 2001:db8::2 tcp dport 9000 dnat ip6 to [fd17::2]:80"
            ),
            policy: BY_ADDRESS,
            tries: "out > host 9000/tcp: allowed
                    client > host=203.0.113.2 9000/tcp at docker0:80: allowed
                    client > host=2001:db8::2 9000/tcp at docker0:80: allowed
                    out > host=203.0.113.2 9000/tcp at docker0:80: denied
                    out > host=2001:db8::2 9000/tcp at docker0:80: denied",
            ..published
        },
        Case {
            name: "ports of a map, one of which is shut",
            rules: MAPPED,
            tries: "client > host 9001/tcp at docker0:80: allowed
                    out > host 9001/tcp at docker0:80: denied
                    client > host 9002/tcp at br-app:80: denied",
            ..published
        },
    ];
    hold("exposure", &cases);
}
