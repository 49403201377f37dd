//! Connections as the kernel tracks them: listed as conntrack(8) lists them, and deleted one by one. Needs root.

mod support;

use palisade::netlink::conntrack::{Conntrack, Deleted, Entry, Layer4, Tuple, Zones};
use palisade::netlink::{End, NetlinkError};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use support::lab::{CLIENT, HOST, LAN, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, Target, talks};

/// `IPS_SEEN_REPLY` and `IPS_ASSURED`.
const SEEN_REPLY: u32 = 1 << 1;
const ASSURED: u32 = 1 << 2;
const TCP: u8 = 6;
/// Without them conntrack(8) adds no connection of SCTP.
const VERIFICATION_TAGS: &str = "--orig-vtag 1 --reply-vtag 2";

/// A published port, masquerading, marks, and a zone of both directions and of each alone.
const RULES: &str = "table inet lab {
    chain zones-in {
        type filter hook prerouting priority raw
        udp dport 5307 ct zone set 7
        udp dport 5308 ct original zone set 8
        udp dport 5309 ct reply zone set 9
    }
    chain zones-out {
        type filter hook output priority raw
        udp sport 5307 ct zone set 7
        udp sport 5309 ct reply zone set 9
    }
    chain marks { type filter hook prerouting priority mangle; tcp dport 4242 ct mark set 0x2a; }
    chain published {
        type nat hook prerouting priority dstnat
        iifname eth0 tcp dport 8080 dnat ip to 10.77.0.2:80
        iifname eth0 tcp dport 8080 dnat ip6 to [fd77::2]:80
    }
    chain masquerading { type nat hook postrouting priority srcnat; iifname eth1 oifname eth0 masquerade; }
}";

/// Who is connected stays so; nobody else gets in. A server that repeats what its client has not acknowledged makes no
/// connection anew.
const CLOSED: &str = "table inet closed {
    chain input { type filter hook input priority filter; ct state established accept; tcp dport 4242 drop; }
    chain output { type filter hook output priority filter; ct state established accept; tcp sport 4242 drop; }
}";

fn conntrack(inside: &Namespace) -> Conntrack {
    inside.run(|| Conntrack::open().expect("the kernel tracks connections"))
}

fn entries(conntrack: &mut Conntrack) -> Vec<Entry> {
    let mut found = Vec::new();
    assert_eq!(conntrack.entries(|entry| found.push(entry)).expect("they can be listed"), End::Complete);
    found
}

/// Adds a connection in conntrack(8)'s own words.
#[track_caller]
fn insert(inside: &Namespace, words: &str) {
    output(inside.command("conntrack").arg("-I").args(words.split_whitespace())).success();
}

