//! Packets that must not get in.

use super::Step;
use super::craft::{Speech, discovery, host_sends, message, send, tcp};
use super::forged::{answers_to_what_was_routed, forged, name};
use super::rows::{Rows, Setting, both, version};
use super::who::{C1, C2, C3, DOCKER0, FAR, GUEST, HOST, HOST_UPLINK, LAN, Place, ROUTER, STRANGER, TRUSTED, Who};
use crate::support::frame::{Shape, about};
use crate::support::frames::{ACK, FIN, PSH, RST, SYN, Written};
use std::net::IpAddr;

/// All of them.
pub fn denied() -> Rows {
    let mut rows = Rows::new();
    rows.mended = true;
    forged(&mut rows);
    ports_behind_a_bridge_that_is_not_named(&mut rows);
    errors_that_are_none(&mut rows);
    sources_that_are_elsewhere(&mut rows);
    containers_as_routers(&mut rows);
    rows.setting = Setting::Plain;
    rows.mended = false;
    ports_that_are_shut(&mut rows);
    published_ports_that_are_shut(&mut rows);
    odd_flags(&mut rows);
    neighbours_from_afar(&mut rows);
    messages_that_nobody_needs(&mut rows);
    answers_to_what_was_routed(&mut rows);
    rows
}

/// How small fragments may be: IPv6 wants the ports in the first one (RFC 7112).
pub fn smallest(six: bool) -> usize {
    if six { 24 } else { 8 }
}

/// Routing is allowed, which is no word about ports that somebody publishes.
fn ports_behind_a_bridge_that_is_not_named(rows: &mut Rows) {
    rows.setting = Setting::Forwarding;
    for six in both() {
        for from in [STRANGER, TRUSTED, FAR, LAN] {
            for speech in Speech::PORTS {
                let asked = speech.first((from.address(six), rows.port()), (HOST.address(six), 9700));
                let name = format!("{} of {} to a port published behind mybr0", name(speech, six), from.name);
                rows.add(name, Place::Guest, [send(from, asked)]);
            }
        }
    }
}

/// An ICMP message that quotes a known connection is related to it, whatever it says.
fn errors_that_are_none(rows: &mut Rows) {
    rows.setting = Setting::Plain;
    let seen = Speech::Udp.first((DOCKER0.address(false), rows.port()), (C1.address(false), 443));
    let rest = about(&seen, [172, 17, 0, 3]);
    let error = message(C1.address(false), DOCKER0.address(false), 5, 1, rest);
    rows.add("redirect of a container", Place::Host, [host_sends(seen), send(C1, error)]);
    let v4 = [
        (5, 0, "redirect of a network"),
        (5, 1, "redirect"),
        (5, 2, "redirect of a service"),
        (4, 0, "source quench"),
    ];
    for speech in [Speech::Tcp, Speech::Udp, Speech::Ping] {
        for (kind, code, what) in v4 {
            // The kernel's own translation lets no redirect through.
            let ways = if kind == 5 {
                &[(ROUTER, Place::Host)][..]
            } else {
                &[(ROUTER, Place::Host), (STRANGER, Place::C1)]
            };
            for (by, at) in ways {
                let (begun, seen) = begun(rows, speech, false, *at);
                let error =
                    message(by.address(false), HOST.address(false), kind, code, about(&seen, [203, 0, 113, 66]));
                let name = format!("{what} from {} about {} of {at:?}", by.name, speech.name());
                rows.add(name, *at, [begun, send(*by, error)]);
            }
        }
        for (source, to, at) in [(ROUTER.link_local(), HOST, Place::Host), (ROUTER.address(true), C1, Place::C1)] {
            let (begun, seen) = begun(rows, speech, true, at);
            let rest = about_v6(&seen, STRANGER.link_local());
            let error = Written { hop_limit: 255, ..message(source, to.address(true), 137, 0, rest) };
            let name = format!("redirect over IPv6 about {} of {at:?}", speech.name());
            // Only what comes from a link is related to a connection, and that is not routed.
            rows.mended = at == Place::Host;
            rows.add(name, at, [begun, send(ROUTER, error)]);
        }
        rows.mended = true;
    }
}

/// Reserved, target, destination, and the option of the redirected packet.
pub fn about_v6(packet: &Written, by: IpAddr) -> Vec<u8> {
    let quoted = packet.bytes(&[0; 8]);
    let length = (8 + quoted.len()).next_multiple_of(8);
    let mut bytes = [&[0; 4][..], &target(by), &target(packet.destination)].concat();
    bytes.extend([4, u8::try_from(length / 8).expect("it is short"), 0, 0, 0, 0, 0, 0]);
    bytes.extend(quoted);
    bytes.resize(36 + length, 0);
    bytes
}

/// A packet that somebody sends to somebody far away, and the same as the outside sees it.
pub fn begun(rows: &mut Rows, speech: Speech, six: bool, by: Place) -> (Step, Written) {
    let port = rows.port();
    let first = |from| speech.first((from, port), (FAR.address(six), 443));
    let own = first(HOST.address(six));
    match by {
        Place::C1 => {
            let sent = first(C1.address(six));
            (send(C1, sent.clone()), if six { sent } else { own })
        }
        _ => (host_sends(own.clone()), own),
    }
}

