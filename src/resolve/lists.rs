//! Problems and warnings of address files: lines that can't be read, files that are not lists, and which of these may
//! be ignored where.

use super::values;
use crate::facts::{Facts, ListFile};
use crate::policy::{AddressList, Diagnostic, Fault, Form, Given, Peer, Policy, Severity, Span, Text, quote};
use crate::printable::command_word;
use std::collections::BTreeSet;

/// The problems and warnings of a file as a peer names it. After a problem its addresses must not be used.
pub(super) fn judge(path: &Text, odd: &Given<Text>, facts: &Facts) -> Vec<Diagnostic> {
    let at = |fault: Fault| fault.at(path.span);
    let Some(file) = facts.files.get(&path.value) else {
        return vec![at(Fault::new(format!("the file {} was not read", quote(&path.value))))];
    };
    let list = match &file.list {
        Ok(list) => list,
        Err(refusal) => {
            let help =
                refusal.help.as_deref().unwrap_or("a relative path begins in the folder of the file that names it");
            return vec![at(Fault::new(refusal.message.clone()).help(help))];
        }
    };
    let skips = match odd.here().map(|text| (text, values::odd(&text.value))) {
        None => false,
        Some((_, Ok(skips))) => skips,
        Some((text, Err(fault))) => return vec![fault.at(text.span)],
    };
    let name = quote(&path.value);
    if let Some((form, span)) = list.form {
        return vec![of_another_form(form, span, &name, file)];
    }
    if list.names_everyone() {
        return vec![at(Fault::new(format!("the file {name} names everyone"))
            .help("take `0.0.0.0/0`, `::/0` and their halves out of it: blocked, they shut everyone out, and allowed, let everyone in"))];
    }
    if !skips && list.odd.count > 0 {
        return list.problems.clone();
    }
    if list.addresses.is_empty() && list.odd.count > 0 {
        let problem = at(Fault::new(format!("not one line of the file {name} can be read"))
            .help("look at it: a download that failed leaves a page of text"));
        return vec![match &list.odd.first {
            Some((first, _)) => problem.note(*first, "the first line"),
            None => problem,
        }];
    }
    let warnings = [left_out(list, &name), masked(list), empty(list, &name, path.span)];
    warnings.into_iter().flatten().map(Diagnostic::warning).collect()
}

/// The files of a policy, by path, that can't be used as they are.
pub(crate) fn broken(policy: &Policy, facts: &Facts) -> BTreeSet<String> {
    let peers = policy.peers().filter_map(|peer| match peer {
        Peer::File { path, odd } => Some((path, odd)),
        _ => None,
    });
    let is_broken = |said: &[Diagnostic]| said.iter().any(|said| said.severity == Severity::Error);
    peers.filter(|(path, odd)| is_broken(&judge(path, odd, facts))).map(|(path, _)| path.value.clone()).collect()
}

/// The problems of a file that lets sources in: lines whose meaning was guessed, or that were left out.
pub(super) fn guessed(path: &Text, odd: &Given<Text>, list: &AddressList) -> Vec<Diagnostic> {
    let skips = odd.here().filter(|text| text.value == "skip");
    let skips = skips.map(|text| {
        let message = format!("`odd: skip` can't stand where {} decides who gets in", quote(&path.value));
        let help = "remove `odd: skip`, and mend the lines that can't be read: one may be a typing error in somebody's \
                    address. It is for files that are blocked";
        Diagnostic::at(text.span, message).help(help)
    });
    let masked = list.masked.first.as_ref().map(|(span, item)| {
        let message = format!("{} is not a network: bits are set after its prefix", quote(item));
        let help = "write the network for all of it, or the address alone; only a file that is blocked may say so";
        Diagnostic::at(*span, message).help(help)
    });
    [skips, masked, in_columns(list)].into_iter().flatten().collect()
}

/// The problem of two columns that may be a range or two addresses.
fn in_columns(list: &AddressList) -> Option<Diagnostic> {
    let (span, item) = list.columns.first.as_ref()?;
    let mut columns = item.split_whitespace();
    let (first, second) = (columns.next()?, columns.next()?);
    let message = format!("there are two addresses on this line: {}", quote(item));
    let help = format!("write the range `{first}-{second}` if it is meant, or one address a line");
    Some(Diagnostic::at(*span, message).help(help))
}

fn left_out(list: &AddressList, name: &str) -> Option<Diagnostic> {
    let (span, _) = list.odd.first.as_ref()?;
    let (lines, them) = if list.odd.count == 1 { ("line", "it is") } else { ("lines", "they are") };
    let message = format!("{} {lines} of {name} can't be read, and {them} left out: {}", list.odd.count, list.odd);
    let why = list.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
    Some(
        Diagnostic::at(*span, message)
            .label(why)
            .help("nobody is blocked by what is left out: mend the list if it is yours"),
    )
}

fn masked(list: &AddressList) -> Option<Diagnostic> {
    let (span, item) = list.masked.first.as_ref()?;
    let message = match list.masked.count {
        1 => format!("{} has bits set after its prefix: all of its network is taken", quote(item)),
        more => format!(
            "{more} networks have bits set after their prefix: all of each network is taken ({})",
            list.masked
        ),
    };
    Some(Diagnostic::at(*span, message).help("write the network, or the address without its prefix"))
}

fn empty(list: &AddressList, name: &str, span: Span) -> Option<Diagnostic> {
    let message = format!("the file {name} names nobody");
    let help = "fill it again if that is not meant, or remove it from the policy";
    list.addresses.is_empty().then(|| Diagnostic::at(span, message).help(help))
}

/// The problem of a file that is no list, with the command that makes a list of it.
fn of_another_form(form: Form, span: Span, name: &str, file: &ListFile) -> Diagnostic {
    let path = file.path.display().to_string();
    let list = format!("{path}.list");
    let made = |command: &dyn Fn(&str, &str) -> String| match (command_word(&path), command_word(&list)) {
        (Some(path), Some(list)) => format!("`{}` makes a list of it: name that one", command(&path, &list)),
        _ => "make a list of it, one address a line".to_owned(),
    };
    let (what, help) = match form {
        Form::Html => (
            "an HTML page, no list",
            format!(
                "download it again, with `curl --fail`; or, if the page shows a list, {}",
                made(&|path, list| format!("grep -oE '[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+(/[0-9]+)?' {path} > {list}"))
            ),
        ),
        Form::Json => (
            "one JSON document, no list",
            made(&|path, list| {
                format!("grep -oE '\"[0-9a-fA-F]+[.:][0-9a-fA-F.:/]+\"' {path} | tr -d '\"' > {list}")
            }),
        ),
        Form::Csv(Some(column)) => (
            "CSV, no list",
            made(&|path, list| {
                format!(
                    "awk -F, '{{ gsub(/[\" \\t\\r]/, \"\", ${column}); if (${column} ~ /^[0-9a-fA-F]+[.:][0-9a-fA-F.:\\/]+$/) \
                     print ${column} }}' {path} > {list}"
                )
            }),
        ),
        Form::Csv(None) => ("CSV, no list", "make a list of its column with addresses, one a line".to_owned()),
    };
    Diagnostic::at(span, format!("the file {name} is {what}")).help(help)
}
