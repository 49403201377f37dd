//! Whole installations, each in a folder: `NAME.d/etc/firewalld/...`, and beside it what becomes of it.

use super::loaded;
use palisade::machine::{EngineKind, PublishedPort};
use palisade::migrate::Live;
use palisade::migrate::firewalld::{FILES, FOLDERS, Installation, KINDS, import};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate/firewalld")
}

/// The installation below a root.
pub(crate) fn installation(root: &Path) -> Installation {
    let mut installation = Installation::default();
    let mut paths: Vec<String> = FILES.map(str::to_owned).to_vec();
    for below in FOLDERS.iter().flat_map(|folder| KINDS.iter().map(move |kind| format!("{folder}/{kind}"))) {
        let Ok(entries) = fs::read_dir(root.join(&below)) else { continue };
        for entry in entries {
            let entry = entry.expect("it can be read");
            let path = format!("{below}/{}", entry.file_name().into_string().expect("UTF-8"));
            if entry.path().is_dir() {
                installation.folders.insert(path);
            } else {
                paths.push(path);
            }
        }
    }
    for path in paths {
        if let Ok(text) = fs::read_to_string(root.join(&path)) {
            installation.files.insert(path, text);
        }
    }
    installation
}

/// The names of the folders.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".d").map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn each_installation_becomes_the_policy_and_the_report_beside_it() {
    let mut wrong = Vec::new();
    for name in names() {
        let path = folder().join(format!("{name}.txt"));
        let made = import(&installation(&folder().join(format!("{name}.d")))).expect("firewalld could use it");
        let exit = if made.report.needs_reading() { 2 } else { 0 };
        let report = anstream::adapter::strip_str(made.report.text().as_str()).to_string();
        let problems = loaded(&made.policy).err().unwrap_or_default();
        let now = format!("{}--- exit status {exit}\n{report}{problems}", made.policy);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it can be written");
        }
        if fs::read_to_string(&path).unwrap_or_default() != now || !problems.is_empty() {
            wrong.push(format!("{name}:\n{now}"));
        }
    }

    assert_eq!(names().len(), 27);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Docker's policy lets everyone reach what containers publish, whatever the zones say.
#[test]
fn on_the_machine_itself_each_port_that_was_open_past_the_zones_is_named() {
    let published = |address: &str, port: u16| PublishedPort {
        protocol: 6,
        port,
        address: address.parse().expect("an address"),
        container: "web".to_owned(),
        container_port: 8080,
        engine: EngineKind::Docker,
    };
    let of = |conf: &str| {
        let mut installation = installation(&folder().join("docker.d"));
        let path = "etc/firewalld/firewalld.conf";
        installation.files.entry(path.to_owned()).or_default().push_str(conf);
        let ports = vec![published("0.0.0.0", 9000), published("::", 9000), published("127.0.0.1", 9001)];
        installation.live = Some(Live { published: ports, bridges: Vec::new() });
        import(&installation).expect("firewalld could use it").report.notes
    };

    let notes: Vec<String> = of("").into_iter().map(|note| note.text).collect();
    let expected = "9000/tcp (container web) was open to everyone past firewalld, and is closed now to whom no service names; to \
                    keep it: `palisade add 9000/tcp --from any`";
    assert_eq!(notes, [expected]);
    assert_eq!(of("StrictForwardPorts=yes\n"), []);
}