/// Adds many that differ in their destination alone.
#[track_caller]
fn insert_many(inside: &Namespace, destinations: impl IntoIterator<Item = IpAddr>) {
    let mut child = inside
        .command("conntrack")
        .args(["-R", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("conntrack is installed, see scripts/test");
    let mut input = child.stdin.take().expect("it was piped");
    for destination in destinations {
        writeln!(input, "-I -p udp -s 192.0.2.1 -d {destination} --sport 5 --dport 6 -t 600").expect("it reads");
    }
    drop(input);
    assert!(child.wait().expect("it was started").success());
}

fn numbered(network: u8, count: u16) -> impl Iterator<Item = IpAddr> {
    (0..count).map(u16::to_be_bytes).map(move |[high, low]| IpAddr::from([10, network, high, low]))
}

/// What conntrack(8) lists, without what passes: `6 ESTABLISHED src=... mark=0 id=1`.
fn listed(inside: &Namespace) -> BTreeSet<String> {
    let listing = output(inside.command("conntrack").args(["-L", "-o", "extended,id"])).success();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let tuple = words.iter().position(|word| word.starts_with("src=")).expect("each line has a tuple");
        // The state of TCP, but that of no other: it stands before the tuple, behind the timeout.
        let head = words[3..tuple].iter().filter(|word| words[3] == "6" || **word == words[3]);
        let head = head.enumerate().filter(|(place, _)| *place != 1).map(|(_, word)| word);
        let tail = words[tuple..].iter().filter(|word| !word.starts_with("use="));
        head.chain(tail).copied().collect::<Vec<_>>().join(" ")
    };
    listing.lines().map(line).collect()
}

/// An entry in the same words.
fn in_words(entry: &Entry) -> String {
    let mut words = vec![entry.original.protocol.to_string()];
    let states = ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"];
    words.extend(entry.tcp_state.map(|state| states[usize::from(state)].to_owned()));
    let Zones { original, reply } = entry.zones;
    let one_way = original != reply;
    words.extend(tuple_in_words(&entry.original));
    words.extend((one_way && original != 0).then(|| format!("zone-orig={original}")));
    words.extend((entry.status & SEEN_REPLY == 0).then(|| "[UNREPLIED]".to_owned()));
    words.extend(tuple_in_words(&entry.reply));
    words.extend((one_way && reply != 0).then(|| format!("zone-reply={reply}")));
    words.extend((entry.status & ASSURED != 0).then(|| "[ASSURED]".to_owned()));
    words.push(format!("mark={}", entry.mark));
    words.extend((!one_way && original != 0).then(|| format!("zone={original}")));
    words.push(format!("id={}", entry.id.expect("this kernel tells it")));
    words.join(" ")
}

fn tuple_in_words(tuple: &Tuple) -> Vec<String> {
    let addresses = [format!("src={}", tuple.source), format!("dst={}", tuple.destination)];
    let rest = match tuple.layer4 {
        Layer4::Ports { source, destination } if tuple.protocol == 47 => {
            vec![format!("srckey={source:#x}"), format!("dstkey={destination:#x}")]
        }
        Layer4::Ports { source, destination } => vec![format!("sport={source}"), format!("dport={destination}")],
        Layer4::Icmp { kind, code, id } => vec![format!("type={kind}"), format!("code={code}"), format!("id={id}")],
        Layer4::None => vec![],
    };
    addresses.into_iter().chain(rest).collect()
}

fn in_words_all(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().map(in_words).collect()
}

/// Sends one packet of a protocol that conntrack knows no more of than its number.
fn send_raw(inside: &Namespace, protocol: i32, to: IpAddr) {
    inside.run(|| {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(to, 0)),
            Type::from(libc::SOCK_RAW),
            Some(Protocol::from(protocol)),
        );
        let socket = socket.expect("root may open one");
        socket.send_to(&[0; 8], &SocketAddr::new(to, 0).into()).expect("it is routed");
    });
}

/// A connection of each kind through the host. Those of TCP stay open as long as what is given back.
fn connect_all(lab: &Lab) -> (Vec<TcpStream>, Vec<support::echo::Echo>) {
    lab.forward();
    lab.host.nft_load(RULES);
    let on = |addresses: [IpAddr; 2], port: u16| addresses.map(|address| SocketAddr::new(address, port));
    let zones: Vec<SocketAddr> = [5307, 5308, 5309].into_iter().flat_map(|port| on(HOST, port)).collect();
    let echoes = vec![
        lab.host.listen(&on(HOST, 4242), &zones),
        lab.lan.listen(&on(LAN, 80), &[]),
        lab.client.listen(&on(CLIENT, 443), &[]),
    ];
    let mut streams = Vec::new();
    for family in [0, 1] {
        let [client, host, lan] = [CLIENT, HOST, LAN].map(|addresses| addresses[family]);
        for (inside, from, to) in [
            (&lab.client, client, SocketAddr::new(host, 4242)),
            (&lab.client, client, SocketAddr::new(host, 8080)),
            (&lab.lan, lan, SocketAddr::new(client, 443)),
        ] {
            streams.push(inside.connect(from, to, PATIENCE).expect("nothing stops it"));
        }
        for target in [Target::Udp(5307), Target::Udp(5308), Target::Udp(5309), Target::Ping] {
            assert_eq!(lab.client.probe(target, client, host, PATIENCE), Outcome::Connected, "{target} to {host}");
        }
        send_raw(&lab.client, 253, host);
    }
    // The kernel of this machine has no sockets for these.
    let addresses = "-s 192.0.2.1 -d 192.0.2.2 -t 600";
    insert(&lab.host, &format!("-p sctp {addresses} --sport 5 --dport 6 --state ESTABLISHED {VERIFICATION_TAGS}"));
    insert(&lab.host, &format!("-p gre {addresses} --srckey 5 --dstkey 6"));
    (streams, echoes)
}

