//! One chain a service: where it holds, who may not, who may.

use super::Compiler;
use super::forward::CONTAINERS;
use super::peers::{Alternatives, Match};
use super::statement::{Origin, when};
use crate::net::Version;
use crate::resolve::{Action, Line, Rate, Service};
use crate::ruleset::{DYNAMIC_SIZE, Elements, KeyType, LimitUnit, Rule, Set, SetFlags, SetSpec};

/// How many sources a limit remembers: addresses of IPv4, /64 networks of IPv6, since one host has as many addresses of
/// its network as it likes.
const LIMIT_SOURCES: u32 = DYNAMIC_SIZE;

/// When a limit remembers no more, all sources that it does not know share a bucket that is so many times as large. Whoever
/// invents enough sources to fill it then wins as much as this many addresses would give him, and can hold up those who come
/// from a new address; who is remembered already keeps a bucket of his own.
const SHARED: u32 = 20;

/// How often connections are logged of a service that says `log: true`: nobody may fill the disk by opening connections.
const LOGGED: Rate = Rate { count: 10, unit: LimitUnit::Second, line: None };

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

    /// `service-NAME`: accepts who may reach it; everyone else returns to the caller, and so to the default.
    fn admit_service(&mut self, name: &str, service: &Service) {
        let mut rules = self.out_of_scope(name, service);
        let title = title(name, service);
        if service.limit.is_none() && !service.log {
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

    /// A rule for each of the peers that `from` names.
    ///
    /// Containers are named by their interfaces, through `containers` or `any`: a service for a private network is not
    /// one for the containers that have addresses of such a network.
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

    /// The limit, the log, the acceptance.
    fn admit(&self, name: &str, service: &Service, line: Option<Line>) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some(rate) = service.limit {
            for version in Version::ALL {
                let (set, line) = (limit_set(name, version), Origin::Line(rate.line));
                let from = if version == Version::V4 { "one address" } else { "one /64" };
                let comment = self.says(&format!("{name}: more than {} from {from}", words(rate)), line);
                rules.push(when().source_exceeds(version, &set, rate).counter().go_back().because(comment));
                let shared = Rate { count: rate.count.saturating_mul(SHARED), ..rate };
                let comment =
                    self.says(&format!("{name}: more than {} from all who find {set} full", words(shared)), line);
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

    /// Whether what exceeds a service's limit must be denied by a rule, since the default would let it in.
    pub(super) fn excess_needs_a_chain(&self, service: &Service) -> bool {
        service.limit.is_some() && self.policy.defaults.incoming == Action::Allow
    }

    /// `excess-NAME`: drops who may reach the service and has not been admitted.
    fn deny_excess(&mut self, name: &str, service: &Service) {
        let mut rules = self.out_of_scope(name, service);
        rules.extend(self.who_may_reach(name, service, |(who, words, _)| {
            let comment =
                self.says(&format!("{name}: too many {words}"), Origin::Line(service.limit.and_then(|l| l.line)));
            who.counter().drop().because(comment)
        }));
        let comment = self.says(&format!("{name}: what exceeds its limit"), Origin::Line(Some(service.line)));
        self.chain(format!("excess-{name}"), comment, rules);
    }

    /// Sends back what the service does not speak of: other interfaces, other addresses, exceptions.
    fn out_of_scope(&self, name: &str, service: &Service) -> Vec<Rule> {
        let mut rules = Vec::new();
        let here = Origin::Line(Some(service.line));
        if !service.on.is_empty() {
            let comment = self.says(&format!("{name}: not on this interface"), here);
            rules.push(when().iifname_not_in(&format!("{name}.on")).go_back().because(comment));
        }
        if !service.to.is_empty() {
            for version in Version::ALL {
                let none = match version {
                    Version::V4 => service.to.v4.is_empty(),
                    Version::V6 => service.to.v6.is_empty(),
                };
                let to = if none {
                    // A lookup of an IPv6 address in no set would let it through.
                    when().version(version)
                } else {
                    when().original_destination_not_in(version, &format!("{name}.to-{}", version.suffix()))
                };
                rules.push(to.go_back().because(self.says(&format!("{name}: not at this address"), here)));
            }
        }
        for (who, words, line) in self.alternatives(name, "except", &service.except) {
            rules.push(who.go_back().because(self.says(&format!("{name}: not {words}"), Origin::Line(line))));
        }
        rules
    }
}

fn limit_set(name: &str, version: Version) -> String {
    format!("{name}.limit-{}", version.suffix())
}

/// The service's name, and what its author says of it.
fn title(name: &str, service: &Service) -> String {
    match &service.comment {
        Some(comment) => format!("{name} ({comment})"),
        None => name.to_owned(),
    }
}

fn words(rate: Rate) -> String {
    format!("{}/{}", rate.count, rate.unit.name())
}
