//! Rules of `outgoing` and `forward`: one chain each, found by port through verdict maps as services are.
//!
//! A section's rules stand in this order: denials of every port, the maps by port (in the chain of a port that
//! several rules share denials come first), echo requests, allowances of every port. So a denial beats every
//! allowance, and the order of the policy means nothing.

use super::dispatch::elements_of;
use super::ending::{Ending, RuleEnd};
use super::statement::{Origin, Statement, when};
use super::{Compiler, Denial};
use crate::net::{Ports, Transport, Version};
use crate::resolve::{Action, Line, Peers, PolicyRule, runs_of};
use crate::ruleset::{Element, Elements, KeyType, Rule, Set, SetFlags, SetSpec, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// The packets that a chain sees. This decides how its rules match senders.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Those of this machine.
    Host,
    /// Those of containers.
    Containers,
    /// Those of others, which pass through.
    Others,
}

/// A sender or a destination.
pub(super) struct Endpoint {
    what: Statement,
    /// The IP version that must be matched first.
    version: Option<Version>,
    words: String,
    line: Option<Line>,
}

/// An entry of a section's maps.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) chain: String,
    pub(super) line: Line,
    pub(super) ports: &'a BTreeSet<Ports>,
    pub(super) protocols: &'a BTreeSet<u8>,
    pub(super) ping: bool,
    pub(super) all: bool,
    pub(super) denies: bool,
}

impl<'a> Entry<'a> {
    pub(super) fn of_rule(name: &'a str, chain: String, rule: &'a PolicyRule) -> Self {
        Self {
            name,
            chain,
            line: rule.line,
            ports: &rule.ports,
            protocols: &rule.protocols,
            ping: rule.ping,
            all: rule.all,
            denies: rule.action != Action::Allow,
        }
    }
}

