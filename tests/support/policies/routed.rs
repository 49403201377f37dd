//! What random policies say of `outgoing`, `forward`, `nat` and `forward_to`, and of who their containers are.

use super::{
    COMMENTS, Defaults, INTERFACES, NAMES, Peer, interfaces, keys, listed, peers, port_list, quoted, section,
};
use palisade::net::IfPattern;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

/// Who a policy's containers are.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The section `containers`, or nothing.
    pub text: &'static str,
    /// Its interfaces.
    pub interfaces: &'static [&'static str],
    /// Bridges among them, named exactly.
    pub bridges: &'static [&'static str],
    /// Whether what containers open is denied unless a rule allows it.
    pub keeps_in: bool,
}

/// The bridges of engines, as a policy has them that does not name any.
const BRIDGES: &[&str] = &[
    "docker0",
    "docker_gwbridge",
    "nerdctl0",
    "cni0",
    "br-*",
    "podman*",
    "cni-podman*",
    "lxcbr*",
    "lxdbr*",
    "incusbr*",
    "virbr*",
    "ve-*",
    "vz-*",
];

/// Settings with those bridges, and none.
pub const DEFAULT_BRIDGES: &[Setting] = &[
    Setting { text: "", interfaces: BRIDGES, bridges: &["br-0123456789ab", "docker0"], keeps_in: false },
    Setting {
        text: "containers: { outgoing: deny }\n",
        interfaces: BRIDGES,
        bridges: &["br-0123456789ab", "docker0"],
        keeps_in: true,
    },
    Setting {
        text: "containers: { outgoing: reject, interfaces: [\"br-*\", eth10] }\n",
        interfaces: &["br-*", "eth10"],
        bridges: &["br-0123456789ab", "eth10"],
        keeps_in: true,
    },
    Setting { text: "containers: { interfaces: [] }\n", interfaces: &[], bridges: &[], keeps_in: false },
];

/// Groups of users, which stand in `outgoing` alone, and groups that take addresses for a time: one that may be let in, and
/// one that may be blocked.
pub const GROUPS: [&str; 4] = [
    "programs: [{ user: 0 }, { user: 4001 }]",
    "nobody_else: [programs, { user: 4294967294 }]",
    "visitors: [{ temporary: 8h }, 10.0.0.8/29]",
    "banned: { temporary: 30d }",
];

/// A list of senders, or `any`, with `visitors` among them.
pub fn with_visitors(from: String, visit: bool) -> String {
    if visit && from != "any" { from.replacen('[', "[visitors, ", 1) } else { from }
}
/// Users by themselves.
const USERS: [&str; 3] = ["{ user: 0 }", "{ user: 4001 }", "{ user: 4002 }"];

/// Where services are answered: neighbours, over IPv4, over IPv6, or over both.
pub const TARGETS: &[[Option<&str>; 2]] = &[
    [Some("10.77.0.2"), None],
    [None, Some("fd77::2")],
    [Some("10.77.0.2"), Some("fd77::2")],
    [Some("10.77.0.3"), Some("fd77::c8")],
];
/// This machine's own addresses, and others that are nobody's target.
pub const OWN: &[&str] = &["203.0.113.1", "10.77.0.1", "2001:db8::1", "fd77::1", "192.0.2.0/24", "8000::/3"];
/// The addresses that sources are translated to.
const SOURCES: [&str; 4] = ["203.0.113.1", "203.0.113.50", "2001:db8::1", "2001:db8::50"];

/// The first port of the first service that is forwarded, and how many each has to itself.
const FIRST: u16 = 8_050;
const EACH: u16 = 10;
/// Where the ports begin that targets answer at.
const ANSWERED: u16 = 9_000;

