//! Each remedy of `doctor` that can be copied is applied as it is printed: then the finding is gone, and whoever got in
//! before still does.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use support::lab::{CLIENT, HOST, Lab};
use support::namespace::output;
use support::planted::{POLICY, Planted};
use support::probe::{Outcome, PATIENCE, Target};
use support::recording::Recording;
use support::replay::Replay;

/// A unit, as a package installs it.
const UNIT: &str = "[Unit]\n[Service]\nExecStart=/usr/sbin/palisade boot\n[Install]\nWantedBy=sysinit.target\n";

const TIMER: &str = "[Unit]\n[Timer]\nOnActiveSec=15s\n[Install]\nWantedBy=palisade.service\n";

/// What a group of somebody at home is for.
const WEB: &str = "outgoing: { web: { ports: 443/tcp, from: host, to: home } }\ndefaults: { outgoing: deny }\n";

fn installed(planted: &Planted<'_>) {
    planted.write("/run/systemd/system/.keep", "");
    planted.write("/usr/lib/systemd/system/palisade.service", UNIT);
}

fn enable(planted: &Planted<'_>, wants: &str, unit: &str) {
    let path = format!("/usr/lib/systemd/system/{unit}");
    planted.link(&format!("/etc/systemd/system/{wants}.wants/{unit}"), &path);
}

/// Fails unless the client, which got in before, still does.
#[track_caller]
fn gets_in(lab: &Lab, after: &str) {
    let _echo = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    for (from, to) in CLIENT.into_iter().zip(HOST) {
        assert_eq!(lab.client.probe(Target::Tcp(22), from, to, PATIENCE), Outcome::Connected, "{after}");
    }
}

/// A problem by the kind of finding, how it is planted, and which of the commands in backquotes are run.
type Case = (&'static str, fn(&Lab, &Planted<'_>), &'static [usize]);

const CASES: [Case; 11] = [
    ("not-loaded", |lab, _| drop(lab.palisade("policy.yaml", &["disable", "--yes"]).success()), &[0]),
    ("out-of-sync", |lab, _| lab.host.nft_load("insert rule inet palisade filter-input tcp dport 25 accept"), &[1]),
    (
        "policy-writable",
        |lab, _| {
            let mode = fs::Permissions::from_mode(0o666);
            fs::set_permissions(lab.policy("policy.yaml"), mode).expect("it was written");
        },
        &[0],
    ),
    ("boot-unit-disabled", |_, planted| installed(planted), &[0]),
    (
        "boot-unit-disabled",
        |_, planted| {
            installed(planted);
            planted.link("/etc/systemd/system/palisade.service", "/dev/null");
        },
        &[0],
    ),
    (
        "firewalld-active",
        |_, planted| {
            planted.write("/usr/lib/systemd/system/firewalld.service", UNIT);
            enable(planted, "multi-user.target", "firewalld.service");
        },
        &[0],
    ),
    (
        "nftables-service-flushes",
        |_, planted| {
            let unit = UNIT.replace("palisade boot", "nft -f /etc/nftables.conf");
            planted.write("/usr/lib/systemd/system/nftables.service", &unit);
            enable(planted, "sysinit.target", "nftables.service");
            planted.write("/etc/nftables.conf", "flush ruleset\n");
        },
        &[0],
    ),
    (
        "other-firewall-drops",
        |lab, _| {
            let table = "table ip mine { chain in { type filter hook input priority 0; tcp dport 25 drop; }; }";
            lab.host.nft_load(table);
        },
        &[0],
    ),
    (
        "refresh-not-running",
        |lab, planted| {
            installed(planted);
            enable(planted, "sysinit.target", "palisade.service");
            planted.write("/usr/lib/systemd/system/palisade-refresh.timer", TIMER);
            lab.hosts("192.0.2.7 home.example.org\n");
            planted.apply(&format!("{POLICY}groups: {{ home: {{ dns: home.example.org }} }}\n{WEB}"));
        },
        &[0],
    ),
    (
        "waits-for-confirmation",
        |lab, _| {
            lab.write_policy("policy.yaml", &POLICY.replace("22/tcp", "[22/tcp, 80/tcp]"));
            lab.palisade("policy.yaml", &["apply", "--confirm", "10m"]).success();
        },
        &[0],
    ),
    (
        "guests-not-named",
        |lab, _| {
            // The frames between two ports of the way out are forwarded packets.
            for guest in ["one", "two"] {
                lab.host.ip(&format!("link add {guest} type veth peer name far-{guest}"));
            }
            lab.host.ip("link add wan type bridge");
            for port in ["one", "two"] {
                lab.host.ip(&format!("link set {port} master wan"));
            }
            lab.host.ip("link set wan up");
            lab.host.ip("address add 192.0.2.1/24 dev wan");
            lab.host.ip("route add default via 192.0.2.254 dev wan metric 500");
            lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "1");
        },
        &[0],
    ),
];

#[test]
fn a_command_that_is_advised_mends_what_it_is_advised_for_and_shuts_nothing() {
    for (id, plant, which) in CASES {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        plant(&lab, &planted);
        let said = planted.doctor();
        said.has(id);
        let commands = said.commands(id);
        let chosen: Vec<&str> = which.iter().map(|index| commands[*index].as_str()).collect();

        let after = planted.doctor_after(&chosen.join("; "));

        after.has_no(id);
        gets_in(&lab, chosen[0]);
    }
}