/// Sources that can't be where a packet comes from.
fn sources_that_are_elsewhere(rows: &mut Rows) {
    for six in both() {
        for from in [STRANGER, LAN, GUEST] {
            // Of its own addresses IPv4 believes nobody by itself.
            let own: &[Who] = if six { &[HOST, DOCKER0, HOST_UPLINK] } else { &[] };
            for whose in own.iter().chain(&[C1, C2, C3]) {
                let port = if whose.name == HOST.name { 9001 } else { 7000 };
                claims(rows, from, *whose, port, six, Place::Host);
                let published = if port == 9001 { (9000, Place::C3) } else { (7001, Place::C1) };
                claims(rows, from, *whose, published.0, six, published.1);
            }
        }
        // Containers are who their interface says, whatever address they claim.
        rows.mended = false;
        for from in [C1, C3] {
            for (whose, port) in [(TRUSTED, 9001), (LAN, 7000), (GUEST, 7000)] {
                claims(rows, from, whose, port, six, Place::Host);
            }
        }
        rows.mended = true;
    }
    rows.setting = Setting::Strict;
    for six in both() {
        for (from, whose) in [(STRANGER, LAN), (STRANGER, GUEST), (GUEST, LAN)] {
            claims(rows, from, whose, 7000, six, Place::Host);
            claims(rows, from, whose, 7001, six, Place::C1);
        }
        for (from, whose) in [(LAN, TRUSTED), (GUEST, TRUSTED)] {
            claims(rows, from, whose, 9001, six, Place::Host);
            claims(rows, from, whose, 9000, six, Place::C3);
        }
    }
}

fn claims(rows: &mut Rows, from: Who, whose: Who, port: u16, six: bool, at: Place) {
    for speech in Speech::PORTS {
        let to = from.place.host().address(six);
        let asked = speech.first((whose.address(six), rows.port()), (to, port));
        let name = format!("{} from {} as {} to {port}", name(speech, six), from.name, whose.name);
        rows.add(name, at, [send(from, asked)]);
    }
}

/// What only routers, servers of DHCP and the host itself may say.
fn containers_as_routers(rows: &mut Rows) {
    rows.setting = Setting::Plain;
    for from in [C1, C3] {
        let host = from.place.host();
        let advertisement = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, how) in [("ff02::1".parse().expect("a group"), "to all"), (host.address(true), "to the host")] {
            let said = discovery(from.link_local(), to, 134, advertisement.clone());
            let name = format!("router advertisement of {} {how}", from.name);
            rows.add(
                format!("{name}, behind other headers"),
                Place::Host,
                [send(from, said.clone()).shaped(Shape::Options(vec![0, 60]))],
            );
            rows.add(name, Place::Host, [send(from, said)]);
        }
        for (to, how) in [(IpAddr::from([255; 4]), "to all"), (host.address(false), "to the host")] {
            let said = Speech::Udp.first((from.address(false), 67), (to, 68));
            let name = format!("answer of DHCP of {} {how}", from.name);
            rows.add(
                format!("{name}, in fragments"),
                Place::Host,
                [send(from, said.clone()).shaped(Shape::Fragments(8))],
            );
            rows.add(name, Place::Host, [send(from, said)]);
        }
        for source in [(from.link_local(), 547), (from.address(true), 1547)] {
            let said = Speech::Udp.first(source, (host.link_local(), 546));
            let name = format!("answer of DHCPv6 of {}, port {}", from.name, source.1);
            rows.add(name, Place::Host, [send(from, said)]);
        }
        // Nobody answers to another address.
        rows.mended = false;
        let said = Speech::Udp.first((from.link_local(), 547), (host.address(true), 546));
        rows.add(format!("answer of DHCPv6 of {} past the link", from.name), Place::Host, [send(from, said)]);
        rows.mended = true;
    }
    for from in [STRANGER, TRUSTED, LAN, GUEST, C1] {
        for (speech, port) in [(Speech::Tcp, 22), (Speech::Tcp, 9500), (Speech::Udp, 5353)] {
            let local = IpAddr::from([127, 0, 0, if port == 9500 { 2 } else { 1 }]);
            // The engine publishes 9500 on each of the host's addresses.
            let at = if port == 9500 { Place::C3 } else { Place::Host };
            let said = speech.first((from.address(false), rows.port()), (local, port));
            rows.mended = port != 9500;
            rows.add(format!("{} from {} to {local} {port}", speech.name(), from.name), at, [send(from, said)]);
        }
        // What a container publishes does not lead it back to itself here.
        if from.name != C1.name {
            rows.mended = false;
            let said = Speech::Tcp.first((from.address(false), rows.port()), (IpAddr::from([127, 0, 0, 1]), 9200));
            let name = format!("TCP from {} to what is published to 127.0.0.1", from.name);
            rows.add(name, Place::C1, [send(from, said)]);
        }
        rows.mended = true;
    }
}

