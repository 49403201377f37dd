//! Keys that other firewalls have, and what they are called here.

use super::keys::{self, Section};

/// The remedy for a key that has another name, or another place, in this language.
pub(super) fn elsewhere(section: &Section, name: &str) -> Option<&'static str> {
    let at_top = section.what == keys::POLICY.what;
    Some(match name {
        "masquerade" | "snat" if at_top => "did you mean `nat`?",
        "dnat" | "redirect" | "port_forward" => "a port forward is `forward_to: ADDRESS` in a service",
        "out" | "egress" | "output" if at_top => "did you mean `outgoing`?",
        "routes" | "routed" if at_top => "did you mean `forward`?",
        "zones" if at_top => {
            "a zone is a group of interfaces: `groups: { lan: { interface: eth1 } }` stands in `from` and in `to`"
        }
        "allow" if at_top => {
            "ports that may be reached belong to `services`, connections that this machine opens to `outgoing`"
        }
        _ => return None,
    })
}
