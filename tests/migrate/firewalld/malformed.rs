//! What firewalld could not read is said, with the file and the line, and nothing is made of the rest.

use super::folders::{folder, installation, names};
use super::loaded;
use super::policies::config_of;
use palisade::migrate::firewalld::import;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

/// What is said of an installation one of whose files has this text.
fn said(path: &str, text: &str) -> String {
    let mut installation = installation(&folder().join("trusted-office.d"));
    installation.files.insert(path.to_owned(), text.to_owned());
    match import(&installation) {
        Ok(made) => format!("imported\n{}", made.policy),
        Err(why) => why,
    }
}

const BEGIN: &str =
    "firewalld can't use these files either, and then falls back to the zones that are shipped: mend them first\n  ";

#[test]
fn each_kind_of_malformed_file_is_named_with_its_line() {
    let zone = "etc/firewalld/zones/public.xml";
    let set = "etc/firewalld/ipsets/office.xml";
    let of_zone = |body: &str| format!("<?xml version=\"1.0\"?>\n<zone>\n  {body}\n</zone>\n");
    let nested = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let laughs = "<!DOCTYPE zone [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\n<zone>&b;</zone>";
    let rows = [
        (
            zone,
            "<zone>\n  <service name=\"ssh\">\n</zone>\n",
            "3: it is no XML: expected 'service' tag, not 'zone' at 3:1",
        ),
        (zone, "", "1: it is no XML: the document does not have a root node"),
        (zone, laughs, "1: it is no XML: XML with DTD detected"),
        (zone, "<policy/>\n", "1: `zone` is expected, and not `policy`"),
        (zone, &of_zone("<service/>"), "3: `service` has no `name`"),
        (zone, &of_zone("<port port=\"80\"/>"), "3: `port` has no `protocol`"),
        (zone, &of_zone("<port port=\"eighty\" protocol=\"tcp\"/>"), "3: `eighty` is no port"),
        (zone, &of_zone("<port port=\"90-80\" protocol=\"tcp\"/>"), "3: `90-80` is no port"),
        (zone, &of_zone("<port port=\"65536\" protocol=\"tcp\"/>"), "3: `65536` is no port"),
        (zone, &of_zone("<port port=\"80\" protocol=\"gre\"/>"), "3: `gre` has no ports"),
        (
            zone,
            &of_zone("<interface name=\"a name that is much too long\"/>"),
            "3: `a name that is much too long` is no interface",
        ),
        (zone, &of_zone("<source address=\"192.0.2.300\"/>"), "3: `192.0.2.300` is neither an address nor a network"),
        (
            zone,
            &of_zone("<rule priority=\"many\"><service name=\"ssh\"/><accept/></rule>"),
            "3: `many` is no priority",
        ),
        (zone, "<zone target=\"PERHAPS\"/>\n", "1: `PERHAPS` is no target"),
        (
            set,
            "<ipset type=\"hash:ip\">\n  <entry>192.0.2.1.2</entry>\n</ipset>\n",
            "2: `192.0.2.1.2` is no IPv4 address",
        ),
        (set, "<ipset>\n</ipset>\n", "1: `ipset` has no `type`"),
        ("etc/firewalld/direct.xml", "<direct>", "1: it is no XML: the root node was opened but never closed"),
        ("etc/firewalld/policies/a.xml", "<zone/>", "1: `policy` is expected, and not `zone`"),
        (
            "usr/lib/firewalld/services/a.xml",
            "<service>\n  <port port=\"\"/>\n</service>\n",
            "2: `port` has no `protocol`",
        ),
        (zone, &nested, "1: `zone` is expected, and not `a`"),
    ];
    for (path, text, expected) in rows {
        assert_eq!(said(path, text), format!("{BEGIN}{path}:{expected}"), "{text:.200}");
    }
}

#[test]
fn all_malformed_files_are_named_at_once_and_a_missing_default_zone_alone() {
    let mut installation = installation(&folder().join("trusted-office.d"));
    for name in ["a", "b"] {
        installation.files.insert(format!("etc/firewalld/zones/{name}.xml"), "no zone".to_owned());
    }
    let why = import(&installation).expect_err("it can't be used");
    let of = |name: &str| format!("etc/firewalld/zones/{name}.xml:1: it is no XML: unknown token at 1:1");
    assert_eq!(why, format!("{BEGIN}{}\n  {}", of("a"), of("b")));

    installation.files.retain(|path, _| !path.contains("zones/"));
    let why = import(&installation).expect_err("it can't be used");
    let said =
        "no file defines the default zone public: copy /usr/lib/firewalld, too, if this is the copy of a machine";
    assert_eq!(why, said);
    installation.files.clear();
    let why = import(&installation).expect_err("it can't be used");
    assert_eq!(why, "etc/firewalld is not there: no firewalld is installed below this root");
}

/// Pieces at the edges of what the files may have.
const PIECES: [&str; 26] = [
    "<rule>",
    "</rule>",
    "<service name=\"ssh\"/>",
    "<accept/>",
    "<drop/>",
    "target=\"ACCEPT\"",
    "invert=\"True\"",
    "priority=\"-32768\"",
    "address=\"0.0.0.0/0\"",
    "address=\"::/0\"",
    "address=\"255.255.255.255\"",
    "\"1-65535\"",
    "\"0\"",
    "\"lo\"",
    "\"docker0\"",
    "\"+\"",
    "\"any\"",
    "\"containers\"",
    "\"\u{202e}\n\"",
    "ipset=\"office\"",
    "<!--",
    "&amp;",
    "&#0;",
    "\"172.17.0.0/16\"",
    "\"::ffff:1.2.3.4\"",
    "\"127.0.0.1\"",
];

/// Exchanges the word that begins at a blank.
fn changed(text: &str, at: Index, piece: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    let at = at.index(words.len());
    words[at] = piece;
    words.join(" ")
}

fn try_changes(count: u32) {
    let piece = prop_oneof![6 => select(PIECES.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}"];
    let changes = prop::collection::vec((any::<Index>(), any::<Index>(), piece), 1..6);
    let all = names();
    let outcome = TestRunner::new(config_of(count)).run(&(any::<Index>(), changes), |(name, changes)| {
        let mut installation = installation(&folder().join(format!("{}.d", name.get(&all))));
        for (file, at, piece) in changes {
            let paths: Vec<String> = installation.files.keys().cloned().collect();
            let text = installation.files.get_mut(file.get(&paths)).expect("it is there");
            *text = changed(text, at, &piece);
        }
        if let Ok(made) = import(&installation) {
            let why = loaded(&made.policy).err();
            prop_assert!(why.is_none(), "{}\n{}\n{:#?}", why.unwrap_or_default(), made.policy, installation.files);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_stands_in_the_files_the_policy_is_valid_and_what_it_expects() {
    try_changes(500);
}

#[test]
#[ignore = "takes many minutes"]
fn whatever_stands_in_the_files_often() {
    try_changes(50_000);
}
