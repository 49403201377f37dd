//! Whether a set of the kernel holds certain elements, asked one by one: linear where a dump is not.

use super::attr::{Attributes, Fields, Message};
use super::elements::{successor, write_key};
use super::error::NetlinkError;
use super::socket::Socket;
use super::uapi::{data, elem, flag, msg};
use crate::ruleset::{Elements, Key, SetFlags, SetSpec, TableId};
use nix::errno::Errno;

/// How many are asked for at once: their answers, a kilobyte each, have to fit the socket's buffer.
const AT_ONCE: usize = 512;

/// An edge of an interval, or a single address, as the kernel keeps it.
type Edge = (Key, u32);

impl Socket {
    /// Whether the kernel finds each of these elements in the set. That it holds nothing else follows where it counts as
    /// many.
    pub(super) fn holds_all(
        &self,
        table: &TableId,
        (set, spec): (&str, &SetSpec),
        elements: &Elements,
    ) -> Result<bool, NetlinkError> {
        let interval = spec.flags.contains(SetFlags::INTERVAL);
        let mut edges = elements.bounds().flat_map(|(first, last)| {
            let end = successor(last).filter(|_| interval).map(|after| (after, elem::INTERVAL_END));
            std::iter::once((Key::from_slice(first), 0)).chain(end)
        });
        loop {
            let asked: Vec<Edge> = edges.by_ref().take(AT_ONCE).collect();
            if asked.is_empty() {
                return Ok(true);
            }
            if !self.holds(table, set, &asked)? {
                return Ok(false);
            }
        }
    }

    /// The kernel answers in the order of the question. Asked for an address within an interval it finds the interval.
    fn holds(&self, table: &TableId, set: &str, asked: &[Edge]) -> Result<bool, NetlinkError> {
        let (mut rest, mut same) = (asked.iter(), true);
        let answer = self.request(
            "elements of a set",
            (msg::GETSETELEM, flag::ACK, table.family.number()),
            |request| {
                request.text(elem::LIST_TABLE, &table.name);
                request.text(elem::LIST_SET, set);
                let list = request.open(elem::LIST_ELEMENTS);
                asked.iter().for_each(|(key, flags)| write_key(request, key, *flags));
                request.close(&list);
            },
            |message| {
                same &= rest.next() == Some(&edge(message)?);
                Some(())
            },
        );
        match answer {
            Ok(_) => Ok(same && rest.next().is_none()),
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn edge(message: &Message<'_>) -> Option<Edge> {
    let list = Fields::<{ elem::LIST_END }>::read(message.attributes()?)?;
    let (_, element) = Attributes::new(list.get(elem::LIST_ELEMENTS)?).next()?.ok()?;
    let fields = Fields::<{ elem::END }>::read(element)?;
    let flags = fields.get(elem::FLAGS).map_or(Some(0), |_| fields.u32(elem::FLAGS))?;
    let key = Fields::<{ data::END }>::read(fields.get(elem::KEY)?)?.get(data::VALUE).map(Key::from_slice)?;
    Some((key, flags))
}