#[test]
fn every_connection_is_told_as_conntrack_tells_it() {
    let lab = Lab::new();
    let _open = connect_all(&lab);
    let mut conntrack = conntrack(&lab.host);

    let found = entries(&mut conntrack);

    let expected = listed(&lab.host);
    assert_eq!(in_words_all(&found), expected);
    assert_eq!(found.len(), expected.len());
    assert_eq!(conntrack.count().expect("it can be counted"), u32::try_from(found.len()).expect("few"));
    // Published and masqueraded ones, told apart, in both families.
    let translated = |is: fn(&Entry) -> bool| -> BTreeSet<(IpAddr, IpAddr)> {
        found.iter().filter(|entry| is(entry)).map(|entry| (entry.original.source, entry.reply.source)).collect()
    };
    let pairs = |from: [IpAddr; 2], to: [IpAddr; 2]| BTreeSet::from([(from[0], to[0]), (from[1], to[1])]);
    assert_eq!(translated(Entry::is_destination_translated), pairs(CLIENT, LAN));
    assert_eq!(translated(Entry::is_source_translated), pairs(LAN, CLIENT));
    // That the words above had all of it to compare.
    let protocols: BTreeSet<u8> = found.iter().map(|entry| entry.original.protocol).collect();
    assert_eq!(protocols, BTreeSet::from([1, TCP, 17, 47, 58, 132, 253]));
    let zones: BTreeSet<(u16, u16)> = found.iter().map(|entry| (entry.zones.original, entry.zones.reply)).collect();
    assert_eq!(zones, BTreeSet::from([(0, 0), (7, 7), (8, 0), (0, 9)]));
    assert_eq!(found.iter().filter(|entry| entry.mark == 0x2a).count(), 2);
    assert_eq!(found.iter().filter(|entry| entry.tcp_state == Some(3)).count(), 6);
    assert!(found.iter().all(|entry| entry.timeout.is_some_and(|seconds| seconds > 0)));
}

#[test]
fn any_one_connection_is_deleted_alone() {
    let lab = Lab::new();
    let (_streams, _echoes) = connect_all(&lab);
    // A segment that is still on its way would make a connection of what was deleted.
    lab.host.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
    let mut conntrack = conntrack(&lab.host);
    let mut left = entries(&mut conntrack);

    while let Some(entry) = left.pop() {
        let deleted = conntrack.delete(std::slice::from_ref(&entry)).expect("it can be deleted");

        assert_eq!(deleted, Deleted { deleted: 1, gone: 0 }, "{entry:?}");
        assert_eq!(in_words_all(&entries(&mut conntrack)), in_words_all(&left));
        assert_eq!(listed(&lab.host), in_words_all(&left));
    }
}

#[test]
fn what_was_deleted_is_judged_anew_and_the_rest_goes_on() {
    let lab = Lab::new();
    let (mut streams, _echoes) = connect_all(&lab);
    let mut conntrack = conntrack(&lab.host);
    lab.host.nft_load(CLOSED);
    let is = |entry: &Entry| entry.original.ports().is_some_and(|(_, port)| port == 4242);
    let revoked: Vec<Entry> = entries(&mut conntrack).into_iter().filter(is).collect();

    assert_eq!(conntrack.delete(&revoked).expect("they can be deleted"), Deleted { deleted: 2, gone: 0 });

    let talking: Vec<bool> = streams.iter_mut().map(|stream| talks(stream, support::probe::SILENCE)).collect();
    assert_eq!(talking, [false, true, true, false, true, true]);
}

