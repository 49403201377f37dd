//! Values that a completion offers: those of the policy, of this machine, and of what palisade keeps. Nothing takes root,
//! and what can't be read offers nothing.

use super::explain::target;
use crate::desired::DEFAULT_PATH;
use crate::desired::as_written;
use crate::files::{MAX_POLICY, read_bounded, users_by_name};
use crate::machine::listeners;
use crate::net::Transport;
use crate::netlink::routing::Routing;
use crate::policy::{Given, List, Peer, Policy, Service, parse_bytes};
use crate::state::{DEFAULT_RUN, DEFAULT_STATE, State};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Ports that the policy or a socket names.
    Ports,
    /// Ports that something listens at.
    Listening,
    /// Who opens a connection.
    Senders,
    /// This machine's addresses.
    OwnAddresses,
    Interfaces,
    Users,
    Services,
    /// Services, and rules of `forward`.
    ServicesAndRules,
    Groups,
    /// Groups that take addresses for a time.
    TemporaryGroups,
    /// What may stand in `from`.
    Peers,
    /// What may stand in a group.
    Members,
    Me,
    /// Who is in a group for a time.
    Temporary,
    /// For how long somebody is let in.
    Times,
    /// For how long a change waits.
    Waits,
    Rulesets,
}

/// What an argument of a command takes; `None` if nothing is known of it, or it takes paths or a few words.
pub(super) fn offer(command: &str, argument: &str) -> Option<Offer> {
    Some(match (command, argument) {
        ("explain", "target") | ("suggest", "port") => Offer::Ports,
        ("explain", "from") => Offer::Senders,
        ("explain", "to") => Offer::OwnAddresses,
        ("explain", "on" | "out") | ("export", "public") => Offer::Interfaces,
        ("explain", "user") => Offer::Users,
        ("add", "ports") => Offer::Listening,
        ("add", "from") => Offer::Peers,
        ("remove", "service") => Offer::Services,
        ("group", "group") => Offer::Groups,
        ("group", "peer") => Offer::Members,
        ("allow", "who") => Offer::Me,
        ("revoke", "who") => Offer::Temporary,
        ("allow", "to") => Offer::ServicesAndRules,
        ("allow" | "block" | "revoke", "group") => Offer::TemporaryGroups,
        ("allow" | "block", "time") => Offer::Times,
        ("apply", "confirm") => Offer::Waits,
        ("rollback", "to") => Offer::Rulesets,
        _ => return None,
    })
}

/// A value and what is said of it.
type Value = (String, String);

/// Where the line that is completed has palisade look.
pub(super) struct Places {
    policy: PathBuf,
    state: State,
}

impl Places {
    pub(super) fn of(words: &[OsString]) -> Self {
        let named = |option: &str, default: &str| {
            let joined = format!("{option}=");
            let mut values = words.iter().enumerate().filter_map(|(index, word)| {
                if word == option {
                    return words.get(index + 1).map(OsString::as_os_str);
                }
                word.as_bytes().strip_prefix(joined.as_bytes()).map(OsStr::from_bytes)
            });
            PathBuf::from(values.next_back().unwrap_or(OsStr::new(default)))
        };
        let state = State::new(named("--state-dir", DEFAULT_STATE), named("--run-dir", DEFAULT_RUN));
        Self { policy: named("--policy", DEFAULT_PATH), state }
    }

    pub(super) fn values(&self, offer: Offer) -> Vec<Value> {
        let policy = || self.policy().unwrap_or_default();
        match offer {
            Offer::Ports => ports(&policy()),
            Offer::Listening => listening(),
            Offer::Senders => senders(&policy()),
            Offer::OwnAddresses => own_addresses(),
            Offer::Interfaces => interfaces(),
            Offer::Users => users_by_name().into_keys().map(|name| (name, String::new())).collect(),
            Offer::Services => services(&policy()),
            Offer::ServicesAndRules => services_and_rules(&policy()),
            Offer::Groups => groups(&policy(), |_| true),
            Offer::TemporaryGroups => groups(&policy(), is_temporary),
            Offer::Peers => built_in().into_iter().chain(groups(&policy(), |_| true)).collect(),
            Offer::Members => groups(&policy(), |_| true).into_iter().chain(addresses(&policy())).collect(),
            Offer::Me => vec![("me".to_owned(), "the address of your SSH session".to_owned())],
            Offer::Temporary => self.temporary(),
            Offer::Times => worded(["30m", "8h", "1d"]),
            Offer::Waits => worded(["60s", "5m", "30m"]),
            Offer::Rulesets => self.rulesets(),
        }
    }

    fn policy(&self) -> Option<Policy> {
        let bytes = read_bounded(&self.policy, MAX_POLICY).ok()?;
        // What others could have written is offered, and never loaded.
        let whole = as_written(&bytes, &self.policy).ok().map(|(policy, _)| policy);
        whole.or_else(|| parse_bytes(&bytes, "").policy)
    }

    fn temporary(&self) -> Vec<Value> {
        let entries = self.state.temporary().unwrap_or_default();
        let mut values = vec![("me".to_owned(), "the address of your SSH session".to_owned())];
        values.extend(entries.iter().map(|entry| (entry.address.to_string(), entry.group.clone())));
        values
    }

