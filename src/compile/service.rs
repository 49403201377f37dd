//! One chain per service: its scope, its exceptions, and the peers that it admits.

use super::ending::{Ending, LOGGED};
use super::forward::CONTAINERS;
use super::peers::{Alternatives, Match};
use super::statement::{Origin, Statement, when};
use super::{Compiler, Denial};
use crate::net::{Transport, Version};
use crate::resolve::{Action, Line, Rate, Service};
use crate::ruleset::{DYNAMIC_SIZE, Elements, KeyType, Rule, Set, SetFlags, SetSpec, ct_state};
use std::collections::BTreeSet;

/// How many sources a limit remembers: IPv4 addresses and IPv6 /64 networks, since an IPv6 host can use any address
/// of its network.
const LIMIT_SOURCES: u32 = DYNAMIC_SIZE;

/// While the set of a limit is full, all sources outside it share one bucket that is this many times as large. An
/// attacker who fills the set with invented sources gains as much as this many addresses would give, and can hold up
/// clients with new addresses. Sources in the set keep their own buckets.
const SHARED: u32 = 20;

impl Compiler<'_> {
    pub(super) fn services(&mut self) {
        let services = &self.policy.services;
        for (name, service) in services {
            self.service_sets(name, service);
            self.admit_service(name, service);
            if self.excess_needs_a_chain(service) {
                self.deny_excess(name, service);
            }
        }
        self.dispatch_maps();
    }

    fn service_sets(&mut self, name: &str, service: &Service) {
        self.literal_sets(name, "from", &format!("{name}: who may reach it"), &service.from);
        self.literal_sets(name, "except", &format!("{name}: who may not, all the same"), &service.except);
        let origin = Origin::Line(Some(service.line));
        if !service.to.is_empty() {
            let comment = self.says(&format!("{name}: the addresses it holds for"), origin);
            self.address_sets(&format!("{name}.to"), &service.to, &comment);
        }
        if !service.on.is_empty() {
            let comment = self.says(&format!("{name}: the interfaces it holds for"), origin);
            self.interface_set(format!("{name}.on"), &service.on, comment);
        }
        if let Some(rate) = service.limit {
            for version in Version::ALL {
                let comment = self.says(&format!("{name}: sources with new connections"), Origin::Line(rate.line));
                // After one unit without a new connection the bucket is full again, as if the source were new.
                let spec = SetSpec {
                    size: Some(LIMIT_SOURCES),
                    timeout_ms: Some(rate.unit.seconds() * 1_000),
                    comment: Some(comment),
                    ..SetSpec::new(KeyType::address(version), SetFlags::DYNAMIC.with(SetFlags::TIMEOUT))
                };
                self.set(limit_set(name, version), Set { spec, elements: Elements::none() });
            }
        }
    }

    /// `service-NAME`: accepts the peers that may reach the service. All others return to the caller, and so to the
    /// default.
    fn admit_service(&mut self, name: &str, service: &Service) {
        let mut rules = self.out_of_scope(name, service);
        let title = title(name, service);
        if service.action != Action::Allow {
            rules.extend(self.deny_service(name, service));
        } else if service.limit.is_none() && !service.log {
            rules.extend(self.who_may_reach(name, service, |(who, words, line)| {
                who.counter().accept().because(self.says(&format!("{title} {words}"), Origin::Line(line)))
            }));
        } else if service.from.any {
            rules.extend(self.admit(name, service, service.from.line));
        } else {
            let admit = format!("admit-{name}");
            rules.extend(self.who_may_reach(name, service, |(who, words, line)| {
                who.goto(&admit).because(self.says(&format!("{title} {words}"), Origin::Line(line)))
            }));
            let comment =
                self.says(&format!("service {name}, for who may reach it"), Origin::Line(Some(service.line)));
            let admitting = self.admit(name, service, Some(service.line));
            self.chain(admit, comment, admitting);
        }
        let comment = self.says(&format!("service {name}"), Origin::Line(Some(service.line)));
        self.chain(format!("service-{name}"), comment, rules);
    }

    /// Makes a rule for each peer that `from` names.
    ///
    /// Containers are admitted only by interface or through `containers` or `any`: a service for a private network is
    /// not open to containers with addresses of that network.
    fn who_may_reach(&self, name: &str, service: &Service, rule: impl Fn(Match) -> Rule) -> Vec<Rule> {
        let Alternatives { anyone, by_interface, by_address } = self.alternatives(name, "from", &service.from);
        let mut rules: Vec<Rule> = anyone.into_iter().chain(by_interface).map(&rule).collect();
        if !by_address.is_empty() && self.has_containers() {
            let comment = self.says(&format!("{name}: not from containers"), Origin::Line(service.from.line));
            rules.push(when().iifname_in(CONTAINERS).go_back().because(comment));
        }
        rules.extend(by_address.into_iter().map(rule));
        rules
    }

    /// The rules for the limit, the log and the acceptance.
    fn admit(&self, name: &str, service: &Service, line: Option<Line>) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some(rate) = service.limit {
            for version in Version::ALL {
                let (set, line) = (limit_set(name, version), Origin::Line(rate.line));
                let from = if version == Version::V4 { "one address" } else { "one /64" };
                let comment = self.says(&format!("{name}: more than {} from {from}", rate), line);
                rules.push(when().source_exceeds(version, &set, rate).counter().go_back().because(comment));
                let shared = Rate { count: rate.count.saturating_mul(SHARED), ..rate };
                let comment = self.says(&format!("{name}: more than {} from all who find {set} full", shared), line);
                let uncounted = when().source_is_not_counted(version, &set).exceeds(shared);
                rules.push(uncounted.counter().go_back().because(comment));
            }
        }
        if service.log {
            let comment =
                self.says(&format!("{name}: each new connection is logged"), Origin::Line(Some(service.line)));
            rules.push(when().limited(LOGGED).log(&format!("palisade allowed {name}: ")).because(comment));
        }
        let who = if service.from.any { "from anyone" } else { "from who may reach it" };
        let comment = self.says(&format!("{} {who}", title(name, service)), Origin::Line(line));
        rules.push(when().counter().accept().because(comment));
        rules
    }

    /// Whether a rule has to deny what exceeds a service's limit, since the default would accept it.
    pub(super) fn excess_needs_a_chain(&self, service: &Service) -> bool {
        service.limit.is_some() && self.policy.defaults.incoming == Action::Allow
    }

    /// `excess-NAME`: drops packets of peers that may reach the service but were not admitted.
    fn deny_excess(&mut self, name: &str, service: &Service) {
        let (chain, title) = (format!("excess-{name}"), format!("{name}: what exceeds its limit"));
        let denied = Some(Denial::Incoming);
        let ending = Ending { action: Action::Deny, log: false, title: &title, line: service.line, denied };
        let end = self.rule_end(&chain, ending);
        let mut rules = self.out_of_scope(name, service);
        rules.extend(self.who_may_reach(name, service, |(who, words, _)| {
            let comment =
                self.says(&format!("{name}: too many {words}"), Origin::Line(service.limit.and_then(|l| l.line)));
            who.finished(&end).because(comment)
        }));
        let comment = self.says(&title, Origin::Line(Some(service.line)));
        self.chain(chain, comment, rules);
    }

    /// Denies the peers that `from` names. Containers are among them if their addresses are.
    fn deny_service(&mut self, name: &str, service: &Service) -> Vec<Rule> {
        let title = title(name, service);
        let chain = format!("service-{name}");
        let Service { action, log, line, .. } = *service;
        let denied = Some(Denial::Incoming);
        let verdict = self.rule_end(&chain, Ending { action, log, title: &title, line, denied });
        let denied = self.alternatives(name, "from", &service.from).into_iter();
        denied
            .map(|(who, words, line)| {
                who.finished(&verdict).because(self.says(&format!("{title} {words}"), Origin::Line(line)))
            })
            .collect()
    }

    /// Denies what asks for a forwarded service and is not on its way to the target: over the family without a
    /// target, or translated by somebody else. No local listener answers for it, whatever other services say.
    fn strays(&self, name: &str, service: &Service) -> Vec<Rule> {
        let Some(target) = service.forward_to else { return Vec::new() };
        let mut rules = Vec::new();
        let mut deny = |what: Statement| {
            let comment =
                self.says(&format!("{name}: not where it is forwarded to"), Origin::Line(Some(service.line)));
            rules.push(match self.policy.defaults.incoming {
                Action::Allow => what.counter().drop().because(comment),
                _ => what.goto("default-incoming").because(comment),
            });
        };
        for version in Version::ALL {
            let Some((address, port)) = target.over(version) else {
                deny(when().version(version));
                continue;
            };
            deny(when().destination_is_not(address));
            let transports: BTreeSet<Transport> = service.ports.iter().map(|ports| ports.transport).collect();
            for (transport, port) in transports.into_iter().filter_map(|transport| Some((transport, port?))) {
                deny(when().version(version).destination_port_is_not(transport, port));
            }
        }
        rules
    }

    /// Returns packets outside the service's scope: other interfaces, other addresses, exceptions.
    fn out_of_scope(&self, name: &str, service: &Service) -> Vec<Rule> {
        let mut rules = self.outside_of_place(name, service);
        rules.extend(self.strays(name, service));
        for (who, words, line) in self.alternatives(name, "except", &service.except) {
            rules.push(who.go_back().because(self.says(&format!("{name}: not {words}"), Origin::Line(line))));
        }
        rules
    }

    /// Returns packets that come in by other interfaces, or for other addresses.
    pub(super) fn outside_of_place(&self, name: &str, service: &Service) -> Vec<Rule> {
        let mut rules = Vec::new();
        let here = Origin::Line(Some(service.line));
        if !service.on.is_empty() {
            let comment = self.says(&format!("{name}: not on this interface"), here);
            rules.push(when().iifname_not_in(&format!("{name}.on")).go_back().because(comment));
        }
        if service.to.is_empty() {
            return rules;
        }
        for version in Version::ALL {
            let none = match version {
                Version::V4 => service.to.v4.is_empty(),
                Version::V6 => service.to.v6.is_empty(),
            };
            let to = if none {
                // There is no set of this version, so no packet of this version is in scope.
                when().version(version)
            } else {
                when().original_destination_not_in(version, &format!("{name}.to-{}", version.suffix()))
            };
            rules.push(to.go_back().because(self.says(&format!("{name}: not at this address"), here)));
            if !none {
                // It has no original destination, and so would be in scope wherever it goes.
                let set = format!("{name}.to-{}", version.suffix());
                let to = when().ct_state(&[ct_state::UNTRACKED]).destination_not_in(version, &set);
                rules.push(to.go_back().because(self.says(&format!("{name}: not at this address"), here)));
            }
        }
        rules
    }
}

fn limit_set(name: &str, version: Version) -> String {
    format!("{name}.limit-{}", version.suffix())
}

/// The service's name, and the author's comment.
fn title(name: &str, service: &Service) -> String {
    match &service.comment {
        Some(comment) => format!("{name} ({comment})"),
        None => name.to_owned(),
    }
}
