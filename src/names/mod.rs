//! The addresses of host names in a policy.
//!
//! Names are facts, as files of addresses are: `refresh` looks them up, [`Names`] is what is known of them, and
//! whoever loads a policy reads that and never asks the network. The model counts ages instead of times, so that it
//! needs no clock.
//!
//! The look-ups are those of the C library (getaddrinfo(3)), so that `/etc/hosts`, `/etc/nsswitch.conf` and a local
//! resolver count as they do for every other program. They run in a process of their own, which has no rights but to
//! ask ([`answer`]); [`Asker`] is how the process that changes the firewall talks to it.

mod ask;
mod asker;
mod hosts;
mod model;
mod named;
mod stamp;
#[cfg(test)]
mod tests;
mod words;

pub use ask::answer;
pub use asker::Asker;
pub use model::{Answers, Failure, Known, Names, Span, Trouble};
pub use stamp::Stamp;
pub use words::Answered;
