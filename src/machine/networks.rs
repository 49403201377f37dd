//! Container engines' versions, networks and published ports.

use super::{Gap, Gaps};
use crate::files::{MAX_CONFIGURATION, read_bounded};
use crate::machine::{EngineKind, get, running_engines};
use crate::printable::command_word;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An engine, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `Docker` or `Podman`.
    pub name: String,
    /// Its version, for example `28.5.2`; `None` if it does not say.
    pub version: Option<String>,
    /// Its networks.
    pub networks: Vec<EngineNetwork>,
    /// The ports that it publishes to a loopback address, as `9200/tcp`.
    pub loopback_ports: BTreeSet<String>,
}

/// A network of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan` and so on.
    pub driver: String,
    /// The interface of this machine that its containers are behind; `None` if it has none, or does not say.
    pub bridge: Option<String>,
    /// Whether its containers may reach each other.
    pub talks: bool,
}

/// Where engines without a daemon keep their networks: Podman's netavark, and users of CNI.
const NETWORKS: [(&str, &str); 2] = [("Podman", "/etc/containers/networks"), ("CNI", "/etc/cni/net.d")];

/// The engines in this network namespace. `docker`: whether Docker's daemon runs in it.
pub fn engines(docker: bool, gaps: &mut Gaps) -> Vec<Engine> {
    let mut engines = Vec::new();
    for (kind, socket) in running_engines() {
        // A daemon in another namespace loads its rules there.
        if kind == EngineKind::Docker && !docker && !socket.ends_with("podman.sock") {
            continue;
        }
        if kind == EngineKind::Podman && !is_of_this_machine() {
            continue;
        }
        match engine(kind, &socket) {
            Ok(engine) => engines.push(engine),
            Err(why) => {
                let service = kind.name().to_lowercase();
                gaps.add(networks_of(kind.name(), why, format!("`systemctl status {service}`")));
            }
        }
    }
    if docker && !engines.iter().any(|engine| engine.name == "Docker") && !running(EngineKind::Docker) {
        let why = format!("its daemon runs, and nobody listens on {}", EngineKind::Docker.socket());
        let help = "`systemctl restart docker` makes the socket anew; if dockerd has another `-H`, add `-H \
                    unix:///var/run/docker.sock`";
        let help = help.to_owned();
        gaps.add(networks_of("Docker", why, help));
    }
    for (name, folder) in NETWORKS {
        let networks = networks_in(folder);
        let networks =
            gaps.or_nothing(networks.map_err(|Unreadable { path, why }| networks_of(name, why, take_away(&path))));
        if !networks.is_empty() && !engines.iter().any(|engine| engine.name == name) {
            engines.push(Engine { name: name.to_owned(), networks, ..Engine::default() });
        }
    }
    engines
}

fn networks_of(name: &str, why: String, help: String) -> Gap {
    Gap { what: format!("the networks of {name}"), why, help }
}

fn running(kind: EngineKind) -> bool {
    running_engines().iter().any(|(other, _)| *other == kind)
}

/// Whether this process is in the machine's initial network namespace.
fn is_of_this_machine() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    namespace("self") == namespace("1")
}

