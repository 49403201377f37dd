//! Who may open connections to this machine: proved for all sources, ports and interfaces at once, and not sampled.
//!
//! The evaluator follows the compiled rules with the set of all sources instead of one source, and evaluates
//! expressions as [`simulate`](crate::simulate) does. Ports, interfaces and addresses of this machine that no rule
//! tells apart form one class and are probed once. The result is exact: for each class, the intervals of the sources
//! that pass and of those for which it can't be told.
//!
//! The proof is about senders that don't forge their address. Rules that ask the routing (`fib`) are evaluated as
//! [`simulate`](crate::simulate) does without routing: a source is no address of this machine and routes back by the
//! interface that it comes in by, and the hook decides the type of the destination. Such rules only drop, or accept
//! what a later rule accepts, too. So a denied source is denied wherever it really comes from, while an allowed one
//! may still be dropped if its sender forges the address.
//!
//! A connection is open only if the answer to it passes the table, too, and what follows the answer. An answer of this
//! machine comes from the address and the port that were asked for. One of a container comes from any address that
//! containers have: private ones, unique local and link-local ones.
//!
//! ```text
//! tables ─ reading ─► what rules ask ─ space ─► classes ─ evaluate ─► regions of sources by outcome
//! ```

mod asked;
mod change;
mod destinations;
mod diff;
mod diff_elsewhere;
mod elsewhere;
mod evaluate;
mod expect;
mod narrow;
mod opened;
mod proof;
mod reader;
mod reading;
mod region;
mod space;
mod translations;
mod value;
mod ways;
mod words;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_answers;
#[cfg(test)]
mod tests_of_diff;
#[cfg(test)]
mod tests_of_elsewhere;

#[cfg(test)]
pub(crate) use tests::compiled as compiled_for_tests;

pub use change::{AccessChange, Direction, Port};
pub use diff::{access_changes, lines};
pub use expect::unmet;
pub use space::{InterfaceClass, Target};
pub use translations::without_translations;
