//! The rules for what passes through: those of ufw-docker, and those between networks.

use super::rules::{Rules, as_added};
use super::units::{Unit, group};
use crate::machine::PublishedPort;
use crate::migrate::cut::{meet, share_ports};
use crate::migrate::names::Names;
use crate::migrate::report::{Entry, Fate};
use crate::migrate::service::{Bridges, Service, comment, is_of_containers, ports, written};
use crate::migrate::spans::InWords;
use crate::migrate::tuple::{Action, Log, Protocol, Tuple, Way};
use crate::migrate::write::Rule;
use crate::net::{Transport, Version};
use std::net::IpAddr;

/// What the rules come to.
#[derive(Default)]
pub(super) struct Routed {
    pub(super) services: Vec<Service>,
    pub(super) rules: Vec<Rule>,
    pub(super) entries: Vec<Entry>,
    /// Lines for the policy, commented out.
    pub(super) offers: Vec<String>,
}

/// What is known besides the rules.
pub(super) struct Context<'a> {
    pub(super) default: Action,
    pub(super) bridges: &'a Bridges,
    /// Whether ufw-docker was here.
    pub(super) has_docker: bool,
    /// What containers publish; `None` where another machine's files are read.
    pub(super) published: Option<&'a [PublishedPort]>,
}

/// Translates the routed rules.
pub(super) fn translate(four: &Rules, six: &Rules, context: &Context<'_>, names: &mut Names) -> Routed {
    let mut routed = Routed::default();
    let of = |version| if version == Version::V4 { four } else { six };
    for unit in group(&four.tuples, &six.tuples) {
        let tuples: Vec<&Tuple> = unit.all().filter_map(|(version, at)| of(version).tuples.get(at)).collect();
        let Some(first) = tuples.first().filter(|tuple| tuple.way == Way::Routed) else { continue };
        let places: Vec<String> = tuples.iter().map(|tuple| tuple.place()).collect();
        let changed = unit.all().any(|(version, at)| of(version).changed.contains_key(&at));
        let one = One { tuples: &tuples, first, places: &places, context };
        let (fate, why) = if changed {
            let why = "edited by hand: the lines below it are not those that ufw would write; left out";
            (Fate::NotTranslated, vec![why.to_owned()])
        } else if one.is_to_a_container() {
            one.published(&mut routed, names)
        } else {
            one.between_networks(of, &unit, &mut routed, names)
        };
        routed.entries.push(Entry { fate, rule: as_added(first), places, why });
    }
    routed
}

/// The rules of one command.
struct One<'a> {
    tuples: &'a [&'a Tuple],
    first: &'a Tuple,
    places: &'a [String],
    context: &'a Context<'a>,
}

