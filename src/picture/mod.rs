//! Who reaches what, as nodes and edges, and the formats that draw them: Mermaid, Graphviz' DOT, and SVG.
//!
//! A node is named after what it stands for, and never by a number: whoever compares two pictures sees what the policy
//! changed, and nothing else.

mod dot;
mod html;
mod listeners;
mod mermaid;
mod page;
mod policy;
mod svg;
#[cfg(test)]
mod tests;

pub use dot::dot;
pub use mermaid::mermaid;
pub use page::{Block, Page, Section};
pub use policy::of_policy;
pub use svg::svg;

/// What is drawn. Texts are as they were written: each format escapes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The frames, none of them empty.
    pub frames: Vec<Frame>,
    /// The edges, in the order of the lines of the policy that they stand for.
    pub edges: Vec<Edge>,
}

/// Nodes of one kind in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The kind.
    pub kind: Kind,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// The kinds of nodes, in the order in which they are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who opens connections.
    From,
    /// What nobody of `block` reaches.
    Block,
    /// What this machine and its containers answer.
    Service,
    /// What this machine and its containers open elsewhere.
    Outgoing,
    /// What others open through this machine.
    Forward,
    /// What listens on this machine.
    Listener,
    /// Where connections lead.
    To,
    /// What holds where no line says otherwise.
    Otherwise,
}

impl Kind {
    /// The word that the names of its nodes begin with.
    const fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Block => "block",
            Self::Service => "service",
            Self::Outgoing => "outgoing",
            Self::Forward => "forward",
            Self::Listener => "listener",
            Self::To => "to",
            Self::Otherwise => "otherwise",
        }
    }

    /// The title of its frame.
    const fn title(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Block => "dropped before anything else",
            Self::Service => "services: this machine and containers",
            Self::Outgoing => "outgoing: this machine and containers",
            Self::Forward => "forward: through this machine",
            Self::Listener => "what listens here",
            Self::To => "to",
            Self::Otherwise => "what no line names",
        }
    }
}

/// What a node is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its kind.
    pub kind: Kind,
    /// What it stands for. No other node of its kind has this name.
    pub name: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is called.
    pub id: Id,
    /// What stands in it.
    pub lines: Vec<String>,
    /// Whether it stands for a line that denies.
    pub denies: bool,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The node that it begins at.
    pub from: Id,
    /// The node that it leads to.
    pub to: Id,
    /// What it means.
    pub way: Way,
}

/// What an edge means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// These connections are let through.
    Allowed,
    /// They are let through, and answered by another machine than the one that was asked.
    Forwarded,
    /// They are dropped.
    Denied,
    /// They are refused with an answer.
    Rejected,
    /// The line is not about these.
    Excepted,
}

impl Way {
    /// The word beside it.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::Allowed => None,
            Self::Forwarded => Some("forwarded"),
            Self::Denied => Some("deny"),
            Self::Rejected => Some("reject"),
            Self::Excepted => Some("except"),
        }
    }

    /// Whether it ends before what it points to.
    const fn is_shut(self) -> bool {
        match self {
            Self::Allowed | Self::Forwarded => false,
            Self::Denied | Self::Rejected | Self::Excepted => true,
        }
    }
}
