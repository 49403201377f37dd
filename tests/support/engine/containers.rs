//! One container for each way of publishing a port.

use super::Engine;
use std::thread;

/// Name, how it is run, and the ports that its server listens on.
pub const CONTAINERS: [(&str, &str, &str); 13] = [
    ("same", "-p 9000:9000", "9000"),
    ("other", "-p 9010:80", "80"),
    ("inner", "-p 9100:9000", "9000"),
    ("loopback", "-p 127.0.0.1:9200:9000", "9000"),
    ("range", "-p 9301-9303:9301-9303", "9301 9302 9303"),
    ("datagram", "-p 9400:9400/udp", "9400"),
    ("user", "--network user-net -p 9500:9000", "9000"),
    ("user-unpublished", "--network user-net", "9000"),
    ("six", "--network six-net -p 9600:9000", "9000"),
    ("six-unpublished", "--network six-net", "9000"),
    ("address", "-p 203.0.113.1:9700:9000", "9000"),
    ("host-network", "--network host", "9900"),
    ("unpublished", "", "9000"),
];

impl Engine {
    /// Makes the networks and has all of [`CONTAINERS`] run.
    #[track_caller]
    pub fn run_all(&self) {
        self.docker("network create user-net");
        self.docker("network create --ipv6 --subnet fd00:6::/64 six-net");
        // Each takes half a second, most of it waiting. Podman's client locks its store against the others.
        if self.setting.podman {
            CONTAINERS.iter().for_each(|(name, arguments, ports)| self.run_container(name, arguments, ports));
        } else {
            thread::scope(|scope| {
                for (name, arguments, ports) in CONTAINERS {
                    scope.spawn(move || self.run_container(name, arguments, ports));
                }
            });
        }
    }
}
