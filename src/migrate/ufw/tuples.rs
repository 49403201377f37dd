//! The comments in which ufw keeps its rules: `### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in`.

use crate::migrate::tuple::{Action, Log, Place, Protocol, Tuple, Way, interface};
use crate::net::{IfPattern, Version};
use crate::printable::printable;

/// What stands before the fields of a rule.
pub(super) const MARK: &str = "### tuple ###";
/// How many ports one rule can have; a range counts as two.
const MOST_PORTS: usize = 15;

/// Reads what stands behind the mark. `Err` is why ufw skips the line.
pub(super) fn read(text: &str, line: usize, version: Version) -> Result<Tuple, String> {
    let (fields, comment) = match text.split_once(" comment=") {
        Some((fields, hex)) => (fields, Some(of_hex(hex.trim())).filter(|comment| !comment.is_empty())),
        None => (text, None),
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (first, profiles, place) = match fields.as_slice() {
        [first @ .., dapp, sapp] if first.len() == 6 => (first, Some((*dapp, *sapp)), None),
        [first @ .., dapp, sapp, place] if first.len() == 6 => (first, Some((*dapp, *sapp)), Some(*place)),
        [first @ .., place] if first.len() == 6 => (first, None, Some(*place)),
        first if first.len() == 6 => (first, None, None),
        other => return Err(format!("it has {} fields, and a rule has 6 to 9", other.len())),
    };
    let [action, protocol, ports, to, sender_ports, from] = first else {
        return Err("it has too few fields".to_owned());
    };
    let (routed, action) = action.strip_prefix("route:").map_or((false, *action), |rest| (true, rest));
    let (action, log) = action_of(action).ok_or_else(|| format!("`{}` is no action", printable(action)))?;
    let protocol = Protocol::read(protocol).ok_or_else(|| format!("`{}` is no protocol", printable(protocol)))?;
    let read_ports = |text: &str| ports_of(text).ok_or_else(|| format!("`{}` is no port", printable(text)));
    let (ports, sender_ports) = (read_ports(ports)?, read_ports(sender_ports)?);
    let is_list = |ports: &[(u16, u16)]| ports.len() > 1 || ports.iter().any(|(first, last)| first != last);
    match protocol {
        Protocol::Other(..) if !ports.is_empty() || !sender_ports.is_empty() => {
            return Err(format!("{} has no ports", protocol.name()));
        }
        Protocol::Any if is_list(&ports) || is_list(&sender_ports) => {
            return Err("a list or a range of ports takes `tcp` or `udp`".to_owned());
        }
        _ => {}
    }
    let address = |text: &str| {
        Place::read(text, version).ok_or_else(|| format!("`{}` is no {version} address", printable(text)))
    };
    let (to, from) = (address(to)?, address(from)?);
    let (way, incoming, outgoing) = way_of(place.unwrap_or("in"), routed)?;
    let name = |text: &str| Some(text.replace("%20", " ")).filter(|name| name != "-");
    let (profile, sender_profile) = profiles.map_or((None, None), |(profile, sender)| (name(profile), name(sender)));
    Ok(Tuple {
        line,
        place: format!("{}:{line}", if version == Version::V4 { "user.rules" } else { "user6.rules" }),
        version,
        way,
        action,
        log,
        protocol,
        ports,
        to,
        sender_ports,
        from,
        profile,
        sender_profile,
        incoming,
        outgoing,
        comment,
    })
}

fn action_of(text: &str) -> Option<(Action, Log)> {
    let (name, log) = match text.split_once('_') {
        None => (text, Log::No),
        Some((name, "log")) => (name, Log::New),
        Some((name, "log-all")) => (name, Log::All),
        Some(_) => return None,
    };
    let all = [Action::Allow, Action::Deny, Action::Reject, Action::Limit];
    all.into_iter().find(|action| action.name() == name).map(|action| (action, log))
}

fn ports_of(text: &str) -> Option<Vec<(u16, u16)>> {
    if text == "any" {
        return Some(Vec::new());
    }
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| is_plain && *port > 0)
    };
    let one = |item: &str| match item.split_once(':') {
        None => number(item).map(|port| (port, port)),
        Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first < last),
    };
    let all: Option<Vec<(u16, u16)>> = text.split(',').map(one).collect();
    all.filter(|all| all.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum::<usize>() <= MOST_PORTS)
}

type Ways = (Way, Option<IfPattern>, Option<IfPattern>);

fn way_of(text: &str, routed: bool) -> Result<Ways, String> {
    let name = |text: &str| interface(text).ok_or_else(|| format!("`{}` is no interface", printable(text)));
    let (direction, incoming, outgoing) = match text.split_once('_') {
        None => (text, None, None),
        Some((direction, names)) => match names.split_once('!') {
            Some((incoming, outgoing)) => {
                let outgoing = outgoing.strip_prefix("out_").unwrap_or(outgoing);
                (direction, Some(name(incoming)?), Some(name(outgoing)?))
            }
            None if direction == "in" => (direction, Some(name(names)?), None),
            None => (direction, None, Some(name(names)?)),
        },
    };
    let way = match direction {
        "in" | "out" if routed => Way::Routed,
        "in" => Way::In,
        "out" => Way::Out,
        other => return Err(format!("`{}` is no direction", printable(other))),
    };
    Ok((way, incoming, outgoing))
}

/// The text of a comment: UTF-8 as hexadecimal digits. As ufw does, leaves out a last digit without its other half.
fn of_hex(hex: &str) -> String {
    let digits: Vec<u32> = hex.chars().map_while(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect();
    crate::printable::printable_bytes(&bytes)
}
