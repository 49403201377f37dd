//! The manual pages: of each command from its help, in section 8, and of the policy from the table of its keys, in 5.

use crate::policy::keys::{Holds, Key};
use crate::policy::{SECTIONS, holds_in_words};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::io;
use std::path::Path;

/// What stands at the bottom of each page.
const MANUAL: &str = "Palisade Manual";
/// What the paragraph of a help begins with that has a section of its own.
const EXIT_STATUS: &str = "Exit status:";
/// The files, and what they are.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/palisade/policy.yaml",
        "The policy, palisade.yaml(5). Refused if anyone but root can write it or a folder above it.",
    ),
    (
        "/var/lib/palisade/",
        "The last five good rulesets, a change that waits for confirmation, host names, and who is let in or blocked for a \
         time.",
    ),
    ("/run/palisade/lock", "Held by the command that is changing the rules."),
    ("/usr/share/doc/palisade/", "The guides, and examples of policies."),
];
/// What people do most, and the commands for it.
const EXAMPLES: [(&str, &str); 6] = [
    ("A first policy, from what this machine runs:", "palisade init > /etc/palisade/policy.yaml"),
    ("Try it, and keep it from a new connection; else it is undone after a minute:", "palisade apply --confirm 60s"),
    ("Open a port for a group:", "palisade add 9000/tcp --from trusted --name dashboard"),
    ("Who reaches what now:", "palisade exposure"),
    ("Why does a connection not pass?", "palisade explain 9000/tcp --from 203.0.113.9"),
    ("What does a change of the policy open, before it is merged?", "palisade diff old.yaml policy.yaml"),
];

/// Writes all pages into a folder.
pub(super) fn write(palisade: Command, folder: &Path) -> io::Result<()> {
    let mut palisade = palisade.disable_help_subcommand(true);
    palisade.build();
    let names: Vec<String> =
        palisade.get_subcommands().filter(|one| !one.is_hide_set()).map(|one| one.get_name().to_owned()).collect();
    for command in palisade.get_subcommands().filter(|one| !one.is_hide_set()) {
        page(command, folder, |_| {}, &["palisade(8)".to_owned(), "palisade.yaml(5)".to_owned()])?;
    }
    let others = names.iter().map(|name| format!("palisade-{name}(8)"));
    let also: Vec<String> = std::iter::once("palisade.yaml(5)".to_owned()).chain(others).collect();
    page(&palisade, folder, more, &also)?;
    std::fs::write(folder.join("palisade.yaml.5"), of_the_policy())
}

/// The page of a command, with sections of its own and the pages that it refers to.
fn page(command: &Command, folder: &Path, more: impl Fn(&mut Roff), also: &[String]) -> io::Result<()> {
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let (statuses, about): (Vec<&str>, Vec<&str>) =
        about.split("\n\n").partition(|paragraph| paragraph.starts_with(EXIT_STATUS));
    let mut bare = command.clone().after_long_help("");
    if !statuses.is_empty() {
        bare = bare.long_about(about.join("\n\n"));
    }
    let man = Man::new(bare).section("8").manual(MANUAL);
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut roff = Roff::new();
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let of_all = help.split("\n\n").filter(|paragraph| paragraph.starts_with(EXIT_STATUS));
    for status in statuses.into_iter().chain(of_all) {
        let status = status.trim_start_matches(EXIT_STATUS).trim();
        roff.control("SH", ["EXIT STATUS"]).text(words(status));
    }
    more(&mut roff);
    see_also(&mut roff, also);
    roff.to_writer(&mut text)?;
    std::fs::write(folder.join(man.get_filename()), text)
}

/// The sections of the page of the whole program.
fn more(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    for (path, what) in FILES {
        roff.control("TP", []).text([bold(path)]).text([roman(what)]);
    }
    roff.control("SH", ["EXAMPLES"]);
    for (what, command) in EXAMPLES {
        roff.control("PP", []).text([roman(what)]);
        roff.control("RS", ["4"]).text([bold(command)]).control("RE", []);
    }
}

fn see_also(roff: &mut Roff, also: &[String]) {
    roff.control("SH", ["SEE ALSO"]).text([roman(also.join(", "))]);
}

/// palisade.yaml(5)
pub(super) fn of_the_policy() -> String {
    let mut roff = Roff::new();
    let source = format!("palisade {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["palisade.yaml", "5", "", &source, MANUAL]);
    roff.control("SH", ["NAME"]).text([roman("palisade.yaml - who may reach which port, and what may be opened")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text(words(
        "The policy is one file of YAML in UTF-8, /etc/palisade/policy.yaml unless --policy names another. A list may be \
         written as its only item: `from: any` is `from: [any]`. Addresses are IPv4 or IPv6: an address, a network such as \
         192.0.2.0/24, or a range such as 192.0.2.10-192.0.2.20; those of IPv6 stand in quotes. The order of lines has no \
         meaning.",
    ));
    for (heading, section) in SECTIONS {
        roff.control("SH", [heading.replace('`', "").to_uppercase().as_str()]);
        roff.text(words(section.about));
        section.keys.iter().for_each(|key| of_a_key(&mut roff, key));
    }
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    roff.text([roman(
        "version: 1\ngroups:\n  trusted: [192.0.2.10, 198.51.100.0/24]\nservices:\n  ssh: { ports: 22/tcp, from: any, \
         limit: 6/minute }\n  dashboard: { ports: 9000/tcp, from: trusted }\nblock: [203.0.113.66]\nexpect:\n  - { deny: \
         9000/tcp, from: 203.0.113.9 }",
    )]);
    roff.control("fi", []).control("SH", ["FILES"]);
    roff.control("TP", []).text([bold("/usr/share/doc/palisade/examples/")]).text([roman("More policies.")]);
    see_also(&mut roff, &["palisade(8)".to_owned(), "palisade-check(8)".to_owned(), "palisade-schema(8)".to_owned()]);
    roff.to_roff()
}

fn of_a_key(roff: &mut Roff, key: &Key) {
    let without = match (key.required, key.default) {
        (true, _) => "; it has to be there".to_owned(),
        (false, Some(default)) => format!("; `{default}` without it"),
        (false, None) => String::new(),
    };
    let about = if let Holds::Section(section) = key.holds { section.about } else { key.about };
    let mut head = vec![bold(key.name), roman(": ")];
    head.extend(words(&format!("{}{without}", holds_in_words(key.holds))));
    roff.control("TP", []).text(head).text(words(about));
    roff.control("br", []).text([roman("Example: "), bold(format!("{}: {}", key.name, key.example))]);
}

/// Text in which code stands in backquotes.
fn words(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
