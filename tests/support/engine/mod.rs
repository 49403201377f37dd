//! Real container engines on a lab's host.
//!
//! An engine and all that it starts live in mount and process namespaces of their own beside the host's network
//! namespace: what they mount, write and run goes with the namespaces' first process, and this one goes with the test,
//! however the test ends.

mod containers;
pub mod image;
pub mod places;
pub mod scene;
pub mod setting;
mod ufw;

use super::lab::Lab;
use super::namespace::{Namespace, Output, output};
pub use containers::CONTAINERS;
use serde_json::{Map, Value};
use setting::Setting;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an engine may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first process of an engine's namespaces: it waits for the end of its input, which comes with the end of the test,
/// and leaves nothing behind.
const INIT: &str = include_str!("../../../scripts/engine-init.sh");

/// A container that runs.
pub struct Container {
    pub name: &'static str,
    pub inside: Namespace,
    /// Its own addresses, without those of a link.
    pub addresses: Vec<IpAddr>,
    /// The host's addresses in its networks.
    pub gateways: Vec<IpAddr>,
    /// Where it asks for names.
    pub name_server: Option<IpAddr>,
}

impl Container {
    /// From what `inspect` says, which speaks of processes as `engine`'s namespace numbers them.
    #[track_caller]
    fn new(name: &'static str, said: &Value, engine: u32) -> Self {
        let process = format!("/proc/{engine}/root/proc/{}", said["State"]["Pid"]);
        let inside = File::open(format!("{process}/ns/net"));
        let inside = inside.unwrap_or_else(|error| panic!("{name} does not run: {process}: {error}"));
        let in_networks = |keys: [&str; 2]| -> Vec<IpAddr> {
            let networks = said["NetworkSettings"]["Networks"].as_object().into_iter().flat_map(Map::values);
            let values = networks.flat_map(|network| keys.map(|key| network[key].as_str()?.parse().ok()));
            values.flatten().collect()
        };
        let names = fs::read_to_string(format!("{process}/root/etc/resolv.conf")).unwrap_or_default();
        Self {
            name,
            inside: Namespace::of_file(inside),
            addresses: in_networks(["IPAddress", "GlobalIPv6Address"]),
            gateways: in_networks(["Gateway", "IPv6Gateway"]),
            name_server: names.lines().find_map(|line| line.strip_prefix("nameserver ")?.trim().parse().ok()),
        }
    }
}

/// An engine of a lab's host.
pub struct Engine {
    pub setting: Setting,
    host: Namespace,
    /// Holds the namespaces: they end when its standard input does.
    init: Child,
    /// The process of [`INIT`] as this process sees it.
    pid: u32,
    cgroup: String,
    /// Docker's, and since when.
    daemon: Option<(Child, Instant)>,
}

impl Engine {
    /// An engine that runs, with the image `echo` and without a container.
    #[track_caller]
    pub fn start(lab: &Lab, setting: Setting) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cgroup = format!("palisade-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = lab.host.command("unshare");
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
        let mut init =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux has nsenter and unshare");
        let mut line = String::new();
        let said = init.stdout.as_mut().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let pid = line.trim().parse().unwrap_or_else(|_| panic!("no namespaces for an engine: {said:?} {line:?}"));
        let mut engine = Self { setting, host: lab.host.clone(), init, pid, cgroup, daemon: None };
        engine.prepare();
        engine.start_daemon(&[]);
        engine.docker(&format!("import {} echo:1", image::path().display()));
        engine
    }

