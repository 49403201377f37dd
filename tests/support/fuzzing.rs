//! What each target of the fuzzer does with its bytes, and what has to be true of the result. `tests/fuzz.rs` gives it the
//! corpus and what it makes of that; `fuzz/` gives it what libFuzzer finds.
#![allow(dead_code, missing_docs, unreachable_pub)]

use palisade::access::unmet;
use palisade::compile::compile;
use palisade::delta::delta;
use palisade::facts::{Facts, ListFile, ProtocolNames, ServiceNames};
use palisade::machine::read_answer;
use palisade::net::AddressRange;
use palisade::netlink::{from_bytes, read_everything, to_bytes};
use palisade::policy::{
    AddressList, Diagnostic, Problems, Source, Sources, decode, parse, parse_bytes, without_byte_order_mark,
};
use palisade::render;
use palisade::resolve::{Resolved, resolve};
use palisade::ruleset::{Digest, Elements, Table, TableId};
use palisade::simulate::{Packet, Transport, simulate_table};
use palisade::state::{Booted, Change, Identity, Stored};
use serde_json::Value;
use sha2::Digest as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The most rules that a policy may come to: those of [shared ports](palisade::resolve), twice where a limit needs a chain
/// beside it, and some for each byte.
const MAX_RULES: usize = 2 * 65_536;
/// The most that is said of all problems, in bytes: a hundred of them, each with two excerpts of a long line.
const MAX_SAID: usize = 101 * 64 * 1024;

/// A policy: read, resolved, compiled, proved, kept, and whatever is wrong with it rendered.
pub fn policy(bytes: &[u8]) {
    let lossy = String::from_utf8_lossy(bytes);
    let lossy = without_byte_order_mark(&lossy);
    let Ok(text) = decode(bytes, "policy.yaml") else {
        let parsed = parse_bytes(bytes, "policy.yaml");
        assert!(parsed.policy.is_none());
        return problems(parsed.problems, sources(lossy, ""));
    };
    let parsed = parse(text, "policy.yaml");
    let mut found = parsed.problems;
    let (mut facts, mut resolved) = (facts(), None);
    match parsed.policy {
        None => assert!(!found.is_empty(), "a policy that can't be read has no problem"),
        Some(policy) => {
            for path in policy.files() {
                let list = Ok(AddressList::of_text(1, LIST));
                let file = ListFile { source: 1, path: PathBuf::from("list.txt"), list };
                facts.files.insert(path.value.clone(), file);
            }
            match resolve(&policy, &facts) {
                Ok(meant) => resolved = Some(meant).filter(|_| found.is_empty()),
                Err(more) => {
                    assert!(!more.is_empty(), "a policy that has no meaning has no problem");
                    found.extend(more);
                }
            }
        }
    }
    if let Some(resolved) = &resolved {
        found.extend(compiled(resolved, text.len()));
    } else {
        assert!(!found.is_empty(), "a policy that is refused has no problem");
    }
    problems(found, sources(text, &AddressList::of_text(1, LIST).wrong));
}

/// What the files say that a policy names.
const LIST: &str = "192.0.2.1\n198.51.100.0/24\r\n2001:db8::/32 # everyone else's\r203.0.113.1-203.0.113.9\n";

fn facts() -> Facts {
    Facts {
        services: Ok(ServiceNames::parse("ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttps 443/tcp\n")),
        protocols: Ok(ProtocolNames::parse("esp 50 ESP\nah 51 AH\n")),
        ..Facts::default()
    }
}

fn sources(text: &str, list: &str) -> Sources {
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: Arc::from(text) };
    Sources(vec![source("policy.yaml", text), source("list.txt", list)])
}

/// A table that is not empty, reads as text that a terminal shows, and comes back from a file; and what it does not prove.
fn compiled(resolved: &Resolved, bytes: usize) -> Vec<Diagnostic> {
    let id = TableId::palisade();
    let table = compile(resolved);
    assert!(table.chains.contains_key("filter-input"), "a policy without a chain for what comes in");
    let rules: usize = table.chains.values().map(|chain| chain.rules.len()).sum();
    assert!(rules <= MAX_RULES + 64 * (bytes + 1), "{rules} rules of {bytes} bytes");
    is_printable(&render::table(&id, &table));
    let kept = to_bytes(&id, &table).expect("what is compiled can be kept");
    assert_eq!(from_bytes(&id, &kept).map(|table| table.canonical()), Some(table.canonical()));
    unmet(&id, &table, &resolved.expectations)
}

fn is_printable(text: &str) {
    let obeyed = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    assert_eq!(text.chars().find(obeyed), None, "a terminal would obey {text:?}");
}

/// Each problem says something, and lies within its file; together they are not too much to read.
fn problems(found: Vec<Diagnostic>, sources: Sources) {
    for problem in &found {
        assert!(!problem.message.is_empty(), "{problem:?} says nothing");
        for span in problem.span.iter().chain(problem.note.as_ref().map(|(span, _)| span)) {
            let text = &sources.0.get(span.source).expect("a problem of a source that there is").text;
            assert!(span.start <= span.end, "{problem:?}");
            let within = text.get(span.start..span.end).is_some();
            assert!(within, "{problem:?} is not within {text:?}");
            assert!(span.line > 0, "{problem:?}");
        }
    }
    let problems = Problems::new(found, sources);
    let said = problems.render(false);
    is_printable(&said);
    assert!(said.len() <= MAX_SAID, "{} bytes are said", said.len());
    let _ = problems.render(true);
    assert_eq!(problems.problems().len() + problems.warnings().len(), problems.diagnostics.len());
}

