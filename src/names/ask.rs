//! The look-ups, in a process that does nothing else.

use super::hosts;
use super::model::Failure;
use super::words::Answered;
use crate::net::Version;
use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How many look-ups are made at once: dnsmasq refuses more than 150 that it has to forward.
const AT_ONCE: usize = 64;
/// The stack of a thread that looks up, in bytes; the modules of the C library keep whole answers on it.
const STACK: usize = 512 << 10;
/// The longest line that is read.
const MAX_LINE: u64 = 1 << 10;

/// Looks up the names that it reads, one a line, in that order, over both versions of IP, and writes each outcome as soon as it is
/// known. `hosts` is the text of `/etc/hosts`. Returns when all are known, or when the time is over: then threads are left behind, which end with the
/// process.
///
/// # Errors
/// The other side has gone.
pub fn answer(from: &mut impl BufRead, to: &mut impl Write, hosts: &str, within: Duration) -> io::Result<()> {
    let names = read(from)?;
    // The time counts from here: the other side may have had to read a policy first.
    let end = Instant::now() + within;
    let hosts = Arc::new(hosts::parse(hosts));
    let asked = names.iter().flat_map(|name| Version::ALL.map(|version| (name.clone(), version)));
    let queue: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(asked.collect()));
    let count = names.len() * Version::ALL.len();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..AT_ONCE.min(count) {
        let (queue, sender, hosts) = (Arc::clone(&queue), sender.clone(), Arc::clone(&hosts));
        let work = move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((name, version)) = next else { return };
                let outcome = look_up(&name, version, &hosts);
                if sender.send(Answered { name, version, outcome }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().stack_size(STACK).spawn(work)?;
    }
    drop(sender);
    while let Ok(answered) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        writeln!(to, "{}", answered.line())?;
        to.flush()?;
    }
    Ok(())
}

fn read(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    loop {
        let mut line = String::new();
        if io::Read::take(&mut *from, MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(names);
        }
        names.push(line.trim_end().to_owned());
    }
}

/// Looks up one name over one version of IP. The dot behind it keeps the resolver from trying the domains that it
/// searches: they are for names that somebody typed, and whoever has one of them would be let in. `/etc/hosts` knows no
/// such dot.
fn look_up(name: &str, version: Version, hosts: &BTreeSet<(String, Version)>) -> Result<Vec<IpAddr>, Failure> {
    let whole = if hosts.contains(&(name.to_owned(), version)) { name.to_owned() } else { format!("{name}.") };
    let family = match version {
        Version::V4 => AddrFamily::Inet,
        Version::V6 => AddrFamily::Inet6,
    };
    let hints =
        AddrInfoHints { address: family.into(), socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(&whole), None, Some(hints)) {
        Ok(found) => Ok(found.filter_map(Result::ok).map(|info| info.sockaddr.ip()).collect()),
        Err(error) => Err(match error.kind() {
            LookupErrorKind::NoName => Failure::NoSuchName,
            LookupErrorKind::NoData => Failure::NoAddress,
            LookupErrorKind::Again | LookupErrorKind::Fail => Failure::NoServer,
            _ => Failure::Resolver,
        }),
    }
}
