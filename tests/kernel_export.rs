//! What the vendors' own clients send of what `palisade export` prints, to a server on the loopback of a network namespace.
//!
//! The clients are where scripts/test puts them, below target/clients. The Python libraries are not on every machine;
//! scripts/test says where their tests are left out.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::namespace::{Namespace, output};
use support::program::palisade;
use tempfile::TempDir;

const POLICY: &str = "version: 1
groups:
  trusted: [1.1.1.1, 1.1.1.2, 1.1.1.3, \"2001:db8:7::/48\"]
services:
  dashboard: { ports: [9000/tcp, 9001/tcp], from: trusted, comment: the trading dashboard }
  ipsec: { ports: [500/udp, 50/proto], from: 203.0.113.0/24 }
  ssh: { ports: 22/tcp, from: any }
";

/// What a firewall of Hetzner Cloud is told of it.
fn rules() -> Value {
    json!([
        { "description": "dashboard: the trading dashboard", "direction": "in", "protocol": "tcp", "port": "9000-9001",
          "source_ips": ["1.1.1.1/32", "1.1.1.2/31", "2001:db8:7::/48"] },
        { "description": "ipsec", "direction": "in", "protocol": "udp", "port": "500", "source_ips": ["203.0.113.0/24"] },
        { "description": "ipsec", "direction": "in", "protocol": "esp", "source_ips": ["203.0.113.0/24"] },
        { "description": "ping", "direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0", "::/0"] },
        { "description": "ssh", "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"] },
    ])
}

/// What was asked of the server: the method with the path, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A server of Hetzner's API and of DigitalOcean's, each with one firewall without rules, in a namespace of its own.
struct Server {
    namespace: Namespace,
    port: u16,
    asked: Asked,
}

impl Server {
    fn new() -> Self {
        let namespace = Namespace::new();
        let listener = namespace.run(|| TcpListener::bind("127.0.0.1:0").expect("the loopback is up"));
        let port = listener.local_addr().expect("it is bound").port();
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || while answer(&stream, &log).is_some() {});
            }
        });
        Self { namespace, port, asked }
    }

    /// A program inside that takes this for its vendor.
    fn client(&self, program: &Path) -> Command {
        let mut command = self.namespace.command(&program.to_string_lossy());
        command
            .env("HCLOUD_ENDPOINT", format!("http://127.0.0.1:{}/v1", self.port))
            .env("HCLOUD_TOKEN", "x".repeat(64))
            .env("DIGITALOCEAN_ENDPOINT", format!("http://127.0.0.1:{}", self.port));
        command
    }

    /// What was sent to be kept.
    fn sent(&self) -> Vec<(String, Value)> {
        let asked = self.asked.lock().expect("no thread panics");
        asked.iter().filter(|(request, _)| !request.starts_with("GET")).cloned().collect()
    }
}

/// Answers one request; `None` at the end.
fn answer(mut stream: &TcpStream, log: &Asked) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = request.rsplit_once(' ').map(|(request, _)| request.to_owned())?;
    log.lock().ok()?.push((request.clone(), serde_json::from_slice(&body).unwrap_or_default()));
    let created = "2026-01-01T00:00:00+00:00";
    let firewall =
        json!({ "id": 1, "name": "palisade", "labels": {}, "created": created, "rules": [], "applied_to": [] });
    let action = json!({ "id": 7, "command": "set_firewall_rules", "status": "success", "progress": 100,
        "started": created, "finished": created, "resources": [{ "id": 1, "type": "firewall" }], "error": null });
    let page = json!({ "pagination": { "page": 1, "per_page": 25, "previous_page": null, "next_page": null,
        "last_page": 1, "total_entries": 1 } });
    let path = request.split(['?', ' ']).nth(1).unwrap_or_default();
    let answer = match path {
        "/v1/firewalls" => json!({ "firewalls": [firewall], "meta": page }),
        "/v1/firewalls/1" => json!({ "firewall": firewall }),
        "/v1/actions" => json!({ "actions": [action], "meta": page }),
        "/v2/firewalls" | "/v2/firewalls/1" => json!({ "firewall": { "id": "1", "status": "waiting" } }),
        "/v1/actions/7" => json!({ "action": action }),
        _ => json!({ "actions": [action] }),
    };
    let text = answer.to_string();
    let status = if request == "POST /v2/firewalls" { "202 Accepted" } else { "200 OK" };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes()).ok()
}

