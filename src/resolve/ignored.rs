//! The findings of doctor that do not count.

use crate::policy::{Diagnostic, FINDING_IDS, Fault, Given, Ignored, NEVER_IGNORED, Text, nearest, quote};
use std::collections::BTreeMap;

/// The length of a reason in bytes.
const MAX_REASON: usize = 300;

/// The reasons by the identifiers of findings.
pub(super) fn resolve(typed: &[Ignored], problems: &mut Vec<Diagnostic>) -> BTreeMap<&'static str, String> {
    let mut ignored: BTreeMap<&'static str, String> = BTreeMap::new();
    for Ignored { span, id, because } in typed {
        for (given, key, help) in [
            (id, "id", "write which: `palisade doctor` prints it in brackets, such as `id: macvlan-network`"),
            (because, "because", "write why it does not count here: `because: guarded in the switch`"),
        ] {
            if *given == Given::Absent {
                problems.push(Diagnostic::at(*span, format!("an ignored finding does not say `{key}`")).help(help));
            }
        }
        let mut read = |given: &Given<Text>, check: fn(&str) -> Result<(), Fault>| {
            let text = given.here()?;
            check(&text.value).map_err(|fault| problems.push(fault.at(text.span))).ok()
        };
        let known = id.here().and_then(|text| FINDING_IDS.iter().find(|id| **id == text.value));
        let checked = [read(id, is_known), read(because, is_reason)];
        let (Some(id), Some(because), [Some(()), Some(())]) = (known, because.here(), checked) else { continue };
        ignored.insert(id, because.value.trim().to_owned());
    }
    ignored
}

fn is_known(id: &str) -> Result<(), Fault> {
    if NEVER_IGNORED.contains(&id) {
        return Err(Fault::new(format!(
            "a policy can't ignore {}: where it is found, the policy is not in force",
            quote(id)
        ))
        .help(format!("remove it; `palisade doctor --ignore {id}` leaves it out once")));
    }
    if FINDING_IDS.contains(&id) {
        return Ok(());
    }
    let fault = Fault::new(format!("doctor has no finding {}", quote(id)));
    Err(match nearest(id, FINDING_IDS.iter().filter(|id| !NEVER_IGNORED.contains(id)).copied()) {
        Some(meant) => fault.help(format!("did you mean {}?", quote(meant))),
        None => fault.help("`palisade doctor` prints the identifier of each finding in brackets"),
    })
}

fn is_reason(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("the reason is empty").help("write why the finding does not count here"));
    }
    if text.len() > MAX_REASON || text.trim().contains('\n') {
        return Err(Fault::new(format!("a reason is one line of at most {MAX_REASON} bytes"))
            .help("shorten it; a longer text belongs in a comment, after a `#`"));
    }
    Ok(())
}
