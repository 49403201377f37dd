//! The picture of a policy.

use super::{Edge, Frame, Id, Kind, Node, Picture, Way};
use crate::denied::{count_in_words, range_in_words};
use crate::net::{IfPattern, Version};
use crate::resolve::{Action, ForwardTo, Group, Peers, PolicyRule, Resolved, ReversePath, Service, ports_in_words};
use crate::temporary::period_in_words;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How many addresses that a list has beside its groups are nodes of their own.
const SINGLE: usize = 8;
/// How many words stand on a line of a node, and how many addresses of a group are shown.
const ON_A_LINE: usize = 4;

/// Who reaches what by a policy. Nodes of each kind are sorted by name.
#[must_use]
pub fn of_policy(policy: &Resolved) -> Picture {
    let mut draft = Draft { policy, nodes: BTreeMap::new(), edges: Vec::new() };
    if !policy.block.is_empty() {
        let block = draft.add(0, Kind::Block, "all", vec!["everything".to_owned()], true);
        draft.lead_to(&block, &policy.block, Way::Denied, "block");
    }
    for (name, service) in &policy.services {
        draft.add_service(name, service);
    }
    for (kind, rules) in [(Kind::Outgoing, &policy.outgoing), (Kind::Forward, &policy.forward)] {
        for (name, rule) in rules {
            draft.add_rule(kind, name, rule);
        }
    }
    for (index, (name, verdict)) in defaults(policy).into_iter().enumerate() {
        draft.add(index, Kind::Otherwise, name, vec![format!("{name}: {verdict}")], false);
    }
    draft.finish()
}

/// A picture that is being drawn.
struct Draft<'a> {
    policy: &'a Resolved,
    /// By kind; by the rank of nodes of a kind; by name.
    nodes: BTreeMap<(Kind, usize, String), Node>,
    edges: Vec<Edge>,
}

impl Draft<'_> {
    fn finish(self) -> Picture {
        let mut frames: Vec<Frame> = Vec::new();
        for ((kind, ..), node) in self.nodes {
            match frames.last_mut().filter(|frame| frame.kind == kind) {
                Some(frame) => frame.nodes.push(node),
                None => frames.push(Frame { kind, nodes: vec![node] }),
            }
        }
        Picture { frames, edges: self.edges }
    }

    fn add(&mut self, rank: usize, kind: Kind, name: &str, lines: Vec<String>, denies: bool) -> Id {
        let id = Id { kind, name: name.to_owned() };
        self.nodes.entry((kind, rank, name.to_owned())).or_insert_with(|| Node { id: id.clone(), lines, denies });
        id
    }

    fn add_service(&mut self, name: &str, service: &Service) {
        let mut lines = vec![name.to_owned()];
        lines.extend(in_lines(&ports_in_words(service.all, &service.ports, service.ping, &service.protocols)));
        lines.extend(service.limit.map(|limit| format!("at most {limit} from each source")));
        lines.extend(to_words(service));
        lines.extend(more(&service.on, service.action, service.log, service.comment.as_deref()));
        let id = self.add(0, Kind::Service, name, lines, service.action != Action::Allow);
        self.lead_to(&id, &service.from, way(service.action), name);
        self.lead_to(&id, &service.except, Way::Excepted, name);
        for target in service.forward_to.iter().flat_map(targets) {
            let to = self.add(9, Kind::To, &target, vec![target.clone()], false);
            self.edges.push(Edge { from: id.clone(), to, way: Way::Forwarded });
        }
    }

    fn add_rule(&mut self, kind: Kind, name: &str, rule: &PolicyRule) {
        let mut lines = vec![name.to_owned()];
        lines.extend(in_lines(&ports_in_words(rule.all, &rule.ports, rule.ping, &rule.protocols)));
        lines.extend(more(&rule.on, rule.action, rule.log, rule.comment.as_deref()));
        let id = self.add(0, kind, name, lines, rule.action != Action::Allow);
        let about = format!("{} {name}", kind.word());
        self.lead_to(&id, &rule.from, way(rule.action), &about);
        self.lead_to(&id, &rule.except, Way::Excepted, &about);
        for to in self.peers(Kind::To, &rule.to, &about) {
            self.edges.push(Edge { from: id.clone(), to, way: way(rule.action) });
        }
    }

    /// Draws edges from peers to a node.
    fn lead_to(&mut self, to: &Id, peers: &Peers, way: Way, about: &str) {
        for from in self.peers(Kind::From, peers, about) {
            self.edges.push(Edge { from, to: to.clone(), way });
        }
    }

    /// The nodes of peers, which are senders or destinations. `about` is the line that names them.
    fn peers(&mut self, kind: Kind, peers: &Peers, about: &str) -> Vec<Id> {
        if peers.any {
            let lines = vec!["any".to_owned(), if kind == Kind::To { "everywhere" } else { "everyone" }.to_owned()];
            return vec![self.add(0, kind, "any", lines, false)];
        }
        let mut ids = Vec::new();
        for name in peers.groups.keys() {
            let lines = self.group_words(name);
            // Where both are, containers stand below the groups of the policy.
            let rank = if name == "containers" { 5 } else { 1 };
            ids.push(self.add(rank, kind, name, lines, false));
        }
        let ranges: Vec<String> = peers.addresses.ranges().take(SINGLE + 1).map(range_in_words).collect();
        if ranges.len() > SINGLE {
            let count = count_in_words(&peers.addresses).unwrap_or_default();
            let name = format!("listed in {about}");
            ids.push(self.add(2, kind, &name, vec![count, name.clone()], false));
        } else {
            ids.extend(ranges.into_iter().map(|range| self.add(2, kind, &range, vec![range.clone()], false)));
        }
        ids.extend(peers.names.iter().map(|name| self.add(3, kind, name, vec![name.clone()], false)));
        for interface in &peers.interfaces {
            let name = format!("interface {interface}");
            ids.push(self.add(4, kind, &name, vec![name.clone()], false));
        }
        if peers.host {
            ids.push(self.add(6, kind, "host", vec!["host".to_owned(), "this machine".to_owned()], false));
        }
        for user in &peers.users {
            let name = self.user(*user);
            ids.push(self.add(7, kind, &name, vec![name.clone()], false));
        }
        ids
    }

    fn user(&self, number: u32) -> String {
        match self.policy.user_names.get(&number) {
            Some(name) => format!("user {name}"),
            None => format!("user {number}"),
        }
    }

    /// A group's name and what is in it.
    fn group_words(&self, name: &str) -> Vec<String> {
        let mut lines = vec![name.to_owned()];
        let Some(group) = self.policy.groups.get(name).filter(|_| name != "containers") else { return lines };
        let Group { addresses, interfaces, users, names, temporary, .. } = group;
        lines.extend(count_in_words(addresses));
        let few: Vec<String> = addresses.ranges().take(ON_A_LINE + 1).map(range_in_words).collect();
        lines.extend(few.into_iter().filter(|_| addresses.ranges().count() <= ON_A_LINE));
        lines.extend(in_lines(&interfaces.iter().map(|one| format!("interface {one}")).collect::<Vec<_>>()));
        lines.extend(in_lines(&users.iter().map(|user| self.user(*user)).collect::<Vec<_>>()));
        lines.extend(in_lines(&names.iter().cloned().collect::<Vec<_>>()));
        let most = temporary.values().map(|temporary| temporary.most).max();
        lines.extend(most.map(|most| format!("whoever is let in for a time, {} at most", period_in_words(most))));
        if lines.len() == 1 {
            lines.push("nobody".to_owned());
        }
        lines
    }
}

