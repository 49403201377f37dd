//! What rules of others do, where it is easily passed over: real connections, and what each command says of them. Port 80
//! is what the rules are about, and port 81 the control beside it. Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

/// Both ports are open by the policy.
const OPEN: Case = Case {
    name: "",
    machine: "",
    rules: "",
    foreign: "",
    files: &[],
    policy: "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  web: { ports: [80/tcp, 81/tcp], from: any }
",
    tries: DROPPED,
    then: &[],
    asks: "",
};
const DROPPED: &str = "out > host 80/tcp: denied\nout > host 81/tcp: allowed";
const PASSES: &str = "out > host 80/tcp: allowed\nout > host 81/tcp: allowed";

#[test]
fn of_chains_of_one_priority_the_one_that_came_last_runs_first() {
    let cases = [
        Case {
            name: "one table, the mark before the drop",
            foreign: "table inet t { chain drops { type filter hook input priority 0; meta mark 7 drop; }; }
                      table inet t { chain marks { type filter hook input priority 0; tcp dport 80 meta mark set 7; }; }",
            ..OPEN
        },
        Case {
            name: "one table, the drop before the mark",
            foreign: "table inet t { chain marks { type filter hook input priority 0; tcp dport 80 meta mark set 7; }; }
                      table inet t { chain drops { type filter hook input priority 0; meta mark 7 drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "two tables, the mark before the drop",
            foreign: "table inet a { chain c { type filter hook input priority 0; meta mark 7 drop; }; }
                      table inet b { chain c { type filter hook input priority 0; tcp dport 80 meta mark set 7; }; }",
            ..OPEN
        },
        Case {
            name: "two tables, the drop before the mark",
            foreign: "table inet a { chain c { type filter hook input priority 0; tcp dport 80 meta mark set 7; }; }
                      table inet b { chain c { type filter hook input priority 0; meta mark 7 drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "two translations of one port, of which the later table's is done",
            foreign: "table inet a { chain c { type nat hook prerouting priority -100; tcp dport 80 redirect to :81; }; }
                      table inet b { chain c { type nat hook prerouting priority -100; tcp dport 80 redirect to :22; }; }
                      table inet d { chain c { type filter hook input priority 5; tcp dport 22 drop; }; }",
            ..OPEN
        },
        Case {
            name: "at the priority of the lookup of connections",
            foreign: "table inet t { chain c { type filter hook prerouting priority -200; ct state new tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "at the priority of translations, before them",
            foreign: "table inet a { chain c { type nat hook prerouting priority -100; tcp dport 80 redirect to :81; }; }
                      table inet b { chain c { type filter hook prerouting priority -100; tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "at the priority of translations, after them",
            foreign: "table inet b { chain c { type filter hook prerouting priority -100; tcp dport 80 drop; }; }
                      table inet a { chain c { type nat hook prerouting priority -100; tcp dport 80 redirect to :81; }; }",
            tries: PASSES,
            ..OPEN
        },
    ];
    hold("ways-order", &cases);
}

#[test]
fn the_hooks_of_interfaces_are_passed_too() {
    let cases = [
        Case {
            name: "what comes in by eth0",
            foreign: "table netdev t { chain c { type filter hook ingress device eth0 priority 0; tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "what comes in by eth1",
            foreign: "table netdev t { chain c { type filter hook ingress device eth1 priority 0; tcp dport 80 drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "answers that leave by eth0",
            foreign: "table netdev t { chain c { type filter hook egress device eth0 priority 0; tcp sport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "what comes in by a port of a bridge",
            machine: "link add br0 type bridge\naddress flush dev eth1\nlink set eth1 master br0\nlink set br0 up
                      address add 10.77.0.1/24 dev br0\naddress add fd77::1/64 dev br0 nodad",
            foreign: "table inet t { chain c { type filter hook ingress device eth1 priority 0; tcp dport 80 drop; }; }",
            tries: "lan > hostlan 80/tcp: denied
                    lan > hostlan 81/tcp: allowed",
            ..OPEN
        },
        Case {
            name: "what this machine sends by eth1",
            foreign: "table netdev t { chain c { type filter hook egress device eth1 priority 0; tcp dport 80 drop; }; }",
            tries: "host > lan 80/tcp: denied
                    host > lan 81/tcp: allowed
                    host > far 80/tcp: allowed",
            ..OPEN
        },
    ];
    hold("ways-devices", &cases);
}

#[test]
fn a_connection_that_gets_no_answer_is_not_open() {
    let cases = [
        Case {
            name: "the answer is dropped where it leaves",
            foreign: "table inet t { chain c { type filter hook output priority 0; tcp sport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "the third packet is dropped",
            foreign: "table inet t { chain c { type filter hook input priority 0; ct state new accept; tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "the answer to a ping",
            foreign: "table inet t { chain c { type filter hook output priority 0; icmp type echo-reply drop; icmpv6 type echo-reply drop; }; }",
            tries: "out > host ping: denied
                    host > far ping: allowed",
            ..OPEN
        },
        Case {
            name: "this machine to itself",
            foreign: "table inet t { chain c { type filter hook input priority 0; iif lo tcp sport 80 drop; }; }",
            tries: "host > host 80/tcp: denied
                    host > lo 80/tcp: denied
                    host > host 81/tcp: allowed
                    out > host 80/tcp: allowed",
            ..OPEN
        },
        Case {
            name: "what is not tracked is no answer",
            foreign: "table inet t {
                chain raw { type filter hook prerouting priority raw; tcp sport 80 notrack; }
                chain in { type filter hook input priority 0; ct state established accept; tcp sport { 80, 81 } drop; }
            }",
            tries: "host > far 80/tcp: denied
                    host > far 81/tcp: allowed",
            ..OPEN
        },
        Case {
            name: "what is routed gets none",
            machine: "forward",
            policy: "version: 1\ndefaults: { forward: allow }\nservices: { ssh: { ports: 22/tcp, from: any } }\n",
            foreign: "table inet t { chain c { type filter hook forward priority 0; iif eth1 tcp sport 80 drop; }; }",
            tries: "out > lan 80/tcp: denied
                    out > lan 81/tcp: allowed
                    lan > out 80/tcp: allowed",
            ..OPEN
        },
    ];
    hold("ways-answers", &cases);
}

#[test]
fn what_a_packet_leaves_behind_stops_the_next() {
    let cases = [
        Case {
            name: "a mark of the third packet, by which the next one is dropped",
            foreign: "table inet t {
                chain again { type filter hook prerouting priority -150; ct mark 5 drop; }
                chain in { type filter hook input priority 0; tcp dport 80 tcp flags & (syn | ack) == ack ct mark set 5; }
            }",
            ..OPEN
        },
        Case {
            name: "a mark of the answer, by which the third packet is dropped",
            foreign: "table inet t {
                chain again { type filter hook prerouting priority -150; ct mark 5 drop; }
                chain out { type filter hook output priority 0; tcp sport 80 ct mark set 5; }
            }",
            ..OPEN
        },
        Case {
            name: "a set to which this machine's third packet adds the port that gets no more answers",
            foreign: "table inet t {
                set seen { type inet_service; size 9; flags dynamic; }
                chain in { type filter hook input priority 0; tcp dport @seen drop; }
                chain out { type filter hook output priority 0; tcp dport 80 tcp flags & (syn | ack) == ack add @seen { tcp sport }; }
            }",
            tries: "host > far 80/tcp: denied
                    host > far 81/tcp: allowed",
            ..OPEN
        },
    ];
    hold("ways-later", &cases);
}

#[test]
fn who_can_not_find_his_neighbour_is_not_said_to_be_let_in() {
    let (four, six) = ("out4 > host4 80/tcp: denied\nout4 > host4 81/tcp: denied", "out6 > host6 80/tcp: denied");
    let cases = [
        Case {
            name: "questions of ARP",
            foreign: "table arp t { chain c { type filter hook input priority 0; arp operation request drop; }; }",
            tries: four,
            ..OPEN
        },
        Case {
            name: "answers of ARP",
            foreign: "table arp t { chain c { type filter hook output priority 0; arp operation reply drop; }; }",
            tries: four,
            ..OPEN
        },
        Case {
            name: "solicitations",
            foreign: "table inet t { chain c { type filter hook input priority 0; icmpv6 type nd-neighbor-solicit drop; }; }",
            tries: six,
            ..OPEN
        },
        Case {
            name: "advertisements",
            foreign: "table inet t { chain c { type filter hook output priority 0; icmpv6 type nd-neighbor-advert drop; }; }",
            tries: six,
            ..OPEN
        },
        Case {
            name: "somebody else's questions",
            foreign: "table arp t { chain c { type filter hook input priority 0; arp operation request arp saddr ip 203.0.113.77 drop; }; }
                      table inet t { chain c { type filter hook input priority 0; icmpv6 type nd-router-solicit drop; }; }",
            tries: PASSES,
            ..OPEN
        },
    ];
    hold("ways-neighbours", &cases);
}

#[test]
fn sets_objects_and_words_mean_what_the_kernel_means_by_them() {
    let cases = [
        Case {
            name: "a set that is full",
            foreign: "table inet t { set s { type ipv4_addr; size 1; flags dynamic; elements = { 192.0.2.1 }; }
                                     set s6 { type ipv6_addr; size 1; flags dynamic; elements = { 2001:db8::9 }; }
                        chain c { type filter hook input priority 0; tcp dport 80 add @s { ip saddr } accept; tcp dport 80 add @s6 { ip6 saddr } accept; tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "a set with room",
            foreign: "table inet t { set s { type ipv4_addr; size 9; flags dynamic; }
                                     set s6 { type ipv6_addr; size 9; flags dynamic; }
                        chain c { type filter hook input priority 0; tcp dport 80 add @s { ip saddr } accept; tcp dport 80 add @s6 { ip6 saddr } accept; tcp dport 80 drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "the loopback of IPv6, to which a translation leads",
            foreign: "table ip6 t { chain c { type nat hook prerouting priority -100; tcp dport 80 dnat to [::1]:81; }; }",
            tries: "out6 > host6 80/tcp: denied\nout4 > host4 80/tcp: allowed",
            ..OPEN
        },
        Case {
            name: "concatenations of ranges",
            foreign: "table inet t { chain c { type filter hook input priority 0;
                ip saddr . tcp dport { 203.0.113.60-203.0.113.70 . 70-80 } drop;
                ip6 saddr . tcp dport { 2001:db8::60-2001:db8::70 . 70-80 } drop; }; }",
            ..OPEN
        },
        Case {
            name: "the words `exists`, `== syn` and a translation to a port alone",
            foreign: "table inet t {
                chain n { type nat hook prerouting priority -100; tcp dport 80 redirect to :81; }
                chain c { type filter hook input priority 0; fib saddr . iif oif exists tcp flags == syn tcp dport 81 ct original proto-dst 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "objects with names, and what is counted by them",
            foreign: "table inet t { counter web { }; quota much { over 1 mbytes; }
                chain c { type filter hook input priority 0; counter name tcp dport map { 80 : \"web\" }; tcp dport 80 quota name \"much\" drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "an expectation, of which it is not known whether it keeps the packet",
            foreign: "table inet t { ct expectation more { protocol tcp; dport 5000; timeout 1m; size 9; l3proto ip; }
                chain c { type filter hook input priority 0; ip protocol tcp tcp dport 80 ct state new ct expectation set \"more\"; }; }",
            tries: PASSES,
            ..OPEN
        },
    ];
    hold("ways-words", &cases);
}

#[test]
fn matches_by_use_are_known() {
    let cases = [
        Case {
            name: "the fields of headers",
            foreign: "table inet t { chain c { type filter hook input priority 0;
                ip ttl < 65 tcp dport 80 drop; ip6 hoplimit < 65 tcp dport 80 drop; ip dscp set cs3; meta length < 20 drop; }; }",
            ..OPEN
        },
        Case {
            name: "the kind, the group and the type of the interface",
            machine: "link set eth0 group 7",
            foreign: "table inet t { chain c { type filter hook input priority 0; meta iifkind veth meta iifgroup 7 meta iiftype ether tcp dport 80 drop; }; }",
            ..OPEN
        },
        Case {
            name: "a bridge's table, where no bridge is",
            foreign: "table bridge t { chain c { type filter hook input priority 0; drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "whom the packet is for, and marks of connections",
            foreign: "table inet t {
                chain p { type filter hook prerouting priority 0; meta pkttype host tcp dport 80 ct mark set 5; }
                chain c { type filter hook input priority 0; ct mark 5 drop; }; }",
            ..OPEN
        },
        Case {
            name: "a reverse path that is right, and a rate that is not reached",
            foreign: "table inet t { chain c { type filter hook prerouting priority 0; fib saddr . iif oif missing drop; limit rate over 9000/second drop; }; }",
            tries: PASSES,
            ..OPEN
        },
        Case {
            name: "one IP version alone",
            foreign: "table inet t { chain c { type filter hook input priority 0; meta nfproto ipv4 tcp dport 80 drop; }; }",
            tries: "out4 > host4 80/tcp: denied
                    out6 > host6 80/tcp: allowed",
            ..OPEN
        },
    ];
    hold("ways-matches", &cases);
}
