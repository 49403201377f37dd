//! Errors in the exchange with the kernel.

use nix::errno::Errno;

/// A netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// CAP_NET_ADMIN is missing.
    #[error("reading or changing firewall rules needs root, or CAP_NET_ADMIN in this network namespace")]
    NotPermitted,
    /// nf_tables is neither built in nor loadable.
    #[error("this kernel has no nf_tables: the module `nf_tables` is neither loaded nor can it be")]
    NoNfTables,
    /// Connection tracking can't be read: `nf_conntrack_netlink` is neither built in nor loadable.
    #[error("this kernel can't list connections: the module `nf_conntrack_netlink` is neither loaded nor can it be")]
    NoConntrack,
    /// The ruleset changed during each attempt to read it.
    #[error("other programs kept changing the firewall rules: {0} attempts to read them in one piece failed")]
    Busy(u32),
    /// The kernel refused a request.
    #[error("the kernel refused {doing}: {}", errno.desc())]
    Refused {
        /// The request.
        doing: &'static str,
        /// The kernel's errno.
        errno: Errno,
    },
    /// A system call on the socket failed.
    #[error("netlink socket: {doing}: {}", errno.desc())]
    Socket {
        /// The attempted call.
        doing: &'static str,
        /// The errno.
        errno: Errno,
    },
    /// The kernel's answer is malformed.
    #[error("the kernel's answer to {0} makes no sense")]
    Malformed(&'static str),
    /// No answer came.
    #[error("the kernel did not answer {doing} within {seconds} s")]
    NoAnswer {
        /// The request.
        doing: &'static str,
        /// How long this process waited.
        seconds: u16,
    },
}

/// A batch was not committed. Unless the kernel did not answer, no part of it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The ruleset has another generation than the batch.
    #[error("another program changed the firewall rules in between")]
    Stale,
    /// The kernel refused a message; this is the first refused one.
    #[error("the kernel refused the change: {}{}", errno.desc(), text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The operation behind the message; `None` if the batch as a whole was refused.
        op: Option<usize>,
        /// The errno.
        errno: Errno,
        /// The kernel's own explanation, if there is one.
        text: Option<String>,
    },
    /// The batch exceeds what may be sent at once.
    #[error(
        "the change takes {bytes} bytes, more than this user may send to the kernel at once: run as root, or raise the \
         sysctl net.core.wmem_max"
    )]
    TooBig {
        /// The batch's size, in bytes.
        bytes: usize,
    },
    /// The exchange with the kernel failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}
