//! Compiles a policy to a single nf_tables table.
//!
//! ```text
//! filter-prerouting ── blocked sources, before connection tracking
//! filter-calls ─────── remembers what containers call that is not this machine, before it is translated
//! filter-input ──────┬─ replies, loopback ─ services-tcp, services-udp, ... ─► service-NAME ─► accept
//!                    ├─ own-port: the same services for what is not tracked, by its own port
//!                    ├─ ping, neighbour discovery, DHCP answers
//!                    └─ default-incoming
//! filter-forward ────┬─ replies
//!                    ├─ from-containers ─┬─ published: the same service maps as input
//!                    ├─ to-containers ───┘
//!                    └─ default-forward
//! filter-output ─────┬─ replies, loopback
//!                    ├─ revoked, revoked-udp: connections that lost their access stay shut
//!                    ├─ outgoing-tcp, outgoing-udp, ... ─► outgoing-NAME ─► accept
//!                    └─ default-outgoing, where the policy restricts what this machine sends
//! nat-prerouting, nat-output ── nat-tcp, nat-udp, ... ─► nat.NAME: the service's `forward_to`
//! nat-postrouting ── the lines of `nat`
//! ```
//!
//! Services are looked up by the port that the outside sees (`ct original proto-dst`), so one rule covers a host
//! process and a port that a container publishes. The cost of a packet does not grow with the number of services or
//! sources: ports are keys of a verdict map, sources are elements of sets. The chain `manifest`, which nothing jumps
//! to, records what large sets hold.

mod block;
mod denied;
mod dispatch;
mod elsewhere;
mod ending;
mod essentials;
mod forward;
mod nat;
mod origin;
mod outgoing;
mod peers;
mod revoked;
mod routed;
mod service;
mod statement;

pub(crate) use block::drops_blocked;
pub use denied::Denial;
pub(crate) use denied::REMEMBERED_MS;
pub(crate) use ending::{chains_behind, is_behind_a_rule, line_of};
pub(crate) use forward::leads_to_containers;
pub(crate) use nat::forwarded_ports;

use crate::resolve::{Action, Line, Resolved};
use crate::ruleset::{BaseChain, Chain, Hook, MAX_COMMENT, Policy, Provenance, Rule, Set, Table, provenance};
use statement::{Origin, when};
use std::collections::BTreeSet;

/// The `raw` priority of base chains (`NF_IP_PRI_RAW`): before connection tracking.
const PRIORITY_RAW: i32 = -300;

/// One before `dstnat` (`NF_IP_PRI_NAT_DST`): before engines translate destinations. Of several chains that translate
/// at one hook, the first that does so wins.
const PRIORITY_BEFORE_DNAT: i32 = -101;

/// One before `srcnat` (`NF_IP_PRI_NAT_SRC`).
const PRIORITY_BEFORE_SNAT: i32 = 99;

/// One after `dstnat` (`NF_IP_PRI_NAT_DST`): connections are tracked, and destinations are already translated.
const PRIORITY_AFTER_DNAT: i32 = -99;

/// One before `filter` (`NF_IP_PRI_FILTER`): palisade denies before engines and other firewalls accept.
const PRIORITY_BEFORE_FILTER: i32 = -1;

/// Compiles a policy to `table inet palisade`.
///
/// Total and deterministic: every [`Resolved`] compiles, and always to the same table.
#[must_use]
pub fn compile(resolved: &Resolved) -> Table {
    let mut compiler = Compiler::new(resolved);
    compiler.group_sets();
    compiler.container_set();
    compiler.revoked();
    compiler.drop_blocked();
    compiler.related();
    compiler.origins();
    compiler.services();
    compiler.elsewhere();
    compiler.input();
    compiler.forward();
    compiler.output();
    compiler.nat();
    compiler.table.add_manifest();
    compiler.table
}

/// A policy, and the table that is being built from it.
struct Compiler<'a> {
    policy: &'a Resolved,
    /// The names of the policy's file and of those that it includes, as comments can contain them.
    files: Vec<String>,
    table: Table,
}

