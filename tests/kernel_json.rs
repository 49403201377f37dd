//! The JSON of every command, beside `docs/json.md`.

mod json_page;
mod support;
mod temporary;

use json_page::{INCLUDED, INVALID, NEW, OLD, Page, Seen, UNMET, WITHOUT_KERNEL, write_ufw};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;
use support::lab::{HOST, LAN, Lab, OUT};
use support::namespace::output;
use support::probe::{SILENCE, Target};
use support::program::palisade;
use temporary::Server;

/// What the page has and this test can't make, with the reason.
const NOT_SEEN: [(&str, &str); 5] = [
    ("apply confirm.undone_by.systemd", "no systemd runs in a namespace: tests/boot_confirm.rs"),
    ("open-ports engine", "no engine runs in one: tests/engine_exposure.rs"),
    ("plan sessions[].session", "it is not run over SSH: tests/kernel_lockout.rs"),
    ("plan sessions[].stays", "the same"),
    ("plan unknown", "who listens can always be read here"),
];

const POLICY: &str = "version: 1
include: people.yaml
defaults: { outgoing: deny }
containers: { outgoing: deny }
groups:
  wan: { interface: eth0 }
  lan: { interface: eth1 }
  owner: [203.0.113.20, { temporary: 12h }]
  foes: [198.51.100.66, { temporary: 1h }]
block: foes
services:
  photos: { ports: 443/tcp, from: any, forward_to: \"10.77.0.2:8443\" }
  shut: { ports: 8081/tcp, from: any, action: reject }
outgoing:
  files: { ports: 8443/tcp, from: host, to: 10.77.0.0/24 }
forward:
  internet: { ports: any, from: lan, to: wan }
nat:
  internet: { from: lan, to: wan }
";

/// What it includes.
const PEOPLE: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any, limit: 100/minute, comment: how to get in }
  dashboard: { ports: 9000/tcp, from: [owner, { dns: home.example.org }] }
";

/// What listens at one interface alone.
const BOUND: &str = "import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth1')
s.bind(('0.0.0.0', 8100)); s.listen(); print('ready', flush=True); sys.stdin.read()";

/// A server whose documents are taken.
struct Told {
    server: Server,
    page: Page,
    seen: Seen,
}

impl Told {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.hosts("203.0.113.70 home.example.org\n");
        lab.add_addresses([OUT[0]]);
        for (name, text) in [("old", OLD), ("new", NEW), ("edited", NEW), ("invalid", INVALID), ("unmet", UNMET)] {
            lab.write_policy(&format!("{name}.yaml"), text);
        }
        lab.write_policy("policy.yaml", POLICY);
        lab.write_policy("people.yaml", PEOPLE);
        lab.write_policy("included.yaml", INCLUDED);
        Self { server: Server { lab }, page: Page::read(), seen: Seen::default() }
    }

    fn lab(&self) -> &Lab {
        &self.server.lab
    }

    /// Runs a line and takes what it prints.
    #[track_caller]
    fn run(&mut self, line: &str) -> String {
        let folder = self.lab().policy("");
        let mut command = self.lab().in_its_own_state(palisade());
        let policy = if line.contains("--policy") { Vec::new() } else { vec!["--policy", "policy.yaml"] };
        let done = output(command.arg("--json").args(policy).args(line.split(' ')).current_dir(folder));
        self.seen.take(&self.page, line.split(' ').next().unwrap_or_default(), &done.stdout);
        done.stdout
    }

    /// Runs lines that succeed: each document has that text.
    #[track_caller]
    fn run_all(&mut self, lines: &[(&str, &str)]) {
        for (line, holds) in lines {
            let said = self.run(line);
            assert!(said.contains(holds), "{line}: {said}");
        }
    }

    #[track_caller]
    fn apply(&mut self, policy: &str) {
        self.lab().write_policy("policy.yaml", policy);
        self.run_all(&[("apply --dry-run", "\"applied\":false"), ("apply", "\"applied\":true")]);
    }

    /// Has somebody ask for ports who is denied.
    fn denied(&self) {
        for port in [9000, 9001] {
            self.lab().client.probe(Target::Tcp(port), OUT[0], HOST[0], SILENCE);
        }
    }

    /// Edits the policy by a program in the place of an editor, on a terminal.
    fn edit(&mut self, editor: &str) {
        let path = self.lab().policy("editor");
        fs::write(&path, format!("#!/bin/sh\n{editor}\n")).expect("scratch is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is root's");
        let said = self.lab().policy("said");
        let policy = self.lab().policy("policy.yaml");
        let line = format!("{} --policy {} --json edit >{}", palisade(), policy.display(), said.display());
        let mut command = self.lab().in_its_own_state("script");
        command.args(["-qec", &line, "/dev/null"]).env("EDITOR", &path).env_remove("VISUAL").env("TERM", "dumb");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script is there");
        // Held until the end: at the end of its input `script` would end the terminal.
        let mut input = child.stdin.take().expect("it was piped");
        input.write_all(b"y\ny\n").expect("it reads");
        child.wait().expect("it was started");
        self.seen.take(&self.page, "edit", &fs::read_to_string(said).expect("it was written"));
    }
}

