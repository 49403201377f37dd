//! Someone outside who tries to get in all the time.

use super::{EARLY, Machine};
use crate::support::lab::HOST;
use crate::support::namespace::Namespace;
use nix::libc::{ECONNREFUSED, EINPROGRESS};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an attempt stays open for an answer. TCP would send its packet again only after a second.
const OPEN: Duration = Duration::from_millis(100);
/// How long to wait before the next attempt at each address.
const PACE: Duration = Duration::from_millis(1);

/// Attempts at each address after the boot is done.
const AFTERWARDS: u64 = 200;
/// What a client hears that nobody answers, over IPv4 and IPv6.
pub const NOBODY: [Answers; 2] = [Answers { accepted: 0, refused: 0 }; 2];

/// A hammered boot: how it ended, and what the client got.
pub struct Boot {
    pub state: String,
    pub answers: Vec<Answers>,
}

/// Boots while the client hammers the early listener, from before the machine is switched on until it is up and longer.
#[track_caller]
pub fn hammered_boot(machine: &mut Machine) -> Boot {
    let hammer = Hammer::start(&machine.client, &HOST, EARLY);
    hammer.wait_for_tries(AFTERWARDS);
    let state = machine.boot(&[]);
    machine.assert_ssh_answers();
    let listens = machine.run(&format!("ss --no-header --listening --tcp 'sport = :{EARLY}'"));
    assert!(!listens.is_empty(), "there is nothing to get in to");
    hammer.wait_for_tries(AFTERWARDS);
    Boot { state, answers: hammer.stop() }
}

/// Fails unless the client's packets have arrived, and were denied.
#[track_caller]
pub fn assert_denied(machine: &Machine) {
    let status: serde_json::Value = serde_json::from_str(&machine.run("palisade --json status")).expect("JSON");
    let denied = status["denied"]["incoming"]["packets"].as_u64();
    assert!(denied >= Some(AFTERWARDS), "{status}");
}

/// What the client gets within so many attempts from now on.
#[track_caller]
pub fn hammered(machine: &Machine) -> Vec<Answers> {
    let hammer = Hammer::start(&machine.client, &HOST, EARLY);
    hammer.wait_for_tries(AFTERWARDS);
    hammer.stop()
}

/// What came of the attempts at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Attempts that were refused: the packet got through to where nothing listened yet.
    pub refused: u64,
}

/// A thread that tries to connect until it is told to stop.
pub struct Hammer {
    stop: Arc<AtomicBool>,
    tries: Arc<AtomicU64>,
    thread: JoinHandle<Vec<Answers>>,
}

struct Attempt {
    at: usize,
    since: Instant,
    socket: Socket,
}

impl Hammer {
    /// Begins to try a port at each of the addresses.
    pub fn start(from: &Namespace, at: &[IpAddr], port: u16) -> Self {
        let (stop, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let targets: Vec<SocketAddr> = at.iter().map(|address| SocketAddr::new(*address, port)).collect();
        let (namespace, stopped, tried) = (from.clone(), stop.clone(), tries.clone());
        let thread = thread::spawn(move || {
            namespace.enter();
            hammer(&targets, &stopped, &tried)
        });
        Self { stop, tries, thread }
    }

    /// Waits until each address has been tried so many times more.
    pub fn wait_for_tries(&self, more: u64) {
        let enough = self.tries.load(Ordering::Relaxed) + more;
        while self.tries.load(Ordering::Relaxed) < enough {
            assert!(!self.thread.is_finished(), "whoever hammers has stopped");
            thread::sleep(OPEN / 10);
        }
    }

    /// Ends it; gives what came of it, address by address.
    pub fn stop(self) -> Vec<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn hammer(targets: &[SocketAddr], stop: &AtomicBool, tries: &AtomicU64) -> Vec<Answers> {
    let mut answers = vec![Answers::default(); targets.len()];
    let mut open: Vec<Attempt> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for (at, target) in targets.iter().enumerate() {
            if let Some(socket) = begin(*target) {
                open.push(Attempt { at, since: Instant::now(), socket });
            }
        }
        tries.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PACE);
        let ready: Vec<bool> = {
            let mut waiting: Vec<PollFd> =
                open.iter().map(|attempt| PollFd::new(attempt.socket.as_fd(), PollFlags::POLLOUT)).collect();
            poll(&mut waiting, PollTimeout::ZERO).expect("poll of sockets that are open");
            waiting.iter().map(|fd| fd.any() == Some(true)).collect()
        };
        let mut ready = ready.into_iter();
        open.retain(|attempt| {
            if ready.next() != Some(true) {
                return attempt.since.elapsed() < OPEN;
            }
            match attempt.socket.take_error() {
                Ok(None) => answers[attempt.at].accepted += 1,
                Ok(Some(error)) if error.raw_os_error() == Some(ECONNREFUSED) => answers[attempt.at].refused += 1,
                // The client's own kernel says so: there is no machine at the wire's end yet, or no more.
                Ok(Some(_)) | Err(_) => {}
            }
            false
        });
    }
    answers
}

/// Sends a connection's first packet; `None` where the client's own kernel sees no way.
fn begin(target: SocketAddr) -> Option<Socket> {
    let socket =
        Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP)).expect("sockets are left");
    socket.set_nonblocking(true).expect("every socket can");
    // Closed by a reset: no port stays taken.
    socket.set_linger(Some(Duration::ZERO)).expect("every socket can");
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => Some(socket),
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => Some(socket),
        Err(_) => None,
    }
}
