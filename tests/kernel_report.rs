//! `report` on a server with listeners, published ports, rules of others, and packets that were denied.
//!
//! `tests/data/report.txt` is the text of its page, without what differs from run to run; `UPDATE_GOLDEN=1` writes it anew.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Stdio};
use support::lab::{HOST, Lab, OUT};
use support::planted::Planted;
use support::probe::{Outcome, SILENCE, Target};

const POLICY: &str = "version: 1
groups:
  trusted: [203.0.113.9, 203.0.113.20]
  foes: [198.51.100.0/24]
services:
  ssh: { ports: 22/tcp, from: any, limit: 6/minute, comment: \"<script>alert('in')</script> & more\" }
  dashboard: { ports: [9000/tcp, 9001/tcp], from: trusted }
  names: { ports: 53/udp, from: private, except: 10.9.0.0/16 }
  shut: { ports: 23/tcp, from: any, action: reject }
outgoing:
  smtp: { ports: 25/tcp, from: containers, to: any, action: deny }
block: foes
";

/// Listens at a port under a name, until it is killed.
const LISTENER: &str = "import socket, sys
kind = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}[sys.argv[2]]
s = socket.socket(socket.AF_INET, kind); s.bind(('0.0.0.0', int(sys.argv[1])))
if kind == socket.SOCK_STREAM: s.listen()
open('/proc/self/comm', 'w').write(sys.argv[3]); print('ready', flush=True); sys.stdin.read()";

/// The last name is as hostile as fits.
const LISTENERS: [(&str, &str, &str); 6] = [
    ("22", "tcp", "sshd"),
    ("23", "tcp", "telnetd"),
    ("53", "udp", "named"),
    ("8080", "tcp", "node"),
    ("8081", "tcp", "grafana"),
    ("8443", "tcp", "<b>'&\"</b>"),
];

/// Processes that end with the test.
struct Listeners(Vec<Child>);

