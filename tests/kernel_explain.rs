//! `explain` against the kernel, beside what real engines and ufw loaded: it is right, or says that it can't tell.
//!
//! Every probe is made with real packets, and asked about before; none may come to another end than was said.
#![allow(missing_docs)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use support::lab::{ANY, CLIENT, HOST, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use support::program::palisade;
use support::recording::Recording;
use support::replay::Replay;
use support::rows::{Places, Rows, What};
use support::verdicts::{FROM_INSIDE, FROM_OUTSIDE, POLICY, TO_THEIR_HOST};

/// One connection.
struct Try<'n> {
    /// In words.
    name: String,
    inside: &'n Namespace,
    target: Target,
    from: IpAddr,
    /// What the sender binds, where the kernel chooses.
    bound: IpAddr,
    to: IpAddr,
}

/// What `explain` says.
fn explained(lab: &Lab, one: &Try<'_>, more: &[&str]) -> Value {
    let (target, from, to) = (one.target.to_string(), one.from.to_string(), one.to.to_string());
    let mut arguments = vec!["explain", &target, "--from", &from, "--to", &to, "--json"];
    arguments.extend(more);
    let done = lab.palisade("policy.yaml", &arguments);
    let document: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}: {}", one.name, done.stderr));
    let status = match document["verdict"].as_str() {
        Some("allow") => 0,
        Some("deny" | "reject") => 2,
        Some("unknown") => 3,
        other => panic!("{}: no verdict is {other:?}", one.name),
    };
    assert_eq!(done.status, Some(status), "{}", one.name);
    document
}

/// Whether a connection may end so after that was said. Where nobody listens, what comes through is refused.
fn agrees(verdict: &str, outcome: Outcome) -> bool {
    match verdict {
        "allow" => matches!(outcome, Outcome::Connected | Outcome::Refused),
        "deny" => matches!(outcome, Outcome::TimedOut | Outcome::NotPermitted),
        "reject" => matches!(outcome, Outcome::Refused | Outcome::Unreachable | Outcome::NotPermitted),
        _ => true,
    }
}

/// Asks about every connection, tries it, and gives sentences about those that came to another end, and how many verdicts
/// there were of each kind.
fn compare(lab: &Lab, tries: &[Try<'_>]) -> (Vec<String>, BTreeMap<String, usize>) {
    let mut kinds = BTreeMap::new();
    let said: Vec<Value> = thread::scope(|scope| {
        let parts: Vec<_> = tries
            .chunks(tries.len().div_ceil(2).max(1))
            .map(|part| scope.spawn(move || part.iter().map(|one| explained(lab, one, &[])).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("every question is answered")).collect()
    });
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> = tries
            .iter()
            .zip(&said)
            .map(|(one, said)| {
                let wait = if said["verdict"] == "deny" { SILENCE } else { PATIENCE };
                scope.spawn(move || {
                    one.inside.enter();
                    probe_here(one.inside, one.target, one.bound, one.to, wait)
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("a probe ends")).collect()
    });
    let mut wrong = Vec::new();
    for ((one, said), outcome) in tries.iter().zip(&said).zip(outcomes) {
        let verdict = said["verdict"].as_str().unwrap_or_default();
        *kinds.entry(verdict.to_owned()).or_default() += 1;
        if !agrees(verdict, outcome) {
            wrong.push(format!("{}: {verdict}, but {outcome:?}; {}", one.name, said["reason"]));
        }
        if verdict == "unknown" {
            eprintln!("{}: {} ({outcome:?})", one.name, said["reason"]);
        }
    }
    (wrong, kinds)
}

/// The connections of rows, of those that a replay has.
fn tries<'n>(replay: &'n Replay, rows: &Rows) -> Vec<Try<'n>> {
    let mut tries = Vec::new();
    for row in rows.iter() {
        let What::Reach(target) = row.probe.what else { continue };
        let Some((inside, bound, to)) = replay.of(&row.probe) else { continue };
        let from = if ANY.contains(&bound) { source_towards(inside, to) } else { bound };
        tries.push(Try { name: row.probe.to_string(), inside, target, from, bound, to });
    }
    tries
}

/// Which address the kernel sends from.
fn source_towards(inside: &Namespace, to: IpAddr) -> IpAddr {
    let route = inside.ip(&format!("-o route get {to}"));
    let mut words = route.split_whitespace().skip_while(|word| *word != "src").skip(1);
    words.next().and_then(|address| address.parse().ok()).expect("a route has a source")
}

fn explain_is_right_beside(recording: &str) {
    let replay = Replay::new(Recording::read(recording));
    let lab = &replay.lab;
    let mut wrong = Vec::new();
    let mut sum = BTreeMap::<String, usize>::new();
    let mut compare_all = |when: &str| {
        for section in [FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST] {
            lab.forget_datagrams();
            let (differing, kinds) = compare(lab, &tries(&replay, &Rows::new(section.rows)));
            wrong.extend(differing.into_iter().map(|one| format!("{when}: {one}")));
            kinds.into_iter().for_each(|(kind, count)| *sum.entry(kind).or_default() += count);
        }
    };

    lab.write_policy("policy.yaml", POLICY);
    compare_all("alone");
    lab.palisade("policy.yaml", &["apply"]).success();
    compare_all("with palisade");

    eprintln!("{recording}: {sum:?}");
    let unknown = sum.get("unknown").copied().unwrap_or_default();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unknown * 20 < sum.values().sum(), "unknown must be less than one in twenty: {sum:?}");
}

