//! `palisade edit` on a terminal: a broken policy is opened again, and a good one is written and applied.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use support::lab::Lab;
use support::namespace::output;
use support::program::palisade;

const POLICY: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }   # stays\n";

/// Leaves a broken policy at first, then a good one, and notes what it was called with.
const EDITOR: &str = "#!/bin/sh
echo \"$@\" | sed 's|/[^ ]*/||' >>DIR/calls
if [ -e DIR/again ]; then sed -i 's|9000, from|9000/tcp, from|' \"$2\"; exit; fi
touch DIR/again
echo '  web: { ports: 9000, from: any }' >>\"$1\"
";

#[test]
fn a_broken_edit_is_opened_again_at_its_line_and_a_good_one_is_written_and_waits_for_confirmation() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", POLICY);
    let policy = lab.policy("policy.yaml");
    let folder = policy.parent().expect("it is in a folder").to_owned();
    lab.palisade("policy.yaml", &["apply", "--force"]).success();
    let editor = folder.join("vi");
    fs::write(&editor, EDITOR.replace("DIR", &folder.display().to_string())).expect("it is writable");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("it was made here");

    let line = format!(
        "{} --state-dir {1}/state --run-dir {1}/run --policy {2} edit",
        palisade(),
        folder.display(),
        policy.display()
    );
    let mut command = lab.host.command("script");
    command.args(["-qec", &line, "/dev/null"]).env("EDITOR", &editor).env_remove("VISUAL").env("TERM", "dumb");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("script is there");
    // Held until the end: at the end of its input `script` would end the terminal.
    let mut input = child.stdin.take().expect("it was piped");
    input.write_all(b"y\ny\n").expect("it reads");
    let done = child.wait_with_output().expect("it was started");
    drop(input);
    let said = String::from_utf8_lossy(&done.stdout);

    assert!(done.status.success(), "{said}");
    let web = "  web: { ports: 9000/tcp, from: any }\n";
    assert_eq!(fs::read_to_string(&policy).expect("it is there"), format!("{POLICY}{web}"));
    let calls = fs::read_to_string(folder.join("calls")).expect("it was called");
    assert_eq!(calls, ".policy.yaml.edited\n+4 .policy.yaml.edited\n");
    assert!(said.contains("the port `9000` does not say of which protocol"), "{said}");
    assert!(said.contains("1 added (web); 3 changes to make"), "{said}");
    assert!(said.contains("  9000/tcp: any gains"), "{said}");
    assert!(lab.host.nft_list().contains("chain service-web"), "{said}");
    assert!(!folder.join(".policy.yaml.edited").exists());
    let mut confirm = lab.host.command(palisade());
    confirm.arg("--state-dir").arg(folder.join("state")).arg("--run-dir").arg(folder.join("run"));
    output(confirm.arg("confirm")).success();
}
