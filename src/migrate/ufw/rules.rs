//! `user.rules` and `user6.rules`: the rules' comments, and the lines that the kernel gets of each.

use super::tuples::MARK;
use crate::migrate::tuple::{Action, Log, Protocol, Tuple, Way};
use crate::net::Version;
use std::collections::BTreeMap;

/// What a file of rules holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// The rules in their order.
    pub(super) tuples: Vec<Tuple>,
    /// Those whose lines for the kernel are others than ufw would write, by index: what is missing.
    pub(super) changed: BTreeMap<usize, Vec<String>>,
    /// Rules that ufw skips: line, text, why.
    pub(super) malformed: Vec<(usize, String, String)>,
    /// Rules that no packet matches.
    pub(super) of_nobody: Vec<Tuple>,
    /// Lines for the kernel that ufw did not write.
    pub(super) by_hand: Vec<(usize, String)>,
}

/// Reads one of the files.
pub(super) fn read(text: &str, version: Version) -> Rules {
    let mut rules = Rules::default();
    let mut inside = false;
    // What the kernel should still get of the rule that was read last.
    let (mut expected, mut of_nobody): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        match line {
            "### RULES ###" => inside = true,
            "### END RULES ###" => break,
            _ if !inside => {}
            _ if line.starts_with(MARK) => {
                rules.close(&mut expected);
                match super::tuples::read(line.get(MARK.len()..).unwrap_or_default(), number, version) {
                    Ok(tuple) if tuple.is_of_nobody() => {
                        of_nobody.extend(lines_of(&tuple));
                        rules.of_nobody.push(tuple);
                    }
                    Ok(tuple) => {
                        expected = lines_of(&tuple);
                        rules.tuples.push(tuple);
                    }
                    Err(why) => rules.malformed.push((number, line.to_owned(), why)),
                }
            }
            _ if line.starts_with("-A") || line.starts_with("-I") => {
                let plain = plain(line);
                if plain.contains("-user-logging-") {
                    continue;
                }
                match expected.iter().position(|line| *line == plain) {
                    Some(at) => {
                        expected.remove(at);
                    }
                    None if of_nobody.contains(&plain) => {}
                    None => rules.by_hand.push((number, line.to_owned())),
                }
            }
            _ => {}
        }
    }
    rules.close(&mut expected);
    rules
}

impl Rules {
    fn close(&mut self, expected: &mut Vec<String>) {
        let missing = std::mem::take(expected);
        if let Some(last) = self.tuples.len().checked_sub(1)
            && !missing.is_empty()
        {
            self.changed.insert(last, missing);
        }
    }
}

/// A line for the kernel without what differs between releases and changes nothing.
fn plain(line: &str) -> String {
    let line = line.split(" -m comment --comment ").next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    line.replace(" -m state --state NEW", " -m conntrack --ctstate NEW").replace(" --reject-with tcp-reset", "")
}

/// The lines that ufw writes below a rule, without those that log.
fn lines_of(tuple: &Tuple) -> Vec<String> {
    let chain = match tuple.way {
        Way::In => "input",
        Way::Out => "output",
        Way::Routed => "forward",
    };
    let ufw = if tuple.version == Version::V4 { "ufw" } else { "ufw6" };
    let begin = format!("-A {ufw}-user-{chain}");
    let protocols: &[&str] = match tuple.protocol {
        Protocol::Any if tuple.ports.is_empty() && tuple.sender_ports.is_empty() => &[""],
        Protocol::Any => &["tcp", "udp"],
        protocol => &[protocol.name()],
    };
    protocols
        .iter()
        .flat_map(|protocol| verdicts(tuple, ufw, &format!("{begin}{}", matches(tuple, protocol))))
        .collect()
}

/// What a line asks before its verdict.
fn matches(tuple: &Tuple, protocol: &str) -> String {
    let mut line = String::new();
    let mut add = |option: &str, value: &str| line.push_str(&format!(" {option} {value}"));
    let interface = |name: &crate::net::IfPattern| format!("{}{}", name.name, if name.wildcard { "+" } else { "" });
    if let Some(name) = &tuple.incoming {
        add("-i", &interface(name));
    }
    if let Some(name) = &tuple.outgoing {
        add("-o", &interface(name));
    }
    if !protocol.is_empty() {
        add("-p", protocol);
    }
    let (asked, senders) = (ports(&tuple.ports), ports(&tuple.sender_ports));
    let several = asked.contains([',', ':']) || senders.contains([',', ':']);
    if several && !asked.is_empty() {
        add("-m multiport --dports", &asked);
    }
    if several && !senders.is_empty() {
        add("-m multiport --sports", &senders);
    }
    if !tuple.is_any_destination() {
        add("-d", &tuple.to.text);
    }
    if !several && !asked.is_empty() {
        add("--dport", &asked);
    }
    if !tuple.is_any_source() {
        add("-s", &tuple.from.text);
    }
    if !several && !senders.is_empty() {
        add("--sport", &senders);
    }
    line
}

