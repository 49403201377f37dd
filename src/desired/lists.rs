//! The files of addresses of a policy, and what is taken at boot in place of one that can't be used.

use crate::facts::{Facts, ListFile};
use crate::policy::{AddressList, Policy, quote};
use crate::resolve::{broken, resolve};
use crate::state::{Lists, State};
use std::path::PathBuf;

/// The addresses of the files, by absolute path.
pub(super) fn of(facts: Facts) -> Lists {
    let read = facts.files.into_values().filter_map(|file| {
        let path = absolute(&file);
        Some((path, file.list.ok()?.addresses))
    });
    read.collect()
}

/// Puts the addresses that were last applied in the place of files that can't be used, or that are empty. Returns
/// what it did, in words.
pub(super) fn take_what_was_applied(policy: &Policy, facts: &mut Facts, state: &State) -> Vec<String> {
    let broken = broken(policy, facts);
    let is_broken = |path: &str, list: &AddressList| {
        if broken.contains(path) { Some("can't be used") } else { is_emptied(list).then_some("is empty") }
    };
    let mut done = replace(facts, state, is_broken);
    if resolve(policy, facts).is_err() {
        // Where a file says who gets in, nothing in it may be guessed.
        let is_guessed = |_: &str, list: &AddressList| {
            (list.masked.count + list.columns.count > 0).then_some("can't be used where it says who gets in")
        };
        done.extend(replace(facts, state, is_guessed));
    }
    done
}

fn is_emptied(list: &AddressList) -> bool {
    list.addresses.is_empty() && list.odd.count == 0
}

/// Replaces the files for which there is a reason. One that can't be read at all counts as an empty list.
fn replace(
    facts: &mut Facts,
    state: &State,
    reason: impl Fn(&str, &AddressList) -> Option<&'static str>,
) -> Vec<String> {
    let mut done = Vec::new();
    for (name, file) in &mut facts.files {
        let nothing = AddressList::default();
        let Some(why) = reason(name, file.list.as_ref().unwrap_or(&nothing)) else { continue };
        let kept = state.list_as_applied(&absolute(file));
        let kept = kept.unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        });
        let Some(addresses) = kept.filter(|kept| !kept.is_empty()) else { continue };
        let why = match &file.list {
            Err(refusal) => refusal.message.clone(),
            Ok(_) => format!("the file {} {why}", quote(&file.path.display().to_string())),
        };
        done.push(format!("{why}: in its place are the addresses of the last `palisade apply`"));
        file.list = Ok(AddressList { addresses, ..AddressList::default() });
    }
    done
}

/// The absolute path of a file.
pub(super) fn absolute(file: &ListFile) -> PathBuf {
    std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone())
}
