//! The kernel's floor: how long it takes the kernel to make the table of a policy where there is none, given the bytes.
//!
//! `floor POLICY` prepares what `apply` would send, sends it with one system call, waits for the acknowledgement, and prints
//! the seconds from the one to the other. It loads rules into the network namespace that it is run in, and refuses one that
//! is not of its own: `PALISADE_OUTSIDE` has to name another, as `scripts/bench` sees to.

use palisade::compile::compile;
use palisade::delta::delta;
use palisade::desired::load;
use palisade::names::Names;
use palisade::netlink::{Handles, Socket, encode};
use palisade::ruleset::TableId;
use std::error::Error;
use std::fs::read_link;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    // What `cargo bench` says to each bench.
    let Some(path) = std::env::args().skip(1).find(|argument| argument != "--bench") else {
        println!("floor: run by scripts/bench");
        return Ok(());
    };
    let outside = std::env::var_os("PALISADE_OUTSIDE").ok_or("run it with scripts/bench")?;
    if read_link("/proc/self/ns/net")?.as_os_str() == outside {
        return Err("this is not a network namespace of its own".into());
    }
    let id = TableId::palisade();
    let policy = load(Path::new(&path), &Names::default()).map_err(|problems| problems.render(false))?;
    let table = compile(&policy);
    let socket = Socket::open()?;
    let batch = encode(&delta(&id, None, Some(&table)), &Handles::default(), socket.generation()?)?;

    let begun = Instant::now();
    socket.commit(&batch)?;
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}
