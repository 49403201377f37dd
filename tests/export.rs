//! What `palisade export` prints, of each policy in `policies/` and of odd ones in `tests/export`, in all six formats: beside
//! `tests/export/expected`, schemas of the vendors, and the arguments that Terraform's providers have.
//!
//! `UPDATE_GOLDEN=1` writes what is printed.
#![allow(missing_docs)]

#[path = "support/clouds.rs"]
mod clouds;
#[path = "export/schemas.rs"]
mod schemas;

use palisade::export::{Asked, Exported, Refusal, Target, Vendor, export};
use palisade::facts::{Facts, Kernel, ListFile, ServiceNames};
use palisade::policy::{AddressList, parse};
use palisade::resolve::{Resolved, resolve};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FORMATS: [(&str, Vendor, bool); 6] = [
    ("hetzner", Vendor::Hetzner, false),
    ("digitalocean", Vendor::DigitalOcean, false),
    ("aws", Vendor::Aws, false),
    ("terraform-hetzner", Vendor::Hetzner, true),
    ("terraform-digitalocean", Vendor::DigitalOcean, true),
    ("terraform-aws", Vendor::Aws, true),
];

/// A policy, and how it is exported.
struct Case {
    name: String,
    text: String,
    policy: Resolved,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a policy can be read");
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let parsed = parse(&text, &format!("{name}.yaml"));
        assert_eq!(parsed.problems, [], "{name}");
        let list = AddressList::of_text(1, include_str!("../policies/blocklist.txt"));
        let file = ListFile { source: 1, path: "blocklist.txt".into(), list: Ok(list) };
        let facts = Facts {
            services: Ok(ServiceNames::parse("ssh 22/tcp\n")),
            users: BTreeMap::from([("root".to_owned(), 0), ("_apt".to_owned(), 42), ("www-data".to_owned(), 33)]),
            files: BTreeMap::from([("blocklist.txt".to_owned(), file)]),
            kernel: Kernel::NEWEST,
            ..Facts::default()
        };
        let policy = parsed.policy.expect("a policy");
        let policy = resolve(&policy, &facts).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        Self { name, text, policy }
    }

    fn exported(&self, (_, vendor, terraform): (&str, Vendor, bool)) -> Result<Exported, Refusal> {
        let directive = |key: &str| self.text.lines().find_map(|line| line.strip_prefix(key));
        let public = Some(directive("# public: ").unwrap_or("eth0")).filter(|name| *name != "none");
        let leave_block_to_host = directive("# leave-block-to-host").is_some();
        export(&self.policy, Target { vendor, terraform }, &Asked { name: "palisade", public, leave_block_to_host })
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in ["policies", "tests/export"] {
        let files = fs::read_dir(root.join(folder)).expect("it is there").map(|entry| entry.expect("a file").path());
        paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    paths.sort();
    assert!(paths.len() >= 30);
    paths.iter().map(|path| Case::read(path)).collect()
}

/// How many of a long list a golden shows, at its beginning.
const SHOWN: usize = 10;

/// A document as a golden can be read: what fits into a line in one, and of long lists the beginning and the end.
fn compact(value: &Value, indent: usize) -> String {
    let text = value.to_string();
    let pad = " ".repeat(indent + 2);
    let parts: Vec<String> = match value {
        _ if text.len() < 140 => return text,
        Value::Array(all) if all.iter().all(Value::is_string) && !all.is_empty() => {
            let quoted = shortened(all.iter().map(Value::to_string).collect());
            return format!("[{}]", quoted.join(","));
        }
        Value::Array(all) => all.iter().map(|one| format!("{pad}{}", compact(one, indent + 2))).collect(),
        Value::Object(fields) => {
            let part = |(key, value): (&String, &Value)| format!("{pad}{key:?}:{}", compact(value, indent + 2));
            fields.iter().map(part).collect()
        }
        _ => return text,
    };
    let parts = shortened(parts);
    let (begin, end) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    format!("{begin}\n{}\n{}{end}", parts.join(",\n"), " ".repeat(indent))
}

fn shortened(mut parts: Vec<String>) -> Vec<String> {
    let more = parts.len().saturating_sub(2 * SHOWN);
    if more > 0 {
        parts.splice(SHOWN..SHOWN + more, [format!(" ... {more} more ... ")]);
    }
    parts
}

fn printed(case: &Case, format: (&str, Vendor, bool)) -> String {
    let said = match case.exported(format) {
        Err(refusal) => format!("error: {refusal}\n"),
        Ok(exported) => {
            let remarks = exported.remarks.iter().map(|remark| match remark.line {
                Some(line) => format!("{}: {remark}\n", line.number),
                None => format!("{remark}\n"),
            });
            let whole = if exported.is_whole() { "whole\n" } else { "" };
            format!("{}{whole}{}\n", remarks.collect::<String>(), compact(&exported.document, 0))
        }
    };
    format!("== {}\n{said}", format.0)
}

#[test]
fn each_policy_is_exported_as_the_golden_has_it_in_every_format() {
    let mut wrong = Vec::new();
    for case in cases() {
        let path = format!("{}/tests/export/expected/{}.txt", env!("CARGO_MANIFEST_DIR"), case.name);
        let printed: String = FORMATS.into_iter().map(|format| printed(&case, format)).collect();
        if fs::read_to_string(&path).unwrap_or_default() != printed {
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &printed).expect("the golden can be written");
            }
            wrong.push(format!("{path}\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{} policies are exported otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

/// Both formats of a vendor open the same, and the model takes nothing that it does not know.
#[test]
fn terraform_is_told_what_the_vendors_own_client_is_told() {
    for case in cases() {
        for [own, terraform] in [[0, 3], [1, 4], [2, 5]] {
            let read = |index: usize| {
                let exported = case.exported(FORMATS[index]).ok()?;
                Some((clouds::read(FORMATS[index].0, &exported.document), exported.remarks))
            };
            assert_eq!(read(own), read(terraform), "{} of {}", FORMATS[terraform].0, case.name);
        }
    }
}

#[test]
fn each_document_fits_the_vendors_schema() {
    let validators = FORMATS.map(|(format, ..)| {
        jsonschema::validator_for(&schemas::of(format)).unwrap_or_else(|error| panic!("{format}: {error}"))
    });
    let mut wrong = Vec::new();
    let mut seen = 0;
    for case in cases() {
        for (format, validator) in FORMATS.into_iter().zip(&validators) {
            let Ok(exported) = case.exported(format) else { continue };
            seen += 1;
            let errors = validator.iter_errors(&exported.document);
            wrong.extend(errors.map(|error| format!("{} of {}: {error}", format.0, case.name)));
        }
    }
    assert_eq!((wrong, seen > 150), (Vec::<String>::new(), true));
}

/// What the policies of the three vendors' documents would let in if a line were wrong.
#[test]
fn the_schemas_refuse_what_the_vendors_refuse() {
    let three = Case::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/export/three-addresses.yaml")));
    let breaks: [(usize, &str, Value); 9] = [
        (0, "/0/source_ips/0", "1.1.1.1".into()),
        (0, "/0/port", 9000.into()),
        (0, "/1/protocol", "sctp".into()),
        (1, "/name", "pali_sade".into()),
        (1, "/inbound_rules/0/protocol", "esp".into()),
        (1, "/inbound_rules/0/ports", Value::Null),
        (2, "/palisade/ingress/0/FromPort", "9000".into()),
        (3, "/resource/hcloud_firewall/palisade/rule/0/port", 9000.into()),
        (4, "/resource/digitalocean_firewall/palisade/inbound_rule/0/protocol", "any".into()),
    ];
    for (index, at, value) in breaks {
        let format = FORMATS[index];
        let mut document = three.exported(format).expect("it is exported").document;
        let validator = jsonschema::validator_for(&schemas::of(format.0)).expect("a schema");
        assert!(validator.is_valid(&document), "{}", format.0);
        *document.pointer_mut(at).unwrap_or_else(|| panic!("{at} of {}", format.0)) = value;
        assert!(!validator.is_valid(&document), "{at} of {}", format.0);
    }
}

#[test]
fn the_story_of_the_dashboard_is_two_rules_and_ping() {
    let three = Case::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/export/three-addresses.yaml")));
    let exported = three.exported(FORMATS[0]).expect("it is exported");
    let expected = serde_json::json!([
        { "description": "dashboard", "direction": "in", "protocol": "tcp", "port": "9000",
          "source_ips": ["1.1.1.1/32", "1.1.1.2/31"] },
        { "description": "ping", "direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0", "::/0"] },
        { "description": "ssh", "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"] },
    ]);
    assert_eq!((exported.document, exported.remarks), (expected, Vec::new()));
}

/// What is exported of a policy's text.
fn of_text(text: &str, (_, vendor, terraform): (&str, Vendor, bool)) -> Value {
    let policy = parse(text, "policy.yaml").policy.expect("a policy");
    let policy = resolve(&policy, &Facts::default()).expect("a valid policy");
    let asked = Asked { name: "palisade", public: Some("eth0"), leave_block_to_host: false };
    export(&policy, Target { vendor, terraform }, &asked).expect("it is exported").document
}

#[test]
fn the_order_of_lines_changes_nothing_and_a_change_of_one_service_changes_its_rules_alone() {
    let web = "  web: { ports: [443/tcp, 80/tcp], from: any }\n";
    let admin = "  admin: { ports: 22/tcp, from: [203.0.113.9, 198.51.100.0/24, { interface: wg0 }] }\n";
    let of = |parts: &[&str]| format!("version: 1\nservices:\n{}", parts.concat());
    let turned = "\n  admin: { ports: 22/tcp, from: [{ interface: wg0 }, 198.51.100.0/24, 203.0.113.9] }\n\n";
    let more = "  admin: { ports: 22/tcp, from: [203.0.113.9, 9.9.9.9, 198.51.100.0/24, { interface: wg0 }] }\n";
    for format in FORMATS {
        let before = of_text(&of(&[web, admin]), format);
        assert_eq!(of_text(&of(&["  # A comment.\n", turned, web]), format), before, "{}", format.0);
        let [before, after] = [before, of_text(&of(&[web, more]), format)].map(|value| format!("{value:#}"));
        let lines: Vec<&str> = before.lines().collect();
        let gained: Vec<&str> = after.lines().filter(|line| line.contains("9.9.9.9")).collect();
        let other =
            after.lines().filter(|line| !lines.contains(line) && !line.contains("9_9_9_9")).collect::<Vec<_>>();
        assert_eq!((gained.len(), other), (1, gained.clone()), "{}", format.0);
    }
}

#[test]
fn a_name_that_a_vendor_would_not_take_is_refused() {
    let three = Case::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/export/three-addresses.yaml")));
    let named = |name: &str, (_, vendor, terraform): (&str, Vendor, bool)| {
        let asked = Asked { name, public: None, leave_block_to_host: false };
        export(&three.policy, Target { vendor, terraform }, &asked).map(|exported| exported.firewalls)
    };
    for name in ["", "x", "-a", "a_b", "a b", "é1", &"a".repeat(101)] {
        assert_eq!(named(name, FORMATS[0]), Err(Refusal::Name(name.to_owned())));
    }
    assert_eq!(named("sg-1", FORMATS[0]), Ok(vec!["sg-1".to_owned()]));
    assert_eq!(named("sg-1", FORMATS[5]), Err(Refusal::Name("sg-1".to_owned())));
}
