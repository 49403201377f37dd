//! Rules of the older iptables, which stand beside nf_tables and show in none of its listings.

use std::fs;

/// The tables of the older iptables that are loaded for this network namespace, of IPv4 and IPv6. Only root is told.
#[must_use]
pub fn legacy_tables() -> Vec<String> {
    let names = ["ip_tables_names", "ip6_tables_names"];
    let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut tables: Vec<String> = names.into_iter().flat_map(|name| lines(&read(name))).collect();
    tables.sort();
    tables.dedup();
    tables
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
