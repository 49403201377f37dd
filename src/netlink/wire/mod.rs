//! Netlink itself: messages, attributes, the socket, the kernel's constants, and errors.

pub(in crate::netlink) mod attr;
pub(in crate::netlink) mod channel;
pub(in crate::netlink) mod error;
pub(in crate::netlink) mod uapi;
pub(in crate::netlink) mod write;
