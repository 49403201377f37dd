//! What Prometheus' own programs make of the metrics, the alerts and the file. Needs root.
//!
//! The programs are where scripts/test puts them, below target/clients.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::lab::Lab;
use support::namespace::{Output, output};

const POLICY: &str = "version: 1
groups: { owner: [203.0.113.20, { temporary: 12h }, { dns: home.example.org }] }
services:
  ssh: { ports: 22/tcp, from: any, limit: 6/minute }
  dashboard: { ports: 9000/tcp, from: owner }
  bad: { ports: 8080/tcp, from: any, action: reject }
  photos: { ports: 443/tcp, from: any, forward_to: \"10.77.0.2:8443\" }
nat:
  inner: { from: { interface: eth0 }, to: { interface: eth1 } }
";
/// Where node_exporter listens, on the loopback of the lab's host.
const EXPORTER: &str = "127.0.0.1:9100";
/// How long it may take to start.
const STARTS: Duration = Duration::from_secs(20);

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/prometheus/usr/bin").join(name);
    assert!(path.exists(), "there is no {}: `scripts/test kernel` unpacks it", path.display());
    path
}

fn alerts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus").join(name)
}

/// A lab whose host has loaded the policy, with a boot behind it and a check.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.hosts("203.0.113.70 home.example.org\n");
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["boot"]).success();
    lab.palisade("policy.yaml", &["doctor", "--journal"]);
    lab
}

/// What promtool says, with some input.
fn promtool(arguments: &[&str], input: &str) -> Output {
    let file = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    fs::write(file.path(), input).expect("it is this test's");
    let input = fs::File::open(file.path()).expect("it was written");
    output(Command::new(program("promtool")).args(arguments).stdin(Stdio::from(input)))
}

#[test]
fn promtool_has_nothing_to_say_of_the_metrics_whatever_the_policy() {
    let lab = lab();
    let full = lab.palisade("policy.yaml", &["metrics"]).success();
    assert_eq!(full.lines().filter(|line| line.starts_with("# TYPE ")).count(), 25, "each metric is there: {full}");
    lab.write_policy("policy.yaml", "version: 1\nservices: [\n");
    let broken = lab.palisade("policy.yaml", &["metrics"]).success();
    for text in [full, broken] {
        let done = promtool(&["check", "metrics"], &text);
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (Some(0), "", ""), "{text}");
    }
    let wrong = promtool(&["check", "metrics"], "# TYPE palisade_active_total gauge\npalisade_active_total 1\n");
    assert_eq!(wrong.status, Some(3), "it does look: {}", wrong.stderr);
}

#[test]
fn each_alert_is_valid_and_fires_when_it_should_and_not_otherwise() {
    let rules = alerts("palisade.rules.yml").display().to_string();
    let done = promtool(&["check", "rules", &rules], "");
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    assert!(done.stdout.contains("SUCCESS: 9 rules found"), "{}", done.stdout);

    let tests = alerts("palisade.rules.test.yml").display().to_string();
    let done = promtool(&["test", "rules", &tests], "");
    assert_eq!(done.status, Some(0), "{}{}", done.stdout, done.stderr);
}

/// An alert that always fires, or never, fails its tests: so they do try it.
#[test]
fn an_alert_with_another_bound_fails_its_tests() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let rules = fs::read_to_string(alerts("palisade.rules.yml")).expect("it is there");
    let tests = folder.path().join("palisade.rules.test.yml");
    fs::copy(alerts("palisade.rules.test.yml"), &tests).expect("it is there");
    let expressions = [
        ("expr: palisade_active == 0", "expr: palisade_active >= 0"),
        (" and on (instance) palisade_active == 1", ""),
        ("expr: palisade_policy_valid == 0", "expr: palisade_policy_valid == 2"),
        ("{source!=\"policy\"} == 1", " == 1"),
        ("palisade_metrics_written_timestamp_seconds > 300", "palisade_metrics_written_timestamp_seconds > 3000"),
        ("[10m])) > 1\n", "[10m])) > 0\n"),
        ("> 10 * sum", "> 0 * sum"),
        ("last_success_timestamp_seconds > 3600", "last_success_timestamp_seconds > 36000"),
        ("severity=~\"error|warning\"", "severity=~\".*\""),
        ("> 3 * 3600", "> 30 * 3600"),
        (
            "for: 10m\n        labels: { severity: warning }\n        annotations:\n          summary: The kernel",
            "for: 1m\n        labels: { severity: warning }\n        annotations:\n          summary: The kernel",
        ),
    ];
    for (right, wrong) in expressions {
        assert!(rules.contains(right), "{right}");
        fs::write(folder.path().join("palisade.rules.yml"), rules.replace(right, wrong)).expect("it is this test's");
        let done = promtool(&["test", "rules", &tests.display().to_string()], "");
        assert_eq!(done.status, Some(1), "{right}: {}{}", done.stdout, done.stderr);
    }
}

