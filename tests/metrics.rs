//! What `palisade metrics` prints, and what is made for it: the manual, the alerts and the dashboard.
#![allow(missing_docs)]

use palisade::metrics::{self, Kind, METRICS, Metric, Samples};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const RULES: &str = include_str!("../packaging/prometheus/palisade.rules.yml");
const RULES_TEST: &str = include_str!("../packaging/prometheus/palisade.rules.test.yml");
const DASHBOARD: &str = include_str!("../packaging/prometheus/palisade-dashboard.json");
/// Labels that Prometheus itself gives.
const TAKEN: [&str; 4] = ["job", "instance", "le", "quantile"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn updates() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Some of each form: without labels, with one, with two, and with what has to be escaped.
fn some() -> Samples {
    let mut samples = Samples::default();
    samples.add(&metrics::WRITTEN, [], 1_780_000_000);
    samples.add(&metrics::INFO, ["0.1.0", "/etc/\"odd\"\\\u{1b}[31m/policy.yaml"], 1);
    samples.add(&metrics::SERVICE_ADMITTED_PACKETS, ["web"], 9_007_199_254_740_993);
    samples.add(&metrics::SERVICE_ADMITTED_PACKETS, ["ssh"], 42);
    samples.add(&metrics::RULE_PACKETS, ["outgoing", "mail"], 1);
    samples.add(&metrics::RULE_PACKETS, ["forward", "mail"], 2);
    samples.add(&metrics::ACTIVE, [], 0);
    samples.add(&metrics::ACTIVE, [], 1);
    samples.leave_out(&metrics::IN_SYNC, "the policy has problems, see `palisade check`");
    samples
}

#[test]
fn the_text_has_each_family_in_one_piece_with_its_help_and_its_type() {
    let path = root().join("tests/metrics/some.prom");
    let text = some().text();
    if updates() {
        fs::write(&path, &text).expect("the golden can be written");
    }
    assert_eq!(text, fs::read_to_string(path).unwrap_or_default());
    assert_eq!(some().left_out(), ["palisade_in_sync is left out: the policy has problems, see `palisade check`"]);
    assert_eq!((some().len(), some().is_empty(), Samples::default().text().as_str()), (7, false, ""));
}

/// A sample as it is read: its name, its labels, and its value.
type Read = (String, BTreeMap<String, String>, u64);

/// Reads what stands in the quotes of a label. Gives what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\n' => return None,
            '\\' => value.push(match characters.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Reads a line that is no comment, as Prometheus does.
fn sample(line: &str) -> Option<Read> {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, behind) = value(quoted)?;
            labels.insert(label.to_owned(), value).is_none().then_some(())?;
            match behind.strip_prefix('}') {
                Some(behind) => break rest = behind,
                None => rest = behind.strip_prefix(',')?,
            }
        }
    }
    Some((name.to_owned(), labels, rest.strip_prefix(' ')?.parse().ok()?))
}

/// Reads a text. `None` if Prometheus would refuse it, or a family is in two pieces.
fn read(text: &str) -> Option<Vec<Read>> {
    let (mut samples, mut families) = (Vec::new(), Vec::<&str>::new());
    let mut lines = text.strip_suffix('\n').unwrap_or(text).lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ')?;
            let typed = lines.next()?.strip_prefix("# TYPE ")?.strip_prefix(name)?;
            (!families.contains(&name) && [" gauge", " counter"].contains(&typed)).then(|| families.push(name))?;
            continue;
        }
        let read = sample(line)?;
        (families.last() == Some(&read.0.as_str()) && !samples.contains(&read)).then_some(())?;
        samples.push(read);
    }
    Some(samples)
}

proptest! {
    #[test]
    fn whatever_the_names_are_the_text_is_read_back_as_it_was_meant_and_no_sample_is_there_twice(
        services in prop::collection::vec((any::<String>(), any::<u64>()), 0..8),
        rules in prop::collection::vec((any::<String>(), any::<String>(), any::<u64>()), 0..8),
    ) {
        let mut samples = Samples::default();
        let mut meant = BTreeMap::new();
        let shown = |text: &str| palisade::printable::printable(text).into_owned();
        for (service, count) in &services {
            samples.add(&metrics::SERVICE_ADMITTED_PACKETS, [service], *count);
            meant.insert(("palisade_service_admitted_packets_total", vec![("service", shown(service))]), *count);
        }
        for (section, rule, count) in &rules {
            samples.add(&metrics::RULE_PACKETS, [section, rule], *count);
            let labels = vec![("section", shown(section)), ("rule", shown(rule))];
            meant.insert(("palisade_rule_packets_total", labels), *count);
        }

        let mut read = read(&samples.text()).expect("Prometheus reads it");

        let mut meant: Vec<Read> = meant
            .into_iter()
            .map(|((name, labels), count)| {
                let labels = labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
                (name.to_owned(), labels, count)
            })
            .collect();
        meant.sort();
        read.sort();
        prop_assert_eq!(read, meant);
    }
}

