//! Peers: groups, files, and the lists that name them.

use super::peers_elsewhere::{all_groups, meant_by, other_kind, written_elsewhere};
use super::places::{self, Kinds, Place, Role, Setting};
use super::{Group, Line, Peers, Temporary, lists, values};
use crate::facts::Facts;
use crate::net::{AddressRange, Addresses, IfPattern};
use crate::policy::{
    AddressList, Diagnostic, Fault, Given, List, Peer, Policy, Severity, Span, Text, address_range, host_name,
    is_host_name, is_name, nearest, quote,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The networks of `private`: RFC 1918 and the unique-local addresses of RFC 4193.
pub const PRIVATE: [AddressRange; 4] = [
    AddressRange::V4(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 255, 255, 255)),
    AddressRange::V4(Ipv4Addr::new(172, 16, 0, 0), Ipv4Addr::new(172, 31, 255, 255)),
    AddressRange::V4(Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(192, 168, 255, 255)),
    AddressRange::V6(
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        Ipv6Addr::new(0xfdff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff),
    ),
];

/// How many addresses, networks, ranges and interfaces all lists may have together. A group counts once per use.
const MAX_MEMBERS: usize = 8 << 20;

/// For how many unknown names a similar known name is searched.
const MAX_GUESSES: usize = 100;

/// The groups that every policy has without defining them.
const BUILT_IN: [&str; 2] = ["private", "containers"];

/// The meaning of one list's items. Names of groups are not resolved.
#[derive(Default)]
struct Members<'a> {
    any: bool,
    groups: Vec<Text>,
    ranges: Vec<AddressRange>,
    files: Vec<NamedFile<'a>>,
    interfaces: BTreeSet<IfPattern>,
    users: BTreeSet<u32>,
    names: BTreeSet<String>,
    host: bool,
    temporary: Option<Temporary>,
}

/// A file as a list names it.
#[derive(Clone, Copy)]
struct NamedFile<'a> {
    path: &'a Text,
    odd: &'a Given<Text>,
    list: &'a AddressList,
}

impl NamedFile<'_> {
    fn guessed(&self) -> Vec<Diagnostic> {
        lists::guessed(self.path, self.odd, self.list)
    }
}

