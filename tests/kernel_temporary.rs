//! Who is let in or blocked for a time, with real packets: opened for exactly that address, kept by what else is loaded,
//! ended at its end.

mod support;
mod temporary;

use palisade::enforce::temporary::expire;
use palisade::netlink::Socket;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::lab::{CLIENT, HOST, OUT};
use support::namespace::Output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};
use support::sshd::Sshd;
use temporary::{FIXED, Server, untimed};

/// What "its connection stops" means.
const LIMIT: Duration = Duration::from_secs(1);

/// Palisade over SSH from the client.
fn over_ssh(server: &Sshd, wrapped: &str, arguments: &[&str]) -> Output {
    server.palisade_over_ssh(&server.lab.client, HOST[0], wrapped, arguments)
}

const DASHBOARD: &str = "version: 1
groups:
  owner: [1.1.1.1, { temporary: 12h }]
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: owner }
";

#[test]
fn a_session_lets_its_own_address_in_and_takes_it_back_through_sudo_and_without() {
    for (wrapped, by) in [("env", "root"), ("env -i SUDO_USER=alice", "alice")] {
        let server = Sshd::new(22);
        let lab = &server.lab;
        lab.write_policy("policy.yaml", DASHBOARD);
        lab.add_addresses([OUT[0], FIXED]);
        over_ssh(&server, wrapped, &["apply"]).success();
        let dashboard = SocketAddr::new(HOST[0], 9000);
        let _downloads = lab.host.offer_downloads(&[dashboard], &[]);
        let mut fixed = lab.client.download(FIXED, dashboard);
        let tries = |from: IpAddr, wait| lab.client.probe(Target::Tcp(9000), from, HOST[0], wait);
        assert_eq!(tries(CLIENT[0], SILENCE), Outcome::TimedOut);

        let said = over_ssh(&server, wrapped, &["allow", "me", "--for", "5m", "--to", "dashboard"]).success();

        assert_eq!(
            untimed(&said),
            "access: 9000/tcp: 203.0.113.9 gains, until TIME\nallowed: 203.0.113.9 is in the group owner until TIME\n"
        );
        let mut download = lab.client.download(CLIENT[0], dashboard);
        assert_eq!(tries(OUT[0], SILENCE), Outcome::TimedOut);
        let listed = over_ssh(&server, wrapped, &["allow", "--list"]).success();
        assert_eq!(untimed(&listed), format!("203.0.113.9  owner  until TIME  dashboard (9000/tcp)  by {by}\n"));
        let diff = over_ssh(&server, wrapped, &["diff"]);
        assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""));

        lab.write_policy("policy.yaml", &DASHBOARD.replace("22/tcp", "[22/tcp, 80/tcp]"));
        over_ssh(&server, wrapped, &["apply"]).success();
        assert!(download.goes_on());
        assert_eq!(over_ssh(&server, wrapped, &["diff"]).status, Some(0));

        let said = over_ssh(&server, wrapped, &["revoke", "me"]).success();
        assert_eq!(download.stops_within(LIMIT), Ok(()));
        assert_eq!(
            said,
            "access: 9000/tcp: 203.0.113.9 loses\nrevoked: 203.0.113.9 in the group owner\n\
             ended 1 connection that lost its access\n"
        );
        assert_eq!(tries(CLIENT[0], SILENCE), Outcome::TimedOut);
        assert!(fixed.goes_on());
        assert_eq!(
            over_ssh(&server, wrapped, &["allow", "--list"]).success(),
            "nobody is let in or blocked for a time\n"
        );
    }
}

/// SSH itself is for the owner and whoever travels.
const SSH_FOR_SOME: &str = "version: 1
groups:
  owner: [1.1.1.1, { temporary: 12h }]
services:
  ssh: { ports: 22/tcp, from: owner }
";

