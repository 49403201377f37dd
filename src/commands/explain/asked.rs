//! The words of a question: what it is about, and from whom.

use super::Args;
use crate::denied::Wanted;
use crate::error::Error;
use crate::exposure::target_words;
use crate::facts::gather_for_ports;
use crate::net::{self, AddressRange, Addresses, IfPattern, Ports, protocol};
use crate::policy::{address_range, is_name, list, nearest, quote};
use crate::resolve::{PortsItem, Resolved, ports_item};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// How many ports of a range are asked about.
const MOST: u16 = 64;

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// This machine.
    Host,
    /// Whoever has this address.
    Address(IpAddr),
    /// Whoever has an address of this network or range.
    Range(AddressRange, String),
    /// Everyone.
    Any,
    /// The containers of this machine.
    Containers,
    /// Whoever is in this group of the policy.
    Group(String),
}

/// What a connection is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A port.
    Port {
        /// The IP protocol number.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// An IP protocol without ports, by its number.
    Protocol(u8),
    /// An ICMP echo request.
    Ping,
}

impl Target {
    /// The protocol, where ICMP stands for echo requests, and the port, which is 0 without any.
    pub(super) const fn numbers(self) -> (u8, u16) {
        match self {
            Self::Port { protocol, port } => (protocol, port),
            Self::Protocol(protocol) => (protocol, 0),
            Self::Ping => (protocol::ICMP, 0),
        }
    }

    /// `9000/tcp`, `50/proto`, `ping`
    pub(super) fn words(self) -> String {
        let (protocol, port) = self.numbers();
        target_words(protocol, port)
    }

    /// The same as the policy's reasons name it; `None` of a protocol with ports that policies do not know.
    pub(super) fn wanted(self) -> Option<Wanted> {
        Some(match self {
            Self::Port { protocol, port } => Wanted::Port(net::Transport::from_number(protocol)?, port),
            Self::Protocol(number) => Wanted::Protocol(number),
            Self::Ping => Wanted::Ping,
        })
    }
}

/// The targets of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// At least one.
    pub(super) targets: Vec<Target>,
    /// What has to be said of how the words were understood.
    pub(super) note: Option<String>,
}

/// Whether the words of a question are those of the policy.
pub(super) fn needs_policy(args: &Args) -> bool {
    let is_word = args.target.as_ref().is_some_and(|target| !target.contains('/') && target != "ping");
    args.from.is_none() || args.target.is_none() || is_word || matches!(args.from, Some(Sender::Group(_)))
}

impl Asked {
    /// Reads the argument: a port, a bare port, a service of the policy, or a port by the name that the policy may give it.
    pub(super) fn read(text: &str, policy: Option<&Resolved>) -> Result<Self, Error> {
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            return Self::bare(text, policy);
        }
        if let Some(service) = policy.and_then(|policy| policy.services.get(text)) {
            if service.all {
                let message = format!("the service {} is about every port: name one, such as `22/tcp`", quote(text));
                return Err(Error::Declined(message));
            }
            let protocols = service.protocols.iter().map(|number| Target::Protocol(*number));
            let ping = service.ping.then_some(Target::Ping);
            return Self::of(text, &service.ports, protocols.chain(ping));
        }
        match ports_item(text, &gather_for_ports(text)) {
            Ok(PortsItem::Ports(ports)) => Self::of(text, &ports, []),
            Ok(PortsItem::Ping) => Self::of(text, &BTreeSet::new(), [Target::Ping]),
            Ok(PortsItem::Protocol(protocol::ICMP | protocol::ICMPV6)) => Err(Error::Declined(
                "messages of ICMP differ by their types: pass `ping` for an echo request".to_owned(),
            )),
            Ok(PortsItem::Protocol(number)) => Self::of(text, &BTreeSet::new(), [Target::Protocol(number)]),
            Ok(PortsItem::All) => Err(Error::Declined("name one port, such as `22/tcp`".to_owned())),
            Err(fault) if text.contains('/') => Err(Error::Declined(sentence(fault.message, fault.help))),
            Err(_) => Err(unknown(text, policy)),
        }
    }

    /// A bare port is one of TCP.
    fn bare(text: &str, policy: Option<&Resolved>) -> Result<Self, Error> {
        let Ok(port @ 1..) = text.parse::<u16>() else {
            return Err(Error::Declined(format!("there is no port {}: ports are 1 to 65535", quote(text))));
        };
        let has = |transport: &net::Transport| {
            let covers = |ports: &Ports| ports.transport == *transport && (ports.first..=ports.last).contains(&port);
            policy.is_some_and(|policy| policy.services.values().any(|service| service.ports.iter().any(covers)))
        };
        let others: Vec<String> = [net::Transport::Udp, net::Transport::Sctp]
            .iter()
            .filter(|transport| has(transport))
            .map(|transport| format!("`{port}/{}`", transport.name()))
            .collect();
        let note = (!others.is_empty()).then(|| {
            format!(
                "this is about {port}/tcp; the policy has {}, too, which is another question",
                others.join(" and ")
            )
        });
        Ok(Self { targets: vec![Target::Port { protocol: protocol::TCP, port }], note })
    }

    fn of(text: &str, ports: &BTreeSet<Ports>, others: impl IntoIterator<Item = Target>) -> Result<Self, Error> {
        let count: u32 = ports.iter().map(|ports| u32::from(ports.last - ports.first) + 1).sum();
        if count > u32::from(MOST) {
            let example = ports
                .first()
                .map_or_else(|| "22/tcp".to_owned(), |ports| Ports { last: ports.first, ..*ports }.to_string());
            return Err(Error::Declined(format!("{} is {count} ports: name one, such as `{example}`", quote(text))));
        }
        let single = ports.iter().flat_map(|ports| {
            let protocol = ports.transport.number();
            (ports.first..=ports.last).map(move |port| Target::Port { protocol, port })
        });
        Ok(Self { targets: single.chain(others).collect(), note: None })
    }
}

