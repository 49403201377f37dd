//! What an engine says, without an engine: for tests that answer in its place.

use super::{EngineKind, PublishedPort, dockerd, engines, published};

/// Reads the bytes of an engine's answer as the list of its containers, and what it answers as its configuration, given
/// on a command line; `None` for what is no answer.
#[must_use]
pub fn read_answer(bytes: &[u8], arguments: &[String]) -> Option<Vec<PublishedPort>> {
    let said = engines::parse(bytes).ok()?;
    let _ = dockerd::options(arguments, &said, "/etc/docker/daemon.json");
    Some(published::read(EngineKind::Docker, &said))
}
