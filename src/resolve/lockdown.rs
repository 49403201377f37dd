//! The ruleset for a boot with neither a policy nor a ruleset to fall back on. It denies everything that comes in
//! except SSH, so that the machine can be repaired.

use crate::facts::Kernel;
use crate::net::{Ports, Transport};
use crate::resolve::{Line, Peers, Rate, Resolved, Service};
use crate::ruleset::LimitUnit;
use std::collections::{BTreeMap, BTreeSet};

/// The name that comments in the kernel give instead of a policy file's.
pub const FILE: &str = "lockdown";
/// The policy of a lockdown that leaves these TCP ports open.
#[must_use]
pub fn lockdown(ports: &BTreeSet<u16>) -> Resolved {
    let ports = ports.iter().map(|&port| Ports { transport: Transport::Tcp, first: port, last: port });
    let ssh = Service {
        line: Line::of_policy(1),
        ports: ports.collect(),
        from: Peers { line: Some(Line::of_policy(1)), any: true, ..Peers::default() },
        ..Service::default()
    };
    Resolved {
        file: FILE.to_owned(),
        log_denied: Some(Rate { count: 10, unit: LimitUnit::Minute, line: None }),
        services: BTreeMap::from([("ssh".to_owned(), ssh)]),
        // A lockdown has no fallback, so it uses only what the oldest supported kernel can do.
        kernel: Kernel::OLDEST,
        ..Resolved::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::render;
    use crate::ruleset::TableId;

    #[test]
    fn a_lockdown_opens_ssh_and_nothing_else() {
        let table = compile(&lockdown(&BTreeSet::from([22, 2222])));
        let text = render::table(&TableId::palisade(), &table);
        assert!(text.contains("elements = { 22 : jump service-ssh, 2222 : jump service-ssh }"), "{text}");
        assert!(text.contains("type filter hook input priority filter - 1; policy drop;"), "{text}");
        assert_eq!(text.matches("chain service-").count(), 1, "{text}");
    }
}
