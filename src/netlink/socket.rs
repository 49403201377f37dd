//! The netlink socket: the one way to nf_tables.
#![allow(unsafe_code)]

use super::attr::{Message, Messages};
use super::batch::Batch;
use super::error::{CommitError, NetlinkError};
use super::uapi::{control, flag};
use super::write::Writer;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the request for the generation is called in errors; it is the first that a socket sends.
pub(super) const GENERATION: &str = "the number of the current ruleset";
/// Room for one datagram: the kernel's dumps come in at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;
/// Room for unread answers: one acknowledgement of a batch, or an error for each of its messages.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// The kernel answers before the request's system call returns; more is a kernel at fault.
const PATIENCE_S: u16 = 10;
/// Requests count from here; the messages of a batch count from 1, so that no answer is taken for another's.
const FIRST_REQUEST: u32 = 0x8000_0000;

/// A socket to nf_tables of the network namespace that it was opened in.
pub struct Socket {
    inner: mnl::Socket,
    buffer: RefCell<Vec<u8>>,
    seq: Cell<u32>,
    send_buffer: Cell<usize>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("fd", &self.inner.as_raw_fd()).finish_non_exhaustive()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All there is was read.
    Complete,
    /// The ruleset changed during the dump.
    Interrupted,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::NoNfTables`] when the kernel has no nfnetlink, else what the system call says.
    pub fn open() -> Result<Self, NetlinkError> {
        let inner = mnl::Socket::new(mnl::Bus::Netfilter).map_err(|error| match errno_of(&error) {
            Errno::EPROTONOSUPPORT => NetlinkError::NoNfTables,
            errno => NetlinkError::Socket { doing: "open", errno },
        })?;
        let buffer = RefCell::new(vec![0; DATAGRAM]);
        let socket = Self { inner, buffer, seq: Cell::new(FIRST_REQUEST), send_buffer: Cell::new(0) };
        socket.netlink_option(libc::NETLINK_EXT_ACK);
        socket.netlink_option(libc::NETLINK_CAP_ACK);
        let fd = socket.fd();
        // Less room loses nothing but the later ones of a great many errors.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER));
        Ok(socket)
    }

    /// Turns on an option of kernel 4.12 and newer, without which errors say less.
    fn netlink_option(&self, option: libc::c_int) {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is the `int` that the pointer leads to, as long as the length says.
        unsafe {
            libc::setsockopt(
                self.inner.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket that is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }

    /// Sends a batch, and waits for the kernel's word on it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Stale`] when the ruleset is of another generation, [`CommitError::Refused`] with the first
    /// operation that the kernel refused. In both cases nothing was changed.
    pub fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        const DOING: &str = "the change";
        if batch.is_empty() {
            return Ok(());
        }
        self.send_batch(batch.as_bytes())?;
        let mut buffer = self.buffer.borrow_mut();
        let (mut acknowledged, mut refused, mut overrun) = (false, None, false);
        loop {
            match self.receive_now(&mut buffer) {
                Ok(datagram) => {
                    for message in Messages::new(datagram).filter(|message| message.kind == control::ERROR) {
                        match message.errno() {
                            Some(0) => acknowledged |= message.seq == batch.last_seq(),
                            Some(errno) if message.seq <= batch.last_seq() => {
                                refused.get_or_insert((message.seq, Errno::from_raw(errno), message.error_text()));
                            }
                            _ => {}
                        }
                    }
                }
                Err(Errno::EAGAIN) if acknowledged || refused.is_some() => break,
                Err(Errno::EAGAIN) if overrun => break,
                Err(Errno::EAGAIN) => self.wait(DOING)?,
                // Too many errors to queue: the first ones are there.
                Err(Errno::ENOBUFS) => overrun = true,
                Err(errno) => return Err(NetlinkError::Socket { doing: "receive", errno }.into()),
            }
        }
        match refused {
            None if acknowledged => Ok(()),
            None => Err(NetlinkError::Socket { doing: "receive", errno: Errno::ENOBUFS }.into()),
            Some((_, Errno::ERESTART, _)) => Err(CommitError::Stale),
            Some((0, Errno::EPERM, _)) => Err(NetlinkError::NotPermitted.into()),
            Some((0, Errno::EOPNOTSUPP, _)) => Err(NetlinkError::NoNfTables.into()),
            Some((seq, errno, text)) => Err(CommitError::Refused { op: batch.op(seq), errno, text }),
        }
    }

    /// Sends the whole batch in one datagram: the kernel drops one whose end is missing.
    fn send_batch(&self, bytes: &[u8]) -> Result<(), CommitError> {
        if bytes.len() > self.send_buffer.get() {
            let fd = self.fd();
            // Should neither help, the send says so.
            let _ = setsockopt(&fd, sockopt::SndBufForce, &bytes.len())
                .or_else(|_| setsockopt(&fd, sockopt::SndBuf, &bytes.len()));
            self.send_buffer.set(bytes.len());
        }
        match self.inner.send(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(CommitError::TooBig { bytes: bytes.len() }),
            Err(error) => Err(match errno_of(&error) {
                Errno::EMSGSIZE | Errno::ENOBUFS => CommitError::TooBig { bytes: bytes.len() },
                errno => sending(errno).into(),
            }),
        }
    }

    /// Asks for one object, and hands it to `read`, which gives `None` for a malformed one.
    pub(super) fn get(
        &self,
        doing: &'static str,
        (kind, family): (u8, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<(), NetlinkError> {
        self.request(doing, (kind, 0, family), attributes, read).map(drop)
    }

    /// Asks for all objects of a kind.
    pub(super) fn dump(
        &self,
        doing: &'static str,
        (kind, family): (u8, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        self.request(doing, (kind, flag::DUMP, family), attributes, read)
    }

    fn request(
        &self,
        doing: &'static str,
        (kind, flags, family): (u8, u16, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        mut read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        let seq = self.seq.get();
        self.seq.set(seq.wrapping_add(1) | FIRST_REQUEST);
        let mut bytes = Vec::with_capacity(64);
        let mut writer = Writer::begin(&mut bytes, kind, flags, family, seq);
        attributes(&mut writer);
        writer.finish();
        self.inner.send(&bytes).map_err(|error| sending(errno_of(&error)))?;

        let mut buffer = self.buffer.borrow_mut();
        let (mut end, mut whole) = (End::Complete, true);
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
                        whole &= read(&message).is_some();
                        flags == 0
                    }
                };
                if last {
                    return if whole { Ok(end) } else { Err(NetlinkError::Malformed(doing)) };
                }
            }
        }
    }

    /// One datagram, if there is one.
    fn receive_now<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let len = loop {
            match nix::sys::socket::recv(self.inner.as_raw_fd(), buffer, flags) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        buffer.get(..len).ok_or(Errno::EMSGSIZE)
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

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

fn sending(errno: Errno) -> NetlinkError {
    match errno {
        Errno::ECONNREFUSED | Errno::EPROTONOSUPPORT => NetlinkError::NoNfTables,
        Errno::EPERM => NetlinkError::NotPermitted,
        errno => NetlinkError::Socket { doing: "send", errno },
    }
}

/// nfnetlink checks the capability before all else, and calls a subsystem that it can't load invalid.
fn refused(doing: &'static str, errno: Errno) -> NetlinkError {
    match errno {
        Errno::EPERM => NetlinkError::NotPermitted,
        Errno::EINVAL | Errno::EOPNOTSUPP if doing == GENERATION => NetlinkError::NoNfTables,
        errno => NetlinkError::Refused { doing, errno },
    }
}
