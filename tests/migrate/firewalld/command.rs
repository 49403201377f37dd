//! `palisade import firewalld`: what is printed where, and with which exit status.

use super::folders::folder;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

#[derive(Debug, PartialEq, Eq)]
struct Done {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(root: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["import", "firewalld"]).args(arguments).arg("--root").arg(root).stdin(Stdio::null());
    let done = command.output().expect("palisade was built");
    let text =
        |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8").replace(&root.display().to_string(), "ROOT");
    Done { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

fn error(root: &Path, arguments: &[&str]) -> String {
    let done = run(root, arguments);
    assert_eq!((done.status, done.stdout.as_str()), (Some(1), ""), "{}", done.stderr);
    done.stderr
}

/// A copy of an installation that nobody else may write, whatever the umask.
fn copy(name: &str) -> TempDir {
    let root = TempDir::new().expect("there is a place for temporary files");
    let from = folder().join(format!("{name}.d"));
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let here = root.path().join(&below);
        fs::create_dir_all(&here).expect("it is writable");
        fs::set_permissions(&here, fs::Permissions::from_mode(0o755)).expect("it is this user's");
        for entry in fs::read_dir(from.join(&below)).expect("it is there") {
            let entry = entry.expect("it can be read");
            if entry.path().is_dir() {
                folders.push(below.join(entry.file_name()));
            } else {
                let file = here.join(entry.file_name());
                fs::copy(entry.path(), &file).expect("it can be copied");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is this user's");
            }
        }
    }
    root
}

#[test]
fn the_command_reads_what_the_folders_hold_and_prints_what_stands_beside_them() {
    for name in ["drop-zone", "replaced", "docker", "ipsets"] {
        let golden = fs::read_to_string(folder().join(format!("{name}.txt"))).expect("it can be read");
        let (policy, rest) = golden.split_once("--- exit status ").expect("it has both");
        let (status, report) = rest.split_once('\n').expect("it has both");
        let root = copy(name);
        let expected = Done { status: status.parse().ok(), stdout: policy.to_owned(), stderr: report.to_owned() };
        assert_eq!(run(root.path(), &[]), expected, "{name}");
    }
    let root = copy("drop-zone");
    let conf = root.path().join("etc/NetworkManager");
    fs::create_dir(&conf).expect("it is writable");
    fs::write(conf.join("NetworkManager.conf"), "").expect("it is writable");
    let done = run(root.path(), &[]);
    assert!(
        done.status == Some(2) && done.stderr.contains("\n  etc/NetworkManager: NetworkManager binds"),
        "{done:?}"
    );
}

#[test]
fn what_firewalld_could_not_use_and_what_others_could_have_written_is_an_error() {
    let root = copy("drop-zone");
    let zone = root.path().join("etc/firewalld/zones/drop.xml");
    fs::write(&zone, "<zone>\n<service/></zone>").expect("it is writable");
    let said = "error: ROOT: firewalld can't use these files either, and then falls back to the zones that are shipped: mend them \
                first\n  etc/firewalld/zones/drop.xml:2: `service` has no `name`\n";
    assert_eq!(error(root.path(), &[]), said);

    fs::set_permissions(&zone, fs::Permissions::from_mode(0o666)).expect("it is this user's");
    let said = "error: ROOT/etc/firewalld/zones/drop.xml can be written by everyone, who could change the firewall with it (`chmod \
                go-w ROOT/etc/firewalld/zones/drop.xml`)\n";
    assert_eq!(error(root.path(), &[]), said);

    fs::remove_file(&zone).expect("it is this user's");
    symlink("/etc/hosts", &zone).expect("the folder is writable");
    assert_eq!(error(root.path(), &[]), "error: ROOT/etc/firewalld/zones/drop.xml is a link: copy the file itself\n");

    fs::remove_file(&zone).expect("it is this user's");
    fs::write(&zone, " ".repeat((1 << 20) + 1)).expect("it is writable");
    assert!(error(root.path(), &[]).starts_with("error: ROOT/etc/firewalld/zones/drop.xml "));

    let empty = TempDir::new().expect("there is a place for temporary files");
    let said = "error: ROOT: etc/firewalld is not there: no firewalld is installed below this root\n";
    assert_eq!(error(empty.path(), &[]), said);
}