/// A service's port forward.
#[derive(Clone, Debug)]
pub struct Forward {
    index: u16,
    target: [Option<&'static str>; 2],
    /// Whether the target has a port of its own.
    port: bool,
    udp: bool,
}

impl Forward {
    pub fn new(index: usize, target: [Option<&'static str>; 2], port: bool, udp: bool) -> Self {
        Self { index: u16::try_from(index).expect("a policy has few services"), target, port, udp }
    }

    pub fn ports(&self) -> Vec<String> {
        let first = FIRST + EACH * self.index;
        let ports = if self.port { first.to_string() } else { format!("{first}-{}", first + EACH - 2) };
        let udp = self.udp.then(|| format!("{ports}/udp"));
        [format!("{ports}/tcp")].into_iter().chain(udp).collect()
    }

    /// The value of `forward_to`.
    pub fn target(&self) -> String {
        let port = ANSWERED + self.index;
        let targets = self.target.iter().flatten().map(|address| match self.port {
            true if address.contains(':') => quoted(&format!("[{address}]:{port}")),
            true => quoted(&format!("{address}:{port}")),
            false => quoted(address),
        });
        format!("[{}]", targets.collect::<Vec<_>>().join(", "))
    }

    /// Whether an item of `ports` may be one that a service forwards.
    pub fn may_meet(port: &str) -> bool {
        let numbers = port.split_once('/').map_or("", |(numbers, _)| numbers);
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let last_forwarded = FIRST + EACH * u16::try_from(NAMES.len()).expect("there are few names");
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => first <= last_forwarded && last >= FIRST && !port.ends_with("/proto"),
            _ => false,
        }
    }
}

/// What rules depend on.
#[derive(Clone, Debug)]
pub struct Around {
    setting: &'static Setting,
    defaults: Defaults,
    groups: Vec<&'static str>,
    /// The groups without bridges of containers.
    outside: Vec<&'static str>,
    files: usize,
}

impl Around {
    pub(super) fn new(
        setting: &'static Setting,
        defaults: &Defaults,
        groups: &[(&'static str, Vec<Peer>)],
        files: usize,
    ) -> Self {
        let mut outside: Vec<&'static str> = Vec::new();
        for (name, members) in groups {
            let is_outside = members.iter().all(|peer| match peer {
                Peer::Group(name) => *name == "private" || outside.contains(name),
                other => is_outside(setting, other),
            });
            outside.extend(is_outside.then_some(*name));
        }
        let groups = groups.iter().map(|(name, _)| *name).collect();
        Self { setting, defaults: defaults.clone(), groups, outside, files }
    }

    /// The groups of addresses and interfaces.
    pub fn groups(&self) -> Vec<&'static str> {
        self.groups.clone()
    }

    /// The section `containers`, and the sections `outgoing`, `forward` and `nat`.
    pub fn sections(&self) -> impl Strategy<Value = (String, String)> + use<> {
        let names = || prop::sample::subsequence(NAMES, 0..5);
        let (outgoing, forward, nat) = (self.clone(), self.clone(), self.clone());
        let outgoing =
            names().prop_flat_map(move |names| names.iter().map(|name| outgoing.outgoing(name)).collect::<Vec<_>>());
        let forward =
            names().prop_flat_map(move |names| names.iter().map(|name| forward.forward(name)).collect::<Vec<_>>());
        // Lines that may meet translate alike.
        let source = prop::option::of(select(SOURCES.to_vec()));
        let nat = (prop::sample::subsequence(NAMES, 0..4), source)
            .prop_flat_map(move |(names, source)| names.iter().map(|name| nat.nat(name, source)).collect::<Vec<_>>());
        let containers = self.setting.text;
        (outgoing, forward, nat).prop_map(move |(outgoing, forward, nat)| {
            let mut text = String::new();
            for (name, rules) in [("outgoing", outgoing), ("forward", forward), ("nat", nat)] {
                section(&mut text, name, rules.into_iter());
            }
            (containers.to_owned(), text)
        })
    }

    fn outgoing(&self, name: &'static str) -> impl Strategy<Value = String> + use<> {
        let bridges: Vec<String> =
            self.setting.bridges.iter().map(|bridge| format!("{{ interface: {} }}", quoted(bridge))).collect();
        let programs: Vec<String> =
            ["host", "programs", "nobody_else"].into_iter().chain(USERS).map(str::to_owned).collect();
        let containers: Vec<String> = bridges.iter().cloned().chain(["containers".to_owned()]).collect();
        let all = [programs.clone(), containers.clone()].concat();
        let allowed = [(self.defaults.keeps_in, programs), (self.setting.keeps_in, containers)];
        let allowed: Vec<String> =
            allowed.into_iter().filter(|(denied, _)| *denied).flat_map(|(_, who)| who).collect();
        let except = prop::option::of(some_of(all.clone())).boxed();
        let to = self.destinations(self.groups());
        let denies = || select(vec!["deny", "reject"]);
        let mut kinds = vec![(2, (some_of(all), denies().prop_map(Some), to.clone(), except.clone()).boxed())];
        if !allowed.is_empty() {
            let allow = prop::option::of(Just("allow"));
            kinds.push((4, (some_of(allowed), allow, to, except.clone()).boxed()));
        }
        if !bridges.is_empty() {
            kinds.push((1, apart(bridges, denies(), except).boxed()));
        }
        let what = Union::new_weighted(kinds);
        let comment = prop::option::of(select(COMMENTS));
        (port_list(), what, any_log(), comment).prop_map(move |(ports, (from, action, to, except), log, comment)| {
            let given = [
                ("to", Some(to)),
                ("except", except),
                ("action", action.map(str::to_owned)),
                ("log", log),
                ("comment", comment.map(quoted)),
            ];
            format!("{name}: {{ ports: [{}], from: {from}{} }}", ports.join(", "), keys(given))
        })
    }

    fn forward(&self, name: &'static str) -> impl Strategy<Value = String> + use<> {
        let setting = self.setting;
        let outside = move |list: Vec<Peer>| -> Vec<Peer> {
            list.into_iter().filter(|peer| is_outside(setting, peer)).collect()
        };
        let senders = move |count| peers(self.outside.clone(), self.files, count).prop_map(outside);
        let from = prop_oneof![
            2 => Just("any".to_owned()),
            3 => senders(1..5).prop_filter("nobody sends", |list| !list.is_empty()).prop_map(|list| listed(&list)),
        ];
        let except = prop::option::of(senders(0..4).prop_map(|list| listed(&list)));
        let to = prop_oneof![
            3 => self.destinations(self.groups()),
            1 => Just("containers".to_owned()),
        ];
        let action = prop::option::of(select(vec!["allow", "deny", "reject"]));
        let rest = (prop::option::of(interfaces()), any_log(), prop::option::of(select(COMMENTS)), any::<bool>());
        let keeps_apart = self.defaults.keeps_apart;
        (port_list(), from, except, to, action, rest).prop_map(
            move |(ports, from, except, to, action, (on, log, comment, visit))| {
                let allows = action.is_none_or(|action| action == "allow");
                let from = with_visitors(from, visit && allows);
                // Where everything is routed, an allowance opens containers' own addresses alone.
                let to = if allows && !keeps_apart { "any".to_owned() } else { to };
                let given = [
                    ("to", Some(to)),
                    ("except", except),
                    ("on", on),
                    ("action", action.map(str::to_owned)),
                    ("log", log),
                    ("comment", comment.map(quoted)),
                ];
                format!("{name}: {{ ports: [{}], from: {from}{} }}", ports.join(", "), keys(given))
            },
        )
    }

    fn nat(&self, name: &'static str, source: Option<&'static str>) -> impl Strategy<Value = String> + use<> {
        let from = peers(self.groups(), self.files, 1..5).prop_map(move |mut list| {
            // What `as` is given to must be of its family; an interface brings both.
            list.extend(source.map(|_| Peer::Interface("eth1")));
            listed(&list)
        });
        let from = prop_oneof![1 => Just("any".to_owned()), 1 => from];
        // Packets leave by few of the interfaces.
        let used = prop::option::weighted(0.8, select(vec!["eth0", "eth1"]));
        let to = (prop::collection::vec(select(INTERFACES), 1..4), used).prop_map(|(mut names, used)| {
            names.extend(used.filter(|used| !names.contains(used)));
            listed(&names.into_iter().map(Peer::Interface).collect::<Vec<_>>())
        });
        (from, to, prop::option::of(select(COMMENTS))).prop_map(move |(from, to, comment)| {
            let given = [("to", Some(to)), ("as", source.map(quoted)), ("comment", comment.map(quoted))];
            format!("{name}: {{ from: {from}{} }}", keys(given))
        })
    }

    fn destinations(&self, groups: Vec<&'static str>) -> impl Strategy<Value = String> + Clone + use<> {
        let files = self.files;
        prop::bool::ANY
            .prop_flat_map(move |everywhere| {
                if everywhere {
                    Just("any".to_owned()).boxed()
                } else {
                    peers(groups.clone(), files, 1..5).prop_map(|list| listed(&list)).boxed()
                }
            })
            .boxed()
    }
}

/// A rule that keeps containers apart from those behind other bridges.
fn apart(
    bridges: Vec<String>,
    denies: impl Strategy<Value = &'static str> + 'static,
    except: impl Strategy<Value = Option<String>> + 'static,
) -> impl Strategy<Value = (String, Option<&'static str>, String, Option<String>)> {
    let to = select(vec!["containers", "[containers, 10.77.0.2]", "[containers, { interface: eth0 }]"]);
    (some_of(bridges), denies.prop_map(Some), to.prop_map(str::to_owned), except)
}

fn any_log() -> impl Strategy<Value = Option<String>> {
    any::<bool>().prop_map(|log| log.then(|| "true".to_owned()))
}

/// One or several of these, as a list.
fn some_of(items: Vec<String>) -> impl Strategy<Value = String> + Clone {
    let most = items.len().min(3);
    prop::sample::subsequence(items, 1..=most).prop_map(|items| format!("[{}]", items.join(", ")))
}

/// Whether no bridge of containers is meant.
fn is_outside(setting: &Setting, peer: &Peer) -> bool {
    let pattern = |text: &str| match text.strip_suffix('*') {
        Some(name) => IfPattern { name: name.to_owned(), wildcard: true },
        None => IfPattern { name: text.to_owned(), wildcard: false },
    };
    match peer {
        Peer::Interface(name) => !setting.interfaces.iter().any(|bridge| pattern(bridge).meets(&pattern(name))),
        Peer::Address(_) | Peer::Group(_) => true,
    }
}
