//! The verdicts that must hold beside every engine, by policy. `docs/containers.md` shows them with what came of them.

/// Rows (see [`super::rows::Rows::new`]) that hold under a policy.
#[derive(Clone, Copy)]
pub struct Section {
    pub title: &'static str,
    pub policy: &'static str,
    pub rows: &'static str,
}

/// Whether a policy lets anybody in by SSH, on whose port the host listens.
pub fn opens_ssh(policy: &str) -> bool {
    policy.contains("22/tcp")
}

/// What loads a policy: without `--force` it is refused where sshd's port is listened on and nobody is let in there.
pub fn apply(policy: &str) -> &'static [&'static str] {
    if opens_ssh(policy) { &["apply"] } else { &["apply", "--force"] }
}

pub const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9, \"2001:db8::9\"] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
";

pub const FROM_OUTSIDE: Section = Section {
    title: "22 is open to any, 9000 to the trusted over IPv4 and IPv6: from outside to what containers publish",
    policy: POLICY,
    rows: "
    allowed open  22/tcp                              from trusted out neighbour to host over v4 v6
    allowed open  9000/tcp                            from trusted to host over v4
    allowed proxy 9000/tcp                            from trusted to host over v6
    denied  open  9000/tcp                            from out neighbour to host over v4
    denied  proxy 9000/tcp                            from out neighbour to host over v6
    denied  open  9010/tcp 9100/tcp 9500/tcp 9600/tcp from trusted out neighbour to host over v4
    denied  proxy 9010/tcp 9100/tcp 9500/tcp          from trusted out neighbour to host over v6
    denied  proxy 9600/tcp                            from trusted out neighbour to host over v6
    denied  open  9301/tcp 9302/tcp 9303/tcp          from trusted out neighbour to host over v4
    denied  proxy 9301/tcp 9302/tcp 9303/tcp          from trusted out neighbour to host over v6
    denied  open  9400/udp                            from trusted out to host over v4
    denied  any   9400/udp                            from neighbour to host over v4
    denied  proxy 9400/udp                            from trusted out to host over v6
    denied  open  9700/tcp                            from trusted out neighbour to host over v4
    denied  any   9700/tcp                            from trusted out neighbour to host over v6
    denied  any   9200/tcp                            from trusted out neighbour to host over v4 v6
    denied  any   9200/tcp                            from neighbour to loopback over v4
    denied  open  80/tcp 9900/tcp                     from trusted out neighbour to host over v4 v6
    denied  any   9000/tcp from trusted out neighbour to same inner user six over v4
    denied  any   9000/tcp from trusted out neighbour to six over v6
    denied  any   80/tcp   from trusted out neighbour to other over v4
    denied  any   9400/udp from trusted out neighbour to datagram over v4
    denied  any   9000/tcp from trusted out neighbour to unpublished over v4
    denied  any   9000/tcp from trusted out neighbour to user-unpublished six-unpublished over v4
    denied  any   9000/tcp from trusted out neighbour to six-unpublished over v6
",
};

