//! What `scripts/test boot` makes before the tests run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12, with systemd 252.
    Bookworm,
    /// Debian 13, with systemd 257.
    Trixie,
}

impl Suite {
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    /// The tree that machines are layers over.
    pub fn folder(self) -> PathBuf {
        made(&format!("boot/{self}"))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        })
    }
}

/// The package.
pub fn package() -> PathBuf {
    let architecture = Command::new("dpkg").arg("--print-architecture").output().expect("this is Debian or Ubuntu");
    let architecture = String::from_utf8_lossy(&architecture.stdout).trim().to_owned();
    made(&format!("debian/palisade_{}_{architecture}.deb", env!("CARGO_PKG_VERSION")))
}

fn made(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    assert!(path.exists(), "there is no {}: `scripts/test boot` makes it", path.display());
    path
}
