//! `palisade import nft` and `iptables` beside the real nft and iptables: what they load is what is recorded, and packets see
//! by the imported policy what they saw by the rules. Needs root, nft and iptables.

#[path = "migrate/tables/dump.rs"]
mod dump;
mod support;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use support::lab::{HOST, HOST_ON_LAN, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, Target};
use support::seen::{PEERS, seen};

/// `NFT_MSG_GETTABLE`, `GETCHAIN`, `GETRULE` and `GETSET`, in the order in which a table is read.
const KINDS: [u16; 4] = [1, 4, 7, 10];
const GETSETELEM: u16 = 13;
const NEWSET: u16 = 9;

/// Messages of a dump, each with the family, the name of its table and, of a set, its own name.
struct Message {
    bytes: Vec<u8>,
    family: u8,
    table: String,
    name: String,
}

/// Dumps one kind of object.
fn listed(kind: u16, family: u8, attributes: &[u8]) -> Vec<Message> {
    const REQUEST_DUMP: u16 = 0x301;
    let len = u32::try_from(20 + attributes.len()).expect("it is short");
    let head =
        [&len.to_ne_bytes()[..], &(10 << 8 | kind).to_ne_bytes(), &REQUEST_DUMP.to_ne_bytes(), &[0; 8]].concat();
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkNetFilter);
    let socket = socket.expect("a socket");
    send(socket.as_raw_fd(), &[&head[..], &[family, 0, 0, 0], attributes].concat(), MsgFlags::empty()).expect("sent");
    let mut all = Vec::new();
    loop {
        let mut buffer = vec![0; 1 << 16];
        let read = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the kernel answers");
        let mut rest = &buffer[..read];
        while rest.len() >= 16 {
            let len = u32::from_ne_bytes(rest[..4].try_into().expect("four bytes")) as usize;
            let kind = u16::from_ne_bytes(rest[4..6].try_into().expect("two bytes"));
            if kind == 3 {
                return all;
            }
            assert_ne!(kind, 2, "the kernel refuses");
            let (one, behind) = rest.split_at(len.next_multiple_of(4).min(rest.len()));
            let names = strings(&one[20..]);
            let name = |at: u16| names.get(&at).cloned().unwrap_or_default();
            all.push(Message { bytes: one.to_vec(), family: one[16], table: name(1), name: name(2) });
            rest = behind;
        }
    }
}

/// The first two attributes as texts.
fn strings(mut bytes: &[u8]) -> BTreeMap<u16, String> {
    let mut found = BTreeMap::new();
    while bytes.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        let text = bytes[4..len].split(|byte| *byte == 0).next().unwrap_or_default();
        found.entry(kind).or_insert_with(|| String::from_utf8_lossy(text).into_owned());
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// All tables of this thread's namespace, each as a number of bytes and its messages. What changes from one time to the next
/// (handles, sequence numbers, counters) is part of it.
fn recorded_here() -> Vec<u8> {
    let mut by_table: BTreeMap<(u8, String), Vec<u8>> = BTreeMap::new();
    for kind in KINDS {
        let mut sets = BTreeSet::new();
        for message in listed(kind, 0, &[]) {
            if message.bytes[4..6] == (10_u16 << 8 | NEWSET).to_ne_bytes() {
                sets.insert((message.family, message.table.clone(), message.name.clone()));
            }
            by_table.entry((message.family, message.table)).or_default().extend(message.bytes);
        }
        for (family, table, set) in sets {
            let attributes = [support::raw::text(1, &table), support::raw::text(2, &set)].concat();
            let messages = listed(GETSETELEM, family, &attributes);
            let of_table = by_table.entry((family, table)).or_default();
            messages.into_iter().for_each(|message| of_table.extend(message.bytes));
        }
    }
    let with_len = |bytes: Vec<u8>| [&u32::try_from(bytes.len()).expect("short").to_le_bytes()[..], &bytes].concat();
    by_table.into_values().flat_map(with_len).collect()
}

/// Loads `NAME.nft`, or `NAME.rules` with iptables-nft-restore; the part behind `# IPv6` with ip6tables-nft-restore.
fn load(inside: &Namespace, name: &str) {
    let folder = dump::folder();
    if let Ok(text) = fs::read_to_string(folder.join(format!("{name}.nft"))) {
        inside.nft_load(&text);
        return;
    }
    let text = fs::read_to_string(folder.join(format!("{name}.rules"))).expect("it is there");
    let (four, six) = text.split_once("# IPv6\n").unwrap_or((&text, ""));
    for (program, text) in [("iptables-nft-restore", four), ("ip6tables-nft-restore", six)] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("it is writable");
        output(inside.command(program).arg(file.path())).success();
    }
}

