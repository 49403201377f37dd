//! The first elements of a set, up to a bound.

use super::decode::Assembler;
use super::socket::Socket;
use crate::netlink::wire::channel::End;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{self, elem, msg};
use crate::ruleset::{Elements, TableId};
use std::ops::ControlFlow;

/// The elements of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// All elements, or the first ones that the kernel sends.
    pub elements: Elements,
    /// Whether these are all elements.
    pub complete: bool,
}

/// Reads a set of the calling thread's network namespace, and stops after `most` kernel messages of some hundred
/// elements each: in a large set the kernel takes longer and longer to continue.
///
/// # Errors
///
/// The kernel's error, such as that the set does not exist.
pub fn members(table: &TableId, set: &str, most: usize) -> Result<Members, NetlinkError> {
    // A separate socket: closing it discards the messages that nobody has read.
    let socket = Socket::open()?;
    let mut assembler = Assembler::new(table.clone());
    let attributes = |request: &mut crate::netlink::wire::write::Writer<'_>| {
        request.text(elem::LIST_TABLE, &table.name);
        request.text(elem::LIST_SET, set);
    };
    let family = table.family.number();
    socket.get(
        "the table",
        (msg::GETTABLE, family),
        |request| request.text(uapi::table::NAME, &table.name),
        |message| assembler.accept(message),
    )?;
    socket.get("a set", (msg::GETSET, family), attributes, |message| assembler.accept(message))?;
    let mut messages = 0;
    let end = socket.some("the elements of a set", (msg::GETSETELEM, family), attributes, |message| {
        messages += 1;
        match assembler.accept(message) {
            None => ControlFlow::Break(false),
            Some(()) if messages >= most => ControlFlow::Break(true),
            Some(()) => ControlFlow::Continue(()),
        }
    })?;
    let table = assembler.finish().0.unwrap_or_default();
    let elements = table.sets.into_iter().find(|(name, _)| name == set).map(|(_, set)| set.elements);
    Ok(Members { elements: elements.unwrap_or_default(), complete: end == Some(End::Complete) })
}
