//! Names to values: a [`Policy`](crate::policy::Policy) and the facts about this machine become a [`Resolved`].

mod resolved;

pub use resolved::{
    Action, DefaultLines, Defaults, Group, Interface, Line, Peers, Ports, Rate, Resolved, Service, Transport,
};
