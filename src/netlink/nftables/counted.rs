//! The elements that rules add to a set, with their counters.

use super::expr;
use super::socket::Socket;
use crate::netlink::wire::attr::{Attributes, Fields, Message};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{SUBSYSTEM, data, elem, msg};
use crate::ruleset::{Expr, Key, TableId};

/// An element that packets added to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedElement {
    /// The key, as in the kernel's registers.
    pub key: Key,
    /// How many packets the element's counter has counted; 0 without one.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// After how many milliseconds the element runs out; `None` if it does not.
    pub expires_ms: Option<u64>,
}

/// All elements of a set of the calling thread's network namespace that hold a counter each, in the kernel's order. What
/// is malformed is left out.
///
/// # Errors
///
/// The kernel's error, such as that the set does not exist.
pub fn counted_elements(table: &TableId, set: &str) -> Result<Vec<CountedElement>, NetlinkError> {
    let mut elements = Vec::new();
    Socket::open()?.dump(
        "the elements of a set",
        (msg::GETSETELEM, table.family.number()),
        |request| {
            request.text(elem::LIST_TABLE, &table.name);
            request.text(elem::LIST_SET, set);
        },
        |message| read(message, &mut elements),
    )?;
    Ok(elements)
}

fn read(message: &Message<'_>, elements: &mut Vec<CountedElement>) -> Option<()> {
    if message.kind >> 8 != SUBSYSTEM || message.kind.to_le_bytes()[0] != msg::NEWSETELEM {
        return Some(());
    }
    let list = Fields::<{ elem::LIST_END }>::read(message.attributes()?)?.get(elem::LIST_ELEMENTS);
    let read = |attribute: Result<(u16, &[u8]), _>| element(attribute.ok()?.1);
    elements.extend(list.into_iter().flat_map(Attributes::new).filter_map(read));
    Some(())
}

fn element(bytes: &[u8]) -> Option<CountedElement> {
    let fields = Fields::<{ elem::END }>::read(bytes)?;
    let key = Fields::<{ data::END }>::read(fields.get(elem::KEY)?)?.get(data::VALUE).map(Key::from_slice)?;
    let counts = expr::of_element(&fields).into_iter().find_map(|expr| match expr {
        Expr::Counter { packets, bytes } => Some((packets, bytes)),
        _ => None,
    });
    let (packets, bytes) = counts.unwrap_or_default();
    let expires_ms = fields.get(elem::EXPIRATION).and_then(|_| fields.u64(elem::EXPIRATION));
    Some(CountedElement { key, packets, bytes, expires_ms })
}
