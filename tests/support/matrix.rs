//! Who may reach what, as a table of sentences, tried with real packets all at once.

use super::echo::Echo;
use super::lab::{HOST, HOST_ON_LAN, Lab};
use super::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::thread;

/// Ports that servers often listen on; with some random ones they stand for "every other port".
const WELL_KNOWN: [u16; 18] =
    [1, 21, 22, 23, 25, 53, 80, 111, 443, 445, 2375, 3306, 5432, 6379, 8080, 9000, 10250, 65535];
const RANDOM_PORTS: u64 = 4;
/// Where random ports are drawn from: below the run of ports (60000-61000) that policies of these tests open, of which no
/// row names each.
const RANDOM_FROM: std::ops::Range<u64> = 1024..50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Rejected,
}

impl Verdict {
    fn holds(self, outcome: Outcome) -> bool {
        match self {
            Self::Allowed => outcome == Outcome::Connected,
            Self::Denied => outcome == Outcome::TimedOut,
            Self::Rejected => matches!(outcome, Outcome::Refused | Outcome::Unreachable),
        }
    }
}

struct Probe {
    target: Target,
    from: IpAddr,
    expected: Verdict,
}

/// Probes, each with what must come of it.
pub struct Matrix(Vec<Probe>);

impl Matrix {
    /// Reads lines such as `denied 9000/tcp ping others/udp from 203.0.113.66 2001:db8::9`: each thing from each
    /// address. `others/tcp` and `others/udp` are a sample of the ports that no line names.
    pub fn new(text: &str) -> Self {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let named: BTreeSet<Target> = lines().flat_map(str::split_whitespace).filter_map(target).collect();
        let drawn = |n| RANDOM_FROM.start + RandomState::new().hash_one(n) % (RANDOM_FROM.end - RANDOM_FROM.start);
        let random = (0..RANDOM_PORTS).filter_map(|n| u16::try_from(drawn(n)).ok());
        let sample: BTreeSet<u16> = WELL_KNOWN.into_iter().chain(random).collect();
        let others = |kind: fn(u16) -> Target| -> Vec<Target> {
            sample.iter().map(|port| kind(*port)).filter(|target| !named.contains(target)).collect()
        };
        let mut probes = Vec::new();
        for line in lines() {
            let malformed = || -> ! { panic!("not a line of a matrix: {line}") };
            let Some((left, right)) = line.split_once(" from ") else { malformed() };
            let mut words = left.split_whitespace();
            let expected = match words.next() {
                Some("allowed") => Verdict::Allowed,
                Some("denied") => Verdict::Denied,
                Some("rejected") => Verdict::Rejected,
                _ => malformed(),
            };
            let targets = words.flat_map(|word| match word {
                "others/tcp" => others(Target::Tcp),
                "others/udp" => others(Target::Udp),
                word => vec![target(word).unwrap_or_else(|| malformed())],
            });
            let sources = right.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| malformed()));
            let sources: Vec<IpAddr> = sources.collect();
            for target in targets {
                probes.extend(sources.iter().map(|from| Probe { target, from: *from, expected }));
            }
        }
        Self(probes)
    }

    /// Gives the client its addresses and has the host listen on every port of the matrix, so that what is denied is
    /// denied by rules and not for want of a listener.
    pub fn listen(&self, lab: &Lab) -> Echo {
        lab.add_addresses(self.0.iter().map(|probe| probe.from).collect::<BTreeSet<_>>());
        let everywhere = |port: u16| HOST.into_iter().chain(HOST_ON_LAN).map(move |ip| SocketAddr::new(ip, port));
        let ports = |of: fn(Target) -> Option<u16>| -> Vec<SocketAddr> {
            let ports: BTreeSet<u16> = self.0.iter().filter_map(|probe| of(probe.target)).collect();
            ports.into_iter().flat_map(everywhere).collect()
        };
        let tcp = ports(|target| if let Target::Tcp(port) = target { Some(port) } else { None });
        let udp = ports(|target| if let Target::Udp(port) = target { Some(port) } else { None });
        lab.host.listen(&tcp, &udp)
    }

    /// Fails unless every probe gets through: as without a firewall.
    #[track_caller]
    pub fn assert_open(&self, lab: &Lab) {
        assert_none(&self.differing(lab, |_| Verdict::Allowed));
    }

    /// Fails unless every probe has its verdict, naming all that have not.
    #[track_caller]
    pub fn assert_holds(&self, lab: &Lab) {
        assert_none(&self.differences(lab));
    }

    /// Each probe that has another outcome than its verdict, as a sentence.
    pub fn differences(&self, lab: &Lab) -> Vec<String> {
        self.differing(lab, |probe| probe.expected)
    }

    fn differing(&self, lab: &Lab, expected: fn(&Probe) -> Verdict) -> Vec<String> {
        thread::scope(|scope| {
            let running = self.0.iter().map(|probe| {
                let expected = expected(probe);
                let wait = if expected == Verdict::Denied { SILENCE } else { PATIENCE };
                let (inside, to) = lab.peer(probe.from);
                let outcome = scope.spawn(move || {
                    inside.enter();
                    probe_here(inside, probe.target, probe.from, to, wait)
                });
                (probe, expected, outcome)
            });
            // All are started before the first is waited for.
            let running: Vec<_> = running.collect();
            let done = running.into_iter().map(|(probe, expected, outcome)| {
                (probe, expected, outcome.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            done.filter(|(_, expected, outcome)| !expected.holds(*outcome))
                .map(|(Probe { target, from, .. }, expected, outcome)| {
                    format!("{target} from {from}: {expected:?} expected, but {outcome:?}")
                })
                .collect()
        })
    }
}

#[track_caller]
fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} probes differ:\n{}", differences.len(), differences.join("\n"));
}

/// Reads `22/tcp`, `53/udp` or `ping`.
pub fn target(word: &str) -> Option<Target> {
    if word == "ping" {
        return Some(Target::Ping);
    }
    let (port, transport) = word.split_once('/')?;
    let port = port.parse().ok()?;
    match transport {
        "tcp" => Some(Target::Tcp(port)),
        "udp" => Some(Target::Udp(port)),
        _ => None,
    }
}
