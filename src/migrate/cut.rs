//! The order of ufw's rules, written out: each rule loses what an earlier one decides.
//!
//! In ufw the first rule that matches wins. In a policy order means nothing: a denial beats an allowance, and allowances
//! add up. So a rule is cut by the earlier ones, for each IP version and each run of ports by itself: in the sources
//! (`except`), the interfaces (`except`, too) and the own addresses (`to`).

use super::spans::Spans;
use super::tuple::{Action, PORTLESS, Protocol, Tuple};
use crate::net::{IfPattern, Version};
use std::collections::{BTreeMap, BTreeSet};

/// How many parts a rule may fall into for one run of ports. Above that it is cut further than it has to be.
const MOST_PIECES: usize = 16;

/// A protocol, and of TCP and UDP a run of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Tcp(u16, u16),
    Udp(u16, u16),
    Sctp(u16, u16),
    /// Echo requests.
    Ping,
    /// A protocol that has a word, or that a rule names.
    Other(u8),
    /// All other protocols.
    Rest,
}

/// A port that is redirected before ufw's rules see it: they see the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Redirect {
    pub(super) is_tcp: bool,
    pub(super) asked: u16,
    pub(super) seen: u16,
}

/// A part of what a rule matches, of one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) from: Spans,
    pub(super) except: Spans,
    pub(super) except_interfaces: BTreeSet<IfPattern>,
    pub(super) on: Option<IfPattern>,
    pub(super) to: Spans,
}

/// What is left of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The pieces, and the runs of ports that have these.
    pub(super) by_pieces: BTreeMap<Vec<Piece>, Vec<Slot>>,
    /// The earlier rules that decide about some of it, by index.
    pub(super) cut_by: BTreeSet<usize>,
    /// Whether it lost more than those decide about.
    pub(super) is_tighter: bool,
    /// Whether it lost ports of which nobody knows who answers.
    pub(super) lost_ports: bool,
}

impl Left {
    /// Whether nothing is left.
    pub(super) fn is_nothing(&self) -> bool {
        self.by_pieces.keys().all(Vec::is_empty)
    }
}

/// Which rules a policy has to have, and which earlier ones cut them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What happens to what no rule matches.
    pub(super) default: Action,
    /// What happens to echo requests that no rule matches, where rules speak of them.
    pub(super) ping: Option<Action>,
}

impl Plan {
    /// What happens to what no rule matches.
    fn default_of(self, slot: Slot) -> Action {
        self.ping.filter(|_| slot == Slot::Ping).unwrap_or(self.default)
    }

    /// Whether a policy has a line for the rule. One that speaks of more than a policy can say is left out where it opens,
    /// and is taken further where it closes.
    pub(super) fn writes(self, tuple: &Tuple, slot: Slot) -> bool {
        let default = self.default_of(slot);
        let has_a_line = match tuple.action {
            Action::Allow => default != Action::Allow,
            Action::Deny => default == Action::Allow,
            // Under `reject` the default refuses.
            Action::Reject => default != Action::Reject,
            Action::Limit => true,
        };
        has_a_line && (!tuple.is_inexact() || default == Action::Allow)
    }

    /// Whether an earlier rule takes from a later one what both match. A denial that is not written out in full counts as
    /// if it were of every sender's port, an allowance as if of none.
    fn cuts(self, earlier: &Tuple, later: Action, slot: Slot) -> bool {
        let denies = matches!(earlier.action, Action::Deny | Action::Reject);
        if denies && self.writes(earlier, slot) {
            // The policy's denial beats whatever allows the same.
            return false;
        }
        match (earlier.action, later) {
            (Action::Allow, Action::Allow) | (Action::Deny | Action::Reject, Action::Deny) => false,
            // Of two services, the one without a limit comes first.
            (Action::Allow, Action::Limit) => self.default_of(slot) == Action::Allow && !earlier.is_inexact(),
            (Action::Allow | Action::Limit, Action::Deny | Action::Reject) => !earlier.is_inexact(),
            (Action::Deny | Action::Reject, _) | (Action::Limit, Action::Allow | Action::Limit) => true,
        }
    }
}

