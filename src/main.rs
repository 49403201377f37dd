//! The command line of palisade.
fn main() {}
