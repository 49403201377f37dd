//! Packets whose source is not their sender's, and what they make of the packets behind them: connection tracking believes
//! the first packet of a connection, and what answers it is a reply.

use super::craft::{Speech, send, send_to};
use super::rows::{Rows, Setting, both, version};
use super::who::{BR_APP, C1, C2, C3, DOCKER0, GUEST, HOST, HOST_UPLINK, LAN, Place, STRANGER, TRUSTED, Who};
use crate::support::frames::Body;
use std::net::IpAddr;

/// Those that nothing but the rules against them keeps out.
pub fn forged(rows: &mut Rows) {
    answers_to_own_addresses(rows);
    answers_to_others_addresses(rows);
    answers_of_the_forger(rows);
    connections_that_were_handed_over(rows);
    rows.setting = Setting::Forwarding;
    answers_to_what_was_routed(rows);
    rows.setting = Setting::Closed;
    answers_that_a_container_gave_itself(rows);
    answers_by_a_published_port(rows);
}

/// A packet with somebody else's source leaves a connection behind, whose answers would get in.
fn answers_to_own_addresses(rows: &mut Rows) {
    for six in both() {
        // IPv4 asks whether a source is its own where it routes, and not where it bridges.
        let ways: &[(Who, Who)] = if six { &[(C1, DOCKER0), (C3, BR_APP), (C1, C2)] } else { &[(C1, C2), (C2, C1)] };
        for (from, to) in ways {
            // The engine translates what comes from the other bridge's network.
            let more: &[Who] = if six { &[BR_APP] } else { &[] };
            for own in [HOST, DOCKER0, HOST_UPLINK].iter().chain(more) {
                for speech in Speech::ALL {
                    let port = rows.port();
                    // Without ports, a peer for each row.
                    let peer = peer(speech, six, port);
                    let forged = speech.first((own.address(six), port), (peer, 4444));
                    let answer = send(STRANGER, speech.answer(&forged));
                    let (speech, from_whom) = (name(speech, six), format!("{} as {}", from.name, own.name));
                    let name = format!("the answer over {speech} to {from_whom} to {}", to.name);
                    rows.add(name, Place::Host, [send_to(*from, to.mac, forged), answer]);
                }
            }
        }
    }
}

/// The same with the address of somebody behind another interface.
fn answers_to_others_addresses(rows: &mut Rows) {
    for six in both() {
        let (by, beside) = (|who: Who| who.place.host().mac, C2.mac);
        for (from, owner, to, how) in [
            (C1, C3, by(C1), ""),
            (C1, LAN, by(C1), ""),
            (C1, GUEST, by(C1), ""),
            (C3, C1, by(C3), ""),
            (C3, LAN, by(C3), ""),
            (C3, TRUSTED, by(C3), ""),
            (C1, C3, beside, " to c2"),
            (C1, LAN, beside, " to c2"),
            (C1, GUEST, beside, " to c2"),
            (C1, TRUSTED, beside, " to c2"),
        ] {
            for speech in Speech::ALL {
                let port = rows.port();
                let peer = peer(speech, six, port);
                let forged = speech.first((owner.address(six), port), (peer, 4444));
                let mut answer = speech.answer(&forged);
                // The source of a container's packet is translated over IPv4, whoever forges it.
                if !six && [Place::C1, Place::C3].contains(&owner.place) {
                    answer.destination = if how.is_empty() { HOST } else { DOCKER0 }.address(six);
                }
                let name = format!("the answer over {} to {} as {}{how}", name(speech, six), from.name, owner.name);
                // It comes in by the other uplink, so that it is not sent back where it came from.
                let by = if owner.place == Place::Outside { LAN } else { STRANGER };
                rows.add(name, owner.place, [send_to(from, to, forged), send(by, answer)]);
            }
        }
    }
}

pub fn name(speech: Speech, six: bool) -> String {
    format!("{} and {}", speech.name(), version(six))
}

/// A container that forges the host's address and then answers itself, to the host's own link included.
fn answers_of_the_forger(rows: &mut Rows) {
    for six in both() {
        for own in [HOST, DOCKER0] {
            for speech in Speech::PORTS {
                let port = rows.port();
                let forged = speech.first((own.address(six), port), (C2.address(six), 4444));
                let answer = send(C2, speech.answer(&forged));
                let name = format!("{} of a container to a port of {} that it forged", name(speech, six), own.name);
                rows.add(name, Place::Host, [send_to(C1, C2.mac, forged), answer]);
            }
        }
    }
    // A router answers to the first address of each of its networks, too.
    for network in ["2001:db8::", "fd00:17::"] {
        for speech in Speech::PORTS {
            let port = rows.port();
            let own = network.parse().expect("an address");
            let forged = speech.first((own, port), (STRANGER.address(true), 4444));
            let answer = send(STRANGER, speech.answer(&forged));
            let name = format!("{} to the host as any router, {network}, which a container forged", speech.name());
            rows.add(name, Place::Host, [send_to(C1, C2.mac, forged), answer]);
        }
    }
    for own in [DOCKER0.link_local(), "fe80::".parse().expect("an address")] {
        for speech in Speech::PORTS {
            let port = rows.port();
            let forged = speech.first((own, port), (C2.link_local(), 4444));
            let answer = send(C2, speech.answer(&forged));
            let name = format!("{} of a container to the host's {own} on their link, which it forged", speech.name());
            rows.add(name, Place::Host, [send_to(C1, C2.mac, forged), answer]);
        }
    }
}

