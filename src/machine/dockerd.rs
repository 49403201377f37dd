//! How Docker's daemon was started, which its API does not tell.

use super::processes::Process;
use crate::files::{MAX_CONFIGURATION, read_trusted};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The default path of its configuration file.
const CONFIGURATION: &str = "/etc/docker/daemon.json";

/// The daemon's options that matter to a firewall. The command line overrides the file, and the file overrides
/// Docker's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerOptions {
    /// Whether the daemon loads IPv4 rules.
    pub iptables: bool,
    /// Where that is set.
    pub iptables_from: String,
    /// Whether docker-proxy relays connections that no rule translates.
    pub userland_proxy: bool,
}

/// The options of the daemon in this network namespace; `None` if none runs. Call it while this process is still
/// root.
///
/// # Errors
/// Its file, or the kernel's data about its process, can't be read: a clause that says which.
pub fn docker_options() -> Result<Option<DockerOptions>, String> {
    // Ignores a process of another user that calls itself dockerd, so that a file it names is never read.
    let daemon = Process::all()
        .find(|process| process.runs(&["dockerd"]) && process.is_roots_own() && process.is_in_this("net"));
    let Some(daemon) = daemon else { return Ok(None) };
    let arguments = daemon.arguments();
    let arguments =
        arguments.map_err(|error| format!("process {}, dockerd, can't be looked at: {error}", daemon.pid))?;
    options_of(&arguments, &PathBuf::from(daemon.folder().unwrap_or_default())).map(Some)
}

fn options_of(arguments: &[String], folder: &Path) -> Result<DockerOptions, String> {
    let path = folder.join(value(arguments, "config-file").unwrap_or(CONFIGURATION));
    let is_missing = |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let file = match read_trusted(&path, MAX_CONFIGURATION) {
        // Its folder may be missing, too.
        Err(_) if is_missing(&path) => Value::Null,
        Err(refusal) => return Err(refusal.to_string()),
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))?
        }
    };
    Ok(options(arguments, &file, &path.display().to_string()))
}

pub(super) fn options(arguments: &[String], file: &Value, path: &str) -> DockerOptions {
    let given =
        |name: &str| value(arguments, name).map(|value| !["false", "0", "f", "F", "FALSE", "False"].contains(&value));
    let in_file = |name: &str| file.get(name).and_then(Value::as_bool);
    let asked = |name: &str| given(name).or_else(|| in_file(name)).unwrap_or(true);
    DockerOptions {
        iptables: asked("iptables"),
        iptables_from: if given("iptables").is_some() {
            "dockerd's command line".to_owned()
        } else {
            path.to_owned()
        },
        userland_proxy: asked("userland-proxy"),
    }
}

/// The value in `--NAME=VALUE`, or in `--NAME VALUE` if the option takes one; "" for a flag alone.
fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let Some(argument) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { continue };
        match argument.split_once('=') {
            Some((found, value)) if found == name => return Some(value),
            None if argument == name => {
                return rest.next().map(String::as_str).filter(|_| name.ends_with("file")).or(Some(""));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_command_line_beats_the_file_and_the_file_what_docker_does_by_itself() {
        let read = |line: &str, file: Value| {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let read = options(&arguments, &file, "/etc/docker/daemon.json");
            (read.iptables, read.iptables_from, read.userland_proxy)
        };
        let [file, line] = ["/etc/docker/daemon.json", "dockerd's command line"].map(str::to_owned);
        assert_eq!(read("dockerd", Value::Null), (true, file.clone(), true));
        assert_eq!(read("dockerd", json!({ "iptables": false, "userland-proxy": false })), (false, file, false));
        let both = json!({ "iptables": false });
        assert_eq!(read("dockerd --iptables -H fd://", both), (true, line.clone(), true));
        assert_eq!(read("dockerd --iptables=false", Value::Null), (false, line, true));
        let arguments = ["dockerd", "--config-file", "/a.json"].map(str::to_owned);
        assert_eq!(value(&arguments, "config-file"), Some("/a.json"));
    }

    #[test]
    fn without_a_file_or_its_folder_the_daemon_does_what_it_does_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |path: &str| {
            let arguments = ["dockerd".to_owned(), format!("--config-file={path}")];
            options_of(&arguments, folder.path()).map(|read| read.iptables)
        };
        assert_eq!([read("none.json"), read("none/none.json")], [Ok(true), Ok(true)]);
        std::fs::write(folder.path().join("some.json"), "{ \"iptables\": false }").expect("it is writable");
        assert_eq!(read("some.json"), Ok(false));
        let refused = read("/dev/zero");
        assert_eq!(refused, Err("/dev/zero is a character device, not a file".to_owned()));
    }
}