/// The names of what can be loaded.
fn sources() -> Vec<String> {
    let entries = fs::read_dir(dump::folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let stem = |name: String| name.strip_suffix(".nft").or(name.strip_suffix(".rules")).map(str::to_owned);
    let mut names: Vec<String> = names.filter_map(stem).collect();
    names.sort();
    names
}

#[test]
fn what_is_recorded_is_what_the_kernel_lists_of_the_text_beside_it() {
    for name in sources() {
        let inside = Namespace::new();
        for link in ["eth0", "eth1", "docker0"] {
            inside.ip(&format!("link add {link} type bridge"));
        }
        load(&inside, &name);
        let now = inside.run(recorded_here);
        let path = dump::folder().join(format!("{name}.bin"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it is writable");
        }
        let tables = |bytes: &[u8]| -> Vec<_> {
            dump::tables_of(bytes).into_iter().map(|(id, table)| (id, table.canonical())).collect()
        };

        let before = fs::read(&path).unwrap_or_default();
        assert!(tables(&before) == tables(&now), "{name}: UPDATE_GOLDEN=1 records it anew");
    }
}

const TARGETS: [Target; 6] =
    [Target::Tcp(22), Target::Tcp(80), Target::Tcp(443), Target::Tcp(8080), Target::Udp(53), Target::Ping];

/// What people load by a script, with nft.
const TABLES: [&str; 5] = [
    "table inet filter {
        set admins { type ipv4_addr; flags interval; elements = { 203.0.113.66/31, 10.77.0.0/24 }; }
        chain input {
            type filter hook input priority filter; policy drop;
            ct state vmap { established : accept, related : accept, invalid : drop }
            iif lo accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, echo-request } accept
            meta l4proto { gre, esp } accept
            ip saddr @admins tcp dport 22 accept
            ip6 saddr { 2001:db8::66, fd77::/64 } tcp dport 22 accept
            tcp dport { 80, 443 } accept
            ip saddr 203.0.113.67 udp dport 53 accept
        }
    }",
    "table inet filter {
        chain input {
            type filter hook input priority filter; policy drop;
            ct state established,related accept
            meta l4proto { icmp, ipv6-icmp } accept
            iifname vmap { lo : accept, eth0 : jump outside, eth1 : jump inside }
            reject with icmpx admin-prohibited
        }
        chain outside { tcp dport vmap { 80 : accept, 443 : accept, 22 : goto ssh }
            ip saddr 203.0.113.67 drop
            udp dport 53 accept
        }
        chain ssh { ip6 saddr 2001:db8::/64 accept
            ip saddr != 203.0.113.67 accept
        }
        chain inside { ip saddr 10.77.0.2 accept
            tcp dport 8080 accept
        }
    }",
    "table ip first {
        chain early { type filter hook prerouting priority raw; ip saddr 203.0.113.67 tcp dport 80 drop; }
    }
    table ip6 second {
        chain input { type filter hook input priority 10; policy accept;
            ip6 saddr 2001:db8::67 drop
            tcp dport 8080 reject with tcp reset
        }
    }
    table inet third {
        chain input { type filter hook input priority 0; policy accept;
            tcp dport { 22, 443 } ip saddr 203.0.113.0/24 reject
            iifname eth1 udp dport 53 drop
        }
    }",
    "table inet filter {
        chain input {
            type filter hook input priority filter; policy drop;
            ct state established,related accept
            meta l4proto ipv6-icmp accept
            ip daddr 10.77.0.1 accept
            ip6 daddr 2001:db8::1 tcp dport { 22, 80 } accept
            ip saddr . tcp dport { 203.0.113.66 . 443, 203.0.113.67 . 8080 } accept
        }
    }",
    "table inet filter {
        map ways { type ifname : verdict; elements = { eth0 : jump outside, eth1 : accept }; }
        chain input {
            type filter hook input priority filter; policy drop;
            ct state { established, related } accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
            iifname vmap @ways
        }
        chain outside { ip saddr 203.0.113.64/26 tcp dport 1-1023 accept
            ip6 saddr 2001:db8::66 accept
            tcp dport 8000-9000 accept
        }
    }",
];
/// The same for iptables-nft: what its restore reads for IPv4, and for IPv6.
const IPTABLES: [[&str; 2]; 2] = [
    [
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n\
         -A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n-A INPUT -p tcp -m multiport --dports 80,443 -j web\n\
         -A INPUT -i eth1 -p tcp -m tcp --dport 22 -j ACCEPT\n\
         -A INPUT -m iprange --src-range 203.0.113.60-203.0.113.66 -p tcp -m tcp --dport 8080 -j ACCEPT\n\
         -A web -s 203.0.113.67 -j DROP\n-A web -j ACCEPT\nCOMMIT\n",
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         -A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A INPUT -p ipv6-icmp -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -s 2001:db8::66 -j ACCEPT\n\
         -A INPUT -p udp -m udp --dport 53 -j ACCEPT\nCOMMIT\n",
    ],
    [
        "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -s 203.0.113.67 -p udp -j DROP\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n\
         -A INPUT ! -s 203.0.113.66 -i eth0 -p tcp -m tcp --dport 22:80 -j REJECT --reject-with tcp-reset\n\
         -A INPUT -m pkttype --pkt-type broadcast -j DROP\nCOMMIT\n",
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p ipv6-icmp -j ACCEPT\n\
         -A INPUT ! -i eth0 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\nCOMMIT\n",
    ],
];

