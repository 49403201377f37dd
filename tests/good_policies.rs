//! What valid policies mean.

use palisade::facts::{Facts, Kernel, ListFile, ProtocolNames, ServiceNames};
use palisade::net::{AddressRange, Addresses, IfPattern, Ports, Transport};
use palisade::policy::{AddressList, Problem, Problems, Source, Sources, parse, without_byte_order_mark};
use palisade::resolve::{
    Action, Containers, DefaultLines, Defaults, Group, Line, Peers, Rate, Resolved, ReversePath, Service, resolve,
};
use palisade::ruleset::LimitUnit;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

const SERVICES: &str = "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttps 443/tcp\nhttps 443/udp\n";
const PROTOCOLS: &str = "ip 0 IP\nesp 50 IPSEC-ESP\ntcp 6 TCP\n";

fn facts() -> Facts {
    let list = ListFile {
        source: 1,
        path: "blocklist.txt".into(),
        list: Ok(AddressList::of_text(1, "# scanners\n192.0.2.7\n\n  198.51.100.0/24 # all\r\n2001:db8::1")),
    };
    Facts {
        services: Ok(ServiceNames::parse(SERVICES)),
        protocols: Ok(ProtocolNames::parse(PROTOCOLS)),
        files: BTreeMap::from([("blocklist.txt".to_owned(), list)]),
        kernel: Kernel::NEWEST,
        ..Facts::default()
    }
}

fn resolved(text: &str) -> Resolved {
    let parsed = parse(text, "policy.yaml");
    assert_eq!(parsed.problems, []);
    resolve(&parsed.policy.expect("a policy"), &facts()).expect("a valid policy")
}

fn problems(text: &str) -> Problems {
    let parsed = parse(text, "policy.yaml");
    let mut problems = parsed.problems;
    problems.extend(parsed.policy.and_then(|policy| resolve(&policy, &facts()).err()).unwrap_or_default());
    Problems::new(problems, Sources(vec![Source { name: "policy.yaml".to_owned(), text: Arc::from(text) }]))
}

/// `first` or `first-last` of either family.
fn addresses<const N: usize>(items: [&str; N]) -> Addresses {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    items
        .iter()
        .map(|item| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (address(first), address(last)) {
                (IpAddr::V4(first), IpAddr::V4(last)) => AddressRange::V4(first, last),
                (IpAddr::V6(first), IpAddr::V6(last)) => AddressRange::V6(first, last),
                _ => panic!("two families"),
            }
        })
        .collect()
}

fn ports<const N: usize>(items: [(Transport, u16, u16); N]) -> BTreeSet<Ports> {
    items.into_iter().map(|(transport, first, last)| Ports { transport, first, last }).collect()
}

fn interface(name: &str, wildcard: bool) -> IfPattern {
    IfPattern { name: name.to_owned(), wildcard }
}

fn groups<const N: usize>(names: [(&str, u32); N]) -> BTreeMap<String, Line> {
    names.into_iter().map(|(name, line)| (name.to_owned(), Line::of_policy(line))).collect()
}

fn service(line: u32) -> Service {
    Service { line: Line::of_policy(line), ..Service::default() }
}

