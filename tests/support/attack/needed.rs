//! Packets that must get in.

use super::Step;
use super::craft::{Speech, discovery, host_sends, message, send, send_to, tcp};
use super::denied::{begun, smallest, target};
use super::rows::{Rows, Setting, both, version};
use super::who::{BR_APP, C1, C2, C3, DOCKER0, FAR, GUEST, HOST, HOST_UPLINK, LAN, Place, ROUTER, STRANGER, TRUSTED};
use crate::support::frame::{BROADCAST, Frame, Payload, Shape, about};
use crate::support::frames::{ACK, Body, FIN, PSH, RST, Written};
use std::net::IpAddr;

/// All of them.
pub fn needed() -> Rows {
    let mut rows = Rows::new();
    path_discovery(&mut rows);
    neighbours(&mut rows);
    groups(&mut rows);
    answers_of_dhcp(&mut rows);
    replies(&mut rows);
    services(&mut rows);
    between_containers(&mut rows);
    for setting in [Setting::Forwarding, Setting::Closed, Setting::Strict] {
        rows.setting = setting;
        replies(&mut rows);
        groups(&mut rows);
        between_containers(&mut rows);
    }
    // Sources that no route leads back to are no worse for it.
    neighbours(&mut rows);
    answers_of_dhcp(&mut rows);
    path_discovery(&mut rows);
    services(&mut rows);
    rows.setting = Setting::Forwarding;
    routed(&mut rows);
    rows
}

/// Where routing is allowed: from network to network, and to what is published behind a bridge that is not named.
fn routed(rows: &mut Rows) {
    for six in both() {
        for (from, to) in [(STRANGER, LAN), (LAN, FAR), (STRANGER, GUEST), (GUEST, STRANGER)] {
            for speech in Speech::ALL {
                let begun = speech.first((from.address(six), rows.port()), (to.address(six), 443));
                let answer = send(to, speech.answer(&begun));
                let name = format!("{} over {} from {} to {}", speech.name(), version(six), from.name, to.name);
                rows.add(format!("{name}, answered"), from.place, [send(from, begun.clone()), answer]);
                rows.add(name, to.place, [send(from, begun)]);
            }
        }
        for from in [STRANGER, LAN] {
            let asked = Speech::Tcp.first((from.address(six), rows.port()), (HOST.address(six), 9701));
            let name = format!("{} asks over {} for what is published behind mybr0", from.name, version(six));
            rows.add(name, Place::Guest, [send(from, asked)]);
        }
    }
}

