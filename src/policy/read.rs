//! Decodes the tree of nodes into a [`Policy`] and reports every problem of its shape.

use super::diagnostic::{Diagnostic, list, nearest, quote};
use super::elsewhere::{default_instead, elsewhere, instead};
use super::keys::{self, Section};
use super::model::{
    Containers, Defaults, Expectation, Given, Group, Ignored, List, Peer, Policy, Service, Spanned, Text,
};
use super::yaml::{Node, Value, is_truth, key, repeated};
use std::collections::BTreeMap;

/// Decodes one item of a list.
pub(super) type ReadItem<T> = fn(&mut Reader, &Node, &str) -> Option<T>;

/// Decodes a tree. Leaves out what it can't decode, and reports a problem for it.
pub(super) fn read(root: &Node, policy: &mut Policy) -> Vec<Diagnostic> {
    let mut reader = Reader { problems: Vec::new() };
    reader.policy(root, policy);
    reader.problems
}

/// A key of a peer in braces, and the peer that its text makes.
type OfText = (&'static str, fn(Text) -> Peer);

pub(super) struct Reader {
    pub(super) problems: Vec<Diagnostic>,
}

/// The values of a mapping by their keys.
pub(super) type Fields<'a> = BTreeMap<&'static str, &'a Node>;

impl Reader {
    fn policy(&mut self, root: &Node, policy: &mut Policy) {
        let Some(mut fields) = self.fields(root, &keys::POLICY) else { return };
        match fields.remove("version") {
            Some(node) => self.version(node),
            None => self.problems.push(
                Diagnostic::at(
                    first_key(root),
                    "the policy does not say which version of the language it is written in",
                )
                .help("begin the file with `version: 1`"),
            ),
        }
        if let Some(node) = fields.remove("defaults") {
            self.defaults(node, &mut policy.defaults);
        }
        for (name, value) in self.named(fields.remove("groups"), "group", "groups") {
            let what = format!("the group {}", quote(&name.value));
            let peers = self.list(Some(value), &what, Self::peer);
            policy.groups.push(Group { name, peers });
        }
        let services = self.named(fields.remove("services"), "service", "services");
        for (name, value) in self.below_their_names(services, &keys::SERVICE) {
            policy.services.push(self.service(name, value));
        }
        self.routed(&mut fields, policy);
        // A section whose lines are all commented out counts as absent.
        let block = fields.remove("block").filter(|node| node.value != Value::Empty);
        policy.block = self.list(block, "`block`", Self::peer);
        if let Some(node) = fields.remove("log").filter(|node| node.value != Value::Empty) {
            self.log(node, policy);
        }
        if let Some(node) = fields.remove("containers") {
            self.containers(node, &mut policy.containers);
        }
        let expectations = fields.remove("expect").filter(|node| node.value != Value::Empty);
        if let Given::Here(list) = self.list(expectations, "`expect`", Self::expectation) {
            policy.expectations = list.items;
        }
        if let Some(node) = fields.remove("doctor").filter(|node| node.value != Value::Empty) {
            self.doctor(node, policy);
        }
    }

    fn version(&mut self, node: &Node) {
        match &node.value {
            Value::Text(version) if version == "1" => {}
            Value::Text(version) => self.problems.push(
                Diagnostic::at(
                    node.span,
                    format!("this palisade does not know version {} of the language", quote(version)),
                )
                .help("write `version: 1`, the only one so far"),
            ),
            other => self.problems.push(
                Diagnostic::at(node.span, format!("the version has to be a number, and this is {}", other.kind()))
                    .help("write `version: 1`"),
            ),
        }
    }

    fn defaults(&mut self, node: &Node, defaults: &mut Defaults) {
        if node.value == Value::Empty {
            return;
        }
        let Some(fields) = self.fields(node, &keys::DEFAULTS) else { return };
        let mut word = |name: &str| self.text(fields.get(name).copied(), &format!("`{name}`"));
        defaults.incoming = word("incoming");
        defaults.outgoing = word("outgoing");
        defaults.forward = word("forward");
        defaults.ping = word("ping");
        defaults.reverse_path = word("reverse_path");
    }

    fn containers(&mut self, node: &Node, containers: &mut Containers) {
        if node.value == Value::Empty {
            return;
        }
        let Some(fields) = self.fields(node, &keys::CONTAINERS) else { return };
        containers.interfaces = self.list(fields.get("interfaces").copied(), "`interfaces`", Self::peer);
        containers.outgoing = self.text(fields.get("outgoing").copied(), "`outgoing`");
        containers.host = self.text(fields.get("host").copied(), "`host`");
    }

    fn log(&mut self, node: &Node, policy: &mut Policy) {
        let Some(fields) = self.fields(node, &keys::LOG) else { return };
        policy.log_denied = self.text(fields.get("denied").copied(), "`denied`");
    }

    fn service(&mut self, name: Text, node: &Node) -> Service {
        let what = format!("the service {}", quote(&name.value));
        let mut service = Service { name, ..Service::default() };
        let fields = match &node.value {
            Value::Empty => Some(Fields::new()),
            _ => self.fields_of(node, &what, &keys::SERVICE),
        };
        let Some(fields) = fields else {
            (service.ports, service.from) = (Given::Unreadable, Given::Unreadable);
            return service;
        };
        let field = |name: &str| fields.get(name).copied();
        service.ports = self.list(field("ports"), "`ports`", Self::port);
        service.from = self.list(field("from"), "`from`", Self::peer);
        service.except = self.list(field("except"), "`except`", Self::peer);
        service.to = self.list(field("to"), "`to`", Self::peer);
        service.on = self.list(field("on"), "`on`", Self::peer);
        service.limit = self.text(field("limit"), "`limit`");
        service.action = self.text(field("action"), "`action`");
        service.forward_to = self.list(field("forward_to"), "`forward_to`", Self::target);
        service.log = self.text(field("log"), "`log`");
        service.comment = self.text(field("comment"), "`comment`");
        service
    }

    fn expectation(&mut self, node: &Node, _: &str) -> Option<Expectation> {
        let fields = self.fields(node, &keys::EXPECTATION)?;
        let field = |name: &str| fields.get(name).copied();
        Some(Expectation {
            span: node.span,
            allow: self.list(field("allow"), "`allow`", Self::port),
            deny: self.list(field("deny"), "`deny`", Self::port),
            from: self.list(field("from"), "`from`", Self::peer),
            on: self.list(field("on"), "`on`", Self::peer),
            to: self.list(field("to"), "`to`", Self::peer),
        })
    }

    fn doctor(&mut self, node: &Node, policy: &mut Policy) {
        let Some(fields) = self.fields(node, &keys::DOCTOR) else { return };
        let ignored = fields.get("ignore").copied().filter(|node| node.value != Value::Empty);
        if let Given::Here(list) = self.list(ignored, "`ignore`", Self::ignored) {
            policy.ignored = list.items;
        }
    }

    fn ignored(&mut self, node: &Node, _: &str) -> Option<Ignored> {
        let fields = self.fields(node, &keys::IGNORED)?;
        let field = |name: &str| fields.get(name).copied();
        Some(Ignored {
            span: node.span,
            id: self.text(field("id"), "`id`"),
            because: self.text(field("because"), "`because`"),
        })
    }

    /// The entries of `groups` or `services`, whose keys the author chooses.
    pub(super) fn named<'a>(&mut self, node: Option<&'a Node>, one: &str, all: &str) -> Vec<(Text, &'a Node)> {
        let entries = match node.map(|node| (node, &node.value)) {
            None | Some((_, Value::Empty)) => return Vec::new(),
            Some((_, Value::Mapping(entries))) => entries,
            Some((node, other)) => {
                let meant = if let Value::Text(text) = other { default_instead(all, text) } else { None };
                let lines = || format!("write each {one} on its own line below, as `name:` and what belongs to it");
                self.problems.push(
                    Diagnostic::at(node.span, format!("`{all}` has to be a mapping, and this is {}", other.kind()))
                        .help(meant.unwrap_or_else(lines)),
                );
                return Vec::new();
            }
        };
        let mut first: BTreeMap<&str, &Node> = BTreeMap::new();
        let mut named = Vec::new();
        for (name_node, value) in entries {
            match key(name_node) {
                Err(problem) => self.problems.push(*problem),
                Ok(name) => {
                    if let Some(first) = first.get(name) {
                        self.problems.push(repeated(name_node, name, first));
                        continue;
                    }
                    first.insert(name, name_node);
                    named.push((Spanned { value: name.to_owned(), span: name_node.span }, value));
                }
            }
        }
        named
    }

    /// Reports keys that stand beside the name that they belong below, once for each name, and leaves them out.
    pub(super) fn below_their_names<'a>(
        &mut self,
        named: Vec<(Text, &'a Node)>,
        section: &'static Section,
    ) -> Vec<(Text, &'a Node)> {
        let is_a_key = |(name, node): &(Text, &Node)| {
            section.key(&name.value).is_some() && !matches!(node.value, Value::Mapping(_))
        };
        let mut entries = named.into_iter().peekable();
        let mut kept = Vec::new();
        while let Some((name, node)) = entries.next() {
            let mut beside = Vec::new();
            while node.value == Value::Empty
                && let Some((key, _)) = entries.next_if(is_a_key)
            {
                beside.push(key);
            }
            let Some(first) = beside.first() else {
                kept.push((name, node));
                continue;
            };
            let keys = list(beside.iter().map(|key| key.value.as_str()));
            let verb = if beside.len() == 1 { "stands" } else { "stand" };
            let message = format!("{keys} {verb} beside {}, and not below it", quote(&name.value));
            self.problems.push(
                Diagnostic::at(first.span, message)
                    .help(format!("indent {keys} by two blanks more than {}", quote(&name.value))),
            );
        }
        kept
    }

    /// The values of a mapping with known keys. Reports a mistyped key and then takes it for the key that is meant,
    /// so that this key is not also reported as missing.
    fn fields<'a>(&mut self, node: &'a Node, section: &'static Section) -> Option<Fields<'a>> {
        self.fields_of(node, section.what, section)
    }

    /// Like [`fields`](Self::fields), but errors call the mapping `what`.
    pub(super) fn fields_of<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        section: &'static Section,
    ) -> Option<Fields<'a>> {
        let known = section.names();
        let Value::Mapping(entries) = &node.value else {
            let problem =
                Diagnostic::at(node.span, format!("{what} has to be a mapping, and this is {}", node.value.kind()));
            self.problems.push(match &node.value {
                Value::Text(text)
                    if known.clone().any(|key| text.strip_prefix(key).is_some_and(|t| t.starts_with(':'))) =>
                {
                    problem.help("a blank is missing after the colon: `key: value`")
                }
                other => {
                    let meant = if let Value::Text(text) = other { instead(section, text) } else { None };
                    let keys = || format!("its keys are {}, each as `key: value`", list(known.clone()));
                    problem.help(meant.unwrap_or_else(keys))
                }
            });
            return None;
        };
        let mut fields = Fields::new();
        let mut first: BTreeMap<&str, &Node> = BTreeMap::new();
        let mut guessed = Vec::new();
        for (key_node, value) in entries {
            let name = match key(key_node) {
                Ok(name) => name,
                Err(problem) => {
                    self.problems.push(*problem);
                    continue;
                }
            };
            if let Some(first) = first.get(name) {
                self.problems.push(repeated(key_node, name, first));
                continue;
            }
            first.insert(name, key_node);
            if let Some(known) = known.clone().find(|&known| known == name) {
                fields.insert(known, value);
                continue;
            }
            if is_for_anchors(section, name) {
                continue;
            }
            let problem = Diagnostic::at(key_node.span, format!("{what} has no key {}", quote(name)));
            let (help, meant) = unknown_key(section, name, value);
            self.problems.push(problem.help(help));
            guessed.extend(meant.map(|meant| (meant, value)));
        }
        for (meant, value) in guessed {
            fields.entry(meant).or_insert(value);
        }
        Some(fields)
    }

    /// A list, or a single item in place of one.
    pub(super) fn list<T>(&mut self, node: Option<&Node>, what: &str, read: ReadItem<T>) -> Given<List<T>> {
        let Some(node) = node else { return Given::Absent };
        match &node.value {
            Value::Empty => {
                self.problems.push(
                    Diagnostic::at(node.span, format!("{what} says nothing"))
                        .help("write a value, or a list: `[first, second]`"),
                );
                Given::Unreadable
            }
            Value::List(items) => Given::Here(List {
                span: node.span,
                empty: items.is_empty(),
                items: items.iter().filter_map(|item| read(self, item, what)).collect(),
            }),
            Value::Text(_) | Value::Mapping(_) => Given::Here(List {
                span: node.span,
                empty: false,
                items: read(self, node, what).into_iter().collect(),
            }),
        }
    }

    pub(super) fn text(&mut self, node: Option<&Node>, what: &str) -> Given<Text> {
        let Some(node) = node else { return Given::Absent };
        match &node.value {
            Value::Text(text) => Given::Here(Spanned { value: text.clone(), span: node.span }),
            Value::Empty => {
                self.problems.push(
                    Diagnostic::at(node.span, format!("{what} says nothing"))
                        .help("write a value, or leave the key out"),
                );
                Given::Unreadable
            }
            other => {
                self.problems.push(
                    Diagnostic::at(
                        node.span,
                        format!("{what} has to be a single value, and this is {}", other.kind()),
                    )
                    .help("write one value, and put it in quotes if it holds brackets or `: `"),
                );
                Given::Unreadable
            }
        }
    }

    /// Whether the name of an interface is none of the words that stand for true and false; reports one that is.
    fn is_no_truth(&mut self, node: &Node) -> bool {
        let Value::Text(word) = &node.value else { return true };
        if node.is_quoted || !is_truth(word) {
            return true;
        }
        let message = format!("{} can't be an interface's name: in YAML it means true or false", quote(word));
        let help = format!(
            "write a name that `ls /sys/class/net` lists; if that is the name, put it in quotes: `\"{word}\"`"
        );
        self.problems.push(Diagnostic::at(node.span, message).help(help));
        false
    }

    pub(super) fn port(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.value {
            Value::Text(text) => Some(Spanned { value: text.clone(), span: node.span }),
            other => {
                self.problems.push(
                    Diagnostic::at(
                        node.span,
                        format!("an item of {what} has to be a port, and this is {}", other.kind()),
                    )
                    .help("write a port and its protocol, such as `22/tcp`"),
                );
                None
            }
        }
    }

    pub(super) fn peer(&mut self, node: &Node, what: &str) -> Option<Peer> {
        let entries = match &node.value {
            Value::Text(text) => {
                let names_interfaces = ["`on`", "`interfaces`"].contains(&what);
                let peer = || Peer::Word(Spanned { value: text.clone(), span: node.span });
                return (!names_interfaces || self.is_no_truth(node)).then(peer);
            }
            Value::Mapping(entries) => entries,
            Value::List(_) => {
                self.problems.push(
                    Diagnostic::at(node.span, format!("a list is inside the list of {what}"))
                        .help("write one list; to use a list in several places, make it a group and write its name"),
                );
                return None;
            }
            Value::Empty => {
                self.problems.push(
                    Diagnostic::at(node.span, format!("an item of {what} is empty"))
                        .help("write an address or a group's name after the dash, or remove the line"),
                );
                return None;
            }
        };
        if let [(only, value)] = entries.as_slice()
            && let (Value::Text(start), Value::Empty) = (&only.value, &value.value)
            && format!("{start}:").parse::<std::net::Ipv6Addr>().is_ok()
        {
            self.problems.push(
                Diagnostic::at(only.span, "YAML takes an address that ends with a colon for a key")
                    .help(format!("put it in quotes: `\"{start}:\"`")),
            );
            return None;
        }
        self.in_braces(node, entries.is_empty())
    }

    /// A peer in braces: one key, or `file` with `odd`.
    fn in_braces(&mut self, node: &Node, is_empty: bool) -> Option<Peer> {
        let fields = self.fields(node, &keys::PEER)?;
        let more = fields.len() - usize::from(fields.contains_key("file") && fields.contains_key("odd"));
        let of_text: [OfText; 3] = [("user", Peer::User), ("dns", Peer::Dns), ("temporary", Peer::Temporary)];
        for (key, peer) in of_text {
            if let (Some(text), 1) = (fields.get(key), more) {
                return self.text(Some(text), &format!("`{key}`")).here().cloned().map(peer);
            }
        }
        match (fields.get("interface"), fields.get("file"), more) {
            (Some(name), None, 1) if !self.is_no_truth(name) => None,
            (Some(name), None, 1) => self.text(Some(name), "`interface`").here().cloned().map(Peer::Interface),
            (None, Some(path), 1) => {
                let odd = self.text(fields.get("odd").copied(), "`odd`");
                self.text(Some(path), "`file`").here().cloned().map(|path| Peer::File { path, odd })
            }
            (_, _, 0) if !is_empty => None,
            _ => {
                self.problems.push(
                    Diagnostic::at(
                        node.span,
                        "a peer in braces is one interface, one file, one user, one host name or one time",
                    )
                    .help(
                        "write `{ interface: NAME }`, `{ file: PATH }`, `{ user: NAME }`, `{ dns: NAME }` or `{ temporary: TIME }`",
                    ),
                );
                None
            }
        }
    }
}

/// The remedy for a key that a section does not have, and the key of the section that is meant.
fn unknown_key(section: &'static Section, name: &str, value: &Node) -> (String, Option<&'static str>) {
    if let Some(elsewhere) = elsewhere(section, name) {
        return (elsewhere.help, elsewhere.means);
    }
    if value.value == Value::Empty && is_a_value(name) {
        return ("several values stand in brackets: `[first, second]`".to_owned(), None);
    }
    match nearest(name, section.names()) {
        Some(meant) => (format!("did you mean `{meant}`?"), Some(meant)),
        None => (format!("its keys are {}", list(section.names())), None),
    }
}

/// Whether what YAML took for a key, without anything behind it, is the second of several values: a port, an address.
fn is_a_value(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit()) || name.contains(['/', ':'])
}

/// Whether a key is no key of the language, and allowed: it holds an anchor that lines below refer to.
fn is_for_anchors(section: &Section, name: &str) -> bool {
    section.what == keys::POLICY.what && name.starts_with("x-")
}

/// The place of a mapping's first key: problems of missing keys point there.
fn first_key(node: &Node) -> super::Span {
    match &node.value {
        Value::Mapping(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    }
}
