//! The command line: what is printed where, and with which exit status. Nothing here asks the kernel.
#![allow(missing_docs)]

use clap::{CommandFactory, Parser};
use palisade::cli::Cli;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const VALID: &str = "version: 1\nservices:\n  ssh:\n    ports: 22/tcp\n    from: any\n";
const INVALID: &str = "version: 1\nservices:\n  ssh:\n    ports: 22\n    from: anny\n";
/// What is said of [`INVALID`], the path left out.
const PROBLEMS: &str = "\
error: the port `22` does not say of which protocol
 --> policy.yaml:4:12
  |
4 |     ports: 22
  |            ^^
  |
  = help: write `22/tcp` or `22/udp`, or both as two items

error: there is no group `anny`
 --> policy.yaml:5:11
  |
5 |     from: anny
  |           ^^^^
  |
  = help: did you mean `any`?
";
const COMMANDS: &str = "edit init import add remove group check show diff apply status denied suggest explain \
    exposure export doctor report metrics disable boot confirm rollback refresh allow block revoke schema completions man";

/// A folder of this user's own, in which palisade accepts a policy: nobody else may write there, and in the one above
/// nobody may rename what is another's.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().expect("there is a place for temporary files");
        // Whatever the umask.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
        Self(folder)
    }
    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Done {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn palisade(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(arguments).current_dir(folder.0.path()).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG"] {
        command.env_remove(name);
    }
    let done = command.envs(variables.iter().copied()).output().expect("palisade was built");
    let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
    Done { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

fn run(folder: &Folder, arguments: &[&str]) -> Done {
    palisade(folder, arguments, &[])
}

#[test]
fn help_and_version_succeed_and_a_mistyped_line_is_an_error_like_any_other() {
    let folder = Folder::new();
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["diff", "--help"], &["man", "-h"]] {
        let done = run(&folder, arguments);
        assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!done.stdout.is_empty());
    }
    let wrong: [&[&str]; 9] = [
        &[],
        &["chekc"],
        &["diff", "--deeper"],
        &["show", "--format", "xml"],
        &["completions"],
        &["completions", "tcsh"],
        &["man"],
        &["--color", "blue", "check"],
        &["check", "-q", "-v"],
    ];
    for arguments in wrong {
        let done = run(&folder, arguments);
        assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""), "{arguments:?}: diff's 2 is an answer");
        assert!(done.stderr.contains("--help"), "{arguments:?}: {}", done.stderr);
    }
}

#[test]
fn a_verb_of_another_firewall_is_answered_with_palisades_own_and_a_usage_error_is_json_too() {
    let folder = Folder::new();
    let done = run(&folder, &["reload"]);
    let hint = "palisade has no command `reload`: `palisade apply` makes the kernel match the policy";
    let stderr = format!("error: {hint}\n\nFor more information, try 'palisade --help'.\n");
    assert_eq!(done, Done { status: Some(1), stdout: String::new(), stderr });

    let errors = [
        (&["--json", "reload"][..], hint),
        (&["diff", "--json", "--deeper"], "unexpected argument '--deeper' found"),
    ];
    for (arguments, error) in errors {
        let done = run(&folder, arguments);
        let document: Value = serde_json::from_str(&done.stdout).expect("one document");
        assert_eq!((done.status, document), (Some(1), json!({ "error": error, "usage": true, "format_version": 1 })));
    }
}