/// Loads rules, imports them, takes them away and applies the policy: who got in gets in, and nobody else.
fn compared(command: &str, load: impl Fn(&Lab)) {
    let lab = Lab::new();
    lab.add_addresses(PEERS.iter().map(|peer| peer.parse().expect("an address")));
    let heard = HOST.into_iter().chain(HOST_ON_LAN);
    let at = |port: u16| heard.clone().map(move |address| SocketAddr::new(address, port));
    let tcp: Vec<SocketAddr> = [22, 80, 443, 8080].into_iter().flat_map(at).collect();
    let _echo = lab.host.listen(&tcp, &at(53).collect::<Vec<_>>());
    let without = seen(&lab, &TARGETS);
    assert!(without.values().all(|outcome| *outcome == Outcome::Connected), "without rules everyone gets in");
    load(&lab);
    lab.forget_datagrams();
    let theirs = seen(&lab, &TARGETS);
    assert!(theirs.values().any(|outcome| *outcome != Outcome::Connected), "the rules deny somebody");

    let imported = lab.palisade("policy.yaml", &["import", command]);

    let context = format!("{}\n{}", imported.stdout, imported.stderr);
    assert!([Some(0), Some(2)].contains(&imported.status), "{context}");
    output(lab.host.command("nft").args(["flush", "ruleset"])).success();
    lab.write_policy("policy.yaml", &imported.stdout);
    lab.palisade("policy.yaml", &["apply", "--force", "--yes"]).success();
    lab.forget_datagrams();
    let ours = seen(&lab, &TARGETS);
    let differ: Vec<String> = theirs
        .iter()
        .filter(|(asked, outcome)| (**outcome == Outcome::Connected) != (ours[*asked] == Outcome::Connected))
        .map(|(asked, outcome)| format!("{asked:?}: {outcome:?}, and then {:?}", ours[asked]))
        .collect();
    assert_eq!(differ, Vec::<String>::new(), "{context}");
    assert!(!imported.stderr.contains("access: "), "{context}");
}

#[test]
fn who_gets_in_by_tables_of_nft_gets_in_by_the_imported_policy_and_nobody_else() {
    for tables in TABLES {
        compared("nft", |lab| lab.host.nft_load(tables));
    }
}

#[test]
fn who_gets_in_by_rules_of_iptables_gets_in_by_the_imported_policy_and_nobody_else() {
    for rules in IPTABLES {
        compared("iptables", |lab| {
            for (program, text) in ["iptables-nft-restore", "ip6tables-nft-restore"].into_iter().zip(rules) {
                let file = tempfile::NamedTempFile::new().expect("a file");
                fs::write(file.path(), text).expect("it is writable");
                output(lab.host.command(program).arg(file.path())).success();
            }
        });
    }
}

#[test]
fn where_there_is_nothing_to_import_or_it_is_elsewhere_the_command_says_so_and_prints_nothing() {
    let lab = Lab::new();
    let said = |arguments: &[&str]| {
        let output = lab.palisade("policy.yaml", arguments);
        (output.status, output.stdout, output.stderr)
    };
    let failed = |text: &str| (Some(1), String::new(), format!("error: {text}\n"));
    let nothing = "no table of the kernel filters what comes in: there is nothing to translate, and everyone gets in. \
                   `palisade init` prints a first policy";
    let live = "nft and iptables read the live rules of this machine, and no FILE or --root: run it where the rules are loaded";

    assert_eq!(said(&["import", "nft"]), failed(nothing));
    assert_eq!(said(&["import", "nft", "/etc/nftables.conf"]), failed(live));
    assert_eq!(said(&["import", "iptables", "--root", "/"]), failed(live));
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n");
    lab.palisade("policy.yaml", &["apply", "--force", "--yes"]).success();
    assert_eq!(said(&["import", "nft"]), failed(nothing), "palisade's own table is none of others");
    lab.host.nft_load(TABLES[0]);
    let iptables = "no table of iptables-nft filters what comes in: `palisade import nft` reads other tables";
    assert_eq!(said(&["import", "iptables"]), failed(iptables));
}
