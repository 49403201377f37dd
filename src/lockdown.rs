//! What is loaded at boot when there is neither a policy nor a ruleset to fall back on: everything that comes in is
//! denied but SSH, so that whoever repairs it can.

use crate::facts::{Kernel, MAX_POLICY, read_trusted};
use crate::ports::{Ports, Transport};
use crate::resolve::{Peers, Rate, Resolved, Service};
use crate::ruleset::{Addresses, LimitUnit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What comments in the kernel name instead of a policy's file.
pub const FILE: &str = "lockdown";
/// Where sshd is told its ports.
const SSHD: &str = "/etc/ssh/sshd_config";
/// Where it is told more, as Debian and Ubuntu have it.
const SSHD_MORE: &str = "/etc/ssh/sshd_config.d";

/// The policy of a lockdown that leaves these TCP ports open.
#[must_use]
pub fn lockdown(ports: &BTreeSet<u16>) -> Resolved {
    let ports = ports.iter().map(|&port| Ports { transport: Transport::Tcp, first: port, last: port });
    let ssh = Service {
        line: 1,
        ports: ports.collect(),
        protocols: BTreeSet::new(),
        from: Peers { line: Some(1), any: true, ..Peers::default() },
        except: Peers::default(),
        to: Addresses::default(),
        on: BTreeSet::new(),
        limit: None,
        log: false,
        comment: None,
    };
    Resolved {
        file: FILE.to_owned(),
        log_denied: Some(Rate { count: 10, unit: LimitUnit::Minute, line: None }),
        services: BTreeMap::from([("ssh".to_owned(), ssh)]),
        // Nothing is tried where there is nothing to fall back on.
        kernel: Kernel::OLDEST,
        ..Resolved::default()
    }
}

/// The ports that sshd listens on: 22, and what its configuration names, as far as it can be read.
#[must_use]
pub fn ssh_ports() -> BTreeSet<u16> {
    let more = std::fs::read_dir(SSHD_MORE).into_iter().flatten().flatten().map(|entry| entry.path());
    let more = more.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
    let files: Vec<PathBuf> = std::iter::once(PathBuf::from(SSHD)).chain(more).collect();
    std::iter::once(22).chain(files.iter().flat_map(|path| ports_of_file(path))).collect()
}

fn ports_of_file(path: &Path) -> BTreeSet<u16> {
    let bytes = read_trusted(path, MAX_POLICY).unwrap_or_default();
    ports_of(&String::from_utf8_lossy(&bytes))
}

/// The ports in the lines `Port N` and `ListenAddress HOST:N` of a text in sshd_config's form.
fn ports_of(text: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words =
            line.split(|c: char| c.is_ascii_whitespace() || c == '=' || c == '"').filter(|w| !w.is_empty());
        let (keyword, value) = (words.next()?, words.next()?);
        if keyword.eq_ignore_ascii_case("port") {
            return value.parse().ok();
        }
        // `::1` is an address without a port, `[::1]:2222` one with.
        let (host, port) = value.rsplit_once(':').filter(|_| keyword.eq_ignore_ascii_case("listenaddress"))?;
        let has_port = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        port.parse().ok().filter(|_| has_port)
    };
    text.lines().filter_map(port).filter(|&port| port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::render;
    use crate::ruleset::TableId;

    #[test]
    fn ports_are_read_as_sshd_reads_them() {
        let text = "# Port 1\nport 2222 # for us\n  Port=2022\nPort \"24\"\nListenAddress 203.0.113.1:2200\n\
                    ListenAddress [2001:db8::1]:2201\nListenAddress ::1\nListenAddress 2001:db8::22\nPort 0\nPort 70000\n\
                    Port\nPortion 5\nPort x\nMatch User git\n";
        assert_eq!(ports_of(text), BTreeSet::from([24, 2022, 2200, 2201, 2222]));
    }

    #[test]
    fn a_lockdown_opens_ssh_and_nothing_else() {
        let table = compile(&lockdown(&BTreeSet::from([22, 2222]))).tables.remove(&TableId::palisade()).unwrap();
        let text = render::table(&TableId::palisade(), &table);
        assert!(text.contains("elements = { 22 : jump service-ssh, 2222 : jump service-ssh }"), "{text}");
        assert!(text.contains("type filter hook input priority filter - 1; policy drop;"), "{text}");
        assert_eq!(text.matches("chain service-").count(), 1, "{text}");
    }
}
