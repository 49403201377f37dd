//! Rulesets come back as they were stored, whatever happens to the files in between.

use super::*;
use crate::arbitrary;
use crate::compile::compile;
use crate::facts::Facts;
use crate::policy::parse;
use crate::resolve::resolve;
use crate::ruleset::{Elements, Expr, KeyType, Set, SetFlags, SetSpec, Table, TableId};
use proptest::prelude::*;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tempfile::TempDir;

const POLICY: &str = "/etc/palisade/policy.yaml";

fn stored(table: Option<&Table>) -> Stored {
    let mut stored = Stored::new(table, Some(&applied())).unwrap();
    stored.about.saved = "2026-11-22T15:04:05Z".to_owned();
    stored
}

fn applied() -> Applied {
    Applied { path: POLICY.into(), text: "version: 1\n".to_owned(), ..Applied::default() }
}

/// A state in a folder that is removed when this is dropped.
struct Scratch {
    state: State,
    folder: TempDir,
}

fn scratch() -> Scratch {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = State::new(folder.path().join("lib/palisade"), folder.path().join("run/palisade"));
    Scratch { state, folder }
}

impl Scratch {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("lib/palisade").join(name)
    }

    fn keep(&self, table: &Table) {
        self.state.keep(table, &applied()).unwrap();
    }

    fn numbers(&self) -> Vec<u32> {
        self.state.list().expect("it can be read").into_iter().map(|entry| entry.number).collect()
    }

    fn last_good(&self) -> Option<(u32, Table)> {
        self.state.last_good().map(|(number, kept)| (number, kept.table))
    }
}

/// A table with one chain of that name, so that different names make different tables.
fn table(name: &str) -> Table {
    Table { chains: [(name.to_owned(), Default::default())].into(), ..Table::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_table_comes_back_from_its_file(table in arbitrary::table()) {
        let bytes = stored(Some(&table)).to_bytes().unwrap();
        let back = Stored::from_bytes(&bytes).unwrap();
        prop_assert_eq!(back.table, Some(table.without_timed()));
        prop_assert_eq!(back.about.identity, Identity::of(Some(&table)).unwrap());
        prop_assert_eq!(stored(Some(&table)).to_bytes().unwrap(), bytes, "nothing of what memory held before is in it");
    }

    #[test]
    fn the_table_of_any_policy_comes_back_from_its_file(written in crate::policies::policy()) {
        let parsed = parse(&written.text, "policy.yaml");
        if let Some(Ok(resolved)) = parsed.policy.map(|policy| resolve(&policy, &Facts::default())) {
            let table = compile(&resolved);
            let back = Stored::from_bytes(&stored(Some(&table)).to_bytes().unwrap()).unwrap().table.unwrap();
            prop_assert_eq!(back.canonical(), table.canonical());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        let _ = Stored::from_bytes(&bytes);
        let mut lines = stored(Some(&arbitrary::everything())).to_bytes().unwrap();
        let at = at.index(lines.len());
        lines.splice(at..(at + bytes.len()).min(lines.len()), bytes);
        let _ = Stored::from_bytes(&lines);
        // Past the digest, which would reject all such bytes.
        let _ = crate::netlink::from_bytes(&TableId::palisade(), &lines[lines.iter().position(|b| *b == b'\n').unwrap_or(0)..]);
    }
}

#[test]
fn a_file_of_which_a_byte_was_lost_or_changed_is_not_taken_for_a_ruleset() {
    let bytes = stored(Some(&arbitrary::everything())).to_bytes().unwrap();
    let messages = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in (messages..bytes.len()).step_by(31) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Stored::from_bytes(&changed).is_err(), "byte {at}");
        assert!(Stored::from_bytes(&bytes[..at]).is_err(), "{at} bytes");
    }
    let words = |bytes: &[u8]| Stored::from_bytes(bytes).unwrap_err();
    assert_eq!(words(b""), "its first line has no end");
    assert_eq!(words(b"{}\n"), "its first line is not what palisade writes");
    assert_eq!(words(&bytes[..messages]), "its digest is wrong: it was changed, or not written to the end");
    let newer = String::from_utf8_lossy(&bytes[..messages]).replace("\"format\":2", "\"format\":3");
    assert_eq!(
        words(newer.as_bytes()),
        "another version of palisade has written it, in a form that this one does not know"
    );
}

