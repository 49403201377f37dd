//! A published port obeys the same line as the host's: beside real engines, with each way of publishing.
#![allow(missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;
use support::engine::CONTAINERS;
use support::engine::report;
use support::engine::scene::{Scene, names};
use support::engine::setting::Setting;
use support::engine::verdicts::Probe;
use support::lab::{CLIENT, HOST};
use support::probe::{Outcome, Target, talks};

const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9, \"2001:db8::9\"] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
";
const NOBODY_TRUSTED: &str = "version: 1
groups: { trusted: [] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
";
const OTHER_PORT: &str = "version: 1\nservices: { other: { ports: 9010/tcp, from: any } }\n";
const CONTAINERS_PORT: &str = "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n";

/// What README.md admits, as long as it is so.
const CONNECTIONS_OUTLIVE_THEIR_LINE: bool = true;

/// From outside to what containers publish, with 22 open to all and 9000 to the trusted.
const FROM_OUTSIDE: &str = "
    allowed open  22/tcp                                       from trusted out to host over v4 v6
    allowed open  9000/tcp                                     from trusted to host over v4
    same    proxy 9000/tcp                                     from trusted to host over v6
    denied  open  9000/tcp                                     from out to host over v4
    denied  proxy 9000/tcp                                     from out to host over v6
    denied  open  9010/tcp 9100/tcp 9301/tcp 9302/tcp 9303/tcp from trusted out to host over v4
    denied  proxy 9010/tcp 9100/tcp 9301/tcp 9302/tcp 9303/tcp from trusted out to host over v6
    denied  any   9200/tcp                                     from trusted out to host over v4 v6
    denied  any   9200/tcp                                     from neighbour to loopback over v4
    denied  open  9400/udp 9500/tcp 9600/tcp                   from trusted out to host over v4
    denied  proxy 9400/udp 9500/tcp 9600/tcp                   from trusted out to host over v6
    denied  open  9700/tcp                                     from trusted out to host over v4
    denied  any   9700/tcp                                     from trusted out to host over v6
    denied  open  9900/tcp                                     from trusted out to host over v4 v6
    denied  open  80/tcp                                       from trusted out to host over v4 v6
    denied  any   9000/tcp                                     from trusted out neighbour to same inner unpublished user user-unpublished six six-unpublished over v4 v6
    denied  any   80/tcp                                       from trusted out to other over v4
    denied  any   9400/udp                                     from trusted out to datagram over v4
";

/// From the host, and from containers.
const FROM_INSIDE: &str = "
    same open  9000/tcp 9010/tcp 9100/tcp 9200/tcp 9302/tcp 9500/tcp 9600/tcp from host to loopback over v4
    same any   9000/tcp 9010/tcp 9100/tcp 9200/tcp 9302/tcp 9500/tcp 9600/tcp from host to loopback over v6
    same open  9000/tcp 9010/tcp 9100/tcp 9400/udp 9500/tcp 9700/tcp 9900/tcp from host to host over v4
    same any   9000/tcp 9010/tcp 9100/tcp 9400/udp 9500/tcp 9700/tcp 9900/tcp from host to host over v6
    same open  9000/tcp          from host to same unpublished user-unpublished six over v4
    same open  9000/tcp          from host to six over v6
    same open  4242/tcp 4242/udp from same user six unpublished to outside over v4
    same any   4242/tcp 4242/udp from six to outside over v6
    same open  9000/tcp          from same to inner unpublished over v4
    same open  9000/tcp          from user to user-unpublished over v4
    same open  9000/tcp          from six to six-unpublished over v4 v6
    same any   9000/tcp          from user to unpublished six over v4
    same any   9000/tcp          from unpublished to user over v4
";

/// From containers to the host's ports: as any source, which 22 is open to and 9000 is not.
const TO_THEIR_HOST: &str = "
    allowed open 22/tcp            from same to host gateway:same over v4
    allowed open 22/tcp            from user to host gateway:user over v4
    allowed open 22/tcp            from six to host over v4
    allowed open 22/tcp            from six to host gateway:six over v6
    denied  open 80/tcp            from same user six to host over v4
    denied  open 80/tcp            from six to host over v6
    denied  any  9000/tcp 9010/tcp from same user six unpublished to host over v4
    denied  any  9000/tcp          from same inner to gateway:same over v4
    denied  any  9500/tcp          from user user-unpublished same to host over v4
    denied  any  9600/tcp          from six six-unpublished same to host over v4 v6
    denied  any  9000/tcp 9500/tcp from six to host over v6
    denied  any  9400/udp          from same user to host over v4
";

/// When 9010 is open to all: the container's port 80 is not.
const WITH_OTHER_PORT: &str = "
    allowed open  9010/tcp from trusted out to host over v4
    same    proxy 9010/tcp from trusted out to host over v6
    same    any   9010/tcp from same other user six to host gateway:same over v4
    denied  open  80/tcp   from trusted out to host over v4 v6
    denied  any   80/tcp   from trusted out to other over v4
    denied  open  9000/tcp 9100/tcp from trusted to host over v4
";

/// When 80 is open to all: the port that the container's is published as is not.
const WITH_CONTAINERS_PORT: &str = "
    allowed open  80/tcp   from trusted out to host over v4 v6
    denied  open  9010/tcp from trusted out to host over v4
    denied  proxy 9010/tcp from trusted out to host over v6
    denied  any   80/tcp   from trusted out to other over v4
";

/// While the daemon is down and the containers with it: nothing opens.
const DAEMON_DOWN: &str = "
    allowed open 22/tcp                              from trusted out to host over v4 v6
    denied  any  9010/tcp 9100/tcp 9301/tcp 9700/tcp from trusted out to host over v4 v6
    denied  any  9000/tcp                            from out to host over v4 v6
    denied  any  9400/udp 9500/tcp 9600/tcp          from trusted out to host over v4 v6
";

/// A network and a container that came after the policy was applied.
const CAME_LATER: &str = "
    denied any  9510/tcp          from trusted out to host over v4 v6
    denied any  9000/tcp          from trusted out to later over v4
    same   any  4242/tcp 4242/udp from later to outside over v4
";

fn everything_holds(setting: Setting) {
    let mut scene = Scene::new(setting);
    let rows = [FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST];
    scene.baseline(&[FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST, WITH_OTHER_PORT, WITH_CONTAINERS_PORT, DAEMON_DOWN]);
    let seen = |scene: &Scene| (scene.seen_from("same"), scene.seen_from("user"), scene.names_resolve());
    let seen_without = seen(&scene);
    scene.palisade(POLICY, &["check"]);
    scene.palisade(POLICY, &["apply"]);
    scene.palisade(POLICY, &["diff"]);
    scene.palisade(POLICY, &["status"]);
    scene.holds("applied", &rows, &names());
    let seen_with = seen(&scene);
    let masqueraded = seen_without.0 == Some(HOST[0]);
    if seen_with != seen_without || masqueraded != setting.rules || seen_without.2.is_none() {
        scene.says("applied", vec![format!("masquerade and names: {seen_without:?} without, {seen_with:?} with")]);
    }

    scene.palisade(OTHER_PORT, &["apply"]);
    scene.holds("9010 listed", &[WITH_OTHER_PORT], &names());
    scene.palisade(CONTAINERS_PORT, &["apply"]);
    scene.holds("80 listed", &[WITH_CONTAINERS_PORT], &names());

    scene.palisade(POLICY, &["apply"]);
    let dashboard = SocketAddr::new(HOST[0], 9000);
    match scene.lab.client.connect(CLIENT[0], dashboard, Duration::from_secs(2)) {
        Err(outcome) => scene.says("applied", vec![format!("no connection to hold: {outcome:?}")]),
        Ok(mut stream) => {
            scene.palisade(NOBODY_TRUSTED, &["apply"]);
            let live = talks(&mut stream, Duration::from_millis(400));
            if live != CONNECTIONS_OUTLIVE_THEIR_LINE {
                scene.says("a source removed", vec![format!("its connection lives on: {live}")]);
            }
            scene.palisade(POLICY, &["apply"]);
        }
    }

    life_goes_on(&mut scene);
    scene.palisade(POLICY, &["disable", "--yes"]);
    let version = scene.engine.version();
    report::write(&setting.to_string(), &version, &scene.table);
    let Scene { broken, .. } = scene;
    assert!(broken.is_empty(), "{} beside {setting} {version}:\n{}", broken.len(), broken.join("\n"));
}

/// Containers and the daemon come and go while the policy stays loaded.
fn life_goes_on(scene: &mut Scene) {
    let kill_at_once = if scene.engine.setting.podman { "restart -t 0" } else { "restart --time 0" };
    scene.engine.docker(&format!("{kill_at_once} same"));
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
    scene.engine.run_container("later", "--network later-net -p 9510:9000", "9000");
    scene.without.extend([Target::Tcp(4242), Target::Udp(4242)].map(|target| {
        let (from, to) = ("later".to_owned(), "outside".to_owned());
        (Probe { from, to, target, six: false }, Outcome::Connected)
    }));
    scene.holds("a network made", &[CAME_LATER, FROM_OUTSIDE], &[names(), vec!["later"]].concat());
    scene.engine.docker("rm -f filler later");
    if scene.engine.setting.podman {
        return;
    }

    scene.engine.stop_daemon();
    // Containers are gone with it, and their addresses.
    scene.holds("the daemon stopped", &[DAEMON_DOWN], &[]);
    scene.engine.start_daemon(&["--live-restore"]);
    for (name, ..) in CONTAINERS {
        scene.engine.docker(&format!("start {name}"));
    }
    scene.holds("the daemon started", &[FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST], &names());
    scene.engine.stop_daemon();
    scene.holds("the daemon away, containers living", &[DAEMON_DOWN], &[]);
    scene.engine.start_daemon(&["--live-restore"]);
    scene.holds("live-restored", &[FROM_OUTSIDE, FROM_INSIDE, TO_THEIR_HOST], &names());
    for (name, ..) in CONTAINERS {
        scene.engine.docker(&format!("rm -f {name}"));
    }
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
