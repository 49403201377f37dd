//! The lines of policy that would let a source in.

use super::{Denied, Why, why};
use crate::compile::Denial;
use crate::policy::quote;
use crate::resolve::{Action, Resolved};
use std::fmt::Write;

/// The lines that would let in who was denied, as a comment with what they change, and YAML. Opens the port to that
/// address alone.
#[must_use]
pub fn suggestion(policy: &Resolved, denied: &Denied) -> String {
    let Why { name, words, .. } = why(policy, denied);
    let (source, port) = (denied.source, denied.port);
    let new = format!("{}-{}", port.transport.name(), port.first);
    let mut text = format!("# {source} was denied {port}: {words}\n");
    if denied.towards == Denial::Forward {
        let name = unused(&new, |name| policy.forward.contains_key(name));
        let _ = writeln!(
            text,
            "forward:\n  {name}:\n    ports: {port}\n    from: {}\n    to: any  # write the address that is asked for",
            written(denied)
        );
        return text;
    }
    let named = name.as_ref().and_then(|name| Some((name, policy.services.get(name)?)));
    match named {
        Some((name, service)) if service.action == Action::Allow && !service.from.any && service.limit.is_none() => {
            let _ = writeln!(text, "# add it to `from` of the service {}, beside who is there:", quote(name));
            let _ = writeln!(text, "services:\n  {name}:\n    from: [..., {}]", written(denied));
            let groups = service
                .from
                .groups
                .keys()
                .filter(|group| policy.groups.get(*group).is_some_and(|group| !group.temporary.is_empty()));
            for group in groups {
                let _ = writeln!(
                    text,
                    "# or for a time, without a change of the policy:\n#   palisade allow {source} --group {group}"
                );
            }
        }
        Some((name, service)) if service.action != Action::Allow => {
            let _ = writeln!(
                text,
                "# the service {} denies on purpose: except the address\nservices:\n  {name}:\n    except: {}",
                quote(name),
                written(denied)
            );
        }
        Some((name, service)) if service.limit.is_some() => {
            let _ =
                writeln!(text, "# it is let in, but came too often: raise `limit` of the service {}", quote(name));
        }
        _ => {
            let name = unused(&new, |name| policy.services.contains_key(name));
            let _ = writeln!(text, "services:\n  {name}:\n    ports: {port}\n    from: {}", written(denied));
        }
    }
    text
}

/// The address as it is written in YAML.
fn written(denied: &Denied) -> String {
    if denied.source.is_ipv6() { format!("\"{}\"", denied.source) } else { denied.source.to_string() }
}

/// The name, with a number if it is taken.
fn unused(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}
