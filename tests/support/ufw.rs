//! ufw's files as ufw writes them, for tests: made of rules, and nothing of palisade's translator.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::fmt::Write;

/// A rule of one IP version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub six: bool,
    pub action: &'static str,
    pub log: &'static str,
    pub protocol: &'static str,
    /// `any`, or ports as ufw writes them.
    pub ports: String,
    pub to: String,
    pub sender_ports: String,
    pub from: String,
    /// `in`, `in_eth0`.
    pub place: String,
}

pub fn anywhere(six: bool) -> &'static str {
    if six { "::/0" } else { "0.0.0.0/0" }
}

impl Rule {
    /// The fields of its comment.
    pub fn tuple(&self) -> String {
        let Self { action, log, protocol, ports, to, sender_ports, from, place, .. } = self;
        format!("{action}{log} {protocol} {ports} {to} {sender_ports} {from} {place}")
    }
}

/// A file of rules: each tuple, and below it what ufw tells the kernel.
pub fn rules_file(tuples: &[&str], six: bool) -> String {
    let mut text = String::from("*filter\n:ufw-user-input - [0:0]\n### RULES ###\n");
    for tuple in tuples {
        let _ = writeln!(text, "\n### tuple ### {tuple}");
        for line in kernel_lines(tuple, six) {
            let _ = writeln!(text, "{line}");
        }
    }
    text.push_str("\n### END RULES ###\n\n### LOGGING ###\n### END LOGGING ###\nCOMMIT\n");
    text
}

/// What the kernel gets of a tuple; nothing of one that ufw skips.
pub fn kernel_lines(tuple: &str, six: bool) -> Vec<String> {
    let fields: Vec<&str> = tuple.split(" comment=").next().unwrap_or_default().split_whitespace().collect();
    if fields.len() < 6 {
        return Vec::new();
    }
    let (routed, action) = fields[0].strip_prefix("route:").map_or((false, fields[0]), |rest| (true, rest));
    let action = action.split('_').next().unwrap_or_default();
    let place = if fields.len() % 2 == 1 { fields[fields.len() - 1] } else { "in" };
    let (way, names) = place.split_once('_').unwrap_or((place, ""));
    let chain = if routed {
        "forward"
    } else if way == "out" {
        "output"
    } else {
        "input"
    };
    let ufw = if six { "ufw6" } else { "ufw" };
    let mut ends = String::new();
    match names.split_once("!out_") {
        Some((incoming, outgoing)) => ends = format!(" -i {incoming} -o {outgoing}"),
        None if names.is_empty() => {}
        None => ends.push_str(&format!(" -{} {names}", if way == "out" { 'o' } else { 'i' })),
    }
    let (ports, to, senders, from) = (fields[2], fields[3], fields[4], fields[5]);
    let has_ports = ports != "any" || senders != "any";
    let protocols: &[&str] = match fields[1] {
        "any" if has_ports => &["tcp", "udp"],
        "any" => &[""],
        one => &[one],
    };
    let mut lines = Vec::new();
    for protocol in protocols {
        let line = format!("-A {ufw}-user-{chain}{ends}{}", asked(protocol, [ports, to, senders, from], six));
        let new = "-m conntrack --ctstate NEW -m recent";
        match action {
            "allow" => lines.push(format!("{line} -j ACCEPT")),
            "deny" => lines.push(format!("{line} -j DROP")),
            "reject" => lines.push(format!("{line} -j REJECT")),
            _ => lines.extend([
                format!("{line} {new} --set"),
                format!("{line} {new} --update --seconds 30 --hitcount 6 -j {ufw}-user-limit"),
                format!("{line} -j {ufw}-user-limit-accept"),
            ]),
        }
    }
    lines
}

/// `/etc/default/ufw` with these policies.
pub fn defaults(incoming: &str, outgoing: &str, forward: &str, six: bool) -> String {
    let six = if six { "yes" } else { "no" };
    format!(
        "IPV6={six}\nDEFAULT_INPUT_POLICY=\"{incoming}\"\nDEFAULT_OUTPUT_POLICY=\"{outgoing}\"\n\
         DEFAULT_FORWARD_POLICY=\"{forward}\"\nDEFAULT_APPLICATION_POLICY=\"SKIP\"\nMANAGE_BUILTINS=no\n\
         IPT_SYSCTL=/etc/ufw/sysctl.conf\nIPT_MODULES=\"\"\n"
    )
}

/// `/etc/ufw/ufw.conf`.
pub const CONF: &str = "ENABLED=yes\nLOGLEVEL=low\n";

/// The lines of `before.rules` and `before6.rules` that decide about pings.
pub const BEFORE: [(&str, &str); 2] = [
    ("etc/ufw/before.rules", "*filter\n-A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT\nCOMMIT\n"),
    (
        "etc/ufw/before6.rules",
        "*filter\n-A ufw6-before-input -p icmpv6 --icmpv6-type echo-request -j ACCEPT\nCOMMIT\n",
    ),
];

/// What a line asks of the packet: its protocol, ports and addresses.
fn asked(protocol: &str, [ports, to, senders, from]: [&str; 4], six: bool) -> String {
    let mut line = String::new();
    if !protocol.is_empty() {
        let _ = write!(line, " -p {protocol}");
    }
    let several = ports.contains([',', ':']) || senders.contains([',', ':']);
    for (option, value) in [("--dports", ports), ("--sports", senders)] {
        if several && value != "any" {
            let _ = write!(line, " -m multiport {option} {value}");
        }
    }
    for (option, value, port_option, port) in [("-d", to, "--dport", ports), ("-s", from, "--sport", senders)] {
        if value != anywhere(six) {
            let _ = write!(line, " {option} {value}");
        }
        if !several && port != "any" {
            let _ = write!(line, " {port_option} {port}");
        }
    }
    line
}