/// What earlier rules of one run of ports match.
#[derive(Default)]
struct Earlier {
    /// Sources of rules for every interface and address, not yet joined.
    plain: Vec<(u128, u128)>,
    joined: Option<Spans>,
    /// The other rules.
    placed: Vec<Piece>,
}

impl Earlier {
    fn add(&mut self, tuple: &Tuple) {
        if tuple.incoming.is_none() && tuple.is_any_destination() {
            self.plain.extend(tuple.from.spans.as_slice().iter().copied());
            self.joined = None;
        } else {
            self.placed.push(whole(tuple));
        }
    }

    /// What is left of a rule behind these.
    fn leave(&mut self, tuple: &Tuple, is_tighter: &mut bool) -> Vec<Piece> {
        let plain = self.joined.get_or_insert_with(|| Spans::from(std::mem::take(&mut self.plain)));
        self.plain = plain.as_slice().to_vec();
        let everywhere = Piece {
            from: plain.clone(),
            except: Spans::default(),
            except_interfaces: BTreeSet::new(),
            on: None,
            to: Spans::all(tuple.version),
        };
        let mut pieces = vec![uncut(tuple)];
        for cutter in std::iter::once(&everywhere).chain(&self.placed) {
            let parts: Vec<Piece> =
                pieces.iter().flat_map(|piece| piece.minus(cutter, tuple.action == Action::Limit)).collect();
            if parts.len() <= MOST_PIECES {
                pieces = parts;
                continue;
            }
            *is_tighter = true;
            if tuple.action == Action::Allow || tuple.action == Action::Limit {
                // Of each the first part alone.
                pieces = pieces.iter().filter_map(|piece| piece.minus(cutter, true).into_iter().next()).collect();
            }
        }
        without_parts_of_others(pieces.into_iter().map(|piece| piece.in_few_words(tuple.version)).collect())
    }
}

impl Piece {
    /// The same, with those named who are left of all, where all but some are excepted.
    fn in_few_words(self, version: Version) -> Self {
        if self.from.is_all(version) && self.except.contains(0) && self.except.contains(version.last_address()) {
            return Self { from: self.from.minus(&self.except), except: Spans::default(), ..self };
        }
        self
    }

    fn on_meets(&self, cutter: Option<&IfPattern>) -> bool {
        let Some(cutter) = cutter else { return true };
        !self.except_interfaces.iter().any(|one| one.covers_all_of(cutter))
            && self.on.as_ref().is_none_or(|on| on.meets(cutter))
    }

    /// What is left without what the other one matches, too; in parts that have nothing in common, if asked for.
    fn minus(&self, cutter: &Self, disjoint: bool) -> Vec<Self> {
        let both = self.from.and(&cutter.from);
        if both.minus(&self.except).is_empty() || !self.on_meets(cutter.on.as_ref()) || !self.to.meets(&cutter.to) {
            return vec![self.clone()];
        }
        let mut parts = Vec::new();
        let except = self.except.or(&both);
        if !self.from.minus(&except).is_empty() {
            parts.push(Self { except, ..self.clone() });
        }
        let from = if disjoint { both } else { self.from.clone() };
        let mut here = self.on.clone();
        let narrower =
            cutter.on.as_ref().filter(|cutter| !self.on.as_ref().is_some_and(|on| cutter.covers_all_of(on)));
        if let Some(cutter) = narrower {
            let mut except_interfaces = self.except_interfaces.clone();
            except_interfaces.insert(cutter.clone());
            parts.push(Self { from: from.clone(), except_interfaces, ..self.clone() });
            here = Some(cutter.clone());
        }
        if !cutter.to.covers(&self.to) {
            let on = if disjoint { here } else { self.on.clone() };
            parts.push(Self { from, on, to: self.to.minus(&cutter.to), ..self.clone() });
        }
        parts
    }

