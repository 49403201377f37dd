//! Whole installations, each in a folder: `NAME.d/etc/...`, and beside it what becomes of it.

use super::loaded;
use palisade::machine::{EngineKind, PublishedPort};
use palisade::migrate::Live;
use palisade::migrate::ufw::{FILES, Installation, import};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate")
}

/// The installation below a root.
pub(crate) fn installation(root: &Path) -> Installation {
    let mut installation = Installation::default();
    for path in FILES {
        let full = root.join(path);
        let Ok(text) = fs::read_to_string(&full) else { continue };
        let mode = fs::metadata(&full).expect("it was read").permissions().mode();
        if mode & 0o111 != 0 {
            installation.executable.insert(path.to_owned());
        }
        installation.files.insert(path.to_owned(), text);
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
        let made = import(&installation(&folder().join(format!("{name}.d")))).expect("ufw could use it");
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

    assert_eq!(names().len(), 21);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn published(address: &str, port: u16, container: &str, container_port: u16) -> PublishedPort {
    let address = address.parse().expect("an address");
    let (container, engine) = (container.to_owned(), EngineKind::Docker);
    PublishedPort { protocol: 6, port, address, container, container_port, engine }
}

/// What a container publishes on this machine decides about ufw-docker's rules, and about what ufw never saw.
#[test]
fn on_the_machine_itself_container_ports_become_those_that_are_published() {
    let live = Live {
        published: vec![
            published("0.0.0.0", 8080, "web", 80),
            published("::", 8080, "web", 80),
            published("198.51.100.1", 15432, "db", 5432),
            published("127.0.0.1", 9999, "hidden", 80),
            published("0.0.0.0", 9000, "forgotten", 9000),
        ],
        bridges: vec![("br-app".to_owned(), "10.9.0.0".parse().expect("an address"), 24)],
    };
    let of = |name: &str| {
        let installation = installation(&folder().join(format!("{name}.d")));
        import(&Installation { live: Some(live.clone()), ..installation }).expect("ufw could use it")
    };

    let docker = of("ufw-docker");
    let services = docker.policy.split("\nservices:\n").nth(1).and_then(|text| text.split("\n\n# ").next());
    let expected = "  ssh:  # user.rules:4, user6.rules:4
    ports: 22/tcp
    from: any

  web:  # user.rules:7, user6.rules:7
    ports: 8080/tcp
    from: any
    comment: \"port 80 of the container web\"

  web-2:  # user.rules:10
    ports: 8080/tcp
    from: \"0.0.0.0/0\"
    comment: \"port 80 of the container web\"

  db:  # user.rules:13
    ports: 15432/tcp
    from: 203.0.113.7
    to: 198.51.100.1
    comment: \"port 5432 of the container db\"";
    assert_eq!((services, loaded(&docker.policy).err()), (Some(expected), None));

    let web = of("web-server");
    let notes: Vec<&str> = web.report.notes.iter().map(|note| note.text.as_str()).collect();
    let open = |port: &str, container: &str| {
        format!(
            "{port} (container {container}) was open to everyone past ufw, and is closed now to whom no service names; to \
             keep it: `palisade add {port} --from any`"
        )
    };
    for (port, container) in [("8080/tcp", "web"), ("15432/tcp", "db"), ("9000/tcp", "forgotten")] {
        assert!(notes.contains(&open(port, container).as_str()), "{port}: {notes:#?}");
    }
    assert!(!notes.iter().any(|note| note.contains("hidden")), "{notes:#?}");
}
