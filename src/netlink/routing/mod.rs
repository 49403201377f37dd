//! Routes, interfaces and their addresses (rtnetlink).

mod beneath;
mod bridges;
pub(super) mod links;
pub(super) mod route;
pub(super) mod topology;
pub(super) mod way;

pub use route::{Route, Routing};