impl Listeners {
    fn on(lab: &Lab) -> Self {
        let start = |(port, protocol, name): (&str, &str, &str)| {
            let mut command = lab.host.command("python3");
            command.args(["-c", LISTENER, port, protocol, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("python3 is installed");
            let mut ready = String::new();
            BufReader::new(child.stdout.as_mut().expect("it was piped")).read_line(&mut ready).expect("it prints");
            assert_eq!(ready, "ready\n");
            child
        };
        Self(LISTENERS.map(start).into())
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A server with six listeners, two published ports and the rules of others, whose names are hostile.
fn lab() -> (Lab, Listeners) {
    let lab = Lab::new();
    lab.forward();
    lab.add_addresses(OUT);
    lab.host.ip("link add docker0 type bridge");
    lab.host.ip("address add 172.17.0.1/16 dev docker0");
    lab.host.ip("link set docker0 up");
    lab.host.nft_load(
        "table ip nat {
            chain PREROUTING { type nat hook prerouting priority dstnat;
                fib daddr type local tcp dport 9000 dnat to 172.17.0.2:80
                fib daddr type local tcp dport 9001 dnat to 172.17.0.3:80
            }
        }
        table ip filter {
            chain INPUT { type filter hook input priority filter; policy accept; jump ufw-before-input; }
            chain ufw-before-input { tcp dport 8081 drop; }
        }
        table inet crowdsec {
            chain in { type filter hook input priority filter - 10;
            }
        }
        table netdev lan {
            chain frames { type filter hook ingress device eth1 priority 0;
            }
        }",
    );
    let listeners = Listeners::on(&lab);
    (lab, listeners)
}

/// The text between tags, a line for each element that begins one.
fn text_of(html: &str) -> String {
    let body = html.split_once("<body>").expect("it has a body").1;
    let mut text = String::new();
    for (index, part) in body.split('<').enumerate() {
        let (tag, words) = if index == 0 { ("", part) } else { part.split_once('>').expect("tags end") };
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        match name {
            "td" | "th" | "a" => text.push_str(" | "),
            "b" | "span" | "code" | "" => {}
            _ => text.push('\n'),
        }
        text.push_str(words.trim_matches('\n'));
    }
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Each tag ends where it has to, attributes stand in double quotes, and nothing is loaded from anywhere.
fn assert_well_formed(html: &str) {
    let rest = html.strip_prefix("<!DOCTYPE html>\n").expect("the type of the document");
    let mut open: Vec<&str> = Vec::new();
    for part in rest.split('<').skip(1) {
        let (tag, words) = part.split_once('>').unwrap_or_else(|| panic!("<{part}"));
        assert!(!words.contains('>'), "{words}");
        for entity in words.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let name = entity.split(';').next().unwrap_or_default();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{entity}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let bare: String = tag.split('"').step_by(2).collect();
        assert!(!bare.contains('\''), "<{tag}>");
        let known =
            ["html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "nav", "a", "main"];
        let more = ["section", "table", "thead", "tbody", "tr", "th", "td", "div", "b", "span", "code", "pre"];
        let drawn = ["svg", "defs", "marker", "path", "text", "g", "title", "rect"];
        assert!(known.iter().chain(&more).chain(&drawn).any(|known| *known == name), "<{tag}>");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for loading in ["http:", "https:", "//", "src=", "@import", "javascript:", " on"] {
        let tags = html.split('<').filter_map(|part| part.split('>').next());
        assert!(!tags.clone().any(|tag| tag.contains(loading) && !tag.contains("content=")), "{loading}");
    }
}

/// Without what differs from run to run and from machine to machine.
fn masked(text: &str, lab: &Lab) -> String {
    let policies = lab.policy("").display().to_string();
    let mut lines = Vec::new();
    for line in text.replace(&policies, "/POLICIES/").lines() {
        let mut line = line.to_owned();
        for (before, after) in [("palisade on ", ""), ("Made by palisade ", "")] {
            if line.starts_with(before) {
                line = format!("{before}...{after}");
            }
        }
        for mark in [" at 2", "ruleset 0"] {
            while let Some((before, rest)) = line.split_once(mark) {
                let end = rest.find([' ', ';', '|', ',']).unwrap_or(rest.len());
                line = format!("{before} ...{}", &rest[end..]);
            }
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        if let [_, _, _, packets, _, _] = &cells[..]
            && packets.contains(" packet")
        {
            line = [&cells[..3], &["N packets", "N ago"], &cells[5..]].concat().join(" | ");
        }
        // What the policy has denied until now depends on how often a probe sends.
        let counted = line.starts_with(" | incoming | ") || line.starts_with(" | invalid | ");
        lines.push(if counted { line.split(" | ").take(2).collect::<Vec<_>>().join(" | ") } else { line });
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_page_has_what_the_commands_say_of_a_server() {
    let (lab, _listeners) = lab();
    lab.write_policy("policy.yaml", POLICY);
    let planted = Planted::over(&lab);
    planted.apply(POLICY);
    for port in [8080, 9000] {
        assert_eq!(lab.client.probe(Target::Tcp(port), OUT[0], HOST[0], SILENCE), Outcome::TimedOut);
    }
    let html = planted.palisade(&["report", "--html", "-"]).success();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html");
    fs::write(kept, &html).expect("the folder for tests is writable");

    assert_well_formed(&html);
    assert!(html.len() < 200_000, "{} bytes", html.len());
    assert!(
        !html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;in&#39;)&lt;/script&gt; &amp; more")
    );
    let text = masked(&text_of(&html), &lab);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &text).expect("the golden can be written");
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
}

#[test]
fn the_file_is_written_whole_for_its_owner_alone_and_nothing_but_a_file_is_replaced() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", POLICY);
    let page = lab.policy("page.html");
    let report = |file: &Path| lab.palisade("policy.yaml", &["report", "--html", &file.display().to_string()]);

    for before in [None, Some("an old page")] {
        if let Some(before) = before {
            fs::write(&page, before).expect("scratch is writable");
            fs::set_permissions(&page, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
        }
        let said = report(&page).success();
        assert!(said.starts_with(&format!("{} is written, ", page.display())), "{said}");
        let mode = fs::metadata(&page).expect("it was written").permissions().mode();
        let text = fs::read_to_string(&page).expect("it was written");
        assert_eq!((mode & 0o7777, text.ends_with("</html>\n")), (0o600, true));
    }
    let quiet = lab.palisade("policy.yaml", &["-q", "report", "--html", &page.display().to_string()]).success();
    assert_eq!(quiet, "");
    let drafts = fs::read_dir(lab.policy(""))
        .expect("it is there")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with(".page"));
    assert_eq!(drafts.count(), 0);

    let fifo = lab.policy("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("scratch is writable");
    let refused = report(&fifo);
    let error = format!("error: can't write {}: it is there, and is no regular file\n", fifo.display());
    assert_eq!((refused.status, refused.stderr.as_str()), (Some(1), error.as_str()));
    assert!(fs::metadata(&fifo).expect("it is still there").file_type().is_fifo());
}

#[test]
fn what_is_not_known_says_so() {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", "version: 2\n");
    let html = lab.palisade("policy.yaml", &["report", "--html", "-"]).success();
    let text = text_of(&html);

    assert_well_formed(&html);
    for said in [
        "Not known: whom the policy means: the policy is not valid; palisade check says why",
        "Who was denied is not known: palisade is not loaded, its rules are those of an older version, or nothing is denied.",
        "Not active: palisade apply loads the policy.",
        "No table has a base chain.",
        "Nobody listens on this machine.",
    ] {
        assert!(text.lines().any(|line| line == said), "{said:?} is not in {text}");
    }
}
