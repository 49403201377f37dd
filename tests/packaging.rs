//! What the package brings besides the program.
#![allow(missing_docs)]

use clap::Parser;
use palisade::apart::Limits;
use palisade::cli::{Cli, Command};
use palisade::facts::{Facts, Kernel, ListFile, ProtocolNames, ServiceNames};
use palisade::policy::{AddressList, parse};
use palisade::resolve::{Resolved, resolve};
use std::collections::BTreeMap;
use std::time::Duration;

const UNITS: [&str; 2] =
    [include_str!("../packaging/palisade.service"), include_str!("../packaging/palisade-unhardened.service")];
const POLICY: &str = include_str!("../packaging/policy.yaml");

#[track_caller]
fn resolved(text: &str) -> Resolved {
    let list = ListFile { source: 1, path: "blocklist.txt".into(), list: Ok(AddressList::of_text(1, "192.0.2.7\n")) };
    let facts = Facts {
        services: Ok(ServiceNames::parse("")),
        protocols: Ok(ProtocolNames::parse("")),
        files: BTreeMap::from([("blocklist.txt".to_owned(), list)]),
        kernel: Kernel::NEWEST,
        ..Facts::default()
    };
    let parsed = parse(text, "policy.yaml");
    assert_eq!(parsed.problems, [], "{text}");
    resolve(&parsed.policy.expect("a policy"), &facts).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// A line of which the comment is an example: a key, and a value or nothing.
fn uncommented(line: &str) -> String {
    let example = line.split_once("# ").filter(|(before, rest)| {
        let key = rest.trim_start().split_once(':').map(|(key, _)| key).unwrap_or_default();
        before.trim().is_empty() && !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    example.map_or_else(|| line.to_owned(), |(before, rest)| format!("{before}{rest}"))
}

/// What a policy's services are, without the lines that they stand in.
fn services(policy: &Resolved) -> Vec<String> {
    let services = policy.services.iter();
    services.map(|(name, service)| format!("{name}: {} from any: {}", ports(service), service.from.any)).collect()
}

fn ports(service: &palisade::resolve::Service) -> String {
    service.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_packaged_policy_admits_ssh_from_everywhere_and_nothing_else() {
    let policy = resolved(POLICY);

    assert_eq!(services(&policy), ["ssh: 22/tcp from any: true"]);
    assert_eq!(policy.defaults, resolved("version: 1\n").defaults);
}

#[test]
fn what_is_commented_out_in_the_packaged_policy_is_valid_and_says_the_defaults() {
    let text: String = POLICY.lines().map(|line| uncommented(line) + "\n").collect();

    let policy = resolved(&text);

    assert_eq!(
        services(&policy),
        [
            "dashboard: 9000/tcp from any: false",
            "ssh: 22/tcp from any: true",
            "web: 80/tcp 443/tcp 443/udp from any: true"
        ]
    );
    assert_eq!(policy.groups.keys().collect::<Vec<_>>(), ["scanners", "trusted"], "those that are used");
    let defaults = resolved("version: 1\n");
    assert_eq!(policy.defaults, defaults.defaults);
    assert_eq!(
        policy.log_denied.map(|rate| (rate.count, rate.unit)),
        defaults.log_denied.map(|rate| (rate.count, rate.unit))
    );
}

/// A boot that waits for another writer first, and then for the whole time that reading the policy may take, ends before
/// systemd ends it.
#[test]
fn the_units_give_a_boot_more_time_than_it_takes_at_most() {
    let waits = Duration::from_secs(15);
    let cli = Cli::try_parse_from(["palisade", "boot"]).expect("it is a command");
    let Command::Boot(boot) = cli.command else { panic!("it is another command") };
    let takes = waits + Limits::from(&boot.limits).time;
    for unit in UNITS {
        let given = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).expect("a time");
        let given = humantime::parse_duration(given).expect("a time");

        assert!(given >= takes + Duration::from_secs(10), "{given:?} for {takes:?}");
    }
}

/// What the units run, in any of their lines.
#[test]
fn each_command_of_a_unit_is_one_that_palisade_understands_and_each_timer_has_its_unit() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");
    let entries = std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be read").path());
    let mut units: Vec<_> = entries.filter(|path| path.is_file()).collect();
    units.sort();
    let mut run = Vec::new();
    for path in units {
        let text = std::fs::read_to_string(&path).expect("a unit is text");
        for line in text.lines() {
            let line = line.strip_prefix("Exec").and_then(|line| line.split_once('=')).map(|(_, line)| line);
            let Some((_, arguments)) = line.and_then(|line| line.split_once("/usr/sbin/palisade ")) else { continue };
            let parsed = Cli::try_parse_from(std::iter::once("palisade").chain(arguments.split(' ')));
            assert!(parsed.is_ok(), "{}: {arguments}", path.display());
            run.push(arguments.to_owned());
        }
        if path.extension().is_some_and(|extension| extension == "timer") {
            assert!(path.with_extension("service").exists(), "{}", path.display());
        }
    }
    let metrics = "--quiet metrics --textfile /var/lib/prometheus/node-exporter";
    assert_eq!(run, ["doctor --journal", metrics, "refresh", "boot", "boot", "apply"]);
}
