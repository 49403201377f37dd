//! Netlink itself: messages, attributes, the socket, the kernel's numbers, and what goes wrong.

pub(super) mod attr;
pub(super) mod channel;
pub(super) mod error;
pub(super) mod uapi;
pub(super) mod write;
