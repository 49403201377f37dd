//! Connection tracking over netlink: the connections that the kernel knows, and the end of some of them.

mod entry;
#[cfg(test)]
mod tests;
mod wire;

pub use entry::{Entry, Layer4, Tuple, Zones};
pub(super) use wire::read;

use super::wire::attr::Fields;
use super::wire::channel::{Channel, End, refused, sending};
use super::wire::error::NetlinkError;
use super::wire::uapi::{ct, flag};
use nix::errno::Errno;

/// What the first request is called in errors.
const COUNT: &str = "the number of connections";
/// Deletions in one datagram: should each fail, the errors still fit the receive buffer of an unprivileged user, which
/// holds 256.
const AT_ONCE: usize = 128;

/// A socket to the connection tracking of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Conntrack(Channel);

/// What became of connections that were to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Deleted {
    /// So many were deleted.
    pub deleted: usize,
    /// So many were gone already, or gone and begun anew with the same tuple.
    pub gone: usize,
}

impl Conntrack {
    /// Opens a socket in the network namespace of the calling thread, and sees whether the kernel answers.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::NoConntrack`] when the kernel can't list connections, [`NetlinkError::NotPermitted`] without
    /// `CAP_NET_ADMIN`, else what the system call says.
    pub fn open() -> Result<Self, NetlinkError> {
        let conntrack = Channel::open(mnl::Bus::Netfilter).map(Self).map_err(absent)?;
        conntrack.count()?;
        Ok(conntrack)
    }

    /// How many connections the kernel knows in this namespace.
    ///
    /// # Errors
    ///
    /// As [`Conntrack::open`].
    pub fn count(&self) -> Result<u32, NetlinkError> {
        let mut count = None;
        let write = |bytes: &mut Vec<u8>, seq| wire::begin(bytes, ct::GET_STATS, 0, 0, seq).finish();
        let read = |message: &super::wire::attr::Message<'_>| {
            let fields = Fields::<{ ct::STATS_ENTRIES as usize + 1 }>::read(message.attributes()?)?;
            count = Some(fields.u32(ct::STATS_ENTRIES)?);
            Some(())
        };
        self.0.request(COUNT, false, write, read).map_err(absent)?;
        count.ok_or(NetlinkError::Malformed(COUNT))
    }

    /// Hands each connection of both IP families to `visit`, in no order, as the kernel tells them: none is kept.
    ///
    /// Connections that begin or end meanwhile may or may not be seen. One may be seen twice, when its neighbour in the
    /// kernel's table ended between two datagrams.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Malformed`] when an entry made no sense, after all others were visited.
    pub fn entries(&mut self, mut visit: impl FnMut(Entry)) -> Result<End, NetlinkError> {
        let write = |bytes: &mut Vec<u8>, seq| wire::begin(bytes, ct::GET, flag::DUMP, 0, seq).finish();
        self.0.request("the list of connections", true, write, |message| wire::read(message).map(&mut visit))
    }

    /// The connection whose answers have that tuple; `None` where there is none. None is listed for it.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn answered_by(&self, reply: &Tuple) -> Result<Option<Entry>, NetlinkError> {
        let mut found = None;
        let write = |bytes: &mut Vec<u8>, seq| wire::write_get_by_reply(bytes, seq, reply);
        let asked = self.0.request("a connection", false, write, |message| {
            found = Some(wire::read(message)?);
            Some(())
        });
        match asked {
            Ok(_) => Ok(found),
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes connections: exactly those, each by its original tuple, its zone and its id. One that is gone is no error.
    ///
    /// The next packet of a deleted connection is judged by the rules as that of a new one. Should a new connection
    /// have got both the tuple and the id of one of these meanwhile, its next packet is judged once more, no worse.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Refused`] with the kernel's first word on one that it would not delete. All others were still
    /// deleted.
    pub fn delete(&mut self, entries: &[Entry]) -> Result<Deleted, NetlinkError> {
        let mut total = Deleted::default();
        let mut first_refused = None;
        for chunk in entries.chunks(AT_ONCE) {
            let answers = self.delete_at_once(chunk)?;
            total.deleted += chunk.len().saturating_sub(answers.gone + answers.refused);
            total.gone += answers.gone;
            first_refused = first_refused.or(answers.first_refused);
        }
        match first_refused {
            Some(errno) => Err(refused(DELETE, errno)),
            None => Ok(total),
        }
    }

    /// Sends the deletions in one datagram. Each that fails is answered, and the last in any case.
    fn delete_at_once(&self, entries: &[Entry]) -> Result<Answers, NetlinkError> {
        let Some((last, others)) = entries.split_last() else { return Ok(Answers::default()) };
        let (seq, last_seq) = (self.0.next_seq(), self.0.next_seq());
        let mut bytes = Vec::with_capacity(entries.len() * 128);
        for entry in others {
            wire::write_delete(&mut bytes, 0, seq, entry);
        }
        wire::write_delete(&mut bytes, flag::ACK, last_seq, last);
        self.0.send(&bytes).map_err(sending)?;

        let (mut answers, mut complete) = (Answers::default(), false);
        self.0.answers(DELETE, false, |message, errno| {
            if message.seq == seq || message.seq == last_seq {
                match Errno::from_raw(errno) {
                    _ if errno == 0 => {}
                    Errno::ENOENT => answers.gone += 1,
                    other => {
                        answers.refused += 1;
                        answers.first_refused.get_or_insert(other);
                    }
                }
            }
            complete |= message.seq == last_seq;
            complete
        })?;
        if complete { Ok(answers) } else { Err(NetlinkError::Socket { doing: "receive", errno: Errno::ENOBUFS }) }
    }
}

/// What deletion is called in errors.
const DELETE: &str = "the deletion of connections";

/// What the kernel said to deletions.
#[derive(Debug, Default)]
struct Answers {
    gone: usize,
    refused: usize,
    first_refused: Option<Errno>,
}

/// nfnetlink calls a subsystem that it can't load invalid.
fn absent(error: NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Refused { doing: COUNT, errno: Errno::EINVAL | Errno::EOPNOTSUPP } => NetlinkError::NoConntrack,
        other => other.or_absent(NetlinkError::NoConntrack),
    }
}
