//! Peers as other programs write them, and how they are written here.

use super::places::{Place, Role};
use crate::net::AddressRange;
use crate::policy::{Fault, address_range, list, quote};
use std::net::Ipv4Addr;

/// How many groups are named in a message.
const MAX_SHOWN: usize = 12;

/// The fault of a peer that is written as another program would write it; `None` if it is not. `is_group` tells whether
/// the policy has a group of that name.
pub(super) fn written_elsewhere(word: &str, is_group: impl Fn(&str) -> bool) -> Option<Fault> {
    let negated = word.strip_prefix('!').or_else(|| word.strip_prefix("not ")).map(str::trim);
    if let Some(rest) = negated.filter(|rest| !rest.is_empty()) {
        return Some(
            Fault::new(format!("{} is not a peer", quote(word)))
                .help(format!("who is left out stands in `except`: `from: any` and `except: {rest}`")),
        );
    }
    if let Some(name) = word.strip_prefix(['@', '$', '%', '+']).filter(|name| is_group(name)) {
        return Some(
            Fault::new(format!("{} is not a peer", quote(word)))
                .help(format!("write the name of the group alone: {}", quote(name))),
        );
    }
    if let Some(network) = with_stars(word) {
        return Some(Fault::new(format!("{} is not an address", quote(word))).help(format!("write `{network}`")));
    }
    is_mac(word).then(|| {
        Fault::new(format!("{} is a MAC address", quote(word))).help(
            "write the address of IP: whoever sends chooses the MAC; `{ interface: NAME }` is all who come in there",
        )
    })
}

/// The network of `192.0.2.*`, `192.0.*.*`, `192.0.2/24`.
fn with_stars(word: &str) -> Option<String> {
    let (numbers, length) = match word.split_once('/') {
        Some((numbers, length)) => (numbers, Some(length.parse::<u8>().ok()?)),
        None => (word, None),
    };
    let parts: Vec<&str> = numbers.split('.').collect();
    let known: Vec<u8> = parts.iter().map_while(|part| part.parse().ok()).collect();
    let stars = parts.get(known.len()..)?;
    let of_parts = u8::try_from(known.len() * 8).ok()?;
    let shortened = stars.is_empty() && length == Some(of_parts);
    let starred = !stars.is_empty() && parts.len() <= 4 && length.is_none() && stars.iter().all(|part| *part == "*");
    if !(1..=3).contains(&known.len()) || !(shortened || starred) {
        return None;
    }
    let octet = |at: usize| known.get(at).copied().unwrap_or_default();
    let network = format!("{}/{of_parts}", Ipv4Addr::new(octet(0), octet(1), octet(2), 0));
    matches!(address_range(&network), Ok(AddressRange::V4(..))).then_some(network)
}

fn is_mac(word: &str) -> bool {
    let parts: Vec<&str> = word.split([':', '-']).collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()))
}

/// What a word means that is no group, if it tells.
pub(super) fn meant_by(word: &str) -> Option<String> {
    let is_country = word.len() == 2 && word.chars().all(|c| c.is_ascii_uppercase());
    Some(match word {
        "all" | "everyone" | "anyone" | "anywhere" | "everything" | "world" | "internet" => {
            "did you mean `any`?".to_owned()
        }
        "localhost" => "this machine always reaches itself: leave it out".to_owned(),
        "none" | "nobody" | "nothing" => "leave the whole entry out: what nothing allows is denied".to_owned(),
        _ if looks_like_an_interface(word) => format!("an interface is written `{{ interface: {word} }}`"),
        _ if is_country => "palisade knows no countries: a file of networks is written `{ file: PATH }`".to_owned(),
        _ => return None,
    })
}

/// What a word means where a user or an interface may stand.
pub(super) fn other_kind(word: &str, role: Role, no_groups: bool) -> Option<String> {
    match role {
        Role::At(Place::OutgoingFrom | Place::OutgoingExcept) if no_groups => {
            Some(format!("a user is written `{{ user: {word} }}`, and there are no groups"))
        }
        Role::At(Place::NatTo) => Some(format!("an interface is written `{{ interface: {word} }}`")),
        _ => None,
    }
}

/// The groups that there are, in words.
pub(super) fn all_groups<'a>(groups: impl Iterator<Item = &'a str> + Clone) -> String {
    let known: Vec<&str> = groups.clone().take(MAX_SHOWN).collect();
    match (known.len(), groups.count()) {
        (0, _) => {
            "write its addresses below `groups`, or here; an interface is written `{ interface: NAME }`, a host name \
                   with its domain `{ dns: NAME }`"
                .to_owned()
        }
        (shown, all) if shown < all => format!("the groups are {} and {} more", list(known), all - shown),
        (1, _) => format!("the only group is {}", list(known)),
        _ => format!("the groups are {}", list(known)),
    }
}

/// Whether a word looks like the name of a network interface: `eth0`, `ens3`, `wg0`, `br-lan`.
fn looks_like_an_interface(word: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "eth",
        "en",
        "wlan",
        "wl",
        "wg",
        "tun",
        "tap",
        "ppp",
        "bond",
        "veth",
        "vlan",
        "virbr",
        "docker",
        "tailscale",
    ];
    let numbered = |beginning: &&str| {
        word.strip_prefix(*beginning)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || "opsx".contains(c)))
    };
    word.starts_with("br-") || word.ends_with(|c: char| c.is_ascii_digit()) && BEGINNINGS.iter().any(numbered)
}