fn sentence(message: String, help: Option<String>) -> String {
    match help {
        Some(help) => format!("{message}: {help}"),
        None => message,
    }
}

/// The error of a word that nobody knows.
fn unknown(text: &str, policy: Option<&Resolved>) -> Error {
    let Some(policy) = policy else {
        return Error::Declined(format!(
            "{} is no service of /etc/services, and which services the policy has is not known, because none was applied: \
             pass a port such as `22/tcp`, or --planned for the policy as it is written",
            quote(text)
        ));
    };
    let names = || policy.services.keys().map(String::as_str);
    let help = match nearest(text, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if policy.services.is_empty() => "pass a port such as `22/tcp`".to_owned(),
        None => format!("pass a port such as `22/tcp`, or a service of the policy: {}", list(names())),
    };
    Error::Declined(format!("{} is no service of the policy, and no port: {help}", quote(text)))
}

/// The addresses and interfaces of a group of the policy.
pub(super) fn group_of(name: &str, policy: Option<&Resolved>) -> Result<(Addresses, BTreeSet<IfPattern>), Error> {
    let Some(policy) = policy else {
        return Err(Error::Declined(format!(
            "who is in the group {} is not known, because no policy was applied: pass --planned for the policy as it is written",
            quote(name)
        )));
    };
    if let Some(group) = policy.groups.get(name) {
        return Ok((group.addresses.clone(), group.interfaces.clone()));
    }
    let names = || policy.groups.keys().map(String::as_str);
    let help = match nearest(name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if policy.groups.is_empty() => "it has none".to_owned(),
        None => format!("those in use are {}", list(names())),
    };
    Err(Error::Declined(format!("no group {} is in use in the policy: {help}", quote(name))))
}

/// Parses `--from`.
pub(super) fn sender(text: &str) -> Result<Sender, String> {
    const FORM: &str =
        "write an address, a network, a group of the policy, `any`, `containers`, or `host` for this machine";
    match text {
        "host" => return Ok(Sender::Host),
        "any" => return Ok(Sender::Any),
        "containers" => return Ok(Sender::Containers),
        _ => {}
    }
    if let Ok(address) = text.parse() {
        return Ok(Sender::Address(address));
    }
    if is_name(text) {
        return Ok(Sender::Group(text.to_owned()));
    }
    match address_range(text) {
        Ok(range) => Ok(Sender::Range(range, text.to_owned())),
        Err(fault) if text.contains(['/', ':', '-']) => Err(sentence(fault.message, fault.help)),
        Err(_) => Err(FORM.to_owned()),
    }
}