impl<'a> Compiler<'a> {
    fn new(policy: &'a Resolved) -> Self {
        let files = [&policy.file].into_iter().chain(&policy.included).map(|file| in_a_comment(file)).collect();
        let mut compiler = Self { policy, files, table: Table::default() };
        compiler.table.comment =
            Some(compiler.says("edit the policy instead of this table, then palisade apply", Origin::File));
        compiler
    }

    /// A comment: `palisade: SENTENCE (FILE:LINE)`, cut to the length that stock nft shows.
    fn says(&self, sentence: &str, origin: Origin) -> String {
        let file = |source| self.files.get(source).map_or("", String::as_str);
        let origin = match origin {
            Origin::File => provenance::Origin::File(file(0)),
            Origin::Line(Some(line)) => provenance::Origin::Line(file(line.source), line.number),
            Origin::Line(None) => provenance::Origin::Default(file(0)),
            Origin::BuiltIn => provenance::Origin::BuiltIn,
        };
        let room = MAX_COMMENT.saturating_sub(Provenance::len_without_sentence(origin));
        Provenance { sentence: &shortened(sentence, room), origin }.to_string()
    }

    fn base_chain(&mut self, name: &str, hook: Hook, priority: i32, policy: Policy, comment: &str, rules: Vec<Rule>) {
        self.base_chain_of("filter", name, (hook, priority, policy), comment, rules);
    }

    /// Adds a base chain of a type: `filter` or `nat`.
    fn base_chain_of(
        &mut self,
        kind: &str,
        name: &str,
        (hook, priority, policy): (Hook, i32, Policy),
        comment: &str,
        rules: Vec<Rule>,
    ) {
        let base = BaseChain { kind: kind.to_owned(), hook, priority, policy, devices: BTreeSet::new() };
        let comment = Some(self.says(comment, Origin::File));
        self.table.chains.insert(name.to_owned(), Chain { base: Some(base), comment, rules });
    }

    fn chain(&mut self, name: impl Into<String>, comment: String, rules: Vec<Rule>) {
        let (name, chain) = (name.into(), Chain { base: None, comment: Some(comment), rules });
        debug_assert!(
            self.table.chains.get(&name).is_none_or(|other| *other == chain),
            "two chains are called {name}"
        );
        self.table.chains.insert(name, chain);
    }

    fn set(&mut self, name: impl Into<String>, set: Set) {
        self.table.sets.insert(name.into(), set);
    }

    fn input(&mut self) {
        let incoming = self.policy.defaults.incoming;
        let mut rules = vec![self.accept_replies(), self.accept_loopback()];
        rules.extend(self.check_sources_of_input());
        rules.push(self.accept_errors());
        rules.extend(self.goto_invalid(incoming));
        rules.push(self.guard_routes());
        rules.extend(self.admit_containers_first());
        rules.extend(self.reached_by_containers());
        rules.extend(self.dispatch());
        // Before what containers need: services that deny hold for it, tracked or not.
        rules.extend(self.untracked());
        rules.extend(self.ping());
        rules.extend(self.essentials_input());
        rules.extend(self.admit_containers_last());
        rules.extend(self.goto_default("default-incoming", incoming));
        if incoming != Action::Allow {
            self.invalid();
        }
        self.default_chain(
            "default-incoming",
            "comes in",
            incoming,
            self.policy.default_lines.incoming,
            Some(Denial::Incoming),
        );
        let comment = "what comes in to this machine";
        self.base_chain("filter-input", Hook::Input, PRIORITY_BEFORE_FILTER, policy_of(incoming), comment, rules);
    }

