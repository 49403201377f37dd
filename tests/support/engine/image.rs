//! The image of all containers: one static program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static IMAGE: LazyLock<PathBuf> = LazyLock::new(build);

/// The image's file system as a tar file, built when it is first asked for.
pub fn path() -> &'static Path {
    &IMAGE
}

fn build() -> PathBuf {
    // A process of tests builds its own, for several may run.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{}", std::process::id()));
    let (root, image) = (folder.join("root"), folder.with_extension("tar"));
    fs::create_dir_all(&root).expect("the folder for tests is writable");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/engine/server.rs");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"]);
    run(rustc.arg(root.join("server")).arg(source));
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&image).arg("."));
    fs::remove_dir_all(&folder).expect("it was just made");
    image
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    assert!(status.success(), "{command:?} failed");
}
