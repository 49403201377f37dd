//! Keys and values that other firewalls have, and what they are called here.

use super::keys::{self, Section};
use super::yaml::is_truth;

/// What a key of another firewall is here.
pub(super) struct Elsewhere {
    pub(super) help: String,
    /// The key of this section that is meant. What stands behind the other key is taken for its value, so that the key is
    /// not said to be missing as well.
    pub(super) means: Option<&'static str>,
}

/// Its other names, then what to say. A key that is only named otherwise says so in `KEYS_HERE`.
type Told = (&'static [&'static str], &'static str);

const AT_TOP: &[Told] = &[
    (&["masquerade", "snat"], "did you mean `nat`?"),
    (&["dnat", "redirect", "port_forward"], FORWARD_TO),
    (&["out", "egress", "output"], "did you mean `outgoing`?"),
    (&["routes", "routed"], "did you mean `forward`?"),
    (
        &["zones", "zone", "interfaces"],
        "a zone is a group of interfaces: `groups: { lan: { interface: eth1 } }` stands in `from` and in `to`",
    ),
    (
        &["allow", "rules", "ports", "open"],
        "ports that may be reached belong to `services`, connections that this machine opens to `outgoing`",
    ),
    (&["in", "ingress", "input", "incoming"], "who may reach which port is a line of `services`"),
    (
        &["deny", "drop", "blacklist", "blocklist", "denylist", "ban", "banned"],
        "who is to be dropped whatever the services say stands in `block`",
    ),
    (
        &["whitelist", "allowlist", "trusted"],
        "give them a name in `groups`, and write that name in the `from` of each service that they may reach",
    ),
    (
        &["ipv6", "ipv4", "ip6", "ip4"],
        "there is nothing to switch: every line holds for IPv4 and IPv6 alike, and `any` is both",
    ),
    (
        &["docker", "podman", "container"],
        "there is nothing to switch: ports that containers publish obey `services`; what containers may call is told by \
         `containers` and `outgoing`",
    ),
    (
        &["policy", "target", "default_policy"],
        "what no line speaks of is told by `defaults`, for each direction: `incoming`, `outgoing` and `forward`",
    ),
];

const IN_SERVICE: &[Told] = &[
    (&["dnat", "redirect", "port_forward", "target"], FORWARD_TO),
    (&["proto", "protocol", "protocols"], "the protocol stands behind each port: `ports: 80/tcp`"),
    (
        &["enabled", "disabled", "enable", "disable", "state"],
        "what is written is in force: to leave a line out, put a `#` before it",
    ),
    (
        &["container", "containers", "image"],
        "palisade finds the container by itself: `ports` is the port that the outside connects to",
    ),
    (
        &["priority", "order", "position", "insert"],
        "the order means nothing: denials come first, then what allows, then the default",
    ),
    (
        &["until", "expires", "for", "timeout"],
        "no line ends by itself; for a time one lets an address in: write `{ temporary: 12h }` in a group, and run \
         `palisade allow`",
    ),
    (&["country", "countries", "geoip"], COUNTRY),
    (&["schedule", "time", "hours", "days"], "palisade has no times of the day: a timer could apply another policy"),
    (&["source_port", "sport", "source-port"], "who sends chooses that port: no line can trust it"),
    (&["mac"], MAC),
];

const IN_PEER: &[Told] = &[
    (&["url", "http", "https"], URL),
    (&["country", "countries", "geoip", "asn"], COUNTRY),
    (&["mac"], MAC),
    (&["address", "ip", "addresses", "network", "cidr"], "addresses need no braces: `192.0.2.1`, `192.0.2.0/24`"),
    (&["group", "ipset", "set"], "a group needs no braces: its name alone"),
    (&["until", "expires", "for"], "did you mean `temporary`?"),
    (&["container", "network"], "containers are `containers`, or `{ interface: BRIDGE }` for those of one network"),
];

/// What a port forward is.
const FORWARD_TO: &str = "a port forward is `forward_to: ADDRESS` in a service";
const COUNTRY: &str = "palisade knows no countries: let a timer fetch a list of networks (`Lists from elsewhere` in \
                       docs/operations.md), and name the file: `{ file: PATH }`";
const MAC: &str = "palisade tells senders by their addresses, since whoever sends chooses the MAC; `{ interface: NAME }` is \
                   all who come in there";
