//! What is known of addresses, beside them in texts for people.

use std::net::IpAddr;

/// A text with what is known of the addresses in it behind each: `198.51.100.20 (home.example.org) gains`. Of networks and
/// ranges nothing is known.
#[must_use]
pub fn beside_addresses(text: &str, known: impl Fn(IpAddr) -> Vec<String>) -> String {
    let is_of_an_address = |c: char| c.is_ascii_hexdigit() || ".:/-".contains(c);
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_an_address) {
        let (before, from) = rest.split_at(start);
        let (word, behind) = from.split_at(from.find(|c| !is_of_an_address(c)).unwrap_or(from.len()));
        let (address, end) = word.split_at(word.trim_end_matches(':').len());
        told.push_str(before);
        told.push_str(address);
        // A word that goes on with other letters is none.
        let is_whole = !before.ends_with(char::is_alphanumeric) && !behind.starts_with(char::is_alphanumeric);
        let known = address.parse::<IpAddr>().ok().filter(|_| is_whole).map(&known).unwrap_or_default();
        if !known.is_empty() {
            told.push_str(&format!(" ({})", known.join(", ")));
        }
        told.push_str(end);
        rest = behind;
    }
    told + rest
}
