//! There is no policy.

use crate::doctor::{Facts, Finding, Kind, PolicyState, Severity};
use crate::printable::command_word;
use std::path::Path;

pub(super) const FINDING: Kind = Kind {
    id: "policy-missing",
    severity: Severity::Error,
    what: "there is no policy",
    why: "the next boot loads the last good ruleset, or a lockdown",
    remedy: "the command that the finding names, which writes one that lets in by SSH; add what else is to be open",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let PolicyState::Missing { help } = &facts.host.policy else { return None };
    let path = &facts.host.path;
    let write = first_policy(facts).or_else(|| help.clone());
    Some(FINDING.found(
        format!(
            "there is no policy: {path} does not exist, and the next boot loads the last good ruleset, or a lockdown"
        ),
        write.unwrap_or_else(|| format!("write {path}, then `palisade check`")),
    ))
}

/// The commands that write a policy which lets everybody in by SSH, at the ports at which it listens here; `None` if
/// the path can't be copied safely.
fn first_policy(facts: &Facts<'_>) -> Option<String> {
    let path = Path::new(&facts.host.path);
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let [folder, path] = [folder, path].map(|path| command_word(path.to_str()?));
    let (folder, path) = (folder?, path?);
    let ports: Vec<String> = facts.host.machine.ssh_ports.iter().map(|port| format!("{port}/tcp")).collect();
    let ports = match ports.as_slice() {
        [] => "22/tcp".to_owned(),
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    Some(format!(
        "`mkdir -p -m 755 {folder} && echo '{{ version: 1, services: {{ ssh: {{ ports: {ports}, from: any }} }} }}' >{path}` \
         writes one that lets in by SSH alone; add what else is to be open, then `palisade --policy {path} apply --confirm 60s`"
    ))
}