/// A file of addresses: what is wrong in it is within it, and what it says can be written and read again. The databases of
/// names are read from the same bytes.
pub fn list(bytes: &[u8]) {
    let lossy = String::from_utf8_lossy(bytes);
    let text = without_byte_order_mark(&lossy);
    let read = AddressList::of_text(1, text);
    assert!(read.problems.len() <= 21, "{} problems", read.problems.len());
    let v4 = read.addresses.v4.as_slice().iter().map(|&(first, last)| (first.into(), last.into()));
    let v6 = read.addresses.v6.as_slice().iter().map(|&(first, last)| (first.into(), last.into()));
    assert!(in_order(v4) && in_order(v6.clone()), "{read:?}");
    // An IPv4 address in the form of IPv6 is refused, also as the end of a network.
    let mapped = v6.flat_map(|(first, last)| [first, last]).any(|address| address.to_canonical().is_ipv4());
    if !mapped {
        let written: String = read
            .addresses
            .ranges()
            .map(|range| match range {
                AddressRange::V4(first, last) => format!("{first}-{last}\n"),
                AddressRange::V6(first, last) => format!("{first}-{last}\r"),
            })
            .collect();
        assert_eq!(AddressList::of_text(1, &written).addresses, read.addresses, "{written}");
    }
    problems(read.problems, sources("version: 1\n", &read.wrong));
    let _ = (ServiceNames::parse(text), ProtocolNames::parse(text));
}

fn in_order(pairs: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> bool {
    let mut before = None;
    let mut apart = |first, last| before.replace(last).is_none_or(|before| before < first);
    pairs.into_iter().all(|(first, last)| first <= last && apart(first, last))
}

/// What the kernel sends: read by every reader. A table of it can be compared, shown, asked about a packet; and when it can
/// be kept, it comes back.
pub fn netlink(bytes: &[u8]) {
    for (id, table) in read_everything(bytes) {
        asked(&id, &table);
        comes_back(&id, &table);
    }
}

fn asked(id: &TableId, table: &Table) {
    let canonical = table.canonical();
    assert_eq!(canonical.canonical(), canonical, "the canonical form has another one");
    assert!(delta(id, Some(table), Some(table)).ops.is_empty(), "a table differs from itself");
    let _ = (delta(id, Some(table), None), delta(id, None, Some(table)), render::table(id, table), table.manifest());
    for (source, destination) in [("198.51.100.9", "203.0.113.1"), ("2001:db8::9", "2001:db8::1")] {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let transport = Transport::Ports { protocol: 6, source: None, destination: 22 };
        let packet = Packet::to_machine(address(source), address(destination), transport);
        let _ = simulate_table(id, table, &packet.coming_in_by("eth0"));
    }
}

/// Once it was written and read, what is written again is the same.
fn comes_back(id: &TableId, table: &Table) {
    let Ok(kept) = to_bytes(id, table) else { return };
    let Some(read) = from_bytes(id, &kept) else { return };
    let again = to_bytes(id, &read).expect("what was read from a file can be kept");
    assert_eq!(from_bytes(id, &again).as_ref(), Some(&read));
}

/// Files of the state: as they are, and with the digest put right that keeps accidents out.
pub fn state(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Change>(bytes).map(|change| (change.deadline(), change.loaded(), change.left()));
    let _ = (serde_json::from_slice::<Booted>(bytes), serde_json::from_slice::<Vec<Identity>>(bytes));
    stored(bytes);
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let (head, messages) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(Value::Object(mut about)) = serde_json::from_slice(head) {
        let digest: String = sha2::Sha256::digest(messages).iter().map(|byte| format!("{byte:02x}")).collect();
        about.insert("digest".to_owned(), Value::String(digest));
        let mut file = serde_json::to_vec(&about).expect("it was JSON");
        file.push(b'\n');
        file.extend(messages);
        stored(&file);
    }
    if let [width, ranges, addresses @ ..] = bytes
        && let Some(elements) = Elements::from_packed((*width).into(), *ranges == 1, addresses.to_vec())
    {
        let packed = elements.packed().expect("it was packed");
        assert_eq!((packed.width, packed.bytes), (usize::from(*width), addresses));
        assert_eq!(Digest::of(&elements), Digest::of(&elements.clone()));
        assert_eq!(packed.intervals().count(), elements.len());
    }
}

fn stored(file: &[u8]) {
    let Ok(stored) = Stored::from_bytes(file) else { return };
    if let Some(table) = &stored.table {
        asked(&TableId::palisade(), table);
    }
    let Ok(kept) = stored.to_bytes() else { return };
    let Ok(read) = Stored::from_bytes(&kept) else { return };
    assert_eq!(read.about.identity, stored.about.identity);
    let again = read.to_bytes().expect("what was read from a file can be kept");
    assert_eq!(Stored::from_bytes(&again).map(|stored| stored.table), Ok(read.table));
}

/// An engine's answer over HTTP, and behind its first line the arguments of a daemon.
pub fn engine(bytes: &[u8]) {
    let arguments: Vec<String> =
        String::from_utf8_lossy(bytes).split(['\n', ' ']).take(32).map(str::to_owned).collect();
    let with_head = [b"HTTP/1.0 200 OK\r\n\r\n", bytes].concat();
    for answer in [bytes, with_head.as_slice()] {
        for port in read_answer(answer, &arguments).into_iter().flatten() {
            assert!(port.port != 0 && port.container_port != 0, "{port:?}");
            assert_eq!(port.container.chars().find(|c| c.is_control()), None, "{port:?}");
        }
    }
}
