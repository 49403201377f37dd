//! Someone changes palisade's table behind its back: what `diff` says of it, and that `apply` mends it.

use super::lab::{Lab, without_time};
use super::namespace::{Namespace, output};
use serde_json::Value;

/// The policy that the rows are about.
pub const POLICY: &str = "policy.yaml";
const TEXT: &str = include_str!("../drift/policy.yaml");

/// What `diff` says first of a table that is there.
const HEADER: &str = "--- kernel: table inet palisade\n+++ policy: policy.yaml\n";

/// A host that holds the policy.
pub fn lab() -> Lab {
    let lab = Lab::new();
    lab.write_policy(POLICY, TEXT);
    lab.palisade(POLICY, &["apply"]).success();
    lab
}

/// One kind of out-of-band change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In words.
    pub kind: String,
    /// nft commands; `<CHAIN|TEXT>` is the handle of the one rule of the chain whose listing has the text.
    pub tamper: String,
    /// `op object name` of each change that `diff --json` tells.
    pub changes: Vec<String>,
    /// What `diff` prints behind its two header lines; all of it where the table is gone.
    pub diff: String,
}

/// Reads rows: a line `# KIND`, the commands, a line `> OP OBJECT NAME` for each change (`> nothing` for none), the
/// difference.
pub fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# ") {
            let kind = kind.to_owned();
            rows.push(Row { kind, tamper: String::new(), changes: Vec::new(), diff: String::new() });
            continue;
        }
        let Some(row) = rows.last_mut().filter(|_| !line.is_empty()) else { continue };
        match line.strip_prefix("> ") {
            Some(change) => row.changes.push(change.to_owned()),
            None if row.changes.is_empty() => row.tamper.push_str(&format!("{line}\n")),
            None => row.diff.push_str(&format!("{line}\n")),
        }
    }
    rows
}

/// Rows as they are read.
pub fn write<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let row = |row: &Row| {
        let changes: String = row.changes.iter().map(|change| format!("> {change}\n")).collect();
        format!("# {}\n{}{changes}{}", row.kind, row.tamper, row.diff)
    };
    rows.into_iter().map(row).collect::<Vec<_>>().join("\n")
}

/// Has stock nft change the table, `diff` name it and `apply` mend it: the row as it came out, or what was not mended.
pub fn run(lab: &Lab, row: &Row) -> Result<Row, String> {
    let before = lab.host.nft_list();
    tamper(&lab.host, &row.tamper)?;
    let tampered = lab.host.nft_list();

    let diff = lab.palisade(POLICY, &["diff"]);
    let json = lab.palisade(POLICY, &["--json", "diff"]);
    let parsed: Value = serde_json::from_str(&json.stdout).map_err(|error| format!("{error}: {json:?}"))?;
    let in_sync = diff.status == Some(0);
    if !(in_sync || diff.status == Some(2)) || json.status != diff.status || parsed["in_sync"] != in_sync {
        return Err(format!("{diff:?}\n{json:?}"));
    }
    mend(lab)?;
    // What is no difference stays as it is.
    let expected = ordered(if in_sync { &tampered } else { &before });
    let mended = ordered(&lab.host.nft_list());
    if mended != expected {
        return Err(format!(
            "missing: {:#?}\nthere: {:#?}",
            lines_only_in(&expected, &mended),
            lines_only_in(&mended, &expected)
        ));
    }

    let changes = parsed["changes"].as_array().ok_or("changes are no list")?;
    let word = |change: &Value, field: &str| change[field].as_str().unwrap_or("?").to_owned();
    let words = |change| ["op", "object", "name"].map(|field| word(change, field)).join(" ");
    let mut changes: Vec<String> = changes.iter().map(words).collect();
    if changes.is_empty() {
        changes.push("nothing".to_owned());
    }
    // Without the plan, which is about those who listen.
    let rules = diff.stdout.rsplit("\n\n").next().unwrap_or_default();
    let diff = without_numbers(rules.strip_prefix(HEADER).unwrap_or(rules));
    let changes = changes.iter().map(|change| without_numbers(change)).collect();
    Ok(Row { kind: row.kind.clone(), tamper: row.tamper.clone(), changes, diff })
}

/// A listing without the time of loading, its sets and chains by name: nft lists them in the order that they were made.
pub fn ordered(listing: &str) -> String {
    let (mut text, mut blocks) = (String::new(), Vec::new());
    for line in without_time(listing).lines() {
        match (line, blocks.last_mut()) {
            ("}", _) => {
                blocks.sort();
                text.extend(blocks.drain(..));
                text.push_str("}\n");
            }
            (line, _) if ["\tset ", "\tmap ", "\tchain "].iter().any(|begin| line.starts_with(begin)) => {
                blocks.push(format!("{line}\n"));
            }
            (line, Some(block)) if !line.is_empty() => block.push_str(&format!("{line}\n")),
            (line, _) => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

pub fn lines_only_in<'a>(this: &'a str, other: &str) -> Vec<&'a str> {
    this.lines().filter(|line| !other.lines().any(|theirs| theirs == *line)).collect()
}

/// Applies the policy: afterwards `diff` has nothing to say, or the error tells what it was.
pub fn mend(lab: &Lab) -> Result<(), String> {
    let applied = lab.palisade(POLICY, &["apply"]);
    let after = lab.palisade(POLICY, &["diff"]);
    let mended = applied.status == Some(0) && after.status == Some(0) && after.stdout.is_empty();
    if mended { Ok(()) } else { Err(format!("{}{}{}", applied.stdout, applied.stderr, after.stdout)) }
}

/// The kernel numbers anonymous chains over the whole machine, whatever namespace they are in.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split("__chain");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "__chain" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Has stock nft run the commands, all or none.
pub fn tamper(host: &Namespace, commands: &str) -> Result<(), String> {
    let commands = with_handles(host, commands)?;
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::io::Write::write_all(&mut file, commands.as_bytes()).map_err(|error| error.to_string())?;
    let done = output(host.command("nft").arg("-f").arg(file.path()));
    if done.status == Some(0) { Ok(()) } else { Err(format!("nft refused: {}", done.stderr)) }
}

/// The lines of a chain's listing that have the text, as the handles of their rules.
pub fn handles(host: &Namespace, chain: &str, text: &str) -> Vec<String> {
    let listing = output(host.command("nft").args(["--handle", "list", "chain", "inet", "palisade", chain])).stdout;
    let rules = listing.lines().filter(|line| line.starts_with("\t\t") && line.contains(text));
    rules.filter_map(|line| line.rsplit_once("# handle ")).map(|(_, handle)| handle.to_owned()).collect()
}

/// Commands with handles where they name rules by their text.
fn with_handles(host: &Namespace, commands: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = commands;
    while let Some((before, (place, after))) =
        rest.split_once("handle <").and_then(|(before, after)| Some((before, after.split_once('>')?)))
    {
        let (chain, rule) = place.split_once('|').ok_or("a handle is <CHAIN|TEXT>")?;
        let found = handles(host, chain, rule);
        let [handle] = found.as_slice() else { return Err(format!("{chain} has not one rule with {rule}")) };
        text.push_str(&format!("{before}handle {handle}"));
        rest = after;
    }
    Ok(text + rest)
}
