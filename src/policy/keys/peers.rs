//! The keys of an expectation, and of a peer in braces.

use super::{Holds, Key, OPTIONAL, REQUIRED, Section};

/// The keys of an expectation.
pub static EXPECTATION: Section = Section {
    what: "an expectation",
    about: "What the policy has to allow or to deny, with exactly one of the keys `allow` and `deny`.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "allow",
            holds: Holds::Ports,
            about: "Ports that all of the sources have to reach.",
            example: "22/tcp",
            ..OPTIONAL
        },
        Key {
            name: "deny",
            holds: Holds::Ports,
            about: "Ports that none of the sources may reach: what is dropped and what is rejected is denied.",
            example: "9000/tcp",
            ..OPTIONAL
        },
        Key {
            name: "from",
            holds: Holds::Sources,
            about: "The sources: `any`, which is proved for all of them, or whatever the `from` of a service may name. Each \
                    member of a group is meant.",
            example: "any",
            ..REQUIRED
        },
        Key {
            name: "on",
            holds: Holds::Interfaces,
            about: "The incoming interfaces that it is about. Without this key: all but the containers', and for \
                    `any` those, too.",
            example: "eth0",
            ..OPTIONAL
        },
        Key {
            name: "to",
            holds: Holds::Peers,
            about: "The destinations of the connections. With this key, the expectation is about connections to \
                    elsewhere, and `from` may name `host` and users; without it, about connections to this machine.",
            example: "any",
            ..OPTIONAL
        },
    ],
};

/// The keys of a peer written as a mapping. A mapping has exactly one of them.
pub static PEER: Section = Section {
    what: "a peer in braces",
    about: "A peer other than an address or a group: one interface, one file, one user, one host name, or whoever is added for \
            a time.",
    may_be_empty: false,
    keys: &[
        Key {
            name: "interface",
            holds: Holds::Interface,
            about: "In `from`: packets that come in by this interface. In `to`: packets that leave by it. A trailing \
                    `*` is allowed.",
            example: "eth1",
            ..OPTIONAL
        },
        Key {
            name: "file",
            holds: Holds::Path,
            about: "A file of addresses. Each line begins with an address, a network or a range, or is an object of \
                    JSON with `cidr` or `ip`. Comments begin with `#`, `;` or `//`. A relative path begins in the \
                    folder of the policy.",
            example: "office.txt",
            ..OPTIONAL
        },
        Key {
            name: "user",
            holds: Holds::User,
            about: "The programs of one user of this machine, by the name in /etc/passwd or by number: the user who \
                    made the socket that opens the connection. Only in `from` and `except` of `outgoing`, in `from` \
                    of an expectation with `to`, and in groups for these.",
            example: "postfix",
            ..OPTIONAL
        },
        Key {
            name: "dns",
            holds: Holds::HostName,
            about: "A host name: whoever has its addresses. `palisade refresh` looks it up every five minutes; loading a \
                    policy asks no name server. An address counts until no answer has named it for an hour, or for a \
                    day where the name stands in `to`. Look-ups that fail change nothing for seven days, then the name \
                    means nobody. Not in `except`, `block`, `nat` or a rule that denies. Whoever answers for the name, \
                    or stands between, opens the port.",
            example: "home.example.org",
            ..OPTIONAL
        },
        Key {
            name: "temporary",
            holds: Holds::Time,
            about: "Whom `palisade allow`, or `palisade block` if `block` names the group, adds to the group, and for how \
                    long at most: from `1m` to `30d`. Nobody can be added to a group without it. Only in groups, which \
                    may be named in `block` and in `from` of what allows: of services, of rules of `forward` and of \
                    expectations. These are judged without whoever is added.",
            example: "12h",
            ..OPTIONAL
        },
        Key {
            name: "odd",
            holds: Holds::Word(&["error", "skip"]),
            default: Some("error"),
            about: "Beside `file`: what happens to lines that can't be read. `skip` leaves them out, and `check` \
                    says how many. Only for files in `block`: in `from`, such a line may be a typing error in \
                    somebody's address.",
            example: "skip",
            ..OPTIONAL
        },
    ],
};
