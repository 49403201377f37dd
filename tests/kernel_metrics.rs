//! What `metrics` tells after real packets, of whatever is not as it should be, and what it leaves behind. Needs root.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use support::lab::{CLIENT, HOST, LAN, Lab, OUT};
use support::namespace::output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target};
use support::program::palisade;

const POLICY: &str = "version: 1
containers: { interfaces: [] }
defaults: { outgoing: deny }
groups:
  trusted: [203.0.113.9, \"2001:db8::9\", 192.0.2.0/24]
  owner: [{ temporary: 12h }, { dns: home.example.org }]
  foes: 198.51.100.66
block: foes
services:
  ssh: { ports: 22/tcp, from: any, limit: 1/hour }
  dashboard: { ports: 9000/tcp, from: [trusted, owner] }
  bad: { ports: 8080/tcp, from: any, action: deny }
  photos: { ports: 443/tcp, from: any, forward_to: \"10.77.0.2:8443\" }
outgoing:
  mail: { ports: 25/tcp, from: host, to: 203.0.113.0/24 }
forward:
  web: { ports: 80/tcp, from: trusted, to: 10.77.0.0/24 }
nat:
  inner: { from: { interface: eth0 }, to: { interface: eth1 } }
";

/// A lab with the policy and somebody who answers.
fn lab() -> (Lab, Vec<support::echo::Echo>) {
    let lab = Lab::new();
    lab.forward();
    lab.hosts("203.0.113.70 home.example.org\n");
    lab.add_addresses([OUT[0], "198.51.100.66".parse().expect("an address")]);
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply", "--force"]).success();
    let at = |address, ports: &[u16]| ports.iter().map(|port| SocketAddr::new(address, *port)).collect::<Vec<_>>();
    let echoes = vec![
        lab.host.listen(&at(HOST[0], &[22, 9000, 8080]), &[]),
        lab.lan.listen(&at(LAN[0], &[80, 8443]), &[]),
        lab.client.listen(&at(CLIENT[0], &[25, 26]), &[]),
    ];
    (lab, echoes)
}

/// Without what differs from run to run: times, and the folder of the lab.
fn stable(lab: &Lab, text: &str) -> String {
    let folder = lab.policy("policy.yaml").parent().expect("it is in a folder").display().to_string();
    let line = |line: &str| match line.split_once(' ') {
        Some((name, value)) if name.contains("_timestamp_seconds") && !line.starts_with('#') && value != "0" => {
            let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
            let value: u64 = value.parse().expect("seconds");
            assert!((now - 120..=now).contains(&value), "{line}: it is {now}");
            format!("{name} NOW\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect::<String>().replace(&folder, "DIR")
}

/// The samples alone.
fn samples(lab: &Lab, text: &str) -> Vec<String> {
    stable(lab, text).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The golden, which `UPDATE_GOLDEN=1` writes.
#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("the golden can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "expected\n{expected}\nsaid\n{text}");
}

#[test]
fn after_real_packets_each_line_of_the_policy_has_counted_its_own() {
    let (lab, _echoes) = lab();
    lab.palisade("policy.yaml", &["allow", "203.0.113.80", "--for", "1h"]).success();
    let [client, out, foe] = [CLIENT[0], OUT[0], "198.51.100.66".parse().expect("an address")];
    let tries = [
        (client, HOST[0], 22, Outcome::Connected),
        // Over the limit.
        (client, HOST[0], 22, Outcome::TimedOut),
        (client, HOST[0], 9000, Outcome::Connected),
        (client, HOST[0], 9000, Outcome::Connected),
        (out, HOST[0], 9000, Outcome::TimedOut),
        (out, HOST[0], 8080, Outcome::TimedOut),
        (out, HOST[0], 443, Outcome::Connected),
        (foe, HOST[0], 22, Outcome::TimedOut),
        (client, LAN[0], 80, Outcome::Connected),
        (out, LAN[0], 80, Outcome::TimedOut),
    ];
    for (from, to, port, expected) in tries {
        let wait = if expected == Outcome::Connected { PATIENCE } else { SILENCE };
        assert_eq!(lab.client.probe(Target::Tcp(port), from, to, wait), expected, "{port} from {from}");
    }
    for (port, expected, wait) in [(25, Outcome::Connected, PATIENCE), (26, Outcome::TimedOut, SILENCE)] {
        assert_eq!(lab.host.probe(Target::Tcp(port), HOST[0], CLIENT[0], wait), expected, "{port} from the host");
    }

    let done = lab.palisade("policy.yaml", &["metrics"]);

    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    assert_golden("live.prom", &stable(&lab, &done.stdout));
}

/// What it tells in a state, without what the table has counted.
fn state(lab: &Lab) -> (Vec<String>, String) {
    let done = lab.palisade("policy.yaml", &["metrics"]);
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let told = samples(lab, &done.stdout).into_iter().filter(|line| {
        let counted = ["_total", "_elements", "_name_", "_info", "_written_"];
        !counted.iter().any(|part| line.contains(part))
    });
    (told.collect(), done.stderr)
}

#[test]
fn what_is_not_known_is_left_out_with_the_reason_and_never_looks_well() {
    let lab = Lab::new();
    let policy = "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n";
    lab.write_policy("policy.yaml", policy);
    let nothing =
        ["palisade_active 0", "palisade_in_sync 0", "palisade_policy_valid 1", "palisade_confirmation_pending 0"];
    assert_eq!(state(&lab), (nothing.map(str::to_owned).to_vec(), String::new()), "nothing is loaded");
    let told = |in_sync: &str, valid: u8, more: &[&str]| {
        let mut lines =
            vec!["palisade_active 1".to_owned(), in_sync.to_owned(), format!("palisade_policy_valid {valid}")];
        lines.push("palisade_loaded_timestamp_seconds NOW".to_owned());
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        lines.retain(|line| !line.is_empty());
        lines
    };
    let pending = |waits: &'static str| [waits];

    lab.palisade("policy.yaml", &["apply", "--confirm", "600s"]).success();
    let waits = told("palisade_in_sync 1", 1, &pending("palisade_confirmation_pending 1"));
    assert_eq!(state(&lab), (waits, String::new()), "a change waits");
    lab.palisade("policy.yaml", &["confirm"]).success();
    lab.write_policy("policy.yaml", &policy.replace("22", "23"));
    let differs = told("palisade_in_sync 0", 1, &pending("palisade_confirmation_pending 0"));
    assert_eq!(state(&lab), (differs, String::new()), "an edit is not applied");

    lab.write_policy("policy.yaml", "version: 1\nservices: [\n");
    let broken = told("", 0, &pending("palisade_confirmation_pending 0"));
    let said = " WARN palisade_in_sync is left out: the policy has problems, see `palisade check`\n";
    assert_eq!(state(&lab), (broken, said.to_owned()), "the file is broken");
    lab.host.nft_load("delete table inet palisade");
    lab.palisade("policy.yaml", &["boot"]).success();
    let sources = ["last_good 1", "live 0", "lockdown 0", "policy 0", "policy_in_part 0", "previous 0", "waiting 0"];
    let sources = sources.map(|source| {
        let (name, value) = source.split_once(' ').expect("a name and a value");
        format!("palisade_boot_source{{source=\"{name}\"}} {value}")
    });
    let more: Vec<&str> =
        std::iter::once("palisade_confirmation_pending 0").chain(sources.iter().map(String::as_str)).collect();
    assert_eq!(state(&lab), (told("", 0, &more), said.to_owned()), "booted from the last good ruleset");

    let by_name = "version: 1\nservices: { ssh: { ports: 22/tcp, from: { dns: home.example } } }\n";
    lab.write_policy("policy.yaml", by_name);
    fs::write(lab.kept("names.json"), "damaged").expect("scratch is writable");
    let (lines, said) = state(&lab);
    assert!(!lines.iter().any(|line| line.contains("valid") || line.contains("in_sync")), "{lines:?}");
    assert!(
        said.contains("palisade_policy_valid is left out: ") && said.contains("names.json can't be used"),
        "{said}"
    );
}

/// A folder for files of node_exporter, and what is in it.
fn textfiles(lab: &Lab) -> PathBuf {
    let folder = lab.policy("textfiles");
    fs::create_dir_all(&folder).expect("scratch is writable");
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_file_is_readable_by_everybody_whatever_the_umask_and_whole_or_not_at_all_and_goes_with_disable() {
    let (lab, _echoes) = lab();
    let folder = textfiles(&lab);
    let file = folder.join("palisade.prom");
    let textfile = |umask: &str| {
        let line = format!("umask {umask}; exec \"$0\" --policy \"$1\" metrics --textfile \"$2\"");
        let mut command = lab.in_its_own_state("/bin/sh");
        command.args(["-c", &line, palisade()]).arg(lab.policy("policy.yaml")).arg(&folder);
        output(&mut command)
    };
    let told = textfile("0777").success();
    assert_eq!(told, format!("{} is written, 43 samples\n", file.display()));
    let about = fs::metadata(&file).expect("it was written");
    assert_eq!((about.mode() & 0o7777, names(&folder)), (0o644, vec!["palisade.prom".to_owned()]));
    let printed = lab.palisade("policy.yaml", &["metrics"]).stdout;
    let written = fs::read_to_string(&file).expect("it is readable");
    assert_eq!(samples(&lab, &written), samples(&lab, &printed));

    // What was there is another's no more: a link is replaced and not followed.
    let other = lab.policy("other");
    fs::write(&other, "another's").expect("scratch is writable");
    fs::remove_file(&file).and_then(|()| symlink(&other, &file)).expect("scratch is writable");
    let refused = textfile("0022");
    let said = format!("error: can't write {}: it is there, and is no regular file\n", file.display());
    assert_eq!((refused.status, refused.stderr), (Some(1), said));
    assert_eq!(fs::read_to_string(&other).expect("it is there"), "another's");
    fs::remove_file(&file).expect("scratch is writable");
    textfile("0022").success();

    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(names(&folder), Vec::<String>::new());
    // The timer goes on: it tells that nothing is loaded.
    textfile("0022").success();
    let active = fs::read_to_string(&file).expect("it was written");
    assert!(active.contains("\npalisade_active 0\n"), "{active}");
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(names(&folder), Vec::<String>::new(), "also if nothing was loaded");
}

#[test]
fn a_folder_that_is_missing_and_a_kernel_that_can_not_be_asked_are_errors_and_the_file_stays() {
    let (lab, _echoes) = lab();
    let folder = textfiles(&lab);
    let name = folder.display().to_string();
    lab.palisade("policy.yaml", &["metrics", "--textfile", &name]).success();
    let before = fs::read_to_string(folder.join("palisade.prom")).expect("it was written");
    let line = "setpriv --bounding-set=-net_admin \"$0\" --policy \"$1\" metrics --textfile \"$2\"";
    let mut command = lab.in_its_own_state("/bin/sh");
    command.args(["-c", line, palisade()]).arg(lab.policy("policy.yaml")).arg(&folder);
    let refused = output(&mut command);
    assert_eq!(refused.status, Some(1));
    assert!(refused.stderr.contains("`palisade metrics` needs the capability CAP_NET_ADMIN"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(folder.join("palisade.prom")).expect("it is there"), before);

    let missing = lab.policy("missing").display().to_string();
    let done = lab.palisade("policy.yaml", &["metrics", "--textfile", &missing]);
    let said = format!(
        "error: there is no folder {missing}: on Debian and Ubuntu `apt-get install prometheus-node-exporter` brings \
         /var/lib/prometheus/node-exporter; elsewhere `mkdir -p -m 0755 {missing}`, and start node_exporter with \
         `--collector.textfile.directory={missing}`\n"
    );
    assert_eq!((done.status, done.stdout.as_str(), done.stderr), (Some(1), "", said));
}
