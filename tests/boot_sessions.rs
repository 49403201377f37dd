//! Somebody is logged in by SSH when systemd reloads palisade, whose hardening hides other processes.
#![allow(missing_docs)]

mod support;

use std::process::Command;
use support::lab::{CLIENT, HOST};
use support::namespace::output;
use support::nspawn::{Machine, Suite};
use support::sshd::{OPTIONS, Session};

/// Keeps whoever is logged in from logging in again.
const LOCKS_OUT: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 192.0.2.9 }\n";

#[test]
fn a_reload_warns_of_each_connection_that_may_be_a_session_and_an_apply_of_the_session() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    let folder = tempfile::tempdir().expect("a folder for a test");
    let key = folder.path().join("key");
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).success();
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen has written it");
    machine.write("/root/.ssh/authorized_keys", &public);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    let mut ssh = machine.client.command("ssh");
    ssh.args(["-F", "none", "-l", "root", "-i"]).arg(&key);
    ssh.args(OPTIONS.iter().flat_map(|option| ["-o", option])).arg(HOST[0].to_string());
    let _session = Session::open(ssh, "cat");
    machine.write("/etc/palisade/policy.yaml", LOCKS_OUT);
    let warnings = |said: &str| -> Vec<String> {
        let warnings = said.lines().filter_map(|line| line.split_once("WARN ").map(|(_, warning)| warning.trim()));
        warnings.map(str::to_owned).collect()
    };
    let again = format!(
        "from {} to port 22 by uplink could not connect again: what else comes in is denied (policy.yaml, by default)",
        CLIENT[0]
    );
    assert_eq!(warnings(&machine.journal()), Vec::<String>::new());

    machine.run("systemctl reload palisade");

    assert_eq!(warnings(&machine.journal()), [format!("an SSH connection, perhaps a session, {again}")]);
    let applied = machine.shell("palisade apply").stderr;
    assert_eq!(warnings(&applied), [format!("the SSH session of root {again}")]);
}
