//! Who opens a connection to whom, as lines of text; and the machines that do.

use crate::support::echo::Echo;
use crate::support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK, Lab, OUT};
use crate::support::matrix::target;
use crate::support::namespace::{Namespace, output};
use crate::support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;

/// Somebody far away, whom no route but the default knows.
const FAR: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];

/// What a connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Allowed,
    Denied,
    Rejected,
}

impl End {
    pub fn holds(self, seen: Outcome) -> bool {
        match self {
            Self::Allowed => seen == Outcome::Connected,
            Self::Denied => matches!(seen, Outcome::TimedOut | Outcome::NotPermitted),
            Self::Rejected => matches!(seen, Outcome::Refused | Outcome::Unreachable),
        }
    }

    /// As `explain` calls it.
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Denied => "deny",
            Self::Rejected => "reject",
        }
    }
}

/// One connection.
pub struct Row {
    line: String,
    by: String,
    from: IpAddr,
    to: IpAddr,
    target: Target,
    /// Who answers, at which port.
    at: (String, Option<u16>),
    pub end: End,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Row {
    pub fn port(&self) -> String {
        self.target.to_string()
    }

    /// How `explain` is asked about it.
    pub fn question(&self) -> Vec<String> {
        let from = if self.by == "host" { "host".to_owned() } else { self.from.to_string() };
        vec![
            "explain".to_owned(),
            self.target.to_string(),
            "--from".to_owned(),
            from,
            "--to".to_owned(),
            self.to.to_string(),
        ]
    }
}

/// The machines of a lab by name, and what each has of addresses.
pub struct Actors {
    inside: BTreeMap<String, Namespace>,
    addresses: BTreeMap<String, (String, [IpAddr; 2])>,
}

impl Actors {
    /// Builds what a text says, a directive a line: `forward`; `resolver ADDRESS`; `bridge NAME NUMBER`, with a machine
    /// called NAME behind it that has 172.NUMBER.0.2 and fdNUMBER::2; `wire NAME NUMBER`, the same by a wire alone;
    /// `macvlan NAME NUMBER`, the same by two interfaces of one parent; `sysctl NAME VALUE`; and whatever `ip` understands.
    pub fn build(lab: &Lab, text: &str) -> Self {
        let mut actors = Self { inside: BTreeMap::new(), addresses: BTreeMap::new() };
        for (name, inside) in [("client", &lab.client), ("host", &lab.host), ("lan", &lab.lan)] {
            actors.inside.insert(name.to_owned(), inside.clone());
        }
        let parse = |texts: [&str; 2]| texts.map(|text| text.parse().expect("an address"));
        for (name, of, addresses) in [
            ("client", "client", CLIENT),
            ("out", "client", OUT),
            ("far", "client", parse(FAR)),
            ("lan", "lan", LAN),
            ("host", "host", HOST),
            ("hostlan", "host", HOST_ON_LAN),
            ("lo", "host", LOOPBACK),
        ] {
            actors.addresses.insert(name.to_owned(), (of.to_owned(), addresses));
        }
        lab.add_addresses(OUT.into_iter().chain(parse(FAR)));
        let mut resolvers = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["forward"] => lab.forward(),
                ["resolver", address] => {
                    resolvers += &format!("nameserver {address}\n");
                    lab.name_servers(&resolvers);
                }
                ["sysctl", name, value] => lab.host.sysctl(name, value),
                [kind @ ("bridge" | "wire" | "macvlan"), name, number] => actors.guest(lab, kind, name, number),
                ["in", name, ..] => {
                    let inside = actors.inside.get(name).unwrap_or_else(|| panic!("nobody is {name}"));
                    output(inside.command("ip").args(&words[2..])).success();
                }
                _ => drop(lab.host.ip(line)),
            }
        }
        actors
    }

    fn guest(&mut self, lab: &Lab, kind: &str, name: &str, number: &str) {
        let inside = Namespace::new();
        let path = inside.path();
        let ip = |line: String| drop(lab.host.ip(&line));
        match kind {
            "bridge" => {
                ip(format!("link add {name} type bridge"));
                ip(format!("link add p{number} type veth peer name eth0 netns {path}"));
                ip(format!("link set p{number} master {name} up"));
            }
            "wire" => ip(format!("link add {name} type veth peer name eth0 netns {path}")),
            _ => {
                ip(format!("link add parent{number} type veth peer name other{number}"));
                ip(format!("link set parent{number} up"));
                ip(format!("link set other{number} up"));
                ip(format!("link add {name} link parent{number} type macvlan mode bridge"));
                ip(format!("link add to{number} link parent{number} type macvlan mode bridge"));
                ip(format!("link set to{number} name eth0 netns {path}"));
            }
        }
        for (inside, device, last) in [(&lab.host, name, 1), (&inside, "eth0", 2)] {
            inside.ip(&format!("address add 172.{number}.0.{last}/16 dev {device}"));
            inside.ip(&format!("address add fd{number}::{last}/64 dev {device} nodad"));
            inside.ip(&format!("link set {device} up"));
        }
        inside.ip(&format!("-4 route add default via 172.{number}.0.1"));
        inside.ip(&format!("-6 route add default via fd{number}::1"));
        for (symbol, of, last) in [(name.to_owned(), name, 2), (format!("host.{name}"), "host", 1)] {
            let addresses = [format!("172.{number}.0.{last}"), format!("fd{number}::{last}")];
            let addresses = addresses.map(|text| text.parse().expect("an address"));
            self.addresses.insert(symbol, (of.to_owned(), addresses));
        }
        self.inside.insert(name.to_owned(), inside);
    }

    /// Reads lines such as `out > host 8080/tcp at web:80: allowed`: the name of somebody, of whom `4` or `6` behind it
    /// leaves the addresses of one IP version, or `NAME=ADDRESS`; the same of the destination; and, unless that answers by
    /// itself, who does, at which port.
    pub fn rows(&self, text: &str) -> Vec<Row> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.flat_map(|line| self.row(line).unwrap_or_else(|| panic!("no connection: {line}"))).collect()
    }

    fn row(&self, line: &str) -> Option<Vec<Row>> {
        let (what, end) = line.rsplit_once(": ")?;
        let end = match end {
            "allowed" => End::Allowed,
            "denied" => End::Denied,
            "rejected" => End::Rejected,
            _ => return None,
        };
        let (from, rest) = what.split_once(" > ")?;
        let mut words = rest.split_whitespace();
        let (to, target) = (self.ends(words.next()?)?, target(words.next()?)?);
        let at = match words.next() {
            Some("at") => {
                let at = words.next()?;
                let (who, port) = at.split_once(':').unwrap_or((at, ""));
                (who.to_owned(), port.parse().ok())
            }
            _ => (to.0, None),
        };
        let (by, from) = self.ends(from)?;
        let pairs = from.iter().zip(&to.1).filter_map(|(from, to)| from.zip(*to));
        let row = |(from, to)| {
            let line = format!("{line} ({})", if IpAddr::is_ipv4(&from) { "IPv4" } else { "IPv6" });
            Row { line, by: by.clone(), from, to, target, at: at.clone(), end }
        };
        Some(pairs.map(row).collect())
    }

    /// Whose addresses, and which of the two versions.
    fn ends(&self, word: &str) -> Option<(String, [Option<IpAddr>; 2])> {
        if let Some((name, address)) = word.split_once('=') {
            let address: IpAddr = address.parse().ok()?;
            let of_version = |six| Some(address).filter(|address| address.is_ipv6() == six);
            return Some((name.to_owned(), [of_version(false), of_version(true)]));
        }
        if let Some((of, addresses)) = self.addresses.get(word) {
            return Some((of.clone(), addresses.map(Some)));
        }
        let (name, version) = word.split_at_checked(word.len().checked_sub(1)?)?;
        let (of, [four, six]) = self.addresses.get(name)?;
        match version {
            "4" => Some((of.clone(), [Some(*four), None])),
            "6" => Some((of.clone(), [None, Some(*six)])),
            _ => None,
        }
    }

    /// Has everyone who is to answer listen, and everyone have the addresses that they send from.
    pub fn listen(&self, lab: &Lab, rows: &[Row]) -> Vec<Echo> {
        lab.add_addresses(rows.iter().filter(|row| row.by == "client").map(|row| row.from));
        lab.add_addresses(rows.iter().filter(|row| row.at.0 == "client" && !row.to.is_multicast()).map(|row| row.to));
        let mut places = BTreeMap::<&str, (BTreeSet<SocketAddr>, BTreeSet<SocketAddr>)>::new();
        for row in rows {
            let (who, port) = &row.at;
            let own = own_addresses(&self.inside[who]);
            let version = usize::from(row.to.is_ipv6());
            let (tcp, udp) = places.entry(who).or_default();
            match row.target {
                Target::Tcp(to) => {
                    tcp.insert(SocketAddr::new(ANY[version], port.unwrap_or(to)));
                }
                Target::Udp(to) => {
                    let all = own.iter().filter(|own| own.is_ipv6() == row.to.is_ipv6());
                    udp.extend(all.map(|own| SocketAddr::new(*own, port.unwrap_or(to))));
                }
                Target::Ping => {}
            }
        }
        let listen = |(who, (tcp, udp)): (&str, (BTreeSet<SocketAddr>, BTreeSet<SocketAddr>))| {
            self.inside[who].listen(&Vec::from_iter(tcp), &Vec::from_iter(udp))
        };
        places.into_iter().map(listen).collect()
    }

    /// A connection that is left open.
    pub fn stream(&self, row: &Row) -> Option<TcpStream> {
        let Target::Tcp(port) = row.target else { return None };
        self.inside[&row.by].connect(row.from, SocketAddr::new(row.to, port), PATIENCE).ok()
    }

    /// What comes of all of them, tried at once. What must be denied is not waited for so long.
    pub fn outcomes(&self, lab: &Lab, rows: &[Row], must: impl Fn(&Row) -> End) -> Vec<Outcome> {
        lab.forget_datagrams();
        thread::scope(|scope| {
            let running: Vec<_> = rows
                .iter()
                .map(|row| {
                    let wait = if must(row) == End::Denied { SILENCE } else { PATIENCE };
                    let inside = &self.inside[&row.by];
                    scope.spawn(move || {
                        inside.enter();
                        probe_here(inside, row.target, row.from, row.to, wait)
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().expect("a probe ends")).collect()
        })
    }
}

/// All addresses of a machine but those of links.
fn own_addresses(inside: &Namespace) -> Vec<IpAddr> {
    let listing = inside.ip("-o address show");
    let addresses = listing.lines().filter(|line| !line.contains("scope link")).filter_map(|line| {
        let text = line.split_whitespace().nth(3)?;
        text.split('/').next()?.parse().ok()
    });
    addresses.collect()
}
