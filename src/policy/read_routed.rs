//! Decodes `outgoing`, `forward` and `nat`.

use super::diagnostic::{Diagnostic, quote};
use super::keys::{self, Section};
use super::model::{Given, Nat, Policy, PolicyRule, Spanned, Text};
use super::read::{Fields, Reader};
use super::yaml::{Node, Value};

impl Reader {
    /// The three sections of what passes through this machine and what it sends.
    pub(super) fn routed(&mut self, fields: &mut Fields<'_>, policy: &mut Policy) {
        let outgoing = self.named(fields.remove("outgoing"), "rule", "outgoing");
        for (name, value) in self.below_their_names(outgoing, &keys::OUTGOING) {
            policy.outgoing.push(self.rule(name, value, &keys::OUTGOING));
        }
        let forward = self.named(fields.remove("forward"), "rule", "forward");
        for (name, value) in self.below_their_names(forward, &keys::FORWARD) {
            policy.forward.push(self.rule(name, value, &keys::FORWARD));
        }
        let nat = self.named(fields.remove("nat"), "line", "nat");
        for (name, value) in self.below_their_names(nat, &keys::NAT) {
            policy.nat.push(self.nat(name, value));
        }
    }

    fn rule(&mut self, name: Text, node: &Node, section: &'static Section) -> PolicyRule {
        let what = format!("the rule {}", quote(&name.value));
        let mut rule = PolicyRule { name, ..PolicyRule::default() };
        let fields = match &node.value {
            Value::Empty => Some(Fields::new()),
            _ => self.fields_of(node, &what, section),
        };
        let Some(fields) = fields else {
            (rule.ports, rule.from, rule.to) = (Given::Unreadable, Given::Unreadable, Given::Unreadable);
            return rule;
        };
        let field = |name: &str| fields.get(name).copied();
        rule.ports = self.list(field("ports"), "`ports`", Self::port);
        rule.from = self.list(field("from"), "`from`", Self::peer);
        rule.to = self.list(field("to"), "`to`", Self::peer);
        rule.except = self.list(field("except"), "`except`", Self::peer);
        rule.on = self.list(field("on"), "`on`", Self::peer);
        rule.action = self.text(field("action"), "`action`");
        rule.log = self.text(field("log"), "`log`");
        rule.comment = self.text(field("comment"), "`comment`");
        rule
    }

    fn nat(&mut self, name: Text, node: &Node) -> Nat {
        let what = format!("the line {} of `nat`", quote(&name.value));
        let mut nat = Nat { name, ..Nat::default() };
        let fields = match &node.value {
            Value::Empty => Some(Fields::new()),
            _ => self.fields_of(node, &what, &keys::NAT),
        };
        let Some(fields) = fields else {
            (nat.from, nat.to) = (Given::Unreadable, Given::Unreadable);
            return nat;
        };
        let field = |name: &str| fields.get(name).copied();
        nat.from = self.list(field("from"), "`from`", Self::peer);
        nat.to = self.list(field("to"), "`to`", Self::peer);
        nat.source = self.text(field("as"), "`as`");
        nat.comment = self.text(field("comment"), "`comment`");
        nat
    }

    /// A target of `forward_to`.
    pub(super) fn target(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.value {
            Value::Text(text) => Some(Spanned { value: text.clone(), span: node.span }),
            other => {
                let message = format!("an item of {what} has to be an address, and this is {}", other.kind());
                let help =
                    "write the address of the machine that answers, such as `192.168.10.5` or `192.168.10.5:8443`";
                self.problems.push(Diagnostic::at(node.span, message).help(help));
                None
            }
        }
    }
}
