//! What is known of host names, and what an answer changes.

use crate::net::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr};

/// An age or an interval, in seconds.
pub(super) type Seconds = u64;

const HOUR: Seconds = 60 * 60;
const DAY: Seconds = 24 * HOUR;
/// A name is looked up again after five minutes; the timer runs each minute, and not to the second.
const AGAIN: Seconds = 5 * 60 - 15;
/// One that has answered within an hour, and whose last look-up failed, is looked up each time that the timer runs.
const AGAIN_AFTER_FAILURE: Seconds = 45;
/// For how long failures change nothing.
const PATIENCE: Seconds = 7 * DAY;
/// How many addresses a name may have in each version of IP.
const MOST_ADDRESSES: usize = 64;
/// After so many answers in a row that each named a new address, the name counts as one that rotates: an hour.
const ROTATING: u32 = 12;

/// What is known of host names, by name in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<String, Known>);

/// For how long an address counts that answers no longer name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// An hour: for those who may open connections.
    #[default]
    Hour,
    /// A day: for destinations, of which each answer may name a few of many.
    Day,
}

impl Span {
    const fn seconds(self) -> Seconds {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }
}

/// What is known of a host name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// For how long its addresses count.
    pub span: Span,
    /// Its IPv4 addresses.
    pub v4: Answers,
    /// Its IPv6 addresses.
    pub v6: Answers,
}

/// What the answers over one version of IP have said. All ages are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The addresses, each with the age of the last answer that named it.
    pub seen: BTreeMap<IpAddr, Seconds>,
    /// The age of the last look-up; `None` if there was none.
    pub asked: Option<Seconds>,
    /// The age of the last look-up that gave an address; `None` if none did.
    pub answered: Option<Seconds>,
    /// Why the last look-up gave none; `None` if it did.
    pub failure: Option<Failure>,
    /// What the last answer named and nobody can be: this machine itself, for example.
    pub ignored: BTreeSet<IpAddr>,
    /// How many addresses were left out, because there were too many.
    pub surplus: usize,
    /// How many of the last answers in a row each named an address that was not known.
    pub surprises: u32,
}

/// Why a look-up gave no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The name does not exist.
    NoSuchName,
    /// It exists, and has no address of this version.
    NoAddress,
    /// All that was named can't be a peer's address.
    Useless,
    /// No name server answered, or those that did could not tell (SERVFAIL).
    NoServer,
    /// There was no answer within the time for all names together.
    TooLate,
    /// The system's resolver failed.
    Resolver,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "the name does not exist",
            Self::NoAddress => "it has no address",
            Self::Useless => "the answer names no address that a peer can have",
            Self::NoServer => "no name server answered, or none could tell",
            Self::TooLate => "there was no answer in time",
            Self::Resolver => "the system's resolver failed",
        })
    }
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It means nobody: no look-up gave an address, or there was none.
    Unknown(Option<Failure>),
    /// It means nobody any more: look-ups failed for seven days, or there was none.
    Over(Option<Failure>),
    /// Look-ups fail for so long, and the addresses are those from before.
    Stale(Failure, Seconds),
    /// Every answer names other addresses.
    Rotates,
}

