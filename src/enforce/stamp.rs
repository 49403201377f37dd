//! The time of loading, kept in the table's own comment, so that it lives exactly as long as the table.

use crate::ruleset::{Origin, Provenance};
use std::time::SystemTime;

/// The table's comment with the time added: `... (policy.yaml, loaded 2026-11-22T15:04:05Z)`.
#[must_use]
pub fn stamp(comment: &str, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    match (Provenance::read(comment), read(comment)) {
        // A table that was loaded before gets a new time.
        (Some(Provenance { sentence, .. }), (Some(file), _)) => {
            Provenance { sentence, origin: Origin::Loaded(file, &time) }.to_string()
        }
        _ => comment.to_owned(),
    }
}

/// The policy's file name and the time of loading, if the comment has them: a table that `nft -f` loaded has no time.
#[must_use]
pub fn read(comment: &str) -> (Option<&str>, Option<&str>) {
    match Provenance::read(comment).map(|provenance| provenance.origin) {
        Some(Origin::Loaded(file, time)) => (Some(file), Some(time)),
        Some(Origin::File(file) | Origin::Line(file, _) | Origin::Default(file)) => (Some(file), None),
        Some(Origin::BuiltIn) | None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stamp_is_read_back() {
        let stamped = stamp("palisade: a table (policy.yaml)", SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
        assert_eq!(stamped, "palisade: a table (policy.yaml, loaded 1970-01-02T00:00:00Z)");
        assert_eq!(
            stamp(&stamped, SystemTime::UNIX_EPOCH),
            "palisade: a table (policy.yaml, loaded 1970-01-01T00:00:00Z)"
        );
        assert_eq!(read(&stamped), (Some("policy.yaml"), Some("1970-01-02T00:00:00Z")));
        assert_eq!(read("palisade: a table (policy.yaml)"), (Some("policy.yaml"), None));
        assert_eq!(read("something else"), (None, None));
    }
}