impl Compiler<'_> {
    /// The rules of `forward`, as a jump to their chain.
    pub(super) fn others_open(&mut self) -> Vec<Rule> {
        let policy = self.policy;
        if policy.forward.is_empty() {
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (name, rule) in &policy.forward {
            self.rule_sets("forward", name, rule);
            let chain = format!("forward-{name}");
            self.rule_chain(Traffic::Others, "forward", name, &chain, rule);
            entries.push(Entry::of_rule(name, chain, rule));
        }
        let comment = self.says("NAT would let out untranslated what is of no connection", Origin::BuiltIn);
        let mut rules = vec![when().ct_state(&[crate::ruleset::ct_state::INVALID]).counter().drop().because(comment)];
        rules.extend(self.look_up("forward", &entries));
        let comment = self.says("what others open through this machine", Origin::File);
        self.chain("forward", comment.clone(), rules);
        vec![when().jump("forward").because(comment)]
    }

    /// The sets of a rule's lists.
    pub(super) fn rule_sets(&mut self, section: &str, name: &str, rule: &PolicyRule) {
        let owner = format!("{section}.{name}");
        self.peer_sets(&owner, "from", &format!("{name}: who opens"), &rule.from);
        self.peer_sets(&owner, "to", &format!("{name}: where to"), &rule.to);
        self.peer_sets(&owner, "except", &format!("{name}: for whom it does not hold"), &rule.except);
        if !rule.on.is_empty() {
            let comment = self.says(&format!("{name}: the interfaces it holds for"), Origin::Line(Some(rule.line)));
            self.interface_set(format!("{owner}.on"), &rule.on, comment);
        }
    }

    /// [`literal_sets`](Self::literal_sets), and the users: `OWNER.LIST.users`.
    pub(super) fn peer_sets(&mut self, owner: &str, list: &str, what: &str, peers: &Peers) {
        self.literal_sets(owner, list, what, peers);
        let comment = self.says(what, Origin::Line(peers.line));
        self.user_set(format!("{owner}.{list}.users"), &peers.users, comment);
    }

    /// Adds a set of users, unless empty.
    pub(super) fn user_set(&mut self, name: String, users: &BTreeSet<u32>, comment: String) {
        if !users.is_empty() {
            let spec = SetSpec { comment: Some(comment), ..SetSpec::new(KeyType::UID, SetFlags::default()) };
            let mut elements: Vec<Element> =
                users.iter().map(|number| Element::single(&number.to_ne_bytes())).collect();
            elements.sort_unstable();
            self.set(name, Set { spec, elements: Elements::from(elements) });
        }
    }

    /// A rule's chain: its exceptions, then one rule for each sender and destination.
    pub(super) fn rule_chain(&mut self, traffic: Traffic, section: &str, name: &str, chain: &str, rule: &PolicyRule) {
        let owner = format!("{section}.{name}");
        let title = titled(name, rule.comment.as_deref());
        let mut rules = Vec::new();
        if !rule.on.is_empty() {
            let comment = self.says(&format!("{name}: not on this interface"), Origin::Line(Some(rule.line)));
            rules.push(when().iifname_not_in(&format!("{owner}.on")).go_back().because(comment));
        }
        for endpoint in self.senders(traffic, &owner, "except", &rule.except) {
            let comment = self.says(&format!("{name}: not {}", endpoint.words), Origin::Line(endpoint.line));
            rules.push(endpoint.matched().go_back().because(comment));
        }
        let denied = (traffic == Traffic::Others).then_some(Denial::Forward);
        let (action, log, line) = (rule.action, rule.log, rule.line);
        let end = self.rule_end(chain, Ending { action, log, title: &title, line, denied });
        let senders = self.senders(traffic, &owner, "from", &rule.from);
        let destinations = self.destinations(&owner, "to", &rule.to);
        rules.extend(self.product(chain, &title, senders, destinations, &end, rule.line));
        let comment = self.says(&format!("{section} {name}"), Origin::Line(Some(rule.line)));
        self.chain(chain, comment, rules);
    }

    /// One rule for each pair of a sender and a destination; if there are several of both, one for each sender, and a
    /// chain with the destinations.
    fn product(
        &mut self,
        chain: &str,
        title: &str,
        senders: Vec<Endpoint>,
        destinations: Vec<Endpoint>,
        end: &RuleEnd,
        line: Line,
    ) -> Vec<Rule> {
        if destinations.is_empty() {
            return Vec::new();
        }
        if senders.len() > 1 && destinations.len() > 1 {
            let to = format!("{chain}.to");
            let inner = destinations.iter().map(|endpoint| {
                let comment = self.says(&format!("{title} {}", endpoint.words), Origin::Line(endpoint.line));
                endpoint.matched().finished(end).because(comment)
            });
            let inner = inner.collect();
            let comment = self.says(&format!("{title}, for who may open it"), Origin::Line(Some(line)));
            self.chain(to.clone(), comment, inner);
            let rule = |endpoint: &Endpoint| {
                let comment = self.says(&format!("{title} {}", endpoint.words), Origin::Line(endpoint.line));
                endpoint.matched().goto(&to).because(comment)
            };
            return senders.iter().map(rule).collect();
        }
        let mut rules = Vec::new();
        for sender in &senders {
            for destination in &destinations {
                if let Some(both) = sender.and(destination) {
                    let words = format!("{title} {} {}", sender.words, destination.words);
                    rules.push(both.finished(end).because(self.says(&words, Origin::Line(sender.line))));
                }
            }
        }
        rules
    }

    /// The matches that together are "sent by one of these".
    pub(super) fn senders(&self, traffic: Traffic, owner: &str, list: &str, peers: &Peers) -> Vec<Endpoint> {
        let endpoint = |what, version, words: &str, line| Endpoint { what, version, words: words.to_owned(), line };
        match traffic {
            Traffic::Host if peers.host => return vec![endpoint(when(), None, "from this machine", peers.line)],
            Traffic::Containers if peers.groups.contains_key("containers") => {
                return vec![endpoint(when(), None, "from containers", peers.line)];
            }
            Traffic::Others if peers.any => return vec![endpoint(when(), None, "from anyone", peers.line)],
            Traffic::Host | Traffic::Containers | Traffic::Others => {}
        }
        let mut endpoints = Vec::new();
        for (owner, words, line) in owners(owner, list, peers, "from") {
            let has = |set: &String| self.table.sets.contains_key(set);
            let (users, interfaces) = (format!("{owner}.users"), format!("{owner}-if"));
            if traffic == Traffic::Host {
                endpoints.extend(has(&users).then(|| endpoint(when().user_in(&users), None, &words, line)));
                continue;
            }
            endpoints.extend(has(&interfaces).then(|| endpoint(when().iifname_in(&interfaces), None, &words, line)));
            if traffic == Traffic::Others {
                endpoints.extend(
                    self.address_sets_of(&owner)
                        .into_iter()
                        .map(|(version, set)| endpoint(when().source_of(version, &set), Some(version), &words, line)),
                );
            }
        }
        endpoints
    }

    /// The matches that together are "on its way to one of these".
    fn destinations(&self, owner: &str, list: &str, peers: &Peers) -> Vec<Endpoint> {
        let endpoint = |what, version, words: &str, line| Endpoint { what, version, words: words.to_owned(), line };
        if peers.any {
            return vec![endpoint(when(), None, "to anywhere", peers.line)];
        }
        let mut endpoints = Vec::new();
        for (owner, words, line) in owners(owner, list, peers, "to") {
            let interfaces = format!("{owner}-if");
            if self.table.sets.contains_key(&interfaces) {
                endpoints.push(endpoint(when().oifname_in(&interfaces), None, &words, line));
            }
            endpoints.extend(self.address_sets_of(&owner).into_iter().map(|(version, set)| {
                endpoint(when().original_destination_of(version, &set), Some(version), &words, line)
            }));
        }
        endpoints
    }

    /// The sets of interfaces that a list names.
    pub(super) fn interface_sets_of(&self, owner: &str, list: &str, peers: &Peers) -> Vec<String> {
        let names = owners(owner, list, peers, "to").into_iter().map(|(owner, _, _)| format!("{owner}-if"));
        names.filter(|name| self.table.sets.contains_key(name)).collect()
    }

    /// The address sets that an owner has.
    pub(super) fn address_sets_of(&self, owner: &str) -> Vec<(Version, String)> {
        let of = |version| self.source_sets_of(owner, version).into_iter().map(move |name| (version, name));
        Version::ALL.into_iter().flat_map(of).collect()
    }

    /// Adds a section's maps and the chains of ports that several rules share. Returns the rules that look them up.
    pub(super) fn look_up(&mut self, section: &str, entries: &[Entry<'_>]) -> Vec<Rule> {
        let mut rules = self.jumps(entries.iter().filter(|entry| entry.all && entry.denies), |_| vec![when()]);
        for transport in Transport::ALL {
            rules.extend(self.ports_of(section, transport, entries));
        }
        let protocols: BTreeSet<u8> = entries.iter().flat_map(|entry| entry.protocols.iter().copied()).collect();
        let map = format!("{section}-protocol");
        let mut elements = Vec::new();
        for protocol in protocols {
            let named = entries.iter().filter(|entry| entry.protocols.contains(&protocol)).collect();
            let verdict = self.jump_of(format!("{section}.protocol.{protocol}"), named);
            elements.push(Element::single(&[protocol]).with_verdict(verdict));
        }
        if !elements.is_empty() {
            let sentence = format!("{section}: other IP protocols");
            self.map(map.clone(), KeyType::INET_PROTO, SetFlags::default(), &sentence, elements);
            rules.push(when().protocol_vmap(&map).because(self.says(&sentence, Origin::File)));
        }
        let pings = |denies| entries.iter().filter(move |entry| entry.ping && entry.denies == denies);
        let both = |_: &Entry<'_>| Version::ALL.map(|version| when().echo_request(version)).to_vec();
        rules.extend(self.jumps(pings(true).chain(pings(false)), both));
        rules.extend(self.jumps(entries.iter().filter(|entry| entry.all && !entry.denies), |_| vec![when()]));
        rules
    }

    fn jumps<'e, 'p: 'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry<'p>>,
        what: impl Fn(&Entry<'_>) -> Vec<Statement>,
    ) -> Vec<Rule> {
        let rule = |entry: &Entry<'_>| {
            let comment = self.says(entry.name, Origin::Line(Some(entry.line)));
            what(entry).into_iter().map(|what| what.jump(&entry.chain).because(comment.clone())).collect::<Vec<_>>()
        };
        entries.flat_map(rule).collect()
    }

    /// The maps of one transport: single ports in a hash, runs of ports in a tree.
    fn ports_of(&mut self, section: &str, transport: Transport, entries: &[Entry<'_>]) -> Vec<Rule> {
        let by_chain: BTreeMap<&str, &Entry<'_>> =
            entries.iter().map(|entry| (entry.chain.as_str(), entry)).collect();
        let owners = entries.iter().map(|entry| (entry.chain.as_str(), entry.ports));
        let mut runs = Vec::new();
        runs_of(owners, transport, |first, last, open| runs.push((first, last, open.clone())));
        let name = transport.name();
        let mut verdicts = Vec::new();
        for (first, last, open) in runs {
            let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let named = open.iter().filter_map(|chain| by_chain.get(chain).copied()).collect();
            verdicts.push((first, last, self.jump_of(format!("{section}.{name}.{ports}"), named)));
        }
        let (single, ranges) = elements_of(verdicts);
        let mut rules = Vec::new();
        let [map, runs] = map_names(section, transport);
        let what = transport.name().to_uppercase();
        for (map, flags, elements) in [(map, SetFlags::default(), single), (runs, SetFlags::INTERVAL, ranges)] {
            if !elements.is_empty() {
                let sentence = format!("{section}: by the {what} port that was asked for");
                self.map(map.clone(), KeyType::INET_SERVICE, flags, &sentence, elements);
                rules.push(when().original_port_vmap(transport, &map).because(self.says(&sentence, Origin::File)));
            }
        }
        rules
    }

    /// The verdict for a key: a jump to its rule, or to a chain that tries several in turn, those that deny first. Its
    /// name has two dots: no rule's has.
    fn jump_of(&mut self, chain: String, mut named: Vec<&Entry<'_>>) -> Verdict {
        if let [only] = named.as_slice() {
            return Verdict::Jump(only.chain.clone());
        }
        named.sort_by_key(|entry| !entry.denies);
        let rules = self.jumps(named.into_iter(), |_| vec![when()]);
        let comment = self.says("rules that share a port", Origin::File);
        self.chain(chain.clone(), comment, rules);
        Verdict::Jump(chain)
    }
}

/// The names of the maps of one transport: for single ports, and for runs of ports.
pub(super) fn map_names(section: &str, transport: Transport) -> [String; 2] {
    let name = transport.name();
    [format!("{section}-{name}"), format!("{section}-{name}-ranges")]
}

impl Endpoint {
    pub(super) const fn version(&self) -> Option<Version> {
        self.version
    }

    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// The match alone.
    pub(super) fn matched(&self) -> Statement {
        match self.version {
            Some(version) => when().version(version).then(&self.what),
            None => self.what.clone(),
        }
    }

    /// Both matches; `None` if they are of different versions.
    fn and(&self, other: &Self) -> Option<Statement> {
        match (self.version, other.version) {
            (Some(one), Some(another)) if one != another => None,
            (Some(_), _) => Some(self.matched().then(&other.what)),
            (None, _) => Some(self.what.clone().then(&other.matched())),
        }
    }
}

/// The owners of sets that a list names: its groups, and itself, each with its words and its line.
fn owners(owner: &str, list: &str, peers: &Peers, direction: &str) -> Vec<(String, String, Option<Line>)> {
    let groups = peers.groups.iter();
    let groups = groups.map(|(name, line)| (name.clone(), format!("{direction} {name}"), Some(*line)));
    let own = (format!("{owner}.{list}"), format!("{direction} those listed"), peers.line);
    groups.chain([own]).collect()
}

/// A rule's name, and the author's comment.
pub(super) fn titled(name: &str, comment: Option<&str>) -> String {
    comment.map_or_else(|| name.to_owned(), |comment| format!("{name} ({comment})"))
}
