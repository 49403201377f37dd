//! `palisade import ufw`: what is printed where, and with which exit status.

use super::ufw;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const SSH: [&str; 2] = ["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "allow tcp 22 ::/0 any ::/0 in"];

/// Writes a file that nobody else may write, whatever the umask, and the folders above it.
fn write(root: &Path, path: &str, text: &str) {
    let full = root.join(path);
    let folder = full.parent().expect("it has one");
    fs::create_dir_all(folder).expect("the folder is writable");
    for above in folder.ancestors().take_while(|above| above.starts_with(root)) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
    }
    fs::write(&full, text).expect("the folder is writable");
    fs::set_permissions(&full, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
}

/// An installation with these rules for both versions.
fn installation(four: &str, six: &str) -> TempDir {
    let root = TempDir::new().expect("there is a place for temporary files");
    write(root.path(), "etc/default/ufw", &ufw::defaults("DROP", "ACCEPT", "DROP", true));
    write(root.path(), "etc/ufw/ufw.conf", ufw::CONF);
    write(root.path(), "etc/ufw/user.rules", &ufw::rules_file(&[four], false));
    write(root.path(), "etc/ufw/user6.rules", &ufw::rules_file(&[six], true));
    for (path, text) in ufw::BEFORE {
        write(root.path(), path, text);
    }
    root
}

#[derive(Debug, PartialEq, Eq)]
struct Done {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(root: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["import", "ufw", "--root"]).arg(root).args(arguments).stdin(Stdio::null());
    let done = command.output().expect("palisade was built");
    let text =
        |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8").replace(&root.display().to_string(), "ROOT");
    Done { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

const POLICY: &str = "\
# Written by `palisade import ufw`. Read its report, keep this as /etc/palisade/policy.yaml, and then:
#   palisade check
#   palisade apply --confirm 60s     # and `palisade confirm` in a new connection
version: 1

defaults:
  incoming: deny
  outgoing: allow
  forward: deny
  ping: allow

log:
  denied: 3/minute

services:
  ssh:  # user.rules:5, user6.rules:5
    ports: 22/tcp
    from: any

# Made from ufw's rules, and not from the services above. `palisade check` proves it.
expect:
  - { allow: 22/tcp, from: any }
";
const REPORT: &str = "exact (1):\n  user.rules:5, user6.rules:5: ufw allow 22/tcp\n1 rule: 1 exact\n";

#[test]
fn the_policy_goes_to_standard_output_and_the_report_to_standard_error() {
    let root = installation(SSH[0], SSH[1]);
    let done =
        |stdout: &str, stderr: &str| Done { status: Some(0), stdout: stdout.to_owned(), stderr: stderr.to_owned() };

    assert_eq!(run(root.path(), &[]), done(POLICY, REPORT));
    assert_eq!(run(root.path(), &["-q"]), done(POLICY, ""));

    let json = run(root.path(), &["--json"]);
    let document: Value = serde_json::from_str(&json.stdout).expect("one document");
    assert_eq!((json.status, document["policy"].as_str()), (Some(0), Some(POLICY)));
    assert_eq!(document["counts"]["exact"], 1);
}

#[test]
fn what_has_to_be_read_is_another_exit_status() {
    let root = installation("limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "limit tcp 22 ::/0 any ::/0 in");
    assert_eq!(run(root.path(), &[]).status, Some(2));
    let root = installation("allow udp 67 0.0.0.0/0 68 0.0.0.0/0 in", "allow udp 67 ::/0 68 ::/0 in");
    assert_eq!(run(root.path(), &[]).status, Some(2));
}

#[test]
fn what_ufw_could_not_use_and_what_others_could_have_written_is_an_error() {
    let error = |root: &TempDir| {
        let done = run(root.path(), &[]);
        assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""));
        done.stderr
    };
    let root = installation(SSH[0], SSH[1]);
    let defaults = root.path().join("etc/default/ufw");
    write(root.path(), "etc/default/ufw", "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DENY\"\n");
    let said = "error: ROOT: etc/default/ufw has no valid DEFAULT_INPUT_POLICY: ufw knows ACCEPT, DROP and REJECT\n";
    assert_eq!(error(&root), said);

    fs::remove_file(&defaults).expect("it is this user's");
    assert_eq!(error(&root), "error: ROOT: etc/default/ufw is not there: no ufw is installed below this root\n");

    symlink("/etc/hosts", &defaults).expect("the folder is writable");
    assert_eq!(error(&root), "error: ROOT/etc/default/ufw is a link: copy the file itself\n");

    fs::remove_file(&defaults).expect("it is this user's");
    write(root.path(), "etc/default/ufw", &ufw::defaults("DROP", "ACCEPT", "DROP", true));
    fs::set_permissions(&defaults, fs::Permissions::from_mode(0o666)).expect("the file is this user's");
    let said = "error: ROOT/etc/default/ufw can be written by everyone, who could change the firewall with it (`chmod go-w \
                ROOT/etc/default/ufw`)\n";
    assert_eq!(error(&root), said);
}