/// Resolves peers, and remembers which groups were named.
pub(super) struct Resolver<'a> {
    facts: &'a Facts,
    /// The members of the built-in group `containers`.
    containers: BTreeSet<IfPattern>,
    /// The groups of the policy. Includes those with illegal names, so that using one is not reported as another
    /// mistake.
    groups: BTreeMap<&'a str, (Span, Members<'a>)>,
    /// The files whose lines have been reported, and whether lines that can't be read are left out.
    files: BTreeSet<(&'a str, bool)>,
    /// The groups that admit sources, or except them.
    admitting: BTreeSet<String>,
    used: BTreeSet<String>,
    /// How many more members the lists may have; `None` once they have exceeded the bound.
    room: Option<usize>,
    unknown: usize,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        facts: &'a Facts,
        containers: &BTreeSet<IfPattern>,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut resolver = Self {
            facts,
            containers: containers.clone(),
            groups: BTreeMap::new(),
            files: BTreeSet::new(),
            admitting: BTreeSet::new(),
            used: BTreeSet::new(),
            room: Some(MAX_MEMBERS),
            unknown: 0,
        };
        for group in &policy.groups {
            if let Err(fault) = values::group_name(&group.name.value) {
                problems.push(fault.at(group.name.span));
            }
            resolver.groups.insert(&group.name.value, (group.name.span, Members::default()));
        }
        for group in &policy.groups {
            let members = resolver.members(&group.peers, Role::Group, problems);
            resolver.groups.insert(&group.name.value, (group.name.span, members));
        }
        resolver.find_cycles(problems);
        resolver
    }

    /// Resolves `from`, `except` or `block`.
    pub(super) fn peers(
        &mut self,
        given: &'a Given<List<Peer>>,
        role: Role,
        problems: &mut Vec<Diagnostic>,
    ) -> Peers {
        let members = self.members(given, role, problems);
        self.used.extend(members.groups.iter().map(|name| name.value.clone()));
        if role != Role::Block {
            self.admitting.extend(members.groups.iter().map(|name| name.value.clone()));
            problems.extend(members.files.iter().flat_map(NamedFile::guessed));
        }
        let mut groups = BTreeMap::new();
        for name in &members.groups {
            groups.entry(name.value.clone()).or_insert(name.span.line);
        }
        let files = members.files.iter().map(|file| &file.list.addresses).collect();
        let addresses = self.union(given.here().map(|list| list.span), members.ranges, files, 0, problems);
        Peers {
            line: given.here().and_then(|list| list.items.first()).map(|peer| peer.text().span.line),
            any: members.any,
            groups,
            addresses,
            interfaces: members.interfaces,
            users: members.users,
            names: members.names,
            host: members.host,
        }
    }

    /// Whether the policy has a group of that name.
    fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// The built-in group `containers`.
    pub(super) const fn containers(&self) -> &BTreeSet<IfPattern> {
        &self.containers
    }

    /// The kinds of members that a peer stands for.
    fn kinds_of(&self, peer: &Peer, role: Role) -> Kinds {
        let mut kinds = Kinds::default();
        match peer {
            Peer::Word(text) => match text.value.as_str() {
                "any" => {}
                "host" if role.has_host() || !self.has_group("host") => kinds.host = true,
                word if BUILT_IN.contains(&word) || self.has_group(word) => return self.kinds(word),
                _ => kinds.addresses = true,
            },
            Peer::Interface(text) => kinds.interfaces.extend(values::interface(&text.value).ok()),
            Peer::File { .. } => kinds.addresses = true,
            Peer::User(_) => kinds.users = true,
            Peer::Dns(_) => (kinds.addresses, kinds.names) = (true, true),
            Peer::Temporary(_) => {}
        }
        kinds
    }

    /// Reports each group that takes addresses for a time, in a list that denies.
    pub(super) fn nobody_for_a_time(&self, given: &Given<List<Peer>>, problems: &mut Vec<Diagnostic>) {
        let items = given.here().map_or(&[][..], |list| &list.items);
        let for_a_time = items.iter().filter(|peer| self.kinds_of(peer, Role::From).temporary);
        problems.extend(for_a_time.map(|peer| {
            let Text { value, span } = peer.text();
            places::for_a_time(value).at(*span)
        }));
    }

    /// The kinds of members that a group has, nested groups included.
    pub(super) fn kinds(&self, name: &str) -> Kinds {
        let mut kinds = Kinds::default();
        let mut waiting = vec![name];
        let mut seen: BTreeSet<&str> = BTreeSet::from([name]);
        while let Some(name) = waiting.pop() {
            match (self.groups.get(name), name) {
                (Some((_, members)), _) => {
                    kinds.names |= !members.names.is_empty();
                    kinds.addresses |= kinds.names || !members.ranges.is_empty() || !members.files.is_empty();
                    kinds.interfaces.extend(members.interfaces.iter().cloned());
                    kinds.users |= !members.users.is_empty();
                    kinds.temporary |= members.temporary.is_some();
                    let nested = members.groups.iter().map(|name| name.value.as_str());
                    waiting.extend(nested.filter(|name| seen.insert(name)));
                }
                (None, "containers") => kinds.containers = true,
                (None, _) => kinds.addresses = true,
            }
        }
        kinds
    }

    /// Resolves `from` of an expectation. As no rule is made of it, groups are expanded. Returns whether it is `any`,
    /// and the peers.
    pub(super) fn sources(&mut self, given: &'a Given<List<Peer>>, problems: &mut Vec<Diagnostic>) -> (bool, Group) {
        let members = self.members(given, Role::ExpectedHere, problems);
        let span = given.here().map(|list| list.span);
        let names = || members.groups.iter().map(|name| name.value.as_str());
        let mut group = self.flatten(names(), None, span, problems);
        let files = members.files.iter().map(|file| &file.list.addresses).collect();
        let own = self.union(span, members.ranges, files, 0, problems);
        group.addresses = Addresses::union(&[&group.addresses, &own]);
        group.interfaces.extend(members.interfaces);
        group.users.extend(members.users);
        group.names.extend(members.names);
        (members.any, group)
    }

    /// Like [`sources`](Self::sources), of a place. Returns also whether `host` is named.
    pub(super) fn meant(
        &mut self,
        given: &'a Given<List<Peer>>,
        place: Place,
        problems: &mut Vec<Diagnostic>,
    ) -> (bool, bool, Group) {
        let peers = self.peers(given, Role::At(place), problems);
        let names: Vec<&str> = peers.groups.keys().map(String::as_str).collect();
        let mut group = self.flatten(names, None, given.here().map(|list| list.span), problems);
        group.addresses = Addresses::union(&[&group.addresses, &peers.addresses]);
        group.interfaces.extend(peers.interfaces);
        group.users.extend(peers.users);
        group.names.extend(peers.names);
        (peers.any, peers.host, group)
    }

    /// The groups that were named, each with all its members.
    pub(super) fn used_groups(&mut self, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, Group> {
        self.nothing_is_guessed(problems);
        let mut groups = BTreeMap::new();
        for name in std::mem::take(&mut self.used) {
            let span = self.groups.get(name.as_str()).map(|(span, _)| *span);
            let group = self.flatten([name.as_str()], span.map(|span| span.line), span, problems);
            groups.insert(name, group);
        }
        groups
    }

    /// The members of all these groups together, nested groups included.
    fn flatten<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        line: Option<Line>,
        span: Option<Span>,
        problems: &mut Vec<Diagnostic>,
    ) -> Group {
        let mut group = Group { line, ..Group::default() };
        let (mut files, mut typed) = (Vec::new(), Vec::new());
        let mut waiting: Vec<&str> = names.into_iter().collect();
        let mut seen: BTreeSet<&str> = waiting.iter().copied().collect();
        while let Some(name) = waiting.pop() {
            let Some((_, members)) = self.groups.get(name) else {
                match name {
                    "private" => typed.extend(PRIVATE),
                    "containers" => group.interfaces.extend(self.containers.iter().cloned()),
                    _ => {}
                }
                continue;
            };
            typed.extend(members.ranges.iter().copied());
            files.extend(members.files.iter().map(|file| &file.list.addresses));
            group.interfaces.extend(members.interfaces.iter().cloned());
            group.users.extend(members.users.iter().copied());
            group.names.extend(members.names.iter().cloned());
            group.temporary.extend(members.temporary.map(|temporary| (name.to_owned(), temporary)));
            waiting.extend(members.groups.iter().map(|name| name.value.as_str()).filter(|name| seen.insert(name)));
        }
        let beside = seen.len() + group.interfaces.len();
        group.addresses = self.union(span, typed, files, beside, problems);
        group
    }

    /// The union of typed ranges and files, if these and the `beside` other members fit in the remaining room.
    /// Otherwise returns an empty one, and reports a problem once, at the list that exceeds the bound.
    fn union(
        &mut self,
        span: Option<Span>,
        typed: Vec<AddressRange>,
        files: Vec<&Addresses>,
        beside: usize,
        problems: &mut Vec<Diagnostic>,
    ) -> Addresses {
        let Some(room) = self.room else { return Addresses::default() };
        let count = files.iter().map(|file| file.v4.as_slice().len() + file.v6.as_slice().len()).sum::<usize>();
        self.room = room.checked_sub(count + typed.len() + beside);
        if self.room.is_none() {
            let message = format!("with this all lists together have more than {MAX_MEMBERS} members");
            let problem = span.map_or_else(|| Diagnostic::general(&*message), |span| Diagnostic::at(span, &*message));
            problems
                .push(problem.help("a group's members count wherever it is used: use long lists in fewer places"));
            return Addresses::default();
        }
        let typed: Addresses = typed.into_iter().collect();
        let mut parts = files;
        parts.extend(Some(&typed).filter(|typed| !typed.is_empty()));
        Addresses::union(&parts)
    }

    fn members(&mut self, given: &'a Given<List<Peer>>, role: Role, problems: &mut Vec<Diagnostic>) -> Members<'a> {
        let mut members = Members::default();
        let host_is_a_group = self.has_group("host");
        for peer in given.here().map_or(&[][..], |list| &list.items) {
            let outcome = match peer {
                Peer::Word(text) => self.word(text, role, &mut members),
                Peer::Interface(text) => values::interface(&text.value).map(|interface| {
                    members.interfaces.insert(interface);
                }),
                Peer::File { path, odd } => {
                    members.files.extend(self.file(path, odd, problems));
                    Ok(())
                }
                Peer::User(name) => places::user(name, self.facts).map(|number| {
                    members.users.insert(number);
                }),
                Peer::Dns(name) => host_name(&name.value).map(|name| self.name(name, &mut members)),
                Peer::Temporary(text) => for_a_time(text, role, &mut members),
            };
            // Only a peer that can be read is checked for whether it may stand here.
            let setting = Setting { bridges: &self.containers, host_is_a_group };
            let text = peer.text().value.as_str();
            let outcome = outcome.and_then(|()| places::check(&setting, text, &self.kinds_of(peer, role), role));
            if let Err(fault) = outcome {
                problems.push(fault.at(peer.text().span));
            }
        }
        members
    }

    fn name(&self, name: String, members: &mut Members<'a>) {
        let addresses = self.facts.names.addresses(&name);
        members.ranges.extend(addresses.map(AddressRange::from));
        members.names.insert(name);
    }

    /// Reports host names, and groups with some, in a list of a rule that denies.
    pub(super) fn no_names(&self, given: &Given<List<Peer>>, problems: &mut Vec<Diagnostic>) {
        for peer in given.here().map_or(&[][..], |list| &list.items) {
            if self.kinds_of(peer, Role::Group).names {
                problems.push(places::opens_nothing().at(peer.text().span));
            }
        }
    }

    fn word(&mut self, text: &Text, role: Role, members: &mut Members<'a>) -> Result<(), Fault> {
        let word = text.value.as_str();
        match word {
            "any" => match role {
                Role::From | Role::ExpectedHere => members.any = true,
                Role::At(place) => members.any = place.any()?,
                Role::Group => {
                    return Err(Fault::new("`any` can't be part of a group")
                        .help("write `from: any` in the service, or the networks that are meant"));
                }
                Role::Except => {
                    return Err(Fault::new("`except: any` would shut everyone out")
                        .help("write who is not to reach the service, or remove the service"));
                }
                Role::Block => {
                    return Err(Fault::new("`block: any` would shut everyone out, you included")
                        .help("write who is to be dropped; what no service allows is denied anyway"));
                }
            },
            "host" if role.has_host() || !self.has_group("host") => members.host = true,
            _ if BUILT_IN.contains(&word) || self.groups.contains_key(word) => members.groups.push(text.clone()),
            _ if is_name(word) => return Err(self.unknown_group(word, role)),
            "*" => return Err(Fault::new("`*` is not a peer").help("did you mean `any`?")),
            _ if is_host_name(word) => return Err(places::a_host_name(word, role)),
            _ => match written_elsewhere(word, |name| self.groups.contains_key(name)) {
                Some(fault) => return Err(fault),
                None => members.ranges.push(address_range(word)?),
            },
        }
        Ok(())
    }

    fn unknown_group(&mut self, word: &str, role: Role) -> Fault {
        self.unknown += 1;
        let known = self.groups.keys().copied().chain(["any"]).chain(BUILT_IN);
        let known = known.take(if self.unknown > MAX_GUESSES { 0 } else { usize::MAX });
        let help = meant_by(word)
            .or_else(|| nearest(word, known).map(|meant| format!("did you mean {}?", quote(meant))))
            .or_else(|| other_kind(word, role, self.groups.is_empty()))
            .unwrap_or_else(|| all_groups(self.groups.keys().copied()));
        Fault::new(format!("there is no group {}", quote(word))).help(help)
    }

    /// The content of an address file; `None` if it can't be used. Reports each of its problems only once.
    fn file(
        &mut self,
        path: &'a Text,
        odd: &'a Given<Text>,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<NamedFile<'a>> {
        let said = lists::judge(path, odd, self.facts);
        let is_broken = said.iter().any(|said| said.severity == Severity::Error);
        let is_first = self.files.insert((&path.value, odd.here().is_some_and(|odd| odd.value == "skip")));
        let of_the_peer = |said: &Diagnostic| said.span.is_none_or(|span| span.source == 0);
        problems.extend(said.into_iter().filter(|said| is_first || of_the_peer(said)));
        let list = self.facts.files.get(&path.value)?.list.as_ref().ok().filter(|_| !is_broken)?;
        Some(NamedFile { path, odd, list })
    }

    /// Requires that the files in groups that admit or except sources are read exactly, with nothing guessed or left
    /// out.
    fn nothing_is_guessed(&self, problems: &mut Vec<Diagnostic>) {
        let mut waiting: Vec<&str> = self.admitting.iter().map(String::as_str).collect();
        let mut seen: BTreeSet<&str> = waiting.iter().copied().collect();
        while let Some(name) = waiting.pop() {
            let Some((_, members)) = self.groups.get(name) else { continue };
            problems.extend(members.files.iter().flat_map(NamedFile::guessed));
            waiting.extend(members.groups.iter().map(|name| name.value.as_str()).filter(|name| seen.insert(name)));
        }
    }

    /// Reports each cycle of groups that contain each other once. Not recursive: a policy can nest ten thousand deep.
    fn find_cycles(&self, problems: &mut Vec<Diagnostic>) {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for &root in self.groups.keys() {
            let mut path: Vec<(&str, std::slice::Iter<'_, Text>)> = Vec::new();
            let mut on_path: BTreeSet<&str> = BTreeSet::new();
            let mut next = Some(root);
            loop {
                if let Some(name) = next.take()
                    && let Some((_, members)) = self.groups.get(name)
                    && done.insert(name)
                {
                    on_path.insert(name);
                    path.push((name, members.groups.iter()));
                }
                let Some((name, items)) = path.last_mut() else { break };
                let Some(item) = items.next() else {
                    on_path.remove(*name);
                    path.pop();
                    continue;
                };
                if on_path.contains(item.value.as_str()) {
                    problems.push(cycle(path.iter().map(|(name, _)| *name), item));
                } else {
                    next = Some(&item.value);
                }
            }
        }
    }
}

/// Notes that a group takes addresses for a time.
fn for_a_time(text: &Text, role: Role, members: &mut Members<'_>) -> Result<(), Fault> {
    if role != Role::Group {
        return Err(places::not_for_a_time());
    }
    let most = values::time(&text.value)?;
    if members.temporary.is_some() {
        return Err(Fault::new("the group says `temporary` twice").help("remove one of the two"));
    }
    members.temporary = Some(Temporary { line: text.span.line, most });
    Ok(())
}

/// The problem of an item that closes a cycle.
fn cycle<'a>(path: impl Iterator<Item = &'a str>, item: &Text) -> Diagnostic {
    let mut ring: Vec<String> = path.skip_while(|name| *name != item.value).map(quote).collect();
    ring.push(quote(&item.value));
    if ring.len() > 10 {
        ring.splice(5..ring.len() - 4, ["…".to_owned()]);
    }
    Diagnostic::at(item.span, format!("the group {} contains itself: {}", quote(&item.value), ring.join(" → ")))
        .help("remove one of these steps")
}
