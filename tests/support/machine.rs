//! A machine with a network, a state and policies of its own, on which palisade runs as it is typed, over SSH or not.

use super::lab::without_time;
use super::namespace::{Namespace, Output, output};
use super::program::palisade;
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long is waited for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Machine {
    pub inside: Namespace,
    scratch: TempDir,
}

impl Machine {
    /// Without a rule, a policy or anything that was kept.
    pub fn new() -> Self {
        // Below /run only root may write, which palisade wants of the folders above a policy.
        let scratch =
            tempfile::Builder::new().prefix("palisade-machine-").tempdir_in("/run").expect("/run is writable");
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("it is root's");
        // Palisade tells an SSH connection by the name of the process that serves it.
        fs::copy("/bin/sh", scratch.path().join("sshd")).expect("a shell can be copied");
        Self { inside: Namespace::new(), scratch }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A file of what palisade keeps.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.path("lib").join(name)
    }

    /// Writes the policy, which opens SSH and these TCP ports.
    pub fn open(&self, ports: &[u16]) {
        self.write("policy.yaml", &policy(ports));
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("scratch is writable");
    }

    /// Palisade with this machine's folders, to be run by what stands before it.
    fn with(&self, before: &str, more: &[&str], policy: &str, arguments: &[&str]) -> Command {
        let mut command = self.inside.command(before);
        command.args(more).arg(palisade()).arg("--policy").arg(self.path(policy));
        command.arg("--state-dir").arg(self.path("lib")).arg("--run-dir").arg(self.path("run")).args(arguments);
        command
    }

    /// Palisade, from nowhere in particular.
    pub fn command(&self, policy: &str, arguments: &[&str]) -> Command {
        self.with("env", &["--unset=SSH_CONNECTION"], policy, arguments)
    }

    /// Palisade, over an SSH connection that is opened for it.
    pub fn ssh_command(&self, arguments: &[&str]) -> Command {
        let sshd = self.path("sshd").display().to_string();
        self.with(&sshd, &["-c", "\"$@\"; exit $?", "sshd"], "policy.yaml", arguments)
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command("policy.yaml", arguments))
    }

    #[track_caller]
    pub fn ssh(&self, arguments: &[&str]) -> Output {
        output(&mut self.ssh_command(arguments))
    }

    /// All rules as stock nft lists them, without counts and the time of loading.
    pub fn rules(&self) -> String {
        without_time(&self.inside.nft_list())
    }

    /// The rules that the policy which opens these ports makes.
    pub fn rules_of(ports: &[u16]) -> String {
        let machine = Self::new();
        machine.open(ports);
        machine.run(&["apply"]).success();
        machine.rules()
    }

    /// Waits until the rules are these.
    #[track_caller]
    pub fn wait_for(&self, rules: &str) {
        wait_until(|| self.rules() == rules);
    }

    /// Whether a change waits for confirmation.
    pub fn waits(&self) -> bool {
        self.kept("pending/change.json").exists()
    }

    /// Whether a process of palisade's watches over a change.
    pub fn is_watched(&self) -> bool {
        let own = self.path("lib").display().to_string();
        let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let lines = processes.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
        lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .any(|l| l.contains(&own) && l.contains("--watch"))
    }

    /// Makes the change that waits one of before the machine was started.
    pub fn reboot(&self) {
        let path = self.kept("pending/change.json");
        if let Ok(text) = fs::read_to_string(&path) {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has it");
            assert!(text.contains(boot.trim()));
            fs::write(path, text.replace(boot.trim(), "an-older-boot")).expect("scratch is writable");
        }
        let _ = fs::remove_dir_all(self.path("run"));
        output(self.inside.command("nft").args(["flush", "ruleset"])).success();
    }
}

/// A policy that opens SSH and these TCP ports.
pub fn policy(ports: &[u16]) -> String {
    let ports: Vec<_> = [22].iter().chain(ports).map(|port| format!("{port}/tcp")).collect();
    format!("version: 1\nservices:\n  ssh:\n    ports: [{}]\n    from: any\n", ports.join(", "))
}

/// Waits until something holds.
#[track_caller]
pub fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `work` on a thread with mounts of its own.
pub fn with_own_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("the kernel tests take root");
            mount(&["--make-rprivate", "/"]);
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Mounts a file system of so many KiB and fills it but for that many bytes.
pub fn mount_full(path: &Path, room: usize) {
    fs::create_dir_all(path).expect("a folder");
    let place = path.display().to_string();
    mount(&["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", &place]);
    let mut size = 64 << 10;
    while fs::write(path.join("filling"), vec![0; size]).is_err() {
        size -= 4096;
    }
    fs::write(path.join("filling"), vec![0; size - room]).expect("it took more");
}

/// Makes a folder read-only.
pub fn mount_read_only(path: &Path) {
    let place = path.display().to_string();
    mount(&["--bind", &place, &place]);
    mount(&["-o", "remount,bind,ro", &place]);
}

#[track_caller]
fn mount(arguments: &[&str]) {
    output(Command::new("mount").args(arguments)).success();
}
