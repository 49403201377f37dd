//! Which engine, and how it is set.

use crate::support::lab::CLIENT;
use std::env::consts::ARCH;
use std::fmt;
use std::path::PathBuf;

/// An engine and what was chosen of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The Debian suite whose packages it is from.
    pub suite: &'static str,
    pub podman: bool,
    /// Whether Docker's userland proxy runs.
    pub proxy: bool,
    /// `nft` or `legacy`: which iptables the engine finds.
    pub iptables: &'static str,
    /// Whether Docker may load rules at all.
    pub rules: bool,
    /// Whether ufw is enabled beside it.
    pub ufw: bool,
}

impl Setting {
    pub const fn docker(suite: &'static str, proxy: bool) -> Self {
        Self { suite, podman: false, proxy, iptables: "nft", rules: true, ufw: false }
    }

    pub const fn podman() -> Self {
        Self { suite: "bookworm", podman: true, proxy: false, iptables: "nft", rules: true, ufw: false }
    }

    /// With rules that no listing of nf_tables shows.
    pub const fn legacy(self) -> Self {
        Self { iptables: "legacy", ..self }
    }

    /// On a host that ufw guards too.
    pub const fn with_ufw(self) -> Self {
        Self { ufw: true, ..self }
    }

    /// Told to leave the rules alone: everything goes through the proxy.
    pub const fn without_rules(self) -> Self {
        Self { rules: false, ..self }
    }

    /// Where a suite's packages are unpacked.
    pub fn folder(suite: &str) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/engines").join(suite);
        assert!(folder.is_dir(), "no engine in {}: `scripts/test engines` unpacks them", folder.display());
        folder
    }

    /// Where its programs and their libraries are found. Bookworm's runc serves all of them, and the machine's own
    /// engine, if it has one, is nobody's.
    pub fn environment(&self) -> [String; 2] {
        let (own, bookworm) = (Self::folder(self.suite), Self::folder("bookworm"));
        let iptables = Self::folder(&format!("iptables-{}", self.iptables));
        let (own, bookworm, iptables) = (own.display(), bookworm.display(), iptables.display());
        [
            format!(
                "PATH={iptables}:{own}/usr/sbin:{own}/usr/bin:{bookworm}/usr/sbin:{bookworm}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ),
            // The newer suites' libraries are not for this machine's C library: they have none unpacked.
            format!("LD_LIBRARY_PATH={bookworm}/usr/lib/{ARCH}-linux-gnu:{bookworm}/lib/{ARCH}-linux-gnu"),
        ]
    }

    /// The column of `docs/containers.md` that a version of it has. Sid moves on: of its version only the first number counts.
    pub fn column(&self, version: &str) -> String {
        let numbers: Vec<&str> = version.splitn(3, '.').take(if self.suite == "sid" { 1 } else { 2 }).collect();
        let numbers = numbers.join(".");
        match (self.podman, self.ufw, self.rules, self.iptables, self.proxy) {
            (true, ..) => format!("Podman {numbers}"),
            (_, true, ..) => format!("{numbers} ufw"),
            (_, _, false, ..) => format!("{numbers} no-rules"),
            (.., "legacy", _) => format!("{numbers} legacy"),
            (.., true) => format!("{numbers} proxy"),
            (.., false) => format!("{numbers} direct"),
        }
    }

    /// The options of Docker's daemon.
    pub fn options(&self) -> Vec<String> {
        vec![format!("--userland-proxy={}", self.proxy), format!("--iptables={}", self.rules)]
    }

    /// The engine's files below `/etc`.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let names = ("/etc/resolv.conf", format!("nameserver {}\n", CLIENT[0]));
        if !self.podman {
            return vec![names, ("/etc/docker/daemon.json", "{}\n".to_owned())];
        }
        let bookworm = Self::folder("bookworm");
        let bookworm = bookworm.display();
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
             [network]\nnetwork_backend = \"netavark\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"runc\"\n\
             helper_binaries_dir = [\"{bookworm}/usr/lib/podman\"]\nconmon_path = [\"{bookworm}/usr/bin/conmon\"]\n\
             [engine.runtimes]\nrunc = [\"{bookworm}/usr/sbin/runc\"]\n"
        );
        let storage = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/run/containers/graph\"\nrunroot = \"/run/containers/run\"\n";
        vec![
            names,
            ("/etc/containers/containers.conf", containers),
            ("/etc/containers/storage.conf", storage.to_owned()),
            ("/etc/containers/policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n".to_owned()),
            ("/etc/containers/registries.conf", String::new()),
        ]
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.podman, self.proxy) {
            (true, _) => write!(f, "podman-{}", self.suite)?,
            (false, true) => write!(f, "docker-{}-proxy", self.suite)?,
            (false, false) => write!(f, "docker-{}-no-proxy", self.suite)?,
        }
        if self.iptables == "legacy" {
            f.write_str("-legacy")?;
        }
        if self.rules { Ok(()) } else { f.write_str("-without-rules") }
    }
}
