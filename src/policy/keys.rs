//! The table of the language's keys, one row per key.
//!
//! The reader takes from it which keys exist, `palisade schema` which values they may have, and docs/policy.md what
//! they mean. To add a key, add its row here, then teach the reader (`read.rs`) and the model (`model.rs`) to hold
//! it.

mod peers;
mod routed;

pub use peers::{EXPECTATION, PEER};
pub use routed::{FORWARD, NAT, OUTGOING};

/// Keys that belong to one mapping.
#[derive(Debug)]
pub struct Section {
    /// What errors call the mapping: `` `defaults` ``, `a policy`.
    pub what: &'static str,
    /// Its description: one or two sentences.
    pub about: &'static str,
    /// The keys, in the order of the documentation.
    pub keys: &'static [Key],
    /// Whether the section may be present but empty.
    pub may_be_empty: bool,
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// The name as it is written.
    pub name: &'static str,
    /// What it may hold.
    pub holds: Holds,
    /// Whether the key has to be present.
    pub required: bool,
    /// The value that applies without the key, as it would be written.
    pub default: Option<&'static str>,
    /// Its description, in sentences.
    pub about: &'static str,
    /// An example value.
    pub example: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    /// The version of the language.
    Version,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A rate, such as `6/minute`.
    Rate,
    /// A rate, or `off`.
    RateOrOff,
    /// One line of text.
    Comment,
    /// One line of text, which may not be empty.
    Reason,
    /// The identifier of a finding of doctor.
    Finding,
    /// A port, or a list of them.
    Ports,
    /// A peer, or a non-empty list of peers.
    Sources,
    /// A peer, or a list of peers.
    Peers,
    /// A peer, a list of peers, or nothing.
    PeersOrNothing,
    /// An address, a network or a range, or a list of them.
    Addresses,
    /// One address.
    Address,
    /// An address with or without a port, or a list of them.
    Targets,
    /// The name of an interface.
    Interface,
    /// An interface, or a list of them.
    Interfaces,
    /// The path of a file.
    Path,
    /// The path of a file, or a list of them, or nothing.
    Files,
    /// A user's name or number.
    User,
    /// A host name.
    HostName,
    /// A time, such as `12h`.
    Time,
    /// A mapping with keys of its own.
    Section(&'static Section),
    /// A mapping from names that the author chooses to peers.
    Groups,
    /// A mapping from names that the author chooses to mappings with these keys.
    Named(&'static Section),
    /// One mapping with these keys, or a list of them.
    ListOf(&'static Section),
}

impl Section {
    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }

    /// The key with that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    /// Its description, then its default if the default is a word.
    #[must_use]
    pub fn sentences(&self) -> String {
        match (self.holds, self.default) {
            (Holds::Word(_) | Holds::RateOrOff, Some(default)) => {
                format!("{} The default is `{default}`.", self.about)
            }
            _ => self.about.to_owned(),
        }
    }
}

/// Base of the rows of optional keys.
pub(super) const OPTIONAL: Key =
    Key { name: "", holds: Holds::Flag, required: false, default: None, about: "", example: "" };
/// Base of the rows of required keys.
pub(super) const REQUIRED: Key = Key { required: true, ..OPTIONAL };

/// The keys of [`POLICY`] that a file may have which a policy includes.
pub const INCLUDED: [&str; 6] = ["version", "include", "groups", "services", "block", "expect"];

/// The keys at the top of a policy.
pub static POLICY: Section = Section {
    what: "a policy",
    about: "Who may reach which port of this machine, whether a process or a container answers; what this machine \
            and its containers may open; and what passes through it. The order of lines changes nothing: `block` \
            beats every service, a denial beats every allowance of its section, and everything else gets the default.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "version",
            holds: Holds::Version,
            about: "The version of this language. Always 1.",
            example: "1",
            ..REQUIRED
        },
        Key {
            name: "include",
            holds: Holds::Files,
            about: "Other files of which the groups, services, `block` and expectations are part of the policy. A path \
                    begins in the folder of the file that names it, and stays within the folder of the policy. An \
                    included file has `version`, `include`, `groups`, `services`, `block` and `expect`, and no other \
                    keys. A name stands in one file only. At most 64 files, 8 deep.",
            example: "[shared/groups.yaml, shared/monitoring.yaml]",
            ..OPTIONAL
        },
        Key {
            name: "defaults",
            holds: Holds::Section(&DEFAULTS),
            example: "{ incoming: deny, ping: allow }",
            ..OPTIONAL
        },
        Key {
            name: "groups",
            holds: Holds::Groups,
            about: "Names for peers: addresses, interfaces, files, users, whoever is added for a time. A group may contain other groups. `any`, \
                    `containers` and `private` are built in.",
            example: "{ office: [203.0.113.0/24, \"2001:db8:1::/48\"] }",
            ..OPTIONAL
        },
        Key {
            name: "services",
            holds: Holds::Named(&SERVICE),
            about: "What may be reached, and by whom. Each service has a name of your choice.",
            example: "{ ssh: { ports: 22/tcp, from: any } }",
            ..OPTIONAL
        },
        Key {
            name: "outgoing",
            holds: Holds::Named(&OUTGOING),
            about: "What this machine, its users and its containers may open to elsewhere. Each rule has a name of your \
                    choice.",
            example: "{ updates: { ports: [80/tcp, 443/tcp], from: host, to: any } }",
            ..OPTIONAL
        },
        Key {
            name: "forward",
            holds: Holds::Named(&FORWARD),
            about: "What others may open through this machine. Each rule has a name of your choice.",
            example: "{ internet: { ports: any, from: { interface: eth1 }, to: { interface: eth0 } } }",
            ..OPTIONAL
        },
        Key {
            name: "nat",
            holds: Holds::Named(&NAT),
            about: "Whose source addresses are rewritten. A line allows nothing: `forward` and `outgoing` do. Each line has \
                    a name of your choice.",
            example: "{ internet: { from: { interface: eth1 }, to: { interface: eth0 } } }",
            ..OPTIONAL
        },
        Key {
            name: "block",
            holds: Holds::PeersOrNothing,
            about: "Sources whose packets from outside are dropped before connection tracking, even if a service \
                    allows them. Their replies are dropped, too. An address blocks no packet that comes in by the \
                    loopback or from containers, and nothing blocks what the network itself needs: neighbour \
                    discovery, router advertisements, reports of multicast groups, DHCP answers.",
            example: "[198.51.100.7, { file: abusers.txt }]",
            ..OPTIONAL
        },
        Key {
            name: "containers",
            holds: Holds::Section(&CONTAINERS),
            example: "{ outgoing: allow, host: deny }",
            ..OPTIONAL
        },
        Key { name: "log", holds: Holds::Section(&LOG), example: "{ denied: 10/minute }", ..OPTIONAL },
        Key {
            name: "expect",
            holds: Holds::ListOf(&EXPECTATION),
            about: "What the policy has to allow or deny. `palisade check` proves it, and so does every `palisade \
                    apply`; a policy that does not meet one of its expectations is refused.",
            example: "[{ deny: 9000/tcp, from: any }]",
            ..OPTIONAL
        },
        Key {
            name: "doctor",
            holds: Holds::Section(&DOCTOR),
            example: "{ ignore: [{ id: macvlan-network, because: guarded in the switch }] }",
            ..OPTIONAL
        },
    ],
};

