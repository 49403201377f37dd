//! A policy with the files that it includes, as one.

use crate::files::Refusal;
use crate::policy::{
    Diagnostic, Parsed, Policy, Problems, Source, Sources, Text, decode, included_path, parse, parse_included, quote,
    without_byte_order_mark,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many files a policy may have, itself among them.
const MAX_FILES: usize = 64;
/// How deep files may include each other.
const MAX_DEPTH: usize = 8;

/// The remedy for a file that is not there.
const BEGINS: &str = "a path begins in the folder of the file that names it";

/// Reads the bytes of an included file by its path relative to the folder of the policy.
pub(super) type ReadFile<'r> = &'r dyn Fn(&str) -> Result<Vec<u8>, Refusal>;

/// A policy that was parsed, with all that it includes.
pub(super) struct Tree {
    pub(super) policy: Policy,
    /// The problems of syntax and shape.
    pub(super) problems: Vec<Diagnostic>,
    /// Whether each file could be read: otherwise what is not defined may stand in one that could not.
    pub(super) is_whole: bool,
    /// The texts, the policy's first.
    pub(super) sources: Vec<Source>,
    /// The texts of the included files, by path relative to the folder of the policy.
    pub(super) included: BTreeMap<String, String>,
}

impl Tree {
    /// Itself, if each file could be read. Without one of them, what another names might be missing, and is not.
    pub(super) fn whole(self) -> Result<Self, Problems> {
        if self.is_whole { Ok(self) } else { Err(Problems::new(self.problems, Sources(self.sources))) }
    }
}

/// Reads a policy and what it includes. `path` is the policy's name.
///
/// # Errors
/// The policy itself is not UTF-8, or no YAML.
pub(super) fn tree(bytes: &[u8], path: &Path, read: ReadFile<'_>) -> Result<Tree, Problems> {
    let name = path.display().to_string();
    let source = |text: &str| Source { name: name.clone(), text: Arc::from(text) };
    let file = path.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
    let text = match decode(bytes, &file) {
        Ok(text) => text,
        Err(problem) => return Err(Problems::new(vec![*problem], Sources(vec![source(&lossy(bytes))]))),
    };
    let parsed = parse(text, &file);
    let Some(policy) = parsed.policy else {
        return Err(Problems::new(parsed.problems, Sources(vec![source(text)])));
    };
    let include = policy.include.clone();
    let tree = Tree {
        policy,
        problems: parsed.problems,
        is_whole: true,
        sources: vec![source(text)],
        included: BTreeMap::new(),
    };
    let mut reading = Reading { tree, path, read, ring: vec![file], is_full: false };
    reading.include(&include, Path::new(""));
    Ok(reading.tree)
}

fn lossy(bytes: &[u8]) -> String {
    without_byte_order_mark(&String::from_utf8_lossy(bytes)).to_owned()
}

struct Reading<'r> {
    tree: Tree,
    path: &'r Path,
    read: ReadFile<'r>,
    /// The files that lead to the present one, and itself.
    ring: Vec<String>,
    /// Whether it was said that there are too many files.
    is_full: bool,
}

impl Reading<'_> {
    /// Adds the files that a file in that folder includes.
    fn include(&mut self, include: &[Text], folder: &Path) {
        for written in include {
            match included_path(written, folder) {
                Ok(path) => self.add(written, path),
                Err(problem) => self.refuse(*problem),
            }
        }
    }

    fn refuse(&mut self, problem: Diagnostic) {
        self.tree.problems.push(problem);
        self.tree.is_whole = false;
    }

    fn add(&mut self, written: &Text, path: String) {
        if let Some(at) = self.ring.iter().position(|file| *file == path) {
            let ring = self.ring.iter().skip(at).chain([&path]).map(|file| quote(file)).collect::<Vec<_>>();
            let message = match ring.len() {
                2 => format!("{} includes itself", quote(&path)),
                _ => format!("the files include each other in a ring: {}", ring.join(" includes ")),
            };
            let help = "take one of them out of `include`; what two files need may stand in a third";
            self.tree.problems.push(Diagnostic::at(written.span, message).help(help));
            return;
        }
        if self.tree.included.contains_key(&path) || self.is_full {
            return;
        }
        if self.ring.len() > MAX_DEPTH {
            let message = format!("files include each other more than {MAX_DEPTH} deep here");
            let help = "include the file from one that is not so deep";
            return self.refuse(Diagnostic::at(written.span, message).help(help));
        }
        if self.tree.sources.len() >= MAX_FILES {
            self.is_full = true;
            let message = format!("a policy has at most {MAX_FILES} files, and this is one more");
            return self.refuse(Diagnostic::at(written.span, message).help("put several files into one"));
        }
        match (self.read)(&path) {
            Ok(bytes) => self.part(written, &bytes, path),
            Err(Refusal { message, help, missing, .. }) => {
                let help = help.or_else(|| missing.then(|| BEGINS.to_owned()));
                let problem = Diagnostic::at(written.span, message);
                self.refuse(Diagnostic { help, ..problem });
            }
        }
    }

    /// Adds a file that was read.
    fn part(&mut self, written: &Text, bytes: &[u8], path: String) {
        let source = self.tree.sources.len();
        let decoded = decode(bytes, &path).map(str::to_owned);
        let text = decoded.as_ref().map_or_else(|_| lossy(bytes), Clone::clone);
        let name = self.path.with_file_name(&path).display().to_string();
        self.tree.sources.push(Source { name, text: Arc::from(text.as_str()) });
        self.tree.policy.included.push(path.clone());
        self.tree.included.insert(path.clone(), text.clone());
        let parsed = match decoded {
            Ok(text) => parse_included(&text, &path, source),
            Err(problem) => Parsed { policy: None, problems: vec![problem.in_source(source)] },
        };
        // A problem of the whole file is shown where it is included.
        let placed = |problem: Diagnostic| Diagnostic { span: problem.span.or(Some(written.span)), ..problem };
        self.tree.problems.extend(parsed.problems.into_iter().map(placed));
        let Some(part) = parsed.policy else {
            self.tree.is_whole = false;
            return;
        };
        let include = part.include.clone();
        self.tree.problems.extend(self.tree.policy.join(part));
        let folder = PathBuf::from(&path);
        self.ring.push(path);
        self.include(&include, folder.parent().unwrap_or(Path::new("")));
        self.ring.pop();
    }
}
