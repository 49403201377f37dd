//! When a table was loaded, kept in the table's own comment: it lives and dies with what it speaks of.

use crate::ruleset::split_origin;
use std::time::SystemTime;

/// What stands between the policy's file name and the time.
const LOADED: &str = ", loaded ";

/// The table's comment with the time in it: `... (policy.yaml, loaded 2026-11-22T15:04:05Z)`.
#[must_use]
pub fn stamp(comment: &str, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now);
    match split_origin(comment) {
        Some((sentence, origin)) => {
            // A table that was loaded before is loaded anew.
            let file = origin.split_once(LOADED).map_or(origin, |(file, _)| file);
            format!("{sentence} ({file}{LOADED}{time})")
        }
        None => comment.to_owned(),
    }
}

/// The policy's file name and the time of loading, as far as the comment tells: a table that `nft -f` loaded has no
/// time.
#[must_use]
pub fn read(comment: &str) -> (Option<&str>, Option<&str>) {
    match split_origin(comment) {
        None => (None, None),
        Some((_, origin)) => match origin.split_once(LOADED) {
            Some((file, time)) => (Some(file), Some(time)),
            None => (Some(origin), None),
        },
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
