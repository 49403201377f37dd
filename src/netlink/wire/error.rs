//! What goes wrong between palisade and the kernel.

use nix::errno::Errno;

/// A request to nf_tables failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// CAP_NET_ADMIN is missing.
    #[error("reading or changing firewall rules needs root, or CAP_NET_ADMIN in this network namespace")]
    NotPermitted,
    /// nf_tables is neither built in nor loadable.
    #[error("this kernel has no nf_tables: the module `nf_tables` is neither loaded nor can it be")]
    NoNfTables,
    /// Connection tracking can't be asked: `nf_conntrack_netlink` is neither built in nor loadable.
    #[error("this kernel can't list connections: the module `nf_conntrack_netlink` is neither loaded nor can it be")]
    NoConntrack,
    /// The ruleset changed each time while it was read.
    #[error("other programs kept changing the firewall rules: {0} attempts to read them in one piece failed")]
    Busy(u32),
    /// The kernel refused a request.
    #[error("the kernel refused {doing}: {}", errno.desc())]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// Its reason.
        errno: Errno,
    },
    /// A system call on the socket failed.
    #[error("netlink socket: {doing}: {}", errno.desc())]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// The reason.
        errno: Errno,
    },
    /// The kernel's answer is not as nf_tables writes it.
    #[error("the kernel's answer to {0} makes no sense")]
    Malformed(&'static str),
    /// No answer came.
    #[error("the kernel did not answer {doing} within {seconds} s")]
    NoAnswer {
        /// What was asked for.
        doing: &'static str,
        /// How long was waited.
        seconds: u16,
    },
}

/// A batch was not committed. Unless the kernel gave no answer, nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The ruleset is no longer the one of the batch's generation.
    #[error("another program changed the firewall rules in between")]
    Stale,
    /// The kernel refused a message; the first one that it refused is told.
    #[error("the kernel refused the change: {}{}", errno.desc(), text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The operation that the message was written for; `None` when the batch as a whole was refused.
        op: Option<usize>,
        /// The reason.
        errno: Errno,
        /// The kernel's own sentence, where it gives one.
        text: Option<String>,
    },
    /// The batch does not fit what may be sent at once.
    #[error(
        "the change takes {bytes} bytes, more than this user may send to the kernel at once: run as root, or raise the \
         sysctl net.core.wmem_max"
    )]
    TooBig {
        /// The batch's size.
        bytes: usize,
    },
    /// The exchange itself failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}
