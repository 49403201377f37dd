//! What a command can't do any more once it has read its files, tried from inside and read from outside.

mod support;

use landlock::{AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetCreated};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use palisade::process::privileges::{Confinement, Needs, renounce};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;
use support::machine::{Machine, wait_until};
use support::namespace::{Output, output};
use support::program::palisade;

/// Where a test that is run again as a process of its own finds its files.
const SCRATCH: &str = "PALISADE_TEST_SCRATCH";

/// How the kernel shall seem to a test that is run so: see [`pretend`].
const KERNEL: &str = "PALISADE_TEST_KERNEL";

/// Runs an ignored test of this file as a process of its own, since what it gives up does not come back.
fn alone(before: Command, test: &str, kernel: &str, scratch: &Path) -> Command {
    let mut command = before;
    command.arg(std::env::current_exe().expect("this test is a program"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--quiet"]);
    command.env(SCRATCH, scratch).env(KERNEL, kernel).stdin(Stdio::null());
    command
}

/// Its files, where it was started so and not by who runs every ignored test.
fn scratch() -> Option<PathBuf> {
    std::env::var_os(SCRATCH).map(PathBuf::from)
}

/// Makes this kernel seem another, from this thread on: `38` and `95` are what one answers that has no Landlock, and one that
/// has it switched off; `5.13` moves no file of a confined process into another folder, as until 5.18.
fn pretend() {
    let kernel = std::env::var(KERNEL).unwrap_or_default();
    if kernel == "5.13" {
        // Whatever a ruleset does not say of renaming into other folders: it is forbidden.
        let ruleset = Ruleset::default().handle_access(AccessFs::MakeChar).and_then(Ruleset::create);
        ruleset.and_then(RulesetCreated::restrict_self).expect("the kernel has Landlock");
    } else if let Ok(errno) = kernel.parse() {
        let calls = BTreeMap::from([(444, Vec::new())]);
        let architecture = std::env::consts::ARCH.try_into().expect("one that seccompiler has");
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno), architecture);
        let program = BpfProgram::try_from(filter.expect("a filter")).expect("a filter");
        seccompiler::apply_filter_all_threads(&program).expect("root may");
    }
}

/// Whether this kernel has Landlock.
fn has_landlock() -> bool {
    let confined = || {
        let ruleset = Ruleset::default().handle_access(AccessFs::MakeChar).and_then(Ruleset::create);
        let status = ruleset.and_then(RulesetCreated::restrict_self).expect("what is missing is no error");
        matches!(status.landlock, LandlockStatus::Available { .. })
    };
    // It confines a thread.
    std::thread::spawn(confined).join().expect("it only asks")
}