/// Parses a port of one protocol, or `ping`.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    const FORM: &str = "a port is written as `22/tcp`, `53/udp` or `5060/sctp`, an echo request as `ping`";
    if text == "ping" {
        return Ok(Target::Ping);
    }
    let (port, name) = text.split_once('/').ok_or(FORM)?;
    let transport = net::Transport::ALL.into_iter().find(|transport| transport.name() == name).ok_or(FORM)?;
    match port.parse() {
        Ok(port @ 1..) => Ok(Target::Port { protocol: transport.number(), port }),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::policy::parse;
    use crate::resolve::resolve;

    const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9] }
services:
  dashboard: { ports: [9000/tcp, 9001-9002/tcp, 50/proto, ping], from: trusted }
  voice: { ports: 9000/udp, from: any }
  phones: { ports: 10000-20000/udp, from: any }
  lan: { ports: any, from: trusted }
";

    fn asked(text: &str) -> Result<(Vec<String>, Option<String>), String> {
        let policy = resolve(&parse(POLICY, "policy.yaml").policy.expect("a policy"), &Facts::default());
        let policy = policy.unwrap_or_else(|all| panic!("{all:?}"));
        let asked = Asked::read(text, Some(&policy)).map_err(|error| error.to_string())?;
        Ok((asked.targets.iter().map(|target| target.words()).collect(), asked.note))
    }

    #[test]
    fn a_target_is_a_port_a_bare_port_a_protocol_ping_or_a_service_of_the_policy() {
        let of = |words: &[&str]| Ok((words.iter().map(|word| (*word).to_owned()).collect(), None));
        assert_eq!(asked("22/tcp"), of(&["22/tcp"]));
        assert_eq!(asked("9001"), of(&["9001/tcp"]));
        assert_eq!(asked("47/proto"), of(&["47/proto"]));
        assert_eq!(asked("ping"), of(&["ping"]));
        assert_eq!(asked("dashboard"), of(&["9000/tcp", "9001/tcp", "9002/tcp", "50/proto", "ping"]));
        let note = "this is about 9000/tcp; the policy has `9000/udp`, too, which is another question";
        assert_eq!(asked("9000"), Ok((vec!["9000/tcp".to_owned()], Some(note.to_owned()))));
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_to_pass() {
        for (text, error) in [
            ("0", "there is no port `0`: ports are 1 to 65535"),
            ("70000", "there is no port `70000`: ports are 1 to 65535"),
            ("22/tpc", "`tpc` is not a protocol with ports: did you mean `22/tcp`?"),
            ("tcp/22", "`tcp/22` has the protocol before the port: write `22/tcp`"),
            ("1/proto", "messages of ICMP differ by their types: pass `ping` for an echo request"),
            ("any", "name one port, such as `22/tcp`"),
            ("lan", "the service `lan` is about every port: name one, such as `22/tcp`"),
            ("phones", "`phones` is 10001 ports: name one, such as `10000/udp`"),
            ("dashbord", "`dashbord` is no service of the policy, and no port: did you mean `dashboard`?"),
        ] {
            assert_eq!(asked(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_sender_is_an_address_a_network_a_group_or_one_of_three_words() {
        let range = |text: &str| Sender::Range(address_range(text).expect("a range"), text.to_owned());
        for (text, meant) in [
            ("host", Sender::Host),
            ("any", Sender::Any),
            ("containers", Sender::Containers),
            ("2001:db8::9", Sender::Address(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]))),
            ("203.0.113.0/24", range("203.0.113.0/24")),
            ("203.0.113.9-203.0.113.20", range("203.0.113.9-203.0.113.20")),
            ("trusted-people", Sender::Group("trusted-people".to_owned())),
        ] {
            assert_eq!(sender(text), Ok(meant), "{text}");
        }
        assert_eq!(
            sender("203.0.113.9/24"),
            Err("`203.0.113.9/24` is not a network: bits are set after its first 24: write `203.0.113.0/24` for the network, \
                 or `203.0.113.9` for the single address"
                .to_owned())
        );
        assert_eq!(
            sender("home.example.org"),
            Err(
                "write an address, a network, a group of the policy, `any`, `containers`, or `host` for this machine"
                    .to_owned()
            )
        );
    }
}
