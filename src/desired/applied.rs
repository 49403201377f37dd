//! The policy as it was applied: what is kept of it, and how it is read again.

use super::tree::{Tree, tree};
use super::{Compiled, Read, compiled, lists, resolved};
use crate::facts::{Facts, ListFile, ProtocolNames, ServiceNames, gather, protocol_names, service_names};
use crate::files::Refusal;
use crate::policy::{AddressList, Diagnostic, Policy, Problems, Sources};
use crate::state::{Applied, State};
use std::path::Path;

/// What is kept of a policy, without the digests of its files.
pub(super) fn of(path: &Path, Tree { policy, sources, included, .. }: &Tree, facts: &Facts) -> Applied {
    let services = facts.services.as_ref().map(|known| known.lines_of(service_names(policy)));
    let protocols = facts.protocols.as_ref().map(|known| known.lines_of(protocol_names(policy)));
    let users = policy.users().filter_map(|name| facts.users.get_key_value(&name.value));
    Applied {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        text: sources.first().map(|source| source.text.to_string()).unwrap_or_default(),
        included: included.clone(),
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

/// A policy as it was written when it was applied, with all that it included. `None` if this version of palisade can't
/// read it.
#[must_use]
pub fn policy_as_applied(applied: &Applied) -> Option<Policy> {
    tree_of(applied).ok().map(|tree| tree.policy)
}

fn tree_of(applied: &Applied) -> Result<Tree, Problems> {
    let kept = |file: &str| {
        let text = applied.included.get(file).map(|text| text.clone().into_bytes());
        text.ok_or_else(|| Refusal::new(format!("{file} was not kept when the policy was applied")))
    };
    tree(applied.text.as_bytes(), &applied.path, &kept)?.whole()
}

fn read(applied: &Applied, state: &State) -> Result<Read, Problems> {
    let tree = tree_of(applied)?;
    let names = match state.names() {
        Err(error) if !tree.policy.host_names().is_empty() => {
            return Err(Problems::new(vec![Diagnostic::general(error.to_string())], Sources(tree.sources)));
        }
        names => names.unwrap_or_default(),
    };
    let mut facts = gather(&tree.policy, applied.path.parent().unwrap_or(Path::new("")), &names);
    facts.services = Ok(ServiceNames::parse(&applied.services));
    facts.protocols = Ok(ProtocolNames::parse(&applied.protocols));
    facts.users.clone_from(&applied.users);
    for file in facts.files.values_mut() {
        take_as_applied(file, applied, state);
    }
    resolved(applied.clone(), tree, facts, Vec::new())
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
