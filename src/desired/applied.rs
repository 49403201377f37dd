//! The policy as it was applied: what is kept of it, and how it is read again.

use super::{Compiled, Read, compiled, lists, resolved};
use crate::facts::{Facts, ListFile, ProtocolNames, ServiceNames, gather, protocol_names, service_names};
use crate::policy::{AddressList, Diagnostic, Policy, Problems, Source, Sources, parse};
use crate::state::{Applied, State};
use std::path::Path;
use std::sync::Arc;

/// What is kept of a policy, without the digests of its files.
pub(super) fn of(path: &Path, text: &str, policy: &Policy, facts: &Facts) -> Applied {
    let services = facts.services.as_ref().map(|known| known.lines_of(service_names(policy)));
    let protocols = facts.protocols.as_ref().map(|known| known.lines_of(protocol_names(policy)));
    let users = policy.users().filter_map(|name| facts.users.get_key_value(&name.value));
    Applied {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        text: text.to_owned(),
        services: services.unwrap_or_default(),
        protocols: protocols.unwrap_or_default(),
        users: users.map(|(name, number)| (name.clone(), *number)).collect(),
        ..Applied::default()
    }
}

/// Compiles a policy as it was applied: its text, its names of services and users, and the addresses of its files are
/// those of then. Only what has to be looked up anew, such as the kernel's release, is of now.
///
/// A file whose addresses are not kept any more is taken as it was last applied, else as it is.
///
/// # Errors
/// The policy is not valid for this version of palisade, or its files can't be used.
pub fn compile_as_applied(applied: &Applied, state: &State) -> Result<Compiled, Problems> {
    read(applied, state).map(compiled)
}

fn read(applied: &Applied, state: &State) -> Result<Read, Problems> {
    let name = applied.path.display().to_string();
    let file = applied.path.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
    let source = Source { name, text: Arc::from(applied.text.as_str()) };
    let parsed = parse(&applied.text, &file);
    let Some(policy) = parsed.policy else {
        return Err(Problems::new(parsed.problems, Sources(vec![source])));
    };
    let names = match state.names() {
        Err(error) if !policy.host_names().is_empty() => {
            return Err(Problems::new(vec![Diagnostic::general(error.to_string())], Sources(vec![source])));
        }
        names => names.unwrap_or_default(),
    };
    let mut facts = gather(&policy, applied.path.parent().unwrap_or(Path::new("")), &names);
    facts.services = Ok(ServiceNames::parse(&applied.services));
    facts.protocols = Ok(ProtocolNames::parse(&applied.protocols));
    facts.users.clone_from(&applied.users);
    for file in facts.files.values_mut() {
        take_as_applied(file, applied, state);
    }
    resolved(applied.clone(), &policy, parsed.problems, facts, source, Vec::new())
}

/// Puts the addresses of then in the place of a file's.
fn take_as_applied(file: &mut ListFile, applied: &Applied, state: &State) {
    let path = lists::absolute(file);
    let kept = state
        .list_of(applied, &path)
        .and_then(|kept| kept.map_or_else(|| state.list_as_applied(&path), |kept| Ok(Some(kept))));
    match kept {
        Ok(Some(addresses)) => file.list = Ok(AddressList { addresses, ..AddressList::default() }),
        Ok(None) => {}
        Err(error) => tracing::warn!("{error}"),
    }
}
