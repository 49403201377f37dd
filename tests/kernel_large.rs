//! Sets of many thousand elements: loaded in time that grows with them and no faster, compared without being listed, and
//! changed element by element.
#![allow(missing_docs)]

mod support;

use palisade::netlink::{Reading, Socket};
use palisade::ruleset::{Digest, Elements, Table, TableId};
use std::fs;
use std::net::Ipv4Addr;
use support::lab::Lab;

/// Above the number from which on a set is large; its intervals as well.
const HOSTS: u32 = 70_000;
const NETWORKS: u32 = 66_000;

const POLICY: &str = "version: 1
groups: { scanners: { file: scanners.txt } }
services: { ssh: { ports: 22/tcp, from: any } }
block: scanners
";

/// Single addresses two apart, and networks of two addresses four apart, without those of `left_out`, and `more`.
fn scanners(left_out: &[u32], more: &[&str]) -> String {
    let hosts = (0..HOSTS).filter(|n| !left_out.contains(n)).map(|n| Ipv4Addr::from(0x0100_0000 + 2 * n).to_string());
    let networks = (0..NETWORKS).map(|n| format!("{}/31", Ipv4Addr::from(0x2000_0000 + 4 * n)));
    let more = more.iter().map(|line| (*line).to_owned());
    hosts.chain(networks).chain(more).map(|line| line + "\n").collect()
}

/// Whether the kernel tells how many elements a set has: since 6.16.
fn kernel_counts() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(6), Some(16))
}

/// A host with the policy applied.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write_policy("scanners.txt", &scanners(&[], &[]));
    lab.write_policy("policy.yaml", POLICY);
    let applied = lab.palisade("policy.yaml", &["apply"]).success();
    assert!(applied.ends_with(" operations, verified\n"), "{applied}");
    lab
}

/// The table as the kernel holds it, every element dumped.
fn dumped(lab: &Lab) -> Table {
    let snapshot = lab.host.run(|| {
        let socket = Socket::open().expect("a socket");
        socket.snapshot_reading(&TableId::palisade(), Reading::ByDigest(&())).expect("a snapshot")
    });
    snapshot.table.expect("it is loaded")
}

fn elements<'t>(table: &'t Table, set: &str) -> &'t Elements {
    &table.sets[set].elements
}

#[test]
fn many_addresses_are_a_hash_and_intervals_beside_it_and_the_kernel_holds_every_one() {
    let lab = lab();

    let table = dumped(&lab);

    let hosts: Vec<_> = (0..HOSTS).map(|n| Ipv4Addr::from(0x0100_0000 + 2 * n)).map(|one| (one, one)).collect();
    let networks: Vec<_> =
        (0..NETWORKS).map(|n| 0x2000_0000 + 4 * n).map(|first| (first.into(), (first + 1).into())).collect();
    assert_eq!(elements(&table, "scanners.hosts-v4"), &Elements::of_addresses(&hosts));
    assert_eq!(elements(&table, "scanners-v4"), &Elements::of_addresses::<Ipv4Addr>(&networks));
    let digests = [&hosts, &networks].map(|intervals| Digest::of(&Elements::of_addresses(intervals)).expect("large"));
    let manifest = table.manifest();
    assert_eq!([&manifest["scanners.hosts-v4"], &manifest["scanners-v4"]], [&digests[0], &digests[1]]);
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).success(), "");
    assert_eq!(lab.palisade("policy.yaml", &["diff", "--deep"]).success(), "");
    let again = lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(again, "nothing to do: the kernel already holds this policy\n");
}

#[test]
fn a_few_elements_that_change_are_all_that_is_sent() {
    let lab = lab();
    lab.write_policy("scanners.txt", &scanners(&[5, 50_000], &["9.9.9.9", "10.0.0.0/8"]));

    let diff = lab.palisade("policy.yaml", &["diff"]);
    let applied = lab.palisade("policy.yaml", &["apply"]).success();

    let changes: Vec<_> = diff.stdout.lines().filter(|line| line.contains("element ")).collect();
    assert_eq!(changes, ["+element 10.0.0.0/8", "-element 1.0.0.10", "-element 1.1.134.160", "+element 9.9.9.9"]);
    // Four elements, and each of the two rules that tell what is in the sets goes and comes.
    assert_eq!(applied, "applied: 8 operations, verified\n");
    let table = dumped(&lab);
    assert_eq!(elements(&table, "scanners.hosts-v4").len(), HOSTS as usize - 1);
    assert_eq!(elements(&table, "scanners-v4").len(), NETWORKS as usize + 1);
}

#[test]
fn an_element_that_somebody_adds_or_removes_is_named_and_mended() {
    let lab = lab();
    for (tampering, line) in [
        ("add element inet palisade scanners.hosts-v4 { 8.8.8.8 }", "-element 8.8.8.8"),
        ("delete element inet palisade scanners.hosts-v4 { 1.0.0.10 }", "+element 1.0.0.10"),
        ("add element inet palisade scanners-v4 { 10.0.0.0/8 }", "-element 10.0.0.0/8"),
        ("delete element inet palisade scanners-v4 { 32.0.0.0/31 }", "+element 32.0.0.0/31"),
    ] {
        lab.host.nft_load(tampering);

        let diff = lab.palisade("policy.yaml", &["diff"]);

        let changes: Vec<_> = diff.stdout.lines().filter(|line| line.contains("element ")).collect();
        assert_eq!((diff.status, changes), (Some(2), vec![line]), "{tampering}");
        assert_eq!(lab.palisade("policy.yaml", &["apply"]).success(), "applied: 1 operation, verified\n");
        assert_eq!(lab.palisade("policy.yaml", &["diff", "--deep"]).success(), "");
    }
}

