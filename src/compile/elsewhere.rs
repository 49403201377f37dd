//! The port by which a service is looked up, for packets where it is not the original destination port.
//!
//! Services are looked up by the connection's original destination port. Some packets have none, or one that is not
//! about a port of this machine:
//!
//! | packet | asked for |
//! |---|---|
//! | one that is not tracked (a name server's, by NOTRACK) | its own port, in filter-input |
//! | a container's, to an address that is not this machine's, translated to this machine (10.43.0.1:443 to 6443) | the port that it reaches |
//! | a container's, to such an address, translated to a container (a ClusterIP to a pod) | nothing: its engine's business |
//!
//! A rule can test only the current destination for being an address of this machine, and the translation replaces
//! it. So before translation, a set remembers the foreign destinations of containers' new connections for
//! [`REMEMBERED_MS`]: one element for each address, not for each connection. An address of this machine never gets
//! into that set. While the set is full, services are looked up by the original port for destinations that it lacks,
//! as if they were this machine's.
//!
//! The chain that adds to the set is of type `filter`. The kernel skips a `nat` chain when one of a lower priority has
//! translated the packet (`nf_nat_inet_fn`), and keeps a translation for every connection as soon as there is one.

use super::forward::CONTAINERS;
use super::statement::{Origin, when};
use super::{Compiler, PRIORITY_BEFORE_DNAT};
use crate::net::{Intervals, Transport, Version};
use crate::resolve::Action;
use crate::ruleset::{DYNAMIC_SIZE, Elements, Hook, KeyType, Policy, Rule, Set, SetFlags, SetSpec, ct_state};

/// The set of destinations that containers call and that are not addresses of this machine.
const ELSEWHERE: &str = "containers.elsewhere";
/// The chain for containers' calls that were translated and pass through this machine.
const TRANSLATED: &str = "translated";
/// The chain for containers' calls that were translated to this machine.
const REACHED: &str = "reached";
/// The chain for those of them that were sent elsewhere.
const REACHED_PORT: &str = "reached-port";
/// The chain that looks services up by the packet's own port.
const OWN_PORT: &str = "own-port";

/// How long a destination is remembered, in milliseconds. The same packet looks it up at once, unless a queue to a
/// program delays it.
const REMEMBERED_MS: u64 = 2_000;

fn elsewhere(version: Version) -> String {
    format!("{ELSEWHERE}-{}", version.suffix())
}

