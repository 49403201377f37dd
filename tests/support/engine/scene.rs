//! An engine with all its containers, before and under palisade, and all that is not as it must be.

use super::places::EnginePlaces;
use super::setting::Setting;
use super::{CONTAINERS, Engine};
use crate::support::echo::Echo;
use crate::support::lab::{CLIENT, Lab, OUT};
use crate::support::names::NameServer;
use crate::support::rows::{Outcomes, Rows};
use crate::support::verdict_table::{Column, Kind};
use crate::support::verdicts::{Section, apply, opens_ssh};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

/// A lab with an engine and all containers, and what its outcomes are without palisade.
pub struct Scene {
    // Before the lab: its namespaces hold the lab's.
    pub engine: Engine,
    pub lab: Lab,
    _listeners: ([Echo; 2], NameServer),
    pub broken: Vec<String>,
    column: Column,
    without: Outcomes,
}

/// The containers that have a network namespace of their own.
pub fn names() -> Vec<&'static str> {
    CONTAINERS.iter().map(|(name, ..)| *name).filter(|name| *name != "host-network").collect()
}

const NO_SSH: &str = "warning: nobody could reach this machine by SSH: sshd listens on 22/tcp, and no service \
                      lets anybody in there";
const CUT_OFF: &str = "warning: this machine forwards, and the policy cuts off what is behind eth1: `forward: \
                       deny` stops what comes from there, and what goes there";

impl Scene {
    pub fn new(setting: Setting) -> Self {
        let lab = Lab::new();
        // Containers' own engines see to it otherwise, some of them with a default drop that covers what others leave open.
        lab.forward();
        lab.add_addresses(OUT);
        lab.send_loopback_over_the_wire();
        let listening = |ports: &[u16]| -> Vec<SocketAddr> {
            let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            ports.iter().flat_map(|port| everywhere.map(|address| SocketAddr::new(address, *port))).collect()
        };
        let of_host = lab.host.listen(&listening(&[22, 80]), &[]);
        // On an address each: an answer to a datagram comes from the one that was asked.
        let outside = CLIENT.map(|address| SocketAddr::new(address, 4242));
        let outside = lab.client.listen(&outside, &outside);
        let names = NameServer::start(&lab.client);
        let engine = Engine::start(&lab, setting);
        engine.run_all();
        Self {
            engine,
            lab,
            _listeners: ([of_host, outside], names),
            broken: Vec::new(),
            column: Column::default(),
            without: Outcomes::new(),
        }
    }

    pub fn says(&mut self, when: &str, sentences: Vec<String>) {
        self.broken.extend(sentences.into_iter().map(|sentence| format!("{when}: {sentence}")));
    }

    /// Without palisade: all rows at once, those of containers that are there.
    pub fn baseline(&mut self, sections: &[Section], containers: &[&'static str]) {
        let rows: String = sections.iter().map(|section| section.rows).collect();
        let rows = Rows::new(&rows);
        let places = EnginePlaces::new(&self.lab, &self.engine, containers);
        let without = rows.without(&places);
        drop(places);
        let closed = rows.not_as_expected_without(self.engine.setting.proxy, &without);
        self.without.extend(without);
        self.says("without palisade", closed);
    }

    /// Under palisade.
    pub fn holds(&mut self, when: &str, sections: &[Section], containers: &[&'static str]) {
        let rows: String = sections.iter().map(|section| section.rows).collect();
        let rows = Rows::new(&rows);
        let places = EnginePlaces::new(&self.lab, &self.engine, containers);
        self.lab.forget_datagrams();
        let with = rows.with(&places);
        drop(places);
        self.says(when, rows.broken(&self.without, &with));
        for section in sections {
            self.column.add(section, &self.without, &with);
        }
    }

    /// Compares all that was seen with a table of `docs/containers.md`, and fails with all that was not as it must be.
    #[track_caller]
    pub fn end(mut self, kind: Kind) {
        let version = self.engine.version();
        let setting = self.engine.setting;
        let differing = kind.compare(&setting.column(&version), &self.column);
        self.says("docs/containers.md, which UPDATE_GOLDEN=1 writes", differing);
        let broken = self.broken;
        assert!(broken.is_empty(), "{} beside {setting} {version}:\n{}", broken.len(), broken.join("\n"));
    }

    /// Applies a policy, by force where it lets nobody in by SSH. Nothing else stands against any policy here, and nothing
    /// else is warned of. The engine's socket is where palisade can't see it: without a rule in nftables it can't tell that
    /// forwarding is the engine's, and says whom the policy cuts off.
    pub fn apply(&mut self, policy: &str) {
        let listed = self.lab.host.nft_list();
        let shows_itself = ["chain DOCKER", "chain NETAVARK"].iter().any(|chain| listed.contains(chain));
        let said = self.palisade(policy, apply(policy));
        let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
        let shut = (!opens_ssh(policy)).then_some(NO_SSH);
        let cut_off = (!shows_itself).then_some(CUT_OFF);
        if warnings != shut.into_iter().chain(cut_off).collect::<Vec<_>>() {
            self.says("apply", vec![said]);
        }
    }

    /// Runs palisade, which must leave the rules of others as they are; gives what it says on standard error.
    pub fn palisade(&mut self, policy: &str, arguments: &[&str]) -> String {
        self.lab.write_policy("policy.yaml", policy);
        let before = self.engine.rules_of_others();
        let done = self.lab.palisade("policy.yaml", arguments);
        let said = done.stderr.clone();
        done.success();
        let after = self.engine.rules_of_others();
        if before != after {
            let changed = format!("the rules of others changed:\n{before}\n---\n{after}");
            self.says(&arguments.join(" "), vec![changed]);
        }
        said
    }

    /// Applies these policies in turn, again and again, while the daemon starts; the first is in force at the end.
    pub fn palisade_while_the_daemon_starts(&mut self, policies: [&str; 2]) {
        if self.engine.setting.podman {
            return;
        }
        let Self { engine, lab, .. } = self;
        engine.spawn_daemon(&["--live-restore"]);
        thread::scope(|scope| {
            let starting = scope.spawn(|| engine.await_daemon());
            while !starting.is_finished() {
                // Both, so that there is something to change each time.
                for policy in [policies[1], policies[0]] {
                    lab.write_policy("policy.yaml", policy);
                    lab.palisade("policy.yaml", apply(policy)).success();
                }
            }
        });
        self.palisade(policies[0], &["diff"]);
    }

    /// Which addresses someone outside sees containers of two networks come from.
    pub fn seen_from_outside(&self) -> [Option<IpAddr>; 2] {
        ["same", "user"].map(|container| self.seen_from(container))
    }

    fn seen_from(&self, container: &'static str) -> Option<IpAddr> {
        let to = SocketAddr::new(CLIENT[0], 4343);
        let listener = self.lab.client.run(|| TcpListener::bind(to).expect("the port is free"));
        let inside = self.engine.container(container).inside;
        let seen = thread::spawn(move || {
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
}
