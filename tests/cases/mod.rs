//! Machines that stand against their policies: what comes of real connections before and after it is loaded, and what
//! each command says of them.
//!
//! What a connection must come to stands in the table of a test. What the commands say stands in `tests/cases/KIND.txt`;
//! `UPDATE_GOLDEN=1` writes it. No verdict of `explain` may differ from what a connection comes to.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod actors;
mod said;

use crate::support::lab::Lab;
use crate::support::namespace::{Output, output};
use crate::support::planted::Planted;
use crate::support::probe::{PATIENCE, SILENCE, talks};
use actors::{Actors, End, Row};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many machines are tried at once.
const AT_ONCE: usize = 3;
/// The connections, with what comes of them in place of what `explain` says, where that is nothing.
const CANT_TELL: &str = "unknown";

/// A machine, a policy, and connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Case {
    pub name: &'static str,
    /// What is built before the control, a directive a line (see [`Actors::build`]).
    pub machine: &'static str,
    /// Rules of engines, which are there in the control.
    pub rules: &'static str,
    /// Rules of others, which come after the control, together with the policy.
    pub foreign: &'static str,
    /// Files beside the policy.
    pub files: &'static [(&'static str, &'static str)],
    pub policy: &'static str,
    /// Connections, `FROM > TO TARGET: END` a line (see [`Row`]). All come through in the control.
    pub tries: &'static str,
    /// Files that are written once the policy is loaded. What is asked then changes nothing of what connections come to.
    pub then: &'static [(&'static str, &'static str)],
    /// What is asked beside the rest: the arguments of palisade, a line each.
    pub asks: &'static str,
}

/// Tries all of them, and compares what is said with `tests/cases/KIND.txt`.
#[track_caller]
pub fn hold(kind: &str, cases: &[Case]) {
    let (next, said) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((at, case)) = take(cases, &next) {
                    let of_case = Tried::new(case).text();
                    said.lock().unwrap_or_else(PoisonError::into_inner).insert(at, of_case);
                }
            });
        }
    });
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for (said, differences) in said.into_values() {
        text += &said;
        wrong.extend(differences);
    }
    let path = golden(kind);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).expect("the golden can be written");
    }
    assert!(wrong.is_empty(), "{} differ:\n{}\n{text}", wrong.len(), wrong.join("\n"));
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{}: expected\n{expected}\nsaid\n{text}", path.display());
}

/// What has to be said. Kernels that list their hooks (since 5.14, if built with `CONFIG_NETFILTER_NETLINK_HOOK`) tell in which
/// order chains of one priority run, so that more is known there.
fn golden(kind: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let of_hooks = folder.join(format!("{kind}.hooks.txt"));
    let lists_hooks = || {
        let lab = Lab::new();
        lab.host.nft_load("table inet t { chain c { type filter hook input priority 0; }; }");
        output(lab.host.command("nft").args(["list", "hooks", "inet"])).stdout.contains("chain inet t c")
    };
    if of_hooks.exists() && lists_hooks() { of_hooks } else { folder.join(format!("{kind}.txt")) }
}

fn take<'c>(cases: &'c [Case], next: &AtomicUsize) -> Option<(usize, &'c Case)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    cases.get(at).map(|case| (at, case))
}

/// A machine that is built, and what was said and seen on it.
struct Tried<'c> {
    case: &'c Case,
    lab: Lab,
    actors: Actors,
    rows: Vec<Row>,
    text: String,
    wrong: Vec<String>,
}

impl<'c> Tried<'c> {
    fn new(case: &'c Case) -> Self {
        let lab = Lab::new();
        let actors = Actors::build(&lab, case.machine);
        lab.host.nft_load(case.rules);
        let rows = actors.rows(case.tries);
        let text = format!("== {}\n", case.name);
        Self { case, lab, actors, rows, text, wrong: Vec::new() }
    }

