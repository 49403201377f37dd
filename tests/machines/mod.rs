//! Random machines, and random policies for each: who is where, what is translated, and what other programs have loaded.
#![allow(unreachable_pub)]

pub mod drawn;
pub mod exposed;
pub mod policy;
pub mod said;
pub mod tries;