    fn rulesets(&self) -> Vec<Value> {
        let read = self
            .state
            .list()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| Some((entry.number, entry.about.ok()?)));
        let said = |policy: Option<String>| policy.map(|policy| format!(", {policy}")).unwrap_or_default();
        read.map(|(number, about)| (number.to_string(), format!("{}{}", about.saved, said(about.policy)))).collect()
    }
}

fn worded<const N: usize>(words: [&str; N]) -> Vec<Value> {
    words.map(|word| (word.to_owned(), String::new())).into()
}

fn built_in() -> Vec<Value> {
    let words =
        [("any", "everyone"), ("private", "private addresses"), ("containers", "the containers of this machine")];
    words.map(|(word, help)| (word.to_owned(), help.to_owned())).into()
}

/// The words of a list, whatever they are.
fn words<T>(list: &Given<List<T>>) -> impl Iterator<Item = &T> {
    list.here().into_iter().flat_map(|list| &list.items)
}

/// One each, the first.
fn distinct(values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut known = BTreeSet::new();
    values.into_iter().filter(|(value, _)| known.insert(value.clone())).collect()
}

fn ports(policy: &Policy) -> Vec<Value> {
    let of_services = policy.services.iter().flat_map(|service| {
        let ports = words(&service.ports).filter(|port| target(&port.value).is_ok());
        ports.map(|port| (port.value.clone(), service.name.value.clone()))
    });
    let ping = ("ping".to_owned(), "an echo request".to_owned());
    distinct(of_services.chain(listening()).chain([ping]))
}

fn listening() -> Vec<Value> {
    let found = listeners().unwrap_or_default();
    let open = found.into_iter().filter(|listener| !listener.socket.address.is_loopback());
    let mut ports: Vec<(u16, Value)> = open
        .filter_map(|listener| {
            let protocol = Transport::from_number(listener.socket.protocol)?.name();
            let holder = listener.process.map(|process| process.name).unwrap_or_default();
            Some((listener.socket.port, (format!("{}/{protocol}", listener.socket.port), holder)))
        })
        .collect();
    ports.sort();
    distinct(ports.into_iter().map(|(_, value)| value))
}

fn senders(policy: &Policy) -> Vec<Value> {
    let host = ("host".to_owned(), "this machine".to_owned());
    let single = addresses(policy).into_iter().filter(|(text, _)| text.parse::<std::net::IpAddr>().is_ok());
    distinct([host].into_iter().chain(single))
}

/// The addresses that the policy names, with where.
fn addresses(policy: &Policy) -> Vec<Value> {
    let groups = policy.groups.iter().map(|group| (&group.name, &group.peers));
    let services = policy.services.iter().map(|service| (&service.name, &service.from));
    let all = groups.chain(services).flat_map(|(name, peers)| words(peers).map(move |peer| (name, peer)));
    let addresses = all.filter_map(|(name, peer)| match peer {
        Peer::Word(word) if word.value.starts_with(|c: char| c.is_ascii_digit()) || word.value.contains(':') => {
            Some((word.value.clone(), name.value.clone()))
        }
        _ => None,
    });
    distinct(addresses)
}

fn own_addresses() -> Vec<Value> {
    let links = Routing::open().ok().and_then(|routing| routing.links().ok()).unwrap_or_default();
    let addresses = links.into_iter().filter(|link| link.name != "lo").flat_map(|link| {
        link.addresses.into_iter().map(move |(address, _)| (address.to_string(), link.name.clone()))
    });
    distinct(addresses)
}

fn interfaces() -> Vec<Value> {
    let links = Routing::open().ok().and_then(|routing| routing.links().ok()).unwrap_or_default();
    let said = |addresses: &[(std::net::IpAddr, u8)]| {
        addresses.iter().map(|(address, bits)| format!("{address}/{bits}")).collect::<Vec<_>>().join(", ")
    };
    links.iter().map(|link| (link.name.clone(), said(&link.addresses))).collect()
}

fn services(policy: &Policy) -> Vec<Value> {
    let service = |service: &Service| {
        let ports: Vec<&str> = words(&service.ports).map(|port| port.value.as_str()).collect();
        (service.name.value.clone(), ports.join(", "))
    };
    policy.services.iter().map(service).collect()
}

fn services_and_rules(policy: &Policy) -> Vec<Value> {
    let rules = policy.forward.iter().map(|rule| (rule.name.value.clone(), "forward".to_owned()));
    services(policy).into_iter().chain(rules).collect()
}

fn is_temporary(peers: &Given<List<Peer>>) -> bool {
    words(peers).any(|peer| matches!(peer, Peer::Temporary(_)))
}

fn groups(policy: &Policy, is_meant: impl Fn(&Given<List<Peer>>) -> bool) -> Vec<Value> {
    let meant = policy.groups.iter().filter(|group| is_meant(&group.peers));
    meant.map(|group| (group.name.value.clone(), members(&group.peers))).collect()
}

/// The first members of a group in words.
fn members(peers: &Given<List<Peer>>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = words(peers).map(|peer| peer.text().value.as_str()).collect();
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN { format!("{shown}, ...") } else { shown }
}
