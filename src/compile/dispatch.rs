//! Dispatch to services: verdict maps from a port to its service's chain.

use super::Compiler;
use super::statement::{Origin, Statement, when};
use crate::net::{Transport, Version};
use crate::resolve::{Action, Service, port_runs};
use crate::ruleset::{Element, ElementKey, KeyType, MapValue, Rule, Set, SetFlags, SetSpec, Verdict};
use std::collections::BTreeSet;

impl<'a> Compiler<'a> {
    /// Adds per transport one map for single ports (a hash) and one for runs of ports (a tree), and one map for other
    /// IP protocols. Leaves out maps without elements.
    pub(super) fn dispatch_maps(&mut self) {
        for transport in Transport::ALL {
            let name = transport.name();
            let mut runs = Vec::new();
            for (first, last, services) in self.port_runs(transport) {
                let (chain, ports) = if first == last {
                    (format!("port-{name}-{first}"), format!("{first}/{name}"))
                } else {
                    (format!("port-{name}-{first}-{last}"), format!("{first}-{last}/{name}"))
                };
                runs.push((first, last, self.verdict_for(chain, &ports, &services)));
            }
            let (single, ranges) = elements_of(runs);
            let what = name.to_uppercase();
            let key = KeyType::INET_SERVICE;
            self.map(
                map_name(transport),
                key,
                SetFlags::default(),
                &format!("{what} ports and their services"),
                single,
            );
            let comment = format!("runs of {what} ports and their services");
            self.map(ranges_name(transport), key, SetFlags::INTERVAL, &comment, ranges);
        }
        let elements = self.protocols().into_iter().map(|protocol| {
            let named = self.services_with(|service| service.protocols.contains(&protocol));
            let verdict = self.verdict_for(format!("protocol-{protocol}"), &format!("protocol {protocol}"), &named);
            Element::single(&[protocol]).with_verdict(verdict)
        });
        let elements = elements.collect();
        let comment = "other IP protocols and their services";
        self.map("services-protocol".to_owned(), KeyType::INET_PROTO, SetFlags::default(), comment, elements);
    }

    pub(super) fn map(&mut self, name: String, key: KeyType, flags: SetFlags, comment: &str, elements: Vec<Element>) {
        if elements.is_empty() {
            return;
        }
        let comment = Some(self.says(comment, Origin::File));
        let spec = SetSpec { value: Some(MapValue::Verdict), comment, ..SetSpec::new(key, flags) };
        self.set(name, Set { spec, elements: elements.into() });
    }

    /// The rules that look up those maps. Input and forward share the maps, and thus every service.
    pub(super) fn dispatch(&self) -> Vec<Rule> {
        self.dispatch_by("that the sender asked for", |transport, map| when().original_port_vmap(transport, map))
    }

    /// The same for a packet whose original port is unknown, or not asked for.
    pub(super) fn dispatch_by_own_port(&self) -> Vec<Rule> {
        self.dispatch_by("that the packet has", |transport, map| when().own_port_vmap(transport, map))
    }

    fn dispatch_by(&self, port: &str, look_up: impl Fn(Transport, &str) -> Statement) -> Vec<Rule> {
        let mut rules = self.all_ports(true);
        for transport in Transport::ALL {
            for map in [map_name(transport), ranges_name(transport)] {
                if self.table.sets.contains_key(&map) {
                    let sentence = format!("services, by the {} port {port}", transport.name());
                    let comment = self.says(&sentence, Origin::File);
                    rules.push(look_up(transport, &map).because(comment));
                }
            }
        }
        if self.table.sets.contains_key("services-protocol") {
            let comment = self.says("services of other IP protocols", Origin::File);
            rules.push(when().protocol_vmap("services-protocol").because(comment));
        }
        rules.extend(self.pings());
        rules.extend(self.all_ports(false));
        rules
    }

    /// Jumps to the services of every port and protocol: those that deny, or those that allow.
    fn all_ports(&self, denying: bool) -> Vec<Rule> {
        let services = self.policy.services.iter();
        let all = services.filter(|(_, service)| service.all && (service.action != Action::Allow) == denying);
        all.map(|(name, service)| {
            let comment = self.says(&format!("every port and protocol is {name}"), Origin::Line(Some(service.line)));
            when().jump(&format!("service-{name}")).because(comment)
        })
        .collect()
    }

