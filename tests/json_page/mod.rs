//! `docs/json.md` beside the documents that palisade prints.
#![allow(dead_code, unreachable_pub)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The fields of each document, by path.
pub struct Page(BTreeMap<String, BTreeMap<String, Field>>);

struct Field {
    /// In the words of the page.
    of: String,
    /// The table and the path in it: the row that it comes from.
    row: String,
}

impl Page {
    pub fn read() -> Self {
        let text = include_str!("../../docs/json.md");
        let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        let (mut heading, mut shared, mut documents) = (String::new(), false, BTreeSet::new());
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
                heading = name.to_lowercase().replace(' ', "-");
                shared = if line.starts_with("## ") { name.contains("share") } else { shared };
                if !shared {
                    documents.insert(heading.clone());
                }
            }
            if let Some((path, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once("` | ")) {
                let of = rest.split(" | ").next().unwrap_or_default();
                tables.entry(heading.clone()).or_default().push((path.to_owned(), of.to_owned()));
            }
        }
        let fields = |name: &String| {
            let mut fields = BTreeMap::new();
            add(&tables, name, "", &mut fields);
            (name.clone(), fields)
        };
        Self(documents.iter().map(fields).collect())
    }

    /// Whether the page has a path, or one behind it.
    fn lists(&self, document: &str, path: &str) -> bool {
        let behind = |field: &String| field.strip_prefix(path).is_some_and(|rest| rest.starts_with(['[', '.']));
        self.0.get(document).is_some_and(|fields| fields.contains_key(path) || fields.keys().any(behind))
    }

    /// The rows of the page that nobody has seen, each as `TABLE PATH`.
    pub fn unseen(&self, seen: &Seen) -> BTreeSet<&str> {
        let rows = self.0.values().flat_map(BTreeMap::values).map(|field| field.row.as_str());
        rows.filter(|row| !seen.rows.contains(*row)).collect()
    }
}

/// Adds the fields of a table and of those that it names.
fn add(
    tables: &BTreeMap<String, Vec<(String, String)>>,
    name: &str,
    before: &str,
    fields: &mut BTreeMap<String, Field>,
) {
    for (path, of) in tables.get(name).into_iter().flatten() {
        let row = format!("{name} {path}");
        let path = format!("{before}{path}");
        if let Some((_, named)) = of.split_once("](#") {
            let named = named.split(')').next().unwrap_or_default();
            assert!(tables.contains_key(named), "{path} of {name} names {named}, which has no table");
            let each = if of.starts_with("list") { "[]" } else { "" };
            add(tables, named, &format!("{path}{each}."), fields);
        }
        fields.insert(path, Field { of: of.clone(), row });
    }
}

/// Whether a value is of a type of the page.
fn fits(of: &str, value: &Value) -> bool {
    of.split(" or ").any(|one| match (one, value) {
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        ("integer", Value::Number(number)) => number.is_u64() || number.is_i64(),
        ("list of strings", Value::Array(items)) => items.iter().all(Value::is_string),
        ("list", Value::Array(_)) | ("object", Value::Object(_)) => true,
        (one, Value::Array(items)) => one.starts_with("list of [") && items.iter().all(Value::is_object),
        (one, Value::Object(_)) => one.starts_with('['),
        _ => false,
    })
}

/// The rows that were seen, and whatever the page does not say.
#[derive(Default)]
pub struct Seen {
    rows: BTreeSet<String>,
    pub wrong: BTreeSet<String>,
}

impl Seen {
    /// Takes what a command has printed. What it prints of an error is a document of its own.
    #[track_caller]
    pub fn take(&mut self, page: &Page, command: &str, printed: &str) {
        let mut value: Value = serde_json::from_str(printed).unwrap_or_else(|_| panic!("{command}: {printed:?}"));
        let fields = value.as_object_mut().expect("a document is an object");
        if fields.remove("format_version") != Some(Value::from(1)) {
            self.wrong.insert(format!("{command} has not the version of its form"));
        }
        let document = match (fields.contains_key("usage"), fields.contains_key("error")) {
            (true, _) => "usage-errors",
            (false, true) => "errors",
            (false, false) => command,
        };
        // The schema is described elsewhere.
        if document != "schema" {
            self.walk(page, document, "", &value);
        }
    }

