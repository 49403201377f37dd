//! `palisade import nft` and `iptables` beside the real nft and iptables: what they load is what is recorded, and packets see
//! by the imported policy what they saw by the rules. Needs root, nft and iptables.

#[path = "migrate/tables/recorded.rs"]
mod recorded;
mod support;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use support::namespace::{Namespace, output};

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
fn dump(kind: u16, family: u8, attributes: &[u8]) -> Vec<Message> {
    const REQUEST_DUMP: u16 = 0x301;
    let len = u32::try_from(20 + attributes.len()).expect("it is short");
    let head = [&len.to_ne_bytes()[..], &(10 << 8 | kind).to_ne_bytes(), &REQUEST_DUMP.to_ne_bytes(), &[0; 8]].concat();
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
        for message in dump(kind, 0, &[]) {
            if message.bytes[4..6] == (10_u16 << 8 | NEWSET).to_ne_bytes() {
                sets.insert((message.family, message.table.clone(), message.name.clone()));
            }
            by_table.entry((message.family, message.table)).or_default().extend(message.bytes);
        }
        for (family, table, set) in sets {
            let attributes = [support::raw::text(1, &table), support::raw::text(2, &set)].concat();
            let messages = dump(GETSETELEM, family, &attributes);
            let of_table = by_table.entry((family, table)).or_default();
            messages.into_iter().for_each(|message| of_table.extend(message.bytes));
        }
    }
    let with_len = |bytes: Vec<u8>| [&u32::try_from(bytes.len()).expect("short").to_le_bytes()[..], &bytes].concat();
    by_table.into_values().flat_map(with_len).collect()
}

/// Loads `NAME.nft`, or `NAME.rules` with iptables-nft-restore; the part behind `# IPv6` with ip6tables-nft-restore.
fn load(inside: &Namespace, name: &str) {
    let folder = recorded::folder();
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
    let entries = fs::read_dir(recorded::folder()).expect("it is there");
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
        let path = recorded::folder().join(format!("{name}.bin"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it is writable");
        }
        let tables = |bytes: &[u8]| -> Vec<_> {
            let mut rest = bytes;
            let mut tables = Vec::new();
            while let Some((len, behind)) = rest.split_first_chunk::<4>() {
                let (one, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
                tables.extend(palisade::netlink::read_everything(one));
                rest = behind;
            }
            tables.into_iter().map(|(id, table)| (id, table.canonical())).collect()
        };

        let before = fs::read(&path).unwrap_or_default();
        assert!(tables(&before) == tables(&now), "{name}: UPDATE_GOLDEN=1 records it anew");
        assert_eq!(recorded::Recorded::read(&name).tables.len(), tables(&now).len());
    }
}