#[test]
fn another_connection_with_the_same_addresses_and_ports_is_left_alone() {
    let host = Namespace::new();
    for port_and_zone in ["6", "6 -w 7", "7 --orig-zone 8"] {
        insert(&host, &format!("-p udp -s 192.0.2.1 -d 192.0.2.2 -t 600 --sport 5 --dport {port_and_zone}"));
    }
    let mut conntrack = conntrack(&host);
    let found = entries(&mut conntrack);
    assert_eq!(found.len(), 3);
    let mut others = Vec::new();
    for entry in &found {
        others.push(Entry { id: entry.id.map(|id| id ^ 1), ..entry.clone() });
        let zones = [Zones { original: 1, reply: 1 }, Zones { original: 1, reply: 0 }];
        others.extend(zones.map(|zones| Entry { zones, ..entry.clone() }));
    }

    assert_eq!(conntrack.delete(&others).expect("no error"), Deleted { deleted: 0, gone: 9 });
    assert_eq!(in_words_all(&entries(&mut conntrack)), in_words_all(&found));

    let twice = [found.clone(), found].concat();
    assert_eq!(conntrack.delete(&twice).expect("no error"), Deleted { deleted: 3, gone: 3 });
    assert_eq!(entries(&mut conntrack), []);
}

#[test]
fn ten_thousand_connections_are_deleted_at_once_and_ten_thousand_more_are_gone_already() {
    let host = Namespace::new();
    insert_many(&host, numbered(1, 10_000).chain(numbered(2, 1)));
    let mut conntrack = conntrack(&host);
    assert_eq!(conntrack.count().expect("it can be counted"), 10_001);
    let stays = IpAddr::from([10, 2, 0, 0]);
    let (kept, deleted): (Vec<Entry>, Vec<Entry>) =
        entries(&mut conntrack).into_iter().partition(|entry| entry.original.destination == stays);
    assert_eq!((kept.len(), deleted.len()), (1, 10_000));

    assert_eq!(conntrack.delete(&deleted).expect("no error"), Deleted { deleted: 10_000, gone: 0 });
    assert_eq!(in_words_all(&entries(&mut conntrack)), in_words_all(&kept));
    assert_eq!(conntrack.delete(&deleted).expect("no error"), Deleted { deleted: 0, gone: 10_000 });
    assert_eq!(conntrack.delete(&[]).expect("no error"), Deleted::default());
}

#[test]
fn a_list_of_connections_ends_while_others_come_and_go() {
    let host = Namespace::new();
    insert_many(&host, numbered(1, 5_000));
    let (mut lister, mut deleter) = (conntrack(&host), conntrack(&host));
    let all = entries(&mut lister);
    let mut passing: Vec<Entry> = all.iter().step_by(2).cloned().collect();
    let staying: BTreeSet<Tuple> = all.iter().skip(1).step_by(2).map(|entry| entry.original).collect();

    let mut seen = BTreeSet::new();
    let listing = lister.entries(|entry| {
        seen.insert(entry.original);
        // From the far end of the list, so that what is deleted was not always seen.
        if let Some(entry) = passing.pop() {
            let _ = deleter.delete(&[entry]).expect("it can be deleted");
        }
    });

    assert_eq!(listing.expect("it ends"), End::Complete);
    assert!(seen.is_superset(&staying), "what stayed all the time was seen");
}

#[test]
fn who_has_no_right_is_told_so() {
    let host = Namespace::new();

    let opened = host.run(|| {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).expect("a right can be given up");
        Conntrack::open()
    });

    assert!(matches!(opened, Err(NetlinkError::NotPermitted)), "{opened:?}");
}
