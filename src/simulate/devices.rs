//! The hooks of interfaces: ingress, before all others, and egress, after them. A packet passes those of its interface
//! and of one of the interfaces beneath it.

use super::order::{EGRESS, INGRESS, INGRESS_OF_BRIDGE};
use super::packet::{Interface, Packet, Transport};
use super::packet_run::PacketRun;
use super::routes::Beneath;
use super::trace::Outcomes;
use super::truth::Doubt;
use crate::net::Version;
use crate::render;
use crate::ruleset::{Expr, Family, Hook, Policy, Table, TableId, Verdict};
use std::collections::BTreeSet;

/// How deep interfaces can be stacked (`MAX_NEST_DEV` in include/linux/netdevice.h).
const MAX_DEPTH: usize = 8;
/// How many ways through interfaces are followed.
const MOST_WAYS: usize = 16;

impl PacketRun<'_, '_> {
    /// The packet comes in by its interface and passes prerouting. What br_netfilter takes through prerouting at a
    /// bridge's port (`br_nf_pre_routing` in net/bridge/br_netfilter_hooks.c) comes to the bridge's own ingress after it.
    pub(super) fn come_in(&mut self, packet: &Packet) {
        let come_in = |run: &mut Self, prerouted: bool| {
            run.pass_devices(INGRESS, packet, prerouted);
            run.pass(Hook::Prerouting, packet);
            if prerouted {
                run.pass(INGRESS_OF_BRIDGE, packet);
            }
        };
        match self.is_prerouted_at_a_port(packet) {
            Ok(prerouted) => come_in(self, prerouted),
            Err(why) => self.one_of(2, || why, |run, way| come_in(run, way == 1)),
        }
    }

    /// The packet leaves by its interface.
    pub(super) fn leave(&mut self, packet: &Packet) {
        self.pass_devices(EGRESS, packet, false);
    }

    /// Whether the packet passes prerouting before the ingress of its interface, if that has chains.
    fn is_prerouted_at_a_port(&self, packet: &Packet) -> Result<bool, Doubt> {
        let Interface::Named(name) = &packet.incoming else { return Ok(false) };
        if packet.incoming.is_loopback()
            || matches!(packet.transport, Transport::Arp { .. })
            || !self.with_chains(INGRESS).contains(name)
        {
            return Ok(false);
        }
        let Ok(Beneath { bridge: Some(prerouted), .. }) = self.beneath(name) else { return Ok(false) };
        let of_version = prerouted.get(Version::of(packet.source) as usize).copied().flatten();
        of_version.ok_or_else(|| {
            format!("whether br_netfilter takes frames of {name} through prerouting is not known").into()
        })
    }

    /// The packet passes the hook of its interface, unless only those of interfaces beneath it count, and of one beneath
    /// it.
    fn pass_devices(&mut self, hook: Hook, packet: &Packet, only_beneath: bool) {
        let interface = if hook == INGRESS { &packet.incoming } else { &packet.outgoing };
        let with_chains = self.with_chains(hook);
        let of_bridge = self.tables().iter().find(|(id, table)| judges_frames(id, table)).map(|(id, _)| *id);
        if !self.goes_on() || with_chains.is_empty() && of_bridge.is_none() || interface.is_absent() {
            return;
        }
        if let Some(id) = of_bridge.filter(|_| self.passes_a_bridge(interface)) {
            self.outcomes = self.outcomes.or(Outcomes::ANYTHING);
            self.doubt.get_or_insert_with(|| {
                let title = render::table_title(id);
                format!("{title} judges frames between the ports of a bridge, which is not followed").into()
            });
        }
        let ways = match self.ways(interface, &with_chains) {
            Ok(ways) => ways,
            Err(why) => {
                self.outcomes = self.outcomes.or(Outcomes::ANYTHING);
                self.doubt.get_or_insert(why);
                return;
            }
        };
        let doubt = || "which interfaces the packet passes beneath the one that rules see is not known".into();
        self.one_of(ways.len(), doubt, |run, way| {
            let devices = ways.get(way).into_iter().flatten();
            let devices = devices.filter(|device| !only_beneath || !interface.is(device));
            let pass = |device: &String| {
                let packet = packet.clone();
                let packet = match hook {
                    INGRESS => packet.coming_in_by(device.as_str()),
                    _ => packet.leaving_by(device.as_str()),
                };
                run.beneath = !interface.is(device);
                run.pass(hook, &packet);
                run.beneath = false;
            };
            if hook == INGRESS { devices.for_each(pass) } else { devices.rev().for_each(pass) }
        });
    }

