//! The reference page of the language, docs/policy.md, generated from the table of keys.

use super::keys::{
    CONTAINERS, DEFAULTS, DOCTOR, EXPECTATION, FORWARD, Holds, IGNORED, Key, LOG, NAT, OUTGOING, PEER, POLICY,
    SERVICE, Section,
};
use std::fmt::Write;

/// The text above the sections.
const HEAD: &str = "# The policy language

Every key of `policy.yaml`, version 1. This page is made from the table that the reader itself uses (`src/policy/keys.rs`),
and a test compares the two. `palisade schema` prints the same as a JSON Schema for editors.
A schema is the same for every policy, so that editors do not offer a policy's own groups and services; `palisade check` tells
which of them is misspelt, and the completions of the shell offer them.

A list may be written as its only item: `from: any` is `from: [any]`. Addresses are IPv4 or IPv6: `192.0.2.7`,
`192.0.2.0/24`, `192.0.2.10-192.0.2.20`, and the same of IPv6, in quotes where YAML would misread the colons.
A key at the top that begins with `x-` means nothing by itself: it may hold what YAML anchors refer to.
";

/// The sections and their headings, in page order.
pub(crate) const SECTIONS: [(&str, &Section); 12] = [
    ("The file", &POLICY),
    ("`defaults`", &DEFAULTS),
    ("A service", &SERVICE),
    ("A rule of `outgoing`", &OUTGOING),
    ("A rule of `forward`", &FORWARD),
    ("A line of `nat`", &NAT),
    ("`containers`", &CONTAINERS),
    ("`log`", &LOG),
    ("An expectation", &EXPECTATION),
    ("`doctor`", &DOCTOR),
    ("An ignored finding", &IGNORED),
    ("A peer in braces", &PEER),
];

/// The page, as Markdown.
#[must_use]
pub fn reference() -> String {
    SECTIONS.iter().fold(HEAD.to_owned(), |mut page, (heading, section)| {
        // Writing to a string does not fail.
        let _ = write!(page, "\n## {heading}\n\n{}\n\n{}", section.about, TABLE_HEAD);
        section.keys.iter().for_each(|key| page.push_str(&row(key)));
        page
    })
}

const TABLE_HEAD: &str = "| key | holds | without it | what it says | for example |\n|---|---|---|---|---|\n";

fn row(key: &Key) -> String {
    let without = match (key.required, key.default) {
        (true, _) => "has to be there".to_owned(),
        (false, Some(default)) => format!("`{default}`"),
        (false, None) => "–".to_owned(),
    };
    let about = match key.holds {
        Holds::Section(section) => section.about,
        _ => key.about,
    };
    // A vertical bar would end the cell.
    let row =
        [&format!("`{}`", key.name), &holds_in_words(key.holds), &without, about, &format!("`{}`", key.example)]
            .map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", row.join(" | "))
}

/// What a key holds, in words.
pub(crate) fn holds_in_words(holds: Holds) -> String {
    match holds {
        Holds::Version => "`1`".to_owned(),
        Holds::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Holds::Flag => "`true`, `false`".to_owned(),
        Holds::Rate => "a rate: a count and `second`, `minute`, `hour`, `day` or `week`".to_owned(),
        Holds::RateOrOff => "a rate, or `off`".to_owned(),
        Holds::Comment | Holds::Reason => "one line of text".to_owned(),
        Holds::Finding => "the identifier of a finding".to_owned(),
        Holds::Ports => "one or more ports".to_owned(),
        Holds::Sources => "one or more peers".to_owned(),
        Holds::Peers => "peers".to_owned(),
        Holds::PeersOrNothing => "peers, or nothing".to_owned(),
        Holds::Address => "an address".to_owned(),
        Holds::Targets => "one or two of `ADDRESS` and `ADDRESS:PORT`".to_owned(),
        Holds::User => "a user's name or number".to_owned(),
        Holds::HostName => "a host name".to_owned(),
        Holds::Time => "a time".to_owned(),
        Holds::Addresses => "one or more addresses, networks or ranges".to_owned(),
        Holds::Interface => "an interface's name".to_owned(),
        Holds::Interfaces => "one or more interfaces' names".to_owned(),
        Holds::Path => "a path".to_owned(),
        Holds::Files => "paths".to_owned(),
        Holds::Section(_) => "the keys below".to_owned(),
        Holds::Groups => "names of your choice, each with peers".to_owned(),
        Holds::Named(of) => format!("names of your choice, each with the keys of {}", of.what),
        Holds::ListOf(of) => match of.what.split_once(' ') {
            Some((_, what)) => format!("one or more {what}s"),
            None => "one or more".to_owned(),
        },
    }
}
