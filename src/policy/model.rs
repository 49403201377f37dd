//! The policy as it was typed, each value with its place.

use super::diagnostic::Span;

/// A value and its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// A scalar as the author wrote it, without its quotes.
pub type Text = Spanned<String>;

/// A key's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// The key is absent.
    #[default]
    Absent,
    /// The key is present, but its value is not of the expected kind. A problem reports that already, so later stages
    /// stay silent.
    Unreadable,
    /// The value.
    Here(T),
}

impl<T> Given<T> {
    /// The value, if it could be read.
    #[must_use]
    pub fn here(&self) -> Option<&T> {
        match self {
            Self::Here(value) => Some(value),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// A whole policy file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The file's name without its folder.
    pub file: String,
    /// The paths of the files that are part of it, relative to its folder, in the order of the indexes that spans use.
    pub included: Vec<String>,
    /// `include`: the paths of other files, relative to the folder of the file that names them.
    pub include: Vec<Text>,
    /// The verdicts on connections that no line mentions.
    pub defaults: Defaults,
    /// `groups`, in the order of the file.
    pub groups: Vec<Group>,
    /// `services`, in the order of the file.
    pub services: Vec<Service>,
    /// `outgoing`, in the order of the file.
    pub outgoing: Vec<PolicyRule>,
    /// `forward`, in the order of the file.
    pub forward: Vec<PolicyRule>,
    /// `nat`, in the order of the file.
    pub nat: Vec<Nat>,
    /// The sources that are dropped.
    pub block: Given<List<Peer>>,
    /// What containers may do.
    pub containers: Containers,
    /// How often denied connections are logged.
    pub log_denied: Given<Text>,
    /// `expect`, in the order of the file.
    pub expectations: Vec<Expectation>,
    /// The findings of doctor that are ignored, in the order of the file.
    pub ignored: Vec<Ignored>,
}

/// `defaults`, each a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Connections to this machine.
    pub incoming: Given<Text>,
    /// Connections from this machine.
    pub outgoing: Given<Text>,
    /// Connections through this machine.
    pub forward: Given<Text>,
    /// Echo requests.
    pub ping: Given<Text>,
    /// Whether a packet must come in by the interface that leads back to its source.
    pub reverse_path: Given<Text>,
}

/// `containers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// The bridges of container engines.
    pub interfaces: Given<List<Peer>>,
    /// What containers may open to the outside.
    pub outgoing: Given<Text>,
    /// Whether containers reach every port of this machine.
    pub host: Given<Text>,
}

/// A list, or a single item in place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T> {
    /// The place of the whole list.
    pub span: Span,
    /// Whether the list is empty. An unreadable item counts as an item.
    pub empty: bool,
    /// The items that could be read.
    pub items: Vec<T>,
}

/// A named group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Text,
    /// Its members.
    pub peers: Given<List<Peer>>,
}

/// An item of a group, of `from`, `except`, `to` or `block`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address, a network, a range, a group's name, or `any`.
    Word(Text),
    /// `{ interface: NAME }`.
    Interface(Text),
    /// `{ file: PATH }`, or `{ file: PATH, odd: WORD }`.
    File {
        /// The path.
        path: Text,
        /// What happens to lines that can't be read.
        odd: Given<Text>,
    },
    /// `{ user: NAME }`.
    User(Text),
    /// `{ dns: NAME }`.
    Dns(Text),
    /// `{ temporary: TIME }`.
    Temporary(Text),
}

