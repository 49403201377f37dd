//! Readers of an engine's answers, for tests that supply the bytes themselves.

use super::{EngineKind, PublishedPort, dockerd, engines, published};

/// Reads the bytes of an engine's answer as a list of containers, and the same JSON as Docker's configuration file,
/// with `arguments` as dockerd's command line. `None` if the bytes are no valid answer.
#[must_use]
pub fn read_answer(bytes: &[u8], arguments: &[String]) -> Option<Vec<PublishedPort>> {
    let answer = engines::parse(bytes).ok()?;
    let _ = dockerd::options(arguments, &answer, "/etc/docker/daemon.json");
    Some(published::read(EngineKind::Docker, &answer))
}
