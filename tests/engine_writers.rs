//! Palisade beside everyone who changes the firewall at once: other palisades, a foreign program and a real dockerd.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::{CLIENT, HOST, Lab, OUT, without_live, without_time};
use support::machine::wait_until;
use support::namespace::Output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};
use support::writer::{Writer, during, written};

/// Of so many applies at once, each has a policy of its own.
const APPLIES: u16 = 8;
/// Between two commits of the foreign program: beside one that never rests palisade may give up in the end, and says so
/// (`kernel_contention`). Here all must succeed.
const REST: Duration = Duration::from_millis(1);

fn name(number: u16) -> String {
    format!("policy-{number}.yaml")
}

/// The published port is open to one client; each policy has sets, chains and map entries that no other has.
fn policy(number: u16) -> String {
    let port = 8000 + number;
    format!(
        "version: 1
groups: {{ of-{number}: [192.0.2.{number}, 198.51.{number}.0/24] }}
services:
  ssh: {{ ports: 22/tcp, from: any }}
  dashboard: {{ ports: 9000/tcp, from: {client} }}
  own-{number}: {{ ports: [{port}/tcp, {port}/udp], from: of-{number} }}
",
        client = CLIENT[0],
    )
}

/// Palisade's table as stock nft lists it, without counts and times. What went and came back stands elsewhere in a listing;
/// what two policies have in common stays, and with it the name of the file that it came from.
fn ours(lab: &Lab) -> Vec<String> {
    let listing = without_live(&without_time(&lab.host.nft_list()));
    let listing = (1..=APPLIES).fold(listing, |text, number| text.replace(&name(number), "policy.yaml"));
    let ours = listing.split("table ").find(|table| table.starts_with("inet palisade {")).unwrap_or_default();
    let mut objects: Vec<_> = ours.split("\n\n").map(|o| o.trim_end_matches(['\n', '}']).to_owned()).collect();
    objects.sort();
    objects
}

/// The same where nothing but this policy was ever loaded.
fn ours_of(number: u16) -> Vec<String> {
    let lab = Lab::new();
    lab.write_policy(&name(number), &policy(number));
    lab.palisade(&name(number), &["apply"]).success();
    ours(&lab)
}

/// What the engine has loaded; it does not always load in one order.
fn dockers(engine: &Engine) -> Vec<String> {
    let mut lines: Vec<String> = engine.rules_of_others().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Starts all applies at once, and gives what each of them did.
fn apply_all(lab: &Lab) -> Vec<Output> {
    thread::scope(|scope| {
        let start = |number| scope.spawn(move || lab.palisade(&name(number), &["apply", "--quiet"]));
        let running: Vec<_> = (1..=APPLIES).map(start).collect();
        running.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    })
}

/// Fails unless all succeeded and exactly the policy that was loaded last is in force, whole and kept. Gives its number.
#[track_caller]
fn the_last_one_won(lab: &Lab, done: &[Output]) -> u16 {
    for done in done {
        assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    }
    let kept = lab.palisade(&name(1), &["rollback", "--list", "--json"]).success();
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    let newest = &kept["rulesets"][0];
    assert_eq!((&newest["live"], &newest["last_good"]), (&json!(true), &json!(true)), "{kept}");
    let path = newest["policy"].as_str().expect("a path");
    let last = (1..=APPLIES).find(|&number| path.ends_with(&name(number))).expect("one of those applied");
    let in_sync = |&number: &u16| lab.palisade(&name(number), &["diff"]).status == Some(0);
    assert_eq!((1..=APPLIES).filter(in_sync).collect::<Vec<_>>(), [last]);
    last
}

#[test]
fn of_eight_applies_at_once_the_last_one_wins_whole_and_neither_docker_nor_a_foreign_writer_loses_an_update() {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    for number in 1..=APPLIES {
        lab.write_policy(&name(number), &policy(number));
    }
    let mut engine = Engine::start(&lab, Setting::docker("bookworm", true));
    // Addresses that do not depend on which of them is started first.
    engine.docker("network create --subnet 172.30.0.0/24 user-net");
    engine.run_container("open", "--restart always -p 9000:9000", "9000");
    engine.run_container("closed", "--restart always --network user-net --ip 172.30.0.10 -p 9010:80", "80");
    engine.run_container("datagram", "--restart always --network user-net --ip 172.30.0.11 -p 9400:9400/udp", "9400");
    let outcome = |from, target| lab.client.probe(target, from, HOST[0], SILENCE);
    let published = [Target::Tcp(9000), Target::Tcp(9010), Target::Udp(9400)];
    let all_open = || published.map(|target| outcome(OUT[0], target)) == [Outcome::Connected; 3];
    engine.stop_daemon();
    engine.start_daemon(&[]);
    wait_until(all_open);
    let quiet = dockers(&engine);

    let (lasts, (commits, kept)) = during(
        || {
            thread::scope(|scope| {
                let restarting = scope.spawn(|| {
                    engine.stop_daemon();
                    engine.start_daemon(&[]);
                });
                let mut lasts = Vec::new();
                while lasts.is_empty() || !restarting.is_finished() {
                    lasts.push(the_last_one_won(&lab, &apply_all(&lab)));
                }
                restarting.join().expect("the daemon stops and starts");
                lasts
            })
        },
        |stop| {
            lab.host.run(|| {
                let writer = Writer::new();
                let (mut commits, mut kept) = (0_u32, BTreeSet::new());
                while !stop.load(Ordering::Relaxed) {
                    writer.add(commits).expect("its table is none of palisade's business");
                    kept.insert(commits);
                    commits += 1;
                    thread::sleep(REST);
                }
                (commits, kept)
            })
        },
    );

    eprintln!("{commits} commits; the last of each round: {lasts:?}");
    assert!(commits > 100, "{commits} commits are no contention");
    assert_eq!(written(&lab.host), kept);
    let last = *lasts.last().expect("there was a round");
    assert_eq!(ours(&lab), ours_of(last));
    lab.host.nft_load("delete table inet writer");
    assert_eq!(dockers(&engine), quiet);
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], PATIENCE), Outcome::Connected);
    assert_eq!(published.map(|target| outcome(OUT[0], target)), [Outcome::TimedOut; 3]);
    lab.palisade(&name(last), &["disable", "--yes"]).success();
    wait_until(all_open);
}
