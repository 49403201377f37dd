//! What became of each rule, for people and for programs.

use crate::printable::Text;
use anstyle::Style;
use serde_json::{Value, json};

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The policy does what the rule did.
    Exact,
    /// The rule did nothing that the policy would not do without it.
    NoEffect,
    /// The policy lets in fewer than the rule did.
    Tighter,
    /// The policy lets in more than the rule did.
    Wider,
    /// Nothing in the policy is of this rule.
    NotTranslated,
}

impl Fate {
    /// All of them, as they are reported.
    const ALL: [Self; 5] = [Self::NotTranslated, Self::Wider, Self::Tighter, Self::NoEffect, Self::Exact];

    const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::NoEffect => "no effect",
            Self::Tighter => "tighter",
            Self::Wider => "wider",
            Self::NotTranslated => "not translated",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::NoEffect => "no_effect",
            Self::Tighter => "tighter",
            Self::Wider => "wider",
            Self::NotTranslated => "not_translated",
        }
    }

    /// Whether somebody has to read it.
    const fn counts(self) -> bool {
        matches!(self, Self::Tighter | Self::Wider | Self::NotTranslated)
    }
}

/// `user.rules:4 decides`, `user.rules:4, user.rules:7 decide`.
pub(super) fn decided(places: &[String]) -> String {
    format!("{} {}", places.join(", "), if places.len() == 1 { "decides" } else { "decide" })
}

/// A rule, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What became of it.
    pub fate: Fate,
    /// The rule as `ufw show added` prints it, or its line.
    pub rule: String,
    /// Where it stands: `user.rules:12`.
    pub places: Vec<String>,
    /// Why, each a sentence.
    pub why: Vec<String>,
}

/// Something that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file and the line.
    pub place: Option<String>,
    /// What is to be known.
    pub text: String,
    /// Whether something is more closed or left out by it.
    pub counts: bool,
}

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The rules, in their order.
    pub rules: Vec<Entry>,
    /// What else is to be known.
    pub notes: Vec<Note>,
}

impl Report {
    pub(super) fn note(&mut self, place: Option<String>, text: impl Into<String>) {
        self.notes.push(Note { place, text: text.into(), counts: true });
    }

    /// A note about something that is neither more closed nor left out.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.notes.push(Note { place: None, text: text.into(), counts: false });
    }

    /// Whether there is something to read: a rule or a setting that the policy does not follow to the letter.
    #[must_use]
    pub fn needs_reading(&self) -> bool {
        self.rules.iter().any(|entry| entry.fate.counts()) || self.notes.iter().any(|note| note.counts)
    }

    fn count(&self, fate: Fate) -> usize {
        self.rules.iter().filter(|entry| entry.fate == fate).count()
    }

    /// The report in words: what needs reading first, the counts last.
    #[must_use]
    pub fn text(&self) -> Text {
        let bold = Style::new().bold();
        let mut text = Text::default();
        for fate in Fate::ALL.into_iter().filter(|fate| self.count(*fate) > 0) {
            text.push_styled(bold, &format!("{} ({}):", fate.name(), self.count(fate)));
            text.push("\n");
            for entry in self.rules.iter().filter(|entry| entry.fate == fate) {
                text.push(&format!("  {}: {}\n", entry.places.join(", "), entry.rule));
                for why in &entry.why {
                    text.push(&format!("      {why}\n"));
                }
            }
        }
        if !self.notes.is_empty() {
            text.push_styled(bold, "also:");
            text.push("\n");
        }
        for note in &self.notes {
            let place = note.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            text.push(&format!("  {place}{}\n", note.text));
        }
        let counts = Fate::ALL.into_iter().rev().filter(|fate| self.count(*fate) > 0);
        let counts: Vec<String> = counts.map(|fate| format!("{} {}", self.count(fate), fate.name())).collect();
        let all = self.rules.len();
        let rules = if all == 1 { "1 rule".to_owned() } else { format!("{all} rules") };
        let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        text.push(&format!("{rules}{counts}\n"));
        text
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|entry| {
                json!({ "fate": entry.fate.key(), "rule": entry.rule, "places": entry.places, "why": entry.why })
            })
            .collect();
        let notes: Vec<Value> = self
            .notes
            .iter()
            .map(|note| json!({ "place": note.place, "text": note.text, "needs_reading": note.counts }))
            .collect();
        let counts: serde_json::Map<String, Value> =
            Fate::ALL.into_iter().map(|fate| (fate.key().to_owned(), self.count(fate).into())).collect();
        json!({ "rules": rules, "notes": notes, "counts": counts })
    }
}