/// Two containers of a bridge hand each other a connection to somebody else, and its answer; then it goes on.
fn connections_that_were_handed_over(rows: &mut Rows) {
    for six in both() {
        for (own, at) in [(HOST, Place::Host), (DOCKER0, Place::Host), (STRANGER, Place::Outside)] {
            rows.setting = if at == Place::Host { Setting::Plain } else { Setting::Closed };
            for speech in [Speech::Tcp, Speech::Udp, Speech::Esp] {
                let port = rows.port();
                let to = if own.name == STRANGER.name { peer(speech, six, port) } else { own.address(six) };
                let asked = speech.first((C1.address(six), port), (to, 9100));
                let answer = speech.answer(&asked);
                let steps = [send_to(C1, C2.mac, asked.clone()), send_to(C2, C1.mac, answer), send(C1, asked)];
                rows.add(
                    format!("{} from c1 to {}, which c2 was handed first", name(speech, six), own.name),
                    at,
                    steps,
                );
            }
        }
    }
    rows.setting = Setting::Plain;
}

/// Where routing is allowed, whoever is routed may forge; elsewhere, the default stops it.
pub fn answers_to_what_was_routed(rows: &mut Rows) {
    for speech in [Speech::Tcp, Speech::Udp, Speech::Ping] {
        for (from, to) in [(GUEST, STRANGER), (STRANGER, LAN), (LAN, STRANGER)] {
            let port = rows.port();
            let forged = speech.first((HOST.address(true), port), (to.address(true), 4444));
            let answer = send(to, speech.answer(&forged));
            let name = format!("the answer of {} over {} to {} as the host", to.name, speech.name(), from.name);
            rows.add(name, Place::Host, [send(from, forged), answer]);
        }
        for six in both() {
            for (from, to) in [(LAN, STRANGER), (GUEST, STRANGER), (STRANGER, LAN)] {
                let port = rows.port();
                let forged = speech.first((C1.address(six), port), (to.address(six), 4444));
                let mut answer = speech.answer(&forged);
                if !six {
                    answer.destination = to.place.host().address(six);
                }
                let name = format!("the answer of {} over {} to {} as c1", to.name, name(speech, six), from.name);
                rows.add(name, Place::C1, [send(from, forged), send(to, answer)]);
            }
        }
    }
}

/// The stranger; or, for what has no ports, an address for each port that there would be.
fn peer(speech: Speech, six: bool, port: u16) -> IpAddr {
    if speech != Speech::Esp {
        return STRANGER.address(six);
    }
    let [high, low] = port.to_be_bytes();
    if six { format!("2001:db9::{port:x}").parse().expect("an address") } else { IpAddr::from([198, 51, high, low]) }
}

/// A container sends itself what the outside never sent, and answers.
fn answers_that_a_container_gave_itself(rows: &mut Rows) {
    for six in both() {
        for (from, to, by) in [(C1, C1, DOCKER0), (C3, C3, BR_APP), (C1, C3, DOCKER0), (C3, C1, BR_APP), (C1, C2, C2)]
        {
            for speech in Speech::ALL {
                let port = rows.port();
                let peer = peer(speech, six, port);
                let forged = speech.first((peer, 443), (to.address(six), port));
                let answer = send(to, speech.answer(&forged));
                let name = format!("{} of {} to the outside, by {}'s forgery", name(speech, six), to.name, from.name);
                rows.add(name, Place::Outside, [send_to(from, by.mac, forged), answer]);
            }
        }
    }
}

/// The same by the port that an accomplice publishes for everyone.
fn answers_by_a_published_port(rows: &mut Rows) {
    for six in both() {
        for speech in Speech::PORTS {
            let port = rows.port();
            let forged = speech.first((STRANGER.address(six), port), (HOST.address(six), 9500));
            let mut answer = speech.answer(&forged);
            answer.source = C3.address(six);
            if let Body::Tcp { source, .. } | Body::Udp { source, .. } = &mut answer.body {
                *source = 9000;
            }
            let name = format!("{} of c3 to the outside, by c1's forgery to a published port", name(speech, six));
            rows.add(name, Place::Outside, [send(C1, forged), send(C3, answer)]);
        }
    }
}
