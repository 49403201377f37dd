//! The lines of policy that would let a source in, and the command that does as much.

use super::admits::{group_with, words};
use super::why::written;
use super::{Reason, Refused, Wanted, Why, why};
use crate::compile::Denial;
use crate::net::AddressRange;
use crate::policy::quote;
use crate::resolve::{Peers, Resolved, Service};
use std::fmt::Write;

/// How many peers of a list are written out.
const MOST: usize = 16;

/// The lines that would let in who is denied, as YAML, and commands that do the same, in comments. Both can be copied as they
/// stand, and open the port to that address alone, unless a comment says more.
#[must_use]
pub fn suggestion(policy: &Resolved, refused: &Refused) -> String {
    let why = why(policy, refused);
    let service = why.name.as_ref().and_then(|name| policy.services.get(name));
    let service = service.filter(|_| refused.towards == Denial::Incoming);
    match (why.reason, service) {
        (Reason::Blocked, _) => out_of_block(policy, refused),
        (Reason::LetsIn, _) => "# the policy lets it in as it is now:\n#   palisade apply\n".to_owned(),
        (Reason::Denies, _) => with_exception(policy, refused, &why),
        (Reason::Limit, Some(service)) => with_higher_limit(&why, service),
        (Reason::NotInFrom, Some(service)) if service.forward_to.is_some() => in_its_list(refused, &why, service),
        (Reason::Elsewhere | Reason::Except, Some(service)) if service.forward_to.is_some() => {
            let name = quote(why.name.as_deref().unwrap_or_default());
            format!("# {}: change the service {name} in an editor\n#   palisade edit\n", why.words)
        }
        (Reason::Default | Reason::NotInFrom | Reason::Except | Reason::Elsewhere | Reason::Limit, _) => {
            added(policy, refused, &why)
        }
    }
}

/// A new service or rule beside those that do not let it in.
fn added(policy: &Resolved, refused: &Refused, why: &Why) -> String {
    let (source, what) = (refused.source, refused.what);
    let from = yaml(source.into());
    let mut text = match (refused.towards, refused.to) {
        (Denial::Incoming, _) => {
            let name = unused(&new_name(what), |name| policy.services.contains_key(name));
            format!(
                "services:\n  {name}:\n    ports: {what}\n    from: {from}\n\
                 # the same by a command:\n#   palisade add {what} --from {source} --name {name}\n"
            )
        }
        (Denial::Forward, Some(to)) => {
            let name = unused(&new_name(what), |name| policy.forward.contains_key(name));
            format!("forward:\n  {name}:\n    ports: {what}\n    from: {from}\n    to: {}\n", yaml(to.into()))
        }
        (Denial::Forward, None) => format!(
            "# which address behind this machine it asked for is not remembered: name it\n\
             #   palisade suggest {source} {what} --to ADDR\n"
        ),
    };
    if why.reason == Reason::NotInFrom {
        text.push_str(&by_a_group(policy, refused, why));
    }
    text
}

/// The groups that the service or the rule admits, and what else is open to them.
fn by_a_group(policy: &Resolved, refused: &Refused, why: &Why) -> String {
    let mut text = String::new();
    let Some(rule) = why.name.as_deref().and_then(|name| written(policy, refused.towards, name)) else { return text };
    for name in rule.from.groups.keys() {
        let Some(group) = policy.groups.get(name).filter(|group| group.line.is_some()) else { continue };
        if !group.temporary.is_empty() {
            let _ = writeln!(
                text,
                "# or for a time, without a change of the policy:\n#   palisade allow {} --group {name}",
                refused.source
            );
            continue;
        }
        let services = policy.services.iter().filter(|(_, one)| one.from.groups.contains_key(name));
        let rules = policy.forward.iter().filter(|(_, one)| one.from.groups.contains_key(name));
        let opened: Vec<&str> =
            services.map(|(name, _)| name.as_str()).chain(rules.map(|(name, _)| name.as_str())).collect();
        let _ = writeln!(
            text,
            "# or into the group {name}, which opens {}:\n#   palisade group add {name} {}",
            opened.join(", "),
            refused.source
        );
    }
    text
}