    /// Connections that this machine begins follow the policy's default, and must not revive connections that were
    /// ended.
    fn output(&mut self) {
        let outgoing = self.policy.defaults.outgoing;
        let mut rules = vec![self.accept_replies(), self.accept_loopback_out(), self.accept_errors()];
        rules.push(self.stay_shut());
        let by_rule = self.host_sends();
        if outgoing != Action::Allow || !by_rule.is_empty() {
            rules.extend(self.reach_containers());
            rules.extend(self.essentials_output());
            rules.extend(self.untracked_answers());
        }
        rules.extend(by_rule);
        rules.extend(self.goto_default("default-outgoing", outgoing));
        self.default_chain("default-outgoing", "goes out", outgoing, self.policy.default_lines.outgoing, None);
        let comment = "what this machine sends";
        self.base_chain("filter-output", Hook::Output, PRIORITY_BEFORE_FILTER, policy_of(outgoing), comment, rules);
    }

    /// The last rule of a chain that decides on incoming packets. It decides, so that the chain never returns.
    fn last_rule_on_incoming(&self) -> Rule {
        let comment = self.says("everything else: the default", Origin::BuiltIn);
        self.goto_default("default-incoming", self.policy.defaults.incoming)
            .unwrap_or_else(|| when().accept().because(comment))
    }

    fn goto_default(&self, chain: &str, action: Action) -> Option<Rule> {
        (action != Action::Allow)
            .then(|| when().goto(chain).because(self.says("everything else: the default", Origin::BuiltIn)))
    }

    /// Adds the chain in which a default denies: it logs within the rate, remembers who is denied where `palisade denied`
    /// lists them, counts, then drops or rejects. Adds none if the default allows.
    fn default_chain(
        &mut self,
        name: &str,
        what: &str,
        action: Action,
        line: Option<Line>,
        remembered: Option<Denial>,
    ) {
        if action == Action::Allow {
            return;
        }
        let mut rules = Vec::new();
        if let Some(rate) = self.policy.log_denied {
            let comment = self.says("what is denied is logged, so often at most", Origin::Line(rate.line));
            rules.push(when().limited(rate).log("palisade denied: ").because(comment));
        }
        rules.extend(remembered.map(|denied| self.is_remembered(denied)));
        match action {
            Action::Reject => {
                let comment = self.says(&format!("what else {what} over TCP is refused"), Origin::Line(line));
                rules.push(when().l4proto(6).counter().reject_tcp().because(comment));
                let comment = self.says(&format!("what else {what} is refused"), Origin::Line(line));
                rules.push(when().counter().reject().because(comment));
            }
            Action::Deny | Action::Allow => {
                let comment = self.says(&format!("what else {what} is denied"), Origin::Line(line));
                rules.push(when().counter().drop().because(comment));
            }
        }
        let comment = self.says(&format!("the default for what {what}"), Origin::File);
        self.chain(name, comment, rules);
    }
}

/// A base chain that ends in a denial also has `policy drop`, so that it still denies without its last rule.
fn policy_of(action: Action) -> Policy {
    match action {
        Action::Allow => Policy::Accept,
        Action::Deny | Action::Reject => Policy::Drop,
    }
}

/// The characters of a file's name that a comment has.
const LONGEST_FILE: usize = 40;

/// A file's name, shortened, without characters that can't stand in a comment. Of a path, its end stays.
fn in_a_comment(file: &str) -> String {
    let left_out = file.chars().count().saturating_sub(LONGEST_FILE);
    let left_out = if file.contains('/') { left_out } else { 0 };
    let readable = |c: char| if c.is_ascii_graphic() && !"\"\\()".contains(c) { c } else { '_' };
    file.chars().skip(left_out).take(LONGEST_FILE).map(readable).collect()
}

/// The line of a policy that the origin of one of its rules names.
pub(crate) fn line_of_origin(policy: &Resolved, origin: provenance::Origin<'_>) -> Option<Line> {
    let provenance::Origin::Line(file, number) = origin else { return None };
    let included = policy.included.iter().position(|included| in_a_comment(included) == file);
    Some(Line { source: included.map_or(0, |index| index + 1), number })
}

/// At most `room` bytes of a sentence, cut between characters and marked as cut.
fn shortened(sentence: &str, room: usize) -> String {
    if sentence.len() <= room {
        return sentence.to_owned();
    }
    let mut end = room.saturating_sub(2);
    while !sentence.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}..", &sentence[..end])
}
