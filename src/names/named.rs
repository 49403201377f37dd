//! Names beside addresses in texts for people.

use super::model::Names;
use crate::net::beside_addresses;

impl Names {
    /// A text with the names behind the addresses in it: `198.51.100.20 (home.example.org) gains`. Networks and ranges
    /// have none.
    #[must_use]
    pub fn beside_addresses(&self, text: &str) -> String {
        beside_addresses(text, |address| self.of(address).map(str::to_owned).collect())
    }
}