fn in_a_word(result: Result<(), impl Into<io::Error>>) -> String {
    match result.map_err(Into::into) {
        Ok(()) => "done".to_owned(),
        Err(error) => {
            error.raw_os_error().map_or(error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
        }
    }
}

/// What a process tries: with its own folders, with the files of others, and with the rest of the machine. `stage` names
/// what it makes and takes away.
struct Tries {
    scratch: PathBuf,
    victim: Pid,
}

impl Tries {
    fn other(&self, name: &str) -> PathBuf {
        self.scratch.join("other").join(name)
    }

    fn all(&self, stage: &str) -> BTreeMap<&'static str, String> {
        [self.with_files(stage), self.with_the_machine(), self.with_its_own(stage)].into_iter().flatten().collect()
    }

    fn with_files(&self, stage: &str) -> Vec<(&'static str, String)> {
        let file = self.other("file");
        let truncate = || {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(OFlag::O_TRUNC.bits()).open(self.other("short")).map(drop)
        };
        let times = || OpenOptions::new().read(true).open(&file)?.set_modified(SystemTime::UNIX_EPOCH);
        let link = self.scratch.join("own").join(format!("link-{stage}"));
        vec![
            ("write a file", in_a_word(fs::write(&file, "changed"))),
            ("make a file", in_a_word(File::create_new(self.other(&format!("new-{stage}"))).map(drop))),
            ("make a folder", in_a_word(fs::create_dir(self.other(&format!("folder-{stage}"))))),
            ("remove a file", in_a_word(fs::remove_file(self.other(stage)))),
            ("truncate a file that is opened for reading", in_a_word(truncate())),
            ("change the mode of a file", in_a_word(fs::set_permissions(&file, fs::Permissions::from_mode(0o666)))),
            ("change the owner of a file", in_a_word(chown(&file, Some(65_534), None))),
            ("change the times of a file", in_a_word(times())),
            ("link a file into an own folder", in_a_word(fs::hard_link(&file, link))),
            ("read a file", in_a_word(fs::read(&file).map(drop))),
            ("list a folder", in_a_word(fs::read_dir(self.other("")).map(drop))),
        ]
    }

    fn with_the_machine(&self) -> Vec<(&'static str, String)> {
        let run = || Command::new("/bin/true").status().map(drop);
        let attach = || -> Result<(), Errno> {
            ptrace::attach(self.victim)?;
            waitpid(self.victim, None)?;
            ptrace::detach(self.victim, None)
        };
        let loaded = in_a_word(nix::kmod::init_module(b"none", c""));
        let open = |family, kind| socket(family, kind, SockFlag::empty(), None).map(drop);
        vec![
            ("execute a program", in_a_word(run())),
            ("enter a new namespace", in_a_word(unshare(CloneFlags::CLONE_NEWUTS))),
            ("enter a new network namespace", in_a_word(unshare(CloneFlags::CLONE_NEWNET))),
            // What a kernel says to these bytes depends on it; only a confined process may not even ask.
            ("load a module", loaded.replace("ENOEXEC", "done").replace("ENOSYS", "done")),
            ("open a packet socket", in_a_word(open(AddressFamily::Packet, SockType::Raw))),
            ("open a UDP socket", in_a_word(UdpSocket::bind("127.0.0.1:0").map(drop))),
            ("open a netlink socket", in_a_word(open(AddressFamily::Netlink, SockType::Raw))),
            ("connect to a daemon", in_a_word(UnixStream::connect(self.other("daemon")).map(drop))),
            ("trace a process", in_a_word(attach())),
            ("signal a process", in_a_word(kill(self.victim, None))),
            ("look into a process", in_a_word(fs::read(format!("/proc/{}/environ", self.victim)).map(drop))),
        ]
    }

    fn with_its_own(&self, stage: &str) -> Vec<(&'static str, String)> {
        let own = self.scratch.join("own");
        let [file, folder] = ["file", "folder"].map(|name| own.join(format!("{name}-{stage}")));
        let draft = || fs::write(&file, "kept").and_then(|()| fs::read(&file).map(drop));
        let moved = || fs::create_dir(&folder).and_then(|()| fs::rename(&file, folder.join("kept")));
        vec![
            ("write and read an own file", in_a_word(draft())),
            ("move it into another own folder", in_a_word(moved())),
            ("shorten and remove it", in_a_word(self.shorten(&folder.join("kept")))),
        ]
    }

    fn shorten(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).truncate(true).open(path)?.set_len(0)?;
        fs::remove_file(path)
    }
}

/// A folder with a process's own files and those of others.
fn scratch_with_files() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a folder for a test");
    for name in ["own", "other"] {
        fs::create_dir(scratch.path().join(name)).expect("a folder");
    }
    for name in ["file", "short", "before", "reading", "read", "thread"] {
        fs::write(scratch.path().join("other").join(name), "root's").expect("a file");
    }
    scratch
}

#[test]
#[ignore = "run by the test below as a process of its own"]
#[expect(clippy::zombie_processes, reason = "a confined process can't end another one")]
fn tries_of_a_confined_process() {
    let Some(scratch) = scratch() else { return };
    pretend();
    let _daemon = UnixListener::bind(scratch.join("other/daemon")).expect("a socket");
    // Ends with this process, which can't end it any more.
    let victim = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let victim = victim.expect("coreutils are installed");
    let tries = Tries { victim: Pid::from_raw(i32::try_from(victim.id()).expect("a process id")), scratch };
    let own = tries.scratch.join("own");
    let needs = || Needs { writes: vec![&own], ..Needs::default() };

    // On a thread of its own: a namespace that it enters is nobody else's.
    let before = std::thread::scope(|scope| scope.spawn(|| tries.all("before")).join().expect("it only tries"));
    let confined = Confinement::begin(needs());
    let reading = tries.all("reading");
    confined.keep_net_admin("test").expect("the kernel tests take root");
    let read = tries.all("read");
    let thread = std::thread::scope(|scope| scope.spawn(|| tries.all("thread")).join().expect("it only tries"));

    for (what, before) in before {
        let thread = if thread[what] == read[what] { String::new() } else { format!(", a thread {}", thread[what]) };
        eprintln!("{what}: {before}, {}, {}{thread}", reading[what], read[what]);
    }
}