    fn is_within(&self, other: &Self) -> bool {
        let own = self.from.minus(&self.except);
        own.minus(&other.from).is_empty()
            && !own.meets(&other.except)
            && other.except_interfaces.is_subset(&self.except_interfaces)
            && other.to.covers(&self.to)
            && match (&self.on, &other.on) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(own), Some(other)) => other.covers_all_of(own),
            }
    }
}

fn without_parts_of_others(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut kept: Vec<Piece> = Vec::new();
    for piece in pieces {
        if !kept.iter().any(|other| piece.is_within(other)) {
            kept.retain(|other| !other.is_within(&piece));
            kept.push(piece);
        }
    }
    kept
}

/// What happens to ports before ufw's rules see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Translated {
    /// The redirects, of each version.
    pub(super) redirects: [Vec<Redirect>; 2],
    /// Ports that are translated in a way that is not understood: whether of TCP, and the port.
    pub(super) refused: BTreeSet<(bool, u16)>,
}

impl Translated {
    /// The redirects of one version.
    pub(super) fn of(&self, version: Version) -> &[Redirect] {
        let [four, six] = &self.redirects;
        if version == Version::V4 { four } else { six }
    }

    /// Runs of ports and protocols that none of the rules and redirects tells apart.
    pub(super) fn slots(&self, tuples: &[&Tuple]) -> Vec<Slot> {
        let refused = self.refused.iter().map(|&(is_tcp, port)| Redirect { is_tcp, asked: port, seen: port });
        let all: Vec<Redirect> = self.redirects.iter().flatten().copied().chain(refused).collect();
        slots(tuples, &all)
    }

    fn refuses(&self, slot: Slot) -> bool {
        match slot {
            Slot::Tcp(first, last) => first == last && self.refused.contains(&(true, first)),
            Slot::Udp(first, last) => first == last && self.refused.contains(&(false, first)),
            Slot::Sctp(..) | Slot::Ping | Slot::Other(_) | Slot::Rest => false,
        }
    }

    /// Whether a port is translated, over any version.
    pub(super) fn is_of(&self, slot: Slot) -> bool {
        self.refuses(slot) || self.redirects.iter().any(|all| slot.seen(all) != slot)
    }
}

/// Cuts the rules of one version and one chain. `None` of those for which a policy has no line.
///
/// `slots` are the runs of ports that no rule of either version tells apart.
pub(super) fn cut(tuples: &[&Tuple], slots: &[Slot], translated: &Translated, plan: Plan) -> Vec<Option<Left>> {
    let redirects = tuples.first().map(|first| translated.of(first.version)).unwrap_or_default();
    let has_a_line =
        |tuple: &Tuple| slots.iter().any(|slot| slot.seen(redirects).is_of(tuple) && plan.writes(tuple, *slot));
    let mut all: Vec<Option<Left>> = tuples.iter().map(|tuple| has_a_line(tuple).then(Left::default)).collect();
    for &slot in slots {
        let seen = slot.seen(redirects);
        // By the action of the rules that they cut.
        let mut earlier: BTreeMap<Action, Earlier> = BTreeMap::new();
        for (at, (tuple, left)) in tuples.iter().zip(&mut all).enumerate() {
            if !seen.is_of(tuple) {
                continue;
            }
            let mut left = left.as_mut().filter(|_| plan.writes(tuple, slot));
            if let Some(left) = left.as_mut().filter(|_| translated.refuses(slot)) {
                left.lost_ports = true;
            } else if let Some(left) = left.as_mut() {
                let pieces = earlier.entry(tuple.action).or_default().leave(tuple, &mut left.is_tighter);
                if pieces != [uncut(tuple)] {
                    let before = tuples.iter().take(at).enumerate();
                    let cutters = before.filter(|(_, other)| {
                        seen.is_of(other) && plan.cuts(other, tuple.action, slot) && meet(tuple, other)
                    });
                    left.cut_by.extend(cutters.map(|(at, _)| at));
                }
                left.by_pieces.entry(pieces).or_default().push(slot);
            }
            // What a list says last of some senders decides nothing where it has let them in.
            let is_last = tuple.protocol == Protocol::Any && tuple.ports.is_empty() && tuple.sender_ports.is_empty();
            let lets_in = |other: &&&Tuple| {
                other.action == Action::Allow && !other.is_inexact() && seen.is_of(other) && holds(other, tuple)
            };
            if is_last && tuples.iter().take(at).any(|other| lets_in(&other)) {
                continue;
            }
            for later in [Action::Allow, Action::Deny, Action::Reject, Action::Limit] {
                if plan.cuts(tuple, later, slot) {
                    earlier.entry(later).or_default().add(tuple);
                }
            }
        }
    }
    all
}

