//! This process: its privileges, its progress line, and the destination of its errors.

pub mod journal;
pub mod privileges;
pub mod progress;