impl Compiler<'_> {
    /// Whether the destinations of containers are remembered; not needed if containers reach every port anyway, unless
    /// a service denies, or forwards to where containers may send nothing.
    fn asks_containers(&self) -> bool {
        let forwards = || self.policy.services.values().any(|service| service.forward_to.is_some());
        self.has_containers() && (self.policy.containers.host == Action::Deny || self.services_deny() || forwards())
    }

    /// Adds the sets, and the chains that fill them and look them up.
    pub(super) fn elsewhere(&mut self) {
        self.own_port();
        if !self.asks_containers() {
            return;
        }
        let mut rules = vec![self.accept_replies()];
        for version in Version::ALL {
            let says = |sentence: &str| self.says(sentence, Origin::BuiltIn);
            let remembered = says("what containers call that is not this machine");
            let remember = when().version(version).iifname_in(CONTAINERS).destination_is_not_own();
            rules.push(remember.remember_destination(version, &elsewhere(version)).because(remembered.clone()));
            let spec = SetSpec {
                size: Some(DYNAMIC_SIZE),
                timeout_ms: Some(REMEMBERED_MS),
                comment: Some(remembered),
                ..SetSpec::new(KeyType::address(version), SetFlags::DYNAMIC.with(SetFlags::TIMEOUT))
            };
            self.set(elsewhere(version), Set { spec, elements: Elements::none() });
        }
        let comment = "what containers call, before it is translated";
        self.base_chain("filter-calls", Hook::Prerouting, PRIORITY_BEFORE_DNAT, Policy::Accept, comment, rules);
        self.translated();
        self.reached();
    }

    fn reached(&mut self) {
        let rules = Version::ALL.map(|version| {
            let comment = self.says("asked for by the port that it reaches", Origin::BuiltIn);
            when().original_destination_in(version, &elsewhere(version)).goto(REACHED_PORT).because(comment)
        });
        let comment = self.says("what containers call, and is translated to this machine", Origin::BuiltIn);
        self.chain(REACHED, comment, rules.into());
        // The same rules as in filter-input, from the lookup of services on.
        let mut rules = Vec::from_iter(self.looks_up_own_port());
        rules.extend(self.ping());
        rules.extend(self.names_and_addresses_for_containers());
        rules.extend(self.admit_containers_last());
        rules.push(self.last_rule_on_incoming());
        let comment = self.says("what containers call elsewhere, and reaches this machine", Origin::BuiltIn);
        self.chain(REACHED_PORT, comment, rules);
    }

    /// For filter-input, before services are looked up.
    pub(super) fn reached_by_containers(&self) -> Option<Rule> {
        self.asks_containers().then(|| {
            let comment = self.says("what containers call, and is translated to this machine", Origin::BuiltIn);
            when().destination_was_translated().iifname_in(CONTAINERS).jump(REACHED).because(comment)
        })
    }

    /// For from-containers: calls to ports that this machine publishes obey the services.
    pub(super) fn published_for_containers(&self) -> Option<Rule> {
        self.asks_containers().then(|| {
            let comment = self.says("what containers call, and is translated", Origin::BuiltIn);
            when().destination_was_translated().jump(TRANSLATED).because(comment)
        })
    }

    /// For the end of `published`, if containers reach every port of this machine: no service has denied what they call.
    /// If it was this machine, wherever it is answered, they reach it. All else is sent as other packets of theirs.
    pub(super) fn published_to_containers_last(&self) -> Vec<Rule> {
        if !self.asks_containers() || self.policy.containers.host == Action::Deny {
            return Vec::new();
        }
        let line = Origin::Line(self.policy.containers.lines.host);
        let reached = Version::ALL.map(|version| {
            let here = when().iifname_in(CONTAINERS).original_destination_not_in(version, &elsewhere(version));
            here.counter().accept().because(self.says("containers reach every port", line))
        });
        let comment = self.says("what containers call elsewhere, and is translated", Origin::BuiltIn);
        let rest = when().iifname_in(CONTAINERS).go_back().because(comment);
        reached.into_iter().chain([rest]).collect()
    }

    fn translated(&mut self) {
        let published = || self.says("a published port obeys the services", Origin::BuiltIn);
        let mut rules = vec![when().oifname_not_in(CONTAINERS).goto("published").because(published())];
        rules.extend(Version::ALL.map(|version| {
            let here = when().original_destination_not_in(version, &elsewhere(version));
            here.goto("published").because(published())
        }));
        let comment = self.says("what containers call elsewhere is their engine's business", Origin::BuiltIn);
        self.chain(TRANSLATED, comment, rules);
    }

    /// For filter-input, after services were looked up by the original port: an untracked packet has none.
    pub(super) fn untracked(&self) -> Option<Rule> {
        let comment = self.says("what is not tracked is asked for by its own port", Origin::BuiltIn);
        self.has_ports().then(|| when().ct_state(&[ct_state::UNTRACKED]).jump(OWN_PORT).because(comment))
    }

    fn has_ports(&self) -> bool {
        self.table.chains.contains_key(OWN_PORT)
    }

    fn looks_up_own_port(&self) -> Option<Rule> {
        let comment = self.says("services, by the port that it reaches", Origin::BuiltIn);
        self.has_ports().then(|| when().jump(OWN_PORT).because(comment))
    }

    fn own_port(&mut self) {
        let rules = self.dispatch_by_own_port();
        if !rules.is_empty() {
            let comment = self.says("services, by the port that the packet itself has", Origin::BuiltIn);
            self.chain(OWN_PORT, comment, rules);
        }
    }

    /// If the default denies what this machine sends: answers of services whose packets are not tracked.
    pub(super) fn untracked_answers(&self) -> Vec<Rule> {
        let answers = |transport: Transport| {
            let ports = self.policy.services.values().flat_map(|service| &service.ports);
            let ports = ports.filter(|ports| ports.transport == transport).map(|ports| (ports.first, ports.last));
            let ports: Intervals<u16> = ports.collect();
            let mut runs: Vec<(u16, u16)> = Vec::new();
            for &(first, last) in ports.as_slice() {
                match runs.last_mut() {
                    // nft merges adjacent runs.
                    Some((_, end)) if end.saturating_add(1) >= first => *end = last,
                    _ => runs.push((first, last)),
                }
            }
            (!runs.is_empty()).then(|| {
                let comment = self.says("answers of services that are not tracked", Origin::BuiltIn);
                let untracked = when().ct_state(&[ct_state::UNTRACKED]);
                untracked.source_ports(transport, &runs).accept().because(comment)
            })
        };
        Transport::ALL.into_iter().filter_map(answers).collect()
    }
}