pub const FROM_INSIDE: Section = Section {
    title: "The same policy: from the host to what it publishes, from containers to each other and to the outside",
    policy: POLICY,
    rows: "
    same open  9000/tcp 9010/tcp 9100/tcp 9200/tcp from host to loopback over v4
    same open  9302/tcp 9500/tcp 9600/tcp          from host to loopback over v4
    same proxy 9000/tcp 9010/tcp 9100/tcp 9302/tcp 9500/tcp from host to loopback over v6
    same any   9200/tcp                            from host to loopback over v6
    same any   9600/tcp                            from host to loopback over v6
    same open  9000/tcp 9010/tcp 9100/tcp 9302/tcp from host to host over v4
    same open  9400/udp 9500/tcp 9600/tcp 9700/tcp 9900/tcp from host to host over v4
    same any   9200/tcp                            from host to host over v4
    same proxy 9000/tcp 9010/tcp 9100/tcp 9500/tcp from host to host over v6
    same any   9600/tcp                            from host to host over v6
    same any   9200/tcp 9700/tcp                   from host to host over v6
    same open  9900/tcp                            from host to host over v6
    same open  9000/tcp from host to same unpublished user-unpublished six over v4
    same open  9000/tcp from host to six over v6
    same open  4242/tcp 4242/udp from same user six unpublished to outside over v4
    same any   4242/tcp 4242/udp from six to outside over v6
    same open  names    from same user to outside over v4
    same open  names    from user to user-unpublished over v4
    same open  9000/tcp from same to inner unpublished over v4
    same open  9000/tcp from user to user-unpublished over v4
    same open  9000/tcp from six to six-unpublished over v4 v6
    same any   9000/tcp from user to same six over v4
    same any   9000/tcp from user to unpublished over v4
    same any   9000/tcp from unpublished to user over v4
",
};

pub const TO_THEIR_HOST: Section = Section {
    title: "The same policy: from containers to their host, published ports of their own and of other networks included",
    policy: POLICY,
    rows: "
    allowed open 22/tcp            from same to host gateway:same over v4
    allowed open 22/tcp            from user to host gateway:user over v4
    allowed open 22/tcp            from six to host over v4
    allowed open 22/tcp            from six to host gateway:six over v6
    denied  open 80/tcp 9900/tcp   from same user six to host over v4
    denied  open 80/tcp 9900/tcp   from six to host over v6
    denied  any  9000/tcp          from same to host gateway:same over v4
    denied  any  9010/tcp          from same to host gateway:same over v4
    denied  any  9000/tcp 9010/tcp from unpublished to host gateway:same over v4
    denied  any  9000/tcp 9010/tcp from user six to host over v4
    denied  any  9500/tcp          from user to host over v4
    denied  any  9500/tcp          from user-unpublished to host over v4
    denied  any  9500/tcp          from same to host over v4
    denied  any  9600/tcp          from six to host over v4
    denied  any  9600/tcp          from six-unpublished to host over v4
    denied  any  9600/tcp          from same to host over v4
    denied  any  9600/tcp          from six to host over v6
    denied  any  9600/tcp          from six-unpublished to host over v6
    denied  any  9000/tcp 9500/tcp from six to host over v6
    denied  any  9400/udp          from same to host over v4
    denied  any  9400/udp          from user to host over v4
",
};

