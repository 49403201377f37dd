//! The example policies, applied by palisade and tried with real packets.

mod support;

use std::net::{IpAddr, SocketAddr};
use support::lab::{CLIENT, HOST, LAN, Lab, foreign, without_live, without_time};
use support::matrix::Matrix;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here, talks};

/// What someone else has loaded, which palisade may not touch.
const NOT_OURS: &str = "
table inet not-ours {
    set peers { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
    chain input { type filter hook input priority filter; policy accept; ip saddr @peers drop; }
}
table ip nat { chain postrouting { type nat hook postrouting priority srcnat; policy accept; }; }
";

/// Fails unless the host's own traffic and its neighbours are as before.
#[track_caller]
fn assert_reached(lab: &Lab) {
    lab.assert_host_reaches_out();
    lab.assert_neighbours_are_found();
}

/// Applies a policy to a fresh host, and fails unless the rows hold, as they didn't before and don't once it is
/// disabled, and unless the host's own traffic, its neighbours and the tables of others are as before.
#[track_caller]
fn assert_policy_holds(policy: &str, rows: &str) {
    assert_policy_holds_where(policy, "", rows, |lab, _| assert_reached(lab));
}

/// The same where the host knows these hosts (hosts(5)), and with what holds besides while the policy is applied.
#[track_caller]
fn assert_policy_holds_where(policy: &str, hosts: &str, rows: &str, besides: impl FnOnce(&Lab, &Matrix)) {
    let lab = Lab::new();
    lab.hosts(hosts);
    let matrix = Matrix::new(rows);
    let _echo = matrix.listen(&lab);
    matrix.assert_open(&lab);
    lab.host.nft_load(NOT_OURS);
    let theirs = lab.host.nft_list();

    lab.palisade(policy, &["apply"]).success();
    matrix.assert_holds(&lab);
    besides(&lab, &matrix);
    let listing = lab.host.nft_list();
    assert_ne!(listing, theirs);
    assert_eq!(foreign(&listing), theirs);

    lab.palisade(policy, &["disable", "--yes"]).success();
    assert_eq!(lab.host.nft_list(), theirs);
    lab.host.nft_load("delete table inet not-ours");
    matrix.assert_open(&lab);
}

#[test]
fn jesse_reaches_the_dashboard_from_home_and_for_a_time_from_elsewhere_and_everyone_reaches_ssh() {
    let away = "
        allowed 22/tcp 9000/tcp 9001/tcp ping from 203.0.113.20 203.0.113.70 2001:db8::70 198.51.100.20 2001:db8:7::1
        denied  9000/tcp 9001/tcp             from 198.51.100.7 203.0.113.66 203.0.113.9 2001:db8::9
        ";
    assert_policy_holds_where(
        "jesse.yaml",
        "203.0.113.70 home.owner.example\n2001:db8::70 home.owner.example\n",
        "
        allowed 22/tcp ping           from 203.0.113.20 203.0.113.70 203.0.113.66 192.0.2.9 10.77.0.2 2001:db8::9 fd77::2
        allowed 9000/tcp 9001/tcp     from 203.0.113.20 203.0.113.70 2001:db8::70
        denied  9000/tcp 9001/tcp     from 203.0.113.19 203.0.113.21 203.0.113.69 203.0.113.66 10.77.0.2
        denied  9000/tcp 9001/tcp     from 198.51.100.7 198.51.100.20 2001:db8::9 2001:db8::71 2001:db8:7::1 fd77::2
        denied  22/udp 9000/udp       from 203.0.113.20 203.0.113.66 2001:db8::9
        denied  8999/tcp 9002/tcp     from 203.0.113.20 203.0.113.66 2001:db8::9
        denied  others/tcp others/udp from 203.0.113.20 203.0.113.66 2001:db8::9
        ",
        |lab, at_home| {
            assert_reached(lab);
            let away = Matrix::new(away);
            lab.palisade("jesse.yaml", &["allow", "198.51.100.20", "--for", "8h"]).success();
            lab.palisade("jesse.yaml", &["allow", "2001:db8:7::1"]).success();
            away.assert_holds(lab);
            assert_eq!(lab.palisade("jesse.yaml", &["diff"]).success(), "");
            lab.palisade("jesse.yaml", &["revoke", "--all"]).success();
            at_home.assert_holds(lab);
        },
    );
}

#[test]
fn a_database_answers_whom_it_knows_by_name_and_sends_its_backups_to_a_name() {
    let hosts = "203.0.113.70 app1.shop.example\n2001:db8::70 app1.shop.example\n203.0.113.71 app2.shop.example\n\
                 203.0.113.9 backup.shop.example\n";
    assert_policy_holds_where(
        "database-by-name.yaml",
        hosts,
        "
        allowed 5432/tcp              from 203.0.113.70 203.0.113.71 2001:db8::70
        denied  5432/tcp              from 203.0.113.9 203.0.113.69 203.0.113.72 203.0.113.5 2001:db8::71 2001:db8::9 fd77::2
        allowed 22/tcp                from 203.0.113.5 2001:db8::5
        denied  22/tcp                from 203.0.113.70 203.0.113.6 10.77.0.2 2001:db8::70 2001:db8::9
        denied  5432/udp 22/udp       from 203.0.113.70 203.0.113.5 2001:db8::70
        denied  others/tcp others/udp from 203.0.113.70 203.0.113.5 2001:db8::70
        allowed ping                  from 203.0.113.66 2001:db8::9
        ",
        |lab, _| {
            let listening = CLIENT.map(|address| SocketAddr::new(address, 443));
            let _echo = lab.client.listen(&listening, &[]);
            let backup = |user: u32, to: usize, wait| {
                lab.host.run(|| {
                    nix::unistd::setfsuid(user.into());
                    probe_here(&lab.host, Target::Tcp(443), HOST[to], CLIENT[to], wait)
                })
            };
            assert_eq!(backup(110, 0, PATIENCE), Outcome::Connected);
            // The name has no address of IPv6; root is not who makes backups.
            assert_eq!(backup(110, 1, SILENCE), Outcome::TimedOut);
            assert_eq!(backup(0, 0, SILENCE), Outcome::TimedOut);
        },
    );
}

#[test]
fn three_fixed_addresses_reach_the_dashboard_and_everyone_reaches_ssh() {
    assert_policy_holds(
        "three-addresses.yaml",
        "
        allowed 22/tcp ping           from 1.1.1.1 1.1.1.4 203.0.113.66 192.0.2.9 10.77.0.2 2001:db8::9 2001:db8:7::1 fd77::2
        allowed 9000/tcp              from 1.1.1.1 1.1.1.2 1.1.1.3
        denied  9000/tcp              from 1.1.1.0 1.1.1.4 203.0.113.9 203.0.113.66 198.51.100.7 10.77.0.2
        denied  9000/tcp              from 2001:db8::9 2001:db8:7::1 fd77::2
        denied  22/udp 9000/udp       from 1.1.1.1 203.0.113.66 2001:db8::9
        denied  8999/tcp 9001/tcp     from 1.1.1.1 203.0.113.66 2001:db8::9
        denied  others/tcp others/udp from 1.1.1.1 203.0.113.66 2001:db8::9
        ",
    );
}

#[test]
fn a_web_server_serves_everyone_and_is_run_by_its_admins() {
    assert_policy_holds(
        "web-server.yaml",
        "
        allowed 80/tcp 443/tcp 443/udp ping from 203.0.113.66 198.51.100.10 10.77.0.2 2001:db8::9 2001:db8:7::1 fd77::2
        denied  80/udp                      from 203.0.113.66 198.51.100.10 2001:db8::9 2001:db8:7::1
        allowed 22/tcp                      from 198.51.100.10 198.51.100.15 198.51.100.20 203.0.113.9
        allowed 22/tcp                      from 2001:db8:7:: 2001:db8:7::1 2001:db8:7:ffff:ffff:ffff:ffff:ffff
        denied  22/tcp                      from 198.51.100.9 198.51.100.21 203.0.113.8 203.0.113.10 203.0.113.66
        denied  22/tcp                      from 2001:db8::9 2001:db8:6:ffff::1 2001:db8:8::1
        allowed 60000/udp 60001/udp 60500/udp 60999/udp 61000/udp from 198.51.100.10 203.0.113.9 2001:db8:7::1
        denied  59999/udp 61001/udp         from 198.51.100.10 203.0.113.9 2001:db8:7::1
        denied  60000/udp 60500/udp 61000/udp from 198.51.100.21 203.0.113.66 2001:db8::9
        denied  60000/tcp 60500/tcp 61000/tcp from 198.51.100.10 2001:db8:7::1
        denied  others/tcp others/udp       from 198.51.100.10 203.0.113.66 2001:db8::9
        ",
    );
}

#[test]
fn a_database_answers_its_application_servers_and_the_private_networks_except_guests() {
    assert_policy_holds(
        "database-server.yaml",
        "
        allowed 5432/tcp              from 198.51.100.0 198.51.100.1 198.51.100.15 2001:db8:a::1
        allowed 5432/tcp              from 10.0.0.1 10.65.255.255 10.67.0.0 172.16.0.1 172.31.255.254 192.168.66.6
        allowed 5432/tcp              from 192.168.66.8 fd00::1 10.77.0.2 fd77::2
        denied  5432/tcp              from 198.51.100.16 198.51.99.255 172.15.255.255 172.32.0.1 192.169.0.1 11.0.0.1
        denied  5432/tcp              from 10.66.0.0 10.66.1.1 10.66.255.255 192.168.66.7 203.0.113.5 203.0.113.66
        denied  5432/tcp              from 2001:db8:a:1::1 2001:db8:b::1 2001:db8::5 2001:db8::9
        allowed 22/tcp                from 203.0.113.5 2001:db8::5
        denied  22/tcp                from 203.0.113.4 203.0.113.6 198.51.100.1 10.0.0.1 10.77.0.2 2001:db8::9 2001:db8:a::1
        denied  5432/udp 22/udp       from 198.51.100.1 10.0.0.1 203.0.113.5 2001:db8:a::1
        denied  others/tcp others/udp from 198.51.100.1 10.0.0.1 203.0.113.5 2001:db8:a::1
        allowed ping                  from 203.0.113.66 10.66.1.1 2001:db8::9
        ",
    );
}

#[test]
fn a_bastion_lets_ssh_and_the_vpn_in_and_gives_scanners_nothing() {
    let hours = "
        allowed 22/tcp 8443/tcp           from 198.51.100.30 2001:db8:9::1
        denied  22/tcp 8443/tcp 51820/udp from 198.51.100.31 2001:db8:9::2
        ";
    assert_policy_holds_where(
        "bastion.yaml",
        "",
        "
        allowed 22/tcp 51820/udp ping from 1.1.1.1 203.0.113.66 203.0.113.199 203.0.113.211 10.77.0.2 2001:db8::9 fd77::2
        allowed 8443/tcp              from 1.1.1.1 198.51.100.10 198.51.100.20 2001:db8:7::1 10.77.0.2 fd77::2
        denied  8443/tcp              from 1.1.1.2 198.51.100.9 198.51.100.21 203.0.113.66 10.77.1.2 2001:db8::9
        allowed 9100/tcp              from 10.77.0.2 fd77::2
        denied  9100/tcp              from 1.1.1.1 203.0.113.66 10.77.1.2 2001:db8::9 2001:db8:7::1
        denied  22/tcp 51820/udp 8443/tcp 9100/tcp ping from 192.0.2.0 192.0.2.255 203.0.113.200 203.0.113.205
        denied  22/tcp 51820/udp 8443/tcp 9100/tcp ping from 203.0.113.210 198.51.100.13 2001:db8:bad::1
        denied  51820/tcp 22/udp      from 1.1.1.1 203.0.113.66 10.77.0.2 2001:db8::9
        denied  others/tcp others/udp from 1.1.1.1 203.0.113.66 10.77.0.2 2001:db8::9
        denied  8443/tcp              from 198.51.100.30 198.51.100.31 2001:db8:9::1 2001:db8:9::2
        ",
        |lab, always| {
            assert_reached(lab);
            let hours = Matrix::new(hours);
            for address in ["198.51.100.30", "2001:db8:9::1"] {
                lab.palisade("bastion.yaml", &["allow", address, "--to", "console", "--for", "2h"]).success();
            }
            for address in ["198.51.100.31", "2001:db8:9::2"] {
                lab.palisade("bastion.yaml", &["block", address, "--for", "1d"]).success();
            }
            hours.assert_holds(lab);
            lab.palisade("bastion.yaml", &["revoke", "--all"]).success();
            always.assert_holds(lab);
            let listening = CLIENT.map(|address| SocketAddr::new(address, 22));
            let _echo = lab.client.listen(&listening, &[]);
            let jumps = |user: u32, wait| {
                lab.host.run(|| {
                    nix::unistd::setfsuid(user.into());
                    HOST.into_iter().zip(CLIENT).map(|(from, to)| probe_here(&lab.host, Target::Tcp(22), from, to, wait)).collect()
                })
            };
            let outcomes: [Vec<Outcome>; 2] = [jumps(1002, PATIENCE), jumps(0, SILENCE)];
            assert_eq!(outcomes, [[Outcome::Connected; 2], [Outcome::TimedOut; 2]]);
        },
    );
}

#[test]
fn a_host_of_containers_serves_the_web_to_everyone_and_the_rest_to_its_office() {
    assert_policy_holds(
        "docker-host.yaml",
        "
        allowed 80/tcp 443/tcp ping   from 203.0.113.9 203.0.113.66 10.77.0.2 2001:db8::9 2001:db8:7::1 fd77::2
        allowed 22/tcp 9000/tcp       from 203.0.113.0 203.0.113.15 2001:db8:7:: 2001:db8:7:ffff::1
        denied  22/tcp 9000/tcp       from 203.0.113.16 203.0.113.66 10.77.0.2 172.17.0.2 2001:db8::9 2001:db8:8::1 fd77::2
        denied  5432/tcp              from 203.0.113.9 203.0.113.66 10.77.0.2 172.17.0.2 2001:db8:7::1 fd77::2
        denied  others/tcp others/udp from 203.0.113.9 203.0.113.66 2001:db8::9
        ",
    );
}

/// How each of so many connections to port 22 fares, one after the other.
fn ssh(lab: &Lab, from: IpAddr, count: usize) -> Vec<Outcome> {
    let (inside, to) = lab.peer(from);
    // Longer than a packet takes and shorter than the second after which TCP would ask again.
    (0..count).map(|_| inside.probe(Target::Tcp(22), from, to, SILENCE)).collect()
}

#[test]
fn the_seventh_connection_of_an_address_or_of_a_network_of_ipv6_within_a_minute_exceeds_six_a_minute() {
    let six_of_seven = [[Outcome::Connected; 6].as_slice(), &[Outcome::TimedOut]].concat();
    let lab = Lab::new();
    let _echo = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    let sources: Vec<IpAddr> = ["203.0.113.66", "203.0.113.67", "2001:db8::66", "2001:db8::67"]
        .iter()
        .map(|address| address.parse().expect("an address"))
        .collect();
    lab.add_addresses(sources.iter().copied());
    assert_eq!(ssh(&lab, sources[0], 7), [Outcome::Connected; 7]);

    lab.palisade("bastion.yaml", &["apply"]).success();

    for from in &sources[..3] {
        assert_eq!(ssh(&lab, *from, 7), six_of_seven, "from {from}");
    }
    assert_eq!(ssh(&lab, sources[3], 7), [Outcome::TimedOut; 7], "another address of the same /64");
}

#[test]
fn a_connection_of_before_the_policy_goes_on_when_the_policy_allows_it() {
    let lab = Lab::new();
    let ports = [22, 9000].map(|port| SocketAddr::new(HOST[0], port));
    let _echo = lab.host.listen(&ports, &[]);
    let mut ssh = lab.client.connect(CLIENT[0], ports[0], PATIENCE).expect("there are no rules yet");
    let mut dashboard = lab.client.connect(CLIENT[0], ports[1], PATIENCE).expect("there are no rules yet");

    lab.palisade("three-addresses.yaml", &["apply"]).success();

    assert!(talks(&mut ssh, PATIENCE));
    assert!(!talks(&mut dashboard, SILENCE));
}

#[test]
fn what_the_host_would_route_is_denied() {
    let lab = Lab::new();
    lab.forward();
    let addresses = LAN.map(|address| SocketAddr::new(address, 22));
    let _echo = lab.lan.listen(&addresses, &addresses);
    let routed = |wait| -> Vec<Outcome> {
        let pairs = CLIENT.into_iter().zip(LAN);
        let targets = [Target::Tcp(22), Target::Udp(22)];
        pairs.flat_map(|(from, to)| targets.map(|target| lab.client.probe(target, from, to, wait))).collect()
    };
    assert_eq!(routed(PATIENCE), [Outcome::Connected; 4]);

    lab.palisade("three-addresses.yaml", &["apply"]).success();

    assert_eq!(routed(SILENCE), [Outcome::TimedOut; 4]);
}

#[test]
fn applying_again_changes_nothing_and_what_someone_broke_is_found_and_mended() {
    let lab = Lab::new();
    let matrix = Matrix::new(
        "allowed 22/tcp 9000/tcp from 1.1.1.1
         allowed 22/tcp          from 203.0.113.66 2001:db8::9
         denied  9000/tcp        from 203.0.113.66 2001:db8::9",
    );
    let _echo = matrix.listen(&lab);
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).status, Some(2));
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    let applied = lab.host.nft_list();
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).status, Some(0));
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    assert_eq!(lab.host.nft_list(), applied);

    lab.host
        .nft_load("add element inet palisade trusted-v4 { 203.0.113.66 }\nflush chain inet palisade service-ssh\n");

    assert_eq!(
        matrix.differences(&lab),
        [
            "22/tcp from 1.1.1.1: Allowed expected, but TimedOut",
            "22/tcp from 203.0.113.66: Allowed expected, but TimedOut",
            "22/tcp from 2001:db8::9: Allowed expected, but TimedOut",
            "9000/tcp from 203.0.113.66: Denied expected, but Connected",
        ]
    );
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).status, Some(2));
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    assert_eq!(lab.palisade("three-addresses.yaml", &["diff"]).status, Some(0));
    assert_eq!(without_live(&lab.host.nft_list()), without_live(&applied));
    matrix.assert_holds(&lab);
}

#[test]
fn what_show_prints_for_nft_is_what_apply_loads() {
    let lab = Lab::new();
    let names = ["home.owner", "api.payments", "app1.shop", "app2.shop", "backup.shop"];
    let named = (70..).zip(names).map(|(last, name)| format!("203.0.113.{last} {name}.example\n"));
    lab.hosts(&(named.collect::<String>() + "64:ff9b::c633:6407 registry.example\n"));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let files = std::fs::read_dir(folder).expect("policies/ is there").flatten();
    let policies: Vec<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    assert!(policies.len() >= 14, "{policies:?}");
    for policy in &policies {
        lab.host.nft_load("flush ruleset");
        lab.palisade(policy, &["apply"]).success();
        let applied = without_time(&lab.host.nft_list());
        let shown = lab.palisade(policy, &["show", "--format", "nft"]).success();
        lab.host.nft_load("flush ruleset");

        lab.host.nft_load(&shown);

        assert_eq!(lab.host.nft_list(), applied, "{policy}");
        assert_eq!(lab.palisade(policy, &["diff"]).success(), "", "{policy}");
    }
}
