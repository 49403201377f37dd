//! Palisade beside other programs that change the firewall: nobody's change is lost, nobody's table is touched, and
//! nothing goes on for ever.

mod support;

use palisade::enforce::{EnforceError, enforce_within};
use palisade::netlink::{CommitError, Handles, Reading, Socket, encode};
use palisade::ruleset::{Element, KeyType, Op, SetFlags, SetSpec, Table, TableId, Transaction};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use support::lab::Lab;
use support::namespace::{Output, output};
use support::writer::{Writer, during, written};

/// What palisade says when somebody else was always faster.
const CONTENDED: &str = "error: another program keeps changing the firewall: gave up after ";
/// How long a command may take that gives up in the end, in a debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// A policy that differs from `three-addresses.yaml` in groups, services and chains.
const OTHER: &str = "bastion.yaml";

/// How commands fared against a writer.
#[derive(Debug, Default)]
struct Tally {
    applied: u32,
    gave_up: u32,
    /// Attempts of each apply that succeeded.
    attempts: Vec<u64>,
    longest: Duration,
}

/// Applies two policies in turn so often, and fails unless each time the kernel holds the policy or palisade says that
/// it gave up.
fn apply_in_turn(lab: &Lab, times: u32) -> Tally {
    let mut tally = Tally::default();
    for policy in (0..times).map(|n| if n % 2 == 0 { "three-addresses.yaml" } else { OTHER }) {
        let begun = Instant::now();
        let done = lab.palisade(policy, &["apply", "--json"]);
        tally.longest = tally.longest.max(begun.elapsed());
        if !gave_up(&done) {
            let json: serde_json::Value = serde_json::from_str(&done.success()).expect("JSON");
            tally.attempts.extend(json["attempts"].as_u64());
            tally.applied += 1;
            let diff = lab.palisade(policy, &["diff"]);
            assert!(diff.status == Some(0) || could_not_read(&diff), "{diff:?}");
        } else {
            tally.gave_up += 1;
        }
    }
    tally
}

fn gave_up(done: &Output) -> bool {
    done.status == Some(1) && done.stderr.starts_with(CONTENDED) && done.stderr.lines().count() == 1
}

fn could_not_read(done: &Output) -> bool {
    done.status == Some(1) && done.stderr.starts_with("error: other programs kept changing the firewall rules: ")
}

#[test]
fn a_program_that_writes_as_fast_as_it_can_loses_nothing_and_is_told_apart_from_success() {
    const KEPT: u32 = 5_000;
    let lab = Lab::new();

    let (tally, (commits, kept)) = during(
        || apply_in_turn(&lab, 40),
        |stop| {
            lab.host.run(|| {
                let writer = Writer::new();
                let (mut commits, mut kept) = (0_u32, BTreeSet::new());
                while !stop.load(Ordering::Relaxed) {
                    // A set that grows without end would be a test of its size.
                    let number = commits % (2 * KEPT);
                    let done = match (number < KEPT, kept.contains(&number)) {
                        (true, false) => writer.add(number).map(|()| kept.insert(number)),
                        (true, true) => writer.delete(number).map(|()| kept.remove(&number)),
                        (false, _) if number.is_multiple_of(2) => {
                            writer.add(u32::MAX).map(|()| kept.insert(u32::MAX))
                        }
                        (false, _) => writer.delete(u32::MAX).map(|()| kept.remove(&u32::MAX)),
                    };
                    done.expect("the writer's commits are none of palisade's business");
                    commits += 1;
                }
                (commits, kept)
            })
        },
    );

    eprintln!("{commits} commits; {tally:?}");
    assert_eq!(written(&lab.host), kept);
    assert!(tally.longest < BOUND);
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).success(), "");
}