fn engine(kind: EngineKind, socket: &Path) -> Result<Engine, String> {
    let ask = |request| get(socket, request).map_err(|error| error.to_string());
    let (version, networks, containers) = (ask("/version")?, ask("/networks")?, ask("/containers/json")?);
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let network = |network: &Value| {
        let options = network.get("Options");
        let option = |name: &str| options.and_then(|options| text(options, name));
        let driver = text(network, "Driver").unwrap_or_default();
        let id = text(network, "Id").unwrap_or_default();
        // Docker names a bridge by the first 12 digits of the network's ID unless the option gives its name.
        let by_id = || id.get(..12).filter(|_| kind == EngineKind::Docker).map(|digits| format!("br-{digits}"));
        EngineNetwork {
            name: text(network, "Name").unwrap_or_default(),
            bridge: option("com.docker.network.bridge.name").or_else(by_id).filter(|_| driver == "bridge"),
            driver,
            talks: option("com.docker.network.bridge.enable_icc").as_deref() != Some("false"),
        }
    };
    let ports = list(&containers).flat_map(|container| container.get("Ports").into_iter().flat_map(list));
    let on_loopback = ports.filter_map(|port| {
        let on: std::net::IpAddr = text(port, "IP")?.parse().ok()?;
        let number = port.get("PublicPort").and_then(Value::as_u64)?;
        on.is_loopback().then(|| format!("{number}/{}", text(port, "Type").unwrap_or_default()))
    });
    Ok(Engine {
        name: kind.name().to_owned(),
        version: text(&version, "Version").map(|version| version.split('+').next().unwrap_or_default().to_owned()),
        networks: list(&networks).map(network).collect(),
        loopback_ports: on_loopback.collect(),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A file or folder of networks that can't be read, and why.
struct Unreadable {
    path: PathBuf,
    why: String,
}

/// The remedy for a file that can't be read: engines read it by its ending, too.
fn take_away(path: &Path) -> String {
    let path = path.display().to_string();
    let away = command_word(&path).map(|path| format!(": `mv {path} {path}.away`")).unwrap_or_default();
    format!("mend it, or take it away{away}")
}

/// The networks of a folder. A netavark file names the driver, a CNI file names a plugin.
fn networks_in(folder: &str) -> Result<Vec<EngineNetwork>, Unreadable> {
    let unreadable = |path: &Path, why: String| Unreadable { path: path.to_owned(), why };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.map_err(|error| unreadable(Path::new(folder), format!("{folder} can't be read: {error}")))?
        }
    };
    let of_networks = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str);
        extension.is_some_and(|extension| ["json", "conf", "conflist"].contains(&extension))
    };
    let mut networks = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(of_networks) {
        let text = read_bounded(&path, MAX_CONFIGURATION);
        let text = text.map_err(|error| unreadable(&path, format!("{} can't be read: {error}", path.display())))?;
        let file: Value = serde_json::from_slice(&text)
            .map_err(|error| unreadable(&path, format!("{} is not JSON: {error}", path.display())))?;
        networks.push(network_of_file(&file));
    }
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(networks)
}

fn network_of_file(file: &Value) -> EngineNetwork {
    let parts = || file.get("plugins").into_iter().flat_map(list).chain([file]);
    let first = |keys: [&str; 2]| {
        let found = parts().flat_map(|part| keys.map(|key| part.get(key))).flatten().find_map(Value::as_str);
        found.map(str::to_owned)
    };
    let driver = first(["driver", "type"]).unwrap_or_default();
    // The CNI plugin `bridge` has a default.
    let of_plugin = || parts().any(|part| part.get("type").is_some()).then(|| "cni0".to_owned());
    let bridge = first(["network_interface", "bridge"]).or_else(of_plugin).filter(|_| driver == "bridge");
    let name = file.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    EngineNetwork { name, driver, bridge, talks: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_network_of_a_file_has_its_bridge() {
        let bridges = [
            json!({ "name": "podman", "driver": "bridge", "network_interface": "podman0" }),
            json!({ "name": "lan", "driver": "macvlan", "network_interface": "eth0" }),
            json!({ "name": "nerdctl", "plugins": [{ "type": "bridge", "bridge": "nerdctl0" }, { "type": "portmap" }] }),
            json!({ "name": "plain", "type": "bridge", "ipam": {} }),
            json!({ "name": "wire", "plugins": [{ "type": "ptp" }, { "type": "portmap" }] }),
            json!([]),
        ]
        .map(|file| network_of_file(&file))
        .map(|network| (network.name, network.driver, network.bridge));

        let expected = [
            ("podman", "bridge", Some("podman0")),
            ("lan", "macvlan", None),
            ("nerdctl", "bridge", Some("nerdctl0")),
            ("plain", "bridge", Some("cni0")),
            ("wire", "ptp", None),
            ("", "", None),
        ];
        let expected =
            expected.map(|(name, driver, bridge)| (name.to_owned(), driver.to_owned(), bridge.map(str::to_owned)));
        assert_eq!(bridges, expected);
    }
}