#[test]
fn an_element_that_is_exchanged_for_another_is_found_by_looking_each_up() {
    let lab = lab();
    for (tampering, lines) in [
        (
            "delete element inet palisade scanners.hosts-v4 { 1.0.0.10 }
             add element inet palisade scanners.hosts-v4 { 8.8.8.8 }",
            ["-element 8.8.8.8", "+element 1.0.0.10"],
        ),
        (
            "delete element inet palisade scanners-v4 { 32.0.0.0/31 }
             add element inet palisade scanners-v4 { 32.0.0.0-32.0.0.2 }",
            ["-element 32.0.0.0-32.0.0.2", "+element 32.0.0.0/31"],
        ),
    ] {
        lab.host.nft_load(tampering);

        // The digest that the table tells is the old one, and there are as many. Of a kernel that does not count, all are read.
        let shallow = lab.palisade("policy.yaml", &["diff"]);
        if kernel_counts() {
            assert_eq!(shallow.success(), "");
        } else {
            assert_eq!(shallow.status, Some(2));
        }
        let diff = lab.palisade("policy.yaml", &["diff", "--deep"]);

        let mut changes: Vec<_> = diff.stdout.lines().filter(|line| line.contains("element ")).collect();
        changes.sort_unstable_by_key(|line| line.starts_with('+'));
        assert_eq!((diff.status, changes.as_slice()), (Some(2), &lines[..]), "{tampering}");
        assert_eq!(lab.palisade("policy.yaml", &["apply", "--deep"]).success(), "applied: 2 operations, verified\n");
        assert_eq!(lab.palisade("policy.yaml", &["diff", "--deep"]).success(), "");
    }
}

#[test]
fn what_was_added_to_a_set_that_nobody_counts_is_read_or_said_to_be_unknown() {
    let lab = Lab::new();
    let hosts = (0..2 * HOSTS).map(|n| format!("{}\n", Ipv4Addr::from(0x0100_0000 + 2 * n)));
    lab.write_policy("scanners.txt", &hosts.collect::<String>());
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    lab.host.nft_load("add element inet palisade scanners.hosts-v4 { 8.8.8.8 }");
    let told = |arguments: &[&str]| {
        let diff = lab.palisade("policy.yaml", arguments);
        let elements: Vec<_> =
            diff.stdout.lines().filter(|line| line.contains("element ")).map(str::to_owned).collect();
        (diff.status, elements, diff.stderr)
    };
    let found = |stderr: &str| (Some(2), vec!["-element 8.8.8.8".to_owned()], stderr.to_owned());
    let unknown = " WARN whether somebody has added to set scanners.hosts-v4 (140,000 elements) is not known: this kernel does \
                   not count them; `palisade diff --deep` reads all of them, which takes a minute for a million\n";
    let reading = " WARN reading set scanners.hosts-v4, which takes its time count=140000\n";

    let expected = if kernel_counts() { found(reading) } else { (Some(0), Vec::new(), unknown.to_owned()) };
    assert_eq!(told(&["diff"]), expected);
    assert_eq!(told(&["diff", "--deep"]), found(if kernel_counts() { reading } else { "" }));
}

#[test]
fn networks_side_by_side_are_found_by_looking_each_up() {
    let lab = Lab::new();
    let networks = (0..NETWORKS).map(|n| format!("{}/31\n", Ipv4Addr::from(0x2000_0000 + 2 * n)));
    let greatest = ["255.255.255.254/31\n".to_owned()];
    lab.write_policy("scanners.txt", &networks.chain(greatest).collect::<String>());
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();

    let diff = lab.palisade("policy.yaml", &["diff", "--deep"]);

    // Were one not found, all would be read, and that would be said.
    assert_eq!((diff.status, diff.stdout.as_str(), diff.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn what_is_kept_of_a_large_set_is_kept_once_and_comes_back() {
    let lab = lab();
    let first = dumped(&lab);
    lab.write_policy("scanners.txt", &scanners(&[5], &[]));
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_ne!(elements(&dumped(&lab), "scanners.hosts-v4"), elements(&first, "scanners.hosts-v4"));

    lab.palisade("policy.yaml", &["rollback"]).success();

    let back = dumped(&lab);
    for set in ["scanners.hosts-v4", "scanners-v4"] {
        assert_eq!(elements(&back, set), elements(&first, set));
    }
    // Two of the hosts, and one of the networks, which both rulesets share.
    assert_eq!(lab.kept_sets(), 3);
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    for port in 1..=6 {
        lab.write_policy(
            "other.yaml",
            &format!("version: 1\nservices: {{ a: {{ ports: {port}/tcp, from: any }} }}\n"),
        );
        lab.palisade("other.yaml", &["apply", "--force"]).success();
    }
    assert_eq!(lab.kept_sets(), 0);
}
