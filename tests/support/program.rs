//! The program under test.

use std::sync::LazyLock;

/// The path of palisade: `PALISADE_PROGRAM` names it, as `scripts/test` does with the release build; else it is the
/// one that cargo builds with the tests.
pub fn palisade() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        std::env::var("PALISADE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_palisade").to_owned())
    });
    &PATH
}
