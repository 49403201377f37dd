//! What a user of the machine without any right can do to root's palisade: nothing. Each try runs while root asks for all
//! that palisade tells and does, within bounds of memory, and what it says is what it says without the try.
#![allow(missing_docs)]

mod support;

use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use support::lab::{HOST, Lab};
use support::namespace::output;
use support::probe::PATIENCE;
use support::program::palisade;
use tempfile::TempDir;

/// The user, who is in no file.
const USER: u32 = 4242;
/// As much address space as palisade may take, in bytes.
const MEMORY: u64 = 1 << 30;
/// Ends what hangs.
const TOO_LONG: &str = "120";

const POLICY: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
";

/// What root runs, one after the other.
const COMMANDS: [&[&str]; 8] = [
    &["apply"],
    &["doctor"],
    &["exposure"],
    &["exposure", "--json"],
    &["status"],
    &["explain", "22/tcp", "--from", "203.0.113.9"],
    &["diff"],
    &["disable", "--yes"],
];

/// Listens on port 2222, and takes what comes.
const LISTEN: &str = "use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(S, sockaddr_in(2222, INADDR_ANY)) or die; listen(S, 9);";
/// Goes on until it is killed; one that listens seems to have somebody logged in behind the first who comes.
const STAY: &str =
    "; $| = 1; print qq(ready\\n); my $p = $$;
    if (fileno S) { accept(C, S); if (!fork) { close S; sleep 1 while getppid == $p; exit } print qq(accepted\\n) } sleep 9 while 1";

/// How a process of the user's is run.
#[derive(Clone, Copy, PartialEq)]
enum As {
    /// A program of the user's own.
    Own,
    /// A program of root's.
    RootsProgram,
    /// As root of a user namespace that the user has made.
    RootOfANamespace,
}

struct Try {
    name: &'static str,
    /// What its program is called.
    program: &'static str,
    run: As,
    /// What it does, in Perl; `DIR` is a folder of the user's.
    code: &'static str,
    /// Its arguments.
    arguments: &'static [&'static str],
    /// What the table of `exposure` is with it; the same as ever where it is empty.
    exposed: &'static str,
}

const fn dockerd(name: &'static str, code: &'static str, arguments: &'static [&'static str]) -> Try {
    Try { name, program: "dockerd", run: As::Own, code, arguments, exposed: "" }
}

const fn sshd(name: &'static str, run: As) -> Try {
    let exposed = "PORT      OWNER  REACHABLE FROM\n2222/tcp  sshd   nobody\n";
    Try { name, program: "sshd", run, code: LISTEN, arguments: &[], exposed }
}

