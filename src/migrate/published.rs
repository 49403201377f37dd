//! Ports that containers publish, which many firewalls never see.

use super::report::Report;
use super::service::Service;
use crate::machine::PublishedPort;
use crate::net::Transport;
use std::collections::BTreeSet;

/// Says of each published port that was open past the other firewall, and that no service opens to everyone, that it is
/// closed now.
pub(super) fn closed_now(firewall: &str, services: &[Service], published: &[PublishedPort], report: &mut Report) {
    let mut said = BTreeSet::new();
    for one in published.iter().filter(|one| !one.address.to_canonical().is_loopback()) {
        let Some(transport) = Transport::from_number(one.protocol) else { continue };
        let port = format!("{}/{}", one.port, transport.name());
        let is_kept = services.iter().any(|service| service.ports.contains(&port) && service.from == ["any"]);
        if is_kept || !said.insert((port.clone(), one.container.clone())) {
            continue;
        }
        report.note(
            None,
            format!(
                "{port} (container {}) was open to everyone past {firewall}, and is closed now to whom no service names; to \
                 keep it: `palisade add {port} --from any`",
                one.container
            ),
        );
    }
}
