//! The pictures that `show` draws of policies, as a reader of a pull request gets them.
//!
//! `tests/pictures` has one of each policy of `policies` and of `tests/policies/everything.yaml`, in both formats;
//! `UPDATE_GOLDEN=1` writes them anew.
#![allow(missing_docs)]

use palisade::desired::load;
use palisade::names::Names;
use palisade::picture::{dot, mermaid, of_policy};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each policy with its name, its picture in Mermaid, and its picture in DOT.
fn drawn() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root.join(folder)).expect("it is there");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    // A checkout may lie in a folder that others can write.
    let copy = tempfile::tempdir().expect("a folder for the copies");
    let mut names = BTreeSet::new();
    for from in files("policies").into_iter().chain(files("tests/policies")) {
        let to = copy.path().join(from.file_name().expect("a name"));
        fs::copy(&from, &to).expect("the copy can be made");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
        if from.extension().is_some_and(|extension| extension == "yaml") {
            names.insert(from.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    let draw = |name: String| {
        let policy = load(&copy.path().join(format!("{name}.yaml")), &Names::default());
        let picture = of_policy(&policy.unwrap_or_else(|problems| panic!("{name}: {problems}")));
        (name, mermaid(&picture), dot(&picture))
    };
    names.into_iter().map(draw).collect()
}

#[test]
fn each_policy_has_its_picture() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let mut wrong = Vec::new();
    for (name, mermaid, dot) in drawn() {
        for (extension, text) in [("mmd", mermaid), ("dot", dot)] {
            let path = folder.join(format!("{name}.{extension}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &text).expect("the golden can be written");
            }
            if fs::read_to_string(&path).unwrap_or_default() != text {
                wrong.push(format!("{}\n{text}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn graphviz_draws_each_node_and_each_edge_of_a_picture() {
    for (name, _, dot) in drawn() {
        let mut child = Command::new("dot")
            .arg("-Tplain")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("scripts/test installs graphviz");
        child.stdin.take().expect("it was piped").write_all(dot.as_bytes()).expect("it reads");
        let done = child.wait_with_output().expect("it was started");
        let (plain, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let drawn = |word: &str| plain.lines().filter(|line| line.starts_with(word)).count();
        let nodes = dot.lines().filter(|line| line.starts_with("    \"")).count();
        let edges = dot.lines().filter(|line| line.contains("\" -> \"")).count();

        assert_eq!((done.status.code(), said.as_ref()), (Some(0), ""), "{name}");
        assert_eq!((drawn("node "), drawn("edge ")), (nodes, edges), "{name}");
        assert!(nodes > 0);
    }
}

/// An id of a node or a frame in Mermaid.
fn is_id(text: &str) -> bool {
    text.contains('_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A label in double quotes, in which everything but a line break stands for itself or is a number.
fn is_label(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("[\"").and_then(|text| text.strip_suffix("\"]")) else { return false };
    let mut plain = inner.replace("<br/>", "");
    while let Some((before, rest)) = plain.split_once('#') {
        let Some((number, rest)) = rest.split_once(';') else { return false };
        if number.parse::<u32>().is_err() {
            return false;
        }
        plain = format!("{before}{rest}");
    }
    plain.chars().all(|c| c.is_alphanumeric() || " ,.:/()-_".contains(c))
}

/// The nodes that a flowchart declares and those that its edges name; an error is a line that is not of the grammar used.
fn read_mermaid(text: &str) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let mut lines = text.lines();
    let (mut nodes, mut named, mut open) = (BTreeSet::new(), BTreeSet::new(), false);
    if lines.next() != Some("flowchart LR") {
        return Err("no head".to_owned());
    }
    for line in lines {
        let is_read = if let Some(frame) = line.strip_prefix("  subgraph ") {
            let id = frame.split('[').next().unwrap_or_default();
            !std::mem::replace(&mut open, true) && is_id(id) && is_label(&frame[id.len()..])
        } else if line == "  end" {
            std::mem::replace(&mut open, false)
        } else if let Some(node) = line.strip_prefix("    ") {
            let id = node.split('[').next().unwrap_or_default();
            let label = &node[id.len()..];
            open && is_id(id)
                && is_label(label.strip_suffix(":::denies").unwrap_or(label))
                && nodes.insert(id.to_owned())
        } else if line.starts_with("  classDef denies ") {
            true
        } else {
            let words: Vec<&str> = line.trim().split(' ').collect();
            let arrows = ["-->", "-->|forwarded|", "--x|deny|", "--x|reject|", "-.-x|except|"];
            let is_edge =
                matches!(&words[..], [from, arrow, to] if is_id(from) && is_id(to) && arrows.contains(arrow));
            named.extend(words.iter().step_by(2).map(|id| (*id).to_owned()));
            !open && is_edge
        };
        if !is_read {
            return Err(line.to_owned());
        }
    }
    if open { Err("no end".to_owned()) } else { Ok((nodes, named)) }
}

#[test]
fn a_picture_in_mermaid_has_the_grammar_of_mermaid_and_no_edge_without_its_nodes() {
    for (name, mermaid, _) in drawn() {
        let (nodes, named) = read_mermaid(&mermaid).unwrap_or_else(|line| panic!("{name}: {line}"));
        assert_eq!(named.difference(&nodes).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
    }
}

/// The lines that only the second text has.
fn added<'a>(before: &str, after: &'a str) -> Vec<&'a str> {
    let before: BTreeSet<&str> = before.lines().collect();
    after.lines().filter(|line| !before.contains(line)).map(str::trim).collect()
}

#[test]
fn two_pictures_differ_where_their_policies_do_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = |text: &str| {
        let path = folder.path().join("policy.yaml");
        fs::write(&path, format!("version: 1\n{text}")).expect("the policy can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
        mermaid(&of_policy(&load(&path, &Names::default()).unwrap_or_else(|problems| panic!("{problems}"))))
    };
    let groups = "groups: { office: 203.0.113.0/28 }\n";
    let old = picture(&format!(
        "{groups}services:\n  web: {{ ports: 443/tcp, from: any }}\n  ssh: {{ ports: 22/tcp, from: office }}\n"
    ));
    let moved = picture(&format!(
        "services:\n  ssh: {{ from: [office], ports: [22/tcp] }}\n  web: {{ ports: 443/tcp, from: any }}\n{groups}"
    ));
    let new = picture(&format!(
        "{groups}services:\n  admin: {{ ports: 8443/tcp, from: [office, 198.51.100.7] }}\n  web: {{ ports: 443/tcp, from: any }}\n  ssh: {{ ports: 22/tcp, from: office, limit: 6/minute }}\n"
    ));

    assert_eq!(old, moved, "the order of a policy means nothing");
    let more = [
        "from_198_2e_51_2e_100_2e_7[\"198.51.100.7\"]",
        "service_admin[\"admin<br/>8443/tcp\"]",
        "service_ssh[\"ssh<br/>22/tcp<br/>at most 6/minute from each source\"]",
        "from_office --> service_admin",
        "from_198_2e_51_2e_100_2e_7 --> service_admin",
    ];
    assert_eq!((added(&old, &new), added(&new, &old)), (more.to_vec(), vec!["service_ssh[\"ssh<br/>22/tcp\"]"]));
}

#[test]
fn show_draws_a_policy_without_its_machine_and_says_what_is_wrong_with_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let show = |text: &str, arguments: &[&str]| {
        let path = folder.path().join("policy.yaml");
        fs::write(&path, format!("version: 1\nservices:\n  ssh: {text}\n")).expect("the policy can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.args(["--policy", "policy.yaml", "--state-dir", "none", "show", "--format"]).args(arguments);
        let done = command.current_dir(folder.path()).stdin(Stdio::null()).output().expect("palisade was built");
        let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    let valid = "{ ports: 22/tcp, from: { dns: home.example.org } }";
    let (status, drawn, said) = show(valid, &["dot"]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert!(drawn.contains("  \"from home.example.org\" -> \"service ssh\";\n"), "{drawn}");

    let (_, mermaid, _) = show(valid, &["mermaid"]);
    let document: serde_json::Value =
        serde_json::from_str(&show(valid, &["mermaid", "--json"]).1).expect("one document");
    assert_eq!(document, serde_json::json!({ "picture": mermaid, "format_version": 1 }));

    let (status, drawn, said) = show("{ ports: 22/tcp, from: anny }", &["dot"]);
    assert_eq!((status, drawn.as_str()), (Some(1), ""));
    assert!(said.starts_with("error: there is no group `anny`\n"), "{said}");
}
