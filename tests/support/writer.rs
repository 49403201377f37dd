//! A foreign program with a table of its own, which it changes over netlink.

use super::namespace::Namespace;
use palisade::netlink::{CommitError, Handles, Socket, encode};
use palisade::ruleset::{
    Element, ElementKey, Family, KeyType, Op, SetFlags, SetSpec, TableFlags, TableId, Transaction,
};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn writer() -> TableId {
    TableId { family: Family::Inet, name: "writer".to_owned() }
}

fn numbers() -> SetSpec {
    SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default())
}

/// Adds and removes elements of a set, each in a transaction of its own.
pub struct Writer {
    pub socket: Socket,
    pub table: TableId,
    set: &'static str,
    spec: SetSpec,
}

impl Writer {
    /// To be called in the namespace.
    pub fn new() -> Self {
        let writer =
            Self { socket: Socket::open().expect("a socket"), table: writer(), set: "numbers", spec: numbers() };
        let ops = vec![
            Op::AddTable { flags: TableFlags::default(), comment: None },
            Op::AddSet { name: writer.set.to_owned(), spec: numbers() },
        ];
        writer.commit(ops).expect("a table of its own");
        writer
    }

    /// Generation 0 is any: who does not ask which it is can't be told that it is stale.
    fn commit(&self, ops: Vec<Op>) -> Result<(), CommitError> {
        let transaction = Transaction { table: self.table.clone(), ops };
        self.socket.commit(&encode(&transaction, &Handles::default(), 0).expect("it can be written"))
    }

    pub fn elements(&self, number: u32) -> (String, SetSpec, Vec<Element>) {
        (self.set.to_owned(), self.spec.clone(), vec![Element::single(&number.to_be_bytes())])
    }

    pub fn add(&self, number: u32) -> Result<(), CommitError> {
        let (set, spec, elements) = self.elements(number);
        self.commit(vec![Op::AddElements { set, spec, elements: elements.into() }])
    }

    pub fn delete(&self, number: u32) -> Result<(), CommitError> {
        let (set, spec, elements) = self.elements(number);
        self.commit(vec![Op::DeleteElements { set, spec, elements: elements.into() }])
    }
}

/// What is in the writer's set.
pub fn written(inside: &Namespace) -> BTreeSet<u32> {
    let snapshot = inside.run(|| Socket::open().expect("a socket").snapshot(&writer())).expect("a snapshot");
    let table = snapshot.table.expect("the writer's table");
    let number = |element: &Element| match &element.key {
        ElementKey::Single(key) => u32::from_be_bytes(key.as_slice().try_into().expect("four bytes")),
        other => panic!("not an element of the writer: {other:?}"),
    };
    table.sets["numbers"].elements.listed().iter().map(number).collect()
}

/// Tells `work` to stop once `meanwhile` is done.
pub fn during<T, U: Send>(meanwhile: impl FnOnce() -> T, work: impl FnOnce(&AtomicBool) -> U + Send) -> (T, U) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&stop));
        let done = catch_unwind(AssertUnwindSafe(meanwhile));
        stop.store(true, Ordering::Relaxed);
        let worked = worker.join().expect("the worker does not panic");
        (done.unwrap_or_else(|panic| resume_unwind(panic)), worked)
    })
}
