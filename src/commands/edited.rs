//! What `add`, `remove` and `group` share: they edit the policy's file where it stands.

use super::prompt::agreed;
use super::{Desired, Report, names_as_known, reader};
use crate::access::{access_changes, lines};
use crate::desired::{as_written, compile_bytes};
use crate::error::Error;
use crate::files::{MAX_POLICY, Replacement};
use crate::policy::edit::{Edit, edited};
use crate::policy::{Diagnostic, Policy, Problems, Source, Sources, decode, quote};
use crate::printable::{self, printable};
use crate::process::privileges::{Confinement, Needs};
use crate::state::State;
use serde_json::json;
use similar::TextDiff;
use std::path::Path;
use std::sync::Arc;

/// The problem of an edit of what stands in an included file.
fn stands_elsewhere(edit: &Edit<'_>, policy: &Policy) -> Option<Diagnostic> {
    let (kind, name, defined) = match *edit {
        Edit::AddService { name, .. } | Edit::RemoveService { name } => {
            ("service", name, policy.services.iter().map(|service| &service.name).find(|of| of.value == name))
        }
        Edit::AddPeer { group, .. } | Edit::RemovePeer { group, .. } => {
            ("group", group, policy.groups.iter().map(|group| &group.name).find(|of| of.value == group))
        }
    };
    let at = defined?.span;
    let file = policy.included.get(at.source.checked_sub(1)?)?;
    let message = format!("the {kind} {} stands in {}, line {}", quote(name), quote(file), at.line);
    Some(Diagnostic::at(at, message).help("change it there, in an editor: commands edit the policy itself"))
}

/// Makes an edit: shows what differs in the file and who gains and loses access by it, asks unless `yes`, and writes.
pub(super) fn change(path: &Path, state: &State, edit: &Edit<'_>, yes: bool) -> Result<Report, Error> {
    let name = path.display().to_string();
    let sources = |text: &str| Sources(vec![Source { name: name.clone(), text: Arc::from(text) }]);
    let replacement = Replacement::of(path, MAX_POLICY)
        .map_err(|refusal| Error::Policy(Problems::new(vec![refusal.into()], sources(""))))?;
    let folder = replacement.folder().to_owned();
    let confined = Confinement::begin(Needs { writes: vec![&folder], ..reader(state) });
    let names = names_as_known(state);
    let before = Desired::from(compile_bytes(replacement.old(), path, &names).map_err(Error::Policy)?);
    let problem = |problem, text: &str| Error::Policy(Problems::new(vec![problem], sources(text)));
    let old = decode(replacement.old(), &name).map_err(|found| problem(*found, ""))?;
    let (written, texts) = as_written(replacement.old(), path).map_err(Error::Policy)?;
    if let Some(problem) = stands_elsewhere(edit, &written) {
        return Err(Error::Policy(Problems::new(vec![problem], texts)));
    }
    let new = edited(old, edit).map_err(|found| problem(*found, old))?;
    let after = compile_bytes(new.as_bytes(), path, &names).and_then(Desired::as_expected);
    let (after, _) = after.map_err(|problems| Error::Unexpected {
        what: "palisade refuses the policy as it would be then".to_owned(),
        problems,
    })?;
    confined.keep_nothing();

    let access = access_changes(&after.id, Some(&before.table), Some(&after.table));
    let diff = TextDiff::from_lines(old, &new).unified_diff().context_radius(2).header(&name, &name).to_string();
    let mut shown = printable::lines(&diff).into_owned();
    for line in lines(&access) {
        shown.push_str(&format!("{}\n", printable(&after.policy.names.beside_addresses(&line))));
    }
    if access.is_empty() {
        shown.push_str("nobody gains or loses access\n");
    }
    if !yes {
        agreed(&format!("{shown}Write this to {}? [y/N] ", printable(&name)), "not written")?;
        shown.clear();
    }
    // A byte order mark stays.
    let mark = replacement.old().len() - old.len();
    let bytes = [replacement.old().get(..mark).unwrap_or_default(), new.as_bytes()].concat();
    replacement.finish(&bytes).map_err(|source| Error::Io { what: format!("can't write {name}"), source })?;
    let text = format!("{shown}{} is written; `palisade apply` loads it\n", printable(&name));
    Ok(Report::ok(text, json!({ "changed": true, "file": name, "diff": diff, "access": access })))
}
