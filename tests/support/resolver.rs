//! Name servers of a lab: dnsmasq on the host's loopback, and two that it asks in turn, of which one can't tell and one
//! says nothing.

use super::lab::Lab;
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

/// The zone that dnsmasq knows itself: what it has no record of does not exist.
pub const ZONE: &str = "example.org";
/// The zone whose server answers SERVFAIL.
pub const BROKEN: &str = "broken.example";
/// The zone whose server does not answer.
pub const SILENT: &str = "silent.example";

/// A running dnsmasq. It ends when this is dropped.
pub struct Resolver(Child);

impl Resolver {
    /// Starts it with these arguments, and points the host to it. The records of `hosts` are as in hosts(5).
    pub fn new(lab: &Lab, arguments: &[&str], hosts: &str) -> Self {
        lab.name_servers("nameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch searched.example\n");
        let records = lab.write_policy("records", hosts);
        let mut command = lab.host.command("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", "--cache-size=0"]);
        command.arg(format!("--local=/{ZONE}/")).arg(format!("--addn-hosts={}", records.display()));
        command.arg(format!("--server=/{BROKEN}/127.0.0.1#5301")).arg(format!("--server=/{SILENT}/127.0.0.1#5302"));
        let child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let started = Self(child.expect("dnsmasq is installed, see scripts/test"));
        lab.host.run(|| {
            while TcpStream::connect("127.0.0.1:53").is_err() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        started
    }

    /// One that has these addresses of `home.example.org`, and nothing else.
    pub fn of_home(lab: &Lab, addresses: &[&str]) -> Self {
        let lines: String = addresses.iter().map(|address| format!("{address} home.example.org\n")).collect();
        Self::new(lab, &[], &lines)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the two servers that dnsmasq asks, on threads that are left behind.
pub fn upstream(lab: &Lab) {
    let (ready, wait) = std::sync::mpsc::channel();
    let namespace = lab.host.clone();
    thread::spawn(move || {
        namespace.enter();
        let broken = UdpSocket::bind("127.0.0.1:5301").expect("the port is free");
        let _silent = UdpSocket::bind("127.0.0.1:5302").expect("the port is free");
        ready.send(()).expect("it is waited for");
        let mut packet = [0; 512];
        while let Ok((length, from)) = broken.recv_from(&mut packet) {
            // An answer (QR) with the code 2: SERVFAIL (RFC 1035, 4.1.1).
            packet[2] |= 0x80;
            packet[3] = packet[3] & 0xf0 | 2;
            let _ = broken.send_to(&packet[..length], from);
        }
    });
    wait.recv().expect("the servers are there");
}
