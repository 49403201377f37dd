//! `denied` lists who was turned away by real packets, by the port that they asked for and with the policy's reason, and
//! `suggest` prints the lines that let them in.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::net::IpAddr;
use support::lab::{LAN, Lab, OUT};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// Whom the policy names.
const NAMED: [&str; 2] = ["203.0.113.9", "2001:db8::9"];
/// Whom it denies.
const BAD: [&str; 2] = ["203.0.113.13", "2001:db8::13"];

const POLICY: &str = "version: 1
containers: { interfaces: [] }
groups: { trusted: [203.0.113.9, \"2001:db8::9\"] }
services:
  dashboard:
    ports: 9000/tcp
    from: trusted
  bad:
    action: deny
    ports: 22/tcp
    from: [203.0.113.13, \"2001:db8::13\"]
  ssh:
    ports: 22/tcp
    from: any
    limit: 1/hour
forward:
  web:
    ports: 443/tcp
    from: trusted
    to: any
";

/// A lab with the policy, and 9000 of the host published to port 80 of the local network.
fn lab() -> (Lab, Vec<support::echo::Echo>) {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    lab.add_addresses(NAMED.iter().chain(&BAD).map(|address| address.parse().expect("an address")));
    let [v4, v6] = LAN;
    lab.host.nft_load(&format!(
        "table ip nat {{ chain prerouting {{ type nat hook prerouting priority dstnat;
            fib daddr type local tcp dport 9000 dnat to {v4}:80;
         }}
         }}
         table ip6 nat {{ chain prerouting {{ type nat hook prerouting priority dstnat;
            fib daddr type local tcp dport 9000 dnat to [{v6}]:80;
         }}
         }}"
    ));
    let listen = |inside: &support::namespace::Namespace, addresses: &[IpAddr; 2], ports: &[u16]| {
        let all = ports.iter().flat_map(|port| addresses.map(|address| (address, *port).into()));
        inside.listen(&all.collect::<Vec<_>>(), &[])
    };
    let echoes = vec![listen(&lab.host, &support::lab::HOST, &[22, 8080]), listen(&lab.lan, &LAN, &[80, 443, 8443])];
    (lab, echoes)
}

fn probe(lab: &Lab, from: IpAddr, to: Option<IpAddr>, port: u16, wait: std::time::Duration) -> Outcome {
    let (inside, host) = lab.peer(from);
    inside.probe(Target::Tcp(port), from, to.unwrap_or(host), wait)
}

/// What `denied --json` lists, without what depends on how often a probe sends.
fn denied(lab: &Lab) -> Vec<Value> {
    let said = lab.palisade("policy.yaml", &["denied", "--json"]).success();
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let mut rows: Vec<Value> = said["denied"].as_array().expect("a list").clone();
    for row in &mut rows {
        let row = row.as_object_mut().expect("an object");
        let packets = row.remove("packets").and_then(|packets| packets.as_u64()).expect("a number");
        assert!(packets > 0, "{row:?}");
        assert!(row.remove("seconds_ago").is_some_and(|ago| ago.as_u64().is_some_and(|ago| ago < 600)), "{row:?}");
    }
    rows.sort_by_key(ToString::to_string);
    rows
}