/// What is wrong with a metric by the conventions of Prometheus.
fn faults(metric: &Metric) -> Vec<&'static str> {
    let Metric { name, kind, help, labels, .. } = metric;
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let distinct = labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
    let is_fine = |label: &&&str| is_word(label) && !TAKEN.contains(*label);
    [
        ("its name", name.starts_with("palisade_") && is_word(name)),
        ("its end", name.ends_with("_total") == (*kind == Kind::Counter)),
        ("its help", help.ends_with('.') && !help.contains('\n') && help.starts_with(char::is_uppercase)),
        ("its labels", distinct && labels.iter().filter(is_fine).count() == labels.len()),
    ]
    .into_iter()
    .filter_map(|(what, fine)| (!fine).then_some(what))
    .collect()
}

#[test]
fn each_metric_follows_the_conventions_of_prometheus() {
    let wrong: Vec<_> = METRICS.iter().map(|metric| (metric.name, faults(metric))).collect();
    assert_eq!(wrong, METRICS.iter().map(|metric| (metric.name, vec![])).collect::<Vec<_>>());
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "two have one name");
}

/// The table in docs/metrics.md is made from the list. `UPDATE_GOLDEN=1` writes it.
#[test]
fn the_manual_lists_each_metric() {
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let left_out = metric.left_out.unwrap_or("never");
        format!(
            "| `{}` | {} | {} | {} | {left_out} |\n",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        )
    };
    let table: String = METRICS.iter().map(row).collect();
    let head = "| metric | type | labels | what it says | left out |\n|---|---|---|---|---|\n";
    let path = root().join("docs/metrics.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let (before, rest) = page.split_once(head).expect("the table's head");
    let end = rest.find("\nThe values of labels:").expect("the line behind the table");
    if updates() {
        fs::write(path, format!("{before}{head}{table}{}", &rest[end..])).expect("the page can be written");
    }
    assert_eq!(&rest[..end], table);
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let ends = |rest: &str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
    text.match_indices("palisade_").map(|(at, _)| &text[at..at + ends(&text[at..])]).collect()
}

#[test]
fn the_alerts_and_the_dashboard_name_metrics_that_exist() {
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for text in [RULES, RULES_TEST, DASHBOARD] {
        let unknown: Vec<_> = named(text).difference(&known).copied().collect::<Vec<_>>();
        assert_eq!((unknown, named(text).len() > 5), (vec![], true));
    }
}

#[test]
fn each_alert_is_in_the_manual_and_has_a_machine_that_it_is_for_and_one_that_it_is_not_for() {
    let alerts: Vec<&str> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    let tried: Vec<&str> = RULES_TEST.split("eval_time:").skip(1).collect();
    let page = include_str!("../docs/metrics.md");
    for alert in alerts {
        let of = tried.iter().filter(|one| one.contains(&format!("alertname: {alert}")));
        let (silent, loud): (Vec<&str>, Vec<&str>) = of.partition(|one| one.contains("exp_alerts: []"));
        assert!(!silent.is_empty() && !loud.is_empty(), "{alert}: {silent:?} {loud:?}");
        assert!(page.contains(&format!("| `{alert}` |")), "{alert}");
    }
}

#[test]
fn the_dashboard_has_the_classic_form_and_asks_which_prometheus() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    assert_eq!((&dashboard["id"], &dashboard["uid"]), (&Value::Null, &Value::from("palisade")));
    let variables = dashboard["templating"]["list"].as_array().expect("a list").iter();
    let variables: Vec<&str> = variables.filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("a list") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
        assert!(x + w <= 24, "{title}");
        let apart = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).all(|cell| cells.insert(cell));
        assert!(apart, "{title} lies over another panel");
        for target in panel["targets"].as_array().expect("a list") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expr = target["expr"].as_str().expect("an expression");
            assert!(expr.contains("instance=~\"$instance\"") && !named(expr).is_empty(), "{title}: {expr}");
        }
    }
    assert!(ids.len() > 10, "{ids:?}");
}
