//! Each folder of `tests/bad-policies` is one mistake, or several at once, with everything that is said about it.
//!
//! `UPDATE_GOLDEN=1` writes what is said into `expected.txt`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn every_bad_policy_gets_exactly_the_problems_that_are_expected() {
    let cases = cases();
    assert!(cases.len() >= 65, "only {} cases were found", cases.len());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        let said = problems_of(&case);
        let expected_path = case.join("expected.txt");
        if update {
            fs::write(&expected_path, &said).expect("the golden can be written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("== {}\n-- expected\n{expected}\n-- said\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("the cases exist").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

/// Loads a copy of the case, since a checkout may lie in a folder that others can write.
fn problems_of(case: &Path) -> String {
    let copy = tempfile::tempdir().expect("a folder for the copy");
    for entry in fs::read_dir(case).expect("the case exists") {
        let from = entry.expect("an entry").path();
        let to = copy.path().join(from.file_name().expect("a name"));
        fs::copy(&from, &to).expect("the copy can be made");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
    }
    match palisade::desired::load_and_prove(&copy.path().join("policy.yaml"), &palisade::names::Names::default()) {
        Ok(palisade::desired::Loaded { unmet: None, policy, .. }) => format!("no problem was found: {policy:#?}\n"),
        Ok(palisade::desired::Loaded { unmet: Some(problems), .. }) | Err(problems) => {
            problems.render(false).replace(&format!("{}/", copy.path().display()), "")
        }
    }
}
