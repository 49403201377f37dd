//! The socket to nf_tables, through which all access to its rules goes.

use super::batch::Batch;
use crate::netlink::wire::attr::Message;
use crate::netlink::wire::channel::{Channel, End, refused, sending};
use crate::netlink::wire::error::{CommitError, NetlinkError};
use crate::netlink::wire::uapi::flag;
use crate::netlink::wire::write::Writer;
use nix::errno::Errno;
use std::ops::ControlFlow;

/// The name of the generation request in errors; it is the first request of every socket.
pub(in crate::netlink) const GENERATION: &str = "the number of the current ruleset";

/// A socket to nf_tables in the network namespace where it was opened.
#[derive(Debug)]
pub struct Socket(Channel);

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::NoNfTables`] if the kernel has no nfnetlink, else the error of the system call.
    pub fn open() -> Result<Self, NetlinkError> {
        Channel::open(mnl::Bus::Netfilter).map(Self).map_err(absent)
    }

    /// Sends a batch and waits for the kernel's answer.
    ///
    /// # Errors
    ///
    /// [`CommitError::Stale`] if the ruleset has another generation, [`CommitError::Refused`] with the first
    /// operation that the kernel refused. In both cases nothing was changed.
    pub fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.send_batch(batch.as_bytes())?;
        let (mut acknowledged, mut refused) = (false, None);
        self.0.answers("the change", false, |message, errno| {
            if errno == 0 {
                acknowledged |= message.seq == batch.last_seq();
            } else if message.seq <= batch.last_seq() {
                refused.get_or_insert((message.seq, Errno::from_raw(errno), message.error_text()));
            }
            acknowledged || refused.is_some()
        })?;
        match refused {
            None if acknowledged => Ok(()),
            None => Err(NetlinkError::Socket { doing: "receive", errno: Errno::ENOBUFS }.into()),
            Some((_, Errno::ERESTART, _)) => Err(CommitError::Stale),
            Some((0, Errno::EPERM, _)) => Err(NetlinkError::NotPermitted.into()),
            Some((0, Errno::EOPNOTSUPP, _)) => Err(NetlinkError::NoNfTables.into()),
            Some((seq, errno, text)) => Err(CommitError::Refused { op: batch.op(seq), errno, text }),
        }
    }

    /// The generation of the ruleset after its commit has ended; `None` if another commit began in between.
    ///
    /// A commit first raises the generation and then activates its objects one by one, all under the lock that a
    /// batch takes (`nf_tables_commit` in net/netfilter/nf_tables_api.c): a dump in that time carries the new
    /// generation and may miss rules, or mix two rulesets. An empty batch waits for the lock; the kernel refuses it
    /// before the send returns, or sends no answer.
    pub(in crate::netlink) fn settled_generation(&self) -> Result<Option<u32>, NetlinkError> {
        let genid = self.generation()?;
        Ok(self.change_nothing(genid)?.then_some(genid))
    }

    /// Waits until a commit in progress has released the lock.
    pub(in crate::netlink) fn wait_for_commit(&self) -> Result<(), NetlinkError> {
        /// The kernel does not compare this generation.
        const ANY: u32 = 0;
        self.change_nothing(ANY).map(drop)
    }

    /// Sends an empty batch; returns whether the ruleset has that generation.
    fn change_nothing(&self, genid: u32) -> Result<bool, NetlinkError> {
        self.0.send(Batch::empty(genid).as_bytes()).map_err(sending)?;
        let mut said = None;
        self.0.answers(GENERATION, true, |_, errno| {
            said = Some(Errno::from_raw(errno));
            true
        })?;
        match said {
            None => Ok(true),
            Some(Errno::ERESTART) => Ok(false),
            Some(errno) => Err(absent(refused(GENERATION, errno))),
        }
    }

    /// Sends the whole batch in one datagram: the kernel drops a batch without its end.
    fn send_batch(&self, bytes: &[u8]) -> Result<(), CommitError> {
        self.0.reserve(bytes.len());
        match self.0.send(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::EMSGSIZE | Errno::ENOBUFS) => Err(CommitError::TooBig { bytes: bytes.len() }),
            Err(errno) => Err(absent(sending(errno)).into()),
        }
    }

    /// Requests one object and passes it to `read`, which returns `None` if it is malformed.
    pub(in crate::netlink) fn get(
        &self,
        doing: &'static str,
        (kind, family): (u8, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<(), NetlinkError> {
        self.request(doing, (kind, 0, family), attributes, read).map(drop)
    }

    /// Requests all objects of a kind.
    pub(in crate::netlink) fn dump(
        &self,
        doing: &'static str,
        (kind, family): (u8, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        self.request(doing, (kind, flag::DUMP, family), attributes, read)
    }

    /// Requests objects of a kind until `read` stops; then the socket is no longer usable.
    pub(in crate::netlink) fn some(
        &self,
        doing: &'static str,
        (kind, family): (u8, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> ControlFlow<bool>,
    ) -> Result<Option<End>, NetlinkError> {
        self.0.some(doing, writing((kind, flag::DUMP, family), attributes), read).map_err(absent)
    }

    /// Sends a request and passes all answers to `read`, up to the end of a dump, or up to the acknowledgement if one
    /// is requested.
    pub(in crate::netlink) fn request(
        &self,
        doing: &'static str,
        (kind, flags, family): (u8, u16, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        let write = writing((kind, flags, family), attributes);
        self.0.request(doing, flags & (flag::DUMP | flag::ACK) != 0, write, read).map_err(absent)
    }
}

impl Socket {
    /// Requests all objects of a kind of another subsystem of nfnetlink, with that in the upper byte of `kind`.
    pub(in crate::netlink) fn dump_of_another(
        &self,
        doing: &'static str,
        (kind, family): (u16, u8),
        attributes: impl FnOnce(&mut Writer<'_>),
        read: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<End, NetlinkError> {
        let write = |bytes: &mut Vec<u8>, seq| {
            let mut writer = Writer::raw(bytes, kind, flag::DUMP, family, seq, 0);
            attributes(&mut writer);
            writer.finish();
        };
        self.0.request(doing, true, write, read)
    }
}

fn writing(
    (kind, flags, family): (u8, u16, u8),
    attributes: impl FnOnce(&mut Writer<'_>),
) -> impl FnOnce(&mut Vec<u8>, u32) {
    move |bytes, seq| {
        let mut writer = Writer::begin(bytes, kind, flags, family, seq);
        attributes(&mut writer);
        writer.finish();
    }
}

/// nfnetlink answers `EINVAL` for a subsystem that it can't load.
pub(in crate::netlink) fn absent(error: NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Refused { doing: GENERATION, errno: Errno::EINVAL | Errno::EOPNOTSUPP } => {
            NetlinkError::NoNfTables
        }
        other => other.or_absent(NetlinkError::NoNfTables),
    }
}
