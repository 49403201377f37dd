//! Names, words, rates, interfaces and comments.

use super::{Action, Rate, ReversePath};
use crate::net::IfPattern;
use crate::policy::{Fault, Text, address_range, is_name, list, nearest, quote};
use crate::printable::is_invisible;
use crate::ruleset::LimitUnit;
use crate::temporary::{LONGEST, SHORTEST};
use std::time::Duration;

/// The built-in names, which no group may have.
pub(super) const RESERVED: &[&str] = &["any", "containers", "private"];
/// A group's sets are named after it with one of these suffixes. A group's own name must not end with one.
const SUFFIXES: &[&str] = &["-v4", "-v6", "-if"];
/// The highest count of a rate. A rate above this per second limits nothing.
const MAX_RATE: u32 = 1_000_000;
/// The length of a service's comment in bytes. It becomes part of a comment in the kernel.
const MAX_COMMENT: usize = 100;

/// Checks the name of a service.
pub(super) fn service_name(name: &str) -> Result<(), Fault> {
    checked_name("service", name)
}

/// Checks the name of a rule of `outgoing` or `forward`, or of a line of `nat`.
pub(super) fn rule_name(name: &str) -> Result<(), Fault> {
    checked_name("rule", name)
}

/// Checks the name of a group.
pub(super) fn group_name(name: &str) -> Result<(), Fault> {
    if RESERVED.contains(&name) {
        return Err(Fault::new(format!("the name {} is taken by a built-in group", quote(name)))
            .help("give the group another name"));
    }
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        return Err(Fault::new(format!("a group's name can't end with `{suffix}`"))
            .help("the kernel's sets of a group are named so: give the group another name"));
    }
    checked_name("group", name)
}

fn checked_name(kind: &str, name: &str) -> Result<(), Fault> {
    if is_name(name) {
        return Ok(());
    }
    Err(Fault::new(format!("{} can't be the name of a {kind}", quote(name)))
        .help("names have up to 32 letters, digits, `-` and `_`, and begin with a letter"))
}

/// Reads a default, which must be one of the words in `allowed`.
pub(super) fn action(key: &str, text: &str, allowed: &[(&str, Action)]) -> Result<Action, Fault> {
    if let Some((_, action)) = allowed.iter().find(|(word, _)| *word == text) {
        return Ok(*action);
    }
    let words = || allowed.iter().map(|(word, _)| *word);
    let fault = Fault::new(format!("`{key}` can't be {}", quote(text)));
    let synonym = match text {
        "drop" | "block" | "no" | "false" | "off" => Some("deny"),
        "accept" | "permit" | "yes" | "true" | "on" => Some("allow"),
        _ => None,
    };
    Err(match synonym.or_else(|| nearest(text, words())) {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help(format!("it is one of {}", list(words()))),
    })
}

/// Reads `reverse_path`.
pub(super) fn reverse_path(text: &str) -> Result<ReversePath, Fault> {
    match text {
        "off" => Ok(ReversePath::Off),
        "strict" => Ok(ReversePath::Strict),
        _ => {
            Err(Fault::new(format!("`reverse_path` can't be {}", quote(text)))
                .help("it is one of `off` and `strict`"))
        }
    }
}

/// Reads `odd`: whether lines that can't be read are left out.
pub(super) fn odd(text: &str) -> Result<bool, Fault> {
    match text {
        "skip" => Ok(true),
        "error" => Ok(false),
        _ => Err(Fault::new(format!("`odd` can't be {}", quote(text))).help("it is one of `error` and `skip`")),
    }
}

/// Reads `true` or `false`.
pub(super) fn boolean(key: &str, text: &str) -> Result<bool, Fault> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::new(format!("`{key}` can't be {}", quote(text))).help("write `true` or `false`")),
    }
}

/// Reads `off` or a rate.
pub(super) fn rate_or_off(text: &Text) -> Result<Option<Rate>, Fault> {
    match text.value.as_str() {
        "off" => Ok(None),
        "false" | "no" | "never" | "none" => {
            Err(Fault::new(format!("{} is no rate", quote(&text.value))).help("write `off` to log nothing"))
        }
        _ => rate(text).map(Some),
    }
}

/// Reads a rate such as `6/minute`.
pub(super) fn rate(text: &Text) -> Result<Rate, Fault> {
    let typed = &text.value;
    let example = "write a count and a unit of time, such as `6/minute`";
    let Some((count, unit)) = typed.split_once('/') else {
        return Err(Fault::new(format!("{} is no rate", quote(typed))).help(example));
    };
    let Some(known) = LimitUnit::ALL.into_iter().find(|known| known.name() == unit) else {
        let names = || LimitUnit::ALL.into_iter().map(LimitUnit::name);
        let fault = Fault::new(format!("{} is not a unit of time", quote(unit)));
        let meant =
            names().find(|name| !unit.is_empty() && name.starts_with(unit)).or_else(|| nearest(unit, names()));
        return Err(match meant {
            Some(meant) => fault.help(format!("did you mean `{count}/{meant}`?")),
            None => fault.help(format!("the units are {}", list(names()))),
        });
    };
    if count.is_empty() || !count.chars().all(|c| c.is_ascii_digit()) {
        return Err(Fault::new(format!("{} is no count", quote(count))).help(example));
    }
    match count.parse::<u32>() {
        Ok(0) => Err(Fault::new(format!("the rate {} would let nothing through", quote(typed)))
            .help("write 1 or more; to allow nobody, remove the service")),
        Ok(count) if count <= MAX_RATE => Ok(Rate { count, unit: known, line: Some(text.span.line) }),
        _ => Err(Fault::new(format!("the rate {} is too high to limit anything", quote(typed)))
            .help(format!("the highest count is {MAX_RATE}"))),
    }
}

