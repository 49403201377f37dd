//! Translations: the `forward_to` of services, and the lines of `nat`.

use super::routed::{Entry, Traffic, map_names, titled};
use super::statement::{Origin, when};
use super::{Compiler, PRIORITY_BEFORE_DNAT, PRIORITY_BEFORE_SNAT};
use crate::net::{Transport, Version};
use crate::resolve::{Nat, Service};
use crate::ruleset::{Hook, Policy, Rule, Table};
use std::collections::BTreeSet;

/// The chain that looks up the forwarded ports.
const FORWARD: &str = "nat-forward";
/// The beginning of the names of their maps.
const NAT: &str = "nat";

/// The ports that services of palisade's own table forward, each run with its transport.
pub(crate) fn forwarded_ports(table: &Table) -> Vec<(Transport, u16, u16)> {
    let mut ports = Vec::new();
    for transport in Transport::ALL {
        let maps = map_names(NAT, transport);
        let maps = maps.iter().filter_map(|name| table.sets.get(name));
        for (first, last) in maps.flat_map(|map| map.elements.bounds()) {
            if let (Ok(first), Ok(last)) = (first.try_into(), last.try_into()) {
                ports.push((transport, u16::from_be_bytes(first), u16::from_be_bytes(last)));
            }
        }
    }
    ports
}

impl Compiler<'_> {
    pub(super) fn nat(&mut self) {
        self.forward_ports();
        self.translate_sources();
    }

    /// Translates packets to a forwarded port at any address of this machine, whoever sends them. Packets of this
    /// machine to its own addresses are translated, too, except to those of the loopback, which a target could not
    /// answer.
    fn forward_ports(&mut self) {
        let policy = self.policy;
        let nothing = BTreeSet::new();
        let mut entries = Vec::new();
        for (name, service) in policy.services.iter().filter(|(_, service)| service.forward_to.is_some()) {
            let chain = format!("nat.{name}");
            self.forward_service(name, service, &chain);
            entries.push(Entry {
                name,
                chain,
                line: service.line,
                ports: &service.ports,
                protocols: &nothing,
                ping: false,
                all: false,
                denies: false,
            });
        }
        if entries.is_empty() {
            return;
        }
        let rules = self.look_up(NAT, &entries);
        let comment = self.says("ports that another machine answers", Origin::File);
        self.chain(FORWARD, comment.clone(), rules);
        let rules = vec![when().destination_is_local().jump(FORWARD).because(comment.clone())];
        let at = (Hook::Prerouting, PRIORITY_BEFORE_DNAT, Policy::Accept);
        self.base_chain_of("nat", "nat-prerouting", at, "port forwards", rules);
        let rules =
            Version::ALL.map(|version| when().calls_own_address(version).jump(FORWARD).because(comment.clone()));
        let at = (Hook::Output, PRIORITY_BEFORE_DNAT, Policy::Accept);
        self.base_chain_of("nat", "nat-output", at, "port forwards, for this machine itself", rules.into());
    }

    /// `nat.NAME`: one rule for each target, and for each transport where it has a port.
    fn forward_service(&mut self, name: &str, service: &Service, chain: &str) {
        let mut rules = self.outside_of_place(name, service);
        let title = titled(name, service.comment.as_deref());
        let transports: BTreeSet<Transport> = service.ports.iter().map(|ports| ports.transport).collect();
        for version in Version::ALL {
            let Some((address, port)) = service.forward_to.and_then(|target| target.over(version)) else { continue };
            let comment = self.says(&format!("{title}: to where it is answered"), Origin::Line(Some(service.line)));
            match port {
                None => rules.push(when().version(version).counter().dnat(address, None).because(comment)),
                Some(_) => rules.extend(transports.iter().map(|transport| {
                    let what = when().version(version).l4proto(transport.number());
                    what.counter().dnat(address, port).because(comment.clone())
                })),
            }
        }
        let comment = self.says(&format!("{name}: to where it is answered"), Origin::Line(Some(service.line)));
        self.chain(chain, comment, rules);
    }

    fn translate_sources(&mut self) {
        let policy = self.policy;
        if policy.nat.is_empty() {
            return;
        }
        let comment = self.says("what this machine sends keeps its address", Origin::BuiltIn);
        let mut rules = vec![when().source_is_local().go_back().because(comment)];
        for (name, nat) in &policy.nat {
            let owner = format!("nat.{name}");
            self.peer_sets(&owner, "from", &format!("{name}: whose packets"), &nat.from);
            self.peer_sets(&owner, "to", &format!("{name}: where they leave"), &nat.to);
            rules.extend(self.translate(&owner, name, nat));
        }
        let at = (Hook::Postrouting, PRIORITY_BEFORE_SNAT, Policy::Accept);
        self.base_chain_of("nat", "nat-postrouting", at, "source addresses", rules);
    }

    /// One rule for each source and outgoing interface. Sources that no address names are translated over one version
    /// only: that of `as`, or IPv4.
    fn translate(&self, owner: &str, name: &str, nat: &Nat) -> Vec<Rule> {
        let title = titled(name, nat.comment.as_deref());
        let of_target = nat.source.map(Version::of);
        let otherwise = of_target.unwrap_or(Version::V4);
        let mut rules = Vec::new();
        for set in self.interface_sets_of(owner, "to", &nat.to) {
            for sender in self.senders(Traffic::Others, owner, "from", &nat.from) {
                let version = sender.version().unwrap_or(otherwise);
                if of_target.is_some_and(|target| target != version) {
                    continue;
                }
                let what = match sender.version() {
                    Some(_) => sender.matched(),
                    None => when().version(version).then(&sender.matched()),
                };
                let what = what.oifname_in(&set).counter();
                let what = match nat.source {
                    Some(address) => what.snat(address),
                    None => what.masquerade(),
                };
                let words = format!("{title}: sources {}", sender.words());
                rules.push(what.because(self.says(&words, Origin::Line(Some(nat.line)))));
            }
        }
        rules
    }
}
