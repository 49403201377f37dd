//! Network namespaces without a name: they last as long as something in this process holds them.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread;

const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// The namespaces that no test may touch: the machine's, and the one this process began in.
static FORBIDDEN: LazyLock<Vec<Identity>> =
    LazyLock::new(|| ["/proc/1/ns/net", "/proc/self/ns/net"].iter().filter_map(|path| identity(path).ok()).collect());

/// Device and inode of a namespace's file: equal for the same namespace only.
type Identity = (u64, u64);

fn identity(path: &str) -> io::Result<Identity> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A network namespace. Clones are the same namespace; with the last one and the last thread inside, it vanishes.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

/// What a program did.
#[derive(Debug)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its standard output, when it succeeded; else the test fails with all that it said.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.status, Some(0), "standard output:\n{}\nstandard error:\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

impl Namespace {
    /// A fresh one, with nothing in it but a loopback interface that is up.
    pub fn new() -> Self {
        // Before anything is unshared, so that "the one this process began in" is what it says.
        LazyLock::force(&FORBIDDEN);
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
                panic!("the kernel tests make network namespaces, which takes root and CAP_SYS_ADMIN: {errno}")
            });
            Self::of_this_thread()
        });
        let namespace = made.join().unwrap_or_else(|panic| resume_unwind(panic));
        // An address that waits for its duplicates is none to ask neighbours from: for a second, what is forwarded over
        // IPv6 would be lost, and on a quiet machine tests are there within that second.
        for of in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv6/conf/{of}/accept_dad"), "0");
        }
        namespace.ip("link set lo up");
        namespace
    }

    /// The one that the calling thread is in: nothing can be done to it unless it is one of the lab's.
    pub fn of_this_thread() -> Self {
        LazyLock::force(&FORBIDDEN);
        Self(Arc::new(File::open(OF_THIS_THREAD).expect("the namespace of a thread can be opened")))
    }

    /// The one that a file of `/proc/PID/ns/net` stands for: nothing can be done to it unless it is one of a lab's.
    pub fn of_file(file: File) -> Self {
        LazyLock::force(&FORBIDDEN);
        Self(Arc::new(file))
    }

    /// A path that stands for it as long as this process holds it: programs take it where they take a namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `work` on a thread of its own inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).expect("a namespace that is held can be entered");
        refuse_forbidden(identity(OF_THIS_THREAD));
    }

    /// A program to be run inside, without standard input.
    pub fn command(&self, program: &str) -> Command {
        let path = self.path();
        refuse_forbidden(identity(&path));
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={path}")).arg("--").arg(program).stdin(Stdio::null());
        command
    }

    /// Runs `ip` with these arguments, parted by spaces.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        output(self.command("ip").args(arguments.split_whitespace())).success()
    }

    /// Has stock `nft` load a text.
    #[track_caller]
    pub fn nft_load(&self, text: &str) {
        let mut child = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft is installed, see scripts/test");
        child.stdin.take().expect("it was piped").write_all(text.as_bytes()).expect("nft reads its input");
        assert!(child.wait().expect("nft was started").success(), "nft refused:\n{text}");
    }

    /// All rules in it as stock `nft` lists them, without counts.
    #[track_caller]
    pub fn nft_list(&self) -> String {
        output(self.command("nft").args(["--stateless", "list", "ruleset"])).success()
    }

    /// Sets a sysctl of the network, `net/ipv4/ip_forward` for one.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| fs::write(format!("/proc/sys/{name}"), value)).expect("the sysctl exists");
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    Output {
        status: done.status.code(),
        stdout: of_default_policy(&String::from_utf8_lossy(&done.stdout)),
        stderr: of_default_policy(&String::from_utf8_lossy(&done.stderr)),
    }
}

/// What palisade has printed, without the option of the test's policy in its commands: as it is printed of the policy that
/// needs no option.
pub fn of_default_policy(text: &str) -> String {
    let mut parts = text.split("palisade --policy ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "palisade " + part.split_once(' ').map_or("", |(_, rest)| rest))
}

/// Fails the test when a namespace is one that real traffic may pass through.
fn refuse_forbidden(found: io::Result<Identity>) {
    let found = found.expect("the namespace can be looked at");
    assert!(!FORBIDDEN.contains(&found), "refused: this is the network namespace of the machine, not one of the lab");
}