/// Reads for how long a group takes addresses.
pub(super) fn time(text: &str) -> Result<Duration, Fault> {
    const FORM: &str = "write for how long at most, such as `{ temporary: 12h }`: from `1m` to `30d`";
    match humantime::parse_duration(text) {
        Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Ok(time),
        Ok(time) => {
            let why = if time < SHORTEST { "shorter than a minute" } else { "longer than 30 days" };
            Err(Fault::new(format!("`temporary` can't be {}: that is {why}", quote(text))).help(FORM))
        }
        Err(_) => Err(Fault::new(format!("`temporary` can't be {}: that is no time", quote(text))).help(FORM)),
    }
}

/// Reads an interface's name, optionally followed by `*`.
pub(super) fn interface(text: &str) -> Result<IfPattern, Fault> {
    let fault = |why: &str| Fault::new(format!("{} can't be an interface: {why}", quote(text)));
    let (name, wildcard) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
    if name.is_empty() {
        return Err(if wildcard {
            fault("it would be every one of them, this machine's own included")
                .help("write how the names begin, such as `eth*`")
        } else {
            fault("it has no name").help("write a name that `ls /sys/class/net` lists")
        });
    }
    if name.contains('*') {
        return Err(fault("a `*` can stand at its end only").help("write how the names begin, such as `br-*`"));
    }
    if let Some(meant) = probably_meant(name) {
        return Err(meant);
    }
    if name.len() > 15 {
        return Err(fault("no name has more than 15 bytes")
            .help("write a name that `ls /sys/class/net` lists: longer ones, behind `altname`, are in no packet"));
    }
    let refused = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '/' | ':' | '"' | '\'' | '\\' | '`');
    if let Some(c) = name.chars().find(|&c| refused(c)) {
        return Err(
            fault(&format!("no name has a {}", quote(&c.to_string()))).help("`ls /sys/class/net` lists the names")
        );
    }
    if name == "." || name == ".." {
        return Err(fault("the kernel allows no such name").help("`ls /sys/class/net` lists the names"));
    }
    // A name of 15 bytes has the full length, so a `*` after it matches that name only. nft would refuse the `*`.
    Ok(IfPattern { name: name.to_owned(), wildcard: wildcard && name.len() < 15 })
}

/// An address, network or flag in the place of a name, which shows what is meant.
fn probably_meant(text: &str) -> Option<Fault> {
    let fault = |why: &str| Fault::new(format!("{} can't be an interface: {why}", quote(text)));
    if let Some((name, other)) = text.split_once('@')
        && !name.is_empty()
        && !other.is_empty()
    {
        return Some(fault("behind the `@` stands what it is linked to").help(format!("write {}", quote(name))));
    }
    if address_range(text).is_ok() {
        return Some(fault("it is an address").help("who comes from an address is named in `from`"));
    }
    if let Some((name, label)) = text.split_once(':')
        && !name.is_empty()
        && label.chars().all(|c| c.is_ascii_digit())
    {
        return Some(
            fault("it is the label of an address").help(format!("write {}, and the address in `to`", quote(name))),
        );
    }
    let names: Vec<&str> = text.split([' ', ',']).filter(|name| !name.is_empty()).collect();
    (names.len() > 1)
        .then(|| fault("it is more than one name").help(format!("write a list: `[{}]`", names.join(", "))))
}

/// Checks a service's comment.
pub(super) fn comment(text: &str) -> Result<String, Fault> {
    if let Some(c) = text.chars().find(|&c| is_invisible(c) || matches!(c, '"' | '\\')) {
        return Err(if c == '\n' {
            Fault::new("a comment has to be one line")
                .help("shorten it; a longer text belongs in a comment, after a `#`")
        } else {
            Fault::new(format!("a comment can't hold the character {}", quote(&c.to_string())))
                .help("it becomes a comment in the kernel, in double quotes: leave the character out")
        });
    }
    if text.len() > MAX_COMMENT {
        return Err(Fault::new(format!("the comment has {} bytes, {MAX_COMMENT} is the most", text.len()))
            .help("shorten it; a longer text belongs in a comment, after a `#`"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_behind_the_longest_name_stands_for_nothing_more() {
        let interface = |text| interface(text).map(|interface| (interface.name, interface.wildcard));
        assert_eq!(interface("fifteen-bytes-x*"), Ok(("fifteen-bytes-x".to_owned(), false)));
        assert_eq!(interface("fourteen-bytes*"), Ok(("fourteen-bytes".to_owned(), true)));
    }
}