#[test]
fn a_session_that_stands_on_it_is_let_through_with_a_warning_and_not_cut_by_its_own_hand() {
    let server = Sshd::new(22);
    server.lab.write_policy("policy.yaml", &SSH_FOR_SOME.replace("owner }\n", "any }\n"));
    let ssh = |arguments: &[&str]| over_ssh(&server, "env", arguments);
    ssh(&["apply"]).success();
    server.lab.write_policy("policy.yaml", SSH_FOR_SOME);
    let refused = ssh(&["apply"]);
    assert!(refused.stderr.starts_with("error: this policy would lock you out: "), "{}", refused.stderr);
    server.lab.palisade("policy.yaml", &["apply"]).success();
    server.lab.palisade("policy.yaml", &["allow", &CLIENT[0].to_string()]).success();

    let said = ssh(&["apply"]);
    assert_eq!(said.status, Some(0));
    assert!(
        said.stderr.contains("your SSH session is let in for a time only: `palisade allow --list` tells until when"),
        "{}",
        said.stderr
    );
    let refused = ssh(&["revoke", "me"]);
    assert_eq!(
        (refused.status, refused.stderr.as_str()),
        (
            Some(1),
            "error: taking it back would lock you out: nothing was changed\n\n\
             your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.\n\
             Denied by: what else comes in is denied (policy.yaml, by default)\n\n\
             To take it back all the same: palisade revoke 203.0.113.9 --force\n"
        )
    );
    // Somebody else may.
    server.lab.palisade("policy.yaml", &["revoke", &CLIENT[0].to_string()]).success();
    let tries = server.lab.client.probe(Target::Tcp(22), CLIENT[0], HOST[0], SILENCE);
    assert_eq!(tries, Outcome::TimedOut);
}

#[test]
fn nobody_blocks_the_address_of_their_own_session() {
    let server = Sshd::new(22);
    let policy = "version: 1\ngroups: { attackers: { temporary: 30d } }\nblock: attackers\n\
                  services: { ssh: { ports: 22/tcp, from: any } }\n";
    server.lab.write_policy("policy.yaml", policy);
    over_ssh(&server, "env", &["apply"]).success();

    let refused = over_ssh(&server, "env", &["block", &CLIENT[0].to_string()]);

    assert_eq!(
        (refused.status, refused.stderr.as_str()),
        (
            Some(1),
            "error: blocking 203.0.113.9 would lock you out: nothing was changed\n\n\
             your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.\n\
             Denied by: blocked: from attackers (policy.yaml:3)\n\nBlock it in the policy if you mean it\n"
        )
    );
    over_ssh(&server, "env", &["block", "203.0.113.66"]).success();
}

#[test]
fn at_its_end_an_entry_is_closed_by_the_kernel_and_its_connections_end_with_the_next_refresh() {
    let server = Server::new(DASHBOARD);
    let lab = &server.lab;
    lab.add_addresses([OUT[0], FIXED]);
    server.palisade(&["allow", "203.0.113.9", "--for", "1m"]).success();
    server.palisade(&["allow", "203.0.113.66", "--for", "1h"]).success();
    let dashboard = SocketAddr::new(HOST[0], 9000);
    let _downloads = lab.host.offer_downloads(&[dashboard], &[]);
    let [mut over, mut other, mut fixed] =
        [CLIENT[0], OUT[0], FIXED].map(|address| lab.client.download(address, dashboard));
    server.pass("203.0.113.9", Duration::from_secs(60));
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], SILENCE), Outcome::TimedOut);
    assert!(over.goes_on(), "the kernel lets what runs go on");
    let diff = server.palisade(&["diff"]);
    assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""));

    let said = server.palisade(&["refresh"]).success();

    assert_eq!(over.stops_within(LIMIT), Ok(()));
    assert_eq!(said, "over: 203.0.113.9 in the group owner\nended 1 connection that lost its access\n");
    assert!(other.goes_on() && fixed.goes_on());
    assert_eq!(server.addresses(), ["203.0.113.66"]);
    // Nothing is left to do, and nothing is sent.
    let generations = server.inside(|state| {
        let socket = Socket::open().unwrap();
        let before = socket.generation().unwrap();
        let again = expire(&socket, state).unwrap();
        (before, again.operations, socket.generation().unwrap())
    });
    assert_eq!((generations.1, generations.0), (0, generations.2));
}

