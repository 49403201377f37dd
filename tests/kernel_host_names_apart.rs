//! What the process that looks up names can't do, tried from inside.

mod support;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use palisade::enforce::{EnforceError, enforce};
use palisade::netlink::{Reading, Socket};
use palisade::process::privileges::{Confinement, Needs};
use palisade::ruleset::{Table, TableId};
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use support::namespace::{Namespace, output};

/// Where the test that is run again as a process of its own finds its files.
const SCRATCH: &str = "PALISADE_TEST_SCRATCH";

fn in_a_word(result: Result<(), impl Into<io::Error>>) -> String {
    match result.map_err(Into::into) {
        Ok(()) => "done".to_owned(),
        Err(error) => {
            error.raw_os_error().map_or(error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
        }
    }
}

#[test]
#[ignore = "run by the test below as a process of its own"]
fn tries_of_a_process_that_looks_up() {
    let Some(scratch) = std::env::var_os(SCRATCH).map(PathBuf::from) else { return };
    let (shown, hidden) = (scratch.join("shown"), scratch.join("hidden"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("it has one");
    let _resolver = UnixListener::bind(shown.join("resolver")).expect("a socket");
    let id = TableId::palisade();
    let tries = || {
        let table = Table::default();
        let load = |socket: Socket| enforce(&socket, &id, Some(&table), Reading::ByDigest(&table));
        let loaded = Socket::open().map_err(EnforceError::from).and_then(load);
        let loads = loaded.map_or_else(|error| error.to_string(), |_| "done".to_owned());
        let packets = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).map(drop);
        vec![
            ("ask over UDP", in_a_word(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.connect(to)))),
            ("ask over TCP", in_a_word(TcpStream::connect(to).map(drop))),
            ("ask a local resolver", in_a_word(UnixStream::connect(shown.join("resolver")).map(drop))),
            ("read what resolvers read", in_a_word(fs::read(shown.join("file")).map(drop))),
            ("read another file", in_a_word(fs::read(hidden.join("file")).map(drop))),
            ("write what resolvers read", in_a_word(fs::write(shown.join("file"), "changed"))),
            ("write another file", in_a_word(fs::write(hidden.join("file"), "changed"))),
            ("load a table", loads),
            ("open a packet socket", in_a_word(packets)),
            ("execute a program", in_a_word(Command::new("/bin/true").status().map(drop))),
        ]
    };
    let before = tries();
    Confinement::begin(Needs { reads: vec![&shown], looks_up: true, ..Needs::default() }).keep_look_ups();
    for ((what, before), (_, after)) in before.into_iter().zip(tries()) {
        eprintln!("{what}: {before}, {after}");
    }
}

/// What it tries: before it is confined, and after.
const TRIED: &str = "\
    ask over UDP: done, done\n\
    ask over TCP: done, done\n\
    ask a local resolver: done, done\n\
    read what resolvers read: done, done\n\
    read another file: done, EACCES\n\
    write what resolvers read: done, EACCES\n\
    write another file: done, EACCES\n\
    load a table: done, reading or changing firewall rules needs root, or CAP_NET_ADMIN in this network namespace\n\
    open a packet socket: done, EPERM\n\
    execute a program: done, EPERM\n";

#[test]
fn a_process_that_looks_up_asks_and_reads_what_resolvers_read_and_does_nothing_else() {
    let scratch = tempfile::tempdir().expect("a folder for a test");
    for name in ["shown", "hidden"] {
        fs::create_dir(scratch.path().join(name)).expect("a folder");
        fs::write(scratch.path().join(name).join("file"), "root's").expect("a file");
    }
    let namespace = Namespace::new();
    let mut command = namespace.command("env");
    command.arg(std::env::current_exe().expect("this test is a program"));
    command.args(["--exact", "tries_of_a_process_that_looks_up", "--ignored", "--nocapture", "--quiet"]);
    assert_eq!(output(command.env(SCRATCH, scratch.path())).stderr, TRIED);
}
