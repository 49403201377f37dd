//! From a policy's path to what it means: read, parse, gather facts, resolve.

use crate::facts::{MAX_POLICY, gather, read_trusted};
use crate::policy::{Diagnostic, Problems, Source, Sources, decode, parse};
use crate::resolve::{Resolved, resolve};
use std::path::Path;
use std::sync::Arc;

/// Where the policy is unless the user says otherwise.
pub const DEFAULT_PATH: &str = "/etc/palisade/policy.yaml";

/// Loads a policy.
///
/// # Errors
/// All problems of the policy and of the files that it names, at once.
pub fn load(path: &Path) -> Result<Resolved, Problems> {
    let name = path.display().to_string();
    let source = |text: &str| Source { name: name.clone(), text: Arc::from(text) };
    let bytes = read_trusted(path, MAX_POLICY).map_err(|refusal| {
        // On a machine without a policy the folder is missing too.
        let none_yet = refusal.missing || path == Path::new(DEFAULT_PATH) && !path.exists();
        let problem = if none_yet { missing(path) } else { refusal.into() };
        Problems::new(vec![problem], Sources(vec![source("")]))
    })?;
    let file = path.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
    let text = match decode(&bytes, &file) {
        Ok(text) => text,
        Err(problem) => {
            let lossy = String::from_utf8_lossy(&bytes);
            let lossy = crate::policy::without_byte_order_mark(&lossy);
            return Err(Problems::new(vec![*problem], Sources(vec![source(lossy)])));
        }
    };
    let parsed = parse(text, &file);
    let Some(policy) = parsed.policy else {
        return Err(Problems::new(parsed.problems, Sources(vec![source(text)])));
    };
    let facts = gather(&policy, path.parent().unwrap_or(Path::new("")));
    // What could be read is resolved although something else could not, so that everything is reported at once.
    match (resolve(&policy, &facts), parsed.problems) {
        (Ok(resolved), problems) if problems.is_empty() => Ok(resolved),
        (resolved, mut problems) => {
            problems.extend(resolved.err().unwrap_or_default());
            Err(Problems::new(problems, facts.sources(source(text))))
        }
    }
}

/// The problem of a policy that is not there; for the one that is expected, with how to begin.
#[must_use]
pub fn missing(path: &Path) -> Diagnostic {
    let problem = Diagnostic::general(format!("{} does not exist", path.display()));
    if path != Path::new(DEFAULT_PATH) {
        return problem;
    }
    problem.help(
        "write one that lets you in, `version: 1` and below it `services: { ssh: { ports: 22/tcp, from: any } }`, or name \
         another with --policy",
    )
}
