//! `apply --confirm` over a real sshd: what cuts everybody off is undone, and who comes anew can confirm.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use support::lab::{HOST, Lab, without_revoked, without_time};
use support::machine::{policy, wait_until};
use support::namespace::{Output, output};
use tempfile::TempDir;

const WITHOUT_SSH: &str = "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n";

/// A host with an sshd, whose root can be logged in to from the client.
struct Server {
    lab: Lab,
    sshd: Child,
    folder: TempDir,
}

impl Server {
    /// One on which SSH alone is open.
    fn new() -> Self {
        let lab = Lab::new();
        let folder = tempfile::Builder::new().prefix("palisade-sshd-").tempdir_in("/run").expect("/run is writable");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
            output(Command::new("ssh-keygen").args(generate)).success();
        }
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n\
             PidFile none\nUseDNS no\n",
            path("host"),
            path("user.pub"),
        );
        fs::write(path("config"), config).expect("the folder is writable");
        // Where sshd confines itself; the service makes it when it starts.
        fs::create_dir_all("/run/sshd").expect("/run is writable");
        let mut command = lab.host.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &path("config")]).stderr(Stdio::piped());
        let mut sshd = command.spawn().expect("sshd is installed, see scripts/test");
        let mut said = BufReader::new(sshd.stderr.take().expect("it was piped")).lines();
        let listens = said.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening on ::"));
        assert!(listens, "sshd does not listen");
        // It goes on to talk.
        std::thread::spawn(move || said.count());
        let server = Self { lab, sshd, folder };
        server.lab.write_policy("policy.yaml", &policy(&[]));
        server.ssh(&["apply"]).success();
        server
    }

    /// An SSH client that runs palisade on the server, by a connection of its own unless the options say otherwise.
    fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.lab.client.command("ssh");
        command.arg("-i").arg(self.folder.path().join("user")).args(["-F", "none", "-l", "root"]);
        let fixed = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        for option in fixed.iter().chain(&["ConnectTimeout=1"]) {
            command.args(["-o", option]);
        }
        command.args(options).arg(HOST[0].to_string());
        if !arguments.is_empty() {
            let path = |name: &str| self.lab.policy(name).display().to_string();
            let (policy, state, run) = (path("policy.yaml"), path("lib"), path("run"));
            command.arg(format!(
                "{} --policy {policy} --state-dir {state} --run-dir {run} {}; exit $?",
                env!("CARGO_BIN_EXE_palisade"),
                arguments.join(" ")
            ));
        }
        command
    }

    #[track_caller]
    fn ssh(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(&[], arguments))
    }

    fn gets_in(&self) -> bool {
        output(&mut self.command(&[], &["schema"])).status == Some(0)
    }

    /// The rules without the time of loading. A chain that went and came back stands elsewhere in the listing.
    fn rules(&self) -> Vec<String> {
        let listing = without_revoked(&without_time(&self.lab.host.nft_list()));
        let mut chains: Vec<_> = listing.split("\n\n").map(|c| c.trim_end_matches(['\n', '}']).to_owned()).collect();
        chains.sort();
        chains
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

#[test]
fn what_cuts_everybody_off_is_undone_after_the_session_is_gone() {
    let server = Server::new();
    let before = server.rules();
    server.lab.write_policy("policy.yaml", WITHOUT_SSH);
    let mut command = server.command(&[], &["apply", "--force", "--confirm", "5s"]);
    let mut session = command.stdout(Stdio::null()).spawn().expect("ssh is installed");
    wait_until(|| server.rules() != before);
    session.kill().expect("it was started");
    session.wait().expect("it was started");
    assert!(!server.gets_in(), "the policy has no SSH");

    wait_until(|| server.gets_in());

    assert_eq!(server.rules(), before);
    let said = server.ssh(&["confirm"]);
    assert_eq!((said.status, said.stderr.as_str()), (Some(1), "error: no change waits for confirmation\n"));
}

#[test]
fn a_second_shell_of_the_same_connection_does_not_confirm_and_a_new_connection_does() {
    let server = Server::new();
    let control = server.folder.path().join("control").display().to_string();
    let mut master = server.command(&["-M", "-N", "-S", &control], &[]);
    let mut master = master.stdin(Stdio::piped()).spawn().expect("ssh is installed");
    wait_until(|| fs::metadata(&control).is_ok());
    server.lab.write_policy("policy.yaml", &policy(&[80]));
    let shared = |arguments: &[&str]| output(&mut server.command(&["-S", &control], arguments));
    shared(&["apply", "--confirm", "1h"]).success();
    let loaded = server.rules();

    let refused = shared(&["confirm"]);

    assert_eq!(refused.status, Some(1));
    assert!(
        refused.stderr.starts_with("error: not confirmed: this connection was there before"),
        "{}",
        refused.stderr
    );
    let confirmed = server.ssh(&["confirm"]).success();
    assert!(confirmed.starts_with("confirmed: "), "{confirmed}");
    assert_eq!(server.rules(), loaded);
    master.kill().expect("it was started");
    master.wait().expect("it was started");
}