    fn walk(&mut self, page: &Page, document: &str, path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.note(page, document, &path, value);
                    self.walk(page, document, &path, value);
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| self.walk(page, document, &format!("{path}[]"), item));
            }
            _ => {}
        }
    }

    fn note(&mut self, page: &Page, document: &str, path: &str, value: &Value) {
        if !page.lists(document, path) {
            self.wrong.insert(format!("{document} {path}: the page has it not, it is {value}"));
        }
        let Some(field) = page.0.get(document).and_then(|fields| fields.get(path)) else { return };
        if !fits(&field.of, value) {
            self.wrong.insert(format!("{document} {path}: it is no {}: {value}", field.of));
        }
        self.rows.insert(field.row.clone());
    }
}

/// Policies that differ in all that needs no kernel to be told.
pub const OLD: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  old: { ports: 8000-8002/tcp, from: 203.0.113.0/24 }
";
pub const NEW: &str = "version: 1
include: included.yaml
defaults: { outgoing: deny }
containers: { outgoing: deny }
groups: { wan: { interface: eth0 }, lan: { interface: eth1 }, owner: [203.0.113.20, { temporary: 12h }] }
services:
  ssh: { ports: 22/tcp, from: any }
  photos: { ports: 443/tcp, from: any, forward_to: 10.77.0.2 }
outgoing:
  mail: { ports: 25/tcp, from: host, to: 198.51.100.0/24 }
  bare: { ports: 26/tcp, from: { interface: br-app }, to: any }
forward:
  lan: { ports: any, from: lan, to: wan }
  one: { ports: 22/tcp, from: 203.0.113.20, to: 10.77.0.2 }
expect:
  - { deny: 9000/tcp, from: 203.0.113.5 }
";
/// What [`NEW`] includes.
pub const INCLUDED: &str = "version: 1\nservices:\n  new: { ports: 9000/tcp, from: 198.51.100.7, on: eth1 }\n";
/// It does not say of which protocol a port is.
pub const INVALID: &str = "version: 1\nservices:\n  ssh: { ports: 22, from: any }\n";
/// It is not what it expects to be.
pub const UNMET: &str =
    "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\nexpect:\n  - { deny: 22/tcp, from: any }\n";

/// The commands that need no kernel, in a folder with `old.yaml`, `new.yaml`, `edited.yaml`, which is as `new.yaml`, `included.yaml`,
/// `invalid.yaml` and `unmet.yaml`.
pub const WITHOUT_KERNEL: [&str; 22] = [
    "check old.yaml",
    "check new.yaml",
    "check invalid.yaml",
    "check unmet.yaml",
    "check old.yaml new.yaml invalid.yaml unmet.yaml",
    "show --policy old.yaml",
    "show --policy new.yaml --format json",
    "show --policy new.yaml --format dot",
    "show --policy unmet.yaml",
    "diff old.yaml new.yaml",
    "diff new.yaml old.yaml",
    "diff old.yaml invalid.yaml",
    "diff old.yaml invalid.yaml --format github",
    "export hetzner --policy new.yaml --public eth0",
    "init",
    "add 9100/tcp --from 198.51.100.8 --name more --yes --policy edited.yaml",
    "remove more --yes --policy edited.yaml",
    "group add owner 198.51.100.9 --yes --policy edited.yaml",
    "schema",
    "completions zsh",
    "show --policy none.yaml",
    "reload",
];

/// Files of ufw that make a report with a bit of everything.
const UFW: [(&str, &str); 3] = [
    (
        "etc/default/ufw",
        "IPV6=no\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\n",
    ),
    ("etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n"),
    (
        "etc/ufw/user.rules",
        "### RULES ###\n### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 22 -j DROP\n\
         ### tuple ### allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 80 -j ACCEPT\n",
    ),
];

/// Writes them below a root that nobody else may write.
pub fn write_ufw(root: &Path) {
    for (path, text) in UFW {
        let file = root.join(path);
        fs::create_dir_all(file.parent().expect("it has one")).expect("the folder is writable");
        fs::write(&file, text).expect("the folder is writable");
        for path in file.ancestors().take_while(|path| path.starts_with(root)) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is this user's");
        }
    }
}
