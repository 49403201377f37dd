//! How this process was called. A command of palisade's own that it prints can be copied as it stands: it repeats the
//! options without which it would be about another policy.

use serde_json::Value;
use std::borrow::Cow;
use std::sync::OnceLock;

static CALLED: OnceLock<Called> = OnceLock::new();

/// The options that this process was called by.
#[derive(Debug)]
pub struct Called {
    /// As they are typed, `--policy FILE`.
    pub options: String,
    /// The commands that take them.
    pub commands: &'static [&'static str],
}

/// From here on, what is printed repeats these options.
pub fn by(called: Called) {
    // Nobody else sets them.
    let _ = CALLED.set(called);
}

/// A text, with the options in each command of palisade's own.
#[must_use]
pub fn repeat(text: &str) -> Cow<'_, str> {
    CALLED.get().map_or(Cow::Borrowed(text), |called| called.repeat(text))
}

/// The same of each text in a JSON document.
#[must_use]
pub fn repeat_in(document: Value) -> Value {
    match document {
        Value::String(text) => Value::String(repeat(&text).into_owned()),
        Value::Array(all) => all.into_iter().map(repeat_in).collect(),
        Value::Object(all) => all.into_iter().map(|(key, value)| (key, repeat_in(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => document,
    }
}

impl Called {
    fn repeat<'t>(&self, text: &'t str) -> Cow<'t, str> {
        const NAME: &str = "palisade ";
        let mut repeated = String::new();
        let mut rest = 0;
        for (at, _) in text.match_indices(NAME) {
            let (before, after) =
                (text.get(..at).unwrap_or_default(), text.get(at + NAME.len()..).unwrap_or_default());
            let command = after.split(|c: char| !c.is_ascii_alphabetic() && c != '-').next().unwrap_or_default();
            if self.commands.contains(&command) && is_typed_after(before) {
                repeated.push_str(text.get(rest..at + NAME.len()).unwrap_or_default());
                repeated.push_str(&self.options);
                repeated.push(' ');
                rest = at + NAME.len();
            }
        }
        if rest == 0 {
            return Cow::Borrowed(text);
        }
        repeated.push_str(text.get(rest..).unwrap_or_default());
        Cow::Owned(repeated)
    }
}

/// Whether a command to be typed begins after this text, and not a sentence about it: in backquotes, after a colon, or on a
/// line of its own, in a comment as well.
fn is_typed_after(before: &str) -> bool {
    let before = before.strip_suffix("sudo ").unwrap_or(before);
    let line = before.rsplit('\n').next().unwrap_or_default();
    before.ends_with('`') || before.ends_with(": ") || line.chars().all(|c| c == ' ' || c == '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_are_printed_repeat_the_options_and_sentences_do_not() {
        let called = Called { options: "--policy 'my policy.yaml'".to_owned(), commands: &["apply", "check", "add"] };
        for (text, repeated) in [
            (
                "not active: `palisade apply` loads the policy, `sudo palisade check` checks it\n",
                "not active: `palisade --policy 'my policy.yaml' apply` loads the policy, \
                 `sudo palisade --policy 'my policy.yaml' check` checks it\n",
            ),
            (
                "To load it all the same: palisade apply --force",
                "To load it all the same: palisade --policy 'my policy.yaml' apply --force",
            ),
            (
                "# the same by a command:\n#   palisade add 22/tcp\n",
                "# the same by a command:\n#   palisade --policy 'my policy.yaml' add 22/tcp\n",
            ),
            ("palisade check", "palisade --policy 'my policy.yaml' check"),
            ("`palisade confirm` keeps it, `palisade rollback` undoes it", ""),
            ("`palisade --policy other.yaml check`, `palisade adds`, by palisade apply; palisade: apply", ""),
        ] {
            let expected = if repeated.is_empty() { text } else { repeated };
            assert_eq!(called.repeat(text), expected);
        }
    }
}
