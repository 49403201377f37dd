//! What services say together, and what `status` tells of them.

mod support;

use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use support::lab::{HOST, Lab};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const ADMIN: [&str; 2] = ["203.0.113.66", "2001:db8::66"];
const OTHER: [&str; 2] = ["203.0.113.67", "2001:db8::67"];

/// A lab whose host listens on those ports, with the addresses above on the client and a policy applied.
fn lab(policy: &str, ports: &[u16]) -> (Lab, support::echo::Echo) {
    let lab = Lab::new();
    lab.add_addresses(ADMIN.iter().chain(&OTHER).map(|address| address.parse().expect("an address")));
    let addresses: Vec<SocketAddr> =
        ports.iter().flat_map(|port| HOST.map(|address| SocketAddr::new(address, *port))).collect();
    let echo = lab.host.listen(&addresses, &[]);
    lab.write_policy("policy.yaml", policy);
    lab.palisade("policy.yaml", &["apply"]).success();
    (lab, echo)
}

/// How many of so many connections in a row are let in before the first is not.
fn admitted(lab: &Lab, from: &str, port: u16, tries: usize) -> usize {
    let from: IpAddr = from.parse().expect("an address");
    let (inside, to) = lab.peer(from);
    (0..tries).take_while(|_| inside.probe(Target::Tcp(port), from, to, SILENCE) == Outcome::Connected).count()
}

