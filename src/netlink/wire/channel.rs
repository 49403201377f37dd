//! A netlink socket to any part of the kernel: requests, dumps and acknowledgements.
#![allow(unsafe_code)]

use super::attr::{Message, Messages};
use super::error::NetlinkError;
use super::uapi::{control, flag};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{setsockopt, sockopt};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The size of the receive buffer for one datagram: the kernel's dumps use at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;
/// Room for unread answers: one acknowledgement per send, or an error for each message in it.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// More datagrams than the receive buffer has room for. The kernel doubles its size, and counts each with its
/// bookkeeping, some 600 bytes (`SKB_TRUESIZE`).
const MOST_EVENTS: usize = 2 * RECEIVE_BUFFER / 512;
/// Slightly below the default; asking for less would shrink the buffer.
const SEND_BUFFER: usize = 128 * 1024;
/// The kernel answers before the request's system call returns, so a longer wait means a broken kernel.
const PATIENCE_S: u16 = 10;
/// Request numbers start here and batch messages at 1, so that no answer is taken for another's.
const FIRST_REQUEST: u32 = 0x8000_0000;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was read.
    Complete,
    /// The requested objects changed during the dump.
    Interrupted,
}

/// A netlink socket in the network namespace where it was opened.
///
/// Its errors are generic: the caller knows which errno means that its subsystem is absent.
pub(in crate::netlink) struct Channel {
    inner: mnl::Socket,
    buffer: RefCell<Vec<u8>>,
    seq: Cell<u32>,
    send_buffer: Cell<usize>,
}

// SAFETY: libmnl's socket is a file descriptor and an address on the heap, not tied to the thread that made it; it
// moves to one other thread and is never shared.
unsafe impl Send for Channel {}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("fd", &self.inner.as_raw_fd()).finish_non_exhaustive()
    }
}

impl Channel {
    /// Opens a socket in the network namespace of the calling thread.
    pub(in crate::netlink) fn open(bus: mnl::Bus) -> Result<Self, NetlinkError> {
        let inner =
            mnl::Socket::new(bus).map_err(|error| NetlinkError::Socket { doing: "open", errno: errno_of(&error) })?;
        let buffer = RefCell::new(Vec::with_capacity(DATAGRAM));
        let channel = Self { inner, buffer, seq: Cell::new(FIRST_REQUEST), send_buffer: Cell::new(SEND_BUFFER) };
        let on = 1;
        // Kernels before 4.12 lack these options and describe errors less precisely.
        let _ = channel.netlink_option(libc::NETLINK_EXT_ACK, on);
        let _ = channel.netlink_option(libc::NETLINK_CAP_ACK, on);
        let fd = channel.fd();
        // A smaller buffer only loses the later ones of very many errors.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER));
        Ok(channel)
    }