#[test]
fn explain_is_right_beside_docker_20_10() {
    explain_is_right_beside("docker-20.10-iptables");
}

#[test]
fn explain_is_right_beside_docker_26_1() {
    explain_is_right_beside("docker-26.1-iptables");
}

#[test]
fn explain_is_right_beside_docker_28_5() {
    explain_is_right_beside("docker-28.5-iptables");
}

#[test]
fn explain_is_right_beside_docker_29_7_with_iptables() {
    explain_is_right_beside("docker-29.7-iptables");
}

#[test]
fn explain_is_right_beside_docker_29_7_with_nftables() {
    explain_is_right_beside("docker-29.7-nftables");
}

#[test]
fn a_published_port_that_is_not_allowed_is_denied_by_the_policys_default() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let lab = &replay.lab;
    lab.write_policy("policy.yaml", POLICY);
    let out = "203.0.113.66".parse().expect("an address");
    let published = Try {
        name: "9010".to_owned(),
        inside: &lab.client,
        target: Target::Tcp(9010),
        from: out,
        bound: out,
        to: HOST[0],
    };

    assert_eq!(explained(lab, &published, &[])["verdict"], "allow");
    let planned = explained(lab, &published, &["--planned"]);
    lab.palisade("policy.yaml", &["apply"]).success();
    let live = explained(lab, &published, &[]);

    assert_eq!(planned["verdict"], "deny");
    assert_eq!(planned["reason"], "by palisade: what else comes in is denied (policy.yaml, by default)");
    assert_eq!(planned["translated_to"], "172.17.0.3:80");
    assert_eq!(live, planned);
}

#[test]
fn explain_is_right_beside_ufw_and_names_its_chain() {
    let lab = Lab::new();
    let ports: Vec<u16> = vec![22, 23, 80, 443, 2222, 5432, 9000, 9001, 60_000, 60_500, 61_001];
    let any = |port: u16| ANY.map(|address| SocketAddr::new(address, port));
    let all: Vec<SocketAddr> = ports.iter().copied().flat_map(any).collect();
    let _echo = lab.host.listen(&all, &[]);
    let on_host: Vec<SocketAddr> =
        HOST.into_iter().flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port))).collect();
    let _datagrams = lab.host.listen(&[], &on_host);
    let others = ["203.0.113.66", "2001:db8::66"].map(|address| address.parse().expect("an address"));
    lab.add_addresses(others);
    Recording::read("ufw-0.36").load(&lab.host);
    lab.write_policy("policy.yaml", POLICY);
    let mut tries = Vec::new();
    for from in CLIENT.into_iter().chain(others) {
        let to = HOST[usize::from(from.is_ipv6())];
        let targets = ports.iter().flat_map(|port| [Target::Tcp(*port), Target::Udp(*port)]).chain([Target::Ping]);
        for target in targets {
            let name = format!("{from} -> {to} {target}");
            tries.push(Try { name, inside: &lab.client, target, from, bound: from, to });
        }
    }

    let (wrong, kinds) = compare(&lab, &tries);
    let denied = tries.iter().find(|one| one.target == Target::Tcp(9001)).map(|one| explained(&lab, one, &[]));
    let refused = tries.iter().find(|one| one.target == Target::Tcp(23)).map(|one| explained(&lab, one, &[]));

    eprintln!("ufw: {kinds:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let reason = |said: Option<Value>| said.map(|said| said["reason"].as_str().unwrap_or_default().to_owned());
    let policy = "dropped by ufw's chain INPUT of table ip filter, not by palisade: `policy drop`";
    assert_eq!(reason(denied).as_deref(), Some(policy));
    let rule = "rejected by ufw's chain ufw-user-input of table ip filter, not by palisade: `tcp dport 23 reject with tcp reset`";
    assert_eq!(reason(refused).as_deref(), Some(rule));
}