/// Loading, confirming, going back, booting and editing.
fn changes(told: &mut Told) {
    told.run_all(&[("apply --confirm 60s", "\"undone_by\""), ("status", "\"undone_in\":"), ("confirm", "confirmed")]);
    told.lab().write_policy("policy.yaml", &POLICY.replace("8081", "8083"));
    told.run_all(&[("apply --confirm 60s", "\"undone_by\""), ("rollback", "\"to\":null"), ("apply", "true")]);
    told.run_all(&[("rollback", "\"to\":"), ("rollback --list", "\"live\":true"), ("boot", "\"booted_from\"")]);
    told.run_all(&[
        ("status", "\"booted\":{"),
        ("boot --missing", "\"booted_from\":null"),
        ("status", "\"active\":true"),
    ]);
    told.edit("true");
    told.edit("echo '# more' >>\"$1\"; sed -i 's|8083|8084|' \"$1\"");
    told.run("confirm");
    let kept = fs::read_dir(told.lab().kept("rulesets")).expect("rulesets are kept");
    let oldest = kept.map(|entry| entry.expect("it can be read").path()).min().expect("there is one");
    fs::write(oldest, "damaged").expect("scratch is writable");
    told.run_all(&[("rollback --list", "\"error\"")]);
}

/// Who is let in and blocked for a time, and who was denied.
fn people(told: &mut Told) {
    told.run_all(&[
        ("allow 203.0.113.30 --group owner", "\"until\""),
        ("allow 203.0.113.31 --for 1m --group owner", "\"until\""),
        ("allow 203.0.113.20 --group owner", "\"why\""),
        ("allow --list", "\"opens\""),
        ("block 198.51.100.67", "\"until\""),
        ("block 198.51.100.66", "\"why\""),
        ("diff", "\"temporary\":[{"),
        ("explain 9000/tcp --from 203.0.113.30", "\"allow\""),
        ("explain 9000/tcp --from 203.0.113.70", "home.example.org"),
        ("explain 443/tcp --from 203.0.113.66", "10.77.0.2"),
        ("explain 22/tcp --from 203.0.113.30", "\"limit\""),
    ]);
    told.denied();
    told.run_all(&[
        ("denied", "203.0.113.66"),
        ("status", "203.0.113.66"),
        ("suggest 203.0.113.66", "9000"),
        ("revoke 198.51.100.67", "\"operations\""),
        ("revoke 198.51.100.67", "\"revoked\":[]"),
    ]);
    told.apply(&POLICY.replace("12h", "2h"));
    told.server.pass("203.0.113.31", Duration::from_secs(90));
    told.run_all(&[("refresh", "\"over\":[{")]);
    told.lab().hosts("203.0.113.71 home.example.org\n");
    told.run_all(&[("refresh --now", "203.0.113.71")]);
}

