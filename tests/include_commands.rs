//! What commands that ask no kernel say of policies that include other files.
#![allow(missing_docs)]

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const POLICY: &str = "version: 1
include: [shared/groups.yaml, shared/services.yaml]
services:
  ssh: { ports: 22/tcp, from: any }
";
const GROUPS: &str = "version: 1\n# Who works here.\ngroups:\n  office: [192.0.2.0/24]\n";
const SERVICES: &str = "version: 1\nservices:\n  metrics: { ports: 9100/tcp, from: office }\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(TempDir::new().expect("there is a place for temporary files"));
        fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o755)).expect("it is this user's");
        folder.write("policy.yaml", POLICY);
        folder.write("shared/groups.yaml", GROUPS);
        folder.write("shared/services.yaml", SERVICES);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        let parent = path.parent().expect("a folder");
        fs::create_dir_all(parent).expect("it is writable");
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).expect("it is this user's");
        fs::write(&path, text).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is this user's");
    }

    /// The exit status and both outputs, without privileges that root would have.
    fn run(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("palisade was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that does not read it may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let done = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
        (done.status.code(), text(done.stdout), text(done.stderr))
    }
}

#[test]
fn standard_input_includes_nothing_and_says_why() {
    let (status, stdout, stderr) = Folder::new().run(&["check", "-"], POLICY);
    let problem = |file: &str, column: usize, indent: usize, line: &str| {
        let mark = "^".repeat(file.len());
        format!(
            "error: a policy on standard input has no folder whose files it could include\n --> <stdin>:2:{column}\n  |\n\
             2 | {line}\n  | {}{mark}\n  |\n  = help: name its file in the place of `-`\n",
            " ".repeat(indent)
        )
    };
    let line = "include: [shared/groups.yaml, shared/services.yaml]";
    let expected =
        [problem("shared/groups.yaml", 11, 10, line), problem("shared/services.yaml", 31, 30, line)].join("\n");
    assert_eq!((status, stdout.as_str(), stderr), (Some(1), "", expected));
}

