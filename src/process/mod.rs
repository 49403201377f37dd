//! What concerns this process alone: its rights, what it shows while it works, and where its errors go.

pub mod journal;
pub mod privileges;
pub mod progress;
