//! Which kinds of peers may stand where.

use crate::facts::Facts;
use crate::net::IfPattern;
use crate::policy::{Fault, Text, host_name, nearest, quote};
use std::collections::BTreeSet;

/// A list of peers in `outgoing`, `forward` or `nat`, or in an expectation with `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    OutgoingFrom,
    OutgoingExcept,
    OutgoingTo,
    /// `to` of a rule that denies.
    OutgoingDeniedTo,
    ForwardFrom,
    ForwardExcept,
    ForwardTo,
    NatFrom,
    NatTo,
    ExpectedFrom,
    ExpectedTo,
}

/// The kinds of members that a peer stands for.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    pub(super) addresses: bool,
    /// Whether host names are among what has the addresses.
    pub(super) names: bool,
    pub(super) interfaces: BTreeSet<IfPattern>,
    pub(super) users: bool,
    pub(super) containers: bool,
    pub(super) host: bool,
    /// Whoever is added for a time.
    pub(super) temporary: bool,
}

/// The list that a peer is in. It decides what may stand there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Group,
    From,
    /// `from` of an expectation without `to`.
    ExpectedHere,
    Except,
    Block,
    /// Of a section other than `services`.
    At(Place),
}

/// What a place depends on besides the peer.
pub(super) struct Setting<'a> {
    /// The bridges of containers.
    pub(super) bridges: &'a BTreeSet<IfPattern>,
    /// Whether the policy has a group called `host`.
    pub(super) host_is_a_group: bool,
}

impl Role {
    /// Whether the word `host` means this machine here, even if the policy has a group of that name.
    pub(super) const fn has_host(self) -> bool {
        matches!(self, Self::At(Place::OutgoingFrom | Place::OutgoingExcept))
    }

    /// Whether a group may stand here that takes addresses for a time.
    const fn takes_temporary(self) -> bool {
        matches!(self, Self::Group | Self::From | Self::Block | Self::At(Place::ForwardFrom | Place::ExpectedFrom))
    }
}

/// The fault of `{ temporary: TIME }` outside of a group.
pub(super) fn not_for_a_time() -> Fault {
    Fault::new("addresses are added to a group for a time, and this is none").help(
        "write it in a group, `groups: { travellers: [{ temporary: 12h }] }`, and name the group here: `palisade allow` \
         asks for it",
    )
}

impl Place {
    /// Whether `any` may stand here.
    pub(super) fn any(self) -> Result<bool, Fault> {
        let message = match self {
            Self::OutgoingTo
            | Self::OutgoingDeniedTo
            | Self::ForwardFrom
            | Self::ForwardTo
            | Self::NatFrom
            | Self::ExpectedFrom
            | Self::ExpectedTo => return Ok(true),
            Self::OutgoingFrom => "`from: any` does not say whether this machine, its containers, or both are meant",
            Self::OutgoingExcept | Self::ForwardExcept => "`except: any` would except everyone",
            Self::NatTo => "`to` of `nat` can't be `any`",
        };
        Err(Fault::new(message).help(match self {
            Self::OutgoingFrom => "write `[host, containers]`, or whom you mean",
            Self::NatTo => "`to` is the interface that it leaves by: `to: { interface: eth0 }`",
            _ => "write for whom the rule does not hold, or remove the rule",
        }))
    }
}

/// The number of a user: a number as it is, or a name of /etc/passwd.
pub(super) fn user(text: &Text, facts: &Facts) -> Result<u32, Fault> {
    let name = text.value.as_str();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        // The highest number stands for no user (chown(2)).
        return name.parse().ok().filter(|number| *number < u32::MAX).ok_or_else(|| {
            Fault::new(format!("{} is not a user's number", quote(name))).help("they are 0 to 4294967294")
        });
    }
    facts.users.get(name).copied().ok_or_else(|| {
        let fault = Fault::new(format!("/etc/passwd has no user {}", quote(name)));
        match nearest(name, facts.users.keys().map(String::as_str)) {
            Some(meant) => fault.help(format!("did you mean {}?", quote(meant))),
            None => fault.help("write the number of a user without an entry, such as `{ user: 1002 }`"),
        }
    })
}

/// The fault of a group that takes addresses for a time where it may not stand.
pub(super) fn for_a_time(group: &str) -> Fault {
    Fault::new(format!("the group {} takes addresses for a time, and can't stand here", quote(group))).help(
        "name it in `block`, or in `from` of a service or of a rule of `forward` that allows; for the others, make a group \
         without `temporary`",
    )
}