fn parse(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// Errors about known connections, from routers on their way.
fn path_discovery(rows: &mut Rows) {
    const MTU: [u8; 4] = [0, 0, 5, 120];
    let errors: [&[(u8, u8, &str)]; 2] = [
        &[
            (3, 4, "fragmentation needed"),
            (3, 3, "port unreachable"),
            (11, 0, "time exceeded"),
            (12, 0, "parameter problem"),
        ],
        &[(2, 0, "packet too big"), (1, 4, "port unreachable"), (3, 0, "time exceeded"), (4, 0, "parameter problem")],
    ];
    for six in both() {
        for (kind, code, what) in errors[usize::from(six)] {
            for speech in [Speech::Tcp, Speech::Udp, Speech::Ping] {
                for at in [Place::Host, Place::C1] {
                    let (begun, seen) = begun(rows, speech, six, at);
                    let error = message(ROUTER.address(six), seen.source, *kind, *code, about(&seen, MTU));
                    let name = format!("{what} over {} about {} of {at:?}", version(six), speech.name());
                    rows.add(name, at, [begun, send(ROUTER, error)]);
                }
            }
        }
    }
}

/// IPv6 neighbours, and how IPv4 finds its own.
fn neighbours(rows: &mut Rows) {
    for from in [ROUTER, LAN, C1, C3] {
        let host = from.place.host();
        let is_container = [Place::C1, Place::C3].contains(&from.place);
        for (kind, what, head) in [
            (133, "router solicitation", [0; 4]),
            (135, "solicitation", [0; 4]),
            (136, "advertisement", [0x60, 0, 0, 0]),
        ] {
            for source in [from.link_local(), from.address(true)] {
                let aim = if kind == 136 { source } else { host.address(true) };
                let rest = if kind == 133 { head.to_vec() } else { [&head[..], &target(aim)].concat() };
                let said = discovery(source, host.address(true), kind, rest);
                rows.add(format!("{what} of {} as {source}", from.name), Place::Host, [send(from, said)]);
            }
        }
        if !is_container {
            let rest = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            let said = discovery(from.link_local(), parse("ff02::1"), 134, rest);
            rows.add(format!("router advertisement of {}", from.name), Place::Host, [send(from, said)]);
        }
        // Whoever takes an address asks first, without one.
        let group = solicited(host.address(true));
        let said = discovery(parse("::"), group, 135, [&[0; 4][..], &target(host.address(true))].concat());
        rows.add(format!("duplicate address detection of {}", from.name), Place::Host, [send(from, said)]);
    }
    let asked =
        discovery(parse("::"), solicited(C2.address(true)), 135, [&[0; 4][..], &target(C2.address(true))].concat());
    rows.add("duplicate address detection of a container by another", Place::C2, [send(C1, asked)]);
    let (IpAddr::V4(one), IpAddr::V4(other)) = (C1.address(false), C2.address(false)) else { return };
    let arp = Payload::Arp { operation: 1, sender: one.octets(), target: other.octets() };
    let frame = Frame { to: BROADCAST, from: C1.mac, payload: arp };
    rows.add("ARP between containers", Place::C2, [Step { from: Place::C1, frame }]);
}

/// The group that whoever looks for a neighbour's link address asks.
fn solicited(address: IpAddr) -> IpAddr {
    let octets = target(address);
    let low = u16::from_be_bytes([octets[14], octets[15]]);
    parse(&format!("ff02::1:ff{:02x}:{low:x}", octets[13]))
}

/// Multicast: of members, of routers, and the host's own, which it hears itself.
fn groups(rows: &mut Rows) {
    for from in [ROUTER, LAN, C1] {
        for kind in [130, 131, 132, 143] {
            let said = Written { hop_limit: 1, ..message(from.link_local(), parse("ff02::1"), kind, 0, vec![0; 20]) };
            let alerted = send(from, said).shaped(Shape::Options(vec![0]));
            rows.add(format!("multicast listeners' {kind} of {}", from.name), Place::Host, [alerted]);
        }
    }
    for from in [ROUTER, LAN] {
        let to = parse("224.0.0.1");
        let said = Written { hop_limit: 1, ..Written::new(from.address(false), to, Body::Other(2)) };
        let alerted = send(from, said).shaped(Shape::Options(vec![0x94, 4, 0, 0]));
        rows.add(format!("IGMP of {}", from.name), Place::Host, [alerted]);
    }
    let vrrp = |source, to| Written { hop_limit: 255, ..Written::new(source, to, Body::Other(112)) };
    rows.add(
        "VRRP of the other router",
        Place::Host,
        [send(ROUTER, vrrp(ROUTER.address(false), parse("224.0.0.18")))],
    );
    for (six, mdns, router) in [(false, "224.0.0.251", "224.0.0.18"), (true, "ff02::fb", "ff02::12")] {
        let own = HOST.address(six);
        let said = Speech::Udp.first((own, 5353), (parse(mdns), 5353));
        rows.add(format!("mDNS of the host itself over {}", version(six)), Place::Host, [host_sends(said)]);
        let said = vrrp(own, parse(router));
        rows.add(format!("VRRP of the host itself over {}", version(six)), Place::Host, [host_sends(said)]);
        let said = Speech::Udp.first((STRANGER.address(six), 5353), (parse(mdns), 5353));
        rows.add(format!("mDNS of somebody else over {}", version(six)), Place::Host, [send(STRANGER, said)]);
    }
    let said = Speech::Udp.first((HOST.address(false), 5353), (parse("203.0.113.255"), 5353));
    rows.add("a broadcast of the host itself", Place::Host, [host_sends(said)]);
}

/// To this machine from servers, to containers' from this machine, and between containers, one of which may be the server.
fn answers_of_dhcp(rows: &mut Rows) {
    for from in [ROUTER, LAN] {
        let host = from.place.host();
        for to in [IpAddr::from([255; 4]), host.address(false)] {
            let said = Speech::Udp.first((from.address(false), 67), (to, 68));
            rows.add(format!("answer of DHCP from {} to {to}", from.name), Place::Host, [send(from, said)]);
        }
        for source in [(from.link_local(), 547), (from.address(true), 547), (from.link_local(), 1547)] {
            let said = Speech::Udp.first(source, (host.link_local(), 546));
            let name = format!("answer of DHCPv6 from {}, {} port {}", from.name, source.0, source.1);
            rows.add(name, Place::Host, [send(from, said)]);
        }
    }
    for (at, who) in [(Place::Host, "the host"), (Place::C2, "another container")] {
        let said = Speech::Udp.first((parse("0.0.0.0"), 68), (IpAddr::from([255; 4]), 67));
        rows.add(format!("a container asks {who} for an address"), at, [send(C1, said)]);
    }
    for (from, six) in [(C1, false), (C1, true), (C3, false), (C3, true)] {
        for speech in Speech::PORTS {
            let asked = speech.first((from.address(six), rows.port()), (from.place.host().address(six), 53));
            let name = format!("{} asks for a name over {} and {}", from.name, speech.name(), version(six));
            rows.add(name, Place::Host, [send(from, asked)]);
        }
    }
}

/// Answers to what the host and its containers began.
fn replies(rows: &mut Rows) {
    for six in both() {
        for (to, own) in [(STRANGER, HOST), (FAR, HOST), (LAN, HOST_UPLINK), (C1, DOCKER0), (C3, BR_APP)] {
            for speech in Speech::ALL {
                let begun = speech.first((own.address(six), rows.port()), (to.address(six), 443));
                let answer = send(to, speech.answer(&begun));
                let name = format!("answer of {} to the host over {} and {}", to.name, speech.name(), version(six));
                rows.add(name, Place::Host, [host_sends(begun), answer]);
            }
        }
        if rows.setting == Setting::Closed {
            continue;
        }
        for (from, to) in [(C1, STRANGER), (C3, FAR), (C3, LAN)] {
            for speech in Speech::PORTS {
                let begun = speech.first((from.address(six), rows.port()), (to.address(six), 443));
                let mut answer = speech.answer(&begun);
                if !six {
                    answer.destination = to.place.host().address(six);
                }
                let name =
                    format!("answer of {} to {} over {} and {}", to.name, from.name, speech.name(), version(six));
                rows.add(name, from.place, [send(from, begun), send(to, answer)]);
            }
        }
    }
}

/// What services let in, however it comes.
fn services(rows: &mut Rows) {
    for six in both() {
        let options = if six { Shape::Options(vec![0, 60]) } else { Shape::Options(vec![1, 7, 7, 4, 0, 0, 0, 0]) };
        let shapes = [
            ("", Shape::Whole),
            (", in fragments", Shape::Fragments(smallest(six))),
            (", the last fragment first", Shape::Backwards(24)),
            (", with options", options),
        ];
        for (how, shape) in shapes {
            let ports = [(STRANGER, 22, Place::Host), (STRANGER, 9500, Place::C3), (TRUSTED, 9001, Place::Host)];
            for (from, port, at) in ports {
                let asked = Speech::Tcp.first((from.address(six), rows.port()), (HOST.address(six), port));
                let name = format!("{} asks for {port} over {}{how}", from.name, version(six));
                rows.add(name, at, [send(from, asked).shaped(shape.clone())]);
            }
        }
        for from in [STRANGER, FAR, LAN, C1] {
            let asked = Speech::Ping.first((from.address(six), rows.port()), (from.place.host().address(six), 0));
            rows.add(format!("ping of {} over {}", from.name, version(six)), Place::Host, [send(from, asked)]);
        }
        // Two uplinks, and routes that are not the same both ways.
        for (by, whose, to) in
            [(LAN, LAN, HOST_UPLINK), (LAN, LAN, HOST), (LAN, FAR, HOST), (LAN, TRUSTED, HOST), (STRANGER, LAN, HOST)]
        {
            if rows.setting == Setting::Strict && whose.place != by.place {
                continue;
            }
            let asked = Speech::Tcp.first((whose.address(six), rows.port()), (to.address(six), 22));
            let name = format!("{} by {:?} asks {} over {}", whose.name, by.place, to.name, version(six));
            rows.add(name, Place::Host, [send(by, asked)]);
        }
        // Containers ask for published ports: another's, and their own, which leads back.
        for (from, to) in [(C1, HOST), (C1, DOCKER0), (C3, HOST)] {
            let asked = Speech::Tcp.first((from.address(six), rows.port()), (to.address(six), 9500));
            let name = format!("{} asks {} for a published port over {}", from.name, to.name, version(six));
            rows.add(name, Place::C3, [send(from, asked)]);
        }
        // A connection goes on and ends.
        let (port, to) = (rows.port(), (HOST.address(six), 22));
        let from = (STRANGER.address(six), port);
        let syn = Speech::Tcp.first(from, to);
        let answer = Speech::Tcp.answer(&syn);
        for (what, flags) in [("data", ACK | PSH), ("the end", ACK | FIN), ("a reset", ACK | RST)] {
            let port = rows.port();
            let (mut syn, mut answer) = (syn.clone(), answer.clone());
            if let (Body::Tcp { source, .. }, Body::Tcp { destination, .. }) = (&mut syn.body, &mut answer.body) {
                (*source, *destination) = (port, port);
            }
            let mut last = tcp(flags, (from.0, port), to);
            if let Body::Tcp { seq, ack, .. } = &mut last.body {
                (*seq, *ack) = (10, 10);
            }
            let name = format!("{what} of a connection over {}", version(six));
            rows.add(name, Place::Host, [send(STRANGER, syn), host_sends(answer), send(STRANGER, last)]);
        }
    }
    let private = parse("2001:db8::8c3f:1:b00:66");
    let asked = Speech::Tcp.first((private, rows.port()), (HOST.address(true), 22));
    rows.add("somebody with a privacy address", Place::Host, [send(STRANGER, asked)]);
}

/// Containers of one bridge, and of two.
fn between_containers(rows: &mut Rows) {
    for six in both() {
        for (from, to) in [(C1, C2), (C2, C1), (C1, C3), (C3, C1)] {
            let bridged = from.place.host().name == to.place.host().name;
            let mac = if bridged { to.mac } else { from.place.host().mac };
            // Without ports, what one bridge sends to the other is what the host sends.
            let speeches = if bridged { &Speech::ALL[..] } else { &Speech::ALL[..3] };
            for speech in speeches {
                let begun = speech.first((from.address(six), rows.port()), (to.address(six), 9000));
                let name = format!("{} from {} to {}", speech.name(), from.name, to.name);
                rows.add(format!("{name} over {}", version(six)), to.place, [send_to(from, mac, begun)]);
            }
        }
        let (IpAddr::V4(_) | IpAddr::V6(_)) = C1.address(six);
        let mdns = if six { ("ff02::fb", C1.link_local()) } else { ("224.0.0.251", C1.address(false)) };
        let said = Speech::Udp.first((mdns.1, 5353), (parse(mdns.0), 5353));
        rows.add(format!("mDNS between containers over {}", version(six)), Place::C2, [send(C1, said)]);
    }
    // A network that is isolated: the host has no address in it, and no route to it.
    if [Setting::Plain, Setting::Forwarding].contains(&rows.setting) {
        for (from, to) in [("172.25.0.2", "172.25.0.3"), ("fd00:25::2", "fd00:25::3")] {
            for speech in Speech::ALL {
                let begun = speech.first((parse(from), rows.port()), (parse(to), 9000));
                let name = format!("{} from {from} to {to} of an isolated network", speech.name());
                rows.add(name, Place::C2, [send_to(C1, C2.mac, begun)]);
            }
        }
    }
    for (to, mac, at) in [(C2.address(true), C2.mac, Place::C2), (C3.address(true), DOCKER0.mac, Place::C3)] {
        let said = Speech::Udp.first((parse("fd00:17::8c3f:1:b00:66"), rows.port()), (to, 9000));
        rows.add(format!("a container's privacy address to {at:?}"), at, [send_to(C1, mac, said)]);
    }
    if rows.setting != Setting::Closed {
        let said = Speech::Udp.first((parse("fd00:17::8c3f:1:b00:66"), rows.port()), (STRANGER.address(true), 443));
        rows.add("a container's privacy address to the outside", Place::Outside, [send(C1, said)]);
    }
}