impl One<'_> {
    /// Whether it opens a port of a container's own address, or of any container.
    fn is_to_a_container(&self) -> bool {
        let to = &self.first.to.spans;
        let is_address = self.context.bridges.networks(self.first.version).covers(to);
        let has_port = matches!(self.first.ports.as_slice(), [(first, last)] if first == last);
        let is_of_all = self.context.has_docker && self.first.is_any_destination();
        self.first.action == Action::Allow && has_port && (is_address || is_of_all)
    }

    /// The container that ufw-docker named: `allow web 80/tcp bridge`.
    fn container(&self) -> Option<&str> {
        let comment = self.first.comment.as_deref()?.strip_prefix("allow ")?;
        let name = comment.split(' ').next()?;
        Some(name.strip_suffix("/v6").unwrap_or(name)).filter(|name| !name.is_empty())
    }

    /// Opens the ports of this machine behind which the container's port is.
    fn published(&self, routed: &mut Routed, names: &mut Names) -> (Fate, Vec<String>) {
        let port = self.first.ports.first().map_or(0, |(port, _)| *port);
        let (container, protocol) = (self.container(), self.first.protocol);
        let is_meant = |one: &&PublishedPort| {
            let transport = Transport::from_number(one.protocol).map(Transport::name);
            let is_named = self.first.is_any_destination() || container == Some(one.container.as_str());
            one.container_port == port
                && is_named
                && Version::of(one.address) == self.first.version
                && (protocol == Protocol::Any || transport == Some(protocol.name()))
        };
        let found: Vec<&PublishedPort> = self.context.published.into_iter().flatten().filter(is_meant).collect();
        let who = match container {
            Some(name) => format!("of {name}"),
            None if self.first.is_any_destination() => "of any container".to_owned(),
            None => format!("at {}", self.first.to.text),
        };
        if found.is_empty() {
            let asked = format!("container port {port} {who}: which host port?");
            routed.offers.push(format!("{asked} ({})", self.places.join(", ")));
            return (Fate::NotTranslated, vec![asked]);
        }
        for one in found.into_iter().filter(|one| !one.address.is_loopback()) {
            let Some(transport) = Transport::from_number(one.protocol) else { continue };
            let from = if self.first.is_any_source() && self.tuples.len() > 1 {
                vec!["any".to_owned()]
            } else {
                self.first.from.spans.words(self.first.version)
            };
            let mut service = Service {
                ports: vec![format!("{}/{}", one.port, transport.name())],
                from,
                to: if one.address.is_unspecified() { Vec::new() } else { vec![quoted(one.address)] },
                comment: Some(comment(&format!("port {} of the container {}", one.container_port, one.container))),
                places: self.places.to_vec(),
                ..Service::default()
            };
            service.name = names.free(&one.container);
            if !routed.services.iter().any(|other| other.ports == service.ports && other.from == service.from) {
                routed.services.push(service);
            }
        }
        (Fate::Exact, vec!["by the port of this machine that the container publishes".to_owned()])
    }

    /// Lets through, or denies, between networks and interfaces.
    fn between_networks<'r>(
        &self,
        of: impl Fn(Version) -> &'r Rules,
        unit: &Unit,
        routed: &mut Routed,
        names: &mut Names,
    ) -> (Fate, Vec<String>) {
        let not_translated = |why: &str| (Fate::NotTranslated, vec![why.to_owned()]);
        let first = self.first;
        let opens = matches!(first.action, Action::Allow | Action::Limit);
        if first.incoming.as_ref().is_some_and(is_of_containers) {
            return if opens && first.to.spans.is_all(first.version) && first.ports.is_empty() {
                (Fate::NoEffect, vec!["`containers: { outgoing: allow }`, the default, says it".to_owned()])
            } else {
                not_translated("is about what containers send, of which `outgoing` speaks: write it there if needed")
            };
        }
        if first.outgoing.as_ref().is_some_and(is_of_containers) {
            return not_translated(
                "opens the own addresses of everything behind that bridge; palisade opens published ports, by `services`",
            );
        }
        if opens == (self.context.default == Action::Allow) {
            return (Fate::NoEffect, vec![format!("`forward: {}` says it", self.context.default.name())]);
        }
        if first.action == Action::Limit || first.is_inexact() {
            return not_translated("asks for a rate, or for the sender's port: a rule of `forward` can't");
        }
        if first.outgoing.is_some() && !first.is_any_destination() {
            return not_translated("joins an address with the interface that leads to it, which `to` can't");
        }
        let is_cut = unit.all().any(|(version, at)| {
            let all = &of(version).tuples;
            let Some(tuple) = all.get(at) else { return false };
            let earlier = all.iter().take(at).filter(|other| other.way == Way::Routed);
            let other = |other: &&Tuple| matches!(other.action, Action::Allow | Action::Limit) != opens;
            earlier.filter(other).any(|other| meet(tuple, other) && share_ports(tuple, other))
        });
        if is_cut {
            return not_translated(
                "an earlier routed rule decides about some of it: write what is left into `forward`",
            );
        }
        let mut rule = self.rule();
        let (ports, lost) = ports(&self.slots(), &crate::migrate::cut::slots(self.tuples, &[]));
        rule.ports = ports;
        rule.name =
            names.free(&format!("{}through", rule.action.map(|action| format!("{action}-")).unwrap_or_default()));
        routed.rules.push(rule);
        if lost {
            return (Fate::Tighter, vec!["other protocols than TCP and UDP stay as the default says".to_owned()]);
        }
        (Fate::Exact, Vec::new())
    }

    /// The runs of ports that it is about.
    fn slots(&self) -> Vec<crate::migrate::cut::Slot> {
        let mut slots: Vec<crate::migrate::cut::Slot> = self
            .tuples
            .iter()
            .flat_map(|tuple| crate::migrate::cut::slots(&[tuple], &[]).into_iter().filter(|slot| slot.is_of(tuple)))
            .collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn rule(&self) -> Rule {
        let first = self.first;
        let versions: Vec<Version> = self.tuples.iter().map(|tuple| tuple.version).collect();
        let both = Version::ALL.iter().all(|version| versions.contains(version));
        let mut rule = Rule {
            action: match first.action {
                Action::Deny => Some("deny"),
                Action::Reject => Some("reject"),
                Action::Allow | Action::Limit => None,
            },
            log: first.log != Log::No,
            comment: first.comment.as_deref().map(comment).filter(|comment| !comment.is_empty()),
            places: self.places.to_vec(),
            ..Rule::default()
        };
        match &first.incoming {
            Some(name) if first.is_any_source() && both => {
                rule.from.push(format!("{{ interface: {} }}", written(name)))
            }
            name => {
                rule.on.extend(name.as_ref().map(written));
                if first.is_any_source() && both {
                    rule.from.push("any".to_owned());
                } else {
                    rule.from = first.from.spans.words(first.version);
                }
            }
        }
        match &first.outgoing {
            Some(name) => rule.to.push(format!("{{ interface: {} }}", written(name))),
            None if first.is_any_destination() => rule.to.push("any".to_owned()),
            None => rule.to = first.to.spans.words(first.version),
        }
        rule
    }
}

fn quoted(address: IpAddr) -> String {
    if address.is_ipv6() { format!("\"{address}\"") } else { address.to_string() }
}
