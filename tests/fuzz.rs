//! The targets of `fuzz/` without a fuzzer: their corpus, and thousands of inputs made from it, through the same functions.
//!
//! `FUZZ_SEED` makes the same inputs again, as a failure prints it.
#![allow(missing_docs)]

#[path = "support/fuzzing.rs"]
mod fuzzing;

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What inputs are made of beside each other: words of the policy language, of JSON, and numbers at the edges of netlink's.
const TOKENS: &[&[u8]] = &[
    b"version: 1\n",
    b"groups:\n",
    b"services:\n",
    b"block: ",
    b"expect:\n",
    b"containers: ",
    b"ports: ",
    b"from: any",
    b"except: ",
    b"to: ",
    b"on: ",
    b"limit: 6/minute",
    b"log: true",
    b"22/tcp",
    b"1-65535/udp",
    b"esp/proto",
    b"10.0.0.0/8",
    b"::1",
    b"0.0.0.0/0",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"{ file: list.txt }",
    b"{ interface: eth* }",
    b"- ",
    b"? ",
    b": ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"|\n",
    b">\n",
    b"---\n",
    b"#",
    b"\"",
    b"'",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\xff",
    b"null",
    b"-1",
    b"1e999",
    b"\"Ports\":",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"\0",
    b"\0\0\0\0",
    b"\x04\0\x01\0",
    b"\xff\xff\xff\xff",
    b"\xff\x7f",
    b"\x10\0\0\0",
];
/// The longest input that is made.
const LONGEST: usize = 32 * 1024;

/// Numbers that look random, of a seed that makes them again.
struct Random(u64);

impl Random {
    /// Up to `below`, which is not 0. (xorshift64, Marsaglia 2003)
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % below
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The inputs of a target, and of the places that hold more of its kind.
fn corpus(target: &str, more: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join("fuzz/corpus").join(target), &mut files);
    assert!(!files.is_empty(), "there is no corpus for {target}");
    for place in more.iter().map(|place| root.join(place)) {
        if place.is_dir() { files_below(&place, &mut files) } else { files.push(place) }
    }
    files.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("the file can be read");
    files.iter().map(read).filter(|bytes| bytes.len() <= LONGEST).collect()
}

/// An input like one of the corpus: bits and bytes changed, a piece taken out, copied, taken from another or from the words.
fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at).min(64) + 1);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let piece = &other[from..(from + 1 + random.below(200)).min(other.len())];
                bytes.splice(at..end, piece.iter().copied());
            }
            3 => {
                let piece = bytes[at..end].repeat(1 + random.below(4));
                bytes.splice(at..at, piece);
            }
            4 => {
                let line =
                    bytes.split_inclusive(|&byte| byte == b'\n').nth(random.below(8)).unwrap_or_default().to_vec();
                bytes.splice(at..at, line);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            6 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).expect("below 256"),
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Runs a target on its corpus, and on so many inputs made from it.
fn fuzz(target: &str, run: fn(&[u8]), more: &[&str], count: usize) {
    let corpus = corpus(target, more);
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(target)).max(1);
    let mut random = Random(seed);
    let made = std::iter::repeat_with(|| mutated(&mut random, &corpus)).take(count);
    for (number, input) in corpus.iter().cloned().chain(made).enumerate() {
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            panic!(
                "{target} fails on input {number} of FUZZ_SEED={seed}, which belongs into fuzz/corpus/{target}: b\"{}\"",
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn no_policy_makes_the_reader_the_compiler_or_the_renderer_panic() {
    fuzz("policy", fuzzing::policy, &["tests/bad-policies", "tests/policies", "policies"], 800);
}

#[test]
fn no_file_of_addresses_makes_its_reader_panic() {
    fuzz("list", fuzzing::list, &["tests/bad-policies"], 3_000);
}

#[test]
fn nothing_that_a_kernel_could_send_makes_a_decoder_panic() {
    let recorded = ["tests/data/dump.bin", "tests/data/conntrack.bin", "tests/data/routes.bin"];
    fuzz("netlink", fuzzing::netlink, &recorded, 2_000);
}

#[test]
fn no_file_of_the_state_makes_its_reader_panic() {
    fuzz("state", fuzzing::state, &[], 2_000);
}

#[test]
fn no_answer_of_an_engine_makes_its_reader_panic() {
    fuzz("engine", fuzzing::engine, &[], 5_000);
}

/// The inputs that were found once are here by name, so that none is lost.
#[test]
fn every_target_of_the_fuzzer_has_a_test_and_a_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
            found.push(entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned());
        }
        found.sort();
        found
    };
    let targets = ["engine", "list", "netlink", "policy", "state"];
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
}