/// Who reaches what, with rules of others that nobody can be sure of.
fn listeners(told: &mut Told) {
    let listening =
        [(HOST[0], 22), (HOST[0], 8081), (HOST[1], 22)].map(|(address, port)| SocketAddr::new(address, port));
    let _echo = told.lab().host.listen(&listening, &[]);
    let lan: [IpAddr; 2] = LAN;
    let _behind = told.lab().lan.listen(&[SocketAddr::new(lan[0], 8443)], &[]);
    let mut bound = told.lab().host.command("python3");
    let mut bound =
        bound.args(["-c", BOUND]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is there");
    let mut ready = [0; 6];
    std::io::Read::read_exact(bound.stdout.as_mut().expect("it was piped"), &mut ready).expect("it says so");
    told.lab().host.ip("link add docker0 type bridge");
    told.lab().host.ip("address add 172.17.0.1/16 dev docker0");
    told.lab().host.ip("link set docker0 up");
    told.lab().host.nft_load(
        "table ip nat {
            chain prerouting {
                type nat hook prerouting priority dstnat
                ip daddr 203.0.113.1 tcp dport 9500 dnat to 172.17.0.2:80
            }
        }
        table ip others {
            chain input {
                type filter hook input priority 0
                tcp dport 22 numgen random mod 2 0 drop
            }
        }",
    );
    told.run_all(&[
        ("exposure", "\"container_port\""),
        ("explain 22/tcp --from 203.0.113.66 --planned", "\"steps\""),
        ("explain 9000/tcp --from 203.0.113.66", "\"to_let_it_in\""),
        ("explain 9000/tcp --from 203.0.113.0/24", "\"parts\":[{"),
        ("explain 22/tcp --from 203.0.113.0/24", "\"unknown\""),
        ("explain 22", "\"services\":[{"),
        ("explain --from 203.0.113.66", "\"reaches\":[{"),
        ("doctor", "\"findings\":[{"),
        ("doctor --ignore other-firewall-drops", "\"because\""),
        ("report --html -", "\"html\":\"<!DOCTYPE html>"),
        ("report --html page.html", "\"written\":\"page.html\""),
        ("metrics", "\"palisade_active\""),
        ("metrics --textfile .", "/palisade.prom\""),
    ]);
    bound.kill().expect("it is this test's");
    bound.wait().expect("it is this test's");
}

#[test]
fn each_document_has_the_fields_of_the_page_and_no_other_and_each_field_of_the_page_is_in_one() {
    let mut told = Told::new();
    for line in ["status", "denied", "suggest 203.0.113.66", "disable", "boot --missing"] {
        told.run(line);
    }
    for line in WITHOUT_KERNEL {
        told.run(line);
    }
    let folder = told.lab().policy("pages");
    told.run(&format!("man {}", folder.display()));
    let answers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fleet");
    told.run(&format!("report --fleet {answers} --html {}/fleet.html", folder.display()));
    let root = told.lab().policy("ufw");
    write_ufw(&root);
    told.run(&format!("import ufw --root {}", root.display()));
    told.apply(POLICY);
    told.lab().host.nft_load(
        "insert rule inet palisade service-dashboard meta priority 7 accept
         insert rule inet palisade filter-forward oifname br-odd accept",
    );
    told.run_all(&[("diff", "\"behind\""), ("apply --dry-run", "\"changes\":[{"), ("apply", "true")]);
    told.lab().write_policy("policy.yaml", &POLICY.replace("8081", "8082"));
    changes(&mut told);
    told.apply(POLICY);
    people(&mut told);
    told.apply(POLICY);
    listeners(&mut told);
    told.run_all(&[("disable --yes", "\"disabled\":true")]);

    assert_eq!(told.seen.wrong, Default::default());
    let unseen: Vec<&str> = told.page.unseen(&told.seen).into_iter().collect();
    assert_eq!(unseen, NOT_SEEN.map(|(row, _)| row));
}