    /// The interfaces that have chains.
    fn with_chains(&self, hook: Hook) -> BTreeSet<String> {
        let number = u32::from(hook == EGRESS);
        let bases = self.bases().filter(|(id, base)| match id.family {
            Family::Netdev => base.hook.number() == number,
            Family::Inet => base.hook == hook,
            _ => false,
        });
        bases.flat_map(|(_, base)| base.devices.iter().cloned()).collect()
    }

    /// The ways through interfaces that have chains, each from the lowest interface to the highest.
    fn ways(&self, interface: &Interface, with_chains: &BTreeSet<String>) -> Result<Vec<Vec<String>>, Doubt> {
        let ways: BTreeSet<Vec<String>> = match interface {
            Interface::Named(name) => self.ways_to(name, with_chains, 0)?,
            Interface::Unknown | Interface::Absent => {
                let each = with_chains.iter().map(|name| vec![name.clone()]);
                each.chain([Vec::new()]).collect()
            }
        };
        if ways.len() > MOST_WAYS {
            return Err("the packet may pass too many interfaces that have chains of their own".into());
        }
        Ok(ways.into_iter().collect())
    }

    fn ways_to(
        &self,
        interface: &str,
        with_chains: &BTreeSet<String>,
        depth: usize,
    ) -> Result<BTreeSet<Vec<String>>, Doubt> {
        let itself = || with_chains.get(interface).cloned();
        if depth == MAX_DEPTH || with_chains.iter().all(|name| name == interface) || interface == "lo" {
            return Ok(BTreeSet::from([itself().into_iter().collect()]));
        }
        let Beneath { interfaces, always, .. } = self.beneath(interface)?;
        let mut ways = BTreeSet::new();
        if !always || interfaces.is_empty() {
            ways.insert(Vec::new());
        }
        for lower in &interfaces {
            ways.extend(self.ways_to(lower, with_chains, depth + 1)?);
        }
        Ok(ways.into_iter().map(|way| way.into_iter().chain(itself()).collect()).collect())
    }

    /// Whether the packet may pass a port of a bridge.
    fn passes_a_bridge(&self, interface: &Interface) -> bool {
        let Interface::Named(name) = interface else { return true };
        let mut seen = BTreeSet::new();
        let mut open = vec![name.clone()];
        while let Some(name) = open.pop() {
            match self.beneath(&name) {
                _ if name == "lo" || !seen.insert(name.clone()) => {}
                Ok(beneath) if beneath.bridge.is_none() => open.extend(beneath.interfaces),
                Ok(_) | Err(_) => return true,
            }
        }
        false
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        let routes = self.routes.ok_or_else(|| Doubt::from("the interfaces of this machine are not known"))?;
        routes.beneath(interface)
    }
}

/// Whether a table of the family `bridge` may drop frames or change them.
fn judges_frames(id: &TableId, table: &Table) -> bool {
    let harmless = |expr: &Expr| {
        matches!(expr, Expr::Counter { .. } | Expr::Verdict(Verdict::Accept | Verdict::Continue | Verdict::Return))
    };
    id.family == Family::Bridge
        && table.chains.values().any(|chain| {
            let drops = chain.base.as_ref().is_some_and(|base| base.policy == Policy::Drop);
            drops || chain.rules.iter().any(|rule| !rule.exprs.iter().all(harmless))
        })
}