#[test]
fn a_line_that_is_advised_for_the_policy_mends_the_finding_and_nobody_loses_access() {
    type Plant = (&'static str, fn(&Lab));
    let plants: [Plant; 3] = [
        ("guests-not-named", |lab| {
            lab.host.ip("link add cbr0 type bridge");
            lab.host.ip("link set cbr0 up");
            lab.host.ip("address add 10.42.0.1/24 dev cbr0");
            lab.forward();
        }),
        ("guests-not-named", |lab| {
            lab.host.ip("tuntap add dev tun0 mode tun");
            lab.host.ip("address add 10.8.0.1/24 dev tun0");
            lab.host.ip("link set tun0 up");
            lab.forward();
        }),
        ("way-out-is-containers", |lab| {
            lab.host.ip("link add br-ex type bridge");
            lab.host.ip("link set br-ex up");
            lab.host.ip("address add 192.0.2.1/24 dev br-ex");
            lab.host.ip("route add default via 192.0.2.9 dev br-ex metric 500");
        }),
    ];
    // That the lab's own local network is cut off is said, once the guests are not, to whom has not decided it.
    let policy = format!("{POLICY}defaults: {{ forward: deny }}\n");
    for (id, plant) in plants {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        planted.apply(&policy);
        plant(&lab);
        let said = planted.doctor();
        said.has(id);
        let line = said.commands(id).into_iter().find(|part| part.contains(": {")).expect("a line of the policy");

        planted.apply(&format!("{policy}{line}\n"));

        planted.doctor().is_healthy_but_ignoring(usize::from(line.starts_with("doctor:")));
        gets_in(&lab, &line);
    }
}

#[test]
fn a_chain_for_users_is_emptied_as_advised() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let lab = &replay.lab;
    let planted = Planted::new(lab);
    output(lab.host.command("iptables-nft").args("-I DOCKER-USER -s 192.0.2.0/24 -j DROP".split(' '))).success();
    let said = planted.doctor();
    said.has("docker-user-rules");

    planted.doctor_after(&said.commands("docker-user-rules")[0]).is_healthy();
}

#[test]
fn an_engine_forwards_again_as_advised() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let planted = Planted::new(&replay.lab);
    replay.lab.host.sysctl("net/ipv4/ip_forward", "0");
    replay.lab.host.sysctl("net/ipv6/conf/all/forwarding", "0");
    let said = planted.doctor();

    planted.doctor_after(&said.commands("forwarding-off").join("; ")).is_healthy();
}

#[test]
fn programs_that_ban_are_notes_and_nothing_is_advised_that_would_delete_their_tables() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.nft_load(
        "table inet f2b-table {
            set addr-set-sshd { type ipv4_addr; elements = { 192.0.2.66 }; }
            chain f2b-chain {
                type filter hook input priority filter - 1; policy accept;
                tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
            }
        }
        table ip crowdsec {
            set crowdsec-blacklists { type ipv4_addr; flags timeout; }
            chain crowdsec-chain {
                type filter hook input priority filter - 10; policy accept;
                ip saddr @crowdsec-blacklists drop
            }
        }
        table ip sshguard {
            set attackers { type ipv4_addr; flags interval; }
            chain blacklist { type filter hook input priority filter - 10; policy accept; ip saddr @attackers drop; }
        }
        table ip filter {
            chain INPUT { type filter hook input priority 0; policy accept; jump ts-input; }
            chain ts-input {
                iifname != \"tailscale0\" ip saddr 100.115.92.0/23 return
                iifname != \"tailscale0\" ip saddr 100.64.0.0/10 drop
            }
        }",
    );
    let said = planted.doctor();

    said.are_notes(&["known-drops"; 4]);
    for program in ["CrowdSec bans", "Tailscale drops", "fail2ban bans", "sshguard bans"] {
        assert!(said.text().contains(program), "{}", said.text());
    }
    assert!(!said.text().contains("nft delete"), "{}", said.text());
    // What is banned is not kept from published ports: their rules drop in input alone.
    assert!(said.text().contains("name it in the policy's `block`"), "{}", said.text());
}

#[test]
fn after_an_undone_change_the_policy_is_called_undone_and_applying_it_is_not_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.write_policy("policy.yaml", "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n");
    lab.palisade("policy.yaml", &["apply", "--confirm", "10m"]).success();
    lab.palisade("policy.yaml", &["rollback"]).success();

    let said = planted.doctor();

    said.has("policy-undone");
    said.has_no("out-of-sync");
    assert!(!said.text().contains("`palisade apply`"), "{}", said.text());
    // Edited, it is a policy like any other.
    lab.write_policy("policy.yaml", &format!("{POLICY}# mended\n"));
    planted.doctor().is_healthy();
    // Nothing is loaded: the last good ruleset comes back, and not that policy.
    lab.write_policy("policy.yaml", "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n");
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    let said = planted.doctor();
    said.has("not-loaded");
    let after = planted.doctor_after(&said.commands("not-loaded")[0]);
    after.has_no("not-loaded");
    gets_in(&lab, "palisade boot");
}
