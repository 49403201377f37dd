//! Watches the kernel's notifications, to tell changes of one table from changes of others.

use super::decode::table_id;
use super::snapshot::{Reading, Snapshot};
use super::socket::{Socket, absent};
use crate::netlink::wire::attr::{Fields, Message, Messages};
use crate::netlink::wire::channel::Channel;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{NFTA_GEN_ID, SUBSYSTEM, msg};
use crate::ruleset::TableId;
use std::cell::Cell;

/// The multicast group of all nf_tables changes (`NFNLGRP_NFTABLES`).
const GROUP: libc::c_int = 7;

/// Tells changes of one table from those of all others, by the kernel's notifications.
///
/// The kernel notifies of a commit before it releases the lock that each batch takes (`nf_tables_commit` in
/// net/netfilter/nf_tables_api.c), and returns `ENOBUFS` if a notification was lost.
#[derive(Debug)]
pub struct Watch<'a> {
    socket: &'a Socket,
    events: Channel,
    table: &'a TableId,
    genid: Cell<u32>,
}

impl Socket {
    /// Watches the changes of all tables from now on, on behalf of `table`.
    ///
    /// # Errors
    ///
    /// As [`Socket::snapshot`].
    pub fn watch<'a>(&'a self, table: &'a TableId) -> Result<Watch<'a>, NetlinkError> {
        let events = Channel::open(mnl::Bus::Netfilter).map_err(absent)?;
        events.join(GROUP)?;
        Ok(Watch { socket: self, events, table, genid: Cell::new(self.generation()?) })
    }
}

impl Watch<'_> {
    /// The current generation; `None` if the table was, or may have been, changed since the last call.
    ///
    /// # Errors
    ///
    /// As [`Socket::generation`].
    pub fn untouched(&self) -> Result<Option<u32>, NetlinkError> {
        let mut touched = false;
        self.events.events(|datagram| match datagram {
            Some(datagram) => Messages::new(datagram).for_each(|message| touched |= !self.is_of_others(&message)),
            None => touched = true,
        })?;
        if touched {
            self.genid.set(self.socket.generation()?);
        }
        Ok((!touched).then_some(self.genid.get()))
    }

    /// Records the generation in a notification; `false` if the notification is of the watched table, or can't be
    /// read.
    fn is_of_others(&self, message: &Message<'_>) -> bool {
        let [kind, subsystem] = message.kind.to_le_bytes();
        if u16::from(subsystem) != SUBSYSTEM {
            return true;
        }
        if kind != msg::NEWGEN {
            // The first attribute of every notification is the table's name, also for the table itself.
            return table_id(message).is_some_and(|id| id != *self.table);
        }
        let fields = message.attributes().and_then(Fields::<{ NFTA_GEN_ID as usize + 1 }>::read);
        fields.and_then(|fields| fields.u32(NFTA_GEN_ID)).is_some_and(|genid| {
            self.genid.set(genid);
            true
        })
    }

    /// Reads the table once, whatever others do to their tables meanwhile; `None` if this table was changed.
    ///
    /// # Errors
    ///
    /// As [`Socket::try_snapshot`].
    pub fn try_snapshot(&self, reading: Reading<'_>) -> Result<Option<Snapshot>, NetlinkError> {
        self.untouched()?;
        let Some(snapshot) = self.socket.attempt(self.table, None, reading)? else { return Ok(None) };
        // A commit in progress has sent its notifications once it releases the lock.
        self.socket.wait_for_commit()?;
        Ok(self.untouched()?.map(|genid| Snapshot { genid, ..snapshot }))
    }
}