#[test]
fn quiet_is_errors_alone_but_for_what_a_command_is_run_for() {
    let folder = Folder::new();
    folder.write("policy.yaml", VALID);
    let quiet = |arguments: &[&str]| run(&folder, &[&["-q", "--policy", "policy.yaml"], arguments].concat());
    let nothing = Done { status: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(quiet(&["check", "policy.yaml"]), nothing);
    assert_eq!(quiet(&["show"]), run(&folder, &["--policy", "policy.yaml", "show"]));
    folder.write("policy.yaml", INVALID);
    assert_eq!(quiet(&["check"]), Done { status: Some(1), stderr: PROBLEMS.to_owned(), ..nothing });
}

#[test]
fn help_fits_a_terminal_of_80_columns_and_has_global_options_by_themselves() {
    let folder = Folder::new();
    // Whoever has a wide terminal may show it to somebody who has not.
    let help = |arguments: &[&str]| palisade(&folder, arguments, &[("COLUMNS", "200")]).stdout;
    let mut all = ["--help", "-h", "help"].map(|argument| help(&[argument])).to_vec();
    for command in COMMANDS.split(' ') {
        let long = help(&[command, "--help"]);
        assert!(long.contains("\nGlobal options:\n"), "{command}: {long}");
        assert_eq!(help(&["help", command]), long);
        all.extend([long, help(&[command, "-h"])]);
    }
    let wide: Vec<&str> = all.iter().flat_map(|help| help.lines()).filter(|line| line.chars().count() > 80).collect();
    assert_eq!(wide, Vec::<&str>::new());
}

#[test]
fn an_invalid_policy_is_refused_with_every_problem_and_status_1() {
    let folder = Folder::new();
    folder.write("policy.yaml", INVALID);
    for command in ["check", "show"] {
        let expected = Done { status: Some(1), stdout: String::new(), stderr: PROBLEMS.to_owned() };
        assert_eq!(run(&folder, &["--policy", "policy.yaml", command]), expected);
    }
}

#[test]
fn json_is_one_document_on_standard_output_whatever_happens() {
    let folder = Folder::new();
    folder.write("policy.yaml", INVALID);
    let problems = json!([
        {
            "message": "the port `22` does not say of which protocol",
            "file": "policy.yaml",
            "line": 4,
            "column": 12,
            "help": "write `22/tcp` or `22/udp`, or both as two items",
        },
        {
            "message": "there is no group `anny`",
            "file": "policy.yaml",
            "line": 5,
            "column": 11,
            "help": "did you mean `any`?",
        },
    ]);
    let document = |key: &str, value: Value| {
        let mut all = json!({ "problems": &problems, "warnings": [], "notes": [], "format_version": 1 });
        all[key] = value;
        all
    };
    let expected =
        [("check", document("valid", json!(false))), ("show", document("error", json!("the policy is not valid")))];
    for (command, document) in expected {
        let done = run(&folder, &["--policy", "policy.yaml", command, "--json"]);
        assert_eq!(done.stdout.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&done.stdout).expect("one document"), document);
        assert_eq!((done.status, done.stderr.as_str()), (Some(1), PROBLEMS));
    }

    folder.write("policy.yaml", VALID);
    for arguments in [&["show"][..], &["show", "--format", "json"], &["schema"], &["completions", "zsh"]] {
        let done = run(&folder, &[&["--policy", "policy.yaml", "--json"], arguments].concat());
        assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert_eq!(done.stdout.lines().count(), 1);
        assert!(serde_json::from_str::<Value>(&done.stdout).expect("one document").is_object());
    }
}

