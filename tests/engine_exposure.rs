//! `exposure` beside a real Docker tells what a port scan from outside finds, port for port.
//!
//! Ten processes listen and containers publish; who `exposure` says reaches a port is compared with what nmap finds open,
//! over IPv4 and IPv6, from an address that the policy trusts and from one that it does not speak of.
#![allow(missing_docs)]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, Lab, OUT};
use support::namespace::output;
use support::program::palisade;

const POLICY: &str = "version: 1
groups:
  trusted: [203.0.113.9, \"2001:db8::9\"]
services:
  ssh: { ports: 22/tcp, from: any }
  web: { ports: [80/tcp, 443/tcp, 8080/tcp], from: any }
  private: { ports: [8443/tcp, 9000/tcp, 53/udp], from: trusted }
  listed: { ports: 9090/tcp, from: [203.0.113.0/26, \"2001:db8::/124\"] }
  shop: { ports: [9010/tcp, 69/udp, 9400/udp], from: any }
";

/// Name of the process, protocol, address and port.
const LISTENERS: [(&str, &str, &str, u16); 12] = [
    ("sshd", "tcp", "0.0.0.0", 22),
    ("sshd", "tcp", "::", 22),
    ("nginx", "tcp", "::", 80),
    ("only-six", "tcp6", "::", 443),
    ("on-the-lan", "tcp", "10.77.0.1", 8080),
    ("admin", "tcp", "::", 8443),
    ("prometheus", "tcp", "::", 9090),
    ("postgres", "tcp", "0.0.0.0", 5432),
    ("redis", "tcp", "127.0.0.1", 6379),
    ("named", "udp", "::", 53),
    ("tftpd", "udp", "0.0.0.0", 69),
    ("ntpd", "udp", "::", 123),
];

/// Name and how it is run; each listens on 80 and 9000.
const CONTAINERS: [(&str, &str); 5] = [
    ("dashboard", "-p 9000:9000"),
    ("shop", "-p 9010:80"),
    ("forgotten", "-p 9100:9000"),
    ("datagram", "-p 9400:9000/udp"),
    ("inside", "-p 127.0.0.1:9200:9000"),
];

/// Has processes listen, each under its name, and send datagrams back.
const LISTEN: &str = r#"
import os, socket, sys, threading
for word in sys.argv[1:]:
    name, kind, address, port = word.split(",")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, kind == "tcp6" or name == "sshd")
    s.bind((address, int(port)))
    if kind != "udp":
        s.listen()
    if os.fork() == 0:
        open("/proc/self/comm", "w").write(name)
        os.write(1, b"listens\n")
        while True:
            if kind == "udp":
                data, peer = s.recvfrom(2048)
                s.sendto(data, peer)
            else:
                s.accept()[0].close()
    s.close()
sys.stdin.read()
os.killpg(0, 9)
"#;

struct Listeners(Child);

impl Listeners {
    fn start(engine: &Engine) -> Self {
        let words = LISTENERS.map(|(name, kind, address, port)| format!("{name},{kind},{address},{port}"));
        let mut command = engine.command("setsid");
        command.args(["python3", "-c", LISTEN]).args(&words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("nsenter is there");
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        for word in words {
            let line = lines.next().and_then(Result::ok);
            assert_eq!(line.as_deref(), Some("listens"), "{word}");
        }
        Self(child)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// A port and its protocol.
type Port = (u16, String);

/// The open ports among the words of `nmap -oG`: `22/open/tcp//ssh///`.
fn open_ports(said: &str) -> BTreeSet<Port> {
    let words = said.split(|c: char| c.is_whitespace() || c == ',');
    words
        .filter_map(|word| {
            let mut parts = word.split('/');
            let (port, state, protocol) = (parts.next()?, parts.next()?, parts.next()?);
            (state == "open").then_some((port.parse().ok()?, protocol.to_owned()))
        })
        .collect()
}

/// What nmap finds open from an address: with patience on the ports that anybody speaks of and their neighbours, at each
/// address of the host, and in a hurry on every TCP port that there is, where that is asked for.
fn scan(lab: &Lab, from: IpAddr, at: &[IpAddr], spoken_of: &BTreeSet<u16>, all: bool) -> BTreeSet<Port> {
    let run = |what: &[&str], to: &IpAddr| {
        let mut command: Command = lab.client.command("nmap");
        command.args(["-n", "-Pn", "--disable-arp-ping", "-oG", "-", "-e", "eth0", "-S"]).arg(from.to_string());
        if from.is_ipv6() {
            command.arg("-6");
        }
        open_ports(&output(command.args(what).arg(to.to_string())).success())
    };
    let list = |ports: BTreeSet<u16>| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let tcp = list(spoken_of.iter().flat_map(|port| [port - 1, *port, port + 1]).collect());
    let udp = list(spoken_of.clone());
    let mut found = BTreeSet::new();
    for (index, to) in at.iter().filter(|address| address.is_ipv6() == from.is_ipv6()).enumerate() {
        found.extend(run(&["-sS", "-p", &tcp, "--max-rtt-timeout", "300ms"], to));
        found.extend(run(&["-sU", "-p", &udp, "--data-string", "anybody?", "--max-rtt-timeout", "300ms"], to));
        if all && index == 0 {
            found.extend(run(&["-sS", "-p1-65535", "--min-rate", "8000", "--max-retries", "1"], to));
        }
    }
    found
}

/// The ports that `exposure` says are reached by one of these, over IPv4 or IPv6.
fn reached(said: &Value, family: &str, by: &[&str]) -> BTreeSet<Port> {
    let ports = said["ports"].as_array().expect("there are ports");
    let is_reached = |row: &&Value| {
        let from = row[family]["reachable_from"].as_array().into_iter().flatten();
        from.filter_map(Value::as_str).any(|name| by.contains(&name))
    };
    let port = |row: &Value| {
        let number = row["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port is a number");
        (number, row["proto"].as_str().expect("it has a protocol").to_owned())
    };
    ports.iter().filter(is_reached).map(port).collect()
}

/// Who is told of a port and what by: `9000/tcp container dashboard`.
fn owners(said: &Value) -> BTreeSet<String> {
    let rows = said["ports"].as_array().expect("there are ports").iter();
    let word = |row: &Value, key: &str| row[key].to_string().trim_matches('"').to_owned();
    rows.map(|row| {
        format!("{}/{} {} {}", word(row, "port"), word(row, "proto"), word(row, "kind"), word(row, "owner"))
    })
    .collect()
}

#[expect(clippy::too_many_lines, reason = "a scan from everywhere, before and after the policy")]
fn exposure_is_what_a_scan_finds(setting: Setting) {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    let engine = Engine::start(&lab, setting);
    thread::scope(|scope| {
        for (name, arguments) in CONTAINERS {
            let engine = &engine;
            scope.spawn(move || engine.run_container(name, arguments, "80 9000"));
        }
    });
    let _listeners = Listeners::start(&engine);
    let exposure = |more: &[&str]| output(engine.command(palisade()).arg("exposure").args(more)).success();
    let mut wrong = Vec::new();
    for applied in [false, true] {
        if applied {
            lab.write_policy("policy.yaml", POLICY);
            lab.palisade("policy.yaml", &["apply"]).success();
        }
        let text = exposure(&[]);
        eprintln!("{text}");
        let said: Value = serde_json::from_str(&exposure(&["--json"])).expect("it is JSON");
        let mut expected: BTreeSet<String> = LISTENERS
            .iter()
            .map(|(name, kind, _, port)| format!("{port}/{} process {name}", kind.trim_end_matches('6')))
            .collect();
        expected.extend(
            ["9000/tcp container dashboard", "9010/tcp container shop", "9100/tcp container forgotten"]
                .map(str::to_owned),
        );
        expected.extend(["9400/udp container datagram", "9200/tcp container inside"].map(str::to_owned));
        assert_eq!(owners(&said), expected, "applied: {applied}");
        assert!(!text.contains("unknown"), "{text}");

        let spoken_of: BTreeSet<u16> =
            LISTENERS.iter().map(|(.., port)| *port).chain([9000, 9010, 9100, 9200, 9400]).collect();
        let places = [HOST, HOST_ON_LAN].concat();
        let scans: Vec<(IpAddr, BTreeSet<Port>)> = thread::scope(|scope| {
            let running: Vec<_> = [CLIENT, OUT]
                .concat()
                .into_iter()
                .map(|from| {
                    (
                        from,
                        scope.spawn({
                            let (lab, places, spoken_of) = (&lab, &places, &spoken_of);
                            move || scan(lab, from, places, spoken_of, applied)
                        }),
                    )
                })
                .collect();
            running.into_iter().map(|(from, scan)| (from, scan.join().expect("a scan ends"))).collect()
        });
        for (from, open) in scans {
            let family = if from.is_ipv6() { "ipv6" } else { "ipv4" };
            let by: &[&str] = if CLIENT.contains(&from) {
                &["everyone", "trusted", "203.0.113.0/26", "2001:db8::/124"]
            } else {
                &["everyone"]
            };
            let told = reached(&said, family, by);
            assert!(open.len() >= 3, "{from} finds something: {open:?}");
            if told != open {
                wrong.push(format!("applied: {applied}, from {from}: told {told:?}, found {open:?}\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn beside_docker_28_5_without_its_proxy() {
    exposure_is_what_a_scan_finds(Setting::docker("sid", false));
}

#[test]
fn beside_docker_20_10_with_its_proxy() {
    exposure_is_what_a_scan_finds(Setting::docker("bookworm", true));
}

#[test]
#[ignore = "long"]
fn beside_docker_28_5_with_its_proxy() {
    exposure_is_what_a_scan_finds(Setting::docker("sid", true));
}
