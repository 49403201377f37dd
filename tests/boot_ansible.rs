//! The role of `ansible/` on a server with a real systemd: the package is installed, the policy is kept by a new connection, and
//! the units are enabled. Needs Ansible, which scripts/test puts below target/clients where it can be had.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::lab::{CLIENT, HOST};
use support::namespace::{Output, output};
use support::nspawn::{EARLY, Machine, Suite, package};
use support::probe::{Outcome, SILENCE, Target};
use tempfile::TempDir;

const POLICY: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n";

/// What Ansible reads, on the client of a machine.
struct Controller<'m> {
    machine: &'m Machine,
    program: PathBuf,
    folder: TempDir,
}

impl<'m> Controller<'m> {
    fn new(machine: &'m Machine, program: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("palisade-role-").tempdir_in("/run").expect("/run is writable");
        let path = |name: &str| folder.path().join(name);
        let key = path("key");
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).success();
        machine.copy(&path("key.pub"), "/root/key.pub");
        machine.run("install -D -m 600 /root/key.pub /root/.ssh/authorized_keys && rm /root/key.pub");
        let write = |name: &str, text: String| fs::write(path(name), text).expect("the folder is writable");
        write(
            "hosts.yml",
            format!(
                "palisade:\n  hosts:\n    server:\n      ansible_host: {}\n  vars:\n    ansible_user: root\n    \
                 ansible_python_interpreter: /usr/bin/python3\n    ansible_ssh_private_key_file: {}\n    \
                 ansible_ssh_common_args: -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR \
                 -o IdentitiesOnly=yes -o BindAddress={}\n    palisade_package: /root/palisade.deb\n    palisade_reconnect: 20\n",
                HOST[0],
                key.display(),
                CLIENT[0],
            ),
        );
        write(
            "ansible.cfg",
            "[defaults]\ninventory = hosts.yml\ncollections_path = collections\ntimeout = 10\nnocows = true\n\
             callback_result_format = yaml\n[ssh_connection]\npipelining = true\ncontrol_path_dir = cp\n"
                .to_owned(),
        );
        let parent = path("collections/ansible_collections/palisade");
        fs::create_dir_all(&parent).expect("the folder is writable");
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible"), parent.join("palisade")).expect("it is new");
        Self { machine, program, folder }
    }

    /// Rolls a policy out.
    fn roll(&self, policy: &str) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("policy.yaml"), policy).expect("the folder is writable");
        let content = "palisade_policy_content={{ lookup('ansible.builtin.file', inventory_dir ~ '/policy.yaml') }}";
        let mut command = self.machine.client.command(&self.program.to_string_lossy());
        command.args(["palisade.palisade.roll", "-e", content]).current_dir(self.folder.path());
        command.env("ANSIBLE_HOME", path("home")).env("ANSIBLE_LOCAL_TEMP", path("local"));
        command.env("ANSIBLE_CONFIG", path("ansible.cfg")).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
        output(&mut command)
    }
}

/// How much a roll has changed.
fn changed(done: &Output) -> Option<u32> {
    let line = done.stdout.lines().rfind(|line| line.starts_with("server ") && line.contains("unreachable=0"))?;
    let of = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    (of("failed=") == Some(0)).then(|| of("changed="))?
}

#[track_caller]
fn the_role_installs_applies_and_enables(suite: Suite) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/ansible/bin/ansible-playbook");
    if !program.exists() {
        return eprintln!("left out: there is no Ansible below target/clients");
    }
    let mut machine = Machine::new(suite);
    machine.copy(&package(), "/root/palisade.deb");
    machine.boot(&[]);
    let early = |machine: &Machine| machine.client.probe(Target::Tcp(EARLY), CLIENT[0], HOST[0], SILENCE);
    assert_eq!(early(&machine), Outcome::Connected);
    let units = |machine: &Machine| {
        ["palisade.service", "palisade-check.timer", "palisade-metrics.timer"]
            .map(|unit| machine.shell(&format!("systemctl is-enabled {unit}")).stdout.trim().to_owned())
    };

    let controller = Controller::new(&machine, program);
    let first = controller.roll(POLICY);
    assert!(changed(&first).is_some_and(|changed| changed >= 4), "{}{}", first.stdout, first.stderr);
    assert_eq!(early(&machine), Outcome::TimedOut);
    assert_eq!(units(&machine), ["enabled", "enabled", "disabled"]);
    assert_eq!(machine.shell("palisade status --json").status, Some(0));
    // Nothing waits: the timer that would have undone the change is gone.
    assert_eq!(machine.run("systemctl list-timers --all --no-legend 'palisade-undo-*'"), "");

    let second = controller.roll(POLICY);
    assert_eq!(changed(&second), Some(0), "{}{}", second.stdout, second.stderr);

    // What was rolled out is what the next boot loads.
    let open = POLICY.to_owned() + "  early: { ports: 4444/tcp, from: any }\n";
    let third = controller.roll(&open);
    assert!(changed(&third).is_some_and(|changed| changed >= 1), "{}{}", third.stdout, third.stderr);
    drop(controller);
    machine.power_off();
    machine.boot(&[]);
    assert_eq!(early(&machine), Outcome::Connected);
    machine.run("palisade diff");
}

#[test]
fn on_debian_12() {
    the_role_installs_applies_and_enables(Suite::Bookworm);
}

#[test]
fn on_debian_13() {
    the_role_installs_applies_and_enables(Suite::Trixie);
}
