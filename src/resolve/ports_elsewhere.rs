//! Ports as other programs write them, and how they are written here.

use crate::net::Transport;
use crate::policy::{Fault, quote};

/// The protocols of `53/both` and its like.
const BOTH: [&str; 9] = ["tcp+udp", "udp+tcp", "tcp,udp", "udp,tcp", "tcp/udp", "udp/tcp", "both", "any", "all"];

/// The fault of an item that is written as iptables, ufw or Docker would write it; `None` if it is none of these.
pub(super) fn written_elsewhere(text: &str) -> Option<Fault> {
    let (ports, protocol) = text.split_once('/').map_or((text, None), |(ports, rest)| (ports, Some(rest)));
    if protocol.is_some_and(|protocol| BOTH.contains(&protocol.to_ascii_lowercase().as_str())) && is_ports(ports) {
        return Some(
            Fault::new(format!("{} is of two protocols", quote(text)))
                .help(format!("write a list: `[{ports}/tcp, {ports}/udp]`")),
        );
    }
    if let (true, Some(protocol)) = (["any", "all", "*"].contains(&ports), protocol.and_then(transport)) {
        return Some(
            Fault::new(format!("{} is not a port", quote(text))).help(format!("write `1-65535/{protocol}`")),
        );
    }
    if ports.contains(',') && ports.split(',').all(|part| is_ports(&part.trim().replace(':', "-"))) {
        let protocol = protocol.unwrap_or("tcp");
        let each = ports.split(',').map(|part| format!("{}/{protocol}", part.trim().replace(':', "-")));
        let list = each.collect::<Vec<_>>().join(", ");
        return Some(
            Fault::new(format!("{} is several ports", quote(text))).help(format!("write a list: `[{list}]`")),
        );
    }
    if let (None, Some((before, behind))) = (protocol, text.split_once([':', ' ', '.'])) {
        let turned = transport(before).map(|name| (behind, name)).or(transport(behind).map(|name| (before, name)));
        if let Some((ports, protocol)) = turned.filter(|(ports, _)| is_ports(ports)) {
            return Some(
                Fault::new(format!("{} is not a port", quote(text))).help(format!("write `{ports}/{protocol}`")),
            );
        }
    }
    mapping(text, ports, protocol.unwrap_or("tcp"))
}

/// The fault of `8080:80`: of a mapping as Docker's, or of a range as that of iptables.
fn mapping(text: &str, ports: &str, protocol: &str) -> Option<Fault> {
    let (before, inside) = ports.rsplit_once(':')?;
    let outside = before.rsplit(':').next().unwrap_or(before);
    let number = |text: &str| text.parse::<u16>().ok().filter(|&number| number > 0);
    let (first, last) = (number(outside)?, number(inside)?);
    let fault = Fault::new(format!("{} is not a port", quote(text)));
    let from_outside = format!("write the port that the outside connects to: `{first}/{protocol}`");
    // A mapping with an address is none of a range.
    Some(if first < last && outside == before {
        fault.help(format!("of a container's mapping, {from_outside}; a range is `{first}-{last}/{protocol}`"))
    } else {
        fault.help(from_outside)
    })
}

/// Whether a text is a port, or a range of them.
fn is_ports(text: &str) -> bool {
    let is_port = |part: &str| part.parse::<u16>().is_ok_and(|number| number > 0);
    text.split_once('-').map_or_else(|| is_port(text), |(first, last)| is_port(first) && is_port(last))
}

/// The protocol with ports that has this name.
fn transport(name: &str) -> Option<&'static str> {
    Transport::ALL.into_iter().map(Transport::name).find(|known| name.eq_ignore_ascii_case(known))
}
