//! The names of `/etc/hosts` (hosts(5)).

use crate::net::Version;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The names in the text of the file, in lower case, each with a version of IP that it has an address of.
pub(super) fn parse(text: &str) -> BTreeSet<(String, Version)> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        names.extend(words.map(|name| (name.to_ascii_lowercase(), Version::of(address))));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_with_the_versions_of_its_addresses() {
        let text =
            "127.0.0.1 localhost\n#192.0.2.1 no\n\n192.0.2.7\tHome.example.org home # mine\n2001:db8::7 home\nx y\n";
        let name = |name: &str, version| (name.to_owned(), version);
        assert_eq!(
            parse(text),
            [
                name("home", Version::V4),
                name("home", Version::V6),
                name("home.example.org", Version::V4),
                name("localhost", Version::V4),
            ]
            .into()
        );
    }
}
