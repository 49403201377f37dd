//! A handful of hosts with a real sshd each, in namespaces of their own, and the machine that Ansible runs on.
//!
//! ```text
//! control 10.9.0.254 ── bridge ──┬── eth0 10.9.0.1 host1
//!                                ├── eth0 10.9.0.2 host2
//! ```
#![allow(dead_code, unreachable_pub)]

use crate::support::namespace::{Namespace, Output, output};
use crate::support::program::palisade;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where the policy of each host is. What is below `/run` is the host's own.
pub const POLICY: &str = "/run/policy/policy.yaml";

/// The first process of a host: sshd, beside files of its own. What it starts ends with it.
const HOST: &str = "set -e
    mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs -o mode=755 tmpfs /var/lib
    mkdir /run/sshd /run/policy
    exec /usr/sbin/sshd -D -e -f \"$0\"";

/// A host; it ends when this is dropped.
pub struct Host {
    pub inside: Namespace,
    sshd: Child,
}

/// The hosts, and what Ansible reads.
pub struct Fleet {
    pub hosts: Vec<Host>,
    control: Namespace,
    folder: TempDir,
    /// What sshd reads. It is not below `/run`, of which each host has its own.
    keys: TempDir,
}

/// Where scripts/test has put Ansible; `None` where it can't be had.
pub fn ansible() -> Option<PathBuf> {
    program("ansible")
}

/// That of Debian 12.
pub fn ansible_of_debian_12() -> Option<PathBuf> {
    program("ansible-2.14")
}

fn program(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name).join("bin");
    path.exists().then_some(path)
}

impl Fleet {
    pub fn new(count: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("palisade-fleet-").tempdir_in("/run").expect("/run is writable");
        let control = Namespace::new();
        control.ip("link add bridge type bridge");
        control.ip("address add 10.9.0.254/24 dev bridge");
        control.ip("link set bridge up");
        let keys = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the folder for tests is writable");
        for key in ["host", "user"] {
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-f"];
            output(Command::new("ssh-keygen").args(arguments).arg(keys.path().join(key))).success();
        }
        let config = keys.path().join("config");
        let path = |name: &str| keys.path().join(name).display().to_string();
        let text = format!(
            "Port 22\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n\
             PidFile none\nUseDNS no\nMaxStartups 100\n",
            path("host"),
            path("user.pub")
        );
        fs::write(&config, text).expect("the folder is writable");
        let mut fleet = Self { hosts: Vec::new(), control, folder, keys };
        for number in 1..=count {
            fleet.hosts.push(fleet.host(number, &config));
        }
        fleet.write_inventory(count);
        fleet
    }

    fn host(&self, number: usize, config: &Path) -> Host {
        let inside = Namespace::new();
        self.control.ip(&format!("link add host{number} type veth peer name eth0 netns {}", inside.path()));
        self.control.ip(&format!("link set host{number} master bridge up"));
        inside.ip(&format!("address add 10.9.0.{number}/24 dev eth0"));
        inside.ip("link set eth0 up");
        let mut command = inside.command("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ]);
        command.args(["/bin/sh", "-c", HOST]).arg(config).stderr(Stdio::piped());
        let mut sshd = command.spawn().expect("util-linux has unshare");
        let mut said = BufReader::new(sshd.stderr.take().expect("it was piped")).lines();
        let listens = said.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening on 0.0.0.0"));
        assert!(listens, "sshd does not listen");
        // It goes on to talk.
        std::thread::spawn(move || said.count());
        Host { inside, sshd }
    }

    /// The hosts, and how they are reached; the collection as it is in the source.
    fn write_inventory(&self, count: usize) {
        let hosts: String =
            (1..=count).map(|number| format!("    host{number}: {{ ansible_host: 10.9.0.{number} }}\n")).collect();
        let (key, program) = (self.keys.path().join("user"), palisade());
        self.write(
            "hosts.yml",
            &format!(
                "palisade:\n  hosts:\n{hosts}  vars:\n    ansible_user: root\n    ansible_python_interpreter: /usr/bin/python3\n    \
                 ansible_ssh_private_key_file: {}\n    ansible_ssh_common_args: -o UserKnownHostsFile=/dev/null -o \
                 StrictHostKeyChecking=no -o LogLevel=ERROR -o IdentitiesOnly=yes\n    palisade_executable: {program}\n    \
                 palisade_policy: {POLICY}\n    palisade_enable: false\n",
                key.display(),
            ),
        );
        self.write(
            "ansible.cfg",
            "[defaults]\ninventory = hosts.yml\ncollections_path = collections\nforks = 10\ngathering = explicit\ntimeout = 5\n\
             nocows = true\nremote_tmp = /run/ansible\ncallback_result_format = yaml\n[ssh_connection]\npipelining = true\n\
             ssh_args = -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = cp\n",
        );
        let parent = self.path("collections/ansible_collections/palisade");
        fs::create_dir_all(&parent).expect("the folder is writable");
        let collection = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible");
        std::os::unix::fs::symlink(collection, parent.join("palisade")).expect("the folder is writable");
    }

    /// A path in Ansible's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder that hosts see, too.
    pub fn keys(&self) -> &Path {
        self.keys.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is writable");
    }

    /// Runs a program of Ansible's beside its inventory.
    pub fn ansible(&self, program: &Path, arguments: &[&str]) -> Output {
        let mut command = self.control.command(&program.to_string_lossy());
        command.args(arguments).current_dir(self.folder.path());
        command.env("ANSIBLE_HOME", self.path("home")).env("ANSIBLE_LOCAL_TEMP", self.path("local"));
        command.env("ANSIBLE_CONFIG", self.path("ansible.cfg")).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
        output(&mut command)
    }

    /// Runs a playbook.
    pub fn play(&self, ansible: &Path, playbook: &str, arguments: &[&str]) -> Output {
        self.ansible(&ansible.join("ansible-playbook"), &[&[playbook][..], arguments].concat())
    }
}

impl Host {
    /// Nobody answers there any more.
    pub fn stop(&mut self) {
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}
