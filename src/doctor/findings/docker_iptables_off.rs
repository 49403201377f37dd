//! Docker is told to load no rules.

use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::printable::command_word;

pub(super) const FINDING: Kind = Kind {
    id: "docker-iptables-off",
    severity: Severity::Warning,
    what: "Docker runs with `\"iptables\": false`",
    why: "networks are not kept apart, docker-proxy hides who asks, and only palisade guards the addresses of \
          containers",
    remedy: "the `sed` that the finding names, or take `--iptables=false` out of dockerd's command line; then `systemctl restart docker`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let docker = facts.host.docker.as_ref().filter(|docker| !docker.iptables)?;
    let from = &docker.iptables_from;
    Some(FINDING.found(
        format!(
            "Docker may not load rules (`iptables: false` in {from}): containers have no way out unless something else \
             masquerades, every published port is answered by docker-proxy, which hides who asks from the container, networks \
             are not kept apart, and only palisade keeps others away from the addresses of containers"
        ),
        format!("{}: palisade guards what is published, whatever Docker loads", switch_on(from)),
    ))
}

/// How `iptables` is switched on, where it was switched off: in a file, or on the command line.
fn switch_on(from: &str) -> String {
    let edit = command_word(from).filter(|path| path.starts_with('/')).map(|path| {
        let with = r#"s/"iptables" *: *false/"iptables": true/"#;
        format!("`sed -i '{with}' {path} && systemctl restart docker`")
    });
    edit.unwrap_or_else(|| {
        format!(
            "take `--iptables=false` out of {from} (`systemctl cat docker` shows it), then `systemctl restart docker`"
        )
    })
}