/// The service's own list with the address in it: a second service can't be forwarded elsewhere.
fn in_its_list(refused: &Refused, why: &Why, service: &Service) -> String {
    list_with(refused, why, "from", &service.from, "services", "# its whole `from` with the address in it:\n")
}

/// The exception of a service or a rule that denies.
fn with_exception(policy: &Resolved, refused: &Refused, why: &Why) -> String {
    let section = match refused.towards {
        Denial::Incoming => "services",
        Denial::Forward => "forward",
    };
    let Some(rule) = why.name.as_deref().and_then(|name| written(policy, refused.towards, name)) else {
        return String::new();
    };
    let head = format!("# the {} {} denies on purpose; this excepts the address:\n", rule.kind, quote(rule.name));
    list_with(refused, why, "except", rule.except, section, &head)
}

fn list_with(refused: &Refused, why: &Why, key: &str, peers: &Peers, section: &str, head: &str) -> String {
    let name = why.name.as_deref().unwrap_or_default();
    match written_out(peers) {
        Some(mut all) => {
            all.push(yaml(refused.source.into()));
            let list = if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) };
            format!("{head}{section}:\n  {name}:\n    {key}: {list}\n")
        }
        None => format!(
            "# add {} to `{key}` of {}, whose list is too long to be repeated here:\n#   palisade edit\n",
            refused.source,
            quote(name)
        ),
    }
}

/// The peers as YAML; `None` if there are many, or host names, whose addresses are not told apart here.
fn written_out(peers: &Peers) -> Option<Vec<String>> {
    if !peers.names.is_empty() || !peers.users.is_empty() || peers.addresses.ranges().nth(MOST).is_some() {
        return None;
    }
    let interfaces = peers.interfaces.iter().map(|one| format!("{{ interface: {one} }}"));
    let groups = peers.groups.keys().cloned();
    Some(groups.chain(interfaces).chain(peers.addresses.ranges().map(yaml)).collect())
}

fn with_higher_limit(why: &Why, service: &Service) -> String {
    let name = why.name.as_deref().unwrap_or_default();
    let Some(rate) = service.limit else { return String::new() };
    let (count, unit) = (rate.count, rate.unit.name());
    format!(
        "# it is let in, but came more often than {count}/{unit}; this lets everyone come twice as often:\n\
         services:\n  {name}:\n    limit: {}/{unit}\n",
        count.saturating_mul(2)
    )
}

fn out_of_block(policy: &Resolved, refused: &Refused) -> String {
    let source = refused.source;
    let Some(name) = group_with(policy, &policy.block, source) else {
        return format!("# take {source}, or what it is in, out of `block`:\n#   palisade edit\n");
    };
    let group = policy.groups.get(name);
    let alone = group.is_some_and(|group| group.addresses.ranges().any(|range| range == source.into()));
    let is_all = group.is_some_and(|group| group.addresses.ranges().nth(1).is_none());
    if alone && is_all {
        return format!(
            "# `block` has it by the group {name}, which has nobody else: take the group out of `block`\n#   palisade edit\n"
        );
    }
    if alone {
        return format!(
            "# `block` has it by the group {name}:\n#   palisade group remove {name} {source}\n\
             # if the group has it from a file or another group, take it out there\n"
        );
    }
    let all = group.into_iter().flat_map(|group| group.addresses.ranges());
    let within = all.filter(|range| std::iter::once(*range).collect::<crate::net::Addresses>().contains(source));
    let within = within.map(words).collect::<Vec<_>>().join(", ");
    format!("# `block` has {within} by the group {name}: change the group in an editor\n#   palisade edit\n")
}

/// A name for a service or a rule: `tcp-9000`, `proto-50`, `ping`.
fn new_name(what: Wanted) -> String {
    match what {
        Wanted::Port(transport, port) => format!("{}-{port}", transport.name()),
        Wanted::Protocol(number) => format!("proto-{number}"),
        Wanted::Ping => "ping".to_owned(),
    }
}

/// An address, a network or a range, as it is written in YAML.
fn yaml(range: AddressRange) -> String {
    let words = words(range);
    if words.contains(':') { format!("\"{words}\"") } else { words }
}

/// The name, with a number if it is taken.
fn unused(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}
