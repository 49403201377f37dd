//! Who may not reach what, whatever services allow: services that deny, and the family that a port forward has no target
//! for. A cloud firewall has no denials: they are taken from what is allowed.

use super::Refusal;
use super::allowed::What;
use super::place::Place;
use super::remark::{Kind, Remarks};
use super::sources::Sources;
use crate::net::{Transport, Version, protocol};
use crate::resolve::{Action, Resolved, Service};

/// One of them.
struct Denial<'a> {
    service: &'a Service,
    who: Sources,
}

/// All of them.
pub(super) struct Denials<'a>(Vec<Denial<'a>>);

impl<'a> Denials<'a> {
    pub(super) fn of(policy: &'a Resolved, place: &Place<'_>, remarks: &mut Remarks) -> Result<Self, Refusal> {
        let mut all = Vec::new();
        for (name, service) in &policy.services {
            if !service.on.is_empty() && !place.is_among(&service.on)? {
                continue;
            }
            let who = match service.action {
                Action::Deny | Action::Reject => {
                    place.sources(&service.from)?.without(&place.sources(&service.except)?)
                }
                Action::Allow => without_target(service),
            };
            if who.is_empty() {
                continue;
            }
            if !service.to.is_empty() && service.action != Action::Allow {
                let text = "it denies at some of this machine's addresses; exported as denied at all of them";
                remarks.add(Kind::Narrowed, name, Some(service.line), text);
            }
            all.push(Denial { service, who });
        }
        Ok(Self(all))
    }

    /// Whether none of these sources is denied anything.
    pub(super) fn spare(&self, sources: &Sources) -> bool {
        self.0.iter().all(|denial| denial.who.within(sources).is_empty())
    }

    /// Who may not reach a port, or a protocol.
    pub(super) fn from(&self, what: &What) -> Sources {
        let mut who = Sources::default();
        for denial in &self.0 {
            let service = denial.service;
            if service.all {
                who = who.and(&denial.who);
                continue;
            }
            match what {
                What::Ports(ports) => {
                    let meets = service.ports.iter().any(|denied| {
                        denied.transport == ports.transport
                            && denied.first <= ports.last
                            && ports.first <= denied.last
                    });
                    if meets || service.protocols.contains(&ports.transport.number()) {
                        who = who.and(&denial.who);
                    }
                }
                What::Ping | What::Icmp => {
                    if service.ping {
                        who = who.and(&denial.who);
                    }
                    for (number, version) in [(protocol::ICMP, Version::V4), (protocol::ICMPV6, Version::V6)] {
                        if service.protocols.contains(&number) {
                            who = who.and(&denial.who.clone().only(version));
                        }
                    }
                }
                What::Error(version, _) => {
                    let number = if *version == Version::V4 { protocol::ICMP } else { protocol::ICMPV6 };
                    if service.protocols.contains(&number) {
                        who = who.and(&denial.who.clone().only(*version));
                    }
                }
                What::Protocol(number) => {
                    if service.protocols.contains(number) {
                        who = who.and(&denial.who);
                    }
                }
                // Who is denied anything at all.
                What::Everything => who = who.and(&denial.who),
            }
        }
        who
    }

    /// The ports at which a range has to be cut: where another denial begins.
    pub(super) fn cuts(&self, transport: Transport) -> impl Iterator<Item = u16> + '_ {
        let ports = self.0.iter().flat_map(|denial| &denial.service.ports);
        let ports = ports.filter(move |ports| ports.transport == transport);
        ports.flat_map(|ports| [Some(ports.first), ports.last.checked_add(1)].into_iter().flatten())
    }
}

/// Over the family without a target a forwarded service is denied to everyone, whatever other services say.
fn without_target(service: &Service) -> Sources {
    let Some(target) = service.forward_to else { return Sources::default() };
    let missing = Version::ALL.into_iter().filter(|version| target.over(*version).is_none());
    missing.fold(Sources::default(), |all, version| all.and(&Sources::everyone().only(version)))
}