const URL: &str = "lists are not fetched: let a timer fetch it (`Lists from elsewhere` in docs/operations.md), and name the \
                   file: `{ file: PATH }`";

/// Other names of a section's keys, and the key.
const KEYS_HERE: &[(&str, &[&str])] = &[
    ("from", &["source", "sources", "src", "allow", "allow_from", "who", "peers", "clients"]),
    ("to", &["destination", "destinations", "dest", "dst"]),
    ("on", &["interface", "interfaces", "iface", "in_interface", "dev"]),
    ("limit", &["rate", "rate_limit", "ratelimit", "throttle"]),
    ("except", &["exclude", "excluding", "deny", "deny_from"]),
    ("comment", &["description", "desc", "note", "title"]),
    ("ports", &["dport", "dports", "port", "service"]),
    ("as", &["to_source", "snat_to"]),
    ("incoming", &["input", "in", "ingress", "inbound"]),
    ("outgoing", &["output", "out", "egress", "outbound"]),
    ("forward", &["routed", "forwarding"]),
    ("ping", &["icmp", "echo"]),
    ("interface", &["iface", "on", "dev"]),
    ("dns", &["host", "hostname", "name", "domain"]),
    ("file", &["path", "list"]),
];

/// The remedy for a key that has another name, or another place, in this language.
pub(super) fn elsewhere(section: &Section, name: &str) -> Option<Elsewhere> {
    let is = |other: &Section| section.what == other.what;
    let told = if is(&keys::POLICY) {
        AT_TOP
    } else if is(&keys::PEER) {
        IN_PEER
    } else if [&keys::SERVICE, &keys::OUTGOING, &keys::FORWARD].into_iter().any(is) {
        IN_SERVICE
    } else {
        &[]
    };
    let told = told.iter().find(|(names, _)| names.contains(&name));
    if let Some((_, help)) = told {
        return Some(Elsewhere { help: (*help).to_owned(), means: None });
    }
    if is(&keys::EXPECTATION) && ["port", "ports", "service", "allowed", "denied", "open", "shut"].contains(&name) {
        let help = "an expectation says `allow: 22/tcp` or `deny: 22/tcp`, and `from` whom";
        return Some(Elsewhere { help: help.to_owned(), means: None });
    }
    // At the top a section is named, in which such a word means something else.
    let (key, _) = KEYS_HERE
        .iter()
        .filter(|_| !is(&keys::POLICY))
        .find(|(key, others)| section.names().any(|known| known == *key) && others.contains(&name))?;
    Some(Elsewhere { help: format!("did you mean `{key}`?"), means: Some(key) })
}

/// What to write in the place of a single value where a section's keys belong, if the value tells what is meant.
pub(super) fn instead(section: &Section, text: &str) -> Option<String> {
    let is = |other: &Section| section.what == other.what;
    if is(&keys::LOG) {
        let rate = if is_truth(text) && !["false", "no", "off", "n"].contains(&text.to_ascii_lowercase().as_str()) {
            "10/minute"
        } else {
            "off"
        };
        return Some(format!("write `log: {{ denied: {rate} }}`"));
    }
    if is(&keys::DEFAULTS) && ["deny", "reject", "drop"].contains(&text) {
        let action = if text == "drop" { "deny" } else { text };
        return Some(format!("write `defaults: {{ incoming: {action} }}`; `outgoing` and `forward` have their own"));
    }
    if is(&keys::SERVICE) && text.contains('/') {
        return Some(format!(
            "write `{{ ports: {text}, from: GROUP }}`, with who may reach it in the place of `GROUP`"
        ));
    }
    if is(&keys::EXPECTATION) {
        return Some(
            "write such as `{ deny: 22/tcp, from: any }` or `{ allow: 22/tcp, from: 192.0.2.1 }`".to_owned(),
        );
    }
    if is(&keys::NAT) && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some(format!(
            "write `{{ from: 192.168.10.0/24, to: {{ interface: {text} }} }}`, with the network whose addresses are translated"
        ));
    }
    None
}

/// What to write in the place of a single word where rules with names belong.
pub(super) fn default_instead(section: &str, text: &str) -> Option<String> {
    let action = match text {
        "deny" | "drop" => "deny",
        "allow" | "accept" => "allow",
        "reject" => "reject",
        _ => return None,
    };
    ["outgoing", "forward"].contains(&section).then(|| {
        format!("its rules stand there, each with a name; what none speaks of is told by `defaults: {{ {section}: {action} }}`")
    })
}
