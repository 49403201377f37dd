//! A server, someone outside, and someone on the server's local network.
//!
//! ```text
//! client ── eth0 ─────────── eth0 ── host ── eth1 ─────────── eth0 ── lan
//! 203.0.113.9    203.0.113.1/24      10.77.0.1/24         10.77.0.2
//! 2001:db8::9    2001:db8::1/64      fd77::1/64             fd77::2
//! ```
//!
//! The client is whoever it says it is: the host routes every other address to it, and it takes on the addresses that
//! probes come from.

use super::namespace::{Namespace, Output, output};
use super::probe::{Outcome, PATIENCE, Target};
use super::program::palisade;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The host's addresses towards the client.
pub const HOST: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// The client's own addresses.
pub const CLIENT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9))];
/// The host's addresses on its local network.
pub const HOST_ON_LAN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1))];
/// The addresses of the machine on the local network.
pub const LAN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2))];
/// Somebody outside, for policies that do not name this address.
pub const OUT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66))];
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
pub const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// Mounts a lab's own state over the machine's, which no test may see or change, then becomes palisade.
const IN_ITS_OWN_STATE: &str = "set -e; mkdir -p /var/lib/palisade /run/palisade
    mount --bind \"$0/resolv.conf\" /etc/resolv.conf; mount --bind \"$0/hosts\" /etc/hosts
    mount --bind \"$0/nsswitch.conf\" /etc/nsswitch.conf; mount --bind \"$0/passwd\" /etc/passwd
    mount --bind \"$0/lib\" /var/lib/palisade; mount --bind \"$0/run\" /run/palisade; exec \"$@\"";

/// Three namespaces joined by wires, and what palisade keeps of the host among them.
pub struct Lab {
    pub host: Namespace,
    pub client: Namespace,
    pub lan: Namespace,
    scratch: TempDir,
}

impl Lab {
    /// A host without a single rule, reached by all. It doesn't forward.
    pub fn new() -> Self {
        let (host, client, lan) = (Namespace::new(), Namespace::new(), Namespace::new());
        join(&host, "eth0", HOST, &client, CLIENT);
        join(&host, "eth1", HOST_ON_LAN, &lan, LAN);
        host.ip(&format!("-4 route add default via {}", CLIENT[0]));
        host.ip(&format!("-6 route add default via {}", CLIENT[1]));
        for (inside, gateway) in [(&client, HOST), (&lan, HOST_ON_LAN)] {
            inside.ip(&format!("-4 route add default via {}", gateway[0]));
            inside.ip(&format!("-6 route add default via {}", gateway[1]));
        }
        // A matrix of refusals would otherwise see the kernel's own thrift with ICMP errors.
        host.sysctl("net/ipv4/icmp_ratemask", "0");
        host.sysctl("net/ipv6/icmp/ratelimit", "0");
        // Below /run only root may write, which palisade wants of the folders above a policy.
        let scratch = tempfile::Builder::new().prefix("palisade-lab-").tempdir_in("/run").expect("/run is writable");
        for folder in ["lib", "run", "policies"] {
            fs::create_dir(scratch.path().join(folder)).expect("a folder in a fresh one");
        }
        // As the package has it.
        let kept = scratch.path().join("lib");
        fs::set_permissions(kept, fs::Permissions::from_mode(0o700)).expect("it was made just now");
        // The machine's own name servers are none of the lab's.
        for (name, text) in [("resolv.conf", ""), ("hosts", ""), ("nsswitch.conf", "hosts: files dns\n")] {
            fs::write(scratch.path().join(name), text).expect("scratch is writable");
        }
        fs::copy("/etc/passwd", scratch.path().join("passwd")).expect("scratch is writable");
        let policies = ["policies", "tests/policies"].map(|folder| {
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("policies/ is there")
        });
        for entry in policies.into_iter().flatten() {
            let path = entry.expect("policies/ can be read").path();
            let copy = scratch.path().join("policies").join(path.file_name().expect("a file has a name"));
            fs::write(copy, fs::read(&path).expect("a policy can be read")).expect("scratch is writable");
        }
        Self { host, client, lan, scratch }
    }

    /// Lets the host forward between the client and the local network.
    pub fn forward(&self) {
        self.host.sysctl("net/ipv4/ip_forward", "1");
        self.host.sysctl("net/ipv6/conf/all/forwarding", "1");
    }

    /// Has the neighbour send what is for 127.0.0.1 to the host, over the wire.
    pub fn send_loopback_over_the_wire(&self) {
        self.lan.sysctl("net/ipv4/conf/all/route_localnet", "1");
        self.lan.ip("rule add priority 1 from all lookup local");
        self.lan.ip("rule add priority 0 to 127.0.0.1 lookup 100");
        self.lan.ip("rule delete priority 0 lookup local");
        self.lan.ip(&format!("route add 127.0.0.1 via {} table 100", HOST_ON_LAN[0]));
    }

    /// Which machine has this address, and the address of the host that it would try.
    pub fn peer(&self, address: IpAddr) -> (&Namespace, IpAddr) {
        let family = usize::from(address.is_ipv6());
        if address == LAN[family] { (&self.lan, HOST_ON_LAN[family]) } else { (&self.client, HOST[family]) }
    }

