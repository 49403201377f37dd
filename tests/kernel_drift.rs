//! Out-of-band changes of palisade's table, one row a kind: `diff` names each, and `apply` mends it.
//!
//! `UPDATE_GOLDEN=1` writes into `tests/drift` what came out.

mod support;

use palisade::netlink::{Socket, encode};
use palisade::ruleset::{Op, TableId, Transaction};
use std::io::Write;
use std::process::Stdio;
use support::dice::Dice;
use support::drift::{POLICY, Row, handles, lab, lines_only_in, mend, ordered, rows, run, tamper, write};
use support::lab::Lab;
use support::namespace::output;
use support::raw::{NEWSETELEM, attribute, commit, nested, text};

const DRIFT: [&str; 5] = ["rules.txt", "elements.txt", "sets.txt", "chains.txt", "table.txt"];
const NO_DRIFT: &str = "not-drift.txt";

fn path(file: &str) -> String {
    format!("{}/tests/drift/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn rows_of(file: &str) -> Vec<Row> {
    rows(&std::fs::read_to_string(path(file)).expect("the rows are there"))
}

/// Fails unless each row of `tests/drift/FILE` comes out as it is written.
#[track_caller]
fn assert_rows_hold(file: &str) {
    let (mut lab, mut found, mut wrong) = (lab(), Vec::new(), String::new());
    for row in rows_of(file) {
        let came_out = run(&lab, &row).unwrap_or_else(|why| {
            wrong.push_str(&format!("== {}\n{why}\n", row.kind));
            lab = support::drift::lab();
            row.clone()
        });
        if came_out != row {
            wrong.push_str(&format!("-- expected\n{}-- came out\n{}\n", write([&row]), write([&came_out])));
        }
        found.push(came_out);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path(file), write(&found)).expect("the rows can be written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_change_of_a_rule_is_named_and_mended() {
    assert_rows_hold("rules.txt");
}

#[test]
fn every_change_of_an_element_is_named_and_mended() {
    assert_rows_hold("elements.txt");
}

#[test]
fn every_change_of_a_set_or_map_is_named_and_mended() {
    assert_rows_hold("sets.txt");
}

#[test]
fn every_change_of_a_chain_is_named_and_mended() {
    assert_rows_hold("chains.txt");
}

#[test]
fn every_change_of_the_table_is_named_and_mended() {
    assert_rows_hold("table.txt");
}

#[test]
fn what_is_no_change_of_the_policy_is_left_alone() {
    assert_rows_hold(NO_DRIFT);
}

#[test]
fn each_row_is_a_kind_of_its_own_and_is_drift_unless_it_says_otherwise() {
    let drift: Vec<Row> = DRIFT.into_iter().flat_map(rows_of).collect();
    assert!(drift.len() >= 85, "only {} rows", drift.len());
    assert_eq!(drift.iter().filter(|row| row.diff.is_empty()).map(|row| &row.kind).collect::<Vec<_>>(), [""; 0]);
    let other = rows_of(NO_DRIFT);
    assert!(other.iter().all(|row| row.diff.is_empty() && row.changes == ["nothing"]));
    let mut kinds: Vec<&str> = drift.iter().chain(&other).map(|row| row.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds.windows(2).find(|pair| pair[0] == pair[1]), None);
}

/// A change of a kind in the table, or a rule somewhere that goes or comes.
fn random_tampering(lab: &Lab, dice: &mut Dice, kinds: &[Row]) -> String {
    const CHAINS: [&str; 6] =
        ["filter-input", "filter-forward", "published", "service-dashboard", "service-ssh", "invalid"];
    const RULES: [&str; 5] = [
        "counter accept",
        "ip saddr @trusted-v4 drop",
        "jump service-metrics",
        "ct state vmap { established : accept, new : goto default-incoming }",
        "meta l4proto tcp ct original proto-dst vmap @services-tcp comment \"again\"",
    ];
    let chain = dice.pick(&CHAINS);
    let there = handles(&lab.host, chain, "");
    match dice.below(4) {
        0 if !there.is_empty() => {
            format!("delete rule inet palisade {chain} handle {}\n", dice.choose(&there))
        }
        1 if !there.is_empty() => {
            let (at, rule) = (dice.below(there.len()), dice.pick(&RULES));
            format!("insert rule inet palisade {chain} index {at} {rule}\n")
        }
        _ => dice.choose(kinds).tamper.clone(),
    }
}

/// Fails unless `apply` mends so many sequences of one to five changes, whatever they are. nft may refuse some, as one
/// may take away what the next is about.
#[track_caller]
fn assert_sequences_are_mended(seed: u64, sequences: usize) {
    let kinds: Vec<Row> = DRIFT.into_iter().flat_map(rows_of).collect();
    let (lab, mut dice, mut refused) = (lab(), Dice::seeded(seed), 0);
    let expected = ordered(&lab.host.nft_list());
    for number in 0..sequences {
        let mut done = String::new();
        for _ in 0..=dice.below(5) {
            let commands = random_tampering(&lab, &mut dice, &kinds);
            match tamper(&lab.host, &commands) {
                Ok(()) => done.push_str(&format!("{commands}\n")),
                Err(_) => refused += 1,
            }
        }
        let mended = mend(&lab).map(|()| ordered(&lab.host.nft_list()));
        let mended = mended.unwrap_or_else(|why| panic!("seed {seed}, sequence {number}:\n{done}{why}"));
        let (missing, there) = (lines_only_in(&expected, &mended), lines_only_in(&mended, &expected));
        assert!(
            mended == expected,
            "seed {seed}, sequence {number}:\n{done}missing: {missing:#?}\nthere: {there:#?}"
        );
    }
    assert!(refused < sequences * 2, "nft refused {refused} changes of {sequences} sequences");
}

#[test]
fn apply_mends_sixty_random_sequences_of_changes() {
    assert_sequences_are_mended(1, 60);
}

/// `PALISADE_SEED` chooses others.
#[test]
#[ignore = "takes minutes"]
fn apply_mends_a_thousand_random_sequences_of_changes() {
    let seed = std::env::var("PALISADE_SEED").ok().and_then(|seed| seed.parse().ok());
    assert_sequences_are_mended(seed.unwrap_or(2), 1_000);
}

#[test]
fn a_chain_that_only_looks_like_one_that_goes_with_its_rule_is_removed_all_the_same() {
    let lab = lab();
    let before = ordered(&lab.host.nft_list());
    for also in ["", "flush chain inet palisade service-ssh"] {
        lab.host.run(|| {
            let socket = Socket::open().expect("root may open it");
            let table = TableId::palisade();
            let snapshot = socket.snapshot(&table).expect("the table can be read");
            let ops = vec![Op::AddChain { name: "__chain7".to_owned(), base: None, comment: None }];
            let batch =
                encode(&Transaction { table, ops }, &snapshot.handles, snapshot.genid).expect("it is written");
            socket.commit(&batch).expect("the kernel takes it");
        });
        tamper(&lab.host, also).expect("nft takes it");

        mend(&lab).expect("it is mended");
        assert_eq!(ordered(&lab.host.nft_list()), before, "{also}");
    }
}

#[test]
fn an_element_with_a_condition_of_its_own_is_named_and_mended() {
    let lab = lab();
    let before = ordered(&lab.host.nft_list());
    lab.host.nft_load("delete element inet palisade services-tcp { 22 : jump service-ssh }");
    // 22 quota over 1 bytes : jump service-ssh, which stock nft refuses to write.
    let quota = [attribute(1, &1_u64.to_be_bytes()), attribute(2, &1_u32.to_be_bytes())];
    let element = [
        nested(1, &[attribute(1, &22_u16.to_be_bytes())]),
        nested(2, &[nested(2, &[attribute(1, &(-3_i32).to_be_bytes()), text(2, "service-ssh")])]),
        nested(7, &[text(1, "quota"), nested(2, &quota)]),
    ];
    let attributes = [text(1, "palisade"), text(2, "services-tcp"), nested(3, &[nested(1, &element)])];
    assert_eq!(commit(&lab.host, NEWSETELEM, &attributes), 0);

    let diff = lab.palisade(POLICY, &["diff"]);
    assert_eq!(
        (diff.status, diff.stdout.as_str()),
        (
            Some(2),
            "1 changed (ssh); 2 changes to make\n\n\
             --- kernel: table inet palisade\n\
             +++ policy: policy.yaml\n\
             @@ map services-tcp: TCP ports and their services (policy.yaml) @@\n\
             -element 22 <unknown expressions>\n\
             +element 22 : jump service-ssh\n \
             what is unknown here is shown by: nft list map inet palisade services-tcp\n\
             access: 22/tcp: any but 192.0.2.0/24, 2001:db8:bad::/48 can't be told\n\
             access: 22/tcp from containers: any can't be told\n"
        )
    );
    assert_eq!(lab.palisade(POLICY, &["apply"]).success(), "applied: 2 operations, verified\n");
    assert_eq!(ordered(&lab.host.nft_list()), before);
}

#[test]
fn a_table_that_another_program_made_its_own_is_told_and_mended_once_that_program_ends() {
    let lab = lab();
    let before = ordered(&lab.host.nft_list());
    lab.host.nft_load("delete table inet palisade");
    let mut owner = lab.host.command("nft");
    let mut owner = owner.arg("--interactive").stdin(Stdio::piped()).spawn().expect("nft is installed");
    let mut typed = owner.stdin.take().expect("it was piped");
    typed.write_all(b"add table inet palisade { flags owner; }\n").expect("nft reads its input");
    while !output(lab.host.command("nft").args(["list", "tables"])).stdout.contains("inet palisade") {
        std::thread::yield_now();
    }

    for command in [&["apply"][..], &["disable", "--yes"]] {
        let refused = lab.palisade(POLICY, command);
        assert_eq!(
            (refused.status, refused.stdout.as_str(), refused.stderr.as_str()),
            (
                Some(1),
                "",
                "error: another program has made table inet palisade its own (`flags owner`), and the kernel lets nobody \
                 else change it: nothing was changed; `nft list table inet palisade` names that program, and when it \
                 ends the table goes with it\n"
            )
        );
    }
    let diff = lab.palisade(POLICY, &["diff"]);
    assert_eq!(diff.status, Some(2));
    let told =
        "-table inet palisade: owned by another program, which alone can change it\n+table inet palisade: in force\n";
    assert!(diff.stdout.contains(told), "{}", diff.stdout);

    drop(typed);
    owner.wait().expect("nft ends with its input");
    mend(&lab).expect("it is mended");
    assert_eq!(ordered(&lab.host.nft_list()), before);
}
