//! Reads other people's files whole or not at all, up to a maximum size, and checks who owns them.

mod bounded;
mod replace;
mod sysctl;
mod trusted;
mod users;

pub use bounded::{MAX_CONFIGURATION, read_bounded, read_text_bounded};
pub(crate) use replace::{NewFile, Replacement};
pub(crate) use sysctl::sysctl;
pub(crate) use trusted::Trusted;
pub use trusted::{MAX_LIST, MAX_POLICY, Refusal, open_trusted_folder, read_trusted, read_trusted_below};
pub(crate) use users::{user_id, user_name, users_by_name};
