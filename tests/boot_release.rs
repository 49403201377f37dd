//! The repository that `scripts/release` makes: apt installs palisade from it and upgrades it, and refuses what nobody signed.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::namespace::{Output, output};
use support::nspawn::{Machine, Suite, package};
use tempfile::TempDir;

const FOLDER: &str = "/srv/palisade";
const KEY: &str = "release@palisade.invalid";
const OTHER_KEY: &str = "other@palisade.invalid";

/// The keys of whoever releases, and what was released.
struct Releaser {
    scratch: TempDir,
}

impl Releaser {
    fn new() -> Self {
        let releaser = Self { scratch: tempfile::tempdir().expect("a folder") };
        let keys = releaser.path("keys");
        fs::create_dir(&keys).expect("it is writable");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("it was made here");
        for name in [KEY, OTHER_KEY] {
            let make = ["--batch", "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"];
            output(releaser.with_keys("gpg").args(make)).success();
        }
        releaser
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn with_keys(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("GNUPGHOME", self.path("keys"));
        command
    }

    /// Releases a package, beside what was released before.
    fn release(&self, key: &str, package: &Path) -> PathBuf {
        let folder = self.path("released");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release");
        let mut command = self.with_keys(&script.display().to_string());
        command.args(["--key", key, "--snapshot", "--package"]).arg(package).arg(&folder);
        assert_eq!(output(&mut command).success(), format!("{}\n", folder.display()));
        folder
    }

    /// The package of a later version.
    fn next(&self) -> PathBuf {
        let (tree, deb) = (self.path("next"), self.path("next.deb"));
        output(Command::new("dpkg-deb").arg("--raw-extract").arg(package()).arg(&tree)).success();
        let control = tree.join("DEBIAN/control");
        let text = fs::read_to_string(&control).expect("it is there");
        let version = concat!("\nVersion: ", env!("CARGO_PKG_VERSION"));
        fs::write(&control, text.replace(version, &format!("{version}+next"))).expect("it is writable");
        output(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb)).success();
        deb
    }

    /// Puts what was released where the machine's apt finds it, and nothing else.
    fn hand_to(&self, machine: &Machine) {
        let archive = self.path("released.tar");
        output(Command::new("tar").arg("-C").arg(self.path("released")).arg("-cf").arg(&archive).arg(".")).success();
        machine.copy(&archive, "/root/released.tar");
        machine.run(&format!(
            "rm -rf {FOLDER} /var/lib/apt/lists/* /etc/apt/sources.list /etc/apt/sources.list.d/*
             mkdir -p {FOLDER} /etc/apt/keyrings && tar -C {FOLDER} -xf /root/released.tar
             [ -e /etc/apt/keyrings/palisade.asc ] || cp {FOLDER}/palisade.asc /etc/apt/keyrings
             sed 's|@URL@|file:{FOLDER}|' {FOLDER}/palisade.sources >/etc/apt/sources.list.d/palisade.sources"
        ));
    }
}

impl Drop for Releaser {
    fn drop(&mut self) {
        let _ = self.with_keys("gpgconf").args(["--kill", "all"]).output();
    }
}

fn update(machine: &Machine) -> Output {
    machine.shell("apt-get -q update 2>&1")
}

fn install(machine: &Machine, what: &str) -> Output {
    machine.shell(&format!("DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends {what} 2>&1"))
}

fn version(machine: &Machine) -> String {
    machine.shell("dpkg-query --show --showformat '${Version}' palisade").stdout
}

#[track_caller]
fn apt_installs_and_upgrades_and_refuses_what_nobody_signed(suite: Suite) {
    let releaser = Releaser::new();
    let folder = releaser.release(KEY, &package());
    let sums = output(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&folder));
    assert_eq!((sums.status, sums.stdout), (Some(0), String::new()));
    output(releaser.with_keys("gpg").args(["--verify", "SHA256SUMS.asc", "SHA256SUMS"]).current_dir(&folder))
        .success();
    let mut machine = Machine::new(suite);
    machine.boot(&[]);
    let own = env!("CARGO_PKG_VERSION");

    releaser.hand_to(&machine);
    let fetched = update(&machine);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    let installed = install(&machine, "install palisade");
    assert_eq!((installed.status, version(&machine).as_str()), (Some(0), own), "{installed:?}");
    machine.run("palisade check");

    releaser.release(KEY, &releaser.next());
    releaser.hand_to(&machine);
    update(&machine);
    let upgraded = install(&machine, "upgrade");
    assert_eq!((upgraded.status, version(&machine)), (Some(0), format!("{own}+next")), "{upgraded:?}");
    // What was released before can be installed again.
    let back = install(&machine, &format!("--allow-downgrades install palisade={own}"));
    assert_eq!((back.status, version(&machine).as_str()), (Some(0), own), "{back:?}");

    // A package that is not the one that was signed.
    let changed = format!("{FOLDER}/pool/main/p/palisade/palisade_{own}+next_*.deb");
    machine.run(&format!("for file in {changed}; do echo >>$file; done"));
    let refused = install(&machine, "upgrade");
    assert_eq!((refused.status, version(&machine).as_str()), (Some(100), own), "{refused:?}");

    // Lists that are not those that were signed, and lists that another has signed.
    let changes = |machine: &Machine| {
        machine.run(&format!("sed -i 's/^Label: palisade/Label: palisadE/' {FOLDER}/dists/stable/*Release"));
    };
    let another = |machine: &Machine| {
        releaser.release(OTHER_KEY, &package());
        releaser.hand_to(machine);
    };
    for change in [&changes as &dyn Fn(&Machine), &another] {
        releaser.hand_to(&machine);
        assert_eq!(update(&machine).status, Some(0), "as it was signed");
        releaser.hand_to(&machine);
        change(&machine);
        let refused = update(&machine);
        assert_eq!(refused.status, Some(100), "{refused:?}");
        let nothing = install(&machine, "upgrade");
        assert_eq!(version(&machine), own, "{nothing:?}");
        assert!(!machine.run("apt-cache policy palisade").contains("+next"), "{refused:?}");
    }
}

#[test]
fn on_debian_12() {
    apt_installs_and_upgrades_and_refuses_what_nobody_signed(Suite::Bookworm);
}

#[test]
fn on_debian_13() {
    apt_installs_and_upgrades_and_refuses_what_nobody_signed(Suite::Trixie);
}

#[test]
fn without_a_key_or_with_lines_that_are_not_released_nothing_is_made() {
    let releaser = Releaser::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release");
    let folder = releaser.path("nothing");
    let said = |arguments: &[&str]| {
        let mut command = releaser.with_keys(&script.display().to_string());
        let done = output(command.args(arguments).arg("--package").arg(package()).arg(&folder));
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(!folder.exists());
        done.stderr
    };

    let keys = "`gpg --list-secret-keys` lists yours, `gpg --quick-gen-key` makes one";
    assert_eq!(said(&[]), format!("release: name the key that signs: --key FINGERPRINT; {keys}\n"));
    assert_eq!(
        said(&["--key", "nobody@palisade.invalid"]),
        "release: gpg has no secret key nobody@palisade.invalid\n"
    );
    let unreleased = said(&["--key", KEY]);
    assert!(unreleased.starts_with("release: CHANGELOG.md has "), "{unreleased}");
    assert!(unreleased.ends_with(", or pass --snapshot\n"), "{unreleased}");
}
