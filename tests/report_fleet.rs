//! `report --fleet`: one page of what many hosts have answered.
//!
//! `tests/data/fleet/` holds answers, and `tests/data/fleet.txt` the text of their page; `UPDATE_GOLDEN=1` writes it anew.
#![allow(missing_docs)]

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The text of a page, and nothing of its looks.
fn text_of(html: &str) -> String {
    let body = html.split_once("</nav>").expect("it has links").1;
    let mut text = String::new();
    for part in body.split('<').skip(1) {
        let (tag, words) = part.split_once('>').expect("tags end");
        match tag.split([' ', '/']).next().unwrap_or_default() {
            "td" | "th" => text.push_str(" | "),
            "b" | "span" | "code" | "" => {}
            _ => text.push('\n'),
        }
        text.push_str(words.trim_matches('\n'));
    }
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn report(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["report", "--fleet"]).arg(folder).args(more).output().expect("it starts")
}

fn page(folder: &Path) -> String {
    let done = report(folder, &["--html", "-"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn each_host_is_told_as_what_it_is_and_what_is_the_same_on_many_is_told_once() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = text_of(&page(&data.join("fleet")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(data.join("fleet.txt"), &text).expect("the golden can be written");
    }
    assert_eq!(text, fs::read_to_string(data.join("fleet.txt")).unwrap_or_default());
}

/// A host in whose answers nothing is wrong but what its number makes so.
fn answer(number: usize) -> Value {
    let drifts = number.is_multiple_of(10);
    let port = |port: u16, owner: &str, from: &str| json!({ "port": port, "proto": "tcp", "owner": owner, "kind": "process", "reachable_from": [from], "except": [] });
    let ports: Vec<Value> = (0..40).map(|more| port(8000 + more, &format!("app{more}"), "trusted")).collect();
    let ssh = port(22, "sshd", if number % 17 == 1 { "everyone" } else { "office" });
    let ports = [vec![ssh], ports].concat();
    let changes =
        json!([{ "op": "remove", "object": "element", "name": "office-v4", "text": "9.9.9.9", "origin": null }]);
    let loses = json!([{ "port": 22, "proto": "tcp", "gains": [], "loses": ["9.9.9.9"] }]);
    let finding = json!({ "id": "forwarding-off", "severity": "warning", "message": "net.ipv4.ip_forward is 0", "help": "set it" });
    json!({
        "version": "0.1.0",
        "status": { "active": true, "in_sync": !drifts, "policy_valid": true, "undone_in": null, "file": "policy.yaml" },
        "diff": if drifts { json!({ "in_sync": false, "changes": changes, "access": loses }) } else { json!({ "in_sync": true }) },
        "exposure": { "ports": ports },
        "doctor": { "findings": [finding] },
    })
}

#[test]
fn the_page_of_fifty_hosts_is_less_than_a_megabyte_and_says_what_is_open_to_everyone_on_how_many() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 1..=50 {
        let path = folder.path().join(format!("web{number:02}.json"));
        fs::write(path, answer(number).to_string()).expect("it is writable");
    }
    fs::write(folder.path().join("notes.txt"), "no answer").expect("it is writable");

    let html = page(folder.path());
    let text = text_of(&html);

    assert!(html.len() < 1_000_000, "{}", html.len());
    assert!(text.contains("50 hosts: 5 not as the policy says, 45 as the policy says.\n"), "{text}");
    assert!(text.contains(" | 22/tcp | everyone | 3 of 50 | sshd | web01, web18, web35\n"), "{text}");
    assert!(text.contains("web10, web20, web30, web40, web50 (5 of 50)\n22/tcp: open to 9.9.9.9\n"), "{text}");
    assert_eq!(text.matches("forwarding-off").count(), 1);
    // It is XML, and nothing in it is loaded from elsewhere.
    roxml(&html);
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));
}

/// Fails unless tags are closed in order.
fn roxml(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(2) {
        let tag = part.split('>').next().unwrap_or_default();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !tag.starts_with('!') {
            open.push(name);
        }
    }
    assert_eq!(open, [] as [&str; 0]);
}

#[test]
fn a_folder_without_answers_and_one_that_is_not_there_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, said) in [
        (folder.path().to_owned(), "holds no answers: the play `palisade.palisade.gather`"),
        (folder.path().join("nothing"), "No such file or directory"),
    ] {
        let done = report(&path, &["--html", "-"]);
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}
