//! `include`: other files whose groups, services, `block` and expectations are part of the policy.

use super::diagnostic::{Diagnostic, Span, list, quote};
use super::keys::{INCLUDED, POLICY};
use super::model::{Given, List, Peer, Policy, Text};
use super::read::{Fields, Reader};
use super::yaml::{Node, Value};
use crate::printable::is_invisible;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

impl Reader {
    /// Reads `include`, and leaves out a file that is named twice.
    pub(super) fn include(&mut self, node: Option<&Node>) -> Vec<Text> {
        let node = node.filter(|node| node.value != Value::Empty);
        let Given::Here(List { items, .. }) = self.list(node, "`include`", Self::included) else { return Vec::new() };
        let mut first: BTreeMap<String, Span> = BTreeMap::new();
        let mut files = Vec::new();
        for file in items {
            let path = lexical(Path::new(&file.value));
            if let Some(first) = first.get(&path) {
                self.problems.push(
                    Diagnostic::at(file.span, format!("{} is named twice", quote(&file.value)))
                        .label("again here")
                        .note(*first, "first here")
                        .help("name each file once"),
                );
                continue;
            }
            first.insert(path, file.span);
            files.push(file);
        }
        files
    }

    fn included(&mut self, node: &Node, _: &str) -> Option<Text> {
        let Value::Text(text) = &node.value else {
            let message = format!("a file that is included has to be a path, and this is {}", node.value.kind());
            self.problems
                .push(Diagnostic::at(node.span, message).help("write paths alone: `include: [shared/groups.yaml]`"));
            return None;
        };
        Some(Text { value: text.clone(), span: node.span })
    }

    /// Refuses the keys of a policy that can't stand in a file that it includes.
    pub(super) fn only_included(&mut self, root: &Node, fields: &mut Fields<'_>) {
        let Value::Mapping(entries) = &root.value else { return };
        for (key, _) in entries {
            let Value::Text(name) = &key.value else { continue };
            if POLICY.key(name).is_some()
                && !INCLUDED.contains(&name.as_str())
                && fields.remove(name.as_str()).is_some()
            {
                let message = format!("{} can't stand in a file that is included", quote(name));
                let help =
                    format!("write it in the policy itself; an included file has {}", list(INCLUDED.iter().copied()));
                self.problems.push(Diagnostic::at(key.span, message).help(help));
            }
        }
    }

    /// A path that is written in this file, relative to the folder of the policy.
    pub(super) fn in_folder_of_policy(&self, path: Text) -> Text {
        match path.value.as_str() {
            "" => path,
            written => Text { value: self.place.folder.join(written).display().to_string(), span: path.span },
        }
    }
}

/// The path of an included file, relative to the folder of the policy. `folder` is that of the file that names it.
///
/// # Errors
/// A path that leads out of that folder by its words alone.
pub fn included_path(written: &Text, folder: &Path) -> Result<String, Box<Diagnostic>> {
    let path = Path::new(&written.value);
    let refused = |why: &str| {
        let message = format!("{} {why}", quote(&written.value));
        Box::new(Diagnostic::at(written.span, message).help(
            "an included file stands in the folder of the policy, or below it: write its path from the folder of this \
             file, such as `shared/groups.yaml`",
        ))
    };
    if written.value.contains(is_invisible) {
        return Err(refused("has a character that can't be seen"));
    }
    if path.is_absolute() {
        return Err(refused("is an absolute path"));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(refused("leads up by `..`"));
    }
    match lexical(&folder.join(path)) {
        _ if lexical(path).is_empty() => Err(refused("names no file")),
        path => Ok(path),
    }
}

/// A path without `.` and repeated slashes.
fn lexical(path: &Path) -> String {
    let components = path.components().filter(|component| *component != Component::CurDir);
    components.collect::<PathBuf>().display().to_string()
}

impl Policy {
    /// Adds what an included file says. Returns the problems of names that stand in two files; the first counts.
    pub fn join(&mut self, part: Self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let names = |all: &mut dyn Iterator<Item = &Text>| -> BTreeMap<String, Text> {
            all.map(|name| (name.value.clone(), name.clone())).collect()
        };
        let known = names(&mut self.groups.iter().map(|group| &group.name));
        for group in part.groups {
            match known.get(&group.name.value) {
                Some(known) => problems.push(in_two_files("group", &group.name, known)),
                None => self.groups.push(group),
            }
        }
        let known = names(&mut self.services.iter().map(|service| &service.name));
        for service in part.services {
            match known.get(&service.name.value) {
                Some(known) => problems.push(in_two_files("service", &service.name, known)),
                None => self.services.push(service),
            }
        }
        self.block = joined(std::mem::take(&mut self.block), part.block);
        self.expectations.extend(part.expectations);
        problems
    }
}

fn joined(one: Given<List<Peer>>, other: Given<List<Peer>>) -> Given<List<Peer>> {
    match (one, other) {
        (Given::Unreadable, _) | (_, Given::Unreadable) => Given::Unreadable,
        (Given::Absent, given) | (given, Given::Absent) => given,
        (Given::Here(mut one), Given::Here(other)) => {
            // The place of the list is where its first peer stands.
            if one.empty {
                one.span = other.span;
            }
            one.empty &= other.empty;
            one.items.extend(other.items);
            Given::Here(one)
        }
    }
}

fn in_two_files(kind: &str, again: &Text, first: &Text) -> Diagnostic {
    Diagnostic::at(again.span, format!("the {kind} {} stands in two files", quote(&again.value)))
        .label("again here")
        .note(first.span, "first here")
        .help("keep one of the two, with what both should say, or give one another name")
}
