//! An engine with all its containers, before and under palisade, and all that is not as it must be.

use super::names::resolve;
use super::report::Verdict;
use super::setting::Setting;
use super::verdicts::{OUT, Outcomes, Places, Rows};
use super::{CONTAINERS, Engine};
use crate::support::echo::Echo;
use crate::support::lab::{CLIENT, Lab};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// A lab with an engine and all containers, and what its outcomes are without palisade.
pub struct Scene {
    // Before the lab: its namespaces hold the lab's.
    pub engine: Engine,
    pub lab: Lab,
    _listeners: [Echo; 2],
    pub broken: Vec<String>,
    pub table: Vec<Verdict>,
    pub without: Outcomes,
}

/// The containers that have a network namespace of their own.
pub fn names() -> Vec<&'static str> {
    CONTAINERS.iter().map(|(name, ..)| *name).filter(|name| *name != "host-network").collect()
}

impl Scene {
    pub fn new(setting: Setting) -> Self {
        let lab = Lab::new();
        // Containers' own engines see to it otherwise, some of them with a default drop that covers what others leave open.
        lab.forward();
        lab.add_addresses(OUT);
        let listening = |ports: &[u16]| -> Vec<SocketAddr> {
            let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            ports.iter().flat_map(|port| everywhere.map(|address| SocketAddr::new(address, *port))).collect()
        };
        let of_host = lab.host.listen(&listening(&[22, 80]), &[]);
        // On an address each: an answer to a datagram comes from the one that was asked.
        let outside = CLIENT.map(|address| SocketAddr::new(address, 4242));
        let outside = lab.client.listen(&outside, &outside);
        // The neighbour sends what is for 127.0.0.1 to the host.
        lab.lan.sysctl("net/ipv4/conf/all/route_localnet", "1");
        lab.lan.ip("rule add priority 1 from all lookup local");
        lab.lan.ip("rule add priority 0 to 127.0.0.1 lookup 100");
        lab.lan.ip("rule delete priority 0 lookup local");
        lab.lan.ip("route add 127.0.0.1 via 10.77.0.1 table 100");
        let engine = Engine::start(&lab, setting);
        engine.run_all();
        Self {
            engine,
            lab,
            _listeners: [of_host, outside],
            broken: Vec::new(),
            table: Vec::new(),
            without: Outcomes::new(),
        }
    }

    pub fn says(&mut self, when: &str, sentences: Vec<String>) {
        self.broken.extend(sentences.into_iter().map(|sentence| format!("{when}: {sentence}")));
    }

    /// Without palisade, all rows of the whole test at once.
    pub fn baseline(&mut self, rows: &[&str]) {
        let rows = Rows::new(&rows.join("\n"));
        let places = Places::of_engine(&self.lab, &self.engine, &names());
        self.without = rows.without(&places);
        let closed = rows.not_as_expected_without(&self.engine, &self.without);
        drop(places);
        self.says("at first", closed);
    }

    /// Under palisade.
    pub fn holds(&mut self, when: &'static str, rows: &[&str], containers: &[&'static str]) {
        let rows = Rows::new(&rows.join("\n"));
        let places = Places::of_engine(&self.lab, &self.engine, containers);
        let with = rows.with(&places);
        let broken = rows.broken(&self.without, &with);
        drop(places);
        self.says(when, broken);
        for (probe, line) in rows.lines() {
            let (without, with) = (self.without.get(probe).copied(), with.get(probe).copied());
            if let Some(both) = without.zip(with) {
                self.table.push(Verdict { line: line.to_owned(), when, probe: probe.to_string(), both });
            }
        }
    }

    /// Runs palisade, which must leave the rules of others as they are.
    pub fn palisade(&mut self, policy: &str, arguments: &[&str]) {
        self.lab.write_policy("policy.yaml", policy);
        let before = self.engine.rules_of_others();
        self.lab.palisade("policy.yaml", arguments).success();
        let after = self.engine.rules_of_others();
        if before != after {
            let changed = format!("the rules of others changed:\n{before}\n---\n{after}");
            self.says(&arguments.join(" "), vec![changed]);
        }
    }

    /// Which address someone outside sees a container come from.
    pub fn seen_from(&self, container: &'static str) -> Option<IpAddr> {
        let to = SocketAddr::new(CLIENT[0], 4343);
        let listener = self.lab.client.run(|| TcpListener::bind(to).expect("the port is free"));
        let inside = self.engine.container(container).inside;
        let seen = std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            let mut echo = [0; 4];
            stream.read_exact(&mut echo).ok()?;
            stream.write_all(&echo).ok()?;
            Some(peer.ip())
        });
        let _stream = inside.connect(Ipv4Addr::UNSPECIFIED.into(), to, Duration::from_secs(2));
        // So that the thread ends when the container's own packet never came.
        let _last = self.lab.client.connect(CLIENT[0], to, Duration::from_millis(500));
        seen.join().expect("the thread does not panic")
    }

    pub fn names_resolve(&self) -> Option<Ipv4Addr> {
        let container = self.engine.container("user");
        resolve(&container.inside, container.name_server?, "user-unpublished")
    }
}