    fn netlink_option(&self, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
        // SAFETY: the value is a live `int`, and the length is its size.
        let set = unsafe {
            libc::setsockopt(
                self.inner.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        Errno::result(set).map(drop)
    }

    /// Subscribes to a multicast group, by its number.
    pub(in crate::netlink) fn join(&self, group: libc::c_int) -> Result<(), NetlinkError> {
        self.netlink_option(libc::NETLINK_ADD_MEMBERSHIP, group)
            .map_err(|errno| NetlinkError::Socket { doing: "listen", errno })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the borrowed socket.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }

    /// Enlarges the send buffer for that many bytes in one datagram.
    pub(in crate::netlink) fn reserve(&self, bytes: usize) {
        if bytes > self.send_buffer.get() {
            let fd = self.fd();
            // If neither option works, the send reports it.
            let _ =
                setsockopt(&fd, sockopt::SndBufForce, &bytes).or_else(|_| setsockopt(&fd, sockopt::SndBuf, &bytes));
            self.send_buffer.set(bytes);
        }
    }

    /// Sends all messages in one datagram and returns how many bytes were sent.
    pub(in crate::netlink) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.inner.send(bytes).map_err(|error| errno_of(&error))
    }

    /// The sequence number of the next request.
    pub(in crate::netlink) fn next_seq(&self) -> u32 {
        let seq = self.seq.get();
        self.seq.set(seq.wrapping_add(1) | FIRST_REQUEST);
        seq
    }

    /// Sends a request, which `write` encodes with its sequence number, and passes all answers to `read`, which
    /// returns `None` for a malformed one.
    ///
    /// With `dump` the answer is a series of messages and an end, otherwise one message.
    pub(in crate::netlink) fn request(
        &self,
        doing: &'static str,
        dump: bool,
        write: impl FnOnce(&mut Vec<u8>, u32),
        mut read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        let mut whole = true;
        let end = self.converse(doing, dump, write, |message| {
            whole &= read(message).is_some();
            ControlFlow::Continue(())
        })?;
        end.filter(|_| whole).ok_or(NetlinkError::Malformed(doing))
    }

    /// A dump that `read` may stop, having seen enough or something malformed. `None` if it has seen enough; the
    /// socket is no longer usable then.
    pub(in crate::netlink) fn some(
        &self,
        doing: &'static str,
        write: impl FnOnce(&mut Vec<u8>, u32),
        mut read: impl FnMut(&Message<'_>) -> ControlFlow<bool>,
    ) -> Result<Option<End>, NetlinkError> {
        let mut enough = true;
        let end = self.converse(doing, true, write, |message| read(message).map_break(|well| enough = well))?;
        if enough { Ok(end) } else { Err(NetlinkError::Malformed(doing)) }
    }

    /// Sends a request and passes all answers to `read`; `None` if `read` stopped.
    fn converse(
        &self,
        doing: &'static str,
        dump: bool,
        write: impl FnOnce(&mut Vec<u8>, u32),
        mut read: impl FnMut(&Message<'_>) -> ControlFlow<()>,
    ) -> Result<Option<End>, NetlinkError> {
        let seq = self.next_seq();
        let mut bytes = Vec::with_capacity(64);
        write(&mut bytes, seq);
        self.send(&bytes).map_err(sending)?;

        let mut buffer = self.buffer.borrow_mut();
        let mut end = End::Complete;
        loop {
            let datagram = match self.receive_now(&mut buffer) {
                Ok(datagram) => datagram,
                Err(Errno::EAGAIN) => {
                    self.wait(doing)?;
                    continue;
                }
                Err(errno) => return Err(NetlinkError::Socket { doing: "receive", errno }),
            };
            for message in Messages::new(datagram).filter(|message| message.seq == seq) {
                if message.flags & flag::DUMP_INTR != 0 {
                    end = End::Interrupted;
                }
                let last = match message.kind {
                    control::ERROR | control::DONE => match message.errno() {
                        Some(0) => true,
                        Some(errno) => return Err(refused(doing, Errno::from_raw(errno))),
                        None => return Err(NetlinkError::Malformed(doing)),
                    },
                    _ => {
                        if read(&message).is_break() {
                            return Ok(None);
                        }
                        !dump
                    }
                };
                if last {
                    return Ok(Some(end));
                }
            }
        }
    }

    /// Reads acknowledgements and errors, and passes each to `answer` with its errno, which is 0 for an
    /// acknowledgement.
    ///
    /// Unless `settled` is set from the start, waits until `answer` has once returned true; then takes the rest of
    /// the queue. If the kernel's answers overflowed the buffer, it takes those in the queue without waiting.
    pub(in crate::netlink) fn answers(
        &self,
        doing: &'static str,
        mut settled: bool,
        mut answer: impl FnMut(&Message<'_>, i32) -> bool,
    ) -> Result<(), NetlinkError> {
        let mut buffer = self.buffer.borrow_mut();
        let mut overrun = false;
        loop {
            match self.receive_now(&mut buffer) {
                Ok(datagram) => {
                    for message in Messages::new(datagram).filter(|message| message.kind == control::ERROR) {
                        if let Some(errno) = message.errno() {
                            settled |= answer(&message, errno);
                        }
                    }
                }
                Err(Errno::EAGAIN) if settled || overrun => return Ok(()),
                Err(Errno::EAGAIN) => self.wait(doing)?,
                // Too many errors for the buffer: the first ones are in it.
                Err(Errno::ENOBUFS) => overrun = true,
                Err(errno) => return Err(NetlinkError::Socket { doing: "receive", errno }),
            }
        }
    }

    /// Passes each queued datagram to `event`, and `None` for those that did not fit the buffer. If new ones come
    /// faster than they are read, it leaves the rest in the queue, and passes `None` for those, too.
    pub(in crate::netlink) fn events(&self, event: impl FnMut(Option<&[u8]>)) -> Result<(), NetlinkError> {
        drain(&mut self.buffer.borrow_mut(), |buffer| self.receive_now(buffer).map(drop), event)
            .map_err(|errno| NetlinkError::Socket { doing: "receive", errno })
    }

    /// Receives a queued datagram without waiting.
    fn receive_now<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        buffer.clear();
        let room = buffer.spare_capacity_mut();
        let len = loop {
            // SAFETY: the kernel writes at most as many bytes as the buffer has room for.
            let len = unsafe {
                let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
                libc::recv(self.inner.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), flags)
            };
            match Errno::result(len) {
                Err(Errno::EINTR) => {}
                result => break result?.unsigned_abs(),
            }
        };
        if len > room.len() {
            return Err(Errno::EMSGSIZE);
        }
        // SAFETY: the kernel has written that many bytes, within the buffer's capacity.
        unsafe { buffer.set_len(len) };
        Ok(buffer)
    }

    /// Waits for a datagram.
    fn wait(&self, doing: &'static str) -> Result<(), NetlinkError> {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::from(PATIENCE_S.saturating_mul(1000));
        match nix::poll::poll(&mut fds, timeout) {
            Ok(0) => Err(NetlinkError::NoAnswer { doing, seconds: PATIENCE_S }),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(NetlinkError::Socket { doing: "poll", errno }),
        }
    }
}

/// Reads datagrams until the queue is empty, but no more than were in it at the beginning.
fn drain(
    buffer: &mut Vec<u8>,
    mut receive: impl FnMut(&mut Vec<u8>) -> Result<(), Errno>,
    mut event: impl FnMut(Option<&[u8]>),
) -> Result<(), Errno> {
    for _ in 0..MOST_EVENTS {
        match receive(buffer) {
            Ok(()) => event(Some(buffer)),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::ENOBUFS) => event(None),
            Err(errno) => return Err(errno),
        }
    }
    event(None);
    Ok(())
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// The error of a failed send.
pub(in crate::netlink) fn sending(errno: Errno) -> NetlinkError {
    match errno {
        Errno::EPERM => NetlinkError::NotPermitted,
        errno => NetlinkError::Socket { doing: "send", errno },
    }
}

/// The error of a refused request. The kernel checks the capability before anything else.
pub(in crate::netlink) fn refused(doing: &'static str, errno: Errno) -> NetlinkError {
    match errno {
        Errno::EPERM => NetlinkError::NotPermitted,
        errno => NetlinkError::Refused { doing, errno },
    }
}

impl NetlinkError {
    /// `absent` if the errno of the socket's own calls means that no subsystem answers, else the error itself.
    pub(in crate::netlink) fn or_absent(self, absent: Self) -> Self {
        match self {
            Self::Socket { errno: Errno::ECONNREFUSED | Errno::EPROTONOSUPPORT, .. } => absent,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_fills_as_fast_as_it_is_read_is_left_as_if_something_was_lost() {
        let events = |mut left: usize| {
            let (mut seen, mut lost) = (0, 0);
            let receive = |buffer: &mut Vec<u8>| {
                left = left.checked_sub(1).ok_or(Errno::EAGAIN)?;
                buffer.clear();
                Ok(())
            };
            let drained = drain(&mut Vec::new(), receive, |event| match event {
                Some(_) => seen += 1,
                None => lost += 1,
            });
            (drained, seen, lost)
        };
        assert_eq!(events(3), (Ok(()), 3, 0));
        assert_eq!(events(usize::MAX), (Ok(()), MOST_EVENTS, 1));
    }
}
