//! This process: how it was called, its privileges, its progress line, and the destination of its errors.

pub mod called;
pub mod journal;
pub mod privileges;
pub mod progress;