#[test]
fn a_program_that_asks_before_it_writes_gets_its_turns_and_so_does_palisade() {
    let lab = Lab::new();

    let (tally, (kept, stale)) = during(
        || apply_in_turn(&lab, 40),
        |stop| {
            lab.host.run(|| {
                let writer = Writer::new();
                let (mut number, mut stale) = (0_u32, 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    let genid = writer.socket.generation().expect("a generation");
                    let (set, spec, elements) = writer.elements(number);
                    let ops = vec![Op::AddElements { set, spec, elements: elements.into() }];
                    let transaction = Transaction { table: writer.table.clone(), ops };
                    let batch = encode(&transaction, &Handles::default(), genid).expect("it can be written");
                    match writer.socket.commit(&batch) {
                        Ok(()) => number += 1,
                        Err(CommitError::Stale) => stale += 1,
                        Err(error) => panic!("{error}"),
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                (number, stale)
            })
        },
    );

    eprintln!("{kept} commits, {stale} stale; {tally:?}");
    assert_eq!(tally.gave_up, 0, "{tally:?}");
    assert_eq!(written(&lab.host), (0..kept).collect());
}

#[test]
fn a_storm_of_stock_nft_processes_loses_nothing_and_palisade_gets_through() {
    let lab = Lab::new();
    lab.host.nft_load("table inet writer { set numbers { type ipv4_addr; }; }");

    let (tally, kept) = during(
        || apply_in_turn(&lab, 40),
        |stop| {
            let mut kept = BTreeSet::new();
            for number in 1_u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let text = format!("add element inet writer numbers {{ {} }}\n", std::net::Ipv4Addr::from(number));
                let mut command = lab.host.command("nft");
                command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::null());
                let mut child = command.spawn().expect("nsenter is installed");
                child.stdin.take().expect("it was piped").write_all(text.as_bytes()).expect("nft reads");
                if child.wait().expect("it was started").success() {
                    kept.insert(number);
                }
            }
            kept
        },
    );

    eprintln!("{} commits; {tally:?}", kept.len());
    assert_eq!(tally.gave_up, 0, "{tally:?}");
    assert_eq!(written(&lab.host), kept);
}

#[test]
fn a_program_that_keeps_changing_our_table_ends_in_a_sentence_and_in_time() {
    let lab = Lab::new();
    lab.palisade("three-addresses.yaml", &["apply"]).success();

    let (tally, commits) = during(
        || apply_in_turn_unverified(&lab, 6),
        |stop| {
            lab.host.run(|| {
                let (mut commits, socket) = (0_u32, Socket::open().expect("a socket"));
                let mut spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::INTERVAL);
                spec.comment = Some("palisade: group trusted (three-addresses.yaml:6)".to_owned());
                while !stop.load(Ordering::Relaxed) {
                    // Nothing at all unless palisade has taken it away.
                    let elements = vec![Element::single(&[203, 0, 113, 66])];
                    let op = Op::AddElements {
                        set: "trusted-v4".to_owned(),
                        spec: spec.clone(),
                        elements: elements.into(),
                    };
                    let transaction = Transaction { table: TableId::palisade(), ops: vec![op] };
                    let batch = encode(&transaction, &Handles::default(), 0).expect("it can be written");
                    commits += u32::from(socket.commit(&batch).is_ok());
                }
                commits
            })
        },
    );

    eprintln!("{commits} commits; {tally:?}");
    assert!(tally.longest < BOUND, "{tally:?}");
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).success(), "");
}

/// As [`apply_in_turn`] of one policy, where what was verified may be changed before anyone looks.
fn apply_in_turn_unverified(lab: &Lab, times: u32) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        let begun = Instant::now();
        let done = lab.palisade("three-addresses.yaml", &["apply", "--json"]);
        tally.longest = tally.longest.max(begun.elapsed());
        if gave_up(&done) {
            tally.gave_up += 1;
        } else {
            done.success();
            tally.applied += 1;
        }
    }
    tally
}

#[test]
fn what_was_committed_is_read_back_however_late_it_is() {
    let enforced = Lab::new().host.run(|| {
        let (socket, id) = (Socket::open().expect("a socket"), TableId::palisade());
        enforce_within(Duration::ZERO, &socket, &id, Some(&Table::default()), Reading::ByDigest(&()))
            .map(|enforced| (enforced.operations, enforced.attempts))
            .map_err(|error| error.to_string())
    });
    assert_eq!(enforced, Ok((1, 2)));
}

#[test]
fn giving_up_is_a_sentence_that_says_what_was_done() {
    let sentence = |committed| EnforceError::Contended { attempts: 20, committed }.to_string();
    assert_eq!(
        [sentence(false), sentence(true)],
        [
            "another program keeps changing the firewall: gave up after 20 attempts, nothing was changed",
            "another program keeps changing the firewall: gave up after 20 attempts, and what was loaded was changed at \
             once by someone else; see `palisade diff`",
        ]
    );
}

