//! What `add`, `remove` and `group` share: they edit the policy's file where it stands.

use super::prompt::agreed;
use super::{Desired, Report, names_as_known, reader};
use crate::access::{access_changes, lines};
use crate::desired::compile_bytes;
use crate::error::Error;
use crate::files::{MAX_POLICY, Replacement};
use crate::policy::edit::{Edit, edited};
use crate::policy::{Problems, Source, Sources, decode};
use crate::printable::{self, printable};
use crate::process::privileges::{Confinement, Needs};
use crate::state::State;
use serde_json::json;
use similar::TextDiff;
use std::path::Path;
use std::sync::Arc;

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
