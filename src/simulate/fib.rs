//! The result of `fib`: the type of an address, and the interface of the route to it.
//!
//! The routing is asked if possible. Otherwise (in a proof about all sources, or for a table that has just been
//! compiled), the packet is assumed to have a genuine sender: its source is not this machine's own unless it comes in
//! by the loopback, it routes back by the interface that the packet came in by, and the hook decides the type of its
//! destination. The rules of palisade use `fib` only to drop packets that don't fit, or to accept what a later rule
//! accepts, too. So a packet that is denied under this assumption is denied without it, too, but one that is allowed may
//! be denied if its sender forges the address.

use super::bits::Bits;
use super::machine::{Done, Machine};
use super::packet::Interface;
use super::routes::Routes;
use super::truth::{Doubt, Truth};
use crate::net::IfName;
use crate::ruleset::fib_flags::{DADDR, IIF, OIF, PRESENT, SADDR};
use crate::ruleset::{AddressType, FibResult, Hook, Register};
use std::net::IpAddr;

/// Where a route leads.
enum Leads {
    /// Out by that interface.
    By(String),
    /// Nowhere, or to this machine.
    Nowhere,
}

impl<'a> Machine<'a, '_> {
    pub(super) fn fib(
        &self,
        result: FibResult,
        flags: u32,
        dreg: Register,
        registers: &mut super::bits::Registers,
    ) -> Done<'a> {
        let answer = match (result, self.routes) {
            (FibResult::Type, Some(routes)) => self.type_by(routes, flags),
            (FibResult::Type, None) => self.type_of_the_real(flags),
            (FibResult::Oif | FibResult::OifName, routes) => {
                let leads = match routes {
                    Some(routes) => self.leads_by(routes, flags),
                    None => self.leads_of_the_real(flags),
                };
                leads.and_then(|leads| self.told(result, flags, &leads))
            }
        };
        match answer {
            Ok(bits) => {
                registers.store(dreg, &bits);
                Done::If(Truth::True)
            }
            Err(why) => {
                registers.forget_from(dreg, why.clone());
                Done::If(Truth::Doubtful(why))
            }
        }
    }

    /// Where a route leads, as the value for the register.
    fn told(&self, result: FibResult, flags: u32, leads: &Leads) -> Result<Bits, Doubt> {
        let name = match leads {
            Leads::By(name) => Some(name.as_str()),
            Leads::Nowhere => None,
        };
        match (result, name) {
            _ if flags & PRESENT != 0 => Ok(Bits::known(&[u8::from(name.is_some()), 0, 0, 0])),
            (FibResult::OifName, name) => Ok(Bits::known(IfName::new(name.unwrap_or_default()).bytes())),
            (_, None) => Ok(Bits::known(&[0; 4])),
            (_, Some(name)) => match self.routes {
                Some(routes) => routes.index(name).map(|index| Bits::host_u32(index, u32::MAX)),
                None => Err(unknown()),
            },
        }
    }

    /// The address to look up.
    fn asked_about(&self, flags: u32) -> Result<IpAddr, Doubt> {
        let address = match flags & (SADDR | DADDR) {
            SADDR => self.view.source(),
            DADDR => self.view.destination(),
            _ => None,
        };
        address.ok_or_else(unknown)
    }

    fn type_by(&self, routes: &dyn Routes, flags: u32) -> Result<Bits, Doubt> {
        let address = self.asked_about(flags)?;
        let kind = routes.address_type(address)?;
        // The route does not tell which interface has a link-local address of this machine, nor which interface an
        // address is on.
        if flags & (IIF | OIF) != 0 && kind != AddressType::Unicast
            || is_link_local(address) && kind == AddressType::Local
        {
            return Err(unknown());
        }
        Ok(Bits::host_u32(kind.number(), u32::MAX))
    }

    /// The route as the kernel's `nft_fib4_eval` and `nft_fib6_eval` look it up. Routing rules that match a source or
    /// a mark are not followed.
    fn leads_by(&self, routes: &dyn Routes, flags: u32) -> Result<Leads, Doubt> {
        let address = self.asked_about(flags)?;
        let here = match self.view.incoming() {
            Interface::Named(name) => Some(name),
            Interface::Absent | Interface::Unknown => None,
        };
        if let Some(name) = here.filter(|name| name.as_str() == "lo" && self.view.hook() == Hook::Prerouting) {
            return Ok(Leads::By(name.clone()));
        }
        if self.is_loopback_of_input() {
            return Err(kernels_differ());
        }
        // The kernel looks for a link-local address only on the link (`nft_fib6_flowi_init`), and a sender whose
        // packet came in by the link is on it.
        if let (Some(name), Hook::Prerouting | Hook::Input, SADDR) =
            (here, self.view.hook(), flags & (SADDR | DADDR | OIF))
            && is_link_local(address)
        {
            return Ok(Leads::By(name.clone()));
        }
        if is_link_local(address) || address.is_unspecified() || address.is_multicast() || flags & OIF != 0 {
            return Err(unknown());
        }
        let leads = routes.leads(address)?;
        let elsewhere = leads.as_ref() != here;
        match (leads, here) {
            // A connected socket may answer instead of the routing, with the interface that its peer's packets come
            // in by.
            _ if elsewhere && self.view.hook() == Hook::Input && self.belongs_to_a_connection() => {
                Err(kernels_differ())
            }
            (None, _) => Ok(Leads::Nowhere),
            (Some(interface), _) if flags & IIF == 0 => Ok(Leads::By(interface)),
            (Some(interface), Some(here)) if interface == *here => Ok(Leads::By(interface)),
            (Some(_), Some(_)) => Ok(Leads::Nowhere),
            (Some(_), None) => Err(unknown()),
        }
    }

    /// Here `nft_fib_can_skip` of newer kernels answers with the loopback, as all kernels do at the prerouting hook.
    fn is_loopback_of_input(&self) -> bool {
        self.view.hook() == Hook::Input && matches!(self.view.incoming(), Interface::Named(name) if name == "lo")
    }

    fn belongs_to_a_connection(&self) -> bool {
        self.view.is_tracked() && !self.view.is_first()
    }

    fn type_of_the_real(&self, flags: u32) -> Result<Bits, Doubt> {
        let kind = match (flags & (SADDR | DADDR), self.view.hook(), self.view.incoming()) {
            (_, Hook::Input | Hook::Forward | Hook::Prerouting, Interface::Named(name)) if name == "lo" => {
                AddressType::Local
            }
            (SADDR, Hook::Input | Hook::Forward | Hook::Prerouting, _) => AddressType::Unicast,
            (DADDR, Hook::Input, _) => AddressType::Local,
            (DADDR, Hook::Forward, _) => AddressType::Unicast,
            // A packet that is to be translated was sent to this machine, which publishes the port.
            (DADDR, Hook::Prerouting, Interface::Named(_)) if self.view.is_for_this_machine() => AddressType::Local,
            (DADDR, Hook::Prerouting, Interface::Named(_)) => AddressType::Unicast,
            _ => return Err(unknown()),
        };
        Ok(Bits::host_u32(kind.number(), u32::MAX))
    }

    fn leads_of_the_real(&self, flags: u32) -> Result<Leads, Doubt> {
        if self.is_loopback_of_input() {
            return Err(kernels_differ());
        }
        match (self.view.hook(), self.view.incoming()) {
            (Hook::Forward, incoming) if flags & (SADDR | DADDR | OIF) == DADDR => match self.view.outgoing() {
                // The packet already leaves by that interface.
                Interface::Named(name) if flags & IIF == 0 || *incoming == Interface::Named(name.clone()) => {
                    Ok(Leads::By(name.clone()))
                }
                Interface::Named(_) if *incoming != Interface::Unknown => Ok(Leads::Nowhere),
                _ => Err(unknown()),
            },
            _ if flags & (SADDR | DADDR | OIF) != SADDR => Err(unknown()),
            (Hook::Input | Hook::Forward, Interface::Named(name)) if name == "lo" => Ok(Leads::Nowhere),
            (Hook::Input | Hook::Forward | Hook::Prerouting, Interface::Named(name)) => Ok(Leads::By(name.clone())),
            _ => Err(unknown()),
        }
    }
}

/// Whether the address is IPv6 link-local, and so never routed.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn unknown() -> Doubt {
    "where the routing sends the packet is not known".into()
}

fn kernels_differ() -> Doubt {
    "kernels answer differently where the packet's route leads".into()
}