    /// Jumps to the services of echo requests, those that deny first.
    fn pings(&self) -> Vec<Rule> {
        let services = self.policy.services.iter().filter(|(_, service)| service.ping);
        let (allowing, denying): (Vec<_>, Vec<_>) =
            services.partition(|(_, service)| service.action == Action::Allow);
        let jump = |(name, service): &(&String, &Service)| {
            let comment = self.says(&format!("ping is {name}"), Origin::Line(Some(service.line)));
            let chain = format!("service-{name}");
            Version::ALL.map(|version| when().echo_request(version).jump(&chain).because(comment.clone()))
        };
        denying.iter().chain(&allowing).flat_map(jump).collect()
    }

    /// The ports of all services, split wherever the set of services changes.
    fn port_runs(&self, transport: Transport) -> Vec<(u16, u16, BTreeSet<&'a str>)> {
        let policy = self.policy;
        let services = policy.services.iter().map(|(name, service)| (name.as_str(), service));
        let mut runs = Vec::new();
        port_runs(services, transport, |first, last, open| runs.push((first, last, open.clone())));
        runs
    }

    fn protocols(&self) -> BTreeSet<u8> {
        self.policy.services.values().flat_map(|service| service.protocols.iter().copied()).collect()
    }

    fn services_with(&self, wanted: impl Fn(&Service) -> bool) -> BTreeSet<&'a str> {
        let policy = self.policy;
        let services = policy.services.iter().filter(|(_, service)| wanted(service));
        services.map(|(name, _)| name.as_str()).collect()
    }

    /// The verdict for a key: a jump to its service, or to a chain that tries several services in turn. So a port is
    /// open to the union of the peers of its services.
    fn verdict_for(&mut self, chain: String, what: &str, services: &BTreeSet<&str>) -> Verdict {
        let policy = self.policy;
        let named: Vec<(&String, &Service)> =
            services.iter().filter_map(|name| policy.services.get_key_value(*name)).collect();
        let limited = |service: &Service| service.limit.is_some();
        let denied = |service: &Service| self.excess_needs_a_chain(service);
        if let [(name, service)] = named.as_slice()
            && !denied(service)
        {
            return Verdict::Jump(format!("service-{name}"));
        }
        let mut rules = Vec::new();
        // A denial beats every allowance. Services without a limit come next: sources that they admit must not count against another service's
        // limit.
        let (allowing, denying): (Vec<_>, Vec<_>) =
            named.iter().partition(|(_, service)| service.action == Action::Allow);
        let (bounded, free): (Vec<_>, Vec<_>) = allowing.iter().partition(|(_, service)| limited(service));
        for (name, service) in denying.iter().chain(free.iter().copied()).chain(bounded.iter().copied()) {
            let comment = self.says(&format!("{what} is {name}"), Origin::Line(Some(service.line)));
            rules.push(when().jump(&format!("service-{name}")).because(comment));
        }
        for (name, service) in bounded.iter().filter(|(_, service)| denied(service)) {
            let comment =
                self.says(&format!("{what}: what exceeds the limit of {name}"), Origin::Line(Some(service.line)));
            rules.push(when().jump(&format!("excess-{name}")).because(comment));
        }
        let comment = self.says(&format!("services that answer for {what}"), Origin::File);
        self.chain(chain.clone(), comment, rules);
        Verdict::Jump(chain)
    }
}

/// The elements for runs of ports: those of single ports, which a hash holds, and of longer runs, which a tree holds.
pub(super) fn elements_of(runs: Vec<(u16, u16, Verdict)>) -> (Vec<Element>, Vec<Element>) {
    let element = |(first, last, verdict): (u16, u16, Verdict)| {
        Element::range(&first.to_be_bytes(), &last.to_be_bytes()).with_verdict(verdict)
    };
    runs.into_iter().map(element).partition(|element| matches!(element.key, ElementKey::Single(_)))
}

fn map_name(transport: Transport) -> String {
    format!("services-{}", transport.name())
}

fn ranges_name(transport: Transport) -> String {
    format!("services-{}-ranges", transport.name())
}
