//! The name servers that this machine asks, by resolv.conf(5).

use super::{Gap, Gaps};
use crate::files::{MAX_CONFIGURATION, read_text_bounded};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

/// The file that libc reads. It may name a server of this machine's own that asks others.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved lists the servers that it asks itself.
const OF_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The name servers that this machine asks over the network.
pub(super) fn resolvers(gaps: &mut Gaps) -> BTreeSet<IpAddr> {
    [RESOLV_CONF, OF_RESOLVED].into_iter().flat_map(|path| gaps.or_nothing(named_in(path))).collect()
}

fn named_in(path: &str) -> Result<BTreeSet<IpAddr>, Gap> {
    match read_text_bounded(Path::new(path), MAX_CONFIGURATION) {
        Ok(text) => Ok(servers(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(Gap {
            what: "the name servers that this machine asks".to_owned(),
            why: format!("{path} can't be read: {error}"),
            help: format!("`ls -l {path}`"),
        }),
    }
}

/// The addresses in the lines `nameserver ADDRESS`, except those of the loopback. A link-local address may end with
/// its interface.
fn servers(text: &str) -> BTreeSet<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(address.to_canonical()).filter(|address| !address.is_loopback() && !address.is_unspecified())
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_of_another_machine_is_read_in_every_form() {
        let text = "# nameserver 192.0.2.1\nnameserver 192.0.2.2 # ours\n  nameserver\t2001:db8::2\nnameserver fe80::1%eth0\n\
                    nameserver 127.0.0.53\nnameserver ::1\nnameserver\nnameserver x\nsearch nameserver 192.0.2.3\n";

        let expected = ["192.0.2.2", "2001:db8::2", "fe80::1"].map(|address| address.parse().expect("an address"));
        assert_eq!(servers(text), BTreeSet::from(expected));
    }
}