#[test]
fn who_is_turned_away_is_listed_by_the_port_that_was_asked_for_with_the_reason() {
    let (lab, _echoes) = lab();
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    // Without palisade everyone gets everywhere.
    for (out, lan) in OUT.into_iter().zip(LAN) {
        assert_eq!(probe(&lab, out, None, 9000, PATIENCE), Outcome::Connected, "{out}");
        assert_eq!(probe(&lab, out, Some(lan), 443, PATIENCE), Outcome::Connected, "{out}");
        assert_eq!(probe(&lab, out, None, 22, PATIENCE), Outcome::Connected, "{out}");
    }
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(denied(&lab), [] as [Value; 0]);

    let mut expected = Vec::new();
    for (version, (out, lan)) in OUT.into_iter().zip(LAN).enumerate() {
        let (named, bad) = (address(NAMED[version]), address(BAD[version]));
        // Who is let in is not listed.
        assert_eq!(probe(&lab, named, None, 9000, PATIENCE), Outcome::Connected);
        assert_eq!(probe(&lab, named, Some(lan), 443, PATIENCE), Outcome::Connected);
        assert_eq!(probe(&lab, named, None, 22, PATIENCE), Outcome::Connected);

        for (from, to, port) in [
            (out, None, 9000),
            (out, None, 8080),
            (bad, None, 22),
            (named, None, 22),
            (out, Some(lan), 443),
            (out, Some(lan), 8443),
        ] {
            assert_eq!(probe(&lab, from, to, port, SILENCE), Outcome::TimedOut, "{from} {to:?} {port}");
        }
        let row =
            |direction: &str, source: IpAddr, port: u16, service: Option<&str>, line: Option<u32>, why: &str| {
                json!({ "direction": direction, "source": source, "protocol": "tcp", "port": port,
                    "service": service, "line": line, "why": why })
            };
        expected.extend([
            row("incoming", out, 9000, Some("dashboard"), Some(5), "not in `from` of the service `dashboard`"),
            row("incoming", out, 8080, None, None, "no service is about this port"),
            row("incoming", bad, 22, Some("bad"), Some(8), "denied by the service `bad`"),
            row(
                "incoming",
                named,
                22,
                Some("ssh"),
                Some(15),
                "more often than the limit of the service `ssh` allows",
            ),
            row("forward", out, 443, Some("web"), Some(17), "not in `from` of the rule `web`"),
            row("forward", out, 8443, None, None, "no rule of `forward` is about this port"),
        ]);
    }
    expected.sort_by_key(ToString::to_string);
    assert_eq!(denied(&lab), expected);

    // They are no part of the policy, and stay when it is applied again.
    lab.palisade("policy.yaml", &["diff"]).success();
    lab.write_policy("policy.yaml", &POLICY.replace("443/tcp", "444/tcp"));
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(denied(&lab).len(), expected.len());
}

#[test]
fn the_suggested_lines_let_in_that_address_alone() {
    let (lab, _echoes) = lab();
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    for out in OUT {
        for port in [9000, 8080] {
            assert_eq!(probe(&lab, out, None, port, SILENCE), Outcome::TimedOut, "{out} {port}");
        }
    }

    let suggest = |arguments: &[&str]| lab.palisade("policy.yaml", arguments).success();
    let new = "services:\n  tcp-8080:\n    ports: 8080/tcp\n    from: ";
    let command = |source: &str| {
        format!("# the same by a command:\n#   palisade add 8080/tcp --from {source} --name tcp-8080\n")
    };
    assert_eq!(
        suggest(&["suggest", "203.0.113.66", "8080/tcp"]),
        format!(
            "# 203.0.113.66 was denied 8080/tcp: no service is about this port\n{new}203.0.113.66\n{}",
            command("203.0.113.66")
        )
    );
    assert_eq!(
        suggest(&["suggest", "2001:db8::66", "8080/tcp"]),
        format!(
            "# 2001:db8::66 was denied 8080/tcp: no service is about this port\n{new}\"2001:db8::66\"\n{}",
            command("2001:db8::66")
        )
    );
    assert_eq!(
        suggest(&["suggest", "203.0.113.66", "9000/tcp"]),
        "# 203.0.113.66 was denied 9000/tcp: not in `from` of the service `dashboard`\n\
         services:\n  tcp-9000:\n    ports: 9000/tcp\n    from: 203.0.113.66\n\
         # the same by a command:\n#   palisade add 9000/tcp --from 203.0.113.66 --name tcp-9000\n\
         # or into the group trusted, which opens dashboard, web:\n#   palisade group add trusted 203.0.113.66\n"
    );
    let nobody = lab.palisade("policy.yaml", &["suggest", "203.0.113.99"]);
    assert_eq!(
        (nobody.status, nobody.stdout.as_str()),
        (Some(1), "203.0.113.99 was denied nothing within a day, as far as this is remembered\n")
    );
    // What is suggested for a new port is valid, and lets in that address and nobody else.
    let line = POLICY.replace("services:\n", &format!("{new}203.0.113.66\n"));
    lab.write_policy("policy.yaml", &line);
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(probe(&lab, OUT[0], None, 8080, PATIENCE), Outcome::Connected);
    assert_eq!(probe(&lab, OUT[1], None, 8080, SILENCE), Outcome::TimedOut);
}

#[test]
fn where_no_rules_remember_anybody_nobody_is_said_to_be_well() {
    let lab = Lab::new();

    assert_eq!(
        lab.palisade("policy.yaml", &["denied"]).success(),
        "who was denied is not known: palisade is not loaded, its rules are those of an older version, or nothing is denied\n"
    );
}
