//! Where the faulty palisade is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    // Built already where all tests were.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--example", "faulty", "--message-format=json-render-diagnostics"]);
    let done = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo has built this test");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let messages = String::from_utf8_lossy(&done.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "faulty").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.expect("cargo says where it is")
});

/// The program, built when it is first asked for.
pub fn program() -> PathBuf {
    PROGRAM.clone()
}