/// The keys of `defaults`.
pub static DEFAULTS: Section = Section {
    what: "`defaults`",
    about: "What happens to new connections that no other line covers. Replies to allowed connections are always \
            allowed.",
    may_be_empty: true,
    keys: &[
        Key {
            name: "incoming",
            holds: Holds::Word(&["deny", "reject", "allow"]),
            default: Some("deny"),
            about: "Connections to this machine and to ports that containers publish. `deny` drops without an \
                    answer, `reject` answers with an error.",
            example: "deny",
            ..OPTIONAL
        },
        Key {
            name: "outgoing",
            holds: Holds::Word(&["allow", "deny", "reject"]),
            default: Some("allow"),
            about: "Connections that this machine opens to elsewhere. It always reaches itself and its containers.",
            example: "allow",
            ..OPTIONAL
        },
        Key {
            name: "forward",
            holds: Holds::Word(&["deny", "reject", "allow"]),
            default: Some("deny"),
            about: "Routed connections that are neither to nor from a container.",
            example: "deny",
            ..OPTIONAL
        },
        Key {
            name: "ping",
            holds: Holds::Word(&["allow", "deny"]),
            default: Some("allow"),
            about: "Whether echo requests are answered.",
            example: "allow",
            ..OPTIONAL
        },
        Key {
            name: "reverse_path",
            holds: Holds::Word(&["off", "strict"]),
            default: Some("off"),
            about: "`strict` drops a packet, to this machine or through it, that comes in by another interface than \
                    the one that an answer to its source would leave by (RFC 3704), over IPv4 and IPv6. Not for \
                    machines with asymmetric routes: several uplinks, or a router beside the default one. A packet \
                    from elsewhere with an address of this machine or of its containers as its source is always \
                    dropped.",
            example: "strict",
            ..OPTIONAL
        },
    ],
};

