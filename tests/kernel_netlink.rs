//! What is sent to nf_tables, and what comes back. Needs root; each test has a network namespace of its own.

#[path = "support/arbitrary.rs"]
mod arbitrary;
#[path = "support/netns.rs"]
mod netns;

use netns::in_fresh_netns;
use nix::errno::Errno;
use palisade::netlink::{Batch, CommitError, Handles, LiveSets, NetlinkError, Reading, Snapshot, Socket, encode};
use palisade::ruleset::{Op, Transaction, *};
use palisade::simulate::Sets;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

fn socket() -> Socket {
    Socket::open().unwrap()
}

fn transaction(ops: Vec<Op>) -> Transaction {
    Transaction { table: TableId::palisade(), ops }
}

fn batch(socket: &Socket, ops: Vec<Op>, handles: &Handles) -> Batch {
    encode(&transaction(ops), handles, socket.generation().unwrap()).unwrap()
}

fn commit(socket: &Socket, ops: Vec<Op>) {
    socket.commit(&batch(socket, ops, &Handles::default())).unwrap();
}

fn snapshot(socket: &Socket) -> Snapshot {
    socket.snapshot(&TableId::palisade()).unwrap()
}

fn live(socket: &Socket) -> Table {
    snapshot(socket).table.unwrap()
}

/// The namespace of the calling thread, so that nft loads there too.
fn nft(script: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft refused:\n{script}");
}

fn nft_list() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn accept(comment: &str) -> Rule {
    Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: Some(comment.to_owned()) }
}

fn add_rule(chain: &str, rule: Rule) -> Op {
    Op::AddRule { chain: chain.to_owned(), rule, before: None }
}

fn add_chain(name: &str) -> Op {
    Op::AddChain { name: name.to_owned(), base: None, comment: None }
}

fn add_table() -> Op {
    Op::AddTable { flags: TableFlags::default(), comment: None }
}

fn comments(table: &Table, chain: &str) -> Vec<String> {
    table.chains[chain].rules.iter().map(|rule| rule.comment.clone().unwrap()).collect()
}

/// What makes a table from nothing.
fn creation(table: &Table) -> Vec<Op> {
    let mut ops = vec![Op::AddTable { flags: table.flags, comment: table.comment.clone() }];
    for (name, chain) in &table.chains {
        ops.push(Op::AddChain { name: name.clone(), base: chain.base.clone(), comment: chain.comment.clone() });
    }
    for (name, set) in &table.sets {
        ops.push(Op::AddSet { name: name.clone(), spec: set.spec.clone() });
        ops.push(Op::AddElements { set: name.clone(), spec: set.spec.clone(), elements: set.elements.clone() });
    }
    for (name, chain) in &table.chains {
        ops.extend(chain.rules.iter().map(|rule| add_rule(name, rule.clone())));
    }
    ops
}

/// Everything but what nft prints with the time of day, or can't print.
fn printable() -> Table {
    let mut table = arbitrary::everything();
    table.sets.get_mut("remembered").unwrap().elements = Elements::none();
    for chain in table.chains.values_mut() {
        chain.rules.retain(|rule| !rule.exprs.is_empty());
    }
    table
}

#[test]
fn a_table_that_is_not_there_is_none() {
    in_fresh_netns(|| {
        let socket = socket();
        assert_eq!(snapshot(&socket), Snapshot { genid: socket.generation().unwrap(), ..Snapshot::default() });
        assert_eq!(socket.list_tables().unwrap(), []);
    });
}

#[test]
fn every_expression_and_every_form_of_set_is_read_back_as_it_was_sent() {
    in_fresh_netns(|| {
        let table = arbitrary::everything();
        let socket = socket();
        commit(&socket, creation(&table));
        assert_eq!(live(&socket), table);
        assert_eq!(socket.list_tables().unwrap(), [TableId::palisade()]);
    });
}