/// A folder with the policy, and what palisade exports of it to a vendor, with what it says is left out.
#[track_caller]
fn exported(vendor: &str, left_out: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("there is a place for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, POLICY).expect("the folder is writable");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
    let done = output(Command::new(palisade()).arg("--policy").arg(&policy).args(["export", vendor]));
    assert_eq!((done.status, done.stderr.as_str()), (Some(if left_out.is_empty() { 0 } else { 2 }), left_out));
    let rules = folder.path().join("rules.json");
    fs::write(&rules, done.stdout).expect("the folder is writable");
    (folder, rules)
}

/// A client below target/clients.
fn client(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(path)
}

/// Python with the vendors' libraries, where it could be had.
fn python() -> Option<PathBuf> {
    let python = client("cloud/bin/python");
    if !python.exists() {
        eprintln!("left out: there is no {}", python.display());
        return None;
    }
    Some(python)
}

#[test]
fn hcloud_takes_the_file_and_sends_what_was_meant() {
    let hcloud = client("hcloud-cli/usr/bin/hcloud");
    let ((_folder, rules_file), server) = (exported("hetzner", ""), Server::new());
    let rules_file = rules_file.to_string_lossy().into_owned();

    let arguments = ["firewall", "replace-rules", "--rules-file", &rules_file, "palisade"];
    output(server.client(&hcloud).args(arguments)).success();

    let set = "POST /v1/firewalls/1/actions/set_rules".to_owned();
    assert_eq!(server.sent(), [(set, json!({ "rules": rules() }))]);
}

const SET_RULES: &str = "
import json, os, sys
from hcloud import Client
from hcloud.firewalls import Firewall, FirewallRule
client = Client(token=os.environ['HCLOUD_TOKEN'], api_endpoint=os.environ['HCLOUD_ENDPOINT'])
rules = [FirewallRule(**rule) for rule in json.load(open(sys.argv[1]))]
client.firewalls.set_rules(Firewall(id=1), rules)
";

#[test]
fn the_python_library_of_hetzner_sends_the_same() {
    let Some(python) = python() else { return };
    let ((_folder, rules_file), server) = (exported("hetzner", ""), Server::new());

    output(server.client(&python).arg("-c").arg(SET_RULES).arg(&rules_file)).success();

    let mut sent = server.sent();
    // It sends an empty list for what a rule does not have.
    let rules_sent = sent.first_mut().and_then(|(_, body)| body["rules"].as_array_mut());
    for rule in rules_sent.into_iter().flatten() {
        if rule["destination_ips"] == json!([]) {
            rule.as_object_mut().expect("a rule").remove("destination_ips");
        }
    }
    let set = "POST /v1/firewalls/1/actions/set_rules".to_owned();
    assert_eq!(sent, [(set, json!({ "rules": rules() }))]);
}

const CREATE_AND_UPDATE: &str = "
import json, os, sys
from pydo import Client
client = Client(token='x' * 64, endpoint=os.environ['DIGITALOCEAN_ENDPOINT'])
firewall = json.load(open(sys.argv[1]))
client.firewalls.create(body=firewall, enforce_https=False)
client.firewalls.update(firewall_id='1', body=firewall, enforce_https=False)
";

#[test]
fn the_python_library_of_digitalocean_creates_and_updates_the_firewall_that_was_printed() {
    let Some(python) = python() else { return };
    let left_out = "left out: ipsec: 50/proto: DigitalOcean has no rule for it (policy.yaml:6)\n";
    let ((_folder, file), server) = (exported("digitalocean", left_out), Server::new());
    let office = json!(["203.0.113.0/24"]);
    let everywhere = json!(["0.0.0.0/0", "::/0"]);
    let inbound = |protocol: &str, ports: &str, from: &Value| json!({ "protocol": protocol, "ports": ports, "sources": { "addresses": from } });
    let outbound =
        |protocol: &str| json!({ "protocol": protocol, "ports": "0", "destinations": { "addresses": everywhere } });

    output(server.client(&python).arg("-c").arg(CREATE_AND_UPDATE).arg(&file)).success();

    let firewall = json!({
        "name": "palisade",
        "inbound_rules": [
            inbound("tcp", "9000-9001", &json!(["1.1.1.1", "1.1.1.2/31", "2001:db8:7::/48"])),
            inbound("udp", "500", &office),
            inbound("icmp", "0", &everywhere),
            inbound("tcp", "22", &everywhere),
        ],
        "outbound_rules": [outbound("tcp"), outbound("udp"), outbound("icmp")],
    });
    let requests = ["POST /v2/firewalls", "PUT /v2/firewalls/1"];
    assert_eq!(server.sent(), requests.map(|request| (request.to_owned(), firewall.clone())));
}
