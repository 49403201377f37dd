//! `palisade edit` on a terminal: a broken policy is opened again, and a good one is written and applied.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::lab::Lab;
use support::program::palisade;
use support::terminal::OnTerminal;

const POLICY: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }   # stays\n";

/// Leaves a broken policy at first, then a good one, and notes what it was called with.
const EDITOR: &str = "#!/bin/sh
echo \"$@\" | sed 's|/[^ ]*/||' >>DIR/calls
if [ -e DIR/again ]; then sed -i 's|9000, from|9000/tcp, from|' \"$2\"; exit; fi
touch DIR/again
echo '  web: { ports: 9000, from: any }' >>\"$1\"
";

#[test]
fn a_broken_edit_is_opened_again_at_its_line_and_a_good_one_is_written_applied_and_kept_by_an_answer() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", POLICY);
    let policy = lab.policy("policy.yaml");
    let folder = policy.parent().expect("it is in a folder").to_owned();
    lab.palisade("policy.yaml", &["apply", "--force"]).success();
    let editor = folder.join("vi");
    fs::write(&editor, EDITOR.replace("DIR", &folder.display().to_string())).expect("it is writable");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("it was made here");

    let mut command = lab.host.command(palisade());
    command.arg("--state-dir").arg(folder.join("state")).arg("--run-dir").arg(folder.join("run"));
    command.arg("--policy").arg(&policy).arg("edit").env("NO_COLOR", "1").env("EDITOR", &editor).env_remove("VISUAL");
    let mut terminal = OnTerminal::begin(command);
    for question in ["Edit it again? [y/N] ", "and apply it for 60s? [y/N] ", "[y/n] "] {
        terminal.read_until(question);
        terminal.type_in("y\n");
    }
    let done = terminal.end();
    let said = format!("{}{}", done.stderr, done.stdout);

    assert_eq!(done.status, Some(0), "{said}");
    let web = "  web: { ports: 9000/tcp, from: any }\n";
    assert_eq!(fs::read_to_string(&policy).expect("it is there"), format!("{POLICY}{web}"));
    let calls = fs::read_to_string(folder.join("calls")).expect("it was called");
    assert_eq!(calls, ".policy.yaml.edited\n+4 .policy.yaml.edited\n");
    assert!(said.contains("the port `9000` does not say of which protocol"), "{said}");
    assert!(said.contains("1 added (web); 3 changes to make"), "{said}");
    assert!(said.contains("  9000/tcp: any gains"), "{said}");
    assert!(lab.host.nft_list().contains("chain service-web"), "{said}");
    assert!(!folder.join(".policy.yaml.edited").exists());
    assert_eq!(done.stdout, format!("confirmed: {} stays\n", policy.display()));
}
