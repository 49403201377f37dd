//! A page of HTML that needs nothing from elsewhere: no script, no font, no picture.

use super::Picture;
use super::html::{escaped, with_code};
use super::svg::svg;
use std::fmt::Write;

/// The page loads nothing, from wherever.
const HEAD: &str = include_str!("head.html");
/// Colours are named once, for light and for dark; paper is light. Below 40 rem each row of a table is a card.
const STYLE: &str = include_str!("page.css");

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What is said below the title.
    pub about: String,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// A section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its name in links.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What is in it.
    pub blocks: Vec<Block>,
}

/// A part of a section. Texts are as they were written; what stands in backquotes is code, except in tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A sentence.
    Words(String),
    /// Why something is not known.
    Unknown(String),
    /// A heading.
    Heading(String),
    /// Lines whose columns are aligned.
    Lines(String),
    /// A table: the headings of its columns, and its rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Something that works against the policy.
    Finding {
        /// How bad it is.
        severity: &'static str,
        /// Its kind.
        id: String,
        /// What it is.
        message: String,
        /// What to do.
        help: String,
    },
    /// A picture.
    Map(Picture),
}

impl Page {
    /// The page as HTML, which is also XML.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<header>\n<h1>{title}</h1>\n<p>{}</p>\n<nav>",
            escaped(&self.about)
        );
        for Section { id, title, .. } in &self.sections {
            let _ = write!(text, "<a href=\"#{}\">{}</a> ", escaped(id), escaped(title));
        }
        text.push_str("</nav>\n</header>\n<main>\n");
        for Section { id, title, blocks } in &self.sections {
            let _ = writeln!(text, "<section id=\"{}\">\n<h2>{}</h2>", escaped(id), escaped(title));
            blocks.iter().for_each(|block| block.write(&mut text));
            text.push_str("</section>\n");
        }
        text + "</main>\n</body>\n</html>\n"
    }
}

impl Block {
    fn write(&self, text: &mut String) {
        let _ = match self {
            Self::Words(words) => writeln!(text, "<p>{}</p>", with_code(words)),
            Self::Unknown(why) => writeln!(text, "<p class=\"unknown\">Not known: {}</p>", with_code(why)),
            Self::Heading(words) => writeln!(text, "<h3>{}</h3>", with_code(words)),
            Self::Lines(lines) => {
                writeln!(text, "<pre>{}</pre>", lines.lines().map(escaped).collect::<Vec<_>>().join("\n"))
            }
            Self::Table(head, rows) => write_table(text, head, rows),
            Self::Finding { severity, id, message, help } => writeln!(
                text,
                "<div class=\"finding {}\"><p><b>{}</b> <span>{}</span></p>\n<p>{}</p>\n<p class=\"help\">{}</p></div>",
                escaped(severity),
                escaped(severity),
                escaped(id),
                with_code(message),
                with_code(help)
            ),
            Self::Map(picture) => writeln!(text, "<div class=\"map\">\n{}</div>", svg(picture)),
        };
    }
}

fn write_table(text: &mut String, head: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    text.push_str("<table>\n<thead><tr>");
    for title in head {
        write!(text, "<th>{}</th>", escaped(title))?;
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for (title, cell) in head.iter().zip(row) {
            write!(text, "<td data-of=\"{}\">{}</td>", escaped(title), escaped(cell))?;
        }
        text.push_str("</tr>\n");
    }
    writeln!(text, "</tbody>\n</table>")
}
