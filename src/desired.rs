//! From a policy's path to its table: read, parse, gather facts, resolve, compile, and prove the expectations.

mod applied;
mod lists;
mod tree;

pub use applied::{compile_as_applied, policy_as_applied};

use crate::access::unmet;
use crate::compile::compile;
use crate::facts::{Facts, gather, names_of};
use crate::files::{MAX_POLICY, Refusal, read_trusted, read_trusted_below};
use crate::names::{Names, Span};
use crate::policy::{Diagnostic, Policy, Problems, Source, Sources};
use crate::process::progress::doing;
use crate::resolve::{Resolved, resolve};
use crate::ruleset::{Table, TableId};
use crate::state::{Applied, Lists, State};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use tree::{ReadFile, Tree, tree};

/// The policy's path unless the user names another.
pub const DEFAULT_PATH: &str = "/etc/palisade/policy.yaml";

/// The argument that stands for standard input, in the place of a policy's path.
pub const STDIN: &str = "-";
/// The name of a policy that is read from standard input: in problems, and in the comments of its rules.
const STDIN_NAME: &str = "<stdin>";

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
    /// What is kept of it when it is applied, without the digests of its files.
    pub applied: Applied,
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
    /// What is kept of it when it is applied, without the digests of its files.
    pub applied: Applied,
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

impl From<Compiled> for Loaded {
    /// Proves the policy's expectations.
    fn from(compiled: Compiled) -> Self {
        let unmet = compiled.unmet();
        let Compiled { policy, table, warnings, lists, applied, .. } = compiled;
        Self { policy, table, unmet, warnings, lists, applied }
    }
}

/// Loads a policy, compiles it, and proves its expectations.
///
/// # Errors
/// As [`load`].
pub fn load_and_prove(path: &Path, names: &Names) -> Result<Loaded, Problems> {
    compile_policy(path, names).map(Loaded::from)
}

/// Loads a policy and compiles it.
///
/// # Errors
/// As [`load`].
pub fn compile_policy(path: &Path, names: &Names) -> Result<Compiled, Problems> {
    read(path, names, None).map(compiled)
}

/// Loads a policy that an argument names, and compiles it: [`STDIN`] is standard input, whose files of addresses are
/// relative to the current folder.
///
/// # Errors
/// As [`load`].
pub fn compile_named(path: &Path, names: &Names) -> Result<Compiled, Problems> {
    if path != Path::new(STDIN) {
        return compile_policy(path, names);
    }
    let problem = |text: String| Problems::new(vec![Diagnostic::general(text)], Sources::default());
    let mut bytes = Vec::new();
    let input = std::io::stdin().lock().take(MAX_POLICY.saturating_add(1)).read_to_end(&mut bytes);
    input.map_err(|error| problem(format!("standard input can't be read: {error}")))?;
    if bytes.len() as u64 > MAX_POLICY {
        return Err(problem(format!("standard input has more than {} MiB", MAX_POLICY >> 20)));
    }
    let refused = |_: &str| {
        Err(Refusal::new("a policy on standard input has no folder whose files it could include".to_owned())
            .help("name its file in the place of `-`"))
    };
    read_bytes(&bytes, Path::new(STDIN_NAME), &refused, names, None).map(compiled)
}

/// Compiles the bytes of a policy. `path` is its name, and the base of the files that it names and includes.
///
/// # Errors
/// As [`load`].
pub fn compile_bytes(bytes: &[u8], path: &Path, names: &Names) -> Result<Compiled, Problems> {
    read_bytes(bytes, path, &beside(path), names, None).map(compiled)
}

/// Loads a policy and compiles it. In place of a file of addresses that can't be used, or that is empty, it takes those
/// that were last applied: at boot, today's policy with a list of yesterday is better than an older ruleset.
///
/// # Errors
/// As [`load`].
pub fn compile_at_boot(path: &Path, state: &State) -> Result<Compiled, Problems> {
    let kept = state.names();
    let read = read(path, kept.as_ref().unwrap_or(&Names::default()), Some(state))?;
    match kept {
        // An older ruleset has addresses of the names.
        Err(error) if read.policy.names.iter().next().is_some() => {
            Err(Problems::new(vec![Diagnostic::general(error.to_string())], read.sources))
        }
        _ => Ok(compiled(read)),
    }
}

fn compiled(Read { policy, sources, lists, instead, applied }: Read) -> Compiled {
    let table = compile(&policy);
    let warnings = Problems::new(policy.warnings.clone(), sources);
    Compiled { policy, table, warnings, lists, instead, applied }
}

