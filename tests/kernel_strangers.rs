//! Connections to the SSH server that nobody has logged in by hold nothing up, however many they are; a session does that
//! is the operator's own.
#![allow(missing_docs)]

mod support;

use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::Output;
use support::probe::PATIENCE;
use support::program::palisade;
use support::sshd::{Session, Sshd, USER};

/// How many there are of each IP version.
const EACH: usize = 250;
/// How many addresses they have between them, of each IP version.
const ADDRESSES: usize = 5;

const WITHOUT_SSH: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
  admin: { ports: 22/tcp, from: 192.0.2.1 }
";
const WITH_SSH: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
";
/// One that names all of them.
const BLOCKED: &str = "block: [203.0.113.64/28, \"2001:db8::66:0/112\"]\n";

/// Where the strangers come from.
fn addresses() -> Vec<IpAddr> {
    let four = (0..ADDRESSES).map(|number| Ipv4Addr::new(203, 0, 113, 64 + number as u8).into());
    let six = (0..ADDRESSES).map(|number| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x66, 1 + number as u16).into());
    four.chain(six).collect()
}

/// Connections that are served, and by which nobody logs in.
fn strangers(lab: &Lab) -> Vec<TcpStream> {
    let addresses = addresses();
    lab.add_addresses(addresses.iter().copied());
    lab.client.run(|| {
        let connect = |from: &IpAddr| {
            let to = SocketAddr::new(HOST[usize::from(from.is_ipv6())], 22);
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
            socket.bind(&SocketAddr::new(*from, 0).into()).expect("its own address");
            socket.connect_timeout(&to.into(), PATIENCE * 6).expect("sshd listens");
            TcpStream::from(socket)
        };
        let streams: Vec<TcpStream> = addresses.iter().cycle().take(2 * EACH).map(connect).collect();
        for (number, mut stream) in streams.iter().enumerate() {
            stream.set_read_timeout(Some(PATIENCE * 12)).expect("it is a socket");
            let mut said = [0; 4];
            stream.read_exact(&mut said).expect("sshd says who it is");
            assert_eq!(&said, b"SSH-");
            // Every third goes on, so that the process that talks to whoever is not logged in is there.
            if number % 3 == 0 {
                stream.write_all(b"SSH-2.0-stranger\r\n").expect("sshd listens");
                stream.read_exact(&mut [0; 200]).expect("sshd says which keys it can exchange");
            }
        }
        streams
    })
}

/// How many connections to port 22 are established, of each IP version.
fn established(lab: &Lab) -> [usize; 2] {
    lab.host.run(|| {
        ["tcp", "tcp6"].map(|name| {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("Linux has it");
            let rows = text.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
            rows.filter(|fields| fields[1].ends_with(":0016") && fields[3] == "01").count()
        })
    })
}

#[test]
fn five_hundred_strangers_hold_up_nothing_and_the_session_that_a_change_is_made_from_does() {
    let served = Sshd::with(22, "MaxStartups 1000:30:2000\nLoginGraceTime 0\n");
    let lab = &served.lab;
    for policy in [WITHOUT_SSH, WITH_SSH] {
        lab.write_policy("policy.yaml", policy);
        lab.palisade("policy.yaml", &["apply"]).success();
    }
    let _neighbour = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[1], 22), "cat");
    let strangers = strangers(lab);
    assert_eq!(established(lab), [EACH, EACH + 1]);
    let open = lab.host.nft_list();

    // From a session, with sudo's environment.
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let own = "your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.
Denied by: what else comes in is denied (policy.yaml, by default)\n";
    let of_neighbour = format!(
        " WARN the SSH session of root from {} to port 22 by eth1 could not connect again: what else comes in is denied \
         (policy.yaml, by default)\n",
        LAN[1]
    );
    let refused = served.palisade_over_ssh(&lab.client, HOST[0], "env -i", &["apply"]);
    let expected = format!(
        "{of_neighbour}error: this policy would lock you out: nothing was changed, the old rules are in force\n\n{own}\
         To let it in, add to `services` in the policy:\n\n    ssh: {{ ports: 22/tcp, from: 203.0.113.9 }}\n\n\
         To load it all the same: palisade apply --force\n"
    );
    assert_eq!((refused.status, refused.stderr), (Some(1), expected));
    let refused = served.palisade_over_ssh(&lab.client, HOST[0], "", &["rollback"]);
    let expected = format!(
        "{of_neighbour}error: ruleset 1 would lock you out: nothing was changed, the present rules are in force\n\n{own}\n\
         To go back to it all the same: palisade rollback --to 1 --force\n"
    );
    assert_eq!((refused.status, refused.stderr), (Some(1), expected));
    assert_eq!(lab.host.nft_list(), open);

    // From the console: a block list, which cuts them all, and no one else.
    lab.write_policy("policy.yaml", &format!("{WITH_SSH}{BLOCKED}"));
    let blocked = lab.palisade("policy.yaml", &["apply"]);
    assert_eq!(blocked.stderr, "");
    assert!(blocked.success().starts_with("applied: "));
    assert_ne!(established(lab), [0, 1]);

    let back = lab.palisade("policy.yaml", &["rollback", "--to", "1"]);
    assert_eq!(back.stderr, of_neighbour);
    assert!(back.success().starts_with("rolled back to ruleset 1, "));
    lab.write_policy("policy.yaml", WITH_SSH);
    lab.palisade("policy.yaml", &["apply"]).success();

    // As `systemctl reload` has it run: by nobody, with nothing.
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let mut reload = lab.in_its_own_state("env");
    reload.args(["-i", palisade(), "--policy"]).arg(lab.policy("policy.yaml")).arg("apply");
    let reloaded = support::namespace::output(&mut reload);
    assert_eq!(reloaded.stderr, of_neighbour);
    assert!(reloaded.success().starts_with("applied: "));
    drop(strangers);
}

