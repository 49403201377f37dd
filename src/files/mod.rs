//! Files of others, and who owns them: read whole or not at all, and never more than a bound.

mod bounded;
mod trusted;
mod users;

pub use bounded::{MAX_CONFIGURATION, read_bounded, read_text_bounded};
pub(crate) use trusted::Trusted;
pub use trusted::{MAX_LIST, MAX_POLICY, Refusal, open_trusted_folder, read_trusted};
pub(crate) use users::{user_id, user_name};