    /// A program to be run where the engine is.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.host.command("nsenter");
        command.arg(format!("--target={}", self.pid)).args(["--mount", "--pid", "--", "env"]);
        command.args(self.setting.environment()).arg(program);
        command
    }

    /// A shell's command where the engine is.
    pub fn shell(&self, text: &str) -> Output {
        output(self.command("/bin/sh").args(["-c", text]))
    }

    /// Has the engine's client do something; gives what it says.
    #[track_caller]
    pub fn docker(&self, arguments: &str) -> String {
        let client = if self.setting.podman { "podman" } else { "docker" };
        let done = output(self.command(client).args(arguments.split_whitespace()));
        assert_eq!(done.status, Some(0), "{client} {arguments}: {}\n{}", done.stderr, self.log());
        done.stdout.trim().to_owned()
    }

    /// Has a container run: its name, how it is started, and the ports that it listens on.
    #[track_caller]
    pub fn run_container(&self, name: &str, arguments: &str, ports: &str) {
        let parent = if self.setting.podman { format!("--cgroup-parent /{}", self.cgroup) } else { String::new() };
        self.docker(&format!("run -d {parent} --stop-signal KILL --name {name} {arguments} echo:1 /server {ports}"));
    }

    /// What the engine runs as, `28.5.2` for one.
    pub fn version(&self) -> String {
        let version = self.docker(if self.setting.podman {
            "version --format {{.Client.Version}}"
        } else {
            "version --format {{.Server.Version}}"
        });
        version.split('+').next().unwrap_or_default().to_owned()
    }

    /// Containers that run, as they are now.
    #[track_caller]
    pub fn containers(&self, names: &[&'static str]) -> Vec<Container> {
        if names.is_empty() {
            return Vec::new();
        }
        let said = self.docker(&format!("inspect {}", names.join(" ")));
        let said: Vec<Value> = serde_json::from_str(&said).expect("inspect says JSON");
        assert_eq!(said.len(), names.len(), "each container is spoken of once");
        names.iter().zip(&said).map(|(name, said)| Container::new(name, said, self.pid)).collect()
    }

    /// A container that runs, as it is now.
    #[track_caller]
    pub fn container(&self, name: &'static str) -> Container {
        self.containers(&[name]).remove(0)
    }

    /// What other programs than palisade have loaded on the host, without counts.
    #[track_caller]
    pub fn rules_of_others(&self) -> String {
        let mut all = super::lab::foreign(&self.host.nft_list());
        for tool in ["iptables-save", "ip6tables-save"] {
            let saved = output(&mut self.command(tool)).success();
            // Counts of base chains and the time of the listing.
            for line in saved.lines().filter(|line| !line.starts_with('#')) {
                all.push_str(line.split(" [").next().unwrap_or(line));
                all.push('\n');
            }
        }
        all
    }

    fn prepare(&self) {
        for (path, text) in self.setting.files() {
            let path = format!("/proc/{}/root{path}", self.pid);
            fs::create_dir_all(path.rsplit_once('/').expect("it is absolute").0).expect("/etc is the engine's own");
            // A link would lead out of it.
            fs::remove_file(&path).ok();
            fs::write(path, text).expect("/etc is the engine's own");
        }
    }

    /// Starts Docker's daemon with these options besides the setting's; Podman has none.
    #[track_caller]
    pub fn start_daemon(&mut self, options: &[&str]) {
        self.spawn_daemon(options);
        self.await_daemon();
    }

    /// Has Docker's daemon begin to start.
    pub fn spawn_daemon(&mut self, options: &[&str]) {
        if self.setting.podman {
            return;
        }
        let mut command = self.command("/bin/sh");
        command.args([
            "-c",
            "exec dockerd \"$@\" >>/run/dockerd.log 2>&1",
            "dockerd",
            "--data-root=/run/docker-data",
        ]);
        command.arg(format!("--cgroup-parent=/{}", self.cgroup)).args(self.setting.options()).args(options);
        self.daemon = Some((command.spawn().expect("nsenter is there"), Instant::now()));
    }

    /// Waits until the daemon that was spawned answers.
    #[track_caller]
    pub fn await_daemon(&mut self) {
        let Some((mut daemon, since)) = self.daemon.take() else { return };
        while output(self.command("docker").arg("version")).status != Some(0) {
            let ended = daemon.try_wait().expect("a child can be waited for").is_some();
            assert!(!ended && since.elapsed() < PATIENCE, "dockerd does not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        self.daemon = Some((daemon, since));
    }

    /// Stops Docker's daemon in good order.
    #[track_caller]
    pub fn stop_daemon(&mut self) {
        let Some((mut daemon, _)) = self.daemon.take() else { return };
        self.shell("kill $(cat /run/docker.pid)").success();
        let since = Instant::now();
        while daemon.try_wait().expect("a child can be waited for").is_none() {
            assert!(since.elapsed() < PATIENCE, "dockerd does not stop:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last that the daemon wrote.
    pub fn log(&self) -> String {
        self.shell("tail -n 20 /run/dockerd.log 2>/dev/null").stdout
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.init.stdin.take());
        self.init.wait().ok();
        if let Some((mut daemon, _)) = self.daemon.take() {
            daemon.wait().ok();
        }
    }
}
