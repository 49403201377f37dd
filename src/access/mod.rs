//! Who may open connections to this machine: proved for all sources, ports and interfaces at once, and not sampled.
//!
//! The compiled rules are followed with the set of all sources instead of one source (see [`simulate`](crate::simulate),
//! whose evaluation of expressions this is). Ports, interfaces and addresses of this machine that no rule tells apart are
//! one class and are asked once. What comes out is exact: a set of intervals for each class, of those who pass, and of
//! those of whom it can't be told.
//!
//! "Proved" is of real senders. Rules that ask the routing (`fib`) are followed as [`simulate`](crate::simulate) follows
//! them without it: a source is no address of this machine and routes back by where it comes in, and a destination is what
//! the hook says. Those rules drop, or accept what a later one accepts, too. So what is shut out is so wherever it really
//! comes from, while what is let in may still be dropped where its sender lies about that.
//!
//! ```text
//! tables ─ reading ─► what rules ask ─ space ─► classes ─ evaluate ─► regions of sources by what becomes of them
//! ```

mod asked;
mod diff;
mod evaluate;
mod expect;
mod narrow;
mod reader;
mod reading;
mod region;
mod space;
mod value;
mod words;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_diff;

#[cfg(test)]
pub(crate) use tests::compiled as compiled_for_tests;

pub use diff::{AccessChange, Port, access_changes, lines};
pub use expect::unmet;
pub use space::{InterfaceClass, Target};