/// With standard input.
fn fed(folder: &Folder, arguments: &[&str], input: &str) -> Done {
    folder.write("input", input);
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(arguments).current_dir(folder.0.path());
    command.stdin(fs::File::open(folder.0.path().join("input")).expect("it was written"));
    let done = command.output().expect("palisade was built");
    let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
    Done { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

/// The second policy opens a port, shuts one, and limits one.
const BEFORE: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  old: { ports: 8000/tcp, from: 203.0.113.0/24 }
";
const AFTER: &str = "version: 1
services:
  # In the place of the old one.
  new: { ports: 9000/tcp, from: 198.51.100.7 }
  ssh: { ports: 22/tcp, from: any, log: true }
";

#[test]
fn two_policies_are_compared_in_each_form_one_of_them_from_standard_input() {
    let folder = Folder::new();
    folder.write("before.yaml", BEFORE);
    folder.write("after.yaml", AFTER);
    let diff = |arguments: &[&str]| fed(&folder, &[&["diff"], arguments].concat(), BEFORE);

    let github = diff(&["before.yaml", "after.yaml", "--format", "github"]);
    let expected = "\
::notice file=after.yaml,title=palisade::8000/tcp: 203.0.113.0/24 loses
::warning file=after.yaml,line=4,title=palisade::9000/tcp: 198.51.100.7 gains
::notice file=after.yaml,line=5,title=palisade::limit rate 10/second burst 5 packets log prefix \"palisade allowed ssh: \" comment \"palisade: ssh: each new connection is logged (after.yaml:5)\"
";
    assert_eq!(github, Done { status: Some(2), stdout: expected.to_owned(), stderr: String::new() });

    let markdown = diff(&["-", "after.yaml", "--format", "markdown"]).stdout;
    let (access, rules) = markdown.split_once("\n<details>").expect("the rules are folded away");
    let gains = "### palisade\n\n- `8000/tcp: 203.0.113.0/24 loses`\n- `9000/tcp: 198.51.100.7 gains`\n";
    assert_eq!(access, gains);
    let text = diff(&["-", "after.yaml"]).stdout;
    let rules = rules.split("```").nth(1).and_then(|rules| rules.strip_prefix("diff\n")).expect("a block of code");
    let accesses = "access: 8000/tcp: 203.0.113.0/24 loses\naccess: 9000/tcp: 198.51.100.7 gains\n";
    let first = "1 added (new), 1 changed (ssh), 1 removed (old); 12 changes to make\n\n--- policy: -\n";
    assert!(text.starts_with(first) && text.ends_with(&format!("\n\n{rules}{accesses}")), "{text}");

    let same = diff(&["-", "before.yaml", "--json"]);
    let document = json!({
        "in_sync": true, "changes": [], "access": [], "names": [], "temporary": [], "format_version": 1
    });
    assert_eq!(serde_json::from_str::<Value>(&same.stdout).ok(), Some(document));
    assert_eq!((same.status, same.stderr.as_str()), (Some(0), ""));
    let none = Done { status: Some(1), stdout: String::new(), stderr: String::new() };
    let twice =
        "error: standard input can be one of two policies only\n |\n = help: name a file in the place of one `-`\n";
    assert_eq!(diff(&["-", "-"]), Done { stderr: twice.to_owned(), ..none });
    folder.write("after.yaml", "version: 1\nservices:\n  ssh: { ports: 22, from: any }\n");
    let refused = "::error file=after.yaml,line=3,col=17,title=palisade::the port `22` does not say of which protocol%0A\
                   write `22/tcp` or `22/udp`, or both as two items\n";
    let refused = Done { status: Some(1), stdout: refused.to_owned(), stderr: String::new() };
    assert_eq!(diff(&["-", "after.yaml", "--format", "github"]), refused);
}

#[test]
fn several_policies_are_checked_and_all_problems_of_all_of_them_are_said() {
    let folder = Folder::new();
    folder.write("bad.yaml", INVALID);
    folder.write("good.yaml", VALID);
    let problems = PROBLEMS.replace("policy.yaml", "bad.yaml");

    let done = fed(&folder, &["check", "bad.yaml", "-"], INVALID);
    let expected = Done {
        status: Some(1),
        stdout: "bad.yaml is not valid: 2 problems\n- is not valid: 2 problems\n0 files are valid, 2 are not\n"
            .to_owned(),
        stderr: format!("{problems}{}", PROBLEMS.replace("policy.yaml", "<stdin>")),
    };
    assert_eq!(done, expected);

    let done = fed(&folder, &["check", "bad.yaml", "good.yaml", "--json"], "");
    let document: Value = serde_json::from_str(&done.stdout).expect("one document");
    let each: Vec<Value> =
        document["files"].as_array().into_iter().flatten().map(|of| json!([of["file"], of["valid"]])).collect();
    assert_eq!((done.status, &document["valid"]), (Some(1), &json!(false)));
    assert_eq!(each, [json!(["bad.yaml", false]), json!(["good.yaml", true])]);
}

#[test]
fn a_policy_that_is_not_there_is_one_sentence() {
    let folder = Folder::new();
    let done = run(&folder, &["--policy", "none.yaml", "check"]);
    assert_eq!(
        done,
        Done { status: Some(1), stdout: String::new(), stderr: "error: none.yaml does not exist\n".into() }
    );
}

#[test]
fn colours_are_for_terminals_and_for_whoever_asks() {
    let folder = Folder::new();
    folder.write("policy.yaml", INVALID);
    let colourful = |arguments: &[&str], variables: &[(&str, &str)]| {
        let done = palisade(&folder, &[&["--policy", "policy.yaml", "check"], arguments].concat(), variables);
        done.stderr.contains('\u{1b}')
    };
    assert!(!colourful(&[], &[]), "no terminal");
    assert!(colourful(&["--color", "always"], &[]));
    assert!(colourful(&["--color=always"], &[("NO_COLOR", "1")]), "what is typed beats what is set");
    assert!(!colourful(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colourful(&["--color", "auto"], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
}

#[test]
fn the_schema_is_json_and_each_shell_has_completions() {
    let folder = Folder::new();
    let schema = run(&folder, &["schema"]);
    let parsed: Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert_eq!(parsed["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&folder, &["completions", shell]);
        assert_eq!((script.status, script.stderr.as_str()), (Some(0), ""));
        // Some scripts have the commands, the others ask for them.
        let asks = script.stdout.contains(&format!(" complete {shell} "));
        let done = if asks { run(&folder, &["complete", shell, "palisade", ""]) } else { script };
        for command in COMMANDS.split(' ') {
            assert!(done.stdout.contains(command), "{command} in {shell}");
        }
    }
}

#[test]
fn there_is_a_manual_page_of_palisade_and_of_each_command() {
    let folder = Folder::new();
    let done = run(&folder, &["man", "pages/new"]);
    assert_eq!(done, Done { status: Some(0), stdout: String::new(), stderr: String::new() });
    let found = fs::read_dir(folder.0.path().join("pages/new")).expect("the folder was made");
    let mut found: Vec<String> =
        found.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    let mut wanted = vec!["palisade.8".to_owned(), "palisade.yaml.5".to_owned()];
    wanted.extend(COMMANDS.split(' ').map(|command| format!("palisade-{command}.8")));
    wanted.sort();
    assert_eq!(found, wanted);

    folder.write("file", "");
    let done = run(&folder, &["man", "file"]);
    let stderr = "error: can't write manual pages to file: File exists (os error 17)\n".to_owned();
    assert_eq!(done, Done { status: Some(1), stdout: String::new(), stderr });
}

#[test]
fn help_tells_the_exit_statuses_of_every_command_whose_status_is_an_answer() {
    let folder = Folder::new();
    let statuses = [
        ("check", "Exit status: 0 the policy is valid, 1 it is not, or it does not fit this machine."),
        ("diff", "Exit status: 0 they are in sync, 2 they differ, 1 error."),
        (
            "apply",
            "Exit status: 0 the kernel holds the policy; 1 it does not, and the old rules are in force unless the error \
             says otherwise; with --dry-run, 4 it would be refused.",
        ),
        ("status", "Exit status: 0 palisade is active, 3 it is not, 1 error."),
        ("explain", "Exit status: 0 allowed, 2 denied or rejected, 3 can't tell, 1 error"),
        ("exposure", "Exit status: 0 success, 1 error."),
        (
            "export",
            "Exit status: 0 all of the policy's access is exported, 2 something was narrowed or left out, 1 an error.",
        ),
        ("doctor", "Exit status: 0 healthy, 2 findings, 1 error"),
        (
            "import",
            "Exit status: 0 the policy is exactly what the rules were, 2 there is something to read, 1 an error.",
        ),
    ];
    let help = |arguments: &[&str]| run(&folder, arguments).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for (command, sentence) in statuses {
        let help = help(&[command, "--help"]);
        assert!(help.contains(sentence), "{command}: {help}");
    }
    let help = help(&["--help"]);
    let all = "Exit status: 0 is success, 1 an error. `diff` exits with 2 if the kernel differs, `status` with 3 if \
               nothing is loaded, `explain` with 2 if the connection is denied and with 3 if it can't tell, `doctor` \
               with 2 if there are findings, `export` with 2 if something was left out, `import` with 2 if its report has \
               to be read.";
    assert!(help.contains(all), "{help}");
}

#[test]
fn each_command_of_the_guides_is_one_that_palisade_understands() {
    let guides = [("troubleshooting.md", include_str!("../docs/troubleshooting.md"), 20)];
    for (name, text, at_least) in guides {
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
        let commands: Vec<&str> =
            blocks.flat_map(|(block, _)| block.lines().map(str::trim)).filter(|line| !line.is_empty()).collect();
        assert!(commands.len() >= at_least, "{name}: {commands:?}");
        for command in commands {
            let parsed = Cli::try_parse_from(command.split(' '));
            assert!(parsed.is_ok(), "{name}: {command}: {}", parsed.map(drop).unwrap_err());
        }
    }
}

#[test]
fn who_stops_reading_is_not_told_so() {
    let folder = Folder::new();
    let services: Vec<String> =
        (1..2_000).map(|port| format!("  s{port}: {{ ports: {port}/tcp, from: any }}\n")).collect();
    folder.write("policy.yaml", &format!("version: 1\nservices:\n{}", services.concat()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["--policy", "policy.yaml", "show"])
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("palisade was built");
    let mut first = [0; 20];
    // More than a pipe holds is still to come when this end is closed.
    child.stdout.take().expect("it was piped").read_exact(&mut first).expect("it prints");
    let done = child.wait_with_output().expect("it was started");

    assert_eq!(String::from_utf8_lossy(&first), "table inet palisade ");
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn standard_output_that_is_full_is_an_error() {
    let folder = Folder::new();
    let path = Path::new("/dev/full");
    let full = fs::File::options().write(true).open(path).expect("Linux has it");
    let done = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .arg("schema")
        .current_dir(folder.0.path())
        .stdout(full)
        .output()
        .expect("palisade was built");
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "error: can't print: No space left on device (os error 28)\n");
}

/// The options of a line of usage: `--deep` of `palisade diff [--deep]`.
fn options_of(usage: &str) -> BTreeSet<String> {
    let words = usage.split(|c: char| c.is_whitespace() || "[]".contains(c));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn the_readme_has_each_command_with_its_options() {
    let readme = include_str!("../README.md");
    let head = "| command | does | exit status |\n|---|---|---|\n";
    let (_, table) = readme.split_once(head).expect("the table of commands");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    // One or several in backquotes in the first cell, of which the first begins with the program's name.
    let usages = rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2));
    let mut documented: Vec<(String, BTreeSet<String>)> = usages
        .map(|usage| usage.trim_start_matches("palisade "))
        .map(|usage| (usage.split(' ').next().unwrap_or_default().to_owned(), options_of(usage)))
        .collect();

    let command = Cli::command();
    let own = |command: &clap::Command| {
        let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
        visible.filter_map(|argument| argument.get_long().map(|long| format!("--{long}"))).collect()
    };
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut commands: Vec<(String, BTreeSet<String>)> =
        commands.map(|command| (command.get_name().to_owned(), own(command))).collect();

    documented.sort();
    commands.sort();
    assert_eq!(documented, commands);
}
