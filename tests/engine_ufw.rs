//! ufw beside Docker: what it leaves open, palisade closes, and neither disturbs the other.
#![allow(missing_docs)]

mod support;

use support::engine::scene::{Scene, names};
use support::engine::setting::Setting;

const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9, \"2001:db8::9\"] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: trusted }
";

/// With ufw enabled, which allows 22 and nothing else, and is asked by nobody about published ports.
const BESIDE_UFW: &str = "
    allowed open 22/tcp                                       from trusted out to host over v4 v6
    allowed open 9000/tcp                                     from trusted to host over v4
    denied  open 9000/tcp                                     from out to host over v4
    denied  open 9010/tcp 9100/tcp 9302/tcp 9500/tcp 9600/tcp from trusted out to host over v4
    denied  open 9400/udp 9700/tcp                            from trusted out to host over v4
    denied  closed 80/tcp 9900/tcp                            from trusted out to host over v4 v6
    denied  closed 9010/tcp 9500/tcp                          from trusted out to host over v6
    same    open 4242/tcp 4242/udp                            from same user six to outside over v4
    same    open 9000/tcp                                     from user to user-unpublished over v4
    same    open 9000/tcp 9010/tcp                            from host to loopback host over v4
    denied  any  9000/tcp 9010/tcp                            from same user to host over v4
";
/// On an IPv6 network, where Docker 28 has rules of its own for IPv6.
const OPEN_OVER_IPV6: &str = "denied open 9600/tcp from trusted out to host over v6";
const CLOSED_OVER_IPV6: &str = "denied closed 9600/tcp from trusted out to host over v6";

fn what_ufw_leaves_open_is_closed(setting: Setting, over_ipv6: &str) {
    let mut scene = Scene::new(setting);
    scene.engine.enable_ufw();
    let rows = [BESIDE_UFW, over_ipv6];

    scene.baseline(&rows);
    scene.palisade(POLICY, &["apply"]);
    scene.holds("beside ufw", &rows, &names());
    for arguments in [&["reload"][..], &["allow", "9010/tcp"]] {
        scene.engine.ufw(arguments);
        scene.palisade(POLICY, &["diff"]);
    }
    scene.holds("ufw changed", &rows, &names());
    scene.engine.ufw(&["disable"]);
    scene.palisade(POLICY, &["diff"]);
    scene.holds("ufw disabled", &rows, &names());

    assert!(scene.broken.is_empty(), "{} beside ufw and {setting}:\n{}", scene.broken.len(), scene.broken.join("\n"));
}

#[test]
#[ignore = "long"]
fn beside_ufw_and_docker_20_10() {
    what_ufw_leaves_open_is_closed(Setting::docker("bookworm", true), CLOSED_OVER_IPV6);
}

#[test]
#[ignore = "long"]
fn beside_ufw_and_docker_28_5() {
    what_ufw_leaves_open_is_closed(Setting::docker("sid", true), OPEN_OVER_IPV6);
}
