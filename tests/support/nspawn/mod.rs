//! A Debian with a real systemd, booted as often as wanted, and a client that is joined to it by a wire.
//!
//! The machine's tree is a layer over one that `scripts/test boot` unpacks: what a machine writes stays through its boots
//! and vanishes with it. All that runs lives in namespaces of mounts and processes of their own, and goes with their first
//! process; this one goes with the test, however the test ends. The client's network namespace is the outside.

pub mod hammer;
mod tree;

use super::engine::image;
use super::lab::{CLIENT, HOST};
use super::namespace::{Namespace, Output, output};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
pub use tree::{Suite, package};

/// How long a boot, a shutdown or a command may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const GLANCE: Duration = Duration::from_millis(20);
/// The port that a listener opens as early in a boot as systemd starts anything, and that no policy here allows.
pub const EARLY: u16 = 4444;
/// The machine's link address: the client knows it beforehand, so that not even the question for it delays a packet.
const LINK: &str = "02:00:00:00:00:01";

/// The first process of a machine's namespaces: it waits for the end of its input, which comes with the end of the test,
/// and leaves nothing behind. The new sysfs is that of the network namespace, and read-only: there systemd-nspawn does not
/// ask a udev for interfaces that it knows nothing of. The cgroups are those of version 2, whatever this machine runs.
const INIT: &str = r#"set -e
    read -r pid _ </proc/self/stat
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t sysfs -o ro sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/$0" /run/tree /run/upper /run/work
    mount -t overlay -o "lowerdir=$1,upperdir=/run/upper,workdir=/run/work" overlay /run/tree
    echo "$pid"
    cat >/dev/null
    kill -9 -1 2>/dev/null || true
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find "/sys/fs/cgroup/$0" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "/sys/fs/cgroup/$0" ] || exit 0
        sleep 0.1
    done"#;

/// Starts systemd in the tree.
const BOOT: &str = r#"echo 0 >"/sys/fs/cgroup/$0/cgroup.procs"
    exec systemd-nspawn --quiet --boot --directory=/run/tree --machine=server --register=no --keep-unit \
        --network-interface=uplink --capability=CAP_NET_ADMIN,CAP_NET_RAW --resolv-conf=off --link-journal=no \
        --console=read-only "$@" >>/run/console 2>&1"#;

/// Commands inside see what a shell after a login would.
const ENVIRONMENT: [&str; 5] = [
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=dumb",
];

/// A Debian, running or not.
pub struct Machine {
    pub client: Namespace,
    /// Holds the namespaces: they end when its standard input does.
    init: Child,
    /// The process of [`INIT`] as this process sees it.
    pid: u32,
    cgroup: String,
    booted: Option<Booted>,
}

/// What runs from a boot to its shutdown.
struct Booted {
    /// Waits for systemd-nspawn, and gives its exit status.
    nspawn: Child,
    /// The container's first process as this process sees it.
    leader: u32,
}

impl Machine {
    /// A Debian as it was unpacked, switched off: it will have [`HOST`]'s addresses, sshd, and a listener on [`EARLY`].
    #[track_caller]
    pub fn new(suite: Suite) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cgroup = format!("palisade-boot-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = Namespace::new();
        let mut command = client.command("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--",
            "/bin/sh",
            "-c",
            INIT,
            &cgroup,
        ]);
        command.arg(suite.folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut init = command.spawn().expect("util-linux has nsenter and unshare");
        let mut line = String::new();
        let said = init.stdout.as_mut().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let pid = line.trim().parse().unwrap_or_else(|_| panic!("no namespaces for a machine: {said:?} {line:?}"));
        let machine = Self { client, init, pid, cgroup, booted: None };
        machine.prepare();
        machine
    }

    /// One that has palisade installed, enabled, and a policy that allows SSH alone.
    #[track_caller]
    pub fn with_palisade(suite: Suite) -> Self {
        let machine = Self::new(suite);
        machine.copy(&package(), "/root/palisade.deb");
        machine.chroot("dpkg --install /root/palisade.deb && systemctl enable palisade");
        machine
    }