/// Whether a rule is about all senders and addresses that another is about.
fn holds(one: &Tuple, other: &Tuple) -> bool {
    let interface = match (&one.incoming, &other.incoming) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => one.covers_all_of(other),
    };
    interface && one.from.spans.covers(&other.from.spans) && one.to.spans.covers(&other.to.spans)
}

/// All that a rule matches.
fn whole(tuple: &Tuple) -> Piece {
    Piece {
        from: tuple.from.spans.clone(),
        except: Spans::default(),
        except_interfaces: BTreeSet::new(),
        on: tuple.incoming.clone(),
        to: tuple.to.spans.clone(),
    }
}

/// All that a rule matches, to be cut. Where it names all senders but some, these are exceptions.
fn uncut(tuple: &Tuple) -> Piece {
    let (spans, all) = (&tuple.from.spans, Spans::all(tuple.version));
    let piece = whole(tuple);
    if spans.contains(0) && spans.contains(tuple.version.last_address()) {
        return Piece { except: all.minus(spans), from: all, ..piece };
    }
    piece
}

/// Whether two rules of one version match something in common, whatever the ports.
pub(super) fn meet(one: &Tuple, other: &Tuple) -> bool {
    let both = |a: &Option<IfPattern>, b: &Option<IfPattern>| match (a, b) {
        (Some(a), Some(b)) => a.meets(b),
        _ => true,
    };
    one.from.spans.meets(&other.from.spans)
        && one.to.spans.meets(&other.to.spans)
        && both(&one.incoming, &other.incoming)
        && both(&one.outgoing, &other.outgoing)
}

/// Whether the ports or protocols of two rules have something in common.
pub(super) fn share_ports(one: &Tuple, other: &Tuple) -> bool {
    slots(&[one, other], &[]).into_iter().any(|slot| slot.is_of(one) && slot.is_of(other))
}

impl Slot {
    /// Whether a rule is about it.
    pub(super) fn is_of(self, tuple: &Tuple) -> bool {
        let has = |first: u16, last: u16| {
            tuple.ports.is_empty() || tuple.ports.iter().any(|(low, high)| *low <= first && last <= *high)
        };
        match (self, tuple.protocol) {
            (Self::Tcp(first, last), Protocol::Any | Protocol::Tcp)
            | (Self::Udp(first, last), Protocol::Any | Protocol::Udp)
            | (Self::Sctp(first, last), Protocol::Any | Protocol::Sctp) => has(first, last),
            (Self::Ping, Protocol::Ping) => true,
            (Self::Other(number), Protocol::Other(other, _)) => number == other,
            (Self::Ping | Self::Other(_) | Self::Rest, Protocol::Any) => {
                tuple.ports.is_empty() && tuple.sender_ports.is_empty()
            }
            _ => false,
        }
    }

