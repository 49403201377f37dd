//! What comes in: from a policy to the list of who may reach what at the public interface.

use super::allowed::{Allowed, What};
use super::block::Block;
use super::denials::Denials;
use super::place::Place;
use super::remark::{Kind, Remarks};
use super::sources::Sources;
use super::vendor::Vendor;
use super::{Asked, Refusal};
use crate::net::{Ports, Transport, Version, protocol};
use crate::resolve::{Action, Line, PRIVATE, Peers, Resolved, Service};
use std::collections::BTreeSet;

/// The other protocols that stand for all of them where no rule can mean all: GRE, ESP and AH.
const OTHERS: [u8; 3] = [47, 50, 51];

/// The names of what no service says. One that a service can have says nothing else than the service.
const PING: &str = "ping";
const INCOMING: &str = "defaults.incoming";
const ERRORS: &str = "icmp-errors";

/// Reads a policy for one vendor.
pub(super) struct Reader<'a> {
    policy: &'a Resolved,
    vendor: Vendor,
    place: Place<'a>,
    block: Block,
    denials: Denials<'a>,
    remarks: Remarks,
    allowed: Vec<Allowed>,
}

/// Whose entry it is.
struct Whose<'a> {
    service: &'a str,
    comment: Option<&'a str>,
    line: Option<Line>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        policy: &'a Resolved,
        vendor: Vendor,
        asked: &Asked<'a>,
        step: [u8; 2],
    ) -> Result<Self, Refusal> {
        let place = Place::new(policy, asked)?;
        let mut remarks = Remarks::default();
        let denials = Denials::of(policy, &place, &mut remarks)?;
        let block = Block::of(policy, &place, asked, step)?;
        if let Some(also) = block.also() {
            let text = format!(
                "everyone but exactly these are too many networks for {}; shut out with them, where a service does not name \
                 them by address: {also}. With --leave-block-to-host no block is exported",
                vendor.name()
            );
            remarks.add(Kind::Narrowed, "block", policy.block.line, text);
        }
        if asked.leave_block_to_host && !policy.block.is_empty() {
            let text = "the cloud firewall lets them pass, and this machine drops them (--leave-block-to-host)";
            remarks.add(Kind::LeftOut, "block", policy.block.line, text);
        }
        Ok(Self { policy, vendor, place, block, denials, remarks, allowed: Vec::new() })
    }

    /// All that may come in, by service and then by port.
    pub(super) fn read(mut self) -> Result<(Vec<Allowed>, Remarks), Refusal> {
        let defaults = &self.policy.defaults;
        let lines = self.policy.default_lines;
        for (name, service) in &self.policy.services {
            self.service(name, service)?;
        }
        if defaults.incoming == Action::Allow {
            let whose = Whose { service: INCOMING, comment: None, line: lines.incoming };
            let everyone = Sources::everyone().without(&self.block.coarse);
            self.everything(&whose, &everyone, defaults.ping == Action::Allow);
        } else if defaults.ping == Action::Allow {
            let whose = Whose { service: PING, comment: None, line: lines.ping };
            let everyone = Sources::everyone().without(&self.block.coarse);
            self.allow(&whose, What::Ping, &everyone);
        }
        self.errors();
        if defaults.incoming == Action::Reject {
            let text = "what is not allowed is dropped without an answer, not rejected";
            self.remarks.add(Kind::Note, "defaults", lines.incoming, text);
        }
        self.allowed.sort_by(|a, b| (&a.service, a.what).cmp(&(&b.service, b.what)));
        Ok((self.allowed, self.remarks))
    }

    /// The errors that path discovery needs.
    fn errors(&mut self) {
        if self.allowed.iter().any(|one| one.service == INCOMING && one.what == What::Everything) {
            return;
        }
        if self.vendor.tells_icmp_types() {
            let everyone = Sources::everyone().without(&self.block.coarse);
            let whose = Whose { service: ERRORS, comment: None, line: None };
            for (version, kinds) in [(Version::V4, &[3, 11, 12][..]), (Version::V6, &[1, 2, 3, 4])] {
                for kind in kinds {
                    self.allow(&whose, What::Error(version, *kind), &everyone.clone().only(version));
                }
            }
        } else if self.policy.defaults.ping != Action::Allow {
            let text = "the errors of ICMP that path discovery needs can't be told from echo requests: whether they \
                        pass depends on the provider";
            self.remarks.add(Kind::LeftOut, PING, self.policy.default_lines.ping, text);
        }
    }

    fn service(&mut self, name: &str, service: &'a Service) -> Result<(), Refusal> {
        let whose = Whose { service: name, comment: service.comment.as_deref(), line: Some(service.line) };
        if service.action != Action::Allow {
            if service.action == Action::Reject {
                let text = "its connections are dropped without an answer, not rejected";
                self.remarks.add(Kind::Note, name, whose.line, text);
            }
            return Ok(());
        }
        if self.policy.defaults.incoming == Action::Allow && !service.ping && !service.all {
            // Its ports are open to everyone anyway.
            return Ok(());
        }
        if !service.on.is_empty() && !self.place.is_among(&service.on)? {
            if !service.on.iter().all(|one| self.place.is_of_containers(one)) {
                let text = format!("it is not for connections by {}", self.place.public().unwrap_or_default());
                self.remarks.add(Kind::LeftOut, name, whose.line, text);
            }
            return Ok(());
        }
        let sources = self.sources(&whose, service)?;
        let sources = self.at_public_addresses(&whose, service, sources);
        if sources.is_empty() {
            return Ok(());
        }
        if let Some(rate) = service.limit {
            let text = format!("the limit of {rate} is this machine's; the cloud firewall lets all of it pass");
            self.remarks.add(Kind::Note, name, service.limit.and_then(|limit| limit.line), text);
        }
        self.what(&whose, service, &sources);
        Ok(())
    }

    /// Who may reach a service by address, but for those who are blocked.
    fn sources(&mut self, whose: &Whose<'_>, service: &Service) -> Result<Sources, Refusal> {
        let except = self.place.sources(&service.except)?;
        let members = self.place.members(&service.from);
        let mut named = Sources::from(&members.addresses).without(&self.block.exact);
        if self.vendor.passes_private() && !service.from.any {
            let private: Sources = PRIVATE.into_iter().collect();
            if !named.within(&private).is_empty() {
                let text = format!("private addresses: {} does not filter private networks", self.vendor.name());
                self.remarks.add(Kind::LeftOut, whose.service, whose.line, text);
            }
            named = named.without(&private);
        }
        self.unnamed(whose, &service.from);
        if service.from.any {
            named = named.and(&Sources::everyone().without(&self.block.coarse));
        }
        Ok(named.without(&except))
    }

    /// Says whom the cloud can't know.
    fn unnamed(&mut self, whose: &Whose<'_>, from: &Peers) {
        if from.any {
            return;
        }
        let members = self.place.members(from);
        let mut left = |text: String| self.remarks.add(Kind::LeftOut, whose.service, whose.line, text);
        if !members.names.is_empty() {
            let names: Vec<&str> = members.names.iter().map(String::as_str).collect();
            left(format!("from {}: the addresses of host names change", names.join(", ")));
        }
        if !members.temporary.is_empty() {
            left("whom `palisade allow` lets in for a time".to_owned());
        }
        let place = self.place;
        let outside = members.interfaces.iter().filter(|one| !place.is_of_containers(one));
        let outside: Vec<String> = outside.map(ToString::to_string).collect();
        if !outside.is_empty() {
            left(format!("from the interface {}: a cloud firewall knows addresses only", outside.join(", ")));
        }
    }

    /// A service for some of this machine's addresses is left out over a family unless it is for all of them.
    fn at_public_addresses(&mut self, whose: &Whose<'_>, service: &Service, mut sources: Sources) -> Sources {
        if service.to.is_empty() {
            return sources;
        }
        let to = Sources::from(&service.to);
        for version in Version::ALL {
            if to.is_everyone_over(version) || sources.over(version).is_empty() {
                continue;
            }
            if !to.over(version).is_empty() {
                let text =
                    format!("it is for some of this machine's {version} addresses: a cloud firewall is for all");
                self.remarks.add(Kind::LeftOut, whose.service, whose.line, text);
            }
            sources = sources.without(&Sources::everyone().only(version));
        }
        sources
    }

    fn what(&mut self, whose: &Whose<'_>, service: &Service, sources: &Sources) {
        let answers_ping = self.policy.defaults.ping == Action::Allow;
        let all_is_open = self.policy.defaults.incoming == Action::Allow;
        if !answers_ping && (service.ping || service.all && all_is_open) {
            self.allow(whose, What::Ping, sources);
        }
        if all_is_open {
            return;
        }
        if service.all {
            self.everything(whose, sources, true);
            return;
        }
        for ports in &service.ports {
            self.ports(whose, *ports, sources);
        }
        for number in &service.protocols {
            match *number {
                protocol::ICMP => self.icmp(whose, &sources.clone().only(Version::V4)),
                protocol::ICMPV6 => self.icmp(whose, &sources.clone().only(Version::V6)),
                number => self.allow(whose, What::Protocol(number), sources),
            }
        }
    }

    /// All of ICMP; whoever is denied echo requests alone is denied all.
    fn icmp(&mut self, whose: &Whose<'_>, sources: &Sources) {
        if !self.denials.from(&What::Ping).within(sources).is_empty() {
            let text = "icmp: whoever is denied echo requests is denied the other types, too";
            self.remarks.add(Kind::Narrowed, whose.service, whose.line, text);
        }
        self.allow(whose, What::Icmp, sources);
    }

    /// Every port and protocol, or as much of it as can be said beside denials.
    fn everything(&mut self, whose: &Whose<'_>, sources: &Sources, with_ping: bool) {
        if with_ping && self.denials.spare(sources) && self.vendor.supports(&What::Everything) {
            self.allow(whose, What::Everything, sources);
            return;
        }
        let transports = Transport::ALL.map(|transport| Ports { transport, first: 1, last: u16::MAX });
        let can = transports.into_iter().filter(|ports| self.vendor.supports(&What::Ports(*ports)));
        let can: Vec<Ports> = can.collect();
        let others: Vec<u8> =
            OTHERS.into_iter().filter(|number| self.vendor.supports(&What::Protocol(*number))).collect();
        let mut names: Vec<String> = can.iter().map(|ports| ports.transport.name().to_owned()).collect();
        names.extend(with_ping.then(|| "icmp".to_owned()));
        names.extend(others.iter().map(|number| format!("{number}/proto")));
        let text = format!("of every port and protocol there are only {}", names.join(", "));
        self.remarks.add(Kind::Narrowed, whose.service, whose.line, text);
        for ports in can {
            self.ports(whose, ports, sources);
        }
        if with_ping {
            self.icmp(whose, sources);
        }
        for number in others {
            self.allow(whose, What::Protocol(number), sources);
        }
    }

    /// Ports, divided where denials begin and end; neighbours with the same sources are one range.
    fn ports(&mut self, whose: &Whose<'_>, ports: Ports, sources: &Sources) {
        let whole = What::Ports(ports);
        if !self.vendor.supports(&whole) {
            self.allow(whose, whole, sources);
            return;
        }
        let Ports { transport, first, last } = ports;
        let mut begins: BTreeSet<u16> =
            self.denials.cuts(transport).filter(|cut| (first..=last).contains(cut)).collect();
        begins.insert(first);
        let ends = begins.iter().skip(1).map(|next| next - 1).chain([last]);
        let runs: Vec<(u16, u16)> = begins.iter().copied().zip(ends).collect();
        for (first, last) in runs {
            self.allow(whose, What::Ports(Ports { transport, first, last }), sources);
        }
    }

    /// Adds an entry, if anybody is left; says so if the vendor has no word for it.
    fn allow(&mut self, whose: &Whose<'_>, what: What, sources: &Sources) {
        let sources = sources.without(&self.denials.from(&what));
        if sources.is_empty() {
            return;
        }
        if !self.vendor.supports(&what) {
            let text = format!("{what}: {} has no rule for it", self.vendor.name());
            self.remarks.add(Kind::LeftOut, whose.service, whose.line, text);
            return;
        }
        if let (What::Ports(ports), Some(before)) = (what, self.allowed.last_mut())
            && let What::Ports(kept) = before.what
            && before.service == whose.service
            && before.sources == sources
            && kept.transport == ports.transport
            && ports.first <= kept.last.saturating_add(1)
        {
            before.what = What::Ports(Ports { last: kept.last.max(ports.last), ..kept });
            return;
        }
        self.allowed.push(Allowed {
            service: whose.service.to_owned(),
            comment: whose.comment.map(str::to_owned),
            what,
            sources,
        });
    }
}
