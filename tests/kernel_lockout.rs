//! Nobody is locked out: a real sshd, a real session, and policies that would cut it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::{Namespace, Output, output};
use support::probe::{PATIENCE, talks};
use tempfile::TempDir;

const WITHOUT_SSH: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
";

/// A host with an sshd, whose root can be logged in to with a key.
struct Served {
    lab: Lab,
    sshd: Child,
    folder: TempDir,
}

impl Served {
    fn new(port: u16) -> Self {
        let lab = Lab::new();
        let folder = tempfile::Builder::new().prefix("palisade-sshd-").tempdir_in("/run").expect("/run is writable");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
            output(Command::new("ssh-keygen").args(generate)).success();
        }
        let config = format!(
            "Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nStrictModes no\n\
             UsePAM no\nGatewayPorts clientspecified\nPidFile none\nUseDNS no\n",
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

    /// What `ssh` runs as on the other side.
    fn ssh(&self, inside: &Namespace, to: IpAddr, port: u16) -> Command {
        let mut command = inside.command("ssh");
        let key: PathBuf = self.folder.path().join("user");
        command.arg("-i").arg(key).args(["-F", "none", "-p", &port.to_string(), "-l", "root"]);
        for option in ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        {
            command.args(["-o", option]);
        }
        command.arg(to.to_string());
        command
    }

    /// Has palisade apply a policy from within an SSH session, wrapped in a command: `env -i` is what sudo leaves of an
    /// environment.
    fn apply_over_ssh(&self, inside: &Namespace, to: IpAddr, wrapped: &str, policy: &str) -> Output {
        // The shell stays, as sudo does.
        output(self.ssh(inside, to, 22).arg(format!("{wrapped} {}; exit $?", self.apply(policy))))
    }

    /// The command that applies a policy.
    fn apply(&self, policy: &str) -> String {
        format!("{} --policy {} apply", env!("CARGO_BIN_EXE_palisade"), self.lab.policy(policy).display())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

/// A session that lasts until it is dropped.
struct Session {
    ssh: Child,
    said: BufReader<ChildStdout>,
}

impl Session {
    /// One in which a command runs.
    fn open(mut ssh: Command, command: &str) -> Self {
        ssh.arg(format!("echo in; {command}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut ssh = ssh.spawn().expect("ssh is installed");
        let said = BufReader::new(ssh.stdout.take().expect("it was piped"));
        let mut session = Self { ssh, said };
        assert_eq!(session.says(""), "in\n");
        session
    }

    /// The next line that comes back, when this is typed.
    fn says(&mut self, typed: &str) -> String {
        self.ssh.stdin.as_mut().expect("it was piped").write_all(typed.as_bytes()).expect("ssh reads");
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

/// What is said of the client's own session under [`WITHOUT_SSH`].
fn refusal(session: &str, from: &str) -> String {
    format!(
        "error: this policy would lock you out: nothing was changed, the old rules are in force

{session} could not connect again.
Denied by: what else comes in is denied (policy.yaml, by default)
To let it in, add to the policy:

  services:
    ssh: {{ ports: 22/tcp, from: {from} }}

To load it all the same: palisade apply --force
"
    )
}

#[test]
fn a_policy_that_would_cut_the_session_it_is_applied_from_is_refused() {
    let served = Served::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let cases = [
        (&lab.client, HOST[0], "", "your SSH session from 203.0.113.9 to port 22 by eth0", "203.0.113.9"),
        (&lab.client, HOST[1], "", "your SSH session from 2001:db8::9 to port 22 by eth0", "\"2001:db8::9\""),
        (&lab.lan, HOST_ON_LAN[0], "env -i", "your SSH session from 10.77.0.2 to port 22 by eth1", "10.77.0.2"),
        (&lab.client, HOST[0], "exec env -i", "your SSH session from 203.0.113.9 to port 22 by eth0", "203.0.113.9"),
    ];

    for (inside, to, wrapped, session, from) in cases {
        let refused = served.apply_over_ssh(inside, to, wrapped, "policy.yaml");

        assert_eq!((refused.status, refused.stderr), (Some(1), refusal(session, from)));
        assert_eq!(lab.host.nft_list(), "");
    }
}

#[test]
fn with_the_line_that_the_refusal_names_the_policy_is_applied_and_the_session_goes_on() {
    let served = Served::new(22);
    let lab = &served.lab;
    for (index, to) in HOST.into_iter().enumerate() {
        lab.write_policy("policy.yaml", WITHOUT_SSH);
        let refused = served.apply_over_ssh(&lab.client, to, "", "policy.yaml");
        let line = refused.stderr.lines().find(|line| line.starts_with("    ssh")).expect("a line to add").trim();
        lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  {line}\n"));

        let applied = served.apply_over_ssh(&lab.client, to, "", "policy.yaml").success();

        assert!(applied.starts_with("applied: "), "{applied}");
        let again = output(served.ssh(&lab.client, to, 22).arg("echo in")).success();
        assert_eq!(again, "in\n");
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
        assert_eq!(CLIENT[index].is_ipv6(), to.is_ipv6());
    }
}

#[test]
fn a_session_that_palisade_is_not_run_from_is_kept_too_unless_it_is_forced() {
    let served = Served::new(2222);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let _session = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[1], 2222), "cat");

    let refused = lab.palisade("policy.yaml", &["apply"]);
    let expected = refusal(&format!("the SSH session from {} to port 2222 by eth1", LAN[1]), "\"fd77::2\"");
    assert_eq!((refused.status, refused.stderr), (Some(1), expected.replace("22/tcp", "2222/tcp")));
    assert_eq!(lab.host.nft_list(), "");

    let planned = lab.palisade("policy.yaml", &["apply", "--dry-run"]);
    assert!(
        planned.stderr.contains(&format!("from {} to port 2222 by eth1 could not", LAN[1])),
        "{}",
        planned.stderr
    );
    assert!(planned.success().contains("add chain inet palisade filter-input"));

    lab.palisade("policy.yaml", &["apply", "--force"]).success();
    assert!(lab.host.nft_list().contains("table inet palisade"));
}

#[test]
fn a_session_that_has_ended_and_one_of_this_machine_with_itself_hold_nothing_up() {
    let served = Served::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);

    for to in [HOST[0], HOST[1], HOST_ON_LAN[0], [127, 0, 0, 1].into()] {
        let itself = served.apply_over_ssh(&lab.host, to, "", "policy.yaml").success();
        assert!(itself.starts_with("applied: "), "{itself}");
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    }

    let stale = format!("SSH_CONNECTION={} 51234 {} 22", CLIENT[0], HOST[0]);
    let mut command = lab.in_its_own_state("env");
    command.arg(stale).arg(env!("CARGO_BIN_EXE_palisade")).arg("--policy").arg(lab.policy("policy.yaml"));
    assert!(output(command.arg("apply")).success().starts_with("applied: "));
}

#[test]
fn what_a_session_forwards_is_no_session() {
    let served = Served::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  ssh: {{ ports: 22/tcp, from: 203.0.113.9 }}\n"));
    let _echo = lab.lan.listen(&[SocketAddr::new(LAN[0], 4242)], &[]);
    // sshd connects to one machine for the client, and listens for another.
    let mut ssh = served.ssh(&lab.client, HOST[0], 22);
    let loopback: IpAddr = [127, 0, 0, 1].into();
    ssh.args(["-L", "4000:10.77.0.2:4242", "-R", "0.0.0.0:4001:127.0.0.1:4000"]);
    let mut session = Session::open(ssh, &format!("read line; {}", served.apply("policy.yaml")));
    let mut onward =
        lab.client.connect(loopback, SocketAddr::new(loopback, 4000), PATIENCE).expect("it is forwarded");
    let back = lab.lan.connect(LAN[0], SocketAddr::new(HOST_ON_LAN[0], 4001), PATIENCE).expect("it is forwarded");

    let applied = session.says("go on\n");

    assert!(applied.starts_with("applied: "), "{applied}");
    assert!(talks(&mut onward, PATIENCE));
    drop(back);
}
