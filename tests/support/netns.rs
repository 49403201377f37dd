//! A network namespace of its own for a test.
#![allow(unreachable_pub)]

use nix::sched::{CloneFlags, unshare};
use std::fs::{read_link, read_to_string};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Runs `test` on a thread in a fresh network namespace, which goes away with the thread.
///
/// # Panics
///
/// When the thread can't be shown to have left the namespaces of this process and of the machine: no test loads a rule
/// there.
pub fn in_fresh_netns<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        let before = namespace("/proc/thread-self/ns/net");
        unshare(CloneFlags::CLONE_NEWNET).expect("tests of the kernel tier need root");
        let own = namespace("/proc/thread-self/ns/net");
        assert_ne!(own, before, "still in the namespace that the thread began in");
        assert_ne!(own, namespace("/proc/self/ns/net"), "still in the namespace of this process");
        match read_link("/proc/1/ns/net") {
            Ok(machine) => assert_ne!(own, machine, "still in the namespace of the machine"),
            // In a container process 1 may have a capability more than we do, and then does not let us look. Nothing
            // but a namespace that was just made has a loopback that is down and no other interface.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => assert_untouched(),
            Err(error) => panic!("can't tell which namespace is the machine's: {error}"),
        }
        test()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn namespace(path: &str) -> PathBuf {
    read_link(path).expect("namespaces can be told apart")
}

fn assert_untouched() {
    let devices = read_to_string("/proc/thread-self/net/dev").expect("interfaces can be listed");
    let devices: Vec<_> = devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(devices, ["lo"], "a fresh namespace has a loopback and nothing else");
    // The kernel gives a loopback its addresses when it is first brought up.
    let addresses = read_to_string("/proc/thread-self/net/fib_trie").expect("addresses can be listed");
    assert!(!addresses.contains("127.0.0.1"), "the loopback of a fresh namespace is down");
}
