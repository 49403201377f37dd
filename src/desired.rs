//! From a policy's path to its table: read, parse, gather facts, resolve, compile, and prove the expectations.

mod lists;

use crate::access::unmet;
use crate::compile::compile;
use crate::facts::gather;
use crate::files::{MAX_POLICY, read_trusted};
use crate::policy::{Diagnostic, Problems, Source, Sources, decode, parse};
use crate::process::progress::doing;
use crate::resolve::{Resolved, resolve};
use crate::ruleset::{Table, TableId};
use crate::state::{Lists, State};
use std::path::Path;
use std::sync::Arc;

/// The policy's path unless the user names another.
pub const DEFAULT_PATH: &str = "/etc/palisade/policy.yaml";

/// A policy, its table, and the expectations that the table does not meet.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Resolved,
    /// Its table.
    pub table: Table,
    /// One problem for each unmet expectation; `None` if all are met.
    pub unmet: Option<Problems>,
    /// What the policy probably does not mean.
    pub warnings: Problems,
    /// The addresses of the files that it names.
    pub lists: Lists,
}

/// A policy and its table, before the expectations are proved.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Resolved,
    /// Its table.
    pub table: Table,
    /// What the policy probably does not mean.
    pub warnings: Problems,
    /// The addresses of the files that it names.
    pub lists: Lists,
    /// The files that can't be used, in place of which the addresses that were last applied are: why, in words.
    pub instead: Vec<String>,
}

impl Compiled {
    /// Proves the policy's expectations: one problem for each unmet one, `None` if all are met.
    #[must_use]
    pub fn unmet(&self) -> Option<Problems> {
        let _doing = doing("proving what the policy expects");
        let unmet = unmet(&TableId::palisade(), &self.table, &self.policy.expectations);
        (!unmet.is_empty()).then(|| Problems::new(unmet, self.warnings.sources.clone()))
    }
}

/// Loads a policy, compiles it, and proves its expectations.
///
/// # Errors
/// As [`load`].
pub fn load_and_prove(path: &Path) -> Result<Loaded, Problems> {
    let compiled = compile_policy(path)?;
    let unmet = compiled.unmet();
    let Compiled { policy, table, warnings, lists, .. } = compiled;
    Ok(Loaded { policy, table, unmet, warnings, lists })
}

/// Loads a policy and compiles it.
///
/// # Errors
/// As [`load`].
pub fn compile_policy(path: &Path) -> Result<Compiled, Problems> {
    read(path, None).map(compiled)
}

/// Loads a policy and compiles it. In place of a file of addresses that can't be used, or that is empty, it takes those
/// that were last applied: at boot, today's policy with a list of yesterday is better than an older ruleset.
///
/// # Errors
/// As [`load`].
pub fn compile_at_boot(path: &Path, state: &State) -> Result<Compiled, Problems> {
    read(path, Some(state)).map(compiled)
}

fn compiled(Read { policy, sources, lists, instead }: Read) -> Compiled {
    let table = compile(&policy);
    let warnings = Problems::new(policy.warnings.clone(), sources);
    Compiled { policy, table, warnings, lists, instead }
}

/// Loads a policy.
///
/// # Errors
/// All problems of the policy and of the files that it names, at once.
pub fn load(path: &Path) -> Result<Resolved, Problems> {
    read(path, None).map(|read| read.policy)
}

/// A policy that was read.
struct Read {
    policy: Resolved,
    sources: Sources,
    lists: Lists,
    instead: Vec<String>,
}

/// Reads a policy; with a state, takes what was last applied in place of files that can't be used.
fn read(path: &Path, state: Option<&State>) -> Result<Read, Problems> {
    let name = path.display().to_string();
    let source = |text: &str| Source { name: name.clone(), text: Arc::from(text) };
    let bytes = read_trusted(path, MAX_POLICY).map_err(|refusal| {
        // On a machine without a policy the default folder is missing, too.
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
    let mut facts = gather(&policy, path.parent().unwrap_or(Path::new("")));
    let instead = state.map(|state| lists::take_what_was_applied(&policy, &mut facts, state)).unwrap_or_default();
    // Resolve the parts that parsed even if others did not, so that all problems are reported at once.
    match (resolve(&policy, &facts), parsed.problems) {
        (Ok(policy), problems) if problems.is_empty() => {
            let sources = facts.sources(source(text));
            Ok(Read { policy, sources, lists: lists::of(facts), instead })
        }
        (resolved, mut problems) => {
            // What is warned of may come of a part that could not be read.
            problems.extend(resolved.err().unwrap_or_default());
            Err(Problems::new(problems, facts.sources(source(text))))
        }
    }
}

/// The problem of a missing policy; for the default path it says how to begin.
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