    /// Gives it its addresses and its early listener.
    fn prepare(&self) {
        let ([host_v4, host_v6], [client_v4, client_v6]) = (HOST, CLIENT);
        self.write(
            "/etc/systemd/network/uplink.network",
            &format!(
                "[Match]\nName=uplink\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\
                 [Address]\nAddress={host_v4}/24\n\
                 [Address]\nAddress={host_v6}/64\nDuplicateAddressDetection=none\n\
                 [Route]\nGateway={client_v4}\n[Route]\nGateway={client_v6}\n"
            ),
        );
        image::compile(&self.path("/usr/local/bin/echo-server"));
        self.write(
            "/etc/systemd/system/early.service",
            &format!(
                "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/local/bin/echo-server {EARLY}\n\
                 [Install]\nWantedBy=sysinit.target\n"
            ),
        );
        self.write("/etc/machine-id", "");
        self.chroot("systemctl enable early.service systemd-networkd.service");
    }

    /// Where a path of the machine is, for this process.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/tree{path}", self.pid))
    }

    /// Writes a file into the tree, and the folders above it.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is absolute")).expect("the tree is the test's own");
        fs::write(path, text).expect("the tree is the test's own");
    }

    /// Copies a file of this machine into the tree.
    #[track_caller]
    pub fn copy(&self, from: &Path, to: &str) {
        fs::copy(from, self.path(to)).unwrap_or_else(|error| panic!("{} to {to}: {error}", from.display()));
    }

    /// What a file holds.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a shell's command in the tree while the machine is off; gives what it says.
    #[track_caller]
    pub fn chroot(&self, text: &str) -> String {
        assert!(self.booted.is_none(), "the machine runs: use its shell");
        let mut command = self.beside("chroot");
        command.arg("/run/tree").arg("env").args(ENVIRONMENT).args(["/bin/sh", "-c", text]);
        output(&mut command).success()
    }

    /// Starts the machine, with further options of systemd-nspawn, and does not wait until it is up.
    #[track_caller]
    pub fn start(&mut self, options: &[&str]) {
        assert!(self.booted.is_none(), "the machine runs already");
        self.plug_in();
        let mut command = self.beside("/bin/sh");
        command.args(["-c", BOOT, &self.cgroup]).args(options);
        let mut nspawn = command.spawn().expect("nsenter is there");
        let since = Instant::now();
        let leader = loop {
            if let Some(leader) = leader_of(nspawn.id()) {
                break leader;
            }
            let ended = nspawn.try_wait().expect("a child can be waited for").is_some();
            assert!(!ended && since.elapsed() < PATIENCE, "systemd-nspawn does not start:\n{}", self.console());
            thread::sleep(GLANCE);
        };
        self.booted = Some(Booted { nspawn, leader });
    }

    /// Joins the client to the machine: the far end goes into the machine, and with it.
    fn plug_in(&self) {
        self.client.ip(&format!("link add wire type veth peer name uplink address {LINK}"));
        self.client.ip("link set wire up");
        for (client, host) in CLIENT.into_iter().zip(HOST) {
            let (bits, nodad) = if client.is_ipv6() { (64, "nodad") } else { (24, "") };
            self.client.ip(&format!("address add {client}/{bits} dev wire {nodad}"));
            self.client.ip(&format!("neighbour replace {host} lladdr {LINK} dev wire nud permanent"));
        }
    }

    /// Waits until all of the boot is done; gives `running`, or `degraded` when a unit has failed.
    #[track_caller]
    pub fn wait_until_up(&mut self) -> String {
        let since = Instant::now();
        loop {
            // Before systemd listens, its client fails at once.
            let said = self.shell("systemctl is-system-running --wait").stdout.trim().to_owned();
            if ["running", "degraded", "maintenance"].contains(&said.as_str()) {
                return said;
            }
            let booted = self.booted.as_mut().expect("the machine was started");
            let ended = booted.nspawn.try_wait().expect("a child can be waited for").is_some();
            assert!(!ended && since.elapsed() < PATIENCE, "the machine does not boot ({said}):\n{}", self.console());
            thread::sleep(GLANCE);
        }
    }

    /// Starts the machine and waits until it is up.
    #[track_caller]
    pub fn boot(&mut self, options: &[&str]) -> String {
        self.start(options);
        self.wait_until_up()
    }

    /// A shell's command in the running machine.
    pub fn shell(&self, text: &str) -> Output {
        let leader = self.booted.as_ref().expect("the machine was started").leader;
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).args(["nsenter", "--all", &format!("--target={leader}"), "--"]);
        output(command.arg("env").args(ENVIRONMENT).args(["/bin/sh", "-c", text]).stdin(Stdio::null()))
    }

    /// A shell's command that must succeed; gives what it says.
    #[track_caller]
    pub fn run(&self, text: &str) -> String {
        self.shell(text).success()
    }

    /// Shuts the running machine down in good order.
    #[track_caller]
    pub fn power_off(&mut self) {
        self.shell("systemctl poweroff");
        let mut booted = self.booted.take().expect("the machine was started");
        let since = Instant::now();
        while booted.nspawn.try_wait().expect("a child can be waited for").is_none() {
            assert!(since.elapsed() < PATIENCE, "the machine does not shut down:\n{}", self.console());
            thread::sleep(GLANCE);
        }
        // It goes with the machine's namespace, which the kernel takes down a while after its last process.
        output(self.client.command("ip").args(["link", "delete", "wire"]));
    }

    /// What the machine's unit has said in this boot.
    #[track_caller]
    pub fn journal(&self) -> String {
        self.run("journalctl --boot --unit palisade --output cat --no-pager")
    }

    /// Waits until the machine's console shows this; fails when it does not.
    #[track_caller]
    pub fn wait_for_console(&self, said: &str) {
        let since = Instant::now();
        while !self.console().contains(said) {
            assert!(since.elapsed() < PATIENCE, "the console does not say {said:?}:\n{}", self.console());
            thread::sleep(GLANCE);
        }
    }

    /// What was printed on the machine's console, through all boots.
    pub fn console(&self) -> String {
        fs::read_to_string(format!("/proc/{}/root/run/console", self.pid)).unwrap_or_default()
    }

    /// Fails unless sshd answers the client over IPv4 and IPv6.
    #[track_caller]
    pub fn assert_ssh_answers(&self) {
        for (from, to) in CLIENT.into_iter().zip(HOST) {
            let banner = self.client.run(|| -> std::io::Result<String> {
                let mut stream = std::net::TcpStream::connect_timeout(&SocketAddr::new(to, 22), PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut banner = [0; 4];
                stream.read_exact(&mut banner)?;
                Ok(String::from_utf8_lossy(&banner).into_owned())
            });
            assert_eq!(banner.ok().as_deref(), Some("SSH-"), "what sshd says to {from}:\n{}", self.console());
        }
    }

    /// A command beside the machine: in the namespaces that hold its tree, not in it.
    fn beside(&self, program: &str) -> Command {
        let mut command = self.client.command("nsenter");
        command.arg(format!("--target={}", self.pid)).args(["--mount", "--pid", "--", program]);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.init.stdin.take());
        self.init.wait().ok();
        if let Some(mut booted) = self.booted.take() {
            booted.nspawn.wait().ok();
        }
    }
}

/// The first process of the container that the process below `nsenter` has started.
fn leader_of(nsenter: u32) -> Option<u32> {
    children(nsenter).into_iter().flat_map(children).find(|pid| {
        // Its numbers in each namespace, the innermost last.
        status_field(*pid, "NSpid").is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
    })
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| status_field(*pid, "PPid").is_some_and(|found| found == parent.to_string())).collect()
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}