#[test]
fn a_version_alone_denies_what_comes_in_and_allows_what_goes_out() {
    assert_eq!(
        resolved("version: 1\n"),
        Resolved {
            file: "policy.yaml".to_owned(),
            included: Vec::new(),
            names: palisade::names::Names::default(),
            kernel: Kernel::NEWEST,
            defaults: Defaults {
                incoming: Action::Deny,
                outgoing: Action::Allow,
                forward: Action::Deny,
                ping: Action::Allow,
                reverse_path: ReversePath::Off,
            },
            containers: Containers::default(),
            default_lines: DefaultLines::default(),
            groups: BTreeMap::new(),
            services: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            forward: BTreeMap::new(),
            nat: BTreeMap::new(),
            block: Peers::default(),
            ignored: BTreeMap::new(),
            user_names: BTreeMap::new(),
            expectations: Vec::new(),
            log_denied: Some(Rate { count: 10, unit: LimitUnit::Minute, line: None }),
            warnings: Vec::new(),
        }
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "the example, and all that it means")]
fn the_example_of_the_language_means_what_it_says() {
    let text = "\
version: 1
defaults: { incoming: reject, outgoing: deny, forward: allow, ping: deny }
groups:
  trusted: [1.1.1.1, 1.1.1.2]
  office: [203.0.113.0/24, 198.51.100.10-198.51.100.20, \"2001:db8:7::/48\"]
  lan: [{ interface: eth1 }]
  scanners: [{ file: blocklist.txt }]
  everyone_here: [trusted, office, lan]
  unused: 192.0.2.1
services:
  ssh:
    ports: [22/tcp]
    from: [any]
    limit: 6/minute
  dashboard:
    ports: [9000/tcp, 9001/tcp, dns, 60000-61000/udp, esp/proto, 47/proto]
    from:
      - everyone_here
      - private
      - { interface: \"wg*\" }
      - 192.0.2.9
    except: 203.0.113.66
    to: [192.0.2.1, \"2001:db8::/64\"]
    on: [eth0, { interface: wlan0 }]
    log: true
    comment: the trading dashboard, in a container
block: [scanners, 192.0.2.66]
log: { denied: off }
";
    let mut ssh = service(11);
    ssh.ports = ports([(Transport::Tcp, 22, 22)]);
    ssh.from = Peers { line: Some(Line::of_policy(13)), any: true, ..Peers::default() };
    ssh.limit = Some(Rate { count: 6, unit: LimitUnit::Minute, line: Some(Line::of_policy(14)) });
    let mut dashboard = service(15);
    dashboard.ports = ports([
        (Transport::Tcp, 9000, 9000),
        (Transport::Tcp, 9001, 9001),
        (Transport::Tcp, 53, 53),
        (Transport::Udp, 53, 53),
        (Transport::Udp, 60000, 61000),
    ]);
    dashboard.protocols = BTreeSet::from([47, 50]);
    dashboard.from = Peers {
        line: Some(Line::of_policy(18)),
        any: false,
        groups: groups([("everyone_here", 18), ("private", 19)]),
        addresses: addresses(["192.0.2.9"]),
        interfaces: BTreeSet::from([interface("wg", true)]),
        users: BTreeSet::new(),
        names: BTreeSet::new(),
        host: false,
    };
    dashboard.except =
        Peers { line: Some(Line::of_policy(22)), addresses: addresses(["203.0.113.66"]), ..Peers::default() };
    dashboard.to = addresses(["192.0.2.1", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"]);
    dashboard.on = BTreeSet::from([interface("eth0", false), interface("wlan0", false)]);
    dashboard.log = true;
    dashboard.comment = Some("the trading dashboard, in a container".to_owned());
    let everyone_here = Group {
        line: Some(Line::of_policy(8)),
        addresses: addresses([
            "1.1.1.1",
            "1.1.1.2",
            "203.0.113.0-203.0.113.255",
            "198.51.100.10-198.51.100.20",
            "2001:db8:7::-2001:db8:7:ffff:ffff:ffff:ffff:ffff",
        ]),
        interfaces: BTreeSet::from([interface("eth1", false)]),
        users: BTreeSet::new(),
        names: BTreeSet::new(),
        temporary: BTreeMap::new(),
    };
    let private = Group {
        line: None,
        addresses: addresses([
            "10.0.0.0-10.255.255.255",
            "172.16.0.0-172.31.255.255",
            "192.168.0.0-192.168.255.255",
            "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ]),
        interfaces: BTreeSet::new(),
        users: BTreeSet::new(),
        names: BTreeSet::new(),
        temporary: BTreeMap::new(),
    };
    let scanners = Group {
        line: Some(Line::of_policy(7)),
        addresses: addresses(["192.0.2.7", "198.51.100.0-198.51.100.255", "2001:db8::1"]),
        interfaces: BTreeSet::new(),
        users: BTreeSet::new(),
        names: BTreeSet::new(),
        temporary: BTreeMap::new(),
    };
    let mut meant = resolved(text);
    let warned: Vec<(Option<u32>, String)> = std::mem::take(&mut meant.warnings)
        .into_iter()
        .map(|warning| (warning.span.map(|span| span.line), warning.message))
        .collect();
    let expected = [
        (9, "nothing uses the group `unused`"),
        (
            18,
            "198.51.100.10-198.51.100.20 is in the group `everyone_here` and in `block`: `dashboard` does not admit it",
        ),
        (2, "this machine may open no connection: it can't look up names, fetch updates or tell the time"),
        (2, "this is about this machine alone: its containers open everything"),
    ];
    assert_eq!(warned, expected.map(|(line, message)| (Some(line), message.to_owned())));
    assert_eq!(
        meant,
        Resolved {
            file: "policy.yaml".to_owned(),
            included: Vec::new(),
            names: palisade::names::Names::default(),
            kernel: Kernel::NEWEST,
            defaults: Defaults {
                incoming: Action::Reject,
                outgoing: Action::Deny,
                forward: Action::Allow,
                ping: Action::Deny,
                reverse_path: ReversePath::Off,
            },
            containers: Containers::default(),
            default_lines: DefaultLines {
                incoming: Some(Line::of_policy(2)),
                outgoing: Some(Line::of_policy(2)),
                forward: Some(Line::of_policy(2)),
                ping: Some(Line::of_policy(2)),
                reverse_path: None
            },
            groups: BTreeMap::from([
                ("everyone_here".to_owned(), everyone_here),
                ("private".to_owned(), private),
                ("scanners".to_owned(), scanners),
            ]),
            services: BTreeMap::from([("ssh".to_owned(), ssh), ("dashboard".to_owned(), dashboard)]),
            outgoing: BTreeMap::new(),
            forward: BTreeMap::new(),
            nat: BTreeMap::new(),
            block: Peers {
                line: Some(Line::of_policy(27)),
                any: false,
                groups: groups([("scanners", 27)]),
                addresses: addresses(["192.0.2.66"]),
                interfaces: BTreeSet::new(),
                users: BTreeSet::new(),
                names: BTreeSet::new(),
                host: false,
            },
            ignored: BTreeMap::new(),
            user_names: BTreeMap::new(),
            expectations: Vec::new(),
            log_denied: None,
            warnings: Vec::new(),
        }
    );
}

#[test]
fn sections_whose_lines_are_commented_out_are_empty() {
    let text = "version: 1\ndefaults:\n  # incoming: deny\ngroups:\nservices:\n  # ssh:\nblock:\nlog:\n";
    assert_eq!(resolved(text), resolved("version: 1\n"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let text = "\u{feff}version: 1\r\nservices:\r\n  ssh:\r\n    ports: 22/tcp\r\n    from: any\r\n";
    let plain = text.replace(['\r', '\u{feff}'], "");
    assert_eq!(resolved(without_byte_order_mark(text)), resolved(&plain));
}

#[test]
fn an_anchor_and_a_merge_key_save_typing() {
    let text = "\
version: 1
services:
  ssh: &admin
    ports: 22/tcp
    from: &admins [192.0.2.1, 192.0.2.2]
  web:
    <<: *admin
    ports: 443/tcp
  shell:
    ports: 2222/tcp
    from: *admins
";
    let resolved = resolved(text);
    let from = Peers {
        line: Some(Line::of_policy(5)),
        addresses: addresses(["192.0.2.1", "192.0.2.2"]),
        ..Peers::default()
    };
    let found: Vec<_> =
        resolved.services.iter().map(|(name, s)| (name.as_str(), s.ports.clone(), s.from.clone())).collect();
    assert_eq!(
        found,
        [
            ("shell", ports([(Transport::Tcp, 2222, 2222)]), from.clone()),
            ("ssh", ports([(Transport::Tcp, 22, 22)]), from.clone()),
            ("web", ports([(Transport::Tcp, 443, 443)]), from),
        ]
    );
}

#[test]
fn moving_lines_changes_only_the_lines_that_are_named() {
    let one = resolved("version: 1\ngroups: { a: [b], b: [192.0.2.1] }\nblock: [a, 192.0.2.2]\n");
    let other = resolved("version: 1\nblock: [192.0.2.2, a]\ngroups: { b: [192.0.2.1], a: [b] }\n");
    assert_eq!(
        (&one.groups["a"].addresses, &one.block.addresses, one.block.groups.keys().collect::<Vec<_>>()),
        (&other.groups["a"].addresses, &other.block.addresses, other.block.groups.keys().collect::<Vec<_>>()),
    );
}

#[test]
fn the_same_port_and_overlapping_peers_are_harmless() {
    let text = "\
version: 1
services:
  ssh:
    ports: [22/tcp, ssh, 22-22/tcp]
    from: [10.0.0.0/8, 10.1.0.0/16, 10.1.2.3]
";
    let ssh = resolved(text).services.remove("ssh").expect("ssh");
    assert_eq!(
        (ssh.ports, ssh.from.addresses),
        (ports([(Transport::Tcp, 22, 22)]), addresses(["10.0.0.0-10.255.255.255"]))
    );
}

#[test]
fn a_chain_of_ten_thousand_groups_is_followed() {
    let mut text = "version: 1\nblock: g0\ngroups:\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("  g{number}: [g{}]\n", number + 1));
    }
    text.push_str("  g10000: [192.0.2.1]\n");
    assert_eq!(resolved(&text).groups["g0"].addresses, addresses(["192.0.2.1"]));
}

#[test]
fn a_problem_is_told_to_programs_with_its_place_and_its_remedy() {
    let found = problems("version: 1\nservices:\n  ssh: { comment: \"日本\", ports: 22, from: any }\n").problems();
    let expected = Problem {
        message: "the port `22` does not say of which protocol".to_owned(),
        file: "policy.yaml".to_owned(),
        line: Some(3),
        column: Some(32),
        help: Some("write `22/tcp` or `22/udp`, or both as two items".to_owned()),
        path: Vec::new(),
    };
    assert_eq!(found, [expected]);
    assert_eq!(
        serde_json::to_string(&found[0]).expect("JSON"),
        "{\"message\":\"the port `22` does not say of which protocol\",\"file\":\"policy.yaml\",\"line\":3,\"column\":32,\
         \"help\":\"write `22/tcp` or `22/udp`, or both as two items\"}"
    );
}

#[test]
fn forty_thousand_problems_in_one_line_are_told_in_a_moment() {
    let items: Vec<String> = (0..40_000).map(|number| format!("é{number}.example")).collect();
    let found = problems(&format!("version: 1\nblock: [{}]\n", items.join(", ")));
    let programs = found.problems();
    let expected: usize = 9 + items.iter().take(39_999).map(|item| item.chars().count() + 2).sum::<usize>();
    assert_eq!((programs.len(), programs.last().and_then(|problem| problem.column)), (40_000, Some(expected)));
    assert!(found.render(false).ends_with("\nerror: 39900 more problems are not shown\n"));
}

#[test]
fn colour_is_there_only_when_asked_for() {
    let problems = problems("version: 2\n");
    assert!(problems.render(true).contains('\u{1b}'));
    assert!(!problems.render(false).contains('\u{1b}'));
}

#[test]
fn a_machine_without_databases_of_names_says_so_where_they_are_needed() {
    let refusal = palisade::files::read_trusted(std::path::Path::new("/etc/palisade-has-no-such-file"), 1);
    let facts = Facts { services: Err(refusal.expect_err("no such file")), ..Facts::default() };
    let parsed = parse("version: 1\nservices: { a: { ports: ssh, from: any } }\n", "policy.yaml");
    let problems = resolve(&parsed.policy.expect("a policy"), &facts).expect_err("no names");
    let said: Vec<_> = problems.iter().map(|p| (p.message.as_str(), p.help.as_deref())).collect();
    assert_eq!(
        said,
        [(
            "the service `ssh` can't be looked up: /etc/palisade-has-no-such-file does not exist",
            Some("write the port itself, such as `22/tcp`, or install the package `netbase`")
        )]
    );
}

#[test]
fn each_example_is_valid_and_meets_what_it_expects() {
    let copy = tempfile::tempdir().expect("a folder for the copies");
    let mut wrong = Vec::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in std::fs::read_dir(folder).expect("policies/ is there") {
        let from = entry.expect("an entry").path();
        let to = copy.path().join(from.file_name().expect("a name"));
        std::fs::copy(&from, &to).expect("the copy can be made");
    }
    let mut policies = 0;
    for entry in std::fs::read_dir(copy.path()).expect("the copies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        policies += 1;
        match palisade::desired::load_and_prove(&path, &palisade::names::Names::default()) {
            Ok(palisade::desired::Loaded { unmet: None, .. }) => {}
            Ok(palisade::desired::Loaded { unmet: Some(problems), .. }) | Err(problems) => {
                wrong.push(problems.render(false));
            }
        }
    }
    assert!(policies >= 10, "only {policies} policies were found");
    assert_eq!(wrong, Vec::<String>::new());
}