#[test]
fn a_ruleset_comes_back_whole_with_its_large_sets_and_not_when_a_byte_is_lost() {
    let addresses: Vec<_> = (0..70_000).map(|number| Ipv4Addr::from(2 * number)).map(|one| (one, one)).collect();
    let spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default());
    let mut table = arbitrary::everything();
    table.sets.insert("many".to_owned(), Set { spec, elements: Elements::of_addresses(&addresses) });
    table.add_manifest();
    let bytes = stored(Some(&table)).to_whole().unwrap();

    let back = Stored::from_whole(&bytes).unwrap();
    assert_eq!(back.table.unwrap().canonical(), table.without_timed().canonical());
    assert_eq!(back.applied, Some(applied()));

    assert_eq!(Stored::from_whole(&bytes[..bytes.len() - 1]).unwrap_err(), "it is cut off");
    assert_eq!(Stored::from_whole(&[bytes.as_slice(), b"x"].concat()).unwrap_err(), "there is something after it");
    let mut changed = bytes;
    *changed.last_mut().unwrap() ^= 2;
    assert!(Stored::from_whole(&changed).is_err());
}

#[test]
fn no_table_is_a_ruleset_too() {
    let back = Stored::from_bytes(&stored(None).to_bytes().unwrap()).unwrap();
    assert_eq!(back.table, None);
    assert_ne!(back.about.identity, Identity::of(Some(&Table::default())).unwrap());
}

#[test]
fn what_palisade_could_not_make_again_is_not_kept() {
    let mut with_counter = table("a");
    with_counter.others.insert("counter hits".to_owned());
    let mut with_fib = arbitrary::everything();
    let unknown = Expr::Unknown { name: "fib".to_owned(), attributes: Vec::new() };
    with_fib.chains.get_mut("everything").unwrap().rules[0].exprs.push(unknown);
    let said = |table: &Table| Identity::of(Some(table)).unwrap_err().to_string();
    let of_a_form = "of a form that this version does not know";
    assert_eq!(said(&with_counter), format!("the ruleset can't be kept: counter hits {of_a_form}"));
    assert_eq!(said(&with_fib), format!("the ruleset can't be kept: expression `fib` {of_a_form}"));
}

#[test]
fn counts_times_and_lines_of_the_policy_are_no_other_ruleset() {
    let one = arbitrary::everything();
    let mut other = one.clone();
    other.comment = Some("palisade: another (policy.yaml, loaded 2026-11-22T15:04:05Z)".to_owned());
    for expr in other.chains.values_mut().flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.exprs) {
        if let Expr::Counter { packets, .. } = expr {
            *packets += 1;
        }
    }
    assert_ne!(other, one);
    assert_eq!(Identity::of(Some(&other)).unwrap(), Identity::of(Some(&one)).unwrap());
}

#[test]
fn the_last_five_are_kept_and_the_same_one_again_is_not_another() {
    let scratch = scratch();
    assert_eq!((scratch.last_good(), scratch.state.before_last_good()), (None, None));
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        scratch.keep(&table(name));
        scratch.keep(&table(name));
    }
    assert_eq!(scratch.numbers(), [7, 6, 5, 4, 3]);
    assert_eq!(scratch.last_good(), Some((7, table("g"))));
    assert_eq!(scratch.state.before_last_good(), Some(6));
    let entry = &scratch.state.list().expect("it can be read")[0];
    assert_eq!((entry.last_good, entry.about.as_ref().unwrap().policy.as_deref()), (true, Some(POLICY)));
}

#[test]
fn what_was_in_force_before_is_what_comes_before_however_old_it_is() {
    let scratch = scratch();
    for name in ["a", "b", "c", "d", "e"] {
        scratch.keep(&table(name));
    }
    let first = scratch.state.kept(1).unwrap();
    scratch.state.keep_again(1, &first.about.identity).unwrap();
    assert_eq!(scratch.last_good(), Some((1, table("a"))));
    assert_eq!(scratch.state.before_last_good(), None);
    scratch.keep(&table("f"));
    assert_eq!(scratch.numbers(), [6, 5, 4, 3, 1]);
    assert_eq!(scratch.state.before_last_good(), Some(1));
}

