//! Rules of iptables-legacy, which exist beside nf_tables and appear in none of its listings.

use std::fs;
use std::io::ErrorKind;

/// The iptables-legacy tables that are loaded in this network namespace, for IPv4 and IPv6. The kernel tells only
/// root; others get an empty list.
#[must_use]
pub fn legacy_tables() -> Vec<String> {
    loaded_legacy_tables().unwrap_or_default()
}

/// Like [`legacy_tables`], but reports why the tables can't be read.
///
/// # Errors
/// A file exists and can't be read: a clause that names it.
pub fn loaded_legacy_tables() -> Result<Vec<String>, String> {
    let mut tables = Vec::new();
    for name in ["ip_tables_names", "ip6_tables_names"] {
        match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => tables.extend(lines(&text)),
            // iptables-legacy is not in use.
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
