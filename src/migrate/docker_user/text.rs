//! What `iptables-save`, `ip6tables-save` and `ipset save` print, and what `iptables-restore` reads.

use crate::migrate::spans::Spans;
use crate::migrate::tuple::Place;
use crate::net::Version;
use std::collections::BTreeMap;

/// How many lines are read.
const MOST_LINES: usize = 200_000;

/// A line that adds a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) text: String,
    /// Its words behind the chain's name.
    pub(super) words: Vec<String>,
}

/// The rules of one version, by the table and the chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    chains: BTreeMap<(String, String), Vec<Line>>,
    /// Whether there was any.
    pub(super) is_there: bool,
}

impl Tables {
    /// The rules of a chain; `None` if there is no such chain.
    pub(super) fn chain(&self, table: &str, chain: &str) -> Option<&[Line]> {
        self.chains.get(&(table.to_owned(), chain.to_owned())).map(Vec::as_slice)
    }
}

/// All that a text holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    pub(super) four: Tables,
    pub(super) six: Tables,
    /// Sets of addresses; those of other kinds are not here.
    pub(super) sets: BTreeMap<String, (Version, Spans)>,
    /// Where lines stand, if it is not in this text.
    pub(super) places: BTreeMap<usize, String>,
}

impl Saved {
    /// Where a line stands.
    pub(super) fn place(&self, line: usize) -> String {
        self.places.get(&line).cloned().unwrap_or_else(|| format!("line {line}"))
    }

    pub(super) fn of(&self, version: Version) -> &Tables {
        if version == Version::V4 { &self.four } else { &self.six }
    }
}

/// Reads a text. `Err` is a line that can't be read, and why.
pub(super) fn read(text: &str) -> Result<Saved, (usize, String)> {
    let mut saved = Saved::default();
    let mut members: BTreeMap<String, (Version, Vec<(u128, u128)>)> = BTreeMap::new();
    let (mut version, mut table) = (version_of(text), "filter".to_owned());
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        if number > MOST_LINES {
            return Err((number, format!("more than {MOST_LINES} lines")));
        }
        if line.starts_with('#') {
            version = said_version(line).unwrap_or(version);
            continue;
        }
        let words = words(line).ok_or_else(|| (number, "a quotation mark is not closed".to_owned()))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let tables = if version == Version::V4 { &mut saved.four } else { &mut saved.six };
        match words.as_slice() {
            [name] if name.starts_with('*') => name.get(1..).unwrap_or_default().clone_into(&mut table),
            [chain, ..] if chain.starts_with(':') => {
                let chain = chain.get(1..).unwrap_or_default().to_owned();
                tables.chains.entry((table.clone(), chain)).or_default();
                tables.is_there = true;
            }
            // With a mask an element stands for more than itself.
            ["create", name, kind, options @ ..]
                if ["hash:ip", "hash:net"].contains(kind)
                    && !options.iter().any(|option| ["netmask", "bitmask"].contains(option)) =>
            {
                let is_six = options.windows(2).any(|pair| pair == ["family", "inet6"]);
                members.insert((*name).to_owned(), (if is_six { Version::V6 } else { Version::V4 }, Vec::new()));
            }
            // What is taken out of a set again can't be said here: then nothing of the set is known.
            ["add", name, _, options @ ..] if options.contains(&"nomatch") => {
                members.remove(*name);
            }
            ["add", name, member, ..] => {
                if let Some((of, all)) = members.get_mut(*name) {
                    let span = Place::of_a_set(member, *of)
                        .ok_or_else(|| (number, format!("`{member}` is no {of} address")))?;
                    all.push(span);
                }
            }
            [option, chain, rest @ ..] if ["-A", "-I", "--append", "--insert"].contains(option) => {
                let rules = tables.chains.entry((table.clone(), (*chain).to_owned())).or_default();
                tables.is_there = true;
                let inserts = option.starts_with("-I") || option.starts_with("--i");
                let index = rest.first().and_then(|word| word.parse::<usize>().ok()).filter(|_| inserts);
                let rest = if index.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
                let words = rest.iter().map(|word| (*word).to_owned()).collect();
                let rule = Line { number, text: line.to_owned(), words };
                let place = if inserts { index.unwrap_or(1).saturating_sub(1).min(rules.len()) } else { rules.len() };
                rules.insert(place, rule);
            }
            _ => {}
        }
    }
    saved.sets = members.into_iter().map(|(name, (version, all))| (name, (version, Spans::from(all)))).collect();
    Ok(saved)
}

/// The version of a text whose heads do not say it: by the addresses that it names.
fn version_of(text: &str) -> Version {
    let names_six = |line: &str| {
        let mut words = line.split_whitespace();
        words.any(|word| {
            word.parse::<std::net::Ipv6Addr>().is_ok()
                || word.split_once('/').is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
        })
    };
    if text.lines().any(names_six) { Version::V6 } else { Version::V4 }
}

/// The version that a head names: `# Generated by ip6tables-save v1.8.9`, and with `-nft` or `-legacy` in the name.
fn said_version(line: &str) -> Option<Version> {
    let program = line.strip_prefix("# Generated by ")?.split(' ').next()?;
    let is_of = |family: &str| program.starts_with(family) && program.ends_with("-save");
    if is_of("ip6tables") { Some(Version::V6) } else { is_of("iptables").then_some(Version::V4) }
}

/// Words, of which those in quotation marks hold blanks. `None` if one is not closed.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut inside, mut is_word) = (Vec::new(), String::new(), None, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, inside) {
            ('\\', Some('"')) => word.extend(letters.next()),
            ('"' | '\'', None) => (inside, is_word) = (Some(letter), true),
            (mark, Some(open)) if mark == open => inside = None,
            (blank, None) if blank.is_whitespace() => {
                if std::mem::take(&mut is_word) {
                    all.push(std::mem::take(&mut word));
                }
            }
            (letter, _) => {
                word.push(letter);
                is_word = true;
            }
        }
    }
    if is_word {
        all.push(word);
    }
    inside.is_none().then_some(all)
}
