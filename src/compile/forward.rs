//! Packets through this machine: to and from containers, and routed.

use super::statement::{Origin, when};
use super::{Compiler, Denial, PRIORITY_BEFORE_FILTER};
use crate::net::IfName;
use crate::resolve::Action;
use crate::ruleset::{Hook, Policy, Rule, Table, TableId};
use crate::simulate::{Answer, Sets};

/// The set of the containers' interfaces. It is also the set of the group `containers`.
pub(super) const CONTAINERS: &str = "containers-if";

/// Whether palisade's own table counts an interface as one of containers; also true if that can't be told, and `None`
/// if the table has no set of such interfaces.
pub(crate) fn leads_to_containers(table: &Table, sets: &dyn Sets, interface: &IfName) -> Option<bool> {
    let set = table.sets.get(CONTAINERS)?;
    Some(sets.find(&TableId::palisade(), CONTAINERS, set, interface.bytes()) != Answer::Absent)
}

impl Compiler<'_> {
    /// Never a blanket `policy drop`: frames between containers of one bridge pass here, too, and an accept in
    /// another base chain would not save them. The chain denies what comes from outside and is not allowed, and
    /// leaves the rest to its owner.
    pub(super) fn forward(&mut self) {
        let mut rules = vec![self.accept_replies()];
        rules.extend(self.check_own_in_forward());
        rules.push(self.accept_errors());
        let by_rule = self.others_open();
        self.published();
        if self.has_containers() {
            self.containers_send();
            let from = self.says("what containers send", Origin::BuiltIn);
            rules.push(when().iifname_in(CONTAINERS).goto("from-containers").because(from));
        }
        rules.extend(self.check_others_in_forward());
        // Not limited to an outgoing interface: containers behind bridges that the policy does not name publish
        // ports, too.
        rules.push(self.translated_are_published());
        rules.extend(self.routed_stay_shut());
        if self.has_containers() {
            self.containers_are_sent(by_rule.clone());
            let to = self.says("what is sent to containers", Origin::BuiltIn);
            rules.push(when().oifname_in(CONTAINERS).goto("to-containers").because(to));
        }
        rules.extend(by_rule);
        let action = self.policy.defaults.forward;
        rules.extend(self.goto_default("default-forward", action));
        self.default_chain(
            "default-forward",
            "is routed",
            action,
            self.policy.default_lines.forward,
            Some(Denial::Forward),
        );
        let comment = "what passes through this machine";
        self.base_chain("filter-forward", Hook::Forward, PRIORITY_BEFORE_FILTER, Policy::Accept, comment, rules);
    }

    pub(super) fn has_containers(&self) -> bool {
        !self.policy.containers.interfaces.is_empty()
    }

    /// Adds `containers-if`, which filter-input and filter-forward share.
    pub(super) fn container_set(&mut self) {
        let containers = &self.policy.containers;
        let comment =
            self.says("group containers: the bridges of engines", Origin::Line(containers.lines.interfaces));
        self.interface_set(CONTAINERS.to_owned(), &containers.interfaces, comment);
    }

    /// Accepts packets of containers if they may reach every port of this machine, whichever way their engine routes
    /// them; before services are looked up, unless one of them denies.
    pub(super) fn admit_containers_first(&self) -> Option<Rule> {
        self.admit_containers().filter(|_| !self.services_deny())
    }

    /// The same after services have denied what they deny.
    pub(super) fn admit_containers_last(&self) -> Option<Rule> {
        self.admit_containers().filter(|_| self.services_deny())
    }

    fn admit_containers(&self) -> Option<Rule> {
        let containers = &self.policy.containers;
        (containers.host == Action::Allow && self.has_containers()).then(|| {
            let comment = self.says("containers reach every port", Origin::Line(containers.lines.host));
            when().iifname_in(CONTAINERS).counter().accept().because(comment)
        })
    }

    pub(super) fn services_deny(&self) -> bool {
        self.policy.services.values().any(|service| service.action != Action::Allow)
    }

    /// This machine always reaches its containers: docker-proxy answers for a published port by a connection of its
    /// own.
    pub(super) fn reach_containers(&self) -> Option<Rule> {
        self.has_containers().then(|| {
            let comment = self.says("this machine reaches its containers", Origin::BuiltIn);
            when().oifname_in(CONTAINERS).accept().because(comment)
        })
    }

    /// A container that connects to a published port of this machine is treated like any source. Its other
    /// connections are its engine's business. If containers may not open connections to the outside, they still reach
    /// other containers, as far as their engine lets them.
    fn containers_send(&mut self) {
        let containers = &self.policy.containers;
        let mut rules: Vec<_> = self.check_sources_of_containers().into_iter().collect();
        rules.push(self.stay_shut());
        rules.extend(self.published_for_containers());
        let outgoing = containers.outgoing;
        let line = Origin::Line(containers.lines.outgoing);
        rules.extend(self.containers_stay_apart());
        let by_rule = self.containers_open();
        if outgoing != Action::Allow || !by_rule.is_empty() {
            let comment = self.says("containers to containers: their engine's business", Origin::BuiltIn);
            rules.extend(self.check_destinations_of_containers());
            rules.push(when().oifname_in(CONTAINERS).accept().because(comment));
        }
        rules.extend(by_rule);
        if outgoing == Action::Allow {
            rules.push(when().accept().because(self.says("containers send freely", line)));
        } else {
            rules.extend(self.goto_default("default-containers", outgoing));
        }
        self.default_chain("default-containers", "containers send", outgoing, containers.lines.outgoing, None);
        let comment = self.says("what containers send", Origin::BuiltIn);
        self.chain("from-containers", comment, rules);
    }

    /// A packet without DNAT was routed to a container's own address, past the port that the engine publishes.
    fn containers_are_sent(&mut self, mut rules: Vec<Rule>) {
        rules.extend(self.goto_default("default-incoming", self.policy.defaults.incoming));
        let comment = self.says("what is sent to containers", Origin::BuiltIn);
        self.chain("to-containers", comment, rules);
    }

    /// Where a rule may close what is routed: the other side must not begin it anew.
    fn routed_stay_shut(&self) -> Option<Rule> {
        let forwards = self.policy.services.values().any(|service| service.forward_to.is_some());
        (forwards || !self.policy.forward.is_empty()).then(|| self.stay_shut())
    }

    fn translated_are_published(&self) -> Rule {
        let comment = self.says("a published port obeys the services", Origin::BuiltIn);
        when().destination_was_translated().goto("published").because(comment)
    }

    fn published(&mut self) {
        // A neighbour can put 127.0.0.1 on the wire, and Docker before 28 translates it. A port published to this
        // machine alone is not open to the outside, even if a service names its number.
        let comment = self.says("published to this machine alone", Origin::BuiltIn);
        let mut rules = vec![when().original_destination_is_loopback().counter().drop().because(comment)];
        rules.extend(self.dispatch());
        rules.extend(self.published_to_containers_last());
        rules.push(self.last_rule_on_incoming());
        let comment = self.says("ports that containers publish: the same services", Origin::BuiltIn);
        self.chain("published", comment, rules);
    }
}
