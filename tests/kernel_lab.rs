//! The lab itself, tried without palisade: what its probes say is what stock `nft` loaded.

mod support;

use std::time::{Duration, Instant};
use support::lab::{CLIENT, HOST, LAN, Lab, foreign};
use support::matrix::Matrix;
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target, talks};

/// Port 22 for everyone, 9000 for three addresses, 9001 refused aloud, 8080 from the local network; the rest denied.
const BY_HAND: &str = r#"
table inet palisade {
    set trusted-v4 { type ipv4_addr; elements = { 1.1.1.1, 1.1.1.2, 1.1.1.3 }; }
    set trusted-v6 { type ipv6_addr; elements = { 2001:db8:7::1 }; }
    map services-tcp {
        type inet_service : verdict
        elements = { 22 : accept, 8080 : jump service-lan, 9000 : jump service-dashboard, 9001 : jump refuse }
    }
    chain service-dashboard {
        ip saddr @trusted-v4 accept
        ip6 saddr @trusted-v6 accept
    }
    chain service-lan {
        iifname "eth1" accept
    }
    chain refuse {
        ip protocol tcp reject with tcp reset
        reject with icmpx admin-prohibited
    }
    chain filter-input {
        type filter hook input priority filter - 1; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "lo" accept
        meta l4proto { icmp, icmpv6 } accept
        meta l4proto tcp ct original proto-dst vmap @services-tcp
        udp dport 60000-61000 accept
    }
}
"#;

const ROWS: &str = "
    allowed  22/tcp ping                 from 1.1.1.1 203.0.113.66 2001:db8::9 2001:db8:7::1 10.77.0.2 fd77::2
    allowed  9000/tcp                    from 1.1.1.1 1.1.1.2 1.1.1.3 2001:db8:7::1
    denied   9000/tcp                    from 1.1.1.4 203.0.113.9 203.0.113.66 2001:db8::9 10.77.0.2
    rejected 9001/tcp                    from 203.0.113.66 2001:db8::9
    allowed  8080/tcp                    from 10.77.0.2 fd77::2
    denied   8080/tcp                    from 203.0.113.9 2001:db8::9
    allowed  60000/udp 60500/udp 61000/udp  from 1.1.1.1 2001:db8::9
    denied   59999/udp 61001/udp         from 1.1.1.1 2001:db8::9
    denied   others/tcp others/udp       from 1.1.1.1 203.0.113.66 2001:db8::9
";

#[test]
fn a_hand_written_ruleset_gives_every_probe_the_outcome_that_it_says() {
    let lab = Lab::new();
    let matrix = Matrix::new(ROWS);
    let _echo = matrix.listen(&lab);

    matrix.assert_open(&lab);
    lab.host.nft_load(BY_HAND);
    matrix.assert_holds(&lab);
    lab.assert_host_reaches_out();
    lab.assert_neighbours_are_found();

    lab.host.nft_load("delete table inet palisade");
    matrix.assert_open(&lab);
}

#[test]
fn a_matrix_names_each_probe_that_differs() {
    let lab = Lab::new();
    let matrix = Matrix::new(
        "denied  22/tcp 53/udp ping from 203.0.113.66
         denied  22/tcp             from 2001:db8::9
         allowed 22/tcp             from 10.77.0.2",
    );
    let _echo = matrix.listen(&lab);
    lab.host.nft_load(
        "table inet other { chain c { type filter hook input priority 0; iifname eth1 drop; ip6 nexthdr tcp reject with tcp reset; }; }",
    );

    assert_eq!(
        matrix.differences(&lab),
        [
            "22/tcp from 203.0.113.66: Denied expected, but Connected",
            "53/udp from 203.0.113.66: Denied expected, but Connected",
            "ping from 203.0.113.66: Denied expected, but Connected",
            "22/tcp from 2001:db8::9: Denied expected, but Refused",
            "22/tcp from 10.77.0.2: Allowed expected, but TimedOut",
        ]
    );
}

#[test]
fn a_port_nobody_listens_on_refuses() {
    let lab = Lab::new();

    for target in [Target::Tcp(22), Target::Udp(22)] {
        for (from, to) in CLIENT.into_iter().zip(HOST) {
            assert_eq!(lab.client.probe(target, from, to, PATIENCE), Outcome::Refused, "{target} from {from}");
        }
    }
}

#[test]
fn a_host_that_may_not_send_sees_that_its_own_rules_forbid_it() {
    let lab = Lab::new();
    let to = std::net::SocketAddr::new(CLIENT[0], 53);
    let _echo = lab.client.listen(&[to], &[to]);
    lab.host.nft_load("table inet other { chain c { type filter hook output priority 0; policy drop; }; }");

    assert_eq!(lab.host.probe(Target::Udp(53), HOST[0], CLIENT[0], PATIENCE), Outcome::NotPermitted);
    assert_eq!(lab.host.probe(Target::Tcp(53), HOST[0], CLIENT[0], SILENCE), Outcome::TimedOut);
}

#[test]
fn the_local_network_is_reached_through_the_host_once_it_forwards() {
    let lab = Lab::new();
    let to = LAN.map(|address| std::net::SocketAddr::new(address, 9000));
    let _echo = lab.lan.listen(&to, &[]);
    let reached = |wait| -> Vec<Outcome> {
        let pairs = CLIENT.into_iter().zip(LAN);
        pairs.map(|(from, to)| lab.client.probe(Target::Tcp(9000), from, to, wait)).collect()
    };

    assert_eq!(reached(SILENCE), [Outcome::TimedOut, Outcome::TimedOut]);
    lab.forward();
    assert_eq!(reached(PATIENCE), [Outcome::Connected, Outcome::Connected]);
}

#[test]
fn a_held_connection_tells_when_it_is_cut() {
    let lab = Lab::new();
    let to = std::net::SocketAddr::new(HOST[0], 9000);
    let _echo = lab.host.listen(&[to], &[]);
    let mut stream = lab.client.connect(CLIENT[0], to, PATIENCE).expect("nothing stands in its way");

    assert!(talks(&mut stream, PATIENCE));
    lab.host.nft_load("table inet other { chain c { type filter hook input priority 0; policy drop; }; }");
    assert!(!talks(&mut stream, SILENCE));
}

#[test]
fn a_namespace_is_not_the_machines_and_vanishes_with_the_lab() {
    let own = std::fs::read_link("/proc/self/ns/net").expect("it is there");
    let lab = Lab::new();
    let of_the_host = lab.host.run(|| std::fs::read_link("/proc/thread-self/ns/net").expect("it is there"));
    assert_ne!(of_the_host, own);

    // The client's end of the wire goes when the host's namespace, which holds the other end, is gone.
    let client = lab.client.clone();
    drop(lab);
    let links = || output(client.command("ip").args(["-brief", "link"])).success();
    let since = Instant::now();
    while links().contains("eth0") {
        assert!(since.elapsed() < PATIENCE, "the host's namespace outlives its lab");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[should_panic(expected = "refused: this is the network namespace of the machine, not one of the lab")]
fn the_namespace_of_the_machine_is_refused() {
    Namespace::of_this_thread().command("true");
}

#[test]
fn foreign_tables_are_what_a_listing_has_besides_palisades() {
    let listing = "table ip a {\n\tchain c {\n\t}\n}\ntable inet palisade {\n\tchain d {\n\t}\n}\ntable ip6 b {\n}\n";

    assert_eq!(foreign(listing), "table ip a {\n\tchain c {\n\t}\n}\ntable ip6 b {\n}\n");
}
