//! Facts about this machine: its engines and their published ports, sockets, sessions, units, and rules in files.

mod answers;
mod caller;
mod dockerd;
mod engines;
mod facts;
mod gaps;
mod legacy;
mod listeners;
pub mod networks;
mod nft_files;
mod processes;
mod published;
mod resolvers;
mod sessions;
mod sshd;
mod sysctls;
mod units;

#[doc(hidden)]
pub use answers::read_answer;
pub use caller::{Caller, operator};
pub use dockerd::{DockerOptions, docker_options};
pub use engines::{EngineError, EngineKind, get, running_engines};
pub use facts::Machine;
pub use gaps::{Gap, Gaps};
pub use legacy::{legacy_tables, loaded_legacy_tables};
pub use listeners::{Holder, Listener, listeners};
pub use networks::{Engine, EngineNetwork};
pub use nft_files::{Flush, flushes};
pub use published::{PublishedPort, published_ports};
pub use sessions::{Session, distinct, ssh_sessions};
pub use sshd::{SSHD, SSHD_MORE, ssh_ports};
pub use sysctls::Sysctls;
pub use units::{UnitState, drop_in_runs, systemd_runs, unit_commands, unit_state};
