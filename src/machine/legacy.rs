//! Rules of the older iptables, which stand beside nf_tables and show in none of its listings.

use std::fs;
use std::io::ErrorKind;

/// The tables of the older iptables that are loaded for this network namespace, of IPv4 and IPv6. Only root is told, others
/// hear of none.
#[must_use]
pub fn legacy_tables() -> Vec<String> {
    loaded_legacy_tables().unwrap_or_default()
}

/// The same, and why they can't be told where they can't.
///
/// # Errors
/// A file that is there and may not be read: a clause that names it.
pub fn loaded_legacy_tables() -> Result<Vec<String>, String> {
    let mut tables = Vec::new();
    for name in ["ip_tables_names", "ip6_tables_names"] {
        match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => tables.extend(lines(&text)),
            // The older iptables is not even there.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("/proc/net/{name} can't be read: {error}")),
        }
    }
    tables.sort();
    tables.dedup();
    Ok(tables)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
