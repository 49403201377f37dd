//! What `apply` sends: nothing where nothing differs, the least where something does, all of it or none.

mod support;

use palisade::compile::compile;
use palisade::desired::load;
use palisade::enforce::enforce;
use palisade::names::Names;
use palisade::netlink::{Reading, Socket};
use palisade::ruleset::{Expr, Rule, Table, TableId, Verdict};
use std::fmt::Write;
use std::net::SocketAddr;
use support::lab::{HOST, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// How many changes of any table the namespace has seen.
fn generation(inside: &Namespace) -> u32 {
    inside.run(|| Socket::open().expect("a socket").generation()).expect("a generation")
}

/// Palisade's table as stock nft lists it, with handles and counts, without the time that elements have left, and without
/// the set's own timeout, which kernels before 6.12 repeat at each element. The elements of a set are one line.
fn listing(lab: &Lab) -> String {
    let listed = output(lab.host.command("nft").args(["-a", "list", "table", "inet", "palisade"])).success();
    let mut text = String::new();
    for line in listed.lines() {
        let line = match line.split_once(" expires ") {
            Some((begin, rest)) => {
                let begin = begin.strip_suffix(" timeout 1m").unwrap_or(begin);
                format!("{begin} expires{}", rest.find([' ', ',']).map_or("", |at| &rest[at..]))
            }
            None => line.to_owned(),
        };
        let open = line.trim_start().starts_with("elements = {") || text.ends_with(' ');
        text.push_str(if text.ends_with(' ') { line.trim_start() } else { &line });
        text.push(if open && !line.ends_with('}') { ' ' } else { '\n' });
    }
    text
}

/// The lines that differ, handles compared and then left out. Where the parts end is left out too.
fn differing(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let mut text = String::new();
    for op in similar::capture_diff_slices(similar::Algorithm::Myers, &before, &after) {
        let (_, was, is) = op.as_tag_tuple();
        if op.tag() != similar::DiffTag::Equal {
            for (sign, line) in before[was].iter().map(|line| ('-', line)).chain(after[is].iter().map(|l| ('+', l))) {
                let line = line.trim().split(" # handle ").next().unwrap_or_default();
                if !["", "}"].contains(&line) {
                    let _ = writeln!(text, "{sign}{line}");
                }
            }
        }
    }
    text
}

/// Connections and datagrams that every rule of [`BASE`] has something to count of.
fn traffic(lab: &Lab) {
    let tcp = [22, 9000].map(|port| SocketAddr::new(HOST[0], port));
    let udp = [SocketAddr::new(HOST[0], 53)];
    let _echo = lab.host.listen(&tcp, &udp);
    let addresses = ["1.1.1.1", "203.0.113.66"].map(|address| address.parse().expect("an address"));
    lab.add_addresses(addresses);
    let probes = [
        (Target::Tcp(22), 0, Outcome::Connected),
        (Target::Tcp(22), 1, Outcome::Connected),
        (Target::Tcp(9000), 0, Outcome::Connected),
        (Target::Tcp(9000), 1, Outcome::TimedOut),
        (Target::Udp(53), 1, Outcome::Connected),
    ];
    for (target, from, expected) in probes {
        let wait = if expected == Outcome::Connected { PATIENCE } else { SILENCE };
        assert_eq!(lab.client.probe(target, addresses[from], HOST[0], wait), expected, "{target}");
    }
}

const BASE: &str = "version: 1
groups:
  trusted: [1.1.1.1, 1.1.1.2]
  staff: [1.1.1.1, 203.0.113.0/24]
services:
  ssh:
    ports: 22/tcp
    from: any
  dashboard:
    ports: [9000/tcp]
    from: [trusted]
    comment: the dashboard
  names:
    ports: 53/udp
    from: staff
    limit: 1000/minute
";

/// Loads [`BASE`], sends traffic, and fails unless the edited policy changes these lines of the listing and no other:
/// no handle, no count.
#[track_caller]
fn assert_changes(from: &str, to: &str, lines: &str) {
    assert!(BASE.contains(from));
    let lab = Lab::new();
    lab.write_policy("policy.yaml", BASE);
    lab.palisade("policy.yaml", &["apply"]).success();
    traffic(&lab);
    // Open connections that lose their access are a change of their own.
    output(lab.host.command("conntrack").arg("--flush")).success();
    let (before, generation_before) = (listing(&lab), generation(&lab.host));

    lab.write_policy("edited.yaml", &BASE.replacen(from, to, 1));
    lab.palisade("edited.yaml", &["apply"]).success();

    let wanted: String =
        lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(|l| format!("{l}\n")).collect();
    assert_eq!(differing(&before, &listing(&lab)), wanted);
    let moved = u32::from(!wanted.is_empty());
    assert_eq!(generation(&lab.host), generation_before + moved, "how many transactions it took");
    assert_eq!(lab.palisade("edited.yaml", &["diff"]).success(), "");
}

#[test]
fn another_port_of_a_service_is_another_element_of_a_map() {
    assert_changes(
        "9000/tcp",
        "9001/tcp",
        r#"
        -elements = { 22 : jump service-ssh, 9000 : jump service-dashboard }
        +elements = { 22 : jump service-ssh, 9001 : jump service-dashboard }
        "#,
    );
}

#[test]
fn one_more_port_of_a_service_is_one_more_element_of_a_map() {
    assert_changes(
        "[9000/tcp]",
        "[9000/tcp, 60000-61000/tcp]",
        r#"
        +map services-tcp-ranges {
        +type inet_service : verdict
        +flags interval
        +comment "palisade: runs of TCP ports and their services (edited.yaml)"
        +elements = { 60000-61000 : jump service-dashboard }
        +meta l4proto tcp ct original proto-dst vmap @services-tcp-ranges comment "palisade: services, by the tcp port that the sender asked for (edited.yaml)"
        +tcp dport vmap @services-tcp-ranges comment "palisade: services, by the tcp port that the packet has (edited.yaml)"
        +meta l4proto tcp ct original proto-dst vmap @services-tcp-ranges comment "palisade: services, by the tcp port that the sender asked for (edited.yaml)"
        "#,
    );
}

#[test]
fn other_sources_of_a_service_are_other_rules_of_its_chain() {
    assert_changes(
        "from: [trusted]",
        "from: [trusted, 192.0.2.1]",
        r#"
        +set dashboard.from-v4 {
        +type ipv4_addr
        +flags interval
        +comment "palisade: dashboard: who may reach it (edited.yaml:11)"
        +elements = { 192.0.2.1 }
        +ip saddr @dashboard.from-v4 counter packets 0 bytes 0 accept comment "palisade: dashboard (the dashboard) from those listed (edited.yaml:11)"
        "#,
    );
}

#[test]
fn a_limit_of_a_service_changes_its_chain_alone() {
    assert_changes(
        "    comment: the dashboard\n",
        "    comment: the dashboard\n    limit: 6/minute\n",
        r#"
        +set dashboard.limit-v4 {
        +type ipv4_addr
        +size 65535
        +flags dynamic,timeout
        +timeout 1m
        +comment "palisade: dashboard: sources with new connections (edited.yaml:13)"
        +set dashboard.limit-v6 {
        +type ipv6_addr
        +size 65535
        +flags dynamic,timeout
        +timeout 1m
        +comment "palisade: dashboard: sources with new connections (edited.yaml:13)"
        -ip saddr @trusted-v4 counter packets 1 bytes 60 accept comment "palisade: dashboard (the dashboard) from trusted (policy.yaml:11)"
        +ip saddr @trusted-v4 goto admit-dashboard comment "palisade: dashboard (the dashboard) from trusted (edited.yaml:11)"
        +chain admit-dashboard {
        +comment "palisade: service dashboard, for who may reach it (edited.yaml:9)"
        +update @dashboard.limit-v4 { ip saddr limit rate over 6/minute burst 6 packets } counter packets 0 bytes 0 return comment "palisade: dashboard: more than 6/minute from one address (edited.yaml:13)"
        +ip saddr != @dashboard.limit-v4 limit rate over 120/minute burst 120 packets counter packets 0 bytes 0 return comment "palisade: dashboard: more than 120/minute from all who find dashboard.limit-v4 full (edited.yaml:13)"
        +update @dashboard.limit-v6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 6/minute burst 6 packets } counter packets 0 bytes 0 return comment "palisade: dashboard: more than 6/minute from one /64 (edited.yaml:13)"
        +ip6 saddr & ffff:ffff:ffff:ffff:: != @dashboard.limit-v6 limit rate over 120/minute burst 120 packets counter packets 0 bytes 0 return comment "palisade: dashboard: more than 120/minute from all who find dashboard.limit-v6 full (edited.yaml:13)"
        +counter packets 0 bytes 0 accept comment "palisade: dashboard (the dashboard) from who may reach it (edited.yaml:9)"
        "#,
    );
}

#[test]
fn a_comment_of_a_service_changes_its_rule_alone() {
    assert_changes(
        "comment: the dashboard",
        "comment: the other dashboard",
        r#"
        -ip saddr @trusted-v4 counter packets 1 bytes 60 accept comment "palisade: dashboard (the dashboard) from trusted (policy.yaml:11)"
        +ip saddr @trusted-v4 counter packets 0 bytes 0 accept comment "palisade: dashboard (the other dashboard) from trusted (edited.yaml:11)"
        "#,
    );
}

#[test]
fn a_service_that_goes_takes_along_what_is_its_own() {
    let at = BASE.find("  names:").expect("it is there");
    assert_changes(
        &BASE[at..],
        "",
        r#"
        -set names.limit-v4 {
        -type ipv4_addr
        -size 65535
        -flags dynamic,timeout
        -timeout 1m
        -comment "palisade: names: sources with new connections (policy.yaml:16)"
        -elements = { 203.0.113.66 limit rate over 1000/minute burst 1000 packets expires }
        -set names.limit-v6 {
        -type ipv6_addr
        -size 65535
        -flags dynamic,timeout
        -timeout 1m
        -comment "palisade: names: sources with new connections (policy.yaml:16)"
        -map services-udp {
        -type inet_service : verdict
        -comment "palisade: UDP ports and their services (policy.yaml)"
        -elements = { 53 : jump service-names }
        -set staff-v4 {
        -type ipv4_addr
        -flags interval
        -comment "palisade: group staff (policy.yaml:4)"
        -elements = { 1.1.1.1, 203.0.113.0/24 }
        -chain admit-names {
        -comment "palisade: service names, for who may reach it (policy.yaml:13)"
        -update @names.limit-v4 { ip saddr limit rate over 1000/minute burst 1000 packets } counter packets 0 bytes 0 return comment "palisade: names: more than 1000/minute from one address (policy.yaml:16)"
        -ip saddr != @names.limit-v4 limit rate over 20000/minute burst 20000 packets counter packets 0 bytes 0 return comment "palisade: names: more than 20000/minute from all who find names.limit-v4 full (policy.yaml:16)"
        -update @names.limit-v6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 1000/minute burst 1000 packets } counter packets 0 bytes 0 return comment "palisade: names: more than 1000/minute from one /64 (policy.yaml:16)"
        -ip6 saddr & ffff:ffff:ffff:ffff:: != @names.limit-v6 limit rate over 20000/minute burst 20000 packets counter packets 0 bytes 0 return comment "palisade: names: more than 20000/minute from all who find names.limit-v6 full (policy.yaml:16)"
        -counter packets 1 bytes 32 accept comment "palisade: names from who may reach it (policy.yaml:13)"
        -meta l4proto udp ct original proto-dst vmap @services-udp comment "palisade: services, by the udp port that the sender asked for (policy.yaml)"
        -udp dport vmap @services-udp comment "palisade: services, by the udp port that the packet has (policy.yaml)"
        -meta l4proto udp ct original proto-dst vmap @services-udp comment "palisade: services, by the udp port that the sender asked for (policy.yaml)"
        -chain service-names {
        -comment "palisade: service names (policy.yaml:13)"
        -iifname @containers-if return comment "palisade: names: not from containers (policy.yaml:15)"
        -ip saddr @staff-v4 goto admit-names comment "palisade: names from staff (policy.yaml:15)"
        "#,
    );
}

#[test]
fn lines_inserted_above_and_another_file_name_change_nothing() {
    assert_changes("groups:\n", "# One line\n\n# and another.\ngroups:\n", "");
}

#[test]
fn applying_again_sends_nothing() {
    let lab = Lab::new();
    for policy in ["bastion.yaml", "three-addresses.yaml"] {
        let first = lab.palisade(policy, &["apply"]).success();
        assert!(first.starts_with("applied: "), "{first}");
        let (before, generation_before) = (listing(&lab), generation(&lab.host));

        let said = lab.palisade(policy, &["apply"]).success();
        let json = lab.palisade(policy, &["apply", "--json"]).success();
        let planned = lab.palisade(policy, &["apply", "--dry-run"]).success();

        assert_eq!(said, "nothing to do: the kernel already holds this policy\n");
        assert_eq!(
            json,
            "{\"applied\":true,\"attempts\":1,\"connections_ended\":0,\"format_version\":1,\"in_sync\":true,\"kept\":true,\"names\":[],\"notes\":[],\"operations\":0,\"warnings\":[]}\n"
        );
        assert_eq!(planned, "nothing to do: the kernel already holds this policy\n");
        assert_eq!(generation(&lab.host), generation_before);
        assert_eq!(listing(&lab), before);
    }
}

#[test]
fn a_change_of_a_group_is_one_change_of_its_set() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", BASE);
    lab.palisade("policy.yaml", &["apply"]).success();
    traffic(&lab);
    let steps = [
        ("1.1.1.1, 1.1.1.2]", "add element inet palisade trusted-v4 { 1.1.1.3 }", "1.1.1.1, 1.1.1.2, 1.1.1.3]"),
        ("1.1.1.1, 1.1.1.2, 1.1.1.3]", "delete element inet palisade trusted-v4 { 1.1.1.2 }", "1.1.1.1, 1.1.1.3]"),
    ];
    let mut policy = BASE.to_owned();
    for (from, command, to) in steps {
        let (before, generation_before) = (listing(&lab), generation(&lab.host));
        policy = policy.replacen(from, to, 1);
        lab.write_policy("policy.yaml", &policy);

        let planned = lab.palisade("policy.yaml", &["apply", "--dry-run", "--json"]).success();
        let planned: serde_json::Value = serde_json::from_str(&planned).expect("JSON");
        assert_eq!(planned["commands"], serde_json::json!([command]));
        assert_eq!(generation(&lab.host), generation_before);

        assert_eq!(lab.palisade("policy.yaml", &["apply"]).success(), "applied: 1 operation, verified\n");
        assert_eq!(generation(&lab.host), generation_before + 1);
        let set = |list: &str| format!("elements = {{ {} }}\n", list.trim_end_matches(']'));
        assert_eq!(differing(&before, &listing(&lab)), format!("-{}+{}", set(from), set(to)));
    }
}

#[test]
fn many_new_members_of_a_group_are_one_command_too() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", BASE);
    lab.palisade("policy.yaml", &["apply"]).success();
    let members: Vec<String> = (0..40).map(|n| format!("192.0.2.{}", 2 * n)).collect();
    lab.write_policy("policy.yaml", &BASE.replacen("1.1.1.2]", &format!("1.1.1.2, {}]", members.join(", ")), 1));

    let planned = lab.palisade("policy.yaml", &["apply", "--dry-run", "--json"]).success();

    let planned: serde_json::Value = serde_json::from_str(&planned).expect("JSON");
    let command = format!("add element inet palisade trusted-v4 {{\n\t{}\n}}", members.join(",\n\t"));
    assert_eq!(planned["commands"], serde_json::json!([command]));
    lab.host.nft_load(&command);
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).success(), "");
}

/// 3,000 services and 10,000 sources, and the file that holds 4,000 of them.
fn large_policy() -> (String, String) {
    let mut policy = "version: 1\ngroups:\n  listed: { file: sources.txt }\n".to_owned();
    for group in 0..100 {
        let sources: Vec<String> = (0..20)
            .flat_map(|n| {
                let (a, b) = (group, n * 8);
                [
                    format!("10.{a}.{b}.1"),
                    format!("172.{}.{a}.{b}-172.{}.{a}.{}", 16 + group % 16, 16 + group % 16, b + 3),
                    format!("\"2001:db8:{a:x}:{b:x}::/64\""),
                ]
            })
            .collect();
        let _ = writeln!(policy, "  g{group}: [{}]", sources.join(", "));
    }
    policy.push_str("services:\n");
    for service in 0..3_000 {
        let ports = match service % 3 {
            0 => format!("{}/tcp", 1_000 + service),
            1 => format!("[{}/udp, {}/tcp]", 1_000 + service, 20_000 + service),
            _ => format!("{}-{}/tcp", 30_000 + 4 * service, 30_002 + 4 * service),
        };
        let more = match service % 50 {
            0 => ", limit: 6/minute",
            1 => ", log: true",
            2 => ", except: [203.0.113.66, listed]",
            _ => "",
        };
        let _ = writeln!(
            policy,
            "  s{service}: {{ ports: {ports}, from: [g{}, g{}]{more} }}",
            service % 100,
            service % 97
        );
    }
    policy.push_str("block: listed\n");
    let sources = (0..4_000).map(|n| match n % 2 {
        0 => format!("198.18.{}.{}\n", n / 250, n % 250),
        _ => format!("2001:db8:ffff:{n:x}::1\n"),
    });
    (policy, sources.collect())
}

#[test]
fn three_thousand_services_go_in_as_one_transaction_and_out_again() {
    let lab = Lab::new();
    let (policy, sources) = large_policy();
    lab.write_policy("policy.yaml", &policy);
    lab.write_policy("sources.txt", &sources);
    let generation_before = generation(&lab.host);

    lab.palisade("policy.yaml", &["check"]).success();
    lab.palisade("policy.yaml", &["apply"]).success();

    assert_eq!(generation(&lab.host), generation_before + 1);
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).success(), "");
    let listed = lab.host.nft_list();
    assert_eq!(listed.matches("\tchain service-").count(), 3_000);
    lab.palisade("policy.yaml", &["status"]).success();
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(lab.host.nft_list(), "");
}

/// The table of one of the example policies.
fn table_of(lab: &Lab, policy: &str) -> Table {
    let resolved =
        load(&lab.policy(policy), &Names::default()).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    compile(&resolved)
}

#[test]
fn a_rule_that_the_kernel_refuses_is_named_with_its_policy_line_and_nothing_changes() {
    let lab = Lab::new();
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    let (before, generation_before) = (listing(&lab), generation(&lab.host));
    let mut table = table_of(&lab, "bastion.yaml");
    let chain = table.chains.get_mut("service-console").expect("the policy has such a service");
    assert!(chain.rules.len() > 1);
    let refused = Rule {
        exprs: vec![Expr::Counter { packets: 0, bytes: 0 }, Expr::Verdict(Verdict::Jump("nowhere".to_owned()))],
        comment: Some("palisade: console from nobody (policy.yaml:17)".to_owned()),
    };
    chain.rules.insert(1, refused);

    let done = lab.host.run(|| {
        enforce(&Socket::open().expect("a socket"), &TableId::palisade(), Some(&table), Reading::ByDigest(&()))
    });

    assert_eq!(
        done.expect_err("no chain is called so").to_string(),
        "the kernel refused the rule `counter jump nowhere` of chain service-console (policy.yaml:17): No such file or \
         directory; nothing was changed, the old rules are in force"
    );
    assert_eq!(listing(&lab), before);
    assert_eq!(generation(&lab.host), generation_before);
}
