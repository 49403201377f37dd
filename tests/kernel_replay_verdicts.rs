//! The verdicts of `docs/containers.md` beside Docker 29.7, which no Debian has: its recorded rules, with namespaces in the
//! place of its containers. `UPDATE_GOLDEN=1` writes the columns.

mod support;

use support::recording::Recording;
use support::replay::Replay;
use support::rows::{Outcomes, Rows};
use support::verdict_table::{Column, ENGINES};
use support::verdicts::*;

fn every_verdict_holds(recording: &str, title: &str) {
    let mut replay = Replay::new(Recording::read(recording));
    for name in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
        replay.lab.host.sysctl(name, "1");
    }
    replay.add_network("br-abcdef012345");
    // The daemon that comes and goes is not there.
    let sections: Vec<Section> =
        SECTIONS.into_iter().filter(|section| ![AWAY.title, AWAY_LIVING.title].contains(&section.title)).collect();
    let mut column = Column::default();
    let mut broken: Vec<String> = Vec::new();
    let without: Vec<Outcomes> = sections.iter().map(|section| Rows::new(section.rows).without(&replay)).collect();

    for (section, without) in sections.iter().zip(&without) {
        let rows = Rows::new(section.rows);
        broken.extend(rows.not_as_expected_without(true, without));
        replay.lab.write_policy("policy.yaml", section.policy);
        replay.lab.palisade("policy.yaml", apply(section.policy)).success();
        replay.lab.forget_datagrams();
        let with = rows.with(&replay);
        broken.extend(rows.broken(without, &with));
        column.add(section, without, &with);
    }

    broken.extend(ENGINES.compare(title, &column));
    assert!(broken.is_empty(), "{} beside {recording}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn beside_docker_29_7_with_iptables() {
    every_verdict_holds("docker-29.7-iptables", "29.7 iptables");
}

#[test]
fn beside_docker_29_7_with_nftables() {
    every_verdict_holds("docker-29.7-nftables", "29.7 nftables");
}
