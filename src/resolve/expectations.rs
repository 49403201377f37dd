//! What `expect` requires to be true.

use super::own;
use super::peers::Resolver;
use super::places::Place;
use super::{Elsewhere, Expectation, Group, not_empty, ports};
use crate::facts::Facts;
use crate::policy::{self, Diagnostic, Given, List, Peer, Policy};
use std::sync::Arc;

/// Makes one expectation per item of `allow` or `deny`, so that each has its own place.
pub(super) fn resolve<'a>(
    policy: &'a Policy,
    facts: &Facts,
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Expectation> {
    let mut all = Vec::new();
    for typed in &policy.expectations {
        let elsewhere = typed.to != Given::Absent;
        let (any, host, group) = if elsewhere {
            resolver.meant(&typed.from, Place::ExpectedFrom, problems)
        } else {
            let (any, group) = resolver.sources(&typed.from, problems);
            (any, false, group)
        };
        let is_unknown = !(any || host) && is_nobody_yet(&group);
        let addresses = Arc::new(group.addresses);
        sources_are_named(&typed.from, typed, problems);
        let on = typed.on.here().map(|list| own::interfaces(list, "on", problems)).unwrap_or_default();
        not_empty(&typed.on, "on", problems);
        not_empty(&typed.to, "to", problems);
        let mut is_nowhere = false;
        let elsewhere = elsewhere.then(|| {
            let (any, _, to) = resolver.meant(&typed.to, Place::ExpectedTo, problems);
            is_nowhere = !any && is_nobody_yet(&to);
            let (addresses, interfaces) = (to.addresses, to.interfaces);
            Arc::new(Elsewhere { host, users: group.users.clone(), any, addresses, interfaces })
        });
        let Some((allow, key, list)) = verdict(typed, problems) else { continue };
        if list.empty {
            let message = format!("the list `{key}` of the expectation is empty");
            problems.push(Diagnostic::at(list.span, message).help(format!("write which, such as `{key}: 22/tcp`")));
        }
        if is_unknown || is_nowhere {
            let message = "nobody is known yet whom this expectation means: nothing is proved";
            let note = Diagnostic::at(list.span, message).help("`palisade refresh --now` looks the names up");
            problems.push(note.as_note());
            continue;
        }
        for item in &list.items {
            let asked = ports::asked(std::slice::from_ref(item), facts, problems);
            all.push(Expectation {
                span: item.span,
                allow,
                ports: asked.ports,
                protocols: asked.protocols,
                ping: asked.ping,
                all: asked.all,
                any,
                addresses: Arc::clone(&addresses),
                interfaces: group.interfaces.clone(),
                on: on.clone(),
                elsewhere: elsewhere.clone(),
            });
        }
    }
    all
}

/// Whether a group has host names, and nothing else that anything is known of.
fn is_nobody_yet(group: &Group) -> bool {
    !group.names.is_empty() && group.addresses.is_empty() && group.interfaces.is_empty() && group.users.is_empty()
}

/// Whether the ports have to be open (`true`) or shut, the name of the key, and the ports.
fn verdict<'a>(
    typed: &'a policy::Expectation,
    problems: &mut Vec<Diagnostic>,
) -> Option<(bool, &'static str, &'a List<policy::Text>)> {
    match (&typed.allow, &typed.deny) {
        (Given::Here(list), Given::Absent) => return Some((true, "allow", list)),
        (Given::Absent, Given::Here(list)) => return Some((false, "deny", list)),
        (Given::Absent, Given::Absent) => problems.push(
            Diagnostic::at(typed.span, "the expectation says neither `allow` nor `deny`")
                .help("write which ports have to be open or shut, such as `{ deny: 9000/tcp, from: any }`"),
        ),
        (Given::Here(_), Given::Here(_)) => problems.push(
            Diagnostic::at(typed.span, "the expectation says both `allow` and `deny`")
                .help("write two expectations, one for each"),
        ),
        _ => {}
    }
    None
}

fn sources_are_named(from: &Given<List<Peer>>, typed: &policy::Expectation, problems: &mut Vec<Diagnostic>) {
    let help = "write which sources it is about; `from: any` is everyone, and is proved for each of them";
    match from {
        Given::Absent => problems.push(Diagnostic::at(typed.span, "the expectation does not say `from`").help(help)),
        Given::Here(list) if list.empty => {
            problems.push(Diagnostic::at(list.span, "the list `from` of the expectation is empty").help(help));
        }
        Given::Here(_) | Given::Unreadable => {}
    }
}
