//! The image of all containers: one static program, which also listens on machines that are booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static IMAGE: LazyLock<PathBuf> = LazyLock::new(build);

/// The image's file system as a tar file, built when it is first asked for.
pub fn path() -> &'static Path {
    &IMAGE
}

/// Compiles the program.
pub fn compile(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/engine/server.rs");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"]);
    run(rustc.arg(to).arg(source));
}

fn build() -> PathBuf {
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(tests).expect("the folder for tests is writable");
    let (root, image) = (folder.path().join("root"), folder.path().join("image.tar"));
    fs::create_dir(&root).expect("a folder in a fresh one");
    compile(&root.join("server"));
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&image).arg("."));
    // Another process of tests may read the one that is there: it goes on with that.
    let built = tests.join("echo.tar");
    fs::rename(&image, &built).expect("both are in one folder");
    built
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    assert!(status.success(), "{command:?} failed");
}