#[test]
fn whoever_is_logged_in_is_warned_of_by_name_and_stops_nothing_by_whatever_way_they_came() {
    let served = Sshd::with(22, "MaxStartups 1000:30:2000\nLoginGraceTime 0\n");
    let lab = &served.lab;
    let blocked: IpAddr = Ipv4Addr::new(203, 0, 113, 70).into();
    let _strangers = strangers(lab);
    lab.add_addresses([blocked]);
    lab.host.nft_load(
        "table inet nat {
            chain prerouting {
                type nat hook prerouting priority dstnat
                tcp dport 2222 redirect to :22
            }
        }",
    );
    let session = |mut ssh: Command, own: Option<IpAddr>| {
        ssh.args(own.into_iter().flat_map(|own| ["-b".to_owned(), own.to_string()]));
        Session::open(ssh, "cat")
    };
    let alice = |inside, to, port| served.ssh_as(USER, inside, to, port);
    let _sessions = [
        session(alice(&lab.client, HOST[0], 22), Some(CLIENT[0])),
        session(alice(&lab.client, HOST[1], 22), Some(CLIENT[1])),
        session(alice(&lab.client, HOST[0], 22), Some(blocked)),
        session(alice(&lab.lan, HOST_ON_LAN[0], 2222), None),
        session(alice(&lab.lan, HOST_ON_LAN[1], 2222), None),
        session(served.ssh(&lab.lan, HOST_ON_LAN[0], 22), None),
    ];
    let default = "what else comes in is denied (policy.yaml, by default)";
    let from = |user: &str, from: IpAddr, (port, by): (u16, &str), why: &str| {
        format!("WARN the SSH session of {user} from {from} to port {port} by {by} could not connect again: {why}")
    };
    let mut expected = [
        from(USER, CLIENT[0], (22, "eth0"), default),
        from(USER, CLIENT[1], (22, "eth0"), default),
        from(USER, blocked, (22, "eth0"), "blocked: from those listed (policy.yaml:6)"),
        from(USER, LAN[0], (2222, "eth1"), default),
        from(USER, LAN[1], (2222, "eth1"), default),
        from("root", LAN[0], (22, "eth1"), default),
    ];
    expected.sort();
    let told = |applied: &Output| {
        let mut lines: Vec<String> = applied.stderr.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    };

    // From a session that is let in, and from the console.
    let policy = format!("{WITHOUT_SSH}  lan: {{ ports: 22/tcp, from: \"{}\" }}\n{BLOCKED}", LAN[1]);
    lab.write_policy("policy.yaml", &policy);
    let by_session = served.palisade_over_ssh(&lab.lan, HOST_ON_LAN[1], "", &["apply", "--dry-run", "--nft"]);
    assert_eq!(told(&by_session), expected);
    assert!(by_session.success().contains("add chain inet palisade filter-input"));
    let by_console = lab.palisade("policy.yaml", &["apply"]);
    assert_eq!(told(&by_console), expected);
    assert!(by_console.success().starts_with("applied: "));
}
