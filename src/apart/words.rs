//! The protocol of the process that reads the policy: each message is one line of JSON. A table's line is followed by
//! the table's bytes, in the format of kept rulesets.

use crate::ruleset::Table;
use crate::state::{Applied, MAX_STORED, Stored};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// The maximum length of a line: room for a hundred problems, each with an excerpt of the policy.
const MAX_LINE: usize = 4 << 20;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// The policy can't be used.
    Invalid {
        /// Each problem, for the log.
        problems: Vec<String>,
        /// All problems in one short sentence.
        why: String,
    },
    /// Addresses that were applied before stand in place of files that can't be used.
    Instead {
        /// Which, and why, in words.
        lists: Vec<String>,
    },
    /// The policy's table, and what is kept of the policy.
    Table(Table, Box<Applied>),
    /// The expectations were checked.
    Proved {
        /// The unmet expectations, in words; `None` if all are met.
        unmet: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Invalid { problems: Vec<String>, why: String },
    Instead { lists: Vec<String> },
    Table { bytes: u64 },
    Proved { unmet: Option<String> },
}

/// Sends a message.
///
/// # Errors
/// The reader has gone, or the table can't be encoded.
pub fn tell(to: &mut impl Write, words: &Words) -> io::Result<()> {
    let (line, bytes) = match words.clone() {
        Words::Invalid { problems, why } => (Line::Invalid { problems, why }, Vec::new()),
        Words::Instead { lists } => (Line::Instead { lists }, Vec::new()),
        Words::Proved { unmet } => (Line::Proved { unmet }, Vec::new()),
        Words::Table(table, applied) => {
            let stored = Stored::new(Some(&table), Some(&applied));
            let bytes = stored.and_then(|stored| stored.to_whole()).map_err(io::Error::other)?;
            (Line::Table { bytes: bytes.len() as u64 }, bytes)
        }
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    to.write_all(&text)?;
    to.write_all(&bytes)?;
    to.flush()
}

/// Parses the bytes received so far: the first message and its length in bytes, or `None` if it is still incomplete.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn understand(heard: &[u8]) -> Result<Option<(Words, usize)>, &'static str> {
    let Some(end) = heard.iter().take(MAX_LINE).position(|&byte| byte == b'\n') else {
        return if heard.len() < MAX_LINE { Ok(None) } else { Err("a line without an end") };
    };
    let (line, rest) = heard.split_at(end + 1);
    let words = match serde_json::from_slice(line).map_err(|_| "a line that means nothing")? {
        Line::Invalid { problems, why } => Words::Invalid { problems, why },
        Line::Instead { lists } => Words::Instead { lists },
        Line::Proved { unmet } => Words::Proved { unmet },
        Line::Table { bytes } if bytes > MAX_STORED => return Err("a table that is too large"),
        Line::Table { bytes } => {
            let Some(whole) = usize::try_from(bytes).ok().and_then(|bytes| rest.get(..bytes)) else {
                return Ok(None);
            };
            let stored = Stored::from_whole(whole)?;
            let (table, applied) = (stored.table.ok_or("no table")?, stored.applied.ok_or("no policy")?);
            return Ok(Some((Words::Table(table, Box::new(applied)), line.len() + whole.len())));
        }
    };
    Ok(Some((words, line.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use crate::ruleset::{DYNAMIC_SIZE, SetFlags};
    use proptest::prelude::*;

    fn applied(text: &str) -> Box<Applied> {
        let path = "/etc/palisade/policy.yaml".into();
        Box::new(Applied { path, text: text.to_owned(), ..Applied::default() })
    }

    /// Who is in a group for a time is no part of a policy's table.
    fn without_timed(words: Words) -> Words {
        match words {
            Words::Table(table, applied) => Words::Table(table.without_timed(), applied),
            other => other,
        }
    }

    fn told(words: &[Words]) -> Vec<u8> {
        let mut bytes = Vec::new();
        words.iter().for_each(|words| tell(&mut bytes, words).unwrap());
        bytes
    }

    fn understood(mut heard: &[u8]) -> Vec<Words> {
        let mut all = Vec::new();
        while let Some((words, length)) = understand(heard).unwrap() {
            all.push(words);
            heard = &heard[length..];
        }
        assert_eq!(heard, b"");
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn what_is_told_is_understood(table in arbitrary::table(), line in ".*") {
            let words = [
                Words::Instead { lists: vec![line.clone()] },
                Words::Table(table, applied(&line)),
                Words::Proved { unmet: Some(line.clone()) },
                Words::Proved { unmet: None },
                Words::Invalid { problems: vec![line.clone(), String::new()], why: line },
            ];
            let heard = understood(&told(&words));
            prop_assert_eq!(heard, words.map(without_timed));
        }

        #[test]
        fn no_bytes_make_it_panic_or_make_a_table(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
            let mut heard = told(&[Words::Table(arbitrary::everything(), applied("1"))]);
            let whole = understand(&heard).unwrap().map(|(words, _)| words);
            let _ = understand(&bytes);
            let at = at.index(heard.len());
            heard.splice(at..(at + bytes.len()).min(heard.len()), bytes);
            if let Ok(Some((words, _))) = understand(&heard) {
                prop_assert_eq!(Some(words), whole);
            }
        }
    }

    /// But for the size of a set that rules add to: 65,535 is the kernel's own default and is not written.
    #[test]
    fn a_table_that_uses_everything_is_understood_as_it_was_told() {
        let mut table = arbitrary::everything();
        for set in table.sets.values_mut().filter(|set| set.spec.flags.contains(SetFlags::DYNAMIC)) {
            assert_eq!(set.spec.size, Some(DYNAMIC_SIZE));
            set.spec.size = None;
        }
        let words = understood(&told(&[Words::Table(arbitrary::everything(), applied("version: 1\n"))]));
        assert_eq!(words, [without_timed(Words::Table(table, applied("version: 1\n")))]);
    }

    #[test]
    fn half_of_it_is_waited_for_and_what_never_ends_is_not() {
        let whole = told(&[Words::Table(arbitrary::everything(), applied(""))]);
        for end in 0..whole.len() {
            assert_eq!(understand(&whole[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(understand(&vec![b' '; MAX_LINE]), Err("a line without an end"));
        assert_eq!(understand(b"{\"table\":{\"bytes\":536870913}}\n"), Err("a table that is too large"));
        assert_eq!(understand(b"{\"table\":{\"bytes\":0}}\n"), Err("it is not what palisade writes"));
        assert_eq!(understand(b"loaded\n"), Err("a line that means nothing"));
    }
}