#[test]
fn any_table_of_the_vocabulary_is_read_back_as_it_was_sent() {
    in_fresh_netns(|| {
        let socket = socket();
        let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
        runner
            .run(&arbitrary::table(), |table| {
                let mut ops = vec![add_table(), Op::DeleteTable];
                ops.extend(creation(&table));
                let refused = socket.commit(&batch(&socket, ops, &Handles::default())).err();
                prop_assert!(refused.is_none(), "{:?}", refused);
                prop_assert_eq!(live(&socket), table);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn all_operations_do_what_they_say() {
    in_fresh_netns(|| {
        let socket = socket();
        let mut table = arbitrary::everything();
        commit(&socket, creation(&table));
        let handles = snapshot(&socket).handles;
        let base = BaseChain { policy: Policy::Drop, ..table.chains["filter-input"].base.clone().unwrap() };
        table.chains.get_mut("filter-input").unwrap().base = Some(base.clone());
        let mut ops = vec![Op::SetPolicy { name: "filter-input".to_owned(), base }];
        let rules = &mut table.chains.get_mut("everything").unwrap().rules;
        let rule = rules.remove(1);
        ops.push(Op::DeleteRule { chain: "everything".to_owned(), index: 1, rule });
        for (name, set) in &mut table.sets {
            let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut set.elements)
                .into_list()
                .into_iter()
                .enumerate()
                .partition(|(index, _)| index % 2 == 0);
            set.elements = kept.into_iter().map(|(_, element)| element).collect();
            let elements: Vec<_> = gone.into_iter().map(|(_, element)| element).collect();
            ops.push(Op::DeleteElements { set: name.clone(), spec: set.spec.clone(), elements: elements.into() });
        }
        socket.commit(&batch(&socket, ops, &handles)).unwrap();
        assert_eq!(live(&socket), table);

        let handles = snapshot(&socket).handles;
        let mut ops = Vec::new();
        for (name, chain) in &mut table.chains {
            for (index, rule) in chain.rules.drain(..).enumerate() {
                ops.push(Op::DeleteRule { chain: name.clone(), index, rule });
            }
        }
        let maps: Vec<_> = table.sets.iter().filter(|(_, set)| set.spec.value.is_some()).collect();
        ops.extend(maps.into_iter().map(|(name, _)| Op::DeleteSet { name: name.clone() }));
        ops.push(Op::DeleteChain { name: "target".to_owned() });
        table.chains.remove("target");
        table.sets.retain(|_, set| set.spec.value.is_none());
        socket.commit(&batch(&socket, ops, &handles)).unwrap();
        assert_eq!(live(&socket), table);
    });
}

#[test]
fn elements_are_added_and_deleted_between_neighbouring_intervals() {
    in_fresh_netns(|| {
        let socket = socket();
        let spec = arbitrary::interval_ports();
        let port = |first: u16, last: u16| Element::range(&first.to_be_bytes(), &last.to_be_bytes());
        let neighbours = vec![port(0, 9), port(10, 10), port(11, 20), port(30, 39), port(65_535, 65_535)];
        let name = "ports".to_owned();
        commit(
            &socket,
            vec![
                add_table(),
                Op::AddSet { name: name.clone(), spec: spec.clone() },
                Op::AddElements { set: name.clone(), spec: spec.clone(), elements: neighbours.clone().into() },
            ],
        );
        assert_eq!(live(&socket).sets["ports"].elements, neighbours.into());
        commit(
            &socket,
            vec![
                Op::DeleteElements {
                    set: name.clone(),
                    spec: spec.clone(),
                    elements: vec![port(10, 10), port(65_535, 65_535)].into(),
                },
                Op::AddElements {
                    set: name.clone(),
                    spec: spec.clone(),
                    elements: vec![port(21, 29), port(40, 65_535)].into(),
                },
            ],
        );
        let expected = vec![port(0, 9), port(11, 20), port(21, 29), port(30, 39), port(40, 65_535)];
        assert_eq!(live(&socket).sets["ports"].elements, expected.into());
    });
}

#[test]
fn a_set_of_many_elements_takes_several_messages() {
    in_fresh_netns(|| {
        let socket = socket();
        let elements: Vec<_> = (0..20_000_u32).map(|n| Element::single(&(n * 7).to_be_bytes())).collect();
        let spec = SetSpec { size: Some(20_000), ..arbitrary::addresses() };
        let name = "addresses".to_owned();
        commit(
            &socket,
            vec![
                add_table(),
                Op::AddSet { name: name.clone(), spec: spec.clone() },
                Op::AddElements { set: name.clone(), spec: spec.clone(), elements: elements.clone().into() },
            ],
        );
        assert_eq!(live(&socket).sets["addresses"], Set { spec, elements: elements.into() });
    });
}

#[test]
fn three_thousand_rules_go_in_one_batch() {
    in_fresh_netns(|| {
        let socket = socket();
        let mut ops = vec![add_table(), add_chain("c")];
        ops.extend((0..3_000).map(|n| add_rule("c", accept(&format!("rule {n}")))));
        commit(&socket, ops);
        let expected: Vec<_> = (0..3_000).map(|n| format!("rule {n}")).collect();
        assert_eq!(comments(&live(&socket), "c"), expected);
    });
}

#[test]
fn rules_inserted_before_kept_ones_stand_in_the_order_of_the_operations() {
    in_fresh_netns(|| {
        let socket = socket();
        let mut ops = vec![add_table(), add_chain("c")];
        ops.extend(["a", "b", "c"].map(|name| add_rule("c", accept(name))));
        commit(&socket, ops);
        let handles = snapshot(&socket).handles;
        let before =
            |index, name: &str| Op::AddRule { chain: "c".to_owned(), rule: accept(name), before: Some(index) };
        let ops = vec![
            before(0, "1"),
            before(0, "2"),
            Op::DeleteRule { chain: "c".to_owned(), index: 1, rule: accept("b") },
            before(2, "3"),
            before(2, "4"),
            add_rule("c", accept("5")),
            add_rule("c", accept("6")),
        ];
        socket.commit(&batch(&socket, ops, &handles)).unwrap();
        assert_eq!(comments(&live(&socket), "c"), ["1", "2", "a", "3", "4", "c", "5", "6"]);
    });
}

#[test]
fn a_refused_operation_is_named_and_leaves_the_table_as_it_was() {
    in_fresh_netns(|| {
        let socket = socket();
        let table = arbitrary::everything();
        commit(&socket, creation(&table));
        let nowhere = Rule { exprs: vec![Expr::Verdict(Verdict::Jump("nowhere".to_owned()))], comment: None };
        let set = arbitrary::anonymous_ports();
        let mut ops = vec![add_chain("new"), add_rule("new", set), add_rule("new", accept("fine"))];
        ops.push(add_rule("new", nowhere));
        ops.extend((0..50).map(|n| add_rule("new", accept(&n.to_string()))));
        ops.push(Op::DeleteChain { name: "absent".to_owned() });
        let refused = socket.commit(&batch(&socket, ops, &Handles::default())).unwrap_err();
        let CommitError::Refused { op, errno, .. } = &refused else { panic!("{refused}") };
        assert_eq!((*op, *errno), (Some(3), Errno::ENOENT));
        assert_eq!(refused.to_string(), "the kernel refused the change: No such file or directory");
        assert_eq!(live(&socket), table);
    });
}

#[test]
fn a_batch_of_an_older_generation_is_stale() {
    in_fresh_netns(|| {
        let socket = socket();
        let stale = batch(&socket, vec![add_table(), add_chain("late")], &Handles::default());
        nft("add table inet other");
        assert!(matches!(socket.commit(&stale), Err(CommitError::Stale)));
        assert_eq!(snapshot(&socket).table, None);
    });
}

#[test]
fn an_empty_transaction_changes_nothing() {
    in_fresh_netns(|| {
        let socket = socket();
        let before = socket.generation().unwrap();
        commit(&socket, Vec::new());
        assert_eq!(socket.generation().unwrap(), before);
    });
}

#[test]
fn a_table_is_replaced_whole_in_one_batch() {
    in_fresh_netns(|| {
        let socket = socket();
        let table = arbitrary::everything();
        commit(&socket, vec![add_table(), add_chain("old"), add_rule("old", accept("old"))]);
        let mut ops = vec![add_table(), Op::DeleteTable];
        ops.extend(creation(&table));
        commit(&socket, ops);
        assert_eq!(live(&socket), table);
    });
}

#[test]
fn what_others_write_is_read_without_failing() {
    in_fresh_netns(|| {
        nft(include_str!("data/foreign.nft"));
        let socket = socket();
        let tables = socket.list_tables().unwrap();
        let mut unknown = std::collections::BTreeSet::new();
        let mut others = std::collections::BTreeSet::new();
        for id in &tables {
            let table = socket.snapshot(id).unwrap().table.unwrap();
            others.extend(table.others.iter().cloned());
            for expr in table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs) {
                if let Expr::Unknown { name, .. } = expr {
                    unknown.insert(name.clone());
                }
            }
        }
        assert_eq!(tables.len(), 3);
        let expected = ["bitwise", "connlimit", "exthdr", "limit", "log", "quota"];
        assert_eq!(unknown.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        let expected = ["counter hits", "limit slow", "quota much"];
        assert_eq!(others.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn nft_prints_what_palisade_loads() {
    in_fresh_netns(|| {
        commit(&socket(), creation(&printable()));
        assert_eq!(nft_list(), include_str!("data/everything.nft"));
    });
}

#[test]
fn a_ruleset_written_by_nft_is_read_as_the_same_table() {
    in_fresh_netns(|| {
        let socket = socket();
        let table = printable();
        commit(&socket, creation(&table));
        let text = nft_list();
        nft(&format!("delete table inet palisade\n{text}"));
        assert_eq!(live(&socket), table);
    });
}

/// Tells another thread to stop when it goes out of scope.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_snapshot_is_never_a_mixture_of_two_rulesets() {
    in_fresh_netns(|| {
        let state = |name: &str| {
            let elements = (0..300_u32).map(|n| Element::single(&[&n.to_be_bytes()[2..], name.as_bytes()].concat()));
            let set = Set { spec: arbitrary::addresses(), elements: elements.collect() };
            let rules = (0..200).map(|_| accept(name)).collect();
            Table {
                chains: [("c".to_owned(), Chain { rules, ..Chain::default() })].into(),
                sets: [("s".to_owned(), set)].into(),
                ..Table::default()
            }
        };
        let states = [state("aa"), state("bb")];
        let replace = |state: &Table| [vec![add_table(), Op::DeleteTable], creation(state)].concat();
        commit(&socket(), creation(&states[0]));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The thread is in the namespace of the one that makes it.
            scope.spawn(|| {
                let socket = socket();
                while !done.load(Ordering::Relaxed) {
                    states.iter().rev().for_each(|state| commit(&socket, replace(state)));
                }
            });
            // Also when an assertion fails: the scope waits for the other thread.
            let _stop = Stop(&done);
            let socket = socket();
            // Everything takes longer on an emulated processor, as scripts/kernels has it.
            let rounds = if std::env::var_os("PALISADE_EMULATED").is_some() { 100 } else { 2_000 };
            let mut seen = 0;
            for _ in 0..rounds {
                if let Some(snapshot) = socket.try_snapshot(&TableId::palisade(), Reading::ByDigest(&())).unwrap() {
                    let table = snapshot.table.unwrap();
                    assert!(states.contains(&table), "a mixture");
                    seen += 1;
                }
            }
            assert!(seen > 0, "no snapshot succeeded");
        });
    });
}

#[test]
fn whether_a_set_has_room_is_known_of_kernels_that_count_its_elements_and_of_those_that_do_not() {
    in_fresh_netns(|| {
        let socket = socket();
        let set = |kind: &str, elements: &str| {
            nft(&format!(
                "table inet palisade\ndelete table inet palisade\ntable inet palisade {{ set seen {{ type ipv4_addr; size 4; \
                 flags {kind}; {elements} }}; }}"
            ));
            let live = socket.live().unwrap();
            let sets = LiveSets::new(&socket, &live, None);
            let seen = &live.ruleset.tables[&TableId::palisade()].sets["seen"];
            (sets.is_empty(&TableId::palisade(), "seen", seen), sets.has_room(&TableId::palisade(), "seen", seen))
        };
        let full = "elements = { 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 }";

        for kind in ["dynamic", "dynamic,timeout; timeout 1h"] {
            assert_eq!(set(kind, ""), (true, Some(true)));
            assert_eq!(set(kind, "elements = { 192.0.2.1 }"), (false, Some(true)));
        }
        assert_eq!(set("dynamic", full), (false, Some(false)));
        // Where elements are not counted, what was listed may not be all that takes room.
        let (_, has_room) = set("dynamic,timeout; timeout 1h", full);
        assert!(has_room != Some(true), "{has_room:?}");
    });
}

#[test]
fn without_the_capability_each_request_says_what_is_missing() {
    in_fresh_netns(|| {
        let privileged = socket();
        let batch = batch(&privileged, vec![add_table()], &Handles::default());
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let socket = socket();
        assert!(matches!(socket.generation(), Err(NetlinkError::NotPermitted)));
        assert!(matches!(socket.snapshot(&TableId::palisade()), Err(NetlinkError::NotPermitted)));
        assert!(matches!(socket.list_tables(), Err(NetlinkError::NotPermitted)));
        assert!(matches!(socket.commit(&batch), Err(CommitError::Netlink(NetlinkError::NotPermitted))));
    });
}

#[test]
fn a_batch_that_does_not_fit_the_send_buffer_says_so() {
    in_fresh_netns(|| {
        let spec = arbitrary::addresses();
        let elements: Vec<_> = (0..700_000_u32).map(|n| Element::single(&n.to_be_bytes())).collect();
        let ops = vec![
            add_table(),
            Op::AddSet { name: "s".to_owned(), spec: spec.clone() },
            Op::AddElements { set: "s".to_owned(), spec, elements: elements.into() },
        ];
        let batch = batch(&socket(), ops, &Handles::default());
        // As in a user namespace: SO_SNDBUFFORCE is refused, and net.core.wmem_max holds.
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let refused = socket().commit(&batch).unwrap_err();
        let CommitError::TooBig { bytes } = refused else { panic!("{refused}") };
        assert_eq!(bytes, batch.as_bytes().len());
    });
}
