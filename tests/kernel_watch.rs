//! Changes of one table told apart from those of all others. Needs root; each test has a network namespace of its own.
#![allow(missing_docs)]

#[path = "support/netns.rs"]
mod netns;

use netns::in_fresh_netns;
use palisade::netlink::{CommitError, Handles, Reading, Socket, encode};
use palisade::ruleset::*;
use palisade::transaction::{Op, Transaction};
use std::sync::atomic::{AtomicBool, Ordering};

fn foreign() -> TableId {
    TableId { family: Family::Inet, name: "foreign".to_owned() }
}

fn spec() -> SetSpec {
    SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default())
}

fn add_table() -> Op {
    Op::AddTable { flags: 0, comment: None }
}

fn add_chain() -> Op {
    Op::AddChain { name: "c".to_owned(), base: None, comment: None }
}

fn add_rule() -> Op {
    let rule = Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: None };
    Op::AddRule { chain: "c".to_owned(), rule, before: None }
}

fn add_set() -> Op {
    Op::AddSet { name: "s".to_owned(), spec: spec() }
}

fn elements(numbers: std::ops::Range<u32>) -> Elements {
    numbers.map(|number| Element::single(&number.to_be_bytes())).collect()
}

fn add_elements(numbers: std::ops::Range<u32>) -> Op {
    Op::AddElements { set: "s".to_owned(), spec: spec(), elements: elements(numbers) }
}

fn commit(socket: &Socket, table: &TableId, ops: Vec<Op>) {
    let transaction = Transaction { table: table.clone(), ops };
    let batch = encode(&transaction, &Handles::default(), socket.generation().unwrap()).unwrap();
    socket.commit(&batch).unwrap();
}

#[test]
fn each_kind_of_change_of_the_watched_table_is_seen_and_no_change_of_another() {
    in_fresh_netns(|| {
        let (socket, own) = (Socket::open().unwrap(), TableId::palisade());
        let namesake = TableId { family: Family::Ip, name: own.name.clone() };
        let watch = socket.watch(&own).unwrap();
        let changes = [
            add_table(),
            add_chain(),
            add_rule(),
            add_set(),
            add_elements(0..3),
            Op::DeleteElements { set: "s".to_owned(), spec: spec(), elements: elements(1..2) },
            Op::DeleteSet { name: "s".to_owned() },
            Op::DeleteTable,
        ];

        let seen: Vec<_> = [foreign(), namesake, own.clone()]
            .iter()
            .map(|table| {
                let untouched = |op: &Op| {
                    commit(&socket, table, vec![op.clone()]);
                    watch.untouched().unwrap() == Some(socket.generation().unwrap())
                };
                changes.iter().map(untouched).collect::<Vec<_>>()
            })
            .collect();

        assert_eq!(seen, [[true; 8], [true; 8], [false; 8]]);
        assert_eq!(watch.untouched().unwrap(), Some(socket.generation().unwrap()));
    });
}

#[test]
fn a_table_is_read_and_changed_while_another_program_changes_its_own_without_a_rest() {
    in_fresh_netns(|| {
        let (socket, own) = (Socket::open().unwrap(), TableId::palisade());
        commit(&socket, &own, vec![add_table(), add_chain(), add_set()]);
        commit(&socket, &foreign(), vec![add_table(), add_set()]);
        let rules: Vec<_> = (0..300).map(|_| add_rule()).collect();
        commit(&socket, &own, [rules, vec![add_elements(0..2_000)]].concat());
        let before = socket.snapshot(&own).unwrap().table.unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The thread is in the namespace of the one that makes it.
            scope.spawn(|| {
                let socket = Socket::open().unwrap();
                while !done.load(Ordering::Relaxed) {
                    for op in [
                        add_elements(0..1),
                        Op::DeleteElements { set: "s".to_owned(), spec: spec(), elements: elements(0..1) },
                    ] {
                        let transaction = Transaction { table: foreign(), ops: vec![op] };
                        // Generation 0 is any.
                        socket.commit(&encode(&transaction, &Handles::default(), 0).unwrap()).unwrap();
                    }
                }
            });
            let _stop = Stop(&done);
            let watch = socket.watch(&own).unwrap();
            let snapshot = (0..1_000).find_map(|_| watch.try_snapshot(Reading::ByDigest(&())).unwrap());
            let snapshot = snapshot.expect("one of a thousand");
            assert_eq!(snapshot.table.as_ref(), Some(&before));

            let transaction = Transaction { table: own.clone(), ops: vec![add_rule()] };
            let mut batch = encode(&transaction, &snapshot.handles, snapshot.genid).unwrap();
            let committed = (0..10_000).any(|_| match socket.commit(&batch) {
                Ok(()) => true,
                Err(CommitError::Stale) => {
                    batch.set_generation(watch.untouched().unwrap().expect("nobody changed this table"));
                    false
                }
                Err(error) => panic!("{error}"),
            });
            assert!(committed);
        });
        assert_eq!(socket.snapshot(&own).unwrap().table.unwrap().chains["c"].rules.len(), 301);
    });
}

#[test]
fn a_change_that_there_was_no_room_to_tell_of_counts_as_one_of_the_watched_table() {
    in_fresh_netns(|| {
        let (socket, own) = (Socket::open().unwrap(), TableId::palisade());
        commit(&socket, &foreign(), vec![add_table(), add_set()]);
        let watch = socket.watch(&own).unwrap();
        let told = (0..20).map(|thousands| {
            commit(&socket, &foreign(), vec![add_elements(thousands * 10_000..(thousands + 1) * 10_000)]);
        });
        assert_eq!(told.count(), 20);

        assert_eq!(watch.untouched().unwrap(), None);
        assert_eq!(watch.untouched().unwrap(), Some(socket.generation().unwrap()));
    });
}

#[test]
fn a_change_of_the_table_while_it_is_read_leaves_no_snapshot() {
    in_fresh_netns(|| {
        let (socket, own) = (Socket::open().unwrap(), TableId::palisade());
        let state = |rules: usize| {
            let rules = (0..rules).map(|_| add_rule());
            [vec![add_table(), Op::DeleteTable, add_table(), add_chain()], rules.collect()].concat()
        };
        commit(&socket, &own, state(200));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let socket = Socket::open().unwrap();
                while !done.load(Ordering::Relaxed) {
                    [100, 200].into_iter().for_each(|rules| commit(&socket, &TableId::palisade(), state(rules)));
                }
            });
            let _stop = Stop(&done);
            let watch = socket.watch(&own).unwrap();
            let snapshots = (0..500).filter_map(|_| watch.try_snapshot(Reading::ByDigest(&())).unwrap());
            let counts = snapshots.map(|snapshot| snapshot.table.unwrap().chains["c"].rules.len());
            assert_eq!(counts.filter(|count| ![100, 200].contains(count)).count(), 0);
        });
    });
}

/// Tells another thread to stop when it goes out of scope.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
