//! A VPN: a peer behind a tunnel that ends at the host, and whose packets come to the host in datagrams.
//!
//! Where the kernel has WireGuard it is WireGuard itself, set up by its own `wg`. Elsewhere a tun device at each end
//! stands in for it, whose packets are carried in datagrams to the same port, in the clear.
#![allow(unsafe_code)]

use super::lab::{HOST, Lab};
use super::namespace::{Namespace, output};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

/// The port at which the host takes the tunnel's datagrams.
pub const PORT: u16 = 51820;
/// The host's addresses in the tunnel.
pub const HOST_INSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 1))];
/// The peer's addresses.
pub const PEER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 2))];
/// The longest packet that a tunnel of either kind takes.
const MTU: usize = 1420;

/// The tunnel is `wg0` at both ends. Its datagrams come to the host from the lab's client.
pub struct Tunnel {
    pub peer: Namespace,
    /// What stands in for WireGuard, if the kernel does not have it.
    _carrier: Option<Carrier>,
}

impl Tunnel {
    pub fn new(lab: &Lab) -> Self {
        let peer = Namespace::new();
        let has_wireguard = output(lab.client.command("ip").args(["link", "add", "wg0", "type", "wireguard"]));
        let carrier = if has_wireguard.status == Some(0) {
            wireguard(lab, &peer);
            None
        } else {
            assert!(has_wireguard.stderr.contains("Unknown device type"), "{}", has_wireguard.stderr);
            Some(Carrier::new(lab, &peer))
        };
        eprintln!("the tunnel is {}", if carrier.is_some() { "a pair of tun devices" } else { "WireGuard" });
        for (inside, [v4, v6]) in [(&lab.host, HOST_INSIDE), (&peer, PEER)] {
            inside.ip(&format!("address add {v4}/24 dev wg0"));
            inside.ip(&format!("address add {v6}/64 dev wg0 nodad"));
            inside.ip(&format!("link set wg0 up mtu {MTU}"));
        }
        for version in ["-4", "-6"] {
            peer.ip(&format!("{version} route add default dev wg0"));
        }
        Self { peer, _carrier: carrier }
    }
}

/// WireGuard keeps its socket in the namespace in which the device was made, and goes on after the device has moved.
fn wireguard(lab: &Lab, peer: &Namespace) {
    lab.host.ip("link add wg0 type wireguard");
    let [of_host, of_peer] = [(); 2].map(|()| said(Command::new("wg").arg("genkey"), ""));
    let public = |private: &str| said(Command::new("wg").arg("pubkey"), private);
    let endpoint = SocketAddr::new(HOST[0], PORT);
    let set = |inside: &Namespace, private: &str, rest: &str| {
        let mut command = inside.command("wg");
        command.args(["set", "wg0", "private-key", "/proc/self/fd/0"]).args(rest.split_whitespace());
        said(&mut command, private);
    };
    let allowed = PEER.map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })).join(",");
    set(&lab.host, &of_host, &format!("listen-port {PORT} peer {} allowed-ips {allowed}", public(&of_peer)));
    set(&lab.client, &of_peer, &format!("peer {} endpoint {endpoint} allowed-ips 0.0.0.0/0,::/0", public(&of_host)));
    lab.client.ip(&format!("link set wg0 netns {}", peer.path()));
}

/// What a program says when it is given a line.
fn said(command: &mut Command, line: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter and wg are installed");
    let mut input = child.stdin.take().expect("it is piped");
    // One that is given nothing may have ended before it could be.
    if !line.is_empty() {
        writeln!(input, "{line}").expect("it reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Carries packets between two tun devices in datagrams.
struct Carrier {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Carrier {
    fn new(lab: &Lab, peer: &Namespace) -> Self {
        let socket = |inside: &Namespace, port| inside.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let here =
            End { tun: lab.host.run(tun), socket: socket(&lab.host, PORT).expect("the port is free"), to: None };
        let there = End {
            tun: peer.run(tun),
            socket: socket(&lab.client, 0).expect("a port is free"),
            to: Some(SocketAddr::new(HOST[0], PORT)),
        };
        let (stopped, stop) = pipe().expect("a pipe");
        Self { stop: Some(stop), thread: Some(thread::spawn(move || carry(&stopped, [here, there]))) }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct End {
    tun: File,
    socket: UdpSocket,
    /// Where its datagrams go, once it is known.
    to: Option<SocketAddr>,
}

/// Until the other end of `stopped` is closed. A packet that can't be sent now is lost, as on any wire.
fn carry(stopped: &PipeReader, mut ends: [End; 2]) {
    let mut buffer = [0; 2 * MTU];
    loop {
        let ready: Vec<bool> = {
            let fds = ends.iter().flat_map(|end| [end.tun.as_fd(), end.socket.as_fd()]).chain([stopped.as_fd()]);
            let mut all: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            poll(&mut all, PollTimeout::NONE).expect("descriptors can be polled");
            all.iter().map(|one| one.any().unwrap_or_default()).collect()
        };
        if ready.last() == Some(&true) {
            return;
        }
        for (end, ready) in ends.iter_mut().zip(ready.chunks(2)) {
            if ready[0]
                && let (Ok(length), Some(to)) = (end.tun.read(&mut buffer), end.to)
            {
                end.socket.send_to(&buffer[..length], to).ok();
            }
            // An ICMP error of an earlier datagram is told here, too.
            if ready[1]
                && let Ok((length, from)) = end.socket.recv_from(&mut buffer)
            {
                end.to = Some(from);
                end.tun.write_all(&buffer[..length]).ok();
            }
        }
    }
}

/// A tun device `wg0` of the namespace of the calling thread.
fn tun() -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .expect("the kernel has tun devices");
    // SAFETY: all bytes zero are a valid `struct ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, byte) in request.ifr_name.iter_mut().zip(*b"wg0") {
        *to = libc::c_char::try_from(byte).expect("ASCII");
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("two flags");
    // SAFETY: the descriptor is open, and `TUNSETIFF` reads and writes no more than the `struct ifreq`.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    file
}