    /// As rules see it, behind the redirects.
    fn seen(self, redirects: &[Redirect]) -> Self {
        let to = |is_tcp, port| {
            redirects.iter().find(|one| one.is_tcp == is_tcp && one.asked == port).map(|one| (one.seen, one.seen))
        };
        match self {
            Self::Tcp(first, last) if first == last => to(true, first).map_or(self, |(a, b)| Self::Tcp(a, b)),
            Self::Udp(first, last) if first == last => to(false, first).map_or(self, |(a, b)| Self::Udp(a, b)),
            other => other,
        }
    }
}

/// Runs of ports and protocols that none of the rules tells apart.
pub(super) fn slots(tuples: &[&Tuple], redirects: &[Redirect]) -> Vec<Slot> {
    let of_redirects = |is_tcp: bool| -> Vec<u16> {
        let of_this = redirects.iter().filter(move |one| one.is_tcp == is_tcp);
        of_this.flat_map(|one| [one.asked, one.seen]).collect()
    };
    let has_sctp = tuples.iter().any(|tuple| tuple.protocol == Protocol::Sctp);
    let mut all = runs(tuples, Protocol::Tcp, &of_redirects(true), Slot::Tcp);
    all.extend(runs(tuples, Protocol::Udp, &of_redirects(false), Slot::Udp));
    if has_sctp {
        all.extend(runs(tuples, Protocol::Sctp, &[], Slot::Sctp));
    }
    let named = tuples.iter().filter_map(|tuple| match tuple.protocol {
        Protocol::Other(number, _) => Some(number),
        Protocol::Any | Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Ping => None,
    });
    let mut protocols: BTreeSet<u8> = named.collect();
    protocols.extend(PORTLESS.map(|(_, number)| number));
    if tuples.iter().any(|tuple| tuple.protocol == Protocol::Ping) {
        all.push(Slot::Ping);
    }
    all.extend(protocols.into_iter().map(Slot::Other));
    all.push(Slot::Rest);
    all
}

/// The runs of one protocol's ports.
fn runs(tuples: &[&Tuple], protocol: Protocol, also: &[u16], slot: fn(u16, u16) -> Slot) -> Vec<Slot> {
    let mut cuts = BTreeSet::from([1_u32, 65_536]);
    let named = tuples.iter().filter(|tuple| tuple.protocol == Protocol::Any || tuple.protocol == protocol);
    for (first, last) in named.flat_map(|tuple| &tuple.ports) {
        cuts.extend([u32::from(*first), u32::from(*last) + 1]);
    }
    cuts.extend(also.iter().flat_map(|at| [u32::from(*at), u32::from(*at) + 1]));
    let pairs = cuts.iter().zip(cuts.iter().skip(1));
    let ends = |(first, next): (&u32, &u32)| {
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(next.saturating_sub(1)).ok()?);
        Some(slot(first, last))
    };
    pairs.filter_map(ends).collect()
}

/// A rule of a list of one version: the version's index, and the rule's.
pub(super) type At = (usize, usize);

/// The rules that lose something to one of these. `left` is what is left of the rules of each version.
pub(super) fn losers(left: &[Vec<Option<Left>>], to: &BTreeSet<At>) -> BTreeSet<At> {
    let of_version = |(version, left): (usize, &Vec<Option<Left>>)| {
        let loses = |left: &Left| left.cut_by.iter().any(|at| to.contains(&(version, *at)));
        let lost = left.iter().enumerate().filter(|(_, left)| left.as_ref().is_some_and(loses));
        lost.map(|(at, _)| (version, at)).collect::<Vec<_>>()
    };
    left.iter().enumerate().flat_map(of_version).collect()
}

/// The rules to which one of these loses something.
pub(super) fn cutters(left: &[Vec<Option<Left>>], of: &BTreeSet<At>) -> BTreeSet<At> {
    let of_one = |(version, at): &At| {
        let left = left.get(*version).and_then(|all| all.get(*at)).and_then(Option::as_ref);
        left.into_iter().flat_map(|left| &left.cut_by).map(|cutter| (*version, *cutter)).collect::<Vec<_>>()
    };
    of.iter().flat_map(of_one).collect()
}