/// A node_exporter that reads one folder, and nothing else.
struct Exporter(Child);

impl Exporter {
    fn reading(lab: &Lab, folder: &Path) -> Self {
        let mut command = lab.host.command(&program("prometheus-node-exporter").to_string_lossy());
        command.args(["--collector.disable-defaults", "--collector.textfile"]);
        command.arg(format!("--collector.textfile.directory={}", folder.display()));
        command.arg(format!("--web.listen-address={EXPORTER}")).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it was unpacked"))
    }

    /// What it exports, without its own metrics.
    fn exported(&self, lab: &Lab) -> Vec<String> {
        let begun = Instant::now();
        let text = loop {
            let asked = lab.host.run(|| -> std::io::Result<String> {
                let mut stream = TcpStream::connect(EXPORTER)?;
                stream.set_read_timeout(Some(STARTS))?;
                stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            });
            match asked {
                Ok(answer) => break answer,
                Err(error) => assert!(begun.elapsed() < STARTS, "node_exporter does not answer: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let told = ["palisade_", "node_textfile_", "# HELP palisade_", "# TYPE palisade_"];
        text.lines().filter(|line| told.iter().any(|begin| line.starts_with(begin))).map(str::to_owned).collect()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Numbers as the exporter prints them, large ones with an exponent.
fn parsed(lines: impl IntoIterator<Item = String>) -> Vec<(String, Option<f64>)> {
    let split = |line: String| match line.rsplit_once(' ') {
        Some((name, value)) if !line.starts_with('#') => (sorted(name), value.parse().ok()),
        _ => (line, None),
    };
    let mut lines: Vec<_> = lines.into_iter().map(split).collect();
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines
}

/// A sample's name with its labels in the order of the alphabet, as the exporter has them.
fn sorted(name: &str) -> String {
    let Some((name, labels)) = name.trim_end_matches('}').split_once('{') else { return name.to_owned() };
    let mut labels: Vec<&str> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

#[test]
fn node_exporter_reads_the_file_whole_and_tells_every_sample_with_its_help_and_its_type() {
    let lab = lab();
    let folder = lab.policy("textfiles");
    fs::create_dir(&folder).expect("scratch is writable");
    let file = folder.join("palisade.prom");
    // What a writer that was killed has left is none of the exporter's.
    fs::write(folder.join(".palisade.prom.palisade-1"), "palisade_active 7\nhalf a li").expect("scratch is writable");
    lab.palisade("policy.yaml", &["metrics", "--textfile", &folder.display().to_string()]).success();
    let exporter = Exporter::reading(&lab, &folder);

    let (told, own): (Vec<String>, Vec<String>) =
        exporter.exported(&lab).into_iter().partition(|line| !line.starts_with("node_textfile_"));

    let written = fs::read_to_string(&file).expect("it was written");
    assert_eq!(parsed(told), parsed(written.lines().map(str::to_owned)));
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own[0].starts_with(&format!("node_textfile_mtime_seconds{{file=\"{}\"}} ", file.display())), "{own:?}");
    assert_eq!(own[1], "node_textfile_scrape_error 0");

    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(exporter.exported(&lab), ["node_textfile_scrape_error 0"]);
}