/// Compiles the bytes of a policy that names and includes no file, by facts that are known already: nothing is read.
///
/// # Errors
/// All problems of the policy, at once.
pub fn compile_by(bytes: &[u8], path: &Path, facts: Facts) -> Result<Compiled, Problems> {
    let refused = |_: &str| Err(Refusal::new("no file may be read any more".to_owned()));
    let tree = tree(bytes, path, &refused)?.whole()?;
    resolved(applied::of(path, &tree, &facts), tree, facts, Vec::new()).map(compiled)
}

/// Loads a policy.
///
/// # Errors
/// All problems of the policy and of the files that it names, at once.
pub fn load(path: &Path, names: &Names) -> Result<Resolved, Problems> {
    read(path, names, None).map(|read| read.policy)
}

/// A policy that was read.
struct Read {
    policy: Resolved,
    sources: Sources,
    lists: Lists,
    instead: Vec<String>,
    applied: Applied,
}

/// Reads a policy; with a state, takes what was last applied in place of files that can't be used.
fn read(path: &Path, names: &Names, state: Option<&State>) -> Result<Read, Problems> {
    let bytes = read_trusted(path, MAX_POLICY).map_err(|refusal| {
        // On a machine without a policy the default folder is missing, too.
        let none_yet = refusal.missing || path == Path::new(DEFAULT_PATH) && !path.exists();
        let problem = if none_yet { missing(path) } else { refusal.into() };
        let source = Source { name: path.display().to_string(), text: Arc::from("") };
        Problems::new(vec![problem], Sources(vec![source]))
    })?;
    read_bytes(&bytes, path, &beside(path), names, state)
}

/// Reads the files that the policy at a path includes.
fn beside(path: &Path) -> impl Fn(&str) -> Result<Vec<u8>, Refusal> + '_ {
    move |file| {
        let folder = path.parent().unwrap_or(Path::new(""));
        read_trusted_below(folder, &folder.join(file), MAX_POLICY)
    }
}

/// Reads the bytes of a policy. `path` is its name, and the base of the files that it names.
fn read_bytes(
    bytes: &[u8],
    path: &Path,
    read: ReadFile<'_>,
    names: &Names,
    state: Option<&State>,
) -> Result<Read, Problems> {
    let tree = tree(bytes, path, read)?.whole()?;
    let mut facts = gather(&tree.policy, path.parent().unwrap_or(Path::new("")), names);
    let instead =
        state.map(|state| lists::take_what_was_applied(&tree.policy, &mut facts, state)).unwrap_or_default();
    resolved(applied::of(path, &tree, &facts), tree, facts, instead)
}

/// Resolves the parts that parsed even if others did not, so that all problems are reported at once.
fn resolved(mut applied: Applied, tree: Tree, facts: Facts, instead: Vec<String>) -> Result<Read, Problems> {
    let Tree { policy, mut problems, sources, .. } = tree;
    match resolve(&policy, &facts) {
        Ok(policy) if problems.is_empty() => {
            let sources = facts.sources(sources);
            let temporary = policy.temporary().into_iter();
            applied.temporary = temporary.map(|(group, of)| (group.to_owned(), of.most.as_secs())).collect();
            Ok(Read { policy, sources, lists: lists::of(facts), instead, applied })
        }
        resolved => {
            // What is warned of may come of a part that could not be read.
            problems.extend(resolved.err().unwrap_or_default());
            Err(Problems::new(problems, facts.sources(sources)))
        }
    }
}

/// A policy as it is written, with all that it includes, and its texts.
///
/// # Errors
/// It, or a file that it includes, can't be read, or is no YAML.
pub fn as_written(bytes: &[u8], path: &Path) -> Result<(Policy, Sources), Problems> {
    let tree = tree(bytes, path, &beside(path))?.whole()?;
    Ok((tree.policy, Sources(tree.sources)))
}

/// The host names of the policy at a path, and for how long the addresses of each count that answers no longer name. A
/// policy that can't be read has none: whoever loads it says why.
#[must_use]
pub fn host_names(path: &Path) -> BTreeMap<String, Span> {
    let bytes = read_trusted(path, MAX_POLICY).unwrap_or_default();
    let tree = tree(&bytes, path, &beside(path));
    tree.map(|tree| names_of(&tree.policy)).unwrap_or_default()
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
