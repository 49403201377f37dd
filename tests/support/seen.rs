//! What peers on each side of a lab see of its host, asked all at once.

use super::lab::Lab;
use super::probe::{Outcome, SILENCE, Target};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

/// Two outside and one inside, over each version of IP.
pub const PEERS: [&str; 6] = ["203.0.113.66", "203.0.113.67", "10.77.0.2", "2001:db8::66", "2001:db8::67", "fd77::2"];

pub type Seen = BTreeMap<(&'static str, Target), Outcome>;

/// What each peer sees of each target. Who hears nothing asks again and waits longer: a busy machine is silent, too.
pub fn seen(lab: &Lab, targets: &[Target]) -> Seen {
    let mut seen = asked(lab, PEERS.iter().flat_map(|peer| targets.iter().map(|target| (*peer, *target))), SILENCE);
    let silent: Vec<_> =
        seen.iter().filter(|(_, outcome)| **outcome == Outcome::TimedOut).map(|(key, _)| *key).collect();
    seen.extend(asked(lab, silent.into_iter(), SILENCE * 4));
    seen
}

/// Asks all at once.
fn asked(lab: &Lab, each: impl Iterator<Item = (&'static str, Target)>, wait: Duration) -> Seen {
    thread::scope(|scope| {
        let ask = |(peer, target): (&'static str, Target)| {
            let from: IpAddr = peer.parse().expect("an address");
            let (inside, to) = lab.peer(from);
            ((peer, target), inside.probe(target, from, to, wait))
        };
        let asked: Vec<_> = each.map(|one| scope.spawn(move || ask(one))).collect();
        asked.into_iter().map(|one| one.join().expect("a probe ends")).collect()
    })
}
