//! Peers as one sees them at the public interface: the addresses they may have there, or everyone.

use super::sources::Sources;
use super::{Asked, Refusal};
use crate::net::IfPattern;
use crate::resolve::{Group, Peers, Resolved};
use std::collections::BTreeSet;

/// The interface that the cloud's firewall stands before.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    policy: &'a Resolved,
    public: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn new(policy: &'a Resolved, asked: &Asked<'a>) -> Result<Self, Refusal> {
        match asked.public {
            Some(public) if policy.containers.covers(public) => Err(Refusal::OfContainers(public.to_owned())),
            public => Ok(Self { policy, public }),
        }
    }

    /// The name of the public interface, where the policy makes it matter.
    pub(super) const fn public(&self) -> Option<&'a str> {
        self.public
    }

    /// Whether a packet by the public interface comes in by one of these. It never does by one of containers.
    pub(super) fn is_among(&self, interfaces: &BTreeSet<IfPattern>) -> Result<bool, Refusal> {
        let mut others = interfaces.iter().filter(|one| !self.is_of_containers(one)).peekable();
        if others.peek().is_none() {
            return Ok(false);
        }
        let public = self.public.ok_or(Refusal::WhichInterface)?;
        Ok(others.any(|pattern| pattern.covers(public)))
    }

    /// Whether only containers come in by the interfaces.
    pub(super) fn is_of_containers(&self, pattern: &IfPattern) -> bool {
        self.policy.containers.interfaces.iter().any(|own| own.covers_all_of(pattern))
    }

    /// Everyone whom the peers name, of those who come in by the public interface.
    pub(super) fn sources(&self, peers: &Peers) -> Result<Sources, Refusal> {
        let members = self.policy.members(peers);
        if peers.any || self.is_among(&members.interfaces)? {
            return Ok(Sources::everyone());
        }
        Ok(Sources::from(&members.addresses))
    }

    /// The members of peers.
    pub(super) fn members(&self, peers: &Peers) -> Group {
        self.policy.members(peers)
    }
}