const fn way(action: Action) -> Way {
    match action {
        Action::Allow => Way::Allowed,
        Action::Deny => Way::Denied,
        Action::Reject => Way::Rejected,
    }
}

/// Words of a list, a few on a line.
fn in_lines(words: &[String]) -> Vec<String> {
    words.chunks(ON_A_LINE).map(|words| words.join(", ")).collect()
}

/// This machine's addresses that a service is about.
fn to_words(service: &Service) -> Vec<String> {
    let words: Vec<String> = service.to.ranges().map(|range| format!("at {}", range_in_words(range))).collect();
    in_lines(&words)
}

/// What a service or a rule says besides who and where.
fn more(on: &BTreeSet<IfPattern>, action: Action, log: bool, comment: Option<&str>) -> Vec<String> {
    let mut lines = in_lines(&on.iter().map(|interface| format!("by {interface}")).collect::<Vec<_>>());
    lines.extend((action != Action::Allow).then(|| action.name().to_owned()));
    lines.extend(log.then(|| "logged".to_owned()));
    lines.extend(comment.map(str::to_owned));
    lines
}

/// Where a service is answered.
fn targets(to: &ForwardTo) -> Vec<String> {
    let over = Version::ALL.into_iter().filter_map(|version| to.over(version));
    over.map(|(address, port)| {
        port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
    })
    .collect()
}

/// The verdicts on what no line names.
fn defaults(policy: &Resolved) -> Vec<(&'static str, &'static str)> {
    let defaults = policy.defaults;
    let mut all = vec![
        ("incoming", defaults.incoming.name()),
        ("outgoing", defaults.outgoing.name()),
        ("forward", defaults.forward.name()),
        ("ping", defaults.ping.name()),
    ];
    if !policy.containers.interfaces.is_empty() {
        all.push(("outgoing of containers", policy.containers.outgoing.name()));
        all.push(("containers to this machine", policy.containers.host.name()));
    }
    if defaults.reverse_path == ReversePath::Strict {
        all.push(("reverse_path", "strict"));
    }
    all
}
