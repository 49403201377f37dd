//! Whole connections against the kernel: generated tables of nft, and real connections to this machine, through it, from it
//! and to itself, to ports that are translated and to others. Where the simulator says what becomes of one, the kernel does
//! the same: the answer gets back, or does not, and so does what follows it.
//!
//! `PROPTEST_RNG_SEED` chooses the cases; each test prints its own.
#![allow(missing_docs)]

mod answers;
mod support;

use answers::range::{Sum, compare};
use answers::rules;
use palisade::simulate::Verdict;
use serde_json::Value;
use std::net::SocketAddr;
use support::lab::{CLIENT, HOST, LAN, Lab};
use support::probe::{Outcome, SILENCE, Target};

/// Of how many nothing can be told.
fn unknown(sum: &Sum) -> usize {
    sum.verdicts.iter().filter(|((_, one), _)| *one == Verdict::Unknown).map(|(_, count)| count).sum()
}

#[test]
fn whatever_nft_loads_a_connection_comes_to_the_end_that_the_simulator_says() {
    let sum = compare(12, rules(), false);

    assert!(unknown(&sum) * 20 < sum.verdicts.values().sum(), "of too many nothing can be told: {sum:?}");
}

/// A port that is published from the machine on the local network, which counts as a container.
const PUBLISHED: &str = "
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        iifname != \"eth1\" tcp dport 8080 dnat to 10.77.0.2:80
    }
}
";
const POLICY: &str = "version: 1
containers: { interfaces: eth1 }
services:
  web: { ports: 8080/tcp, from: any }
  pages: { ports: 80/tcp, from: any }
";

/// What `explain` and `exposure` say of a port that the client asks for, and what becomes of it.
fn told(lab: &Lab, port: &str) -> (String, String, Vec<String>) {
    let arguments = ["explain", port, "--from", "203.0.113.9", "--to", "203.0.113.1", "--json"];
    let said: Value = serde_json::from_str(&lab.palisade("policy.yaml", &arguments).stdout).expect("a document");
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    let exposed = lab.palisade("policy.yaml", &["exposure", "--json"]).success();
    let exposed: Value = serde_json::from_str(&exposed).expect("a document");
    let (number, _) = port.split_once('/').expect("a port");
    let rows = exposed["ports"].as_array().cloned().unwrap_or_default();
    let of_port = rows.iter().filter(|row| row["port"].as_u64().is_some_and(|port| port.to_string() == number));
    let reached = of_port.map(|row| row["ipv4"]["reachable_from"].to_string());
    (text("verdict"), text("reason"), reached.collect())
}

#[test]
fn a_port_whose_answers_die_is_open_to_nobody_and_it_is_said_where_they_die() {
    let lab = Lab::new();
    lab.forward();
    let listening: Vec<SocketAddr> = vec![SocketAddr::new(LAN[0], 80)];
    let _container = lab.lan.listen(&listening, &[]);
    let _host = lab.host.listen(&[SocketAddr::new(HOST[0], 80)], &[]);
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    let reaches = |port| lab.client.probe(Target::Tcp(port), CLIENT[0], HOST[0], SILENCE) == Outcome::Connected;
    let beside = |others: &str| {
        lab.host.nft_load(&format!(
            "table ip nat\ndelete table ip nat\ntable ip x\ndelete table ip x\n{PUBLISHED}{others}"
        ));
        [8080, 80].map(|port| (told(&lab, &format!("{port}/tcp")), reaches(port)))
    };
    let everyone = || vec!["[\"everyone\"]".to_owned()];
    let nobody = || vec!["[\"nobody\"]".to_owned()];
    let open = || (("allow".to_owned(), "no table denies it".to_owned(), everyone()), true);
    let shut = |why: &str| (("deny".to_owned(), why.to_owned(), nobody()), false);

    assert_eq!(beside(""), [open(), open()]);
    assert_eq!(
        beside(
            "table ip x { chain a { type filter hook prerouting priority -300; ip saddr 10.77.0.0/16 drop; }; }\n"
        ),
        [
            shut(
                "the answer to it is dropped by chain a of table ip x, not by palisade: `ip saddr 10.77.0.0/16 drop`"
            ),
            open()
        ]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook output priority 0; tcp sport 80 drop; }; }\n"),
        [open(), shut("the answer to it is dropped by chain a of table ip x, not by palisade: `tcp sport 80 drop`")]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook input priority 0; policy drop; ct state new accept; }; }\n"),
        [open(), shut("what follows the answer is dropped by chain a of table ip x, not by palisade: `policy drop`")]
    );
    assert_eq!(
        beside(
            "table ip x { chain a { type filter hook output priority 0; tcp flags & (syn | ack) == (syn | ack) accept; tcp sport \
             80 drop; }; }\n"
        ),
        [
            open(),
            shut(
                "the data that comes back is dropped by chain a of table ip x, not by palisade: `tcp sport 80 drop`"
            )
        ]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook prerouting priority -300; iifname eth1 notrack; }; }\n"),
        [shut("a rule leaves the answer untracked, so that its translation is not undone"), open()]
    );
}

#[test]
#[ignore = "takes minutes"]
fn whatever_nft_loads_a_connection_comes_to_the_end_that_the_simulator_says_ten_thousand_times() {
    let sum = compare(250, rules(), false);

    let of = |stage: &str, verdict| sum.verdicts.get(&(stage.to_owned(), verdict)).copied().unwrap_or_default();
    assert!(of("answer", Verdict::Deny) > 200 && of("third", Verdict::Deny) > 20, "{sum:?}");
    assert!(
        unknown(&sum) * 100 < sum.verdicts.values().sum::<usize>() * 3,
        "of too many nothing can be told: {sum:?}"
    );
}