#[test]
fn a_check_of_several_files_ends_with_how_many_are_valid() {
    let folder = Folder::new();
    folder.write("bad.yaml", "version: 1\ninclude: shared/bad.yaml\n");
    folder.write("shared/bad.yaml", "version: 1\nservices: { web: { ports: 80, from: any } }\n");
    let last = |files: &[&str]| {
        let (status, stdout, _) = folder.run(&[&["check"], files].concat(), "");
        (status, stdout.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(
        last(&["policy.yaml", "policy.yaml", "bad.yaml"]),
        (Some(1), "2 files are valid, 1 is not".to_owned())
    );
    assert_eq!(last(&["policy.yaml", "bad.yaml", "bad.yaml"]), (Some(1), "1 file is valid, 2 are not".to_owned()));
    assert_eq!(last(&["policy.yaml", "policy.yaml"]), (Some(0), "2 files are valid".to_owned()));
}

#[test]
fn programs_get_the_file_and_the_line_of_each_problem() {
    let folder = Folder::new();
    folder.write("shared/services.yaml", &SERVICES.replace("9100/tcp", "9100"));
    let (status, stdout, _) = folder.run(&["check", "policy.yaml", "policy.yaml", "--json"], "");
    let document: Value = serde_json::from_str(&stdout).expect("one document");
    let problem = json!({
        "message": "the port `9100` does not say of which protocol",
        "file": "shared/services.yaml",
        "line": 3,
        "column": 21,
        "help": "write `9100/tcp` or `9100/udp`, or both as two items",
    });
    assert_eq!((status, &document["files"][0]["problems"]), (Some(1), &json!([problem])));
}

#[test]
fn what_stands_in_an_included_file_is_not_edited_and_its_place_is_told() {
    let folder = Folder::new();
    let edit = |arguments: &[&str]| folder.run(&[&["--policy", "policy.yaml"], arguments, &["--yes"]].concat(), "");
    let refused = |message: &str, place: &str, line: &str, mark: &str| {
        let indent = " ".repeat(line.find(mark).expect("it is there"));
        let (number, under) = (place.split(':').nth(1).unwrap_or_default(), "^".repeat(mark.len()));
        let stderr = format!(
            "error: {message}\n --> {place}\n  |\n{number} | {line}\n  | {indent}{under}\n  |\n  \
             = help: change it there, in an editor: commands edit the policy itself\n"
        );
        (Some(1), String::new(), stderr)
    };
    let service = || {
        let message = "the service `metrics` stands in `shared/services.yaml`, line 3";
        let line = "  metrics: { ports: 9100/tcp, from: office }";
        refused(message, "shared/services.yaml:3:3", line, "metrics")
    };
    let group = || {
        let message = "the group `office` stands in `shared/groups.yaml`, line 4";
        refused(message, "shared/groups.yaml:4:3", "  office: [192.0.2.0/24]", "office")
    };
    assert_eq!(edit(&["add", "9101/tcp", "--from", "any", "--name", "metrics"]), service());
    assert_eq!(edit(&["remove", "metrics"]), service());
    assert_eq!(edit(&["group", "add", "office", "192.0.2.1"]), group());
    assert_eq!(edit(&["group", "add", "office", "192.0.2.1", "--new"]), group());
    assert_eq!(edit(&["group", "remove", "office", "192.0.2.0/24"]), group());
    let read = |name: &str| fs::read_to_string(folder.0.path().join(name)).expect("it is there");
    assert_eq!(
        [read("policy.yaml"), read("shared/groups.yaml"), read("shared/services.yaml")],
        [POLICY, GROUPS, SERVICES]
    );
}

#[test]
fn a_new_service_may_name_a_group_of_an_included_file() {
    let folder = Folder::new();
    let arguments =
        ["--policy", "policy.yaml", "add", "9000/tcp", "--from", "office", "--name", "dashboard", "--yes"];
    let (status, stdout, stderr) = folder.run(&arguments, "");
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("\naccess: 9000/tcp: 192.0.2.0/24 gains\n"), "{stdout}");
}

#[test]
fn two_policies_are_compared_with_what_they_include_and_annotations_stand_in_its_files() {
    let folder = Folder::new();
    let in_one =
        format!("{}  metrics: {{ ports: 9100/tcp, from: office }}\n", POLICY.replace(", shared/services.yaml", ""));
    folder.write("in-one.yaml", &in_one);
    let same = folder.run(&["diff", "in-one.yaml", "policy.yaml"], "");
    assert_eq!(same, (Some(0), String::new(), String::new()));

    folder.write("old.yaml", &POLICY.replace(", shared/services.yaml", ""));
    let (status, stdout, _) = folder.run(&["diff", "old.yaml", "policy.yaml", "--format", "github"], "");
    let first = "::warning file=shared/services.yaml,line=3,title=palisade::9100/tcp: 192.0.2.0/24 gains";
    assert_eq!((status, stdout.lines().next()), (Some(2), Some(first)));
    let others: Vec<&str> = stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split(",title").next()?.split_once("file="))
        .map(|of| of.1)
        .collect();
    assert_eq!(others, ["shared/groups.yaml,line=4"]);
}

#[test]
fn an_export_names_the_file_of_a_line_that_it_narrows() {
    let folder = Folder::new();
    folder.write("shared/services.yaml", &SERVICES.replace("from: office", "from: office, limit: 6/minute"));
    let arguments = ["--policy", "policy.yaml", "export", "hetzner", "--public", "eth0"];
    let (_, _, stderr) = folder.run(&arguments, "");
    assert!(stderr.contains(" (shared/services.yaml:3)\n"), "{stderr}");
    let (_, stdout, _) = folder.run(&[&arguments[..], &["--json"]].concat(), "");
    let document: Value = serde_json::from_str(&stdout).expect("one document");
    let remarks = document["remarks"].as_array().into_iter().flatten();
    let of_it: Vec<Value> = remarks
        .filter(|remark| remark["about"] == "metrics")
        .map(|remark| json!([remark["line"], remark["file"]]))
        .collect();
    assert_eq!(of_it, [json!([3, "shared/services.yaml"])]);
}