#[test]
fn the_folders_and_files_are_their_owners_alone_and_those_above_are_everyones() {
    let scratch = scratch();
    scratch.keep(&table("a"));
    let first = scratch.state.kept(1).unwrap();
    scratch.keep(&table("b"));
    assert!(!scratch.path("last-good").exists());
    scratch.state.keep_again(1, &first.about.identity).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let lib = scratch.folder.path().join("lib");
    assert_eq!(mode(lib), 0o755);
    let inside = ["", "rulesets", "rulesets/000001.ruleset", "last-good"];
    assert_eq!(inside.map(|name| mode(scratch.path(name))), [0o700, 0o700, 0o600, 0o600]);
}

#[test]
fn a_damaged_ruleset_is_passed_over_for_an_older_one() {
    let scratch = scratch();
    for name in ["a", "b", "c"] {
        scratch.keep(&table(name));
    }
    fs::write(scratch.path("rulesets/000003.ruleset"), "not a ruleset").unwrap();
    assert_eq!(scratch.last_good(), Some((2, table("b"))));
    fs::write(scratch.path("last-good"), "x").unwrap();
    assert_eq!(scratch.last_good(), Some((2, table("b"))));
    fs::remove_file(scratch.path("rulesets/000002.ruleset")).unwrap();
    assert_eq!(scratch.last_good(), Some((1, table("a"))));
    // A new file, although the damaged one was the same ruleset.
    scratch.keep(&table("c"));
    assert_eq!(scratch.last_good(), Some((4, table("c"))));
}

#[test]
fn a_ruleset_that_others_could_have_written_is_not_used() {
    let scratch = scratch();
    scratch.keep(&table("a"));
    fs::set_permissions(scratch.path("rulesets"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(scratch.last_good(), None);
}

#[test]
fn a_kept_ruleset_without_a_table_is_passed_over_and_is_no_empty_one() {
    let scratch = scratch();
    scratch.keep(&table("a"));
    let nothing = Stored::new(None, None).unwrap().to_bytes().unwrap();
    fs::write(scratch.path("rulesets/000002.ruleset"), nothing).unwrap();
    assert!(scratch.state.kept(2).unwrap_err().to_string().ends_with("can't be used: it holds no table"));
    assert_eq!(scratch.last_good(), Some((1, table("a"))));
}

#[test]
fn what_a_killed_writer_left_is_in_nobodys_way() {
    let scratch = scratch();
    scratch.keep(&table("a"));
    fs::write(scratch.path("rulesets/.000002.ruleset.new"), "half a rul").unwrap();
    fs::write(scratch.path("rulesets/000009.ruleset.new"), "").unwrap();
    assert_eq!(scratch.last_good(), Some((1, table("a"))));
    scratch.keep(&table("b"));
    assert_eq!(scratch.last_good(), Some((2, table("b"))));
    assert!(!scratch.path("rulesets/.000002.ruleset.new").exists());
}

#[test]
fn an_undone_ruleset_is_known_until_it_is_kept() {
    let scratch = scratch();
    let identity = |name: &str| Identity::of(Some(&table(name))).unwrap();
    for name in ["a", "b", "a"] {
        scratch.state.remember_undone(&identity(name)).unwrap();
    }
    let undone = |name: &str| scratch.state.is_undone(&identity(name));
    assert_eq!([undone("a"), undone("b"), undone("c")], [true, true, false]);
    scratch.keep(&table("a"));
    assert_eq!([undone("a"), undone("b")], [false, true]);
    scratch.keep(&table("b"));
    assert!(!scratch.path("undone").exists());
    for number in 0..100 {
        scratch.state.remember_undone(&identity(&number.to_string())).unwrap();
    }
    assert_eq!([undone("0"), undone("84"), undone("99")], [false, true, true]);
    fs::write(scratch.path("undone"), "garbage").unwrap();
    assert!(!undone("99"));
    scratch.state.remember_undone(&identity("a")).unwrap();
    assert!(undone("a"));
}

#[test]
fn a_second_writer_waits_for_the_first_or_says_for_whom_it_gave_up() {
    let scratch = scratch();
    let run = scratch.folder.path().join("run/palisade");
    let first = Lock::take(&run, "apply", Duration::ZERO).unwrap();
    let refused = Lock::take(&run, "disable", Duration::ZERO).unwrap_err().to_string();
    let begin =
        format!("gave up after 0 s of waiting for another palisade ({}, palisade apply, since ", std::process::id());
    assert!(refused.starts_with(&begin) && refused.ends_with("Z): nothing was changed"), "{refused}");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Lock::take(&run, "disable", Duration::from_secs(60)).map(drop));
        drop(first);
        second.join().unwrap().unwrap();
    });
}