/// What it tries: before it is confined, while it reads, and after.
const TRIED: &str = "\
    change the mode of a file: done, EPERM, EPERM\n\
    change the owner of a file: done, EPERM, EPERM\n\
    change the times of a file: done, EPERM, EACCES\n\
    connect to a daemon: done, done, EPERM\n\
    enter a new namespace: done, EPERM, EPERM\n\
    enter a new network namespace: done, EPERM, EPERM\n\
    execute a program: done, EPERM, EPERM\n\
    link a file into an own folder: done, EXDEV, EXDEV\n\
    list a folder: done, done, EACCES\n\
    load a module: done, EPERM, EPERM\n\
    look into a process: done, EACCES, EACCES\n\
    make a file: done, EACCES, EACCES\n\
    make a folder: done, EACCES, EACCES\n\
    move it into another own folder: done, done, done\n\
    open a UDP socket: done, done, EPERM\n\
    open a netlink socket: done, done, done\n\
    open a packet socket: done, EPERM, EPERM\n\
    read a file: done, done, EACCES\n\
    remove a file: done, EACCES, EACCES\n\
    shorten and remove it: done, done, done\n\
    signal a process: done, EPERM, EPERM\n\
    trace a process: done, EPERM, EPERM\n\
    truncate a file that is opened for reading: done, EPERM, EPERM\n\
    write a file: done, EACCES, EACCES\n\
    write and read an own file: done, done, done\n";
/// The same on a kernel without Landlock.
const TRIED_WITHOUT: &str = "\
    change the mode of a file: done, EPERM, EPERM\n\
    change the owner of a file: done, EPERM, EPERM\n\
    change the times of a file: done, EPERM, EPERM\n\
    connect to a daemon: done, done, EPERM\n\
    enter a new namespace: done, EPERM, EPERM\n\
    enter a new network namespace: done, EPERM, EPERM\n\
    execute a program: done, EPERM, EPERM\n\
    link a file into an own folder: done, done, done\n\
    list a folder: done, done, done\n\
    load a module: done, EPERM, EPERM\n\
    look into a process: done, EACCES, EACCES\n\
    make a file: done, done, done\n\
    make a folder: done, done, done\n\
    move it into another own folder: done, done, done\n\
    open a UDP socket: done, done, EPERM\n\
    open a netlink socket: done, done, done\n\
    open a packet socket: done, EPERM, EPERM\n\
    read a file: done, done, done\n\
    remove a file: done, done, done\n\
    shorten and remove it: done, done, done\n\
    signal a process: done, EPERM, EPERM\n\
    trace a process: done, EPERM, EPERM\n\
    truncate a file that is opened for reading: done, EPERM, EPERM\n\
    write a file: done, done, done\n\
    write and read an own file: done, done, done\n";

fn tried(kernel: &str) -> String {
    let scratch = scratch_with_files();
    output(&mut alone(Command::new("env"), "tries_of_a_confined_process", kernel, scratch.path())).stderr
}

#[test]
fn what_a_confined_process_tries_fails_and_its_own_files_it_can_write() {
    assert_eq!(tried(""), if has_landlock() { TRIED } else { TRIED_WITHOUT });
}

#[test]
fn without_landlock_all_else_holds() {
    assert_eq!([tried("38"), tried("95")], [TRIED_WITHOUT; 2]);
}

#[test]
#[ignore = "run by the test below as a process of its own"]
fn tries_of_a_thread_that_renounces() {
    let Some(scratch) = scratch() else { return };
    let file = scratch.join("other/file");
    let tries = || {
        let socket = in_a_word(socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).map(drop));
        [in_a_word(fs::read(&file).map(drop)), in_a_word(fs::write(&file, "changed")), socket].join(" ")
    };
    let thread = || {
        renounce();
        tries()
    };
    let renounced = std::thread::scope(|scope| scope.spawn(thread).join().expect("it only tries"));
    eprintln!("{renounced}, beside {}", tries());
}