/// Checks whether a readable peer of these kinds may stand in a list. `text` is the peer as typed.
pub(super) fn check(setting: &Setting<'_>, text: &str, kinds: &Kinds, role: Role) -> Result<(), Fault> {
    if kinds.temporary && !role.takes_temporary() {
        return Err(for_a_time(text));
    }
    match role {
        Role::Group if kinds.host => {
            Err(Fault::new("`host` can't be part of a group").help("write `host` in `from` of a rule of `outgoing`"))
        }
        Role::Group => Ok(()),
        Role::From | Role::ExpectedHere | Role::Except | Role::Block if kinds.users || kinds.host => {
            let who = if kinds.host { "`host` is this machine itself" } else { "users are this machine itself" };
            Err(Fault::new(who).help(match role {
                Role::ExpectedHere => {
                    "write where its connections lead, such as `to: any`; this machine always reaches itself"
                }
                _ => "this machine always reaches itself: leave it out",
            }))
        }
        Role::Except | Role::Block | Role::At(Place::ForwardExcept) if kinds.names => Err(opens_nothing()),
        Role::At(Place::NatFrom) if kinds.names => Err(Fault::new("a host name can't be in `nat`")
            .help("write the addresses: a name stands where it allows, and `nat` allows nothing")),
        Role::From | Role::ExpectedHere | Role::Except | Role::Block => Ok(()),
        Role::At(place) => at(setting, place, text, kinds),
    }
}

/// The fault of a host name without braces. It is a word of trust, so it has to be written as one.
pub(super) fn a_host_name(word: &str, role: Role) -> Fault {
    match host_name(word) {
        Err(fault) => fault,
        Ok(_) if matches!(role, Role::Except | Role::Block) => opens_nothing(),
        Ok(name) => Fault::new(format!("{} is a host name", quote(word))).help(format!("write `{{ dns: {name} }}`")),
    }
}

/// The fault of a host name where its addresses are shut out.
pub(super) fn opens_nothing() -> Fault {
    Fault::new("while a host name can't be looked up, this would let everyone pass")
        .help("write addresses, or turn the rule round: a name stands where it allows")
}

fn at(setting: &Setting<'_>, place: Place, text: &str, kinds: &Kinds) -> Result<(), Fault> {
    let bridges = setting.bridges;
    let is_bridge = |interface: &&IfPattern| bridges.iter().any(|bridge| bridge.covers_all_of(interface));
    let may_be_bridge = |interface: &&IfPattern| bridges.iter().any(|bridge| bridge.meets(interface));
    match place {
        Place::OutgoingFrom | Place::OutgoingExcept => {
            if text == "host" && setting.host_is_a_group {
                return Err(Fault::new("`host` is this machine here, and also the name of a group")
                    .help("give the group another name"));
            }
            if kinds.addresses {
                return Err(Fault::new("a sender of `outgoing` is this machine or its containers").help(
                    "write `host` or `containers`; connections that others open through this machine belong to `forward`",
                ));
            }
            match kinds.interfaces.iter().find(|interface| !is_bridge(interface)) {
                Some(other) => Err(Fault::new(format!("{} is not a bridge of containers", quote(&other.to_string())))
                    .help(
                        "bridges of containers are those of `containers: { interfaces }`; connections that others open through this machine belong to `forward`",
                    )),
                None => Ok(()),
            }
        }
        Place::ForwardFrom | Place::ForwardExcept => {
            this_machine(kinds, "`forward` is about packets that others send through this machine")?;
            let bridge = kinds.interfaces.iter().find(may_be_bridge).map(|bridge| quote(&bridge.to_string()));
            if kinds.containers || bridge.is_some() {
                let message = match bridge {
                    Some(bridge) => {
                        format!("{bridge} is a bridge of containers: connections that they open belong to `outgoing`")
                    }
                    None => "connections of containers belong to `outgoing`, those of others to `forward`".to_owned(),
                };
                return Err(Fault::new(message).help(
                    "write the rule in `outgoing`; if no containers are behind it, name the others in \
                     `containers: { interfaces }`",
                ));
            }
            Ok(())
        }
        Place::OutgoingTo if kinds.containers => Err(Fault::new(
            "this machine always reaches its containers, and they each other as their engine lets them",
        )
        .help("leave it out; `to: containers` stands in a rule with `action: deny`")),
        Place::OutgoingTo | Place::OutgoingDeniedTo | Place::ForwardTo | Place::ExpectedTo => {
            this_machine(kinds, "`to` is a place elsewhere: this machine always reaches itself")
        }
        Place::NatFrom => this_machine(kinds, "packets of this machine already have its address"),
        Place::NatTo => {
            this_machine(kinds, "`to` of `nat` is the interface that it leaves by")?;
            if kinds.addresses || kinds.containers {
                return Err(Fault::new(format!("{} is no interface", quote(text)))
                    .help("`to` is the interface that it leaves by: `to: { interface: eth0 }`"));
            }
            Ok(())
        }
        Place::ExpectedFrom => Ok(()),
    }
}

/// Refuses this machine and its users.
fn this_machine(kinds: &Kinds, why: &str) -> Result<(), Fault> {
    if kinds.host || kinds.users {
        return Err(Fault::new(why)
            .help("leave it out; connections that this machine and its users open belong to `outgoing`"));
    }
    Ok(())
}