/// Ports without a service, or of one that is not for this source, and what is not tracked, however it is cut.
fn ports_that_are_shut(rows: &mut Rows) {
    for six in both() {
        let options = if six { Shape::Options(vec![0, 60]) } else { Shape::Options(vec![1, 7, 7, 4, 0, 0, 0, 0]) };
        let shapes = [
            ("whole", Shape::Whole),
            ("in small fragments", Shape::Fragments(smallest(six))),
            ("in fragments, the last first", Shape::Backwards(24)),
            ("with options", options),
        ];
        for (how, shape) in shapes {
            for (from, port) in
                [(STRANGER, 23), (STRANGER, 9001), (STRANGER, 9800), (LAN, 9001), (C1, 23), (C1, 9001)]
            {
                for speech in Speech::PORTS {
                    let to = from.place.host().address(six);
                    let asked = speech.first((from.address(six), rows.port()), (to, port));
                    let name = format!("{} from {} to {port} {how}", name(speech, six), from.name);
                    rows.add(name, Place::Host, [send(from, asked).shaped(shape.clone())]);
                }
            }
        }
    }
}

/// Ports of containers, by the port that is published and by the container's own address.
fn published_ports_that_are_shut(rows: &mut Rows) {
    for six in both() {
        for from in [STRANGER, FAR, LAN] {
            for speech in Speech::PORTS {
                for (how, shape) in [("", Shape::Whole), (", in fragments", Shape::Fragments(24))] {
                    let asked = speech.first((from.address(six), rows.port()), (HOST.address(six), 9010));
                    let name = format!("{} from {} to a published port{how}", name(speech, six), from.name);
                    rows.add(name, Place::C1, [send(from, asked).shaped(shape)]);
                }
            }
            for speech in Speech::ALL {
                for to in [C1, C3, GUEST] {
                    let asked = speech.first((from.address(six), rows.port()), (to.address(six), 9500));
                    let name = format!("{} from {} straight to {}", name(speech, six), from.name, to.name);
                    rows.add(name, to.place, [send(from, asked)]);
                }
            }
        }
    }
}

/// TCP that begins no connection.
fn odd_flags(rows: &mut Rows) {
    const URG: u8 = 0x20;
    let flags = [
        ("no flag", 0),
        ("FIN", FIN),
        ("FIN, PSH and URG", FIN | PSH | URG),
        ("SYN and FIN", SYN | FIN),
        ("SYN and RST", SYN | RST),
        ("ACK", ACK),
        ("SYN and ACK", SYN | ACK),
        ("RST", RST),
        ("FIN and ACK", FIN | ACK),
    ];
    for six in both() {
        for (what, flags) in flags {
            for (from, port) in [(STRANGER, 9001), (STRANGER, 23), (C1, 9001)] {
                let to = from.place.host().address(six);
                let said = tcp(flags, (from.address(six), rows.port()), (to, port));
                let name = format!("{what} over {} from {} to {port}", version(six), from.name);
                rows.add(name, Place::Host, [send(from, said)]);
            }
        }
        for (what, flags) in [("no flag", 0), ("FIN, PSH and URG", FIN | PSH | URG), ("SYN and FIN", SYN | FIN)] {
            let said = tcp(flags, (STRANGER.address(six), rows.port()), (HOST.address(six), 22));
            rows.add(format!("{what} over {} to an open port", version(six)), Place::Host, [send(STRANGER, said)]);
        }
    }
}

/// Neighbour discovery with a hop limit that a router has lowered.
fn neighbours_from_afar(rows: &mut Rows) {
    for (kind, what) in
        [(133, "router solicitation"), (134, "router advertisement"), (135, "solicitation"), (136, "advertisement")]
    {
        for from in [ROUTER, LAN] {
            let rest = [&[0; 4][..], &target(from.place.host().address(true))].concat();
            let said = Written {
                hop_limit: 254,
                ..discovery(from.address(true), from.place.host().address(true), kind, rest)
            };
            rows.add(format!("{what} by {}, from afar", from.name), Place::Host, [send(from, said)]);
        }
    }
}

/// ICMP that asks for more than a server tells, or tells what it does not ask for.
fn messages_that_nobody_needs(rows: &mut Rows) {
    let kinds: [&[u8]; 2] =
        [&[4, 5, 9, 10, 13, 15, 17, 40], &[100, 137, 138, 139, 140, 141, 142, 144, 146, 148, 151, 153, 155, 200]];
    for six in both() {
        for kind in kinds[usize::from(six)] {
            for from in [ROUTER, LAN, C1] {
                let to = from.place.host().address(six);
                let source = if six { from.link_local() } else { from.address(six) };
                let said = Written { hop_limit: 255, ..message(source, to, *kind, 0, vec![0; 20]) };
                let name = format!("ICMP {kind} over {} from {}", version(six), from.name);
                rows.add(name, Place::Host, [send(from, said)]);
            }
        }
    }
}

/// An IPv6 address in a message.
pub fn target(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}
