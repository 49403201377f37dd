//! `apply --confirm` over a real sshd: what cuts everybody off is undone, and who comes anew can confirm.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use support::lab::{HOST, without_live, without_time};
use support::machine::{policy, wait_until};
use support::namespace::{Output, output};
use support::sshd::Sshd;

const WITHOUT_SSH: &str = "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n";

/// A host with an sshd, on which SSH alone is open.
struct Server(Sshd);

impl Server {
    fn new() -> Self {
        let server = Self(Sshd::new(22));
        server.0.lab.write_policy("policy.yaml", &policy(&[]));
        server.ssh(&["apply"]).success();
        server
    }

    /// An SSH client that runs palisade on the server, by a connection of its own unless the options say otherwise.
    fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.0.ssh(&self.0.lab.client, HOST[0], 22);
        command.args(options);
        if !arguments.is_empty() {
            command.arg(format!("{}; exit $?", self.0.palisade(arguments)));
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
        let listing = without_live(&without_time(&self.0.lab.host.nft_list()));
        let mut chains: Vec<_> = listing.split("\n\n").map(|c| c.trim_end_matches(['\n', '}']).to_owned()).collect();
        chains.sort();
        chains
    }
}

#[test]
fn what_cuts_everybody_off_is_undone_after_the_session_is_gone() {
    let server = Server::new();
    let before = server.rules();
    server.0.lab.write_policy("policy.yaml", WITHOUT_SSH);
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
    let control = server.0.path("control").display().to_string();
    let mut master = server.command(&["-M", "-N", "-S", &control], &[]);
    let mut master = master.stdin(Stdio::piped()).spawn().expect("ssh is installed");
    wait_until(|| fs::metadata(&control).is_ok());
    server.0.lab.write_policy("policy.yaml", &policy(&[80]));
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
