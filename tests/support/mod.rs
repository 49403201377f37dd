//! The lab of the kernel tests: network namespaces that vanish with the test, real listeners and real probes in them.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod attack;
pub mod crowd;
pub mod drift;
pub mod echo;
pub mod engine;
pub mod faulty;
pub mod frame;
pub mod frames;
pub mod lab;
pub mod machine;
pub mod matrix;
pub mod names;
pub mod namespace;
pub mod nspawn;
pub mod planted;
pub mod policies;
pub mod probe;
pub mod proxy;
pub mod raw;
pub mod recording;
pub mod replay;
pub mod replay_places;
pub mod rows;
pub mod sshd;
pub mod stream;
pub mod tap;
pub mod verdict_table;
pub mod verdicts;
pub mod wire;
pub mod writer;

/// So many rounds, and a twentieth of them on an emulated processor, as scripts/kernels says.
pub fn rounds(usual: u32) -> u32 {
    if std::env::var_os("PALISADE_EMULATED").is_some() { usual.div_ceil(20) } else { usual }
}
