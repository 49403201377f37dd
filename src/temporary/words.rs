//! When an entry's time ends, in words.

use super::{Entries, Entry, Left, Moment};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// The last second that can be written: of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A period, in its two largest units: `8h`, `1day 4h`.
#[must_use]
pub fn period_in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = smaller_unit(seconds);
    humantime::format_duration(Duration::from_secs(seconds / unit * unit)).to_string()
}

/// The smaller of the two units that a period is told in, in seconds.
fn smaller_unit(seconds: u64) -> u64 {
    match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        _ => 3600,
    }
}

/// A time that is left, rounded up: whoever is let in for eight hours has eight hours, also a moment later.
fn left_in_words(left: Duration) -> String {
    let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    period_in_words(Duration::from_secs(seconds.next_multiple_of(smaller_unit(seconds))))
}

/// When the time of an entry ends: `until 18:20 UTC (8h left)`, `until 2026-11-28 06:20 UTC (19h 12m left)`, `over`,
/// `waits for a clock that is right`; `for 8h at most, as the clock is wrong` of one that holds meanwhile, see [`holds`].
///
/// [`holds`]: super::holds
#[must_use]
pub fn until(entry: &Entry, now: &Moment, holds: bool) -> String {
    match entry.left(now) {
        Left::Over => "over".to_owned(),
        Left::Unknown(most) if holds => format!("for {} at most, as the clock is wrong", left_in_words(most)),
        Left::Unknown(_) => "waits for a clock that is right".to_owned(),
        Left::Time(left) => format!("{} ({} left)", until_clock(left, now), left_in_words(left)),
    }
}

/// `until 18:20 UTC`
fn until_clock(left: Duration, now: &Moment) -> String {
    format!("until {}", clock(now.wall.saturating_add(left), now.wall))
}

impl Entries {
    /// Until when an address is in groups: `until 18:20 UTC`, each of these once. Nothing of one whose time is over, or
    /// can't be told.
    #[must_use]
    pub fn ends_of(&self, address: IpAddr, now: &Moment) -> Vec<String> {
        let of_it = self.iter().filter(|entry| entry.address == address);
        let ends = of_it.filter_map(|entry| match entry.left(now) {
            Left::Time(left) => Some(until_clock(left, now)),
            Left::Over | Left::Unknown(_) => None,
        });
        ends.collect::<BTreeSet<String>>().into_iter().collect()
    }
}

/// A time of day in UTC, with the date if it is not that of today.
fn clock(time: Duration, today: Duration) -> String {
    let text = |time: Duration| {
        let time = UNIX_EPOCH.checked_add(time.min(LAST)).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339_seconds(time).to_string()
    };
    let (time, today) = (text(time), text(today));
    let (date, hour) = (time.get(..10).unwrap_or_default(), time.get(11..16).unwrap_or_default());
    if today.starts_with(date) { format!("{hour} UTC") } else { format!("{date} {hour} UTC") }
}
