//! The databases of service and protocol names (services(5), protocols(5)).

use crate::net::{Ports, Transport};
use std::collections::{BTreeMap, BTreeSet};

/// The services database: names and aliases to ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNames(BTreeMap<String, BTreeSet<Ports>>);

impl ServiceNames {
    /// Parses the format of services(5). Skips lines that it can't read, as the C library does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names: BTreeMap<String, BTreeSet<Ports>> = BTreeMap::new();
        for mut words in lines(text) {
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some((number, protocol)) = port.split_once('/') else { continue };
            let Some(transport) = Transport::ALL.into_iter().find(|transport| transport.name() == protocol) else {
                continue;
            };
            let Ok(number) = number.parse::<u16>() else { continue };
            if number == 0 {
                continue;
            }
            for name in std::iter::once(name).chain(words) {
                let ports = Ports { transport, first: number, last: number };
                names.entry(name.to_owned()).or_default().insert(ports);
            }
        }
        Self(names)
    }

    /// The ports of a service, for all its protocols. `dns` also finds `domain`, the only name that Debian's database
    /// has.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BTreeSet<Ports>> {
        self.0.get(name).or_else(|| if name == "dns" { self.0.get("domain") } else { None })
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The lines of services(5) that say as much of these names.
    #[must_use]
    pub fn lines_of<'n>(&self, names: impl Iterator<Item = &'n str>) -> String {
        let names: BTreeSet<&str> = names.collect();
        let known = names.into_iter().flat_map(|name| self.get(name).into_iter().flatten().map(move |of| (name, of)));
        known.map(|(name, of)| format!("{name} {}/{}\n", of.first, of.transport.name())).collect()
    }
}

/// The protocols database: names and aliases to numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolNames(BTreeMap<String, u8>);

impl ProtocolNames {
    /// Parses the format of protocols(5). Skips lines that it can't read.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = BTreeMap::new();
        for mut words in lines(text) {
            let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u8>() else { continue };
            for name in std::iter::once(name).chain(words) {
                names.entry(name.to_owned()).or_insert(number);
            }
        }
        Self(names)
    }

    /// The number of a protocol.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u8> {
        self.0.get(name).copied()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The lines of protocols(5) that say as much of these names.
    #[must_use]
    pub fn lines_of<'n>(&self, names: impl Iterator<Item = &'n str>) -> String {
        let names: BTreeSet<&str> = names.collect();
        let known = names.into_iter().filter_map(|name| Some((name, self.get(name)?)));
        known.map(|(name, number)| format!("{name} {number}\n")).collect()
    }
}

impl<'n> FromIterator<(&'n str, u8)> for ProtocolNames {
    fn from_iter<I: IntoIterator<Item = (&'n str, u8)>>(names: I) -> Self {
        Self(names.into_iter().map(|(name, number)| (name.to_owned(), number)).collect())
    }
}

/// The words of each line, without comments.
fn lines(text: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'_>> {
    text.lines().map(|line| line.split('#').next().unwrap_or("").split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn port(transport: Transport, number: u16) -> Ports {
        Ports { transport, first: number, last: number }
    }

    #[test]
    fn a_service_has_the_ports_of_all_its_lines_and_of_its_aliases() {
        let names =
            ServiceNames::parse("domain 53/tcp # DNS\ndomain\t53/udp nameserver\n#x 1/tcp\nbad 7\nzero 0/tcp\n");
        let both = BTreeSet::from([port(Transport::Tcp, 53), port(Transport::Udp, 53)]);
        assert_eq!(names.get("domain"), Some(&both));
        assert_eq!(names.get("dns"), Some(&both));
        assert_eq!(names.get("nameserver"), Some(&BTreeSet::from([port(Transport::Udp, 53)])));
        assert_eq!(names.names().collect::<Vec<_>>(), ["domain", "nameserver"]);
        let kept = names.lines_of(["dns", "unknown", "dns"].into_iter());
        assert_eq!(kept, "dns 53/tcp\ndns 53/udp\n");
        assert_eq!(ServiceNames::parse(&kept).get("dns"), Some(&both));
    }

    #[test]
    fn a_protocol_is_known_by_its_name_and_its_aliases() {
        let names = ProtocolNames::parse("ip 0 IP\nesp\t50 IPSEC-ESP # encap\nbad 300\n");
        assert_eq!((names.get("esp"), names.get("IPSEC-ESP"), names.get("bad")), (Some(50), Some(50), None));
        assert_eq!(names.lines_of(["IPSEC-ESP", "esp", "gre"].into_iter()), "IPSEC-ESP 50\nesp 50\n");
    }
}