#[test]
fn eight_applies_of_two_policies_at_once_leave_one_of_them_whole() {
    let lab = Lab::new();
    for _ in 0..3 {
        let done: Vec<Output> = thread::scope(|scope| {
            let apply = |n: usize| {
                let policy = if n.is_multiple_of(2) { "three-addresses.yaml" } else { OTHER };
                let lab = &lab;
                scope.spawn(move || lab.palisade(policy, &["apply"]))
            };
            let all: Vec<_> = (0..8).map(apply).collect();
            all.into_iter().map(|one| one.join().expect("it does not panic")).collect()
        });

        for done in &done {
            assert!(done.status == Some(0) || gave_up(done), "{done:?}");
        }
        assert!(done.iter().any(|done| done.status == Some(0)), "{done:?}");
        let diffs = ["three-addresses.yaml", OTHER].map(|policy| lab.palisade(policy, &["diff"]).status);
        assert!([[Some(0), Some(2)], [Some(2), Some(0)]].contains(&diffs), "{diffs:?}");
    }
}

/// A table of each family, with what tables may hold.
const FOREIGN: &str = r#"
table inet filter {
    comment "someone's own"
    counter hits { packets 7 bytes 420; }
    quota most { over 10 mbytes used 3 bytes; }
    limit often { rate 10/second burst 5 packets; }
    set peers { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7-198.51.100.9 }; }
    set seen { type ipv4_addr . inet_service; flags timeout; elements = { 192.0.2.1 . 22 timeout 1d expires 23h }; }
    map doors { type inet_service : verdict; elements = { 22 : accept, 80 : jump web }; }
    chain web { counter name "hits" accept comment "web"; }
    chain input { type filter hook input priority filter; policy accept; tcp dport vmap @doors; ip saddr @peers drop; }
    chain palisade { tcp dport 22 counter packets 5 bytes 300 accept; }
}
table inet palisade2 { set trusted-v4 { type ipv4_addr; elements = { 1.1.1.1 }; }; }
table ip palisade { chain filter-input { type filter hook input priority filter - 1; policy accept; counter packets 3 bytes 180; }; }
table ip nat { chain postrouting { type nat hook postrouting priority srcnat; policy accept; ip saddr 10.0.0.0/8 masquerade; }; }
table ip6 palisade { chain x { ip6 saddr fc00::/7 accept; }; }
table ip6 mangle { chain output { type route hook output priority mangle; meta mark set 0x00000001; }; }
table bridge palisade { chain forward { type filter hook forward priority 0; policy accept; ether type arp accept; }; }
table arp palisade { chain input { type filter hook input priority 0; policy accept; arp operation request accept; }; }
table netdev palisade { chain ingress { type filter hook ingress device "eth1" priority 0; policy accept; ip saddr 192.0.2.250 counter packets 4 bytes 5; }; }
table ip asleep { flags dormant; chain input { type filter hook input priority 0; policy drop; }; }
"#;

#[test]
fn no_command_touches_a_table_of_another_program() {
    let lab = Lab::new();
    lab.host.nft_load(FOREIGN);
    let theirs = || {
        let mut text = String::new();
        for line in output(lab.host.command("nft").args(["list", "tables"])).success().lines() {
            let name = line.strip_prefix("table ").expect("it lists tables");
            if name != "inet palisade" {
                let mut command = lab.host.command("nft");
                let listed = output(command.args(["-a", "list", "table"]).args(name.split(' '))).success();
                let known = |line: &str| line.split(" expires ").next().unwrap_or_default().to_owned() + "\n";
                text.extend(listed.lines().map(known));
            }
        }
        text
    };
    let before = theirs();
    assert_eq!(before.matches("\ntable ").count() + 1, 10, "{before}");
    let commands: [&[&str]; 12] = [
        &["check"],
        &["show"],
        &["diff"],
        &["status"],
        &["apply", "--dry-run"],
        &["apply"],
        &["apply"],
        &["diff"],
        &["status"],
        &["apply", "--dry-run"],
        &["check"],
        &["disable", "--yes"],
    ];
    let statuses: Vec<Option<i32>> = commands
        .iter()
        .map(|arguments| {
            let status = lab.palisade("bastion.yaml", arguments).status;
            assert_eq!(theirs(), before, "after {arguments:?}");
            status
        })
        .collect();
    assert_eq!(statuses, [0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0].map(Some));
}
