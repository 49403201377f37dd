//! The keys of `outgoing`, `forward` and `nat`.

use super::{Holds, Key, OPTIONAL, REQUIRED, Section};

const PORTS: Key = Key {
    name: "ports",
    holds: Holds::Ports,
    about: "The ports that the opener asks for, as in a service: `443/tcp`, `ping`, or `any` alone.",
    example: "[80/tcp, 443/tcp]",
    ..REQUIRED
};
const ACTION: Key = Key {
    name: "action",
    holds: Holds::Word(&["allow", "deny", "reject"]),
    default: Some("allow"),
    about: "`deny` and `reject` override every rule of the section that allows the same.",
    example: "deny",
    ..OPTIONAL
};
const LOG: Key = Key {
    name: "log",
    holds: Holds::Flag,
    default: Some("false"),
    about: "Whether new connections are logged: ten a second at most.",
    example: "true",
    ..OPTIONAL
};
const COMMENT: Key = Key {
    name: "comment",
    holds: Holds::Comment,
    about: "A note for people, as in a service.",
    example: "the package mirror",
    ..OPTIONAL
};

/// The keys of a rule of `outgoing`.
pub static OUTGOING: Section = Section {
    what: "a rule of `outgoing`",
    about: "Ports elsewhere, and which of this machine's programs and containers may open them. A rule that allows needs a \
            default that denies: `defaults: { outgoing }`, or `containers: { outgoing }`.",
    may_be_empty: false,
    keys: &[
        PORTS,
        Key {
            name: "from",
            holds: Holds::Sources,
            about: "Who opens the connections: `host` (this machine), `{ user: NAME }`, `containers`, `{ interface: \
                    NAME }` for the containers of one bridge, or groups of these.",
            example: "host",
            ..REQUIRED
        },
        Key {
            name: "to",
            holds: Holds::Sources,
            about: "The destinations, before any translation: addresses, networks, ranges, groups, `private`, `{ \
                    file: PATH }`, `{ interface: NAME }` that it leaves by, or `any`.",
            example: "any",
            ..REQUIRED
        },
        Key {
            name: "except",
            holds: Holds::Peers,
            about: "For whom the rule does not hold, although `from` names them.",
            example: "{ interface: br-app }",
            ..OPTIONAL
        },
        ACTION,
        LOG,
        COMMENT,
    ],
};

/// The keys of a rule of `forward`.
pub static FORWARD: Section = Section {
    what: "a rule of `forward`",
    about: "Ports of machines behind this one, and who may open them. Connections of containers belong to \
            `outgoing`; a service with `forward_to` needs no rule here.",
    may_be_empty: false,
    keys: &[
        PORTS,
        Key {
            name: "from",
            holds: Holds::Sources,
            about: "Who opens the connections: addresses, networks, ranges, groups, `private`, `{ file: PATH }`, `{ \
                    interface: NAME }` that it comes in by, or `any`, which is everyone but this machine and its \
                    containers.",
            example: "{ interface: eth1 }",
            ..REQUIRED
        },
        Key {
            name: "to",
            holds: Holds::Sources,
            about: "The destinations, before any translation: the same, with `{ interface: NAME }` that it leaves \
                    by, and `containers` for their own addresses.",
            example: "{ interface: eth0 }",
            ..REQUIRED
        },
        Key {
            name: "except",
            holds: Holds::Peers,
            about: "For whom the rule does not hold, although `from` names them.",
            example: "192.168.10.7",
            ..OPTIONAL
        },
        Key {
            name: "on",
            holds: Holds::Interfaces,
            about: "The incoming interfaces that the rule holds for. All of them when it is left out.",
            example: "eth1",
            ..OPTIONAL
        },
        ACTION,
        LOG,
        COMMENT,
    ],
};

/// The keys of a line of `nat`.
pub static NAT: Section = Section {
    what: "a line of `nat`",
    about: "Whose source address is rewritten, where it leaves. IPv6 is translated only where `from` names IPv6 networks or \
            `as` is an IPv6 address.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "from",
            holds: Holds::Sources,
            about: "Whose packets: addresses, networks, ranges, groups, `{ interface: NAME }` that they come in by, \
                    `containers`, or `any`.",
            example: "{ interface: eth1 }",
            ..REQUIRED
        },
        Key {
            name: "to",
            holds: Holds::Sources,
            about: "The interfaces that they leave by: `{ interface: NAME }`, or groups of these.",
            example: "{ interface: eth0 }",
            ..REQUIRED
        },
        Key {
            name: "as",
            holds: Holds::Address,
            about: "The address that becomes their source (SNAT). Without it, an address of the outgoing interface \
                    (masquerade).",
            example: "203.0.113.7",
            ..OPTIONAL
        },
        COMMENT,
    ],
};