#[test]
fn whoever_is_blocked_for_a_time_loses_its_connections_and_is_let_in_again() {
    let policy = "version: 1\ngroups: { attackers: { temporary: 30d } }\nblock: attackers\n\
                  services: { web: { ports: 9000/tcp, from: any } }\n";
    let server = Server::new(policy);
    let lab = &server.lab;
    let web = SocketAddr::new(HOST[0], 9000);
    let _downloads = lab.host.offer_downloads(&[web], &[]);
    let mut download = lab.client.download(CLIENT[0], web);

    let said = server.palisade(&["block", "203.0.113.9", "--for", "1h"]).success();

    assert_eq!(download.stops_within(LIMIT), Ok(()));
    assert!(untimed(&said).contains("blocked: 203.0.113.9 is in the group attackers until TIME\n"), "{said}");
    let refused = server.palisade(&["allow", "203.0.113.9"]);
    assert_eq!(refused.status, Some(1));
    server.palisade(&["revoke", "203.0.113.9"]).success();
    assert_eq!(lab.client.probe(Target::Tcp(9000), CLIENT[0], HOST[0], PATIENCE), Outcome::Connected);
}

#[test]
fn what_is_loaded_at_boot_is_what_is_left_by_a_clock_that_may_be_right() {
    let policy = DASHBOARD
        .replace("12h", "30d")
        .replace("\nservices", "\n  attackers: { temporary: 30d }\nblock: attackers\nservices");
    let server = Server::new(&policy);
    let hour = 3600;
    // The machine itself is not started anew: its entries have more time than it has been running for.
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
    let uptime: f64 = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number");
    let time = uptime as i64 + 8 * hour;
    // Address; when it began, before now; for how long; whether it is in after the boot.
    let entries = [
        ("198.51.100.1", hour, time, true),
        ("198.51.100.2", time + hour, time, false),
        // The clock is an hour behind, or a day ahead.
        ("198.51.100.3", -hour, time, false),
        ("198.51.100.4", time + 24 * hour, time, false),
        ("2001:db8::7", hour, time, true),
    ];
    for (address, ..) in entries {
        server.palisade(&["allow", address]).success();
    }
    // Whoever is blocked does not come in while the clock is behind.
    server.palisade(&["block", "203.0.113.66"]).success();
    let began = entries.map(|(address, began, time, _)| (address, began, time));
    server.reboot(began.into_iter().chain([("203.0.113.66", -hour, time)]));

    server.palisade(&["boot"]).success();

    let left: Vec<&str> = entries.iter().filter(|entry| entry.3).map(|entry| entry.0).collect();
    assert_eq!(server.addresses(), left);
    assert_eq!(server.addresses_of("attackers"), ["203.0.113.66"]);
    assert_eq!(server.palisade(&["diff"]).status, Some(0));
    // Who waits stays in the state; the clock is set right, and the next refresh lets them in.
    let waits = server.palisade(&["allow", "--list"]).success();
    assert!(waits.contains("198.51.100.3  owner  waits for a clock that is right"), "{waits}");
    // Who is blocked is so meanwhile, and is not said to wait.
    let status = server.palisade(&["status"]).success();
    let blocked: Vec<&str> = status.lines().filter(|line| line.contains("203.0.113.66")).collect();
    assert!(
        matches!(blocked[..], [line] if line.starts_with("for a time: 203.0.113.66 in attackers, for ")
            && line.ends_with(" at most, as the clock is wrong, by root")),
        "{status}"
    );
    server.inside(|state| expire(&Socket::open().unwrap(), state).unwrap());
    assert_eq!(server.addresses(), left);
    server.pass("198.51.100.3", Duration::from_secs(2 * 3600));
    server.inside(|state| expire(&Socket::open().unwrap(), state).unwrap());
    assert_eq!(server.addresses(), ["198.51.100.1", "198.51.100.3", "2001:db8::7"]);
}