#[test]
fn a_port_of_two_services_is_open_to_the_union_and_the_limit_of_one_does_not_bind_the_other() {
    let (lab, _echo) = lab(
        "version: 1
services:
  all: { ports: 22/tcp, from: any, limit: 2/hour }
  admin: { ports: [22/tcp, 8000-8002/tcp], from: [203.0.113.66, \"2001:db8::66\"] }
  range: { ports: 8001-8003/tcp, from: [203.0.113.67, \"2001:db8::67\"] }
",
        &[22, 8000, 8001, 8002, 8003],
    );
    let ports = [22, 8000, 8001, 8002, 8003];
    let each = |from: &str| ports.map(|port| admitted(&lab, from, port, 4));

    for (admin, other) in ADMIN.iter().zip(OTHER) {
        assert_eq!(each(admin), [4, 4, 4, 4, 0], "{admin}");
        assert_eq!(each(other), [2, 0, 4, 4, 4], "{other}");
    }
}

#[test]
fn what_exceeds_a_limit_is_denied_where_everything_else_may_come_in() {
    let (lab, _echo) = lab(
        "version: 1
defaults: { incoming: allow }
services:
  a: { ports: 22/tcp, from: [203.0.113.66, 203.0.113.67, \"2001:db8::66\"], limit: 1/hour }
  b: { ports: 22/tcp, from: 203.0.113.67, limit: 2/hour }
",
        &[22, 23],
    );

    // One of the first service; one of the first and two of the second; those that neither names are not limited.
    assert_eq!(admitted(&lab, "203.0.113.66", 22, 5), 1);
    assert_eq!(admitted(&lab, "203.0.113.67", 22, 5), 3);
    assert_eq!(admitted(&lab, "2001:db8::66", 22, 5), 1);
    assert_eq!(admitted(&lab, "2001:db8::67", 22, 5), 5);
    assert_eq!(admitted(&lab, "203.0.113.66", 23, 5), 5);
}

#[test]
fn status_counts_what_a_limit_turned_away() {
    let (lab, _echo) = lab("version: 1\nservices: { ssh: { ports: 22/tcp, from: any, limit: 2/hour } }\n", &[22]);
    let counts = || {
        let status: Value =
            serde_json::from_str(&lab.palisade("policy.yaml", &["status", "--json"]).stdout).expect("JSON");
        let service = &status["services"][0];
        ["/packets", "/limited/packets"].map(|path| service.pointer(path).and_then(Value::as_u64).expect("a count"))
    };
    let before = counts();

    // Each version of IP has a limit of its own.
    for from in [ADMIN[0], ADMIN[1]] {
        assert_eq!(admitted(&lab, from, 22, 3), 2, "{from}");
    }
    let [packets, limited] = counts();

    assert_eq!((before, packets), ([0, 0], 4));
    // Who is turned away may send his SYN again.
    assert!(limited >= 2, "{limited}");
    let text = lab.palisade("policy.yaml", &["status"]).stdout;
    assert!(text.contains("  22/tcp from anyone, at most 2/hour ("), "{text}");
}

#[test]
fn status_numbers_the_services_and_counts_what_was_let_in_and_what_was_denied() {
    let policy = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  web: { ports: [80/tcp, 60000-61000/udp, esp/proto], from: 203.0.113.66, limit: 9/minute }
block: 203.0.113.67
";
    let (lab, _echo) = lab(policy, &[22, 80]);
    let status = || -> Value {
        let output = lab.palisade("policy.yaml", &["status", "--json"]);
        assert_eq!(output.status, Some(0), "{}", output.stderr);
        serde_json::from_str(&output.stdout).expect("one JSON document")
    };
    let packets = |status: &Value| -> Value {
        let denied = status["denied"].as_object().expect("an object");
        let denied: serde_json::Map<String, Value> =
            denied.iter().map(|(name, count)| (name.clone(), count["packets"].clone())).collect();
        let services = status["services"].as_array().expect("a list");
        let service = |one: &Value| json!([one["number"], one["name"], one["ports"], one["packets"], one["line"]]);
        json!({ "services": services.iter().map(service).collect::<Vec<_>>(), "denied": denied })
    };
    let udp_and_protocol = json!(["80/tcp", "60000-61000/udp", "50/proto"]);
    assert_eq!(
        packets(&status()),
        json!({
            "services": [[1, "ssh", ["22/tcp"], 0, 3], [2, "web", udp_and_protocol, 0, 4]],
            "denied": { "blocked": 0, "forward": 0, "incoming": 0, "invalid": 0 },
        })
    );

    assert_eq!(admitted(&lab, "203.0.113.66", 22, 3), 3);
    assert_eq!(admitted(&lab, "203.0.113.66", 80, 2), 2);
    assert_eq!(admitted(&lab, "2001:db8::67", 80, 2), 0);
    assert_eq!(admitted(&lab, "203.0.113.67", 22, 2), 0);

    let after = status();
    assert_eq!(
        packets(&after),
        json!({
            "services": [[1, "ssh", ["22/tcp"], 3, 3], [2, "web", udp_and_protocol, 2, 4]],
            "denied": { "blocked": 1, "forward": 0, "incoming": 1, "invalid": 0 },
        })
    );
    assert_eq!(
        [&after["active"], &after["in_sync"], &after["file"]],
        [&json!(true), &json!(true), &json!("policy.yaml")]
    );
    assert!(after["since"].as_str().is_some_and(|since| since.ends_with('Z')));

    lab.host.nft_load("flush chain inet palisade service-ssh");
    assert_eq!(status()["in_sync"], json!(false));
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    let gone = lab.palisade("policy.yaml", &["status", "--json"]);
    assert_eq!(gone.status, Some(3));
    let expected = json!({ "active": false, "in_sync": false, "services": [], "denied": {}, "format_version": 1 });
    assert_eq!(serde_json::from_str::<Value>(&gone.stdout).expect("one JSON document"), expected);
}

#[test]
fn a_reply_that_belongs_to_no_connection_is_counted_as_invalid_and_dropped() {
    let (lab, _echo) = lab("version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n", &[22]);
    let from: IpAddr = ADMIN[0].parse().expect("an address");
    let (inside, to) = lab.peer(from);
    let mut stream = inside.connect(from, SocketAddr::new(to, 22), PATIENCE).expect("ssh is open to anyone");
    assert!(support::probe::talks(&mut stream, PATIENCE));

    // The connection is forgotten, and its end comes out of nowhere. Nothing that is late may begin it again.
    lab.host.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
    let flushed = support::namespace::output(lab.host.command("conntrack").arg("-F"));
    assert_eq!(flushed.status, Some(0), "{}", flushed.stderr);
    assert!(!support::probe::talks(&mut stream, SILENCE));

    let status = lab.palisade("policy.yaml", &["status", "--json"]).success();
    let status: Value = serde_json::from_str(&status).expect("one JSON document");
    assert!(status["denied"]["invalid"]["packets"].as_u64().is_some_and(|packets| packets > 0), "{status}");
}
