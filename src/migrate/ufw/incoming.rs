//! The rules for what comes in.

use super::rules::{Rules, as_added};
use super::units::{Unit, group};
use crate::migrate::cut::{Left, Plan, Slot, Translated, cut, meet, share_ports};
use crate::migrate::names::Names;
use crate::migrate::report::{Entry, Fate, decided};
use crate::migrate::service::{Bridges, Made, Service, Whole, services};
use crate::migrate::spans::{InWords, Spans};
use crate::migrate::tuple::{Action, Log, Tuple, Way};
use crate::net::Version;
use std::collections::BTreeSet;

/// How the comment of a ban by fail2ban begins.
const FAIL2BAN: &str = "by Fail2Ban after ";
/// Why a port is left out.
const TRANSLATED: &str =
    "a rule in before.rules translates one of its ports to somewhere else: that port is left out";
/// 127.0.0.0/8.
const LOOPBACK: (u128, u128) = (0x7f00_0000, 0x7fff_ffff);

/// What is known besides the rules.
pub(super) struct Context<'a> {
    pub(super) plan: Plan,
    pub(super) translated: &'a Translated,
    pub(super) bridges: &'a Bridges,
}

/// The rules of one version.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    /// Those that decide, and their index in the file.
    pub(super) rules: Vec<(usize, &'a Tuple)>,
    /// What became of them.
    left: Vec<Option<Left>>,
}

impl<'a> Sorted<'a> {
    /// Takes what decides about incoming packets, in order.
    fn new(all: &'a Rules) -> Self {
        let decides = |(at, tuple): &(usize, &Tuple)| {
            let is_lost = all.changed.contains_key(at) && matches!(tuple.action, Action::Allow | Action::Limit);
            tuple.way == Way::In && !is_lost && !is_fail2bans(tuple) && !is_of_loopback(tuple)
        };
        Self { rules: all.tuples.iter().enumerate().filter(decides).collect(), left: Vec::new() }
    }

    fn tuples(&self) -> Vec<&'a Tuple> {
        self.rules.iter().map(|(_, tuple)| *tuple).collect()
    }

    fn at(&self, index: usize) -> Option<(usize, &'a Tuple)> {
        let at = self.rules.iter().position(|(at, _)| *at == index)?;
        self.rules.get(at).map(|(_, tuple)| (at, *tuple))
    }
}

pub(super) fn is_fail2bans(tuple: &Tuple) -> bool {
    tuple.comment.as_ref().is_some_and(|comment| comment.starts_with(FAIL2BAN))
}

/// Whether a rule is about this machine's talk with itself, which is let through before any rule.
pub(super) fn is_of_loopback(tuple: &Tuple) -> bool {
    let own = match tuple.version {
        Version::V4 => Spans::from(vec![LOOPBACK]),
        Version::V6 => Spans::from(vec![(1, 1)]),
    };
    let named = tuple.incoming.as_ref().is_some_and(|name| name.name == "lo" && !name.wildcard);
    named || own.covers(&tuple.from.spans) || own.covers(&tuple.to.spans)
}

/// What the rules come to.
pub(super) struct Incoming<'a> {
    pub(super) services: Vec<Service>,
    pub(super) entries: Vec<Entry>,
    /// The rules that decide, of each version, for expectations.
    pub(super) deciding: [Vec<&'a Tuple>; 2],
    /// The places of those that are cut further than they have to be.
    pub(super) inexact: BTreeSet<String>,
    /// The version that rules are about whose `from` leaves containers out.
    pub(super) one_version: Option<Version>,
}

/// Translates the rules for what comes in.
pub(super) fn translate<'a>(
    four: &'a Rules,
    six: &'a Rules,
    context: &Context<'_>,
    names: &mut Names,
) -> Incoming<'a> {
    let mut sorted = [Sorted::new(four), Sorted::new(six)];
    let slots = context.translated.slots(&sorted.iter().flat_map(Sorted::tuples).collect::<Vec<_>>());
    for one in &mut sorted {
        one.left = cut(&one.tuples(), &slots, context.translated, context.plan);
    }
    let all = [four, six];
    let mut incoming = Incoming {
        services: Vec::new(),
        entries: Vec::new(),
        deciding: sorted.each_ref().map(Sorted::tuples),
        inexact: BTreeSet::new(),
        one_version: None,
    };
    let state = State { sorted: &sorted, all, context, slots: &slots };
    for unit in group(&four.tuples, &six.tuples) {
        let tuples: Vec<&Tuple> = unit.all().filter_map(|(version, at)| state.tuple(version, at)).collect();
        let Some(first) = tuples.first().filter(|tuple| tuple.way == Way::In) else { continue };
        let mut made = state.made(&unit);
        for service in &mut made.services {
            service.name = names.name(service, first);
        }
        let (fate, why) = state.fate(&unit, first, &made);
        let places: Vec<String> = tuples.iter().map(|tuple| tuple.place()).collect();
        if state.left(&unit).iter().any(|(_, left)| left.is_tighter) {
            incoming.inexact.extend(places.iter().cloned());
        }
        incoming.one_version = incoming.one_version.or(made.one_version);
        incoming.entries.push(Entry { fate, rule: as_added(first), places, why });
        incoming.services.append(&mut made.services);
    }
    incoming
}