const TRIES: [Try; 22] = [
    dockerd("a pipe that nobody writes to as the daemon's file", "", &["--config-file=DIR/pipe"]),
    dockerd("a device without an end", "", &["--config-file=/dev/zero"]),
    dockerd("a device that acts", "", &["--config-file", "/dev/ptmx"]),
    dockerd("a file of a terabyte", "", &["--config-file=DIR/sparse"]),
    dockerd("a link to a device", "", &["--config-file=DIR/link"]),
    dockerd("a folder", "", &["--config-file=DIR"]),
    dockerd("a file that says that Docker loads no rules", "", &["--config-file=DIR/daemon.json"]),
    dockerd("options that say so", "", &["--iptables=false", "--userland-proxy=false"]),
    dockerd("a path that a terminal and a shell obey", "", &["--config-file=DIR/\u{1b}[2J\u{202e}`id`$(reboot)\n.json"]),
    dockerd("arguments of two megabytes", "", &["LONG"; 20]),
    dockerd("a name that changes when it runs", "$0 = qq(dockerd\\nUid:\\t0\\t0\\t0\\t0\\n)", &["--iptables=false"]),
    Try { run: As::RootsProgram, ..dockerd("root's program run by the user", "", &["--config-file=DIR/pipe"]) },
    Try { run: As::RootOfANamespace, ..dockerd("root of a user namespace", "", &["--config-file=DIR/daemon.json"]) },
    Try {
        program: "podman",
        ..dockerd(
            "a socket that takes no question",
            "use Socket; socket(E, PF_UNIX, SOCK_STREAM, 0); bind(E, sockaddr_un(q(DIR/docker.sock))); listen(E, 0);
             symlink(q(DIR/docker.sock), $_) for q(/run/docker.sock), q(/run/podman/podman.sock)",
            &["system", "service", "unix://DIR/docker.sock"],
        )
    },
    sshd("an SSH server of the user's own", As::Own),
    sshd("root's SSH server run by the user", As::RootsProgram),
    sshd("an SSH server of root of a user namespace", As::RootOfANamespace),
    Try {
        program: "x\u{1b}[2J\u{202e}y",
        exposed: "PORT      OWNER                REACHABLE FROM\n2222/tcp  x\\u{1b}[2J\\u{202e}y  nobody\n",
        ..sshd("a name that a terminal obeys", As::Own)
    },
    Try {
        program: "a",
        code: "use Socket; socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(2222, INADDR_ANY)) or die; listen(S, 9);
               use POSIX; $0 = qq(b\\n80/tcp); for (1 .. 20_000) { defined dup(0) or last }",
        exposed: "PORT      OWNER         REACHABLE FROM\n2222/tcp  b\\u{a}80/tcp  nobody\n",
        ..sshd("a name of two lines, and as many open files as are allowed", As::Own)
    },
    Try {
        program: "sshd-session",
        code: "my $q = $$; for (1 .. 100) { if (!fork) { sleep 1 while getppid == $q; exit } }",
        exposed: "",
        ..sshd("a hundred processes that seem to be sessions", As::Own)
    },
    Try {
        program: "bash",
        code: "open(L, '<', 'RUN/lock') and flock(L, 2); open(L, '>>', 'RUN/lock') and flock(L, 2); rename('RUN', 'RUN.d')",
        exposed: "",
        ..sshd("to hold palisade's lock", As::Own)
    },
    Try {
        program: "bash",
        code: "unlink('POLICIES/policy.yaml'); symlink('/dev/zero', 'POLICIES/policy.yaml'); chmod(0777, 'POLICIES');
               rename('POLICIES', 'DIR/policies'); open(P, '>', 'POLICIES/policy.yaml')",
        exposed: "",
        ..sshd("to change the policy", As::Own)
    },
];

/// The machine, and a folder of the user's.
struct Place {
    lab: Lab,
    /// Where root alone writes, and all may look.
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let lab = Lab::new();
        lab.write_policy("policy.yaml", POLICY);
        let scratch = lab.policy("");
        let scratch = scratch.parent().and_then(Path::parent).unwrap_or(&scratch);
        fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("it is root's");
        let folder = tempfile::Builder::new().prefix("palisade-user-").tempdir_in("/run").expect("/run is writable");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is root's");
        let place = Self { lab, folder };
        let own = place.own("");
        fs::create_dir(&own).expect("a folder in a fresh one");
        nix::unistd::mkfifo(&own.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a pipe");
        fs::File::create(own.join("sparse")).and_then(|file| file.set_len(1 << 40)).expect("a file");
        fs::write(own.join("daemon.json"), "{ \"iptables\": false }").expect("a file");
        std::os::unix::fs::symlink("/dev/zero", own.join("link")).expect("a link");
        chown(&own, Some(USER), Some(USER)).expect("it is root's to give");
        for name in ["pipe", "sparse", "daemon.json"] {
            chown(own.join(name), Some(USER), Some(USER)).expect("it is root's to give");
        }
        place
    }

    fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join("own").join(name)
    }

    /// Runs all commands, and gives all that they say.
    fn told(&self) -> Vec<String> {
        let run = |arguments: &&[&str]| {
            let mut command = self.lab.in_its_own_state("prlimit");
            command.args([&format!("--as={MEMORY}"), "timeout", TOO_LONG, palisade(), "--policy"]);
            let said = output(command.arg(self.lab.policy("policy.yaml")).args(*arguments));
            format!("{arguments:?}: {:?}\n{}{}", said.status, without_time(&said.stdout), said.stderr)
        };
        COMMANDS.iter().map(run).collect()
    }

    /// Starts a try; gives what it says of itself.
    fn start(&self, attempt: &Try) -> (Child, impl Iterator<Item = String>) {
        let own = self.own("");
        let program = match attempt.run {
            As::Own => self.own(attempt.program),
            _ => self.folder.path().join(attempt.program),
        };
        // The one before may still run.
        let _ = fs::remove_file(&program);
        fs::copy("/usr/bin/perl", &program).expect("Perl is there, as Debian has it");
        if attempt.run == As::Own {
            chown(&program, Some(USER), Some(USER)).expect("it is root's to give");
        }
        let policies = self.lab.policy("");
        let run = policies.parent().unwrap_or(&policies).join("run");
        let path = |path: &Path| path.display().to_string().trim_end_matches('/').to_owned();
        let fill = |text: &str| {
            let text = text.replace("DIR", &path(&own)).replace("POLICIES", &path(&policies));
            text.replace("RUN", &path(&run)).replace("LONG", &"x".repeat(100_000))
        };
        let mut command = self.lab.host.command("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups", "--"]);
        if attempt.run == As::RootOfANamespace {
            command.args(["unshare", "--user", "--map-root-user"]);
        }
        command.arg(program).arg("-e").arg(fill(attempt.code) + STAY).arg("--");
        command.args(attempt.arguments.iter().map(|argument| fill(argument)));
        // It names a connection that is there.
        command
            .env("SSH_CONNECTION", "203.0.113.9 4000 203.0.113.1 2222")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("util-linux has setpriv");
        let said = BufReader::new(child.stdout.take().expect("it was piped")).lines().map_while(Result::ok);
        (child, said)
    }
}

/// What is said, without when it was loaded.
fn without_time(text: &str) -> String {
    let line = |line: &str| match line.split_once(" at 20") {
        Some((begin, rest)) => format!("{begin}{}\n", rest.split_once(';').map_or("", |(_, end)| end)),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Connects an accomplice from port 4000.
fn accomplice(lab: &Lab) -> Socket {
    lab.client.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_reuse_address(true).expect("a socket");
        socket.bind(&SocketAddr::from(([203, 0, 113, 9], 4000)).into()).expect("its own address");
        socket.connect_timeout(&SocketAddr::new(HOST[0], 2222).into(), PATIENCE).expect("somebody listens");
        // Else the next could not have the port.
        socket.set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
        socket
    })
}

#[test]
fn no_try_of_an_unprivileged_user_changes_what_palisade_says_and_does_to_root() {
    let place = Place::new();
    let without = place.told();
    assert!(
        without[0].contains("applied: ") && without[4].contains("active, loaded from policy.yaml"),
        "{without:?}"
    );
    let mut succeeded = Vec::new();
    for attempt in &TRIES {
        let (mut child, mut said) = place.start(attempt);
        assert_eq!(said.next().as_deref(), Some("ready"), "{}", attempt.name);
        let connected = attempt.code.starts_with("use Socket; socket(S,").then(|| accomplice(&place.lab));
        if connected.is_some() {
            assert_eq!(said.next().as_deref(), Some("accepted"), "{}", attempt.name);
        }

        let told = place.told();

        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        for ((command, told), without) in COMMANDS.iter().zip(told).zip(&without) {
            let raw = told.chars().find(|&c| palisade::printable::is_invisible(c) && c != '\n');
            let expected = match *command {
                ["exposure"] if !attempt.exposed.is_empty() => {
                    told == format!("{command:?}: Some(0)\n{}", attempt.exposed)
                }
                ["exposure", "--json"] if !attempt.exposed.is_empty() => told.contains("\"proto\":\"tcp\""),
                // The policy denies the accomplice's port: his connection ends.
                ["apply"] if connected.is_some() => {
                    told == format!("{without}ended 1 connection that lost its access\n")
                }
                _ => told == *without,
            };
            if !expected || raw.is_some() {
                succeeded.push(format!("{}: {told}", attempt.name));
            }
        }
    }
    assert_eq!(succeeded, Vec::<String>::new());
}
