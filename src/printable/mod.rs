//! Foreign text made safe for terminals, logs and shell commands.
//!
//! Interfaces, chains, processes and containers have arbitrary names. A terminal obeys some characters instead of
//! showing them, hides others, or reverses the text around them; a shell executes others. A name is made
//! [`printable`] where it enters a sentence, and all output passes through [`Text`], [`lines`] or [`json`] once more.

use anstyle::Style;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// Whether a terminal would obey the character, hide it, or reverse text by it, instead of showing it.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    // `char::is_control`: C0, DEL and C1.
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Text on one line, with each such character written as `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_invisible)
}

/// As by [`printable`], and each blank that only looks like one, such as the no-break space, is written out, too.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_invisible(c) || (c.is_whitespace() && c != ' '))
}

/// Bytes that should be text: invalid UTF-8 is written as `\xff`, the rest as by [`printable`].
#[must_use]
pub fn printable_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&printable(chunk.valid()));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Text of several lines, as by [`printable`], but line ends and tabs are kept.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_invisible(c) && !matches!(c, '\n' | '\t'))
}

/// A JSON document on one line, with such characters as JSON escapes: they occur only in strings, so its meaning
/// stays the same.
#[must_use]
pub fn json(document: &Value) -> String {
    let text = document.to_string();
    if !text.contains(is_invisible) {
        return text;
    }
    let mut units = [0; 2];
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_invisible(c) {
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")))
        } else {
            out.push(c)
        }
        out
    })
}

/// A word for a shell command, quoted if necessary; `None` if it can't be printed, so that no command can be shown.
#[must_use]
fn shell_word(word: &str) -> Option<Cow<'_, str>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match word {
        _ if word.contains(is_invisible) => None,
        _ if !word.is_empty() && word.chars().all(plain) => Some(Cow::Borrowed(word)),
        _ => Some(Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))),
    }
}

/// A word for a shell command that is shown in backquotes; `None` if it can't be printed, or has one, which would end the
/// quotation.
#[must_use]
pub fn command_word(word: &str) -> Option<Cow<'_, str>> {
    shell_word(word).filter(|word| !word.contains('`'))
}

fn escaped(text: &str, is_refused: impl Fn(char) -> bool + Copy) -> Cow<'_, str> {
    if !text.contains(is_refused) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_refused(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    }))
}

/// The text output of a command. A terminal obeys nothing in it but palisade's own styles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Adds lines, or a part of one.
    pub fn push(&mut self, text: &str) {
        self.0.push_str(&lines(text));
    }

    /// Adds text in a style; `main` strips styles where colour is off.
    pub fn push_styled(&mut self, style: Style, text: &str) {
        self.0.push_str(&format!("{style}{}{style:#}", lines(text)));
    }

    /// Adds another text with its styles.
    pub fn append(&mut self, other: Self) {
        self.0.push_str(&other.0);
    }

    /// The whole text, including the escape sequences of its styles.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(lines(text).into_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// A duration in words, rounded up to seconds: `1m 30s`.
#[must_use]
pub fn time_in_words(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().ceil() as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let obeyed =
            "a\u{1b}[2J\u{9b}31m\u{7f}b\n\u{202e}c\u{2066}d\u{200f}e\u{61c}f\u{2028}g\u{200b}h\u{feff}i\u{e0041}";
        let shown = "a\\u{1b}[2J\\u{9b}31m\\u{7f}b\\u{a}\\u{202e}c\\u{2066}d\\u{200f}e\\u{61c}f\\u{2028}g\\u{200b}h\\u{feff}i\\u{e0041}";
        assert_eq!(printable(obeyed), shown);
        assert_eq!(lines(obeyed), shown.replace("\\u{a}", "\n"));
        assert_eq!(printable("eth0 Grüße 防火牆"), "eth0 Grüße 防火牆");
        assert_eq!(printable_bytes(b"a\xff\xc3\x1b\xc3\xa9"), "a\\xff\\xc3\\u{1b}é");
    }

    #[test]
    fn a_word_for_a_shell_is_quoted_or_left_out() {
        let words = ["eth0", "/run/a-b_c.d", "", "$(reboot)", "`id`", "it's; rm", "a b", "\"x\""];
        let quoted = ["eth0", "/run/a-b_c.d", "''", "'$(reboot)'", "'`id`'", "'it'\\''s; rm'", "'a b'", "'\"x\"'"];
        assert_eq!(words.map(|word| shell_word(word).map(Cow::into_owned)), quoted.map(|word| Some(word.to_owned())));
        assert_eq!(["a\nb", "\u{202e}", "\u{1b}[m"].map(shell_word), [None, None, None]);
        assert_eq!(["a b", "`id`", "\u{1b}[m"].map(command_word), [Some("'a b'".into()), None, None]);
    }

    #[test]
    fn a_style_is_palisades_own() {
        let mut text = Text::from("a \u{1b}[8mb\n");
        text.push_styled(AnsiColor::Red.on_default(), "c\u{1b}[m");
        assert_eq!(text.as_str(), "a \\u{1b}[8mb\n\u{1b}[31mc\\u{1b}[m\u{1b}[0m");
    }

    proptest! {
        #[test]
        fn nothing_invisible_is_left_and_json_means_the_same(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert!(!printable(&text).contains(is_invisible));
            prop_assert!(!printable_bytes(&bytes).contains(is_invisible));
            prop_assert!(lines(&text).chars().all(|c| !is_invisible(c) || c == '\n' || c == '\t'));
            prop_assert_eq!(text.chars().any(char::is_control), text.chars().any(|c| is_invisible(c) && c.is_control()));
            let document = json!({ text.clone(): [text] });
            let written = super::json(&document);
            prop_assert!(!written.contains(is_invisible));
            prop_assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), document);
        }
    }
}
