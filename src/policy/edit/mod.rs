//! Edits a policy's text where it stands: comments, order and everything else stay as they are.
//!
//! Each edit is made at the places that the YAML reader gives. Then the result is read again: it is refused unless its
//! tree is that of the old text with the one change that was asked for. So a form of YAML that an edit does not expect,
//! such as an alias, is refused and never damaged.

mod plain;
mod text;

use super::diagnostic::{Diagnostic, Span, list, nearest, quote};
use super::name::is_name;
use super::yaml::{Node, Value, read};
use plain::{Plain, item, items};
use text::Document;

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Adds a service.
    AddService {
        /// Its name.
        name: &'a str,
        /// Its ports, at least one.
        ports: &'a [String],
        /// Its sources, at least one: words, or peers in braces.
        from: &'a [String],
    },
    /// Removes a service.
    RemoveService {
        /// Its name.
        name: &'a str,
    },
    /// Adds a peer to a group.
    AddPeer {
        /// The group.
        group: &'a str,
        /// The peer: a word, or a peer in braces.
        peer: &'a str,
        /// Whether the group is made if it is not there.
        make: bool,
    },
    /// Removes a peer from a group.
    RemovePeer {
        /// The group.
        group: &'a str,
        /// The peer, as the group writes it.
        peer: &'a str,
    },
}

/// The text after an edit, and what its tree has to be: a section, an entry of it, and its value, or that it goes.
struct Edited<'a> {
    text: Option<String>,
    entry: (&'static str, &'a str, Option<Plain>),
}

/// The text after an edit. It is not proved to be a valid policy.
///
/// # Errors
/// A text that is no YAML, an edit that the policy does not allow, and one that can't be made in the form that this text has.
pub fn edited(text: &str, edit: &Edit<'_>) -> Result<String, Box<Diagnostic>> {
    let root = read(text)?.unwrap_or(Node { span: Span::default(), value: Value::Empty, is_quoted: false });
    let document = Document { text, root: &root };
    let Edited { text: after, entry: (section, name, value) } = made(&document, edit)?;
    let mut intended = Plain::of(&root);
    intended.set(section, name, value);
    let found = |after: &str| read(after).ok().flatten().map(|root| Plain::of(&root));
    match after {
        Some(after) if found(&after).as_ref() == Some(&intended) => Ok(after),
        _ => {
            let span = document.section(section).map_or(root.span, |(key, _)| key.span);
            let message = "this is written in a form in which a command can't change it";
            Err(Box::new(Diagnostic::at(span, message).help("change it in an editor: `palisade edit`")))
        }
    }
}

fn made<'a>(document: &Document<'_>, edit: &Edit<'a>) -> Result<Edited<'a>, Box<Diagnostic>> {
    match *edit {
        Edit::AddService { name, ports, from } => {
            if !is_name(name) {
                let problem = Diagnostic::general(format!("{} can't be the name of a service", quote(name)));
                return Err(Box::new(
                    problem.help("a name begins with a letter, and has letters, digits, `-` and `_`"),
                ));
            }
            if document.entry("services", name).is_some() {
                let problem = Diagnostic::general(format!("there is a service {} already", quote(name)));
                return Err(Box::new(problem.help("give the new one another name: `--name NAME`")));
            }
            let ((ports, plain_ports), (from, plain_from)) = (items(ports)?, items(from)?);
            let fields = [("ports", plain_ports), ("from", plain_from)];
            let value = Plain::Mapping(fields.map(|(key, plain)| (Plain::Text(key.to_owned()), plain)).into());
            let text = document.with_service(name, &[("ports", ports), ("from", from)]);
            Ok(Edited { text, entry: ("services", name, Some(value)) })
        }
        Edit::RemoveService { name } => {
            if document.entry("services", name).is_none() {
                return Err(unknown("service", name, &document.names("services"), ""));
            }
            Ok(Edited { text: document.without_service(name), entry: ("services", name, None) })
        }
        Edit::AddPeer { group, peer, make } => {
            let (written, peer) = item(peer)?;
            let Some(of) = document.entry("groups", group) else {
                if !make {
                    let names = document.names("groups");
                    return Err(unknown("group", group, &names, "; `--new` makes a new group"));
                }
                let text = document.with_entry("groups", group, &format!("[{written}]"));
                return Ok(Edited { text, entry: ("groups", group, Some(Plain::List(vec![peer]))) });
            };
            let mut peers = Plain::peers(of);
            if peers.contains(&peer) {
                let problem = format!("the group {} names {} already", quote(group), quote(&written));
                return Err(Box::new(Diagnostic::general(problem)));
            }
            peers.push(peer);
            Ok(Edited { text: document.with_peer(of, &written), entry: ("groups", group, Some(Plain::List(peers))) })
        }
        Edit::RemovePeer { group, peer } => {
            let Some(of) = document.entry("groups", group) else {
                return Err(unknown("group", group, &document.names("groups"), ""));
            };
            let (written, peer) = item(peer)?;
            let mut peers = Plain::peers(of);
            let Some(at) = peers.iter().position(|one| *one == peer) else {
                return Err(not_in(group, &written, &peers));
            };
            peers.remove(at);
            if peers.is_empty() {
                let problem = format!("{} is all that the group {} names", quote(&written), quote(group));
                let help = "a group names at least one peer: remove the group, and where it is used";
                return Err(Box::new(Diagnostic::general(problem).help(help)));
            }
            Ok(Edited { text: document.without_peer(of, at), entry: ("groups", group, Some(Plain::List(peers))) })
        }
    }
}

/// The problem of a name that is not there.
fn unknown(kind: &str, name: &str, known: &[&str], more: &str) -> Box<Diagnostic> {
    let problem = Diagnostic::general(format!("there is no {kind} {}", quote(name)));
    let help = match (nearest(name, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean {}?", quote(near)),
        (None, []) => format!("the policy has no {kind}"),
        (None, known) => format!("the policy has {}", list(known.iter().copied())),
    };
    Box::new(problem.help(format!("{help}{more}")))
}

/// The problem of a peer that is not in a group.
fn not_in(group: &str, peer: &str, peers: &[Plain]) -> Box<Diagnostic> {
    let words: Vec<&str> = peers.iter().filter_map(Plain::text).collect();
    let problem = Diagnostic::general(format!("the group {} does not name {}", quote(group), quote(peer)));
    Box::new(match nearest(peer, words.iter().copied()) {
        Some(near) => problem.help(format!("did you mean {}?", quote(near))),
        None if words.is_empty() => problem,
        None => problem.help(format!("it names {}", list(words.into_iter().take(10)))),
    })
}