/// The keys of a service.
pub static SERVICE: Section = Section {
    what: "a service",
    about: "Ports, and who may reach them.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "ports",
            holds: Holds::Ports,
            about: "The ports that the outside world sees: `22/tcp`, `60000-61000/udp`, a service's name such as `ssh`, \
                    `esp/proto` for another IP protocol, `ping` for echo requests, or `any` alone for every port and \
                    protocol.",
            example: "[443/tcp, 443/udp]",
            ..REQUIRED
        },
        Key {
            name: "from",
            holds: Holds::Sources,
            about: "Who may reach it: addresses, networks, ranges, groups, `any`, `private`, `containers`, \
                    `{ interface: NAME }` or `{ file: PATH }`.",
            example: "[office, 192.0.2.7]",
            ..REQUIRED
        },
        Key {
            name: "except",
            holds: Holds::Peers,
            about: "Who may not reach it, although `from` names them.",
            example: "[203.0.113.66]",
            ..OPTIONAL
        },
        Key {
            name: "to",
            holds: Holds::Addresses,
            about: "The addresses of this machine that the service holds for. All of them when it is left out.",
            example: "192.0.2.1",
            ..OPTIONAL
        },
        Key {
            name: "on",
            holds: Holds::Interfaces,
            about: "The incoming interfaces that the service holds for. All of them when it is left out. A trailing `*` is \
                    allowed.",
            example: "[eth0, wg*]",
            ..OPTIONAL
        },
        Key {
            name: "limit",
            holds: Holds::Rate,
            about: "How many new connections one source may open, such as `6/minute`; a source is an IPv4 address or \
                    an IPv6 /64 network. Connections above the rate are denied. 65,535 sources are remembered; if \
                    there are more, all others share twenty times the rate.",
            example: "6/minute",
            ..OPTIONAL
        },
        Key {
            name: "action",
            holds: Holds::Word(&["allow", "deny", "reject"]),
            default: Some("allow"),
            about: "`deny` and `reject` override every service that allows the same.",
            example: "deny",
            ..OPTIONAL
        },
        Key {
            name: "forward_to",
            holds: Holds::Targets,
            about: "The machine behind this one that answers: a port forward. With `:PORT` it answers at that port, and \
                    the service has one port. A list is one IPv4 and one IPv6 target; over the family without a target \
                    the service is denied.",
            example: "[192.168.10.5, \"fd00:10::5\"]",
            ..OPTIONAL
        },
        Key {
            name: "log",
            holds: Holds::Flag,
            default: Some("false"),
            about: "Whether new connections are logged: ten a second at most, so that nobody fills the disk.",
            example: "true",
            ..OPTIONAL
        },
        Key {
            name: "comment",
            holds: Holds::Comment,
            about: "A note for people. It becomes part of the comments of the rules in the kernel: one line, at most \
                    100 bytes, no double quotes and no backslashes.",
            example: "the trading dashboard",
            ..OPTIONAL
        },
    ],
};

/// The keys of `containers`.
pub static CONTAINERS: Section = Section {
    what: "`containers`",
    about: "How the container networks of this machine are treated.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "interfaces",
            holds: Holds::Interfaces,
            default: Some(
                "[docker0, docker_gwbridge, nerdctl0, cni0, br-*, podman*, cn\
                 i-podman*, lxcbr*, lxdbr*, incusbr*, virbr*, ve-*, vz-*]",
            ),
            about: "The interfaces of containers, such as the bridges of an engine. A trailing `*` is allowed.",
            example: "[docker0, br-*]",
            ..OPTIONAL
        },
        Key {
            name: "outgoing",
            holds: Holds::Word(&["allow", "deny", "reject"]),
            default: Some("allow"),
            about: "What containers may open to the outside.",
            example: "deny",
            ..OPTIONAL
        },
        Key {
            name: "host",
            holds: Holds::Word(&["deny", "allow"]),
            default: Some("deny"),
            about: "`deny`: containers reach this machine's ports like any source, by `services`. `allow`: they reach every \
                    port of this machine.",
            example: "deny",
            ..OPTIONAL
        },
    ],
};

/// The keys of `log`.
pub static LOG: Section = Section {
    what: "`log`",
    about: "What is logged in addition to `log: true` in services and rules.",
    may_be_empty: true,
    keys: &[Key {
        name: "denied",
        holds: Holds::RateOrOff,
        default: Some("10/minute"),
        about: "How often denied connections are logged, with the prefix `palisade denied: `: `off`, or a rate such as \
                `10/minute`.",
        example: "1/second",
        ..OPTIONAL
    }],
};

/// The keys of `doctor`.
pub static DOCTOR: Section = Section {
    what: "`doctor`",
    about: "What `palisade doctor` does not count. It changes no rule.",
    may_be_empty: true,
    keys: &[Key {
        name: "ignore",
        holds: Holds::ListOf(&IGNORED),
        about: "Findings that are as they should be here. `palisade doctor` still lists them, with the reason, and does \
                not count them.",
        example: "[{ id: macvlan-network, because: guarded in the switch }]",
        ..OPTIONAL
    }],
};

/// The keys of an ignored finding.
pub static IGNORED: Section = Section {
    what: "an ignored finding",
    about: "A kind of finding of `palisade doctor`, and why it does not count here.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "id",
            holds: Holds::Finding,
            about: "Its identifier, as `palisade doctor` prints it in brackets. Those that say that the policy is not in force \
                    can't be ignored.",
            example: "macvlan-network",
            ..REQUIRED
        },
        Key {
            name: "because",
            holds: Holds::Reason,
            about: "Why it does not count: one line, for whoever reads the report.",
            example: "guarded in the switch",
            ..REQUIRED
        },
    ],
};
