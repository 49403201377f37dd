//! How long each step of the pipeline takes, from the policy's text to the bytes for the kernel and back.
//!
//! Three policies: of three addresses, as in tests/policies; 10,000 services for 100,000 sources; and a file of a million addresses.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use palisade::compile::compile;
use palisade::delta::delta;
use palisade::facts::{Facts, ListFile};
use palisade::netlink::{Handles, encode, from_bytes, to_bytes};
use palisade::policy::{AddressList, Policy, parse};
use palisade::resolve::{Resolved, resolve};
use palisade::ruleset::{Table, TableId};
use std::fmt::Write;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

const THREE: &str = include_str!("../tests/policies/three-addresses.yaml");

/// 10,000 services, each with ten sources of its own.
fn services() -> String {
    let mut text = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n".to_owned();
    for service in 0..10_000_u32 {
        let sources: Vec<String> = (0..10).map(|n| address(service * 10 + n).to_string()).collect();
        let port = 10_000 + service;
        let _ = writeln!(text, "  s{service}: {{ ports: {port}/tcp, from: [{}] }}", sources.join(", "));
    }
    text
}

/// A policy with one file, and what stands in it: a million addresses.
fn addresses() -> (String, String) {
    let policy =
        "version: 1\ngroups:\n  many: [{ file: many.txt }]\nservices:\n  ssh: { ports: 22/tcp, from: many }\n";
    let list = (0..1_000_000).fold(String::new(), |mut list, n| {
        let _ = writeln!(list, "{}", address(n));
        list
    });
    (policy.to_owned(), list)
}

/// Addresses without order, each of them once: the factor is odd.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0100_0000 + number.wrapping_mul(0x9e37_79b1) % 0xd000_0000)
}

fn parsed(text: &str) -> Policy {
    let parsed = parse(text, "policy.yaml");
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.policy.expect("a policy")
}

fn resolved(policy: &Policy, facts: &Facts) -> Resolved {
    resolve(policy, facts).expect("a policy without problems")
}

fn table(resolved: &Resolved) -> Table {
    compile(resolved)
}

/// The table with a rule less in a chain and an element less in a set, as far as it has them.
fn changed(table: &Table) -> Table {
    let mut changed = table.clone();
    if let Some(chain) = changed.chains.get_mut("service-ssh") {
        chain.rules.pop();
    }
    changed
}

fn steps(criterion: &mut Criterion, name: &str, text: &str, file: Option<&str>) {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let id = TableId::palisade();
    let facts = |text: &str| {
        let list = Ok(AddressList::of_text(1, text));
        let file = ListFile { source: 1, path: "many.txt".into(), list };
        Facts { files: [("many.txt".to_owned(), file)].into(), ..Facts::default() }
    };

    group.bench_function("parse", |bencher| bencher.iter(|| (parsed(black_box(text)), file.map(facts))));
    let (policy, facts) = (parsed(text), file.map(facts).unwrap_or_default());
    group.bench_function("resolve", |bencher| bencher.iter(|| resolved(black_box(&policy), &facts)));
    let resolved = resolved(&policy, &facts);
    group.bench_function("compile", |bencher| bencher.iter(|| table(black_box(&resolved))));
    let desired = table(&resolved);
    let live = changed(&desired);
    group.bench_function("delta", |bencher| bencher.iter(|| delta(&id, Some(black_box(&live)), Some(&desired))));
    let creation = delta(&id, None, Some(&desired));
    let handles = Handles::default();
    group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&creation), &handles, 1)));
    let bytes = to_bytes(&id, &desired).expect("what palisade made");
    group.bench_function("decode", |bencher| bencher.iter(|| from_bytes(&id, black_box(&bytes))));
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    steps(criterion, "three addresses", THREE, None);
    steps(criterion, "10,000 services", &services(), None);
    let (policy, list) = addresses();
    steps(criterion, "1,000,000 addresses", &policy, Some(&list));
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
