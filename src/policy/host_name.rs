//! Host names as people write them.

use super::diagnostic::quote;
use super::fault::Fault;
use super::model::{Given, Peer, Policy};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The longest name that DNS can ask for, and the longest part of one (RFC 1035, 2.3.4), in bytes.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Reads a host name: in lower case, without a dot at its end.
pub(crate) fn host_name(text: &str) -> Result<String, Fault> {
    let fault = |why: &str| Fault::new(format!("{} can't be a host name: {why}", quote(text)));
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return Err(fault("it is this machine").help("this machine always reaches itself: leave it out"));
    }
    if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return Err(fault("it is an address").help(format!("write `{text}` without `dns`")));
    }
    if is_url(text) {
        return Err(fault("it is a URL").help("write the host's name alone"));
    }
    if name.contains('*') {
        return Err(fault("no look-up finds all names that end alike").help("write each name"));
    }
    if !name.is_ascii() {
        return Err(fault("DNS asks for it in another form").help("write the form that begins with `xn--`"));
    }
    let labels: Vec<&str> = name.split('.').collect();
    let refused = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    let is_label = |label: &&str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && !label.contains(refused)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_NAME || !labels.iter().all(is_label) {
        return Err(fault("its parts have 1 to 63 letters, digits and `-`, and dots between them")
            .help("write it as `getent ahosts NAME` takes it, such as `home.example.org`"));
    }
    if labels.len() < 2 {
        return Err(fault("it has no domain").help(format!("write the whole name, such as `{name}.example.org`")));
    }
    if !is_top_level(labels.last().copied().unwrap_or_default()) {
        return Err(Fault::new(format!("{} is neither an address nor a name", quote(text)))
            .help("write the whole name, such as `home.example.org`"));
    }
    Ok(name)
}

/// Whether names may end so. Digits would make it an address that is written in a way of its own.
fn is_top_level(label: &str) -> bool {
    label.len() > 1 && label.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether a text is the address of a page or a file.
pub(crate) fn is_url(text: &str) -> bool {
    let schemes = ["http://", "https://", "ftp://", "ftps://"];
    schemes.iter().any(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
}

impl Policy {
    /// The host names of the policy, as `{ dns: NAME }` reads them, and whether each stands in a `to`. Those that can't
    /// be read are left out.
    #[must_use]
    pub fn host_names(&self) -> BTreeMap<String, bool> {
        let all = self.peers().filter_map(name_of).map(|name| (name, false));
        let mut names: BTreeMap<String, bool> = all.collect();
        if names.is_empty() {
            return names;
        }
        let groups: BTreeMap<&str, _> =
            self.groups.iter().map(|group| (group.name.value.as_str(), &group.peers)).collect();
        let to = self.outgoing.iter().chain(&self.forward).map(|rule| &rule.to);
        let mut waiting: Vec<&Peer> = to.filter_map(Given::here).flat_map(|list| &list.items).collect();
        let mut seen = BTreeSet::new();
        while let Some(peer) = waiting.pop() {
            names.extend(name_of(peer).map(|name| (name, true)));
            let Peer::Word(word) = peer else { continue };
            if seen.insert(word.value.as_str()) {
                let members = groups.get(word.value.as_str()).and_then(|peers| peers.here());
                waiting.extend(members.into_iter().flat_map(|list| &list.items));
            }
        }
        names
    }
}

fn name_of(peer: &Peer) -> Option<String> {
    if let Peer::Dns(text) = peer { host_name(&text.value).ok() } else { None }
}
