//! Who is let in or blocked for a time, through a boot whose clock is right, an hour back or a day ahead.
#![allow(missing_docs)]

mod support;

use serde_json::Value;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use support::lab::HOST;
use support::nspawn::{EARLY, Machine, Suite};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const POLICY: &str = "version: 1
groups:
  owner: { temporary: 30d }
  attackers: { temporary: 30d }
services:
  ssh: { ports: 22/tcp, from: any }
  early: { ports: 4444/tcp, from: [owner, 203.0.113.66] }
block: attackers
";
const STATE: &str = "/var/lib/palisade/temporary.json";
const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
/// An address that the policy names.
const BLOCKED: &str = "203.0.113.66";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Fails unless these reach the early listener, and the others of those that the client has do not.
#[track_caller]
fn assert_open(machine: &Machine, addresses: &[&str], to: &[&str]) {
    let reaches = |text: &&&str| {
        let (from, wait) = (address(text), if to.contains(*text) { PATIENCE } else { SILENCE });
        let host = HOST[usize::from(from.is_ipv6())];
        machine.client.probe(Target::Tcp(EARLY), from, host, wait) == Outcome::Connected
    };
    let open: Vec<&str> = addresses.iter().filter(reaches).copied().collect();
    assert_eq!(open, to, "{}", machine.journal());
}

/// Gives the client further addresses, until the machine goes.
fn take_on(machine: &Machine, addresses: &[&str]) {
    for text in addresses {
        let bits = if text.contains(':') { "128 dev wire nodad" } else { "32 dev wire" };
        machine.client.ip(&format!("address add {text}/{bits}"));
    }
}

/// Moves when entries have begun, which is the same as to set the clock: so many seconds before now, for so many seconds.
fn begin(machine: &Machine, entries: &[(&str, i64, i64)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let now = i64::try_from(now.as_secs()).expect("it fits");
    let mut kept: Value = serde_json::from_str(&machine.read(STATE)).expect("JSON");
    for entry in kept.as_array_mut().expect("a list") {
        let of = entries.iter().find(|(address, ..)| entry["address"] == *address);
        if let Some((_, began, time)) = of {
            entry["begin"] = (now - began).into();
            entry["end"] = (now - began + time).into();
        }
    }
    machine.write(STATE, &kept.to_string());
}

#[test]
fn a_boot_loads_who_has_time_left_and_believes_no_clock_that_is_wrong() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.write("/etc/palisade/policy.yaml", POLICY);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    // The kernel of the machine's boots is this one's: nobody's time is over by how long that has been running.
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
    let uptime: f64 = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number");
    let time = uptime as i64 + 8 * HOUR;
    let entries = [
        ("198.51.100.1", HOUR, time),        // there is time left
        ("198.51.100.2", time + HOUR, time), // it has run out while the machine was off
        ("198.51.100.3", -HOUR, time),       // the clock is an hour behind
        ("198.51.100.4", DAY + time, time),  // a day ahead
        ("2001:db8:7::1", HOUR, time),
        (BLOCKED, -HOUR, time), // whoever is blocked does not come in while the clock is behind
    ];
    let addresses = entries.map(|(address, ..)| address);
    take_on(&machine, &addresses);
    assert_open(&machine, &addresses, &[BLOCKED]);
    for text in &addresses[..5] {
        machine.run(&format!("palisade allow {text}"));
    }
    machine.run(&format!("palisade block {BLOCKED}"));
    assert_open(&machine, &addresses, &addresses[..5]);
    machine.power_off();
    begin(&machine, &entries);

    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());

    take_on(&machine, &addresses);
    assert_open(&machine, &addresses, &["198.51.100.1", "2001:db8:7::1"]);
    assert_eq!(machine.run("palisade diff"), "");
    let listed = machine.run("palisade allow --list");
    assert!(listed.contains("198.51.100.3  owner  waits for a clock that is right  early"), "{listed}");
    // The clock is set right: the next refresh lets in who has waited.
    begin(&machine, &[("198.51.100.3", HOUR, time)]);
    machine.run("systemctl start palisade-refresh.service");
    assert_open(&machine, &addresses, &["198.51.100.1", "198.51.100.3", "2001:db8:7::1"]);
    assert_eq!(machine.run("palisade diff"), "");
    let kept = machine.read(STATE);
    assert!(
        !kept.contains("198.51.100.2") && !kept.contains("198.51.100.4"),
        "nothing is left of who is over: {kept}"
    );
}