    /// Gives the client further addresses. Those that it has are left as they are.
    pub fn add_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            if !CLIENT.contains(&address) && !LAN.contains(&address) {
                let (bits, nodad) = if address.is_ipv6() { (128, "nodad") } else { (32, "") };
                self.client.ip(&format!("address replace {address}/{bits} dev eth0 {nodad}"));
            }
        }
    }

    /// The path of a file in the lab's copy of `policies/` and `tests/policies/`.
    pub fn policy(&self, name: &str) -> PathBuf {
        self.scratch.path().join("policies").join(name)
    }

    /// Writes a policy, or a file that one names, and gives its path.
    pub fn write_policy(&self, name: &str, text: &str) -> PathBuf {
        let path = self.policy(name);
        fs::write(&path, text).expect("scratch is writable");
        path
    }

    /// Names the name servers that the host asks.
    pub fn name_servers(&self, text: &str) {
        fs::write(self.scratch.path().join("resolv.conf"), text).expect("scratch is writable");
    }

    /// Names the hosts that the host knows by itself (hosts(5)).
    pub fn hosts(&self, text: &str) {
        fs::write(self.scratch.path().join("hosts"), text).expect("scratch is writable");
    }

    /// A file of what palisade keeps.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.scratch.path().join("lib").join(name)
    }

    /// Adds a user, who may log in. Only what is started afterwards knows them.
    pub fn add_user(&self, name: &str) {
        let path = self.scratch.path().join("passwd");
        let users = fs::read_to_string(&path).expect("it was copied");
        fs::write(path, format!("{users}{name}:x:4242:4242::/:/bin/sh\n")).expect("scratch is writable");
    }

    /// How many large sets palisade keeps.
    pub fn kept_sets(&self) -> usize {
        fs::read_dir(self.scratch.path().join("lib/sets")).map_or(0, Iterator::count)
    }

    /// A program to be run on the host, for which what palisade keeps is of the lab and lasts as long.
    pub fn in_its_own_state(&self, program: &str) -> Command {
        let mut command = self.host.command("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", IN_ITS_OWN_STATE]);
        command.arg(self.scratch.path()).arg(program);
        command
    }

    /// Runs palisade on the host, in a state of its own that lasts as long as the lab.
    #[track_caller]
    pub fn palisade(&self, policy: &str, arguments: &[&str]) -> Output {
        let mut command = self.in_its_own_state(palisade());
        output(command.arg("--policy").arg(self.policy(policy)).args(arguments))
    }

    /// Fails unless the host can open TCP and UDP connections to the client, over IPv4 and IPv6.
    #[track_caller]
    pub fn assert_host_reaches_out(&self) {
        let listening: Vec<SocketAddr> = CLIENT.iter().map(|address| SocketAddr::new(*address, 4242)).collect();
        let _echo = self.client.listen(&listening, &listening);
        for (from, to) in HOST.into_iter().zip(CLIENT) {
            for target in [Target::Tcp(4242), Target::Udp(4242), Target::Ping] {
                let outcome = self.host.probe(target, from, to, PATIENCE);
                assert_eq!(outcome, Outcome::Connected, "the host's own {target} to {to}");
            }
        }
    }

    /// Has the host forget every exchange of datagrams: a probe that happens to be sent from the port of an earlier one, which
    /// was answered, would count as its continuation.
    pub fn forget_datagrams(&self) {
        // Its status tells whether there was any.
        output(self.host.command("conntrack").args(["--delete", "--proto", "udp"]));
    }

    /// Has everyone forget the link addresses of the others, so that the next packet asks for them first.
    pub fn forget_neighbours(&self) {
        for (inside, device) in
            [(&self.host, "eth0"), (&self.host, "eth1"), (&self.client, "eth0"), (&self.lan, "eth0")]
        {
            inside.ip(&format!("neighbour flush dev {device}"));
        }
    }

    /// Fails unless host and client find each other anew, whichever of them asks.
    #[track_caller]
    pub fn assert_neighbours_are_found(&self) {
        for (host, client) in HOST.into_iter().zip(CLIENT) {
            for (inside, from, to) in [(&self.host, host, client), (&self.client, client, host)] {
                self.forget_neighbours();
                let outcome = inside.probe(Target::Ping, from, to, PATIENCE);
                assert_eq!(outcome, Outcome::Connected, "ping from {from} to {to}, which must be found first");
            }
        }
    }
}

fn join(host: &Namespace, name: &str, on_host: [IpAddr; 2], peer: &Namespace, on_peer: [IpAddr; 2]) {
    host.ip(&format!("link add {name} type veth peer name eth0 netns {}", peer.path()));
    for (inside, device, [v4, v6]) in [(host, name, on_host), (peer, "eth0", on_peer)] {
        inside.ip(&format!("address add {v4}/24 dev {device}"));
        inside.ip(&format!("address add {v6}/64 dev {device} nodad"));
        inside.ip(&format!("link set {device} up"));
    }
}

/// A listing of `nft list ruleset` without palisade's table: what others have loaded.
pub fn foreign(listing: &str) -> String {
    let mut ours = false;
    let mut theirs = String::new();
    for line in listing.lines() {
        ours |= line == "table inet palisade {";
        if !ours {
            theirs.push_str(line);
            theirs.push('\n');
        }
        ours &= line != "}";
    }
    theirs
}

/// A listing without the time of loading, which `apply` writes behind the policy's name in the table's comment.
pub fn without_time(listing: &str) -> String {
    let line = |line: &str| match line.split_once(", loaded ") {
        Some((begin, _)) => format!("{begin})\"\n"),
        None => format!("{line}\n"),
    };
    listing.lines().map(line).collect()
}

/// A listing without the connections that lost their access and without who was denied, which are no part of a policy.
pub fn without_live(listing: &str) -> String {
    let (mut live, mut inside) = (false, false);
    let mut rest = String::new();
    for line in listing.lines() {
        let text = line.trim_start();
        let begins = ["set policy.revoked-", "set denied."].iter().any(|set| text.starts_with(set));
        live = begins || live && text != "}";
        inside |= live && text.starts_with("elements = {");
        if !inside {
            rest.push_str(line);
            rest.push('\n');
        }
        inside &= !line.ends_with('}');
    }
    rest
}
