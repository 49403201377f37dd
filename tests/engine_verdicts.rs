//! A published port obeys the same line as the host's: beside real engines, with each way of publishing.
//!
//! Each test compares its column of the table in `docs/containers.md`; `UPDATE_GOLDEN=1` writes it.
#![allow(missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;
use support::engine::CONTAINERS;
use support::engine::scene::{Scene, names};
use support::engine::setting::Setting;
use support::lab::{CLIENT, HOST};
use support::probe::{SILENCE, talks};
use support::verdict_table::ENGINES;
use support::verdicts::*;

const NOBODY_TRUSTED: &str = "version: 1
groups: { trusted: [] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
";

fn everything_holds(setting: Setting) {
    let mut scene = Scene::new(setting);
    let later = SECTIONS.iter().filter(|section| section.title != CAME_LATER.title).copied();
    scene.baseline(&later.collect::<Vec<_>>(), &names());
    let seen_without = scene.seen_from_outside();
    let masqueraded = if setting.rules { HOST[0] } else { scene.engine.container("same").addresses[0] };
    if seen_without[0] != Some(masqueraded) {
        scene.says("without palisade", vec![format!("containers come from {seen_without:?}")]);
    }

    scene.palisade(POLICY, &["check"]);
    scene.apply(POLICY);
    scene.palisade(POLICY, &["diff"]);
    scene.palisade(POLICY, &["status"]);
    scene.holds("applied", &[FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST], &names());
    let seen_with = scene.seen_from_outside();
    if seen_with != seen_without {
        scene.says("applied", vec![format!("containers came from {seen_without:?}, come from {seen_with:?}")]);
    }
    for section in [OTHER_PORT, CONTAINERS_PORT, FROM_CONTAINERS, HOST_ALLOWED, OUTGOING_DENIED] {
        scene.apply(section.policy);
        scene.holds(section.title, &[section], &names());
    }

    scene.apply(POLICY);
    let dashboard = SocketAddr::new(HOST[0], 9000);
    match scene.lab.client.connect(CLIENT[0], dashboard, Duration::from_secs(2)) {
        Err(outcome) => scene.says("applied", vec![format!("no connection to hold: {outcome:?}")]),
        Ok(mut stream) => {
            // It is warned that nobody can reach the dashboard.
            scene.palisade(NOBODY_TRUSTED, &["apply"]);
            if talks(&mut stream, SILENCE) {
                scene.says("a source removed", vec!["its connection lives on".to_owned()]);
            }
            scene.apply(POLICY);
        }
    }

    containers_come_and_go(&mut scene);
    the_daemon_comes_and_goes(&mut scene);
    scene.palisade(POLICY, &["disable", "--yes"]);
    scene.end(ENGINES);
}

/// Containers are restarted and made anew, networks are made, while the policy stays loaded.
fn containers_come_and_go(scene: &mut Scene) {
    let at_once = if scene.engine.setting.podman { "-t 0" } else { "--time 0" };
    scene.engine.docker(&format!("restart {at_once} same"));
    scene.holds("restarted", &[FROM_OUTSIDE, TO_THEIR_HOST], &names());

    let before = scene.engine.container("other").addresses;
    scene.engine.docker("rm -f other");
    scene.engine.run_container("filler", "", "80");
    let address = if scene.engine.setting.podman { "--ip 10.88.0.77" } else { "" };
    scene.engine.run_container("other", &format!("-p 9010:80 {address}"), "80");
    if scene.engine.container("other").addresses == before {
        scene.says("recreated", vec![format!("the address is the same, {before:?}")]);
    }
    scene.holds("recreated", &[FROM_OUTSIDE, TO_THEIR_HOST], &names());

    scene.engine.docker("network create later-net");
    scene.engine.run_container("later", "--network later-net -p 9950:9000", "9000");
    let with_later = [names(), vec!["later"]].concat();
    scene.holds("a network made", &[FROM_OUTSIDE], &with_later);
    scene.palisade(POLICY, &["disable", "--yes"]);
    scene.baseline(&[CAME_LATER], &with_later);
    scene.engine.docker("rm -f later");
    scene.engine.docker("network rm later-net");
    scene.apply(POLICY);
    scene.engine.docker("network create later-net");
    scene.engine.run_container("later", "--network later-net -p 9950:9000", "9000");
    scene.holds("a network made", &[CAME_LATER], &with_later);
    scene.engine.docker("rm -f filler later");
    scene.engine.docker("network rm later-net");
}

/// The daemon stops and starts, with its containers and without; for Podman, which has none, the containers do.
fn the_daemon_comes_and_goes(scene: &mut Scene) {
    let all = [FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST];
    if scene.engine.setting.podman {
        scene.engine.docker("stop -t 0 -a");
    } else {
        scene.engine.stop_daemon();
    }
    scene.holds("all stopped", &[AWAY], &[]);
    scene.palisade_while_the_daemon_starts([POLICY, OTHER_PORT.policy]);
    for (name, ..) in CONTAINERS {
        scene.engine.docker(&format!("start {name}"));
    }
    scene.holds("started", &all, &names());
    if scene.engine.setting.podman {
        return;
    }

    let rules = scene.engine.rules_of_others();
    scene.engine.stop_daemon();
    scene.holds("the daemon away, containers living", &[AWAY_LIVING], &[]);
    scene.palisade_while_the_daemon_starts([POLICY, OTHER_PORT.policy]);
    scene.holds("live-restored", &all, &names());
    let restored = scene.engine.rules_of_others();
    if sorted(&restored) != sorted(&rules) {
        scene.says("live-restored", vec![format!("the engine's rules differ:\n{rules}\n---\n{restored}")]);
    }
    for (name, ..) in CONTAINERS {
        scene.engine.docker(&format!("rm -f {name}"));
    }
}

/// The engine does not restore in order.
fn sorted(rules: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = rules.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn beside_docker_20_10_with_its_proxy() {
    everything_holds(Setting::docker("bookworm", true));
}

#[test]
#[ignore = "long"]
fn beside_docker_28_5_with_its_proxy() {
    everything_holds(Setting::docker("sid", true));
}

#[test]
#[ignore = "long"]
fn beside_docker_20_10_without_its_proxy() {
    everything_holds(Setting::docker("bookworm", false));
}

#[test]
#[ignore = "long"]
fn beside_docker_20_10_with_legacy_iptables() {
    everything_holds(Setting::docker("bookworm", true).legacy());
}

#[test]
#[ignore = "long"]
fn beside_docker_26_1_with_its_proxy() {
    everything_holds(Setting::docker("trixie", true));
}

#[test]
#[ignore = "long"]
fn beside_docker_26_1_without_its_proxy() {
    everything_holds(Setting::docker("trixie", false));
}

// Without its proxy a container's call to its host's published port is translated, and passes forward.
#[test]
fn beside_docker_28_5_without_its_proxy() {
    everything_holds(Setting::docker("sid", false));
}

#[test]
#[ignore = "long"]
fn beside_podman_4_3() {
    everything_holds(Setting::podman());
}

#[test]
#[ignore = "long"]
fn beside_docker_20_10_that_may_not_load_rules() {
    everything_holds(Setting::docker("bookworm", true).without_rules());
}

#[test]
#[ignore = "long"]
fn beside_docker_28_5_that_may_not_load_rules() {
    everything_holds(Setting::docker("sid", true).without_rules());
}
