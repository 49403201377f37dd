//! What passes through this machine: to and from containers, and routed.

use super::statement::{Origin, when};
use super::{Compiler, PRIORITY_BEFORE_FILTER};
use crate::resolve::{Action, Interface};
use crate::ruleset::{Hook, Policy, Rule};

/// The bridges that container engines and guests' managers make, by their defaults.
const CONTAINER_INTERFACES: [(&str, bool); 9] = [
    ("docker0", false),
    ("docker_gwbridge", false),
    ("br-", true),
    ("podman", true),
    ("cni-podman", true),
    ("lxcbr", true),
    ("lxdbr", true),
    ("incusbr", true),
    ("virbr", true),
];

const CONTAINERS: &str = "container-interfaces";

impl Compiler<'_> {
    /// Never a blanket `policy drop`: frames between containers of one bridge pass here too, and an accept in another
    /// base chain would not save them. What comes from outside and is not allowed is denied; the rest is left to its
    /// owner.
    pub(super) fn forward(&mut self) {
        let interfaces = CONTAINER_INTERFACES.map(|(name, wildcard)| Interface { name: name.to_owned(), wildcard });
        let comment = self.says("the bridges of container engines", Origin::Line(None));
        self.interface_set(CONTAINERS.to_owned(), &interfaces.into_iter().collect(), comment);

        self.containers_send();
        self.containers_are_sent();
        self.published();

        let action = self.policy.defaults.forward;
        let from = self.says("what containers send", Origin::BuiltIn);
        let to = self.says("what is sent to containers", Origin::BuiltIn);
        let mut rules = vec![
            self.accept_replies(),
            when().iifname_in(CONTAINERS).goto("from-containers").because(from),
            when().oifname_in(CONTAINERS).goto("to-containers").because(to),
        ];
        rules.extend(self.goto_default("default-forward", action));
        if action != Action::Allow {
            self.default_chain("default-forward", "is routed", action, self.policy.default_lines.forward);
        }
        let comment = "what passes through this machine";
        self.base_chain("filter-forward", Hook::Forward, PRIORITY_BEFORE_FILTER, Policy::Accept, comment, rules);
    }

    /// A container that asks for a published port of this machine asks like any source; all else it sends is between
    /// it and its engine.
    fn containers_send(&mut self) {
        let rules = vec![
            self.translated_are_published(),
            when().accept().because(self.says("containers send freely", Origin::Line(None))),
        ];
        let comment = self.says("what containers send", Origin::BuiltIn);
        self.chain("from-containers", comment, rules);
    }

    /// What was not translated was routed to a container's own address, past the port that its engine publishes.
    fn containers_are_sent(&mut self) {
        let mut rules = vec![self.translated_are_published()];
        rules.extend(self.goto_default("default-incoming", self.policy.defaults.incoming));
        let comment = self.says("what is sent to containers", Origin::BuiltIn);
        self.chain("to-containers", comment, rules);
    }

    fn translated_are_published(&self) -> Rule {
        let comment = self.says("a published port obeys the services", Origin::BuiltIn);
        when().destination_was_translated().goto("published").because(comment)
    }

    fn published(&mut self) {
        let mut rules = self.dispatch();
        rules.extend(self.goto_default("default-incoming", self.policy.defaults.incoming));
        let comment = self.says("ports that containers publish: the same services", Origin::BuiltIn);
        self.chain("published", comment, rules);
    }
}