struct State<'s, 'a> {
    sorted: &'s [Sorted<'a>; 2],
    all: [&'a Rules; 2],
    context: &'s Context<'s>,
    slots: &'s [Slot],
}

impl<'a> State<'_, 'a> {
    fn sorted(&self, version: Version) -> &Sorted<'a> {
        let [four, six] = self.sorted;
        if version == Version::V4 { four } else { six }
    }

    fn rules(&self, version: Version) -> &'a Rules {
        let [four, six] = self.all;
        if version == Version::V4 { four } else { six }
    }

    fn tuple(&self, version: Version, at: usize) -> Option<&'a Tuple> {
        self.rules(version).tuples.get(at)
    }

    /// The rules of a command that have a line in the policy, with what is left of them.
    fn left(&self, unit: &Unit) -> Vec<(&'a Tuple, &Left)> {
        let left = |(version, index)| {
            let sorted = self.sorted(version);
            let (at, tuple) = sorted.at(index)?;
            Some((tuple, sorted.left.get(at)?.as_ref()?))
        };
        unit.all().filter_map(left).collect()
    }

    fn made(&self, unit: &Unit) -> Made {
        services(&self.left(unit), &Whole { slots: self.slots, plan: self.context.plan }, self.context.bridges)
    }

    /// What became of the rules of a command, and why.
    fn fate(&self, unit: &Unit, first: &Tuple, made: &Made) -> (Fate, Vec<String>) {
        let changed = unit.all().any(|(version, at)| self.rules(version).changed.contains_key(&at));
        let opens = matches!(first.action, Action::Allow | Action::Limit);
        if is_fail2bans(first) {
            let why =
                "fail2ban's, not yours: set `banaction = nftables-multiport` in jail.local, since ufw will be gone";
            return (Fate::NotTranslated, vec![why.to_owned()]);
        }
        if is_of_loopback(first) {
            return (Fate::NoEffect, vec!["this machine always reaches itself".to_owned()]);
        }
        if changed && opens {
            let why = "edited by hand: the lines below it are not those that ufw would write; left out";
            return (Fate::NotTranslated, vec![why.to_owned()]);
        }
        if first.is_inexact() {
            return self.fate_of_inexact(unit, first, made);
        }
        if self.left(unit).is_empty() {
            return self.fate_of_unwritten(unit, first);
        }
        self.fate_of_written(unit, first, made)
    }

    /// A rule with a sender's port, or with a mask that is no prefix.
    fn fate_of_inexact(&self, unit: &Unit, first: &Tuple, made: &Made) -> (Fate, Vec<String>) {
        let what = if first.sender_ports.is_empty() {
            "has a mask that is no prefix, which a policy can't say"
        } else {
            "asks for the peer's port, which anyone can choose"
        };
        let denies = matches!(first.action, Action::Deny | Action::Reject);
        if !made.services.is_empty() || denies && !self.cut_by(unit).is_empty() {
            return (Fate::Tighter, vec![format!("{what}: taken as if it named all of them")]);
        }
        if denies {
            let silent = if first.action == Action::Reject { ", in silence" } else { "" };
            return (Fate::NoEffect, vec![format!("{what}; what it denies is denied without it{silent}")]);
        }
        let mut why = vec![format!("{what}: left out")];
        if first.action == Action::Limit && !self.cut_by(unit).is_empty() {
            why.push(format!("what it limits is denied: it comes before {}", self.cut_by(unit).join(", ")));
        }
        (Fate::NotTranslated, why)
    }

    /// The later rules that lost something to those of a command.
    fn cut_by(&self, unit: &Unit) -> Vec<String> {
        let mut cut = BTreeSet::new();
        for (version, index) in unit.all() {
            let sorted = self.sorted(version);
            let Some((at, _)) = sorted.at(index) else { continue };
            for ((_, tuple), left) in sorted.rules.iter().zip(&sorted.left) {
                if left.as_ref().is_some_and(|left| left.cut_by.contains(&at)) {
                    cut.insert((tuple.version, tuple.line, tuple.place()));
                }
            }
        }
        cut.into_iter().map(|(_, _, place)| place).collect()
    }

    /// A rule that needs no line of its own.
    fn fate_of_unwritten(&self, unit: &Unit, first: &Tuple) -> (Fate, Vec<String>) {
        let mut why = Vec::new();
        let allows = first.action == Action::Allow;
        if first.log == Log::All {
            why.push("logged every packet; `log` logs new connections".to_owned());
        }
        let cut = self.cut_by(unit);
        if !cut.is_empty() && !allows {
            let allow = if cut.len() == 1 { "allows" } else { "allow" };
            why.insert(0, format!("taken out of what {} {allow}", cut.join(", ")));
            return (Fate::Exact, why);
        }
        if !allows {
            let before = self.earlier(unit, |earlier| matches!(earlier, Action::Allow | Action::Limit));
            if !before.is_empty() {
                why.insert(
                    0,
                    format!("came too late: {} before it, so all that it names get in there", decided(&before)),
                );
                why.extend(blocked(first));
                return (Fate::NoEffect, why);
            }
        }
        why.insert(0, if allows { "the default allows it" } else { "the default denies it" }.to_owned());
        (Fate::NoEffect, why)
    }

    /// Earlier rules with such an action that match something of what a command's rules match.
    fn earlier(&self, unit: &Unit, wanted: impl Fn(Action) -> bool) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (version, index) in unit.all() {
            let sorted = self.sorted(version);
            let Some((at, tuple)) = sorted.at(index) else { continue };
            for (_, other) in sorted.rules.iter().take(at) {
                if wanted(other.action) && meet(tuple, other) && share_ports(tuple, other) {
                    found.insert((other.version, other.line, other.place()));
                }
            }
        }
        found.into_iter().map(|(_, _, place)| place).collect()
    }

    /// The earlier rules that decide about some of what a command's rules match.
    fn cutters(&self, left: &[(&Tuple, &Left)]) -> Vec<String> {
        let of_one = |(tuple, left): &(&Tuple, &Left)| {
            let rules = &self.sorted(tuple.version).rules;
            let cutters = left.cut_by.iter().filter_map(|at| rules.get(*at));
            cutters.map(|(_, tuple)| (tuple.version, tuple.line, tuple.place())).collect::<Vec<_>>()
        };
        let cutters: BTreeSet<(Version, usize, String)> = left.iter().flat_map(of_one).collect();
        cutters.into_iter().map(|(_, _, place)| place).collect()
    }

    fn fate_of_written(&self, unit: &Unit, first: &Tuple, made: &Made) -> (Fate, Vec<String>) {
        let left = self.left(unit);
        let cutters = self.cutters(&left);
        let lost_ports = left.iter().any(|(_, left)| left.lost_ports);
        if made.services.is_empty() {
            let why = if lost_ports {
                return (Fate::NotTranslated, vec![TRANSLATED.to_owned()]);
            } else if made.is_essential {
                "containers may ask their engine for names and addresses anyway".to_owned()
            } else if left.iter().all(|(_, left)| left.is_nothing()) {
                format!("came too late: {} about all of it", decided(&cutters))
            } else {
                return (Fate::NotTranslated, vec!["a policy has no word for what is left of it".to_owned()]);
            };
            return (Fate::NoEffect, vec![why]);
        }
        let (mut fate, mut why) = (Fate::Exact, Vec::new());
        if !cutters.is_empty() {
            why.push(format!("without what {} before it", decided(&cutters)));
        }
        let opens = matches!(first.action, Action::Allow | Action::Limit);
        if made.lost_protocols {
            let protocols = "ICMP, SCTP and other protocols from there are";
            fate = if opens { Fate::Tighter } else { Fate::Wider };
            let now = if opens { "closed now; name them if needed: `132/proto`" } else { "open now" };
            why.push(format!("{protocols} {now}"));
        }
        if first.action == Action::Limit {
            fate = Fate::Tighter;
        }
        if lost_ports {
            fate = if opens { Fate::Tighter } else { Fate::Wider };
            why.push(TRANSLATED.to_owned());
        }
        if left.iter().any(|(_, left)| left.is_tighter) {
            fate = Fate::Tighter;
            why.push(
                "cut further than it has to be: what earlier rules leave of it falls into too many parts".to_owned(),
            );
        }
        if first.log == Log::All {
            fate = fate.max(Fate::Tighter);
            why.push("logged every packet; `log: true` logs new connections".to_owned());
        }
        if let Some(admitted) = &made.admitted {
            fate = Fate::Wider;
            why.push(crate::migrate::service::admits(admitted));
        }
        if !opens && first.protocol == crate::migrate::tuple::Protocol::Any && first.ports.is_empty() {
            fate = Fate::Tighter;
            why.push("ufw answered their pings all the same".to_owned());
        }
        (fate, why)
    }
}

/// The line that blocks whom a rule names, where that is a single public address.
fn blocked(tuple: &Tuple) -> Option<String> {
    let address: std::net::IpAddr = tuple.from.text.parse().ok()?;
    let is_public = match address {
        std::net::IpAddr::V4(address) => !address.is_private() && !address.is_link_local() && !address.is_loopback(),
        std::net::IpAddr::V6(address) => !address.is_unique_local() && !address.is_unicast_link_local(),
    };
    let words = tuple.from.spans.words(tuple.version);
    is_public.then(|| format!("to shut it out for good: `block: [{}]`", words.join(", ")))
}