#[test]
fn what_can_not_be_asked_is_said_in_one_sentence() {
    let lab = Lab::new();
    let ask = |arguments: &[&str]| {
        let done = output(lab.in_its_own_state(palisade()).arg("explain").args(arguments));
        (done.status, done.stderr)
    };
    let error = |text: &str| (Some(1), format!("error: {text}\n"));

    assert_eq!(
        ask(&["22/tcp", "--from", "203.0.113.9", "--to", "::1"]),
        error("203.0.113.9 and ::1 are of different IP versions")
    );
    assert_eq!(ask(&["22/tcp", "--from", "203.0.113.9", "--on", "eth7"]), error("there is no interface eth7"));
}

#[test]
fn explain_is_right_at_the_edges_of_intervals_and_beside_a_set_of_a_million_elements() {
    let lab = Lab::new();
    let address = |number: u32| std::net::Ipv4Addr::from(number).to_string();
    let single: Vec<String> = (0..1_000_000).map(|index| address(0x0b00_0000 + 2 * index)).collect();
    let networks: Vec<String> = (0..50_000).map(|index| format!("{}/31", address(0x4000_0000 + 4 * index))).collect();
    lab.host.nft_load(&format!(
        "table ip big {{
            set single {{ type ipv4_addr; size 1000000; elements = {{ {} }}; }}
            set networks {{ type ipv4_addr; flags interval; elements = {{ {} }}; }}
            set both {{ type ipv4_addr . inet_service; flags interval; elements = {{ 198.51.100.0/24 . 20-30 }}; }}
            map verdicts {{ type ipv4_addr : verdict; flags interval; elements = {{ 192.0.2.0/25 : drop, * : accept }}; }}
            chain in {{
                type filter hook input priority 0; policy drop;
                ip saddr @single drop
                ip saddr @networks reject with tcp reset
                ip saddr . tcp dport @both drop
                ip saddr vmap @verdicts
            }}
        }}",
        single.join(", "),
        networks.join(", ")
    ));
    let ask = |from: &str, target: &str| {
        let mut command = lab.host.command(palisade());
        command.args(["explain", target, "--from", from, "--to", "203.0.113.1", "--on", "eth0", "--json"]);
        let said: Value = serde_json::from_str(&output(&mut command).stdout).expect("JSON");
        said["verdict"].as_str().unwrap_or_default().to_owned()
    };
    let cases = [
        ("11.0.0.0", "22/tcp", "deny"),
        ("11.0.0.1", "22/tcp", "allow"),
        ("11.30.132.126", "22/tcp", "deny"),
        ("11.30.132.127", "22/tcp", "allow"),
        ("63.255.255.255", "22/tcp", "allow"),
        ("64.0.0.0", "22/tcp", "reject"),
        ("64.0.0.1", "22/tcp", "reject"),
        ("64.0.0.2", "22/tcp", "allow"),
        ("64.0.0.4", "22/tcp", "reject"),
        ("198.51.100.7", "20/tcp", "deny"),
        ("198.51.100.7", "30/tcp", "deny"),
        ("198.51.100.7", "31/tcp", "allow"),
        ("192.0.2.127", "22/tcp", "deny"),
        ("192.0.2.128", "22/tcp", "allow"),
    ];

    let said: Vec<_> = cases.iter().map(|(from, target, _)| ask(from, target)).collect();

    let verdicts: Vec<_> =
        cases.iter().zip(&said).map(|((from, target, _), verdict)| (*from, *target, verdict.as_str())).collect();
    assert_eq!(verdicts, cases);
}