impl Names {
    /// What is known of a name, in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.0.get(name)
    }

    /// All names with what is known of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.0.iter().map(|(name, known)| (name.as_str(), known))
    }

    /// The addresses of a name; none if it is not known.
    pub fn addresses(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        self.0.get(name).into_iter().flat_map(Known::addresses)
    }

    /// The names that have an address, or had it until a week ago.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let has = move |known: &Known| known.over(Version::of(address)).seen.contains_key(&address);
        self.iter().filter(move |(_, known)| has(known)).map(|(name, _)| name)
    }

    /// What is known of these names alone. A name of which nothing is known is among them, with nothing.
    #[must_use]
    pub fn only(&self, wanted: &BTreeMap<String, Span>) -> Self {
        let known = |(name, span): (&String, &Span)| {
            (name.clone(), Known { span: *span, ..self.0.get(name).cloned().unwrap_or_default() })
        };
        Self(wanted.iter().map(known).collect())
    }

    /// Takes the place of what is known of the same names. What is known of others stays until nobody has asked for
    /// them for a week: a rollback may bring them back.
    #[must_use]
    pub fn beside(self, others: &Self) -> Self {
        let recent = |known: &Known| known.asked().is_some_and(|asked| asked < PATIENCE);
        let mut all: BTreeMap<String, Known> = others
            .0
            .iter()
            .filter(|(_, known)| recent(known))
            .map(|(name, known)| (name.clone(), known.clone()))
            .collect();
        all.extend(self.0);
        Self(all)
    }

    /// The same with the addresses that others have of the same names.
    #[must_use]
    pub fn and_addresses_of(mut self, others: &Self) -> Self {
        for (name, known) in &mut self.0 {
            for (answers, other) in [(&mut known.v4, Version::V4), (&mut known.v6, Version::V6)] {
                answers.seen.extend(others.0.get(name).into_iter().flat_map(|known| &known.over(other).seen));
            }
        }
        self
    }

    /// Whether these are the same names with the same addresses, those of the others counted although they may be of a
    /// week ago: rules that were loaded then have them.
    #[must_use]
    pub fn has_addresses_of(&self, others: &Self) -> bool {
        let is_same = |known: &Known, other: &Known| {
            let then = other.both().into_iter().flat_map(|answers| answers.seen.keys().copied());
            known.addresses().collect::<BTreeSet<_>>() == then.collect::<BTreeSet<_>>()
        };
        self.0.len() == others.0.len()
            && self.0.iter().all(|(name, known)| others.0.get(name).is_some_and(|other| is_same(known, other)))
    }

    /// All names.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The same after so many seconds in which nobody asked.
    #[must_use]
    pub fn after(mut self, seconds: Seconds) -> Self {
        let later = |age: &mut Seconds| *age = age.saturating_add(seconds);
        for answers in self.0.values_mut().flat_map(|known| [&mut known.v4, &mut known.v6]) {
            answers.seen.values_mut().for_each(later);
            answers.asked.iter_mut().for_each(later);
            answers.answered.iter_mut().for_each(later);
        }
        self
    }

    /// The names that are to be looked up, those first that are likely to be answered: a zone whose servers are gone
    /// must not keep the others from being asked in time.
    #[must_use]
    pub fn due(&self) -> Vec<String> {
        let mut due: Vec<(bool, &String)> =
            self.0.iter().filter(|(_, known)| known.is_due()).map(|(name, known)| (known.fails(), name)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// The names that no look-up was ever made of.
    #[must_use]
    pub fn never_asked(&self) -> Vec<String> {
        self.0.iter().filter(|(_, known)| known.asked().is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// Learns the outcome of a look-up that was just made. One of another name changes nothing.
    pub fn learn(&mut self, name: &str, version: Version, outcome: Result<Vec<IpAddr>, Failure>) {
        if let Some(known) = self.0.get_mut(name) {
            let span = known.span.seconds();
            known.over_mut(version).learn(version, outcome, span);
        }
    }
}

impl Known {
    /// What is known over one version of IP.
    #[must_use]
    pub const fn over(&self, version: Version) -> &Answers {
        match version {
            Version::V4 => &self.v4,
            Version::V6 => &self.v6,
        }
    }

    const fn over_mut(&mut self, version: Version) -> &mut Answers {
        match version {
            Version::V4 => &mut self.v4,
            Version::V6 => &mut self.v6,
        }
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.both().into_iter().flat_map(Answers::addresses)
    }

    const fn both(&self) -> [&Answers; 2] {
        [&self.v4, &self.v6]
    }

    /// The age of the last look-up; `None` if there was none.
    #[must_use]
    pub fn asked(&self) -> Option<Seconds> {
        self.both().into_iter().filter_map(|answers| answers.asked).min()
    }

    /// The age of the last look-up that gave an address; `None` if none did.
    #[must_use]
    pub fn answered(&self) -> Option<Seconds> {
        self.both().into_iter().filter_map(|answers| answers.answered).min()
    }

    fn is_due(&self) -> bool {
        let has_just_failed = self.fails() && self.answered().is_some_and(|answered| answered < HOUR);
        let again = if has_just_failed { AGAIN_AFTER_FAILURE } else { AGAIN };
        self.asked().is_none_or(|asked| asked >= again)
    }

    /// Whether the last look-up has left the name without an answer that it should have. That a name has no address
    /// of one version is no failure as long as it has one of the other.
    fn fails(&self) -> bool {
        self.failure().is_some()
    }

    /// Why the last look-up failed, and the age of the last one that did not. A version of IP that the name has no address
    /// of does not count, as long as it has one of the other.
    fn failure(&self) -> Option<(Failure, Option<Seconds>)> {
        let of = |answers: &Answers| Some((answers.failure?, answers.answered));
        if self.addresses().next().is_none() {
            // The one over IPv6 is more often the machine's fault than the name's.
            return of(&self.v4).or_else(|| of(&self.v6)).map(|(failure, _)| (failure, self.answered()));
        }
        let failures = self.both().into_iter().filter(|answers| answers.addresses().next().is_some()).filter_map(of);
        failures.max_by_key(|(_, answered)| *answered)
    }

    /// Why it means nobody, in words; `None` if it has addresses.
    #[must_use]
    pub fn nobody(&self) -> Option<String> {
        match self.trouble()? {
            Trouble::Unknown(None) => Some("it has not been looked up yet".to_owned()),
            Trouble::Unknown(Some(failure)) => {
                Some(format!("no look-up has given an address, the last because {failure}"))
            }
            Trouble::Over(None) => Some("it was not looked up for seven days".to_owned()),
            Trouble::Over(Some(failure)) => {
                Some(format!("look-ups have failed for seven days, the last because {failure}"))
            }
            Trouble::Stale(..) | Trouble::Rotates => None,
        }
    }

    /// What somebody should know of the name.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let is_nobody = self.addresses().next().is_none();
        match self.failure() {
            failure if is_nobody && self.answered().is_some() => {
                return Some(Trouble::Over(failure.map(|(failure, _)| failure)));
            }
            failure if is_nobody => return Some(Trouble::Unknown(failure.map(|(failure, _)| failure))),
            Some((failure, Some(since))) if since >= HOUR => return Some(Trouble::Stale(failure, since)),
            _ => {}
        }
        self.both().iter().any(|answers| answers.surprises >= ROTATING).then_some(Trouble::Rotates)
    }
}

impl Answers {
    /// The addresses that count: none if no look-up gave an address for seven days, whether all failed or none was made.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let counts = self.answered.is_some_and(|answered| answered < PATIENCE);
        self.seen.keys().copied().filter(move |_| counts)
    }

    fn learn(&mut self, version: Version, outcome: Result<Vec<IpAddr>, Failure>, span: Seconds) {
        self.asked = Some(0);
        self.ignored.clear();
        let outcome = outcome.and_then(|named| {
            let (peers, others): (BTreeSet<_>, BTreeSet<_>) =
                named.into_iter().partition(|address| Version::of(*address) == version && is_a_peers(*address));
            let failure = if others.is_empty() { Failure::NoAddress } else { Failure::Useless };
            self.ignored = others;
            if peers.is_empty() { Err(failure) } else { Ok(peers) }
        });
        match outcome {
            Ok(named) => self.take(&named, span),
            Err(failure) => {
                self.failure = Some(failure);
                if self.answered.is_none_or(|answered| answered >= PATIENCE) {
                    self.seen.clear();
                    self.surprises = 0;
                }
            }
        }
    }

    /// Takes the addresses of an answer, and drops those that no answer has named for long enough.
    fn take(&mut self, named: &BTreeSet<IpAddr>, span: Seconds) {
        let is_first = self.answered.is_none();
        let is_surprise = !is_first && named.iter().any(|address| !self.seen.contains_key(address));
        self.surprises = if is_surprise { self.surprises.saturating_add(1) } else { 0 };
        (self.answered, self.failure) = (Some(0), None);
        // Those that are known come first, so that an answer with too many in another order changes nothing.
        let (known, new): (Vec<IpAddr>, Vec<IpAddr>) =
            named.iter().partition(|address| self.seen.contains_key(*address));
        self.surplus = named.len().saturating_sub(MOST_ADDRESSES);
        let taken: Vec<IpAddr> = known.into_iter().chain(new).take(MOST_ADDRESSES).collect();
        self.seen.extend(taken.into_iter().map(|address| (address, 0)));
        self.seen.retain(|_, age| *age < span);
        if self.seen.len() > MOST_ADDRESSES {
            let mut ages: Vec<(Seconds, IpAddr)> = self.seen.iter().map(|(address, age)| (*age, *address)).collect();
            ages.sort_unstable();
            self.surplus = self.surplus.saturating_add(ages.len() - MOST_ADDRESSES);
            self.seen = ages.into_iter().take(MOST_ADDRESSES).map(|(age, address)| (address, age)).collect();
        }
    }
}

/// Whether somebody else can have an address: it is not this machine, a group, the link, or nothing at all.
fn is_a_peers(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_a_peers_v4(address),
        IpAddr::V6(address) => {
            // fe80::/10; std has a name for it only since 1.84, and not for IPv4-mapped ones.
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some())
        }
    }
}

const fn is_a_peers_v4(address: Ipv4Addr) -> bool {
    // 0.0.0.0/8 is this host on this network (RFC 1122, 3.2.1.3).
    !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast())
}
