//! A lab's host with a real sshd, whose root can be logged in to with a key.

use super::lab::Lab;
use super::namespace::{Namespace, Output, output};
use super::program::palisade;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// What a client is told: to ask nobody anything.
pub const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "ConnectTimeout=1",
];

/// A user who may log in beside root.
pub const USER: &str = "alice";

/// The lab, and the sshd, which ends with it.
pub struct Sshd {
    pub lab: Lab,
    sshd: Child,
    folder: TempDir,
}

impl Sshd {
    /// One that listens on this port, beside no rules.
    pub fn new(port: u16) -> Self {
        Self::with(port, "")
    }

    /// The same, with more lines of its configuration.
    pub fn with(port: u16, more: &str) -> Self {
        let lab = Lab::new();
        lab.add_user(USER);
        let folder = tempfile::Builder::new().prefix("palisade-sshd-").tempdir_in("/run").expect("/run is writable");
        // Whoever logs in reads which keys may.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is root's");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
            output(Command::new("ssh-keygen").args(generate)).success();
        }
        let config = format!(
            "Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nStrictModes no\n\
             UsePAM no\nGatewayPorts clientspecified\nPidFile none\nUseDNS no\n{more}",
            path("host"),
            path("user.pub"),
        );
        fs::write(path("config"), config).expect("the folder is writable");
        // Where sshd confines itself; the service makes it when it starts.
        fs::create_dir_all("/run/sshd").expect("/run is writable");
        let mut command = lab.in_its_own_state("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &path("config")]).stderr(Stdio::piped());
        let mut sshd = command.spawn().expect("sshd is installed, see scripts/test");
        let mut said = BufReader::new(sshd.stderr.take().expect("it was piped")).lines();
        let listens = said.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening on ::"));
        assert!(listens, "sshd does not listen");
        // It goes on to talk.
        std::thread::spawn(move || said.count());
        Self { lab, sshd, folder }
    }

    /// A path beside its keys.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client; options may follow, and what it has run.
    pub fn ssh(&self, inside: &Namespace, to: impl Display, port: u16) -> Command {
        self.ssh_as("root", inside, to, port)
    }

    /// The same, of any user.
    pub fn ssh_as(&self, user: &str, inside: &Namespace, to: impl Display, port: u16) -> Command {
        let mut command = inside.command("ssh");
        command.arg("-i").arg(self.path("user")).args(["-F", "none", "-p", &port.to_string(), "-l", user]);
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.arg(to.to_string());
        command
    }

    /// The command that runs palisade in a session, in the lab's own state.
    pub fn palisade(&self, arguments: &[&str]) -> String {
        let policy = self.lab.policy("policy.yaml");
        format!("{} --policy {} {}", palisade(), policy.display(), arguments.join(" "))
    }

    /// Has palisade run in a session of its own, wrapped in a command: `env -i` is what sudo leaves of an environment.
    pub fn palisade_over_ssh(&self, inside: &Namespace, to: IpAddr, wrapped: &str, arguments: &[&str]) -> Output {
        // The shell stays, as sudo does.
        output(self.ssh(inside, to, 22).arg(format!("{wrapped} {}; exit $?", self.palisade(arguments))))
    }
}

impl Sshd {
    /// Ends all sessions, and connections by which nobody has logged in.
    pub fn end_sessions(&self) {
        // A session's own child reads from the network before anybody is logged in, and would outlive it.
        let served = children_of(&[self.sshd.id()]);
        for session in children_of(&served).iter().chain(&served) {
            kill(Pid::from_raw(*session as i32), Signal::SIGKILL).ok();
        }
    }
}

/// The processes of SSH servers that these have started.
fn children_of(parents: &[u32]) -> Vec<u32> {
    let child = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let parent = rest.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()?;
        let is_one = parents.contains(&parent) && name.contains("(sshd");
        is_one.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(child).collect()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // A session whose packets are dropped would outlive its server, and the lab with it.
        self.end_sessions();
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

/// A session that lasts until it is dropped.
pub struct Session {
    ssh: Child,
    said: BufReader<ChildStdout>,
}

impl Session {
    /// One in which a command runs.
    pub fn open(mut ssh: Command, command: &str) -> Self {
        ssh.arg(format!("echo in; {command}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut ssh = ssh.spawn().expect("ssh is installed");
        let said = BufReader::new(ssh.stdout.take().expect("it was piped"));
        let mut session = Self { ssh, said };
        assert_eq!(session.says(""), "in\n");
        session
    }

    /// Types something, and waits for nothing.
    pub fn types(&mut self, typed: &str) {
        self.ssh.stdin.as_mut().expect("it was piped").write_all(typed.as_bytes()).expect("ssh reads");
    }

    /// The next line that comes back, when this is typed.
    pub fn says(&mut self, typed: &str) -> String {
        self.types(typed);
        let mut line = String::new();
        self.said.read_line(&mut line).expect("ssh writes text");
        line
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ssh.kill().ok();
        self.ssh.wait().ok();
    }
}