#[test]
fn a_thread_that_renounces_reads_and_writes_no_file_and_others_do() {
    let scratch = scratch_with_files();

    let said = output(&mut alone(Command::new("env"), "tries_of_a_thread_that_renounces", "", scratch.path())).stderr;

    let files = if has_landlock() { "EACCES EACCES" } else { "done done" };
    assert_eq!(said, format!("{files} EPERM, beside done done done\n"));
}

/// Palisade at its last word, which nobody takes: its standard output is full, and its standard error is a terminal.
struct AtItsLastWord {
    child: Child,
    output: OwnedFd,
    _terminal: OwnedFd,
}

impl AtItsLastWord {
    fn of(machine: &Machine, arguments: &[&str]) -> Self {
        let (output, full) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let room = fcntl(&full, FcntlArg::F_SETPIPE_SZ(4_096)).expect("root may");
        let word = vec![b'.'; usize::try_from(room).expect("a size")];
        File::from(full.try_clone().expect("a descriptor")).write_all(&word).expect("there is room");
        let terminal = openpty(None, None).expect("a terminal");
        let mut command = machine.command("policy.yaml", arguments);
        command.env("TERM", "xterm").env_remove("JOURNAL_STREAM");
        let child = command.stdout(full).stderr(terminal.slave).spawn().expect("it starts");
        let waits = format!("/proc/{}/wchan", child.id());
        // `pipe_write`, `anon_pipe_write`, or on a kernel that misses by a symbol `pipe_writable`.
        wait_until(|| fs::read_to_string(&waits).is_ok_and(|place| place.contains("pipe_writ")));
        Self { child, output, _terminal: terminal.master }
    }

    /// What it may do, thread by thread, the first one first.
    fn rights(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it is there").flatten();
        let mut threads: Vec<(u32, String)> = tasks
            .map(|task| {
                let status = fs::read_to_string(task.path().join("status")).expect("it is there");
                let of = |name: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                    line.unwrap_or("none").trim_start_matches('0').to_owned()
                };
                let names = [
                    "Name",
                    "CapInh",
                    "CapPrm",
                    "CapEff",
                    "CapBnd",
                    "CapAmb",
                    "NoNewPrivs",
                    "Seccomp",
                    "Seccomp_filters",
                ];
                (task.file_name().to_string_lossy().parse().expect("a number"), names.map(of).join(" "))
            })
            .collect();
        threads.sort();
        threads.into_iter().map(|(_, rights)| rights).collect()
    }

    fn end(mut self) -> Option<i32> {
        drop(self.output);
        self.child.wait().expect("it was started").code()
    }
}

/// What palisade has left when it may need the kernel's rules to the end: a name; inheritable, permitted, effective, bounding and
/// ambient capabilities; no new privileges, and filters.
const NET_ADMIN: &str = "palisade  1000 1000   1 2 2";
/// What it has left when it doesn't.
const NOTHING: &str = "palisade      1 2 2";

#[track_caller]
fn assert_rights(machine: &Machine, commands: &[&str], expected: &str) {
    for command in commands {
        let stopped = AtItsLastWord::of(machine, &command.split(' ').collect::<Vec<_>>());
        assert_eq!(stopped.rights(), [expected], "{command}");
        stopped.end().expect("no signal ends it");
    }
}