fn verdicts(tuple: &Tuple, ufw: &str, line: &str) -> Vec<String> {
    match tuple.action {
        Action::Allow => vec![format!("{line} -j ACCEPT")],
        Action::Deny => vec![format!("{line} -j DROP")],
        Action::Reject => vec![format!("{line} -j REJECT")],
        Action::Limit => {
            let new = format!("{line} -m conntrack --ctstate NEW -m recent");
            vec![
                format!("{new} --set"),
                format!("{new} --update --seconds 30 --hitcount 6 -j {ufw}-user-limit"),
                format!("{line} -j {ufw}-user-limit-accept"),
            ]
        }
    }
}

/// Ports as ufw and iptables write them; empty: all.
pub(super) fn ports(ports: &[(u16, u16)]) -> String {
    let one = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}:{last}") };
    ports.iter().map(one).collect::<Vec<_>>().join(",")
}

/// The rule as `ufw show added` prints it. `has_profile`: its ports are those of a profile.
pub(super) fn as_added(tuple: &Tuple) -> String {
    let mut text = format!("ufw {}{}", if tuple.way == Way::Routed { "route " } else { "" }, tuple.action.name());
    let log = match tuple.log {
        Log::No => "",
        Log::New => " log",
        Log::All => " log-all",
    };
    let quoted = |name: &str| if name.contains(' ') { format!("'{name}'") } else { name.to_owned() };
    let interface = |name: &crate::net::IfPattern| format!("{}{}", name.name, if name.wildcard { "+" } else { "" });
    let is_short = tuple.is_any_source()
        && tuple.is_any_destination()
        && tuple.sender_ports.is_empty()
        && tuple.sender_profile.is_none()
        && tuple.incoming.is_none()
        && tuple.outgoing.is_none()
        && !tuple.ports.is_empty();
    if is_short {
        text.push_str(if tuple.way == Way::Out { " out" } else { "" });
        text.push_str(log);
        match (&tuple.profile, tuple.protocol) {
            (Some(name), _) => text.push_str(&format!(" {}", quoted(name))),
            (None, Protocol::Any) => text.push_str(&format!(" {}", ports(&tuple.ports))),
            (None, protocol) => text.push_str(&format!(" {}/{}", ports(&tuple.ports), protocol.name())),
        }
    } else {
        if let Some(name) = &tuple.incoming {
            text.push_str(&format!(" in on {}", interface(name)));
        }
        match &tuple.outgoing {
            Some(name) => text.push_str(&format!(" out on {}", interface(name))),
            None if tuple.way == Way::Out => text.push_str(" out"),
            None => {}
        }
        text.push_str(log);
        text.push_str(&sides(tuple, quoted));
        if tuple.protocol != Protocol::Any && tuple.profile.is_none() && tuple.sender_profile.is_none() {
            text.push_str(&format!(" proto {}", tuple.protocol.name()));
        }
    }
    if let Some(comment) = &tuple.comment {
        text.push_str(&format!(" comment '{comment}'"));
    }
    text
}

/// `from` and `to` of a rule in ufw's long form.
fn sides(tuple: &Tuple, quoted: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let sides = [
        ("from", &tuple.from, tuple.is_any_source(), &tuple.sender_ports, &tuple.sender_profile),
        ("to", &tuple.to, tuple.is_any_destination(), &tuple.ports, &tuple.profile),
    ];
    for (word, place, is_any, of, profile) in sides {
        if is_any && of.is_empty() && profile.is_none() {
            continue;
        }
        text.push_str(&format!(" {word} {}", if is_any { "any" } else { &place.text }));
        match profile {
            Some(name) => text.push_str(&format!(" app {}", quoted(name))),
            None if !of.is_empty() => text.push_str(&format!(" port {}", ports(of))),
            None => {}
        }
    }
    if text.is_empty() && tuple.incoming.is_none() && tuple.outgoing.is_none() {
        text.push_str(" to any");
    }
    text
}
