//! Explains the verdict on a packet, and whose rules decide it.

mod explanation;
mod owners;

pub use explanation::{Explanation, beyond};
pub(crate) use explanation::{by, owner};
pub use owners::owner_of;
