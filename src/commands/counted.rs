//! How often each line of the policy has been met, by the counters of its rules.

use crate::compile::{chains_behind, line_of};
use crate::denied::peers_in_words;
use crate::net::{Ports, Transport};
use crate::printable::printable;
use crate::resolve::{self, Action, PolicyRule, Resolved, Service, ports_in_words};
use crate::ruleset::{ElementValue, Expr, Limit, Provenance, Rule, Table, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Packets and bytes counted by rules since they were loaded. Of an established connection only the first packet is
/// counted; the others match the first rule.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// A line of the policy.
#[derive(Serialize)]
pub(super) struct Line {
    /// Counted through all sections.
    number: usize,
    pub(super) name: String,
    /// As the policy writes them; empty if they are not known, or the line has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<String>>,
    /// Whom a service is for, in words: `trusted (3 addresses)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// How many new connections a service takes from each source: `6/minute`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    /// What exceeded that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limited: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// What has matched it; of a service, whom it has admitted, or denied if it denies.
    #[serde(flatten)]
    pub(super) matched: Count,
    line: Option<resolve::Line>,
    /// The file of that line, if it is not the policy itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// `deny` or `reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    /// Connections that were sent to the machine behind this one that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forwarded: Option<Count>,
    /// Whether what a service has counted was denied, by its rules.
    #[serde(skip)]
    pub(super) denies: bool,
}

/// The lines of a policy that have counters, section by section.
pub(super) struct Counted {
    pub(super) services: Vec<Line>,
    pub(super) outgoing: Vec<Line>,
    pub(super) forward: Vec<Line>,
    pub(super) nat: Vec<Line>,
}

impl Line {
    /// `from trusted (3 addresses), at most 6/minute (2 limited): the trading dashboard`
    fn whom(&self) -> Option<String> {
        let limited = self.limited.map(|limited| format!(" ({} limited)", limited.packets)).unwrap_or_default();
        let limit = self.limit.as_ref().map(|limit| format!(", at most {limit}{limited}")).unwrap_or_default();
        let comment = self.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        let whom = self.from.as_ref().map(|from| format!("from {from}{limit}{comment}"))?;
        Some(printable(&whom).into_owned())
    }
}

impl Counted {
    /// Those of the live table; what they say is that of the policy that the table was made from, if it is known. Else the
    /// ports of services are those that the table names.
    pub(super) fn new(live: &Table, policy: Option<&Resolved>) -> Self {
        let mut all = Self {
            services: services(live, policy),
            outgoing: rules(live, "outgoing", policy.map(|policy| &policy.outgoing)),
            forward: rules(live, "forward", policy.map(|policy| &policy.forward)),
            nat: nat(live, policy),
        };
        let sections = [&mut all.services, &mut all.outgoing, &mut all.forward, &mut all.nat];
        sections.into_iter().flatten().zip(1..).for_each(|(line, number)| line.number = number);
        all
    }

    fn sections(&self) -> [(&'static str, &[Line]); 4] {
        [("service", &self.services), ("outgoing", &self.outgoing), ("forward", &self.forward), ("nat", &self.nat)]
    }

    /// The cells of each line: its section, its name, what it says, and what it has counted.
    pub(super) fn cells(&self) -> Vec<Vec<String>> {
        let lines = self.sections().into_iter().flat_map(|(of, lines)| lines.iter().map(move |line| (of, line)));
        let cells = |(of, line): (&str, &Line)| {
            let Count { packets, bytes } = line.matched;
            vec![of.to_owned(), line.name.clone(), line.words().join(" "), packets.to_string(), bytes.to_string()]
        };
        lines.map(cells).collect()
    }

    /// The widest name.
    pub(super) fn width(&self) -> usize {
        let headings = self.sections().map(|(heading, _)| heading.len()).into_iter();
        let names = self.sections().into_iter().flat_map(|(_, lines)| lines).map(|line| line.name.len());
        headings.chain(names).max().unwrap_or_default()
    }

    /// A table of each section that has lines.
    pub(super) fn write(&self, text: &mut String, width: usize) {
        for (heading, lines) in self.sections().into_iter().filter(|(_, lines)| !lines.is_empty()) {
            let ports = if heading == "nat" { "" } else { "  ports" };
            let _ = writeln!(text, "\n{:>4}  {heading:width$}  {:>12}  {:>12}{ports}", "", "connections", "bytes");
            for line in lines {
                let Line { number, name, matched: Count { packets, bytes }, .. } = line;
                let rest = line.words().join(" ");
                let line = format!("{number:>4}  {name:width$}  {packets:>12}  {bytes:>12}  {rest}");
                let _ = writeln!(text, "{}", if heading == "nat" { line.trim_end() } else { &line });
            }
        }
    }
}

impl Line {
    /// Ports, whom it is for and its action.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.ports.iter().flatten().cloned().collect();
        words.extend(self.whom());
        words.extend(self.action.map(|action| format!("({action})")));
        words.extend(self.forwarded.map(|forwarded| format!("({} forwarded)", forwarded.packets)));
        words
    }
}

/// The file of a line, if it is not the policy itself.
fn included_file(policy: Option<&Resolved>, line: Option<resolve::Line>) -> Option<String> {
    policy.zip(line).and_then(|(policy, line)| policy.included_file(line)).map(str::to_owned)
}

fn services(live: &Table, policy: Option<&Resolved>) -> Vec<Line> {
    // The chains behind one have its name, a dot, and what they are for.
    let names =
        live.chains.keys().filter_map(|chain| chain.strip_prefix("service-")).filter(|name| !name.contains('.'));
    let line = |name: &str| {
        let service = policy.and_then(|policy| policy.services.get(name));
        let chains = [format!("service-{name}"), format!("admit-{name}")];
        let rules = || chains.iter().filter_map(|chain| live.chains.get(chain)).flat_map(|chain| &chain.rules);
        let admitted = rules().filter(|rule| rule.exprs.last() == Some(&Expr::Verdict(Verdict::Accept)));
        let exceeded: Vec<&Rule> = rules().filter(|rule| turns_away_what_exceeds(rule)).collect();
        let denied = chains_behind(&format!("service-{name}"));
        let denied = denied.iter().filter_map(|chain| live.chains.get(chain)).flat_map(|chain| &chain.rules);
        Line {
            number: 0,
            name: name.to_owned(),
            ports: Some(service.map_or_else(|| ports_in(live, name), ports_of_service)),
            from: policy.zip(service).map(|(policy, service)| peers_in_words(policy, &service.from)),
            limit: service.and_then(|service| service.limit).map(|rate| rate.to_string()),
            limited: (!exceeded.is_empty()).then(|| counted(exceeded)),
            comment: service.and_then(|service| service.comment.clone()),
            matched: counted(admitted.chain(denied.clone())),
            line: service.map(|service| service.line),
            file: included_file(policy, service.map(|service| service.line)),
            action: service.and_then(|service| word(service.action)),
            forwarded: live.chains.get(&format!("nat.{name}")).map(|chain| counted(&chain.rules)),
            denies: denied.clone().any(denies),
        }
    };
    names.map(line).collect()
}

/// Whether a rule of a service goes back with what exceeds a rate: of one source, or of all who find the set of sources full.
fn turns_away_what_exceeds(rule: &Rule) -> bool {
    let exceeds = |expr: &Expr| matches!(expr, Expr::Limit(Limit { over: true, .. }));
    let has_rate = rule.exprs.iter().any(|expr| match expr {
        Expr::Dynset { exprs, .. } => exprs.iter().any(exceeds),
        expr => exceeds(expr),
    });
    has_rate && rule.exprs.last() == Some(&Expr::Verdict(Verdict::Return))
}

/// Whether a rule that counts ends in a denial: in `drop`, or in the chain that rejects.
fn denies(rule: &Rule) -> bool {
    let counts = rule.exprs.iter().any(|expr| matches!(expr, Expr::Counter { .. }));
    counts && matches!(rule.exprs.last(), Some(Expr::Verdict(Verdict::Drop | Verdict::Goto(_))))
}

/// The rules of a section: each has a chain for each kind of sender, and perhaps others behind it.
fn rules(live: &Table, section: &str, policy: Option<&BTreeMap<String, PolicyRule>>) -> Vec<Line> {
    let mut by_name: BTreeMap<&str, Count> = BTreeMap::new();
    for (chain, rules) in live.chains.iter().map(|(name, chain)| (name, &chain.rules)) {
        let Some((_, name)) = line_of(chain).filter(|(of, _)| *of == section) else { continue };
        let (count, more) = (by_name.entry(name).or_default(), counted(rules));
        count.packets = count.packets.saturating_add(more.packets);
        count.bytes = count.bytes.saturating_add(more.bytes);
    }
    let line = |(name, matched): (&str, Count)| {
        let rule = policy.and_then(|rules| rules.get(name));
        Line {
            number: 0,
            name: name.to_owned(),
            ports: Some(
                rule.map(|rule| ports_in_words(rule.all, &rule.ports, rule.ping, &rule.protocols))
                    .unwrap_or_default(),
            ),
            from: None,
            limit: None,
            limited: None,
            comment: None,
            matched,
            line: rule.map(|rule| rule.line),
            // An included file has no rules, and no `nat`.
            file: None,
            action: rule.and_then(|rule| word(rule.action)),
            forwarded: None,
            denies: false,
        }
    };
    by_name.into_iter().map(line).collect()
}

/// The lines of `nat`, which share a chain: the comments of their rules begin with their names.
fn nat(live: &Table, policy: Option<&Resolved>) -> Vec<Line> {
    let mut by_name: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in live.chains.get("nat-postrouting").into_iter().flat_map(|chain| &chain.rules) {
        let Some(says) = rule.comment.as_deref().and_then(Provenance::read) else { continue };
        let counts = rule.exprs.iter().any(|expr| matches!(expr, Expr::Counter { .. }));
        if let Some(name) = says.sentence.split([' ', ':']).next().filter(|_| counts) {
            by_name.entry(name).or_default().push(rule);
        }
    }
    let line = |(name, rules): (&str, Vec<&Rule>)| Line {
        number: 0,
        name: name.to_owned(),
        ports: None,
        from: None,
        limit: None,
        limited: None,
        comment: None,
        matched: counted(rules),
        line: policy.and_then(|policy| policy.nat.get(name)).map(|nat| nat.line),
        file: None,
        action: None,
        forwarded: None,
        denies: false,
    };
    by_name.into_iter().map(line).collect()
}

/// The ports that a table leads to the chain of a service, by its maps.
fn ports_in(live: &Table, name: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for transport in Transport::ALL {
        let maps = ["", "-ranges"].map(|end| format!("services-{}{end}", transport.name()));
        for element in maps.iter().filter_map(|map| live.sets.get(map)).flat_map(|map| map.elements.iter()) {
            let Some(ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) = element.value.as_deref()
            else {
                continue;
            };
            let here = chain == &format!("service-{name}") || leads_to(live, chain, name);
            let ports = element.key.bounds().and_then(|(first, last)| port_of(first).zip(port_of(last)));
            found.extend(ports.filter(|_| here).map(|(first, last)| Ports { transport, first, last }));
        }
    }
    found.iter().map(ToString::to_string).collect()
}

/// Whether a chain of several services jumps to that of one of them.
fn leads_to(live: &Table, chain: &str, name: &str) -> bool {
    let rules = live.chains.get(chain).into_iter().flat_map(|chain| &chain.rules);
    let mut ends = rules.filter_map(|rule| rule.exprs.last());
    ends.any(|end| *end == Expr::Verdict(Verdict::Jump(format!("service-{name}"))))
}

fn port_of(key: &[u8]) -> Option<u16> {
    key.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn ports_of_service(service: &Service) -> Vec<String> {
    ports_in_words(service.all, &service.ports, service.ping, &service.protocols)
}

/// `deny` or `reject`.
fn word(action: Action) -> Option<&'static str> {
    (action != Action::Allow).then(|| action.name())
}

/// What the counters of rules have counted together.
pub(super) fn counted<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Count {
    let mut count = Count::default();
    for expr in rules.into_iter().flat_map(|rule| &rule.exprs) {
        if let Expr::Counter { packets, bytes } = expr {
            count.packets = count.packets.saturating_add(*packets);
            count.bytes = count.bytes.saturating_add(*bytes);
        }
    }
    count
}
