//! The ports that sshd listens on, according to its configuration.

use crate::files::{MAX_POLICY, read_trusted};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The path of sshd's configuration.
pub const SSHD: &str = "/etc/ssh/sshd_config";
/// The folder of further configuration files on Debian and Ubuntu.
pub const SSHD_MORE: &str = "/etc/ssh/sshd_config.d";

/// The ports that sshd listens on: 22, and those in its configuration, as far as it can be read.
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

/// The ports in the lines `Port N` and `ListenAddress HOST:N` of sshd_config(5).
fn ports_of(text: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words =
            line.split(|c: char| c.is_ascii_whitespace() || c == '=' || c == '"').filter(|w| !w.is_empty());
        let (keyword, value) = (words.next()?, words.next()?);
        if keyword.eq_ignore_ascii_case("port") {
            return value.parse().ok();
        }
        // `::1` is an address without a port, `[::1]:2222` has one.
        let (host, port) = value.rsplit_once(':').filter(|_| keyword.eq_ignore_ascii_case("listenaddress"))?;
        let has_port = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        port.parse().ok().filter(|_| has_port)
    };
    text.lines().filter_map(port).filter(|&port| port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_sshd_reads_them() {
        let text = "# Port 1\nport 2222 # for us\n  Port=2022\nPort \"24\"\nListenAddress 203.0.113.1:2200\n\
                    ListenAddress [2001:db8::1]:2201\nListenAddress ::1\nListenAddress 2001:db8::22\nPort 0\nPort 70000\n\
                    Port\nPortion 5\nPort x\nMatch User git\n";
        assert_eq!(ports_of(text), BTreeSet::from([24, 2022, 2200, 2201, 2222]));
    }
}