/// After each command another state: the policy opens one port more than what is loaded.
#[test]
fn every_command_has_cap_net_admin_at_most_in_the_end_and_can_get_no_more() {
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    machine.open(&[80]);
    let commands = [
        "check",
        "diff",
        "status",
        "explain 22/tcp --from 127.0.0.1",
        "explain 22/tcp --from 127.0.0.1 --planned",
        "explain 22/tcp",
        "explain --from 127.0.0.1",
        "exposure",
        "doctor",
        "report --html -",
        "doctor --journal",
        "metrics",
        "rollback --list",
        "apply --dry-run",
        "apply",
        "rollback",
        "apply --confirm 1h",
        "confirm",
        "boot",
        "refresh --json",
        "disable --yes",
    ];
    assert_rights(&machine, &commands, NET_ADMIN);
    let takes = "groups: { owner: { temporary: 12h }, attackers: { temporary: 1d } }\n\
                 services: { web: { ports: 80/tcp, from: owner } }\nblock: attackers\n";
    machine.write("policy.yaml", &format!("version: 1\n{takes}"));
    machine.run(&["apply"]).success();
    let textfile = format!("metrics --textfile {}", machine.path("lib").display());
    let commands = ["block 192.0.2.7", "revoke 192.0.2.7", "allow 192.0.2.7", &textfile];
    assert_rights(&machine, &commands, NET_ADMIN);
    machine.inside.nft_load("table inet theirs { chain in { type filter hook input priority 0; policy drop; }; }");
    let chain = "INPUT { type filter hook input priority filter; policy drop; }";
    machine.inside.nft_load(&format!("table ip filter {{ chain {chain}; }}"));
    assert_rights(&machine, &["import nft", "import iptables"], NET_ADMIN);
    let recorded = |firewall: &str, place: &str| {
        format!("import {firewall} {}/tests/migrate/{place}", env!("CARGO_MANIFEST_DIR"))
    };
    let ufw = recorded("ufw --root", "web-server.d");
    let zones = recorded("firewalld --root", "firewalld/docker.d");
    let chain = recorded("docker-user", "docker-user/sets.rules");
    let commands = ["allow --list", "show", "init", &ufw, &zones, &chain, "add 81/tcp --from any --yes"];
    assert_rights(&machine, &commands, NOTHING);
}

#[test]
#[ignore = "run by the tests below as a process of its own"]
fn becomes_palisade_on_another_kernel() {
    let Some(scratch) = scratch() else { return };
    let arguments = fs::read_to_string(scratch.join("arguments")).expect("they were written");
    pretend();
    panic!("{}", Command::new(palisade()).args(arguments.lines()).exec());
}

/// Palisade on a kernel that seems another.
fn palisade_on(kernel: &str, machine: &Machine, arguments: &[&str]) -> Output {
    let [policy, lib, run] = ["policy.yaml", "lib", "run"].map(|name| machine.path(name).display().to_string());
    let common = ["--policy", &policy, "--state-dir", &lib, "--run-dir", &run];
    machine.write("arguments", &[&common[..], arguments].concat().join("\n"));
    let before = machine.inside.command("env");
    let mut done = output(&mut alone(before, "becomes_palisade_on_another_kernel", kernel, &machine.path("")));
    // What the test says before it becomes palisade.
    done.stdout = done.stdout.trim_start_matches("\nrunning 1 test\n").to_owned();
    done
}

const SAYS_WITHOUT: [(&str, &str); 2] = [
    ("38", "Landlock is not in this kernel, or may not be used"),
    ("95", "Landlock is switched off on this kernel (`lsm=`)"),
];

#[test]
fn a_kernel_without_landlock_is_told_of_with_v_and_nothing_else_is_said() {
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    for (kernel, why) in SAYS_WITHOUT {
        let sentence = format!(" INFO {why}: what belongs to root is not protected from a mistake in palisade\n");
        for (arguments, expected) in [(&["-v", "apply"][..], sentence.as_str()), (&["apply"], "")] {
            let done = palisade_on(kernel, &machine, arguments);
            assert_eq!(done.stderr, expected, "{arguments:?}");
            assert_eq!(done.stdout, "nothing to do: the kernel already holds this policy\n");
        }
    }
    let said = palisade_on("", &machine, &["-v", "apply"]).stderr;
    assert_eq!(said.contains("Landlock"), !has_landlock(), "{said}");
}

#[test]
fn on_a_kernel_that_moves_no_file_of_a_confined_process_a_change_is_confirmed_all_the_same() {
    if !has_landlock() {
        return;
    }
    let machine = Machine::new();
    machine.open(&[]);
    machine.run(&["apply"]).success();
    machine.open(&[80]);
    palisade_on("5.13", &machine, &["apply", "--confirm", "1h"]).success();
    let loaded = machine.rules();

    let confirmed = palisade_on("5.13", &machine, &["confirm"]).success();

    assert_eq!(confirmed, format!("confirmed: {} stays\n", machine.path("policy.yaml").display()));
    assert!(!machine.waits() && !machine.kept("pending/desired.ruleset").exists());
    assert!(machine.kept("rulesets/000002.ruleset").exists());
    machine.write("policy.yaml", "");
    machine.reboot();
    assert!(machine.run(&["boot", "--json"]).success().contains("\"last-good\""));
    assert_eq!(machine.rules(), loaded);
}