pub const OTHER_PORT: Section = Section {
    title: "9010, which leads to a container's port 80, is open to any; 9600 to one address of IPv6 only",
    policy: "version: 1
services:
  other: { ports: 9010/tcp, from: any }
  six: { ports: 9600/tcp, from: \"2001:db8::9\" }
",
    rows: "
    allowed open  9010/tcp from trusted out neighbour to host over v4
    allowed proxy 9010/tcp from trusted out neighbour to host over v6
    same    any   9010/tcp from other to host gateway:same over v4
    same    any   9010/tcp from same to host gateway:same over v4
    same    any   9010/tcp from user six to host over v4
    same    any   9010/tcp from six to host over v6
    denied  open  80/tcp   from trusted out to host over v4 v6
    denied  any   80/tcp   from trusted out to other over v4
    denied  open  9000/tcp 9100/tcp from trusted to host over v4
    allowed proxy 9600/tcp from trusted to host over v6
    denied  proxy 9600/tcp from out to host over v6
    denied  open  9600/tcp from trusted out to host over v4
",
};

pub const CONTAINERS_PORT: Section = Section {
    title: "80 is open to any, the port of a container that is published as 9010",
    policy: "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n",
    rows: "
    allowed open  80/tcp   from trusted out to host over v4 v6
    denied  open  9010/tcp from trusted out to host over v4
    denied  proxy 9010/tcp from trusted out to host over v6
    denied  any   80/tcp   from trusted out to other over v4
",
};

pub const FROM_CONTAINERS: Section = Section {
    title: "80, 9000 and 9500 are open to containers",
    policy: "version: 1
services:
  own: { ports: [80/tcp, 9000/tcp, 9500/tcp], from: [containers] }
",
    rows: "
    allowed open  80/tcp            from same user six to host over v4
    allowed open  80/tcp            from six to host over v6
    same    any   9000/tcp          from same to host gateway:same over v4
    same    any   9000/tcp          from unpublished to host gateway:same over v4
    same    any   9000/tcp          from user six to host over v4
    same    any   9500/tcp          from user to host over v4
    same    any   9500/tcp          from user-unpublished to host over v4
    same    any   9500/tcp          from same to host over v4
    denied  any   9010/tcp 9100/tcp from same to host over v4
    denied  open  22/tcp 9900/tcp   from same user six to host over v4
    denied  open  80/tcp 9000/tcp 9500/tcp from trusted out neighbour to host over v4
    denied  open  80/tcp            from trusted out to host over v6
    denied  proxy 9000/tcp 9500/tcp from trusted out to host over v6
",
};

pub const HOST_ALLOWED: Section = Section {
    title: "containers: { host: allow }, and 9000 is open to one address of IPv4 only",
    policy: "version: 1
containers: { host: allow }
services:
  dashboard: { ports: 9000/tcp, from: 203.0.113.9 }
",
    rows: "
    same    open  22/tcp 80/tcp 9900/tcp from same user six to host over v4
    same    open  22/tcp 80/tcp 9900/tcp from six to host over v6
    same    any   9000/tcp               from same to host gateway:same over v4
    same    any   9000/tcp 9010/tcp      from unpublished to host gateway:same over v4
    same    any   9000/tcp 9010/tcp      from user six to host over v4
    same    any   9500/tcp               from user to host over v4
    same    any   9500/tcp               from user-unpublished to host over v4
    same    any   9600/tcp               from six to host over v4
    same    any   9600/tcp               from six-unpublished to host over v4
    same    any   9600/tcp               from six to host over v6
    same    any   9600/tcp               from six-unpublished to host over v6
    same    any   9400/udp               from same to host over v4
    allowed open  9000/tcp               from trusted to host over v4
    denied  proxy 9000/tcp               from trusted out to host over v6
    denied  open  9000/tcp               from out neighbour to host over v4
    denied  open  22/tcp 80/tcp 9900/tcp from trusted out to host over v4 v6
    denied  open  9010/tcp 9500/tcp      from trusted out to host over v4
",
};

pub const OUTGOING_DENIED: Section = Section {
    title: "containers: { outgoing: deny }, and 9000 is open to any",
    policy: "version: 1
containers: { outgoing: deny }
services:
  dashboard: { ports: 9000/tcp, from: any }
",
    rows: "
    denied  open  4242/tcp 4242/udp from same user six unpublished to outside over v4
    denied  any   4242/tcp 4242/udp from six to outside over v6
    denied  open  names    from same to outside over v4
    same    open  names    from user to user-unpublished over v4
    same    open  9000/tcp from same to inner unpublished over v4
    same    open  9000/tcp from user to user-unpublished over v4
    same    open  9000/tcp from six to six-unpublished over v4 v6
    same    open  9000/tcp 9010/tcp from host to loopback host over v4
    allowed open  9000/tcp from trusted out neighbour to host over v4
    allowed proxy 9000/tcp from trusted out neighbour to host over v6
    denied  open  9010/tcp from trusted out to host over v4
",
};

pub const CAME_LATER: Section = Section {
    title: "The first policy again, a network and a container made after it was applied",
    policy: POLICY,
    rows: "
    denied any 9950/tcp          from trusted out neighbour to host over v4
    denied any 9950/tcp          from trusted out neighbour to host over v6
    denied any 9000/tcp          from trusted out neighbour to later over v4
    same   any 4242/tcp 4242/udp from later to outside over v4
",
};

pub const AWAY: Section = Section {
    title: "The first policy again, while all containers are stopped, and Docker's daemon with them",
    policy: POLICY,
    rows: "
    allowed open  22/tcp                                       from trusted out to host over v4 v6
    denied  open  9000/tcp                                     from out to host over v4
    denied  proxy 9000/tcp                                     from out to host over v6
    denied  open  9010/tcp 9100/tcp 9500/tcp 9600/tcp 9700/tcp from trusted out to host over v4
    denied  proxy 9010/tcp 9100/tcp 9500/tcp                   from trusted out to host over v6
    denied  open  9301/tcp 9302/tcp 9303/tcp 9400/udp          from trusted out to host over v4
",
};

pub const AWAY_LIVING: Section = Section {
    title: "The first policy again, while Docker's daemon is stopped and its containers live",
    policy: POLICY,
    rows: "
    allowed open  22/tcp                                       from trusted out to host over v4 v6
    denied  open  9000/tcp                                     from out to host over v4
    denied  proxy 9000/tcp                                     from out to host over v6
    denied  open  9010/tcp 9100/tcp 9500/tcp 9600/tcp 9700/tcp from trusted out to host over v4
    denied  proxy 9010/tcp 9100/tcp 9500/tcp                   from trusted out to host over v6
    denied  open  9301/tcp 9302/tcp 9303/tcp 9400/udp          from trusted out to host over v4
",
};

/// All, in the order of the table.
pub const SECTIONS: [Section; 11] = [
    FROM_OUTSIDE,
    FROM_INSIDE,
    TO_THEIR_HOST,
    OTHER_PORT,
    CONTAINERS_PORT,
    FROM_CONTAINERS,
    HOST_ALLOWED,
    OUTGOING_DENIED,
    CAME_LATER,
    AWAY,
    AWAY_LIVING,
];

/// Columns of the table: an engine's version, and how it is set. `proxy` and `direct`: Docker with its userland proxy and
/// without; `legacy`: with iptables that nf_tables does not list; `no-rules`: with `"iptables": false`. Those of 29.7 are
/// replayed from recordings, with each backend.
pub const COLUMNS: [&str; 12] = [
    "20.10 proxy",
    "20.10 direct",
    "20.10 legacy",
    "20.10 no-rules",
    "26.1 proxy",
    "26.1 direct",
    "28 proxy",
    "28 direct",
    "28 no-rules",
    "Podman 4.3",
    "29.7 iptables",
    "29.7 nftables",
];

/// With ufw enabled, which allows 22 and nothing else, and is asked by nobody about published ports.
pub const BESIDE_UFW: Section = Section {
    title: "22 is open to any, 9000 to the trusted, in palisade; 22 in ufw, which has no line that a published port obeys",
    policy: POLICY,
    rows: "
    allowed open   22/tcp                                       from trusted out to host over v4 v6
    allowed open   9000/tcp                                     from trusted to host over v4
    denied  open   9000/tcp                                     from out to host over v4
    denied  open   9010/tcp 9100/tcp 9302/tcp 9500/tcp 9600/tcp from trusted out to host over v4
    denied  open   9400/udp 9700/tcp                            from trusted out to host over v4
    denied  any    9600/tcp                                     from trusted out to host over v6
    denied  closed 80/tcp 9900/tcp                              from trusted out to host over v4 v6
    denied  closed 9010/tcp 9500/tcp                            from trusted out to host over v6
    same    open   4242/tcp 4242/udp                            from same user six to outside over v4
    same    open   9000/tcp                                     from user to user-unpublished over v4
    same    open   9000/tcp 9010/tcp                            from host to loopback host over v4
    denied  any    9000/tcp 9010/tcp                            from same user to host over v4
",
};

pub const COLUMNS_BESIDE_UFW: [&str; 2] = ["20.10 ufw", "28 ufw"];
