//! Connection tracking over netlink: reads the kernel's connections and deletes some of them.

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

/// The name of the first request in errors.
const COUNT: &str = "the number of connections";
/// Deletions per datagram: even if each fails, the errors fit an unprivileged user's receive buffer, which holds 256.
const AT_ONCE: usize = 128;

/// A socket to connection tracking in the network namespace where it was opened.
#[derive(Debug)]
pub struct Conntrack(Channel);

/// The result of deleting connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Deleted {
    /// How many were deleted.
    pub deleted: usize,
    /// How many no longer existed, or were replaced by a new connection with the same tuple.
    pub gone: usize,
}

impl Conntrack {
    /// Opens a socket in the network namespace of the calling thread, and checks that the kernel answers.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::NoConntrack`] if the kernel can't list connections, [`NetlinkError::NotPermitted`] without
    /// `CAP_NET_ADMIN`, else the error of the system call.
    pub fn open() -> Result<Self, NetlinkError> {
        let conntrack = Channel::open(mnl::Bus::Netfilter).map(Self).map_err(absent)?;
        conntrack.count()?;
        Ok(conntrack)
    }

    /// The number of connections in this namespace.
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

    /// Calls `visit` for each connection of both IP families, unordered, as the kernel sends them; none are stored.
    ///
    /// Connections that begin or end meanwhile may be missed. One may be seen twice, if its neighbour in the kernel's
    /// table ended between two datagrams.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Malformed`] if an entry could not be decoded, after all others were visited.
    pub fn entries(&mut self, mut visit: impl FnMut(Entry)) -> Result<End, NetlinkError> {
        let write = |bytes: &mut Vec<u8>, seq| wire::begin(bytes, ct::GET, flag::DUMP, 0, seq).finish();
        self.0.request("the list of connections", true, write, |message| wire::read(message).map(&mut visit))
    }

    /// The connection whose reply has that tuple, if there is one; looked up without a dump.
    ///
    /// # Errors
    ///
    /// The kernel's error.
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

    /// Deletes exactly these connections, by original tuple, zone and id. A connection that no longer exists is no
    /// error.
    ///
    /// The rules judge the next packet of a deleted connection as a new one. If a new connection has got both the
    /// tuple and the id of one of these meanwhile, its next packet is only judged once more.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Refused`] with the kernel's error for the first connection that it refused to delete. All
    /// others are still deleted.
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

    /// Sends the deletions in one datagram. The kernel answers each that fails, and the last one in any case.
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

/// The name of a deletion in errors.
const DELETE: &str = "the deletion of connections";

/// The kernel's answers to deletions.
#[derive(Debug, Default)]
struct Answers {
    gone: usize,
    refused: usize,
    first_refused: Option<Errno>,
}

/// nfnetlink answers `EINVAL` for a subsystem that it can't load.
fn absent(error: NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Refused { doing: COUNT, errno: Errno::EINVAL | Errno::EOPNOTSUPP } => NetlinkError::NoConntrack,
        other => other.or_absent(NetlinkError::NoConntrack),
    }
}
