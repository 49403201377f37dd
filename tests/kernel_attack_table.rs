//! Some hundred packets that must not get in, and some hundred that must. Needs root.

mod support;

use palisade::facts::Kernel;
use std::collections::BTreeSet;
use support::attack::denied::denied;
use support::attack::needed::needed;
use support::attack::repairs::{CLOSED, PUBLISHED, REPAIRS, STRICT, take_away};
use support::attack::rows::{Row, Setting};
use support::attack::{ENGINE, Stage};

/// The names of the rows whose last packet has arrived where it would.
fn arrived<'a>(stage: &Stage, rows: &[&'a Row]) -> BTreeSet<&'a str> {
    stage.forget();
    let steps: Vec<_> = rows.iter().map(|row| row.steps.as_slice()).collect();
    let places = stage.play_all(&steps);
    let found = rows.iter().zip(&places).filter(|(row, places)| places.contains(&row.at));
    found.map(|(row, _)| row.name.as_str()).collect()
}

fn names<'a>(rows: &[&'a Row]) -> BTreeSet<&'a str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

/// What is in the one and not in the other.
#[track_caller]
fn assert_same(found: &BTreeSet<&str>, expected: &BTreeSet<&str>, what: &str) {
    let more: Vec<_> = found.difference(expected).collect();
    let less: Vec<_> = expected.difference(found).collect();
    assert!(more.is_empty() && less.is_empty(), "{what}: arrived {more:#?}\nhas not arrived {less:#?}");
}

#[test]
fn every_row_has_a_name_of_its_own() {
    for setting in Setting::ALL {
        let rows = [denied().rows, needed().rows].concat();
        let of: Vec<&Row> = rows.iter().filter(|row| row.setting == setting).collect();
        assert_eq!(names(&of).len(), of.len(), "{setting:?}");
    }
}

#[test]
fn what_must_not_get_in_does_not_and_what_must_does() {
    let (denied, needed) = (denied().rows, needed().rows);
    assert!(denied.len() >= 200 && needed.len() >= 60, "{} and {}", denied.len(), needed.len());
    let stage = Stage::new();
    stage.lab.host.nft_load(ENGINE);

    for setting in Setting::ALL.into_iter() {
        let denied: Vec<&Row> = denied.iter().filter(|row| row.setting == setting).collect();
        let needed: Vec<&Row> = needed.iter().filter(|row| row.setting == setting).collect();
        let mended: Vec<&Row> = denied.iter().filter(|row| row.mended).copied().collect();
        let all = [denied.as_slice(), &needed].concat();
        stage.without_palisade();
        assert_same(&arrived(&stage, &all), &names(&all), &format!("{setting:?}, without palisade"));
        stage.apply(&setting.policy());
        assert_same(&arrived(&stage, &all), &names(&needed), &format!("{setting:?}"));
        take_away(&stage.lab.host, REPAIRS);
        match setting {
            Setting::Forwarding => take_away(&stage.lab.host, PUBLISHED),
            Setting::Strict => take_away(&stage.lab.host, STRICT),
            Setting::Closed => take_away(&stage.lab.host, CLOSED),
            Setting::Plain => {}
        }
        assert_same(
            &arrived(&stage, &mended),
            &names(&mended),
            &format!("{setting:?}, without the rules under test"),
        );
    }
}

#[test]
fn the_rules_for_older_kernels_let_in_and_keep_out_the_same() {
    let (denied, needed) = (denied().rows, needed().rows);
    let stage = Stage::new();
    stage.lab.host.nft_load(ENGINE);

    for release in ["5.13", "6.1", "6.8"] {
        for setting in Setting::ALL {
            let denied: Vec<&Row> = denied.iter().filter(|row| row.setting == setting).collect();
            let needed: Vec<&Row> = needed.iter().filter(|row| row.setting == setting).collect();
            let all = [denied.as_slice(), &needed].concat();
            stage.load_as_for(Kernel::of_release(release), &setting.policy());
            assert_same(&arrived(&stage, &all), &names(&needed), &format!("{setting:?}, for {release}"));
        }
    }
}