impl Peer {
    /// Its text, whichever kind it is.
    #[must_use]
    pub const fn text(&self) -> &Text {
        match self {
            Self::Word(text)
            | Self::Interface(text)
            | Self::File { path: text, .. }
            | Self::User(text)
            | Self::Dns(text)
            | Self::Temporary(text) => text,
        }
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Text,
    /// The ports.
    pub ports: Given<List<Text>>,
    /// The sources that may reach them.
    pub from: Given<List<Peer>>,
    /// The sources that may not.
    pub except: Given<List<Peer>>,
    /// This machine's own addresses.
    pub to: Given<List<Peer>>,
    /// Incoming interfaces.
    pub on: Given<List<Peer>>,
    /// New connections per source address.
    pub limit: Given<Text>,
    /// Whether it allows or denies.
    pub action: Given<Text>,
    /// The machine behind this one that answers.
    pub forward_to: Given<List<Text>>,
    /// Whether connections are logged.
    pub log: Given<Text>,
    /// The author's comment.
    pub comment: Given<Text>,
}

/// A rule of `outgoing` or `forward`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its name.
    pub name: Text,
    /// The ports.
    pub ports: Given<List<Text>>,
    /// Who opens the connections.
    pub from: Given<List<Peer>>,
    /// Where they go.
    pub to: Given<List<Peer>>,
    /// For whom the rule does not hold.
    pub except: Given<List<Peer>>,
    /// Incoming interfaces; absent in `outgoing`.
    pub on: Given<List<Peer>>,
    /// Whether it allows or denies.
    pub action: Given<Text>,
    /// Whether connections are logged.
    pub log: Given<Text>,
    /// The author's comment.
    pub comment: Given<Text>,
}

/// A line of `nat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Its name.
    pub name: Text,
    /// Whose packets are translated.
    pub from: Given<List<Peer>>,
    /// The interfaces that they leave by.
    pub to: Given<List<Peer>>,
    /// The address that becomes their source.
    pub source: Given<Text>,
    /// The author's comment.
    pub comment: Given<Text>,
}

/// An item of `expect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The whole item.
    pub span: Span,
    /// Ports that have to be open.
    pub allow: Given<List<Text>>,
    /// Ports that have to be shut.
    pub deny: Given<List<Text>>,
    /// The sources.
    pub from: Given<List<Peer>>,
    /// Incoming interfaces.
    pub on: Given<List<Peer>>,
    /// Where the connections go; absent for those to this machine.
    pub to: Given<List<Peer>>,
}

/// An item of `doctor: { ignore: [...] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The whole item.
    pub span: Span,
    /// The identifier of the finding.
    pub id: Given<Text>,
    /// Why it does not count.
    pub because: Given<Text>,
}

impl Policy {
    /// The items of all lists of peers that may name files.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        let groups = self.groups.iter().filter_map(|group| group.peers.here());
        groups.flat_map(|list| &list.items).chain(self.users_of_groups())
    }

    /// The items of all such lists but those of groups.
    pub fn users_of_groups(&self) -> impl Iterator<Item = &Peer> {
        let services = self.services.iter().flat_map(|service| [&service.from, &service.except]);
        let expectations = self.expectations.iter().flat_map(|expectation| [&expectation.from, &expectation.to]);
        let rules = self.outgoing.iter().chain(&self.forward).flat_map(|rule| [&rule.from, &rule.to, &rule.except]);
        let nat = self.nat.iter().flat_map(|nat| [&nat.from, &nat.to]);
        let lists = services.chain(expectations).chain(rules).chain(nat).chain([&self.block]);
        lists.filter_map(Given::here).flat_map(|list| &list.items)
    }

    /// The paths of all `{ file: PATH }` peers, repetitions included.
    pub fn files(&self) -> impl Iterator<Item = &Text> {
        self.peers().filter_map(|peer| match peer {
            Peer::File { path, .. } => Some(path),
            Peer::Word(_) | Peer::Interface(_) | Peer::User(_) | Peer::Dns(_) | Peer::Temporary(_) => None,
        })
    }

    /// The names and numbers of all `{ user: NAME }` peers, repetitions included.
    pub fn users(&self) -> impl Iterator<Item = &Text> {
        self.peers().filter_map(|peer| match peer {
            Peer::User(name) => Some(name),
            Peer::Word(_) | Peer::Interface(_) | Peer::File { .. } | Peer::Dns(_) | Peer::Temporary(_) => None,
        })
    }

    /// The items of all `ports`, and those of `allow` and `deny` in `expect`.
    pub fn ports(&self) -> impl Iterator<Item = &Text> {
        let services = self.services.iter().map(|service| &service.ports);
        let expectations = self.expectations.iter().flat_map(|expectation| [&expectation.allow, &expectation.deny]);
        let rules = self.outgoing.iter().chain(&self.forward).map(|rule| &rule.ports);
        services.chain(rules).chain(expectations).filter_map(Given::here).flat_map(|list| &list.items)
    }
}
