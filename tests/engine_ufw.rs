//! ufw beside Docker: what it leaves open, palisade closes, and neither disturbs the other.
//!
//! Each test compares its column of the second table in `docs/containers.md`; `UPDATE_GOLDEN=1` writes it.
#![allow(missing_docs)]

mod support;

use support::engine::scene::{Scene, names};
use support::engine::setting::Setting;
use support::verdict_table::UFW;
use support::verdicts::{BESIDE_UFW, POLICY};

fn what_ufw_leaves_open_is_closed(setting: Setting) {
    let mut scene = Scene::new(setting.with_ufw());
    scene.engine.enable_ufw();

    scene.baseline(&[BESIDE_UFW], &names());
    scene.apply(POLICY);
    scene.holds("beside ufw", &[BESIDE_UFW], &names());
    for arguments in [&["reload"][..], &["allow", "9010/tcp"]] {
        scene.engine.ufw(arguments);
        scene.palisade(POLICY, &["diff"]);
    }
    scene.holds("ufw changed", &[BESIDE_UFW], &names());
    scene.engine.ufw(&["disable"]);
    scene.palisade(POLICY, &["diff"]);
    scene.holds("ufw disabled", &[BESIDE_UFW], &names());
    scene.end(UFW);
}

#[test]
fn beside_ufw_and_docker_20_10() {
    what_ufw_leaves_open_is_closed(Setting::docker("bookworm", true));
}

#[test]
fn beside_ufw_and_docker_28_5() {
    what_ufw_leaves_open_is_closed(Setting::docker("sid", true));
}
