//! Checks element by element whether a kernel set holds certain elements: linear, unlike a dump.

use super::elements::{successor, write_key};
use super::socket::Socket;
use crate::netlink::wire::attr::{Attributes, Fields, Message};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{data, elem, flag, msg};
use crate::ruleset::{Key, PackedView, SetFlags, SetSpec, TableId};
use nix::errno::Errno;
use std::thread;

/// Elements per request: the answers, a kilobyte each, must fit the socket's buffer.
const AT_ONCE: usize = 512;
/// The maximum number of threads: the kernel serves them in parallel, but has other work to do.
const MAX_THREADS: usize = 4;

/// The start or end of an interval, or a single address, as the kernel stores it.
type Edge = (Key, u32);

/// A lookup, and the expected answer.
struct Question {
    asked: Edge,
    expected: Edge,
}

/// A set, and how to look up its elements.
#[derive(Clone, Copy)]
struct Asked<'a> {
    table: &'a TableId,
    set: &'a str,
    interval: bool,
}

impl Socket {
    /// Whether the kernel finds each of these elements in the set of the calling thread's network namespace. If its
    /// count is the same as well, the set holds nothing else.
    pub(in crate::netlink) fn holds_all(
        &self,
        table: &TableId,
        (set, spec): (&str, &SetSpec),
        elements: PackedView<'_>,
    ) -> Result<bool, NetlinkError> {
        let asked = Asked { table, set, interval: spec.flags.contains(SetFlags::INTERVAL) };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        thread::scope(|scope| {
            let mut parts = elements.parts(threads);
            let own = parts.next();
            let mut others = Vec::new();
            for part in parts {
                let ask = move || Self::open()?.holds(asked, part);
                others.push((thread::Builder::new().spawn_scoped(scope, ask), part));
            }
            let mut all = own.map_or(Ok(true), |part| self.holds(asked, part))?;
            for (thread, part) in others {
                let answer = thread.ok().and_then(|thread| thread.join().ok());
                all &= answer.unwrap_or_else(|| self.holds(asked, part))?;
            }
            Ok(all)
        })
    }

    fn holds(&self, asked: Asked<'_>, elements: PackedView<'_>) -> Result<bool, NetlinkError> {
        let mut questions = elements.intervals().flat_map(|interval| asked.questions(interval));
        let mut some = Vec::with_capacity(AT_ONCE);
        loop {
            some.clear();
            some.extend(questions.by_ref().take(AT_ONCE));
            if some.is_empty() {
                return Ok(true);
            }
            if !self.answers_as_expected(asked, &some)? {
                return Ok(false);
            }
        }
    }

    /// The kernel answers in the order of the questions.
    fn answers_as_expected(&self, asked: Asked<'_>, questions: &[Question]) -> Result<bool, NetlinkError> {
        let (mut rest, mut same) = (questions.iter(), true);
        let answer = self.request(
            "elements of a set",
            (msg::GETSETELEM, flag::ACK, asked.table.family.number()),
            |request| {
                request.text(elem::LIST_TABLE, &asked.table.name);
                request.text(elem::LIST_SET, asked.set);
                let list = request.open(elem::LIST_ELEMENTS);
                questions.iter().for_each(|question| write_key(request, &question.asked.0, question.asked.1));
                request.close(&list);
            },
            |message| {
                let edge = edge(message)?;
                same &= rest.next().is_some_and(|question| question.expected == edge);
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

impl Asked<'_> {
    /// An interval is two kernel elements, except one up to the greatest address, which has no end.
    fn questions(self, (first, last): (&[u8], &[u8])) -> impl Iterator<Item = Question> + use<> {
        let start = (Key::from_slice(first), 0);
        let end = successor(last).filter(|_| self.interval).map(|after| {
            // If the next interval follows without a gap, a lookup of the end by its own value finds the next start
            // instead. A lookup of the end that belongs to the last address finds this end; but if the interval is a
            // single address, that lookup would find its start.
            let within = if first == last { after.clone() } else { Key::from_slice(last) };
            Question { asked: (within, elem::INTERVAL_END), expected: (after, elem::INTERVAL_END) }
        });
        std::iter::once(Question { asked: start.clone(), expected: start }).chain(end)
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
