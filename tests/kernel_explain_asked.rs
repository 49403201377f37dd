//! `explain` asked as people ask: who reaches a port, by a service's name, from a whole network, what an address reaches,
//! why it is denied and what lets it in. Real packets come to the end that was said.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use support::echo::Echo;
use support::lab::{HOST, LAN, Lab};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const POLICY: &str = "version: 1
groups:
  trusted: [203.0.113.9, 203.0.113.64/27, \"2001:db8::9\"]
  bad: [203.0.113.13, 203.0.113.15]
block: [bad]
services:
  dashboard:
    ports: [9000/tcp, 9001/tcp]
    from: trusted
  ssh:
    ports: 22/tcp
    from: any
    limit: 2/hour
  voice:
    ports: [9000/udp, 60000-61000/udp]
    from: any
  tunnel:
    ports: esp/proto
    from: trusted
  cache:
    ports: 6379/tcp
    from: containers
forward:
  web:
    ports: 80/tcp
    from: trusted
    to: 10.77.0.0/24
";
const DEFAULT: &str = "by palisade: what else comes in is denied (policy.yaml, by default)";

/// A lab with the policy, where 22 and 9000 are listened on and 9001 is not, and a bridge of containers.
fn lab() -> (Lab, Vec<Echo>) {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(["203.0.113.66", "203.0.113.13", "203.0.113.130"].map(address));
    lab.host.ip("link add docker0 type bridge");
    lab.host.ip("address add 172.17.0.1/16 dev docker0");
    lab.host.ip("link set docker0 up");
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    let at = |ports: &[u16], addresses: [IpAddr; 2]| -> Vec<SocketAddr> {
        ports.iter().flat_map(|port| addresses.map(|address| SocketAddr::new(address, *port))).collect()
    };
    let echoes = vec![lab.host.listen(&at(&[22, 9000], HOST), &[]), lab.lan.listen(&at(&[80, 443], LAN), &[])];
    (lab, echoes)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The exit status, and all that was printed.
fn text(lab: &Lab, question: &str) -> (Option<i32>, String) {
    let words: Vec<&str> = question.split_whitespace().collect();
    let done = lab.palisade("policy.yaml", &[&["explain"][..], &words].concat());
    (done.status, done.stdout + &done.stderr)
}

/// The end of what was printed, behind the steps.
fn end(lab: &Lab, question: &str) -> (Option<i32>, String) {
    let (status, text) = text(lab, question);
    let last_step = text.rfind("\n  inet palisade ").map(|at| at + 1).unwrap_or_default();
    let end = text[last_step..].split_once('\n').map(|(_, end)| end.to_owned()).unwrap_or_default();
    (status, end)
}

fn said(lab: &Lab, question: &str) -> Value {
    let words: Vec<&str> = question.split_whitespace().collect();
    let done = lab.palisade("policy.yaml", &[&["explain", "--json"][..], &words].concat());
    let said: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{question}: {}", done.stderr));
    let status = match said["verdict"].as_str() {
        Some("allow") => 0,
        Some("deny" | "reject") => 2,
        _ => 3,
    };
    assert_eq!(done.status, Some(status), "{question}");
    said
}

fn probe(lab: &Lab, from: &str, to: IpAddr, port: u16, wait: Duration) -> Outcome {
    lab.client.probe(Target::Tcp(port), address(from), to, wait)
}

#[test]
fn without_from_it_says_who_reaches_a_port_and_by_which_service() {
    let (lab, _echoes) = lab();
    for (from, outcome) in [("203.0.113.66", Outcome::Connected), ("203.0.113.130", Outcome::TimedOut)] {
        assert_eq!(probe(&lab, from, HOST[0], 9000, SILENCE), outcome, "{from}");
    }

    let both = "PORT      OWNER            REACHABLE FROM
9000/tcp  kernel_explain_  trusted (3 networks and addresses) but bad, containers, fe80::/10
9001/tcp  nothing listens  trusted (3 networks and addresses) but bad, containers

the service dashboard has 9000/tcp (policy.yaml:7)
the service dashboard has 9001/tcp (policy.yaml:7)
nothing listens on 9001/tcp here: the row says who would reach it
";
    assert_eq!(text(&lab, "dashboard"), (Some(0), both.replace(", containers", "")));
    let nobody = "PORT      OWNER            REACHABLE FROM
4242/tcp  nothing listens  nobody

no service has 4242/tcp
nothing listens on 4242/tcp here: the row says who would reach it
";
    assert_eq!(text(&lab, "4242"), (Some(2), nobody.to_owned()));
    let tunnel = "PORT      OWNER         REACHABLE FROM
50/proto  this machine  trusted (3 networks and addresses) but bad

the service tunnel has 50/proto (policy.yaml:17)
";
    assert_eq!(text(&lab, "esp/proto"), (Some(0), tunnel.to_owned()));
    let bare = text(&lab, "9000").1;
    let note = "this is about 9000/tcp; the policy has `9000/udp`, too, which is another question\n";
    assert!(bare.ends_with(note), "{bare}");
    let port = |said: &Value| {
        let port = &said["ports"][0];
        json!([
            said["verdict"],
            said["steps"],
            port["asked"],
            port["listens"],
            port["reachable_from"],
            port["services"]
        ])
    };
    let service = json!([{ "name": "dashboard", "line": 7, "limit": null }]);
    assert_eq!(port(&said(&lab, "9000/tcp")), json!(["allow", [], "9000/tcp", true, ["trusted"], service]));
    assert_eq!(port(&said(&lab, "4242/tcp")), json!(["deny", [], "4242/tcp", false, ["nobody"], []]));
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    let planned = said(&lab, "dashboard --planned");
    assert_eq!(port(&planned), json!(["allow", [], "9000/tcp", true, ["trusted"], service]));
    assert_eq!(said(&lab, "4242/tcp")["ports"][0]["reachable_from"], json!(["everyone"]));
}

#[test]
fn a_whole_network_is_judged_part_by_part_as_real_packets_find_it() {
    let (lab, _echoes) = lab();
    let parts = said(&lab, "9000/tcp --from 203.0.113.0/24");
    let part = |from: &str, verdict: &str| json!({ "by": "eth0", "from": from, "verdict": verdict, "why": null });
    assert_eq!(
        parts["parts"],
        json!([
            part("203.0.113.0-203.0.113.8", "deny"),
            part("203.0.113.9", "allow"),
            part("203.0.113.10-203.0.113.63", "deny"),
            part("203.0.113.64/27", "allow"),
            part("203.0.113.96-203.0.113.255", "deny"),
        ])
    );
    for (from, outcome) in [
        ("203.0.113.9", Outcome::Connected),
        ("203.0.113.13", Outcome::TimedOut),
        ("203.0.113.66", Outcome::Connected),
        ("203.0.113.130", Outcome::TimedOut),
    ] {
        assert_eq!(probe(&lab, from, HOST[0], 9000, SILENCE), outcome, "{from}");
    }
}

#[test]
fn the_verdict_on_many_sources_is_a_line_that_names_the_smaller_part() {
    let (lab, _echoes) = lab();
    for (question, status, line) in [
        (
            "9000/tcp --from 203.0.113.0/26",
            2,
            "9000/tcp from 203.0.113.0/26: 203.0.113.9 is allowed, the rest is denied",
        ),
        ("dashboard --from trusted", 0, "9000/tcp from trusted: all are allowed"),
        ("9001 --from bad", 2, "9001/tcp from bad: all are denied"),
        (
            "9000 --from any",
            2,
            "9000/tcp from any: 203.0.113.9, 203.0.113.64/27, 2001:db8::9 are allowed, the rest is denied",
        ),
        ("22 --from any", 2, "22/tcp from any: 203.0.113.13, 203.0.113.15 are denied, the rest is allowed"),
        ("22 --from 198.51.100.0/24", 0, "22/tcp from 198.51.100.0/24: all are allowed"),
        ("6379 --from containers", 0, "6379/tcp from containers: all are allowed"),
        ("9000 --from 172.17.0.0/16", 2, "9000/tcp from 172.17.0.0/16: all are denied"),
        (
            "9000/udp --from 203.0.113.8-203.0.113.14 --planned",
            2,
            "9000/udp from 203.0.113.8-203.0.113.14: 203.0.113.13 is denied, the rest is allowed",
        ),
        (
            "80/tcp --from 203.0.113.0/26 --to 10.77.0.2",
            2,
            "80/tcp from 203.0.113.0/26: 203.0.113.9 is allowed, the rest is denied",
        ),
        (
            "9000 --from 127.0.0.0/8",
            1,
            "error: nobody with an address of 127.0.0.0/8 can open a connection here, by the interfaces and routes of this machine",
        ),
        ("9000 --from trustd", 1, "error: no group `trustd` is in use in the policy: did you mean `trusted`?"),
        ("dashbord", 1, "error: `dashbord` is no service of the policy, and no port: did you mean `dashboard`?"),
    ] {
        let (found, text) = text(&lab, question);
        assert_eq!((found, text.lines().next()), (Some(status), Some(line)), "{question}");
    }
}

#[test]
fn without_a_port_it_lists_what_an_address_reaches_and_the_default_for_the_rest() {
    let (lab, _echoes) = lab();
    let rest = format!("every other port, such as 61007/tcp: denied, {DEFAULT}");

    let expected = format!(
        "203.0.113.130 reaches
  ping             this machine
  22/tcp           kernel_explain_, at 203.0.113.1, service ssh (policy.yaml:10), at most 2/hour of each address
  9000/udp         nothing listens, service voice (policy.yaml:14)
  60000-61000/udp  whoever listens, service voice (policy.yaml:14)
denied: 50/proto, 6379/tcp, 9000/tcp, 9001/tcp
{rest}
"
    );
    assert_eq!(text(&lab, "--from 203.0.113.130"), (Some(0), expected));
    let blocked = text(&lab, "--from 203.0.113.13");
    assert_eq!((blocked.0, blocked.1.lines().next()), (Some(2), Some("203.0.113.13 reaches nothing here")));
    let trusted = said(&lab, "--from 203.0.113.66");
    let ports: Vec<&Value> = trusted["reaches"].as_array().expect("a list").iter().map(|one| &one["port"]).collect();
    assert_eq!(ports, ["ping", "22/tcp", "9000/tcp", "9001/tcp", "9000/udp", "60000-61000/udp", "50/proto"]);
}

#[test]
fn a_limit_is_told_and_that_an_address_came_too_often_and_that_nothing_listens() {
    let (lab, _echoes) = lab();
    let limit = "\nallowed, at most 2/hour of each address (policy.yaml:13)\n";
    assert_eq!(end(&lab, "22/tcp --from 203.0.113.66"), (Some(0), limit.to_owned()));
    for outcome in [Outcome::Connected, Outcome::Connected, Outcome::TimedOut] {
        assert_eq!(probe(&lab, "203.0.113.66", HOST[0], 22, SILENCE), outcome);
    }

    let over = said(&lab, "22/tcp --from 203.0.113.66");
    let (_, line) = end(&lab, "22/tcp --from 203.0.113.66");
    assert_eq!(
        (&over["verdict"], &over["limit"]["rate"], &over["limit"]["over"]),
        (&json!("allow"), &json!("2/hour"), &json!(true))
    );
    let begin = "\nallowed, at most 2/hour of each address; this address came too often: it was turned away ";
    assert!(line.starts_with(begin) && line.ends_with(" (policy.yaml:13)\n"), "{line}");
    assert_eq!(said(&lab, "22/tcp --from 203.0.113.9")["limit"]["over"], json!(false));
    assert_eq!(said(&lab, "22/tcp --from 203.0.113.66 --planned")["limit"]["over"], Value::Null);

    assert_eq!(probe(&lab, "203.0.113.66", HOST[0], 9001, PATIENCE), Outcome::Refused);
    let nothing = "\nnothing listens on 9001/tcp here\n";
    assert_eq!(end(&lab, "9001/tcp --from 203.0.113.66"), (Some(0), nothing.to_owned()));
    assert_eq!(said(&lab, "9000/tcp --from 203.0.113.66")["listens"], json!(true));
    assert_eq!(said(&lab, "80/tcp --from 203.0.113.9 --to 10.77.0.2")["listens"], Value::Null);
}

#[test]
fn a_denied_address_is_told_why_and_each_way_to_let_it_in_lets_it_in() {
    let (lab, _echoes) = lab();
    let lines = "services:\n  tcp-9000:\n    ports: 9000/tcp\n    from: 203.0.113.130\n\
                 # the same by a command:\n#   palisade add 9000/tcp --from 203.0.113.130 --name tcp-9000\n\
                 # or into the group trusted, which opens dashboard, tunnel, web:\n\
                 #   palisade group add trusted 203.0.113.130\n";
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    let full = "dashboard admits trusted (3 networks and addresses); 203.0.113.130 is not among them";
    assert_eq!(
        end(&lab, "9000/tcp --from 203.0.113.130"),
        (Some(2), format!("\n{full} (policy.yaml:7)\n\nto let it in:\n{indented}"))
    );
    assert_eq!(
        said(&lab, "9000/tcp --from 203.0.113.130")["why"],
        json!({ "service": "dashboard", "line": 7, "text": full, "to_let_it_in": lines })
    );
    let blocked = said(&lab, "9000/tcp --from 203.0.113.13");
    assert_eq!(blocked["why"]["text"], "203.0.113.13 is in `block` by the group bad");
    assert_eq!(said(&lab, "9000/tcp --from 172.17.0.2")["why"], Value::Null, "a container");

    // As YAML, by each of the commands, and out of `block`.
    let apply = || lab.palisade("policy.yaml", &["apply"]).success();
    let reaches = |from: &str| probe(&lab, from, HOST[0], 9000, SILENCE);
    let again = || {
        lab.write_policy("policy.yaml", POLICY);
        apply();
        assert_eq!(reaches("203.0.113.130"), Outcome::TimedOut);
    };
    let with_lines = POLICY.replace("services:\n", lines);
    lab.write_policy("policy.yaml", &with_lines);
    apply();
    assert_eq!(reaches("203.0.113.130"), Outcome::Connected);
    let blocked = blocked["why"]["to_let_it_in"].as_str().expect("lines").to_owned();
    let commands: Vec<String> = [lines, &blocked].iter().flat_map(|lines| commands_of(lines)).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        again();
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--yes"]).collect();
        lab.palisade("policy.yaml", &words).success();
        apply();
        let from = if command.contains("203.0.113.130") { "203.0.113.130" } else { "203.0.113.13" };
        let expected = if from == "203.0.113.130" { Outcome::Connected } else { Outcome::TimedOut };
        assert_eq!(reaches(from), expected, "{command}");
    }
    // No longer blocked, it is denied as anybody else.
    let why = said(&lab, "9000/tcp --from 203.0.113.13")["why"]["text"].clone();
    assert_eq!(why, full.replace("203.0.113.130", "203.0.113.13"));
}

/// The commands in the comments of a suggestion.
fn commands_of(lines: &str) -> Vec<String> {
    lines.lines().filter_map(|line| line.strip_prefix("#   ")).map(str::to_owned).collect()
}

#[test]
fn on_the_way_through_the_suggested_rule_has_the_destination_and_opens_that_alone() {
    let (lab, _echoes) = lab();
    let outcomes = || [80, 443].map(|port| probe(&lab, "203.0.113.130", LAN[0], port, SILENCE));
    assert_eq!(outcomes(), [Outcome::TimedOut, Outcome::TimedOut]);

    let lines = "forward:\n  tcp-443:\n    ports: 443/tcp\n    from: 203.0.113.130\n    to: 10.77.0.2\n";
    let why = said(&lab, "443/tcp --from 203.0.113.130 --to 10.77.0.2")["why"].clone();
    assert_eq!((&why["text"], &why["to_let_it_in"]), (&json!("no rule of `forward` has 443/tcp"), &json!(lines)));
    let suggest = |more: &[&str]| {
        lab.palisade("policy.yaml", &[&["suggest", "203.0.113.130", "443/tcp"], more].concat()).success()
    };
    let head = "# 203.0.113.130 was denied 443/tcp: no rule of `forward` is about this port\n";
    assert_eq!(
        suggest(&[]),
        format!(
            "{head}# which address behind this machine it asked for is not remembered: name it\n\
             #   palisade suggest 203.0.113.130 443/tcp --to ADDR\n"
        )
    );
    assert_eq!(suggest(&["--to", "10.77.0.2"]), format!("{head}{lines}"));

    let path = lab.policy("policy.yaml");
    fs::write(&path, POLICY.replace("forward:\n", lines)).expect("scratch is writable");
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(outcomes(), [Outcome::TimedOut, Outcome::Connected]);
    assert_eq!(LAN[0], IpAddr::from(Ipv4Addr::new(10, 77, 0, 2)));
}

#[test]
fn a_group_of_a_hundred_thousand_ranges_is_judged_whole_and_a_denial_beside_it_is_explained() {
    let (lab, _echoes) = lab();
    let many: String =
        (0..100_000_u32).map(|index| format!("{}\n", Ipv4Addr::from(0x0b00_0000 + 3 * index))).collect();
    lab.write_policy("many.txt", &many);
    lab.write_policy("policy.yaml", &POLICY.replace("203.0.113.15]", "{ file: many.txt }]"));
    lab.palisade("policy.yaml", &["apply"]).success();
    let first = |question: &str| text(&lab, question).1.lines().next().unwrap_or_default().to_owned();

    assert_eq!(first("22 --from bad"), "22/tcp from bad: all are denied");
    assert_eq!(
        first("22 --from any"),
        "22/tcp from any: 11.0.0.0, 11.0.0.3, 11.0.0.6, 11.0.0.9 and 99997 more are denied, the rest is allowed"
    );
    assert_eq!(
        first("22 --from 11.0.0.2-11.0.0.4"),
        "22/tcp from 11.0.0.2-11.0.0.4: 11.0.0.3 is denied, the rest is allowed"
    );
    let why = &said(&lab, "9000/tcp --from 203.0.113.130")["why"]["service"];
    assert_eq!(why, "dashboard", "the addresses of the file are those that were applied");
}