#[test]
fn a_lock_whose_file_was_removed_is_taken_anew() {
    let scratch = scratch();
    let run = scratch.folder.path().join("run/palisade");
    let _first = Lock::take(&run, "apply", Duration::ZERO).unwrap();
    fs::remove_file(run.join("lock")).unwrap();
    let _second = Lock::take(&run, "apply", Duration::ZERO).unwrap();
    assert!(Lock::take(&run, "apply", Duration::ZERO).is_err());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let scratch = scratch();
    fs::write(scratch.folder.path().join("run"), "").unwrap();
    let refused = scratch.state.lock("apply").unwrap_err().to_string();
    let path = scratch.folder.path().join("run/palisade/lock");
    let why = format!("{} is not a folder", scratch.folder.path().join("run").display());
    assert_eq!(refused, format!("can't lock {}, without which two writers could meet: {why}", path.display()));
}

/// A policy that names a file.
fn of(text: &str, lists: &Lists) -> Applied {
    Applied { path: POLICY.into(), text: text.to_owned(), ..Applied::default() }.with_lists(lists)
}

fn list_of(last: u8) -> crate::net::Addresses {
    let address = Ipv4Addr::new(192, 0, 2, last);
    [crate::net::AddressRange::V4(address, address)].into_iter().collect()
}

#[test]
fn each_kept_ruleset_has_its_policy_and_the_lists_of_it() {
    let scratch = scratch();
    let path = PathBuf::from("/etc/palisade/office.txt");
    let lists = [1, 2].map(|last| Lists::from([(path.clone(), list_of(last))]));
    let policies = [of("version: 1 # a\n", &lists[0]), of("version: 1 # b\n", &lists[1])];
    for (index, name) in ["a", "b"].into_iter().enumerate() {
        scratch.state.keep(&table(name), &policies[index]).unwrap();
        scratch.state.keep_lists(&lists[index]).unwrap();
    }
    let kept = |number| scratch.state.kept(number).unwrap().applied.unwrap();
    let list = |applied: &Applied| scratch.state.list_of(applied, &path).unwrap();

    assert_eq!([kept(1), kept(2)], policies);
    assert_eq!(scratch.state.in_force().unwrap().applied, Some(policies[1].clone()));
    assert_eq!([list(&kept(1)), list(&kept(2))], [Some(list_of(1)), Some(list_of(2))]);
    scratch.state.keep_again(1, &Identity::of(Some(&table("a"))).unwrap()).unwrap();
    assert_eq!(scratch.state.in_force().unwrap().applied, Some(policies[0].clone()));
    // The list of a ruleset that is kept no more goes with the next one.
    for name in ["c", "d", "e", "f", "g"] {
        scratch.state.keep(&table(name), &policies[1]).unwrap();
    }
    scratch.state.keep_lists(&lists[1]).unwrap();
    assert_eq!([list(&policies[0]), list(&policies[1])], [None, Some(list_of(2))]);
}

#[test]
fn a_policy_that_makes_the_same_rules_takes_the_place_of_the_one_before() {
    let scratch = scratch();
    let [before, after] = ["version: 1\n", "version: 1 # the same\n"].map(|text| of(text, &Lists::new()));
    scratch.state.keep(&table("a"), &before).unwrap();
    scratch.state.keep(&table("b"), &before).unwrap();
    scratch.state.keep(&table("b"), &after).unwrap();

    assert_eq!(scratch.numbers(), [2, 1]);
    assert_eq!(scratch.state.kept(2).unwrap().applied, Some(after));
    assert_eq!(scratch.state.before_last_good(), Some(1));
}

#[test]
fn a_ruleset_of_the_version_that_kept_no_policies_is_read() {
    let scratch = scratch();
    let old = Stored { applied: None, ..stored(Some(&table("a"))) }.to_bytes().unwrap();
    let end = old.iter().position(|byte| *byte == b'\n').unwrap();
    let header = String::from_utf8(old[..end].to_vec()).unwrap();
    let header = header.replace("\"format\":2", "\"format\":1").replace(",\"policy_bytes\":0", "");
    let bytes = [header.as_bytes(), &old[end..]].concat();
    fs::create_dir_all(scratch.path("rulesets")).unwrap();
    fs::write(scratch.path("rulesets/000001.ruleset"), bytes).unwrap();

    let kept = scratch.state.kept(1).unwrap();
    assert_eq!((kept.table, kept.applied), (table("a"), None));
}
