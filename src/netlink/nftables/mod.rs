//! nf_tables: encodes transactions, decodes dumps, and talks to the kernel.

pub(super) mod batch;
pub(super) mod counted;
pub(super) mod decode;
pub(super) mod elements;
pub(super) mod encode;
pub(super) mod expr;
pub(super) mod handles;
pub(super) mod hooks;
pub(super) mod live;
pub(super) mod lookup;
pub(super) mod members;
pub(super) mod problem;
pub(super) mod set;
pub(super) mod snapshot;
pub(super) mod socket;
pub(super) mod stored;
pub(super) mod trial;
pub(super) mod verdict;
pub(super) mod watch;