    /// Tries it from beginning to end.
    fn text(mut self) -> (String, Vec<String>) {
        let _echoes = self.actors.listen(&self.lab, &self.rows);
        let before = self.actors.outcomes(&self.lab, &self.rows, |_| End::Allowed);
        for (row, seen) in self.rows.iter().zip(before) {
            if !End::Allowed.holds(seen) {
                self.wrong.push(format!("{}: {row}: {seen:?} before anything is loaded", self.case.name));
            }
        }
        let mut running = self.running();
        self.lab.host.nft_load(self.case.foreign);
        self.write(self.case.files);
        self.lab.write_policy("policy.yaml", self.case.policy);
        let is_read = self.checked();
        let planned = is_read.then(|| self.explained(&["--planned"]));
        self.applied(is_read);
        self.go_on(&mut running);
        self.compare("");
        let live = self.explained(&[]);
        for (index, row) in self.rows.iter().enumerate() {
            let said = [Some(&live[index]), planned.as_ref().map(|planned| &planned[index])];
            for (said, reason) in said.into_iter().flatten() {
                if said != row.end.verdict() && said != CANT_TELL {
                    self.wrong.push(format!("{}: {row}: explained as {said}: {reason}", self.case.name));
                }
            }
            if planned.as_ref().is_some_and(|planned| planned[index] != live[index]) {
                self.wrong.push(format!("{}: {row}: explained in two ways: {said:?}", self.case.name));
            }
            writeln!(self.text, "{row} | explain: {}", said::of_connection(&live[index])).expect("text");
        }
        self.exposed();
        self.text += &said::doctor(&Planted::over(&self.lab).doctor_in(&[]));
        self.write(self.case.then);
        for ask in self.case.asks.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let done = self.palisade(&ask.split_whitespace().collect::<Vec<_>>());
            writeln!(self.text, "{ask}: {}", said::plain(&done)).expect("text");
        }
        if !self.case.asks.is_empty() {
            self.compare(" in the end");
        }
        (self.text, self.wrong)
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.lab.write_policy(name, text);
        }
    }

    /// A TCP connection of each row that is about one.
    fn running(&self) -> Vec<Option<TcpStream>> {
        // What rules of others do with connections that run is not palisade's.
        let rows = self.rows.iter().filter(|_| self.case.foreign.is_empty());
        rows.map(|row| self.actors.stream(row)).collect()
    }

    /// Notes the connections that were made before, and go on although they may not, or don't although they may.
    fn go_on(&mut self, running: &mut [Option<TcpStream>]) {
        let streams = self.rows.iter().zip(running).filter_map(|(row, stream)| Some((row, stream.as_mut()?)));
        let wrong: Vec<String> = thread::scope(|scope| {
            let asked: Vec<_> = streams
                .map(|(row, stream)| {
                    let may = row.end == End::Allowed;
                    (row, may, scope.spawn(move || talks(stream, if may { PATIENCE } else { SILENCE })))
                })
                .collect();
            let ended = asked.into_iter().map(|(row, may, goes_on)| (row, may, goes_on.join().expect("it ends")));
            ended
                .filter(|(_, may, goes_on)| may != goes_on)
                .map(|(row, ..)| format!("{}: {row}: not so of one that runs", self.case.name))
                .collect()
        });
        self.wrong.extend(wrong);
    }

    /// Tries every connection, and notes those that come to another end than they must.
    fn compare(&mut self, when: &str) {
        self.lab.forget_neighbours();
        output(self.lab.host.command("conntrack").arg("-F")).success();
        let seen = self.actors.outcomes(&self.lab, &self.rows, |row| row.end);
        for (row, seen) in self.rows.iter().zip(seen).filter(|(row, seen)| !row.end.holds(*seen)) {
            self.wrong.push(format!("{}: {row}: {seen:?}{when}", self.case.name));
        }
    }

    fn palisade(&self, arguments: &[&str]) -> Output {
        self.lab.palisade("policy.yaml", arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.palisade(&[arguments, &["--json"]].concat());
        serde_json::from_str(&done.stdout)
            .unwrap_or_else(|_| panic!("{}: {}{}", self.case.name, done.stdout, done.stderr))
    }

    /// Verdict and reason of each connection.
    fn explained(&self, more: &[&str]) -> Vec<(String, String)> {
        let ask = |row: &Row| {
            let arguments = row.question();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = self.json(&[&arguments, more].concat());
            let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
            if text("verdict") == CANT_TELL {
                let plain: Vec<&str> = arguments.iter().copied().chain(more.iter().copied()).collect();
                eprintln!("{}", self.palisade(&plain).stdout);
            }
            (text("verdict"), text("reason"))
        };
        self.rows.iter().map(ask).collect()
    }

    /// Whether the policy can be read.
    fn checked(&mut self) -> bool {
        let said = self.json(&["check"]);
        self.text += &said::problems("check", &said);
        let planned = self.json(&["apply", "--dry-run"]);
        self.text += &said::access(&planned, &self.rows.iter().map(Row::port).collect());
        planned["problems"].is_null()
    }

    /// Applies it, by force where it is refused.
    fn applied(&mut self, is_read: bool) {
        let done = self.palisade(&["apply", "--json"]);
        if done.status != Some(0) {
            let said: Value = serde_json::from_str(&done.stdout)
                .unwrap_or_else(|_| panic!("{}: {}{}", self.case.name, done.stdout, done.stderr));
            self.text += &said::refused(&said);
            let forced = self.palisade(&["apply", "--force"]);
            assert_eq!(forced.status == Some(0), is_read, "{}: {}", self.case.name, forced.stderr);
        }
    }

    fn exposed(&mut self) {
        let said = self.json(&["exposure"]);
        self.text += &said::exposure(&said);
    }
}
