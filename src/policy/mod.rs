//! The policy as it was typed: from YAML to [`Policy`], each value with its place in the file.
//!
//! [`resolve`](crate::resolve) later decides what the values mean. Both report all problems at once as
//! [`Diagnostic`]s.

mod address;
mod diagnostic;
pub mod edit;
mod elsewhere;
mod entry;
mod fault;
mod findings;
mod host_name;
mod include;
pub mod keys;
mod lines;
mod list;
mod model;
mod name;
mod patterns;
mod place;
mod read;
mod read_routed;
mod reference;
mod schema;
mod syntax;
mod yaml;

pub(crate) use address::{is_host_name, range as address_range};
pub use diagnostic::{Diagnostic, Problem, Problems, Severity, Source, Sources, Span, list, nearest, quote, render};
pub use entry::Form;
pub(crate) use fault::Fault;
pub use findings::{FINDING_IDS, NEVER_IGNORED, OUT_OF_SYNC};
pub(crate) use host_name::host_name;
pub use include::included_path;
pub(crate) use lines::number_at;
pub use list::{AddressList, ListReader, Noted};
pub use model::{
    Containers, Defaults, Expectation, Given, Group, Ignored, List, Nat, Peer, Policy, PolicyRule, Service, Spanned,
    Text,
};
pub use name::in_a_policy;
pub(crate) use name::is_name;
pub use reference::reference;
pub(crate) use reference::{SECTIONS, holds_in_words};
pub use schema::schema;

use place::Place;
use std::path::Path;

/// The readable part of a policy, and every problem of its syntax and shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The readable part; `None` if the YAML itself is broken.
    pub policy: Option<Policy>,
    /// The problems.
    pub problems: Vec<Diagnostic>,
}

/// Removes the byte order mark from a text: spans are counted without it.
#[must_use]
pub fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a policy. `file` is its name without a folder, `text` its content [without a byte order
/// mark](without_byte_order_mark).
#[must_use]
pub fn parse(text: &str, file: &str) -> Parsed {
    parse_at(text, file, Place::default())
}

/// Reads a file that a policy includes. `path` is its path relative to the folder of the policy, `source` the index that
/// its spans use. Paths in it begin in the folder of the policy afterwards.
#[must_use]
pub fn parse_included(text: &str, path: &str, source: usize) -> Parsed {
    let folder = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
    let Parsed { policy, problems } = parse_at(text, path, Place { source, folder });
    Parsed { policy, problems: problems.into_iter().map(|problem| problem.in_source(source)).collect() }
}

fn parse_at(text: &str, file: &str, place: Place) -> Parsed {
    let mut policy = Policy { file: file.to_owned(), ..Policy::default() };
    match yaml::read(text) {
        Ok(Some(root)) if root.value != yaml::Value::Empty => {
            let root = root.in_source(place.source);
            let problems = read::read(&root, &mut policy, place);
            Parsed { policy: Some(policy), problems }
        }
        Ok(_) => {
            let help = match place.source {
                0 => "begin the file with `version: 1`; that alone denies what comes in and allows what goes out",
                _ => "begin the file with `version: 1`, or take it out of `include`",
            };
            Parsed {
                policy: None,
                problems: vec![Diagnostic::general(format!("{} says nothing", quote(file))).help(help)],
            }
        }
        Err(problem) => Parsed { policy: None, problems: vec![*problem] },
    }
}

/// Reads a policy from bytes, which must be UTF-8.
#[must_use]
pub fn parse_bytes(bytes: &[u8], file: &str) -> Parsed {
    match decode(bytes, file) {
        Ok(text) => parse(text, file),
        Err(problem) => Parsed { policy: None, problems: vec![*problem] },
    }
}

/// Decodes the bytes of a file. `file` is its name in problems.
///
/// # Errors
/// Bytes that are not UTF-8, with the line and column of the first such byte. The span counts in the lossy decoding
/// of the bytes.
pub fn decode<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, Box<Diagnostic>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(without_byte_order_mark(text)),
        Err(error) => {
            if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                return Err(Box::new(
                    Diagnostic::general(format!("{} is UTF-16, not UTF-8", quote(file)))
                        .help("save it as UTF-8: `iconv -f UTF-16 -t UTF-8`"),
                ));
            }
            let valid = error.valid_up_to();
            let before =
                without_byte_order_mark(std::str::from_utf8(bytes.get(..valid).unwrap_or(&[])).unwrap_or(""));
            let (start, line) = (before.len(), number_at(before, before.len()));
            let span = Span { source: 0, start, end: start + '\u{fffd}'.len_utf8(), line };
            let byte = bytes.get(valid).copied().unwrap_or(0);
            Err(Box::new(not_utf8(file, byte, span)))
        }
    }
}

/// The problem of a byte that is not UTF-8.
#[must_use]
pub fn not_utf8(file: &str, byte: u8, span: Span) -> Diagnostic {
    Diagnostic::at(span, format!("{} is not UTF-8: the byte 0x{byte:02x} stands here", quote(file)))
        .help("save it as UTF-8; `iconv -f LATIN1 -t UTF-8` turns an old Western European file into it")
}
